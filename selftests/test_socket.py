#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What the socket layer offers to every stream: options at SOL_SOCKET, ways to
send and receive, buffers that grow, cgroups, io_uring."""
import contextlib
import ctypes
import errno
import fcntl
import ipaddress
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import time

import cftest as t

libc = ctypes.CDLL(None, use_errno=True)
SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING = 29, 35, 37
TCP_WINDOW_CLAMP = 10
SO_PEEK_OFF, SO_BUSY_POLL, SO_INCOMING_CPU, SO_ATTACH_BPF = 42, 46, 49, 50
SO_MEMINFO, SO_COOKIE, SO_ZEROCOPY, SO_DETACH_FILTER = 55, 57, 60, 27
MSG_ERRQUEUE, MSG_ZEROCOPY, MSG_WAITFORONE = 0x2000, 0x4000000, 0x10000
FIONREAD, SIOCOUTQ = 0x541B, 0x5411
POLL_IN, POLL_HUP, F_SETSIG = 1, 6, 10


def pair(client=None, server=None):
    """A connection in one namespace, both ends ours if not told otherwise."""
    net = t.net()
    server = t.DUT if server is None else server
    ends = t.connect(net.a, net.a, client, server)
    for end in ends:
        end.setblocking(True)
    return ends


def raw(call, *args):
    """A system call without what Python adds: -errno or the result."""
    n = getattr(libc, call)(*args)
    return -ctypes.get_errno() if n < 0 else n


def get(sock, option):
    return sock.getsockopt(socket.SOL_SOCKET, option)


def put(sock, option, value):
    sock.setsockopt(socket.SOL_SOCKET, option, value)


def readable(sock, ms=0):
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(ms))


def unread(sock):
    return struct.unpack("i", fcntl.ioctl(sock, FIONREAD, bytes(4)))[0]


def unacked(sock):
    return struct.unpack("i", fcntl.ioctl(sock, SIOCOUTQ, bytes(4)))[0]


# --- receiving ---------------------------------------------------------------


@t.test("API")
def rcvlowat():
    c, a = pair()
    t.equal(get(a, socket.SO_RCVLOWAT), 1)
    put(a, socket.SO_RCVLOWAT, 0)
    t.equal(get(a, socket.SO_RCVLOWAT), 1, "0 is 1")
    put(a, socket.SO_RCVLOWAT, 100)
    c.send(bytes(99))
    t.wait_for(lambda: unread(a) == 99)
    t.check(not readable(a), "99 of 100 octets")
    t.equal(len(a.recv(1000, socket.MSG_DONTWAIT | socket.MSG_PEEK)), 99)
    thread = t.Background(a.recv, 1000)
    t.check(not readable(a, 200) and thread.is_alive(), "recv() did not wait")
    c.send(b"x")
    t.equal(len(thread.result()), 100)
    c.send(bytes(50))
    t.wait_for(lambda: unread(a) == 50)
    put(a, socket.SO_RCVLOWAT, 50)
    t.check(readable(a), "lowered to what is there")


@t.test("API")
def rcvlowat_and_the_buffer():
    """The buffer holds twice as much, if the user left it to the kernel."""
    c, a = pair()
    before = get(a, socket.SO_RCVBUF)
    put(a, socket.SO_RCVLOWAT, before)
    t.equal(get(a, socket.SO_RCVLOWAT), before)
    t.equal(get(a, socket.SO_RCVBUF), 2 * before)
    put(c, socket.SO_RCVBUF, 20000)
    put(c, socket.SO_RCVLOWAT, 1 << 30)
    t.equal(get(c, socket.SO_RCVLOWAT), 20000)
    t.equal(get(c, socket.SO_RCVBUF), 40000)


@t.test("API")
def recv_of_nothing():
    """It waits until there is something, but takes none of it."""
    c, a = pair()
    with t.fails_with(errno.EAGAIN):
        a.recvmsg(0, 0, socket.MSG_DONTWAIT)
    thread = t.Background(a.recvmsg, 0)
    t.check(not readable(a, 100) and thread.is_alive(), "recv() did not wait")
    c.send(b"x")
    t.equal(thread.result()[0], b"")
    t.equal(a.recv(2), b"x")
    c.close()
    t.equal(a.recvmsg(0)[0], b"", "the end")


def busy_polls():
    """CONFIG_NET_RX_BUSY_POLL, which a kernel with PREEMPT_RT has not."""
    return os.path.exists("/proc/sys/net/core/busy_read")


@t.test("API")
def inherited():
    """An accepted socket has what was set at the listener."""
    net = t.net()
    listener = net.a.listener()
    wanted = {SO_TIMESTAMPNS: 1, SO_PEEK_OFF: 3}
    if busy_polls():
        wanted[SO_BUSY_POLL] = 7
    for option, value in wanted.items():
        put(listener, option, value)
    c = net.a.sock()
    c.connect(listener.getsockname())
    a = listener.accept()[0]
    t.cleanup(a.close)
    a.setblocking(True)
    t.equal({option: get(a, option) for option in wanted}, wanted)
    c.send(b"stamped")
    kinds = [kind for _, kind, _ in a.recvmsg(10, 100)[1]]
    t.equal(kinds, [SO_TIMESTAMPNS], "control messages")


@t.test("API")
def peek_off():
    c, a = pair()
    t.equal(get(a, SO_PEEK_OFF), -1)
    c.send(b"abcdefgh")
    t.wait_for(lambda: unread(a) == 8)
    put(a, SO_PEEK_OFF, 2)
    peek = socket.MSG_PEEK | socket.MSG_DONTWAIT
    t.equal(a.recv(3, peek), b"cde")
    t.equal(a.recv(9, peek), b"fgh", "the next peek goes on")
    with t.fails_with(errno.EAGAIN):
        a.recv(1, peek)
    t.equal(a.recv(3), b"abc", "reading begins at the beginning")
    t.equal(get(a, SO_PEEK_OFF), 5, "and moves the offset back")
    thread = t.Background(a.recv, 9, socket.MSG_PEEK)
    c.send(b"ij")
    t.equal(thread.result(), b"ij", "a peek that waits")
    t.equal(a.recv(100), b"defghij")
    t.equal(get(a, SO_PEEK_OFF), 0)
    put(a, SO_PEEK_OFF, -1)
    c.send(b"xyz")
    for _ in range(2):
        t.equal(a.recv(1, socket.MSG_PEEK), b"x")


def stamps(sock, size=1000):
    """(data, [(type, [seconds, ...])]) of one recvmsg()."""
    data, notes, _, _ = sock.recvmsg(size, 256)
    found = []
    for level, kind, value in notes:
        t.equal(level, socket.SOL_SOCKET, "cmsg level")
        unit = 1e6 if kind == SO_TIMESTAMP else 1e9
        words = struct.unpack(f"{len(value) // 8}q", value)
        found.append(
            (kind, [a + b / unit for a, b in zip(words[::2], words[1::2])])
        )
    return data, found


@t.test("API", cases={"us": SO_TIMESTAMP, "ns": SO_TIMESTAMPNS})
def timestamp(option):
    """The arrival of the last octet read, not the time of the call."""
    c, a = pair()
    c.send(b"before")
    t.equal(stamps(a), (b"before", []), "not asked for")
    put(a, option, 1)
    t.equal(get(a, option), 1)
    time.sleep(0.01)  # the kernel switches time stamps on a little later
    c.send(b"one")
    time.sleep(1)
    sent = time.time()
    c.send(b"two")
    t.wait_for(lambda: unread(a) == 6)
    time.sleep(1)
    data, found = stamps(a)
    t.equal(data, b"onetwo")
    t.equal([kind for kind, _ in found], [option])
    t.near(found[0][1][0] - sent, 0, slack=0.01, what="arrival")
    put(a, option, 0)
    c.send(b"after")
    t.equal(stamps(a), (b"after", []), "switched off")


@t.test("API")
def timestamping():
    c, a = pair()
    put(a, SO_TIMESTAMPING, 1 << 3 | 1 << 4)  # RX_SOFTWARE, SOFTWARE
    time.sleep(0.01)
    sent = time.time()
    c.send(b"data")
    t.wait_for(lambda: unread(a) == 4)
    time.sleep(1)
    a.recv(1)
    data, found = stamps(a)
    t.equal((data, [kind for kind, _ in found]), (b"ata", [SO_TIMESTAMPING]))
    t.equal(len(found[0][1]), 3, "software, unused, hardware")
    t.near(found[0][1][0] - sent, 0, slack=0.01, what="arrival")
    t.equal(found[0][1][1:], [0, 0])


@t.test("API")
def error_queue_and_zerocopy():
    """No MSG_ZEROCOPY: programs that ask are told, and copy."""
    c, a = pair()
    with t.fails_with(errno.EAGAIN):
        a.recv(1, MSG_ERRQUEUE)
    with t.fails_with(errno.EOPNOTSUPP):
        put(c, SO_ZEROCOPY, 1)
    t.equal(c.send(b"copied", MSG_ZEROCOPY), 6)
    t.equal(a.recv(10), b"copied")
    with t.fails_with(errno.EAGAIN):
        c.recv(1, MSG_ERRQUEUE)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


class Msghdr(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint),
        ("iov", ctypes.POINTER(Iovec)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class Mmsghdr(ctypes.Structure):
    _fields_ = [("hdr", Msghdr), ("len", ctypes.c_uint)]


def messages(buffers):
    vectors = [
        Iovec(ctypes.cast(b, ctypes.c_void_p), len(b.raw)) for b in buffers
    ]
    return (Mmsghdr * len(buffers))(
        *(
            Mmsghdr(Msghdr(iov=ctypes.pointer(v), iovlen=1), 0)
            for v in vectors
        )
    )


@t.test("API")
def many_messages():
    c, a = pair()
    parts = [t.pattern(n * 100 + 1, n) for n in range(8)]
    out = [ctypes.create_string_buffer(p, len(p)) for p in parts]
    t.equal(raw("sendmmsg", c.fileno(), messages(out), 8, 0), 8)
    t.wait_for(lambda: unread(a) == sum(map(len, parts)))
    room = [ctypes.create_string_buffer(len(p)) for p in parts]
    into = messages(room)
    t.equal(raw("recvmmsg", a.fileno(), into, 8, 0, None), 8)
    t.equal([m.len for m in into], [len(p) for p in parts])
    t.equal([r.raw for r in room], parts)
    c.send(b"last")
    into = messages(room)
    t.equal(raw("recvmmsg", a.fileno(), into, 8, MSG_WAITFORONE, None), 2)
    t.equal([into[0].len, into[1].len], [1, 3], "what there was")


@t.test("API")
def control_messages():
    """What is no control message of a stream is told, and nothing is sent."""
    c, a = pair()
    with t.fails_with(errno.EINVAL):
        c.sendmsg([b"x"], [(socket.SOL_SOCKET, 99, b"1234")])
    t.equal(c.sendmsg([b"y"], [(socket.IPPROTO_IP, 2, b"1234")]), 1)
    t.equal(a.recv(10), b"y")


# --- options -----------------------------------------------------------------


@t.test("API")
def bind_to_device():
    net = t.net()
    listener = net.b.listener(t.STOCK)
    port = listener.getsockname()[1]
    ours = net.a.sock()
    put(ours, socket.SO_BINDTODEVICE, b"a0\0")
    ours.connect((net.b.address, port))
    t.equal(
        ours.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)[:2],
        b"a0",
    )
    other = t._accepted(listener)
    other.send(b"x")
    t.equal(ours.recv(1), b"x")
    ours = net.a.sock()
    with t.fails_with(errno.ENODEV):
        put(ours, socket.SO_BINDTODEVICE, b"none\0")
    put(ours, socket.SO_BINDTODEVICE, b"lo\0")
    ours.setblocking(False)
    ours.connect_ex((net.b.address, port))
    t.check(not readable(listener, 200), "reached through the wrong device")


@t.test("API")
def listener_bound_to_a_device():
    net = t.net()
    listener = net.a.sock()
    put(listener, socket.SO_BINDTODEVICE, b"a0\0")
    listener.listen()
    port = listener.getsockname()[1]
    inside = net.a.sock(t.STOCK)
    with t.fails_with(errno.ECONNREFUSED):
        inside.connect((t.LOOPBACK, port))
    outside = net.b.sock(t.STOCK)
    outside.connect((net.a.address, port))
    child = t._accepted(listener)
    t.equal(
        child.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)[:2],
        b"a0",
    )


@t.test("API")
def incoming_cpu():
    t.equal(get(t.net().a.sock(), SO_INCOMING_CPU), -1)
    c, a = pair()
    c.send(b"x")
    a.recv(1)
    t.between(get(a, SO_INCOMING_CPU), 0, os.cpu_count() - 1)


@t.test("API")
def busy_poll():
    c, a = pair()
    if busy_polls():
        put(a, SO_BUSY_POLL, 50)
    thread = t.Background(a.recv, 10)
    c.send(b"polled")
    t.equal(thread.result(), b"polled")
    with t.fails_with(errno.EAGAIN):
        a.recv(1, socket.MSG_DONTWAIT)


@t.test("API")
def cookie():
    c, a = pair()
    cookies = [
        struct.unpack("Q", s.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))[0]
        for s in (c, a, c)
    ]
    t.check(cookies[0] == cookies[2] and cookies[0] != cookies[1], cookies)
    t.check(all(cookies), cookies)


def meminfo(sock):
    names = "rmem rcvbuf wmem sndbuf forward queued option backlog drops"
    words = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
    return dict(zip(names.split(), struct.unpack("9I", words)))


@t.test("API")
def memory_of_a_socket():
    """SO_MEMINFO: what is held is counted, and given back."""
    c, a = pair()
    seen = meminfo(a)
    t.equal(seen["rcvbuf"], get(a, socket.SO_RCVBUF))
    t.equal(seen["sndbuf"], get(a, socket.SO_SNDBUF))
    t.equal((seen["rmem"], seen["queued"]), (0, 0))
    c.send(bytes(5000))
    t.wait_for(lambda: unread(a) == 5000)
    t.between(meminfo(a)["rmem"], 5000, 30000)
    a.recv(5000)
    t.equal(meminfo(a)["rmem"], 0)
    ours, peer = t.with_peer(t.net())
    ours.send(bytes(5000))
    t.between(meminfo(ours)["queued"], 5000, 30000)
    peer.expect_data(5000)
    t.wait_for(lambda: meminfo(ours)["queued"] == 0)


# --- BPF ---------------------------------------------------------------------

SYS_BPF = 321
BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH = 5, 8, 9
SOCKET_FILTER, CGROUP_SKB, CGROUP_SOCK, CGROUP_SOCK_ADDR = 1, 8, 9, 18
INGRESS, EGRESS, SOCK_CREATE, BIND4, BIND6, CONNECT4, CONNECT6 = (
    0,
    1,
    2,
    8,
    9,
    10,
    11,
)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    n = raw("syscall", SYS_BPF, command, buffer, 128)
    if n < 0:
        raise OSError(-n, "bpf: " + os.strerror(-n))
    return n


def instruction(code, to=0, value=0, source=0, offset=0):
    return struct.pack("=BBhi", code, source << 4 | to, offset, value)


MOVE, MOVE_REGISTER, ADD, CALL, EXIT, STORE = 0xB7, 0xBF, 7, 0x85, 0x95, 0x62
BPF_BIND = 64


def binds_to(address):
    """What comes before the answer: bpf_bind() of a struct sockaddr."""
    code = b""
    for at in range(0, len(address), 4):
        (word,) = struct.unpack_from("=i", address, at)
        code += instruction(STORE, 10, word, offset=at - len(address))
    return (
        code
        + instruction(MOVE_REGISTER, 2, source=10)
        + instruction(ADD, 2, -len(address))
        + instruction(MOVE, 3, len(address))
        + instruction(CALL, value=BPF_BIND)
    )


def program(kind, answer, attach=0, code=b""):
    """A program that answers so whatever it sees, after other code."""
    code += instruction(MOVE, 0, answer) + instruction(EXIT)
    count = len(code) // 8
    code = ctypes.create_string_buffer(code)
    licence = ctypes.create_string_buffer(b"GPL")
    fd = bpf(
        BPF_PROG_LOAD,
        struct.pack(
            "=IIQQIIQII16sII",
            kind,
            count,
            ctypes.addressof(code),
            ctypes.addressof(licence),
            0,
            0,
            0,
            0,
            0,
            b"",
            0,
            attach,
        ),
    )
    t.cleanup(os.close, fd)
    return fd


@t.test("API")
def attach_bpf():
    c, a = pair()
    put(a, SO_ATTACH_BPF, program(SOCKET_FILTER, 0))
    c.send(b"dropped at first")
    t.check(not readable(a, 100), "came through")
    put(a, SO_DETACH_FILTER, 0)
    t.check(readable(a, 5000), "not sent again")
    t.equal(a.recv(100), b"dropped at first")
    put(a, SO_ATTACH_BPF, program(SOCKET_FILTER, 0x40000))
    c.send(b"x")
    t.equal(a.recv(1), b"x")


class Cgroup(t.Cgroup):
    """The calling process is in it until the test ends."""

    def __init__(self):
        super().__init__()
        self.fd = os.open(self.path, os.O_RDONLY)
        t.cleanup(os.close, self.fd)
        self.enter()
        t.cleanup(t._write, self.top + "/cgroup.procs", os.getpid())

    @contextlib.contextmanager
    def attached(self, kind, where, answer=0, code=b""):
        fd = program(kind, answer, where, code)
        bpf(BPF_PROG_ATTACH, struct.pack("=IIII", self.fd, fd, where, 0))
        try:
            yield
        finally:
            bpf(BPF_PROG_DETACH, struct.pack("=IIII", self.fd, fd, where, 0))


@t.test("API")
def cgroup_programs_of_calls():
    group = Cgroup()
    net = t.net()
    listener = net.a.listener()
    v6 = listener.family == socket.AF_INET6
    with group.attached(CGROUP_SOCK_ADDR, CONNECT6 if v6 else CONNECT4):
        with t.fails_with(errno.EPERM):
            net.a.sock().connect(listener.getsockname())
    with group.attached(CGROUP_SOCK_ADDR, BIND6 if v6 else BIND4):
        with t.fails_with(errno.EPERM):
            net.a.sock().bind((net.a.address, 0))
        # This is no bind(), though a port is reserved.
        net.a.sock().connect((net.a.address, listener.getsockname()[1]))
    with group.attached(CGROUP_SOCK, SOCK_CREATE):
        with t.fails_with(errno.EPERM):
            net.a.sock()
    with group.attached(
        CGROUP_SOCK_ADDR, CONNECT6 if v6 else CONNECT4, answer=1
    ):
        net.a.sock().connect((net.a.address, listener.getsockname()[1]))


@t.test("API")
def bpf_bind():
    """A program may bind who connects, and that must not sleep."""
    group = Cgroup()
    net = t.net()
    listener = net.a.listener()
    stock = net.a.sock(t.STOCK)
    stock.bind((net.a.address, 0))
    taken = stock.getsockname()[1]
    stock.close()
    host = ipaddress.ip_address(net.a.address).packed
    v6 = len(host) == 16
    name = struct.pack("=H", socket.AF_INET6 if v6 else socket.AF_INET)
    name += struct.pack("!H", taken) + bytes(4 * v6) + host
    name += bytes(4 if v6 else 8)
    where = CONNECT6 if v6 else CONNECT4
    with group.attached(CGROUP_SOCK_ADDR, where, 1, binds_to(name)):
        bound = net.a.sock()
        bound.connect(listener.getsockname())
        t.equal(bound.getsockname()[:2], (net.a.address, taken))
        second = net.a.sock()
        with t.fails_with(errno.EADDRINUSE):
            second.connect(listener.getsockname())
    second.connect(listener.getsockname())
    with group.attached(CGROUP_SOCK_ADDR, where, 0, binds_to(name)):
        denied = net.a.sock()
        with t.fails_with(errno.EPERM):
            denied.connect(listener.getsockname())


@t.test("API", cases={"ingress": INGRESS, "egress": EGRESS})
def cgroup_programs_of_segments(where):
    """They see an accepted connection as they see one that was opened."""
    group = Cgroup()
    net = t.net()
    for ours, other in (
        t.connect(net.a, net.b),
        t.connect(net.b, net.a, t.STOCK, t.DUT)[::-1],
    ):
        with group.attached(CGROUP_SKB, where):
            sender, reader = (
                (other, ours) if where == INGRESS else (ours, other)
            )
            sender.send(b"held up")
            t.check(not readable(reader, 100), "came through")
        t.check(readable(reader, 5000), "not sent again")
        t.equal(reader.recv(100), b"held up")
        ours.close()
        other.close()


TCP_SAVE_SYN, TCP_SAVED_SYN = 27, 28


def saved_syn(sock, room=200):
    return sock.getsockopt(t.SOL_TCP, TCP_SAVED_SYN, room)


@t.test(cases={"from IP on": 1, "from Ethernet on": 2, "not": 0})
def headers_of_the_syn(wanted):
    """TCP_SAVE_SYN: an accepted socket tells them, once."""
    net = t.net()
    listener = net.a.listener()
    listener.setsockopt(t.SOL_TCP, TCP_SAVE_SYN, wanted)
    t.equal(listener.getsockopt(t.SOL_TCP, TCP_SAVE_SYN), wanted)
    with t.fails_with(errno.EINVAL):
        listener.setsockopt(t.SOL_TCP, TCP_SAVE_SYN, 3)
    capture = t.Capture(net.a)
    peer = t.Peer(net, ts=True, ws=3)
    peer.connect(listener.getsockname()[1])
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    syn = capture.wait(lambda s: s.sport == peer.port and s.flags == "S")
    headers = {0: b"", 1: syn.frame[14:], 2: syn.frame}[wanted]
    if wanted:
        with t.fails_with(errno.EINVAL):
            saved_syn(ours, len(headers) - 1)
    t.equal(saved_syn(ours), headers, "headers")
    t.equal(saved_syn(ours), b"", "read again")


# --- buffers -----------------------------------------------------------------


def flow(ours, other, size, pause=0):
    """Octets of a stream that ours reads as they come."""
    sender = t.Background(other.sendall, bytes(size))
    got = 0
    while got < size:
        got += len(ours.recv(1 << 16))
        time.sleep(pause)
    sender.result()


@t.test("API")
def receive_buffer_follows_the_reader():
    """It grows with what is read in a round trip, up to the sysctl's most."""
    net = t.net()
    net.a.tune(rmem="4096 65536 600000")
    net.b.netem(f"delay {200 if t.DEBUG else 20}ms")
    ours, other = t.connect(net.a, net.b)
    t.equal(get(ours, socket.SO_RCVBUF), 65536)
    flow(ours, other, 2 << 20)
    t.equal(get(ours, socket.SO_RCVBUF), 600000)


@t.test("API")
def receive_buffer_that_is_large_enough():
    """Little a round trip leaves it alone; so does a reader who sleeps."""
    net = t.net()
    net.a.tune(rmem="4096 65536 600000")
    net.b.netem("delay 20ms")
    ours, other = t.connect(net.a, net.b)
    for _ in range(50):
        other.send(bytes(5000))
        time.sleep(0.02)
        t.read_exactly(ours, 5000)
    t.equal(get(ours, socket.SO_RCVBUF), 65536)
    other.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            other.send(bytes(65536))
    time.sleep(1)
    t.equal(get(ours, socket.SO_RCVBUF), 65536)


@t.test("API", cases={"buffer": None, "clamp": 9000})
def receive_buffer_below_the_unit(clamp):
    """The scale is of what the sysctl allows, the buffer of the user is less."""
    net = t.net()
    net.a.tune(rmem="4096 131072 2147483647")
    listener = net.a.sock()
    if clamp:
        listener.setsockopt(socket.SOL_TCP, TCP_WINDOW_CLAMP, clamp)
    else:
        put(listener, socket.SO_RCVBUF, 8192)
    listener.bind((net.a.address, 0))
    listener.listen()
    # Over lo a segment is half of the window, and two are acknowledged at once.
    other = net.a.sock(t.DUT)
    other.connect(listener.getsockname())
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    flow(ours, other, 300000)


@t.test("API", "SHLD-14")
def receive_buffer_full_of_small_segments():
    """The window shuts before anything is dropped, though its unit is larger."""
    net = t.net()
    listener = net.a.sock()
    put(listener, socket.SO_RCVBUF, 16384)
    listener.bind((net.a.address, 0))
    listener.listen()
    peer = t.Peer(net, ws=0)
    t.cleanup(peer.send, "RA")
    peer.connect(listener.getsockname()[1])
    before = net.a.counters()
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    unit, sent = 1 << peer.peer_opts["ws"], 0
    t.check(unit > 200, f"a unit of {unit}")
    while True:
        peer.send("A", data=bytes(200))
        sent += 200
        seg = peer.expect("A", ack=peer.nxt)
        if seg.win * unit < 200:
            break
        t.check(sent < 32768, f"{seg.win} units after {sent} octets")
    t.equal((net.a.counters() - before)["DropMemory"], 0, "dropped")
    t.read_exactly(ours, sent)
    t.check(peer.expect("A", ack=peer.nxt).win > 1, "the window is open")


@t.test("API")
def receive_buffer_of_the_user():
    net = t.net()
    net.b.netem("delay 20ms")
    ours, other = t.connect(net.a, net.b)
    put(ours, socket.SO_RCVBUF, 50000)
    flow(ours, other, 1 << 20)
    t.equal(get(ours, socket.SO_RCVBUF), 100000)


def filled(sock):
    """How much goes in without waiting."""
    sock.setblocking(False)
    total = 0
    try:
        while True:
            total += sock.send(bytes(1 << 16))
    except BlockingIOError:
        return total


@t.test("API")
def send_buffer_fills_the_window_at_once():
    """The first flight of a connection is all that the peer's window holds."""
    net = t.net()
    net.a.tune(wmem="4096 65536 1000000")
    ours, peer = t.with_peer(net, ws=7, win=3000)  # 384000 octets
    t.equal(get(ours, socket.SO_SNDBUF), 65536)
    total = filled(ours)
    t.between(total, 384000, 1000000, "octets taken")
    t.between(get(ours, socket.SO_SNDBUF), 384000, 1000000)
    sent = 0
    while seg := peer.get(0.05):
        sent = max(sent, seg.rel_seq + seg.len - 1)
    t.between(sent, 384000 - 1460, 384000, "octets in flight")


@t.test("API")
def send_buffer_that_is_large_enough():
    """What the peer's window does not let out does not make it grow."""
    net = t.net()
    net.a.tune(wmem="4096 65536 1000000")
    ours, _ = t.with_peer(net, win=5000)
    t.between(filled(ours), 30000, 70000)
    t.equal(get(ours, socket.SO_SNDBUF), 65536)


@t.test("API")
def send_buffer_of_the_user():
    net = t.net()
    ours, _ = t.with_peer(net, ws=7, win=3000)
    put(ours, socket.SO_SNDBUF, 30000)
    t.between(filled(ours), 20000, 70000)
    t.equal(get(ours, socket.SO_SNDBUF), 60000)


# --- signals, disconnecting --------------------------------------------------


@t.test("L-38", cases={"half": (False, POLL_IN), "both": (True, POLL_HUP)})
def sigio_of_a_fin(both, band):
    """F_SETSIG tells what a FIN means: input, or a hangup."""
    c, a = pair()
    number = signal.SIGRTMIN + 1
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    if both:
        c.shutdown(socket.SHUT_WR)
        t.wait_for(lambda: readable(a))
    fcntl.fcntl(c, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(c, F_SETSIG, number)
    fcntl.fcntl(c, fcntl.F_SETFL, os.O_ASYNC)
    a.shutdown(socket.SHUT_WR)
    seen = set()
    while band not in seen:
        info = signal.sigtimedwait({number}, 5)
        t.check(info, f"no signal says {band}, only {seen}")
        seen.add(info.si_code)
    t.check(both or POLL_HUP not in seen, "hangup of half a connection")
    fcntl.fcntl(c, fcntl.F_SETFL, 0)
    while signal.sigtimedwait({number}, 0):
        pass


@t.test("L-22", "L-13")
def connect_unspec():
    """A RST with SEQ=SND.NXT goes; the socket and its options can go on."""
    net = t.net()
    ours, peer = t.with_peer(net, role="active")
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours.send(b"hello")
    peer.expect("A", length=5)
    first = peer.irs
    nowhere = struct.pack("=H14x", socket.AF_UNSPEC)
    t.equal(raw("connect", ours.fileno(), nowhere, 16), 0)
    peer.expect("RA", seq=6)
    t.equal(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), 1)
    ours.setblocking(False)
    again = t.Peer(net)
    ours.connect_ex((again.address, again.port))
    again.accept()
    t.check(again.irs != first, "the ISN did not move")
    t.wait_for(lambda: select.select([], [ours], [], 0)[1])
    ours.send(b"x")
    again.expect("A", seq=1, length=1)


@t.test("API")
def connect_unspec_under_a_reader():
    """A reader of the old connection gets nothing of the next one."""
    c, a = pair()
    other = t.net().a.listener()
    a.send(b"of the first")
    reader = t.Background(c.recv, 100, socket.MSG_WAITALL)
    t.wait_for(lambda: not unread(c))
    c.setblocking(False)  # for connect(); the reader waits already
    nowhere = struct.pack("=H14x", socket.AF_UNSPEC)
    # The reader does not come in between.
    t.cleanup(os.sched_setscheduler, 0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(9))
    t.equal(raw("connect", c.fileno(), nowhere, 16), 0)
    c.connect_ex(other.getsockname())
    b = other.accept()[0]
    t.cleanup(b.close)
    b.send(bytes(88))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    t.equal(reader.result(), b"of the first")
    t.equal(c.recv(100), bytes(88))


@t.test("API", "MUST-58")
def connect_unspec_to_smaller_segments():
    """Two full segments are acknowledged at once, whatever was full before."""
    net = t.net()
    c, a = pair()
    a.send(bytes(60000))
    t.read_exactly(c, 60000)
    t.equal(raw("connect", c.fileno(), struct.pack("=H14x", 0), 16), 0)
    c.setblocking(False)
    peer = t.Peer(net)
    t.cleanup(peer.send, "RA")
    c.connect_ex((peer.address, peer.port))
    peer.accept()
    for _ in range(4):
        peer.send("A", data=bytes(t.MSS))
        since = time.time_ns()
        peer.send("A", data=bytes(t.MSS))
        seg = peer.expect("A", ack=peer.nxt)
        t.between((seg.time - since) / 1e6, 0, 5 * t.SLOW, "ms until the ACK")


# --- io_uring ----------------------------------------------------------------


class Ring:
    """Just enough of io_uring: one operation at a time."""

    SETUP, ENTER = 425, 426
    ACCEPT, CONNECT, SEND, RECV, POLL_ADD = 13, 16, 26, 27, 6

    def __init__(self):
        params = ctypes.create_string_buffer(120)
        self.fd = raw("syscall", self.SETUP, 4, params)
        if self.fd < 0:
            raise OSError(-self.fd, "io_uring_setup")
        t.cleanup(os.close, self.fd)
        words = struct.unpack("30I", params.raw)
        self.sq, self.cq = words[10:20], words[20:30]
        size = max(self.sq[6] + 4 * words[0], self.cq[5] + 16 * words[1])
        self.rings = mmap.mmap(self.fd, size)
        self.entries = mmap.mmap(self.fd, 64 * words[0], offset=0x10000000)
        t.cleanup(self.rings.close)
        t.cleanup(self.entries.close)

    def _word(self, at):
        return struct.unpack_from("I", self.rings, at)[0]

    def run(self, operation, fd, address=0, length=0, offset=0, flags=0):
        """Submit one operation, wait for it, return its result."""
        struct.pack_into(
            "=BBHiQQII32x",
            self.entries,
            0,
            operation,
            0,
            0,
            fd,
            offset,
            address,
            length,
            flags,
        )
        tail, mask = self._word(self.sq[1]), self._word(self.sq[2])
        struct.pack_into("I", self.rings, self.sq[6] + 4 * (tail & mask), 0)
        struct.pack_into("I", self.rings, self.sq[1], tail + 1)
        done = raw("syscall", self.ENTER, self.fd, 1, 1, 1, None, 0)
        t.equal(done, 1, "submitted")
        head, mask = self._word(self.cq[0]), self._word(self.cq[2])
        at = self.cq[5] + 16 * (head & mask)
        result = struct.unpack_from("=QiI", self.rings, at)[1]
        struct.pack_into("I", self.rings, self.cq[0], head + 1)
        return result


@t.test("API")
def io_uring():
    net, ring = t.net(), Ring()
    listener, ours = net.a.listener(), net.a.sock()
    listener.setblocking(True)
    ours.setblocking(True)
    client = t.Background(ours.connect, (net.a.address, listener.getsockname()[1]))
    fd = ring.run(ring.ACCEPT, listener.fileno())
    t.check(fd >= 0, f"accept: {fd}")
    client.result()
    child = socket.socket(fileno=fd)
    t.cleanup(child.close)
    text = ctypes.create_string_buffer(t.pattern(100000), 100000)
    t.equal(ring.run(ring.SEND, fd, ctypes.addressof(text), 5000), 5000)
    room = ctypes.create_string_buffer(5000)
    t.equal(
        ring.run(
            ring.RECV,
            ours.fileno(),
            ctypes.addressof(room),
            5000,
            flags=socket.MSG_WAITALL,
        ),
        5000,
    )
    t.equal(room.raw, text.raw[:5000])
    later = t.Background(lambda: (time.sleep(0.1), ours.send(b"later")))
    n = ring.run(ring.RECV, fd, ctypes.addressof(room), 100)
    t.equal(room.raw[:n], b"later", "one that waits")
    later.result()
    ours.send(b"poll")
    t.check(ring.run(ring.POLL_ADD, fd, flags=select.POLLIN) & select.POLLIN)
    ours.close()
    t.equal(ring.run(ring.RECV, fd, ctypes.addressof(room), 100), 4)
    t.equal(ring.run(ring.RECV, fd, ctypes.addressof(room), 100), 0, "the end")
    name = struct.pack("=H14x", socket.AF_UNSPEC)
    buffer = ctypes.create_string_buffer(name)
    t.equal(
        ring.run(ring.CONNECT, fd, ctypes.addressof(buffer), offset=16), 0
    )


if __name__ == "__main__":
    t.main()
