/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One FUSE request between decoding and reply. The header and the arguments are private copies,
 * checked at decoding; only the data of READ and WRITE stays in guest memory, as iovecs.
 *
 * A handler returns the number of reply bytes it put behind the header (request->reply, or straight
 * into the guest's ranges by request->in), a negative errno, or FS_LATER when a helper will answer.
 */
#pragma once

#include <limits.h>
#include <linux/fs.h>
#include <stdint.h>

#include "vhost-user/iov.h"
#include "vhost-user/vring.h"
#include "virtiofsd/fuse-wire.h"
#include "virtiofsd/share.h"

#define FS_LATER     (INT_MIN)     /* not an errno: the request was handed on */
#define FS_NO_ANSWER (INT_MIN + 1) /* not an errno: the buffer goes back empty */

struct fs_request;
typedef int (*fs_handler)(struct fs_request *request);

/* Arguments of all operations: fixed-size parts, copied out once. */
union fs_args {
    struct fuse_init_in init;
    struct fuse_forget_in forget;
    struct fuse_batch_forget_in batch_forget;
    struct fuse_getattr_in getattr;
    struct fuse_setattr_in setattr;
    struct fuse_mknod_in mknod;
    struct fuse_mkdir_in mkdir;
    struct fuse_rename_in rename;
    struct fuse_rename2_in rename2;
    struct fuse_link_in link;
    struct fuse_open_in open;
    struct fuse_create_in create;
    struct fuse_read_in read;
    struct fuse_write_in write;
    struct fuse_lseek_in lseek;
    struct fuse_fallocate_in fallocate;
    struct fuse_copy_file_range_in copy_file_range;
    struct fuse_flush_in flush;
    struct fuse_release_in release;
    struct fuse_fsync_in fsync;
    struct fuse_syncfs_in syncfs;
    struct fuse_access_in access;
    struct fuse_lk_in lk;
    struct fs_wire_statx_in statx;
    struct fuse_ioctl_in ioctl;
    struct fuse_setxattr_in setxattr;
    struct fuse_getxattr_in getxattr;
};

/* Replies of fixed size; variable ones go by request->in. */
union fs_reply {
    struct fuse_init_out init;
    struct fuse_entry_out entry;
    struct fuse_attr_out attr;
    struct fuse_open_out open;
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } create;
    struct fuse_write_out write;
    struct fuse_statfs_out statfs;
    struct fuse_lseek_out lseek;
    struct fuse_lk_out lk;
    struct fs_wire_statx_out statx;
    struct {
        struct fuse_ioctl_out out;
        uint8_t data[sizeof(struct fsxattr)];
    } ioctl;
    uint64_t bytes_copied; /* COPY_FILE_RANGE_64 */
};

struct fs_request {
    struct fs_share *share;
    struct vu_elem *elem;
    const struct fs_operation *operation;
    struct fuse_in_header header;
    union fs_args args;
    char name[NAME_MAX + 1];  /* the first name, checked; or that of an attribute */
    char name2[NAME_MAX + 1]; /* RENAME, RENAME2: the new name */
    struct vu_iov_cursor out; /* what follows the decoded part: WRITE's data, SYMLINK's target,
                                 BATCH_FORGET's list */
    struct vu_iov_cursor extensions; /* FS_OP_CREATES: for fs_extensions_read */
    struct vu_iov_cursor in;         /* the guest's room behind struct fuse_out_header */
    uint32_t done;                   /* READ, WRITE: bytes moved so far */
    uint64_t popped_ns;              /* when it came */
    uint64_t clock_ns; /* the time, where this thread has just looked at the clock; 0 elsewhere */
    union fs_reply reply;
};

/* All the facts of an operation: one row of the table in dispatch.c, by opcode. */
enum fs_operation_flags {
    FS_OP_NO_REPLY = 1 << 0,    /* FORGET, BATCH_FORGET: the buffer goes back empty */
    FS_OP_BEFORE_INIT = 1 << 1, /* allowed without INIT */
    FS_OP_SLOW = 1 << 2,        /* always on a helper: it waits for the disk by its nature */
    FS_OP_TARGET = 1 << 3,      /* SYMLINK: a path follows the name, left in `out` */
    FS_OP_WRITES = 1 << 4,      /* changes the share */
    FS_OP_AS_USER = 1 << 5,     /* ids of its caller count: see permit.h */
    FS_OP_PACED = 1 << 6,       /* may have to ask the disk for names or attributes: see pace.h */
    FS_OP_CREATES = 1 << 7,     /* makes something new: extensions may follow */
    FS_OP_DOTS = 1 << 8,        /* LOOKUP: the name may be . or .. (EXPORT_SUPPORT) */
};

struct fs_operation {
    const char *name;
    fs_handler handler;
    uint16_t args_len;     /* bytes of the fixed part */
    uint16_t args_min_len; /* where older kernels send less (zero filled); 0: args_len */
    uint16_t reply_len;    /* bytes of the fixed reply, in request->reply; 0: none, or the handler
                              writes it by request->in. The guest's room for it is checked before
                              the handler runs. */
    uint8_t n_names;
    unsigned flags;
};

/* The row of an opcode, NULL where we have none (ENOSYS). */
const struct fs_operation *fs_operation_find(uint32_t opcode);

/*
 * Copies header, arguments and names out of the element, once, and checks them. 0: ready for
 * request->operation->handler. -ENOSYS, -EINVAL, -ENAMETOOLONG, FS_NO_ANSWER: to be given to
 * fs_request_finish instead.
 */
int fs_request_decode(struct fs_share *share, struct vu_elem *elem, struct fs_request *request);

/*
 * Copies the path that is left in `out` (FS_OP_TARGET: SYMLINK's target), once, into ret_path of
 * PATH_MAX bytes. -EINVAL: unterminated, empty, or a NUL inside; -ENAMETOOLONG.
 */
int fs_request_read_target(struct fs_request *request, char *ret_path);

/*
 * Reads the name of an extended attribute that comes next in `out` into request->name, and leaves
 * `out` behind it. -EINVAL: unterminated; -ERANGE: empty or too long.
 */
int fs_request_read_xattr_name(struct fs_request *request);

/* Handles n elements of a queue on its worker (vu_worker_ops.process; device is the share). */
void fs_request_process(void *device, struct vu_vring *vring, struct vu_elem **elems, unsigned n);

/* Fills header and reply for result (>= 0 reply bytes, -errno, or FS_NO_ANSWER) and sets
 * elem->written. Does not push. */
void fs_request_finish(struct fs_request *request, int result);
/* The same on a thread that does not have the queue; counts the request and pushes it. The share
 * may be gone afterwards. */
void fs_request_complete(struct fs_request *request, int result);

/* --- helpers: threads for requests that would sleep --- */

/*
 * Hands a copy of the request to a helper, which runs `handler` on it and pushes the element.
 * Returns FS_LATER, or the handler's result where no helper can be had (it is then run here).
 */
int fs_request_hand_on(struct fs_request *request, fs_handler handler);

/* Helpers ready for any handler (vu_helpers_destroy). */
struct vu_helpers *fs_helpers_create(unsigned max_threads);

/* --- handlers, by file --- */
int fs_do_init(struct fs_request *request); /* init.c */
int fs_do_destroy(struct fs_request *request);

int fs_do_lookup(struct fs_request *request); /* lookup.c */
int fs_do_forget(struct fs_request *request);
int fs_do_batch_forget(struct fs_request *request);

int fs_do_getattr(struct fs_request *request); /* attr.c */
int fs_do_setattr(struct fs_request *request);
int fs_do_access(struct fs_request *request);
int fs_do_statfs(struct fs_request *request);
int fs_do_syncfs(struct fs_request *request);

int fs_do_readlink(struct fs_request *request); /* namespace-create.c */
int fs_do_symlink(struct fs_request *request);
int fs_do_mknod(struct fs_request *request);
int fs_do_mkdir(struct fs_request *request);
int fs_do_link(struct fs_request *request);
int fs_do_unlink(struct fs_request *request); /* namespace-remove.c */
int fs_do_rmdir(struct fs_request *request);
int fs_do_rename(struct fs_request *request);
int fs_do_rename2(struct fs_request *request);

int fs_do_open(struct fs_request *request); /* open.c */
int fs_do_create(struct fs_request *request);
int fs_do_release(struct fs_request *request);
int fs_do_flush(struct fs_request *request);
int fs_do_fsync(struct fs_request *request);

int fs_do_read(struct fs_request *request); /* data.c */
int fs_do_write(struct fs_request *request);
int fs_do_lseek(struct fs_request *request); /* space.c */
int fs_do_fallocate(struct fs_request *request);
int fs_do_copy_file_range(struct fs_request *request);
int fs_do_copy_file_range_64(struct fs_request *request);

int fs_do_getlk(struct fs_request *request);    /* locks.c */
int fs_do_setlk(struct fs_request *request);    /* SETLK and SETLKW */
int fs_do_getxattr(struct fs_request *request); /* xattr.c */
int fs_do_listxattr(struct fs_request *request);
int fs_do_setxattr(struct fs_request *request);
int fs_do_removexattr(struct fs_request *request);

int fs_do_statx(struct fs_request *request);   /* statx.c */
int fs_do_ioctl(struct fs_request *request);   /* ioctl.c */
int fs_do_tmpfile(struct fs_request *request); /* tmpfile.c */

int fs_do_opendir(struct fs_request *request); /* directory.c */
int fs_do_readdir(struct fs_request *request);
int fs_do_readdirplus(struct fs_request *request);
int fs_do_releasedir(struct fs_request *request);
int fs_do_fsyncdir(struct fs_request *request);
