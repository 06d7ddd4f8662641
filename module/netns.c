// SPDX-License-Identifier: GPL-2.0
#include "close.h"
#include "early.h"
#include "listen.h"
#include "netns.h"
#include "procfs.h"
#include "sock.h"
#include "timewait.h"

unsigned int cftcp_net_id;

static int __net_init init_net_state(struct net *net)
{
	struct cftcp_net *cn = cftcp_net(net);
	int err = -ENOMEM;

	cn->net = net;
	cn->mib = alloc_percpu_gfp(struct cftcp_mib, GFP_KERNEL_ACCOUNT);
	if (!cn->mib)
		return err;
	err = cftcp_hash_init(cn);
	if (err)
		goto free_mib;
	err = cftcp_ports_init(cn);
	if (err)
		goto free_hash;
	INIT_LIST_HEAD(&cn->orphans);
	spin_lock_init(&cn->orphan_lock);
	cftcp_due_init(&cn->time_wait, cftcp_time_wait_expired);
	cftcp_due_init(&cn->requests, cftcp_request_expired);
	err = cftcp_sysctl_init(cn);
	if (err)
		goto free_ports;
	err = cftcp_procfs_init(cn);
	if (err)
		goto free_sysctl;
	return 0;

free_sysctl:
	cftcp_sysctl_exit(cn);
free_ports:
	cftcp_due_exit(&cn->requests);
	cftcp_due_exit(&cn->time_wait);
	cftcp_ports_exit(cn);
free_hash:
	cftcp_hash_exit(cn);
free_mib:
	free_percpu(cn->mib);
	return err;
}

/* No process and no device is left; orphans and TIME-WAIT records may be. */
static void __net_exit exit_net_state(struct net *net)
{
	struct cftcp_net *cn = cftcp_net(net);

	cftcp_early_stop(cn);
	cftcp_procfs_exit(cn);
	cftcp_sysctl_exit(cn);
	cftcp_orphans_purge(cn);
	cftcp_time_wait_purge(cn);
	cftcp_due_exit(&cn->requests);
	cftcp_due_exit(&cn->time_wait);
	/* The RCU callbacks of sockets look at their namespace, and so may a
	 * hook that runs still: at its ports, then at its connections.
	 */
	synchronize_net();
	rcu_barrier();
	cftcp_ports_exit(cn);
	cftcp_hash_exit(cn);
	free_percpu(cn->mib);
}

static struct pernet_operations ops = {
	.init	= init_net_state,
	.exit	= exit_net_state,
	.id	= &cftcp_net_id,
	.size	= sizeof(struct cftcp_net),
};

int cftcp_netns_register(void)
{
	return register_pernet_subsys(&ops);
}

void cftcp_netns_unregister(void)
{
	unregister_pernet_subsys(&ops);
}
