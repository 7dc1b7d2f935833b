/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A machine with a disk, a share and random numbers: all of them are used in each boot, and the
 * disk is in the middle of a request when the guest resets itself, by each of the ways there are;
 * then it waits to be reset by the host ("# reset me"), and in the end resets itself again and
 * again in a way that leaves no doubt.
 */
#include "fuse.h"
#include "resets.h"

#define F_VERSION1 (1ull << 32)
#define N_WILDLY   20 /* boots after those with devices */
#define ID_BLK     2
#define ID_RNG     4
#define ID_FS      26

struct disk_request {
    struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header;
    uint8_t sector[512];
    uint8_t status;
};

static uint8_t rings[4][4096] __attribute__((aligned(4096)));
static struct disk_request disk_requests[2];
static struct fuse_request fuse_request;
static uint8_t entropy[256];

void payload_ap_main(unsigned index)
{
}

static bool begin(struct virtio *virtio, uint16_t id)
{
    return virtio_find(virtio, id) && virtio_negotiate(virtio, F_VERSION1);
}

static void add_read(struct virtio_queue *queue, struct disk_request *request)
{
    struct virtio_part parts[] = {
        {&request->header, sizeof(request->header), false},
        {request->sector, sizeof(request->sector), true},
        {&request->status, 1, true},
    };

    request->status = 0xff;
    virtio_add(queue, parts, 3, request);
    virtio_kick(queue);
}

/* With a request behind it that nobody waits for. */
static void use_disk(void)
{
    struct virtio_queue queue;
    struct virtio virtio;
    uint32_t len;
    void *tag;

    if (!payload_check(begin(&virtio, ID_BLK), "a disk"))
        return;
    virtio_queue_init(&queue, &virtio, 0, 16, rings[0]);
    virtio_set_ok(&virtio);
    add_read(&queue, &disk_requests[0]);
    payload_check(virtio_wait(&queue, NULL, &tag, &len) && disk_requests[0].status == 0 &&
                      disk_requests[0].sector[0] == 'd',
                  "it is read");
    add_read(&queue, &disk_requests[1]);
}

static void use_share(void)
{
    struct fuse_init init = {.major = 7, .minor = 31, .max_readahead = 4096};
    char name[] = "hello";
    const struct fuse_call calls[] = {
        {.opcode = FUSE_INIT, .body = &init, .body_len = sizeof(init), .answer_len = 64},
        {.opcode = FUSE_LOOKUP,
         .nodeid = FUSE_ROOT,
         .body = name,
         .body_len = sizeof(name),
         .answer_len = 128},
    };
    struct virtio_queue hiprio, queue;
    struct virtio virtio;

    if (!payload_check(begin(&virtio, ID_FS), "a share"))
        return;
    virtio_queue_init(&hiprio, &virtio, 0, 16, rings[1]);
    virtio_queue_init(&queue, &virtio, 1, 16, rings[2]);
    virtio_set_ok(&virtio);
    payload_check(fuse_do(&queue, &fuse_request, &calls[0]) >= 24, "it is mounted");
    payload_check(fuse_do(&queue, &fuse_request, &calls[1]) == 128, "the host's file is there");
}

static void use_entropy(void)
{
    const struct virtio_part part = {entropy, sizeof(entropy), true};
    struct virtio_queue queue;
    struct virtio virtio;

    if (!payload_check(begin(&virtio, ID_RNG), "random numbers"))
        return;
    virtio_queue_init(&queue, &virtio, 0, 16, rings[3]);
    virtio_set_ok(&virtio);
    payload_check(virtio_request(&queue, &part, 1) == sizeof(entropy), "they come");
}

void payload_main(const struct payload_info *info)
{
    unsigned n = resets_count();

    payload_print("# boot %u\n", (uint64_t)n);
    if (n > RESETS_N_WAYS + 1 && n < RESETS_N_WAYS + 1 + N_WILDLY)
        resets_go_wildly();
    use_share();
    use_entropy();
    use_disk();
    if (n < RESETS_N_WAYS)
        resets_go(n);
    if (n == RESETS_N_WAYS) {
        payload_print("# reset me\n");
        for (;;)
            __asm__ volatile("hlt");
    }
    if (n == RESETS_N_WAYS + 1)
        resets_go_wildly();
    payload_finish();
}
