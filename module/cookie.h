/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SYN cookies (RFC 4987 section 3.6): what a request would remember, put into
 * the sequence number and the timestamp of the SYN,ACK.
 */
#ifndef _CFTCP_COOKIE_H
#define _CFTCP_COOKIE_H

#include <linux/types.h>

struct cftcp_key;
struct cftcp_segment;

/* How long a cookie is good for at least; at most twice that. */
#define CFTCP_COOKIE_S		60

/* The window shift of a connection that a cookie opens: up to 16 MB. */
#define CFTCP_COOKIE_WSCALE	8

/**
 * cftcp_cookie() - initial sequence number that answers a SYN
 * @syn: the SYN; of its MSS the next lower of eight is remembered
 *
 * Context: any.
 */
u32 cftcp_cookie(const struct cftcp_segment *syn);
/**
 * cftcp_cookie_mss() - is this the answer to a SYN,ACK with a cookie?
 * @ack: a segment with ACK
 *
 * Context: any. Return: the MSS of the SYN, 0 when it is forged or too old.
 */
u16 cftcp_cookie_mss(const struct cftcp_segment *ack);
/**
 * cftcp_cookie_stamp() - TSval that remembers the options of a SYN
 * @tsval: what it would be, ms; the result is up to 32 ms older, never newer
 * @syn: the SYN
 */
u32 cftcp_cookie_stamp(u32 tsval, const struct cftcp_segment *syn);

/**
 * struct cftcp_cookie_options - what cftcp_cookie_stamp() remembers
 * @wscale_ok: window scaling in use
 * @wscale: the peer's shift
 * @sack_ok: SACK in use
 */
struct cftcp_cookie_options {
	bool wscale_ok;
	u8 wscale;
	bool sack_ok;
};

/** cftcp_cookie_options() - from the TSecr that came back */
struct cftcp_cookie_options cftcp_cookie_options(u32 tsecr);

#endif
