// SPDX-License-Identifier: GPL-2.0
/* What changes around the workers' connections, in their namespaces. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "whole.h"

#define SYSCTLS		"/proc/sys/net/cftcp/"
#define TRACING		"/sys/kernel/tracing/"
#define MOST_SYSCTLS	64
/* A disturbance lasts so long, and so long comes the next, at most. */
#define LASTS_US	20000
#define REST_US		60000

/*
 * Linux (6.1 at least) does not free a route of IPv6 that learns a path MTU while
 * it is deleted, whoever sends, and its device then never goes. So one worker's
 * routes of IPv6 stay, and another's learn nothing (fire_icmp()).
 */
static bool routes6_stay;

static void last(struct rng *rng)
{
	usleep(below(rng, LASTS_US));
}

static ssize_t read_file(const char *path, char *to, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = read(fd, to, size - 1);

	close(fd);
	to[len > 0 ? len : 0] = 0;
	return len;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	(void)!write(fd, text, strlen(text));
	close(fd);
}

/*
 * sysctls.
 */

static char sysctls[MOST_SYSCTLS][64];
static int sysctl_count;

static void list_sysctls(void)
{
	DIR *directory = opendir(SYSCTLS);
	const struct dirent *entry;

	while (directory && (entry = readdir(directory)) &&
	       sysctl_count < MOST_SYSCTLS)
		if (entry->d_name[0] != '.')
			snprintf(sysctls[sysctl_count++], 64, "%.63s",
				 entry->d_name);
	if (directory)
		closedir(directory);
}

static int odd_value(struct rng *rng)
{
	static const int edges[] = { 0, 1, 2, 3, 4, -1, 5, 20, 127, 536, 1000,
				     2304, 4096, 65535, 600000, INT_MAX };

	switch (below(rng, 8)) {
	case 0:
		return rnd(rng);
	case 1 ... 3:
		return below(rng, 2000);
	default:
		return pick(rng, edges);
	}
}

static void change_sysctl(struct rng *rng)
{
	char path[128], old[128], text[128];

	snprintf(path, sizeof(path), SYSCTLS "%s",
		 sysctls[below(rng, sysctl_count)]);
	if (read_file(path, old, sizeof(old)) <= 0)
		return;
	if (strchr(old, '\t'))
		snprintf(text, sizeof(text), "%d %d %d", odd_value(rng),
			 odd_value(rng), odd_value(rng));
	else
		snprintf(text, sizeof(text), one_in(rng, 16) ? "%dx" : "%d",
			 odd_value(rng));
	write_file(path, text);
	last(rng);
	write_file(path, old);
}

/* Of the stock stack, what cftcp goes by. */
static void change_stock_sysctl(struct rng *rng)
{
	static const char *const names[] = {
		"ipv4/ip_forward", "ipv4/ip_no_pmtu_disc", "ipv4/tcp_ecn",
		"ipv4/ip_local_port_range", "ipv4/ip_nonlocal_bind",
		"ipv4/conf/all/rp_filter", "ipv4/conf/all/accept_source_route",
		"ipv4/conf/all/forwarding", "ipv4/ip_default_ttl",
		"ipv4/fwmark_reflect", "ipv4/tcp_fwmark_accept",
		"ipv4/ip_early_demux", "ipv4/tcp_early_demux",
		"ipv6/conf/all/forwarding", "ipv6/bindv6only",
		"ipv6/conf/all/disable_ipv6", "ipv6/flowlabel_reflect",
		"core/somaxconn",
	};
	char path[128], old[64], text[64];

	snprintf(path, sizeof(path), "/proc/sys/net/%s", pick(rng, names));
	if (routes6_stay && strstr(path, "disable_ipv6"))
		return;
	if (read_file(path, old, sizeof(old)) <= 0)
		return;
	snprintf(text, sizeof(text), "%d", below(rng, 3));
	if (strchr(old, '\t'))
		snprintf(text, sizeof(text), "2000 %d", 2000 + below(rng, 50));
	write_file(path, text);
	last(rng);
	write_file(path, old);
	if (strstr(path, "disable_ipv6"))
		net_address(true, true);
}

/*
 * Links, addresses, routes.
 */

static void flap(struct rng *rng)
{
	if (routes6_stay)
		return;
	net_up(false);
	usleep(below(rng, LASTS_US) / 4);
	net_up(true);
}

static void remove_address(struct rng *rng)
{
	bool six = !routes6_stay && one_in(rng, 2);

	net_address(six, false);
	usleep(below(rng, LASTS_US) / 4);
	net_address(six, true);
}

static void change_mtu(struct rng *rng)
{
	static const int mtus[] = { 68, 296, 576, 1279, 1280, 1400, 9000,
				    65521 };
	int mtu = pick(rng, mtus);

	if (routes6_stay && mtu < 1280)
		return;
	net_mtu(DEVICE, mtu);
	last(rng);
	net_mtu(DEVICE, 1500);
	/* Below 1280 IPv6 is switched off. */
	net_address(true, true);
}

static void change_loopback(struct rng *rng)
{
	net_mtu("lo", one_in(rng, 2) ? 1500 : 65536);
}

static void change_route(struct rng *rng)
{
	net_route(true);
	last(rng);
	net_route(false);
}

static void fill_queue(struct rng *rng)
{
	net_queue_length(1 + below(rng, 3));
	last(rng);
	net_queue_length(500);
}

/*
 * Those who look.
 */

static void read_proc(struct rng *rng)
{
	static const char *const names[] = { "cftcp", "cftcp6", "cftcp_stat",
					     "protocols", "sockstat" };
	static char octets[65536];
	char path[64];
	int fd, count = 1 + below(rng, 20);

	snprintf(path, sizeof(path), "/proc/self/net/%s", pick(rng, names));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (one_in(rng, 4))
		lseek(fd, below(rng, 5000), SEEK_SET);
	while (count-- && read(fd, octets, 1 + below(rng, sizeof(octets))) > 0)
		;
	close(fd);
}

/*
 * The tracepoints are patched in before anything runs: an emulated machine with
 * two CPUs gets stuck in code, of any kernel's, that is patched while it runs.
 */
void enable_tracepoints(void)
{
	write_file(TRACING "tracing_on", "0");
	write_file(TRACING "events/cftcp/enable", "1");
}

static void switch_tracing(struct rng *rng)
{
	static char octets[65536];

	write_file(TRACING "tracing_on", "1");
	last(rng);
	write_file(TRACING "tracing_on", "0");
	read_file(TRACING "trace", octets, sizeof(octets));
}

struct dump_request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
	struct nlattr attribute;
	uint32_t protocol;
	struct nlattr code_attribute;
	struct inet_diag_bc_op code[4];
};

static void destroy_one(int fd, struct rng *rng, struct inet_diag_msg *found,
			struct dump_request *request)
{
	request->head.nlmsg_type = SOCK_DESTROY;
	request->head.nlmsg_flags = NLM_F_REQUEST;
	request->head.nlmsg_len = offsetof(struct dump_request, code_attribute);
	request->body.sdiag_family = found->idiag_family;
	request->body.id = found->id;
	if (one_in(rng, 4))
		request->body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
	send(fd, request, request->head.nlmsg_len, 0);
}

/* A dump of all, maybe with a filter, maybe the end of one of them. */
static void dump(struct rng *rng)
{
	struct dump_request request = {
		.head = {
			.nlmsg_len = offsetof(struct dump_request,
					      code_attribute),
			.nlmsg_type = SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP,
		},
		.body = {
			.sdiag_family = one_in(rng, 2) ? AF_INET : AF_INET6,
			.idiag_states = one_in(rng, 2) ? -1U : rnd(rng),
			.idiag_ext = rnd(rng),
		},
		.attribute = { 8, INET_DIAG_REQ_PROTOCOL },
		.protocol = IPPROTO_CFTCP,
		.code_attribute = { 4 + sizeof(request.code),
				    INET_DIAG_REQ_BYTECODE },
	};
	static uint8_t octets[65536];
	struct nlmsghdr *head = (void *)octets;
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC,
			NETLINK_SOCK_DIAG);
	ssize_t len;

	if (one_in(rng, 3)) {
		request.head.nlmsg_len = sizeof(request);
		for (int at = 0; at < 4; at++)
			request.code[at] = (struct inet_diag_bc_op){
				below(rng, 20), 4 * below(rng, 5),
				4 * below(rng, 5),
			};
	}
	send(fd, &request, request.head.nlmsg_len, 0);
	for (int part = 0; part < 50; part++) {
		len = recv(fd, octets, sizeof(octets), MSG_DONTWAIT);
		if (len < (ssize_t)NLMSG_HDRLEN)
			break;
		if (head->nlmsg_type != SOCK_DIAG_BY_FAMILY || one_in(rng, 20))
			break;
		if (one_in(rng, 16))
			destroy_one(fd, rng, NLMSG_DATA(head), &request);
	}
	close(fd);
}

/*
 * Namespaces that go with everything in them.
 */

static int loop_socket(void)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_CFTCP);

	bind(fd, (void *)&to, sizeof(to));
	return fd;
}

static void live_and_die(struct rng *rng)
{
	struct sockaddr_in to;
	socklen_t len = sizeof(to);
	int listener;

	if (unshare(CLONE_NEWNET))
		_exit(0);
	net_loopback();
	listener = loop_socket();
	listen(listener, 4);
	getsockname(listener, (void *)&to, &len);
	for (int count = 0; count < 6; count++) {
		int fd = loop_socket(), other;

		connect(fd, (void *)&to, len);
		send(fd, &to, sizeof(to), MSG_DONTWAIT);
		other = one_in(rng, 3) ? -1 : accept(listener, NULL, NULL);
		if (one_in(rng, 2))
			close(fd);
		if (one_in(rng, 2))
			close(other);
	}
	_exit(0);
}

static void end_namespace(struct rng *rng)
{
	pid_t child = fork();

	if (!child)
		live_and_die(rng);
	waitpid(child, NULL, 0);
}

static const struct {
	void (*act)(struct rng *rng);
	int weight;
} acts[] = {
	{ change_sysctl, 12 }, { change_stock_sysctl, 2 }, { flap, 2 },
	{ remove_address, 2 }, { change_mtu, 2 }, { change_loopback, 1 },
	{ change_route, 2 }, { fill_queue, 2 }, { read_proc, 4 },
	{ switch_tracing, 1 }, { dump, 4 }, { end_namespace, 1 },
};

static void act(struct rng *rng)
{
	int all = 0, at = 0, left;

	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		all += acts[i].weight;
	left = below(rng, all);
	while (left >= acts[at].weight)
		left -= acts[at++].weight;
	acts[at].act(rng);
}

/* Into the namespace of a process. */
static bool enter(pid_t pid)
{
	char path[64];
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	err = setns(fd, CLONE_NEWNET);
	close(fd);
	return !err;
}

void disturb(struct tally *tally, struct tally *workers, int count,
	     uint64_t seed)
{
	for (uint64_t round = 0;; round++) {
		struct rng rng = rng_of(seed, 2000, round);
		int which = below(&rng, count);
		struct tally *worker = &workers[which];

		routes6_stay = which & 1;
		tally->beat++;
		if (worker->ready && enter(worker->pid)) {
			if (!sysctl_count)
				list_sysctls();
			if (sysctl_count)
				act(&rng);
			tally->disturbances++;
		}
		usleep(below(&rng, REST_US));
	}
}
