#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Segments that no honest peer sends, in each state: dropped and counted by
reason, answered only where the RFC answers, the connection unharmed."""
import random
import socket

import cftest as t
from reach import EACH, OPENING, SYNCHRONIZED, reach, state_of

QUIET = 60 if t.DEBUG else 15  # ms
WINDOWED = ("SYN-RECEIVED",) + SYNCHRONIZED


def dropped(counters):
    return {k: v for k, v in counters.items() if k.startswith("Drop")}


class Dropped:
    """Around a bad segment: counted for one of these reasons, and only once;
    no answer (or one of those flags); nothing changed."""

    def __init__(self, peer, state, *reasons, answer=None, what=""):
        self.peer, self.state, self.reasons = peer, state, reasons
        self.answer, self.what = answer, f"{what or ''} in {state}:"

    def __enter__(self):
        self.peer.flush()
        self.before = t.net().a.counters()

    def __exit__(self, kind, *_):
        if kind:
            return
        seg = self.peer.get(QUIET / 1000, factor=1)
        if self.answer is None:
            t.check(seg is None, f"{self.what} answered by {seg}")
        elif seg is not None or "?" not in self.answer:
            fits = seg and seg.is_flags(self.answer.strip("?"))
            t.check(fits, f"{self.what} wanted {self.answer}, saw {seg}")
            t.check(seg.csum_ok, f"checksum of {seg}")
        t.equal(state_of(self.peer, self.state), self.state, self.what)
        if t.DUT != t.CFTCP:
            return
        gained = t.net().a.counters() - self.before
        gained = {k: v for k, v in dropped(gained).items() if v}
        t.equal(sum(gained.values()), 1, f"{self.what} drops, {gained}")
        t.check(set(gained) <= set(self.reasons), f"{self.what} {gained}")


def works(ours, peer, state):
    """The connection in this state is unharmed: it can still do its work."""
    if state == "LISTEN":
        t.Peer(t.net()).connect(peer.dut_port)
        ours.accept()[0].close()
    elif state == "SYN-RECEIVED":
        peer.send("A")
        ours.accept()[0].close()
    elif state == "SYN-SENT":
        peer.send("SA", seq=0, ack=1)
        peer.expect("A", ack=1)
    elif state in ("ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2"):
        peer.send("AP", data=b"works")
        t.equal(ours.recv(100), b"works", f"data in {state}")
    if state in ("ESTABLISHED", "CLOSE-WAIT"):
        ours.send(b"out")
        t.equal(peer.expect_data(3), b"out", f"data from {state}")
    if state == "TIME-WAIT":
        peer.send("FA", seq=peer.nxt - 1)
        peer.expect("A", ack=peer.nxt)
    if state not in OPENING + ("TIME-WAIT",):
        peer.send("R")
        t.net().a.wait_state("CLOSED", peer.dut_port, peer.port)


@t.test("MUST-7", cases=EACH)
def truncated_header(state):
    ours, peer = reach(state)
    whole = t.build(
        peer.address,
        t.net().a.address,
        peer.port,
        peer.dut_port,
        peer.iss + peer.nxt,
        peer.irs + peer.rcv,
        "RA",
    )[14 + t.IP_HEADER :]
    for size in 4, 8, 13, 19:
        with Dropped(peer, state, "DropShort", what=f"{size} octets"):
            peer.frame(
                t.ip_frame(peer.address, t.net().a.address, whole[:size])
            )
    for size in range(4):  # not even ports: nobody's
        peer.frame(t.ip_frame(peer.address, t.net().a.address, whole[:size]))
    peer.expect_nothing(QUIET)
    works(ours, peer, state)


@t.test("MUST-3", cases=EACH)
def wrong_checksum(state):
    ours, peer = reach(state)
    for flags, data in (
        ("A", b""),
        ("A", b"data"),
        ("FA", b""),
        ("RA", b""),
        ("R", b""),
        ("S", b""),
        ("SA", b""),
    ):
        for wrong in lambda right: right ^ 1, lambda right: right ^ 0xFF00:
            with Dropped(peer, state, "DropChecksum", what=f"[{flags}]"):
                peer.send(flags, seq=peer.nxt, data=data, csum=wrong)
    works(ours, peer, state)


@t.test("MUST-7", cases=EACH)
def wrong_data_offset(state):
    ours, peer = reach(state)
    for doff in 0, 1, 4, 6, 15:
        for flags in "A", "RA", "S":
            with Dropped(
                peer,
                state,
                "DropDataOffset",
                "DropShort",
                what=f"offset {doff}",
            ):
                peer.send(flags, seq=peer.nxt, opts=b"", doff=doff)
    works(ours, peer, state)


BAD_OPTIONS = {
    "length 0": b"\x08\x00" + bytes(10),
    "length 1": b"\x08\x01" + bytes(10),
    "past the header": b"\x01\x01\x08\x20",
    "no length": b"\x01\x01\x01\x08",
    "past by one": b"\x08\x0a\0\0\0\0\0\0",
    "after a good one": b"\x02\x04\x05\xb4\x05\xff",
    "wrong MSS": b"\x02\x03\x05\x01\x03\x04\x02\x01",
    "odd SACK": b"\x05\x05" + bytes(4) + b"\x01\x01",
    "empty SACK": b"\x05\x02\x05\x02",
    "SACK of 40 octets": b"\x05\x28" + bytes(38),
    "all 255": b"\xff" * 40,
}


@t.test("MUST-7", "MUST-5", "MUST-6", cases=EACH)
def illegal_option_length(state):
    """Parsing stops there; the segment itself counts."""
    for name, opts in BAD_OPTIONS.items():
        ours, peer = reach(state, sack=True)
        if state == "LISTEN":
            peer.send("S", opts=opts)
            peer.expect("SA", ack=1, what=name)
            peer.send("A", opts=opts)
            ours.accept()[0].close()
        elif state == "SYN-SENT":
            peer.send("SA", opts=opts, seq=0, ack=1)
            peer.expect("A", seq=1, ack=1, what=name)
        elif state == "SYN-RECEIVED":
            peer.send("A", opts=opts)
            ours.accept()[0].close()
        elif state in ("ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2"):
            peer.send("AP", data=b"works", opts=opts)
            t.equal(ours.recv(9), b"works", name)
        else:
            peer.send("FA", seq=peer.nxt - 1, opts=opts, ack=1)
            peer.expect("A", ack=peer.nxt, what=name)
            t.equal(state_of(peer, state), state, name)
        if state in SYNCHRONIZED:
            works(ours, peer, state)
        ours.close()


@t.test("MUST-7", "R7323-2", "MUST-15")
def illegal_values_in_a_syn():
    for opts in (
        t.opt_mss(0),
        t.opt_mss(1),
        t.opt_mss(65535),
        t.opt_mss(1460) + t.opt_ws(255),
        t.opt_ts(0xFFFFFFFF, 0xFFFFFFFF) + t.opt_ts(1, 1),
        t.SACK_OK * 20,
    ):
        net = t.net()
        listener = net.a.listener()
        peer = t.Peer(net)
        peer.dut_port = listener.getsockname()[1]
        peer.send("S", opts=opts)
        peer.expect("SA", ack=1)
        stamp = t.opt_ts(2, 0) if opts[:1] == b"\x08" else b""
        peer.send("A", opts=stamp, win=60000)
        ours = listener.accept()[0]
        ours.send(bytes(3000))
        sizes = [peer.get(2).len for _ in range(2)]
        t.check(all(40 <= size <= t.MSS for size in sizes), f"sizes {sizes}")
        peer.send("RA", opts=stamp)


# What must be ignored altogether, whatever else it says.
ODD_FLAGS = {
    "SYN+FIN": "SF",
    "SYN+RST": "SR",
    "SYN+RST+ACK": "SRA",
    "SYN+FIN+ACK": "SFA",
    "FIN alone": "F",
    "PSH+URG": "PU",
    "no flags": "",
    "all flags": "FSRPAUEC",
    "SYN+FIN+RST": "SFR",
}
REASONS = (
    "DropFlags",
    "DropNoAck",
    "DropSyn",
    "DropRst",
    "DropListen",
    "DropState",
)


def answer_to(state, flags):
    """What RFC 9293 and 5961 answer; "?" is "or nothing"."""
    if "R" in flags:
        return "A?" if state in SYNCHRONIZED else None
    if "S" not in flags and "A" not in flags:
        return None
    if state in SYNCHRONIZED:
        return "A?"  # a challenge ACK, rate-limited
    if state == "SYN-RECEIVED":
        return "A?"
    if "A" in flags:
        return "R?"  # an ACK of nothing
    return None


@t.test("C-6", "C-10", "C-11", "D-27", "LISTEN/SYN+RST", "LISTEN/SYN+FIN",
        cases=EACH)  # fmt: skip
def odd_flags(state):
    for name, flags in ODD_FLAGS.items():
        ours, peer = reach(state)
        numbers = {peer.nxt, peer.nxt + 1, peer.nxt + 100000}
        if "R" in flags:  # else it is an RST to be obeyed
            numbers.discard(peer.nxt)
        if state == "SYN-RECEIVED" and "S" in flags:
            numbers = {peer.nxt + 100000}  # else it ends the request
        if state == "SYN-SENT" and flags == "SF":
            continue  # a simultaneous open
        ack = 77 if state == "SYN-SENT" else None
        for seq in sorted(numbers):
            answer = answer_to(state, flags)
            if seq > peer.nxt + 1 and "R" not in flags and state in WINDOWED:
                answer = "A?"  # out of the window, C-4
            more = ("DropSequence", "DropAck", "ChallengeAck")
            with Dropped(
                peer, state, *REASONS, *more, answer=answer, what=name
            ):
                peer.send(flags, seq=seq, ack=ack, win=500)
        works(ours, peer, state)
        ours.close()


if t.FAMILY == 6:
    ALL_HOSTS, BROADCAST = "ff02::1", []
    NOT_UNICAST = [ALL_HOSTS]
    NO_SOURCES = [ALL_HOSTS, "::ffff:10.9.0.9"]
else:
    ALL_HOSTS, BROADCAST = "224.0.0.1", ["10.9.0.255"]
    NO_SOURCES = [ALL_HOSTS, "255.255.255.255"]
    NOT_UNICAST = NO_SOURCES + BROADCAST


@t.test("MUST-57", "MUST-63", "R1122-3.10", cases=EACH)
def broadcast_and_multicast(state):
    """Destination or source that no connection can have: silence."""
    ours, peer = reach(state)
    here = t.net().a.address
    pairs = [(peer.address, dst) for dst in NOT_UNICAST]
    sources = [*NO_SOURCES, t.ANY, t.LOOPBACK, here]
    if state == "LISTEN":  # elsewhere it is nobody's, and stock TCP answers
        sources += BROADCAST
    pairs += [(src, here) for src in sources]
    capture = t.Capture(t.net().b)
    for src, dst in pairs:
        for flags in "S", "A", "FA", "R":
            peer.frame(
                t.build(
                    src,
                    dst,
                    peer.port,
                    peer.dut_port,
                    peer.iss + peer.nxt,
                    peer.irs + peer.rcv,
                    flags,
                )
            )
    peer.expect_nothing(QUIET)
    sent = [s for s in capture.segments() if s.src == here]
    t.equal([s for s in sent if s.sport == peer.dut_port], [], "answers")
    t.equal(state_of(peer, state), state)
    works(ours, peer, state)


@t.test("MUST-57")
def broadcast_frames_are_counted():
    ours, peer = reach("LISTEN")
    with Dropped(peer, "LISTEN", "DropAddress", what="SYN to all hosts"):
        peer.frame(
            t.build(
                peer.address, ALL_HOSTS, peer.port, peer.dut_port, 1, 0, "S"
            )
        )
    with Dropped(peer, "LISTEN", "DropAddress", what="broadcast frame"):
        peer.send("S", seq=0, dst_mac="ff:ff:ff:ff:ff:ff")
    works(ours, peer, "LISTEN")


@t.test("C-44", "C-24", "LISTEN/ACK", "LISTEN/FIN", "LISTEN/RST")
def listener_without_syn():
    ours, peer = reach("LISTEN")
    for flags, answer in (
        ("A", "R"),
        ("FA", "R"),
        ("PA", "R"),
        ("F", None),
        ("R", None),
        ("RA", None),
        ("", None),
        ("P", None),
    ):
        with Dropped(
            peer,
            "LISTEN",
            *REASONS,
            "DropAck",
            answer=answer,
            what=f"[{flags}]",
        ):
            peer.send(
                flags, seq=77, ack=4711, data=b"x" if "P" in flags else b""
            )
    for flags in "A", "FA":
        peer.send(flags, seq=77, ack=4711)
        peer.expect("R", seq=4711, what="RST of a listener")
    works(ours, peer, "LISTEN")


ICMP_ERRORS = {  # (type, code)
    4: [(3, 0), (3, 1), (3, 2), (3, 3), (3, 4), (11, 0), (12, 0), (4, 0), (5, 1),
        (3, 99)],
    6: [(1, 0), (1, 1), (1, 3), (1, 4), (2, 0), (3, 0), (4, 0), (4, 1), (137, 0),
        (1, 99)],
}  # fmt: skip


@t.test("MUST-54", "R5927-1", "R5927-5", "C-8", cases=EACH)
def forged_icmp(state):
    """Errors that quote what we never sent, or nothing whole."""
    ours, peer = reach(state)
    here = t.net().a.address

    def quoting(seq):
        return t.build(
            here,
            peer.address,
            peer.dut_port,
            peer.port,
            peer.irs + seq,
            peer.iss + 1,
            "A",
        )[14:]

    for error in ICMP_ERRORS[t.FAMILY]:
        for quote in (
            quoting(100000),
            quoting(-100000),
            quoting(1)[: t.IP_HEADER],
            quoting(1)[: t.IP_HEADER + 4],
            quoting(1)[: t.IP_HEADER + 7],
            b"",
            quoting(1)[:10],
        ):
            peer.frame(t.icmp_frame(peer.address, here, error, quote, 68))
    peer.expect_nothing(QUIET)
    t.equal(state_of(peer, state), state)
    if state != "TIME-WAIT":
        t.equal(ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0, "error")
    works(ours, peer, state)


# --- at random ----------------------------------------------------------------


def near(rnd, number):
    """Mostly a number about there, sometimes any."""
    return rnd.choice(
        (
            number,
            number,
            number + rnd.randint(-3, 3),
            number + rnd.randint(-70000, 70000),
            rnd.getrandbits(32),
        )
    )


def random_options(rnd):
    kind = rnd.randrange(5)
    if kind == 0:
        return rnd.randbytes(rnd.randrange(41))
    if kind == 1:
        return t.opt_ts(rnd.getrandbits(32), rnd.getrandbits(32))
    if kind == 2:
        return t.opt_sack(
            *(
                (rnd.getrandbits(32), rnd.getrandbits(32))
                for _ in range(rnd.randrange(5))
            )
        )
    if kind == 3:
        return t.opt_mss(rnd.getrandbits(16)) + t.opt_ws(rnd.getrandbits(8))
    return b""


def random_segment(rnd, peer):
    flags = rnd.choice((0x10, 0x10, 0x11, 0x18, rnd.getrandbits(8)))
    if flags & 4 and rnd.random() < 0.9:
        flags &= ~4  # an exact RST is no fun
    return dict(
        flags=flags,
        seq=near(rnd, peer.iss + peer.nxt),
        ack=near(rnd, peer.irs + peer.rcv),
        win=rnd.choice((0, 1, 65535, rnd.getrandbits(16))),
        opts=random_options(rnd),
        data=rnd.randbytes(rnd.choice((0, 0, 1, 100, rnd.randrange(1400)))),
        urg=rnd.getrandbits(16) if flags & 0x20 else 0,
        doff=rnd.randrange(16) if rnd.random() < 0.05 else None,
        csum=rnd.getrandbits(16) if rnd.random() < 0.02 else None,
    )


@t.test("MUST-7", "MUST-3", "C-3", cases=EACH, seconds=1200)
def fuzz(state):
    """A connection may end by it, as an RST may; the stack may not."""
    rnd = random.Random(state)
    options = dict(ts=True, sack=True, ws=7)
    born, ours, peer = 0, None, None
    total = 100 if t.DEBUG else 500 if t.LESS else 2000
    base = t.net().a.counters()
    for i in range(total):
        if i % 25 == 0 and (ours is None or state_of(peer, state) != state):
            if ours:
                ours.close()
                peer.close()
            role = rnd.choice(("active", "passive"))
            ours, peer = reach(state, role=role, **options)
            born += 1
        segment = random_segment(rnd, peer)
        peer.frame(
            t.build(
                peer.address,
                t.net().a.address,
                peer.port,
                peer.dut_port,
                **segment,
            )
        )
        if i % 100 == 99:
            peer.queue.clear()
            peer._drain()
            for seg in peer.queue:
                t.check(seg.csum_ok, f"checksum of {seg}")
            peer.all.clear()
    t.note(f"{total} segments, {born} connections")
    t.check(born < total / 3, f"{born} connections did not survive")
    t.linger(ours, 1, 0)
    ours.close()
    peer.send("R")
    client, server = t.connect(t.net().a, t.net().b)
    client.sendall(b"alive")
    t.equal(server.recv(10), b"alive", "a new connection")
    if t.DUT == t.CFTCP:
        now = t.net().a.counters()
        t.check(now["InSegs"] - base["InSegs"] > total / 4, "counted")


@t.test("section-2")
def fuzz_leaves_nothing():
    """After all of the above, no socket is left but what TIME-WAIT keeps."""
    if t.DUT != t.CFTCP:
        return

    def clean():
        now = t.net().a.counters()
        return now["Sockets"] == now["Requests"] == now["Orphans"] == 0

    t.net().a.tune(orphan_timeout_ms=100)
    t.wait_for(clean, 300, "no socket left")


if __name__ == "__main__":
    t.main()
