/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of a file system, each as a guest's request and as a system call of the host, on two
 * folders of one share with the same few files: "file" (DIFF_FILE_LEN bytes, attribute user.old),
 * "dir", "full" with a folder "x", "link" to file, "dangling", "fifo".
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DIFF_FILE_LEN 10000

/* What to do. Numbers by their use in the operation; see its two functions. */
struct diff_row {
    const char *operation, *name, *name2;
    uint64_t a, b, c;
};

struct diff_operation {
    const char *name;
    /* A number that tells something, 0, or -errno. */
    int (*guest)(const struct diff_row *row);
    int (*host)(const struct diff_row *row);
};

extern const struct diff_operation diff_operations[];
extern const size_t diff_n_operations;

/* The share and the two folders, which the next operation works on. */
void diff_set_up(void);
void diff_tear_down(void);
