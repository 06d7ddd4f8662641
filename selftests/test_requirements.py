#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Requirements that stand alone: options, numbers, marks of a segment that must
not matter, and what other parts of the kernel see of a connection."""
import errno
import socket
import struct
import time

import cftest as t
from reach import SYNCHRONIZED, reach

EOL, NOP, MSS, SCALE, SACK_PERMITTED, SACK, TIMESTAMPS = 0, 1, 2, 3, 4, 5, 8
USER_TIMEOUT = 28
ON_SYN_ONLY = {MSS, SCALE, SACK_PERMITTED}
UNKNOWN = [
    bytes((kind, size)) + b"\xaa" * (size - 2)
    for kind, size in ((99, 2), (253, 4), (254, 7), (99, 36), (30, 12))
] + [bytes((USER_TIMEOUT, 4, 0, 1)), bytes((USER_TIMEOUT, 4, 0, 0))]


def options_of(seg):
    """[kind] of a segment's options, which must be written as they ought to."""
    raw, kinds = seg.tcp[20 : len(seg.tcp) - seg.len], []
    while raw:
        kind = raw[0]
        if kind == EOL:
            t.check(not any(raw), f"octets after the end of options: {seg}")
            break
        size = 1 if kind == NOP else raw[1] if len(raw) > 1 else 0
        t.check(0 < size <= len(raw) and (size > 1 or kind == NOP),
                f"option {kind} of {size} octets in {seg}")  # fmt: skip
        kinds += [kind] * (kind != NOP)
        raw = raw[size:]
    return kinds


@t.test("MUST-2", "MUST-65", "MUST-68", "MUST-69", "MAY-3", "R2018-1", "R5482-2",
        cases={"passive": "passive", "active": "active"})  # fmt: skip
def options_of_a_life(role):
    """Of every kind of segment, from SYN to the ACK of TIME-WAIT, and RST."""
    net = t.net()
    net.a.tune(rto_min_ms=100, rto_init_ms=100)
    ours, peer = t.with_peer(net, role, ts=True, sack=True, ws=7)
    ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, 60000)
    ours.sendall(t.pattern(5000))
    peer.expect_data(5000)
    peer.send("A", seq=11, data=b"beyond a hole")
    t.check(SACK in options_of(peer.expect("A")), "no SACK")
    peer.send("A", seq=1, data=b"the hole..")
    t.equal(len(t.read_exactly(ours, 23)), 23)
    peer.nxt = 24
    peer.send("A", win=0)
    ours.send(b"later")
    peer.expect("A", length=0, what="probe")
    peer.send("A", win=1000)
    peer.expect_data(5)
    peer.send("S", seq=3)
    peer.expect("A", what="challenge ACK")
    ours.shutdown(socket.SHUT_WR)
    first, again = peer.expect("FA"), peer.expect("FA", what="FIN again")
    t.check(again.opts["ts"] > first.opts["ts"], "a FIN as old as the first")
    peer.send("A", ack=peer.rcv)
    peer.send("FA")
    peer.expect("A", what="ACK in TIME-WAIT")
    for _ in "ab":
        other, victim = t.with_peer(net, role, ts=True, sack=True, ws=7)
        t.linger(other, 1, 0)
        other.close()
        victim.expect("RA")
        peer.all += victim.all
    peer.send("F", seq=3)
    peer.send("A", seq=3, ack=4711)
    peer.flush(5)
    for seg in peer.all:
        t.check(seg.csum_ok, f"checksum of {seg}")
        kinds = options_of(seg)
        t.check(USER_TIMEOUT not in kinds, f"a user timeout in {seg}")
        on_syn = ON_SYN_ONLY & set(kinds)
        t.equal(on_syn, ON_SYN_ONLY if "S" in seg.flags else set(), str(seg))
        t.check(len(kinds) == len(set(kinds)), f"{kinds} in {seg}")


@t.test("MUST-5", "MUST-6", "MUST-64", "MUST-68", "R5482-1", "R5482-10",
        cases={"ahead": b"", "unaligned": b"\1"})  # fmt: skip
def unknown_options_on_any_segment(ahead):
    """On text, FIN, the ACK of a FIN and RST: all do what they do without."""
    for opts in UNKNOWN:
        for last in "FA", "R":
            ours, peer = t.with_peer(t.net())
            opts = (ahead + opts)[:40]
            peer.send("A", data=b"text", opts=opts)
            t.equal(ours.recv(9), b"text")
            peer.flush(50)
            ours.shutdown(socket.SHUT_WR)
            peer.expect("FA", ack=5)
            peer.send("A", opts=opts)
            t.net().a.wait_state("FIN-WAIT-2", peer.dut_port, peer.port)
            peer.send(last, opts=opts)
            after = "TIME-WAIT" if last == "FA" else "CLOSED"
            t.net().a.wait_state(after, peer.dut_port, peer.port)
            if last == "FA":
                peer.expect("A", ack=6)
            peer.expect_nothing(5)
            t.check(not any(map(options_of, peer.all[1:])), peer.all)


@t.test("R5482-1", "R5482-3", cases={"longer": 0x8000 | 60, "shorter": 1})
def user_timeout_of_the_peer(wanted):
    """The local user timeout is what counts, whatever the peer asks for."""
    opts = struct.pack(">BBH", USER_TIMEOUT, 4, wanted)
    t.net().a.tune(rto_min_ms=100, rto_init_ms=100)
    peer = t.Peer(t.net())
    listener = t.net().a.listener()
    peer.dut_port = listener.getsockname()[1]
    peer.send("S", opts=opts)
    peer.expect("SA")
    peer.send("A", opts=opts)
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, 4000)
    began = time.monotonic()
    ours.send(b"nobody answers")
    with t.fails_with(errno.ETIMEDOUT):
        ours.recv(1)
    t.near(time.monotonic() - began, 4, 0.02, slack=0.1, what="seconds")


# --- numbers -------------------------------------------------------------------


@t.test("R5961-8", "R5961-7", "MAY-12", "D-6")
def the_largest_window_bounds_an_old_ack(most=50000):
    """It is the largest that the peer ever had, not the one of now; an ACK
    that lies so far back is taken, with its text, the one before it is not."""
    ours, peer = t.with_peer(t.net(), win=most)
    ours.sendall(bytes(2 * most))
    peer.expect_data(2 * most, timeout=5)
    peer.win = 1000
    peer.send("A")
    peer.flush(50)
    at = peer.rcv - most
    peer.send("A", ack=at - 1, data=b"spoofed", seq=peer.nxt)
    peer.expect("A", ack=peer.nxt, length=0)
    peer.send("FA", ack=at - 1, seq=peer.nxt)
    peer.expect("A", ack=peer.nxt, length=0)
    peer.send("A", ack=at, data=b"late")
    t.equal(ours.recv(9), b"late")
    peer.expect("A", ack=peer.nxt)


@t.test("R5961-12", "R5961-3", "R5961-2", "C-7")
def reset_behind_a_hole():
    """A RST that overtook text is challenged, and its repetition resets."""
    ours, peer = t.with_peer(t.net())
    peer.send("R", seq=peer.nxt + 4)
    challenge = peer.expect("A", ack=1)
    peer.send("A", data=b"text")
    t.equal(ours.recv(9), b"text")
    peer.send("R", seq=challenge.rel_ack)
    peer.flush(20)
    t.equal(t.net().a.state(peer.dut_port, peer.port), "ESTABLISHED")
    peer.send("R")
    with t.fails_with(errno.ECONNRESET):
        ours.recv(1)


@t.test("R1122-20e", "D-19", "SYN-RECEIVED/OTHER-SYN", "MUST-11")
def another_syn_in_syn_received():
    """In the window it returns a passive open to LISTEN; the next one opens."""
    listener, peer = reach("SYN-RECEIVED")
    peer.send("S", seq=100)
    peer.expect_nothing(30)
    t.equal(t.net().a.rows(peer.dut_port), [], "requests")
    peer.send("A", seq=1, ack=1)
    peer.expect("R", seq=1)
    peer.iss, peer.nxt, peer.rcv = peer.iss + 100, 0, 0
    peer.connect(peer.dut_port)
    listener.accept()[0].close()


@t.test("SYN-RECEIVED/OTHER-SYN", "C-10")
def another_syn_in_a_simultaneous_open():
    """In the active open's SYN-RECEIVED it is challenged."""
    ours, peer = reach("SYN-SENT")
    peer.send("S")
    peer.expect("SA", ack=1)
    peer.send("S", seq=100)
    peer.expect("A", seq=1, ack=1)
    t.equal(t.net().a.state(peer.dut_port, peer.port), "SYN-RECEIVED")
    peer.send("A", seq=1)
    t.net().a.wait_state("ESTABLISHED", peer.dut_port, peer.port)


@t.test("SYN-SENT/ABORT", "C-36", "L-22", cases={"linger": 0, "unspec": 1})
def abort_in_syn_sent(disconnect):
    """Nothing is sent, a call that waits is told."""
    net = t.net()
    peer = t.Peer(net)
    ours = net.a.sock(timeout=None)
    waiting = t.Background(ours.connect, (peer.address, peer.port))
    peer.dut_port = peer.expect("S").sport
    if disconnect:
        address = struct.pack("=H14x", socket.AF_UNSPEC)
        t.equal(t._libc.connect(ours.fileno(), address, len(address)), 0)
        with t.fails_with(errno.EPIPE):  # as stock TCP
            waiting.result(5)
    else:
        t.linger(ours, 1, 0)
        ours.shutdown(socket.SHUT_RDWR)
        with t.fails_with(errno.ECONNRESET, errno.ECONNABORTED):
            waiting.result(5)
        ours.close()
    net.a.wait_state("CLOSED", peer.dut_port, peer.port)
    peer.expect_nothing(4000)


@t.test("L-14", "L-13", "C-40", "MUST-34", "SHLD-15")
def behind_a_window_that_shrank():
    """What the peer takes lies at its right edge, not beyond: there an ACK and
    the RST of an abort have their numbers."""
    t.net().a.tune(rto_min_ms=20000, rto_init_ms=20000)
    ours, peer = t.with_peer(t.net(), win=5000)
    ours.setsockopt(t.SOL_TCP, socket.TCP_NODELAY, 1)
    ours.send(bytes(5000))
    while peer.rcv < 5001:
        peer.expect("A")
    peer.send("A", ack=1, win=1000)
    peer.send("A", ack=1, win=1000, data=b"more")
    peer.expect("A", seq=1001, ack=5, length=0)
    t.linger(ours, 1, 0)
    t.equal(ours.recv(4), b"more")
    ours.close()
    peer.expect("RA", seq=1001, ack=5, length=0)


@t.test("R6528-2", "R6528-1", "MUST-8", "R6191-D", "R7323-17", "C-54")
def clocks_of_a_4_tuple():
    """From one connection to the next, ISN and time stamp go on by their clocks:
    nothing is drawn anew."""
    net = t.net()
    listener = net.a.listener()
    first = t.Peer(net, ts=True)
    seen = []
    for pause in 0, 1, 2 if t.DEBUG else 1000:
        time.sleep(pause)
        peer = t.Peer(net, port=first.port, ts=True)
        peer.dut_port = listener.getsockname()[1]
        peer.send("S")
        seen.append(peer.expect("SA"))
        peer.send("R", seq=1)
        peer.close()
    for one, two in zip(seen, seen[1:]):
        passed = (two.time - one.time) / 1e9
        ticks = t.distance(two.opts["ts"][0], one.opts["ts"][0])
        t.near(ticks, passed * 1000, slack=5, what="ticks")
        grown = (two.seq - one.seq) % (1 << 32)
        due = passed * 1e9 / 4096 % (1 << 32)
        t.near(grown, due, slack=5000, what="ISN")


# --- addresses --------------------------------------------------------------------


def more_addresses(net):
    """Two more addresses of a's, which the peer can answer to."""
    for host in 21, 22:
        bits = "64 nodad" if t.FAMILY == 6 else "24"
        net.a.run(f"ip addr add {t.address_of(host)}/{bits} dev {net.a.device}")
        net.b.run(
            f"ip neigh replace {t.address_of(host)} lladdr {net.a.mac} "
            f"dev {net.b.device} nud permanent"
        )
    return t.address_of(21), t.address_of(22)


def prefer(net, source):
    net.a.run(f"ip route replace {t.address_of(2)} dev {net.a.device} "
              f"src {source}")  # fmt: skip


@t.test("MUST-44", "MUST-45", "C-28")
def the_source_is_chosen_once():
    """By the route of the SYN; a route with another source changes nothing for
    a connection, not in TIME-WAIT and not for a RST."""
    net = t.own_net()
    net.a.tune(msl_ms=5000)
    one, two = more_addresses(net)
    prefer(net, one)
    capture = t.Capture(net.b)
    kept, server = t.connect(net.a, net.b)
    reset, reset_server = t.connect(net.a, net.b)
    prefer(net, two)
    after, after_server = t.connect(net.a, net.b)
    for sock, source in (kept, one), (reset, one), (after, two):
        t.equal(sock.getsockname()[0], source, "source")
    port = kept.getsockname()[1]
    kept.sendall(t.pattern(30000))
    t.equal(t.read_exactly(server, 30000), t.pattern(30000))
    t.linger(reset, 1, 0)
    reset.close()
    with t.fails_with(errno.ECONNRESET):
        reset_server.recv(1)
    kept.close()
    t.equal(server.recv(1), b"")
    server.close()
    net.a.wait_state("TIME-WAIT", port)
    # A segment that the record answers, and one that nobody knows.
    for to in port, 9:
        frame = t.build(
            net.b.address, one, 80 if to == 9 else server_port(capture, port),
            to, 1, 1, "A", src_mac=net.b.mac, dst_mac=net.a.mac,
        )  # fmt: skip
        capture.socket.send(frame)
    capture.wait(lambda s: s.has("R") and s.sport == 9)
    ours = {s.src for s in capture.segments() if s.dst == net.b.address}
    t.equal(ours, {one, two}, "sources")
    mine = {s.src for s in capture.segments(port) if s.sport == port}
    t.equal(mine, {one}, "sources of a connection")


def server_port(capture, port):
    return capture.segments(port)[0].dport


# --- what must not matter -------------------------------------------------------


@t.test("D-26", cases={s: s for s in SYNCHRONIZED})
def precedence_is_not_looked_at(state):
    """A segment of another precedence, or with a DSCP, is like any other."""
    ours, peer = reach(state)
    for tos in 0xE0, 0x28, 0xB8, 0x03:
        peer.send("A", seq=peer.nxt - 1, tos=tos)  # an old one: ACK
        peer.expect("A", ack=peer.nxt, timeout=2)
        peer.expect_nothing(600)
    peer.send("R", tos=0xE0)
    after = "TIME-WAIT" if state == "TIME-WAIT" else "CLOSED"
    t.net().a.wait_state(after, peer.dut_port, peer.port)


@t.test("R2525-15", "C-25", cases={"bare": b"", "behind text": b"text"})
def fin_is_told_at_once(text):
    """A reader that waits learns of a FIN, and the peer that it came."""
    ours, peer = t.with_peer(t.net())
    reader = t.Background(lambda: (t.read_all(ours), time.time_ns()))
    t.wait_for(lambda: asleep(reader), 5, "reader asleep")
    sent = time.time_ns()
    peer.send("FA" if not text else "FPA", data=text)
    answer = peer.expect("A", ack=peer.nxt)
    seen, told = reader.result(5)
    t.equal(seen, text)
    t.between((told - sent) / 1e6, 0, 10 * t.SLOW, "ms until EOF")
    t.between((answer.time - sent) / 1e6, 0, 10 * t.SLOW, "ms until the ACK")


def asleep(thread):
    with open(f"/proc/self/task/{thread.native_id}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "S"


# --- other parts of the kernel ----------------------------------------------------


RULES = """
table inet t {
    chain c {
        type filter hook input priority 0;
        ct state established counter accept
        counter drop
    }
}
"""


@t.test("L-60")
def connection_tracking():
    """netfilter sees the states of a connection as it does those of stock TCP."""
    net = t.own_net()
    net.a.run(["nft", "-f", "-"], input=RULES)
    client, server = t.connect(net.a, net.b)
    server.sendall(t.pattern(10000))
    t.equal(t.read_exactly(client, 10000), t.pattern(10000))
    port = str(client.getsockname()[1])
    for state in "ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT":
        if state == "CLOSE_WAIT":
            server.shutdown(socket.SHUT_WR)
            t.equal(client.recv(1), b"")
        elif state == "TIME_WAIT":
            client.close()
            net.a.wait_state("CLOSED", int(port))
        rows = net.a.read("nf_conntrack").splitlines()
        rows = [row for row in rows if f"sport={port}" in row]
        t.check(len(rows) == 1 and state in rows[0], rows)
    counted = net.a.run("nft list ruleset")
    t.check("counter packets 0 bytes 0 drop" in counted, counted)
    t.check("counter packets 0 bytes 0 accept" not in counted, counted)


t.main()
