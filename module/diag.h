/* SPDX-License-Identifier: GPL-2.0 */
/* sock_diag(7): programs ask for sockets, and end them. */
#ifndef _CFTCP_DIAG_H
#define _CFTCP_DIAG_H

/**
 * cftcp_diag_register() - answer the kernel's inet_diag, if it has that
 *
 * The protocol does not fit into a request, so it is asked for by the attribute
 * INET_DIAG_REQ_PROTOCOL.
 *
 * Context: process.
 */
void cftcp_diag_register(void);
/** cftcp_diag_unregister() - the reverse. Context: process */
void cftcp_diag_unregister(void);

#endif
