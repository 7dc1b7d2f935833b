/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many more inodes than descriptors: all stay usable by their file handles, none becomes another,
 * and what the guest has open outlives its name.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fs-many.h"
#include "tests/unit/open-fds.h"

#define ROOT FUSE_ROOT_ID

static int setattr(uint64_t nodeid, struct fuse_setattr_in in)
{
    struct fuse_attr_out out;
    struct fs_call call = {.opcode = FUSE_SETATTR,
                           .nodeid = nodeid,
                           .args = &in,
                           .args_len = sizeof(in),
                           .reply = &out,
                           .room = sizeof(out)};
    int ret = fs_client_call(&fs_many_fixture, &call);

    return ret < 0 ? ret : 0;
}

static void test_walk(gconstpointer mode)
{
    struct fs_inodes_usage usage;
    struct fuse_attr attr = {0};

    if (!fs_many_set_up((enum fs_inode_handles)GPOINTER_TO_INT(mode)))
        return;
    fs_many_look_up();
    for (unsigned i = 0; i < 3 * FS_MANY_N_FILES; i++) {
        unsigned at = (unsigned)g_test_rand_int_range(0, FS_MANY_N_FILES);

        g_assert_cmpint(fs_many_getattr(fs_many_nodeids[at], &attr), ==, 0);
        g_assert_cmpuint(attr.ino, ==, fs_many_inos[at]);
    }
    for (unsigned i = 0; i < FS_MANY_N_FILES; i += 10) {
        g_autofree char *name = g_strdup_printf("f%u", i);
        struct fuse_open_out opened;
        char text[16] = "";

        /* By name it is the same inode, whether it has a descriptor or not. */
        g_assert_cmpuint(fs_many_lookup(name), ==, fs_many_nodeids[i]);
        g_assert_cmpint(fs_client_open(&fs_many_fixture, fs_many_nodeids[i], O_RDWR, &opened), ==,
                        0);
        g_assert_cmpint(fs_client_read(&fs_many_fixture, opened.fh, 0, text, 15), >, 0);
        g_assert_cmpuint(g_ascii_strtoull(text, NULL, 10), ==, i);
        fs_client_release(&fs_many_fixture, fs_many_nodeids[i], opened.fh);
    }
    g_assert_cmpuint(count_open_fds(), <, FS_MANY_N_FDS);
    fs_inodes_get_usage(fs_many_fixture.share.inodes, &usage);
    g_assert_cmpuint(usage.n_inodes, ==, FS_MANY_N_FILES + 1);
    g_assert_cmpuint(usage.n_fds, <, FS_MANY_N_FDS / 2);
    g_assert_cmpuint(usage.n_mounts, ==, 1);
    for (unsigned i = 0; i < FS_MANY_N_FILES; i++)
        fs_client_forget(&fs_many_fixture, fs_many_nodeids[i], 2); /* some were looked up twice */
    g_assert_cmpuint(fs_inodes_count(fs_many_fixture.share.inodes), ==, 1);
    fs_client_tear_down(&fs_many_fixture);
}

/* Removed on the host, and its number given to another: ESTALE, and the name is the new file. */
static void test_replaced(void)
{
    g_autofree char *path = NULL;
    struct fuse_entry_out entry;
    struct fuse_attr attr = {0};
    uint64_t old, old_ino;

    if (!fs_many_set_up(FS_INODE_HANDLES_AUTO))
        return;
    path = fs_client_path(&fs_many_fixture, "x");
    g_assert_true(g_file_set_contents(path, "old", -1, NULL));
    old = fs_many_lookup("x");
    g_assert_cmpint(fs_many_getattr(old, &attr), ==, 0);
    old_ino = attr.ino;
    fs_many_look_up();
    fs_many_assert_has_fd(old, false);
    g_assert_cmpint(unlink(path), ==, 0);
    g_assert_cmpint(fs_many_getattr(old, &attr), ==, -ESTALE);
    for (unsigned i = 0; i < 100; i++) {
        struct stat st;
        int fd = open(path, O_CREAT | O_RDWR, 0600);

        g_assert_cmpint(fstat(fd, &st), ==, 0);
        close(fd);
        if (st.st_ino == old_ino)
            break;
        unlink(path); /* not every file system is so quick */
        g_assert_cmpint(open(path, O_CREAT | O_EXCL | O_CLOEXEC, 0600), >=, 0);
        unlink(path);
    }
    if (access(path, F_OK) < 0)
        g_assert_true(g_file_set_contents(path, "new", -1, NULL));
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, ROOT, "x", &entry), ==, 0);
    g_test_message("the number was%s reused", entry.attr.ino == old_ino ? "" : " not");
    g_assert_cmpuint(entry.nodeid, !=, old);
    g_assert_cmpint(fs_many_getattr(entry.nodeid, &attr), ==, 0);
    g_assert_cmpint(fs_many_getattr(old, &attr), ==, -ESTALE);
    g_assert_cmpuint(fs_many_lookup("x"), ==, entry.nodeid);
    fs_client_forget(&fs_many_fixture, entry.nodeid, 2);
    fs_client_forget(&fs_many_fixture, old, 1);
    g_assert_cmpuint(fs_inodes_count(fs_many_fixture.share.inodes), ==, FS_MANY_N_FILES + 1);
    fs_client_tear_down(&fs_many_fixture);
}

/* A file that the guest has open and that has lost its name, or never had one. */
static void test_nameless(gconstpointer opcode)
{
    struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0600};
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } made;
    struct fs_call call = {.opcode = GPOINTER_TO_UINT(opcode),
                           .nodeid = ROOT,
                           .args = &in,
                           .args_len = sizeof(in),
                           .name = "nameless",
                           .reply = &made,
                           .room = sizeof(made)};
    struct fuse_open_out again;
    struct fuse_attr attr = {0};
    g_autofree char *path = NULL;

    if (!fs_many_set_up(FS_INODE_HANDLES_AUTO))
        return;
    g_assert_cmpint(fs_client_call(&fs_many_fixture, &call), ==, sizeof(made));
    fs_many_look_up();
    path = fs_client_path(&fs_many_fixture, "nameless");
    if (GPOINTER_TO_UINT(opcode) == FUSE_CREATE)
        g_assert_cmpint(unlink(path), ==, 0);
    fs_many_look_up();
    g_assert_cmpint(fs_many_getattr(made.entry.nodeid, &attr), ==, 0);
    g_assert_cmpuint(attr.nlink, ==, 0);
    fs_many_assert_has_fd(made.entry.nodeid, true);
    fs_many_look_up();
    fs_many_assert_has_fd(made.entry.nodeid, true);
    g_assert_cmpint(
        setattr(made.entry.nodeid, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 5}), ==,
        0);
    g_assert_cmpint(setattr(made.entry.nodeid,
                            (struct fuse_setattr_in){
                                .valid = FATTR_SIZE | FATTR_FH, .size = 7, .fh = made.open.fh}),
                    ==, 0);
    g_assert_cmpint(
        setattr(made.entry.nodeid, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0640}), ==,
        0);
    g_assert_cmpint(setattr(made.entry.nodeid,
                            (struct fuse_setattr_in){
                                .valid = FATTR_MODE | FATTR_FH, .mode = 0600, .fh = made.open.fh}),
                    ==, 0);
    g_assert_cmpint(fs_client_open(&fs_many_fixture, made.entry.nodeid, O_RDWR, &again), ==, 0);
    fs_client_release(&fs_many_fixture, made.entry.nodeid, again.fh);
    g_assert_cmpint(fs_many_getattr(made.entry.nodeid, &attr), ==, 0);
    g_assert_cmpuint(attr.size, ==, 7);
    fs_client_release(&fs_many_fixture, made.entry.nodeid, made.open.fh);
    fs_many_look_up();
    g_assert_cmpint(fs_many_getattr(made.entry.nodeid, &attr), ==, -ESTALE);
    fs_client_tear_down(&fs_many_fixture);
}

/* Every kind of file without a descriptor, in requests of every kind. */
static void test_kinds(void)
{
    g_autofree char *link = NULL, *fifo = NULL, *file = NULL;
    uint64_t dir, link_id, fifo_id, file_id;
    struct fuse_open_out opened;
    struct fuse_entry_out entry;
    struct fuse_attr attr = {0};
    char target[16] = "";

    if (!fs_many_set_up(FS_INODE_HANDLES_PREFER))
        return;
    g_assert_cmpint(fs_client_mkdir(&fs_many_fixture, ROOT, "d", &dir), ==, 0);
    link = fs_client_path(&fs_many_fixture, "d/link");
    fifo = fs_client_path(&fs_many_fixture, "d/fifo");
    file = fs_client_path(&fs_many_fixture, "d/file");
    g_assert_cmpint(symlink("target", link), ==, 0);
    g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
    g_assert_true(g_file_set_contents(file, "text", -1, NULL));
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, dir, "link", &entry), ==, 0);
    link_id = entry.nodeid;
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, dir, "fifo", &entry), ==, 0);
    fifo_id = entry.nodeid;
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, dir, "file", &entry), ==, 0);
    file_id = entry.nodeid;
    fs_many_look_up();
    fs_many_assert_has_fd(dir, false);
    fs_many_assert_has_fd(link_id, false);
    g_assert_cmpint(fs_client_call(&fs_many_fixture, &(struct fs_call){.opcode = FUSE_READLINK,
                                                                       .nodeid = link_id,
                                                                       .reply = target,
                                                                       .room = sizeof(target)}),
                    ==, 6);
    g_assert_cmpstr(target, ==, "target");
    g_assert_cmpint(fs_many_getattr(fifo_id, &attr), ==, 0);
    g_assert_true(S_ISFIFO(attr.mode));
    g_assert_cmpint(fs_client_open(&fs_many_fixture, fifo_id, O_RDONLY, &opened), ==, -EOPNOTSUPP);
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, dir, ".", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, dir);
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, dir, "..", &entry), ==, 0);
    g_assert_cmpuint(entry.nodeid, ==, ROOT);
    fs_many_look_up();
    g_assert_cmpint(fs_client_call(&fs_many_fixture, &(struct fs_call){.opcode = FUSE_LINK,
                                                                       .nodeid = dir,
                                                                       .args = &file_id,
                                                                       .args_len = sizeof(file_id),
                                                                       .name = "second",
                                                                       .reply = &entry,
                                                                       .room = sizeof(entry)}),
                    >, 0);
    g_assert_cmpuint(entry.nodeid, ==, file_id);
    g_assert_cmpuint(entry.attr.nlink, ==, 2);
    fs_client_tear_down(&fs_many_fixture);
}

/* What a guest's NFS server asks: the inode of a handle by ".", whether it has a descriptor or not,
 * until it is forgotten. */
static void test_export(void)
{
    struct fuse_entry_out entry, again;

    if (!fs_many_set_up(FS_INODE_HANDLES_PREFER))
        return;
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, ROOT, "f0", &entry), ==, 0);
    fs_many_look_up();
    fs_many_assert_has_fd(entry.nodeid, false);
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, entry.nodeid, ".", &again), ==, 0);
    g_assert_cmpuint(again.nodeid, ==, entry.nodeid);
    g_assert_cmpuint(again.generation, ==, entry.generation);
    fs_client_forget(&fs_many_fixture, entry.nodeid, 3);
    g_assert_cmpint(fs_client_lookup(&fs_many_fixture, entry.nodeid, ".", &again), ==, -ESTALE);
    fs_client_tear_down(&fs_many_fixture);
}

static void test_refused(void)
{
    struct fs_share_place place = {.budget = {100, 100, 100, 1, 100}};
    struct fs_share share;
    GError *error = NULL;

    fs_fixture_init(&fs_many_fixture);
    fs_many_fixture.options.modcaps.drop = VU_CAPABILITY(CAP_DAC_READ_SEARCH);
    fs_many_fixture.options.inode_handles = FS_INODE_HANDLES_MANDATORY;
    place.root_fd = open(fs_many_fixture.dir, O_PATH | O_CLOEXEC);
    place.proc_fds = open("/proc/self/fd", O_PATH | O_CLOEXEC);
    g_assert_false(fs_share_open(&share, &fs_many_fixture.options, &place, &error));
    g_assert_nonnull(strstr(error->message, "--inode-file-handles=mandatory"));
    g_assert_nonnull(strstr(error->message, "CAP_DAC_READ_SEARCH"));
    g_clear_error(&error);
    fs_many_fixture.options.inode_handles = FS_INODE_HANDLES_PREFER;
    g_assert_true(fs_share_open(&share, &fs_many_fixture.options, &place, &error));
    g_assert_false(fs_inodes_are_by_handle(share.inodes));
    fs_share_close(&share);
    close(place.root_fd);
    close(place.proc_fds);
    fs_fixture_open(&fs_many_fixture);
    fs_fixture_finish(&fs_many_fixture);
}

static void *race_thread(void *opaque)
{
    GRand *rand = g_rand_new_with_seed(GPOINTER_TO_UINT(opaque));

    for (unsigned i = 0; i < 4000; i++) {
        unsigned at = (unsigned)g_rand_int_range(rand, 0, 300);
        g_autofree char *name = g_strdup_printf("f%u", at);
        struct fuse_entry_out entry;
        struct fuse_attr attr = {0};

        g_assert_cmpint(fs_client_lookup(&fs_many_fixture, ROOT, name, &entry), ==, 0);
        g_assert_cmpint(fs_many_getattr(entry.nodeid, &attr), ==, 0);
        g_assert_cmpuint(attr.ino, ==, entry.attr.ino);
        if (i % 3 == 0)
            fs_client_forget(&fs_many_fixture, entry.nodeid, 1);
    }
    g_rand_free(rand);
    return NULL;
}

/* More threads than one look up, use and forget what others' lookups close. */
static void test_threads(void)
{
    pthread_t threads[4];

    if (!fs_many_set_up(FS_INODE_HANDLES_AUTO))
        return;
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, race_thread, GUINT_TO_POINTER(i + 1)), ==,
                        0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    g_assert_cmpuint(count_open_fds(), <, FS_MANY_N_FDS);
    fs_client_tear_down(&fs_many_fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/fs-handles/walk/auto", GINT_TO_POINTER(FS_INODE_HANDLES_AUTO),
                         test_walk);
    g_test_add_data_func("/fs-handles/walk/prefer", GINT_TO_POINTER(FS_INODE_HANDLES_PREFER),
                         test_walk);
    g_test_add_data_func("/fs-handles/walk/mandatory", GINT_TO_POINTER(FS_INODE_HANDLES_MANDATORY),
                         test_walk);
    g_test_add_func("/fs-handles/replaced", test_replaced);
    g_test_add_data_func("/fs-handles/unlinked", GUINT_TO_POINTER(FUSE_CREATE), test_nameless);
    g_test_add_data_func("/fs-handles/tmpfile", GUINT_TO_POINTER(FUSE_TMPFILE), test_nameless);
    g_test_add_func("/fs-handles/kinds", test_kinds);
    g_test_add_func("/fs-handles/export", test_export);
    g_test_add_func("/fs-handles/refused", test_refused);
    g_test_add_func("/fs-handles/threads", test_threads);
    return g_test_run();
}
