#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""When text leaves: the first window, queues of this host, pacing."""
import contextlib
import os
import socket
import struct
import time

import cftest as t

MB = 1 << 20
SO_MAX_PACING_RATE = 47
MBIT = 125000  # octets a second
# What fq lets go at once of a new flow: two segments.
FQ = "fq quantum 3028 initial_quantum 3028"


def info(sock, offset, size="I"):
    raw = sock.getsockopt(t.SOL_TCP, socket.TCP_INFO, 232)
    return struct.unpack_from(size, raw, offset)[0]


def qdisc(namespace, *lines):
    """Queues at the device of a namespace, until the test ends."""
    for line in lines:
        namespace.run(f"tc qdisc add dev {namespace.device} {line}")
    t.cleanup(namespace.run, f"tc qdisc del dev {namespace.device} root")


def download(client, server, size):
    """Seconds from the request until all is there."""
    client.send(b"?")
    t.read_exactly(server, 1)
    sent = t.Background(server.sendall, t.pattern(size))
    began = time.monotonic()
    got = t.read_exactly(client, size)
    took = time.monotonic() - began
    sent.result()
    t.equal(t.digest(got), t.digest(t.pattern(size)), "octets")
    return took


# --- the first window --------------------------------------------------------


@t.test("API", "SHLD-7")
def first_window():
    """What follows the SYN shows half of the buffer, and nobody waits for it:
    100 kB take a round trip."""
    net = t.net()
    peer = t.Peer(net, ws=7)
    listener = net.a.listener()
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    syn = peer.expect("SA")
    t.equal(syn.win, 65535, "window of the SYN,ACK")
    peer.send("A")
    peer.send("PA", data=b"x")
    shift = syn.opts["ws"]
    buffer = int(net.a.sysctl("cftcp/rmem").split()[1])
    t.near(peer.expect("A").win << shift, buffer // 2, 0.01, what="window")
    for end in net.a, net.b:
        end.netem("rate 200mbit delay 25ms limit 10000")
    client, server = t.connect(net.a, net.b, t.DUT, t.DUT)
    t.between(download(client, server, 100000), 0.029, 0.032 * t.SLOW, "s")


@t.test("section-2", "R6298-5.1")
def what_is_in_flight_stays():
    """The pages that text is copied to are used again, but not while it may have
    to be repeated: here more is in flight than a CPU keeps pages for."""
    net = t.net()
    net.b.netem("delay 25ms loss 1% limit 10000")
    client, server = t.connect(net.a, net.b, t.DUT, t.DUT)
    before = net.b.counters()
    data = os.urandom(6 * MB)
    sent = t.Background(server.sendall, data)
    t.equal(t.digest(t.read_exactly(client, len(data))), t.digest(data))
    sent.result()
    t.check((net.b.counters() - before)["RetransSegs"] > 10, "repeated")


# --- queues of this host ------------------------------------------------------


def short_queue(namespace):
    """100 Mbit/s behind 50 packets."""
    qdisc(
        namespace,
        "root handle 1: tbf rate 100mbit burst 20000 limit 1000000",
        "parent 1: handle 2: pfifo limit 50",
    )


@t.test("API")
def full_rate_through_a_short_queue():
    """Nothing is lost there, and it never runs empty."""
    net = t.net()
    short_queue(net.b)
    client, server = t.connect(net.a, net.b, t.DUT, t.DUT)
    before = net.b.counters()
    size = 4 * MB
    took = download(client, server, size)
    counted = net.b.counters() - before
    if not t.DEBUG:  # where a receiver may be later than an RTO
        t.equal(counted["SendRefused"], 0, "more than 50 at once")
        t.equal(info(server, 100), 0, "repeated")
    ideal = size * 8 * 1514 / (t.MSS - 12) / 1e8
    longest = 1.03 if not t.DEBUG else 5 * t.SLOW
    t.between(took, ideal * 0.97, ideal * longest, "s")


@t.test("API")
def several_in_a_short_queue():
    """What it has no room for was never sent, and waits."""
    net = t.net()
    short_queue(net.b)
    before = net.b.counters()
    pairs = [t.connect(net.a, net.b, t.DUT, t.DUT) for _ in range(8)]
    for got in [t.Background(download, *pair, MB // 4) for pair in pairs]:
        got.result()
    counted = net.b.counters() - before
    if t.DEBUG:  # too slow to fill a queue
        return
    t.check(counted["SendRefused"] > 0, "the queue was full")
    t.equal(counted["RtoFired"], 0, "timeouts")
    t.check(counted["RetransSegs"] <= len(pairs), "no more than probes")


@t.test("API", "R8985-5")
def refused_by_the_queue():
    """A queue that takes nothing: no segment is counted, and no timeout."""
    net = t.net()
    ours, peer = t.with_peer(net)
    before = net.a.counters()
    net.a.run(f"tc qdisc add dev {net.a.device} root handle 1: pfifo limit 0")
    ours.send(b"waits")
    t.wait_for(lambda: (net.a.counters() - before)["SendRefused"] > 5, 5)
    t.equal(info(ours, 24), 0, "in flight")
    t.equal(info(ours, 200, "Q"), 0, "octets sent")
    # Not "del": for a moment a device has a queue that drops and says "congested".
    net.a.run(f"tc qdisc change dev {net.a.device} root handle 1: pfifo limit 9")
    t.equal(peer.expect("PA", seq=1).data, b"waits")
    peer.send("A")
    peer.expect_nothing(1000)
    counted = net.a.counters() - before
    if not t.DEBUG:  # where the ACK may be later than the RTO
        t.equal((counted["RetransSegs"], counted["RtoFired"]), (0, 0))
        t.equal(info(ours, 200, "Q"), 5, "octets sent")


@t.test("API")
def closed_behind_a_queue():
    """An orphan goes on with what the queue held back, FIN included."""
    net = t.net()
    short_queue(net.b)
    client, server = t.connect(net.a, net.b, t.DUT, t.DUT)
    whole = t.pattern(300000)
    sent = t.Background(server.sendall, whole)
    sent.result()
    server.close()
    t.equal(t.digest(t.read_all(client)), t.digest(whole), "octets")


# --- pacing -------------------------------------------------------------------


def bursts(segments, rate):
    """The longest run of segments that leave faster than half of their time."""
    longest = run = 1
    for before, seg in zip(segments, segments[1:]):
        fast = seg.time - before.time < 1514e9 / rate / 2
        run = run + 1 if fast else 1
        longest = max(longest, run)
    return longest


def paced(net, prepare, rate):
    """Send at a rate; what the wire says of it."""
    listener = net.b.listener()
    client = net.a.sock()
    prepare(client)
    client.connect((net.b.address, listener.getsockname()[1]))
    server = listener.accept()[0]
    t.cleanup(server.close)
    wire = t.Capture(net.a, port=t.ports(client)[0])
    size = 2 * MB
    sent = t.Background(client.sendall, bytes(size))
    t.read_exactly(server, size)
    sent.result()
    full = [s for s in wire.segments() if s.len and s.sport == wire.port]
    seconds = (full[-1].time - full[0].time) / 1e9
    octets = sum(1514 - t.MSS + 12 + s.len for s in full[:-1])
    lowest = rate * 0.97 / t.SLOW
    t.between(octets / seconds, lowest, rate * 1.03, "octets a second")
    t.equal(info(client, 104, "Q"), rate, "TCP_INFO")
    if not t.DEBUG:  # where timers are late
        t.between(bursts(full, rate), 1, 2, "segments at once")


@t.test("API", cases={"timer": "netem rate 1gbit limit 10000", "fq": FQ})
def max_pacing_rate(kind):
    """SO_MAX_PACING_RATE, by a timer of ours or by the queue that can."""
    net = t.net()
    qdisc(net.a, f"root {kind}")
    rate = 50 * MBIT

    def prepare(sock):
        sock.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)

    paced(net, prepare, rate)


@t.test("API")
def max_pacing_rate_of_8_octets():
    """Beyond all that there is: text and FIN leave."""
    ours, peer = t.with_peer(t.net())
    rate = struct.pack("=Q", 1 << 50)
    ours.setsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, rate)
    ours.send(b"text")
    t.equal(peer.expect_data(4), b"text")
    ours.close()
    peer.expect("FA")


@t.test("API")
def pacing_rate_of_all():
    """net.cftcp.pacing_rate."""
    net = t.net()
    rate = 50 * MBIT
    net.a.tune(pacing_rate=rate)
    paced(net, lambda sock: None, rate)


if __name__ == "__main__":
    t.main()
