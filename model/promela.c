// SPDX-License-Identifier: GPL-2.0
/*
 * Print the termination table as Promela: constants, and for each event an
 * inline ev_NAME(i) that looks up the cell of endpoint i and has it performed.
 *
 *   promela [EVENT STATE NEXT [ACTION...]]    with one cell that says this
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../module/fsm.h"

static const struct {
	const char *name;
	int state;
} states[] = {
#define X(state, name) { #state, TCP_##state },
	CFTCP_STATES(X)
#undef X
};

static const char * const events[] = {
#define X(name, id, text) #name,
	CFTCP_EVENTS(X)
#undef X
};

static const char * const actions[] = {
#define X(name, text) #name,
	CFTCP_ACTIONS(X)
#undef X
};

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

static void unknown(const char *what, const char *name)
{
	fprintf(stderr, "promela: there is no %s %s\n", what, name);
	exit(2);
}

static int state_of(const char *name)
{
	for (int s = 0; s < COUNT(states); s++)
		if (!strcmp(states[s].name, name))
			return states[s].state;
	unknown("state", name);
	return -1;
}

static int index_of(const char *what, const char * const *names, int count,
		    const char *name)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return i;
	unknown(what, name);
	return -1;
}

static const char *name_of(int state)
{
	for (int s = 0; s < COUNT(states); s++)
		if (states[s].state == state)
			return states[s].name;
	return "?";
}

/* The cell that is another than the table's. */
static struct {
	int event, state;
	struct cftcp_cell cell;
} broken = { .event = -1 };

static void print_cell(int event, int state)
{
	struct cftcp_cell cell = cftcp_fsm(state, event);

	if (event == broken.event && state == broken.state)
		cell = broken.cell;
	printf("\t\t(old_state == %s -> GO(%s)", name_of(state),
	       name_of(cell.next));
	for (int bit = 0; bit < COUNT(actions); bit++)
		if (cell.act & (1U << bit))
			printf(" | DO_%s", actions[bit]);
	printf(" :\n");
}

int main(int argc, char **argv)
{
	if (argc > 1 && argc < 4) {
		fprintf(stderr, "usage: promela [EVENT STATE NEXT [ACTION...]]\n");
		return 2;
	}
	if (argc > 1) {
		broken.event = index_of("event", events, COUNT(events), argv[1]);
		broken.state = state_of(argv[2]);
		broken.cell.next = state_of(argv[3]);
		for (int i = 4; i < argc; i++)
			broken.cell.act |= 1U << index_of("action", actions,
							  COUNT(actions), argv[i]);
	}
	for (int s = 0; s < COUNT(states); s++)
		printf("#define %s %d\n", states[s].name, states[s].state);
	for (int bit = 0; bit < COUNT(actions); bit++)
		printf("#define DO_%s %u\n", actions[bit], 1U << bit);
	printf("\ninline in_words(state)\n{\n\tif\n");
	for (int s = 0; s < COUNT(states); s++)
		printf("\t:: state == %s -> printf(\"%s\\n\")\n",
		       states[s].name, cftcp_state_name(states[s].state));
	printf("\tfi\n}\n\n#define GO(state) ((state) << %d)\n", CFTCP_BIT_COUNT);
	for (int e = 0; e < COUNT(events); e++) {
		printf("\n/* %s %s */\ninline ev_%s(i)\n{\n",
		       cftcp_event_id(e), cftcp_event_text(e), events[e]);
		printf("\told_state = e[i].state;\n");
		printf("\tprintf(\"%%d: %s in \", i); in_words(old_state);\n",
		       cftcp_event_text(e));
		printf("\tcell =\n");
		for (int s = 0; s < COUNT(states); s++)
			print_cell(e, states[s].state);
		printf("\t\tDO_NA");
		for (int s = 0; s < COUNT(states); s++)
			printf(")");
		printf(";\n\tperform(i)\n}\n");
	}
	return 0;
}
