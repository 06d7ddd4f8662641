# SPDX-License-Identifier: GPL-2.0
"""Load and unload the module from within a test."""
import ctypes
import errno
import glob
import os
import subprocess

import cftest as t

FINIT_MODULE, DELETE_MODULE = 313, 176  # x86-64
HERE = os.path.dirname(os.path.abspath(__file__))


def _path():
    places = (
        os.environ.get("CFTCP_KO", ""),
        HERE + "/cftcp.ko",
        HERE + "/../module/cftcp.ko",
        HERE + f"/../build/{os.uname().release}/cftcp.ko",
    )
    return next(place for place in places if os.path.exists(place))


def _syscall(*args):
    if t._libc.syscall(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def loaded():
    return os.path.isdir("/sys/module/cftcp")


def load():
    fd = os.open(_path(), os.O_RDONLY)
    try:
        _syscall(FINIT_MODULE, fd, b"", 0)
    finally:
        os.close(fd)


def unload():
    _syscall(DELETE_MODULE, b"cftcp", os.O_NONBLOCK)


def keep_loaded():
    """Whatever a test does, the next one finds the module."""
    if not loaded():
        load()


def busy():
    """Unloading is refused. The kernel says EAGAIN, rmmod(8) EBUSY."""
    with t.fails_with(errno.EAGAIN, errno.EBUSY):
        unload()


def unload_soon(timeout=10):
    """Unload once the last reference goes, which may take a moment."""

    def done():
        try:
            unload()
        except OSError as error:
            t.check(error.errno in (errno.EAGAIN, errno.EBUSY), str(error))
            return False
        return True

    try:
        t.wait_for(done, timeout)
    except t.Failure:
        t.fail(f"{refcount()} references are left after {timeout} s")


def reload(timeout=10):
    unload_soon(timeout)
    load()


def refcount():
    with open("/sys/module/cftcp/refcnt") as file:
        return int(file.read())


def slabs():
    """Objects in use of the module's own caches, by name."""
    for shrink in glob.glob("/sys/kernel/slab/*/shrink"):
        if "cftcp" in shrink.lower():  # else cached ones count as in use
            with open(shrink, "w") as file:
                file.write("1")
    with open("/proc/slabinfo") as file:
        words = [line.split() for line in file]
    return {w[0]: int(w[1]) for w in words if "cftcp" in w[0].lower()}


def gone():
    """No socket is left, nor the state of a namespace that was deleted."""
    try:
        t.wait_for(lambda: not refcount() and not any(slabs().values()), 20)
    except t.Failure:
        t.fail(f"left: {refcount()} references, {slabs()}")


def sockstat():
    """Stock TCP sockets in this namespace and memory in pages."""
    with open("/proc/net/sockstat") as file:
        line = next(x for x in file if x.startswith("TCP:")).split()
    return dict(zip(line[1::2], map(int, line[2::2])))


def run(command, **options):
    return subprocess.run(command, shell=True, check=True, **options)
