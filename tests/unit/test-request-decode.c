/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.h, dispatch.c: well-formed requests however they are cut, and hostile framing: every
 * wrong length, name and nodeid is answered, or given back unanswered, and reaches no handler.
 */
#include "virtiofsd/request.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-fixture.h"
#include "vhost-user/log.h"

static struct fs_fixture fixture;

/* A request being put together, and the answer. */
struct test_bytes {
    uint8_t out[8192];
    size_t out_len;
    uint8_t in[4096];
};

static void test_append(struct test_bytes *bytes, const void *data, size_t len)
{
    memcpy(bytes->out + bytes->out_len, data, len);
    bytes->out_len += len;
}

static struct test_bytes *test_begin(uint32_t opcode, uint64_t nodeid)
{
    struct fuse_in_header header = {.opcode = opcode, .unique = 0x1234567890, .nodeid = nodeid};
    struct test_bytes *bytes = g_new0(struct test_bytes, 1);

    test_append(bytes, &header, sizeof(header));
    return bytes;
}

static void test_set_len(struct test_bytes *bytes, uint32_t len)
{
    memcpy(bytes->out + offsetof(struct fuse_in_header, len), &len, sizeof(len));
}

/* Sends and frees; the error of the answer, or the bytes behind its header. */
static int test_end(struct test_bytes *bytes)
{
    struct fuse_out_header header;
    uint32_t written, len;

    memcpy(&len, bytes->out, sizeof(len));
    if (len == 0)
        test_set_len(bytes, (uint32_t)bytes->out_len);
    written = fs_fixture_send(&fixture, bytes->out, bytes->out_len, 0, bytes->in, 2048);
    memcpy(&header, bytes->in, sizeof(header));
    g_assert_cmpuint(written, >=, sizeof(header));
    g_assert_cmpuint(header.len, ==, written);
    g_assert_cmphex(header.unique, ==, 0x1234567890);
    g_free(bytes);
    return header.error < 0 ? header.error : (int)(written - sizeof(header));
}

static int test_lookup_bytes(const void *name, size_t len)
{
    struct test_bytes *bytes = test_begin(FUSE_LOOKUP, FUSE_ROOT_ID);

    test_append(bytes, name, len);
    return test_end(bytes);
}

/* The same MKNOD, RENAME and UNLINK, cut into two descriptors at every byte. */
static void test_cut_everywhere(void)
{
    const struct fuse_mknod_in mknod_in = {.mode = S_IFREG | 0640, .umask = 022};
    const struct fuse_rename_in rename_in = {.newdir = FUSE_ROOT_ID};
    g_autofree char *to = g_build_filename(fixture.dir, "to", NULL);
    size_t cut, len;

    for (cut = 0, len = 1; cut < len; cut++) {
        struct test_bytes *bytes = test_begin(FUSE_MKNOD, FUSE_ROOT_ID);
        struct stat st;

        test_append(bytes, &mknod_in, sizeof(mknod_in));
        test_append(bytes, "from", 5);
        test_set_len(bytes, (uint32_t)bytes->out_len);
        len = bytes->out_len;
        g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, len, cut, bytes->in, 1024), ==,
                         sizeof(struct fuse_out_header) + sizeof(struct fuse_entry_out));
        g_free(bytes);

        bytes = test_begin(FUSE_RENAME, FUSE_ROOT_ID);
        test_append(bytes, &rename_in, sizeof(rename_in));
        test_append(bytes, "from\0to", 8);
        test_set_len(bytes, (uint32_t)bytes->out_len);
        g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, bytes->out_len, cut, bytes->in, 16),
                         ==, 16);
        g_free(bytes);
        g_assert_cmpint(stat(to, &st), ==, 0);
        g_assert_cmpint(unlink(to), ==, 0);
    }
}

static void test_names(void)
{
    char longest[NAME_MAX + 2];

    g_assert_cmpint(test_lookup_bytes("file", 5), ==, sizeof(struct fuse_entry_out));
    g_assert_cmpint(test_lookup_bytes("file", 4), ==, -EINVAL); /* unterminated */
    g_assert_cmpint(test_lookup_bytes("", 0), ==, -EINVAL);
    g_assert_cmpint(test_lookup_bytes("", 1), ==, -EINVAL);
    /* Both are the root, and no other names lead anywhere (EXPORT_SUPPORT). */
    g_assert_cmpint(test_lookup_bytes(".", 2), ==, sizeof(struct fuse_entry_out));
    g_assert_cmpint(test_lookup_bytes("..", 3), ==, sizeof(struct fuse_entry_out));
    g_assert_cmpint(test_lookup_bytes("..", 2), ==, -EINVAL);
    g_assert_cmpint(test_lookup_bytes("../..", 6), ==, -EINVAL);
    g_assert_cmpint(test_lookup_bytes("/", 2), ==, -EINVAL);
    g_assert_cmpint(test_lookup_bytes("/etc", 5), ==, -EINVAL);
    g_assert_cmpint(test_lookup_bytes("../etc", 7), ==, -EINVAL);
    g_assert_cmpint(test_lookup_bytes("dir/", 5), ==, -EINVAL);
    g_assert_cmpint(test_lookup_bytes("fi\0le", 6), ==, -EINVAL); /* NUL inside */
    g_assert_cmpint(test_lookup_bytes("file\0", 6), ==, -EINVAL);

    memset(longest, 'x', sizeof(longest));
    longest[NAME_MAX] = '\0';
    g_assert_cmpint(test_lookup_bytes(longest, NAME_MAX), ==, -EINVAL);
    g_assert_cmpint(test_lookup_bytes(longest, NAME_MAX + 1), ==, sizeof(struct fuse_entry_out));
    longest[NAME_MAX] = 'x';
    longest[NAME_MAX + 1] = '\0';
    g_assert_cmpint(test_lookup_bytes(longest, NAME_MAX + 2), ==, -ENAMETOOLONG);
    g_assert_cmpint(test_lookup_bytes(longest, NAME_MAX + 1), ==, -ENAMETOOLONG);
}

static int test_rename_bytes(const void *names, size_t len)
{
    const struct fuse_rename_in rename_in = {.newdir = FUSE_ROOT_ID};
    struct test_bytes *bytes = test_begin(FUSE_RENAME, FUSE_ROOT_ID);

    test_append(bytes, &rename_in, sizeof(rename_in));
    test_append(bytes, names, len);
    return test_end(bytes);
}

static void test_two_names(void)
{
    g_assert_cmpint(test_rename_bytes("file", 5), ==, -EINVAL); /* only one */
    g_assert_cmpint(test_rename_bytes("file\0new", 8), ==, -EINVAL);
    g_assert_cmpint(test_rename_bytes("file\0..", 8), ==, -EINVAL);
    g_assert_cmpint(test_rename_bytes("file\0../x", 10), ==, -EINVAL);
    g_assert_cmpint(test_rename_bytes("..\0x", 5), ==, -EINVAL);
    g_assert_cmpint(test_rename_bytes("file\0", 6), ==, -EINVAL);
    g_assert_cmpint(test_rename_bytes("file\0new\0more", 14), ==, -EINVAL);
    g_assert_cmpint(test_lookup_bytes("file", 5), ==, sizeof(struct fuse_entry_out));
}

static int test_symlink_bytes(const void *target, size_t len)
{
    struct test_bytes *bytes = test_begin(FUSE_SYMLINK, FUSE_ROOT_ID);

    test_append(bytes, "link", 5);
    test_append(bytes, target, len);
    return test_end(bytes);
}

static void test_symlink_target(void)
{
    g_autofree char *link = g_build_filename(fixture.dir, "link", NULL);
    char target[PATH_MAX + 1];

    memset(target, 't', sizeof(target));
    target[PATH_MAX - 1] = '\0';
    target[PATH_MAX] = '\0';
    g_assert_cmpint(test_symlink_bytes("a\0b", 4), ==, -EINVAL);
    g_assert_cmpint(test_symlink_bytes("ab", 2), ==, -EINVAL);
    g_assert_cmpint(test_symlink_bytes("", 1), ==, -EINVAL);
    g_assert_cmpint(test_symlink_bytes("", 0), ==, -EINVAL);
    g_assert_cmpint(test_symlink_bytes(target, PATH_MAX + 1), ==, -EINVAL);
    target[PATH_MAX - 1] = 't';
    g_assert_cmpint(test_symlink_bytes(target, PATH_MAX + 1), ==, -ENAMETOOLONG);
    g_assert_cmpint(access(link, F_OK), ==, -1);
    /* A target may lead anywhere: it is the guest that follows it. */
    g_assert_cmpint(test_symlink_bytes("../../etc", 10), ==, sizeof(struct fuse_entry_out));
    g_assert_cmpint(unlink(link), ==, 0);
}

static void test_lengths(void)
{
    const struct fuse_getattr_in getattr = {0};
    const uint32_t wrong[] = {1, 39, 40, 41, 55, 57, 1000, 0x80000000, UINT32_MAX};
    struct test_bytes *bytes;

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        bytes = test_begin(FUSE_GETATTR, FUSE_ROOT_ID);
        test_append(bytes, &getattr, sizeof(getattr));
        test_set_len(bytes, wrong[i]);
        g_assert_cmpint(test_end(bytes), ==, -EINVAL);
    }
    /* Bytes beyond the counted ones do not belong to the request. */
    bytes = test_begin(FUSE_LOOKUP, FUSE_ROOT_ID);
    test_append(bytes, "file\0trailing", 14);
    test_set_len(bytes, 45);
    g_assert_cmpint(test_end(bytes), ==, sizeof(struct fuse_entry_out));
    /* Nor do extensions, which end the counted ones. */
    bytes = test_begin(FUSE_LOOKUP, FUSE_ROOT_ID);
    test_append(bytes, "file\0extension bytes.", 5 + 16);
    bytes->out[offsetof(struct fuse_in_header, total_extlen)] = 2;
    g_assert_cmpint(test_end(bytes), ==, sizeof(struct fuse_entry_out));
    bytes = test_begin(FUSE_LOOKUP, FUSE_ROOT_ID);
    test_append(bytes, "file", 5);
    memset(bytes->out + offsetof(struct fuse_in_header, total_extlen), 0xff, 2);
    g_assert_cmpint(test_end(bytes), ==, -EINVAL);
}

/* Every operation with every length of its request and of the room for the answer. */
static void test_every_length(void)
{
    for (uint32_t opcode = 0; opcode < 64; opcode++)
        for (size_t len = 0; len < 160; len++) {
            struct test_bytes *bytes = test_begin(opcode, opcode % 2 ? FUSE_ROOT_ID : 99);
            size_t in_len = len * 13 % 200;
            struct fuse_out_header header;
            uint32_t written;

            memset(bytes->out + sizeof(struct fuse_in_header), (int)(len & 3), 120);
            test_set_len(bytes, (uint32_t)len);
            if (opcode == FUSE_INIT || opcode == FUSE_DESTROY || opcode == FUSE_SYNCFS) {
                g_free(bytes);
                continue;
            }
            written = fs_fixture_send(&fixture, bytes->out, len, len / 3, bytes->in, in_len);
            if (written > 0) {
                memcpy(&header, bytes->in, sizeof(header));
                g_assert_cmpuint(header.len, ==, written);
            } else if (len >= sizeof(struct fuse_in_header) && in_len >= sizeof(header)) {
                g_assert_true(opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET);
            }
            g_free(bytes);
        }
}

static void test_unanswerable(void)
{
    struct test_bytes *bytes = test_begin(FUSE_LOOKUP, FUSE_ROOT_ID);
    unsigned n_inodes = fs_inodes_count(fixture.share.inodes);

    test_append(bytes, "other", 6);
    test_set_len(bytes, (uint32_t)bytes->out_len);
    g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, 0, 0, bytes->in, 100), ==, 0);
    g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, 39, 7, bytes->in, 100), ==, 0);
    g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, 46, 7, bytes->in, 0), ==, 0);
    g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, 46, 7, bytes->in, 15), ==, 0);
    /* Room for the header, not for the entry: nothing may have been counted. */
    g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, 46, 7, bytes->in, 16), ==, 16);
    g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, 46, 7, bytes->in, 143), ==, 16);
    g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, n_inodes);
    g_free(bytes);
}

static void test_opcodes(void)
{
    const uint32_t unknown[] = {0,         7,  19,   FUSE_INTERRUPT, FUSE_BMAP,
                                FUSE_POLL, 99, 4096, 0x80000000,     UINT32_MAX};

    for (size_t i = 0; i < G_N_ELEMENTS(unknown); i++)
        g_assert_cmpint(test_end(test_begin(unknown[i], FUSE_ROOT_ID)), ==, -ENOSYS);
}

static void test_stale(void)
{
    const uint64_t nodeids[] = {0, 2, UINT32_MAX, 1ull << 32 | 1, UINT64_MAX};
    const struct fuse_getattr_in getattr = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(nodeids); i++) {
        struct test_bytes *bytes = test_begin(FUSE_GETATTR, nodeids[i]);

        if (nodeids[i] == 2)
            fs_inodes_forget_all(fixture.share.inodes);
        test_append(bytes, &getattr, sizeof(getattr));
        g_assert_cmpint(test_end(bytes), ==, -ESTALE);
        bytes = test_begin(FUSE_LOOKUP, nodeids[i]);
        test_append(bytes, "file", 5);
        g_assert_cmpint(test_end(bytes), ==, -ESTALE);
    }
}

static void test_forgets(void)
{
    struct {
        struct fuse_batch_forget_in batch;
        struct fuse_forget_one ones[3];
    } batch = {.batch.count = UINT32_MAX};
    struct test_bytes *bytes;
    struct fuse_entry_out entry;

    g_assert_cmpint(fs_fixture_lookup(&fixture, FUSE_ROOT_ID, "file", &entry), ==, 0);
    batch.ones[0] = (struct fuse_forget_one){FUSE_ROOT_ID, UINT64_MAX};
    batch.ones[1] = (struct fuse_forget_one){UINT64_MAX, UINT64_MAX};
    batch.ones[2] = (struct fuse_forget_one){entry.nodeid, UINT64_MAX};
    bytes = test_begin(FUSE_BATCH_FORGET, 0);
    test_append(bytes, &batch, sizeof(batch));
    test_set_len(bytes, (uint32_t)bytes->out_len);
    /* With and without room for an answer, nothing is written. */
    g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, bytes->out_len, 0, bytes->in, 0), ==, 0);
    g_assert_cmpuint(fs_fixture_send(&fixture, bytes->out, bytes->out_len, 0, bytes->in, 64), ==,
                     0);
    g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, 1);
    g_free(bytes);
}

static void test_set_up(void)
{
    g_autofree char *path = NULL;
    struct fuse_init_out out;
    int fd;

    fs_fixture_init(&fixture);
    fs_fixture_open(&fixture);
    fs_fixture_send_init(&fixture, &out);
    path = g_build_filename(fixture.dir, "file", NULL);
    fd = open(path, O_CREAT | O_WRONLY, 0644);
    g_assert_cmpint(fd, >=, 0);
    close(fd);
}

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_func("/request-decode/cut-everywhere", test_cut_everywhere);
    g_test_add_func("/request-decode/names", test_names);
    g_test_add_func("/request-decode/two-names", test_two_names);
    g_test_add_func("/request-decode/symlink-target", test_symlink_target);
    g_test_add_func("/request-decode/lengths", test_lengths);
    g_test_add_func("/request-decode/every-length", test_every_length);
    g_test_add_func("/request-decode/unanswerable", test_unanswerable);
    g_test_add_func("/request-decode/opcodes", test_opcodes);
    g_test_add_func("/request-decode/stale", test_stale);
    g_test_add_func("/request-decode/forgets", test_forgets);
    test_set_up();
    status = g_test_run();
    fs_fixture_finish(&fixture);
    return status;
}
