/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds of file systems by their magic numbers. A list of what is known to be local, so that a
 * file system nobody thought of gets the careful treatment.
 */
#include "virtiofsd/fs-kind.h"

#include <glib.h>
#include <linux/magic.h>
#include <stdint.h>
#include <sys/vfs.h>

/* Those that <linux/magic.h> lacks. */
#define FS_KIND_BCACHEFS 0xca451a4eU
#define FS_KIND_EXFAT    0x2011bab0U
#define FS_KIND_JFS      0x3153464aU
#define FS_KIND_NTFS3    0x7366746eU
#define FS_KIND_ZFS      0x2fc12fc1U

static const uint32_t fs_kind_local[] = {
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC,     F2FS_SUPER_MAGIC,  HUGETLBFS_MAGIC,
    ISOFS_SUPER_MAGIC, MSDOS_SUPER_MAGIC,    NILFS_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC,
    RAMFS_MAGIC,       REISERFS_SUPER_MAGIC, SQUASHFS_MAGIC,    TMPFS_MAGIC,
    XFS_SUPER_MAGIC,   EROFS_SUPER_MAGIC_V1, FS_KIND_BCACHEFS,  FS_KIND_EXFAT,
    FS_KIND_JFS,       FS_KIND_NTFS3,        FS_KIND_ZFS,
};

static const uint32_t fs_kind_written_back[] = {
    BTRFS_SUPER_MAGIC,
    EXT4_SUPER_MAGIC,
    F2FS_SUPER_MAGIC,
    XFS_SUPER_MAGIC,
};

static const uint32_t fs_kind_forgetful[] = {
    FUSE_SUPER_MAGIC,
    MSDOS_SUPER_MAGIC,
    FS_KIND_EXFAT,
};

static bool kind_is_among(int fd, const uint32_t *kinds, size_t n_kinds)
{
    struct statfs st;

    if (fstatfs(fd, &st) < 0)
        return false;
    for (size_t i = 0; i < n_kinds; i++)
        if ((uint32_t)st.f_type == kinds[i])
            return true;
    return false;
}

bool fs_kind_is_local(int fd)
{
    return kind_is_among(fd, fs_kind_local, G_N_ELEMENTS(fs_kind_local));
}

bool fs_kind_is_forgetful(int fd)
{
    return kind_is_among(fd, fs_kind_forgetful, G_N_ELEMENTS(fs_kind_forgetful));
}

bool fs_kind_is_written_back(int fd)
{
    return kind_is_among(fd, fs_kind_written_back, G_N_ELEMENTS(fs_kind_written_back));
}
