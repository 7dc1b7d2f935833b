/* SPDX-License-Identifier: Apache-2.0 */
/* "value,key=value,..." by tables; see keyval.h. */
#include "vmm/keyval.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

GQuark vmm_config_error_quark(void)
{
    return g_quark_from_static_string("vmm-config-error");
}

bool vmm_config_fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error) {
        g_clear_error(error);
        *error = g_error_new_valist(VMM_CONFIG_ERROR, 0, format, args);
    }
    va_end(args);
    return false;
}

bool vmm_parse_size(const char *text, uint64_t default_unit, uint64_t *ret_size, GError **error)
{
    static const char suffixes[] = "BKMGTPE";
    uint64_t unit = default_unit, whole;
    double value;
    char *end, *whole_end;

    errno = 0;
    value = g_ascii_strtod(text, &end);
    whole = g_ascii_strtoull(text, &whole_end, 10);
    if (!g_ascii_isdigit(text[0]) || errno || !isfinite(value))
        return vmm_config_fail(error, "expected a size such as 512M or 4G, got \"%s\"", text);
    if (*end) {
        const char *suffix = strchr(suffixes, g_ascii_toupper(*end));

        if (!suffix || end[1])
            return vmm_config_fail(error, "expected a size such as 512M or 4G, got \"%s\"", text);
        unit = UINT64_C(1) << (10 * (suffix - suffixes));
    }
    if (value * (double)unit >= 9.2e18)
        return vmm_config_fail(error, "%s is more than any machine has", text);
    *ret_size = whole_end == end ? whole * unit : (uint64_t)(value * (double)unit);
    return true;
}

bool vmm_parse_range(const char *text, uint64_t *mask, unsigned n_bits, GError **error)
{
    char *end;
    uint64_t first, last;

    errno = 0;
    first = last = g_ascii_strtoull(text, &end, 10);
    if (end != text && *end == '-' && g_ascii_isdigit(end[1]))
        last = g_ascii_strtoull(end + 1, &end, 10);
    if (!g_ascii_isdigit(text[0]) || *end || errno || last < first || last >= n_bits)
        return vmm_config_fail(error,
                               "expected a number or a range such as 0-3, at most %u, got \"%s\"",
                               n_bits - 1, text);
    for (uint64_t bit = first; bit <= last; bit++)
        mask[bit / 64] |= UINT64_C(1) << (bit % 64);
    return true;
}

static bool key_parse_bool(bool *ret, const char *value, GError **error)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true"};

    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (strcmp(value, words[i]) == 0) {
            *ret = i % 2 == 1;
            return true;
        }
    }
    return vmm_config_fail(error, "expected on or off, got \"%s\"", value);
}

static bool key_parse_number(const struct vmm_key *key, const char *value, int64_t *ret,
                             GError **error)
{
    char *end;
    int64_t number;

    errno = 0;
    number = g_ascii_strtoll(value, &end, 0);
    if (end == value || *end || errno || number < (int64_t)key->min || number > (int64_t)key->max)
        return vmm_config_fail(error,
                               "expected a number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT
                               ", got \"%s\"",
                               (int64_t)key->min, (int64_t)key->max, value);
    *ret = number;
    return true;
}

static bool key_parse_choice(const struct vmm_key *key, const char *value, int *ret, GError **error)
{
    g_autofree char *words = NULL;

    for (int i = 0; key->choices[i]; i++) {
        if (strcmp(key->choices[i], value) == 0) {
            *ret = i;
            return true;
        }
    }
    words = g_strjoinv(", ", (char **)(uintptr_t)key->choices);
    return vmm_config_fail(error, "expected one of %s, got \"%s\"", words, value);
}

/* value is NULL where the key stood alone. */
static bool key_set(const struct vmm_key *key, const char *value, void *target, GError **error)
{
    void *field = (uint8_t *)target + key->offset;
    int64_t number = 0;

    if (key->type == VMM_KEY_IGNORED)
        return true;
    if (key->type == VMM_KEY_BOOL)
        return key_parse_bool(field, value ? value : "on", error);
    if (!value)
        return vmm_config_fail(error, "expected a value");
    switch (key->type) {
    case VMM_KEY_STRING:
        g_free(*(char **)field);
        *(char **)field = g_strdup(value);
        return true;
    case VMM_KEY_UINT:
    case VMM_KEY_INT:
        if (!key_parse_number(key, value, &number, error))
            return false;
        *(int *)field = (int)number;
        return true;
    case VMM_KEY_SIZE:
        return vmm_parse_size(value, 1, field, error);
    case VMM_KEY_CHOICE:
        return key_parse_choice(key, value, field, error);
    case VMM_KEY_CALL:
        return key->parse(target, value, error);
    case VMM_KEY_BOOL:
    case VMM_KEY_IGNORED:
        break;
    }
    return true;
}

static const struct vmm_key *key_find(const struct vmm_key *keys, size_t n_keys, const char *name)
{
    g_autofree char *dashed = g_strdelimit(g_strdup(name), "_", '-');

    for (size_t i = 0; i < n_keys; i++) {
        g_autofree char *own = g_strdelimit(g_strdup(keys[i].name), "_", '-');

        if (strcmp(own, dashed) == 0)
            return &keys[i];
    }
    return NULL;
}

/* Up to the next comma that stands alone; *text moves behind it. */
static char *key_take(const char **text)
{
    GString *taken = g_string_new(NULL);
    const char *at = *text;

    for (; *at; at++) {
        if (*at == ',' && at[1] != ',')
            break;
        if (*at == ',')
            at++;
        g_string_append_c(taken, *at);
    }
    *text = *at ? at + 1 : at;
    return g_string_free(taken, FALSE);
}

char *vmm_keys_kind(const char *text, const char **ret_rest)
{
    *ret_rest = text;
    return key_take(ret_rest);
}

bool vmm_keys_parse(const struct vmm_key *keys, size_t n_keys, const char *first, const char *text,
                    void *target, GError **error)
{
    bool is_first = true;

    while (*text) {
        g_autofree char *word = key_take(&text);
        char *equals = strchr(word, '=');
        const struct vmm_key *key;
        const char *name = word, *value = NULL;

        if (equals) {
            *equals = '\0';
            value = equals + 1;
        } else if (is_first && first) {
            name = first;
            value = word;
        }
        is_first = false;
        key = key_find(keys, n_keys, name);
        if (!key)
            return vmm_config_fail(error, "%s is not known there", name);
        if (!key_set(key, value, target, error)) {
            g_prefix_error(error, "%s: ", key->name);
            return false;
        }
    }
    return true;
}
