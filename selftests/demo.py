#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Show cftcp closing connections against the stock stack, as RFC 793 draws it.

Runs in a machine with the module loaded (scripts/demo). Each figure is made
from segments that were captured at both ends and from the states that the
tracepoints and ss saw, and then compared with the RFC's own text.
"""
import os
import socket
import subprocess
import sys
import time

import cftest as t

STEP_MS = 60  # one way through the wire
MSL_MS = 1000
STOCK_TIME_WAIT_S = 60

FIGURE_13 = """\
1.  ESTABLISHED                                          ESTABLISHED
2.  (Close)
    FIN-WAIT-1  --> <SEQ=100><ACK=300><CTL=FIN,ACK>  --> CLOSE-WAIT
3.  FIN-WAIT-2  <-- <SEQ=300><ACK=101><CTL=ACK>      <-- CLOSE-WAIT
4.                                                       (Close)
    TIME-WAIT   <-- <SEQ=300><ACK=101><CTL=FIN,ACK>  <-- LAST-ACK
5.  TIME-WAIT   --> <SEQ=101><ACK=301><CTL=ACK>      --> CLOSED
6.  (2 MSL)
    CLOSED"""

FIGURE_14 = """\
1.  ESTABLISHED                                          ESTABLISHED
2.  (Close)                                              (Close)
    FIN-WAIT-1  --> <SEQ=100><ACK=300><CTL=FIN,ACK>  ... FIN-WAIT-1
                <-- <SEQ=300><ACK=100><CTL=FIN,ACK>  <--
                ... <SEQ=100><ACK=300><CTL=FIN,ACK>  -->
3.  CLOSING     --> <SEQ=101><ACK=301><CTL=ACK>      ... CLOSING
                <-- <SEQ=301><ACK=101><CTL=ACK>      <--
                ... <SEQ=101><ACK=301><CTL=ACK>      -->
4.  TIME-WAIT                                            TIME-WAIT
    (2 MSL)                                              (2 MSL)
    CLOSED                                               CLOSED"""


class End:
    """One end: its socket, its captures, its states as they were seen."""

    def __init__(self, name, sock, namespace, proto):
        self.name, self.sock, self.ns, self.proto = name, sock, namespace, proto
        self.ports = t.ports(sock)
        self.capture = t.Capture(namespace, port=self.ports[0])
        self.seen = []  # what ss said: [(after, state)]

    def title(self):
        stack = "cftcp" if self.proto == t.CFTCP else "stock TCP"
        return f"{stack} {self.ns.address}:{self.ports[0]}"

    def ss(self):
        """This end's state as ss prints it, and in the RFC's words."""
        environ = dict(os.environ)
        if self.proto == t.CFTCP:
            environ["PROC_NET_TCP"] = "/proc/net/cftcp"
        # ss opens /proc of its own; it runs in the namespace
        lines = self.ns.run(["ss", "-Htan"], env=environ).splitlines()
        ends = f":{self.ports[0]}", f":{self.ports[1]}"
        for line in lines:
            words = line.split()
            if words[3].endswith(ends[0]) and words[4].endswith(ends[1]):
                return words[0]
        return "(none)"

    def look(self, after):
        self.seen.append((after, self.ss()))

    def wait(self, state, timeout=10):
        self.ns.wait_state(state, *self.ports, self.proto, timeout)


class Scene:
    """A connection A-B between the two stacks over a wire with a delay."""

    def __init__(self, ours_is):
        self.net = t.own_net(wire=True)
        self.net.a.tune(msl_ms=MSL_MS)
        self.net.wire.latency = STEP_MS
        ours_too = ["cftcp/cftcp_state"] if t.DUT == t.CFTCP else []
        self.trace = t.Trace("sock/inet_sock_set_state", *ours_too)
        ours, theirs = t.connect(self.net.a, self.net.b)
        ends = [
            End("A", ours, self.net.a, t.DUT),
            End("B", theirs, self.net.b, t.STOCK),
        ]
        self.a, self.b = ends if ours_is == "A" else ends[::-1]
        self.a.name, self.b.name = "A", "B"
        self.exchange()
        self.a.capture.segments(), self.b.capture.segments()
        self.a.capture.list.clear()
        self.b.capture.list.clear()
        self.clock = time.time() - time.monotonic()
        self.look("1")
        self.begin = time.time()

    def exchange(self):
        """Data both ways, so that the close has something to protect."""
        for one, other in ((self.a, self.b), (self.b, self.a)):
            data = t.pattern(100_000)
            sender = t.Background(one.sock.sendall, data)
            got = t.read_exactly(other.sock, len(data))
            sender.result()
            t.equal(t.digest(got), t.digest(data), "data before the close")
        time.sleep(1)  # what is still to be acknowledged is now

    def look(self, after):
        self.a.look(after)
        self.b.look(after)

    @staticmethod
    def steps(number):
        """Let that much of one way through the wire pass."""
        time.sleep(number * STEP_MS / 1000)

    def states(self, end):
        """[(time, state, event)] of one end from the tracepoints."""
        wanted = (
            "cftcp_state" if end.proto == t.CFTCP else "inet_sock_set_state"
        )
        found = [
            (
                seconds + self.clock,
                t.rfc_name(f["newstate"]),
                f.get("event", ""),
            )
            for seconds, event, f in self.trace.events()
            if event == wanted
            and (int(f["sport"]), int(f["dport"])) == end.ports
            and seconds + self.clock > self.begin
        ]
        # The stock stack traces the end of the socket, not its TIME-WAIT.
        if end.proto == t.STOCK and any(s == "TIME-WAIT" for _, s in end.seen):
            when, state, event = found[-1]
            found[-1] = when, "TIME-WAIT", "ss"
        return found

    def state_at(self, end, moment):
        before = [s for when, s, _ in self.states(end) if when <= moment]
        return before[-1] if before else "ESTABLISHED"

    def segments(self):
        """[(from A?, text, sent, received)] of the close, in order of sending."""
        base, found = {}, []
        for end, other in ((self.a, self.b), (self.b, self.a)):
            mine = [
                s for s in end.capture.segments() if s.sport == end.ports[0]
            ]
            base[end] = next(s.seq + s.len for s in mine if s.has("F"))
            there = {}
            for seg in other.capture.segments():
                there.setdefault(seg.tcp, seg.time / 1e9)
            for seg in mine:
                found.append((end, seg, seg.time / 1e9, there[seg.tcp]))
        return sorted(
            (
                (end is self.a, self._text(seg, end, base), sent, received)
                for end, seg, sent, received in found
            ),
            key=lambda x: x[2],
        )

    def _text(self, seg, end, base):
        other = self.b if end is self.a else self.a
        start = {self.a: 100, self.b: 300}
        seq = start[end] + t.distance(seg.seq, base[end])
        ack = start[other] + t.distance(seg.ack, base[other])
        return f"<SEQ={seq}><ACK={ack}><CTL={seg.kind.replace('PSH,', '')}>"


# --- drawing ------------------------------------------------------------------


def line(number, left, arrow, text, arrow2, right):
    number = f"{number}." if number else ""
    middle = f"{arrow:4}{text:33}{arrow2:4}"
    return f"{number:4}{left:12}{middle}{right}".rstrip()


def draw_13(scene):
    """One line for a segment: its sender's state then, its receiver's after."""
    settle = STEP_MS / 2000
    lines = [line(1, "ESTABLISHED", "", "", "", "ESTABLISHED")]
    closed = set()
    for number, (from_a, text, sent, received) in enumerate(
        scene.segments(), 2
    ):
        a = scene.state_at(
            scene.a, sent + 0.001 if from_a else received + settle
        )
        b = scene.state_at(
            scene.b, received + settle if from_a else sent + 0.001
        )
        arrow = "-->" if from_a else "<--"
        label = str(number)
        if "FIN" in text and from_a not in closed:
            closed.add(from_a)
            left, right = ("(Close)", "") if from_a else ("", "(Close)")
            lines.append(line(label, left, "", "", "", right))
            label = ""
        lines.append(line(label, a, arrow, text, arrow, b))
    last = len(scene.segments()) + 2
    lines.append(line(last, "(2 MSL)", "", "", "", ""))
    lines.append(line("", gone(scene.a), "", "", "", ""))
    return lines


def draw_14(scene):
    """Segments that cross: a line when one leaves A, one when it arrives."""
    lines = [line(1, "ESTABLISHED", "", "", "", "ESTABLISHED")]
    lines.append(line(2, "(Close)", "", "", "", "(Close)"))
    half = STEP_MS / 2000
    mine = [s for s in scene.segments() if s[0]]
    theirs = [s for s in scene.segments() if not s[0]]
    for number, (ours, other) in enumerate(zip(mine, theirs), 2):
        a = scene.state_at(scene.a, ours[2] + half)
        b = scene.state_at(scene.b, ours[2] + half)
        label = str(number) if number > 2 else ""
        crossing = ours[2] < other[3] and other[2] < ours[3]
        lines.append(
            line(label, a, "-->", ours[1], "..." if crossing else "-->", b)
        )
        lines.append(line("", "", "<--", other[1], "<--", ""))
        lines.append(line("", "", "...", ours[1], "-->", ""))
    settled = max(s[3] for s in scene.segments()) + half
    a, b = scene.state_at(scene.a, settled), scene.state_at(scene.b, settled)
    lines.append(line(len(mine) + 2, a, "", "", "", b))
    lines.append(line("", "(2 MSL)", "", "", "", "(2 MSL)"))
    lines.append(line("", gone(scene.a), "", "", "", gone(scene.b)))
    return lines


def gone(end):
    """CLOSED when ss has no row of it any more, else what it says."""
    return "CLOSED" if end.seen[-1][1] == "(none)" else end.seen[-1][1]


def show(scene, lines, figure):
    print()
    a, b = scene.a.title(), scene.b.title()
    print(f"    {'TCP A: ' + a:45}{'TCP B: ' + b}"[:80])
    for text in lines:
        print("  " + text)
    print("\n  ss, after line  " + "".join(f"{x:>12}" for x, _ in scene.a.seen))
    for end in (scene.a, scene.b):
        states = "".join(f"{state:>12}" for _, state in end.seen)
        print(f"           TCP {end.name} {states}")
    show_trace(scene)
    print(two_msl(scene))
    same = [x.split() for x in lines] == [
        x.split() for x in figure.splitlines()
    ]
    if not same:
        print("\n  NOT as in the RFC, which has:")
        print("\n".join("  " + x for x in figure.splitlines()))
    return same


def show_trace(scene):
    print(f"\n  tracepoints, ms  {'TCP A':33}TCP B")
    merged = []
    for end in (scene.a, scene.b):
        was = "ESTABLISHED"
        for when, state, event in scene.states(end):
            note = f" {event}" if event.startswith("E") else ""
            if state != was:
                merged.append((when, end, f"{was} > {state}{note}"))
            was = state
    for when, end, text in sorted(merged, key=lambda x: x[0]):
        ms = (when - scene.begin) * 1000
        left, right = (text, "") if end is scene.a else ("", text)
        print(f"  {ms:15.3f}  {left:33}{right}".rstrip())


# --- the three closes ---------------------------------------------------------


def wait_2msl(scene):
    """Until both ends are gone; stock TCP's 60 s only where time is free."""
    for end in (scene.a, scene.b):
        limit = STOCK_TIME_WAIT_S + 10 if end.proto == t.STOCK else 5
        end.wait("CLOSED", limit)
    scene.look("last")


def normal(ours_is):
    """A closes; B closes when it has read EOF and some time has passed."""
    scene = Scene(ours_is)
    scene.a.sock.shutdown(socket.SHUT_WR)
    t.equal(t.read_all(scene.b.sock), b"", "octets before EOF")
    scene.steps(3)  # stock TCP delays its ACK
    scene.look("3")
    scene.b.sock.close()
    scene.steps(1.3)
    scene.look("4")
    scene.steps(2)
    scene.look("5")
    wait_2msl(scene)
    return show(scene, draw_13(scene), FIGURE_13)


def simultaneous(ours_is):
    """Both close before they have heard of the other's close."""
    scene = Scene(ours_is)
    scene.b.sock.shutdown(socket.SHUT_WR)
    scene.a.sock.shutdown(socket.SHUT_WR)
    scene.steps(0.3)
    scene.look("2")
    scene.steps(0.75)
    scene.look("3")
    scene.steps(1)
    scene.look("4")
    wait_2msl(scene)
    return show(scene, draw_14(scene), FIGURE_14)


CLOSES = [
    ("normal close, cftcp first (RFC 793 Figure 13)", normal, "A"),
    ("passive close, cftcp second (RFC 793 Figure 13)", normal, "B"),
    ("simultaneous close (RFC 793 Figure 14)", simultaneous, "A"),
]


def two_msl(scene):
    """How many ms cftcp was in TIME-WAIT, if it was."""
    ours = scene.a if scene.a.proto == t.DUT else scene.b
    times = {state: when for when, state, _ in scene.states(ours)}
    if "TIME-WAIT" not in times or "CLOSED" not in times:
        return "\n  2 MSL: the stock stack's, 60 s, fixed"
    lasted = (times["CLOSED"] - times["TIME-WAIT"]) * 1000
    return f"\n  2 MSL lasted {lasted:.3f} ms; net.cftcp.msl_ms was {MSL_MS}"


def main():
    results = []
    subprocess.run(["ss", "-tan"], stdout=subprocess.DEVNULL)  # now in memory
    for number, (title, close, ours_is) in enumerate(CLOSES, 1):
        print(f"\n[{number}/{len(CLOSES)}] {title}", flush=True)
        try:
            same = close(ours_is)
        except t.Failure as problem:
            print(f"  FAILED: {problem}")
            same = False
        verdict = "the same, line by line" if same else "FAILED"
        results.append((title, verdict))
        t.clean_up()
        sys.stdout.flush()
    print("\nProven, with segments that were captured on the wire between "
          "cftcp\nand this kernel's own TCP, 100,000 octets each way before:")  # fmt: skip
    for title, verdict in results:
        print(f"  {title:50}{verdict}")
    sys.stdout.flush()
    failed = any(v == "FAILED" for _, v in results)
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
