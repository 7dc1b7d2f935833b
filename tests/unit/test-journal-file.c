/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a journal: whose it is, one daemon at a time, and one that its owner removed. */
#include "vblkd/journal-file.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char *dir, *socket, *path;
};

static void place_make(struct place *place)
{
    place->dir = g_dir_make_tmp("journal-file-XXXXXX", NULL);
    place->socket = g_build_filename(place->dir, "socket", NULL);
    place->path = g_strconcat(place->socket, ".journal", NULL);
}

static void place_clear(struct place *place)
{
    g_unlink(place->path);
    g_assert_cmpint(g_rmdir(place->dir), ==, 0);
    g_free(place->dir);
    g_free(place->socket);
    g_free(place->path);
}

static bool is_there(const struct place *place, const struct blk_journal_file *file)
{
    struct stat a, b;

    return fstat(file->fd, &a) == 0 && stat(place->path, &b) == 0 && a.st_ino == b.st_ino;
}

/* The second waits until the first has ended, and then has not what that removed. */
static void test_one_at_a_time(void)
{
    struct blk_journal_file first, second;
    g_autoptr(GError) error = NULL;
    struct place place;

    place_make(&place);
    g_assert_true(blk_journal_file_open(NULL, place.socket, &first, NULL));
    g_assert_true(blk_journal_file_lock(&first, NULL));
    g_assert_true(blk_journal_file_lock(&first, NULL));
    g_assert_true(blk_journal_file_open(NULL, place.socket, &second, NULL));
    g_assert_false(blk_journal_file_lock(&second, &error));
    g_assert_error(error, G_FILE_ERROR, G_FILE_ERROR_AGAIN);
    blk_journal_file_remove(&first);
    g_assert_false(blk_journal_file_lock(&second, NULL));
    blk_journal_file_clear(&first);
    while (!blk_journal_file_lock(&second, NULL))
        ;
    g_assert_true(is_there(&place, &second));
    g_assert_true(blk_journal_file_open(place.path, NULL, &first, NULL));
    g_assert_false(blk_journal_file_lock(&first, NULL));
    blk_journal_file_clear(&second);
    /* One that was killed leaves it. */
    g_assert_true(blk_journal_file_lock(&first, NULL));
    g_assert_true(is_there(&place, &first));
    blk_journal_file_clear(&first);
    place_clear(&place);
}

/* What others can write, or have another name for, is not ours. */
static void test_not_ours(void)
{
    g_autofree char *other = NULL;
    struct blk_journal_file file;
    struct place place;

    place_make(&place);
    other = g_strconcat(place.socket, ".other", NULL);
    g_assert_true(g_file_set_contents(place.path, "", 0, NULL));
    g_assert_cmpint(g_chmod(place.path, 0620), ==, 0);
    g_assert_false(blk_journal_file_open(place.path, NULL, &file, NULL));
    blk_journal_file_clear(&file);
    g_assert_cmpint(g_chmod(place.path, 0600), ==, 0);
    g_assert_cmpint(link(place.path, other), ==, 0);
    g_assert_false(blk_journal_file_open(place.path, NULL, &file, NULL));
    blk_journal_file_clear(&file);
    g_assert_cmpint(g_unlink(other), ==, 0);
    g_assert_true(blk_journal_file_open(place.path, NULL, &file, NULL));
    blk_journal_file_clear(&file);
    place_clear(&place);
}

/* A file that is something else, an image perhaps, is neither overwritten nor removed. */
static void test_something_else(void)
{
    static const char *const contents[] = {"QFI\xfb, an image", "text"};
    g_autofree char *choice = NULL;
    struct blk_journal_file file;
    g_autoptr(GError) error = NULL;
    struct place place;

    place_make(&place);
    choice = g_strconcat(place.path, ".guest", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(contents); i++) {
        g_autofree char *now = NULL;

        g_assert_true(g_file_set_contents_full(place.path, contents[i], -1,
                                               G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
        g_clear_error(&error);
        g_assert_false(blk_journal_file_open(place.path, NULL, &file, &error));
        g_assert_nonnull(strstr(error->message, place.path));
        g_assert_cmpint(file.fd, <, 0);
        blk_journal_file_clear(&file);
        g_assert_true(g_file_get_contents(place.path, &now, NULL, NULL));
        g_assert_cmpstr(now, ==, contents[i]);
    }
    g_assert_true(g_file_set_contents_full(choice, "text of somebody's", -1,
                                           G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
    blk_journal_file_open_choice(place.path, NULL, &file);
    g_assert_cmpint(file.fd, <, 0);
    blk_journal_file_remove(&file);
    blk_journal_file_clear(&file);
    g_assert_cmpint(g_unlink(choice), ==, 0);
    place_clear(&place);
}

/* Zeros, as far as a journal goes: its daemon was killed while it made one. */
static void test_being_made(void)
{
    struct blk_journal_file file;
    struct place place;

    place_make(&place);
    g_assert_true(
        g_file_set_contents_full(place.path, "", 0, G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL));
    g_assert_true(truncate(place.path, 4096) == 0);
    g_assert_true(blk_journal_file_open(place.path, NULL, &file, NULL));
    blk_journal_file_clear(&file);
    g_assert_true(truncate(place.path, (off_t)1 << 30) == 0);
    g_assert_false(blk_journal_file_open(place.path, NULL, &file, NULL));
    blk_journal_file_clear(&file);
    place_clear(&place);
}

/* Without one, it is missed, unless it is not wanted. */
static void test_missed(void)
{
    struct blk_journal_file file;

    g_assert_true(blk_journal_file_open(NULL, NULL, &file, NULL));
    g_assert_true(file.fd < 0 && file.is_missed);
    g_assert_true(blk_journal_file_lock(&file, NULL));
    blk_journal_file_clear(&file);
    g_assert_true(blk_journal_file_open(NULL, "/nowhere/socket", &file, NULL));
    g_assert_true(file.fd < 0 && file.is_missed);
    blk_journal_file_clear(&file);
    g_assert_true(blk_journal_file_open("none", "/nowhere/socket", &file, NULL));
    g_assert_true(file.fd < 0 && !file.is_missed);
    blk_journal_file_clear(&file);
    g_assert_false(blk_journal_file_open("/nowhere/journal", NULL, &file, NULL));
    blk_journal_file_clear(&file);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/journal-file/one-at-a-time", test_one_at_a_time);
    g_test_add_func("/journal-file/not-ours", test_not_ours);
    g_test_add_func("/journal-file/something-else", test_something_else);
    g_test_add_func("/journal-file/being-made", test_being_made);
    g_test_add_func("/journal-file/missed", test_missed);
    return g_test_run();
}
