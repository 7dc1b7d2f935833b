/* SPDX-License-Identifier: Apache-2.0 */
/* Options: ids that stand for others, in the kernel or here. */
#include "virtiofsd/fs-options-rows.h"

static bool options_parse_id_map(void *target, const char *name, const char *value, GError **error)
{
    struct fs_options *options = target;

    return vu_id_map_add(name[0] == 'u' ? &options->uid_map : &options->gid_map, value, error);
}

static bool options_parse_translate_uid(void *target, const char *name, const char *value,
                                        GError **error)
{
    return fs_idmap_add(&((struct fs_options *)target)->translate_uid, value, error);
}

static bool options_parse_translate_gid(void *target, const char *name, const char *value,
                                        GError **error)
{
    return fs_idmap_add(&((struct fs_options *)target)->translate_gid, value, error);
}

static const struct vu_option options_identity_rows[] = {
    {.name = "translate-uid",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_translate_uid,
     .metavar = "TYPE:SOURCE:TARGET:COUNT",
     .group = FS_GROUP_SHARE,
     .help =
         "COUNT user ids from SOURCE on stand for those from TARGET on. guest: those of the guest, "
         "where it creates or changes owners; host: those of the host, as the guest sees them; "
         "map: the guest's for the host's and back; squash-guest, squash-host: all COUNT stand for "
         "TARGET alone; forbid-guest:SOURCE:COUNT: they can neither own nor change anything "
         "through operations on names and attributes (EPERM). An id that no rule is about stands "
         "for itself. May be given again, for other ids."},
    {.name = "translate-gid",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_translate_gid,
     .metavar = "TYPE:SOURCE:TARGET:COUNT",
     .group = FS_GROUP_SHARE,
     .help = "The same for group ids."},
    {.name = "uid-map",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_id_map,
     .metavar = ":GUEST:HOST:COUNT:",
     .group = FS_GROUP_ISOLATION,
     .help =
         "Serve from a user namespace in which COUNT user ids from GUEST on are those from HOST "
         "on. May be given again. An ordinary user needs newuidmap(1) and a range in "
         "/etc/subuid. Without it, an ordinary user's own id is the only one."},
    {.name = "gid-map",
     .is_long = true,
     .type = VU_OPTION_CALL,
     .parse = options_parse_id_map,
     .metavar = ":GUEST:HOST:COUNT:",
     .group = FS_GROUP_ISOLATION,
     .help = "The same for group ids."},
};
const struct vu_option_table fs_options_of_identity = {
    .rows = options_identity_rows, .n_rows = G_N_ELEMENTS(options_identity_rows)};
