/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM cftcp

#if !defined(_CFTCP_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _CFTCP_TRACE_H

#include <linux/tracepoint.h>

#include "af.h"
#include "compat.h"
#include "fsm.h"

/* A connection changes its state; event is an id of the table, or a word. */
TRACE_EVENT(cftcp_state,
	TP_PROTO(const struct cftcp_key *key, int oldstate, int newstate,
		 const char *event),
	TP_ARGS(key, oldstate, newstate, event),
	TP_STRUCT__entry(
		__array(u8, laddr, sizeof(struct sockaddr_in6))
		__array(u8, faddr, sizeof(struct sockaddr_in6))
		__field(u16, lport)
		__field(u16, fport)
		__field(int, oldstate)
		__field(int, newstate)
		__string(event, event)
	),
	TP_fast_assign(
		cftcp_sockaddr(__entry->laddr, &key->laddr);
		cftcp_sockaddr(__entry->faddr, &key->faddr);
		__entry->lport = ntohs(key->lport);
		__entry->fport = ntohs(key->fport);
		__entry->oldstate = oldstate;
		__entry->newstate = newstate;
		cftcp_assign_str(event, event);
	),
	TP_printk("saddr=%pISc sport=%u daddr=%pISc dport=%u oldstate=%s newstate=%s event=%s",
		  __entry->laddr, __entry->lport,
		  __entry->faddr, __entry->fport,
		  cftcp_state_name(__entry->oldstate),
		  cftcp_state_name(__entry->newstate), __get_str(event))
);

/* A segment comes in for a connection, or leaves. */
TRACE_EVENT(cftcp_segment,
	TP_PROTO(bool out, const struct cftcp_key *key, int state, u8 flags,
		 u32 seq, u32 ack, u32 len, u16 win),
	TP_ARGS(out, key, state, flags, seq, ack, len, win),
	TP_STRUCT__entry(
		__field(bool, out)
		__array(u8, laddr, sizeof(struct sockaddr_in6))
		__array(u8, faddr, sizeof(struct sockaddr_in6))
		__field(u16, lport)
		__field(u16, fport)
		__field(int, state)
		__field(u8, flags)
		__field(u32, seq)
		__field(u32, ack)
		__field(u32, len)
		__field(u16, win)
	),
	TP_fast_assign(
		__entry->out = out;
		cftcp_sockaddr(__entry->laddr, &key->laddr);
		cftcp_sockaddr(__entry->faddr, &key->faddr);
		__entry->lport = ntohs(key->lport);
		__entry->fport = ntohs(key->fport);
		__entry->state = state;
		__entry->flags = flags;
		__entry->seq = seq;
		__entry->ack = ack;
		__entry->len = len;
		__entry->win = win;
	),
	TP_printk("dir=%s saddr=%pISc sport=%u daddr=%pISc dport=%u state=%s flags=%s seq=%u ack=%u len=%u win=%u",
		  __entry->out ? "out" : "in",
		  __entry->laddr, __entry->lport,
		  __entry->faddr, __entry->fport,
		  cftcp_state_name(__entry->state),
		  __print_flags(__entry->flags, "|",
				{ 0x01, "FIN" }, { 0x02, "SYN" },
				{ 0x04, "RST" }, { 0x08, "PSH" },
				{ 0x10, "ACK" }, { 0x20, "URG" }),
		  __entry->seq, __entry->ack, __entry->len, __entry->win)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
