/* SPDX-License-Identifier: Apache-2.0 */
/* json-check.h: what RFC 8259 allows and nothing more; every prefix of it is refused. */
#include "vhost-user/daemon/json-check.h"

#include <string.h>

#include "vhost-user/daemon/control.h"

static bool check(const char *text, size_t len)
{
    /* In memory of just this length, so that AddressSanitizer sees a step beyond. */
    g_autofree char *copy = g_memdup2(text, len);
    g_autoptr(GError) error = NULL;
    bool is_valid = vu_json_check(copy, len, &error);

    g_assert_true(is_valid == (error == NULL));
    return is_valid;
}

static void test_valid(void)
{
    static const char *const valid[] = {"{}",
                                        "[]",
                                        " [ ] ",
                                        "0",
                                        "-0",
                                        "9223372036854775807",
                                        "-9223372036854775808",
                                        "12.5e-3",
                                        "1E+2",
                                        "\"\"",
                                        "true",
                                        "false",
                                        "null",
                                        "{\"a\":[1,{\"b\":null}],\"c\":\"\\u00e9\\n\\\\\"}",
                                        "\"\\ud83d\\ude00\"",
                                        "\"\xc3\xa9\"",
                                        "\t{\r\n\"a\" : 1 }\n"};

    for (size_t i = 0; i < G_N_ELEMENTS(valid); i++)
        if (!check(valid[i], strlen(valid[i])))
            g_error("refused: %s", valid[i]);
}

static void test_invalid(void)
{
    static const char *const invalid[] = {
        "",
        " ",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":1,}",
        "[1 2]",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "- 1",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999999999999999999999",
        "0x10",
        "NaN",
        "tru",
        "truex",
        "nul",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"\\ud800\\u0041\"",
        "\"\\udc00\"",
        "\"\t\"",
        "\"\xff\"",
        "\"\xc3\"",
        "/* */ 1",
        "1 // x",
        "{} {}",
        "[1]]",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(invalid); i++)
        if (check(invalid[i], strlen(invalid[i])))
            g_error("taken: %s", invalid[i]);
    g_assert_false(check("1\0", 2));
    g_assert_false(check("\"a\0b\"", 5));
}

static void test_depth(void)
{
    g_autoptr(GString) text = g_string_new(NULL);

    for (int depth = 1; depth <= VU_JSON_MAX_DEPTH + 1; depth++) {
        g_string_truncate(text, 0);
        for (int i = 0; i < depth; i++)
            g_string_append(text, i % 2 ? "{\"a\":" : "[");
        g_string_append_c(text, '1');
        for (int i = depth - 1; i >= 0; i--)
            g_string_append_c(text, i % 2 ? '}' : ']');
        g_assert_true(check(text->str, text->len) == (depth <= VU_JSON_MAX_DEPTH));
    }
    /* Much more of it is refused as quickly. */
    g_string_truncate(text, 0);
    for (int i = 0; i < 65536; i++)
        g_string_append_c(text, '[');
    g_assert_false(check(text->str, text->len));
}

static void test_cut(void)
{
    static const char text[] =
        "{\"execute\":\"x\\u00e9\",\"arguments\":{\"a\":[-1.5e3,true,null]}}";

    for (size_t len = 0; len < sizeof(text) - 1; len++)
        g_assert_false(check(text, len));
    g_assert_true(check(text, sizeof(text) - 1));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json-check/valid", test_valid);
    g_test_add_func("/json-check/invalid", test_invalid);
    g_test_add_func("/json-check/depth", test_depth);
    g_test_add_func("/json-check/cut", test_cut);
    return g_test_run();
}
