/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers of a 16550A. vCPUs read and write them, the main thread brings input; all under one
 * lock. Texas Instruments TL16C550C data sheet, section "Principles of operation".
 *
 *   offset  read                   written             with LCR.DLAB
 *   0       received byte          byte to send        divisor, low
 *   1       interrupts enabled     the same            divisor, high
 *   2       interrupt identity     FIFO control
 *   3       line control           the same
 *   4       modem control          the same
 *   5       line status
 *   6       modem status
 *   7       scratch                the same
 */
#include "vmm/serial.h"

#include <string.h>

#include "vhost-user/cleanup.h"
#include "vmm/console.h"
#include "vmm/layout.h"
#include "vmm/machine.h"

#define SERIAL_N_PORTS  8
#define SERIAL_FIFO_LEN 16

enum serial_register {
    SERIAL_DATA,
    SERIAL_IER,
    SERIAL_IIR_FCR,
    SERIAL_LCR,
    SERIAL_MCR,
    SERIAL_LSR,
    SERIAL_MSR,
    SERIAL_SCR,
};

#define IER_RECEIVED       0x01
#define IER_SENT           0x02
#define IER_LINE           0x04
#define IER_MODEM          0x08
#define IER_ALL            0x0f

#define IIR_NONE           0x01
#define IIR_MODEM          0x00
#define IIR_SENT           0x02
#define IIR_RECEIVED       0x04
#define IIR_LINE           0x06
#define IIR_TIMEOUT        0x0c /* fewer bytes than the trigger level, for a while */
#define IIR_FIFO           0xc0

#define FCR_ENABLE         0x01
#define FCR_CLEAR_RECEIVED 0x02
#define FCR_CLEAR_SENT     0x04

#define LCR_DLAB           0x80

#define MCR_DTR            0x01
#define MCR_RTS            0x02
#define MCR_OUT1           0x04
#define MCR_OUT2           0x08 /* lets interrupts out */
#define MCR_LOOP           0x10
#define MCR_ALL            0x1f

#define LSR_READY          0x01
#define LSR_OVERRUN        0x02
#define LSR_BREAK          0x10
#define LSR_THRE           0x20 /* room to send */
#define LSR_TEMT           0x40 /* all is sent */

#define MSR_CTS            0x10
#define MSR_DSR            0x20
#define MSR_RI             0x40
#define MSR_DCD            0x80
#define MSR_DELTAS         0x0f
#define MSR_RI_DELTA       0x04                          /* only when it ends */
#define MSR_ALWAYS         (MSR_CTS | MSR_DSR | MSR_DCD) /* someone is there */
#define SERIAL_BAUD_115    1

struct serial_fifo {
    uint8_t bytes[SERIAL_FIFO_LEN];
    unsigned first, n;
};

struct vmm_serial {
    struct vmm_machine *machine;
    struct vmm_bus_range range;
    struct vmm_console *console;
    pthread_mutex_t lock;
    /* under lock */
    struct serial_fifo received, sent;
    uint8_t ier, fcr, lcr, mcr, lsr_events, msr, scr;
    uint16_t divisor;
    bool is_sent_pending; /* the interrupt that there is room, until it is read or used */
    bool is_raised;
    bool is_input_held; /* the console waits for room */
};

static bool serial_fifo_put(struct serial_fifo *fifo, unsigned size, uint8_t byte)
{
    if (fifo->n >= size)
        return false;
    fifo->bytes[(fifo->first + fifo->n++) % SERIAL_FIFO_LEN] = byte;
    return true;
}

static uint8_t serial_fifo_take(struct serial_fifo *fifo)
{
    uint8_t byte = fifo->bytes[fifo->first];

    if (fifo->n == 0)
        return 0;
    fifo->first = (fifo->first + 1) % SERIAL_FIFO_LEN;
    fifo->n--;
    return byte;
}

static unsigned serial_fifo_size(const struct vmm_serial *serial)
{
    return serial->fcr & FCR_ENABLE ? SERIAL_FIFO_LEN : 1;
}

static unsigned serial_trigger_level(const struct vmm_serial *serial)
{
    static const uint8_t levels[] = {1, 4, 8, 14};

    return serial->fcr & FCR_ENABLE ? levels[serial->fcr >> 6] : 1;
}

/* --- interrupts --- */

/* The most important one that is pending. */
static uint8_t serial_identity_locked(const struct vmm_serial *serial)
{
    if (serial->ier & IER_LINE && serial->lsr_events != 0)
        return IIR_LINE;
    if (serial->ier & IER_RECEIVED && serial->received.n > 0)
        return serial->received.n >= serial_trigger_level(serial) ? IIR_RECEIVED : IIR_TIMEOUT;
    if (serial->ier & IER_SENT && serial->is_sent_pending)
        return IIR_SENT;
    if (serial->ier & IER_MODEM && serial->msr & MSR_DELTAS)
        return IIR_MODEM;
    return IIR_NONE;
}

static void serial_update_locked(struct vmm_serial *serial)
{
    bool is_out = serial->mcr & MCR_OUT2 && !(serial->mcr & MCR_LOOP);
    bool is_raised = is_out && serial_identity_locked(serial) != IIR_NONE;

    if (is_raised == serial->is_raised)
        return;
    serial->is_raised = is_raised;
    (void)vmm_vm_set_irq(&serial->machine->vm, VMM_GSI_COM1, is_raised);
}

/* --- the line --- */

/* Sends what can be sent. */
static void serial_drain_locked(struct vmm_serial *serial)
{
    bool was_full = serial->sent.n > 0;

    while (serial->sent.n > 0) {
        const uint8_t *bytes = serial->sent.bytes + serial->sent.first;
        size_t len = MIN(serial->sent.n, SERIAL_FIFO_LEN - serial->sent.first);
        size_t n = vmm_console_write(serial->console, bytes, len);

        if (n == 0)
            break;
        serial->sent.first = (serial->sent.first + (unsigned)n) % SERIAL_FIFO_LEN;
        serial->sent.n -= (unsigned)n;
    }
    if (was_full && serial->sent.n == 0)
        serial->is_sent_pending = true;
}

static void serial_receive_locked(struct vmm_serial *serial, uint8_t byte)
{
    if (!serial_fifo_put(&serial->received, serial_fifo_size(serial), byte))
        serial->lsr_events |= LSR_OVERRUN;
}

static void serial_send_locked(struct vmm_serial *serial, uint8_t byte)
{
    serial->is_sent_pending = false;
    if (serial->mcr & MCR_LOOP) {
        serial_receive_locked(serial, byte);
        serial->is_sent_pending = true;
        return;
    }
    /* More than there is room for: as on the real one, the last is overwritten. */
    if (!serial_fifo_put(&serial->sent, SERIAL_FIFO_LEN, byte))
        serial->sent.bytes[(serial->sent.first + serial->sent.n - 1) % SERIAL_FIFO_LEN] = byte;
    serial_drain_locked(serial);
}

/* The modem's lines: those of a peer that is always there or, in a loop, our own. */
static void serial_set_modem_locked(struct vmm_serial *serial)
{
    static const struct {
        uint8_t mcr, msr;
    } loop[] = {{MCR_DTR, MSR_DSR}, {MCR_RTS, MSR_CTS}, {MCR_OUT1, MSR_RI}, {MCR_OUT2, MSR_DCD}};
    uint8_t lines = MSR_ALWAYS, changed, deltas;

    if (serial->mcr & MCR_LOOP) {
        lines = 0;
        for (size_t i = 0; i < G_N_ELEMENTS(loop); i++)
            if (serial->mcr & loop[i].mcr)
                lines |= loop[i].msr;
    }
    changed = (uint8_t)((serial->msr ^ lines) & ~MSR_DELTAS);
    deltas = changed >> 4;
    if (lines & MSR_RI)
        deltas &= (uint8_t)~MSR_RI_DELTA;
    serial->msr = lines | (serial->msr & MSR_DELTAS) | deltas;
}

/* --- registers --- */

static uint8_t serial_read_status_locked(struct vmm_serial *serial)
{
    uint8_t lsr = serial->lsr_events;

    if (serial->received.n > 0)
        lsr |= LSR_READY;
    if (serial->sent.n == 0)
        lsr |= LSR_THRE | LSR_TEMT;
    serial->lsr_events = 0;
    return lsr;
}

static uint8_t serial_read_identity_locked(struct vmm_serial *serial)
{
    uint8_t identity = serial_identity_locked(serial);

    if (identity == IIR_SENT)
        serial->is_sent_pending = false;
    return identity | (serial->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static uint8_t serial_read_modem_locked(struct vmm_serial *serial)
{
    uint8_t msr = serial->msr;

    serial->msr &= (uint8_t)~MSR_DELTAS;
    return msr;
}

static uint8_t serial_read_locked(struct vmm_serial *serial, enum serial_register reg)
{
    bool is_divisor = serial->lcr & LCR_DLAB;

    switch (reg) {
    case SERIAL_DATA:
        return is_divisor ? (uint8_t)serial->divisor : serial_fifo_take(&serial->received);
    case SERIAL_IER:
        return is_divisor ? (uint8_t)(serial->divisor >> 8) : serial->ier;
    case SERIAL_IIR_FCR:
        return serial_read_identity_locked(serial);
    case SERIAL_LCR:
        return serial->lcr;
    case SERIAL_MCR:
        return serial->mcr;
    case SERIAL_LSR:
        return serial_read_status_locked(serial);
    case SERIAL_MSR:
        return serial_read_modem_locked(serial);
    case SERIAL_SCR:
        return serial->scr;
    }
    return UINT8_MAX;
}

static void serial_write_fcr_locked(struct vmm_serial *serial, uint8_t value)
{
    if ((value ^ serial->fcr) & FCR_ENABLE)
        value |= FCR_CLEAR_RECEIVED | FCR_CLEAR_SENT;
    if (value & FCR_CLEAR_RECEIVED)
        serial->received = (struct serial_fifo){0};
    if (value & FCR_CLEAR_SENT && serial->sent.n > 0) {
        serial->sent = (struct serial_fifo){0};
        serial->is_sent_pending = true;
    }
    serial->fcr = value & (uint8_t) ~(FCR_CLEAR_RECEIVED | FCR_CLEAR_SENT);
}

static void serial_write_ier_locked(struct vmm_serial *serial, uint8_t value)
{
    /* Enabling it while there is room says so at once: drivers rely on it. */
    if (value & ~serial->ier & IER_SENT && serial->sent.n == 0)
        serial->is_sent_pending = true;
    serial->ier = value & IER_ALL;
}

static void serial_write_locked(struct vmm_serial *serial, enum serial_register reg, uint8_t value)
{
    bool is_divisor = serial->lcr & LCR_DLAB;

    switch (reg) {
    case SERIAL_DATA:
        if (is_divisor)
            serial->divisor = (uint16_t)((serial->divisor & 0xff00) | value);
        else
            serial_send_locked(serial, value);
        break;
    case SERIAL_IER:
        if (is_divisor)
            serial->divisor = (uint16_t)((serial->divisor & 0xff) | value << 8);
        else
            serial_write_ier_locked(serial, value);
        break;
    case SERIAL_IIR_FCR:
        serial_write_fcr_locked(serial, value);
        break;
    case SERIAL_LCR:
        serial->lcr = value;
        break;
    case SERIAL_MCR:
        serial->mcr = value & MCR_ALL;
        serial_set_modem_locked(serial);
        break;
    case SERIAL_SCR:
        serial->scr = value;
        break;
    case SERIAL_LSR:
    case SERIAL_MSR:
        break;
    }
}

/* The console waited for room, and there is some. */
static bool serial_wakes_input_locked(struct vmm_serial *serial)
{
    if (!serial->is_input_held || serial->received.n >= serial_fifo_size(serial))
        return false;
    serial->is_input_held = false;
    return true;
}

static uint64_t serial_bus_read(void *opaque, uint64_t offset, unsigned len)
{
    struct vmm_serial *serial = opaque;
    uint64_t value = 0;
    bool wakes_input;

    pthread_mutex_lock(&serial->lock);
    for (unsigned i = 0; i < len; i++)
        value |= (uint64_t)serial_read_locked(serial, (enum serial_register)(offset + i)) << 8 * i;
    serial_update_locked(serial);
    wakes_input = serial_wakes_input_locked(serial);
    pthread_mutex_unlock(&serial->lock);
    if (wakes_input)
        vmm_console_resume_input(serial->console);
    return value;
}

static void serial_bus_write(void *opaque, uint64_t offset, unsigned len, uint64_t value)
{
    struct vmm_serial *serial = opaque;
    bool wakes_input;

    pthread_mutex_lock(&serial->lock);
    for (unsigned i = 0; i < len; i++)
        serial_write_locked(serial, (enum serial_register)(offset + i), (uint8_t)(value >> 8 * i));
    serial_update_locked(serial);
    wakes_input = serial_wakes_input_locked(serial);
    pthread_mutex_unlock(&serial->lock);
    if (wakes_input)
        vmm_console_resume_input(serial->console);
}

static const struct vmm_bus_ops serial_bus_ops = {
    .read = serial_bus_read,
    .write = serial_bus_write,
};

/* --- the console's side, on the main thread --- */

static size_t serial_room(void *opaque)
{
    struct vmm_serial *serial = opaque;
    VU_LOCK_SCOPE(&serial->lock);
    size_t room = serial_fifo_size(serial) - MIN(serial->received.n, serial_fifo_size(serial));

    serial->is_input_held = room == 0;
    return room;
}

static void serial_receive(void *opaque, const uint8_t *bytes, size_t len)
{
    struct vmm_serial *serial = opaque;
    VU_LOCK_SCOPE(&serial->lock);

    for (size_t i = 0; i < len; i++)
        serial_receive_locked(serial, bytes[i]);
    serial_update_locked(serial);
}

static void serial_receive_break(void *opaque)
{
    struct vmm_serial *serial = opaque;
    VU_LOCK_SCOPE(&serial->lock);

    serial_receive_locked(serial, 0);
    serial->lsr_events |= LSR_BREAK;
    serial_update_locked(serial);
}

static void serial_writable(void *opaque)
{
    struct vmm_serial *serial = opaque;
    VU_LOCK_SCOPE(&serial->lock);

    serial_drain_locked(serial);
    serial_update_locked(serial);
}

static void serial_quit(void *opaque)
{
    struct vmm_serial *serial = opaque;

    vmm_machine_ask(serial->machine, VMM_REQUEST_QUIT);
}

bool vmm_serial_is_awaited(const struct vmm_serial *serial)
{
    return vmm_console_is_awaited(serial->console);
}

void vmm_serial_reset(struct vmm_serial *serial)
{
    VU_LOCK_SCOPE(&serial->lock);

    serial->received = serial->sent = (struct serial_fifo){0};
    serial->ier = serial->fcr = serial->lcr = serial->mcr = serial->lsr_events = serial->scr = 0;
    serial->msr = MSR_ALWAYS;
    serial->divisor = SERIAL_BAUD_115;
    serial->is_sent_pending = false;
    serial_update_locked(serial);
}

bool vmm_serial_create(struct vmm_machine *machine, GError **error)
{
    struct vmm_serial *serial = g_new0(struct vmm_serial, 1);
    const struct vmm_console_user user = {
        .room = serial_room,
        .receive = serial_receive,
        .receive_break = serial_receive_break,
        .writable = serial_writable,
        .quit = serial_quit,
        .opaque = serial,
    };

    machine->serial = serial;
    serial->machine = machine;
    pthread_mutex_init(&serial->lock, NULL);
    vmm_serial_reset(serial);
    serial->range = (struct vmm_bus_range){
        .base = VMM_PORT_COM1, .len = SERIAL_N_PORTS, .ops = &serial_bus_ops, .opaque = serial};
    serial->console = vmm_console_create(&machine->config.serial, &user, machine->context, error);
    if (serial->console != NULL && vmm_bus_add(&machine->ports, &serial->range) == 0)
        return true;
    vmm_serial_destroy(g_steal_pointer(&machine->serial));
    return false;
}

void vmm_serial_destroy(struct vmm_serial *serial)
{
    if (serial == NULL)
        return;
    vmm_bus_remove(&serial->machine->ports, &serial->range);
    g_clear_pointer(&serial->console, vmm_console_destroy);
    pthread_mutex_destroy(&serial->lock);
    g_free(serial);
}
