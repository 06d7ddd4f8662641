#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What cftcp gives away to nobody: settings and limits of the host, memory that
no cgroup pays for, pointers of the kernel, its log, and the module itself."""
import errno
import os
import random
import re
import signal
import socket
import subprocess
import sys
import traceback

import cftest as t
import modulectl as m

CLONE_NEWUSER = 0x10000000
PATH = "/proc/sys/net/cftcp/"
# What bounds the memory of the host, and what it is set to for a test.
HOST = {
    "enabled": "0",
    "max_time_wait": "1000",
    "max_orphans": "300",
    "max_syn_backlog": "20",
    "rmem": "4096 8192 100000",
    "wmem": "4096 8192 200000",
}


def read(path):
    with open(path) as file:
        return file.read()


def in_child(function, *args):
    """The process that runs it; it exits with its errno."""
    pid = os.fork()
    if pid:
        return pid
    code = 0
    try:
        function(*args)
    except OSError as error:
        code = error.errno
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        code = 255
    finally:
        sys.stdout.flush()
        os._exit(code)


def exit_code(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def become(uid):
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


class Host(t.Namespace):
    """The first network namespace, whose limits are the host's."""

    def __init__(self):
        self.name, self.fd = "host", os.open(t.OWN_NET, os.O_RDONLY)
        t.cleanup(self.close)


class Guest(t.Namespace):
    """A network namespace of a user namespace that user 1000 made."""

    def __init__(self, name="guest"):
        self.name, self.host = name, None
        here, there = os.pipe()
        pid = in_child(self._begin, there)
        os.close(there)
        t.equal(os.read(here, 1), b".", "a user namespace")
        os.close(here)
        for kind in "uid", "gid":
            t._write(f"/proc/{pid}/{kind}_map", "0 1000 10")
        self.fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        self.user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        t.cleanup(os.close, self.user)
        t.cleanup(self.close)
        self.batch("link set lo up")

    @staticmethod
    def _begin(there):
        os.chroot("/proc/1/root")  # else it is not allowed
        become(1000)
        t._sys("unshare", CLONE_NEWUSER | t.CLONE_NEWNET)
        os.write(there, b".")
        signal.pause()


def as_user(uid, ns, guest, function, *args):
    """The errno that a function ends with, called by a user of this network
    namespace, and of that user namespace if a guest is given."""

    def changed():
        t._sys("setns", ns.fd, t.CLONE_NEWNET)
        if guest:
            t._sys("setns", guest.user, CLONE_NEWUSER)
        become(0)  # who is root loses all rights by being another
        os.setgroups([])
        become(uid)
        function(*args)

    return exit_code(in_child(changed))


def rewrite(name):
    """Write what is there."""
    t._write(PATH + name, read(PATH + name).strip())


# --- sysctls and limits -------------------------------------------------------


@t.test("section-2", family=4)
def sysctls_are_for_root():
    """Of the network namespace's user namespace; others read."""
    guest, net = Guest(), t.net()
    for name in os.listdir(PATH):
        for uid, ns, of, wanted in (
            (0, net.a, None, 0),
            (1000, net.a, None, errno.EACCES),
            (0, net.a, guest, errno.EACCES),
            (0, guest, guest, 0),
            (5, guest, guest, errno.EACCES),
        ):
            seen = as_user(uid, ns, of, rewrite, name)
            whom = f"{name} of {ns.name}, user {uid} of {of and of.name}"
            t.equal(seen, wanted, whom)


@t.test("section-2", family=4)
def limits_of_the_host():
    """A user namespace begins with no more, and cannot have more."""
    host, other = Host(), t.Namespace("other")
    t.cleanup(other.close)
    host.tune(**HOST)
    guest = Guest()
    for name, value in HOST.items():
        more = value[:-1] + "1"
        first = guest.sysctl("cftcp." + name).split()
        t.equal(first[-1], value.split()[-1], f"{name} at first")

        def put(what, name=name):
            t._write(PATH + name, what)

        t.equal(as_user(0, guest, guest, put, more), errno.EINVAL, name)
        t.equal(guest.sysctl("cftcp." + name).split(), first, name)
        t.equal(as_user(0, guest, guest, put, value), 0, name)
        t.equal(as_user(0, other, None, put, more), 0, f"{name} of root")
        host.tune(**{name: more})
        t.equal(as_user(0, guest, guest, put, more), 0, f"{name} raised")


def use_up(ns, leave_open=False):
    """A connection in TIME-WAIT, or an orphan in FIN-WAIT-2, or neither."""
    ours, theirs = t.connect(ns, ns)
    ends = t.ports(ours)
    ours.close()
    if leave_open:
        return theirs
    t.equal(theirs.recv(1), b"", "EOF")
    theirs.close()
    there = "TIME-WAIT", "CLOSED"
    t.wait_for(lambda: ns.state(*ends) in there, 5, "an end")


def seen_in(guests, *names):
    return [[guest.counters()[name] for name in names] for guest in guests]


@t.test("L-49")
def time_waits_of_all_users():
    """Together they have no more than the host allows itself."""
    Host().tune(max_time_wait=3)
    guests = one, two = Guest("one"), Guest("two")
    for guest in one, one, two, two:
        use_up(guest)
    seen = seen_in(guests, "TimeWait", "TimeWaitOverflow")
    t.equal(seen, [[2, 0], [1, 1]], "records and overflows")
    for _ in range(4):
        use_up(t.net().a)
    t.equal(t.net().a.counters()["TimeWait"], 4, "records of root's own")

    def room_again():
        use_up(two)
        return two.counters()["TimeWait"] == 3

    one.close()
    t.wait_for(room_again, 10, "the records of a namespace that went")


@t.test("L-48", family=4)
def orphans_of_all_users():
    """Who has one too many loses the oldest of its own."""
    Host().tune(max_orphans=2)
    guests = one, two = Guest("one"), Guest("two")
    peers = [use_up(guest, True) for guest in (one, one, two, one)]
    seen = seen_in(guests, "Orphans", "OrphanOverflow")
    t.equal(seen, [[2, 1], [0, 1]], "orphans and overflows")
    t.equal(peers[3].recv(1), b"", "EOF")
    for peer in peers[0], peers[2]:
        t.equal(peer.recv(1), b"", "EOF")
        with t.fails_with(errno.ECONNRESET, errno.EPIPE):
            peer.send(b"on", socket.MSG_NOSIGNAL)
            peer.send(b"on", socket.MSG_NOSIGNAL)


# --- memory -------------------------------------------------------------------


SYNS = 2000


class Memory(t.Cgroup):
    """A cgroup that counts memory. Nobody stays in it, but sockets do."""

    def __init__(self):
        super().__init__()
        t._write(self.top + "/cgroup.subtree_control", "+memory")
        t.cleanup(t._write, self.top + "/cgroup.subtree_control", "-memory")
        # What is held in reserve is a CPU's.
        t.cleanup(os.sched_setaffinity, 0, os.sched_getaffinity(0))
        os.sched_setaffinity(0, {0})

    def sockets(self, function, *args):
        """What a process in here makes."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

        def make():
            self.enter()
            made = function(*args)
            socket.send_fds(theirs, [b"."], [sock.fileno() for sock in made])

        t.equal(exit_code(in_child(make)), 0, "sockets of a cgroup")
        fds = socket.recv_fds(ours, 1, 250)[1]
        ours.close()
        theirs.close()
        made = [socket.socket(fileno=fd) for fd in fds]
        for sock in made:
            sock.settimeout(20 * t.SLOW)
            t.cleanup(sock.close)
        return made

    def sock(self):
        """Octets that sockets hold."""
        lines = read(self.path + "/memory.stat").splitlines()
        return int(dict(map(str.split, lines))["sock"])

    def limit(self, value):
        t._write(self.path + "/memory.max", value)

    def fill(self, net, listener):
        """No page more than there is (fewer are for the OOM killer), and what
        is held in reserve goes to requests of this listener in here."""
        self.limit(read(self.path + "/memory.current").strip())
        t.cleanup(self.limit, "max")
        peer = t.Peer(net)
        before = net.a.counters()
        for port in range(30000, 30000 + SYNS):
            peer.frame(t.build(peer.address, net.a.address, port,
                               listener.getsockname()[1], 1, 0, "S"))  # fmt: skip

        def seen():
            gained = net.a.counters() - before
            return gained["Requests"], gained["DropMemory"]

        t.wait_for(lambda: sum(seen()) == SYNS, 10 * t.SLOW, "a flood of SYNs")
        t.check(seen()[1] > SYNS / 4, f"requests, SYNs dropped: {seen()}")


def have_memory_cgroups():
    group = t.Cgroup()
    controllers = read(group.top + "/cgroup.controllers")
    return "memory" in controllers or t.note("no memory cgroups here")


def some(ns, count=1):
    return [ns.sock() for _ in range(count)]


@t.test()
def who_accepts_pays():
    """Until then it is who listens."""
    if not have_memory_cgroups():
        return
    net, size, rest = t.net(), 200000, 100000
    listens, accepts = Memory(), Memory()
    listener = listens.sockets(lambda: [net.a.listener()])[0]
    client = net.b.sock(t.STOCK)
    client.connect((net.a.address, listener.getsockname()[1]))
    client.sendall(bytes(size))
    t.wait_for(lambda: listens.sock() >= size, 10, "charged early")
    ours = accepts.sockets(lambda: [listener.accept()[0]])[0]
    t.wait_for(lambda: accepts.sock() >= size, 10, "charged to who accepts")
    t.wait_for(lambda: listens.sock() < rest, 10, "no more to who listens")
    client.sendall(bytes(size))
    t.wait_for(lambda: accepts.sock() >= 2 * size, 10, "charged later")
    t.equal(len(t.read_exactly(ours, 2 * size)), 2 * size)
    t.wait_for(lambda: accepts.sock() < rest, 10, "given back by reading")
    ours.sendall(bytes(rest))
    t.equal(len(t.read_exactly(client, rest)), rest)
    client.sendall(bytes(size))
    ours.close()
    t.wait_for(lambda: accepts.sock() < rest, 10, "given back")


@t.test("L-49")
def time_wait_beyond_memory():
    """The socket's cgroup has none left: the connection ends without."""
    if not have_memory_cgroups():
        return
    group, net, count = Memory(), t.own_net(), 200
    pairs = []
    filler, *all_ours = group.sockets(some, net.a, count + 1)
    filler.listen(SYNS)
    listener = net.b.listener(t.STOCK)
    for ours in all_ours:
        ours.connect((net.b.address, listener.getsockname()[1]))
        pairs.append((ours, listener.accept()[0]))
        ours.shutdown(socket.SHUT_WR)  # close() would give memory back
        t.equal(pairs[-1][1].recv(1), b"", "EOF")
    group.fill(net, filler)
    for _, theirs in pairs:
        theirs.close()
    t.wait_for(lambda: not net.b.rows(proto=t.STOCK), 10, "last ACKs")
    seen = net.a.counters()
    t.equal(seen["TimeWait"] + seen["TimeWaitOverflow"], count, "ends")
    t.between(seen["TimeWait"], 0, count // 4, "records")


@t.test("R4987-1")
def requests_beyond_memory():
    """The listener's cgroup has none left: SYNs and ACKs are dropped."""
    if not have_memory_cgroups():
        return
    group, net = Memory(), t.own_net()
    (listener,) = group.sockets(some, net.a)
    listener.listen(SYNS)
    peer = t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA")
    group.fill(net, listener)
    before = net.a.counters()
    peer.send("A")
    t.wait_for(lambda: net.a.counters() - before, 5, "the ACK")
    gained = net.a.counters() - before
    t.equal((gained["DropMemory"], gained["PassiveOpens"]), (1, 0), "the ACK")
    group.limit("max")
    peer.send("A")
    listener.accept()[0].close()


# --- what is told ---------------------------------------------------------------

POINTER = re.compile(r"\b(0x)?ffff[0-9a-f]{12}\b", re.I)


def no_pointer(text, what):
    t.check(text, f"{what} is empty")
    found = POINTER.search(text)
    t.check(not found, f"{found and found[0]} in {what}")


SS = {"PROC_NET_TCP": "/proc/net/cftcp", "PROC_NET_TCP6": "/proc/net/cftcp6"}


def tell():
    """All that is told of a network namespace, to who calls this."""
    for name in t.proc_name(), "cftcp_stat":
        no_pointer(read(f"/proc/thread-self/net/{name}"), name)
    no_pointer(
        subprocess.run(
            ["ss", "-tanoemi"], env={**os.environ, **SS}, check=True,
            text=True, stdout=subprocess.PIPE,
        ).stdout,
        "ss",
    )  # fmt: skip


def of_each_kind(net):
    """A listener, a request, a connection, an orphan and a TIME-WAIT record."""
    listener = net.a.listener()
    peer = t.Peer(net)
    peer.dut_port = listener.getsockname()[1]
    peer.send("S")
    peer.expect("SA")
    pairs = [t.connect(net.a, net.b) for _ in range(3)]
    pairs[1][0].close()
    ends = t.ports(pairs[2][0])
    pairs[2][0].close()
    t.equal(pairs[2][1].recv(1), b"")
    pairs[2][1].close()
    net.a.wait_state("TIME-WAIT", *ends)
    t.equal(len(net.a.table()), 5, "rows")
    return listener, pairs


EVENTS = "cftcp/cftcp_state", "cftcp/cftcp_segment"


@t.test()
def no_pointers():
    """Whoever reads, and whatever kernel.kptr_restrict is."""
    net = t.own_net()
    trace = t.Trace(*EVENTS)
    kept = of_each_kind(net)
    setting = "/proc/sys/kernel/kptr_restrict"
    t.cleanup(t._write, setting, read(setting).strip())
    for restrict in "0", "1", "2":
        t._write(setting, restrict)
        for uid in 0, 1000:
            who = f"user {uid} with kptr_restrict {restrict}"
            t.equal(as_user(uid, net.a, None, tell), 0, who)
    text = read(trace.path + "/trace")
    for event in EVENTS:
        t.check(event.split("/")[1] + ":" in text, f"no {event}")
        shape = read(f"{trace.path}/events/{event}/format")
        t.check(not re.search(r"field:[^;]*\*|%p[^I]", shape), shape)
    no_pointer(text, "the trace")
    del kept


def log():
    return subprocess.run(
        ["dmesg"], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.splitlines()


@t.test()
def a_remote_fills_no_log():
    """A burst of what no honest peer sends: some lines at most."""
    net, rng = t.own_net(), random.Random(1)
    listener, pairs = of_each_kind(net)
    before, sender = log(), t.Peer(net)
    ends = [(listener.getsockname()[1], 4000)]
    ends += [(row.lport, row.rport) for row in net.a.table() if row.rport]
    for number in range(4000):
        port, peer = rng.choice(ends)
        frame = t.build(
            rng.choice((t.GHOST, net.b.address, t.MULTICAST)), net.a.address,
            peer, port, rng.getrandbits(32), rng.getrandbits(32),
            rng.getrandbits(8), opts=rng.randbytes(4 * rng.randrange(11)),
            data=rng.randbytes(rng.choice((0, 1, 700))),
            doff=rng.choice((None, None, None, 0, 4, 15)),
            csum=rng.choice((None, None, lambda right: right ^ 1)),
        )  # fmt: skip
        sender.frame(frame if number % 5 else frame[: rng.randrange(14, 80)])
    t.Peer(net).connect(listener.getsockname()[1])
    new = log()[len(before) :]
    t.check(len(new) <= 10, f"{len(new)} lines: {new[:3]}")
    no_pointer("\n".join(new) or "nothing", "the log")
    del pairs


# --- loading --------------------------------------------------------------------

MODPROBE = "/proc/sys/kernel/modprobe"
STUB = """#!/bin/sh
echo "$*" >>{0}/asked
exec /sbin/modprobe -d {0} "$@"
"""


@t.test(family=4)
def no_socket_loads_the_module():
    """The kernel asks for one, and cftcp, though installed, does not answer."""
    place = f"/run/install{os.getpid()}"
    tree = f"{place}/lib/modules/{os.uname().release}"
    os.makedirs(tree)
    t.cleanup(m.run, f"rm -r {place}")
    m.run(f"cp {m._path()} {tree}/ && depmod -b {place} 2>{place}/warnings")
    t.check("cftcp" not in read(tree + "/modules.alias"), "there is an alias")
    with open(f"{place}/modprobe", "w", opener=lambda path, flags:
              os.open(path, flags, 0o755)) as file:  # fmt: skip
        file.write(STUB.format(place))
    t.cleanup(t._write, MODPROBE, read(MODPROBE).strip())
    t.cleanup(m.keep_loaded)
    m.unload_soon()
    t._write(MODPROBE, f"{place}/modprobe")
    for uid in 0, 1000:
        for family in socket.AF_INET, socket.AF_INET6:
            code = as_user(uid, Host(), None, socket.socket, family,
                           socket.SOCK_STREAM, t.CFTCP)  # fmt: skip
            t.equal(code, errno.EPROTONOSUPPORT, f"socket() of user {uid}")
            t.check(not m.loaded(), f"loaded for user {uid}")
    asked = read(place + "/asked")
    for name in "net-pf-2-proto-257-type-1", "net-pf-10-proto-257-type-1":
        t.check(name in asked, f"not asked for {name}: {asked}")
    m.run(f"modprobe -d {place} cftcp")
    t.check(m.loaded(), "by its own name it is loaded")


t.main()
