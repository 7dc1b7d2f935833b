/* SPDX-License-Identifier: Apache-2.0 */
/*
 * L2 tables in memory, in slices of 4 KiB (or a cluster, if that is smaller), named by which part
 * of the guest's disk they map. Readers take no lock: every shared word is atomic, and a frame's
 * sequence number tells them whether it was something else meanwhile. Whoever changes anything
 * holds the image's lock; nothing here does input or output.
 *
 *   frame:  EMPTY --claim--> LOADING --fill--> CLEAN <--set / written--> DIRTY
 *             ^---------------'abandon          '--claim (neither pinned nor being written)-->
 * LOADING
 *
 * Set-associative by the lowest bits of the slice number, so a cache as large as the disk's tables
 * holds all of them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QCOW2_L2_WAYS      8
#define QCOW2_L2_SLICE_MAX 4096u /* bytes */
#define QCOW2_L2_NO_SLICE  UINT64_MAX

struct qcow2_l2_entry {
    uint64_t cluster; /* the descriptor */
    uint64_t bitmap;  /* of subclusters; 0 without extended L2 */
};

struct qcow2_l2_frame {
    uint32_t seq;   /* atomic; odd while it becomes another slice, or two words change */
    bool was_used;  /* atomic; since the clock came by */
    uint64_t slice; /* atomic; QCOW2_L2_NO_SLICE: empty or loading */
    /* under the image's lock: */
    uint64_t loading; /* the slice that is being read into it, or QCOW2_L2_NO_SLICE */
    uint32_t n_pins;  /* not to be claimed */
    bool is_dirty;    /* differs from the disk, or from what is being written there */
    bool is_writing;  /* what it was when that began is on its way to the disk */
};

struct qcow2_l2_cache {
    struct qcow2_l2_frame *frames;
    uint64_t *words; /* slice_words for each frame; atomic; in the processor's byte order */
    size_t words_len;
    uint32_t n_sets;
    unsigned slice_words, entry_words;
    uint32_t *dirty; /* frames that are, n_dirty of them; under the lock */
    uint32_t n_dirty;
};

/* max_len: most bytes of slices, though a few there are always. What is not used takes no memory.
 * -ENOMEM. */
int qcow2_l2_cache_init(struct qcow2_l2_cache *cache, unsigned slice_len, unsigned entry_words,
                        uint64_t max_len);
void qcow2_l2_cache_clear(struct qcow2_l2_cache *cache);

/* --- any thread, no lock --- */

/* False: the slice is not here. */
bool qcow2_l2_cache_get(struct qcow2_l2_cache *cache, uint64_t slice, unsigned index,
                        struct qcow2_l2_entry *ret_entry);

/* --- under the image's lock --- */

struct qcow2_l2_frame *qcow2_l2_cache_find(struct qcow2_l2_cache *cache, uint64_t slice);
/* Whether somebody is reading it in. */
bool qcow2_l2_cache_is_loading(struct qcow2_l2_cache *cache, uint64_t slice);
/* A frame to read a slice into. NULL: all that could be it are dirty, being written, or pinned. */
struct qcow2_l2_frame *qcow2_l2_cache_claim(struct qcow2_l2_cache *cache, uint64_t slice);
/* The slice as it is on disk; from now on it is found. */
void qcow2_l2_cache_fill(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame,
                         const void *bytes);
void qcow2_l2_cache_abandon(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame);

struct qcow2_l2_entry qcow2_l2_cache_peek(const struct qcow2_l2_cache *cache,
                                          const struct qcow2_l2_frame *frame, unsigned index);
void qcow2_l2_cache_set(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame, unsigned index,
                        struct qcow2_l2_entry entry);
/* Takes the next dirty frame (NULL: there is none): it is being written and no longer dirty, and
 * *ret_slice is which. */
struct qcow2_l2_frame *qcow2_l2_cache_begin_write(struct qcow2_l2_cache *cache,
                                                  uint64_t *ret_slice);
/* A copy for the disk. */
void qcow2_l2_cache_encode(const struct qcow2_l2_cache *cache, const struct qcow2_l2_frame *frame,
                           void *bytes);
void qcow2_l2_cache_end_write(struct qcow2_l2_cache *cache, struct qcow2_l2_frame *frame,
                              bool succeeded);
/* Forgets everything; nothing is dirty, pinned or being written. */
void qcow2_l2_cache_empty(struct qcow2_l2_cache *cache);

static inline uint32_t qcow2_l2_cache_n_frames(const struct qcow2_l2_cache *cache)
{
    return cache->n_sets * QCOW2_L2_WAYS;
}
