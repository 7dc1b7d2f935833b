/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE as a payload speaks it over a queue of virtio-fs. The structures are those of
 * <linux/fuse.h>, which needs a library; as the protocol has them since 7.31.
 */
#pragma once

#include "virtio.h"

#define FUSE_ROOT 1 /* its node */

enum {
    FUSE_LOOKUP = 1,
    FUSE_OPEN = 14,
    FUSE_READ = 15,
    FUSE_WRITE = 16,
    FUSE_RELEASE = 18,
    FUSE_INIT = 26,
    FUSE_CREATE = 35,
    FUSE_DESTROY = 38,
};

/* Beside FUSE's own errors. */
#define FUSE_NOT_DONE  (-1000)
#define FUSE_NO_ANSWER (-1001)

struct fuse_in {
    uint32_t len, opcode;
    uint64_t unique, nodeid;
    uint32_t uid, gid, pid, padding;
};

struct fuse_out {
    uint32_t len;
    int32_t error;
    uint64_t unique;
};

struct fuse_init {
    uint32_t major, minor, max_readahead, flags, flags2, unused[11];
};

/* The answer to LOOKUP; CREATE has a struct fuse_open behind it. */
struct fuse_entry {
    uint64_t nodeid, generation, valid[3];
    uint64_t ino, size, rest[9];
};

struct fuse_open {
    uint64_t fh; /* of the answer; of the request: flags */
    uint64_t flags;
};

struct fuse_create {
    uint32_t flags, mode, umask, open_flags;
    char name[16];
};

/* READ and WRITE. */
struct fuse_io {
    uint64_t fh, offset;
    uint32_t size, io_flags;
    uint64_t lock_owner;
    uint32_t flags, padding;
};

struct fuse_release {
    uint64_t fh;
    uint32_t flags, release_flags;
    uint64_t lock_owner;
};

/* What one asks for. */
struct fuse_call {
    uint32_t opcode;
    uint64_t nodeid;
    void *body; /* behind the header, in memory that stays until the answer */
    uint32_t body_len;
    void *data; /* behind that: what WRITE writes */
    uint32_t data_len, answer_len;
};

struct fuse_request {
    struct fuse_in in;
    struct fuse_out out;
    uint8_t answer[4096];
};

/* Makes a request available, without a kick; the request is its tag. False: no room. */
bool fuse_add(struct virtio_queue *queue, struct fuse_request *request,
              const struct fuse_call *call);
/* The bytes in `answer` once it is done, or a negative error. */
int64_t fuse_result(const struct fuse_request *request);
/* A request by itself, to its end. */
int64_t fuse_do(struct virtio_queue *queue, struct fuse_request *request,
                const struct fuse_call *call);
