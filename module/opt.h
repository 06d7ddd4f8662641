/* SPDX-License-Identifier: GPL-2.0 */
/* Socket options: SOL_TCP with the stock numbers, SOL_CFTCP, TCP_INFO. */
#ifndef _CFTCP_OPT_H
#define _CFTCP_OPT_H

#include <linux/sockptr.h>

struct sock;

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

#endif
