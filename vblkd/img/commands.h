/* SPDX-License-Identifier: Apache-2.0 */
/* The subcommands, one file each. */
#pragma once

#include "vblkd/img/command.h"

extern const struct img_command img_amend;
extern const struct img_command img_bench;
extern const struct img_command img_bitmap;
extern const struct img_command img_check;
extern const struct img_command img_commit;
extern const struct img_command img_compare;
extern const struct img_command img_convert;
extern const struct img_command img_create;
extern const struct img_command img_dd;
extern const struct img_command img_info;
extern const struct img_command img_map;
extern const struct img_command img_measure;
extern const struct img_command img_rebase;
extern const struct img_command img_resize;
extern const struct img_command img_snapshot;
