/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Urgent data, RFC 9293 section 3.8.5 and RFC 6093.
 *
 * A mark is a place in the stream: the last urgent octet, which a pointer to
 * the octet after it tells of. To programs it is what Linux makes of it: the
 * octet at the mark is read by MSG_OOB and left out of the stream, unless
 * SO_OOBINLINE is set, and a read ends before it.
 */
#ifndef _CFTCP_URGENT_H
#define _CFTCP_URGENT_H

#include "segment.h"
#include "sock.h"

/**
 * cftcp_urgent_arrives() - sixth step of SEGMENT ARRIVES: check the URG bit
 * @sk: the socket, lock held
 * @seg: the segment
 *
 * SIGURG when the mark is new or has advanced (MUST-32). After the peer's FIN
 * it is ignored.
 *
 * Context: softirq or process.
 */
void cftcp_urgent_arrives(struct sock *sk, const struct cftcp_segment *seg);
/**
 * cftcp_urgent_receive() - recv(MSG_OOB): the octet at the mark
 * @sk: the socket, lock held
 * @msg: where to
 * @len: octets that @msg takes
 * @flags: MSG_PEEK leaves it there
 *
 * Context: process.
 * Return: 1; 0 at the end of the stream or for @len 0; -EINVAL when there is
 * no mark, it was read or is in-line; -EAGAIN when the octet has not come;
 * -ENOTCONN, -EFAULT.
 */
int cftcp_urgent_receive(struct sock *sk, struct msghdr *msg, size_t len,
			 int flags);
/**
 * cftcp_urgent_limit() - how much a read may take at once
 * @sk: the socket, lock held
 * @seq: number of the first octet
 * @n: octets on hand from there on
 *
 * Return: octets before the mark, at most @n; 0 when the octet at @seq is to
 * be left out.
 */
u32 cftcp_urgent_limit(const struct sock *sk, u32 seq, u32 n);
/** cftcp_urgent_left_out() - will a read begin by leaving out the octet? */
bool cftcp_urgent_left_out(const struct sock *sk);
/** cftcp_urgent_leave_out() - do so, and forget the mark; lock held */
void cftcp_urgent_leave_out(struct sock *sk);
/** cftcp_urgent_unread() - octets for the user in order, up to a mark */
u32 cftcp_urgent_unread(const struct sock *sk);
/** cftcp_urgent_pending() - is the octet at the mark there and not yet read? */
bool cftcp_urgent_pending(const struct cftcp_sock *cs);

/** cftcp_urgent_at() - does the mark stand at @seq? */
static inline bool cftcp_urgent_at(const struct cftcp_sock *cs, u32 seq)
{
	return cs->urg_marked && cs->rcv_up == seq;
}

/** cftcp_urgent_passed() - the user has read on; lock held */
static inline void cftcp_urgent_passed(struct cftcp_sock *cs)
{
	if (cs->urg_marked && cftcp_after(cs->copied_seq, cs->rcv_up))
		cs->urg_marked = 0;
}

/** cftcp_urgent_mark() - send(MSG_OOB): all that is queued is urgent */
static inline void cftcp_urgent_mark(struct cftcp_sock *cs)
{
	cs->snd_up = cs->write_seq;
	cs->urgent_mode = 1;
}

/** cftcp_urgent_acked() - SND.UNA may have passed SND.UP; lock held */
static inline void cftcp_urgent_acked(struct cftcp_sock *cs)
{
	if (cs->urgent_mode && !cftcp_after(cs->snd_up, cs->snd_una))
		cs->urgent_mode = 0;
}

/**
 * cftcp_urgent_pointer() - what a segment of ours points to
 * @cs: the socket, lock held
 * @seq: SEG.SEQ
 *
 * Return: octets from @seq on to after the urgent data; 0 for no URG.
 */
u16 cftcp_urgent_pointer(const struct cftcp_sock *cs, u32 seq);

#endif
