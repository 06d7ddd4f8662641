// SPDX-License-Identifier: GPL-2.0
/*
 * blast DEVICE COUNT [FIELD START STEP]... <FRAME
 *
 * Send a TCP segment, an Ethernet frame of IPv4 or IPv6, COUNT times from DEVICE,
 * as fast as it goes. Of the n-th copy FIELD is START + n * STEP, modulo its
 * size: seq, ack, sport, saddr (the last 32 bits of the address), or a number: the
 * 32 bits at that offset of the segment. Checksums follow. Prints how many
 * nanoseconds it took.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64
#define LONGEST 2048
#define FIELDS 4

struct field {
	int at, size;
	uint32_t start, step;
};

static unsigned char frame[LONGEST];
static int ip4, tcp;	/* where the headers are; ip4 is 0 for IPv6 */

static void find_headers(int length)
{
	int v4 = frame[12] == 0x08;

	ip4 = v4 ? 14 : 0;
	tcp = v4 ? 14 + 4 * (frame[14] & 15) : 14 + 40;
	if (length < tcp + 20)
		errx(2, "a frame of %d octets is no segment", length);
}

static struct field field(const char *name, const char *start, const char *step)
{
	struct field f = { .start = strtoul(start, NULL, 0),
			   .step = strtoul(step, NULL, 0) };

	if (!strcmp(name, "seq"))
		f.at = tcp + 4, f.size = 4;
	else if (!strcmp(name, "ack"))
		f.at = tcp + 8, f.size = 4;
	else if (!strcmp(name, "sport"))
		f.at = tcp, f.size = 2;
	else if (!strcmp(name, "saddr"))
		f.at = ip4 ? ip4 + 12 : 14 + 8 + 12, f.size = 4;
	else
		f.at = tcp + atoi(name), f.size = 4;
	return f;
}

/* RFC 1624: the checksum when a word of what it sums up has changed. */
static void adjust(unsigned char *sum, uint16_t old, uint16_t new)
{
	uint32_t s = (uint16_t)~(sum[0] << 8 | sum[1]);

	s += (uint16_t)~old + new;
	s = (s & 0xffff) + (s >> 16);
	s += s >> 16;
	sum[0] = ~s >> 8;
	sum[1] = ~s;
}

static void put(unsigned char *at, const struct field *f, uint32_t value)
{
	for (int i = 0; i < f->size; i += 2) {
		unsigned char *word = at + f->at + i;
		uint16_t new = value >> (8 * (f->size - 2 - i));

		adjust(at + tcp + 16, word[0] << 8 | word[1], new);
		if (ip4 && f->at < tcp)
			adjust(at + ip4 + 10, word[0] << 8 | word[1], new);
		word[0] = new >> 8;
		word[1] = new;
	}
}

static int open_device(const char *name)
{
	struct sockaddr_ll ll = { .sll_family = AF_PACKET,
				  .sll_ifindex = if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&ll, sizeof(ll)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)))
		err(1, "%s", name);
	return fd;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	static unsigned char copies[BATCH][LONGEST];
	struct mmsghdr messages[BATCH] = {};
	struct iovec parts[BATCH];
	struct field fields[FIELDS];
	int count = 0, length, fd;
	uint64_t began, total;

	if (argc < 3 || (argc - 3) % 3 || (argc - 3) / 3 > FIELDS)
		errx(2, "usage: blast DEVICE COUNT [FIELD START STEP]... <FRAME");
	length = read(STDIN_FILENO, frame, sizeof(frame));
	find_headers(length);
	for (int i = 3; i < argc; i += 3)
		fields[count++] = field(argv[i], argv[i + 1], argv[i + 2]);
	fd = open_device(argv[1]);
	for (int i = 0; i < BATCH; i++) {
		memcpy(copies[i], frame, length);
		parts[i] = (struct iovec){ copies[i], length };
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}

	total = strtoul(argv[2], NULL, 0);
	began = now();
	for (uint64_t n = 0; n < total;) {
		int batch = total - n < BATCH ? total - n : BATCH;

		for (int i = 0; i < batch; i++)
			for (int f = 0; f < count; f++)
				put(copies[i], &fields[f], fields[f].start +
				    (uint32_t)(n + i) * fields[f].step);
		batch = sendmmsg(fd, messages, batch, 0);
		if (batch < 0)
			err(1, "sendmmsg");
		n += batch;
	}
	printf("%llu\n", (unsigned long long)(now() - began));
	return 0;
}
