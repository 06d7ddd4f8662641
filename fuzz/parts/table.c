// SPDX-License-Identifier: GPL-2.0
/*
 * The termination table: any state and event, and a walk of events from
 * ESTABLISHED on, whose state must be what three facts make of it: is our FIN
 * queued, is it acknowledged, has the peer's come?
 */
#include "parts.h"

/* Never to a smaller one. */
static int rank(int state)
{
	static const u8 ranks[TCP_CLOSING + 1] = {
		[TCP_ESTABLISHED] = 1, [TCP_FIN_WAIT1] = 2,
		[TCP_FIN_WAIT2] = 3, [TCP_CLOSE_WAIT] = 2, [TCP_CLOSING] = 3,
		[TCP_LAST_ACK] = 3, [TCP_TIME_WAIT] = 4, [TCP_CLOSE] = 5,
	};

	return (unsigned int)state <= TCP_CLOSING ? ranks[state] : 0;
}

static void any_cell(int state, unsigned int event)
{
	struct cftcp_cell cell = cftcp_fsm(state, event);
	bool stays = cell.next == (u8)state;

	must(cftcp_fsm_covers(state) == !!rank(state));
	must(cftcp_event_id(event) && cftcp_event_text(event));
	must(cftcp_action_text(event) && cftcp_state_name(state));
	if (!rank(state) || event >= CFTCP_EV_COUNT) {
		must(stays && cell.act == CFTCP_DO_NA);
		return;
	}
	must(cell.act < 1U << CFTCP_BIT_COUNT);
	must(stays || rank(cell.next) > rank(state));
	if (cell.act & CFTCP_DO_NA)
		must(stays && cell.act == CFTCP_DO_NA);
	/* Whoever comes to TIME-WAIT waits, and nobody waits elsewhere. */
	if (cell.act & CFTCP_DO_2MSL)
		must(cell.next == TCP_TIME_WAIT);
	if (!stays && cell.next == TCP_TIME_WAIT)
		must(cell.act & CFTCP_DO_2MSL);
	/* A FIN is sent, and its end waited for, once. */
	must(!(cell.act & CFTCP_DO_FIN) == !(!stays &&
	     (cell.next == TCP_FIN_WAIT1 || cell.next == TCP_LAST_ACK)));
	if (cell.act & (CFTCP_DO_RST | CFTCP_DO_RST_NO_FIN |
			CFTCP_DO_TIMEDOUT | CFTCP_DO_RESET))
		must(cell.next == TCP_CLOSE && !stays);
	if (cell.act & (CFTCP_DO_CHALLENGE | CFTCP_DO_RST_REPLY))
		must(cell.act & CFTCP_DO_DROP);
	if (cell.act & (CFTCP_DO_REXMIT | CFTCP_DO_PROBE | CFTCP_DO_TEXT |
			CFTCP_DO_HOLD | CFTCP_DO_SOFT))
		must(stays);
}

static int state_of(bool fin, bool acked, bool peer_first, bool peer)
{
	if (!fin)
		return peer ? TCP_CLOSE_WAIT : TCP_ESTABLISHED;
	if (peer_first)
		return acked ? TCP_CLOSE : TCP_LAST_ACK;
	if (peer)
		return acked ? TCP_TIME_WAIT : TCP_CLOSING;
	return acked ? TCP_FIN_WAIT2 : TCP_FIN_WAIT1;
}

static void walk(void)
{
	bool fin = false, acked = false, peer = false, peer_first = false;
	int state = TCP_ESTABLISHED;

	while (parts_more() && state != TCP_CLOSE && state != TCP_TIME_WAIT) {
		enum cftcp_event event = any8() % CFTCP_EV_COUNT;
		struct cftcp_cell cell = cftcp_fsm(state, event);
		bool peers = event == CFTCP_EV_FIN ||
			     (event == CFTCP_EV_FIN_AND_ACK && !peer);
		bool acks = event == CFTCP_EV_FIN_ACKED ||
			    event == CFTCP_EV_FIN_AND_ACK;

		/* What facts forbid cannot happen, nor the other way round. */
		if ((acks && !fin) || (event == CFTCP_EV_FIN && peer)) {
			must(cell.act & CFTCP_DO_NA);
			continue;
		}
		if (event == CFTCP_EV_CLOSE || event == CFTCP_EV_SHUTDOWN_WR) {
			peer_first |= !fin && peer;
			fin = true;
		}
		must(!(cell.act & CFTCP_DO_EOF) || peers);
		if (peers)
			must(cell.act & CFTCP_DO_EOF);
		peer |= peers;
		acked |= acks;
		state = cell.next;
		if (state != TCP_CLOSE)
			must(state == state_of(fin, acked, peer_first, peer));
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	int any;

	parts_input(data, size);
	any = any32();
	any_cell(any, any32());
	for (int state = 0; state <= TCP_CLOSING; state++)
		for (int event = 0; event <= CFTCP_EV_COUNT; event++)
			any_cell(state, event);
	while (parts_more())
		walk();
	return 0;
}
