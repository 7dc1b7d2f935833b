/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front-end session against a back-end that goes wrong in a chosen way at each message in turn.
 * Whatever it does, every call returns in bounded time, and nothing is left open.
 */
#include <errno.h>
#include <glib.h>

#include "scripted-backend.h"
#include "tests/unit/open-fds.h"
#include "vhost-user/log.h"

#define HASTY_MS 100

/* --- a back-end that goes wrong --- */

static void test_wrong(gconstpointer data)
{
    unsigned n_messages;
    unsigned n_fds;

    {
        struct fixture f;

        fixture_init(&f, ALL_PROTOCOL_FEATURES);
        g_assert_cmpint(fixture_run_session(&f), ==, 0);
        n_messages = f.backend.n_messages;
        fixture_clear(&f);
    }
    g_assert_cmpuint(n_messages, >, 20);
    n_fds = count_open_fds();
    for (unsigned at = 0; at < n_messages; at++) {
        struct fixture f;
        gint64 start = g_get_monotonic_time();
        int rc;

        fixture_init_patient(&f, ALL_PROTOCOL_FEATURES, HASTY_MS);
        f.backend.wrong = (enum wrong)GPOINTER_TO_UINT(data);
        f.backend.wrong_at = at;
        rc = fixture_run_session(&f);
        g_test_message("message %u: %d", at, rc);
        if (f.backend.wrong_matters && f.backend.wrong != REFUSES && f.backend.wrong != TWO_REPLIES)
            g_assert_cmpint(rc, <, 0);
        g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC);
        fixture_clear(&f);
    }
    g_assert_cmpuint(count_open_fds(), ==, n_fds);
}

/* An inflight region that is shorter than it says is not handed on. */
static void test_bad_inflight(void)
{
    struct fixture f;

    fixture_init(&f, ALL_PROTOCOL_FEATURES);
    f.backend.short_inflight = true;
    g_assert_cmpint(fixture_run_session(&f), ==, -EPROTO);
    g_assert_cmpuint(f.backend.seen[VU_SET_INFLIGHT_FD], ==, 0);
    fixture_clear(&f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_func("/frontend-wrong/bad-inflight", test_bad_inflight);
    for (unsigned i = HANGS_UP; i < N_WRONG; i++) {
        g_autofree char *path = g_strdup_printf("/frontend-wrong/%s", wrong_names[i]);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_wrong);
    }
    return g_test_run();
}
