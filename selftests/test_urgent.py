#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Urgent data (RFC 9293 3.8.5, RFC 6093), as programs on Linux see it."""
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import struct
import time

import cftest as t

OOB, PEEK = socket.MSG_OOB, socket.MSG_PEEK
INLINE = (socket.SOL_SOCKET, socket.SO_OOBINLINE)
SIOCATMARK, FIONREAD = 0x8905, 0x541B


def connection(role="passive", **options):
    ours, peer = t.with_peer(t.net(), role, **options)
    t.cleanup(peer.send, "RA")
    return ours, peer


def pair():
    """Both ends are the protocol's under test."""
    return t.connect(t.net().a, t.net().a, server_proto=t.DUT)


def ask(sock, request):
    answer = fcntl.ioctl(sock, request, bytes(4))
    return struct.unpack("i", answer)[0]


def at_mark(sock):
    return ask(sock, SIOCATMARK) == 1


def events(sock, wanted, timeout=0):
    poller = select.poll()
    poller.register(sock, wanted)
    found = poller.poll(timeout * 1000 * t.SLOW)
    return found[0][1] if found else 0


def urgent(peer, data, seq=None, urg=None, flags="UA", **more):
    """Text whose last octet is urgent, and its ACK."""
    peer.send(flags, data=data, seq=seq, urg=len(data) if urg is None else urg,
              **more)  # fmt: skip


def came(sock):
    t.check(events(sock, select.POLLPRI, 5) & select.POLLPRI, "POLLPRI")


def nothing(sock, *flags):
    sock.setblocking(False)
    with t.fails_with(errno.EAGAIN):
        sock.recv(1, *flags)
    sock.settimeout(20 * t.SLOW)


def oob(sock, size=1, flags=0):
    """recv(MSG_OOB), which never waits: without Python's own waiting."""
    sock.settimeout(None)
    try:
        data, _, seen, _ = sock.recvmsg(size, 0, OOB | flags)
    finally:
        sock.settimeout(20 * t.SLOW)
    t.check(not data or seen & OOB, "MSG_OOB of recvmsg()")
    return data


class Signals:
    """Counts SIGURG while it exists, for a socket that this process owns."""

    def __init__(self, *socks):
        self.seen = 0
        for sock in socks:
            fcntl.fcntl(sock, fcntl.F_SETOWN, os.getpid())
        old = signal.signal(signal.SIGURG, self.count)
        t.cleanup(signal.signal, signal.SIGURG, old)

    def count(self, *_):
        self.seen += 1

    def wait(self, number):
        t.wait_for(lambda: self.seen >= number, 5, f"SIGURG {number}")
        t.equal(self.seen, number, "SIGURGs")


# --- receiving ----------------------------------------------------------------


@t.test("MUST-30", "MUST-32", "MUST-33", "R6093-1",
        cases={"passive": "passive", "active": "active"})  # fmt: skip
def mark_is_told(role):
    """SIGURG, POLLPRI, SIOCATMARK; MSG_OOB reads the octet before the pointer."""
    ours, peer = connection(role)
    signals = Signals(ours)
    nothing(ours, PEEK)
    with t.fails_with(errno.EINVAL):
        oob(ours)
    t.check(not at_mark(ours), "a mark before there is one")
    urgent(peer, b"abc")
    signals.wait(1)
    came(ours)
    t.check(events(ours, select.POLLIN), "POLLIN: text before the mark")
    t.check(not at_mark(ours), "at the mark already")
    t.equal(ask(ours, FIONREAD), 2, "FIONREAD up to the mark")
    t.equal(oob(ours, 1, PEEK), b"c", "peek")
    t.equal(oob(ours, 10), b"c", "urgent octet")
    with t.fails_with(errno.EINVAL):
        oob(ours)
    t.equal(events(ours, select.POLLPRI), 0, "POLLPRI after it was read")
    t.equal(ours.recv(10), b"ab", "read ends before the mark")
    t.check(at_mark(ours), "at the mark")
    t.equal(ask(ours, FIONREAD), 0, "FIONREAD at the mark")
    t.equal(events(ours, select.POLLIN), 0, "POLLIN for an octet left out")
    peer.send("A", data=b"def")
    t.check(events(ours, select.POLLIN, 5), "POLLIN")
    t.equal(ours.recv(10), b"def", "after the mark")
    t.check(not at_mark(ours), "behind the mark")
    t.equal(signals.seen, 1, "SIGURGs")


@t.test("R6093-2", "MUST-30", "MUST-33")
def in_line():
    """SO_OOBINLINE: the octet is text; a read still ends before the mark."""
    ours, peer = connection()
    ours.setsockopt(*INLINE, 1)
    urgent(peer, b"abc")
    came(ours)
    with t.fails_with(errno.EINVAL):
        oob(ours)
    t.equal(ask(ours, FIONREAD), 3, "FIONREAD")
    peer.send("A", data=b"def")
    t.wait_for(lambda: ask(ours, FIONREAD) == 6, 5)
    t.equal(ours.recv(10, PEEK), b"ab", "peek ends before the mark")
    t.equal(ours.recv(10), b"ab", "read ends before the mark")
    t.check(at_mark(ours) and events(ours, select.POLLPRI), "at the mark")
    t.equal(ours.recv(10), b"cdef", "from the mark on")
    t.check(not at_mark(ours), "behind the mark")
    t.equal(events(ours, select.POLLPRI), 0, "POLLPRI behind the mark")
    listener = t.net().a.listener()
    listener.setsockopt(*INLINE, 1)
    other = t.Peer(t.net())
    other.connect(listener.getsockname()[1])
    child = listener.accept()[0]
    t.equal(child.getsockopt(*INLINE), 1, "inherited")
    other.send("RA")
    child.close()


@t.test("R6093-1", "MUST-30")
def octet_is_left_out():
    """Who does not read it loses it; the stream has no hole."""
    ours, peer = connection()
    urgent(peer, b"ab!")
    peer.send("A", data=b"cd")
    t.wait_for(lambda: ours.recv(10, PEEK) == b"ab", 5)
    t.equal(ours.recv(10), b"ab", "before the mark")
    t.check(at_mark(ours), "at the mark")
    t.equal(ours.recv(10, PEEK), b"cd", "peek over the mark")
    t.check(at_mark(ours), "at the mark")
    t.equal(ours.recv(10), b"cd", "after the mark")
    with t.fails_with(errno.EINVAL):
        oob(ours)
    urgent(peer, b"!")  # nothing before it: nobody is woken
    came(ours)
    t.equal(events(ours, select.POLLIN), 0, "POLLIN")
    nothing(ours)
    peer.send("A", data=b"e")
    t.equal(ours.recv(10), b"e", "after it")


@t.test("MUST-31", "MUST-32", "MUST-33", "R6093-5")
def pointer_far_ahead():
    """The mark is known long before the octet comes, and may move on."""
    ours, peer = connection()
    signals = Signals(ours)
    peer.send("UA", data=b"x", urg=1000)
    signals.wait(1)
    t.equal(events(ours, select.POLLPRI), 0, "POLLPRI before it came")
    with t.fails_with(errno.EAGAIN):
        oob(ours)
    t.check(not at_mark(ours), "at the mark")
    urgent(peer, bytes(98), urg=1999)  # moves on to number 2000
    signals.wait(2)
    urgent(peer, bytes(900), urg=1901)
    urgent(peer, bytes(1000), urg=1001)
    peer.send("A", data=b"!" + bytes(500))
    came(ours)
    t.equal(signals.seen, 2, "SIGURGs")
    got = ours.recv(10000)
    t.equal(len(got), 1999, "octets before the mark")
    t.check(at_mark(ours), "at the mark")
    t.equal(oob(ours), b"!", "urgent octet")
    t.equal(ours.recv(10000), bytes(500), "after the mark")
    peer.flush(100)


@t.test("MUST-32", "MUST-33", "MUST-30")
def several_marks():
    """A newer mark takes the place of one that was not read."""
    ours, peer = connection()
    signals = Signals(ours)
    for number, data in enumerate((b"a1", b"b2", b"c3"), 1):
        urgent(peer, data)
        signals.wait(number)
    came(ours)
    t.equal(oob(ours), b"3", "the newest")
    t.equal(ours.recv(20), b"a1b2c", "the older ones are text")
    t.check(at_mark(ours), "at the mark")
    urgent(peer, b"d4")  # the reader stands at a mark: its octet is no text
    signals.wait(4)
    t.equal(ours.recv(20), b"d", "text")
    t.equal(oob(ours), b"4", "urgent octet")
    urgent(peer, b"e", seq=1, urg=2)  # old news
    urgent(peer, b"5", urg=0)
    peer.send("A", data=b"f")
    t.equal(t.read_exactly(ours, 2), b"5f", "text")
    t.equal(signals.seen, 4, "SIGURGs")


@t.test("R6093-5", "MUST-30")
def odd_pointers():
    """Backwards, zero, beyond all that comes; and without text."""
    ours, peer = connection()
    signals = Signals(ours)
    peer.send("UA", urg=0)
    urgent(peer, b"abc", urg=0)
    t.equal(ours.recv(5), b"abc", "text")
    urgent(peer, b"c", seq=3, urg=1)
    peer.expect("A", ack=4, what="old text:")
    t.equal(signals.seen, 0, "SIGURGs")
    with t.fails_with(errno.EINVAL):
        oob(ours)
    peer.send("UA", urg=65535)
    signals.wait(1)
    with t.fails_with(errno.EAGAIN):
        oob(ours)
    t.equal(events(ours, select.POLLPRI), 0, "POLLPRI")
    whole = t.pattern(65535)
    for at in range(0, 65535, 1285):
        peer.send("A", data=whole[at : at + 1285])
        t.equal(t.read_exactly(ours, min(1285, 65534 - at)),
                whole[at : at + 1285][: 65534 - at], "text")  # fmt: skip
    t.equal(oob(ours), whole[-1:], "urgent octet")
    t.equal(t.net().a.state(peer.dut_port, peer.port), "ESTABLISHED")
    peer.flush(100)


@t.test("MUST-30", "SHLD-31")
def out_of_order():
    """The mark is told at once, its octet when the hole before it is filled."""
    ours, peer = connection()
    signals = Signals(ours)
    urgent(peer, b"cd", seq=3)
    signals.wait(1)
    nothing(ours, PEEK)
    peer.send("A", data=b"ab", seq=1)
    peer.nxt = 5
    came(ours)
    t.equal(ours.recv(5), b"abc", "text")
    t.equal(oob(ours, 5), b"d", "urgent octet")
    peer.flush(100)


@t.test("MUST-66", "MUST-32", "C-5")
def while_our_window_is_shut():
    """URG counts also in segments that a closed window makes unacceptable."""
    net = t.net()
    listener = net.a.listener()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    peer = t.Peer(net)
    t.cleanup(peer.send, "RA")
    peer.connect(listener.getsockname()[1])
    ours = listener.accept()[0]
    signals = Signals(ours)
    win = peer.peer_win
    while win:
        peer.send("A", data=bytes(min(win, 1000)))
        while seg := peer.get(0.1):
            win = seg.rel_ack + seg.win - peer.nxt
    peer.send("UA", urg=100)  # no text: acceptable
    signals.wait(1)
    peer.send("UA", seq=peer.nxt, data=b"p", urg=200)  # a probe with text
    signals.wait(2)
    peer.expect("A", ack=peer.nxt)
    ours.close()


@t.test("C-20",
        cases={s: s for s in ("CLOSE-WAIT", "LAST-ACK", "CLOSING")})  # fmt: skip
def after_the_peers_fin(state):
    """No SIGURG, no answer, no effect."""
    net = t.net()
    ours, peer = connection()
    signals = Signals(ours)
    if state == "CLOSING":
        ours.shutdown(socket.SHUT_WR)
        peer.expect("FA", seq=1)
        peer.send("FA", ack=1)
    else:
        peer.send("FA")
    peer.expect("A", ack=2)
    if state == "LAST-ACK":
        ours.shutdown(socket.SHUT_WR)
        peer.expect("FA", seq=1)
    net.a.wait_state(state, peer.dut_port, peer.port)
    for urg in 1, 10, 0, 65535:
        peer.send("UA", urg=urg, ack=1)
    t.check(all(s.rel_seq == 1 and "U" not in s.flags and "F" in s.flags
                for s in iter(lambda: peer.get(0.1, 1), None)), "an answer")  # fmt: skip
    t.equal(signals.seen, 0, "SIGURGs")
    with t.fails_with(errno.EINVAL):
        oob(ours)
    t.equal(ours.recv(1), b"", "EOF")
    t.equal(net.a.state(peer.dut_port, peer.port), state)


@t.test("R6093-4", "C-14", "MUST-30")
def with_the_peers_fin():
    """The pointer may stand at the FIN, or after it; there is no octet then."""
    for urg, text, octet in (3, b"ab", b"c"), (4, b"abc", b""), (5, b"abc", b""):
        ours, peer = connection()
        signals = Signals(ours)
        urgent(peer, b"abc", flags="FUA", urg=urg)
        signals.wait(1)
        t.equal(ours.recv(10), text, "text")
        t.equal(oob(ours, 10), octet, "urgent octet")
        t.equal(ours.recv(10), b"", "EOF")
        t.net().a.wait_state("CLOSE-WAIT", peer.dut_port, peer.port)
        peer.send("RA")


@t.test("MUST-32", "MUST-30",
        cases={s: s for s in ("FIN-WAIT-1", "FIN-WAIT-2")})  # fmt: skip
def half_closed(state):
    net = t.net()
    ours, peer = connection()
    signals = Signals(ours)
    ours.shutdown(socket.SHUT_WR)
    peer.expect("FA", seq=1)
    acked = 2 if state == "FIN-WAIT-2" else 1
    urgent(peer, b"x!", ack=acked)
    signals.wait(1)
    net.a.wait_state(state, peer.dut_port, peer.port)
    t.equal(oob(ours), b"!", "urgent octet")
    t.equal(ours.recv(2), b"x", "text")


@t.test("MUST-33", "R6093-1", cases={"left out": 0, "in line": 1})
def into_a_pipe(inline):
    """splice() ends before a mark like any read."""
    ours, peer = connection()
    ours.setsockopt(*INLINE, inline)
    source, sink = os.pipe()
    for fd in source, sink:
        t.cleanup(os.close, fd)
    urgent(peer, b"ab!")
    peer.send("A", data=b"cd")
    t.wait_for(lambda: ask(ours, FIONREAD) == (5 if inline else 2), 5)
    for wanted in b"ab", b"!cd" if inline else b"cd":
        t.equal(os.splice(ours.fileno(), sink, 100), len(wanted), "octets")
        t.equal(os.read(source, 100), wanted, "text")
    t.check(not at_mark(ours), "at the mark")


@t.test("MUST-32")
def interrupts_a_reader_at_the_mark():
    """So that the handler of SIGURG finds the octet still there."""
    ours, peer = connection()
    seen = []

    def handler(*_):
        seen.append(oob(ours))
        raise InterruptedError

    fcntl.fcntl(ours, fcntl.F_SETOWN, os.getpid())
    old = signal.signal(signal.SIGURG, handler)
    t.cleanup(signal.signal, signal.SIGURG, old)
    sender = t.Background(
        lambda: (time.sleep(0.2), urgent(peer, b"!"), time.sleep(0.2))
    )
    with contextlib.suppress(InterruptedError):
        ours.recv(1)
    sender.result()
    t.equal(seen, [b"!"], "urgent octet")


@t.test("MUST-30")
def ways_to_wait():
    """select() in its third set and epoll tell of the octet."""
    ours, peer = connection()
    epoll = select.epoll()
    t.cleanup(epoll.close)
    epoll.register(ours, select.EPOLLPRI)
    t.equal(select.select([], [], [ours], 0)[2], [], "select")
    t.equal(epoll.poll(0), [], "epoll")
    waiter = t.Background(epoll.poll, 5 * t.SLOW)
    time.sleep(0.1)
    urgent(peer, b"!")
    t.equal(waiter.result(), [(ours.fileno(), select.EPOLLPRI)], "epoll")
    t.equal(select.select([], [], [ours], 5)[2], [ours], "select")


@t.test("R6093-1")
def calls_that_fail():
    net = t.net()
    fresh, listener = net.a.sock(), net.a.listener()
    with t.fails_with(errno.EINVAL):
        oob(fresh)
    with t.fails_with(errno.ENOTCONN):
        oob(listener)
    with t.fails_with(errno.EPIPE):
        fresh.send(b"x", OOB | socket.MSG_NOSIGNAL)
    for sock in fresh, listener:
        t.equal(ask(sock, SIOCATMARK), 0, "SIOCATMARK")
    ours, peer = connection()
    urgent(peer, b"!")
    came(ours)
    libc = ctypes.CDLL(None, use_errno=True)
    t.equal(libc.recv(ours.fileno(), None, 1, OOB | PEEK), -1, "recv")
    t.equal(ctypes.get_errno(), errno.EFAULT, "errno")
    t.equal(oob(ours, 1, PEEK), b"!", "urgent octet")
    ours.setsockopt(*INLINE, 1)
    with t.fails_with(errno.EINVAL):
        oob(ours)
    ours.setsockopt(*INLINE, 0)
    ours.settimeout(None)
    flags = ours.recvmsg(0, 0, OOB)[2]
    t.equal(flags, OOB | socket.MSG_TRUNC, "flags for no room")


@t.test("MUST-30", "C-53")
def next_connection_knows_no_mark():
    """connect(AF_UNSPEC) forgets it."""
    net = t.net()
    ours, peer = connection("active")
    urgent(peer, b"!")
    came(ours)
    unspec = struct.pack("H14x", socket.AF_UNSPEC)
    libc = ctypes.CDLL(None, use_errno=True)
    t.equal(libc.connect(ours.fileno(), unspec, 16), 0, "disconnect")
    other = net.b.listener(t.STOCK)
    ours.connect((net.b.address, other.getsockname()[1]))
    theirs = other.accept()[0]
    t.cleanup(theirs.close)
    theirs.send(b"text")
    t.equal(ours.recv(9), b"text", "text")
    t.check(not at_mark(ours), "a mark")


# --- sending ------------------------------------------------------------------


@t.test("MUST-30", "MUST-62", "R6093-1")
def pointer_is_after_the_urgent_data():
    ours, peer = connection()
    ours.send(b"abc", OOB)
    seg = peer.expect("UA", length=3)
    t.equal(seg.urg, 3, "urgent pointer")
    peer.send("A")
    ours.send(b"text")
    seg = peer.expect("A", length=4, what="all acknowledged:")
    t.equal(seg.urg, 0, "urgent pointer")
    ours.send(b"!", OOB)  # Nagle does not hold it, nor what it stands behind
    t.equal(peer.expect("UA", length=1).urg, 1, "urgent pointer")
    peer.send("A")
    ours.setsockopt(t.SOL_TCP, socket.TCP_CORK, 1)
    ours.send(b"cork")
    peer.expect_nothing(100)
    ours.send(b"!", OOB)
    seg = peer.expect("UA", length=5)
    t.equal(seg.urg, 5, "urgent pointer")
    peer.send("A")


@t.test("MUST-31", "MUST-62", "MUST-32")
def urgent_data_of_any_length():
    """Every segment before the mark tells of it, as far as a pointer reaches."""
    ours, peer = connection(ws=4)
    size = 150000
    sender = t.Background(ours.sendall, t.pattern(size - 1) + b"!")
    sender.result()
    ours.send(b"!", OOB)
    mark = size + 1 + 1  # the number after the octet
    data, seen = b"", []
    while len(data) < size + 1:
        seg = peer.get(5)
        t.check(seg, f"only {len(data)} octets came")
        if seg.len and seg.rel_seq == len(data) + 1:
            data += seg.data
            seen.append(seg)
            peer.send("A", ack=len(data) + 1)
    t.equal(data, t.pattern(size - 1) + b"!!", "text")
    for seg in seen:
        if "U" in seg.flags:
            ahead = mark - seg.rel_seq
            t.equal(seg.urg, min(ahead, 65535), f"pointer of {seg}")
    t.check("U" in seen[-1].flags, "URG on the last")


@t.test("MUST-30", "R2525-4", "MUST-62")
def sent_again():
    """What is retransmitted points to the same octet, or one further on."""
    ours, peer = connection()
    ours.send(b"one")
    ours.send(b"!", OOB)
    first = [peer.expect("A", length=3), peer.expect("UA", length=1)]
    t.equal(first[1].urg, 1, "urgent pointer")
    again = peer.expect("UA", seq=1, timeout=5)
    t.equal(again.rel_seq + again.urg, 5, "mark")
    peer.send("A", ack=5)
    ours.send(b"+", OOB)
    t.equal(peer.expect("UA", seq=5).urg, 1, "next mark")
    peer.send("A", ack=6)


@t.test("MUST-30", "MUST-36", "C-32", "MUST-32")
def into_a_shut_window():
    """The peer is told at once, and with each probe."""
    ours, peer = connection()
    ours.send(b"x")
    peer.expect("A", length=1)
    peer.send("A", win=0)
    ours.send(b"abc", OOB)
    seg = peer.expect("UA", seq=2, length=0, timeout=0.1 * t.SLOW)
    t.equal(seg.urg, 3, "urgent pointer")
    for _ in range(2):
        t.equal(peer.expect("UA", seq=2, length=0).urg, 3, "urgent pointer")
        probe = peer.expect("UA", seq=1, length=0)
        t.equal(probe.urg, 4, "urgent pointer")
        peer.send("A", win=0)
    peer.send("A", win=1000)
    seg = peer.expect("UA", seq=2, length=3)
    t.equal((seg.data, seg.urg), (b"abc", 3), "text and pointer")
    peer.send("A")


@t.test("R6093-4", "C-5", "CLOSE-WAIT/E4",
        cases={"ESTABLISHED": False, "CLOSE-WAIT": True})  # fmt: skip
def with_our_fin(peer_first):
    """The pointer then stands at the FIN."""
    ours, peer = connection()
    if peer_first:
        peer.send("FA")
        peer.expect("A", ack=2)
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    ours.send(b"x")
    peer.expect("A", seq=1, length=1)
    peer.send("A", win=0)
    ours.send(b"!", OOB)
    ours.close()
    peer.flush(50)
    peer.rcv = 2
    peer.send("A", win=1000)
    seg = peer.expect("FUPA", seq=2, length=1)
    t.equal(seg.urg, 1, "urgent pointer")


@t.test("MUST-30", "MUST-31", "R6093-2",
        cases={"left out": 0, "in line": 1})  # fmt: skip
def with_stock_tcp(inline):
    """Marks in a stream of text, both ways, against the stock stack."""
    net = t.net()
    for ends in (net.a, net.b, t.DUT, t.STOCK), (net.b, net.a, t.STOCK, t.DUT):
        source, sink = t.connect(*ends)
        sink.setsockopt(*INLINE, inline)
        marks = 0
        for number in range(20):
            text = t.pattern(1 + number * 997, number)
            source.sendall(text)
            source.send(b"!", OOB)
            t.wait_for(lambda: events(sink, select.POLLPRI), 5, "POLLPRI")
            if not inline:
                t.equal(oob(sink), b"!", "urgent octet")
            got = b""
            while not at_mark(sink):
                got += sink.recv(1 << 16)
            t.equal(t.digest(got), t.digest(text), f"text {number}")
            if inline:
                t.equal(sink.recv(1), b"!", "urgent octet")
            marks += 1
        source.send(b"end")
        t.equal(sink.recv(9), b"end", "text")
        t.equal(marks, 20, "marks")
        source.close()
        sink.close()


@t.test("MUST-30")
def between_two_of_ours():
    """Urgent data of a program that waits for room, on both ends."""
    ours, theirs = pair()
    signals = Signals(theirs)
    writer = t.Background(
        lambda: (ours.sendall(bytes(3000000)), ours.send(b"!", OOB))
    )
    got = 0
    while got < 3000000:
        got += len(theirs.recv(1 << 18))
    writer.result()
    # A mark out of reach moves on as the pointer comes near it.
    t.wait_for(lambda: signals.seen, 5, "SIGURG")
    came(theirs)
    t.equal(oob(theirs), b"!", "urgent octet")
    t.check(at_mark(theirs), "at the mark")


t.main()
