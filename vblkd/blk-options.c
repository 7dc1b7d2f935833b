/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of vblkd's options, and what they come to. */
#include "vblkd/blk-options.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"
#include "vhost-user/log.h"

#define GROUP_IMAGE       "Image"
#define GROUP_DEVICE      "Device"
#define GROUP_ISOLATION   "Isolation"
#define FIELD(member)     .offset = offsetof(struct blk_options, member)
#define MAX_QUEUE_SIZE    1024
#define MAX_BLOCK_SIZE    65536
#define QUEUE_SIZE        128 /* as QEMU's front-end has it */
#define MAX_LOGICAL_BLOCK 4096

static const char *const options_formats[] = {"raw", "qcow2", NULL};
#define FORMAT_DEFAULT "raw"

static const char *const options_discard[] = {"unmap", "ignore", NULL};
static const char *const options_detect[] = {"off", "on", "unmap", NULL};
static const char *const options_fixed_buffers[] = {
    [BLK_FIXED_BUFFERS_AUTO] = "auto",
    [BLK_FIXED_BUFFERS_ON] = "on",
    [BLK_FIXED_BUFFERS_OFF] = "off",
    NULL,
};

static bool options_fail(GError **error, const char *message)
{
    g_set_error_literal(error, VU_OPTION_ERROR, 0, message);
    return false;
}

/* --- values of QEMU's kind --- */

/* on or off, nothing meaning on; where each name's value goes. */
static const struct options_switch {
    const char *name;
    size_t offset;
} options_switches[] = {
    {"read-only", offsetof(struct blk_options, read_only)},
    {"readonly", offsetof(struct blk_options, read_only)},
    {"backing", offsetof(struct blk_options, backing)},
    {"locking", offsetof(struct blk_options, locking)},
    {"in-order", offsetof(struct blk_options, in_order)},
};

static bool options_parse_switch(void *target, const char *name, const char *value, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(options_switches); i++) {
        bool *field = (bool *)((char *)target + options_switches[i].offset);

        if (strcmp(options_switches[i].name, name) != 0)
            continue;
        if (!value || strcmp(value, "on") == 0)
            *field = true;
        else if (strcmp(value, "off") == 0)
            *field = false;
        else
            break;
        return true;
    }
    g_set_error(error, VU_OPTION_ERROR, 0, "expected on or off, got \"%s\"", value ? value : "");
    return false;
}

static const struct options_size {
    const char *name;
    size_t offset;
} options_sizes[] = {
    {"cache-size", offsetof(struct blk_options, cache_size)},
    {"l2-cache-size", offsetof(struct blk_options, l2_cache_size)},
    {"refcount-cache-size", offsetof(struct blk_options, refcount_cache_size)},
    {"iops", offsetof(struct blk_options, limits.iops)},
    {"bps", offsetof(struct blk_options, limits.bps)},
    {"iops-max", offsetof(struct blk_options, limits.iops_burst)},
    {"bps-max", offsetof(struct blk_options, limits.bps_burst)},
};

/* Bytes, with a suffix of K, M, G or T. */
static bool options_read_size(const char *text, uint64_t *ret_size)
{
    static const char suffixes[] = "KMGT";
    const char *suffix;
    char *end;
    uint64_t size = g_ascii_strtoull(text, &end, 10);
    unsigned shift = 0;

    if (end == text || !g_ascii_isdigit(text[0]))
        return false;
    if (*end != '\0') {
        suffix = strchr(suffixes, g_ascii_toupper(*end));
        if (!suffix || end[1] != '\0')
            return false;
        shift = 10 * (unsigned)(suffix - suffixes + 1);
    }
    if (size > (UINT64_MAX >> shift))
        return false;
    *ret_size = size << shift;
    return true;
}

static bool options_parse_size(void *target, const char *name, const char *value, GError **error)
{
    for (size_t i = 0; i < G_N_ELEMENTS(options_sizes); i++) {
        if (strcmp(options_sizes[i].name, name) == 0 &&
            options_read_size(value, (uint64_t *)((char *)target + options_sizes[i].offset)))
            return true;
    }
    g_set_error(error, VU_OPTION_ERROR, 0, "expected a size such as 16M, got \"%s\"", value);
    return false;
}

static bool options_parse_discard(void *target, const char *name, const char *value, GError **error)
{
    struct blk_options *options = target;
    bool is_ignored = strcmp(value, "ignore") == 0 || strcmp(value, "off") == 0;

    if (!is_ignored && strcmp(value, "unmap") != 0 && strcmp(value, "on") != 0) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected unmap or ignore, got \"%s\"", value);
        return false;
    }
    options->discard_ignored = is_ignored;
    return true;
}

/* --- rows --- */

/* clang-format off */
static const struct vu_option options_rows[] = {
    {.name = "blk-file", .is_long = true, .type = VU_OPTION_STRING, FIELD(file),
     .metavar = "IMAGE", .group = GROUP_IMAGE,
     .help = "The disk image or block device to serve."},
    {.name = "file", .in_o_list = true, .type = VU_OPTION_STRING, FIELD(file), .metavar = "IMAGE",
     .group = GROUP_IMAGE, .help = "The same as --blk-file."},
    {.name = "format", .in_o_list = true, .is_long = true, .type = VU_OPTION_CHOICE, FIELD(format),
     .choices = options_formats, .group = GROUP_IMAGE,
     .help = "The image's format. Default: raw. It is never guessed: a guest can write the beginning "
             "of a raw disk, and make it look like anything."},
    {.name = "read-only", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .value_optional = true, .parse = options_parse_switch, .metavar = "on|off",
     .group = GROUP_IMAGE, .help = "The guest cannot write, and the image is opened so."},
    {.name = "readonly", .in_o_list = true, .type = VU_OPTION_CALL, .value_optional = true,
     .parse = options_parse_switch, .metavar = "on|off", .group = GROUP_IMAGE},
    {.name = "cache", .in_o_list = true, .is_long = true, .type = VU_OPTION_CHOICE, FIELD(cache),
     .choices = vblk_caches, .group = GROUP_IMAGE,
     .help = "writeback: the host's page cache is used, and the guest's flushes make durable (the "
             "default). none: likewise without the page cache (O_DIRECT). writethrough, directsync: "
             "the same two, with each write durable when it is done. unsafe: flushes are ignored, "
             "and a crash of the host may cost the image."},
    {.name = "aio", .in_o_list = true, .is_long = true, .type = VU_OPTION_CHOICE, FIELD(aio),
     .choices = vblk_aio_kinds, .group = GROUP_IMAGE,
     .help = "How the host's files are read and written. Default: io_uring, or threads where the "
             "kernel does not allow that. native needs cache=none or directsync."},
    {.name = "discard", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_discard, .choices = options_discard, .metavar = "unmap|ignore",
     .group = GROUP_IMAGE,
     .help = "unmap: what the guest discards gives its space back (the default). ignore: the guest is "
             "not offered to discard."},
    {.name = "detect-zeroes", .in_o_list = true, .is_long = true, .type = VU_OPTION_CHOICE,
     FIELD(detect_zeroes), .choices = options_detect, .group = GROUP_IMAGE,
     .help = "Store writes of nothing but zeros as zeros: off (the default), on, or unmap, which "
             "gives their space back (not with discard=ignore)."},
    {.name = "backing", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .value_optional = true, .parse = options_parse_switch, .metavar = "on|off",
     .group = GROUP_IMAGE,
     .help = "Open the backing and data files that a qcow2 image names. Default: off, and an image "
             "that needs them is refused: whoever made it chose the names."},
    {.name = "locking", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .value_optional = true, .parse = options_parse_switch, .metavar = "on|off",
     .group = GROUP_IMAGE,
     .help = "Lock the image against other users, in QEMU's way. Default: on."},
    {.name = "cache-size", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_size, .metavar = "SIZE", .group = GROUP_IMAGE,
     .help = "Most memory for qcow2 metadata, such as 16M. Default: enough for the disk, up to 32M for L2 tables and 8M for "
             "reference counts."},
    {.name = "l2-cache-size", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_size, .metavar = "SIZE", .group = GROUP_IMAGE,
     .help = "The part of it for L2 tables; reference counts get the rest of --cache-size."},
    {.name = "refcount-cache-size", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_size, .metavar = "SIZE", .group = GROUP_IMAGE,
     .help = "The part of it for reference counts; L2 tables get the rest. Default: a quarter of "
             "--cache-size."},

    {.name = "journal", .in_o_list = true, .is_long = true, .type = VU_OPTION_STRING,
     FIELD(journal), .metavar = "FILE|none", .group = GROUP_IMAGE,
     .help = "Where to note changes of a qcow2 image that are not on the disk yet, so that a daemon "
             "that is killed loses nothing the guest was told is written: the next one, started "
             "with the same, makes them again. With another image it does not start as long as the "
             "first one waits for its changes. Others must not be able to write it. Default: SOCKET-PATH.journal. Beside it, with .guest at the end, is whether the guest switched "
             "its write cache off. Without a place for it (--fd alone), and where the image is of "
             "version 2, metadata is written before a write is acknowledged instead, which is "
             "slower, unless this is none."},

    {.name = "serial", .in_o_list = true, .is_long = true, .type = VU_OPTION_STRING, FIELD(serial),
     .metavar = "TEXT", .group = GROUP_DEVICE,
     .help = "What the guest reads as the disk's serial number, at most 20 bytes."},
    {.name = "num-queues", .in_o_list = true, .is_long = true, .type = VU_OPTION_INT,
     FIELD(num_queues), .min = 1, .max = VBLK_MAX_QUEUES, .metavar = "N", .group = GROUP_DEVICE,
     .help = "Most queues a guest may use. Default: as many as the front-end likes; one for each of "
             "the host's CPUs is what those are told that ask."},
    {.name = "queue-size", .in_o_list = true, .is_long = true, .type = VU_OPTION_INT,
     FIELD(queue_size), .min = 4, .max = MAX_QUEUE_SIZE, .metavar = "N", .group = GROUP_DEVICE,
     .help = "Entries of the front-end's queues: two less are the segments a request may have. "
             "Default: 128."},
    {.name = "logical_block_size", .in_o_list = true, .is_long = true, .type = VU_OPTION_INT,
     FIELD(logical_block_size), .min = BLK_SECTOR, .max = MAX_LOGICAL_BLOCK, .metavar = "BYTES",
     .group = GROUP_DEVICE,
     .help = "The guest's smallest unit. Default: 512, or more where cache=none asks for it."},
    {.name = "physical_block_size", .in_o_list = true, .is_long = true, .type = VU_OPTION_INT,
     FIELD(physical_block_size), .min = BLK_SECTOR, .max = MAX_BLOCK_SIZE, .metavar = "BYTES",
     .group = GROUP_DEVICE, .help = "The unit that is best. Default: the storage's."},
    {.name = "in-order", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .value_optional = true, .parse = options_parse_switch, .metavar = "on|off",
     .group = GROUP_DEVICE,
     .help = "Offer to complete requests in their order, which one slow request then holds up. "
             "Default: off."},
    {.name = "fixed-buffers", .in_o_list = true, .is_long = true, .type = VU_OPTION_CHOICE,
     FIELD(fixed_buffers), .choices = options_fixed_buffers, .group = GROUP_DEVICE,
     .help = "With aio=io_uring, have the kernel pin all of the guest's memory, so that it need not "
             "look for the pages of each request: a fifth less CPU time past the page cache. "
             "Memory that is pinned cannot be swapped, shared or given back. auto (the default): "
             "where no limit is set to locked memory (ulimit -l, LimitMEMLOCK=infinity). on: where "
             "the limit has room for it, once for each queue; the log says where it has not."},
    {.name = "iops", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_size, .metavar = "N", .group = GROUP_DEVICE,
     .help = "Most requests a second, over all queues; flushes do not count. Default: no limit."},
    {.name = "iops-max", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_size, .metavar = "N", .group = GROUP_DEVICE,
     .help = "Requests that may come at once after a pause. Default: those of a tenth of a second."},
    {.name = "bps", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_size, .metavar = "BYTES", .group = GROUP_DEVICE,
     .help = "Most bytes read and written a second, such as 100M. Default: no limit."},
    {.name = "bps-max", .in_o_list = true, .is_long = true, .type = VU_OPTION_CALL,
     .parse = options_parse_size, .metavar = "BYTES", .group = GROUP_DEVICE,
     .help = "The same burst of them."},

    {.name = "sandbox", .in_o_list = true, .is_long = true, .type = VU_OPTION_CHOICE,
     FIELD(sandbox), .choices = vu_sandbox_modes, .group = GROUP_ISOLATION,
     .help = "namespace: work in namespaces of its own, with an empty root directory (the default). "
             "none: the host's. The image is opened before. There is no chroot here."},
    {.name = "seccomp", .in_o_list = true, .is_long = true, .type = VU_OPTION_CHOICE,
     FIELD(seccomp), .choices = vu_seccomp_modes, .group = GROUP_ISOLATION,
     .help = "What happens on a system call that serving does not take: kill the daemon (the "
             "default), trap (SIGSYS), log it, or none: no filter."},
};
/* clang-format on */

void blk_options_init(struct blk_options *options)
{
    *options = (struct blk_options){
        .format = BLK_FORMAT_UNSAID,
        .aio = BLK_AIO_AUTO,
        .locking = true,
        .queue_size = QUEUE_SIZE,
    };
}

void blk_options_clear(struct blk_options *options)
{
    g_clear_pointer(&options->file, g_free);
    g_clear_pointer(&options->serial, g_free);
    g_clear_pointer(&options->journal, g_free);
}

struct vu_option_table blk_options_table(struct blk_options *options)
{
    return (struct vu_option_table){
        .rows = options_rows,
        .n_rows = G_N_ELEMENTS(options_rows),
        .target = options,
    };
}

static bool options_is_block_size(int size)
{
    return (size & (size - 1)) == 0; /* 0 too: the default */
}

/* As QEMU has it: two of the three say what the third is. */
static bool options_check_caches(const struct blk_options *options, GError **error)
{
    if (options->cache_size == 0)
        return true;
    if (options->l2_cache_size > options->cache_size)
        return options_fail(error,
                            "--l2-cache-size is more than --cache-size, a part of which it is");
    if (options->refcount_cache_size > options->cache_size)
        return options_fail(
            error, "--refcount-cache-size is more than --cache-size, a part of which it is");
    if (options->l2_cache_size > 0 && options->refcount_cache_size > 0)
        return options_fail(error,
                            "--cache-size, --l2-cache-size and --refcount-cache-size exclude "
                            "each other: two say what the third is");
    return true;
}

bool blk_options_check(const struct blk_options *options, GError **error)
{
    if (!options->file)
        return options_fail(error, "no image; use --blk-file=IMAGE");
    if (options->serial && strlen(options->serial) > BLK_ID_LEN)
        return options_fail(error, "--serial: more than 20 bytes");
    if (!options_is_block_size(options->logical_block_size))
        return options_fail(error, "--logical_block_size: expected a power of two");
    if (!options_is_block_size(options->physical_block_size))
        return options_fail(error, "--physical_block_size: expected a power of two");
    if (options->aio == VBLK_AIO_NATIVE && !vblk_cache_is_direct((enum vblk_cache)options->cache))
        return options_fail(error,
                            "--aio=native needs --cache=none or --cache=directsync: with the "
                            "page cache the kernel would make the queue wait for the disk; "
                            "--aio=io_uring and --aio=threads work with any");
    if (!options_check_caches(options, error))
        return false;
    if (options->sandbox == VU_SANDBOX_CHROOT)
        return options_fail(error,
                            "--sandbox: expected namespace or none, got \"chroot\": there is "
                            "no directory here to be the root");
    return true;
}

static const char *options_format(const struct blk_options *options)
{
    return options->format == BLK_FORMAT_UNSAID ? FORMAT_DEFAULT : options_formats[options->format];
}

struct vblk_image_options blk_options_image(const struct blk_options *options)
{
    return (struct vblk_image_options){
        .storage = {.cache = (enum vblk_cache)options->cache,
                    .read_only = options->read_only,
                    .take_locks = options->locking},
        .format = options_format(options),
        .allow_backing = options->backing,
        .cache_size = options->cache_size,
        .l2_cache_size = options->l2_cache_size,
        .refcount_cache_size = options->refcount_cache_size,
        .discard_in_format = !options->discard_ignored,
    };
}

const char *blk_options_journal(const struct blk_options *options, bool has_control)
{
    bool is_raw = strcmp(options_format(options), "raw") == 0;

    return (is_raw && !has_control) || options->read_only ? "none" : options->journal;
}

const char *blk_options_choice(const struct blk_options *options)
{
    bool has_cache = !vblk_cache_is_writethrough((enum vblk_cache)options->cache);

    return options->read_only || !has_cache ? "none" : options->journal;
}

/* The best engine there is, unless one is asked for. */
static enum vblk_aio_kind options_aio(const struct blk_options *options)
{
    struct vblk_aio *aio;
    int err;

    if (options->aio != BLK_AIO_AUTO)
        return (enum vblk_aio_kind)options->aio;
    err = vblk_aio_create(VBLK_AIO_URING, 1, &aio);
    if (err == 0) {
        vblk_aio_destroy(aio);
        return VBLK_AIO_URING;
    }
    vu_info("vblkd: no io_uring here (%s), threads read and write", g_strerror(-err));
    return VBLK_AIO_THREADS;
}

/* Bytes that may be locked in memory; UINT64_MAX: any number. */
static uint64_t options_pin_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        return 0;
    return limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
}

/* A limit counts for all processes of the user: what is pinned might be missing elsewhere. */
static bool options_pins(const struct blk_options *options)
{
    if (options->fixed_buffers != BLK_FIXED_BUFFERS_AUTO)
        return options->fixed_buffers == BLK_FIXED_BUFFERS_ON;
    return options_pin_limit() == UINT64_MAX;
}

struct blk_device_options blk_options_device(const struct blk_options *options)
{
    return (struct blk_device_options){
        .serial = options->serial,
        .aio = options_aio(options),
        .num_queues = (unsigned)options->num_queues,
        .queue_size = (unsigned)options->queue_size,
        .logical_block_size = (uint32_t)options->logical_block_size,
        .physical_block_size = (uint32_t)options->physical_block_size,
        .discard = !options->discard_ignored,
        .in_order = options->in_order,
        .pins_memory = options_pins(options),
        .pin_limit = options_pin_limit(),
        .limits = options->limits,
        .detect_zeroes = (enum blk_detect_zeroes)options->detect_zeroes,
    };
}
