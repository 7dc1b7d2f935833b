/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vblk-img bench: reads or writes of one size, so many at a time, by one of vblkd's engines and in
 * one thread. What the image cannot say at once where it lies is done by a call that waits.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vblkd/aio/aio.h"
#include "vblkd/img/commands.h"
#include "vblkd/img/open-image.h"
#include "vblkd/img/size.h"

#define BENCH_COUNT     75000 /* where nobody said how many */
#define BENCH_DEPTH     64    /* likewise */
#define BENCH_LEN       4096  /* likewise */
#define BENCH_MAX_DEPTH 65536
#define BENCH_MEM_ALIGN 4096

struct bench_options {
    char *format, *cache;
    int count, depth, pattern, flush_interval;
    int aio; /* of bench_aios */
    bool has_count, no_drain, native, quiet, write, force_share, has_len;
    uint64_t offset, len, step;
};

static const char *const bench_aios[] = {"auto", "native", "io_uring", "threads", NULL};
enum { BENCH_AIO_AUTO };

struct bench;

struct bench_request {
    struct vblk_io io; /* first */
    struct bench *bench;
    struct iovec iov;
    unsigned ticket;
    struct bench_request *next_free;
};

struct bench {
    const struct bench_options *options;
    struct vblk_image *image;
    struct vblk_aio *aio;
    struct bench_request *requests, *free_requests;
    uint8_t *buf; /* len for each request */
    uint64_t len, step, offset;
    int n_sent, n_done, result;
};

#define BENCH_OFFSET(field) offsetof(struct bench_options, field)
#define BENCH_GROUP         "bench"

static bool bench_parse_size(void *target, const char *name, const char *value, GError **error)
{
    struct bench_options *options = target;
    uint64_t *field = &options->len;

    if (strcmp(name, "offset") == 0)
        field = &options->offset;
    else if (strcmp(name, "step-size") == 0)
        field = &options->step;
    else
        options->has_len = true;
    if (!img_size_parse(value, field, error))
        return false;
    if (field != &options->len || *field <= VBLK_REQUEST_MAX)
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0, "expected at most 1G, got \"%s\"", value);
    return false;
}

static bool bench_parse_count(void *target, const char *name, const char *value, GError **error)
{
    struct bench_options *options = target;
    char *end;
    long count;

    errno = 0;
    count = strtol(value, &end, 0);
    options->has_count = errno == 0 && end > value && *end == '\0' && count >= 0;
    if (options->has_count && count <= INT32_MAX) {
        options->count = (int)count;
        return true;
    }
    g_set_error(error, VU_OPTION_ERROR, 0, "expected a number up to 2147483647, got \"%s\"", value);
    return false;
}

/* clang-format off */
static const struct vu_option bench_rows[] = {
    {.name = "format", .short_name = 'f', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "FORMAT", .offset = BENCH_OFFSET(format), .group = BENCH_GROUP,
     .help = "raw or qcow2; without it the image tells."},
    {.name = "count", .short_name = 'c', .is_long = true, .type = VU_OPTION_CALL,
     .parse = bench_parse_count, .metavar = "N", .group = BENCH_GROUP,
     .help = "How many requests; 75000 by default."},
    {.name = "depth", .short_name = 'd', .is_long = true, .type = VU_OPTION_INT, .min = 1,
     .max = BENCH_MAX_DEPTH, .offset = BENCH_OFFSET(depth), .group = BENCH_GROUP,
     .help = "How many at a time; 64 by default."},
    {.name = "offset", .short_name = 'o', .is_long = true, .type = VU_OPTION_CALL,
     .parse = bench_parse_size, .metavar = "OFFSET", .group = BENCH_GROUP,
     .help = "Where the first begins."},
    {.name = "buffer-size", .short_name = 's', .is_long = true, .type = VU_OPTION_CALL,
     .parse = bench_parse_size, .metavar = "SIZE", .group = BENCH_GROUP,
     .help = "The size of a request; 4k by default."},
    {.name = "step-size", .short_name = 'S', .is_long = true, .type = VU_OPTION_CALL,
     .parse = bench_parse_size, .metavar = "SIZE", .group = BENCH_GROUP,
     .help = "From the beginning of one to that of the next; by default the size of a request. "
             "Behind the disk's end follows its beginning."},
    {.name = "write", .short_name = 'w', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = BENCH_OFFSET(write), .group = BENCH_GROUP,
     .help = "Write instead of reading: the contents of the disk are lost."},
    {.name = "pattern", .is_long = true, .type = VU_OPTION_INT, .min = 0, .max = 255,
     .offset = BENCH_OFFSET(pattern), .group = BENCH_GROUP, .help = "Write that byte."},
    {.name = "flush-interval", .is_long = true, .type = VU_OPTION_INT, .min = 0, .max = INT32_MAX,
     .offset = BENCH_OFFSET(flush_interval), .group = BENCH_GROUP,
     .help = "With -w: flush after so many requests, which are all done by then; 0: never."},
    {.name = "no-drain", .is_long = true, .type = VU_OPTION_FLAG,
     .offset = BENCH_OFFSET(no_drain), .group = BENCH_GROUP,
     .help = "With --flush-interval: do not wait for those that are on their way."},
    {.name = "aio", .short_name = 'i', .is_long = true, .type = VU_OPTION_CHOICE,
     .choices = bench_aios, .offset = BENCH_OFFSET(aio), .group = BENCH_GROUP,
     .help = "The engine; by default io_uring, or threads where there is none."},
    {.name = "native", .short_name = 'n', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = BENCH_OFFSET(native), .group = BENCH_GROUP,
     .help = "The same as -i native, which goes with -t none and -t directsync."},
    {.name = "cache", .short_name = 't', .is_long = true, .type = VU_OPTION_STRING,
     .metavar = "MODE", .offset = BENCH_OFFSET(cache), .group = BENCH_GROUP,
     .help = "How the image is opened, as vblkd's cache modes; writeback by default."},
    {.name = "quiet", .short_name = 'q', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = BENCH_OFFSET(quiet), .group = BENCH_GROUP, .help = "Print nothing but errors."},
    {.name = "force-share", .short_name = 'U', .is_long = true, .type = VU_OPTION_FLAG,
     .offset = BENCH_OFFSET(force_share), .group = BENCH_GROUP,
     .help = "Read though another program writes the image."},
};
/* clang-format on */

/* --- requests --- */

static void bench_end(struct bench_request *request, int result)
{
    struct bench *bench = request->bench;

    vblk_image_leave(bench->image, VBLK_MAX_QUEUES, request->ticket);
    request->next_free = bench->free_requests;
    bench->free_requests = request;
    bench->n_done++;
    if (result < 0 && bench->result == 0)
        bench->result = result;
}

static void bench_io_done(struct vblk_io *io, int result)
{
    bench_end((struct bench_request *)io, result);
}

/* Where the engine can do it; false: it must be done by a call that waits. */
static bool bench_map(struct bench *bench, uint64_t offset, struct bench_request *request)
{
    bool writes = bench->options->write;
    struct vblk_extent extent;
    int ret;

    if (bench->len == 0 || offset > bench->image->size || bench->len > bench->image->size - offset)
        return false;
    ret = writes ? bench->image->format->map_write(bench->image, offset, bench->len, 0, &extent)
                 : vblk_image_map(bench->image, offset, bench->len, 0, &extent, NULL);
    if (ret < 0 || extent.kind != VBLK_EXTENT_DATA || extent.len < bench->len)
        return false;
    request->io = (struct vblk_io){
        .op = writes ? VBLK_OP_WRITE : VBLK_OP_READ,
        .flags = (writes && vblk_cache_is_writethrough(extent.storage->cache) ? VBLK_IO_FUA : 0u) |
                 (vblk_cache_is_direct(extent.storage->cache) ? 0u : VBLK_IO_CACHED),
        .fd = extent.storage->fd,
        .offset = extent.offset,
        .len = bench->len,
        .iov = &request->iov,
        .n_iov = 1,
        .done = bench_io_done,
    };
    return vblk_storage_is_aligned(extent.storage, &request->iov, 1, extent.offset, bench->len);
}

static void bench_send(struct bench *bench)
{
    struct bench_request *request = bench->free_requests;
    uint64_t offset = bench->offset;
    int ret;

    bench->free_requests = request->next_free;
    bench->n_sent++;
    bench->offset += bench->step;
    if (bench->image->size > 0)
        bench->offset %= bench->image->size;
    request->ticket = vblk_image_enter(bench->image, VBLK_MAX_QUEUES);
    if (bench_map(bench, offset, request)) {
        vblk_aio_queue(bench->aio, &request->io);
        return;
    }
    ret = bench->options->write
              ? vblk_image_write(bench->image, request->iov.iov_base, bench->len, offset)
              : vblk_image_read(bench->image, request->iov.iov_base, bench->len, offset);
    bench_end(request, ret == -EINVAL ? -EIO : ret);
}

static void bench_drain(struct bench *bench)
{
    while (vblk_aio_n_pending(bench->aio) > 0)
        vblk_aio_wait(bench->aio);
}

static int bench_run_all(struct bench *bench)
{
    const struct bench_options *options = bench->options;
    int interval = options->flush_interval, ret = 0;

    while (bench->result == 0 && ret == 0 && bench->n_done < options->count) {
        while (bench->free_requests && bench->n_sent < options->count && bench->result == 0 &&
               ret == 0) {
            bench_send(bench);
            if (interval == 0 || bench->n_sent % interval != 0)
                continue;
            if (!options->no_drain)
                bench_drain(bench);
            ret = vblk_image_flush(bench->image);
        }
        if (!vblk_aio_submit(bench->aio) && vblk_aio_n_pending(bench->aio) > 0)
            vblk_aio_wait(bench->aio);
        vblk_aio_reap(bench->aio);
    }
    bench_drain(bench);
    return bench->result < 0 ? bench->result : ret;
}

/* --- around them --- */

static const char *bench_find_mistake(const struct bench_options *options)
{
    if (options->flush_interval > 0 && !options->write)
        return "--flush-interval goes with -w";
    if (options->flush_interval > 0 && options->flush_interval < options->depth)
        return "--flush-interval cannot be smaller than the depth";
    return NULL;
}

static bool bench_create_aio(struct bench *bench, GError **error)
{
    static const enum vblk_aio_kind kinds[] = {VBLK_AIO_NATIVE, VBLK_AIO_URING, VBLK_AIO_THREADS};
    const struct bench_options *options = bench->options;
    unsigned depth = (unsigned)options->depth;
    bool is_native = options->native || options->aio == 1;
    int ret;

    if (is_native && !vblk_cache_is_direct(bench->image->storage->cache)) {
        g_set_error(error, VU_OPTION_ERROR, 0, "-i native needs -t none or -t directsync");
        return false;
    }
    if (is_native || options->aio != BENCH_AIO_AUTO) {
        ret = vblk_aio_create(is_native ? VBLK_AIO_NATIVE : kinds[options->aio - 1], depth,
                              &bench->aio);
    } else {
        ret = vblk_aio_create(VBLK_AIO_URING, depth, &bench->aio);
        if (ret < 0)
            ret = vblk_aio_create(VBLK_AIO_THREADS, depth, &bench->aio);
    }
    if (ret < 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "-i: the engine does not work here: %s",
                    g_strerror(-ret));
    return ret == 0;
}

static bool bench_begin(struct bench *bench, GError **error)
{
    const struct bench_options *options = bench->options;
    size_t depth = (size_t)options->depth, len = bench->len ? bench->len : 1;

    len = (len + BENCH_MEM_ALIGN - 1) & ~(size_t)(BENCH_MEM_ALIGN - 1);
    if (len > SIZE_MAX / depth ||
        posix_memalign((void **)&bench->buf, BENCH_MEM_ALIGN, depth * len)) {
        g_set_error(error, VU_OPTION_ERROR, 0, "no memory for %zu requests of %zu bytes", depth,
                    len);
        return false;
    }
    if (!bench_create_aio(bench, error))
        return false;
    memset(bench->buf, options->write ? options->pattern : 0, depth * len);
    bench->requests = g_new0(struct bench_request, depth);
    for (size_t i = 0; i < depth; i++) {
        struct bench_request *request = &bench->requests[i];

        request->bench = bench;
        request->iov = (struct iovec){bench->buf + i * len, bench->len};
        request->next_free = bench->free_requests;
        bench->free_requests = request;
    }
    return true;
}

static bool bench_do(struct bench *bench, GError **error)
{
    const struct bench_options *options = bench->options;
    gint64 start;
    int ret;

    if (!bench_begin(bench, error))
        return false;
    if (!options->quiet) {
        printf("Sending %d %s requests, %" PRIu64 " bytes each, %d in parallel (starting at offset "
               "%" PRIu64 ", step size %" PRIu64 ")\n",
               options->count, options->write ? "write" : "read", bench->len, options->depth,
               options->offset, bench->step);
        if (options->flush_interval)
            printf("Sending flush every %d requests\n", options->flush_interval);
        fflush(stdout);
    }
    start = g_get_monotonic_time();
    ret = bench_run_all(bench);
    if (ret < 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s: a request failed: %s",
                    bench->image->storage->path, g_strerror(-ret));
    else if (!options->quiet)
        printf("Run completed in %3.3f seconds.\n",
               (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC);
    return ret == 0;
}

static int bench_run(struct img_run *run)
{
    struct bench_options *options = run->options;
    struct bench bench = {.options = options};
    const char *mistake;
    GError *error = NULL;
    bool ok;

    options->depth = options->depth ? options->depth : BENCH_DEPTH;
    options->count = options->has_count ? options->count : BENCH_COUNT;
    mistake = bench_find_mistake(options);
    if (mistake)
        return img_fail_text(1, "bench: %s", mistake);
    bench.len = options->has_len ? options->len : BENCH_LEN;
    bench.step = options->step ? options->step : bench.len;
    bench.offset = options->offset;
    bench.image = img_open(run->args[0], options->format, options->cache,
                           run->open_flags | (options->write ? IMG_OPEN_WRITE : 0) |
                               (options->force_share ? IMG_OPEN_SHARE : 0),
                           &error);
    ok = bench.image && bench_do(&bench, &error);
    vblk_aio_destroy(bench.aio);
    g_free(bench.requests);
    free(bench.buf);
    vblk_image_close(bench.image);
    return ok ? 0 : img_fail(1, error);
}

const struct img_command img_bench = {
    .name = "bench",
    .usage = "[-c N] [-d DEPTH] [-s SIZE] [-S STEP] [-o OFFSET] [-w] [-i ENGINE] [-t MODE] "
             "[OPTION]... FILE",
    .help = "Measures how fast an image is read or written.",
    .rows = bench_rows,
    .n_rows = G_N_ELEMENTS(bench_rows),
    .options_len = sizeof(struct bench_options),
    .min_args = 1,
    .max_args = 1,
    .run = bench_run,
};
