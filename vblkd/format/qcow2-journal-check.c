/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether what is in a journal's file counts: of this boot of the machine, about that image, which
 * nobody else has written to since. And which other image it keeps from being served.
 */
#include "vblkd/format/qcow2-journal.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vblkd/format/qcow2-journal-bits.h"
#include "vhost-user/cleanup.h"

#define JOURNAL_BOOT_ID "/proc/sys/kernel/random/boot_id"

static char *journal_boot_text; /* NULL: cannot be known */
static pthread_once_t journal_boot_once = PTHREAD_ONCE_INIT;

static void journal_learn_boot(void)
{
    if (!g_file_get_contents(JOURNAL_BOOT_ID, &journal_boot_text, NULL, NULL))
        journal_boot_text = NULL;
}

void qcow2_journals_init(void)
{
    pthread_once(&journal_boot_once, journal_learn_boot);
    (void)g_random_int();
}

void qcow2_journals_boot_id(char *ret_id, size_t len)
{
    qcow2_journals_init();
    memset(ret_id, 0, len);
    if (journal_boot_text)
        g_strlcpy(ret_id, journal_boot_text, len);
}

bool qcow2_journal_can_count(void)
{
    char boot_id[sizeof(((struct qcow2_journal *)NULL)->boot_id)];

    qcow2_journals_boot_id(boot_id, sizeof(boot_id));
    return boot_id[0] != '\0';
}

bool qcow2_journal_is_one(int fd)
{
    uint64_t magic = 0;
    ssize_t n = pread(fd, &magic, sizeof(magic), 0);
    struct stat st;

    if (n == 0)
        return true;
    if (n != (ssize_t)sizeof(magic) || fstat(fd, &st) < 0)
        return false;
    return (magic & QCOW2_JOURNAL_KIND) == (QCOW2_JOURNAL_MAGIC & QCOW2_JOURNAL_KIND) ||
           (magic == 0 && st.st_size <= (off_t)sizeof(struct qcow2_journal));
}

bool qcow2_journal_is_blank(int fd)
{
    uint64_t magic = 0;

    return qcow2_journal_is_one(fd) && pread(fd, &magic, sizeof(magic), 0) >= 0 && magic == 0;
}

/* It is a journal, and of this boot. */
static bool journal_counts(const struct qcow2_journal *journal)
{
    char boot_id[sizeof(journal->boot_id)];

    qcow2_journals_boot_id(boot_id, sizeof(boot_id));
    return journal->magic == QCOW2_JOURNAL_MAGIC && boot_id[0] != '\0' &&
           memcmp(journal->boot_id, boot_id, sizeof(boot_id)) == 0;
}

bool qcow2_journal_is_of(const struct qcow2_journal *journal, const struct qcow2 *q)
{
    struct stat st;

    return journal_counts(journal) && fstat(q->storage->fd, &st) == 0 &&
           journal->device == st.st_dev && journal->inode == st.st_ino &&
           journal->tail <= journal->head &&
           journal->head - journal->tail <= QCOW2_JOURNAL_RECORDS && journal->claim != 0 &&
           journal->claim == (q->header.autoclear & QCOW2_AUTOCLEAR_CLAIM);
}

/* Whether the image that a journal is about is still there, and nobody else has changed it. */
static bool journal_is_awaited(const struct qcow2_journal *journal)
{
    struct qcow2_disk_header header;
    vu_autofd int fd = -1;
    struct stat st;

    if (journal->head == journal->tail || journal->path[0] == '\0' || journal->claim == 0)
        return false;
    fd = open(journal->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &st) == 0 && journal->device == st.st_dev &&
           journal->inode == st.st_ino &&
           pread(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
           (be64_value(header.autoclear_features) & QCOW2_AUTOCLEAR_CLAIM) == journal->claim;
}

bool qcow2_journal_check(int journal_fd, const char *path, GError **error)
{
    size_t len = offsetof(struct qcow2_journal, regions);
    g_autofree struct qcow2_journal *journal = g_malloc0(sizeof(*journal));
    struct stat st;

    if (pread(journal_fd, journal, len, 0) != (ssize_t)len || !journal_counts(journal) ||
        stat(path, &st) < 0 || (journal->device == st.st_dev && journal->inode == st.st_ino))
        return true;
    if (journal->behind_inode != 0 && journal->behind_device == st.st_dev &&
        journal->behind_inode == st.st_ino) {
        g_set_error(
            error, G_IO_ERROR, G_IO_ERROR_BUSY,
            "%s: an overlay has come in front of it (inode %" PRIu64
            "), and the journal has what was written to that: serve the overlay, or remove the "
            "journal to give up what was written since",
            path, journal->inode);
        return false;
    }
    if (!journal_is_awaited(journal))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                "%s: the journal has changes of %s, whose daemon was killed: serve that once, so "
                "that they are made, or remove the journal to give them up",
                path, journal->path);
    return false;
}

bool qcow2_journal_is_outdated(const struct qcow2 *q)
{
    const struct qcow2_journal *journal = q->journal;
    struct stat st;

    return journal_counts(journal) && journal->head != journal->tail &&
           fstat(q->storage->fd, &st) == 0 && journal->device == st.st_dev &&
           journal->inode == st.st_ino;
}
