#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""TIME-WAIT: how long it lasts, what restarts, ends and replaces it."""
import errno
import socket
import time

import cftest as t

TW, GONE = "TIME-WAIT", "CLOSED"
QUIET_MS = 10


class Conn:
    """A connection with a hand-made peer that is brought to TIME-WAIT."""

    def __init__(self, entry="FIN-WAIT-2", listen=False, msl=None, **options):
        self.net = t.net()
        self.net.a.tune(rto_min_ms=60000, rto_init_ms=60000)
        self.peer = t.Peer(self.net, **options)
        self.listener = self.net.a.listener()
        self.peer.connect(self.listener.getsockname()[1])
        self.ours = self.listener.accept()[0]
        t.cleanup(self.ours.close)
        if not listen:
            self.listener.close()
        if msl:
            self.ours.setsockopt(t.SOL_CFTCP, t.CFTCP_MSL, msl)
        getattr(self, "_by_" + entry.replace("-", "_").lower())()
        self.must_be(TW)

    def _close(self):
        self.ours.close()
        self.peer.expect("FA", seq=1, ack=1)

    def _by_fin_wait_2(self):
        self._close()
        self.peer.send("A")
        self.net.a.wait_state("FIN-WAIT-2", *self.ports)
        self.peer.send("FA")
        self.start = self.peer.expect("A", seq=2, ack=2).time

    def _by_fin_wait_1(self):
        self._close()
        self.peer.send("FA")
        self.start = self.peer.expect("A", seq=2, ack=2).time

    def _by_closing(self):
        self._close()
        self.peer.send("FA", ack=1)
        self.peer.expect("A", seq=2, ack=2)
        self.net.a.wait_state("CLOSING", *self.ports)
        self.start = time.time_ns()
        self.peer.send("A", ack=2)

    @property
    def ports(self):
        return self.peer.dut_port, self.peer.port

    def must_be(self, state):
        t.equal(self.net.a.state(*self.ports), state, "state")

    def gone_after(self, expected, since=None):
        return self.net.a.gone_after(since or self.start, expected, *self.ports)

    def sleep_until(self, ms):
        """Until so many ms after TIME-WAIT began."""
        time.sleep(max(0, ms / 1000 - (time.time_ns() - self.start) / 1e9))

    def dup_fin(self):
        """Our FIN once more; its ACK."""
        self.peer.send("FA", seq=1)
        return self.peer.expect("A", seq=2, ack=2, length=0)


ENTRIES = ("FIN-WAIT-1", "FIN-WAIT-2", "CLOSING")
MSLS = (500, 2000) if t.DEBUG else (50, 1000, 30000)
LONGER = 10 if t.DEBUG else 1  # what the debug kernel's own slowness fits in


@t.test("MUST-13", "C-49", "TIME-WAIT/E21", "FIN-WAIT-1/E9", "FIN-WAIT-2/E6",
        "CLOSING/E8", "D-11", "L-40", "R1122-13d",
        cases={f"sysctl.{msl}.from-{e}": (None, msl, e)
               for msl in MSLS for e in ENTRIES} |
              {f"CFTCP_MSL.{msl}": (msl, 7000, "FIN-WAIT-2")
               for msl in MSLS})  # fmt: skip
def lasts(option, sysctl, entry):
    """2 x msl, from the sysctl or the socket's own, through each entry."""
    t.net().a.tune(msl_ms=sysctl)
    conn = Conn(entry, msl=option)
    wanted = 2 * (option or sysctl)
    seen = conn.gone_after(wanted)
    t.note(f"lasted {seen:.3f} ms")
    t.near(seen, wanted, 0.01, what="ms in TIME-WAIT")
    conn.peer.expect_nothing(QUIET_MS)


@t.test("MUST-13", "C-49", "C-43", "CLOSED/E10",
        cases={f"{msl}": msl for msl in MSLS})  # fmt: skip
def lasts_on_the_wire(msl):
    """A segment is answered up to the end, and by RST after it."""
    t.net().a.tune(msl_ms=msl)
    conn = Conn()
    early, late = (0.8, 1.5) if t.DEBUG else (0.988, 1.012)
    conn.sleep_until(2 * msl * early)
    conn.peer.send("A", seq=1)
    conn.peer.expect("A", seq=2, ack=2)
    conn.sleep_until(2 * msl * late)
    conn.peer.send("FA", seq=1)
    conn.peer.expect("R", seq=2)


@t.test("MUST-13", "L-40")
def option_is_kept():
    """CFTCP_MSL is read back; 0 means the sysctl again."""
    sock = t.net().a.sock()
    default = int(t.net().a.sysctl("cftcp.msl_ms"))
    for value, read in ((1, 1), (600000, 600000), (0, default)):
        sock.setsockopt(t.SOL_CFTCP, t.CFTCP_MSL, value)
        t.equal(sock.getsockopt(t.SOL_CFTCP, t.CFTCP_MSL), read)
    for value in (-1, 600001):
        with t.fails_with(errno.EINVAL):
            sock.setsockopt(t.SOL_CFTCP, t.CFTCP_MSL, value)
    t.equal(sock.getsockopt(t.SOL_CFTCP, t.CFTCP_MSL), default)


@t.test("C-19", "C-29", "D-12", "L-53", "TIME-WAIT/E9", "TIME-WAIT/E10",
        "TIME-WAIT/E18", cases={
            "FIN": ("FA", b""),
            "FIN with text": ("FPA", b"data"),
            "text": ("PA", b"data"),
        })  # fmt: skip
def retransmission_restarts(flags, data):
    """Who repeats is acknowledged, each time, and 2MSL begins anew."""
    net = t.net()
    net.a.tune(msl_ms=500)
    before = net.a.counters()
    conn = Conn()
    for ms in (600, 1200, 1210):
        conn.sleep_until(ms)
        conn.peer.send(flags, seq=1 - len(data), data=data)
        last = conn.peer.expect("A", seq=2, ack=2, length=0).time
    seen = conn.gone_after(1000, since=last)
    t.near(seen, 1000, 0.01, what="ms after the last")
    after = net.a.counters()
    t.equal(after["TimeWaitRestarted"] - before["TimeWaitRestarted"], 3)


OTHERS = {
    "probe": ("A", dict(seq=1), True),
    "data": ("PA", dict(seq=2, data=b"new"), True),
    "ack": ("A", dict(seq=2), False),
    "syn": ("S", dict(seq=1), True),
    "rst": ("R", dict(seq=2), False),
    "rst-inside": ("R", dict(seq=20), None),
    "no-ack-bit": ("F", dict(seq=1), False),
}


@t.test("D-12", "C-19", "R1337-F1", "TIME-WAIT/E8", "TIME-WAIT/E12",
        "TIME-WAIT/E16", cases=OTHERS)  # fmt: skip
def others_do_not_restart(flags, numbers, answered):
    """Nothing but what is sent again touches the timer."""
    t.net().a.tune(msl_ms=200 * LONGER)
    conn = Conn()
    conn.sleep_until(250 * LONGER)
    conn.peer.send(flags, **numbers)
    if answered:
        conn.peer.expect("A", seq=2, ack=2, length=0)
    elif answered is False:
        conn.peer.expect_nothing(QUIET_MS)
    conn.must_be(TW)
    wanted = 400 * LONGER
    t.near(conn.gone_after(wanted), wanted, 0.01, what="ms in TIME-WAIT")


@t.test("R1337-F1", "R1337-R", "R1337-H", "TIME-WAIT/E12", "TIME-WAIT/E13",
        "TIME-WAIT/E14", "L-50")  # fmt: skip
def rst_ignored():
    """time_wait_ignore_rst = 1: no RST has any effect."""
    net = t.net()
    net.a.tune(time_wait_ignore_rst=1)
    before = net.a.counters()
    conn = Conn()
    for seq in (2, 1, -100000):
        conn.peer.send("R", seq=seq)
        conn.peer.expect_nothing(QUIET_MS)
        conn.must_be(TW)
    after = net.a.counters()
    t.check(
        after["TimeWaitRstIgnored"] > before["TimeWaitRstIgnored"], "counter"
    )
    conn.dup_fin()


@t.test("C-9", "C-7", "D-13", "D-14", "TIME-WAIT/E12", "TIME-WAIT/E13",
        "TIME-WAIT/E14")  # fmt: skip
def rst_obeyed():
    """time_wait_ignore_rst = 0: the three cases of RFC 5961."""
    t.net().a.tune(time_wait_ignore_rst=0)
    conn = Conn()
    conn.peer.send("R", seq=1)
    conn.peer.expect_nothing(QUIET_MS)
    conn.must_be(TW)
    conn.peer.send("R", seq=12)
    conn.peer.expect("A", seq=2, ack=2, length=0)
    conn.must_be(TW)
    conn.peer.send("R", seq=2)
    conn.peer.expect_nothing(QUIET_MS)
    conn.must_be(GONE)


# what the SYN has: (old connection stamped, SEQ from RCV.NXT, TSval step or
# None for no time stamp, flags, accepted)
SYNS = {
    "R6191-A1": (True, -5000, 1, "S", True),
    "R6191-A2": (True, 10, 0, "S", True),
    "R6191-A3": (True, 10, None, "S", True),
    "R6191-A4.same-stamp": (True, -10, 0, "S", False),
    "R6191-A4.old-stamp": (True, 10, -10, "S", False),
    "R6191-A4.no-stamp": (True, -10, None, "S", False),
    "R6191-B1": (False, -10, 1, "S", True),
    "R6191-B2": (False, 10, None, "S", True),
    "R6191-B2.far": (False, 1 << 30, None, "S", True),
    "R6191-B3": (False, -10, None, "S", False),
    "R6191-C": (False, 0, None, "S", False),
    "SYN-ACK": (False, 10, None, "SA", False),
    "SYN-FIN": (False, 10, None, "SF", False),
}


def send_syn(conn, seq, step, flags):
    """A new SYN of the same 4-tuple."""
    opts = t.opt_mss(t.MSS)
    if step is not None:
        opts += b"\1\1" + t.opt_ts(conn.peer.ts_now + step)
    conn.peer.send(flags, seq=2 + seq, opts=opts)


@t.test("MAY-2", "SHLD-4", "D-15", "R1122-13d", "C-10", "TIME-WAIT/E11",
        cases=SYNS)  # fmt: skip
def syn_again(stamped, seq, step, flags, accepted):
    """When a SYN may replace a TIME-WAIT that has a listener behind it."""
    conn = Conn(listen=True, ts=stamped)
    old_iss = conn.peer.irs
    send_syn(conn, seq, step, flags)
    if not accepted:
        answer = conn.peer.get(0.2)  # a challenge ACK, or nothing (R6191-A4)
        t.check(
            not answer or answer.is_flags("A") and answer.rel_ack == 2, answer
        )
        conn.must_be(TW)
        conn.dup_fin()
        return
    answer = conn.peer.expect("SA")
    t.equal(answer.rel_ack, 3 + seq, "ACK of the SYN")
    distance = t.distance(answer.seq, old_iss + 2)
    t.between(distance, 0, 1 << 31, "new ISS above the old SND.NXT by")
    conn.peer.rcv = 1
    stamp = conn.peer.stamp() if step is not None else b""
    conn.peer.send("A", seq=3 + seq, ack=1, opts=stamp)
    again = conn.listener.accept()[0]
    again.send(b"hello")
    conn.peer.expect(seq=1, length=5)
    again.close()


@t.test("R7323-12", "R7323-16", "R6191-A1")
def guessed_timestamp():
    """A forged segment that fits nowhere does not stand in the way of a SYN."""
    conn = Conn(listen=True, ts=True)
    for seq in (-100000, -1, 100000, 2 << 30):
        stamp = b"\1\1" + t.opt_ts(conn.peer.ts_now + (1 << 30))
        conn.peer.send("A", seq=2 + seq, opts=stamp)
    conn.peer.flush(QUIET_MS)
    conn.must_be(TW)
    send_syn(conn, 10, 1, "S")
    conn.peer.expect("SA", ack=13)


@t.test("TIME-WAIT/E11")
def listener_filters_a_new_syn():
    """IP_MINTTL (or hop count) of a listener also keeps off who was connected before."""
    conn = Conn(listen=True)
    conn.listener.setsockopt(t.IP, t.IP_MINTTL, 65)
    send_syn(conn, 10, None, "S")
    conn.peer.expect_nothing(QUIET_MS)
    conn.must_be(TW)
    conn.listener.setsockopt(t.IP, t.IP_MINTTL, 64)
    send_syn(conn, 10, None, "S")
    conn.peer.expect("SA", ack=13)


@t.test("C-10", "TIME-WAIT/E11", "R5961-5")
def syn_without_listener():
    """A good SYN, but nobody listens: challenge ACK, TIME-WAIT stays."""
    conn = Conn()
    send_syn(conn, 10, None, "S")
    conn.peer.expect("A", seq=2, ack=2, length=0)
    conn.must_be(TW)


@t.test("MAY-2", "D-15", "TIME-WAIT/E11")
def old_syn_gives_back():
    """If the SYN was an old duplicate, its RST brings TIME-WAIT back."""
    conn = Conn(listen=True)
    send_syn(conn, 10, None, "S")
    conn.peer.expect("SA", ack=13)
    conn.peer.send("R", seq=13)
    conn.peer.expect_nothing(QUIET_MS)
    conn.must_be(TW)


@t.test("C-49", "MAY-2", "TIME-WAIT/E21")
def syn_crosses_expiry():
    """Whether it comes just before the end or just after, a good SYN opens."""
    t.net().a.tune(msl_ms=100 * LONGER)
    end = 200.0 * LONGER
    for ms in (end - 1, end - 0.1, end, end + 0.1, end + 1):
        conn = Conn(listen=True)
        conn.sleep_until(ms)
        send_syn(conn, 10, None, "S")
        conn.peer.expect("SA", ack=13)
        conn.peer.rcv = 1
        conn.peer.send("A", seq=13, ack=1, opts=b"")
        conn.listener.accept()[0].close()
        conn.peer.expect("FA", seq=1, ack=13)
        conn.peer.send("RA", seq=13)


@t.test("MAY-2", "R4987-1", "TIME-WAIT/E11")
def syn_in_a_flood():
    """A full backlog keeps nobody off who was connected before."""
    net = t.net()
    conn = Conn(listen=True)
    net.a.tune(max_syn_backlog=1)
    flood = t.Peer(net)
    flood.dut_port = conn.peer.dut_port
    flood.send("S")
    flood.expect("SA")
    before = net.a.counters()["SynCookiesSent"]
    send_syn(conn, 10, None, "S")
    conn.peer.expect("SA", ack=13)
    t.equal(net.a.counters()["SynCookiesSent"], before, "cookies")
    conn.peer.rcv = 1
    conn.peer.send("A", seq=13, ack=1, opts=b"")
    conn.listener.accept()[0].close()
    conn.peer.expect("FA", seq=1, ack=13)
    conn.peer.send("RA", seq=13)
    flood.close()


@t.test("L-49", "C-28")
def overflow():
    """Above max_time_wait: the last ACK, but no TIME-WAIT."""
    net = t.own_net()
    t._shared[False] = net
    t.cleanup(t._shared.pop, False)
    net.a.tune(max_time_wait=2)
    conns = [Conn(), Conn()]
    before = net.a.counters()["TimeWaitOverflow"]
    with_error = None
    try:
        conns.append(Conn())
    except t.Failure as error:
        with_error = str(error)
    t.check(with_error and "saw 'CLOSED'" in with_error, with_error)
    t.equal(net.a.counters()["TimeWaitOverflow"], before + 1)
    for conn in conns:
        conn.must_be(TW)
    net.a.tune(max_time_wait=3)
    Conn()


@t.test("L-49")
def none_allowed():
    """max_time_wait = 0: a retransmitted FIN meets nothing and gets a RST."""
    t.net().a.tune(max_time_wait=0)
    ours, peer = t.with_peer(t.net())
    ours.close()
    peer.expect("FA", seq=1)
    peer.send("FA")
    peer.expect("A", seq=2, ack=2)
    t.equal(t.net().a.state(peer.dut_port, peer.port), GONE)
    peer.send("FA", seq=1)
    peer.expect("R", seq=2)


def can_bind(port, proto):
    sock = t.net().a.sock(proto)
    try:
        sock.bind((t.ANY, port))
    except OSError as error:
        t.equal(error.errno, errno.EADDRINUSE)
        return False
    finally:
        sock.close()
    return True


@t.test("L-73", "C-49", cases={"cftcp": t.DUT, "stock": t.STOCK})
def expiry_frees_the_port(proto):
    """The port is taken on both stacks in TIME-WAIT, and free after it."""
    t.net().a.tune(msl_ms=1000)
    conn = Conn()
    port = conn.peer.dut_port
    t.check(not can_bind(port, proto), "bind() to a port in TIME-WAIT")
    conn.gone_after(2000)
    t.wait_for(lambda: can_bind(port, proto), 2, "the port is free")


@t.test("L-73", "TIME-WAIT/E21")
def connect_over_it():
    """connect() does not take a 4-tuple in TIME-WAIT, and does after it."""
    net = t.net()
    net.a.tune(msl_ms=500)
    server = net.b.listener(t.STOCK)
    address = net.b.address, server.getsockname()[1]
    port = 0

    def opened():
        sock = net.a.sock()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((net.a.address, port))
        sock.connect(address)
        return sock, server.accept()[0]

    ours, theirs = opened()
    port = ours.getsockname()[1]
    ours.close()
    theirs.close()
    net.a.wait_state(TW, port)
    with t.fails_with(errno.EADDRINUSE, errno.EADDRNOTAVAIL):
        opened()
    net.a.wait_state(GONE, port)
    for sock in opened():
        sock.close()


@t.test("MUST-13")
def change_of_msl():
    """Records queued keep their due time; later ones have the new, and may
    be due before the older."""
    net = t.net()
    net.a.tune(msl_ms=1000 * LONGER)
    long = Conn()
    net.a.tune(msl_ms=50 * LONGER)
    short = Conn()
    wanted = 100 * LONGER
    t.near(short.gone_after(wanted), wanted, 0.01, what="ms, the later")
    long.must_be(TW)
    net.a.tune(msl_ms=30000)
    wanted = 2000 * LONGER
    t.near(long.gone_after(wanted), wanted, 0.01, what="ms, the earlier")


@t.test("C-28", "TIME-WAIT/E20", "TIME-WAIT/E23")
def no_other_timer():
    """Nothing is sent and nothing ends TIME-WAIT before its time."""
    net = t.net()
    net.a.tune(msl_ms=30000, orphan_timeout_ms=1000, user_timeout_ms=1000)
    net.a.tune(fin_wait2_timeout_ms=1000)
    conn = Conn("CLOSING")
    net.a.tune(rto_min_ms=10, rto_init_ms=10)
    conn.peer.expect_nothing(5000 if t.DEBUG else 50000)
    conn.must_be(TW)


@t.test("MUST-45", "MUST-48", "R7323-4", "R7323-7", "R7323-13", "MUST-2")
def the_answer():
    """The ACK of a retransmitted FIN is a whole one: window, stamp, SEQ; and
    a FIN with an old stamp is answered too, but restarts nothing (PAWS)."""
    t.net().a.tune(msl_ms=500)
    conn = Conn(ts=True, ws=2, sack=True)
    last = conn.peer.all[-1]
    conn.sleep_until(300)
    seg = conn.dup_fin()
    restarted = seg.time
    t.check(seg.csum_ok, "checksum")
    t.equal(seg.win, last.win, "window")
    t.equal(seg.opts["ts"][1], conn.peer.ts_now, "echo of the FIN's stamp")
    t.check(seg.opts["ts"][0] - last.opts["ts"][0] in range(290, 320 * t.SLOW), "clock")
    conn.sleep_until(600)
    conn.peer.send("FA", seq=1, opts=conn.peer.stamp(back=1000))
    conn.peer.expect("A", seq=2, ack=2)
    t.near(conn.gone_after(1000, restarted), 1000, 0.01, what="ms in TIME-WAIT")


@t.test("L-37", "C-52")
def table_row():
    """The row says TIME_WAIT, timer 3, and how long it has to go."""
    t.net().a.tune(msl_ms=10000)
    conn = Conn()
    conn.sleep_until(5000)
    row = t.net().a.rows(*conn.ports)[0]
    t.equal(row.timer, 3, "timer")
    t.near(row.expires, 15, 0.02, what="s to go")
    t.equal(row.inode, 0, "inode")


t.main()
