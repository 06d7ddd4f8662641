// SPDX-License-Identifier: GPL-2.0
#include <linux/rhashtable.h>
#include <linux/siphash.h>
#include <linux/tcp.h>
#include <net/inet_sock.h>
#include <net/sock_reuseport.h>

#include "af.h"
#include "hash.h"
#include "listen.h"
#include "netns.h"
#include "sock.h"
#include "timewait.h"

static hsiphash_key_t hash_key __read_mostly;

/**
 * struct wanted - what a look-up compares with
 * @key: the 4-tuple
 * @hash: its hash
 */
struct wanted {
	const struct cftcp_key *key;
	u32 hash;
};

/* Keyed, so that a remote cannot choose tuples that share a chain. */
static u32 hash_of(const struct cftcp_key *key)
{
	const __be32 *l = key->laddr.s6_addr32, *f = key->faddr.s6_addr32;
	u32 ports = (__force u32)key->lport << 16 | (__force u32)key->fport;

	net_get_random_once(&hash_key, sizeof(hash_key));
	if (ipv6_addr_v4mapped(&key->faddr))
		return hsiphash_4u32((__force u32)l[3], (__force u32)f[3],
				     ports, key->scope, &hash_key);
	return hsiphash(key, sizeof(*key), &hash_key);
}

static struct wanted want(const struct cftcp_key *key)
{
	return (struct wanted) { .key = key, .hash = hash_of(key) };
}

static u32 wanted_hash(const void *wanted, u32 len, u32 seed)
{
	return ((const struct wanted *)wanted)->hash ^ seed;
}

static u32 entry_hash(const void *entry, u32 len, u32 seed)
{
	return ((const struct cftcp_entry *)entry)->hash ^ seed;
}

struct cftcp_key cftcp_entry_key(const struct cftcp_entry *entry)
{
	switch (entry->kind) {
	case CFTCP_KIND_SOCK:
		return container_of(entry, struct cftcp_sock, entry)->key;
	case CFTCP_KIND_REQUEST:
		return container_of(entry, struct cftcp_request, entry)->key;
	}
	return cftcp_time_wait_key(container_of(entry, struct cftcp_time_wait,
						entry));
}

/* Returns 0 when they are alike. */
static int compare(struct rhashtable_compare_arg *arg, const void *obj)
{
	const struct wanted *wanted = arg->key;
	const struct cftcp_entry *entry = obj;
	struct cftcp_key key;

	if (entry->hash != wanted->hash)
		return 1;
	key = cftcp_entry_key(entry);
	return memcmp(&key, wanted->key, sizeof(key));
}

static const struct rhashtable_params params = {
	.head_offset = offsetof(struct cftcp_entry, node),
	.hashfn = wanted_hash,
	.obj_hashfn = entry_hash,
	.obj_cmpfn = compare,
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
	struct wanted wanted = want(key);

	return rhashtable_lookup(&cn->connections, &wanted, params);
}

int cftcp_hash_insert(struct cftcp_net *cn, struct cftcp_entry *entry,
		      const struct cftcp_key *key)
{
	struct wanted wanted = want(key);
	int err;

	entry->hash = wanted.hash;
	err = rhashtable_lookup_insert_key(&cn->connections, &wanted,
					   &entry->node, params);
	if (err == -EEXIST)
		return -EADDRINUSE;
	return err ? -ENOMEM : 0;
}

bool cftcp_hash_replace(struct cftcp_net *cn, struct cftcp_entry *old,
			struct cftcp_entry *new)
{
	new->hash = old->hash;
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
		chosen = reuseport_select_sock(lsk, hash_of(key), skb,
					       tcp_hdrlen(skb));
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
