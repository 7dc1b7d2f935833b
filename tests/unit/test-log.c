/* SPDX-License-Identifier: Apache-2.0 */
/* log.h: what a line looks like on stderr, and that nothing in it can make it two. */
#include "vhost-user/log.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <unistd.h>

/* Sends stderr into a pipe while `write_lines` runs, and returns what came. */
static char *capture(void (*write_lines)(void))
{
    char buf[4096];
    int fds[2], saved = dup(STDERR_FILENO);
    ssize_t n;

    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_cmpint(dup2(fds[1], STDERR_FILENO), >=, 0);
    write_lines();
    g_assert_cmpint(dup2(saved, STDERR_FILENO), >=, 0);
    close(saved);
    close(fds[1]);
    n = read(fds[0], buf, sizeof(buf) - 1);
    close(fds[0]);
    g_assert_cmpint(n, >=, 0);
    buf[n] = '\0';
    return g_strdup(buf);
}

static int n_evaluated;

static int evaluated(void)
{
    return ++n_evaluated;
}

static void lines_of_all_levels(void)
{
    errno = ENOENT;
    vu_error("dev: queue %d: bad", 1);
    g_assert_cmpint(errno, ==, ENOENT);
    vu_warning("dev: odd");
    vu_info("dev: ready");
    vu_debug("dev: %d", evaluated());
}

static void test_levels(void)
{
    g_autofree char *at_info = NULL, *at_debug = NULL, *at_off = NULL;

    at_info = capture(lines_of_all_levels);
    g_assert_cmpstr(at_info, ==, "error: dev: queue 1: bad\nwarning: dev: odd\ndev: ready\n");
    g_assert_cmpint(n_evaluated, ==, 0);
    vu_log_set_level(VU_LOG_DEBUG);
    at_debug = capture(lines_of_all_levels);
    g_assert_true(g_str_has_suffix(at_debug, "dev: ready\ndebug: dev: 1\n"));
    vu_log_set_level(VU_LOG_OFF);
    at_off = capture(lines_of_all_levels);
    g_assert_cmpstr(at_off, ==, "");
    vu_log_set_level(VU_LOG_INFO);
    g_assert_cmpint(vu_log_get_level(), ==, VU_LOG_INFO);
}

static void hostile_line(void)
{
    vu_info("name \"%s\"", "a\nerror: forged\r\t\033[2J\177\303\251");
}

static void test_hostile(void)
{
    g_autofree char *out = capture(hostile_line);

    g_assert_cmpstr(out, ==, "name \"a?error: forged???[2J?\303\251\"\n");
}

static void long_line(void)
{
    g_autofree char *text = g_strnfill(5000, 'x');

    vu_error("%s", text);
}

static void test_long(void)
{
    g_autofree char *out = capture(long_line);

    g_assert_cmpuint(strlen(out), ==, 1024);
    g_assert_true(g_str_has_suffix(out, "x\n"));
}

static void stderr_closed(void)
{
    close(STDERR_FILENO);
    vu_error("to nobody");
}

static void test_closed(void)
{
    g_autofree char *out = capture(stderr_closed);

    g_assert_cmpstr(out, ==, "");
}

/* Once, then not for a second; others have a second of their own. */
static void test_due(void)
{
    uint64_t next_ns = 0, other_ns = 0, before;

    g_assert_true(vu_log_is_due(&next_ns));
    before = next_ns;
    g_assert_cmpuint(before, >, 0);
    next_ns += UINT64_C(3600000000000); /* not even on a machine that stands still */
    g_assert_false(vu_log_is_due(&next_ns));
    g_assert_true(vu_log_is_due(&other_ns));
    next_ns = 1;
    g_assert_true(vu_log_is_due(&next_ns));
    g_assert_cmpuint(next_ns, >=, before);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/log/levels", test_levels);
    g_test_add_func("/log/hostile", test_hostile);
    g_test_add_func("/log/long", test_long);
    g_test_add_func("/log/closed", test_closed);
    g_test_add_func("/log/due", test_due);
    return g_test_run();
}
