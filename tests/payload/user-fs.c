/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shared folder behind a vhost-user back-end, driven from ring 3: several requests in flight over
 * split and packed rings, polled and with interrupts, with and without an event index.
 *
 * Files are 256 KiB of lines "byte NNNNNNNNN P": where the line begins, and who wrote it. The host
 * has written "host" (h); each pass reads that, and writes and reads a file of its own ("guest-a"
 * and so on).
 */
#include "fuse.h"
#include "passes.h"

#define IN_FLIGHT 12
#define BLOCK     4096
#define N_BLOCKS  64 /* a power of two */
#define FILE_LEN  (N_BLOCKS * BLOCK)

#define O_RDWR    2u
#define ENOENT    2

struct transfer {
    struct fuse_request request; /* first: the queue's tag */
    struct fuse_io io;
    uint8_t data[BLOCK];
};

/* An open file, and how it is waited for. */
struct file {
    struct virtio_queue *queue;
    const volatile unsigned *counter; /* of interrupts; NULL: polled */
    uint64_t nodeid, fh;
    char pass; /* who wrote it */
};

static uint8_t rings[2][4096] __attribute__((aligned(4096)));
static struct transfer transfers[IN_FLIGHT];
static struct fuse_request request;

static void fill_line(uint8_t line[16], uint64_t offset, char pass)
{
    static const char word[] = "byte ";

    for (unsigned i = 0; i < 5; i++)
        line[i] = (uint8_t)word[i];
    for (unsigned i = 13; i >= 5; i--, offset /= 10)
        line[i] = (uint8_t)('0' + offset % 10);
    line[14] = (uint8_t)pass;
    line[15] = '\n';
}

static bool is_filled(const uint8_t *data, uint64_t offset, char pass)
{
    uint8_t line[16];

    for (unsigned i = 0; i < BLOCK; i++) {
        if (i % 16 == 0)
            fill_line(line, offset + i, pass);
        if (data[i] != line[i % 16])
            return false;
    }
    return true;
}

/* --- data --- */

/* Asks for the n-th transfer: each block comes once, in an order of its own. */
static bool submit(const struct file *file, struct transfer *transfer, bool is_write, unsigned n)
{
    struct fuse_call call = {
        .opcode = is_write ? FUSE_WRITE : FUSE_READ,
        .nodeid = file->nodeid,
        .body = &transfer->io,
        .body_len = sizeof(transfer->io),
        .data = transfer->data,
        .data_len = is_write ? BLOCK : 0,
        .answer_len = is_write ? 8 : BLOCK,
    };

    transfer->io = (struct fuse_io){
        .fh = file->fh,
        .offset = n * 37 % N_BLOCKS * BLOCK,
        .size = BLOCK,
    };
    for (unsigned i = 0; is_write && i < BLOCK; i += 16)
        fill_line(transfer->data + i, transfer->io.offset + i, file->pass);
    if (!fuse_add(file->queue, &transfer->request, &call))
        return false;
    virtio_notify(file->queue);
    return true;
}

static bool is_done(const struct file *file, const struct transfer *transfer)
{
    int64_t rc = fuse_result(&transfer->request);

    if (transfer->request.in.opcode == FUSE_WRITE)
        return rc == 8 && *(const uint32_t *)(const void *)transfer->request.answer == BLOCK;
    return rc == BLOCK && is_filled(transfer->request.answer, transfer->io.offset, file->pass);
}

/* The whole file, as many blocks at a time as there are transfers. */
static bool move_file(const struct file *file, bool is_write)
{
    unsigned n_begun = 0;

    for (; n_begun < IN_FLIGHT; n_begun++)
        if (!submit(file, &transfers[n_begun], is_write, n_begun))
            return false;
    for (unsigned n_done = 0; n_done < N_BLOCKS; n_done++) {
        void *tag = NULL;
        uint32_t len;

        if (!virtio_wait(file->queue, file->counter, &tag, &len) || !is_done(file, tag))
            return false;
        if (n_begun < N_BLOCKS && !submit(file, tag, is_write, n_begun++))
            return false;
    }
    return true;
}

/* --- names --- */

static int64_t lookup(struct virtio_queue *queue, char *name, uint32_t name_len,
                      struct fuse_entry *entry)
{
    struct fuse_call call = {
        .opcode = FUSE_LOOKUP,
        .nodeid = FUSE_ROOT,
        .body = name,
        .body_len = name_len,
        .answer_len = sizeof(*entry),
    };
    int64_t rc = fuse_do(queue, &request, &call);

    *entry = *(const struct fuse_entry *)(const void *)request.answer;
    return rc;
}

static bool open_host(struct file *file)
{
    struct fuse_open open = {0};
    struct fuse_entry entry;
    char name[] = "host";
    struct fuse_call call = {
        .opcode = FUSE_OPEN,
        .body = &open,
        .body_len = 8,
        .answer_len = sizeof(open),
    };

    if (!payload_check(lookup(file->queue, name, sizeof(name), &entry) == sizeof(entry) &&
                           entry.size == FILE_LEN,
                       "LOOKUP"))
        return false;
    call.nodeid = file->nodeid = entry.nodeid;
    if (!payload_check(fuse_do(file->queue, &request, &call) == sizeof(open), "OPEN"))
        return false;
    file->fh = *(const uint64_t *)(const void *)request.answer;
    return true;
}

static bool create_own(struct file *file)
{
    struct fuse_create create = {.flags = O_RDWR, .mode = 0100644, .name = "guest-?"};
    const struct fuse_entry *entry = (const void *)request.answer;
    struct fuse_entry none;
    struct fuse_call call = {
        .opcode = FUSE_CREATE,
        .nodeid = FUSE_ROOT,
        .body = &create,
        .body_len = 16 + sizeof("guest-?"),
        .answer_len = sizeof(*entry) + sizeof(struct fuse_open),
    };
    int64_t rc;

    create.name[6] = file->pass;
    rc = lookup(file->queue, create.name, sizeof("guest-?"), &none);
    /* Node 0 says the same, for a while. */
    payload_check(rc == -ENOENT || (rc == sizeof(none) && none.nodeid == 0),
                  "LOOKUP of what is not there");
    if (!payload_check(fuse_do(file->queue, &request, &call) == call.answer_len, "CREATE"))
        return false;
    file->nodeid = entry->nodeid;
    file->fh = *(const uint64_t *)(const void *)(request.answer + sizeof(*entry));
    return true;
}

static bool release(const struct file *file)
{
    struct fuse_release body = {.fh = file->fh};
    struct fuse_call call = {
        .opcode = FUSE_RELEASE,
        .nodeid = file->nodeid,
        .body = &body,
        .body_len = sizeof(body),
    };

    return fuse_do(file->queue, &request, &call) == 0;
}

static bool start_session(struct virtio_queue *queue)
{
    struct fuse_init init = {.major = 7, .minor = 31, .max_readahead = BLOCK};
    struct fuse_call call = {
        .opcode = FUSE_INIT, .body = &init, .body_len = sizeof(init), .answer_len = 64};

    return fuse_do(queue, &request, &call) >= 24;
}

/* --- passes --- */

static void use_files(struct virtio_queue *queue, const volatile unsigned *counter, char pass)
{
    struct file host = {.queue = queue, .counter = counter, .pass = 'h'};
    struct file own = {.queue = queue, .counter = counter, .pass = pass};

    if (!payload_check(start_session(queue), "INIT") || !open_host(&host) || !create_own(&own))
        return;
    payload_check(move_file(&host, false), "what the host wrote is read");
    payload_check(move_file(&own, true), "WRITE");
    payload_check(move_file(&own, false), "what was written is read");
    payload_check(release(&host) && release(&own), "RELEASE");
}

static void make_pass(struct virtio *virtio, const struct pass *pass)
{
    struct virtio_queue hiprio, queue;

    passes_negotiate(virtio, pass);
    payload_check(virtio_queue_init(&hiprio, virtio, 0, 64, rings[0]) &&
                      virtio_queue_init(&queue, virtio, 1, 64, rings[1]),
                  "queues");
    virtio_set_ok(virtio);
    use_files(&queue, pass->has_irqs ? &passes_n_irqs : NULL, pass->name);
}

void payload_main(const struct payload_info *info)
{
    passes_run(info, 26, make_pass);
}
