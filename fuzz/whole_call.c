// SPDX-License-Identifier: GPL-2.0
/* System calls on the workers' sockets, with whatever arguments. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "whole.h"

/* How long a call may block: a signal comes so often. */
#define INTERRUPT_MS	20
/* The racer rests so long between calls, at most: the workers want the CPU. */
#define REST_US		16000

static __thread uint8_t text[65536];

static int any_fd(struct worker *w, struct rng *rng)
{
	return one_in(rng, 4) ? pick(rng, w->wild) : pick(rng, w->conns).fd;
}

static _Atomic int *any_place(struct worker *w, struct rng *rng)
{
	return one_in(rng, 2) ? &pick(rng, w->wild) : &pick(rng, w->conns).fd;
}

/* A socket for those in no state in particular. */
static void keep(struct worker *w, struct rng *rng, int fd)
{
	if (fd >= 0)
		fd = atomic_exchange(&pick(rng, w->wild), fd);
	if (fd >= 0)
		close(fd);
}

static size_t size(struct rng *rng)
{
	switch (below(rng, 32)) {
	case 0:
		return below(rng, sizeof(text));
	case 1 ... 8:
		return below(rng, 4);
	default:
		return below(rng, 3000);
	}
}

static int odd_int(struct rng *rng)
{
	static const int edges[] = {
		0, 0, 1, 1, 1, 2, 3, -1, 5, 10, 40, 87, 88, 100, 127, 128, 255,
		536, 1000, 1460, 4096, 65535, 65536, 1 << 20, INT_MAX, INT_MIN,
	};

	return one_in(rng, 6) ? (int)rnd(rng) : pick(rng, edges);
}

/*
 * Sending and receiving.
 */

static const int send_flags[] = {
	0, MSG_DONTWAIT, MSG_DONTWAIT, MSG_DONTWAIT | MSG_MORE,
	MSG_DONTWAIT | MSG_OOB, MSG_OOB, MSG_EOR, MSG_DONTWAIT | MSG_ZEROCOPY,
	MSG_DONTROUTE | MSG_DONTWAIT, MSG_FASTOPEN | MSG_DONTWAIT,
};

static const int recv_flags[] = {
	0, MSG_DONTWAIT, MSG_DONTWAIT, MSG_PEEK | MSG_DONTWAIT,
	MSG_TRUNC | MSG_DONTWAIT, MSG_OOB, MSG_OOB | MSG_PEEK, MSG_WAITALL,
	MSG_ERRQUEUE, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT,
	MSG_WAITALL | MSG_PEEK,
};

static void do_send(struct worker *w, struct rng *rng, int fd)
{
	int flags = one_in(rng, 32) ? (int)rnd(rng) : pick(rng, send_flags);

	send(fd, text, size(rng), flags);
}

static void do_sendmsg(struct worker *w, struct rng *rng, int fd)
{
	struct iovec pieces[3] = {
		{ text, size(rng) }, { text, below(rng, 10) },
		{ text, size(rng) },
	};
	struct msghdr message = {
		.msg_iov = pieces, .msg_iovlen = 1 + below(rng, 3),
	};
	uint64_t control[6];

	if (one_in(rng, 4)) {
		struct cmsghdr *head = (void *)control;

		for (size_t at = 0; at < sizeof(control) / 8; at++)
			control[at] = rnd(rng);
		head->cmsg_len = 16 + below(rng, 33);
		head->cmsg_level = one_in(rng, 2) ? SOL_SOCKET : (int)below(rng, 50);
		head->cmsg_type = below(rng, 80);
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
	}
	sendmsg(fd, &message, pick(rng, send_flags));
}

static void do_recv(struct worker *w, struct rng *rng, int fd)
{
	int flags = one_in(rng, 32) ? (int)rnd(rng) : pick(rng, recv_flags);

	recv(fd, text, size(rng), flags);
}

static void do_recvmsg(struct worker *w, struct rng *rng, int fd)
{
	struct iovec pieces[2] = { { text, size(rng) }, { text, size(rng) } };
	uint8_t control[200];
	struct sockaddr_storage from;
	struct msghdr message = {
		.msg_name = &from, .msg_namelen = below(rng, sizeof(from)),
		.msg_iov = pieces, .msg_iovlen = below(rng, 3),
		.msg_control = control, .msg_controllen = below(rng, 200),
	};

	recvmsg(fd, &message, pick(rng, recv_flags));
}

static void do_splice(struct worker *w, struct rng *rng, int fd)
{
	int ends[2];

	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC))
		return;
	if (one_in(rng, 2)) {
		splice(fd, NULL, ends[1], NULL, size(rng), SPLICE_F_NONBLOCK);
		splice(ends[0], NULL, any_fd(w, rng), NULL, size(rng),
		       SPLICE_F_NONBLOCK | SPLICE_F_MORE);
	} else if (write(ends[1], text, 4096) > 0) {
		splice(ends[0], NULL, fd, NULL, size(rng),
		       below(rng, 8) | SPLICE_F_NONBLOCK);
	}
	close(ends[0]);
	close(ends[1]);
}

static void do_sendfile(struct worker *w, struct rng *rng, int fd)
{
	int file = memfd_create("fuzz", MFD_CLOEXEC);
	off_t at = below(rng, 5000);

	if (file < 0)
		return;
	if (!ftruncate(file, 20000))
		sendfile(fd, file, &at, size(rng));
	close(file);
}

static void do_readwrite(struct worker *w, struct rng *rng, int fd)
{
	if (one_in(rng, 2))
		(void)!write(fd, text, size(rng));
	else
		(void)!read(fd, text, size(rng));
}

/*
 * Options.
 */

static const int levels[] = {
	SOL_SOCKET, SOL_SOCKET, SOL_TCP, SOL_TCP, SOL_TCP, SOL_CFTCP,
	IPPROTO_IP, IPPROTO_IPV6, IPPROTO_RAW, 0x1234,
};

static const int tcp_options[] = {
	TCP_NODELAY, TCP_MAXSEG, TCP_CORK, TCP_KEEPIDLE, TCP_KEEPINTVL,
	TCP_KEEPCNT, TCP_SYNCNT, TCP_LINGER2, TCP_DEFER_ACCEPT,
	TCP_WINDOW_CLAMP, TCP_INFO, TCP_QUICKACK, TCP_USER_TIMEOUT,
	TCP_TIMESTAMP, TCP_NOTSENT_LOWAT, TCP_SAVE_SYN, TCP_SAVED_SYN, TCP_INQ,
};

static int option_of(struct rng *rng, int level)
{
	if (level == SOL_TCP && !one_in(rng, 4))
		return pick(rng, tcp_options);
	if (level == SOL_CFTCP)
		return below(rng, 3);
	return below(rng, 84);
}

static void do_setsockopt(struct worker *w, struct rng *rng, int fd)
{
	uint32_t value[32];
	int level = pick(rng, levels), option = option_of(rng, level);
	socklen_t len = 4;

	for (int at = 0; at < 32; at++)
		value[at] = one_in(rng, 2) ? 0 : rnd(rng);
	value[0] = odd_int(rng);
	value[1] = one_in(rng, 2) ? odd_int(rng) : 0;
	if (one_in(rng, 3))
		len = below(rng, sizeof(value));
	/* It would spin all the time that it is given. */
	if (level == SOL_SOCKET && option == SO_BUSY_POLL)
		value[0] &= 63;
	setsockopt(fd, level, option, one_in(rng, 32) ? NULL : value, len);
}

static void do_getsockopt(struct worker *w, struct rng *rng, int fd)
{
	uint8_t value[300];
	int level = pick(rng, levels);
	socklen_t len = one_in(rng, 2) ? sizeof(value) :
					 below(rng, sizeof(value));

	getsockopt(fd, level, option_of(rng, level), value, &len);
}

/* A filter that takes all, nothing, or the first octets. */
static void do_filter(struct worker *w, struct rng *rng, int fd)
{
	static const unsigned int takes[] = { 0, 20, 40, 1000, UINT_MAX };
	struct sock_filter code = BPF_STMT(BPF_RET | BPF_K, pick(rng, takes));
	struct sock_fprog program = { 1, &code };

	if (one_in(rng, 2))
		setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &program, 4);
	else
		setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program,
			   sizeof(program));
}

static void do_ioctl(struct worker *w, struct rng *rng, int fd)
{
	static const unsigned long requests[] = {
		SIOCINQ, SIOCOUTQ, SIOCATMARK, SIOCOUTQNSD, FIONREAD, FIOASYNC,
		SIOCGSTAMP_OLD, SIOCGSTAMPNS_OLD, FIOSETOWN, SIOCGPGRP,
	};
	uint8_t argument[128] = { };

	ioctl(fd, one_in(rng, 16) ? 0x8900 + below(rng, 256) :
				    pick(rng, requests), argument);
}

static void do_linger(struct worker *w, struct rng *rng, int fd)
{
	set_linger(fd, (int)below(rng, 4) - 1);
}

/*
 * What changes where a socket is.
 */

static const struct in6_addr mapped = {
	.s6_addr = { [10] = 255, 255, 10, 9, 0, 1 },
};

static socklen_t any_address(struct worker *w, struct rng *rng,
			     struct sockaddr_in6 *to)
{
	struct sockaddr_in *four = (void *)to;
	uint16_t port = one_in(rng, 3) ? rnd(rng) : w->home[below(rng, 2)].port;

	memset(to, 0, sizeof(*to));
	if (one_in(rng, 2)) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		four->sin_addr.s_addr = htonl(one_in(rng, 4) ? PEER_ADDRESS :
							       OUR_ADDRESS);
		if (one_in(rng, 8))
			four->sin_addr.s_addr = rnd(rng);
		return sizeof(*four);
	}
	to->sin6_family = AF_INET6;
	to->sin6_port = htons(port);
	memcpy(&to->sin6_addr, one_in(rng, 4) ? peer_address6 : our_address6,
	       16);
	if (one_in(rng, 4))
		to->sin6_addr = mapped;
	return one_in(rng, 16) ? below(rng, sizeof(*to)) : sizeof(*to);
}

static void do_connect(struct worker *w, struct rng *rng, int fd)
{
	struct sockaddr_in6 to;
	socklen_t len = any_address(w, rng, &to);

	connect(fd, (void *)&to, len);
}

static void do_new(struct worker *w, struct rng *rng, int fd)
{
	struct sockaddr_in6 to;
	socklen_t len = any_address(w, rng, &to);

	fd = socket(to.sin6_family, SOCK_STREAM | SOCK_CLOEXEC |
		    (one_in(rng, 4) ? 0 : SOCK_NONBLOCK), IPPROTO_CFTCP);
	if (one_in(rng, 3))
		bind(fd, (void *)&to, len);
	if (one_in(rng, 3))
		listen(fd, below(rng, 8));
	else
		connect(fd, (void *)&to, len);
	keep(w, rng, fd);
}

static void do_bind(struct worker *w, struct rng *rng, int fd)
{
	struct sockaddr_in6 to;
	socklen_t len = any_address(w, rng, &to);

	bind(fd, (void *)&to, len);
}

/* The connection to itself, or to a socket of this process. */
static void do_meet(struct worker *w, struct rng *rng, int fd)
{
	struct sockaddr_in6 to;
	socklen_t len = sizeof(to);

	if (!getsockname(any_fd(w, rng), (void *)&to, &len))
		connect(fd, (void *)&to, len);
}

static void do_listen(struct worker *w, struct rng *rng, int fd)
{
	listen(fd, odd_int(rng));
}

static void do_accept(struct worker *w, struct rng *rng, int fd)
{
	keep(w, rng, accept4(fd, NULL, NULL, SOCK_CLOEXEC |
			     (one_in(rng, 4) ? 0 : SOCK_NONBLOCK)));
}

static void do_shutdown(struct worker *w, struct rng *rng, int fd)
{
	shutdown(fd, one_in(rng, 4) ? SHUT_RD : (int)below(rng, 4));
}

static void do_disconnect(struct worker *w, struct rng *rng, int fd)
{
	struct sockaddr nowhere = { .sa_family = AF_UNSPEC };

	connect(fd, &nowhere, sizeof(nowhere));
}

static void do_close(struct worker *w, struct rng *rng, int fd)
{
	fd = atomic_exchange(any_place(w, rng), -1);
	if (fd >= 0)
		close(fd);
}

/*
 * What only looks.
 */

static void do_poll(struct worker *w, struct rng *rng, int fd)
{
	struct pollfd polls[4];

	for (int at = 0; at < 4; at++)
		polls[at] = (struct pollfd){ any_fd(w, rng), rnd(rng), 0 };
	poll(polls, 4, below(rng, 3));
}

static void do_epoll(struct worker *w, struct rng *rng, int fd)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP |
					       EPOLLET };
	int poll = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
	epoll_wait(poll, &event, 1, below(rng, 3));
	close(poll);
}

static void do_names(struct worker *w, struct rng *rng, int fd)
{
	struct sockaddr_storage name;
	socklen_t len = below(rng, sizeof(name));

	getsockname(fd, (void *)&name, &len);
	getpeername(fd, (void *)&name, &len);
}

static void do_file(struct worker *w, struct rng *rng, int fd)
{
	struct stat status;
	void *map;

	switch (below(rng, 6)) {
	case 0:
		fcntl(fd, F_SETFL, below(rng, 2) ? O_NONBLOCK : 0);
		break;
	case 1:
		fcntl(fd, F_SETOWN, getpid());
		fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK);
		break;
	case 2:
		map = mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0);
		if (map != MAP_FAILED)
			munmap(map, 8192);
		break;
	case 3:
		fstat(fd, &status);
		break;
	case 4:
		fsync(fd);
		break;
	case 5:
		lseek(fd, below(rng, 10), SEEK_SET);
		break;
	}
}

/* A second file of the same socket, which outlives the first for a moment. */
static void do_dup(struct worker *w, struct rng *rng, int fd)
{
	keep(w, rng, fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

static const struct {
	void (*call)(struct worker *w, struct rng *rng, int fd);
	int weight;
} calls[] = {
	{ do_send, 14 }, { do_sendmsg, 5 }, { do_recv, 14 }, { do_recvmsg, 5 },
	{ do_splice, 4 }, { do_sendfile, 2 }, { do_readwrite, 4 },
	{ do_setsockopt, 20 }, { do_getsockopt, 8 }, { do_filter, 2 },
	{ do_ioctl, 4 }, { do_linger, 2 }, { do_connect, 3 }, { do_new, 4 },
	{ do_bind, 1 }, { do_meet, 2 }, { do_listen, 1 }, { do_accept, 6 },
	{ do_shutdown, 1 }, { do_disconnect, 1 }, { do_close, 1 },
	{ do_poll, 3 }, { do_epoll, 2 }, { do_names, 2 }, { do_file, 2 },
	{ do_dup, 1 },
};

void random_call(struct worker *w, struct rng *rng)
{
	static int all;
	int at = 0, left;

	if (!all)
		for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
			all += calls[i].weight;
	left = below(rng, all);
	while (left >= calls[at].weight)
		left -= calls[at++].weight;
	calls[at].call(w, rng, any_fd(w, rng));
	w->tally->calls++;
}

static void interrupted(int number)
{
}

void be_interrupted(void)
{
	struct sigaction action = { .sa_handler = interrupted };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1,
		._sigev_un._tid = syscall(SYS_gettid),
	};
	struct itimerspec every = {
		.it_interval.tv_nsec = INTERRUPT_MS * 1000000,
		.it_value.tv_nsec = INTERRUPT_MS * 1000000,
	};
	timer_t timer;

	sigaction(SIGUSR1, &action, NULL);
	if (!timer_create(CLOCK_MONOTONIC, &event, &timer))
		timer_settime(timer, 0, &every, NULL);
}

void *race(void *worker)
{
	struct worker *w = worker;

	be_interrupted();
	pin((w->cpu + 1) % w->cpus);
	for (uint64_t round = 0;; round++) {
		struct rng rng = rng_of(w->seed, w->number + 1000, round);

		random_call(w, &rng);
		usleep(below(&rng, REST_US));
	}
	return NULL;
}
