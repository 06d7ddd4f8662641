/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Two endpoints close a connection, by the table of module/fsm.c.
 *
 * table.pml is generated: ev_NAME(i) looks up the cell of event NAME in the
 * state of endpoint i and has it done, as cftcp_event() does in the kernel. Here
 * stand the rest of section 3.10.7 of RFC 9293, as module/input.c has it, the
 * users, the timers and the network, and what must hold.
 *
 * Numbers count segments: a user's text takes 0 to TEXT-1, one each, and then the
 * FIN. The network is, for each direction, the set of what is under way: a
 * segment may be delivered at any time or never, be delivered again, and come
 * before those that were sent before it. At most NET segments are in it; what
 * is sent beyond is lost.
 *
 * scripts/model runs it in these ways:
 *
 *   HOSTILE  users that abort, user timeouts and forged segments at any time
 *   FAIR     a network that loses at most LOSSES segments, timers that wait until
 *            all is quiet, users that wait for the end: it must end well, and
 *            soon
 *   TIMED    segments that live less than MSL ticks, TIME-WAIT of TIME_WAIT_TICKS,
 *            and then a new incarnation, which must see none of them
 */
#include "table.pml"
#define CLOSED CLOSE	/* as the RFC calls it */

#ifndef TEXT
#define TEXT 1
#endif
#ifndef NET
#define NET 2
#endif
#ifndef MSL
#define MSL 1
#endif
#ifndef LOSSES
#define LOSSES 2
#endif
#ifndef FORGED
#define FORGED 1
#endif
#ifndef TIME_WAIT_TICKS
#define TIME_WAIT_TICKS (2 * MSL)
#endif
#ifndef IGNORE_RST
#define IGNORE_RST 1	/* net.cftcp.time_wait_ignore_rst */
#endif

#define NUMBERS (TEXT + 2)	/* text, FIN, and past it */

/* A segment: what it is, its number and its acknowledgment. */
#define BARE_ACK	0
#define SEGMENT_TEXT	1
#define SEGMENT_FIN	2
#define SEGMENT_RST	3
#define SEGMENTS	(4 * NUMBERS * NUMBERS)
#define CODE(kind, seq, ack) (((kind) * NUMBERS + (seq)) * NUMBERS + (ack))

/* What a user has done, and what the end of a connection was. */
#define OPEN		0
#define SHUT		1
#define GONE		2
#define NORMAL		1
#define TOLD_RESET	2
#define TOLD_TIMEOUT	3
#define ABORTED		4

typedef endpoint {
	byte state;
	byte written;	/* by the user, in segments */
	bit fin_queued;
	byte snd_una;
	byte snd_nxt;
	byte rcv_nxt;
	byte held;	/* bit n: number n came before its turn */
	bit fin_received;
	bit unread;
	bit ack_owed;
	bit fin_wait2;	/* this timer runs */
	byte time_wait;	/* ticks left of 2MSL */
	byte user;
	byte end;	/* what the user was told, when it was over */
};

endpoint e[2];
byte net[2 * SEGMENTS];	/* ticks that the segment will live; to 0, then to 1 */
byte load[2];
byte losses, repeats, forged;
bool reincarnated;

hidden byte old_state, kind, seq, ack, what, number, n;
hidden byte reset;
hidden int cell;

#define peer(i)		(1 - (i))
#define fin_sent(i)	(e[i].snd_nxt > e[i].written)
#define fin_acked(i)	(e[i].snd_una > e[i].written)
#define in_flight(i)	(e[i].state != CLOSED && e[i].snd_una < e[i].snd_nxt)
#define may_leave(i)	(e[i].state != CLOSED && \
			 (e[i].snd_nxt < e[i].written || \
			  (e[i].snd_nxt == e[i].written && e[i].fin_queued)))
#define quiet		(load[0] + load[1] == 0 && \
			 !e[0].ack_owed && !e[1].ack_owed && \
			 !may_leave(0) && !may_leave(1))
#define over		(e[0].state == CLOSED && e[1].state == CLOSED && \
			 e[0].user == GONE && e[1].user == GONE)

#ifdef HOSTILE
#define FORGET(i)	e[i].end = 0
#else
#define FORGET(i)	skip
#endif

#ifdef FAIR
#define TIMER_MAY_FIRE	quiet
#define MAY_CLOSE(i)	(e[i].fin_received && !e[i].unread)
#define MAY_LOSE	(losses < LOSSES)
#define MAY_REPEAT	false
#define LOST		losses++
#else
#define TIMER_MAY_FIRE	true
#define MAY_CLOSE(i)	true
#define MAY_LOSE	true
#define MAY_REPEAT	true
#define LOST		skip
#endif

/*
 * What must hold.
 */

/* RFC 9293 figure 5: what was sent, acknowledged and received is the state. */
#define STATE_OF(fin, acked, end)					\
	(!(fin) -> ((end) -> CLOSE_WAIT : ESTABLISHED) :		\
	 (!(acked) -> ((end) -> CLOSING_OR_LAST_ACK : FIN_WAIT1) :	\
	  ((end) -> TIME_WAIT : FIN_WAIT2)))
#define CLOSING_OR_LAST_ACK (old_state == CLOSE_WAIT || old_state == LAST_ACK -> \
			     LAST_ACK : CLOSING)

inline state_is_right(i)
{
	assert(e[i].state != TIME_WAIT || old_state == TIME_WAIT ||
	       old_state == FIN_WAIT1 || old_state == FIN_WAIT2 ||
	       old_state == CLOSING);
	assert(e[i].state == CLOSED ||
	       e[i].state == STATE_OF(e[i].fin_queued, fin_acked(i),
				      e[i].fin_received));
	/* Nobody is in TIME-WAIT for ever, and only there. */
	assert((e[i].state == TIME_WAIT) == (e[i].time_wait > 0))
}

/* Whoever is not told of an error has all text where it belongs. */
inline end_is_right(i)
{
	assert(e[i].end != NORMAL || fin_acked(i));
	assert(e[i].end != NORMAL || e[peer(i)].rcv_nxt > e[i].written)
}

/* The reader finds the end behind all text, not before. */
inline eof_is_right(i)
{
	assert(e[i].rcv_nxt == e[peer(i)].written)
}

/*
 * Sending.
 */

inline segment_in_words(k, s, a)
{
	if
	:: k == BARE_ACK -> printf("ACK")
	:: k == SEGMENT_TEXT -> printf("text, ACK")
	:: k == SEGMENT_FIN -> printf("FIN,ACK")
	:: else -> printf("RST")
	fi;
	printf(" SEQ=%d ACK=%d\n", s, a)
}

#define OURS(i)	(number < e[i].written -> SEGMENT_TEXT : SEGMENT_FIN)

/* Segment `number`, which is `what`, with an acknowledgment. */
inline emit(i)
{
	n = SEGMENTS * peer(i) +
	    CODE(what, number, (what == SEGMENT_RST -> 0 : e[i].rcv_nxt));
	if
	:: net[n] || load[peer(i)] < NET ->
		load[peer(i)] = load[peer(i)] + (net[n] == 0);
		net[n] = MSL;
		printf("%d: sends ", i);
		segment_in_words(what, number, e[i].rcv_nxt)
	:: else ->
		LOST
	fi;
	e[i].ack_owed = 0
}

/*
 * The actions of a cell, in the order of CFTCP_ACTIONS: act_on() of close.c.
 */

inline done(i)
{
	e[i].state = CLOSED;
	e[i].fin_wait2 = 0;
	e[i].time_wait = 0;
	e[i].ack_owed = 0;
	e[i].end = (e[i].end -> e[i].end :
		    (cell & DO_RESET -> TOLD_RESET :
		     (cell & DO_TIMEDOUT -> TOLD_TIMEOUT : NORMAL)));
	end_is_right(i);
	/* What does not matter any more must not make states. */
	FORGET(i);
	e[i].fin_queued = 0;
	e[i].snd_una = 0;
	e[i].snd_nxt = 0;
	e[i].held = 0;
	e[i].unread = 0
}

#define NEXT (cell / GO(1))

inline perform(i)
{
	assert(!(cell & DO_NA));
	e[i].state = (NEXT == CLOSED -> old_state : NEXT);
	if
	:: cell & DO_EOF ->
		eof_is_right(i);
		e[i].fin_received = 1;
		e[i].rcv_nxt++;
		e[i].held = 0
	:: else
	fi;
	e[i].fin_queued = e[i].fin_queued || cell & DO_FIN;
	reset = cell & (DO_RST | DO_RST_REPLY) ||
		(cell & DO_RST_NO_FIN && !fin_sent(i));
	if
	:: reset || cell & (DO_ACK | DO_REXMIT) ->
		number = (cell & DO_RST_REPLY -> ack :
			  (cell & DO_REXMIT -> e[i].snd_una : e[i].snd_nxt));
		what = (reset -> SEGMENT_RST :
			(cell & DO_REXMIT -> OURS(i) : BARE_ACK));
		emit(i)
	:: else
	fi;
	e[i].ack_owed = e[i].ack_owed || cell & (DO_ACK_SOON | DO_CHALLENGE);
	e[i].time_wait = (cell & DO_2MSL -> TIME_WAIT_TICKS : e[i].time_wait);
	e[i].fin_wait2 = !(cell & DO_2MSL) &&
			 (e[i].fin_wait2 || (cell & DO_FW2 && e[i].user == GONE));
	if
	:: NEXT == CLOSED && old_state != CLOSED -> done(i)
	:: else
	fi;
	state_is_right(i)
}

/*
 * SEGMENT ARRIVES.
 */

inline acknowledged(i)
{
	if
	:: ack > e[i].snd_una && ack <= e[i].snd_nxt ->
		e[i].snd_una = ack;
		if
		:: fin_acked(i) -> ev_FIN_ACKED(i)
		:: else
		fi
	:: else
	fi
}

inline duplicate_fin(i)
{
	if
	:: ack > e[i].snd_una && ack <= e[i].snd_nxt && ack > e[i].written ->
		e[i].snd_una = ack;
		ev_FIN_AND_ACK(i)
	:: else ->
		if
		:: e[i].state != TIME_WAIT -> acknowledged(i)
		:: else
		fi;
		ev_FIN_DUP(i)
	fi
}

inline check_rst(i)
{
	if
	:: IGNORE_RST && e[i].state == TIME_WAIT -> skip
	:: else ->
		if
		:: seq == e[i].rcv_nxt -> ev_RST_EXACT(i)
		:: seq > e[i].rcv_nxt -> ev_RST_INSIDE(i)
		:: else -> ev_RST_OUTSIDE(i)
		fi
	fi
}

/* Without a connection a segment is answered by a RST, but for a RST. */
inline nobody_there(i)
{
	if
	:: kind == BARE_ACK -> ev_FIN_ACKED(i)
	:: kind == SEGMENT_TEXT -> ev_TEXT(i)
	:: kind == SEGMENT_FIN -> ev_FIN(i)
	:: else -> ev_RST_OUTSIDE(i)
	fi
}

inline process_text(i)
{
	if
	:: kind == SEGMENT_TEXT && e[i].user == GONE -> ev_TEXT_NO_READER(i)
	:: seq > e[i].rcv_nxt && !(kind == SEGMENT_TEXT && e[i].user == GONE) ->
		e[i].held = e[i].held | (1 << seq);
		e[i].ack_owed = 1;
		if
		:: kind == SEGMENT_FIN -> ev_FIN_HELD(i)
		:: else
		fi
	:: kind == SEGMENT_TEXT && seq == e[i].rcv_nxt && e[i].user != GONE ->
		ev_TEXT(i);
		if
		:: cell & DO_TEXT ->
			e[i].rcv_nxt++;
			e[i].unread = 1;
			e[i].ack_owed = 1
		:: else
		fi
	:: else
	fi
}

/* The FIN is what the peer has after its text; it may have been held. */
inline check_fin(i)
{
	do
	:: e[i].held & (1 << e[i].rcv_nxt) &&
	   e[i].rcv_nxt < e[peer(i)].written ->
		e[i].held = e[i].held & ~(1 << e[i].rcv_nxt);
		e[i].rcv_nxt++;
		e[i].unread = 1
	:: else -> break
	od;
	if
	:: (kind == SEGMENT_FIN && seq == e[i].rcv_nxt) ||
	   e[i].held & (1 << e[i].rcv_nxt) ->
		e[i].held = 0;
		ev_FIN(i)
	:: else
	fi
}

/* Wholly of the past. What acknowledges may still be news: Appendix A.2. */
inline out_of_window(i)
{
	if
	:: kind == BARE_ACK -> e[i].ack_owed = 1	/* a challenge ACK */
	:: kind == SEGMENT_FIN && e[i].fin_received &&
	   seq + 1 == e[i].rcv_nxt -> duplicate_fin(i)
	:: else ->
		if
		:: seq + 1 == e[i].rcv_nxt && e[i].state != TIME_WAIT ->
			acknowledged(i)
		:: else
		fi;
		if
		:: e[i].state != CLOSED -> ev_OLD(i)
		:: else
		fi
	fi
}

inline acceptable(i)
{
	if
	:: ack > e[i].snd_nxt -> ev_ACK_BAD(i)
	:: ack <= e[i].snd_nxt && e[i].state == TIME_WAIT ->
		if
		:: kind == BARE_ACK -> ev_FIN_ACKED(i)
		:: else -> ev_TEXT_BEYOND(i)
		fi
	:: else ->
		acknowledged(i);
		if
		:: e[i].state == CLOSED || e[i].state == TIME_WAIT ||
		   kind == BARE_ACK -> skip
		:: else ->
			process_text(i);
			if
			:: e[i].state != CLOSED -> check_fin(i)
			:: else
			fi
		fi
	fi
}

inline arrives(i)
{
	if
	:: e[i].state == CLOSED -> nobody_there(i)
	:: e[i].state != CLOSED && kind == SEGMENT_RST -> check_rst(i)
	:: e[i].state != CLOSED && kind != SEGMENT_RST &&
	   seq < e[i].rcv_nxt -> out_of_window(i)
	:: else -> acceptable(i)
	fi
}

/*
 * The processes. A user closes at last; timers fire when they run.
 */

#define text_unread(i)	(e[i].unread || \
			 e[i].held & ((1 << e[peer(i)].written) - 1))

inline closes(i)
{
	e[i].user = GONE;
	if
	:: e[i].state == CLOSED
	:: e[i].state != CLOSED && e[i].state != TIME_WAIT && text_unread(i) ->
		e[i].end = ABORTED;
		ev_CLOSE_UNREAD(i);
		assert(e[i].state == CLOSED)	/* SHLD-3 */
	:: else -> ev_CLOSE(i)
	fi;
	e[i].unread = 0
}

/* Who cannot see the connection cannot touch it. */
#define FORGE		forged < FORGED && e[i].state != CLOSED ->	\
			forged++; ack = e[i].snd_nxt
#define NO_EFFECT	assert(e[i].state == old_state)

proctype Endpoint(bit i)
{
	do
	/* the user */
	:: d_step { e[i].user != GONE && e[i].written < TEXT ->
		ev_SEND(i);
		if
		:: cell & DO_EPIPE || e[i].state == CLOSED -> skip
		:: else ->
			assert(!e[i].fin_queued);
			e[i].written++
		fi
		}
	:: d_step { e[i].unread -> ev_RECEIVE(i); e[i].unread = 0 }
	:: d_step { e[i].user == OPEN && e[i].state != CLOSED ->
		e[i].user = SHUT;
		ev_SHUTDOWN_WR(i)
		}
	:: d_step { e[i].user != GONE && MAY_CLOSE(i) -> closes(i) }

	/* what may leave, in order */
	:: d_step { may_leave(i) ->
		number = e[i].snd_nxt;
		what = OURS(i);
		emit(i);
		e[i].snd_nxt++
		}
	:: d_step { e[i].ack_owed ->
		number = e[i].snd_nxt;
		what = BARE_ACK;
		emit(i)
		}

	/* timers */
	:: d_step { in_flight(i) && TIMER_MAY_FIRE ->
		ev_RTO(i);
#ifdef FAIR
		repeats++;
		assert(repeats <= 2 * losses)
#endif
		}
	:: d_step { e[i].fin_wait2 && TIMER_MAY_FIRE ->
		ev_FIN_WAIT2(i);
		assert(e[i].state == CLOSED)
		}
#ifndef TIMED
	/* Where all is quiet an RTO comes before this. */
	:: d_step { e[i].time_wait && TIMER_MAY_FIRE && !in_flight(peer(i)) ->
		ev_2MSL(i);
		assert(e[i].state == CLOSED)
		}
#endif

#ifdef HOSTILE
	:: d_step { e[i].state != CLOSED && e[i].state != TIME_WAIT &&
		    (in_flight(i) || may_leave(i)) ->
		ev_USER_TIMEOUT(i)
		}
	:: d_step { e[i].user != GONE && e[i].state != CLOSED &&
		    e[i].state != TIME_WAIT ->
		e[i].end = ABORTED;
		ev_ABORT(i)
		}
	:: d_step { FORGE; ev_SYN(i); NO_EFFECT }
	:: d_step { FORGE; ev_RST_INSIDE(i); NO_EFFECT }
	:: d_step { FORGE; ev_RST_OUTSIDE(i); NO_EFFECT }
	:: d_step { FORGE; ev_NO_ACK(i); NO_EFFECT }
	:: d_step { FORGE; ev_ACK_BAD(i); NO_EFFECT }
	:: d_step { FORGE; ev_ICMP(i); NO_EFFECT }
#endif
	:: over ->
#ifdef FAIR
		assert(e[i].end == NORMAL);
#endif
		break
	od
}

#ifdef TIMED
/* A tick: what is too old is gone, and TIME-WAIT nearer to its end. */
inline tick()
{
	printf("one tick later\n");
	for (n : 0 .. 2 * SEGMENTS - 1) {
		load[n / SEGMENTS] = load[n / SEGMENTS] - (net[n] == 1);
		net[n] = (net[n] -> net[n] - 1 : 0)
	}
	tick_of(0);
	tick_of(1)
}

inline tick_of(i)
{
	if
	:: e[i].time_wait == 1 -> ev_2MSL(i)
	:: e[i].time_wait > 1 -> e[i].time_wait--
	:: else
	fi
}

proctype Clock()
{
	do
	:: d_step { (!over || load[0] + load[1] > 0) &&
		    !e[0].ack_owed && !e[1].ack_owed -> tick() }
	:: d_step { over && e[0].end == NORMAL && e[1].end == NORMAL ->
		reincarnated = true
		}; break
	:: over && load[0] + load[1] == 0 -> break
	od
}
#endif

#define PICK(n)	:: net[i * SEGMENTS + (n)] -> m = (n)
#define PICK3(n) PICK(n) PICK((n) + 1) PICK((n) + 2)
#define PICK9(n) PICK3(n) PICK3((n) + 3) PICK3((n) + 6)
#define PICK36(n) PICK9(n) PICK9((n) + 9) PICK9((n) + 18) PICK9((n) + 27)
#if TEXT == 1
#define PICK_ANY PICK36(0)
#elif TEXT == 2
#define PICK_ANY PICK36(0) PICK9(36) PICK9(45) PICK9(54) PICK(63)
#endif

/* The way to endpoint i. m is not hidden, for a choice follows its own. */
proctype Way(bit i)
{
	byte m;

	do
	:: atomic { load[i] > 0 ->
		if
		PICK_ANY
		fi;
		if
		:: true -> net[i * SEGMENTS + m] = 0; load[i]--
		:: MAY_REPEAT
		fi;
		/* A segment of the old incarnation in the new one. */
		assert(!reincarnated);
		d_step {
			kind = m / (NUMBERS * NUMBERS);
			seq = (m / NUMBERS) % NUMBERS;
			ack = m % NUMBERS;
			printf("%d: there comes ", i);
			segment_in_words(kind, seq, ack);
			arrives(i);
			m = 0
		}
		}
	:: atomic { load[i] > 0 && MAY_LOSE ->
		if
		PICK_ANY
		fi;
		d_step {
			net[i * SEGMENTS + m] = 0;
			load[i]--;
			m = 0;
			LOST
		}
		}
	:: over && load[i] == 0 -> break
	od
}

init
{
	atomic {
		e[0].state = ESTABLISHED;
		e[1].state = ESTABLISHED;
		run Endpoint(0);
		run Endpoint(1);
		run Way(0);
		run Way(1);
#ifdef TIMED
		run Clock()
#endif
	}
}
