#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Every state from ESTABLISHED on against what a peer can send and a user call.

One row of EVENTS is one event in several states; a hand-made peer brings a
connection to the state, raises the event, and looks at the answer, at the state
after it, and at whether the connection still ends as it should.
"""
import errno
import select
import socket
import time

import cftest as t

ES, FW1, FW2, CW = "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT"
CL, LA, TW, GONE = "CLOSING", "LAST-ACK", "TIME-WAIT", "CLOSED"
ALL = (ES, FW1, FW2, CW, CL, LA, TW)
FULL = ALL[:-1]  # states of a full socket
QUIET_MS = 30


class Conn:
    """A connection in a state. una, snd, rcv: SND.UNA, SND.NXT, RCV.NXT of
    the side under test, counted from the SYNs."""

    def __init__(
        self,
        state,
        orphan=False,
        role="passive",
        how=None,
        rto=20000,
        **options,
    ):
        self.net, self.orphan, self.state = t.net(), orphan, state
        self.net.a.tune(rto_min_ms=rto, rto_init_ms=rto)
        self.ours, self.peer = t.with_peer(self.net, role, **options)
        self.how = how or ("close" if orphan else "shutdown")
        self.una = self.snd = self.rcv = 1
        getattr(self, "_to_" + state.replace("-", "_").lower())()
        self.must_be(state)

    def _finish_sending(self):
        if self.how == "close":
            self.ours.close()
        else:
            self.ours.shutdown(
                socket.SHUT_RDWR if self.how == "rdwr" else socket.SHUT_WR
            )
        self.peer.expect("FA", seq=self.snd, ack=self.rcv)
        self.snd += 1

    def _get_fin(self, ack):
        self.peer.send("FA", ack=ack)
        self.rcv += 1
        self.peer.expect("A", seq=self.snd, ack=self.rcv, length=0)

    def _to_established(self):
        pass

    def _to_fin_wait_1(self):
        self._finish_sending()

    def _to_fin_wait_2(self):
        self._finish_sending()
        self.una = self.snd
        self.peer.send("A")
        self.net.a.wait_state(FW2, self.peer.dut_port, self.peer.port)

    def _to_close_wait(self):
        self._get_fin(self.una)
        t.equal(self.ours.recv(1), b"", "EOF")

    def _to_closing(self):
        self._finish_sending()
        self._get_fin(self.una)

    def _to_last_ack(self):
        self._to_close_wait()
        self._finish_sending()

    def _to_time_wait(self):
        self._to_fin_wait_2()
        self._get_fin(self.una)

    def now(self):
        return self.net.a.state(self.peer.dut_port, self.peer.port)

    def must_be(self, state):
        t.equal(self.now(), state, "state")

    def send(self, flags, seq=0, ack=0, **more):
        """seq counts from RCV.NXT, ack from SND.UNA of the tested side."""
        self.acked = self.una + ack
        self.peer.send(flags, seq=self.rcv + seq, ack=self.acked, **more)

    def answer(self, wanted):
        """The tested side must answer so: ACK, RST, None, or maybe-ACK."""
        if wanted == "ACK":
            self.peer.expect("A", seq=self.snd, ack=self.rcv, length=0)
        elif wanted == "RST":
            self.peer.expect("R", seq=self.acked, length=0)
        elif wanted == "maybe-ACK":
            seg = self.peer.get(QUIET_MS / 1000)
            t.check(
                not seg or seg.is_flags("A") and seg.rel_ack == self.rcv, seg
            )
        self.peer.expect_nothing(QUIET_MS, "after the answer")

    def goes_on(self):
        """The connection still does what its state is for."""
        fin = self.una + 1  # acknowledges our FIN where there is one
        if self.state in (ES, CW):
            self.ours.send(b"on")
            self.peer.expect(seq=self.snd, ack=self.rcv, length=2)
        elif self.state in (FW1, FW2):
            fin = fin if self.state == FW1 else self.una
            self.peer.send("FA", seq=self.rcv, ack=fin)
            self.peer.expect("A", seq=self.snd, ack=self.rcv + 1)
            self.must_be(TW)
        elif self.state in (CL, LA):
            self.peer.send("A", seq=self.rcv, ack=fin)
            self.peer.expect_nothing(QUIET_MS)
            self.must_be(TW if self.state == CL else GONE)
        elif self.state == TW:
            self.peer.send("FA", seq=self.rcv - 1, ack=self.snd)
            self.peer.expect("A", seq=self.snd, ack=self.rcv)

    def reset_is_told(self):
        """A program that holds the socket learns of a reset, once."""
        if self.orphan or self.state in (LA, CL):
            return
        events = dict(poll(self.ours))
        t.check(events[self.ours.fileno()] & select.POLLHUP, "POLLHUP missing")
        if self.state == CW:
            t.equal(self.ours.recv(1), b"", "EOF wins")
            return
        t.check(events[self.ours.fileno()] & select.POLLERR, "POLLERR missing")
        with t.fails_with(errno.ECONNRESET):
            self.ours.recv(1)
        t.equal(self.ours.recv(1), b"", "after the error")
        with t.fails_with(errno.EPIPE):
            self.ours.send(b"x", socket.MSG_NOSIGNAL)


def poll(sock):
    poller = select.poll()
    poller.register(sock, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
    return poller.poll(0)


def icmp(conn):
    """Port unreachable, quoting the newest segment that could be on its way."""
    quoted = t.build(
        conn.net.a.address, conn.peer.address, conn.peer.dut_port,
        conn.peer.port, conn.peer.irs + conn.una, 0, "A",
    )[14 : 14 + t.IP_HEADER + 8]  # fmt: skip
    conn.peer.frame(
        t.icmp_frame(
            conn.peer.address,
            conn.net.a.address,
            t.PORT_UNREACHABLE,
            quoted,
        )
    )


@t.test("L-35", "L-36", "R5461-2", cases={"still": False, "mended": True})
def soft_error_at_the_timeout(mended):
    """It is the errno of a timeout, but not when something arrived since."""
    conn = Conn(ES, rto=100)
    conn.ours.send(b"lost")
    conn.peer.expect(length=4)
    icmp(conn)
    if mended:
        conn.send("A", ack=4)
        conn.ours.send(b"lost")
        t.wait_for(lambda: conn.peer.get(1).rel_seq == 5, 1)
    conn.ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, 500)
    errno_now = errno.ETIMEDOUT if mended else errno.ECONNREFUSED
    with t.fails_with(errno_now):
        conn.ours.recv(1)


def many(flags, times, **numbers):
    def send(conn):
        for _ in range(times - 1):
            conn.send(flags, **numbers)
            conn.peer.expect("A", seq=conn.snd, ack=conn.rcv, length=0)
        conn.send(flags, **numbers)

    return send


def one(flags, **numbers):
    return lambda conn: conn.send(flags, **numbers)


# (id, what, states, event, answer, state after: None is the same)
EVENTS = [
    ("E10", "dup-fin", (CW, CL, LA, TW), many("FA", 3, seq=-1), "ACK", None),
    ("E11", "syn", ALL, one("S", seq=10), "ACK", None),
    ("E11", "syn-at-nxt", ALL, one("S"), "ACK", None),
    ("E11", "syn-old", ALL, one("S", seq=-5000), "ACK", None),
    ("E11", "syn-ack", ALL, one("SA"), "ACK", None),
    ("E11", "syn-data", ALL, one("S", data=b"xyz"), "ACK", None),
    ("E11", "syn-fin", ALL, one("SFA"), "ACK", None),
    ("E12", "rst", FULL, one("R"), None, GONE),
    ("E12", "rst-ack", FULL, one("RA"), None, GONE),
    ("E12", "rst-bad-ack", FULL, one("RA", ack=9999), None, GONE),
    ("E12", "rst-data", FULL, one("RA", data=b"why"), None, GONE),
    ("E12", "rst-fin", FULL, one("RFA"), None, GONE),
    ("E13", "rst-inside", FULL, one("R", seq=1), "ACK", None),
    ("E13", "rst-far-inside", FULL, one("RA", seq=1000), "ACK", None),
    ("E14", "rst-before", ALL, one("R", seq=-1), None, None),
    ("E14", "rst-long-before", ALL, one("R", seq=-70000), None, None),
    ("E14", "rst-beyond", ALL, one("RA", seq=1 << 29), None, None),
    ("E18", "probe", ALL, one("A", seq=-1), "ACK", None),
    ("E18", "probe-octet", ALL, many("A", 2, seq=-1, data=b"?"), "ACK", None),
    ("E18", "far-beyond", ALL, one("A", seq=1 << 29, data=b"x"), "ACK", None),
    ("E19", "ack-beyond", FULL, one("A", ack=9), "ACK", None),
    ("E19", "ack-beyond-fin", (ES, FW1, FW2), one("FA", ack=9), "ACK", None),
    ("E19", "ack-beyond-data", (ES, FW1, FW2), one("A", ack=9, data=b"x"), "ACK",
     None),
    ("E19", "ack-ancient", FULL, one("A", ack=-(1 << 30)), "ACK", None),
    ("E19", "ack-ancient-fin", (ES, FW1, FW2), one("FA", ack=-(1 << 30)), "ACK",
     None),
    ("E26", "null", ALL, one(""), None, None),
    ("E26", "fin-without-ack", ALL, one("F"), None, None),
    ("E26", "data-without-ack", ALL, one("P", data=b"x"), None, None),
    ("E26", "urgent-without-ack", ALL, one("U", data=b"x", urg=1), None, None),
    ("E17", "data-beyond-fin", (CW, CL, LA), one("PA", data=b"x"), "maybe-ACK",
     None),
    ("E17", "fin-beyond-fin", (CW, CL, LA), one("FA"), "maybe-ACK", None),
    ("E17", "urgent-beyond-fin", (CW, CL, LA), one("UA", data=b"!", urg=1),
     "maybe-ACK", None),
    ("E17", "data-acks-fin", (CL,), one("PA", ack=1, data=b"x"), "maybe-ACK", TW),
    ("E17", "data-acks-fin", (LA,), one("PA", ack=1, data=b"x"), "maybe-ACK", GONE),
    ("E17", "data", (TW,), one("PA", data=b"x"), "ACK", None),
    ("E8", "ack-of-fin", (FW1,), one("A", ack=1), None, FW2),
    ("E8", "old-ack", (FW1, FW2, CL, LA, TW), one("A"), None, None),
    ("E8", "ack-of-fin", (CL,), one("A", ack=1), None, TW),
    ("E8", "ack-of-fin", (LA,), one("A", ack=1), None, GONE),
    ("E9", "dup-fin-acks-fin", (CL,), one("FA", seq=-1, ack=1), "maybe-ACK", TW),
    ("E9", "dup-fin-acks-fin", (LA,), one("FA", seq=-1, ack=1), None, GONE),
    ("E25", "port-unreachable", ALL, icmp, None, None),
    ("MUST-3", "bad-checksum-fin", ALL, one("FA", csum=lambda c: c ^ 1), None, None),
    ("MUST-3", "bad-checksum-rst", ALL, one("R", csum=lambda c: c ^ 1), None, None),
]  # fmt: skip

IDS = {
    "E8": ("C-14", "C-16", "C-17", "C-18"),
    "E9": ("C-53", "D-7"),
    "E10": ("C-29", "C-19"),
    "E11": ("D-2", "C-10", "C-46", "R5961-5", "MUST-57"),
    "E12": (
        "C-7",
        "C-8",
        "C-9",
        "R5961-2",
        "SHLD-2",
        "R1122-12",
        "C-6",
        "L-31",
        "L-32",
        "L-33",
    ),
    "E13": ("D-3", "C-7", "R5961-3"),
    "E14": ("D-3", "D-4", "C-7", "C-4", "R5961-1"),
    "E17": ("C-20", "C-22", "C-51"),
    "E18": ("D-5", "C-4", "MAY-6"),
    "E19": ("D-6", "C-12", "R5961-7"),
    "E25": ("D-25", "MUST-56", "SHLD-25", "R1122-39", "R5927-2"),
    "E26": ("C-11", "D-29"),
    "MUST-3": (),
}


def rows(event):
    """{name: arguments} of an event's rows, in each state, held and orphaned."""
    found = {}
    for name, what, states, act, wanted, after in EVENTS:
        for state in states if name == event else ():
            kinds = [False] if state in (ES, CW) else [False, True]
            for orphan in kinds:
                label = f"{state}/{name}.{what}{'.orphan' if orphan else ''}"
                found[label] = state, orphan, act, wanted, after
    return found


def cell(state, orphan, act, wanted, after):
    conn = Conn(state, orphan)
    act(conn)
    conn.answer(wanted)
    conn.must_be(after or state)
    if after is None:
        conn.goes_on()
    elif after == GONE and act.__name__ == "<lambda>" and wanted is None:
        if state in FULL and not (state == LA):
            conn.reset_is_told()


for _event, _ids in IDS.items():
    t.test(*_ids, cases=rows(_event))(cell)


# --- the reader's side of ESTABLISHED, FIN-WAIT-1 and FIN-WAIT-2 --------------

READERS = (ES, FW1, FW2)
AFTER_FIN = {ES: CW, FW1: CL, FW2: TW}


@t.test("C-24", "C-25", "C-26", "C-27", "MUST-12", "L-33",
        cases={f"{s}/E6{'.orphan' if o else ''}": (s, o) for s in READERS
               for o in (False, True) if not (o and s == ES)})  # fmt: skip
def fin(state, orphan):
    """FIN in order, without ACK of ours."""
    conn = Conn(state, orphan)
    conn.send("FA")
    conn.rcv += 1
    conn.answer("ACK")
    conn.must_be(AFTER_FIN[state])
    if not orphan:
        events = dict(poll(conn.ours))[conn.ours.fileno()]
        t.check(events & select.POLLIN and events & select.POLLRDHUP, events)
        t.equal(bool(events & select.POLLHUP), state != ES, "POLLHUP")
        t.equal(conn.ours.recv(1), b"", "EOF")
        t.equal(conn.ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
    conn.state = AFTER_FIN[state]
    conn.goes_on()


@t.test("C-27", "C-28", "MUST-13",
        cases={"FIN-WAIT-1/E9": False, "FIN-WAIT-1/E9.orphan": True})  # fmt: skip
def fin_and_ack(orphan):
    """FIN and the ACK of our FIN in one segment."""
    conn = Conn(FW1, orphan)
    conn.send("FA", ack=1)
    conn.rcv += 1
    conn.answer("ACK")
    conn.must_be(TW)


@t.test("C-14", "C-21", "SHLD-31", "FIN-WAIT-1/E9", "FIN-WAIT-2/E9",
        cases={"FIN-WAIT-1": (FW1, 1), "FIN-WAIT-2": (FW2, 0)})  # fmt: skip
def ack_data_fin(state, ack):
    """One segment: ACK of our FIN, data and FIN."""
    conn = Conn(state)
    conn.send("FPA", ack=ack, data=b"four")
    conn.rcv += 5
    conn.answer("ACK")
    conn.must_be(TW)
    t.equal(t.read_all(conn.ours), b"four")


@t.test("C-14", "C-21", cases={"first": 0, "second": 1, "third": 2})
def data_and_fin_in_bits(cut):
    """The same in three segments that arrive in another order."""
    conn = Conn(FW1, sack=True)
    parts = [("PA", 0, b"ab"), ("PA", 2, b"cd"), ("FA", 4, b"")]
    for flags, seq, data in parts[cut:] + parts[:cut]:
        conn.send(flags, seq=seq, ack=1, data=data)
    t.wait_for(lambda: conn.now() == TW, 2, "TIME-WAIT")
    conn.peer.flush(QUIET_MS)
    t.equal(conn.peer.all[-1].rel_ack, conn.rcv + 5, "last ACK")
    t.equal(t.read_all(conn.ours), b"abcd")


@t.test("SHLD-31", "MAY-13", "C-25",
        cases={f"{s}/E7{'.sack' if sack else ''}": (s, sack)
               for s in READERS for sack in (False, True)})  # fmt: skip
def fin_out_of_order(state, sack):
    """A FIN behind a hole is held until the hole is filled."""
    conn = Conn(state, sack=sack)
    conn.send("FA", seq=4)
    seg = conn.peer.expect("A", seq=conn.snd, ack=conn.rcv, length=0)
    if sack:
        edge = conn.peer.iss + conn.rcv + 4 & 0xFFFFFFFF
        t.equal(seg.opts.get("sack"), [(edge, edge + 1)], "SACK of the FIN")
    conn.must_be(state)
    conn.peer.expect_nothing(QUIET_MS)
    conn.send("PA", data=b"hole")
    conn.rcv += 5
    conn.answer("ACK")
    conn.must_be(AFTER_FIN[state])
    t.equal(t.read_all(conn.ours), b"hole")


@t.test(
    "C-25", cases={"FIN-WAIT-1/E7.orphan": FW1, "FIN-WAIT-2/E7.orphan": FW2}
)
def orphan_fin_out_of_order(state):
    """Bare FIN behind a hole, nobody there to read what is missing."""
    conn = Conn(state, orphan=True)
    conn.send("FA", seq=4)
    conn.answer("ACK")
    conn.must_be(state)
    conn.send("PA", data=b"hole")
    conn.answer("RST")
    conn.must_be(GONE)


@t.test("C-22", "ESTABLISHED/E17", "C-51")
def data_behind_held_fin():
    """What was received beyond the FIN goes with the FIN."""
    conn = Conn(ES)
    conn.send("PA", seq=5, data=b"beyond")
    conn.peer.expect("A", ack=conn.rcv)
    conn.send("FA", seq=4)
    conn.peer.expect("A", ack=conn.rcv)
    conn.send("PA", data=b"good")
    conn.rcv += 5
    conn.answer("ACK")
    conn.must_be(CW)
    t.equal(t.read_all(conn.ours), b"good")


@t.test("C-22", "CLOSE-WAIT/E17")
def segment_over_the_fin():
    """A segment that begins before the FIN and ends behind it: only its
    old part is known, the rest is beyond the end."""
    conn = Conn(ES)
    conn.send("FPA", data=b"end")
    conn.rcv += 4
    conn.answer("ACK")
    conn.must_be(CW)
    conn.send("PA", seq=-4, data=b"end-and-more")
    conn.peer.flush(QUIET_MS)
    t.check(conn.now() in (CW, GONE), conn.now())
    t.equal(t.read_all(conn.ours), b"end")


@t.test("C-21", "L-17", cases={f"{s}/E15": s for s in READERS})
def data_in_order(state):
    """Text is taken as long as somebody may read it."""
    conn = Conn(state)
    for number in range(3):
        conn.send("PA", data=b"text")
        conn.rcv += 4
        t.equal(conn.ours.recv(10), b"text")
    t.wait_for(lambda: not conn.peer.get(0.2) and
               conn.peer.all[-1].rel_ack == conn.rcv, 2, "ACK")  # fmt: skip
    conn.must_be(state)
    conn.goes_on()


@t.test("SHLD-3", "L-8", "L-9", "L-18", "D-8", "R2525-16", "R1122-13c",
        cases={f"{s}/E16.{how}{'.ack' if ack else ''}": (s, how, ack)
               for s in (FW1, FW2) for how in ("close", "rdwr")
               for ack in ((0, 1) if s == FW1 else (0,))})  # fmt: skip
def data_without_reader(state, how, ack):
    """New data for an orphan, or after SHUT_RDWR: RST, each time."""
    conn = Conn(state, orphan=how == "close", how=how)
    conn.send("PA", ack=ack, data=b"text")
    conn.answer("RST")
    conn.must_be(GONE)
    conn.send("PA", seq=4, ack=ack, data=b"text")
    conn.answer("RST")
    if how == "rdwr":
        error = conn.ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        t.equal(error, errno.ECONNRESET, "SO_ERROR")


@t.test("L-17", "ESTABLISHED/E16")
def data_after_shut_rd():
    """SHUT_RD in ESTABLISHED does nothing on the wire; data is readable."""
    conn = Conn(ES)
    conn.ours.shutdown(socket.SHUT_RD)
    conn.peer.expect_nothing(QUIET_MS)
    t.equal(conn.ours.recv(1), b"")
    conn.send("PA", data=b"text")
    conn.rcv += 4
    conn.peer.expect("A", ack=conn.rcv, timeout=0.5)
    t.equal(conn.ours.recv(10), b"text")
    conn.must_be(ES)


@t.test("C-15", "C-1", "FIN-WAIT-1/E8", "FIN-WAIT-1/E6",
        cases={"then-ack": "A", "then-fin": "FA"})  # fmt: skip
def ack_of_data_only(flags):
    """An ACK that covers the data but not the FIN is not the FIN's."""
    conn = Conn(ES)
    conn.ours.send(b"data")
    conn.peer.expect("A", seq=1, length=4)
    conn.ours.shutdown(socket.SHUT_WR)
    conn.peer.expect("FA", seq=5)
    conn.send(flags, ack=4)
    if flags == "FA":
        conn.snd, conn.rcv = 6, 2
        conn.answer("ACK")
        conn.must_be(CL)
        conn.send("A", ack=5)
        t.wait_for(lambda: conn.now() == TW, 2)
    else:
        conn.peer.expect_nothing(QUIET_MS)
        conn.must_be(FW1)
        conn.send("A", ack=5)
        t.wait_for(lambda: conn.now() == FW2, 2)


@t.test("C-13", "C-25")
def stale_window():
    """An old ACK with window 0 that comes late must not stop the FIN."""
    conn = Conn(ES)
    conn.ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    for _ in range(2):
        conn.ours.send(b"data")
        conn.peer.expect("A", length=4)
    conn.send("A", ack=8)
    conn.send("A", ack=4, win=0)
    conn.ours.send(b"more")
    conn.peer.expect("A", seq=9, length=4)
    conn.ours.shutdown(socket.SHUT_WR)
    conn.peer.expect("FA", seq=13)


# --- user calls --------------------------------------------------------------


def unread(state):
    """A connection in a state with an octet that nobody read."""
    conn = Conn(ES)
    conn.send("PA", data=b"1")
    conn.rcv += 1
    conn.peer.expect("A", ack=conn.rcv, timeout=0.5)
    conn.peer.nxt = conn.rcv
    if state in (FW1, FW2, CL):
        conn._finish_sending()
    if state == FW2:
        conn.una = conn.snd
        conn.send("A")
        conn.net.a.wait_state(FW2, conn.peer.dut_port)
    if state in (CW, CL, LA):
        conn._get_fin(conn.una)
    if state == LA:
        conn._finish_sending()
    conn.must_be(state)
    return conn


@t.test("SHLD-3", "L-1", "L-2", "D-9", "MAY-1", "R2525-17", "R1122-13c",
        cases={f"{s}/E1b.{how}": (s, how) for s in (ES, FW1, FW2, CW, CL, LA)
               for how in ("close", "linger0")})  # fmt: skip
def close_unread(state, how):
    """close() with unread data is an abort."""
    conn = unread(state)
    if how == "linger0":
        t.linger(conn.ours, 1, 0)
    conn.ours.close()
    conn.peer.expect("RA", seq=conn.snd, ack=conn.rcv, length=0)
    conn.must_be(GONE)
    conn.peer.expect_nothing(QUIET_MS)
    conn.send("A")
    conn.answer("RST")


@t.test("L-4", "L-3")
def close_read_all():
    """Everything but the FIN was read: a normal close."""
    conn = Conn(ES)
    conn.send("FPA", data=b"all")
    conn.rcv += 4
    conn.peer.expect("A", ack=conn.rcv, timeout=0.5)
    t.equal(conn.ours.recv(1) + conn.ours.recv(2), b"all")
    conn.ours.close()
    conn.peer.expect("FA", seq=1, ack=conn.rcv)
    conn.must_be(LA)


@t.test("C-40", "C-41", "C-42", "D-17", "L-13", "L-14", "D-16", "D-18",
        cases={f"{s}/E3": s for s in ALL})  # fmt: skip
def abort(state):
    """linger {1, 0} and close()."""
    conn = Conn(state)
    t.linger(conn.ours, 1, 0)
    conn.ours.close()
    if state in (ES, FW1, FW2, CW):
        conn.peer.expect("RA", seq=conn.snd, ack=conn.rcv, length=0)
    conn.peer.expect_nothing(QUIET_MS)
    conn.must_be(TW if state == TW else GONE)


@t.test("C-40", "ESTABLISHED/E3", "L-14")
def abort_with_data_on_the_way():
    """The RST of an abort is numbered SND.NXT, not SND.UNA."""
    conn = Conn(ES)
    conn.ours.send(b"12345")
    conn.peer.expect("A", length=5)
    t.linger(conn.ours, 1, 0)
    conn.ours.close()
    conn.peer.expect("RA", seq=6, ack=1)


@t.test("C-32", "L-33", "R1122-13b", "CLOSE-WAIT/E4", "CLOSE-WAIT/E18")
def close_wait_sends():
    """CLOSE-WAIT is a whole sender: data, retransmission, writability."""
    conn = Conn(CW, rto=100)
    events = dict(poll(conn.ours))[conn.ours.fileno()]
    t.check(events & select.POLLOUT, "CLOSE-WAIT must be writable")
    conn.ours.send(b"still here")
    first = conn.peer.expect(seq=1, ack=2, length=10)
    again = conn.peer.expect(seq=1, ack=2, length=10)
    t.check(again.time > first.time, "retransmission")
    conn.peer.send("A", ack=11)
    conn.must_be(CW)


# --- windows -----------------------------------------------------------------


def fin_unsent(data=b"data", **options):
    """FIN-WAIT-1 with the FIN still here: the peer's window is shut."""
    conn = Conn(ES, win=0, rto=50, **options)
    if data:
        conn.ours.send(data)
    return conn


@t.test("L-6", "L-7", "D-23", "D-28", "FIN-WAIT-1/E24", "MUST-36", "C-33", "L-5",
        "C-16", cases={"shutdown": "shutdown", "close": "close"})  # fmt: skip
def zero_window(how):
    """FIN-WAIT-1 at once; data and FIN leave when the window opens."""
    conn = fin_unsent()
    conn.ours.close() if how == "close" else conn.ours.shutdown(socket.SHUT_WR)
    conn.must_be(FW1)
    for _ in range(2):
        probe = conn.peer.expect(timeout=5, what="probe")
        t.check(
            "F" not in probe.flags and probe.len <= 1, f"not a probe: {probe}"
        )
        conn.peer.send("A", ack=1, win=0)
    conn.must_be(FW1)
    conn.peer.flush()
    conn.peer.send("A", ack=1, win=1000)
    got = conn.peer.expect(seq=1, length=4)
    if "F" not in got.flags:
        conn.peer.expect("FA", seq=5)
    conn.peer.send("A", ack=6, win=1000)
    conn.net.a.wait_state(FW2, conn.peer.dut_port)


@t.test("C-34", "L-6", "CLOSING/E24", "CLOSING/E8", "D-28")
def closing_with_fin_unsent():
    """The peer's FIN overtakes ours that never left: CLOSING, and an ACK of
    all that was sent is not an ACK of our FIN."""
    conn = fin_unsent()
    conn.ours.shutdown(socket.SHUT_WR)
    conn.peer.send("FA", ack=1, win=0)
    conn.rcv += 1
    t.wait_for(lambda: conn.now() == CL, 2, CL)
    conn.peer.send("A", ack=1, win=0)
    conn.peer.flush(QUIET_MS)
    conn.must_be(CL)
    conn.peer.send("A", ack=1, win=1000)
    t.wait_for(
        lambda: any(s.has("F") for s in drained(conn.peer)), 2, "our FIN"
    )
    conn.peer.send("A", ack=6, win=1000)
    t.wait_for(lambda: conn.now() == TW, 2, TW)


def drained(peer):
    peer.flush()
    return peer.all


@t.test("L-13", "D-16", "CLOSING/E3", "CLOSE-WAIT/E24",
        cases={"CLOSING": CL, "LAST-ACK": LA})  # fmt: skip
def abort_with_fin_unsent(state):
    """An abort before our FIN left needs a RST in CLOSING and LAST-ACK too."""
    conn = fin_unsent()
    if state == CL:
        conn.ours.shutdown(socket.SHUT_WR)
    conn.peer.send("FA", ack=1, win=0)
    t.wait_for(lambda: conn.now() in (CL, CW), 2)
    if state == LA:
        conn.ours.shutdown(socket.SHUT_WR)
    conn.must_be(state)
    conn.peer.flush(5)
    t.linger(conn.ours, 1, 0)
    conn.ours.close()
    t.wait_for(
        lambda: any(s.is_flags("RA") for s in drained(conn.peer)), 1, "RST"
    )
    conn.must_be(GONE)


@t.test("C-5", "C-3", "MUST-66", "C-23")
def fin_beyond_the_window():
    """Data and FIN across the right edge: the FIN takes no effect."""
    conn = Conn(ES)
    conn.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent, window = 0, 1
    while window and sent < 1 << 20:
        window = fill(conn, 1000)
        sent += 1000
    t.check(window is not None and window < 1000, "the window never shut")
    edge = conn.peer.nxt + window
    conn.peer.send("FPA", data=b"z" * (window + 10), seq=conn.peer.nxt)
    seg = conn.peer.expect("A", timeout=1)
    t.check(seg.rel_ack <= edge, f"took more than its window: {seg}")
    conn.must_be(ES)
    conn.peer.send("R", seq=seg.rel_ack)
    t.wait_for(lambda: conn.now() == GONE, 1, "RST at a full window")


def fill(conn, size):
    """Send so much; return the window that is left then, 0 when it is small."""
    conn.peer.send("PA", data=b"f" * size)
    seg = conn.peer.expect("A", timeout=2)
    conn.peer.flush(60)
    seg = conn.peer.all[-1]
    if seg.rel_ack < conn.peer.nxt:  # did not all fit
        conn.peer.nxt = seg.rel_ack
        return 0
    return 0 if seg.win < size else seg.win


@t.test("D-23", "MUST-66", "C-5", "C-25")
def fin_at_a_shut_window():
    """A bare FIN that comes when nothing fits: now or later, but not lost,
    and nothing before it is."""
    conn = Conn(ES)
    conn.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    data = b""
    while len(data) < 1 << 20 and fill(conn, 1000):
        data += b"f" * 1000
    total = conn.peer.nxt - 1
    conn.peer.send("FA", seq=conn.peer.nxt)
    conn.peer.expect("A", timeout=1)
    t.check(conn.now() in (ES, CW), conn.now())
    reader = t.Background(t.read_all, conn.ours)
    conn.peer.flush(QUIET_MS)
    conn.peer.send("FA", seq=conn.peer.nxt)  # its retransmission
    t.equal(len(reader.result()), total, "octets before EOF")
    conn.must_be(CW)


# --- RST, challenge, half-open -------------------------------------------------


@t.test(
    "R5961-9", "R5961-11", "C-7", "R5961-10", cases={"rst": "R", "syn": "S"}
)
def challenge_is_limited(flags):
    """Many of them get few answers, and another connection its own."""
    conn, other = Conn(ES), Conn(ES)
    began = time.monotonic()
    for _ in range(50):
        conn.send(flags, seq=5)
    conn.peer.flush(700 if t.DEBUG else QUIET_MS)
    answers = [s for s in conn.peer.all if s.is_flags("A") and not s.len]
    most = 2 + (time.monotonic() - began) / 0.5  # one in 500 ms
    t.between(len(answers), 1, most, "challenge ACKs")
    other.send(flags, seq=5)
    other.answer("ACK")
    conn.peer.expect_nothing(1000)
    conn.send(flags, seq=5)
    conn.peer.expect("A", ack=conn.rcv, timeout=1)


@t.test("R5961-6", "C-46", "R5961-12")
def half_open():
    """A peer that forgot us: SYN, challenge ACK, its RST, and it may connect."""
    conn = Conn(ES)
    listener = conn.net.a.listener(port=conn.peer.dut_port)
    conn.peer.send("S", seq=50000)
    seg = conn.peer.expect("A", seq=1, ack=1)
    conn.peer.send("R", seq=seg.rel_ack)
    t.wait_for(lambda: conn.now() == GONE, 1)
    conn.reset_is_told()
    conn.peer.nxt = 50000
    conn.peer.connect(conn.peer.dut_port)
    listener.accept()[0].close()


@t.test("MUST-12", "R1122-13a", "C-8", "L-24", "ESTABLISHED/E12")
def data_before_reset():
    """Queued data stays readable after a reset, then the error comes once."""
    conn = Conn(ES)
    conn.send("PA", data=b"data")
    conn.rcv += 4
    conn.send("R")
    t.wait_for(lambda: conn.now() == GONE, 1)
    t.equal(conn.ours.recv(10), b"data")
    with t.fails_with(errno.ECONNRESET):
        conn.ours.recv(1)
    t.equal(conn.ours.recv(1), b"")


@t.test("C-8", "L-31", "MUST-12", cases={"recv": "recv", "send": "send"})
def reset_wakes(call):
    """A call that waits returns ECONNRESET."""
    conn = Conn(ES, win=1000)
    waiting = t.Background(
        conn.ours.recv if call == "recv" else conn.ours.sendall,
        10 if call == "recv" else t.pattern(8 << 20),
    )
    conn.peer.flush(QUIET_MS)
    conn.send("R")
    with t.fails_with(errno.ECONNRESET):
        waiting.result(5)


# --- time stamps -------------------------------------------------------------


@t.test("R7323-7", "R7323-13", "R7323-14",
        cases={f"{s}.{f or 'null'}": (s, f) for s in FULL for f in ("FA", "A")})  # fmt: skip
def paws(state, flags):
    """A segment with an old time stamp is answered by ACK and dropped, a RST
    is not looked at that way."""
    conn = Conn(state, ts=True)
    conn.peer.ts_now += 1000
    data = b"" if flags == "FA" else b"old"
    conn.send(flags, data=data, opts=conn.peer.stamp(back=5000))
    seg = conn.peer.expect("A", seq=conn.snd, ack=conn.rcv, length=0)
    t.check("ts" in seg.opts, "no time stamp")
    conn.must_be(state)
    conn.send("R", opts=conn.peer.stamp(back=5000))
    conn.peer.expect_nothing(QUIET_MS)
    conn.must_be(GONE)


@t.test("R7323-7", "R7323-4", "MUST-2", cases={s: s for s in ALL})
def stamped(state):
    """All segments of a stamped connection carry a stamp; checksums are right."""
    conn = Conn(state, ts=True, sack=True, ws=3, role="active")
    conn.send("A", seq=-1)
    conn.answer("ACK")
    if state != TW:
        conn.peer.flush(600)  # past the limit on challenge ACKs; a FIN is probed
        conn.send("S", seq=1)
        conn.answer("ACK")
    for seg in conn.peer.all:
        t.check(seg.csum_ok, f"checksum of {seg}")
        t.check("ts" in seg.opts or "R" in seg.flags, f"no time stamp: {seg}")
    conn.goes_on()


# --- opening states that a close can hit --------------------------------------


@t.test("C-26", "C-25", "SYN-RECEIVED/FIN")
def fin_with_third_ack():
    """The ACK of our SYN carries FIN: accept() gives a socket at EOF."""
    listener = t.net().a.listener()
    peer = t.Peer(t.net())
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA", ack=1)
    peer.send("FA")
    peer.expect("A", seq=1, ack=2, length=0)
    t.equal(t.net().a.state(peer.dut_port, peer.port), CW)
    ours = listener.accept()[0]
    t.equal(ours.recv(1), b"", "EOF")
    ours.close()
    peer.expect("FA", seq=1, ack=2)


@t.test("C-36", "L-20", "SYN-SENT/CLOSE")
def close_in_syn_sent():
    """Nothing more is sent, and a late SYN,ACK gets RST."""
    peer = t.Peer(t.net())
    ours = t.net().a.sock(timeout=0)
    ours.connect_ex((peer.address, peer.port))
    syn = peer.get()
    peer.dut_port, peer.rcv = syn.sport, 1
    t.equal(t.net().a.state(peer.dut_port, peer.port), "SYN-SENT")
    ours.close()
    t.equal(t.net().a.state(peer.dut_port, peer.port), GONE)
    peer.expect_nothing(2000)
    peer.send("SA")
    peer.expect("R", seq=1)


@t.test("C-36", "MUST-10", "SYN-RECEIVED/CLOSE")
def close_in_syn_received():
    """Simultaneous open, then close(): a FIN after the SYN, FIN-WAIT-1."""
    peer = t.Peer(t.net())
    ours = t.net().a.sock(timeout=0)
    ours.connect_ex((peer.address, peer.port))
    peer.dut_port = peer.get().sport
    peer.rcv = 1
    peer.send("S")
    peer.expect("SA", ack=1)
    ours.close()
    peer.send("A", ack=1)
    t.wait_for(lambda: any(s.has("F") for s in drained(peer)), 2, "FIN")
    fin = [s for s in peer.all if s.has("F")][0]
    t.equal(fin.rel_seq, 1, "number of the FIN")
    peer.send("A", ack=2)
    t.net().a.wait_state(FW2, peer.dut_port, peer.port)


@t.test("L-21", "C-36", "LISTEN/CLOSE")
def close_listener():
    """Connections that nobody accepted are reset, half-open ones forgotten."""
    listener = t.net().a.listener()
    full, half = t.Peer(t.net()), t.Peer(t.net())
    full.connect(listener.getsockname()[1])
    half.dut_port = full.dut_port
    half.send("S")
    half.expect("SA")
    listener.close()
    full.expect("RA", seq=1, ack=1)
    half.expect_nothing(QUIET_MS)
    half.send("FA", seq=1, ack=1)
    half.expect("R", seq=1)


t.main()
