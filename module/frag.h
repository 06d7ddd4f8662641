/* SPDX-License-Identifier: GPL-2.0 */
/* The pages that text is copied to, used again when nobody else has them. */
#ifndef _CFTCP_FRAG_H
#define _CFTCP_FRAG_H

#include <linux/types.h>

struct page_frag;
struct sock;

/**
 * cftcp_frag_refill() - as sk_page_frag_refill(), with used pages first
 * @sk: the socket, lock held
 * @frag: its sk_page_frag()
 *
 * Context: process
 * Return: true when there is room in @frag for at least 32 octets.
 */
bool cftcp_frag_refill(struct sock *sk, struct page_frag *frag);

/** cftcp_frag_stop() - give all pages back, after the last socket */
void cftcp_frag_stop(void);

#endif
