#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The segments that the tests make by hand are what scapy makes.

Under emulation a segment of scapy's costs milliseconds, too much for tests of
timeouts and for a fuzzer. So cftest packs its own, and is held to scapy here.
"""
import random

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


def by_scapy(fields, names, options):
    """The same segment, by scapy."""
    # Here: the tests can be listed where scapy is not.
    from scapy.layers.inet import IP, TCP
    from scapy.layers.l2 import Ether
    from scapy.packet import Raw

    src, dst, sport, dport, seq, ack, data, win, urg, ttl, tos = fields
    frame = (
        Ether(src=t.GHOST_MAC, dst="02:00:00:00:00:01")
        / IP(src=src, dst=dst, ttl=ttl, tos=tos, id=1, flags="DF")
        / TCP(
            sport=sport,
            dport=dport,
            seq=seq,
            ack=ack,
            flags=names,
            window=win,
            urgptr=urg,
            options=options,
        )
    )
    return bytes(frame / Raw(data) if data else frame)


@t.test("MUST-2", "MUST-4", "MUST-69", cases={f or "none": f for f in FLAGS})
def same_octets_as_scapy(names):
    chance = random.Random(names)
    for options, packed in OPTIONS:
        fields = (
            "10.9.0.%d" % chance.randrange(1, 250),
            "10.9.0.%d" % chance.randrange(1, 250),
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


t.main()
