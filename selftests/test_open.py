#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Opening when there is no room: SYN cookies, full queues, TCP_DEFER_ACCEPT;
and connect() to where TIME-WAIT is."""
import errno
import socket
import time

import cftest as t

COOKIE_S = 2 * 60  # no cookie is good for longer


def no_room(cookies=1):
    """(net, listener) whose only place for a request is taken."""
    net = t.own_net()
    net.a.tune(max_syn_backlog=1, syn_cookies=cookies)
    listener = net.a.listener()
    syn(t.Peer(net), listener)
    t.equal(net.a.counters()["Requests"], 1, "Requests")
    return net, listener


def syn(peer, listener, answer=True):
    """Send a SYN; the SYN,ACK if there shall be one."""
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    return peer.expect("SA", ack=1) if answer else peer.expect_nothing()


def accepted(listener):
    made = listener.accept()[0]
    made.settimeout(listener.gettimeout())
    t.cleanup(made.close)
    return made


def nobody_waits(listener):
    listener.setblocking(False)
    with t.fails_with(errno.EAGAIN):
        listener.accept()
    listener.settimeout(20 * t.SLOW)


def talk(ours, peer):
    peer.send("AP", data=b"question")
    t.equal(t.read_exactly(ours, 8), b"question")
    ours.sendall(b"answer")
    t.equal(peer.expect_data(6), b"answer")


@t.test("R4987-2", cases={
    "none": {}, "timestamps": {"ts": True},
    "all": {"ts": True, "sack": True, "ws": 7},
    "without timestamps": {"sack": True, "ws": 7},
})  # fmt: skip
def cookie(options):
    """Nothing is kept but in the SYN,ACK; options need timestamps for that."""
    net, listener = no_room()
    before = net.a.counters()
    peer = t.Peer(net, mss=1300, **options)
    answer = syn(peer, listener)
    told = "ts" in options
    t.equal("ts" in answer.opts, told, "timestamps")
    t.equal("sackok" in answer.opts, told and "sack" in options, "SACK")
    t.equal("ws" in answer.opts, told and "ws" in options, "window scale")
    t.equal(net.a.counters()["Requests"], 1, "Requests")
    peer.send("A")
    ours = accepted(listener)
    now = net.a.counters()
    for name in ("SynCookiesSent", "SynCookiesRecv", "PassiveOpens"):
        t.equal(now[name] - before[name], 1, name)
    t.equal(now["Requests"], 1, "Requests")
    scale = 7 if told and "ws" in options else 0
    info = ours.getsockopt(t.SOL_TCP, socket.TCP_INFO, 8)
    t.equal(info[6] & 15, scale, "shift of the peer's window")
    mss = ours.getsockopt(t.SOL_TCP, socket.TCP_MAXSEG)
    t.between(mss, 1220 - 12 * told, 1300, "MSS")
    talk(ours, peer)
    peer.send("A", seq=peer.nxt + 5, data=b"later")
    t.equal("sack" in peer.expect("A").opts, told and "sack" in options)


@t.test("R4987-2")
def cookies_tell_options():
    """The lowest bits of the stamp, be it sent as a millisecond ends or not."""
    net, listener = no_room()
    bits = set()
    for _ in range(100):
        peer = t.Peer(net, ts=True, ws=3)
        bits.add(syn(peer, listener).opts["ts"][0] & 31)
        peer.close()
    t.equal(len(bits), 1, "values of the bits")


@t.test("R4987-2")
def cookie_is_not_repeated():
    net, listener = no_room()
    net.a.tune(synack_retries=0)
    peer = t.Peer(net)
    syn(peer, listener)
    peer.expect_nothing(3000, "no SYN,ACK again:")
    first = peer.irs
    peer.nxt = 0
    syn(peer, listener)
    t.equal(net.a.counters()["SynCookiesSent"], 1, "once there is room")
    t.check(peer.irs != first, "an ordinary number")


@t.test("R4987-2", cases={"text": b"text", "FIN": b""})
def cookie_with(data):
    net, listener = no_room()
    peer = t.Peer(net, ts=True)
    syn(peer, listener)
    peer.send("A" if data else "FA", data=data)
    ours = accepted(listener)
    t.equal(ours.recv(10), data)
    peer.expect("A", ack=peer.nxt)


def other_number(peer):
    peer.send("A", ack=2)


def other_syn(peer):
    peer.send("A", seq=2)


def other_port(peer):
    peer.port += 1000
    peer.send("A")


def other_bit(peer):
    peer.send("A", ack=1 + (1 << 24))


def no_timestamp(peer):
    peer.send("A", opts=b"")


def too_late(peer):
    """While others are given cookies."""
    time.sleep(COOKIE_S)
    other = t.Peer(peer.net)
    other.dut_port = peer.dut_port
    other.send("S")
    other.expect("SA")
    peer.send("A")


@t.test("R4987-2", cases={
    f.__name__: f for f in (other_number, other_syn, other_port, other_bit,
                            no_timestamp, too_late)
})  # fmt: skip
def cookie_forged(how):
    net, listener = no_room()
    net.a.tune(synack_retries=127)
    peer = t.Peer(net, ts=True)
    syn(peer, listener)
    how(peer)
    peer.expect("R")
    nobody_waits(listener)


@t.test("R4987-2")
def no_cookie_with_room():
    net = t.own_net()
    listener = net.a.listener()
    peer = t.Peer(net)
    syn(peer, listener)
    t.equal(net.a.counters()["Requests"], 1, "Requests")
    t.equal(net.a.counters()["SynCookiesSent"], 0, "SynCookiesSent")
    net, listener = no_room(cookies=0)
    syn(t.Peer(net), listener, answer=False)
    t.equal(net.a.counters()["SynCookiesSent"], 0, "SynCookiesSent")


@t.test("R4987-2")
def cookies_always():
    net = t.own_net()
    net.a.tune(syn_cookies=2)
    listener = net.a.listener()
    peer = t.Peer(net, ts=True, sack=True, ws=3)
    peer.connect(listener.getsockname()[1])
    talk(accepted(listener), peer)
    t.equal(net.a.counters()["SynCookiesRecv"], 1, "SynCookiesRecv")


@t.test("R4987-5")
def time_wait_passes_the_limits():
    """SYNs to TIME-WAIT find as much room again in a full queue, and no more."""
    net = t.own_net()
    net.a.tune(max_syn_backlog=1, msl_ms=60000)
    listener = net.a.listener()
    peers = [t.Peer(net) for _ in range(2)]
    for peer in peers:
        peer.connect(listener.getsockname()[1])
        listener.accept()[0].close()
        peer.expect("FA")
        peer.send("FA")
        peer.expect("A")
        net.a.wait_state("TIME-WAIT", peer.dut_port, peer.port)
    syn(t.Peer(net), listener)
    for peer in peers:
        peer.send("S", seq=100000, ack=0)
    peers[0].expect("SA", ack=100001)
    peers[1].expect_nothing()
    t.equal(net.a.state(peers[1].dut_port, peers[1].port), "TIME-WAIT")


def full_accept_queue():
    """(net, listener, peer) of a peer whose ACK finds the queue full."""
    net = t.own_net()
    listener = net.a.listener(backlog=0)
    peer = t.Peer(net)
    syn(peer, listener)
    t.Peer(net).connect(listener.getsockname()[1])
    t.wait_for(lambda: net.a.counters()["PassiveOpens"] == 1, what="the first")
    syn(t.Peer(net), listener, answer=False)
    return net, listener, peer


@t.test("L-52")
def overflow():
    net, listener, peer = full_accept_queue()
    peer.send("A")
    again = peer.expect("SA", seq=0, ack=1, what="the SYN,ACK again:")
    t.check(again, "again")
    accepted(listener)
    peer.send("A")
    talk(accepted(listener), peer)


@t.test("L-52")
def abort_on_overflow():
    net, listener, peer = full_accept_queue()
    net.a.tune(abort_on_overflow=1)
    peer.send("A")
    peer.expect("R", seq=1)
    t.equal(net.a.counters()["Requests"], 0, "Requests")
    peer.expect_nothing(2000)


@t.test("L-52")
def somaxconn():
    """listen() takes no more than net.core.somaxconn."""
    net = t.own_net()
    net.a.sysctl("core.somaxconn", 2)
    listener = net.a.listener(backlog=100)
    for _ in range(3):
        t.Peer(net).connect(listener.getsockname()[1])
    t.wait_for(lambda: net.a.counters()["PassiveOpens"] == 3)
    syn(t.Peer(net), listener, answer=False)


@t.test("L-52", cases={"text": True, "silence": False})
def defer_accept(text):
    net = t.own_net()
    listener = net.a.listener()
    listener.setsockopt(t.SOL_TCP, socket.TCP_DEFER_ACCEPT, 5)
    period = listener.getsockopt(t.SOL_TCP, socket.TCP_DEFER_ACCEPT)
    t.equal(period, 7, "three timeouts of 1, 2 and 4 s")
    peer = t.Peer(net)
    start = syn(peer, listener).time
    peer.send("A")
    nobody_waits(listener)
    if text:
        peer.expect_nothing(1500)
        peer.send("AP", data=b"text")
        t.equal(accepted(listener).recv(10), b"text")
        return
    again = peer.expect("SA", timeout=period + 1)
    t.near((again.time - start) / 1e9, period, slack=0.02, what="s")
    nobody_waits(listener)
    peer.send("A")
    talk(accepted(listener), peer)


@t.test("MUST-22", cases={"1": 1, "2": 2})
def syncnt(count):
    net = t.own_net()
    net.a.tune(rto_init_ms=200)
    ours = net.a.sock()
    t.equal(ours.getsockopt(t.SOL_TCP, socket.TCP_SYNCNT), 7)
    for wrong in (0, 128, -1):
        with t.fails_with(errno.EINVAL):
            ours.setsockopt(t.SOL_TCP, socket.TCP_SYNCNT, wrong)
    ours.setsockopt(t.SOL_TCP, socket.TCP_SYNCNT, count)
    t.equal(ours.getsockopt(t.SOL_TCP, socket.TCP_SYNCNT), count)
    capture = t.Capture(net.b)
    with t.fails_with(errno.ETIMEDOUT):
        ours.connect((t.GHOST, 9))
    t.equal(len(capture.segments(9)), 1 + count, "SYNs")


def connect_from(net, port, peer):
    ours = net.a.sock()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ours.bind((net.a.address, port))
    ours.setblocking(False)
    try:
        ours.connect((t.GHOST, peer.port))
    except BlockingIOError:
        pass
    return ours


def left_in_time_wait(reuse, ts):
    """(net, our port, peer) of a connection of ours that just ended."""
    net = t.own_net()
    net.a.tune(time_wait_reuse=reuse, msl_ms=60000)
    peer = t.Peer(net, ts=ts)
    ours = connect_from(net, 0, peer)
    peer.accept()
    ours.close()
    peer.expect("FA", seq=1)
    peer.send("FA")
    peer.expect("A", seq=2, ack=2)
    net.a.wait_state("TIME-WAIT", peer.dut_port, peer.port)
    return net, peer.dut_port, peer


def no_address(net, port, peer):
    with t.fails_with(errno.EADDRNOTAVAIL):
        connect_from(net, port, peer)
    t.equal(net.a.state(port, peer.port), "TIME-WAIT")


@t.test("API", cases={"passive": ("SA",), "active": ("S",)})
def copies(flags):
    """With repair_copies a SYN or a SYN,ACK leaves so often at once."""
    net = t.net()
    net.a.tune(repair_copies=3)
    peer = t.Peer(net)
    if flags == "SA":
        peer.dut_port = net.a.listener().getsockname()[1]
        peer.send("S")
    else:
        ours = net.a.sock()
        ours.setblocking(False)
        ours.connect_ex((peer.address, peer.port))
    seen = [peer.get(1) for _ in range(3)]
    t.check(all(seg and seg.is_flags(flags) for seg in seen), f"{seen}")
    t.equal(len({seg.seq for seg in seen}), 1, "sequence numbers")
    peer.dut_port = seen[0].sport
    peer.expect_nothing(500)


@t.test("L-51", "R6191-D", "R6528-3")
def time_wait_reuse():
    """A second later, beyond all that was sent before."""
    net, port, peer = left_in_time_wait(reuse=1, ts=True)
    last = peer.all[-1]
    no_address(net, port, peer)
    time.sleep(1)
    connect_from(net, port, peer)
    peer.queue.clear()
    new = peer.expect("S", timeout=1)
    t.check(0 < t.distance(new.seq, last.seq + 65536) < 1 << 31, f"{new}")
    t.check(t.distance(new.opts["ts"][0], last.opts["ts"][0]) >= 900, f"{new}")
    t.equal(net.a.state(port, peer.port), "SYN-SENT")
    t.equal(net.a.counters()["TimeWaitReused"], 1, "TimeWaitReused")
    peer.rcv, peer.nxt = 1, 0
    peer.send("SA", seq=0)
    peer.nxt = 1
    peer.expect("A", seq=1, ack=1)


@t.test("L-51", cases={"sysctl": (0, True), "timestamps": (1, False)})
def time_wait_is_not_reused(reuse, ts):
    net, port, peer = left_in_time_wait(reuse, ts)
    time.sleep(2)
    no_address(net, port, peer)


if __name__ == "__main__":
    t.main()
