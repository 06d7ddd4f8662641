/* SPDX-License-Identifier: GPL-2.0 */
/* Round trip and RTO estimation. */
#ifndef _CFTCP_RTT_H
#define _CFTCP_RTT_H

#include <linux/types.h>

struct cftcp_segment;
struct sock;

/**
 * cftcp_rtt_sample() - a round trip was measured (RFC 6298 section 2)
 * @sk: the socket, lock held
 * @rtt_us: us
 *
 * Takes the backoff away (RFC 6298 section 5).
 */
void cftcp_rtt_sample(struct sock *sk, u32 rtt_us);
/**
 * cftcp_rtt_acked() - measure by an ACK that advanced SND.UNA (RFC 7323 4.1)
 * @sk: the socket, lock held
 * @seg: the segment
 * @rtt_us: of a segment acknowledged that was sent once; 0 if there is none,
 *	or if others were sent more than once (Karn): then timestamps tell, or
 *	there is no sample and the backoff loses one step only
 */
void cftcp_rtt_acked(struct sock *sk, const struct cftcp_segment *seg,
		     u32 rtt_us);
/**
 * cftcp_rtt_rose() - the RTO fired for nothing: the round trip is longer now
 * @sk: the socket, lock held
 *
 * RFC 4015 section 3.3: the first sample of data sent after this counts whole.
 */
void cftcp_rtt_rose(struct sock *sk);

#endif
