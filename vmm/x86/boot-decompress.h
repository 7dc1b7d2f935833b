/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacks what a bzImage holds, in whichever of the usual formats it is. */
#pragma once

#include <stdint.h>

struct vmm_image;

/*
 * Fills *ret_image, which is then to be closed, with what in[0, in_len) unpacks to; its last 4
 * bytes say how long that is, as in every bzImage. -EOPNOTSUPP: a format that is not known here;
 * -EBADMSG: damaged; -EFBIG: it says that it is larger than any kernel; -ENOMEM.
 */
int vmm_decompress(const uint8_t *in, uint64_t in_len, struct vmm_image *ret_image);
