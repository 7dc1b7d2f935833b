/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that lie, numbers that were guessed, orders that make no sense, and a guest that takes
 * all it can get: each is answered with an errno, and the daemon serves the next guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "fs-guest.h"

#define HOSTILE_N_FILES 400 /* more than --rlimit-nofile lets the guest hold */

static int get_attributes(struct fs_guest *guest, uint64_t nodeid)
{
    struct fuse_getattr_in in = {.getattr_flags = 0};
    struct fuse_attr_out out;
    const struct fs_guest_call call = {.opcode = FUSE_GETATTR,
                                       .nodeid = nodeid,
                                       .args = &in,
                                       .args_len = sizeof(in),
                                       .reply = &out,
                                       .room = sizeof(out)};
    int ret = fs_guest_call(guest, &call);

    return ret < 0 ? ret : 0;
}

/* --- numbers --- */

static void test_nodeids(struct fs_guest *guest)
{
    struct fuse_entry_out file, entry;
    uint64_t fh;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_write_file(guest, "file", "inside\n");
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &file), ==, 0);
    for (unsigned i = 0; i < 4096; i++) {
        /* Every slot with every generation nearby, and bits all over the place. */
        uint64_t near = (uint64_t)(i % 64) << 32 | i / 64, far = UINT64_MAX / (i + 1);

        if (near != FUSE_ROOT_ID && near != file.nodeid)
            g_assert_cmpint(get_attributes(guest, near), ==, -ESTALE);
        if (far != FUSE_ROOT_ID && far != file.nodeid) {
            g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, far, O_RDONLY, &fh), ==, -ESTALE);
            g_assert_cmpint(fs_guest_lookup(guest, far, "file", &entry), ==, -ESTALE);
        }
    }
    g_assert_cmpint(fs_guest_lookup(guest, file.nodeid, "file", &entry), ==, -ENOTDIR);
    /* More forgets than lookups, of everything. */
    fs_guest_forget(guest, file.nodeid, UINT64_MAX);
    fs_guest_forget(guest, file.nodeid, 1);
    fs_guest_forget(guest, FUSE_ROOT_ID, UINT64_MAX);
    fs_guest_forget(guest, 0, 1);
    fs_guest_forget(guest, UINT64_MAX, UINT64_MAX);
    g_assert_cmpint(get_attributes(guest, file.nodeid), ==, -ESTALE);
    g_assert_cmpint(get_attributes(guest, FUSE_ROOT_ID), ==, 0);
}

static void test_handles(struct fs_guest *guest)
{
    struct fuse_entry_out file;
    uint64_t fh, dir_fh;
    char buf[512];

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_write_file(guest, "file", "inside\n");
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &file), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, FUSE_ROOT_ID, O_RDONLY, &dir_fh), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, FUSE_ROOT_ID, O_RDONLY, &fh), ==, -EISDIR);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, file.nodeid, O_RDONLY, &fh), ==, 0);
    for (unsigned i = 0; i < 4096; i++) {
        uint64_t guess = (uint64_t)(i % 64) << 32 | i / 64;

        if (guess != fh && guess != dir_fh && guess != 1)
            g_assert_cmpint(fs_guest_read(guest, FUSE_READ, UINT64_MAX - guess, buf, 8), ==,
                            -EBADF);
    }
    g_assert_cmpint(fs_guest_read(guest, FUSE_READ, dir_fh, buf, 8), ==, -EBADF);
    g_assert_cmpint(fs_guest_read(guest, FUSE_READDIR, fh, buf, sizeof(buf)), ==, -EBADF);
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASE, dir_fh), ==, -EBADF);
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASE, fh), ==, 0);
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASE, fh), ==, -EBADF);
    g_assert_cmpint(fs_guest_read(guest, FUSE_READ, fh, buf, 8), ==, -EBADF);
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASEDIR, dir_fh), ==, 0);
}

/* --- orders --- */

static void test_states(struct fs_guest *guest)
{
    struct fuse_init_in old = {.major = 7, .minor = 8}, later = {.major = 8, .minor = 0};
    struct fuse_init_out out;
    struct fs_guest_call call = {.opcode = FUSE_INIT,
                                 .args = &old,
                                 .args_len = sizeof(old),
                                 .reply = &out,
                                 .room = sizeof(out)};
    const struct fs_guest_call destroy = {.opcode = FUSE_DESTROY};
    struct fuse_entry_out file;
    uint64_t fh;
    char buf[8];

    fs_guest_write_file(guest, "file", "inside\n");
    g_assert_cmpint(get_attributes(guest, FUSE_ROOT_ID), ==, -EIO);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &file), ==, -EIO);
    fs_guest_forget(guest, FUSE_ROOT_ID, 1);
    g_assert_cmpint(fs_guest_call(guest, &call), ==, -EPROTO);
    g_assert_cmpint(get_attributes(guest, FUSE_ROOT_ID), ==, -EIO);
    call.args = &later;
    g_assert_cmpint(fs_guest_call(guest, &call), ==, sizeof(out));
    g_assert_cmpuint(out.major, ==, 7);
    g_assert_cmpint(get_attributes(guest, FUSE_ROOT_ID), ==, -EIO);

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &file), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPEN, file.nodeid, O_RDONLY, &fh), ==, 0);
    /* A second INIT is a guest that began anew. */
    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    g_assert_cmpint(fs_guest_read(guest, FUSE_READ, fh, buf, sizeof(buf)), ==, -EBADF);
    g_assert_cmpint(get_attributes(guest, file.nodeid), ==, -ESTALE);
    g_assert_cmpint(fs_guest_call(guest, &destroy), ==, 0);
    g_assert_cmpint(fs_guest_call(guest, &destroy), ==, 0);
    g_assert_cmpint(get_attributes(guest, FUSE_ROOT_ID), ==, -EIO);
}

static void test_opcodes(struct fs_guest *guest)
{
    static const uint32_t others[] = {0, 7, 19, 41, 100, 1000, 4096, 1u << 31, UINT32_MAX};
    char junk[256];

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    memset(junk, 0xa5, sizeof(junk));
    for (size_t i = 0; i < G_N_ELEMENTS(others); i++) {
        const struct fs_guest_call call = {
            .opcode = others[i], .nodeid = FUSE_ROOT_ID, .args = junk, .args_len = sizeof(junk)};

        g_assert_cmpint(fs_guest_call(guest, &call), ==, -ENOSYS);
    }
    /* Known ones with nothing, and with junk, behind the header. INIT, which may succeed, last. */
    for (uint32_t opcode = 64; opcode > 0; opcode--) {
        for (size_t len = 0; len <= sizeof(junk); len += sizeof(junk)) {
            char reply[4096];
            const struct fs_guest_call call = {.opcode = opcode,
                                               .nodeid = UINT64_MAX,
                                               .args = junk,
                                               .args_len = len,
                                               .reply = reply,
                                               .room = sizeof(reply)};

            if (opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_DESTROY &&
                opcode != FUSE_INIT)
                g_assert_cmpint(fs_guest_call(guest, &call), <, 0);
        }
    }
}

/* --- lengths --- */

/* The errno of a request of raw bytes; 1 where it is not answered at all. */
static int send_raw(struct fs_guest *guest, uint32_t header_len, uint32_t opcode, const void *body,
                    size_t body_len, uint32_t out_len, uint32_t room)
{
    struct fuse_in_header header = {
        .len = header_len, .opcode = opcode, .unique = 77, .nodeid = FUSE_ROOT_ID};
    struct fuse_out_header reply;

    memcpy(guest->out, &header, sizeof(header));
    memcpy(guest->out + sizeof(header), body, body_len);
    if (fs_guest_send(guest, out_len, room) == 0)
        return 1;
    memcpy(&reply, guest->in, sizeof(reply));
    g_assert_cmpuint(reply.unique, ==, 77);
    return reply.error;
}

static void test_lengths(struct fs_guest *guest)
{
    const uint32_t head = sizeof(struct fuse_in_header), back = sizeof(struct fuse_out_header);
    const uint32_t room = back + sizeof(struct fuse_entry_out);
    static const char name[] = "file";

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_write_file(guest, "file", "inside\n");
    g_assert_cmpint(send_raw(guest, head + 5, FUSE_LOOKUP, name, 5, head + 5, room), ==, 0);
    /* Unterminated; terminated behind the end; a NUL in the middle. */
    g_assert_cmpint(send_raw(guest, head + 4, FUSE_LOOKUP, name, 4, head + 4, room), ==, -EINVAL);
    g_assert_cmpint(send_raw(guest, head + 4, FUSE_LOOKUP, name, 5, head + 5, room), ==, -EINVAL);
    g_assert_cmpint(send_raw(guest, head + 5, FUSE_LOOKUP, "a\0b\0", 5, head + 5, room), ==,
                    -EINVAL);
    g_assert_cmpint(send_raw(guest, head, FUSE_LOOKUP, "", 0, head, room), ==, -EINVAL);
    /* The header claims more than there is, less than itself, nothing, all. */
    g_assert_cmpint(send_raw(guest, head + 6, FUSE_LOOKUP, name, 5, head + 5, room), ==, -EINVAL);
    g_assert_cmpint(send_raw(guest, head - 1, FUSE_LOOKUP, name, 5, head + 5, room), ==, -EINVAL);
    g_assert_cmpint(send_raw(guest, 0, FUSE_LOOKUP, name, 5, head + 5, room), ==, -EINVAL);
    g_assert_cmpint(send_raw(guest, UINT32_MAX, FUSE_LOOKUP, name, 5, head + 5, room), ==, -EINVAL);
    /* Less room than the answer takes; less than any answer takes; half a header. */
    g_assert_cmpint(send_raw(guest, head + 5, FUSE_LOOKUP, name, 5, head + 5, room - 1), ==,
                    -EINVAL);
    g_assert_cmpint(send_raw(guest, head + 5, FUSE_LOOKUP, name, 5, head + 5, back), ==, -EINVAL);
    g_assert_cmpint(send_raw(guest, head + 5, FUSE_LOOKUP, name, 5, head + 5, back - 1), ==, 1);
    g_assert_cmpint(send_raw(guest, head, FUSE_LOOKUP, name, 0, head / 2, room), ==, 1);
}

/* WRITE and READ whose sizes disagree with what comes along, BATCH_FORGET with a list too short. */
static void test_sizes(struct fs_guest *guest)
{
    const uint32_t head = sizeof(struct fuse_in_header), back = sizeof(struct fuse_out_header);
    struct fuse_write_in write_in = {.size = 4096};
    struct fuse_read_in read_in = {.size = UINT32_MAX};
    struct fuse_batch_forget_in batch = {.count = UINT32_MAX};
    struct fuse_entry_out entry;
    uint64_t fh;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    g_assert_cmpint(fs_guest_create(guest, FUSE_ROOT_ID, "file", O_RDWR, &entry, &fh), ==, 0);
    write_in.fh = read_in.fh = fh;
    g_assert_cmpint(send_raw(guest, head + sizeof(write_in), FUSE_WRITE, &write_in,
                             sizeof(write_in), head + sizeof(write_in),
                             back + sizeof(struct fuse_write_out)),
                    ==, -EINVAL);
    write_in.size = 4;
    write_in.offset = UINT64_MAX;
    g_assert_cmpint(send_raw(guest, head + sizeof(write_in) + 4, FUSE_WRITE, &write_in,
                             sizeof(write_in), head + sizeof(write_in) + 4,
                             back + sizeof(struct fuse_write_out)),
                    ==, -EINVAL);
    g_assert_cmpint(send_raw(guest, head + sizeof(read_in), FUSE_READ, &read_in, sizeof(read_in),
                             head + sizeof(read_in), back + 16),
                    ==, 0);
    read_in.offset = UINT64_MAX - 3;
    g_assert_cmpint(send_raw(guest, head + sizeof(read_in), FUSE_READ, &read_in, sizeof(read_in),
                             head + sizeof(read_in), back + 16),
                    ==, -EINVAL);
    send_raw(guest, head + sizeof(batch), FUSE_BATCH_FORGET, &batch, sizeof(batch),
             head + sizeof(batch), back);
    g_assert_cmpint(get_attributes(guest, entry.nodeid), ==, 0);
    g_assert_cmpint(fs_guest_release(guest, FUSE_RELEASE, fh), ==, 0);
}

/* Positions in a listing that no answer has named: names or none, or what lseek says of them. */
static void test_positions(struct fs_guest *guest)
{
    static const uint64_t offsets[] = {1,         3,          INT32_MAX,      1ull << 40,
                                       INT64_MAX, 1ull << 63, UINT64_MAX - 7, UINT64_MAX};
    static const uint32_t opcodes[] = {FUSE_READDIR, FUSE_READDIRPLUS};
    struct fuse_read_in in = {.size = 4096};
    char names[4096];
    const struct fs_guest_call call = {
        .args = &in, .args_len = sizeof(in), .reply = names, .room = sizeof(names)};

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_write_file(guest, "file", "inside\n");
    g_assert_cmpint(fs_guest_open(guest, FUSE_OPENDIR, FUSE_ROOT_ID, O_RDONLY, &in.fh), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(opcodes); i++) {
        struct fs_guest_call listing = call;
        int ret;

        listing.opcode = opcodes[i];
        listing.nodeid = FUSE_ROOT_ID;
        for (size_t k = 0; k < G_N_ELEMENTS(offsets); k++) {
            in.offset = offsets[k];
            ret = fs_guest_call(guest, &listing);
            g_assert_true(ret >= 0 || ret == -EINVAL);
        }
        in.offset = 0;
        g_assert_cmpint(fs_guest_call(guest, &listing), >, 0);
        /* No room for a single name. */
        in.size = 8;
        ret = fs_guest_call(guest, &listing);
        g_assert_cmpint(ret, ==, -EINVAL);
        in.size = 4096;
    }
}

/* --- greed --- */

/* Opens until the daemon says no; returns how many. They stay open. */
static unsigned open_all(struct fs_guest *guest, uint32_t opcode, uint64_t nodeid,
                         uint64_t *ret_fhs)
{
    unsigned n = 0;
    int ret;

    while ((ret = fs_guest_open(guest, opcode, nodeid, O_RDONLY, &ret_fhs[n])) == 0)
        g_assert_cmpuint(++n, <, HOSTILE_N_FILES);
    g_assert_cmpint(ret, ==, -EMFILE);
    return n;
}

static void greedy_opens(struct fs_guest *guest, uint32_t opcode, uint64_t nodeid)
{
    uint32_t release = opcode == FUSE_OPEN ? FUSE_RELEASE : FUSE_RELEASEDIR;
    uint64_t fhs[HOSTILE_N_FILES], fh;
    struct fuse_entry_out entry;
    unsigned n = open_all(guest, opcode, nodeid, fhs);

    g_assert_cmpuint(n, >, 10);
    g_assert_cmpint(fs_guest_create(guest, FUSE_ROOT_ID, "one-more", O_RDWR, &entry, &fh), ==,
                    -EMFILE);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "one-more", &entry), ==, -ENOENT);
    g_assert_cmpint(get_attributes(guest, FUSE_ROOT_ID), ==, 0);
    g_assert_cmpint(fs_guest_release(guest, release, fhs[0]), ==, 0);
    g_assert_cmpint(fs_guest_open(guest, opcode, nodeid, O_RDONLY, &fhs[0]), ==, 0);
    for (unsigned i = 0; i < n; i++)
        g_assert_cmpint(fs_guest_release(guest, release, fhs[i]), ==, 0);
}

static void test_greed(struct fs_guest *guest)
{
    struct fuse_mkdir_in mkdir_in = {.mode = 0777};
    struct fuse_entry_out file, entry;
    unsigned n = 0;
    char name[16];
    int ret = 0;

    g_assert_cmpint(fs_guest_init(guest), ==, 0);
    fs_guest_write_file(guest, "file", "inside\n");
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &file), ==, 0);
    greedy_opens(guest, FUSE_OPEN, file.nodeid);
    greedy_opens(guest, FUSE_OPENDIR, FUSE_ROOT_ID);
    while (ret == 0) {
        g_snprintf(name, sizeof(name), "%u", n);
        ret = fs_guest_make(guest, FUSE_MKDIR, FUSE_ROOT_ID, &mkdir_in, sizeof(mkdir_in), name,
                            NULL, &entry);
        if (ret == 0)
            g_assert_cmpuint(++n, <, HOSTILE_N_FILES);
    }
    g_assert_cmpint(ret, ==, -ENFILE);
    g_assert_cmpuint(n, >, 10);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, name, &entry), ==, -ENOENT);
    /* What is known stays usable; what is given back can be taken again. */
    g_assert_cmpint(get_attributes(guest, file.nodeid), ==, 0);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &file), ==, 0);
    fs_guest_forget(guest, file.nodeid, 2);
    g_assert_cmpint(fs_guest_lookup(guest, FUSE_ROOT_ID, "file", &file), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    fs_guest_add("hostile-guest/nodeids", test_nodeids);
    fs_guest_add("hostile-guest/handles", test_handles);
    fs_guest_add("hostile-guest/states", test_states);
    fs_guest_add("hostile-guest/opcodes", test_opcodes);
    fs_guest_add("hostile-guest/lengths", test_lengths);
    fs_guest_add("hostile-guest/sizes", test_sizes);
    fs_guest_add("hostile-guest/positions", test_positions);
    fs_guest_add_with("hostile-guest/greed", "--rlimit-nofile=256 --inode-file-handles=never",
                      test_greed);
    return g_test_run();
}
