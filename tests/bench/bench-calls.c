/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting by ptrace: see bench-calls.h. Threads are seized, not attached to, so that no signal
 * disturbs them; every stop is either a call's begin (counted), its end, or one to be passed on.
 */
#include "bench-calls.h"

#include <errno.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

#define CALLS_PAUSE_US 20
#define CALLS_BOUND_US (20 * G_USEC_PER_SEC)
#define CALLS_SYSCALL  (SIGTRAP | 0x80) /* a stop's signal, by PTRACE_O_TRACESYSGOOD */
#define CALLS_QUIET    2                /* looks in a row that find all asleep */

static long calls_ptrace(int request, int tid, uintptr_t addr, uintptr_t data)
{
    return ptrace((enum __ptrace_request)request, tid, (void *)addr, (void *)data);
}

/* Inside a call from its entry stop to its exit stop. */
static void calls_mark(struct bench_calls *calls, int tid, bool inside)
{
    g_hash_table_insert(calls->threads, GINT_TO_POINTER(tid), GINT_TO_POINTER(inside));
}

static void calls_note_syscall(struct bench_calls *calls, int tid)
{
    struct ptrace_syscall_info info;
    bool enters;

    if (calls_ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info), (uintptr_t)&info) < 0)
        return;
    enters = info.op == PTRACE_SYSCALL_INFO_ENTRY;
    if (enters)
        calls->counts[MIN(info.entry.nr, BENCH_CALLS_MAX - 1)]++;
    calls_mark(calls, tid, enters);
}

/* One stop, or the end of a thread. */
static void calls_handle(struct bench_calls *calls, int tid, int status)
{
    int pass_on = 0;

    calls->n_stops++;
    if (!WIFSTOPPED(status)) {
        g_hash_table_remove(calls->threads, GINT_TO_POINTER(tid));
        return;
    }
    if (WSTOPSIG(status) == CALLS_SYSCALL)
        calls_note_syscall(calls, tid);
    else if (status >> 16 == 0)
        pass_on = WSTOPSIG(status);
    else if (!g_hash_table_contains(calls->threads, GINT_TO_POINTER(tid)))
        calls_mark(calls, tid, false);
    calls_ptrace(PTRACE_SYSCALL, tid, 0, (uintptr_t)pass_on);
}

static bool calls_thread_sleeps(int pid, int tid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/stat", pid, tid);
    g_autofree char *text = NULL;
    const char *at;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return false;
    at = strrchr(text, ')');
    return at && strncmp(at, ") S", 3) == 0;
}

static bool calls_all_sleep(const struct bench_calls *calls)
{
    GHashTableIter iter;
    gpointer tid, inside;

    g_hash_table_iter_init(&iter, calls->threads);
    while (g_hash_table_iter_next(&iter, &tid, &inside))
        if (!inside || !calls_thread_sleeps(calls->pid, GPOINTER_TO_INT(tid)))
            return false;
    return true;
}

int bench_calls_settle(struct bench_calls *calls)
{
    gint64 until = g_get_monotonic_time() + CALLS_BOUND_US;
    unsigned quiet = 0;

    while (quiet < CALLS_QUIET) {
        int status, tid = waitpid(-1, &status, WNOHANG | __WALL | __WNOTHREAD);

        if (tid > 0) {
            calls_handle(calls, tid, status);
            quiet = 0;
            continue;
        }
        if (tid < 0 && errno != EINTR)
            return -ESRCH;
        /* A thread that was woken by one that was looked at later is seen the next time. */
        quiet = calls_all_sleep(calls) ? quiet + 1 : 0;
        if (quiet == 0 && g_get_monotonic_time() > until)
            return -ETIMEDOUT;
        if (quiet == 0)
            g_usleep(CALLS_PAUSE_US);
    }
    return 0;
}

int bench_calls_attach(int pid, struct bench_calls *calls)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    *calls = (struct bench_calls){.pid = pid, .threads = g_hash_table_new(NULL, NULL)};
    if (!dir)
        return -ESRCH;
    while ((name = g_dir_read_name(dir))) {
        int tid = atoi(name);

        if (calls_ptrace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE) < 0 ||
            calls_ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0)
            return -errno;
        calls_mark(calls, tid, false);
    }
    return bench_calls_settle(calls);
}

void bench_calls_detach(struct bench_calls *calls)
{
    GHashTableIter iter;
    gpointer tid, inside;

    g_hash_table_iter_init(&iter, calls->threads);
    while (g_hash_table_iter_next(&iter, &tid, &inside)) {
        int status, id = GPOINTER_TO_INT(tid);

        if (calls_ptrace(PTRACE_INTERRUPT, id, 0, 0) == 0 && waitpid(id, &status, __WALL) == id)
            calls_ptrace(PTRACE_DETACH, id, 0, 0);
    }
    g_clear_pointer(&calls->threads, g_hash_table_destroy);
}

char *bench_calls_name(unsigned number)
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, (int)number);
    char *copy = name ? g_strdup(name) : g_strdup_printf("call%u", number);

    free(name);
    return copy;
}
