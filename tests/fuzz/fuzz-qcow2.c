/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile qcow2 image: the input is the file. It is opened read-only and for writing, read,
 * written, zeroed, discarded, resized, its snapshots listed and deleted, checked and repaired, its
 * bitmaps and header changed, and a journal, of which its last bytes are the records, replayed. Any
 * of that may fail; what was written must be read back, and nothing
 * outside the file be touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vblkd/format/image.h"
#include "vblkd/format/qcow2-amend.h"
#include "vblkd/format/qcow2-bitmap-edit.h"
#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-check.h"
#include "vblkd/format/qcow2-compressed.h"
#include "vblkd/format/qcow2-discard.h"
#include "vblkd/format/qcow2-journal-bits.h"
#include "vblkd/format/qcow2-journal.h"
#include "vblkd/format/qcow2-snapshot-view.h"
#include "vblkd/format/qcow2-snapshot.h"
#include "vhost-user/log.h"

#define FUZZ_LEN      (24u << 10) /* of a transfer: more than one cluster of most sizes */
#define FUZZ_PLACES   4
#define FUZZ_FILE_MAX (16u << 20)
#define FUZZ_PIECE    512u
/* The lowest byte of the header's field. */
#define FUZZ_CLUSTER_BITS_AT 23
#define FUZZ_AUTOCLEAR_AT    88
#define FUZZ_RECORDS         16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int fuzz_fd = -1, fuzz_journal_fd = -1;
static uint8_t fuzz_buf[FUZZ_LEN], fuzz_back[FUZZ_LEN];

static struct vblk_image *fuzz_open(bool read_only, bool repair)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fuzz_fd);
    struct vblk_image_options options = {
        .storage.read_only = read_only,
        .format = "qcow2",
        .discard_in_format = true,
        .repair = repair,
        .has_journal = fuzz_journal_fd >= 0,
        .journal_fd = fuzz_journal_fd,
    };

    return vblk_image_open(path, &options, NULL);
}

/* The beginning, the end, and places in between. */
static uint64_t fuzz_offset(const struct vblk_image *image, unsigned i, uint64_t *ret_len)
{
    uint64_t size = image->size, offset = i == 3 ? size - MIN(size, FUZZ_LEN) : size / 5 * i;

    offset &= ~UINT64_C(511);
    *ret_len = MIN(FUZZ_LEN, size - offset);
    return offset;
}

static void fuzz_read(struct vblk_image *image)
{
    uint64_t len;

    for (unsigned i = 0; i < FUZZ_PLACES; i++) {
        uint64_t offset = fuzz_offset(image, i, &len);

        vblk_image_read(image, fuzz_back, len, offset);
    }
}

static void fuzz_write(struct vblk_image *image)
{
    uint64_t len;

    for (unsigned i = 0; i < FUZZ_PLACES; i++) {
        uint64_t offset = fuzz_offset(image, i, &len);

        if (len < 1024)
            continue;
        memset(fuzz_buf, (int)i + 1, len);
        if (vblk_image_write(image, fuzz_buf, len - 512, offset + 512) == 0) {
            g_assert_cmpint(vblk_image_read(image, fuzz_back, len - 512, offset + 512), ==, 0);
            g_assert_true(memcmp(fuzz_back, fuzz_buf, len - 512) == 0);
        }
        if (i % 2)
            vblk_image_flush(image);
        if (i == 1)
            vblk_image_discard(image, offset, len);
        else if (i == 2)
            vblk_image_zero(image, offset + 512, len - 512, true);
    }
    vblk_image_flush(image);
}

/* What only tools do to a disk: compressed clusters, and forgetting all of it. */
static void fuzz_pack(struct vblk_image *image)
{
    uint64_t len = MIN(UINT64_C(1) << qcow2_of(image)->cluster_bits, FUZZ_LEN);

    memset(fuzz_buf, 1, sizeof(fuzz_buf));
    len = MIN(len, image->size);
    for (unsigned i = 0; i < 2 && len > 0; i++) {
        if (qcow2_write_compressed(image, 0, len, fuzz_buf) < 0)
            break;
        g_assert_cmpint(vblk_image_read(image, fuzz_back, len, 0), ==, 0);
        g_assert_true(memcmp(fuzz_back, fuzz_buf, len) == 0);
    }
    fuzz_write(image);
    qcow2_forget(image);
}

static void fuzz_tools(struct vblk_image *image)
{
    struct qcow2_check_result result;
    GPtrArray *snapshots = qcow2_snapshot_list(image, NULL);

    qcow2_check(image, QCOW2_FIX_LEAKS | QCOW2_FIX_ERRORS, NULL, NULL, &result);
    if (snapshots && snapshots->len > 0) {
        const struct qcow2_snapshot *first = g_ptr_array_index(snapshots, 0);

        qcow2_snapshot_apply(image, first->id, NULL);
        qcow2_snapshot_delete(image, first->id, NULL);
    }
    if (snapshots)
        g_ptr_array_unref(snapshots);
    qcow2_snapshot_create(image, "fuzz", NULL);
    image->format->resize(image, image->size + 65536, NULL);
}

/* The last snapshot, as convert -l reads it. */
static void fuzz_view(struct vblk_image *image)
{
    GPtrArray *snapshots = qcow2_snapshot_list(image, NULL);

    if (snapshots && snapshots->len > 0 &&
        qcow2_snapshot_view(image, g_ptr_array_index(snapshots, snapshots->len - 1)) == 0)
        fuzz_read(image);
    if (snapshots)
        g_ptr_array_unref(snapshots);
}

/* What changes bitmaps and the header. */
static void fuzz_changes(struct vblk_image *image)
{
    GPtrArray *bitmaps = qcow2_bitmap_list(image, NULL);

    for (guint i = 0; bitmaps && i < MIN(bitmaps->len, 4); i++) {
        const struct qcow2_bitmap *bitmap = g_ptr_array_index(bitmaps, i);

        qcow2_bitmap_add(image, "fuzz", 65536, true, NULL);
        qcow2_bitmap_merge(image, "fuzz", image, bitmap->name, NULL);
        qcow2_bitmap_merge(image, bitmap->name, image, "fuzz", NULL);
        qcow2_bitmap_enable(image, bitmap->name, i % 2, NULL);
        qcow2_bitmap_clear(image, bitmap->name, NULL);
        if (i > 0)
            qcow2_bitmap_remove(image, bitmap->name, NULL);
    }
    if (bitmaps)
        g_ptr_array_unref(bitmaps);
    qcow2_amend_refcount_bits(image, 8, NULL);
    qcow2_amend_lazy_refcounts(image, true, NULL);
    qcow2_upgrade(image, NULL);
    qcow2_amend_refcount_bits(image, 16, NULL);
    qcow2_bitmap_remove(image, "fuzz", NULL);
    qcow2_amend_backing(image, NULL, NULL, NULL);
    if (image->size < FUZZ_FILE_MAX)
        qcow2_downgrade(image, NULL);
}

/* The header names a journal that counts, of a daemon that was killed. */
static void fuzz_replay(const uint8_t *data, size_t size)
{
    const be64_t autoclear = be64_from(QCOW2_AUTOCLEAR_JOURNAL | QCOW2_AUTOCLEAR_CLAIM_1);
    g_autofree struct qcow2_journal *journal = g_new0(struct qcow2_journal, 1);
    struct vblk_image *image = NULL;
    struct stat st;
    size_t len =
        MIN(size / sizeof(journal->records[0]), FUZZ_RECORDS) * sizeof(journal->records[0]);

    memcpy(journal->records, data + size - len, len);
    journal->head = len / sizeof(journal->records[0]);
    /* Near the beginning, where something is. */
    for (uint64_t i = 0; i < journal->head; i++)
        journal->records[i].guest_cluster &= 0xff;
    journal->magic = QCOW2_JOURNAL_MAGIC;
    journal->claim = be64_value(autoclear);
    qcow2_journals_boot_id(journal->boot_id, sizeof(journal->boot_id));
    if (fstat(fuzz_fd, &st) < 0 ||
        pwrite(fuzz_fd, &autoclear, sizeof(autoclear), FUZZ_AUTOCLEAR_AT) < 0)
        return;
    journal->device = st.st_dev;
    journal->inode = st.st_ino;
    fuzz_journal_fd = memfd_create("journal", MFD_CLOEXEC);
    if (write(fuzz_journal_fd, journal, sizeof(*journal)) == (ssize_t)sizeof(*journal))
        image = fuzz_open(false, false);
    if (image) {
        fuzz_read(image);
        fuzz_write(image);
        vblk_image_close(image);
    }
    close(fuzz_journal_fd);
    fuzz_journal_fd = -1;
}

/* Most file systems have an end, too: what is mapped far away cannot be written. */
static void fuzz_init(void)
{
    struct rlimit limit = {FUZZ_FILE_MAX, FUZZ_FILE_MAX};

    fuzz_fd = memfd_create("fuzz-qcow2", MFD_CLOEXEC);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

/*
 * The input as a file. Extended L2 entries need clusters of 16 KiB, of which the beginning is what
 * matters: an input that says so has 512 bytes for each.
 */
static bool fuzz_make_file(const uint8_t *data, size_t size)
{
    bool is_spread = size > FUZZ_CLUSTER_BITS_AT && data[FUZZ_CLUSTER_BITS_AT] == 14;

    if (ftruncate(fuzz_fd, 0) < 0)
        return false;
    if (!is_spread)
        return pwrite(fuzz_fd, data, size, 0) == (ssize_t)size;
    for (size_t at = 0; at < size; at += FUZZ_PIECE) {
        size_t len = MIN(FUZZ_PIECE, size - at);

        if (pwrite(fuzz_fd, data + at, len, (off_t)(at / FUZZ_PIECE) << 14) != (ssize_t)len)
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vblk_image *image;

    vu_log_set_level(VU_LOG_OFF);
    if (fuzz_fd < 0)
        fuzz_init();
    if (!fuzz_make_file(data, size))
        return 0;
    image = fuzz_open(true, false);
    if (image) {
        struct qcow2_check_result result;

        fuzz_read(image);
        qcow2_check(image, 0, NULL, NULL, &result);
        fuzz_view(image);
        vblk_image_close(image);
    }
    image = fuzz_open(false, false);
    if (image) {
        fuzz_read(image);
        fuzz_write(image);
        image->format->resize(image, image->size / 2, NULL);
        image->format->resize(image, image->size + 300 * 1024, NULL);
        image->format->settle(image);
        fuzz_write(image);
        vblk_image_close(image);
    }
    image = fuzz_open(false, true);
    if (image) {
        fuzz_tools(image);
        fuzz_write(image);
        vblk_image_close(image);
    }
    image = fuzz_make_file(data, size) ? fuzz_open(false, false) : NULL;
    if (image) {
        fuzz_changes(image);
        fuzz_write(image);
        fuzz_pack(image);
        vblk_image_close(image);
    }
    if (fuzz_make_file(data, size))
        fuzz_replay(data, size);
    return 0;
}
