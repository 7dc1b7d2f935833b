/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of FUSE requests to a share on a temporary directory. The input is a row of records:
 *
 *   offset size
 *        0    1  opcode, modulo 64
 *        1    1  how the header lies: bit 0 a length of its own, bit 1 extensions
 *        2    1  which nodeid the header names: one the guest knows, or an invented one
 *        3    1  which number is put over the first eight bytes of the arguments (0: none): odd, a
 *                handle, even, a nodeid; half of that is its index
 *        4    1  room for the answer, in units of 16 bytes
 *        5    1  where the request is cut into two descriptors
 *        6    1  bytes that follow
 *        7       arguments, names, data
 *
 * Files are limited to a few MiB by RLIMIT_FSIZE, and cannot be made immutable. SYNCFS is left out:
 * it writes back the host's whole file system. No wait for a lock begins.
 */
#include <cap-ng.h>
#include <glib.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/unit/fs-fixture.h"
#include "vhost-user/log.h"
#include "virtiofsd/locks.h"

#define FUZZ_RECORD_HEAD 7
#define FUZZ_MAX_KNOWN   16
#define FUZZ_FILE_MAX    (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What answers have told the guest. */
struct fuzz_known {
    uint64_t ids[FUZZ_MAX_KNOWN];
    unsigned n;
};

static struct fs_fixture fixture;
static struct fuzz_known nodeids, fhs;

static void fuzz_learn(struct fuzz_known *known, uint64_t id)
{
    known->ids[known->n++ % FUZZ_MAX_KNOWN] = id;
}

static uint64_t fuzz_pick(const struct fuzz_known *known, uint8_t which)
{
    uint64_t id = known->ids[which % FUZZ_MAX_KNOWN];

    return which < 0x80 ? id : id ^ 1ull << (which & 63);
}

/* For files of the share: the tables of the share are larger. */
static void fuzz_limit_files(rlim_t len)
{
    struct rlimit limit;

    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = MIN(len, limit.rlim_max);
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void fuzz_start(void)
{
    signal(SIGXFSZ, SIG_IGN);
    capng_get_caps_process();
    capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_LINUX_IMMUTABLE);
    capng_apply(CAPNG_SELECT_CAPS);
    vu_log_set_level(VU_LOG_OFF);
}

static void fuzz_begin(void)
{
    static bool started;
    struct fuse_init_out out;

    if (!started)
        fuzz_start();
    started = true;
    fs_fixture_init(&fixture);
    fixture.options.rlimit_nofile = 0;
    fixture.options.max_helpers = 2;
    fixture.options.posix_lock = fixture.options.flock = true;
    fixture.options.posix_acl = fixture.options.security_label = true;
    fixture.options.xattrmap = fs_xattrmap_parse(":map:security.:user.guest.:", NULL);
    fuzz_limit_files(RLIM_INFINITY);
    fs_fixture_open(&fixture);
    fuzz_limit_files(FUZZ_FILE_MAX);
    fs_fixture_send_init(&fixture, &out);
    fs_locks_quiesce(fixture.share.locks, fixture.vring.index);
    nodeids = fhs = (struct fuzz_known){0};
    fuzz_learn(&nodeids, FUSE_ROOT_ID);
    for (unsigned i = 0; i < FUZZ_MAX_KNOWN; i++)
        nodeids.ids[i] = FUSE_ROOT_ID;
}

static void fuzz_learn_reply(uint32_t opcode, const uint8_t *reply, size_t len)
{
    const struct fs_operation *operation = fs_operation_find(opcode);
    bool makes = operation && operation->reply_len == sizeof(struct fuse_entry_out);
    bool makes_open = operation && operation->reply_len == sizeof(((union fs_reply *)0)->create);
    struct fuse_entry_out entry;
    struct fuse_open_out open;

    if (!operation || len < operation->reply_len)
        return;
    if (makes || makes_open) {
        memcpy(&entry, reply, sizeof(entry));
        fuzz_learn(&nodeids, entry.nodeid);
    }
    if (makes_open || opcode == FUSE_OPEN || opcode == FUSE_OPENDIR) {
        memcpy(&open, reply + operation->reply_len - sizeof(open), sizeof(open));
        fuzz_learn(&fhs, open.fh);
    }
}

static void fuzz_request(const uint8_t *head, const uint8_t *body, size_t body_len)
{
    uint8_t out[sizeof(struct fuse_in_header) + UINT8_MAX], in[16 * UINT8_MAX];
    struct fuse_in_header header = {.len = (uint32_t)(sizeof(header) + body_len),
                                    .opcode = head[0] % 64,
                                    .unique = 7,
                                    .nodeid = fuzz_pick(&nodeids, head[2])};
    struct fuse_out_header out_header;
    size_t in_len = head[4] * (size_t)16;
    uint64_t id = head[3] & 1 ? fuzz_pick(&fhs, head[3] >> 1) : fuzz_pick(&nodeids, head[3] >> 1);
    uint32_t written;

    if (header.opcode == FUSE_SYNCFS)
        return;
    if (head[1] & 1)
        header.len = (uint32_t)(head[1] >> 2) * 4;
    if (head[1] & 2)
        header.total_extlen = head[1] >> 4;
    memcpy(out, &header, sizeof(header));
    memcpy(out + sizeof(header), body, body_len);
    if (head[3] != 0 && body_len >= sizeof(id))
        memcpy(out + sizeof(header), &id, sizeof(id));

    written = fs_fixture_send(&fixture, out, sizeof(header) + body_len, head[5], in, in_len);
    if (written == 0)
        return;
    memcpy(&out_header, in, sizeof(out_header));
    g_assert_cmpuint(out_header.len, ==, written);
    g_assert_cmpuint(out_header.unique, ==, 7);
    g_assert_true(out_header.error <= 0 && out_header.error > -512);
    if (out_header.error == 0)
        fuzz_learn_reply(header.opcode, in + sizeof(out_header), written - sizeof(out_header));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_begin();
    while (size > FUZZ_RECORD_HEAD) {
        size_t body_len = MIN(data[6], size - FUZZ_RECORD_HEAD);

        fuzz_request(data, data + FUZZ_RECORD_HEAD, body_len);
        data += FUZZ_RECORD_HEAD + body_len;
        size -= FUZZ_RECORD_HEAD + body_len;
    }
    fs_fixture_finish(&fixture);
    return 0;
}
