#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What goes wrong around connections: signals at every wait, killed processes,
links and addresses that go, clocks that jump, namespaces and the module itself
that go while all of it is in use."""
import contextlib
import ctypes
import errno
import os
import random
import signal
import socket
import struct
import time

import cftest as t
import modulectl as m
from reach import EACH, OPENING, STATES, reach

GAUGES = "Sockets", "Orphans", "TimeWait", "Requests", "Ports", "CurrEstab"
RTO = 3000 if t.DEBUG else 300  # ms


def hurried(net):
    """What nobody holds any more ends soon, by itself. Returns the gauges."""
    net.a.tune(orphan_timeout_ms=1000, fin_wait2_timeout_ms=1000, msl_ms=500,
               rto_min_ms=60000, rto_init_ms=60000)  # fmt: skip
    start = net.a.counters()
    return {name: start[name] for name in GAUGES}


def nothing_left(net, start, timeout=30):
    def now():
        counters = net.a.counters()
        return {name: counters[name] for name in GAUGES}

    try:
        t.wait_for(lambda: now() == start, timeout)
    except t.Failure:
        t.fail(f"gauges: wanted {start}, saw {now()}, table {net.a.table()}")


def process(ours, function, *args):
    """Its pid: a process that alone has our socket, and calls the function."""
    go_read, go_write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.read(go_read, 1)
            function(*args)
        finally:
            os._exit(0)
    t.cleanup(end, pid)
    ours.close()
    os.write(go_write, b"!")
    os.close(go_read)
    os.close(go_write)
    return pid


def end(pid):
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


# --- signals ------------------------------------------------------------------

POWER = "/sys/power/"


def can_freeze():
    with contextlib.suppress(OSError), open(POWER + "pm_test") as file:
        return "freezer" in file.read()
    return False


def freeze(_=None):
    """As much of a suspend as a virtual machine outlives whose files are the
    host's: all processes are frozen, as by a signal, and thawed. What comes after
    that, and stops the clocks, would stop the devices too."""
    t._write("/sys/module/suspend/parameters/pm_test_delay", 0)
    t._write(POWER + "pm_test", "freezer")
    t._write(POWER + "state", "freeze")
    t._write(POWER + "pm_test", "none")


EINTR = -errno.EINTR


class Wait:
    """A system call that waits. `interrupted` is what it returns after a signal,
    `restarted` after one with SA_RESTART and wake(), if it then goes on."""

    def __init__(self, net, ours, peer, number, call, args, wake=None,
                 restarted=EINTR, interrupted=EINTR):  # fmt: skip
        self.net, self.ours, self.peer = net, ours, peer
        self.number, self.call, self.args = number, call, args
        self.wake, self.restarted = wake, restarted
        self.interrupted = interrupted


def established(net, **options):
    ours, peer = reach("ESTABLISHED", net, calm=False, **options)
    ours.setblocking(True)
    return ours, peer


def full(net):
    """A connection whose peer takes nothing; and how it takes all."""
    ours, peer = established(net)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
    size = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            size += ours.send(bytes(1000), socket.MSG_DONTWAIT)
    return ours, peer, lambda: peer.expect_data(size)


def connecting(net):
    ours, peer = net.a.sock(timeout=None), t.Peer(net)
    name = t.sockaddr(peer.address, peer.port)
    args = ours.fileno(), name, len(name)
    return Wait(net, ours, peer, 42, "connect", args, peer.accept, 0)


def accepting(net):
    ours, peer = net.a.listener(), t.Peer(net)
    ours.setblocking(True)
    port = ours.getsockname()[1]
    args = ours.fileno(), None, None
    return Wait(net, ours, peer, 43, "accept", args,
                lambda: peer.connect(port), range(3, 1000))  # fmt: skip


def receiving(net, flags=0, text=b"text"):
    ours, peer = established(net)
    args = ours.fileno(), ctypes.create_string_buffer(9), 9, flags
    return Wait(net, ours, peer, 45, "recv", args,
                lambda: peer.send("A", data=text), len(text))  # fmt: skip


def receiving_part(net):
    wait = receiving(net, socket.MSG_WAITALL)
    wait.peer.send("A", data=b"part")
    wait.wake, wait.restarted, wait.interrupted = None, 4, 4
    return wait


def sending(net):
    ours, peer, take = full(net)
    return Wait(net, ours, peer, 44, "send",
                (ours.fileno(), bytes(1000), 1000, 0), take, 1000)  # fmt: skip


def sending_file(net):
    ours, peer, take = full(net)
    file = os.memfd_create("text")
    t.cleanup(os.close, file)
    os.write(file, bytes(1000))
    args = ours.fileno(), file, ctypes.byref(ctypes.c_long(0)), 1000
    return Wait(net, ours, peer, 40, "sendfile", args, take, 1000)


def splicing(net):
    ours, peer = established(net)
    pipe = os.pipe()
    for one in pipe:
        t.cleanup(os.close, one)
    args = ours.fileno(), None, pipe[1], None, 9, 0
    return Wait(net, ours, peer, 275, "splice", args,
                lambda: peer.send("A", data=b"text"), 4)  # fmt: skip


def polling(net):
    ours, peer = established(net)
    args = struct.pack("ihh", ours.fileno(), 1, 0), 1, -1
    return Wait(net, ours, peer, 7, "poll", args)


def epolling(net):
    ours, peer = established(net)
    room = ctypes.create_string_buffer(12)
    epoll = t._libc.epoll_create1(0)
    t.cleanup(os.close, epoll)
    event = struct.pack("=IQ", 1, 0)
    t.equal(t._libc.epoll_ctl(epoll, 1, ours.fileno(), event), 0, "epoll_ctl")
    return Wait(net, ours, peer, 232, "epoll_wait", (epoll, room, 1, -1))


def lingering(net):
    ours, peer, _ = full(net)
    t.linger(ours, 1, 30)
    return Wait(net, ours, peer, 3, "close", (ours.fileno(),), None, 0, 0)


RESTARTED = (
    connecting, accepting, receiving, sending, sending_file, splicing,
)  # fmt: skip
WAITS = *RESTARTED, receiving_part, polling, epolling, lingering
CASES = {
    f"{wait.__name__}.{kind}": (wait, kind)
    for wait in WAITS for kind in ("EINTR", "SA_RESTART", "SIGKILL")
}  # fmt: skip
if can_freeze():
    CASES |= {f"{wait.__name__}.freeze": (wait, "freeze") for wait in RESTARTED}


def call_and_tell(wait, restart, pipe):
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.siginterrupt(signal.SIGUSR1, not restart)
    result = getattr(t._libc, wait.call)(*wait.args)
    result = -ctypes.get_errno() if result < 0 else result
    os.write(pipe, struct.pack("q", result))


def asleep(pid, number):
    def there():
        with open(f"/proc/{pid}/syscall") as file:
            return file.read().split()[0] == str(number)

    t.wait_for(there, 5, f"asleep in system call {number}")


def taken(pid):
    """The signal is not pending any more."""

    def there():
        with open(f"/proc/{pid}/status") as file:
            pending = [x.split()[1] for x in file if x[3:6] == "Pnd"]
        return not any(int(mask, 16) for mask in pending)

    t.wait_for(there, 5, "the signal is taken")


@t.test("API", cases=CASES)
def signal_at(wait, kind):
    net = t.net()
    start = hurried(net)
    wait = wait(net)
    reader, writer = os.pipe()
    pid = process(wait.ours, call_and_tell, wait, kind == "SA_RESTART", writer)
    os.close(writer)
    asleep(pid, wait.number)
    if kind == "freeze":
        freeze()
    else:
        os.kill(pid, signal.SIGKILL if kind == "SIGKILL" else signal.SIGUSR1)
    if kind == "SA_RESTART":
        taken(pid)
    if kind in ("SA_RESTART", "freeze") and wait.wake:
        asleep(pid, wait.number)
        wait.wake()
    told = os.read(reader, 8)
    os.close(reader)
    os.waitpid(pid, 0)
    if kind == "SIGKILL":
        t.equal(told, b"", "result of a dead process")
    else:
        want = wait.interrupted if kind == "EINTR" else wait.restarted
        (result,) = struct.unpack("q", told)
        want = want if isinstance(want, range) else (want,)
        t.check(result in want, f"{wait.call}: {result}, wanted {want}")
    nothing_left(net, start)


# --- a process is killed ------------------------------------------------------

# State before: what is sent, state after it, and after the peer did its part.
KILLED = {
    "LISTEN": (None, "CLOSED", "CLOSED"),
    "SYN-SENT": (None, "CLOSED", "CLOSED"),
    "SYN-RECEIVED": (None, "CLOSED", "CLOSED"),
    "ESTABLISHED": ("FA", "FIN-WAIT-1", "TIME-WAIT"),
    "FIN-WAIT-1": (None, "FIN-WAIT-1", "TIME-WAIT"),
    "FIN-WAIT-2": (None, "FIN-WAIT-2", "TIME-WAIT"),
    "CLOSE-WAIT": ("FA", "LAST-ACK", "CLOSED"),
    "CLOSING": (None, "CLOSING", "TIME-WAIT"),
    "LAST-ACK": (None, "LAST-ACK", "CLOSED"),
    "TIME-WAIT": (None, "TIME-WAIT", "TIME-WAIT"),
    "unread text": ("RA", "CLOSED", "CLOSED"),
}


@t.test("L-2", "C-31", cases={
    f"{state}.peer-{peer}".replace(" ", "-"): (state, peer)
    for state in KILLED for peer in ("silent", "answers")})  # fmt: skip
def killed_in(state, answers):
    """The connection is closed as the table has it, and is gone in the end."""
    net = t.net()
    start = hurried(net)
    if state == "unread text":
        ours, peer = reach("ESTABLISHED", net, calm=False, text=b"unread")
    else:
        ours, peer = reach(state, net, calm=False)
    sent, after, at_last = KILLED[state]
    pid = process(ours, signal.pause)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if sent:
        peer.expect(sent, ack=peer.nxt)
    t.equal(net.a.state(peer.dut_port, peer.port), after, "state")
    if answers == "answers":
        peer.send("A")
        if after == "CLOSED" and state not in ("LISTEN", "SYN-SENT"):
            peer.expect("R")
        if at_last == "TIME-WAIT" and state not in ("CLOSING", "TIME-WAIT"):
            peer.send("FA")
            peer.expect("A", ack=peer.nxt)
        t.equal(net.a.state(peer.dut_port, peer.port), at_last, "at last")
    nothing_left(net, start)


# --- the world changes --------------------------------------------------------


def attach(net):
    """Link, address and neighbours as they were."""
    families = (4, 6) if t.FAMILY == 6 else (4,)
    lines = [x for f in families for x in t._attach(net.a, net.b, f)]
    device = net.a.device
    net.a.batch(f"addr flush dev {device}", f"link set {device} up", *lines)


def link_down(net):
    net.a.run(f"ip link set {net.a.device} down")


def link_deleted(net):
    net.a.run(f"ip link del {net.a.device}")


def no_address(net):
    net.a.run(f"ip addr flush dev {net.a.device}")


def no_route(net):
    net.a.run(f"ip {'-6' * (t.FAMILY == 6)} route flush dev {net.a.device}")


def set_clock(realtime):
    time.clock_settime(time.CLOCK_REALTIME, realtime)


def jump(seconds):
    """CLOCK_REALTIME is set, until the test ends."""
    ahead = time.time() - time.monotonic()
    t.cleanup(lambda: set_clock(ahead + time.monotonic()))
    set_clock(time.time() + seconds)


def forward(_):
    jump(36000)


def backward(_):
    jump(-36000)


def comes(peer, flags, length=0):
    """It is sent (again) at some time; what else comes does not matter."""

    def there():
        seg = peer.get(1)
        return seg and seg.is_flags(flags) and seg.len == length and seg

    return t.wait_for(there, 60, f"[{flags}] of {length} octets")


def goes_on(state, ours, peer, net):
    """The connection still does what its state is for; text was sent before."""
    if state == "LISTEN":
        peer.connect(peer.dut_port)
        ours.accept()[0].close()
    elif state == "SYN-SENT":
        comes(peer, "S")
        peer.send("SA")
        comes(peer, "A")
        state = "ESTABLISHED"
    elif state == "SYN-RECEIVED":
        comes(peer, "SA")
        peer.send("A")
        ours.accept()[0].close()
    elif state in ("ESTABLISHED", "CLOSE-WAIT"):
        t.equal(comes(peer, "A", 4).data, b"text")
        peer.send("A", ack=5)
    elif state in ("FIN-WAIT-1", "CLOSING", "LAST-ACK"):
        comes(peer, "FA")
        peer.send("A")
        state = {"FIN-WAIT-1": "FIN-WAIT-2", "CLOSING": "TIME-WAIT",
                 "LAST-ACK": "CLOSED"}[state]  # fmt: skip
    elif state == "FIN-WAIT-2":
        peer.send("FA")
        comes(peer, "A")
        state = "TIME-WAIT"
    elif state == "TIME-WAIT":
        peer.send("FA", seq=peer.nxt - 1)
        comes(peer, "A")
    if state not in OPENING:
        net.a.wait_state(state, peer.dut_port, peer.port)


def everything(net, **tuned):
    """{state: (socket, peer)}, with timers that run, in a net to be deleted."""
    t.cleanup(net.close)
    put(net, rto_min_ms=RTO, rto_init_ms=RTO, rto_max_ms=1000, **tuned)
    return {s: reach(s, net, calm=False) for s in STATES}


def put(net, **values):
    """As tune(), but nothing is to be restored."""
    with net.a.inside():
        for name, value in values.items():
            t._write("/proc/sys/net/cftcp/" + name, value)


def send_text(held):
    """May be refused for want of a route, but is kept."""
    for state in "ESTABLISHED", "CLOSE-WAIT":
        t.equal(held[state][0].send(b"text"), 4, f"send() in {state}")


PASSING = {"link": (link_down, attach), "address": (no_address, attach),
           "route": (no_route, attach)}  # fmt: skip
PASSING |= {one.__name__: (one, None) for one in (forward, backward)}
if can_freeze():
    PASSING["freeze"] = freeze, None


@t.test("section-2", "C-31", cases=PASSING)
def all_states_survive(hurt, heal):
    net = t.Net()
    held = everything(net, msl_ms=120000, synack_retries=50, syn_retries=50)
    hurt(net)
    send_text(held)
    if heal:
        time.sleep(3 * RTO / 1000)  # all timers find it so
        heal(net)
    for state, (ours, peer) in held.items():
        try:
            goes_on(state, ours, peer, net)
        except (t.Failure, OSError) as error:
            t.fail(f"{state}: {error}")
    for ours, peer in held.values():
        ours.close()
        peer.close()
    net.close()
    m.gone()


UNREACHABLE = errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH
LASTS = "LISTEN", "FIN-WAIT-2", "SYN-RECEIVED", "TIME-WAIT"


@t.test("section-2", "L-35", cases={
    one.__name__: one for one in (link_down, link_deleted, no_address, no_route)})
def gone_for_good(hurt):  # fmt: skip
    """Who waits for the peer is told; what nobody holds goes by itself."""
    net = t.Net()
    held = everything(net, user_timeout_ms=2000, syn_retries=2,
                      orphan_timeout_ms=500, fin_wait2_timeout_ms=500)  # fmt: skip
    hurt(net)
    send_text(held)
    for state, (ours, peer) in held.items():
        if state in LASTS:
            continue
        net.a.wait_state("CLOSED", peer.dut_port, peer.port, timeout=60)
        error = ours.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        t.check(error in UNREACHABLE, f"{state}: SO_ERROR {error}")
    for ours, peer in held.values():
        ours.close()
    net.a.wait_state("CLOSED", held["FIN-WAIT-2"][1].dut_port, timeout=30)
    t.equal(net.a.counters()["Orphans"], 0, "Orphans")
    for _, peer in held.values():
        peer.close()
    net.close()
    m.gone()


# --- clocks -------------------------------------------------------------------


def rhythm(net, hurt):
    """Seconds until each of three retransmissions, and the end of 2MSL: one that
    has begun, and one that begins after them."""
    net.a.tune(rto_min_ms=RTO, rto_init_ms=RTO, msl_ms=RTO)
    ours, peer = reach("ESTABLISHED", net, calm=False)
    closing, other = reach("TIME-WAIT", net, calm=False)
    began = time.monotonic()
    ours.send(b"text")
    comes(peer, "A", 4)
    hurt(net)
    times = []
    for _ in range(3):
        comes(peer, "A", 4)
        times.append(time.monotonic() - began)
        if len(times) == 1:
            net.a.wait_state("CLOSED", other.dut_port, other.port, timeout=60)
            times.append(time.monotonic() - began)
    late, last = reach("TIME-WAIT", net, calm=False)
    began = time.monotonic()
    net.a.wait_state("CLOSED", last.dut_port, last.port, timeout=60)
    times.append(time.monotonic() - began)
    t.linger(ours, 1, 0)
    ours.close()
    return times


@t.test("section-2", cases={"forward": forward, "backward": backward})
def timers_do_not_see_the_wall_clock(hurt):
    net = t.net()
    wanted = rhythm(net, lambda _: None)
    for seen, want in zip(rhythm(net, hurt), wanted):
        t.near(seen, want, 0.1, 0.05, "s")


# --- namespaces and the module ------------------------------------------------


@t.test("section-2", "L-59", seconds=900)
def namespace_goes_while_timers_run():
    """Its sockets are orphans that send, retransmit and end just then, and the
    peers go on to send."""
    for turn in range(5 if t.DEBUG else 20):
        net = t.Net()
        held = everything(net)
        # The end of a namespace takes tens of ms itself.
        life = (5, 50, 500)[turn % 3]
        put(net, rto_min_ms=1, rto_init_ms=1, msl_ms=life,
            orphan_timeout_ms=life, fin_wait2_timeout_ms=life)  # fmt: skip
        send_text(held)
        for ours, _ in held.values():
            ours.close()
        for _, peer in held.values():
            peer.send("A", seq=peer.nxt)
            peer.send("FA", seq=peer.nxt)
        time.sleep(random.random() * 0.01)
        net.a.close()
        for _, peer in held.values():
            with contextlib.suppress(OSError):  # the link goes with the namespace
                peer.send("FA", seq=peer.nxt)
            peer.close()
        net.b.close()
        m.gone()


# What may happen to who uses a module that comes and goes.
TOLERABLE = {
    errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.ECONNREFUSED,
    errno.ECONNRESET, errno.EPIPE, errno.ENOENT,
    errno.ENOMEM, errno.EIO,  # socket(), read(), when the module is on its way out
}  # fmt: skip


class Race:
    """Things that are done over and over, each in a thread, until it is over."""

    def __init__(self, *functions):
        self.over, self.done = False, {}
        self.threads = [t.Background(self.loop, one) for one in functions]

    def loop(self, function):
        name = function.__name__
        self.done[name] = 0
        while not self.over:
            try:
                function()
                self.done[name] += 1
            except OSError as error:
                if error.errno not in TOLERABLE:
                    raise
            time.sleep(random.random() * 0.01)

    def end(self):
        self.over = True
        for thread in self.threads:
            thread.result()
        t.note(self.done)
        t.check(all(self.done.values()), f"not done: {self.done}")


def open_and_close(ns):
    """A connection over the loopback; TIME-WAIT stays behind."""
    with contextlib.ExitStack() as stack:
        with ns.inside():
            ends = [socket.socket(t.AF, socket.SOCK_STREAM, t.CFTCP)
                    for _ in range(2)]  # fmt: skip
        for one in ends:
            stack.callback(one.close)
        ends[0].bind((t.LOOPBACK, 0))
        ends[0].listen()
        ends[1].connect(ends[0].getsockname())
        server = stack.enter_context(ends[0].accept()[0])
        server.sendall(b"text")
        t.equal(ends[1].recv(9), b"text")


@t.test("section-2", "L-59", seconds=900)
def unload_raced():
    t.cleanup(m.keep_loaded)
    net = t.net()
    peers = [t.Peer(net) for _ in range(2)]

    def connections():
        open_and_close(net.a)

    def namespaces():
        ns = t.Namespace("x")
        try:
            with contextlib.suppress(OSError):
                open_and_close(ns)
        finally:
            ns.close()

    def segments():
        for peer in peers:
            peer.dut_port = random.randrange(32768, 61000)
            for flags in "S", "A", "FA", "R":
                peer.send(flags, seq=0)
            peer.flush()

    def readers():
        for path in t.proc_name(), "cftcp_stat":
            net.a.read(path)
        with net.a.inside(), open("/proc/sys/net/cftcp/msl_ms") as file:
            file.read()

    race = Race(connections, connections, namespaces, segments, readers)
    unloaded, least = 0, 5 if t.DEBUG else 12
    end = time.monotonic() + 120
    while unloaded < least and time.monotonic() < end:
        try:
            m.unload()
        except OSError as error:
            t.check(error.errno in (errno.EAGAIN, errno.EBUSY), error)
            time.sleep(0.001)
            continue
        unloaded += 1
        time.sleep(random.random() * 0.005)
        m.load()
    race.end()
    t.equal(unloaded, least, "unloaded")
    open_and_close(net.a)
    m.reload(60)
    m.gone()


if __name__ == "__main__":
    t.main()
