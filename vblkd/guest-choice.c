/* SPDX-License-Identifier: Apache-2.0 */
/* One record, written as a whole whenever it changes. */
#include "vblkd/guest-choice.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vblkd/format/qcow2-journal.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define CHOICE_MAGIC UINT64_C(0x6f62677565737431) /* "obguest1" */

bool blk_choice_is_one(int fd)
{
    uint64_t magic = 0;
    ssize_t n = pread(fd, &magic, sizeof(magic), 0);

    return n == 0 || (n == (ssize_t)sizeof(magic) && magic == CHOICE_MAGIC);
}

/* Of this boot and this image, with nothing chosen; false where that cannot be told. */
static bool choice_fill(struct blk_choice_record *record, const struct vblk_storage *storage)
{
    struct stat st;

    *record = (struct blk_choice_record){.magic = CHOICE_MAGIC};
    qcow2_journals_boot_id(record->boot_id, sizeof(record->boot_id));
    if (record->boot_id[0] == '\0' || fstat(storage->fd, &st) < 0)
        return false;
    record->images[0].device = st.st_dev;
    record->images[0].inode = st.st_ino;
    return true;
}

static bool choice_is_ours(const struct blk_choice_record *old, const struct blk_choice_record *own)
{
    bool is_image = false;

    for (unsigned i = 0; i < BLK_CHOICE_IMAGES; i++)
        is_image |= memcmp(&old->images[i], &own->images[0], sizeof(own->images[0])) == 0;
    return is_image && old->magic == own->magic &&
           memcmp(old->boot_id, own->boot_id, sizeof(own->boot_id)) == 0;
}

static void choice_write(const struct blk_choice *choice)
{
    ssize_t n;

    if (choice->fd < 0)
        return;
    n = pwrite(choice->fd, &choice->record, sizeof(choice->record), 0);
    if (n != (ssize_t)sizeof(choice->record))
        vu_warning("vblkd: what the guest chose cannot be noted (%s): if this daemon is killed, "
                   "its write cache is on again",
                   g_strerror(n < 0 ? errno : ENOSPC));
}

void blk_choice_init(struct blk_choice *choice, int fd, const struct vblk_storage *storage)
{
    struct blk_choice_record old = {0};

    *choice = (struct blk_choice){.fd = fd};
    pthread_mutex_init(&choice->lock, NULL);
    if (!choice_fill(&choice->record, storage))
        choice->fd = -1;
    if (choice->fd < 0)
        return;
    if (pread(fd, &old, sizeof(old), 0) == (ssize_t)sizeof(old) &&
        choice_is_ours(&old, &choice->record))
        choice->record.cache_off = old.cache_off != 0;
    choice_write(choice);
}

void blk_choice_finish(struct blk_choice *choice)
{
    pthread_mutex_destroy(&choice->lock);
}

bool blk_choice_get(struct blk_choice *choice)
{
    VU_LOCK_SCOPE(&choice->lock);
    return choice->record.cache_off;
}

void blk_choice_keep(struct blk_choice *choice, bool cache_off)
{
    VU_LOCK_SCOPE(&choice->lock);
    if (choice->record.cache_off == cache_off)
        return;
    choice->record.cache_off = cache_off;
    choice_write(choice);
}

void blk_choice_follow(struct blk_choice *choice, const struct vblk_storage *storage)
{
    struct blk_choice_record next;

    VU_LOCK_SCOPE(&choice->lock);
    if (!choice_fill(&next, storage))
        return;
    next.images[1] = choice->record.images[0];
    next.cache_off = choice->record.cache_off;
    choice->record = next;
    choice_write(choice);
}
