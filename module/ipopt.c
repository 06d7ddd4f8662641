// SPDX-License-Identifier: GPL-2.0
/*
 * Options as IP keeps them (struct ip_options, as IP_OPTIONS leaves it): places
 * count from the header on; a source route lacks its first hop, which is
 * faddr, and ends with room for the destination; pointers of what is recorded
 * stand behind our own entry.
 */
#include <linux/ip.h>
#include <linux/slab.h>
#include <net/ip.h>

#include "charge.h"
#include "ipopt.h"

#define ROUTE_HEAD	3	/* type, length, pointer */
#define HOP		4

/* The source route in a header, or NULL. */
static const u8 *find_route(const struct iphdr *iph)
{
	const u8 *ptr = (const u8 *)(iph + 1);
	const u8 *end = (const u8 *)iph + iph->ihl * 4;

	while (ptr < end && *ptr != IPOPT_END) {
		if (*ptr == IPOPT_NOOP) {
			ptr++;
			continue;
		}
		if (end - ptr < 2 || ptr[1] < 2 || ptr[1] > end - ptr)
			return NULL;
		if (*ptr == IPOPT_LSRR || *ptr == IPOPT_SSRR)
			return ptr[1] >= ROUTE_HEAD ? ptr : NULL;
		ptr += ptr[1];
	}
	return NULL;
}

static struct ip_options_rcu *make_route(u8 type, const u8 *recorded, int hops)
{
	int len = ROUTE_HEAD + hops * HOP;
	struct ip_options_rcu *opt;
	u8 *route;

	opt = kzalloc(sizeof(*opt) + ALIGN(len, 4), CFTCP_GFP);
	if (!opt)
		return NULL;
	opt->opt.optlen = ALIGN(len, 4);
	opt->opt.srr = sizeof(struct iphdr);
	opt->opt.is_strictroute = type == IPOPT_SSRR;
	memcpy(&opt->opt.faddr, recorded + (hops - 1) * HOP, HOP);
	route = opt->opt.__data;
	route[IPOPT_OPTVAL] = type;
	route[IPOPT_OLEN] = len;
	route[IPOPT_OFFSET] = IPOPT_MINOFF;
	for (int i = 1; i < hops; i++)
		memcpy(route + ROUTE_HEAD + (i - 1) * HOP,
		       recorded + (hops - 1 - i) * HOP, HOP);
	return opt;
}

struct ip_options_rcu *cftcp_ipopt_return_route(const struct sk_buff *skb)
{
	const struct iphdr *iph = ip_hdr(skb);
	const u8 *route = find_route(iph), *recorded;
	int hops;

	/* Only a route that was walked to its end can be walked back. */
	if (!route || route[IPOPT_OFFSET] <= route[IPOPT_OLEN])
		return NULL;
	recorded = route + ROUTE_HEAD;
	hops = (route[IPOPT_OLEN] - ROUTE_HEAD) / HOP;
	/* RFC 1812 section 5.2.4.1: some begin it with the source itself. */
	if (hops && !memcmp(recorded, &iph->saddr, HOP)) {
		recorded += HOP;
		hops--;
	}
	return hops ? make_route(*route, recorded, hops) : NULL;
}

struct ip_options_rcu *cftcp_ipopt_copy(const struct ip_options_rcu *from)
{
	return from ? kmemdup(from, sizeof(*from) + from->opt.optlen,
			      CFTCP_GFP) : NULL;
}

bool cftcp_ipopt_same(const struct ip_options_rcu *a,
		      const struct ip_options_rcu *b)
{
	return a->opt.optlen == b->opt.optlen && a->opt.faddr == b->opt.faddr &&
	       !memcmp(a->opt.__data, b->opt.__data, a->opt.optlen);
}

void cftcp_ipopt_write(struct sk_buff *skb, const struct ip_options_rcu *from,
		       __be32 daddr)
{
	struct ip_options *opt = &IPCB(skb)->opt;
	u8 *iph = skb_network_header(skb);
	__be32 now = inet_current_timestamp();

	/* For who has to fragment it. */
	*opt = from->opt;
	memcpy(iph + sizeof(struct iphdr), from->opt.__data, opt->optlen);
	if (opt->srr)
		memcpy(iph + opt->srr + iph[opt->srr + IPOPT_OLEN] - HOP,
		       &daddr, HOP);
	if (opt->rr_needaddr)
		memcpy(iph + opt->rr + iph[opt->rr + IPOPT_OFFSET] - 1 - HOP,
		       &ip_hdr(skb)->saddr, HOP);
	if (opt->ts_needaddr)
		memcpy(iph + opt->ts + iph[opt->ts + IPOPT_OFFSET] - 1 - 2 * HOP,
		       &ip_hdr(skb)->saddr, HOP);
	if (opt->ts_needtime)
		memcpy(iph + opt->ts + iph[opt->ts + IPOPT_OFFSET] - 1 - HOP,
		       &now, HOP);
}
