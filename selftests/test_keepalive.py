#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Keepalive: a silent peer is asked whether it is there (RFC 9293 3.8.4)."""
import errno
import select
import socket
import time

import cftest as t

UNIT = 2 if t.DEBUG else 1  # s
SOL_TCP = t.SOL_TCP
IDLE, INTVL, CNT = 4, 5, 6  # TCP_KEEP*
ON = (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def connection(role="passive", keep=True, **options):
    """(our socket, hand-made peer), and three seconds of silence at most."""
    ours, peer = t.with_peer(t.net(), role, **options)
    t.cleanup(peer.send, "RA")
    if keep:
        times(ours, 3 * UNIT, UNIT, 3)
        ours.setsockopt(*ON)
    return ours, peer


def times(sock, idle, interval, count):
    for option, value in (IDLE, idle), (INTVL, interval), (CNT, count):
        sock.setsockopt(SOL_TCP, option, value)


def probe(peer, since, ms):
    """The next segment is a probe, `ms` after `since` (time_ns)."""
    seg = peer.expect("A", seq=peer.rcv - 1, length=0, timeout=ms / 1000 + 5)
    t.near((seg.time - since) / 1e6, ms, 0.01, 6, "ms until a probe")
    t.equal(seg.rel_ack, peer.nxt, "ACK of the probe")
    return seg


def state(peer):
    return t.net().a.state(peer.dut_port, peer.port)


@t.test("L-56")
def switched_on_again():
    """What is on stays as it is: no probe is put off."""
    ours, peer = connection()
    since = time.time_ns()
    peer.send("A", data=b"!")
    peer.expect("A", seq=1)
    for _ in range(4):
        peer.expect_nothing(500 * UNIT)
        ours.setsockopt(*ON)
    probe(peer, since, 3000 * UNIT)
    peer.expect_nothing(500 * UNIT)
    ours.setsockopt(*ON)
    probe(peer, since, 4000 * UNIT)


@t.test("MUST-25", "MUST-28", "R2525-9/11", "L-56", "MUST-27")
def defaults():
    net = t.net()
    listener = net.a.listener()
    ours, peer = connection(keep=False)
    for sock in net.a.sock(), listener, ours:
        t.equal(sock.getsockopt(*ON[:2]), 0, "SO_KEEPALIVE")
        seen = [sock.getsockopt(SOL_TCP, o) for o in (IDLE, INTVL, CNT)]
        t.equal(seen, [7200, 75, 9], "times")
    if t.DUT == t.CFTCP:
        for name, value in (
            ("keepalive_time_ms", 7200000),
            ("keepalive_intvl_ms", 75000),
            ("keepalive_probes", 9),
        ):
            t.equal(int(net.a.sysctl("cftcp." + name)), value, name)


@t.test("MUST-27", "L-56")
def limits():
    ours = t.net().a.sock()
    for option, most in (IDLE, 32767), (INTVL, 32767), (CNT, 127):
        for value in 1, most:
            ours.setsockopt(SOL_TCP, option, value)
            t.equal(ours.getsockopt(SOL_TCP, option), value, "read back")
        for value in 0, -1, most + 1:
            with t.fails_with(errno.EINVAL):
                ours.setsockopt(SOL_TCP, option, value)
        t.equal(ours.getsockopt(SOL_TCP, option), most, "unchanged")


@t.test("MUST-24", "MUST-26", "MUST-27", "MUST-29", "SHLD-12", "MAY-5",
        "R1122-36", "L-56", cases={"passive": "passive", "active": "active"})  # fmt: skip
def probes(role):
    """After the silence a probe; each answer begins the silence anew."""
    ours, peer = connection(role)
    since = time.time_ns()
    probe(peer, since, 3000 * UNIT)
    peer.send("A")
    since = time.time_ns()
    first = probe(peer, since, 3000 * UNIT)
    probe(peer, first.time, 1000 * UNIT)  # one unanswered is not death
    peer.send("A")
    probe(peer, time.time_ns(), 3000 * UNIT)
    t.equal(state(peer), "ESTABLISHED")
    ours.setsockopt(*ON[:2], 0)
    peer.expect_nothing(4000 * UNIT, "SO_KEEPALIVE off:")


@t.test("MUST-24", "MUST-25")
def off():
    """Without SO_KEEPALIVE an idle connection is silent, whatever the times."""
    ours, peer = connection(keep=False)
    times(ours, UNIT, UNIT, 1)
    peer.expect_nothing(5000 * UNIT)
    t.equal(state(peer), "ESTABLISHED")


@t.test("MUST-24", "MUST-27")
def switched_on_in_time():
    """SO_KEEPALIVE before connect() and on a listener; times from sysctls."""
    net = t.net()
    net.a.tune(keepalive_time_ms=1500 * UNIT, keepalive_intvl_ms=500 * UNIT,
               keepalive_probes=2)  # fmt: skip
    listener = net.a.listener()
    ours = net.a.sock()
    for sock in listener, ours:
        sock.setsockopt(*ON)
        if t.DUT != t.CFTCP:
            times(sock, 2, 1, 2)
    passive = t.Peer(net)
    passive.connect(listener.getsockname()[1])
    child = listener.accept()[0]
    t.cleanup(child.close)
    since = time.time_ns()
    t.equal(child.getsockopt(*ON[:2]), 1, "inherited")
    first = 1500 * UNIT if t.DUT == t.CFTCP else 2000
    probe(passive, since, first)
    passive.send("RA")
    active = t.Peer(net)
    ours.setblocking(False)
    ours.connect_ex((active.address, active.port))
    active.accept()
    since = time.time_ns()
    probe(active, since, first)
    active.send("RA")


@t.test("MUST-27", "L-56")
def times_inherited():
    net = t.net()
    listener = net.a.listener()
    times(listener, 11, 12, 13)
    peer = t.Peer(net)
    peer.connect(listener.getsockname()[1])
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    seen = [ours.getsockopt(SOL_TCP, o) for o in (IDLE, INTVL, CNT)]
    t.equal(seen, [11, 12, 13], "times")
    peer.send("RA")


@t.test("MUST-27")
def idle_time_changes():
    """A new TCP_KEEPIDLE counts from when the peer was last heard."""
    ours, peer = connection(keep=False)
    ours.setsockopt(SOL_TCP, IDLE, 100)
    ours.setsockopt(*ON)
    peer.send("AP", data=b"x")
    heard = time.time_ns()
    peer.expect("A", ack=2)
    peer.expect_nothing(1000 * UNIT)
    ours.setsockopt(SOL_TCP, IDLE, 2 * UNIT)
    probe(peer, heard, 2000 * UNIT)
    ours.recv(1)


@t.test("MUST-26")
def what_is_heard_counts():
    """Text and ACKs of the peer begin the silence anew."""
    ours, peer = connection()
    for _ in range(3):
        peer.expect_nothing(2000 * UNIT)
        peer.send("AP", data=b"x")
        heard = time.time_ns()
        peer.expect("A", ack=peer.nxt)
    probe(peer, heard, 3000 * UNIT)
    peer.send("A")
    ours.recv(9)


@t.test("MUST-26")
def no_probe_while_something_is_outstanding():
    """Text that is not acknowledged, or waits for the window, asks itself."""
    net = t.net()
    ours, peer = connection(keep=False, ts=True)
    times(ours, 1, 1, 2)
    ours.setsockopt(*ON)
    before = net.a.counters()
    ours.send(b"lost")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        seg = peer.get(1)
        t.check(not seg or (seg.rel_seq, seg.len) == (1, 4), f"{seg}")
    t.equal(state(peer), "ESTABLISHED")
    peer.expect("A", seq=1, length=4, timeout=60)
    peer.rcv = 5
    peer.send("A", win=0)
    ours.send(b"waits")
    for _ in range(5):
        peer.expect("A", seq=4, length=0, timeout=60)
        peer.send("A", win=0)
    after = net.a.counters()
    t.equal(after["KeepaliveProbe"], before["KeepaliveProbe"], "probes")
    peer.send("A", win=1000)
    peer.expect(seq=5, length=5)
    peer.send("A")


def death(ours, peer, since, ms, wait=None):
    """RST,ACK after that time, and ETIMEDOUT for the user."""
    seg = peer.expect("RA", seq=peer.rcv, ack=peer.nxt, timeout=ms / 1000 + 5)
    t.near((seg.time - since) / 1e6, ms, 0.01, 6, "ms until the RST")
    t.net().a.wait_state("CLOSED", peer.dut_port, peer.port)
    if wait:
        with t.fails_with(errno.ETIMEDOUT):
            wait.result()
    else:
        error = ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        t.equal(error, errno.ETIMEDOUT, "SO_ERROR")
    t.equal(ours.recv(1), b"", "read after the error")


@t.test("L-56", "MUST-29", "C-47")
def dead_peer():
    """TCP_KEEPCNT probes unanswered: RST, and who reads is told."""
    net = t.net()
    ours, peer = connection()
    reader = t.Background(ours.recv, 1)
    before = net.a.counters()
    last = probe(peer, time.time_ns(), 3000 * UNIT).time
    for _ in range(2):
        last = probe(peer, last, 1000 * UNIT).time
    death(ours, peer, last, 1000 * UNIT, reader)
    if t.DUT == t.CFTCP:
        after = net.a.counters()
        t.equal(after["KeepaliveProbe"] - before["KeepaliveProbe"], 3)
        t.equal(after["AbortOnTimeout"] - before["AbortOnTimeout"], 1)


@t.test("L-56", "D-30", "FIN-WAIT-2/E23", "CLOSE-WAIT/E23", "C-33",
        cases={s: s for s in ("FIN-WAIT-2", "CLOSE-WAIT")})  # fmt: skip
def dead_peer_half_closed(which):
    """It runs on a half-closed connection that the user has open."""
    ours, peer = connection()
    if which == "FIN-WAIT-2":
        ours.shutdown(socket.SHUT_WR)
        peer.expect("FA", seq=1)
        peer.send("A")
    else:
        peer.send("FA")
        peer.expect("A", ack=2)
        peer.flush(100)
    t.net().a.wait_state(which, peer.dut_port, peer.port)
    seg = peer.expect("A", seq=peer.rcv - 1, length=0, timeout=3.1 * UNIT)
    for _ in range(2):
        seg = probe(peer, seg.time, 1000 * UNIT)
    if which == "CLOSE-WAIT":
        with select.epoll() as poller:
            poller.register(ours, select.EPOLLERR)
            t.check(poller.poll(5 * UNIT), "EPOLLERR")
        t.equal(ours.recv(1), b"", "EOF goes before the error")
    death(ours, peer, seg.time, 1000 * UNIT)


@t.test("D-30", "C-28")
def not_of_an_orphan():
    """A closed socket has the FIN-WAIT-2 timer instead."""
    t.net().a.tune(fin_wait2_timeout_ms=8000 * UNIT)
    ours, peer = connection()
    times(ours, 1, 1, 1)
    ours.close()
    peer.expect("FA", seq=1)
    peer.send("A")
    if t.DUT == t.CFTCP:
        peer.expect_nothing(7000 * UNIT)
        t.equal(state(peer), "FIN-WAIT-2")
    peer.send("FA")
    peer.expect("A", ack=2)
    t.net().a.wait_state("TIME-WAIT", peer.dut_port, peer.port)
    peer.expect_nothing(3000 * UNIT, "TIME-WAIT:")


@t.test("L-44", "L-56", cases={
    "earlier than the probes": (3, 1, 9, 4500, 4500),
    "later than the probes": (3, 1, 1, 6500, 6500),
    "earlier than the silence": (3, 1, 9, 1000, 4000),
})  # fmt: skip
def user_timeout_overrides(idle, interval, count, timeout, dead):
    """TCP_USER_TIMEOUT says when a silent peer is dead, TCP_KEEPCNT no more."""
    if t.DUT != t.CFTCP:  # which looks only when a probe is due
        dead = -(-dead // 1000) * 1000
    ours, peer = connection(keep=False)
    times(ours, idle * UNIT, interval * UNIT, count)
    ours.setsockopt(SOL_TCP, t.TCP_USER_TIMEOUT, timeout * UNIT)
    ours.setsockopt(*ON)
    since = time.time_ns()
    for at in range(idle * 1000, dead, interval * 1000):
        probe(peer, since, at * UNIT)
    death(ours, peer, since, dead * UNIT)


@t.test("L-56", "C-52")
def observed():
    """/proc shows the timer, TCP_INFO the probes that were not answered."""
    ours, peer = connection()
    row = t.net().a.rows(peer.dut_port, peer.port)[0]
    t.equal(row.timer, 2, "timer")
    t.between(row.expires, 0.5 * UNIT, 3 * UNIT, "s left")
    probe(peer, time.time_ns(), 3000 * UNIT)
    info = ours.getsockopt(SOL_TCP, socket.TCP_INFO, 8)
    t.equal(info[3], 1, "tcpi_probes")
    peer.send("A")
    t.wait_for(
        lambda: ours.getsockopt(SOL_TCP, socket.TCP_INFO, 8)[3] == 0, 2
    )


t.main()
