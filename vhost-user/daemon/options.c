/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command-line parser. An argument is taken apart into a spelling (for messages), a row and a
 * value; one function per type puts the value into the row's field.
 */
#include "vhost-user/daemon/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhost-user/daemon/options-words.h"
#include "vhost-user/log.h"

G_DEFINE_QUARK(vu - option - error - quark, vu_option_error)

/* One use of a row on the command line. */
struct option_use {
    const struct vu_option *row;
    void *field;
    void *target;
    const char *spelled; /* "--name", "-f" or "-o name" */
    bool inverted;       /* -o no_name */
    GPtrArray *ignored;  /* the parser's */
};

/* The command line being parsed. */
struct option_parser {
    const struct vu_option_table *tables;
    size_t n_tables;
    char **argv; /* what is left of it, its NULL included */
    GPtrArray *rest;
    GPtrArray *ignored; /* what was accepted and does nothing, as it was spelled */
};

enum option_value { OPTION_VALUE_NEVER, OPTION_VALUE_ALWAYS, OPTION_VALUE_MAYBE };

static bool option_fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
static bool option_fail(GError **error, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (error != NULL)
        *error = g_error_new_valist(VU_OPTION_ERROR, 0, format, args);
    va_end(args);
    return false;
}

static bool option_set_flag(const struct option_use *use, const char *value, GError **error)
{
    *(bool *)use->field = (use->row->type == VU_OPTION_FLAG) != use->inverted;
    return true;
}

static bool option_set_string(const struct option_use *use, const char *value, GError **error)
{
    char **field = use->field;

    if (*value == '\0')
        return option_fail(error, "%s: expected %s, got nothing", use->spelled,
                           use->row->metavar ? use->row->metavar : "a value");
    g_free(*field);
    *field = g_strdup(value);
    return true;
}

static bool option_set_int(const struct option_use *use, const char *value, GError **error)
{
    const struct vu_option *row = use->row;
    char *end = NULL;
    long number;

    errno = 0;
    number = strtol(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < row->min || number > row->max)
        return option_fail(error, "%s: expected a number from %ld to %ld, got \"%s\"", use->spelled,
                           row->min, row->max, value);
    *(int *)use->field = (int)number;
    return true;
}

static bool option_find_choice(const struct option_use *use, const char *value, int *ret_index,
                               GError **error)
{
    const char *const *choices = use->row->choices;
    g_autofree char *all = NULL;

    for (int i = 0; choices[i] != NULL; i++)
        if (g_ascii_strcasecmp(choices[i], value) == 0) {
            *ret_index = i;
            return true;
        }
    all = vu_options_join_choices(choices);
    return option_fail(error, "%s: expected %s, got \"%s\"", use->spelled, all, value);
}

static bool option_set_choice(const struct option_use *use, const char *value, GError **error)
{
    return option_find_choice(use, value, use->field, error);
}

static bool option_set_call(const struct option_use *use, const char *value, GError **error)
{
    if (use->row->parse(use->target, use->row->name, value, error))
        return true;
    g_prefix_error(error, "%s: ", use->spelled);
    return false;
}

static bool option_set_ignored(const struct option_use *use, const char *value, GError **error)
{
    int any;

    if (use->row->choices != NULL && !option_find_choice(use, value, &any, error))
        return false;
    if (!g_ptr_array_find_with_equal_func(use->ignored, use->spelled, g_str_equal, NULL))
        g_ptr_array_add(use->ignored, g_strdup(use->spelled));
    return true;
}

static const struct option_type_info {
    enum option_value value;
    bool (*set)(const struct option_use *use, const char *value, GError **error);
} option_types[] = {
    [VU_OPTION_FLAG] = {OPTION_VALUE_NEVER, option_set_flag},
    [VU_OPTION_NO_FLAG] = {OPTION_VALUE_NEVER, option_set_flag},
    [VU_OPTION_STRING] = {OPTION_VALUE_ALWAYS, option_set_string},
    [VU_OPTION_INT] = {OPTION_VALUE_ALWAYS, option_set_int},
    [VU_OPTION_CHOICE] = {OPTION_VALUE_ALWAYS, option_set_choice},
    [VU_OPTION_CALL] = {OPTION_VALUE_ALWAYS, option_set_call},
    [VU_OPTION_IGNORED] = {OPTION_VALUE_MAYBE, option_set_ignored},
};

static enum option_value option_wants_value(const struct vu_option *row)
{
    return row->value_optional ? OPTION_VALUE_MAYBE : option_types[row->type].value;
}

/* `-o posix_lock` and `-o posix-lock` are one key. */
static bool option_same_key(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; a++, b++)
        if (*a != *b && !(strchr("-_", *a) && strchr("-_", *b)))
            return false;
    return *a == *b;
}

static bool option_matches(const struct vu_option *row, enum vu_option_form form, const char *name)
{
    switch (form) {
    case VU_OPTION_FORM_LONG:
        return row->is_long && strcmp(row->name, name) == 0;
    case VU_OPTION_FORM_KEY:
        return row->in_o_list && option_same_key(row->name, name);
    case VU_OPTION_FORM_SHORT:
        return row->short_name != '\0' && row->short_name == *name;
    }
    return false;
}

static void option_fill_use(const struct option_parser *parser, const struct vu_option_table *table,
                            const struct vu_option *row, struct option_use *ret_use)
{
    *ret_use = (struct option_use){
        .row = row,
        .target = table->target,
        .field = (char *)table->target + row->offset,
        .ignored = parser->ignored,
    };
}

/* The same for a long option that is cut short. */
static bool option_find_abbreviated(const struct option_parser *parser, const char *name,
                                    struct option_use *ret_use)
{
    unsigned n = 0;

    for (size_t t = 0; t < parser->n_tables; t++) {
        const struct vu_option_table *table = &parser->tables[t];

        for (size_t i = 0; i < table->n_rows && table->abbreviates; i++)
            if (table->rows[i].is_long && g_str_has_prefix(table->rows[i].name, name) && n++ == 0)
                option_fill_use(parser, table, &table->rows[i], ret_use);
    }
    return n == 1;
}

/* Looks a name up in all tables and fills ret_use, but for its spelling. */
static bool option_find(const struct option_parser *parser, enum vu_option_form form,
                        const char *name, struct option_use *ret_use)
{
    for (size_t t = 0; t < parser->n_tables; t++) {
        const struct vu_option_table *table = &parser->tables[t];

        for (size_t i = 0; i < table->n_rows; i++)
            if (option_matches(&table->rows[i], form, name)) {
                option_fill_use(parser, table, &table->rows[i], ret_use);
                return true;
            }
    }
    return form == VU_OPTION_FORM_LONG && option_find_abbreviated(parser, name, ret_use);
}

static bool option_unknown(const struct option_parser *parser, enum vu_option_form form,
                           const char *spelled, const char *name, GError **error)
{
    g_autofree char *hint = vu_options_suggest(parser->tables, parser->n_tables, form, name);

    if (hint != NULL)
        return option_fail(error, "%s: unknown option; is %s meant?", spelled, hint);
    return option_fail(error, "%s: unknown option; --help lists them", spelled);
}

/*
 * Sets a row from `value` (NULL: none was attached). With may_take_next, a missing value is the
 * next argument.
 */
static bool option_use(struct option_parser *parser, const struct option_use *use,
                       const char *value, bool may_take_next, GError **error)
{
    enum option_value wants = option_wants_value(use->row);

    if (wants == OPTION_VALUE_NEVER && value != NULL)
        return option_fail(error, "%s: expected no value, got \"%s\"", use->spelled, value);
    /* What is ignored takes the value it had where it came from, if its row says so. */
    if (use->row->type == VU_OPTION_IGNORED && use->row->metavar != NULL)
        wants = OPTION_VALUE_ALWAYS;
    if (wants == OPTION_VALUE_ALWAYS && value == NULL) {
        if (may_take_next)
            value = *parser->argv;
        if (value == NULL)
            return option_fail(error, "%s: expected %s, got nothing", use->spelled,
                               use->row->metavar ? use->row->metavar : "a value");
        parser->argv++;
    }
    return option_types[use->row->type].set(use, value, error);
}

static bool option_parse_long(struct option_parser *parser, const char *arg, GError **error)
{
    const char *equals = strchr(arg, '=');
    g_autofree char *spelled = equals ? g_strndup(arg, (size_t)(equals - arg)) : g_strdup(arg);
    struct option_use use;

    if (!option_find(parser, VU_OPTION_FORM_LONG, spelled + 2, &use))
        return option_unknown(parser, VU_OPTION_FORM_LONG, spelled, spelled + 2, error);
    use.spelled = spelled;
    return option_use(parser, &use, equals ? equals + 1 : NULL, true, error);
}

/* One key of a list, without its escapes. A bare no_KEY is a flag's opposite. */
static bool option_parse_key(struct option_parser *parser, char *item, GError **error)
{
    char *equals = strchr(item, '='), *value = equals ? equals + 1 : NULL;
    g_autofree char *spelled = NULL;
    struct option_use use;
    bool found;

    if (equals != NULL)
        *equals = '\0';
    spelled = g_strdup_printf("-o %s", item);
    found = option_find(parser, VU_OPTION_FORM_KEY, item, &use);
    if (!found && g_str_has_prefix(item, "no_")) {
        found = option_find(parser, VU_OPTION_FORM_KEY, item + 3, &use) &&
                (use.row->type == VU_OPTION_FLAG || use.row->type == VU_OPTION_NO_FLAG);
        use.inverted = true;
    }
    if (!found)
        return option_unknown(parser, VU_OPTION_FORM_KEY, spelled, item, error);
    use.spelled = spelled;
    return option_use(parser, &use, value, false, error);
}

static bool option_is_octal(const char *digits)
{
    return digits[0] >= '0' && digits[0] <= '3' && digits[1] >= '0' && digits[1] <= '7' &&
           digits[2] >= '0' && digits[2] <= '7';
}

/* What a backslash or a comma stands for that does not separate: one character, and how many it
 * took; 0: it is none of these. */
static size_t option_unescape(const char *text, char *ret_character)
{
    if (text[0] == '\\' && option_is_octal(text + 1)) {
        *ret_character = (char)((text[1] - '0') << 6 | (text[2] - '0') << 3 | (text[3] - '0'));
        return 4;
    }
    if ((text[0] == '\\' && text[1] != '\0') || (text[0] == ',' && text[1] == ',')) {
        *ret_character = text[1];
        return 2;
    }
    return 0;
}

/* key=value,key,...; so that values may have commas, a backslash takes the next character as it is
 * (libfuse), or the one of an octal number, and two commas are one (QEMU). */
static bool option_parse_list(struct option_parser *parser, const char *list, GError **error)
{
    g_autoptr(GString) item = g_string_new(NULL);

    for (const char *p = list;; p++) {
        char character;
        size_t len = option_unescape(p, &character);

        if (len > 0) {
            g_string_append_c(item, character);
            p += len - 1;
        } else if (*p != ',' && *p != '\0') {
            g_string_append_c(item, *p);
        } else {
            if (item->len > 0 && !option_parse_key(parser, item->str, error))
                return false;
            g_string_truncate(item, 0);
            if (*p == '\0')
                return true;
        }
    }
}

/* The list is what is attached, or the next argument. */
static bool option_parse_attached_list(struct option_parser *parser, const char *attached,
                                       GError **error)
{
    if (*attached != '\0')
        return option_parse_list(parser, attached, error);
    if (*parser->argv == NULL)
        return option_fail(error, "-o: expected KEY[=VALUE],..., got nothing");
    return option_parse_list(parser, *parser->argv++, error);
}

/* -o LIST, -oLIST, -f, -fd, -fo LIST, -xVALUE, -x VALUE. */
static bool option_parse_short(struct option_parser *parser, const char *arg, GError **error)
{
    for (const char *p = arg + 1; *p != '\0'; p++) {
        char spelled[] = {'-', *p, '\0'};
        struct option_use use;

        if (!option_find(parser, VU_OPTION_FORM_SHORT, p, &use)) {
            /* A list, unless a row has the letter for itself. */
            if (*p == 'o')
                return option_parse_attached_list(parser, p + 1, error);
            return option_unknown(parser, VU_OPTION_FORM_SHORT, spelled, arg + 1, error);
        }
        use.spelled = spelled;
        if (option_wants_value(use.row) == OPTION_VALUE_ALWAYS)
            return option_use(parser, &use, p[1] != '\0' ? p + 1 : NULL, true, error);
        if (!option_use(parser, &use, NULL, false, error))
            return false;
    }
    return true;
}

static bool option_parse_rest(struct option_parser *parser, char *arg, GError **error)
{
    if (parser->rest == NULL)
        return option_fail(error, "%s: unexpected argument; options begin with --", arg);
    g_ptr_array_add(parser->rest, arg);
    return true;
}

/* The words as one text, NULL for none; to be freed. */
static char *option_join(GPtrArray *words)
{
    if (words->len == 0)
        return NULL;
    g_ptr_array_add(words, NULL);
    return g_strjoinv(", ", (char **)words->pdata);
}

bool vu_options_parse_all(const struct vu_option_table *tables, size_t n_tables, int argc,
                          char **argv, char ***ret_rest, char **ret_ignored, GError **error)
{
    g_autoptr(GPtrArray) rest = g_ptr_array_new();
    g_autoptr(GPtrArray) ignored = g_ptr_array_new_with_free_func(g_free);
    struct option_parser parser = {
        .tables = tables,
        .n_tables = n_tables,
        .argv = argc > 0 ? argv + 1 : argv,
        .rest = ret_rest ? rest : NULL,
        .ignored = ignored,
    };
    bool only_rest = false, ok = true;

    while (ok && *parser.argv != NULL) {
        char *arg = *parser.argv++;

        if (only_rest || arg[0] != '-' || arg[1] == '\0')
            ok = option_parse_rest(&parser, arg, error);
        else if (strcmp(arg, "--") == 0)
            only_rest = true;
        else if (arg[1] == '-')
            ok = option_parse_long(&parser, arg, error);
        else
            ok = option_parse_short(&parser, arg, error);
    }
    if (ok && ret_rest != NULL) {
        g_ptr_array_add(rest, NULL);
        *ret_rest = (char **)g_ptr_array_steal(rest, NULL);
    }
    if (ok)
        *ret_ignored = option_join(ignored);
    return ok;
}

bool vu_options_parse(const struct vu_option_table *tables, size_t n_tables, int argc, char **argv,
                      char ***ret_rest, GError **error)
{
    g_autofree char *ignored = NULL;

    if (!vu_options_parse_all(tables, n_tables, argc, argv, ret_rest, &ignored, error))
        return false;
    vu_options_log_ignored(ignored);
    return true;
}

void vu_options_log_ignored(const char *ignored)
{
    if (ignored != NULL)
        vu_info("accepted for compatibility, without effect: %s", ignored);
}
