/* SPDX-License-Identifier: Apache-2.0 */
/* The wrapped calls. */
#include "tests/unit/storage-recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "vblkd/storage/storage.h"

GArray *storage_events;
unsigned storage_fail_at;
int storage_fail_errno;
unsigned storage_kill_at;

/* The kernel looks for signals between pages. */
#define RECORDER_PAGE 4096u

int __real_vblk_storage_write(struct vblk_storage *storage, const void *buf, uint64_t len,
                              uint64_t offset);
int __wrap_vblk_storage_write(struct vblk_storage *storage, const void *buf, uint64_t len,
                              uint64_t offset);
int __real_vblk_storage_writev(struct vblk_storage *storage, const struct iovec *iov,
                               unsigned n_iov, uint64_t offset);
int __wrap_vblk_storage_writev(struct vblk_storage *storage, const struct iovec *iov,
                               unsigned n_iov, uint64_t offset);
int __real_vblk_storage_flush(struct vblk_storage *storage);
int __wrap_vblk_storage_flush(struct vblk_storage *storage);
int __real_vblk_storage_zero(struct vblk_storage *storage, uint64_t offset, uint64_t len,
                             bool may_unmap);
int __wrap_vblk_storage_zero(struct vblk_storage *storage, uint64_t offset, uint64_t len,
                             bool may_unmap);
int __real_vblk_storage_discard(struct vblk_storage *storage, uint64_t offset, uint64_t len);
int __wrap_vblk_storage_discard(struct vblk_storage *storage, uint64_t offset, uint64_t len);
int __real_vblk_storage_truncate(struct vblk_storage *storage, uint64_t size);
int __wrap_vblk_storage_truncate(struct vblk_storage *storage, uint64_t size);

void storage_recorder_start(void)
{
    storage_events = g_array_new(FALSE, FALSE, sizeof(struct storage_event));
}

void storage_recorder_stop(void)
{
    for (guint i = 0; i < storage_events->len; i++) {
        g_free(g_array_index(storage_events, struct storage_event, i).bytes);
        g_free(g_array_index(storage_events, struct storage_event, i).path);
    }
    g_array_free(g_steal_pointer(&storage_events), TRUE);
}

static int recorder_fail(void)
{
    if (storage_kill_at > 0 && --storage_kill_at == 0)
        raise(SIGKILL);
    return storage_fail_at > 0 && --storage_fail_at == 0 ? -storage_fail_errno : 0;
}

/* A write that is the last ends somewhere within. */
static void recorder_tear(struct vblk_storage *storage, const void *buf, uint64_t len,
                          uint64_t offset)
{
    uint64_t first = -offset & (RECORDER_PAGE - 1), part;

    if (storage_kill_at != 1 || first >= len || g_test_rand_bit())
        return;
    part = first + (uint64_t)g_test_rand_int_range(0, (gint32)((len - first) / RECORDER_PAGE) + 1) *
                       RECORDER_PAGE;
    if (part > 0)
        (void)__real_vblk_storage_write(storage, buf, part, offset);
}

static void recorder_add(const struct vblk_storage *storage, enum storage_event_kind kind,
                         uint64_t offset, uint64_t len, const void *bytes)
{
    struct storage_event event = {kind, offset, len, NULL, NULL};

    if (!storage_events)
        return;
    event.path = g_strdup(storage->path);
    if (bytes)
        event.bytes = g_memdup2(bytes, len);
    g_array_append_val(storage_events, event);
}

int __wrap_vblk_storage_write(struct vblk_storage *storage, const void *buf, uint64_t len,
                              uint64_t offset)
{
    int ret;

    recorder_tear(storage, buf, len, offset);
    ret = recorder_fail();
    if (ret == 0)
        ret = __real_vblk_storage_write(storage, buf, len, offset);
    if (ret == 0)
        recorder_add(storage, STORAGE_EVENT_WRITE, offset, len, buf);
    return ret;
}

int __wrap_vblk_storage_writev(struct vblk_storage *storage, const struct iovec *iov,
                               unsigned n_iov, uint64_t offset)
{
    int ret;

    recorder_tear(storage, iov[0].iov_base, iov[0].iov_len, offset);
    ret = recorder_fail();
    if (ret == 0)
        ret = __real_vblk_storage_writev(storage, iov, n_iov, offset);
    for (unsigned i = 0; ret == 0 && i < n_iov; i++) {
        recorder_add(storage, STORAGE_EVENT_WRITE, offset, iov[i].iov_len, iov[i].iov_base);
        offset += iov[i].iov_len;
    }
    return ret;
}

int __wrap_vblk_storage_flush(struct vblk_storage *storage)
{
    int ret = recorder_fail();

    if (ret == 0)
        recorder_add(storage, STORAGE_EVENT_FLUSH, 0, 0, NULL);
    return ret;
}

int __wrap_vblk_storage_zero(struct vblk_storage *storage, uint64_t offset, uint64_t len,
                             bool may_unmap)
{
    int ret = recorder_fail();

    if (ret == 0)
        ret = __real_vblk_storage_zero(storage, offset, len, may_unmap);
    if (ret == 0)
        recorder_add(storage, STORAGE_EVENT_ZERO, offset, len, NULL);
    return ret;
}

int __wrap_vblk_storage_discard(struct vblk_storage *storage, uint64_t offset, uint64_t len)
{
    int ret = recorder_fail();

    if (ret == 0)
        ret = __real_vblk_storage_discard(storage, offset, len);
    if (ret == 0)
        recorder_add(storage, STORAGE_EVENT_DISCARD, offset, len, NULL);
    return ret;
}

int __wrap_vblk_storage_truncate(struct vblk_storage *storage, uint64_t size)
{
    int ret = recorder_fail();

    if (ret == 0)
        ret = __real_vblk_storage_truncate(storage, size);
    if (ret == 0)
        recorder_add(storage, STORAGE_EVENT_TRUNCATE, size, 0, NULL);
    return ret;
}

void storage_event_apply(const struct storage_event *event, int fd)
{
    off_t end = lseek(fd, 0, SEEK_END);

    switch (event->kind) {
    case STORAGE_EVENT_WRITE:
        g_assert_cmpint(pwrite(fd, event->bytes, event->len, (off_t)event->offset), ==,
                        (gssize)event->len);
        break;
    case STORAGE_EVENT_ZERO:
    case STORAGE_EVENT_DISCARD:
        if (event->kind == STORAGE_EVENT_ZERO && end < (off_t)(event->offset + event->len))
            g_assert_cmpint(ftruncate(fd, (off_t)(event->offset + event->len)), ==, 0);
        g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  (off_t)event->offset, (off_t)event->len),
                        ==, 0);
        break;
    case STORAGE_EVENT_TRUNCATE:
        g_assert_cmpint(ftruncate(fd, (off_t)event->offset), ==, 0);
        break;
    case STORAGE_EVENT_FLUSH:
        break;
    }
}
