/* SPDX-License-Identifier: GPL-2.0 */
/* What targets share: choices out of an input, and a connection. */
#ifndef _PARTS_H
#define _PARTS_H

#include "output.h"
#include "segment.h"
#include "sock.h"

/* What must hold, and ends the run if it does not. */
#define must(cond) do {							\
	if (!(cond)) {							\
		fprintf(stderr, "%s:%d: not true: %s\n",		\
			__FILE__, __LINE__, #cond);			\
		abort();						\
	}								\
} while (0)

/** LLVMFuzzerTestOneInput() - one run of a target. Return: 0 */
int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/*
 * The input. When it has ended all is 0. One of these an expression: compilers
 * differ in what they evaluate first.
 */
void parts_input(const u8 *data, size_t size);
bool parts_more(void);
u8 any8(void);
u16 any16(void);
u32 any32(void);
/** any_size() - a number of any length */
u32 any_size(void);
/** any_near() - mostly something close to @x, in numbers that go round */
u32 any_near(u32 x);

/*
 * The world. parts_begin() forgets all of the run before.
 */
void parts_begin(void);
/** parts_advance() - let time pass, and timers fire */
void parts_advance(struct sock *sk, u64 ns);
/** parts_fail - allocations that fail: bit 0 the next, then the one after */
extern u64 parts_fail;
/** parts_failed - one has failed since this was last cleared */
extern bool parts_failed;
/** parts_hold - what leaves stays in a queue below until parts_release() */
extern bool parts_hold;
void parts_release(void);
/** parts_sent - called for each segment that leaves, at its TCP header */
extern void (*parts_sent)(struct sock *sk, struct sk_buff *skb);

/** parts_connection() - a socket in ESTABLISHED that has sent nothing */
struct sock *parts_connection(u32 iss, u32 irs);
/** parts_write() - the user writes: octets of the stream join the send queue */
void parts_write(struct sock *sk, u32 len);
/** parts_close() - free it and see that nothing of it is left */
void parts_close(struct sock *sk);
/** parts_net - its namespace, by its defaults */
extern struct cftcp_net parts_net;
#define parts_counter(name)	(parts_mib.count[CFTCP_MIB_##name])
#define parts_drops(name)	(parts_mib.count[CFTCP_DROP_##name])
extern struct cftcp_mib parts_mib;

/**
 * parts_arrives() - a segment of the peer's arrives
 * @sk: for whom
 * @seg: its numbers, flags, window, and of the options timestamps and SACK
 * @text: seg->len octets
 */
void parts_arrives(struct sock *sk, const struct cftcp_segment *seg,
		   const u8 *text);
/** parts_parse() - take a segment of ours apart */
void parts_parse(const struct sk_buff *skb, struct cftcp_segment *seg);

/** parts_octet() - what the stream has at this number */
static inline u8 parts_octet(u32 seq)
{
	return (seq * 2654435761U) >> 24;
}

#endif
