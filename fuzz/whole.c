// SPDX-License-Identifier: GPL-2.0
/*
 * Usage: whole [--seconds N] [--segments N] [--seed N] [--workers N]
 *
 * Fuzz the loaded module, as root in a machine that may crash (scripts/fuzz).
 * A worker on each CPU has a namespace, whose only link leads to a peer made by
 * hand; it keeps connections in every state and fires mutated segments and ICMP
 * errors at them. A second thread on another CPU makes system calls on the same
 * sockets, and one more process changes sysctls, links, addresses and routes,
 * and asks and destroys by sock_diag. From time to time a worker is killed.
 *
 * Ends after so many seconds, and not before so many segments arrived in each
 * state: those that the device took and that are not broken below TCP, up to
 * 16 at a time, if the kernel tells after them that the state is still the one
 * that it told when the connection was built. The exit status tells of what the
 * program itself saw go wrong; what the kernel complains of, it does not look for.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "whole.h"

#define MOST_WORKERS	32
#define PROGRESS_S	10
/* A worker is killed so often; a namespace is made and ended for it, at length. */
#define KILL_S		120
/* A process that does nothing for so long is stuck. */
#define STUCK_S		300
/* Rounds between looks at what the module counted. */
#define COUNT_ROUNDS	256

const char *const state_names[STATES] = {
#define X(name, number) #name,
	STATE_LIST(X)
#undef X
};

const uint8_t state_numbers[STATES] = {
#define X(name, number) number,
	STATE_LIST(X)
#undef X
};

static struct {
	uint64_t seconds, segments, seed, workers;
} options = { .seconds = 60 };

/* One for each worker, and the disturber's last. */
static struct tally *tallies;

/*
 * Choices: SplitMix64.
 */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

struct rng rng_of(uint64_t seed, uint64_t who, uint64_t round)
{
	return (struct rng){ mix(mix(mix(seed + 1) + who) + round) };
}

uint32_t rnd(struct rng *rng)
{
	rng->at += 0x9e3779b97f4a7c15;
	return mix(rng->at) >> 32;
}

uint32_t below(struct rng *rng, uint32_t n)
{
	return n ? (uint64_t)rnd(rng) * n >> 32 : 0;
}

bool one_in(struct rng *rng, uint32_t n)
{
	return !below(rng, n);
}

void give_up(struct tally *tally, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(tally->why, sizeof(tally->why), format, arguments);
	va_end(arguments);
	_exit(1);
}

void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/*
 * A worker.
 */

/* Where the fewest segments went, or anywhere. */
static struct conn *choose(struct worker *w)
{
	enum state state = below(&w->rng, STATES);

	if (one_in(&w->rng, 2)) {
		for (int other = 0; other < STATES; other++)
			if (w->tally->segments[other] <
			    w->tally->segments[state])
				state = other;
	}
	return &w->conns[state * COPIES + below(&w->rng, COPIES)];
}

static int shoot(struct worker *w, struct conn *c)
{
	int shots = 1 + below(&w->rng, 16), took = 0;

	while (shots--) {
		if (one_in(&w->rng, 24))
			fire_icmp(w, c);
		if (one_in(&w->rng, 40))
			random_call(w, &w->rng);
		took += fire(w, c);
		/* To listen after each would be half of all work. */
		if (one_in(&w->rng, 8))
			hear(w);
	}
	hear(w);
	return took;
}

static void play(struct worker *w)
{
	struct conn *c;
	int took;

	w->rng = rng_of(w->seed, w->number, w->round);
	c = choose(w);
	if (!c->alive) {
		if (!build(w, c)) {
			w->tally->missed[c->state]++;
			return;
		}
		w->tally->built[c->state]++;
	}
	took = shoot(w, c);
	c->alive = state_of(w, c) == state_numbers[c->state];
	/* No state is ever come back to: it was this one all the time. */
	if (c->alive)
		w->tally->segments[c->state] += took;
	/* None lives for ever. */
	c->alive &= !one_in(&w->rng, 64);
}

static void work(int number, uint64_t seed)
{
	static struct worker w;
	uint64_t counted = 0;
	pthread_t racer;

	w.number = number;
	w.seed = seed;
	w.rng = rng_of(seed, number, 0);
	w.tally = &tallies[number];
	w.cpus = sysconf(_SC_NPROCESSORS_ONLN);
	w.cpu = number % w.cpus;
	w.tap = number & 1;
	w.home[0].fd = -1;
	w.home[1].fd = -1;
	for (int i = 0; i < CONNS; i++)
		w.conns[i] = (struct conn){ .state = i / COPIES, .fd = -1 };
	for (int i = 0; i < WILD; i++)
		w.wild[i] = -1;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN);
	signal(SIGURG, SIG_IGN);
	pin(w.cpu);
	net_make(&w);
	be_interrupted();
	if (pthread_create(&racer, NULL, race, &w))
		give_up(w.tally, "no thread: %s", strerror(errno));
	w.tally->ready = 1;
	for (;; w.round++) {
		play(&w);
		w.tally->beat++;
		if (w.round % COUNT_ROUNDS)
			continue;
		w.tally->in_segs += net_in_segs() - counted;
		counted = net_in_segs();
	}
}

/*
 * The parent.
 */

static void start(int number, uint64_t generation)
{
	struct tally *tally = &tallies[number];
	pid_t pid;

	tally->ready = 0;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (number < (int)options.workers)
			work(number, options.seed + (generation << 32));
		disturb(tally, tallies, options.workers, options.seed);
	}
	tally->pid = pid;
}

static void stop(int number)
{
	tallies[number].ready = 0;
	kill(tallies[number].pid, SIGKILL);
	waitpid(tallies[number].pid, NULL, 0);
}

static uint64_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

#define total(field) ({							\
	uint64_t all = 0;						\
									\
	for (int worker = 0; worker <= (int)options.workers; worker++)	\
		all += tallies[worker].field;				\
	all;								\
})

static enum state least(void)
{
	enum state least = 0;

	for (int state = 1; state < STATES; state++)
		if (total(segments[state]) < total(segments[least]))
			least = state;
	return least;
}

static uint64_t all_segments(void)
{
	uint64_t all = 0;

	for (int state = 0; state < STATES; state++)
		all += total(segments[state]);
	return all;
}

static void progress(uint64_t passed)
{
	fprintf(stderr,
		"%llu s: %llu segments, at least %llu a state (%s), %llu calls, %llu disturbances\n",
		(unsigned long long)passed,
		(unsigned long long)all_segments(),
		(unsigned long long)total(segments[least()]),
		state_names[least()], (unsigned long long)total(calls),
		(unsigned long long)total(disturbances));
}

/* Has a process ended, or does it do nothing any more? */
static bool amiss(uint64_t passed)
{
	static struct {
		uint64_t beat, at;
	} seen[MOST_WORKERS + 1];

	for (int i = 0; i <= (int)options.workers; i++) {
		struct tally *tally = &tallies[i];
		int status;

		if (waitpid(tally->pid, &status, WNOHANG) > 0) {
			fprintf(stderr, "process %d ended, status %#x: %s\n", i,
				status, tally->why);
			return true;
		}
		if (tally->beat != seen[i].beat) {
			seen[i].beat = tally->beat;
			seen[i].at = passed;
		} else if (passed - seen[i].at > STUCK_S) {
			fprintf(stderr, "process %d does nothing for %d s\n",
				i, STUCK_S);
			return true;
		}
	}
	return false;
}

static void table(void)
{
	printf("%-14s %12s %12s %12s\n", "state", "segments", "built",
	       "not reached");
	for (int state = 0; state < STATES; state++)
		printf("%-14s %12llu %12llu %12llu\n", state_names[state],
		       (unsigned long long)total(segments[state]),
		       (unsigned long long)total(built[state]),
		       (unsigned long long)total(missed[state]));
	printf("\n%llu segments the module saw, %llu ICMP errors, %llu system calls, %llu disturbances\n",
	       (unsigned long long)total(in_segs),
	       (unsigned long long)total(icmp),
	       (unsigned long long)total(calls),
	       (unsigned long long)total(disturbances));
	printf("%llu segments, at least %llu a state\n",
	       (unsigned long long)all_segments(),
	       (unsigned long long)total(segments[least()]));
}

static bool run(void)
{
	struct rng rng = rng_of(options.seed, 3000, 0);
	uint64_t began = now_s(), passed = 0, generation = 0;
	bool fine = true;

	enable_tracepoints();
	for (int i = 0; i <= (int)options.workers; i++)
		start(i, 0);
	while (fine && (passed < options.seconds ||
			total(segments[least()]) < options.segments)) {
		uint64_t before = passed;
		int victim;

		sleep(1);
		passed = now_s() - began;
		if (passed / PROGRESS_S != before / PROGRESS_S)
			progress(passed);
		fine = !amiss(passed);
		if (fine && passed / KILL_S != before / KILL_S) {
			victim = below(&rng, options.workers);
			stop(victim);
			start(victim, ++generation);
		}
	}
	for (int i = 0; i <= (int)options.workers; i++)
		stop(i);
	return fine;
}

static void parse(int argc, char **argv)
{
	static const struct option names[] = {
		{ "seconds", required_argument, NULL, 0 },
		{ "segments", required_argument, NULL, 1 },
		{ "seed", required_argument, NULL, 2 },
		{ "workers", required_argument, NULL, 3 },
		{ },
	};
	uint64_t *values[] = {
		&options.seconds, &options.segments, &options.seed,
		&options.workers,
	};
	int which;

	options.seed = time(NULL);
	options.workers = sysconf(_SC_NPROCESSORS_ONLN);
	while ((which = getopt_long(argc, argv, "", names, NULL)) >= 0) {
		if (which > 3) {
			fprintf(stderr, "usage: whole [--seconds N] [--segments N] [--seed N] [--workers N]\n");
			exit(2);
		}
		*values[which] = strtoull(optarg, NULL, 0);
	}
	if (!options.workers || options.workers > MOST_WORKERS)
		options.workers = MOST_WORKERS;
}

int main(int argc, char **argv)
{
	bool fine;

	parse(argc, argv);
	tallies = mmap(NULL, (options.workers + 1) * sizeof(*tallies),
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		       0);
	if (tallies == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	fprintf(stderr, "seed %llu, %llu workers\n", (unsigned long long)options.seed,
		(unsigned long long)options.workers);
	fine = run();
	table();
	return fine ? 0 : 1;
}
