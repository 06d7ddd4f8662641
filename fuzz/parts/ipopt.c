// SPDX-License-Identifier: GPL-2.0
/*
 * IP options: of any header the way back of its source route is what a naive
 * reader makes of it, and is written so that it can be read again.
 */
#include "parts.h"

#include "ipopt.h"

/* A packet of nothing but a header with these octets of options. */
static struct sk_buff *packet(const u8 *options, u32 len)
{
	struct sk_buff *skb = alloc_skb(sizeof(struct iphdr) + len, GFP_ATOMIC);
	struct iphdr *iph = skb_put(skb, sizeof(*iph) + len);

	*iph = (struct iphdr){ .version = 4, .ihl = 5 + len / 4 };
	iph->saddr = any32();
	iph->daddr = any32();
	memcpy(iph + 1, options, len);
	skb->network_header = skb->data;
	return skb;
}

/* Offset of the source route in @options, or -1. */
static int route_at(const u8 *options, int len)
{
	for (int at = 0; at < len && options[at] != IPOPT_END;) {
		if (options[at] == IPOPT_NOOP) {
			at++;
			continue;
		}
		if (at + 1 >= len || options[at + 1] < 2 ||
		    at + options[at + 1] > len)
			return -1;
		if (options[at] == IPOPT_LSRR || options[at] == IPOPT_SSRR)
			return options[at + 1] >= 3 ? at : -1;
		at += options[at + 1];
	}
	return -1;
}

/* The hops that a route recorded, the last first. Returns how many. */
static int walk_back(const struct sk_buff *skb, const u8 *route, u32 *hops)
{
	int n = (route[1] - 3) / 4, first = 0;

	if (route[2] <= route[1])
		return 0;
	if (n && !memcmp(route + 3, &ip_hdr(skb)->saddr, 4))
		first = 1;
	for (int i = n; i > first; i--)
		memcpy(hops++, route + 3 + 4 * (i - 1), 4);
	return n - first;
}

static void check_written(const struct ip_options_rcu *opt, u8 type,
			  const u32 *hops, int count)
{
	int len = 3 + 4 * count;
	u8 octets[MAX_TCP_OPTION_SPACE] = {}, *at = octets;
	__be32 daddr = any32();
	struct sk_buff *skb;

	must(opt->opt.optlen == ALIGN(len, 4));
	must(opt->opt.is_strictroute == (type == IPOPT_SSRR));
	must(cftcp_ipopt_first_hop(opt, daddr) == hops[0]);
	skb = packet(octets, opt->opt.optlen);
	cftcp_ipopt_write(skb, opt, daddr);
	at = skb->data + sizeof(struct iphdr);
	must(at[0] == type && at[1] == len && at[2] == IPOPT_MINOFF);
	must(!memcmp(at + 3, hops + 1, 4 * (count - 1)));
	must(!memcmp(at + len - 4, &daddr, 4));
	must(len == opt->opt.optlen || at[len] == IPOPT_END);
	consume_skb(skb);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	u32 len = min(size, (size_t)40) / 4 * 4, hops[10];
	struct ip_options_rcu *opt, *copy;
	struct sk_buff *skb;
	int at, count = 0;

	parts_begin();
	parts_input(data + len, size - len);
	skb = packet(data, len);
	/* Some begin their route with themselves. */
	at = route_at(data, len);
	if (at >= 0 && data[at + 1] >= 7 && any8() & 1)
		memcpy(&ip_hdr(skb)->saddr, data + at + 3, 4);
	if (at >= 0)
		count = walk_back(skb, data + at, hops);
	parts_fail = any8() % 8 == 7;
	opt = cftcp_ipopt_return_route(skb);
	must(!!opt == (count && !parts_failed));
	if (opt) {
		check_written(opt, data[at], hops, count);
		copy = cftcp_ipopt_copy(opt);
		must(cftcp_ipopt_same(opt, copy));
		copy->opt.__data[any8() % copy->opt.optlen] ^= 1;
		must(!cftcp_ipopt_same(opt, copy));
		kfree(copy);
	}
	must(!cftcp_ipopt_copy(NULL) && !cftcp_ipopt_len(NULL));
	kfree(opt);
	consume_skb(skb);
	return 0;
}
