/* SPDX-License-Identifier: Apache-2.0 */
/* lock-ranges.c, against an array with an element for each byte. */
#include "virtiofsd/lock-ranges.h"

#define MODEL_BYTES 40
#define MODEL_STEPS 20000

static struct fs_lock_range model[MODEL_BYTES]; /* type and pid of each byte */

static bool model_joins(unsigned a, unsigned b)
{
    return model[a].type == model[b].type && model[a].pid == model[b].pid;
}

static void model_check(const GArray *ranges)
{
    guint n = 0;

    for (unsigned i = 0, end; i < MODEL_BYTES; i = end) {
        const struct fs_lock_range *range;

        for (end = i + 1; end < MODEL_BYTES && model_joins(i, end);)
            end++;
        if (model[i].type == F_UNLCK)
            continue;
        g_assert_cmpuint(n, <, ranges->len);
        range = &g_array_index(ranges, struct fs_lock_range, n++);
        g_assert_cmpint(range->start, ==, i);
        g_assert_cmpint(range->end, ==, end == MODEL_BYTES ? FS_LOCK_RANGE_WHOLE : end - 1);
        g_assert_cmpint(range->type, ==, model[i].type);
        g_assert_cmpuint(range->pid, ==, model[i].pid);
    }
    g_assert_cmpuint(n, ==, ranges->len);
}

static void model_check_conflict(const GArray *ranges, const struct fs_lock_range *range)
{
    guint index = 0;
    const struct fs_lock_range *held = fs_lock_ranges_next_conflict(ranges, range, &index);
    bool expected = false;

    for (int64_t i = range->start; i < MODEL_BYTES && i <= range->end; i++)
        expected = expected || model[i].type == F_WRLCK ||
                   (model[i].type == F_RDLCK && range->type == F_WRLCK);
    g_assert_cmpint(held != NULL, ==, expected);
}

static void test_model(void)
{
    static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
    GArray *ranges = fs_lock_ranges_new();

    for (unsigned i = 0; i < MODEL_BYTES; i++)
        model[i].type = F_UNLCK;
    for (unsigned step = 0; step < MODEL_STEPS; step++) {
        int a = g_test_rand_int_range(0, MODEL_BYTES), b = g_test_rand_int_range(a, MODEL_BYTES);
        struct fs_lock_range range = {.start = a,
                                      .end = b == MODEL_BYTES - 1 ? FS_LOCK_RANGE_WHOLE : b,
                                      .type = types[g_test_rand_int_range(0, 3)],
                                      .pid = (uint32_t)g_test_rand_int_range(1, 3)};
        unsigned before = ranges->len, growth = fs_lock_ranges_growth(ranges, &range);

        fs_lock_ranges_set(ranges, &range);
        for (int i = a; i <= b; i++)
            model[i] = (struct fs_lock_range){.type = range.type,
                                              .pid = range.type == F_UNLCK ? 0 : range.pid};
        model_check(ranges);
        g_assert_cmpuint(ranges->len, <=, before + growth);
        range.start = g_test_rand_int_range(0, MODEL_BYTES);
        range.end = g_test_rand_int_range((int)range.start, MODEL_BYTES);
        range.type = types[g_test_rand_int_range(0, 2)];
        model_check_conflict(ranges, &range);
    }
    g_array_unref(ranges);
}

static void test_from_fcntl(void)
{
    const struct flock some = {.l_type = F_RDLCK, .l_start = 10, .l_len = 5};
    const struct flock last = {.l_type = F_WRLCK, .l_start = INT64_MAX, .l_len = 1};
    const struct flock all = {.l_type = F_UNLCK};

    g_assert_cmpint(fs_lock_range_from(&some, 7).end, ==, 14);
    g_assert_cmpuint(fs_lock_range_from(&some, 7).pid, ==, 7);
    g_assert_cmpint(fs_lock_range_from(&last, 7).end, ==, INT64_MAX);
    g_assert_cmpint(fs_lock_range_from(&all, 7).end, ==, FS_LOCK_RANGE_WHOLE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lock-ranges/model", test_model);
    g_test_add_func("/lock-ranges/from-fcntl", test_from_fcntl);
    return g_test_run();
}
