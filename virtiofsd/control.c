/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of virtiofsd's commands. */
#include "virtiofsd/control.h"

const struct vu_control_table fs_control_table = {NULL, 0};
