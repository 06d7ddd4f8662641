// SPDX-License-Identifier: GPL-2.0
/* Segments: what a peer in order would send, and what is made of it. */
#include <arpa/inet.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "whole.h"

#define HEADROOM	256
#define MOST_TEXT	62000
/* Of what comes in pieces, which are pages of the kernel's. */
#define MOST_PIECED	9000
#define PIECE		4096

/* A packet that grows at both ends; the text is whatever was there before. */
struct frame {
	struct virtio_net_hdr vnet;
	uint8_t *start, *end;
};

static uint8_t room[HEADROOM + MOST_TEXT + 200];

static void put16(uint8_t *to, uint16_t value)
{
	to[0] = value >> 8;
	to[1] = value;
}

static void put32(uint8_t *to, uint32_t value)
{
	put16(to, value >> 16);
	put16(to + 2, value);
}

/* The sum of RFC 1071, in whatever order the machine's octets are. */
static uint64_t sum(const uint8_t *from, int len, uint64_t so_far)
{
	uint32_t word;

	for (; len >= 4; from += 4, len -= 4) {
		memcpy(&word, from, 4);
		so_far += word;
	}
	if (len) {
		word = 0;
		memcpy(&word, from, len);
		so_far += word;
	}
	return so_far;
}

static uint16_t fold(uint64_t value)
{
	while (value >> 16)
		value = (value & 0xffff) + (value >> 16);
	return value;
}

static void put_sum(uint8_t *to, uint16_t value)
{
	memcpy(to, &value, 2);
}

/*
 * Below TCP.
 */

enum oddity {
	NONE, BAD_SUM, CUT_SHORT, WRONG_LENGTH, WRONG_SOURCE, WRONG_TTL,
	MORE_HEADERS, FRAGMENTS, GSO, BAD_DOFF, NO_SUM_NEEDED, ODDITIES
};

/* Ours, of the network, of nobody, of many, and of a stranger. */
static const uint32_t odd_sources[] = {
	OUR_ADDRESS, 0x0a0900ff, 0, 0xffffffff, 0xe0000001, 0x7f000001,
	0x0a0900fe,
};

static const uint8_t odd_sources6[][16] = {
	{ 0xfd, 9, [15] = 1 }, { }, { 0xff, 2, [15] = 1 }, { [15] = 1 },
	{ 0xfd, 9, [15] = 0xfe }, { [10] = 255, 255, 10, 9, 0, 9 },
	{ 0xfe, 0x80, [15] = 9 },
};

static uint64_t pseudo_sum(const struct conn *c, uint32_t source,
			   const uint8_t *source6, int proto, int len)
{
	uint8_t pseudo[40] = { };

	if (c->six) {
		memcpy(pseudo, source6, 16);
		memcpy(pseudo + 16, our_address6, 16);
		put32(pseudo + 32, len);
		put32(pseudo + 36, proto);
		return sum(pseudo, 40, 0);
	}
	put32(pseudo, source);
	put32(pseudo + 4, OUR_ADDRESS);
	put16(pseudo + 8, proto);
	put16(pseudo + 10, len);
	return sum(pseudo, 12, 0);
}

static void ipv4_options(struct rng *rng, uint8_t *to, int len)
{
	static const uint8_t kinds[] = { 0, 1, 7, 68, 130, 131, 137, 148 };

	for (int at = 0; at < len; at++)
		to[at] = one_in(rng, 2) ? rnd(rng) : 1;
	if (len && one_in(rng, 2)) {
		to[0] = pick(rng, kinds);
		to[1] = len;
		to[2] = 4;
	}
}

static void add_ipv4(struct worker *w, struct frame *f, enum oddity odd,
		     uint32_t source, int proto)
{
	int options = odd == MORE_HEADERS ? 4 * (1 + below(&w->rng, 10)) : 0;
	int len = f->end - f->start + 20 + options;
	uint8_t *ip = f->start -= 20 + options;

	memset(ip, 0, 20);
	ip[0] = 0x45 + options / 4;
	ip[1] = one_in(&w->rng, 16) ? rnd(&w->rng) : 0;
	put16(ip + 2, odd == WRONG_LENGTH ? len - (int)below(&w->rng, 60) : len);
	put16(ip + 4, rnd(&w->rng));
	ip[8] = odd == WRONG_TTL ? below(&w->rng, 3) : 64;
	ip[9] = proto;
	put32(ip + 12, source);
	put32(ip + 16, OUR_ADDRESS);
	ipv4_options(&w->rng, ip + 20, options);
	put_sum(ip + 10, ~fold(sum(ip, 20 + options, 0)));
}

/* One extension header: hop by hop, routing, or for the destination. */
static uint8_t add_extension(struct worker *w, struct frame *f, uint8_t next)
{
	static const uint8_t kinds[] = { 0, 43, 60, 60 };
	int len = 8 * (1 + below(&w->rng, 4));
	uint8_t *header = f->start -= len;

	memset(header, 0, len);
	header[0] = next;
	header[1] = len / 8 - 1;
	header[2] = one_in(&w->rng, 2) ? 1 : rnd(&w->rng);
	header[3] = one_in(&w->rng, 2) ? len - 4 : (int)rnd(&w->rng);
	return pick(&w->rng, kinds);
}

static void add_ipv6(struct worker *w, struct frame *f, enum oddity odd,
		     const uint8_t *source, int proto)
{
	uint8_t next = odd == MORE_HEADERS ? add_extension(w, f, proto) : proto;
	int len = f->end - f->start;
	uint8_t *ip = f->start -= 40;

	memset(ip, 0, 8);
	ip[0] = 0x60;
	if (one_in(&w->rng, 16))
		put32(ip, 0x60000000 | rnd(&w->rng) >> 4);
	put16(ip + 4, odd == WRONG_LENGTH ? len - (int)below(&w->rng, 60) : len);
	ip[6] = next;
	ip[7] = odd == WRONG_TTL ? below(&w->rng, 3) : 64;
	memcpy(ip + 8, source, 16);
	memcpy(ip + 24, our_address6, 16);
}

/* Into the device, with the Ethernet header of a tap, in pieces there. */
static bool push(struct worker *w, bool six, struct frame *f)
{
	struct iovec pieces[16];
	int count = 0, left;
	uint8_t *at;

	if (w->tap) {
		f->start -= 14;
		memcpy(f->start, w->mac, 6);
		memset(f->start + 6, 2, 6);
		put16(f->start + 12, six ? 0x86dd : 0x0800);
	}
	f->start -= 10;
	memcpy(f->start, &f->vnet, 10);
	at = f->start;
	left = f->end - at;
	while (w->tap && count < 3 && left > 40 && one_in(&w->rng, 3)) {
		int len = 24 + below(&w->rng, left < 400 ? left - 24 : 300);

		pieces[count++] = (struct iovec){ at, len };
		at += len;
		left -= len;
	}
	while (w->tap && left > PIECE) {
		pieces[count++] = (struct iovec){ at, PIECE };
		at += PIECE;
		left -= PIECE;
	}
	if (left)
		pieces[count++] = (struct iovec){ at, left };
	return writev(w->tun, pieces, count) > 0;
}

/* The IP packet of @f in two fragments, the later first as often as not. */
static bool push_fragments(struct worker *w, bool six, struct frame *f)
{
	static uint8_t copy[HEADROOM + MOST_TEXT + 200];
	int header = six ? 40 : 20, len = f->end - f->start - header;
	int first = len / 2 & ~7;
	uint32_t id = rnd(&w->rng);
	bool swap = one_in(&w->rng, 2), took = true;

	for (int i = 0; i < 2; i++) {
		bool later = i ^ swap;
		int from = later ? first : 0;
		int part = later ? len - first : first;
		struct frame g = { .start = copy + HEADROOM };

		g.end = g.start + part;
		memcpy(g.start, f->start + header + from, part);
		if (six) {
			g.start -= 8;
			memset(g.start, 0, 8);
			g.start[0] = f->start[6];
			put16(g.start + 2, from | !later);
			put32(g.start + 4, id);
		}
		g.start -= header;
		memcpy(g.start, f->start, header);
		if (six) {
			g.start[6] = 44;
			put16(g.start + 4, part + 8);
		} else {
			put16(g.start + 2, part + 20);
			put16(g.start + 6, from / 8 | (later ? 0 : 0x2000));
			put16(g.start + 10, 0);
			put_sum(g.start + 10, ~fold(sum(g.start, 20, 0)));
		}
		took &= push(w, six, &g);
	}
	return took;
}

/* As from a card that has put segments together, or left the sum to others. */
static void be_offloaded(struct worker *w, const struct conn *c,
			 struct frame *f, int header)
{
	int before = (w->tap ? 14 : 0) + (c->six ? 40 : 20);

	f->vnet.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	f->vnet.csum_start = before;
	f->vnet.csum_offset = 16;
	if (one_in(&w->rng, 2))
		return;
	f->vnet.gso_type = c->six ? VIRTIO_NET_HDR_GSO_TCPV6 :
				    VIRTIO_NET_HDR_GSO_TCPV4;
	if (one_in(&w->rng, 4))
		f->vnet.gso_type |= VIRTIO_NET_HDR_GSO_ECN;
	f->vnet.gso_size = 1 + below(&w->rng, 1460);
	f->vnet.hdr_len = before + header;
}

static bool push_ip(struct worker *w, struct conn *c, struct frame *f,
		    enum oddity odd, uint32_t source, const uint8_t *source6,
		    int proto)
{
	if (c->six)
		add_ipv6(w, f, odd, source6, proto);
	else
		add_ipv4(w, f, odd, source, proto);
	if (odd == CUT_SHORT)
		f->end -= below(&w->rng, f->end - f->start - 20);
	return odd == FRAGMENTS ? push_fragments(w, c->six, f) :
				  push(w, c->six, f);
}

/*
 * TCP.
 */

static struct frame tcp_of(const struct segment *s)
{
	struct frame f = { .start = room + HEADROOM };
	int header = 20 + (s->option_len + 3) / 4 * 4;
	uint8_t *tcp = f.start;

	put16(tcp, s->sport);
	put16(tcp + 2, s->dport);
	put32(tcp + 4, s->seq);
	put32(tcp + 8, s->ack);
	tcp[12] = (s->doff ? s->doff : header / 4) << 4;
	tcp[13] = s->flags;
	put16(tcp + 14, s->win);
	put16(tcp + 16, 0);
	put16(tcp + 18, s->urg);
	memset(tcp + 20, TCPOPT_NOP, header - 20);
	memcpy(tcp + 20, s->options, s->option_len);
	f.end = tcp + header + s->len;
	return f;
}

static void add_sum(struct worker *w, struct conn *c, struct frame *f,
		    enum oddity odd, uint64_t pseudo)
{
	uint8_t *to = f->start + 16;

	if (odd == GSO) {
		put_sum(to, fold(pseudo));
	} else if (odd == NO_SUM_NEEDED || f->end - f->start > 3000) {
		f->vnet.flags = VIRTIO_NET_HDR_F_DATA_VALID;
	} else {
		put_sum(to, ~fold(sum(f->start, f->end - f->start, pseudo)));
		if (odd == BAD_SUM)
			to[below(&w->rng, 2)] ^= 1 + below(&w->rng, 255);
	}
}

bool emit(struct worker *w, struct conn *c, const struct segment *s)
{
	enum oddity odd = s->odd ? below(&w->rng, ODDITIES) : NONE;
	uint32_t source = PEER_ADDRESS;
	const uint8_t *source6 = peer_address6;
	struct segment copy = *s;
	struct frame f;

	if (odd == WRONG_SOURCE) {
		source = pick(&w->rng, odd_sources);
		source6 = pick(&w->rng, odd_sources6);
	}
	if (odd == BAD_DOFF)
		copy.doff = below(&w->rng, 16);
	if (w->tap && copy.len > MOST_PIECED)
		copy.len = MOST_PIECED;
	f = tcp_of(&copy);
	add_sum(w, c, &f, odd, pseudo_sum(c, source, source6, IPPROTO_TCP,
					  f.end - f.start));
	if (odd == GSO)
		be_offloaded(w, c, &f, 20 + (copy.option_len + 3) / 4 * 4);
	return push_ip(w, c, &f, odd, source, source6, IPPROTO_TCP);
}

static void add_option(struct segment *s, uint8_t kind, int len,
		       const uint8_t *value)
{
	if (s->option_len + len > MAX_OPTIONS)
		return;
	s->options[s->option_len] = kind;
	s->options[s->option_len + 1] = len;
	memcpy(s->options + s->option_len + 2, value, len - 2);
	s->option_len += len;
}

static void add_stamp(struct segment *s, uint32_t value, uint32_t echo)
{
	uint8_t both[8];

	put32(both, value);
	put32(both + 4, echo);
	add_option(s, TCPOPT_TIMESTAMP, 10, both);
}

static void add_mss(struct segment *s, uint16_t mss)
{
	uint8_t value[2];

	put16(value, mss);
	add_option(s, TCPOPT_MAXSEG, 4, value);
}

struct segment plain(struct worker *w, struct conn *c, uint8_t flags, int len)
{
	struct segment s = {
		.seq = c->nxt, .ack = flags & ACK ? c->rcv : 0,
		.sport = c->rport, .dport = c->lport,
		.win = 65535, .flags = flags, .len = len,
	};
	const uint8_t shift = 7;

	w->clock += one_in(&w->rng, 8);
	if (c->ts)
		add_stamp(&s, w->clock, c->ts_recent);
	if (flags & SYN) {
		add_mss(&s, 1440);
		if (c->sack)
			add_option(&s, TCPOPT_SACK_PERMITTED, 2, NULL);
		if (c->scaled)
			add_option(&s, TCPOPT_WINDOW, 3, &shift);
	}
	return s;
}

/*
 * Mutations.
 */

static int odd_length(struct rng *rng)
{
	static const uint16_t edges[] = {
		1, 1, 2, 3, 4, 7, 8, 100, 499, 500, 535, 536, 1000, 1220, 1440,
		1460, 1461, 2920,
	};

	switch (below(rng, 64)) {
	case 0:
		return below(rng, MOST_TEXT);
	case 1 ... 4:
		return below(rng, MOST_PIECED);
	case 5 ... 30:
		return pick(rng, edges);
	default:
		return below(rng, 300);
	}
}

static uint32_t odd_seq(struct rng *rng, const struct conn *c, int len)
{
	const uint32_t edges[] = {
		c->nxt, c->nxt - 1, c->nxt + 1, c->nxt - len, c->nxt - len - 1,
		c->nxt + c->window, c->nxt + c->window - 1,
		c->nxt + c->window + 1, c->nxt + c->window - len,
		c->nxt + c->window - len + 1, c->nxt - 65536, c->iss,
		c->iss + 1, c->nxt + 0x7fffffff, c->nxt + 0x80000000,
		c->nxt + 0x80000001,
	};

	switch (below(rng, 8)) {
	case 0:
		return rnd(rng);
	case 1:
		return c->nxt + below(rng, c->window + 1);
	case 2:
		return c->nxt + below(rng, 4000);
	case 3:
		return c->nxt - below(rng, 4000);
	case 4:
		return c->nxt + len * below(rng, 8);
	default:
		return pick(rng, edges);
	}
}

static uint32_t odd_ack(struct rng *rng, const struct conn *c)
{
	const uint32_t edges[] = {
		c->rcv, c->rcv + 1, c->rcv - 1, c->una, c->una - 1, c->una + 1,
		c->irs, c->irs + 1, c->una - 65535, c->una - 65536, c->una - 70000,
		c->rcv + 0x7fffffff, c->rcv + 0x80000000, c->una + 0x80000001,
	};

	switch (below(rng, 6)) {
	case 0:
		return rnd(rng);
	case 1 ... 2:
		return c->una + below(rng, c->rcv - c->una + 1);
	default:
		return pick(rng, edges);
	}
}

static uint8_t odd_flags(struct rng *rng)
{
	static const uint8_t usual[] = {
		ACK, ACK, ACK, ACK, ACK | PSH, ACK | PSH, ACK | URG,
		ACK | PSH | URG, 0, PSH, URG, FIN | ACK, FIN, FIN | URG | ACK,
		SYN, SYN | ACK, SYN | FIN, SYN | RST, SYN | FIN | ACK, RST,
		RST | ACK, RST | PSH, FIN | RST, 0x40 | ACK, 0x80 | ACK,
		0xc0 | SYN, 0xff, FIN | PSH | URG,
	};

	return one_in(rng, 4) ? rnd(rng) : pick(rng, usual);
}

static void odd_stamp(struct rng *rng, const struct worker *w,
		      const struct conn *c, struct segment *s)
{
	const uint32_t values[] = {
		w->clock, w->clock, w->clock - 1, w->clock + 1, 0,
		w->clock - 0x80000000, w->clock - 0x7fffffff, rnd(rng),
	};
	const uint32_t echoes[] = {
		c->ts_recent, c->ts_recent, c->ts_recent - 1, c->ts_recent + 1,
		0, c->ts_recent - 0x80000000, rnd(rng),
	};

	add_stamp(s, pick(rng, values), pick(rng, echoes));
}

static void odd_sack(struct rng *rng, const struct conn *c, struct segment *s)
{
	int blocks = 1 + below(rng, 4);
	uint8_t value[32];

	for (int at = 0; at < 8 * blocks; at += 8) {
		uint32_t span = c->rcv - c->una + 1;
		uint32_t left = one_in(rng, 3) ? odd_ack(rng, c) :
						 c->una + below(rng, span);
		uint32_t right = one_in(rng, 3) ? odd_ack(rng, c) :
						  left + below(rng, 3000);

		put32(value + at, left);
		put32(value + at + 4, right);
	}
	/* The last may be cut off. */
	add_option(s, TCPOPT_SACK, 2 + 8 * blocks - (one_in(rng, 8) ? 3 : 0),
		   value);
}

static void odd_option(struct rng *rng, const struct worker *w,
		       const struct conn *c, struct segment *s)
{
	static const uint16_t sizes[] = { 0, 1, 47, 48, 88, 536, 1460, 65535 };
	static const uint8_t kinds[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 15,
					 19, 28, 29, 30, 34, 69, 253, 254 };
	uint8_t garbage[MAX_OPTIONS];

	for (size_t at = 0; at < sizeof(garbage); at++)
		garbage[at] = rnd(rng);
	switch (below(rng, 8)) {
	case 0 ... 1:
		odd_stamp(rng, w, c, s);
		break;
	case 2 ... 4:
		odd_sack(rng, c, s);
		break;
	case 5:
		add_mss(s, pick(rng, sizes));
		break;
	case 6:
		add_option(s, TCPOPT_WINDOW, 3, garbage);
		break;
	case 7:
		add_option(s, pick(rng, kinds), 2 + below(rng, 30), garbage);
		if (s->option_len && one_in(rng, 2))
			s->options[below(rng, s->option_len)] = rnd(rng);
		break;
	}
}

static void odd_options(struct worker *w, struct conn *c, struct segment *s)
{
	if (one_in(&w->rng, 2))
		s->option_len = 0;
	do {
		odd_option(&w->rng, w, c, s);
	} while (one_in(&w->rng, 2));
}

/* In these the right ACK is the end of the state. */
static bool acked_is_over(const struct conn *c)
{
	return c->state == SYN_SENT || c->state == SYN_RECEIVED ||
	       c->state == FIN_WAIT_1 || c->state == CLOSING ||
	       c->state == LAST_ACK;
}

/* What would end the state at once becomes a little different. */
static void spare(struct rng *rng, const struct conn *c, struct segment *s)
{
	if (c->state == SYN_SENT)
		s->flags &= ~SYN;
	/* Text for a socket that is closed. */
	if (c->fd < 0)
		s->len = 0;
	if (s->seq == c->nxt && s->flags & (RST | FIN | SYN))
		s->seq = odd_seq(rng, c, s->len);
	if (s->ack == c->rcv && acked_is_over(c))
		s->ack = c->una;
}

static void mutate(struct worker *w, struct conn *c, struct segment *s)
{
	struct rng *rng = &w->rng;

	if (one_in(rng, 2))
		s->len = odd_length(rng);
	if (one_in(rng, 3))
		s->flags = odd_flags(rng);
	if (one_in(rng, 2))
		s->seq = odd_seq(rng, c, s->len);
	if (one_in(rng, 2))
		s->ack = odd_ack(rng, c);
	if (one_in(rng, 3))
		s->win = one_in(rng, 2) ? rnd(rng) : below(rng, 3);
	if (one_in(rng, 8) || s->flags & URG)
		s->urg = one_in(rng, 2) ? s->len + below(rng, 3) - 1 : rnd(rng);
	if (one_in(rng, 4))
		odd_options(w, c, s);
	if (!one_in(rng, 8))
		spare(rng, c, s);
	s->odd = one_in(rng, 16);
}

/* To a listener: from whoever, and most of it begins a connection. */
static void from_anyone(struct rng *rng, struct conn *c, struct segment *s)
{
	s->sport = FIRST_PORT + below(rng, 65536 - FIRST_PORT);
	s->flags = one_in(rng, 4) ? odd_flags(rng) : SYN;
	s->seq = rnd(rng);
	c->nxt = s->seq;
	s->odd = one_in(rng, 16);
	if (one_in(rng, 4))
		s->len = odd_length(rng);
	if (!one_in(rng, 4)) {
		s->option_len = 0;
		add_mss(s, 1440);
	}
}

bool fire(struct worker *w, struct conn *c)
{
	struct segment s = plain(w, c, ACK, 0);
	bool took;

	if (acked_is_over(c))
		s.ack = c->una;
	mutate(w, c, &s);
	if (c->state == LISTEN)
		from_anyone(&w->rng, c, &s);
	took = emit(w, c, &s);
	/* What text was taken is known when the module acknowledges it. */
	if (took && s.flags & ACK &&
	    s.ack - c->una <= c->rcv - c->una && !s.odd)
		c->una = s.ack;
	return took && !s.odd;
}

/*
 * ICMP.
 */

void fire_icmp(struct worker *w, struct conn *c)
{
	static const uint8_t types[] = { 3, 3, 3, 3, 4, 5, 11, 12 };
	/* 2, Packet Too Big, for half of the workers: see whole_disturb.c. */
	static const uint8_t types6[] = { 2, 2, 1, 1, 3, 4, 137 };
	static const uint16_t mtus[] = { 0, 1, 68, 296, 552, 576, 1200, 1279,
					 1280, 1400, 1499, 1500, 65535 };
	struct rng *rng = &w->rng;
	struct frame f = { .start = room + HEADROOM };
	uint8_t *icmp = f.start;
	int len = 8 + c->quoted;

	if (!c->quoted)
		return;
	if (one_in(rng, 8))
		len -= below(rng, c->quoted);
	icmp[0] = pick(rng, types);
	if (c->six)
		icmp[0] = types6[w->number & 1 ? below(rng, 7) :
						 2 + below(rng, 5)];
	icmp[1] = below(rng, one_in(rng, 4) ? 256 : 16);
	put32(icmp + 2, 0);
	put32(icmp + 4, one_in(rng, 8) ? rnd(rng) : pick(rng, mtus));
	memcpy(icmp + 8, c->quote, len - 8);
	if (one_in(rng, 4) && len > 8)
		icmp[8 + below(rng, len - 8)] = rnd(rng);
	f.end = icmp + len;
	put_sum(icmp + 2, ~fold(sum(icmp, len, c->six ?
		pseudo_sum(c, 0, peer_address6, IPPROTO_ICMPV6, len) : 0)));
	push_ip(w, c, &f, NONE, PEER_ADDRESS, peer_address6,
		c->six ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
	w->tally->icmp++;
}
