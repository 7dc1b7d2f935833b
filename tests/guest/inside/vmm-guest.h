/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of /init of a Linux guest of vmm share; see vmm-init.c. */
#pragma once

/* --- vmm-init.c: lines that the test looks at, "guest: NAME: VALUE". --- */

void guest_tell(const char *name, const char *value);
/* "ok", or what errno says. */
void guest_tell_result(const char *name, int is_ok);
/* The first line of a file; "-" where there is none. Good until the next call. */
const char *guest_first_line(const char *path);

/* --- vmm-devices.c: each of the devices, once. --- */

/* Mounts a tag, reads a file of the host's, leaves one for it. It stays mounted. */
void guest_use_share(const char *tag, const char *dir);
/* The first block of /dev/vda is the host's, the second becomes ours. */
void guest_use_disk(void);
void guest_use_entropy(void);
/* lspci -vv, from the share, into the share. */
void guest_run_lspci(void);

/* --- vmm-live.c: what happens to devices while they are used. --- */

/* Writes and reads disk and share until another disk comes, whatever happens to their daemons. */
void guest_work(void);
/* That disk: what is on it, what it grows to, and that it leaves again. */
void guest_follow_disk(void);
void guest_await_button(void);
