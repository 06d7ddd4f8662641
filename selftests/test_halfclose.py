#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Half-close: 10 MB one way after the other direction has been closed."""
import itertools
import socket

import cftest as t

SIZE = 300_000 if t.DEBUG else 2_000_000 if t.LESS else 10_000_000

CASES = {
    f"{what}.{opener}-opens.against-{other}": (what, opener, proto)
    for what, opener, (other, proto) in itertools.product(
        ("download", "upload"),
        ("cftcp", "peer"),
        (("stock", t.STOCK), ("cftcp", t.DUT)),
    )
}


@t.test("C-21", "C-30", "C-32", "L-19", "SHLD-19", "FIN-WAIT-2/E5",
        "FIN-WAIT-2/E15", "CLOSE-WAIT/E4", "FIN-WAIT-2/E6", cases=CASES)  # fmt: skip
def bulk(what, opener, proto):
    """download: cftcp in FIN-WAIT-2 receives; upload: in CLOSE-WAIT it sends."""
    net = t.net()
    net.a.tune(msl_ms=50, fin_wait2_timeout_ms=10, orphan_timeout_ms=2000)
    if opener == "cftcp":
        ours, theirs = t.connect(net.a, net.b, t.DUT, proto)
    else:
        theirs, ours = t.connect(net.b, net.a, proto, t.DUT)
    ports = t.ports(ours)
    source, sink = (theirs, ours) if what == "download" else (ours, theirs)
    sink.shutdown(socket.SHUT_WR)
    t.equal(source.recv(1), b"", "EOF of the first direction")
    net.a.wait_state("FIN-WAIT-2" if sink is ours else "CLOSE-WAIT", *ports)
    data = t.pattern(SIZE)
    reader = t.Background(t.read_digest, sink)
    source.sendall(data)
    source.close()
    t.equal(reader.result(200), (SIZE, t.digest(data)), "size and sha256")
    for sock in (source, sink):
        if sock.fileno() >= 0:
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            t.equal(error, 0, "SO_ERROR")
    net.a.wait_state("CLOSED", *ports)


@t.test("C-21", "MUST-39", "FIN-WAIT-2/E5")
def slow_reader():
    """A reader in FIN-WAIT-2 shuts and opens the window, and gets all of it."""
    net = t.net()
    size = 60_000 if t.DEBUG else 600_000
    ours, theirs = t.connect(net.a, net.b)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20000)
    ours.shutdown(socket.SHUT_WR)
    t.equal(theirs.recv(1), b"")
    data = t.pattern(size)
    writer = t.Background(theirs.sendall, data)
    t.time.sleep(1)
    got = b""
    while len(got) < size:
        got += t.read_exactly(ours, min(9000, size - len(got)))
        t.time.sleep(0.001)
    writer.result()
    theirs.close()
    t.equal(ours.recv(1), b"")
    t.equal(t.digest(got), t.digest(data))


t.main()
