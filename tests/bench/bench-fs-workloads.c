/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workloads of `vu-bench fs`, one pair of fill and done each. An operation of several requests
 * (open and release; create, release, unlink, forget; a whole listing) counts once.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>

#include "bench-fs.h"

static uint64_t bench_fs_payload_u64(const struct bench_slot *slot, size_t offset)
{
    uint64_t v;

    memcpy(&v, slot->in + sizeof(struct fuse_out_header) + offset, sizeof(v));
    return v;
}

static uint64_t bench_fs_next(struct bench_slot *slot, uint64_t n)
{
    return (slot->count++ * 7 + slot->number) % n;
}

static void bench_fs_fill_lookup(void *context, struct bench_slot *slot)
{
    struct bench_fs *fs = context;
    char name[24];

    g_snprintf(name, sizeof(name), "file%u", (unsigned)bench_fs_next(slot, BENCH_FS_FILES));
    bench_fs_request(fs, slot, FUSE_LOOKUP, fs->root_nodeid, NULL, 0, name,
                     sizeof(struct fuse_entry_out));
}

static void bench_fs_fill_getattr(void *context, struct bench_slot *slot)
{
    struct bench_fs *fs = context;
    struct fuse_getattr_in args = {0};

    bench_fs_request(fs, slot, FUSE_GETATTR, fs->nodeids[bench_fs_next(slot, BENCH_FS_FILES)],
                     &args, sizeof(args), NULL, sizeof(struct fuse_attr_out));
}

static int bench_fs_done_single(void *context, struct bench_slot *slot, uint32_t len)
{
    int ret = bench_fs_error(slot, len);

    return ret ? ret : 1;
}

static void bench_fs_release(struct bench_fs *fs, struct bench_slot *slot, uint32_t opcode)
{
    struct fuse_release_in args = {.fh = slot->handle, .flags = O_RDWR};

    bench_fs_request(fs, slot, opcode, slot->id, &args, sizeof(args), NULL, 0);
}

static void bench_fs_fill_open(void *context, struct bench_slot *slot)
{
    struct bench_fs *fs = context;
    struct fuse_open_in args = {.flags = O_RDWR};

    if (slot->step == 1) {
        bench_fs_release(fs, slot, FUSE_RELEASE);
        return;
    }
    slot->id = fs->nodeids[bench_fs_next(slot, BENCH_FS_FILES)];
    bench_fs_request(fs, slot, FUSE_OPEN, slot->id, &args, sizeof(args), NULL,
                     sizeof(struct fuse_open_out));
}

static int bench_fs_done_open(void *context, struct bench_slot *slot, uint32_t len)
{
    int ret = bench_fs_error(slot, len);

    if (ret)
        return ret;
    slot->handle = bench_fs_payload_u64(slot, 0);
    slot->step ^= 1;
    return slot->step == 0;
}

/* create: 0 CREATE, 1 RELEASE, 2 UNLINK, 3 FORGET */
static void bench_fs_fill_create(void *context, struct bench_slot *slot)
{
    struct bench_fs *fs = context;
    struct fuse_create_in create = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644};
    struct fuse_forget_in forget = {.nlookup = 1};
    char name[40];

    g_snprintf(name, sizeof(name), "new%u", slot->number);
    switch (slot->step) {
    case 0:
        bench_fs_request(fs, slot, FUSE_CREATE, fs->root_nodeid, &create, sizeof(create), name,
                         sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out));
        break;
    case 1:
        bench_fs_release(fs, slot, FUSE_RELEASE);
        break;
    case 2:
        bench_fs_request(fs, slot, FUSE_UNLINK, fs->root_nodeid, NULL, 0, name, 0);
        break;
    default:
        bench_fs_request(fs, slot, FUSE_FORGET, slot->id, &forget, sizeof(forget), NULL, 0);
        slot->in_len = 0;
    }
}

static int bench_fs_done_create(void *context, struct bench_slot *slot, uint32_t len)
{
    int ret = slot->step == 3 ? 0 : bench_fs_error(slot, len);

    if (ret)
        return ret;
    if (slot->step == 0) {
        slot->id = bench_fs_payload_u64(slot, offsetof(struct fuse_entry_out, nodeid));
        slot->handle = bench_fs_payload_u64(slot, sizeof(struct fuse_entry_out));
    }
    slot->step = (slot->step + 1) % 4;
    return slot->step == 0;
}

/* readdirplus: 0 OPENDIR, 1 READDIRPLUS until the end, 2 RELEASEDIR; handle and next offset are
 * kept in the slot. */
static void bench_fs_fill_readdirplus(void *context, struct bench_slot *slot)
{
    struct bench_fs *fs = context;
    struct fuse_open_in open = {.flags = O_RDONLY | O_DIRECTORY};
    struct fuse_read_in read = {.fh = slot->handle, .offset = slot->count, .size = 32768};

    slot->id = fs->root_nodeid;
    switch (slot->step) {
    case 0:
        slot->count = 0;
        bench_fs_request(fs, slot, FUSE_OPENDIR, slot->id, &open, sizeof(open), NULL,
                         sizeof(struct fuse_open_out));
        break;
    case 1:
        bench_fs_request(fs, slot, FUSE_READDIRPLUS, slot->id, &read, sizeof(read), NULL,
                         read.size);
        break;
    default:
        bench_fs_release(fs, slot, FUSE_RELEASEDIR);
    }
}

/* The offset behind the last entry of a listing; 0 when it is empty. */
static uint64_t bench_fs_last_offset(const struct bench_slot *slot, uint32_t len)
{
    const uint8_t *payload = bench_fs_payload(slot);
    uint32_t at = 0;
    uint64_t offset = 0;

    len -= (uint32_t)sizeof(struct fuse_out_header);
    while (len - at >= FUSE_NAME_OFFSET_DIRENTPLUS) {
        struct fuse_direntplus entry;

        memcpy(&entry, payload + at, FUSE_NAME_OFFSET_DIRENTPLUS);
        if (entry.dirent.namelen > len - at - FUSE_NAME_OFFSET_DIRENTPLUS)
            break;
        offset = entry.dirent.off;
        at += (uint32_t)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + entry.dirent.namelen);
        if (at > len)
            break;
    }
    return offset;
}

static int bench_fs_done_readdirplus(void *context, struct bench_slot *slot, uint32_t len)
{
    int ret = bench_fs_error(slot, len);

    if (ret)
        return ret;
    if (slot->step == 0) {
        slot->handle = bench_fs_payload_u64(slot, 0);
        slot->step = 1;
        return 0;
    }
    if (slot->step == 1) {
        slot->count = bench_fs_last_offset(slot, len);
        if (len == sizeof(struct fuse_out_header))
            slot->step = 2;
        return 0;
    }
    slot->step = 0;
    return 1;
}

/* Sequential runs share one position, whatever their depth: together they read the file from end to
 * end. */
static uint64_t bench_fs_data_offset(struct bench_fs *fs, struct bench_slot *slot)
{
    uint64_t n = BENCH_FS_DATA / fs->block;

    if (fs->sequential)
        return __atomic_fetch_add(&fs->position, 1, __ATOMIC_RELAXED) % n * fs->block;
    uint64_t i = slot->count++ * UINT64_C(2654435761) + slot->number * UINT64_C(40503);

    return i % n * fs->block;
}

static void bench_fs_fill_read(void *context, struct bench_slot *slot)
{
    struct bench_fs *fs = context;
    struct fuse_read_in args = {
        .fh = fs->data_handle, .offset = bench_fs_data_offset(fs, slot), .size = fs->block};

    bench_fs_request(fs, slot, FUSE_READ, fs->data_nodeid, &args, sizeof(args), NULL, fs->block);
}

static int bench_fs_done_read(void *context, struct bench_slot *slot, uint32_t len)
{
    struct bench_fs *fs = context;
    int ret = bench_fs_error(slot, len);

    if (ret)
        return ret;
    return len == sizeof(struct fuse_out_header) + fs->block ? 1 : -EIO;
}

static void bench_fs_fill_write(void *context, struct bench_slot *slot)
{
    struct bench_fs *fs = context;
    struct fuse_write_in args = {
        .fh = fs->data_handle, .offset = bench_fs_data_offset(fs, slot), .size = fs->block};

    bench_fs_request(fs, slot, FUSE_WRITE, fs->data_nodeid, &args, sizeof(args), NULL,
                     sizeof(struct fuse_write_out));
    slot->out_len += fs->block;
    memcpy(slot->out, &slot->out_len, sizeof(uint32_t));
}

static int bench_fs_done_write(void *context, struct bench_slot *slot, uint32_t len)
{
    struct bench_fs *fs = context;
    struct fuse_write_out reply;
    int ret = bench_fs_error(slot, len);

    if (ret)
        return ret;
    memcpy(&reply, bench_fs_payload(slot), sizeof(reply));
    return reply.size == fs->block ? 1 : -EIO;
}

const struct bench_named_workload bench_fs_workloads[] = {
    {"lookup", "LOOKUP of a known name", false, {bench_fs_fill_lookup, bench_fs_done_single}, 0},
    {"getattr", "GETATTR", false, {bench_fs_fill_getattr, bench_fs_done_single}, 0},
    {"open", "OPEN and RELEASE", false, {bench_fs_fill_open, bench_fs_done_open}, 0},
    {"create",
     "CREATE, RELEASE, UNLINK and FORGET",
     false,
     {bench_fs_fill_create, bench_fs_done_create},
     0},
    {"readdirplus",
     "a listing of 101 known names",
     false,
     {bench_fs_fill_readdirplus, bench_fs_done_readdirplus},
     0},
    {"read", "READ", true, {bench_fs_fill_read, bench_fs_done_read}, 0},
    {"write", "WRITE", true, {bench_fs_fill_write, bench_fs_done_write}, 0},
    {"seqread", "READ, front to end", true, {bench_fs_fill_read, bench_fs_done_read}, 0},
    {"seqwrite", "WRITE, front to end", true, {bench_fs_fill_write, bench_fs_done_write}, 0},
};
const unsigned bench_fs_n_workloads = G_N_ELEMENTS(bench_fs_workloads);
