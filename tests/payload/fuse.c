/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of FUSE; see fuse.h. virtio 1.3 section 5.11.6. */
#include "fuse.h"

static uint64_t fuse_next_unique;

bool fuse_add(struct virtio_queue *queue, struct fuse_request *request,
              const struct fuse_call *call)
{
    struct virtio_part parts[5];
    unsigned n = 0;

    request->in = (struct fuse_in){
        .len = (uint32_t)sizeof(request->in) + call->body_len + call->data_len,
        .opcode = call->opcode,
        .unique = fuse_next_unique += 2,
        .nodeid = call->nodeid,
        .pid = 1,
    };
    request->out = (struct fuse_out){0};
    parts[n++] = (struct virtio_part){&request->in, sizeof(request->in), false};
    if (call->body_len)
        parts[n++] = (struct virtio_part){call->body, call->body_len, false};
    if (call->data_len)
        parts[n++] = (struct virtio_part){call->data, call->data_len, false};
    parts[n++] = (struct virtio_part){&request->out, sizeof(request->out), true};
    if (call->answer_len)
        parts[n++] = (struct virtio_part){request->answer, call->answer_len, true};
    return virtio_add(queue, parts, n, request);
}

int64_t fuse_result(const struct fuse_request *request)
{
    if (request->out.unique != request->in.unique)
        return FUSE_NO_ANSWER;
    return request->out.error ? request->out.error
                              : (int64_t)request->out.len - (int64_t)sizeof(request->out);
}

int64_t fuse_do(struct virtio_queue *queue, struct fuse_request *request,
                const struct fuse_call *call)
{
    uint32_t len;
    void *tag;

    if (!fuse_add(queue, request, call))
        return FUSE_NOT_DONE;
    virtio_kick(queue);
    return virtio_wait(queue, NULL, &tag, &len) ? fuse_result(request) : FUSE_NOT_DONE;
}
