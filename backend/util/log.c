/* SPDX-License-Identifier: MIT */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

static struct {
	const char *program;
	bool trace, to_syslog;
} state = { .program = "uringfs" };

void log_init(const char *program, bool trace)
{
	state.program = program;
	state.trace = trace;
}

void log_to_syslog(void)
{
	openlog(state.program, LOG_PID, LOG_DAEMON);
	state.to_syslog = true;
}

bool log_tracing(void)
{
	return state.trace;
}

void log_message(enum log_level level, const char *format, ...)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	char line[2048];
	va_list ap;

	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (state.to_syslog)
		syslog(priority[level], "%s", line);
	else
		dprintf(STDERR_FILENO, "%s: %s\n", state.program, line); /* one write: lines of threads do not mix */
}
