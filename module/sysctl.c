// SPDX-License-Identifier: GPL-2.0
#include <linux/slab.h>
#include <linux/sysctl.h>

#include "netns.h"
#include "sysctl.h"

/*
 * proc_dointvec_minmax() stores the elements of a vector one by one, so a
 * triple is read into a copy and taken over only as a whole, in order.
 */
static int triple_handler(CFTCP_CTL_TABLE *table, int write, void *buffer,
			  size_t *lenp, loff_t *ppos)
{
	int *live = table->data, copy[3];
	struct ctl_table tmp = *table;
	int ret;

	memcpy(copy, live, sizeof(copy));
	tmp.data = copy;
	ret = proc_dointvec_minmax(&tmp, write, buffer, lenp, ppos);
	if (ret || !write)
		return ret;
	if (copy[0] > copy[1] || copy[1] > copy[2])
		return -EINVAL;
	for (int i = 0; i < 3; i++)
		WRITE_ONCE(live[i], copy[i]);
	return 0;
}

static const struct {
	int low;
	int high;
	bool host;
} limits[] = {
#define X(name, unit, def, lo, hi, whose, text) { lo, hi, CFTCP_##whose },
	CFTCP_SYSCTLS(X)
#undef X
#define X(name, unit, d0, d1, d2, lo, hi, whose, text) { lo, hi, CFTCP_##whose },
	CFTCP_SYSCTL_TRIPLES(X)
#undef X
};

static const struct ctl_table template[] = {
#define X(sysctl, unit, def, lo, hi, whose, text)				\
	{								\
		.procname = #sysctl,					\
		.data = (void *)offsetof(struct cftcp_sysctl, sysctl),	\
		.maxlen = sizeof(int),					\
		.mode = 0644,						\
		.proc_handler = proc_dointvec_minmax,			\
	},
	CFTCP_SYSCTLS(X)
#undef X
#define X(sysctl, unit, d0, d1, d2, lo, hi, whose, text)			\
	{								\
		.procname = #sysctl,					\
		.data = (void *)offsetof(struct cftcp_sysctl, sysctl),	\
		.maxlen = 3 * sizeof(int),				\
		.mode = 0644,						\
		.proc_handler = triple_handler,				\
	},
	CFTCP_SYSCTL_TRIPLES(X)
#undef X
	{ }
};

static const struct cftcp_sysctl defaults = {
#define X(name, unit, def, lo, hi, whose, text) .name = def,
	CFTCP_SYSCTLS(X)
#undef X
#define X(name, unit, d0, d1, d2, lo, hi, whose, text) .name = { d0, d1, d2 },
	CFTCP_SYSCTL_TRIPLES(X)
#undef X
};

/* Not above what the host has now, nor set to more than it has then. */
static void cap(struct cftcp_net *cn, struct ctl_table *table)
{
	ptrdiff_t at = table->data - (void *)&cn->sysctl;
	int n = table->maxlen / sizeof(int), *value = table->data;
	int *most = (void *)&cftcp_host()->sysctl + at;

	most += n - 1;
	for (int i = 0; i < n; i++)
		value[i] = min(value[i], READ_ONCE(*most));
	table->extra2 = most;
}

int cftcp_sysctl_init(struct cftcp_net *cn)
{
	struct ctl_table *table;

	BUILD_BUG_ON(ARRAY_SIZE(limits) != ARRAY_SIZE(template) - 1);
	cn->sysctl = defaults;
	table = kmemdup(template, sizeof(template), GFP_KERNEL_ACCOUNT);
	if (!table)
		return -ENOMEM;
	for (int i = 0; i < ARRAY_SIZE(limits); i++) {
		table[i].data = (void *)&cn->sysctl + (uintptr_t)table[i].data;
		table[i].extra1 = (void *)&limits[i].low;
		table[i].extra2 = (void *)&limits[i].high;
		if (limits[i].host && cftcp_guest(cn->net))
			cap(cn, &table[i]);
	}
	cn->sysctl_header = cftcp_register_sysctl(cn->net, "net/cftcp", table,
						  ARRAY_SIZE(limits));
	if (!cn->sysctl_header) {
		kfree(table);
		return -ENOMEM;
	}
	return 0;
}

void cftcp_sysctl_exit(struct cftcp_net *cn)
{
	const struct ctl_table *table = cn->sysctl_header->ctl_table_arg;

	unregister_net_sysctl_table(cn->sysctl_header);
	kfree(table);
}
