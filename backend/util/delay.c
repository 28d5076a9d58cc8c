/* SPDX-License-Identifier: MIT */
#include "delay.h"

#ifdef URINGFS_FAULT_INJECTION
#include <sched.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#define SLEEP_MAX_NS 3000000u

static bool is_on;

void delay_points(bool on)
{
	is_on = on;
}

void delay_point(void)
{
	static _Thread_local uint64_t state;
	struct timespec pause = { 0 };

	if (!is_on)
		return;
	if (!state)
		state = (uint64_t)gettid() * 0x9e3779b97f4a7c15u | 1;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	if (state % 16 == 0) {
		pause.tv_nsec = (long)((state >> 8) % SLEEP_MAX_NS);
		(void)nanosleep(&pause, NULL); /* interrupted: a shorter one */
	} else if (state % 4 == 0) {
		(void)sched_yield(); /* cannot fail */
	}
}
#endif
