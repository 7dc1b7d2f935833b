/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts and failing writes. A cut leaves everything up to a flush, and of what came after it
 * any part; qemu-img must find no corruption in that, and all that the guest had flushed is there.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "tests/unit/storage-recorder.h"
#include "vblkd/format/qcow2-snapshot.h"

#define TEST_SIZE    (UINT64_C(512) << 10)
#define TEST_SECTOR  512
#define TEST_N_OPS   120
#define TEST_N_CUTS  25
#define TEST_N_SAVED 3 /* snapshots at a time */

/* What the guest did. */
struct test_op {
    guint event; /* storage events before it ended */
    bool is_flush, is_discard;
    uint64_t offset, len;
    uint8_t *bytes; /* of the range, afterwards */
};

static GArray *test_ops;

static void test_log(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len, bool is_flush,
                     bool is_discard)
{
    struct test_op op = {storage_events->len,
                         is_flush,
                         is_discard,
                         offset,
                         len,
                         g_memdup2(fixture->shadow + offset, len)};

    g_array_append_val(test_ops, op);
}

/* What the disk was when each snapshot was made; NULL: there is none. */
static uint8_t *test_saved[TEST_N_SAVED];

/* Makes a snapshot, or deletes it, or goes back to it. All of these flush. */
static void test_do_snapshot(struct qcow2_fixture *fixture)
{
    int i = g_test_rand_int_range(0, TEST_N_SAVED);
    g_autofree char *name = g_strdup_printf("snapshot %d", i);
    g_autoptr(GError) error = NULL;

    if (!test_saved[i]) {
        qcow2_snapshot_create(fixture->image, name, &error);
        test_saved[i] = g_memdup2(fixture->shadow, TEST_SIZE);
    } else if (g_test_rand_bit()) {
        qcow2_snapshot_delete(fixture->image, name, &error);
        g_clear_pointer(&test_saved[i], g_free);
    } else {
        qcow2_snapshot_apply(fixture->image, name, &error);
        memcpy(fixture->shadow, test_saved[i], TEST_SIZE);
        test_log(fixture, 0, TEST_SIZE, false, false);
    }
    g_assert_no_error(error);
    test_log(fixture, 0, TEST_SIZE, true, false);
}

static void test_do_something(struct qcow2_fixture *fixture)
{
    uint64_t n = TEST_SIZE / TEST_SECTOR;
    uint64_t offset = (uint64_t)g_test_rand_int_range(0, (gint32)n) * TEST_SECTOR;
    uint64_t len = (uint64_t)g_test_rand_int_range(1, 64) * TEST_SECTOR;

    len = MIN(len, TEST_SIZE - offset);
    switch (g_test_rand_int_range(0, 8)) {
    case 0:
        qcow2_fixture_zero(fixture, offset, len, g_test_rand_bit());
        test_log(fixture, offset, len, false, false);
        break;
    case 1:
        qcow2_fixture_discard(fixture, offset, len);
        test_log(fixture, offset, len, false, true);
        break;
    case 2:
        g_assert_cmpint(vblk_image_flush(fixture->image), ==, 0);
        test_log(fixture, 0, TEST_SIZE, true, false);
        break;
    default:
        qcow2_fixture_write(fixture, offset, len, (uint8_t)g_test_rand_int());
        test_log(fixture, offset, len, false, false);
        break;
    }
}

/* --- one cut --- */

static bool test_is_zero(const uint8_t *sector)
{
    return sector[0] == 0 && memcmp(sector, sector + 1, TEST_SECTOR - 1) == 0;
}

/* A sector of the cut image is what it was at the last flush, or what an operation made of it that
 * began after that and before the cut. */
static void test_check_sector(const struct test_op *flush, guint next, guint cut_end, uint64_t at,
                              const uint8_t *found)
{
    if (flush && memcmp(found, flush->bytes + at, TEST_SECTOR) == 0)
        return;
    if (!flush && test_is_zero(found))
        return;
    for (guint i = next; i < test_ops->len; i++) {
        const struct test_op *op = &g_array_index(test_ops, struct test_op, i);

        if (!op->is_flush && at >= op->offset && at < op->offset + op->len &&
            (memcmp(found, op->bytes + at - op->offset, TEST_SECTOR) == 0 ||
             (op->is_discard && test_is_zero(found))))
            return;
        if (op->event >= cut_end)
            break;
    }
    g_error("before event %u, sector %" G_GUINT64_FORMAT " is neither old nor new", cut_end,
            at / TEST_SECTOR);
}

static void test_check_contents(struct qcow2_fixture *fixture, guint cut_event, guint cut_end)
{
    g_autofree uint8_t *found = g_malloc(TEST_SIZE);
    const struct test_op *flush = NULL;
    guint next = 0;

    for (guint i = 0; i < test_ops->len; i++) {
        const struct test_op *op = &g_array_index(test_ops, struct test_op, i);

        if (op->is_flush && op->event <= cut_event) {
            flush = op;
            next = i + 1;
        }
    }
    g_assert_cmpint(vblk_image_read(fixture->image, found, TEST_SIZE, 0), ==, 0);
    for (uint64_t at = 0; at < TEST_SIZE; at += TEST_SECTOR)
        test_check_sector(flush, next, cut_end, at, found + at);
}

/* The file as a cut after the flush at event `from` leaves it. */
static void test_write_cut(const struct qcow2_fixture *fixture, guint from, guint to)
{
    int fd;

    g_assert_cmpint(qcow2_fixture_shell(fixture, "cp before image"), ==, 0);
    fd = open(fixture->path, O_RDWR);
    g_assert_cmpint(fd, >=, 0);
    for (guint i = 0; i < to; i++) {
        if (i < from || g_test_rand_bit())
            storage_event_apply(&g_array_index(storage_events, struct storage_event, i), fd);
    }
    close(fd);
}

/*
 * Between the last steps of deleting a snapshot, a cluster is ours alone and its entry does not say
 * so yet. qemu-img calls that an error; it costs a copy. The other way round would be one.
 */
static void test_check_cut(const struct qcow2_fixture *fixture, bool has_snapshots)
{
    if (!has_snapshots)
        qcow2_fixture_check(fixture, true);
    else
        g_assert_cmpint(
            qcow2_fixture_shell(fixture, "! qemu-img check -U image 2>&1 | grep ERROR | grep -Ev "
                                         "'OFLAG_COPIED.*entry=[0-9a-f]{1,15} refcount=1$'"),
            ==, 0);
}

static void test_cut(struct qcow2_fixture *fixture, bool has_snapshots)
{
    guint from = (guint)g_test_rand_int_range(0, (gint32)storage_events->len), to;
    GArray *events = storage_events;

    while (from > 0 &&
           g_array_index(events, struct storage_event, from - 1).kind != STORAGE_EVENT_FLUSH)
        from--;
    to = from;
    while (to < events->len &&
           g_array_index(events, struct storage_event, to).kind != STORAGE_EVENT_FLUSH)
        to++;
    test_write_cut(fixture, from, to);
    storage_events = NULL;
    if (!(fixture->options.repair))
        test_check_cut(fixture, has_snapshots);
    fixture->options.repair = false;
    qcow2_fixture_open(fixture);
    test_check_contents(fixture, from, to);
    qcow2_fixture_close(fixture);
    test_check_cut(fixture, has_snapshots);
    storage_events = events;
}

struct test_power {
    const char *name, *args;
    bool has_snapshots;
};

static void test_power(gconstpointer data)
{
    const struct test_power *power = data;
    const char *args = power->args;
    bool is_lazy = strstr(args, "lazy") != NULL, has_snapshots = power->has_snapshots;
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    qcow2_fixture_create(&fixture, TEST_SIZE, args);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "cp image before"), ==, 0);
    test_ops = g_array_new(FALSE, FALSE, sizeof(struct test_op));
    storage_recorder_start();
    qcow2_fixture_open(&fixture);
    for (unsigned i = 0; i < TEST_N_OPS; i++) {
        if (has_snapshots && i % 6 == 5)
            test_do_snapshot(&fixture);
        test_do_something(&fixture);
    }
    qcow2_fixture_close(&fixture);
    for (unsigned i = 0; i < TEST_N_CUTS; i++) {
        fixture.options.repair = is_lazy; /* before it is opened, its refcounts may be wrong */
        test_cut(&fixture, has_snapshots);
    }
    storage_recorder_stop();
    for (guint i = 0; i < test_ops->len; i++)
        g_free(g_array_index(test_ops, struct test_op, i).bytes);
    g_array_free(test_ops, TRUE);
    for (unsigned i = 0; i < TEST_N_SAVED; i++)
        g_clear_pointer(&test_saved[i], g_free);
    qcow2_fixture_destroy(&fixture);
}

static const struct test_power test_powers[] = {
    {"512", "-o cluster_size=512", false},
    {"4k", "-o cluster_size=4k", false},
    {"64k", "", false},
    {"refcount-64", "-o cluster_size=512,refcount_bits=64", false},
    {"extended", "-o cluster_size=16k,extended_l2=on", false},
    {"lazy", "-o cluster_size=4k,lazy_refcounts=on", false},
    {"snapshots-512", "-o cluster_size=512", true},
    {"snapshots-4k", "-o cluster_size=4k", true},
    {"snapshots-extended", "-o cluster_size=16k,extended_l2=on", true},
    {"snapshots-lazy", "-o cluster_size=4k,lazy_refcounts=on", true},
};

/* --- failing calls --- */

static void test_fail_one(struct qcow2_fixture *fixture, uint8_t *doubtful, unsigned round)
{
    uint64_t offset = (uint64_t)g_test_rand_int_range(0, TEST_SIZE / TEST_SECTOR) * TEST_SECTOR;
    uint64_t wanted = (uint64_t)g_test_rand_int_range(1, 64) * TEST_SECTOR;
    uint64_t len = MIN(wanted, TEST_SIZE - offset);
    g_autofree uint8_t *buf = g_malloc(len);
    int ret;

    memset(buf, (int)round, len);
    switch (round % 5) {
    case 0:
        ret = vblk_image_zero(fixture->image, offset, len, true);
        memset(buf, 0, len);
        break;
    case 1:
        g_assert_cmpint(vblk_image_flush(fixture->image), <=, 0);
        return;
    default:
        ret = vblk_image_write(fixture->image, buf, len, offset);
        break;
    }
    memcpy(fixture->shadow + offset, buf, len);
    memset(doubtful + offset / TEST_SECTOR, ret < 0, len / TEST_SECTOR);
    g_assert_true(ret == 0 || ret == -storage_fail_errno);
}

/* The n-th change of the file fails: what is told to have failed may be anything, the rest is as it
 * should be, and the image is sound. */
static void test_fail(gconstpointer args)
{
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    for (unsigned n = 1; n < 60; n += 2) {
        g_autofree uint8_t *doubtful = g_malloc0(TEST_SIZE / TEST_SECTOR);
        g_autofree uint8_t *found = g_malloc(TEST_SIZE);

        qcow2_fixture_create(&fixture, TEST_SIZE, args);
        qcow2_fixture_open(&fixture);
        storage_fail_errno = n % 4 == 1 ? ENOSPC : EIO;
        storage_fail_at = n;
        for (unsigned i = 0; i < 40; i++)
            test_fail_one(&fixture, doubtful, i);
        storage_fail_at = 0;
        g_assert_cmpint(vblk_image_flush(fixture.image), ==, 0);
        g_assert_cmpint(vblk_image_read(fixture.image, found, TEST_SIZE, 0), ==, 0);
        for (uint64_t at = 0; at < TEST_SIZE; at += TEST_SECTOR) {
            if (!doubtful[at / TEST_SECTOR])
                g_assert_true(memcmp(found + at, fixture.shadow + at, TEST_SECTOR) == 0);
        }
        memcpy(fixture.shadow, found, TEST_SIZE);
        qcow2_fixture_close(&fixture);
        qcow2_fixture_check(&fixture, true);
        qcow2_fixture_compare(&fixture);
        qcow2_fixture_destroy(&fixture);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(test_powers); i++) {
        g_autofree char *path = g_strdup_printf("/qcow2/power-cut/%s", test_powers[i].name);

        g_test_add_data_func(path, &test_powers[i], test_power);
    }
    g_test_add_data_func("/qcow2/fail/4k", "-o cluster_size=4k", test_fail);
    g_test_add_data_func("/qcow2/fail/512", "-o cluster_size=512", test_fail);
    g_test_add_data_func("/qcow2/fail/extended", "-o cluster_size=16k,extended_l2=on", test_fail);
    return g_test_run();
}
