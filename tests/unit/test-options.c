/* SPDX-License-Identifier: Apache-2.0 */
/* options.h, and the common rows of daemon.h: every spelling, every mistake by its message. */
#include "vhost-user/daemon/options.h"

#include <stdlib.h>
#include <string.h>

#include "vhost-user/daemon/daemon.h"
#include "vhost-user/log.h"

struct target {
    bool flag, shown;
    char *dir;
    int size;
    int cache;
    int n_calls;
    char *last_call;
};

static bool record_call(void *opaque, const char *name, const char *value, GError **error)
{
    struct target *target = opaque;

    if (value != NULL && strcmp(value, "bad") == 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected good, got \"bad\"");
        return false;
    }
    target->n_calls++;
    g_free(target->last_call);
    target->last_call = g_strdup_printf("%s=%s", name, value ? value : "(none)");
    return true;
}

static const char *const cache_names[] = {"never", "auto", "always", NULL};

#define OFFSET(field) offsetof(struct target, field)
/* clang-format off */
static const struct vu_option rows[] = {
    {.name = "posix_lock", .in_o_list = true, .type = VU_OPTION_FLAG, .offset = OFFSET(flag),
     .group = "Locks", .help = "Forward locks."},
    {.name = "announce", .short_name = 'a', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = OFFSET(flag), .group = "Other", .help = "Announce."},
    {.name = "no-announce", .is_long = true, .type = VU_OPTION_NO_FLAG, .offset = OFFSET(flag)},
    {.name = "shared-dir", .short_name = 'D', .is_long = true, .in_o_list = true,
     .type = VU_OPTION_STRING, .offset = OFFSET(dir), .metavar = "DIR", .group = "Other",
     .help = "The directory to share. .A sentence beginning with a dot, and so many words after it "
             "that the line has to be wrapped in the help column."},
    {.name = "size", .is_long = true, .type = VU_OPTION_INT, .offset = OFFSET(size), .min = 1,
     .max = 64, .group = "Other", .help = "Size."},
    {.name = "cache", .is_long = true, .in_o_list = true, .type = VU_OPTION_CHOICE,
     .offset = OFFSET(cache), .choices = cache_names, .group = "Other", .help = "Caching."},
    {.name = "limit", .is_long = true, .in_o_list = true, .type = VU_OPTION_CALL,
     .parse = record_call, .metavar = "N", .group = "Other", .help = "Limit."},
    {.name = "trace", .is_long = true, .in_o_list = true, .value_optional = true,
     .type = VU_OPTION_CALL, .parse = record_call, .metavar = "WHAT", .group = "Other",
     .help = "Trace."},
    {.name = "thread-pool-size", .is_long = true, .type = VU_OPTION_IGNORED, .metavar = "N"},
    {.name = "daemonize", .is_long = true, .in_o_list = true, .type = VU_OPTION_IGNORED},
};
/* clang-format on */

/* Parses a command line of words; returns the message of the error, NULL where all was well. */
static char *parse(struct target *target, const char *line)
{
    const struct vu_option_table table = {rows, G_N_ELEMENTS(rows), target};
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    GError *error = NULL;
    char *message;

    memset(target, 0, sizeof(*target));
    if (vu_options_parse(&table, 1, (int)g_strv_length(argv), argv, NULL, &error)) {
        g_assert_null(error);
        return NULL;
    }
    message = g_strdup(error->message);
    g_error_free(error);
    return message;
}

static void target_clear(struct target *target)
{
    g_free(target->dir);
    g_free(target->last_call);
}

static void expect_ok(struct target *target, const char *line)
{
    g_autofree char *message = parse(target, line);

    g_assert_cmpstr(message, ==, NULL);
}

static void test_spellings(void)
{
    struct target t;

    expect_ok(&t, "x --shared-dir /a --size=7 --cache auto -a");
    g_assert_cmpstr(t.dir, ==, "/a");
    g_assert_cmpint(t.size, ==, 7);
    g_assert_cmpint(t.cache, ==, 1);
    g_assert_true(t.flag);
    target_clear(&t);

    expect_ok(&t, "x -aD/b --limit=3 --trace --no-announce");
    g_assert_cmpstr(t.dir, ==, "/b");
    g_assert_false(t.flag);
    g_assert_cmpint(t.n_calls, ==, 2);
    g_assert_cmpstr(t.last_call, ==, "trace=(none)");
    target_clear(&t);

    expect_ok(&t, "x -D /first -D /second --trace=all");
    g_assert_cmpstr(t.dir, ==, "/second");
    g_assert_cmpstr(t.last_call, ==, "trace=all");
    target_clear(&t);
}

static void test_lists(void)
{
    struct target t;

    expect_ok(&t, "x -o posix_lock,shared-dir=/a\\,b\\\\c\\040d,cache=ALWAYS,limit=9,");
    g_assert_true(t.flag);
    g_assert_cmpstr(t.dir, ==, "/a,b\\c d");
    g_assert_cmpint(t.cache, ==, 2);
    g_assert_cmpstr(t.last_call, ==, "limit=9");
    target_clear(&t);

    expect_ok(&t, "x -o shared-dir=/a,,b,,,limit=9,,");
    g_assert_cmpstr(t.dir, ==, "/a,b,");
    g_assert_cmpstr(t.last_call, ==, "limit=9,");
    target_clear(&t);

    expect_ok(&t, "x -ao limit=9 -aolimit=8");
    g_assert_true(t.flag);
    g_assert_cmpint(t.n_calls, ==, 2);
    g_assert_cmpstr(t.last_call, ==, "limit=8");
    target_clear(&t);

    expect_ok(&t, "x -oposix-lock -o no_posix_lock,shared_dir=/x=y,trace");
    g_assert_false(t.flag);
    g_assert_cmpstr(t.dir, ==, "/x=y");
    g_assert_cmpstr(t.last_call, ==, "trace=(none)");
    target_clear(&t);
}

static void test_rest(void)
{
    char *argv[] = {"x", "one", "-a", "-", "--", "--two", NULL};
    struct target t = {0};
    const struct vu_option_table table = {rows, G_N_ELEMENTS(rows), &t};
    g_autofree char **rest = NULL;

    g_assert_true(vu_options_parse(&table, 1, 6, argv, &rest, NULL));
    g_assert_true(t.flag);
    g_assert_cmpstr(rest[0], ==, "one");
    g_assert_cmpstr(rest[1], ==, "-");
    g_assert_cmpstr(rest[2], ==, "--two");
    g_assert_null(rest[3]);
}

static void test_ignored(void)
{
    char *argv[] = {"x",        "--thread-pool-size", "8",
                    "--size=3", "--daemonize",        "--thread-pool-size=8",
                    "-o",       "daemonize",          NULL};
    struct target t = {0};
    const struct vu_option_table table = {rows, G_N_ELEMENTS(rows), &t};
    g_autofree char *ignored = NULL;

    g_assert_true(
        vu_options_parse_all(&table, 1, (int)G_N_ELEMENTS(argv) - 1, argv, NULL, &ignored, NULL));
    g_assert_cmpint(t.size, ==, 3);
    g_assert_cmpstr(ignored, ==, "--thread-pool-size, --daemonize, -o daemonize");
    vu_log_set_level(VU_LOG_OFF);
    expect_ok(&t, "x --thread-pool-size 8 --daemonize --thread-pool-size=8 -o daemonize");
    vu_log_set_level(VU_LOG_INFO);
}

static void test_mistakes(void)
{
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"x --size", "--size: expected a value, got nothing"},
        {"x --size=0", "--size: expected a number from 1 to 64, got \"0\""},
        {"x --size=65", "--size: expected a number from 1 to 64, got \"65\""},
        {"x --size=7k", "--size: expected a number from 1 to 64, got \"7k\""},
        {"x --size=", "--size: expected a number from 1 to 64, got \"\""},
        {"x --size 99999999999999999999",
         "--size: expected a number from 1 to 64, got \"99999999999999999999\""},
        {"x --cache=some", "--cache: expected never, auto or always, got \"some\""},
        {"x -o cache", "-o cache: expected a value, got nothing"},
        {"x -o cache=", "-o cache: expected never, auto or always, got \"\""},
        {"x -o posix_lock=on", "-o posix_lock: expected no value, got \"on\""},
        {"x --announce=1", "--announce: expected no value, got \"1\""},
        {"x -D", "-D: expected DIR, got nothing"},
        {"x --shared-dir=", "--shared-dir: expected DIR, got nothing"},
        {"x --limit=bad", "--limit: expected good, got \"bad\""},
        {"x -o limit=bad", "-o limit: expected good, got \"bad\""},
        {"x -o", "-o: expected KEY[=VALUE],..., got nothing"},
        {"x stray", "stray: unexpected argument; options begin with --"},
        {"x --shard-dir=/a", "--shard-dir: unknown option; is --shared-dir meant?"},
        {"x --share-dri=/a", "--share-dri: unknown option; is --shared-dir meant?"},
        {"x -o posx_lock", "-o posx_lock: unknown option; is -o posix_lock meant?"},
        {"x -o size=3", "-o size: unknown option; is --size meant?"},
        {"x --posix-lock", "--posix-lock: unknown option; is -o posix_lock meant?"},
        {"x -size=3", "-s: unknown option; is --size meant?"},
        {"x -o no_cache", "-o no_cache: unknown option; --help lists them"},
        {"x --zzz", "--zzz: unknown option; --help lists them"},
        {"x -z", "-z: unknown option; --help lists them"},
        {"x --=", "--: unknown option; --help lists them"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct target t;
        g_autofree char *message = parse(&t, cases[i].line);

        if (g_strcmp0(message, cases[i].message) != 0)
            g_test_message("for: %s", cases[i].line);
        g_assert_cmpstr(message, ==, cases[i].message);
        target_clear(&t);
    }
}

static const char *const features[] = {"read-only", "blk-file", NULL};
static const struct vu_program program = {
    .name = "testd",
    .summary = "tests the options",
    .usage = "testd --socket-path=PATH [OPTION]...",
    .device_type = "fs",
    .capability_features = features,
    .man_text = ".SH SEE ALSO\nnothing\n",
};

/* Parses in a subprocess, which exits with the status, or 42 to go on. */
static void parse_and_exit(const char *line)
{
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    struct vu_daemon_options options;
    struct target target = {0};
    const struct vu_option_table own = {rows, G_N_ELEMENTS(rows), &target};
    int status = 42;

    vu_daemon_options_init(&options);
    vu_daemon_parse(&program, &options, &own, 1, (int)g_strv_length(argv), argv, &status);
    vu_daemon_options_clear(&options);
    target_clear(&target);
    exit(status);
}

/* Program command lines: exit status, and patterns for what is printed. */
static const struct {
    const char *line;
    int status;
    const char *out, *err;
} program_cases[] = {
    {"testd --help", 0,
     "Usage: testd --socket-path=PATH*Other:\n*  -a, --announce *  -D, --shared-dir=DIR, -o "
     "shared-dir=DIR\n*--cache=never|auto|always*Connection:\n*--socket-path=PATH*-h, --help *",
     ""},
    {"testd -V", 0, "testd (Outboard) 0*", ""},
    {"testd --print-capabilities", 0,
     "{\n  \"type\": \"fs\",\n  \"features\": [\n    \"read-only\",\n    \"blk-file\"\n  ]\n}\n",
     ""},
    {"testd --print-man", 0,
     ".TH TESTD 1*\n.SH NAME\ntestd \\- tests*.SH OPTIONS\n*.SS Other\n*.TP\n\\fB\\-D\\fR*, "
     "\\fB\\-\\-shared\\-dir\\fR\\fI=DIR\\fR*.SH SEE ALSO\nnothing\n",
     ""},
    {"testd --help --bogus", 1, "", "testd: --bogus: unknown option*"},
    {"testd", 1, "",
     "testd: no socket: expected --socket-path=PATH, --fd=N or socket activation\n"},
    {"testd --fd=3 --socket-path=/x", 1, "", "testd: --socket-path and --fd exclude each other\n"},
    {"testd --fd=3 -o vhost_user_socket=/x", 1, "", "testd: --socket-path and --fd exclude*"},
    {"testd --fd=-1", 1, "", "testd: --fd: expected a number from 0 to 2147483647, got \"-1\"\n"},
    {"testd --fd=3 --socket-group=kvm", 1, "", "testd: --socket-group: expected --socket-path*"},
    {"testd --fd=3 --log-level=loud", 1, "",
     "testd: --log-level: expected error, warn, info, debug or off, got \"loud\"\n"},
    {"testd --fd=3 --poll-us=many", 1, "",
     "testd: --poll-us: expected a number from 0 to 100000, got \"many\"\n"},
    {"testd -f -d --fd=3 -o log_level=err,debug --poll-us=0 --syslog --exit-on-disconnect", 42, "",
     ""},
    {"testd --socket-path /x --socket-group=kvm --inband-notifications --log-level trace", 42, "",
     ""},
};

static void test_program(void)
{
    if (g_test_subprocess())
        parse_and_exit(g_getenv("TEST_OPTIONS_LINE"));
    for (size_t i = 0; i < G_N_ELEMENTS(program_cases); i++) {
        g_setenv("TEST_OPTIONS_LINE", program_cases[i].line, TRUE);
        g_test_trap_subprocess(NULL, 0, 0);
        g_test_message("for: %s", program_cases[i].line);
        if (program_cases[i].status == 0)
            g_test_trap_assert_passed();
        else
            g_test_trap_assert_failed();
        g_test_trap_assert_stdout(*program_cases[i].out ? program_cases[i].out : "*");
        g_test_trap_assert_stderr(program_cases[i].err);
    }
}

static void test_values(void)
{
    char *argv[] = {"x",
                    "--socket-path=/s",
                    "--socket-group=g",
                    "--poll-us=5",
                    "-o",
                    "log_level=err",
                    "--syslog",
                    "--inband-notifications",
                    "-f",
                    NULL};
    struct vu_daemon_options options;
    struct vu_option_table table = {vu_daemon_option_rows, 0, &options};

    table.n_rows = vu_daemon_n_option_rows;
    vu_daemon_options_init(&options);
    g_assert_cmpint(options.fd, ==, -1);
    g_assert_cmpint(options.poll_us, ==, 32);
    g_assert_cmpint(options.log_level, ==, VU_LOG_INFO);
    g_assert_true(vu_options_parse(&table, 1, (int)G_N_ELEMENTS(argv) - 1, argv, NULL, NULL));
    g_assert_cmpstr(options.socket_path, ==, "/s");
    g_assert_cmpstr(options.socket_group, ==, "g");
    g_assert_cmpint(options.poll_us, ==, 5);
    g_assert_cmpint(options.log_level, ==, VU_LOG_ERROR);
    g_assert_true(options.syslog && options.inband_notifications && options.foreground);
    vu_daemon_options_clear(&options);
    g_assert_null(options.socket_path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/options/spellings", test_spellings);
    g_test_add_func("/options/lists", test_lists);
    g_test_add_func("/options/rest", test_rest);
    g_test_add_func("/options/ignored", test_ignored);
    g_test_add_func("/options/mistakes", test_mistakes);
    g_test_add_func("/options/values", test_values);
    g_test_add_func("/options/program", test_program);
    return g_test_run();
}
