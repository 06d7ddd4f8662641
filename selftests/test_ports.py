#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Two stacks, one port space: a port that one owns is not the other's."""
import contextlib
import ctypes
import errno
import itertools
import os
import resource
import socket
import struct

import cftest as t

ANY, (ONE, TWO, THREE, FOUR) = t.ANY, t.LOOPBACKS
STACKS = {
    "cftcp then stock": (t.DUT, t.STOCK),
    "stock then cftcp": (t.STOCK, t.DUT),
    "cftcp then cftcp": (t.DUT, t.DUT),
}
OVERLAPS = {
    f"{name} {x} {y}": protos + (x, y)
    for name, protos in STACKS.items()
    for x, y in ((ONE, ONE), (ANY, ANY), (ONE, ANY), (ANY, ONE))
}


def sock(ns, proto, reuse=False):
    made = ns.sock(proto)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
    return made


def bound(ns, proto, address=ANY, port=0, reuse=False, listen=False):
    made = sock(ns, proto, reuse)
    made.bind((address, port))
    if listen:
        made.listen()
    return made


def port_of(made):
    return made.getsockname()[1]


def in_use(ns, proto, address, port, reuse=False):
    with t.fails_with(errno.EADDRINUSE):
        bound(ns, proto, address, port, reuse)


def becomes_free(ns, proto, address, port):
    """The reservation goes a moment after its last user."""

    def free():
        try:
            bound(ns, proto, address, port).close()
        except OSError as error:
            t.equal(error.errno, errno.EADDRINUSE)
            return False
        return True

    t.wait_for(free, 5, f"{address}:{port} free for {proto}")


@t.test("section-2", "L-73", cases=OVERLAPS)
def bind_conflicts(first, second, x, y):
    ns = t.own_net().a
    for listen in False, True:
        held = bound(ns, first, x, listen=listen)
        in_use(ns, second, y, port_of(held))
        port = port_of(held)
        held.close()
        becomes_free(ns, second, y, port)


@t.test("section-2", "L-73")
def more_addresses_of_a_port():
    """One of the port's addresses being ours opens no way to the others,
    where connections of stock TCP are left over from a listener."""
    ns = t.own_net().a
    listener = bound(ns, t.STOCK, ONE, reuse=True, listen=True)
    port = port_of(listener)
    client = ns.sock(t.STOCK)
    client.connect((ONE, port))
    server = listener.accept()[0]
    t.cleanup(server.close)
    listener.close()
    held = [bound(ns, t.DUT, TWO, port, reuse=True)]
    for reuse in False, True:
        for address in ONE, ANY:
            in_use(ns, t.DUT, address, port, reuse)
    held.append(bound(ns, t.DUT, THREE, port))
    held.append(bound(ns, t.DUT, FOUR, port))
    for reuse in False, True:
        in_use(ns, t.STOCK, THREE, port, reuse)
    client.send(b"still there")
    t.equal(server.recv(20), b"still there", "connection of stock TCP")


@t.test("section-2", "L-73", cases=OVERLAPS)
def reuseaddr_does_not_share_a_listener(first, second, x, y):
    ns = t.own_net().a
    held = bound(ns, first, x, reuse=True, listen=True)
    in_use(ns, second, y, port_of(held), reuse=True)


@t.test("section-2", cases={n: p for n, p in STACKS.items()})
def other_addresses_are_free(first, second):
    ns = t.own_net().a
    held = bound(ns, first, ONE, listen=True)
    other = bound(ns, second, TWO, port_of(held), listen=True)
    client = ns.sock(first)
    client.connect(held.getsockname())
    held.accept()[0].close()
    client = ns.sock(second)
    client.connect(other.getsockname())
    other.accept()[0].close()


@t.test("section-2", "L-73")
def reuseaddr_within_cftcp():
    ns = t.own_net().a
    one = bound(ns, t.DUT, ANY, reuse=True)
    two = bound(ns, t.DUT, ANY, port_of(one), reuse=True)
    in_use(ns, t.DUT, ANY, port_of(one))
    one.listen()
    with t.fails_with(errno.EADDRINUSE):
        two.listen()


@t.test("section-2")
def other_namespaces_are_free():
    net = t.own_net()
    held = bound(net.a, t.DUT, ANY, listen=True)
    bound(net.b, t.STOCK, ANY, port_of(held), listen=True)
    bound(net.b, t.DUT, ANY).close()


@t.test("section-2", "L-73")
def connections_hold_their_port():
    net = t.own_net()
    for ns, proto in ((net.a, t.DUT), (net.a, t.STOCK)):
        client, server = t.connect(ns, net.b, proto)
        other = t.DUT if proto == t.STOCK else t.STOCK
        in_use(ns, other, ANY, port_of(client))
        in_use(ns, other, net.a.address, port_of(client))
    client, server = t.connect(net.b, net.a, t.STOCK, t.DUT)
    in_use(net.a, t.STOCK, ANY, port_of(server))  # an accepted one as well
    in_use(net.a, t.STOCK, ANY, port_of(server), reuse=True)
    client.close()
    t.equal(server.recv(1), b"", "EOF")
    port = port_of(server)
    server.close()
    becomes_free(net.a, t.STOCK, ANY, port)


@t.test("section-2", "L-73", "MUST-13", "MUST-41")
def time_wait_holds_the_port():
    net = t.own_net()
    net.a.tune(msl_ms=3000)
    if t.DUT == t.STOCK:
        return
    client, server = t.connect(net.a, net.b)
    ends = t.ports(client)
    client.close()
    t.equal(server.recv(1), b"", "EOF")
    server.close()
    net.a.wait_state("TIME-WAIT", *ends)
    in_use(net.a, t.STOCK, ANY, ends[0])
    in_use(net.a, t.STOCK, ANY, ends[0], reuse=True)
    in_use(net.a, t.DUT, ANY, ends[0])
    listener = bound(net.a, t.DUT, ANY, ends[0], reuse=True, listen=True)
    t.equal(net.a.state(*ends), "TIME-WAIT", "beside the listener")
    listener.close()
    in_use(net.a, t.DUT, ANY, ends[0])
    net.a.wait_state("CLOSED", *ends, timeout=8)
    becomes_free(net.a, t.STOCK, ANY, ends[0])


@t.test("section-2", "MUST-13")
def orphans_hold_the_port():
    net = t.own_net()
    client, server = t.connect(net.a, net.b)
    ends = t.ports(client)
    client.close()
    net.a.wait_state("FIN-WAIT-2", *ends)
    in_use(net.a, t.STOCK, ANY, ends[0])
    t.linger(server, 1, 0)
    server.close()
    net.a.wait_state("CLOSED", *ends)
    becomes_free(net.a, t.STOCK, ANY, ends[0])


def small_range(ns, low=40000, high=40003):
    ns.sysctl("ipv4.ip_local_port_range", f"{low} {high}")
    return set(range(low, high + 1))


IP_LOCAL_PORT_RANGE = 51


@t.test("API")
def range_of_a_socket():
    """IP_LOCAL_PORT_RANGE: bind() and connect() keep to a part of the range."""
    net = t.own_net()
    low, high = 42000, 42001
    limits = struct.pack("=HH", low, high)
    listener = net.b.listener(t.STOCK)

    def choosy():
        made = sock(net.a, t.DUT)
        made.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, limits)
        return made

    one, two, three = choosy(), choosy(), choosy()
    one.bind((ANY, 0))
    two.connect((net.b.address, port_of(listener)))
    t.equal({port_of(one), port_of(two)}, {low, high})
    with t.fails_with(errno.EADDRINUSE):
        three.bind((ANY, 0))
    sock(net.a, t.DUT).bind((ANY, 0))


@t.test("section-2", "R6056-1")
def ephemeral_ports_stay_in_the_range():
    net = t.own_net()
    wanted = small_range(net.a)
    taken = [bound(net.a, p) for p in (t.DUT, t.STOCK, t.DUT, t.STOCK)]
    t.equal({port_of(s) for s in taken}, wanted, "ports chosen by bind")
    for proto in t.DUT, t.STOCK:
        with t.fails_with(errno.EADDRINUSE):
            bound(net.a, proto)
        with t.fails_with(errno.EADDRNOTAVAIL, errno.EADDRINUSE):
            sock(net.a, proto).connect((net.b.address, 9))
    listener = net.b.listener(t.STOCK)
    free = port_of(taken[1])
    taken[1].close()
    client = sock(net.a, t.DUT)
    client.connect((net.b.address, port_of(listener)))
    t.equal(port_of(client), free, "the one that was left")


@t.test("section-2", "R6056-1")
def connect_chooses_free_ports():
    net = t.own_net()
    wanted = small_range(net.a)
    listeners = [net.b.listener(t.STOCK) for _ in range(2)]
    held = bound(net.a, t.STOCK)
    wanted.discard(port_of(held))
    for listener in listeners:  # another destination: ports may serve again
        clients = [sock(net.a, t.DUT) for _ in range(3)]
        for client in clients:
            client.connect((net.b.address, port_of(listener)))
        t.equal({port_of(c) for c in clients}, wanted, "ports")
        with t.fails_with(errno.EADDRNOTAVAIL):
            sock(net.a, t.DUT).connect((net.b.address, port_of(listener)))
    with t.fails_with(errno.EADDRNOTAVAIL):
        sock(net.a, t.STOCK).connect((net.b.address, port_of(listeners[0])))


@t.test("section-2", "L-73", "L-51")
def one_connection_a_4_tuple():
    net = t.own_net()
    listener = net.b.listener(t.STOCK)
    one = bound(net.a, t.DUT, ANY, reuse=True)
    two = bound(net.a, t.DUT, ANY, port_of(one), reuse=True)
    one.connect((net.b.address, port_of(listener)))
    with t.fails_with(errno.EADDRNOTAVAIL, errno.EADDRINUSE):
        two.connect((net.b.address, port_of(listener)))
    other = net.b.listener(t.STOCK)
    three = bound(net.a, t.DUT, ANY, port_of(one), reuse=True)
    three.connect((net.b.address, port_of(other)))
    three.send(b"three")
    t.equal(other.accept()[0].recv(9), b"three", "data")
    one.send(b"one")
    t.equal(listener.accept()[0].recv(9), b"one", "data")


@t.test("MUST-42", "MUST-41", cases={"SYN-SENT": True, "ESTABLISHED": False})
def listen_beside_an_opening_connection(opening):
    """A port from which a connection is opened can also be listened on."""
    net = t.own_net()
    peer = t.Peer(net)
    one = bound(net.a, t.DUT, ANY, reuse=True)
    one.setblocking(False)
    one.connect_ex((peer.address, peer.port))
    if opening:
        peer.dut_port = peer.expect("S").sport
        peer.rcv = 1
    else:
        peer.accept()
    two = bound(net.a, t.DUT, ANY, port_of(one), reuse=True, listen=True)
    t.Peer(net).connect(port_of(two))
    two.accept()[0].close()
    if opening:
        peer.send("SA")
        peer.expect("A", seq=1, ack=1)
    peer.send("A", data=b"undisturbed")
    one.settimeout(5)
    t.equal(one.recv(20), b"undisturbed")


@t.test("R6056-1", "R5927-6")
def ephemeral_ports_are_not_in_order():
    net = t.own_net()
    listener = net.b.listener(t.STOCK)
    seen = []
    for _ in range(20):
        client = sock(net.a, t.DUT)
        client.connect((net.b.address, port_of(listener)))
        seen.append(port_of(client))
    steps = {b - a for a, b in itertools.pairwise(seen)}
    t.check(len(steps) > 3, f"ports {seen}")
    low, high = map(int, net.a.sysctl("ipv4.ip_local_port_range").split())
    t.check(all(low <= p <= high for p in seen), f"ports {seen}")


@t.test("section-2")
def reserved_ports_are_not_chosen():
    net = t.own_net()
    wanted = small_range(net.a)
    net.a.sysctl("ipv4.ip_local_reserved_ports", "40001")
    listener = net.b.listener(t.STOCK)
    seen = set()
    for _ in range(3):
        client = sock(net.a, t.DUT)
        client.connect((net.b.address, port_of(listener)))
        seen.add(port_of(client))
    t.equal(seen, wanted - {40001}, "ports")


@t.test("section-2", "MUST-44", "MUST-45")
def segments_go_to_the_owner():
    """Each stack serves the ports that it owns, both at once."""
    net = t.own_net()
    for proto in t.DUT, t.STOCK, t.DUT, t.STOCK:
        listener = net.a.listener(proto)
        client = net.b.sock(t.STOCK)
        client.connect((net.a.address, port_of(listener)))
        server = listener.accept()[0]
        server.send(str(proto).encode())
        t.equal(client.recv(9), str(proto).encode(), "data")
    nobody = net.b.sock(t.STOCK)
    port = port_of(listener)
    listener.close()
    server.close()
    with t.fails_with(errno.ECONNREFUSED):
        nobody.connect((net.a.address, port))


# --- SO_REUSEPORT --------------------------------------------------------------


def sharing(ns, address=ANY, port=0, proto=None, uid=0, listen=True):
    """A socket with SO_REUSEPORT, of a user."""
    made = ns.sock(proto)
    os.fchown(made.fileno(), uid, -1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind((address, port))
    if listen:
        made.listen(1000)
    return made


def group(ns, size, address=ANY):
    first = sharing(ns, address)
    rest = [sharing(ns, address, port_of(first)) for _ in range(size - 1)]
    return [first] + rest


def accept_all(listener):
    """How many connections wait there."""
    listener.setblocking(False)
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def call(ns, address, port, times, proto=t.STOCK):
    """Connections to there, that stay open."""
    made = [ns.sock(proto) for _ in range(times)]
    for one in made:
        one.connect((address, port))
    return made


@t.test("L-73", "MUST-42", cases={"any": ANY, "one address": ONE})
def reuseport_spreads_connections(address):
    """All listeners of a group get their share, and who leaves gets none."""
    ns = t.own_net().a
    listeners = group(ns, 4, address)
    port, times = port_of(listeners[0]), 40 if t.DEBUG else 120
    open_ones = call(ns, ONE, port, times)
    shares = [accept_all(one) for one in listeners]
    t.note(f"shares {shares}")
    t.equal(sum(shares), times, "connections accepted")
    t.between(min(shares), times // 12, times, "least share")
    listeners.pop(1).close()
    open_ones += call(ns, ONE, port, times)
    shares = [accept_all(one) for one in listeners]
    t.equal(sum(shares), times, "connections of those that are left")
    t.check(min(shares) > 0, f"shares {shares}")
    last = listeners.pop()
    for one in listeners:
        one.shutdown(socket.SHUT_RD)  # back to CLOSED, but bound
    open_ones += call(ns, ONE, port, 10)
    t.equal(accept_all(last), 10, "connections of the last one")


@t.test("L-73")
def reuseport_is_one_user_s():
    """Another user's socket is EADDRINUSE, with whatever options."""
    ns = t.own_net().a
    held = sharing(ns, ONE, uid=1000)
    port = port_of(held)
    for address in ONE, ANY:
        for uid in 0, 1001:
            with t.fails_with(errno.EADDRINUSE):
                sharing(ns, address, port, uid=uid)
    in_use(ns, t.DUT, ONE, port)
    in_use(ns, t.DUT, ONE, port, reuse=True)
    sharing(ns, ONE, port, uid=1000).close()
    sharing(ns, ANY, port, uid=1000).close()
    sharing(ns, TWO, port).close()
    # listen() asks again: SO_REUSEADDR let both bind.
    both = [ns.sock() for _ in range(2)]
    for one, uid in zip(both, (1000, 1001)):
        os.fchown(one.fileno(), uid, -1)
        for option in socket.SO_REUSEADDR, socket.SO_REUSEPORT:
            one.setsockopt(socket.SOL_SOCKET, option, 1)
        one.bind((THREE, port_of(both[0]) if one is both[1] else 0))
    both[0].listen()
    with t.fails_with(errno.EADDRINUSE):
        both[1].listen()


@t.test("L-73", cases={n: p for n, p in STACKS.items() if "stock" in n})
def reuseport_does_not_join_the_stacks(first, second):
    """A group is of one stack: the other one's socket is EADDRINUSE."""
    ns = t.own_net().a
    held = sharing(ns, ONE, proto=first)
    for address in ONE, ANY:
        with t.fails_with(errno.EADDRINUSE):
            sharing(ns, address, port_of(held), proto=second)
    port = port_of(held)
    held.close()
    becomes_free(ns, second, ONE, port)


@t.test("L-73", "MUST-43")
def reuseport_prefers_the_address():
    """A group of the address itself goes before a group of all addresses."""
    ns = t.own_net().a
    one = group(ns, 2, ONE)
    port = port_of(one[0])
    other = [sharing(ns, ANY, port) for _ in range(2)]
    open_ones = call(ns, ONE, port, 20)
    t.equal(sum(map(accept_all, one)), 20, "of the address")
    t.equal(sum(map(accept_all, other)), 0, "of all, to that address")
    open_ones += call(ns, TWO, port, 20)
    t.equal(sum(map(accept_all, other)), 20, "of all, to another address")
    t.equal(len(open_ones), 40)


@t.test("L-73", "MUST-13")
def reuseport_after_time_wait():
    """A server with SO_REUSEPORT comes back beside its TIME-WAIT."""
    net = t.own_net()
    listener = sharing(net.a)
    port = port_of(listener)
    client = call(net.b, net.a.address, port, 1)[0]
    server = listener.accept()[0]
    ends = t.ports(server)
    server.close()
    t.equal(client.recv(1), b"", "EOF")
    client.close()
    net.a.wait_state("TIME-WAIT", *ends)
    listener.close()
    in_use(net.a, t.DUT, ANY, port)
    sharing(net.a, ANY, port)
    t.equal(net.a.state(*ends), "TIME-WAIT", "beside the listener")


SO_ATTACH_REUSEPORT_CBPF = 51
BPF_RET_K = 6


def attach(sock, *instructions):
    """A classic BPF program [(code, k)] that chooses the listener."""
    code = b"".join(struct.pack("HBBI", c, 0, 0, k) for c, k in instructions)
    room = ctypes.create_string_buffer(code)
    program = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(room))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)


@t.test("L-73")
def reuseport_by_program():
    """SO_ATTACH_REUSEPORT_CBPF chooses; beyond the group the hash does."""
    ns = t.own_net().a
    lone = ns.sock()
    with t.fails_with(errno.EINVAL):
        attach(lone, (BPF_RET_K, 0))
    listeners = group(ns, 3)
    port = port_of(listeners[0])
    for chosen in 2, 0:
        attach(listeners[1], (BPF_RET_K, chosen))
        open_ones = call(ns, ONE, port, 12)
        shares = [accept_all(one) for one in listeners]
        t.equal(shares[chosen], len(open_ones), f"share of {chosen}: {shares}")
    attach(listeners[1], (BPF_RET_K, 99))
    open_ones = call(ns, ONE, port, 60)
    shares = [accept_all(one) for one in listeners]
    t.check(min(shares) > 0, f"shares {shares}")
    # What the program sees begins with the text: a SYN has none of it.
    attach(listeners[0], (0x80, 0), (0x16, 0))  # A = length; return A
    open_ones += call(ns, ONE, port, 6)
    t.equal(accept_all(listeners[0]), 6, "share of 0")


def opening(net, port):
    """A connection that nobody answers; it holds its local port."""
    made = sock(net.a, t.DUT)
    made.setblocking(False)
    t.equal(made.connect_ex((t.GHOST, port)), errno.EINPROGRESS, "connect")
    return made


@t.test("section-2", "R6056-1", seconds=600)
def of_many_ports_one_serves_again():
    """Ports cost memory: with 4096 of them no new one is taken, but for a
    destination that is a peer of them all."""
    if t.DEBUG or t.DUT != t.CFTCP:
        return
    files, many = 5000, 4096
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    net = t.own_net()
    held = {port_of(opening(net, 9)) for _ in range(many)}
    t.equal(len(held), many, "ports")
    again = [port_of(opening(net, 10)) for _ in range(100)]
    t.check(held.issuperset(again), "they serve another destination")
    t.equal(len(set(again)), len(again), "each of them once")
    t.check(again not in (sorted(again), sorted(again)[::-1]), "at random")
    t.equal(port_of(opening(net, 9)) in held, False, "a peer of them all")


@t.test("section-2", seconds=600)
def nothing_is_left_of_many_ports():
    net = t.own_net()
    listener = net.b.listener(t.STOCK, backlog=1000)
    before = net.a.counters()
    for _ in range(3):
        clients = [sock(net.a, t.DUT) for _ in range(20 if t.DEBUG else 150)]
        for client in clients:
            client.connect((net.b.address, port_of(listener)))
            t.linger(client, 1, 0)
            client.close()
    if t.DUT == t.CFTCP:
        t.wait_for(
            lambda: net.a.counters()["Ports"] == before["Ports"], 5, "Ports"
        )


if __name__ == "__main__":
    t.main()
