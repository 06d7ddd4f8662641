/* SPDX-License-Identifier: GPL-2.0 */
/* Sockets, routes, and the numbers of TCP that libc does not have. */
#ifndef _PARTS_SOCK_H
#define _PARTS_SOCK_H

enum {
	TCP_ESTABLISHED = 1, TCP_SYN_SENT, TCP_SYN_RECV, TCP_FIN_WAIT1,
	TCP_FIN_WAIT2, TCP_TIME_WAIT, TCP_CLOSE, TCP_CLOSE_WAIT, TCP_LAST_ACK,
	TCP_LISTEN, TCP_CLOSING,
};

#define TCPF_SYN_SENT	(1 << TCP_SYN_SENT)
#define TCPF_SYN_RECV	(1 << TCP_SYN_RECV)
#define TCPF_FIN_WAIT2	(1 << TCP_FIN_WAIT2)
#define TCPF_TIME_WAIT	(1 << TCP_TIME_WAIT)
#define TCPF_CLOSE	(1 << TCP_CLOSE)
#define TCPF_LISTEN	(1 << TCP_LISTEN)

#define TCPOPT_NOP		1
#define TCPOPT_MSS		2
#define TCPOPT_WINDOW		3
#define TCPOPT_SACK_PERM	4
#define TCPOPT_SACK		5
#define TCPOPT_TIMESTAMP	8
#define TCPOLEN_MSS		4
#define TCPOLEN_WINDOW		3
#define TCPOLEN_SACK_PERM	2
#define TCPOLEN_TIMESTAMP	10
#define TCPOLEN_SACK_BASE	2
#define TCPOLEN_SACK_BASE_ALIGNED 4
#define TCPOLEN_SACK_PERBLOCK	8
#define MAX_TCP_OPTION_SPACE	40
#define MAX_TCP_WINDOW		32767
#define TCP_CA_NAME_MAX		16
#define SOCK_MIN_RCVBUF		2304
#define SOL_TCP			6
#define AF_INET			2

#define RCV_SHUTDOWN	1
#define SEND_SHUTDOWN	2
#define SHUTDOWN_MASK	3
#define SOCK_RCVBUF_LOCK	2
#define SOCK_SNDBUF_LOCK	1
#define NET_XMIT_DROP	1
#define MSG_OOB		1
#define MSG_PEEK	2
#define MSG_TRUNC	0x20
#define SK_PACING_FQ	2
#define SOCK_NOSPACE	2
#define SOCK_WAKE_IO	0
#define POLL_OUT	2

enum sock_flags { SOCK_DEAD, SOCK_DONE, SOCK_URGINLINE, SOCK_KEEPOPEN };

struct sockaddr;
struct user_namespace { int v; };
struct net { struct user_namespace *user_ns; };
extern struct user_namespace init_user_ns;
extern struct net init_net;
struct ctl_table_header;
struct dst_entry { u32 mtu; };
struct msghdr { int msg_flags; };
struct socket { unsigned long flags; };
typedef struct { const void *kernel; } sockptr_t;

struct sock {
	int sk_family;
	int sk_state;
	int sk_bound_dev_if;
	u32 sk_mark, sk_priority;
	kuid_t sk_uid;
	int sk_err, sk_err_soft;
	u8 sk_shutdown;
	u8 sk_userlocks;
	u8 sk_pacing_status;
	unsigned long sk_flags;
	refcount_t sk_refcnt;
	int sk_rcvbuf, sk_sndbuf;
	int sk_wmem_queued;
	atomic_t sk_rmem_alloc, sk_wmem_alloc;
	s64 sk_charged;		/* what sk_forward_alloc counts down */
	struct sk_buff_head sk_receive_queue, sk_write_queue;
	struct socket *sk_socket;
	unsigned long sk_pacing_rate, sk_max_pacing_rate;
	u32 sk_gso_type, sk_gso_max_size;
	u16 sk_gso_max_segs;
	bool gso;
	struct dst_entry dst;
	void (*sk_state_change)(struct sock *sk);
	void (*sk_data_ready)(struct sock *sk);
	void (*sk_write_space)(struct sock *sk);
};

struct inet_sock { struct sock sk; };

#define sock_flag(sk, flag)	test_bit(flag, &(sk)->sk_flags)
#define sock_hold(sk)		((sk)->sk_refcnt.v++)
#define sock_put(sk)		((sk)->sk_refcnt.v--)
#define __sock_put(sk)		sock_put(sk)
#define lock_sock(sk)		((void)(sk))
#define release_sock(sk)	((void)(sk))
#define bh_lock_sock(sk)	((void)(sk))
#define bh_unlock_sock(sk)	((void)(sk))
#define sock_owned_by_user(sk)	((void)(sk), false)
#define sk_can_gso(sk)		((sk)->gso)
#define sk_gfp_mask(sk, gfp)	(gfp)
#define sk_under_memory_pressure(sk)	((void)(sk), false)
#define sk_wmem_alloc_get(sk)	((sk)->sk_wmem_alloc.v)
#define sk_wmem_queued_add(sk, n)	((sk)->sk_wmem_queued += (int)(n))
#define sk_mem_charge(sk, n)	((sk)->sk_charged += (int)(n))
#define sk_mem_uncharge(sk, n)	((sk)->sk_charged -= (int)(n))
#define sk_wmem_schedule(sk, n)	(!parts_no_memory(GFP_ATOMIC))
#define sk_rmem_schedule(sk, skb, n)	(!parts_no_memory(GFP_ATOMIC))
#define sk_wake_async(sk, how, band)	((void)(sk))
#define sk_send_sigurg(sk)	((void)(sk))
#define sk_dst_reset(sk)	((void)(sk))
#define __sk_dst_get(sk)	(&(sk)->dst)
#define dst_mtu(dst)		((dst)->mtu)
#define dst_metric_advmss(dst)	((dst)->mtu - 40)
#define dst_negative_advice(sk)	((void)(sk))
#define netif_index_is_l3_master(net, i)	false
#define security_inet_conn_established(sk, skb)	((void)(sk))
#define skb_copy_datagram_msg(skb, at, msg, len)	0
#define net_generic(net, id)	NULL
#define set_active_memcg(memcg)	NULL

static inline bool ipv6_addr_v4mapped(const struct in6_addr *a)
{
	(void)a;
	return true;
}

static inline void ipv6_addr_set_v4mapped(__be32 addr, struct in6_addr *to)
{
	to->s6_addr32[2] = htonl(0xffff);
	to->s6_addr32[3] = addr;
}

#define copy_from_sockptr(to, from, n) ({				\
	memcpy(to, (from).kernel, n); 0; })
#define get_user(x, p)		((x) = *(p), 0)
#define put_user(x, p)		(*(p) = (x), 0)
#define copy_to_user(to, from, n)	(memcpy(to, from, n), 0)

/* IP options, as the kernel keeps them. */
struct ip_options {
	__be32 faddr, nexthop;
	unsigned char optlen, srr, rr, ts;
	unsigned char is_strictroute:1, srr_is_hit:1, is_changed:1,
		      rr_needaddr:1, ts_needtime:1, ts_needaddr:1;
	unsigned char router_alert, cipso, __pad2;
	unsigned char __data[];
};

struct ip_options_rcu {
	struct rcu_head rcu;
	struct ip_options opt;
};

struct inet_skb_parm { int iif; struct ip_options opt; };
#define IPCB(skb)	((struct inet_skb_parm *)(skb)->cb)
#define inet_current_timestamp()	htonl(parts_now / NSEC_PER_MSEC)

#endif
