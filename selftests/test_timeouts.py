#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The timeouts of the closing half: FIN-WAIT-2, orphan, user, linger, RTO."""
import errno
import os
import select
import signal
import socket
import time

import cftest as t

ES, FW1, FW2, CW = "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT"
CL, LA, TW, GONE = "CLOSING", "LAST-ACK", "TIME-WAIT", "CLOSED"
SYN_MS = 5 if not t.DEBUG else 200


class Conn:
    """A connection with a hand-made peer whose acknowledgments are scripted."""

    def __init__(self, **options):
        self.net = t.net()
        self.ours, self.peer = t.with_peer(self.net, **options)

    @property
    def ports(self):
        return self.peer.dut_port, self.peer.port

    def state(self):
        return self.net.a.state(*self.ports)

    def must_be(self, state):
        t.equal(self.state(), state, "state")

    def fin(self, how, seq=1):
        """Close our direction; since is when that was."""
        self.since = time.time_ns()
        if how == "close":
            self.ours.close()
        else:
            self.ours.shutdown(socket.SHUT_WR)
        self.first_fin = self.peer.expect("FA", seq=seq)

    def to(self, state, how="close"):
        """Go to FIN-WAIT-1, CLOSING or LAST-ACK, our FIN never acknowledged."""
        if state == LA:
            self.peer.send("FA")
            self.peer.expect("A", ack=2)
            self.ours.recv(1)
        self.fin(how)
        if state == CL:
            self.peer.send("FA", ack=1)
            self.peer.expect("A", ack=2)
        self.must_be(state)
        return self

    def to_fin_wait_2(self, how="close"):
        self.fin(how)
        self.since = time.time_ns()
        self.peer.send("A", ack=2)
        self.net.a.wait_state(FW2, *self.ports)
        return self

    def gone_after(self, expected):
        return self.net.a.gone_after(self.since, expected, *self.ports)

    def must_last(self, ms, what):
        seen = self.gone_after(ms)
        t.note(f"{what}: {seen:.3f} ms")
        t.near(seen, ms, 0.01, what=f"ms, {what}")

    def must_be_gone_silently(self):
        """No RST and nothing else but FINs came; a late segment gets RST."""
        self.peer.flush(1)
        for seg in self.peer.all:
            t.check("R" not in seg.flags, f"a timeout sent {seg}")
        self.peer.send("A", ack=2)
        self.peer.expect("R", seq=2)


def scaled(*values):
    """On the debug kernel time is real: leave out what takes minutes."""
    return [v for v in values if not t.DEBUG or v <= 3000]


# --- FIN-WAIT-2 ---------------------------------------------------------------


@t.test("L-41", "L-42", "D-10", "FIN-WAIT-2/E22", "FIN-WAIT-1/E8", "C-49",
        cases={f"{ms}": ms for ms in scaled(100, 2000, 60000, 200000)})  # fmt: skip
def fin_wait_2(ms):
    """An orphan stays that long; it goes silently, and a late FIN gets RST."""
    t.net().a.tune(fin_wait2_timeout_ms=ms)
    conn = Conn().to_fin_wait_2()
    conn.must_last(ms, "FIN-WAIT-2 of an orphan")
    conn.peer.expect_nothing(20)
    conn.peer.send("FA")
    conn.peer.expect("R", seq=2)


@t.test("L-43", "FIN-WAIT-2/E22",
        cases={f"{s}": (s, 1000 * min(s, 120)) for s in
               ((1, 3) if t.DEBUG else (1, 3, 100, 500))})  # fmt: skip
def linger2(seconds, ms):
    """TCP_LINGER2 goes before the sysctl; at most 120 s."""
    t.net().a.tune(fin_wait2_timeout_ms=50)
    conn = Conn()
    conn.ours.setsockopt(t.SOL_TCP, t.TCP_LINGER2, seconds)
    conn.to_fin_wait_2().must_last(ms, "TCP_LINGER2")


@t.test("L-43", "FIN-WAIT-1/E8", "FIN-WAIT-2/E1",
        cases={"orphan-enters": "close", "close-in-it": "shutdown"})  # fmt: skip
def linger2_negative(how):
    """TCP_LINGER2 < 0: an orphan has no FIN-WAIT-2 but a RST."""
    conn = Conn()
    conn.ours.setsockopt(t.SOL_TCP, t.TCP_LINGER2, -1)
    conn.fin(how)
    conn.peer.send("A", ack=2)
    if how == "shutdown":
        conn.net.a.wait_state(FW2, *conn.ports)
        conn.peer.expect_nothing(50)
        conn.ours.close()
    seg = conn.peer.expect(seq=2)
    t.check(seg.has("R"), f"no RST: {seg}")
    t.wait_for(lambda: conn.state() == GONE, 1)


@t.test("L-43", "L-10")
def linger2_negative_after_linger():
    """The FIN was acknowledged while close() lingered: a RST all the same."""
    conn = Conn()
    conn.ours.setsockopt(t.SOL_TCP, t.TCP_LINGER2, -1)
    t.linger(conn.ours, 1, 10)
    closing = t.Background(timed_close, conn.ours)
    conn.peer.expect("FA", seq=1)
    conn.peer.send("A", ack=2)
    closing.result()
    seg = conn.peer.expect(seq=2)
    t.check(seg.has("R"), f"no RST: {seg}")
    t.wait_for(lambda: conn.state() == GONE, 1)


@t.test("L-10", cases={"4295 s": 4295, "for ever": -1})
def linger_for_long(seconds):
    """Long times do not wrap around."""
    conn = Conn()
    t.linger(conn.ours, 1, seconds)
    closing = t.Background(timed_close, conn.ours)
    conn.peer.expect("FA", seq=1)
    closing.join(1)
    t.check(closing.is_alive(), "close() did not wait")
    conn.peer.send("A", ack=2)
    t.between(closing.result(), 990, 2000 * t.SLOW, "ms in close()")


@t.test(
    "L-19", "D-10", "D-30", "FIN-WAIT-2/E22", "FIN-WAIT-2/E1", "FIN-WAIT-2/E20"
)
def never_with_a_reader():
    """No timer at all while a program holds the socket; close() starts it."""
    t.net().a.tune(fin_wait2_timeout_ms=500, orphan_timeout_ms=500)
    t.net().a.tune(user_timeout_ms=500)
    conn = Conn().to_fin_wait_2("shutdown")
    conn.peer.expect_nothing(3000 if t.DEBUG else 1000_000)
    conn.must_be(FW2)
    conn.peer.send("PA", data=b"late")
    t.equal(conn.ours.recv(10), b"late")
    conn.since = time.time_ns()
    conn.ours.close()
    conn.must_last(500, "FIN-WAIT-2 after close()")


@t.test("FIN-WAIT-2/E22")
def fin_wait_2_fixed_at_entry():
    """A change of the sysctl is for those that enter later."""
    t.net().a.tune(fin_wait2_timeout_ms=2000)
    conn = Conn().to_fin_wait_2()
    t.net().a.tune(fin_wait2_timeout_ms=100)
    conn.must_last(2000, "the value at entry")


# --- orphans ------------------------------------------------------------------


@t.test("L-47", "SHLD-11", "C-33", "FIN-WAIT-1/E23", "CLOSING/E23", "LAST-ACK/E23",
        cases={f"{s}.{ms}": (s, ms) for s in (FW1, CL, LA)
               for ms in scaled(500, 3000, 100000)})  # fmt: skip
def orphan(state, ms):
    """Nobody acknowledges the FIN of an orphan: gone after that long."""
    t.net().a.tune(orphan_timeout_ms=ms)
    conn = Conn().to(state)
    conn.must_last(ms, f"{state} of an orphan")
    conn.must_be_gone_silently()


@t.test("L-57", "FIN-WAIT-1/E24", "FIN-WAIT-1/E23", "R6429-1",
        cases={"answered": True, "unanswered": False})  # fmt: skip
def orphan_at_zero_window(answered):
    """The same when its data may not leave, even if probes are answered."""
    t.net().a.tune(orphan_timeout_ms=3000)
    conn = Conn(win=0)
    conn.ours.send(b"data")
    conn.since = time.time_ns()
    conn.ours.close()
    conn.must_be(FW1)
    while conn.state() != GONE:
        seg = conn.peer.get(0.01)
        if answered and seg:
            conn.peer.send("A", ack=1, win=0)
        t.check(
            time.time_ns() - conn.since < 10e9 * t.SLOW, "an immortal orphan"
        )
    seen = (time.time_ns() - conn.since) / 1e6
    t.near(seen, 3000, 0.01, 12, "ms as an orphan")


@t.test("L-48", "C-40")
def too_many_orphans():
    """Above max_orphans close() is an abort."""
    net = t.net()
    net.a.tune(max_orphans=0)
    before = net.a.counters()["OrphanOverflow"]
    conn = Conn()
    conn.ours.close()
    t.wait_for(lambda: conn.state() == GONE, 1)
    conn.peer.flush(10)
    t.check(any("R" in seg.flags for seg in conn.peer.all), "no RST")
    t.equal(net.a.counters()["OrphanOverflow"], before + 1)


# --- retransmission -----------------------------------------------------------


@t.test("C-31", "C-48", "MUST-18", "MUST-19", "FIN-WAIT-1/E20", "CLOSING/E20",
        "LAST-ACK/E20", "R2525-10",
        cases={f"{s}.{how}": (s, how) for s in (FW1, CL, LA)
               for how in ("close", "shutdown")})  # fmt: skip
def gaps_double(state, how):
    """The FIN goes again after RTO, 2 RTO, 4 RTO..., up to rto_max."""
    t.net().a.tune(rto_min_ms=200, rto_max_ms=2000)
    conn = Conn().to(state, how)
    ack = 1 if state == FW1 else 2
    times = [conn.first_fin.time]
    for _ in range(6):
        seg = conn.peer.expect("FA", seq=1, ack=ack, length=0, timeout=10)
        times.append(seg.time)
    gaps = [(b - a) / 1e6 for a, b in zip(times, times[1:])]
    t.note("gaps in ms:", *(f"{gap:.1f}" for gap in gaps))
    t.between(gaps[0], 195, 260 * (2 if t.DEBUG else 1), "the first gap")
    for first, second in zip(gaps, gaps[1:]):
        t.near(second, min(2 * first, 2000), 0.02, SYN_MS, "the next gap")


@t.test("C-31", "C-48", "C-1", "FIN-WAIT-1/E20")
def data_before_fin():
    """The head of the queue is sent again: data before FIN."""
    conn = Conn()
    conn.ours.send(b"data")
    conn.peer.expect("A", seq=1, length=4)
    conn.fin("close", seq=5)
    seg = conn.peer.expect(seq=1, timeout=5)
    t.check(seg.len == 4, f"wanted the data, saw {seg}")
    conn.peer.send("A", ack=5)
    seg = conn.peer.expect("FA", seq=5, length=0, timeout=10)
    conn.peer.send("A", ack=6)
    conn.net.a.wait_state(FW2, *conn.ports)


# --- user timeout -------------------------------------------------------------


def give_up(conn, state, ms, since):
    """ETIMEDOUT after that long, and not a word on the wire."""
    try:
        conn.since = since
        conn.must_last(ms, f"user timeout in {state}")
        events = conn.ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        t.equal(events, errno.ETIMEDOUT, "SO_ERROR")
    finally:
        conn.peer.flush(1)
    for seg in conn.peer.all:
        t.check("R" not in seg.flags, f"a timeout sent {seg}")


@t.test("C-47", "C-55", "MUST-20", "MUST-21", "L-44", "D-20",
        "ESTABLISHED/E23", "FIN-WAIT-1/E23", "CLOSE-WAIT/E23", "CLOSING/E23",
        "LAST-ACK/E23",
        cases={f"{s}.{how}.{ms}": (s, how, ms) for s in (ES, CW, FW1, CL, LA)
               for how in ("sysctl", "option")
               for ms in (scaled(500, 2000) + (scaled(300000) if s == ES else []))
               })  # fmt: skip
def user_timeout(state, how, ms):
    """Data or FIN unacknowledged for that long: the connection is given up."""
    net = t.net()
    net.a.tune(user_timeout_ms=ms if how == "sysctl" else 77777)
    conn = Conn()
    if how == "option":
        conn.ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, ms)
    if state in (FW1, CL, LA):
        conn.to(state, "shutdown")
        return give_up(conn, state, ms, conn.first_fin.time)
    if state == CW:
        conn.peer.send("FA")
        conn.peer.expect("A", ack=2)
        conn.ours.recv(1)
    conn.ours.send(b"data")
    give_up(conn, state, ms, conn.peer.expect(seq=1, length=4).time)


@t.test("MUST-20", "L-44", cases={"sysctl": "sysctl", "option": "option"})
def slow_progress(how):
    """All leaves at once, and each ACK takes a little: only the option's time is
    that of each octet."""
    net = t.net()
    ms = scaled(2000)[0]
    net.a.tune(user_timeout_ms=ms if how == "sysctl" else 77777)
    conn = Conn(mss=1000)
    if how == "option":
        conn.ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, ms)
    conn.ours.send(bytes(10000))
    since = conn.peer.expect(seq=1).time
    for part in range(1, 8):
        until = since + (part * ms / 2 + 10) * 1e6
        t.wait_for(lambda: time.time_ns() > until, ms)
        if how == "option" and part == 2:
            conn.must_be_gone_silently()
            return
        conn.peer.send("A", ack=1 + 1000 * part)
    conn.must_be(ES)


@t.test(
    "L-44", "ESTABLISHED/E24", cases={f"{ms}": ms for ms in scaled(1500, 20000)}
)
def user_timeout_at_zero_window(ms):
    """TCP_USER_TIMEOUT counts a shut window too, answered probes or not."""
    conn = Conn(win=0)
    conn.ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, ms)
    since = time.time_ns()
    conn.ours.send(b"data")
    while conn.state() != GONE:
        if conn.peer.get(0.005):
            conn.peer.send("A", ack=1, win=0)
        t.check(
            time.time_ns() - since < (ms + 5000) * 1e6 * t.SLOW, "not given up"
        )
    t.near((time.time_ns() - since) / 1e6, ms, 0.01, 6, "ms until given up")
    error = conn.ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    t.equal(error, errno.ETIMEDOUT, "SO_ERROR")


@t.test("MUST-37", "MUST-36", "SHLD-29", "SHLD-30", "SHLD-17", "L-57", "C-55")
def zero_window_for_ever():
    """While probes are answered a connection lives on, far above the timeout."""
    net = t.net()
    net.a.tune(user_timeout_ms=2000, rto_max_ms=1000 if t.DEBUG else 10000)
    conn = Conn(win=0)
    conn.ours.send(b"data")
    end = time.monotonic() + (6 if t.DEBUG else 400)
    times = []
    while time.monotonic() < end:
        seg = conn.peer.get(1)
        if seg:
            times.append(seg.time)
            conn.peer.send("A", ack=1, win=0)
    conn.must_be(ES)
    gaps = [(b - a) / 1e6 for a, b in zip(times, times[1:])]
    for first, second in zip(gaps, gaps[1:4]):
        t.near(second, 2 * first, 0.1, SYN_MS, "gap between probes")
    conn.peer.send("A", ack=1, win=1000)
    conn.peer.expect(seq=1, length=4)


@t.test("L-44", "MUST-21")
def user_timeout_inherited():
    """accept() passes the listener's TCP_USER_TIMEOUT on."""
    listener = t.net().a.listener()
    listener.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, 1234)
    peer = t.Peer(t.net())
    peer.connect(listener.getsockname()[1])
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    t.equal(ours.getsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT), 1234)


@t.test("C-47", "L-35", "MUST-12", cases={"recv": "recv", "poll": "poll"})
def user_timeout_wakes(call):
    """A program that waits is told."""
    conn = Conn()
    conn.ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, 500)
    conn.ours.send(b"data")
    if call == "recv":
        with t.fails_with(errno.ETIMEDOUT):
            conn.ours.recv(1)
        return
    poller = select.poll()
    poller.register(conn.ours, select.POLLIN)
    events = poller.poll(5000 * t.SLOW)[0][1]
    t.check(events & select.POLLERR and events & select.POLLHUP, events)


# --- linger -------------------------------------------------------------------


def timed_close(sock):
    began = time.time_ns()
    sock.close()
    return (time.time_ns() - began) / 1e6


@t.test("L-10", "C-35", "L-12",
        cases={f"{s}.{n}{'.nonblocking' if nb else ''}": (s, n, nb)
               for s in (FW1, CL, LA) for n in ((1,) if t.DEBUG else (1, 2, 30))
               for nb in (False, True)})  # fmt: skip
def linger_expires(state, seconds, nonblocking):
    """close() waits for the FIN's ACK, no longer than that, returns 0, and
    the close goes on without it."""
    conn = Conn()
    conn.ours.setblocking(not nonblocking)
    if state == CL:
        conn.to(state, "shutdown")
    elif state == LA:
        conn.peer.send("FA")
        conn.peer.expect("A", ack=2)
    t.linger(conn.ours, 1, seconds)
    took = timed_close(conn.ours)
    t.near(took, 1000 * seconds, 0.01, what="ms in close()")
    conn.must_be(state)
    conn.peer.flush()
    conn.peer.send("A", ack=2)
    after = {FW1: FW2, CL: TW, LA: GONE}[state]
    conn.net.a.wait_state(after, *conn.ports)


@t.test("C-16", "L-10", "FIN-WAIT-1/E8", "CLOSING/E8", "LAST-ACK/E8",
        cases={s: s for s in (FW1, CL, LA)})  # fmt: skip
def linger_ends_with_ack(state):
    """close() returns when the FIN is acknowledged."""
    conn = Conn()
    if state == CL:
        conn.to(state, "shutdown")
    elif state == LA:
        conn.peer.send("FA")
        conn.peer.expect("A", ack=2)
    t.linger(conn.ours, 1, 10)
    closing = t.Background(timed_close, conn.ours)
    time.sleep(0.3)
    conn.must_be(state)
    conn.peer.send("A", ack=2)
    t.near(closing.result(), 300, 0.01, 5, "ms in close()")


@t.test("L-10", "C-8", "FIN-WAIT-1/E12", cases={"rst": "R", "rst-ack": "RA"})
def linger_ends_with_reset(flags):
    conn = Conn()
    t.linger(conn.ours, 1, 10)
    closing = t.Background(timed_close, conn.ours)
    time.sleep(0.3)
    conn.peer.send(flags)
    t.near(closing.result(), 300, 0.01, 5, "ms in close()")
    conn.must_be(GONE)


@t.test("C-35", "L-10")
def linger_means_delivered():
    """close() came back early: the other side has all of it."""
    net = t.net()
    net.a.tune(msl_ms=50)
    ours, theirs = t.connect(net.a, net.b)
    data = t.pattern(100_000)
    reader = t.Background(t.read_digest, theirs)
    ours.sendall(data)
    t.linger(ours, 1, 20)
    took = timed_close(ours)
    t.between(took, 0, 5000 * t.SLOW, "ms in close()")
    t.equal(reader.result(), (len(data), t.digest(data)))


@t.test("L-11")
def no_linger_at_exit():
    """A process that ends does not linger."""
    conn = Conn()
    t.linger(conn.ours, 1, 20)

    child = os.fork()
    if child == 0:
        signal.pause()
    conn.ours.close()
    conn.peer.expect_nothing(50, "the child still holds it:")
    began = time.time_ns()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    t.between((time.time_ns() - began) / 1e6, 0, 1000 * t.SLOW, "ms to end")
    conn.peer.expect("FA", seq=1)


t.main()
