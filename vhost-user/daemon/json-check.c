/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of RFC 8259, by descent of bounded depth. */
#include "vhost-user/daemon/json-check.h"

#include <stdint.h>
#include <string.h>

#include "vhost-user/daemon/control.h"

struct json_text {
    const char *begin, *at, *end;
    unsigned depth;
};

static bool json_value(struct json_text *text);

static void json_skip_space(struct json_text *text)
{
    while (text->at < text->end && strchr(" \t\r\n", *text->at) && *text->at != '\0')
        text->at++;
}

/* Passes one byte, if it is c. */
static bool json_take(struct json_text *text, char c)
{
    if (text->at == text->end || *text->at != c)
        return false;
    text->at++;
    return true;
}

static bool json_word(struct json_text *text, const char *word)
{
    while (*word)
        if (!json_take(text, *word++))
            return false;
    return true;
}

static bool json_digits(struct json_text *text)
{
    const char *first = text->at;

    while (text->at < text->end && g_ascii_isdigit(*text->at))
        text->at++;
    return text->at > first;
}

/* Whether an integer is an int64_t: json-glib would make some other one of it. */
static bool json_fits(const char *first, const char *end)
{
    char digits[32] = {0};

    if ((size_t)(end - first) >= sizeof(digits))
        return false;
    memcpy(digits, first, (size_t)(end - first));
    return g_ascii_string_to_signed(digits, 10, INT64_MIN, INT64_MAX, NULL, NULL);
}

static bool json_number(struct json_text *text)
{
    const char *first = text->at;
    bool has_point;

    json_take(text, '-');
    if (!json_take(text, '0') && !json_digits(text))
        return false;
    has_point = json_take(text, '.');
    if (has_point && !json_digits(text))
        return false;
    if (!json_take(text, 'e') && !json_take(text, 'E'))
        return has_point || json_fits(first, text->at);
    if (!json_take(text, '+'))
        json_take(text, '-');
    return json_digits(text);
}

static bool json_hex4(struct json_text *text, unsigned *ret_code)
{
    unsigned code = 0;

    for (int i = 0; i < 4; i++, text->at++) {
        if (text->at == text->end || !g_ascii_isxdigit(*text->at))
            return false;
        code = code * 16 + (unsigned)g_ascii_xdigit_value(*text->at);
    }
    *ret_code = code;
    return true;
}

/* What follows \u: no NUL, which would end a C string, and surrogates in pairs only. */
static bool json_unicode(struct json_text *text)
{
    unsigned code, low;

    if (!json_hex4(text, &code) || code == 0)
        return false;
    if (code < 0xd800 || code > 0xdfff)
        return true;
    return code < 0xdc00 && json_word(text, "\\u") && json_hex4(text, &low) && low >= 0xdc00 &&
           low <= 0xdfff;
}

static bool json_string(struct json_text *text)
{
    if (!json_take(text, '"'))
        return false;
    while (text->at < text->end) {
        unsigned char c = (unsigned char)*text->at++;

        if (c == '"')
            return true;
        if (c < ' ')
            return false;
        if (c != '\\')
            continue;
        if (json_take(text, 'u')) {
            if (!json_unicode(text))
                return false;
        } else if (text->at == text->end || *text->at == '\0' ||
                   !strchr("\"\\/bfnrt", *text->at++)) {
            return false;
        }
    }
    return false;
}

static bool json_member(struct json_text *text)
{
    json_skip_space(text);
    if (!json_string(text))
        return false;
    json_skip_space(text);
    return json_take(text, ':') && json_value(text);
}

/* Behind the opening bracket: items with commas between them, up to the closing one. */
static bool json_list(struct json_text *text, bool (*item)(struct json_text *), char close)
{
    if (++text->depth > VU_JSON_MAX_DEPTH)
        return false;
    json_skip_space(text);
    if (!json_take(text, close)) {
        do {
            if (!item(text))
                return false;
            json_skip_space(text);
        } while (json_take(text, ','));
        if (!json_take(text, close))
            return false;
    }
    text->depth--;
    return true;
}

static bool json_value(struct json_text *text)
{
    json_skip_space(text);
    if (text->at == text->end)
        return false;
    switch (*text->at) {
    case '{':
        text->at++;
        return json_list(text, json_member, '}');
    case '[':
        text->at++;
        return json_list(text, json_value, ']');
    case '"':
        return json_string(text);
    case 't':
        return json_word(text, "true");
    case 'f':
        return json_word(text, "false");
    case 'n':
        return json_word(text, "null");
    default:
        return json_number(text);
    }
}

bool vu_json_check(const char *text, size_t len, GError **error)
{
    struct json_text whole = {text, text, text + len, 0};
    const char *invalid;
    bool is_valid;

    if (!g_utf8_validate_len(text, len, &invalid)) {
        g_set_error(error, VU_CONTROL_ERROR, VU_CONTROL_ERROR_GENERIC,
                    "not UTF-8 at byte %zu of the line", (size_t)(invalid - text));
        return false;
    }
    is_valid = json_value(&whole);
    json_skip_space(&whole);
    if (is_valid && whole.at == whole.end)
        return true;
    if (whole.depth > VU_JSON_MAX_DEPTH)
        g_set_error(error, VU_CONTROL_ERROR, VU_CONTROL_ERROR_GENERIC,
                    "JSON nested more than %d deep", VU_JSON_MAX_DEPTH);
    else
        g_set_error(error, VU_CONTROL_ERROR, VU_CONTROL_ERROR_GENERIC,
                    "not JSON at byte %zu of the line", (size_t)(whole.at - whole.begin));
    return false;
}
