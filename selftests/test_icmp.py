#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""ICMP and ICMPv6 errors, and what they tell of the path MTU."""

import errno
import select
import socket
import struct

import cftest as t
from reach import SYNCHRONIZED, reach, state_of

SIX = t.FAMILY == 6
IP_RECVERR = 25 if SIX else 11
IP_MTU = 24 if SIX else 14

# (type, code): errno that the user sees
ERRORS_V4 = {
    (3, 0): errno.ENETUNREACH,
    (3, 1): errno.EHOSTUNREACH,
    (3, 2): errno.ENOPROTOOPT,
    (3, 3): errno.ECONNREFUSED,
    (3, 5): errno.EOPNOTSUPP,
    (3, 13): errno.EHOSTUNREACH,
    (11, 0): errno.EHOSTUNREACH,
    (12, 0): errno.EPROTO,
}
ERRORS_V6 = {
    (1, 0): errno.ENETUNREACH,
    (1, 1): errno.EACCES,
    (1, 3): errno.EHOSTUNREACH,
    (1, 4): errno.ECONNREFUSED,
    (3, 0): errno.EHOSTUNREACH,
    (3, 1): errno.EHOSTUNREACH,
    (4, 0): errno.EPROTO,
    (4, 1): errno.EPROTO,
    (4, 2): errno.EPROTO,
}
ERRORS = ERRORS_V6 if SIX else ERRORS_V4
SOFT = (1, 3) if SIX else (3, 1)  # EHOSTUNREACH
HARD = (1, 4) if SIX else (3, 3)  # ECONNREFUSED
TOO_BIG = (2, 0) if SIX else (3, 4)
OTHERS = "TIME-WAIT", "SYN-RECEIVED", "LISTEN"


def quoting(peer, seq, flags="A", data=b""):
    """The packet with that number which ours sent, or might have sent."""
    return t.build(
        peer.net.a.address,
        peer.address,
        peer.dut_port,
        peer.port,
        peer.irs + seq,
        peer.iss + peer.nxt,
        flags,
        data=data,
    )[14:]


def icmp(peer, what, seq, rest=0, data=b"", **odd):
    quote = quoting(peer, seq, data=data)[: 1232 if SIX else 548]
    peer.frame(
        t.icmp_frame(
            peer.address, peer.net.a.address, what, quote, rest, **odd
        )
    )


def error_of(sock):
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def fresh_path():
    """What one test makes known of the path to GHOST is not the next one's."""
    flush = "ip -6 route flush cache" if SIX else "ip route flush cache"
    t.net().a.run(flush)
    t.cleanup(t.net().a.run, flush)


# --- errors -----------------------------------------------------------------


@t.test(
    "MUST-54", "MUST-56", "SHLD-25", "SHLD-26", "L-36", "R5927-2", "R5461-1",
    "R5461-4", "R1122-39", "D-25",
    cases={state: state for state in SYNCHRONIZED if state != "TIME-WAIT"},
)  # fmt: skip
def no_error_ends_a_connection(state):
    """SO_ERROR tells each, once; nothing else changes."""
    ours, peer = reach(state)
    una = 2 if state == "FIN-WAIT-2" else 1
    for what, number in ERRORS.items():
        icmp(peer, what, una)
        t.wait_for(lambda: error_of(ours) == number, 2, f"{what}: {number}")
        t.equal(error_of(ours), 0, "told once")
        t.equal(state_of(peer, state), state, f"state after {what}")
    peer.expect_nothing(100)


@t.test("MUST-54", "MUST-56", cases={s: s for s in OTHERS})
def nothing_to_learn(state):
    """Records, requests and listeners stay what they are."""
    ours, peer = reach(state)
    for what in ERRORS:
        for seq in 0, 1, 2:
            icmp(peer, what, seq)
    peer.expect_nothing(100)
    t.equal(state_of(peer, state), state)
    t.equal(error_of(ours), 0, "error")


@t.test("MUST-54", "SHLD-26", "R5461-3", "C-45", "SYN-SENT/ICMP")
def errors_end_an_attempt():
    """The errno of connect() is the error's."""
    for what, number in ERRORS.items():
        ours, peer = reach("SYN-SENT")
        icmp(peer, what, 0)
        peer.net.a.wait_state("CLOSED", peer.dut_port, peer.port)
        t.equal(error_of(ours), number, f"error of {what}")
        ours.close()
        peer.close()


@t.test("MUST-54", "R5461-3")
def error_while_connect_is_busy():
    """The answer comes while connect() holds its own socket: not lost."""
    net = t.own_net()
    length = 128 if SIX else 32
    if SIX:
        net.b.sysctl("ipv6.conf.all.forwarding", 1)
    else:
        net.b.sysctl("ipv4.ip_forward", 1)
    net.b.run(f"ip route add unreachable {t.ELSEWHERE}/{length}")
    net.a.run(f"ip route add {t.ELSEWHERE}/{length} via {net.b.address}")
    before = net.a.counters()
    with t.fails_with(errno.EHOSTUNREACH, errno.ENETUNREACH):
        net.a.sock().connect((t.ELSEWHERE, 80))
    sent = net.a.counters() - before
    t.equal((sent["OutSegs"], sent["RetransSegs"]), (1, 0), "SYNs")


@t.test("R5927-1", "MUST-54", "C-8")
def number_not_in_flight():
    """Below SND.UNA and beyond SND.NXT: counted, and no more."""
    ours, peer = reach("ESTABLISHED")
    ours.send(bytes(100))
    peer.expect(length=100)
    peer.send("A", ack=51)
    before = peer.net.a.counters()["IcmpStray"]
    for count, seq in enumerate((50, 0, 102, -70000, 70000), 1):
        icmp(peer, HARD, seq)
        t.wait_for(
            lambda: peer.net.a.counters()["IcmpStray"] == before + count, 2
        )
    t.equal(error_of(ours), 0, "error")
    for seq in 51, 100, 101:
        icmp(peer, HARD, seq)
        t.wait_for(lambda: error_of(ours) == errno.ECONNREFUSED, 2, f"{seq}")


@t.test("R5927-1", "MUST-54")
def from_too_far():
    """IP_MINTTL: of what is quoted; IPV6_MINHOPCOUNT: of the message."""
    ours, peer = reach("ESTABLISHED")
    before = peer.net.a.counters()["IcmpStray"]
    ours.setsockopt(t.IP, t.IP_MINTTL, 65)
    icmp(peer, HARD, 1, ttl=64 if SIX else 255)
    t.wait_for(lambda: peer.net.a.counters()["IcmpStray"] == before + 1, 2)
    t.equal(error_of(ours), 0, "error")
    ours.setsockopt(t.IP, t.IP_MINTTL, 64)
    icmp(peer, HARD, 1)
    t.wait_for(lambda: error_of(ours) == errno.ECONNREFUSED, 2)


@t.test("R5927-3", "MUST-54")
def the_other_connection():
    """To the same host: nothing is said of it."""
    ours, peer = reach("ESTABLISHED")
    other, other_peer = reach("ESTABLISHED")
    icmp(peer, HARD, 1)
    t.wait_for(lambda: error_of(ours) == errno.ECONNREFUSED, 2)
    t.equal(error_of(other), 0, "error")
    other.send(b"on")
    other_peer.expect(length=2)


@t.test("SHLD-20", "MUST-47", "SHLD-25")
def silent_unless_asked():
    """By default nobody is disturbed: no POLLERR, recv() and send() work."""
    ours, peer = reach("ESTABLISHED")
    icmp(peer, SOFT, 1)
    peer.send("PA", data=b"text")
    t.equal(ours.recv(10), b"text")
    poller = select.poll()
    poller.register(ours)
    t.equal(poller.poll(0)[0][1] & select.POLLERR, 0, "POLLERR")
    peer.flush(100)
    ours.send(b"on")
    peer.expect(length=2)


@t.test("MUST-47", "SHLD-20", "SHLD-25")
def at_once_if_asked():
    """IP_RECVERR: the next call fails with it; the connection stands."""
    ours, peer = reach("ESTABLISHED")
    ours.setsockopt(t.IP, IP_RECVERR, 1)
    icmp(peer, SOFT, 1)
    with t.fails_with(errno.EHOSTUNREACH):
        ours.recv(1)
    t.equal(state_of(peer, "ESTABLISHED"), "ESTABLISHED")
    peer.send("PA", data=b"text")
    t.equal(ours.recv(10), b"text")
    ours.setsockopt(t.IP, IP_RECVERR, 0)
    icmp(peer, SOFT, 1)
    peer.send("PA", data=b"text")
    t.equal(ours.recv(10), b"text")


@t.test("MUST-47", "L-36")
def error_queue():
    """IP_RECVERR on an attempt: MSG_ERRQUEUE tells who said what of whom."""
    ours, peer = reach("SYN-SENT")
    ours.setsockopt(t.IP, IP_RECVERR, 1)
    icmp(peer, SOFT, 0)
    t.wait_for(lambda: state_of(peer, "SYN-SENT") == "CLOSED", 2)
    _, extra, flags, name = ours.recvmsg(100, 200, socket.MSG_ERRQUEUE)
    t.check(flags & socket.MSG_ERRQUEUE, "MSG_ERRQUEUE")
    t.equal(name[:2], (peer.address, peer.port), "whom")
    level, kind, data = extra[0]
    t.equal((level, kind), (t.IP, IP_RECVERR), "message")
    number, origin, what, code = struct.unpack_from("=IBBB", data)
    t.equal(
        (number, origin, what, code),
        (errno.EHOSTUNREACH, 3 if SIX else 2, *SOFT),
        "error",
    )
    offender = data[24:40] if SIX else data[20:24]
    family = socket.AF_INET6 if SIX else socket.AF_INET
    t.equal(socket.inet_ntop(family, offender), peer.address, "who")


@t.test("R5461-1", "SHLD-26", cases={s: s for s in SYNCHRONIZED[:2]})
def hard_errors_by_the_knob(state):
    """net.cftcp.icmp_hard_abort: the letter of RFC 9293."""
    ours, peer = reach(state)
    peer.net.a.tune(icmp_hard_abort=1)
    icmp(peer, SOFT, 1)
    peer.expect_nothing(50)
    t.equal(state_of(peer, state), state)
    t.equal(error_of(ours), errno.EHOSTUNREACH)
    icmp(peer, HARD, 1)
    peer.expect("RA")
    t.equal(state_of(peer, state), "CLOSED")
    with t.fails_with(errno.ECONNREFUSED):
        ours.recv(1)


@t.test("MUST-55", "R5927-4", "R6633-2", family=4)
def source_quench():
    """Changes nothing: neither error nor rate."""
    ours, peer = reach("ESTABLISHED")
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    icmp(peer, (4, 0), 1)
    ours.send(bytes(20000))
    got = 0
    while got < 20000:
        got += peer.expect("A").len
    t.equal(error_of(ours), 0, "error")


@t.test("R6633-1")
def sends_no_source_quench():
    """A flood beyond the window is answered by segments only."""
    ours, peer = reach("ESTABLISHED")
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    tap = t.Peer(peer.net)
    for at in range(0, 200000, 1000):
        peer.send("A", seq=1 + at, data=bytes(1000))
    peer.flush(100)
    seen = []
    while (got := t._receive(tap.socket)) is not None:
        seen.append(got[1])
    proto = [frame[20 if SIX else 23] for frame in seen]
    t.check(seen, "nothing was sent at all")
    t.equal(set(proto), {6}, "protocols")


# --- path MTU ---------------------------------------------------------------


def flight(size, **options):
    """A connection with that many octets in flight; its full segments."""
    fresh_path()
    ours, peer = t.with_peer(t.net(), **options)
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    ours.send(bytes(size))
    got = 0
    while got < size:
        got += peer.expect("A").len
    return ours, peer


def repaired(peer, size, seq=1, ms=50):
    """What comes within that time: (largest, every octet of it?)."""
    seen, largest = set(), 0
    while (seg := peer.get(ms / 1000, factor=1)) is not None:
        if peer.may_come_again(seg):
            continue
        seen.update(range(seg.rel_seq, seg.rel_seq + seg.len))
        largest = max(largest, seg.len)
    return largest, seen >= set(range(seq, seq + size))


@t.test("MUST-54", "R5927-5", "MUST-16", cases={"SACK": True, "no SACK": False})
def too_big(sack):
    """Cut anew and sent at once: no timeout, no backoff; the route knows."""
    t.net().a.tune(rto_min_ms=5000)
    size = 3 * t.MSS
    ours, peer = flight(size, sack=sack)
    before = peer.net.a.counters()["RtoFired"]
    icmp(peer, TOO_BIG, 1, 1300)
    t.equal(repaired(peer, size), (1300 - t.IP_HEADER - 20, True))
    t.equal(peer.net.a.counters()["RtoFired"], before, "timeouts")
    t.equal(ours.getsockopt(t.IP, IP_MTU), 1300, "IP_MTU")
    t.equal(error_of(ours), 0, "error")
    peer.send("A", ack=1 + size)
    ours.send(bytes(size))
    t.equal(repaired(peer, size, 1 + size), (1300 - t.IP_HEADER - 20, True))


@t.test("R5927-5", "R5927-1")
def implausible_sizes():
    """No smaller than what is sent, of another flight, below the minimum."""
    ours, peer = flight(5000)
    for seq, mtu in ((1, 1500), (1, 1600), (1, 65535), (70000, 1300)):
        icmp(peer, TOO_BIG, seq, mtu)
    if SIX:
        icmp(peer, TOO_BIG, 1, 1279)
        icmp(peer, TOO_BIG, 1, 68)
    peer.expect_nothing(50)
    t.equal(ours.getsockopt(t.IP, IP_MTU), 1500, "IP_MTU")


@t.test("R5927-5", family=4, cases={"68": (68, 552), "0": (0, 1492)})
def odd_sizes(told, taken):
    """Bounded from below; of an old router, the next plateau of RFC 1191."""
    ours, peer = flight(3 * t.MSS)
    icmp(peer, TOO_BIG, 1, told, data=bytes(1460))
    t.equal(repaired(peer, 3 * t.MSS), (taken - 40, True))
    t.equal(ours.getsockopt(t.IP, IP_MTU), taken, "IP_MTU")


@t.test("R5927-5", cases={"in time": True, "at the timeout": False})
def size_that_passed_before(acked):
    """Such segments arrived: believed when this one times out, not before."""
    t.net().a.tune(rto_min_ms=400)
    size = 2 * t.MSS
    ours, peer = flight(size)
    peer.send("A")
    ours.send(bytes(size))
    while peer.rcv < 1 + 2 * size:
        peer.expect("A")
    icmp(peer, TOO_BIG, 1 + size, 1300)
    peer.expect_nothing(200)
    if acked:
        peer.send("A")
        ours.send(bytes(size))
        t.equal(repaired(peer, size, 1 + 2 * size), (t.MSS, True))
        t.equal(ours.getsockopt(t.IP, IP_MTU), 1500, "IP_MTU")
        return
    smaller = 1300 - t.IP_HEADER - 20
    peer.expect("A", seq=1 + size, length=smaller)
    peer.send("A", ack=1 + size + smaller)
    rest = repaired(peer, size - smaller, 1 + size + smaller)
    t.equal(rest, (smaller, True))
    t.equal(ours.getsockopt(t.IP, IP_MTU), 1300, "IP_MTU")


def discover(ours, value):
    ours.setsockopt(t.IP, 23 if SIX else 10, value)


DONT, WANT, DO, PROBE, INTERFACE, OMIT = range(6)
HEEDED = {WANT: True, DO: True, DONT: False, INTERFACE: False, OMIT: False}


@t.test(
    "R5927-5",
    "MUST-54",
    cases={f"IP_MTU_DISCOVER {k}": (k, v) for k, v in HEEDED.items()},
)
def mtu_discover(value, heeded):
    """Who does not want the path MTU is not told."""
    fresh_path()
    ours, peer = t.with_peer(t.net())
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    discover(ours, value)
    size = 2 * t.MSS
    ours.send(bytes(size))
    got = []
    while sum(s.len for s in got) < size:
        got.append(peer.expect("A"))
    if not SIX:
        df = got[0].frame[20] & 0x40
        t.equal(bool(df), value in (WANT, DO, PROBE), "DF")
    icmp(peer, TOO_BIG, 1, 1300)
    if heeded or SIX and value == DONT:
        t.equal(repaired(peer, size), (1300 - t.IP_HEADER - 20, True))
    else:
        peer.expect_nothing(50)


t.main()
