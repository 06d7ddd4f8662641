#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Measure cftcp against stock TCP, in a machine that has both (scripts/bench).

usage: bench.py [--quick] [--list] MODULE LOAD [SECTION]...

Each section leaves SECTION.json in $CFTCP_RESULTS: its metrics, and the curves
that bench/report.py draws. In virtual time a nanosecond is an instruction; what
others do in the machine (the kernel's housekeeping, randomness) is dealt with
by rounds in which both stacks take turns, and medians.

Where both ends are on one wire, it is a veth pair (10.0.0.0/24, devices va and
vb). The slow link goes through a router, whose netem loses, delays and queues
segments, not the sender's own device (10.1.0.0/24 and 10.2.0.0/24). Data goes
from the server (namespace b) to the client (a).
"""

import collections
import contextlib
import ctypes
import fcntl
import itertools
import json
import math
import os
import socket
import statistics
import struct
import subprocess
import sys
import time

STOCK, CFTCP = 6, 257
MB = 1e6
PAGE = os.sysconf("SC_PAGESIZE")
LINK_MBIT, RTT_MS = 200, 50
STOCK_TIME_WAIT_S = 60
GIVE_UP_S = 120  # how long a transfer may take
HEADERS = 14 + 20 + 32  # Ethernet, IPv4, TCP with timestamps
MTU_FRAME = 1514

QUICK = "--quick" in sys.argv
ROUNDS = 3 if QUICK else 5
LOSSES = (0, 1, 5, 10) if QUICK else (0, 0.1, 1, 5, 10)  # per cent
SIZES = 1000, 10_000, 100_000, 1_000_000, 10_000_000
TURNOVER_S = 6 if QUICK else 120
MSLS_MS = (500, 10_000) if QUICK else (500, 2500, 10_000, 30_000)
MILLION = 1_000_000
CROWD = 20_000 if QUICK else 200_000  # TIME-WAITs
CROWDS = (10_000, 20_000) if QUICK else (10_000, 50_000, 100_000, 200_000)
IDLE = 10_000 if QUICK else 100_000
WORDS = [word for word in sys.argv[1:] if not word.startswith("-")]
RESULTS = os.environ.get("CFTCP_RESULTS", "/tmp")


# --- what is measured goes out ----------------------------------------------

rows, curves = [], {}


def metric(name, ours, stock, goal, what, unit, of_stock=False):
    """One line. The goal ("<=2", ">=2", "50+-1") is about `ours`, or about its
    ratio to `stock`."""
    ratio = ours / stock if stock else None
    judged = ratio if of_stock else ours
    row = {
        "name": name,
        "ours": ours,
        "stock": stock,
        "ratio": ratio,
        "goal": goal + ("x" if of_stock else ""),
        "ok": judged is not None and reached(judged, goal),
        "what": what,
        "unit": unit,
    }
    rows.append(row)
    say(" ".join(map(str, line(row))))


def reached(value, goal):
    sign = next(x for x in ("<=", ">=", "+-") if x in goal)
    left, right = goal.split(sign)
    if sign == "+-":
        return abs(value - float(left)) <= float(right)
    return value <= float(right) if sign == "<=" else value >= float(right)


def line(row):
    """The words of a line: name ours stock ratio goal verdict."""
    numbers = [short(row[key]) for key in ("ours", "stock", "ratio")]
    verdict = "ok" if row["ok"] else "SHORT"
    return [row["name"], *numbers, row["goal"], verdict]


def short(number):
    if number is None:
        return "-"
    if number == int(number) or abs(number) >= 1000:
        return f"{number:.0f}"
    return f"{number:.4g}"


def say(*words):
    print("bench:", *words, file=sys.stderr, flush=True)


# --- the machine ------------------------------------------------------------


def run(command, **options):
    options = {
        "check": True,
        "text": True,
        "stdout": subprocess.PIPE,
        **options,
    }
    return subprocess.run(command, shell=True, **options).stdout


def inside(namespace, command):
    return run(f"ip netns exec {namespace} {command}")


def sysctl(namespace, **values):
    for name, value in values.items():
        inside(namespace, f"sysctl -qw net.{name.replace('__', '.')}={value}")


def counter(namespace, proto, name):
    """A counter of either stack."""
    if proto == CFTCP:
        words = inside(namespace, "cat /proc/net/cftcp_stat").split()
        return int(dict(zip(words[::2], words[1::2]))[name])
    text = inside(namespace, "cat /proc/net/snmp").splitlines()
    names, values = (x.split() for x in text if x.startswith("Tcp:"))
    return int(dict(zip(names, values))[name])


SIOCETHTOOL, ETHTOOL_STSO = 0x8946, 0x1F


def enter(namespace):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), 0):
            raise OSError(ctypes.get_errno(), "setns")


class Inside:
    """A block in another namespace."""

    def __init__(self, namespace):
        self.namespace = namespace

    def __enter__(self):
        self.own = os.open("/proc/self/ns/net", os.O_RDONLY)
        enter(self.namespace)

    def __exit__(self, *_):
        ctypes.CDLL(None).setns(self.own, 0)
        os.close(self.own)


def no_tso(namespace, device):
    """Segments are cut before the device, so that a router sees each."""
    with Inside(namespace), socket.socket() as any_socket:
        command = ctypes.create_string_buffer(
            struct.pack("=II", ETHTOOL_STSO, 0)
        )
        fcntl.ioctl(
            any_socket,
            SIOCETHTOOL,
            struct.pack("16sP16x", device.encode(), ctypes.addressof(command)),
        )


def make_net():
    run(
        "ip -batch -",
        input="""netns add a
netns add b
netns add m
link add va netns a type veth peer name vb netns b
link add am netns a type veth peer name ma netns m
link add bm netns b type veth peer name mb netns m
""",
    )
    for name, lines in {
        "a": """link set dev lo up
addr add 10.0.0.1/24 dev va
addr add 10.1.0.1/24 dev am
link set dev va up
link set dev am up
route add 10.2.0.0/24 via 10.1.0.9""",
        "b": """link set dev lo up
addr add 10.0.0.2/24 dev vb
addr add 10.2.0.2/24 dev bm
link set dev vb up
link set dev bm up
route add 10.1.0.0/24 via 10.2.0.9""",
        "m": """addr add 10.1.0.9/24 dev ma
addr add 10.2.0.9/24 dev mb
link set dev ma up
link set dev mb up""",
    }.items():
        run(f"ip -n {name} -batch -", input=lines + "\n")
    sysctl("m", ipv4__ip_forward=1)
    no_tso("a", "am")
    no_tso("b", "bm")
    for address in ("10.0.0.2", "10.2.0.2"):
        warm(address)


def warm(address):
    """Neighbours are known before anything is measured."""
    load("rpc", STOCK, n=1, to=address)


_port = 2000


def load(mode, proto, **options):
    """Run the load program: what it printed, as lists of numbers."""
    text = run(load_command(mode, proto, **options))
    return [[float(word) for word in x.split()] for x in text.splitlines()]


def load_command(mode, proto, to="10.0.0.2", ports=1, client=None, **options):
    """Each has its own server ports: what one leaves is in nobody's way."""
    global _port
    _port = _port + ports if _port + ports < 30_000 else 2000
    more = " ".join(f"-{key} {value}" for key, value in options.items())
    return (
        f"/run/load -C a -S b -s {proto} -c {client or proto} "
        f"-a {to}:{_port - ports} -P {ports} {more} {mode}"
    )


def settle():
    """What the stock stack has in TIME-WAIT goes; virtual time costs none."""
    time.sleep(STOCK_TIME_WAIT_S + 1)


def in_turn(function, rounds=ROUNDS):
    """Medians of function(proto): ours, stock's."""
    seen = {STOCK: [], CFTCP: []}
    for _ in range(rounds):
        for proto, values in seen.items():
            values.append(function(proto))
    return statistics.median(seen[CFTCP]), statistics.median(seen[STOCK])


# --- what a segment costs ---------------------------------------------------

sections = {}


def section(function):
    sections[function.__name__] = function
    return function


def crr_us(proto, count=1000):
    return load("crr", proto, n=count)[0][0] / 1000


@section
def crr():
    metric(
        "crr",
        *in_turn(crr_us),
        "<=0.67",
        "connect, an octet each way, close; both ends",
        "us",
        of_stock=True,
    )


@section
def close():
    metric(
        "close",
        *in_turn(lambda proto: load("close", proto, n=400)[0][0]),
        "<=0.5",
        "from the first FIN to both ends gone or in TIME-WAIT",
        "instructions",
        of_stock=True,
    )


@section
def rpc():
    metric(
        "rpc",
        *in_turn(lambda proto: load("rpc", proto, n=3000)[0][0] / 1000),
        "<=0.8",
        "an octet there and back on an open connection",
        "us",
        of_stock=True,
    )


def bulk_gbit(proto, size=500 * MB):
    return size * 8 / load("download", proto, z=int(size))[0][0]


@section
def bulk():
    metric(
        "bulk",
        *in_turn(bulk_gbit, 3),
        ">=1.15",
        "one flow of 500 MB",
        "Gbit/s",
        of_stock=True,
    )


# --- the long and lossy link ------------------------------------------------

PEERS = {
    "cftcp": {"proto": CFTCP},
    "cftcp to stock": {"proto": CFTCP, "client": STOCK},
    "stock to cftcp": {"proto": STOCK, "client": CFTCP, "g": "cubic"},
    "cubic": {"proto": STOCK, "g": "cubic"},
    "bbr": {"proto": STOCK, "g": "bbr"},
}


def link(loss):
    """The slow link; only the direction of the data loses segments."""
    to_client = f"rate {LINK_MBIT}mbit loss {loss}%"
    for device, more in (("ma", to_client), ("mb", "")):
        inside(
            "m",
            f"tc qdisc replace dev {device} root netem "
            f"delay {RTT_MS / 2}ms limit 100000 {more}",
        )


def unlink():
    for device in ("ma", "mb"):
        inside("m", f"tc qdisc del dev {device} root")


@contextlib.contextmanager
def dedicated():
    """What a user tells cftcp of such a link: its rate, that segments may be
    spent to save time, and that no round trip takes longer than 100 ms."""
    told = {
        "pacing_rate": int(LINK_MBIT * 1e6 / 8),
        "repair_copies": 2,
        "rto_init_ms": 100,
    }
    before = {
        name: inside("b", f"sysctl -n net.cftcp.{name}").strip()
        for name in told
    }
    sysctl("b", **{f"cftcp__{name}": value for name, value in told.items()})
    yield
    sysctl("b", **{f"cftcp__{name}": value for name, value in before.items()})


def downloads(peers, count, size):
    """Seconds and octets of each download over the slow link."""
    options = {"to": "10.2.0.2", "n": count, "z": int(size), "t": GIVE_UP_S}
    with dedicated():
        seen = load("download", **PEERS[peers], **options)
    return [(ns / 1e9, max(octets, 1)) for ns, octets in seen]


def ideal_s(size, loss=0):
    return size * 8 / (LINK_MBIT * 1e6 * (1 - loss / 100)) + 2 * RTT_MS / 1000


@section
def goodput():
    size = 20 * MB
    times = {}
    for loss in LOSSES:
        link(loss)
        for peers in PEERS:
            seen = []
            for _ in range(1 if QUICK or not loss else 9):
                seen += downloads(peers, 1, size)
                if seen[-1][1] < size:
                    break  # it takes as long again
            times[peers, loss] = took = statistics.median(
                s * size / octets for s, octets in seen
            )
            curves.setdefault("goodput", {}).setdefault(peers, []).append(
                [loss, size * 8e-6 / took]
            )
            say(f"loss {loss} %, {peers}: {times[peers, loss]:.3f} s")
    unlink()
    curves["goodput"]["ideal"] = [
        [loss, size * 8 / ideal_s(size, loss) / 1e6] for loss in LOSSES
    ]
    # What takes longer than GIVE_UP_S is extrapolated.
    where = f"20 MB at {LINK_MBIT} Mbit/s, {RTT_MS} ms RTT, {{}} % loss"
    for loss in 0, 1, 5, 10:
        ideal = ideal_s(size, loss)
        metric(
            f"goodput_{loss}",
            times["cftcp", loss] / ideal,
            times["cubic", loss] / ideal,
            "<=1.2" if loss == 10 else "<=1.1",
            where.format(loss) + "; stock: cubic",
            "x ideal time",
        )
    for loss in 0, 1, 5, 10:
        metric(
            f"to_stock_{loss}",
            times["cftcp to stock", loss],
            times["bbr", loss],
            "<=1.0",
            where.format(loss) + ", to a stock receiver; stock: bbr",
            "s",
            of_stock=True,
        )
    metric(
        "from_stock_0",
        times["stock to cftcp", 0],
        times["cubic", 0],
        "<=1.05",
        where.format(0) + ", from a stock sender with cubic",
        "s",
        of_stock=True,
    )


def percentile(values, percent):
    return sorted(values)[min(len(values) * percent // 100, len(values) - 1)]


@section
def fct():
    """Flow completion: a download on a fresh connection."""
    count = 40 if QUICK else 200
    for loss in 0, 5:
        link(loss)
        ms = {}
        for peers in "cftcp", "cubic", "bbr":
            enough = 20 if loss == 0 else count
            ms[peers] = [s * 1000 for s, _ in downloads(peers, enough, 1e5)]
        for percent, goal in ((50, 106 if loss == 0 else 170), (90, 200)):
            if loss == 0 and percent == 90:
                continue
            metric(
                f"fct_{loss}_p{percent}",
                *(
                    percentile(ms[peers], percent)
                    for peers in ("cftcp", "cubic")
                ),
                f"<={goal}",
                f"100 kB on a fresh connection, {loss} % loss, "
                + ("median" if percent == 50 else "90th percentile"),
                "ms",
            )
            say(f"with bbr {percentile(ms['bbr'], percent):.1f} ms")
    link(0)
    for peers in "cftcp", "cubic", "bbr":
        curves.setdefault("fct", {})[peers] = [
            [
                size,
                statistics.median(
                    s * 1000
                    for s, _ in downloads(peers, 1 if size > MB else 5, size)
                ),
            ]
            for size in SIZES
        ]
    curves["fct"]["ideal"] = [[size, ideal_s(size) * 1000] for size in SIZES]
    unlink()


# --- the sender's own queue, and pacing -------------------------------------


@section
def queue():
    size, rate = 20 * MB, 100
    for words in (
        "qdisc add dev bm root handle 1: htb default 1",
        f"class add dev bm parent 1: classid 1:1 htb rate {rate}mbit",
        "qdisc add dev bm parent 1:1 handle 2: pfifo limit 50",
    ):
        inside("b", "tc " + words)
    # Without GSO the queue is of 50 segments.
    inside("b", "ip link set bm gso_max_segs 1")
    lost, mbit = {}, {}
    for proto in STOCK, CFTCP:
        before = counter("b", proto, "RetransSegs")
        ns = load("download", proto, to="10.2.0.2", z=int(size))[0][0]
        lost[proto] = counter("b", proto, "RetransSegs") - before
        mbit[proto] = size * 8e3 / ns
    inside("b", "ip link set bm gso_max_segs 65535")
    inside("b", "tc qdisc del dev bm root")
    full = rate * (MTU_FRAME - HEADERS) / MTU_FRAME
    where = f"20 MB through a local queue of 50 packets at {rate} Mbit/s"
    metric(
        "queue_lost",
        lost[CFTCP],
        lost[STOCK],
        "<=0",
        where,
        "retransmissions",
    )
    metric(
        "queue_rate",
        mbit[CFTCP],
        mbit[STOCK],
        f">={full * 0.98:.1f}",
        where,
        "Mbit/s",
    )


SO_RCVBUFFORCE, SO_TIMESTAMPNS, PACKET_OUTGOING = 33, 35, 4


class Capture:
    """When packets with text arrive at a device; looked at afterwards."""

    def __init__(self, namespace, device):
        with Inside(namespace):
            self.sock = socket.socket(
                socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)
            )
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.sock.bind((device, 0x0800))

    def packets(self):
        """[(ns, octets)]"""
        self.sock.setblocking(False)
        seen = []
        while True:
            try:
                data, more, _, source = self.sock.recvmsg(64, 64)
            except BlockingIOError:
                return seen
            size = struct.unpack_from(">H", data, 2)[0]
            header = (data[0] & 15) * 4
            if (
                source[2] == PACKET_OUTGOING
                or size == header + (data[header + 12] >> 4) * 4
            ):
                continue
            s, ns = struct.unpack("qq", more[0][2])
            seen.append((s * 1_000_000_000 + ns, size))


def paced(proto, free):
    """Mbit/s of IP as captured, and the most segments back to back, not
    counting those that fq lets go for free."""
    rate = 50_000_000 / 8
    apart = MTU_FRAME / rate * 1e9
    capture = Capture("m", "mb")
    load("download", proto, to="10.2.0.2", z=int(10 * MB), r=int(rate))
    seen = capture.packets()
    capture.sock.close()
    burst = most = 1
    for (before, _), (at, _) in zip(seen[free:], seen[free + 1 :]):
        burst = burst + 1 if at - before < apart / 4 else 1
        most = max(most, burst)
    octets = sum(size for _, size in seen[1:])
    return octets * 8e3 / (seen[-1][0] - seen[0][0]), most


@section
def pace():
    inside("m", "tc qdisc replace dev ma root netem rate 1gbit limit 100000")
    # What fq lets go at once is a matter of its own options.
    fq = "fq quantum 1514 initial_quantum 3028"
    for name, qdisc, free in (("", "noqueue", 0), ("_fq", fq, 2)):
        if qdisc == fq:
            inside("b", f"tc qdisc replace dev bm root {fq}")
        (ours, burst), (stock, stock_burst) = (
            paced(proto, free) for proto in (CFTCP, STOCK)
        )
        where = f"SO_MAX_PACING_RATE of 50 Mbit/s, 1 Gbit/s link, {qdisc}"
        metric(f"pace{name}", ours, stock, "50+-1", where, "Mbit/s")
        metric(
            f"pace{name}_burst",
            burst,
            stock_burst,
            "<=2",
            where,
            "segments back to back",
        )
    inside("b", "tc qdisc del dev bm root")
    inside("m", "tc qdisc del dev ma root")


# --- many connections -------------------------------------------------------


def slab_bytes(name):
    with open(f"/sys/kernel/slab/{name}/slab_size") as file:
        return int(file.read())


@section
def sizes():
    """What a slab spends on one."""
    for name, slab, stock, goal in (
        ("tw_bytes_v4", "cftcp_time_wait", "tw_sock_TCP", 128),
        ("tw_bytes_v6", "cftcp_time_wait6", "tw_sock_TCPv6", 192),
        ("sock_bytes", "CFTCP", "TCP", 1400),
    ):
        if not os.path.exists(f"/sys/kernel/slab/{slab}"):
            slab = slab.rstrip("6")  # one for both families
        metric(
            name,
            slab_bytes(slab),
            slab_bytes(stock),
            f"<={goal}",
            "a TIME-WAIT record" if "tw" in name else "a socket",
            "octets",
        )


def sustained(proto, msl_ms):
    """Connections a second when TIME-WAITs end as fast as others begin."""
    period = 2 * msl_ms / 1000
    seconds = math.ceil(2 * period)
    seen = load("turnover", proto, t=seconds)
    half = seconds // 2
    return (seen[-1][0] - seen[half][0]) / (seconds - half)


@section
def turnover():
    seconds = TURNOVER_S
    many_allowed()  # stock TCP has no TIME-WAIT beyond its limit
    us = statistics.median(crr_us(CFTCP) for _ in range(ROUNDS))
    sysctl("a", cftcp__msl_ms=500)
    done, refused = load("turnover", CFTCP, t=seconds)[-1]
    settle()
    stock = sustained(STOCK, STOCK_TIME_WAIT_S * 500)
    where = f"one client address to one server port for {seconds} s"
    metric(
        "turnover",
        done / seconds,
        stock,
        f">={0.95 * 1e6 / us:.0f}",
        where + ", msl_ms 500, against 0.95 of crr's rate",
        "a second",
    )
    metric("turnover_refused", refused, None, "<=0", where, "EADDRNOTAVAIL")
    sysctl("a", cftcp__msl_ms=30_000)
    settle()


@section
def msl():
    """Turnover against MSL: a curve, no metric."""
    many_allowed()
    ours = []
    for msl_ms in MSLS_MS:
        sysctl("a", cftcp__msl_ms=msl_ms)
        rate = sustained(CFTCP, msl_ms)
        ours.append([msl_ms, rate])
        say(f"msl_ms {msl_ms}: {rate:.0f} a second")
        time.sleep(2 * msl_ms / 1000 + 1)
    sysctl("a", cftcp__msl_ms=30_000)
    msl_ms = STOCK_TIME_WAIT_S * 500
    stock = [[msl_ms, sustained(STOCK, msl_ms)]]
    curves["turnover"] = {"cftcp": ours, "stock": stock}
    settle()


FILL_PORTS = 1000  # server ports: the client's alone are 28,000


def memory_free():
    """MB, when nothing is left to be reclaimed. Some of it is in the lists of
    single pages that each CPU has."""
    time.sleep(2)
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")
    time.sleep(2)
    with open("/proc/meminfo") as file:
        words = dict(x.split(":") for x in file)
    with open("/proc/zoneinfo") as file:
        lists = [x.split() for x in file if " count:" in x]
    free = sum(int(x[1]) for x in lists)
    return (int(words["MemFree"].split()[0]) * 1024 + free * PAGE) / MB


TRACING = "/sys/kernel/tracing"


def write(path, text):
    with open(path, "w") as file:
        file.write(str(text))


class Softirqs:
    """How long softirqs take, by the kernel's own events, on one CPU."""

    def __init__(self):
        if not os.path.exists(TRACING + "/events"):
            run(f"mount -t tracefs tracefs {TRACING}")
        write(TRACING + "/trace", "")
        write(TRACING + "/buffer_size_kb", 65536)
        self.enable(1)

    @staticmethod
    def enable(on):
        for event in "softirq_entry", "softirq_exit":
            write(f"{TRACING}/events/irq/{event}/enable", on)

    def longest_ms(self):
        """By kind of softirq."""
        self.enable(0)
        longest, began = collections.Counter(), 0
        with open(TRACING + "/trace") as file:
            for text in file:
                if "softirq_" not in text:
                    continue
                before, event, more = text.rsplit(": ", 2)
                at = float(before.split()[-1]) * 1000
                if event == "softirq_entry":
                    began = at
                elif began:
                    kind = more.split("action=")[1].strip(" ]\n")
                    longest[kind] = max(longest[kind], at - began)
        write(TRACING + "/buffer_size_kb", 1024)
        return longest


def populated(proto, populations, end):
    """crr's us beside so many TIME-WAITs, which shall end at that time."""
    have, seen = 0, []
    more = {"e": end} if proto == CFTCP else {}
    for population in (0, *populations):
        load("fill", proto, ports=FILL_PORTS, n=population - have, **more)
        have = population
        us = statistics.median(crr_us(proto) for _ in range(ROUNDS))
        seen.append([population, us])
        say(f"{population} TIME-WAITs, protocol {proto}: crr {us:.1f} us")
    return seen


def slowdown(curve):
    """The rate beside a crowd over the rate beside none."""
    us = dict(curve)
    return us[0] / us[CROWD]


def many_allowed():
    settle()
    sysctl(
        "a", cftcp__max_time_wait=2_000_000, ipv4__tcp_max_tw_buckets=2_000_000
    )


@section
def million():
    """What they take, and how long they keep the CPU when all end at once."""
    if QUICK:
        return
    many_allowed()
    before = memory_free()
    end = int(time.monotonic()) + 300
    load("fill", CFTCP, ports=FILL_PORTS, n=MILLION, e=end)
    metric(
        "million_memory",
        before - memory_free(),
        None,
        "<=160",
        f"1,000,000 TIME-WAITs, to {FILL_PORTS} ports",
        "MB",
    )
    time.sleep(end - 5 - time.monotonic())
    before = counter("a", CFTCP, "TimeWaitExpired")
    softirqs = Softirqs()
    for _ in range(30):
        time.sleep(1)
        expired = counter("a", CFTCP, "TimeWaitExpired") - before
        if expired == MILLION:
            break
    longest = softirqs.longest_ms()
    say(f"{expired} expired; ms:", dict(longest))
    if expired != MILLION:
        raise RuntimeError("they did not all expire in that time")
    metric(
        "million_softirq",
        max(longest.values()),
        None,
        "<=2",
        "longest softirq while they expire, all at once",
        "ms",
    )


@section
def timewait():
    many_allowed()
    stock = populated(STOCK, CROWDS, 0)
    settle()
    end = int(time.monotonic()) + 900
    ours = populated(CFTCP, CROWDS, end)
    metric(
        "crr_crowd",
        slowdown(ours),
        slowdown(stock),
        ">=0.97",
        f"rate of crr beside {CROWD:,} TIME-WAITs over that beside none",
        "x",
    )
    curves["timewait"] = {"cftcp": ours, "stock": stock}
    time.sleep(max(end + 10 - time.monotonic(), 0))


def opening_rate(proto, count):
    """The rate of opening the last tenth over that of the first 1,000."""
    us = [x[0] for x in load("idle", proto, ports=10, n=count)]
    settle()
    return us[0] / statistics.mean(us[-len(us) // 10 :])


@section
def idle():
    metric(
        "idle",
        opening_rate(CFTCP, IDLE),
        opening_rate(STOCK, IDLE),
        ">=0.95",
        f"rate of opening the last tenth of {IDLE:,} connections "
        "that stay, over the first 1,000",
        "x",
    )


@section
def loaded():
    """What the module costs those who do not use it."""
    crrs, bulks = ([], []), ([], [])
    for _ in range(ROUNDS):
        for there in 0, 1:
            run("rmmod cftcp" if not there else f"insmod {WORDS[0]}")
            settle()
            warm("10.0.0.2")
            crrs[there].append(crr_us(STOCK, 2000))
            bulks[there].append(bulk_gbit(STOCK, 100 * MB))
    without, beside = map(statistics.median, crrs)
    metric(
        "loaded_crr",
        beside,
        without,
        "<=1.01",
        "stock's crr with cftcp loaded; stock: without",
        "us",
        of_stock=True,
    )
    without, beside = map(statistics.median, bulks)
    metric(
        "loaded_bulk",
        beside,
        without,
        ">=0.99",
        "stock's bulk with cftcp loaded; stock: without",
        "Gbit/s",
        of_stock=True,
    )


# --- two CPUs, real time ----------------------------------------------------


def seconds(proto, cpus):
    """How long pairs take, one on each of these CPUs; there are no others."""
    with open("/sys/devices/system/cpu/cpu1/online", "w") as file:
        file.write(str(int(1 in cpus)))
    began = time.monotonic()
    for one in [
        subprocess.Popen(
            f"taskset -c {cpu} {load_command('crr', proto, n=2000)}",
            shell=True,
            stdout=subprocess.DEVNULL,
        )
        for cpu in cpus
    ]:
        if one.wait():
            raise RuntimeError("the load failed")
    return time.monotonic() - began


@section
def cpus():
    """The fastest runs: others of the host only ever add time."""
    if os.cpu_count() < 2:
        raise RuntimeError("needs two CPUs")
    took = {}
    for _ in range(3 * ROUNDS):
        for which in itertools.product((STOCK, CFTCP), ((0,), (0, 1))):
            took.setdefault(which, []).append(seconds(*which))
    metric(
        "cpus",
        *(
            2 * min(took[proto, (0,)]) / min(took[proto, (0, 1)])
            for proto in (CFTCP, STOCK)
        ),
        ">=1",
        f"crr by two pairs on two CPUs over one pair, the best of {3 * ROUNDS} runs",
        "x",
        of_stock=True,
    )


# --- all of it --------------------------------------------------------------


def main():
    if "--list" in sys.argv:
        print(*sections, sep="\n")
        return
    module, program, *names = WORDS
    run(f"cp {program} /run/load")
    for name in "tcp_bbr", "sch_netem", "sch_htb", "sch_fq":
        run(f"modprobe {name}")
    run(f"insmod {module}")
    make_net()
    for name in names:
        say(f"section {name}")
        rows.clear()
        curves.clear()
        wall = time.monotonic()
        sections[name]()
        with open(f"{RESULTS}/{name}.json", "w") as file:
            json.dump(
                {
                    "kernel": os.uname().release,
                    "quick": QUICK,
                    "rows": rows,
                    "curves": curves,
                },
                file,
                indent=1,
            )
        say(f"section {name} took {time.monotonic() - wall:.1f} s of its clock")


if __name__ == "__main__":
    main()
