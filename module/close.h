/* SPDX-License-Identifier: GPL-2.0 */
/* The end of a connection: the termination table at work, and close(). */
#ifndef _CFTCP_CLOSE_H
#define _CFTCP_CLOSE_H

#include "fsm.h"
#include "sock.h"

/**
 * cftcp_sock_set_state() - change the state, with tracepoints
 * @sk: the socket, lock held
 * @state: TCP_*
 * @why: for the tracepoint: event id or a word; NULL when the socket leaves
 *	its connection, which goes on as a TIME-WAIT record
 */
void cftcp_sock_set_state(struct sock *sk, int state, const char *why);
/**
 * cftcp_event() - let an event happen to a connection: execute its cell
 * @sk: the socket in a state of the table, lock held
 * @event: what happened
 * @skb: the segment that caused it, or NULL
 *
 * After a cell that leads to CLOSED or TIME-WAIT the connection is gone from
 * the table and an orphan is destroyed: only the caller's own reference keeps
 * @sk then.
 *
 * Context: process or softirq, socket lock held.
 * Return: the cell's CFTCP_DO_* bits.
 */
u32 cftcp_event(struct sock *sk, enum cftcp_event event, struct sk_buff *skb);
/**
 * cftcp_sock_done() - the connection is over: CLOSED
 * @sk: the socket, lock held, in any state but CLOSED
 * @err: positive errno for the user, 0 for none
 * @why: as for cftcp_sock_set_state()
 *
 * Unhashes, stops all timers, frees the send queue, wakes everybody; destroys
 * an orphan.
 */
void cftcp_sock_done(struct sock *sk, int err, const char *why);
/**
 * cftcp_sock_timeout_error() - the error for a user that waited too long
 * @sk: the socket
 *
 * Return: a soft error that ICMP left, or ETIMEDOUT (RFC 5461 section 2.2).
 */
int cftcp_sock_timeout_error(struct sock *sk);
/**
 * cftcp_close() - the last file descriptor is closed (proto.close)
 * @sk: the socket
 * @timeout: jiffies to wait for our FIN to be acknowledged (SO_LINGER)
 *
 * Context: process, unlocked; consumes the caller's hold on @sk.
 */
void cftcp_close(struct sock *sk, long timeout);
/**
 * cftcp_shutdown() - shutdown(2) (proto.shutdown)
 * @sk: the socket, lock held, sk_shutdown updated
 * @how: RCV_SHUTDOWN, SEND_SHUTDOWN
 *
 * Context: process.
 */
void cftcp_shutdown(struct sock *sk, int how);
/**
 * cftcp_abort() - ABORT, RFC 9293 section 3.10.5
 * @sk: the socket, lock held, in any state
 * @err: positive errno for the user, 0 for none
 *
 * Context: process or softirq.
 */
void cftcp_abort(struct sock *sk, int err);
/**
 * cftcp_diag_destroy() - end a connection or listener from outside
 * @sk: the socket; may be an orphan
 * @err: what its user is told
 *
 * Context: process.
 * Return: 0, -ENOENT when it is CLOSED.
 */
int cftcp_diag_destroy(struct sock *sk, int err);
/**
 * cftcp_destroy() - free what a closed orphan holds, drop its last reference
 * @sk: the socket in CLOSED, lock held, orphaned
 */
void cftcp_destroy(struct sock *sk);
/**
 * cftcp_orphans_purge() - end every connection of a namespace, silently
 *
 * Context: process, when the namespace has no device and no process any more.
 */
void cftcp_orphans_purge(struct cftcp_net *cn);

#endif
