#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Opening, moving data and repairing loss, segment by segment.

The other end is made by hand, so that each number on the wire is known.
"""
import errno
import random
import socket
import struct
import time

import cftest as t

MSG_MORE = 0x8000
ACKED = 0.25 * (4 if t.DEBUG else 1)  # s, longer than an ACK is delayed
HELD_MS = 20 if t.DEBUG else 100  # well within 200, the limit of a cork
QUIET = 0.7 if t.DEBUG else 0.03  # s of silence that end a burst


def connection(role="passive", **options):
    """(our socket, hand-made peer); all we sent is examined after the test."""
    net = t.net()
    if (
        t.DEBUG
        and t.DUT == t.CFTCP
        and net.a.sysctl("cftcp.rto_min_ms") == "200"
    ):
        net.a.tune(rto_min_ms=2000)  # slow machine: no timeout by mistake
    ours, peer = t.with_peer(net, role, **options)
    t.cleanup(examine, peer)
    return ours, peer


def examine(peer):
    """What must hold for every segment: MUST-2, MUST-65, MUST-68, MUST-69."""
    for seg in peer.all:
        t.check(seg.csum_ok, f"checksum of {seg}")
        t.check("S" in seg.flags or "mss" not in seg.opts, f"MSS on {seg}")
        t.check(
            "S" in seg.flags or "sackok" not in seg.opts, f"SACKOK on {seg}"
        )
        t.check("S" in seg.flags or "ws" not in seg.opts, f"WS on {seg}")
        t.check(seg.ack == 0 or "A" in seg.flags, f"ACK number on {seg}")
        well_formed(seg)


def well_formed(seg):
    raw, at = seg.tcp[20 : (seg.tcp[12] >> 4) * 4], 0
    while at < len(raw):
        if raw[at] == 0:
            t.check(not any(raw[at:]), f"padding of {seg}")
            return
        at += 1 if raw[at] == 1 else raw[at + 1]
        t.check(raw[at - 1] == 1 or at <= len(raw), f"options of {seg}")


def burst(peer, quiet=QUIET):
    """What comes until there is silence."""
    segments = []
    while seg := peer.get(quiet, factor=1):
        segments.append(seg)
    return segments


def data_of(segments):
    return [seg for seg in segments if seg.len]


def gaps(segments):
    """Seconds between the segments."""
    times = [seg.time / 1e9 for seg in segments]
    return [after - before for before, after in zip(times, times[1:])]


def end(seg):
    return seg.rel_seq + seg.len


def doubling(seen, first, times=2):
    """Each gap is twice the one before; timers may be an eighth late."""
    low, high = (0.6, 1.7) if t.DEBUG else (0.87, 1.15)
    for gap in seen:
        t.between(gap, first * low, first * high + 0.02 * t.SLOW, "gap")
        first = gap * times


def refused(sock):
    """connect() fails so; stock TCP says ECONNRESET in SYN-RECEIVED."""
    number = t.wait_for(
        lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 5, "error"
    )
    if t.DUT == t.CFTCP or number != errno.ECONNRESET:
        t.equal(number, errno.ECONNREFUSED, "SO_ERROR")


def nothing_to_read(sock):
    sock.setblocking(False)
    with t.fails_with(errno.EAGAIN):
        sock.recv(1)
    sock.settimeout(20 * t.SLOW)


def take(peer, size):
    """Let that much come without acknowledging it."""
    while peer.rcv <= size:
        t.check(peer.get(), f"wanted {size} octets, saw {peer.rcv - 1}")


# --- opening ------------------------------------------------------------------


@t.test("MUST-14", "SHLD-5", "MUST-67", "R2018-1", "R7323-2", "R7323-10")
def syn_offers_everything():
    ours, peer = connection("active", ts=True, sack=True, ws=7)
    t.equal(peer.peer_opts["mss"], t.MSS, "MSS")
    t.check(peer.peer_opts.get("sackok"), "SACK permitted")
    t.between(peer.peer_opts["ws"], 0, 14, "window scale")
    t.equal(peer.peer_opts["ts"][1], 0, "TSecr of a SYN")
    ours.sendall(b"x")
    t.check("ts" in peer.expect("A", seq=1, ack=1, length=1).opts, "TS")


OFFERS = {
    "nothing": dict(),
    "timestamps": dict(ts=True),
    "sack": dict(sack=True),
    "scale": dict(ws=3),
    "all": dict(ts=True, sack=True, ws=3),
}


@t.test(
    "R7323-1",
    "R7323-6",
    "R7323-7",
    "R2018-1",
    "LISTEN/SYN",
    "SYN-SENT/SYN+ACK",
    cases={
        f"{role} {name}": (role, offer)
        for role in ("passive", "active")
        for name, offer in OFFERS.items()
    },
)
def options_that_both_sides_offer(role, offer):
    ours, peer = connection(role, **offer)
    if role == "passive":
        t.equal("ts" in peer.peer_opts, "ts" in offer, "TS in SYN,ACK")
        t.equal("ws" in peer.peer_opts, "ws" in offer, "WS in SYN,ACK")
        t.equal("sackok" in peer.peer_opts, "sack" in offer, "SACK in SYN,ACK")
    peer.all[:1] = [] if role == "active" else peer.all[:1]
    ours.sendall(t.pattern(3000))
    t.equal(peer.expect_data(3000), t.pattern(3000), "data")
    peer.send("AP", data=b"out of order", seq=peer.nxt + 10)
    t.equal(
        "sack" in peer.expect("A", ack=peer.nxt, length=0).opts,
        "sack" in offer,
        "SACK",
    )
    peer.send("A", data=bytes(10))
    t.read_exactly(ours, 22)
    ours.close()
    burst(peer)
    for seg in peer.all:
        t.equal("ts" in seg.opts, "ts" in offer, f"TS in {seg}")


@t.test("MUST-4", "MUST-5", "MUST-6", "MUST-64")
def odd_options_in_the_syn():
    for opts in (
        b"\1\1" + t.opt_mss(1000) + b"\0\0",
        b"\1" + t.opt_mss(1000) + b"\0\0\0",
        b"\xfd\6abcd" + t.opt_mss(1000) + b"\1\1",
        b"\x63\x24" + bytes(34) + t.opt_mss(1000),
        b"\x1c\4\0\5" + t.opt_mss(1000),  # a user timeout, R5482-1
    ):
        net = t.net()
        listener = net.a.listener()
        peer = t.Peer(net)
        peer.dut_port = listener.getsockname()[1]
        peer.send("S", opts=opts)
        answer = peer.expect("SA", ack=1)
        t.equal(set(answer.opts), {"mss"}, "options of the answer")
        peer.send("A", opts=b"\xfe\4ab")
        ours = listener.accept()[0]
        ours.sendall(bytes(3000))
        t.equal(max(s.len for s in burst(peer)), 1000, "largest segment")
        peer.send("RA")


@t.test(
    "MUST-14",
    "MUST-15",
    "MUST-16",
    "SHLD-28",
    "R2525-18",
    cases={
        "300": (300, False, 300),
        "none": (None, False, t.DEFAULT_MSS),
        "ours, with time stamps": (t.MSS, True, t.MSS - 12),
        "ours": (t.MSS, False, t.MSS),
        "jumbo": (9000, False, t.MSS),
    },
)
def largest_segment(mss, ts, wanted):
    for role in "passive", "active":
        ours, peer = connection(role, mss=mss, ts=ts)
        ours.sendall(t.pattern(wanted * 6))
        sizes = [seg.len for seg in data_of(burst(peer))]
        t.equal(set(sizes), {wanted}, "segment sizes")
        peer.send("RA")


@t.test("MUST-16", "MUST-67")
def smaller_mtu():
    net = t.own_net()
    net.a.run("ip link set a0 mtu 1400")
    ours, peer = t.with_peer(net, "active")
    mss = 1400 - t.IP_HEADER - 20
    t.equal(peer.peer_opts["mss"], mss, "MSS offered")
    ours.sendall(bytes(4000))
    t.equal(max(s.len for s in burst(peer)), mss, "largest segment")


@t.test("MUST-14")
def maxseg_is_offered():
    net = t.net()
    ours = net.a.sock()
    ours.setsockopt(t.SOL_TCP, socket.TCP_MAXSEG, 600)
    ours.setblocking(False)
    peer = t.Peer(net)
    ours.connect_ex((peer.address, peer.port))
    peer.accept()
    t.equal(peer.peer_opts["mss"], 600, "MSS offered")
    t.wait_for(lambda: ours.send(bytes(3000)) == 3000, 5)
    t.check(max(s.len for s in burst(peer)) <= 600, "largest segment")


@t.test("MUST-8", "MUST-9", "SHLD-1", "R6528-1", "R6528-3", "C-54")
def initial_sequence_numbers():
    net = t.net()
    listener = net.a.listener()

    def isn(port):
        peer = t.Peer(net, port=port)
        peer.dut_port = listener.getsockname()[1]
        peer.send("S")
        answer = peer.expect("SA")
        peer.send("R", seq=1)
        peer.close()
        return answer.seq, answer.time / 1e9

    seen = [isn(4000) for _ in range(2)]
    for _ in range(3):
        t.wait_for(lambda: isn(4001)[1] > seen[-1][1] + 0.2, 5)
        seen.append(isn(4000))
    for (isn1, at1), (isn2, at2) in zip(seen, seen[1:]):
        grown = t.distance(isn2, isn1)
        rate = grown / (at2 - at1)
        t.check(grown > 0, f"ISN went back by {-grown}")
        t.check(at2 - at1 < 0.1 or 2e5 < rate < 2e7, f"{rate:.0f} a second")
    offsets = {isn(4100 + i)[0] - isn(4200 + i)[0] for i in range(10)}
    t.equal(len(offsets), 10, "offsets between 4-tuples that differ")
    spread = max(isn(4300 + i)[0] for i in range(20)) >> 28
    t.check(spread > 0, "all small")


@t.test("R6528-2", "R6528-3", "MUST-8", "C-54")
def isn_clock_has_no_jumps():
    """The secret is never changed: the ISN of a 4-tuple keeps its pace."""
    if t.DUT == t.STOCK:
        return  # another clock
    listener = t.net().a.listener()

    def isn():
        peer = t.Peer(t.net(), port=4400)
        peer.dut_port = listener.getsockname()[1]
        peer.send("S")
        answer = peer.expect("SA")
        peer.send("R", seq=1)
        peer.close()
        return answer

    before = isn()
    for seconds in 1 if t.DEBUG else 7, 5 if t.DEBUG else 1800:
        time.sleep(seconds)
        now = isn()
        ticks = round((now.time - before.time) / 4096)
        off = t.distance(now.seq, before.seq + ticks)
        t.between(off, -3000 * t.SLOW, 3000 * t.SLOW, "ticks of 4 us")
        before = now


@t.test("R6191-D", "R7323-17")
def timestamps_go_on():
    """From one connection of two hosts to the next the clock of timestamps
    goes on, on whichever ports."""
    net = t.net()
    listener = net.a.listener()
    port = listener.getsockname()[1]

    def stamp(role):
        peer = t.Peer(net, ts=True)
        if role == "passive":
            peer.dut_port = port
            peer.send("S")
        else:
            ours = net.a.sock(timeout=0)
            ours.connect_ex((peer.address, peer.port))
        seg = peer.get()
        peer.dut_port = seg.sport
        peer.send("RA", seq=seg.has("A"), ack=1)
        return seg.opts["ts"][0], seg.time / 1e6

    first, began = stamp("passive")
    for role in "active", "passive", "active":
        time.sleep(0.05)
        value, now = stamp(role)
        passed = t.distance(value, first)
        t.near(passed, now - began, 0.01, slack=2, what="ms of timestamps")


@t.test("MUST-10", "R1122-4.2.2.8", "SYN-SENT/SYN", "SYN-RECEIVED/ACK")
def simultaneous_open():
    for flags in "A", "SA":
        net = t.net()
        ours = net.a.sock()
        ours.setblocking(False)
        peer = t.Peer(net)
        t.cleanup(examine, peer)
        ours.connect_ex((peer.address, peer.port))
        peer.dut_port = peer.expect("S", seq=0).sport
        peer.send("S")
        peer.expect("SA", seq=0, ack=1)
        net.a.wait_state("SYN-RECEIVED", peer.dut_port, peer.port)
        peer.rcv = 1
        peer.send(flags, seq=0 if flags == "SA" else 1)
        net.a.wait_state("ESTABLISHED", peer.dut_port, peer.port)
        burst(peer)
        peer.send("A", data=b"hello")
        t.wait_for(lambda: ours.recv(9) == b"hello", 5)
        ours.send(b"world")
        t.equal(data_of(burst(peer))[0].data, b"world", "data")
        peer.send("RA")


@t.test("C-4", "MUST-10", "SYN-RECEIVED/ACK")
def old_text_in_syn_received():
    """It is answered by an ACK, and does not open the connection."""
    net = t.net()
    ours = net.a.sock()
    ours.setblocking(False)
    peer = t.Peer(net)
    ours.connect_ex((peer.address, peer.port))
    peer.dut_port = peer.expect("S", seq=0).sport
    peer.send("S")
    peer.expect("SA", seq=0, ack=1)
    peer.rcv = 1
    for seq, data in ((-9, b"old"), (-4, b"12345"), (200000, b"far")):
        peer.send("A", seq=seq, data=data)
        peer.expect("A", seq=1, ack=1, length=0)
        t.equal(net.a.state(peer.dut_port, peer.port), "SYN-RECEIVED")
    peer.send("A", seq=1)
    net.a.wait_state("ESTABLISHED", peer.dut_port, peer.port)
    peer.send("RA", seq=1)


@t.test("R7323-3", "MUST-10")
def window_of_a_syn_ack():
    """Also the SYN,ACK of a simultaneous open has a window that is not scaled."""
    net = t.net()
    ours = net.a.sock()
    ours.setblocking(False)
    peer = t.Peer(net, ws=7)
    t.cleanup(examine, peer)
    ours.connect_ex((peer.address, peer.port))
    peer.dut_port = peer.expect("S", seq=0).sport
    peer.send("S")
    peer.expect("SA", seq=0, ack=1)
    peer.rcv = 1
    peer.send("SA", seq=0, win=1000)
    net.a.wait_state("ESTABLISHED", peer.dut_port, peer.port)
    ours.send(bytes(5000))
    seen = [peer.get(5)] + burst(peer)
    t.between(end(data_of(seen)[-1]), 2, 1001, "right edge")
    peer.send("RA")


@t.test("R6298-3a", "MUST-18")
def syn_ack_sent_twice():
    """No round trip is measured by the ACK of a SYN,ACK that was repeated."""
    net = t.net()
    net.a.tune(rto_init_ms=20000)
    listener = net.a.listener()
    peer = t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA", ack=1)
    time.sleep(0.5)
    peer.send("S", seq=0)
    peer.expect("SA", ack=1)
    peer.send("A")
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    info = ours.getsockopt(t.SOL_TCP, socket.TCP_INFO, 104)
    rtt = struct.unpack_from("I", info, 68)[0]
    t.equal(rtt, 0, "rtt in us")
    peer.send("RA")


@t.test("MUST-11", "R1122-4.2.2.8", "SYN-RECEIVED/RST", "SYN-RECEIVED/RST-INEXACT", "C-7")
def reset_in_syn_received():
    net = t.net()
    listener = net.a.listener()
    port = listener.getsockname()[1]
    peer = t.Peer(net)
    peer.dut_port = port
    peer.send("S")
    peer.expect("SA", ack=1)
    peer.send("R", seq=50)  # in the window but not exact: challenge ACK
    peer.expect("A", ack=1)
    peer.send("R", seq=1)
    peer.send("A", seq=1)  # nobody knows it any more
    peer.expect("R", seq=1)
    t.Peer(net).connect(port)
    listener.accept()[0].close()
    listener.setblocking(False)
    with t.fails_with(errno.EAGAIN):
        listener.accept()
    ours = net.a.sock()
    ours.setblocking(False)
    peer = t.Peer(net)
    ours.connect_ex((peer.address, peer.port))
    peer.dut_port = peer.expect("S").sport
    peer.send("S")
    peer.expect("SA")
    peer.send("R", seq=1)
    refused(ours)


@t.test("C-44", "C-45", "C-24", "R5961-4", "SYN-SENT/ACK", "SYN-SENT/RST",
        "SYN-SENT/RST+ACK", "SYN-SENT/FIN")  # fmt: skip
def wrong_answers_to_a_syn():
    net = t.net()
    ours = net.a.sock()
    ours.setblocking(False)
    peer = t.Peer(net)
    ours.connect_ex((peer.address, peer.port))
    peer.dut_port = peer.expect("S").sport
    for ack in 0, 2, 1000:
        peer.send("SA", seq=0, ack=ack)
        peer.expect("R", seq=ack)
        peer.send("A", seq=0, ack=ack)
        peer.expect("R", seq=ack)
        peer.send("RA", seq=0, ack=ack)
    peer.send("R", seq=0)
    peer.send("F", seq=0)
    peer.send("FA", seq=0, ack=1)
    t.check(all(s.is_flags("S") for s in burst(peer)), "an answer")
    t.equal(net.a.state(peer.dut_port, peer.port), "SYN-SENT")
    peer.send("RA", seq=0, ack=1)
    refused(ours)


@t.test("C-44", "C-26", "R4987-3", "SYN-RECEIVED/SYN", "SYN-RECEIVED/BAD-ACK",
        "SYN-RECEIVED/ACK")  # fmt: skip
def wrong_answers_to_a_syn_ack():
    net = t.net()
    listener = net.a.listener()
    peer = t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA", seq=0, ack=1)
    peer.send("S", seq=0)  # again: SYN,ACK again or an ACK
    t.check(peer.get().rel_ack == 1, "answer to a repeated SYN")
    for ack in 0, 2, 5000:
        peer.send("A", ack=ack)
        peer.expect("R", seq=ack)
    peer.send("A", data=b"early", seq=1)
    peer.send("FA", seq=6)
    ours = listener.accept()[0]
    t.equal(t.read_all(ours), b"early", "data on the third segment")
    net.a.wait_state("CLOSE-WAIT", peer.dut_port, peer.port)


@t.test("MUST-22", "MUST-23", "R1122-35", "R6298-2.1", "R8961-1", "R2525-7",
        "SYN-SENT/R2")  # fmt: skip
def syn_is_repeated():
    if t.DUT == t.STOCK:
        return  # other sysctls
    net = t.net()
    part = 10 if t.DEBUG else 1  # of the four minutes
    if part > 1:
        net.a.tune(rto_init_ms=1000 // part, rto_max_ms=120000 // part)
    capture = t.Capture(net.b)
    ours = net.a.sock(timeout=None)
    with t.fails_with(errno.ETIMEDOUT):
        ours.connect((t.GHOST, 9))
    seen = capture.segments(9)
    t.check(all(s.is_flags("S") for s in seen), "only SYNs")
    t.equal(len({s.seq for s in seen}), 1, "sequence numbers")
    doubling(gaps(seen), 1 / part)
    last = t.time.time() - seen[0].time / 1e9
    t.check(last >= 180 / part, f"gave up after {last} s")


@t.test("MUST-22", "R6298-5.4-5.6", cases={"1": 1, "3": 3})
def syn_retries(retries):
    if t.DUT == t.STOCK:
        return  # other sysctls
    net = t.net()
    net.a.tune(syn_retries=retries, rto_init_ms=300)
    capture = t.Capture(net.b)
    ours = net.a.sock(timeout=None)
    with t.fails_with(errno.ETIMEDOUT):
        ours.connect((t.GHOST, 9))
    t.equal(len(capture.segments(9)), 1 + retries, "SYNs")
    doubling(gaps(capture.segments(9)), 0.3)


@t.test("R4987-3", "SYN-RECEIVED/R2")
def syn_ack_is_repeated():
    if t.DUT == t.STOCK:
        return  # other sysctls
    net = t.net()
    net.a.tune(synack_retries=3)
    before = net.a.counters()
    listener = net.a.listener()
    peer = t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    seen = burst(peer, 20)
    t.check(all(s.is_flags("SA") and s.rel_seq == 0 for s in seen), str(seen))
    t.equal(len(seen), 4, "SYN,ACKs")
    doubling(gaps(seen), 1)
    after = net.a.counters()
    t.equal(after["RequestExpired"] - before["RequestExpired"], 1)
    t.equal(after["Requests"], before["Requests"], "requests left")


# --- receiving ----------------------------------------------------------------


@t.test("SHLD-31", "R2525-5", "MAY-13", "C-3", "C-4", "C-5")
def reassembly():
    ours, peer = connection()
    whole = t.pattern(26)
    for begin, stop in (4, 8), (12, 16), (6, 14), (2, 3), (1, 5), (20, 26):
        peer.send("A", seq=1 + begin, data=whole[begin:stop])
        peer.expect("A", ack=1)
    peer.send("A", seq=1, data=whole[:2])  # closes the first hole
    peer.expect("A", ack=17)
    peer.send("A", seq=1 + 10, data=whole[10:22])  # overlaps on both sides
    peer.expect("A", ack=27)
    t.equal(ours.recv(100), whole, "data")
    peer.send("A", seq=1 + 3, data=whole[3:9])  # old
    peer.expect("A", ack=27)
    peer.nxt = 27
    peer.send("AP", data=b"new")
    t.equal(ours.recv(100), b"new", "data")


@t.test("SHLD-31", "R2525-5", "C-23", cases={str(n): n for n in range(5)})
def reassembly_at_random(seed):
    """Pieces of a stream, overlapping, repeated and in any order."""
    rnd = random.Random(seed)
    whole = t.pattern(40000, seed)
    ours, peer = connection(sack=seed % 2, ts=seed % 3 == 0)
    pieces = [(at, rnd.randint(600, 1400)) for at in range(0, 40000, 500)]
    pieces += [rnd.choice(pieces) for _ in range(30)]
    rnd.shuffle(pieces)
    reader = t.Background(t.read_exactly, ours, 40000)
    for at, size in pieces:
        peer.send("A", seq=1 + at, data=whole[at : at + size])
    seen = burst(peer)
    t.equal(seen[-1].rel_ack, 40001, "all acknowledged")
    t.equal(sorted(s.rel_ack for s in seen), [s.rel_ack for s in seen])
    t.equal(t.digest(reader.result()), t.digest(whole), "data")


@t.test("R2018-3", "R2018-4", "R2018-5", "R2018-2", "MAY-13")
def sack_blocks():
    ours, peer = connection(sack=True)
    # the first block holds the newest segment, older ones follow
    seen = []
    for at in 100, 300, 500:
        peer.send("A", seq=at, data=bytes(50))
        seen.insert(0, (at, at + 50))
        got = blocks(peer, peer.expect("A", ack=1))
        t.equal(got, seen, f"SACK after {at}")
    peer.send("A", seq=150, data=bytes(50))  # grows the oldest
    got = blocks(peer, peer.expect("A", ack=1))
    t.equal(got[0], (100, 200), "block that grew")
    peer.send("A", seq=700, data=bytes(50))
    peer.expect("A", ack=1)
    peer.send("A", seq=900, data=bytes(50))
    got = blocks(peer, peer.expect("A", ack=1))
    t.equal(got[0], (900, 950), "newest")
    t.between(len(got), 3, 4, "blocks")
    peer.send("FA", seq=1000)  # a FIN beyond a hole takes a number too
    t.equal(blocks(peer, peer.expect("A", ack=1))[0], (1000, 1001), "FIN")
    peer.send("A", seq=1, data=bytes(999))
    t.equal(blocks(peer, peer.expect("A", ack=1001)), [], "no hole left")
    t.equal(t.read_all(ours), bytes(999), "data")


def blocks(peer, seg):
    """SACK blocks, relative."""
    return [
        tuple(t.distance(edge, peer.iss) for edge in pair)
        for pair in seg.opts.get("sack", [])
    ]


@t.test("R2018-5")
def sack_beside_timestamps():
    ours, peer = connection(sack=True, ts=True)
    for at in range(100, 1000, 100):
        peer.send("A", seq=at, data=bytes(50))
        seg = peer.expect("A", ack=1)
        t.equal(blocks(peer, seg)[0], (at, at + 50), "first block")
    t.equal(len(blocks(peer, seg)), 3, "blocks")
    t.check((seg.tcp[12] >> 4) * 4 <= 60 and "ts" in seg.opts, "TS")


@t.test("MUST-40", "SHLD-18")
def ack_is_delayed():
    ours, peer = connection()
    for _ in range(20):  # past any quick acknowledging at the start
        peer.send("AP", data=b"x")
        sent = t.time.time()
        seg = peer.expect("A", ack=peer.nxt, timeout=1)
    delay = seg.time / 1e9 - sent
    t.between(delay, 0.01, 0.5 * (2 if t.DEBUG else 1), "delay")


@t.test("SHLD-18")
def read_and_answered():
    """The window of a SYN,ACK has 16 bits. That a reader takes the request is no
    reason to tell the whole of it: the answer does."""
    ours, peer = t.with_peer(t.net(), ws=7)
    peer.send("AP", data=b"?")
    t.equal(t.read_exactly(ours, 1), b"?")
    if not t.DEBUG:  # where the delay may be over by now
        peer.expect_nothing(10)
    peer.flush()
    ours.send(b"!")
    answer = peer.expect("PA", ack=2)
    t.check(answer.win << peer.peer_opts["ws"] > 65535, f"window: {answer}")


@t.test("SHLD-19", "MUST-58", "R2525-13")
def ack_every_second_segment():
    ours, peer = connection()
    for _ in range(20):
        peer.send("A", data=bytes(t.MSS))
        peer.send("A", data=bytes(t.MSS))
        burst(peer, ACKED)
        t.read_exactly(ours, 2 * t.MSS)
    for _ in range(5):
        peer.send("A", data=bytes(t.MSS))
        peer.send("A", data=bytes(t.MSS))
        seg = peer.expect("A", ack=peer.nxt, timeout=0.02 * t.SLOW)
    t.check(seg.len == 0, "pure ACK")


@t.test("MUST-59", "MUST-58")
def few_acks_for_a_burst():
    ours, peer = connection(ws=7)
    for _ in range(40):
        peer.send("A", data=bytes(1000))
    seen = burst(peer, ACKED)
    t.equal(seen[-1].rel_ack, 40001, "acknowledged")
    t.check(len(seen) <= 40, f"{len(seen)} ACKs for 40 segments")


@t.test(
    "MUST-66",
    "MAY-8",
    "C-23",
    "SHLD-14",
    "C-4",
    cases={"of small segments": 500, "of full segments": t.MSS},
)
def full_receive_buffer(part):
    net = t.net()
    listener = net.a.listener()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    peer = t.Peer(net)
    t.cleanup(examine, peer)
    peer.connect(listener.getsockname()[1])
    ours = listener.accept()[0]
    edge, sent = 1 + peer.peer_win, 0
    for _ in range(2000):
        room = edge - peer.nxt
        if room <= 0:
            break
        size = min(room, part)
        peer.send("A", data=t.pattern(part)[:size])
        sent += size
        for seg in [peer.get(1)] + burst(peer, 0):
            t.check(seg, "no ACK")
            t.check(seg.rel_ack + seg.win >= edge, "the edge moved left")
            edge = seg.rel_ack + seg.win
    t.equal(seg.win, 0, "window when the buffer is full")
    t.equal(seg.rel_ack, peer.nxt, "acknowledged")
    peer.send("A", seq=peer.nxt, data=b"beyond")  # a probe with data
    peer.expect("A", ack=peer.nxt)
    ours.send(b"x")  # ACKs still count
    peer.expect("A", length=1)
    peer.send("A")
    peer.expect_nothing(1000)
    t.equal(len(ours.recv(1 << 20)), sent, "data in the buffer")
    update = peer.expect("A", ack=peer.nxt)
    t.check(update.win > 1000, "window update")
    ours.sendall(b"y")
    peer.expect("A", length=1)
    peer.send("R", seq=peer.nxt)
    t.wait_for(lambda: net.a.state(peer.dut_port, peer.port) == "CLOSED", 5)


@t.test("MUST-39")
def no_small_window_updates():
    """The reader takes one octet at a time from a full buffer."""
    net = t.net()
    listener = net.a.listener()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    peer = t.Peer(net)
    peer.connect(listener.getsockname()[1])
    ours = listener.accept()[0]
    edge, win = 1 + peer.peer_win, peer.peer_win
    while edge > peer.nxt:
        peer.send("A", data=bytes(min(t.MSS, edge - peer.nxt)))
        for seg in [peer.get(1)] + burst(peer, 0):
            edge, win = seg.rel_ack + seg.win, seg.win
    t.equal(win, 0, "window")
    total = 0
    ours.setblocking(False)
    while ours.recv(1) and total < 1 << 20:
        total += 1
        for seg in burst(peer, 0):
            gain = seg.rel_ack + seg.win - edge
            t.check(
                gain == 0 or gain >= t.MSS or gain >= 4096,
                f"an update of {gain} after {total} reads",
            )
            edge += gain
        if edge > peer.nxt + 4000:
            break
    t.check(edge > peer.nxt, "no update at all")


@t.test("R7323-3", "R7323-4", "REC-1", "R7323-2")
def window_scale():
    ours, peer = connection(ws=2, win=50000)
    t.check(peer.peer_win <= 65535, "SYN,ACK window")
    shift = peer.peer_opts["ws"]
    peer.send("AP", data=b"x")
    seg = peer.get()
    t.check(seg.win << shift > 10000, f"window {seg.win} << {shift}")
    t.equal(ours.recv(1), b"x", "data")
    thread = t.Background(ours.sendall, bytes(300000))
    total = 0
    while total < 100000 and (seg := peer.get(1)):
        total = max(total, end(seg) - 1)
        if t.DUT == t.STOCK:  # has a congestion window
            peer.send("A", ack=end(seg))
    t.check(total >= 100000, f"only {total} in flight with 200000")
    peer.send("RA")
    with t.fails_with(errno.ECONNRESET):
        thread.result()
        ours.recv(1)


@t.test("R7323-2")
def window_scale_above_14():
    ours, peer = connection(ws=15, win=1)
    peer.send("A", win=1)  # 1 << 14 is 16384, were it 15: 32768
    ours.send(bytes(32768))
    seen = data_of(burst(peer, 0.1))
    t.between(end(seen[-1]) - 1, 10 * t.MSS, 16384, "in flight")


@t.test("R7323-12", "R7323-10", "R7323-16")
def timestamp_echo():
    ours, peer = connection(ts=True)
    peer.send("AP", data=b"12345")
    first = peer.ts_now
    t.equal(peer.expect("A", ack=6).opts["ts"][1], first, "TSecr")
    peer.send("A", seq=20, data=b"later")  # out of order: not echoed
    t.equal(peer.expect("A", ack=6).opts["ts"][1], first, "TSecr with a hole")
    peer.send("A", seq=6, data=bytes(14))
    t.check(peer.expect("A", ack=25).opts["ts"][1] > first, "TSecr moved")
    peer.nxt = 25
    stamps = []
    for _ in range(3):
        ours.send(b"z")
        stamps.append(peer.expect("A", length=1).opts["ts"][0])
        peer.send("A")
    t.equal(stamps, sorted(stamps), "our clock")


@t.test("R7323-12")
def timestamp_of_a_guess():
    """Who does not know what to acknowledge does not make all others old."""
    ours, peer = connection(ts=True)
    guess = peer.stamp(back=-(1 << 30))
    peer.send("", seq=1, data=b"no ACK", opts=guess)
    peer.send("A", seq=1, ack=1 << 30, data=b"of what?", opts=guess)
    peer.send("AP", data=b"good")
    t.equal(ours.recv(10), b"good", "data")


@t.test("R5961-5")
def syn_without_timestamps():
    """Who opens anew, and stamps no more, hears of the connection of before."""
    _, peer = connection(ts=True)
    peer.send("S", seq=77777, opts=b"")
    peer.expect("A", seq=1, ack=1, what="challenge ACK:")


@t.test("R7323-13", "R7323-14", "R7323-9")
def old_timestamps():
    ours, peer = connection(ts=True)
    for _ in range(200):
        peer.stamp()
    peer.send("AP", data=b"new")
    peer.expect("A", ack=4)
    before = t.net().a.counters()
    peer.send("A", data=b"old", seq=4, opts=peer.stamp(back=500))
    peer.expect("A", ack=4, what="stale TSval:")
    peer.send("FA", seq=4, opts=peer.stamp(back=500))
    t.check(peer.get(1) is None or True, "rate-limited")
    t.equal(ours.recv(10), b"new", "data")
    nothing_to_read(ours)
    t.equal(t.net().a.state(peer.dut_port, peer.port), "ESTABLISHED")
    if t.DUT == t.CFTCP:  # stock takes a segment without time stamp
        t.equal(t.net().a.counters()["DropPaws"] - before["DropPaws"], 2)
        peer.send("A", data=b"none", seq=4, opts=b"")
        peer.expect_nothing(100)
    peer.send("A", data=b"good", seq=4)
    t.equal(ours.recv(10), b"good", "data")
    burst(peer, 0.2)
    peer.send("R", seq=8, opts=peer.stamp(back=500))
    with t.fails_with(errno.ECONNRESET):
        ours.recv(1)


@t.test(
    "C-2",
    "C-1",
    cases={
        f"{role} {where}": (role, first)
        for role in ("passive", "active")
        for where, first in (
            ("SYN", 0xFFFFFFFF),
            ("data", 0xFFFFF000),
            ("FIN", 0xFFFFFFFF - 5001),
            ("next", 0xFFFFFFFF - 5000),
        )
    },
)
def sequence_numbers_wrap(role, first):
    ours, peer = connection(role, iss=first, ts=True, sack=True)
    whole = t.pattern(5000)
    for at in 2000, 0, 3000, 1000, 4000:
        peer.send("A", seq=1 + at, data=whole[at : at + 1000])
    peer.nxt = 5001
    ours.sendall(whole)
    t.equal(peer.expect_data(5000), whole, "data to the peer")
    peer.send("FA")
    t.equal(t.read_all(ours), whole, "data from the peer")
    ours.close()
    burst(peer)
    peer.send("A", ack=5002)
    t.net().a.wait_state("CLOSED", peer.dut_port, peer.port)


@t.test("C-4", "MAY-6", "ESTABLISHED/E18")
def keepalive_probes_are_answered():
    ours, peer = connection()
    peer.send("AP", data=b"abc")
    peer.expect("A", ack=4)
    for data in b"", b"\0", b"c":
        peer.send("A", seq=3, data=data)
        peer.expect("A", seq=1, ack=4)
        burst(peer, 0.6)
    t.equal(ours.recv(10), b"abc", "data")


# --- sending ------------------------------------------------------------------


@t.test("MUST-60", "MUST-61", "SHLD-28", "SHLD-27")
def push():
    ours, peer = connection()
    ours.sendall(b"small")
    t.check("P" in peer.expect(length=5).flags, "PSH")
    peer.send("A")
    ours.sendall(t.pattern(5000))
    seen = data_of(burst(peer))
    peer.send("A")  # the small rest may have waited for that
    seen += data_of(burst(peer))
    t.equal(end(seen[-1]), 5006, "all sent")
    t.check("P" in seen[-1].flags, "PSH on the last")
    peer.send("A")


@t.test("MUST-19", cases={"64 KB": (None, 65535), "1 MB": (5, 32768)})
def no_congestion_window(scale, win):
    """What the peer's window allows is sent at once, and again after a loss."""
    if t.DUT == t.STOCK:
        return
    t.net().a.tune(wmem="8192 8000000 8000000")
    ours, peer = connection(ws=scale, win=win)
    window = win << (scale or 0)
    peer.send("A")
    ours.setblocking(False)
    ours.send(bytes(3 * window))
    seen = data_of(burst(peer))
    # The RTO may have repeated the first one already.
    flight = max(map(end, seen)) - 1
    t.between(flight, window - t.MSS, window, "in flight")
    last = next(s for s in seen if end(s) == flight + 1)
    took = (last.time - seen[0].time) / 1e6
    t.check(took < 100 * t.SLOW, f"took {took} ms")
    burst(peer, 0.5)  # a retransmission timeout changes nothing
    peer.send("A", ack=1 + flight)
    seen = [s for s in data_of(burst(peer)) if s.rel_seq > flight]
    more = max(map(end, seen)) - 1 - flight
    t.between(more, window - t.MSS, window, "after a RTO")
    peer.send("RA")


@t.test("MUST-1", "SHLD-15", "MUST-34", "C-13", "R1122-20c/f")
def flow_control():
    ours, peer = connection(win=5000)
    ours.setblocking(False)
    ours.send(t.pattern(30000))
    seen = data_of(burst(peer))
    t.between(end(seen[-1]) - 1, 5000 - t.MSS, 5000, "in flight")
    edge = 5001
    for taken in t.MSS, 2 * t.MSS, 3 * t.MSS:
        ack, win = 1 + taken, 5000 + t.MSS - taken
        peer.send("A", ack=ack, win=win)
        edge = max(edge, ack + win)
        for seg in data_of(burst(peer)):
            t.check(end(seg) <= edge, f"{seg} beyond {edge}")
    peer.send("A", ack=ack, win=100)  # shrunk: nothing new
    top = max(end(s) for s in data_of(peer.all))
    for seg in data_of(burst(peer, 0.1)):
        t.check(end(seg) <= top, f"{seg} after the window shrank")
    peer.send("A", ack=top, win=20000)
    t.check(data_of(burst(peer)), "sending goes on")


@t.test("C-13", "R1122-20g")
def old_window_updates_do_not_count():
    ours, peer = connection(win=3000)
    ours.setblocking(False)
    ours.send(bytes(1000))
    take(peer, 1000)
    peer.send("AP", data=b"x", ack=1001, win=3000)
    ours.send(bytes(10000))
    burst(peer)
    peer.send("A", seq=1, ack=1, win=0)  # older than what came before
    peer.send("A", seq=2, ack=1001 + t.MSS, win=3000)
    t.check(data_of(burst(peer)), "stalled by an old segment")


@t.test("MUST-38", "SHLD-7")
def no_small_segments():
    """The window opens in small steps."""
    ours, peer = connection(win=4 * t.MSS)
    ours.setblocking(False)
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    ours.send(bytes(10 * t.MSS))
    take(peer, 4 * t.MSS)
    for win in range(10, t.MSS, 10):
        peer.send("A", win=win)
    t.equal(data_of(burst(peer, 0.02)), [], "small segments")
    peer.send("A", win=t.MSS)
    peer.expect("A", seq=4 * t.MSS + 1, length=t.MSS)


@t.test("MUST-35", "MUST-36", "SHLD-29", "SHLD-30", "D-24", "R2525-12")
def zero_window_probes():
    ours, peer = connection(win=1000)
    ours.send(t.pattern(1000))
    take(peer, 1000)
    began = t.time.time()
    peer.send("A", win=0)
    ours.send(b"waits")
    probes = [peer.get(30) for _ in range(6)]
    for seg in probes:
        t.equal((seg.len, seg.rel_seq), (0, 1000), "probe")
    first = probes[0].time / 1e9 - began
    t.between(first, 0.19, 1.0 + 0.1 * t.SLOW, "first probe")
    doubling(gaps(probes), gaps(probes)[0])
    t.between(
        gaps(probes)[0], first * 1.5, first * 2.5 + 0.1 * t.SLOW, "second"
    )
    peer.send("A", win=1000)
    t.equal(peer.expect("A", seq=1001).data, b"waits", "data")


@t.test("MUST-37", "MAY-8")
def acknowledged_probes_keep_it_alive():
    net = t.net()
    net.a.tune(user_timeout_ms=5000, rto_max_ms=2000)
    ours, peer = connection(win=1000)
    ours.send(bytes(1000))
    take(peer, 1000)
    peer.send("A", win=0)
    ours.send(b"waits")
    for _ in range(15):
        peer.expect("A", seq=1000, length=0, timeout=200)
        peer.send("A", win=0)
    peer.send("A", win=1000)
    t.equal(peer.expect("A", seq=1001).data, b"waits", "data")


@t.test("MUST-17", "SHLD-7")
def nagle():
    """One segment in flight may be small; full ones keep none from leaving."""
    ours, peer = connection()
    ours.send(bytes(t.MSS) + b"zero")
    peer.expect("A", length=t.MSS)
    t.equal(peer.expect("A", timeout=0.05 * t.SLOW).data, b"zero", "the rest")
    ours.send(b"held")
    peer.expect_nothing(100)
    ours.send(bytes(t.MSS))
    peer.expect("A", length=t.MSS, timeout=0.05 * t.SLOW)
    peer.send("A")
    peer.expect("A", length=4)
    peer.send("A")
    ours.send(b"one")
    peer.expect("A", length=3)
    ours.send(b"two")  # waits for the ACK, and is joined by the third
    ours.send(b"three")
    peer.expect_nothing(100)
    peer.send("A")
    t.equal(peer.expect("A").data, b"twothree", "joined")
    peer.send("A")
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    for word in b"four", b"five":
        ours.send(word)
        t.equal(peer.expect("A", timeout=0.05 * t.SLOW).data, word, "NODELAY")
    peer.send("A")


@t.test("SHLD-27", "MAY-16", "MUST-60", "C-56")
def cork_and_more():
    ours, peer = connection()
    ours.setsockopt(t.SOL_TCP, socket.TCP_CORK, 1)
    ours.send(b"cork")
    ours.send(b"ed")
    peer.expect_nothing(HELD_MS)
    ours.setsockopt(t.SOL_TCP, socket.TCP_CORK, 0)
    t.equal(peer.expect("PA").data, b"corked", "after the cork")
    peer.send("A")
    ours.send(b"more ", MSG_MORE)
    peer.expect_nothing(HELD_MS)
    ours.send(b"to come")
    t.equal(peer.expect("PA").data, b"more to come", "after MSG_MORE")
    peer.send("A")
    ours.setsockopt(t.SOL_TCP, socket.TCP_CORK, 1)
    ours.send(bytes(2000))  # full segments go
    peer.expect("A", length=t.MSS)
    peer.send("A")
    ours.close()  # and the rest with the close, FIN on it
    seg = peer.expect("FPA")
    t.equal(seg.len, 2000 - t.MSS, "rest")


@t.test("MAY-16", "MUST-36", "R8961-4b")
def cork_at_a_window_that_opens():
    """A corked rest waits as long as a cork may, not for a backed-off probe."""
    ours, peer = connection()
    ours.send(b"x")
    peer.expect("A", length=1)
    peer.send("A", win=0)
    ours.setsockopt(t.SOL_TCP, socket.TCP_CORK, 1)
    ours.send(bytes(100))
    for _ in range(5):
        peer.expect("A", length=0, timeout=30)
        peer.send("A", win=0)
    before = time.time_ns()
    peer.send("A", win=65535)
    seg = peer.expect(length=100, timeout=30)
    t.between((seg.time - before) / 1e6, 0, 300 * t.SLOW, "ms")
    again = peer.expect(length=100, timeout=30)
    t.between(gaps([seg, again])[0], 0.19, 1 * t.SLOW, "RTO")
    peer.send("A")


@t.test(
    "MUST-18",
    "MUST-19",
    "R6298-5.4-5.6",
    "R6298-2.4",
    "R6298-5.0",
    "R2525-4",
    "R2525-10",
    "R2525-14",
    "R8961-4a",
    "R8961-4b",
)
def retransmission_timeout():
    ours, peer = connection()
    whole = t.pattern(4 * t.MSS)
    ours.send(whole)
    flight = data_of(burst(peer, 0.1))
    repeats = [peer.get(60) for _ in range(6)]
    for seg in repeats:
        t.equal((seg.rel_seq, seg.data), (1, whole[: seg.len]), "repeated")
    first = repeats[0].time / 1e9 - flight[-1].time / 1e9
    t.between(first, 0.19, 0.35 * t.SLOW, "first RTO")
    doubling(gaps([flight[-1]] + repeats), first)
    peer.rcv = 1 + len(whole)
    peer.send("A")  # progress takes the backoff away
    burst(peer)
    for _ in range(2):  # samples of the round trip again
        ours.send(b"x")
        peer.expect("A", length=1)
        peer.send("A")
    ours.send(b"y")
    sent = peer.expect("A", length=1)
    gap = gaps([sent, peer.expect("A", length=1)])[0]
    t.between(gap, 0.19, 0.5 * t.SLOW, "RTO after progress")
    peer.send("A")
    peer.expect_nothing(3000)  # R6298-5.2: nothing outstanding


@t.test("R6298-2.2/2.3", "R6298-4", "SHLD-29")
def rto_follows_the_round_trip():
    net = t.net()
    listener = net.a.listener()
    peer = t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA")
    peer.expect_nothing(300)
    peer.send("A")  # the first sample: 0.3 s; RTO = 0.3 + 4 * 0.15
    ours = listener.accept()[0]
    ours.send(b"x")
    sent = peer.expect("A", length=1)
    gap = gaps([sent, peer.expect("A", length=1)])[0]
    t.between(gap, 0.87, 1.03 * (1.5 if t.DEBUG else 1), "RTO")
    peer.send("A")


@t.test("R6298-3a", "MUST-18")
def karn():
    """An ACK of what was sent twice is no sample, so the backoff stays."""
    ours, peer = connection()
    ours.send(b"x")
    sent = [peer.expect("A", length=1)] + [peer.get(5) for _ in range(3)]
    backed_off = gaps(sent)[-1]
    peer.send("A")
    ours.send(b"y")
    gap = gaps([peer.expect("A", length=1), peer.get(10)])[0]
    t.between(gap, 0.19, backed_off * 2.3 + 0.1 * t.SLOW, "RTO")
    info = ours.getsockopt(t.SOL_TCP, socket.TCP_INFO, 104)
    rtt = struct.unpack_from("I", info, 68)[0]
    t.check(rtt < 100000 * t.SLOW, f"rtt {rtt} us taken from a retransmission")
    peer.send("A")


@t.test("R6298-2.5", "R8961-4c", "L-58")
def rto_limits():
    net = t.net()
    net.a.tune(rto_min_ms=1000, rto_max_ms=4000, user_timeout_ms=60000)
    if t.DUT == t.STOCK:
        return
    ours, peer = connection()
    ours.send(b"x")
    seen = [peer.get(30) for _ in range(6)]
    for gap, wanted in zip(gaps(seen), (1, 2, 4, 4, 4)):
        t.between(gap, wanted * 0.98, wanted * 1.15 + 0.05 * t.SLOW, "gap")


@t.test("R6675-1", "MUST-18")
def fast_retransmit_on_three_duplicates():
    ours, peer = connection()
    ours.send(t.pattern(t.MSS * 8))
    flight = data_of(burst(peer))
    t.equal(len(flight), 8, "segments in flight")
    for _ in range(2):
        peer.send("A", ack=1)
    peer.expect_nothing(20)
    peer.send("A", ack=1)
    again = peer.expect("A", seq=1, timeout=0.1 * t.SLOW)
    t.equal(again.data, flight[0].data, "same octets")
    t.check(not data_of(burst(peer, 0.02)), "only what is missing")
    peer.send("A", ack=t.MSS * 8 + 1)
    peer.expect_nothing(1000)


@t.test("R6675-1", "R6675-2", "R2018-6", "R8985-2")
def fast_retransmit_on_sack():
    ours, peer = connection(sack=True)
    ours.send(t.pattern(t.MSS * 10))
    flight = data_of(burst(peer))
    t.equal(len({s.rel_seq for s in flight}), 10, "segments in flight")
    edges = [1 + t.MSS * i for i in range(11)]

    def sack(*ranges, ack=1):
        peer.send(
            "A",
            ack=ack,
            opts=b"\1\1"
            + t.opt_sack(
                *((peer.irs + edges[a], peer.irs + edges[b]) for a, b in ranges)
            ),
        )

    # the first and the fifth are lost
    for ranges in (
        [(1, 2)],
        [(1, 3)],
        [(1, 4)],
        [(5, 6), (1, 4)],
        [(5, 7), (1, 4)],
        [(5, 8), (1, 4)],
        [(5, 10), (1, 4)],
    ):
        sack(*ranges)
    again = data_of(burst(peer))
    t.equal([s.rel_seq for s in again], [edges[0], edges[4]], "repeated")
    rto = 190e6 * (10 if t.DEBUG else 1)
    t.check(again[0].time - flight[-1].time < rto, "before the timeout")
    sack((5, 10), ack=edges[4])
    peer.send("A", ack=edges[10])
    peer.expect_nothing(1000)


@t.test("R2018-3", "MAY-13", cases={"sack": True, "plain": False})
def hole_is_told_beside_text(sack):
    """An ACK of its own tells of a hole, though there is text to send."""
    ours, peer = connection(win=2 * t.MSS, sack=sack)
    ours.send(bytes(10 * t.MSS))
    for seq in 1, 1 + t.MSS:
        peer.expect("A", seq=seq, length=t.MSS)
    peer.send("A", seq=2, ack=1 + t.MSS, data=b"x")
    told = peer.expect("A", ack=1, length=0)
    t.equal("sack" in told.opts, sack, "SACK")
    peer.expect("A", seq=1 + 2 * t.MSS, length=t.MSS)
    peer.send("RA", seq=1)


@t.test("R6675-3", "R6298-5.2")
def full_ack_repeats_nothing():
    """Text sent during a recovery without SACK is not sent twice at its end."""
    ours, peer = connection(mss=1000)
    for _ in range(10):
        ours.send(bytes(1000))
    peer.flush(QUIET * 1000 if t.DEBUG else 5)
    for _ in range(3):
        peer.send("A", ack=1)
    peer.expect("A", seq=1, length=1000)
    ours.send(bytes(1000))
    peer.expect(seq=10001, length=1000)
    peer.send("A", ack=10001)
    peer.expect_nothing(100)
    peer.send("A", ack=11001)
    peer.send("RA", ack=11001)


@t.test("R6675-2", "R2018-6")
def crumbs_of_sack():
    """Blocks of one octet, anywhere in the flight, do not eat memory."""
    ours, peer = connection(sack=True, ws=7, win=32768)
    size = 100_000
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    ours.send(bytes(size))
    burst(peer)
    for number in range(200 if t.DEBUG else 2000):
        blocks = [
            (peer.irs + 2 + n, peer.irs + 3 + n)
            for n in range(number * 48, number * 48 + 48, 16)
        ]
        peer.send("A", ack=1, opts=b"\1\1" + t.opt_sack(*blocks))
        if number % 50 == 0:
            peer.flush()
    line = next(
        x for x in peer.net.a.read("protocols").splitlines()
        if x.split()[:1] == [t.PROTO_NAME]
    )  # fmt: skip
    limit = 6 * ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    pages = int(line.split()[3])
    t.between(pages * 4096, 0, limit, "octets of memory")
    peer.send("A", ack=1 + size)
    ours.send(b"goes on")
    t.wait_for(
        lambda: (seg := peer.get(1)) and seg.data.endswith(b"goes on"), 5
    )
    peer.send("RA", ack=1 + size)


@t.test("R2018-7", "R2018-6", "R6675-2")
def sacked_data_may_be_taken_back():
    ours, peer = connection(sack=True)
    whole = t.pattern(t.MSS * 4)
    ours.send(whole)
    burst(peer)
    peer.send(
        "A",
        ack=1,
        opts=b"\1\1"
        + t.opt_sack((peer.irs + 1 + t.MSS, peer.irs + 1 + len(whole))),
    )
    got = {}
    ack = 1
    for _ in range(20):  # the peer has dropped what it had acknowledged
        seg = peer.get(60)
        t.check(seg, "SACKed data never comes again")
        got[seg.rel_seq] = seg.data
        if seg.rel_seq == ack:
            ack += seg.len
            peer.send("A", ack=ack)
        if ack == 1 + len(whole):
            break
    t.equal(b"".join(got[k] for k in sorted(got)), whole, "data")


@t.test("R6675-4", "MUST-19", seconds=600)
def every_second_segment_lost():
    """A peer that acknowledges honestly gets the stream whole, however often
    one segment is lost."""
    t.net().a.tune(rto_max_ms=5000, user_timeout_ms=0)
    ours, peer = connection(sack=True, win=65535)
    whole = t.pattern(200000)
    thread = t.Background(ours.sendall, whole)
    got, ack, seen, rnd = {}, 1, 0, random.Random(7)
    while ack < 200001:
        seg = peer.get(250)
        t.check(seg, "stalled")
        if not seg.len or rnd.random() < 0.5:
            continue
        # After some timeouts segments become smaller.
        if seg.len > len(got.get(seg.rel_seq, b"")):
            got[seg.rel_seq] = seg.data
        seen += 1
        while ack in got:
            ack += len(got[ack])
        held = sorted((k, k + len(v)) for k, v in got.items() if k > ack)
        opts = b""
        if held:
            opts = b"\1\1" + t.opt_sack(
                *((peer.irs + a, peer.irs + b) for a, b in held[:3])
            )
        peer.send("A", ack=ack, opts=opts)
    thread.result()
    stream, at = b"", 1
    while at in got:
        stream += got[at]
        at += len(got[at])
    t.equal(t.digest(stream), t.digest(whole), "data")
    peer.send("RA")


@t.test("MUST-48", "MUST-49", "SHLD-21", "SHLD-22", "MAY-9")
def tos_and_ttl():
    ours, peer = connection()
    ours.setsockopt(t.IP, t.IP_TOS, 0xB8)
    ours.setsockopt(t.IP, t.IP_TTL, 77)
    ours.send(b"x")
    seg = peer.expect("A", length=1)
    t.equal((seg.tos, seg.ttl), (0xB8, 77), "TOS and TTL of data")
    again = peer.expect("A", length=1)
    t.equal((again.tos, again.ttl), (0xB8, 77), "TOS and TTL of a repeat")
    peer.send("A")
    ours.setsockopt(t.IP, t.IP_TOS, 0x20)
    ours.close()
    seg = peer.expect("FA")
    t.equal((seg.tos, seg.ttl), (0x20, 77), "TOS and TTL of the FIN")
    peer.send("FA")
    seg = peer.expect("A", ack=2)  # from TIME-WAIT
    t.equal((seg.tos, seg.ttl), (0x20, 77), "TOS and TTL from TIME-WAIT")


@t.test("MUST-50")
def ip_options_are_ignored():
    """IPv4's, or those of an IPv6 destination options header."""
    padding = {4: b"\1\1\1\0", 6: b"\1\4" + bytes(4)}
    unknown = {4: b"\x94\4\0\0", 6: b"\x1e\4" + bytes(4)}
    ours, peer = connection()
    peer.send("AP", data=b"abc", ip_options=unknown[t.FAMILY])
    t.equal(ours.recv(9), b"abc", "an option that asks nothing of us")
    peer.send("AP", data=b"def", ip_options=padding[t.FAMILY])
    t.equal(ours.recv(9), b"def", "padding")


@t.test("R8985-5", "R8985-6", "R6298-5.1")
def lone_fin_is_repeated():
    ours, peer = connection()
    ours.shutdown(socket.SHUT_WR)
    fins = [peer.expect("FA", seq=1, timeout=10) for _ in range(4)]
    t.between(gaps(fins)[0], 0.19, 1 * t.SLOW, "first repeat")
    peer.send("A", ack=2)
    peer.expect_nothing(2000)


if __name__ == "__main__":
    t.main()
