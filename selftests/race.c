// SPDX-License-Identifier: GPL-2.0
/*
 * race PROTO FAMILY SECONDS SEED
 *
 * A thread on each CPU, at least two; in each round they do things to both ends
 * of one connection at the same time: close, shutdown, reset, send, receive,
 * disconnect, destroy by sock_diag. What a call returns does not matter here: the
 * kernel must survive, and leave nothing. Prints how often each was done.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS	16
#define CALLS		3	/* of a thread in a round, at most */
#define KINDS		15	/* of calls */
#define PROTOCOL_ATTR	3	/* INET_DIAG_REQ_PROTOCOL */

static int proto, family, listener, diag = -1, proc = -1;
static struct sockaddr_storage address;
static socklen_t address_size;
/* The ends of the connection; who closes one takes it. */
static atomic_int ends[2];
static struct sockaddr_storage names[2];
static atomic_uint arrived, released;
static unsigned int threads, seed;
static atomic_int over;

static void check(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
}

static void close_end(int end)
{
	int fd = atomic_exchange(&ends[end], -1);

	if (fd >= 0)
		close(fd);
}

static void reset_end(int end)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(ends[end], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_end(end);
}

static void shut_write(int end)
{
	shutdown(ends[end], SHUT_WR);
}

static void shut_both(int end)
{
	shutdown(ends[end], SHUT_RDWR);
}

static void send_text(int end)
{
	static const char text[40000];

	send(ends[end], text, sizeof(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void send_urgent(int end)
{
	send(ends[end], "!", 1, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_OOB);
}

static void receive(int end)
{
	char text[4000];

	recv(ends[end], text, sizeof(text), MSG_DONTWAIT);
}

static void wait_a_little(int end)
{
	struct pollfd fd = { .fd = ends[end], .events = POLLIN | POLLOUT };

	poll(&fd, 1, 1);
}

static void disconnect(int end)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	connect(ends[end], &none, sizeof(none));
}

static void ask(int end)
{
	struct tcp_info info;
	socklen_t size = sizeof(info);

	getsockopt(ends[end], IPPROTO_TCP, TCP_INFO, &info, &size);
}

static void hurry(int end)
{
	int ms = 1;

	setsockopt(ends[end], IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

static void read_table(int end)
{
	char text[4000];

	if (pread(proc, text, sizeof(text), 0) < 0 && !end)
		return;
}

/* The kernel looks at the socket before it takes the lock. */
static void ask_ipv6(int end)
{
	int value = 0;
	socklen_t size = sizeof(value);

	getsockopt(ends[end], IPPROTO_IPV6, IPV6_TCLASS, &value, &size);
	setsockopt(ends[end], IPPROTO_IPV6, IPV6_TCLASS, &value, sizeof(value));
}

struct question {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
	struct nlattr attr;
	__u32 proto;
};

static struct question question_of(int type, int flags)
{
	return (struct question){
		.head = { sizeof(struct question), type,
			  NLM_F_REQUEST | flags },
		.body = { family, proto & 255, .idiag_states = -1 },
		.attr = { 8, PROTOCOL_ATTR },
		.proto = proto,
	};
}

/* All sockets, without their locks. */
static void dump(int end)
{
	static __thread union {
		struct nlmsghdr head;
		char text[32768];
	} answer;
	static __thread int fd = -1;
	struct question question = question_of(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP);

	if (fd < 0)
		fd = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_SOCK_DIAG);
	send(fd, &question, sizeof(question), 0);
	while (recv(fd, &answer, sizeof(answer), 0) > 0 &&
	       answer.head.nlmsg_type == SOCK_DIAG_BY_FAMILY)
		;
}

static void put_name(const struct sockaddr_storage *from, __be16 *port,
		     __be32 *host)
{
	const struct sockaddr_in6 *v6 = (const void *)from;
	const struct sockaddr_in *v4 = (const void *)from;

	*port = family == AF_INET6 ? v6->sin6_port : v4->sin_port;
	if (family == AF_INET6)
		memcpy(host, &v6->sin6_addr, 16);
	else
		*host = v4->sin_addr.s_addr;
}

static void destroy(int end)
{
	struct question message = question_of(SOCK_DESTROY, 0);
	struct inet_diag_sockid *id = &message.body.id;

	put_name(&names[end], &id->idiag_sport, id->idiag_src);
	put_name(&names[!end], &id->idiag_dport, id->idiag_dst);
	memset(id->idiag_cookie, 0xff, sizeof(id->idiag_cookie));
	send(diag, &message, sizeof(message), MSG_DONTWAIT);
}

static const struct {
	const char *name;
	void (*run)(int end);
} calls[KINDS] = {
	{ "close", close_end }, { "reset", reset_end },
	{ "shutdown", shut_write }, { "shutdown both", shut_both },
	{ "send", send_text }, { "send urgent", send_urgent },
	{ "receive", receive }, { "poll", wait_a_little },
	{ "disconnect", disconnect }, { "ask", ask },
	{ "user timeout", hurry }, { "read table", read_table },
	{ "destroy", destroy }, { "ask of IPv6", ask_ipv6 }, { "dump", dump },
};

static atomic_ulong done[KINDS];

/* All arrive before one goes on; nobody sleeps if each has a CPU. */
static void meet(void)
{
	unsigned int round = released;

	if (atomic_fetch_add(&arrived, 1) + 1 == threads) {
		arrived = 0;
		released = round + 1;
	} else {
		while (released == round)
			sched_yield();
	}
}

static void play(unsigned int *state)
{
	for (int i = rand_r(state) % (CALLS + 1); i; i--) {
		int which = rand_r(state) % KINDS;

		for (int spin = rand_r(state) % 3000; spin; spin--)
			__asm__ volatile("");
		calls[which].run(rand_r(state) & 1);
		done[which]++;
	}
}

static void listen_somewhere(void)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6,
		.sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct timeval patience = { .tv_usec = 400000 };

	listener = socket(family, SOCK_STREAM, proto);
	check(listener, "socket");
	address_size = family == AF_INET6 ? sizeof(v6) : sizeof(v4);
	memcpy(&address, family == AF_INET6 ? (void *)&v6 : &v4, address_size);
	check(bind(listener, (struct sockaddr *)&address, address_size), "bind");
	check(getsockname(listener, (struct sockaddr *)&address, &address_size),
	      "getsockname");
	check(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience,
			 sizeof(patience)), "SO_RCVTIMEO");
	check(listen(listener, 16), "listen");
}

static void open_both(void)
{
	int fd = socket(family, SOCK_STREAM, proto), on = 1;
	struct linger now = { .l_onoff = 1 };
	socklen_t size = sizeof(names[0]);

	check(fd, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* Where segments are lost, and all is in a hurry, it may fail. */
	if (connect(fd, (struct sockaddr *)&address, address_size)) {
		/* SOCK_DESTROY takes the listener where a connection is gone. */
		if (errno == ECONNREFUSED) {
			close(listener);
			listen_somewhere();
		}
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		close(fd);
		fd = -1;
	} else {
		getsockname(fd, (struct sockaddr *)&names[0], &size);
	}
	ends[0] = fd;
	ends[1] = fd < 0 ? -1 : accept(listener, NULL, NULL);
	names[1] = address;
}

static void *work(void *argument)
{
	unsigned int number = (long)argument, state = seed + number;
	cpu_set_t cpu;

	CPU_ZERO(&cpu);
	CPU_SET(number % sysconf(_SC_NPROCESSORS_ONLN), &cpu);
	sched_setaffinity(0, sizeof(cpu), &cpu);
	for (;;) {
		meet();
		if (over)
			return NULL;
		play(&state);
		meet();
	}
}

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

int main(int argc, char **argv)
{
	pthread_t others[MOST_THREADS];
	unsigned long rounds = 0;
	time_t end;

	if (argc != 5)
		errx(2, "usage: race PROTO FAMILY SECONDS SEED");
	proto = atoi(argv[1]);
	family = atoi(argv[2]) == 6 ? AF_INET6 : AF_INET;
	end = now() + atoi(argv[3]);
	seed = atoi(argv[4]);
	threads = sysconf(_SC_NPROCESSORS_ONLN);
	threads = threads < 2 ? 2 : threads > MOST_THREADS ? MOST_THREADS : threads;
	listen_somewhere();
	diag = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_SOCK_DIAG);
	check(diag, "sock_diag");
	proc = open(family == AF_INET6 ? "/proc/thread-self/net/cftcp6" :
		    "/proc/thread-self/net/cftcp", O_RDONLY);
	for (long i = 1; i < threads; i++)
		check(-pthread_create(&others[i], NULL, work, (void *)i), "thread");
	while (now() < end) {
		unsigned int state = seed + rounds++;

		open_both();
		meet();
		play(&state);
		meet();
		close_end(0);
		close_end(1);
	}
	over = 1;
	meet();
	for (unsigned int i = 1; i < threads; i++)
		pthread_join(others[i], NULL);
	printf("%lu rounds of %u threads", rounds, threads);
	for (int i = 0; i < KINDS; i++)
		printf(", %s %lu", calls[i].name, done[i]);
	printf("\n");
	return 0;
}
