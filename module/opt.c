// SPDX-License-Identifier: GPL-2.0
#include <linux/tcp.h>
#include <net/ip.h>
#include <net/tcp.h>

#include "compat.h"
#include "opt.h"
#include "output.h"
#include "sock.h"
#include "timer.h"

/* What tcp(7) takes for TCP_MAXSEG, up to MAX_TCP_WINDOW. */
#define LEAST_USER_MSS	88
#define MAX_LINGER2_S	120
#define MAX_MSL_MS	600000
/* What TCP_CONGESTION answers, and all that it takes. */
#define CONGESTION	"none"
/* tcp(7): less than this is never clamped to. */
#define MIN_WINDOW_CLAMP	(SOCK_MIN_RCVBUF / 2)
#define MAX_KEEPALIVE_S	(CFTCP_MAX_KEEP_MS / 1000)
#define MAX_KEEPALIVES	127
#define MAX_SYNCNT	127

static int set_linger2(struct cftcp_sock *cs, int seconds)
{
	if (seconds < 0)
		cs->linger2_ms = -1;
	else
		cs->linger2_ms = min(seconds, MAX_LINGER2_S) * MSEC_PER_SEC;
	return 0;
}

static int set_user_timeout(struct sock *sk, int ms)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (ms < 0)
		return -EINVAL;
	cs->user_timeout_ms = ms;
	cs->user_timeout_set = ms > 0;
	cftcp_timer_user_timeout_set(sk);
	return 0;
}

static int set_keepalive(struct sock *sk, int optname, int val)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	if (val < 1 || val > (optname == TCP_KEEPCNT ? MAX_KEEPALIVES :
						       MAX_KEEPALIVE_S))
		return -EINVAL;
	switch (optname) {
	case TCP_KEEPIDLE:
		cs->keepalive_time_ms = val * MSEC_PER_SEC;
		cftcp_timer_keepalive_changed(sk);
		break;
	case TCP_KEEPINTVL:
		cs->keepalive_intvl_ms = val * MSEC_PER_SEC;
		break;
	case TCP_KEEPCNT:
		cs->keepalive_probes = val;
		break;
	}
	return 0;
}

static int set_maxseg(struct cftcp_sock *cs, int mss)
{
	if (mss && (mss < LEAST_USER_MSS || mss > MAX_TCP_WINDOW))
		return -EINVAL;
	cs->user_mss = mss;
	return 0;
}

/* The time that so many timeouts of a SYN,ACK take, s. */
static int timeouts_to_s(const struct cftcp_net *cn, int count)
{
	u64 most = cftcp_sysctl(cn, rto_max_ms);
	u64 rto = cftcp_sysctl(cn, rto_init_ms);
	u64 ms = 0;

	for (; count; count--) {
		ms += min(rto, most);
		rto = min(2 * rto, most);
	}
	return div_u64(ms, MSEC_PER_SEC);
}

static int set_defer_accept(struct sock *sk, int seconds)
{
	const struct cftcp_net *cn = cftcp_sock_net(sk);
	int count = 0;

	while (count < U8_MAX && timeouts_to_s(cn, count) < seconds)
		count++;
	WRITE_ONCE(cftcp_sk(sk)->listen.defer, count);
	return 0;
}

static int set_syncnt(struct cftcp_sock *cs, int count)
{
	if (count < 1 || count > MAX_SYNCNT)
		return -EINVAL;
	cs->syn_retries = count;
	return 0;
}

static int set_window_clamp(struct sock *sk, int octets)
{
	if (!octets && sk->sk_state != TCP_CLOSE)
		return -EINVAL;
	cftcp_sk(sk)->window_clamp =
		octets ? max_t(u32, octets, MIN_WINDOW_CLAMP) : 0;
	return 0;
}

/* An ACK that is owed leaves now; an even value says: only that one. */
static int set_quickack(struct sock *sk, int val)
{
	cftcp_sk(sk)->quickack = val & 1;
	if (val && cftcp_timer_running(sk, CFTCP_TIMER_DELACK))
		cftcp_send_ack(sk);
	return 0;
}

static int set_notsent_lowat(struct sock *sk, u32 octets)
{
	WRITE_ONCE(cftcp_sk(sk)->notsent_lowat, octets);
	sk->sk_write_space(sk);
	return 0;
}

static int set_inq(struct cftcp_sock *cs, int val)
{
	if (val < 0 || val > 1)
		return -EINVAL;
	cs->recvmsg_inq = val;
	return 0;
}

static int set_congestion(sockptr_t optval, unsigned int optlen)
{
	char name[TCP_CA_NAME_MAX] = { };

	if (!optlen)
		return -EINVAL;
	if (copy_from_sockptr(name, optval,
			      min_t(unsigned int, optlen, sizeof(name) - 1)))
		return -EFAULT;
	return strcmp(name, CONGESTION) ? -ENOENT : 0;
}

static int set_save_syn(struct cftcp_sock *cs, int val)
{
	if (val < 0 || val > 2)
		return -EINVAL;
	WRITE_ONCE(cs->save_syn, val);
	return 0;
}

static int set_tcp(struct sock *sk, int optname, int val)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	switch (optname) {
	case TCP_NODELAY:
		cs->nodelay = !!val;
		if (val)
			cftcp_push_pending(sk);
		return 0;
	case TCP_CORK:
		cs->cork = !!val;
		if (!val)
			cftcp_push(sk, CFTCP_PUSH_NAGLE);
		return 0;
	case TCP_MAXSEG:
		return set_maxseg(cs, val);
	case TCP_LINGER2:
		return set_linger2(cs, val);
	case TCP_SYNCNT:
		return set_syncnt(cs, val);
	case TCP_DEFER_ACCEPT:
		return set_defer_accept(sk, val);
	case TCP_USER_TIMEOUT:
		return set_user_timeout(sk, val);
	case TCP_SAVE_SYN:
		return set_save_syn(cs, val);
	case TCP_KEEPIDLE:
	case TCP_KEEPINTVL:
	case TCP_KEEPCNT:
		return set_keepalive(sk, optname, val);
	case TCP_WINDOW_CLAMP:
		return set_window_clamp(sk, val);
	case TCP_QUICKACK:
		return set_quickack(sk, val);
	case TCP_NOTSENT_LOWAT:
		return set_notsent_lowat(sk, val);
	case TCP_INQ:
		return set_inq(cs, val);
	case TCP_TIMESTAMP:
		return -EPERM;
	}
	return -ENOPROTOOPT;
}

static int set_cftcp(struct sock *sk, int optname, int val)
{
	switch (optname) {
	case CFTCP_MSL:
		if (val < 0 || val > MAX_MSL_MS)
			return -EINVAL;
		cftcp_sk(sk)->msl_ms = val;
		return 0;
	}
	return -ENOPROTOOPT;
}

int cftcp_setsockopt(struct sock *sk, int level, int optname,
		     sockptr_t optval, unsigned int optlen)
{
	int val, err;

	if (level != SOL_TCP && level != SOL_CFTCP)
		return cftcp_family(sk)->setsockopt(sk, level, optname, optval,
						    optlen);
	if (level == SOL_TCP && optname == TCP_CONGESTION)
		return set_congestion(optval, optlen);
	/* Its value is a name, which may be shorter than a number. */
	if (level == SOL_TCP && optname == TCP_ULP)
		return -ENOPROTOOPT;
	if (optlen < sizeof(int))
		return -EINVAL;
	if (copy_from_sockptr(&val, optval, sizeof(val)))
		return -EFAULT;
	lock_sock(sk);
	err = level == SOL_TCP ? set_tcp(sk, optname, val) :
				 set_cftcp(sk, optname, val);
	release_sock(sk);
	return err;
}

static u32 ms_since(u64 ns)
{
	return ns ? div_u64(ktime_get_ns() - ns, NSEC_PER_MSEC) : 0;
}

/* A listener's queue stands where others have what is in flight. */
static void fill_listen_info(const struct cftcp_sock *cs, struct tcp_info *info)
{
	info->tcpi_state = TCP_LISTEN;
	info->tcpi_unacked = READ_ONCE(cs->listen.accepts);
	info->tcpi_sacked = READ_ONCE(cs->listen.backlog);
}

static u8 loss_state(const struct cftcp_sock *cs)
{
	if (cs->recovering)
		return cs->backoff ? TCP_CA_Loss : TCP_CA_Recovery;
	return cs->sacked_segs || cs->dup_acks ? TCP_CA_Disorder : TCP_CA_Open;
}

/* What has a meaning without a congestion window; the rest stays 0. */
void cftcp_fill_info(struct sock *sk, struct tcp_info *info)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	const struct dst_entry *dst = __sk_dst_get(sk);

	memset(info, 0, sizeof(*info));
	if (sk->sk_state == TCP_LISTEN) {
		fill_listen_info(cs, info);
		return;
	}
	info->tcpi_state = sk->sk_state;
	info->tcpi_ca_state = loss_state(cs);
	info->tcpi_retransmits = cs->backoff;
	info->tcpi_probes = cftcp_timer_running(sk, CFTCP_TIMER_PERSIST) ?
			    cs->backoff : cs->keepalives_sent;
	info->tcpi_backoff = cs->backoff;
	if (cs->ts_ok)
		info->tcpi_options |= TCPI_OPT_TIMESTAMPS;
	if (cs->sack_ok)
		info->tcpi_options |= TCPI_OPT_SACK;
	if (cs->wscale_ok) {
		info->tcpi_options |= TCPI_OPT_WSCALE;
		info->tcpi_snd_wscale = cs->snd_wscale;
		info->tcpi_rcv_wscale = cs->rcv_wscale;
	}
	info->tcpi_rto = div_u64(cftcp_rto_ns(sk), NSEC_PER_USEC);
	info->tcpi_ato = CFTCP_DELACK_MS * USEC_PER_MSEC;
	info->tcpi_snd_mss = cs->mss;
	info->tcpi_rcv_mss = cs->rcv_mss;
	info->tcpi_sacked = cs->sacked_segs;
	info->tcpi_lost = cs->lost_segs;
	info->tcpi_unacked = DIV_ROUND_UP(cs->snd_nxt - cs->snd_una, cs->mss);
	info->tcpi_pmtu = dst ? dst_mtu(dst) : 0;
	info->tcpi_last_data_sent = ms_since(cs->last_data_sent_at);
	info->tcpi_last_data_recv = ms_since(cs->last_data_rcv_at);
	info->tcpi_last_ack_recv = ms_since(cs->heard_at);
	info->tcpi_rtt = cs->srtt_us;
	info->tcpi_rttvar = cs->rttvar_us;
	info->tcpi_min_rtt = cs->min_rtt_us;
	info->tcpi_advmss = cs->user_mss ?: cs->peer_mss;
	info->tcpi_total_retrans = cs->retrans;
	info->tcpi_bytes_acked = cs->bytes_acked;
	info->tcpi_bytes_received = cs->bytes_received;
	info->tcpi_bytes_sent = cs->bytes_sent;
	info->tcpi_bytes_retrans = cs->bytes_retrans;
	info->tcpi_data_segs_out = cs->data_segs_out;
	info->tcpi_data_segs_in = cs->data_segs_in;
	info->tcpi_segs_out = cs->segs_out;
	info->tcpi_segs_in = cs->segs_in;
	info->tcpi_pacing_rate = cftcp_egress_rate(sk);
	info->tcpi_max_pacing_rate = READ_ONCE(sk->sk_max_pacing_rate);
	info->tcpi_notsent_bytes = cftcp_notsent(cs);
	info->tcpi_snd_wnd = cs->snd_wnd;
	info->tcpi_rcv_space = cs->rcv_wnd;
}

static int copy_out(char __user *optval, int __user *optlen, const void *from,
		    int size, int len)
{
	len = min(len, size);
	if (put_user(len, optlen) || copy_to_user(optval, from, len))
		return -EFAULT;
	return 0;
}

static int get_info(struct sock *sk, char __user *optval, int __user *optlen,
		    int len)
{
	struct tcp_info info;

	lock_sock(sk);
	cftcp_fill_info(sk, &info);
	release_sock(sk);
	return copy_out(optval, optlen, &info, sizeof(info), len);
}

/* Once: it is gone when it was read. Too little room tells how much it takes. */
static int get_saved_syn(struct sock *sk, char __user *optval,
			 int __user *optlen, int len)
{
	struct cftcp_saved_syn *saved;
	int err;

	lock_sock(sk);
	saved = cftcp_sk(sk)->saved_syn;
	if (!saved) {
		err = put_user(0, optlen);
	} else if (len < saved->len) {
		err = put_user(saved->len, optlen) ?: -EINVAL;
	} else {
		err = copy_out(optval, optlen, saved->octets, saved->len, len);
		if (!err) {
			cftcp_sk(sk)->saved_syn = NULL;
			kfree(saved);
		}
	}
	release_sock(sk);
	return err;
}

static int linger2_s(const struct sock *sk)
{
	int ms = cftcp_sk(sk)->linger2_ms;

	if (ms < 0)
		return -1;
	if (!ms)
		ms = cftcp_sysctl(cftcp_sock_net(sk), fin_wait2_timeout_ms);
	return ms / MSEC_PER_SEC;
}

/* Before a connection only what was set, as in Linux. */
static u32 window_clamp(const struct sock *sk)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	return (1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN) ?
	       cs->window_clamp : cftcp_max_window(cs);
}

static int get_tcp(const struct sock *sk, int optname, int *val)
{
	const struct cftcp_sock *cs = cftcp_sk(sk);

	switch (optname) {
	case TCP_NODELAY:
		*val = cs->nodelay;
		return 0;
	case TCP_CORK:
		*val = cs->cork;
		return 0;
	case TCP_MAXSEG:
		*val = cs->mss;
		if ((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN))
			*val = cs->user_mss ?: cs->mss;
		return 0;
	case TCP_LINGER2:
		*val = linger2_s(sk);
		return 0;
	case TCP_SYNCNT:
		*val = cs->syn_retries ?:
		       cftcp_sysctl(cftcp_sock_net(sk), syn_retries);
		return 0;
	case TCP_DEFER_ACCEPT:
		*val = timeouts_to_s(cftcp_sock_net(sk), cs->listen.defer);
		return 0;
	case TCP_USER_TIMEOUT:
		*val = cs->user_timeout_ms;
		return 0;
	case TCP_SAVE_SYN:
		*val = cs->save_syn;
		return 0;
	case TCP_KEEPIDLE:
		*val = cftcp_keepalive_time_ms(sk) / MSEC_PER_SEC;
		return 0;
	case TCP_KEEPINTVL:
		*val = cftcp_keepalive_intvl_ms(sk) / MSEC_PER_SEC;
		return 0;
	case TCP_KEEPCNT:
		*val = cftcp_keepalive_probes(sk);
		return 0;
	case TCP_WINDOW_CLAMP:
		*val = window_clamp(sk);
		return 0;
	case TCP_QUICKACK:
		*val = cs->quickack;
		return 0;
	case TCP_NOTSENT_LOWAT:
		*val = cs->notsent_lowat;
		return 0;
	case TCP_INQ:
		*val = cs->recvmsg_inq;
		return 0;
	case TCP_TIMESTAMP:
		*val = cftcp_clock_ms() + cs->ts_offset;
		return 0;
	}
	return -ENOPROTOOPT;
}

int cftcp_getsockopt(struct sock *sk, int level, int optname,
		     char __user *optval, int __user *optlen)
{
	static const char congestion[TCP_CA_NAME_MAX] = CONGESTION;
	int val, len, err = -ENOPROTOOPT;

	if (level != SOL_TCP && level != SOL_CFTCP)
		return cftcp_family(sk)->getsockopt(sk, level, optname, optval,
						    optlen);
	if (get_user(len, optlen))
		return -EFAULT;
	if (len < 0)
		return -EINVAL;
	if (level == SOL_TCP && optname == TCP_INFO)
		return get_info(sk, optval, optlen, len);
	if (level == SOL_TCP && optname == TCP_CONGESTION)
		return copy_out(optval, optlen, congestion, sizeof(congestion),
				len);
	if (level == SOL_TCP && optname == TCP_SAVED_SYN)
		return get_saved_syn(sk, optval, optlen, len);
	if (level == SOL_TCP)
		err = get_tcp(sk, optname, &val);
	if (level == SOL_CFTCP && optname == CFTCP_MSL) {
		val = cftcp_sk(sk)->msl_ms ?:
		      cftcp_sysctl(cftcp_sock_net(sk), msl_ms);
		err = 0;
	}
	return err ?: copy_out(optval, optlen, &val, sizeof(val), len);
}
