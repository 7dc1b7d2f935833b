/* SPDX-License-Identifier: Apache-2.0 */
/* See blk-live.h. */
#include "blk-live.h"

#include <glib/gstdio.h>
#include <string.h>

bool live_start(struct versions *versions, const struct live_scenario *scenario)
{
    const struct blk_guest_setup setup = {
        .options = scenario->options,
        .n_queues = scenario->n_queues,
        .features = scenario->features | VU_BIT(BLK_F_WRITE_ZEROES) | VU_BIT(BLK_F_FLUSH),
        .inflight = scenario->kills,
        .image_len = LIVE_IMAGE_LEN,
        .qcow2 = scenario->qcow2,
        .control = true,
    };

    return versions_start(versions, &setup, scenario->block);
}

void live_do(struct versions *versions, const char *name, int fd, const char *format, ...)
{
    g_autofree char *line = NULL, *answer = NULL;
    va_list args;

    va_start(args, format);
    line = g_strdup_vprintf(format, args);
    va_end(args);
    answer = versions_command(versions, name, fd, line);
    g_test_message("%s", answer);
    g_assert_null(strstr(answer, "\"error\""));
}

void live_refused(struct versions *versions, const char *line, const char *why)
{
    g_autofree char *answer = versions_command(versions, NULL, -1, line);

    g_test_message("%s", answer);
    g_assert_nonnull(strstr(answer, "\"error\""));
    g_assert_nonnull(strstr(answer, why));
}

uint8_t *live_read(const char *path, uint64_t len)
{
    char *data;
    gsize got;

    g_assert_true(g_file_get_contents(path, &data, &got, NULL));
    g_assert_cmpuint(got, ==, len);
    g_unlink(path);
    return (uint8_t *)data;
}

void live_add(const char *kind, const struct live_scenario *scenarios, size_t n, GTestDataFunc test)
{
    for (size_t i = 0; i < n; i++) {
        g_autofree char *path = g_strdup_printf("/blk-live/%s/%s", kind, scenarios[i].name);

        g_test_add_data_func(path, &scenarios[i], test);
    }
}
