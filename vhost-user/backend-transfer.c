/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device state between the device and the front-end's pipe. The device writes to, or reads from, a
 * file in memory; the session moves it over the pipe in between its messages, so that a front-end
 * that reads or writes slowly blocks neither the session nor the end of the program. Session
 * thread. vhost-user: SET_DEVICE_STATE_FD, CHECK_DEVICE_STATE.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vhost-user/backend-session.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define TRANSFER_MAX   (UINT64_C(4) << 30) /* bytes of state that are taken from a front-end */
#define TRANSFER_CHUNK 65536

/* Of the reply to SET_DEVICE_STATE_FD: the front-end's descriptor is used, none comes back. */
#define TRANSFER_REPLY_NO_FD  UINT64_C(0x100)
#define TRANSFER_REPLY_FAILED UINT64_C(0x101)

void backend_transfer_init(struct backend_transfer *transfer)
{
    *transfer = (struct backend_transfer){.peer_fd = -1, .file_fd = -1};
}

void backend_transfer_cancel(struct backend_transfer *transfer)
{
    vu_clear_fd(&transfer->peer_fd);
    vu_clear_fd(&transfer->file_fd);
}

int backend_transfer_pollfd(const struct backend_transfer *transfer, short *ret_events)
{
    *ret_events = transfer->saving ? POLLOUT : POLLIN;
    return transfer->peer_fd;
}

static void transfer_end(struct vu_backend *backend, int result)
{
    struct backend_transfer *transfer = &backend->transfer;

    backend_transfer_cancel(transfer); /* closing the pipe tells the reader of the state its end */
    transfer->result = result;
    if (result < 0)
        vu_error("%s: device state not %s: %s", backend->device.name,
                 transfer->saving ? "saved" : "loaded", g_strerror(-result));
}

/* Moves one piece. >0 bytes moved, 0 the end, -EAGAIN the pipe is full or empty, or -errno. */
static ssize_t transfer_move(struct backend_transfer *transfer)
{
    g_autofree uint8_t *piece = g_malloc(TRANSFER_CHUNK);
    int from = transfer->saving ? transfer->file_fd : transfer->peer_fd;
    ssize_t n, written;

    if (transfer->saving)
        n = pread(from, piece, TRANSFER_CHUNK, (off_t)transfer->n_moved);
    else
        n = read(from, piece, TRANSFER_CHUNK);
    if (n <= 0)
        return n < 0 ? -errno : 0;
    if (!transfer->saving && transfer->n_moved + (size_t)n > TRANSFER_MAX)
        return -EFBIG;
    if (transfer->saving)
        written = write(transfer->peer_fd, piece, (size_t)n);
    else
        written = pwrite(transfer->file_fd, piece, (size_t)n, (off_t)transfer->n_moved);
    if (written < 0)
        return -errno;
    if (!transfer->saving && written < n)
        return -ENOSPC;
    transfer->n_moved += (size_t)written;
    return written;
}

void backend_transfer_pump(struct vu_backend *backend)
{
    struct backend_transfer *transfer = &backend->transfer;
    ssize_t n;

    if (transfer->peer_fd < 0)
        return;
    do
        n = transfer_move(transfer);
    while (n > 0 || n == -EINTR);
    if (n == -EAGAIN)
        return;
    if (n == 0 && !transfer->saving) {
        lseek(transfer->file_fd, 0, SEEK_SET);
        n = backend->device.load_state(backend->opaque, transfer->file_fd);
    }
    transfer_end(backend, (int)n);
}

/* Begins; 0 or -errno. */
static int transfer_begin(struct vu_backend *backend, struct backend_call *call)
{
    struct backend_transfer *transfer = &backend->transfer;
    vu_autofd int file_fd = memfd_create("device-state", MFD_CLOEXEC);
    vu_autofd int peer_fd = vu_message_take_fd(&call->msg, 0);
    int flags, r;

    if (file_fd < 0)
        return -errno;
    flags = fcntl(peer_fd, F_GETFL);
    if (flags < 0 || fcntl(peer_fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    if (call->msg.payload.transfer.direction == VU_TRANSFER_SAVE) {
        r = backend->device.save_state(backend->opaque, file_fd);
        if (r < 0)
            return r;
    }
    transfer->saving = call->msg.payload.transfer.direction == VU_TRANSFER_SAVE;
    transfer->n_moved = 0;
    transfer->result = -EINPROGRESS;
    transfer->file_fd = vu_steal_fd(&file_fd);
    transfer->peer_fd = vu_steal_fd(&peer_fd);
    return 0;
}

/* A transfer of a kind that is not known yet is refused in the reply, like one that fails. */
int backend_set_device_state_fd(struct vu_backend *backend, struct backend_call *call)
{
    const struct vu_transfer_state *asked = &call->msg.payload.transfer;
    int r = 0;

    backend_transfer_cancel(&backend->transfer);
    if (asked->direction > VU_TRANSFER_LOAD || asked->phase != VU_TRANSFER_PHASE_STOPPED)
        r = -EINVAL;
    else if (backend_any_started(backend))
        r = -EBUSY;
    else
        r = transfer_begin(backend, call);
    if (r < 0) {
        backend->transfer.result = r;
        vu_error("%s: cannot transfer the device state (direction %u, phase %u): %s",
                 backend->device.name, asked->direction, asked->phase, g_strerror(-r));
    }
    call->reply.header.size = sizeof(uint64_t);
    call->reply.payload.u64 = r < 0 ? TRANSFER_REPLY_FAILED : TRANSFER_REPLY_NO_FD;
    return 0;
}

int backend_check_device_state(struct vu_backend *backend, struct backend_call *call)
{
    struct backend_transfer *transfer = &backend->transfer;

    /* The front-end closes the pipe before it asks: its end is there to be read. */
    backend_transfer_pump(backend);
    if (transfer->peer_fd >= 0)
        transfer_end(backend, -EINPROGRESS);
    call->reply.header.size = sizeof(uint64_t);
    call->reply.payload.u64 = (uint64_t)-transfer->result;
    return 0;
}
