/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feeder.h with the sources of source.h: a FIFO that is silent, ends and goes on; a file that is
 * read through; a source that fails as its script says; and one whose samples fail their tests.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contrib/vrngd/feeder.h"
#include "vhost-user/log.h"

#define PATIENCE_US 30000000

/* A source of which each read does what the script's next letter says:
 *   + gives all   1 gives one byte   - nothing yet   ! fails   0 gives zeros, which no test passes
 * At its end it begins anew with the last letter. */
struct scripted {
    struct rng_source source; /* first */
    const char *script;       /* atomic pointer */
    uint32_t state;
    unsigned n_opened, n_closed; /* atomic */
    bool is_open;
    uint8_t *buffer; /* where the first read went */
};

static int scripted_open(struct rng_source *source)
{
    struct scripted *scripted = (struct scripted *)source;

    g_assert_false(scripted->is_open);
    scripted->is_open = true;
    __atomic_add_fetch(&scripted->n_opened, 1, __ATOMIC_RELAXED);
    return 0;
}

static void scripted_close(struct rng_source *source)
{
    struct scripted *scripted = (struct scripted *)source;

    g_assert_true(scripted->is_open);
    scripted->is_open = false;
    __atomic_add_fetch(&scripted->n_closed, 1, __ATOMIC_RELAXED);
}

static ssize_t scripted_read(struct rng_source *source, void *to, size_t size)
{
    struct scripted *scripted = (struct scripted *)source;
    const char *at = __atomic_load_n(&scripted->script, __ATOMIC_ACQUIRE);
    uint8_t *bytes = to;

    g_assert_true(scripted->is_open);
    if (!scripted->buffer)
        scripted->buffer = to;
    g_assert_cmpuint((size_t)(bytes - scripted->buffer) + size, <=, 65536);
    if (at[1] != '\0')
        __atomic_store_n(&scripted->script, at + 1, __ATOMIC_RELEASE);
    if (*at == '-')
        return -EAGAIN;
    if (*at == '!')
        return -EIO;
    size = *at == '1' ? 1 : size;
    for (size_t i = 0; i < size; i++) {
        scripted->state = scripted->state * 1664525 + 1013904223;
        bytes[i] = *at == '0' ? 0 : (uint8_t)(scripted->state >> 24 | 1);
    }
    return (ssize_t)size;
}

static void scripted_destroy(struct rng_source *source)
{
    g_free(source);
}

static const struct rng_source_ops scripted_ops = {
    .open = scripted_open,
    .read = scripted_read,
    .close = scripted_close,
    .destroy = scripted_destroy,
};

static struct rng_source *scripted_create(const char *script)
{
    struct scripted *scripted = g_new0(struct scripted, 1);

    scripted->source.ops = &scripted_ops;
    scripted->source.name = g_strdup("scripted");
    scripted->script = script;
    return &scripted->source;
}

/* --- the rig --- */

struct asked {
    struct rng_request request;
    uint8_t bytes[65536];
    size_t got; /* atomic */
};

struct rig {
    struct rng_pool *pool;
    struct rng_client *client;
    struct rng_source *source;
    struct rng_feeder *feeder;
};

static void rig_start(struct rig *rig, struct rng_source *source, double min_entropy)
{
    g_assert_nonnull(source);
    rig->source = source;
    rig->pool = rng_pool_create();
    rig->client = rng_client_create(rig->pool);
    rig->feeder = rng_feeder_create(rig->pool, source);
    if (min_entropy > 0)
        rng_feeder_test_health(rig->feeder, min_entropy);
    g_assert_cmpint(rng_feeder_start(rig->feeder), ==, 0);
}

static void rig_clear(struct rig *rig)
{
    rng_feeder_stop(rig->feeder);
    rng_client_cancel_all(rig->client, NULL);
    rng_client_destroy(rig->client);
    rng_feeder_destroy(rig->feeder);
    rng_pool_destroy(rig->pool);
    rng_source_destroy(rig->source);
}

static void on_data(struct rng_request *request, const uint8_t *data, size_t size)
{
    struct asked *asked = (struct asked *)request;

    memcpy(asked->bytes, data, size);
    __atomic_store_n(&asked->got, size, __ATOMIC_RELEASE);
}

static void ask(struct rig *rig, struct asked *asked, size_t size)
{
    *asked = (struct asked){.request = {.size = size, .done = on_data}};
    rng_client_request(rig->client, &asked->request);
}

#define WAIT_FOR(condition)                                                                  \
    do {                                                                                     \
        for (gint64 end = g_get_monotonic_time() + PATIENCE_US; !(condition); g_usleep(500)) \
            g_assert_cmpint(g_get_monotonic_time(), <, end);                                 \
    } while (0)

static size_t take(struct asked *asked)
{
    WAIT_FOR(__atomic_load_n(&asked->got, __ATOMIC_ACQUIRE) > 0);
    return asked->got;
}

static bool has_state(struct rig *rig, const char *state)
{
    struct rng_feeder_status status;

    rng_feeder_get_status(rig->feeder, &status);
    return strcmp(rng_feeder_state(&status), state) == 0;
}

/* --- sources --- */

static void test_getrandom(void)
{
    struct asked asked;
    struct rig rig;

    rig_start(&rig, rng_source_create("getrandom", NULL), 0);
    ask(&rig, &asked, 4096);
    g_assert_cmpuint(take(&asked), ==, 4096);
    rig_clear(&rig);
}

static void test_fifo(void)
{
    g_autofree char *dir = g_dir_make_tmp("rng-feeder-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "fifo", NULL);
    struct asked first, second;
    struct rig rig;
    int fd;

    g_assert_cmpint(mkfifo(path, 0600), ==, 0);
    rig_start(&rig, rng_source_create(path, NULL), 0);
    ask(&rig, &first, 16);
    WAIT_FOR(has_state(&rig, "waiting")); /* nobody writes */
    fd = g_open(path, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(write(fd, "abcdef", 6), ==, 6);
    g_assert_cmpuint(take(&first), ==, 6);
    g_assert_cmpint(memcmp(first.bytes, "abcdef", 6), ==, 0);
    g_assert_true(has_state(&rig, "good"));
    /* It is silent. */
    ask(&rig, &second, 3);
    g_usleep(20000);
    g_assert_cmpuint(second.got, ==, 0);
    g_assert_cmpint(write(fd, "ghijkl", 6), ==, 6);
    g_assert_cmpuint(take(&second), ==, 3);
    g_assert_cmpint(memcmp(second.bytes, "ghi", 3), ==, 0);
    /* Its end leaves what was written before. */
    close(fd);
    ask(&rig, &first, 16);
    g_assert_cmpuint(take(&first), ==, 3);
    g_assert_cmpint(memcmp(first.bytes, "jkl", 3), ==, 0);
    rig_clear(&rig);
    g_unlink(path);
    g_rmdir(dir);
}

/* No byte is given twice: a file that was read through is waited for, and may grow. */
static void test_file(void)
{
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("rng-feeder-XXXXXX", &path, NULL);
    struct asked asked;
    struct rig rig;

    g_assert_cmpint(write(fd, "0123456789", 10), ==, 10);
    rig_start(&rig, rng_source_create(path, NULL), 0);
    ask(&rig, &asked, 8);
    g_assert_cmpuint(take(&asked), ==, 8);
    ask(&rig, &asked, 8);
    g_assert_cmpuint(take(&asked), ==, 2);
    g_assert_cmpint(memcmp(asked.bytes, "89", 2), ==, 0);
    ask(&rig, &asked, 8);
    WAIT_FOR(has_state(&rig, "waiting"));
    g_assert_cmpuint(asked.got, ==, 0);
    g_assert_cmpint(write(fd, "xy", 2), ==, 2);
    g_assert_cmpuint(take(&asked), ==, 2);
    g_assert_cmpint(memcmp(asked.bytes, "xy", 2), ==, 0);
    rig_clear(&rig);
    close(fd);
    g_unlink(path);
}

static void test_refused(void)
{
    static const char *const names[] = {"/dev/null", "/dev/zero",     "/dev/full",
                                        "/tmp",      "/no/such/file", "getrandomly"};
    GError *error = NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_assert_null(rng_source_create(names[i], &error));
        g_assert_nonnull(error);
        g_clear_error(&error);
    }
}

/* --- scripts --- */

static void test_short(void)
{
    struct asked asked;
    struct rig rig;

    rig_start(&rig, scripted_create("--1-1+"), 0);
    ask(&rig, &asked, 100);
    g_assert_cmpuint(take(&asked), ==, 1);
    ask(&rig, &asked, 100);
    g_assert_cmpuint(take(&asked), ==, 1);
    ask(&rig, &asked, 100);
    g_assert_cmpuint(take(&asked), ==, 100);
    rig_clear(&rig);
}

static void test_fails(void)
{
    const struct scripted *scripted;
    struct rng_feeder_status status;
    struct asked asked;
    struct rig rig;

    rig_start(&rig, scripted_create("!!!+"), 0);
    scripted = (const struct scripted *)rig.source;
    ask(&rig, &asked, 100);
    WAIT_FOR(has_state(&rig, "waiting"));
    g_assert_cmpuint(take(&asked), ==, 100);
    g_assert_true(has_state(&rig, "good"));
    rng_feeder_get_status(rig.feeder, &status);
    g_assert_cmpuint(status.n_failures, ==, 3);
    g_assert_cmpuint(__atomic_load_n(&scripted->n_closed, __ATOMIC_RELAXED), ==, 3);
    g_assert_cmpuint(__atomic_load_n(&scripted->n_opened, __ATOMIC_RELAXED), ==, 4);
    rig_clear(&rig);
}

/* One that says nothing is told of, too. */
static void test_silent(void)
{
    struct rng_feeder_status status;
    struct scripted *scripted;
    struct asked asked;
    struct rig rig;

    rig_start(&rig, scripted_create("-"), 0);
    scripted = (struct scripted *)rig.source;
    ask(&rig, &asked, 100);
    WAIT_FOR(has_state(&rig, "waiting"));
    rng_feeder_get_status(rig.feeder, &status);
    g_assert_cmpstr(status.problem_text, ==, "silent");
    g_assert_cmpuint(status.n_failures, ==, 1);
    __atomic_store_n(&scripted->script, "+", __ATOMIC_RELEASE);
    g_assert_cmpuint(take(&asked), ==, 100);
    g_assert_true(has_state(&rig, "good"));
    rig_clear(&rig);
}

/* --- health --- */

/* Nothing of what was read until an alarm is given out, and the tests begin anew. */
static void test_alarm(void)
{
    struct rng_feeder_status status;
    struct asked asked;
    struct rig rig;

    rig_start(&rig, scripted_create("111110+"), 1);
    ask(&rig, &asked, 4096);
    WAIT_FOR(has_state(&rig, "alarm"));
    g_assert_cmpuint(take(&asked), >=, 1);
    for (size_t i = 0; i < asked.got; i++)
        g_assert_cmpuint(asked.bytes[i], !=, 0);
    g_assert_true(has_state(&rig, "good"));
    rng_feeder_get_status(rig.feeder, &status);
    g_assert_cmpuint(status.n_alarms, ==, 1);
    rig_clear(&rig);
}

/* Who asks for much while the start-up test has only some of its bytes: they stay where they are
 * kept. */
static void test_much_at_start(void)
{
    struct asked asked;
    struct rig rig;

    rig_start(&rig, scripted_create("--------11111111+"), 1);
    ask(&rig, &asked, sizeof(asked.bytes));
    g_assert_cmpuint(take(&asked), >, 0);
    g_assert_true(has_state(&rig, "good"));
    rig_clear(&rig);
}

static void test_stopped(void)
{
    struct scripted *scripted;
    struct asked asked;
    struct rig rig;

    rig_start(&rig, scripted_create("0"), 1);
    scripted = (struct scripted *)rig.source;
    ask(&rig, &asked, 16);
    WAIT_FOR(has_state(&rig, "stopped"));
    /* It would be good by now, and nobody looks. */
    __atomic_store_n(&scripted->script, "+", __ATOMIC_RELEASE);
    g_usleep(20000);
    g_assert_true(has_state(&rig, "stopped"));
    g_assert_cmpuint(asked.got, ==, 0);
    rng_feeder_restart(rig.feeder);
    g_assert_cmpuint(take(&asked), ==, 16);
    g_assert_true(has_state(&rig, "good"));
    rig_clear(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_OFF);
    g_test_add_func("/rng-feeder/getrandom", test_getrandom);
    g_test_add_func("/rng-feeder/fifo", test_fifo);
    g_test_add_func("/rng-feeder/file", test_file);
    g_test_add_func("/rng-feeder/refused", test_refused);
    g_test_add_func("/rng-feeder/short", test_short);
    g_test_add_func("/rng-feeder/fails", test_fails);
    g_test_add_func("/rng-feeder/silent", test_silent);
    g_test_add_func("/rng-feeder/alarm", test_alarm);
    g_test_add_func("/rng-feeder/much-at-start", test_much_at_start);
    g_test_add_func("/rng-feeder/stopped", test_stopped);
    return g_test_run();
}
