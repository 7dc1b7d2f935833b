/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A qcow2 image in a folder of its own, made by qemu-img, opened by us, with a copy of what the
 * guest should see in memory. qemu-img says whether the image is sound and has the same contents.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vblkd/format/image.h"

struct qcow2_fixture {
    char *dir, *path;
    struct vblk_image_options options;
    struct vblk_image *image; /* NULL: closed */
    uint8_t *shadow;
    uint64_t size;
};

/* Whether qemu-img is there; otherwise the test is skipped. */
bool qcow2_fixture_can_run(void);

/* "qemu-img create -f qcow2 ARGS path size"; not yet opened. The shadow is zeros. */
void qcow2_fixture_create(struct qcow2_fixture *fixture, uint64_t size, const char *args);
/* The folder alone. */
void qcow2_fixture_init(struct qcow2_fixture *fixture, uint64_t size);
/* A raw file of the folder with random data and holes, as large as the disk; the shadow has it. */
void qcow2_fixture_fill(struct qcow2_fixture *fixture, const char *name);
void qcow2_fixture_open(struct qcow2_fixture *fixture);
void qcow2_fixture_close(struct qcow2_fixture *fixture);
void qcow2_fixture_destroy(struct qcow2_fixture *fixture);

/* A file of the folder. g_free it. */
char *qcow2_fixture_path(const struct qcow2_fixture *fixture, const char *name);
/* Runs a shell command in the folder; its exit status. */
int qcow2_fixture_shell(const struct qcow2_fixture *fixture, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Through the open image and into the shadow. */
void qcow2_fixture_write(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len,
                         uint8_t pattern);
void qcow2_fixture_zero(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len,
                        bool may_unmap);
/* What a discarded range reads as is learned from the image: old bytes or zeros, per sector. */
void qcow2_fixture_discard(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len);
/* The range reads as the shadow has it. */
void qcow2_fixture_verify(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len);

/* n operations on random ranges, of all kinds. */
void qcow2_fixture_random(struct qcow2_fixture *fixture, unsigned n);

/* qemu-img check finds nothing (with leaks_allowed: nothing but leaks). */
void qcow2_fixture_check(const struct qcow2_fixture *fixture, bool leaks_allowed);
/* qemu-img finds the shadow's contents in the image, which is closed. */
void qcow2_fixture_compare(const struct qcow2_fixture *fixture);
