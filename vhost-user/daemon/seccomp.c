/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From rows to a filter, by libseccomp.
 *
 * The kernel remembers which calls a filter makes whatever their arguments are, and does not run it
 * for them: the calls that move data have plain rows.
 */
#include "vhost-user/daemon/seccomp.h"

#include <errno.h>
#include <seccomp.h>

#include "vhost-user/daemon/options.h"
#include "vhost-user/daemon/sanitized.h"
#include "vhost-user/log.h"

#define SECCOMP_BINARY_TREE 2 /* of SCMP_FLTATR_CTL_OPTIMIZE */

const char *const vu_seccomp_modes[] = {
    [VU_SECCOMP_KILL] = "kill",
    [VU_SECCOMP_TRAP] = "trap",
    [VU_SECCOMP_LOG] = "log",
    [VU_SECCOMP_NONE] = "none",
    NULL,
};

static const uint32_t seccomp_actions[] = {
    [VU_SECCOMP_KILL] = SCMP_ACT_KILL_PROCESS,
    [VU_SECCOMP_TRAP] = SCMP_ACT_TRAP,
    [VU_SECCOMP_LOG] = SCMP_ACT_LOG,
};

static int seccomp_add(scmp_filter_ctx filter, const struct vu_syscall_rule *rule)
{
    uint32_t action = rule->error ? SCMP_ACT_ERRNO((uint32_t)rule->error) : SCMP_ACT_ALLOW;
    struct scmp_arg_cmp compare = {rule->arg, SCMP_CMP_MASKED_EQ, rule->mask, rule->value};
    int number = seccomp_syscall_resolve_name(rule->name);

    if (number == __NR_SCMP_ERROR)
        return 0;
    return seccomp_rule_add_array(filter, action, number, rule->mask ? 1 : 0, &compare);
}

static int seccomp_add_all(scmp_filter_ctx filter, const struct vu_syscall_rules *rules,
                           const char **ret_name)
{
    int ret = 0;

    for (size_t i = 0; i < rules->n_rules && ret == 0; i++) {
        ret = seccomp_add(filter, &rules->rules[i]);
        *ret_name = rules->rules[i].name;
    }
    return ret;
}

/* Speculation is as without a filter, for no other code than the program's own runs here. */
static int seccomp_set_attributes(scmp_filter_ctx filter, enum vu_seccomp_mode mode,
                                  bool for_all_threads)
{
    int ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, for_all_threads);

    if (ret == 0)
        ret = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, seccomp_actions[mode]);
    /* What follows is not there with every kernel, and not needed. */
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, SECCOMP_BINARY_TREE);
    return ret;
}

static bool seccomp_fail(GError **error, int ret, const char *what)
{
    g_set_error(error, VU_OPTION_ERROR, 0, "--seccomp: %s: %s", what, g_strerror(-ret));
    return false;
}

static bool seccomp_install(enum vu_seccomp_mode mode, bool for_all_threads,
                            const struct vu_syscall_rules *const *tables, GError **error)
{
    const char *what = "no filter can be made";
    scmp_filter_ctx filter = seccomp_init(seccomp_actions[mode]);
    int ret;

    if (!filter)
        return seccomp_fail(error, -ENOMEM, what);
    ret = seccomp_set_attributes(filter, mode, for_all_threads);
    for (; ret == 0 && *tables; tables++)
        ret = seccomp_add_all(filter, *tables, &what);
    if (ret == 0) {
        what = "the kernel does not take the filter";
        ret = seccomp_load(filter);
    }
    seccomp_release(filter);
    return ret == 0 || seccomp_fail(error, ret, what);
}

bool vu_seccomp_install(enum vu_seccomp_mode mode, const struct vu_syscall_rules *own,
                        GError **error)
{
    const struct vu_syscall_rules *const tables[] = {&vu_seccomp_daemon_rules, own, NULL};

    if (mode == VU_SECCOMP_NONE)
        return true;
    if (VU_SANITIZED) {
        vu_info("built with a sanitizer: no filter of system calls");
        return true;
    }
    return seccomp_install(mode, true, tables, error);
}

bool vu_seccomp_install_for_thread(enum vu_seccomp_mode mode,
                                   const struct vu_syscall_rules *const *tables, GError **error)
{
    return mode == VU_SECCOMP_NONE || VU_SANITIZED || seccomp_install(mode, false, tables, error);
}
