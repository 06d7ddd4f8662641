/* SPDX-License-Identifier: GPL-2.0 */
/* Whose memory it is: which memory cgroup pays for what a segment makes. */
#ifndef _CFTCP_CHARGE_H
#define _CFTCP_CHARGE_H

#include <linux/gfp.h>
#include <linux/sched/mm.h>
#include <net/sock.h>

/*
 * For records and sockets that a segment makes. Not GFP_ATOMIC, by which a
 * cgroup's limit does not hold; a remote fills no log when there is no memory.
 */
#define CFTCP_GFP	(GFP_NOWAIT | __GFP_NOWARN | __GFP_ACCOUNT)

/**
 * cftcp_charge_begin() - from here on the socket's cgroup pays
 * @sk: the socket, or the listener
 *
 * For what is allocated with __GFP_ACCOUNT or from a cache of ours. Without it
 * nobody pays for what softirq allocates, and else who happens to run. For a
 * socket of the root cgroup it is as without.
 *
 * Context: any but hard irq; to be ended before anything sleeps.
 * Return: for cftcp_charge_end().
 */
static inline struct mem_cgroup *cftcp_charge_begin(const struct sock *sk)
{
#ifdef CONFIG_MEMCG
	return set_active_memcg(sk->sk_memcg);
#else
	return NULL;
#endif
}

/** cftcp_charge_end() - and here it ends; @old is what it began with */
static inline void cftcp_charge_end(struct mem_cgroup *old)
{
	set_active_memcg(old);
}

/**
 * cftcp_charge_inherit() - a child's memory is its listener's, until accepted
 * @sk: the child, fresh
 * @lsk: the listener
 *
 * Context: any but hard irq.
 */
void cftcp_charge_inherit(struct sock *sk, const struct sock *lsk);
/**
 * cftcp_charge_accept() - who accepts a connection pays for what it holds
 * @sk: the child, lock held
 *
 * Where there is no room in that cgroup, or with cgroups of version 1, its
 * listener's goes on to pay.
 *
 * Context: process.
 */
void cftcp_charge_accept(struct sock *sk);

#endif
