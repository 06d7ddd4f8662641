// SPDX-License-Identifier: GPL-2.0
/*
 * The termination table. Sources: RFC 9293 section 3.5.3, 3.6, 3.10.4 to
 * 3.10.8, RFC 5961 section 3 to 5, RFC 1122 section 4.2.2.13. Where the RFC
 * leaves room, the cell does what users of Linux expect; see module/README.md.
 *
 * A row has a cell for each state, "cannot happen" included: the preprocessor
 * refuses a row that is a cell short, and the assertions below a missing row.
 */
#include "fsm.h"

enum column {
#define X(state, name) COL_##state,
	CFTCP_STATES(X)
#undef X
	COL_COUNT
};

/* A cell: the next state above the action bits, 0 for "same". */
#define NEXT_SHIFT	24
static_assert(CFTCP_BIT_COUNT <= NEXT_SHIFT, "actions overlap the state");

#define NA		CFTCP_DO_NA
#define STAY		0
#define DO(act)		(act)
#define TO(state, act)	((u32)TCP_##state << NEXT_SHIFT | (act))
#define GO(state)	TO(state, 0)

#define FIN		CFTCP_DO_FIN
#define ACK		CFTCP_DO_ACK
#define ACK_SOON	CFTCP_DO_ACK_SOON
#define CHALLENGE	(CFTCP_DO_CHALLENGE | CFTCP_DO_DROP)
#define RST		CFTCP_DO_RST
#define RST_NO_FIN	CFTCP_DO_RST_NO_FIN
#define RST_REPLY	(CFTCP_DO_RST_REPLY | CFTCP_DO_DROP)
#define EOF_		CFTCP_DO_EOF
#define TEXT		CFTCP_DO_TEXT
#define HOLD		CFTCP_DO_HOLD
#define MSL2		CFTCP_DO_2MSL
#define FW2		CFTCP_DO_FW2
#define WAKE		CFTCP_DO_WAKE
#define RESET		(CFTCP_DO_RESET | CFTCP_DO_DROP)
#define TIMEDOUT	CFTCP_DO_TIMEDOUT
#define SOFT		CFTCP_DO_SOFT
#define REXMIT		CFTCP_DO_REXMIT
#define PROBE		CFTCP_DO_PROBE
#define EPIPE_		CFTCP_DO_EPIPE
#define ENOTCONN_	CFTCP_DO_ENOTCONN
#define DROP		CFTCP_DO_DROP

/* ROW(event, ESTABLISHED, FIN-WAIT-1, FIN-WAIT-2, CLOSE-WAIT,
 *	CLOSING, LAST-ACK, TIME-WAIT, CLOSED)
 */
#define TABLE(ROW)							\
ROW(CLOSE, TO(FIN_WAIT1, FIN), STAY, DO(FW2), TO(LAST_ACK, FIN),	\
	STAY, STAY, STAY, STAY)						\
ROW(CLOSE_UNREAD, TO(CLOSE, RST), TO(CLOSE, RST), TO(CLOSE, RST),	\
	TO(CLOSE, RST), TO(CLOSE, RST), TO(CLOSE, RST), STAY, STAY)	\
ROW(SHUTDOWN_WR, TO(FIN_WAIT1, FIN), STAY, STAY, TO(LAST_ACK, FIN),	\
	STAY, STAY, DO(ENOTCONN_), DO(ENOTCONN_))			\
ROW(ABORT, TO(CLOSE, RST), TO(CLOSE, RST), TO(CLOSE, RST),		\
	TO(CLOSE, RST), TO(CLOSE, RST_NO_FIN), TO(CLOSE, RST_NO_FIN),	\
	STAY, STAY)							\
ROW(SEND, STAY, DO(EPIPE_), DO(EPIPE_), STAY,				\
	DO(EPIPE_), DO(EPIPE_), DO(EPIPE_), DO(EPIPE_))			\
ROW(RECEIVE, STAY, STAY, STAY, STAY, STAY, STAY, STAY, STAY)		\
ROW(FIN, TO(CLOSE_WAIT, EOF_ | ACK_SOON), TO(CLOSING, EOF_ | ACK),	\
	TO(TIME_WAIT, EOF_ | ACK | MSL2), NA, NA, NA, NA,		\
	DO(RST_REPLY))							\
ROW(FIN_HELD, DO(HOLD | ACK), DO(HOLD | ACK), DO(HOLD | ACK), NA, NA,	\
	NA, NA, DO(RST_REPLY))						\
ROW(FIN_ACKED, NA, TO(FIN_WAIT2, FW2 | WAKE), STAY, NA,			\
	TO(TIME_WAIT, MSL2 | WAKE), TO(CLOSE, WAKE | DROP), STAY,	\
	DO(RST_REPLY))							\
ROW(FIN_AND_ACK, NA, TO(TIME_WAIT, EOF_ | ACK | MSL2 | WAKE),		\
	TO(TIME_WAIT, EOF_ | ACK | MSL2), NA,				\
	TO(TIME_WAIT, ACK | MSL2 | WAKE), TO(CLOSE, WAKE | DROP),	\
	DO(ACK | MSL2), DO(RST_REPLY))					\
ROW(FIN_DUP, NA, NA, NA, DO(ACK), DO(ACK), DO(ACK), DO(ACK | MSL2),	\
	DO(RST_REPLY))							\
ROW(SYN, DO(CHALLENGE), DO(CHALLENGE), DO(CHALLENGE), DO(CHALLENGE),	\
	DO(CHALLENGE), DO(CHALLENGE), DO(CHALLENGE), DO(RST_REPLY))	\
ROW(RST_EXACT, TO(CLOSE, RESET), TO(CLOSE, RESET), TO(CLOSE, RESET),	\
	TO(CLOSE, RESET), TO(CLOSE, RESET), TO(CLOSE, RESET),		\
	TO(CLOSE, DROP), DO(DROP))					\
ROW(RST_INSIDE, DO(CHALLENGE), DO(CHALLENGE), DO(CHALLENGE),		\
	DO(CHALLENGE), DO(CHALLENGE), DO(CHALLENGE), DO(CHALLENGE),	\
	DO(DROP))							\
ROW(RST_OUTSIDE, DO(DROP), DO(DROP), DO(DROP), DO(DROP), DO(DROP),	\
	DO(DROP), DO(DROP), DO(DROP))					\
ROW(TEXT, DO(TEXT), DO(TEXT), DO(TEXT), NA, NA, NA, NA, DO(RST_REPLY))	\
ROW(TEXT_NO_READER, NA, TO(CLOSE, RST_REPLY | CFTCP_DO_RESET),		\
	TO(CLOSE, RST_REPLY | CFTCP_DO_RESET), NA, NA, NA,		\
	DO(ACK | DROP), DO(RST_REPLY))					\
ROW(TEXT_BEYOND, NA, NA, NA, DO(DROP), DO(DROP), DO(DROP),		\
	DO(ACK | DROP), DO(RST_REPLY))					\
ROW(OLD, DO(ACK), DO(ACK), DO(ACK), DO(ACK), DO(ACK), DO(ACK),		\
	DO(ACK | MSL2), DO(RST_REPLY))					\
ROW(ACK_BAD, DO(ACK | DROP), DO(ACK | DROP), DO(ACK | DROP),		\
	DO(ACK | DROP), DO(ACK | DROP), DO(ACK | DROP),			\
	DO(ACK | DROP), DO(RST_REPLY))					\
ROW(RTO, DO(REXMIT), DO(REXMIT), NA, DO(REXMIT), DO(REXMIT),		\
	DO(REXMIT), NA, NA)						\
ROW(2MSL, NA, NA, NA, NA, NA, NA, GO(CLOSE), NA)			\
ROW(FIN_WAIT2, NA, NA, GO(CLOSE), NA, NA, NA, NA, NA)			\
ROW(USER_TIMEOUT, TO(CLOSE, TIMEDOUT), TO(CLOSE, TIMEDOUT),		\
	TO(CLOSE, TIMEDOUT), TO(CLOSE, TIMEDOUT), TO(CLOSE, TIMEDOUT),	\
	TO(CLOSE, TIMEDOUT), NA, NA)					\
ROW(PERSIST, DO(PROBE), DO(PROBE), NA, DO(PROBE), DO(PROBE),		\
	DO(PROBE), NA, NA)						\
ROW(ICMP, DO(SOFT), DO(SOFT), DO(SOFT), DO(SOFT), DO(SOFT), DO(SOFT),	\
	STAY, STAY)							\
ROW(NO_ACK, DO(DROP), DO(DROP), DO(DROP), DO(DROP), DO(DROP),		\
	DO(DROP), DO(DROP), DO(RST_REPLY))

/* Each event has one row: as many rows as events, and no event twice. */
#define X(event, ...) ROW_OF_##event,
enum { TABLE(X) ROW_COUNT };
#undef X
static_assert((int)ROW_COUNT == (int)CFTCP_EV_COUNT, "a row is missing");

static const u32 table[CFTCP_EV_COUNT][COL_COUNT] = {
#define ROW(event, es, fw1, fw2, cw, cl, la, tw, c)			\
	[CFTCP_EV_##event] = {						\
		[COL_ESTABLISHED] = es, [COL_FIN_WAIT1] = fw1,		\
		[COL_FIN_WAIT2] = fw2, [COL_CLOSE_WAIT] = cw,		\
		[COL_CLOSING] = cl, [COL_LAST_ACK] = la,		\
		[COL_TIME_WAIT] = tw, [COL_CLOSE] = c,			\
	},
	TABLE(ROW)
#undef ROW
};

/* Column of a state, plus one; 0 for a state that is not of the table. */
static const u8 columns[] = {
#define X(state, name)							\
	[TCP_##state] = COL_##state + 1,
	CFTCP_STATES(X)
#undef X
};

static int column(int state)
{
	return (unsigned int)state < sizeof(columns) ? columns[state] - 1 : -1;
}

struct cftcp_cell cftcp_fsm(int state, enum cftcp_event event)
{
	int col = column(state);
	u32 cell;

	if (col < 0 || (unsigned int)event >= CFTCP_EV_COUNT)
		return (struct cftcp_cell){ state, CFTCP_DO_NA };
	cell = table[event][col];
	return (struct cftcp_cell){
		.next = cell >> NEXT_SHIFT ? (u8)(cell >> NEXT_SHIFT) : (u8)state,
		.act = cell & ((1U << NEXT_SHIFT) - 1),
	};
}

bool cftcp_fsm_covers(int state)
{
	return column(state) >= 0;
}

const char *cftcp_event_id(enum cftcp_event event)
{
	static const char * const ids[CFTCP_EV_COUNT] = {
#define X(name, id, text) id,
		CFTCP_EVENTS(X)
#undef X
	};

	return (unsigned int)event < CFTCP_EV_COUNT ? ids[event] : "?";
}

const char *cftcp_event_text(enum cftcp_event event)
{
	static const char * const texts[CFTCP_EV_COUNT] = {
#define X(name, id, text) text,
		CFTCP_EVENTS(X)
#undef X
	};

	return (unsigned int)event < CFTCP_EV_COUNT ? texts[event] : "?";
}

const char *cftcp_action_text(unsigned int bit)
{
	static const char * const texts[CFTCP_BIT_COUNT] = {
#define X(name, text) text,
		CFTCP_ACTIONS(X)
#undef X
	};

	return bit < CFTCP_BIT_COUNT ? texts[bit] : "?";
}

const char *cftcp_state_name(int state)
{
	switch (state) {
#define X(state, name) case TCP_##state: return name;
	CFTCP_STATES(X)
#undef X
	case TCP_LISTEN: return "LISTEN";
	case TCP_SYN_SENT: return "SYN-SENT";
	case TCP_SYN_RECV: return "SYN-RECEIVED";
	}
	return "?";
}
