/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of translation. All of them fill the lists of one direction or of both:
 *
 *   guest:GUEST:HOST:COUNT         GUEST + i acts as HOST + i
 *   host:HOST:GUEST:COUNT          what HOST + i owns is shown as owned by GUEST + i
 *   map:GUEST:HOST:COUNT           both
 *   squash-guest:GUEST:HOST:COUNT  all COUNT ids from GUEST on act as HOST
 *   squash-host:HOST:GUEST:COUNT   what COUNT ids from HOST on own is shown as owned by GUEST
 *   forbid-guest:GUEST:COUNT       none of COUNT ids from GUEST on may act or own
 */
#include "virtiofsd/idmap.h"

#include <errno.h>
#include <string.h>

#include "vhost-user/daemon/options.h"

#define IDMAP_MAX_NUMBERS 3

static const struct idmap_rule {
    const char *type;
    enum fs_idmap_kind kind;
    unsigned n_numbers;
    bool to_host;  /* the first number is the guest's */
    bool to_guest; /* ... the host's, or the second one where to_host is set too */
} idmap_rules[] = {
    {"guest", FS_IDMAP_SHIFT, 3, .to_host = true},
    {"host", FS_IDMAP_SHIFT, 3, .to_guest = true},
    {"map", FS_IDMAP_SHIFT, 3, .to_host = true, .to_guest = true},
    {"squash-guest", FS_IDMAP_SQUASH, 3, .to_host = true},
    {"squash-host", FS_IDMAP_SQUASH, 3, .to_guest = true},
    {"forbid-guest", FS_IDMAP_FORBID, 2, .to_host = true},
};

/* "TYPE:NUMBER..." into its rule and its numbers. NULL where it is anything else. */
static const struct idmap_rule *idmap_parse(const char *text, uint32_t *ret_numbers)
{
    g_auto(GStrv) words = g_strsplit(text, ":", IDMAP_MAX_NUMBERS + 2);
    unsigned n_words = g_strv_length(words);

    for (unsigned i = 1; i < n_words && i <= IDMAP_MAX_NUMBERS; i++) {
        guint64 number;

        if (!g_ascii_string_to_unsigned(words[i], 10, 0, UINT32_MAX, &number, NULL))
            return NULL;
        ret_numbers[i - 1] = (uint32_t)number;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(idmap_rules); i++)
        if (n_words == idmap_rules[i].n_numbers + 1 && strcmp(words[0], idmap_rules[i].type) == 0)
            return &idmap_rules[i];
    return NULL;
}

/* The last number of 32 bits is no id. */
static bool idmap_range_is_valid(const struct fs_idmap_range *range)
{
    uint32_t n_targets = range->kind == FS_IDMAP_SHIFT ? range->count : 1;

    return range->count > 0 && range->base <= UINT32_MAX - range->count &&
           (range->kind == FS_IDMAP_FORBID || range->target <= UINT32_MAX - n_targets);
}

/* The first range that ends behind id: the one that holds it, if any does. */
static unsigned idmap_find(const struct fs_idmap_ranges *ranges, uint32_t id)
{
    unsigned low = 0, high = ranges->n;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (ranges->ranges[middle].base + ranges->ranges[middle].count > id)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool idmap_check_free(const struct fs_idmap_ranges *ranges,
                             const struct fs_idmap_range *range, const char *text,
                             const char *direction, GError **error)
{
    unsigned at = idmap_find(ranges, range->base);
    const struct fs_idmap_range *other = at < ranges->n ? &ranges->ranges[at] : NULL;

    if (!other || other->base >= range->base + range->count)
        return true;
    g_set_error(error, VU_OPTION_ERROR, 0,
                "expected one rule for each id, got \"%s\" for ids %u to %u of the %s beside an "
                "earlier rule for %u to %u",
                text, range->base, range->base + range->count - 1, direction, other->base,
                other->base + other->count - 1);
    return false;
}

/* Of a range that was found to be free. */
static void idmap_insert(struct fs_idmap_ranges *ranges, const struct fs_idmap_range *range)
{
    unsigned at = idmap_find(ranges, range->base);

    ranges->ranges = g_renew(struct fs_idmap_range, ranges->ranges, ranges->n + 1);
    memmove(&ranges->ranges[at + 1], &ranges->ranges[at],
            (ranges->n - at) * sizeof(ranges->ranges[0]));
    ranges->ranges[at] = *range;
    ranges->n++;
}

bool fs_idmap_add(struct fs_idmap *map, const char *text, GError **error)
{
    uint32_t numbers[IDMAP_MAX_NUMBERS] = {0};
    const struct idmap_rule *rule = idmap_parse(text, numbers);
    struct fs_idmap_range first, second;

    if (!rule) {
        g_set_error(error, VU_OPTION_ERROR, 0,
                    "expected guest:, host:, map:, squash-guest: or squash-host: and "
                    "SOURCE:TARGET:COUNT, or forbid-guest:SOURCE:COUNT, got \"%s\"",
                    text);
        return false;
    }
    first = (struct fs_idmap_range){.base = numbers[0],
                                    .target = rule->n_numbers == 3 ? numbers[1] : 0,
                                    .count = numbers[rule->n_numbers - 1],
                                    .kind = rule->kind};
    if (!idmap_range_is_valid(&first)) {
        g_set_error(error, VU_OPTION_ERROR, 0,
                    "expected at least one id and none beyond 4294967294, got \"%s\"", text);
        return false;
    }
    second = first;
    if (rule->to_host && rule->to_guest) {
        second.base = first.target;
        second.target = first.base;
    }
    if ((rule->to_host && !idmap_check_free(&map->to_host, &first, text, "guest", error)) ||
        (rule->to_guest && !idmap_check_free(&map->to_guest, &second, text, "host", error)))
        return false;
    if (rule->to_host)
        idmap_insert(&map->to_host, &first);
    if (rule->to_guest)
        idmap_insert(&map->to_guest, &second);
    return true;
}

void fs_idmap_clear(struct fs_idmap *map)
{
    g_clear_pointer(&map->to_host.ranges, g_free);
    g_clear_pointer(&map->to_guest.ranges, g_free);
    map->to_host.n = map->to_guest.n = 0;
}

int fs_idmap_translate(const struct fs_idmap_ranges *ranges, uint32_t id, uint32_t *ret_id)
{
    unsigned at = idmap_find(ranges, id);
    const struct fs_idmap_range *range = at < ranges->n ? &ranges->ranges[at] : NULL;

    if (!range || id < range->base) {
        *ret_id = id;
        return 0;
    }
    switch (range->kind) {
    case FS_IDMAP_SHIFT:
        *ret_id = range->target + (id - range->base);
        return 0;
    case FS_IDMAP_SQUASH:
        *ret_id = range->target;
        return 0;
    case FS_IDMAP_FORBID:
        break;
    }
    return -EPERM;
}
