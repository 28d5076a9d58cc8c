/* Operations of the crash workloads, each recorded in the model that tests/vm/crash/model.py reads.
 *
 * Contents are cells of 512 bytes; a written cell holds 32 times {file, cell, version, magic}, so that it tells by itself which write it
 * is from. Every line of the model carries two numbers of one global counter, taken before and after the call: an operation is covered
 * by a sync when its second number is below the sync's first. */
#ifndef CRASH_OPS_H
#define CRASH_OPS_H
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CELL 512
#define CELLS_MAX 1024

enum sync_kind { SYNC_FSYNC, SYNC_FDATASYNC, SYNC_ODSYNC, SYNC_RWF, SYNC_SYNCFS, SYNC_KINDS };

struct file {
	uint32_t id;
	int fd;
	uint32_t cells; /* size */
	enum sync_kind kind;
};

struct dir {
	uint32_t id;
	int fd;
	char source[256]; /* the same folder in SOURCE; natively itself */
};

/* set once by main() before any thread starts */
extern FILE *model;
extern int mark_fd;
extern bool lie;	 /* acknowledge without having synced: the checker must find it out */
extern bool with_times;	 /* an fsync is also a promise for the time of the last write */
extern bool with_syncfs; /* false: syncfs is no promise here (FUSE), nothing is acknowledged for it */

void die(const char *what);
uint32_t tick(void); /* the next number of the global counter */
void start_ticks(uint32_t first);

/* makes it; durable already when it returns. `source`: the folder of SOURCE that `path` shows */
struct dir op_dir(int parent, const char *path, const char *source, const char *name);
struct file op_create(struct dir dir, const char *name, enum sync_kind kind, int flags);
void op_write(struct file *file, uint32_t cell, uint32_t n); /* with kind O_DSYNC or RWF_DSYNC it is acknowledged too */
void op_map_write(struct file *file, uint32_t cell, uint32_t n);
void op_truncate(struct file *file, uint32_t cells);
void op_allocate(struct file *file, uint32_t cells, bool keep_size);
void op_punch(struct file *file, uint32_t cell, uint32_t n);
int source_open(struct dir dir, const char *name);					     /* the file of SOURCE, for the next three */
void op_source_truncate(struct dir dir, const char *name, struct file *file, uint32_t cells); /* by name: nothing is opened */
void op_source_ftruncate(int fd, struct file *file, uint32_t cells);
void op_source_punch(int fd, struct file *file, uint32_t cell, uint32_t n);
void op_copy(struct file *to, struct file *from, uint32_t n);
void op_rename(struct dir dir, const char *from, const char *to, uint32_t id);
void op_link(struct dir dir, const char *from, const char *to, uint32_t id);
void op_unlink(struct dir dir, const char *name);
void op_sync(struct file *file);    /* what its kind asks for; nothing for O_DSYNC and RWF_DSYNC */
void op_sync_all(struct file *file); /* fsync, whatever the kind */
void op_sync_dir(struct dir dir);
void op_close(struct file *file);

#endif
