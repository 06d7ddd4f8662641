/* SPDX-License-Identifier: GPL-2.0 */
/* Round trip and RTO estimation, the SACK scoreboard, loss detection. */
#ifndef _CFTCP_RECOVERY_H
#define _CFTCP_RECOVERY_H

#include <linux/types.h>

struct cftcp_segment;
struct sock;

/**
 * cftcp_rtt_sample() - a round trip was measured (RFC 6298 section 2)
 * @sk: the socket, lock held
 * @rtt_us: us
 */
void cftcp_rtt_sample(struct sock *sk, u32 rtt_us);
/**
 * cftcp_recovery_acked() - work through an acceptable ACK
 * @sk: the socket, lock held
 * @seg: the segment; SND.UNA <= SEG.ACK <= SND.NXT
 *
 * Advances SND.UNA, frees what is acknowledged, marks what is SACKed, measures
 * the round trip, finds losses and repairs them.
 *
 * Return: true when SND.UNA advanced.
 */
bool cftcp_recovery_acked(struct sock *sk, const struct cftcp_segment *seg);
/** cftcp_recovery_rto() - the RTO fired: send the head again; lock held */
void cftcp_recovery_rto(struct sock *sk);
/** cftcp_recovery_reorder() - the reordering wait is over; lock held */
void cftcp_recovery_reorder(struct sock *sk);

#endif
