/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk image, whatever its format: a map from guest offsets to where bytes lie.
 *
 * A format never moves a guest's data. It says where to read (map), where to overwrite (map_write),
 * and for what needs more than that reserves a place (write_begin), into which the caller writes,
 * and makes it part of the disk (write_end). So a queue's worker can move data by its engine, and a
 * tool or a helper can by system calls, over the same few operations.
 *
 *   read:       map
 *                 DATA: read there   ZERO: zeros   COMPRESSED: read_compressed
 *                 BACKING: map of the backing image; zeros where there is none, or behind its end
 *   overwrite:  map_write -> write there
 *   allocate:   map_write says -EAGAIN -> write_begin -> write there -> write_end
 *
 * Operations take VBLK_NOWAIT: then they return -EAGAIN rather than wait for metadata to be read,
 * for another's allocation of the same cluster, or for a lock that is held over input or output.
 * Without it they may wait, and are for helpers and tools. map and map_write take no lock where
 * what they need is in memory.
 *
 * Whoever uses what map, map_write or write_begin returned is between vblk_image_enter and _leave:
 * clusters that are freed meanwhile are not used for anything else until it has left.
 *
 * Offsets and lengths are bytes of the virtual disk, inside its size, in multiples of 512 (tools
 * may use any), never more than VBLK_REQUEST_MAX at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vblkd/storage/storage.h"

#define VBLK_REQUEST_MAX (1u << 30)
#define VBLK_MAX_QUEUES  64 /* of a device; queue VBLK_MAX_QUEUES is everybody else */

enum vblk_map_flags {
    VBLK_NOWAIT = 1 << 0,
    /* map: what was never written is told as ZERO, though that takes a system call. */
    VBLK_HOLES = 1 << 1,
};

enum vblk_extent_kind {
    VBLK_EXTENT_DATA,       /* len bytes at `offset` of `storage` */
    VBLK_EXTENT_ZERO,       /* reads as zeros */
    VBLK_EXTENT_COMPRESSED, /* read by read_compressed */
    VBLK_EXTENT_BACKING,    /* not here: as the backing image has it */
};

struct vblk_extent {
    enum vblk_extent_kind kind;
    uint64_t len;                 /* bytes, at least 1 and at most what was asked for */
    struct vblk_storage *storage; /* DATA; for tools that show where it lies COMPRESSED, and ZERO
                                     for which space is set aside; else NULL */
    uint64_t offset;
};

/* An allocation on its way, between write_begin and write_end. */
struct vblk_write {
    uint64_t guest_offset, len; /* what of the request it covers: from its beginning on */
    struct vblk_storage *storage;
    uint64_t offset; /* write len bytes here */
    void *token;     /* the format's */
};

struct vblk_image;

struct vblk_format {
    const char *name; /* "raw", "qcow2" */

    /* Where [offset, offset + len) lies, for reading: the first extent of it. 0 or -errno. */
    int (*map)(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
               struct vblk_extent *ret_extent);
    /*
     * Where it can be overwritten in place: an extent of kind DATA. -EAGAIN: it cannot, use
     * write_begin; or, with VBLK_NOWAIT, it cannot be told yet.
     */
    int (*map_write)(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                     struct vblk_extent *ret_extent);
    /*
     * Reserves a place for a write; what of the affected clusters lies around it has been brought
     * there (from backing images, compressed or shared clusters; zeros). Several writes of one new
     * cluster may be on their way at a time. -EAGAIN (VBLK_NOWAIT), -ENOSPC, -EFBIG, -EIO, ...:
     * nothing has changed then. Never returned for what map_write serves. NULL where map_write
     * always does.
     */
    int (*write_begin)(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                       struct vblk_write *ret_write);
    /*
     * The data is written (result 0: the disk now has it there) or is not (the place is given up).
     * Never waits for input or output. Returns what the guest is to be told: result, or -errno.
     */
    int (*write_end)(struct vblk_image *image, struct vblk_write *write, int result);
    /* Of one VBLK_EXTENT_COMPRESSED of map: len bytes from guest offset on. Waits. */
    int (*read_compressed)(struct vblk_image *image, uint64_t offset, uint64_t len, void *buf);
    /* The range reads as zeros; space may be given back, or (keep) stays. Waits. */
    int (*zero)(struct vblk_image *image, uint64_t offset, uint64_t len, bool may_unmap);
    /* The guest no longer needs the range. Waits. */
    int (*discard)(struct vblk_image *image, uint64_t offset, uint64_t len);
    /* Whether a flush has metadata to write; without, flushing `storage` is all there is to do. */
    bool (*has_dirty_metadata)(struct vblk_image *image);
    /* Everything that was acknowledged before is durable, metadata in its order. Waits. */
    int (*flush)(struct vblk_image *image);
    /* Optional, where is_eager can be: what was done before is lost no longer if the process is
     * killed. Waits. */
    int (*persist)(struct vblk_image *image);
    /* The virtual size changes. False with *error. Nobody writes meanwhile, nor reads beyond the
     * smaller size. */
    bool (*resize)(struct vblk_image *image, uint64_t size, GError **error);
    /* The file is as if the image had been closed, but for the locks; the next write begins anew.
     * Nobody else uses the image. 0 or -errno. Waits. */
    int (*settle)(struct vblk_image *image);
    /* Optional: what vblk_image_make_read_only means for more than `storage`. */
    void (*make_read_only)(struct vblk_image *image);
    /* Writes back what is dirty and lets go of everything but `storage`. */
    void (*close)(struct vblk_image *image);
};

/* The images in front of one that is being opened, to notice a chain that comes back to itself. */
struct vblk_image_chain {
    const struct vblk_storage *storage;
    const struct vblk_image_chain *front; /* NULL: this is what was asked for */
};

struct vblk_image_options {
    struct vblk_storage_options storage;
    const char *format; /* "raw", "qcow2"; NULL: probe, which is only allowed read_only */
    bool allow_backing; /* open the backing and data files that the image names */
    bool no_backing;    /* do not open them, though needed: for tools that only look at metadata */
    unsigned written_depth; /* the image that lies so far behind is written too; 0: none is */
    uint64_t cache_size;    /* bytes of metadata cache; 0: sized to the disk, with a cap */
    uint64_t l2_cache_size, refcount_cache_size; /* 0: divided by us */
    const struct vblk_image_chain *chain;        /* of a backing file; NULL from everybody else */
    bool discard_in_format; /* pass_discard: freed clusters give their space back */
    bool has_journal;       /* qcow2: journal_fd, a file that survives us, see qcow2-journal.h */
    int journal_fd;         /* stays the caller's */
    bool is_eager;          /* qcow2 without a journal: see struct vblk_image */
    bool repair;            /* opened to be repaired: inconsistencies are no reason to refuse */
};

/* Begins every image. */
struct vblk_image {
    const struct vblk_format *format;
    struct vblk_storage *storage; /* owned */
    struct vblk_image *backing;   /* owned; NULL: none, or not opened */
    uint64_t size;                /* of the virtual disk, bytes; atomic */
    uint32_t cluster_size;        /* what is best for requests; 0: no matter */
    uint64_t n_table_loads;       /* atomic: parts of its map that were not cached, and read */
    bool read_only;
    bool is_corrupt; /* atomic: metadata made no sense; nothing is written any more */
    bool is_eager;   /* nothing but the file outlives a killed process: changes of metadata are
                      * acknowledged after `persist` */
    struct vblk_users *users; /* image-users.h; owned; NULL where nothing is ever freed */
    void *data;               /* the format's */
};

/* Opens an image with what lies behind it. NULL with *error: one line that names the file. */
struct vblk_image *vblk_image_open(const char *path, const struct vblk_image_options *options,
                                   GError **error);
void vblk_image_close(struct vblk_image *image); /* NULL is allowed */
/* Opens what is in a descriptor, which is taken over in any case; `name` is for messages. The
 * format must be said. */
struct vblk_image *vblk_image_open_fd(int fd, const char *name,
                                      const struct vblk_image_options *options, GError **error);

/* What the file's beginning looks like, for a word to a person who said nothing: whoever writes to
 * a raw image decides it. "raw" too where it cannot be read. */
const char *vblk_image_guess_format(struct vblk_image *image);

/*
 * Marks a user of an image's extents, of a device's queue or (VBLK_MAX_QUEUES) any other, and the
 * end of that. Cheap: one atomic addition in the queue's own cache line. Covers backing images too.
 */
unsigned vblk_image_enter(struct vblk_image *image, unsigned queue);
void vblk_image_leave(struct vblk_image *image, unsigned queue, unsigned ticket);

/* map through the whole chain: never VBLK_EXTENT_BACKING. *ret_image (optional): whose extent it
 * is, to be asked for read_compressed. */
int vblk_image_map(struct vblk_image *image, uint64_t offset, uint64_t len, unsigned flags,
                   struct vblk_extent *ret_extent, struct vblk_image **ret_image);

/* For tools, helpers and copies: these wait, do all of it, and enter and leave by themselves. */
int vblk_image_read(struct vblk_image *image, void *buf, uint64_t len, uint64_t offset);
int vblk_image_write(struct vblk_image *image, const void *buf, uint64_t len, uint64_t offset);
int vblk_image_readv(struct vblk_image *image, const struct iovec *iov, unsigned n_iov,
                     uint64_t len, uint64_t offset);
int vblk_image_writev(struct vblk_image *image, const struct iovec *iov, unsigned n_iov,
                      uint64_t len, uint64_t offset);
int vblk_image_zero(struct vblk_image *image, uint64_t offset, uint64_t len, bool may_unmap);
int vblk_image_discard(struct vblk_image *image, uint64_t offset, uint64_t len);
int vblk_image_flush(struct vblk_image *image);
/* A file or device may have grown or shrunk from outside: the disk becomes what it is now. -ENOTSUP
 * for formats that know their size by themselves. */
int vblk_image_refresh_size(struct vblk_image *image);
/* An image that was settled is written no more, by us or through the locks of others. Nobody else
 * uses it. */
void vblk_image_make_read_only(struct vblk_image *image);
