// SPDX-License-Identifier: GPL-2.0
/*
 * Print a table of the sources as Markdown: tables closing|actions|sysctls|
 * counters|drops. scripts/docs puts them into module/README.md.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "../module/fsm.h"
#include "../module/mib.h"
#include "../module/sysctl.h"

static const int states[] = {
#define X(state, name) TCP_##state,
	CFTCP_STATES(X)
#undef X
};

#define STATES ((int)(sizeof(states) / sizeof(states[0])))

static const char * const action_names[] = {
#define X(name, text) #name,
	CFTCP_ACTIONS(X)
#undef X
};

static void print_cell(int state, enum cftcp_event event)
{
	struct cftcp_cell cell = cftcp_fsm(state, event);
	const char *gap = "";

	if (cell.act & CFTCP_DO_NA) {
		printf(" |");
		return;
	}
	printf(" %s", cell.next == state ? "same" : cftcp_state_name(cell.next));
	if (cell.act)
		printf(": ");
	for (int bit = 0; bit < CFTCP_BIT_COUNT; bit++) {
		if (!(cell.act & (1U << bit)))
			continue;
		printf("%s%s", gap, action_names[bit]);
		gap = " ";
	}
	printf(" |");
}

static void closing(void)
{
	printf("| event |");
	for (int s = 0; s < STATES; s++)
		printf(" %s |", cftcp_state_name(states[s]));
	printf("\n|---|");
	for (int s = 0; s < STATES; s++)
		printf("---|");
	for (int e = 0; e < CFTCP_EV_COUNT; e++) {
		printf("\n| %s %s |", cftcp_event_id(e), cftcp_event_text(e));
		for (int s = 0; s < STATES; s++)
			print_cell(states[s], e);
	}
	printf("\n");
}

static void actions(void)
{
	printf("| action | meaning |\n|---|---|\n");
	for (int bit = 0; bit < CFTCP_BIT_COUNT; bit++)
		printf("| %s | %s |\n", action_names[bit],
		       cftcp_action_text(bit));
}

static void sysctls(void)
{
	static const char * const owners[] = {
		[CFTCP_OWN] = "own", [CFTCP_HOST] = "host",
	};

	printf("| net.cftcp. | unit | default | range | whose | meaning |\n");
	printf("|---|---|---|---|---|---|\n");
#define X(name, unit, def, lo, hi, whose, text)				\
	printf("| %s | %s | %d | %d to %d | %s | %s |\n", #name, unit, def,	\
	       lo, hi, owners[CFTCP_##whose], text);
	CFTCP_SYSCTLS(X)
#undef X
#define X(name, unit, d0, d1, d2, lo, hi, whose, text)				\
	printf("| %s | %s | %d %d %d | %d to %d | %s | %s |\n", #name, unit,	\
	       d0, d1, d2, lo, hi, owners[CFTCP_##whose], text);
	CFTCP_SYSCTL_TRIPLES(X)
#undef X
}

static void counters(void)
{
	printf("| counter | meaning |\n|---|---|\n");
#define X(name, text) printf("| %s | %s |\n", #name, text);
	CFTCP_COUNTERS(X)
#undef X
}

static void drops(void)
{
	printf("| counter | a segment was dropped: |\n|---|---|\n");
#define X(name, text) printf("| Drop%s | %s |\n", #name, text);
	CFTCP_DROPS(X)
#undef X
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} tables[] = {
		{ "closing", closing }, { "actions", actions },
		{ "sysctls", sysctls }, { "counters", counters },
		{ "drops", drops },
	};

	for (unsigned int i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		if (argc == 2 && !strcmp(argv[1], tables[i].name)) {
			tables[i].print();
			return 0;
		}
	}
	fprintf(stderr, "usage: tables closing|actions|sysctls|counters|drops\n");
	return 2;
}
