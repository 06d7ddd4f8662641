#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Asks stock TCP and cftcp the same questions, and prints where answers differ.

A question is a function that gets a protocol and yields (name, answer). A
difference that is not in DELIBERATE fails, and so does one that is there and is
no more.
"""
import contextlib
import ctypes
import errno
import fcntl
import fnmatch
import os
import select
import signal
import socket
import struct
import time

import cftest as t

libc = ctypes.CDLL(None, use_errno=True)
PROTOS = {"stock": t.STOCK, "cftcp": t.CFTCP}
KERNEL = tuple(int(x) for x in os.uname().release.split(".")[:2])
SIOCINQ, SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK = 0x541B, 0x5411, 0x894B, 0x8905
TCP_INFO, TCP_LINGER2, TCP_USER_TIMEOUT, TCP_TIMESTAMP = 11, 8, 18, 24
SOL_SOCKET, SOL_TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP

# Name of an answer (a pattern) -> why it differs. A name that begins with <6.9 is
# of older kernels only, one that begins with >=6.9 of others only.
DELIBERATE = {
    "option.SOCKET.*.38*": "SO_PROTOCOL: it is another protocol",
    "option.SOCKET.*.60*": "SO_ZEROCOPY: granted by the protocol's number",
    "<6.9 option.SOCKET.*.42*": "SO_PEEK_OFF: stock has it from 6.9 on",
    ">=6.12 option.SOCKET.*.80 *": "SO_DEVMEM_DONTNEED: by the protocol's number",
    "option.SOCKET.*.7 *": "SO_SNDBUF: net.cftcp.wmem has its own default",
    "option.SOCKET.*.8 *": "SO_RCVBUF: net.cftcp.rmem has its own default",
    "option.SOCKET.*.18 then -1": "SO_RCVLOWAT: half of the most of net.cftcp.rmem",
    "option.IP.*.3[56] set *": "stock refuses to join groups, which harms nobody",
    "tcp_option.7*": "net.cftcp.syn_retries: a SYN is retried for 3 minutes",
    "tcp_option.12 get": "TCP_QUICKACK: a connection does not begin by it",
    "tcp_option.13 *": "TCP_CONGESTION: it is none",
    "tcp_option.1[467] is*": "no MD5SIG; THIN_* are of congestion control",
    "tcp_option.19 is*": "no TCP_REPAIR",
    "tcp_option.2[012] is*": "no TCP_REPAIR",
    "tcp_option.29 is*": "no TCP_REPAIR",
    "tcp_option.23 is*": "no TCP Fast Open",
    "tcp_option.3[034] is*": "no TCP Fast Open",
    "tcp_option.26 is*": "TCP_CC_INFO: no congestion control",
    "tcp_option.3[12] is*": "no ULPs, no MD5SIG",
    "tcp_option.35 is*": "no TCP_ZEROCOPY_RECEIVE",
    "tcp_option.37 is*": "no TCP_TX_DELAY",
    "call.*.TCP_MAXSEG": "before it is agreed, the MSS is without timestamps",
    "call.*.bind": "a port is the socket's until it is closed, not until it ends",
    "call.disconnected.getsockname": "no port is left, stock shows the old one",
    "call.refused.SIOCOUTQ": "nothing is queued in CLOSED",
    "call.disconnected.SIOCOUTQ*": "nothing is queued in CLOSED",
    "segment.*.far ACK": "RFC 9293 3.10.7.4 wants an ACK, stock drops silently",
    "segment.time_wait.RST state": "net.cftcp.time_wait_ignore_rst (RFC 1337)",
    "segment.both_shut.FIN beside*": "a FIN out of order is held, it is no text",
    "binding.time_wait *": "TIME-WAIT holds the whole address of its listener",
}


def deliberate():
    for pattern, why in DELIBERATE.items():
        if pattern[0] in "<>":
            limit, pattern = pattern.split(" ", 1)
            at_least = limit.startswith(">=")
            than = tuple(int(x) for x in limit.strip("<>=").split("."))
            if (KERNEL >= than) != at_least:
                continue
        yield pattern, why


def question(*ids):
    """Make a test of a question: asks both, compares all that they say."""

    def register(function):
        def both():
            answers = {}
            for name, proto in PROTOS.items():
                answers[name] = dict(function(proto))
                t.clean_up()
            judge(function.__name__, answers["stock"], answers["cftcp"])

        both.__name__ = function.__name__
        return t.test(*ids, family=4)(both)

    return register


def judge(question_name, stock, ours):
    known = dict(deliberate())
    used, wrong = set(), []
    t.equal(sorted(stock), sorted(ours), "names of the answers")
    t.check(stock, "nothing was asked")
    for name in stock:
        if stock[name] == ours[name]:
            continue
        full = f"{question_name}.{name}"
        why = [p for p in known if fnmatch.fnmatchcase(full, p)]
        used.update(why)
        text = f"{full}: stock {stock[name]}, cftcp {ours[name]}"
        t.note(text, f"({known[why[0]]})" if why else "")
        if not why:
            wrong.append(text)
    t.check(not wrong, "\n  ".join(["not deliberate:"] + wrong))
    gone = [p for p in known if p.startswith(question_name + ".")]
    gone = [p for p in gone if p not in used]
    t.check(not gone, f"listed as a difference, and is none: {gone}")
    t.note(f"{len(stock)} answers compared")


def told(call, *args):
    """The result of a call, or the name of its errno."""
    try:
        return call(*args)
    except socket.timeout:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def ioctl(sock, what):
    return struct.unpack("i", fcntl.ioctl(sock, what, bytes(4)))[0]


def poll(sock):
    names = "IN PRI OUT ERR HUP NVAL RDNORM RDBAND WRNORM WRBAND MSG RDHUP"
    bits = 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 0x2000
    asked = select.poll()
    asked.register(sock, sum(bits))
    seen = dict(asked.poll(0)).get(sock.fileno(), 0)
    return " ".join(n for n, b in zip(names.split(), bits) if seen & b)


def tcp_state(sock):
    return sock.getsockopt(SOL_TCP, TCP_INFO, 1)[0]


def text(seg):
    """What a segment says, but for PSH and the window."""
    flags = seg.flags.replace("P", "")
    return f"{flags} {seg.rel_seq} {seg.rel_ack} {seg.len}"


def heard(peer, ms=60):
    """All that comes within that time of silence."""
    found, before = [], None
    while seg := peer.get(ms / 1000, factor=1):
        if peer.may_come_again(seg) or overtaken(seg, before):
            continue
        found.append(text(seg))
        before = seg
    return found


def overtaken(seg, before):
    """A delayed ACK may be that late, on the debug kernel."""
    return (
        t.DEBUG and before and seg.flags == "A" and not seg.span
        and seg.ack == before.ack and seg.seq == before.seq and before.span
    )  # fmt: skip


# --- options -----------------------------------------------------------------


def fresh_option(proto, level, number):
    """What get, set and get again say of an option, on a new socket."""
    with contextlib.closing(t.net().a.sock(proto)) as sock:
        yield "get", told(lambda: sock.getsockopt(level, number, 64).hex())
        for value in 1, 0, -1:
            yield f"set {value}", told(sock.setsockopt, level, number, value)
            yield f"then {value}", told(
                lambda: sock.getsockopt(level, number, 4).hex()
            )
        for size in 0, 1, 3:
            yield f"set {size} octets", told(
                sock.setsockopt, level, number, b"\1\0\0"[:size]
            )
            yield f"get {size} octets", told(
                lambda: len(sock.getsockopt(level, number, size))
                if size
                else 0
            )


# Numbers and addresses that no two sockets share.
OWN = {55: "SO_MEMINFO", 57: "SO_COOKIE", 71: "SO_NETNS_COOKIE"}


@question("API")
def option(proto):
    levels = [("SOCKET", SOL_SOCKET, 90), ("IP", socket.IPPROTO_IP, 55)]
    if t.FAMILY == 6:
        levels.append(("IPV6", socket.IPPROTO_IPV6, 85))
    for name, level, end in levels:
        for number in range(1, end):
            if level == SOL_SOCKET and number in OWN:
                continue
            for what, answer in fresh_option(proto, level, number):
                yield f"{name}.new.{number} {what}", answer
    for level in 0x5555, 17, 256, 262:
        for what, answer in fresh_option(proto, level, 1):
            yield f"other.{level} {what}", answer


def known(proto, number):
    """Does the protocol know an option of its level at all?"""
    with contextlib.closing(t.net().a.sock(proto)) as sock:
        answers = (
            told(sock.getsockopt, SOL_TCP, number, 64),
            told(sock.setsockopt, SOL_TCP, number, 1),
        )
        return answers != ("ENOPROTOOPT", "ENOPROTOOPT")


@question("L-43", "L-44", "MUST-17", "MUST-21", "MUST-25", "MUST-27", "API")
def tcp_option(proto):
    for number in range(1, 38):  # what stock of 6.1 has
        yield f"{number} is an option", known(proto, number)
        # Times and counts are each connection's own.
        if number in (TCP_INFO, TCP_TIMESTAMP) or not known(t.CFTCP, number):
            continue
        for what, answer in fresh_option(proto, SOL_TCP, number):
            yield f"{number} {what}", answer
    net = t.net()
    sock = net.a.sock(proto)
    for number, values in {
        TCP_LINGER2: (1, 60, 119, 120, 121, 1 << 30, -5),
        TCP_USER_TIMEOUT: (1, 1000, 1 << 30, -1),
        2: (0, 1, 87, 88, 536, 1460, 32767, 32768, 65536),  # TCP_MAXSEG
        4: (0, 1, 32767, 32768),  # TCP_KEEPIDLE
        5: (0, 1, 32767, 32768),  # TCP_KEEPINTVL
        6: (0, 1, 127, 128),  # TCP_KEEPCNT
        7: (0, 1, 127, 128),  # TCP_SYNCNT
    }.items():
        for value in values:
            yield f"{number}={value}", told(
                sock.setsockopt, SOL_TCP, number, value
            )
            yield f"{number}={value} then", told(
                sock.getsockopt, SOL_TCP, number
            )


# --- every call in every state -----------------------------------------------


class World:
    """A socket in a state; the other end is a hand-made peer or nobody."""

    def __init__(self, proto):
        self.net, self.proto, self.peer = t.net(), proto, None

    def new(self):
        return self.net.a.sock(self.proto)

    def bound(self):
        sock = self.new()
        sock.bind((self.net.a.address, 0))
        return sock

    def listening(self):
        return self.net.a.listener(self.proto)

    def syn_sent(self):
        sock = self.new()
        sock.setblocking(False)
        sock.connect_ex((t.GHOST, 9))
        return sock

    def established(self):
        sock, self.peer = t.with_peer(self.net, proto=self.proto)
        return sock

    def with_data(self):
        sock = self.established()
        self.peer.send("A", data=b"hello")
        t.wait_for(lambda: ioctl(sock, SIOCINQ) == 5)
        return sock

    def close_wait(self):
        sock = self.established()
        self.peer.send("FA")
        self.becomes(sock, 8)
        return sock

    def close_wait_with_data(self):
        sock = self.with_data()
        self.peer.send("FA")
        self.becomes(sock, 8)
        return sock

    def fin_wait_1(self):
        sock = self.established()
        sock.shutdown(socket.SHUT_WR)
        return sock

    def fin_wait_2(self):
        sock = self.fin_wait_1()
        self.peer.send("A", ack=2)
        self.becomes(sock, 5)
        return sock

    def closing(self):
        sock = self.fin_wait_1()
        self.peer.send("FA", ack=1)
        self.becomes(sock, 11)
        return sock

    def last_ack(self):
        sock = self.close_wait()
        sock.shutdown(socket.SHUT_WR)
        return sock

    def time_wait(self):
        sock = self.fin_wait_2()
        self.peer.send("FA", ack=2)
        self.becomes(sock, 7)
        return sock

    def both_shut(self):
        sock = self.established()
        sock.shutdown(socket.SHUT_RDWR)
        return sock

    def read_shut(self):
        sock = self.established()
        sock.shutdown(socket.SHUT_RD)
        return sock

    def reset(self):
        sock = self.established()
        self.peer.send("RA")
        self.becomes(sock, 7)
        return sock

    def reset_with_data(self):
        sock = self.with_data()
        self.peer.send("RA")
        self.becomes(sock, 7)
        return sock

    def reset_after_fin(self):
        sock = self.close_wait()
        self.peer.send("RA")
        self.becomes(sock, 7)
        return sock

    def refused(self):
        sock = self.syn_sent_to_peer()
        self.peer.send("RA", ack=1)
        self.becomes(sock, 7)
        return sock

    def syn_sent_to_peer(self):
        sock = self.new()
        sock.setblocking(False)
        self.peer = t.Peer(self.net)
        sock.connect_ex((self.peer.address, self.peer.port))
        self.peer.dut_port = self.peer.get().sport
        return sock

    def disconnected(self):
        sock = self.established()
        libc.connect(sock.fileno(), struct.pack("=H26x", 0), 28)
        return sock

    @staticmethod
    def becomes(sock, state):
        t.wait_for(lambda: tcp_state(sock) == state, 5, f"state {state}")


STATES = [name for name in vars(World) if name[0] != "_" and name != "becomes"]
DONTWAIT = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL


def pipe_read(sock):
    """splice() out of the socket."""
    ends = os.pipe()
    try:
        return len(os.read(ends[0], os.splice(sock.fileno(), ends[1], 9)))
    finally:
        for end in ends:
            os.close(end)


def send_file(sock):
    with open("/proc/self/status", "rb") as any_file:
        return os.sendfile(sock.fileno(), any_file.fileno(), 0, 10)


def where(name):
    """An address without what is random in it."""
    return name[0], bool(name[1])


CALLS = {
    "getsockname": lambda s: where(s.getsockname()),
    "getpeername": lambda s: where(s.getpeername()),
    "state": tcp_state,
    "poll": poll,
    "SO_ERROR": lambda s: s.getsockopt(SOL_SOCKET, socket.SO_ERROR),
    "SO_ERROR twice": lambda s: [
        s.getsockopt(SOL_SOCKET, socket.SO_ERROR) for _ in "12"
    ],
    "SO_ACCEPTCONN": lambda s: s.getsockopt(SOL_SOCKET, 30),
    "send": lambda s: s.send(b"x", DONTWAIT),
    "send nothing": lambda s: s.send(b"", DONTWAIT),
    "send twice": lambda s: [told(s.send, b"x", DONTWAIT) for _ in "12"],
    "send OOB": lambda s: s.send(b"x", DONTWAIT | socket.MSG_OOB),
    "sendto": lambda s: s.sendto(b"x", DONTWAIT, (t.LOOPBACK, 9)),
    "recv": lambda s: s.recv(3, DONTWAIT),
    "recv nothing": lambda s: s.recv(0, DONTWAIT),
    "recv four times": lambda s: [told(s.recv, 3, DONTWAIT) for _ in "1234"],
    "recv PEEK": lambda s: s.recv(9, DONTWAIT | socket.MSG_PEEK),
    "recv WAITALL": lambda s: s.recv(9, DONTWAIT | socket.MSG_WAITALL),
    "recv TRUNC": lambda s: len(s.recv(9, DONTWAIT | socket.MSG_TRUNC)),
    "recv OOB": lambda s: s.recv(9, DONTWAIT | socket.MSG_OOB),
    "recv ERRQUEUE": lambda s: s.recv(9, DONTWAIT | 0x2000),
    "recv then send": lambda s: [
        told(s.recv, 9, DONTWAIT),
        told(s.send, b"x", DONTWAIT),
        told(s.recv, 9, DONTWAIT),
    ],
    "splice": pipe_read,
    "sendfile": send_file,
    "shutdown RD": lambda s: [s.shutdown(0), poll(s)],
    "shutdown WR": lambda s: [s.shutdown(1), poll(s)],
    "shutdown RDWR": lambda s: [s.shutdown(2), poll(s)],
    "shutdown 3": lambda s: s.shutdown(3),
    "listen": lambda s: s.listen(3),
    "accept": lambda s: bool(s.accept()),
    "connect": lambda s: s.connect((t.GHOST, 9)),
    "connect short": lambda s: -libc.connect(s.fileno(), b"\2\0", 2)
    and errno.errorcode[ctypes.get_errno()],
    "connect UNSPEC": lambda s: [
        libc.connect(s.fileno(), struct.pack("=H26x", 0), 28),
        tcp_state(s),
        poll(s),
    ],
    "bind": lambda s: s.bind((t.ANY, 0)),
    "bind elsewhere": lambda s: s.bind((t.ELSEWHERE, 0)),
    "SIOCINQ": lambda s: ioctl(s, SIOCINQ),
    "SIOCOUTQ": lambda s: ioctl(s, SIOCOUTQ),
    "SIOCOUTQNSD": lambda s: ioctl(s, SIOCOUTQNSD),
    "SIOCATMARK": lambda s: ioctl(s, SIOCATMARK),
    "ioctl unknown": lambda s: ioctl(s, 0x89FF),
    "TCP_MAXSEG": lambda s: s.getsockopt(SOL_TCP, 2),
    "SO_BINDTODEVICE": lambda s: s.setsockopt(SOL_SOCKET, 25, b"lo\0"),
}


@question(
    "L-15", "L-16", "L-17", "L-22", "L-24", "L-30", "L-31", "L-32", "L-33",
    "L-34", "L-37", "C-50", "D-22", "API",
)  # fmt: skip
def call(proto):
    for state in STATES:
        for name, what in CALLS.items():
            world = World(proto)
            sock = getattr(world, state)()
            sock.setblocking(False)
            yield f"{state}.{name}", told(what, sock)
            sock.close()
            if world.peer:
                world.peer.close()


# --- what the wire shows -----------------------------------------------------


def linger_0(sock):
    t.linger(sock, 1, 0)
    sock.close()


ENDS = {
    "close": lambda s: s.close(),
    "close linger 0": linger_0,
    "shutdown WR": lambda s: s.shutdown(socket.SHUT_WR),
    "shutdown RD": lambda s: s.shutdown(socket.SHUT_RD),
    "shutdown RDWR": lambda s: s.shutdown(socket.SHUT_RDWR),
    "connect UNSPEC": lambda s: libc.connect(
        s.fileno(), struct.pack("=H26x", 0), 28
    ),
}
# What the peer may send after that: keyword arguments of Peer.send().
SEGMENTS = {
    "ACK of all": {"flags": "A"},
    "data": {"flags": "A", "data": b"late"},
    "FIN": {"flags": "FA"},
    "data and FIN": {"flags": "FA", "data": b"late"},
    "RST": {"flags": "RA"},
    "RST beside": {"flags": "R", "beside": 10},
    "SYN": {"flags": "S", "beside": 0},
    "FIN beside": {"flags": "FA", "beside": 10},
    "old data": {"flags": "A", "data": b"x", "beside": -1},
    "far ACK": {"flags": "A", "ack": 100000},
}
WIRE_STATES = (
    "established with_data close_wait close_wait_with_data fin_wait_1 "
    "fin_wait_2 closing last_ack time_wait read_shut both_shut".split()
)


@question(
    "L-1", "L-3", "L-4", "L-5", "L-8", "L-9", "L-13", "L-14", "L-15", "L-17",
    "L-18", "L-22",
)  # fmt: skip
def wire(proto):
    """What the peer gets when the user ends a connection in each state."""
    for state in WIRE_STATES:
        for name, end in ENDS.items():
            world = World(proto)
            sock = getattr(world, state)()
            peer = world.peer
            peer.flush(60)
            yield f"{state}.{name} answer", told(end, sock)
            yield f"{state}.{name}", heard(peer)
            ports = peer.dut_port, peer.port
            seen = world.net.a.state(*ports, proto=proto)
            yield f"{state}.{name} state", seen
            peer.send("FA")
            yield f"{state}.{name} FIN", heard(peer)
            seen = world.net.a.state(*ports, proto=proto)
            yield f"{state}.{name} FIN state", seen
            reset(sock, peer)


def reset(sock, peer):
    peer.send("R")
    sock.close()
    peer.close()


@question("L-8", "L-9", "L-18", "L-31", "C-8", "R5961-1")
def segment(proto):
    """What each segment is answered with in each state, and where it leads."""
    for state in WIRE_STATES:
        for what, values in SEGMENTS.items():
            world = World(proto)
            sock = getattr(world, state)()
            sock.setblocking(False)
            peer, values = world.peer, dict(values)
            peer.flush(60)
            beside = values.pop("beside", None)
            if beside is not None:
                values["seq"] = peer.nxt + beside
            peer.send(**values)
            yield f"{state}.{what}", heard(peer)
            yield f"{state}.{what} state", world.net.a.state(
                peer.dut_port, peer.port, proto=proto
            )
            yield f"{state}.{what} poll", poll(sock)
            yield f"{state}.{what} recv", told(sock.recv, 9, DONTWAIT)
            yield f"{state}.{what} send", told(sock.send, b"x", DONTWAIT)
            reset(sock, peer)


# --- time --------------------------------------------------------------------


@question("L-10", "L-12", "API")
def linger(proto):
    net = t.net()
    for blocking in True, False:
        ours, peer = t.with_peer(net, proto=proto)
        t.linger(ours, 1, 1)
        ours.setblocking(blocking)
        began = time.monotonic()
        ours.close()
        passed = time.monotonic() - began
        yield f"blocking {blocking}", round(passed, 1 if not t.DEBUG else 0)
        peer.send("R", seq=1)


@question("L-38")
def sigio(proto):
    """Which signals say what: si_code of each."""
    number = signal.SIGRTMIN + 2
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    for what, values in SEGMENTS.items():
        if "beside" in values or "ack" in values:
            continue
        for shut in False, True:
            world = World(proto)
            sock = world.fin_wait_2() if shut else world.established()
            fcntl.fcntl(sock, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(sock, 10, number)  # F_SETSIG
            fcntl.fcntl(sock, fcntl.F_SETFL, os.O_ASYNC)
            world.peer.send(**values)
            codes = set()
            while info := signal.sigtimedwait({number}, 0.05):
                codes.add(info.si_code)
            fcntl.fcntl(sock, fcntl.F_SETFL, 0)
            yield f"{what} {'half closed' if shut else 'open'}", sorted(codes)
            reset(sock, world.peer)


@question("L-73", "API")
def binding(proto):
    """Who may bind to what while another socket is there."""
    net = t.net()
    for state in "bound listening established fin_wait_2 time_wait".split():
        for reuse in "", "first", "second", "both":
            world = World(proto)
            sock = getattr(world, state)()
            if reuse in ("first", "both"):
                sock.setsockopt(SOL_SOCKET, socket.SO_REUSEADDR, 1)
            name = sock.getsockname()
            if world.peer:
                name = (net.a.address, world.peer.dut_port)
            for address in t.ANY, net.a.address, t.LOOPBACK:
                other = net.a.sock(proto)
                if reuse in ("second", "both"):
                    other.setsockopt(SOL_SOCKET, socket.SO_REUSEADDR, 1)
                answer = told(other.bind, (address, name[1]))
                yield f"{state} {reuse} {address}", answer
                yield f"{state} {reuse} {address} listen", told(other.listen)
                other.close()
            sock.close()
            if world.peer:
                world.peer.send("R")
                world.peer.close()


if __name__ == "__main__":
    t.main()
