/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A queue of records that fall due, with one timer for all of them, so that a
 * record carries no timer of its own. TIME-WAIT records and requests use it.
 */
#ifndef _CFTCP_DUE_H
#define _CFTCP_DUE_H

#include <linux/hrtimer.h>
#include <linux/spinlock.h>
#include <linux/timerqueue.h>

/**
 * struct cftcp_due - the queue
 * @lock: protects @head and every node in it; innermost, taken with BH off
 * @head: nodes in order of their time
 * @timer: runs at the first node's time, in softirq
 * @rest_until: but not before this (CLOCK_MONOTONIC), for it has just run
 * @expire: called for each node that fell due, after it left the queue,
 *	without @lock, in softirq; the queue's reference passes to it
 */
struct cftcp_due {
	spinlock_t lock;		/* for @head */
	struct timerqueue_head head;
	struct hrtimer timer;
	ktime_t rest_until;
	void (*expire)(struct cftcp_due *due, struct timerqueue_node *node);
};

/** cftcp_due_init() - set up an empty queue */
void cftcp_due_init(struct cftcp_due *due,
		    void (*expire)(struct cftcp_due *due,
				   struct timerqueue_node *node));
/**
 * cftcp_due_exit() - stop the timer; the queue must be empty
 *
 * Context: process.
 */
void cftcp_due_exit(struct cftcp_due *due);
/**
 * cftcp_due_add() - queue a node that is in no queue
 * @due: the queue
 * @node: initialised by timerqueue_init()
 * @at: when it falls due (CLOCK_MONOTONIC)
 *
 * Context: any but hard irq.
 */
void cftcp_due_add(struct cftcp_due *due, struct timerqueue_node *node,
		   ktime_t at);
/**
 * cftcp_due_move() - give a queued node another time
 *
 * Context: any but hard irq.
 * Return: false when the node is in the queue no more (it expires just now).
 */
bool cftcp_due_move(struct cftcp_due *due, struct timerqueue_node *node,
		    ktime_t at);
/**
 * cftcp_due_del() - take a node out
 *
 * Context: any but hard irq.
 * Return: true when it was queued: the queue's reference is the caller's then.
 */
bool cftcp_due_del(struct cftcp_due *due, struct timerqueue_node *node);
/** cftcp_due_queued() - is the node in the queue? Any context but hard irq */
bool cftcp_due_queued(struct cftcp_due *due, struct timerqueue_node *node);
/**
 * cftcp_due_pop() - take the first node out, due or not
 *
 * Context: any but hard irq.
 * Return: the node or NULL when the queue is empty.
 */
struct timerqueue_node *cftcp_due_pop(struct cftcp_due *due);

#endif
