#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Many connections, closed in every way, over a link that spoils segments.

usage: soak.py CONNECTIONS SECONDS SEED   (make soak does, in a machine)

soak.c makes them and accounts for their octets. Here is the link, and what
must be as before when all is over: slabs, sockets, ports and references. The
last line is the summary; the status is 0 only if all that was promised holds.
"""

import collections
import os
import sys
import time

os.environ["CFTCP_FAMILY"] = "6"  # there is IPv4 in its net, too

import cftest as t
import modulectl as m

HERE = os.path.dirname(os.path.abspath(__file__))
LINK = "limit 10000 delay 3ms reorder 5% loss 1.5% duplicate 1% corrupt 1%"
GAUGES = "Sockets", "Orphans", "Requests", "TimeWait", "Ports", "CurrEstab"
# Seconds: TIME-WAIT lasts 60 in both stacks, orphans two minutes.
ALL_GONE = 400
ENOUGH = 1000  # connections for everything to happen
# What such a link, and such ways to close, must have caused.
CAUSED = """RetransSegs RtoFired FastRetransmit OutOfOrder DsackReceived
DropChecksum EstabResets AbortOnClose AbortOnLinger AbortOnTimeout
TimeWaitExpired TimeWaitReused DuplicateFin AttemptFails""".split()


def held(net):
    """What is in use, by name."""
    now = {"references": m.refcount(), **m.slabs()}
    for namespace in net.a, net.b:
        counters = namespace.counters()
        for gauge in GAUGES:
            now[f"{namespace.name} {gauge}"] = counters[gauge]
        for line in namespace.read("sockstat").splitlines():
            name, *words = line.split()
            if name == "TCP:":
                found = dict(zip(words[::2], map(int, words[1::2])))
                del found["mem"]  # kept a while for the next
                now[f"{namespace.name} stock"] = found
    return now


def wait_until_gone(net, before):
    """Seconds until nothing more is in use than before."""
    began = time.monotonic()
    while True:
        now = held(net)
        left = {x: (before[x], now[x]) for x in now if now[x] != before.get(x)}
        passed = time.monotonic() - began
        if not left:
            return passed
        t.check(passed < ALL_GONE * t.SLOW, f"before, and left: {left}")
        time.sleep(20)


def run(connections, seconds, seed):
    """The summary line; Failure if anything is missing, or left."""
    net = t.own_net()
    for namespace in net.a, net.b:
        namespace.netem(LINK)
        namespace.tune(time_wait_reuse=1)
    before = held(net)
    began = time.monotonic()
    command = [f"{HERE}/soak", t.DUT, connections, seconds, seed]
    for namespace in net.a, net.b:
        command += [namespace.fd, namespace.address4, namespace.address]
    text = net.a.run(
        [str(word) for word in command],
        check=False,
        pass_fds=(net.a.fd, net.b.fd),
    )
    took = time.monotonic() - began
    t.note(text)
    total = dict(line.rsplit(" ", 1) for line in text.splitlines())
    for name in "missing", "strays", "complaints":
        t.equal(total.get(name), "0", name)
    lasted = wait_until_gone(net, before)
    t.note(f"nothing was left after {lasted:.0f} s")
    seen = sum((n.counters() for n in (net.a, net.b)), collections.Counter())
    t.note(*(f"{name} {seen[name]}\n" for name in CAUSED))
    never = [name for name in CAUSED if not seen[name]]
    t.check(connections < ENOUGH or not never, "never:", *never)
    return (
        f"soak: {connections} connections, {total['sent']} octets, "
        f"{total['missing']} missing, {total['lost with an error']} lost with "
        f"an error, {seen['RetransSegs']} segments sent again, "
        f"{seen['DropChecksum']} bad checksums, nothing left, "
        f"in {took:.0f} s of virtual time"
    )


def main():
    try:
        summary = run(*map(int, sys.argv[1:]))
    except t.Failure as failure:
        sys.exit(f"soak: {failure}")
    print(summary, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
