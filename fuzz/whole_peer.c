// SPDX-License-Identifier: GPL-2.0
/* The hand-made peer: it hears the module, and brings connections to states. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "whole.h"

/* A packet as it is read, with what stands before it. */
#define VNET_HEADER	10
#define ETHERNET	14

/*
 * Hearing.
 */

static uint32_t get32(const uint8_t *from)
{
	uint32_t value;

	memcpy(&value, from, sizeof(value));
	return ntohl(value);
}

static uint16_t get16(const uint8_t *from)
{
	return from[0] << 8 | from[1];
}

static void learn_options(struct conn *c, const uint8_t *tcp, int len, bool syn)
{
	bool ts = false, sack = false;
	int at = 20;

	while (at + 1 < len && tcp[at]) {
		if (tcp[at] == TCPOPT_NOP) {
			at++;
			continue;
		}
		if (tcp[at + 1] < 2 || at + tcp[at + 1] > len)
			break;
		if (tcp[at] == TCPOPT_TIMESTAMP && tcp[at + 1] == 10) {
			c->ts_recent = get32(tcp + at + 2);
			ts = true;
		} else if (tcp[at] == TCPOPT_WINDOW) {
			c->shift = tcp[at + 2] & 15;
		} else if (tcp[at] == TCPOPT_SACK_PERMITTED) {
			sack = true;
		}
		at += tcp[at + 1];
	}
	if (syn) {
		c->ts &= ts;
		c->sack &= sack;
	}
}

static void learn(struct conn *c, const uint8_t *tcp, int len)
{
	int header = tcp[12] / 16 * 4;
	uint32_t seq = get32(tcp + 4), end;
	uint8_t flags = tcp[13];
	bool syn = flags & SYN;

	if (header < 20 || header > len || flags & RST)
		return;
	end = seq + len - header + syn + !!(flags & FIN);
	if (syn) {
		c->irs = seq;
		c->una = seq;
		c->rcv = end;
		c->shift = 0;
	} else if ((int32_t)(end - c->rcv) > 0) {
		c->rcv = end;
	}
	if (header > 20)
		learn_options(c, tcp, header, syn);
	if (flags & ACK)
		c->nxt = get32(tcp + 8);
	c->window = get16(tcp + 14) << (syn ? 0 : c->shift);
	c->finished |= flags & FIN;
}

/* Answer the SYN,ACK to a SYN that a listener was shot with: or it never has
 * anything to accept.
 */
static void complete(struct worker *w, bool six, const uint8_t *tcp)
{
	struct conn stray = { .six = six, .lport = get16(tcp) };
	struct segment s = {
		.sport = get16(tcp + 2), .dport = get16(tcp),
		.seq = get32(tcp + 8), .ack = get32(tcp + 4) + 1,
		.flags = one_in(&w->rng, 4) ? ACK | FIN : ACK, .win = 65535,
		.len = one_in(&w->rng, 3) ? below(&w->rng, 500) : 0,
	};

	emit(w, &stray, &s);
}

static void hear_packet(struct worker *w, const uint8_t *ip, int len)
{
	bool six = ip[0] >> 4 == 6;
	int header = six ? 40 : (ip[0] & 15) * 4;
	const uint8_t *tcp = ip + header;
	struct conn *c;
	uint16_t rport;

	if (len < header + 20 || ip[six ? 6 : 9] != IPPROTO_TCP)
		return;
	rport = get16(tcp + 2);
	c = &w->conns[(rport - FIRST_PORT) % CONNS];
	if (c->rport == rport && c->six == six &&
	    (!c->lport || c->lport == get16(tcp))) {
		c->lport = get16(tcp);
		learn(c, tcp, len - header);
		c->quoted = len < QUOTE ? len : QUOTE;
		memcpy(c->quote, ip, c->quoted);
	} else if ((tcp[13] & (SYN | ACK | RST)) == (SYN | ACK) &&
		   one_in(&w->rng, 4)) {
		complete(w, six, tcp);
	}
}

void hear(struct worker *w)
{
	static uint8_t octets[70000];
	int before = VNET_HEADER + (w->tap ? ETHERNET : 0);
	ssize_t len;

	while ((len = read(w->tun, octets, sizeof(octets))) > 0)
		if (len > before + 20)
			hear_packet(w, octets + before, len - before);
}

/* Send what is in order, and count it. */
static void say(struct worker *w, struct conn *c, uint8_t flags, int len)
{
	struct segment s = plain(w, c, flags, len);

	if (!emit(w, c, &s))
		return;
	c->nxt += len + !!(flags & SYN) + !!(flags & FIN);
	if (flags & ACK)
		c->una = c->rcv;
	hear(w);
}

/*
 * Opening.
 */

static int family_of(struct worker *w, const struct conn *c)
{
	/* IPv4 mapped into IPv6 */
	return c->six || one_in(&w->rng, 4) ? AF_INET6 : AF_INET;
}

static socklen_t address_of(struct sockaddr_storage *to, int family, bool six,
			    bool ours, uint16_t port)
{
	struct sockaddr_in6 *to6 = (void *)to;
	struct sockaddr_in *to4 = (void *)to;
	uint32_t four = htonl(ours ? OUR_ADDRESS : PEER_ADDRESS);

	memset(to, 0, sizeof(*to));
	to->ss_family = family;
	if (family == AF_INET) {
		to4->sin_port = htons(port);
		to4->sin_addr.s_addr = four;
		return sizeof(*to4);
	}
	to6->sin6_port = htons(port);
	if (six) {
		memcpy(&to6->sin6_addr, ours ? our_address6 : peer_address6,
		       16);
	} else {
		memset(to6->sin6_addr.s6_addr + 10, 255, 2);
		memcpy(to6->sin6_addr.s6_addr + 12, &four, 4);
	}
	return sizeof(*to6);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_in6 address = { };
	socklen_t len = sizeof(address);

	getsockname(fd, (void *)&address, &len);
	return ntohs(address.sin6_port);
}

/* A socket, bound to our address, or -1. */
static int bound_socket(struct worker *w, const struct conn *c)
{
	int family = family_of(w, c), one = 1;
	struct sockaddr_storage address;
	socklen_t len = address_of(&address, family, c->six, true, 0);
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
			IPPROTO_CFTCP);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!bind(fd, (void *)&address, len))
		return fd;
	close(fd);
	return -1;
}

static int listener(struct worker *w, const struct conn *c, int backlog)
{
	int fd = bound_socket(w, c);

	if (fd >= 0 && listen(fd, backlog)) {
		close(fd);
		return -1;
	}
	return fd;
}

static uint16_t home(struct worker *w, const struct conn *c)
{
	int *fd = &w->home[c->six].fd;

	if (*fd < 0) {
		*fd = listener(w, c, 64);
		w->home[c->six].port = *fd < 0 ? 0 : port_of(*fd);
	}
	return w->home[c->six].port;
}

/* What else was accepted goes to those in no state in particular. */
static void let_loose(struct worker *w, int fd)
{
	fd = atomic_exchange(&pick(&w->rng, w->wild), fd);
	if (fd >= 0) {
		set_linger(fd, 0);
		close(fd);
	}
}

static int accept_from(struct worker *w, bool six, uint16_t rport)
{
	struct sockaddr_in6 from;
	int fd, count = 200;

	while (count--) {
		socklen_t len = sizeof(from);

		fd = accept4(w->home[six].fd, (void *)&from, &len,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0)
			break;
		if (ntohs(from.sin6_port) == rport)
			return fd;
		let_loose(w, fd);
	}
	return -1;
}

static bool open_passive(struct worker *w, struct conn *c)
{
	c->lport = home(w, c);
	if (!c->lport)
		return false;
	/* While its queue is full, it takes no SYN. */
	accept_from(w, c->six, 0);
	say(w, c, SYN, 0);
	if (!c->irs)
		return false;
	if (c->state == SYN_RECEIVED)
		return true;
	say(w, c, ACK, one_in(&w->rng, 4) ? below(&w->rng, 900) : 0);
	c->fd = accept_from(w, c->six, c->rport);
	return c->fd >= 0;
}

static bool start_connect(struct worker *w, struct conn *c)
{
	struct sockaddr_storage to;
	socklen_t len;
	int family = family_of(w, c);

	c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
		       IPPROTO_CFTCP);
	if (c->fd < 0)
		return false;
	len = address_of(&to, family, c->six, false, c->rport);
	if (connect(c->fd, (void *)&to, len) && errno != EINPROGRESS)
		return false;
	hear(w);
	return c->irs;
}

static bool open_active(struct worker *w, struct conn *c)
{
	if (!start_connect(w, c))
		return false;
	if (c->state == SYN_SENT)
		return true;
	if (c->state == SYN_RECEIVED) {
		say(w, c, SYN, 0);
		return true;
	}
	say(w, c, SYN | ACK, 0);
	return true;
}

/*
 * Closing.
 */

void set_linger(int fd, int seconds)
{
	struct linger linger = { .l_onoff = seconds >= 0, .l_linger = seconds };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* By shutdown(), or as an orphan, which nothing unread must be left for. */
static void close_ours(struct worker *w, struct conn *c)
{
	static uint8_t octets[65536];

	if (one_in(&w->rng, 2)) {
		shutdown(c->fd, SHUT_WR);
	} else {
		while (recv(c->fd, octets, sizeof(octets), MSG_DONTWAIT) > 0)
			;
		set_linger(c->fd, -1);
		close(atomic_exchange(&c->fd, -1));
	}
	hear(w);
}

/* Acknowledge up to and with the FIN, which text may stand before. */
static void take_all(struct worker *w, struct conn *c)
{
	for (int round = 0; round < 8; round++) {
		uint32_t before = c->rcv;

		say(w, c, ACK, 0);
		if (c->finished && c->rcv == before)
			return;
	}
}

static void some_text(struct worker *w, struct conn *c)
{
	static const uint8_t text[20000];

	send(c->fd, text, 1 + below(&w->rng, one_in(&w->rng, 16) ? 19999 : 2999),
	     MSG_DONTWAIT);
	hear(w);
}

static void close_to(struct worker *w, struct conn *c)
{
	if (c->state == ESTABLISHED)
		return;
	if (c->state == CLOSE_WAIT || c->state == LAST_ACK)
		say(w, c, FIN | ACK, 0);
	if (c->state == CLOSE_WAIT)
		return;
	close_ours(w, c);
	if (c->state == FIN_WAIT_2 || c->state == TIME_WAIT)
		take_all(w, c);
	if (c->state == TIME_WAIT)
		say(w, c, FIN | ACK, 0);
	if (c->state == CLOSING) {
		struct segment s = plain(w, c, FIN | ACK, 0);

		s.ack = c->una;
		emit(w, c, &s);
		hear(w);
	}
}

/* There are several ways to be CLOSED. */
static bool be_closed(struct worker *w, struct conn *c)
{
	struct sockaddr unspecified = { .sa_family = AF_UNSPEC };

	if (one_in(&w->rng, 2)) {
		c->fd = bound_socket(w, c);
		if (c->fd >= 0)
			c->lport = port_of(c->fd);
		return c->fd >= 0;
	}
	if (!open_passive(w, c))
		return false;
	if (one_in(&w->rng, 2))
		connect(c->fd, &unspecified, sizeof(unspecified));
	else
		say(w, c, RST | ACK, 0);
	return true;
}

static bool be_listening(struct worker *w, struct conn *c)
{
	c->rport = 0;
	c->fd = listener(w, c, below(&w->rng, 64));
	if (c->fd >= 0)
		c->lport = port_of(c->fd);
	return c->fd >= 0;
}

/* End what is left of the last one, in one way or another. */
static void dispose(struct worker *w, struct conn *c)
{
	int fd = atomic_exchange(&c->fd, -1);

	if (fd >= 0) {
		set_linger(fd, one_in(&w->rng, 8) ? -1 : 0);
		close(fd);
	}
	if (c->rport && state_of(w, c)) {
		if (one_in(&w->rng, 2))
			diag_ask(w->diag, c, true);
		else
			say(w, c, RST | ACK, 0);
	}
	hear(w);
}

static void prepare(struct worker *w, struct conn *c)
{
	enum state state = c->state;
	int slot = c - w->conns;

	*c = (struct conn){ .state = state, .fd = -1, .six = slot & 1 };
	c->rport = FIRST_PORT + slot +
		   CONNS * below(&w->rng, (65536 - FIRST_PORT) / CONNS - 1);
	c->iss = one_in(&w->rng, 2) ? rnd(&w->rng) : -below(&w->rng, 3000);
	c->nxt = c->iss;
	c->ts = one_in(&w->rng, 2);
	c->sack = one_in(&w->rng, 2);
	c->scaled = !one_in(&w->rng, 4);
}

static bool bring(struct worker *w, struct conn *c)
{
	bool there;

	if (c->state == LISTEN)
		return be_listening(w, c);
	if (c->state == CLOSED)
		return be_closed(w, c);
	if (c->state == SYN_SENT || one_in(&w->rng, 2))
		there = open_active(w, c);
	else
		there = open_passive(w, c);
	if (!there || c->state == SYN_SENT || c->state == SYN_RECEIVED)
		return there;
	if (one_in(&w->rng, 3))
		some_text(w, c);
	close_to(w, c);
	return true;
}

bool build(struct worker *w, struct conn *c)
{
	dispose(w, c);
	prepare(w, c);
	c->alive = bring(w, c) && state_of(w, c) == state_numbers[c->state];
	return c->alive;
}

int state_of(struct worker *w, struct conn *c)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	int fd = c->fd;

	/* The socket of a connection in TIME-WAIT is CLOSED. */
	if (fd < 0 || c->state == TIME_WAIT)
		return diag_ask(w->diag, c, false);
	if (getsockopt(fd, SOL_TCP, TCP_INFO, &info, &len))
		return 0;
	return info.tcpi_state;
}
