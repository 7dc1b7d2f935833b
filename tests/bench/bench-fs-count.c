/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests whose system calls are counted: rounds of the same sequence, each request a row.
 */
#include "bench-fs-count.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bench-calls.h"

#define COUNT_WARM_UP  3 /* rounds that are not counted */
#define COUNT_ROUNDS   10
#define COUNT_ENTRIES  5 /* of the directory that is listed */
#define COUNT_BLOCK    4096u
#define COUNT_MAX_ROWS 32
#define COUNT_USER     1000 /* and the next one */

/* The requests of one kind. */
struct count_row {
    const char *name;
    unsigned n;
    uint64_t counts[BENCH_CALLS_MAX];
};

struct count {
    struct bench_fs *fs;
    struct bench_calls calls;
    bool warm;
    struct count_row rows[COUNT_MAX_ROWS];
    uint64_t dir_nodeid;
};

static struct count_row *count_find_row(struct count *count, const char *name)
{
    struct count_row *row = count->rows;

    while (row->name && strcmp(row->name, name) != 0)
        row++;
    row->name = name;
    return row;
}

/* Sends what is in the slot and counts it as `name`; NULL: it is not counted. 0 or -errno. */
static int count_send(struct count *count, const char *name)
{
    struct bench_fs *fs = count->fs;
    struct count_row *row = name && count->warm ? count_find_row(count, name) : NULL;
    uint64_t before[BENCH_CALLS_MAX];
    int ret = bench_calls_settle(&count->calls);

    if (ret)
        return ret;
    memcpy(before, count->calls.counts, sizeof(before));
    vu_driver_arm_call(fs->queue);
    ret = bench_engine_send(fs->queue, &fs->slot, fs->segment);
    if (ret == 0)
        ret = bench_calls_settle(&count->calls);
    if (ret == 0)
        ret = bench_engine_answer(fs->queue);
    if (ret >= 0 && fs->slot.in_len > 0)
        ret = bench_fs_error(&fs->slot, (uint32_t)ret);
    for (unsigned i = 0; row && i < BENCH_CALLS_MAX; i++)
        row->counts[i] += count->calls.counts[i] - before[i];
    if (row)
        row->n++;
    return ret < 0 ? ret : 0;
}

static uint64_t count_u64(const struct count *count, size_t offset)
{
    uint64_t v;

    memcpy(&v, (const uint8_t *)bench_fs_payload(&count->fs->slot) + offset, sizeof(v));
    return v;
}

static int count_forget(struct count *count, uint64_t nodeid)
{
    struct fuse_forget_in args = {.nlookup = 1};

    bench_fs_request(count->fs, &count->fs->slot, FUSE_FORGET, nodeid, &args, sizeof(args), NULL,
                     0);
    count->fs->slot.in_len = 0;
    return count_send(count, "FORGET");
}

static int count_release(struct count *count, uint32_t opcode, uint64_t nodeid, uint64_t fh)
{
    struct fuse_release_in args = {.fh = fh, .flags = O_RDWR};

    bench_fs_request(count->fs, &count->fs->slot, opcode, nodeid, &args, sizeof(args), NULL, 0);
    return count_send(count, opcode == FUSE_RELEASE ? "RELEASE" : "RELEASEDIR");
}

static int count_attributes(struct count *count)
{
    struct bench_fs *fs = count->fs;
    struct fuse_getattr_in getattr = {0};
    struct fuse_setattr_in setattr = {.valid = FATTR_MODE, .mode = S_IFREG | 0644};
    int ret;

    bench_fs_request(fs, &fs->slot, FUSE_LOOKUP, fs->root_nodeid, NULL, 0, "file0",
                     sizeof(struct fuse_entry_out));
    ret = count_send(count, "LOOKUP");
    bench_fs_request(fs, &fs->slot, FUSE_GETATTR, fs->nodeids[0], &getattr, sizeof(getattr), NULL,
                     sizeof(struct fuse_attr_out));
    if (ret == 0)
        ret = count_send(count, "GETATTR");
    bench_fs_request(fs, &fs->slot, FUSE_SETATTR, fs->nodeids[0], &setattr, sizeof(setattr), NULL,
                     sizeof(struct fuse_attr_out));
    if (ret == 0)
        ret = count_send(count, "SETATTR");
    bench_fs_request(fs, &fs->slot, FUSE_STATFS, fs->nodeids[0], NULL, 0, NULL,
                     sizeof(struct fuse_statfs_out));
    return ret ? ret : count_send(count, "STATFS");
}

static int count_flush(struct count *count, uint64_t fh)
{
    struct fuse_flush_in args = {.fh = fh};
    int ret;

    bench_fs_request(count->fs, &count->fs->slot, FUSE_FLUSH, count->fs->nodeids[0], &args,
                     sizeof(args), NULL, 0);
    ret = count_send(count, "FLUSH");
    return ret == -ENOSYS ? 0 : ret; /* "never ask again" */
}

static int count_data(struct count *count)
{
    struct bench_fs *fs = count->fs;
    struct fuse_open_in open = {.flags = O_RDWR};
    struct fuse_write_in write = {.size = COUNT_BLOCK};
    struct fuse_read_in read = {.size = COUNT_BLOCK};
    int ret;

    bench_fs_request(fs, &fs->slot, FUSE_OPEN, fs->nodeids[0], &open, sizeof(open), NULL,
                     sizeof(struct fuse_open_out));
    ret = count_send(count, "OPEN");
    if (ret)
        return ret;
    write.fh = read.fh = count_u64(count, 0);
    bench_fs_request(fs, &fs->slot, FUSE_WRITE, fs->nodeids[0], &write, sizeof(write), NULL,
                     sizeof(struct fuse_write_out));
    fs->slot.out_len += COUNT_BLOCK;
    memcpy(fs->slot.out, &fs->slot.out_len, sizeof(uint32_t));
    ret = count_send(count, "WRITE");
    bench_fs_request(fs, &fs->slot, FUSE_READ, fs->nodeids[0], &read, sizeof(read), NULL,
                     COUNT_BLOCK);
    if (ret == 0)
        ret = count_send(count, "READ");
    if (ret == 0)
        ret = count_flush(count, read.fh);
    return ret ? ret : count_release(count, FUSE_RELEASE, fs->nodeids[0], read.fh);
}

static int count_remove(struct count *count, uint32_t opcode, const char *name, uint64_t nodeid)
{
    struct bench_fs *fs = count->fs;
    int ret;

    bench_fs_request(fs, &fs->slot, opcode, fs->root_nodeid, NULL, 0, name, 0);
    ret = count_send(count, opcode == FUSE_UNLINK ? "UNLINK" : "RMDIR");
    return ret ? ret : count_forget(count, nodeid);
}

/* CREATE below parent, and RELEASE. */
static int count_create(struct count *count, const char *label, uint64_t parent, const char *name,
                        uint64_t *ret_nodeid)
{
    struct bench_fs *fs = count->fs;
    struct fuse_create_in create = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0644};
    int ret;

    bench_fs_request(fs, &fs->slot, FUSE_CREATE, parent, &create, sizeof(create), name,
                     sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out));
    ret = count_send(count, label);
    if (ret)
        return ret;
    *ret_nodeid = count_u64(count, offsetof(struct fuse_entry_out, nodeid));
    return count_release(count, FUSE_RELEASE, *ret_nodeid,
                         count_u64(count, sizeof(struct fuse_entry_out)));
}

static int count_mkdir(struct count *count, const char *label, const char *name,
                       uint64_t *ret_nodeid)
{
    struct bench_fs *fs = count->fs;
    struct fuse_mkdir_in mkdir = {.mode = 0777};
    int ret;

    bench_fs_request(fs, &fs->slot, FUSE_MKDIR, fs->root_nodeid, &mkdir, sizeof(mkdir), name,
                     sizeof(struct fuse_entry_out));
    ret = count_send(count, label);
    if (ret == 0)
        *ret_nodeid = count_u64(count, offsetof(struct fuse_entry_out, nodeid));
    return ret;
}

/* Two users in turn: the first request of a round is that of another one than before. */
static int count_names(struct count *count, unsigned round)
{
    struct bench_fs *fs = count->fs;
    uint64_t one, two, dir;
    int ret;

    fs->uid = fs->gid = COUNT_USER + round % 2;
    ret = count_create(count, "CREATE by another user", fs->root_nodeid, "one", &one);
    if (ret == 0)
        ret = count_create(count, "CREATE", fs->root_nodeid, "two", &two);
    if (ret == 0)
        ret = count_mkdir(count, "MKDIR", "dir", &dir);
    if (ret == 0)
        ret = count_remove(count, FUSE_UNLINK, "one", one);
    if (ret == 0)
        ret = count_remove(count, FUSE_UNLINK, "two", two);
    return ret ? ret : count_remove(count, FUSE_RMDIR, "dir", dir);
}

static int count_listing(struct count *count)
{
    struct bench_fs *fs = count->fs;
    struct fuse_open_in open = {.flags = O_RDONLY | O_DIRECTORY};
    struct fuse_read_in read = {.size = 4096};
    int ret;

    bench_fs_request(fs, &fs->slot, FUSE_OPENDIR, count->dir_nodeid, &open, sizeof(open), NULL,
                     sizeof(struct fuse_open_out));
    ret = count_send(count, "OPENDIR");
    if (ret)
        return ret;
    read.fh = count_u64(count, 0);
    bench_fs_request(fs, &fs->slot, FUSE_READDIRPLUS, count->dir_nodeid, &read, sizeof(read), NULL,
                     read.size);
    ret = count_send(count, "READDIRPLUS");
    return ret ? ret : count_release(count, FUSE_RELEASEDIR, count->dir_nodeid, read.fh);
}

/* The directory that is listed: its names are known to the guest. Or, at the end, without them. */
static int count_prepare(struct count *count, bool begin)
{
    struct bench_fs *fs = count->fs;
    int ret = begin ? count_mkdir(count, NULL, "listed", &count->dir_nodeid) : 0;

    for (unsigned i = 0; i < COUNT_ENTRIES && ret == 0; i++) {
        char name[] = {(char)('a' + i), 0};
        uint64_t nodeid;

        if (begin) {
            ret = count_create(count, NULL, count->dir_nodeid, name, &nodeid);
            continue;
        }
        bench_fs_request(fs, &fs->slot, FUSE_UNLINK, count->dir_nodeid, NULL, 0, name, 0);
        ret = count_send(count, NULL);
    }
    if (begin || ret)
        return ret;
    bench_fs_request(fs, &fs->slot, FUSE_RMDIR, fs->root_nodeid, NULL, 0, "listed", 0);
    return count_send(count, NULL);
}

static int count_rounds(struct count *count)
{
    int ret = count_prepare(count, true);

    for (unsigned i = 0; i < COUNT_WARM_UP + COUNT_ROUNDS && ret == 0; i++) {
        count->warm = i >= COUNT_WARM_UP;
        ret = count_attributes(count);
        if (ret == 0)
            ret = count_data(count);
        if (ret == 0)
            ret = count_names(count, i);
        if (ret == 0)
            ret = count_listing(count);
    }
    count->warm = false;
    return ret ? ret : count_prepare(count, false);
}

static void count_print(const struct count_row *row)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < BENCH_CALLS_MAX; i++)
        total += row->counts[i];
    printf("%s\t%.2f\t", row->name, (double)total / row->n);
    for (unsigned i = 0; i < BENCH_CALLS_MAX; i++) {
        g_autofree char *name = bench_calls_name(i);

        if (row->counts[i] == row->n)
            printf(" %s", name);
        else if (row->counts[i] > 0)
            printf(" %s*%.3g", name, (double)row->counts[i] / row->n);
    }
    printf("\n");
}

int bench_fs_count(struct bench_fs *fs, int daemon_pid)
{
    g_autofree struct count *count = g_new0(struct count, 1);
    int ret = bench_calls_attach(daemon_pid, &count->calls);

    count->fs = fs;
    if (ret == 0)
        ret = count_rounds(count);
    bench_calls_detach(&count->calls);
    for (struct count_row *row = count->rows; ret == 0 && row->name; row++)
        count_print(row);
    return ret;
}
