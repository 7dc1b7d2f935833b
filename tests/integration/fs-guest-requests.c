/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of fs-guest.h that nearly every test makes. */
#include "fs-guest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fs_guest_init_with(struct fs_guest *guest, uint64_t flags)
{
    struct fuse_init_in in = {
        .major = 7,
        .minor = 38,
        .flags = FUSE_DO_READDIRPLUS | FUSE_MAX_PAGES | FUSE_INIT_EXT | (uint32_t)flags,
        .flags2 = (uint32_t)(flags >> 32),
    };
    struct fuse_init_out out;
    const struct fs_guest_call call = {.opcode = FUSE_INIT,
                                       .args = &in,
                                       .args_len = sizeof(in),
                                       .reply = &out,
                                       .room = sizeof(out)};
    int ret = fs_guest_call(guest, &call);

    return ret < 0 ? ret : 0;
}

int fs_guest_init(struct fs_guest *guest)
{
    return fs_guest_init_with(guest, 0);
}

int fs_guest_make(struct fs_guest *guest, uint32_t opcode, uint64_t parent, const void *args,
                  size_t args_len, const char *name, const char *name2,
                  struct fuse_entry_out *ret_entry)
{
    char names[2 * PATH_MAX];
    size_t len = 0;
    struct fs_guest_call call = {.opcode = opcode,
                                 .nodeid = parent,
                                 .args = args,
                                 .args_len = args_len,
                                 .names = names,
                                 .reply = ret_entry,
                                 .room = ret_entry ? sizeof(*ret_entry) : 0};
    int ret;

    if (name)
        len = (size_t)(stpcpy(names, name) - names) + 1;
    if (name2)
        len += (size_t)(stpcpy(names + len, name2) - (names + len)) + 1;
    call.names_len = len;
    ret = fs_guest_call(guest, &call);
    if (ret < 0)
        return ret;
    g_assert_cmpint(ret, ==, (int)call.room);
    return 0;
}

int fs_guest_lookup(struct fs_guest *guest, uint64_t parent, const char *name,
                    struct fuse_entry_out *ret_entry)
{
    int ret = fs_guest_make(guest, FUSE_LOOKUP, parent, NULL, 0, name, NULL, ret_entry);

    /* That a name is missing may be told by an entry, too. */
    return ret == 0 && ret_entry->nodeid == 0 ? -ENOENT : ret;
}

int fs_guest_create(struct fs_guest *guest, uint64_t parent, const char *name, uint32_t flags,
                    struct fuse_entry_out *ret_entry, uint64_t *ret_fh)
{
    struct fuse_create_in in = {.flags = flags | O_CREAT, .mode = S_IFREG | 0644};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } out;
    const struct fs_guest_call call = {.opcode = FUSE_CREATE,
                                       .nodeid = parent,
                                       .args = &in,
                                       .args_len = sizeof(in),
                                       .names = name,
                                       .names_len = strlen(name) + 1,
                                       .reply = &out,
                                       .room = sizeof(out)};
    int ret = fs_guest_call(guest, &call);

    if (ret < 0)
        return ret;
    *ret_entry = out.entry;
    *ret_fh = out.open.fh;
    return 0;
}

int fs_guest_open(struct fs_guest *guest, uint32_t opcode, uint64_t nodeid, uint32_t flags,
                  uint64_t *ret_fh)
{
    struct fuse_open_in in = {.flags = flags};
    struct fuse_open_out out = {.fh = 0};
    const struct fs_guest_call call = {.opcode = opcode,
                                       .nodeid = nodeid,
                                       .args = &in,
                                       .args_len = sizeof(in),
                                       .reply = &out,
                                       .room = sizeof(out)};
    int ret = fs_guest_call(guest, &call);

    *ret_fh = out.fh;
    return ret < 0 ? ret : 0;
}

int fs_guest_release(struct fs_guest *guest, uint32_t opcode, uint64_t fh)
{
    struct fuse_release_in in = {.fh = fh};
    const struct fs_guest_call call = {.opcode = opcode, .args = &in, .args_len = sizeof(in)};

    return fs_guest_call(guest, &call);
}

int fs_guest_read(struct fs_guest *guest, uint32_t opcode, uint64_t fh, void *buf, uint32_t len)
{
    struct fuse_read_in in = {.fh = fh, .size = len};
    const struct fs_guest_call call = {
        .opcode = opcode, .args = &in, .args_len = sizeof(in), .reply = buf, .room = len};

    return fs_guest_call(guest, &call);
}

void fs_guest_forget(struct fs_guest *guest, uint64_t nodeid, uint64_t n_lookups)
{
    struct {
        struct fuse_in_header header;
        struct fuse_forget_in in;
    } forget = {{.len = sizeof(forget), .opcode = FUSE_FORGET, .nodeid = nodeid},
                {.nlookup = n_lookups}};

    memcpy(guest->out, &forget, sizeof(forget));
    g_assert_cmpuint(fs_guest_send(guest, sizeof(forget), 0), ==, 0);
}

char *fs_guest_path(const struct fs_guest *guest, const char *name)
{
    return g_build_filename(guest->share, name, NULL);
}

char *fs_guest_outside_path(const struct fs_guest *guest, const char *name)
{
    return g_build_filename(guest->outside, name, NULL);
}

void fs_guest_write_file(const struct fs_guest *guest, const char *name, const char *text)
{
    g_autofree char *path = fs_guest_path(guest, name);

    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    g_assert_cmpint(chmod(path, 0666), ==, 0);
    if (guest->mode->uid != 0)
        g_assert_cmpint(lchown(path, guest->mode->uid, guest->mode->uid), ==, 0);
}

void fs_guest_make_folder(const struct fs_guest *guest, const char *name)
{
    g_autofree char *path = fs_guest_path(guest, name);

    g_assert_cmpint(mkdir(path, 0777), ==, 0);
    if (guest->mode->uid != 0)
        g_assert_cmpint(lchown(path, guest->mode->uid, guest->mode->uid), ==, 0);
}
