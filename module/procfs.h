/* SPDX-License-Identifier: GPL-2.0 */
/* /proc/net/cftcp, in the format of /proc/net/tcp, and /proc/net/cftcp_stat. */
#ifndef _CFTCP_PROCFS_H
#define _CFTCP_PROCFS_H

struct cftcp_net;

/** cftcp_procfs_init() - Return: 0 or -ENOMEM. Context: process */
int cftcp_procfs_init(struct cftcp_net *cn);
/** cftcp_procfs_exit() - remove both files, wait for readers */
void cftcp_procfs_exit(struct cftcp_net *cn);

#endif
