/* SPDX-License-Identifier: GPL-2.0 */
/*
 * When a segment may leave: by what of the socket is still below us, in queues
 * of this machine, and by the pacing rate.
 */
#ifndef _CFTCP_EGRESS_H
#define _CFTCP_EGRESS_H

#include <linux/llist.h>
#include <linux/types.h>

struct sock;

/**
 * struct cftcp_egress - what holds text back
 * @flags: EGRESS_* bits (egress.c), any context
 * @node: link in a CPU's list of sockets that have room again
 * @limit: octets of memory that may be below us, about 1 ms of what leaves
 * @half_at: ns, when the first of the half of @limit left that is under way;
 *	0 when hardly anything is below us
 * @before_at: ns, the same of the half before; 0 when it has told the rate
 * @half: octets of that half that have left
 * @fast: what left last was below for a short time
 * @late_ns: how much later than the pacing rate wants segments have left
 * @paced_at: ns, when the next one may
 * @refused_until: ns, when to try again after a queue was full, or 0
 */
struct cftcp_egress {
	unsigned long flags;
	struct llist_node node;
	u32 limit;
	bool fast;
	u32 half;
	u32 late_ns;
	u64 half_at;
	u64 before_at;
	u64 paced_at;
	u64 refused_until;
};

/** cftcp_egress_init() - nothing was sent yet; lock held or not visible */
void cftcp_egress_init(struct sock *sk);
/**
 * cftcp_egress_room() - how many octets of text may leave now
 * @sk: the socket, lock held
 * @mss: payload of a full segment
 *
 * When none may, cftcp_egress_resume() is called as soon as that changes.
 *
 * Return: a multiple of @mss, 0 for none.
 */
u32 cftcp_egress_room(struct sock *sk, u32 mss);
/** cftcp_egress_sent() - @len octets left in segments of @mss; lock held */
void cftcp_egress_sent(struct sock *sk, u32 len, u32 mss);
/** cftcp_egress_refused() - the queue below was full; lock held */
void cftcp_egress_refused(struct sock *sk);
/**
 * cftcp_egress_freed() - something of the socket is below us no more
 * @sk: the socket, alive by what sk_wmem_alloc still counts
 *
 * Context: any, within locks of a queue.
 */
void cftcp_egress_freed(struct sock *sk);
/** cftcp_egress_resume() - go on with what was held back; lock held */
void cftcp_egress_resume(struct sock *sk);
/** cftcp_egress_rate() - octets a second, ~0UL for no limit; any context */
unsigned long cftcp_egress_rate(const struct sock *sk);

/** cftcp_egress_start() - before there are sockets. Context: process */
void cftcp_egress_start(void);
/** cftcp_egress_stop() - after the last socket. Context: process */
void cftcp_egress_stop(void);

#endif
