/* SPDX-License-Identifier: Apache-2.0 */
/* capabilities.h: what --modcaps takes, and what is left to a process (a child of the test). */
#include "vhost-user/daemon/capabilities.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cap-ng.h>

static void test_parse(void)
{
    struct vu_capability_changes changes = {.add = 0};
    GError *error = NULL;

    g_assert_true(vu_capabilities_parse(&changes, "+sys_admin:-chown", &error));
    g_assert_true(vu_capabilities_parse(&changes, "-CAP_MKNOD", &error));
    g_assert_true(vu_capabilities_parse(&changes, "+chown", &error));
    g_assert_no_error(error);
    g_assert_cmphex(changes.add, ==, VU_CAPABILITY(CAP_SYS_ADMIN) | VU_CAPABILITY(CAP_CHOWN));
    g_assert_cmphex(changes.drop, ==, VU_CAPABILITY(CAP_MKNOD));
}

static void test_wrong(void)
{
    static const char *const wrong[] = {"",      "chown", "+", "+chown:", "+chown,-mknod",
                                        "+walk", "*chown"};

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        struct vu_capability_changes changes = {.add = 0};
        g_autoptr(GError) error = NULL;

        if (vu_capabilities_parse(&changes, wrong[i], &error))
            g_error("accepted: %s", wrong[i]);
        g_assert_nonnull(error);
    }
}

/* Runs check in a child; its exit status must be 0. */
static void in_child(int (*check)(void))
{
    pid_t pid = fork();
    int status;

    g_assert_cmpint(pid, >=, 0);
    if (pid == 0)
        _exit(check());
    g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
    g_assert_cmpint(status, ==, 0);
}

static int child_limit(void)
{
    struct vu_capability_changes changes = {.add = VU_CAPABILITY(CAP_KILL),
                                            .drop = VU_CAPABILITY(CAP_MKNOD)};

    if (!vu_capabilities_limit(VU_CAPABILITY(CAP_CHOWN) | VU_CAPABILITY(CAP_MKNOD), &changes, NULL))
        return 1;
    capng_get_caps_process();
    for (unsigned i = 0; i <= CAP_LAST_CAP; i++) {
        int wanted = i == CAP_CHOWN || i == CAP_KILL;

        if (capng_have_capability(CAPNG_EFFECTIVE, i) != wanted ||
            capng_have_capability(CAPNG_PERMITTED, i) != wanted ||
            prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
            return 2;
    }
    return 0;
}

static int child_missing(void)
{
    struct vu_capability_changes none = {.add = 0}, more = {.add = VU_CAPABILITY(CAP_SYS_BOOT)};
    GError *error = NULL;

    /* Nothing is left: what is wanted is done without, what is asked for by name is an error. */
    if (!vu_capabilities_limit(0, &none, NULL) ||
        !vu_capabilities_limit(VU_CAPABILITY(CAP_CHOWN), &none, NULL))
        return 1;
    return vu_capabilities_limit(0, &more, &error) || !error;
}

static void test_limit(void)
{
    capng_get_caps_process();
    if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP)) {
        g_test_skip("takes root");
        return;
    }
    in_child(child_limit);
}

static void test_missing(void)
{
    in_child(child_missing);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/capabilities/parse", test_parse);
    g_test_add_func("/capabilities/wrong", test_wrong);
    g_test_add_func("/capabilities/limit", test_limit);
    g_test_add_func("/capabilities/missing", test_missing);
    return g_test_run();
}
