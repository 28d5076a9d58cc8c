/* crash_work - the workloads of the crash matrix. Runs in the guest; see ops.h for what is recorded and README.md for the whole.
 *
 * usage: crash_work [-l] [-S] [-t] [-b SOURCE-FOLDER] [-r ROUNDS] [-s FIRST] [-w NAME]... [-k KIND]... FOLDER MARKER-DEVICE MODEL-FILE
 *   -l  acknowledge without syncing     -S  syncfs is no promise here     -s  first number of the counter, also the random seed
 *   -t  an fsync is also a promise for the time of the last write
 *   -b  what FOLDER shows, when it is on a mount of uringfs
 */
#include "ops.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define SIZE 128u /* cells of a usual file: 64 KiB */

struct job {
	struct dir dir;
	enum sync_kind kind;
	unsigned rounds;
	unsigned seed;
	int flags;
};

static const char *const kind_names[SYNC_KINDS] = {"fsync", "fdatasync", "odsync", "rwfdsync", "syncfs"};

static uint32_t pick(struct job *job, uint32_t below)
{
	return (uint32_t)rand_r(&job->seed) % below;
}

/* half of the ranges are whole blocks of 4 KiB, the others begin and end inside one */
static void pick_range(struct job *job, uint32_t cells, uint32_t *cell, uint32_t *n)
{
	if (pick(job, 2)) {
		*cell = pick(job, cells / 8) * 8;
		*n = 8;
	} else {
		*n = 1 + pick(job, 15);
		*cell = pick(job, cells - *n);
	}
}

/* a file whose contents and name are durable */
static struct file settled(struct job *job, const char *name, uint32_t cells)
{
	struct file file = op_create(job->dir, name, job->kind, job->flags);

	if (cells)
		op_write(&file, 0, cells);
	op_sync_all(&file);
	op_sync_dir(job->dir);
	return file;
}

static void overwrite(struct job *job, struct file *file)
{
	uint32_t cell, n;

	pick_range(job, SIZE, &cell, &n);
	op_write(file, cell, n);
}

static void work_overwrite(struct job *job)
{
	struct file file = settled(job, "file", SIZE);

	for (unsigned i = 0; i < job->rounds; i++) {
		for (unsigned n = 1 + pick(job, 3); n > 0; n--)
			overwrite(job, &file);
		op_sync(&file);
	}
	op_close(&file);
}

static void work_direct(struct job *job)
{
	job->flags = O_DIRECT;
	work_overwrite(job);
}

static void work_append(struct job *job)
{
	struct file file = settled(job, "file", 3);

	for (unsigned i = 0; i < job->rounds; i++) {
		op_write(&file, file.cells, 1 + pick(job, 12));
		op_sync(&file);
	}
	op_close(&file);
}

static void work_hole(struct job *job)
{
	struct file file = settled(job, "file", 0);

	op_truncate(&file, SIZE);
	for (unsigned i = 0; i < job->rounds; i++) {
		overwrite(job, &file);
		op_sync(&file);
	}
	op_close(&file);
}

static void work_allocated(struct job *job)
{
	struct file file = settled(job, "file", 0), beyond = settled(job, "beyond", 1);

	op_allocate(&file, SIZE, false);
	op_sync(&file);
	op_allocate(&beyond, SIZE, true);
	for (unsigned i = 0; i < job->rounds; i++) {
		overwrite(job, &file);
		op_sync(&file);
		op_write(&beyond, beyond.cells, 1 + pick(job, 9));
		op_sync(&beyond);
	}
	op_close(&file);
	op_close(&beyond);
}

static void work_truncate(struct job *job)
{
	struct file file = settled(job, "file", SIZE);

	for (unsigned i = 0; i < job->rounds; i++) {
		op_truncate(&file, 1 + pick(job, SIZE / 2));
		op_sync(&file);
		op_truncate(&file, SIZE);
		if (pick(job, 2))
			op_sync(&file);
		overwrite(job, &file);
		op_sync(&file);
	}
	op_close(&file);
}

static void work_punch(struct job *job)
{
	struct file file = settled(job, "file", SIZE);
	uint32_t cell, n;

	for (unsigned i = 0; i < job->rounds; i++) {
		pick_range(job, SIZE, &cell, &n);
		op_punch(&file, cell, n);
		if (pick(job, 2))
			op_sync(&file);
		op_write(&file, cell, n);
		op_sync(&file);
	}
	op_close(&file);
}

static void work_copy(struct job *job)
{
	struct file from = settled(job, "from", SIZE);
	char name[32];

	for (unsigned i = 0; i < job->rounds; i++) {
		snprintf(name, sizeof name, "copy%u", i);
		struct file to = op_create(job->dir, name, job->kind, 0);
		op_copy(&to, &from, SIZE);
		op_sync_all(&to);
		op_sync_dir(job->dir);
		overwrite(job, &from); /* what was shared is no longer */
		op_sync(&from);
		overwrite(job, &to);
		op_sync(&to);
		op_close(&to);
	}
	op_close(&from);
}

static void work_rename(struct job *job)
{
	struct file file = settled(job, "target", 4);

	for (unsigned i = 0; i < job->rounds; i++) {
		op_close(&file);
		file = op_create(job->dir, "new", job->kind, 0);
		op_write(&file, 0, 1 + pick(job, 16));
		op_sync(&file);
		op_rename(job->dir, "new", "target", file.id);
		if (pick(job, 3))
			op_sync_dir(job->dir);
		op_write(&file, 0, 1 + pick(job, 16));
		op_sync(&file);
	}
	op_close(&file);
}

static void work_link(struct job *job)
{
	char one[32], two[32];

	for (unsigned i = 0; i < job->rounds; i++) {
		snprintf(one, sizeof one, "one%u", i);
		snprintf(two, sizeof two, "two%u", i);
		struct file file = settled(job, one, 4);
		op_link(job->dir, one, two, file.id);
		op_sync_dir(job->dir);
		op_write(&file, 1, 6);
		op_sync(&file);
		op_unlink(job->dir, one);
		if (pick(job, 2))
			op_sync_dir(job->dir);
		op_write(&file, 2, 9);
		op_sync(&file);
		op_close(&file);
	}
}

static void work_mmap(struct job *job)
{
	struct file file = settled(job, "file", SIZE);
	uint32_t cell, n;

	for (unsigned i = 0; i < job->rounds; i++) {
		pick_range(job, SIZE, &cell, &n);
		op_map_write(&file, cell, n);
		op_sync(&file);
		overwrite(job, &file);
		op_sync(&file);
	}
	op_close(&file);
}

static void work_create(struct job *job)
{
	char name[32];

	for (unsigned i = 0; i < job->rounds * 2; i++) {
		snprintf(name, sizeof name, "file%u", i);
		struct file file = op_create(job->dir, name, job->kind, 0);
		op_write(&file, 0, 1 + pick(job, 20));
		op_sync(&file);
		if (pick(job, 4))
			op_sync_dir(job->dir);
		op_close(&file);
	}
}

static void work_files(struct job *job)
{
	struct file files[4];
	char name[32];

	for (unsigned n = 0; n < 4; n++) {
		snprintf(name, sizeof name, "file%u", n);
		files[n] = settled(job, name, SIZE);
	}
	for (unsigned i = 0; i < job->rounds; i++) {
		for (unsigned n = 0; n < 4; n++)
			overwrite(job, &files[n]);
		for (unsigned n = 0; n < 4; n++)
			op_sync(&files[n]);
	}
	for (unsigned n = 0; n < 4; n++)
		op_close(&files[n]);
}

struct thread {
	pthread_t id;
	struct job job;
	struct file *file;
	uint32_t base, cells; /* its own part of the file */
};

static void *thread_main(void *arg)
{
	struct thread *me = arg;

	for (unsigned i = 0; i < me->job.rounds; i++) {
		uint32_t n = 1 + pick(&me->job, 9);
		op_write(me->file, me->base + pick(&me->job, me->cells - n), n);
		op_sync(me->file);
	}
	return NULL;
}

static void run_threads(struct job *job, struct file *files, bool shared)
{
	struct thread threads[THREADS];

	for (unsigned n = 0; n < THREADS; n++) {
		struct thread *me = &threads[n];
		*me = (struct thread){.job = *job, .file = shared ? files : &files[n], .cells = SIZE};
		me->job.seed += n;
		if (shared) {
			me->cells = SIZE / THREADS;
			me->base = n * me->cells;
		}
		if (pthread_create(&me->id, NULL, thread_main, me))
			die("thread");
	}
	for (unsigned n = 0; n < THREADS; n++)
		pthread_join(threads[n].id, NULL);
}

static void work_threads(struct job *job)
{
	struct file files[THREADS];
	char name[32];

	for (unsigned n = 0; n < THREADS; n++) {
		snprintf(name, sizeof name, "file%u", n);
		files[n] = settled(job, name, SIZE);
	}
	run_threads(job, files, false);
	for (unsigned n = 0; n < THREADS; n++)
		op_close(&files[n]);
}

static void work_shared(struct job *job)
{
	struct file file = settled(job, "file", SIZE);

	run_threads(job, &file, true);
	op_close(&file);
}

/* what others do in SOURCE to a file that is proven: its blocks are exchanged, mostly behind the same size and the same count of blocks */
static void source_change(unsigned way, struct job *job, const char *name, struct file *file, int old)
{
	switch (way) {
	case 0:
		op_source_truncate(job->dir, name, file, 0);
		op_source_truncate(job->dir, name, file, SIZE);
		break;
	case 1:
		op_source_ftruncate(old, file, 0);
		op_source_ftruncate(old, file, SIZE);
		break;
	case 2: op_source_punch(old, file, 0, SIZE); break;
	case 3: op_source_truncate(job->dir, name, file, SIZE + 16); break;
	default: op_source_truncate(job->dir, name, file, SIZE / 2); break;
	}
}
#define SOURCE_WAYS 5u

/* a file each: whom others have changed is not proven again while it is open */
static void work_source(struct job *job)
{
	char name[32];

	for (unsigned i = 0; i < job->rounds * SOURCE_WAYS; i++) {
		snprintf(name, sizeof name, "file%u", i);
		struct file file = op_create(job->dir, name, job->kind, 0);
		int old = source_open(job->dir, name); /* older than the proof: whoever opens it later ends it by that */
		op_write(&file, 0, SIZE);
		op_sync_all(&file);
		op_sync_dir(job->dir);
		overwrite(job, &file);
		op_sync(&file); /* by FLUSH, where that is possible */
		source_change(i % SOURCE_WAYS, job, name, &file, old);
		op_write(&file, 0, SIZE);
		op_sync(&file);
		if (close(old))
			die("close");
		op_close(&file);
	}
}

/* everything that can end "only data has changed" since the last sync, between syncs */
static void work_mixed(struct job *job)
{
	struct file file = settled(job, "file", SIZE), other = settled(job, "other", SIZE);
	uint32_t cell, n;

	for (unsigned i = 0; i < job->rounds * 3; i++) {
		pick_range(job, SIZE, &cell, &n);
		switch (pick(job, 8)) {
		case 0: op_write(&file, file.cells, n); break;
		case 1: op_punch(&file, cell, n); break;
		case 2: op_truncate(&file, SIZE + pick(job, 40)); break;
		case 3: op_map_write(&file, cell, n); break;
		case 4: op_allocate(&file, SIZE + 64, pick(job, 2)); break;
		case 5: op_copy(&file, &other, 32); break;
		default: break;
		}
		overwrite(job, &file);
		if (pick(job, 3))
			op_sync(&file);
		overwrite(job, &other);
	}
	op_close(&file);
	op_close(&other);
}

static const struct {
	const char *name;
	void (*run)(struct job *job);
} works[] = {
	{"overwrite", work_overwrite}, {"direct", work_direct}, {"append", work_append}, {"hole", work_hole},
	{"allocated", work_allocated}, {"truncate", work_truncate}, {"punch", work_punch}, {"copy", work_copy},
	{"rename", work_rename}, {"link", work_link}, {"mmap", work_mmap}, {"create", work_create},
	{"files", work_files}, {"threads", work_threads}, {"shared", work_shared}, {"source", work_source},
	{"mixed", work_mixed},
};
#define WORKS (sizeof works / sizeof works[0])

static bool chosen(char *const *names, unsigned count, const char *name)
{
	for (unsigned n = 0; n < count; n++)
		if (!strcmp(names[n], name))
			return true;
	return count == 0;
}

int main(int argc, char **argv)
{
	char *work_words[32], *kind_words[8];
	const char *source = NULL;
	unsigned work_count = 0, kind_count = 0, rounds = 4, first = 1, done = 0;
	int opt;

	while ((opt = getopt(argc, argv, "lStb:r:s:w:k:")) != -1) {
		switch (opt) {
		case 'l': lie = true; break;
		case 'S': with_syncfs = false; break;
		case 't': with_times = true; break;
		case 'b': source = optarg; break;
		case 'r': rounds = (unsigned)atoi(optarg); break;
		case 's': first = (unsigned)atoi(optarg); break;
		case 'w': work_words[work_count++ % 32] = optarg; break;
		case 'k': kind_words[kind_count++ % 8] = optarg; break;
		default: return 2;
		}
	}
	if (argc - optind != 3)
		return 2;
	int top = open(argv[optind], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mark_fd = open(argv[optind + 1], O_WRONLY | O_DIRECT | O_CLOEXEC);
	model = fopen(argv[optind + 2], "w");
	if (top < 0 || mark_fd < 0 || !model)
		die("start");
	start_ticks(first);
	for (unsigned w = 0; w < WORKS; w++) {
		for (unsigned k = 0; k < SYNC_KINDS; k++) {
			char name[64];
			if (!chosen(work_words, work_count, works[w].name) || !chosen(kind_words, kind_count, kind_names[k]) ||
			    (k == SYNC_SYNCFS && !with_syncfs))
				continue;
			snprintf(name, sizeof name, "%s-%s", works[w].name, kind_names[k]);
			struct job job = {op_dir(top, argv[optind], source ? source : argv[optind], name), (enum sync_kind)k, rounds, first * 97 + w * SYNC_KINDS + k, 0};
			works[w].run(&job);
			done++;
		}
	}
	if (fclose(model) || done == 0)
		die("nothing was done, or the model could not be written");
	printf("%u workloads, %u numbers\n", done, tick() - first);
	return 0;
}
