/* SPDX-License-Identifier: MIT */
/* test_fs_optable.c - options as table rows: every type, ends of ranges, messages, help and manual. */
#include <errno.h>

#include "backend/util/optable.h"
#include "tests/unit/test.h"

struct fields {
	bool flag, fixed;
	unsigned number, size;
	double seconds;
	int choice;
	char *text;
};

static const char *const choices[] = { "one", "two", NULL };
static const struct opt_row rows[] = {
	{ "flag", OPT_FLAG, offsetof(struct fields, flag), .negatable = true, .value = "on", .help = "A flag" },
	{ "fixed", OPT_FLAG, offsetof(struct fields, fixed), .help = "Not negatable" },
	{ "number", OPT_UINT, offsetof(struct fields, number), 2, 10, .value = "5", .unit = "things", .help = "A number" },
	{ "size", OPT_SIZE, offsetof(struct fields, size), 1024, 1 << 30, .value = "4k", .help = "A size" },
	{ "seconds", OPT_SECONDS, offsetof(struct fields, seconds), 0, 60, .value = "1.5", .help = "A time" },
	{ "choice", OPT_CHOICE, offsetof(struct fields, choice), .choices = choices, .value = "two", .help = "A choice" },
	{ "text", OPT_STRING, offsetof(struct fields, text), .hidden = true, .help = "A back\\slash and-dash" },
};
#define COUNT (sizeof(rows) / sizeof(rows[0]))

static const struct {
	const char *word;
	int res; /* -1: any row */
	const char *in_error;
} words[] = {
	{ "flag", 0, NULL }, { "noflag", 0, NULL }, { "flag=1", -EINVAL, "flag" }, { "noflag=1", -ENOENT, NULL },
	{ "fixed", 1, NULL }, { "nofixed", -ENOENT, NULL }, { "fixed=", -EINVAL, "fixed" },
	{ "number=2", 2, NULL }, { "number=10", 2, NULL }, { "number=1", -EINVAL, "number=1" }, { "number=11", -EINVAL, "2 to 10 things" },
	{ "number", -EINVAL, "number" }, { "number=", -EINVAL, "number=" }, { "number=3.5", -EINVAL, "whole" }, { "number=-3", -EINVAL, "-3" },
	{ "number= 3", -EINVAL, "number" }, { "number=3x", -EINVAL, "3x" }, { "number=+3", -EINVAL, "+3" }, { "number=nan", -EINVAL, "nan" },
	{ "number=1e99", -EINVAL, "1e99" }, { "number=0x3", 2, NULL }, { "number=99999999999999999999", -EINVAL, "number" },
	{ "size=1k", 3, NULL }, { "size=1024", 3, NULL }, { "size=1023", -EINVAL, "size=1023" }, { "size=1g", 3, NULL }, { "size=1G", 3, NULL },
	{ "size=1073741825", -EINVAL, "size" }, { "size=1t", -EINVAL, "1t" }, { "size=k", -EINVAL, "size=k" }, { "size=1kk", -EINVAL, "1kk" },
	{ "size=1.5k", 3, NULL }, { "size=1.5", -EINVAL, "1.5" },
	{ "seconds=0", 4, NULL }, { "seconds=60", 4, NULL }, { "seconds=60.001", -EINVAL, "seconds" }, { "seconds=-1", -EINVAL, "-1" },
	{ "seconds=inf", -EINVAL, "inf" }, { "seconds=0.25", 4, NULL },
	{ "choice=one", 5, NULL }, { "choice=three", -EINVAL, "one|two" }, { "choice", -EINVAL, "choice" }, { "choice=", -EINVAL, "choice" },
	{ "choice=on", -EINVAL, "one|two" }, { "text=", 6, NULL }, { "text=a=b", 6, NULL }, { "text", -EINVAL, "text" },
	{ "unknown", -ENOENT, NULL }, { "", -ENOENT, NULL }, { "=", -ENOENT, NULL }, { "fla", -ENOENT, NULL }, { "flags", -ENOENT, NULL },
	{ "no", -ENOENT, NULL }, { "nono", -ENOENT, NULL },
};

static void test_words(void)
{
	for (size_t n = 0; n < sizeof(words) / sizeof(words[0]); n++) {
		struct fields f = { 0 }, before;
		char err[512] = "untouched";
		optable_defaults(rows, COUNT, &f);
		before = f;
		int res = optable_parse(rows, COUNT, &f, words[n].word, err, sizeof(err));
		if (res != words[n].res)
			fprintf(stderr, "word '%s': %s\n", words[n].word, err);
		CHECK_EQ(res, words[n].res);
		if (res < 0) /* nothing is half done */
			CHECK(!memcmp(&f, &before, sizeof(f)));
		if (words[n].in_error && !strstr(err, words[n].in_error)) {
			fprintf(stderr, "word '%s': '%s' does not have '%s'\n", words[n].word, err, words[n].in_error);
			CHECK(false);
		}
		if (!words[n].in_error)
			CHECK_TEXT(err, "untouched");
		optable_free(rows, COUNT, &f);
	}
}

static void test_values(void)
{
	struct fields f = { 0 };
	char err[512];

	optable_defaults(rows, COUNT, &f);
	CHECK(f.flag && !f.fixed && f.number == 5 && f.size == 4096 && f.seconds == 1.5 && f.choice == 1 && !f.text);
	(void)optable_parse(rows, COUNT, &f, "noflag", err, sizeof(err));
	(void)optable_parse(rows, COUNT, &f, "size=2m", err, sizeof(err));
	(void)optable_parse(rows, COUNT, &f, "text=first", err, sizeof(err));
	(void)optable_parse(rows, COUNT, &f, "text=a=b,c", err, sizeof(err));
	(void)optable_parse(rows, COUNT, &f, "choice=one", err, sizeof(err));
	CHECK(!f.flag && f.size == 2 << 20 && f.choice == 0);
	CHECK_TEXT(f.text, "a=b,c");
	optable_free(rows, COUNT, &f);
	CHECK(!f.text);
	optable_free(rows, COUNT, &f);
}

static void test_texts(void)
{
	char *text = NULL;
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	optable_help(rows, COUNT, f);
	(void)fclose(f);
	for (size_t n = 0; n < COUNT; n++)
		CHECK(strstr(text, rows[n].name) && strstr(text, rows[n].help));
	CHECK(strstr(text, "[no]flag") && !strstr(text, "[no]fixed") && strstr(text, "2 to 10 things, default 5"));
	free(text);
	f = open_memstream(&text, &size);
	optable_man(rows, COUNT, f);
	(void)fclose(f);
	CHECK(strstr(text, "A back\\eslash and\\-dash"));
	CHECK(strstr(text, ".TP\n.B "));
	free(text);
}

int main(void)
{
	test_words();
	test_values();
	test_texts();
	return test_end();
}
