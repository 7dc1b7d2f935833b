/* SPDX-License-Identifier: Apache-2.0 */
/* Room in a file for what is mapped of it. Any thread. */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Makes sure that stores into this part of a file find room there: where they did not, the kernel
 * would end us (SIGBUS). What is in it stays; nobody may store into it meanwhile. 0 or -errno.
 */
int vu_file_room_take(int fd, off_t offset, size_t len);
