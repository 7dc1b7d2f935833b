/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A share with a file of --state, and others that take its place, for the tests of what a guest has
 * of that. One at a time, in fs_succession.
 */
#pragma once

#include "tests/unit/fs-client.h"

extern struct fs_fixture fs_succession;
extern char *fs_succession_path; /* of the file */

/* Opens the share, with INIT done. False where there are no file handles here: the test is to end.
 */
bool fs_succession_set_up(void);
void fs_succession_tear_down(void);

/* The share and the file alone, for those who do something in between. */
void fs_succession_close(void);
void fs_succession_open(void);
/* The file without the share. */
void fs_succession_open_file(void);

/* A new share, with what the file has at this moment, as after a kill. */
void fs_succession_kill(void);
/* The same after SIGTERM. */
void fs_succession_end(void);

/* GETATTR: 0 or -errno. */
int fs_succession_get_size(uint64_t nodeid, uint64_t *ret_size);
