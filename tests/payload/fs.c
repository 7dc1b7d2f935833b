/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shared folder behind a vhost-user back-end, as a driver sees it: its tag, FUSE over a request
 * queue, and all of it again after a reset. The folder has a file "hello" that begins with "hello
 * from the host". The command line may say "split": the back-end has no packed rings.
 */
#include "acpi.h"
#include "fuse.h"

#define F_VERSION1    (1ull << 32)
#define F_PACKED      (1ull << 34)

#define REQUEST_QUEUE 1

static uint8_t rings[2][4096] __attribute__((aligned(4096)));
static struct fuse_request request;

void payload_ap_main(unsigned index)
{
}

static int64_t call(struct virtio_queue *queue, uint32_t opcode, uint64_t nodeid, void *body,
                    uint32_t body_len, uint32_t answer_len)
{
    struct fuse_call what = {
        .opcode = opcode,
        .nodeid = nodeid,
        .body = body,
        .body_len = body_len,
        .answer_len = answer_len,
    };

    return fuse_do(queue, &request, &what);
}

static bool starts_with(const uint8_t *text, const char *expected)
{
    while (*expected)
        if (*text++ != (uint8_t)*expected++)
            return false;
    return true;
}

static void read_hello(struct virtio_queue *queue)
{
    struct fuse_init init = {.major = 7, .minor = 31, .max_readahead = 4096};
    struct fuse_open open = {0};
    struct fuse_io read = {.size = 512};
    struct fuse_release release = {0};
    char name[] = "hello";
    uint64_t nodeid;

    payload_check(call(queue, FUSE_INIT, 0, &init, sizeof(init), 64) >= 24, "INIT");
    payload_check(call(queue, FUSE_LOOKUP, 1, name, sizeof(name), 128) == 128, "LOOKUP");
    nodeid = *(const uint64_t *)request.answer;
    payload_check(call(queue, FUSE_OPEN, nodeid, &open, 8, 16) == 16, "OPEN");
    read.fh = release.fh = *(const uint64_t *)request.answer;
    payload_check(call(queue, FUSE_READ, nodeid, &read, sizeof(read), 512) >= 19 &&
                      starts_with(request.answer, "hello from the host"),
                  "READ");
    payload_check(call(queue, FUSE_RELEASE, nodeid, &release, sizeof(release), 0) == 0, "RELEASE");
}

static void check_session(struct virtio *virtio, uint64_t features, bool is_destroyed)
{
    struct virtio_queue hiprio, queue;

    payload_check(virtio_negotiate(virtio, F_VERSION1 | features), "features");
    payload_check(virtio_queue_init(&hiprio, virtio, 0, 16, rings[0]) &&
                      virtio_queue_init(&queue, virtio, REQUEST_QUEUE, 16, rings[1]),
                  "queues");
    virtio_set_ok(virtio);
    read_hello(&queue);
    /* Some answer that, some do not; all complete it. */
    if (is_destroyed) {
        int64_t rc = call(&queue, FUSE_DESTROY, 0, NULL, 0, 0);

        payload_check(rc == 0 || rc == FUSE_NO_ANSWER, "DESTROY");
    }
}

void payload_main(const struct payload_info *info)
{
    struct virtio virtio;
    uint8_t tag[8];

    if (!payload_check(virtio_find(&virtio, 26), "a folder in the bus"))
        payload_power_off();
    for (unsigned i = 0; i < sizeof(tag); i++)
        tag[i] = virtio.device[i];
    payload_check(starts_with(tag, "myfs"), "its tag");
    payload_check(virtio_read32(virtio.device + 36) == 1, "one request queue");
    payload_print("# a guest that unmounts\n");
    check_session(&virtio, 0, true);
    payload_print("# one that is reset instead\n");
    check_session(&virtio, 0, false);
    virtio_reset(&virtio);
    payload_print("# and another\n");
    check_session(&virtio, payload_has_word(info, "split") ? 0 : F_PACKED, true);
    payload_finish();
}
