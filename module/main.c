// SPDX-License-Identifier: GPL-2.0
/* The one ordered list of what is brought up, and its exact reverse. */
#include <linux/module.h>

#include "af.h"
#include "diag.h"
#include "egress.h"
#include "frag.h"
#include "listen.h"
#include "netns.h"
#include "sock.h"
#include "timewait.h"

static int __init cftcp_init(void)
{
	int err;

	cftcp_egress_start();
	err = cftcp_time_wait_register();
	if (err)
		return err;
	err = cftcp_listen_register();
	if (err)
		goto time_wait;
	err = cftcp_sock_register();
	if (err)
		goto listen;
	err = cftcp_netns_register();
	if (err)
		goto sock;
	err = cftcp_ipv4_hook();
	if (err)
		goto netns;
	err = cftcp_ipv6_hook();
	if (err)
		goto ipv4;
	cftcp_sock_open();
	cftcp_diag_register();
	return 0;

ipv4:
	cftcp_ipv4_unhook();
netns:
	cftcp_netns_unregister();
sock:
	cftcp_sock_unregister();
listen:
	cftcp_listen_unregister();
time_wait:
	cftcp_time_wait_unregister();
	return err;
}

/*
 * Full sockets hold the module, so none is left here, and no request either:
 * it holds its listener. TIME-WAIT records go with their namespace's state.
 */
static void __exit cftcp_exit(void)
{
	cftcp_diag_unregister();
	cftcp_sock_shut();
	cftcp_ipv6_unhook();
	cftcp_ipv4_unhook();
	cftcp_netns_unregister();
	cftcp_sock_unregister();
	cftcp_listen_unregister();
	cftcp_time_wait_unregister();
	cftcp_frag_stop();
	cftcp_egress_stop();
}

module_init(cftcp_init);
module_exit(cftcp_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The cftcp developers");
MODULE_DESCRIPTION("Congestion-free TCP with tunable termination");
