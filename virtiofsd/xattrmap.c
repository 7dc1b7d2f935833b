/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of -o xattrmap: parsing at start-up, looking names up in requests.
 */
#include "virtiofsd/xattrmap.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "vhost-user/daemon/options.h"

#define XATTRMAP_SHOWN_MAX 60 /* bytes of a wrong rule in its message */

enum xattrmap_scope { XATTRMAP_CLIENT = 1 << 0, XATTRMAP_SERVER = 1 << 1 };

enum xattrmap_type { XATTRMAP_PREFIX, XATTRMAP_OK, XATTRMAP_BAD, XATTRMAP_UNSUPPORTED };

struct xattrmap_rule {
    enum xattrmap_type type;
    unsigned scope;
    char *key;
    char *prepend;
};

struct fs_xattrmap {
    GArray *rules; /* of struct xattrmap_rule */
};

/* Where the parser is. */
struct xattrmap_parser {
    GArray *rules;
    const char *rule; /* beginning of the current rule */
    const char *at;
    char delimiter[8]; /* one character, perhaps of several bytes */
    unsigned number;   /* of the current rule, from 1 */
};

/* A word of the grammar and what it stands for. */
struct xattrmap_word {
    const char *word;
    unsigned value;
};

#define XATTRMAP_TYPE_MAP 100u /* beside enum xattrmap_type: the parser's alone */

static const struct xattrmap_word xattrmap_types[] = {
    {"prefix", XATTRMAP_PREFIX},           {"ok", XATTRMAP_OK},        {"bad", XATTRMAP_BAD},
    {"unsupported", XATTRMAP_UNSUPPORTED}, {"map", XATTRMAP_TYPE_MAP},
};

static const struct xattrmap_word xattrmap_scopes[] = {
    {"client", XATTRMAP_CLIENT},
    {"server", XATTRMAP_SERVER},
    {"all", XATTRMAP_CLIENT | XATTRMAP_SERVER},
};

/* Says what is wrong with the current rule. Returns false. */
G_GNUC_PRINTF(3, 4)
static bool xattrmap_fail(const struct xattrmap_parser *parser, GError **error, const char *format,
                          ...)
{
    size_t len = strlen(parser->rule);
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, VU_OPTION_ERROR, 0, "rule %u, \"%.*s%s\": %s", parser->number,
                (int)MIN(len, XATTRMAP_SHOWN_MAX), parser->rule,
                len > XATTRMAP_SHOWN_MAX ? "..." : "", what);
    return false;
}

/* The bytes up to the next delimiter, behind which the parser goes on. */
static bool xattrmap_take_field(struct xattrmap_parser *parser, const char *what, char **ret_field,
                                GError **error)
{
    const char *end = strstr(parser->at, parser->delimiter);

    if (!end)
        return xattrmap_fail(parser, error, "expected a \"%s\" behind the %s, got the end",
                             parser->delimiter, what);
    *ret_field = g_strndup(parser->at, (size_t)(end - parser->at));
    parser->at = end + strlen(parser->delimiter);
    return true;
}

static bool xattrmap_take_word(struct xattrmap_parser *parser, const char *what,
                               const struct xattrmap_word *words, size_t n_words,
                               unsigned *ret_value, GError **error)
{
    g_autoptr(GString) expected = g_string_new(NULL);
    g_autofree char *field = NULL;

    if (!xattrmap_take_field(parser, what, &field, error))
        return false;
    for (size_t i = 0; i < n_words; i++) {
        if (strcmp(words[i].word, field) == 0) {
            *ret_value = words[i].value;
            return true;
        }
        g_string_append_printf(expected, "%s%s",
                               i == 0             ? ""
                               : i == n_words - 1 ? " or "
                                                  : ", ",
                               words[i].word);
    }
    return xattrmap_fail(parser, error, "expected %s as %s, got \"%s\"", expected->str, what,
                         field);
}

static bool xattrmap_take_prefix(struct xattrmap_parser *parser, const char *what, char **ret_field,
                                 GError **error)
{
    g_autofree char *field = NULL;

    if (!xattrmap_take_field(parser, what, &field, error))
        return false;
    if (strlen(field) > XATTR_NAME_MAX)
        return xattrmap_fail(parser, error, "expected at most %d bytes as %s, got %zu",
                             XATTR_NAME_MAX, what, strlen(field));
    *ret_field = g_steal_pointer(&field);
    return true;
}

static void xattrmap_add(struct xattrmap_parser *parser, enum xattrmap_type type, unsigned scope,
                         const char *key, const char *prepend)
{
    struct xattrmap_rule rule = {
        .type = type, .scope = scope, .key = g_strdup(key), .prepend = g_strdup(prepend)};

    g_array_append_val(parser->rules, rule);
}

/* What :map:KEY:PREPEND: is short for. On either side, what the renaming could be taken for is out
 * of reach; names it does not concern are left alone. */
static void xattrmap_add_map(struct xattrmap_parser *parser, const char *key, const char *prepend)
{
    const unsigned all = XATTRMAP_CLIENT | XATTRMAP_SERVER;

    xattrmap_add(parser, XATTRMAP_PREFIX, all, key, prepend);
    if (key[0] == '\0') {
        xattrmap_add(parser, XATTRMAP_BAD, all, "", "");
        return;
    }
    xattrmap_add(parser, XATTRMAP_BAD, XATTRMAP_SERVER, "", key);
    xattrmap_add(parser, XATTRMAP_BAD, XATTRMAP_CLIENT, prepend, "");
    xattrmap_add(parser, XATTRMAP_OK, all, "", "");
}

/* Bytes of the first character; one where they are not UTF-8. */
static size_t xattrmap_character_len(const char *text)
{
    gunichar first = g_utf8_get_char_validated(text, -1);

    return first == (gunichar)-1 || first == (gunichar)-2 ? 1
                                                          : (size_t)g_unichar_to_utf8(first, NULL);
}

/* One rule, whose first character the parser is at. */
static bool xattrmap_parse_rule(struct xattrmap_parser *parser, GError **error)
{
    size_t len = xattrmap_character_len(parser->at);
    unsigned type = 0, scope = XATTRMAP_CLIENT | XATTRMAP_SERVER;
    g_autofree char *key = NULL, *prepend = NULL;

    g_strlcpy(parser->delimiter, parser->at, len + 1);
    parser->at += len;
    if (!xattrmap_take_word(parser, "type", xattrmap_types, G_N_ELEMENTS(xattrmap_types), &type,
                            error))
        return false;
    if (type != XATTRMAP_TYPE_MAP &&
        !xattrmap_take_word(parser, "scope", xattrmap_scopes, G_N_ELEMENTS(xattrmap_scopes), &scope,
                            error))
        return false;
    if (!xattrmap_take_prefix(parser, "key", &key, error) ||
        !xattrmap_take_prefix(parser, "prepend", &prepend, error))
        return false;
    if (type != XATTRMAP_TYPE_MAP) {
        xattrmap_add(parser, (enum xattrmap_type)type, scope, key, prepend);
        return true;
    }
    if (parser->at[strspn(parser->at, " \t\r\n\v\f")] != '\0')
        return xattrmap_fail(parser, error, "expected map as the last rule, got more behind it");
    xattrmap_add_map(parser, key, prepend);
    return true;
}

/* Whether a rule matches every name in that direction. */
static bool xattrmap_is_terminated(const GArray *rules, unsigned scope)
{
    for (guint i = 0; i < rules->len; i++) {
        const struct xattrmap_rule *rule = &g_array_index(rules, struct xattrmap_rule, i);
        const char *prefix = scope == XATTRMAP_CLIENT ? rule->key : rule->prepend;

        if (rule->scope & scope && prefix[0] == '\0')
            return true;
    }
    return false;
}

static void xattrmap_clear_rule(void *opaque)
{
    struct xattrmap_rule *rule = opaque;

    g_free(rule->key);
    g_free(rule->prepend);
}

/* All rules of the text, and what they have to be together. */
static bool xattrmap_parse_rules(struct xattrmap_parser *parser, GError **error)
{
    for (;;) {
        parser->at += strspn(parser->at, " \t\r\n\v\f");
        if (*parser->at == '\0')
            break;
        parser->rule = parser->at;
        parser->number++;
        if (!xattrmap_parse_rule(parser, error))
            return false;
    }
    if (parser->number == 0) {
        g_set_error_literal(error, VU_OPTION_ERROR, 0,
                            "expected rules like :prefix:all::user.virtiofs.: or :ok:all:::, "
                            "got none");
        return false;
    }
    if (!xattrmap_is_terminated(parser->rules, XATTRMAP_CLIENT))
        return xattrmap_fail(parser, error,
                             "expected a rule at the end that matches every name of the guest "
                             "(scope client or all, no key), like :bad:all:::, got none");
    if (!xattrmap_is_terminated(parser->rules, XATTRMAP_SERVER))
        return xattrmap_fail(parser, error,
                             "expected a rule at the end that matches every name of the host "
                             "(scope server or all, no prepend), like :bad:all:::, got none");
    return true;
}

struct fs_xattrmap *fs_xattrmap_parse(const char *text, GError **error)
{
    struct xattrmap_parser parser = {.rule = text, .at = text};
    struct fs_xattrmap *map;

    parser.rules = g_array_new(FALSE, FALSE, sizeof(struct xattrmap_rule));
    g_array_set_clear_func(parser.rules, xattrmap_clear_rule);
    if (!xattrmap_parse_rules(&parser, error)) {
        g_array_unref(parser.rules);
        return NULL;
    }
    map = g_new(struct fs_xattrmap, 1);
    map->rules = parser.rules;
    return map;
}

void fs_xattrmap_free(struct fs_xattrmap *map)
{
    if (!map)
        return;
    g_array_unref(map->rules);
    g_free(map);
}

static const struct xattrmap_rule *xattrmap_find(const struct fs_xattrmap *map, unsigned scope,
                                                 const char *name)
{
    for (guint i = 0; i < map->rules->len; i++) {
        const struct xattrmap_rule *rule = &g_array_index(map->rules, struct xattrmap_rule, i);
        const char *prefix = scope == XATTRMAP_CLIENT ? rule->key : rule->prepend;

        if (rule->scope & scope && g_str_has_prefix(name, prefix))
            return rule;
    }
    g_assert_not_reached(); /* every map is terminated */
}

int fs_xattrmap_to_host(const struct fs_xattrmap *map, const char *name,
                        char ret_name[XATTR_NAME_MAX + 1])
{
    const struct xattrmap_rule *rule = map ? xattrmap_find(map, XATTRMAP_CLIENT, name) : NULL;
    size_t prepend_len = 0, len = strlen(name);

    if (rule) {
        if (rule->type == XATTRMAP_BAD)
            return -EPERM;
        if (rule->type == XATTRMAP_UNSUPPORTED)
            return -EOPNOTSUPP;
        if (rule->type == XATTRMAP_PREFIX)
            prepend_len = strlen(rule->prepend);
    }
    if (prepend_len + len > XATTR_NAME_MAX)
        return -ERANGE;
    if (prepend_len > 0)
        memcpy(ret_name, rule->prepend, prepend_len);
    memcpy(ret_name + prepend_len, name, len + 1);
    return 0;
}

const char *fs_xattrmap_to_guest(const struct fs_xattrmap *map, const char *name)
{
    const struct xattrmap_rule *rule = map ? xattrmap_find(map, XATTRMAP_SERVER, name) : NULL;

    if (rule) {
        if (rule->type == XATTRMAP_BAD || rule->type == XATTRMAP_UNSUPPORTED)
            return NULL;
        if (rule->type == XATTRMAP_PREFIX)
            name += strlen(rule->prepend);
    }
    return name[0] != '\0' ? name : NULL;
}
