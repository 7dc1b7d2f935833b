/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol of the entropy gathering daemon, EGD: bytes over a stream. The client speaks first;
 * answers come in the order of the commands, and nothing tells one from the next but its length.
 *
 *   command                                   answer
 *   00                      level             u32 big-endian: bits that can be had at once
 *   01 n                    read              u8 m <= n, then m bytes: what can be had at once
 *   02 n                    blocking read     n bytes, once there are as many
 *   03 bits[2] n data[n]    write             none; bits: big-endian, how random the data is
 *   04                      pid               u8 length, then the process id in decimal
 *
 * Both sides are read in whatever pieces the stream comes, and take no memory by what a peer says.
 * Nothing here is locked, and nothing touches a socket.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum egd_op { EGD_LEVEL, EGD_READ, EGD_READ_BLOCKING, EGD_WRITE, EGD_PID };

#define EGD_MAX_DATA    255                /* in one command or answer */
#define EGD_MAX_COMMAND (4 + EGD_MAX_DATA) /* bytes on the wire */
#define EGD_MAX_ANSWER  (1 + EGD_MAX_DATA)
#define EGD_MAX_ASKED   16 /* commands that a client has under way */

/* --- commands, as a server reads them --- */

struct egd_command {
    uint8_t op; /* enum egd_op */
    uint8_t n;  /* EGD_READ, EGD_READ_BLOCKING: bytes wanted; EGD_WRITE: of data */
    uint16_t bits;
    uint8_t data[EGD_MAX_DATA];
};

/* Zeroed, it awaits a command. */
struct egd_command_parser {
    struct egd_command command;
    unsigned n_taken; /* bytes of the command that have come */
};

/*
 * Takes bytes up to the end of a command, *ret_n of them. 1: parser->command is one, until the next
 * call; 0: all were taken, and it goes on; -EPROTO: there is no such command, or it claims more
 * bits than it has data for. After that the stream cannot be read.
 */
int egd_command_take(struct egd_command_parser *parser, const uint8_t *data, size_t len,
                     size_t *ret_n);

/* The bytes of a command; out has room for EGD_MAX_COMMAND. Returns their number. */
size_t egd_command_write(const struct egd_command *command, uint8_t *out);

/* The answers to EGD_LEVEL and EGD_PID; out has room for EGD_MAX_ANSWER. A text that is too long is
 * cut. Return the number of bytes. */
size_t egd_level_write(uint32_t bits, uint8_t *out);
size_t egd_pid_write(const char *pid, uint8_t *out);

/* --- answers, as a client reads them --- */

/* What was asked and is not answered yet, oldest first. Zeroed: nothing. */
struct egd_answers {
    struct egd_asked {
        uint8_t op, n;
    } asked[EGD_MAX_ASKED];
    unsigned n_asked;
    unsigned n_taken; /* bytes of the oldest one's answer that have come */
    uint32_t value;   /* EGD_LEVEL: so far */
    unsigned n_data;  /* bytes of data it has, once that is known */
};

/* A part of an answer. */
struct egd_piece {
    uint8_t op, n;       /* of the command */
    bool is_last;        /* the answer is whole with this */
    uint32_t value;      /* is_last: EGD_LEVEL: bits; EGD_READ, EGD_PID: bytes of data in all */
    const uint8_t *data; /* inside what was taken */
    size_t data_len;
};

/* Notes that a command was sent; op is not EGD_WRITE. False: EGD_MAX_ASKED are under way. */
bool egd_answers_expect(struct egd_answers *answers, enum egd_op op, uint8_t n);

/* Bytes of random data that are still to come, where each answer is as long as it may be. */
size_t egd_answers_pending(const struct egd_answers *answers);

/*
 * Takes bytes up to the end of a piece, *ret_n of them. 1: *ret_piece is one; 0: all were taken and
 * tell nothing yet; -EPROTO: the server sends what was not asked for, or more than was. After that
 * the stream cannot be read.
 */
int egd_answers_take(struct egd_answers *answers, const uint8_t *data, size_t len, size_t *ret_n,
                     struct egd_piece *ret_piece);
