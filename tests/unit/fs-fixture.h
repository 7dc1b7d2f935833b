/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share on a fresh temporary directory, and FUSE requests for it without a ring: what is pushed
 * is caught (fs-fixture.c defines vu_vring_push). One thread may call at a time, but for
 * fs_fixture_run.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "virtiofsd/request.h"

struct fs_fixture {
    char *dir;
    struct fs_options options; /* change them between init and open */
    struct fs_share share;
    struct vu_vring vring;
    uint64_t unique;
    struct fs_state_file *state; /* NULL, unless a test sets it before open */
    bool is_again;               /* what is sent now, a predecessor may have done */
};

/* Makes the directory and the options; then opens the share. */
void fs_fixture_init(struct fs_fixture *fixture);
void fs_fixture_open(struct fs_fixture *fixture);
/* Closes the share and removes the directory with all that is in it. */
void fs_fixture_finish(struct fs_fixture *fixture);

/* Sends INIT as a kernel of 7.38 that offers every flag. */
void fs_fixture_send_init(struct fs_fixture *fixture, struct fuse_init_out *ret_out);

/* Processes an element of any thread's own making, and waits until it is pushed. */
void fs_fixture_run(struct fs_fixture *fixture, struct vu_elem *elem);
/* How many elements were pushed by helpers, since the start of the program. */
unsigned fs_fixture_n_handed_on(void);

/*
 * Sends out_len bytes as a request cut after `cut` bytes (0: not cut), with room for in_len bytes,
 * and waits until it is pushed. Returns elem->written; the reply is in `in`.
 */
uint32_t fs_fixture_send(struct fs_fixture *fixture, const void *out, size_t out_len, size_t cut,
                         void *in, size_t in_len);

/* Waits until an element of a test's own is pushed. */
void fs_fixture_wait(const struct vu_elem *elem);

/*
 * A well-formed request of uid and gid 0: args, then `names` of names_len bytes (NULs included).
 * Checks that length and unique of the reply agree. Returns the bytes behind its header, copied
 * to `reply` (room bytes), or -errno.
 */
int fs_fixture_call(struct fs_fixture *fixture, uint32_t opcode, uint64_t nodeid, const void *args,
                    size_t args_len, const char *names, size_t names_len, void *reply, size_t room);

/* LOOKUP of name below parent: nodeid in *ret_entry, or -errno. */
int fs_fixture_lookup(struct fs_fixture *fixture, uint64_t parent, const char *name,
                      struct fuse_entry_out *ret_entry);
