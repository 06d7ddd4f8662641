// SPDX-License-Identifier: GPL-2.0
/*
 * The termination table against an independent transcription of its
 * requirements: every state against every event (FIN-WAIT-1/E9 and so on), and
 * what must hold for the table as a whole. Runs in user space, needs no module.
 *
 * Covers MUST-13, MUST-20, C-4, C-7 to C-12, C-14, C-17 to C-19, C-22, C-25 to
 * C-29, C-37 to C-43, C-47 to C-49, C-53, R5961-1 to R5961-7, SHLD-3,
 * SHLD-31, L-13, L-16, L-30 as far as a state and an event decide them.
 */
#include "../module/fsm.c"

/* The short names of the table's source stay there. */
#undef ACK
#undef FIN
#undef RST
#undef TEXT
#undef HOLD
#undef DROP

#include "kselftest_harness.h"

#define N_STATES	8
#define N_EVENTS	27

static const struct {
	const char *name;
	int state;
} states[N_STATES] = {
	{ "ESTABLISHED", TCP_ESTABLISHED },	{ "FIN-WAIT-1", TCP_FIN_WAIT1 },
	{ "FIN-WAIT-2", TCP_FIN_WAIT2 },	{ "CLOSE-WAIT", TCP_CLOSE_WAIT },
	{ "CLOSING", TCP_CLOSING },		{ "LAST-ACK", TCP_LAST_ACK },
	{ "TIME-WAIT", TCP_TIME_WAIT },		{ "CLOSED", TCP_CLOSE },
};

static const char * const events[N_EVENTS] = {
	"E1", "E1b", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9", "E10",
	"E11", "E12", "E13", "E14", "E15", "E16", "E17", "E18", "E19", "E20",
	"E21", "E22", "E23", "E24", "E25", "E26",
};

/*
 * What a cell must do, in words. "n/a": cannot happen. Otherwise the next state
 * ("-" to stay) and what is emitted or told; what is not named must not be done.
 * "reply" is the RST made from the segment, "nofin" the RST that is only sent
 * if our FIN never left. RFC 9293 and 5961 where Linux differs.
 */
static const char * const want[N_STATES][N_EVENTS] = {
{ /* ESTABLISHED */
	"FIN-WAIT-1 fin", "CLOSED rst", "FIN-WAIT-1 fin", "CLOSED rst",
	"-", "-",
	"CLOSE-WAIT eof soon", "- hold ack", "n/a", "n/a", "n/a",
	"- challenge drop",
	"CLOSED reset drop", "- challenge drop", "- drop",
	"- text", "n/a", "n/a",
	"- ack", "- ack drop",
	"- rexmit", "n/a", "n/a", "CLOSED timedout", "- probe",
	"- soft", "- drop",
}, { /* FIN-WAIT-1 */
	"-", "CLOSED rst", "-", "CLOSED rst",
	"- epipe", "-",
	"CLOSING eof ack", "- hold ack", "FIN-WAIT-2 fw2 wake",
	"TIME-WAIT eof ack 2msl wake", "n/a",
	"- challenge drop",
	"CLOSED reset drop", "- challenge drop", "- drop",
	"- text", "CLOSED reply reset drop", "n/a",
	"- ack", "- ack drop",
	"- rexmit", "n/a", "n/a", "CLOSED timedout", "- probe",
	"- soft", "- drop",
}, { /* FIN-WAIT-2; E23 by C-47, which holds in any state */
	"- fw2", "CLOSED rst", "-", "CLOSED rst",
	"- epipe", "-",
	"TIME-WAIT eof ack 2msl", "- hold ack", "-",
	"TIME-WAIT eof ack 2msl", "n/a",
	"- challenge drop",
	"CLOSED reset drop", "- challenge drop", "- drop",
	"- text", "CLOSED reply reset drop", "n/a",
	"- ack", "- ack drop",
	"n/a", "n/a", "CLOSED", "CLOSED timedout", "n/a",
	"- soft", "- drop",
}, { /* CLOSE-WAIT */
	"LAST-ACK fin", "CLOSED rst", "LAST-ACK fin", "CLOSED rst",
	"-", "-",
	"n/a", "n/a", "n/a", "n/a", "- ack",
	"- challenge drop",
	"CLOSED reset drop", "- challenge drop", "- drop",
	"n/a", "n/a", "- drop",
	"- ack", "- ack drop",
	"- rexmit", "n/a", "n/a", "CLOSED timedout", "- probe",
	"- soft", "- drop",
}, { /* CLOSING */
	"-", "CLOSED rst", "-", "CLOSED nofin",
	"- epipe", "-",
	"n/a", "n/a", "TIME-WAIT 2msl wake", "TIME-WAIT ack 2msl wake", "- ack",
	"- challenge drop",
	"CLOSED reset drop", "- challenge drop", "- drop",
	"n/a", "n/a", "- drop",
	"- ack", "- ack drop",
	"- rexmit", "n/a", "n/a", "CLOSED timedout", "- probe",
	"- soft", "- drop",
}, { /* LAST-ACK */
	"-", "CLOSED rst", "-", "CLOSED nofin",
	"- epipe", "-",
	"n/a", "n/a", "CLOSED wake drop", "CLOSED wake drop", "- ack",
	"- challenge drop",
	"CLOSED reset drop", "- challenge drop", "- drop",
	"n/a", "n/a", "- drop",
	"- ack", "- ack drop",
	"- rexmit", "n/a", "n/a", "CLOSED timedout", "- probe",
	"- soft", "- drop",
}, { /* TIME-WAIT; E11 where no listener takes it, E12 with RFC 1337 off */
	"-", "-", "- enotconn", "-",
	"- epipe", "-",
	"n/a", "n/a", "-", "- ack 2msl", "- ack 2msl",
	"- challenge drop",
	"CLOSED drop", "- challenge drop", "- drop",
	"n/a", "- ack drop", "- ack drop",
	"- ack 2msl", "- ack drop",
	"n/a", "CLOSED", "n/a", "n/a", "n/a",
	"-", "- drop",
}, { /* CLOSED */
	"-", "-", "- enotconn", "-",
	"- epipe", "-",
	"- reply drop", "- reply drop", "- reply drop", "- reply drop",
	"- reply drop",
	"- reply drop",
	"- drop", "- drop", "- drop",
	"- reply drop", "- reply drop", "- reply drop",
	"- reply drop", "- reply drop",
	"n/a", "n/a", "n/a", "n/a", "n/a",
	"-", "- reply drop",
},
};

static const struct {
	const char *word;
	uint32_t bit;
} words[] = {
	{ "fin", CFTCP_DO_FIN },	{ "rst", CFTCP_DO_RST },
	{ "nofin", CFTCP_DO_RST_NO_FIN }, { "reply", CFTCP_DO_RST_REPLY },
	{ "ack", CFTCP_DO_ACK },	{ "soon", CFTCP_DO_ACK_SOON },
	{ "challenge", CFTCP_DO_CHALLENGE },
	{ "rexmit", CFTCP_DO_REXMIT },	{ "probe", CFTCP_DO_PROBE },
	{ "text", CFTCP_DO_TEXT },	{ "hold", CFTCP_DO_HOLD },
	{ "eof", CFTCP_DO_EOF },	{ "2msl", CFTCP_DO_2MSL },
	{ "fw2", CFTCP_DO_FW2 },	{ "wake", CFTCP_DO_WAKE },
	{ "reset", CFTCP_DO_RESET },	{ "timedout", CFTCP_DO_TIMEDOUT },
	{ "soft", CFTCP_DO_SOFT },	{ "epipe", CFTCP_DO_EPIPE },
	{ "enotconn", CFTCP_DO_ENOTCONN }, { "drop", CFTCP_DO_DROP },
	{ "n/a", CFTCP_DO_NA },
};

static uint32_t action_of(const char *word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(words[i].word, word))
			return words[i].bit;
	ksft_exit_fail_msg("the test knows no action \"%s\"\n", word);
	abort();
}

static int state_of(const char *name)
{
	for (int s = 0; s < N_STATES; s++)
		if (!strcmp(states[s].name, name))
			return states[s].state;
	ksft_exit_fail_msg("the test knows no state \"%s\"\n", name);
	abort();
}

static struct cftcp_cell expected(int s, int e)
{
	struct cftcp_cell cell = { .next = states[s].state };
	char text[64], *word;

	strcpy(text, want[s][e]);
	word = strtok(text, " ");
	if (!strcmp(word, "n/a"))
		cell.act = CFTCP_DO_NA;
	else if (strcmp(word, "-"))
		cell.next = state_of(word);
	while ((word = strtok(NULL, " ")))
		cell.act |= action_of(word);
	return cell;
}

static void check_cell(struct __test_metadata *_metadata, int s, int e)
{
	struct cftcp_cell cell = cftcp_fsm(states[s].state, e);
	struct cftcp_cell good = expected(s, e);

	EXPECT_STREQ(cftcp_event_id(e), events[e]);
	EXPECT_STREQ(cftcp_state_name(states[s].state), states[s].name);
	EXPECT_STREQ(cftcp_state_name(cell.next), cftcp_state_name(good.next));
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
		EXPECT_EQ(!!(cell.act & words[i].bit), !!(good.act & words[i].bit))
			TH_LOG("%s/%s: \"%s\" wanted in \"%s\"? got %x", states[s].name,
			       events[e], words[i].word, want[s][e], cell.act);
	}
}

/* One test a cell, each under its own name. */
static struct __test_metadata cells[N_STATES * N_EVENTS];

static void run_cell(struct __test_metadata *_metadata,
		     struct __fixture_variant_metadata *variant)
{
	int i = _metadata - cells;

	(void)variant;
	_metadata->setup_completed = true;
	if (!setjmp(_metadata->env))
		check_cell(_metadata, i / N_EVENTS, i % N_EVENTS);
	__test_check_assert(_metadata);
}

static void __attribute__((constructor)) register_cells(void)
{
	static char names[N_STATES * N_EVENTS][24];

	for (int i = 0; i < N_STATES * N_EVENTS; i++) {
		snprintf(names[i], sizeof(names[i]), "%s/%s",
			 states[i / N_EVENTS].name, events[i % N_EVENTS]);
		cells[i] = (struct __test_metadata){
			.name = names[i], .fn = run_cell,
			.fixture = &_fixture_global, .termsig = -1,
			.timeout = TEST_TIMEOUT_DEFAULT,
		};
		__register_test(&cells[i]);
	}
}

#define for_each_cell(s, e)						\
	for (int s = 0; s < N_STATES; s++)				\
		for (int e = 0; e < N_EVENTS; e++)

#define WIRE	(CFTCP_DO_RST | CFTCP_DO_RST_NO_FIN | CFTCP_DO_RST_REPLY | \
		 CFTCP_DO_ACK | CFTCP_DO_CHALLENGE | CFTCP_DO_FIN |	   \
		 CFTCP_DO_REXMIT | CFTCP_DO_PROBE)

/* Mark what a path from ESTABLISHED can reach, with what was done on it. */
struct reach {
	bool seen[16][3][3];	/* state, FINs of ours, FINs of the peer */
};

static void walk(struct reach *r, int state, int fins, int eofs)
{
	if (fins > 2 || eofs > 2 || r->seen[state][fins][eofs])
		return;
	r->seen[state][fins][eofs] = true;
	for (int e = 0; e < N_EVENTS; e++) {
		struct cftcp_cell cell = cftcp_fsm(state, e);

		if (!(cell.act & CFTCP_DO_NA))
			walk(r, cell.next, fins + !!(cell.act & CFTCP_DO_FIN),
			     eofs + !!(cell.act & CFTCP_DO_EOF));
	}
}

TEST(size_of_the_table)
{
	ASSERT_EQ((int)CFTCP_EV_COUNT, N_EVENTS);
	for (int s = 0; s < N_STATES; s++)
		EXPECT_TRUE(cftcp_fsm_covers(states[s].state));
	EXPECT_FALSE(cftcp_fsm_covers(TCP_LISTEN));
	EXPECT_FALSE(cftcp_fsm_covers(TCP_SYN_SENT));
	EXPECT_FALSE(cftcp_fsm_covers(TCP_SYN_RECV));
}

/* C-37: at most one FIN of ours on any path, and each closing state has its FINs. */
TEST(one_fin_on_any_path)
{
	static const struct {
		const char *name;
		int ours, peers;
	} fins[] = {
		{ "ESTABLISHED", 0, 0 }, { "FIN-WAIT-1", 1, 0 },
		{ "FIN-WAIT-2", 1, 0 },	 { "CLOSE-WAIT", 0, 1 },
		{ "CLOSING", 1, 1 },	 { "LAST-ACK", 1, 1 },
		{ "TIME-WAIT", 1, 1 },
	};
	struct reach r = {};

	walk(&r, TCP_ESTABLISHED, 0, 0);
	for (size_t i = 0; i < sizeof(fins) / sizeof(*fins) * 9; i++) {
		int ours = i % 9 / 3, peers = i % 3;
		bool good = ours == fins[i / 9].ours && peers == fins[i / 9].peers;

		EXPECT_EQ(r.seen[state_of(fins[i / 9].name)][ours][peers], good)
			TH_LOG("%s with %d, %d FINs", fins[i / 9].name, ours, peers);
	}
	for (int n = 0; n < 3; n++) {
		EXPECT_FALSE(r.seen[TCP_CLOSE][2][n]);
		EXPECT_FALSE(r.seen[TCP_CLOSE][n][2]);
	}
}

/* Each state is reached, no other state than the table's is. */
TEST(reachability)
{
	struct reach r = {};

	walk(&r, TCP_ESTABLISHED, 0, 0);
	for (int state = 0; state < 16; state++) {
		bool seen = false;

		for (int i = 0; i < 9; i++)
			seen |= r.seen[state][i / 3][i % 3];
		EXPECT_EQ(seen, cftcp_fsm_covers(state)) {
			TH_LOG("state %d", state);
		}
	}
}

TEST(no_way_out_of_closed)
{
	for (int e = 0; e < N_EVENTS; e++)
		EXPECT_EQ(cftcp_fsm(TCP_CLOSE, e).next, TCP_CLOSE);
}

/* MUST-13, R1122-4.2.2.8: the three ways into TIME-WAIT, and 2MSL on each. */
TEST(ways_into_time_wait)
{
	unsigned int from = 0;

	for_each_cell(s, e) {
		struct cftcp_cell cell = cftcp_fsm(states[s].state, e);
		bool entered = cell.next == TCP_TIME_WAIT &&
			       states[s].state != TCP_TIME_WAIT;

		if (entered)
			from |= 1U << states[s].state;
		EXPECT_TRUE(!entered || cell.act & CFTCP_DO_2MSL);
		EXPECT_TRUE(!(cell.act & CFTCP_DO_2MSL) || cell.next == TCP_TIME_WAIT);
	}
	EXPECT_EQ(from, 1U << TCP_FIN_WAIT1 | 1U << TCP_FIN_WAIT2 | 1U << TCP_CLOSING);
}

/* C-7, C-43: an RST is never answered by an RST, a wrong one changes nothing. */
TEST(rst_is_never_answered_by_rst)
{
	for (int s = 0; s < N_STATES; s++)
		for (int e = CFTCP_EV_RST_EXACT; e <= CFTCP_EV_RST_OUTSIDE; e++) {
			struct cftcp_cell cell = cftcp_fsm(states[s].state, e);

			EXPECT_FALSE(cell.act & WIRE & ~CFTCP_DO_CHALLENGE);
			EXPECT_TRUE(cell.act & CFTCP_DO_DROP);
			EXPECT_TRUE(e == CFTCP_EV_RST_EXACT ||
				    cell.next == states[s].state);
		}
}

TEST(na_changes_nothing)
{
	for_each_cell(s, e) {
		struct cftcp_cell cell = cftcp_fsm(states[s].state, e);

		if (cell.act & CFTCP_DO_NA) {
			EXPECT_EQ(cell.act, CFTCP_DO_NA);
			EXPECT_EQ(cell.next, states[s].state);
		}
	}
}

TEST(outside_of_the_table)
{
	for (int i = 0; i < 256 * (N_EVENTS + 3); i++) {
		int state = i % 256, e = i / 256;
		struct cftcp_cell cell = cftcp_fsm(state, e);

		if (e < N_EVENTS && cftcp_fsm_covers(state))
			continue;
		EXPECT_EQ(cell.act, CFTCP_DO_NA);
		EXPECT_EQ(cell.next, state);
	}
	EXPECT_STREQ(cftcp_event_id(N_EVENTS), "?");
	EXPECT_STREQ(cftcp_event_text(N_EVENTS), "?");
	EXPECT_STREQ(cftcp_action_text(CFTCP_BIT_COUNT), "?");
	EXPECT_STREQ(cftcp_state_name(255), "?");
}

/* One answer a segment: never two of ACK, challenge ACK and RST at once. */
TEST(one_answer)
{
	const uint32_t answers = CFTCP_DO_RST | CFTCP_DO_RST_NO_FIN |
		CFTCP_DO_RST_REPLY | CFTCP_DO_ACK | CFTCP_DO_CHALLENGE;

	for_each_cell(s, e) {
		uint32_t act = cftcp_fsm(states[s].state, e).act & answers;

		EXPECT_FALSE(act & (act - 1));
	}
}

/* C-14, C-27, C-53: E9 leads where the ACK and then the FIN of the segment do. */
TEST(fin_and_ack_is_both_in_turn)
{
	static const int from[] = { TCP_FIN_WAIT1, TCP_CLOSING, TCP_LAST_ACK };

	for (size_t i = 0; i < 3; i++) {
		struct cftcp_cell both = cftcp_fsm(from[i], CFTCP_EV_FIN_AND_ACK);
		struct cftcp_cell acked = cftcp_fsm(from[i], CFTCP_EV_FIN_ACKED);
		struct cftcp_cell fin = cftcp_fsm(acked.next, CFTCP_EV_FIN);

		if (fin.act & CFTCP_DO_NA)	/* seen before */
			fin = cftcp_fsm(acked.next, CFTCP_EV_FIN_DUP);
		EXPECT_EQ(both.next, fin.next);
		EXPECT_TRUE(both.act & CFTCP_DO_WAKE);
	}
}

/* Silent timeouts alone end every state: nothing can stay for ever but by choice. */
TEST(every_state_has_an_end_without_the_peer)
{
	for (int s = 0; s < N_STATES - 1; s++) {
		bool ends = false;

		for (int e = CFTCP_EV_2MSL; e <= CFTCP_EV_USER_TIMEOUT; e++) {
			struct cftcp_cell cell = cftcp_fsm(states[s].state, e);

			ends |= cell.next == TCP_CLOSE;
			EXPECT_FALSE(cell.act & WIRE);
		}
		EXPECT_TRUE(ends) TH_LOG("%s", states[s].name);
	}
}

TEST_HARNESS_MAIN
