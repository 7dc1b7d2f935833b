/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of vrngd's options. */
#include "contrib/vrngd/rng-options.h"

#include "contrib/vrngd/device.h"
#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"

#define GROUP_SOURCE    "Source"
#define GROUP_DEVICE    "Device"
#define GROUP_ISOLATION "Isolation"
#define FIELD(member)   .offset = offsetof(struct rng_options, member)
#define SOURCE_DEFAULT  "getrandom"

/* clang-format off */
static const struct vu_option options_rows[] = {
    {.name = "source", .is_long = true, .type = VU_OPTION_STRING, FIELD(source),
     .metavar = "SOURCE", .group = GROUP_SOURCE,
     .help = "Where random bytes come from. getrandom: the host's kernel (the default). PATH: a character "
             "device such as /dev/hwrng, a FIFO, or a file, which is read once. egd:HOST:PORT or "
             "egd:unix:PATH: a server that speaks EGD (PATH may be an abstract @NAME); egd-poll: "
             "instead of egd: takes what the server has at once, and asks again a second later."},

    {.name = "num-queues", .is_long = true, .type = VU_OPTION_INT, FIELD(num_queues), .min = 1,
     .max = RNG_MAX_QUEUES, .metavar = "N", .group = GROUP_DEVICE,
     .help = "Most queues that a front-end may use. One is what the specification has. Default: 1."},

    {.name = "sandbox", .is_long = true, .type = VU_OPTION_CHOICE, FIELD(sandbox),
     .choices = vu_sandbox_modes, .group = GROUP_ISOLATION,
     .help = "namespace: work in namespaces of its own, with an empty root directory (the default). "
             "none: the host's. The source is opened before. There is no chroot here."},
    {.name = "seccomp", .is_long = true, .type = VU_OPTION_CHOICE, FIELD(seccomp),
     .choices = vu_seccomp_modes, .group = GROUP_ISOLATION,
     .help = "What happens on a system call that serving does not take: kill the daemon (the "
             "default), trap (SIGSYS), log it, or none: no filter."},
};
/* clang-format on */

void rng_options_init(struct rng_options *options)
{
    *options = (struct rng_options){.source = g_strdup(SOURCE_DEFAULT), .num_queues = 1};
}

void rng_options_clear(struct rng_options *options)
{
    g_clear_pointer(&options->source, g_free);
}

struct vu_option_table rng_options_table(struct rng_options *options)
{
    return (struct vu_option_table){options_rows, G_N_ELEMENTS(options_rows), options};
}

bool rng_options_check(const struct rng_options *options, GError **error)
{
    if (options->sandbox == VU_SANDBOX_CHROOT) {
        g_set_error_literal(error, VU_OPTION_ERROR, 0,
                            "--sandbox: expected namespace or none, got \"chroot\": there is no "
                            "directory here to be the root");
        return false;
    }
    return true;
}
