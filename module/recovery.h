/* SPDX-License-Identifier: GPL-2.0 */
/* The SACK scoreboard, loss detection and repair (RFC 8985). */
#ifndef _CFTCP_RECOVERY_H
#define _CFTCP_RECOVERY_H

#include <linux/types.h>

struct cftcp_segment;
struct cftcp_sock;
struct sock;

/** cftcp_recovery_reset() - nothing was sent yet; lock held or not visible */
void cftcp_recovery_reset(struct cftcp_sock *cs);
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
/**
 * cftcp_recovery_probe() - send a loss probe (RFC 8985 section 7.3)
 * @sk: the socket, lock held
 *
 * Return: true when something left.
 */
bool cftcp_recovery_probe(struct sock *sk);
/** cftcp_recovery_may_probe() - may a loss probe be due? RFC 8985 7.2 */
bool cftcp_recovery_may_probe(const struct cftcp_sock *cs);
/**
 * cftcp_recovery_cut() - the path takes no more than the new MSS; lock held
 *
 * What was larger is sent again at once in smaller segments. That is no loss
 * for anything else (RFC 1191 section 6.5).
 */
void cftcp_recovery_cut(struct sock *sk);

#endif
