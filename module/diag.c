// SPDX-License-Identifier: GPL-2.0
#include <linux/inet_diag.h>
#include <linux/kmod.h>
#include <linux/module.h>
#include <linux/sock_diag.h>
#include <net/inet_timewait_sock.h>
#include <net/netlink.h>

#include "compat.h"
#include "diag.h"
#include "listen.h"
#include "netns.h"
#include "opt.h"
#include "sock.h"
#include "timewait.h"

/*
 * inet_diag may be a module that is not there, or not loaded by insmod: its
 * functions are looked up, and cftcp goes on without them.
 */
static struct {
	typeof(inet_diag_register) *add;
	typeof(inet_diag_unregister) *del;
	int (*fill)(struct sock *sk, struct inet_connection_sock *icsk,
		    struct sk_buff *skb, struct netlink_callback *cb,
		    const struct inet_diag_req_v2 *req, u16 nlmsg_flags,
		    bool net_admin);
	int (*passes)(const struct nlattr *bc, struct sock *sk);
} stock;

/* How idiag_timer calls the timers. */
enum { DIAG_RETRANSMIT = 1, DIAG_OTHER, DIAG_TIME_WAIT, DIAG_PROBE };

/**
 * struct answer - a message of a dump, or the only one
 * @skb: where to
 * @cb: the request, as netlink keeps it
 * @req: what is asked for
 * @flags: NLM_F_*
 * @net_admin: the asker has CAP_NET_ADMIN
 */
struct answer {
	struct sk_buff *skb;
	struct netlink_callback *cb;
	const struct inet_diag_req_v2 *req;
	u16 flags;
	bool net_admin;
};

/*
 * Filling messages. Under RCU, and without a lock, as /proc reads.
 */

static u32 ms_until(u64 at_ns)
{
	u64 now = ktime_get_ns();

	return at_ns > now ? div_u64(at_ns - now, NSEC_PER_MSEC) : 0;
}

static void fill_timer(const struct sock *sk, struct inet_diag_msg *msg)
{
	static const struct {
		enum cftcp_timer_id id;
		int shown;
	} timers[] = {
		{ CFTCP_TIMER_RTO, DIAG_RETRANSMIT },
		{ CFTCP_TIMER_REORDER, DIAG_RETRANSMIT },
		{ CFTCP_TIMER_PROBE, DIAG_RETRANSMIT },
		{ CFTCP_TIMER_PERSIST, DIAG_PROBE },
		{ CFTCP_TIMER_FIN_WAIT2, DIAG_OTHER },
		{ CFTCP_TIMER_USER, DIAG_OTHER },
		{ CFTCP_TIMER_KEEPALIVE, DIAG_OTHER },
	};

	for (int i = 0; i < ARRAY_SIZE(timers); i++) {
		u64 at = READ_ONCE(cftcp_sk(sk)->timer.at[timers[i].id]);

		if (!at)
			continue;
		msg->idiag_timer = timers[i].shown;
		msg->idiag_retrans = cftcp_sk(sk)->backoff;
		msg->idiag_expires = ms_until(at);
		return;
	}
}

/* inet_sk_diag_fill() has filled what every inet socket has. */
static void get_info(struct sock *sk, struct inet_diag_msg *msg, void *info)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	if (inet_sk_state_load(sk) == TCP_LISTEN) {
		msg->idiag_rqueue = READ_ONCE(cs->listen.accepts);
		msg->idiag_wqueue = READ_ONCE(cs->listen.backlog);
	} else {
		/* A FIN may come in between. */
		msg->idiag_rqueue = max_t(int, cftcp_unread(cs), 0);
		msg->idiag_wqueue = cs->write_seq - cs->snd_una;
		fill_timer(sk, msg);
	}
	if (info)
		cftcp_fill_info(sk, info);
}

static int fill_sock(const struct answer *to, struct sock *sk)
{
	struct nlmsghdr *nlh = (void *)skb_tail_pointer(to->skb);
	struct nlattr *info;
	int err;

	err = stock.fill(sk, NULL, to->skb, to->cb, to->req, to->flags,
			 to->net_admin);
	if (err || !(to->req->idiag_ext & 1 << (INET_DIAG_INFO - 1)))
		return err;
	info = nla_reserve_64bit(to->skb, INET_DIAG_INFO,
				 sizeof(struct tcp_info), INET_DIAG_PAD);
	if (!info) {
		nlmsg_cancel(to->skb, nlh);
		return -EMSGSIZE;
	}
	cftcp_fill_info(sk, nla_data(info));
	nlmsg_end(to->skb, nlh);
	return 0;
}

static void fill_key(struct inet_diag_msg *msg, const struct cftcp_entry *entry)
{
	struct cftcp_key key = cftcp_entry_key(entry);
	int from = entry->family == AF_INET ? 3 : 0;

	msg->idiag_family = entry->family;
	msg->id.idiag_sport = key.lport;
	msg->id.idiag_dport = key.fport;
	memcpy(msg->id.idiag_src, &key.laddr.s6_addr32[from], 16 - 4 * from);
	memcpy(msg->id.idiag_dst, &key.faddr.s6_addr32[from], 16 - 4 * from);
	/* No counter is spent on what is not a socket. */
	msg->id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	msg->id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

/* What is no full socket has a key, a timer, and little else. */
static int fill_record(const struct answer *to, const struct cftcp_entry *entry)
{
	const struct nlmsghdr *asked = to->cb->nlh;
	const struct cftcp_time_wait *tw;
	const struct cftcp_request *req;
	struct inet_diag_msg *msg;
	struct nlmsghdr *nlh;

	nlh = nlmsg_put(to->skb, NETLINK_CB(to->cb->skb).portid,
			asked->nlmsg_seq, asked->nlmsg_type, sizeof(*msg),
			to->flags);
	if (!nlh)
		return -EMSGSIZE;
	msg = nlmsg_data(nlh);
	memset(msg, 0, sizeof(*msg));
	fill_key(msg, entry);
	if (entry->kind == CFTCP_KIND_TIME_WAIT) {
		tw = container_of(entry, struct cftcp_time_wait, entry);
		msg->idiag_state = TCP_TIME_WAIT;
		msg->idiag_timer = DIAG_TIME_WAIT;
		msg->idiag_expires = ms_until(READ_ONCE(tw->due.expires));
		msg->id.idiag_if = tw->oif;
	} else {
		req = container_of(entry, struct cftcp_request, entry);
		msg->idiag_state = TCP_SYN_RECV;
		msg->idiag_timer = DIAG_RETRANSMIT;
		msg->idiag_retrans = req->rexmits;
		msg->idiag_expires = ms_until(READ_ONCE(req->due.expires));
		msg->id.idiag_if = req->iif;
	}
	nlmsg_end(to->skb, nlh);
	return 0;
}

static struct sock *sock_of(struct cftcp_entry *entry)
{
	return cftcp_to_sk(container_of(entry, struct cftcp_sock, entry));
}

static int fill(const struct answer *to, struct cftcp_entry *entry)
{
	return entry->kind == CFTCP_KIND_SOCK ? fill_sock(to, sock_of(entry)) :
						fill_record(to, entry);
}

/*
 * Dumping all that fits.
 */

/* The kernel's filters look at sockets: dress a record as its own records. */
static bool record_passes(const struct nlattr *filter,
			  const struct cftcp_entry *entry)
{
	struct inet_timewait_sock tw = { .tw_family = entry->family };
	struct cftcp_key key = cftcp_entry_key(entry);

	tw.tw_state = TCP_TIME_WAIT;
	tw.tw_num = ntohs(key.lport);
	tw.tw_dport = key.fport;
	if (entry->family == AF_INET) {
		tw.tw_rcv_saddr = key.laddr.s6_addr32[3];
		tw.tw_daddr = key.faddr.s6_addr32[3];
#if IS_ENABLED(CONFIG_IPV6)
	} else {
		tw.tw_v6_rcv_saddr = key.laddr;
		tw.tw_v6_daddr = key.faddr;
#endif
	}
	return stock.passes(filter, (struct sock *)&tw);
}

static int state_of(const struct cftcp_entry *entry)
{
	switch (entry->kind) {
	case CFTCP_KIND_TIME_WAIT:
		return TCP_TIME_WAIT;
	case CFTCP_KIND_REQUEST:
		return TCP_SYN_RECV;
	}
	return inet_sk_state_load(sock_of((struct cftcp_entry *)entry));
}

static bool asked_for(const struct answer *to, struct cftcp_entry *entry)
{
	const struct inet_diag_dump_data *data = to->cb->data;
	const struct nlattr *filter = data->inet_diag_nla_bc;
	const struct inet_diag_req_v2 *req = to->req;
	struct cftcp_key key = cftcp_entry_key(entry);
	__be16 lport = key.lport;

	/* A listener has no key. */
	if (entry->kind == CFTCP_KIND_SOCK)
		lport = inet_sk(sock_of(entry))->inet_sport;
	if (!(req->idiag_states & 1 << state_of(entry)) ||
	    (req->sdiag_family != AF_UNSPEC &&
	     req->sdiag_family != entry->family) ||
	    (req->id.idiag_sport && req->id.idiag_sport != lport) ||
	    (req->id.idiag_dport && req->id.idiag_dport != key.fport))
		return false;
	return entry->kind == CFTCP_KIND_SOCK ?
		stock.passes(filter, sock_of(entry)) :
		record_passes(filter, entry);
}

/* Where a dump goes on: cb->args. */
enum { LISTENERS_DONE, CONNECTIONS_DONE, SLOT, SKIP };

static bool dump_listeners(struct cftcp_net *cn, const struct answer *to)
{
	long *args = to->cb->args, n = 0;
	struct cftcp_sock *cs;
	int bucket;

	hash_for_each_rcu(cn->listeners, bucket, cs, listen_node) {
		if (n++ < args[LISTENERS_DONE])
			continue;
		if (asked_for(to, &cs->entry) && fill(to, &cs->entry))
			return false;
		args[LISTENERS_DONE]++;
	}
	return true;
}

static void dump_connections(struct cftcp_net *cn, const struct answer *to)
{
	long *args = to->cb->args;
	struct rhashtable_iter iter;
	struct cftcp_entry *entry;

	rhashtable_walk_enter(&cn->connections, &iter);
	iter.slot = args[SLOT];
	iter.skip = args[SKIP];
	rhashtable_walk_start(&iter);
	for (entry = rhashtable_walk_peek(&iter); entry;
	     entry = rhashtable_walk_next(&iter)) {
		/* The table was resized: it begins anew. */
		if (IS_ERR(entry))
			continue;
		if (asked_for(to, entry) && fill(to, entry))
			break;
	}
	args[CONNECTIONS_DONE] = !entry;
	args[SLOT] = iter.slot;
	args[SKIP] = iter.skip;
	rhashtable_walk_stop(&iter);
	rhashtable_walk_exit(&iter);
}

static void dump(struct sk_buff *skb, struct netlink_callback *cb,
		 const struct inet_diag_req_v2 *req)
{
	struct cftcp_net *cn = cftcp_net(sock_net(skb->sk));
	const struct answer to = {
		.skb = skb, .cb = cb, .req = req, .flags = NLM_F_MULTI,
		.net_admin = netlink_net_capable(cb->skb, CAP_NET_ADMIN),
	};
	bool all;

	rcu_read_lock();
	all = dump_listeners(cn, &to);
	rcu_read_unlock();
	if (all && !cb->args[CONNECTIONS_DONE])
		dump_connections(cn, &to);
}

/*
 * One connection or listener.
 */

static struct cftcp_key key_of(const struct inet_diag_req_v2 *req)
{
	struct cftcp_key key = {
		.lport = req->id.idiag_sport, .fport = req->id.idiag_dport,
	};

	if (req->sdiag_family == AF_INET) {
		ipv6_addr_set_v4mapped(req->id.idiag_src[0], &key.laddr);
		ipv6_addr_set_v4mapped(req->id.idiag_dst[0], &key.faddr);
	} else {
		memcpy(&key.laddr, req->id.idiag_src, sizeof(key.laddr));
		memcpy(&key.faddr, req->id.idiag_dst, sizeof(key.faddr));
	}
	cftcp_key_set_scope(&key, req->id.idiag_if, 0);
	return key;
}

static bool cookie_fits(struct cftcp_entry *entry, const u32 *cookie)
{
	if (entry->kind == CFTCP_KIND_SOCK)
		return !sock_diag_check_cookie(sock_of(entry), cookie);
	return cookie[0] == INET_DIAG_NOCOOKIE &&
	       cookie[1] == INET_DIAG_NOCOOKIE;
}

/* Under RCU, without a reference. */
static struct cftcp_entry *find(struct net *net,
				const struct inet_diag_req_v2 *req)
{
	struct cftcp_net *cn = cftcp_net(net);
	struct cftcp_key key = key_of(req);
	struct cftcp_entry *entry = cftcp_lookup(cn, &key);
	struct sock *lsk;

	if (!entry) {
		lsk = cftcp_lookup_listener(cn, &key.laddr, key.lport,
					    req->id.idiag_if, 0);
		entry = lsk ? &cftcp_sk(lsk)->entry : NULL;
	}
	return entry && cookie_fits(entry, req->id.idiag_cookie) ? entry : NULL;
}

static int dump_one(struct netlink_callback *cb,
		    const struct inet_diag_req_v2 *req)
{
	struct net *net = sock_net(cb->skb->sk);
	struct answer to = {
		.cb = cb, .req = req,
		.net_admin = netlink_net_capable(cb->skb, CAP_NET_ADMIN),
	};
	struct cftcp_entry *entry;
	int err = -ENOENT;

	to.skb = nlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!to.skb)
		return -ENOMEM;
	rcu_read_lock();
	entry = find(net, req);
	if (entry)
		err = fill(&to, entry);
	rcu_read_unlock();
	if (err) {
		nlmsg_free(to.skb);
		return err;
	}
	return nlmsg_unicast(net->diag_nlsk, to.skb,
			     NETLINK_CB(cb->skb).portid);
}

#ifdef CONFIG_INET_DIAG_DESTROY
static int destroy_record(struct net *net, struct cftcp_entry *entry)
{
	if (!ns_capable(net->user_ns, CAP_NET_ADMIN))
		return -EPERM;
	if (entry->kind == CFTCP_KIND_TIME_WAIT)
		cftcp_time_wait_cancel(container_of(entry,
						    struct cftcp_time_wait,
						    entry));
	else
		cftcp_request_cancel(container_of(entry, struct cftcp_request,
						  entry));
	return 0;
}

static int destroy(struct sk_buff *in_skb, const struct inet_diag_req_v2 *req)
{
	struct net *net = sock_net(in_skb->sk);
	struct cftcp_entry *entry;
	struct sock *sk = NULL;
	int err = -ENOENT;

	rcu_read_lock();
	entry = find(net, req);
	if (entry && entry->kind != CFTCP_KIND_SOCK)
		err = destroy_record(net, entry);
	else if (entry && refcount_inc_not_zero(&sock_of(entry)->sk_refcnt))
		sk = sock_of(entry);
	rcu_read_unlock();
	if (sk) {
		err = sock_diag_destroy(sk, ECONNABORTED);
		sock_put(sk);
	}
	return err;
}
#endif

static const struct inet_diag_handler handler = {
	CFTCP_DIAG_OWNER
	.dump			= dump,
	.dump_one		= dump_one,
	.idiag_get_info		= get_info,
#ifdef CONFIG_INET_DIAG_DESTROY
	.destroy		= destroy,
#endif
	.idiag_type		= IPPROTO_CFTCP,
	.idiag_info_size	= sizeof(struct tcp_info),
};

static void put_functions(void)
{
	if (stock.add)
		symbol_put(inet_diag_register);
	if (stock.del)
		symbol_put(inet_diag_unregister);
	if (stock.fill)
		symbol_put(inet_sk_diag_fill);
	if (stock.passes)
		symbol_put(inet_diag_bc_sk);
	memset(&stock, 0, sizeof(stock));
}

static bool get_functions(void)
{
	stock.add = symbol_get(inet_diag_register);
	stock.del = symbol_get(inet_diag_unregister);
	stock.fill = symbol_get(inet_sk_diag_fill);
	stock.passes = symbol_get(inet_diag_bc_sk);
	return stock.add && stock.del && stock.fill && stock.passes;
}

void cftcp_diag_register(void)
{
	request_module("inet_diag");
	if (!get_functions() || stock.add(&handler))
		put_functions();
}

void cftcp_diag_unregister(void)
{
	if (stock.del)
		stock.del(&handler);
	put_functions();
}
