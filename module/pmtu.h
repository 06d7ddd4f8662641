/* SPDX-License-Identifier: GPL-2.0 */
/* The path MTU of a connection. */
#ifndef _CFTCP_PMTU_H
#define _CFTCP_PMTU_H

#include <linux/types.h>

struct sock;

/**
 * struct cftcp_pmtu - what a connection knows of its path
 * @told: path MTU that ICMP told and that is not believed yet, 0 for none
 * @told_seq: SEQ of the segment that was too big
 * @passed: payload of the largest segment that is known to have arrived
 * @limit: MSS that is used though the route would take more, 0 for none: it
 *	passes, or is hoped to
 * @high: MSS above @limit that may pass, 0 if all of the route's may
 * @probe: MSS of the segment on its way that is larger than @limit, or 0
 * @probe_seq: its first number
 * @probe_end: the number after its last
 * @probe_at: ns, earliest time of the next probe
 */
struct cftcp_pmtu {
	u32 told;
	u32 told_seq;
	u16 passed;
	u16 limit;
	u16 high;
	u16 probe;
	u32 probe_seq;
	u32 probe_end;
	u64 probe_at;
};

/** cftcp_pmtu_init() - a new connection; lock held or not yet visible */
void cftcp_pmtu_init(struct sock *sk);

/**
 * cftcp_pmtu_told() - ICMP tells the path MTU
 * @sk: the socket, lock held and not owned by a process
 * @seq: SEQ of the segment that was too big; may be in flight
 * @mtu: octets
 *
 * Believed at once while segments of that size have not arrived yet; else only
 * when the segment times out (RFC 5927 section 7.2). Then the route learns it,
 * and what was too big is cut anew and sent at once.
 */
void cftcp_pmtu_told(struct sock *sk, u32 seq, u32 mtu);
/**
 * cftcp_pmtu_acked() - SND.UNA advanced
 * @sk: the socket, lock held
 * @octets: how far
 */
void cftcp_pmtu_acked(struct sock *sk, u32 octets);
/**
 * cftcp_pmtu_rto() - the head of the rtx queue timed out
 * @sk: the socket, lock held; backoff counts this timeout
 *
 * What ICMP told of it is believed now. After three timeouts of a full segment
 * the path is suspected to swallow such silently (RFC 4821 section 7.7).
 */
void cftcp_pmtu_rto(struct sock *sk);
/**
 * cftcp_pmtu_probe() - may a larger segment than the MSS be sent now?
 * @sk: the socket, lock held
 * @ready: octets at the head of the send queue that the window lets go
 *
 * RFC 4821 section 7.4: only with enough behind it that its loss is noticed.
 *
 * Return: its payload, to be sent before anything else, or 0.
 */
u32 cftcp_pmtu_probe(struct sock *sk, u32 ready);
/**
 * cftcp_pmtu_goal() - octets to queue together so that a probe can be sent
 * @sk: the socket, lock held
 * @mss: payload of a full segment
 *
 * Return: a multiple of @mss.
 */
u32 cftcp_pmtu_goal(struct sock *sk, u32 mss);
/** cftcp_pmtu_retransmitted() - a segment is sent again; lock held */
void cftcp_pmtu_retransmitted(struct sock *sk, u32 seq);

#endif
