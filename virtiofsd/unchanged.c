/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The version of a file is made of its size and its times of modification and change. All pages
 * that the guest reads between two opens with the same version hold the contents of that version,
 * unless a change can leave the times as they are. It can where
 *
 *   - two changes fall into one tick of the file system's clock,
 *   - a program has the file mapped: of its stores into a page only the first is noticed
 *     until the page is written to the disk, which the kernel does after 30 seconds.
 *
 * So a version counts when the file has rested for longer than both. File systems that do not write
 * pages back at all (tmpfs) never notice such stores, and with those on a network others' changes
 * show up late: on them every open starts anew.
 */
#include "virtiofsd/unchanged.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "virtiofsd/fs-kind.h"

#define UNCHANGED_REST_SECONDS 60

/* Multiplies and folds: two versions of a file share a number as good as never. Not 0. */
static uint64_t unchanged_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static uint64_t unchanged_version(const struct stat *st)
{
    uint64_t version = unchanged_mix(1, (uint64_t)st->st_size);

    version = unchanged_mix(version, (uint64_t)st->st_mtim.tv_sec);
    version = unchanged_mix(version, (uint64_t)st->st_mtim.tv_nsec);
    version = unchanged_mix(version, (uint64_t)st->st_ctim.tv_sec);
    version = unchanged_mix(version, (uint64_t)st->st_ctim.tv_nsec);
    return version ? version : 1;
}

/* Changes since then would show. */
static bool unchanged_has_rested(const struct stat *st)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return st->st_ctim.tv_sec < now.tv_sec - UNCHANGED_REST_SECONDS;
}

bool fs_unchanged_since_open(const struct fs_share *share, struct fs_inode *inode, int fd)
{
    uint64_t version = 0, before;
    struct stat st;

    if (inode->dev != share->versioned_dev)
        return false;
    if (fstat(fd, &st) == 0 && unchanged_has_rested(&st))
        version = unchanged_version(&st);
    before = __atomic_exchange_n(&inode->version, version, __ATOMIC_RELAXED);
    return version != 0 && version == before;
}

uint32_t fs_unchanged_find_dev(int root_fd)
{
    struct stat st;

    if (!fs_kind_is_written_back(root_fd) || fstat(root_fd, &st) < 0)
        return 0;
    return fs_inode_dev(major(st.st_dev), minor(st.st_dev));
}
