/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on standard output. */
#pragma once

#include "vhost-user/daemon/json-build.h"

/* Prints what was built, indented, and a newline; takes the builder. */
void img_json_print(JsonBuilder *json);
