/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest's side of the FUSE protocol for the tests of operations, on top of fs-fixture.h. Calls
 * may come from several threads at once, as they do from several queues.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "tests/unit/fs-fixture.h"

/* One request, as a test writes it. */
struct fs_call {
    uint32_t opcode;
    uint64_t nodeid;
    uint32_t uid, gid;
    const void *args;
    size_t args_len;
    const char *name, *name2; /* name2: new name of RENAME, target of SYMLINK */
    const void *data;
    size_t data_len;
    uint16_t extension_len; /* of the last bytes of data: counted as extensions */
    void *reply;            /* where the reply goes, behind its header */
    size_t room;            /* bytes of it */
    size_t piece;           /* longest range of the chain; 0: one range for each part */
};

/* The share is open and INIT is done. Ends the test on failure. */
void fs_client_set_up(struct fs_fixture *fixture, enum fs_cache cache, int max_helpers);
/* Checks that no handle is left, closes the share and removes the directory. */
void fs_client_tear_down(struct fs_fixture *fixture);

/*
 * Runs a request and waits for its answer: bytes in call->reply, or -errno. Checks the header of
 * the answer.
 */
int fs_client_call(struct fs_fixture *fixture, const struct fs_call *call);
/* --- requests that every test needs; negative errno or 0 unless it says otherwise --- */

int fs_client_lookup(struct fs_fixture *fixture, uint64_t parent, const char *name,
                     struct fuse_entry_out *ret_entry);
void fs_client_forget(struct fs_fixture *fixture, uint64_t nodeid, uint64_t n_lookups);
int fs_client_create(struct fs_fixture *fixture, uint64_t parent, const char *name, int flags,
                     uint64_t *ret_nodeid, uint64_t *ret_fh);
int fs_client_open(struct fs_fixture *fixture, uint64_t nodeid, int flags,
                   struct fuse_open_out *ret_open);
int fs_client_release(struct fs_fixture *fixture, uint64_t nodeid, uint64_t fh);
/* Bytes or -errno. `flags` are those of the open file, as the guest's kernel repeats them. */
int fs_client_read(struct fs_fixture *fixture, uint64_t fh, uint64_t offset, void *buf,
                   uint32_t len);
int fs_client_write(struct fs_fixture *fixture, uint64_t fh, uint64_t offset, const void *buf,
                    uint32_t len, int flags);
int fs_client_mkdir(struct fs_fixture *fixture, uint64_t parent, const char *name,
                    uint64_t *ret_nodeid);

/* In the root; flags of RENAME2. */
int fs_client_rename(struct fs_fixture *fixture, const char *from, const char *to, unsigned flags);

/* --- what the host sees --- */

/* The host's path of a name in the share; free with g_free. */
char *fs_client_path(const struct fs_fixture *fixture, const char *name);
/* lstat of it, which is to be there; whether it is. */
struct stat fs_client_host_stat(const struct fs_fixture *fixture, const char *name);
bool fs_client_host_has(const struct fs_fixture *fixture, const char *name);
