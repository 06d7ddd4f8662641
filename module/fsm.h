/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The termination half of the TCP state machine (RFC 9293 section 3.6 and
 * 3.10) as one constant table: state x event -> next state and actions.
 *
 * Pure C without locks, buffers or time. The kernel executes the table, a
 * selftest walks all of its cells in user space, and documents and the model
 * that make model searches are made from it.
 */
#ifndef _CFTCP_FSM_H
#define _CFTCP_FSM_H

#ifdef __KERNEL__
#include <linux/build_bug.h>
#include <linux/types.h>
#include <net/tcp_states.h>
#else
#include <assert.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
typedef uint8_t u8;
typedef uint32_t u32;
#endif

/* The states of the table, in the order of its columns; X(name, RFC name). */
#define CFTCP_STATES(X)							\
	X(ESTABLISHED, "ESTABLISHED")					\
	X(FIN_WAIT1, "FIN-WAIT-1")					\
	X(FIN_WAIT2, "FIN-WAIT-2")					\
	X(CLOSE_WAIT, "CLOSE-WAIT")					\
	X(CLOSING, "CLOSING")						\
	X(LAST_ACK, "LAST-ACK")						\
	X(TIME_WAIT, "TIME-WAIT")					\
	X(CLOSE, "CLOSED")

/*
 * Every event, in the order of RFC 9293 section 3.10: user calls, then the
 * steps of SEGMENT ARRIVES, then timeouts. X(name, id, meaning).
 *
 * FIN_AND_ACK is what FIN_ACKED followed by FIN (or by FIN_DUP, where the FIN
 * was seen before) amounts to: one segment may do both.
 */
#define CFTCP_EVENTS(X)							\
	X(CLOSE,	"E1",	"user CLOSE")				\
	X(CLOSE_UNREAD,	"E1b",	"user CLOSE with unread data")		\
	X(SHUTDOWN_WR,	"E2",	"user SHUTDOWN_WR")			\
	X(ABORT,	"E3",	"user ABORT")				\
	X(SEND,		"E4",	"user SEND")				\
	X(RECEIVE,	"E5",	"user RECEIVE")				\
	X(FIN,		"E6",	"FIN in order")				\
	X(FIN_HELD,	"E7",	"FIN out of order")			\
	X(FIN_ACKED,	"E8",	"ACK of our FIN")			\
	X(FIN_AND_ACK,	"E9",	"FIN and ACK of our FIN")		\
	X(FIN_DUP,	"E10",	"duplicate FIN")			\
	X(SYN,		"E11",	"SYN")					\
	X(RST_EXACT,	"E12",	"RST, SEQ = RCV.NXT")			\
	X(RST_INSIDE,	"E13",	"RST in window, SEQ != RCV.NXT")	\
	X(RST_OUTSIDE,	"E14",	"RST outside window")			\
	X(TEXT,		"E15",	"text in order, reader there")		\
	X(TEXT_NO_READER, "E16", "new text, reader gone")		\
	X(TEXT_BEYOND,	"E17",	"text beyond the peer's FIN")		\
	X(OLD,		"E18",	"old duplicate")			\
	X(ACK_BAD,	"E19",	"ACK of nothing we sent, or too old")	\
	X(RTO,		"E20",	"RTO fires")				\
	X(2MSL,		"E21",	"2MSL timer fires")			\
	X(FIN_WAIT2,	"E22",	"FIN-WAIT-2 timer fires")		\
	X(USER_TIMEOUT,	"E23",	"user timeout, R2 or orphan timeout")	\
	X(PERSIST,	"E24",	"persist timer fires")			\
	X(ICMP,		"E25",	"ICMP hard error")			\
	X(NO_ACK,	"E26",	"segment without ACK")

/** enum cftcp_event - what can happen to a connection from ESTABLISHED on */
enum cftcp_event {
#define CFTCP_X(name, id, text) CFTCP_EV_##name,
	CFTCP_EVENTS(CFTCP_X)
#undef CFTCP_X
	CFTCP_EV_COUNT
};

/*
 * What the executor does for a cell, as bits; X(name, meaning). An action is
 * done in the order of this list, after the state has changed.
 */
#define CFTCP_ACTIONS(X)						\
	X(NA,		"cannot happen in this state")			\
	X(TEXT,		"take the text")				\
	X(HOLD,		"keep it until the hole before it is filled")	\
	X(EOF,		"RCV.NXT over the FIN, tell the reader")	\
	X(FIN,		"queue a FIN after the data")			\
	X(RST,		"RST,ACK SEQ=SND.NXT")				\
	X(RST_NO_FIN,	"RST,ACK if our FIN has never left")		\
	X(RST_REPLY,	"RST made from the segment")			\
	X(ACK,		"ACK at once")					\
	X(ACK_SOON,	"ACK within a tick, by our own FIN if it follows") \
	X(CHALLENGE,	"ACK, rate-limited")				\
	X(REXMIT,	"send the head of the queue again, back off")	\
	X(PROBE,	"probe the window, back off")			\
	X(2MSL,		"start or restart 2MSL, stop all else")		\
	X(FW2,		"an orphan starts the FIN-WAIT-2 timer")	\
	X(WAKE,		"wake a lingering close")			\
	X(RESET,	"the user is told: reset")			\
	X(TIMEDOUT,	"the user is told: timed out")			\
	X(SOFT,		"the user may ask for the soft error")		\
	X(EPIPE,	"the call fails with EPIPE")			\
	X(ENOTCONN,	"the call fails with ENOTCONN")			\
	X(DROP,		"the rest of the segment is dropped")

enum {
#define CFTCP_X(name, text) CFTCP_BIT_##name,
	CFTCP_ACTIONS(CFTCP_X)
#undef CFTCP_X
	CFTCP_BIT_COUNT
};

enum cftcp_action {
#define CFTCP_X(name, text) CFTCP_DO_##name = 1U << CFTCP_BIT_##name,
	CFTCP_ACTIONS(CFTCP_X)
#undef CFTCP_X
};

/**
 * struct cftcp_cell - one cell of the table
 * @next: state after the event (TCP_*); equal to the state before for "stay"
 * @act: CFTCP_DO_* bits
 */
struct cftcp_cell {
	u8 next;
	u32 act;
};

/**
 * cftcp_fsm() - look up what an event does
 * @state: TCP_ESTABLISHED or any later state of a connection, TCP_CLOSE
 * @event: one of enum cftcp_event
 *
 * Context: any.
 * Return: the cell; states outside of the table (LISTEN, SYN-SENT,
 * SYN-RECEIVED) and unknown events give a cell that stays and is NA.
 */
struct cftcp_cell cftcp_fsm(int state, enum cftcp_event event);

/**
 * cftcp_fsm_covers() - is this state one of the table's?
 * @state: TCP_*
 *
 * Return: true from ESTABLISHED on and for CLOSED.
 */
bool cftcp_fsm_covers(int state);

/** cftcp_event_id() - short id of an event as the requirements name it, "E9" */
const char *cftcp_event_id(enum cftcp_event event);
/** cftcp_event_text() - meaning of an event, for people */
const char *cftcp_event_text(enum cftcp_event event);
/** cftcp_action_text() - meaning of an action's bit number, for people */
const char *cftcp_action_text(unsigned int bit);
/** cftcp_state_name() - RFC name of a TCP_* state, "FIN-WAIT-1" */
const char *cftcp_state_name(int state);

#endif
