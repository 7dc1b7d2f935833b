/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations by opcode, and the loop that takes a batch of requests through them: decode, do,
 * finish, and push all that is done together. What is handed on is pushed by its helper.
 *
 * Workers; the high-priority queue and the request queues are served alike.
 */
#include <errno.h>
#include <glib.h>

#include "vhost-user/cpu.h"
#include "vhost-user/log.h"
#include "vhost-user/turn.h"
#include "vhost-user/worker.h"
#include "virtiofsd/pace.h"
#include "virtiofsd/permit.h"

/* So much data takes longer to move than pushing its answer does: the guest gets it at once. */
#define DISPATCH_PUSH_BYTES (256u * 1024)

/*
 * Half a batch: the guest works on the first half of the answers while we work on the second.
 * Published all together, the two sides take turns; in smaller pieces, notifications cost more.
 */
#define DISPATCH_PUSH_MAX (VU_WORKER_BATCH / 2)

/* The first words of struct fuse_init_in, without what came with 7.36. */
#define INIT_ARGS_MIN (offsetof(struct fuse_init_in, flags) + sizeof(uint32_t))

static const struct fs_operation dispatch_operations[] = {
    [FUSE_LOOKUP] = {.name = "LOOKUP",
                     .handler = fs_do_lookup,
                     .n_names = 1,
                     .reply_len = sizeof(struct fuse_entry_out),
                     .flags = FS_OP_PACED | FS_OP_DOTS},
    [FUSE_FORGET] = {.name = "FORGET",
                     .handler = fs_do_forget,
                     .args_len = sizeof(struct fuse_forget_in),
                     .flags = FS_OP_NO_REPLY | FS_OP_BEFORE_INIT},
    [FUSE_GETATTR] = {.name = "GETATTR",
                      .handler = fs_do_getattr,
                      .args_len = sizeof(struct fuse_getattr_in),
                      .reply_len = sizeof(struct fuse_attr_out)},
    [FUSE_SETATTR] = {.name = "SETATTR",
                      .handler = fs_do_setattr,
                      .args_len = sizeof(struct fuse_setattr_in),
                      .reply_len = sizeof(struct fuse_attr_out),
                      .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_AS_USER},
    [FUSE_READLINK] = {.name = "READLINK", .handler = fs_do_readlink, .flags = FS_OP_PACED},
    [FUSE_SYMLINK] = {.name = "SYMLINK",
                      .handler = fs_do_symlink,
                      .n_names = 1,
                      .reply_len = sizeof(struct fuse_entry_out),
                      .flags = FS_OP_PACED | FS_OP_TARGET | FS_OP_WRITES | FS_OP_CREATES |
                               FS_OP_AS_USER},
    [FUSE_MKNOD] = {.name = "MKNOD",
                    .handler = fs_do_mknod,
                    .args_len = sizeof(struct fuse_mknod_in),
                    .n_names = 1,
                    .reply_len = sizeof(struct fuse_entry_out),
                    .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_CREATES | FS_OP_AS_USER},
    [FUSE_MKDIR] = {.name = "MKDIR",
                    .handler = fs_do_mkdir,
                    .args_len = sizeof(struct fuse_mkdir_in),
                    .n_names = 1,
                    .reply_len = sizeof(struct fuse_entry_out),
                    .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_CREATES | FS_OP_AS_USER},
    [FUSE_UNLINK] = {.name = "UNLINK",
                     .handler = fs_do_unlink,
                     .n_names = 1,
                     .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_AS_USER},
    [FUSE_RMDIR] = {.name = "RMDIR",
                    .handler = fs_do_rmdir,
                    .n_names = 1,
                    .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_AS_USER},
    [FUSE_RENAME] = {.name = "RENAME",
                     .handler = fs_do_rename,
                     .args_len = sizeof(struct fuse_rename_in),
                     .n_names = 2,
                     .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_AS_USER},
    [FUSE_LINK] = {.name = "LINK",
                   .handler = fs_do_link,
                   .args_len = sizeof(struct fuse_link_in),
                   .n_names = 1,
                   .reply_len = sizeof(struct fuse_entry_out),
                   .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_AS_USER},
    [FUSE_OPEN] = {.name = "OPEN",
                   .handler = fs_do_open,
                   .args_len = sizeof(struct fuse_open_in),
                   .reply_len = sizeof(struct fuse_open_out),
                   .flags = FS_OP_PACED},
    [FUSE_READ] = {.name = "READ", .handler = fs_do_read, .args_len = sizeof(struct fuse_read_in)},
    [FUSE_WRITE] = {.name = "WRITE",
                    .handler = fs_do_write,
                    .args_len = sizeof(struct fuse_write_in),
                    .reply_len = sizeof(struct fuse_write_out),
                    .flags = FS_OP_WRITES},
    [FUSE_STATFS] = {.name = "STATFS",
                     .handler = fs_do_statfs,
                     .reply_len = sizeof(struct fuse_statfs_out),
                     .flags = FS_OP_PACED},
    [FUSE_RELEASE] = {.name = "RELEASE",
                      .handler = fs_do_release,
                      .args_len = sizeof(struct fuse_release_in)},
    [FUSE_FSYNC] = {.name = "FSYNC",
                    .handler = fs_do_fsync,
                    .args_len = sizeof(struct fuse_fsync_in),
                    .flags = FS_OP_SLOW},
    /* SETXATTR's arguments are longer with SETXATTR_EXT, which its handler sees to. */
    [FUSE_SETXATTR] = {.name = "SETXATTR",
                       .handler = fs_do_setxattr,
                       .args_len = FUSE_COMPAT_SETXATTR_IN_SIZE,
                       .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_AS_USER},
    [FUSE_GETXATTR] = {.name = "GETXATTR",
                       .handler = fs_do_getxattr,
                       .args_len = sizeof(struct fuse_getxattr_in),
                       .flags = FS_OP_PACED},
    [FUSE_LISTXATTR] = {.name = "LISTXATTR",
                        .handler = fs_do_listxattr,
                        .args_len = sizeof(struct fuse_getxattr_in),
                        .flags = FS_OP_PACED},
    [FUSE_REMOVEXATTR] = {.name = "REMOVEXATTR",
                          .handler = fs_do_removexattr,
                          .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_AS_USER},
    [FUSE_FLUSH] = {.name = "FLUSH",
                    .handler = fs_do_flush,
                    .args_len = sizeof(struct fuse_flush_in)},
    [FUSE_INIT] = {.name = "INIT",
                   .handler = fs_do_init,
                   .args_len = sizeof(struct fuse_init_in),
                   .args_min_len = INIT_ARGS_MIN,
                   .reply_len = sizeof(struct fuse_init_out),
                   .flags = FS_OP_BEFORE_INIT},
    [FUSE_OPENDIR] = {.name = "OPENDIR",
                      .handler = fs_do_opendir,
                      .args_len = sizeof(struct fuse_open_in),
                      .reply_len = sizeof(struct fuse_open_out),
                      .flags = FS_OP_PACED},
    [FUSE_READDIR] = {.name = "READDIR",
                      .handler = fs_do_readdir,
                      .args_len = sizeof(struct fuse_read_in),
                      .flags = FS_OP_PACED},
    [FUSE_RELEASEDIR] = {.name = "RELEASEDIR",
                         .handler = fs_do_releasedir,
                         .args_len = sizeof(struct fuse_release_in)},
    [FUSE_FSYNCDIR] = {.name = "FSYNCDIR",
                       .handler = fs_do_fsyncdir,
                       .args_len = sizeof(struct fuse_fsync_in),
                       .flags = FS_OP_SLOW},
    [FUSE_GETLK] = {.name = "GETLK",
                    .handler = fs_do_getlk,
                    .args_len = sizeof(struct fuse_lk_in),
                    .reply_len = sizeof(struct fuse_lk_out)},
    [FUSE_SETLK] = {.name = "SETLK", .handler = fs_do_setlk, .args_len = sizeof(struct fuse_lk_in)},
    [FUSE_SETLKW] = {.name = "SETLKW",
                     .handler = fs_do_setlk,
                     .args_len = sizeof(struct fuse_lk_in)},
    [FUSE_ACCESS] = {.name = "ACCESS",
                     .handler = fs_do_access,
                     .args_len = sizeof(struct fuse_access_in),
                     .flags = FS_OP_AS_USER},
    [FUSE_CREATE] = {.name = "CREATE",
                     .handler = fs_do_create,
                     .args_len = sizeof(struct fuse_create_in),
                     .n_names = 1,
                     .reply_len = sizeof(((union fs_reply *)0)->create),
                     .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_CREATES | FS_OP_AS_USER},
    [FUSE_DESTROY] = {.name = "DESTROY", .handler = fs_do_destroy, .flags = FS_OP_BEFORE_INIT},
    [FUSE_BATCH_FORGET] = {.name = "BATCH_FORGET",
                           .handler = fs_do_batch_forget,
                           .args_len = sizeof(struct fuse_batch_forget_in),
                           .flags = FS_OP_NO_REPLY | FS_OP_BEFORE_INIT},
    [FUSE_FALLOCATE] = {.name = "FALLOCATE",
                        .handler = fs_do_fallocate,
                        .args_len = sizeof(struct fuse_fallocate_in),
                        .flags = FS_OP_WRITES | FS_OP_SLOW},
    [FUSE_READDIRPLUS] = {.name = "READDIRPLUS",
                          .handler = fs_do_readdirplus,
                          .args_len = sizeof(struct fuse_read_in),
                          .flags = FS_OP_PACED},
    [FUSE_RENAME2] = {.name = "RENAME2",
                      .handler = fs_do_rename2,
                      .args_len = sizeof(struct fuse_rename2_in),
                      .n_names = 2,
                      .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_AS_USER},
    [FUSE_LSEEK] = {.name = "LSEEK",
                    .handler = fs_do_lseek,
                    .args_len = sizeof(struct fuse_lseek_in),
                    .reply_len = sizeof(struct fuse_lseek_out)},
    [FUSE_COPY_FILE_RANGE] = {.name = "COPY_FILE_RANGE",
                              .handler = fs_do_copy_file_range,
                              .args_len = sizeof(struct fuse_copy_file_range_in),
                              .reply_len = sizeof(struct fuse_write_out),
                              .flags = FS_OP_WRITES | FS_OP_SLOW},
    [FS_OPCODE_COPY_FILE_RANGE_64] = {.name = "COPY_FILE_RANGE_64",
                                      .handler = fs_do_copy_file_range_64,
                                      .args_len = sizeof(struct fuse_copy_file_range_in),
                                      .reply_len = sizeof(uint64_t),
                                      .flags = FS_OP_WRITES | FS_OP_SLOW},
    [FS_OPCODE_STATX] = {.name = "STATX",
                         .handler = fs_do_statx,
                         .args_len = sizeof(struct fs_wire_statx_in),
                         .reply_len = sizeof(struct fs_wire_statx_out),
                         .flags = FS_OP_PACED},
    [FUSE_IOCTL] = {.name = "IOCTL",
                    .handler = fs_do_ioctl,
                    .args_len = sizeof(struct fuse_ioctl_in),
                    .reply_len = sizeof(struct fuse_ioctl_out)},
    /* Its name says nothing. */
    [FUSE_TMPFILE] = {.name = "TMPFILE",
                      .handler = fs_do_tmpfile,
                      .args_len = sizeof(struct fuse_create_in),
                      .reply_len = sizeof(((union fs_reply *)0)->create),
                      .flags = FS_OP_PACED | FS_OP_WRITES | FS_OP_CREATES | FS_OP_AS_USER},
    [FUSE_SYNCFS] = {.name = "SYNCFS",
                     .handler = fs_do_syncfs,
                     .args_len = sizeof(struct fuse_syncfs_in),
                     .flags = FS_OP_SLOW},
};

const struct fs_operation *fs_operation_find(uint32_t opcode)
{
    if (opcode >= G_N_ELEMENTS(dispatch_operations) || !dispatch_operations[opcode].handler)
        return NULL;
    return &dispatch_operations[opcode];
}

/* The result of one decoded request, FS_LATER included. */
static int dispatch_run(struct fs_request *request)
{
    const struct fs_operation *operation = request->operation;

    if (!(operation->flags & FS_OP_BEFORE_INIT) && !fs_share_is_initialised(request->share))
        return -EIO;
    if (request->share->restricted) {
        int ret = fs_permit_request(request);

        if (ret < 0)
            return ret;
    }
    if (operation->flags & FS_OP_PACED)
        return fs_pace_run(request);
    request->clock_ns = 0;
    if (operation->flags & FS_OP_SLOW)
        return fs_request_hand_on(request, operation->handler);
    return operation->handler(request);
}

/* Looks at our copies only: the element may be gone by now. */
static void dispatch_log(const struct fs_request *request, const char *tag, int result)
{
    if (result == FS_NO_ANSWER)
        return; /* said already */
    vu_debug("%s: %s(%u) nodeid %llx: %s %d", tag,
             request->operation ? request->operation->name : "opcode", request->header.opcode,
             (unsigned long long)request->header.nodeid,
             result == FS_LATER ? "handed on"
             : result < 0       ? g_strerror(-result)
                                : "reply bytes",
             result == FS_LATER ? 0 : result);
}

/* Answers that wait for the rest of their batch. */
struct dispatch_done {
    struct vu_vring *vring;
    struct vu_counters *counters;
    struct vu_elem *elems[DISPATCH_PUSH_MAX];
    struct vu_counted counted[DISPATCH_PUSH_MAX];
    unsigned n;
    uint64_t moved;              /* bytes of data that took their time */
    uint64_t begin_ns, clock_ns; /* of the batch; as that of a request */
};

/* has_queue: the calling thread, still. */
static void dispatch_count(struct dispatch_done *done, bool has_queue)
{
    uint64_t now_ns = done->clock_ns ? done->clock_ns : vu_now_ns();

    for (unsigned i = 0; i < done->n; i++) {
        done->counted[i].ns = now_ns - done->begin_ns;
        vu_counters_end(done->counters, &done->counted[i], has_queue);
    }
}

static void dispatch_push(struct dispatch_done *done)
{
    if (done->n == 0)
        return;
    dispatch_count(done, true);
    vu_vring_push(done->vring, done->elems, done->n);
    done->n = 0;
    done->moved = 0;
}

static void dispatch_add(struct dispatch_done *done, const struct fs_request *request, int result)
{
    struct vu_elem *elem = request->elem;

    done->counted[done->n] = fs_counters_describe(request, result);
    done->elems[done->n++] = elem;
    done->moved += elem->out_len + elem->written;
    if (done->n == DISPATCH_PUSH_MAX || done->moved >= DISPATCH_PUSH_BYTES)
        dispatch_push(done);
}

/*
 * The request that the queue was taken away for: its thread was a helper, for this once. What was
 * done before is pushed by whoever has the queue now, and counted here. Once the request is over
 * and its element pushed, by whomever, the share may be gone.
 */
static void dispatch_finish_alone(struct fs_request *request, struct dispatch_done *done,
                                  int result)
{
    if (result != FS_LATER && vu_log_get_level() >= VU_LOG_DEBUG)
        dispatch_log(request, done->vring->log_tag, result);
    dispatch_count(done, false);
    vu_helpers_take_back(request->share->helpers);
    if (result != FS_LATER)
        fs_request_complete(request, result);
}

/* dispatch_run, while the watch may take the rest of the batch. False where it did. */
static bool dispatch_run_watched(struct fs_request *request, const struct vu_turn_rest *rest,
                                 int *ret_result)
{
    vu_turn_enter(rest);
    *ret_result = dispatch_run(request);
    return vu_turn_leave();
}

void fs_request_process(void *device, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    struct fs_share *share = device;
    struct dispatch_done done = {
        .vring = vring,
        .counters = fs_counters_of_queue(&share->counters, vring->index),
        .begin_ns = vu_now_ns(),
    };
    struct fs_request request;

    done.clock_ns = request.popped_ns = done.begin_ns;
    for (unsigned i = 0; i < n; i++) {
        const struct vu_turn_rest rest = {elems + i + 1, done.elems, n - i - 1, done.n};
        int result = fs_request_decode(share, elems[i], &request);
        bool ours = true;

        request.clock_ns = done.clock_ns;
        if (result == 0)
            ours = dispatch_run_watched(&request, &rest, &result);
        done.clock_ns = request.clock_ns;
        if (!ours) {
            dispatch_finish_alone(&request, &done, result);
            return;
        }
        if (vu_log_get_level() >= VU_LOG_DEBUG)
            dispatch_log(&request, vring->log_tag, result);
        if (result == FS_LATER)
            continue;
        fs_request_finish(&request, result);
        dispatch_add(&done, &request, result);
    }
    dispatch_push(&done);
}
