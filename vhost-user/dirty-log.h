/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dirty log of a live migration: one bit for each 4 KiB page of guest-physical memory, in a
 * file that the front-end shares (SET_LOG_BASE). Bits are set by atomic OR, from any thread.
 * vhost-user: "Migration".
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define VU_LOG_PAGE_SIZE 4096

struct vu_dirty_log; /* reference counted: rings and requests in flight may outlive the session's
                        use */

/* Maps size bytes of fd at offset. fd stays the caller's. -EINVAL: empty, or beyond the file;
 * -errno of mmap. */
int vu_dirty_log_create(int fd, uint64_t size, uint64_t offset, struct vu_dirty_log **ret_log);
struct vu_dirty_log *vu_dirty_log_ref(struct vu_dirty_log *log);
void vu_dirty_log_unref(struct vu_dirty_log *log);

/* Marks every page that [gpa, gpa + len) touches. Pages beyond the log are ignored. */
void vu_dirty_log_mark(struct vu_dirty_log *log, uint64_t gpa, uint64_t len);
