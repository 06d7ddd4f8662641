// SPDX-License-Identifier: GPL-2.0
/*
 * Preloaded by scripts/cftcpize: what a program opens as a TCP socket becomes a
 * cftcp one, and goes on to say that it is TCP.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#include "../module/uapi/cftcp.h"

static bool is_tcp(int domain, int type, int protocol)
{
	return (domain == AF_INET || domain == AF_INET6) &&
	       (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM &&
	       (protocol == 0 || protocol == IPPROTO_TCP);
}

/* The module has gone, or net.cftcp.enabled is 0. */
static bool no_cftcp(int error)
{
	return error == EPROTONOSUPPORT || error == ENOPROTOOPT ||
	       error == ESOCKTNOSUPPORT;
}

static void fall_back(void)
{
	static bool said;

	if (getenv("CFTCPIZE_STRICT")) {
		dprintf(STDERR_FILENO, "cftcpize: %s: no cftcp any more\n",
			program_invocation_short_name);
		_exit(1);
	}
	if (!said)
		dprintf(STDERR_FILENO,
			"cftcpize: %s: no cftcp any more, going on with stock TCP\n",
			program_invocation_short_name);
	said = true;
}

int socket(int domain, int type, int protocol)
{
	int (*next)(int domain, int type, int protocol) =
		dlsym(RTLD_NEXT, "socket");
	int fd;

	if (!is_tcp(domain, type, protocol))
		return next(domain, type, protocol);
	fd = next(domain, type, IPPROTO_CFTCP);
	if (fd >= 0 || !no_cftcp(errno))
		return fd;
	fall_back();
	return next(domain, type, protocol);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	int (*next)(int fd, int level, int name, void *value, socklen_t *size) =
		dlsym(RTLD_NEXT, "getsockopt");
	int error = next(fd, level, name, value, size);

	if (!error && level == SOL_SOCKET && name == SO_PROTOCOL &&
	    *size == sizeof(int) && *(int *)value == IPPROTO_CFTCP)
		*(int *)value = IPPROTO_TCP;
	return error;
}
