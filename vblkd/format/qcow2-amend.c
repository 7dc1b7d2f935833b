/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of the header: in memory, then on the disk, where one write makes them; where that fails,
 * back in memory.
 */
#include "vblkd/format/qcow2-amend.h"

#include <gio/gio.h>
#include <stdarg.h>
#include <string.h>

#include "vblkd/format/qcow2-flush.h"
#include "vblkd/format/qcow2-journal.h"
#include "vhost-user/cleanup.h"

bool qcow2_amend_refuse(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, format, args);
    va_end(args);
    return false;
}

bool qcow2_amend_begin(struct qcow2 *q, GError **error)
{
    int ret;

    if (q->image->read_only || qcow2_is_corrupt(q))
        return qcow2_amend_refuse(error, "the image is read-only");
    ret = qcow2_flush_all_held(q);
    if (ret < 0)
        return qcow2_amend_refuse(error, "%s", g_strerror(-ret));
    q->header.autoclear &= QCOW2_AUTOCLEAR_KNOWN | (q->journal ? QCOW2_AUTOCLEAR_JOURNAL : 0);
    return true;
}

bool qcow2_amend_write(struct qcow2 *q, const struct qcow2_header *old, GError **error)
{
    int ret = qcow2_write_header_held(q);

    if (ret == 0)
        return true;
    q->header = *old;
    if (ret == -ENOSPC)
        return qcow2_amend_refuse(error, "the header does not fit in a cluster of the image");
    return qcow2_amend_refuse(error, "the header cannot be written: %s", g_strerror(-ret));
}

bool qcow2_amend_backing(struct vblk_image *image, const char *name, const char *format,
                         GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_header old;

    VU_LOCK_SCOPE(&q->flush_lock);
    if (name && strlen(name) > QCOW2_MAX_BACKING_NAME)
        return qcow2_amend_refuse(error, "the name of the backing file is too long");
    if (name && (q->header.autoclear & QCOW2_AUTOCLEAR_RAW_DATA))
        return qcow2_amend_refuse(error, "nothing can lie behind an image with data_file_raw");
    if (!qcow2_amend_begin(q, error))
        return false;
    old = q->header;
    q->header.backing_name = g_strdup(name);
    q->header.backing_format = g_strdup(name ? format : NULL);
    if (!qcow2_amend_write(q, &old, error))
        return false;
    g_free(old.backing_name);
    g_free(old.backing_format);
    return true;
}

void qcow2_expect_backing(struct vblk_image *image)
{
    qcow2_of(image)->will_be_backed = true;
}

bool qcow2_amend_lazy_refcounts(struct vblk_image *image, bool is_lazy, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_header old;

    VU_LOCK_SCOPE(&q->flush_lock);
    if (is_lazy && q->header.version < 3)
        return qcow2_amend_refuse(error, "lazy_refcounts needs compat=1.1 or later");
    if (!qcow2_amend_begin(q, error))
        return false;
    old = q->header;
    q->header.compatible &= ~QCOW2_COMPAT_LAZY_REFCOUNTS;
    q->header.compatible |= is_lazy ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0;
    /* All refcounts are on the disk. */
    q->header.incompatible &= ~QCOW2_INCOMPAT_DIRTY;
    return qcow2_amend_write(q, &old, error);
}

bool qcow2_amend_data_file(struct vblk_image *image, const char *name, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_header old;

    VU_LOCK_SCOPE(&q->flush_lock);
    if (!q->has_data_file)
        return qcow2_amend_refuse(error,
                                  "data_file is for images that keep their data in another file");
    if (!qcow2_amend_begin(q, error))
        return false;
    old = q->header;
    q->header.data_file_name = g_strdup(name);
    if (!qcow2_amend_write(q, &old, error))
        return false;
    g_free(old.data_file_name);
    return true;
}

bool qcow2_amend_data_file_raw(struct vblk_image *image, bool is_raw, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_header old;

    VU_LOCK_SCOPE(&q->flush_lock);
    if (is_raw)
        return qcow2_amend_refuse(error, "data_file_raw can only be said of a new image");
    if (!qcow2_amend_begin(q, error))
        return false;
    old = q->header;
    q->header.autoclear &= ~QCOW2_AUTOCLEAR_RAW_DATA;
    return qcow2_amend_write(q, &old, error);
}

bool qcow2_upgrade(struct vblk_image *image, GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_header old;

    VU_LOCK_SCOPE(&q->flush_lock);
    if (q->header.version >= 3)
        return true;
    if (!qcow2_amend_begin(q, error))
        return false;
    old = q->header;
    q->header.version = 3;
    return qcow2_amend_write(q, &old, error);
}
