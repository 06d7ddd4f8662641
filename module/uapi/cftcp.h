/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/* What programs include to use cftcp; everything else is <netinet/tcp.h>. */
#ifndef _UAPI_CFTCP_H
#define _UAPI_CFTCP_H

/* socket(AF_INET or AF_INET6, SOCK_STREAM, IPPROTO_CFTCP) */
#define IPPROTO_CFTCP	257

/* Level of the options that only cftcp has. */
#define SOL_CFTCP	1257

/* int, ms: maximum segment lifetime of this connection; TIME-WAIT lasts twice
 * that. 0 (the default) follows net.cftcp.msl_ms. Inherited by accept().
 */
#define CFTCP_MSL	1

#endif
