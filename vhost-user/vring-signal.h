/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor by which the guest's side is told something: a ring's call or err. Reference
 * counted, so that whoever raises it needs no lock while the session replaces it. Any thread.
 *
 * vhost-user: VHOST_USER_SET_VRING_CALL and SET_VRING_ERR. Most peers send eventfds; User Mode
 * Linux sends stream sockets.
 */
#pragma once

struct vu_signal;

/*
 * Takes over fd, always. NULL: fd is -1, or neither an eventfd nor a socket (closed, and
 * *ret_error, if any, says so; the caller has the name for a log line).
 */
struct vu_signal *vu_signal_create(int fd, const char **ret_error);
/* NULL is allowed in each of these. */
struct vu_signal *vu_signal_ref(struct vu_signal *signal);
void vu_signal_unref(struct vu_signal *signal);
/* Never blocks: what cannot take one more is signalled already. */
void vu_signal_raise(const struct vu_signal *signal);
