#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The three ways to close of RFC 793 section 3.5, line by line of the figures."""
import itertools
import socket
import time

import cftest as t

# (side, segment, SEQ, ACK), numbered as in the figures
FIGURE_13 = [
    ("A", "FIN,ACK", 100, 300),
    ("B", "ACK", 300, 101),
    ("B", "FIN,ACK", 300, 101),
    ("A", "ACK", 101, 301),
]
FIGURE_14 = [
    ("A", "FIN,ACK", 100, 300),
    ("B", "FIN,ACK", 300, 100),
    ("A", "ACK", 101, 301),
    ("B", "ACK", 301, 101),
]
# Each state must last until it was seen, which takes long on the debug kernel.
DELAY_MS = 1000 if t.DEBUG else 50
MSL_MS = 3000 if t.DEBUG else 50
RTO_MS = 5000 if t.DEBUG else 200


class End:
    """One end of a connection: its socket, and where its state is seen."""

    def __init__(self, sock, namespace, proto):
        self.sock, self.ns, self.proto = sock, namespace, proto
        self.ports = t.ports(sock)

    def close(self, how):
        if how == "close":
            self.sock.close()
        else:
            self.sock.shutdown(socket.SHUT_WR)

    def wait(self, state, timeout=5):
        self.ns.wait_state(state, *self.ports, self.proto, timeout)

    def at_eof(self):
        """What is left to read is the other end's FIN and nothing else."""
        if self.sock.fileno() >= 0:
            t.equal(t.read_all(self.sock), b"", "octets before EOF")


class Pair:
    """A connection A-B with data sent both ways and all of it read."""

    def __init__(self, place, a_proto, b_proto, opener):
        net = t.net()
        self.a_ns = net.a
        self.b_ns = net.a if place == "lo" else net.b
        for ns in (self.a_ns, self.b_ns):
            ns.tune(msl_ms=MSL_MS)
            self._set_rto(ns, place)
        self.capture = t.Capture(
            self.b_ns, "lo" if place == "lo" else self.b_ns.device
        )
        self.trace = t.Trace() if t.DUT == t.CFTCP else None
        if opener == "A":
            a, b = t.connect(self.a_ns, self.b_ns, a_proto, b_proto)
        else:
            b, a = t.connect(self.b_ns, self.a_ns, b_proto, a_proto)
        self.a, self.b = End(a, self.a_ns, a_proto), End(b, self.b_ns, b_proto)
        self._talk()
        self.port = self.a.ports[0]
        self.before = len(self.segments())

    @staticmethod
    def _set_rto(ns, place):
        """Of both stacks: a FIN on its long way is not sent again."""
        ns.tune(rto_min_ms=RTO_MS)
        rto = f"rto_min {RTO_MS}ms"
        lo = f"local {t.LOOPBACK} dev lo table local"
        if place == "lo" and t.FAMILY == 6:  # the kernel's own has no change
            ns.run(f"ip route replace {lo} {rto}")
            ns.run(f"ip route del {lo} proto kernel 2>/dev/null || true")
        elif place == "lo":
            own = f"proto kernel scope host src {t.LOOPBACK}"
            ns.run(f"ip route change {lo} {own} {rto}")
        else:
            how = (
                f"scope link src {ns.address}"
                if t.FAMILY == 4
                else "metric 256"
            )
            route = f"{t.SUBNET} dev {ns.device} proto kernel {how}"
            ns.run(f"ip route change {route} {rto}")

    def _talk(self):
        for one, other in ((self.a, self.b), (self.b, self.a)):
            data = t.pattern(5000)
            one.sock.sendall(data)
            got = t.read_exactly(other.sock, len(data))
            t.equal(t.digest(got), t.digest(data), "data before the close")
        time.sleep(0.1)  # let delayed ACKs go out

    def segments(self):
        return self.capture.segments(self.a.ports[0])

    def closing(self):
        """What was captured since, numbered as in the figures."""
        lines, base = [], {}
        new = self.segments()[self.before :]
        for seg in new:
            side = "A" if seg.sport == self.port else "B"
            if side not in base and seg.has("F"):
                base[side] = seg.rel_seq + seg.len
        for seg in new:
            side = "A" if seg.sport == self.port else "B"
            mine, other = ("A", "B") if side == "A" else ("B", "A")
            start = {"A": 100, "B": 300}
            seq = start[mine] + seg.rel_seq - base[mine]
            ack = start[other] + seg.rel_ack - base[other]
            line = side, seg.kind, seq, ack
            # It comes again where the machine is slower than an RTO.
            if not (t.DEBUG and line in lines):
                lines.append(line)
        return lines

    def must_be(self, figure):
        seen = self.closing()
        if seen != figure:
            t.note(t.ladder(self.segments()[self.before :]))
        t.equal(seen, figure, "segments of the close")
        t.check(
            all(
                seg.csum_ok
                for seg in self.segments()
                if self.capture.device != "lo"
            ),
            "a checksum is wrong",
        )

    def must_pass(self, end, states):
        """An end of cftcp's went through these states and no others."""
        if end.proto == t.CFTCP and self.trace:
            seen = self.trace.states(*end.ports)
            at = seen.index("ESTABLISHED") + 1
            t.equal(seen[at:], states, "states at one end")


def places(hows):
    """{name: arguments}: each pair of stacks, opener and place."""
    stacks = {
        "cftcp-stock": (t.DUT, t.STOCK),
        "stock-cftcp": (t.STOCK, t.DUT),
        "cftcp-cftcp": (t.DUT, t.DUT),
    }
    return {
        f"{names}.{place}.{opener}-opens.{how}": (place, *protos, opener, how)
        for (names, protos), place, opener, how in itertools.product(
            stacks.items(), ("veth", "lo"), "AB", hows
        )
        if place == "veth" or how == hows[0]
    }


@t.test(
    "C-1", "C-25", "C-32", "C-38", "D-1", "R1122-20a", "MUST-2", "L-15", "L-37",
    "ESTABLISHED/E1", "ESTABLISHED/E2", "ESTABLISHED/E6", "FIN-WAIT-1/E8",
    "FIN-WAIT-2/E6", "CLOSE-WAIT/E1", "LAST-ACK/E8", "TIME-WAIT/E21",
    cases=places(("close", "shutdown")),
)  # fmt: skip
def normal(place, a_proto, b_proto, opener, how):
    """Figure 13: A closes, B closes when it has seen that."""
    pair = Pair(place, a_proto, b_proto, opener)
    a, b = pair.a, pair.b
    a.wait("ESTABLISHED")
    b.wait("ESTABLISHED")
    a.close(how)
    b.wait("CLOSE-WAIT")
    a.wait("FIN-WAIT-2")
    b.at_eof()
    b.wait("CLOSE-WAIT")
    b.close(how)
    a.wait("TIME-WAIT")
    b.wait("CLOSED")
    a.at_eof()
    pair.must_be(FIGURE_13)
    if a.proto == t.CFTCP:
        a.wait("CLOSED")
    pair.must_pass(a, ["FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED"])
    pair.must_pass(b, ["CLOSE-WAIT", "LAST-ACK", "CLOSED"])
    pair.must_be(FIGURE_13)


@t.test(
    "C-27", "C-34", "FIN-WAIT-1/E6", "CLOSING/E8", "TIME-WAIT/E21",
    cases=places(("close", "shutdown")),
)  # fmt: skip
def simultaneous(place, a_proto, b_proto, opener, how):
    """Figure 14: both close, and the FINs cross on the way."""
    pair = Pair(place, a_proto, b_proto, opener)
    a, b = pair.a, pair.b
    delay = f"delay {DELAY_MS}ms"
    if place == "lo":
        pair.a_ns.run(f"tc qdisc replace dev lo root netem {delay}")
        t.cleanup(pair.a_ns.run, "tc qdisc del dev lo root")
    else:
        pair.a_ns.netem(delay)
        pair.b_ns.netem(delay)
    a.close(how)
    b.close(how)
    a.wait("FIN-WAIT-1")
    b.wait("FIN-WAIT-1")
    a.wait("CLOSING")
    b.wait("CLOSING")
    a.wait("TIME-WAIT")
    b.wait("TIME-WAIT")
    a.at_eof()
    b.at_eof()
    t.wait_for(lambda: len(pair.closing()) >= 4, 1, "four segments")
    seen = pair.closing()
    for side in "AB":  # the two directions are not ordered between them
        t.equal(
            [line for line in seen if line[0] == side],
            [line for line in FIGURE_14 if line[0] == side],
            f"segments of {side}",
        )
    t.equal(sorted(seen[:2]), sorted(FIGURE_14[:2]), "the FINs that crossed")
    for end in (a, b):
        if end.proto == t.CFTCP:
            end.wait("CLOSED")
        pair.must_pass(end, ["FIN-WAIT-1", "CLOSING", "TIME-WAIT", "CLOSED"])


@t.test(
    "C-2", "C-27", "C-34", "FIN-WAIT-1/E6", "CLOSING/E8",
    cases={
        f"{role}.fin-at-{number:#x}": (role, number)
        for role in ("passive", "active")
        for number in (0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 0)
    },
)  # fmt: skip
def simultaneous_by_hand(role, number):
    """Figure 14 with the peer's FIN at an awkward sequence number."""
    net = t.net()
    net.a.tune(msl_ms=MSL_MS)
    data = b"12345"
    iss = number - 1 - len(data) & 0xFFFFFFFF
    ours, peer = t.with_peer(net, role, iss=iss)
    peer.send("PA", data=data)
    peer.expect("A", seq=1, ack=6)
    t.equal(ours.recv(10), data)
    ours.close()
    peer.expect("FA", seq=1, ack=6)
    peer.send("FA", ack=1)
    peer.expect("A", seq=2, ack=7, length=0)
    net.a.wait_state("CLOSING", peer.dut_port)
    peer.send("A")
    net.a.wait_state("TIME-WAIT", peer.dut_port)
    peer.expect_nothing(50)
    net.a.wait_state("CLOSED", peer.dut_port)


SIZES = {"1": 1, "5000": 5000, "200000": 200000}


@t.test(
    "C-31", "C-33", "C-51", "L-5", "L-24", "MUST-12",
    cases={
        f"{who}.{size}": (who, octets)
        for who in ("cftcp-first", "stock-first", "both")
        for size, octets in SIZES.items()
    },
)  # fmt: skip
def data_then_close(who, octets):
    """What was sent right before the close arrives whole, and then EOF."""
    net = t.net()
    net.a.tune(msl_ms=50)
    ours, theirs = t.connect(net.a, net.b)
    lport, rport = t.ports(ours)
    data = t.pattern(octets), t.pattern(octets, 2)
    readers = {}

    def finish(sock, payload, other):
        readers[other] = t.Background(t.read_digest, other)
        sock.sendall(payload)
        sock.shutdown(socket.SHUT_WR)

    def start(order):
        for sock, payload, other in order:
            finish(sock, payload, other)
            if who != "both":
                readers[other].join(20 * t.SLOW)

    order = [(ours, data[0], theirs), (theirs, data[1], ours)]
    start(order[::-1] if who == "stock-first" else order)
    for sock, payload, other in order:
        wanted = octets, t.digest(payload)
        t.equal(readers[other].result(), wanted, "octets before EOF")
    for sock in (ours, theirs):
        t.equal(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0, "SO_ERROR"
        )
    net.a.wait_state("CLOSED", lport, rport)


@t.test("C-33", "L-3", "CLOSE-WAIT/E1", "CLOSE-WAIT/E4")
def queued_in_close_wait():
    """1 MB queued in CLOSE-WAIT, then close(): all of it before the FIN."""
    net = t.net()
    size = 100_000 if t.DEBUG else 1_000_000
    ours, theirs = t.connect(net.a, net.b)
    ports = t.ports(ours)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * size)
    theirs.shutdown(socket.SHUT_WR)
    t.equal(ours.recv(1), b"")
    data = t.pattern(size)
    sender = t.Background(ours.sendall, data)
    reader = t.Background(t.read_digest, theirs)
    sender.result()
    ours.close()
    t.equal(reader.result(), (size, t.digest(data)))
    net.a.wait_state("CLOSED", *ports)


@t.test("C-56", "MUST-61", cases={"cork": "cork", "more": "more"})
def close_pushes(what):
    """Octets held back by TCP_CORK or MSG_MORE leave at once with close()."""
    ours, peer = t.with_peer(t.net())
    if what == "cork":
        ours.setsockopt(t.SOL_TCP, socket.TCP_CORK, 1)
        ours.send(b"held")
    else:
        ours.send(b"held", socket.MSG_MORE)
    peer.expect_nothing(50)
    before = time.time_ns()
    ours.close()
    seg = peer.expect(seq=1, length=4)
    t.check(set(seg.flags) & set("PF"), f"neither PSH nor FIN: {seg}")
    if "F" not in seg.flags:
        peer.expect("FA", seq=5)
    t.between((seg.time - before) / 1e6, 0, 20 * t.SLOW, "ms until pushed")


@t.test("C-37", "C-30", "C-50", "L-15", "L-30", "FIN-WAIT-1/E2",
        "FIN-WAIT-2/E2", "CLOSING/E2", "FIN-WAIT-1/E1")  # fmt: skip
def one_fin_only():
    """shutdown() twice and close() after it use one FIN."""
    net = t.net()
    ours, peer = t.with_peer(net)
    ours.shutdown(socket.SHUT_WR)
    peer.expect("FA", seq=1, ack=1)
    ours.shutdown(socket.SHUT_WR)
    with t.fails_with(t.errno.EPIPE):
        ours.send(b"x", socket.MSG_NOSIGNAL)
    peer.send("A", ack=2)
    net.a.wait_state("FIN-WAIT-2", peer.dut_port)
    ours.shutdown(socket.SHUT_WR)
    ours.close()
    peer.expect_nothing(300, "a second FIN?")
    peer.send("FA")
    peer.expect("A", seq=2, ack=2)


@t.test("C-39", "C-51", "D-21", "L-15", "L-16", "L-30", "L-34", "CLOSING/E2",
        "TIME-WAIT/E2", "CLOSING/E5", "TIME-WAIT/E4", "TIME-WAIT/E5", "CLOSED/E2")  # fmt: skip
def calls_while_closing():
    """What the socket calls say in CLOSING, TIME-WAIT and after."""
    net = t.net()
    net.a.tune(msl_ms=MSL_MS)
    ours, peer = t.with_peer(net)
    ours.shutdown(socket.SHUT_WR)
    peer.expect("FA", seq=1, ack=1)
    peer.send("FPA", data=b"last", ack=1)
    peer.expect("A", seq=2, ack=6)
    net.a.wait_state("CLOSING", peer.dut_port)
    ours.shutdown(socket.SHUT_WR)
    with t.fails_with(t.errno.EPIPE):
        ours.send(b"x", socket.MSG_NOSIGNAL)
    peer.send("A")
    net.a.wait_state("TIME-WAIT", peer.dut_port)
    with t.fails_with(t.errno.ENOTCONN):
        ours.shutdown(socket.SHUT_WR)
    with t.fails_with(t.errno.EPIPE):
        ours.send(b"x", socket.MSG_NOSIGNAL)
    info = ours.getsockopt(t.SOL_TCP, socket.TCP_INFO, 8)
    t.equal(t.STATES[info[0]], "CLOSED", "TCP_INFO in TIME-WAIT")
    net.a.wait_state("CLOSED", peer.dut_port)
    t.equal(ours.recv(10), b"last", "queued before the FIN")
    t.equal(ours.recv(10), b"", "EOF")
    t.equal(ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0, "SO_ERROR")


@t.test("C-9", "C-18", "LAST-ACK/E8", "CLOSED/E8", "CLOSED/E10", "C-43")
def nothing_after_last_ack():
    """After LAST-ACK there is nothing: a late segment gets RST."""
    net = t.net()
    ours, peer = t.with_peer(net)
    peer.send("FA")
    peer.expect("A", seq=1, ack=2)
    t.equal(ours.recv(1), b"")
    ours.close()
    peer.expect("FA", seq=1, ack=2)
    net.a.wait_state("LAST-ACK", peer.dut_port)
    peer.send("A")
    net.a.wait_state("CLOSED", peer.dut_port)
    peer.send("A")
    peer.expect("R", seq=2)
    peer.send("FA", seq=1)
    peer.expect("R", seq=2)
    peer.send("F", seq=1)
    peer.expect("RA", ack=2)


t.main()
