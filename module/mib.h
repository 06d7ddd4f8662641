/* SPDX-License-Identifier: GPL-2.0 */
/* Counters and drop reasons: one list each, shown in /proc/net/cftcp_stat. */
#ifndef _CFTCP_MIB_H
#define _CFTCP_MIB_H

#ifdef __KERNEL__
#include <linux/percpu.h>
#include <linux/types.h>
#endif

/* X(name, meaning) */
#define CFTCP_COUNTERS(X)						\
	X(ActiveOpens,		"connections opened by connect()")	\
	X(PassiveOpens,		"connections opened by a listener")	\
	X(AttemptFails,		"connections that failed to open")	\
	X(EstabResets,		"connections ended by the peer's RST")	\
	X(InSegs,		"segments for cftcp")			\
	X(OutSegs,		"segments sent")			\
	X(RetransSegs,		"segments sent again")			\
	X(SendRefused,		"times that a queue of this host was full") \
	X(OutRsts,		"RSTs sent")				\
	X(TimeWaitEntered,	"connections that entered TIME-WAIT")	\
	X(TimeWaitExpired,	"TIME-WAITs that lasted 2MSL")		\
	X(TimeWaitReused,	"TIME-WAITs taken by a newer connection")	\
	X(TimeWaitOverflow,	"TIME-WAITs left out: max_time_wait, memory") \
	X(TimeWaitRestarted,	"TIME-WAITs restarted by a FIN")	\
	X(TimeWaitRstIgnored,	"RSTs ignored in TIME-WAIT")		\
	X(OrphanOverflow,	"closed sockets reset: max_orphans") \
	X(AbortOnClose,		"resets for unread data at close")	\
	X(AbortOnData,		"resets for data after close")		\
	X(AbortOnLinger,	"resets for linger 0 or LINGER2 < 0")	\
	X(AbortOnMemory,	"closed sockets reset: memory")		\
	X(AbortOnTimeout,	"connections ended by a timeout")	\
	X(AbortOnUser,		"resets for a disconnect")		\
	X(FinWait2Timeout,	"FIN-WAIT-2 timeouts")			\
	X(ChallengeAck,		"challenge ACKs sent")			\
	X(ChallengeAckSkipped,	"challenge ACKs held back by the limit") \
	X(ListenOverflow,	"SYNs and ACKs refused: queue full")	\
	X(SynCookiesSent,	"SYN,ACKs that carried a SYN cookie")	\
	X(SynCookiesRecv,	"connections opened by a SYN cookie")	\
	X(SynCookiesFailed,	"ACKs with a forged or an old SYN cookie") \
	X(AcceptDeferred,	"ACKs without text: TCP_DEFER_ACCEPT")	\
	X(RequestExpired,	"requests whose SYN,ACK went unanswered") \
	X(RtoFired,		"retransmission timeouts")		\
	X(RtoSpurious,		"timeouts whose segment was only late")	\
	X(FastRetransmit,	"segments sent again before the timeout") \
	X(LossProbe,		"loss probes sent")			\
	X(LossProbeRepaired,	"losses that a probe repaired")		\
	X(DsackReceived,	"ACKs that tell of a segment that came twice") \
	X(WindowProbe,		"zero-window probes sent")		\
	X(KeepaliveProbe,	"keepalive probes sent")		\
	X(DelayedAck,		"ACKs sent by the delay timer")		\
	X(OutOfOrder,		"segments kept out of order")		\
	X(DuplicateFin,		"FINs seen again")			\
	X(IcmpStray,		"ICMP messages with a wrong number or TTL") \
	X(MtuBlackHole,		"MSS lowered, for full segments vanish") \
	X(MtuProbe,		"segments sent to try a larger MSS")	\
	X(MtuReduced,		"path MTUs that ICMP told and that were obeyed") \
	X(BadOptions,		"segments with an illegal option length")

/* Why a segment was dropped; X(name, meaning) */
#define CFTCP_DROPS(X)							\
	X(Short,	"shorter than its header")			\
	X(DataOffset,	"data offset below 5 or past the end")		\
	X(Checksum,	"bad checksum")					\
	X(Flags,	"SYN with FIN or RST, or no flag at all")	\
	X(Address,	"to or from an address that cannot be")		\
	X(Policy,	"IPsec policy")					\
	X(Filter,	"socket filter or minimum TTL")			\
	X(Sequence,	"outside of the window")			\
	X(Rst,		"RST that is not exact")			\
	X(Syn,		"SYN in a synchronized state")			\
	X(NoAck,	"no ACK bit")					\
	X(Ack,		"ACK of what was never sent, or too old")	\
	X(Paws,		"old or missing timestamp")			\
	X(Text,		"text for a reader that is gone")		\
	X(BeyondFin,	"text beyond the peer's FIN")			\
	X(Backlog,	"socket backlog full")				\
	X(Memory,	"no memory, or receive buffer full")		\
	X(Listen,	"listener queue full")				\
	X(State,	"nothing to do in this state")

enum cftcp_counter {
#define CFTCP_X(name, text) CFTCP_MIB_##name,
	CFTCP_COUNTERS(CFTCP_X)
#undef CFTCP_X
#define CFTCP_X(name, text) CFTCP_DROP_##name,
	CFTCP_DROPS(CFTCP_X)
#undef CFTCP_X
	CFTCP_MIB_COUNT
};

#ifdef __KERNEL__
/** struct cftcp_mib - free-running counters of one CPU and namespace */
struct cftcp_mib {
	u64 count[CFTCP_MIB_COUNT];
};

/** cftcp_count() - add one to a counter; any context */
#define cftcp_count(cn, name)						\
	this_cpu_inc((cn)->mib->count[CFTCP_MIB_##name])
/** cftcp_count_n() - add to a counter; any context */
#define cftcp_count_n(cn, name, n)					\
	this_cpu_add((cn)->mib->count[CFTCP_MIB_##name], n)
/** cftcp_count_drop() - count a dropped segment by its reason; any context */
#define cftcp_count_drop(cn, reason)					\
	this_cpu_inc((cn)->mib->count[CFTCP_DROP_##reason])
#endif

#endif
