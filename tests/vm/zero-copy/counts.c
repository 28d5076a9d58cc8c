/* SPDX-License-Identifier: MIT */
/*
 * counts.c - a plugin for QEMU (-plugin counts.so,out=FILE): what a guest with one processor does between two marks.
 *
 * A mark is an instruction without effect that nobody else uses (moves.c): `nopl MARK(%rax)`. At each end mark a line goes to FILE:
 * instructions of user space, instructions of the kernel, bytes copied, bytes filled. Whatever the processor does counts, for whomever.
 *
 * Copied bytes are those that MOVS stores, with or without REP, and those of the loop of the kernel's memcpy_orig(), which moves 32 with
 * four registers: QEMU's processor has no FSRM, so that the kernel takes it in place of REP MOVSB (arch/x86/lib/memcpy_64.S). Filled are those of
 * STOS. Neither REP instructions nor that loop count as instructions: a real processor is done with many bytes in one step of them.
 * What a device reads and writes by itself is not seen. Small copies by other instructions count as instructions.
 *
 * The interface is declared here, since no package has QEMU's header: version 1 (include/qemu/qemu-plugin.h of QEMU 6.0 to 8.2).
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 };
enum { CALLBACK_NO_REGS };
enum { ACCESS_STORE = 2 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*fn)(uint64_t id, struct qemu_plugin_tb *tb));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t n);
extern const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
extern void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *counter, uint64_t add);
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *counter, uint64_t add);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*fn)(unsigned cpu, void *arg), int flags, void *arg);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, void (*fn)(unsigned cpu, uint32_t info, uint64_t address, void *arg), int flags,
					     int access, void *arg);
extern bool qemu_plugin_mem_is_store(uint32_t info);
extern unsigned qemu_plugin_mem_size_shift(uint32_t info);

__attribute__((visibility("default"))) extern int qemu_plugin_version;
int qemu_plugin_version = 1;

__attribute__((visibility("default"))) extern int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv);

enum counter { USER, KERNEL, COPIED, FILLED, COUNTERS };

static uint64_t count[COUNTERS], begun[COUNTERS];
static FILE *out;

static const unsigned char mark_begin[] = { 0x0f, 0x1f, 0x80, 0x01, 0x00, 0x63, 0x7a };
static const unsigned char mark_end[] = { 0x0f, 0x1f, 0x80, 0x02, 0x00, 0x63, 0x7a };

/** The stores of memcpy_orig()'s loops, upwards and downwards: r8 to r11, the last one completes 32 bytes. */
static const unsigned char loop_stores[2][4][4] = {
	{ { 0x4c, 0x89, 0x07 }, { 0x4c, 0x89, 0x4f, 0x08 }, { 0x4c, 0x89, 0x57, 0x10 }, { 0x4c, 0x89, 0x5f, 0x18 } },
	{ { 0x4c, 0x89, 0x47, 0xf8 }, { 0x4c, 0x89, 0x4f, 0xf0 }, { 0x4c, 0x89, 0x57, 0xe8 }, { 0x4c, 0x89, 0x5f, 0xe0 } },
};

static void begin(unsigned cpu, void *arg)
{
	(void)cpu;
	(void)arg;
	memcpy(begun, count, sizeof(begun));
}

static void end(unsigned cpu, void *arg)
{
	(void)cpu;
	(void)arg;
	for (unsigned n = 0; n < COUNTERS; n++)
		fprintf(out, "%llu%c", (unsigned long long)(count[n] - begun[n]), n + 1 < COUNTERS ? ' ' : '\n');
	fflush(out);
}

/** stored() - by a string instruction. (QEMU 7.2's counting without a call takes loads, too; and its REP runs once more than it stores.) */
static void stored(unsigned cpu, uint32_t info, uint64_t address, void *counter)
{
	(void)cpu;
	(void)address;
	if (qemu_plugin_mem_is_store(info))
		*(uint64_t *)counter += 1u << qemu_plugin_mem_size_shift(info);
}

static bool is(const struct qemu_plugin_insn *insn, const unsigned char *bytes, size_t size)
{
	return qemu_plugin_insn_size(insn) == size && memcmp(qemu_plugin_insn_data(insn), bytes, size) == 0;
}

/** string_counter() - what a MOVS or STOS counts for; NULL: another instruction. */
static uint64_t *string_counter(const struct qemu_plugin_insn *insn)
{
	const unsigned char *at = qemu_plugin_insn_data(insn), *last = at + qemu_plugin_insn_size(insn) - 1;

	for (; at < last; at++)
		if ((*at & 0xf8) != 0x48 && *at != 0x66 && *at != 0xf2 && *at != 0xf3) /* no prefix */
			return NULL;
	if ((*last & 0xfe) == 0xa4)
		return &count[COPIED];
	return (*last & 0xfe) == 0xaa ? &count[FILLED] : NULL;
}

/** copy_loop() - the instruction that completes 32 bytes, if this is memcpy_orig()'s loop; else NULL. */
static struct qemu_plugin_insn *copy_loop(const struct qemu_plugin_tb *tb)
{
	size_t insns = qemu_plugin_tb_n_insns(tb);

	for (unsigned way = 0; way < 2; way++) {
		unsigned found = 0;

		for (size_t n = 0; n < insns && found < 4; n++) {
			struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, n);

			if (!is(insn, loop_stores[way][found], way == 0 && found == 0 ? 3 : 4))
				continue;
			if (++found == 4)
				return insn;
		}
	}
	return NULL;
}

static void translated(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t insns = qemu_plugin_tb_n_insns(tb), counted = 0;
	struct qemu_plugin_insn *loop = copy_loop(tb);
	bool kernel = false;

	(void)id;
	if (loop) {
		qemu_plugin_register_vcpu_insn_exec_inline(loop, INLINE_ADD_U64, &count[COPIED], 32);
		return;
	}
	for (size_t n = 0; n < insns; n++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, n);
		uint64_t *counter = string_counter(insn);

		if (counter) {
			qemu_plugin_register_vcpu_mem_cb(insn, stored, CALLBACK_NO_REGS, ACCESS_STORE, counter);
			continue;
		}
		counted++;
		kernel = qemu_plugin_insn_vaddr(insn) >> 63;
		if (is(insn, mark_begin, sizeof(mark_begin)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, CALLBACK_NO_REGS, NULL);
		else if (is(insn, mark_end, sizeof(mark_end)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, end, CALLBACK_NO_REGS, NULL);
	}
	if (counted) /* all of a block: one by one takes twice the time, and few blocks end early */
		qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &count[kernel ? KERNEL : USER], counted);
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int n = 0; n < argc; n++)
		if (strncmp(argv[n], "out=", 4) == 0)
			out = fopen(argv[n] + 4, "we");
	if (!out) {
		fprintf(stderr, "counts: out=FILE is missing or cannot be written\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
