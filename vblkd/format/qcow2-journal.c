/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: a ring of records in a mapped file. A record counts from the moment that `head` is
 * behind it, so a process may be killed between any two instructions.
 */
#include "vblkd/format/qcow2-journal.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vblkd/format/qcow2-bitmap.h"
#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-journal-bits.h"
#include "vblkd/format/qcow2-journal-replay.h"
#include "vblkd/format/qcow2.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define JOURNAL_EAGER "the metadata of a new cluster is written before its write is acknowledged"

/* --- noting, under the lock --- */

int qcow2_journal_reserve(struct qcow2 *q, uint64_t n, struct qcow2_need *need)
{
    uint64_t n_used;

    if (!q->is_noting)
        return 0;
    n_used = q->journal->head - q->journal->tail;
    if (n_used + q->n_journal_reserved + n > QCOW2_JOURNAL_RECORDS)
        return qcow2_lacks(need, n_used > 0 ? QCOW2_NEED_FLUSH : QCOW2_NEED_CHANGE, 0);
    q->n_journal_reserved += n;
    return 0;
}

void qcow2_journal_unreserve(struct qcow2 *q, uint64_t n)
{
    if (q->is_noting)
        q->n_journal_reserved -= n;
}

void qcow2_journal_note(struct qcow2 *q, uint64_t guest_cluster, struct qcow2_l2_entry entry)
{
    struct qcow2_journal *journal = q->journal;

    if (!q->is_noting)
        return;
    journal->records[journal->head % QCOW2_JOURNAL_RECORDS] =
        (struct qcow2_journal_record){guest_cluster, entry.cluster, entry.bitmap};
    __atomic_store_n(&journal->head, journal->head + 1, __ATOMIC_RELEASE);
}

uint64_t qcow2_journal_head(const struct qcow2 *q)
{
    return q->is_noting ? q->journal->head : 0;
}

void qcow2_journal_forget(struct qcow2 *q, uint64_t head)
{
    if (q->is_noting)
        __atomic_store_n(&q->journal->tail, head, __ATOMIC_RELEASE);
}

/* --- opening --- */

static bool journal_fail(int err, GError **error)
{
    g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(err),
                "the journal cannot be used: %s", g_strerror(err));
    return false;
}

/* What the journal has must not be lost because the disk's overlay is served before it was one. */
static bool journal_check_behind(const struct qcow2 *q, GError **error)
{
    const struct qcow2_journal *journal = q->journal;

    for (const struct vblk_image *image = q->image->backing; image; image = image->backing) {
        if (image->format != &vblk_format_qcow2 || !qcow2_journal_is_of(journal, qcow2_of(image)) ||
            journal->head == journal->tail)
            continue;
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                    "the journal has changes of %s, which lies behind it: serve that once, so that "
                    "they are made",
                    image->storage->path);
        return false;
    }
    return true;
}

/* Another than the image has now; one from long ago is unlikely to come again. */
static uint64_t journal_next_claim(const struct qcow2 *q)
{
    uint64_t last = q->header.autoclear & QCOW2_AUTOCLEAR_CLAIM, claim = last;

    while (claim == last)
        claim = QCOW2_AUTOCLEAR_JOURNAL | (g_random_int() * QCOW2_AUTOCLEAR_CLAIM_1);
    return claim;
}

uint64_t qcow2_journal_claim(const struct qcow2 *q)
{
    return q->is_noting ? q->journal->claim : 0;
}

/* Whoever has a journal of this image finds it outdated from now on, before we change anything. */
static bool journal_disown(struct qcow2 *q, GError **error)
{
    int ret;

    if (!(q->header.autoclear & QCOW2_AUTOCLEAR_CLAIM))
        return true;
    vu_warning("%s: the daemon that served it was killed: if its journal has changes of it, they "
               "are lost now",
               q->name);
    q->header.autoclear &= ~QCOW2_AUTOCLEAR_CLAIM;
    ret = qcow2_write_header_held(q);
    return ret == 0 || journal_fail(-ret, error);
}

/* Empty, and ours from now on; qcow2_prepare writes the claim before anything is noted. path,
 * behind: see the struct; or NULL. */
static void journal_begin(struct qcow2 *q, const struct stat *st, const char *path,
                          const struct stat *behind)
{
    struct qcow2_journal *journal = q->journal;

    __atomic_store_n(&journal->magic, QCOW2_JOURNAL_NONE, __ATOMIC_SEQ_CST);
    qcow2_journals_boot_id(journal->boot_id, sizeof(journal->boot_id));
    __atomic_store_n(&journal->claim, journal_next_claim(q), __ATOMIC_SEQ_CST);
    __atomic_store_n(&journal->head, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&journal->tail, 0, __ATOMIC_SEQ_CST);
    qcow2_journal_forget_bits(q);
    memset(journal->path, 0, sizeof(journal->path));
    if (path && strlen(path) < sizeof(journal->path))
        memcpy(journal->path, path, strlen(path));
    __atomic_store_n(&journal->device, st->st_dev, __ATOMIC_SEQ_CST);
    __atomic_store_n(&journal->inode, st->st_ino, __ATOMIC_SEQ_CST);
    __atomic_store_n(&journal->behind_device, behind ? behind->st_dev : 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&journal->behind_inode, behind ? behind->st_ino : 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&journal->magic, QCOW2_JOURNAL_MAGIC, __ATOMIC_SEQ_CST);
    q->is_noting = true;
}

/* Maps the file. 0 or -errno. */
static int journal_map(struct qcow2 *q, int fd, struct stat *ret_st)
{
    vu_autofd int own = -1;
    void *map;
    int ret;

    if (fstat(q->storage->fd, ret_st) < 0)
        return -errno;
    ret = qcow2_journal_lay_out(fd, 0, sizeof(struct qcow2_journal));
    if (ret < 0)
        return ret;
    own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own < 0)
        return -errno;
    map = mmap(NULL, sizeof(struct qcow2_journal), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    q->journal = map;
    q->journal_fd = vu_steal_fd(&own);
    return 0;
}

/* Makes again what a predecessor had done, before this journal begins. */
static int journal_take_over(struct qcow2 *q)
{
    uint64_t n = q->journal->head - q->journal->tail;
    int ret = n > 0 ? qcow2_journal_replay(q) : 0;

    if (ret == 0 && n > 0)
        vu_info("%s: %" PRIu64 " changes of a predecessor have been made again", q->name, n);
    return ret == 0 ? qcow2_bitmaps_take_over(q) : ret;
}

bool qcow2_journal_map(struct qcow2 *q, const struct vblk_image_options *options, GError **error)
{
    struct stat st;
    int ret = 0;

    if (!q->image->read_only && q->header.version >= 3 && options->has_journal)
        ret = journal_map(q, options->journal_fd, &st);
    return ret == 0 || journal_fail(-ret, error);
}

/* Where that is wanted, what a journal would have is written before it is acknowledged. */
static void journal_do_without(struct qcow2 *q, const struct vblk_image_options *options)
{
    qcow2_journal_close(q);
    q->image->is_eager = options->has_journal || options->is_eager;
    if (!q->image->is_eager)
        return;
    if (q->header.version < 3)
        vu_info("%s: an image of version 2: " JOURNAL_EAGER
                "; version 3 does not need that (vblk-img amend -o compat=1.1)",
                q->name);
    else
        vu_warning("%s: there is no journal: " JOURNAL_EAGER
                   ", which is much slower; say where one can be (--journal=FILE)",
                   q->name);
}

bool qcow2_journal_open(struct qcow2 *q, const struct vblk_image_options *options, GError **error)
{
    g_autofree char *path = NULL;
    struct stat st;
    int ret = 0;

    if (q->image->read_only)
        return true;
    if (q->header.version < 3 || !options->has_journal || !qcow2_journal_can_count()) {
        journal_do_without(q, options);
        return q->header.version < 3 || journal_disown(q, error);
    }
    if (!journal_check_behind(q, error))
        return false;
    if (qcow2_journal_is_of(q->journal, q))
        ret = journal_take_over(q);
    else if (qcow2_journal_is_outdated(q))
        vu_warning("%s: the journal has changes that were not written when a daemon was killed, "
                   "and they are lost: another program has written to the image since",
                   q->name);
    if (ret == 0 && fstat(q->storage->fd, &st) < 0)
        ret = -errno;
    if (ret < 0)
        return journal_fail(-ret, error);
    path = g_canonicalize_filename(q->storage->path, NULL);
    journal_begin(q, &st, path, NULL);
    return true;
}

void qcow2_journal_close(struct qcow2 *q)
{
    if (!q->journal)
        return;
    munmap(q->journal, sizeof(struct qcow2_journal));
    q->journal = NULL;
    q->is_noting = false;
    vu_clear_fd(&q->journal_fd);
}

int qcow2_journal_move(struct vblk_image *from, struct qcow2 *to, int journal_fd)
{
    struct stat st, behind;
    int ret = to->header.version >= 3 ? journal_map(to, journal_fd, &st) : 0;

    if (ret < 0)
        return ret;
    to->image->is_eager = to->header.version < 3;
    if (from->format == &vblk_format_qcow2)
        qcow2_journal_close(qcow2_of(from));
    if (to->journal)
        journal_begin(to, &st, NULL, fstat(from->storage->fd, &behind) == 0 ? &behind : NULL);
    return 0;
}
