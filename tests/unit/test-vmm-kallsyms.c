/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The symbols that a kernel's image tells: in both orders of its tables, and in images that were
 * damaged or cut off, where nothing outside of them is read (the sanitizers see to that).
 */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "vmm/x86/kallsyms.h"

#define N_SYMS   1500u
#define BASE     UINT64_C(0xffffffff81000000)
#define STEP     16u
#define JUNK_LEN 512u

/* Two bytes of a length, and tokens of which one is "symbol_". */
#define TOKEN_SYMBOL 1
#define LONG_SYMBOL  700u
#define LONG_LEN     200u

static void put(GByteArray *bytes, uint64_t value, unsigned len)
{
    uint64_t value_le = GUINT64_TO_LE(value);

    g_byte_array_append(bytes, (const guint8 *)&value_le, len);
}

static void put_text(GByteArray *bytes, const char *text)
{
    g_byte_array_append(bytes, (const guint8 *)text, (guint)strlen(text));
}

static void align(GByteArray *bytes)
{
    while (bytes->len % 8 != 0)
        put(bytes, 0, 1);
}

/* The number that ends a symbol's name, long in one case. */
static char *symbol_tail(unsigned symbol)
{
    return symbol == LONG_SYMBOL ? g_strnfill(LONG_LEN, 'x') : g_strdup_printf("%u", symbol);
}

static void put_names(GByteArray *bytes)
{
    uint32_t markers[N_SYMS / 256 + 1], begin;

    put(bytes, N_SYMS, 4);
    align(bytes);
    begin = bytes->len;
    for (unsigned i = 0; i < N_SYMS; i++) {
        g_autofree char *tail = symbol_tail(i);
        unsigned len = (unsigned)strlen(tail) + 2;

        if (i % 256 == 0)
            markers[i / 256] = bytes->len - begin;
        put(bytes, len < 0x80 ? len : (len & 0x7f) | 0x80 | len >> 7 << 8, len < 0x80 ? 1 : 2);
        put_text(bytes, "T");
        put(bytes, TOKEN_SYMBOL, 1);
        put_text(bytes, tail);
    }
    align(bytes);
    for (unsigned i = 0; i < G_N_ELEMENTS(markers); i++)
        put(bytes, markers[i], 4);
    align(bytes);
}

static void put_tokens(GByteArray *bytes)
{
    uint32_t begin = bytes->len;
    uint16_t index[256];

    for (unsigned token = 0; token < 256; token++) {
        char text[] = {g_ascii_isalnum(token) ? (char)token : '\0', '\0'};

        index[token] = (uint16_t)(bytes->len - begin);
        put_text(bytes, token == TOKEN_SYMBOL ? "symbol_" : text);
        put(bytes, 0, 1);
    }
    align(bytes);
    for (unsigned token = 0; token < 256; token++)
        put(bytes, index[token], 2);
    align(bytes);
}

static void put_offsets(GByteArray *bytes)
{
    for (unsigned i = 0; i < N_SYMS; i++)
        put(bytes, UINT64_MAX - STEP * i, 4); /* -1 - offset */
    align(bytes);
    put(bytes, BASE, 8);
}

static GByteArray *make_image(gboolean is_old)
{
    GByteArray *bytes = g_byte_array_new();

    for (unsigned i = 0; i < JUNK_LEN; i++)
        put(bytes, i * 7, 1);
    if (is_old)
        put_offsets(bytes);
    put_names(bytes);
    put_tokens(bytes);
    if (!is_old)
        put_offsets(bytes);
    for (unsigned i = 0; i < JUNK_LEN; i++)
        put(bytes, i * 11, 1);
    return bytes;
}

static void check_symbol(void *opaque, const char *name, uint64_t address)
{
    unsigned *n = opaque;
    g_autofree char *tail = symbol_tail(*n), *wanted = g_strconcat("symbol_", tail, NULL);

    g_assert_cmpstr(name, ==, wanted);
    g_assert_cmphex(address, ==, BASE + (uint64_t)STEP * *n);
    ++*n;
}

static void count_symbol(void *opaque, const char *name, uint64_t address)
{
    unsigned *n = opaque;

    g_assert_nonnull(name);
    ++*n;
}

static void test_symbols(gconstpointer is_old)
{
    g_autoptr(GByteArray) bytes = make_image(is_old != NULL);
    unsigned n = 0;

    g_assert_cmpint(vmm_kallsyms_foreach(bytes->data, bytes->len, check_symbol, &n), ==, 0);
    g_assert_cmpuint(n, ==, N_SYMS);
}

static void test_none(void)
{
    static const uint8_t nothing[4096];
    unsigned n = 0;

    g_assert_cmpint(vmm_kallsyms_foreach(nothing, 0, count_symbol, &n), ==, -ENOENT);
    g_assert_cmpint(vmm_kallsyms_foreach(nothing, sizeof(nothing), count_symbol, &n), ==, -ENOENT);
    g_assert_cmpuint(n, ==, 0);
}

/* Each in memory of its own length, so that the sanitizer sees its end. */
static void run_copy(const GByteArray *bytes, unsigned len)
{
    g_autofree uint8_t *copy = g_memdup2(bytes->data, len);
    unsigned n = 0;

    vmm_kallsyms_foreach(copy, len, count_symbol, &n);
}

static void test_cut(gconstpointer is_old)
{
    g_autoptr(GByteArray) bytes = make_image(is_old != NULL);

    for (unsigned len = 1; len < bytes->len; len += 61)
        run_copy(bytes, len);
}

static void test_damaged(gconstpointer is_old)
{
    g_autoptr(GByteArray) bytes = make_image(is_old != NULL);

    for (unsigned i = 0; i < 2000; i++) {
        unsigned at = (unsigned)g_test_rand_int_range(JUNK_LEN, (gint32)bytes->len);
        uint8_t old = bytes->data[at];

        bytes->data[at] = (uint8_t)g_test_rand_int();
        run_copy(bytes, bytes->len);
        if (i % 8 != 0) /* a few stay */
            bytes->data[at] = old;
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vmm-kallsyms/none", test_none);
    g_test_add_data_func("/vmm-kallsyms/symbols", NULL, test_symbols);
    g_test_add_data_func("/vmm-kallsyms/symbols-old", "", test_symbols);
    g_test_add_data_func("/vmm-kallsyms/cut", NULL, test_cut);
    g_test_add_data_func("/vmm-kallsyms/cut-old", "", test_cut);
    g_test_add_data_func("/vmm-kallsyms/damaged", NULL, test_damaged);
    g_test_add_data_func("/vmm-kallsyms/damaged-old", "", test_damaged);
    return g_test_run();
}
