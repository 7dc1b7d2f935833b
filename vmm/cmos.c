/* SPDX-License-Identifier: Apache-2.0 */
/* Registers of the MC146818. vCPUs read and write them. */
#include "vmm/cmos.h"

#include <time.h>

#include "vhost-user/cleanup.h"
#include "vmm/layout.h"

#define CMOS_N_PORTS 2
#define CMOS_INDEX   0
#define CMOS_DATA    1

enum cmos_register {
    CMOS_SECONDS = 0x00,
    CMOS_MINUTES = 0x02,
    CMOS_HOURS = 0x04,
    CMOS_WEEKDAY = 0x06,
    CMOS_DAY = 0x07,
    CMOS_MONTH = 0x08,
    CMOS_YEAR = 0x09,
    CMOS_A = 0x0a,
    CMOS_B = 0x0b,
    CMOS_C = 0x0c,
    CMOS_D = 0x0d,
    CMOS_CENTURY = 0x32, /* where ACPI says that it is */
};

#define CMOS_A_DIVIDER 0x26 /* runs at 32 kHz; no update in progress */
#define CMOS_B_24_HOUR 0x02 /* and in BCD */
#define CMOS_D_VALID   0x80

static uint8_t cmos_bcd(int value)
{
    return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static uint8_t cmos_get_locked(const struct vmm_cmos *cmos, enum cmos_register reg)
{
    time_t now = time(NULL);
    struct tm tm;

    gmtime_r(&now, &tm);
    switch (reg) {
    case CMOS_SECONDS:
        return cmos_bcd(tm.tm_sec);
    case CMOS_MINUTES:
        return cmos_bcd(tm.tm_min);
    case CMOS_HOURS:
        return cmos_bcd(tm.tm_hour);
    case CMOS_WEEKDAY:
        return cmos_bcd(tm.tm_wday + 1);
    case CMOS_DAY:
        return cmos_bcd(tm.tm_mday);
    case CMOS_MONTH:
        return cmos_bcd(tm.tm_mon + 1);
    case CMOS_YEAR:
        return cmos_bcd(tm.tm_year % 100);
    case CMOS_CENTURY:
        return cmos_bcd(tm.tm_year / 100 + 19);
    case CMOS_A:
        return CMOS_A_DIVIDER;
    case CMOS_B:
        return CMOS_B_24_HOUR;
    case CMOS_C:
        return 0;
    case CMOS_D:
        return CMOS_D_VALID;
    default:
        return cmos->bytes[reg];
    }
}

static uint64_t cmos_bus_read(void *opaque, uint64_t offset, unsigned len)
{
    struct vmm_cmos *cmos = opaque;
    VU_LOCK_SCOPE(&cmos->lock);

    return offset == CMOS_DATA && len == 1 ? cmos_get_locked(cmos, cmos->index) : UINT64_MAX;
}

static void cmos_bus_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    struct vmm_cmos *cmos = opaque;
    VU_LOCK_SCOPE(&cmos->lock);

    if (len != 1)
        return;
    if (offset == CMOS_INDEX)
        cmos->index = value & 0x7f; /* the highest bit masks NMIs, of which there are none */
    else
        cmos->bytes[cmos->index] = (uint8_t)value;
}

static const struct vmm_bus_ops cmos_bus_ops = {
    .read = cmos_bus_read,
    .write = cmos_bus_write,
};

int vmm_cmos_init(struct vmm_cmos *cmos, struct vmm_bus *ports)
{
    *cmos = (struct vmm_cmos){
        .ports = ports,
        .range = {.base = VMM_PORT_CMOS, .len = CMOS_N_PORTS, .ops = &cmos_bus_ops, .opaque = cmos},
    };
    pthread_mutex_init(&cmos->lock, NULL);
    return vmm_bus_add(ports, &cmos->range);
}

void vmm_cmos_finish(struct vmm_cmos *cmos)
{
    if (cmos->ports == NULL)
        return;
    vmm_bus_remove(cmos->ports, &cmos->range);
    pthread_mutex_destroy(&cmos->lock);
    cmos->ports = NULL;
}
