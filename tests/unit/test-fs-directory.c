/* SPDX-License-Identifier: Apache-2.0 */
/* directory.c: every name once, whatever the size of the guest's buffer; offsets that stay good; no
 * lookup counted that the guest was not told of. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-client.h"

#define ROOT FUSE_ROOT_ID

static struct fs_fixture fixture;

/* A name as READDIR or READDIRPLUS told it. */
struct seen {
    char *name;
    uint64_t offset; /* of what follows it */
    uint64_t nodeid; /* READDIRPLUS */
    uint32_t type;
};

static void seen_clear(gpointer data)
{
    g_free(((struct seen *)data)->name);
}

static GArray *seen_new(void)
{
    GArray *seen = g_array_new(FALSE, FALSE, sizeof(struct seen));

    g_array_set_clear_func(seen, seen_clear);
    return seen;
}

static uint64_t open_directory(uint64_t nodeid)
{
    struct fuse_open_out open;

    g_assert_cmpint(fs_client_open(&fixture, nodeid, O_DIRECTORY, &open), ==, 0);
    return open.fh;
}

static void release_directory(uint64_t fh)
{
    struct fuse_release_in in = {.fh = fh};
    struct fs_call call = {.opcode = FUSE_RELEASEDIR, .args = &in, .args_len = sizeof(in)};

    g_assert_cmpint(fs_client_call(&fixture, &call), ==, 0);
}

/* One request; appends what it brought. Bytes or -errno. */
static int read_once(uint64_t fh, uint64_t offset, uint32_t size, bool plus, GArray *seen)
{
    g_autofree char *buf = g_malloc(size);
    struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};
    struct fs_call call = {.opcode = plus ? FUSE_READDIRPLUS : FUSE_READDIR,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = buf,
                           .room = size,
                           .piece = 1000};
    int len = fs_client_call(&fixture, &call), at = 0;

    g_assert_cmpint(len, <=, (int)size);
    while (at < len) {
        struct fuse_entry_out entry = {.nodeid = 0};
        struct fuse_dirent dirent;

        g_assert_cmpint(at % 8, ==, 0);
        if (plus) {
            memcpy(&entry, buf + at, sizeof(entry));
            at += (int)sizeof(entry);
        }
        memcpy(&dirent, buf + at, FUSE_NAME_OFFSET);
        if (entry.nodeid != 0) {
            g_assert_cmpuint(entry.attr.ino, ==, dirent.ino);
            g_assert_cmpuint(entry.attr.mode >> 12, ==, dirent.type);
        }
        struct seen one = {.name = g_strndup(buf + at + FUSE_NAME_OFFSET, dirent.namelen),
                           .offset = dirent.off,
                           .nodeid = entry.nodeid,
                           .type = dirent.type};
        g_array_append_val(seen, one);
        at += (int)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + dirent.namelen);
    }
    if (len >= 0)
        g_assert_cmpint(at, ==, len);
    return len;
}

static GArray *read_all(uint64_t fh, uint32_t size, bool plus)
{
    GArray *seen = seen_new();
    uint64_t offset = 0;
    int len;

    while ((len = read_once(fh, offset, size, plus, seen)) > 0)
        offset = g_array_index(seen, struct seen, seen->len - 1).offset;
    g_assert_cmpint(len, ==, 0);
    return seen;
}

static void make_files(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *name =
            g_strdup_printf("%0*u", (int)(i % 250) + 5, i); /* all lengths up to 254 */
        g_autofree char *path = fs_client_path(&fixture, name);
        int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

        g_assert_cmpint(fd, >=, 0);
        close(fd);
    }
}

static void check_complete(const GArray *seen, unsigned n)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

    for (unsigned i = 0; i < seen->len; i++)
        g_assert_true(g_hash_table_add(names, g_array_index(seen, struct seen, i).name));
    g_assert_cmpuint(g_hash_table_size(names), ==, n + 2);
    g_assert_true(g_hash_table_contains(names, "."));
    g_assert_true(g_hash_table_contains(names, ".."));
}

static void test_sizes(void)
{
    static const uint32_t sizes[] = {280, 300, 512, 4096, 32768, 131072};
    const unsigned n = 1500;
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    make_files(n);
    fh = open_directory(ROOT);
    for (size_t i = 0; i < G_N_ELEMENTS(sizes); i++) {
        g_autoptr(GArray) plain = read_all(fh, sizes[i], false);
        g_autoptr(GArray) plus = read_all(fh, sizes[i] + 128, true);

        check_complete(plain, n);
        check_complete(plus, n);
    }
    release_directory(fh);
    fs_client_tear_down(&fixture);
}

static void test_small_and_bad(void)
{
    g_autoptr(GArray) seen = seen_new();
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    make_files(10);
    fh = open_directory(ROOT);
    g_assert_cmpint(read_once(fh, 0, 16, false, seen), ==, -EINVAL);
    g_assert_cmpint(read_once(fh, 0, 32, false, seen), ==, 32);
    g_assert_cmpint(read_once(fh, 0, 159, true, seen), ==, -EINVAL);
    g_assert_cmpuint(seen->len, ==, 1);
    /* Cookies that nobody gave out: an error or nothing or something, and no harm. */
    for (unsigned bit = 0; bit < 64; bit++)
        read_once(fh, 1ull << bit, 4096, false, seen);
    read_once(fh, UINT64_MAX, 4096, true, seen);
    g_assert_cmpint(read_once(fh, 0, 4096, false, seen), >, 0);
    release_directory(fh);
    g_assert_cmpint(read_once(fh, 0, 4096, false, seen), ==, -EBADF);
    fs_client_tear_down(&fixture);
}

/* telldir and seekdir: each offset leads to the same names, in any order. */
static void test_offsets(void)
{
    const unsigned n = 5000;
    g_autoptr(GArray) all = NULL;
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    make_files(n);
    fh = open_directory(ROOT);
    all = read_all(fh, 4096, false);
    check_complete(all, n);
    for (unsigned i = 0; i < 500; i++) {
        unsigned from = (unsigned)g_test_rand_int_range(0, (int)all->len - 1);
        g_autoptr(GArray) some = seen_new();

        read_once(fh, g_array_index(all, struct seen, from).offset, 2048, i % 2, some);
        g_assert_cmpuint(some->len, >, 0);
        for (unsigned j = 0; j < some->len; j++)
            g_assert_cmpstr(g_array_index(some, struct seen, j).name, ==,
                            g_array_index(all, struct seen, from + 1 + j).name);
    }
    release_directory(fh);
    fs_client_tear_down(&fixture);
}

/* The beginning is there for who looked at the end first, too. */
static void test_end_first(void)
{
    g_autoptr(GArray) all = NULL, none = seen_new(), again = NULL;
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 1);
    make_files(50);
    fh = open_directory(ROOT);
    all = read_all(fh, 4096, false);
    release_directory(fh);
    fh = open_directory(ROOT);
    g_assert_cmpint(
        read_once(fh, g_array_index(all, struct seen, all->len - 1).offset, 4096, false, none), ==,
        0);
    again = read_all(fh, 4096, false);
    check_complete(again, 50);
    release_directory(fh);
    fs_client_tear_down(&fixture);
}

static void test_lookup_counts(void)
{
    const unsigned n = 300;
    g_autoptr(GArray) first = NULL, second = NULL;
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    make_files(n);
    fh = open_directory(ROOT);
    g_array_unref(read_all(fh, 4096, false));
    g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, 1);
    first = read_all(fh, 4096, true);
    second = read_all(fh, 700, true);
    g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, n + 1);
    for (unsigned i = 0; i < first->len; i++) {
        const struct seen *seen = &g_array_index(first, struct seen, i);

        if (seen->name[0] == '.')
            g_assert_cmpuint(seen->nodeid, ==, 0);
        else
            fs_client_forget(&fixture, seen->nodeid, 1);
    }
    g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, n + 1);
    for (unsigned i = 0; i < second->len; i++)
        fs_client_forget(&fixture, g_array_index(second, struct seen, i).nodeid, 1);
    g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, 1);
    release_directory(fh);
    fs_client_tear_down(&fixture);
}

/* Inodes get scarce: a directory that is only listed leaves some for those who ask by name. */
static void test_crowded(void)
{
    const unsigned n = 1500;
    g_autoptr(GArray) seen = NULL;
    struct fuse_entry_out entry;
    unsigned n_told = 0;
    uint64_t fh;

    fs_fixture_init(&fixture);
    fixture.options.rlimit_nofile = 800;
    fixture.options.inode_handles = FS_INODE_HANDLES_NEVER;
    fs_fixture_open(&fixture);
    fs_fixture_send_init(&fixture, &(struct fuse_init_out){.minor = 0});
    make_files(n);
    fh = open_directory(ROOT);
    seen = read_all(fh, 4096, true);
    check_complete(seen, n);
    for (unsigned i = 0; i < seen->len; i++)
        n_told += g_array_index(seen, struct seen, i).nodeid != 0;
    g_assert_cmpuint(n_told, >, 10);
    g_assert_cmpuint(n_told, <, n);
    g_assert_cmpuint(fs_inodes_count(fixture.share.inodes), ==, n_told + 1);
    for (unsigned i = 0; i < seen->len; i++)
        if (g_array_index(seen, struct seen, i).nodeid == 0 &&
            g_array_index(seen, struct seen, i).name[0] != '.') {
            g_assert_cmpint(
                fs_client_lookup(&fixture, ROOT, g_array_index(seen, struct seen, i).name, &entry),
                ==, 0);
            break;
        }
    release_directory(fh);
    fs_client_tear_down(&fixture);
}

/* Names that go while the directory is read. */
static void test_removed_meanwhile(void)
{
    const unsigned n = 400;
    g_autoptr(GArray) seen = seen_new();
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    uint64_t fh, offset = 0;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    make_files(n);
    fh = open_directory(ROOT);
    while (read_once(fh, offset, 4096, true, seen) > 0) {
        offset = g_array_index(seen, struct seen, seen->len - 1).offset;
        for (unsigned i = 0; i < seen->len; i++) {
            const char *name = g_array_index(seen, struct seen, i).name;
            g_autofree char *path = fs_client_path(&fixture, name);

            unlink(path);
        }
    }
    for (unsigned i = 0; i < seen->len; i++)
        g_assert_true(g_hash_table_add(names, g_array_index(seen, struct seen, i).name));
    g_assert_cmpuint(seen->len, ==, n + 2);
    release_directory(fh);

    fh = open_directory(ROOT);
    g_array_set_size(seen, 0);
    g_assert_cmpint(read_once(fh, 0, 4096, true, seen), >, 0);
    g_assert_cmpuint(seen->len, ==, 2);
    release_directory(fh);
    fs_client_tear_down(&fixture);
}

static void test_kinds(void)
{
    struct fuse_fsync_in in = {.fh = 0};
    struct fs_call sync = {.opcode = FUSE_FSYNCDIR, .args = &in, .args_len = sizeof(in)};
    struct fuse_open_out open;
    uint64_t nodeid, fh;
    char byte;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &nodeid, &fh), ==, 0);
    g_assert_cmpint(fs_client_open(&fixture, nodeid, O_DIRECTORY, &open), ==, -ENOTDIR);
    in.fh = fh;
    g_assert_cmpint(fs_client_call(&fixture, &sync), ==, -EBADF);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, fh), ==, 0);
    in.fh = fh = open_directory(ROOT);
    g_assert_cmpint(fs_client_call(&fixture, &sync), ==, 0);
    g_assert_cmpint(fs_client_read(&fixture, fh, 0, &byte, 1), ==, -EBADF);
    release_directory(fh);
    fs_client_tear_down(&fixture);
}

/* Two queues that read one open directory, and others that make and remove names in it. */
static void *directory_thread(void *opaque)
{
    uint64_t fh = *(const uint64_t *)opaque;

    for (unsigned i = 0; i < 40; i++) {
        g_autofree char *name = g_strdup_printf("t-%p-%u", (void *)&fh, i);
        uint64_t nodeid;

        g_assert_cmpint(fs_client_mkdir(&fixture, ROOT, name, &nodeid), ==, 0);
        g_array_unref(read_all(fh, 3000, true));
        struct fs_call call = {.opcode = FUSE_RMDIR, .nodeid = ROOT, .name = name};
        g_assert_cmpint(fs_client_call(&fixture, &call), ==, 0);
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[4];
    uint64_t fh;

    fs_client_set_up(&fixture, FS_CACHE_AUTO, 2);
    make_files(100);
    fh = open_directory(ROOT);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, directory_thread, &fh), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    release_directory(fh);
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fs-directory/sizes", test_sizes);
    g_test_add_func("/fs-directory/small-and-bad", test_small_and_bad);
    g_test_add_func("/fs-directory/offsets", test_offsets);
    g_test_add_func("/fs-directory/end-first", test_end_first);
    g_test_add_func("/fs-directory/lookup-counts", test_lookup_counts);
    g_test_add_func("/fs-directory/crowded", test_crowded);
    g_test_add_func("/fs-directory/removed-meanwhile", test_removed_meanwhile);
    g_test_add_func("/fs-directory/kinds", test_kinds);
    g_test_add_func("/fs-directory/threads", test_threads);
    return g_test_run();
}
