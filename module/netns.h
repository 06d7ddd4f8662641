/* SPDX-License-Identifier: GPL-2.0 */
/* All state of one network namespace, and its coming and going. */
#ifndef _CFTCP_NETNS_H
#define _CFTCP_NETNS_H

#include <linux/hashtable.h>
#include <linux/rhashtable.h>
#include <linux/user_namespace.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

#include "compat.h"
#include "due.h"
#include "hash.h"
#include "mib.h"
#include "port.h"
#include "sysctl.h"

#define CFTCP_LISTENER_BITS 8

/**
 * struct cftcp_net - cftcp in one network namespace
 * @net: the namespace
 * @sysctl: values of net.cftcp.*
 * @sysctl_header: their registration
 * @mib: counters
 * @connections: struct cftcp_entry by 4-tuple
 * @listeners: struct cftcp_sock.listen_node by port; written under
 *	@listen_lock, read under RCU
 * @listen_lock: see @listeners
 * @ports: local ports in use
 * @time_wait: TIME-WAIT records by the end of their 2MSL
 * @requests: SYN-RECEIVED requests by the time of the next SYN,ACK
 * @time_waits: number of TIME-WAIT records
 * @request_count: number of requests
 * @orphans: closed sockets that are still closing, the oldest first
 *	(struct cftcp_sock.accept_node)
 * @orphan_count: length of @orphans
 * @orphan_lock: for both
 * @guest_time_waits: of the first namespace: TIME-WAIT records of all that
 *	cftcp_guest() is true of, under its max_time_wait
 * @guest_orphans: the same of orphans, under its max_orphans
 * @sockets: number of full sockets
 * @established: how many of them are in ESTABLISHED or CLOSE-WAIT
 * @early: the hooks of early.c are in place
 */
struct cftcp_net {
	struct net *net;
	struct cftcp_sysctl sysctl;
	struct ctl_table_header *sysctl_header;
	struct cftcp_mib __percpu *mib;
	struct rhashtable connections;
	DECLARE_HASHTABLE(listeners, CFTCP_LISTENER_BITS);
	spinlock_t listen_lock;		/* for @listeners */
	struct cftcp_ports ports;
	struct cftcp_due time_wait;
	struct cftcp_due requests;
	atomic_t time_waits;
	atomic_t request_count;
	struct list_head orphans;
	int orphan_count;
	spinlock_t orphan_lock;		/* for both */
	atomic_t guest_time_waits;
	atomic_t guest_orphans;
	atomic_t sockets;
	atomic_t established;
	bool early;
};

extern unsigned int cftcp_net_id;

/** cftcp_net() - cftcp's state in a namespace; any context */
static inline struct cftcp_net *cftcp_net(const struct net *net)
{
	return net_generic(net, cftcp_net_id);
}

/** cftcp_host() - the first namespace's, whose limits hold for the host */
static inline struct cftcp_net *cftcp_host(void)
{
	return cftcp_net(&init_net);
}

/**
 * cftcp_guest() - was a namespace made in a user namespace, by anybody maybe?
 *
 * Its limits then cannot be raised above the host's (sysctl.h), and what lasts
 * without a process is under the host's limit together with all others'.
 */
static inline bool cftcp_guest(const struct net *net)
{
	return net->user_ns != &init_user_ns;
}

/**
 * cftcp_netns_register() - set up every namespace, present and future
 *
 * Context: process.
 * Return: 0 or what the first namespace failed with.
 */
int cftcp_netns_register(void);
/**
 * cftcp_netns_unregister() - free the state of all namespaces
 *
 * Context: process; no full socket may live, the receive hook must be gone.
 */
void cftcp_netns_unregister(void);

#endif
