// SPDX-License-Identifier: GPL-2.0
/* The namespace of a worker: its device, its addresses, sock_diag. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <linux/if_tun.h>
#include <linux/inet_diag.h>
#include <linux/ipv6.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "whole.h"

const uint8_t our_address6[16] = { 0xfd, 9, [15] = 1 };
const uint8_t peer_address6[16] = { 0xfd, 9, [15] = 9 };

static int control(int family, unsigned long request, void *argument)
{
	int fd = socket(family, SOCK_DGRAM, 0);
	int err = ioctl(fd, request, argument);

	close(fd);
	return err;
}

static struct ifreq request_for(const char *device)
{
	struct ifreq request = { };

	snprintf(request.ifr_name, IFNAMSIZ, "%s", device);
	return request;
}

static void set_flags(const char *device, bool up)
{
	struct ifreq request = request_for(device);

	control(AF_INET, SIOCGIFFLAGS, &request);
	if (strcmp(device, "lo"))
		request.ifr_flags |= IFF_NOARP;
	if (up)
		request.ifr_flags |= IFF_UP;
	else
		request.ifr_flags &= ~IFF_UP;
	control(AF_INET, SIOCSIFFLAGS, &request);
}

static void set_ipv4(unsigned long what, uint32_t value)
{
	struct ifreq request = request_for(DEVICE);
	struct sockaddr_in *address = (void *)&request.ifr_addr;

	address->sin_family = AF_INET;
	address->sin_addr.s_addr = htonl(value);
	control(AF_INET, what, &request);
}

void net_address(bool six, bool add)
{
	/* <linux/ipv6.h> and <netinet/in.h> both have an in6_ifreq at heart. */
	struct in6_ifreq request = { .ifr6_prefixlen = 64 };

	if (six) {
		memcpy(&request.ifr6_addr, our_address6, 16);
		request.ifr6_ifindex = if_nametoindex(DEVICE);
		control(AF_INET6, add ? SIOCSIFADDR : SIOCDIFADDR, &request);
	} else if (add) {
		set_ipv4(SIOCSIFADDR, OUR_ADDRESS);
		set_ipv4(SIOCSIFNETMASK, 0xffffff00);
	} else {
		set_ipv4(SIOCSIFADDR, 0);
	}
}

void net_up(bool up)
{
	set_flags(DEVICE, up);
	/* The one of IPv6 went with the link. */
	if (up)
		net_address(true, true);
}

void net_mtu(const char *device, int mtu)
{
	struct ifreq request = request_for(device);

	request.ifr_mtu = mtu;
	control(AF_INET, SIOCSIFMTU, &request);
}

void net_queue_length(int packets)
{
	struct ifreq request = request_for(DEVICE);

	request.ifr_qlen = packets;
	control(AF_INET, SIOCSIFTXQLEN, &request);
}

/* A route of its own to the peer, which is on the link anyway. */
void net_route(bool add)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(PEER_ADDRESS),
	};
	struct sockaddr_in mask = {
		.sin_family = AF_INET, .sin_addr.s_addr = 0xffffffff,
	};
	struct rtentry route = {
		.rt_flags = RTF_UP | RTF_HOST | RTF_MTU,
		.rt_dev = DEVICE, .rt_mtu = 600,
	};

	memcpy(&route.rt_dst, &to, sizeof(to));
	memcpy(&route.rt_genmask, &mask, sizeof(mask));
	control(AF_INET, add ? SIOCADDRT : SIOCDELRT, &route);
}

static void make_device(struct worker *w)
{
	struct ifreq request = request_for(DEVICE);
	int size = 10;

	w->tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (w->tun < 0)
		give_up(w->tally, "/dev/net/tun: %s", strerror(errno));
	request.ifr_flags = IFF_NO_PI | IFF_VNET_HDR |
		(w->tap ? IFF_TAP | IFF_NAPI | IFF_NAPI_FRAGS : IFF_TUN);
	if (ioctl(w->tun, TUNSETIFF, &request) ||
	    ioctl(w->tun, TUNSETVNETHDRSZ, &size))
		give_up(w->tally, "no device: %s", strerror(errno));
	/* Segments may leave in one piece, as to a card that cuts them. */
	if (w->number & 2)
		ioctl(w->tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 |
					     TUN_F_TSO6);
	if (w->tap) {
		request = request_for(DEVICE);
		control(AF_INET, SIOCGIFHWADDR, &request);
		memcpy(w->mac, request.ifr_hwaddr.sa_data, sizeof(w->mac));
	}
}

void net_loopback(void)
{
	set_flags("lo", true);
}

void net_make(struct worker *w)
{
	if (unshare(CLONE_NEWNET))
		give_up(w->tally, "no namespace: %s", strerror(errno));
	make_device(w);
	net_loopback();
	net_up(true);
	net_address(false, true);
	w->diag = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC,
			 NETLINK_SOCK_DIAG);
}

uint64_t net_in_segs(void)
{
	FILE *file = fopen("/proc/self/net/cftcp_stat", "r");
	unsigned long long value = 0;
	char name[64];

	while (file && fscanf(file, "%63s %llu", name, &value) == 2 &&
	       strcmp(name, "InSegs"))
		;
	if (file)
		fclose(file);
	return value;
}

/*
 * sock_diag.
 */

struct diag_request {
	struct nlmsghdr head;
	struct inet_diag_req_v2 body;
	struct nlattr attribute;
	uint32_t protocol;
};

static void put_address(__be32 *to, uint32_t four, const uint8_t *six)
{
	if (six)
		memcpy(to, six, 16);
	else
		to[0] = htonl(four);
}

int diag_ask(int diag, const struct conn *c, bool destroy)
{
	struct diag_request request = {
		.head = {
			.nlmsg_len = sizeof(request),
			.nlmsg_type = destroy ? SOCK_DESTROY :
						SOCK_DIAG_BY_FAMILY,
			.nlmsg_flags = NLM_F_REQUEST |
				       (destroy ? NLM_F_ACK : 0),
		},
		.body = {
			.sdiag_family = c->six ? AF_INET6 : AF_INET,
			.idiag_states = -1,
			.id = {
				.idiag_sport = htons(c->lport),
				.idiag_dport = htons(c->rport),
				.idiag_cookie = { INET_DIAG_NOCOOKIE,
						  INET_DIAG_NOCOOKIE },
			},
		},
		.attribute = { 8, INET_DIAG_REQ_PROTOCOL },
		.protocol = IPPROTO_CFTCP,
	};
	union {
		struct nlmsghdr head;
		uint8_t octets[8192];
	} answer;
	const struct inet_diag_msg *found = NLMSG_DATA(&answer.head);

	put_address(request.body.id.idiag_src, OUR_ADDRESS,
		    c->six ? our_address6 : NULL);
	put_address(request.body.id.idiag_dst, PEER_ADDRESS,
		    c->six ? peer_address6 : NULL);
	if (send(diag, &request, sizeof(request), 0) < 0 ||
	    recv(diag, &answer, sizeof(answer), 0) < (ssize_t)NLMSG_HDRLEN ||
	    answer.head.nlmsg_type != SOCK_DIAG_BY_FAMILY)
		return 0;
	/* Asked for a connection, it may answer by the listener. */
	return found->id.idiag_dport == htons(c->rport) ? found->idiag_state :
							  0;
}
