/* SPDX-License-Identifier: MIT */
/* report_durability.h - what the daemon says of fsync: policy, devices, figures. Parts of report.h's output. */
#ifndef URINGFS_REPORT_DURABILITY_H
#define URINGFS_REPORT_DURABILITY_H

#include <stdio.h>

struct server;

/** report_durability_start() - log policy and device, or why there is none, of SOURCE. Thread: main. */
void report_durability_start(const struct server *srv);
/** report_durability_text() - figures, one a line. Thread: main. */
void report_durability_text(const struct server *srv, FILE *f);
/** report_durability_json() - ,"name":value... Thread: main. */
void report_durability_json(const struct server *srv, FILE *f);

#endif
