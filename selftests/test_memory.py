#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Memory runs out: of all that a call allocates the first fails, then the second,
and so on until all of it succeeds; and in softirq each in its turn.

By failslab and fail_page_alloc, which only the debug kernel has, so elsewhere
there are no tests in here."""
import contextlib
import ctypes
import errno
import os
import random
import socket
import struct
import sys

import cftest as t
import modulectl as m

libc = t._libc
FAIL_NTH = "/proc/thread-self/fail-nth"
DEBUGFS = "/sys/kernel/debug/"
KNOBS = {
    "failslab": {"cache-filter": "N", "ignore-gfp-wait": "N"},
    "fail_page_alloc": {
        "min-order": 0, "ignore-gfp-wait": "N", "ignore-gfp-highmem": "N",
    },
}  # fmt: skip
COMMON = {"verbose": 0, "task-filter": "N", "interval": 1, "probability": 0,
          "times": -1, "space": 0}  # fmt: skip
NO_MEMORY = {-errno.ENOMEM, -errno.ENOBUFS}
NO_PORT = NO_MEMORY | {-errno.EADDRINUSE}  # what stock TCP says of its bucket
NO_FILE = NO_MEMORY | {-errno.ENFILE}  # what the kernel says for want of an inode
TEXT = t.pattern(100000)
MUCH = 10**6


def knob(which, name, value):
    t._write(f"{DEBUGFS}{which}/{name}", value)


def prepare():
    """What of memory the test itself needs is there already."""
    MCL_CURRENT, MCL_FUTURE = 1, 2
    t._sys("mlockall", MCL_CURRENT | MCL_FUTURE)
    for which, knobs in KNOBS.items():
        for name, value in (knobs | COMMON).items():
            knob(which, name, value)


class Fault:
    """Calls of this thread, with the Nth of their allocations failing."""

    def __init__(self, number):
        self.number, self.left = number, number
        self.file = os.open(FAIL_NTH, os.O_RDWR)
        self.results = []

    def __call__(self, call, *args, may=NO_MEMORY):
        """The result, or -errno, which must be one of `may` if it failed."""
        function, number = getattr(libc, call), b"%d" % self.left
        ctypes.set_errno(0)
        os.write(self.file, number)
        result = function(*args)
        left = os.pread(self.file, 12, 0)
        os.write(self.file, b"0")
        if result < 0:
            result = -ctypes.get_errno()
        hit = self.left and not int(left)
        self.left = int(left)
        self.results.append(result)
        if result < 0 and (not hit or result not in may):
            t.fail(f"{call}: {errno.errorcode[-result]} at allocation "
                   f"{self.number}, {'hit' if hit else 'not hit'}")  # fmt: skip
        return result

    @property
    def injected(self):
        return not self.left


def each_allocation(scenario, *args, least=1, first=1, stride=1):
    """Run the scenario until no allocation is left to fail."""
    number, failed = first, 0
    while True:
        fault = Fault(number)
        scenario(fault, *args)
        os.close(fault.file)
        if not fault.injected:
            break
        failed += any(result < 0 for result in fault.results)
        number += stride
    t.note(f"{number - 1} allocations, {failed} calls failed")
    t.check(number > least, f"only {number - 1} allocations")


def gauges(net):
    counters = net.a.counters()
    names = "Sockets", "Orphans", "TimeWait", "Requests", "Ports", "CurrEstab"
    return [counters[name] for name in names]


def pair(net):
    return t.connect(net.a, net.a, t.CFTCP, t.CFTCP)


def blocking(*socks):
    for one in socks:
        one.setblocking(True)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO,
                       struct.pack("qq", 60, 0))  # fmt: skip


# --- scenarios ----------------------------------------------------------------
# Each calls fault(...) once or more, and looks at what came of it.


def opening(fault, net):
    with net.a.inside():
        fd = fault("socket", t.AF, socket.SOCK_STREAM, t.CFTCP, may=NO_FILE)
    if fd >= 0:
        os.close(fd)


def binding(fault, net, port):
    ours = net.a.sock()
    name = t.sockaddr(t.LOOPBACK, port)
    if fault("bind", ours.fileno(), name, len(name), may=NO_PORT):
        ours.bind((t.LOOPBACK, port))
    t.check(ours.getsockname()[1], "port")
    ours.close()


def listening(fault, net, bound, group):
    ours = net.a.sock()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, group)
    if bound:
        ours.bind((t.LOOPBACK, 0))
    if fault("listen", ours.fileno(), 9):
        ours.listen()
    client = net.a.sock()
    client.connect((t.LOOPBACK, ours.getsockname()[1]))
    ours.accept()[0].close()
    client.close()
    ours.close()


def exchange(client, server):
    client.sendall(b"there")
    t.equal(t.read_exactly(server, 5), b"there")
    server.sendall(b"back")
    t.equal(t.read_exactly(client, 4), b"back")


def connecting(fault, net):
    listener, client = net.a.listener(), net.a.sock(timeout=None)
    to = t.LOOPBACK, listener.getsockname()[1]
    name = t.sockaddr(*to)
    if fault("connect", client.fileno(), name, len(name)):
        client.connect(to)
    server = listener.accept()[0]
    exchange(client, server)
    client.close()
    server.close()
    listener.close()


def accepting(fault, net):
    listener, client = net.a.listener(), net.a.sock()
    blocking(listener)
    client.connect((t.LOOPBACK, listener.getsockname()[1]))
    fd = fault("accept", listener.fileno(), None, None, may=NO_FILE)
    server = socket.socket(fileno=fd) if fd >= 0 else listener.accept()[0]
    exchange(client, server)
    client.close()
    server.close()
    listener.close()


def received(ours, text):
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    t.equal(t.read_exactly(ours, len(text)) == text, True, "text")


def sending(fault, net, size, flags=0, call="send"):
    """What was taken arrives, and no more; and so does what follows."""
    client, server = pair(net)
    blocking(client)
    if flags == MSG_ZEROCOPY:
        with contextlib.suppress(OSError):
            client.setsockopt(socket.SOL_SOCKET, 60, 1)
    text = TEXT[:size]
    taken = SENDERS[call](fault, client, text, flags)
    text = text[: max(taken, 0)]
    reader = t.Background(received, server, text + b"more")
    client.sendall(b"more")
    reader.result()
    client.shutdown(socket.SHUT_WR)
    t.equal(server.recv(9), b"", "EOF")
    client.close()
    server.close()


MSG_ZEROCOPY = 0x4000000


def send(fault, ours, text, flags):
    return fault("send", ours.fileno(), text, len(text), flags)


def sendfile(fault, ours, text, _):
    file, offset = os.memfd_create("text"), ctypes.c_long(0)
    os.write(file, text)
    try:
        return fault("sendfile", ours.fileno(), file, ctypes.byref(offset),
                     len(text))  # fmt: skip
    finally:
        os.close(file)


def splice(fault, ours, text, _):
    read, write = os.pipe()
    os.write(write, text)
    try:
        return fault("splice", read, None, ours.fileno(), None, len(text), 0)
    finally:
        os.close(read)
        os.close(write)


SENDERS = {"send": send, "sendfile": sendfile, "splice": splice}


def receiving(fault, net, call, flags=0):
    client, server = pair(net)
    blocking(server)
    client.sendall(TEXT[:20000])
    client.shutdown(socket.SHUT_WR)
    t.wait_for(lambda: net.a.rows(*t.ports(server))[0].rxq >= 20000, 5, "text")
    room = ctypes.create_string_buffer(20000)
    if call == "recv":
        got = fault("recv", server.fileno(), room, 20000, flags)
        text = room.raw[: max(got, 0)] if not flags & socket.MSG_PEEK else b""
    else:
        read, write = os.pipe()
        got = fault("splice", server.fileno(), None, write, None, 20000, 0)
        text = os.read(read, got) if got > 0 else b""
        os.close(read)
        os.close(write)
    t.equal(text + t.read_all(server) == TEXT[:20000], True, "text")
    client.close()
    server.close()


OPTIONS = [
    (socket.SOL_TCP, socket.TCP_NODELAY, b"\1\0\0\0"),
    (socket.SOL_TCP, socket.TCP_USER_TIMEOUT, b"\1\0\0\1"),
    (socket.SOL_TCP, 27, b"\1\0\0\0"),  # TCP_SAVE_SYN
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, b"\1\0\0\0"),
    (socket.SOL_SOCKET, socket.SO_RCVBUF, b"\0\0\1\0"),
    (t.SOL_CFTCP, t.CFTCP_MSL, b"\0\1\0\0"),
] + [(socket.IPPROTO_IP, 4, b"\x94\4\0\0")] * (t.FAMILY == 4)  # IP_OPTIONS


def setting(fault, net):
    ours = net.a.sock()
    for level, name, value in OPTIONS:
        fault("setsockopt", ours.fileno(), level, name, value, len(value))
    ours.close()


def asking(fault, net):
    client, server = pair(net)
    room, size = ctypes.create_string_buffer(300), ctypes.c_int(300)
    for name in 11, 13, 28:  # TCP_INFO, TCP_CONGESTION, TCP_SAVED_SYN
        size.value = 300
        fault("getsockopt", client.fileno(), socket.SOL_TCP, name, room,
              ctypes.byref(size))  # fmt: skip
    exchange(client, server)
    client.close()
    server.close()


def ending(fault, net, call, text, unread):
    """Whatever fails: what was sent arrives, then the end, or a reset if there
    was something unread."""
    client, server = pair(net)
    client.sendall(TEXT[:text])
    if unread:
        server.sendall(b"unread")
        t.wait_for(lambda: net.a.rows(*t.ports(client))[0].rxq, 5, "text")
    if call == "shutdown":
        t.equal(fault("shutdown", client.fileno(), 1), 0)
    else:
        t.equal(fault("close", client.detach()), 0)
    if unread:
        # Its RST may not have been sent; then our own text finds nobody.
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while True:
                server.send(b"anybody?")
                server.recv(100000)
    else:
        t.equal(t.read_all(server) == TEXT[:text], True, "text")
    server.close()
    client.close()


def stopping(fault, net):
    """A listener closes over connections that nobody has accepted."""
    listener = net.a.listener()
    clients = [net.a.sock() for _ in range(2)]
    for client in clients:
        client.connect((t.LOOPBACK, listener.getsockname()[1]))
    half_open = t.Peer(net)
    half_open.dut_port = listener.getsockname()[1]
    half_open.send("S")
    half_open.expect("SA")
    t.equal(fault("close", listener.detach()), 0)
    for client in clients:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while True:
                client.send(b"anybody?")
        client.close()
    half_open.close()


def reading_tables(fault, net):
    room = ctypes.create_string_buffer(30000)
    for name in t.proc_name(), "cftcp_stat":
        path = f"/proc/thread-self/net/{name}".encode()
        with net.a.inside():
            fd = fault("open", path, os.O_RDONLY)
            if fd >= 0:
                fault("read", fd, room, 30000)
                os.close(fd)


def dumping(fault, net):
    """sock_diag's dump, as ss(8) asks for it."""
    with net.a.inside():
        ask = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 4)
    ours = net.a.listener()
    body = struct.pack("=BBBBI48x", t.AF, t.CFTCP & 255, 0, 0, 0xFFF)
    body += struct.pack("=HHI", 8, 3, t.CFTCP)
    message = struct.pack("=IHHII", 16 + len(body), 20, 0x301, 1, 0) + body
    fault("send", ask.fileno(), message, len(message), 0)
    ask.settimeout(1)
    with contextlib.suppress(OSError):
        ask.recv(1 << 16)
    ask.close()
    ours.close()


SCENARIOS = {
    "socket": (opening,),
    "bind-any": (binding, 0),
    "bind": (binding, 4711),
    "listen-unbound": (listening, False, 0),
    "listen-reuseport": (listening, True, 1),
    "connect": (connecting,),
    "accept": (accepting,),
    "send-small": (sending, 5),
    "send-large": (sending, len(TEXT)),
    "send-urgent": (sending, 5, socket.MSG_OOB),
    "send-zerocopy": (sending, 30000, MSG_ZEROCOPY),
    "sendfile": (sending, 30000, 0, "sendfile"),
    "splice-in": (sending, 30000, 0, "splice"),
    "shutdown": (ending, "shutdown", 0, False),
    "close": (ending, "close", 0, False),
    "close-unread": (ending, "close", 10, True),
    "close-listener": (stopping,),
    "proc": (reading_tables,),
    "dump": (dumping,),
}
# These may need none, but all that they need must fail well.
FRUGAL = {
    "listen": (listening, True, 0),
    "recv": (receiving, "recv"),
    "recv-peek": (receiving, "recv", socket.MSG_PEEK),
    "recv-all": (receiving, "recv", socket.MSG_WAITALL),
    "splice-out": (receiving, "splice"),
    "shutdown-text": (ending, "shutdown", len(TEXT), False),
    "close-text": (ending, "close", len(TEXT), False),
    "setsockopt": (setting,),
    "getsockopt": (asking,),
}


def hurry(net):
    net.a.tune(rto_min_ms=20, rto_init_ms=20, msl_ms=10, orphan_timeout_ms=5000,
               fin_wait2_timeout_ms=2000)  # fmt: skip


def settled(net, start):
    t.wait_for(lambda: gauges(net) == start, 30, f"gauges {start}")


@t.test("API", "section-2", cases=SCENARIOS | FRUGAL, seconds=900)
def call(scenario, *args):
    net = t.net()
    start = gauges(net)
    hurry(net)
    least = 0 if (scenario, *args) in FRUGAL.values() else 1
    each_allocation(scenario, net, *args, least=least)
    settled(net, start)


# --- softirq ------------------------------------------------------------------


class Atomic:
    """One allocation that may not sleep fails, of whatever task: the first after
    `space` octets of them."""

    def __init__(self, space):
        self.space = space

    def __enter__(self):
        for name, value in (("space", self.space), ("times", 1),
                            ("ignore-gfp-wait", "Y"), ("probability", 100)):
            knob("failslab", name, value)  # fmt: skip
        return self

    def __exit__(self, *_):
        knob("failslab", "probability", 0)
        knob("failslab", "ignore-gfp-wait", "N")
        with open(f"{DEBUGFS}failslab/times") as file:
            self.injected = int(file.read()) == 0
        knob("failslab", "times", -1)


def conversation(net, listener, to):
    """All of a connection; what is lost for want of memory comes again."""
    for left in reversed(range(20)):
        client = net.a.sock(timeout=30)
        try:
            client.connect((to, listener.getsockname()[1]))
            break
        except OSError as error:  # no port: its bucket may not sleep, either
            t.check(left and -error.errno in NO_PORT | {-errno.EADDRNOTAVAIL}, error)
            client.close()
    server = listener.accept()[0]
    blocking(client, server)
    exchange(client, server)
    client.sendall(TEXT[:30000])
    client.shutdown(socket.SHUT_WR)
    t.equal(t.read_all(server) == TEXT[:30000], True, "text")
    server.sendall(TEXT[:5000])
    server.close()
    t.equal(t.read_all(client) == TEXT[:5000], True, "answer")
    client.close()


@t.test("section-2", "C-31", cases={"loopback": "loopback", "veth": "veth"},
        seconds=900)  # fmt: skip
def softirq(way):
    net = t.net()
    server_ns, to = (net.a, t.LOOPBACK) if way == "loopback" else (
        net.b, net.b.address)  # fmt: skip
    start = gauges(net)
    hurry(net)
    net.b.tune(rto_min_ms=20, rto_init_ms=20, msl_ms=10)
    listener, space = server_ns.listener(t.CFTCP), 0
    while True:
        with Atomic(space) as fault:
            conversation(net, listener, to)
        if not fault.injected:
            break
        space += 192
    t.note(f"up to {space} octets")
    t.check(space > 1000, "little failed")
    listener.close()
    settled(net, start)


@t.test("section-2", seconds=900)
def much_fails_at_once():
    """One of ten allocations in softirq, for a while."""
    net = t.net()
    start, before = gauges(net), net.a.counters()
    hurry(net)
    listener = net.a.listener()
    knob("failslab", "ignore-gfp-wait", "Y")
    t.cleanup(knob, "failslab", "ignore-gfp-wait", "N")
    t.cleanup(knob, "failslab", "probability", 0)
    knob("failslab", "probability", 10)
    for _ in range(50):
        conversation(net, listener, t.LOOPBACK)
    knob("failslab", "probability", 0)
    listener.close()
    settled(net, start)
    after = net.a.counters()
    for name in "DropMemory", "TimeWaitOverflow":
        t.check(after[name] > before[name], f"{name} did not count")


# --- namespaces, the module ---------------------------------------------------

CLONE_NEWNET = t.CLONE_NEWNET


def total(call):
    """How many allocations a call makes; fault -> None."""
    fault = Fault(MUCH)
    call(fault)
    os.close(fault.file)
    return MUCH - fault.left


def new_namespace(fault):
    """Ours is the last of the subsystems that have state in it."""
    own = os.open(t.OWN_NET, os.O_RDONLY)
    try:
        if not fault("unshare", CLONE_NEWNET):
            with socket.socket(t.AF, socket.SOCK_STREAM, t.CFTCP):
                pass
    finally:
        t._sys("setns", own, CLONE_NEWNET)
        os.close(own)


@t.test("section-2", seconds=900)
def namespace():
    needs = total(new_namespace)
    t.note(f"{needs} allocations")
    each_allocation(new_namespace, first=max(1, needs - 200))
    m.gone()


def load(fault):
    file = os.open(m._path(), os.O_RDONLY)
    try:
        if not fault("syscall", m.FINIT_MODULE, file, b"", 0):
            m.unload_soon()
    finally:
        os.close(file)


@t.test("section-2", seconds=1800)
def loading():
    t.cleanup(m.keep_loaded)
    m.unload_soon(60)
    needs = total(load)
    t.note(f"{needs} allocations")
    each_allocation(load, first=random.randint(1, 9), stride=10)
    m.load()
    t.net().a.sock().close()


if __name__ == "__main__":
    if "--list" not in sys.argv:
        prepare()
    t.main(family=t.FAMILY if t.DEBUG else None)
