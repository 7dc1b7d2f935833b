/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcap-ng works on a picture of the process: it is taken, changed and applied. The bounding set
 * can only be emptied with CAP_SETPCAP; without it, no_new_privs (sandbox.c) has to do.
 */
#include "vhost-user/daemon/capabilities.h"

#include <string.h>

#include <cap-ng.h>

#include "vhost-user/daemon/options.h"

bool vu_capabilities_parse(struct vu_capability_changes *changes, const char *text, GError **error)
{
    g_autofree char *list = g_strconcat(text, ":", NULL); /* at least one item, even if empty */
    g_auto(GStrv) items = g_strsplit(list, ":", -1);

    for (char **item = items; item[1] != NULL; item++) {
        const char *name = *item + 1;
        int number;

        if ((**item == '+' || **item == '-') && g_ascii_strncasecmp(name, "cap_", 4) == 0)
            name += 4;
        number = **item == '+' || **item == '-' ? capng_name_to_capability(name) : -1;
        if (number < 0) {
            g_set_error(error, VU_OPTION_ERROR, 0,
                        "expected +CAPABILITY or -CAPABILITY between colons, got \"%s\"", *item);
            return false;
        }
        *(**item == '+' ? &changes->add : &changes->drop) |= VU_CAPABILITY(number);
        *(**item == '+' ? &changes->drop : &changes->add) &= ~VU_CAPABILITY(number);
    }
    return true;
}

bool vu_capabilities_limit(uint64_t wanted, const struct vu_capability_changes *changes,
                           GError **error)
{
    bool may_bound;

    if (capng_get_caps_process() < 0) {
        g_set_error_literal(error, VU_OPTION_ERROR, 0, "capabilities: cannot be read");
        return false;
    }
    may_bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP);
    for (unsigned number = 0; number < 64; number++) {
        uint64_t bit = VU_CAPABILITY(number);
        bool there = number <= CAP_LAST_CAP && capng_have_capability(CAPNG_PERMITTED, number);

        wanted &= there ? UINT64_MAX : ~bit;
        if (!there && (changes->add & bit)) {
            g_set_error(error, VU_OPTION_ERROR, 0, "--modcaps=+%s: this process does not have it",
                        capng_capability_to_name(number));
            return false;
        }
    }
    wanted = (wanted | changes->add) & ~changes->drop;
    capng_clear(CAPNG_SELECT_BOTH);
    for (unsigned number = 0; number <= CAP_LAST_CAP; number++)
        if (wanted & VU_CAPABILITY(number))
            capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, number);
    if (capng_apply(may_bound ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) == 0)
        return true;
    g_set_error_literal(error, VU_OPTION_ERROR, 0, "capabilities: cannot be given up");
    return false;
}
