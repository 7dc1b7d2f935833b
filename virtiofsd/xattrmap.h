/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How extended attributes of the guest are called on the host: the rules of -o xattrmap, in the
 * grammar of the C and the Rust virtiofsd.
 *
 *   :TYPE:SCOPE:KEY:PREPEND:   rules, with white space between them; the first character of each is
 *                              its delimiter
 *   :map:KEY:PREPEND:          short for several rules, and the last one
 *
 *   TYPE         a name of the guest that begins with KEY    a name of the host that begins with
 *                (SCOPE client or all)                       PREPEND (SCOPE server or all)
 *   prefix       gets PREPEND in front                       loses PREPEND
 *   ok           stays as it is                              stays as it is
 *   bad          is refused: EPERM                           is not listed
 *   unsupported  is refused: EOPNOTSUPP                      is not listed
 *
 * The first rule that matches counts, and some rule has to match every name in each direction. A
 * map does not change after it was parsed; any thread may use it.
 */
#pragma once

#include <glib.h>
#include <linux/limits.h>

struct fs_xattrmap;

/* NULL with *error, which names the rule and says what was expected. */
struct fs_xattrmap *fs_xattrmap_parse(const char *text, GError **error);
void fs_xattrmap_free(struct fs_xattrmap *map);

/*
 * The host's name for one of the guest, in ret_name. Without a map (NULL) it is the same. 0;
 * -EPERM, -EOPNOTSUPP: refused by a rule; -ERANGE: too long for a name with its prefix.
 */
int fs_xattrmap_to_host(const struct fs_xattrmap *map, const char *name,
                        char ret_name[XATTR_NAME_MAX + 1]);
/* The guest's name for one of the host, which points into `name`; NULL where it is hidden. */
const char *fs_xattrmap_to_guest(const struct fs_xattrmap *map, const char *name);
