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
 */
struct cftcp_pmtu {
	u32 told;
	u32 told_seq;
	u16 passed;
};

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
/** cftcp_pmtu_rto() - the head of the rtx queue timed out; lock held */
void cftcp_pmtu_rto(struct sock *sk);

#endif
