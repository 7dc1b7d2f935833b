/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backing and data files. A name in an image may come from anybody: it names a local file and
 * nothing else, and only where the user said that such files may be opened.
 */
#include "vblkd/format/qcow2-backing.h"

#include <gio/gio.h>
#include <string.h>
#include <sys/stat.h>

#define BACKING_MAX_DEPTH       200

#define BACKING_FAIL(code, ...) g_set_error(error, G_IO_ERROR, code, __VA_ARGS__)

char *qcow2_backing_path(const char *image_path, const char *name, GError **error)
{
    const char *colon = strchr(name, ':'), *slash = strchr(name, '/');
    g_autofree char *dir = NULL;

    if (g_str_has_prefix(name, "file:")) {
        name += strlen("file:");
    } else if (colon && (!slash || colon < slash)) {
        BACKING_FAIL(G_IO_ERROR_NOT_SUPPORTED, "\"%s\" names no file", name);
        return NULL;
    }
    if (name[0] == '\0') {
        BACKING_FAIL(G_IO_ERROR_INVALID_DATA, "an empty file name");
        return NULL;
    }
    if (name[0] == '/')
        return g_strdup(name);
    dir = g_path_get_dirname(image_path);
    return strcmp(dir, ".") == 0 && !strchr(image_path, '/') ? g_strdup(name)
                                                             : g_build_filename(dir, name, NULL);
}

/* A chain that comes back to one of its images, or does not end. */
static bool backing_check_chain(const struct qcow2 *q, const struct vblk_image_chain *chain,
                                const char *path, GError **error)
{
    unsigned depth = 0;
    struct stat st, other;

    if (stat(path, &st) < 0) {
        BACKING_FAIL((int)g_io_error_from_errno(errno), "%s: %s", path, g_strerror(errno));
        return false;
    }
    for (; chain; chain = chain->front) {
        if (fstat(chain->storage->fd, &other) == 0 && other.st_dev == st.st_dev &&
            other.st_ino == st.st_ino) {
            BACKING_FAIL(G_IO_ERROR_INVALID_DATA, "%s lies behind itself", path);
            return false;
        }
        if (++depth > BACKING_MAX_DEPTH) {
            BACKING_FAIL(G_IO_ERROR_INVALID_DATA, "more than %d images behind each other",
                         BACKING_MAX_DEPTH);
            return false;
        }
    }
    return true;
}

static const char *backing_check_format(const struct qcow2 *q, GError **error)
{
    const char *format = q->header.backing_format;

    if (!format) {
        BACKING_FAIL(G_IO_ERROR_INVALID_DATA,
                     "the image does not say the format of its backing file %s; name it with "
                     "\"vblk-img rebase -u -F FORMAT -b %s %s\"",
                     q->header.backing_name, q->header.backing_name, q->storage->path);
        return NULL;
    }
    if (strcmp(format, "raw") == 0 || strcmp(format, "file") == 0)
        return "raw";
    if (strcmp(format, "qcow2") == 0)
        return format;
    BACKING_FAIL(G_IO_ERROR_NOT_SUPPORTED, "a backing file of format \"%s\" is not supported",
                 format);
    return NULL;
}

bool qcow2_backing_open(struct qcow2 *q, const struct vblk_image_options *options, GError **error)
{
    struct vblk_image_chain chain = {q->storage, options->chain};
    struct vblk_image_options behind = {
        .storage = options->storage,
        .allow_backing = true,
        .cache_size = options->cache_size,
        .l2_cache_size = options->l2_cache_size,
        .refcount_cache_size = options->refcount_cache_size,
        .written_depth = options->written_depth > 0 ? options->written_depth - 1 : 0,
        .chain = &chain,
    };
    g_autofree char *path = NULL;

    if (!q->header.backing_name || options->no_backing)
        return true;
    if (!options->allow_backing) {
        BACKING_FAIL(
            G_IO_ERROR_PERMISSION_DENIED,
            "the image needs the backing file %s, and opening such is not allowed (--backing)",
            q->header.backing_name);
        return false;
    }
    behind.storage.read_only = options->written_depth != 1;
    behind.storage.create = false;
    behind.format = backing_check_format(q, error);
    if (!behind.format)
        return false;
    path = qcow2_backing_path(q->storage->path, q->header.backing_name, error);
    if (!path || !backing_check_chain(q, &chain, path, error))
        return false;
    q->image->backing = vblk_image_open(path, &behind, error);
    return q->image->backing != NULL;
}

bool qcow2_data_file_open(struct qcow2 *q, const struct vblk_image_options *options, GError **error)
{
    struct vblk_storage_options storage = options->storage;
    g_autofree char *path = NULL;

    q->data_storage = q->storage;
    if (!q->has_data_file || options->no_backing)
        return true;
    if (!q->header.data_file_name) {
        BACKING_FAIL(G_IO_ERROR_INVALID_DATA, "the image does not name its external data file");
        return false;
    }
    if (!options->allow_backing) {
        BACKING_FAIL(G_IO_ERROR_PERMISSION_DENIED,
                     "the image keeps its data in %s, and opening such files is not allowed "
                     "(--backing)",
                     q->header.data_file_name);
        return false;
    }
    path = qcow2_backing_path(q->storage->path, q->header.data_file_name, error);
    if (!path)
        return false;
    storage.create = false;
    q->data_storage = vblk_storage_open(path, &storage, error);
    if (!q->data_storage) {
        q->data_storage = q->storage;
        return false;
    }
    return true;
}
