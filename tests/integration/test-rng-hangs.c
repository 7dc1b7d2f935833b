/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vrngd whose source says nothing, or hangs in the kernel while it is read: it tells of that, and
 * ends when it is told to, whatever the source does.
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blk-control.h"
#include "rng-guest.h"
#include "slow-disk.h"

#define PATIENCE_MS 30000 /* not the minutes for which the source would hang */
#define STATUS      "{\"execute\":\"query-status\"}"

/* How a daemon is told. */
enum way { BY_SIGNAL, BY_COMMAND };

static void tell(struct rng_guest *guest, enum way way)
{
    g_autofree char *answer = NULL;

    if (way == BY_SIGNAL)
        g_assert_cmpint(kill(guest->pid, SIGTERM), ==, 0);
    else
        answer = blk_control_ask(guest->control, "{\"execute\":\"quit\"}");
}

/* Its exit status. */
static int wait_for_end(struct rng_guest *guest)
{
    int status;

    for (unsigned i = 0; waitpid(guest->pid, &status, WNOHANG) != guest->pid; i++) {
        g_assert_cmpuint(i, <, PATIENCE_MS / 10);
        g_usleep(10000);
    }
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Nobody has it open for writing. */
static void test_fifo(gconstpointer way)
{
    g_autofree char *dir = g_dir_make_tmp("rng-hangs-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "fifo", NULL);
    g_autofree char *options = g_strconcat("--source=", path, NULL);
    const struct rng_guest_setup setup = {.options = options, .n_devices = 2, .n_queues = 1};
    struct rng_guest_slot slot;
    struct rng_guest guest;
    const uint32_t len = 16;

    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    if (rng_guest_start(&guest, &setup)) {
        rng_guest_slot_init(&guest, 0, &slot);
        rng_guest_ask(&guest, 0, 0, &slot, &len, 1);
        rng_guest_expect_answer(&guest, STATUS, "\"device\":0,\"waiting\":1");
        tell(&guest, (enum way)GPOINTER_TO_INT(way));
        g_assert_cmpint(wait_for_end(&guest), ==, 0);
        rng_guest_clear(&guest);
    }
    g_unlink(path);
    g_rmdir(dir);
}

/* In a process of its own, which cannot be killed, and has nothing of ours that it would keep. */
static pid_t look_up(const char *path)
{
    pid_t pid = fork();

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0) {
        closefrom(STDIN_FILENO);
        _exit(access(path, F_OK) == 0);
    }
    return pid;
}

static void wait_for_disk(void)
{
    for (unsigned i = 0; slow_disk_n_waiting() == 0; i++) {
        g_assert_cmpuint(i, <, PATIENCE_MS);
        g_usleep(1000);
    }
}

/* A request that the daemon reads the source for. */
static void ask(struct rng_guest *guest)
{
    struct rng_guest_slot slot;
    const uint32_t len = 4096;

    rng_guest_slot_init(guest, 0, &slot);
    rng_guest_ask(guest, 0, 0, &slot, &len, 1);
}

/* Nothing of the daemon is left to whoever would start another, or waits for this one. */
static void expect_left_behind(struct rng_guest *guest)
{
    struct pollfd fd = {.events = POLLIN};
    int fds[2];

    g_assert_cmpuint(vu_frontend_get_poll_fds(guest->devices[0].frontend, fds), >=, 1);
    fd.fd = fds[0];
    g_assert_cmpint(wait_for_end(guest), ==, 1);
    rng_guest_expect_log(guest, "hangs in the kernel, leaving it behind");
    g_assert_cmpint(access(guest->devices[0].socket, F_OK), ==, -1);
    g_assert_cmpint(access(guest->control, F_OK), ==, -1);
    g_assert_cmpint(poll(&fd, 1, PATIENCE_MS), ==, 1);
    g_assert_cmpuint(fd.revents & POLLHUP, !=, 0);
}

/* A read can be killed for as long as it has not been taken from the kernel. */
static void hang_untaken(struct rng_guest *guest, enum way way, const char *dir)
{
    g_autofree char *slow = g_build_filename(dir, "slow", NULL);
    g_autofree char *file = g_build_filename(dir, "file", NULL);
    pid_t pid;

    /* Then the kernel knows that this file system has nothing to be told when a file is closed. */
    close(open(file, O_RDONLY | O_CLOEXEC));
    slow_disk_shut(SLOW_DISK_DEAF);
    pid = look_up(slow);
    wait_for_disk();
    ask(guest);
    rng_guest_expect_answer(guest, STATUS, "\"state\":\"waiting\",\"problem\":\"silent\"");
    tell(guest, way);
    g_assert_cmpint(wait_for_end(guest), ==, 1);
    rng_guest_expect_log(guest, "hangs, leaving it behind");
    slow_disk_open();
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

/* One that was taken cannot. */
static void hang_taken(struct rng_guest *guest, enum way way, const char *dir)
{
    slow_disk_shut(SLOW_DISK_READ);
    ask(guest);
    wait_for_disk();
    tell(guest, way);
    expect_left_behind(guest);
}

/* The source has nothing on its way, and cannot be closed. */
static void hang_closing(struct rng_guest *guest, enum way way, const char *dir)
{
    slow_disk_shut(SLOW_DISK_FLUSH);
    tell(guest, way);
    expect_left_behind(guest);
    g_assert_cmpuint(slow_disk_n_waiting(), ==, 1);
}

/* How the source hangs, and how the daemon is told then. */
struct hanging {
    const char *name;
    void (*run)(struct rng_guest *guest, enum way way, const char *dir);
    enum way way;
};

/* What does not return is left behind, and said to be. */
static void test_hangs(gconstpointer data)
{
    const struct hanging *hanging = data;
    g_autofree char *dir = g_dir_make_tmp("rng-hangs-XXXXXX", NULL);
    g_autofree char *options = g_strdup_printf("--source=%s/lazy", dir);
    const struct rng_guest_setup setup = {.options = options, .n_devices = 1, .n_queues = 1};
    struct rng_guest guest;
    const char *why;

    if (!slow_disk_start(dir, &why)) {
        g_test_skip(why);
        g_rmdir(dir);
        return;
    }
    if (rng_guest_start(&guest, &setup)) {
        hanging->run(&guest, hanging->way, dir);
        slow_disk_open();
        rng_guest_clear(&guest);
    }
    slow_disk_stop();
    g_rmdir(dir);
}

static const struct hanging hangings[] = {
    {"untaken/signal", hang_untaken, BY_SIGNAL}, {"untaken/command", hang_untaken, BY_COMMAND},
    {"taken/signal", hang_taken, BY_SIGNAL},     {"taken/command", hang_taken, BY_COMMAND},
    {"closing", hang_closing, BY_SIGNAL},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/rng-hangs/fifo/signal", GINT_TO_POINTER(BY_SIGNAL), test_fifo);
    g_test_add_data_func("/rng-hangs/fifo/command", GINT_TO_POINTER(BY_COMMAND), test_fifo);
    for (size_t i = 0; i < G_N_ELEMENTS(hangings); i++) {
        g_autofree char *path = g_strconcat("/rng-hangs/", hangings[i].name, NULL);

        g_test_add_data_func(path, &hangings[i], test_hangs);
    }
    return g_test_run();
}
