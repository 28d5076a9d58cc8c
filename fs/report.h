/* SPDX-License-Identifier: MIT */
/*
 * report.h - what the daemon says of itself: the start line and the statistics.
 */
#ifndef URINGFS_REPORT_H
#define URINGFS_REPORT_H

#include <stdio.h>

struct server;

/** report_start() - log the start lines: transport, rings, features in use, missing and denied, durability policy. */
void report_start(const struct server *srv);
/** report_text() - statistics for people. Thread: main. */
void report_text(const struct server *srv, FILE *f);
/** report_json() - the same on one line. */
void report_json(const struct server *srv, FILE *f);
/** report_write() - both, to stats_file if it is set, else to stderr (foreground) or the log. */
void report_write(const struct server *srv);

#endif
