/* SPDX-License-Identifier: GPL-2.0 */
/* make fuzz: what its parts share. See whole.c. */
#ifndef CFTCP_FUZZ_WHOLE_H
#define CFTCP_FUZZ_WHOLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../module/uapi/cftcp.h"

/* X(name, what the kernel calls it) */
#define STATE_LIST(X)			\
	X(LISTEN, 10)			\
	X(SYN_SENT, 2)			\
	X(SYN_RECEIVED, 3)		\
	X(ESTABLISHED, 1)		\
	X(FIN_WAIT_1, 4)		\
	X(FIN_WAIT_2, 5)		\
	X(CLOSE_WAIT, 8)		\
	X(CLOSING, 11)			\
	X(LAST_ACK, 9)			\
	X(TIME_WAIT, 6)			\
	X(CLOSED, 7)

enum state {
#define X(name, number) name,
	STATE_LIST(X)
#undef X
	STATES
};

/* Connections of a worker in a state, half of them of each family. */
#define COPIES		4
#define CONNS		(STATES * COPIES)
/* Sockets that are in no state in particular. */
#define WILD		16
#define FIRST_PORT	1024
/* What of a packet an ICMP error quotes, at most. */
#define QUOTE		128

/*
 * Choices. A source is made of the seed and of where in the run the choices
 * are, so that they repeat whatever was chosen elsewhere.
 */
struct rng {
	uint64_t at;
};

struct rng rng_of(uint64_t seed, uint64_t who, uint64_t round);
uint32_t rnd(struct rng *rng);
/** below() - 0 to @n - 1 */
uint32_t below(struct rng *rng, uint32_t n);
bool one_in(struct rng *rng, uint32_t n);
#define pick(rng, list) ((list)[below(rng, sizeof(list) / sizeof((list)[0]))])

/**
 * struct tally - what one process did, in memory that all of them see
 * @segments: that arrived in a state
 * @built: connections that were brought to a state
 * @missed: those that did not get there
 * @in_segs: segments that the module counted in the worker's namespace
 * @beat: grows while the process lives
 */
struct tally {
	_Atomic uint64_t segments[STATES], built[STATES], missed[STATES];
	_Atomic uint64_t calls, icmp, disturbances, in_segs, beat;
	_Atomic pid_t pid;
	/* the namespace is made */
	_Atomic int ready;
	/* why the process ended before it was told to */
	char why[128];
};

/**
 * struct conn - a connection of the worker's, seen from the hand-made peer
 * @fd: our end, -1 when there is none any more; the racer may close it
 * @alive: it was brought to its state and not seen to leave it
 * @six: the segments are of IPv6
 * @lport: port of the module's end, 0 as long as it is not known
 * @rport: the peer's port
 * @nxt: the next number that the module wants of the peer
 * @una: what the peer acknowledged
 * @rcv: the next number that the module will send
 * @iss: the peer's first number
 * @irs: the module's first number
 * @window: what the module lets the peer send
 * @shift: scale of that
 * @ts: there are timestamps, @ts_recent is the module's last
 * @sack: there is SACK
 * @scaled: the peer's SYN scales windows
 * @finished: the module has sent its FIN
 * @quote: how its last packet began, @quoted octets
 */
struct conn {
	enum state state;
	_Atomic int fd;
	bool alive, six, ts, sack, scaled, finished;
	uint8_t shift;
	uint16_t lport, rport;
	uint32_t nxt, una, rcv, iss, irs, window, ts_recent;
	int quoted;
	uint8_t quote[QUOTE];
};

/**
 * struct worker - a process with a namespace of its own
 * @tun: the device that leads to the peer
 * @tap: its frames have an Ethernet header, and come in by NAPI in pieces
 * @diag: a sock_diag socket
 * @clock: of the peer's timestamps
 * @home: a listener of each family that brings connections to their states
 */
struct worker {
	int number, cpu, cpus;
	uint64_t seed, round;
	int tun, diag;
	uint32_t clock;
	bool tap;
	uint8_t mac[6];
	struct conn conns[CONNS];
	_Atomic int wild[WILD];
	struct {
		int fd;
		uint16_t port;
	} home[2];
	struct rng rng;
	struct tally *tally;
};

/* whole.c */
extern const char *const state_names[STATES];
extern const uint8_t state_numbers[STATES];
/** give_up() - end this process, and the run, because of what happened */
void give_up(struct tally *tally, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));
void pin(int cpu);

/* whole_net.c */
#define DEVICE		"fuzz0"
#define OUR_ADDRESS	0x0a090001
#define PEER_ADDRESS	0x0a090009
extern const uint8_t our_address6[16], peer_address6[16];
void net_make(struct worker *w);
/** net_loopback() - set lo up, in a namespace that has nothing else */
void net_loopback(void);
/** net_up() - set the device up, with its addresses, or down */
void net_up(bool up);
/** net_address() - add or remove the address of a family */
void net_address(bool six, bool add);
void net_mtu(const char *device, int mtu);
void net_queue_length(int packets);
void net_route(bool add);
/** net_in_segs() - InSegs of /proc/net/cftcp_stat */
uint64_t net_in_segs(void);
/**
 * diag_ask() - ask sock_diag for a connection, or for its end
 *
 * Return: its state as the kernel numbers it, 0 if there is none.
 */
int diag_ask(int diag, const struct conn *c, bool destroy);

/* whole_peer.c */
/** hear() - read all that the module has sent */
void hear(struct worker *w);
/** build() - bring a connection to its state; true if it is there */
bool build(struct worker *w, struct conn *c);
/** state_of() - the state that the kernel tells, as the kernel numbers it */
int state_of(struct worker *w, struct conn *c);
void set_linger(int fd, int seconds);

/* whole_segment.c */
#define MAX_OPTIONS	40
struct segment {
	uint32_t seq, ack;
	uint16_t sport, dport, win, urg;
	uint8_t flags, doff;
	uint8_t options[MAX_OPTIONS];
	int option_len, len;
	/* something is wrong with its checksum, or below TCP */
	bool odd;
};

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };

/** plain() - what a peer that is in order would send */
struct segment plain(struct worker *w, struct conn *c, uint8_t flags, int len);
/** emit() - put a segment into the device; true if it took it */
bool emit(struct worker *w, struct conn *c, const struct segment *s);
/** fire() - a mutated segment at a connection; true if the device took it */
bool fire(struct worker *w, struct conn *c);
/** fire_icmp() - an ICMP error about what the connection has sent */
void fire_icmp(struct worker *w, struct conn *c);

/* whole_call.c */
/** random_call() - a system call on a socket of the worker's */
void random_call(struct worker *w, struct rng *rng);
/** race() - the thread that makes system calls beside the segments */
void *race(void *worker);
/** be_interrupted() - nothing blocks the calling thread for long */
void be_interrupted(void);

/* whole_disturb.c */
/** enable_tracepoints() - all of cftcp's, to be recorded from time to time */
void enable_tracepoints(void);
/** disturb() - the process that changes the world around the workers */
void disturb(struct tally *tally, struct tally *workers, int count,
	     uint64_t seed) __attribute__((noreturn));

#endif
