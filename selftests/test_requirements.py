#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Requirements that stand alone: options, numbers, marks of a segment that must
not matter, and what other parts of the kernel see of a connection."""
import ctypes
import errno
import socket
import struct
import time

import cftest as t
from reach import SYNCHRONIZED, reach

EOL, NOP, MSS, SCALE, SACK_PERMITTED, SACK, TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8
USER_TIMEOUT = 28
ON_SYN_ONLY = {MSS, SCALE, SACK_PERMITTED}
UNKNOWN = [
    bytes((kind, size)) + b"\xaa" * (size - 2)
    for kind, size in ((99, 2), (253, 4), (254, 7), (99, 36), (30, 12))
] + [bytes((USER_TIMEOUT, 4, 0, 1)), bytes((USER_TIMEOUT, 4, 0, 0))]


def options_of(seg):
    """[kind] of a segment's options, which must be written as they ought to."""
    raw, kinds = seg.tcp[20 : len(seg.tcp) - seg.len], []
    while raw:
        kind = raw[0]
        if kind == EOL:
            t.check(not any(raw), f"octets after the end of options: {seg}")
            break
        size = 1 if kind == NOP else raw[1] if len(raw) > 1 else 0
        t.check(0 < size <= len(raw) and (size > 1 or kind == NOP),
                f"option {kind} of {size} octets in {seg}")  # fmt: skip
        kinds += [kind] * (kind != NOP)
        raw = raw[size:]
    return kinds


@t.test("MUST-2", "MUST-65", "MUST-68", "MUST-69", "MAY-3", "R2018-1", "R5482-2",
        cases={"passive": "passive", "active": "active"})  # fmt: skip
def options_of_a_life(role):
    """Of every kind of segment, from SYN to the ACK of TIME-WAIT, and RST."""
    net = t.net()
    net.a.tune(rto_min_ms=100, rto_init_ms=100)
    ours, peer = t.with_peer(net, role, ts=True, sack=True, ws=7)
    ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, 60000)
    ours.sendall(t.pattern(5000))
    peer.expect_data(5000)
    peer.send("A", seq=11, data=b"beyond a hole")
    t.check(SACK in options_of(peer.expect("A")), "no SACK")
    peer.send("A", seq=1, data=b"the hole..")
    t.equal(len(t.read_exactly(ours, 23)), 23)
    peer.nxt = 24
    peer.send("A", win=0)
    ours.send(b"later")
    peer.expect("A", length=0, what="probe")
    peer.send("A", win=1000)
    peer.expect_data(5)
    peer.send("S", seq=3)
    peer.expect("A", what="challenge ACK")
    ours.shutdown(socket.SHUT_WR)
    first, again = peer.expect("FA"), peer.expect("FA", what="FIN again")
    t.check(again.opts["ts"] > first.opts["ts"], "a FIN as old as the first")
    peer.send("A", ack=peer.rcv)
    peer.send("FA")
    peer.expect("A", what="ACK in TIME-WAIT")
    for _ in "ab":
        other, victim = t.with_peer(net, role, ts=True, sack=True, ws=7)
        t.linger(other, 1, 0)
        other.close()
        victim.expect("RA")
        peer.all += victim.all
    peer.send("F", seq=3)
    peer.send("A", seq=3, ack=4711)
    peer.flush(5)
    for seg in peer.all:
        t.check(seg.csum_ok, f"checksum of {seg}")
        kinds = options_of(seg)
        t.check(USER_TIMEOUT not in kinds, f"a user timeout in {seg}")
        on_syn = ON_SYN_ONLY & set(kinds)
        t.equal(on_syn, ON_SYN_ONLY if "S" in seg.flags else set(), str(seg))
        t.check(len(kinds) == len(set(kinds)), f"{kinds} in {seg}")


@t.test("MUST-5", "MUST-6", "MUST-64", "MUST-68", "R5482-1", "R5482-10",
        cases={"ahead": b"", "unaligned": b"\1"})  # fmt: skip
def unknown_options_on_any_segment(ahead):
    """On text, FIN, the ACK of a FIN and RST: all do what they do without."""
    for opts in UNKNOWN:
        for last in "FA", "R":
            ours, peer = t.with_peer(t.net())
            opts = (ahead + opts)[:40]
            peer.send("A", data=b"text", opts=opts)
            t.equal(ours.recv(9), b"text")
            peer.flush(50)
            ours.shutdown(socket.SHUT_WR)
            peer.expect("FA", ack=5)
            peer.send("A", opts=opts)
            t.net().a.wait_state("FIN-WAIT-2", peer.dut_port, peer.port)
            peer.send(last, opts=opts)
            after = "TIME-WAIT" if last == "FA" else "CLOSED"
            t.net().a.wait_state(after, peer.dut_port, peer.port)
            if last == "FA":
                peer.expect("A", ack=6)
            peer.expect_nothing(5)
            t.check(not any(map(options_of, peer.all[1:])), peer.all)


@t.test("R5482-1", "R5482-3", cases={"longer": 0x8000 | 60, "shorter": 1})
def user_timeout_of_the_peer(wanted):
    """The local user timeout is what counts, whatever the peer asks for."""
    opts = struct.pack(">BBH", USER_TIMEOUT, 4, wanted)
    t.net().a.tune(rto_min_ms=100, rto_init_ms=100)
    peer = t.Peer(t.net())
    listener = t.net().a.listener()
    peer.dut_port = listener.getsockname()[1]
    peer.send("S", opts=opts)
    peer.expect("SA")
    peer.send("A", opts=opts)
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, 4000)
    began = time.monotonic()
    ours.send(b"nobody answers")
    with t.fails_with(errno.ETIMEDOUT):
        ours.recv(1)
    t.near(time.monotonic() - began, 4, 0.02, slack=0.1, what="seconds")


# --- numbers -------------------------------------------------------------------


@t.test("R5961-8", "R5961-7", "MAY-12", "D-6")
def the_largest_window_bounds_an_old_ack(most=50000):
    """It is the largest that the peer ever had, not the one of now; an ACK
    that lies so far back is taken, with its text, the one before it is not."""
    ours, peer = t.with_peer(t.net(), win=most)
    ours.sendall(bytes(2 * most))
    peer.expect_data(2 * most, timeout=5)
    peer.win = 1000
    peer.send("A")
    peer.flush(50)
    at = peer.rcv - most
    peer.send("A", ack=at - 1, data=b"spoofed", seq=peer.nxt)
    peer.expect("A", ack=peer.nxt, length=0)
    peer.send("FA", ack=at - 1, seq=peer.nxt)
    peer.expect("A", ack=peer.nxt, length=0)
    peer.send("A", ack=at, data=b"late")
    t.equal(ours.recv(9), b"late")
    peer.expect("A", ack=peer.nxt)


@t.test("R5961-7", "MAY-12",
        cases={"passive": "passive", "active": "active"})  # fmt: skip
def the_first_octet_bounds_an_old_ack(role):
    """However large the window: no peer acknowledges what lies before it."""
    ours, peer = t.with_peer(t.net(), role, ws=14)  # 1 GB
    for size in 0, 100:
        ours.send(bytes(size))
        peer.expect_data(size)
        for flags in "A", "FA":
            peer.send(flags, ack=0, data=b"spoofed", seq=peer.nxt)
            peer.expect("A", ack=peer.nxt, length=0)
        peer.send("A", ack=1, data=b"late")
        t.equal(ours.recv(9), b"late")
        peer.expect("A", ack=peer.nxt)


@t.test("R5961-7", "MAY-12")
def the_first_octet_of_the_next_connection():
    """What the socket's connection before this had acknowledged is forgotten."""
    ours, before = t.with_peer(t.net(), "active", ws=14)
    ours.send(bytes(1000))
    before.expect_data(1000)
    nowhere = struct.pack("=H14x", socket.AF_UNSPEC)
    t.equal(ctypes.CDLL(None).connect(ours.fileno(), nowhere, 16), 0)
    before.expect("RA")
    peer = t.Peer(t.net(), ws=14)
    ours.setblocking(False)
    ours.connect_ex((peer.address, peer.port))
    peer.accept()
    peer.send("A", ack=0, data=b"spoofed", seq=peer.nxt)
    peer.expect("A", ack=peer.nxt, length=0)
    peer.send("A", data=b"genuine")
    peer.expect("A", ack=peer.nxt)
    t.equal(ours.recv(9), b"genuine")


@t.test("R5961-12", "R5961-3", "R5961-2", "C-7")
def reset_behind_a_hole():
    """A RST that overtook text is challenged, and its repetition resets."""
    ours, peer = t.with_peer(t.net())
    peer.send("R", seq=peer.nxt + 4)
    challenge = peer.expect("A", ack=1)
    peer.send("A", data=b"text")
    t.equal(ours.recv(9), b"text")
    peer.send("R", seq=challenge.rel_ack)
    peer.flush(20)
    t.equal(t.net().a.state(peer.dut_port, peer.port), "ESTABLISHED")
    peer.send("R")
    with t.fails_with(errno.ECONNRESET):
        ours.recv(1)


@t.test("R1122-20e", "D-19", "SYN-RECEIVED/OTHER-SYN", "MUST-11")
def another_syn_in_syn_received():
    """In the window it returns a passive open to LISTEN; the next one opens."""
    listener, peer = reach("SYN-RECEIVED")
    peer.send("S", seq=100)
    peer.expect_nothing(30)
    t.equal(t.net().a.rows(peer.dut_port), [], "requests")
    peer.send("A", seq=1, ack=1)
    peer.expect("R", seq=1)
    peer.iss, peer.nxt, peer.rcv = peer.iss + 100, 0, 0
    peer.connect(peer.dut_port)
    listener.accept()[0].close()


@t.test("SYN-RECEIVED/OTHER-SYN", "C-10")
def another_syn_in_a_simultaneous_open():
    """In the active open's SYN-RECEIVED it is challenged."""
    ours, peer = reach("SYN-SENT")
    peer.send("S")
    peer.expect("SA", ack=1)
    peer.send("S", seq=100)
    peer.expect("A", seq=1, ack=1)
    t.equal(t.net().a.state(peer.dut_port, peer.port), "SYN-RECEIVED")
    peer.send("A", seq=1)
    t.net().a.wait_state("ESTABLISHED", peer.dut_port, peer.port)


@t.test("R4987-3", "R5961-9")
def lost_ack_of_the_handshake():
    """A repeated SYN,ACK is no challenge: whoever sends it would give up."""
    ours, peer = t.with_peer(t.net(), "active")
    for _ in range(5):
        peer.send("SA", seq=0, ack=1)
        peer.expect("A", seq=1, ack=1, timeout=0.4)
    peer.send("A", data=b"x")
    peer.expect("A", seq=1, ack=2)
    for _ in range(5):  # from now on it is a challenge
        peer.send("SA", seq=0, ack=1)
    peer.expect("A", seq=1, ack=2)
    peer.expect_nothing(400)


@t.test("SYN-SENT/ABORT", "C-36", "L-22", cases={"linger": 0, "unspec": 1})
def abort_in_syn_sent(disconnect):
    """Nothing is sent, a call that waits is told."""
    net = t.net()
    peer = t.Peer(net)
    ours = net.a.sock(timeout=None)
    waiting = t.Background(ours.connect, (peer.address, peer.port))
    peer.dut_port = peer.expect("S").sport
    if disconnect:
        address = struct.pack("=H14x", socket.AF_UNSPEC)
        t.equal(t._libc.connect(ours.fileno(), address, len(address)), 0)
        with t.fails_with(errno.EPIPE):  # as stock TCP
            waiting.result(5)
    else:
        t.linger(ours, 1, 0)
        ours.shutdown(socket.SHUT_RDWR)
        with t.fails_with(errno.ECONNRESET, errno.ECONNABORTED):
            waiting.result(5)
        ours.close()
    net.a.wait_state("CLOSED", peer.dut_port, peer.port)
    peer.expect_nothing(4000)


@t.test("L-14", "L-13", "C-40", "MUST-34", "SHLD-15")
def behind_a_window_that_shrank():
    """What the peer takes lies at its right edge, not beyond: there an ACK and
    the RST of an abort have their numbers."""
    t.net().a.tune(rto_min_ms=20000, rto_init_ms=20000)
    ours, peer = t.with_peer(t.net(), win=5000)
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    ours.send(bytes(5000))
    while peer.rcv < 5001:
        peer.expect("A")
    peer.send("A", ack=1, win=1000)
    peer.send("A", ack=1, win=1000, data=b"more")
    peer.expect("A", seq=1001, ack=5, length=0)
    t.linger(ours, 1, 0)
    t.equal(ours.recv(4), b"more")
    ours.close()
    peer.expect("RA", seq=1001, ack=5, length=0)


@t.test("R6528-2", "R6528-1", "MUST-8", "R6191-D", "R7323-17", "C-54")
def clocks_of_a_4_tuple():
    """From one connection to the next, ISN and time stamp go on by their clocks:
    nothing is drawn anew."""
    net = t.net()
    listener = net.a.listener()
    first = t.Peer(net, ts=True)
    seen = []
    for pause in 0, 1, 2 if t.DEBUG else 1000:
        time.sleep(pause)
        peer = t.Peer(net, port=first.port, ts=True)
        peer.dut_port = listener.getsockname()[1]
        peer.send("S")
        seen.append(peer.expect("SA"))
        peer.send("R", seq=1)
        peer.close()
    for one, two in zip(seen, seen[1:]):
        passed = (two.time - one.time) / 1e9
        ticks = t.distance(two.opts["ts"][0], one.opts["ts"][0])
        t.near(ticks, passed * 1000, slack=5, what="ticks")
        grown = (two.seq - one.seq) % (1 << 32)
        due = passed * 1e9 / 4096 % (1 << 32)
        t.near(grown, due, slack=5000, what="ISN")


# --- which numbers are acceptable ---------------------------------------------------


def filled(part):
    """A connection whose receive window is full up to that part, and what is
    left of it."""
    t.net().a.tune(rmem="4096 8192 8192", challenge_ack_ms=0)
    ours, peer = t.with_peer(t.net(), sack=True)
    window = peer.peer_win
    for _ in range(4):
        peer.send("A", data=b"f" * (int(window * part) // 4))
        peer.flush(100)
    if part == 1 and peer.all[-1].win:
        peer.send("A", data=b"f" * peer.all[-1].win)
        peer.flush(100)
    t.equal(peer.rcv, 1)
    return ours, peer, peer.all[-1].win


def acceptable(peer, seq, octet):
    """Whether a segment is, of no length or of one octet, by its answer: none
    for a bare ACK; for an octet, an ACK that tells of it as of something new."""
    peer.send("A", seq=peer.nxt + seq, data=b"?" * octet)
    seg = peer.get(0.1, factor=1)
    if not octet:
        t.check(seg is None or seg.rel_ack == peer.nxt, seg)
        return seg is None
    t.check(seg and seg.is_flags("A"), f"no answer at {seq}")
    return seg.rel_ack > peer.nxt or any(
        t.distance(end, seg.ack) > 0 for _, end in seg.opts.get("sack", ())
    )


@t.test("C-3", "C-4", "C-5", "D-5")
def acceptable_in_an_open_window():
    """SEG.LEN = 0 and > 0 against RCV.WND > 0. A bare ACK at the right edge is
    taken as well: a deliberate deviation."""
    ours, peer, window = filled(0.5)
    t.between(window, 1000, 8192, "window")
    for seq, wanted in (-1, False), (0, True), (window, True):
        t.equal(acceptable(peer, seq, 0), wanted, f"no length at {seq}")
    for seq in -window, window + 1, 1 << 30:
        t.check(not acceptable(peer, seq, 0), f"no length at {seq}")
    for seq, wanted in (-1, False), (window, False), (window - 1, True):
        t.equal(acceptable(peer, seq, 1), wanted, f"an octet at {seq}")
    t.check(acceptable(peer, 0, 1), "an octet at RCV.NXT")


@t.test("C-3", "C-4", "D-5", "MUST-66")
def acceptable_in_a_closed_window():
    """SEG.LEN = 0 and > 0 against RCV.WND = 0."""
    ours, peer, window = filled(1)
    t.equal(window, 0, "window")
    for seq, wanted in (-1, False), (0, True), (1, False):
        t.equal(acceptable(peer, seq, 0), wanted, f"no length at {seq}")
    for seq in -1, 0, 1:
        t.check(not acceptable(peer, seq, 1), f"an octet at {seq}")


@t.test("R5961-9", "R5961-11", "L-53")
def no_war_of_acks():
    """Who answers each of our ACKs by one that is not acceptable, as another
    stack of RFC 5961 may, gets an answer in each challenge_ack_ms."""
    for ms in 500, 100:
        t.net().a.tune(challenge_ack_ms=ms)
        ours, peer = t.with_peer(t.net())
        began, answers = time.monotonic(), 0
        peer.send("A", seq=-5)
        while time.monotonic() - began < 3:
            if peer.get(0.02, factor=1):
                answers += 1
            peer.send("A", seq=-5)
        most = (time.monotonic() - began) * 1000 / ms + 1
        t.between(answers, most / 3 if t.DEBUG else most - 4, most, "answers")


@t.test("R7323-5", "MUST-34", "SHLD-16")
def rounding_of_a_scaled_window():
    """A right edge that goes back by less than a unit harms nothing."""
    ours, peer = t.with_peer(t.net(), ws=10, win=40)
    ours.setblocking(False)
    sent, got = ours.send(t.pattern(200000)), 0
    edge = 1 + 40 * 1024
    while got < min(sent, 120000):
        seg = peer.expect("A")
        got = seg.rel_seq + seg.len - 1
        t.check(got < edge, f"{seg} beyond {edge}")
        peer.send("A", ack=got + 1, win=(edge + 20000 - got) // 1024)
        edge = max(edge, got + 1 + (edge + 20000 - got) // 1024 * 1024)


@t.test("SHLD-16", "MAY-7", "R6298-5.0")
def repeated_inside_a_window_that_shrank():
    """What lies in the smaller window is sent again, what lies beyond is not."""
    t.net().a.tune(rto_min_ms=100, rto_init_ms=100)
    ours, peer = t.with_peer(t.net(), win=5000, mss=1000)
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    ours.send(t.pattern(5000))
    while peer.rcv < 5001:
        peer.expect("A")
    for _ in range(5):
        peer.send("A", ack=1, win=1500)
        seg = peer.expect("A", seq=1, timeout=5, what="again")
        t.check(seg.rel_seq + seg.len <= 1501, f"{seg} beyond 1501")
    t.equal(state_now(peer), "ESTABLISHED")


# --- user calls, by state ----------------------------------------------------------

FIN_RECEIVED = "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"
FIN_TO_COME = "ESTABLISHED", "CLOSE-WAIT"
AFTER_CLOSE = {"ESTABLISHED": "FIN-WAIT-1", "CLOSE-WAIT": "LAST-ACK"}


def state_now(peer):
    return t.net().a.state(peer.dut_port, peer.port)


def cells(event, states=SYNCHRONIZED):
    return {f"{state}/{event}": state for state in states}


@t.test("C-50", "L-30", cases=cells("E4"))
def send_in(state):
    ours, peer = reach(state)
    if state in FIN_TO_COME:
        ours.send(b"on")
        t.equal(peer.expect().data, b"on")
    else:
        with t.fails_with(errno.EPIPE):
            ours.send(b"on", socket.MSG_NOSIGNAL)
        peer.expect_nothing(20)
    t.equal(state_now(peer), state)


@t.test("C-51", "D-21", "L-24", cases=cells("E5"))
def receive_in(state):
    ours, peer = reach(state, text=b"text")
    t.equal(ours.recv(9), b"text")
    ours.setblocking(False)
    if state in FIN_RECEIVED:
        t.equal(ours.recv(9), b"", "EOF")
    else:
        with t.fails_with(errno.EAGAIN):
            ours.recv(9)
    peer.expect_nothing(20)
    t.equal(state_now(peer), state)


def finish(state, call):
    """What ends our half of a connection; only one FIN ever does."""
    ours, peer = reach(state)
    call(ours)
    if state in AFTER_CLOSE:
        peer.expect("FA", seq=1, ack=peer.nxt)
    peer.expect_nothing(20)
    t.equal(state_now(peer), AFTER_CLOSE.get(state, state))


@t.test("C-36", "C-37", "C-38", cases=cells("E1"))
def close_in(state):
    finish(state, socket.socket.close)


@t.test("C-37", "C-39", "L-15", "L-16", cases=cells("E2"))
def shutdown_in(state):
    def call(ours):
        if state == "TIME-WAIT":
            with t.fails_with(errno.ENOTCONN):
                ours.shutdown(socket.SHUT_WR)
        else:
            ours.shutdown(socket.SHUT_WR)

    finish(state, call)


@t.test("TIME-WAIT/E1b")
def close_unread_in_time_wait():
    ours, peer = reach("TIME-WAIT", text=b"unread")
    ours.close()
    peer.expect_nothing(20)
    t.equal(state_now(peer), "TIME-WAIT")


@t.test("CLOSED/E1", "CLOSED/E1b", "CLOSED/E2", "CLOSED/E3", "CLOSED/E4",
        "CLOSED/E5", "L-24", "L-32",
        cases={"close": None, "abort": 0, "close unread": 1})  # fmt: skip
def calls_in_closed(how):
    """After a reset: what was received, the error once, and no segment."""
    ours, peer = reach("ESTABLISHED", text=b"text")
    peer.send("R")
    t.net().a.wait_state("CLOSED", peer.dut_port, peer.port)
    if how is None:
        t.equal(ours.recv(9), b"text")
        with t.fails_with(errno.ECONNRESET):
            ours.recv(9)
        t.equal(ours.recv(9), b"")
        with t.fails_with(errno.EPIPE):
            ours.send(b"x", socket.MSG_NOSIGNAL)
        with t.fails_with(errno.ENOTCONN):
            ours.shutdown(socket.SHUT_WR)
    elif how == 0:
        t.linger(ours, 1, 0)
    ours.close()
    peer.expect_nothing(20)


@t.test("C-48", "R6298-5.1", cases=cells("E20", ("ESTABLISHED", "CLOSE-WAIT")))
def repeat_in(state):
    """The head of the queue is sent again, later each time."""
    t.net().a.tune(rto_min_ms=100, rto_init_ms=100)
    ours, peer = reach(state, calm=False)
    ours.send(b"text")
    seen = [peer.expect("A", seq=1, length=4) for _ in range(4)]
    times = [seg.ms for seg in seen]
    waits = [b - a for a, b in zip(times, times[1:])]
    t.check(waits[-1] > 1.7 * waits[-2], f"waits {waits}")
    t.equal(state_now(peer), state)


@t.test("LAST-ACK/E24", "MUST-36", "C-33", "L-57")
def probe_in_last_ack():
    """Text and FIN wait for the window of the peer."""
    t.net().a.tune(rto_min_ms=100, rto_init_ms=100)
    ours, peer = reach("CLOSE-WAIT", calm=False, win=0)
    ours.send(b"text")
    ours.shutdown(socket.SHUT_WR)
    for _ in range(3):
        peer.expect("A", length=0, ack=2, what="probe")
        peer.send("A", ack=1)
    t.equal(state_now(peer), "LAST-ACK")
    peer.flush()
    peer.send("A", ack=1, win=1000)
    seen = peer.expect(seq=1, length=4)
    if "F" not in seen.flags:
        peer.expect("FA", seq=5)
    peer.send("A", ack=6, win=1000)
    t.net().a.wait_state("CLOSED", peer.dut_port, peer.port)


@t.test("TIME-WAIT/E19", cases={"beyond": 9, "ancient": -(1 << 30)})
def wrong_ack_in_time_wait(ack):
    ours, peer = reach("TIME-WAIT")
    peer.send("A", seq=peer.nxt - 1, ack=peer.rcv + ack)
    peer.expect("A", ack=peer.nxt)
    t.equal(state_now(peer), "TIME-WAIT")


# --- CLOSED, on the wire ------------------------------------------------------------

# flags, octets of text: the RST that answers, its ACK from SEG.SEQ
UNKNOWN_SEGMENTS = {
    "CLOSED/E6 E9 E10": ("FA", 0, "R", None),
    "CLOSED/E7": ("FA", 7, "R", None),
    "CLOSED/E8 E18 E19": ("A", 0, "R", None),
    "CLOSED/E15 E16 E17": ("PA", 4, "R", None),
    "CLOSED/E11": ("S", 0, "RA", 1),
    "CLOSED/E11 text": ("S", 3, "RA", 4),
    "CLOSED/E11 ack": ("SA", 0, "R", None),
    "CLOSED/E12 E13 E14": ("R", 0, None, None),
    "CLOSED/E12 E14 ack": ("RA", 4, None, None),
    "CLOSED/E26": ("F", 0, "RA", 1),
    "CLOSED/E26 text": ("P", 5, "RA", 5),
}


@t.test("C-43", "CLOSED/E6", "CLOSED/E9", "CLOSED/E13", "CLOSED/E14",
        "CLOSED/E16", "CLOSED/E17", "CLOSED/E18", "CLOSED/E19",
        cases={f"{name} {where}": (*UNKNOWN_SEGMENTS[name], where)
               for name in UNKNOWN_SEGMENTS for where in ("here", "nobody")}
        )  # fmt: skip
def segment_to_nobody(flags, size, answer, acked, where):
    """RFC 9293 3.10.7.1, at a port that cftcp has and at one that nobody has;
    before a connection was there and after it went."""
    peer = t.Peer(t.net())
    peer.dut_port = 9
    if where == "here":
        ours, peer = t.with_peer(t.net())
        peer.send("R")
        t.net().a.wait_state("CLOSED", peer.dut_port, peer.port)
    seq, ack = 77, 4711
    peer.send(flags, seq=seq, ack=ack, data=b"t" * size)
    if answer is None:
        peer.expect_nothing(30)
    elif acked is None:
        peer.expect(answer, seq=ack, length=0)
    else:
        seg = peer.expect(answer, ack=seq + acked, length=0)
        t.equal(seg.seq, 0, "SEQ")
    t.equal(state_now(peer), "CLOSED")


@t.test("CLOSED/E25", "MUST-54")
def icmp_to_nobody():
    peer = t.Peer(t.net())
    quote = t.build(
        t.net().a.address, peer.address, 9, peer.port, 1, 1, "A"
    )[14:]  # fmt: skip
    peer.frame(
        t.icmp_frame(
            peer.address, t.net().a.address, t.PORT_UNREACHABLE, quote
        )
    )
    peer.expect_nothing(30)


# --- addresses --------------------------------------------------------------------


def more_addresses(net):
    """Two more addresses of a's, which the peer can answer to."""
    for host in 21, 22:
        bits = "64 nodad" if t.FAMILY == 6 else "24"
        net.a.run(f"ip addr add {t.address_of(host)}/{bits} dev {net.a.device}")
        net.b.run(
            f"ip neigh replace {t.address_of(host)} lladdr {net.a.mac} "
            f"dev {net.b.device} nud permanent"
        )
    return t.address_of(21), t.address_of(22)


def prefer(net, source):
    net.a.run(f"ip route replace {t.address_of(2)} dev {net.a.device} "
              f"src {source}")  # fmt: skip


@t.test("MUST-44", "MUST-45", "C-28")
def the_source_is_chosen_once():
    """By the route of the SYN; a route with another source changes nothing for
    a connection, not in TIME-WAIT and not for a RST."""
    net = t.own_net()
    net.a.tune(msl_ms=5000)
    one, two = more_addresses(net)
    prefer(net, one)
    capture = t.Capture(net.b)
    kept, server = t.connect(net.a, net.b)
    reset, reset_server = t.connect(net.a, net.b)
    prefer(net, two)
    after, after_server = t.connect(net.a, net.b)
    for sock, source in (kept, one), (reset, one), (after, two):
        t.equal(sock.getsockname()[0], source, "source")
    port = kept.getsockname()[1]
    kept.sendall(t.pattern(30000))
    t.equal(t.read_exactly(server, 30000), t.pattern(30000))
    t.linger(reset, 1, 0)
    reset.close()
    with t.fails_with(errno.ECONNRESET):
        reset_server.recv(1)
    kept.close()
    t.equal(server.recv(1), b"")
    server.close()
    net.a.wait_state("TIME-WAIT", port)
    # A segment that the record answers, and one that nobody knows.
    for to in port, 9:
        frame = t.build(
            net.b.address, one, 80 if to == 9 else server_port(capture, port),
            to, 1, 1, "A", src_mac=net.b.mac, dst_mac=net.a.mac,
        )  # fmt: skip
        capture.socket.send(frame)
    capture.wait(lambda s: s.has("R") and s.sport == 9)
    ours = {s.src for s in capture.segments() if s.dst == net.b.address}
    t.equal(ours, {one, two}, "sources")
    mine = {s.src for s in capture.segments(port) if s.sport == port}
    t.equal(mine, {one}, "sources of a connection")


def server_port(capture, port):
    return capture.segments(port)[0].dport


# --- what must not matter -------------------------------------------------------


@t.test("D-26", cases={s: s for s in SYNCHRONIZED})
def precedence_is_not_looked_at(state):
    """A segment of another precedence, or with a DSCP, is like any other."""
    ours, peer = reach(state)
    for tos in 0xE0, 0x28, 0xB8, 0x03:
        peer.send("A", seq=peer.nxt - 1, tos=tos)  # an old one: ACK
        peer.expect("A", ack=peer.nxt, timeout=2)
        peer.expect_nothing(600)
    peer.send("R", tos=0xE0)
    after = "TIME-WAIT" if state == "TIME-WAIT" else "CLOSED"
    t.net().a.wait_state(after, peer.dut_port, peer.port)


@t.test("R2525-15", "C-25", cases={"bare": b"", "behind text": b"text"})
def fin_is_told_at_once(text):
    """A reader that waits learns of a FIN, and the peer that it came."""
    ours, peer = t.with_peer(t.net())
    reader = t.Background(lambda: (t.read_all(ours), time.time_ns()))
    t.wait_for(lambda: asleep(reader), 5, "reader asleep")
    sent = time.time_ns()
    peer.send("FA" if not text else "FPA", data=text)
    answer = peer.expect("A", ack=peer.nxt)
    seen, told = reader.result(5)
    t.equal(seen, text)
    t.between((told - sent) / 1e6, 0, 10 * t.SLOW, "ms until EOF")
    t.between((answer.time - sent) / 1e6, 0, 10 * t.SLOW, "ms until the ACK")


@t.test("R2525-15")
def fin_is_acknowledged_by_ours():
    """Who closes as soon as the peer has sends one segment, not two."""
    if t.DEBUG:  # where a test does not close within a millisecond
        return
    ours, peer = t.with_peer(t.net())
    peer.send("FA")
    ours.close()
    peer.expect("FA", ack=peer.nxt)
    peer.send("A")
    peer.expect_nothing(300)


def asleep(thread):
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"


# --- other parts of the kernel ----------------------------------------------------


RULES = """
table inet t {
    chain c {
        type filter hook input priority 0;
        ct state established counter accept
        counter drop
    }
}
"""


def tracked(net, port):
    """What netfilter says of the one connection of a port."""
    rows = net.a.read("nf_conntrack").splitlines()
    (row,) = (row for row in rows if f"sport={port}" in row)
    return row


@t.test("L-60")
def connection_tracking():
    """netfilter sees the states of a connection as it does those of stock TCP."""
    net = t.own_net()
    net.a.run(["nft", "-f", "-"], input=RULES)
    client, server = t.connect(net.a, net.b)
    server.sendall(t.pattern(10000))
    t.equal(t.read_exactly(client, 10000), t.pattern(10000))
    port = str(client.getsockname()[1])
    for state in "ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT":
        if state == "CLOSE_WAIT":
            server.shutdown(socket.SHUT_WR)
            t.equal(client.recv(1), b"")
        elif state == "TIME_WAIT":
            client.close()
            net.a.wait_state("CLOSED", int(port))
        t.wait_for(lambda: state in tracked(net, port), 1, state)
    counted = net.a.run("nft list ruleset")
    t.check("counter packets 0 bytes 0 drop" in counted, counted)
    t.check("counter packets 0 bytes 0 accept" not in counted, counted)


class Queue:
    """Packets that wait for this process: nfnetlink_queue, number 0."""

    def __init__(self, ns):
        with ns.inside():
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
        t.cleanup(self.socket.close)
        self.socket.settimeout(5 * t.SLOW)
        self._tell(2, 1, struct.pack(">BBH", 1, 0, 0))  # bind
        self._tell(2, 2, struct.pack(">IB", 0, 1))  # without their octets

    def _tell(self, what, kind, body):
        size = 4 + len(body)
        body = struct.pack("=HH", size, kind) + body + bytes(-size % 4)
        head = struct.pack("=IHHII", 20 + len(body), 3 << 8 | what, 1, 0, 0)
        self.socket.send(head + bytes(4) + body)

    def next(self):
        """Wait for one and return what lets it go on."""
        number = self.socket.recv(1000)[24:28]
        return lambda: self._tell(1, 2, struct.pack(">I", 1) + number)


FOREIGN = {"same family": ""} | ({"IPv4": "::ffff:"} if t.FAMILY == 6 else {})


@t.test(cases=FOREIGN)
def held_back_by_netfilter(mapped):
    """A segment waits while its socket begins another connection: no part of it."""
    if t.DEBUG:  # that kernel has no such queue
        return
    net = t.own_net()
    listener = net.b.listener(t.STOCK)
    port = listener.getsockname()[1]
    ours = net.a.sock()
    ours.connect((mapped + net.b.address4 if mapped else net.b.address, port))
    server = listener.accept()[0]
    t.cleanup(server.close)
    queue = Queue(net.a)
    rule = f"type filter hook input priority 0; tcp sport {port} queue"
    net.a.run(["nft", "-f", "-"], input=f"table inet t {{ chain c {{ {rule}; }}; }}")
    server.send(b"old")
    release = queue.next()
    nowhere = struct.pack("=H14x", socket.AF_UNSPEC)
    t.equal(t._libc.connect(ours.fileno(), nowhere, len(nowhere)), 0)
    peer = t.Peer(net)
    opening = t.Background(ours.connect, (peer.address, peer.port))
    peer.accept()
    opening.result()
    before = net.a.counters()
    release()
    t.wait_for(lambda: (net.a.counters() - before)["DropState"] == 1, 5)
    peer.expect_nothing(100)
    peer.send("AP", data=b"new")
    t.equal(ours.recv(10), b"new")


t.main()
