/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that are killed in any of the calls that change files, their successors too, while they
 * make changes again: with every kind of image, what the guest was told is there afterwards, and of
 * what was on its way each sector is the old or the new one.
 */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/qcow2-fixture.h"
#include "tests/unit/storage-recorder.h"
#include "vblkd/format/qcow2-check.h"
#include "vblkd/format/qcow2-snapshot.h"

#define TEST_MAX      (UINT64_C(2) << 20) /* the largest size of the disk */
#define TEST_SECTOR   512
#define TEST_N_ROUNDS 12
#define TEST_N_OPS    40
#define TEST_N_NAMES  3 /* of snapshots */

struct test_row {
    const char *path, *args; /* of qemu-img create, or of convert */
    bool has_backing, is_compressed, is_v2;
};

/* Each value of an option with several of the others. */
static const struct test_row test_rows[] = {
    {"/qcow2/killed/512", "-o cluster_size=512,refcount_bits=64"},
    {"/qcow2/killed/refcount-1", "-o cluster_size=4k,refcount_bits=1", .has_backing = true},
    {"/qcow2/killed/refcount-2", "-o cluster_size=512,refcount_bits=2"},
    {"/qcow2/killed/64k", "-o refcount_bits=8", .has_backing = true},
    {"/qcow2/killed/2m", "-o cluster_size=2M", .has_backing = true},
    {"/qcow2/killed/v2", "-o compat=0.10,cluster_size=1k", .has_backing = true, .is_v2 = true},
    {"/qcow2/killed/extended", "-o cluster_size=16k,extended_l2=on", .has_backing = true},
    {"/qcow2/killed/data-file", "-o cluster_size=4k,data_file=data", .has_backing = true},
    {"/qcow2/killed/data-file-raw",
     "-o cluster_size=16k,extended_l2=on,data_file=data,data_file_raw=on"},
    {"/qcow2/killed/lazy", "-o cluster_size=4k,lazy_refcounts=on", .has_backing = true},
    {"/qcow2/killed/compressed", "-o cluster_size=4k,lazy_refcounts=on", .is_compressed = true},
    {"/qcow2/killed/compressed-extended", "-o cluster_size=32k,extended_l2=on",
     .is_compressed = true},
};

/* What outlives the processes. */
struct test_shared {
    uint64_t size, new_size;
    bool is_pending, is_discard;
    bool may_show_base;     /* version 2: what is cut off may be as the backing image has it */
    uint8_t base[TEST_MAX]; /* what was there at the beginning */
    uint8_t now[TEST_MAX];  /* what the guest knows to be there */
    uint8_t next[TEST_MAX]; /* what is there when the operation on its way is done */
    bool has_snapshot[TEST_N_NAMES];
    uint8_t snapshots[TEST_N_NAMES][TEST_MAX];
};

static struct test_shared *test_shared;

/* --- operations, in a process that will be killed --- */

static void test_begin(bool is_discard)
{
    memcpy(test_shared->next, test_shared->now, TEST_MAX);
    test_shared->new_size = test_shared->size;
    test_shared->is_discard = is_discard;
    test_shared->may_show_base = false;
}

/* From now on the disk may be as it is to be. */
static void test_set_off(void)
{
    __atomic_store_n(&test_shared->is_pending, true, __ATOMIC_SEQ_CST);
}

/* The guest is told that it is. */
static void test_arrive(struct vblk_image *image)
{
    if (image->is_eager)
        g_assert_cmpint(image->format->persist(image), ==, 0);
    memcpy(test_shared->now, test_shared->next, TEST_MAX);
    test_shared->size = test_shared->new_size;
    __atomic_store_n(&test_shared->is_pending, false, __ATOMIC_SEQ_CST);
}

/* It could not be done: nothing has changed. */
static void test_stay(void)
{
    __atomic_store_n(&test_shared->is_pending, false, __ATOMIC_SEQ_CST);
}

static void test_write(struct vblk_image *image, uint64_t offset, uint64_t len)
{
    uint8_t pattern = (uint8_t)g_test_rand_int();

    test_begin(false);
    for (uint64_t i = 0; i < len; i++)
        test_shared->next[offset + i] = (uint8_t)(pattern + (offset + i) / TEST_SECTOR + i % 7);
    test_set_off();
    g_assert_cmpint(vblk_image_write(image, test_shared->next + offset, len, offset), ==, 0);
    test_arrive(image);
}

static void test_zero(struct vblk_image *image, uint64_t offset, uint64_t len)
{
    test_begin(false);
    memset(test_shared->next + offset, 0, len);
    test_set_off();
    g_assert_cmpint(vblk_image_zero(image, offset, len, g_test_rand_bit()), ==, 0);
    test_arrive(image);
}

static bool test_is_zero(const uint8_t *sector)
{
    return sector[0] == 0 && memcmp(sector, sector + 1, TEST_SECTOR - 1) == 0;
}

/* What it reads as is learned from the image, and stays so. */
static void test_discard(struct vblk_image *image, uint64_t offset, uint64_t len)
{
    g_autofree uint8_t *found = g_malloc(len);

    test_begin(true);
    memset(test_shared->next + offset, 0, len);
    test_set_off();
    g_assert_cmpint(vblk_image_discard(image, offset, len), ==, 0);
    g_assert_cmpint(vblk_image_read(image, found, len, offset), ==, 0);
    for (uint64_t at = 0; at < len; at += TEST_SECTOR)
        g_assert_true(test_is_zero(found + at) ||
                      memcmp(found + at, test_shared->now + offset + at, TEST_SECTOR) == 0);
    memcpy(test_shared->next + offset, found, len);
    test_arrive(image);
}

static void test_resize(struct vblk_image *image)
{
    uint64_t size = (uint64_t)g_test_rand_int_range(64, TEST_MAX / TEST_SECTOR + 1) * TEST_SECTOR;

    test_begin(false);
    test_shared->new_size = size;
    memset(test_shared->next + size, 0, TEST_MAX - size);
    test_shared->may_show_base = image->is_eager;
    test_set_off();
    if (image->format->resize(image, size, NULL))
        test_arrive(image);
    else
        test_stay();
}

/* Whether a snapshot that was being made or deleted is there is learned when the image is opened.
 */
static void test_snapshot(struct vblk_image *image)
{
    unsigned i = (unsigned)g_test_rand_int_range(0, TEST_N_NAMES);
    const char name[] = {(char)('a' + i), '\0'};

    test_begin(false);
    if (!test_shared->has_snapshot[i]) {
        memcpy(test_shared->snapshots[i], test_shared->now, TEST_MAX);
        test_shared->has_snapshot[i] = qcow2_snapshot_create(image, name, NULL);
    } else if (g_test_rand_bit()) {
        test_shared->has_snapshot[i] = !qcow2_snapshot_delete(image, name, NULL);
    } else {
        memcpy(test_shared->next, test_shared->snapshots[i], TEST_MAX);
        test_set_off();
        if (qcow2_snapshot_apply(image, name, NULL)) {
            test_shared->new_size = image->size;
            test_arrive(image);
        } else {
            test_stay();
        }
    }
}

static void test_do_something(struct vblk_image *image)
{
    gint32 n = (gint32)(test_shared->size / TEST_SECTOR);
    uint64_t offset = (uint64_t)g_test_rand_int_range(0, n) * TEST_SECTOR;
    uint64_t len = (uint64_t)g_test_rand_int_range(1, g_test_rand_bit() ? 16 : 400) * TEST_SECTOR;

    len = MIN(len, test_shared->size - offset);
    switch (g_test_rand_int_range(0, 20)) {
    case 0:
    case 1:
        test_zero(image, offset, len);
        break;
    case 2:
    case 3:
        test_discard(image, offset, len);
        break;
    case 4:
    case 5:
        g_assert_cmpint(vblk_image_flush(image), ==, 0);
        break;
    case 6:
        test_snapshot(image);
        break;
    case 7:
        test_resize(image);
        break;
    case 8:
        g_assert_cmpint(image->format->settle(image), ==, 0);
        break;
    default:
        test_write(image, offset, len);
        break;
    }
}

/* --- what is there afterwards --- */

static bool test_is_same(const uint8_t *found, const uint8_t *wanted, uint64_t at)
{
    return memcmp(found + at, wanted + at, TEST_SECTOR) == 0;
}

/* A sector as the operation that was on its way may have left it. */
static bool test_is_new(const uint8_t *found, uint64_t at)
{
    return test_is_same(found, test_shared->next, at) ||
           (test_shared->is_discard && test_is_zero(found + at)) ||
           (test_shared->may_show_base && test_is_same(found, test_shared->base, at));
}

/* The disk as it is now is what the guest finds from here on. */
static void test_look(struct vblk_image *image)
{
    g_autofree uint8_t *found = g_malloc0(TEST_MAX);
    bool is_pending = test_shared->is_pending;
    g_autoptr(GPtrArray) snapshots = qcow2_snapshot_list(image, NULL);

    g_assert_true(image->size == test_shared->size ||
                  (is_pending && image->size == test_shared->new_size) ||
                  (is_pending && test_shared->new_size == test_shared->size));
    g_assert_cmpint(vblk_image_read(image, found, image->size, 0), ==, 0);
    for (uint64_t at = 0; at < image->size; at += TEST_SECTOR) {
        if (!test_is_same(found, test_shared->now, at) && !(is_pending && test_is_new(found, at)))
            g_error("sector %" G_GUINT64_FORMAT " is neither old nor new", at / TEST_SECTOR);
    }
    memcpy(test_shared->now, found, TEST_MAX);
    test_shared->size = image->size;
    test_shared->is_pending = false;
    g_assert_nonnull(snapshots);
    for (unsigned i = 0; i < TEST_N_NAMES; i++) {
        const char name[] = {(char)('a' + i), '\0'};

        test_shared->has_snapshot[i] = qcow2_snapshot_find(snapshots, name) >= 0;
    }
}

static struct vblk_image *test_open(struct qcow2_fixture *fixture)
{
    g_autoptr(GError) error = NULL;
    struct vblk_image *image;

    /* As little memory as can be, or as much as is good. */
    fixture->options.l2_cache_size = (uint64_t)g_test_rand_bit();
    fixture->options.refcount_cache_size = (uint64_t)g_test_rand_bit();
    fixture->options.discard_in_format = g_test_rand_bit();
    image = vblk_image_open(fixture->path, &fixture->options, &error);
    g_assert_no_error(error);
    return image;
}

/* In a child. */
static void test_live(struct qcow2_fixture *fixture)
{
    struct vblk_image *image;

    /* Often while it opens what its predecessor has left. */
    storage_kill_at = (unsigned)g_test_rand_int_range(1, g_test_rand_bit() ? 30 : 400);
    image = test_open(fixture);
    test_look(image);
    for (unsigned i = 0; i < TEST_N_OPS; i++)
        test_do_something(image);
    if (g_test_rand_bit())
        vblk_image_close(image);
    raise(SIGKILL);
}

static void test_kill_one(struct qcow2_fixture *fixture)
{
    guint32 seed = (guint32)g_test_rand_int();
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        while (seed-- % 256 > 0)
            (void)g_test_rand_bit();
        test_live(fixture);
    }
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* A cluster of which the guest's entry does not say that it is ours alone costs a copy, no more. */
static void test_report(void *opaque, const char *line)
{
    unsigned *n_broken = opaque;

    if (g_str_has_prefix(line, "ERROR") && !strstr(line, "refcount is 1"))
        (*n_broken)++;
}

/*
 * Sound, and with the contents that qemu-img sees, too. Version 2 has no bit to say that flags are
 * about to disagree with refcounts.
 */
static void test_judge(struct qcow2_fixture *fixture, const struct test_row *row)
{
    struct qcow2_check_result result;
    unsigned n_broken = 0;

    fixture->image = test_open(fixture);
    test_look(fixture->image);
    g_assert_cmpint(qcow2_check(fixture->image, 0, test_report, &n_broken, &result), ==, 0);
    g_assert_cmpuint(n_broken, ==, 0);
    qcow2_fixture_close(fixture);
    fixture->size = test_shared->size;
    memcpy(fixture->shadow, test_shared->now, TEST_MAX);
    if (!row->is_v2) {
        g_assert_cmpuint(result.n_corruptions, ==, 0);
        qcow2_fixture_check(fixture, true);
    }
    qcow2_fixture_compare(fixture);
}

/* --- one image --- */

static void test_create(struct qcow2_fixture *fixture, const struct test_row *row)
{
    test_shared =
        mmap(NULL, sizeof(*test_shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert_true(test_shared != MAP_FAILED);
    qcow2_fixture_init(fixture, TEST_MAX);
    fixture->options.has_journal = true;
    fixture->options.journal_fd = memfd_create("journal", MFD_CLOEXEC);
    if (row->has_backing || row->is_compressed)
        qcow2_fixture_fill(fixture, "base");
    g_assert_cmpint(
        qcow2_fixture_shell(fixture,
                            row->is_compressed ? "qemu-img convert -q -c -O qcow2 %s base image"
                                               : "qemu-img create -q -f qcow2 %s %s image %d",
                            row->args, row->has_backing ? "-b base -F raw" : "", (int)TEST_MAX),
        ==, 0);
    memcpy(test_shared->base, fixture->shadow, TEST_MAX);
    memcpy(test_shared->now, fixture->shadow, TEST_MAX);
    test_shared->size = TEST_MAX;
}

static void test_killed(gconstpointer data)
{
    const struct test_row *row = data;
    struct qcow2_fixture fixture;

    if (!qcow2_fixture_can_run())
        return;
    test_create(&fixture, row);
    for (unsigned i = 0; i < TEST_N_ROUNDS; i++) {
        test_kill_one(&fixture);
        if (i % 4 == 3)
            test_judge(&fixture, row);
    }
    close(fixture.options.journal_fd);
    qcow2_fixture_destroy(&fixture);
    munmap(test_shared, sizeof(*test_shared));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(test_rows); i++)
        g_test_add_data_func(test_rows[i].path, &test_rows[i], test_killed);
    return g_test_run();
}
