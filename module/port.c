// SPDX-License-Identifier: GPL-2.0
#include <linux/bitmap.h>
#include <linux/gcd.h>
#include <linux/in.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/ip.h>

#include "listen.h"
#include "netns.h"
#include "port.h"
#include "sock.h"
#include "timewait.h"

#define PORTS 65536
/*
 * With so many reservations, which cost memory, a connection shares one of
 * them if it can. They are enough to choose from at random (RFC 6056).
 */
#define MANY 3072
/* Of so many, one that nobody uses any more is kept for another connection. */
#define KEEP (HZ / 10)
/* Released in one go, for RCU frees what is left of them in one go. */
#define REAP 64

/*
 * How many are tried: where the first few have the peer already, most have. But
 * the search for a free port is as long as few are free.
 */
static int tries(int ports, int reservations)
{
	return max(10, 5 * ports / max(ports - reservations, ports / 16 + 1));
}

static struct cftcp_port *find_port(struct cftcp_ports *ports, u16 num)
{
	struct cftcp_port *port;

	lockdep_assert_held(&ports->lock);
	hash_for_each_possible(ports->table, port, node, num)
		if (port->num == num)
			return port;
	return NULL;
}

/* A reservation of all addresses serves for each of them. */
static struct cftcp_port_ref *find_ref(struct cftcp_port *port,
				       const struct cftcp_local *local)
{
	struct cftcp_port_ref *ref, *any = NULL;

	hlist_for_each_entry(ref, &port->refs, node) {
		if (ipv6_addr_equal(&ref->local.addr, &local->addr) &&
		    ref->local.v6only == local->v6only)
			return ref;
		if (!cftcp_local_is_any(local) &&
		    cftcp_local_covers(&ref->local, &local->addr))
			any = ref;
	}
	return any;
}

static void use_ref(struct cftcp_port_ref *ref)
{
	if (ref->users++)
		return;
	list_del_init(&ref->idle);
	ref->reuseport = true;
}

static struct cftcp_port_ref *share(struct cftcp_ports *ports,
				    const struct cftcp_local *local, u16 num)
{
	struct cftcp_port_ref *ref = NULL;
	struct cftcp_port *port;

	spin_lock_bh(&ports->lock);
	port = find_port(ports, num);
	if (port)
		ref = find_ref(port, local);
	if (ref)
		use_ref(ref);
	spin_unlock_bh(&ports->lock);
	return ref;
}

static void set_group(struct socket *res, kuid_t uid, bool reuse)
{
	SOCK_INODE(res)->i_uid = uid;
	res->sk->sk_uid = uid;
	res->sk->sk_reuseport = reuse;
}

/*
 * Our own reservations of other addresses of the port must not stand in the
 * way of a new one, whereas stock sockets must: SO_REUSEPORT, for a user whom
 * nobody is. A new one each time, for stock TCP remembers the last. Called with
 * @create held, and nobody but us writes to a reservation.
 */
static void set_reuse(struct cftcp_ports *ports, u16 num, struct socket *extra,
		      bool reuse)
{
	kuid_t uid = KUIDT_INIT(0xff000000 | (++ports->group & 0x7fffff));
	struct cftcp_port_ref *ref;
	struct cftcp_port *port;

	lockdep_assert_held(&ports->create);
	spin_lock_bh(&ports->lock);
	port = num ? find_port(ports, num) : NULL;
	if (port)
		hlist_for_each_entry(ref, &port->refs, node)
			set_group(ref->reservation, uid, reuse);
	set_group(extra, uid, port && reuse);
	spin_unlock_bh(&ports->lock);
}

/*
 * As bind() does, but what the user's bind() went through already is left out: a
 * connect() must not fail where a BPF program of the cgroup forbids bind().
 */
static int bind_like(struct sock *res, const struct sock *sk, u16 num)
{
	int err;

	lock_sock_nested(res, SINGLE_DEPTH_NESTING);
	cftcp_family(sk)->dress(res, sk);
	inet_sk(res)->local_port_range = inet_sk(sk)->local_port_range;
	err = res->sk_prot->get_port(res, num);
	if (!err) {
		res->sk_userlocks |= SOCK_BINDADDR_LOCK | SOCK_BINDPORT_LOCK;
		inet_sk(res)->inet_sport = htons(inet_sk(res)->inet_num);
	}
	release_sock(res);
	return err;
}

static int bind_stock(struct cftcp_ports *ports, struct sock *sk, u16 num,
		      struct socket **res)
{
	struct socket *sock;
	int err;

	err = sock_create_kern(ports->net, sk->sk_family, SOCK_STREAM,
			       IPPROTO_TCP, &sock);
	/* It says ENFILE for want of an inode. */
	if (err)
		return err == -ENFILE ? -ENOBUFS : err;
	set_reuse(ports, num, sock, true);
	err = bind_like(sock->sk, sk, num);
	set_reuse(ports, num, sock, false);
	if (err)
		sock_release(sock);
	else
		*res = sock;
	return err;
}

static void publish(struct cftcp_ports *ports, struct cftcp_port *port,
		    struct cftcp_port_ref *ref)
{
	struct cftcp_port *old;

	spin_lock_bh(&ports->lock);
	old = find_port(ports, port->num);
	if (!old) {
		hash_add(ports->table, &port->node, port->num);
		set_bit(port->num, ports->used);
	}
	ref->port = old ?: port;
	hlist_add_head(&ref->node, &ref->port->refs);
	ports->reservations++;
	spin_unlock_bh(&ports->lock);
	if (old)
		kfree(port);
}

/* Make a reservation of the socket's address and port @num, 0 to choose. */
static struct cftcp_port_ref *reserve(struct cftcp_ports *ports,
				      struct sock *sk, u16 num, bool chosen)
{
	struct cftcp_port_ref *ref;
	struct cftcp_port *port;
	int err = -ENOMEM;

	lockdep_assert_held(&ports->create);
	ref = kzalloc(sizeof(*ref), GFP_KERNEL_ACCOUNT);
	if (!ref)
		return ERR_PTR(-ENOMEM);
	port = kzalloc(sizeof(*port), GFP_KERNEL_ACCOUNT);
	if (!port)
		goto free_ref;
	err = bind_stock(ports, sk, num, &ref->reservation);
	if (err)
		goto free_port;

	INIT_LIST_HEAD(&ref->idle);
	ref->cn = cftcp_sock_net(sk);
	ref->local = cftcp_local_of(sk);
	ref->users = 1;
	ref->chosen = chosen;
	ref->reuseport = true;
	port->num = inet_sk(ref->reservation->sk)->inet_num;
	publish(ports, port, ref);
	return ref;

free_port:
	kfree(port);
free_ref:
	kfree(ref);
	return ERR_PTR(err);
}

/*
 * A port at random that is not ours, and so mostly is nobody's: asked for any,
 * stock TCP walks over all that are taken. 0 if there hardly is one.
 */
static u16 pick_port(struct cftcp_ports *ports, const struct sock *sk)
{
	int low, high;
	u32 num;

	lockdep_assert_held(&ports->create);
	inet_sk_get_local_port_range(sk, &low, &high);
	for (int i = 0; i < 8; i++) {
		/* The even ones are those that stock TCP's connect() prefers. */
		num = low + (get_random_u32_below(high - low + 1) | 1);
		if (num <= high && !test_bit(num, ports->used) &&
		    !inet_is_local_reserved_port(ports->net, num))
			return num;
	}
	num = low + get_random_u32_below(high - low + 1);
	num = find_next_zero_bit(ports->used, high + 1, num);
	if (num > high)
		num = find_next_zero_bit(ports->used, high + 1, low);
	return num > high || inet_is_local_reserved_port(ports->net, num) ?
	       0 : num;
}

static bool is_full(const struct cftcp_ports *ports)
{
	return time_before(jiffies, READ_ONCE(ports->full_until));
}

static struct cftcp_port_ref *reserve_any(struct cftcp_ports *ports,
					  struct sock *sk, bool chosen)
{
	u16 num = pick_port(ports, sk);
	struct cftcp_port_ref *ref = ERR_PTR(-EADDRINUSE);

	if (num)
		ref = reserve(ports, sk, num, chosen);
	return !IS_ERR(ref) || (chosen && is_full(ports)) ?
	       ref : reserve(ports, sk, 0, chosen);
}

static struct cftcp_port_ref *share_or_reserve(struct cftcp_ports *ports,
					       struct sock *sk, u16 num,
					       bool chosen)
{
	struct cftcp_local local = cftcp_local_of(sk);
	struct cftcp_port_ref *ref;

	mutex_lock(&ports->create);
	if (!num)
		ref = reserve_any(ports, sk, chosen);
	else
		ref = share(ports, &local, num) ?:
		      reserve(ports, sk, num, chosen);
	mutex_unlock(&ports->create);
	return ref;
}

static bool overlap(const struct sock *a, const struct sock *b)
{
	struct cftcp_local la = cftcp_local_of(a), lb = cftcp_local_of(b);

	return cftcp_locals_overlap(&la, &lb);
}

static bool same_device(const struct sock *a, const struct sock *b)
{
	return !a->sk_bound_dev_if || !b->sk_bound_dev_if ||
	       a->sk_bound_dev_if == b->sk_bound_dev_if;
}

/* SO_REUSEPORT: both have it, and are of one user. */
static bool may_share(const struct sock *a, const struct sock *b)
{
	return a->sk_reuseport && b->sk_reuseport &&
	       uid_eq(a->sk_uid, b->sk_uid);
}

/* Does another cftcp socket or TIME-WAIT record forbid this bind? */
static bool conflict(struct cftcp_ports *ports, struct cftcp_port *port,
		     struct sock *sk)
{
	struct cftcp_local local = cftcp_local_of(sk);
	struct cftcp_port_ref *ref;
	struct cftcp_sock *other;

	lockdep_assert_held(&ports->lock);
	hlist_for_each_entry(other, &port->owners, port_node) {
		struct sock *sk2 = cftcp_to_sk(other);

		if (sk2 == sk || !same_device(sk, sk2) ||
		    !overlap(sk, sk2) || may_share(sk, sk2))
			continue;
		if (!sk->sk_reuse || !sk2->sk_reuse ||
		    sk2->sk_state == TCP_LISTEN)
			return true;
	}
	if (sk->sk_reuse)
		return false;
	hlist_for_each_entry(ref, &port->refs, node)
		if (ref->time_waits && !(sk->sk_reuseport && ref->reuseport) &&
		    cftcp_locals_overlap(&local, &ref->local))
			return true;
	return false;
}

static void own(struct sock *sk, struct cftcp_port_ref *ref)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	lockdep_assert_held(&cftcp_sock_net(sk)->ports.lock);
	cs->port = ref;
	ref->reuseport &= sk->sk_reuseport;
	hlist_add_head(&cs->port_node, &ref->port->owners);
	inet_sk(sk)->inet_num = ref->port->num;
	inet_sk(sk)->inet_sport = htons(ref->port->num);
}

int cftcp_port_get(struct sock *sk, unsigned short num)
{
	struct cftcp_ports *ports = &cftcp_sock_net(sk)->ports;
	struct cftcp_port_ref *ref;
	bool taken;

	if (cftcp_sk(sk)->in_bpf) {
		inet_sk(sk)->inet_num = num;
		return 0;
	}
	ref = share_or_reserve(ports, sk, num, false);
	if (IS_ERR(ref))
		return PTR_ERR(ref);
	spin_lock_bh(&ports->lock);
	taken = conflict(ports, ref->port, sk);
	if (!taken)
		own(sk, ref);
	spin_unlock_bh(&ports->lock);
	if (!taken)
		return 0;
	cftcp_port_ref_put(ports, ref, false);
	return -EADDRINUSE;
}

int cftcp_port_get_for_bpf(struct sock *sk)
{
	u16 num = inet_sk(sk)->inet_num;
	int err;

	if (!num || cftcp_sk(sk)->port)
		return 0;
	err = cftcp_port_get(sk, num);
	if (err) {
		inet_sk(sk)->inet_num = 0;
		inet_sk(sk)->inet_sport = 0;
		sk->sk_userlocks &= ~SOCK_BINDPORT_LOCK;
	}
	return err;
}

static void disown(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);

	hlist_del_init(&cs->port_node);
	cs->port = NULL;
	inet_sk(sk)->inet_num = 0;
	inet_sk(sk)->inet_sport = 0;
}

/* Hash the socket as a connection from a port that it holds; choose its ISN. */
static int hash_from(struct sock *sk)
{
	struct cftcp_sock *cs = cftcp_sk(sk);
	int err;

	cftcp_sock_set_key(sk);
	cs->iss = cftcp_isn(&cs->key);
	err = cftcp_hash_insert(cftcp_sock_net(sk), &cs->entry, &cs->key);
	if (err == -EADDRINUSE && cftcp_time_wait_yield(sk))
		return 0;
	return err;
}

static int connect_from(struct sock *sk, struct cftcp_port_ref *ref)
{
	struct cftcp_ports *ports = &cftcp_sock_net(sk)->ports;
	int err;

	spin_lock_bh(&ports->lock);
	own(sk, ref);
	spin_unlock_bh(&ports->lock);
	err = hash_from(sk);
	if (!err)
		return 0;
	cftcp_port_put(sk);
	return err;
}

static bool has_listener(struct cftcp_port *port)
{
	struct cftcp_sock *cs;

	hlist_for_each_entry(cs, &port->owners, port_node)
		if (cftcp_to_sk(cs)->sk_state == TCP_LISTEN)
			return true;
	return false;
}

static struct cftcp_port_ref *share_chosen(struct cftcp_ports *ports,
					   const struct cftcp_local *local,
					   u16 num)
{
	struct cftcp_port_ref *ref = NULL;
	struct cftcp_port *port;

	spin_lock_bh(&ports->lock);
	port = find_port(ports, num);
	if (port && !has_listener(port))
		ref = find_ref(port, local);
	if (ref && !ref->chosen)
		ref = NULL;
	if (ref)
		use_ref(ref);
	spin_unlock_bh(&ports->lock);
	return ref;
}

/* Is there a connection of the socket's key, but for this port, already? */
static bool taken(struct sock *sk, u16 num)
{
	struct cftcp_net *cn = cftcp_sock_net(sk);
	struct cftcp_key key = cftcp_sk(sk)->key;
	struct cftcp_entry *entry;
	bool yields;

	key.lport = htons(num);
	rcu_read_lock();
	entry = cftcp_lookup(cn, &key);
	yields = entry && entry->kind == CFTCP_KIND_TIME_WAIT &&
		 cftcp_sysctl(cn, time_wait_reuse);
	rcu_read_unlock();
	return entry && !yields;
}

/* A port that we chose before may serve another destination. */
static bool connect_sharing(struct sock *sk, u16 num)
{
	struct cftcp_ports *ports = &cftcp_sock_net(sk)->ports;
	struct cftcp_local local = cftcp_local_of(sk);
	struct cftcp_port_ref *ref;

	if (!test_bit(num, ports->used) || taken(sk, num))
		return false;
	ref = share_chosen(ports, &local, num);
	return ref && !connect_from(sk, ref);
}

/* The next of ours, from @num on and round. */
static u16 next_used(struct cftcp_ports *ports, u32 num, int low, int high)
{
	num = find_next_bit(ports->used, high + 1, num);
	if (num > high)
		num = find_next_bit(ports->used, high + 1, low);
	return num > high ? 0 : num;
}

/*
 * One of ours, each nearly as likely as any other: a port behind a wide gap is
 * not what next_used() alone would make it.
 */
static u16 random_used(struct cftcp_ports *ports, int low, int high)
{
	u32 num = low + get_random_u32_below(high - low + 1);
	unsigned long word = READ_ONCE(ports->used[BIT_WORD(num)]);

	if (word)
		num = round_down(num, BITS_PER_LONG) +
		      find_nth_bit(&word, BITS_PER_LONG,
				   get_random_u32_below(hweight_long(word)));
	return next_used(ports, max_t(u32, num, low), low, high);
}

/*
 * To one destination a port serves once, and none can be shared: after some
 * misses a look now and then will do.
 */
static bool worth_a_look(struct cftcp_ports *ports)
{
	unsigned int misses = READ_ONCE(ports->misses);

	if (misses < 4 || misses % 16 == 0)
		return true;
	WRITE_ONCE(ports->misses, misses + 1);
	return false;
}

static bool share_some(struct sock *sk)
{
	struct cftcp_ports *ports = &cftcp_sock_net(sk)->ports;
	int reservations = READ_ONCE(ports->reservations);
	u32 num, span, stride = 0;
	int low, high;

	if (reservations < MANY || !worth_a_look(ports))
		return false;
	cftcp_sock_set_key(sk);
	inet_sk_get_local_port_range(sk, &low, &high);
	span = high - low + 1;
	num = random_used(ports, low, high);
	for (int i = tries(span, reservations); num && i; i--) {
		if (connect_sharing(sk, num)) {
			WRITE_ONCE(ports->misses, 0);
			return true;
		}
		/* Beside one that is taken others are, if one steps to these. */
		stride = stride ?: 1 + get_random_u32_below(span);
		num = next_used(ports, low + (num - low + stride) % span,
				low, high);
	}
	WRITE_ONCE(ports->misses, READ_ONCE(ports->misses) + 1);
	return false;
}

static struct cftcp_port_ref *take_idle(struct cftcp_ports *ports,
					const struct cftcp_local *local,
					int low, int high)
{
	struct cftcp_port_ref *ref;
	int looks = 8;

	lockdep_assert_held(&ports->lock);
	list_for_each_entry(ref, &ports->idle, idle) {
		u16 num = ref->port->num;

		if (!looks--)
			break;
		if (ref->chosen && num >= low && num <= high &&
		    ref->local.v6only == local->v6only &&
		    ipv6_addr_equal(&ref->local.addr, &local->addr) &&
		    !has_listener(ref->port))
			return ref;
	}
	return NULL;
}

/* What the last connection of a port has left. */
static bool reuse_idle(struct sock *sk)
{
	struct cftcp_ports *ports = &cftcp_sock_net(sk)->ports;
	struct cftcp_local local = cftcp_local_of(sk);
	struct cftcp_port_ref *ref = NULL;
	int low, high;

	if (READ_ONCE(ports->reservations) < MANY)
		return false;
	inet_sk_get_local_port_range(sk, &low, &high);
	spin_lock_bh(&ports->lock);
	ref = take_idle(ports, &local, low, high);
	if (ref)
		use_ref(ref);
	spin_unlock_bh(&ports->lock);
	return ref && !connect_from(sk, ref);
}

/* Every port of the range is tried, each of them once, at random. */
static bool share_any(struct sock *sk)
{
	u32 span, at, stride;
	int low, high;

	cftcp_sock_set_key(sk);
	inet_sk_get_local_port_range(sk, &low, &high);
	span = high - low + 1;
	at = get_random_u32_below(span);
	do {
		stride = 1 + get_random_u32_below(span);
	} while (gcd(stride, span) != 1);
	for (u32 i = 0; i < span; i++) {
		if (connect_sharing(sk, low + at))
			return true;
		at = (at + stride) % span;
		cond_resched();
	}
	return false;
}

/* IP_LOCAL_PORT_RANGE */
static bool has_own_range(const struct sock *sk)
{
	int low, high, own_low, own_high;

	inet_get_local_port_range(sock_net(sk), &low, &high);
	inet_sk_get_local_port_range(sk, &own_low, &own_high);
	return own_low != low || own_high != high;
}

static int connect_new(struct sock *sk)
{
	struct cftcp_ports *ports = &cftcp_sock_net(sk)->ports;
	struct cftcp_port_ref *ref;

	ref = share_or_reserve(ports, sk, 0, true);
	if (!IS_ERR(ref))
		return connect_from(sk, ref);
	if (PTR_ERR(ref) != -EADDRINUSE)
		return PTR_ERR(ref);
	if (!is_full(ports) && !has_own_range(sk))
		WRITE_ONCE(ports->full_until, jiffies + HZ);
	return -EADDRNOTAVAIL;
}

int cftcp_port_connect(struct sock *sk)
{
	int err;

	if (cftcp_sk(sk)->port)
		return hash_from(sk);
	if (reuse_idle(sk) || share_some(sk))
		return 0;
	err = connect_new(sk);
	if (err == -EADDRNOTAVAIL && share_any(sk))
		return 0;
	return err;
}

int cftcp_port_may_listen(struct sock *sk)
{
	struct cftcp_ports *ports = &cftcp_sock_net(sk)->ports;
	struct cftcp_port *port = cftcp_sk(sk)->port->port;
	struct cftcp_sock *other;
	int err = 0;

	spin_lock_bh(&ports->lock);
	hlist_for_each_entry(other, &port->owners, port_node) {
		struct sock *sk2 = cftcp_to_sk(other);

		if (sk2 != sk && sk2->sk_state == TCP_LISTEN &&
		    same_device(sk, sk2) && overlap(sk, sk2) &&
		    !may_share(sk, sk2))
			err = -EADDRINUSE;
	}
	/* Inside of the lock, so that the next one to ask sees it. */
	if (!err)
		inet_sk_set_state(sk, TCP_LISTEN);
	spin_unlock_bh(&ports->lock);
	return err;
}

void cftcp_port_inherit(struct sock *child, struct cftcp_port_ref *ref)
{
	struct cftcp_ports *ports = &cftcp_sock_net(child)->ports;

	spin_lock_bh(&ports->lock);
	own(child, ref);
	spin_unlock_bh(&ports->lock);
}

void cftcp_port_put(struct sock *sk)
{
	struct cftcp_ports *ports = &cftcp_sock_net(sk)->ports;
	struct cftcp_port_ref *ref = cftcp_sk(sk)->port;

	if (!ref)
		return;
	spin_lock_bh(&ports->lock);
	disown(sk);
	spin_unlock_bh(&ports->lock);
	cftcp_port_ref_put(ports, ref, false);
}

void cftcp_port_ref_get(struct cftcp_ports *ports, struct cftcp_port_ref *ref,
			bool time_wait)
{
	spin_lock_bh(&ports->lock);
	WARN_ON_ONCE(!ref->users);
	ref->users++;
	ref->time_waits += time_wait;
	spin_unlock_bh(&ports->lock);
}

void cftcp_port_ref_put(struct cftcp_ports *ports, struct cftcp_port_ref *ref,
			bool time_wait)
{
	bool last, keep;

	spin_lock_bh(&ports->lock);
	ref->time_waits -= time_wait;
	last = !--ref->users;
	keep = ref->chosen && ports->reservations >= MANY;
	if (last && keep)
		list_add_tail(&ref->idle, &ports->idle);
	else if (last)
		list_add(&ref->idle, &ports->idle);
	spin_unlock_bh(&ports->lock);
	if (last && keep)
		schedule_delayed_work(&ports->reaper, KEEP);
	else if (last)
		mod_delayed_work(system_wq, &ports->reaper, 0);
}

/* Take one idle reservation out of all tables. */
static struct cftcp_port_ref *reap_one(struct cftcp_ports *ports,
				       struct cftcp_port **empty)
{
	struct cftcp_port_ref *ref;

	*empty = NULL;
	spin_lock_bh(&ports->lock);
	ref = list_first_entry_or_null(&ports->idle, struct cftcp_port_ref,
				       idle);
	if (ref) {
		list_del(&ref->idle);
		hlist_del(&ref->node);
		ports->reservations--;
		if (hlist_empty(&ref->port->refs)) {
			*empty = ref->port;
			hash_del(&ref->port->node);
			clear_bit(ref->port->num, ports->used);
		}
	}
	spin_unlock_bh(&ports->lock);
	return ref;
}

/* Return: is there more? */
static bool reap_some(struct cftcp_ports *ports)
{
	struct cftcp_port_ref *ref;
	struct cftcp_port *empty;
	int left;

	/* Serialised with set_reuse(), which walks the reservations. */
	mutex_lock(&ports->create);
	for (left = REAP; left; left--) {
		ref = reap_one(ports, &empty);
		if (!ref)
			break;
		sock_release(ref->reservation);
		kfree(ref);
		kfree(empty);
		cond_resched();
	}
	mutex_unlock(&ports->create);
	return !left;
}

static void reap(struct work_struct *work)
{
	struct cftcp_ports *ports = container_of(work, struct cftcp_ports,
						 reaper.work);

	if (reap_some(ports))
		schedule_delayed_work(&ports->reaper, 1);
}

unsigned int cftcp_ports_count(const struct cftcp_ports *ports)
{
	return bitmap_weight(ports->used, PORTS);
}

int cftcp_ports_init(struct cftcp_net *cn)
{
	struct cftcp_ports *ports = &cn->ports;

	ports->used = bitmap_zalloc(PORTS, GFP_KERNEL_ACCOUNT);
	if (!ports->used)
		return -ENOMEM;
	spin_lock_init(&ports->lock);
	hash_init(ports->table);
	INIT_LIST_HEAD(&ports->idle);
	mutex_init(&ports->create);
	INIT_DELAYED_WORK(&ports->reaper, reap);
	ports->net = cn->net;
	ports->full_until = jiffies;
	return 0;
}

void cftcp_ports_exit(struct cftcp_net *cn)
{
	struct cftcp_ports *ports = &cn->ports;

	cancel_delayed_work_sync(&ports->reaper);
	while (reap_some(ports))
		;
	WARN_ON_ONCE(!bitmap_empty(ports->used, PORTS));
	bitmap_free(ports->used);
}
