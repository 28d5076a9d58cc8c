/*
 * fsx.c - random operations on one file against a model in memory
 *
 * Every read is compared with the model, and the size after every operation. The run depends on the
 * seed only (and on which operations the filesystem refuses), so a failure can be repeated.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fsx.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

void fsx_record(struct fsx *f, const char *name, uint64_t offset, uint64_t length, uint64_t extra)
{
	struct fsx_record *r = &f->log[f->op_number % FSX_LOG_COUNT];

	*r = (struct fsx_record){f->op_number, name, offset, length, extra, f->size};
}

static void print_log(const struct fsx *f)
{
	uint64_t first = f->op_number + 1 > FSX_LOG_COUNT ? f->op_number + 1 - FSX_LOG_COUNT : 0;

	printf("last operations (number name offset length extra size-before):\n");
	for (uint64_t n = first; n <= f->op_number; n++) {
		const struct fsx_record *r = &f->log[n % FSX_LOG_COUNT];

		if (r->name && r->number == n)
			printf("  %8llu %-16s 0x%06llx..0x%06llx len 0x%llx extra 0x%llx size 0x%llx\n",
			       (unsigned long long)n, r->name, (unsigned long long)r->offset,
			       (unsigned long long)(r->offset + r->length), (unsigned long long)r->length,
			       (unsigned long long)r->extra, (unsigned long long)r->size_before);
	}
}

void fsx_fail(struct fsx *f, const char *fmt, ...)
{
	va_list ap;

	printf("FAIL fsx seed %llu operation %llu of %llu: ", (unsigned long long)f->seed,
	       (unsigned long long)f->op_number, (unsigned long long)f->ops_count);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	print_log(f);
	printf("repeat with: -S %llu -N %llu -L %llu%s%s\n", (unsigned long long)f->seed,
	       (unsigned long long)f->op_number + 1, (unsigned long long)f->max_len, f->direct ? " -o" : "",
	       f->strict_seek ? " -s" : "");
	exit(EXIT_FAILED);
}

void fsx_compare(struct fsx *f, const char *what, const uint8_t *got, const uint8_t *want,
		 uint64_t offset, uint64_t len)
{
	uint64_t first = 0, bad = 0, last = 0;

	if (memcmp(got, want, len) == 0)
		return;
	for (uint64_t i = 0; i < len; i++) {
		if (got[i] == want[i])
			continue;
		if (!bad++)
			first = i;
		last = i;
	}
	printf("%s: %llu of %llu bytes differ, first at offset 0x%llx, last at 0x%llx\n", what,
	       (unsigned long long)bad, (unsigned long long)len, (unsigned long long)(offset + first),
	       (unsigned long long)(offset + last));
	for (uint64_t i = first; i < len && i < first + 16; i++)
		printf("  0x%06llx expected %02x got %02x\n", (unsigned long long)(offset + i), want[i], got[i]);
	fsx_fail(f, "%s: wrong data at offset 0x%llx: expected %02x got %02x", what,
		 (unsigned long long)(offset + first), want[first], got[first]);
}

static void check_size(struct fsx *f)
{
	struct stat st;

	if (fstat(f->fd, &st) < 0)
		fsx_fail(f, "fstat: %s", strerror(errno));
	if ((uint64_t)st.st_size != f->size)
		fsx_fail(f, "fstat size: expected 0x%llx got 0x%llx", (unsigned long long)f->size,
			 (unsigned long long)st.st_size);
	if (f->op_number % 8)
		return;
	if (stat(f->path, &st) < 0)
		fsx_fail(f, "stat: %s", strerror(errno));
	if ((uint64_t)st.st_size != f->size)
		fsx_fail(f, "stat size: expected 0x%llx got 0x%llx", (unsigned long long)f->size,
			 (unsigned long long)st.st_size);
}

void fsx_open(struct fsx *f)
{
	f->fd = open(f->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (f->fd < 0)
		fsx_fail(f, "open %s: %s", f->path, strerror(errno));
	if (!f->direct)
		return;
	f->fd_direct = open(f->path, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (f->fd_direct < 0 && errno == EINVAL) {
		printf("NOTE no O_DIRECT on this filesystem\n");
		f->direct = false;
	} else if (f->fd_direct < 0) {
		fsx_fail(f, "open O_DIRECT: %s", strerror(errno));
	}
}

void fsx_close(struct fsx *f)
{
	if (close(f->fd) < 0)
		fsx_fail(f, "close: %s", strerror(errno));
	f->fd = -1;
	if (f->fd_direct >= 0 && close(f->fd_direct) < 0)
		fsx_fail(f, "close of the O_DIRECT descriptor: %s", strerror(errno));
	f->fd_direct = -1;
}

/* The whole file, read in one go from path, must equal the model. */
static void check_whole(struct fsx *f, const char *what, const char *path)
{
	uint64_t done = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fsx_fail(f, "%s: open %s: %s", what, path, strerror(errno));
	while (done < f->max_len) {
		ssize_t n = read(fd, f->buf + done, f->max_len - done);

		if (n < 0)
			fsx_fail(f, "%s: read: %s", what, strerror(errno));
		if (n == 0)
			break;
		done += (uint64_t)n;
	}
	(void)close(fd); /* was only read */
	if (done != f->size)
		fsx_fail(f, "%s: file holds 0x%llx bytes, expected 0x%llx", what, (unsigned long long)done,
			 (unsigned long long)f->size);
	fsx_compare(f, what, f->buf, f->good, 0, done);
}

static struct fsx_op *choose_op(struct fsx *f)
{
	unsigned total = 0;
	uint64_t at;

	for (size_t i = 0; i < fsx_ops_count; i++)
		total += fsx_ops[i].weight;
	at = rng_below(&f->rng, total);
	for (size_t i = 0; i < fsx_ops_count; i++) {
		if (at < fsx_ops[i].weight)
			return &fsx_ops[i];
		at -= fsx_ops[i].weight;
	}
	return &fsx_ops[0];
}

static void run_ops(struct fsx *f)
{
	struct rng main_sequence;

	for (f->op_number = 0; f->op_number < f->ops_count; f->op_number++) {
		struct fsx_op *op = choose_op(f);

		if (f->deadline > 0 && f->op_number % 16 == 0 && stress_now() > f->deadline)
			break;
		/* each operation draws from its own sequence: a refused one does not shift the rest */
		main_sequence = f->rng;
		f->rng.state = stress_mix(f->seed ^ (f->op_number << 20));
		if (!op->unsupported && (!op->direct_only || f->fd_direct >= 0)) {
			op->run(f);
			op->done_count++;
			check_size(f);
		}
		f->rng = main_sequence;
	}
}

static void usage(const char *name)
{
	fprintf(stderr,
		"usage: %s [-S seed] [-N ops] [-T seconds] [-L maxlen] [-o] [-s] [-B backing-file] [-q] FILE\n"
		"  -o  also O_DIRECT reads and writes through a second descriptor\n"
		"  -s  SEEK_DATA/SEEK_HOLE without an fsync before\n"
		"  -B  compare at the end with this path (the same file on the backing filesystem)\n",
		name);
	exit(EXIT_USAGE);
}

static void parse(struct fsx *f, int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "S:N:T:L:B:osqh")) != -1) {
		switch (c) {
		case 'S': f->seed = stress_number("-S", optarg, 0, UINT64_MAX); break;
		case 'N': f->ops_count = stress_number("-N", optarg, 1, UINT32_MAX); break;
		case 'T': f->deadline = stress_now() + (double)stress_number("-T", optarg, 1, 86400); break;
		case 'L': f->max_len = stress_number("-L", optarg, FSX_ALIGN, 1 << 28); break;
		case 'B': f->backing = optarg; break;
		case 'o': f->direct = true; break;
		case 's': f->strict_seek = true; break;
		case 'q': f->quiet = true; break;
		default: usage(argv[0]);
		}
	}
	if (optind + 1 != argc)
		usage(argv[0]);
	f->max_len = f->max_len / FSX_ALIGN * FSX_ALIGN;
	snprintf(f->path, sizeof(f->path), "%s", argv[optind]);
	snprintf(f->path_other, sizeof(f->path_other), "%s.other", argv[optind]);
}

int main(int argc, char **argv)
{
	static struct fsx f = {.seed = 1, .ops_count = 10000, .max_len = 256 * 1024, .fd = -1, .fd_direct = -1};

	setvbuf(stdout, NULL, _IOLBF, 0);
	f.seed = (uint64_t)time(NULL);
	parse(&f, argc, argv);
	f.rng.state = f.seed;
	f.good = stress_alloc(f.max_len + FSX_ALIGN, 1);
	if (posix_memalign((void **)&f.buf, FSX_ALIGN, f.max_len + FSX_ALIGN)) {
		fprintf(stderr, "out of memory\n");
		return EXIT_USAGE;
	}
	printf("fsx seed %llu ops %llu maxlen %llu%s file %s\n", (unsigned long long)f.seed,
	       (unsigned long long)f.ops_count, (unsigned long long)f.max_len, f.direct ? " direct" : "", f.path);
	(void)unlink(f.path); /* may not exist */
	(void)unlink(f.path_other);
	fsx_open(&f);
	run_ops(&f);
	check_whole(&f, "final read", f.path);
	if (fsync(f.fd) < 0)
		fsx_fail(&f, "fsync: %s", strerror(errno));
	fsx_close(&f);
	check_whole(&f, "final read after reopen", f.path);
	if (f.backing)
		check_whole(&f, "backing file", f.backing);
	for (size_t i = 0; i < fsx_ops_count && !f.quiet; i++)
		printf("  %-16s %8llu%s\n", fsx_ops[i].name, (unsigned long long)fsx_ops[i].done_count,
		       fsx_ops[i].unsupported ? " (not supported here)" : "");
	(void)unlink(f.path_other); /* exists only if a copy was made */
	if (unlink(f.path) < 0)
		fsx_fail(&f, "unlink: %s", strerror(errno));
	printf("PASS fsx seed %llu after %llu operations\n", (unsigned long long)f.seed,
	       (unsigned long long)f.op_number);
	return EXIT_PASS;
}
