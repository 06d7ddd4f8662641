// SPDX-License-Identifier: GPL-2.0
#include <linux/rhashtable.h>
#include <linux/siphash.h>
#include <linux/tcp.h>
#include <net/inet_sock.h>
#include <net/sock_reuseport.h>

#include "af.h"
#include "hash.h"
#include "netns.h"
#include "sock.h"

static hsiphash_key_t hash_key __read_mostly;

/* Keyed, so that a remote cannot choose tuples that share a chain. */
static u32 key_hash(const void *data, u32 len, u32 seed)
{
	net_get_random_once(&hash_key, sizeof(hash_key));
	return hsiphash(data, len, &hash_key) ^ seed;
}

static const struct rhashtable_params params = {
	.key_len = sizeof(struct cftcp_key),
	.key_offset = offsetof(struct cftcp_entry, key),
	.head_offset = offsetof(struct cftcp_entry, node),
	.hashfn = key_hash,
	.automatic_shrinking = true,
};

int cftcp_hash_init(struct cftcp_net *cn)
{
	hash_init(cn->listeners);
	spin_lock_init(&cn->listen_lock);
	return rhashtable_init(&cn->connections, &params);
}

void cftcp_hash_exit(struct cftcp_net *cn)
{
	WARN_ON_ONCE(atomic_read(&cn->connections.nelems));
	rhashtable_destroy(&cn->connections);
}

struct cftcp_entry *cftcp_lookup(struct cftcp_net *cn,
				 const struct cftcp_key *key)
{
	return rhashtable_lookup(&cn->connections, key, params);
}

int cftcp_hash_insert(struct cftcp_net *cn, struct cftcp_entry *entry)
{
	int err;

	err = rhashtable_lookup_insert_fast(&cn->connections, &entry->node,
					    params);
	if (err == -EEXIST)
		return -EADDRINUSE;
	return err ? -ENOMEM : 0;
}

bool cftcp_hash_replace(struct cftcp_net *cn, struct cftcp_entry *old,
			struct cftcp_entry *new)
{
	return !rhashtable_replace_fast(&cn->connections, &old->node,
					&new->node, params);
}

bool cftcp_hash_remove(struct cftcp_net *cn, struct cftcp_entry *entry)
{
	return !rhashtable_remove_fast(&cn->connections, &entry->node, params);
}

static int score(const struct sock *sk, const struct in6_addr *addr, int dif,
		 int sdif)
{
	struct cftcp_local local = cftcp_local_of(sk);

	if (!cftcp_local_covers(&local, addr) ||
	    !inet_sk_bound_dev_eq(sock_net(sk), sk->sk_bound_dev_if, dif, sdif))
		return 0;
	return 1 + 4 * !cftcp_local_is_any(&local) + 2 * !!sk->sk_bound_dev_if +
	       (sk->sk_family == AF_INET);
}

struct sock *cftcp_lookup_listener(struct cftcp_net *cn,
				   const struct in6_addr *addr, __be16 port,
				   int dif, int sdif)
{
	u16 num = ntohs(port);
	struct sock *best = NULL;
	struct cftcp_sock *cs;
	int best_points = 0;

	hash_for_each_possible_rcu(cn->listeners, cs, listen_node, num) {
		struct sock *sk = cftcp_to_sk(cs);
		int points;

		if (cs->inet.inet_num != num)
			continue;
		points = score(sk, addr, dif, sdif);
		if (points > best_points) {
			best = sk;
			best_points = points;
		}
	}
	return best;
}

struct sock *cftcp_listener_of_group(struct sock *lsk,
				     const struct cftcp_key *key,
				     struct sk_buff *skb)
{
	struct sock *chosen = NULL;

	if (rcu_access_pointer(lsk->sk_reuseport_cb))
		chosen = reuseport_select_sock(lsk,
					       key_hash(key, sizeof(*key), 0),
					       skb, tcp_hdrlen(skb));
	return chosen ?: lsk;
}

static bool of_one_group(const struct sock *a, const struct sock *b)
{
	struct cftcp_local la = cftcp_local_of(a), lb = cftcp_local_of(b);

	return inet_sk(a)->inet_num == inet_sk(b)->inet_num &&
	       a->sk_reuseport && b->sk_reuseport &&
	       uid_eq(a->sk_uid, b->sk_uid) && a->sk_family == b->sk_family &&
	       a->sk_bound_dev_if == b->sk_bound_dev_if &&
	       ipv6_addr_equal(&la.addr, &lb.addr) && la.v6only == lb.v6only;
}

static int join_group(struct cftcp_net *cn, struct sock *sk)
{
	struct cftcp_local local = cftcp_local_of(sk);
	bool any = cftcp_local_is_any(&local);
	struct cftcp_sock *other;

	if (!sk->sk_reuseport)
		return 0;
	hash_for_each_possible(cn->listeners, other, listen_node,
			       inet_sk(sk)->inet_num)
		if (of_one_group(sk, cftcp_to_sk(other)))
			return reuseport_add_sock(sk, cftcp_to_sk(other), any);
	return reuseport_alloc(sk, any);
}

int cftcp_listener_add(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	int err;

	spin_lock_bh(&cn->listen_lock);
	err = join_group(cn, sk);
	if (!err)
		hash_add_rcu(cn->listeners, &cftcp_sk(sk)->listen_node,
			     inet_sk(sk)->inet_num);
	spin_unlock_bh(&cn->listen_lock);
	return err;
}

void cftcp_listener_del(struct sock *sk)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);

	spin_lock_bh(&cn->listen_lock);
	hash_del_rcu(&cftcp_sk(sk)->listen_node);
	if (rcu_access_pointer(sk->sk_reuseport_cb))
		reuseport_detach_sock(sk);
	spin_unlock_bh(&cn->listen_lock);
}
