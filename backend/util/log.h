/* SPDX-License-Identifier: MIT */
/*
 * log.h - messages to stderr or, in the background, to syslog.
 *
 * Only the start and stop code, the session and the mount helper log; backend/
 * returns errors instead. Never on the data path, except tracing (-d).
 */
#ifndef URINGFS_LOG_H
#define URINGFS_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_TRACE };

/** log_init() - @program names the lines; @trace turns LOG_LEVEL_TRACE on. Thread: main, first. */
void log_init(const char *program, bool trace);
/** log_to_syslog() - from now on to syslog(3) instead of stderr. Thread: main, before others exist. */
void log_to_syslog(void);
/** log_tracing() - whether trace messages are wanted. */
bool log_tracing(void);
/** log_message() - one line, without a newline at its end. Thread: any. */
void log_message(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_trace(...)                                              \
	do {                                                        \
		if (log_tracing())                                  \
			log_message(LOG_LEVEL_TRACE, __VA_ARGS__); \
	} while (0)

#endif
