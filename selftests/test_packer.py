#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The segments that the tests make by hand are what scapy makes.

Under emulation a segment of scapy's costs milliseconds, too much for tests of
timeouts and for a fuzzer. So cftest packs its own, and is held to scapy here.
"""
import contextlib
import random

with contextlib.suppress(ImportError):  # --list does without scapy
    from scapy.layers.inet import (
        ICMP,
        IP,
        TCP,
        IPOption_EOL,
        IPOption_NOP,
        IPOption_Router_Alert,
    )
    from scapy.layers.inet6 import (
        ICMPv6DestUnreach,
        ICMPv6PacketTooBig,
        ICMPv6TimeExceeded,
        IPv6,
        IPv6ExtHdrDestOpt,
        PadN,
    )
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

import cftest as t

FLAGS = ["", "S", "SA", "A", "PA", "FA", "R", "RA", "SF", "SR", "FSRPAUEC"]
OPTIONS = [
    ([], b""),
    ([("MSS", 1460)], b"\2\4\5\xb4"),
    ([("NOP", None), ("WScale", 7)], b"\1\3\3\7"),
    ([("SAckOK", b""), ("EOL", None)], b"\4\2\0\0"),
    (
        [("NOP", None), ("NOP", None), ("Timestamp", (1, 0xFFFFFFFE))],
        b"\1\1\x08\x0a\0\0\0\1\xff\xff\xff\xfe",
    ),
    (
        [("NOP", None), ("NOP", None), ("SAck", (5, 9))],
        b"\1\1\5\x0a\0\0\0\5\0\0\0\x09",
    ),
]


IP_HEADERS = {
    4: lambda src, dst, ttl, tos: IP(
        src=src, dst=dst, ttl=ttl, tos=tos, id=1, flags="DF"
    ),
    6: lambda src, dst, ttl, tos: IPv6(src=src, dst=dst, hlim=ttl, tc=tos),
}


def whole(header, payload):
    """The octets of a frame, by scapy."""
    ether = Ether(src=t.GHOST_MAC, dst="02:00:00:00:00:01")
    return bytes(ether / header / payload)


def by_scapy(fields, names, options):
    """The same segment, by scapy."""
    src, dst, sport, dport, seq, ack, data, win, urg, ttl, tos = fields
    tcp = TCP(
        sport=sport,
        dport=dport,
        seq=seq,
        ack=ack,
        flags=names,
        window=win,
        urgptr=urg,
        options=options,
    )
    header = IP_HEADERS[t.FAMILY](src, dst, ttl, tos)
    return whole(header, tcp / Raw(data) if data else tcp)


@t.test("MUST-2", "MUST-4", "MUST-69", cases={f or "none": f for f in FLAGS})
def same_octets_as_scapy(names):
    chance = random.Random(names)
    for options, packed in OPTIONS:
        fields = (
            t.address_of(chance.randrange(1, 250)),
            t.address_of(chance.randrange(1, 250)),
            chance.randrange(1, 65536),
            chance.randrange(1, 65536),
            chance.randrange(1 << 32),
            chance.randrange(1 << 32),
            chance.randbytes(chance.randrange(40)),
            chance.randrange(65536),
            chance.randrange(65536),
            chance.randrange(1, 256),
            chance.randrange(256),
        )
        src, dst, sport, dport, seq, ack, data, win, urg, ttl, tos = fields
        ours = t.build(
            src, dst, sport, dport, seq, ack, names, win=win, opts=packed,
            data=data, urg=urg, ttl=ttl, tos=tos,
        )  # fmt: skip
        t.equal(ours.hex(), by_scapy(fields, names, options).hex(), "octets")
        seen = t.Segment(0, ours)
        wanted = src, sport, dst, dport, seq, ack, data, win, urg, ttl, tos
        t.equal(
            (*seen.tuple, seen.seq, seen.ack, seen.data, seen.win, seen.urg,
             seen.ttl, seen.tos), wanted, "taken apart",
        )  # fmt: skip
        t.equal(seen.flags, names_in_order(names), "flags")
        t.check(seen.csum_ok, "checksum")


def names_in_order(names):
    return "".join(letter for letter in t.FLAGS if letter in names)


SRC, DST = t.address_of(3), t.address_of(4)


def same_beyond(header, ours):
    """A segment with one octet of text behind that header."""
    tcp = TCP(sport=1, dport=2, seq=3, ack=4, flags="A", window=65535)
    t.equal(ours.hex(), whole(header, tcp / Raw(b"x")).hex(), "octets")
    t.equal(t.Segment(0, ours).data, b"x", "taken apart")


@t.test("MUST-50", family=4)
def ip_options():
    options = b"\x94\4\0\0\1\1\1\0"
    ours = t.build(SRC, DST, 1, 2, 3, 4, "A", data=b"x", ip_options=options)
    header = IP_HEADERS[4](SRC, DST, 64, 0)
    header.options = [IPOption_Router_Alert(), *[IPOption_NOP()] * 3]
    header.options.append(IPOption_EOL())
    same_beyond(header, ours)


@t.test("MUST-50", family=6)
def extension_header():
    padding = b"\1\x0c" + bytes(12)
    ours = t.build(SRC, DST, 1, 2, 3, 4, "A", data=b"x", ip_options=padding)
    header = IP_HEADERS[6](SRC, DST, 64, 0)
    header /= IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))])
    same_beyond(header, ours)


ERRORS = {
    4: (
        (t.PORT_UNREACHABLE, lambda: ICMP(type=3, code=3)),
        (t.TOO_BIG, lambda: ICMP(type=3, code=4, nexthopmtu=1300)),
        ((11, 0), lambda: ICMP(type=11)),
    ),
    6: (
        (t.PORT_UNREACHABLE, lambda: ICMPv6DestUnreach(code=4)),
        (t.TOO_BIG, lambda: ICMPv6PacketTooBig(mtu=1300)),
        ((3, 0), lambda: ICMPv6TimeExceeded()),
    ),
}


@t.test("MUST-54")
def icmp_errors():
    quote = t.build(DST, SRC, 1, 2, 3, 4, "A")[14:]
    for what, made in ERRORS[t.FAMILY]:
        rest = 1300 if what == t.TOO_BIG else 0
        ours = t.icmp_frame(SRC, DST, what, quote, rest)
        header = IP_HEADERS[t.FAMILY](SRC, DST, 64, 0)
        theirs = whole(header, made() / Raw(quote))
        t.equal(ours.hex(), theirs.hex(), f"octets of {what}")


t.main()
