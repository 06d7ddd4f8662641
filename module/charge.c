// SPDX-License-Identifier: GPL-2.0
#include <linux/cgroup.h>
#include <linux/memcontrol.h>

#include "charge.h"
#include "sock.h"

#ifdef CONFIG_MEMCG
void cftcp_charge_inherit(struct sock *sk, const struct sock *lsk)
{
	struct mem_cgroup *memcg = lsk->sk_memcg;

	if (memcg && !sk->sk_memcg && css_tryget(&memcg->css))
		sk->sk_memcg = memcg;
}

/* Who pays for a socket of this process: held, or NULL for the root. What the
 * kernel has for this is not for modules.
 */
static struct mem_cgroup *of_process(void)
{
	struct mem_cgroup *memcg;

	rcu_read_lock();
	memcg = mem_cgroup_from_task(current);
	if (!memcg->css.parent || !css_tryget(&memcg->css))
		memcg = NULL;
	rcu_read_unlock();
	return memcg;
}

/* Charge what the socket holds to @to instead. Both pay for a moment. */
static bool move(struct sock *sk, struct mem_cgroup *to)
{
	struct mem_cgroup *from = sk->sk_memcg;
	int held = (sk->sk_forward_alloc + sk->sk_wmem_queued +
		    atomic_read(&sk->sk_rmem_alloc)) & PAGE_MASK;

	/* What waits there is in sk_rmem_alloc, but nobody was charged for it. */
	if (!skb_queue_empty(&sk->sk_error_queue))
		return false;
	sk->sk_memcg = to;
	if (!held)
		return true;
	if (!__sk_mem_schedule(sk, held, SK_MEM_RECV)) {
		sk->sk_memcg = from;
		return false;
	}
	sk->sk_memcg = from;
	__sk_mem_reclaim(sk, held);
	sk->sk_memcg = to;
	return true;
}

void cftcp_charge_accept(struct sock *sk)
{
	struct mem_cgroup *from = sk->sk_memcg, *to;

	cftcp_assert_held(sk);
	if (!mem_cgroup_sockets_enabled ||
	    !cgroup_subsys_on_dfl(memory_cgrp_subsys))
		return;
	to = of_process();
	if (to != from && move(sk, to))
		swap(from, to);
	/* Here @to is whom the socket does not count in. */
	if (to)
		css_put(&to->css);
}
#else
void cftcp_charge_inherit(struct sock *sk, const struct sock *lsk)
{
}

void cftcp_charge_accept(struct sock *sk)
{
}
#endif
