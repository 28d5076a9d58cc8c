/*
 * stress.h - what the stress programs share: a seeded generator, data patterns, time
 *
 * Everything random comes from struct rng, so the same seed gives the same run.
 */
#ifndef TESTS_STRESS_STRESS_H
#define TESTS_STRESS_STRESS_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { EXIT_PASS = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SKIP = 77 };

struct rng {
	uint64_t state;
};

static inline uint64_t stress_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static inline uint64_t rng_next(struct rng *r)
{
	r->state += 0x9e3779b97f4a7c15ULL;
	return stress_mix(r->state);
}

static inline uint64_t rng_below(struct rng *r, uint64_t limit)
{
	return limit ? rng_next(r) % limit : 0;
}

/* Bytes that depend on the writer's tag and on the file offset: a shifted or stale block never matches. */
static inline void stress_fill(uint8_t *buf, uint64_t tag, uint64_t offset, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t at = offset + i;
		uint64_t word = stress_mix(tag * 0x10001ULL + at / 8);

		buf[i] = (uint8_t)((word >> (at % 8 * 8)) | 1);
	}
}

static inline double stress_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static inline void stress_pause_us(long us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};

	(void)nanosleep(&ts, NULL); /* a shorter pause is as good */
}

/* A number from the command line, or exit with the usage status. */
static inline uint64_t stress_number(const char *opt, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || end == text || *end || v < min || v > max) {
		fprintf(stderr, "%s: '%s' is not a number from %llu to %llu\n", opt, text,
			(unsigned long long)min, (unsigned long long)max);
		exit(EXIT_USAGE);
	}
	return v;
}

static inline void *stress_alloc(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p) {
		fprintf(stderr, "out of memory\n");
		exit(EXIT_USAGE);
	}
	return p;
}

#endif
