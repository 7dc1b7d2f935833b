/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failing calls. Of everything that an operation does to the files, the n-th call fails, for every
 * n until there are no more: the operation alone is told so, what it did not touch is as it was,
 * what comes after it succeeds, and the image is sound.
 */
#include <errno.h>
#include <string.h>

#include "tests/unit/qcow2-fixture.h"
#include "tests/unit/storage-recorder.h"
#include "vblkd/format/qcow2-check.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-discard.h"
#include "vblkd/format/qcow2-snapshot.h"

#define TEST_SIZE   (UINT64_C(512) << 10)
#define TEST_SECTOR 512
#define TEST_MAX_N  400 /* calls that an operation may make */

/* The part of the disk that an operation is about; what it may be afterwards is in `after`. */
struct test_about {
    uint64_t offset, len;
    uint8_t *after; /* TEST_SIZE bytes, the shadow before */
};

/* 0 or -errno; -ENOTSUP: not with such an image. */
typedef int (*test_run)(struct qcow2_fixture *fixture, struct test_about *about);

/* --- what is done --- */

static int test_write_at(struct qcow2_fixture *fixture, struct test_about *about, uint64_t offset,
                         uint64_t len)
{
    about->offset = offset;
    about->len = len;
    memset(about->after + offset, 0x5a, len);
    return vblk_image_write(fixture->image, about->after + offset, len, offset);
}

/* New clusters, with new tables where they are small. */
static int run_write_new(struct qcow2_fixture *fixture, struct test_about *about)
{
    return test_write_at(fixture, about, 300 << 10, 100 << 10);
}

/* Parts of clusters, around which is copied. */
static int run_write_part(struct qcow2_fixture *fixture, struct test_about *about)
{
    return test_write_at(fixture, about, (300 << 10) + 512, (20 << 10) + 512);
}

/* What a snapshot or a compressed cluster has: copied too. */
static int run_write_shared(struct qcow2_fixture *fixture, struct test_about *about)
{
    return test_write_at(fixture, about, 1024, (30 << 10) + 512);
}

static int run_write_compressed(struct qcow2_fixture *fixture, struct test_about *about)
{
    uint64_t len = qcow2_of(fixture->image)->cluster_size;

    about->offset = 256 << 10;
    about->len = len;
    memset(about->after + about->offset, 0x33, len);
    return qcow2_write_compressed(fixture->image, about->offset, len, about->after + about->offset);
}

static int run_zero(struct qcow2_fixture *fixture, struct test_about *about)
{
    about->offset = 512;
    about->len = 90 << 10;
    memset(about->after + about->offset, 0, about->len);
    return vblk_image_zero(fixture->image, about->offset, about->len, true);
}

static int run_discard(struct qcow2_fixture *fixture, struct test_about *about)
{
    about->offset = 0;
    about->len = 128 << 10;
    memset(about->after, 0, about->len);
    return vblk_image_discard(fixture->image, about->offset, about->len);
}

static int run_forget(struct qcow2_fixture *fixture, struct test_about *about)
{
    about->len = TEST_SIZE;
    memset(about->after, 0, TEST_SIZE);
    return qcow2_forget(fixture->image);
}

static int run_flush(struct qcow2_fixture *fixture, struct test_about *about)
{
    return vblk_image_flush(fixture->image);
}

static int test_bool(bool succeeded)
{
    return succeeded ? 0 : -storage_fail_errno;
}

static int run_snapshot_create(struct qcow2_fixture *fixture, struct test_about *about)
{
    return test_bool(qcow2_snapshot_create(fixture->image, "new", NULL));
}

static int run_snapshot_delete(struct qcow2_fixture *fixture, struct test_about *about)
{
    return test_bool(qcow2_snapshot_delete(fixture->image, "old", NULL));
}

static int run_snapshot_apply(struct qcow2_fixture *fixture, struct test_about *about)
{
    /* The snapshot has what was there when it was made: pattern 1, and nothing behind it. */
    g_autofree uint8_t *contents = NULL;
    g_autofree char *path = qcow2_fixture_path(fixture, "contents");

    g_assert_true(g_file_get_contents(path, (char **)&contents, NULL, NULL));
    about->len = TEST_SIZE;
    memcpy(about->after, contents, TEST_SIZE);
    return test_bool(qcow2_snapshot_apply(fixture->image, "old", NULL));
}

static int run_grow(struct qcow2_fixture *fixture, struct test_about *about)
{
    return test_bool(fixture->image->format->resize(fixture->image, 8 * TEST_SIZE, NULL));
}

static int run_settle(struct qcow2_fixture *fixture, struct test_about *about)
{
    return fixture->image->format->settle(fixture->image);
}

static const struct {
    const char *name;
    test_run run;
} test_runs[] = {
    {"write-new", run_write_new},
    {"write-part", run_write_part},
    {"write-shared", run_write_shared},
    {"write-compressed", run_write_compressed},
    {"zero", run_zero},
    {"discard", run_discard},
    {"forget", run_forget},
    {"flush", run_flush},
    {"snapshot-create", run_snapshot_create},
    {"snapshot-delete", run_snapshot_delete},
    {"snapshot-apply", run_snapshot_apply},
    {"grow", run_grow},
    {"settle", run_settle},
};

/* --- images --- */

static const struct {
    const char *name, *args;
    bool has_bitmap;
} test_rows[] = {
    {"512", "-o cluster_size=512"},
    {"4k", "-o cluster_size=4k,refcount_bits=32", true},
    {"extended", "-o cluster_size=16k,extended_l2=on"},
    {"lazy", "-o cluster_size=4k,lazy_refcounts=on", true},
    {"v2", "-o cluster_size=1k,compat=0.10"},
};

/* Something in it, of which a snapshot has a part; and what is dirty in memory when it is open. */
static void test_create(struct qcow2_fixture *fixture, unsigned row)
{
    g_autofree char *contents = NULL;

    qcow2_fixture_create(fixture, TEST_SIZE, test_rows[row].args);
    qcow2_fixture_open(fixture);
    qcow2_fixture_write(fixture, 0, 64 << 10, 1);
    if (!test_rows[row].has_bitmap)
        g_assert_true(qcow2_snapshot_create(fixture->image, "old", NULL));
    qcow2_fixture_close(fixture);
    if (test_rows[row].has_bitmap)
        g_assert_cmpint(qcow2_fixture_shell(fixture, "qemu-img bitmap --add -g 4096 image b"), ==,
                        0);
    contents = qcow2_fixture_path(fixture, "contents");
    g_assert_true(g_file_set_contents(contents, (const char *)fixture->shadow, TEST_SIZE, NULL));
    g_assert_cmpint(qcow2_fixture_shell(fixture, "cp image template"), ==, 0);
}

static void test_begin(struct qcow2_fixture *fixture)
{
    g_autofree char *from = qcow2_fixture_path(fixture, "template"), *bytes = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(from, &bytes, &len, NULL));
    g_assert_true(g_file_set_contents(fixture->path, bytes, (gssize)len, NULL));
    qcow2_fixture_open(fixture);
    qcow2_fixture_write(fixture, 100 << 10, 40 << 10, 2);
    qcow2_fixture_write(fixture, 2048, 2048, 3);
}

/* The contents are the old ones, and where the operation was at work the old or the new. */
static void test_verify(struct qcow2_fixture *fixture, const struct test_about *about, int ret)
{
    g_autofree uint8_t *found = g_malloc(TEST_SIZE);

    g_assert_cmpint(vblk_image_read(fixture->image, found, TEST_SIZE, 0), ==, 0);
    for (uint64_t at = 0; at < TEST_SIZE; at += TEST_SECTOR) {
        bool is_within = at >= about->offset && at < about->offset + about->len;
        bool is_new = memcmp(found + at, about->after + at, TEST_SECTOR) == 0;
        bool is_old = memcmp(found + at, fixture->shadow + at, TEST_SECTOR) == 0;

        if (!(is_within ? is_new || (is_old && ret < 0) : is_old))
            g_error("sector %" G_GUINT64_FORMAT " is neither", at / TEST_SECTOR);
    }
    memcpy(fixture->shadow, found, TEST_SIZE);
}

/* Nothing is wrong with the file, by our own judgement, and qemu-img's every now and then. */
static void test_judge(struct qcow2_fixture *fixture, unsigned n)
{
    struct qcow2_check_result result;
    g_autoptr(GError) error = NULL;

    fixture->options.storage.read_only = true;
    fixture->image = vblk_image_open(fixture->path, &fixture->options, &error);
    g_assert_no_error(error);
    g_assert_cmpint(qcow2_check(fixture->image, 0, NULL, NULL, &result), ==, 0);
    g_assert_cmpuint(result.n_corruptions, ==, 0);
    fixture->options.storage.read_only = false;
    qcow2_fixture_close(fixture);
    if (n % 8 == 1)
        qcow2_fixture_check(fixture, true);
}

/* False: the operation makes fewer calls. */
static bool test_fail_one(struct qcow2_fixture *fixture, test_run run, unsigned n)
{
    g_autofree uint8_t *after = NULL;
    struct test_about about = {0};
    bool was_hit;
    int ret;

    memset(fixture->shadow + (100 << 10), 0, 40 << 10);
    test_begin(fixture);
    about.after = after = g_memdup2(fixture->shadow, TEST_SIZE);
    storage_fail_errno = n % 2 ? ENOSPC : EIO;
    storage_fail_at = n;
    ret = run(fixture, &about);
    was_hit = storage_fail_at == 0;
    storage_fail_at = 0;
    g_assert_true(ret == 0 || ret == -storage_fail_errno || ret == -ENOTSUP);
    test_verify(fixture, &about, ret);
    qcow2_fixture_write(fixture, 200 << 10, 30 << 10, 4);
    g_assert_cmpint(vblk_image_flush(fixture->image), ==, 0);
    qcow2_fixture_verify(fixture, 0, TEST_SIZE);
    qcow2_fixture_close(fixture);
    test_judge(fixture, n);
    return was_hit;
}

static void test_fail(gconstpointer data)
{
    unsigned row = (unsigned)GPOINTER_TO_INT(data) / G_N_ELEMENTS(test_runs);
    test_run run = test_runs[(unsigned)GPOINTER_TO_INT(data) % G_N_ELEMENTS(test_runs)].run;
    g_autofree uint8_t *original = NULL;
    struct qcow2_fixture fixture;
    unsigned n = 1;

    if (!qcow2_fixture_can_run())
        return;
    test_create(&fixture, row);
    original = g_memdup2(fixture.shadow, TEST_SIZE);
    while (n < TEST_MAX_N && test_fail_one(&fixture, run, n)) {
        memcpy(fixture.shadow, original, TEST_SIZE);
        n++;
    }
    g_assert_cmpuint(n, <, TEST_MAX_N);
    g_test_message("%u calls", n - 1);
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned row = 0; row < G_N_ELEMENTS(test_rows); row++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(test_runs); i++) {
            g_autofree char *path =
                g_strdup_printf("/qcow2/fail/%s/%s", test_rows[row].name, test_runs[i].name);

            g_test_add_data_func(path, GINT_TO_POINTER((gint)(row * G_N_ELEMENTS(test_runs) + i)),
                                 test_fail);
        }
    }
    return g_test_run();
}
