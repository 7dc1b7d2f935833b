/* SPDX-License-Identifier: Apache-2.0 */
/*
 * file-room.h, state-table.h: a table in a file of a file system that is full says so, instead of
 * ending the process, whether fallocate(2) is there or not. Takes a mount, so root.
 */
#include "vhost-user/file-room.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "virtiofsd/state-table.h"

#define TABLE_AT  65536
#define TABLE_MAX 20000
#define ROOM      "size=1M"
#define CHUNK     (1024 * sizeof(struct test_record))

struct test_record {
    struct fs_record record;
    uint64_t payload[6];
};

static char *room_dir; /* a small tmpfs */
static bool has_fallocate;

/* In place of the C library's. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
    if (!has_fallocate) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

static int room_file(const char *name)
{
    g_autofree char *path = g_build_filename(room_dir, name, NULL);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(unlink(path), ==, 0);
    return fd;
}

/* A file that has all the room there is. */
static int room_fill(void)
{
    const char bytes[4096] = {1};
    int fd = room_file("filler");

    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
    g_assert_cmpint(errno, ==, ENOSPC);
    return fd;
}

static int table_file(void)
{
    int fd = room_file("table");

    g_assert_cmpint(
        ftruncate(fd, TABLE_AT + (off_t)fs_state_table_len(sizeof(struct test_record), TABLE_MAX)),
        ==, 0);
    return fd;
}

static int table_open(int fd, bool is_adopted, struct fs_state_table **ret_table)
{
    const struct fs_state_place place = {fd, TABLE_AT, is_adopted};

    return fs_state_table_create_at(&place, sizeof(struct test_record), TABLE_MAX, NULL, NULL,
                                    ret_table);
}

static uint64_t table_add(struct fs_state_table *table)
{
    struct test_record *record = (struct test_record *)fs_state_table_alloc(table);
    uint64_t id;

    if (!record)
        return 0;
    id = fs_state_table_id(table, &record->record);
    for (size_t i = 0; i < G_N_ELEMENTS(record->payload); i++)
        record->payload[i] = id;
    fs_state_table_publish(&record->record);
    fs_state_table_put(table, &record->record);
    return id;
}

static bool table_has(struct fs_state_table *table, uint64_t id)
{
    struct test_record *record = (struct test_record *)fs_state_table_get(table, id);

    if (!record)
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(record->payload); i++)
        g_assert_cmpuint(record->payload[i], ==, id);
    fs_state_table_put(table, &record->record);
    return true;
}

static void table_remove(struct fs_state_table *table, uint64_t id)
{
    struct fs_record *record = fs_state_table_get(table, id);

    g_assert_nonnull(record);
    g_assert_true(fs_state_table_retire(table, record));
    fs_state_table_put(table, record);
}

/* What was there is there, and room is taken from nobody twice. */
static void test_take(gconstpointer data)
{
    char bytes[10000], back[sizeof(bytes)];
    vu_autofd int fd = room_file("file"), filler = -1;
    struct stat st;

    has_fallocate = GPOINTER_TO_INT(data);
    memset(bytes, 'x', sizeof(bytes));
    g_assert_cmpint(pwrite(fd, bytes, sizeof(bytes), 3000), ==, sizeof(bytes));
    g_assert_cmpint(ftruncate(fd, 500000), ==, 0);
    g_assert_cmpint(vu_file_room_take(fd, 0, 300000), ==, 0);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 500000);
    g_assert_cmpint(st.st_blocks * 512, >=, 300000);
    filler = room_fill();
    g_assert_cmpint(vu_file_room_take(fd, 0, 300000), ==, 0);
    g_assert_cmpint(vu_file_room_take(fd, 300000, 200000), ==, -ENOSPC);
    g_assert_cmpint(pread(fd, back, sizeof(back), 3000), ==, sizeof(back));
    g_assert_cmpint(memcmp(bytes, back, sizeof(bytes)), ==, 0);
    g_assert_cmpint(pread(fd, back, 3000, 0), ==, 3000);
    g_assert_cmpint(back[0] | back[2999], ==, 0);
}

static void test_full(gconstpointer data)
{
    vu_autofd int fd = table_file(), filler = -1;
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    struct fs_state_table *table = NULL;
    uint64_t id;

    has_fallocate = GPOINTER_TO_INT(data);
    g_assert_cmpint(table_open(fd, false, &table), ==, 0);
    while ((id = table_add(table)))
        g_array_append_val(ids, id);
    g_assert_cmpuint(ids->len, >, 1024);
    g_assert_cmpuint(ids->len, <, TABLE_MAX);
    filler = room_fill();
    for (guint i = 0; i < ids->len; i++)
        g_assert_true(table_has(table, g_array_index(ids, uint64_t, i)));
    /* Nor does it take room to ask for what is not there. */
    for (uint64_t slot = 0; slot <= TABLE_MAX; slot++)
        g_assert_false(table_has(table, slot | UINT64_C(1) << 63));
    g_assert_cmpuint(table_add(table), ==, 0);
    g_assert_cmpint(ftruncate(filler, 0), ==, 0);
    table_remove(table, g_array_index(ids, uint64_t, 0));
    g_assert_cmpuint(table_add(table), !=, 0);
    fs_state_table_destroy(table);
}

static bool keep_all(void *opaque, struct fs_record *record)
{
    return true;
}

/* Without room for the holes in what is adopted, that is left for another try. */
static void test_adopt(gconstpointer data)
{
    vu_autofd int fd = table_file(), filler = -1;
    struct fs_state_table *table = NULL;
    uint64_t ids[3000];

    has_fallocate = true;
    g_assert_cmpint(table_open(fd, false, &table), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++)
        ids[i] = table_add(table);
    /* All but the first records of the second chunk. */
    for (size_t i = 1100; i < 2000; i++)
        table_remove(table, ids[i]);
    g_assert_cmpint(fs_state_table_leave(table), ==, 0);
    fs_state_table_destroy(table);
    g_assert_cmpint(syscall(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                            TABLE_AT + CHUNK + CHUNK / 2, CHUNK / 4),
                    ==, 0);
    filler = room_fill();
    has_fallocate = GPOINTER_TO_INT(data);
    for (int i = 0; i < 2; i++) {
        g_assert_cmpint(table_open(fd, true, &table), ==, 0);
        g_assert_cmpint(fs_state_table_adopt(table, keep_all, NULL), ==, -ENOSPC);
        fs_state_table_destroy(table);
    }
    g_assert_cmpint(ftruncate(filler, 0), ==, 0);
    g_assert_cmpint(table_open(fd, true, &table), ==, 0);
    g_assert_cmpint(fs_state_table_adopt(table, keep_all, NULL), ==, 0);
    for (size_t i = 0; i < G_N_ELEMENTS(ids); i++)
        g_assert_cmpint(table_has(table, ids[i]), ==, i < 1100 || i >= 2000);
    g_assert_cmpuint(fs_state_table_n_live(table), ==, 2100);
    fs_state_table_destroy(table);
}

/* False where this process may not mount. */
static bool mount_room(void)
{
    room_dir = g_dir_make_tmp("file-room-XXXXXX", NULL);
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", room_dir, "tmpfs", 0, ROOM) == 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(gconstpointer has_fallocate);
    } tests[] = {{"take", test_take}, {"full", test_full}, {"adopt", test_adopt}};
    bool has_room;
    int status;

    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    has_room = mount_room();
    for (size_t i = 0; has_room && i < G_N_ELEMENTS(tests); i++)
        for (int with = 0; with < 2; with++) {
            g_autofree char *path = g_strdup_printf("/file-room/%s/%s-fallocate", tests[i].name,
                                                    with ? "with" : "without");

            g_test_add_data_func(path, GINT_TO_POINTER(with), tests[i].test);
        }
    if (has_room)
        status = g_test_run();
    else
        status = puts("1..0 # SKIP only root may mount a small file system") < 0;
    umount2(room_dir, MNT_DETACH);
    rmdir(room_dir);
    g_free(room_dir);
    return status;
}
