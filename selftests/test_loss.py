#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Closing over a wire that loses, repeats, swaps, or loses for ever, each
segment of each way to close in turn."""
import errno
import itertools
import socket
import time

import cftest as t

GONE = "CLOSED"
TO_A, TO_B = b"from b to a" * 700, b"from a to b" * 500


def data(seg):
    return seg.len > 0


def fin(seg):
    return seg.has("F")


def ack(seg):
    return seg.is_flags("A") and not seg.len


class Scene:
    """a is ours, b is the stock stack, between them a wire with rules."""

    def __init__(self, opener="a", b_proto=t.STOCK):
        self.net = t.net(wire=True)
        self.net.a.tune(
            msl_ms=1000, rto_min_ms=100, orphan_timeout_ms=10000,
            fin_wait2_timeout_ms=5000,
        )  # fmt: skip
        if opener == "a":
            self.a, self.b = t.connect(self.net.a, self.net.b, t.DUT, b_proto)
        else:
            self.b, self.a = t.connect(self.net.b, self.net.a, b_proto, t.DUT)
        self.b_proto = b_proto
        self.ports = t.ports(self.a)
        self.fins = {}

    def when(self, kind, from_a, action, times=1):
        """A rule for the next segments of a kind that one end sends.

        "ack" is the ACK of the other end's FIN, by itself."""

        def match(seg, right):
            if self.ports[0] not in (seg.sport, seg.dport) or right != from_a:
                if fin(seg):
                    self.fins[right] = seg.seq + seg.span & 0xFFFFFFFF
                return False
            if fin(seg):
                self.fins[right] = seg.seq + seg.span & 0xFFFFFFFF
            if kind == "ack":
                return ack(seg) and seg.ack == self.fins.get(not right)
            return {"data": data, "fin": fin, "all": lambda s: True}[kind](seg)

        return self.net.wire.on(match, action, times, ms=30)

    def state_a(self):
        return self.net.a.state(*self.ports)

    def state_b(self):
        return self.net.b.state(*self.ports[::-1], self.b_proto)

    def segments(self):
        return self.net.wire.segments(self.ports[0])

    def reset_is_wrong(self, seg):
        """A late segment that finds nothing any more is answered by RST, so
        one is right only from an end whose FIN had been acknowledged."""
        if not seg.has("R"):
            return False
        passed = [s for s, action in self.net.wire.log if action != "drop"]
        before = passed[: passed.index(seg)]
        fins = [s for s in before if s.tuple == seg.tuple and s.has("F")]
        acked = any(
            s.sport == seg.dport and s.dport == seg.sport and s.has("A")
            and any(s.ack == f.seq + f.span & 0xFFFFFFFF for f in fins)
            for s in before
        )  # fmt: skip
        return seg.has("A") or not acked

    def show(self):
        left = self.net.a.address, self.ports[0]
        for line, (_, action) in zip(
            t.ladder(self.net.wire.segments(), left).splitlines(),
            self.net.wire.log,
        ):
            t.note(line, "" if action == "pass" else action)


def talk_and_close(sock, payload, wait_for_eof, half):
    """Send, close our direction, read up to EOF; after EOF if so wanted."""
    got = b""
    if wait_for_eof:
        got = t.read_all(sock)
    sock.sendall(payload)
    if half:
        sock.shutdown(socket.SHUT_WR)
    if not wait_for_eof:
        got = t.read_all(sock)
    sock.close()
    return t.digest(got)


WAYS = {  # does a, does b wait for the other's FIN?
    "active": (False, True),
    "passive": (True, False),
    "simultaneous": (False, False),
}


def both(scene, way):
    """Close in that way, both ends at once; what each has read."""
    waits = WAYS[way]
    ends = [
        t.Background(talk_and_close, sock, payload, wait, True)
        for sock, payload, wait in zip((scene.a, scene.b), (TO_B, TO_A), waits)
    ]
    return [end.result(60) for end in ends]


def all_is_well(scene, seen):
    """Both have read all, neither saw a reset, and both ends end."""
    wanted = [t.digest(TO_A), t.digest(TO_B)]
    t.equal(seen, wanted, "what a and b have read")
    t.wait_for(lambda: scene.state_a() == GONE, 20, "a gone", every=0.01)
    t.wait_for(
        lambda: scene.state_b() in ("TIME-WAIT", GONE), 20, "b gone", every=0.01
    )
    wrong = [seg for seg in scene.segments() if scene.reset_is_wrong(seg)]
    t.equal(wrong, [], "resets")


KINDS = ("data", "fin", "ack")
ACTIONS = {"lost": ("drop", 1), "lost-twice": ("drop", 2), "doubled": ("dup", 1),
           "swapped": ("swap", 1), "late": ("delay", 1)}  # fmt: skip
if t.LESS:
    ACTIONS = {"lost": ACTIONS["lost"]}


def cases():
    """Each segment that both ways have, by each thing that may befall it."""
    found = {}
    for way, kind, side, what, opener in itertools.product(
        WAYS, KINDS, "ab", ACTIONS, "ab"
    ):
        if opener == "b" and what != "lost":
            continue  # who opened hardly matters to a close: one row of it
        name = f"{way}.{kind}-of-{side}.{what}.{opener}-opens"
        found[name] = way, kind, side == "a", *ACTIONS[what], opener
    return found


# May be missing: a FIN may carry the ACK of the other's.
OPTIONAL = {("active", "ack", False), ("passive", "ack", True)}


@t.test("C-31", "C-29", "C-34", "C-48", "C-53", "SHLD-31", "MUST-18",
        cases=cases())  # fmt: skip
def befalls(way, kind, from_a, action, times, opener):
    """One segment (or two) is lost, doubled, overtaken or late."""
    scene = Scene(opener)
    rule = scene.when(kind, from_a, action, times)
    try:
        seen = both(scene, way)
        all_is_well(scene, seen)
    except t.Failure:
        scene.show()
        raise
    if (way, kind, from_a) not in OPTIONAL and rule.hits < times:
        if not (way == "simultaneous" and kind == "ack"):
            t.fail(f"the rule met {rule.hits} segments")


@t.test("C-31", "C-34", cases={w: w for w in WAYS})
def between_cftcp(way):
    """cftcp at both ends, everything doubled and the first FINs lost."""
    scene = Scene(b_proto=t.DUT)
    scene.net.b.tune(msl_ms=1000, rto_min_ms=100)
    scene.when("fin", True, "drop")
    scene.when("fin", False, "drop")
    scene.when("all", True, "dup", None)
    scene.when("all", False, "dup", None)
    try:
        all_is_well(scene, both(scene, way))
    except t.Failure:
        scene.show()
        raise


# --- lost for ever ------------------------------------------------------------


def shut(scene, how):
    scene.a.close() if how == "orphan" else scene.a.shutdown(socket.SHUT_WR)


@t.test("C-31", "C-47", "MUST-20", "FIN-WAIT-1/E20", "FIN-WAIT-1/E23", "L-47",
        cases={f"{k}.{h}": (k, h) for k in ("data", "fin")
               for h in ("orphan", "held")})  # fmt: skip
def ours_never_arrives(kind, how):
    """What we send is lost for ever: FIN-WAIT-1 up to its timeout."""
    scene = Scene()
    scene.net.a.tune(user_timeout_ms=8000)
    if kind == "data":
        scene.when("data", True, "drop", None)
        scene.a.sendall(b"x" * 100)
    scene.when("fin", True, "drop", None)
    began = time.time_ns()
    shut(scene, how)
    t.equal(scene.state_a(), "FIN-WAIT-1")
    wanted = 10000 if how == "orphan" else 8000
    seen = scene.net.a.gone_after(began, wanted, *scene.ports)
    t.near(seen, wanted, 0.01, 10, "ms in FIN-WAIT-1")
    fins = [s for s in scene.segments() if s.sport == scene.ports[0] and fin(s)]
    t.equal(len({s.seq + s.len for s in fins}), 1, "numbers of the FIN")
    t.check(kind == "data" or len(fins) > 4, f"only {len(fins)} FINs")
    if how == "held":
        error = scene.a.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        t.equal(error, errno.ETIMEDOUT, "SO_ERROR")


@t.test("C-33", "LAST-ACK/E20", "LAST-ACK/E23", "SHLD-11")
def last_ack_never_comes():
    """Passive close, our FIN or its ACK is lost for ever: LAST-ACK ends."""
    scene = Scene()
    scene.b.shutdown(socket.SHUT_WR)
    t.equal(scene.a.recv(1), b"")
    scene.when("ack", False, "drop", None)
    began = time.time_ns()
    scene.a.close()
    t.equal(scene.state_a(), "LAST-ACK")
    seen = scene.net.a.gone_after(began, 10000, *scene.ports)
    t.near(seen, 10000, 0.01, 10, "ms in LAST-ACK")


@t.test("C-34", "CLOSING/E20", "CLOSING/E23", "CLOSING/E10")
def closing_never_ends():
    """Simultaneous close, the ACK of our FIN lost for ever: CLOSING ends.
    Ours is sent again with the ACK of the other's FIN in it."""
    scene = Scene()
    scene.net.wire.latency = 20
    scene.when("ack", False, "drop", None)
    # b's repeated FINs acknowledge ours as well
    scene.net.wire.on(lambda s, right: not right and fin(s) and
                      s.ack == scene.fins.get(True), "drop", None)  # fmt: skip
    began = time.time_ns()
    scene.b.shutdown(socket.SHUT_WR)
    scene.a.close()
    scene.net.a.wait_state("CLOSING", *scene.ports)
    seen = scene.net.a.gone_after(began, 10000, *scene.ports)
    t.near(seen, 10000, 0.01, 10, "ms as an orphan")
    fins = [s for s in scene.segments() if s.sport == scene.ports[0] and fin(s)]
    t.check(len(fins) > 4, f"only {len(fins)} FINs")
    t.equal(fins[-1].ack, scene.fins[False], "ACK in the repeated FIN")


@t.test("FIN-WAIT-2/E22", "L-41", "C-16")
def their_fin_never_comes():
    """FIN-WAIT-2 of an orphan: gone after its timeout."""
    scene = Scene()
    scene.when("fin", False, "drop", None)
    scene.a.close()
    t.equal(t.read_all(scene.b), b"")
    scene.b.close()
    scene.net.a.wait_state("FIN-WAIT-2", *scene.ports)
    began = time.time_ns()
    seen = scene.net.a.gone_after(began, 5000, *scene.ports)
    t.near(seen, 5000, 0.01, 20, "ms in FIN-WAIT-2")


@t.test("C-19", "C-29", "TIME-WAIT/E10", "MUST-13")
def our_last_ack_never_arrives():
    """TIME-WAIT answers each repeated FIN as long as they come, and stays
    2 x msl after the last."""
    scene = Scene()
    lost, msl_ms = (4, 10000) if t.DEBUG else (6, 30000)
    scene.net.a.tune(msl_ms=msl_ms)
    scene.when("ack", True, "drop", lost)
    scene.a.close()
    t.equal(t.read_all(scene.b), b"")
    scene.b.close()
    t.wait_for(lambda: scene.state_b() == GONE, 60, "b gone", every=0.05)
    t.equal(scene.state_a(), "TIME-WAIT")
    last = [
        s for s in scene.segments() if s.sport == scene.ports[1] and fin(s)
    ][-1]
    acks = [s for s in scene.segments() if s.sport == scene.ports[0] and ack(s) and
            s.ack == scene.fins[False]]  # fmt: skip
    t.check(len(acks) > lost, f"{len(acks)} ACKs")
    wanted = 2 * msl_ms
    seen = scene.net.a.gone_after(last.time, wanted, *scene.ports)
    t.near(seen, wanted, 0.01, 5, "ms after the last FIN")


@t.test("L-14", "C-40", "C-43", "C-49")
def reset_lost():
    """linger 0, and its RST is lost: what b sends then is answered by RST."""
    scene = Scene()
    scene.net.wire.on(lambda s, right: right and s.has("R"), "drop")
    t.linger(scene.a, 1, 0)
    scene.a.close()
    t.equal(scene.state_a(), GONE)
    scene.b.sendall(b"anybody?")
    with t.fails_with(errno.ECONNRESET):
        scene.b.recv(1)


@t.test("C-27", "MUST-12", "L-31", cases={"held": "held", "orphan": "orphan"})
def reset_crosses_fin(how):
    """b aborts while our FIN is on its way."""
    scene = Scene()
    scene.net.wire.latency = 20
    shut(scene, how)
    t.linger(scene.b, 1, 0)
    scene.b.close()
    t.wait_for(lambda: scene.state_a() == GONE, 5)
    if how == "held":
        error = scene.a.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        t.equal(error, errno.ECONNRESET, "SO_ERROR")


@t.test("C-31", "C-33", "C-34", "MUST-18", "SHLD-31", seconds=900,
        cases={f"{way}.{seed}": (way, seed) for way in WAYS
               for seed in ((1,) if t.DEBUG or t.LESS else (1, 2, 3))})  # fmt: skip
def bulk_over_a_bad_wire(way, seed):
    """500 kB in each direction over 5 % loss, repeats and reordering."""
    scene = Scene()
    dice = t.random.Random(seed)
    fates = ["drop"] * 5 + ["dup"] * 5 + ["swap"] * 10
    for fate in fates:
        scene.net.wire.on(lambda s, right: dice.random() < 0.01, fate, None)
    size = 50_000 if t.DEBUG else 500_000
    payloads = t.pattern(size, seed), t.pattern(size, seed + 100)
    waits = WAYS[way]

    def end(sock, payload, wait):
        reader = None
        if wait:
            got = t.read_digest(sock)
        else:
            reader = t.Background(t.read_digest, sock)
        sock.sendall(payload)
        sock.shutdown(socket.SHUT_WR)
        return reader.result(200) if reader else got

    ends = [t.Background(end, s, p, w)
            for s, p, w in zip((scene.a, scene.b), payloads, waits)]  # fmt: skip
    a_got, b_got = [e.result(300) for e in ends]
    t.equal(a_got, (size, t.digest(payloads[1])), "a read")
    t.equal(b_got, (size, t.digest(payloads[0])), "b read")
    t.wait_for(lambda: scene.state_a() == GONE, 30, "a gone", every=0.05)


t.main()
