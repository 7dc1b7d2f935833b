/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's "value,key=value,..." arguments, read by tables: a row holds the key, its type and range,
 * and where it goes. Two commas stand for one that belongs to a value. Errors come as "key:
 * expected
 * ..., got ..."; whoever knows the option puts it in front.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vmm_key_type {
    VMM_KEY_STRING, /* char *, owned by the target */
    VMM_KEY_BOOL,   /* on, off; also yes, no, true, false; the key alone is on */
    VMM_KEY_UINT,   /* unsigned, min..max; 0x... too */
    VMM_KEY_INT,    /* int, likewise */
    VMM_KEY_SIZE,   /* uint64_t, bytes; K, M, G, T; fractions */
    VMM_KEY_CHOICE, /* int or enum: index into choices */
    VMM_KEY_CALL,   /* parse() decides */
    VMM_KEY_IGNORED
};

struct vmm_key {
    const char *name; /* - and _ are alike */
    enum vmm_key_type type;
    size_t offset; /* of the field in the target */
    uint64_t min, max;
    const char *const *choices; /* NULL ended */
    bool (*parse)(void *target, const char *value, GError **error);
    const char *metavar, *help;
};

#define VMM_CONFIG_ERROR (vmm_config_error_quark())
GQuark vmm_config_error_quark(void);

/* Sets *error to a message of VMM_CONFIG_ERROR; always false. */
bool vmm_config_fail(GError **error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Reads text into target. first: the key of a leading value without a key; NULL: there is none.
 * False with *error; the target's strings are then still its own, to be freed.
 */
bool vmm_keys_parse(const struct vmm_key *keys, size_t n_keys, const char *first, const char *text,
                    void *target, GError **error);

/* The leading value by itself ("socket" of "socket,id=x"); *ret_rest is what follows its comma, or
 * the end. To be freed. */
char *vmm_keys_kind(const char *text, const char **ret_rest);

/* Bytes: digits, a fraction, a suffix (none: default_unit bytes). False with *error. */
bool vmm_parse_size(const char *text, uint64_t default_unit, uint64_t *ret_size, GError **error);
/* "3", "0-3": sets bits of a mask of n_bits. False with *error. */
bool vmm_parse_range(const char *text, uint64_t *mask, unsigned n_bits, GError **error);
