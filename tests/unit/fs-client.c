/* SPDX-License-Identifier: Apache-2.0 */
/* See fs-client.h. */
#include "tests/unit/fs-client.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#define CLIENT_MAX_IOV 2048

/* Appends [base, base + len) in ranges of at most `piece` bytes. */
static void client_add(struct iovec *iov, unsigned *n, const void *base, size_t len, size_t piece)
{
    char *at = (char *)(uintptr_t)base;

    while (len > 0) {
        size_t chunk = piece && piece < len ? piece : len;

        g_assert_cmpuint(*n, <, CLIENT_MAX_IOV);
        iov[(*n)++] = (struct iovec){.iov_base = at, .iov_len = chunk};
        at += chunk;
        len -= chunk;
    }
}

/* Names, each with its NUL, in a row. */
static size_t client_names(const struct fs_call *call, char *ret_names)
{
    size_t len = 0;

    if (call->name)
        len = (size_t)(stpcpy(ret_names, call->name) - ret_names) + 1;
    if (call->name2)
        len += (size_t)(stpcpy(ret_names + len, call->name2) - (ret_names + len)) + 1;
    return len;
}

int fs_client_call(struct fs_fixture *fixture, const struct fs_call *call)
{
    static uint64_t next_unique = 1; /* atomic */
    g_autofree struct iovec *iov = g_new0(struct iovec, CLIENT_MAX_IOV);
    struct vu_elem elem = {.vring = &fixture->vring, .iov = iov, .is_again = fixture->is_again};
    char names[2 * PATH_MAX];
    size_t names_len = client_names(call, names);
    struct fuse_in_header in = {
        .len = (uint32_t)(sizeof(in) + call->args_len + names_len + call->data_len),
        .opcode = call->opcode,
        .unique = __atomic_fetch_add(&next_unique, 1, __ATOMIC_RELAXED),
        .nodeid = call->nodeid,
        .uid = call->uid,
        .gid = call->gid,
        .total_extlen = call->extension_len / 8,
    };
    struct fuse_out_header out = {.unique = 0};
    unsigned n = 0;

    client_add(iov, &n, &in, sizeof(in), call->piece);
    client_add(iov, &n, call->args, call->args_len, call->piece);
    client_add(iov, &n, names, names_len, call->piece);
    client_add(iov, &n, call->data, call->data_len, call->piece);
    elem.n_out = n;
    elem.out_len = in.len;
    if (call->opcode != FUSE_FORGET) {
        client_add(iov, &n, &out, sizeof(out), call->piece);
        client_add(iov, &n, call->reply, call->room, call->piece);
        elem.in_len = sizeof(out) + call->room;
    }
    elem.n_in = n - elem.n_out;
    fs_fixture_run(fixture, &elem);
    if (call->opcode == FUSE_FORGET) {
        g_assert_cmpuint(elem.written, ==, 0);
        return 0;
    }
    g_assert_cmpuint(elem.written, ==, out.len);
    g_assert_cmpuint(out.unique, ==, in.unique);
    g_assert_cmpuint(out.len, <=, elem.in_len);
    if (out.error != 0)
        g_assert_cmpuint(out.len, ==, sizeof(out));
    return out.error != 0 ? out.error : (int)(out.len - sizeof(out));
}

void fs_client_set_up(struct fs_fixture *fixture, enum fs_cache cache, int max_helpers)
{
    struct fuse_init_out out;

    umask(0);
    fs_fixture_init(fixture);
    g_assert_cmpint(chmod(fixture->dir, 0755), ==, 0);
    fixture->options.cache = (int)cache;
    fixture->options.max_helpers = max_helpers;
    fs_fixture_open(fixture);
    fs_fixture_send_init(fixture, &out);
}

void fs_client_tear_down(struct fs_fixture *fixture)
{
    g_assert_cmpuint(fs_handles_count(fixture->share.handles), ==, 0);
    fs_share_reset(&fixture->share);
    g_assert_cmpuint(fs_inodes_count(fixture->share.inodes), ==, 1);
    fs_fixture_finish(fixture);
}

int fs_client_lookup(struct fs_fixture *fixture, uint64_t parent, const char *name,
                     struct fuse_entry_out *ret_entry)
{
    struct fs_call call = {.opcode = FUSE_LOOKUP,
                           .nodeid = parent,
                           .name = name,
                           .reply = ret_entry,
                           .room = sizeof(*ret_entry)};
    int ret = fs_client_call(fixture, &call);

    /* A negative entry that may be cached. */
    if (ret > 0 && ret_entry->nodeid == 0)
        return -ENOENT;
    return ret < 0 ? ret : 0;
}

void fs_client_forget(struct fs_fixture *fixture, uint64_t nodeid, uint64_t n_lookups)
{
    struct fuse_forget_in in = {.nlookup = n_lookups};
    struct fs_call call = {
        .opcode = FUSE_FORGET, .nodeid = nodeid, .args = &in, .args_len = sizeof(in)};

    fs_client_call(fixture, &call);
}

int fs_client_create(struct fs_fixture *fixture, uint64_t parent, const char *name, int flags,
                     uint64_t *ret_nodeid, uint64_t *ret_fh)
{
    struct fuse_create_in in = {.flags = (uint32_t)(flags | O_CREAT), .mode = S_IFREG | 0644};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    struct fs_call call = {.opcode = FUSE_CREATE,
                           .nodeid = parent,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = name,
                           .reply = &out,
                           .room = sizeof(out)};
    int ret = fs_client_call(fixture, &call);

    if (ret < 0)
        return ret;
    g_assert_cmpint(ret, ==, sizeof(out));
    *ret_nodeid = out.entry.nodeid;
    *ret_fh = out.open.fh;
    return 0;
}

int fs_client_open(struct fs_fixture *fixture, uint64_t nodeid, int flags,
                   struct fuse_open_out *ret_open)
{
    struct fuse_open_in in = {.flags = (uint32_t)flags};
    struct fs_call call = {.opcode = flags & O_DIRECTORY ? FUSE_OPENDIR : FUSE_OPEN,
                           .nodeid = nodeid,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = ret_open,
                           .room = sizeof(*ret_open)};
    int ret = fs_client_call(fixture, &call);

    return ret < 0 ? ret : 0;
}

int fs_client_release(struct fs_fixture *fixture, uint64_t nodeid, uint64_t fh)
{
    struct fuse_release_in in = {.fh = fh};
    struct fs_call call = {
        .opcode = FUSE_RELEASE, .nodeid = nodeid, .args = &in, .args_len = sizeof(in)};

    return fs_client_call(fixture, &call);
}

int fs_client_read(struct fs_fixture *fixture, uint64_t fh, uint64_t offset, void *buf,
                   uint32_t len)
{
    struct fuse_read_in in = {.fh = fh, .offset = offset, .size = len};
    struct fs_call call = {
        .opcode = FUSE_READ, .args = &in, .args_len = sizeof(in), .reply = buf, .room = len};

    return fs_client_call(fixture, &call);
}

int fs_client_write(struct fs_fixture *fixture, uint64_t fh, uint64_t offset, const void *buf,
                    uint32_t len, int flags)
{
    struct fuse_write_in in = {.fh = fh, .offset = offset, .size = len, .flags = (uint32_t)flags};
    struct fuse_write_out out;
    struct fs_call call = {.opcode = FUSE_WRITE,
                           .args = &in,
                           .args_len = sizeof(in),
                           .data = buf,
                           .data_len = len,
                           .reply = &out,
                           .room = sizeof(out)};
    int ret = fs_client_call(fixture, &call);

    return ret < 0 ? ret : (int)out.size;
}

int fs_client_mkdir(struct fs_fixture *fixture, uint64_t parent, const char *name,
                    uint64_t *ret_nodeid)
{
    struct fuse_mkdir_in in = {.mode = 0755};
    struct fuse_entry_out out;
    struct fs_call call = {.opcode = FUSE_MKDIR,
                           .nodeid = parent,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = name,
                           .reply = &out,
                           .room = sizeof(out)};
    int ret = fs_client_call(fixture, &call);

    if (ret < 0)
        return ret;
    *ret_nodeid = out.nodeid;
    return 0;
}

int fs_client_rename(struct fs_fixture *fixture, const char *from, const char *to, unsigned flags)
{
    struct fuse_rename2_in in = {.newdir = FUSE_ROOT_ID, .flags = flags};
    struct fs_call call = {.opcode = FUSE_RENAME2,
                           .nodeid = FUSE_ROOT_ID,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = from,
                           .name2 = to};

    return fs_client_call(fixture, &call);
}

char *fs_client_path(const struct fs_fixture *fixture, const char *name)
{
    return g_build_filename(fixture->dir, name, NULL);
}

struct stat fs_client_host_stat(const struct fs_fixture *fixture, const char *name)
{
    g_autofree char *path = fs_client_path(fixture, name);
    struct stat st;

    g_assert_cmpint(lstat(path, &st), ==, 0);
    return st;
}

bool fs_client_host_has(const struct fs_fixture *fixture, const char *name)
{
    g_autofree char *path = fs_client_path(fixture, name);
    struct stat st;

    return lstat(path, &st) == 0;
}
