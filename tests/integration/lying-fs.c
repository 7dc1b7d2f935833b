/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system back-end that is honest until the mount is made (INIT, and attributes of the root),
 * and then lies in the way that --lie names. For the tests of those who read its replies.
 */
#include <errno.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vhost-user/daemon/daemon.h"
#include "vhost-user/iov.h"

enum lie {
    LIE_NONE,
    LIE_UNIQUE,  /* the reply to another request */
    LIE_LENGTH,  /* a length in the header that is not what was written */
    LIE_LONG,    /* more bytes written than there is room for */
    LIE_SHORT,   /* less than a header */
    LIE_ERROR,   /* an error that is none */
    LIE_GARBAGE, /* a well-formed header over random bytes */
    LIE_EMPTY,   /* success without the payload */
    LIE_SILENT,  /* no reply at all */
    LIE_DIE,     /* ends the process */
    LIE_INIT,    /* random bytes for INIT already */
};

static const char *const lie_names[] = {"none",    "unique", "length", "long", "short", "error",
                                        "garbage", "empty",  "silent", "die",  "init",  NULL};

struct lying_options {
    int lie;
};

/* clang-format off */
static const struct vu_option lying_rows[] = {
    {.name = "lie", .is_long = true, .type = VU_OPTION_CHOICE, .choices = lie_names,
     .offset = offsetof(struct lying_options, lie), .metavar = "HOW", .group = "Lying",
     .help = "What to reply with."},
};
/* clang-format on */

union lying_reply {
    uint8_t bytes[4096];
    struct fuse_init_out init;
    struct fuse_attr_out attr;
};

static uint32_t lying_honest(const struct fuse_in_header *in, union lying_reply *reply)
{
    memset(reply, 0, sizeof(*reply));
    if (in->opcode == FUSE_INIT) {
        reply->init = (struct fuse_init_out){.major = FUSE_KERNEL_VERSION,
                                             .minor = 31,
                                             .max_write = 1 << 20,
                                             .flags = FUSE_BIG_WRITES};
        return sizeof(reply->init);
    }
    reply->attr.attr = (struct fuse_attr){.ino = 1, .mode = S_IFDIR | 0755, .nlink = 2};
    return sizeof(reply->attr);
}

static void lying_random(union lying_reply *reply)
{
    for (size_t i = 0; i < sizeof(reply->bytes); i++)
        reply->bytes[i] = (uint8_t)rand();
}

/* Spoils header and payload. Returns the payload's length. */
static uint32_t lying_spoil(enum lie lie, struct fuse_out_header *header, union lying_reply *reply,
                            uint32_t len)
{
    if (lie == LIE_GARBAGE || lie == LIE_INIT) {
        lying_random(reply);
        len = (uint32_t)rand() % 256;
    }
    if (lie == LIE_EMPTY)
        len = 0;
    header->len = (uint32_t)sizeof(*header) + len;
    if (lie == LIE_UNIQUE)
        header->unique += 2;
    if (lie == LIE_LENGTH)
        header->len += 8;
    if (lie == LIE_ERROR)
        header->error = 77;
    return len;
}

static void lying_answer(enum lie lie, struct vu_elem *elem)
{
    struct fuse_in_header in = {0};
    union lying_reply reply;
    struct fuse_out_header header = {0};
    struct vu_iov_cursor cursor;
    uint32_t len;

    vu_iov_cursor_init(&cursor, elem->iov, elem->n_out, 0);
    vu_iov_read(&cursor, &in, sizeof(in));
    header.unique = in.unique;
    len = lying_honest(&in, &reply);
    if ((in.opcode == FUSE_INIT) != (lie == LIE_INIT))
        lie = LIE_NONE; /* INIT is lied about in that case, and in no other */
    if (lie == LIE_DIE)
        _exit(1);
    if (lie == LIE_SILENT)
        return;
    len = lying_spoil(lie, &header, &reply, len);
    vu_iov_cursor_init(&cursor, elem->iov + elem->n_out, elem->n_in, 0);
    elem->written = (uint32_t)vu_iov_write(&cursor, &header, sizeof(header));
    elem->written += (uint32_t)vu_iov_write(&cursor, reply.bytes, len);
    if (lie == LIE_LONG)
        elem->written = UINT32_MAX;
    if (lie == LIE_SHORT)
        elem->written = 7;
    vu_vring_push(elem->vring, &elem, 1);
}

static void lying_process(void *opaque, struct vu_vring *vring, struct vu_elem **elems, unsigned n)
{
    const struct lying_options *options = opaque;

    for (unsigned i = 0; i < n; i++)
        lying_answer((enum lie)options->lie, elems[i]);
}

static const struct vu_device lying_device = {
    .name = "lying-fs",
    .n_queues = 2,
    .worker = {.process = lying_process},
};

static const struct vu_program lying_program = {
    .name = "lying-fs",
    .summary = "a file system that lies",
    .usage = "lying-fs --socket-path=PATH --lie=HOW",
    .device_type = "fs",
};

int main(int argc, char **argv)
{
    struct lying_options own = {0};
    const struct vu_option_table own_table = {lying_rows, G_N_ELEMENTS(lying_rows), &own};
    struct vu_daemon_options options;
    g_autoptr(GError) error = NULL;
    struct vu_daemon_sockets sockets;
    int status = EXIT_FAILURE;

    vu_daemon_options_init(&options);
    if (vu_daemon_parse(&lying_program, &options, &own_table, 1, argc, argv, &status)) {
        if (vu_daemon_open_sockets(&options, &sockets, &error))
            status = vu_daemon_run(&options, &lying_device, &own, &sockets);
        else
            fprintf(stderr, "lying-fs: %s\n", error->message);
    }
    vu_daemon_options_clear(&options);
    return status;
}
