#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Load, use, unload: when it is refused, and that nothing is left."""
import contextlib
import errno
import os
import socket

import cftest as t
import modulectl as m
from reach import EACH, SYNCHRONIZED, reach

FULL = tuple(s for s in SYNCHRONIZED if s != "TIME-WAIT")
ORPHANS = "FIN-WAIT-1", "FIN-WAIT-2", "CLOSING", "LAST-ACK"


def use(net, left_behind=True):
    """A bit of everything; TIME-WAIT records may stay."""
    for client_ns, server_ns, protos in (
        (net.a, net.b, (t.CFTCP, t.STOCK)),
        (net.b, net.a, (t.STOCK, t.CFTCP)),
        (net.a, net.b, (t.CFTCP, t.CFTCP)),
        (net.a, net.a, (t.CFTCP, t.CFTCP)),
    ):
        client, server = t.connect(client_ns, server_ns, *protos)
        client.sendall(bytes(20000))
        client.shutdown(socket.SHUT_WR)
        t.equal(len(t.read_all(server)), 20000, "data")
        server.sendall(b"bye")
        server.close()
        t.equal(t.read_all(client), b"bye", "answer")
        client.close()
    client, server = t.connect(net.a, net.b)
    t.linger(client, 1, 0)
    client.close()
    with contextlib.suppress(ConnectionResetError):
        server.recv(1)
    server.close()
    lone = net.a.sock()
    with t.fails_with(errno.ECONNREFUSED):
        lone.connect((net.b.address, 9))
    lone.close()
    peer = t.Peer(net)  # a request that is never completed
    listener = net.a.listener()
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA")
    listener.close()
    peer.close()


@t.test("section-2", "C-54", seconds=900)
def a_hundred_turns():
    t.cleanup(m.keep_loaded)
    net = t.net()
    before = None
    for turn in range(5 if t.DEBUG else 20 if t.LESS else 100):
        use(net)
        m.unload_soon()
        t.equal(m.slabs(), {}, "slabs without the module")
        with net.a.inside():
            now = m.sockstat()
        before = before or now
        if turn % 10 == 9:
            for key in "inuse", "orphan", "alloc":
                t.between(now[key], 0, before[key] + 2, f"stock TCP {key}")
        m.load()
        t.equal(m.refcount(), 0, "references of a fresh module")


@t.test(
    "section-2",
    cases={s: s for s in ("LISTEN", "SYN-SENT", "SYN-RECEIVED") + FULL},
)
def busy_with_a_socket(state):
    t.cleanup(m.keep_loaded)
    ours, peer = reach(state)
    m.busy()
    t.check(m.refcount() > 0, "references")
    t.linger(ours, 1, 0)
    ours.close()
    m.reload()


@t.test("section-2", cases={s: s for s in ORPHANS})
def busy_with_an_orphan(state):
    t.cleanup(m.keep_loaded)
    t.net().a.tune(orphan_timeout_ms=2000, fin_wait2_timeout_ms=2000)
    ours, peer = reach(state)
    ours.close()
    m.busy()
    t.equal(t.net().a.counters()["Orphans"], 1, "Orphans")
    t.net().a.wait_state("CLOSED", peer.dut_port, peer.port, timeout=70)
    m.reload()


@t.test("section-2")
def not_busy_with_a_bare_socket():
    """A socket that never did anything, and one that is only bound."""
    t.cleanup(m.keep_loaded)
    bare, bound = t.net().a.sock(), t.net().a.sock()
    bound.bind(("", 0))
    m.busy()
    bare.close()
    m.busy()
    bound.close()
    m.reload()


@t.test("section-2", "L-59")
def unload_purges_time_wait():
    t.cleanup(m.keep_loaded)
    net = t.net()
    ours, peer = reach("TIME-WAIT")
    port = peer.dut_port
    m.busy()
    ours.close()
    t.equal(net.a.counters()["TimeWait"], 1, "TimeWait")
    m.unload_soon(1)
    peer.send("FA", seq=1)  # stock TCP knows nothing of it
    peer.expect("R", seq=2)
    taken = net.a.sock(t.STOCK)
    taken.bind(("", port))  # the reservation is gone as well
    taken.close()
    m.load()
    t.equal(net.a.counters()["TimeWait"], 0, "TimeWait")


@t.test("section-2")
def unload_drops_requests():
    t.cleanup(m.keep_loaded)
    listener, peer = reach("SYN-RECEIVED")
    t.equal(t.net().a.counters()["Requests"], 1, "Requests")
    listener.close()
    t.wait_for(lambda: t.net().a.counters()["Requests"] == 0, 1, "Requests")
    m.unload_soon(1)
    peer.send("A")
    peer.expect("R", seq=1)
    m.load()


@t.test("section-2")
def without_the_module():
    t.cleanup(m.keep_loaded)
    with t.fails_with(errno.EEXIST):
        m.load()
    m.unload_soon()
    for _ in range(2):  # it does not come by itself
        with t.fails_with(errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            socket.socket(t.AF, socket.SOCK_STREAM, t.CFTCP)
    t.check(not m.loaded(), "loaded by socket()")
    ns = t.net().a
    with ns.inside():
        t.check(not os.path.exists("/proc/sys/net/cftcp"), "sysctls left")
        for name in "cftcp", "cftcp6", "cftcp_stat":
            t.check(not os.path.exists("/proc/net/" + name), f"{name} left")
    m.load()
    ns.sock().close()


# --- namespaces ---------------------------------------------------------------


def doomed():
    """A net to be deleted, with no timer near; nothing is to be restored."""
    net = t.Net()
    for name in "rto_min_ms", "rto_init_ms":
        net.a.run(f"echo 60000 >/proc/sys/net/cftcp/{name}")
    return net


@t.test("section-2", "L-59", cases=EACH)
def namespace_goes_with_open_socket(state):
    """Its sockets are closed, then the last reference to it goes."""
    net = doomed()
    ours, peer = reach(state, net, calm=False)
    peer.close()
    net.close()
    ours.close()
    m.gone()


@t.test("section-2", "L-59", cases={s: s for s in ORPHANS + ("TIME-WAIT",)})
def namespace_goes_after_its_sockets(state):
    net = doomed()
    ours, peer = reach(state, net, calm=False)
    ours.close()
    peer.close()
    net.close()
    m.gone()


@t.test("section-2", "L-59", seconds=600)
def namespaces_with_everything_in_them():
    t.cleanup(m.keep_loaded)
    for _ in range(2 if t.DEBUG else 5):
        net = doomed()
        held = [reach(state, net, calm=False) for state in EACH]
        for ours, peer in held:
            peer.close()
        net.close()
        for ours, _ in held:
            ours.close()
    m.gone()
    m.reload()


@t.test("section-2")
def process_dies():
    """What a killed process leaves is closed by the kernel, nothing leaks."""
    t.cleanup(m.keep_loaded)
    net = t.net()
    net.a.tune(orphan_timeout_ms=1000, fin_wait2_timeout_ms=1000, msl_ms=100)
    pid = os.fork()
    if not pid:
        try:
            listener = net.a.listener()
            peers = [t.Peer(net) for _ in range(3)]
            for peer in peers:
                peer.connect(listener.getsockname()[1])
            held = listener.accept()[0]
            held.send(bytes(100000), socket.MSG_DONTWAIT)
        finally:
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    m.reload(100)


# --- nothing left -------------------------------------------------------------


@t.test("section-2", seconds=900)
def gauges_return_to_the_start():
    net = t.net()
    net.a.tune(msl_ms=20)
    net.b.tune(msl_ms=20)
    m.gone()
    names = "Sockets", "Orphans", "TimeWait", "Requests", "Ports", "CurrEstab"
    start = net.a.counters()
    for _ in range(3 if t.DEBUG else 30):
        use(net)

    def back():
        now = net.a.counters()
        return all(now[name] == start[name] for name in names)

    t.wait_for(back, 30, f"gauges {[(n, net.a.counters()[n]) for n in names]}")
    m.gone()


@t.test("section-2", "L-48", "R4987-1")
def memory_is_given_back():
    """Full buffers on both sides, then an abort."""
    net = t.net()

    def pages():
        with open("/proc/net/protocols") as file:
            for line in file:
                if line.split()[0] == t.PROTO_NAME:
                    return int(line.split()[3])

    start = pages()
    t.check(start is not None, "not in /proc/net/protocols")
    few = 300 * os.cpu_count()  # that each CPU keeps
    net.a.tune(rmem="4096 524288 6291456")
    for _ in range(5):
        pair = t.connect(net.a, net.a, t.CFTCP, t.CFTCP)
        for end in pair:
            end.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while end.send(bytes(65536)):
                    pass
        for end in pair:
            t.linger(end, 1, 0)
            end.close()
    t.wait_for(lambda: pages() <= max(start, 0) + few, 10, f"{pages()} pages")
    m.gone()


if __name__ == "__main__":
    t.main()
