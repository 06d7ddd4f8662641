#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Options of level IPPROTO_TCP, and what they do on the wire."""
import contextlib
import ctypes
import errno
import fcntl
import select
import socket
import struct
import time

import cftest as t

TCP = t.SOL_TCP
NODELAY, MAXSEG, CORK, SYNCNT = 1, 2, 3, 7
WINDOW_CLAMP, INFO, QUICKACK, CONGESTION = 10, 11, 12, 13
TIMESTAMP, NOTSENT_LOWAT, INQ, ULP = 24, 25, 36, 31
REFUSED = {
    "MD5SIG": 14,
    "REPAIR": 19,
    "FASTOPEN": 23,
    "FASTOPEN_CONNECT": 30,
    "FASTOPEN_KEY": 33,
    "MD5SIG_EXT": 32,
    "AO_ADD_KEY": 38,
}
SIOCOUTQNSD = 0x894B

# struct tcp_info: name, offset, format
INFO_FIELDS = {
    "state": (0, "B"),
    "ca_state": (1, "B"),
    "retransmits": (2, "B"),
    "options": (5, "B"),
    "rto": (8, "I"),
    "snd_mss": (16, "I"),
    "unacked": (24, "I"),
    "sacked": (28, "I"),
    "last_data_sent": (44, "I"),
    "last_data_recv": (52, "I"),
    "last_ack_recv": (56, "I"),
    "pmtu": (60, "I"),
    "rtt": (68, "I"),
    "total_retrans": (100, "I"),
    "bytes_acked": (120, "Q"),
    "bytes_received": (128, "Q"),
    "segs_out": (136, "I"),
    "segs_in": (140, "I"),
    "notsent_bytes": (144, "I"),
    "data_segs_in": (152, "I"),
    "data_segs_out": (156, "I"),
    "bytes_sent": (200, "Q"),
    "bytes_retrans": (208, "Q"),
    "snd_wnd": (228, "I"),
}


def info(sock):
    raw = sock.getsockopt(TCP, INFO, 256)
    return {
        name: struct.unpack_from("=" + kind, raw, at)[0]
        for name, (at, kind) in INFO_FIELDS.items()
    }


def connection(role="passive", prepare=None, **options):
    """(our socket, hand-made peer); `prepare` readies the listener."""
    net = t.net()
    if role == "passive":
        listener = net.a.listener()
        if prepare:
            prepare(listener)
        peer = t.Peer(net, **options)
        peer.connect(listener.getsockname()[1])
        ours = listener.accept()[0]
        ours.settimeout(20 * t.SLOW)
        t.cleanup(ours.close)
        listener.close()
    else:
        ours = net.a.sock()
        if prepare:
            prepare(ours)
        peer = t.Peer(net, **options)
        ours.setblocking(False)
        ours.connect_ex((peer.address, peer.port))
        peer.accept()
        ours.settimeout(20 * t.SLOW)
    t.cleanup(peer.send, "RA")
    return ours, peer


def burst(peer, quiet=0.05):
    """What comes until there is silence."""
    quiet *= 10 if t.DEBUG else 1
    return list(iter(lambda: peer.get(quiet, factor=1), None))


def raw_get(sock, option, room):
    """(return value or -errno, octets, length said) of getsockopt()."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(b"\xee" * 256, 256)
    size = ctypes.c_int(room)
    ret = libc.getsockopt(sock.fileno(), TCP, option, buffer,
                          ctypes.byref(size))  # fmt: skip
    return (ret if ret == 0 else -ctypes.get_errno()), buffer.raw, size.value


# --- values -------------------------------------------------------------------


@t.test()
def values():
    """What is set is read back; what cannot be is refused."""
    ours = t.net().a.sock()
    for option, good, bad in (
        (NODELAY, (1, 0), ()),
        (CORK, (1, 0), ()),
        (MAXSEG, (88, 32767, 500), (87, 32768, -1)),
        (WINDOW_CLAMP, (20000, 5000, 0), ()),
        (NOTSENT_LOWAT, (1, 1 << 20, 0), ()),
        (INQ, (1, 0), (2, -1)),
        (QUICKACK, (1, 0), ()),
        (t.TCP_USER_TIMEOUT, (1, 1 << 30, 0), (-1,)),
    ):
        for value in good:
            ours.setsockopt(TCP, option, value)
            if option != MAXSEG:  # says what is in use
                t.equal(ours.getsockopt(TCP, option), value, f"{option}")
        for value in bad:
            with t.fails_with(errno.EINVAL):
                ours.setsockopt(TCP, option, value)
    with t.fails_with(errno.EPERM):
        ours.setsockopt(TCP, TIMESTAMP, 1)


@t.test()
def lengths():
    """One to three octets are too few to set; a short answer is cut off."""
    ours = t.net().a.sock()
    for option in NODELAY, WINDOW_CLAMP, NOTSENT_LOWAT, INQ, QUICKACK:
        for size in range(4):
            with t.fails_with(errno.EINVAL):
                ours.setsockopt(TCP, option, bytes(size))
        ours.setsockopt(TCP, option, struct.pack("iq", 1, -1))
        for room in range(6):
            ret, data, said = raw_get(ours, option, room)
            t.equal((ret, said), (0, min(room, 4)), "result")
            t.equal(data[min(room, 4) :], b"\xee" * (256 - min(room, 4)))
        t.equal(raw_get(ours, option, -1)[0], -errno.EINVAL, "length -1")
    for room in 0, 1, 100, 256:
        ret, data, said = raw_get(ours, INFO, room)
        t.equal(ret, 0, "TCP_INFO")
        t.check(said <= room and said >= min(room, 192), f"{said} of {room}")
        t.equal(data[said:], b"\xee" * (256 - said), "beyond the answer")


@t.test("MUST-19")
def congestion():
    """There is none: what asks hears so, and only that can be set."""
    if t.DUT != t.CFTCP:
        return
    ours = t.net().a.sock()
    t.equal(ours.getsockopt(TCP, CONGESTION, 16), b"none" + bytes(12), "name")
    t.equal(ours.getsockopt(TCP, CONGESTION, 3), b"non", "cut off")
    for name in b"none", b"none\0", b"none\0rest":
        ours.setsockopt(TCP, CONGESTION, name)
    for name in b"cubic", b"reno", b"non", b"nonesuch", b"x" * 100:
        with t.fails_with(errno.ENOENT):
            ours.setsockopt(TCP, CONGESTION, name)
    with t.fails_with(errno.EINVAL):
        ours.setsockopt(TCP, CONGESTION, b"")


@t.test(cases=REFUSED)
def not_supported(option):
    """A program is told, and does without."""
    if t.DUT != t.CFTCP:
        return
    ours, _ = connection()
    with t.fails_with(errno.ENOPROTOOPT):
        ours.setsockopt(TCP, option, bytes(300))
    with t.fails_with(errno.ENOPROTOOPT):
        ours.getsockopt(TCP, option)


@t.test()
def no_upper_layer():
    """kTLS and its like are refused, before and after connect()."""
    if t.DUT != t.CFTCP:
        return
    for sock in t.net().a.sock(), connection()[0]:
        for name in b"tls", b"tls\0", b"mptcp", b"espintcp", b"nonesuch":
            with t.fails_with(errno.ENOPROTOOPT):
                sock.setsockopt(TCP, ULP, name)
        with t.fails_with(errno.ENOPROTOOPT):
            sock.getsockopt(TCP, ULP, 16)
        with t.fails_with(errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            sock.setsockopt(282, 1, bytes(40))  # SOL_TLS


@t.test()
def inherited():
    def prepare(sock):
        for option, value in settings:
            sock.setsockopt(TCP, option, value)

    settings = ((NODELAY, 1), (NOTSENT_LOWAT, 4321), (INQ, 1), (QUICKACK, 1),
                (WINDOW_CLAMP, 8000), (t.TCP_USER_TIMEOUT, 99999))  # fmt: skip
    ours, peer = connection(prepare=prepare)
    for option, value in settings:
        if t.DUT == t.CFTCP or option not in (INQ, QUICKACK):
            t.equal(ours.getsockopt(TCP, option), value, f"option {option}")


# --- windows ------------------------------------------------------------------


@t.test("SHLD-14", "MUST-39",
        cases={"passive": "passive", "active": "active"})  # fmt: skip
def window_clamp(role):
    """No window shown is larger, that of the SYN included."""
    def prepare(sock):
        sock.setsockopt(TCP, WINDOW_CLAMP, 8000)

    ours, peer = connection(role, prepare)
    t.between(peer.peer_win, 4000, 8000, "window of the SYN")
    edge = 1 + peer.peer_win
    for _ in range(20):
        peer.send("A", data=bytes(1000))
        peer.send("A", data=bytes(1000))
        for seg in burst(peer, 0.05):
            t.between(seg.win, 0, 8000, "window")
            t.check(seg.rel_ack + seg.win >= edge, "the edge moved left")
            edge = seg.rel_ack + seg.win
        t.equal(len(t.read_exactly(ours, 2000)), 2000, "text")
    t.equal(peer.nxt, 40001, "octets taken")
    with t.fails_with(errno.EINVAL):
        ours.setsockopt(TCP, WINDOW_CLAMP, 0)
    t.equal(ours.getsockopt(TCP, WINDOW_CLAMP), 8000, "unchanged")


@t.test("SHLD-14")
def window_clamp_on_the_way():
    """A clamp set later takes nothing back; what is small is raised."""
    ours, peer = connection()
    peer.send("A", data=bytes(1000))
    edge = max(s.rel_ack + s.win for s in burst(peer))
    ours.setsockopt(TCP, WINDOW_CLAMP, 1)
    least = ours.getsockopt(TCP, WINDOW_CLAMP)
    t.between(least, 1000, 2500, "half of the least buffer")
    ours.recv(1000)
    while edge - peer.nxt > least:
        peer.send("A", data=bytes(min(1000, edge - peer.nxt)))
        for seg in burst(peer, 0.05):
            t.check(seg.rel_ack + seg.win >= edge, "the edge moved left")
            edge = seg.rel_ack + seg.win
        ours.recv(1 << 16)
    for _ in range(5):
        peer.send("A", data=bytes(min(1000, edge - peer.nxt)))
        for seg in burst(peer, 0.05):
            t.between(seg.win, 0, least, "window")
            edge = seg.rel_ack + seg.win
        ours.recv(1 << 16)


@t.test("SHLD-16", "MAY-7", "MUST-34", "SHLD-15", "SHLD-17")
def shrunk_window():
    """Old text is sent again inside of a window that shrank, never beyond it;
    and for what lies beyond nothing times out."""
    t.net().a.tune(user_timeout_ms=4000 * t.SLOW, rto_max_ms=1000 * t.SLOW)
    mss = t.MSS
    ours, peer = connection(win=4 * mss)
    ours.setblocking(False)
    ours.send(t.pattern(4 * mss))
    burst(peer, 0.05)
    t.equal(max(s.rel_seq + s.len for s in peer.all), 4 * mss + 1, "in flight")
    edge = 2 * mss + 1
    peer.send("A", ack=mss + 1, win=mss)
    seen = burst(peer, 0.7)
    t.check(seen, "nothing sent again")
    for seg in seen:
        t.check(seg.len and seg.rel_seq == mss + 1, f"{seg} sent again")
        t.check(seg.rel_seq + seg.len <= edge, f"{seg} beyond the edge")
    peer.send("A", ack=edge, win=0)
    end = time.monotonic() + (12 if t.DUT == t.CFTCP else 3)
    while time.monotonic() < end:
        seg = peer.get(1)
        if seg:
            t.check(seg.len == 0, f"{seg} into a window that is shut")
            peer.send("A", ack=edge, win=0)
    peer.send("A", ack=edge, win=4 * mss)
    for _ in range(3 * t.SLOW):
        seg = peer.get(2)
        if not seg or (seg.len and seg.rel_seq == edge):
            break
    t.check(seg and seg.len and seg.rel_seq == edge, f"sent again: {seg}")
    peer.send("A", ack=4 * mss + 1)
    t.equal(t.net().a.state(peer.dut_port, peer.port), "ESTABLISHED")


# --- acknowledging ------------------------------------------------------------


@t.test("SHLD-18", "MUST-40")
def quickack():
    """With TCP_QUICKACK text is acknowledged at once, also what waits."""
    ours, peer = connection()
    if t.DUT != t.CFTCP:  # which is quick by itself at first
        ours.setsockopt(TCP, QUICKACK, 0)
    for _ in range(20):
        peer.send("A", data=b"x")
        burst(peer, 0.1)
    if not t.DEBUG:  # where it is late before it is delayed
        peer.send("A", data=b"x")
        peer.expect_nothing(15)
    ours.setsockopt(TCP, QUICKACK, 1)
    if not t.DEBUG:
        peer.expect("A", ack=peer.nxt, timeout=0.01)
    for _ in range(3):
        peer.send("A", data=b"x")
        peer.expect("A", ack=peer.nxt, timeout=0.01 * t.SLOW)
    ours.setsockopt(TCP, QUICKACK, 0)
    if t.DUT == t.CFTCP and not t.DEBUG:
        since = time.time_ns()
        peer.send("A", data=b"x")
        seg = peer.expect("A", ack=peer.nxt)
        t.near((seg.time - since) / 1e6, 40, 0.1, 4, "ms")


# --- what is not sent ---------------------------------------------------------


@t.test("L-33")
def notsent_lowat():
    """A socket is not writable with so much not sent, whatever is in flight."""
    ours, peer = connection(win=7500, ws=2)
    ours.setsockopt(TCP, NOTSENT_LOWAT, 20000)
    ours.setblocking(False)
    poller, epoll = select.poll(), select.epoll()
    t.cleanup(epoll.close)
    poller.register(ours, select.POLLOUT)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += ours.send(bytes(1000))
    waiting = sent - 30000
    t.between(waiting, 20000 - 1000 - t.MSS, 90000, "octets not sent")
    unsent = struct.unpack("i", fcntl.ioctl(ours, SIOCOUTQNSD, bytes(4)))[0]
    t.between(unsent, waiting, waiting + t.MSS, "SIOCOUTQNSD")
    t.equal(poller.poll(0), [], "poll")
    epoll.register(ours, select.EPOLLOUT | select.EPOLLET)
    t.equal(epoll.poll(0), [], "epoll")
    waiter = t.Background(epoll.poll, 5 * t.SLOW)
    burst(peer)
    peer.send("A", win=(sent - (peer.rcv - 1) - 15000) // 4)
    burst(peer)
    t.check(poller.poll(0), "no room for who asks")
    t.check(waiter.is_alive(), "woken while more than half waits")
    peer.send("A", win=65535)
    t.equal(waiter.result()[0][1], select.EPOLLOUT, "epoll")
    t.check(poller.poll(0), "poll")


@t.test()
def notsent_lowat_wakes_a_writer():
    """A blocking send goes on as soon as what waited has left."""
    ours, peer = connection(win=10000)
    ours.setsockopt(TCP, NOTSENT_LOWAT, 1)
    whole = t.pattern(300000)
    began = time.monotonic()
    writer = t.Background(ours.sendall, whole)
    data = b""
    while len(data) < len(whole):
        at = peer.rcv
        seg = peer.get(5)
        t.check(seg, f"only {len(data)} octets came")
        if seg.len and seg.rel_seq == at:
            data += seg.data
            peer.send("A", win=65535)
    writer.result()
    t.equal(t.digest(data), t.digest(whole), "text")
    took = time.monotonic() - began
    t.check(took < 1 * t.SLOW, f"took {took} s")


# --- what is left to read -----------------------------------------------------


def left(sock, size, flags=0):
    """(octets read, what TCP_INQ says is left)."""
    data, notes, _, _ = sock.recvmsg(size, 64, flags)
    found = [struct.unpack("i", v)[0] for lv, k, v in notes
             if (lv, k) == (TCP, INQ)]  # fmt: skip
    return len(data), *found


@t.test()
def inq():
    ours, peer = connection()
    peer.send("A", data=bytes(100))
    t.equal(left(ours, 10), (10,), "not asked for")
    ours.setsockopt(TCP, INQ, 1)
    t.equal(left(ours, 10, socket.MSG_PEEK), (10, 90), "peek")
    t.equal(left(ours, 10), (10, 80), "read")
    t.equal(left(ours, 80), (80, 0), "all")
    peer.send("FA", data=bytes(5))
    t.net().a.wait_state("CLOSE-WAIT", peer.dut_port, peer.port)
    t.equal(left(ours, 4)[0], 4, "read")
    t.equal(left(ours, 4), (1, 1), "the end is left")
    t.equal(left(ours, 4), (0, 1), "the end")


# --- looking ------------------------------------------------------------------


@t.test("R7323-10")
def timestamp():
    """TCP_TIMESTAMP is the clock of the timestamps that go out."""
    ours, peer = connection(ts=True)
    for _ in range(3):
        before = ours.getsockopt(TCP, TIMESTAMP) & 0xFFFFFFFF
        ours.send(b"x")
        seen = peer.expect("A", length=1).opts["ts"][0]
        after = ours.getsockopt(TCP, TIMESTAMP) & 0xFFFFFFFF
        t.check(0 <= t.distance(seen, before) <= t.distance(after, before),
                f"{before} {seen} {after}")  # fmt: skip
        peer.send("A")
        time.sleep(0.1)


@t.test("C-52", "L-37")
def counted():
    """TCP_INFO counts what was sent, sent again and received."""
    ours, peer = connection(win=5000, ts=True)
    fresh = info(ours)
    t.equal(fresh["state"], 1, "state")
    t.equal([fresh[n] for n in ("bytes_sent", "bytes_received", "unacked",
            "data_segs_out", "data_segs_in", "total_retrans")], [0] * 6)  # fmt: skip
    mss = fresh["snd_mss"]
    t.equal((mss, fresh["pmtu"]), (t.MSS - 12, 1500), "MSS and MTU")
    peer.send("AP", data=bytes(300))
    ours.setblocking(False)
    ours.send(bytes(3 * mss))
    t.wait_for(lambda: info(ours)["data_segs_out"] == 3, 5)
    one = info(ours)
    t.equal(one["unacked"], 3, "segments in flight")
    t.equal(one["bytes_sent"], 3 * mss, "octets sent")
    t.equal((one["bytes_received"], one["data_segs_in"]), (300, 1), "received")
    t.equal(one["snd_wnd"], 5000, "window")
    t.wait_for(lambda: info(ours)["total_retrans"], 5, "timeout")
    two = info(ours)
    t.between(two["bytes_retrans"], 1, 3 * mss, "octets sent again")
    t.equal(two["bytes_sent"], 3 * mss + two["bytes_retrans"], "octets sent")
    t.check(two["ca_state"] in (3, 4), f"state {two['ca_state']}")
    burst(peer)
    peer.send("A", ack=1 + 3 * mss, win=0)
    time.sleep(0.5)
    three = info(ours)
    t.equal((three["unacked"], three["bytes_acked"]), (0, 3 * mss), "acked")
    t.equal(three["snd_wnd"], 0, "window")
    t.between(three["last_ack_recv"], 490, 600 * t.SLOW, "ms since the ACK")
    t.between(three["last_data_recv"], 500, 9000 * t.SLOW, "ms since text")
    t.check(three["last_data_sent"] >= 490, "ms since text was sent")
    ours.send(bytes(100))
    t.equal(info(ours)["notsent_bytes"], 100, "not sent")


@t.test("C-52")
def counted_by_a_listener():
    """The accept queue, where others have segments in flight."""
    net = t.net()
    listener = net.a.listener(backlog=7)
    t.equal((info(listener)["state"], info(listener)["sacked"]), (10, 7))
    peers = [t.Peer(net) for _ in range(3)]
    for peer in peers:
        peer.connect(listener.getsockname()[1])
        t.cleanup(peer.send, "RA")
    t.wait_for(lambda: info(listener)["unacked"] == 3, 5)
    listener.accept()[0].close()
    t.equal(info(listener)["unacked"], 2, "in the queue")


# --- user timeout -------------------------------------------------------------

UTO = 28  # RFC 5482: the option is neither sent nor heeded


@t.test("R5482-1", "R5482-2", "R5482-3", "R5482-5", "R5482-9", "R5482-10",
        "L-44", "L-45", "L-35", cases={
            "shorter": 1, "longer": 3600, "zero": 0, "minutes": 0x8001,
        })  # fmt: skip
def peer_has_a_user_timeout(value):
    """What the peer advertises changes nothing of ours."""
    option = struct.pack(">BBH", UTO, 4, value)
    net = t.net()
    listener = net.a.listener()
    peer = t.Peer(net)
    t.cleanup(peer.send, "RA")
    peer.dut_port = listener.getsockname()[1]
    peer.send("S", opts=t.opt_mss(t.MSS) + option)
    peer.expect("SA", ack=1)
    peer.send("A", opts=option)
    ours = listener.accept()[0]
    t.cleanup(ours.close)
    ours.setsockopt(TCP, t.TCP_USER_TIMEOUT, 3000)
    peer.send("A", data=b"x", opts=option)
    ours.send(b"text")
    seg = peer.expect("A", seq=1, length=4)
    peer.send("A", ack=1, opts=option)
    passed = net.a.gone_after(seg.time, 3000, peer.dut_port, peer.port)
    t.near(passed, 3000, 0.02 if t.DUT == t.CFTCP else 0.5, 60, "ms")
    error = ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    t.equal(error, errno.ETIMEDOUT, "SO_ERROR")
    peer.flush()
    for seg in peer.all:
        t.check(UTO not in seg.opts, f"user timeout option on {seg}")
        t.check("R" not in seg.flags, "a RST")


t.main()
