#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The way of segments: routes, devices, marks, source routes, path MTU."""

import errno
import os
import socket
import struct

import cftest as t

SIX = t.FAMILY == 6
HOST = 128 if SIX else 32
IP_MTU = 24 if SIX else 14
IP_TRANSPARENT, IP_FREEBIND = (75, 78) if SIX else (19, 15)
SO_MARK, SO_PRIORITY, SO_BINDTODEVICE = 36, 12, 25
SOURCE = t.address_of(77)  # one more address of a
TCP_INFO = 11
IP = "ip -6" if SIX else "ip"


def for_now(ns, add, remove=None):
    """An ip command, undone after the test."""
    ns.run(f"{IP} {add}")
    t.cleanup(ns.run, f"{IP} {remove or add.replace(' add ', ' del ')}")


def mac_of(seg):
    return seg.frame[:6].hex(":")


def said(ours, peer, text=b"x"):
    """The segment in which ours sends this text now."""
    peer.flush()
    ours.send(text)
    seg = peer.expect("A", length=len(text))
    peer.send("A")
    return seg


# --- routes -----------------------------------------------------------------


@t.test("MUST-45")
def a_route_change_is_followed():
    """With the next segment, there and back."""
    net = t.net()
    ours, peer = t.with_peer(net)
    source = said(ours, peer).src
    for _ in range(2):
        net.a.run(f"{IP} route add {t.GHOST}/{HOST} via {net.b.address}")
        seg = said(ours, peer)
        net.a.run(f"{IP} route del {t.GHOST}/{HOST}")
        t.equal((mac_of(seg), seg.src), (net.b.mac, source), "over b")
        seg = said(ours, peer)
        t.equal((mac_of(seg), seg.src), (t.GHOST_MAC, source), "direct")


@t.test("MUST-56")
def no_route_for_a_while():
    """What could not leave is sent when it can; nobody is told."""
    net = t.net()
    ours, peer = t.with_peer(net)
    net.a.run(f"{IP} route add unreachable {t.GHOST}/{HOST}")
    ours.send(b"held")
    peer.expect_nothing(1000)
    net.a.run(f"{IP} route del unreachable {t.GHOST}/{HOST}")
    t.equal(peer.expect("A", length=4).data, b"held")
    peer.send("AP", data=b"back")
    t.equal(ours.recv(10), b"back")


@t.test("MUST-44")
def source_address_of_the_route():
    net = t.net()
    for_now(net.a, f"addr add {SOURCE}/{HOST} dev a0" + " nodad" * SIX)
    for_now(net.a, f"route add {t.GHOST}/{HOST} dev a0 src {SOURCE}")
    ours = net.a.sock()
    ours.setblocking(False)
    peer = t.Peer(net)
    ours.connect_ex((t.GHOST, peer.port))
    t.equal(peer.expect("S").src, SOURCE)
    t.equal(ours.getsockname()[0], SOURCE)


@t.test("MUST-45")
def address_gone():
    """No other takes its place; it goes on when it is back."""
    net = t.net()
    address = f"addr add {SOURCE}/{HOST} dev a0" + " nodad" * SIX
    net.a.run(f"{IP} {address}")
    t.cleanup(net.a.run, f"{IP} {address.replace('add ', 'del ')} 2>/dev/null || true")
    ours = net.a.sock()
    ours.bind((SOURCE, 0))
    ours.setblocking(False)
    peer = t.Peer(net)
    ours.connect_ex((t.GHOST, peer.port))
    source, net.a.address = net.a.address, SOURCE
    try:
        peer.accept()
        net.a.run(f"{IP} {address.replace('add ', 'del ')}")
        ours.send(b"x")
        while (seg := peer.get(1, factor=1)) is not None:
            t.equal((seg.src, SIX), (SOURCE, True), "source")
        net.a.run(f"{IP} {address}")
        t.equal(peer.expect("A", length=1, timeout=20).src, SOURCE)
    finally:
        net.a.address = source


def redirect(peer, gateway):
    """Say that another router is nearer, as the one in use."""
    quote = t.build(
        peer.net.a.address, peer.address, peer.dut_port, peer.port,
        peer.irs + peer.rcv, 0, "A",
    )[14:42]  # fmt: skip
    rest = struct.unpack(">I", socket.inet_aton(gateway))[0]
    peer.frame(
        t.icmp_frame(
            peer.net.b.address, peer.net.a.address, (5, 1), quote, rest,
            src_mac=peer.net.b.mac,
        )  # fmt: skip
    )


@t.test("MUST-54", family=4)
def redirected():
    """ICMP Redirect, of the router in use: the next segment takes it."""
    net = t.own_net()
    net.b.sysctl("ipv4.ip_forward", 0)
    net.a.run(f"ip route add {t.ELSEWHERE} via {net.b.address}")
    ours, peer = t.with_peer(net, address=t.ELSEWHERE)
    t.equal(mac_of(said(ours, peer)), net.b.mac, "at first")
    peer.rcv, right = 70000, peer.rcv
    redirect(peer, t.GHOST)
    peer.rcv = right
    t.equal(mac_of(said(ours, peer)), net.b.mac, "number not in flight")
    redirect(peer, t.GHOST)
    t.equal(mac_of(said(ours, peer)), t.GHOST_MAC, "redirected")


# --- what the user wants ------------------------------------------------------


@t.test()
def mark():
    """SO_MARK chooses the route: of a connect(), and of answers."""
    net = t.net()
    for_now(net.a, "rule add fwmark 7 table 77")
    for_now(
        net.a,
        f"route add {t.GHOST}/{HOST} via {net.b.address} dev a0 table 77",
        f"route del {t.GHOST}/{HOST} table 77",
    )
    ours = net.a.sock()
    ours.setsockopt(socket.SOL_SOCKET, SO_MARK, 7)
    ours.setblocking(False)
    peer = t.Peer(net)
    ours.connect_ex((t.GHOST, peer.port))
    t.equal(mac_of(peer.expect("S")), net.b.mac, "SYN")
    peer.close()
    for value, there in ((7, net.b.mac), (0, t.GHOST_MAC)):
        peer = t.Peer(net)
        listener = net.a.listener()
        listener.setsockopt(socket.SOL_SOCKET, SO_MARK, value)
        peer.dut_port = listener.getsockname()[1]
        peer.send("S")
        t.equal(mac_of(peer.expect("SA")), there, f"SYN,ACK, mark {value}")
        peer.send("A")
        child = listener.accept()[0]
        t.cleanup(child.close)
        t.equal(child.getsockopt(socket.SOL_SOCKET, SO_MARK), value)
        t.equal(mac_of(said(child, peer)), there, f"text, mark {value}")


RULES = {"address": "from {}", "port": "ipproto tcp sport 1024-65534"}


@t.test("MUST-44", cases=RULES)
def rule_of(ours):
    """ip rule: by the address and the port that connect() chooses, too."""
    net = t.net()
    for_now(net.a, f"rule add {ours.format(net.a.address)} table 77")
    for_now(
        net.a,
        f"route add {t.GHOST}/{HOST} via {net.b.address} dev a0 table 77",
        f"route del {t.GHOST}/{HOST} table 77",
    )
    ours, peer = t.with_peer(net, "active")
    t.equal({mac_of(seg) for seg in peer.all}, {net.b.mac}, "SYN, ACK")
    t.equal(mac_of(said(ours, peer)), net.b.mac, "text")


@t.test("MUST-44", family=4)
def rule_that_prohibits():
    """connect() tells of it, though the address was its own choice."""
    net = t.net()
    for_now(net.a, f"rule add from {net.a.address} to {t.GHOST} prohibit")
    with t.fails_with(errno.EACCES):
        net.a.sock().connect((t.GHOST, 9))


@t.test(cases={"mark": "fwmark 7", "user": "uidrange 1234-1234"})
def answers_of_a_listener(rule):
    """SYN,ACK and RST go where its children's segments go."""
    net = t.net()
    for_now(net.a, f"rule add {rule} table 77")
    for_now(
        net.a,
        f"route add {t.GHOST}/{HOST} via {net.b.address} dev a0 table 77",
        f"route del {t.GHOST}/{HOST} table 77",
    )
    listener = net.a.listener()
    listener.setsockopt(socket.SOL_SOCKET, SO_MARK, 7)
    os.fchown(listener.fileno(), 1234, -1)
    peer, stranger = t.Peer(net), t.Peer(net)
    peer.connect(listener.getsockname()[1])
    child = listener.accept()[0]
    t.cleanup(child.close)
    said(child, peer)
    t.equal({mac_of(seg) for seg in peer.all}, {net.b.mac}, "SYN,ACK, text")
    stranger.dut_port = peer.dut_port
    stranger.send("A", tos=0xB9)
    reset = stranger.expect("R")
    t.equal((mac_of(reset), reset.tos), (net.b.mac, 0xB8), "RST")


@t.test()
def priority():
    """SO_PRIORITY 6 goes by the first band of a prio discipline."""
    net = t.net()
    net.a.run("tc qdisc replace dev a0 root handle 1: prio")
    t.cleanup(net.a.run, "tc qdisc del dev a0 root")
    ours, peer = t.with_peer(net)

    def in_first_band():
        text = net.a.run("tc -s class show dev a0 classid 1:1")
        return int(text.split("Sent ")[1].split()[2])

    before = in_first_band()
    said(ours, peer)
    t.equal(in_first_band(), before, "by default")
    ours.setsockopt(socket.SOL_SOCKET, SO_PRIORITY, 6)
    said(ours, peer)
    t.equal(in_first_band(), before + 1, "with priority 6")


@t.test(cases={"a0": b"a0\0", "lo": b"lo\0"})
def bound_device(name):
    """A listener hears its device only."""
    net = t.net()
    listener = net.a.listener()
    listener.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, name)
    peer = t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    if name == b"lo\0":
        peer.expect("RA", what="nobody listens there")
        return
    peer.expect("SA")
    peer.send("A")
    child = listener.accept()[0]
    t.cleanup(child.close)
    t.equal(child.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, 16), name)


def net_in_a_vrf(accept):
    """The device of a is one of the VRF "red"."""
    net = t.own_net()
    net.a.sysctl("ipv4.tcp_l3mdev_accept", accept)
    net.a.batch(
        "link add red type vrf table 10",
        "link set red up",
        "link set a0 master red",
        f"neigh replace {t.GHOST} lladdr {t.GHOST_MAC} dev a0 nud permanent",
    )
    return net


@t.test(
    family=4,
    cases={"unbound": (0, 0), "bound": (0, 1), "l3mdev_accept": (1, 0)},
)
def vrf(accept, bound):
    """A listener hears a VRF if bound to it, or if the host says so."""
    net = net_in_a_vrf(accept)
    listener = net.a.sock()
    if bound:
        listener.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"red\0")
    listener.bind((t.ANY, 0))
    listener.listen()
    peer = t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    if not accept and not bound:
        peer.expect("RA")
        return
    peer.expect("SA")
    peer.send("A")
    child = listener.accept()[0]
    t.cleanup(child.close)
    device = child.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, 16)
    t.equal(device, b"red\0", "the child is of the VRF")
    said(child, peer)
    child.close()
    peer.expect("FA")


@t.test(family=4, cases={"heard": 1, "not heard": 0})
def out_by_a_vrf(accept):
    """A route leads out by a device of a VRF, which the socket is not bound to."""
    net = net_in_a_vrf(accept)
    net.a.run(f"ip route add {t.GHOST} dev a0")
    if accept:
        ours, peer = t.with_peer(net, "active")
        said(ours, peer)
        ours.close()
        peer.expect("FA")
        peer.send("FA")
        peer.expect("A", what="TIME-WAIT")
        return
    ours = net.a.sock()
    ours.setblocking(False)
    peer = t.Peer(net)
    ours.connect_ex((t.GHOST, peer.port))
    syn = peer.expect("S")
    peer.dut_port = syn.sport
    peer.send("SA", ack=1)
    peer.expect("R", what="not in this VRF")


@t.test()
def addresses_of_others():
    """IP_FREEBIND binds, IP_TRANSPARENT sends from what is not ours."""
    net = t.net()
    for option in None, IP_FREEBIND, IP_TRANSPARENT:
        ours = net.a.sock()
        if option is None:
            with t.fails_with(errno.EADDRNOTAVAIL):
                ours.bind((t.ELSEWHERE, 0))
            continue
        ours.setsockopt(t.IP, option, 1)
        ours.bind((t.ELSEWHERE, 0))
        ours.setblocking(False)
        if option == IP_TRANSPARENT:
            peer = t.Peer(net)
            ours.connect_ex((t.GHOST, peer.port))
            t.equal(peer.expect("S").src, t.ELSEWHERE, "source")
        else:
            ours.listen()


def control_messages(raw):
    """{(level, type): int} of what IP_PKTOPTIONS wrote."""
    found = {}
    while len(raw) >= 20:
        size, level, kind, value = struct.unpack_from("=QIIi", raw)
        found[level, kind] = value
        raw = raw[-(-size // 8) * 8 :]
    return found


@t.test("MAY-9")
def received_tos():
    """IP_RECVTOS, IPV6_RECVTCLASS: that of the latest segment."""
    want, read = (66, 6) if SIX else (13, 9)
    ours, peer = t.with_peer(t.net())
    ours.setsockopt(t.IP, want, 1)
    for tos in 0xB8, 0x20:
        peer.send("AP", data=b"x", tos=tos)
        t.equal(ours.recv(1), b"x")
        seen = control_messages(ours.getsockopt(t.IP, read, 200))
        t.equal(seen.get((t.IP, t.IP_TOS)), tos, f"in {seen}")


# --- options of the IPv4 header -----------------------------------------------

HOP, FAR, FARTHER = t.address_of(2, 4), "192.0.2.1", "192.0.2.2"
LSRR, SSRR, RR, TS = 0x83, 0x89, 7, 0x44


def route(*hops, kind=LSRR, walked=False):
    """A source route option, at its beginning or at its end."""
    size = 3 + 4 * len(hops)
    head = bytes((kind, size, size + 1 if walked else 4))
    return head + b"".join(map(socket.inet_aton, hops)) + b"\0"


def options_of(seg):
    return seg.frame[34 : 14 + (seg.frame[14] & 15) * 4]


class Routed(t.Peer):
    """A peer whose segments are met on their way, at the first hop."""

    hop = HOP

    def _drain(self):
        self.address, real = self.hop, self.address
        super()._drain()
        self.address = real

    def by(self, what, *hops, kind=LSRR):
        """The next segment, which must take this way to us."""
        seg = self.expect(what)
        t.equal(
            (seg.dst, options_of(seg).hex()),
            (self.hop, route(*hops, self.address, kind=kind).hex()),
            f"way of {seg}",
        )
        pseudo = t._pseudo(seg.src, self.address, 6, len(seg.tcp))
        t.equal(t.checksum(pseudo + seg.tcp), 0, "checksum")
        return seg


def source_routes():
    """a takes them, b has nothing to do with them."""
    net = t.net()
    for ns, value in ((net.a, 1), (net.b, 0)):
        for device in "all", ns.device:
            ns.sysctl(f"ipv4.conf.{device}.accept_source_route", value)
    return net


def by_route(way, **options):
    """A passive open of ours, its SYN by that way: (socket, peer)."""
    net = source_routes()
    peer = Routed(net, **options)
    listener = net.a.listener()
    peer.dut_port = listener.getsockname()[1]
    peer.send("S", ip_options=way)
    return listener, peer


@t.test("MUST-53", "MUST-50", family=4, cases={"loose": LSRR, "strict": SSRR})
def the_way_back(kind):
    """All segments of the connection go back by the SYN's route, reversed."""
    net = t.net()
    net.a.tune(synack_retries=2, msl_ms=500)
    listener, peer = by_route(route(FAR, FARTHER, HOP, kind=kind, walked=True))
    back = FARTHER, FAR
    peer.by("SA", *back, kind=kind)
    peer.by("SA", *back, kind=kind)
    peer.send("A")
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    ours.send(b"text")
    peer.by("A", *back, kind=kind)
    peer.by("A", *back, kind=kind)
    peer.send("A")
    ours.send(bytes(2 * 1444))
    t.equal(peer.by("A", *back, kind=kind).len, 1444, "full segment")
    peer.by("A", *back, kind=kind)
    peer.send("A")
    ours.close()
    peer.by("FA", *back, kind=kind)
    peer.send("FA")
    peer.by("A", *back, kind=kind)
    peer.send("FA", seq=1)
    peer.by("A", *back, kind=kind)


@t.test("MUST-53", family=4)
def a_route_that_begins_with_its_source():
    """Some record themselves first; that is no hop of the way back."""
    _, peer = by_route(route(t.GHOST, FAR, HOP, walked=True))
    peer.by("SA", FAR)


@t.test("MUST-53", family=4)
def no_way_back():
    """No route, and one that is only the source itself: straight back."""
    for way in b"\1\1\1\0", route(t.GHOST, walked=True):
        net = source_routes()
        peer = t.Peer(net)
        peer.dut_port = net.a.listener().getsockname()[1]
        peer.send("S", ip_options=way)
        t.equal(options_of(peer.expect("SA")), b"")


@t.test("SHLD-24", "MUST-53", family=4)
def the_latest_way_counts():
    """Of acceptable segments only."""
    listener, peer = by_route(route(FAR, HOP, walked=True))
    peer.by("SA", FAR)
    peer.send("A")
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    other = route(FARTHER, FAR, HOP, walked=True)
    peer.send("A", seq=70000, ip_options=other)
    peer.by("A", FAR)
    peer.send("A", data=b"text", ip_options=other)
    peer.by("A", FAR, FARTHER)
    ours.send(b"text")
    peer.by("A", FAR, FARTHER)


@t.test("MUST-51", "MUST-52", family=4, cases={"loose": LSRR, "strict": SSRR})
def the_way_of_the_user(kind):
    """IP_OPTIONS before connect(); what comes by another way changes nothing."""
    net = source_routes()
    ours = net.a.sock()
    ours.setsockopt(
        socket.IPPROTO_IP, socket.IP_OPTIONS, route(HOP, FAR, kind=kind)
    )
    peer = Routed(net)
    ours.setblocking(False)
    ours.connect_ex((t.GHOST, peer.port))
    seg = peer.by("S", FAR, kind=kind)
    peer.dut_port, peer.rcv = seg.sport, 1
    other = route(FARTHER, HOP, walked=True)
    peer.send("SA", ip_options=other)
    peer.by("A", FAR, kind=kind)
    peer.send("A", data=b"text", ip_options=other)
    peer.by("A", FAR, kind=kind)
    t.equal(ours.getpeername(), (t.GHOST, peer.port))
    ours.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"")
    plain = t.Peer(net, port=peer.port)
    ours.send(b"x")
    seg = plain.get()
    t.equal((seg.dst, options_of(seg)), (t.GHOST, b""), "taken back")


@t.test("MUST-51", family=4)
def strict_route_by_a_router():
    """The first hop of a strict route must be a neighbour."""
    net = source_routes()
    for_now(net.a, f"route add {FAR}/32 via {net.b.address}")
    ours = net.a.sock()
    way = route(FAR, kind=SSRR)
    ours.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, way)
    with t.fails_with(errno.EHOSTUNREACH):
        ours.connect((t.GHOST, 9))


@t.test("MAY-10", "MAY-11", family=4)
def recording_options():
    """Timestamp and Record Route: our own entry is made."""
    net = t.net()
    cases = (
        (bytes((RR, 11, 4)) + bytes(9), bytes((RR, 11, 8))),
        (bytes((TS, 12, 5, 0)) + bytes(8), bytes((TS, 12, 9, 0))),
        (bytes((TS, 12, 5, 1)) + bytes(8), bytes((TS, 12, 13, 1))),
    )
    for asked, wanted in cases:
        ours, peer = t.with_peer(net)
        ours.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, asked)
        sent = options_of(said(ours, peer))
        t.equal(sent[: len(wanted)].hex(), wanted.hex(), "head")
        rest = sent[len(wanted) :]
        if asked[0] == RR or asked[3]:
            t.equal(socket.inet_ntoa(rest[:4]), net.a.address, "our entry")
            rest = rest[4:]
        if asked[0] == TS:
            now = struct.unpack_from(">I", rest)[0]
            t.between(now, 1, 86400000, "ms since midnight")


# --- path MTU, with a router that says it -------------------------------------


@t.test(
    "MUST-54",
    "MUST-16",
    "R5927-5",
    cases={"cftcp sends": (0, 0), "both": (1, 0), "by a rule of TCP": (1, 1)},
)
def narrow_link(both, rule):
    """a - b - c, and b to c takes 1300 octets: all arrives, and in time."""
    net = t.own_net()
    c = t.Namespace("c", 2, "c0", "02:00:00:00:00:04")
    t.cleanup(c.close)
    far = ("fd33::1/64", "fd33::2/64") if SIX else ("10.33.0.1/24", "10.33.0.2/24")
    net.b.batch(
        "link add b1 type veth peer name c0 "
        f"netns /proc/{t.os.getpid()}/fd/{c.fd}",
        "link set b1 address 02:00:00:00:00:03 mtu 1300 up",
        f"addr add {far[0]} dev b1" + " nodad" * SIX,
        f"neigh replace {far[1].split('/')[0]} lladdr {c.mac} dev b1",
    )
    c.batch(
        f"link set c0 address {c.mac} up",
        f"addr add {far[1]} dev c0" + " nodad" * SIX,
        f"neigh replace {far[0].split('/')[0]} lladdr 02:00:00:00:00:03 dev c0",
    )
    c.run(f"{IP} route add {t.SUBNET} via {far[0].split('/')[0]}")
    subnet = "fd33::/64" if SIX else "10.33.0.0/24"
    table = "table 77" if rule else ""
    net.a.run(f"{IP} route add {subnet} via {net.b.address} {table}")
    if rule:
        net.a.run(f"{IP} rule add ipproto tcp table 77")
        net.a.run(f"{IP} route add {subnet} dev a0")
    forward = "ipv6.conf.all.forwarding" if SIX else "ipv4.ip_forward"
    net.b.sysctl(forward, 1)
    c.address = far[1].split("/")[0]
    client, server = t.connect(
        net.a, c, server_proto=t.DUT if both else t.STOCK
    )
    text = t.pattern(300000)
    reader = t.Background(t.read_exactly, server, len(text))
    before = net.a.counters()
    client.sendall(text)
    t.equal(reader.result(), text, "text")
    if not rule:
        t.equal(client.getsockopt(t.IP, IP_MTU), 1300, "IP_MTU")
    done = net.a.counters() - before
    if t.DUT != t.STOCK:
        t.equal(done["MtuReduced"], 1, "MTU")
        check_timeouts(done, 0)


@t.test("MUST-16", cases={"1 octet": 1, "12 octets": 12})
def no_room_for_text(room):
    """A route says an MTU that IP and TCP and the timestamps fill, and more."""
    net = t.net()
    net.b.tune(rmem="4096 16777216 16777216")
    ours, peer = t.connect(net.a, net.b, t.DUT, t.DUT)
    mtu = (60 if SIX else 40) + room
    route = f"{net.b.address}/{HOST} dev a0"
    peer.send(b"x")  # tells the window, too
    t.equal(ours.recv(2), b"x")
    for_now(net.a, f"route add {route} mtu {mtu}", f"route del {route}")
    ours.send(b"meanwhile ")
    t.equal(len(ours.getsockopt(socket.SOL_TCP, TCP_INFO, 256)) > 0, True)
    net.a.run(f"{IP} route change {route} mtu 1500")
    ours.send(b"after")
    t.equal(t.read_exactly(peer, 15), b"meanwhile after")


def check_timeouts(done, wanted):
    """There may be more where the machine is slow."""
    t.between(done["RtoFired"], wanted, wanted + 20 * t.DEBUG, "timeouts")


# --- path MTU, and nobody says it ---------------------------------------------


def swallow(net, most):
    """The wire loses packets of more octets, silently."""
    return net.wire.on(lambda seg, right: seg.total > most, "drop", times=None)


def sent_sizes(net):
    """Total octets of the segments with text from a, as they were sent."""
    log = net.wire.log
    return [(s.total, action) for s, action in log if s.len and s.src == net.a.address]


def narrow(net):
    """A connection with little in flight, for there is a probe a round trip."""

    def prepare(client, listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)

    return t.connect(net.a, net.b, server_proto=t.STOCK, prepare=prepare)


def transfer(client, server, size):
    text = t.pattern(size)
    reader = t.Background(t.read_exactly, server, size)
    client.sendall(text)
    t.equal(reader.result(), text, "text")


# (largest packet, whole text): IPv6 hosts take 1280 at least.
HOLES = {"1400": 1400, "1300": 1300} if SIX else {"1400": 1400, "700": 700}


@t.test(cases=HOLES)
def black_hole(most):
    """Found by timeouts, then the largest size that passes by probes."""
    net = t.net(wire=True)
    net.a.tune(pmtu_probe_interval_ms=60000)
    hole = swallow(net, most)
    before = net.a.counters()
    client, server = narrow(net)
    transfer(client, server, 400000)
    done = net.a.counters() - before
    steps = 2 if most == 700 else 1
    t.equal(done["MtuBlackHole"], steps, "black holes")
    check_timeouts(done, 2 + steps)
    t.between(done["MtuProbe"], 3, 12, "probes")
    sizes = sent_sizes(net)
    reached = max(size for size, action in sizes if action == "pass")
    t.between(reached, most - 8, most, "largest packet that passed")
    full = [size for size, _ in sizes[-40:]]
    t.check(full.count(reached) > 20, f"not of the size that passes: {full}")
    net.wire.rules.remove(hole)
    net.wire.log.clear()
    transfer(client, server, 100000)
    t.equal(max(sent_sizes(net))[0], reached, "before the next search")
    t.time.sleep(60)
    net.wire.log.clear()
    transfer(client, server, 200000)
    t.equal(max(sent_sizes(net))[0], t.MTU, "after the next search")
    check_timeouts(net.a.counters() - before, 2 + steps)


@t.test()
def search_from_the_beginning():
    """pmtu_probing 2: the first segments are small, a probe proves more."""
    net = t.net(wire=True)
    net.a.tune(pmtu_probing=2)
    client, server = narrow(net)
    client.send(bytes(3000))
    t.read_exactly(server, 3000)
    base = (1220 if SIX else 1024) + t.IP_HEADER + 20
    t.equal(max(sent_sizes(net))[0], base, "largest at first")
    transfer(client, server, 200000)
    sizes = [size for size, _ in sent_sizes(net)]
    t.check(sizes[-40:].count(t.MTU) > 20, f"in the end: {sizes[-40:]}")


@t.test()
def no_search():
    """pmtu_probing 0: full segments for ever; 1: small ones lose nothing."""
    net = t.net(wire=True)
    hole = swallow(net, 1400)
    net.a.tune(pmtu_probing=0)
    client, _ = t.connect(net.a, net.b, server_proto=t.STOCK)
    t.linger(client, 1, 0)
    before = net.a.counters()
    client.send(bytes(t.MSS))
    wanted = 6
    t.wait_for(
        lambda: (net.a.counters() - before)["RtoFired"] >= wanted, 60, "timeouts"
    )
    t.equal((net.a.counters() - before)["MtuBlackHole"], 0, "black holes")
    net.wire.rules.remove(hole)
    client.close()
    net.a.tune(pmtu_probing=1)
    client, _ = t.connect(net.a, net.b, server_proto=t.STOCK)
    net.wire.on(lambda seg, right: seg.len > 0, "drop", times=None)
    before = net.a.counters()
    client.send(bytes(500))
    t.wait_for(
        lambda: (net.a.counters() - before)["RtoFired"] >= wanted, 60, "timeouts"
    )
    t.equal((net.a.counters() - before)["MtuBlackHole"], 0, "black holes")


t.main()
