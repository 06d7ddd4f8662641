// SPDX-License-Identifier: GPL-2.0
#include "compat.h"
#include "due.h"

/* Records handled before softirq time is given back to others. */
#define BUDGET 64
/* For so long, in which RCU frees what was handled: it must not pile up. */
#define REST_NS NSEC_PER_MSEC

static void arm(struct cftcp_due *due)
{
	struct timerqueue_node *first = timerqueue_getnext(&due->head);
	ktime_t at;

	lockdep_assert_held(&due->lock);
	if (!first)
		return;
	at = max(first->expires, due->rest_until);
	if (hrtimer_is_queued(&due->timer) &&
	    hrtimer_get_expires(&due->timer) <= at)
		return;
	hrtimer_start(&due->timer, at, HRTIMER_MODE_ABS_SOFT);
}

static struct timerqueue_node *pop_due(struct cftcp_due *due, ktime_t now)
{
	struct timerqueue_node *node;

	spin_lock_bh(&due->lock);
	node = timerqueue_getnext(&due->head);
	if (node && node->expires <= now)
		timerqueue_del(&due->head, node);
	else
		node = NULL;
	spin_unlock_bh(&due->lock);
	return node;
}

static enum hrtimer_restart fire(struct hrtimer *timer)
{
	struct cftcp_due *due = container_of(timer, struct cftcp_due, timer);
	ktime_t now = ktime_get();
	struct timerqueue_node *node;
	int budget = BUDGET;

	while (budget && (node = pop_due(due, now))) {
		due->expire(due, node);
		budget--;
	}

	spin_lock_bh(&due->lock);
	/* Later than what this softirq calls: it ends in between. */
	due->rest_until = ktime_get();
	if (!budget)
		due->rest_until = ktime_add_ns(due->rest_until, REST_NS);
	arm(due);
	spin_unlock_bh(&due->lock);
	return HRTIMER_NORESTART;
}

void cftcp_due_init(struct cftcp_due *due,
		    void (*expire)(struct cftcp_due *due,
				   struct timerqueue_node *node))
{
	spin_lock_init(&due->lock);
	timerqueue_init_head(&due->head);
	cftcp_hrtimer_setup(&due->timer, fire, HRTIMER_MODE_ABS_SOFT);
	due->expire = expire;
}

void cftcp_due_exit(struct cftcp_due *due)
{
	hrtimer_cancel(&due->timer);
	WARN_ON_ONCE(timerqueue_getnext(&due->head));
}

void cftcp_due_add(struct cftcp_due *due, struct timerqueue_node *node,
		   ktime_t at)
{
	spin_lock_bh(&due->lock);
	node->expires = at;
	timerqueue_add(&due->head, node);
	arm(due);
	spin_unlock_bh(&due->lock);
}

static bool queued(struct timerqueue_node *node)
{
	return !RB_EMPTY_NODE(&node->node);
}

bool cftcp_due_move(struct cftcp_due *due, struct timerqueue_node *node,
		    ktime_t at)
{
	bool was;

	spin_lock_bh(&due->lock);
	was = queued(node);
	if (was) {
		timerqueue_del(&due->head, node);
		node->expires = at;
		timerqueue_add(&due->head, node);
		arm(due);
	}
	spin_unlock_bh(&due->lock);
	return was;
}

bool cftcp_due_queued(struct cftcp_due *due, struct timerqueue_node *node)
{
	bool was;

	spin_lock_bh(&due->lock);
	was = queued(node);
	spin_unlock_bh(&due->lock);
	return was;
}

bool cftcp_due_del(struct cftcp_due *due, struct timerqueue_node *node)
{
	bool was;

	spin_lock_bh(&due->lock);
	was = queued(node);
	if (was)
		timerqueue_del(&due->head, node);
	spin_unlock_bh(&due->lock);
	return was;
}

struct timerqueue_node *cftcp_due_pop(struct cftcp_due *due)
{
	return pop_due(due, KTIME_MAX);
}
