// SPDX-License-Identifier: GPL-2.0
#include <net/tcp.h>

#include "sack.h"

static bool is_empty(const struct cftcp_sack *block)
{
	return block->start == block->end;
}

/* Do they touch, or overlap? */
static bool joined(const struct cftcp_sack *a, const struct cftcp_sack *b)
{
	return !cftcp_before(a->end, b->start) &&
	       !cftcp_after(a->start, b->end);
}

void cftcp_sack_reset(struct cftcp_sock *cs)
{
	cs->sack_count = 0;
	cs->twice = (struct cftcp_sack){};
}

void cftcp_sack_held(struct cftcp_sock *cs, u32 start, u32 end)
{
	struct cftcp_sack old[CFTCP_MAX_SACKS], new = { start, end };
	int n = cs->sack_count, kept = 1;

	memcpy(old, cs->sacks, sizeof(old));
	for (int i = 0; i < n; i++) {
		if (!joined(&old[i], &new))
			continue;
		if (cftcp_before(old[i].start, new.start))
			new.start = old[i].start;
		if (cftcp_after(old[i].end, new.end))
			new.end = old[i].end;
	}
	cs->sacks[0] = new;
	for (int i = 0; i < n && kept < CFTCP_MAX_SACKS; i++)
		if (!joined(&old[i], &new))
			cs->sacks[kept++] = old[i];
	cs->sack_count = kept;
}

void cftcp_sack_trim(struct cftcp_sock *cs)
{
	int kept = 0;

	for (int i = 0; i < cs->sack_count; i++)
		if (cftcp_after(cs->sacks[i].start, cs->rcv_nxt))
			cs->sacks[kept++] = cs->sacks[i];
	cs->sack_count = kept;
}

void cftcp_sack_twice(struct cftcp_sock *cs, u32 start, u32 end)
{
	if (cs->sack_ok && is_empty(&cs->twice))
		cs->twice = (struct cftcp_sack){ start, end };
}

bool cftcp_sack_due(const struct cftcp_sock *cs)
{
	return cs->sack_count || !is_empty(&cs->twice);
}

static u8 *put_block(u8 *ptr, const struct cftcp_sack *block)
{
	put_unaligned_be32(block->start, ptr);
	put_unaligned_be32(block->end, ptr + 4);
	return ptr + TCPOLEN_SACK_PERBLOCK;
}

unsigned int cftcp_sack_write(struct cftcp_sock *cs, u8 *ptr, int room)
{
	bool twice = !is_empty(&cs->twice);
	int blocks = min((room - TCPOLEN_SACK_BASE_ALIGNED) /
			 TCPOLEN_SACK_PERBLOCK, twice + cs->sack_count);
	u8 *start = ptr;

	if (blocks <= 0)
		return 0;
	put_unaligned_be32(TCPOPT_NOP << 24 | TCPOPT_NOP << 16 |
			   TCPOPT_SACK << 8 |
			   (TCPOLEN_SACK_BASE + blocks * TCPOLEN_SACK_PERBLOCK),
			   ptr);
	ptr += TCPOLEN_SACK_BASE_ALIGNED;
	if (twice)
		ptr = put_block(ptr, &cs->twice);
	for (int i = 0; i < blocks - twice; i++)
		ptr = put_block(ptr, &cs->sacks[i]);
	cs->twice = (struct cftcp_sack){};
	return ptr - start;
}
