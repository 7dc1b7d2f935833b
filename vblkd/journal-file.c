/* SPDX-License-Identifier: Apache-2.0 */
/* Made before the sandbox is entered; removed by its folder's descriptor from inside. */
#include "vblkd/journal-file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vblkd/format/qcow2-journal.h"
#include "vblkd/guest-choice.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

/* What others can write decides where a guest's data is: not of a file that somebody laid there. */
static bool journal_file_is_ours(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
           st.st_nlink <= 1 && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/* False with errno; EEXIST: of something else, which is not to be lost. */
static bool journal_file_make_there(struct blk_journal_file *file)
{
    bool is_ours;

    file->fd = openat(file->dir_fd, file->name,
                      O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600);
    if (file->fd < 0)
        return false;
    is_ours = journal_file_is_ours(file->fd);
    if (is_ours && file->is_one(file->fd))
        return true;
    vu_clear_fd(&file->fd);
    errno = is_ours ? EEXIST : EPERM;
    return false;
}

static bool journal_file_make(const char *path, bool (*is_one)(int fd),
                              struct blk_journal_file *file)
{
    g_autofree char *dir = g_path_get_dirname(path);

    file->is_one = is_one;
    file->name = g_path_get_basename(path);
    file->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return file->dir_fd >= 0 && journal_file_make_there(file);
}

/* Why errno kept a file from being made, for people. */
static const char *journal_file_reason(int err)
{
    if (err == EEXIST)
        return "a file that is something else is there";
    if (err == EPERM)
        return "others could write what is there";
    return g_strerror(err);
}

bool blk_journal_file_open(const char *place, const char *socket_path,
                           struct blk_journal_file *ret_file, GError **error)
{
    g_autofree char *path = NULL;

    *ret_file = (struct blk_journal_file){.fd = -1, .dir_fd = -1};
    if (place && strcmp(place, "none") == 0)
        return true;
    ret_file->is_missed = true;
    if (!place && !socket_path)
        return true;
    path = place ? g_strdup(place) : g_strconcat(socket_path, ".journal", NULL);
    if (journal_file_make(path, qcow2_journal_is_one, ret_file)) {
        ret_file->is_missed = false;
        return true;
    }
    if (place) {
        g_set_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(errno), "--journal=%s: %s",
                    place, journal_file_reason(errno));
        return false;
    }
    vu_warning("%s: no journal: %s", path, journal_file_reason(errno));
    return true;
}

bool blk_journal_file_lock(struct blk_journal_file *file, GError **error)
{
    struct stat st;

    if (file->fd < 0)
        return true;
    /* A file system that has no locks is no reason to do without a journal. */
    if (flock(file->fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN,
                    "the journal %s is another vblkd's: each needs one of its own (--journal)",
                    file->name);
        return false;
    }
    if (fstat(file->fd, &st) < 0 || st.st_nlink > 0)
        return true;
    /* Removed by the one that had it, so that nobody will find in it what we note. */
    vu_clear_fd(&file->fd);
    if (journal_file_make_there(file))
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN, "the journal %s is being removed",
                    file->name);
    else
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "the journal %s: %s", file->name,
                    journal_file_reason(errno));
    return false;
}

void blk_journal_file_open_choice(const char *place, const char *socket_path,
                                  struct blk_journal_file *ret_file)
{
    const char *base = place ? place : socket_path;
    g_autofree char *path = base ? g_strconcat(base, ".guest", NULL) : NULL;

    *ret_file = (struct blk_journal_file){.fd = -1, .dir_fd = -1};
    if (!path || (place && strcmp(place, "none") == 0))
        return;
    if (!journal_file_make(path, blk_choice_is_one, ret_file))
        vu_warning("%s: %s; if this daemon is killed, a write cache that the guest switched off "
                   "is on again",
                   path, journal_file_reason(errno));
}

void blk_journal_file_remove(const struct blk_journal_file *file)
{
    if (file->fd >= 0 && unlinkat(file->dir_fd, file->name, 0) < 0)
        vu_warning("%s: cannot be removed: %s", file->name, g_strerror(errno));
}

void blk_journal_file_remove_blank(const struct blk_journal_file *file)
{
    struct stat st;

    if (file->fd >= 0 && flock(file->fd, LOCK_EX | LOCK_NB) == 0 && fstat(file->fd, &st) == 0 &&
        st.st_nlink > 0 && qcow2_journal_is_blank(file->fd))
        blk_journal_file_remove(file);
}

void blk_journal_file_clear(struct blk_journal_file *file)
{
    vu_clear_fd(&file->fd);
    vu_clear_fd(&file->dir_fd);
    g_clear_pointer(&file->name, g_free);
}
