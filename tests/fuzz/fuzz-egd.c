/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both parsers of the EGD protocol. The first bytes of the input say in what pieces the rest comes
 * and what was asked for; in one piece and in many, the outcome is the same, and a peer gets no
 * more out of it than the protocol allows.
 */
#include <errno.h>
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "contrib/vrngd/egd-wire.h"

#define FUZZ_HEAD 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How a stream was understood. */
struct fuzz_outcome {
    GByteArray *bytes;
    int ret;
};

static void fuzz_clear(struct fuzz_outcome *outcome)
{
    g_byte_array_free(outcome->bytes, TRUE);
}

static void fuzz_expect_same(struct fuzz_outcome *a, struct fuzz_outcome *b)
{
    g_assert(a->ret == b->ret && a->bytes->len == b->bytes->len);
    g_assert(a->bytes->len == 0 || memcmp(a->bytes->data, b->bytes->data, a->bytes->len) == 0);
    fuzz_clear(a);
    fuzz_clear(b);
}

/* The commands, written anew. */
static struct fuzz_outcome fuzz_commands(const uint8_t *data, size_t size, size_t piece_len)
{
    struct fuzz_outcome outcome = {.bytes = g_byte_array_new()};
    struct egd_command_parser parser = {0};
    uint8_t out[EGD_MAX_COMMAND];

    for (size_t at = 0; at < size && outcome.ret == 0;) {
        size_t len = MIN(piece_len, size - at), n;
        /* Of just this length, so that a step beyond is seen. */
        g_autofree uint8_t *piece = g_memdup2(data + at, len);
        int ret = egd_command_take(&parser, piece, len, &n);

        if (ret < 0) {
            outcome.ret = ret;
            break;
        }
        g_assert(n <= len && (ret == 1 || n == len));
        at += n;
        if (ret == 1)
            g_byte_array_append(outcome.bytes, out, (guint)egd_command_write(&parser.command, out));
    }
    if (outcome.ret == 0) /* what was taken is what comes out */
        g_assert(outcome.bytes->len + parser.n_taken == size &&
                 memcmp(outcome.bytes->data, data, outcome.bytes->len) == 0);
    return outcome;
}

/* The data of random answers, and the values of all. */
static struct fuzz_outcome fuzz_answers(const uint8_t *head, const uint8_t *data, size_t size,
                                        size_t piece_len)
{
    struct fuzz_outcome outcome = {.bytes = g_byte_array_new()};
    static const enum egd_op ops[] = {EGD_LEVEL, EGD_READ, EGD_READ_BLOCKING, EGD_PID};
    struct egd_answers answers = {0};
    size_t promised, got = 0;

    for (unsigned i = 1; i < FUZZ_HEAD; i++)
        g_assert(egd_answers_expect(&answers, ops[head[i] % G_N_ELEMENTS(ops)], head[i]));
    promised = egd_answers_pending(&answers);
    for (size_t at = 0; at < size && outcome.ret == 0;) {
        size_t len = MIN(piece_len, size - at), n;
        g_autofree uint8_t *bytes = g_memdup2(data + at, len);
        struct egd_piece piece;
        int ret = egd_answers_take(&answers, bytes, len, &n, &piece);

        if (ret < 0) {
            outcome.ret = ret;
            break;
        }
        g_assert(n <= len && (ret == 1 || n == len));
        at += n;
        if (ret == 0)
            continue;
        g_assert(piece.data >= bytes && piece.data + piece.data_len <= bytes + n);
        g_byte_array_append(outcome.bytes, piece.data, (guint)piece.data_len);
        if (piece.op == EGD_READ || piece.op == EGD_READ_BLOCKING)
            got += piece.data_len;
        if (piece.is_last)
            g_byte_array_append(outcome.bytes, (const uint8_t *)&piece.value, sizeof(piece.value));
        g_assert(got + egd_answers_pending(&answers) <= promised);
    }
    return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_outcome whole, pieces;
    size_t piece_len;

    if (size < FUZZ_HEAD)
        return 0;
    piece_len = data[0] % 64 + 1u;
    whole = fuzz_commands(data + FUZZ_HEAD, size - FUZZ_HEAD, size);
    pieces = fuzz_commands(data + FUZZ_HEAD, size - FUZZ_HEAD, piece_len);
    fuzz_expect_same(&whole, &pieces);
    whole = fuzz_answers(data, data + FUZZ_HEAD, size - FUZZ_HEAD, size);
    pieces = fuzz_answers(data, data + FUZZ_HEAD, size - FUZZ_HEAD, piece_len);
    fuzz_expect_same(&whole, &pieces);
    return 0;
}
