/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing says where the tables are. The tokens that are digits stand for themselves, ten strings
 * in a row; from there on each table is found by the next, and tells whether it is one.
 */
#include "vmm/x86/kallsyms.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "vhost-user/wire.h"

#define KALLSYMS_N_TOKENS   256u
#define KALLSYMS_ALIGN      8u
#define KALLSYMS_PER_MARKER 256u
#define KALLSYMS_MIN        1000u
#define KALLSYMS_MAX        (1u << 20)
#define KALLSYMS_REACH      (16u << 20) /* of the tables before the tokens */
#define KALLSYMS_NAME_MAX   512u

struct kallsyms {
    const uint8_t *bytes;
    uint64_t len;
    uint64_t tokens, index; /* where the tables are */
    uint64_t n_syms_at, names, offsets;
    uint64_t base;
    uint32_t n_syms;
};

static uint64_t kallsyms_align(uint64_t at)
{
    return (at + KALLSYMS_ALIGN - 1) & ~(uint64_t)(KALLSYMS_ALIGN - 1);
}

static uint64_t kallsyms_get(const struct kallsyms *kallsyms, uint64_t at, unsigned len)
{
    uint64_t value_le = 0;

    if (at <= kallsyms->len && len <= kallsyms->len - at)
        memcpy(&value_le, kallsyms->bytes + at, len);
    return le64toh(value_le);
}

static uint64_t kallsyms_token(const struct kallsyms *kallsyms, unsigned token)
{
    return kallsyms->tokens + kallsyms_get(kallsyms, kallsyms->index + 2 * token, 2);
}

/* --- finding the tables --- */

/* Whether the tokens of the digits begin at digits. */
static bool kallsyms_check_tokens(struct kallsyms *kallsyms, uint64_t digits)
{
    uint64_t end = digits;

    for (unsigned token = '0'; token < KALLSYMS_N_TOKENS; token++) {
        const uint8_t *nul = memchr(kallsyms->bytes + end, 0, kallsyms->len - end);

        if (nul == NULL)
            return false;
        end = (uint64_t)(nul - kallsyms->bytes) + 1;
    }
    kallsyms->index = kallsyms_align(end);
    kallsyms->tokens = digits - kallsyms_get(kallsyms, kallsyms->index + 2 * '0', 2);
    if (kallsyms->tokens % KALLSYMS_ALIGN != 0 || kallsyms->tokens > digits ||
        kallsyms_token(kallsyms, 0) != kallsyms->tokens)
        return false;
    for (unsigned token = 1; token < KALLSYMS_N_TOKENS; token++) {
        uint64_t at = kallsyms_token(kallsyms, token);

        if (at <= kallsyms->tokens || at >= end || kallsyms->bytes[at - 1] != 0)
            return false;
    }
    return true;
}

static bool kallsyms_find_tokens(struct kallsyms *kallsyms)
{
    static const uint8_t digits[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";
    const uint8_t *from = kallsyms->bytes, *end = kallsyms->bytes + kallsyms->len, *found;

    while ((found = memmem(from, (size_t)(end - from), digits, sizeof(digits))) != NULL) {
        if (kallsyms_check_tokens(kallsyms, (uint64_t)(found - kallsyms->bytes)))
            return true;
        from = found + 1;
    }
    return false;
}

/* The tokens of a name, and where the next name is. 0: there is no name here. */
static unsigned kallsyms_name_len(const struct kallsyms *kallsyms, uint64_t *at)
{
    unsigned len = (unsigned)kallsyms_get(kallsyms, (*at)++, 1);

    if (len & 0x80)
        len = (len & 0x7f) | (unsigned)kallsyms_get(kallsyms, (*at)++, 1) << 7;
    return *at + len < kallsyms->tokens ? len : 0;
}

/* Whether num_syms is at n_syms_at: as many names follow, and markers that fit them. */
static bool kallsyms_check_names(struct kallsyms *kallsyms)
{
    uint64_t at = kallsyms->n_syms_at + KALLSYMS_ALIGN, second = 0;

    kallsyms->names = at;
    for (uint32_t i = 0; i < kallsyms->n_syms; i++) {
        unsigned len = kallsyms_name_len(kallsyms, &at);

        if (len == 0)
            return false;
        at += len;
        if (i == KALLSYMS_PER_MARKER - 1)
            second = at - kallsyms->names;
    }
    at = kallsyms_align(at);
    return kallsyms_get(kallsyms, at, 4) == 0 && kallsyms_get(kallsyms, at + 4, 4) == second;
}

static bool kallsyms_find_names(struct kallsyms *kallsyms)
{
    for (uint64_t back = KALLSYMS_ALIGN; back < KALLSYMS_REACH && back < kallsyms->tokens;
         back += KALLSYMS_ALIGN) {
        uint64_t n_syms;

        kallsyms->n_syms_at = kallsyms->tokens - back;
        n_syms = kallsyms_get(kallsyms, kallsyms->n_syms_at, 8); /* and 4 bytes of nothing */
        kallsyms->n_syms = (uint32_t)n_syms;
        if (n_syms >= KALLSYMS_MIN && n_syms < KALLSYMS_MAX && kallsyms_check_names(kallsyms))
            return true;
    }
    return false;
}

static bool kallsyms_is_base(uint64_t base)
{
    return base >> 32 == UINT32_MAX;
}

static bool kallsyms_find_offsets(struct kallsyms *kallsyms)
{
    uint64_t len = kallsyms_align(4ull * kallsyms->n_syms), before = len + sizeof(uint64_t);

    if (before <= kallsyms->n_syms_at) {
        kallsyms->offsets = kallsyms->n_syms_at - before;
        kallsyms->base = kallsyms_get(kallsyms, kallsyms->offsets + len, 8);
        if (kallsyms_is_base(kallsyms->base))
            return true;
    }
    kallsyms->offsets = kallsyms_align(kallsyms->index + 2 * KALLSYMS_N_TOKENS);
    kallsyms->base = kallsyms_get(kallsyms, kallsyms->offsets + len, 8);
    return kallsyms_is_base(kallsyms->base);
}

/* --- what is in them --- */

static uint64_t kallsyms_address(const struct kallsyms *kallsyms, uint32_t symbol)
{
    int32_t offset = (int32_t)kallsyms_get(kallsyms, kallsyms->offsets + 4ull * symbol, 4);

    /* Where both kinds are there, those from 0 on are of data of each CPU, and have no base. */
    return offset < 0 ? kallsyms->base - 1 - (uint64_t)(int64_t)offset
                      : kallsyms->base + (uint64_t)offset;
}

/* A name that is too long is cut off. */
static void kallsyms_spell(const struct kallsyms *kallsyms, uint64_t at, unsigned n_tokens,
                           char name[KALLSYMS_NAME_MAX])
{
    unsigned len = 0;

    for (unsigned i = 0; i < n_tokens; i++) {
        uint64_t from = kallsyms_token(kallsyms, kallsyms->bytes[at + i]);

        for (; kallsyms->bytes[from] != 0 && len < KALLSYMS_NAME_MAX - 1; from++)
            name[len++] = (char)kallsyms->bytes[from];
    }
    name[len] = '\0';
}

int vmm_kallsyms_foreach(const uint8_t *bytes, uint64_t len, vmm_kallsyms_fn *fn, void *opaque)
{
    struct kallsyms kallsyms = {.bytes = bytes, .len = len};
    char name[KALLSYMS_NAME_MAX];
    uint64_t at;

    if (!kallsyms_find_tokens(&kallsyms) || !kallsyms_find_names(&kallsyms) ||
        !kallsyms_find_offsets(&kallsyms))
        return -ENOENT;
    at = kallsyms.names;
    for (uint32_t i = 0; i < kallsyms.n_syms; i++) {
        unsigned n_tokens = kallsyms_name_len(&kallsyms, &at);

        kallsyms_spell(&kallsyms, at, n_tokens, name);
        if (name[0] != '\0')
            fn(opaque, name + 1, kallsyms_address(&kallsyms, i)); /* after its type */
        at += n_tokens;
    }
    return 0;
}
