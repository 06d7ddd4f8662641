#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""sendfile(2), splice(2), vmsplice(2): pages that go in and out of a stream."""
import ctypes
import errno
import fcntl
import os
import select
import socket
import struct
import tempfile

import cftest as t

libc = ctypes.CDLL(None, use_errno=True)
SPLICE_F_NONBLOCK, SPLICE_F_MORE = 2, 4
F_SETPIPE_SZ = 1031
SIOCOUTQ = 0x5411


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def vmsplice(fd, data):
    vector = Iovec(ctypes.cast(data, ctypes.c_void_p), len(data.raw))
    return libc.vmsplice(fd, ctypes.byref(vector), 1, 0)


def pair(server=t.STOCK):
    """(ours, the other end), both in one namespace."""
    net = t.net()
    ends = t.connect(net.a, net.a, None, server)
    for end in ends:
        end.setblocking(True)
    return ends


def pipe(size=1 << 16):
    ends = os.pipe()
    fcntl.fcntl(ends[1], F_SETPIPE_SZ, size)
    for end in ends:
        t.cleanup(os.close, end)
    return ends


def file_of(data):
    made = tempfile.TemporaryFile(dir="/dev/shm")
    t.cleanup(made.close)
    made.write(data)
    made.flush()
    return made


def sent_file(ours, data):
    """Send all of data by sendfile(), as a program does; return its length."""
    with file_of(data) as file:
        at = 0
        while n := os.sendfile(ours.fileno(), file.fileno(), at, 1 << 20):
            at += n
    return at


@t.test("API", cases={"stock": t.STOCK, "cftcp": t.DUT})
def sendfile_whole(server):
    ours, other = pair(server)
    data = t.pattern((3 << 20) + 12345)
    reader = t.Background(t.read_digest, other)
    t.equal(sent_file(ours, data), len(data), "octets sent")
    ours.shutdown(socket.SHUT_WR)
    t.equal(reader.result(), (len(data), t.digest(data)))


@t.test("API")
def sendfile_between_writes():
    """Text that was copied and pages of a file share the stream in order."""
    ours, other = pair()
    reader = t.Background(t.read_all, other)
    wanted = b""
    for turn in range(20):
        text, page = t.pattern(turn * 37 + 1, turn), t.pattern(5000, -turn)
        ours.send(text)
        sent_file(ours, page)
        wanted += text + page
    ours.shutdown(socket.SHUT_WR)
    t.equal(t.digest(reader.result()), t.digest(wanted))


@t.test("API")
def sendfile_lost_pages_are_sent_again():
    """A file's pages are held until they are acknowledged."""
    net = t.net(wire=True)
    ours, other = t.connect(net.a, net.b)
    ours.setblocking(True)
    net.wire.on(lambda s, right: right and s.len, "drop", times=3)
    data = t.pattern(200000)
    reader = t.Background(t.read_digest, other)
    t.equal(sent_file(ours, data), len(data))
    ours.shutdown(socket.SHUT_WR)
    t.equal(reader.result(), (len(data), t.digest(data)))


@t.test("API")
def sendfile_holds_nothing_back():
    """The end of a file that is shorter than asked for leaves at once."""
    net = t.net()
    ours, peer = t.with_peer(net)
    with file_of(t.pattern(4096 * 2 + 100)) as file:
        at = os.sendfile(ours.fileno(), file.fileno(), 0, 1 << 20)
    t.equal(at, 4096 * 2 + 100, "octets sent")
    got = b""
    while len(got) < at:
        seg = peer.get(0.15)  # a corked end would come after 200 ms
        t.check(seg, f"only {len(got)} octets came")
        if seg.rel_seq == len(got) + 1:
            got += seg.data
        peer.send("A")
    t.equal(got, t.pattern(4096 * 2 + 100))


@t.test("API")
def sendfile_without_blocking():
    ours, _ = pair()
    ours.setblocking(False)
    with file_of(bytes(16 << 20)) as file:
        with t.fails_with(errno.EAGAIN):
            at = 0
            while True:
                at += os.sendfile(ours.fileno(), file.fileno(), at, 1 << 20)
    t.check(at > 0, "nothing went")


@t.test("L-30", "API")
def sendfile_to_a_closed_stream():
    ours, _ = pair()
    ours.shutdown(socket.SHUT_WR)
    with file_of(bytes(5000)) as file, t.fails_with(errno.EPIPE):
        os.sendfile(ours.fileno(), file.fileno(), 0, 5000)
    with file_of(bytes(5000)) as file, t.fails_with(errno.EPIPE):
        os.sendfile(t.net().a.sock().fileno(), file.fileno(), 0, 5000)


@t.test("API")
def splice_out_of_a_pipe():
    """vmsplice() lends our own memory, splice() hands it to the socket."""
    ours, other = pair()
    out, into = pipe()
    data = ctypes.create_string_buffer(t.pattern(30000), 30000)
    t.equal(vmsplice(into, data), 30000, "vmsplice")
    left = 30000
    while left:
        left -= os.splice(out, ours.fileno(), left)
    t.equal(t.read_exactly(other, 30000), data.raw)
    t.wait_for(
        lambda: not struct.unpack("i", fcntl.ioctl(ours, SIOCOUTQ, bytes(4)))[0]
    )
    os.write(into, b"small")
    t.equal(os.splice(out, ours.fileno(), 100), 5, "what there is")
    t.equal(other.recv(100), b"small")


@t.test("API", cases={"stock": t.STOCK, "cftcp": t.DUT})
def splice_into_a_pipe(server):
    ours, other = pair(server)
    out, into = pipe()
    other.sendall(b"begin" + t.pattern(20000))
    got = b""
    while len(got) < 20005:
        n = os.splice(ours.fileno(), into, 9000)
        t.between(n, 1, 9000, "octets")
        got += os.read(out, n)
    t.equal(got, b"begin" + t.pattern(20000))
    other.send(b"more")
    t.equal(os.splice(ours.fileno(), into, 3), 3, "part of a segment")
    t.equal(ours.recv(10), b"e", "the rest of it")
    t.equal(os.read(out, 10), b"mor")
    other.close()
    t.equal(os.splice(ours.fileno(), into, 10), 0, "end of file")


@t.test("API")
def splice_waits():
    ours, other = pair()
    out, into = pipe()
    thread = t.Background(os.splice, ours.fileno(), into, 100)
    t.check(not select.select([out], [], [], 0.2)[0], "splice() did not wait")
    other.send(b"awaited")
    t.equal(thread.result(), 7)
    t.equal(os.read(out, 100), b"awaited")
    ours.setblocking(False)
    with t.fails_with(errno.EAGAIN):
        os.splice(ours.fileno(), into, 100)


@t.test("API")
def splice_into_a_full_pipe():
    ours, other = pair()
    out, into = pipe(4096)
    other.sendall(t.pattern(50000))
    t.wait_for(lambda: len(ours.recv(50000, socket.MSG_PEEK)) == 50000)
    got = b""
    while len(got) < 50000:
        n = os.splice(ours.fileno(), into, 50000, flags=SPLICE_F_NONBLOCK)
        t.between(n, 1, 49999, "what the pipe has room for")
        if not got:
            with t.fails_with(errno.EAGAIN):
                os.splice(ours.fileno(), into, 50000, flags=SPLICE_F_NONBLOCK)
        got += os.read(out, n)
    t.equal(got, t.pattern(50000))


@t.test("L-31", "API")
def splice_from_what_has_ended():
    _, into = pipe()
    net = t.net()
    with t.fails_with(errno.ENOTCONN):
        os.splice(net.a.sock().fileno(), into, 10)
    with t.fails_with(errno.ENOTCONN):
        os.splice(net.a.listener().fileno(), into, 10)
    ours, other = pair()
    t.linger(other, 1, 0)
    other.close()
    t.wait_for(
        lambda: select.select([ours], [], [], 0)[0], 5, "the end"
    )
    with t.fails_with(errno.ECONNRESET):
        os.splice(ours.fileno(), into, 10)
    t.equal(os.splice(ours.fileno(), into, 10), 0, "told once")


@t.test("MUST-39", "API")
def splice_opens_the_window():
    """What went into a pipe makes room: the sender goes on."""
    ours, other = pair()
    out, into = pipe(1 << 20)
    data = t.pattern(4 << 20)
    writer = t.Background(other.sendall, data)
    size, got = 0, []
    while size < len(data):
        n = os.splice(ours.fileno(), into, 1 << 16)
        size += n
        while n:
            part = os.read(out, n)
            n -= len(part)
            got.append(part)
    writer.result()
    t.equal(t.digest(b"".join(got)), t.digest(data))


@t.test("API")
def splice_through():
    """A proxy: from one connection into another, no octet seen in between."""
    one, source = pair()
    two, sink = pair()
    out, into = pipe()
    data = t.pattern(1 << 20)
    writer = t.Background(source.sendall, data)
    reader = t.Background(t.read_exactly, sink, len(data))
    left = len(data)
    while left:
        n = os.splice(one.fileno(), into, 1 << 16)
        left -= n
        while n:
            n -= os.splice(out, two.fileno(), n, flags=SPLICE_F_MORE * (left > 0))
    writer.result()
    t.equal(t.digest(reader.result()), t.digest(data))


if __name__ == "__main__":
    t.main()
