#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Stock TCP beside it: nothing of its own is touched by load, use and unload."""
import http.server
import os
import socket
import subprocess
import threading
import time

import cftest as t
import modulectl as m

FILES = "/run/cftcp-http"
SIZES = {
    "small": 100,
    "middle": 300000,
    "large": 1000000 if t.DEBUG else 8000000,
}


def make_files():
    os.makedirs(FILES, exist_ok=True)
    sums = {}
    for seed, (name, size) in enumerate(SIZES.items()):
        data = t.pattern(size, seed)
        sums[name] = t.digest(data)
        with open(f"{FILES}/{name}", "wb") as file:
            file.write(data)
    return sums


def http_server(ns, port):
    """python -m http.server in a process of its own."""
    with ns.inside():
        process = subprocess.Popen(
            ["/usr/bin/python3", "-m", "http.server", str(port), "-d", FILES]
            + ["-b", t.ANY],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    t.cleanup(process.wait)
    t.cleanup(process.kill)
    t.wait_for(
        lambda: [
            r
            for r in ns.table(t.STOCK)
            if r.lport == port and r.state == "LISTEN"
        ],
        60,
        "the server listens",
    )


def curl(ns, address, port, name, *options):
    """sha256 of the file, by curl on stock TCP."""
    command = ["curl", "-sf", "--max-time", str(120 * t.SLOW), *options]
    host = f"[{address}]" if ":" in address else address
    command.append(f"http://{host}:{port}/{name}")
    return t.digest(ns.run(command, text=False))


class Traffic(threading.Thread):
    """curl, again and again, until it is told to stop."""

    def __init__(self, ns, address, port, sums):
        super().__init__(daemon=True)
        self.args, self.sums = (ns, address, port), sums
        self.done, self.wrong, self.running = 0, [], True
        self.start()

    def run(self):
        while self.running:
            for name, wanted in self.sums.items():
                try:
                    seen = curl(*self.args, name)
                except subprocess.CalledProcessError as error:
                    seen = f"curl: status {error.returncode}"
                if seen != wanted:
                    self.wrong.append((name, seen))
                self.done += 1

    def stop(self):
        self.running = False
        self.join(300)
        t.equal(self.wrong, [], f"of {self.done} transfers")
        t.note(f"{self.done} transfers")
        t.check(self.done >= 3, "hardly any transfer")


class Shell:
    """A connection that stays open for long and says little, like ssh."""

    def __init__(self, net):
        self.ends = t.connect(net.a, net.b, t.STOCK, t.STOCK)

    def works(self):
        here, there = self.ends
        here.sendall(b"ls\n")
        t.equal(there.recv(10), b"ls\n", "command")
        there.sendall(b"file\n")
        t.equal(here.recv(10), b"file\n", "answer")


def use(net):
    """A connection of cftcp's in each role."""
    for client_ns, server_ns, client, server in (
        (net.a, net.b, t.CFTCP, t.STOCK),
        (net.b, net.a, t.STOCK, t.CFTCP),
    ):
        c, s = t.connect(client_ns, server_ns, client, server)
        c.sendall(b"x" * 1000)
        c.close()
        t.equal(len(t.read_all(s)), 1000, "data")
        s.close()


@t.test("section-2", "section-4", seconds=1200)
def http_through_load_use_and_unload():
    t.cleanup(m.keep_loaded)
    net, sums = t.net(), make_files()
    http_server(net.b, 8000)
    m.unload_soon()
    shell = Shell(net)
    traffic = Traffic(net.a, net.b.address, 8000, sums)
    for _ in range(3 if t.DEBUG or t.LESS else 12):
        m.load()
        shell.works()
        use(net)
        time.sleep(0.02)
        shell.works()
        m.unload_soon(100)
        shell.works()
        time.sleep(0.02)
    traffic.stop()
    m.load()
    shell.works()


@t.test("section-2", "section-4")
def a_download_across_load_and_unload():
    """One transfer that lasts longer than the module's life."""
    t.cleanup(m.keep_loaded)
    net, sums = t.net(), make_files()
    http_server(net.b, 8001)
    m.unload_soon()
    slow = t.Background(
        curl, net.a, net.b.address, 8001, "large", "--limit-rate", "2000k"
    )
    for _ in range(4):
        time.sleep(0.2)
        m.load()
        time.sleep(0.2)
        use(net)
        m.unload_soon(100)
    t.equal(slow.result(300), sums["large"], "sha256")


@t.test("section-2", "section-4")
def both_stacks_serve_at_once():
    """curl on stock TCP from an http server on cftcp and one on stock TCP."""
    net, sums = t.net(), make_files()
    http_server(net.a, 8002)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=FILES)

        def log_message(self, *_):
            pass

    with net.a.inside():
        server = http.server.ThreadingHTTPServer(
            (t.ANY, 8003), Handler, bind_and_activate=False
        )
        server.socket.close()
        server.socket = socket.socket(t.AF, socket.SOCK_STREAM, t.DUT)
        server.server_bind()
        server.server_activate()
    t.Background(server.serve_forever)
    t.cleanup(server.server_close)
    t.cleanup(server.shutdown)
    both = [
        t.Background(curl, net.b, net.a.address, port, name)
        for name in sums
        for port in (8002, 8003)
    ]
    for job, name in zip(both, [n for n in sums for _ in range(2)]):
        t.equal(job.result(300), sums[name], name)
    t.equal(curl(net.b, net.a.address, 8003, "small"), sums["small"], "again")


@t.test("section-2")
def stock_counters_do_not_see_cftcp():
    """What cftcp takes, stock TCP does not count, and it answers the rest."""
    net = t.own_net()

    def snmp():
        lines = [x.split() for x in net.a.read("snmp").splitlines()]
        rows = [x for x in lines if x[0] == "Tcp:"]
        return dict(zip(rows[0][1:], map(int, rows[1][1:])))

    ours, theirs = t.connect(net.a, net.b)
    before = snmp()
    for _ in range(20):
        theirs.send(b"x")
        ours.recv(1)
    now = snmp()
    t.equal(now["InSegs"], before["InSegs"], "InSegs of stock TCP")
    t.equal(now["CurrEstab"], before["CurrEstab"], "CurrEstab of stock TCP")
    peer = t.Peer(net)
    peer.dut_port = 7
    peer.send("S")
    peer.expect("RA", seq=-peer.irs, ack=1)
    t.equal(snmp()["OutRsts"], before["OutRsts"] + 1, "OutRsts of stock TCP")


if __name__ == "__main__":
    t.main()
