# SPDX-License-Identifier: GPL-2.0
"""What the cftcp selftests share.

A test program is a list of functions marked with @test("C-14", "MUST-13"),
ended by cftest.main(). Results go out as KTAP. Namespaces, sockets, sysctls and
whatever else a test makes are given back after it by cleanup().

CFTCP_PROTO   protocol under test (default 257; 6 runs a test on stock TCP)
CFTCP_FAMILY  4 (default) or 6: what sockets, addresses and segments are of
CFTCP_DEBUG   1: debug kernel, slow and in real time: small loads, wide limits

Tests name no address: ANY, LOOPBACK, GHOST, net.a.address are of the family.
What is about one family or about none says @test(..., family=4), or
main(family=4) for a whole program, and is not in the other run's plan: --list
prints nothing for a program without tests of CFTCP_FAMILY.
"""

import collections
import contextlib
import ctypes
import errno
import fcntl
import hashlib
import inspect
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback

STOCK = socket.IPPROTO_TCP
CFTCP = 257
DUT = int(os.environ.get("CFTCP_PROTO", CFTCP))
FAMILY = int(os.environ.get("CFTCP_FAMILY", 4))
DEBUG = os.environ.get("CFTCP_DEBUG") == "1"
# Of what neither family nor kernel matters to, all is done once.
LESS = FAMILY == 6 or os.environ.get("CFTCP_LESS") == "1"
SLOW = 20 if DEBUG else 1  # factor on how long a test will wait

SOL_TCP = socket.IPPROTO_TCP
SOL_CFTCP = 1257
CFTCP_MSL = 1
TCP_LINGER2 = 8
TCP_USER_TIMEOUT = 18

MTU = 1500  # of the devices of a Net
if FAMILY == 6:
    AF = socket.AF_INET6
    ANY, LOOPBACKS = "::", ("::1", "fd7f::2", "fd7f::3", "fd7f::4")
    ELSEWHERE, MULTICAST = "2001:db8::99", "ff0e::1"
    IP_HEADER, DEFAULT_MSS = 40, 1220
    IP, IP_TOS, IP_TTL, IP_MINTTL = (
        socket.IPPROTO_IPV6,
        socket.IPV6_TCLASS,
        socket.IPV6_UNICAST_HOPS,
        73,
    )
else:
    AF = socket.AF_INET
    ANY = "0.0.0.0"
    LOOPBACKS = "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4"
    ELSEWHERE, MULTICAST = "192.0.2.99", "239.1.2.3"
    IP_HEADER, DEFAULT_MSS = 20, 536
    IP, IP_TOS, IP_TTL, IP_MINTTL = (
        socket.IPPROTO_IP,
        socket.IP_TOS,
        socket.IP_TTL,
        21,
    )
LOOPBACK = LOOPBACKS[0]
MSS = MTU - IP_HEADER - 20
PROTO_NAME = "CFTCPv6" if FAMILY == 6 else "CFTCP"  # in /proc/net/protocols

STATES = {
    1: "ESTABLISHED",
    2: "SYN-SENT",
    3: "SYN-RECEIVED",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    7: "CLOSED",
    8: "CLOSE-WAIT",
    9: "LAST-ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN-RECEIVED",
}


# --- running tests and telling the result -----------------------------------

Test = collections.namedtuple("Test", "name ids function args seconds")
_tests = []
_cleanups = []


class Failure(AssertionError):
    """The thing under test did not do what the test wants."""


def test(*ids, cases=None, seconds=3000, family=FAMILY):
    """Register a function; `cases` {name: arguments} gives one test for each.

    A case's arguments may be a tuple. What a case covers beyond the ids of
    its function belongs into the case's name: that is printed too. `family` is
    given where it matters: the test is of that family's run only.
    """

    def register(function):
        if family != FAMILY:
            return function
        if cases is None:
            _tests.append(Test(function.__name__, ids, function, (), seconds))
        for name, args in (cases or {}).items():
            args = args if isinstance(args, tuple) else (args,)
            _tests.append(
                Test(
                    f"{function.__name__}.{name}", ids, function, args, seconds
                )
            )
        return function

    return register


def note(*words):
    """A diagnostic line; never judged by anyone."""
    for line in " ".join(map(str, words)).splitlines():
        print("#", line, flush=True)


def cleanup(function, *args):
    """Call this after the running test, last registered first."""
    _cleanups.append((function, args))


def clean_up():
    problem = None
    while _cleanups:
        function, args = _cleanups.pop()
        try:
            function(*args)
        except Exception:
            problem = traceback.format_exc()
    return problem


def _overdue(*_):
    raise Failure("the test ran over its time limit")


def _where(error):
    """The line of the test itself that failed, not of a helper in here."""
    frames = traceback.extract_tb(error.__traceback__)
    here = sys.argv[0]
    frames = [f for f in frames if f.filename.endswith(here[1:])] or frames
    frame = frames[-1]
    return f"{os.path.basename(frame.filename)}:{frame.lineno}: {frame.line}"


def _run(one):
    signal.alarm(one.seconds)
    try:
        one.function(*one.args)
        problem = None
    except Failure as error:
        problem = f"{error}\n  at {_where(error)}"
    except Exception:
        problem = traceback.format_exc()
    finally:
        signal.alarm(0)
    return problem, clean_up()


def _selected():
    words = [w for w in sys.argv[1:] if not w.startswith("-")]
    return [t for t in _tests if not words or any(w in t.name for w in words)]


def main(family=FAMILY):
    """Run the tests (those whose names hold a word of argv), and exit.

    A `family` means that the whole program is of that family's run only."""
    chosen = _selected() if family == FAMILY else []
    if "--list" in sys.argv:
        for one in chosen:
            print(one.name, " ".join(one.ids), sep="\t")
        sys.exit(0)
    print("TAP version 13", flush=True)
    if not chosen:
        print("1..0 # SKIP no such test of this family")
        sys.exit(4)
    try:
        socket.socket(AF, socket.SOCK_STREAM, DUT).close()
    except OSError as error:
        print(f"1..0 # SKIP no protocol {DUT} here, load the module: {error}")
        sys.exit(4)
    print(f"1..{len(chosen)}", flush=True)
    signal.signal(signal.SIGALRM, _overdue)
    failed = 0
    for number, one in enumerate(chosen, 1):
        began = time.monotonic()
        problem, unclean = _run(one)
        problem = problem or unclean and f"cleaning up: {unclean}"
        if problem:
            failed += 1
            note(problem)
        note(f"took {time.monotonic() - began:.3f} s")
        ids = " ".join(one.ids)
        print(
            "not ok" if problem else "ok",
            number,
            one.name,
            f"# ids: {ids}" if ids else "",
            flush=True,
        )
    print(
        f"# Totals: pass:{len(chosen) - failed} fail:{failed} xfail:0 "
        "xpass:0 skip:0 error:0",
        flush=True,
    )
    Trace.remove()
    sys.stdout.flush()
    os._exit(1 if failed else 0)  # no waiting for threads left behind


# --- judging ----------------------------------------------------------------


def fail(*words):
    raise Failure(" ".join(map(str, words)))


def check(truth, *words):
    if not truth:
        fail(*(words or ("not so",)))


def equal(seen, wanted, what=""):
    if seen != wanted:
        fail(f"{what or 'value'}: wanted {wanted!r}, saw {seen!r}")


def between(seen, low, high, what=""):
    if not low <= seen <= high:
        fail(f"{what or 'value'}: wanted {low} to {high}, saw {seen}")


def near(seen, wanted, part=0.01, slack=0, what=""):
    """`seen` is `wanted`, give or take that part of it and `slack`.

    A duration (`what` tells its unit) is seen late on the debug kernel, where
    looking takes long itself; 1 % is for virtual time."""
    off = wanted * part * (30 if DEBUG else 1) + slack * SLOW
    late = (500 if what.startswith("ms") else 0.5) if DEBUG else 0
    between(seen, wanted - off, wanted + off + late, what)


@contextlib.contextmanager
def fails_with(*numbers):
    """The block must end in an OSError with one of these errno values."""
    wanted = " or ".join(errno.errorcode[n] for n in numbers)
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            fail(f"wanted {wanted}, saw {errno.errorcode.get(error.errno)}")
    else:
        fail(f"wanted {wanted}, saw success")


def wait_for(predicate, timeout=5, what="", every=0.001):
    """Poll until the predicate is true, and return what it returned.

    Polls less often the longer it takes; to measure there is gone_after()."""
    began = time.monotonic()
    while True:
        seen = predicate()
        if seen:
            return seen
        passed = time.monotonic() - began
        if passed > timeout * SLOW:
            what = what or inspect.getsource(predicate).strip()
            fail(f"not within {timeout} s: {what}")
        time.sleep(max(every, min(passed / 20, 0.1)))


class Background(threading.Thread):
    """Run a function beside the test; result() returns or raises its end."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.call = function, args
        self.value = self.error = None
        self.start()

    def run(self):
        function, args = self.call
        try:
            self.value = function(*args)
        except BaseException as error:
            self.error = error

    def result(self, timeout=60):
        self.join(timeout * SLOW)
        if self.is_alive():
            fail(f"{self.call[0].__name__} not done within {timeout} s")
        if self.error:
            raise self.error
        return self.value


# --- namespaces -------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
OWN_NET = "/proc/thread-self/ns/net"


def _sys(name, *args):
    if getattr(_libc, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _end(text):
    """(address, port) of one end as /proc/net/tcp and tcp6 print it."""
    digits, port = text.split(":")
    words = (digits[at : at + 8] for at in range(0, len(digits), 8))
    raw = b"".join(struct.pack("=I", int(word, 16)) for word in words)
    return _address(raw), int(port, 16)


def address_of(host, family=FAMILY):
    """The address of a host of a Net."""
    return f"fd09::{host:x}" if family == 6 else f"10.9.0.{host}"


GHOST_HOST = 9
GHOST, GHOST_MAC = address_of(GHOST_HOST), "02:00:00:00:00:09"
SUBNET = "fd09::/64" if FAMILY == 6 else "10.9.0.0/24"
# No duplicate address detection, link-local addresses, router solicitations.
QUIET_IPV6 = {"accept_dad": 0, "addr_gen_mode": 1, "router_solicitations": 0}


def proc_name(proto=None, family=FAMILY):
    """What a protocol's table is called in /proc/net."""
    stock = (DUT if proto is None else proto) == STOCK
    return ("tcp" if stock else "cftcp") + ("6" if family == 6 else "")


Row = collections.namedtuple(
    "Row",
    "laddr lport raddr rport state txq rxq "
    "timer expires retrans uid timeout inode",
)


def _row(line):
    word = line.split()
    txq, rxq = (int(x, 16) for x in word[4].split(":"))
    timer, expires = (int(x, 16) for x in word[5].split(":"))
    return Row(
        *_end(word[1]),
        *_end(word[2]),
        STATES[int(word[3], 16)],
        txq,
        rxq,
        timer,
        expires / os.sysconf("SC_CLK_TCK"),
        int(word[6], 16),
        int(word[7]),
        int(word[8]),
        int(word[9]),
    )


class Namespace:
    """A network namespace of this process; gone when nothing uses it.

    IPv6 is silent in it, with no address of its own making, and off in a run
    of IPv4. In one of IPv6 there is an IPv4 address besides, address4."""

    def __init__(self, name, host=None, device=None, mac=None):
        self.name, self.host = name, host
        if host:
            self.address = address_of(host)
            self.address4 = address_of(host, 4)
        self.device, self.mac = device, mac
        own = os.open(OWN_NET, os.O_RDONLY)
        _sys("unshare", CLONE_NEWNET)
        self.fd = os.open(OWN_NET, os.O_RDONLY)
        _sys("setns", own, CLONE_NEWNET)
        os.close(own)
        with self.inside(), contextlib.suppress(OSError):
            conf = "/proc/sys/net/ipv6/conf/"
            _write(conf + "all/disable_ipv6", int(FAMILY != 6 or not host))
            for name, value in QUIET_IPV6.items():
                _write(f"{conf}default/{name}", value)
        self.batch("link set lo up", *(_more_loopbacks() if host else ()))

    @contextlib.contextmanager
    def inside(self):
        """Move the calling thread in here for a block."""
        own = os.open(OWN_NET, os.O_RDONLY)
        _sys("setns", self.fd, CLONE_NEWNET)
        try:
            yield self
        finally:
            _sys("setns", own, CLONE_NEWNET)
            os.close(own)

    def run(self, command, **options):
        """Run a command line in here and return its output."""
        options = {
            "check": True,
            "text": True,
            "shell": isinstance(command, str),
            "stdout": subprocess.PIPE,
            **options,
        }
        with self.inside():
            return subprocess.run(command, **options).stdout

    def batch(self, *lines):
        self.run(["ip", "-batch", "-"], input="\n".join(lines) + "\n")

    def sock(self, proto=None, timeout=20, kind=socket.SOCK_STREAM, family=AF):
        """A socket in here: cftcp's, or the protocol's that is given."""
        with self.inside():
            made = socket.socket(family, kind, DUT if proto is None else proto)
        made.settimeout(timeout and timeout * SLOW)
        cleanup(made.close)
        return made

    def listener(self, proto=None, port=0, backlog=128, address=ANY):
        made = self.sock(proto)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(backlog)
        return made

    def sysctl(self, name, value=None):
        """Read net.<name>, or set it until the test ends."""
        path = "/proc/sys/net/" + name.replace(".", "/")
        with self.inside():
            with open(path) as file:
                old = file.read().strip()
            if value is None:
                return old
            _write(path, value)
        if str(value) != old:
            cleanup(self._restore, path, old)
        return old

    def _restore(self, path, value):
        with self.inside():
            _write(path, value)

    def tune(self, **values):
        """Set net.cftcp.* until the test ends; nothing on stock TCP."""
        for name, value in values.items():
            if DUT == CFTCP:
                self.sysctl("cftcp." + name, value)

    def read(self, path):
        """A file of /proc/net as this namespace sees it."""
        with self.inside(), open("/proc/thread-self/net/" + path) as file:
            return file.read()

    def table(self, proto=None):
        """The rows of /proc/net/cftcp or /proc/net/tcp, or of IPv6's."""
        lines = self.read(proc_name(proto)).splitlines()[1:]
        return [_row(line) for line in lines if line.strip()]

    def rows(self, lport=None, rport=None, proto=None):
        """The connections (no listeners) with these ports."""
        return [
            r
            for r in self.table(proto)
            if r.state != "LISTEN"
            and (lport is None or r.lport == lport)
            and (rport is None or r.rport == rport)
        ]

    def state(self, lport, rport=None, proto=None, address=None):
        """The state of one connection: CLOSED when there is none."""
        found = [
            r
            for r in self.rows(lport, rport, proto)
            if address in (None, r.laddr)
        ]
        return found[0].state if found else "CLOSED"

    def wait_state(
        self, state, lport, rport=None, proto=None, timeout=5, address=None
    ):
        """Poll until the connection is in this state."""
        seen = []

        def there():
            now = self.state(lport, rport, proto, address)
            if not seen or seen[-1] != now:
                seen.append(now)
            return now == state

        try:
            wait_for(there, timeout, "state")
        except Failure:
            fail(f"{self.name}: wanted {state}, saw {' then '.join(seen)}")

    def gone_after(self, since, expected, lport, rport=None):
        """How many ms after `since` (time_ns) a connection left the table.

        Looks rarely at first and often near the expected time (ms)."""
        while self.state(lport, rport) != "CLOSED":
            passed = (time.time_ns() - since) / 1e6
            if passed > expected * 1.5 + 2000 * SLOW:
                fail(f"still {self.state(lport, rport)} after {passed:.0f} ms")
            rest = expected * 0.97 - passed
            time.sleep(rest / 1000 if rest > 0 else min(expected / 2e6, 0.05))
        return (time.time_ns() - since) / 1e6

    def counters(self):
        """The counters of /proc/net/cftcp_stat."""
        if DUT != CFTCP:
            return collections.Counter()
        words = self.read("cftcp_stat").split()
        return collections.Counter(dict(zip(words[::2], map(int, words[1::2]))))

    def netem(self, options):
        """Give the device this netem discipline until the test ends."""
        self.run(f"tc qdisc replace dev {self.device} root netem {options}")
        cleanup(self.run, f"tc qdisc del dev {self.device} root")

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def _write(path, value):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, str(value).encode())
    finally:
        os.close(fd)


SIOCETHTOOL = 0x8946
OFFLOADS = (
    0x15,
    0x17,
    0x19,
    0x1F,
    0x25,
    0x24,
    0x2C,
)  # rx tx sg tso ufo gso gro


def _no_offload(namespace, device):
    """What a capture shows is then what was sent: checksums, sizes, PSH."""
    with namespace.inside(), socket.socket() as any_socket:
        for command in OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("=II", command, 0))
            request = struct.pack(
                "16sP16x", device.encode(), ctypes.addressof(value)
            )
            with contextlib.suppress(OSError):
                fcntl.ioctl(any_socket, SIOCETHTOOL, request)


def _more_loopbacks():
    """IPv4 has a whole network of them already."""
    for one in LOOPBACKS[1:] if FAMILY == 6 else ():
        yield f"addr add {one}/128 dev lo"


class Net:
    """Namespaces a and b, joined by a veth pair; the wire between is optional.

    a 10.9.0.1 (a0) ------ b 10.9.0.2 (b0), or fd09::1 and fd09::2; GHOST is an
    address that no kernel owns, a hand-made peer uses it on b0. With wire=True
    every frame between a and b goes through a Wire, which may lose, repeat,
    delay and swap them.
    """

    def __init__(self, wire=False):
        self.a = Namespace("a", 1, "a0", "02:00:00:00:00:01")
        self.b = Namespace("b", 2, "b0", "02:00:00:00:00:02")
        self.wire = None
        if wire:
            middle = Namespace("w")
            self._join(self.a, middle, "w0")
            self._join(self.b, middle, "w1")
            self.wire = Wire(middle, "w0", "w1")
        else:
            self.a.batch(
                f"link add a0 address {self.a.mac} type veth peer "
                f"name b0 netns /proc/{os.getpid()}/fd/{self.b.fd}"
            )
        for here, there in ((self.a, self.b), (self.b, self.a)):
            here.batch(
                f"link set {here.device} address {here.mac} up",
                *_attach(here, there, 4),
                *(_attach(here, there, 6) if FAMILY == 6 else ()),
            )
            _no_offload(here, here.device)

    @staticmethod
    def _join(end, middle, name):
        end.batch(
            f"link add {end.device} type veth peer name {name} "
            f"netns /proc/{os.getpid()}/fd/{middle.fd}"
        )
        middle.batch(f"link set {name} up")
        _no_offload(middle, name)

    def close(self):
        if self.wire:
            self.wire.close()
            self.wire.namespace.close()
        self.a.close()
        self.b.close()


def _attach(here, there, family):
    """The ip commands that give an address and the neighbours."""
    dev = f"dev {here.device}"
    own, nodad = ("/24", "") if family == 4 else ("/64", "nodad")
    yield f"addr add {address_of(here.host, family)}{own} {dev} {nodad}"
    for host, mac in ((there.host, there.mac), (GHOST_HOST, GHOST_MAC)):
        to = address_of(host, family)
        yield f"neigh replace {to} lladdr {mac} {dev} nud permanent"


_shared = {}


def net(wire=False):
    """The net that all tests of a program share: made once, never torn down."""
    if wire not in _shared:
        _shared[wire] = Net(wire)
    if wire:
        _shared[wire].wire.reset()
    return _shared[wire]


def own_net(wire=False):
    """A net for this test alone."""
    made = Net(wire)
    cleanup(made.close)
    return made


# --- segments ---------------------------------------------------------------

FLAGS = "FSRPAUEC"


def flag_bits(letters):
    return sum(1 << FLAGS.index(letter) for letter in letters)


def flag_letters(bits):
    return "".join(x for i, x in enumerate(FLAGS) if bits >> i & 1)


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _raw(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address)


def _address(raw):
    family = socket.AF_INET6 if len(raw) == 16 else socket.AF_INET
    return socket.inet_ntop(family, raw)


def _pseudo(src, dst, proto, length):
    """The pseudo header of the family: of 12 or 40 octets."""
    form = ">II" if ":" in src else ">HH"
    rest = (length, proto) if ":" in src else (proto, length)
    return _raw(src) + _raw(dst) + struct.pack(form, *rest)


def opt_mss(value):
    return struct.pack(">BBH", 2, 4, value)


def opt_ws(shift):
    return bytes((3, 3, shift))


def opt_ts(value, echo=0):
    return struct.pack(">BBII", 8, 10, value & 0xFFFFFFFF, echo & 0xFFFFFFFF)


def opt_sack(*blocks):
    return struct.pack(">BB", 5, 2 + 8 * len(blocks)) + b"".join(
        struct.pack(">II", a & 0xFFFFFFFF, b & 0xFFFFFFFF) for a, b in blocks
    )


SACK_OK = b"\4\2"
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
ETH_P = ETH_P_IPV6 if FAMILY == 6 else ETH_P_IP


def _mac(text):
    return bytes.fromhex(text.replace(":", ""))


def build(
    src,
    dst,
    sport,
    dport,
    seq,
    ack,
    flags,
    win=65535,
    opts=b"",
    data=b"",
    urg=0,
    doff=None,
    csum=None,
    ip_options=b"",
    ttl=64,
    tos=0,
    src_mac=GHOST_MAC,
    dst_mac="02:00:00:00:00:01",
):
    """An Ethernet frame with one TCP segment; wrong csum and doff as asked."""
    opts += b"\1" * (-len(opts) % 4)
    doff = 5 + len(opts) // 4 if doff is None else doff
    bits = flags if isinstance(flags, int) else flag_bits(flags)
    tcp = struct.pack(
        ">HHIIBBHHH",
        sport,
        dport,
        seq & 0xFFFFFFFF,
        ack & 0xFFFFFFFF,
        doff << 4 & 0xF0,
        bits,
        win,
        0,
        urg,
    )
    tcp += opts + data
    right = checksum(_pseudo(src, dst, 6, len(tcp)) + tcp)
    value = right if csum is None else csum(right) if callable(csum) else csum
    tcp = tcp[:16] + struct.pack(">H", value) + tcp[18:]
    return ip_frame(src, dst, tcp, ip_options, ttl, tos, src_mac, dst_mac)


def _ipv4(src, dst, payload, options, ttl, tos, proto):
    size = 20 + len(options)
    first = 0x40 + size // 4, tos, size + len(payload), 1, 0x4000
    head = struct.pack(">BBHHHBBH", *first, ttl, proto, 0)
    head += _raw(src) + _raw(dst) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:]


def _ipv6(src, dst, payload, options, hops, tclass, proto):
    more = b""
    if options:
        options += b"\0" * (-(2 + len(options)) % 8)
        more = bytes((proto, (2 + len(options)) // 8 - 1)) + options
        proto = DESTINATION_OPTIONS
    first = 6 << 28 | tclass << 20, len(more) + len(payload)
    head = struct.pack(">IHBB", *first, proto, hops)
    return head + _raw(src) + _raw(dst) + more


def ip_frame(
    src,
    dst,
    payload,
    ip_options=b"",
    ttl=64,
    tos=0,
    src_mac=GHOST_MAC,
    dst_mac="02:00:00:00:00:01",
    proto=6,
):
    """An Ethernet frame with one IP packet, of the family of its addresses.

    ip_options of IPv6 are those of a destination options header."""
    six = ":" in src
    header = _ipv6 if six else _ipv4
    kind = ETH_P_IPV6 if six else ETH_P_IP
    ip = header(src, dst, payload, ip_options, ttl, tos, proto)
    return (
        _mac(dst_mac) + _mac(src_mac) + struct.pack(">H", kind) + ip + payload
    )


PORT_UNREACHABLE, TOO_BIG = "port unreachable", "packet too big"
ICMP = {PORT_UNREACHABLE: (3, 3), TOO_BIG: (3, 4)}
ICMPV6 = {PORT_UNREACHABLE: (1, 4), TOO_BIG: (2, 0)}


def icmp_frame(src, dst, what, quote, rest=0, **odd):
    """An ICMP error of the family: its name, or (type, code), and MTU or such.

    `quote` is (the beginning of) the packet that it is about."""
    six = ":" in src
    kind, code = (ICMPV6 if six else ICMP).get(what, what)
    body = struct.pack(">BBHI", kind, code, 0, rest) + quote
    proto = 58 if six else 1
    pseudo = _pseudo(src, dst, proto, len(body)) if six else b""
    csum = checksum(pseudo + body)
    body = body[:2] + struct.pack(">H", csum) + body[4:]
    return ip_frame(src, dst, body, proto=proto, **odd)


HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS = 0, 43, 60
EXTENSIONS = HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS


def _tcp_at(frame):
    """Where the TCP header of a frame begins: beyond it if there is none."""
    kind, end = frame[12:14], len(frame)
    if kind == b"\x08\x00" and end > 34 and frame[23] == 6:
        return 14 + (frame[14] & 15) * 4
    if kind != b"\x86\xdd" or end < 54:
        return end
    proto, at = frame[20], 54
    while proto in EXTENSIONS and at + 8 <= end:
        proto, at = frame[at], at + 8 * (frame[at + 1] + 1)
    return at if proto == 6 else end


class Segment:
    """One captured TCP segment. seq and ack are as on the wire; rel_seq and
    rel_ack count from the SYNs once the flow has seen them (see Flows)."""

    def __init__(self, time_ns, frame):
        ip = frame[14:]
        size = _tcp_at(frame) - 14
        self.time, self.frame = time_ns, frame
        if ip[0] >> 4 == 4:
            self.total = struct.unpack_from(">H", ip, 2)[0]
            self.tos, self.ttl = ip[1], ip[8]
            self.src, self.dst = _address(ip[12:16]), _address(ip[16:20])
        else:
            first, length = struct.unpack_from(">IH", ip)
            self.total = 40 + length
            self.tos, self.ttl = first >> 20 & 0xFF, ip[7]
            self.src, self.dst = _address(ip[8:24]), _address(ip[24:40])
        tcp = self.tcp = ip[size : self.total]
        (
            self.sport,
            self.dport,
            self.seq,
            self.ack,
            doff,
            bits,
            self.win,
            self.csum,
            self.urg,
        ) = struct.unpack_from(">HHIIBBHHH", tcp)
        doff = (doff >> 4) * 4
        self.flags = flag_letters(bits)
        self.data = tcp[doff:]
        self.len = self.total - size - doff
        self.opts = _options(tcp[20:doff])
        self.rel_seq = self.rel_ack = None

    @property
    def ms(self):
        return self.time / 1e6

    @property
    def span(self):
        """SEG.LEN: what it takes of the sequence space."""
        return self.len + ("S" in self.flags) + ("F" in self.flags)

    @property
    def csum_ok(self):
        pseudo = _pseudo(self.src, self.dst, 6, len(self.tcp))
        return checksum(pseudo + self.tcp) == 0

    @property
    def tuple(self):
        return self.src, self.sport, self.dst, self.dport

    def has(self, letters):
        return all(letter in self.flags for letter in letters)

    def is_flags(self, letters):
        """The same flags; PSH counts only where it is asked for."""
        mine = set(self.flags) - (set() if "P" in letters else {"P"})
        return mine == set(letters)

    @property
    def kind(self):
        """The flags as the RFCs write them: FIN,ACK."""
        names = (
            ("S", "SYN"),
            ("F", "FIN"),
            ("R", "RST"),
            ("P", "PSH"),
            ("U", "URG"),
            ("A", "ACK"),
        )
        return ",".join(long for short, long in names if short in self.flags)

    def __repr__(self):
        seq = self.seq if self.rel_seq is None else self.rel_seq
        ack = self.ack if self.rel_ack is None else self.rel_ack
        ack = f" ack {ack}" if "A" in self.flags else ""
        size = f" len {self.len}" if self.len else ""
        return (
            f"<{self.sport}>{self.dport} [{self.flags}] seq {seq}{ack}{size} "
            f"win {self.win}>"
        )


def _options(raw):
    found, at = {}, 0
    while at < len(raw) and raw[at]:
        if raw[at] == 1:
            at += 1
            continue
        if at + 1 >= len(raw) or raw[at + 1] < 2:
            break
        kind, body = raw[at], raw[at + 2 : at + raw[at + 1]]
        at += raw[at + 1]
        if kind == 2 and len(body) == 2:
            found["mss"] = struct.unpack(">H", body)[0]
        elif kind == 3 and body:
            found["ws"] = body[0]
        elif kind == 4:
            found["sackok"] = True
        elif kind == 8 and len(body) == 8:
            found["ts"] = struct.unpack(">II", body)
        elif kind == 5:
            edges = struct.unpack(f">{len(body) // 4}I", body)
            found["sack"] = list(zip(edges[::2], edges[1::2]))
        else:
            found[kind] = body
    return found


class Flows:
    """Keeps each direction's first sequence number, and counts from there."""

    def __init__(self):
        self.first = {}

    def number(self, seg):
        forth, back = seg.tuple, (seg.dst, seg.dport, seg.src, seg.sport)
        if "S" in seg.flags or forth not in self.first and "R" not in seg.flags:
            self.first[forth] = seg.seq
        if "A" in seg.flags and back not in self.first:
            self.first[back] = seg.ack - 1
        seg.rel_seq = distance(seg.seq, self.first.get(forth, 0))
        seg.rel_ack = distance(seg.ack, self.first.get(back, 0))
        return seg


def distance(number, base):
    """number - base, as a small signed figure."""
    return (number - base + 0x80000000 & 0xFFFFFFFF) - 0x80000000


SO_TIMESTAMPNS = 35
PACKET_IGNORE_OUTGOING = 23
ETH_P_ALL = 0x0003


def _packet_socket(namespace, device, protocol=ETH_P_ALL):
    with namespace.inside():
        made = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol)
        )
        made.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        made.bind((device, protocol))
    made.setblocking(False)
    time.sleep(0.002)  # the kernel switches time stamps on a little later
    return made


def _receive(packet_socket, size=65600):
    """(time, frame, how it came) of the next frame, or None."""
    try:
        frame, notes, _, sender = packet_socket.recvmsg(size, 64)
    except BlockingIOError:
        return None
    stamp = time.time_ns()
    for level, kind, value in notes:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, rest = struct.unpack("qq", value[:16])
            stamp = seconds * 10**9 + rest
    return stamp, frame, sender[2]


def _is_tcp(frame):
    return _tcp_at(frame) + 20 <= len(frame)


class Capture:
    """What passes a device, in both directions, since this was made."""

    def __init__(self, namespace, device=None, port=None):
        self.device = device or namespace.device
        self.port = port
        self.list, self.flows = [], Flows()
        self.socket = _packet_socket(namespace, self.device)
        cleanup(self.socket.close)

    def segments(self, port=None):
        """All segments so far, those of one port if it is given."""
        while (got := _receive(self.socket)) is not None:
            stamp, frame, how = got
            twice = self.device == "lo" and how == socket.PACKET_OUTGOING
            if _is_tcp(frame) and not twice:
                self.list.append(self.flows.number(Segment(stamp, frame)))
        port = port or self.port
        return [s for s in self.list if port in (None, s.sport, s.dport)]

    def wait(self, predicate, timeout=5, what=""):
        """Poll until some segment fits, and return it."""

        def found():
            return next((s for s in self.segments() if predicate(s)), None)

        try:
            return wait_for(found, timeout, what or "segment")
        except Failure as error:
            fail(f"{error}\n" + ladder(self.segments()))


def ladder(segments, left=None):
    """The segments as text, one line each, the left end's going right."""
    lines = []
    for seg in segments:
        left = left or (seg.src, seg.sport)
        arrow = "-->" if (seg.src, seg.sport) == left else "<--"
        ack = f"<ACK={seg.rel_ack}>" if "A" in seg.flags else ""
        size = f"<LEN={seg.len}>" if seg.len else ""
        lines.append(
            f"{(seg.time - segments[0].time) / 1e6:12.3f} ms {arrow} "
            f"<SEQ={seg.rel_seq}>{ack}<CTL={seg.kind}>{size}"
        )
    return "\n".join(lines)


# --- a wire that does what it is told ---------------------------------------


class Rule:
    """What to do with the next `times` segments that `match`."""

    def __init__(self, match, action, times, ms):
        self.match, self.action, self.times, self.ms = match, action, times, ms
        self.hits = 0


class Wire(threading.Thread):
    """Carries frames between two devices. Rules: pass, drop, dup, swap (the
    next one of the direction goes first), delay (by `ms`). log holds
    (segment, action) of all that came."""

    def __init__(self, namespace, left, right):
        super().__init__(daemon=True)
        self.namespace = namespace
        self.ends = [
            _packet_socket(namespace, left),
            _packet_socket(namespace, right),
        ]
        for end in self.ends:
            end.setsockopt(263, PACKET_IGNORE_OUTGOING, 1)  # SOL_PACKET
        self.running = True
        self.reset()
        self.start()

    def reset(self):
        """Forget rules, record and frames on the way."""
        self.rules, self.log, self.flows = [], [], Flows()
        self.late, self.swapped = [], [None, None]
        self.latency = 0

    def on(self, match, action, times=1, ms=50):
        """match(segment, right) with right True for a -> b. times=None: all."""
        rule = Rule(match, action, times, ms)
        self.rules.append(rule)
        return rule

    def segments(self, port=None):
        return [s for s, _ in self.log if port in (None, s.sport, s.dport)]

    def close(self):
        self.running = False
        self.join(2 * SLOW)
        for end in self.ends:
            end.close()

    def run(self):
        while self.running:
            pause = 0.1
            if self.late:
                pause = max(
                    0, min(t for t, _, _ in self.late) - time.monotonic()
                )
            ready = select.select(self.ends, [], [], pause)[0]
            now = time.monotonic()
            for late in [x for x in self.late if x[0] <= now]:
                self.late.remove(late)
                self._put(late[1], late[2])
            for side in (0, 1):
                while self.ends[side] in ready:
                    got = _receive(self.ends[side])
                    if got is None:
                        break
                    self._take(side, *got[:2])

    def _put(self, side, frame):
        with contextlib.suppress(OSError):
            self.ends[1 - side].send(frame)

    def _verdict(self, seg, right):
        for rule in self.rules:
            if rule.times != 0 and rule.match(seg, right):
                rule.hits += 1
                if rule.times is not None:
                    rule.times -= 1
                return rule.action, rule.ms
        return "pass", 0

    def _take(self, side, stamp, frame):
        if not _is_tcp(frame):
            return self._put(side, frame)
        seg = self.flows.number(Segment(stamp, frame))
        action, ms = self._verdict(seg, side == 0)
        self.log.append((seg, action))
        held, self.swapped[side] = self.swapped[side], None
        if action == "drop":
            pass
        elif action == "delay" or self.latency:
            due = time.monotonic() + (ms or self.latency) / 1000
            self.late.append((due, side, frame))
        elif action == "swap":
            self.swapped[side] = frame
            self.late.append((time.monotonic() + ms / 1000, side, frame))
        else:
            self._put(side, frame)
        if action == "dup":
            self._put(side, frame)
        if held is not None and (late := self._late(held)):
            self.late.remove(late)
            self._put(side, held)

    def _late(self, frame):
        return next((x for x in self.late if x[2] is frame), None)


# --- a peer made by hand ----------------------------------------------------


class Peer:
    """One end of a connection, spoken by the test itself from GHOST.

    Numbers in send() and expect() are relative: the SYN of a direction is 0.
    nxt is the next number of ours, rcv the next one that we expect.
    """

    ports = 20000 + os.getpid() % 2000

    def __init__(
        self,
        over,
        port=None,
        iss=1000,
        win=65535,
        mss=MSS,
        ts=False,
        sack=False,
        ws=None,
        address=GHOST,
    ):
        self.net, self.address, self.iss, self.win = over, address, iss, win
        self.mss, self.ts, self.sack, self.ws = mss, ts, sack, ws
        Peer.ports += 1
        self.port = port or Peer.ports
        self.dut_port = None
        self.irs, self.nxt, self.rcv = 0, 0, 0
        self.ts_now, self.ts_recent = 1000000, 0
        self.queue, self.all = [], []
        self.socket = _packet_socket(over.b, over.b.device, ETH_P)
        cleanup(self.socket.close)

    # sending

    def send(
        self,
        flags="A",
        seq=None,
        ack=None,
        data=b"",
        win=None,
        opts=None,
        **odd,
    ):
        """Send a segment; without seq it is the next one and is counted."""
        seg_len = len(data) + ("F" in flags) + ("S" in flags)
        number = self.nxt if seq is None else seq
        if seq is None:
            self.nxt += seg_len
        ack = self.rcv if ack is None else ack
        opts = self._default_opts(flags) if opts is None else opts
        frame = build(
            self.address,
            self.net.a.address,
            self.port,
            self.dut_port,
            self.iss + number,
            self.irs + ack if "A" in flags else 0,
            flags,
            self.win if win is None else win,
            opts,
            data,
            **odd,
        )
        self.socket.send(frame)

    def _default_opts(self, flags):
        if "S" not in flags:
            return self.stamp() if self.ts else b""
        opts = opt_mss(self.mss) if self.mss else b""
        opts += SACK_OK if self.sack else b""
        opts += self.stamp() if self.ts else b""
        return opts + (opt_ws(self.ws) if self.ws is not None else b"")

    def stamp(self, back=0):
        """The time stamp option, or one that is `back` ms too old."""
        self.ts_now += 1
        return b"\1\1" + opt_ts(self.ts_now - back, self.ts_recent)

    def frame(self, frame):
        """Send a frame as it is, when those before have left the device."""
        select.select([], [self.socket], [], 5 * SLOW)
        self.socket.send(frame)

    # receiving

    def _drain(self):
        while (got := _receive(self.socket)) is not None:
            stamp, frame, _ = got
            if not _is_tcp(frame):
                continue
            seg = Segment(stamp, frame)
            if (seg.dst, seg.dport) != (self.address, self.port):
                continue
            if self.dut_port not in (None, seg.sport):
                continue
            if seg.has("S"):
                self.irs = seg.seq
            seg.rel_seq = distance(seg.seq, self.irs)
            seg.rel_ack = distance(seg.ack, self.iss)
            self.queue.append(seg)
            self.all.append(seg)

    def get(self, timeout=5, factor=SLOW):
        """The next segment from the other side, or None."""
        end = time.monotonic() + timeout * factor
        self._drain()
        while not self.queue:
            left = end - time.monotonic()
            if left <= 0:
                return None
            select.select([self.socket], [], [], left)
            self._drain()
        seg = self.queue.pop(0)
        if "ts" in seg.opts:
            self.ts_recent = seg.opts["ts"][0]
        if seg.rel_seq == self.rcv and "R" not in seg.flags:
            self.rcv += seg.span
        return seg

    def expect(
        self, flags=None, seq=None, ack=None, length=None, timeout=5, what=""
    ):
        """The next segment must look so; numbers not given do not matter."""
        wanted = f"[{flags}] seq {seq} ack {ack} len {length}"
        while True:
            seg = self.get(timeout)
            check(seg, f"{what} wanted {wanted}, saw nothing in {timeout} s")
            fits = (
                (flags is None or seg.is_flags(flags))
                and seq in (None, seg.rel_seq)
                and ack in (None, seg.rel_ack)
                and length in (None, seg.len)
            )
            if fits or not self.may_come_again(seg):
                break
        check(fits, f"{what} wanted {wanted}, saw {seg}")
        return seg

    def expect_nothing(self, ms=200, what=""):
        seg = self.get(ms / 1000, factor=1)
        while seg and self.may_come_again(seg):
            seg = self.get(ms / 1000, factor=1)
        check(seg is None, f"{what} wanted silence, saw {seg}")

    def may_come_again(self, seg):
        """A test may be slower than an RTO, on the debug kernel."""
        return DEBUG and any(
            seg.span and old.time < seg.time and old.seq == seg.seq
            and old.span == seg.span and old.flags == seg.flags
            for old in self.all
        )  # fmt: skip

    def expect_data(self, size, timeout=5):
        """Collect that many octets in order, acknowledging them."""
        data = b""
        while len(data) < size:
            at = self.rcv
            seg = self.get(timeout)
            check(seg, f"wanted {size} octets, saw {len(data)}")
            if seg.len and seg.rel_seq == at:
                data += seg.data
                self.send("A")
        return data

    def flush(self, ms=0):
        """Throw away what has come (within that time)."""
        while self.get(ms / 1000, factor=1):
            pass

    # handshakes

    def connect(self, port):
        """Open to a listening port."""
        self.dut_port = port
        self.send("S")
        answer = self.expect("SA", ack=self.nxt, what="handshake:")
        self.peer_opts, self.peer_win = answer.opts, answer.win
        self.send("A")

    def accept(self, timeout=5):
        """Take the SYN that comes, and complete the handshake."""
        syn = self.get(timeout)
        check(syn and syn.is_flags("S"), f"wanted a SYN, saw {syn}")
        self.dut_port, self.rcv = syn.sport, 1
        self.peer_opts, self.peer_win = syn.opts, syn.win
        self.send("SA")
        self.expect("A", seq=1, ack=1, what="handshake:")

    def close(self):
        self.socket.close()


def with_peer(over, role="passive", proto=None, **options):
    """A connection of ours (socket, peer) with a hand-made peer, in a role."""
    peer = Peer(over, **options)
    if role == "passive":
        listener = over.a.listener(proto)
        peer.connect(listener.getsockname()[1])
        ours = _accepted(listener)
        listener.close()
    else:
        ours = over.a.sock(proto)
        ours.setblocking(False)
        ours.connect_ex((peer.address, peer.port))
        peer.accept()
        ours.settimeout(20 * SLOW)
        wait_for(
            lambda: over.a.state(peer.dut_port, peer.port, proto)
            == "ESTABLISHED",
            2,
            "ESTABLISHED",
        )
    return ours, peer


def _accepted(listener):
    ours = listener.accept()[0]
    ours.settimeout(listener.gettimeout())
    cleanup(ours.close)
    return ours


# --- connections and data ---------------------------------------------------


def connect(
    client_ns, server_ns, client_proto=None, server_proto=STOCK, prepare=None
):
    """A connected pair of sockets (client, server); the listener is closed."""
    listener = server_ns.listener(server_proto)
    client = client_ns.sock(client_proto)
    if prepare:
        prepare(client, listener)
    same = client_ns is server_ns
    to = LOOPBACK if same else server_ns.address
    client.connect((to, listener.getsockname()[1]))
    server = _accepted(listener)
    listener.close()
    return client, server


def ports(sock):
    """(local port, remote port) of a connected socket."""
    return sock.getsockname()[1], sock.getpeername()[1]


def sockname(address, port):
    """What getsockname() returns for an address of the family."""
    return (address, port, 0, 0) if FAMILY == 6 else (address, port)


def sockaddr(address, port, family=AF):
    """The octets of it; with another family number for a wrong one."""
    head = struct.pack("=H", family) + struct.pack(">H", port)
    raw = _raw(address)
    return head + (bytes(4) + raw + bytes(4) if FAMILY == 6 else raw + bytes(8))


def linger(sock, on, seconds):
    sock.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", on, seconds)
    )


def pattern(size, seed=1):
    """That many octets in which a loss, repeat or swap shows."""
    block = random.Random(seed).randbytes(min(size, 65521))
    return (block * (size // max(len(block), 1) + 1))[:size]


def read_all(sock):
    """Read up to EOF."""
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def read_exactly(sock, size):
    """Read that many octets, or up to EOF."""
    data = b""
    while len(data) < size and (part := sock.recv(size - len(data))):
        data += part
    return data


def read_digest(sock):
    """(size, sha256) of all up to EOF, without keeping it."""
    size, sha = 0, hashlib.sha256()
    while part := sock.recv(1 << 18):
        size += len(part)
        sha.update(part)
    return size, sha.hexdigest()


# --- cgroups ------------------------------------------------------------------


class Cgroup:
    """A cgroup of version 2, until the test ends."""

    top, made = "/run/cgroup2", 0

    def __init__(self):
        if not os.path.exists(self.top):
            os.mkdir(self.top)
            subprocess.run(
                ["mount", "-t", "cgroup2", "none", self.top], check=True
            )
        Cgroup.made += 1
        self.path = f"{self.top}/test{os.getpid()}.{Cgroup.made}"
        os.mkdir(self.path)
        cleanup(os.rmdir, self.path)

    def enter(self):
        _write(self.path + "/cgroup.procs", os.getpid())


# --- tracepoints ------------------------------------------------------------

TRACING = "/sys/kernel/tracing"


def rfc_name(state):
    """FIN-WAIT-1 for what a tracepoint calls TCP_FIN_WAIT1 or 4."""
    if state.isdigit():
        return STATES[int(state)]
    name = state.removeprefix("TCP_").replace("_", "-")
    name = name.replace("WAIT1", "WAIT-1").replace("WAIT2", "WAIT-2")
    return "CLOSED" if name == "CLOSE" else name


class Trace:
    """Records tracepoints such as cftcp/cftcp_state in an instance of its own."""

    path = f"{TRACING}/instances/cftest{os.getpid()}"

    def __init__(self, *events):
        self.events_on = events or ("cftcp/cftcp_state",)
        if not os.path.exists(TRACING + "/instances"):
            subprocess.run(
                ["mount", "-t", "tracefs", "tracefs", TRACING], check=True
            )
        # Made once: to make and remove one takes long on the debug kernel.
        if not os.path.exists(self.path):
            os.mkdir(self.path)
            _write(self.path + "/trace_clock", "mono")
        _write(self.path + "/trace", "")
        self._switch(1)
        cleanup(self._switch, 0)

    def _switch(self, on):
        for event in self.events_on:
            _write(f"{self.path}/events/{event}/enable", on)

    def events(self):
        """[(seconds, event, {key: value})] so far, in order."""
        with open(self.path + "/trace") as file:
            lines = [x for x in file if not x.startswith("#")]
        return [self._parse(line) for line in lines if ": " in line]

    def states(self, lport, rport):
        """The states that one connection of cftcp's went to, in order."""
        ports = str(lport), str(rport)
        return [
            rfc_name(fields["newstate"])
            for _, event, fields in self.events()
            if event == "cftcp_state"
            and (fields["sport"], fields["dport"]) == ports
        ]

    @staticmethod
    def _parse(line):
        head, event, body = line.split(": ", 2)
        fields = dict(
            word.split("=", 1) for word in body.split() if "=" in word
        )
        return float(head.split()[-1]), event.strip(), fields

    @classmethod
    def remove(cls):
        if os.path.exists(cls.path):
            os.rmdir(cls.path)
