/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory the program itself keeps resident. */
#pragma once

/* Gives back what starting took, and running hardly needs: free memory of the heap, and the pages
 * of programs and libraries, which the page cache has for whoever needs one again. Any thread. */
void vmm_footprint_trim(void);
