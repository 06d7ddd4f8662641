#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Much data between plain python programs, and a clean end.

cftcp's end is socket.socket(family, SOCK_STREAM, 257), nothing else.
"""
import hashlib
import socket
import time

import cftest as t

MB = 1 << 20
SIZE = (4 if t.DEBUG else 20 if t.LESS else 100) * MB
CHUNK = 1 << 18


class Stream:
    """Octets that repeat only after 251 chunks, with their digest."""

    def __init__(self, size, seed):
        self.base = t.pattern(CHUNK + 251, seed)
        self.size, self.seed = size, seed

    def send(self, sock):
        sha = hashlib.sha256()
        view = memoryview(self.base)
        for number, at in enumerate(range(0, self.size, CHUNK)):
            shift = number % 251
            part = view[shift : shift + min(CHUNK, self.size - at)]
            sock.sendall(part)
            sha.update(part)
        return self.size, sha.hexdigest()


def receive(sock):
    """Size and digest up to EOF, with one buffer."""
    buffer = bytearray(CHUNK)
    view, size, sha = memoryview(buffer), 0, hashlib.sha256()
    while got := sock.recv_into(buffer):
        sha.update(view[:got])
        size += got
    return size, sha.hexdigest()


def exchange(client, server, there, back):
    """Both directions at once, each closed by its sender when done."""

    def send(sock, size, seed):
        result = Stream(size, seed).send(sock)
        sock.shutdown(socket.SHUT_WR)
        return result

    client.settimeout(None)
    server.settimeout(None)
    began = time.monotonic()
    sends = [
        t.Background(send, client, there, 1),
        t.Background(send, server, back, 2),
    ]
    gets = [t.Background(receive, server), t.Background(receive, client)]
    for sent, got in zip(sends, gets):
        wanted, seen = sent.result(900), got.result(900)
        t.equal(seen, wanted, "size and sha256")
    took = time.monotonic() - began
    t.note(f"{(there + back) / MB / took:.1f} MB/s")


def closed_cleanly(ns, ends, proto):
    """Neither end saw an error, and nothing but TIME-WAIT is left."""
    t.wait_for(
        lambda: ns.state(*ends, proto=proto) in ("TIME-WAIT", "CLOSED"),
        10,
        f"{ends} is {ns.state(*ends, proto=proto)}",
    )


def run(client_ns, server_ns, client_proto, server_proto, there, back):
    client_ns.tune(msl_ms=500)
    server_ns.tune(msl_ms=500)
    client, server = t.connect(client_ns, server_ns, client_proto, server_proto)
    ends = t.ports(client)
    exchange(client, server, there, back)
    for sock in client, server:
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        t.equal(error, 0, "SO_ERROR")
        sock.close()
    closed_cleanly(client_ns, ends, client_proto)
    closed_cleanly(server_ns, ends[::-1], server_proto)


ROLES = {
    "cftcp connects to stock": (t.DUT, t.STOCK),
    "stock connects to cftcp": (t.STOCK, t.DUT),
    "cftcp connects to cftcp": (t.DUT, t.DUT),
}


@t.test("section-2", "C-21", "C-33", "R2525-4", cases=ROLES, seconds=1800)
def a_hundred_megabytes(client, server):
    net = t.net()
    a, b = net.a, net.b
    if client == t.STOCK:
        a, b = b, a
    run(a, b, client, server, SIZE // 2, SIZE // 2)


@t.test("section-2", "C-21", cases=ROLES, seconds=1800)
def over_loopback(client, server):
    """Both stacks, or twice the same, in one namespace."""
    ns = t.net().a
    run(ns, ns, client, server, SIZE // 4, SIZE // 4)


BAD_LINKS = {
    "loss": "loss 5% delay 5ms",
    "reorder": "delay 5ms reorder 25% 50%",
    "duplicate": "duplicate 10% delay 5ms",
    "corrupt": "corrupt 2% delay 5ms",
    "all": "loss 3% duplicate 3% corrupt 1% delay 5ms 3ms",
}
if t.LESS:
    BAD_LINKS = {"all": BAD_LINKS["all"]}


@t.test(
    "MUST-18",
    "R6675-1",
    "SHLD-31",
    "MUST-3",
    cases={
        f"{link} {name}": (options, *protos)
        for link, options in BAD_LINKS.items()
        for name, protos in ROLES.items()
    },
    seconds=3000,
)
def over_a_bad_link(options, client, server):
    net = t.net()
    size = (MB // 4) if t.DEBUG else 10 * MB if client != server else 2 * MB
    for ns in net.a, net.b:
        ns.netem(options + " limit 20000")
    a, b = net.a, net.b
    if client == t.STOCK:
        a, b = b, a
    net.a.tune(rto_min_ms=50)
    if t.STOCK in (client, server):  # stock TCP is slow to repair: less from it
        there, back = (
            (size, size // 20) if client == t.DUT else (size // 20, size)
        )
    else:
        there = back = size
    run(a, b, client, server, there, back)


@t.test("section-2", seconds=1200)
def many_connections_at_once():
    net = t.net()
    number = 10 if t.DEBUG else 100
    pairs = [t.connect(net.a, net.b) for _ in range(number)]
    wanted = []
    for seed, (ours, theirs) in enumerate(pairs):
        ours.settimeout(None)
        data = t.pattern(100000, seed)
        wanted.append(t.digest(data))
        t.Background(lambda s=ours, d=data: (s.sendall(d), s.close()))
    seen = [t.digest(t.read_all(theirs)) for _, theirs in pairs]
    t.equal(seen, wanted, "sha256 of each")


if __name__ == "__main__":
    t.main()
