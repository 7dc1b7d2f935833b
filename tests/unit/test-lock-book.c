/* SPDX-License-Identifier: Apache-2.0 */
/* lock-book.c: who waits for whom, without files or threads. */
#include "virtiofsd/lock-book.h"

#include <errno.h>

#define MAX_HOLDERS 400

static struct fs_lock_book *book;
static struct fs_lock_holder holders[MAX_HOLDERS];
static unsigned n_holders;

static void set_up(unsigned max_ranges)
{
    g_assert_cmpint(fs_lock_book_create(max_ranges, &book), ==, 0);
    n_holders = 0;
}

static void tear_down(void)
{
    while (n_holders > 0)
        fs_lock_book_remove(book, &holders[--n_holders]);
    fs_lock_book_destroy(book);
}

static struct fs_lock_holder *find_holder(uint64_t nodeid, uint64_t id)
{
    for (unsigned i = 0; i < n_holders; i++)
        if (holders[i].nodeid == nodeid && holders[i].id == id)
            return &holders[i];
    g_assert_cmpuint(n_holders, <, MAX_HOLDERS);
    holders[n_holders] = (struct fs_lock_holder){.nodeid = nodeid, .id = id};
    fs_lock_book_add(book, &holders[n_holders]);
    return &holders[n_holders++];
}

/* By a process whose number is that of the owner, and 1000. */
static void hold(uint64_t nodeid, uint64_t id, short type, int64_t start, int64_t end)
{
    const struct fs_lock_range range = {start, end, type, (uint32_t)id + 1000};

    fs_lock_book_set(book, find_holder(nodeid, id), &range);
}

static int want(struct fs_lock_want *ret_want, uint64_t nodeid, uint64_t id, short type,
                int64_t start, int64_t end)
{
    *ret_want = (struct fs_lock_want){
        .nodeid = nodeid, .id = id, .range = {start, end, type, (uint32_t)id + 1000}};
    return fs_lock_book_want(book, ret_want);
}

static void test_two(void)
{
    struct fs_lock_want one, two;

    set_up(100);
    hold(1, 1, F_WRLCK, 0, 9);
    hold(2, 2, F_WRLCK, 0, 9);
    g_assert_cmpint(want(&one, 2, 1, F_WRLCK, 5, 5), ==, 0);
    g_assert_cmpint(want(&two, 1, 2, F_RDLCK, 9, 20), ==, -EDEADLK);
    g_assert_cmpint(want(&two, 1, 2, F_RDLCK, 10, 20), ==, 0);
    fs_lock_book_unwant(book, &two);
    /* Part of it is given back: what is still held counts, the rest does not. */
    hold(1, 1, F_UNLCK, 5, 9);
    g_assert_cmpint(want(&two, 1, 2, F_RDLCK, 5, 20), ==, 0);
    fs_lock_book_unwant(book, &two);
    g_assert_cmpint(want(&two, 1, 2, F_RDLCK, 4, 20), ==, -EDEADLK);
    fs_lock_book_unwant(book, &one);
    g_assert_cmpint(want(&two, 1, 2, F_RDLCK, 4, 20), ==, 0);
    /* The other one closes the circle now. */
    g_assert_cmpint(want(&one, 2, 1, F_WRLCK, 5, 5), ==, -EDEADLK);
    fs_lock_book_unwant(book, &two);
    tear_down();
}

static void test_shared(void)
{
    struct fs_lock_want one, two;

    set_up(100);
    hold(1, 1, F_RDLCK, 0, 9);
    hold(1, 2, F_RDLCK, 0, 9);
    hold(1, 3, F_RDLCK, 0, 9);
    /* Two that want to write what both read; the third only waits. */
    g_assert_cmpint(want(&one, 1, 1, F_WRLCK, 0, 9), ==, 0);
    g_assert_cmpint(want(&two, 1, 2, F_RDLCK, 0, 9), ==, 0);
    fs_lock_book_unwant(book, &two);
    g_assert_cmpint(want(&two, 1, 2, F_WRLCK, 3, 3), ==, -EDEADLK);
    hold(1, 2, F_UNLCK, 0, 9);
    g_assert_cmpint(want(&two, 1, 2, F_WRLCK, 3, 3), ==, 0);
    fs_lock_book_unwant(book, &two);
    fs_lock_book_unwant(book, &one);
    tear_down();
}

/* A long chain, closed by its last; and by a branch that is not the first holder met. */
static void test_chain(void)
{
    static struct fs_lock_want wants[100];
    struct fs_lock_want last;
    enum { N = G_N_ELEMENTS(wants) };

    set_up(1000);
    for (unsigned i = 0; i <= N; i++)
        hold(i + 1, i + 1, F_WRLCK, 0, FS_LOCK_RANGE_WHOLE);
    for (unsigned i = 0; i < N; i++)
        g_assert_cmpint(want(&wants[i], i + 2, i + 1, F_WRLCK, 0, 0), ==, 0);
    g_assert_cmpint(want(&last, 1, N + 1, F_WRLCK, 0, 0), ==, -EDEADLK);
    fs_lock_book_unwant(book, &wants[N / 2]);
    g_assert_cmpint(want(&last, 1, N + 1, F_WRLCK, 0, 0), ==, 0);
    fs_lock_book_unwant(book, &last);

    hold(500, 700, F_RDLCK, 0, 9);
    hold(500, 1, F_RDLCK, 5, 20);
    hold(500, 701, F_RDLCK, 0, 9);
    g_assert_cmpint(want(&last, 500, 2, F_WRLCK, 0, 20), ==, -EDEADLK);
    for (unsigned i = 0; i < N; i++)
        if (i != N / 2)
            fs_lock_book_unwant(book, &wants[i]);
    tear_down();
}

/* A child that waits with its parent's open file: the parent may still give way. */
static void test_processes(void)
{
    struct fs_lock_want child = {.nodeid = 2, .id = 1, .range = {0, 9, F_WRLCK, 4321}}, two;

    set_up(100);
    hold(1, 1, F_WRLCK, 0, 9);
    hold(2, 2, F_WRLCK, 0, 9);
    g_assert_cmpint(fs_lock_book_want(book, &child), ==, 0);
    g_assert_cmpint(want(&two, 1, 2, F_WRLCK, 0, 9), ==, 0);
    fs_lock_book_unwant(book, &two);
    fs_lock_book_unwant(book, &child);
    tear_down();
}

static void test_holder(void)
{
    const struct fs_lock_range all = {0, FS_LOCK_RANGE_WHOLE, F_WRLCK, 0};

    set_up(100);
    hold(1, 1, F_RDLCK, 0, 9);
    g_assert_cmpuint(fs_lock_book_find_holder(book, 1, 1, &all), ==, 0);
    g_assert_cmpuint(fs_lock_book_find_holder(book, 1, 2, &all), ==, 1001);
    g_assert_cmpuint(fs_lock_book_find_holder(book, 2, 2, &all), ==, 0);
    hold(1, 2, F_RDLCK, 0, 9);
    g_assert_cmpuint(fs_lock_book_find_holder(book, 1, 1, &all), ==, 1002);
    tear_down();
}

/* Bytes here and there: no more than there is room for, and room again when they are gone. */
static void test_room(void)
{
    const struct fs_lock_range again = {500, 500, F_WRLCK, 1001};
    struct fs_lock_range split = {1, 1, F_UNLCK, 0}, edge = {0, 0, F_UNLCK, 0};
    struct fs_lock_holder *one;

    set_up(10);
    one = find_holder(1, 1);
    hold(1, 1, F_WRLCK, 0, 2);
    for (int64_t i = 10; i < 28; i += 2)
        hold(1, 1, F_WRLCK, i, i);
    g_assert_false(fs_lock_book_has_room(book, one, &again));
    g_assert_false(fs_lock_book_has_room(book, find_holder(2, 2), &again));
    g_assert_false(fs_lock_book_has_room(book, one, &split));
    g_assert_true(fs_lock_book_has_room(book, one, &edge));
    hold(1, 1, F_UNLCK, 10, 10);
    g_assert_true(fs_lock_book_has_room(book, one, &again));
    g_assert_true(fs_lock_book_has_room(book, one, &split));
    tear_down();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lock-book/two", test_two);
    g_test_add_func("/lock-book/shared", test_shared);
    g_test_add_func("/lock-book/chain", test_chain);
    g_test_add_func("/lock-book/processes", test_processes);
    g_test_add_func("/lock-book/holder", test_holder);
    g_test_add_func("/lock-book/room", test_room);
    return g_test_run();
}
