/* SPDX-License-Identifier: GPL-2.0 */
/* How large the buffers of a connection are: they follow what it uses. */
#ifndef _CFTCP_BUFFER_H
#define _CFTCP_BUFFER_H

#include <linux/types.h>

struct sock;

/**
 * cftcp_rcvbuf_follow() - the user has read: is there room for a round trip?
 * @sk: the socket, lock held
 *
 * Once a round trip the receive buffer grows so that twice what the user took
 * in it fits into the window, which is half of the buffer: the sender can go on
 * while its next window is on the way, and go faster. Not beyond net.cftcp.rmem,
 * not after SO_RCVBUF, not while memory is short.
 *
 * Context: process.
 */
void cftcp_rcvbuf_follow(struct sock *sk);
/**
 * cftcp_sndbuf_follow() - a writer waits for the send buffer: may it grow?
 * @sk: the socket, lock held
 *
 * It may hold twice what is in flight. There is no congestion window, so a new
 * connection fills the peer's whole window, and the buffer grows to that at
 * once. Not beyond net.cftcp.wmem, not after SO_SNDBUF, not while memory is
 * short.
 *
 * Context: process or softirq.
 * Return: true when it has grown.
 */
bool cftcp_sndbuf_follow(struct sock *sk);

#endif
