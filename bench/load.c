// SPDX-License-Identifier: GPL-2.0
/*
 * The load of make bench: the same program for both stacks; usage() tells the
 * modes.
 *
 * Where a mode drives both ends from one process, nothing ever sleeps: on one
 * CPU a segment is received inside of the call that sent it, so what is
 * measured is the two stacks and the device between them, not the scheduler.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../module/uapi/cftcp.h"

#define TCP_CONGESTION	13
#define BACKLOG		4096
#define MAX_PORTS	1024

static struct {
	int client_ns, server_ns;
	int client_proto, server_proto;
	const char *congestion;
	struct sockaddr_in server;
	long count, size, rate, ports, seconds, end;
} opt = { .count = 1, .size = 1, .ports = 1 };

static int listeners[MAX_PORTS];

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long check(long result, const char *what)
{
	if (result < 0)
		die(what);
	return result;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/*
 * Sockets.
 */

static void enter(int ns)
{
	static int in = -1;

	if (ns != in)
		check(setns(ns, CLONE_NEWNET), "setns");
	in = ns;
}

static int make(int ns, int proto)
{
	int fd;

	enter(ns);
	fd = check(socket(AF_INET, SOCK_STREAM, proto), "socket");
	if (proto == IPPROTO_TCP && opt.congestion)
		check(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION,
				 opt.congestion, strlen(opt.congestion)),
		      "TCP_CONGESTION");
	return fd;
}

static struct sockaddr_in server(long number)
{
	struct sockaddr_in at = opt.server;

	at.sin_port = htons(ntohs(at.sin_port) + number % opt.ports);
	return at;
}

static void listen_all(void)
{
	int on = 1;

	for (long i = 0; i < opt.ports; i++) {
		struct sockaddr_in at = server(i);
		int fd = make(opt.server_ns, opt.server_proto);

		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		check(bind(fd, (void *)&at, sizeof(at)), "bind");
		check(listen(fd, BACKLOG), "listen");
		listeners[i] = fd;
	}
}

static int try_connect(int fd, long number)
{
	struct sockaddr_in at = server(number);

	return connect(fd, (void *)&at, sizeof(at));
}

static int take(long number)
{
	return check(accept(listeners[number % opt.ports], NULL, NULL),
		     "accept");
}

static int client(void)
{
	return make(opt.client_ns, opt.client_proto);
}

/* Connection @number, to server port @number modulo the ports. */
static void join(long number, int *a, int *b)
{
	*a = client();
	check(try_connect(*a, number), "connect");
	*b = take(number);
}

static void put(int fd, const void *data, size_t len)
{
	if (send(fd, data, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send");
}

static void get(int fd, char expected)
{
	char octet;

	if (recv(fd, &octet, 1, 0) != 1 || octet != expected)
		die("recv");
}

static void ping_pong(int a, int b)
{
	put(a, "q", 1);
	get(b, 'q');
	put(b, "r", 1);
	get(a, 'r');
}

static void report(uint64_t ns, double units)
{
	printf("%.1f\n", ns / units);
	fflush(stdout);
}

/*
 * Both ends in this process.
 */

static void crr(void)
{
	uint64_t start = now();
	int a, b;

	for (long i = 0; i < opt.count; i++) {
		join(i, &a, &b);
		ping_pong(a, b);
		close(a);
		close(b);
	}
	report(now() - start, opt.count);
}

static void closing(void)
{
	int *a = calloc(opt.count, sizeof(*a));
	int *b = calloc(opt.count, sizeof(*b));
	uint64_t start;

	for (long i = 0; i < opt.count; i++) {
		join(i, &a[i], &b[i]);
		ping_pong(a[i], b[i]);
	}
	/* Delayed ACKs are none of closing. */
	usleep(300000);
	start = now();
	for (long i = 0; i < opt.count; i++) {
		close(a[i]);
		close(b[i]);
	}
	report(now() - start, opt.count);
}

static void rpc(void)
{
	uint64_t start;
	int a, b;

	join(0, &a, &b);
	for (int i = 0; i < 100; i++)
		ping_pong(a, b);
	start = now();
	for (long i = 0; i < opt.count; i++)
		ping_pong(a, b);
	report(now() - start, opt.count);
}

static void idle(void)
{
	uint64_t start = now();
	int a, b;

	for (long i = 1; i <= opt.count; i++) {
		join(i, &a, &b);
		if (i % 1000)
			continue;
		report(now() - start, 1000);
		start = now();
	}
}

/* An MSL with which TIME-WAIT, entered now, ends at opt.end. */
static void set_msl(int fd)
{
	int msl_ms = (opt.end * 1000 - (long)(now() / 1000000)) / 2;

	check(setsockopt(fd, SOL_CFTCP, CFTCP_MSL, &msl_ms, sizeof(msl_ms)),
	      "CFTCP_MSL");
}

static void fill(void)
{
	uint64_t start = now();
	int a, b;

	for (long i = 0; i < opt.count; i++) {
		join(i, &a, &b);
		if (opt.end)
			set_msl(a);
		close(a);
		close(b);
	}
	report(now() - start, opt.count);
}

static void turnover(void)
{
	uint64_t start = now(), end = start + opt.seconds * 1000000000ULL;
	uint64_t next = start;
	long done = 0, refused = 0;
	int a, b;

	while (now() < end) {
		if (now() >= next) {
			printf("%ld %ld\n", done, refused);
			fflush(stdout);
			next += 1000000000ULL;
		}
		a = client();
		if (try_connect(a, 0)) {
			if (errno != EADDRNOTAVAIL)
				die("connect");
			refused++;
			close(a);
			usleep(100000);
			continue;
		}
		b = take(0);
		ping_pong(a, b);
		close(a);
		close(b);
		done++;
	}
	printf("%ld %ld\n", done, refused);
}

/*
 * A process for each end.
 */

static char buffer[1 << 18];

static void limit_rate(int fd)
{
	uint64_t octets = opt.rate;

	if (opt.rate)
		check(setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &octets,
				 sizeof(octets)), "SO_MAX_PACING_RATE");
}

/* Answer requests. A client that has had enough resets. */
static void serve(void)
{
	for (long i = 0; i < opt.count; i++) {
		int fd = take(0);
		long left = opt.size, n = 1;

		limit_rate(fd);
		if (recv(fd, buffer, 1, 0) == 1) {
			for (; left && n > 0; left -= n) {
				n = left < (long)sizeof(buffer) ?
					left : (long)sizeof(buffer);
				n = send(fd, buffer, n, MSG_NOSIGNAL);
			}
			recv(fd, buffer, 1, 0);
		}
		close(fd);
	}
	exit(0);
}

/* What is received until all is, or until the time is over. */
static long receive(int fd, uint64_t end)
{
	struct timeval limit = { .tv_sec = opt.seconds };
	long had = 0, n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	while (had < opt.size && (!opt.seconds || now() < end)) {
		n = recv(fd, buffer, sizeof(buffer), 0);
		if (n < 0 && errno == EAGAIN)
			break;
		if (check(n, "recv") == 0)
			die("the stream ended early");
		had += n;
	}
	return had;
}

static void download(void)
{
	pid_t pid = check(fork(), "fork");
	int status;

	if (!pid)
		serve();
	close(listeners[0]);
	for (long i = 0; i < opt.count; i++) {
		uint64_t start = now();
		int fd = client();
		long had;

		check(try_connect(fd, 0), "connect");
		put(fd, "q", 1);
		had = receive(fd, start + opt.seconds * 1000000000ULL);
		printf("%llu %ld\n", (unsigned long long)(now() - start), had);
		fflush(stdout);
		close(fd);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		die("the server failed");
}

static const struct {
	const char *name;
	void (*run)(void);
	const char *what;
} modes[] = {
	{ "crr", crr, "ns a connection: connect, an octet each way, close" },
	{ "close", closing, "ns from the first FIN until both have closed" },
	{ "rpc", rpc, "ns for an octet there and back" },
	{ "idle", idle, "ns to open one, a line a thousand; all are kept" },
	{ "fill", fill, "ns a connection of which only TIME-WAIT is wanted" },
	{ "turnover", turnover,
	  "for SECONDS, each second: connections and EADDRNOTAVAILs so far" },
	{ "download", download,
	  "a line a connection: ns from connect() to the last of SIZE octets\n"
	  "             that the server sends, and how many came in SECONDS" },
};

static void usage(void)
{
	puts("usage: load [OPTION]... MODE\n"
	     "  -C NS, -S NS   namespaces of client and server (ip netns)\n"
	     "  -c N, -s N     protocol of client and server: 6 or 257\n"
	     "  -a ADDR:PORT   the server's IPv4 address\n"
	     "  -P PORTS       server ports that are used in turn, from PORT on\n"
	     "  -g NAME        congestion control of stock sockets\n"
	     "  -n COUNT       of connections, or of round trips\n"
	     "  -z SIZE        octets\n"
	     "  -r RATE        SO_MAX_PACING_RATE of the server, octets a second\n"
	     "  -t SECONDS     how long\n"
	     "  -e SECONDS     TIME-WAITs are to end then, by CLOCK_MONOTONIC\n"
	     "modes, and what they print:");
	for (unsigned int i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		printf("  %-10s %s\n", modes[i].name, modes[i].what);
}

static int open_ns(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "/run/netns/%s", name);
	return check(open(path, O_RDONLY | O_CLOEXEC), path);
}

static void set_address(char *text)
{
	char *port = strchr(text, ':');

	if (!port) {
		usage();
		exit(2);
	}
	*port++ = 0;
	opt.server.sin_family = AF_INET;
	opt.server.sin_port = htons(atoi(port));
	if (inet_pton(AF_INET, text, &opt.server.sin_addr) != 1) {
		errno = EINVAL;
		die(text);
	}
}

int main(int argc, char **argv)
{
	const struct rlimit files = { 1 << 20, 1 << 20 };
	int c;

	while ((c = getopt(argc, argv, "C:S:c:s:a:P:g:n:z:r:t:e:h")) != -1) {
		switch (c) {
		case 'C': opt.client_ns = open_ns(optarg); break;
		case 'S': opt.server_ns = open_ns(optarg); break;
		case 'c': opt.client_proto = atoi(optarg); break;
		case 's': opt.server_proto = atoi(optarg); break;
		case 'a': set_address(optarg); break;
		case 'P': opt.ports = atol(optarg); break;
		case 'g': opt.congestion = optarg; break;
		case 'n': opt.count = atol(optarg); break;
		case 'z': opt.size = atol(optarg); break;
		case 'r': opt.rate = atol(optarg); break;
		case 't': opt.seconds = atol(optarg); break;
		case 'e': opt.end = atol(optarg); break;
		default: usage(); return c == 'h' ? 0 : 2;
		}
	}
	if (opt.ports < 1 || opt.ports > MAX_PORTS) {
		usage();
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &files);
	for (unsigned int i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (optind < argc && !strcmp(argv[optind], modes[i].name)) {
			listen_all();
			modes[i].run();
			return 0;
		}
	}
	usage();
	return 2;
}
