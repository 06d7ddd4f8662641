/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Local ports, shared with the stock stack. A port in use is reserved by a
 * stock TCP socket, bound but never listening, so that a conflict shows as
 * EADDRINUSE on whichever side comes second.
 */
#ifndef _CFTCP_PORT_H
#define _CFTCP_PORT_H

#include <linux/hashtable.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "af.h"

struct cftcp_net;
struct cftcp_key;
struct sock;
struct socket;

#define CFTCP_PORT_BITS 10

/**
 * struct cftcp_ports - the local ports of one namespace
 * @used: one bit a port in host order: may a segment to it be ours? Read in
 *	softirq without a lock, written under @lock
 * @lock: protects all below, the structures in it and reference counts that
 *	go to or from 0; taken with BH off, inside of any socket lock
 * @table: struct cftcp_port by port number
 * @idle: struct cftcp_port_ref without a user, to be released by @reaper
 * @create: serialises the making of reservations (process context); outside
 *	of @lock, inside of the socket lock of a cftcp socket
 * @reaper: frees what is on @idle: releasing a stock socket sleeps. When there
 *	are many reservations it leaves time for connect() to take them instead
 * @net: the namespace
 * @reservations: how many there are
 * @full_until: jiffies, until when stock TCP is not asked again for a free
 *	port, for it had none; no lock, since it is a hint
 * @misses: how often, in a row, none of some random ports could be shared; no
 *	lock, since it is a hint
 * @group: last group of reservations that let each other pass, under @create
 */
struct cftcp_ports {
	unsigned long *used;
	spinlock_t lock;		/* for @table, @idle, @used */
	DECLARE_HASHTABLE(table, CFTCP_PORT_BITS);
	struct list_head idle;
	struct mutex create;		/* one reservation at a time */
	struct delayed_work reaper;
	struct net *net;
	unsigned int reservations;
	unsigned long full_until;
	unsigned int misses;
	u32 group;
};

/**
 * struct cftcp_port - a local port in use
 * @node: link in cftcp_ports.table
 * @num: port number, host order
 * @refs: its reservations, one an address
 * @owners: full sockets bound to it (struct cftcp_sock.port_node)
 */
struct cftcp_port {
	struct hlist_node node;
	u16 num;
	struct hlist_head refs;
	struct hlist_head owners;
};

/**
 * struct cftcp_port_ref - a reserved pair of local address and port
 * @node: link in cftcp_port.refs
 * @idle: link in cftcp_ports.idle while nobody uses it
 * @cn: the namespace
 * @port: the port
 * @local: the address
 * @users: sockets, requests and TIME-WAIT records that hold it
 * @time_waits: how many of @users are TIME-WAIT records
 * @reuseport: all sockets that used it had SO_REUSEPORT
 * @chosen: by connect(), not by bind(): other connections may share it
 * @reservation: the stock socket
 */
struct cftcp_port_ref {
	struct hlist_node node;
	struct list_head idle;
	struct cftcp_net *cn;
	struct cftcp_port *port;
	struct cftcp_local local;
	unsigned int users;
	unsigned int time_waits;
	bool reuseport;
	bool chosen;
	struct socket *reservation;
};

/** cftcp_ports_init() - Return: 0 or -ENOMEM. Context: process. */
int cftcp_ports_init(struct cftcp_net *cn);
/** cftcp_ports_exit() - release every reservation; none is used any more */
void cftcp_ports_exit(struct cftcp_net *cn);

/** cftcp_port_used() - may a segment to this port be ours? Any context */
static inline bool cftcp_port_used(const struct cftcp_ports *ports, __be16 port)
{
	return test_bit(ntohs(port), ports->used);
}

/** cftcp_ports_count() - how many local ports are in use; any context */
unsigned int cftcp_ports_count(const struct cftcp_ports *ports);

/**
 * cftcp_port_get() - bind a socket to a local port (proto.get_port)
 * @sk: the socket, its local address set
 * @num: the port, or 0 to choose one (RFC 6056)
 *
 * Context: process, socket lock held. May sleep.
 * Return: 0, or -EADDRINUSE when the port is taken in either stack, -ENOMEM.
 */
int cftcp_port_get(struct sock *sk, unsigned short num);

/**
 * cftcp_port_get_for_bpf() - what bpf_bind() asked for at connect()
 * @sk: the socket; cftcp_port_get() has noted the port while @in_bpf was set
 *
 * Context: process, socket lock held. May sleep.
 * Return: 0, also where nothing was asked for, or as cftcp_port_get().
 */
int cftcp_port_get_for_bpf(struct sock *sk);
/**
 * cftcp_port_connect() - choose port and ISS of a connection and hash it
 * @sk: the socket, both addresses and the foreign port set; if it has a local
 *	port already that one is taken
 *
 * Context: process, socket lock held. May sleep.
 * Return: 0, -EADDRNOTAVAIL when every port is taken, -EADDRINUSE when the
 * bound port's 4-tuple is, -ENOMEM.
 */
int cftcp_port_connect(struct sock *sk);
/**
 * cftcp_port_may_listen() - may this bound socket listen?
 * @sk: the socket
 *
 * Context: process, socket lock held.
 * Return: 0 or -EADDRINUSE when another listens on an overlapping address.
 */
int cftcp_port_may_listen(struct sock *sk);
/**
 * cftcp_port_inherit() - a child uses its listener's port
 * @child: the child, not visible to anyone yet
 * @ref: a reference that the caller holds and that passes to the child
 *
 * Context: any but hard irq.
 */
void cftcp_port_inherit(struct sock *child, struct cftcp_port_ref *ref);
/**
 * cftcp_port_put() - a socket gives its local port up (proto.put_port)
 * @sk: the socket, its lock held
 *
 * Context: any but hard irq. Does nothing without a port.
 */
void cftcp_port_put(struct sock *sk);

/**
 * cftcp_port_ref_get() - one more user of a reservation
 * @ports: the namespace's ports
 * @ref: a reservation in use
 * @time_wait: the user is a TIME-WAIT record
 *
 * Context: any but hard irq.
 */
void cftcp_port_ref_get(struct cftcp_ports *ports, struct cftcp_port_ref *ref,
			bool time_wait);
/**
 * cftcp_port_ref_put() - the reverse of cftcp_port_ref_get()
 *
 * The last one lets the reservation go, by a worker: releasing it sleeps. That
 * is at once, but of many that connect() chose: the next one can have it.
 *
 * Context: any but hard irq.
 */
void cftcp_port_ref_put(struct cftcp_ports *ports, struct cftcp_port_ref *ref,
			bool time_wait);

#endif
