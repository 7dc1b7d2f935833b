/* SPDX-License-Identifier: Apache-2.0 */
/* directory-stream.h: directories are read whole without being opened, many at once, and the
 * handles that this takes are few and go. */
#include "virtiofsd/directory-stream.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/fs-client.h"

#define ROOT    FUSE_ROOT_ID
#define N_DIRS  (FS_N_DIRECTORY_STREAMS + 9)
#define N_NAMES 60

static struct fs_fixture fixture;

/* Somebody in the guest who reads a directory, a piece at a time. */
struct reader {
    uint64_t nodeid, offset;
    unsigned n; /* names so far, but for . and .. */
    bool ended;
};

static int send(uint32_t opcode, uint64_t nodeid, const void *args, size_t args_len, void *reply,
                size_t room)
{
    struct fs_call call = {.opcode = opcode,
                           .nodeid = nodeid,
                           .args = args,
                           .args_len = args_len,
                           .reply = reply,
                           .room = room};

    return fs_client_call(&fixture, &call);
}

static int read_piece(struct reader *reader)
{
    char buf[512];
    struct fuse_read_in in = {.offset = reader->offset, .size = sizeof(buf)};
    int len = send(FUSE_READDIR, reader->nodeid, &in, sizeof(in), buf, sizeof(buf)), at = 0;

    while (at < len) {
        struct fuse_dirent entry;

        memcpy(&entry, buf + at, FUSE_NAME_OFFSET);
        reader->n += buf[(size_t)at + FUSE_NAME_OFFSET] != '.';
        reader->offset = entry.off;
        at += (int)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + (size_t)entry.namelen);
    }
    reader->ended = len == 0;
    return len;
}

static void read_whole(struct reader *reader)
{
    while (!reader->ended)
        g_assert_cmpint(read_piece(reader), >=, 0);
    g_assert_cmpuint(reader->n, ==, N_NAMES);
}

static uint64_t make_directory(unsigned number)
{
    g_autofree char *name = g_strdup_printf("d%u", number);
    uint64_t nodeid;

    g_assert_cmpint(fs_client_mkdir(&fixture, ROOT, name, &nodeid), ==, 0);
    for (unsigned i = 0; i < N_NAMES; i++) {
        g_autofree char *entry = g_strdup_printf("%s/name%u", name, i);
        g_autofree char *path = fs_client_path(&fixture, entry);

        g_assert_cmpint(mkdir(path, 0755), ==, 0);
    }
    return nodeid;
}

/* More than there are streams, in turns: each goes on where it was. */
static void test_many(void)
{
    struct reader readers[N_DIRS] = {0};
    unsigned n_ended = 0;

    fs_client_set_up(&fixture, FS_CACHE_ALWAYS, 1);
    for (unsigned i = 0; i < N_DIRS; i++)
        readers[i].nodeid = make_directory(i);
    while (n_ended < N_DIRS)
        for (unsigned i = 0; i < N_DIRS; i++) {
            if (readers[i].ended)
                continue;
            g_assert_cmpint(read_piece(&readers[i]), >=, 0);
            n_ended += readers[i].ended;
            g_assert_cmpuint(fs_handles_count(fixture.share.handles), <=, FS_N_DIRECTORY_STREAMS);
        }
    for (unsigned i = 0; i < N_DIRS; i++)
        g_assert_cmpuint(readers[i].n, ==, N_NAMES);
    fs_client_tear_down(&fixture); /* finds no handle left */
}

/* Two readers of one directory share a stream, also where one begins again or has reached the end.
 */
static void test_shared(void)
{
    struct reader first = {0}, second = {0};

    fs_client_set_up(&fixture, FS_CACHE_ALWAYS, 1);
    first.nodeid = second.nodeid = make_directory(0);
    read_piece(&first);
    read_piece(&first);
    read_piece(&second);
    read_piece(&first);
    read_whole(&second);
    read_whole(&first);
    first = (struct reader){.nodeid = first.nodeid};
    read_piece(&first);
    read_piece(&first);
    first = (struct reader){.nodeid = first.nodeid}; /* rewinddir */
    read_whole(&first);
    fs_client_tear_down(&fixture);
}

static void test_unopened(void)
{
    struct reader reader = {.nodeid = 12345};
    struct fuse_fsync_in sync = {.fh = 0};
    struct fuse_open_out open;
    uint64_t nodeid, fh;

    fs_client_set_up(&fixture, FS_CACHE_ALWAYS, 1);
    g_assert_cmpint(fs_client_open(&fixture, ROOT, O_DIRECTORY, &open), ==, -ENOSYS);
    g_assert_cmpint(read_piece(&reader), ==, -ESTALE);
    g_assert_cmpint(fs_client_create(&fixture, ROOT, "f", O_RDWR, &nodeid, &fh), ==, 0);
    g_assert_cmpint(fs_client_release(&fixture, nodeid, fh), ==, 0);
    reader.nodeid = nodeid;
    g_assert_cmpint(read_piece(&reader), ==, -ENOTDIR);
    g_assert_cmpint(send(FUSE_FSYNCDIR, ROOT, &sync, sizeof(sync), NULL, 0), ==, 0);
    g_assert_cmpuint(fs_handles_count(fixture.share.handles), ==, 1);
    fs_fixture_send_init(&fixture, &(struct fuse_init_out){.minor = 0});
    reader.nodeid = ROOT; /* after a reset its stream is opened anew */
    g_assert_cmpint(read_piece(&reader), >, 0);
    g_assert_cmpint(read_piece(&reader), ==, 0);
    fs_client_tear_down(&fixture);

    /* Where directories are opened, fh 0 is none. */
    fs_client_set_up(&fixture, FS_CACHE_AUTO, 1);
    g_assert_cmpint(read_piece(&reader), ==, -EBADF);
    fs_client_tear_down(&fixture);
}

static void *read_thread(void *opaque)
{
    for (unsigned i = 0; i < 200; i++) {
        struct reader reader = {.nodeid = *(const uint64_t *)opaque};

        read_whole(&reader);
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[4];
    uint64_t nodeids[2];

    fs_client_set_up(&fixture, FS_CACHE_ALWAYS, 1);
    nodeids[0] = make_directory(0);
    nodeids[1] = make_directory(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        g_assert_cmpint(pthread_create(&threads[i], NULL, read_thread, &nodeids[i % 2]), ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(threads); i++)
        pthread_join(threads[i], NULL);
    fs_share_reset(&fixture.share); /* one may have opened a stream again that another had ended */
    fs_client_tear_down(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/directory-stream/many", test_many);
    g_test_add_func("/directory-stream/shared", test_shared);
    g_test_add_func("/directory-stream/unopened", test_unopened);
    g_test_add_func("/directory-stream/threads", test_threads);
    return g_test_run();
}
