#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""scripts/cftcpize: which sockets of a program become cftcp's, and when not."""
import os
import stat
import subprocess

import cftcpize as c
import cftest as t
import modulectl as m

PYTHON = "/usr/bin/python3"
NOBODY = 65534
# s, virtual ones, which pass while a busy host reads the files of a program.
PATIENCE = 1000 * t.SLOW

# Prints, for each socket that it opens, whether /proc/net/cftcp grew.
OPENS = """
import fcntl, os, socket, sys
AF = socket.AF_INET6 if sys.argv[1] == "6" else socket.AF_INET
STREAM, FLAGS = socket.SOCK_STREAM, socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
def is_cftcp(s):
    s.bind(("", 0))
    s.listen(1)
    table = open("/proc/net/cftcp" + ("6" if AF == socket.AF_INET6 else ""))
    return f":{s.getsockname()[1]:04X} " in table.read()
for protocol in 0, 6, 257:
    s = socket.socket(AF, STREAM, protocol)
    said = s.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL)
    print(protocol, is_cftcp(s), said)
s = socket.socket(AF, STREAM | FLAGS)
fd = s.fileno()
print(bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK),
      bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC), is_cftcp(s))
for other in socket.socket(AF, socket.SOCK_DGRAM), *socket.socketpair():
    print(other.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL))
"""


def cftcpize(*arguments, **options):
    """(status, output, messages) of scripts/cftcpize in a namespace."""
    with t.net().a.inside():
        done = subprocess.run(
            [c.CFTCPIZE, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            **options,
        )
    return done.returncode, done.stdout, done.stderr


@t.test("section-5")
def which_sockets():
    """Protocol 0 and TCP, with their flags; no other, and they say TCP."""
    status, out, said = cftcpize(PYTHON, "-c", OPENS, str(t.FAMILY))
    t.equal(status, 0, said)
    wanted = ["0 True 6", "6 True 6", "257 True 6", "True True True"]
    t.equal(out.splitlines(), wanted + ["17", "0", "0"])


@t.test("section-5")
def children_too():
    """A script, and the program that it starts; it is said once."""
    path = "/run/cftcp-script"
    with open(path, "w") as file:
        file.write(f'#!/bin/sh\n"$@"\n"$@"\n')
    os.chmod(path, 0o755)
    t.cleanup(os.unlink, path)
    status, out, said = cftcpize(path, PYTHON, "-c", OPENS, str(t.FAMILY))
    t.equal(status, 0, said)
    t.equal(out.count("0 True 6"), 2, "children with cftcp")
    t.equal(said.count("cftcpize:"), 1, "messages")


@t.test("section-5")
def status_and_input_pass():
    status, out, said = cftcpize("sh", "-c", "cat; exit 3", input="text")
    t.equal((status, out), (3, "text"), said)
    status, _, said = cftcpize("no-such-program")
    t.equal(status, 127, said)


OFF = {"switched off": "enabled", "unloaded": "module"}


@t.test("section-5", cases=OFF)
def without_cftcp(how):
    """Stock TCP and a message; with --strict no program."""
    if how == "module":
        t.cleanup(m.keep_loaded)
        m.unload_soon()
    else:
        t.net().a.tune(enabled=0)
    program = "import socket; socket.socket(); print('ran')"
    status, out, said = cftcpize(PYTHON, "-c", program)
    t.equal((status, out), (0, "ran\n"), said)
    t.check("stock TCP" in said, said)
    status, out, said = cftcpize("--strict", PYTHON, "-c", program)
    t.check(status not in (0, 127) and not out, status, out, said)
    t.check("no cftcp" in said, said)


DURING = """
import socket, sys
sys.stdin.read(1)
for _ in range(3):
    socket.socket()
print("ran")
"""


@t.test("section-5", cases={"falls back": (), "strict": ("--strict",)})
def cftcp_ends_meanwhile(*options):
    """It is switched off when the program already runs."""
    net = t.net()
    with net.a.inside():
        process = subprocess.Popen(
            [c.CFTCPIZE, *options, PYTHON, "-c", DURING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    t.cleanup(process.wait)
    t.cleanup(process.kill)
    process.stderr.readline()
    net.a.tune(enabled=0)
    out, said = process.communicate("x", timeout=PATIENCE)
    t.equal(said.count("cftcpize:"), 1, "messages")
    wanted = (1, "") if options else (0, "ran\n")
    t.equal((process.returncode, out), wanted, said)


@t.test("section-5")
def refuses_static():
    status, out, said = cftcpize("/bin/busybox", "echo", "ran")
    t.equal((status, out), (1, ""), said)
    t.check("static" in said, said)


@t.test("section-5")
def refuses_setuid():
    """Only when it is another user's: else nothing is gained."""
    path = "/run/cftcp-setuid"
    with open(PYTHON, "rb") as source, open(path, "wb") as file:
        file.write(source.read())
    t.cleanup(os.unlink, path)
    os.chmod(path, 0o755 | stat.S_ISUID)
    command = path, "-c", "print('ran')"
    status, out, said = cftcpize(*command, user=NOBODY, group=NOBODY)
    t.equal((status, out), (1, ""), said)
    t.check("setuid" in said, said)
    status, out, said = cftcpize(*command)
    t.equal((status, out), (0, "ran\n"), said)


if __name__ == "__main__":
    t.main()
