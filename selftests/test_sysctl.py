#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""net.cftcp.*: names, defaults, ranges, and on whom a change acts.

None of it asks for the family, so it runs once."""
import contextlib
import errno
import os
import socket
import time

import cftest as t

DAY = 86400000
BIG = 2147483647

# name: (default, lowest, highest)
NUMBERS = {
    "enabled": (1, 0, 1),
    "msl_ms": (30000, 1, 600000),
    "fin_wait2_timeout_ms": (60000, 1, DAY),
    "orphan_timeout_ms": (100000, 1, DAY),
    "user_timeout_ms": (300000, 0, DAY),
    "max_time_wait": (262144, 0, BIG),
    "max_orphans": (65536, 0, BIG),
    "time_wait_ignore_rst": (1, 0, 1),
    "challenge_ack_ms": (500, 0, 60000),
    "rto_min_ms": (200, 1, 60000),
    "rto_max_ms": (120000, 1000, 240000),
    "rto_init_ms": (1000, 1, 60000),
    "syn_retries": (7, 0, 127),
    "synack_retries": (5, 0, 127),
    "pmtu_probing": (1, 0, 2),
    "pmtu_base_bytes": (1024, 536, 65535),
    "pmtu_probe_interval_ms": (600000, 1000, DAY),
    "icmp_hard_abort": (0, 0, 1),
    "max_syn_backlog": (4096, 0, BIG),
    "syn_cookies": (1, 0, 2),
    "abort_on_overflow": (0, 0, 1),
    "time_wait_reuse": (0, 0, 1),
}
TRIPLES = "rmem", "wmem"
PATH = "/proc/sys/net/cftcp/"


def write(ns, name, value):
    with ns.inside():
        fd = os.open(PATH + name, os.O_WRONLY)
        try:
            os.write(fd, str(value).encode())
        finally:
            os.close(fd)


def refused(ns, name, value):
    """EINVAL, and nothing has changed."""
    before = ns.sysctl("cftcp." + name)
    try:
        write(ns, name, value)
    except OSError as error:
        t.equal(error.errno, errno.EINVAL, f"{name} = {value!r}")
    else:
        t.fail(f"{name} = {value!r} accepted")
    t.equal(ns.sysctl("cftcp." + name), before, name)


def fresh():
    """A namespace with the defaults."""
    ns = t.Namespace("fresh")
    t.cleanup(ns.close)
    return ns


@t.test("section-2")
def names_and_defaults():
    ns = fresh()
    with ns.inside():
        present = set(os.listdir(PATH))
    t.check(present >= {*NUMBERS, *TRIPLES}, f"missing in {sorted(present)}")
    for name, (default, _, _) in NUMBERS.items():
        t.equal(ns.sysctl("cftcp." + name), str(default), name)
    for name in TRIPLES:
        low, default, high = map(int, ns.sysctl("cftcp." + name).split())
        t.check(0 < low <= default <= high, f"{name} {low} {default} {high}")


@t.test("section-2", cases={name: name for name in NUMBERS})
def range_of(name):
    ns = fresh()
    _, low, high = NUMBERS[name]
    for value in low, high, low + (high - low) // 2:
        write(ns, name, value)
        t.equal(ns.sysctl("cftcp." + name), str(value), name)
    write(ns, name, f"{low}\n")
    beyond = [low - 1, high + 1, -(1 << 31), 1 << 31, 1 << 32, 1 << 64]
    for value in beyond:
        if low <= value <= high:
            continue
        refused(ns, name, value)
    for value in "x", "1x", "--1", "0x", "1.5":
        refused(ns, name, value)


@t.test("section-2", cases={name: name for name in TRIPLES})
def range_of_triple(name):
    ns = fresh()
    write(ns, name, "8192 20000 300000")
    t.equal(ns.sysctl("cftcp." + name).split(), ["8192", "20000", "300000"])
    for value in (
        "1000 20000 300000",
        "20001 20000 300000",
        "4096 x 300000",
        "4096 20000 -5",
        "0 0 0",
    ):
        refused(ns, name, value)


@t.test("section-2")
def each_namespace_has_its_own():
    one, two = fresh(), fresh()
    write(one, "msl_ms", 1234)
    t.equal(two.sysctl("cftcp.msl_ms"), "30000", "the other")
    t.equal(one.sysctl("cftcp.msl_ms"), "1234", "this one")
    t.equal(fresh().sysctl("cftcp.msl_ms"), "30000", "a new one")


@t.test("section-2")
def disabled():
    net = t.own_net()
    client, server = t.connect(net.a, net.b)
    listener = net.a.listener()
    net.a.tune(enabled=0)
    with t.fails_with(errno.ENOPROTOOPT):
        net.a.sock()
    client.send(b"goes on")
    t.equal(server.recv(10), b"goes on", "an open connection")
    other = net.b.sock(t.STOCK)
    other.connect((net.a.address, listener.getsockname()[1]))
    listener.accept()[0].close()
    net.a.tune(enabled=1)
    net.a.sock().close()


def time_wait(net, msl=None):
    """Close first; return the ports and when TIME-WAIT began."""
    ours, theirs = t.connect(net.a, net.b)
    if msl is not None:
        ours.setsockopt(t.SOL_CFTCP, t.CFTCP_MSL, msl)
    ends = t.ports(ours)
    ours.close()
    t.equal(theirs.recv(1), b"", "EOF")
    theirs.close()
    net.a.wait_state("TIME-WAIT", *ends)
    return ends, time.time_ns()


def must_last(ms, net, ends, began, what):
    t.near(net.a.gone_after(began, ms, *ends), ms, 0.01, 20, what)


@t.test("section-2", "MUST-13", "section-7")
def msl_acts_on_later_connections():
    """Records that are queued keep their due time, the next ones do not."""
    net = t.own_net()
    net.a.tune(msl_ms=3000)
    first, began1 = time_wait(net)
    net.a.tune(msl_ms=500)
    second, began2 = time_wait(net)
    own, began3 = time_wait(net, msl=1000)
    must_last(1000, net, second, began2, "msl_ms 500")
    must_last(2000, net, own, began3, "CFTCP_MSL 1000")
    must_last(6000, net, first, began1, "msl_ms 3000")


@t.test("section-2", "L-10")
def option_beats_sysctl():
    net = t.own_net()
    net.a.tune(msl_ms=200)
    sock = net.a.sock()
    sock.setsockopt(t.SOL_CFTCP, t.CFTCP_MSL, 5000)
    sock.setsockopt(t.SOL_CFTCP, t.CFTCP_MSL, 0)  # back to the sysctl
    sock.close()
    ends, began = time_wait(net)
    must_last(400, net, ends, began, "back to the sysctl")


@t.test("section-2", "C-55")
def timeouts_act_on_later_states():
    net = t.own_net()
    net.a.tune(user_timeout_ms=4000, rto_min_ms=50)
    ours, peer = t.with_peer(net)
    ours.send(b"lost")
    net.a.tune(user_timeout_ms=1000)
    late, other = t.with_peer(net)
    late.send(b"lost")
    began = time.monotonic()
    with t.fails_with(errno.ETIMEDOUT):
        late.recv(1)
    t.between(time.monotonic() - began, 0.95, 1.3 * t.SLOW, "1 s")
    with t.fails_with(errno.ETIMEDOUT):
        ours.recv(1)


@t.test("section-2", "SHLD-14")
def rmem_and_wmem():
    net = t.own_net()
    for size in 8192, 65536:
        net.a.tune(rmem=f"8192 {size} 1000000", wmem=f"8192 {size} 1000000")
        sock = net.a.sock()
        for opt in socket.SO_RCVBUF, socket.SO_SNDBUF:
            t.equal(sock.getsockopt(socket.SOL_SOCKET, opt), size, "buffer")
        listener = net.a.listener()
        peer = t.Peer(net)
        peer.connect(listener.getsockname()[1])
        t.check(0 < peer.peer_win <= size, f"window {peer.peer_win}")
        listener.accept()[0].close()


@t.test("section-2", "L-55", "R4987-1")
def syn_backlog():
    net = t.own_net()
    net.a.tune(max_syn_backlog=5, syn_cookies=0)
    listener = net.a.listener(backlog=1000)
    before = net.a.counters()
    peers = [t.Peer(net) for _ in range(12)]
    for peer in peers:
        peer.dut_port = listener.getsockname()[1]
        peer.send("S")
    answered = [peer for peer in peers if peer.get(0.05)]
    t.between(len(answered), 4, 6, "answered")
    now = net.a.counters()
    t.equal(now["Requests"], len(answered), "Requests")
    t.check(now["ListenOverflow"] > before["ListenOverflow"], "ListenOverflow")
    for peer in answered:
        peer.send("A")
        listener.accept()[0].close()
    late = t.Peer(net)
    late.connect(listener.getsockname()[1])


@t.test("section-2", "L-49", cases={"0": 0, "3": 3})
def max_time_wait(limit):
    net = t.own_net()
    net.a.tune(max_time_wait=limit, msl_ms=20000)
    before = net.a.counters()
    for i in range(limit + 2):
        ours, theirs = t.connect(net.a, net.b)
        ends = t.ports(ours)
        ours.close()
        theirs.recv(1)
        theirs.close()
        net.a.wait_state("TIME-WAIT" if i < limit else "CLOSED", *ends)
        net.b.wait_state("CLOSED", *ends[::-1], proto=t.STOCK)  # got its ACK
    now = net.a.counters()
    t.equal(now["TimeWait"], limit, "records")
    t.equal(
        now["TimeWaitOverflow"] - before["TimeWaitOverflow"], 2, "overflows"
    )


@t.test("section-2", "L-48")
def max_orphans():
    """Above it the oldest orphans are reset, and no other."""
    net = t.own_net()
    net.a.tune(max_orphans=2)
    before = net.a.counters()
    peers = []
    for _ in range(4):
        ours, peer = t.with_peer(net)
        ours.close()
        peer.expect("FA")
        peers.append(peer)
    for peer in peers[:2]:
        peer.expect("RA")
    now = net.a.counters()
    t.equal(now["Orphans"], 2, "Orphans")
    t.equal(now["OrphanOverflow"] - before["OrphanOverflow"], 2, "overflows")
    for peer in peers[2:]:
        peer.expect_nothing(50)
        peer.send("R")


@t.test("section-2", "R1337-F1", cases={"0": 0, "1": 1})
def time_wait_ignore_rst(ignored):
    net = t.own_net()
    net.a.tune(time_wait_ignore_rst=ignored, msl_ms=5000)
    ours, peer = t.with_peer(net, "active")
    ours.shutdown(socket.SHUT_WR)
    peer.expect("FA")
    peer.send("FA", ack=2)
    peer.expect("A", ack=2)
    ends = peer.dut_port, peer.port
    net.a.wait_state("TIME-WAIT", *ends)
    peer.send("R")
    peer.expect_nothing(50)
    t.equal(net.a.state(*ends), "TIME-WAIT" if ignored else "CLOSED")
    t.equal(net.a.counters()["TimeWaitRstIgnored"], ignored)


@t.test("section-2")
def sysctls_go_with_the_namespace():
    made = [t.Namespace(f"n{i}") for i in range(20)]
    for ns in made:
        write(ns, "msl_ms", 77)
        ns.close()
    with contextlib.suppress(FileNotFoundError):
        t.equal(fresh().sysctl("cftcp.msl_ms"), "30000")


if __name__ == "__main__":
    t.main(family=4)
