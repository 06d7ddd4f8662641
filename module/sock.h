/* SPDX-License-Identifier: GPL-2.0 */
/* The full socket, and the system calls on it. */
#ifndef _CFTCP_SOCK_H
#define _CFTCP_SOCK_H

#include <linux/rbtree.h>
#include <net/inet_sock.h>
#include <net/sock.h>

#include "af.h"
#include "egress.h"
#include "fsm.h"
#include "hash.h"
#include "icmp.h"
#include "netns.h"
#include "pmtu.h"
#include "timer.h"
#include "uapi/cftcp.h"

/* Largest window shift of RFC 7323. */
#define CFTCP_MAX_WSCALE	14
/* Least MSS that is honoured: options must fit and progress be made. */
#define CFTCP_MIN_MSS		48U
/* Timestamps option with its two NOPs. */
#define CFTCP_TS_LEN		12
#define CFTCP_DELACK_MS		40
/* A FIN is acknowledged by ours when the user closes at once: within this, or
 * a tick if that is longer.
 */
#define CFTCP_FIN_DELACK_MS	1
/* tcp(7): TCP_CORK holds a partial segment no longer than this. */
#define CFTCP_CORK_MS		200
/* R1 of RFC 9293 3.8.3: retransmissions (SHLD-10). */
#define CFTCP_R1		3
/* TLP.max_ack_delay of RFC 8985: the longest that a peer delays its ACK. */
#define CFTCP_PEER_DELACK_MS	200
/* SACK blocks that fit beside nothing else; three beside timestamps. */
#define CFTCP_MAX_SACKS		4

/**
 * struct cftcp_cb - what skb->cb holds while a segment is ours
 * @seq: number of the first octet (or of the SYN)
 * @end_seq: number after the last octet and the FIN
 * @flags: CFTCP_FLAG_* of the header
 * @urg: received urgent pointer
 * @sacked: CFTCP_SEG_* marks of a segment that was sent
 * @ack: received acknowledgment number
 * @wnd: received window, not scaled
 * @sent_at: ns, when it was last sent
 * @first_sent: ns, when it was first sent
 * @node: link in cftcp_sock.sent or .lost, or in neither
 */
struct cftcp_cb {
	u32 seq;
	u32 end_seq;
	u8 flags;
	u8 sacked;
	u16 wnd;
	union {
		struct {
			u32 ack;
			u16 urg;
		};
		struct {
			u64 sent_at;
			u64 first_sent;
			struct list_head node;
		};
	};
};

static inline struct cftcp_cb *cftcp_cb(const struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct cftcp_cb) > sizeof(skb->cb));
	return (struct cftcp_cb *)skb->cb;
}

/** cftcp_cb_skb() - the segment of a struct cftcp_cb */
static inline struct sk_buff *cftcp_cb_skb(struct cftcp_cb *cb)
{
	return container_of((char (*)[sizeof_field(struct sk_buff, cb)])cb,
			    struct sk_buff, cb);
}

/* Header flags, by their place in the header. */
#define CFTCP_FLAG_FIN	0x01
#define CFTCP_FLAG_SYN	0x02
#define CFTCP_FLAG_RST	0x04
#define CFTCP_FLAG_PSH	0x08
#define CFTCP_FLAG_ACK	0x10
#define CFTCP_FLAG_URG	0x20

#define CFTCP_SEG_SACKED	0x01	/* the peer holds it */
#define CFTCP_SEG_LOST		0x02	/* to be sent again */
#define CFTCP_SEG_REXMITTED	0x04	/* was sent more than once */

/* Bit numbers of cftcp_sock.deferred. */
#define CFTCP_DEFER_TIMER	0	/* the timer fired */
#define CFTCP_DEFER_ICMP	1	/* ICMP told something */
#define CFTCP_DEFER_ROOM	2	/* text may leave again */

/**
 * struct cftcp_sack - a SACK block, host order
 * @start: first number
 * @end: number after the last
 */
struct cftcp_sack {
	u32 start;
	u32 end;
};

/**
 * struct cftcp_listen - what only a socket in LISTEN uses
 * @lock: protects all below; inside of no other cftcp lock but @lock's socket
 * @accept: children that wait for accept() (struct cftcp_sock.accept_node)
 * @requests: struct cftcp_request.listen_node
 * @accepts: length of @accept
 * @request_count: length of @requests
 * @backlog: the most that @accept may hold
 * @cookie_at: ns, when a SYN cookie was last sent, 0 if never
 * @defer: TCP_DEFER_ACCEPT: timeouts of a request that wait for text
 * @open: false before and after LISTEN: nothing may be added
 */
struct cftcp_listen {
	spinlock_t lock;		/* for all of this */
	struct list_head accept;
	struct list_head requests;
	unsigned int accepts;
	unsigned int request_count;
	unsigned int backlog;
	u64 cookie_at;
	u8 defer;
	bool open;
};

/**
 * struct cftcp_saved_syn - headers of a SYN (TCP_SAVE_SYN)
 * @len: length of @octets
 * @octets: the headers, as they came
 */
struct cftcp_saved_syn {
	u32 len;
	u8 octets[];
};

/**
 * struct cftcp_sock - a full socket
 *
 * All fields are protected by the socket lock unless said otherwise.
 *
 * @inet: must be first
 * @entry: place in the connection table
 * @key: the 4-tuple
 * @cn: our state of its namespace
 * @af: the address family that carries its segments
 * @port: reserved local port, NULL if none
 * @port_node: link in cftcp_port.owners, under cftcp_ports.lock
 * @listen_node: link in cftcp_net.listeners, under cftcp_net.listen_lock
 * @accept_node: link in cftcp_listen.accept, under its lock, or in
 *	cftcp_net.orphans, under cftcp_net.orphan_lock
 * @listen: state of a listener
 *
 * @iss: initial send sequence number
 * @irs: initial receive sequence number
 * @snd_una: oldest number not acknowledged
 * @snd_nxt: next number to be sent for the first time
 * @snd_wnd: send window from @snd_una on, octets
 * @snd_wl1: SEG.SEQ of the last window update
 * @snd_wl2: SEG.ACK of the last window update
 * @max_snd_wnd: largest @snd_wnd ever (MAX.SND.WND of RFC 5961)
 * @rcv_nxt: next number expected
 * @rcv_wnd: window advertised with @rcv_wup
 * @rcv_wup: RCV.NXT when the window was last advertised
 * @last_ack_sent: Last.ACK.sent of RFC 7323
 * @write_seq: number after the last octet queued, and after the FIN if queued
 * @copied_seq: number of the next octet for the user
 * @small_end: number after the last segment sent that was not full
 * @snd_up: number after our urgent data, in @urgent_mode
 * @rcv_up: number of the peer's last urgent octet, if @urg_marked
 * @read_round_seq: @copied_seq at @read_round_at
 * @read_round_at: ns, when the reader's round trip began; 0 before the first
 *
 * @deferred: CFTCP_DEFER_* bits, set in softirq while a process owns the socket
 * @icmp: what ICMP told meanwhile, for CFTCP_DEFER_ICMP
 * @egress: what holds text back
 * @pmtu: the path MTU
 * @route_heard: IP_OPTIONS is no user's, but the way back of a source route
 * @fin_queued: our FIN stands at @write_seq - 1
 * @fin_received: the peer's FIN stands at @rcv_nxt - 1
 * @ts_ok: timestamps in use
 * @sack_ok: SACK in use
 * @wscale_ok: window scaling in use
 * @nodelay: no Nagle
 * @cork: hold back segments that are not full
 * @recovering: there was a loss; until @recovery_point is acknowledged
 * @reordered: segments of ours were seen to arrive out of order
 * @dsack_seen: a D-SACK came; no other counts until @dsack_round
 * @probing: a loss probe is out (TLP.end_seq is set)
 * @probe_again: it carries nothing new (TLP.is_retrans)
 * @rtt_rose: the RTO was too short; @rtt_rose_seq tells for which data not
 * @ack_now: an ACK must leave as soon as the segment is done with
 * @wnd_same: the last ACK has left @snd_wnd as it was
 * @quickack: TCP_QUICKACK: no ACK of text is delayed
 * @recvmsg_inq: TCP_INQ: recvmsg() tells what is left
 * @user_timeout_set: by TCP_USER_TIMEOUT
 * @urgent_mode: octets before @snd_up are not yet acknowledged
 * @urg_marked: the user has not read past @rcv_up
 * @urg_read: but has read that octet, by MSG_OOB
 * @orphaned: in cftcp_net.orphans
 * @hashed: in the connection table
 * @destroyed: nothing of it is left but its memory
 * @in_bpf: a program of the cgroup looks at connect(), which may not sleep
 * @snd_wscale: shift of the windows that we receive
 * @rcv_wscale: shift of the windows that we send
 * @syn_retries: TCP_SYNCNT: retransmissions of the SYN, 0 for the sysctl
 * @syn_rexmits: how often SYN or SYN,ACK was sent again
 * @backoff: consecutive retransmission or persist timeouts
 * @dup_acks: duplicate ACKs in a row
 * @timeouts: how often the RTO fired since anything was acknowledged
 *
 * @rtx: segments sent and neither acknowledged nor SACKED, by seq;
 *	sk_write_queue holds what was never sent
 * @rtx_sacked: segments sent and SACKED, by seq
 * @ofo: segments received out of order, by seq
 * @sacks: blocks to report, most recent first
 * @sack_count: how many
 * @twice: what came again and is to be reported once; empty if nothing
 * @sent: segments in @rtx that may be on their way, by the time they left
 * @lost: segments in @rtx marked CFTCP_SEG_LOST, those first that left first
 * @highest_sacked: number after the highest octet known to have arrived
 * @sacked_segs: segments in @rtx_sacked: those marked CFTCP_SEG_SACKED
 * @lost_segs: segments in @rtx marked CFTCP_SEG_LOST
 * @recovery_point: SND.NXT when the loss was noticed
 * @rack_sent_at: ns, send time of the latest segment known to have arrived
 * @rack_end_seq: its end
 * @rack_rtt_us: its round trip
 * @dsack_round: SND.NXT when the last D-SACK came that counted
 * @reo_wnd_mult: the reordering window, in quarters of @min_rtt_us
 * @reo_wnd_persist: recoveries without D-SACK until that is 1 again
 * @probe_end: SND.NXT when the loss probe was sent
 * @silent_repairs: rounds of giving up what was overdue since an answer came
 * @silent_at: ns, when the last of them began
 * @copied_at: ns, when something lost was last sent more than once
 * @timeout_tsval: TSval of the first retransmission by the RTO
 * @rtt_rose_seq: SND.NXT when the RTO was known to have been too short
 *
 * @peer_mss: MSS option of the peer, or the default
 * @user_mss: TCP_MAXSEG, 0 if not set
 * @mss: payload of a full segment now
 * @rcv_mss: largest payload received, for delayed ACK
 * @ts_recent: TS.Recent
 * @ts_recent_at: ns, when it was set
 * @ts_offset: added to the clock of our timestamps
 * @srtt_us: SRTT, 0 before the first measurement
 * @rttvar_us: RTTVAR
 * @min_rtt_us: least round trip seen
 * @rto_ns: RTO without backoff
 * @challenge_at: ns, earliest time of the next challenge ACK
 * @save_syn: TCP_SAVE_SYN; 1 from the network header on, 2 from the link's
 * @saved_syn: TCP_SAVED_SYN, until it is read
 * @msl_ms: CFTCP_MSL, 0 for the sysctl
 * @linger2_ms: TCP_LINGER2; 0 for the sysctl, below 0 for none
 * @user_timeout_ms: TCP_USER_TIMEOUT
 * @window_clamp: TCP_WINDOW_CLAMP, the largest window to show; 0 for no limit
 * @notsent_lowat: TCP_NOTSENT_LOWAT: with so much not yet sent the socket is
 *	not writable; 0 for no limit
 * @keepalive_time_ms: TCP_KEEPIDLE, 0 for the sysctl
 * @keepalive_intvl_ms: TCP_KEEPINTVL, 0 for the sysctl
 * @keepalive_probes: TCP_KEEPCNT, 0 for the sysctl
 * @keepalives_sent: probes since the peer was last heard
 * @heard_at: ns, when the last acceptable ACK came
 * @timer: all timers of the connection
 * @bytes_acked: octets acknowledged by the peer, and the FIN
 * @bytes_received: octets received in order
 * @bytes_sent: octets sent, repeated ones too
 * @bytes_retrans: octets sent again
 * @data_segs_out: segments sent with text
 * @data_segs_in: segments received with text
 * @segs_out: segments sent
 * @segs_in: segments received
 * @retrans: segments sent again
 * @created_at: ns, when it was established
 * @now: ns, when the segment or timeout that is worked on came, a segment left
 *	since, or a call started a timer; see cftcp_tick()
 * @last_rcv_at: ns, when the last segment came
 * @last_data_sent_at: ns, when text was last sent
 * @last_data_rcv_at: ns, when text last came
 */
struct cftcp_sock {
	struct inet_sock inet;
	struct cftcp_entry entry;
	struct cftcp_key key;
	struct cftcp_net *cn;
	const struct cftcp_af_ops *af;
	struct cftcp_port_ref *port;
	struct hlist_node port_node;
	struct hlist_node listen_node;
	struct list_head accept_node;
	struct cftcp_listen listen;

	u32 iss;
	u32 irs;
	u32 snd_una;
	u32 snd_nxt;
	u32 snd_wnd;
	u32 snd_wl1;
	u32 snd_wl2;
	u32 max_snd_wnd;
	u32 rcv_nxt;
	u32 rcv_wnd;
	u32 rcv_wup;
	u32 last_ack_sent;
	u32 write_seq;
	u32 copied_seq;
	u32 small_end;
	u32 snd_up;
	u32 rcv_up;
	u32 read_round_seq;
	u64 read_round_at;

	unsigned long deferred;
	struct cftcp_icmp_kept icmp;
	struct cftcp_egress egress;
	struct cftcp_pmtu pmtu;
	u32 route_heard:1,
	    fin_queued:1,
	    fin_received:1,
	    ts_ok:1,
	    sack_ok:1,
	    wscale_ok:1,
	    nodelay:1,
	    cork:1,
	    recovering:1,
	    reordered:1,
	    dsack_seen:1,
	    probing:1,
	    probe_again:1,
	    rtt_rose:1,
	    ack_now:1,
	    wnd_same:1,
	    quickack:1,
	    recvmsg_inq:1,
	    user_timeout_set:1,
	    urgent_mode:1,
	    urg_marked:1,
	    urg_read:1,
	    orphaned:1,
	    hashed:1,
	    destroyed:1,
	    in_bpf:1;
	u8 snd_wscale;
	u8 rcv_wscale;
	u8 syn_retries;
	u8 syn_rexmits;
	u8 backoff;
	u8 dup_acks;
	u8 timeouts;

	struct rb_root rtx;
	struct rb_root rtx_sacked;
	struct rb_root ofo;
	struct cftcp_sack sacks[CFTCP_MAX_SACKS];
	u8 sack_count;
	struct cftcp_sack twice;
	struct list_head sent;
	struct list_head lost;
	u32 highest_sacked;
	u32 sacked_segs;
	u32 lost_segs;
	u32 recovery_point;
	u64 rack_sent_at;
	u32 rack_end_seq;
	u32 rack_rtt_us;
	u32 dsack_round;
	u8 reo_wnd_mult;
	u8 reo_wnd_persist;
	u8 silent_repairs;
	u32 probe_end;
	u64 silent_at;
	u64 copied_at;
	u32 timeout_tsval;
	u32 rtt_rose_seq;

	u16 peer_mss;
	u16 user_mss;
	u16 mss;
	u16 rcv_mss;
	u32 ts_recent;
	u64 ts_recent_at;
	u32 ts_offset;
	u32 srtt_us;
	u32 rttvar_us;
	u32 min_rtt_us;
	u64 rto_ns;
	u64 challenge_at;
	u8 save_syn;
	struct cftcp_saved_syn *saved_syn;
	int msl_ms;
	int linger2_ms;
	int user_timeout_ms;
	u32 window_clamp;
	u32 notsent_lowat;
	u32 keepalive_time_ms;
	u32 keepalive_intvl_ms;
	u8 keepalive_probes;
	u8 keepalives_sent;
	u64 heard_at;
	struct cftcp_timer timer;

	u64 bytes_acked;
	u64 bytes_received;
	u64 bytes_sent;
	u64 bytes_retrans;
	u32 data_segs_out;
	u32 data_segs_in;
	u32 segs_out;
	u32 segs_in;
	u32 retrans;
	u64 created_at;
	u64 now;
	u64 last_rcv_at;
	u64 last_data_sent_at;
	u64 last_data_rcv_at;
};

/**
 * struct cftcp6_sock - a full socket of AF_INET6
 * @cftcp: must be first
 * @inet6: must be last: inet6_create() finds it by the size of the object
 */
struct cftcp6_sock {
	struct cftcp_sock cftcp;
#if IS_ENABLED(CONFIG_IPV6)
	struct ipv6_pinfo inet6;
#endif
};

static inline struct cftcp_sock *cftcp_sk(const struct sock *sk)
{
	return (struct cftcp_sock *)sk;
}

static inline struct sock *cftcp_to_sk(struct cftcp_sock *cs)
{
	return &cs->inet.sk;
}

/* cftcp_net() looks it up under RCU; a segment asks ten times. */
static inline struct cftcp_net *cftcp_sock_net(const struct sock *sk)
{
	return cftcp_sk(sk)->cn;
}

/* Comparisons modulo 2^32 (RFC 9293 section 3.4). */
static inline bool cftcp_before(u32 a, u32 b)
{
	return (s32)(a - b) < 0;
}

static inline bool cftcp_after(u32 a, u32 b)
{
	return cftcp_before(b, a);
}

/** cftcp_between() - low <= x <= high, modulo 2^32 */
static inline bool cftcp_between(u32 low, u32 x, u32 high)
{
	return x - low <= high - low;
}

/**
 * cftcp_tick() - something begins that is to have one time; lock held
 *
 * Looking at the clock costs as much as a step of the work on a segment.
 */
static inline u64 cftcp_tick(struct cftcp_sock *cs)
{
	cs->now = ktime_get_ns();
	return cs->now;
}

/** cftcp_tsval() - our timestamp now; lock held */
static inline u32 cftcp_tsval(const struct cftcp_sock *cs)
{
	return (u32)div_u64(cs->now, NSEC_PER_MSEC) + cs->ts_offset;
}

/** cftcp_clock_ms() - the clock of our timestamps, before the offset */
static inline u32 cftcp_clock_ms(void)
{
	return (u32)ktime_to_ms(ktime_get());
}

/** cftcp_assert_held() - lockdep: the caller owns the socket or its spinlock */
static inline void cftcp_assert_held(const struct sock *sk)
{
	lockdep_assert(lockdep_sock_is_held(sk));
}

/** cftcp_fin_sent() - has our FIN left at least once? */
static inline bool cftcp_fin_sent(const struct cftcp_sock *cs)
{
	return cs->fin_queued && cs->snd_nxt == cs->write_seq;
}

/** cftcp_fin_acked() - has the peer acknowledged our FIN? */
static inline bool cftcp_fin_acked(const struct cftcp_sock *cs)
{
	return cs->fin_queued && cs->snd_una == cs->write_seq;
}

/** cftcp_wnd_end() - right edge of the send window */
static inline u32 cftcp_wnd_end(const struct cftcp_sock *cs)
{
	return cs->snd_una + cs->snd_wnd;
}

/** cftcp_rcv_wnd_end() - right edge of the window that we advertised */
static inline u32 cftcp_rcv_wnd_end(const struct cftcp_sock *cs)
{
	return cs->rcv_wup + cs->rcv_wnd;
}

/** cftcp_notsent() - octets queued that were never sent; any context */
static inline u32 cftcp_notsent(const struct cftcp_sock *cs)
{
	return READ_ONCE(cs->write_seq) - READ_ONCE(cs->snd_nxt) -
	       (cs->fin_queued && !cftcp_fin_sent(cs));
}

/** cftcp_unread() - octets on hand for the user, in order */
static inline u32 cftcp_unread(const struct cftcp_sock *cs)
{
	return cs->rcv_nxt - cs->fin_received - cs->copied_seq;
}

/** cftcp_set_wire() - segments are carried by this family; lock held */
static inline void cftcp_set_wire(struct sock *sk,
				  const struct cftcp_af_ops *af)
{
	cftcp_sk(sk)->af = af;
	sk->sk_gso_type = af->gso_type;
}

/**
 * cftcp_sock_init_fields() - what a new socket and a new child start with
 * @sk: zeroed but for what sock_init_data() sets
 */
void cftcp_sock_init_fields(struct sock *sk);
/**
 * cftcp_sock_init_child() - what inet_create() and proto.init do, for a child
 * @sk: fresh from sk_alloc() and sock_init_data()
 *
 * Context: any.
 */
void cftcp_sock_init_child(struct sock *sk);

/**
 * cftcp_sock_uncount() - the socket is done with its namespace
 * @sk: the socket; nothing of struct cftcp_net may be used for it after this
 */
void cftcp_sock_uncount(struct sock *sk);

/** cftcp_sock_register() - struct proto and its slab. Context: process */
int cftcp_sock_register(void);
/** cftcp_sock_unregister() - the reverse */
void cftcp_sock_unregister(void);
/** cftcp_sock_open() - from here on socket(2) makes them. Context: process */
void cftcp_sock_open(void);
/** cftcp_sock_shut() - the reverse of cftcp_sock_open() */
void cftcp_sock_shut(void);

#endif
