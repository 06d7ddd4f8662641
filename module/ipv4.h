/* SPDX-License-Identifier: GPL-2.0 */
/* What IPv6 sockets need of IPv4: they carry mapped addresses too. */
#ifndef _CFTCP_IPV4_H
#define _CFTCP_IPV4_H

struct sock;

/**
 * cftcp_ipv4_route_to() - route and local address of an active open
 * @sk: the socket, lock held; inet_daddr and inet_dport are set
 *
 * Context: process.
 * Return: 0, -ENETUNREACH, -EHOSTUNREACH, -EADDRNOTAVAIL, ...
 */
int cftcp_ipv4_route_to(struct sock *sk);

#endif
