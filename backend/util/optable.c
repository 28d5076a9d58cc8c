/* SPDX-License-Identifier: MIT */
#include "optable.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *field_of(const struct opt_row *row, void *base)
{
	return (char *)base + row->offset;
}

/** parse_number() - a whole or decimal number with an optional size suffix; false when it is none. */
static bool parse_number(const struct opt_row *row, const char *text, double *ret)
{
	char *end;
	double v;

	if (text[0] < '0' || text[0] > '9')
		return false;
	v = strtod(text, &end);
	if (row->type == OPT_SIZE && *end) {
		static const char suffixes[] = "kmg";
		const char *s = strchr(suffixes, *end | 0x20);
		if (!s)
			return false;
		v *= (double)(1ull << (10 * (s - suffixes + 1)));
		end++;
	}
	if (*end || !isfinite(v))
		return false;
	if (row->type != OPT_SECONDS && v != floor(v))
		return false;
	*ret = v;
	return true;
}

static void choices_text(const struct opt_row *row, char *buf, size_t size)
{
	size_t used = 0;

	buf[0] = 0;
	for (const char *const *c = row->choices; *c && used < size; c++)
		used += (size_t)snprintf(buf + used, size - used, "%s%s", c == row->choices ? "" : "|", *c);
}

static int set_number(const struct opt_row *row, void *field, const char *text, char *err, size_t err_size)
{
	double v;

	if (!parse_number(row, text, &v) || v < row->min || v > row->max) {
		snprintf(err, err_size, "option %s=%s: the value must be %s from %.15g to %.15g%s%s", row->name, text,
			 row->type == OPT_SECONDS ? "a number" : "a whole number", row->min, row->max,
			 row->unit ? " " : "", row->unit ? row->unit : "");
		return -EINVAL;
	}
	if (row->type == OPT_SECONDS)
		*(double *)field = v;
	else
		*(unsigned *)field = (unsigned)v;
	return 0;
}

static int set_choice(const struct opt_row *row, int *field, const char *text, char *err, size_t err_size)
{
	char list[200];

	for (int i = 0; row->choices[i]; i++) {
		if (!strcmp(row->choices[i], text)) {
			*field = i;
			return 0;
		}
	}
	choices_text(row, list, sizeof(list));
	snprintf(err, err_size, "option %s=%s: the value must be one of %s", row->name, text, list);
	return -EINVAL;
}

static int set_string(char **field, const char *text, char *err, size_t err_size)
{
	char *copy = strdup(text);

	if (!copy) {
		snprintf(err, err_size, "out of memory");
		return -ENOMEM;
	}
	free(*field);
	*field = copy;
	return 0;
}

static int set_value(const struct opt_row *row, void *base, const char *text, char *err, size_t err_size)
{
	void *field = field_of(row, base);

	switch (row->type) {
	case OPT_FLAG:
		*(bool *)field = true;
		return 0;
	case OPT_UINT:
	case OPT_SIZE:
	case OPT_SECONDS:
		return set_number(row, field, text, err, err_size);
	case OPT_CHOICE:
		return set_choice(row, field, text, err, err_size);
	case OPT_STRING:
		return set_string(field, text, err, err_size);
	}
	return -EINVAL;
}

void optable_defaults(const struct opt_row *rows, size_t rows_count, void *base)
{
	char err[256];

	for (size_t i = 0; i < rows_count; i++) {
		if (!rows[i].value)
			continue;
		int res = set_value(&rows[i], base, rows[i].value, err, sizeof(err));
		assert(res == 0);
		(void)res;
	}
}

int optable_parse(const struct opt_row *rows, size_t rows_count, void *base, const char *word, char *err,
		  size_t err_size)
{
	size_t name_len = strcspn(word, "=");
	const char *value = word[name_len] ? word + name_len + 1 : NULL;

	for (size_t i = 0; i < rows_count; i++) {
		const struct opt_row *row = &rows[i];

		if (row->type == OPT_FLAG && row->negatable && !value && !strncmp(word, "no", 2) &&
		    !strcmp(word + 2, row->name)) {
			*(bool *)field_of(row, base) = false;
			return (int)i;
		}
		if (strlen(row->name) != name_len || strncmp(row->name, word, name_len))
			continue;
		if ((row->type == OPT_FLAG) != !value) {
			snprintf(err, err_size, row->type == OPT_FLAG ? "option %s takes no value" : "option %s needs a value: %s=...",
				 row->name, row->name);
			return -EINVAL;
		}
		int res = set_value(row, base, value, err, err_size);
		return res < 0 ? res : (int)i;
	}
	return -ENOENT;
}

/** row_syntax() - "name=VALUE" as the help shows it. */
static void row_syntax(const struct opt_row *row, char *buf, size_t size)
{
	char list[200];

	switch (row->type) {
	case OPT_FLAG:
		snprintf(buf, size, "%s%s", row->negatable ? "[no]" : "", row->name);
		break;
	case OPT_CHOICE:
		choices_text(row, list, sizeof(list));
		snprintf(buf, size, "%s=%s", row->name, list);
		break;
	case OPT_UINT:
		snprintf(buf, size, "%s=N", row->name);
		break;
	case OPT_SIZE:
		snprintf(buf, size, "%s=BYTES", row->name);
		break;
	case OPT_SECONDS:
		snprintf(buf, size, "%s=SECONDS", row->name);
		break;
	case OPT_STRING:
		snprintf(buf, size, "%s=%s", row->name, row->unit ? row->unit : "TEXT");
		break;
	}
}

/** row_range() - " (MIN to MAX unit, default D)" or less. */
static void row_range(const struct opt_row *row, char *buf, size_t size)
{
	bool number = row->type == OPT_UINT || row->type == OPT_SIZE || row->type == OPT_SECONDS;

	buf[0] = 0;
	if (number)
		snprintf(buf, size, " (%.15g to %.15g%s%s, default %s)", row->min, row->max, row->unit ? " " : "",
			 row->unit ? row->unit : "", row->value ? row->value : "chosen");
	else if (row->value)
		snprintf(buf, size, " (default %s)", row->value);
}

void optable_help(const struct opt_row *rows, size_t rows_count, FILE *f)
{
	char syntax[256], range[256];

	for (size_t i = 0; i < rows_count; i++) {
		row_syntax(&rows[i], syntax, sizeof(syntax));
		row_range(&rows[i], range, sizeof(range));
		fprintf(f, "  %-30s %s%s%s\n", syntax, rows[i].hidden ? "[tests] " : "", rows[i].help, range);
	}
}

/** put_roff() - text with the characters that roff would interpret escaped. */
static void put_roff(const char *text, FILE *f)
{
	for (; *text; text++) {
		if (*text == '\\')
			fputs("\\e", f);
		else if (*text == '-')
			fputs("\\-", f);
		else
			fputc(*text, f);
	}
}

void optable_man(const struct opt_row *rows, size_t rows_count, FILE *f)
{
	char syntax[256], range[256];

	for (size_t i = 0; i < rows_count; i++) {
		row_syntax(&rows[i], syntax, sizeof(syntax));
		row_range(&rows[i], range, sizeof(range));
		fputs(".TP\n.B ", f);
		put_roff(syntax, f);
		fputc('\n', f);
		put_roff(rows[i].help, f);
		put_roff(range, f);
		fputs(rows[i].hidden ? ". For tests.\n" : ".\n", f);
	}
}

void optable_free(const struct opt_row *rows, size_t rows_count, void *base)
{
	for (size_t i = 0; i < rows_count; i++) {
		if (rows[i].type != OPT_STRING)
			continue;
		char **field = field_of(&rows[i], base);
		free(*field);
		*field = NULL;
	}
}
