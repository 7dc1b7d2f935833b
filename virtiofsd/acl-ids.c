/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of named users, and those of named groups, each stand together in a list, sorted by
 * id as setfacl(1) writes them; they are sorted anew by what they stand for.
 */
#include "virtiofsd/acl-ids.h"

#include <errno.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>

/* Entries of one tag in a row. */
struct acl_run {
    struct posix_acl_xattr_entry *entries;
    size_t n;
};

/* The entries of a list that is one; false for anything else. */
static bool acl_parse(void *value, size_t len, struct acl_run *ret_all)
{
    const struct posix_acl_xattr_header *header = value;

    if (len < sizeof(*header) || GUINT32_FROM_LE(header->a_version) != POSIX_ACL_XATTR_VERSION ||
        (len - sizeof(*header)) % sizeof(struct posix_acl_xattr_entry) != 0)
        return false;
    ret_all->entries = (struct posix_acl_xattr_entry *)((char *)value + sizeof(*header));
    ret_all->n = (len - sizeof(*header)) / sizeof(struct posix_acl_xattr_entry);
    return true;
}

/* The run that begins with entry `at`. */
static struct acl_run acl_run_at(const struct acl_run *all, size_t at)
{
    struct acl_run run = {.entries = &all->entries[at], .n = 1};

    while (at + run.n < all->n && run.entries[run.n].e_tag == run.entries[0].e_tag)
        run.n++;
    return run;
}

/* The map for the ids of a run; NULL: it has none. */
static const struct fs_idmap *acl_map(const struct fs_options *options, const struct acl_run *run)
{
    switch (GUINT16_FROM_LE(run->entries[0].e_tag)) {
    case ACL_USER:
        return &options->translate_uid;
    case ACL_GROUP:
        return &options->translate_gid;
    default:
        return NULL;
    }
}

static int acl_compare(const void *a, const void *b)
{
    uint32_t first = GUINT32_FROM_LE(((const struct posix_acl_xattr_entry *)a)->e_id);
    uint32_t second = GUINT32_FROM_LE(((const struct posix_acl_xattr_entry *)b)->e_id);

    return (first > second) - (first < second);
}

/* 0 or -EPERM. */
static int acl_translate(const struct fs_idmap_ranges *ranges, const struct acl_run *run)
{
    for (size_t i = 0; i < run->n; i++) {
        uint32_t id = GUINT32_FROM_LE(run->entries[i].e_id);
        int ret = fs_idmap_translate(ranges, id, &id);

        if (ret < 0)
            return ret;
        run->entries[i].e_id = GUINT32_TO_LE(id);
    }
    qsort(run->entries, run->n, sizeof(run->entries[0]), acl_compare);
    return 0;
}

/* Of a sorted run: entries of the same id become the first of them. */
static void acl_merge(struct acl_run *run)
{
    size_t n = 1;

    for (size_t i = 1; i < run->n; i++)
        if (run->entries[i].e_id == run->entries[n - 1].e_id)
            run->entries[n - 1].e_perm &= run->entries[i].e_perm;
        else
            run->entries[n++] = run->entries[i];
    run->n = n;
}

bool fs_acl_ids_matter(const struct fs_options *options, const char *name)
{
    const struct fs_idmap *uids = &options->translate_uid, *gids = &options->translate_gid;

    if (uids->to_host.n + uids->to_guest.n + gids->to_host.n + gids->to_guest.n == 0)
        return false;
    return strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS) == 0 ||
           strcmp(name, XATTR_NAME_POSIX_ACL_DEFAULT) == 0;
}

int fs_acl_ids_to_host(const struct fs_options *options, void *value, size_t len)
{
    struct acl_run all, run;

    if (!acl_parse(value, len, &all))
        return 0;
    for (size_t at = 0; at < all.n; at += run.n) {
        const struct fs_idmap *map;
        int ret;

        run = acl_run_at(&all, at);
        map = acl_map(options, &run);
        if (!map)
            continue;
        ret = acl_translate(&map->to_host, &run);
        if (ret < 0)
            return ret;
        for (size_t i = 1; i < run.n; i++)
            if (run.entries[i].e_id == run.entries[i - 1].e_id)
                return -EINVAL;
    }
    return 0;
}

size_t fs_acl_ids_to_guest(const struct fs_options *options, void *value, size_t len)
{
    struct acl_run all, run;
    size_t n = 0, n_before;

    if (!acl_parse(value, len, &all))
        return len;
    for (size_t at = 0; at < all.n; at += n_before) {
        const struct fs_idmap *map;

        run = acl_run_at(&all, at);
        n_before = run.n;
        map = acl_map(options, &run);
        if (map) {
            acl_translate(&map->to_guest, &run); /* nothing is forbidden in this direction */
            acl_merge(&run);
        }
        memmove(&all.entries[n], run.entries, run.n * sizeof(run.entries[0]));
        n += run.n;
    }
    return len - (all.n - n) * sizeof(all.entries[0]);
}
