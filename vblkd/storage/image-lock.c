/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's byte locks on images: see image-lock.h. */
#include "vblkd/storage/image-lock.h"

#include <errno.h>
#include <fcntl.h>

#define IMAGE_LOCK_USED_BASE       100
#define IMAGE_LOCK_NOT_SHARED_BASE 200

enum lock_permission {
    IMAGE_LOCK_READ,
    IMAGE_LOCK_WRITE,
    IMAGE_LOCK_WRITE_UNCHANGED,
    IMAGE_LOCK_RESIZE,
    IMAGE_LOCK_N_PERMISSIONS,
};

static const char *const lock_permission_names[] = {
    [IMAGE_LOCK_READ] = "read",
    [IMAGE_LOCK_WRITE] = "write",
    [IMAGE_LOCK_WRITE_UNCHANGED] = "write unchanged data",
    [IMAGE_LOCK_RESIZE] = "resize",
};

#define IMAGE_LOCK_BIT(permission) (1u << (permission))

/* What a kind of user does, and what it does not stand beside it. */
struct lock_role {
    unsigned used, not_shared;
    const char *name;
};

static const struct lock_role lock_writer = {
    .used = IMAGE_LOCK_BIT(IMAGE_LOCK_READ) | IMAGE_LOCK_BIT(IMAGE_LOCK_WRITE) |
            IMAGE_LOCK_BIT(IMAGE_LOCK_RESIZE),
    .not_shared = IMAGE_LOCK_BIT(IMAGE_LOCK_WRITE) | IMAGE_LOCK_BIT(IMAGE_LOCK_RESIZE),
    .name = "writing",
};
static const struct lock_role lock_reader = {
    .used = IMAGE_LOCK_BIT(IMAGE_LOCK_READ),
    .not_shared = IMAGE_LOCK_BIT(IMAGE_LOCK_WRITE) | IMAGE_LOCK_BIT(IMAGE_LOCK_RESIZE),
    .name = "reading",
};
static const struct lock_role lock_onlooker = {
    .used = IMAGE_LOCK_BIT(IMAGE_LOCK_READ),
    .not_shared = 0,
    .name = "looking on",
};

static struct flock lock_byte(short type, int byte)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

static bool lock_is_unknown(int err)
{
    return err == EINVAL || err == ENOSYS || err == EOPNOTSUPP || err == ENOLCK;
}

/* Locks base + i for each bit of the mask. 0 or an errno. */
static int lock_take_bytes(int fd, int base, unsigned mask)
{
    for (int i = 0; i < IMAGE_LOCK_N_PERMISSIONS; i++) {
        struct flock lock = lock_byte(F_RDLCK, base + i);

        if ((mask & IMAGE_LOCK_BIT(i)) && fcntl(fd, F_OFD_SETLK, &lock) < 0)
            return errno;
    }
    return 0;
}

/* The first permission of the mask whose byte at `base` another has locked; -1: none. */
static int lock_find_conflict(int fd, int base, unsigned mask)
{
    for (int i = 0; i < IMAGE_LOCK_N_PERMISSIONS; i++) {
        struct flock lock = lock_byte(F_WRLCK, base + i);

        if ((mask & IMAGE_LOCK_BIT(i)) && fcntl(fd, F_OFD_GETLK, &lock) == 0 &&
            lock.l_type != F_UNLCK)
            return i;
    }
    return -1;
}

/* Gives up base + i for each bit of the mask. */
static void lock_release_mask(int fd, int base, unsigned mask)
{
    for (int i = 0; i < IMAGE_LOCK_N_PERMISSIONS; i++) {
        struct flock lock = lock_byte(F_UNLCK, base + i);

        if (mask & IMAGE_LOCK_BIT(i))
            (void)fcntl(fd, F_OFD_SETLK, &lock);
    }
}

static void lock_release_bytes(int fd)
{
    struct flock lock = {
        .l_type = F_UNLCK,
        .l_whence = SEEK_SET,
        .l_start = IMAGE_LOCK_USED_BASE,
        .l_len = IMAGE_LOCK_NOT_SHARED_BASE + IMAGE_LOCK_N_PERMISSIONS - IMAGE_LOCK_USED_BASE,
    };

    (void)fcntl(fd, F_OFD_SETLK, &lock);
}

static bool lock_refuse(const struct vblk_storage *storage, const struct lock_role *role,
                        int permission, const char *what, GError **error)
{
    g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN,
                "%s: locked against %s: another program (qemu, vblkd or a tool of theirs) %s "
                "\"%s\"; end it first, or look on without writing (-U; vblkd: --read-only "
                "--locking=off)",
                storage->path, role->name, what, lock_permission_names[permission]);
    return false;
}

bool vblk_image_lock_take(struct vblk_storage *storage, const struct vblk_storage_options *options,
                          GError **error)
{
    const struct lock_role *role = !options->read_only  ? &lock_writer
                                   : options->share_all ? &lock_onlooker
                                                        : &lock_reader;
    int err = lock_take_bytes(storage->fd, IMAGE_LOCK_USED_BASE, role->used), permission;

    if (err == 0)
        err = lock_take_bytes(storage->fd, IMAGE_LOCK_NOT_SHARED_BASE, role->not_shared);
    if (err != 0) {
        lock_release_bytes(storage->fd);
        if (lock_is_unknown(err))
            return true;
        g_set_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(err),
                    "%s: cannot lock it: %s", storage->path, g_strerror(err));
        return false;
    }
    /* Ours are there, so of two who begin together at least one meets the other's. */
    permission = lock_find_conflict(storage->fd, IMAGE_LOCK_NOT_SHARED_BASE, role->used);
    if (permission >= 0)
        return lock_refuse(storage, role, permission, "does not share", error);
    permission = lock_find_conflict(storage->fd, IMAGE_LOCK_USED_BASE, role->not_shared);
    if (permission >= 0)
        return lock_refuse(storage, role, permission, "uses", error);
    storage->is_locked = true;
    return true;
}

void vblk_image_lock_downgrade(const struct vblk_storage *storage)
{
    if (!storage->is_locked)
        return;
    lock_release_mask(storage->fd, IMAGE_LOCK_USED_BASE, lock_writer.used & ~lock_reader.used);
    lock_release_mask(storage->fd, IMAGE_LOCK_NOT_SHARED_BASE,
                      lock_writer.not_shared & ~lock_reader.not_shared);
}

void vblk_image_lock_release(const struct vblk_storage *storage)
{
    if (storage->is_locked)
        lock_release_bytes(storage->fd);
}
