// SPDX-License-Identifier: GPL-2.0
#include <linux/mutex.h>
#include <linux/netfilter.h>
#include <linux/netfilter_bridge.h>
#include <net/dst.h>

#include "demux.h"
#include "early.h"
#include "netns.h"
#include "sock.h"

void cftcp_early_drop(struct sk_buff *skb)
{
	sock_put(skb->sk);
}

/* Under RCU, without a reference. */
static struct dst_entry *valid_route(const struct sock *sk,
				     const struct sk_buff *skb)
{
	struct dst_entry *dst = rcu_dereference(sk->sk_rx_dst);

	if (!dst || READ_ONCE(sk->sk_rx_dst_ifindex) != skb->skb_iif)
		return NULL;
	if (dst->obsolete &&
	    !dst->ops->check(dst, READ_ONCE(sk->sk_rx_dst_cookie)))
		return NULL;
	return dst;
}

/* A bridge runs these hooks too, for what it may only pass on. */
static bool on_bridge(const struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_BRIDGE_NETFILTER)
	return nf_bridge_info_exists(skb);
#else
	return false;
#endif
}

void cftcp_early(struct sk_buff *skb, struct cftcp_arrival *arrival)
{
	struct dst_entry *dst;
	struct sock *sk;

	/* Who sends a SYN has no connection yet. */
	if (tcp_hdr(skb)->syn || on_bridge(skb))
		return;
	sk = cftcp_demux_sock(arrival);
	if (!sk)
		return;
	dst = valid_route(sk, skb);
	if (!dst || !refcount_inc_not_zero(&sk->sk_refcnt))
		return;
	skb_dst_set_noref(skb, dst);
	skb->sk = sk;
	skb->destructor = cftcp_early_drop;
}

void cftcp_early_keep(struct sock *sk, const struct sk_buff *skb)
{
	struct dst_entry *dst = skb_dst(skb), *old;

	cftcp_assert_held(sk);
	/* cftcp_early_forget() was the last to look. */
	if (sk->sk_state == TCP_CLOSE)
		return;
	if (dst == rcu_access_pointer(sk->sk_rx_dst) || !dst ||
	    !dst_hold_safe(dst))
		return;
	old = rcu_replace_pointer(sk->sk_rx_dst, dst, lockdep_sock_is_held(sk));
	WRITE_ONCE(sk->sk_rx_dst_ifindex, skb->skb_iif);
	WRITE_ONCE(sk->sk_rx_dst_cookie, cftcp_sk(sk)->af->route_cookie(dst));
	dst_release(old);
}

void cftcp_early_forget(struct sock *sk)
{
	dst_release(rcu_replace_pointer(sk->sk_rx_dst, NULL,
					lockdep_sock_is_held(sk)));
}

#if IS_ENABLED(CONFIG_NETFILTER)
/* Last, for what comes before may send the packet elsewhere. */
static const struct nf_hook_ops hooks[] = {
	{
		.hook = cftcp_ipv4_early, .pf = NFPROTO_IPV4,
		.hooknum = NF_INET_PRE_ROUTING, .priority = INT_MAX,
	},
#if IS_ENABLED(CONFIG_IPV6)
	{
		.hook = cftcp_ipv6_early, .pf = NFPROTO_IPV6,
		.hooknum = NF_INET_PRE_ROUTING, .priority = INT_MAX,
	},
#endif
};

static DEFINE_MUTEX(start_lock);

void cftcp_early_start(struct cftcp_net *cn)
{
	if (READ_ONCE(cn->early))
		return;
	mutex_lock(&start_lock);
	if (!cn->early &&
	    !nf_register_net_hooks(cn->net, hooks, ARRAY_SIZE(hooks)))
		WRITE_ONCE(cn->early, true);
	mutex_unlock(&start_lock);
}

void cftcp_early_stop(struct cftcp_net *cn)
{
	if (cn->early)
		nf_unregister_net_hooks(cn->net, hooks, ARRAY_SIZE(hooks));
}
#else
void cftcp_early_start(struct cftcp_net *cn)
{
}

void cftcp_early_stop(struct cftcp_net *cn)
{
}
#endif
