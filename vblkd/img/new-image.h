/* SPDX-License-Identifier: Apache-2.0 */
/* The -o options of an image that is to be made, and making it. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vblkd/format/qcow2-create.h"
#include "vhost-user/daemon/options.h"

struct img_new_image {
    bool help;     /* -o help: only list them */
    uint64_t size; /* UINT64_MAX: not said */
    int compat;    /* of the choices 0.10, v2, 1.1, v3 */
    bool has_compat;
    uint64_t cluster_size;
    int refcount_bits, lazy_refcounts, extended_l2, compression_type, data_file_raw, preallocation;
    char *backing_file, *backing_format, *data_file;
    bool unflushed; /* not an option: its contents follow, and reach the disk, or not, with them */
};

extern const struct vu_option img_new_image_rows[];
extern const size_t img_n_new_image_rows;

/* A switch as the list of qemu-img has it; bare (NULL), it is on. False with *error. */
bool img_new_image_parse_switch(const char *value, bool *ret_is_on, GError **error);

void img_new_image_init(struct img_new_image *new);
void img_new_image_clear(struct img_new_image *new);
/* Lists the options of a format (NULL: raw). The exit status: 1 where there is no such format. */
int img_new_image_help(const char *format);
/* Whether an option asks for something that is not so by itself. */
bool img_new_image_is_said(const struct img_new_image *new);

/* The same for the format's own function. Strings remain new's. */
struct qcow2_create_options img_new_image_qcow2(const struct img_new_image *new);

/* Whether the options go with each other and with the format. False with *error. */
bool img_new_image_check(const struct img_new_image *new, const char *format, GError **error);

/* "fmt=qcow2 cluster_size=65536 ...", as qemu-img says it; g_free it. */
char *img_new_image_describe(const struct img_new_image *new, const char *format);

/* Makes the image, new->size bytes large, over a file that is there. False with *error. */
bool img_new_image_create(const char *name, const struct img_new_image *new, const char *format,
                          GError **error);

/* Sets space aside in a range of a raw file, which reads as zeros so far. -errno. */
int img_preallocate_raw(struct vblk_storage *storage, uint64_t offset, uint64_t len, int how);
