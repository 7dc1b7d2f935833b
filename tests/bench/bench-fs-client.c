/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The FUSE client of `vu-bench fs`: requests, INIT, and the files that the workloads need.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench-fs.h"

#define BENCH_FS_DIR "vu-bench.dir"

void bench_fs_request(struct bench_fs *fs, struct bench_slot *slot, uint32_t opcode,
                      uint64_t nodeid, const void *args, uint32_t args_len, const char *name,
                      uint32_t reply_len)
{
    uint32_t name_len = name ? (uint32_t)strlen(name) + 1 : 0;
    struct fuse_in_header header = {
        .len = (uint32_t)sizeof(header) + args_len + name_len,
        .opcode = opcode,
        .unique = __atomic_add_fetch(&fs->unique, 2, __ATOMIC_RELAXED),
        .nodeid = nodeid,
        .uid = fs->uid,
        .gid = fs->gid,
        .pid = 1,
    };

    memcpy(slot->out, &header, sizeof(header));
    if (args_len)
        memcpy(slot->out + sizeof(header), args, args_len);
    if (name)
        memcpy(slot->out + sizeof(header) + args_len, name, name_len);
    slot->out_len = header.len;
    slot->out_head = BENCH_FS_OUT_HEAD;
    slot->in_head = sizeof(struct fuse_out_header);
    slot->in_len = (uint32_t)sizeof(struct fuse_out_header) + reply_len;
}

int bench_fs_error(const struct bench_slot *slot, uint32_t len)
{
    struct fuse_out_header header;

    if (len < sizeof(header))
        return -EPROTO;
    memcpy(&header, slot->in, sizeof(header));
    if (header.len != len || header.error > 0)
        return -EPROTO;
    return header.error;
}

/* Sends what is in fs->slot. 0 or -errno. */
static int bench_fs_call(struct bench_fs *fs)
{
    int len = bench_engine_call(fs->queue, &fs->slot, fs->segment);

    return len < 0 ? len : bench_fs_error(&fs->slot, (uint32_t)len);
}

static int bench_fs_init(struct bench_fs *fs)
{
    struct fuse_init_in args = {
        .major = FUSE_KERNEL_VERSION,
        .minor = 36,
        .max_readahead = 1 << 20,
        .flags = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC | FUSE_DO_READDIRPLUS |
                 FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS | FUSE_ASYNC_DIO | FUSE_MAX_PAGES,
    };
    struct fuse_init_out reply;

    bench_fs_request(fs, &fs->slot, FUSE_INIT, 0, &args, sizeof(args), NULL, sizeof(reply));
    int ret = bench_fs_call(fs);

    if (ret)
        return ret;
    memcpy(&reply, bench_fs_payload(&fs->slot), sizeof(reply));
    fs->max_write = reply.max_write;
    return 0;
}

/* CREATE and RELEASE. */
static int bench_fs_make_file(struct bench_fs *fs, const char *name, uint64_t *ret_nodeid)
{
    struct fuse_create_in create = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644};
    struct fuse_entry_out entry;
    struct fuse_open_out open;

    bench_fs_request(fs, &fs->slot, FUSE_CREATE, fs->root_nodeid, &create, sizeof(create), name,
                     sizeof(entry) + sizeof(open));
    int ret = bench_fs_call(fs);

    if (ret)
        return ret;
    const uint8_t *payload = bench_fs_payload(&fs->slot);

    memcpy(&entry, payload, sizeof(entry));
    memcpy(&open, payload + sizeof(entry), sizeof(open));
    *ret_nodeid = entry.nodeid;
    struct fuse_release_in release = {.fh = open.fh, .flags = O_RDWR};

    bench_fs_request(fs, &fs->slot, FUSE_RELEASE, entry.nodeid, &release, sizeof(release), NULL, 0);
    return bench_fs_call(fs);
}

static int bench_fs_open_data(struct bench_fs *fs)
{
    int ret = bench_fs_make_file(fs, "data", &fs->data_nodeid);
    struct fuse_open_in open = {.flags = O_RDWR};
    struct fuse_open_out opened;

    if (ret)
        return ret;
    bench_fs_request(fs, &fs->slot, FUSE_OPEN, fs->data_nodeid, &open, sizeof(open), NULL,
                     sizeof(opened));
    ret = bench_fs_call(fs);
    if (ret)
        return ret;
    memcpy(&opened, bench_fs_payload(&fs->slot), sizeof(opened));
    fs->data_handle = opened.fh;
    const uint32_t piece = 64 * 1024;

    for (uint64_t at = 0; at < BENCH_FS_DATA; at += piece) {
        struct fuse_write_in write = {.fh = opened.fh, .offset = at, .size = piece};

        bench_fs_request(fs, &fs->slot, FUSE_WRITE, fs->data_nodeid, &write, sizeof(write), NULL,
                         sizeof(struct fuse_write_out));
        memset(fs->slot.out + fs->slot.out_len, (int)(at / piece), piece);
        fs->slot.out_len += piece;
        memcpy(fs->slot.out, &fs->slot.out_len, sizeof(uint32_t));
        ret = bench_fs_call(fs);
        if (ret)
            return ret;
    }
    return 0;
}

int bench_fs_open(struct bench_fs *fs)
{
    struct fuse_mkdir_in mkdir = {.mode = 0777};
    struct fuse_entry_out entry;
    uint32_t uid = fs->uid, gid = fs->gid;
    int ret = bench_fs_init(fs);

    if (ret)
        return ret;
    fs->uid = fs->gid = 0;
    bench_fs_request(fs, &fs->slot, FUSE_MKDIR, FUSE_ROOT_ID, &mkdir, sizeof(mkdir), BENCH_FS_DIR,
                     sizeof(entry));
    ret = bench_fs_call(fs);
    fs->uid = uid;
    fs->gid = gid;
    if (ret)
        return ret;
    memcpy(&entry, bench_fs_payload(&fs->slot), sizeof(entry));
    fs->root_nodeid = entry.nodeid;
    for (unsigned i = 0; i < BENCH_FS_FILES && ret == 0; i++) {
        char name[16];

        g_snprintf(name, sizeof(name), "file%u", i);
        ret = bench_fs_make_file(fs, name, &fs->nodeids[i]);
    }
    return ret ? ret : bench_fs_open_data(fs);
}

void bench_fs_close(struct bench_fs *fs)
{
    struct fuse_release_in release = {.fh = fs->data_handle, .flags = O_RDWR};

    bench_fs_request(fs, &fs->slot, FUSE_RELEASE, fs->data_nodeid, &release, sizeof(release), NULL,
                     0);
    bench_fs_call(fs);
    bench_fs_request(fs, &fs->slot, FUSE_UNLINK, fs->root_nodeid, NULL, 0, "data", 0);
    bench_fs_call(fs);
    for (unsigned i = 0; i < BENCH_FS_FILES; i++) {
        char name[16];

        g_snprintf(name, sizeof(name), "file%u", i);
        bench_fs_request(fs, &fs->slot, FUSE_UNLINK, fs->root_nodeid, NULL, 0, name, 0);
        bench_fs_call(fs);
    }
    bench_fs_request(fs, &fs->slot, FUSE_RMDIR, FUSE_ROOT_ID, NULL, 0, BENCH_FS_DIR, 0);
    bench_fs_call(fs);
    bench_fs_request(fs, &fs->slot, FUSE_DESTROY, 0, NULL, 0, NULL, 0);
    bench_fs_call(fs);
}
