/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vu-bench: a driver without a guest, to measure vhost-user back-ends. `vu-bench fs` drives any
 * virtiofsd on a socket, `vu-bench blk` any virtio-blk back-end, `vu-bench rng` any of virtio-rng;
 * each prints a tab-separated row for each workload and depth. `vu-bench wake` drives nothing, and
 * prints one of what all of them pay.
 *
 *   workload  depth  ops/s  MiB/s  p50 us  p99 us  CPU us/op of the daemon (--pid)  resident KiB
 *   system calls/op  rng: bytes that came
 */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bench-blk.h"
#include "bench-fs-count.h"
#include "bench-rng.h"
#include "bench-stats.h"
#include "bench-wake.h"
#include "vhost-user/daemon/options.h"
#include "vhost-user/frontend.h"

#define BENCH_USAGE      "vu-bench fs|blk|rng --socket-path=PATH [OPTION]... or vu-bench wake [--ms=N]"
#define BENCH_RING_SIZE  1024
#define BENCH_MAX_QUEUES 16
#define BENCH_MAX_DEPTH  256
#define BENCH_MIN_BLOCK  512
#define BENCH_MAX_BLOCK  (1u << 20)
#define BENCH_MAX_FIRST  1 /* queues before the first that carries requests */
#define BENCH_SHMEM_LEN  (UINT64_C(1) << 30)
#define BENCH_MARGIN     8192 /* bytes of a slot's buffers beside the data */

struct bench_options {
    char *socket_path, *workloads, *depths, *blocks;
    int pid, queues, ms, segment, uid, size_mib, batch;
    bool packed, poll, count, help;
};

#define BENCH_FIELD(field) .group = "Options", .offset = offsetof(struct bench_options, field)

static const struct vu_option bench_option_rows[] = {
    {.name = "socket-path",
     .is_long = true,
     .type = VU_OPTION_STRING,
     BENCH_FIELD(socket_path),
     .metavar = "PATH",
     .help = "The back-end's socket."},
    {.name = "workloads",
     .is_long = true,
     .type = VU_OPTION_STRING,
     BENCH_FIELD(workloads),
     .metavar = "LIST",
     .help = "fs: of lookup, getattr, open, create, readdirplus, read, write, seqread, "
             "seqwrite. blk: of read, write, mixed (70% reads), seqread, seqwrite, flush, discard; "
             "those that write destroy what the disk holds. rng: read. All by default."},
    {.name = "depth",
     .is_long = true,
     .type = VU_OPTION_STRING,
     BENCH_FIELD(depths),
     .metavar = "LIST",
     .help = "Requests in flight on each queue (default 1,32)."},
    {.name = "block",
     .is_long = true,
     .type = VU_OPTION_STRING,
     BENCH_FIELD(blocks),
     .metavar = "LIST",
     .help = "Bytes of each read and write (default 4096,131072,1048576)."},
    {.name = "queues",
     .is_long = true,
     .type = VU_OPTION_INT,
     BENCH_FIELD(queues),
     .min = 1,
     .max = BENCH_MAX_QUEUES,
     .metavar = "N",
     .help = "Request queues, one thread each (default 1)."},
    {.name = "ms",
     .is_long = true,
     .type = VU_OPTION_INT,
     BENCH_FIELD(ms),
     .min = 1,
     .max = 600000,
     .metavar = "N",
     .help = "Milliseconds for each row (default 1000)."},
    {.name = "batch",
     .is_long = true,
     .type = VU_OPTION_INT,
     BENCH_FIELD(batch),
     .min = 1,
     .max = BENCH_MAX_DEPTH,
     .metavar = "N",
     .help = "Requests that are sent before the driver kicks, as far as there are so many answers "
             "(default 1, as a guest does whose program submits one by one)."},
    {.name = "segment",
     .is_long = true,
     .type = VU_OPTION_INT,
     BENCH_FIELD(segment),
     .min = 4096,
     .max = BENCH_MAX_BLOCK,
     .metavar = "BYTES",
     .help = "Longest range of one descriptor (default 4096: scattered pages)."},
    {.name = "uid",
     .is_long = true,
     .type = VU_OPTION_INT,
     BENCH_FIELD(uid),
     .max = 65535,
     .metavar = "N",
     .help = "The guest's user and group (default 0)."},
    {.name = "size-mib",
     .is_long = true,
     .type = VU_OPTION_INT,
     BENCH_FIELD(size_mib),
     .min = 1,
     .max = 1 << 30,
     .metavar = "N",
     .help = "blk: use only the first N MiB of the disk."},
    {.name = "pid",
     .is_long = true,
     .type = VU_OPTION_INT,
     BENCH_FIELD(pid),
     .min = 1,
     .max = 1 << 22,
     .metavar = "N",
     .help = "The daemon's process, to measure its CPU time and memory."},
    {.name = "packed",
     .is_long = true,
     .type = VU_OPTION_FLAG,
     BENCH_FIELD(packed),
     .help = "Packed rings, where the back-end has them."},
    {.name = "poll",
     .is_long = true,
     .type = VU_OPTION_FLAG,
     BENCH_FIELD(poll),
     .help = "Spin for answers instead of sleeping, as a polling driver does."},
    {.name = "count",
     .is_long = true,
     .type = VU_OPTION_FLAG,
     BENCH_FIELD(count),
     .help = "Count the system calls of --pid for each kind of request, and measure nothing."},
    {.name = "help",
     .short_name = 'h',
     .is_long = true,
     .type = VU_OPTION_FLAG,
     BENCH_FIELD(help),
     .help = "Print this text."},
};

struct bench_session;

/* What is measured. */
struct bench_device {
    const char *name;
    unsigned first_queue; /* that carries requests */
    uint64_t features, protocol_features;
    const struct bench_named_workload *workloads;
    const unsigned *n_workloads;
    int (*run)(struct bench_session *session);
};

struct bench_session {
    const struct bench_options *options;
    const struct bench_device *device;
    struct vu_shmem shmem;
    struct vu_frontend *frontend;
    struct vu_driver *queues[BENCH_MAX_FIRST + BENCH_MAX_QUEUES];
};

/* A workload, and what it takes to run it. */
struct bench_job {
    struct bench_session *session;
    const struct bench_named_workload *workload;
    void *context;
    uint32_t block, min_block, max_block;
    /* Before each row: so many bytes a block. */
    void (*set_block)(const struct bench_job *job);
    uint64_t *n_bytes; /* of a row, where its blocks do not tell; NULL: they do */
};

static int bench_session_open(struct bench_session *session)
{
    const struct bench_options *options = session->options;
    const struct bench_device *device = session->device;
    struct vu_frontend_config config = {
        .name = "vu-bench",
        .features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_RING_EVENT_IDX) |
                    VU_BIT(VU_F_RING_INDIRECT_DESC) | VU_BIT(VU_F_PROTOCOL_FEATURES) |
                    device->features | (options->packed ? VU_BIT(VU_F_RING_PACKED) : 0),
        .protocol_features = VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_REPLY_ACK) | device->protocol_features,
    };
    unsigned n = device->first_queue + (unsigned)options->queues;
    int ret = vu_shmem_add(&session->shmem, 0, BENCH_SHMEM_LEN);

    session->frontend = vu_frontend_create(&config);
    if (ret == 0)
        ret = vu_frontend_connect(session->frontend, options->socket_path, 5000);
    if (ret)
        return ret;
    uint64_t features = vu_frontend_features(session->frontend);

    if (options->packed && !vu_has(features, VU_F_RING_PACKED))
        return -ENOTSUP;
    ret = vu_frontend_set_features(session->frontend, features);
    if (ret == 0)
        ret = vu_frontend_set_memory(session->frontend, &session->shmem);
    for (unsigned i = 0; i < n && ret == 0; i++) {
        struct vu_driver_config queue = {
            .index = i,
            .num = BENCH_RING_SIZE,
            .features = features,
            .indirect_max = i >= device->first_queue ? BENCH_SG_MAX : 0,
        };

        ret = vu_driver_create(&session->shmem, &queue, &session->queues[i]);
        if (ret == 0)
            ret = vu_frontend_start_driver(session->frontend, session->queues[i]);
    }
    return ret;
}

static void bench_session_close(struct bench_session *session)
{
    vu_frontend_destroy(session->frontend);
    for (unsigned i = 0; i < G_N_ELEMENTS(session->queues); i++)
        vu_driver_destroy(session->queues[i]);
    vu_shmem_clear(&session->shmem);
}

/* What all rows have. */
static void bench_print_result(const char *name, unsigned depth, double bytes_per_op,
                               const struct bench_result *result)
{
    printf("%s\t%u\t%.0f\t%.1f\t%.1f\t%.1f\t%.2f\t%ld\t%.2f", name, depth, result->ops_per_s,
           result->ops_per_s * bytes_per_op / 1048576, result->p50_us, result->p99_us,
           result->cpu_us_per_op, result->rss_kib, result->calls_per_op);
}

static int bench_run_row(const struct bench_job *job, unsigned depth)
{
    const struct bench_options *options = job->session->options;
    const char *workload = job->workload->name;
    uint32_t block = job->workload->data ? job->block : 0;
    struct bench_run run = {
        .queues = job->session->queues + job->session->device->first_queue,
        .n_queues = (unsigned)options->queues,
        .depth = depth,
        .shmem = &job->session->shmem,
        .out_capacity = block + BENCH_MARGIN,
        .in_capacity = MAX(block, 32768) + BENCH_MARGIN,
        .segment = (uint32_t)options->segment,
        .batch = (unsigned)options->batch,
        .milliseconds = (unsigned)options->ms,
        .poll = options->poll,
        .daemon_pid = options->pid ? bench_process_serving(options->pid) : 0,
    };
    struct bench_result result;
    g_autofree char *name = NULL;
    double bytes_per_op;
    int ret;

    if (block >= 1024)
        name = g_strdup_printf("%s-%uk", workload, block / 1024);
    else if (block > 0)
        name = g_strdup_printf("%s-%u", workload, block);
    else
        name = g_strdup(workload);
    job->set_block(job);
    ret = bench_engine_run(&run, &job->workload->workload, job->context, &result);
    if (ret) {
        fprintf(stderr, "vu-bench: %s at depth %u: %s\n", name, depth, g_strerror(-ret));
        return ret;
    }
    bytes_per_op =
        job->n_bytes && result.n_ops > 0 ? (double)*job->n_bytes / (double)result.n_ops : block;
    bench_print_result(name, depth, bytes_per_op, &result);
    if (job->n_bytes)
        printf("\t%" PRIu64, *job->n_bytes);
    putchar('\n');
    fflush(stdout);
    return 0;
}

static int bench_run_depths(const struct bench_job *job)
{
    g_auto(GStrv) depths = g_strsplit(job->session->options->depths, ",", -1);
    int ret = 0;

    for (char **d = depths; *d && ret == 0; d++) {
        unsigned depth = (unsigned)g_ascii_strtoull(*d, NULL, 10);

        /* What 1 GiB of shared memory and 64 MiB of data hold: beyond that depth means nothing. */
        if (depth < 1 || depth > BENCH_MAX_DEPTH)
            ret = -EINVAL;
        else
            ret = bench_run_row(job, depth);
    }
    return ret;
}

static int bench_run_workload(struct bench_job *job)
{
    g_auto(GStrv) blocks = g_strsplit(job->session->options->blocks, ",", -1);
    int ret = 0;

    if (!job->workload->data)
        return bench_run_depths(job);
    for (char **b = blocks; *b && ret == 0; b++) {
        job->block = (uint32_t)g_ascii_strtoull(*b, NULL, 10);
        if (job->block < MAX(job->min_block, 1) || job->block > BENCH_MAX_BLOCK)
            return -EINVAL;
        /* A back-end that takes less in one request is measured by that. */
        job->block = MIN(job->block, job->max_block);
        ret = bench_run_depths(job);
    }
    return ret;
}

static int bench_run_workloads(struct bench_job *job)
{
    const struct bench_session *session = job->session;
    const struct bench_device *device = session->device;
    g_auto(GStrv) wanted =
        session->options->workloads ? g_strsplit(session->options->workloads, ",", -1) : NULL;
    int ret = 0;

    for (unsigned i = 0; i < *device->n_workloads && ret == 0; i++) {
        job->workload = &device->workloads[i];
        bool has_all = (job->workload->features & ~vu_frontend_features(session->frontend)) == 0;

        if (!wanted && has_all)
            ret = bench_run_workload(job);
        else if (wanted && g_strv_contains((const char *const *)wanted, job->workload->name))
            ret = has_all ? bench_run_workload(job) : -ENOTSUP;
    }
    return ret;
}

/* --- devices --- */

static void bench_set_block_fs(const struct bench_job *job)
{
    struct bench_fs *fs = job->context;

    fs->block = job->block;
    fs->sequential = g_str_has_prefix(job->workload->name, "seq");
}

static int bench_run_fs(struct bench_session *session)
{
    struct bench_fs fs = {
        .queue = session->queues[session->device->first_queue],
        .segment = (uint32_t)session->options->segment,
        .uid = (uint32_t)session->options->uid,
        .gid = (uint32_t)session->options->uid,
    };
    struct bench_job job = {.session = session,
                            .context = &fs,
                            .min_block = BENCH_MIN_BLOCK,
                            .set_block = bench_set_block_fs};
    int ret = bench_slot_alloc(&session->shmem, BENCH_MAX_BLOCK, BENCH_MAX_BLOCK, &fs.slot);

    if (ret == 0)
        ret = bench_fs_open(&fs);
    job.max_block = fs.max_write;
    if (ret == 0 && session->options->count)
        ret = bench_fs_count(&fs, bench_process_serving(session->options->pid));
    else if (ret == 0)
        ret = bench_run_workloads(&job);
    bench_fs_close(&fs);
    return ret;
}

static void bench_set_block_blk(const struct bench_job *job)
{
    ((struct bench_blk *)job->context)->block = job->block;
}

static int bench_run_blk(struct bench_session *session)
{
    struct bench_blk blk;
    struct bench_job job = {
        .session = session,
        .context = &blk,
        .min_block = BENCH_MIN_BLOCK,
        .max_block = BENCH_MAX_BLOCK,
        .set_block = bench_set_block_blk,
    };
    int ret = bench_blk_open(&blk, session->frontend, (uint64_t)session->options->size_mib << 20);

    return ret == 0 ? bench_run_workloads(&job) : ret;
}

static void bench_set_block_rng(const struct bench_job *job)
{
    struct bench_rng *rng = job->context;

    rng->block = job->block;
    rng->n_bytes = 0;
}

static int bench_run_rng(struct bench_session *session)
{
    struct bench_rng rng = {0};
    struct bench_job job = {
        .session = session,
        .context = &rng,
        .max_block = BENCH_MAX_BLOCK,
        .set_block = bench_set_block_rng,
        .n_bytes = &rng.n_bytes,
    };

    return bench_run_workloads(&job);
}

static int bench_run_wake(const struct bench_options *options)
{
    struct bench_result result;
    int ret = bench_wake_run((unsigned)options->ms, &result);

    if (ret) {
        fprintf(stderr, "vu-bench: wake: %s\n", g_strerror(-ret));
        return 1;
    }
    bench_print_result("wake", 1, 0, &result);
    putchar('\n');
    return 0;
}

static const struct bench_device bench_devices[] = {
    {"rng", 0, 0, 0, bench_rng_workloads, &bench_rng_n_workloads, bench_run_rng},
    {"fs", 1, 0, 0, bench_fs_workloads, &bench_fs_n_workloads, bench_run_fs},
    {"blk", 0, BENCH_BLK_FEATURES, VU_BIT(VU_PF_CONFIG), bench_blk_workloads,
     &bench_blk_n_workloads, bench_run_blk},
};

static const struct bench_device *bench_find_device(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(bench_devices); i++)
        if (name && strcmp(bench_devices[i].name, name) == 0)
            return &bench_devices[i];
    return NULL;
}

static void bench_options_clear(struct bench_options *options)
{
    g_free(options->socket_path);
    g_free(options->workloads);
    g_free(options->depths);
    g_free(options->blocks);
}

/* With a back-end: its exit status. */
static int bench_run_device(const struct bench_options *options, const struct bench_device *device)
{
    struct bench_session session = {.options = options, .device = device};
    int ret;

    vu_shmem_init(&session.shmem);
    ret = bench_session_open(&session);
    if (ret == 0)
        ret = device->run(&session);
    if (ret)
        fprintf(stderr, "vu-bench: %s: %s\n", options->socket_path, g_strerror(-ret));
    bench_session_close(&session);
    return ret ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct bench_options options = {.queues = 1, .ms = 1000, .segment = 4096, .batch = 1};
    struct vu_option_table table = {bench_option_rows, G_N_ELEMENTS(bench_option_rows), &options};
    const struct bench_device *device;
    g_autofree char **rest = NULL;
    g_autoptr(GError) error = NULL;
    int ret;

    options.depths = g_strdup("1,32");
    options.blocks = g_strdup("4096,131072,1048576");
    if (!vu_options_parse(&table, 1, argc, argv, &rest, &error)) {
        fprintf(stderr, "vu-bench: %s\n", error->message);
        return 1;
    }
    if (options.help) {
        vu_options_print_help(&table, 1, BENCH_USAGE);
        return 0;
    }
    if (g_strcmp0(rest[0], "wake") == 0 && !rest[1])
        return bench_run_wake(&options);
    device = bench_find_device(rest[0]);
    if (!device || rest[1] || !options.socket_path) {
        fprintf(stderr, "vu-bench: expected: " BENCH_USAGE "\n");
        return 1;
    }
    if (options.count && (!options.pid || device->run != bench_run_fs)) {
        fprintf(stderr, "vu-bench: --count is of fs, and takes --pid\n");
        return 1;
    }
    ret = bench_run_device(&options, device);
    bench_options_clear(&options);
    return ret;
}
