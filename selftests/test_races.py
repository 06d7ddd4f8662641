#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Close, shutdown, RST, timers and segments at the same moment."""
import os

import cftest as t

HERE = os.path.dirname(os.path.abspath(__file__))
SECONDS = 60 if t.DEBUG else 2


@t.test("section-2", cases={"clean": "", "lossy": "loss 20% delay 1ms"})
def race(netem):
    """Whatever wins, nothing is left, and the next connection works."""
    net = t.own_net()
    net.a.tune(
        msl_ms=1, fin_wait2_timeout_ms=1, orphan_timeout_ms=5, rto_min_ms=1,
        rto_init_ms=5, user_timeout_ms=1000,
    )  # fmt: skip
    if netem:
        net.a.run(f"tc qdisc add dev lo root netem {netem}")
    before = net.a.counters()["Ports"]
    note = net.a.run(
        [f"{HERE}/race", str(t.DUT), str(t.FAMILY), str(SECONDS), "1"]
    )
    t.note(note)
    t.check(int(note.split()[0]) > 20, "there were rounds")
    for gauge in "Sockets", "Orphans", "Requests", "TimeWait":
        t.wait_for(lambda: not net.a.counters()[gauge], 30, gauge)
    t.wait_for(lambda: net.a.counters()["Ports"] == before, 30, "ports free")
    ours, theirs = t.connect(net.a, net.b)
    ours.send(b"alive")
    t.equal(theirs.recv(9), b"alive")


t.main()
