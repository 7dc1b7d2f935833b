/* SPDX-License-Identifier: Apache-2.0 */
/* Options: what is shared, how it looks, and who sees whose locks. */
#include "virtiofsd/fs-options-rows.h"

#include <string.h>

static const struct vu_option options_share_rows[] = {
    {.name = "shared-dir",
     .is_long = true,
     .type = VU_OPTION_STRING,
     FIELD(source),
     .metavar = "DIR",
     .group = FS_GROUP_SHARE,
     .help = "The directory to share."},
    {.name = "source",
     .in_o_list = true,
     .type = VU_OPTION_STRING,
     FIELD(source),
     .metavar = "DIR",
     .group = FS_GROUP_SHARE,
     .help = "The same as --shared-dir."},
    {.name = "tag",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_STRING,
     FIELD(tag),
     .metavar = "TAG",
     .group = FS_GROUP_SHARE,
     .help = "The name under which the guest mounts the share, at most 36 bytes. Only needed where "
             "the VMM does not give the tag itself."},
    {.name = "announce-submounts",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(announce_submounts),
     .group = FS_GROUP_SHARE,
     .help = "Show file systems that are mounted below the directory as file systems of their own "
             "(the default), so that inode numbers of different ones are not taken for the same."},
    {.name = "no-announce-submounts",
     .is_long = true,
     .type = VU_OPTION_NO_FLAG,
     FIELD(announce_submounts),
     .group = FS_GROUP_SHARE,
     .help = "Show everything as one file system."},
    {.name = "readonly",
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(readonly),
     .group = FS_GROUP_SHARE,
     .help = "The guest cannot change anything: whatever would is answered EROFS. What it reads "
             "keeps its time of access, as far as the host lets us; that of symbolic links with "
             "--sandbox=namespace alone."},
    {.name = "preserve-noatime",
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(preserve_noatime),
     .group = FS_GROUP_SHARE,
     .help = "A file that the guest opens with O_NOATIME is opened so on the host too, where we "
             "have the right to. Without this its time of access is the host's to keep."},
    {.name = "posix-lock",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(posix_lock),
     .group = FS_GROUP_SHARE,
     .help = "Record locks (fcntl) of the guest are locks of the host: other guests and the host's "
             "programs see them, and the guest sees theirs. Without this they count within the "
             "guest alone (the default). Data that several change under a lock needs "
             "--cache=never as well."},
    {.name = "flock",
     .in_o_list = true,
     .is_long = true,
     .type = VU_OPTION_FLAG,
     FIELD(flock),
     .group = FS_GROUP_SHARE,
     .help = "The same for flock(2)."},
};
const struct vu_option_table fs_options_of_share = {.rows = options_share_rows,
                                                    .n_rows = G_N_ELEMENTS(options_share_rows)};
