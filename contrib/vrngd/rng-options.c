/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of vrngd's options. */
#include "contrib/vrngd/rng-options.h"

#include <string.h>

#include "contrib/vrngd/device.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"

#define GROUP_SOURCE    "Source"
#define GROUP_LIMITS    "Limits"
#define GROUP_DEVICE    "Device"
#define GROUP_ISOLATION "Isolation"
#define FIELD(member)   .offset = offsetof(struct rng_options, member)
#define SOURCE_DEFAULT  "getrandom"
#define PERIOD_MAX_MS   65536 /* QEMU's, and the default there too */
#define MIN_ENTROPY     1.0   /* bits of a byte: enough to notice that a source is dead */
#define MAX_ENTROPY     8.0
#define LEAST_ENTROPY   0.1

static const char *const options_health[] = {
    [RNG_HEALTH_AUTO] = "auto",
    [RNG_HEALTH_ON] = "on",
    [RNG_HEALTH_OFF] = "off",
    NULL,
};

static bool options_fail(GError **error, const char *message)
{
    g_set_error_literal(error, VU_OPTION_ERROR, 0, message);
    return false;
}

/* --- values --- */

static const struct options_bytes {
    const char *name;
    size_t offset;
} options_bytes[] = {
    {"max-bytes", offsetof(struct rng_options, max_bytes)},
    {"total-max-bytes", offsetof(struct rng_options, total_max_bytes)},
};

/* A number of bytes, with K, M or G behind it where that is shorter. */
static bool options_parse_bytes(void *target, const char *name, const char *value, GError **error)
{
    static const char suffixes[] = "KMG";
    char *end;
    uint64_t number = g_ascii_strtoull(value, &end, 10);
    const char *suffix = *end != '\0' ? strchr(suffixes, g_ascii_toupper(*end)) : NULL;
    unsigned shift = suffix ? 10 * (unsigned)(suffix - suffixes + 1) : 0;

    if (g_ascii_isdigit(value[0]) && number > 0 && number <= ((uint64_t)INT64_MAX >> shift) &&
        end[suffix ? 1 : 0] == '\0') {
        for (size_t i = 0; i < G_N_ELEMENTS(options_bytes); i++)
            if (strcmp(options_bytes[i].name, name) == 0)
                *(uint64_t *)((char *)target + options_bytes[i].offset) = number << shift;
        return true;
    }
    g_set_error(error, VU_OPTION_ERROR, 0,
                "expected a number of bytes such as 4096 or 1M, got \"%s\"", value);
    return false;
}

static bool options_parse_entropy(void *target, const char *name, const char *value, GError **error)
{
    struct rng_options *options = target;
    char *end;
    double bits = g_ascii_strtod(value, &end);

    if (end == value || *end != '\0' || !(bits >= LEAST_ENTROPY && bits <= MAX_ENTROPY)) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected bits of a byte, 0.1 to 8, got \"%s\"",
                    value);
        return false;
    }
    options->min_entropy = bits;
    return true;
}

static bool options_parse_socket(void *target, const char *name, const char *value, GError **error)
{
    vu_daemon_add_socket_path(target, value);
    return true;
}

/* --- rows --- */

/* clang-format off */
static const struct vu_option options_rows[] = {
    {.name = "source", .is_long = true, .type = VU_OPTION_STRING, FIELD(source),
     .metavar = "SOURCE", .group = GROUP_SOURCE,
     .help = "Where random bytes come from. getrandom: the host's kernel (the default). PATH: a character "
             "device such as /dev/hwrng, a FIFO, or a file, which is read once. egd:HOST:PORT or "
             "egd:unix:PATH: a server that speaks EGD (PATH may be an abstract @NAME); egd-poll: "
             "instead of egd: takes what the server has at once, and asks again a second later."},

    {.name = "filename", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     FIELD(source), .metavar = "PATH", .group = GROUP_SOURCE,
     .help = "The same as --source, as vhost-device-rng has it."},
    {.name = "rng-source", .is_long = true, .type = VU_OPTION_STRING, FIELD(source),
     .metavar = "PATH", .group = GROUP_SOURCE},
    {.name = "health", .is_long = true, .type = VU_OPTION_CHOICE, FIELD(health),
     .choices = options_health, .group = GROUP_SOURCE,
     .help = "Test what the source gives while it is used, and before, by the two tests of NIST SP "
             "800-90B for noise sources; one that fails is not used. auto (the default): where it is "
             "raw, as /dev/hwrng is."},
    {.name = "min-entropy", .is_long = true, .type = VU_OPTION_CALL, .parse = options_parse_entropy,
     .metavar = "BITS", .group = GROUP_SOURCE,
     .help = "For these tests: the min-entropy that is claimed for each byte, 0.1 to 8 bits. The "
             "tests raise an alarm where a source that keeps the claim would do so in one of 2^20 "
             "bytes (or windows of 512). Default: 1, which notices a source that is dead."},

    {.name = "max-bytes", .short_name = 'm', .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_bytes, .metavar = "N", .group = GROUP_LIMITS,
     .help = "Most bytes for each device in a period. Default: no limit."},
    {.name = "period", .short_name = 'p', .is_long = true, .type = VU_OPTION_INT,
     FIELD(period_ms), .min = 1, .max = PERIOD_MAX_MS, .metavar = "MS", .group = GROUP_LIMITS,
     .help = "Milliseconds of a period, at most 65536 (the default). What is not used in one is "
             "lost."},
    {.name = "total-max-bytes", .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_bytes, .metavar = "N", .group = GROUP_LIMITS,
     .help = "Most bytes for all devices and EGD clients together in a period; those that wait get "
             "equal shares. Default: no limit."},

    {.name = "socket-count", .short_name = 'c', .is_long = true, .type = VU_OPTION_INT,
     FIELD(socket_count), .min = 1, .max = VU_DAEMON_MAX_DEVICES, .metavar = "N",
     .group = GROUP_DEVICE,
     .help = "Make N sockets, a device each, at --socket-path with 0, 1, ... behind it, and divide "
             "--max-bytes among them, as vhost-device-rng does."},
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
    *options = (struct rng_options){
        .source = g_strdup(SOURCE_DEFAULT),
        .min_entropy = MIN_ENTROPY,
        .period_ms = PERIOD_MAX_MS,
        .num_queues = 1,
    };
}

void rng_options_clear(struct rng_options *options)
{
    g_clear_pointer(&options->source, g_free);
}

struct vu_option_table rng_options_table(struct rng_options *options)
{
    return (struct vu_option_table){options_rows, G_N_ELEMENTS(options_rows), options};
}

static const struct vu_option options_daemon_rows[] = {
    {.name = "socket-path",
     .short_name = 's',
     .type = VU_OPTION_CALL,
     .parse = options_parse_socket,
     .metavar = "PATH"},
};

struct vu_option_table rng_options_daemon_table(struct vu_daemon_options *daemon)
{
    return (struct vu_option_table){options_daemon_rows, G_N_ELEMENTS(options_daemon_rows), daemon};
}

/* PATH0, PATH1, ... */
static bool options_count_sockets(struct rng_options *options, struct vu_daemon_options *daemon,
                                  GError **error)
{
    uint64_t n = (uint64_t)options->socket_count;
    g_autofree char *path = NULL;

    if (!daemon->socket_paths || daemon->socket_paths->len != 1)
        return options_fail(error, "--socket-count: expected one --socket-path with it");
    path = g_strdup(daemon->socket_path);
    g_ptr_array_set_size(daemon->socket_paths, 0);
    for (uint64_t i = 0; i < n; i++)
        g_ptr_array_add(daemon->socket_paths, g_strdup_printf("%s%" G_GUINT64_FORMAT, path, i));
    if (options->max_bytes > 0)
        options->max_bytes = MAX(options->max_bytes / n, 1);
    return true;
}

bool rng_options_check(struct rng_options *options, struct vu_daemon_options *daemon,
                       GError **error)
{
    if (options->sandbox == VU_SANDBOX_CHROOT)
        return options_fail(error,
                            "--sandbox: expected namespace or none, got \"chroot\": there is "
                            "no directory here to be the root");
    return options->socket_count == 0 || options_count_sockets(options, daemon, error);
}
