#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What a person sees of a connection: /proc/net/cftcp, ss, counters, traces."""
import os
import re
import socket
import time

import cftest as t
from reach import EACH, reach

SS = {
    "LISTEN": "LISTEN",
    "SYN-SENT": "SYN-SENT",
    "SYN-RECEIVED": "SYN-RECV",
    "ESTABLISHED": "ESTAB",
    "FIN-WAIT-1": "FIN-WAIT-1",
    "FIN-WAIT-2": "FIN-WAIT-2",
    "CLOSE-WAIT": "CLOSE-WAIT",
    "CLOSING": "CLOSING",
    "LAST-ACK": "LAST-ACK",
    "TIME-WAIT": "TIME-WAIT",
}
TIMERS = {0: None, 1: "on", 2: "keepalive", 3: "timewait", 4: "persist"}
COUNTERS = """ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs
OutSegs RetransSegs OutRsts TimeWaitEntered TimeWaitExpired TimeWaitReused
TimeWaitOverflow TimeWaitRestarted TimeWaitRstIgnored OrphanOverflow AbortOnClose
AbortOnData AbortOnLinger AbortOnMemory AbortOnTimeout AbortOnUser
FinWait2Timeout ChallengeAck ChallengeAckSkipped ListenOverflow RequestExpired
RtoFired FastRetransmit WindowProbe DelayedAck OutOfOrder DuplicateFin BadOptions
Sockets Orphans TimeWait Requests Ports DropShort DropDataOffset DropChecksum
DropFlags DropAddress DropPolicy DropFilter DropSequence DropRst DropSyn DropNoAck
DropAck DropPaws DropText DropBeyondFin DropBacklog DropMemory DropListen
DropState""".split()


def ss(ns, *ports):
    """The line of ss about these ports, in words."""
    out = ns.run(
        f"PROC_NET_TCP=/proc/net/{t.proc_name(family=4)} "
        f"PROC_NET_TCP6=/proc/net/{t.proc_name(family=6)} "
        f"ss -{t.FAMILY}tanoeH"
    )
    lines = [line.split() for line in out.splitlines()]
    if ports[1:]:
        ends = [f":{port}" for port in ports]
    else:
        ends = [f":{ports[0]}", ":*"]
    found = [
        w for w in lines if w[3].endswith(ends[0]) and w[4].endswith(ends[1])
    ]
    t.equal(len(found), 1, f"lines of ss about {ports} in\n{out}")
    return found[0]


def row(ns, lport, rport):
    found = [r for r in ns.table() if (r.lport, r.rport) == (lport, rport)]
    t.equal(len(found), 1, "rows")
    return found[0]


@t.test("C-52", "L-37", cases=EACH)
def each_state_in_ss(state):
    net = t.own_net()
    ours, peer = reach(state, net)
    ports = (
        (peer.dut_port,) if state == "LISTEN" else (peer.dut_port, peer.port)
    )
    words = ss(net.a, *ports)
    t.equal(words[0], SS[state], "state")
    address = net.a.address
    if t.FAMILY == 6:
        address = "*" if state == "LISTEN" else f"[{address}]"
    elif state == "LISTEN":
        address = t.ANY
    t.equal(words[3].rsplit(":", 1)[0], address, "local address")
    line = " ".join(words)
    seen = row(net.a, peer.dut_port, 0 if state == "LISTEN" else peer.port)
    t.equal(seen.state, state, "/proc")
    if state in ("SYN-RECEIVED", "TIME-WAIT"):
        t.equal(seen.inode, 0, "inode")
    else:
        t.equal(seen.inode, os.fstat(ours.fileno()).st_ino, "inode")
        t.check(f"ino:{seen.inode}" in line, line)
    if state in (
        "SYN-SENT",
        "SYN-RECEIVED",
        "FIN-WAIT-1",
        "CLOSING",
        "LAST-ACK",
    ):
        t.equal(seen.timer, 1, "retransmission timer")
        t.between(seen.expires, 50, 61, "expires")
        t.check("timer:(on," in line, line)
    elif state == "TIME-WAIT":
        t.equal(seen.timer, 3, "2MSL timer")
        t.between(seen.expires, 595, 600.1, "expires")
        t.check("timer:(timewait,9min" in line, line)
    else:
        t.check("timer:" not in line, line)


@t.test("section-2")
def format_is_that_of_proc_net_tcp():
    net = t.own_net()
    for state in EACH:
        reach(state, net)
    lines = net.a.read(t.proc_name()).splitlines()
    stock = net.a.read(t.proc_name(t.STOCK)).splitlines()
    t.equal(lines[0].split(), stock[0].split(), "header")
    t.check(len(lines) > len(EACH), f"{len(lines)} lines")
    digits = {4: 8, 6: 32}[t.FAMILY]
    form = (
        rf" *\d+: [0-9A-F]{{{digits}}}:[0-9A-F]{{4}} "
        rf"[0-9A-F]{{{digits}}}:[0-9A-F]{{4}} [0-9A-F]{{2}} "
        r"[0-9A-F]{8}:[0-9A-F]{8} [0-9A-F]{2}:[0-9A-F]{8} [0-9A-F]{8} +\d+ "
        r"+\d+ \d+ \d+ [0-9a-fK]+( \d+ \d+ \d+ \d+ -?\d+)? *$"
    )
    for number, line in enumerate(lines[1:]):
        t.check(re.match(form, line), f"line {line!r}")
        t.equal(int(line.split(":")[0]), number, "numbers in a row")
        if t.FAMILY == 4:
            t.equal(len(line), 149, f"width of {line!r}")


@t.test("section-2", "C-19", "C-52")
def time_wait_timer():
    net = t.own_net()
    ours, peer = reach("TIME-WAIT", net, calm=False)
    ends = peer.dut_port, peer.port
    if t.DUT == t.STOCK:
        return
    t.near(row(net.a, *ends).expires, 60, 0.01, 0.1, "at first")
    time.sleep(20)
    t.near(row(net.a, *ends).expires, 40, 0.01, 0.1, "20 s later")
    peer.send("FA", seq=1)
    peer.expect("A", ack=2)
    t.near(row(net.a, *ends).expires, 60, 0.01, 0.1, "after a FIN")
    ours.close()
    t.equal(row(net.a, *ends).state, "TIME-WAIT", "without a socket")
    net.a.wait_state("CLOSED", *ends, timeout=70)


@t.test("section-2", "MUST-18")
def timers_and_retransmissions():
    net = t.own_net()
    net.a.tune(rto_min_ms=200)
    ours, peer = t.with_peer(net)
    ends = peer.dut_port, peer.port
    ours.send(b"x" * 100)
    seen = row(net.a, *ends)
    t.equal((seen.timer, seen.txq, seen.retrans), (1, 100, 0), "sent")
    t.wait_for(lambda: row(net.a, *ends).retrans == 3, 30, "three repeats")
    peer.rcv = 101
    peer.send("A", win=0)
    t.wait_for(lambda: row(net.a, *ends).txq == 0, 5, "acknowledged")
    t.equal(row(net.a, *ends).timer, 0, "no timer")
    ours.send(b"y")
    seen = row(net.a, *ends)
    t.equal((seen.timer, seen.txq), (4, 1), "persist timer")
    peer.send("A", win=1000)
    peer.send("A", ack=102)
    t.wait_for(lambda: row(net.a, *ends).txq == 0, 5, "acknowledged")
    ours.close()
    peer.flush(20)
    peer.send("A", ack=103)
    net.a.wait_state("FIN-WAIT-2", *ends)
    seen = row(net.a, *ends)
    t.equal(seen.inode, 0, "inode of an orphan")
    if t.DUT == t.CFTCP:
        t.equal(seen.timer, 2, "FIN-WAIT-2 timer")
        t.between(seen.expires, 55, 60.1, "FIN-WAIT-2 timer")


@t.test("section-2")
def queues_uid_and_owner():
    net = t.own_net()
    ours, peer = t.with_peer(net)
    ends = peer.dut_port, peer.port
    peer.send("AP", data=b"unread")
    t.wait_for(lambda: row(net.a, *ends).rxq == 6, 5, "rx_queue")
    ours.recv(2)
    t.equal(row(net.a, *ends).rxq, 4, "rx_queue")
    words = ss(net.a, *ends)
    t.equal(words[1], "4", "Recv-Q")
    listener = net.a.listener(backlog=7)
    port = listener.getsockname()[1]
    for _ in range(2):
        t.Peer(net).connect(port)
    t.wait_for(lambda: row(net.a, port, 0).rxq == 2, 5, "accept queue")
    t._libc.setfsuid(4321)
    try:
        other = net.a.listener()
    finally:
        t._libc.setfsuid(0)
    t.equal(row(net.a, other.getsockname()[1], 0).uid, 4321, "uid")
    t.equal(row(net.a, port, 0).uid, 0, "uid")


@t.test("section-2")
def many_rows_in_small_reads():
    net = t.own_net()
    held = []
    for _ in range(20 if t.DEBUG else 150):
        held.append(t.connect(net.a, net.b))
    wanted = sorted(t.ports(ours) for ours, _ in held)
    with net.a.inside():
        fd = os.open(f"/proc/thread-self/net/{t.proc_name()}", os.O_RDONLY)
    text = b""
    while part := os.read(fd, 700):
        text += part
    os.close(fd)
    rows = [t._row(line) for line in text.decode().splitlines()[1:]]
    seen = sorted((r.lport, r.rport) for r in rows if r.state == "ESTABLISHED")
    t.equal(seen, wanted, "rows")
    numbers = [int(x.split(":")[0]) for x in text.decode().splitlines()[1:]]
    t.equal(numbers, list(range(len(numbers))), "numbers")


@t.test("section-2")
def reading_while_it_changes():
    """A reader never fails, whatever comes and goes meanwhile."""
    net = t.own_net()
    net.a.tune(msl_ms=50)
    stop = []

    def read():
        while not stop:
            net.a.table()
            net.a.counters()
        return True

    reader = t.Background(read)
    for _ in range(10 if t.DEBUG else 50):
        ours, theirs = t.connect(net.a, net.b)
        ours.close()
        theirs.close()
    stop.append(1)
    t.check(reader.result(), "reader")


# --- counters -----------------------------------------------------------------


def gains(ns, before):
    """What has been counted since."""
    now = ns.counters()
    return {k: now[k] - before[k] for k in now if now[k] != before[k]}


@t.test("section-2", "L-72")
def names_of_counters():
    if t.DUT == t.STOCK:
        return
    ns = t.own_net().a
    lines = ns.read("cftcp_stat").splitlines()
    pairs = [line.split() for line in lines]
    t.check(all(len(p) == 2 and p[1].isdigit() for p in pairs), "Name Value")
    names = [p[0] for p in pairs]
    t.equal(len(names), len(set(names)), "names, each once")
    t.equal(sorted(set(COUNTERS) - set(names)), [], "missing")
    t.check(all(p[1] == "0" for p in pairs), "zero in a new namespace")


@t.test("section-2", "L-72")
def counters_of_a_connection():
    if t.DUT == t.STOCK:
        return
    net = t.own_net()
    net.a.tune(msl_ms=100 * t.SLOW)
    before = net.a.counters()
    capture = t.Capture(net.b)
    ours, theirs = t.connect(net.a, net.b)
    seen = gains(net.a, before)
    t.equal((seen.get("ActiveOpens"), seen.get("CurrEstab")), (1, 1), "opened")
    t.equal((seen.get("Sockets"), seen.get("Ports")), (1, 1), "gauges")
    ours.send(b"x")
    theirs.recv(1)
    ends = t.ports(ours)
    ours.close()
    theirs.recv(1)
    theirs.close()
    net.a.wait_state("TIME-WAIT", *ends)
    seen = gains(net.a, before)
    t.equal((seen["TimeWait"], seen["TimeWaitEntered"]), (1, 1), "TIME-WAIT")
    t.check("Sockets" not in seen and "CurrEstab" not in seen, str(seen))
    net.a.wait_state("CLOSED", *ends)
    t.wait_for(lambda: "Ports" not in gains(net.a, before), 5, "port released")
    seen = gains(net.a, before)
    t.equal(seen["TimeWaitExpired"], 1, "TIME-WAIT")
    ours_sent = [s for s in capture.segments() if s.src == net.a.address]
    theirs_sent = [s for s in capture.segments() if s.src != net.a.address]
    t.equal(seen["OutSegs"], len(ours_sent), "OutSegs")
    t.equal(seen["InSegs"], len(theirs_sent), "InSegs")
    t.equal(t.own_net().a.counters()["ActiveOpens"], 0, "another namespace")


@t.test("section-2", "L-72")
def counters_of_failures():
    if t.DUT == t.STOCK:
        return
    net = t.own_net()
    net.a.tune(rto_min_ms=50, syn_retries=1, rto_init_ms=50)
    a = net.a

    def counted(name, act, by=1):
        before = a.counters()
        act()
        t.wait_for(
            lambda: a.counters()[name] - before[name] == by,
            5,
            f"{name}: {gains(a, before)}",
        )

    def fails():
        sock = a.sock()
        try:
            sock.connect((t.GHOST, 9))
        except OSError:
            pass

    counted("AttemptFails", fails)
    ours, peer = t.with_peer(net)
    counted("EstabResets", lambda: peer.send("R"))
    ours, peer = t.with_peer(net)
    t.linger(ours, 1, 0)
    counted("AbortOnLinger", ours.close)
    ours, peer = t.with_peer(net)
    peer.send("AP", data=b"unread")
    t.wait_for(lambda: row(a, peer.dut_port, peer.port).rxq == 6)
    before = a.counters()
    counted("AbortOnClose", ours.close)
    t.equal(gains(a, before)["OutRsts"], 1, "OutRsts")
    ours, peer = t.with_peer(net)
    ours.close()
    peer.expect("FA")
    peer.send("A")
    counted("AbortOnData", lambda: peer.send("A", data=b"late"))
    ours, peer = t.with_peer(net)
    ours.setsockopt(t.SOL_TCP, t.TCP_USER_TIMEOUT, 300)
    counted("AbortOnTimeout", lambda: ours.send(b"x"))
    ours, peer = t.with_peer(net)
    ours.send(b"x")
    counted("RetransSegs", lambda: None, 2)
    counted("RtoFired", lambda: None, 1)
    peer.send("R", seq=1)
    ours, peer = t.with_peer(net)
    counted("ChallengeAck", lambda: peer.send("S", seq=5))
    counted("ChallengeAckSkipped", lambda: peer.send("S", seq=5))
    counted("OutOfOrder", lambda: peer.send("A", seq=9, data=b"x"))
    peer.send("A", seq=1, data=bytes(9))
    peer.nxt = 10
    peer.send("FA")
    counted("DuplicateFin", lambda: peer.send("FA", seq=10))
    counted("BadOptions", lambda: peer.send("A", opts=b"\x08\x00\0\0"))


# --- tracepoints --------------------------------------------------------------


def words(events, name):
    return [fields for _, event, fields in events if event == name]


@t.test("section-2", "C-52", cases={"active": "active", "passive": "passive"})
def state_tracepoint(how):
    if t.DUT == t.STOCK:
        return
    net = t.own_net()
    net.a.tune(msl_ms=100)
    trace = t.Trace("cftcp/cftcp_state", "sock/inet_sock_set_state")
    ours, theirs = t.connect(net.a, net.b)
    lport, rport = t.ports(ours)
    first, last = (ours, theirs) if how == "active" else (theirs, ours)
    first.close()
    t.equal(last.recv(1), b"", "EOF")
    last.close()
    net.a.wait_state("CLOSED", lport, rport, timeout=5)

    def mine():
        found = words(trace.events(), "cftcp_state")
        return [x for x in found if x["sport"] == str(lport)]

    t.wait_for(lambda: mine() and mine()[-1]["newstate"] == "CLOSED", 5)
    seen = [(x["oldstate"], x["newstate"]) for x in mine()]
    closing = {
        "active": ["FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT", "CLOSED"],
        "passive": ["CLOSE-WAIT", "LAST-ACK", "CLOSED"],
    }[how]
    path = ["CLOSED", "SYN-SENT", "ESTABLISHED"] + closing
    t.equal(seen, list(zip(path, path[1:])), "states")
    ids = {
        "active": ["E1", "E8", "E6", "E21"],
        "passive": ["E6", "E1", "E8"],
    }[how]
    t.equal([x["event"] for x in mine()][2:], ids, "events")
    t.equal(mine()[-1]["daddr"], net.b.address, "address")
    kernel = [
        (x["oldstate"], x["newstate"])
        for x in words(trace.events(), "inet_sock_set_state")
        if x["sport"] == str(lport) and x["protocol"] in ("257", "0x101")
    ]
    names = [name.replace("TCP_", "") for pair in kernel for name in pair]
    for name in ("SYN_SENT", "ESTABLISHED", "CLOSE"):
        t.check(name in names, f"{name} in {kernel}")


@t.test("section-2")
def segment_tracepoint():
    if t.DUT == t.STOCK:
        return
    net = t.own_net()
    trace = t.Trace("cftcp/cftcp_segment")
    capture = t.Capture(net.b)
    ours, theirs = t.connect(net.a, net.b)
    lport, rport = t.ports(ours)
    ours.send(b"seven..")
    theirs.recv(10)
    ours.shutdown(socket.SHUT_WR)
    theirs.close()
    net.a.wait_state("TIME-WAIT", lport, rport)
    sent = capture.segments(lport)
    seen = words(trace.events(), "cftcp_segment")
    seen = [x for x in seen if x["sport"] == str(lport)]
    t.equal(len(seen), len(sent), "segments")
    key = lambda s: (  # noqa: E731
        "out" if s.src == net.a.address else "in",
        str(s.seq),
        str(s.ack),
        str(s.len),
        str(s.win),
        s.kind,
    )
    want = sorted(map(key, sent))
    got = [
        (
            x["dir"],
            x["seq"],
            x["ack"],
            x["len"],
            x["win"],
            _in_order(x["flags"]),
        )
        for x in seen
    ]
    t.equal(sorted(got), want, "segments")


def _in_order(flags):
    names = flags.split("|")
    return ",".join(
        n for n in ("SYN", "FIN", "RST", "PSH", "URG", "ACK") if n in names
    )


if __name__ == "__main__":
    t.main()
