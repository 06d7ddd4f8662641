# SPDX-License-Identifier: GPL-2.0
"""Run programs on either stack, in a namespace."""
import os
import subprocess

import cftest as t

TREE = os.environ.get("CFTCP_TREE", os.path.dirname(__file__) + "/..")
CFTCPIZE = TREE + "/scripts/cftcpize"


def on(proto, *command):
    """The command line that runs a program on this stack."""
    if proto != t.CFTCP:
        return list(command)
    return [CFTCPIZE, "--strict", *command]


def start(ns, proto, *command, **options):
    """Run a program beside the test, in a session of its own until its end."""
    with ns.inside():
        process = subprocess.Popen(
            on(proto, *command),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )
    t.cleanup(_stop, process)
    return process


def _stop(process):
    """End the whole session: a server may have made children."""
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()


def run(ns, proto, *command, **options):
    """What a program printed; it must succeed. Octets, unless text=True."""
    with ns.inside():
        done = subprocess.run(
            on(proto, *command),
            capture_output=True,
            timeout=300 * t.SLOW,
            **options,
        )
    if done.returncode:
        t.fail(f"{command[0]}: status {done.returncode}: {done.stderr!r}")
    return done.stdout


def listens(ns, proto, port, process=None):
    """Wait until something listens on the port, on this stack."""

    def there():
        if process and process.poll() is not None:
            t.fail(f"{process.args}: ended with {process.returncode}")
        return [
            row
            for row in ns.table(proto)
            if row.lport == port and row.state == "LISTEN"
        ]

    t.wait_for(there, 120, f"a listener on {port}", every=0.01)
