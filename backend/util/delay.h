/* SPDX-License-Identifier: MIT */
/*
 * delay.h - tests: points between two steps of a protocol between threads, where a thread may be held up.
 *
 * Where one thread goes to sleep and another wakes it, what may go wrong needs one of them to stand still for a moment between two
 * instructions. Built with -Dfault_injection=true and mounted with fault=delays it does, at random; else nothing is left of them.
 */
#ifndef URINGFS_DELAY_H
#define URINGFS_DELAY_H

#ifdef URINGFS_FAULT_INJECTION
#include <stdbool.h>

/** delay_points() - switch them on or off. Thread: main, before others are made. */
void delay_points(bool on);
/** delay_point() - one time in 16 a sleep of up to 3 ms, one time in 4 the CPU is given up. Thread: any. */
void delay_point(void);
#else
static inline void delay_point(void)
{
}
#endif

#endif
