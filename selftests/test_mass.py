#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""1,000 connections closing at once while one segment in ten is lost."""
import hashlib
import resource
import select
import socket

import cftest as t

COUNT = 50 if t.DEBUG else 200 if t.LESS else 1000
LOSS = "loss 10%"
SIZE = 2500  # octets each way, a little different for each connection


def payload(number, side):
    return t.pattern(SIZE + number % 500, 2 * number + side)


def open_all(net, client_ns, server_ns, client_proto, server_proto):
    """COUNT connections: [(client, server)]."""
    listener = server_ns.listener(server_proto, backlog=COUNT)
    address = server_ns.address, listener.getsockname()[1]
    pairs = []
    for _ in range(COUNT):
        client = client_ns.sock(client_proto)
        client.connect(address)
        server = listener.accept()[0]
        t.cleanup(server.close)
        pairs.append((client, server))
    listener.close()
    return pairs


def read_everything(socks):
    """Read all sockets up to EOF at the same time: [sha256]."""
    poller, digests, by_fd = select.poll(), [], {}
    for sock in socks:
        sock.setblocking(False)
        by_fd[sock.fileno()] = sock, len(digests)
        digests.append(hashlib.sha256())
        poller.register(sock, select.POLLIN)
    while by_fd:
        ready = poller.poll(120_000 * t.SLOW)
        t.check(ready, f"{len(by_fd)} connections without EOF")
        for fd, _ in ready:
            sock, index = by_fd[fd]
            part = sock.recv(1 << 16)
            digests[index].update(part)
            if not part:
                poller.unregister(fd)
                del by_fd[fd]
    return [d.hexdigest() for d in digests]


def finish(socks, side, how):
    """Send and close at once."""
    for number, sock in enumerate(socks):
        sock.send(payload(number, side))
        sock.close() if how == "close" else sock.shutdown(socket.SHUT_WR)


def must_empty(net, timeout):
    """No connection is left in either namespace's table."""
    for namespace, proto in ((net.a, t.DUT), (net.b, t.STOCK)):
        t.wait_for(
            lambda: not namespace.table(proto),
            timeout,
            f"{t.proc_name(proto)} empty",
            every=0.5,
        )
    gauges = net.a.counters()
    for name in ("Sockets", "Orphans", "TimeWait", "Requests"):
        t.equal(gauges[name], 0, name)


CASES = {
    f"{way}.{opener}-opens": (way, opener)
    for way in ("active", "passive", "simultaneous")
    for opener in ("cftcp", "stock")
    if way == "simultaneous" or opener == "cftcp"
}


@t.test("C-31", "C-33", "C-34", "C-35", "C-49", "MUST-18", cases=CASES,
        seconds=3000)  # fmt: skip
def closing(way, opener):
    """Every octet sent before CLOSE arrives before EOF; nothing is left."""
    files = 2 * COUNT + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    net = t.own_net()
    net.a.tune(msl_ms=500, rto_min_ms=200)
    if opener == "cftcp":
        pairs = open_all(net, net.a, net.b, t.DUT, t.STOCK)
    else:
        pairs = [p[::-1] for p in open_all(net, net.b, net.a, t.STOCK, t.DUT)]
    net.a.netem(LOSS)
    net.b.netem(LOSS)
    ours, theirs = zip(*pairs)
    wanted = [
        [t.digest(payload(n, side)) for n in range(COUNT)] for side in (0, 1)
    ]
    first, second = (theirs, ours) if way == "passive" else (ours, theirs)
    finish(first, first is theirs, "shutdown")
    if way == "simultaneous":
        finish(second, second is theirs, "shutdown")
    got_second = read_everything(second)
    if way != "simultaneous":
        finish(second, second is theirs, "close")
    got_first = read_everything(first)
    by_theirs, by_ours = (
        (got_first, got_second) if first is theirs else (got_second, got_first)
    )
    t.equal(by_theirs == wanted[0], True, "what the stock side read is right")
    t.equal(by_ours == wanted[1], True, "what cftcp's side read is right")
    for sock in ours + theirs:
        sock.close()
    must_empty(net, 200)


t.main()
