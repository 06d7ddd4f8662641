// SPDX-License-Identifier: GPL-2.0
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <net/net_namespace.h>

#include "listen.h"
#include "netns.h"
#include "procfs.h"
#include "sock.h"
#include "timewait.h"

/* Width of a line of /proc/net/tcp, without its end. */
#define LINE	149

/* How the second column pair calls the timers (proc_net_tcp.rst). */
enum { NO_TIMER, RETRANSMIT, OTHER_TIMER, TIME_WAIT_TIMER, PROBE_TIMER };

/**
 * struct walk - where a reader of /proc/net/cftcp is
 * @net: what proc_create_net() keeps
 * @iter: walk through the connections, while between start and stop
 * @slot: where @iter was when it last stopped
 * @skip: the same
 * @listening: it is among the listeners; connections follow
 * @listener: the one that is shown, while between start and stop
 * @bucket: where that is
 */
struct walk {
	struct seq_net_private net;
	struct rhashtable_iter iter;
	unsigned int slot;
	unsigned int skip;
	bool listening;
	struct cftcp_sock *listener;
	unsigned int bucket;
};

static struct cftcp_net *net_of(struct seq_file *seq)
{
	return cftcp_net(seq_file_net(seq));
}

/* The one after walk->listener, or the first; NULL is none any more. */
static struct cftcp_entry *next_listener(struct seq_file *seq)
{
	struct cftcp_net *cn = net_of(seq);
	struct walk *walk = seq->private;
	struct hlist_head *heads = cn->listeners;
	struct hlist_node *node;

	if (walk->listener) {
		node = rcu_dereference(hlist_next_rcu(&walk->listener->listen_node));
	} else {
		walk->bucket = 0;
		node = rcu_dereference(hlist_first_rcu(heads));
	}
	while (!node && ++walk->bucket < HASH_SIZE(cn->listeners))
		node = rcu_dereference(hlist_first_rcu(heads + walk->bucket));
	walk->listener = hlist_entry_safe(node, struct cftcp_sock, listen_node);
	walk->listening = walk->listener;
	return walk->listening ? &walk->listener->entry : NULL;
}

static void *connection(struct walk *walk, bool next)
{
	void *entry;

	do {
		entry = next ? rhashtable_walk_next(&walk->iter) :
			       rhashtable_walk_peek(&walk->iter);
	} while (IS_ERR(entry));	/* the table was resized: go on */
	return entry;
}

static void *start(struct seq_file *seq, loff_t *pos)
	__acquires(RCU)
{
	struct walk *walk = seq->private;
	struct cftcp_entry *listener = NULL;

	rhashtable_walk_enter(&net_of(seq)->connections, &walk->iter);
	walk->listener = NULL;
	if (!*pos) {
		walk->slot = 0;
		walk->skip = 0;
		walk->listening = true;
	}
	walk->iter.slot = walk->slot;
	walk->iter.skip = walk->skip;
	rhashtable_walk_start(&walk->iter);
	if (!*pos)
		return SEQ_START_TOKEN;
	for (loff_t n = *pos; n && walk->listening; n--)
		listener = next_listener(seq);
	return listener ?: connection(walk, false);
}

static void *next(struct seq_file *seq, void *v, loff_t *pos)
{
	struct walk *walk = seq->private;

	++*pos;
	if (!walk->listening)
		return connection(walk, true);
	return next_listener(seq) ?: connection(walk, false);
}

static void stop(struct seq_file *seq, void *v)
	__releases(RCU)
{
	struct walk *walk = seq->private;

	walk->slot = walk->iter.slot;
	walk->skip = walk->iter.skip;
	rhashtable_walk_stop(&walk->iter);
	rhashtable_walk_exit(&walk->iter);
}

static unsigned long ticks(u64 ns)
{
	return jiffies_to_clock_t(nsecs_to_jiffies(ns));
}

static unsigned long ticks_until(u64 at_ns)
{
	u64 now = ktime_get_ns();

	return at_ns > now ? ticks(at_ns - now) : 0;
}

static void show_address(struct seq_file *seq, const struct in6_addr *addr,
			 __be16 port, u8 family)
{
	for (int i = family == AF_INET ? 3 : 0; i < 4; i++)
		seq_printf(seq, "%08X", (__force u32)addr->s6_addr32[i]);
	seq_printf(seq, ":%04X ", ntohs(port));
}

static void show_key(struct seq_file *seq, const struct cftcp_key *key,
		     u8 family, int state)
{
	seq_printf(seq, "%4lld: ", seq->index - 1);
	show_address(seq, &key->laddr, key->lport, family);
	show_address(seq, &key->faddr, key->fport, family);
	seq_printf(seq, "%02X", state);
}

static int timer_of(const struct sock *sk, u64 *at)
{
	static const struct {
		enum cftcp_timer_id id;
		int shown;
	} timers[] = {
		{ CFTCP_TIMER_RTO, RETRANSMIT },
		{ CFTCP_TIMER_REORDER, RETRANSMIT },
		{ CFTCP_TIMER_PROBE, RETRANSMIT },
		{ CFTCP_TIMER_PERSIST, PROBE_TIMER },
		{ CFTCP_TIMER_FIN_WAIT2, OTHER_TIMER },
		{ CFTCP_TIMER_USER, OTHER_TIMER },
		{ CFTCP_TIMER_KEEPALIVE, OTHER_TIMER },
	};

	for (int i = 0; i < ARRAY_SIZE(timers); i++) {
		*at = READ_ONCE(cftcp_sk(sk)->timer.at[timers[i].id]);
		if (*at)
			return timers[i].shown;
	}
	return NO_TIMER;
}

static void show_sock(struct seq_file *seq, struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	int state = inet_sk_state_load(sk);
	struct cftcp_key key = cs->key;
	u32 tx = 0, rx;
	u64 at;
	int timer = timer_of(sk, &at);

	if (state == TCP_LISTEN) {
		key = (struct cftcp_key) { .laddr = cftcp_local_of(sk).addr,
					   .lport = cs->inet.inet_sport };
		rx = READ_ONCE(cs->listen.accepts);
	} else {
		/* Read without the lock: a FIN may come in between. */
		rx = max_t(int, cftcp_unread(cs), 0);
		tx = cs->write_seq - cs->snd_una;
	}
	show_key(seq, &key, cs->entry.family, state);
	seq_printf(seq, " %08X:%08X %02X:%08lX %08X %5u %8d %lu %d %p %lu %lu %u %u %d",
		   tx, rx, timer, timer ? ticks_until(at) : 0UL,
		   cs->backoff,
		   from_kuid_munged(seq_user_ns(seq), sock_i_uid(sk)), 0,
		   sock_i_ino(sk), refcount_read(&sk->sk_refcnt), sk,
		   ticks(cftcp_rto_ns(sk)),
		   ticks(CFTCP_DELACK_MS * (u64)NSEC_PER_MSEC), 0, 0, -1);
}

static void show_request(struct seq_file *seq, struct cftcp_request *req)
{
	show_key(seq, &req->key, req->entry.family, TCP_SYN_RECV);
	seq_printf(seq, " %08X:%08X %02X:%08lX %08X %5u %8d %d %d %p",
		   0, 0, RETRANSMIT, ticks_until(req->due.expires),
		   req->rexmits,
		   from_kuid_munged(seq_user_ns(seq),
				    sock_i_uid(req->listener)),
		   0, 0, refcount_read(&req->refs), req);
}

static void show_time_wait(struct seq_file *seq, struct cftcp_time_wait *tw)
{
	struct cftcp_key key = cftcp_time_wait_key(tw);

	show_key(seq, &key, tw->entry.family, TCP_TIME_WAIT);
	seq_printf(seq, " %08X:%08X %02X:%08lX %08X %5d %8d %d %d %p",
		   0, 0, TIME_WAIT_TIMER, ticks_until(READ_ONCE(tw->due.expires)),
		   0, 0, 0, 0, refcount_read(&tw->refs), tw);
}

static void show_entry(struct seq_file *seq, struct cftcp_entry *entry)
{
	switch (entry->kind) {
	case CFTCP_KIND_SOCK:
		show_sock(seq, cftcp_to_sk(container_of(entry,
							struct cftcp_sock,
							entry)));
		break;
	case CFTCP_KIND_REQUEST:
		show_request(seq, container_of(entry, struct cftcp_request,
					       entry));
		break;
	case CFTCP_KIND_TIME_WAIT:
		show_time_wait(seq, container_of(entry, struct cftcp_time_wait,
						 entry));
		break;
	}
}

static int show(struct seq_file *seq, void *v)
{
	struct cftcp_entry *entry = v;

	if (v != SEQ_START_TOKEN && entry->family != AF_INET)
		return SEQ_SKIP;
	seq_setwidth(seq, LINE);
	if (v == SEQ_START_TOKEN)
		seq_puts(seq, "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode");
	else
		show_entry(seq, entry);
	seq_pad(seq, '\n');
	return 0;
}

static const struct seq_operations connections_ops = {
	.start	= start,
	.next	= next,
	.stop	= stop,
	.show	= show,
};

static int show6(struct seq_file *seq, void *v)
{
	struct cftcp_entry *entry = v;

	if (v == SEQ_START_TOKEN) {
		seq_puts(seq, "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n");
		return 0;
	}
	if (entry->family != AF_INET6)
		return SEQ_SKIP;
	show_entry(seq, entry);
	seq_putc(seq, '\n');
	return 0;
}

static const struct seq_operations connections6_ops = {
	.start	= start,
	.next	= next,
	.stop	= stop,
	.show	= show6,
};

static const char * const counter_names[CFTCP_MIB_COUNT] = {
#define X(name, text) #name,
	CFTCP_COUNTERS(X)
#undef X
#define X(name, text) "Drop" #name,
	CFTCP_DROPS(X)
#undef X
};

static u64 total(const struct cftcp_net *cn, int counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu_ptr(cn->mib, cpu)->count[counter]);
	return sum;
}

static int show_stat(struct seq_file *seq, void *v)
{
	struct cftcp_net *cn = cftcp_net(seq_file_single_net(seq));

	for (int i = 0; i < CFTCP_MIB_COUNT; i++)
		seq_printf(seq, "%s %llu\n", counter_names[i], total(cn, i));
	seq_printf(seq, "CurrEstab %d\n", atomic_read(&cn->established));
	seq_printf(seq, "Sockets %d\n", atomic_read(&cn->sockets));
	seq_printf(seq, "Orphans %d\n", READ_ONCE(cn->orphan_count));
	seq_printf(seq, "TimeWait %d\n", atomic_read(&cn->time_waits));
	seq_printf(seq, "Requests %d\n", atomic_read(&cn->request_count));
	seq_printf(seq, "Ports %u\n", cftcp_ports_count(&cn->ports));
	return 0;
}

int cftcp_procfs_init(struct cftcp_net *cn)
{
	struct proc_dir_entry *dir = cn->net->proc_net;

	if (!proc_create_net("cftcp", 0444, dir, &connections_ops,
			     sizeof(struct walk)))
		return -ENOMEM;
	if (IS_ENABLED(CONFIG_IPV6) &&
	    !proc_create_net("cftcp6", 0444, dir, &connections6_ops,
			     sizeof(struct walk)))
		goto cftcp;
	if (!proc_create_net_single("cftcp_stat", 0444, dir, show_stat, NULL))
		goto cftcp6;
	return 0;

cftcp6:
	if (IS_ENABLED(CONFIG_IPV6))
		remove_proc_entry("cftcp6", dir);
cftcp:
	remove_proc_entry("cftcp", dir);
	return -ENOMEM;
}

void cftcp_procfs_exit(struct cftcp_net *cn)
{
	remove_proc_entry("cftcp_stat", cn->net->proc_net);
	if (IS_ENABLED(CONFIG_IPV6))
		remove_proc_entry("cftcp6", cn->net->proc_net);
	remove_proc_entry("cftcp", cn->net->proc_net);
}
