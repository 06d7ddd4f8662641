// SPDX-License-Identifier: GPL-2.0
/*
 * soak PROTO COUNT SECONDS SEED NETNS IPV4 IPV6 NETNS IPV4 IPV6
 *
 * Both ends of COUNT connections between two network namespaces, begun evenly
 * over so many seconds, half of them in IPv4, most of them of PROTO at both ends,
 * the others of stock TCP at one. Each is closed in one of the ways listed below.
 * Octets are compared with what was sent as they arrive, and what has come with
 * what the way promises when both ends are closed. Prints a line "name number" each
 * way, then totals; what is wrong goes to standard error and ends in status 1.
 * SEED decides all that this program chooses, a connection at a time.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOL_CFTCP	1257
#define CFTCP_MSL	1

#define MS		1000000ULL	/* ns */
#define MOST_BITS	15		/* of octets one way, as a power of 2 */
#define PAD		1048576
#define FIXED_PORTS	16
#define FIRST_FIXED	20000
#define ONCE_PORTS	8000
#define FIRST_ONCE	21000
#define FIRST_LISTENER	7000
#define UNUSED_PORT	6999
#define PATIENCE	(400000 * MS)	/* for a connection to be over */
#define LOOK		(200 * MS)	/* between two looks at all that are open */
#define PROGRESS	(120000 * MS)	/* between two lines of it */
#define USER_TIMEOUT_MS	3000
#define COMPLAINTS	20

/* How the end that goes first does it, where its text is to arrive. */
enum method { CLOSE, EXIT, LINGER, SHUT_WRITE, SHUT_BOTH, SHUT_READ, METHODS };

struct listener {
	int fd, side;
	bool ours;
	struct sockaddr_storage address;
	socklen_t size;
	struct connection *expected[65536];	/* by the client's port */
};

/* What one end has sent is text[0] to text[sent - 1]. */
struct end {
	struct connection *of;
	int fd;				/* -1: not yet, or no more */
	int error;			/* the first, of any call */
	bool open, eof, shut_read, shut_write;
	uint32_t size, sent, got;	/* size: what it has to say */
	const unsigned char *text;
};

struct connection {
	struct connection *next, **link;
	struct end end[2];		/* client, server */
	const struct way *way;
	struct listener *to;
	uint64_t number, random, began;
	enum method method;
	int first;			/* the end that acts first */
	bool acted, poked, stock;	/* stock: the client is of stock TCP */
	uint16_t port;			/* the client's */
};

/*
 * A way to close: act() is called after each event of either end. With the orderly
 * ones, and those that are complete, all text arrives. The others end in one of two
 * errors for the end that is not first, or for the client where there is no server.
 */
struct way {
	const char *name;
	int weight;
	void (*act)(struct connection *c);
	bool orderly, complete, empty, no_server, reuse;
	int error, or_error;
};

static struct listener listeners[8];
static struct connection *connections;
/* Who is given up is expected still: it may have been opened already. */
static struct connection given_up;
static unsigned char pad[PAD + 2 * (1 << MOST_BITS)];
static int ours, poller, netns[2];
static uint64_t seed, over, complaints, strays, late, busy, to_stock, from_stock, six;
static uint64_t sent, got, missing, lost, pokes;

static long check(long result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* SplitMix64: any two states give unrelated numbers. */
static uint64_t draw(uint64_t *state, uint64_t below)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return (x ^ x >> 31) % below;
}

static void complain(const struct connection *c, const char *what)
{
	if (complaints++ >= COMPLAINTS)
		return;
	fprintf(stderr, "%s: %s, number %llu, after %llu ms, method %d, first %d\n",
		what, c->way->name, (unsigned long long)c->number,
		(unsigned long long)((now() - c->began) / MS), c->method,
		c->first);
	fprintf(stderr, "  IPv%d, from port %d of %s to port %d of %s, side %d\n",
		c->to->address.ss_family == AF_INET6 ? 6 : 4, c->port,
		c->stock ? "stock" : "cftcp",
		FIRST_LISTENER + (int)(c->to - listeners),
		c->to->ours ? "cftcp" : "stock", c->to->side);
	for (int i = 0; i < 2; i++)
		fprintf(stderr, "  %s: %s, to send %u, sent %u, got %u, EOF %d, error %s\n",
			i ? "server" : "client",
			c->end[i].fd < 0 ? "closed" :
			c->end[i].open ? "open" : "opening", c->end[i].size,
			c->end[i].sent, c->end[i].got, c->end[i].eof,
			strerror(c->end[i].error));
}

/*
 * Ends.
 */

static struct end *peer_of(struct end *e)
{
	return &e->of->end[e == &e->of->end[0]];
}

static struct end *first_of(struct connection *c)
{
	return &c->end[c->first];
}

static struct end *second_of(struct connection *c)
{
	return &c->end[!c->first];
}

static bool is_open(const struct end *e)
{
	return e->open && e->fd >= 0;
}

static bool has_said_all(const struct end *e)
{
	return is_open(e) && e->sent >= e->size;
}

static bool has_all(struct end *e)
{
	return is_open(e) && e->got == peer_of(e)->size;
}

/* A child may have it open a moment longer, so the poller must be told. */
static void finish(struct end *e)
{
	epoll_ctl(poller, EPOLL_CTL_DEL, e->fd, NULL);
	close(e->fd);
	e->fd = -1;
}

/* A process that has nothing but this socket ends, or waits in close(). */
static void finish_in_child(struct end *e, bool exit_only)
{
	pid_t pid = check(fork(), "fork");

	if (!pid) {
		dup2(e->fd, 0);
		close_range(1, ~0U, 0);
		if (exit_only)
			raise(SIGKILL);
		close(0);
		_exit(0);
	}
	finish(e);
}

static void set_linger(struct end *e, int seconds)
{
	struct linger linger = { .l_onoff = 1, .l_linger = seconds };

	check(setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)),
	      "SO_LINGER");
}

static void reset(struct end *e)
{
	set_linger(e, 0);
	finish(e);
	e->of->acted = true;
}

static void fail(struct end *e)
{
	if (!e->error)
		e->error = errno;
	finish(e);
}

static void shut_write(struct end *e)
{
	if (e->shut_write)
		return;
	e->shut_write = true;
	if (shutdown(e->fd, SHUT_WR))
		fail(e);
}

static bool may_send(struct end *e);
static bool may_receive(struct end *e);

static void send_some(struct end *e)
{
	while (is_open(e) && e->sent < e->size && may_send(e)) {
		ssize_t n = send(e->fd, e->text + e->sent, e->size - e->sent,
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			fail(e);
		else
			e->sent += n;
	}
}

static void receive_some(struct end *e)
{
	static unsigned char buffer[1 << 16];
	struct end *peer = peer_of(e);

	while (is_open(e) && !e->eof && may_receive(e)) {
		ssize_t n = recv(e->fd, buffer, sizeof(buffer), 0);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			fail(e);
		} else if (n == 0) {
			e->eof = true;
		} else if (e->got + n > peer->sent ||
			   memcmp(buffer, peer->text + e->got, n)) {
			complain(e->of, "other octets than were sent");
			e->got += n;
		} else {
			e->got += n;
		}
	}
}

static void speak(struct end *e)
{
	receive_some(e);
	send_some(e);
}

/* An octet more: whoever does not listen any more is found out. */
static void poke(struct end *e)
{
	e->of->poked = true;
	if (!is_open(e))
		return;
	if (send(e->fd, e->text + e->sent, 1, MSG_NOSIGNAL) == 1) {
		e->sent++;
		pokes++;
	} else if (errno != EAGAIN) {
		/* It has been told, and would not be again. */
		fail(e);
	}
}

/*
 * Ways to close.
 */

static void go_first(struct end *e)
{
	switch (e->of->method) {
	case CLOSE:
		finish(e);
		break;
	case EXIT:
		finish_in_child(e, true);
		break;
	case LINGER:
		set_linger(e, 100);
		finish_in_child(e, false);
		break;
	case SHUT_WRITE:
		shut_write(e);
		if (is_open(e) && e->eof)
			finish(e);
		break;
	default:
		shutdown(e->fd, SHUT_RDWR);
		finish(e);
	}
}

static void close_in_turn(struct connection *c)
{
	struct end *first = first_of(c), *second = second_of(c);

	if (c->method == SHUT_READ && has_all(first) && !first->shut_read) {
		first->shut_read = true;
		shutdown(first->fd, SHUT_RD);
		receive_some(first);
		if (is_open(first) && !first->eof)
			complain(c, "no EOF after SHUT_RD");
	}
	if (has_said_all(first) && has_all(first))
		go_first(first);
	if (is_open(second) && second->eof && has_said_all(second))
		finish(second);
}

static void close_both(struct connection *c)
{
	struct end *a = &c->end[0], *b = &c->end[1];

	if (has_said_all(a) && has_all(a) && has_said_all(b) && has_all(b)) {
		finish(a);
		finish(b);
	}
}

/* The second end says nothing before it has heard all. */
static void close_half(struct connection *c)
{
	struct end *first = first_of(c), *second = second_of(c);

	if (has_said_all(first))
		shut_write(first);
	send_some(second);
	if (is_open(second) && second->eof && has_said_all(second))
		finish(second);
	if (is_open(first) && first->eof)
		finish(first);
}

static void reset_late(struct connection *c)
{
	struct end *a = &c->end[0], *b = &c->end[1];

	if (has_said_all(a) && has_all(a) && has_said_all(b) && has_all(b))
		reset(first_of(c));
}

static void reset_early(struct connection *c)
{
	struct end *first = first_of(c), *second = second_of(c);

	if (is_open(first) && is_open(second) && first->got >= second->size / 2)
		reset(first);
}

static void close_unread(struct connection *c)
{
	struct end *first = first_of(c);
	int waiting = 0;

	if (!is_open(first))
		return;
	check(ioctl(first->fd, FIONREAD, &waiting), "FIONREAD");
	if (!waiting)
		return;
	finish(first);
	c->acted = true;
}

/* The first end hears nothing any more. */
static void deafen(struct connection *c)
{
	struct sock_filter nothing = { .code = BPF_RET | BPF_K };
	struct sock_fprog filter = { .len = 1, .filter = &nothing };
	int ms = USER_TIMEOUT_MS;

	c->acted = true;
	check(setsockopt(first_of(c)->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter,
			 sizeof(filter)), "SO_ATTACH_FILTER");
	check(setsockopt(second_of(c)->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms,
			 sizeof(ms)), "TCP_USER_TIMEOUT");
	poke(second_of(c));
}

static void fall_silent(struct connection *c)
{
	struct end *first = first_of(c), *second = second_of(c);

	if (!c->acted && is_open(first) && is_open(second) &&
	    first->got >= second->size / 2)
		deafen(c);
	if (second->error && is_open(first))
		finish(first);
}

static void give_up(struct connection *c)
{
	if (c->end[0].fd >= 0)
		finish(&c->end[0]);
}

static void wait_for_refusal(struct connection *c)
{
	if (is_open(&c->end[0]))
		finish(&c->end[0]);
}

static const struct way ways[] = {
	{ .name = "in turn", 400, close_in_turn, .orderly = true },
	{ .name = "at once", 60, close_in_turn, .orderly = true, .empty = true },
	{ .name = "again from a port", 80, close_in_turn, .orderly = true,
	  .reuse = true },
	{ .name = "both", 80, close_both, .orderly = true },
	{ .name = "half", 80, close_half, .orderly = true },
	{ .name = "reset late", 70, reset_late, .complete = true,
	  .error = ECONNRESET, .or_error = EPIPE },
	{ .name = "reset early", 70, reset_early, .error = ECONNRESET,
	  .or_error = EPIPE },
	{ .name = "unread", 60, close_unread, .error = ECONNRESET,
	  .or_error = EPIPE },
	{ .name = "silent", 10, fall_silent, .error = ETIMEDOUT },
	{ .name = "given up", 40, give_up, .no_server = true },
	{ .name = "refused", 50, wait_for_refusal, .no_server = true,
	  .error = ECONNREFUSED },
};

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
#define WAYS ARRAY_SIZE(ways)

static uint64_t done[WAYS];

static bool may_send(struct end *e)
{
	return e->of->way->act != close_half || e == first_of(e->of) || e->eof;
}

static bool may_receive(struct end *e)
{
	return e->of->way->act != close_unread || e != first_of(e->of);
}

/*
 * Connections.
 */

static bool as_promised(struct connection *c)
{
	const struct way *way = c->way;
	struct end *a = &c->end[0], *b = &c->end[1];
	struct end *second = way->no_server ? a : second_of(c);

	if (way->orderly && (a->error || b->error))
		return false;
	if ((way->orderly || way->complete) &&
	    (a->sent < a->size || b->sent < b->size ||
	     a->got != b->size || b->got != a->size))
		return false;
	return second->error == way->error ||
		(way->or_error && second->error == way->or_error);
}

static void account(struct connection *c)
{
	for (int i = 0; i < 2; i++) {
		struct end *e = &c->end[i], *peer = peer_of(e);
		uint64_t left = e->sent - peer->got;

		sent += e->sent;
		got += e->got;
		if (c->way->orderly || c->way->complete)
			missing += e->size - (peer->got < e->size ?
					      peer->got : e->size);
		else
			lost += left;
	}
	six += c->to->address.ss_family == AF_INET6;
	done[c->way - ways]++;
	over++;
}

static void forget(struct connection *c)
{
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	if (c->to->expected[c->port] == c)
		c->to->expected[c->port] = NULL;
	free(c);
}

static void act(struct connection *c)
{
	struct end *server = &c->end[1];

	c->way->act(c);
	if (c->end[0].fd >= 0 || server->fd >= 0 ||
	    (!server->open && !c->way->no_server))
		return;
	if (!as_promised(c))
		complain(c, "not as it should end");
	account(c);
	forget(c);
}

static void watch(struct end *e)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.ptr = e,
	};

	check(epoll_ctl(poller, EPOLL_CTL_ADD, e->fd, &event), "EPOLL_CTL_ADD");
}

static void choose_msl(struct connection *c, struct end *e)
{
	int ms = 50 + draw(&c->random, 1000);

	/* Stock TCP does not have it. */
	if (draw(&c->random, 2))
		setsockopt(e->fd, SOL_CFTCP, CFTCP_MSL, &ms, sizeof(ms));
}

static void choose(struct connection *c)
{
	uint64_t total = 0, pick;

	for (size_t i = 0; i < WAYS; i++)
		total += ways[i].weight;
	pick = draw(&c->random, total);
	for (c->way = ways; pick >= (uint64_t)c->way->weight; c->way++)
		pick -= c->way->weight;
	c->to = &listeners[draw(&c->random, 4) * 2 + !draw(&c->random, 5)];
	c->first = c->way->reuse ? 1 : c->way->empty ? 0 : draw(&c->random, 2);
	/* Processes are dear. */
	c->method = draw(&c->random, 4) ? CLOSE : draw(&c->random, METHODS);
	for (int i = 0; i < 2; i++) {
		struct end *e = &c->end[i];

		e->of = c;
		e->fd = -1;
		e->text = pad + draw(&c->random, PAD);
		e->size = draw(&c->random, 1 << draw(&c->random, MOST_BITS));
		if (c->way->act == close_unread)
			e->size++;
		if (c->way->empty)
			e->size = 0;
	}
}

static int client_of(const struct listener *to, int proto)
{
	static int in = -1;

	if (in != !to->side) {
		in = !to->side;
		check(setns(netns[in], CLONE_NEWNET), "setns");
	}
	return check(socket(to->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK,
			    proto), "socket");
}

static __be16 *port_in(struct sockaddr_storage *address)
{
	/* At the same place in both families. */
	return &((struct sockaddr_in *)address)->sin_port;
}

/*
 * What has fallen silent keeps its 4-tuple, and hears no SYN, until it times out:
 * nobody else should want it that soon.
 */
static void bind_fixed(struct connection *c)
{
	struct sockaddr_storage any = { .ss_family = c->to->address.ss_family };
	static int once;
	int on = 1, port = FIRST_ONCE + once++ % ONCE_PORTS;

	/* Another stack's timestamps may be older: a SYN with them must wait. */
	if (c->way->reuse)
		port = FIRST_FIXED + c->stock * FIXED_PORTS +
		       draw(&c->random, FIXED_PORTS);
	*port_in(&any) = htons(port);
	setsockopt(c->end[0].fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	bind(c->end[0].fd, (struct sockaddr *)&any, c->to->size);
}

static bool begin_to_connect(struct connection *c)
{
	struct sockaddr_storage address = c->to->address;
	struct connection **expected;
	struct end *e = &c->end[0];
	socklen_t size = c->to->size;

	if (c->way->error == ECONNREFUSED)
		*port_in(&address) = htons(UNUSED_PORT);
	if (!connect(e->fd, (struct sockaddr *)&address, size))
		e->open = true;
	else if (errno != EINPROGRESS)
		return false;
	check(getsockname(e->fd, (struct sockaddr *)&address, &size),
	      "getsockname");
	c->port = ntohs(*port_in(&address));
	if (c->way->error == ECONNREFUSED)
		return true;
	expected = &c->to->expected[c->port];
	if (*expected && *expected != &given_up) {
		complain(*expected, "whose 4-tuple is there again");
		complain(c, "the 4-tuple of another connection");
	}
	*expected = c->way->act == give_up ? &given_up : c;
	return true;
}

static void begin(uint64_t number)
{
	struct connection *c = calloc(1, sizeof(*c));

	if (!c)
		err(1, "calloc");
	c->number = number;
	c->random = seed ^ number * 0xd1342543de82ef95;
	c->began = now();
	choose(c);
	c->stock = c->to->ours && !draw(&c->random, 5);
	from_stock += c->stock;
	to_stock += !c->to->ours;
	c->end[0].fd = client_of(c->to, c->stock ? IPPROTO_TCP : ours);
	choose_msl(c, &c->end[0]);
	if (c->way->reuse || c->way->act == fall_silent)
		bind_fixed(c);
	c->next = connections;
	c->link = &connections;
	if (c->next)
		c->next->link = &c->next;
	connections = c;
	if (!begin_to_connect(c)) {
		/* The last one from this port is not over yet. */
		if (c->way->reuse &&
		    (errno == EADDRNOTAVAIL || errno == EADDRINUSE))
			busy++;
		else
			complain(c, strerror(errno));
		finish(&c->end[0]);
		over++;
		forget(c);
		return;
	}
	watch(&c->end[0]);
	if (c->end[0].open)
		speak(&c->end[0]);
	act(c);
}

static void accept_all(struct listener *from)
{
	struct sockaddr_storage address;
	struct connection *c;
	socklen_t size;
	int fd;

	for (;;) {
		size = sizeof(address);
		fd = accept4(from->fd, (struct sockaddr *)&address, &size,
			     SOCK_NONBLOCK);
		if (fd < 0 && errno == EAGAIN)
			return;
		check(fd, "accept");
		c = from->expected[ntohs(*port_in(&address))];
		if (!c) {
			fprintf(stderr, "a connection from port %d that nobody has made\n",
				ntohs(*port_in(&address)));
			strays++;
			close(fd);
			continue;
		}
		if (c == &given_up) {
			late++;
			close(fd);
			continue;
		}
		from->expected[c->port] = NULL;
		c->end[1].fd = fd;
		c->end[1].open = true;
		choose_msl(c, &c->end[1]);
		watch(&c->end[1]);
		speak(&c->end[1]);
		act(c);
	}
}

static void opened(struct end *e, uint32_t events)
{
	socklen_t size = sizeof(e->error);

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	check(getsockopt(e->fd, SOL_SOCKET, SO_ERROR, &e->error, &size),
	      "SO_ERROR");
	if (e->error)
		finish(e);
	else
		e->open = true;
}

static void handle(struct epoll_event *event)
{
	struct listener *listener = event->data.ptr;
	struct end *e = event->data.ptr;

	if (listener >= listeners && listener < listeners + 8) {
		accept_all(listener);
		return;
	}
	if (!e->open)
		opened(e, event->events);
	speak(e);
	act(e->of);
}

/* Whose peer is gone without a word notices when it says something. */
static void look_at_all(void)
{
	struct connection *c, *next;

	for (c = connections; c; c = next) {
		next = c->next;
		if (now() - c->began < PATIENCE) {
			if (c->acted && !c->poked) {
				poke(second_of(c));
				act(c);
			}
			continue;
		}
		complain(c, "not over");
		for (int i = 0; i < 2; i++)
			if (c->end[i].fd >= 0)
				finish(&c->end[i]);
		over++;
		forget(c);
	}
}

static void run(uint64_t count, uint64_t seconds)
{
	uint64_t start = now(), begun = 0, when = 0, t;
	uint64_t looked = start, told = start;
	/* One at a time: handling it may free what others are about. */
	struct epoll_event event;
	int timeout;

	while (over < count) {
		for (t = now(); begun < count; begun++) {
			when = start + begun * seconds * 1000 * MS / count;
			if (when > t)
				break;
			begin(begun);
		}
		if (t - told > PROGRESS) {
			fprintf(stderr, "soak: %llu of %llu connections are over\n",
				(unsigned long long)over,
				(unsigned long long)count);
			told = t;
		}
		if (t - looked > LOOK) {
			look_at_all();
			looked = t;
		}
		timeout = begun < count && when > t ? (when - t) / MS + 1 : 200;
		if (epoll_wait(poller, &event, 1, timeout < 200 ? timeout : 200) > 0)
			handle(&event);
	}
}

static void listen_at(struct listener *l, char **sides)
{
	int number = l - listeners, on = 1;
	struct sockaddr_in *v4 = (void *)&l->address;
	struct sockaddr_in6 *v6 = (void *)&l->address;
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = l };

	l->ours = !(number & 1);
	l->side = number >> 2;
	if (number & 2) {
		l->size = sizeof(*v6);
		v6->sin6_family = AF_INET6;
		inet_pton(AF_INET6, sides[3 * l->side + 2], &v6->sin6_addr);
	} else {
		l->size = sizeof(*v4);
		v4->sin_family = AF_INET;
		inet_pton(AF_INET, sides[3 * l->side + 1], &v4->sin_addr);
	}
	*port_in(&l->address) = htons(FIRST_LISTENER + number);
	check(setns(netns[l->side], CLONE_NEWNET), "setns");
	l->fd = check(socket(l->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK,
			     l->ours ? ours : IPPROTO_TCP), "socket");
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	check(bind(l->fd, (void *)&l->address, l->size), "bind");
	check(listen(l->fd, 4096), "listen");
	check(epoll_ctl(poller, EPOLL_CTL_ADD, l->fd, &event), "EPOLL_CTL_ADD");
}

static void print(const char *name, uint64_t number)
{
	printf("%s %llu\n", name, (unsigned long long)number);
}

int main(int argc, char **argv)
{
	const struct rlimit files = { 1 << 20, 1 << 20 };
	uint64_t state = 0;

	if (argc != 11)
		errx(2, "usage: soak PROTO COUNT SECONDS SEED NETNS IPV4 IPV6 NETNS IPV4 IPV6");
	ours = atoi(argv[1]);
	seed = strtoull(argv[4], NULL, 0);
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGCHLD, SIG_IGN);
	for (size_t i = 0; i < sizeof(pad); i++)
		pad[i] = draw(&state, 256);
	poller = check(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	netns[0] = atoi(argv[5]);
	netns[1] = atoi(argv[8]);
	for (int i = 0; i < 8; i++)
		listen_at(&listeners[i], argv + 5);
	run(atol(argv[2]), atol(argv[3]));
	for (size_t i = 0; i < WAYS; i++)
		print(ways[i].name, done[i]);
	print("given up late", late);
	print("busy ports", busy);
	print("IPv6", six);
	print("to stock", to_stock);
	print("from stock", from_stock);
	print("pokes", pokes);
	print("sent", sent);
	print("received", got);
	print("lost with an error", lost);
	print("missing", missing);
	print("strays", strays);
	print("complaints", complaints);
	return complaints || strays ? 1 : 0;
}
