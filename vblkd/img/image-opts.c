/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's keys of a local raw or qcow2 image, as options of the list -o would be; what is only about
 * how QEMU goes to work has no effect. */
#include "vblkd/img/image-opts.h"

#include <string.h>

#include "vblkd/storage/storage.h"
#include "vhost-user/daemon/options.h"

struct opts_target {
    struct img_image_opts *opts;
    char *driver, *protocol;
};

static bool opts_fail(GError **error, const char *value, const char *expected)
{
    g_set_error(error, VU_OPTION_ERROR, 0, "expected %s, got \"%s\"", expected, value ? value : "");
    return false;
}

static bool opts_parse_driver(void *target, const char *name, const char *value, GError **error)
{
    struct opts_target *parsed = target;
    char **field = strcmp(name, "driver") == 0 ? &parsed->driver : &parsed->protocol;
    static const char *const drivers[] = {"raw", "qcow2", "file", "host_device", NULL};

    if (!g_strv_contains(drivers, value) ||
        (field == &parsed->protocol && value[0] != 'f' && value[0] != 'h'))
        return opts_fail(error, value,
                         field == &parsed->driver ? "raw, qcow2, file or host_device"
                                                  : "file or host_device");
    g_free(*field);
    *field = g_strdup(value);
    return true;
}

static bool opts_parse_path(void *target, const char *name, const char *value, GError **error)
{
    struct opts_target *parsed = target;

    g_free(parsed->opts->path);
    parsed->opts->path = g_strdup(value);
    return true;
}

static bool opts_parse_switch(void *target, const char *name, const char *value, GError **error)
{
    struct img_image_opts *opts = ((struct opts_target *)target)->opts;
    bool is_on = g_str_equal(value, "on") || g_str_equal(value, "true");

    if (!is_on && !g_str_equal(value, "off") && !g_str_equal(value, "false"))
        return opts_fail(error, value, "on or off");
    if (g_str_has_suffix(name, "cache.direct"))
        opts->direct = is_on;
    else if (g_str_has_suffix(name, "cache.no-flush"))
        opts->no_flush = is_on;
    else
        opts->force_share = is_on;
    return true;
}

static bool opts_parse_locking(void *target, const char *name, const char *value, GError **error)
{
    static const char *const words[] = {"auto", "on", "off", NULL};

    ((struct opts_target *)target)->opts->no_locks = g_str_equal(value, "off");
    return g_strv_contains(words, value) || opts_fail(error, value, "auto, on or off");
}

#define OPTS_KEY(key, function)                                                   \
    {                                                                             \
        .name = key, .in_o_list = true, .type = VU_OPTION_CALL, .parse = function \
    }
#define OPTS_IGNORED(key)                                         \
    {                                                             \
        .name = key, .in_o_list = true, .type = VU_OPTION_IGNORED \
    }

/* clang-format off */
static const struct vu_option opts_rows[] = {
    OPTS_KEY("driver", opts_parse_driver),
    OPTS_KEY("file.driver", opts_parse_driver),
    OPTS_KEY("filename", opts_parse_path),
    OPTS_KEY("file.filename", opts_parse_path),
    OPTS_KEY("cache.direct", opts_parse_switch),
    OPTS_KEY("file.cache.direct", opts_parse_switch),
    OPTS_KEY("cache.no-flush", opts_parse_switch),
    OPTS_KEY("file.cache.no-flush", opts_parse_switch),
    OPTS_KEY("force-share", opts_parse_switch),
    OPTS_KEY("file.locking", opts_parse_locking),
    OPTS_IGNORED("node-name"),
    OPTS_IGNORED("file.node-name"),
    OPTS_IGNORED("read-only"),
    OPTS_IGNORED("auto-read-only"),
    OPTS_IGNORED("discard"),
    OPTS_IGNORED("file.discard"),
    OPTS_IGNORED("detect-zeroes"),
    OPTS_IGNORED("file.aio"),
    OPTS_IGNORED("file.read-only"),
    OPTS_IGNORED("file.auto-read-only"),
    OPTS_IGNORED("file.drop-cache"),
    OPTS_IGNORED("lazy-refcounts"),
    OPTS_IGNORED("overlap-check"),
    OPTS_IGNORED("pass-discard-request"),
    OPTS_IGNORED("pass-discard-snapshot"),
    OPTS_IGNORED("pass-discard-other"),
    OPTS_IGNORED("cache-clean-interval"),
    OPTS_IGNORED("l2-cache-entry-size"),
    OPTS_IGNORED("cache-size"),
    OPTS_IGNORED("l2-cache-size"),
    OPTS_IGNORED("refcount-cache-size"),
};
/* clang-format on */

bool img_image_opts_parse(const char *text, struct img_image_opts *ret_opts, GError **error)
{
    struct opts_target parsed = {.opts = ret_opts};
    const struct vu_option_table table = {opts_rows, G_N_ELEMENTS(opts_rows), &parsed};
    g_autofree char *list = g_strdup(text);
    char name[] = "--image-opts", option[] = "-o";
    char *argv[] = {name, option, list, NULL};
    bool ok;

    *ret_opts = (struct img_image_opts){0};
    ok = vu_options_parse(&table, 1, 3, argv, NULL, error);
    if (ok && !ret_opts->path) {
        g_set_error(error, VU_OPTION_ERROR, 0, "file.filename=NAME is missing");
        ok = false;
    }
    if (parsed.driver)
        ret_opts->format = g_strdup(strcmp(parsed.driver, "qcow2") == 0 ? "qcow2" : "raw");
    g_free(parsed.driver);
    g_free(parsed.protocol);
    if (!ok)
        g_prefix_error(error, "--image-opts: ");
    return ok;
}

void img_image_opts_clear(struct img_image_opts *opts)
{
    g_clear_pointer(&opts->path, g_free);
    g_clear_pointer(&opts->format, g_free);
}

const char *img_image_opts_cache(const struct img_image_opts *opts, const char *cache)
{
    if (opts->no_flush)
        return vblk_caches[VBLK_CACHE_UNSAFE];
    return opts->direct ? vblk_caches[VBLK_CACHE_NONE] : cache;
}
