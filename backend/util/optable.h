/* SPDX-License-Identifier: MIT */
/*
 * optable.h - options as table rows.
 *
 * One table drives parsing, the checks of ranges, --help and the manual page.
 */
#ifndef URINGFS_OPTABLE_H
#define URINGFS_OPTABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum opt_type {
	OPT_FLAG,    /* bool: `name` sets it, `noNAME` clears it where the row has .negatable */
	OPT_UINT,    /* unsigned, min..max */
	OPT_SIZE,    /* unsigned, min..max bytes, suffixes k, m, g (powers of 1024) */
	OPT_SECONDS, /* double, min..max seconds */
	OPT_CHOICE,  /* int: index into .choices */
	OPT_STRING,  /* char *, owned by the options (strdup) */
};

struct opt_row {
	const char *name;
	enum opt_type type;
	size_t offset;          /* of the field in the options structure */
	double min, max;        /* inclusive */
	const char *const *choices; /* NULL-terminated */
	const char *value;      /* default as a string, or NULL: false / unset */
	const char *unit;       /* shown in the help */
	const char *help;       /* one sentence */
	bool negatable;
	bool hidden;            /* for tests: left out of --help's short list, kept in the manual */
};

/** optable_defaults() - set every field of @base from the rows' defaults (asserts that they parse). */
void optable_defaults(const struct opt_row *rows, size_t rows_count, void *base);

/**
 * optable_parse() - one word `name`, `noname` or `name=value`
 * @err: on failure one line that names the word, what is wrong and what would be right
 * Return: index of the row; -ENOENT unknown name (err untouched); -EINVAL bad or missing value
 */
int optable_parse(const struct opt_row *rows, size_t rows_count, void *base, const char *word, char *err,
		  size_t err_size);

/** optable_help() - print one aligned entry per row to @f. */
void optable_help(const struct opt_row *rows, size_t rows_count, FILE *f);
/** optable_man() - print the rows as roff .TP entries to @f. */
void optable_man(const struct opt_row *rows, size_t rows_count, FILE *f);
/** optable_free() - free the strings in @base. */
void optable_free(const struct opt_row *rows, size_t rows_count, void *base);

#endif
