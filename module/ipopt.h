/* SPDX-License-Identifier: GPL-2.0 */
/* Options of the IPv4 header: source routes, and what else a user sends. */
#ifndef _CFTCP_IPOPT_H
#define _CFTCP_IPOPT_H

#include <net/inet_sock.h>

struct iphdr;
struct sk_buff;

/**
 * cftcp_ipopt_return_route() - the way back of a source route that was walked
 * @skb: a received packet, its IPv4 header in place and looked at by IP
 *
 * RFC 9293 MUST-53, RFC 1122 section 3.2.1.8: what it recorded, in reverse.
 *
 * Context: any.
 * Return: options for kfree(), or NULL: no such route, or no memory.
 */
struct ip_options_rcu *cftcp_ipopt_return_route(const struct sk_buff *skb);
/** cftcp_ipopt_copy() - a copy for kfree(); NULL of NULL or for want of memory */
struct ip_options_rcu *cftcp_ipopt_copy(const struct ip_options_rcu *from);
/** cftcp_ipopt_same() - do both say the same? */
bool cftcp_ipopt_same(const struct ip_options_rcu *a,
		      const struct ip_options_rcu *b);

/**
 * cftcp_ipopt_first_hop() - where a packet with these options is sent to
 * @opt: the options, NULL for none
 * @daddr: where it is to arrive
 */
static inline __be32 cftcp_ipopt_first_hop(const struct ip_options_rcu *opt,
					   __be32 daddr)
{
	return opt && opt->opt.srr ? opt->opt.faddr : daddr;
}

/** cftcp_ipopt_len() - octets of these options; 0 of NULL */
static inline unsigned int cftcp_ipopt_len(const struct ip_options_rcu *opt)
{
	return opt ? opt->opt.optlen : 0;
}

/**
 * cftcp_ipopt_write() - write options behind a header
 * @skb: at its IPv4 header, which has room for them; this host is its source
 * @opt: the options
 * @daddr: where it is to arrive in the end
 */
void cftcp_ipopt_write(struct sk_buff *skb, const struct ip_options_rcu *opt,
		       __be32 daddr);

#endif
