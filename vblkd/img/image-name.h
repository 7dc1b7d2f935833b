/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of images on command lines: a path, "file:PATH", or "json:{...}" with the keys of
 * --image-opts. Other names that begin with a word and a colon are of protocols that are not here;
 * a file that is called so is "./a:b".
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* The path of an image that need not be there yet: no json:. To be freed; NULL with *error. */
char *img_image_name_path(const char *name, GError **error);

/* Whether it is json:{...}. */
bool img_image_name_is_json(const char *name);
/* What json:{...} says, as --image-opts has it. To be freed; NULL with *error. */
char *img_image_name_opts(const char *name, GError **error);
