#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What make soak does, in small: see soak.py."""
import cftest as t
import soak


@t.test("section-7", family=6)
def in_small():
    """Every octet is accounted for, and nothing is left."""
    t.note(soak.run(300 if t.DEBUG else 1500, 10, 1))


t.main(6)
