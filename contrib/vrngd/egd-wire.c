/* SPDX-License-Identifier: Apache-2.0 */
/* See egd-wire.h. */
#include "contrib/vrngd/egd-wire.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

/* How commands look, and what answers begin with. */
static const struct wire_op {
    unsigned head_len;        /* of the command, before its data */
    unsigned answer_head_len; /* before the answer's data */
    bool has_answer;
} wire_ops[] = {
    [EGD_LEVEL] = {.head_len = 1, .answer_head_len = 4, .has_answer = true},
    [EGD_READ] = {.head_len = 2, .answer_head_len = 1, .has_answer = true},
    [EGD_READ_BLOCKING] = {.head_len = 2, .answer_head_len = 0, .has_answer = true},
    [EGD_WRITE] = {.head_len = 4},
    [EGD_PID] = {.head_len = 1, .answer_head_len = 1, .has_answer = true},
};

/* --- commands --- */

/* A byte of the part of fixed length. False: no command begins so. */
static bool wire_take_head(struct egd_command *command, unsigned position, uint8_t byte)
{
    switch (position) {
    case 0:
        command->op = byte;
        return byte < G_N_ELEMENTS(wire_ops);
    case 1:
        if (command->op != EGD_WRITE)
            command->n = byte;
        else
            command->bits = (uint16_t)(byte << 8);
        return true;
    case 2:
        command->bits |= byte;
        return true;
    default:
        command->n = byte;
        return command->bits <= 8 * command->n;
    }
}

static unsigned wire_command_len(const struct egd_command *command)
{
    return wire_ops[command->op].head_len + (command->op == EGD_WRITE ? command->n : 0u);
}

int egd_command_take(struct egd_command_parser *parser, const uint8_t *data, size_t len,
                     size_t *ret_n)
{
    struct egd_command *command = &parser->command;

    *ret_n = 0;
    if (parser->n_taken == 0)
        *command = (struct egd_command){0};
    while (*ret_n < len) {
        unsigned head_len = wire_ops[command->op].head_len;

        if (parser->n_taken < head_len) {
            if (!wire_take_head(command, parser->n_taken++, data[(*ret_n)++]))
                return -EPROTO;
        } else {
            size_t at = parser->n_taken - head_len, part = MIN(command->n - at, len - *ret_n);

            memcpy(command->data + at, data + *ret_n, part);
            parser->n_taken += (unsigned)part;
            *ret_n += part;
        }
        if (parser->n_taken == wire_command_len(command)) {
            parser->n_taken = 0;
            return 1;
        }
    }
    return 0;
}

size_t egd_command_write(const struct egd_command *command, uint8_t *out)
{
    size_t head_len = wire_ops[command->op].head_len;

    out[0] = command->op;
    if (command->op == EGD_WRITE) {
        out[1] = (uint8_t)(command->bits >> 8);
        out[2] = (uint8_t)command->bits;
        out[3] = command->n;
        memcpy(out + head_len, command->data, command->n);
        return head_len + command->n;
    }
    if (head_len > 1)
        out[1] = command->n;
    return head_len;
}

size_t egd_level_write(uint32_t bits, uint8_t *out)
{
    for (unsigned i = 0; i < 4; i++)
        out[i] = (uint8_t)(bits >> (24 - 8 * i));
    return 4;
}

size_t egd_pid_write(const char *pid, uint8_t *out)
{
    size_t len = MIN(strlen(pid), EGD_MAX_DATA);

    out[0] = (uint8_t)len;
    memcpy(out + 1, pid, len);
    return 1 + len;
}

/* --- answers --- */

bool egd_answers_expect(struct egd_answers *answers, enum egd_op op, uint8_t n)
{
    g_assert(wire_ops[op].has_answer);
    if (answers->n_asked == EGD_MAX_ASKED)
        return false;
    answers->asked[answers->n_asked++] = (struct egd_asked){(uint8_t)op, n};
    return true;
}

size_t egd_answers_pending(const struct egd_answers *answers)
{
    size_t n = 0;

    for (unsigned i = 0; i < answers->n_asked; i++) {
        const struct egd_asked *asked = &answers->asked[i];
        unsigned head_len = wire_ops[asked->op].answer_head_len;

        if (asked->op != EGD_READ && asked->op != EGD_READ_BLOCKING)
            continue;
        if (i > 0 || answers->n_taken < head_len)
            n += asked->n;
        else
            n += (head_len > 0 ? answers->n_data : asked->n) - (answers->n_taken - head_len);
    }
    return n;
}

/* A byte before the data. False: it promises what was not asked for. */
static bool wire_take_answer_head(struct egd_answers *answers, const struct egd_asked *asked,
                                  uint8_t byte)
{
    answers->n_taken++;
    if (asked->op == EGD_LEVEL) {
        answers->value = answers->value << 8 | byte;
        return true;
    }
    answers->n_data = byte;
    return asked->op != EGD_READ || byte <= asked->n;
}

static void wire_finish_answer(struct egd_answers *answers, struct egd_piece *ret_piece)
{
    ret_piece->is_last = true;
    ret_piece->value = ret_piece->op == EGD_LEVEL ? answers->value : answers->n_data;
    answers->n_asked--;
    memmove(answers->asked, answers->asked + 1, answers->n_asked * sizeof(answers->asked[0]));
    answers->n_taken = answers->n_data = 0;
    answers->value = 0;
}

int egd_answers_take(struct egd_answers *answers, const uint8_t *data, size_t len, size_t *ret_n,
                     struct egd_piece *ret_piece)
{
    const struct egd_asked asked = answers->asked[0];
    unsigned head_len = wire_ops[asked.op].answer_head_len;
    size_t n = 0, data_end;

    *ret_n = 0;
    if (answers->n_asked == 0)
        return len > 0 ? -EPROTO : 0;
    while (n < len && answers->n_taken < head_len)
        if (!wire_take_answer_head(answers, &asked, data[n++]))
            return -EPROTO;
    if (answers->n_taken < head_len) {
        *ret_n = n;
        return 0;
    }
    if (asked.op == EGD_READ_BLOCKING)
        answers->n_data = asked.n;
    data_end = head_len + answers->n_data;
    *ret_piece = (struct egd_piece){
        .op = asked.op,
        .n = asked.n,
        .data = data + n,
        .data_len = MIN(len - n, data_end - answers->n_taken),
    };
    answers->n_taken += (unsigned)ret_piece->data_len;
    *ret_n = n + ret_piece->data_len;
    if (answers->n_taken == data_end)
        wire_finish_answer(answers, ret_piece);
    return ret_piece->is_last || ret_piece->data_len > 0;
}
