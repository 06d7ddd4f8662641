# SPDX-License-Identifier: GPL-2.0
"""Bring a connection to any of the ten states, with a hand-made peer."""
import socket

import cftest as t

OPENING = "LISTEN", "SYN-SENT", "SYN-RECEIVED"
SYNCHRONIZED = (
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
)
STATES = OPENING + SYNCHRONIZED
EACH = {state: state for state in STATES}  # test cases


def reach(state, net=None, role="passive", calm=True, text=b"", **options):
    """(our socket, peer) in that state; when calm, with no timer near.

    `text` is there to be read."""
    net = net or t.net()
    if calm:
        net.a.tune(rto_min_ms=60000, rto_init_ms=60000, msl_ms=300000)
    if state in OPENING:
        return _opening(state, net, options)
    ours, peer = t.with_peer(net, role, **options)
    if text:
        peer.send("A", data=text)
        peer.expect("A", ack=peer.nxt)
    if state in ("CLOSE-WAIT", "LAST-ACK"):
        peer.send("FA")
        peer.expect("A", ack=peer.nxt)
    if state not in ("ESTABLISHED", "CLOSE-WAIT"):
        ours.shutdown(socket.SHUT_WR)
        peer.expect("FA")
    if state == "CLOSING":
        peer.send("FA", ack=1)
        peer.expect("A", ack=peer.nxt)
    if state in ("FIN-WAIT-2", "TIME-WAIT"):
        peer.send("A")
    if state == "TIME-WAIT":
        peer.send("FA")
        peer.expect("A", ack=peer.nxt)
    net.a.wait_state(state, peer.dut_port, peer.port)
    return ours, peer


def _opening(state, net, options):
    peer = t.Peer(net, **options)
    if state == "SYN-SENT":
        ours = net.a.sock()
        ours.setblocking(False)
        ours.connect_ex((peer.address, peer.port))
        peer.dut_port = peer.expect("S").sport
        peer.rcv = 1
        return ours, peer
    ours = net.a.listener()
    peer.dut_port = ours.getsockname()[1]
    if state == "SYN-RECEIVED":
        peer.send("S")
        peer.expect("SA")
    return ours, peer


def state_of(peer, state, net=None):
    """The state that /proc shows; the state is asked for to know a listener."""
    a = (net or t.net()).a
    if state != "LISTEN":
        return a.state(peer.dut_port, peer.port)
    rows = [row for row in a.table() if row.lport == peer.dut_port]
    return rows[0].state if rows else "CLOSED"
