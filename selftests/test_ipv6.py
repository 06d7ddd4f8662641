#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""IPv6, and IPv4 over IPv6 sockets: addresses, headers, ICMPv6, /proc."""
import contextlib
import errno
import itertools
import os
import socket
import struct
import time

os.environ.setdefault("CFTCP_FAMILY", "6")
import cftest as t  # noqa: E402

A, B = t.address_of(1, 6), t.address_of(2, 6)
ANY, ANY4, ONE, ONE4 = "::", "0.0.0.0", "::1", "127.0.0.1"
MAPPED = "::ffff:"
IPV6_JOIN_ANYCAST = 27
V6, V4 = socket.AF_INET6, socket.AF_INET
STACKS = {
    "cftcp-cftcp": (t.DUT, t.DUT),
    "cftcp-stock": (t.DUT, t.STOCK),
    "stock-cftcp": (t.STOCK, t.DUT),
}


def sock(ns, proto=None, family=V6, v6only=None):
    made = ns.sock(proto, family=family)
    if v6only is not None:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    return made


def bound(ns, proto, address, port=0, v6only=None, listen=False):
    family = V6 if ":" in address else V4
    made = sock(ns, proto, family, v6only if family == V6 else None)
    made.bind((address, port))
    if listen:
        made.listen()
    return made


def accept(listener):
    made = listener.accept()[0]
    made.settimeout(20 * t.SLOW)
    t.cleanup(made.close)
    return made


def exchange(client, server, size=50000):
    """Both ways at once, whole, and then a close from the client's side."""
    data = t.pattern(size), t.pattern(size, 2)
    readers = t.Background(t.read_digest, server), t.Background(
        t.read_digest, client
    )
    for one, octets in ((client, data[0]), (server, data[1])):
        one.sendall(octets)
    client.shutdown(socket.SHUT_WR)
    t.equal(readers[0].result(), (size, t.digest(data[0])), "to the server")
    server.close()
    t.equal(readers[1].result(), (size, t.digest(data[1])), "to the client")


# --- connections ---------------------------------------------------------------

ROADS = {
    # name: listener's address, destination, both on one host
    "native": (ANY, B, False),
    "native, one address": (B, B, False),
    "loopback": (ONE, ONE, True),
    "dual-stack listener, IPv4 client": (ANY, None, False),
    "IPv4 listener, mapped client": (ANY4, MAPPED, False),
    "dual-stack listener, mapped client": (ANY, MAPPED, False),
}


@t.test(
    "MUST-2", "MUST-43", "MUST-44", "C-31", "C-33",
    cases={
        f"{stacks}, {road}": (*STACKS[stacks], *ROADS[road])
        for stacks, road in itertools.product(STACKS, ROADS)
    },
)  # fmt: skip
def connections(client_proto, server_proto, address, to, same_host):
    where = t.net()
    server_ns = where.a if same_host else where.b
    address4 = where.b.address4
    listener = bound(server_ns, server_proto, address, v6only=0, listen=True)
    to = address4 if to is None else MAPPED + address4 if to == MAPPED else to
    client = sock(where.a, client_proto, V6 if ":" in to else V4)
    client.connect((to, listener.getsockname()[1]))
    server = accept(listener)
    t.equal(client.getpeername()[:2], (to, listener.getsockname()[1]))
    t.equal(server.getpeername()[1], client.getsockname()[1], "ports")
    seen, mine = server.getpeername()[0], client.getsockname()[0]
    t.equal(seen.removeprefix(MAPPED), mine.removeprefix(MAPPED), "address")
    t.equal(seen.startswith(MAPPED), address == ANY and "." in to, "mapped")
    exchange(client, server)


@t.test("C-52", "L-37", "MUST-13")
def time_wait_of_ipv6():
    """A TIME-WAIT of its own, that answers and goes after 2 x msl."""
    where = t.net()
    msl = 1000
    where.a.tune(msl_ms=msl)
    listener = bound(where.b, t.STOCK, ANY, listen=True)
    client = sock(where.a)
    client.connect((B, listener.getsockname()[1]))
    server = accept(listener)
    ends = t.ports(client)
    row = where.a.rows(*ends)[0]
    t.equal((row.laddr, row.raddr), (A, B), "addresses in /proc")
    client.close()
    t.equal(server.recv(1), b"")
    server.close()
    began = time.time_ns()
    where.a.wait_state("TIME-WAIT", *ends, timeout=2)
    t.near(where.a.gone_after(began, 2 * msl, *ends), 2 * msl, 0.05, 5, "ms")


# --- binding -------------------------------------------------------------------

# address, v6only, address, v6only, do they conflict
BINDS = (
    (ANY, 0, ANY, 0, True),
    (ANY, 0, ANY4, None, True),
    (ANY4, None, ANY, 0, True),
    (ANY, 1, ANY4, None, False),
    (ANY4, None, ANY, 1, False),
    (ANY, 0, ONE4, None, True),
    (ANY, 1, ONE, 1, True),
    (ONE, 1, ANY, 0, True),
    (ONE, 1, ANY4, None, False),
    (ONE4, None, MAPPED + ONE4, 0, True),
)


@t.test(
    "section-2", "L-73",
    cases={
        f"{stacks} {a}{'!' if x else ''} {b}{'!' if y else ''}":
        (*STACKS[stacks], a, x, b, y, taken)
        for stacks, (a, x, b, y, taken) in itertools.product(STACKS, BINDS)
    },
)  # fmt: skip
def bind_conflicts(first, second, a, x, b, y, taken):
    ns = t.net().a
    for listen in False, True:
        held = bound(ns, first, a, v6only=x, listen=listen)
        port = held.getsockname()[1]
        wanted = t.fails_with(errno.EADDRINUSE)
        with wanted if taken else contextlib.nullcontext():
            bound(ns, second, b, port, v6only=y, listen=listen)
        held.close()


@t.test("MUST-46", "MUST-43")
def connect_refuses():
    where = t.net()
    for to, number in (
        (("ff02::1", 80, 0, 0), errno.ENETUNREACH),
        (("fe80::1", 80), errno.EINVAL),  # which device?
        (("fd77::1", 80), errno.ENETUNREACH),
    ):
        with t.fails_with(number):
            sock(where.a).connect(to)
    only = sock(where.a, v6only=1)
    with t.fails_with(errno.ENETUNREACH):
        only.connect((MAPPED + where.b.address4, 80))


@t.test("MUST-43")
def link_local():
    """The same link-local address on two devices: the scope tells."""
    where = t.own_net()
    where.a.batch(
        f"link add a1 type veth peer name b1 netns /proc/{os.getpid()}/fd/{where.b.fd}"
    )
    index = {}
    for ns, names in ((where.a, ("a0", "a1")), (where.b, ("b0", "b1"))):
        for name in names:
            address = "fe80::a" if ns is where.a else "fe80::b"
            ns.run(f"ip link set {name} up")
            ns.run(f"ip addr add {address}/64 dev {name} nodad")
            with ns.inside():
                index[name] = socket.if_nametoindex(name)
    listener = bound(where.b, t.DUT, ANY, listen=True)
    port = listener.getsockname()[1]
    clients, local = [], 0
    for name in ("a0", "a1"):
        made = sock(where.a)
        made.bind(("fe80::a", local, 0, index[name]))
        local = made.getsockname()[1]
        made.connect(("fe80::b", port, 0, index[name]))
        clients.append(made)
        server = accept(listener)
        t.equal(
            server.getpeername(),
            ("fe80::a", local, 0, index["b" + name[1]]),
            "peer",
        )
        made.sendall(name.encode())
        t.equal(server.recv(9), name.encode(), "data")
        local = 0


@t.test("MUST-57")
def anycast():
    """Who is one of many answers no SYN, as stock TCP."""
    where = t.own_net()
    where.a.address = "fd09::77"
    with where.a.inside():
        holder = socket.socket(V6, socket.SOCK_DGRAM)
        t.cleanup(holder.close)
        request = t._raw(where.a.address) + struct.pack(
            "=I", socket.if_nametoindex(where.a.device)
        )
    holder.setsockopt(socket.IPPROTO_IPV6, IPV6_JOIN_ANYCAST, request)
    peer = t.Peer(where)
    peer.dut_port = bound(where.a, t.DUT, ANY, listen=True).getsockname()[1]
    peer.send("S")
    t.wait_for(lambda: where.a.counters()["DropAddress"] == 1, 5)
    peer.expect_nothing(100)


# --- extension headers ---------------------------------------------------------

HOP_BY_HOP, FRAGMENT, DESTINATION = 0, 44, 60
UNKNOWN = b"\x1e\4" + bytes(4)  # an option to be skipped by who does not know
IPV6_DSTOPTS = 59


def behind(frame, *headers):
    """The frame with extension headers (kind, all but the first two octets)."""
    ip, rest = frame[14:54], frame[54:]
    proto, chain = ip[6], b""
    for kind, body in reversed(headers):
        chain = bytes((proto, len(body) // 8)) + body + chain
        proto = kind
    size = struct.pack(">HB", len(chain) + len(rest), proto)
    return frame[:14] + ip[:4] + size + ip[7:] + chain + rest


def next_text(peer, data):
    """A frame with the peer's next segment."""
    frame = t.build(
        peer.address, A, peer.port, peer.dut_port, peer.iss + peer.nxt,
        peer.irs + peer.rcv, "PA", data=data,
    )  # fmt: skip
    peer.nxt += len(data)
    return frame


@t.test(
    "MUST-50",
    cases={
        "hop-by-hop": ((HOP_BY_HOP, UNKNOWN),),
        "destination, long": ((DESTINATION, UNKNOWN + b"\x1e\6" + bytes(6)),),
        "both": ((HOP_BY_HOP, UNKNOWN), (DESTINATION, UNKNOWN)),
    },
)
def extension_headers_are_passed_over(*headers):
    ours, peer = t.with_peer(t.net())
    peer.frame(behind(next_text(peer, b"found"), *headers))
    t.equal(ours.recv(9), b"found", "text")
    peer.expect("A", ack=peer.nxt)


@t.test("MUST-2", "MUST-3")
def fragments():
    """A segment in two fragments, the last one first, is one segment."""
    ours, peer = t.with_peer(t.net())
    text = t.pattern(200)
    frame = next_text(peer, text)
    for at, stop, more in (120, None, 0), (0, 120, 1):
        part = frame[:54] + frame[54 + at : stop and 54 + stop]
        fragment = FRAGMENT, struct.pack(">HI", at | more, 4711)
        peer.frame(behind(part, fragment))
    t.equal(ours.recv(999), text, "text")
    peer.expect("A", ack=peer.nxt)


@t.test(
    "MUST-16", "R2525-18", "MUST-14",
    cases={"passive": "passive", "active": "active"},
)  # fmt: skip
def options_of_ours_need_room(role):
    """A destination options header of the socket's makes segments smaller."""
    where, header = t.net(), bytes((0, 0)) + UNKNOWN
    peer = t.Peer(where)
    lone = where.a.listener() if role == "passive" else sock(where.a)
    lone.setsockopt(socket.IPPROTO_IPV6, IPV6_DSTOPTS, header)
    if role == "passive":
        peer.connect(lone.getsockname()[1])
        ours = accept(lone)
    else:
        opening = t.Background(lone.connect, (peer.address, peer.port))
        peer.accept()
        opening.result()
        ours = lone
    t.equal(peer.peer_opts["mss"], t.MSS, "MSS, which counts no options")
    ours.sendall(bytes(5 * t.MSS))
    for _ in range(3):
        segment = peer.expect("A", length=t.MSS - len(header))
        t.equal(segment.total, t.MTU, "octets of the packet")
        t.equal(segment.frame[20], DESTINATION, "next header")
    peer.send("RA", seq=1)


# --- on the wire -----------------------------------------------------------------


@t.test("MUST-2", "MUST-48", "MUST-49", "MUST-67", "MUST-14")
def header_fields():
    """Checksum, MSS, traffic class and hop limit, from SYN to TIME-WAIT."""
    where = t.net()
    capture = t.Capture(where.b)
    listener = bound(where.a, t.DUT, ANY, listen=True)
    for level, option, value in (
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, 0xB8),
        (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 77),
    ):
        listener.setsockopt(level, option, value)
    client = sock(where.b, t.STOCK)
    client.connect((A, listener.getsockname()[1]))
    server = accept(listener)
    server.sendall(b"data")
    t.equal(client.recv(9), b"data")
    server.close()
    t.equal(client.recv(1), b"")
    client.close()
    ours = []

    def closed():
        seen = capture.segments(listener.getsockname()[1])
        ours[:] = [segment for segment in seen if segment.src == A]
        fins = [segment for segment in ours if segment.has("F")]
        return fins and ours[-1].is_flags("A")

    t.wait_for(closed, 5)
    t.equal(ours[0].opts.get("mss"), 1440, "MSS")
    for one in ours:
        t.check(one.csum_ok, f"checksum of {one.flags}")
        t.equal((one.tos, one.ttl), (0xB8, 77), f"class, hops: {one.flags}")


@t.test("MUST-16", "MUST-54")
def packet_too_big():
    """ICMPv6 tells a smaller MTU: segments fit, and the stream goes on."""
    where = t.own_net()
    listener = bound(where.b, t.STOCK, ANY, listen=True)
    client = sock(where.a)
    client.connect((B, listener.getsockname()[1]))
    server = accept(listener)
    capture = t.Capture(where.b, port=client.getsockname()[1])
    client.sendall(bytes(1000))
    t.equal(len(t.read_exactly(server, 1000)), 1000)
    sent = capture.wait(lambda segment: segment.len)
    quoted = t.build(
        A, B, sent.sport, sent.dport, sent.seq + 1000, sent.ack, "A",
        data=bytes(1000),
    )[14 : 14 + 60]  # fmt: skip
    frame = t.icmp_frame(
        B, A, t.TOO_BIG, quoted, 1280,
        src_mac=where.b.mac, dst_mac=where.a.mac,
    )  # fmt: skip
    capture.socket.send(frame)
    reader = t.Background(t.read_exactly, server, 20000)
    client.sendall(bytes(20000))
    t.equal(len(reader.result()), 20000, "octets")
    sizes = [
        segment.len for segment in capture.segments()
        if segment.src == A and t.distance(segment.seq, sent.seq) >= 1000
    ]  # fmt: skip
    t.between(max(sizes), 1000, 1280 - 40 - 32, "largest segment")


@t.test("MUST-54")
def icmpv6_is_nothing_to_ipv4():
    """An error that quotes mapped addresses, which are on no wire."""
    where = t.net()
    listener = bound(where.b, t.STOCK, ANY4, listen=True)
    client = sock(where.a, family=V4)
    client.connect((where.b.address4, listener.getsockname()[1]))
    server = accept(listener)
    capture = t.Capture(where.b, port=client.getsockname()[1])
    client.send(b"x")
    sent = capture.wait(lambda segment: segment.len)
    quoted = t.build(
        MAPPED + where.a.address4, MAPPED + where.b.address4, sent.sport,
        sent.dport, sent.seq + 1, sent.ack, "A",
    )[14:]  # fmt: skip
    capture.socket.send(
        t.icmp_frame(
            B, A, t.PORT_UNREACHABLE, quoted,
            src_mac=where.b.mac, dst_mac=where.a.mac,
        )  # fmt: skip
    )
    server.send(b"y")
    t.equal(client.recv(9), b"y")
    error = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    t.equal(error, 0, "error")


@t.test("R5461-3", "MUST-54", "C-45")
def unreachable_while_connecting():
    """ICMPv6 port unreachable ends a connect(); stock's own RST does too."""
    where = t.net()
    with t.fails_with(errno.ECONNREFUSED):
        sock(where.a).connect((B, 9))
    where.b.run("ip -6 route add unreachable fd55::/64")
    t.cleanup(where.b.run, "ip -6 route del unreachable fd55::/64")
    where.b.sysctl("ipv6.conf.all.forwarding", 1)
    where.a.run(f"ip -6 route add fd55::/64 via {B}")
    t.cleanup(where.a.run, "ip -6 route del fd55::/64")
    with t.fails_with(errno.EHOSTUNREACH, errno.ENETUNREACH):
        sock(where.a).connect(("fd55::1", 80))


@t.test("C-52", "L-37")
def proc_as_tcp6():
    """Same header and columns as /proc/net/tcp6, and ss reads it."""
    where = t.net()
    ours, stock = (
        bound(where.a, p, ANY, listen=True) for p in (t.DUT, t.STOCK)
    )
    tables = [where.a.read(name).splitlines() for name in ("cftcp6", "tcp6")]
    t.equal(tables[0][0].split(), tables[1][0].split(), "header")
    for table, made in zip(tables, (ours, stock)):
        port = f"{made.getsockname()[1]:04X}"
        line = next(x.split() for x in table[1:] if f":{port} " in x)
        t.equal(len(line), 17, "columns")
        t.equal(line[1:4], ["0" * 32 + ":" + port, "0" * 32 + ":0000", "0A"])
    seen = where.a.run(
        "PROC_NET_TCP6=/proc/net/cftcp6 PROC_NET_TCP=/dev/null ss -tln6"
    )
    t.check(f":{ours.getsockname()[1]} " in seen, seen)


t.main(family=6)
