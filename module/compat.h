/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Every difference between the kernels that cftcp supports, and nothing else.
 * Protocol code holds no version test.
 */
#ifndef _CFTCP_COMPAT_H
#define _CFTCP_COMPAT_H

#include <linux/bpf-cgroup.h>
#include <linux/hrtimer.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/version.h>
#include <linux/ipv6.h>
#include <net/inet_sock.h>
#include <net/net_namespace.h>
#include <net/sock.h>

/* 6.12 moved it. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>
#endif

/* 6.10 gave the accounting of protocols a header of its own. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#include <net/proto_memory.h>
#endif

/* 6.11 hands sysctl handlers a constant table. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define CFTCP_CTL_TABLE	const struct ctl_table
#else
#define CFTCP_CTL_TABLE	struct ctl_table
#endif

/* 6.13 joined hrtimer_init() and the setting of .function. */
static inline void
cftcp_hrtimer_setup(struct hrtimer *timer,
		    enum hrtimer_restart (*fn)(struct hrtimer *timer),
		    enum hrtimer_mode mode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, fn, CLOCK_MONOTONIC, mode);
#else
	hrtimer_init(timer, CLOCK_MONOTONIC, mode);
	timer->function = fn;
#endif
}

/* 6.5 hands proto.ioctl() a kernel pointer and copies the answer out itself. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define CFTCP_IOCTL_ARG	int *
static inline int cftcp_ioctl_answer(int *arg, int answer)
{
	*arg = answer;
	return 0;
}
#else
#define CFTCP_IOCTL_ARG	unsigned long
static inline int cftcp_ioctl_answer(unsigned long arg, int answer)
{
	return put_user(answer, (int __user *)arg);
}
#endif

/* 6.9 holds the module while its handler of inet_diag works. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0)
#define CFTCP_DIAG_OWNER	.owner = THIS_MODULE,
#else
#define CFTCP_DIAG_OWNER
#endif

/* 6.10 made the arguments of accept one structure. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define CFTCP_ACCEPT_ARG
#endif

/* 6.5 made a flag of sendmsg() out of sendpage(), and MSG_MORE of its own. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
#define CFTCP_SENDPAGE_OP(fn)
#define CFTCP_MSG_MORE	MSG_MORE
static inline bool cftcp_splices_pages(const struct msghdr *msg)
{
	return msg->msg_flags & MSG_SPLICE_PAGES;
}
#else
#define CFTCP_SENDPAGE
#define CFTCP_SENDPAGE_OP(fn)	.sendpage = fn,
#define CFTCP_MSG_MORE	(MSG_MORE | MSG_SENDPAGE_NOTLAST)
static inline bool cftcp_splices_pages(const struct msghdr *msg)
{
	return false;
}
#endif

/* 6.7 tells the programs of a cgroup how long an address is. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
#define cftcp_bpf_connect4(sk, uaddr, len)				\
	BPF_CGROUP_RUN_PROG_INET4_CONNECT(sk, uaddr, len)
#define cftcp_bpf_connect6(sk, uaddr, len)				\
	BPF_CGROUP_RUN_PROG_INET6_CONNECT(sk, uaddr, len)
#else
#define cftcp_bpf_connect4(sk, uaddr, len)				\
	BPF_CGROUP_RUN_PROG_INET4_CONNECT(sk, uaddr)
#define cftcp_bpf_connect6(sk, uaddr, len)				\
	BPF_CGROUP_RUN_PROG_INET6_CONNECT(sk, uaddr)
#endif

/* 6.7 made inet_id atomic; 6.1 has that too, by a stable update. */
static inline void cftcp_set_inet_id(struct inet_sock *inet, u16 id)
{
	atomic_set(&inet->inet_id, id);
}

/* 6.2 named it so. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 2, 0)
#define get_random_u32_below	prandom_u32_max
#endif

/* 6.4 is told where the IPv6 part of a socket lies. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define CFTCP_SET_PINFO_OFFSET(prot, type, member)			\
	((prot).ipv6_pinfo_offset = offsetof(type, member))
#else
#define CFTCP_SET_PINFO_OFFSET(prot, type, member)			\
	static_assert(offsetofend(type, member) == sizeof(type))
#endif

/* IPV6_FLOWINFO_SEND; 6.7 made it a bit of an atomic word. */
static inline bool cftcp_sends_flowinfo(const struct sock *sk)
{
#if !IS_ENABLED(CONFIG_IPV6)
	return false;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return inet6_test_bit(SNDFLOW, sk);
#else
	return inet6_sk(sk)->sndflow;
#endif
}

/* IP_RECVERR and IPV6_RECVERR; 6.6 and 6.7 made them bits of an atomic word. */
static inline bool cftcp_recverr(const struct sock *sk)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	return inet_test_bit(RECVERR, sk);
#else
	return inet_sk(sk)->recverr;
#endif
}

static inline bool cftcp_recverr6(const struct sock *sk)
{
#if !IS_ENABLED(CONFIG_IPV6)
	return false;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(6, 7, 0)
	return inet6_test_bit(RECVERR6, sk);
#else
	return inet_sk(sk)->pinet6->recverr;
#endif
}

/* What a child takes over from the inet part of its listener. */
static inline void cftcp_inherit_inet(struct sock *sk, const struct sock *from)
{
	struct inet_sock *to = inet_sk(sk);
	const struct inet_sock *inet = inet_sk(from);

	to->tos = inet->tos;
	to->uc_ttl = inet->uc_ttl;
	to->min_ttl = inet->min_ttl;
	to->pmtudisc = inet->pmtudisc;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	WRITE_ONCE(to->inet_flags, READ_ONCE(inet->inet_flags));
#else
	to->cmsg_flags = inet->cmsg_flags;
	to->recverr = inet->recverr;
	to->freebind = inet->freebind;
	to->transparent = inet->transparent;
#endif
}

/* 6.14, and by stable updates 6.6.103 and 6.12.43, count kernel sockets. */
#define CFTCP_STABLE(major, minor, patch)				\
	(LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, patch) &&	\
	 LINUX_VERSION_CODE < KERNEL_VERSION(major, minor + 1, 0))
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0) ||			\
	CFTCP_STABLE(6, 12, 43) || CFTCP_STABLE(6, 6, 103)
#define cftcp_net_passive_inc(net)	net_passive_inc(net)
#else
#define cftcp_net_passive_inc(net)
#endif

/*
 * Let go of the namespace, whose exit ends the socket then. What sk_alloc()
 * took for a user's socket is given back, and what it does for a kernel
 * socket is done.
 */
static inline void cftcp_sock_release_net(struct sock *sk)
{
	struct net *net = sock_net(sk);

	if (!sk->sk_net_refcnt)
		return;
	sk->sk_net_refcnt = 0;
	sock_inuse_add(net, -1);
	cftcp_net_passive_inc(net);
	put_net_track(net, &sk->ns_tracker);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
	__netns_tracker_alloc(net, &sk->ns_tracker, false, GFP_ATOMIC);
#endif
}

/* 6.10 dropped the second argument of __assign_str(). */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define cftcp_assign_str(dst, src)	__assign_str(dst)
#else
#define cftcp_assign_str(dst, src)	__assign_str(dst, src)
#endif

/* 6.6 registers sysctl tables by their size. */
static inline struct ctl_table_header *
cftcp_register_sysctl(struct net *net, const char *path,
		      struct ctl_table *table, size_t size)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	return register_net_sysctl_sz(net, path, table, size);
#else
	return register_net_sysctl(net, path, table);
#endif
}

#endif
