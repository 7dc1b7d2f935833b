/* SPDX-License-Identifier: Apache-2.0 */
/* Text of others for a terminal, which obeys what is no letter. */
#pragma once

/* UTF-8, with a '?' for each character that cannot be printed (controls, those beyond ASCII too,
 * and marks of the direction of writing), and U+FFFD for what is no UTF-8. g_free. */
char *vu_printable(const char *text);
