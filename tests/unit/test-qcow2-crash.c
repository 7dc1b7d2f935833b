/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts. A cut leaves everything up to a flush, and of what came after it any part; qemu-img
 * must find no corruption in that, and all that the guest had flushed is there. What changes the
 * image as a whole (snapshots, its size, forgetting all of it, its bitmaps, the width of refcounts)
 * is among what is done.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "tests/unit/storage-recorder.h"
#include "vblkd/format/qcow2-amend.h"
#include "vblkd/format/qcow2-bitmap-edit.h"
#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-discard.h"
#include "vblkd/format/qcow2-snapshot.h"

#define TEST_MAX    (UINT64_C(512) << 10) /* the largest size of the disk */
#define TEST_SECTOR 512
#define TEST_N_OPS  110
#define TEST_N_CUTS 12

struct test_row {
    const char *path, *args; /* of qemu-img create */
    bool has_bitmap, has_backing, is_v2;
};

/* Each value of an option with several of the others. */
static const struct test_row test_rows[] = {
    {"/qcow2/power-cut/512", "-o cluster_size=512"},
    {"/qcow2/power-cut/4k", "-o cluster_size=4k", .has_bitmap = true},
    {"/qcow2/power-cut/64k", "", .has_backing = true},
    {"/qcow2/power-cut/v2", "-o compat=0.10,cluster_size=4k", .has_backing = true, .is_v2 = true},
    {"/qcow2/power-cut/v2-512", "-o compat=0.10,cluster_size=512", .is_v2 = true},
    {"/qcow2/power-cut/refcount-1", "-o cluster_size=512,refcount_bits=1", .has_bitmap = true},
    {"/qcow2/power-cut/refcount-64", "-o cluster_size=512,refcount_bits=64", .has_backing = true},
    {"/qcow2/power-cut/extended", "-o cluster_size=16k,extended_l2=on", .has_backing = true},
    {"/qcow2/power-cut/extended-bitmap", "-o cluster_size=32k,extended_l2=on,refcount_bits=8",
     .has_bitmap = true},
    {"/qcow2/power-cut/data-file", "-o cluster_size=4k,data_file=data", .has_bitmap = true},
    {"/qcow2/power-cut/data-file-extended",
     "-o cluster_size=16k,extended_l2=on,data_file=data,data_file_raw=on"},
    {"/qcow2/power-cut/lazy", "-o cluster_size=4k,lazy_refcounts=on", .has_backing = true},
    {"/qcow2/power-cut/lazy-512", "-o cluster_size=512,lazy_refcounts=on,refcount_bits=32",
     .has_bitmap = true},
};

/* --- what the guest and the daemon did --- */

struct test_op {
    guint event; /* storage events before it ended */
    bool is_flush, is_discard, is_resize;
    uint64_t offset, len, size; /* the disk's size afterwards */
    uint8_t *bytes;             /* of the range, afterwards */
};

static GArray *test_ops;
static unsigned test_n_bitmaps;    /* that counted after a cut */
static GHashTable *test_snapshots; /* name -> contents, TEST_MAX bytes */

static void test_log(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len, bool is_flush,
                     bool is_discard)
{
    struct test_op op = {storage_events->len,
                         is_flush,
                         is_discard,
                         false,
                         offset,
                         len,
                         fixture->size,
                         g_memdup2(fixture->shadow + offset, len)};

    g_array_append_val(test_ops, op);
}

static void test_flush(struct qcow2_fixture *fixture)
{
    g_assert_cmpint(vblk_image_flush(fixture->image), ==, 0);
    test_log(fixture, 0, TEST_MAX, true, false);
}

static void test_resize(struct qcow2_fixture *fixture)
{
    uint64_t size = (uint64_t)g_test_rand_int_range(64, TEST_MAX / TEST_SECTOR + 1) * TEST_SECTOR;

    /* Some cannot be, like those of version 2 with snapshots. */
    if (!fixture->image->format->resize(fixture->image, size, NULL))
        return;
    if (size < fixture->size)
        memset(fixture->shadow + size, 0, fixture->size - size);
    fixture->size = size;
    test_log(fixture, 0, TEST_MAX, false, false);
    g_array_index(test_ops, struct test_op, test_ops->len - 1).is_resize = true;
}

static void test_snapshot(struct qcow2_fixture *fixture)
{
    g_autofree char *name = g_strdup_printf("s%u", g_test_rand_int_range(0, 3));
    const uint8_t *contents = g_hash_table_lookup(test_snapshots, name);

    if (!contents) {
        if (qcow2_snapshot_create(fixture->image, name, NULL))
            g_hash_table_insert(test_snapshots, g_strdup(name),
                                g_memdup2(fixture->shadow, TEST_MAX));
        return;
    }
    if (g_test_rand_bit()) {
        if (qcow2_snapshot_delete(fixture->image, name, NULL))
            g_hash_table_remove(test_snapshots, name);
    } else if (qcow2_snapshot_apply(fixture->image, name, NULL)) {
        memcpy(fixture->shadow, contents, TEST_MAX);
        fixture->size = fixture->image->size;
        test_log(fixture, 0, TEST_MAX, false, false);
    }
}

/* Without a backing image all of it is zeros. */
static void test_forget(struct qcow2_fixture *fixture)
{
    g_assert_cmpint(qcow2_forget(fixture->image), ==, 0);
    memset(fixture->shadow, 0, TEST_MAX);
    test_log(fixture, 0, TEST_MAX, false, false);
}

/* What tools change of an image: the disk stays as it is. Some of it cannot be, here and there. */
static void test_change(struct qcow2_fixture *fixture)
{
    static const unsigned widths[] = {4, 8, 16, 32, 64};
    struct vblk_image *image = fixture->image;

    switch (g_test_rand_int_range(0, 4)) {
    case 0:
        qcow2_amend_refcount_bits(
            image, widths[g_test_rand_int_range(0, (gint32)G_N_ELEMENTS(widths))], NULL);
        break;
    case 1:
        if (!qcow2_bitmap_add(image, "extra", 4096, g_test_rand_bit(), NULL))
            qcow2_bitmap_remove(image, "extra", NULL);
        break;
    case 2:
        qcow2_bitmap_merge(image, "extra", image, "b", NULL);
        break;
    default:
        qcow2_bitmap_enable(image, "extra", g_test_rand_bit(), NULL);
        break;
    }
}

static void test_do_something(struct qcow2_fixture *fixture, const struct test_row *row)
{
    uint64_t n = fixture->size / TEST_SECTOR;
    uint64_t offset = (uint64_t)g_test_rand_int_range(0, (gint32)n) * TEST_SECTOR;
    uint64_t len = (uint64_t)g_test_rand_int_range(1, 64) * TEST_SECTOR;

    len = MIN(len, fixture->size - offset);
    switch (g_test_rand_int_range(0, 24)) {
    case 0:
    case 1:
    case 2:
        qcow2_fixture_zero(fixture, offset, len, g_test_rand_bit());
        test_log(fixture, offset, len, false, false);
        break;
    case 3:
    case 4:
        qcow2_fixture_discard(fixture, offset, len);
        test_log(fixture, offset, len, false, true);
        break;
    case 5:
    case 6:
        test_flush(fixture);
        break;
    case 7:
    case 8:
        test_snapshot(fixture);
        break;
    case 9:
        test_resize(fixture);
        break;
    case 10:
        /* It is for what looks the same afterwards: bitmaps do not hear of it. */
        if (!row->has_backing && !row->has_bitmap)
            test_forget(fixture);
        break;
    case 11:
        test_change(fixture);
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
 * began after that and before the cut. In version 2, what is cut off from a disk may be as the
 * backing image has it for a moment. */
static void test_check_sector(guint flush, guint cut_end, bool is_v2, uint64_t at,
                              const uint8_t *found)
{
    const uint8_t *first = g_array_index(test_ops, struct test_op, 0).bytes;

    for (guint i = flush; i < test_ops->len; i++) {
        const struct test_op *op = &g_array_index(test_ops, struct test_op, i);

        if (at >= op->offset && at < op->offset + op->len &&
            (memcmp(found, op->bytes + at - op->offset, TEST_SECTOR) == 0 ||
             (op->is_discard && test_is_zero(found)) ||
             (op->is_resize && is_v2 && memcmp(found, first + at, TEST_SECTOR) == 0)))
            return;
        if (op->event >= cut_end)
            break;
    }
    g_error("before event %u, sector %" G_GUINT64_FORMAT " is neither old nor new", cut_end,
            at / TEST_SECTOR);
}

/* The first operation logged is a flush: what was there at the beginning. */
static void test_check_contents(struct qcow2_fixture *fixture, guint cut_event, guint cut_end,
                                bool is_v2)
{
    g_autofree uint8_t *found = g_malloc0(TEST_MAX);
    uint64_t size = fixture->image->size;
    bool is_known_size = false;
    guint flush = 0;

    for (guint i = 0; i < test_ops->len; i++) {
        const struct test_op *op = &g_array_index(test_ops, struct test_op, i);

        if (op->is_flush && op->event <= cut_event)
            flush = i;
        is_known_size |= op->size == size;
    }
    g_assert_true(is_known_size);
    g_assert_cmpint(vblk_image_read(fixture->image, found, size, 0), ==, 0);
    for (uint64_t at = 0; at + TEST_SECTOR <= size; at += TEST_SECTOR)
        test_check_sector(flush, cut_end, is_v2, at, found + at);
}

/* A bitmap that is not in use has every granule that is not as it was at the beginning. */
static void test_check_bitmap(struct qcow2_fixture *fixture)
{
    const uint8_t *first = g_array_index(test_ops, struct test_op, 0).bytes;
    struct qcow2 *q = qcow2_of(fixture->image);
    struct qcow2_bitmap *bitmap = qcow2_bitmap_find(q->bitmaps, "b");
    uint64_t size = fixture->image->size;
    g_autofree uint8_t *found = g_malloc(size);

    if (bitmap->flags & QCOW2_BITMAP_IN_USE)
        return;
    g_assert_cmpint(qcow2_bitmap_load(q, bitmap), ==, 0);
    g_assert_cmpint(vblk_image_read(fixture->image, found, size, 0), ==, 0);
    for (uint64_t at = 0; at < size; at += TEST_SECTOR) {
        if (memcmp(found + at, first + at, TEST_SECTOR) != 0)
            g_assert_true(qcow2_bits_test(bitmap->bits, at >> bitmap->granularity_bits));
    }
    test_n_bitmaps++;
}

/* Refcounts and flags may be wrong until somebody who writes it opens it. */
static bool test_is_dirty(const struct qcow2_fixture *fixture)
{
    g_autofree char *head = NULL;
    gsize len;

    g_assert_true(g_file_get_contents(fixture->path, &head, &len, NULL));
    return head[7] == 3 && (head[79] & 1);
}

/* A disk writes sectors as a whole, and not what is longer. */
static void test_tear(const struct storage_event *event, int fd)
{
    for (uint64_t at = 0; at < event->len; at += TEST_SECTOR) {
        struct storage_event part = *event;

        part.offset += at;
        part.bytes += at;
        part.len = MIN(event->len - at, TEST_SECTOR);
        if (g_test_rand_bit())
            storage_event_apply(&part, fd);
    }
}

/* A file as a cut after the flush at event `from` leaves it. */
static void test_write_cut(const struct qcow2_fixture *fixture, const char *name, guint from,
                           guint to)
{
    g_autofree char *path = qcow2_fixture_path(fixture, name);
    int fd;

    if (qcow2_fixture_shell(fixture, "test ! -e before-%s || cp before-%s %s", name, name, name))
        g_assert_not_reached();
    fd = open(path, O_RDWR);
    for (guint i = 0; i < to && fd >= 0; i++) {
        const struct storage_event *event = &g_array_index(storage_events, struct storage_event, i);

        if (strcmp(event->path, path) != 0 || (i >= from && g_test_rand_bit()))
            continue;
        /* The header is longer than a sector where its extensions change, which tools do. */
        if (i < from || event->kind != STORAGE_EVENT_WRITE || event->offset % TEST_SECTOR != 0 ||
            event->offset == 0)
            storage_event_apply(event, fd);
        else
            test_tear(event, fd);
    }
    if (fd >= 0)
        close(fd);
}

static bool test_is_flush(guint event, const char *path)
{
    const struct storage_event *at = &g_array_index(storage_events, struct storage_event, event);

    return at->kind == STORAGE_EVENT_FLUSH && strcmp(at->path, path) == 0;
}

/*
 * Version 2 has no bit to say that flags are about to disagree with refcounts: there a cluster may
 * be ours alone and its entry not say so. qemu-img calls that an error; it costs a copy.
 */
static void test_check_cut(const struct qcow2_fixture *fixture, bool is_v2)
{
    if (!is_v2)
        qcow2_fixture_check(fixture, true);
    else
        g_assert_cmpint(
            qcow2_fixture_shell(fixture, "! qemu-img check -U image 2>&1 | grep ERROR | grep -Ev "
                                         "'OFLAG_COPIED.*entry=[0-9a-f]{1,15} refcount=1$'"),
            ==, 0);
}

static void test_cut(struct qcow2_fixture *fixture, const struct test_row *row)
{
    guint n = storage_events->len, to;
    /* Closing is a few of them. */
    guint from =
        (guint)g_test_rand_int_range(g_test_rand_bit() ? (gint32)n * 9 / 10 : 0, (gint32)n);
    GArray *events = storage_events;
    g_autoptr(GError) error = NULL;

    while (from > 0 && !test_is_flush(from - 1, fixture->path))
        from--;
    to = from;
    while (to < events->len && !test_is_flush(to, fixture->path))
        to++;
    test_write_cut(fixture, "image", from, to);
    if (strstr(row->args, "data_file"))
        test_write_cut(fixture, "data", from, to);
    storage_events = NULL;
    if (!test_is_dirty(fixture))
        test_check_cut(fixture, row->is_v2);
    fixture->image = vblk_image_open(fixture->path, &fixture->options, &error);
    g_assert_no_error(error);
    test_check_contents(fixture, from, to, row->is_v2);
    if (row->has_bitmap)
        test_check_bitmap(fixture);
    qcow2_fixture_close(fixture);
    test_check_cut(fixture, row->is_v2);
    storage_events = events;
}

/* --- one image --- */

static void test_create(struct qcow2_fixture *fixture, const struct test_row *row)
{
    qcow2_fixture_init(fixture, TEST_MAX);
    fixture->size = TEST_MAX / 2;
    if (row->has_backing)
        qcow2_fixture_fill(fixture, "base");
    g_assert_cmpint(qcow2_fixture_shell(fixture, "qemu-img create -q -f qcow2 %s %s image %d",
                                        row->args, row->has_backing ? "-b base -F raw" : "",
                                        (int)fixture->size),
                    ==, 0);
    if (row->has_bitmap)
        g_assert_cmpint(qcow2_fixture_shell(fixture, "qemu-img bitmap --add -g 4096 image b && "
                                                     "qemu-img bitmap --add --disable image off"),
                        ==, 0);
    g_assert_cmpint(qcow2_fixture_shell(fixture, "cp image before-image && "
                                                 "test ! -e data || cp data before-data"),
                    ==, 0);
}

static void test_clear(struct qcow2_fixture *fixture)
{
    storage_recorder_stop();
    for (guint i = 0; i < test_ops->len; i++)
        g_free(g_array_index(test_ops, struct test_op, i).bytes);
    g_array_free(test_ops, TRUE);
    g_hash_table_destroy(test_snapshots);
    qcow2_fixture_destroy(fixture);
}

static void test_power(gconstpointer data)
{
    const struct test_row *row = data;
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    test_create(&fixture, row);
    test_ops = g_array_new(FALSE, FALSE, sizeof(struct test_op));
    test_snapshots = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    storage_recorder_start();
    test_log(&fixture, 0, TEST_MAX, true, false);
    qcow2_fixture_open(&fixture);
    for (unsigned i = 0; i < TEST_N_OPS; i++)
        test_do_something(&fixture, row);
    qcow2_fixture_close(&fixture);
    qcow2_fixture_check(&fixture, false);
    for (unsigned i = 0; i < TEST_N_CUTS; i++)
        test_cut(&fixture, row);
    g_test_message("%u bitmaps", test_n_bitmaps);
    test_clear(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(test_rows); i++)
        g_test_add_data_func(test_rows[i].path, &test_rows[i], test_power);
    return g_test_run();
}
