#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The sockets API: what each call returns, and what poll says, in each state.

Over loopback in a namespace: what the wire shows is the matter of other tests.
"""
import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import struct
import threading
import time
from socket import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IPPROTO_TCP,
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    MSG_PEEK,
    MSG_TRUNC,
    MSG_WAITALL,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SO_ACCEPTCONN,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_RCVLOWAT,
    SO_RCVTIMEO,
    SO_REUSEADDR,
    SO_SNDBUF,
    SO_SNDTIMEO,
    SO_TYPE,
    SOCK_CLOEXEC,
    SOCK_DGRAM,
    SOCK_NONBLOCK,
    SOCK_SEQPACKET,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_CORK,
    TCP_INFO,
    TCP_LINGER2,
    TCP_MAXSEG,
    TCP_NODELAY,
    TCP_USER_TIMEOUT,
    socket,
)

import cftest as t

libc = ctypes.CDLL(None, use_errno=True)
POLL = {
    "IN": select.POLLIN,
    "OUT": select.POLLOUT,
    "RDHUP": select.POLLRDHUP,
    "HUP": select.POLLHUP,
    "ERR": select.POLLERR,
}
FIONREAD, SIOCOUTQ, SIOCOUTQNSD = 0x541B, 0x5411, 0x894B
TCP_ESTABLISHED, TCP_SYN_SENT, TCP_FIN_WAIT1, TCP_FIN_WAIT2 = 1, 2, 4, 5
TCP_CLOSE, TCP_CLOSE_WAIT, TCP_LAST_ACK, TCP_LISTEN = 7, 8, 9, 10
MSG_MORE = 0x8000
SYS_futex = 202
NOWHERE = t.GHOST  # nobody answers there
OTHER_FAMILY = AF_INET if t.FAMILY == 6 else AF_INET6


def sock(proto=t.DUT):
    return socket(t.AF, SOCK_STREAM, proto)


def listener(backlog=16, addr=t.LOOPBACK, port=0, proto=t.DUT):
    s = sock(proto)
    s.bind((addr, port))
    s.listen(backlog)
    return s


def pair(client=t.DUT, server=t.DUT):
    """A connection, as (what connected, what was accepted)."""
    with listener(proto=server) as lst:
        c = sock(client)
        c.connect(lst.getsockname())
        return c, lst.accept()[0]


def state(s):
    return s.getsockopt(IPPROTO_TCP, TCP_INFO, 1)[0]


def in_state(s, want):
    t.wait_for(lambda: state(s) == want, 5, f"state {want}")


def events(s, wait=0, mask=sum(POLL.values())):
    """What poll() says of s, as a string such as "IN OUT"."""
    p = select.poll()
    p.register(s, mask)
    got = dict(p.poll(wait)).get(s.fileno(), 0)
    return " ".join(name for name in POLL if got & POLL[name])


def polls(s, want):
    seen = []

    def there():
        seen.append(events(s))
        return seen[-1] == want

    try:
        t.wait_for(there, 2)
    except t.Failure:
        t.fail(f'poll: wanted "{want}", saw "{seen[-1]}"')


def fails(error, call, *args):
    """The call fails with this errno and no other."""
    with t.fails_with(error):
        call(*args)


def raw(call, *args):
    """A system call without what Python adds: -errno or the result."""
    n = getattr(libc, call)(*args)
    return -ctypes.get_errno() if n < 0 else n


def so_error(s):
    return s.getsockopt(SOL_SOCKET, SO_ERROR)


def linger(s, on, seconds):
    s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", on, seconds))


def timeout(s, which, seconds):
    s.setsockopt(
        SOL_SOCKET,
        which,
        struct.pack("qq", int(seconds), int(seconds % 1 * 1e6)),
    )


def reset(s):
    """Close with an RST."""
    linger(s, 1, 0)
    s.close()


def ask(s, what):
    return struct.unpack("i", fcntl.ioctl(s, what, bytes(4)))[0]


def fill(s):
    """Send until nothing more goes in; return how much went."""
    total = 0
    try:
        while True:
            total += s.send(bytes(65536), MSG_DONTWAIT)
    except BlockingIOError:
        return total


def fill_for_good(s):
    """Fill until nothing that is on its way can make room any more."""
    total = went = fill(s)
    while went:
        t.wait_for(
            lambda: ask(s, SIOCOUTQ) == ask(s, SIOCOUTQNSD), 5, "acknowledged"
        )
        went = fill(s)
        total += went
    return total


@contextlib.contextmanager
def lasts(seconds):
    """The block takes that long; a timer of jiffies may be a tick early (10 ms
    at 100 Hz) and an eighth late."""
    began = time.monotonic()
    yield
    late = (seconds / 8 + 0.02) * t.SLOW
    t.between(
        time.monotonic() - began, seconds - 0.01, seconds + late, "seconds"
    )


@contextlib.contextmanager
def interrupted(after=0.05, restart=False):
    """A signal comes in the block; it restarts calls or not. Yields the hits."""
    hits = []
    old = signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))
    signal.siginterrupt(signal.SIGUSR1, not restart)
    me = threading.get_ident()
    timer = threading.Timer(after, signal.pthread_kill, (me, signal.SIGUSR1))
    timer.start()
    try:
        yield hits
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGUSR1, old)


def blocked(call, *args):
    """Make the call in a thread, and wait until it sleeps in there."""
    thread = t.Background(call, *args)

    def asleep():
        with open(f"/proc/self/task/{thread.native_id}/syscall") as f:
            word = f.read().split()
        return word[0] not in ("running", str(SYS_futex))

    t.wait_for(asleep, 5, "a thread that waits")
    return thread


def child(function):
    """Run function in a child; return its wait status."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = function() or 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def stuck():
    """A socket in SYN-SENT, that stays there: nobody answers on that device."""
    s = sock()
    s.setblocking(False)
    fails(errno.EINPROGRESS, s.connect, (NOWHERE, 9))
    s.setblocking(True)
    return s


# --- socket, bind, listen, accept -------------------------------------------


@t.test("API")
def socket_of_a_wrong_type():
    for kind in SOCK_DGRAM, SOCK_SEQPACKET:
        try:
            socket(t.AF, kind, t.DUT).close()
            t.check(False, f"type {kind} accepted")
        except OSError as e:
            t.check(
                e.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT),
                str(e),
            )


@t.test("MUST-43")
def bind_to_addresses():
    s = sock()
    t.check(s.getsockname() == t.sockname(t.ANY, 0), "a name before bind")
    fails(errno.EADDRNOTAVAIL, s.bind, (t.ELSEWHERE, 0))
    name = t.sockaddr(t.LOOPBACK, 0)
    t.check(raw("bind", s.fileno(), name, 4) == -errno.EINVAL, "short address")
    size, name = len(name), t.sockaddr(t.LOOPBACK, 0, OTHER_FAMILY)
    t.check(
        raw("bind", s.fileno(), name, size) == -errno.EAFNOSUPPORT,
        "wrong family",
    )
    t.check(raw("bind", s.fileno(), None, size) == -errno.EFAULT, "no address")
    s.bind((t.LOOPBACKS[2], 0))
    t.check(
        s.getsockname()[0] == t.LOOPBACKS[2] and s.getsockname()[1],
        "bound name",
    )
    fails(errno.EINVAL, s.bind, (t.LOOPBACKS[2], 0))
    s.listen()
    c = sock()
    c.bind((t.LOOPBACKS[1], 0))
    c.connect(s.getsockname())
    a, peer = s.accept()
    t.check(
        peer == c.getsockname() and peer[0] == t.LOOPBACKS[1], "source address"
    )
    t.check(
        a.getsockname() == s.getsockname() == c.getpeername(), "local address"
    )
    c2 = sock()  # a listener on one address ignores the others
    fails(errno.ECONNREFUSED, c2.connect, (t.LOOPBACK, s.getsockname()[1]))


@t.test("API")
def bind_needs_privilege():
    def unprivileged():
        os.setresuid(65534, 65534, 65534)
        fails(errno.EACCES, sock().bind, (t.LOOPBACK, 80))

    t.check(child(unprivileged) == 0, "EACCES")
    with sock() as s:
        s.bind((t.LOOPBACK, 80))


@t.test("MUST-41", "MUST-42", "API")
def listen_in_each_state():
    s = sock()
    fails(errno.EINVAL, s.accept)
    s.listen()
    t.check(s.getsockname()[1] != 0, "a port of its own")
    t.check(state(s) == TCP_LISTEN, "state")
    s.listen(3)
    c, a = pair()
    fails(errno.EINVAL, c.listen)
    fails(errno.EINVAL, a.accept)
    fails(errno.EISCONN, s.connect, c.getsockname())
    fails(errno.EPIPE, s.send, b"x", MSG_NOSIGNAL)
    fails(errno.ENOTCONN, s.recv, 1)
    fails(errno.ENOTCONN, s.getpeername)
    c.send(b"still here")
    t.check(a.recv(100) == b"still here", "connection harmed by listen()")


@t.test("API")
def accept_flags():
    s = listener()
    s.setblocking(False)
    fails(errno.EAGAIN, s.accept)
    for flags, nonblock, cloexec in (
        (0, False, False),
        (SOCK_NONBLOCK, True, False),
        (SOCK_CLOEXEC, False, True),
        (SOCK_NONBLOCK | SOCK_CLOEXEC, True, True),
    ):
        c = sock()
        c.connect(s.getsockname())
        polls(s, "IN")
        wanted = t.sockaddr(*c.getsockname()[:2])
        name = ctypes.create_string_buffer(len(wanted))
        size = ctypes.c_int(len(wanted))
        fd = raw("accept4", s.fileno(), name, ctypes.byref(size), flags)
        t.check(fd >= 0, f"accept4: {fd}")
        t.check(
            bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK) == nonblock,
            "NONBLOCK",
        )
        t.check(
            bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC) == cloexec,
            "CLOEXEC",
        )
        t.check(name.raw == wanted, "peer name")
        t.check(size.value == len(wanted), "its size")
        os.close(fd)
    t.check(
        raw("accept4", s.fileno(), None, None, 1) == -errno.EINVAL,
        "unknown flag",
    )


@t.test("API")
def accept_blocks_and_keeps_order():
    s = listener()
    thread = blocked(s.accept)
    clients = [sock() for _ in range(5)]
    for c in clients:
        c.connect(s.getsockname())
    names = [thread.result()[1]] + [s.accept()[1] for _ in clients[1:]]
    t.check(names == [c.getsockname() for c in clients], "order")


@t.test("API")
def backlog_bounds_the_queue():
    t.net().a.sysctl("ipv4.tcp_syncookies", 0)
    s = listener(backlog=2)
    s.setblocking(False)
    clients = [sock() for _ in range(8)]
    for c in clients:
        c.setblocking(False)
        fails(errno.EINPROGRESS, c.connect, s.getsockname())
    t.wait_for(
        lambda: sum("OUT" in events(c) for c in clients) >= 3, 5, "connections"
    )
    time.sleep(0.5)  # of virtual time: whoever would get in, is in
    accepted = []

    def accept_all():
        try:
            while True:
                accepted.append(s.accept()[0])
        except BlockingIOError:
            return len(accepted)

    t.check(
        2 <= accept_all() <= 3, f"{len(accepted)} queued with a backlog of 2"
    )
    t.wait_for(lambda: accept_all() == 8, 200, "the others, later")
    for c in clients:
        t.check(so_error(c) == 0, "client")


# --- connect ----------------------------------------------------------------


@t.test("API")
def connect_without_blocking():
    s, c = listener(), sock()
    c.setblocking(False)
    fails(errno.EINPROGRESS, c.connect, s.getsockname())
    polls(c, "OUT")
    t.check(so_error(c) == 0, "SO_ERROR")
    c.connect(s.getsockname())  # tells once that it is done
    fails(errno.EISCONN, c.connect, s.getsockname())
    t.check(c.getpeername() == s.getsockname(), "peer")
    a = s.accept()[0]
    t.check(a.getpeername() == c.getsockname(), "name")


@t.test("MUST-12", "L-31", "L-32")
def connect_to_nobody():
    with sock() as free:
        free.bind((t.LOOPBACK, 0))
        nobody = free.getsockname()
    t.wait_for(lambda: not bound(nobody), 5, "a free port")
    s = sock()
    fails(errno.ECONNREFUSED, s.connect, nobody)
    t.check(so_error(s) == 0, "told twice")
    s.setblocking(False)  # and can be used again
    fails(errno.EINPROGRESS, s.connect, nobody)
    polls(s, "IN OUT RDHUP HUP ERR")
    t.check(
        so_error(s) == errno.ECONNREFUSED and so_error(s) == 0, "SO_ERROR once"
    )
    polls(s, "IN OUT RDHUP HUP")
    s.setblocking(True)
    lst = listener()
    fails(errno.ECONNABORTED, s.connect, lst.getsockname())
    s.connect(lst.getsockname())
    s.send(b"x")
    t.check(lst.accept()[0].recv(9) == b"x", "no data")


def bound(name):
    with socket(t.AF, SOCK_STREAM) as s:
        try:
            s.bind(name)
        except OSError:
            return True


@t.test("API")
def connect_to_itself():
    s = sock()
    s.bind((t.LOOPBACK, 0))
    s.connect(s.getsockname())
    t.check(s.getpeername() == s.getsockname(), "peer")
    s.send(b"echo")
    t.check(s.recv(10) == b"echo", "data")
    s.shutdown(SHUT_WR)
    t.check(s.recv(10) == b"", "end of file")
    s.close()


@t.test("MUST-46", "API")
def connect_to_bad_addresses():
    bad = {
        4: ("255.255.255.255", "224.0.0.1", "127.255.255.255"),
        6: ("ff01::1", "ff02::1", "ff05::1"),
    }
    for addr in *bad[t.FAMILY], t.MULTICAST, t.ELSEWHERE:  # no route
        fails(errno.ENETUNREACH, sock().connect, (addr, 80))
    s = sock()
    name = t.sockaddr(t.LOOPBACK, 80)
    for size in 0, 1, 8, 15:
        t.check(
            raw("connect", s.fileno(), name, size) == -errno.EINVAL,
            f"length {size}",
        )
    size, name = len(name), t.sockaddr(t.LOOPBACK, 80, OTHER_FAMILY)
    t.check(
        raw("connect", s.fileno(), name, size) == -errno.EAFNOSUPPORT, "family"
    )
    t.check(
        raw("connect", s.fileno(), None, size) == -errno.EFAULT, "no address"
    )
    t.check(
        s.getsockname() == t.sockname(t.ANY, 0) and state(s) == TCP_CLOSE,
        "changed",
    )
    lst = listener()
    s.connect(lst.getsockname())


@t.test("L-20", "API")
def connect_interrupted():
    s = sock()
    with interrupted() as sig:
        name = t.sockaddr(NOWHERE, 9)
        t.check(
            raw("connect", s.fileno(), name, len(name)) == -errno.EINTR, "EINTR"
        )
        t.check(sig == [1], "signal")
    t.check(state(s) == TCP_SYN_SENT, "goes on")
    fails(errno.EALREADY, raw_connect, s, NOWHERE, 9)
    polls(s, "")
    fails(errno.ENOTCONN, s.getpeername)
    fails(errno.EAGAIN, s.recv, 1, MSG_DONTWAIT)
    fails(errno.EAGAIN, s.send, b"x", MSG_DONTWAIT)
    s.close()


def raw_connect(s, addr, port):
    s.setblocking(False)
    try:
        s.connect((addr, port))
    finally:
        s.setblocking(True)


@t.test("API")
def connect_restarted():
    s = sock()
    timeout(s, SO_SNDTIMEO, 0.3)
    with interrupted(restart=True) as sig:
        # with a timeout set the call is not restarted: EINTR, as signal(7) says
        name = t.sockaddr(NOWHERE, 9)
        t.check(
            raw("connect", s.fileno(), name, len(name)) == -errno.EINTR, "EINTR"
        )
    t.check(sig == [1], "signal")


@t.test("MUST-22", "API")
def connect_times_out():
    s = sock()
    timeout(s, SO_SNDTIMEO, 0.5)
    with lasts(0.5):
        fails(errno.EINPROGRESS, s.connect, (NOWHERE, 9))
    t.check(state(s) == TCP_SYN_SENT, "state")


@t.test("L-22")
def connect_unspec_disconnects():
    c, a = pair()
    nowhere = struct.pack("=H14x", AF_UNSPEC)
    t.check(raw("connect", c.fileno(), nowhere, 16) == 0, "disconnect")
    t.check(state(c) == TCP_CLOSE, "state")
    fails(errno.ECONNRESET, a.recv, 1)
    fails(errno.ENOTCONN, c.getpeername)
    lst = listener()
    c.connect(lst.getsockname())  # reusable
    t.check(c.getsockopt(SOL_SOCKET, SO_ERROR) == 0, "SO_ERROR")
    t.check(events(c) == "OUT" and c.send(b"x") == 1, "nothing is left over")
    b = lst.accept()[0]
    t.check(b.recv(1) == b"x", "first octet")
    b.send(b"again")
    t.check(c.recv(10) == b"again", "data")
    t.check(raw("connect", lst.fileno(), nowhere, 16) == 0, "stop listening")
    t.check(state(lst) == TCP_CLOSE, "listener")
    s = stuck()
    t.check(raw("connect", s.fileno(), nowhere, 16) == 0, "SYN-SENT")
    t.check(state(s) == TCP_CLOSE, "SYN-SENT")


@t.test("API")
def filter_is_inherited():
    """SO_ATTACH_FILTER of a listener, and its lock, are its children's."""
    lst = listener()
    # drops what is longer than 100 octets, TCP header included
    code = struct.pack(
        "HBBIHBBIHBBIHBBI", 0x80, 0, 0, 0, 0x25, 0, 1, 100, 6, 0, 0, 0, 6, 0, 0, 0xFFFF
    )  # fmt: skip
    buf = ctypes.create_string_buffer(code)
    lst.setsockopt(
        SOL_SOCKET, 26, struct.pack("HxxxxxxQ", 4, ctypes.addressof(buf))
    )
    lst.setsockopt(SOL_SOCKET, 44, 1)  # SO_LOCK_FILTER
    c = sock()
    c.connect(lst.getsockname())
    a = lst.accept()[0]
    c.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    c.send(b"short")
    t.check(a.recv(10) == b"short", "what passes")
    c.send(bytes(500))
    fails(errno.EPERM, a.setsockopt, SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER
    timeout(a, SO_RCVTIMEO, 0.5)
    fails(errno.EAGAIN, a.recv, 1)


# --- send and receive --------------------------------------------------------


@t.test("MUST-39", "API")
def reading_opens_the_window_before_it_waits():
    """MSG_WAITALL for more than the buffer holds does not wait for a probe."""
    net = t.net()
    lst, peer = net.a.listener(), t.Peer(net)
    lst.setsockopt(SOL_SOCKET, SO_RCVBUF, 20000)
    peer.connect(lst.getsockname()[1])
    ours = lst.accept()[0]
    ours.setblocking(True)
    seg, sent = None, 1
    while sent < 200000 and not (seg and seg.win == 0):
        peer.send("A", data=bytes(1000))
        sent += 1000
        while seen := peer.get(0.1):
            seg = seen
    t.equal(seg.win, 0, "window")
    held = ask(ours, FIONREAD)
    thread = blocked(ours.recv, held + 1000, MSG_WAITALL)
    opened = peer.expect("A", timeout=1)
    t.check(opened.win > 1000, f"{opened}")
    peer.nxt = opened.rel_ack
    peer.send("A", data=bytes(1000))
    t.check(len(thread.result()) == held + 1000, "all of it")


@t.test("API")
def rcvlowat_above_the_buffer():
    """poll() reports a full buffer, and not less than SO_RCVLOWAT before."""
    c, a = pair()
    a.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1000)
    c.send(bytes(999))
    t.wait_for(lambda: ask(a, FIONREAD) == 999, 5)
    t.check(events(a) == "OUT", "999 octets")
    c.send(b"x")
    polls(a, "IN OUT")
    c, a = pair()
    a.setsockopt(SOL_SOCKET, SO_RCVLOWAT, 1 << 30)
    fill_for_good(c)
    polls(a, "IN OUT")


@t.test("API")
def message_flags():
    c, a = pair()
    fails(errno.EAGAIN, a.recv, 10, MSG_DONTWAIT)
    c.send(b"abcdef")
    polls(a, "IN OUT")
    t.check(
        a.recv(3, MSG_PEEK) == b"abc" and a.recv(9, MSG_PEEK) == b"abcdef",
        "PEEK",
    )
    t.check(a.recv(2) == b"ab", "after PEEK")
    t.check(raw("recv", a.fileno(), None, 3, MSG_TRUNC) == 3, "TRUNC counts")
    t.check(a.recv(9) == b"f", "TRUNC discards")
    thread = blocked(a.recv, 8, MSG_WAITALL)
    for part in b"1234", b"56", b"78rest":
        c.send(part)
    t.check(thread.result() == b"12345678", "WAITALL")
    t.check(a.recv(9) == b"rest", "rest")
    thread = blocked(a.recv, 8, MSG_WAITALL)
    c.send(b"short")
    c.shutdown(SHUT_WR)
    t.check(thread.result() == b"short", "WAITALL at the end")
    t.check(a.recv(9) == b"" and a.recv(9, MSG_WAITALL) == b"", "end")


@t.test("API")
def messages():
    c, a = pair()
    t.check(c.sendmsg([b"one", b"", b"two", b"three"]) == 11, "sendmsg")
    polls(a, "IN OUT")
    parts = [bytearray(2), bytearray(4), bytearray(20)]
    n, ancillary, flags, _ = a.recvmsg_into(parts)
    t.check((n, ancillary, flags) == (11, [], 0), "recvmsg")
    t.check(b"".join(parts)[:11] == b"onetwothree", "data")
    t.check(
        os.write(c.fileno(), b"w") == 1 and os.read(a.fileno(), 9) == b"w",
        "read, write",
    )
    t.check(os.writev(c.fileno(), [b"v", b"w"]) == 2, "writev")
    two = [bytearray(1), bytearray(1)]
    t.check(os.readv(a.fileno(), two) == 2 and two[1] == b"w", "readv")
    t.check(c.send(b"") == 0, "nothing")
    fails(errno.EAGAIN, a.recv, 1, MSG_DONTWAIT)
    c.sendto(b"x", a.getsockname())  # the address is ignored, or EISCONN
    t.check(a.recvfrom(9)[0] == b"x", "recvfrom")
    with open("/proc/self/exe", "rb") as f:  # sendfile, splice
        t.check(
            os.sendfile(c.fileno(), f.fileno(), 0, 50000) == 50000, "sendfile"
        )
        t.check(a.recv(50000, MSG_WAITALL) == f.read(50000), "sendfile data")


@t.test("API")
def bad_pointers_lose_nothing():
    c, a = pair()
    bad = ctypes.c_void_p(8)
    t.check(raw("send", c.fileno(), bad, 100, 0) == -errno.EFAULT, "send")
    c.send(b"kept")
    polls(a, "IN OUT")
    t.check(raw("recv", a.fileno(), bad, 4, 0) == -errno.EFAULT, "recv")
    t.check(a.recv(10) == b"kept", "data")


@t.test("L-30", "C-50", "API")
def broken_pipe():
    c, a = pair()
    c.shutdown(SHUT_WR)
    fails(errno.EPIPE, c.send, b"x", MSG_NOSIGNAL)

    def killed():
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        c.send(b"x")

    t.check(os.WTERMSIG(child(killed)) == signal.SIGPIPE, "SIGPIPE")

    def spared():
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        fails(errno.EPIPE, c.send, b"x", MSG_NOSIGNAL)

    t.check(child(spared) == 0, "MSG_NOSIGNAL")
    a.send(b"still open")
    t.check(c.recv(100) == b"still open", "other direction")
    s = sock()
    fails(errno.EPIPE, s.send, b"x", MSG_NOSIGNAL)
    fails(errno.ENOTCONN, s.recv, 1)


@t.test("API")
def held_back_data_goes_at_close():
    c, a = pair()
    c.send(b"held", MSG_MORE)
    c.send(b" back", MSG_MORE)
    c.close()
    t.check(t.read_all(a) == b"held back", "data")
    c, a = pair()
    c.setsockopt(IPPROTO_TCP, TCP_CORK, 1)
    c.send(b"corked")
    fails(errno.EAGAIN, a.recv, 1, MSG_DONTWAIT)
    c.setsockopt(IPPROTO_TCP, TCP_CORK, 0)
    t.check(a.recv(10) == b"corked", "uncorked")


@t.test("L-24", "L-31", "L-32", "MUST-12", "D-22")
def reset_is_told_once():
    c, a = pair()
    c.send(b"last words")
    polls(a, "IN OUT")
    reset(c)
    polls(a, "IN OUT RDHUP HUP ERR")
    t.check(a.recv(100) == b"last words", "queued data")
    fails(errno.ECONNRESET, a.recv, 1)
    t.check(a.recv(1) == b"" and so_error(a) == 0, "once")
    fails(errno.EPIPE, a.send, b"x")
    polls(a, "IN OUT RDHUP HUP")
    t.check(state(a) == TCP_CLOSE, "state")
    c, a = pair()
    reset(c)
    polls(a, "IN OUT RDHUP HUP ERR")
    t.check(
        so_error(a) == errno.ECONNRESET and so_error(a) == 0, "SO_ERROR once"
    )
    t.check(a.recv(1) == b"", "after SO_ERROR")
    c, a = pair()
    reset(c)
    polls(a, "IN OUT RDHUP HUP ERR")
    fails(errno.ECONNRESET, a.send, b"x", MSG_NOSIGNAL)
    fails(errno.EPIPE, a.send, b"x", MSG_NOSIGNAL)


@t.test("L-31", "CLOSE-WAIT/E12")
def reset_after_fin_is_epipe():
    c, a = pair()
    c.shutdown(SHUT_WR)
    in_state(a, TCP_CLOSE_WAIT)
    a.send(b"unread")
    polls(c, "IN OUT")
    c.close()  # unread data: RST
    polls(a, "IN OUT RDHUP HUP ERR")
    t.check(a.recv(1) == b"", "end of file stays")
    fails(errno.EPIPE, a.send, b"x", MSG_NOSIGNAL)


@t.test("C-8", "MUST-12")
def reset_wakes_blocked_calls():
    for call, args in (("recv", (1,)), ("sendall", (bytes(1 << 26),))):
        c, a = pair()
        thread = blocked(getattr(a, call), *args)
        reset(c)
        fails(errno.ECONNRESET, thread.result)


# --- close and shutdown ------------------------------------------------------


@t.test("L-1", "L-2", "SHLD-3", "R2525-17")
def unread_data_resets():
    c, a = pair()
    a.send(b"never read")
    polls(c, "IN OUT")
    linger(c, 1, 0)  # L-2: asked before
    c.close()
    fails(errno.ECONNRESET, a.recv, 1)
    c, a = pair()
    a.send(b"never read")
    polls(c, "IN OUT")
    c.close()
    fails(errno.ECONNRESET, a.recv, 1)
    c, a = pair()  # a process that dies with unread data
    a.send(b"never read")
    polls(c, "IN OUT")
    pid = os.fork()
    if not pid:
        signal.pause()
    c.close()
    fails(errno.EAGAIN, a.recv, 1, MSG_DONTWAIT)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    fails(errno.ECONNRESET, a.recv, 1)


@t.test("L-3", "L-4")
def read_data_does_not():
    c, a = pair()
    a.sendall(b"read to the last byte")
    a.shutdown(SHUT_WR)
    t.check(c.recv(21, MSG_WAITALL) == b"read to the last byte", "data")
    c.close()  # only the FIN is left in the queue
    t.check(a.recv(1) == b"", "end, no reset")
    t.check(so_error(a) == 0, "error")


@t.test("L-5", "C-31", "C-33", "MUST-60")
def close_sends_what_was_queued():
    data = os.urandom(1 << 20)
    c, a = pair()
    c.setsockopt(SOL_SOCKET, SO_SNDBUF, 1 << 21)

    def send_and_close():
        c.sendall(data)
        c.close()

    thread = t.Background(send_and_close)
    t.check(t.read_all(a) == data, "data")
    thread.result()
    t.check(so_error(a) == 0, "error")


@t.test("L-10", "L-11", "L-12", "C-16", "C-35")
def linger_waits_for_the_fin():
    c, a = pair()
    linger(c, 1, 2)
    t.check(
        c.getsockopt(SOL_SOCKET, SO_LINGER, 8) == struct.pack("ii", 1, 2),
        "getsockopt",
    )
    with lasts(0):  # acknowledged at once
        t.check(raw("close", c.detach()) == 0, "close")
    t.check(a.recv(1) == b"", "FIN")
    c, a = pair()
    a.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
    sent = fill(c)
    linger(c, 1, 2)
    fd = c.detach()
    with lasts(2):  # the peer does not read
        t.check(raw("close", fd) == 0, "close at the timeout")
    t.check(len(t.read_all(a)) == sent, "goes on behind")
    c, a = pair()
    fill(c)
    linger(c, 1, 2)
    os.set_blocking(c.fileno(), False)
    with lasts(2):
        t.check(raw("close", c.detach()) == 0, "O_NONBLOCK does not matter")
    c, a = pair()
    fill(c)
    linger(c, 1, 30)
    pid = os.fork()  # L-11: the last holder dies
    if not pid:
        signal.pause()
    linger(c, 0, 0)
    c.close()
    os.kill(pid, signal.SIGKILL)
    with lasts(0):
        os.waitpid(pid, 0)


@t.test("L-15", "L-16")
def shutdown_answers():
    s = sock()
    for how in SHUT_RD, SHUT_WR, SHUT_RDWR:
        fails(errno.ENOTCONN, s.shutdown, how)
    c, a = pair()
    for how in -1, 3, 17:
        fails(errno.EINVAL, c.shutdown, how)
    c.shutdown(SHUT_WR)
    c.shutdown(SHUT_WR)
    in_state(c, TCP_FIN_WAIT2)
    c.shutdown(SHUT_WR)
    a.shutdown(SHUT_WR)
    in_state(c, TCP_CLOSE)  # L-34: TIME-WAIT is a record of its own
    fails(errno.ENOTCONN, c.shutdown, SHUT_WR)
    fails(errno.ENOTCONN, c.getpeername)
    t.check(so_error(c) == 0 and c.recv(1) == b"", "clean end")
    fails(errno.EPIPE, c.send, b"x", MSG_NOSIGNAL)
    in_state(a, TCP_CLOSE)
    fails(errno.ENOTCONN, a.shutdown, SHUT_RDWR)
    s = stuck()
    s.shutdown(SHUT_WR)
    t.check(state(s) == TCP_CLOSE, "SYN-SENT")


@t.test("L-16")
def shutdown_stops_listening():
    s = listener()
    thread = blocked(s.accept)
    s.shutdown(SHUT_RD)
    fails(errno.EINVAL, thread.result)
    fails(errno.ECONNREFUSED, sock().connect, s.getsockname())
    s.listen()
    c = sock()
    c.connect(s.getsockname())
    s.accept()


@t.test("L-17")
def shutdown_read_has_no_wire_effect():
    c, a = pair()
    a.shutdown(SHUT_RD)
    polls(a, "IN OUT RDHUP")
    t.check(a.recv(1) == b"", "end")
    c.send(b"still taken")
    t.wait_for(lambda: a.recv(100) == b"still taken", 5, "data")
    a.send(b"and sent")
    t.check(c.recv(100) == b"and sent", "other direction")
    t.check(state(c) == state(a) == TCP_ESTABLISHED, "state")
    thread = blocked(c.recv, 1)
    c.shutdown(SHUT_RD)
    t.check(thread.result() == b"", "a blocked reader wakes")


@t.test("L-18")
def data_after_both_shutdowns_resets():
    c, a = pair()
    c.shutdown(SHUT_RDWR)
    in_state(c, TCP_FIN_WAIT2)
    a.send(b"nobody reads")
    polls(c, "IN OUT RDHUP HUP ERR")
    t.check(so_error(c) == errno.ECONNRESET, "SO_ERROR")
    in_state(a, TCP_CLOSE)
    fails(errno.EPIPE, a.send, b"x", MSG_NOSIGNAL)


@t.test("L-19", "SHLD-3", "FIN-WAIT-2/E15")
def half_close():
    c, a = pair()
    c.send(b"request")
    c.shutdown(SHUT_WR)
    t.check(t.read_all(a) == b"request", "request")
    data = os.urandom(300000)
    thread = t.Background(t.read_all, c)
    a.sendall(data)
    a.close()
    t.check(thread.result() == data, "answer")


@t.test("L-23")
def last_close_counts():
    c, a = pair()
    dup = c.dup()
    c.close()
    fails(errno.EAGAIN, a.recv, 1, MSG_DONTWAIT)
    dup.send(b"by the other")
    t.check(a.recv(100) == b"by the other", "data")
    r, w = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(w)
        os.read(r, 1)  # until the parent says so
        dup.send(b"by the child")
        os._exit(0)
    dup.close()
    fails(errno.EAGAIN, a.recv, 1, MSG_DONTWAIT)
    os.close(w)
    t.check(t.read_all(a) == b"by the child", "data, then end")
    os.waitpid(pid, 0)


@t.test("L-21", "LISTEN/CLOSE")
def listener_close_resets_children():
    s = listener()
    clients = [sock() for _ in range(4)]
    for c in clients:
        c.connect(s.getsockname())
    polls(s, "IN")
    s.close()
    for c in clients:
        fails(errno.ECONNRESET, c.recv, 1)
    c, a = pair()  # accepted ones live on
    c.send(b"x")
    t.check(a.recv(1) == b"x", "accepted child")


@t.test("L-20", "L-24")
def data_outlives_the_connection():
    c, a = pair()
    a.send(b"kept for later")
    a.shutdown(SHUT_WR)
    polls(c, "IN OUT RDHUP")
    c.shutdown(SHUT_WR)
    in_state(c, TCP_CLOSE)
    in_state(a, TCP_CLOSE)
    t.check(c.recv(100) == b"kept for later", "data")
    t.check(c.recv(100) == b"", "end")
    stuck().close()


# --- readiness ---------------------------------------------------------------


@t.test("L-33", "L-34")
def poll_in_each_state():
    s = sock()
    polls(s, "OUT HUP")
    s.bind((t.LOOPBACK, 0))
    s.listen()
    polls(s, "")
    polls(stuck(), "")
    c = sock()
    c.connect(s.getsockname())
    polls(s, "IN")
    a = s.accept()[0]
    polls(s, "")
    polls(c, "OUT")
    a.send(b"x")
    polls(c, "IN OUT")
    c.recv(1)
    polls(c, "OUT")
    c.shutdown(SHUT_WR)
    polls(c, "OUT")  # FIN-WAIT-2
    polls(a, "IN OUT RDHUP")  # CLOSE-WAIT
    a.shutdown(SHUT_WR)
    polls(a, "IN OUT RDHUP HUP")  # LAST-ACK, CLOSED
    polls(c, "IN OUT RDHUP HUP")  # TIME-WAIT
    t.check(so_error(c) == so_error(a) == 0, "errors")
    c, a = pair()
    c.shutdown(SHUT_RDWR)
    polls(c, "IN OUT RDHUP HUP")
    t.check(events(c, mask=POLL["OUT"]) == "OUT HUP", "HUP is never masked")


@t.test("API")
def poll_wakes():
    c, a = pair()
    thread = blocked(events, c, 5000, POLL["IN"])
    a.send(b"x")
    t.check(thread.result() == "IN", "data")
    c.recv(1)
    thread = blocked(events, c, 5000, POLL["RDHUP"])
    a.shutdown(SHUT_WR)
    t.check(thread.result() == "RDHUP", "FIN")
    c, a = pair()
    thread = blocked(events, c, 5000, 0)
    reset(a)
    t.check(thread.result() == "HUP ERR", "RST")
    s = listener()
    thread = blocked(events, s, 5000)
    sock().connect(s.getsockname())
    t.check(thread.result() == "IN", "connection")


@t.test("API")
def full_buffers():
    c, a = pair()
    c.setblocking(False)
    sent = fill_for_good(c)
    t.check(sent > 10000 and events(c) == "", f"{events(c)} after {sent} bytes")
    thread = blocked(events, c, 10000, POLL["OUT"])
    got = 0
    while got < sent:
        got += len(a.recv(1 << 20))
    t.check(got == sent and thread.result() == "OUT", "writable again")
    fill_for_good(c)
    c.setblocking(True)
    thread = blocked(c.sendall, b"z" * 10)
    total = 0
    a.settimeout(1)
    data = b""
    try:
        while data := a.recv(1 << 20):
            total += len(data)
    except TimeoutError:
        pass
    thread.result()


@t.test("API")
def select_and_epoll():
    c, a = pair()
    t.check(select.select([c], [c], [c], 0) == ([], [c], []), "idle")
    a.send(b"x")
    t.check(select.select([c], [], [], 5)[0] == [c], "readable")
    with select.epoll() as ep:
        ep.register(c, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)
        t.check(ep.poll(5) == [(c.fileno(), select.EPOLLIN)], "edge")
        t.check(ep.poll(0) == [], "one edge only")
        a.send(b"y")
        t.check(ep.poll(5) == [(c.fileno(), select.EPOLLIN)], "second edge")
        a.shutdown(SHUT_WR)
        t.check(
            ep.poll(5) == [(c.fileno(), select.EPOLLIN | select.EPOLLRDHUP)],
            "FIN",
        )
        c.shutdown(SHUT_WR)
        want = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP
        t.check(ep.poll(5) == [(c.fileno(), want)], "both ends")
    t.check(select.select([c], [c], [], 0) == ([c], [c], []), "closed")


@t.test("L-38")
def sigio():
    c, a = pair()
    hits = []
    old = signal.signal(signal.SIGIO, lambda *_: hits.append(1))
    try:
        fcntl.fcntl(c, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(
            c, fcntl.F_SETFL, fcntl.fcntl(c, fcntl.F_GETFL) | os.O_ASYNC
        )
        a.send(b"x")
        t.wait_for(lambda: len(hits) >= 1, 5, "SIGIO for data")
        before = len(hits)
        a.shutdown(SHUT_WR)
        t.wait_for(lambda: len(hits) > before, 5, "SIGIO for the FIN")
    finally:
        signal.signal(signal.SIGIO, old)


# --- options and ioctls ------------------------------------------------------


@t.test("API")
def socket_options():
    s = sock()
    for opt in SO_REUSEADDR, SO_KEEPALIVE:
        t.check(
            s.getsockopt(SOL_SOCKET, opt) == 0, f"default of {opt}"
        )  # MUST-25
        s.setsockopt(SOL_SOCKET, opt, 1)
        t.check(s.getsockopt(SOL_SOCKET, opt) == 1, f"option {opt}")
    for opt in SO_RCVBUF, SO_SNDBUF:
        s.setsockopt(SOL_SOCKET, opt, 20000)
        t.check(s.getsockopt(SOL_SOCKET, opt) == 40000, f"buffer {opt}")
        s.setsockopt(SOL_SOCKET, opt, 1)
        t.check(s.getsockopt(SOL_SOCKET, opt) >= 2048, "minimum")
    t.check(s.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_STREAM, "SO_TYPE")
    t.check(s.getsockopt(SOL_SOCKET, SO_PROTOCOL) == t.DUT, "SO_PROTOCOL")
    t.check(s.getsockopt(SOL_SOCKET, SO_ACCEPTCONN) == 0, "SO_ACCEPTCONN")
    s.listen()
    t.check(s.getsockopt(SOL_SOCKET, SO_ACCEPTCONN) == 1, "SO_ACCEPTCONN")
    s.setsockopt(t.IP, t.IP_TTL, 33)
    s.setsockopt(t.IP, t.IP_TOS, 0x20)
    t.check(s.getsockopt(t.IP, t.IP_TTL) == 33, "IP_TTL")
    c = sock()
    c.connect(s.getsockname())
    a = s.accept()[0]
    for opt in SO_REUSEADDR, SO_KEEPALIVE:
        t.check(a.getsockopt(SOL_SOCKET, opt) == 1, f"{opt} inherited")
    t.check(a.getsockopt(SOL_SOCKET, SO_TYPE) == SOCK_STREAM, "SO_TYPE")
    t.check(a.getsockopt(t.IP, t.IP_TTL) == 33, "IP_TTL inherited")
    t.check(a.getsockopt(t.IP, t.IP_TOS) == 0x20, "IP_TOS inherited")


@t.test("MUST-17", "MUST-21", "L-43", "L-44", "API")
def tcp_options():
    s = sock()
    for opt, values in (
        (TCP_NODELAY, (1, 0)),
        (TCP_CORK, (1, 0)),
        (TCP_LINGER2, (5, 100)),
        (TCP_USER_TIMEOUT, (1500, 0)),
    ):
        for value in values:
            s.setsockopt(IPPROTO_TCP, opt, value)
            t.check(
                s.getsockopt(IPPROTO_TCP, opt) == value, f"option {opt}={value}"
            )
    fails(errno.EINVAL, s.setsockopt, IPPROTO_TCP, TCP_USER_TIMEOUT, -1)
    fails(errno.EINVAL, s.setsockopt, IPPROTO_TCP, TCP_MAXSEG, 10)
    fails(errno.EINVAL, s.setsockopt, IPPROTO_TCP, TCP_MAXSEG, 100000)
    s.setsockopt(IPPROTO_TCP, TCP_MAXSEG, 800)
    s.setsockopt(IPPROTO_TCP, TCP_LINGER2, -1)
    t.check(s.getsockopt(IPPROTO_TCP, TCP_LINGER2) == -1, "LINGER2 -1")
    for opt in 200, 999:
        fails(errno.ENOPROTOOPT, s.setsockopt, IPPROTO_TCP, opt, 1)
        fails(errno.ENOPROTOOPT, s.getsockopt, IPPROTO_TCP, opt)
    fails(errno.ENOPROTOOPT, s.setsockopt, 4242, 1, 1)
    for opt in TCP_NODELAY, TCP_CORK, TCP_MAXSEG, TCP_LINGER2, TCP_USER_TIMEOUT:
        fails(errno.EINVAL, s.setsockopt, IPPROTO_TCP, opt, b"\1\0")
        t.check(
            raw("setsockopt", s.fileno(), IPPROTO_TCP, opt, None, 4)
            == -errno.EFAULT,
            f"option {opt} without value",
        )
        t.check(
            raw(
                "getsockopt",
                s.fileno(),
                IPPROTO_TCP,
                opt,
                bytes(4),
                ctypes.byref(ctypes.c_int(-1)),
            )
            == -errno.EINVAL,
            "negative length",
        )
    t.check(len(s.getsockopt(IPPROTO_TCP, TCP_NODELAY, 2)) == 2, "short answer")


@t.test("MUST-14", "MUST-16")
def maxseg():
    s = listener()
    s.setsockopt(IPPROTO_TCP, TCP_MAXSEG, 700)
    c = sock()
    c.connect(s.getsockname())
    a = s.accept()[0]
    for end in a, c:
        t.check(
            0 < end.getsockopt(IPPROTO_TCP, TCP_MAXSEG) <= 700, "effective MSS"
        )


@t.test("C-52", "L-37")
def tcp_info():
    c, a = pair()
    c.sendall(bytes(50000))
    t.check(len(a.recv(50000, MSG_WAITALL)) == 50000, "data")
    info = c.getsockopt(IPPROTO_TCP, TCP_INFO, 256)
    t.check(
        info[0] == TCP_ESTABLISHED and len(info) >= 104, f"{len(info)} bytes"
    )
    rto, _, snd_mss, rcv_mss = struct.unpack_from("IIII", info, 8)
    rtt, rttvar = struct.unpack_from("II", info, 68)
    t.check(
        10000 <= rto <= 1000000 and snd_mss > 500, f"rto {rto} mss {snd_mss}"
    )
    t.check(0 < rtt < 1000000, f"rtt {rtt}")
    for size in 1, 4, 100:
        t.check(
            c.getsockopt(IPPROTO_TCP, TCP_INFO, size) == info[:size]
            or size > 4,
            f"{size} bytes",
        )
    for end, other, states in (
        (c, a, (TCP_FIN_WAIT2, TCP_CLOSE_WAIT)),
        (a, c, (TCP_CLOSE, TCP_CLOSE)),
    ):
        end.shutdown(SHUT_WR)
        in_state(end, states[0])
        in_state(other, states[1])
    with listener() as s:
        t.check(state(s) == TCP_LISTEN, "LISTEN")
    t.check(state(stuck()) == TCP_SYN_SENT, "SYN-SENT")


@t.test("API")
def msl_option():
    if t.DUT != t.CFTCP:
        return
    s = sock()
    default = s.getsockopt(t.SOL_CFTCP, t.CFTCP_MSL)
    for value in 1, 50, 600000, 0:
        s.setsockopt(t.SOL_CFTCP, t.CFTCP_MSL, value)
        got = s.getsockopt(t.SOL_CFTCP, t.CFTCP_MSL)
        t.check(got == value or value == 0, f"{got}, not {value}")
    t.check(
        s.getsockopt(t.SOL_CFTCP, t.CFTCP_MSL) == default, "back to the default"
    )
    for value in -1, 600001, 1 << 30:
        fails(errno.EINVAL, s.setsockopt, t.SOL_CFTCP, t.CFTCP_MSL, value)
        t.check(
            s.getsockopt(t.SOL_CFTCP, t.CFTCP_MSL) == default,
            "changed all the same",
        )
    fails(errno.EINVAL, s.setsockopt, t.SOL_CFTCP, t.CFTCP_MSL, b"\1")
    fails(errno.ENOPROTOOPT, s.setsockopt, t.SOL_CFTCP, 77, 1)
    fails(errno.ENOPROTOOPT, s.getsockopt, t.SOL_CFTCP, 77)


@t.test("API")
def ioctls():
    c, a = pair()
    t.check(ask(c, FIONREAD) == ask(c, SIOCOUTQ) == 0, "idle")
    c.send(b"12345")
    t.wait_for(lambda: ask(a, FIONREAD) == 5, 5, "FIONREAD")
    t.wait_for(lambda: ask(c, SIOCOUTQ) == 0, 5, "acknowledged")
    a.recv(2)
    t.check(ask(a, FIONREAD) == 3, "FIONREAD after recv")
    c.shutdown(SHUT_WR)
    polls(a, "IN OUT RDHUP")
    t.check(ask(a, FIONREAD) == 3, "a FIN is no byte")
    c, a = pair()
    sent = fill(c)
    t.wait_for(
        lambda: ask(c, SIOCOUTQ) + ask(a, FIONREAD) == sent,
        5,
        "all accounted for",
    )
    t.check(ask(c, SIOCOUTQ) > 0, "SIOCOUTQ")
    with listener() as s:
        fails(errno.EINVAL, ask, s, FIONREAD)
        fails(errno.EINVAL, ask, s, SIOCOUTQ)
    fails(errno.ENOTTY, ask, c, 0x7777)


@t.test("API")
def names():
    s = listener(addr=t.ANY)
    c = sock()
    fails(errno.ENOTCONN, c.getpeername)
    c.connect((t.LOOPBACK, s.getsockname()[1]))
    a, peer = s.accept()
    t.check(peer == c.getsockname() == a.getpeername(), "client")
    t.check(
        c.getpeername()
        == a.getsockname()
        == t.sockname(t.LOOPBACK, s.getsockname()[1]),
        "server",
    )
    t.check(s.getsockname()[0] == t.ANY, "listener")


# --- time and signals --------------------------------------------------------


@t.test("API")
def timeouts():
    c, a = pair()
    for seconds in 0.05, 0.5, 3:
        timeout(a, SO_RCVTIMEO, seconds)
        with lasts(seconds):
            fails(errno.EAGAIN, a.recv, 1)
    with lasts(3):  # what came is returned, late
        c.send(b"abc")
        t.check(a.recv(10, MSG_WAITALL) == b"abc", "part of WAITALL")
    fill(c)
    timeout(c, SO_SNDTIMEO, 0.5)
    with lasts(0.5):
        fails(errno.EAGAIN, c.send, bytes(1 << 20))
    s = listener()
    timeout(s, SO_RCVTIMEO, 0.5)
    with lasts(0.5):
        fails(errno.EAGAIN, s.accept)
    fails(
        errno.EDOM,
        s.setsockopt,
        SOL_SOCKET,
        SO_RCVTIMEO,
        struct.pack("qq", 0, 1000000),
    )


@t.test("API")
def signals_at_each_wait():
    s = listener()
    buf = ctypes.create_string_buffer(1 << 20)
    c, a = pair()
    for call, args in (
        ("accept", (s.fileno(), None, None)),
        ("recv", (a.fileno(), buf, 10, 0)),
        ("recv", (a.fileno(), buf, 10, MSG_WAITALL)),
        ("recv", (a.fileno(), buf, 10, MSG_PEEK)),
    ):
        with interrupted() as sig:
            t.check(raw(call, *args) == -errno.EINTR, f"{call}: no EINTR")
            t.check(sig == [1], "signal")
    c.send(b"part")
    with interrupted():  # what came is returned
        t.check(raw("recv", a.fileno(), buf, 10, MSG_WAITALL) == 4, "part")
    fill(c)
    with interrupted():
        t.check(
            raw("send", c.fileno(), buf, 1 << 20, 0)
            in (-errno.EINTR, *range(1, 1 << 20)),
            "send",
        )
    linger(c, 1, 30)
    fd = c.detach()
    with interrupted(after=0.5), lasts(0.5):
        t.check(raw("close", fd) == 0, "linger")
    t.check(len(t.read_all(a)) > 10000, "data of the lingering close")


@t.test("API")
def restarted_calls():
    c, a = pair()
    buf = ctypes.create_string_buffer(10)
    with interrupted(restart=True) as sig:
        later = threading.Timer(0.2, c.send, (b"late",))
        later.start()
        t.check(raw("recv", a.fileno(), buf, 10, 0) == 4 and sig == [1], "recv")
        later.join()
    s = listener()
    d = sock()
    with interrupted(restart=True) as sig:
        later = threading.Timer(0.2, d.connect, (s.getsockname(),))
        later.start()
        t.check(
            raw("accept", s.fileno(), None, None) > 0 and sig == [1], "accept"
        )
        later.join()


@t.test("API")
def concurrent_calls():
    c, a = pair()
    threads = [blocked(a.recv, 1) for _ in range(3)]
    c.send(b"123")
    t.check(
        sorted(x.result() for x in threads) == [b"1", b"2", b"3"], "each a byte"
    )
    threads = [blocked(a.recv, 1) for _ in range(3)]
    c.close()
    t.check([x.result() for x in threads] == [b""] * 3, "end for all")
    c, a = pair()
    thread = blocked(a.recv, 1)
    a.shutdown(SHUT_RDWR)
    t.check(thread.result() == b"", "shutdown wakes the reader")
    data = os.urandom(1 << 20)  # both ways at once
    c, a = pair()
    senders = [t.Background(s.sendall, data) for s in (c, a)]
    readers = [t.Background(s.recv, len(data), MSG_WAITALL) for s in (c, a)]
    t.check([x.result() for x in readers] == [data] * 2, "data")
    for x in senders:
        x.result()


if __name__ == "__main__":
    with t.net().a.inside():
        t.main()
