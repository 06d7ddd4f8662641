#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""sock_diag(7): what ss(8) asks the kernel, asked of cftcp; SOCK_DESTROY."""
import errno
import os
import select
import socket
import struct

import cftest as t

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 4, 20, 21
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
REQ_BYTECODE, REQ_PROTOCOL = 1, 3
INFO, SKMEMINFO, SHUTDOWN = 2, 7, 8
BC_S_GE, BC_S_LE = 2, 3
NOCOOKIE = 0xFFFFFFFF
ALL = 0xFFF


class Found:
    """One message of an answer."""

    def __init__(self, data):
        (
            self.family,
            state,
            self.timer,
            self.retrans,
            self.sport,
            self.dport,
            src,
            dst,
            self.device,
            *cookie,
        ) = struct.unpack_from("=BBBB", data) + struct.unpack_from(
            "!HH16s16s", data, 4
        ) + struct.unpack_from("=III", data, 40)
        self.state, self.cookie = t.STATES[state], tuple(cookie)
        size = 16 if self.family == socket.AF_INET6 else 4
        self.src = socket.inet_ntop(self.family, src[:size])
        self.dst = socket.inet_ntop(self.family, dst[:size])
        (
            self.expires,
            self.rqueue,
            self.wqueue,
            self.uid,
            self.inode,
        ) = struct.unpack_from("=5I", data, 52)
        self.attributes, at = {}, 72
        while at < len(data):
            size, kind = struct.unpack_from("=HH", data, at)
            self.attributes[kind] = data[at + 4 : at + size]
            at += (size + 3) & ~3


class Diag:
    """A conversation with the sock_diag of a namespace."""

    def __init__(self, namespace):
        with namespace.inside():
            self.socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG
            )
        t.cleanup(self.socket.close)

    def _ask(self, kind, flags, ident, states=ALL, ext=0, filter=b""):
        body = struct.pack("=BBBBI", t.AF, t.DUT & 255, ext, 0, states)
        body += ident
        if t.DUT > 255:
            body += struct.pack("=HHI", 8, REQ_PROTOCOL, t.DUT)
        if filter:
            body += struct.pack("=HH", 4 + len(filter), REQ_BYTECODE) + filter
        head = struct.pack("=IHHII", 16 + len(body), kind, flags | 1, 1, 0)
        self.socket.send(head + body)
        found = []
        while True:
            data = self.socket.recv(1 << 16)
            while data:
                size, kind, flags = struct.unpack_from("=IHH", data)
                if kind == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", data, 16)[0]
                    if number:
                        raise OSError(number, os.strerror(number))
                    return found
                if kind == NLMSG_DONE:
                    return found
                found.append(Found(data[16:size]))
                if not flags & 2:  # NLM_F_MULTI
                    return found
                data = data[(size + 3) & ~3 :]

    def dump(self, sport=0, dport=0, **options):
        ident = struct.pack("!HH44x", sport, dport)
        return self._ask(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, ident, **options)

    @staticmethod
    def _ident(row):
        address = socket.inet_pton(t.AF, row.src).ljust(16, b"\0")
        peer = socket.inet_pton(t.AF, row.dst).ljust(16, b"\0")
        return struct.pack(
            "!HH16s16s", row.sport, row.dport, address, peer
        ) + struct.pack("=III", row.device, *row.cookie)

    def one(self, row, **options):
        return self._ask(SOCK_DIAG_BY_FAMILY, 0, self._ident(row), **options)[0]

    def destroy(self, row):
        self._ask(SOCK_DESTROY, NLM_F_ACK, self._ident(row))

    def row(self, sock, **options):
        """The row of one of our sockets."""
        port = sock.getsockname()[1]
        return self.only(port, **options)

    def only(self, sport, dport=0, **options):
        found = self.dump(sport, dport, **options)
        t.equal(len(found), 1, f"rows of port {sport}")
        return found[0]


@t.test("L-37", "API")
def dump_of_each_state():
    """Ports, addresses, state numbers, and what waits in the queues."""
    net = t.net()
    diag = Diag(net.a)
    listener = net.a.listener()
    row = diag.row(listener)
    t.equal((row.state, row.src, row.dport), ("LISTEN", t.ANY, 0))
    t.equal((row.rqueue, row.wqueue), (0, 128), "accept queue and backlog")
    t.check(row.inode == os.fstat(listener.fileno()).st_ino, "inode")
    peer = t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA")
    row = diag.only(peer.dut_port, peer.port)
    t.equal((row.state, row.src, row.dst), ("SYN-RECEIVED", net.a.address, peer.address))
    peer.send("A")
    ours = t._accepted(listener)
    peer.send("A", data=b"hello")
    ours.send(b"abc")
    t.wait_for(lambda: diag.only(peer.dut_port, peer.port).rqueue == 5)
    row = diag.only(peer.dut_port, peer.port)
    t.equal((row.state, row.wqueue, row.timer), ("ESTABLISHED", 3, 1))
    peer.flush(10)
    peer.send("A")
    ours.recv(5)
    ours.shutdown(socket.SHUT_WR)
    peer.flush(10)
    t.equal(diag.only(peer.dut_port, peer.port).state, "FIN-WAIT-1")
    peer.send("A")
    t.wait_for(lambda: diag.only(peer.dut_port, peer.port).state == "FIN-WAIT-2")
    peer.send("FA")
    t.wait_for(lambda: diag.only(peer.dut_port, peer.port).state == "TIME-WAIT")
    row = diag.only(peer.dut_port, peer.port)
    t.equal(row.timer, 3, "timer")
    t.near(row.expires, 60000, 0.02, what="ms to the end of 2MSL")


@t.test("API")
def dump_has_what_was_asked_for():
    net = t.net()
    diag = Diag(net.a)
    ours, peer = t.with_peer(net)
    port = peer.dut_port
    listener = net.a.listener()
    row = diag.only(port, peer.port, ext=1 << (INFO - 1) | 1 << (SKMEMINFO - 1))
    t.equal(row.attributes[INFO][0], 1, "tcpi_state")
    t.equal(
        row.attributes[INFO][:8],
        ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8),
    )
    t.check(SKMEMINFO in row.attributes, "no memory")
    t.equal(row.attributes[SHUTDOWN], b"\0")
    t.check(INFO not in diag.only(port, peer.port).attributes, "unasked")
    t.equal(diag.dump(port, peer.port, states=1 << 10), [], "LISTEN only")
    t.equal(diag.dump(port, peer.port + 1), [], "another port")
    here = listener.getsockname()[1]
    rows = diag.dump(states=1 << 10)
    t.check([r for r in rows if r.sport == here], "LISTEN")
    t.equal({r.state for r in rows}, {"LISTEN"})

    def between(low, high):
        return b"".join(
            struct.pack("=BBHBBH", op, 8, last, 0, 0, value)
            for op, last, value in ((BC_S_GE, 20, low), (BC_S_LE, 12, high))
        )

    t.equal([r.sport for r in diag.dump(filter=between(here, here))], [here])
    ours.close()
    peer.flush(10)
    peer.send("FA")
    t.wait_for(lambda: net.a.state(port, peer.port) == "TIME-WAIT")
    found = diag.dump(filter=between(port, port))
    t.equal([r.state for r in found], ["TIME-WAIT"], "a record")
    t.equal(diag.dump(filter=between(port, port - 1)), [])


@t.test("API")
def dump_of_many():
    """More than fit into one answer: each of them once."""
    net = t.own_net()
    listener = net.a.listener(backlog=400)
    port = listener.getsockname()[1]
    clients = [net.a.sock() for _ in range(200)]
    for client in clients:
        client.connect((net.a.address, port))
    diag = Diag(net.a)
    t.wait_for(lambda: len(diag.dump(states=1 << 1)) == 400)
    rows = diag.dump(ext=1 << (INFO - 1))
    t.equal(len(rows), 401, "rows")
    t.equal(len({(r.sport, r.dport) for r in rows}), 401, "different ones")
    t.equal(len({r.cookie for r in rows}), 401, "cookies")


@t.test("API")
def one_connection():
    net = t.net()
    diag = Diag(net.a)
    ours, peer = t.with_peer(net)
    row = diag.only(peer.dut_port, peer.port)
    t.equal(
        struct.pack("=II", *row.cookie),
        ours.getsockopt(socket.SOL_SOCKET, 57, 8),  # SO_COOKIE
    )
    t.equal(diag.one(row).inode, row.inode)
    cookie, row.cookie = row.cookie, (1, 2)
    with t.fails_with(errno.ENOENT):
        diag.one(row)
    with t.fails_with(errno.ENOENT):
        diag.destroy(row)
    row.cookie = NOCOOKIE, NOCOOKIE
    t.equal(diag.one(row).cookie, cookie)
    row.dport += 1
    with t.fails_with(errno.ENOENT):
        diag.one(row)


def killed(diag, peer):
    diag.destroy(diag.only(peer.dut_port, peer.port))


def gone(net, peer):
    t.equal(net.a.rows(peer.dut_port, peer.port), [], "rows")


def established(ours, peer):
    pass


def fin_wait_1(ours, peer):
    ours.shutdown(socket.SHUT_WR)
    peer.expect("FA", seq=1)


def fin_wait_2(ours, peer):
    fin_wait_1(ours, peer)
    peer.send("A")


def close_wait(ours, peer):
    peer.send("FA")
    peer.expect("A")


def closing(ours, peer):
    fin_wait_1(ours, peer)
    peer.send("FA", ack=1)
    peer.expect("A")


def last_ack(ours, peer):
    close_wait(ours, peer)
    ours.shutdown(socket.SHUT_WR)
    peer.expect("FA")


STATES = {
    "ESTABLISHED": (established, "RA"),
    "FIN-WAIT-1": (fin_wait_1, "RA"),
    "FIN-WAIT-2": (fin_wait_2, "RA"),
    "CLOSE-WAIT": (close_wait, "RA"),
    "CLOSING": (closing, None),
    "LAST-ACK": (last_ack, None),
}


@t.test("L-70", cases=STATES)
def destroy_in(state, answer):
    """The user is told ECONNABORTED, the peer RST where it may still send."""
    net = t.net()
    ours, peer = t.with_peer(net)
    state(ours, peer)
    peer.flush(10)
    killed(Diag(net.a), peer)
    if answer:
        peer.expect(answer, seq=peer.rcv)
    peer.expect_nothing(50)
    gone(net, peer)
    t.equal(
        ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), errno.ECONNABORTED
    )
    t.equal(ours.recv(1), b"", "after the error")


@t.test("L-70")
def destroy_in_syn_sent():
    net = t.net()
    ours, peer = net.a.sock(), t.Peer(net)
    ours.setblocking(False)
    ours.connect_ex((peer.address, peer.port))
    peer.dut_port = peer.get().sport
    killed(Diag(net.a), peer)
    peer.expect_nothing(50)
    gone(net, peer)
    t.check(select.select([], [ours], [], 1)[1], "not told")
    t.equal(
        ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), errno.ECONNABORTED
    )


@t.test("L-70")
def destroy_a_request():
    net = t.net()
    listener, peer = net.a.listener(), t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA")
    killed(Diag(net.a), peer)
    peer.expect_nothing(1500)  # no SYN,ACK is sent again
    gone(net, peer)
    peer.send("A")
    peer.expect("R", seq=1, what="the listener knows nothing of it")


@t.test("L-70")
def destroy_a_listener():
    """It stops; children that wait are reset, who waits in accept() wakes."""
    net = t.net()
    listener, peer = net.a.listener(), t.Peer(net)
    port = listener.getsockname()[1]
    peer.connect(port)
    diag = Diag(net.a)
    diag.destroy(diag.only(port, states=1 << 10))
    peer.expect("RA")
    with t.fails_with(errno.EINVAL):
        listener.accept()
    other = net.a.sock(t.STOCK)
    with t.fails_with(errno.ECONNREFUSED):
        other.connect((net.a.address, port))
    listener = net.a.listener()
    listener.setblocking(True)
    thread = t.Background(listener.accept)
    t.check(not select.select([listener], [], [], 0.1)[0] and thread.is_alive())
    diag.destroy(diag.row(listener, states=1 << 10))
    with t.fails_with(errno.EINVAL, errno.ECONNABORTED):
        thread.result()


@t.test("L-71")
def destroy_an_orphan():
    net = t.own_net()
    ours, peer = t.with_peer(net)
    ours.close()
    peer.expect("FA")
    killed(Diag(net.a), peer)
    peer.expect("RA")
    gone(net, peer)
    t.equal(net.a.counters()["Orphans"], 0, "orphans")


@t.test("L-71")
def destroy_time_wait():
    net = t.net()
    ours, peer = t.with_peer(net)
    ours.close()
    peer.expect("FA")
    peer.send("FA")
    peer.expect("A")
    t.wait_for(lambda: net.a.state(peer.dut_port, peer.port) == "TIME-WAIT")
    killed(Diag(net.a), peer)
    peer.expect_nothing(50)
    gone(net, peer)
    peer.send("FA", seq=1)
    peer.expect("R", what="nobody knows it any more")


@t.test("L-70")
def destroy_wakes_who_waits():
    net = t.net()
    ours, peer = t.with_peer(net)
    ours.setblocking(True)
    thread = t.Background(ours.recv, 1)
    t.check(not select.select([ours], [], [], 0.1)[0] and thread.is_alive())
    killed(Diag(net.a), peer)
    with t.fails_with(errno.ECONNABORTED):
        thread.result()


@t.test("L-70")
def destroy_needs_privilege():
    """EPERM for sockets and for records; to look is free."""
    net = t.net()
    _, peer = t.with_peer(net)
    ours, waiting = t.with_peer(net)
    ours.close()
    waiting.expect("FA")
    waiting.send("FA")
    t.wait_for(lambda: net.a.state(waiting.dut_port, waiting.port) == "TIME-WAIT")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            with net.a.inside():
                os.setresuid(65534, 65534, 65534)
                diag = Diag.__new__(Diag)
                diag.socket = socket.socket(
                    socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_SOCK_DIAG
                )
                for one in peer, waiting:
                    with t.fails_with(errno.EPERM):
                        killed(diag, one)
                os._exit(0)
        finally:
            os._exit(code)
    t.equal(os.waitpid(pid, 0)[1], 0, "the child's status")
    t.equal(net.a.state(peer.dut_port, peer.port), "ESTABLISHED")


if __name__ == "__main__":
    t.main()
