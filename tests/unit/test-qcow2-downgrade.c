/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From version 3 to 2, with snapshots that have zeros which version 2 cannot say: as a whole, with
 * any one call of the storage failing, and cut off by a power cut at any time. The disk and its
 * snapshots read as before, and qemu-img finds nothing wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "tests/unit/storage-recorder.h"
#include "vblkd/format/qcow2-amend.h"
#include "vblkd/format/qcow2-snapshot.h"

#define TEST_SIZE   (UINT64_C(1) << 20)
#define TEST_N_CUTS 10
#define TEST_N_OPS  30

struct test_row {
    const char *name, *args;
    bool has_backing, is_cut;
};

static const struct test_row test_rows[] = {
    {"512", "-o cluster_size=512", false, true},
    {"4k", "-o cluster_size=4k"},
    {"64k", ""},
    {"backed", "-o cluster_size=4k", true, true},
    {"backed-512", "-o cluster_size=512", true},
    {"lazy", "-o cluster_size=4k,lazy_refcounts=on", true, false},
};

static const char *const test_snapshots[] = {"one", "two", "three"};

/* What should be in the image is in raw files beside it: "disk", "one", ... */
static void test_keep(const struct qcow2_fixture *fixture, const char *name)
{
    g_autofree char *path = qcow2_fixture_path(fixture, name);

    g_assert_true(
        g_file_set_contents(path, (const char *)fixture->shadow, (gssize)fixture->size, NULL));
}

/* Zeros of each kind: never written, written over, with and without a cluster set aside. */
static void test_write_some(struct qcow2_fixture *fixture)
{
    qcow2_fixture_random(fixture, TEST_N_OPS);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = (uint64_t)g_test_rand_int_range(0, 12) << 16;

        qcow2_fixture_zero(fixture, at, 3 << 15, i % 2 != 0);
    }
}

static void test_create(struct qcow2_fixture *fixture, const struct test_row *row)
{
    qcow2_fixture_init(fixture, TEST_SIZE);
    if (row->has_backing)
        qcow2_fixture_fill(fixture, "base");
    g_assert_cmpint(qcow2_fixture_shell(fixture, "qemu-img create -q -f qcow2 %s %s image 1M",
                                        row->args, row->has_backing ? "-b base -F raw" : ""),
                    ==, 0);
    qcow2_fixture_open(fixture);
    for (size_t i = 0; i < G_N_ELEMENTS(test_snapshots); i++) {
        /* Two of them share all of their tables. */
        if (i != 1)
            test_write_some(fixture);
        g_assert_true(qcow2_snapshot_create(fixture->image, test_snapshots[i], NULL));
        test_keep(fixture, test_snapshots[i]);
    }
    test_write_some(fixture);
    qcow2_fixture_close(fixture);
    test_keep(fixture, "disk");
    g_assert_cmpint(qcow2_fixture_shell(fixture, "cp image before"), ==, 0);
}

static void test_check(const struct qcow2_fixture *fixture, bool leaks_allowed)
{
    qcow2_fixture_check(fixture, leaks_allowed);
    g_assert_cmpint(qcow2_fixture_shell(fixture, "qemu-img compare -f qcow2 -F raw image disk && "
                                                 "for name in one two three; do "
                                                 "qemu-img convert -l $name -O raw image raw && "
                                                 "cmp raw $name || exit 1; done"),
                    ==, 0);
}

static bool test_is_old(const struct qcow2_fixture *fixture)
{
    return qcow2_fixture_shell(fixture, "qemu-img info image | grep -q 'compat: 0.10'") == 0;
}

static bool test_downgrade(struct qcow2_fixture *fixture, GError **error)
{
    bool ok;

    qcow2_fixture_open(fixture);
    ok = qcow2_downgrade(fixture->image, error);
    qcow2_fixture_close(fixture);
    return ok;
}

static void test_whole(gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    test_create(&fixture, data);
    test_downgrade(&fixture, &error);
    g_assert_no_error(error);
    g_assert_true(test_is_old(&fixture));
    test_check(&fixture, false);
    /* And as any other image of that version. */
    qcow2_fixture_open(&fixture);
    g_assert_true(qcow2_snapshot_delete(fixture.image, "one", NULL));
    g_assert_true(qcow2_snapshot_apply(fixture.image, "two", NULL));
    g_assert_true(qcow2_upgrade(fixture.image, NULL));
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    g_assert_cmpint(qcow2_fixture_shell(&fixture, "qemu-img compare -f qcow2 -F raw image two"), ==,
                    0);
    qcow2_fixture_destroy(&fixture);
}

/* What failed can be done again. */
static void test_failed(gconstpointer data)
{
    struct qcow2_fixture fixture;
    bool ok = false;

    if (!qcow2_fixture_can_run())
        return;
    test_create(&fixture, data);
    for (unsigned n = 1; !ok; n += 1 + n) {
        g_assert_cmpint(qcow2_fixture_shell(&fixture, "cp before image"), ==, 0);
        qcow2_fixture_open(&fixture);
        storage_fail_errno = EIO;
        storage_fail_at = n;
        ok = qcow2_downgrade(fixture.image, NULL);
        ok = ok && storage_fail_at > 0;
        storage_fail_at = 0;
        qcow2_fixture_close(&fixture);
        test_check(&fixture, true);
        g_assert_true(test_downgrade(&fixture, NULL));
        qcow2_fixture_check(&fixture, true);
    }
    test_check(&fixture, true);
    qcow2_fixture_destroy(&fixture);
}

/* --- power cuts --- */

static bool test_is_flush(guint event)
{
    return g_array_index(storage_events, struct storage_event, event).kind == STORAGE_EVENT_FLUSH;
}

/* Everything up to a flush, and of what follows it, up to the next one, any part. */
static void test_write_cut(const struct qcow2_fixture *fixture)
{
    guint from = (guint)g_test_rand_int_range(0, (gint32)storage_events->len), to = from;
    int fd;

    g_assert_cmpint(qcow2_fixture_shell(fixture, "cp before image"), ==, 0);
    while (from > 0 && !test_is_flush(from - 1))
        from--;
    while (to < storage_events->len && !test_is_flush(to))
        to++;
    fd = open(fixture->path, O_RDWR | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    for (guint i = 0; i < to; i++) {
        if (i < from || g_test_rand_bit())
            storage_event_apply(&g_array_index(storage_events, struct storage_event, i), fd);
    }
    close(fd);
}

static void test_cut(gconstpointer data)
{
    struct qcow2_fixture fixture;
    GArray *events;

    if (!qcow2_fixture_can_run())
        return;
    test_create(&fixture, data);
    storage_recorder_start();
    g_assert_true(test_downgrade(&fixture, NULL));
    for (unsigned i = 0; i < TEST_N_CUTS; i++) {
        test_write_cut(&fixture);
        test_check(&fixture, true);
        events = g_steal_pointer(&storage_events);
        g_assert_true(test_downgrade(&fixture, NULL));
        storage_events = events;
        test_check(&fixture, true);
    }
    storage_recorder_stop();
    qcow2_fixture_destroy(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(test_rows); i++) {
        g_autofree char *whole = g_strdup_printf("/qcow2/downgrade/whole/%s", test_rows[i].name);
        g_autofree char *failed = g_strdup_printf("/qcow2/downgrade/failed/%s", test_rows[i].name);
        g_autofree char *cut = g_strdup_printf("/qcow2/downgrade/cut/%s", test_rows[i].name);

        g_test_add_data_func(whole, &test_rows[i], test_whole);
        g_test_add_data_func(failed, &test_rows[i], test_failed);
        if (test_rows[i].is_cut)
            g_test_add_data_func(cut, &test_rows[i], test_cut);
    }
    return g_test_run();
}
