/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An external snapshot in one go: asks which image is in use, makes an empty overlay of that, and
 * hands it to the daemon. The overlay names the image by where it lies; that it is the very file
 * which the daemon has is checked, for a disk with something else behind it would be garbage.
 */
#include "vblkd/ctl/snapshot-external.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vblkd/format/qcow2-create.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/options.h"

#define EXTERNAL_BACKING "backing="

/* The image in use, as query-named-block-nodes has it. */
typedef struct {
    char *path, *format;
    int64_t size, device, inode;
} external_image;

static void external_image_clear(external_image *image)
{
    g_free(image->path);
    g_free(image->format);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(external_image, external_image_clear)

static bool external_fail(GError **error, const char *path, const char *why)
{
    g_set_error(error, VU_OPTION_ERROR, 0, "%s: %s", path, why);
    return false;
}

static bool external_query(struct ctl_connection *connection, external_image *image, GError **error)
{
    g_autoptr(JsonNode) nodes =
        ctl_execute(connection, "query-named-block-nodes", NULL, NULL, 0, error);
    JsonArray *array;
    JsonObject *node;

    if (!nodes)
        return false;
    array = JSON_NODE_HOLDS_ARRAY(nodes) ? json_node_get_array(nodes) : NULL;
    node =
        array && json_array_get_length(array) > 0 ? json_array_get_object_element(array, 0) : NULL;
    if (!node || !json_object_has_member(node, "inode"))
        return external_fail(error, "query-named-block-nodes", "not an answer");
    image->path = g_strdup(json_object_get_string_member_with_default(node, "file", ""));
    image->format = g_strdup(json_object_get_string_member_with_default(node, "drv", ""));
    image->size = json_object_get_int_member_with_default(node, "virtual-size", 0);
    image->device = json_object_get_int_member_with_default(node, "device", 0);
    image->inode = json_object_get_int_member_with_default(node, "inode", 0);
    return true;
}

/* Its name is the daemon's, and may be relative to another folder than ours. */
static bool external_check_image(const external_image *image, GError **error)
{
    struct stat st;

    if (stat(image->path, &st) == 0 && st.st_dev == (dev_t)image->device &&
        st.st_ino == (ino_t)image->inode)
        return true;
    return external_fail(error, image->path,
                         "is not here the image that the daemon has; say where that lies "
                         "(" EXTERNAL_BACKING "PATH)");
}

/* How the overlay names the image: both can be moved together where they lie together. g_free. */
static char *external_backing_name(const char *overlay, const char *image)
{
    g_autofree char *path = g_canonicalize_filename(image, NULL);
    g_autofree char *overlay_path = g_canonicalize_filename(overlay, NULL);
    g_autofree char *dir = g_path_get_dirname(path);
    g_autofree char *overlay_dir = g_path_get_dirname(overlay_path);

    return strcmp(dir, overlay_dir) == 0 ? g_path_get_basename(path) : g_steal_pointer(&path);
}

static bool external_sync(const char *path, int fd)
{
    g_autofree char *dir = g_path_get_dirname(path);
    vu_autofd int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fsync(fd) == 0 && dir_fd >= 0 && fsync(dir_fd) == 0;
}

/* Writes the overlay into the file that fd is, and hands it over. */
static bool external_make(struct ctl_connection *connection, const external_image *image,
                          const char *path, int fd, GError **error)
{
    g_autofree char *backing = external_backing_name(path, image->path);
    struct qcow2_create_options options = QCOW2_CREATE_DEFAULTS;
    g_autoptr(JsonNode) answer = NULL;
    JsonObject *arguments;
    JsonNode *node;

    options.size = (uint64_t)image->size;
    options.backing_name = backing;
    options.backing_format = image->format;
    if (!qcow2_create(path, &options, error))
        return false;
    if (!external_sync(path, fd))
        return external_fail(error, path, g_strerror(errno));
    arguments = json_object_new();
    json_object_set_string_member(arguments, "overlay", path);
    node = json_node_new(JSON_NODE_OBJECT);
    json_node_take_object(node, arguments);
    answer = ctl_execute(connection, "blockdev-snapshot", node, &fd, 1, error);
    return answer != NULL;
}

bool ctl_snapshot_external(struct ctl_connection *connection, char **words, GError **error)
{
    g_auto(external_image) image = {0};
    const char *path = words[0];
    vu_autofd int fd = -1;

    if (!path || g_str_has_prefix(path, EXTERNAL_BACKING) || (words[1] && words[2]) ||
        (words[1] && !g_str_has_prefix(words[1], EXTERNAL_BACKING)))
        return external_fail(error, CTL_SNAPSHOT_EXTERNAL,
                             "takes the name of a new file, and perhaps " EXTERNAL_BACKING "PATH");
    if (!external_query(connection, &image, error))
        return false;
    if (words[1]) {
        g_free(image.path);
        image.path = g_strdup(words[1] + strlen(EXTERNAL_BACKING));
    }
    if (!external_check_image(&image, error))
        return false;
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return external_fail(error, path, g_strerror(errno));
    if (external_make(connection, &image, path, fd, error))
        return true;
    g_unlink(path);
    return false;
}
