/* SPDX-License-Identifier: GPL-2.0 */
/* net.cftcp.*: one list, from which code, /proc and documents are made. */
#ifndef _CFTCP_SYSCTL_H
#define _CFTCP_SYSCTL_H

#include <linux/types.h>

struct cftcp_net;

#define CFTCP_DAY_MS	(24 * 60 * 60 * 1000)
/* 32767 s, the most that TCP_KEEPIDLE and TCP_KEEPINTVL take. */
#define CFTCP_MAX_KEEP_MS	32767000

/*
 * Whose: OWN is the namespace's own affair. HOST bounds what the kernel keeps, or
 * whether it does: in a user namespace's it is not to be above the host's.
 */
#define CFTCP_OWN	0
#define CFTCP_HOST	1

/* X(name, unit, default, lowest, highest, whose, meaning) */
#define CFTCP_SYSCTLS(X)						\
	X(enabled, "bool", 1, 0, 1, HOST,				\
	  "0 refuses new sockets with ENOPROTOOPT; open ones go on")	\
	X(msl_ms, "ms", 30000, 1, 600000, OWN,				\
	  "maximum segment lifetime; TIME-WAIT lasts twice that")	\
	X(fin_wait2_timeout_ms, "ms", 60000, 1, CFTCP_DAY_MS, OWN,	\
	  "how long a closed socket stays in FIN-WAIT-2")		\
	X(orphan_timeout_ms, "ms", 100000, 1, CFTCP_DAY_MS, OWN,	\
	  "how long a closed socket retransmits without progress")	\
	X(user_timeout_ms, "ms", 300000, 0, CFTCP_DAY_MS, OWN,		\
	  "how long sent data may make no progress; 0 is for ever")	\
	X(max_time_wait, "records", 262144, 0, INT_MAX, HOST,		\
	  "TIME-WAIT records; above it connections end without one")	\
	X(max_orphans, "sockets", 65536, 0, INT_MAX, HOST,		\
	  "closed sockets still closing; above it the oldest are reset")	\
	X(time_wait_ignore_rst, "bool", 1, 0, 1, OWN,			\
	  "1 ignores RST in TIME-WAIT (RFC 1337), 0 obeys it (RFC 9293)") \
	X(challenge_ack_ms, "ms", 500, 0, 60000, OWN,			\
	  "least time between two challenge ACKs of a connection")	\
	X(time_wait_reuse, "bool", 0, 0, 1, OWN,			\
	  "1 lets connect() take a 4-tuple that is a second in TIME-WAIT") \
	X(rto_min_ms, "ms", 200, 1, 60000, OWN,				\
	  "lowest retransmission timeout")				\
	X(rto_max_ms, "ms", 120000, 1000, 240000, OWN,			\
	  "highest retransmission timeout after backoff")		\
	X(rto_init_ms, "ms", 1000, 1, 60000, OWN,			\
	  "retransmission timeout before the first measurement")	\
	X(syn_retries, "count", 7, 0, 127, OWN,				\
	  "retransmissions of a SYN before connect() fails")		\
	X(synack_retries, "count", 5, 0, 127, OWN,			\
	  "retransmissions of a SYN,ACK before the request is dropped")	\
	X(keepalive_time_ms, "ms", 7200000, 1, CFTCP_MAX_KEEP_MS, OWN,	\
	  "silence before the first keepalive probe")			\
	X(keepalive_intvl_ms, "ms", 75000, 1, CFTCP_MAX_KEEP_MS, OWN,	\
	  "time between two keepalive probes")				\
	X(keepalive_probes, "count", 9, 1, 127, OWN,			\
	  "keepalive probes without an answer that end a connection")	\
	X(pmtu_probing, "mode", 1, 0, 2, OWN,				\
	  "search the path MTU by size: 1 if it swallows segments, 2 always") \
	X(pmtu_base_bytes, "bytes", 1024, 536, 65535, OWN,		\
	  "MSS that such a search begins with")				\
	X(pmtu_probe_interval_ms, "ms", 600000, 1000, CFTCP_DAY_MS, OWN, \
	  "how long after a search the next one")			\
	X(repair_copies, "count", 1, 1, 4, OWN,				\
	  "times that SYNs leave, and repairs beside nothing new")	\
	X(pacing_rate, "bytes/s", 0, 0, INT_MAX, OWN,			\
	  "most that a connection sends; 0 is no limit")		\
	X(icmp_hard_abort, "bool", 0, 0, 1, OWN,			\
	  "1: hard ICMP errors end connections too, not only attempts")	\
	X(max_syn_backlog, "requests", 4096, 0, INT_MAX, HOST,		\
	  "half-open connections of one listener; as many again of who "	\
	  "is in TIME-WAIT")						\
	X(syn_cookies, "mode", 1, 0, 2, OWN,				\
	  "1 answers by SYN cookies when they are too many, 2 always")	\
	X(abort_on_overflow, "bool", 0, 0, 1, OWN,			\
	  "1 resets a connection that the accept queue has no room for")

/* Triples; X(name, unit, least, default, most, lowest, highest, whose, meaning) */
#define CFTCP_SYSCTL_TRIPLES(X)						\
	X(rmem, "bytes", 4096, 16777216, 33554432, 2304, INT_MAX, HOST,	\
	  "receive buffer of a socket: least, initial, most")		\
	X(wmem, "bytes", 4096, 524288, 33554432, 4096, INT_MAX, HOST,	\
	  "send buffer of a socket: least, initial, most")

/**
 * struct cftcp_sysctl - the values of one namespace
 *
 * Written by the sysctl handlers, read anywhere with READ_ONCE(). The field
 * of a name is the sysctl of that name; see the lists above for units.
 */
struct cftcp_sysctl {
#define CFTCP_X(name, unit, def, lo, hi, whose, text) int name;
	CFTCP_SYSCTLS(CFTCP_X)
#undef CFTCP_X
#define CFTCP_X(name, unit, d0, d1, d2, lo, hi, whose, text) int name[3];
	CFTCP_SYSCTL_TRIPLES(CFTCP_X)
#undef CFTCP_X
};

/** cftcp_sysctl() - value of a sysctl in a namespace, for use from any context */
#define cftcp_sysctl(cn, name) READ_ONCE((cn)->sysctl.name)

/**
 * cftcp_sysctl_init() - set defaults and register net.cftcp in a namespace
 *
 * Context: process.
 * Return: 0 or -ENOMEM.
 */
int cftcp_sysctl_init(struct cftcp_net *cn);
/** cftcp_sysctl_exit() - unregister; the values stay readable */
void cftcp_sysctl_exit(struct cftcp_net *cn);

#endif
