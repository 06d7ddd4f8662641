/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The lookup tables: connections by 4-tuple, listeners by port. Lookups are
 * RCU; every kind of entry is freed after a grace period.
 */
#ifndef _CFTCP_HASH_H
#define _CFTCP_HASH_H

#include <linux/in6.h>
#include <linux/rhashtable-types.h>
#include <linux/types.h>
#include <net/net_namespace.h>

struct cftcp_net;
struct cftcp_sock;
struct sk_buff;
struct sock;

/**
 * struct cftcp_key - the 4-tuple, as this host sees it
 * @laddr: local address; IPv4's are mapped (::ffff:a.b.c.d)
 * @faddr: foreign address
 * @lport: local port
 * @fport: foreign port
 * @scope: device that link-local addresses belong to, or the VRF; else 0
 *
 * Compared as bytes, so it has no padding.
 */
struct cftcp_key {
	struct in6_addr laddr;
	struct in6_addr faddr;
	__be16 lport;
	__be16 fport;
	int scope;
};

static_assert(sizeof(struct cftcp_key) == 40);

/** enum cftcp_kind - what an entry of the connection table is embedded in */
enum cftcp_kind {
	CFTCP_KIND_SOCK,	/* struct cftcp_sock: a full socket */
	CFTCP_KIND_REQUEST,	/* struct cftcp_request: SYN-RECEIVED */
	CFTCP_KIND_TIME_WAIT,	/* struct cftcp_time_wait */
};

/**
 * struct cftcp_entry - head of everything in the connection table
 * @node: link in cftcp_net.connections
 * @hash: of the 4-tuple, which the embedding structure holds
 * @kind: which structure embeds it
 * @family: of the socket, AF_INET or AF_INET6; the latter also carries IPv4
 */
struct cftcp_entry {
	struct rhash_head node;
	u32 hash;
	u8 kind;
	u8 family;
};

/** cftcp_entry_key() - the 4-tuple of an entry; none of a listener's */
struct cftcp_key cftcp_entry_key(const struct cftcp_entry *entry);

/**
 * cftcp_hash_init() - set up both tables of a namespace
 * @cn: the namespace
 *
 * Context: process.
 * Return: 0 or -ENOMEM.
 */
int cftcp_hash_init(struct cftcp_net *cn);
/**
 * cftcp_hash_exit() - free the tables; they must be empty
 * @cn: the namespace
 *
 * Context: process.
 */
void cftcp_hash_exit(struct cftcp_net *cn);

/**
 * cftcp_lookup() - find a connection
 * @cn: the namespace
 * @key: its 4-tuple
 *
 * Context: under rcu_read_lock(), which keeps the entry's memory; the caller
 * takes a reference of the embedding object if it needs more than that.
 * Return: the entry or NULL.
 */
struct cftcp_entry *cftcp_lookup(struct cftcp_net *cn,
				 const struct cftcp_key *key);
/**
 * cftcp_hash_insert() - put a connection into the table
 * @cn: the namespace
 * @entry: with kind set
 * @key: its 4-tuple; constant from here on while hashed
 *
 * Context: any but hard irq.
 * Return: 0, -EADDRINUSE when the 4-tuple is taken, -ENOMEM.
 */
int cftcp_hash_insert(struct cftcp_net *cn, struct cftcp_entry *entry,
		      const struct cftcp_key *key);
/**
 * cftcp_hash_replace() - let another entry of the same key take the place
 * @cn: the namespace
 * @old: what must be there
 * @new: what shall be there, same key
 *
 * Lookups see one or the other, never neither.
 *
 * Context: any but hard irq.
 * Return: true when @old was there and is now replaced.
 */
bool cftcp_hash_replace(struct cftcp_net *cn, struct cftcp_entry *old,
			struct cftcp_entry *new);
/**
 * cftcp_hash_remove() - take a connection out of the table
 * @cn: the namespace
 * @entry: what to remove
 *
 * Context: any but hard irq.
 * Return: true when it was there: exactly one of several callers gets it.
 */
bool cftcp_hash_remove(struct cftcp_net *cn, struct cftcp_entry *entry);

/**
 * cftcp_lookup_listener() - find who listens
 * @cn: the namespace
 * @addr: destination address of the SYN, IPv4's mapped
 * @port: destination port of the SYN
 * @dif: device that it came in by
 * @sdif: slave device that it came in by (VRF), 0 if none
 *
 * The most specific match wins: address and device, address, device, any; of
 * those alike, a socket of IPv4 for a segment of IPv4. Of an SO_REUSEPORT
 * group it is some socket: cftcp_listener_of_group() chooses.
 *
 * Context: under rcu_read_lock().
 * Return: the listening socket without a reference, or NULL.
 */
struct sock *cftcp_lookup_listener(struct cftcp_net *cn,
				   const struct in6_addr *addr, __be16 port,
				   int dif, int sdif);
/**
 * cftcp_listener_of_group() - who of an SO_REUSEPORT group gets a segment
 * @lsk: what cftcp_lookup_listener() found
 * @key: the segment's 4-tuple; chooses by its hash
 * @skb: the segment, at its TCP header, which is linear with all options; for
 *	the BPF program of the group, if it has one
 *
 * Context: under rcu_read_lock().
 * Return: the listening socket without a reference, @lsk without a group.
 */
struct sock *cftcp_listener_of_group(struct sock *lsk,
				     const struct cftcp_key *key,
				     struct sk_buff *skb);
/**
 * cftcp_listener_add() - make a socket in LISTEN visible to lookups
 * @sk: the socket; its lock is held
 *
 * With SO_REUSEPORT it joins the group of its address, device and user.
 *
 * Context: process. Return: 0 or -ENOMEM.
 */
int cftcp_listener_add(struct sock *sk);
/**
 * cftcp_listener_del() - the reverse of cftcp_listener_add()
 * @sk: the socket; its lock is held
 */
void cftcp_listener_del(struct sock *sk);

#endif
