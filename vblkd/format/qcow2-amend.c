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
#include "vhost-user/cleanup.h"

static bool amend_refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool amend_refuse(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error)
        *error = g_error_new_valist(G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, format, args);
    va_end(args);
    return false;
}

/* By who holds flush_lock: all that was written is on the disk. */
static bool amend_begin(struct qcow2 *q, GError **error)
{
    int ret;

    if (q->image->read_only || qcow2_is_corrupt(q))
        return amend_refuse(error, "the image is read-only");
    ret = qcow2_flush_all_held(q);
    if (ret < 0)
        return amend_refuse(error, "%s", g_strerror(-ret));
    q->header.autoclear &= QCOW2_AUTOCLEAR_KNOWN;
    return true;
}

/* The header as it is in memory; where it cannot be written, it becomes what it was. Strings are
 * the caller's business. */
static bool amend_write(struct qcow2 *q, const struct qcow2_header *old, GError **error)
{
    int ret = qcow2_write_header_held(q);

    if (ret == 0)
        return true;
    q->header = *old;
    if (ret == -ENOSPC)
        return amend_refuse(error, "the header does not fit in a cluster of the image");
    return amend_refuse(error, "the header cannot be written: %s", g_strerror(-ret));
}

bool qcow2_amend_backing(struct vblk_image *image, const char *name, const char *format,
                         GError **error)
{
    struct qcow2 *q = qcow2_of(image);
    struct qcow2_header old;

    VU_LOCK_SCOPE(&q->flush_lock);
    if (name && strlen(name) > QCOW2_MAX_BACKING_NAME)
        return amend_refuse(error, "the name of the backing file is too long");
    if (name && (q->header.autoclear & QCOW2_AUTOCLEAR_RAW_DATA))
        return amend_refuse(error, "nothing can lie behind an image with data_file_raw");
    if (!amend_begin(q, error))
        return false;
    old = q->header;
    q->header.backing_name = g_strdup(name);
    q->header.backing_format = g_strdup(name ? format : NULL);
    if (!amend_write(q, &old, error))
        return false;
    g_free(old.backing_name);
    g_free(old.backing_format);
    return true;
}

void qcow2_expect_backing(struct vblk_image *image)
{
    qcow2_of(image)->will_be_backed = true;
}
