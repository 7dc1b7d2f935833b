/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of virtiofsd's control socket. Their opaque is the struct fs_share. */
#pragma once

#include "vhost-user/daemon/control.h"

extern const struct vu_control_table fs_control_table;
