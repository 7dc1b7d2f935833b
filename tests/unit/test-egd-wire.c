/* SPDX-License-Identifier: Apache-2.0 */
/* egd-wire.h: both directions of the protocol in all kinds of pieces, and what must be refused. */
#include "contrib/vrngd/egd-wire.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

static void expect_bytes(const void *got, size_t got_len, const void *bytes, size_t len)
{
    g_assert_cmpuint(got_len, ==, len);
    g_assert_true(memcmp(got, bytes, len) == 0);
}

/* --- commands --- */

static const struct {
    const char *bytes;
    size_t len;
    struct egd_command command;
} commands[] = {
    {"\x00", 1, {.op = EGD_LEVEL}},
    {"\x01\x00", 2, {.op = EGD_READ, .n = 0}},
    {"\x01\xff", 2, {.op = EGD_READ, .n = 255}},
    {"\x02\x07", 2, {.op = EGD_READ_BLOCKING, .n = 7}},
    {"\x03\x00\x00\x00", 4, {.op = EGD_WRITE}},
    {"\x03\x00\x08\x01x", 5, {.op = EGD_WRITE, .n = 1, .bits = 8, .data = "x"}},
    {"\x03\x01\x01\x21"
     "012345678901234567890123456789012",
     37,
     {.op = EGD_WRITE, .n = 33, .bits = 257, .data = "012345678901234567890123456789012"}},
    {"\x04", 1, {.op = EGD_PID}},
};

static void expect_same(const struct egd_command *a, const struct egd_command *b)
{
    g_assert_cmpuint(a->op, ==, b->op);
    g_assert_cmpuint(a->n, ==, b->n);
    g_assert_cmpuint(a->bits, ==, b->bits);
    expect_bytes(a->data, sizeof(a->data), b->data, sizeof(b->data));
}

/* All of them in a row, piece bytes at a time. */
static void test_commands(void)
{
    g_autoptr(GByteArray) all = g_byte_array_new();
    uint8_t out[EGD_MAX_COMMAND];

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_byte_array_append(all, (const uint8_t *)commands[i].bytes, (guint)commands[i].len);
        expect_bytes(out, egd_command_write(&commands[i].command, out), commands[i].bytes,
                     commands[i].len);
    }
    for (size_t piece = 1; piece <= all->len; piece++) {
        struct egd_command_parser parser = {0};
        size_t seen = 0;

        for (size_t at = 0; at < all->len;) {
            size_t n, len = MIN(piece - at % piece, all->len - at);
            int ret = egd_command_take(&parser, all->data + at, len, &n);

            g_assert_cmpint(ret, >=, 0);
            g_assert_cmpuint(n, <=, len);
            g_assert_true(ret == 1 || n == len);
            at += n;
            if (ret == 1)
                expect_same(&parser.command, &commands[seen++].command);
        }
        g_assert_cmpuint(seen, ==, G_N_ELEMENTS(commands));
        g_assert_cmpuint(parser.n_taken, ==, 0);
    }
}

static void expect_no_command(const char *bytes, size_t len)
{
    struct egd_command_parser parser = {0};
    size_t n;

    g_assert_cmpint(egd_command_take(&parser, (const uint8_t *)bytes, len, &n), ==, -EPROTO);
}

static void test_no_commands(void)
{
    struct egd_command_parser parser = {0};
    size_t n;

    for (int byte = 5; byte < 256; byte++)
        expect_no_command((const char[]){(char)byte}, 1);
    expect_no_command("\x03\x00\x09\x01", 4);
    expect_no_command("\x03\x00\x01\x00", 4);
    expect_no_command("\x03\xff\xff\xff", 4);
    g_assert_cmpint(egd_command_take(&parser, NULL, 0, &n), ==, 0);
    g_assert_cmpuint(n, ==, 0);
}

/* --- answers --- */

/* Takes all bytes, `piece` at a time: what was random of them, in *ret_data, and the last value. */
static int take_all(struct egd_answers *answers, const char *bytes, size_t len, size_t piece_len,
                    GByteArray *ret_data, uint32_t *ret_value)
{
    g_autofree uint8_t *copy = g_memdup2(bytes, len);

    for (size_t at = 0; at < len;) {
        struct egd_piece piece = {0};
        size_t n, part = MIN(piece_len, len - at);
        int ret = egd_answers_take(answers, copy + at, part, &n, &piece);

        if (ret < 0)
            return ret;
        g_assert_true(n <= part && (ret == 1 || n == part));
        if (ret == 1) {
            g_assert_true(piece.data >= copy + at && piece.data + piece.data_len <= copy + at + n);
            if (piece.op == EGD_READ || piece.op == EGD_READ_BLOCKING)
                g_byte_array_append(ret_data, piece.data, (guint)piece.data_len);
            if (piece.is_last)
                *ret_value = piece.value;
        }
        at += n;
    }
    return 0;
}

static void test_answers(void)
{
    static const char bytes[] = "\x00\x01\x02\x03"
                                "\x03"
                                "abc"
                                "\x00"
                                "defg"
                                "\x05"
                                "12345"
                                "\x02"
                                "hi";

    for (size_t piece = 1; piece < sizeof(bytes); piece++) {
        g_autoptr(GByteArray) data = g_byte_array_new();
        struct egd_answers answers = {0};
        uint32_t value = 0;

        g_assert_true(egd_answers_expect(&answers, EGD_LEVEL, 0));
        g_assert_true(egd_answers_expect(&answers, EGD_READ, 200));
        g_assert_true(egd_answers_expect(&answers, EGD_READ, 10));
        g_assert_true(egd_answers_expect(&answers, EGD_READ_BLOCKING, 4));
        g_assert_true(egd_answers_expect(&answers, EGD_PID, 0));
        g_assert_true(egd_answers_expect(&answers, EGD_READ, 2));
        g_assert_cmpuint(egd_answers_pending(&answers), ==, 216);
        g_assert_cmpint(take_all(&answers, bytes, 4, piece, data, &value), ==, 0);
        g_assert_cmphex(value, ==, 0x00010203);
        g_assert_cmpuint(egd_answers_pending(&answers), ==, 216);
        /* Three bytes are promised, and one of them is there. */
        g_assert_cmpint(take_all(&answers, bytes + 4, 2, piece, data, &value), ==, 0);
        g_assert_cmpuint(egd_answers_pending(&answers), ==, 2 + 10 + 4 + 2);
        g_assert_cmpint(take_all(&answers, bytes + 6, 5, piece, data, &value), ==, 0);
        g_assert_cmpuint(egd_answers_pending(&answers), ==, 2 + 2);
        g_assert_cmpint(take_all(&answers, bytes + 11, 8, piece, data, &value), ==, 0);
        g_assert_cmpuint(value, ==, 5);
        g_assert_cmpint(take_all(&answers, bytes + 19, 3, piece, data, &value), ==, 0);
        expect_bytes(data->data, data->len, "abcdefghi", 9);
        g_assert_cmpuint(answers.n_asked, ==, 0);
        g_assert_cmpint(take_all(&answers, "x", 1, 1, data, &value), ==, -EPROTO);
    }
}

/* A server may say less than it was asked for, and not more. */
static void test_promises(void)
{
    g_autoptr(GByteArray) data = g_byte_array_new();

    for (unsigned n = 0; n < 256; n++)
        for (unsigned m = 0; m < 256; m++) {
            struct egd_answers answers = {0};
            const char head = (char)m;
            uint32_t value;

            egd_answers_expect(&answers, EGD_READ, (uint8_t)n);
            g_assert_cmpint(take_all(&answers, &head, 1, 1, data, &value), ==,
                            m <= n ? 0 : -EPROTO);
        }
    g_assert_cmpuint(data->len, ==, 0);
}

static void test_many(void)
{
    struct egd_answers answers = {0};
    struct egd_piece piece;
    uint8_t byte = 7;
    size_t n;

    for (unsigned i = 0; i < EGD_MAX_ASKED; i++)
        g_assert_true(egd_answers_expect(&answers, EGD_READ_BLOCKING, 1));
    g_assert_false(egd_answers_expect(&answers, EGD_READ_BLOCKING, 1));
    g_assert_cmpuint(egd_answers_pending(&answers), ==, EGD_MAX_ASKED);
    g_assert_cmpint(egd_answers_take(&answers, &byte, 1, &n, &piece), ==, 1);
    g_assert_true(piece.is_last && piece.data_len == 1 && *piece.data == 7);
    g_assert_true(egd_answers_expect(&answers, EGD_READ_BLOCKING, 1));
}

static void test_server_writes(void)
{
    g_autofree char *filler = g_strnfill(300, '7');
    uint8_t out[EGD_MAX_ANSWER];

    expect_bytes(out, egd_level_write(0x01020304, out), "\x01\x02\x03\x04", 4);
    expect_bytes(out, egd_pid_write("1234", out),
                 "\x04"
                 "1234",
                 5);
    g_assert_cmpuint(egd_pid_write(filler, out), ==, 256);
    g_assert_cmpuint(out[0], ==, 255);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/egd-wire/commands", test_commands);
    g_test_add_func("/egd-wire/no-commands", test_no_commands);
    g_test_add_func("/egd-wire/answers", test_answers);
    g_test_add_func("/egd-wire/promises", test_promises);
    g_test_add_func("/egd-wire/many", test_many);
    g_test_add_func("/egd-wire/server-writes", test_server_writes);
    return g_test_run();
}
