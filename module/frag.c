// SPDX-License-Identifier: GPL-2.0
/*
 * A bulk sender fills page after page, and the kernel may clear each of them
 * before it hands it out (CONFIG_INIT_ON_ALLOC_DEFAULT_ON), only for text to be
 * written over it. So a CPU keeps a reference to the last pages that were
 * filled. One that the peer has acknowledged, or that a reader on this host has
 * copied, is then referred to by nobody else, and is filled again.
 */
#include <linux/mm.h>
#include <linux/percpu.h>
#include <net/sock.h>

#include "frag.h"

/* At most 32 of 32 kB: 1 MB a CPU. */
#define PAGES	32
/* What sk_page_frag_refill() takes for room. */
#define ROOM	32U

struct ring {
	struct page *pages[PAGES];
	unsigned int oldest;
};

static DEFINE_PER_CPU(struct ring, rings);

static bool used_up(const struct page_frag *frag)
{
	return frag->page && frag->offset + ROOM > frag->size &&
	       page_ref_count(frag->page) > 1;
}

/* The youngest page in place of the oldest. */
static struct page *exchange(struct page *page)
{
	struct ring *ring = get_cpu_ptr(&rings);

	swap(ring->pages[ring->oldest], page);
	ring->oldest = (ring->oldest + 1) % PAGES;
	put_cpu_ptr(&rings);
	return page;
}

bool cftcp_frag_refill(struct sock *sk, struct page_frag *frag)
{
	struct page *page;

	if (used_up(frag) && !page_is_pfmemalloc(frag->page)) {
		page = exchange(frag->page);
		if (page && page_ref_count(page) > 1) {
			put_page(page);
			page = NULL;
		}
		frag->page = page;
		frag->offset = 0;
		frag->size = page ? page_size(page) : 0;
	}
	return sk_page_frag_refill(sk, frag);
}

void cftcp_frag_stop(void)
{
	int cpu, i;

	for_each_possible_cpu(cpu)
		for (i = 0; i < PAGES; i++)
			if (per_cpu(rings, cpu).pages[i])
				put_page(per_cpu(rings, cpu).pages[i]);
}
