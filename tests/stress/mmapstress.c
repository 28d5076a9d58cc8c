/*
 * mmapstress.c - shared mappings, read() and write() of the same pages by several processes
 *
 * Each page has one owner that writes new versions, by the mapping or by pwrite(). The owner says in
 * shared memory which version it began and which it finished. A reader that saw "finished n" before and
 * still "begun n" after must have seen exactly version n, in every byte, by mapping and by pread().
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "stress.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES_MAX = 1024 };

struct page_state {
	_Atomic uint64_t begun, finished;
};

struct shared {
	_Atomic int stop;
	_Atomic uint64_t writes, mapped_writes, reads, checked;
	struct page_state pages[PAGES_MAX];
};

struct run {
	const char *path, *backing;
	uint64_t processes_count, rounds_count, pages_count, seed;
	double deadline;
	bool direct, no_reopen;
	struct shared *shared;
	uint8_t *map;
	int fd, fd_direct, id;
	struct rng rng;
};

static void fail_page(struct run *r, const char *how, uint64_t page, uint64_t version, const uint8_t *got,
		      const uint8_t *want)
{
	uint64_t i = 0;

	while (i < PAGE - 1 && got[i] == want[i])
		i++;
	flockfile(stdout);
	printf("FAIL mmapstress seed %llu process %d: page %llu by %s: version %llu expected, offset %llu of the page "
	       "expected %02x got %02x, page starts with version %llu\n",
	       (unsigned long long)r->seed, r->id, (unsigned long long)page, how, (unsigned long long)version,
	       (unsigned long long)i, want[i], got[i], (unsigned long long)*(const uint64_t *)(const void *)got);
	fflush(stdout);
	funlockfile(stdout);
	r->shared->stop = 1;
	_exit(EXIT_FAILED);
}

static void fail_call(struct run *r, const char *what)
{
	printf("FAIL mmapstress seed %llu process %d: %s: %s\n", (unsigned long long)r->seed, r->id, what,
	       strerror(errno));
	fflush(stdout);
	r->shared->stop = 1;
	_exit(EXIT_FAILED);
}

static void on_bus(int sig)
{
	static const char text[] = "FAIL mmapstress: SIGBUS on a mapped page\n";

	(void)sig;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(EXIT_USAGE);
	_exit(EXIT_FAILED);
}

/* Version 0 is the page of zeros that ftruncate made. */
static void version_fill(uint8_t *buf, uint64_t page, uint64_t version)
{
	memset(buf, 0, PAGE);
	if (!version)
		return;
	stress_fill(buf, version * 1021 + page, page * PAGE, PAGE);
	memcpy(buf, &version, sizeof(version));
	memcpy(buf + PAGE - sizeof(version), &version, sizeof(version));
}

static void map_file(struct run *r)
{
	r->map = mmap(NULL, r->pages_count * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->map == MAP_FAILED)
		fail_call(r, "mmap");
}

static void write_page(struct run *r, uint64_t page)
{
	struct page_state *state = &r->shared->pages[page];
	uint64_t version = state->begun + 1; /* only this process writes this page */
	uint8_t buf[PAGE];

	version_fill(buf, page, version);
	state->begun = version;
	if (rng_below(&r->rng, 2)) {
		memcpy(r->map + page * PAGE, buf, PAGE);
		r->shared->mapped_writes++;
	} else {
		uint64_t split = rng_below(&r->rng, 4) ? PAGE : 1 + rng_below(&r->rng, PAGE - 1);

		if (pwrite(r->fd, buf, split, (off_t)(page * PAGE)) != (ssize_t)split)
			fail_call(r, "pwrite");
		if (split < PAGE && pwrite(r->fd, buf + split, PAGE - split, (off_t)(page * PAGE + split)) !=
					    (ssize_t)(PAGE - split))
			fail_call(r, "pwrite");
	}
	state->finished = version;
	r->shared->writes++;
}

static void read_page(struct run *r, uint64_t page)
{
	static uint8_t got[PAGE] __attribute__((aligned(PAGE)));
	struct page_state *state = &r->shared->pages[page];
	uint64_t version = state->finished, kind = rng_below(&r->rng, r->direct ? 3 : 2);
	const char *how = "mapping";
	uint8_t want[PAGE];

	if (kind == 0) {
		memcpy(got, r->map + page * PAGE, PAGE);
	} else {
		how = kind == 1 ? "pread" : "O_DIRECT pread";
		if (pread(kind == 1 ? r->fd : r->fd_direct, got, PAGE, (off_t)(page * PAGE)) != PAGE)
			fail_call(r, how);
	}
	r->shared->reads++;
	if (state->begun != version)
		return; /* it changed meanwhile: nothing can be said */
	version_fill(want, page, version);
	if (memcmp(got, want, PAGE) != 0)
		fail_page(r, how, page, version, got, want);
	r->shared->checked++;
}

static void disturb(struct run *r)
{
	size_t size = r->pages_count * PAGE;
	uint64_t page = rng_below(&r->rng, r->pages_count);

	switch (rng_below(&r->rng, 8)) {
	case 0:
		if (msync(r->map, size, MS_SYNC) < 0)
			fail_call(r, "msync");
		break;
	case 1:
		if (munmap(r->map, size) < 0)
			fail_call(r, "munmap");
		map_file(r);
		break;
	case 2:
		if (madvise(r->map + page * PAGE, PAGE, MADV_DONTNEED) < 0)
			fail_call(r, "madvise");
		break;
	case 3:
		(void)posix_fadvise(r->fd, 0, 0, POSIX_FADV_DONTNEED); /* advice */
		break;
	case 4:
		if (fdatasync(r->fd) < 0)
			fail_call(r, "fdatasync");
		break;
	case 5: /* the file grows and shrinks behind the pages that are checked */
		if (ftruncate(r->fd, (off_t)(size + rng_below(&r->rng, 4 * PAGE))) < 0)
			fail_call(r, "ftruncate");
		break;
	default:
		if (r->no_reopen)
			break;
		(void)close(r->fd);
		r->fd = open(r->path, O_RDWR | O_CLOEXEC);
		if (r->fd < 0)
			fail_call(r, "open");
		break;
	}
}

static void worker(struct run *r)
{
	signal(SIGBUS, on_bus);
	r->rng.state = stress_mix(r->seed + (uint64_t)r->id);
	r->fd = open(r->path, O_RDWR | O_CLOEXEC);
	r->fd_direct = r->direct ? open(r->path, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;
	if (r->fd < 0 || (r->direct && r->fd_direct < 0))
		fail_call(r, "open");
	map_file(r);
	for (uint64_t n = 0; n < r->rounds_count && !r->shared->stop; n++) {
		uint64_t page = rng_below(&r->rng, r->pages_count);

		if (n % 64 == 0 && r->deadline > 0 && stress_now() > r->deadline)
			break;
		if (rng_below(&r->rng, 200) == 0)
			disturb(r);
		if (page % r->processes_count == (uint64_t)r->id)
			write_page(r, page);
		else
			read_page(r, page);
	}
	if (munmap(r->map, r->pages_count * PAGE) < 0)
		fail_call(r, "munmap");
	if (close(r->fd) < 0)
		fail_call(r, "close");
	_exit(EXIT_PASS);
}

/* After all have ended, every page is the last version, however it is read. */
static void check_final(struct run *r, const char *path, const char *how)
{
	uint8_t got[PAGE], want[PAGE];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail_call(r, path);
	for (uint64_t page = 0; page < r->pages_count; page++) {
		if (pread(fd, got, PAGE, (off_t)(page * PAGE)) != PAGE)
			fail_call(r, how);
		version_fill(want, page, r->shared->pages[page].finished);
		if (memcmp(got, want, PAGE) != 0)
			fail_page(r, how, page, r->shared->pages[page].finished, got, want);
	}
	(void)close(fd); /* was only read */
}

static void prepare(struct run *r)
{
	(void)unlink(r->path); /* may not exist */
	r->fd = open(r->path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (r->fd < 0 || ftruncate(r->fd, (off_t)(r->pages_count * PAGE)) < 0)
		fail_call(r, r->path);
	if (!r->direct)
		return;
	r->fd_direct = open(r->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (r->fd_direct < 0) {
		printf("NOTE no O_DIRECT on this filesystem\n");
		r->direct = false;
	} else {
		(void)close(r->fd_direct);
	}
}

static int run_all(struct run *r)
{
	int status, failed = 0;

	fflush(stdout);
	for (uint64_t i = 0; i < r->processes_count; i++) {
		if (fork() == 0) {
			r->id = (int)i;
			worker(r);
		}
	}
	while (wait(&status) > 0)
		failed |= !WIFEXITED(status) || WEXITSTATUS(status) != EXIT_PASS;
	return failed;
}

static void usage(const char *name)
{
	fprintf(stderr, "usage: %s [-P processes] [-N rounds] [-T seconds] [-G pages] [-S seed] [-o] [-R] [-B backing] FILE\n"
		"  -R  the file is not closed and opened during the run\n",
		name);
	exit(EXIT_USAGE);
}

int main(int argc, char **argv)
{
	struct run r = {.processes_count = 4, .rounds_count = 50000, .pages_count = 32, .seed = (uint64_t)time(NULL)};
	int c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "P:N:T:G:S:B:oRh")) != -1) {
		switch (c) {
		case 'P': r.processes_count = stress_number("-P", optarg, 1, 256); break;
		case 'N': r.rounds_count = stress_number("-N", optarg, 1, UINT32_MAX); break;
		case 'T': r.deadline = stress_now() + (double)stress_number("-T", optarg, 1, 86400); break;
		case 'G': r.pages_count = stress_number("-G", optarg, 1, PAGES_MAX); break;
		case 'S': r.seed = stress_number("-S", optarg, 0, UINT64_MAX); break;
		case 'B': r.backing = optarg; break;
		case 'R': r.no_reopen = true; break;
		case 'o': r.direct = true; break;
		default: usage(argv[0]);
		}
	}
	if (optind + 1 != argc)
		usage(argv[0]);
	r.path = argv[optind];
	r.shared = mmap(NULL, sizeof(*r.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r.shared == MAP_FAILED)
		return EXIT_USAGE;
	printf("mmapstress seed %llu file %s\n", (unsigned long long)r.seed, r.path);
	prepare(&r);
	if (run_all(&r))
		return EXIT_FAILED;
	check_final(&r, r.path, "final read");
	if (fsync(r.fd) < 0)
		fail_call(&r, "fsync");
	if (r.backing)
		check_final(&r, r.backing, "backing file");
	printf("  %llu writes (%llu by mapping), %llu reads, %llu checked\n", (unsigned long long)r.shared->writes,
	       (unsigned long long)r.shared->mapped_writes, (unsigned long long)r.shared->reads,
	       (unsigned long long)r.shared->checked);
	(void)close(r.fd);
	(void)unlink(r.path);
	printf("PASS mmapstress seed %llu\n", (unsigned long long)r.seed);
	return EXIT_PASS;
}
