#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Finding and repairing losses: RACK, loss probes, timeouts, SACK, D-SACK.

The other end is made by hand and answers after a round trip of RTT, so that
in virtual time each retransmission has its exact moment.
"""
import errno
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
    net.a.tune(pmtu_probing=0)  # timeouts are no black hole here
    listener = net.a.listener()
    peer = t.Peer(net, **{"sack": True, "mss": MSS, **options})
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.peer_win = peer.expect("SA").win
    time.sleep(RTT)
    peer.send("A")
    ours = listener.accept()[0]
    t.cleanup(reset, ours)
    listener.close()
    peer.mss_now = MSS - 12 * peer.ts
    for _ in range(25):
        ours.send(b"x")
        answer(peer, 1)
    return ours, peer


def reset(ours):
    if ours.fileno() < 0:
        return
    t.linger(ours, 1, 0)
    ours.close()


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


@t.test("R8985-2", "R8985-8")
def reordering_that_was_seen_is_allowed_for():
    """Then three SACKed segments do not shut the window any more."""
    ours, peer = connection()
    _, edges = flight(ours, peer, 3)
    time.sleep(RTT)
    sack(peer, edges[1], ack=edges[0][0])
    time.sleep(RTT / 5)
    peer.send("A", ack=edges[2][1])
    _, edges = flight(ours, peer, 6)
    time.sleep(RTT)
    told = now()
    sack(peer, (edges[1][0], edges[4][1]), ack=edges[0][0])
    again = peer.expect(length=MSS)
    if t.DEBUG and again.rel_seq == edges[5][0]:  # a probe was sooner
        again = peer.expect(length=MSS)
    t.equal(again.rel_seq, edges[0][0], "what was sent again")
    t.near(after(again, told), RTT / 4, slack=0.002, what="s of reordering")
    peer.send("A", ack=edges[5][1])
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


@t.test("R8985-5", "R6298-5.4-5.6")
def retransmission_without_an_answer():
    """Who has a hole answers at once: what is not answered after a round trip
    and the reordering window is sent again. Twice; then the RTO has its turn."""
    ours, peer = connection()
    t.net().a.tune(repair_copies=2)
    _, edges = flight(ours, peer, 4)
    time.sleep(RTT)
    sack(peer, (edges[1][0], edges[3][1]), ack=edges[0][0])
    copies = [peer.expect(seq=edges[0][0], length=MSS) for _ in range(7)]
    for before, again in (1, 2), (3, 4):
        passed = after(copies[again], copies[before])
        t.near(passed, RTT * 5 / 4, slack=0.003, what="s")
    t.between(after(copies[6], copies[5]), 2 * RTT, 4 * RTT * t.SLOW, "s")
    peer.send("A", ack=edges[3][1])
    quiet(peer, 2000)


@t.test("R8985-2", "R8985-3")
def repair_copies():
    """When nothing else waits a repair leaves twice, and a D-SACK that tells of
    that does not widen the reordering window."""
    ours, peer = connection()
    t.net().a.tune(repair_copies=2)
    _, edges = flight(ours, peer, 4)
    time.sleep(RTT)
    sack(peer, (edges[1][0], edges[3][1]), ack=edges[0][0])
    copies = [peer.expect(seq=edges[0][0], length=MSS) for _ in range(2)]
    t.near(after(copies[1], copies[0]), 0, slack=0.002, what="s to the copy")
    time.sleep(RTT)
    peer.send("A", ack=edges[3][1])
    sack(peer, edges[0], ack=edges[3][1])
    quiet(peer, 1000)
    _, edges = flight(ours, peer, 3)
    time.sleep(RTT)
    told = now()
    sack(peer, edges[1], ack=edges[0][0])
    again = peer.expect(seq=edges[0][0], length=MSS)
    t.near(after(again, told), RTT / 4, slack=0.002, what="s of reordering")
    peer.send("A", ack=edges[2][1])


@t.test("R8985-6")
def end_of_a_flight():
    """With repair_copies its end is missed when its beginning was answered."""
    ours, peer = connection()
    t.net().a.tune(repair_copies=2)
    sent, edges = flight(ours, peer, 4)
    time.sleep(RTT)
    peer.send("A", ack=edges[1][1])
    for seg, edge in (2, edges[2]), (2, edges[2]), (3, edges[3]):
        again = peer.expect(seq=edge[0], length=MSS)
        t.near(after(again, sent[seg]), RTT * 5 / 4, slack=0.003, what="s")
    peer.send("A", ack=edges[3][1])


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
    """What Nagle holds goes out as the probe."""
    ours, peer = connection()
    _, edges = flight(ours, peer, 2)
    ours.send(b"small")
    small = peer.expect(seq=edges[1][1], length=5)
    ours.send(b"rest")
    probe = peer.expect(seq=edges[1][1] + 5, length=4, timeout=5)
    t.near(after(probe, small), 2 * RTT, slack=0.002, what="s to the probe")
    peer.send("A", ack=edges[1][1] + 9)
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


@t.test("R2018-6", "R2018-7")
def peer_takes_back_what_it_sacked():
    """A timeout of what was SACKed: no SACK before it counts any more."""
    ours, peer = connection()
    sent, edges = flight(ours, peer, 6)
    time.sleep(RTT)
    sack(peer, (edges[1][0], edges[5][1]), ack=edges[0][0])
    peer.expect(seq=edges[0][0], length=MSS)
    peer.send("A", ack=edges[0][1])
    peer.expect(seq=edges[1][0], length=MSS, timeout=5)
    told = now()
    peer.send("A", ack=edges[1][1])
    for number in range(2, 6):
        again = peer.expect(seq=edges[number][0], length=MSS, timeout=1)
        t.equal(again.data, sent[number].data, "octets")
        t.near(after(again, told), 0, slack=0.005, what="s to the repair")
    peer.send("A", ack=edges[5][1])
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
    most = 2 * rto_before * t.SLOW
    t.between(rto(ours), rto_before, most, "RTO without backoff")
    ours.send(bytes(peer.mss_now))  # what is new goes on
    fresh = peer.expect(seq=edges[5][1])
    for number in range(1, 6):
        peer.send("A", ack=edges[number][1])
    peer.send("A", ack=end(fresh))
    quiet(peer, 2000)


# --- SACK and D-SACK that we send ---------------------------------------------


def blocks(peer, seg):
    """SACK blocks of a segment, relative."""
    return [
        tuple(t.distance(edge, peer.iss) for edge in pair)
        for pair in seg.opts.get("sack", [])
    ]


@t.test("R2883-1", "R2018-4", cases={"plain": False, "stamped": True})
def what_came_twice(ts):
    """Told in the first block, once; what encloses it follows."""
    ours, peer = connection(ts=ts)

    def told(seq, size, *wanted, ack, flags="A"):
        peer.send(flags, seq=seq, data=bytes(size))
        seg = peer.expect("A", ack=ack, length=0)
        t.equal(blocks(peer, seg), list(wanted), f"after {seq}+{size}")

    peer.send("A", seq=1, data=bytes(100))
    t.equal(blocks(peer, peer.expect("A", ack=101)), [], "new")
    told(1, 100, (1, 101), ack=101)
    told(40, 61, (40, 101), ack=101)
    told(51, 100, (51, 101), ack=151)
    told(201, 50, (201, 251), ack=151)
    told(301, 50, (301, 351), (201, 251), ack=151)
    told(301, 50, (301, 351), (301, 351), (201, 251), ack=151)
    told(320, 50, (320, 351), (301, 370), (201, 251), ack=151)
    told(191, 30, (201, 221), (191, 251), (301, 370), ack=151)
    told(291, 20, (301, 311), (291, 370), (191, 251), ack=151)
    told(401, 50, (401, 451), (291, 370), (191, 251), ack=151)
    told(120, 31, (120, 151), (401, 451), (291, 370),
         *([] if ts else [(191, 251)]), ack=151)  # fmt: skip
    peer.send("RA", seq=151)


@t.test("R2883-1", "C-4", "ESTABLISHED/E10")
def fin_that_came_twice():
    ours, peer = connection()
    peer.send("A", seq=1, data=bytes(10))
    peer.send("FA", seq=11)
    peer.expect("A", ack=12)
    for number in range(3):
        peer.send("FA", seq=11)
        t.equal(blocks(peer, peer.expect("A", ack=12)), [(11, 12)], "FIN")
    peer.send("FA", seq=1, data=bytes(10))
    t.equal(blocks(peer, peer.expect("A", ack=12)), [(1, 12)], "text and FIN")
    t.equal(t.read_all(ours), bytes(10), "text")


@t.test("R2883-1", "R2018-2")
def nothing_is_told_without_sack():
    ours, peer = connection(sack=False)
    peer.send("A", seq=1, data=bytes(10))
    peer.expect("A", ack=11)
    for seq, size in (1, 10), (21, 10), (21, 10):
        peer.send("A", seq=seq, data=bytes(size))
        t.equal(peer.expect("A", ack=11).opts.get("sack"), None, "SACK")


@t.test("R2018-3", "R2018-5", "MUST-16", cases={"plain": False, "stamped": True})
def blocks_beside_text(ts):
    """As many as there is room for; a full segment has none."""
    ours, peer = connection(ts=ts)
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    for seq in 101, 301, 501:
        peer.send("A", seq=seq, data=bytes(50))
        peer.expect("A", ack=1)
    for size in 1, peer.mss_now - 12, peer.mss_now - 11, peer.mss_now:
        ours.send(bytes(size))
        seg = peer.expect(length=size)
        room = (peer.mss_now - size - 4) // 8
        t.equal(len(blocks(peer, seg)), min(3, max(room, 0)), f"beside {size}")
        t.check((seg.tcp[12] >> 4) * 4 + seg.len <= 20 + MSS, "too long")
        peer.send("A", seq=1)


@t.test("R2018-8", "R2018-6", "R2525-5", "R2018-4")
def what_was_sacked_is_kept():
    """Up to the edge of the window: filling the hole acknowledges it all."""
    ours, peer = connection()
    rcv_wnd = peer.peer_win
    whole = t.pattern(rcv_wnd, 5)
    for at in range(MSS, rcv_wnd - MSS, MSS):
        peer.send("A", seq=1 + at, data=whole[at : at + MSS])
        told = blocks(peer, peer.expect("A", ack=1))
        t.equal(told, [(1 + MSS, 1 + at + MSS)], "SACK")
    peer.send("A", seq=1, data=whole[:MSS])
    size = at + MSS
    t.equal(peer.expect("A").rel_ack, 1 + size, "acknowledged")
    t.equal(t.read_exactly(ours, size), whole[:size], "data")


# --- time stamps --------------------------------------------------------------


@t.test("R7323-11", "R6298-3b", "R8961-2a-d", "R6298-2.2/2.3",
        cases={"plain": False, "stamped": True})  # fmt: skip
def each_round_trip_counts(ts):
    """Once a round trip, by ACKs of something new and by no others."""
    ours, peer = connection(ts=ts)
    srtt = info(ours, 68) / 1e6
    t.near(srtt, RTT, slack=0.002, what="s of SRTT")
    for _ in range(5):
        ours.send(b"x")
        peer.expect(length=1)
        time.sleep(2 * RTT)
        peer.send("A")
        srtt += (2 * RTT - srtt) / 8
        t.near(info(ours, 68) / 1e6, srtt, slack=0.002, what="s of SRTT")
    time.sleep(1)
    before = info(ours, 68)
    for _ in range(3):
        peer.send("A", win=30000)
        peer.send("A")
    peer.send("A", data=b"y")
    peer.expect("A", ack=peer.nxt)
    t.equal(info(ours, 68), before, "SRTT")


@t.test("R7323-17", "R7323-10", "R6191-D")
def clock_of_time_stamps():
    """A tick a ms, from where nobody knows, and on in the next connection."""
    seen = []
    for _ in range(2):
        ours, peer = connection(ts=True)
        for _ in range(2):
            ours.send(b"x")
            seen.append(peer.expect(length=1))
            peer.send("A")
            time.sleep(1)
    for first, second in zip(seen, seen[1:]):
        ticks = second.opts["ts"][0] - first.opts["ts"][0] & 0xFFFFFFFF
        t.near(ticks, after(second, first) * 1000, slack=2, what="ticks")
    offset = t.distance(second.opts["ts"][0], time.monotonic_ns() // 10**6)
    t.check(abs(offset) > 10000, f"offset {offset}")


@t.test("R7323-8")
def reset_is_stamped():
    ours, peer = connection(ts=True)
    reset(ours)
    seg = peer.expect("RA")
    t.equal(seg.opts.get("ts", (0, 0))[1], peer.ts_now, "TSecr")


@t.test("R7323-5", "SHLD-15", "SHLD-16", "MUST-34")
def edge_moved_by_rounding():
    """A scaled window may lose less than a unit: all goes on."""
    ours, peer = connection(ws=7, win=100)  # 12800 octets
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    at = peer.rcv
    ours.send(bytes(12800))
    while peer.rcv < at + 12800:
        t.check(peer.expect(timeout=1).len, "text")
    time.sleep(RTT)
    peer.send("A", ack=at + 1000, win=92)  # the edge is 24 octets back
    quiet(peer, 50)
    peer.send("A", ack=at + 12800, win=100)
    ours.send(b"on")
    t.equal(peer.expect(seq=at + 12800).data, b"on", "text")
    peer.send("A")
    t.equal(t.net().a.state(peer.dut_port, peer.port), "ESTABLISHED")


# --- the retransmission timer -------------------------------------------------


@t.test("R6298-5.3", "R6298-5.1", "R6298-5.2")
def timer_restarts_with_progress():
    ours, peer = connection(sack=False)
    _, edges = flight(ours, peer, 4)
    for number in 0, 1, 2:
        time.sleep(rto(ours) * 0.8)
        told = now()
        peer.send("A", ack=edges[number][1])
    again = peer.expect(seq=edges[3][0], timeout=5)
    t.near(after(again, told), rto(ours) / 2, slack=0.005, what="s")
    peer.send("A", ack=edges[3][1])
    quiet(peer, 5000)


@t.test("R6298-5.7", "R8961-1", "R6298-2.1")
def three_seconds_after_a_lost_syn():
    net = t.net()
    ours = net.a.sock()
    ours.setblocking(False)
    peer = t.Peer(net)
    ours.connect_ex((peer.address, peer.port))
    lost = peer.expect("S")
    syn = peer.expect("S", timeout=5)
    t.near(after(syn, lost), 1, slack=0.01, what="s")
    peer.dut_port, peer.rcv = syn.sport, 1
    peer.send("SA")
    peer.expect("A", seq=1, ack=1)
    ours.send(b"x")
    sent = peer.expect(seq=1, length=1)
    again = peer.expect(seq=1, length=1, timeout=10)
    t.near(after(again, sent), 3, slack=0.01, what="s")
    peer.send("A", ack=2)


@t.test("SHLD-16", "SHLD-15", "R6298-5.4-5.6")
def repair_within_a_shrunk_window():
    """What lies inside is sent again, what lies outside is not."""
    ours, peer = connection()
    _, edges = flight(ours, peer, 6)
    time.sleep(RTT)
    sack(peer, edges[5], ack=edges[0][0])
    for _ in range(5):
        peer.expect(length=MSS)
    peer.send("A", ack=edges[0][0], win=2 * MSS)
    again = peer.expect(seq=edges[0][0], timeout=5)
    peer.send("A", ack=edges[0][1], win=2 * MSS)
    for number in 1, 2:
        peer.expect(seq=edges[number][0], length=MSS, timeout=1)
    quiet(peer, 100)
    peer.send("A", ack=edges[5][1], win=65535)
    quiet(peer, 2000)


@t.test("MUST-20", "SHLD-9", "SHLD-10", "R1122-20h", "R1122-35")
def r1_is_three_retransmissions():
    """Then the route is looked up anew, and SO_ERROR tells who asks."""
    ours, peer = connection(sack=False)
    name = "fib6" if t.FAMILY == 6 else "fib"
    trace = t.Trace(f"{name}/{name}_table_lookup")

    def lookups():
        with open(trace.path + "/trace") as file:
            return file.read().count(f" {peer.address}/{peer.port} ")

    ours.send(b"x")
    peer.expect(length=1)
    for number in range(1, 6):
        peer.expect(length=1, timeout=20)
        error = ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        t.equal(lookups() > 0, number > 3, f"look-up at {number}")
        t.equal(error, errno.ETIMEDOUT if number > 3 else 0, f"at {number}")
    peer.send("A")
    t.equal(ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0, "then")
    ours.send(b"y")
    answer(peer, 1)


if __name__ == "__main__":
    t.main()
