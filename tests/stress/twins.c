/*
 * twins.c - random system calls on a mount and on a plain directory, compared (see twins.h)
 *
 * This file: arguments, processes and their rights, the order of steps, which steps a difference needs. Whatever FUSE cannot
 * do (uringfs.8, LIMITS) is left out where the call is made, with a comment that says so.
 */
#include "twins.h"

#include <getopt.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <linux/magic.h>

enum { STEP_MS = 30000, USER = 1001, MEMBER = 1002, FAILED = 1, HUNG = 3 };

struct shared {
	struct text text[SIDES];
	char why[TEXT_SIZE];
	char signature[256];
	unsigned at_step;
};

struct run {
	const char *mount, *source, *twin;
	uint64_t seed;
	unsigned steps_count, check_every, roles_mask;
	bool verbose, reduce, kernel_io, writeback, coarse, in_memory;
	double deadline;
	uint8_t *wanted; /* per step */
	struct shared *shared;
	int number;
};

struct process {
	pid_t pid;
	int to, from;
};

/* ---- one step ------------------------------------------------------------------- */

static const struct op *const subjects[] = { ops_open, ops_data, ops_space, ops_map, ops_names, ops_attr, ops_xattr, ops_lock };
enum { SUBJECTS = sizeof(subjects) / sizeof(*subjects) };

static const struct op *op_of(uint64_t at)
{
	uint64_t sum = 0;

	for (unsigned s = 0; s < SUBJECTS; s++)
		for (const struct op *o = subjects[s]; o->name; o++)
			sum += o->weight;
	at %= sum;
	for (unsigned s = 0; s < SUBJECTS; s++)
		for (const struct op *o = subjects[s]; o->name; o++) {
			if (at < o->weight)
				return o;
			at -= o->weight;
		}
	return NULL;
}

static const char *const role_names[ROLE_COUNT] = { "root", "user", "member", "fsuid", "lesser", "namespace", "limited" };

static void step(struct actor *a, unsigned number, struct shared *out)
{
	uint64_t start = stress_mix(a->seed * 0x9e37 + number);
	const struct op *op = op_of(stress_mix(start));

	a->open = 0;
	for (unsigned n = 0; n < SLOTS; n++)
		a->open |= (unsigned)(a->slot[n][0] >= 0) << n;
	for (int side = 0; side < SIDES; side++) {
		struct call c = { .a = a, .side = side, .rng = { start }, .out = &out->text[side] };

		out->text[side].len = 0;
		say(&c, "%s %s", role_names[a->role], op->name);
		op->make(&c);
		watch_fd(&c, -1); /* says what was watched */
	}
	snprintf(out->signature, sizeof(out->signature), "%s %s", role_names[a->role], op->name);
}

/* ---- processes ------------------------------------------------------------------ */

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "twins: %s: %s\n", what, strerror(errno));
	_exit(EXIT_USAGE);
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	need(!syscall(SYS_capget, &head, data), "capget");
	for (unsigned n = 0; n < 2; n++) {
		if (!n)
			data[n].effective &= ~(1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH | 1U << CAP_FOWNER | 1U << CAP_CHOWN | 1U << CAP_MKNOD);
		data[n].permitted = data[n].effective;
		data[n].inheritable = 0;
	}
	need(!syscall(SYS_capset, &head, data), "capset");
}

static void in_namespace(void)
{
	static const struct {
		const char *file, *text;
	} maps[] = { { "/proc/self/setgroups", "deny" }, { "/proc/self/uid_map", "0 1001 1" }, { "/proc/self/gid_map", "0 1001 1" } };

	need(!unshare(CLONE_NEWUSER), "unshare");
	for (unsigned n = 0; n < 3; n++) {
		int fd = open(maps[n].file, O_WRONLY | O_CLOEXEC);

		need(fd >= 0 && write(fd, maps[n].text, strlen(maps[n].text)) > 0, maps[n].file);
		close(fd);
	}
}

static void become(struct actor *a)
{
	const gid_t group = USER;
	struct rlimit small = { 100000, 100000 };

	switch (a->role) {
	case ROLE_USER:
	case ROLE_NAMESPACE:
		need(!setgroups(0, NULL) && !setresgid(USER, USER, USER) && !setresuid(USER, USER, USER), "user");
		need(!prctl(PR_SET_DUMPABLE, 1), "dumpable");
		if (a->role == ROLE_NAMESPACE)
			in_namespace();
		break;
	case ROLE_MEMBER:
		need(!setgroups(1, &group) && !setresgid(MEMBER, MEMBER, MEMBER) && !setresuid(MEMBER, MEMBER, MEMBER), "member");
		break;
	case ROLE_FSUID:
		need(!setgroups(0, NULL), "setgroups");
		setfsgid(MEMBER);
		setfsuid(MEMBER);
		break;
	case ROLE_LESSER:
		drop_capabilities();
		break;
	case ROLE_LIMITED:
		need(!setrlimit(RLIMIT_FSIZE, &small), "setrlimit");
		break;
	case ROLE_ROOT:
	case ROLE_COUNT:
		break;
	}
}

static void serve(struct actor *a, struct shared *out, int from, int to)
{
	uint32_t number;

	signal(SIGXFSZ, SIG_IGN);
	signal(SIGIO, SIG_IGN);
	become(a);
	while (read(from, &number, sizeof(number)) == sizeof(number)) {
		umask((mode_t)(number % 7 == 0 ? 077 : number % 3 == 0 ? 0 : 022));
		step(a, number, out);
		need(write(to, &number, sizeof(number)) == sizeof(number), "answer");
	}
	_exit(0);
}

static void start(struct process *p, struct run *r, enum role role, const int top[SIDES], const int mailbox[2])
{
	int down[2], up[2];

	need(!pipe2(down, O_CLOEXEC) && !pipe2(up, O_CLOEXEC), "pipe");
	p->pid = fork();
	need(p->pid >= 0, "fork");
	if (!p->pid) {
		static struct actor a;

		a.role = role;
		a.seed = r->seed;
		a.kernel_io = r->kernel_io;
		a.writeback = r->writeback;
		a.coarse = r->coarse;
		a.in_memory = r->in_memory;
		memset(a.slot, 0xff, sizeof(a.slot));
		memcpy(a.top, top, sizeof(a.top));
		memcpy(a.mailbox, mailbox, sizeof(a.mailbox));
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(down[1]);
		close(up[0]);
		serve(&a, r->shared, down[0], up[1]);
	}
	close(down[0]);
	close(up[1]);
	p->to = down[1];
	p->from = up[0];
}

/* 0 done, else HUNG */
static int send_step(struct process *p, uint32_t number, int *ret_status)
{
	struct pollfd wait = { .fd = p->from, .events = POLLIN };

	need(write(p->to, &number, sizeof(number)) == sizeof(number), "step");
	if (poll(&wait, 1, STEP_MS) == 1 && read(p->from, &number, sizeof(number)) == sizeof(number))
		return 0;
	*ret_status = -1;
	stress_pause_us(20000);
	(void)waitpid(p->pid, ret_status, WNOHANG); /* -1: it is still at it */
	return HUNG;
}

/* ---- one run -------------------------------------------------------------------- */

static int make_top(const char *parent, int number, const char *work, int *ret_parent)
{
	char path[PATH_SIZE];
	int fd;

	snprintf(path, sizeof(path), "%s/twins.%d.%d", parent, (int)getppid(), number);
	need(!mkdir(path, 0777) || errno == EEXIST, path);
	*ret_parent = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(*ret_parent >= 0, path);
	need(!mkdirat(*ret_parent, work, 0777) || errno == EEXIST, work);
	fd = openat(*ret_parent, work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(fd >= 0 && !fchmod(fd, 0777), work);
	return fd;
}

/* Whether a change may leave the times as they are because the clock of files has not moved (before Linux 6.13). */
static bool is_coarse(int dir)
{
	struct stat before, after;

	for (unsigned n = 0; n < 20; n++) {
		need(!fstat(dir, &before) && !fchmod(dir, n % 2 ? 0777 : 0755) && !fstat(dir, &after), "probe");
		if (before.st_ctim.tv_sec == after.st_ctim.tv_sec && before.st_ctim.tv_nsec == after.st_ctim.tv_nsec)
			return true;
	}
	return false;
}

/* The text of the other step, with the first place where they differ. */
static int differ(struct run *r, unsigned number)
{
	struct shared *s = r->shared;
	const char *a = s->text[0].s, *b = s->text[1].s;
	size_t at = 0, from;

	if (!strcmp(a, b))
		return 0;
	while (a[at] && a[at] == b[at])
		at++;
	from = at > 60 ? at - 60 : 0;
	snprintf(s->why, sizeof(s->why), "step %u: %.*s\n  mount: ...%.300s\n  plain: ...%.300s", number, (int)(at < 600 ? at : 600), a, a + from,
		 b + from);
	s->at_step = number;
	return FAILED;
}

static int steps(struct run *r, struct process *p, const int parent[SIDES], int source)
{
	struct shared *s = r->shared;

	for (unsigned n = 0; n < r->steps_count; n++) {
		unsigned role = (unsigned)(stress_mix(r->seed ^ stress_mix(n)) % ROLE_COUNT);
		int ret, status = 0;

		if ((r->wanted && !r->wanted[n]) || (r->deadline > 0 && stress_now() > r->deadline))
			continue;
		while (!(r->roles_mask >> role & 1))
			role = (role + 1) % ROLE_COUNT;
		s->at_step = n;
		ret = send_step(&p[role], n, &status);
		if (ret) {
			snprintf(s->why, sizeof(s->why), "step %u: no end (status %#x): %.500s\n  plain: %.500s", n, (unsigned)status, s->text[0].s, s->text[1].s);
			return ret;
		}
		if (r->verbose)
			printf("%u %s\n", n, s->text[0].s);
		ret = differ(r, n);
		if (!ret && r->check_every && n % r->check_every == 0) {
			ret = tree_compare(parent[0], parent[1], source, r->writeback, s->why, sizeof(s->why));
			if (ret)
				snprintf(s->signature, sizeof(s->signature), "tree");
		}
		if (ret)
			return ret;
	}
	if (tree_compare(parent[0], parent[1], source, r->writeback, s->why, sizeof(s->why))) {
		snprintf(s->signature, sizeof(s->signature), "tree");
		return FAILED;
	}
	return 0;
}

static void run_child(struct run *r)
{
	struct process p[ROLE_COUNT] = { 0 };
	int top[SIDES], parent[SIDES], source, mailbox[2], ret;
	char path[PATH_SIZE];
	struct statfs fs;

	umask(0);
	signal(SIGPIPE, SIG_IGN);
	top[0] = make_top(r->mount, r->number, "work", &parent[0]);
	top[1] = make_top(r->twin, r->number, "work", &parent[1]);
	r->coarse = r->writeback || is_coarse(top[1]);
	r->in_memory = !fstatfs(top[1], &fs) && fs.f_type == TMPFS_MAGIC;
	snprintf(path, sizeof(path), "%s/twins.%d.%d", r->source, (int)getppid(), r->number);
	source = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	need(source >= 0, path);
	need(!socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, mailbox), "socketpair");
	for (unsigned role = 0; role < ROLE_COUNT; role++)
		if (r->roles_mask >> role & 1)
			start(&p[role], r, role, top, mailbox);
	if (r->coarse && !r->writeback)
		printf("twins: changes of times are not compared: the clock of files is coarse here\n");
	ret = steps(r, p, parent, source);
	for (unsigned role = 0; role < ROLE_COUNT; role++) {
		if (!p[role].pid)
			continue;
		close(p[role].to);
		kill(p[role].pid, SIGKILL); /* its pipe does not end: the others were forked with it */
		if (ret != HUNG)
			waitpid(p[role].pid, NULL, 0);
	}
	fflush(stdout);
	_exit(ret);
}

static void forget_tree(const char *parent, int number)
{
	char command[PATH_SIZE + 64];

	snprintf(command, sizeof(command), "chattr -R -f -i -a '%s/twins.%d.%d'; rm -rf '%s/twins.%d.%d'", parent, (int)getpid(), number, parent,
		 (int)getpid(), number);
	if (system(command) != 0)
		fprintf(stderr, "twins: something is left below %s\n", parent);
}

/* Everything in a fresh pair of directories and fresh processes: 0, FAILED or HUNG. */
static int run_once(struct run *r)
{
	int status;
	pid_t pid;

	r->number++;
	memset(r->shared, 0, sizeof(*r->shared));
	fflush(stdout);
	pid = fork();
	need(pid >= 0, "fork");
	if (!pid)
		run_child(r);
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	if (!WIFEXITED(status)) {
		snprintf(r->shared->why, sizeof(r->shared->why), "ended by signal %d", WTERMSIG(status));
		return FAILED;
	}
	if (WEXITSTATUS(status) == EXIT_USAGE)
		exit(EXIT_USAGE);
	if (WEXITSTATUS(status) != HUNG) {
		forget_tree(r->mount, r->number);
		forget_tree(r->twin, r->number);
	}
	return WEXITSTATUS(status);
}

/* Leaves out what the difference does not need: halves, quarters, single steps. */
static void reduce(struct run *r)
{
	char first[256], why[TEXT_SIZE];
	unsigned last = r->shared->at_step;

	snprintf(first, sizeof(first), "%s", r->shared->signature);
	snprintf(why, sizeof(why), "%s", r->shared->why);
	r->wanted = stress_alloc(r->steps_count, 1);
	r->deadline = 0;
	memset(r->wanted, 1, last + 1);
	r->steps_count = last + 1;
	for (unsigned chunk = (last + 1) / 2; chunk; chunk /= 2)
		for (unsigned at = 0; at < last; at += chunk) {
			unsigned end = at + chunk < last ? at + chunk : last;
			uint8_t *old;

			if (!memchr(r->wanted + at, 1, end - at))
				continue;
			old = stress_alloc(end - at, 1);
			memcpy(old, r->wanted + at, end - at);
			memset(r->wanted + at, 0, end - at);
			if (!run_once(r) || strcmp(first, r->shared->signature))
				memcpy(r->wanted + at, old, end - at);
			else
				snprintf(why, sizeof(why), "%s", r->shared->why);
			free(old);
		}
	printf("needed steps:\n");
	r->verbose = true;
	run_once(r);
	printf("%s\n", r->shared->why);
}

static const char usage[] = "usage: twins [-S SEED] [-N STEPS] [-T SECONDS] [-C CHECK-EVERY] [-R ROLES-MASK] [-v] [-m] [-k] [-w] MOUNT SOURCE TWIN\n"
			    "MOUNT shows SOURCE; TWIN is a directory on the same filesystem as SOURCE. -m: which steps a difference needs; -k: io=kernel; -w: writeback (no times)\n";

int main(int argc, char **argv)
{
	struct run r = { .seed = 1, .steps_count = 3000, .check_every = 50, .roles_mask = (1U << ROLE_COUNT) - 1 };
	int opt, ret;

	while ((opt = getopt(argc, argv, "S:N:T:C:R:vmkw")) != -1) {
		switch (opt) {
		case 'S': r.seed = stress_number("-S", optarg, 0, UINT64_MAX); break;
		case 'N': r.steps_count = (unsigned)stress_number("-N", optarg, 1, UINT32_MAX); break;
		case 'T': r.deadline = stress_now() + (double)stress_number("-T", optarg, 1, 1000000); break;
		case 'C': r.check_every = (unsigned)stress_number("-C", optarg, 0, UINT32_MAX); break;
		case 'R': r.roles_mask = (unsigned)stress_number("-R", optarg, 1, (1U << ROLE_COUNT) - 1); break;
		case 'v': r.verbose = true; break;
		case 'k': r.kernel_io = true; break;
		case 'w': r.writeback = true; break;
		case 'm': r.reduce = true; break;
		default: fputs(usage, stderr); return EXIT_USAGE;
		}
	}
	if (argc - optind != 3) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	r.mount = argv[optind];
	r.source = argv[optind + 1];
	r.twin = argv[optind + 2];
	r.shared = mmap(NULL, sizeof(*r.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(r.shared != MAP_FAILED, "mmap");
	ret = run_once(&r);
	if (!ret) {
		printf("PASS twins seed %llu: %u steps\n", (unsigned long long)r.seed, r.steps_count);
		return EXIT_PASS;
	}
	printf("FAIL twins seed %llu %s\n", (unsigned long long)r.seed, r.shared->why);
	fflush(stdout);
	if (ret == FAILED && r.reduce)
		reduce(&r);
	return EXIT_FAILED;
}
