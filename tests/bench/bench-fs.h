/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vu-bench fs`: a FUSE client over a virtiofs queue, and the workloads it measures.
 */
#pragma once

#include "bench-engine.h"

#define BENCH_FS_FILES    100 /* known names, also the length of the directory that is listed */
#define BENCH_FS_OUT_HEAD 80  /* bytes of the first range, header and arguments */
#define BENCH_FS_DATA     (64u * 1024 * 1024) /* bytes of the file that is read and written */

/* One mounted share with the files that the workloads use, in a directory of the benchmark's own.
 */
struct bench_fs {
    struct vu_driver *queue; /* for preparations, from the main thread */
    struct bench_slot slot;  /* likewise */
    uint32_t segment;
    uint64_t unique; /* atomic */
    uint32_t max_write;
    uint32_t uid, gid;    /* the guest's user that creates */
    uint64_t root_nodeid; /* of the benchmark's directory */
    uint64_t nodeids[BENCH_FS_FILES];
    uint64_t data_nodeid, data_handle;
    uint32_t block; /* bytes of one read or write */
    bool sequential;
    uint64_t position; /* atomic: next block of a sequential run */
};

/* INIT, then makes the directory and its files. 0 or -errno. */
int bench_fs_open(struct bench_fs *fs);
/* Removes what open made, and DESTROY. */
void bench_fs_close(struct bench_fs *fs);

/*
 * Puts a request of `opcode` on nodeid into the slot: header, then args_len bytes of args, then the
 * name with its NUL where it is not NULL; makes room for reply_len bytes behind the reply's header.
 */
void bench_fs_request(struct bench_fs *fs, struct bench_slot *slot, uint32_t opcode,
                      uint64_t nodeid, const void *args, uint32_t args_len, const char *name,
                      uint32_t reply_len);
/* The errno of a reply as 0 or negative; -EPROTO where it is malformed. */
int bench_fs_error(const struct bench_slot *slot, uint32_t len);
/* Payload of a reply. */
static inline const void *bench_fs_payload(const struct bench_slot *slot)
{
    return slot->in + 16;
}

extern const struct bench_named_workload bench_fs_workloads[];
extern const unsigned bench_fs_n_workloads;
