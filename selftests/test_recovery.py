#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Finding and repairing losses: RACK, loss probes, timeouts, SACK, D-SACK.

The other end is made by hand and answers after a round trip of RTT, so that
in virtual time each retransmission has its exact moment.
"""
import socket
import struct
import time

import cftest as t

RTT = 0.1  # s
MSS = 1000
DELACK = 0.2  # s, what a peer may delay its ACK


def now():
    return time.time_ns()


def connection(**options):
    """(our socket, peer); SRTT is RTT, RTTVAR next to nothing."""
    net = t.net()
    listener = net.a.listener()
    peer = t.Peer(net, **{"sack": True, "mss": MSS, **options})
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA")
    time.sleep(RTT)
    peer.send("A")
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    listener.close()
    peer.mss_now = MSS - 12 * peer.ts
    for _ in range(25):
        ours.send(b"x")
        answer(peer, 1)
    return ours, peer


def answer(peer, segments):
    """Take that many segments and acknowledge them after RTT."""
    for _ in range(segments):
        seg = peer.expect(timeout=5)
        t.check(seg.len, str(seg))
    time.sleep(RTT)
    peer.send("A")


def flight(ours, peer, segments):
    """Send full segments; the flight as it came, [(first, end)] of each."""
    ours.send(t.pattern(segments * peer.mss_now, 3))
    seen = [peer.expect(timeout=1) for _ in range(segments)]
    edges = [(s.rel_seq, s.rel_seq + s.len) for s in seen]
    t.equal([s.len for s in seen], [peer.mss_now] * segments, "segments")
    return seen, edges


def sack(peer, *ranges, ack):
    """An ACK with SACK blocks, the stamp too if there are timestamps."""
    opts = peer.stamp() if peer.ts else b""
    blocks = [(peer.irs + a, peer.irs + b) for a, b in ranges]
    peer.send("A", ack=ack, opts=opts + b"\1\1" + t.opt_sack(*blocks))


def after(seg, before):
    """Seconds from one segment, or time, to another."""
    since = before if isinstance(before, int) else before.time
    return (seg.time - since) / 1e9


def quiet(peer, ms):
    peer.expect_nothing(ms, "nothing more:")


def info(ours, offset, size="I"):
    raw = ours.getsockopt(t.SOL_TCP, socket.TCP_INFO, 232)
    return struct.unpack_from(size, raw, offset)[0]


def rto(ours):
    """s, with backoff."""
    return info(ours, 8) / 1e6


def counted(name):
    return t.net().a.counters()[name]


# --- RACK ---------------------------------------------------------------------


@t.test("R8985-2", "R8985-1", "R8985-8", "MUST-18")
def one_of_ten_is_lost():
    """The reordering window is a quarter of the round trip; three SACKed
    segments shut it."""
    ours, peer = connection()
    sent, edges = flight(ours, peer, 10)
    time.sleep(RTT)
    told = now()
    sack(peer, edges[1], ack=edges[0][0])
    again = peer.expect(seq=edges[0][0], length=MSS)
    t.near(after(again, told), RTT / 4, slack=0.002, what="s of reordering")
    t.equal(again.data, sent[0].data, "octets")
    sack(peer, (edges[1][0], edges[3][1]), ack=edges[0][0])
    time.sleep(RTT / 2)
    told = now()
    sack(peer, edges[5], (edges[1][0], edges[3][1]), ack=edges[0][0])
    again = peer.expect(seq=edges[4][0], length=MSS)
    t.near(after(again, told), 0, slack=0.002, what="s to the second loss")
    peer.send("A", ack=edges[9][1])
    quiet(peer, 2000)


@t.test("R8985-2")
def reordering_is_no_loss():
    """Overtaken by less than the window: nothing is sent again."""
    ours, peer = connection()
    _, edges = flight(ours, peer, 4)
    time.sleep(RTT)
    sack(peer, edges[1], ack=edges[0][0])
    time.sleep(RTT / 5)
    peer.send("A", ack=edges[1][1])
    time.sleep(RTT / 10)
    peer.send("A", ack=edges[3][1])
    quiet(peer, 2000)


@t.test("R8985-2", "R8985-7", "R6298-3a")
def retransmission_that_is_lost():
    """RACK finds it by what was sent after it, long before a timeout."""
    ours, peer = connection()
    _, edges = flight(ours, peer, 5)
    time.sleep(RTT)
    sack(peer, (edges[1][0], edges[4][1]), ack=edges[0][0])
    first = peer.expect(seq=edges[0][0])
    ours.send(bytes(MSS))
    fresh = peer.expect(seq=edges[4][1])
    time.sleep(RTT)
    told = now()
    sack(peer, (edges[1][0], end(fresh)), ack=edges[0][0])
    second = peer.expect(seq=edges[0][0])
    t.between(after(second, told), 0, 0.005 * t.SLOW, "s")
    t.between(after(second, first), RTT, 1.1 * RTT * t.SLOW, "s")
    peer.send("A", ack=end(fresh))
    quiet(peer, 2000)


def end(seg):
    return seg.rel_seq + seg.span


def lose_first(ours, peer, dsack=False):
    """The first of three is lost, or with `dsack` only late. Returns seconds
    from the SACK of the second to the retransmission."""
    _, edges = flight(ours, peer, 3)
    time.sleep(RTT)
    told = now()
    sack(peer, edges[1], ack=edges[0][0])
    again = peer.expect(seq=edges[0][0], timeout=5)
    waited = after(again, told)
    if dsack:
        sack(peer, edges[0], ack=edges[2][1])
    else:
        peer.send("A", ack=edges[2][1])
    peer.rcv = edges[2][1]
    peer.flush()
    return waited


@t.test("R8985-3", "R2883-1")
def dsack_widens_the_window():
    """A quarter of the round trip more with each D-SACK, for 16 recoveries,
    and no more than the round trip."""
    ours, peer = connection()
    reorder(ours, peer)
    before = counted("DsackReceived")
    for quarters in 1, 2, 3, 4, 4:
        waited = lose_first(ours, peer, dsack=True)
        t.near(waited, quarters * RTT / 4, slack=0.003, what="s")
    t.equal(counted("DsackReceived") - before, 5, "D-SACKs")
    for _ in range(16):
        t.near(lose_first(ours, peer), RTT, slack=0.003, what="s")
    t.near(lose_first(ours, peer), RTT / 4, slack=0.003, what="s at the end")


def reorder(ours, peer):
    """Let it be seen that segments overtake each other."""
    _, edges = flight(ours, peer, 2)
    time.sleep(RTT)
    sack(peer, edges[1], ack=edges[0][0])
    peer.send("A", ack=edges[1][1])


# --- loss probes --------------------------------------------------------------


def connection_with_timestamps():
    return connection(ts=True)


@t.test("R8985-5", "R8985-6", "R8985-7", "R8985-8")
def tail_is_probed():
    """The last of three is lost: a probe after two round trips, and one only;
    what it repaired is known when more is acknowledged."""
    ours, peer = connection()
    before = t.net().a.counters()
    sent, edges = flight(ours, peer, 3)
    probe = peer.expect(seq=edges[2][0], length=MSS, timeout=5)
    t.near(after(probe, sent[2]), 2 * RTT, slack=0.002, what="s to the probe")
    t.equal(probe.data, sent[2].data, "octets")
    timeout = peer.expect(seq=edges[0][0], timeout=5)
    t.near(after(timeout, probe), rto(ours) / 2, 0.02, 0.01, "s of RTO")
    peer.send("A", ack=edges[2][1])
    ours.send(b"x")
    answer(peer, 1)
    now_ = t.net().a.counters()
    t.equal(now_["LossProbe"] - before["LossProbe"], 1, "probes")


@t.test("R8985-7", cases={"repaired": False, "spurious": True})
def probe_is_judged(spurious):
    ours, peer = connection()
    before = counted("LossProbeRepaired")
    _, edges = flight(ours, peer, 3)
    peer.expect(seq=edges[2][0], length=MSS)
    if spurious:
        peer.send("A", ack=edges[2][1])
        sack(peer, edges[2], ack=edges[2][1])
    else:
        peer.send("A", ack=edges[2][1])
    quiet(peer, 1000)
    ours.send(b"x")
    answer(peer, 1)
    quiet(peer, 1000)
    t.equal(counted("LossProbeRepaired") - before, int(not spurious))
    ours.send(bytes(2 * MSS))  # and the next flight may be probed again
    sent = [peer.expect(length=MSS) for _ in range(2)]
    probe = peer.expect(seq=sent[1].rel_seq)
    t.near(after(probe, sent[1]), 2 * RTT, slack=0.002, what="s")
    peer.send("A")


@t.test("R8985-5", "R8985-8", "R8985-6", "R6298-5.1", "R6298-5.0")
def lone_fin_is_probed():
    """With one segment in flight the peer may delay its ACK: 2*SRTT and 200 ms,
    but not beyond the RTO."""
    ours, peer = connection()
    wait = min(2 * RTT + DELACK, rto(ours))
    at = peer.rcv
    ours.shutdown(socket.SHUT_WR)
    fins = [peer.expect("FA", seq=at, timeout=10) for _ in range(4)]
    t.near(after(fins[1], fins[0]), wait, slack=0.003, what="s to the probe")
    for seen, times in zip((2, 3), (1, 2)):
        gap = after(fins[seen], fins[seen - 1])
        t.near(gap, times * (RTT + DELACK), 0.02, 0.01, "s of RTO")
    peer.send("A", ack=at + 1)
    quiet(peer, 3000)


@t.test("R8985-5", "R8985-6")
def data_and_fin_lost():
    """The probe is the last segment with its FIN, and its SACK brings the rest."""
    ours, peer = connection()
    ours.send(bytes(3 * MSS))
    ours.shutdown(socket.SHUT_WR)
    seen = []
    while not seen or "F" not in seen[-1].flags:
        seen.append(peer.expect(timeout=1))
    probe = peer.expect(seq=seen[-1].rel_seq, timeout=5)
    t.check(probe.has("F") and probe.len == seen[-1].len, str(probe))
    t.near(after(probe, seen[-1]), 2 * RTT, slack=0.002, what="s to the probe")
    time.sleep(RTT)
    told = now()
    sack(peer, (probe.rel_seq, end(probe)), ack=seen[0].rel_seq)
    for lost in seen[:-1]:
        again = peer.expect(seq=lost.rel_seq)
        t.near(after(again, told), 0, slack=0.003, what="s to the repair")
    peer.send("A", ack=end(probe))
    quiet(peer, 2000)


@t.test("R8985-6")
def probe_with_new_data():
    """Nagle's rest goes out as the probe."""
    ours, peer = connection()
    sent, edges = flight(ours, peer, 2)
    ours.send(b"rest")
    probe = peer.expect(seq=edges[1][1], length=4, timeout=5)
    t.near(after(probe, sent[1]), 2 * RTT, slack=0.002, what="s to the probe")
    peer.send("A", ack=edges[1][1] + 4)
    quiet(peer, 2000)


@t.test("R8985-5")
def no_probe_without_sack():
    ours, peer = connection(sack=False)
    sent, edges = flight(ours, peer, 3)
    wait = rto(ours)
    again = peer.expect(seq=edges[0][0], timeout=5)
    t.near(after(again, sent[0]), wait, slack=0.003, what="s")
    peer.send("A", ack=edges[2][1])


# --- timeouts -----------------------------------------------------------------


@t.test("R8985-4", "R6675-4", "R2525-14", "R2018-7", "R6298-5.4-5.6",
        cases={"sack": True, "plain": False})  # fmt: skip
def all_lost(with_sack):
    """One segment a timeout; the first ACK then brings all the rest at once."""
    ours, peer = connection(sack=with_sack)
    sent, edges = flight(ours, peer, 8)
    if with_sack:
        peer.expect(seq=edges[7][0], timeout=5)  # the probe
    for _ in range(2):
        peer.expect(seq=edges[0][0], length=MSS, timeout=5)
    quiet(peer, 300)
    told = now()
    peer.send("A", ack=edges[0][1])
    for number in range(1, 8):
        again = peer.expect(seq=edges[number][0], length=MSS, timeout=1)
        t.equal(again.data, sent[number].data, "octets")
        t.near(after(again, told), 0, slack=0.005, what="s to the repair")
    for number in range(1, 8):  # and none is sent a third time
        peer.send("A", ack=edges[number][1])
    quiet(peer, 2000)


def spurious_timeout(ours, peer):
    """The ACKs of a flight come late by more than the RTO; (edges, the RTO
    before) when the first of them has been answered."""
    sent, edges = flight(ours, peer, 6)
    before = rto(ours)
    stamp = peer.ts_recent
    peer.expect(seq=edges[5][0], timeout=5)  # a probe
    peer.expect(seq=edges[0][0], timeout=5)
    peer.ts_recent = stamp
    peer.send("A", ack=edges[0][1])
    return edges, before


@t.test("C-12", "R6298-3a", "R8961-4b")
def late_acks_are_no_loss():
    """RFC 3522, RFC 4015: the echo is older than the retransmission."""
    ours, peer = connection(ts=True)
    before = counted("RtoSpurious")
    edges, rto_before = spurious_timeout(ours, peer)
    quiet(peer, 20)
    t.equal(counted("RtoSpurious") - before, 1, "spurious timeouts")
    t.between(rto(ours), rto_before, 2 * rto_before, "RTO without backoff")
    ours.send(bytes(peer.mss_now))  # what is new goes on
    fresh = peer.expect(seq=edges[5][1])
    for number in range(1, 6):
        peer.send("A", ack=edges[number][1])
    peer.send("A", ack=end(fresh))
    quiet(peer, 2000)


if __name__ == "__main__":
    t.main()
