/* SPDX-License-Identifier: Apache-2.0 */
/* Options: what the guest may keep, and for how long. */
#include "virtiofsd/fs-options-rows.h"

#include <math.h>

#include "virtiofsd/cache-mode.h"

static bool options_parse_cache(void *target, const char *name, const char *value, GError **error)
{
    const struct fs_cache_mode *mode = fs_cache_mode_by_name(value);

    if (!mode) {
        g_set_error(error, VU_OPTION_ERROR, 0,
                    "expected never (or none), metadata, auto or always, got \"%s\"", value);
        return false;
    }
    ((struct fs_options *)target)->cache = (int)mode->mode;
    return true;
}

static bool options_parse_seconds(double *target, const char *value, GError **error)
{
    char *end = NULL;
    double seconds = g_ascii_strtod(value, &end);

    if (end == value || *end != '\0' || !isfinite(seconds) || seconds < 0 || seconds > 1e9) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected seconds from 0 to 1e9, got \"%s\"", value);
        return false;
    }
    *target = seconds;
    return true;
}

/* --timeout, or that of one kind, told by how the option's name begins. */
static bool options_parse_timeout(void *target, const char *name, const char *value, GError **error)
{
    struct fs_options *options = target;
    double *seconds = name[0] == 'e'   ? &options->entry_timeout
                      : name[0] == 'a' ? &options->attr_timeout
                      : name[0] == 'n' ? &options->negative_timeout
                                       : &options->timeout;

    return options_parse_seconds(seconds, value, error);
}

static const struct vu_option options_cache_rows[] = {
    {.name = "cache",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_cache,
     .metavar = "never|metadata|auto|always",
     .group = FS_GROUP_CACHE,
     .help = "never (or none): every access asks the host; metadata: names and attributes are kept "
             "for a day, data is not; auto (the default): names and attributes are kept for a "
             "second, data as long as the file does not change; always: everything is kept, for "
             "directories that only this guest changes."},
    {.name = "timeout",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_timeout,
     .metavar = "SECONDS",
     .group = FS_GROUP_CACHE,
     .help =
         "How long the guest may keep names and attributes, instead of what --cache says. That a "
         "name is missing is kept for a second at most."},
    {.name = "entry-timeout",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_timeout,
     .metavar = "SECONDS",
     .group = FS_GROUP_CACHE,
     .help = "The same for names alone. Fractions of seconds are welcome."},
    {.name = "attr-timeout",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_timeout,
     .metavar = "SECONDS",
     .group = FS_GROUP_CACHE,
     .help = "The same for attributes alone."},
    {.name = "negative-timeout",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_timeout,
     .metavar = "SECONDS",
     .group = FS_GROUP_CACHE,
     .help =
         "For how long the guest may believe that a name is missing: what the host creates shows "
         "up after that time. Default: a second where names are kept."},
    {.name = "readdirplus",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(readdirplus),
     .group = FS_GROUP_CACHE,
     .help = "Hand out attributes along with names when a directory is read (the default, where "
             "the guest may cache them)."},
    {.name = "no-readdirplus",
     .is_long = true,
     .type = VU_OPTION_NO_FLAG,
     FIELD(readdirplus),
     .group = FS_GROUP_CACHE,
     .help = "Hand out names alone."},
    {.name = "allow-mmap",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(allow_mmap),
     .group = FS_GROUP_CACHE,
     .help = "Allow shared mappings of files with --cache=never and metadata too. What is mapped "
             "is then cached."},
    {.name = "writeback",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(writeback),
     .group = FS_GROUP_CACHE,
     .help =
         "The guest collects what is written and sends it later: when a file is closed or synced, "
         "or after some seconds. It then trusts its own sizes and times of files, whatever the "
         "host says, so nobody else may write to them: not for data that several share under a "
         "lock. Without effect with --cache=never and metadata."},
    {.name = "allow-direct-io",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(allow_direct_io),
     .group = FS_GROUP_CACHE,
     .help = "A file that the guest opens with O_DIRECT is opened so on the host, too, past the "
             "host's cache. Without this O_DIRECT is about the guest's cache alone (the default)."},
};
const struct vu_option_table fs_options_of_cache = {.rows = options_cache_rows,
                                                    .n_rows = G_N_ELEMENTS(options_cache_rows)};
