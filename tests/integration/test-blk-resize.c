/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other sizes of a disk that several queues keep busy, in both directions, from inside and outside.
 */
#include <unistd.h>

#include "blk-live.h"

static uint64_t live_capacity(const struct versions *versions)
{
    le64_t sectors;

    g_assert_cmpint(vu_frontend_get_config(versions->guest.frontend, 0, &sectors, 8), ==, 0);
    return le64_value(sectors) * BLK_SECTOR;
}

static void test_resize(gconstpointer data)
{
    const struct live_scenario *scenario = data;
    g_autofree struct versions *versions = g_new0(struct versions, 1);

    if (!live_start(versions, scenario))
        return;
    for (uint64_t len = LIVE_IMAGE_LEN + 4096; len < 5 * LIVE_IMAGE_LEN;
         len += LIVE_IMAGE_LEN + 8192) {
        versions_run(versions, LIVE_N_BETWEEN);
        live_do(versions, NULL, -1,
                "{\"execute\":\"block_resize\",\"arguments\":{\"size\":%" G_GUINT64_FORMAT "}}",
                len);
        if (scenario->kills)
            blk_guest_restart(&versions->guest);
        g_assert_cmpuint(live_capacity(versions), ==, len);
        versions_resize(versions, len);
    }
    live_refused(versions, "{\"execute\":\"block_resize\",\"arguments\":{\"size\":1048576}}",
                 "shrinking");
    live_refused(versions, "{\"execute\":\"block_resize\",\"arguments\":{\"size\":1000}}",
                 "multiple");
    if (!scenario->qcow2) {
        /* From outside. */
        g_assert_cmpint(truncate(versions->guest.image, 6 * LIVE_IMAGE_LEN), ==, 0);
        live_do(versions, NULL, -1, "{\"execute\":\"block_resize\"}");
        versions_resize(versions, 6 * LIVE_IMAGE_LEN);
    }
    versions_run(versions, LIVE_N_BETWEEN);
    versions_drain(versions);
    versions_resize(versions, LIVE_IMAGE_LEN); /* a good guest has left the end */
    live_do(versions, NULL, -1,
            "{\"execute\":\"block_resize\",\"arguments\":{\"size\":%u,\"shrink\":true}}",
            LIVE_IMAGE_LEN);
    g_assert_cmpuint(live_capacity(versions), ==, LIVE_IMAGE_LEN);
    versions_run(versions, LIVE_N_BETWEEN);
    versions_stop(versions);
    blk_guest_clear(&versions->guest);
    versions_clear(versions);
}

static const struct live_scenario resize[] = {
    {"raw", NULL, LIVE_INDIRECT | LIVE_EVENT, 4, false, 512, NULL},
    {"qcow2", "--format=qcow2", LIVE_INDIRECT | LIVE_EVENT, 4, false, 512, "cluster_size=512"},
    {"kill", "--format=qcow2", LIVE_INDIRECT | LIVE_EVENT, 2, true, 512, "cluster_size=4k"},
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    live_add("resize", resize, G_N_ELEMENTS(resize), test_resize);
    return g_test_run();
}
