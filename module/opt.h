/* SPDX-License-Identifier: GPL-2.0 */
/* Socket options: SOL_TCP with the stock numbers, SOL_CFTCP, TCP_INFO. */
#ifndef _CFTCP_OPT_H
#define _CFTCP_OPT_H

#include <linux/sockptr.h>

struct sock;
struct tcp_info;

/**
 * cftcp_setsockopt() - proto.setsockopt
 *
 * Context: process, unlocked.
 * Return: 0; -EINVAL for a short or impossible value, -ENOPROTOOPT for an
 * option that is unknown, -EFAULT.
 */
int cftcp_setsockopt(struct sock *sk, int level, int optname,
		     sockptr_t optval, unsigned int optlen);
/** cftcp_getsockopt() - proto.getsockopt; as cftcp_setsockopt() */
int cftcp_getsockopt(struct sock *sk, int level, int optname,
		     char __user *optval, int __user *optlen);

/**
 * cftcp_fill_info() - TCP_INFO of a socket
 * @sk: the socket; lock held, or for a look that may be off by an event
 * @info: to be filled
 */
void cftcp_fill_info(struct sock *sk, struct tcp_info *info);

#endif
