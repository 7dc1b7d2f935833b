/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an image's bytes lie: a regular file or a block device, opened with a caching mode. Network
 * stores will be further kinds of it, so what runs beside a guest's requests is asynchronous (a
 * struct vblk_io for an engine); metadata and tools use the calls below, which wait.
 *
 * Any thread may call what is below the opening.
 */
#pragma once

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vblkd/aio/aio.h"

/* As QEMU's cache=: whether the host's page cache is used, and what a flush is worth. */
enum vblk_cache {
    VBLK_CACHE_WRITEBACK,    /* page cache, flushes are the guest's */
    VBLK_CACHE_NONE,         /* O_DIRECT, flushes are the guest's */
    VBLK_CACHE_WRITETHROUGH, /* page cache, each write is durable when done */
    VBLK_CACHE_DIRECTSYNC,   /* O_DIRECT, each write is durable when done */
    VBLK_CACHE_UNSAFE,       /* page cache, flushes are ignored */
};
extern const char *const vblk_caches[]; /* NULL ended, in the order above */

static inline bool vblk_cache_is_direct(enum vblk_cache cache)
{
    return cache == VBLK_CACHE_NONE || cache == VBLK_CACHE_DIRECTSYNC;
}

static inline bool vblk_cache_is_writethrough(enum vblk_cache cache)
{
    return cache == VBLK_CACHE_WRITETHROUGH || cache == VBLK_CACHE_DIRECTSYNC;
}

/* Made by vblk_storage_open; the fields are read by everybody and changed by nobody but resize and
 * vblk_storage_make_read_only. */
struct vblk_storage {
    int fd;
    char *path; /* as it was given, for messages */
    enum vblk_cache cache;
    bool read_only;
    bool is_block_device;
    bool is_in_memory;         /* a tmpfs: O_DIRECT makes no difference to it */
    bool is_locked;            /* QEMU's byte locks are held, see image-lock.h */
    uint32_t request_align;    /* of offsets and lengths: 1, or what O_DIRECT asks for */
    uint32_t memory_align;     /* addresses of buffers likewise */
    uint32_t physical_sector;  /* of a device; else the file system's block */
    uint64_t size;             /* bytes; atomic */
    pthread_mutex_t edge_lock; /* writes of a part of an aligned block, which read the rest of it */
    int flush_error;           /* atomic; of the first flush that failed, 0: none has */
    /* What the kind of storage can do, learned at opening and when the first attempt fails. */
    bool can_discard, can_zero; /* atomic */
};

struct vblk_storage_options {
    enum vblk_cache cache;
    bool read_only;
    bool create;     /* a new or emptied regular file of size 0 */
    bool take_locks; /* QEMU's: others that write are refused, and so are we (EAGAIN) */
    bool share_all;  /* -U: look on while another writes; needs read_only */
};

/*
 * Refuses what is neither a regular file nor a block device, without waiting (a FIFO is not opened
 * for good). False with *error, which names the path and, for a lock, says who might hold it and
 * how to look on.
 */
struct vblk_storage *vblk_storage_open(const char *path, const struct vblk_storage_options *options,
                                       GError **error);
/* The same on a descriptor that somebody opened for us, which is taken over in any case; `name` is
 * for messages. It must have been opened for what the options say. */
struct vblk_storage *vblk_storage_adopt(int fd, const char *name,
                                        const struct vblk_storage_options *options, GError **error);
/* From now on it is only read: nobody writes to it any more. Locks are given up as far. */
void vblk_storage_make_read_only(struct vblk_storage *storage);
/* Whether both are the same file. */
bool vblk_storage_is_same(const struct vblk_storage *a, const struct vblk_storage *b);
/* NULL is allowed. Lets go of the locks. */
void vblk_storage_close(struct vblk_storage *storage);

/*
 * These wait. Each does all of len and returns 0, or -errno. Buffers and ranges need no alignment:
 * a bounce buffer makes up for it where O_DIRECT asks for more. An unaligned write then reads what
 * is around it and writes that back; several of them in one block do not undo each other. The end
 * of a file reads as zeros.
 */
int vblk_storage_read(struct vblk_storage *storage, void *buf, uint64_t len, uint64_t offset);
int vblk_storage_write(struct vblk_storage *storage, const void *buf, uint64_t len,
                       uint64_t offset);
int vblk_storage_readv(struct vblk_storage *storage, const struct iovec *iov, unsigned n_iov,
                       uint64_t offset);
int vblk_storage_writev(struct vblk_storage *storage, const struct iovec *iov, unsigned n_iov,
                        uint64_t offset);
/*
 * fdatasync; nothing with VBLK_CACHE_UNSAFE. The kernel tells an error once, and takes what it
 * could not write for written: so once one has failed, all that follow fail alike.
 */
int vblk_storage_flush(struct vblk_storage *storage);
/* Likewise for an fdatasync that an engine made, or a write through the page cache that was to be
 * durable: its result (0 or -errno) goes in, what is to be told of it comes out. Any thread. */
int vblk_storage_flush_result(struct vblk_storage *storage, int result);
/* The range reads as zeros afterwards. may_unmap: space may be given back. */
int vblk_storage_zero(struct vblk_storage *storage, uint64_t offset, uint64_t len, bool may_unmap);
/* Gives space back. 0 also where the storage cannot; contents of the range are then what they
 * were. */
int vblk_storage_discard(struct vblk_storage *storage, uint64_t offset, uint64_t len);
/* -ENOTSUP for a block device that is not as large. */
int vblk_storage_truncate(struct vblk_storage *storage, uint64_t size);
/* A file that ends before `end` ends there, with blocks for what is new from `from` on, which reads
 * as zeros. -EOPNOTSUPP where there is no such thing. */
int vblk_storage_reserve(struct vblk_storage *storage, uint64_t from, uint64_t end);
/* What lies at offset: *ret_is_data, and how far that goes on in *ret_len (at least 1; to the end
 * of the file at most). SEEK_DATA and SEEK_HOLE; all data where these are not known. */
int vblk_storage_map(struct vblk_storage *storage, uint64_t offset, bool *ret_is_data,
                     uint64_t *ret_len);
/* Asks again how large it is (a device or file that grew); -errno. */
int vblk_storage_refresh_size(struct vblk_storage *storage);

/* Whether an engine can do the operation as it is: aligned as request_align and memory_align say.
 */
bool vblk_storage_is_aligned(const struct vblk_storage *storage, const struct iovec *iov,
                             unsigned n_iov, uint64_t offset, uint64_t len);
