/* SPDX-License-Identifier: GPL-2.0 */
/* The SACK blocks that we send (RFC 2018, RFC 2883). */
#ifndef _CFTCP_SACK_H
#define _CFTCP_SACK_H

#include "sock.h"

/*
 * Context of all: socket lock held.
 */
/** cftcp_sack_reset() - nothing is held beyond RCV.NXT, nothing came twice */
void cftcp_sack_reset(struct cftcp_sock *cs);
/** cftcp_sack_held() - these numbers came out of order (RFC 2018 section 4) */
void cftcp_sack_held(struct cftcp_sock *cs, u32 start, u32 end);
/** cftcp_sack_trim() - RCV.NXT has moved: blocks below it are history */
void cftcp_sack_trim(struct cftcp_sock *cs);
/**
 * cftcp_sack_twice() - these numbers came again (RFC 2883 section 4)
 * @cs: the socket
 * @start: first number
 * @end: number after the last
 *
 * The next segment says so, once. Of several the first counts.
 */
void cftcp_sack_twice(struct cftcp_sock *cs, u32 start, u32 end);
/** cftcp_sack_due() - is there a block to tell? */
bool cftcp_sack_due(const struct cftcp_sock *cs);
/**
 * cftcp_sack_write() - write the SACK option: what came twice, then the newest
 * @cs: the socket
 * @ptr: where to
 * @room: octets there
 *
 * Return: octets written, a multiple of 4; 0 if there is nothing to tell or no
 * room for a block.
 */
unsigned int cftcp_sack_write(struct cftcp_sock *cs, u8 *ptr, int room);

#endif
