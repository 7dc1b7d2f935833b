/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes AML, the byte code of ACPI's DSDT: objects one after the other, blocks that begin and end.
 * ACPI 6.4 chapter 20; resources, section 6.4.
 *
 * Names are of four characters; paths such as "\\_SB_.PC00" have dots between. A wrong use of the
 * blocks is a bug of ours, and asserted.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VMM_AML_MAX_DEPTH 16

struct vmm_aml {
    GByteArray *bytes;
    struct {
        unsigned at;       /* where its length will be */
        bool is_resources; /* a buffer, whose size comes before its contents */
    } blocks[VMM_AML_MAX_DEPTH];
    unsigned depth;
};

/* Writes behind what bytes has already. */
void vmm_aml_init(struct vmm_aml *aml, GByteArray *bytes);

/* --- blocks --- */

void vmm_aml_begin_scope(struct vmm_aml *aml, const char *path);
void vmm_aml_begin_device(struct vmm_aml *aml, const char *name);
void vmm_aml_begin_method(struct vmm_aml *aml, const char *name, unsigned n_args);
void vmm_aml_begin_package(struct vmm_aml *aml, unsigned n_elements);
/* If (local & mask). */
void vmm_aml_begin_if_bit(struct vmm_aml *aml, unsigned local, uint64_t mask);
/* A resource template, of the vmm_aml_resource_* below. */
void vmm_aml_begin_resources(struct vmm_aml *aml);
/* Fields of 32 bits in a region; each then a vmm_aml_field. */
void vmm_aml_begin_fields(struct vmm_aml *aml, const char *region);
void vmm_aml_end(struct vmm_aml *aml);

/* --- objects --- */

/* Its value follows. */
void vmm_aml_name(struct vmm_aml *aml, const char *name);
void vmm_aml_integer(struct vmm_aml *aml, uint64_t value);
void vmm_aml_string(struct vmm_aml *aml, const char *string);
/* "PNP0A08" as a number. */
void vmm_aml_eisa_id(struct vmm_aml *aml, const char *id);
/* A region of ports. */
void vmm_aml_port_region(struct vmm_aml *aml, const char *name, uint16_t port, uint8_t len);
void vmm_aml_field(struct vmm_aml *aml, const char *name);

/* --- statements --- */

void vmm_aml_call(struct vmm_aml *aml, const char *path);
/* Localn = path; path = Localn; path = value. */
void vmm_aml_load(struct vmm_aml *aml, unsigned local, const char *path);
void vmm_aml_store(struct vmm_aml *aml, const char *path, unsigned local);
void vmm_aml_store_integer(struct vmm_aml *aml, const char *path, uint64_t value);
void vmm_aml_notify(struct vmm_aml *aml, const char *path, uint8_t value);

/* --- resources --- */

void vmm_aml_resource_ports(struct vmm_aml *aml, uint16_t port, uint8_t len);
void vmm_aml_resource_interrupt(struct vmm_aml *aml, uint32_t gsi, bool is_edge);
void vmm_aml_resource_memory_fixed(struct vmm_aml *aml, uint32_t gpa, uint32_t len);
/* What a bridge passes on: buses, ports, or memory. */
void vmm_aml_resource_buses(struct vmm_aml *aml, uint16_t first, uint16_t n);
void vmm_aml_resource_window(struct vmm_aml *aml, uint64_t gpa, uint64_t len, bool is_prefetchable);
