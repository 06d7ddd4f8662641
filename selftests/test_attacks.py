#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Attacks, each with a figure: floods, guesses, and peers that never answer."""
import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time

import cftest as t

HERE = os.path.dirname(os.path.abspath(__file__))
FULL = os.environ.get("CFTCP_FULL") == "1"  # make attacks: takes long
PART = 1 if FULL else 256 if t.DEBUG else 64 if t.LESS else 16
MILLION = (1 << 20) // PART
FLOOD_NET = "2001:db8::c612:0" if t.FAMILY == 6 else "198.18.0.0"
FLOOD_FROM = 0xC6120000  # the last 32 bits of that


def start_blast(net, frame, count, **fields):
    """Send `count` frames to a; fields: {name: (first value, step)}."""
    words = [
        f"{name.strip('_')} {start % 2**32} {step % 2**32}"
        for name, (start, step) in fields.items()
    ]
    with net.b.inside():
        running = subprocess.Popen(
            [f"{HERE}/blast", net.b.device, str(count), *" ".join(words).split()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
    running.stdin.write(frame)
    running.stdin.close()
    t.cleanup(running.wait)
    t.cleanup(running.kill)
    return running


def blast(net, frame, count, **fields):
    """The same to its end: how many seconds it took."""
    running = start_blast(net, frame, count, **fields)
    nanoseconds = int(running.stdout.read())
    return nanoseconds / 1e9


SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27


@contextlib.contextmanager
def deaf(peer):
    """The peer hears nothing: a million answers would fill its memory."""
    nothing = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(nothing))
    peer.socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    try:
        yield
    finally:
        peer.socket.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)


def segment(peer, flags, seq=None, ack=None, data=b"", **odd):
    """A frame of the peer's; numbers are relative, the exact ones if not given."""
    seq = peer.nxt if seq is None else seq
    ack = peer.rcv if ack is None else ack
    return t.build(
        peer.address, peer.net.a.address, peer.port, peer.dut_port,
        peer.iss + seq, peer.irs + ack, flags, data=data, **odd,
    )  # fmt: skip


def must_work(ours, peer):
    """Text goes both ways, and is what was sent."""
    peer.flush()
    peer.send("PA", data=b"genuine")
    t.equal(t.read_exactly(ours, 7), b"genuine", "text of the peer")
    peer.flush(100)
    ours.send(b"answer")
    t.equal(peer.expect_data(6), b"answer", "text of ours")


def kernel_memory():
    """Octets that the kernel holds in slabs and does not count as cache."""
    with open("/proc/meminfo") as file:
        sizes = dict(line.split(":") for line in file)
    return int(sizes["SUnreclaim"].split()[0]) << 10


# --- floods -------------------------------------------------------------------


class Server:
    """Accepts, and says one octet to whoever comes."""

    def __init__(self, namespace):
        self.listener = namespace.listener()
        self.address = namespace.address, self.listener.getsockname()[1]
        t.Background(self._serve)

    def _serve(self):
        self.listener.settimeout(None)
        while True:
            client = self.listener.accept()[0]
            client.send(b"!")
            client.close()


def visit(namespace, server):
    """One connect by stock TCP: how many ms until the octet came."""
    began = time.monotonic()
    client = namespace.sock(t.STOCK)
    client.connect(server.address)
    t.equal(t.read_all(client), b"!")
    client.close()
    return (time.monotonic() - began) * 1000


def reach_the_flood(net):
    """SYN,ACKs have a way to where the SYNs seem to come from."""
    net.a.run(f"ip -{t.FAMILY} route add default via {t.GHOST}")


def flood_frame(net, port, flags="S"):
    return t.build(
        FLOOD_NET, net.a.address, 1024, port, 1, 0, flags,
        opts=t.opt_mss(1460) + t.SACK_OK,
    )  # fmt: skip


@t.test("R4987-1", "R4987-2", "R4987-3")
def syn_flood():
    """Who means it connects at once, each time, and memory stays bounded."""
    net = t.own_net()
    reach_the_flood(net)
    server = Server(net.a)
    visit(net.b, server)
    before, memory = net.a.counters(), kernel_memory()
    flood = start_blast(
        net, flood_frame(net, server.address[1]), MILLION,
        saddr=(FLOOD_FROM, 1), sport=(1024, 7), seq=(0, 2654435761),
    )  # fmt: skip
    took, most, grown = [], 0, 0
    while flood.poll() is None:
        took.append(visit(net.b, server))
        most = max(most, net.a.counters()["Requests"])
        grown = max(grown, kernel_memory() - memory)
    now = net.a.counters()
    cookies = now["SynCookiesSent"] - before["SynCookiesSent"]
    t.note(
        f"{MILLION} SYNs in {int(flood.stdout.read()) / 1e9:.1f} s, {cookies} cookies;",
        f"{len(took)} connects, none failed, the longest {max(took):.1f} ms;",
        f"at most {most} requests, {grown >> 10} kB more",
    )
    t.between(now["InSegs"] - before["InSegs"], MILLION, 2 * MILLION, "SYNs")
    t.check(len(took) >= 5, "there were connects meanwhile")
    t.between(max(took), 0, 900 * t.SLOW, "ms to connect, without a retransmission")
    limit = int(net.a.sysctl("cftcp.max_syn_backlog"))
    t.between(most, 1, limit + 1, "requests")  # one may have been in TIME-WAIT
    t.between(grown, 0, 16 << 20, "octets of kernel memory")
    t.wait_for(lambda: not net.a.counters()["Requests"], 200, "no request", 1)


@t.test("C-28")
def time_wait_flood():
    """There are never more than max_time_wait, and whoever connects may."""
    limit, count = (20, 100) if t.DEBUG else (200, 1000 // (1 + t.LESS))
    net = t.own_net()
    net.a.tune(max_time_wait=limit)
    live = t.connect(net.a, net.b)
    server = net.b.listener(t.STOCK)
    most = 0
    for _ in range(count):
        ours = net.a.sock()
        ours.connect((net.b.address, server.getsockname()[1]))
        theirs = server.accept()[0]
        ours.close()
        t.equal(theirs.recv(1), b"")
        theirs.close()
        most = max(most, net.a.counters()["TimeWait"])
    now = net.a.counters()
    t.note(f"{count} closed, at most {most} in TIME-WAIT")
    t.equal(most, limit, "TIME-WAITs at most")
    t.wait_for(
        lambda: net.a.counters()["TimeWaitOverflow"] == count - limit, 5,
        "all that were too many were counted",
    )  # fmt: skip
    t.equal(now["TimeWaitEntered"], limit, "TIME-WAITs")
    echo(*live)


def per_segment(net, port, step):
    """ns for a SYN again of each of many requests: theirs are found again."""
    count = 4096 // (16 if t.DEBUG else 1)
    net.a.tune(max_syn_backlog=count, syn_cookies=0)
    frame = flood_frame(net, port)
    fields = {"saddr": (FLOOD_FROM, step[0]), "sport": (0, step[1])}
    blast(net, frame, count, **fields)
    t.equal(net.a.counters()["Requests"], count, "requests")
    return min(blast(net, frame, count, **fields) for _ in range(3)) / count * 1e9


@t.test("R4987-1")
def hash_flood():
    """4-tuples with equal sums, differences or low bits cost what others do."""
    costs = {}
    for name, step in {
        "any": (2654435761 % 65536 * 2 + 1, 40503),
        "sums": (1, -1),
        "differences": (1, 1),
        "low bits": (4096, 0),
        "ports": (0, 1),
    }.items():
        net = t.own_net()
        reach_the_flood(net)
        server = net.a.listener()
        costs[name] = per_segment(net, server.getsockname()[1], step)
    t.note(", ".join(f"{name} {cost:.0f} ns" for name, cost in costs.items()))
    for name, cost in costs.items():
        t.between(cost / costs["any"], 0, 3 if t.DEBUG else 1.3, name)


# --- guesses ------------------------------------------------------------------

# flags, whether SEQ or ACK is guessed, text
BLIND = {
    "RST": ("R", "seq"),
    "RST,ACK": ("RA", "seq"),
    "SYN": ("S", "seq"),
    "text": ("PA", "ack"),
    "FIN": ("FA", "ack"),
}


@t.test("R5961-1", "R5961-2", "R5961-4", "R5961-7", "R5961-9", cases=BLIND)
def blind(flags, guessed):
    """A guess at each number of the window, but for the exact one, is none.

    For text, which any SEQ of the window would do, ACK is guessed over all of
    its space but what may be acknowledged (RFC 5961 section 5.2)."""
    net = t.net()
    ours, peer = t.with_peer(net, ws=7)
    before = net.a.counters()
    data = b"evil" if flags == "PA" else b""
    fields = {
        "seq": (peer.iss + peer.nxt + 1, 1),
        "ack": (peer.irs + peer.rcv + 1, (2**32 - 2) // MILLION),
    }
    if guessed == "seq":
        del fields["ack"]
    with deaf(peer):
        took = blast(net, segment(peer, flags, data=data), MILLION, **fields)
    seen = net.a.counters() - before
    t.note(
        f"{MILLION} guesses in {took:.2f} s: none succeeded,",
        f"{seen['ChallengeAck']} challenge ACKs",
    )
    t.between(seen["InSegs"], MILLION, MILLION + 10, "segments")
    if guessed == "seq":
        most = 2 + took * 1000 / int(net.a.sysctl("cftcp.challenge_ack_ms"))
        t.between(seen["ChallengeAck"], 1, most, "challenge ACKs")
    else:
        t.equal(seen["DropAck"], MILLION, "refused")
    must_work(ours, peer)
    peer.send(flags, data=data)
    if guessed == "seq" and "S" not in flags:
        t.wait_for(lambda: net.a.state(peer.dut_port, peer.port) == "CLOSED", 1)
    elif guessed == "ack":
        t.equal(ours.recv(9), data, "what the exact numbers bring")


@t.test("R5961-10", "R5961-9")
def side_channel():
    """What we answer an attacker does not tell what another connection got."""
    net = t.net()
    _, victim = t.with_peer(net)
    _, own = t.with_peer(net)
    wait = int(net.a.sysctl("cftcp.challenge_ack_ms")) / 1000
    counts = {True: [], False: []}
    own.all.clear()
    for number in range(4 if t.DEBUG else 16):
        spoof = number % 2 == 0
        time.sleep(wait * 1.1)
        for flags in "RSA" if spoof else "":
            frame = segment(victim, flags, victim.nxt + 1, victim.rcv + 1)
            blast(net, frame, 200)
        blast(net, segment(own, "R", own.nxt + 1), 200)
        own.flush(20)
        counts[spoof].append(len(own.all))
        own.all.clear()
    t.note(f"answers to the attacker: {counts}")
    t.equal(set(counts[True]), set(counts[False]), "answers")
    t.equal(set(counts[True]), {1}, "answers of each round")


@t.test("R1337-F1", "MUST-13", "TIME-WAIT/E12", "TIME-WAIT/E13", "TIME-WAIT/E11")
def assassination():
    """TIME-WAIT lasts 2MSL whatever RST, SYN or ACK comes at it."""
    net = t.own_net()
    net.a.tune(msl_ms=10_000)
    ours, peer = t.with_peer(net)
    ours.close()
    peer.expect("FA")
    peer.send("A")
    since = time.time_ns()
    peer.send("FA")
    peer.expect("A")
    count = MILLION // 4
    with deaf(peer):
        for flags in ("R", "RA", "S", "A"):
            # Beginning with the exact number. There is no listener that a SYN
            # beyond it could be meant for.
            frame = segment(peer, flags)
            blast(net, frame, count, seq=(peer.iss + peer.nxt, 1))
    t.equal(net.a.state(peer.dut_port, peer.port), "TIME-WAIT", "state")
    lasted = net.a.gone_after(since, 20_000, peer.dut_port, peer.port)
    t.note(f"{4 * count} segments, and it lasted {lasted:.0f} ms")
    t.near(lasted, 20_000, 0.01, 20, "ms of TIME-WAIT")


@t.test("R5961-7", "C-44")
def optimistic_ack():
    """ACKs of what was never sent free nothing, and ask for nothing."""
    net = t.net()
    ours, peer = t.with_peer(net, win=20000)
    text = t.pattern(10 * t.MSS)
    ours.send(text)
    before = net.a.counters()
    unsent = peer.irs + 1 + len(text) + 1
    with deaf(peer):
        blast(
            net, segment(peer, "A"), MILLION,
            ack=(unsent, (2**31 - len(text)) // MILLION),
        )  # fmt: skip
    seen = net.a.counters() - before
    t.note(f"{seen['DropAck']} of {MILLION} refused")
    t.equal(seen["DropAck"], MILLION, "refused")
    row = net.a.rows(peer.dut_port, peer.port)[0]
    t.equal(row.txq, len(text), "octets not acknowledged")
    peer.flush()
    peer.rcv = 1
    t.equal(peer.expect_data(len(text), 100), text, "sent again")


@t.test("R2018-5", "R8985-1")
def sack_of_unsent():
    """SACK blocks beyond SND.NXT or before SND.UNA make nothing lost or held."""
    net = t.net()
    ours, peer = t.with_peer(net, sack=True, win=60000)
    size, una = 10 * t.MSS, peer.irs + 1
    ours.send(t.pattern(size))
    before = net.a.counters()
    for start, step in ((una + size, 2039), (una - 2000, -2039)):
        frame = segment(
            peer, "A", opts=b"\1\1" + t.opt_sack((start, start + 1000))
        )
        with deaf(peer):
            blast(
                net, frame, MILLION // 2,
                _24=(start, step), _28=(start + 1000, step),
            )  # fmt: skip
    seen = net.a.counters() - before
    t.note(f"{MILLION} blocks; repairs: {seen['RetransSegs']}")
    t.equal(seen["FastRetransmit"], 0, "segments taken for lost")
    peer.flush()
    peer.rcv = 1
    t.equal(peer.expect_data(size, 100), t.pattern(size), "sent again")


# --- what costs memory or time ------------------------------------------------


def echo(ours, theirs):
    """A connection works both ways."""
    for one, other in ((ours, theirs), (theirs, ours)):
        one.send(b"alive")
        t.equal(t.read_exactly(other, 5), b"alive")


@t.test("SHLD-31", "MUST-34", cases={"up": 2, "down": -2})
def tiny_out_of_order(step):
    """Single octets with a hole before each: bounded, each at the same cost."""
    net = t.own_net()
    ours, peer = t.with_peer(net, ws=10, sack=True)
    rmem = int(net.a.sysctl("cftcp.rmem").split()[1])
    memory, costs, most = kernel_memory(), [], 0
    chunk = 2048 // (8 if t.DEBUG else 1)
    start = peer.iss + peer.nxt + (1 if step > 0 else 2 * MILLION + 1)
    frame = segment(peer, "PA", data=b"x")
    with deaf(peer):
        for number in range(MILLION // chunk):
            first = start + number * chunk * step
            costs.append(blast(net, frame, chunk, seq=(first, step)))
            most = max(most, kernel_memory() - memory)
    held = net.a.counters()["OutOfOrder"]
    last = max(1, held // chunk - 1)
    ratio = costs[last] / costs[1]
    t.note(
        f"{MILLION} octets, {held} held in {most >> 10} kB; the last of them",
        f"cost {ratio:.2f} times what the first did",
    )
    t.between(ratio, 0, 4 if t.DEBUG else 2, "cost of the last held")
    t.between(most, 0, 2 * rmem, "octets of kernel memory")
    if step > 0:
        peer.send("PA", data=b"abc")  # fills the first two holes
        t.equal(t.read_exactly(ours, 4), b"abcx", "text")


SO_SNDBUFFORCE, SIOCOUTQNSD = 32, 0x894B
CRUMB_EVERY = 1024  # octets


def told_again(crumbs):
    """ns for an ACK that tells what is known, of a flight with so many crumbs."""
    net, size = t.net(), crumbs * CRUMB_EVERY
    ours, peer = t.with_peer(net, ws=10, sack=True)
    ours.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, max(size, 1 << 16))
    first = peer.irs + 1 + CRUMB_EVERY // 2
    fields, step = {}, 2 * CRUMB_EVERY  # two crumbs, of one octet, an ACK
    for at, edge in enumerate((0, 1, CRUMB_EVERY, CRUMB_EVERY + 1)):
        fields[f"_{24 + 4 * at}"] = first + edge, step
    blocks = [
        (first + n * CRUMB_EVERY, peer.irs + 1 + size) for n in range(4)
    ]
    with deaf(peer):
        ours.sendall(bytes(size))
        t.wait_for(lambda: not unsent(ours), 5, "all in flight")
        for opts, count, steps in (
            (t.opt_sack((0, 0), (0, 0)), crumbs // 2, fields),
            (t.opt_sack(*blocks), 1, {}),
        ):
            frame = segment(peer, "A", opts=b"\1\1" + opts)
            blast(net, frame, count, **steps)
        pieces = sacked(ours)
        count = 512 // (8 if t.DEBUG else 1)
        cost = min(blast(net, frame, count) for _ in range(3)) / count * 1e9
    t.equal(sacked(ours), pieces, "segments SACKed")
    t.check(pieces >= 2 * crumbs - 1, f"{pieces} pieces of {crumbs} crumbs")
    peer.send("RA")
    return pieces, cost


def unsent(ours):
    """Octets that have never left."""
    return struct.unpack("i", fcntl.ioctl(ours, SIOCOUTQNSD, bytes(4)))[0]


def sacked(ours):
    """Segments that are marked so."""
    info = ours.getsockopt(t.SOL_TCP, socket.TCP_INFO, 32)
    return struct.unpack_from("I", info, 28)[0]


@t.test("R6675-2", "R2018-6")
def known_sacks():
    """ACKs whose blocks cover a flight in crumbs again cost what others do."""
    (few, cost), (many, most) = (
        told_again(crumbs) for crumbs in (16, (32 << 20) // CRUMB_EVERY // PART)
    )
    t.note(
        f"four blocks that tell again of {few} segments: {cost:.0f} ns an ACK,",
        f"of {many}: {most:.0f} ns",
    )
    t.between(most / cost, 0, 4 if t.DEBUG else 1.5, "cost of many pieces")


# How they are made to wait: FIN-WAIT-2, text that is never read, LAST-ACK.
SQUATTERS = {"FIN-WAIT-2": "held", "zero window": "full", "LAST-ACK": "gone"}
ABSENT = 77


def squat(net, listener, how):
    """One orphan, (its port, theirs), that waits for a peer for ever."""
    ours = net.a.sock()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    ours.connect((t.address_of(ABSENT), listener.getsockname()[1]))
    theirs = listener.accept()[0]
    port = ours.getsockname()[1]
    if how == "full":
        ours.setblocking(False)
        while True:
            try:
                ours.send(bytes(4096))
            except BlockingIOError:
                break
    if how == "gone":
        theirs.close()
        t.equal(ours.recv(1), b"")
    return ours, theirs, port


@t.test("L-48", "L-41", "L-47", "L-57", cases=SQUATTERS)
def squatting(how):
    """Who never answers is bounded in number and time, and the oldest go."""
    count, limit = (30, 10) if t.DEBUG else (240 // (1 + t.LESS), 60)
    net = t.own_net()
    net.a.tune(
        max_orphans=limit, fin_wait2_timeout_ms=20_000,
        orphan_timeout_ms=20_000,
    )  # fmt: skip
    own = f"addr add {t.address_of(ABSENT)}/{128 if t.FAMILY == 6 else 32} dev b0"
    net.b.batch(own + (" nodad" if t.FAMILY == 6 else ""))
    net.a.batch(
        f"neigh replace {t.address_of(ABSENT)} lladdr {net.b.mac} dev a0 nud permanent"
    )
    live = t.connect(net.a, net.b)
    listener = net.b.listener(t.STOCK)
    if how == "full":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    squatters = [squat(net, listener, how) for _ in range(count)]
    if how == "gone":
        net.b.batch(own.replace("addr add", "addr del"))
    most = 0
    for ours, _, _ in squatters:
        ours.close()
        most = max(most, net.a.counters()["Orphans"])
    since = time.monotonic()
    left = {row.lport for row in net.a.table() if row.raddr == t.address_of(ABSENT)}
    t.equal(left, {port for _, _, port in squatters[-limit:]}, "the newest stay")
    echo(*live)
    t.wait_for(lambda: not net.a.counters()["Orphans"], 60, "no orphan", 0.05)
    lasted = time.monotonic() - since
    t.note(f"{count} of them: at most {most} at once, none after {lasted:.1f} s")
    t.equal(most, limit, "orphans at most")
    t.near(lasted, 20, 0.02, 0.5, "s")
    echo(*live)


t.main()
