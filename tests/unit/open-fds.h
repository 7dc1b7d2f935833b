/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a test leaves descriptors open: to be asked before and after, while no other thread opens
 * any. */
#pragma once

/* How many descriptors this process has, and the one that it looks with. */
unsigned count_open_fds(void);
