/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shared folder behind a vhost-user back-end, as a driver sees it: its tag, FUSE over a request
 * queue, and all of it again after a reset. The folder has a file "hello" that begins with "hello
 * from the host". The command line may say "split": the back-end has no packed rings.
 */
#include "acpi.h"
#include "virtio.h"

#define F_VERSION1    (1ull << 32)
#define F_PACKED      (1ull << 34)

#define REQUEST_QUEUE 1

/* Beside FUSE's own errors. */
#define NOT_DONE  (-1000)
#define NO_ANSWER (-1001)

/* <linux/fuse.h>, which needs a library. */
enum {
    FUSE_LOOKUP = 1,
    FUSE_OPEN = 14,
    FUSE_READ = 15,
    FUSE_RELEASE = 18,
    FUSE_INIT = 26,
    FUSE_DESTROY = 38,
};

struct fuse_in {
    uint32_t len, opcode;
    uint64_t unique, nodeid;
    uint32_t uid, gid, pid, padding;
};

struct fuse_out {
    uint32_t len;
    int32_t error;
    uint64_t unique;
};

struct fuse_init {
    uint32_t major, minor, max_readahead, flags, flags2, unused[11];
};

struct fuse_open {
    uint64_t fh; /* of the answer; of the request: flags */
    uint64_t flags;
};

struct fuse_read {
    uint64_t fh, offset;
    uint32_t size, read_flags;
    uint64_t lock_owner;
    uint32_t flags, padding;
};

struct fuse_release {
    uint64_t fh;
    uint32_t flags, release_flags;
    uint64_t lock_owner;
};

static uint8_t rings[2][4096] __attribute__((aligned(4096)));
static struct fuse_in in;
static struct fuse_out out;
static uint8_t answer[4096];

void payload_ap_main(unsigned index)
{
}

/* One request of body_len bytes behind the header, with room for answer_len in `answer`. Returns
 * the bytes that came there, or a negative error. */
static int64_t call(struct virtio_queue *queue, uint32_t opcode, uint64_t nodeid, void *body,
                    uint32_t body_len, uint32_t answer_len)
{
    struct virtio_part parts[4];
    unsigned n = 0;

    in = (struct fuse_in){sizeof(in) + body_len, opcode, in.unique + 2, nodeid, 0, 0, 1, 0};
    out = (struct fuse_out){0};
    parts[n++] = (struct virtio_part){&in, sizeof(in), false};
    if (body_len)
        parts[n++] = (struct virtio_part){body, body_len, false};
    parts[n++] = (struct virtio_part){&out, sizeof(out), true};
    if (answer_len)
        parts[n++] = (struct virtio_part){answer, answer_len, true};
    if (virtio_request(queue, parts, n) < 0)
        return NOT_DONE;
    if (out.unique != in.unique)
        return NO_ANSWER;
    return out.error ? out.error : (int64_t)out.len - (int64_t)sizeof(out);
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
    struct fuse_read read = {.size = 512};
    struct fuse_release release = {0};
    char name[] = "hello";
    uint64_t nodeid;

    payload_check(call(queue, FUSE_INIT, 0, &init, sizeof(init), 64) >= 24, "INIT");
    payload_check(call(queue, FUSE_LOOKUP, 1, name, sizeof(name), 128) == 128, "LOOKUP");
    nodeid = *(const uint64_t *)answer;
    payload_check(call(queue, FUSE_OPEN, nodeid, &open, 8, 16) == 16, "OPEN");
    read.fh = release.fh = *(const uint64_t *)answer;
    payload_check(call(queue, FUSE_READ, nodeid, &read, sizeof(read), 512) >= 19 &&
                      starts_with(answer, "hello from the host"),
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

        payload_check(rc == 0 || rc == NO_ANSWER, "DESTROY");
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
