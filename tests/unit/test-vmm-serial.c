/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COM1 as a driver sees it, without KVM: registers, interrupts' identities, the loop, and a line
 * that loses nothing, whoever is the slower one.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/layout.h"
#include "vmm/machine.h"
#include "vmm/serial.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };

#define FCR        IIR
#define READY      0x01
#define THRE       0x20
#define MCR_ON     0x0b /* DTR, RTS, OUT2 */
#define MCR_LOOP   0x1b
#define SOCKET_LEN (256u << 10)

struct fixture {
    struct vmm_machine machine;
    char *dir;
    int peer; /* the client of a socket; -1: a file */
};

static void fixture_init(struct fixture *fixture, enum vmm_serial_kind kind)
{
    struct vmm_machine *machine = &fixture->machine;
    g_autoptr(GError) error = NULL;

    memset(fixture, 0, sizeof(*fixture));
    fixture->peer = -1;
    fixture->dir = g_dir_make_tmp("outboard-serial-XXXXXX", NULL);
    vmm_config_init(&machine->config);
    machine->vm.fd = -1; /* interrupts go nowhere */
    machine->request_fd = -1;
    machine->config.serial.kind = kind;
    machine->config.serial.path = g_build_filename(fixture->dir, "line", NULL);
    machine->context = g_main_context_new();
    g_main_context_acquire(machine->context);
    vmm_bus_init(&machine->ports);
    g_assert_true(vmm_serial_create(machine, &error));
}

static void fixture_connect(struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    g_strlcpy(address.sun_path, fixture->machine.config.serial.path, sizeof(address.sun_path));
    fixture->peer = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_assert_cmpint(connect(fixture->peer, (const struct sockaddr *)&address, sizeof(address)), ==,
                    0);
    g_main_context_iteration(fixture->machine.context, TRUE);
}

static void fixture_clear(struct fixture *fixture)
{
    g_autofree char *path = g_strdup(fixture->machine.config.serial.path);

    vmm_serial_destroy(fixture->machine.serial);
    vmm_bus_finish(&fixture->machine.ports);
    g_main_context_release(fixture->machine.context);
    g_main_context_unref(fixture->machine.context);
    vmm_config_clear(&fixture->machine.config);
    if (fixture->peer >= 0)
        close(fixture->peer);
    g_unlink(path);
    g_rmdir(fixture->dir);
    g_free(fixture->dir);
}

static uint8_t in(struct fixture *fixture, unsigned reg)
{
    return (uint8_t)vmm_bus_read(&fixture->machine.ports, VMM_PORT_COM1 + reg, 1);
}

static void out(struct fixture *fixture, unsigned reg, uint8_t value)
{
    vmm_bus_write(&fixture->machine.ports, VMM_PORT_COM1 + reg, 1, value);
}

static void assert_written(const struct fixture *fixture, const char *text)
{
    g_autofree char *contents = NULL;

    g_assert_true(g_file_get_contents(fixture->machine.config.serial.path, &contents, NULL, NULL));
    g_assert_cmpstr(contents, ==, text);
}

static void test_registers(void)
{
    struct fixture fixture;

    fixture_init(&fixture, VMM_SERIAL_FILE);
    g_assert_cmphex(in(&fixture, LSR), ==, 0x60);
    g_assert_cmphex(in(&fixture, MSR), ==, 0xb0);
    g_assert_cmphex(in(&fixture, IIR), ==, 0x01);
    out(&fixture, SCR, 0x5a);
    g_assert_cmphex(in(&fixture, SCR), ==, 0x5a);
    out(&fixture, IER, 0xff);
    g_assert_cmphex(in(&fixture, IER), ==, 0x0f);
    out(&fixture, LCR, 0x83);
    out(&fixture, DATA, 0x12);
    out(&fixture, IER, 0x34);
    g_assert_cmphex(in(&fixture, DATA), ==, 0x12);
    g_assert_cmphex(in(&fixture, IER), ==, 0x34);
    out(&fixture, LCR, 0x03);
    g_assert_cmphex(in(&fixture, IER), ==, 0x0f);
    out(&fixture, FCR, 0x01);
    g_assert_cmphex(in(&fixture, IIR) & 0xc0, ==, 0xc0); /* a 16550A */
    out(&fixture, FCR, 0x00);
    g_assert_cmphex(in(&fixture, IIR) & 0xc0, ==, 0x00);
    vmm_serial_reset(fixture.machine.serial);
    g_assert_cmphex(in(&fixture, SCR), ==, 0);
    g_assert_cmphex(in(&fixture, IER), ==, 0);
    /* Odd accesses: of several registers, across the end. */
    vmm_bus_write(&fixture.machine.ports, VMM_PORT_COM1 + SCR, 2, 0xffff);
    g_assert_cmphex(vmm_bus_read(&fixture.machine.ports, VMM_PORT_COM1 + LSR, 2), ==, 0xb060);
    g_assert_cmphex(in(&fixture, SCR), ==, 0);
    fixture_clear(&fixture);
}

/* The interrupt that there is room to send: at enabling it, after each byte, gone once it is read.
 */
static void test_sent(void)
{
    struct fixture fixture;

    fixture_init(&fixture, VMM_SERIAL_FILE);
    out(&fixture, MCR, MCR_ON);
    out(&fixture, IER, 0x02);
    g_assert_cmphex(in(&fixture, IIR), ==, 0x02);
    g_assert_cmphex(in(&fixture, IIR), ==, 0x01);
    out(&fixture, DATA, 'a');
    g_assert_cmphex(in(&fixture, IIR), ==, 0x02);
    g_assert_cmphex(in(&fixture, IIR), ==, 0x01);
    out(&fixture, IER, 0x00);
    out(&fixture, DATA, 'b');
    g_assert_cmphex(in(&fixture, IIR), ==, 0x01);
    out(&fixture, IER, 0x02);
    g_assert_cmphex(in(&fixture, IIR), ==, 0x02);
    assert_written(&fixture, "ab");
    fixture_clear(&fixture);
}

static void test_loop(void)
{
    static const uint8_t lines[][2] = {{0x11, 0x20}, {0x12, 0x10}, {0x14, 0x40}, {0x18, 0x80}};
    struct fixture fixture;

    fixture_init(&fixture, VMM_SERIAL_FILE);
    out(&fixture, FCR, 0xc7); /* FIFO, trigger level 14 */
    out(&fixture, MCR, MCR_LOOP);
    out(&fixture, IER, 0x05);
    for (unsigned i = 0; i < 16; i++) {
        g_assert_cmphex(in(&fixture, IIR), ==, i == 0 ? 0xc1 : i < 14 ? 0xcc : 0xc4);
        out(&fixture, DATA, (uint8_t)i);
    }
    out(&fixture, DATA, 99); /* one too many */
    g_assert_cmphex(in(&fixture, IIR), ==, 0xc6);
    g_assert_cmphex(in(&fixture, LSR) & 0x03, ==, 0x03);
    g_assert_cmphex(in(&fixture, LSR) & 0x03, ==, 0x01);
    for (unsigned i = 0; i < 16; i++)
        g_assert_cmpuint(in(&fixture, DATA), ==, i);
    g_assert_cmphex(in(&fixture, LSR) & READY, ==, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++) {
        out(&fixture, MCR, lines[i][0]);
        g_assert_cmphex(in(&fixture, MSR) & 0xf0, ==, lines[i][1]);
    }
    assert_written(&fixture, "");
    fixture_clear(&fixture);
}

/* More than the FIFO holds arrives whole, at the guest's pace. */
static void test_input(void)
{
    struct fixture fixture;
    uint8_t bytes[5000];
    unsigned n = 0;

    fixture_init(&fixture, VMM_SERIAL_UNIX);
    fixture_connect(&fixture);
    out(&fixture, FCR, 0x01);
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7);
    g_assert_cmpint(write(fixture.peer, bytes, sizeof(bytes)), ==, sizeof(bytes));
    while (n < sizeof(bytes)) {
        g_main_context_iteration(fixture.machine.context, FALSE);
        if (n % 3 != 0)
            g_main_context_iteration(fixture.machine.context, FALSE);
        g_assert_cmphex(in(&fixture, LSR) & 0x02, ==, 0);
        for (unsigned i = 0; i < 1 + n % 20 && in(&fixture, LSR) & READY; i++, n++)
            g_assert_cmpuint(in(&fixture, DATA), ==, bytes[n]);
    }
    fixture_clear(&fixture);
}

/* A reader that does not read stops the guest, which polls for room; nothing is lost. */
static void test_output(void)
{
    struct fixture fixture;
    unsigned n_written = 0, n_read = 0, n_full = 0;
    uint8_t bytes[4096];
    ssize_t n;

    fixture_init(&fixture, VMM_SERIAL_UNIX);
    fixture_connect(&fixture);
    out(&fixture, FCR, 0x01);
    while (n_read < SOCKET_LEN) {
        while (n_written < SOCKET_LEN && in(&fixture, LSR) & THRE)
            for (unsigned i = 0; i < 16; i++)
                out(&fixture, DATA, (uint8_t)(n_written++ * 5));
        n_full += (in(&fixture, LSR) & THRE) == 0;
        while ((n = read(fixture.peer, bytes, sizeof(bytes))) > 0)
            for (unsigned i = 0; i < (unsigned)n; i++)
                g_assert_cmpuint(bytes[i], ==, (uint8_t)(n_read++ * 5));
        g_main_context_iteration(fixture.machine.context, FALSE);
    }
    g_assert_cmpuint(n_read, ==, n_written);
    g_assert_cmpuint(n_full, >, 0);
    fixture_clear(&fixture);
}

/* A client that goes takes what was held back with it; the next one is served. */
static void test_clients(void)
{
    struct fixture fixture;
    uint8_t byte = 0;

    fixture_init(&fixture, VMM_SERIAL_UNIX);
    out(&fixture, FCR, 0x01);
    out(&fixture, DATA, 'x'); /* nobody is there */
    g_assert_cmphex(in(&fixture, LSR) & THRE, ==, THRE);
    fixture_connect(&fixture);
    for (unsigned i = 0; i < SOCKET_LEN && in(&fixture, LSR) & THRE; i++)
        out(&fixture, DATA, 'y');
    close(fixture.peer);
    while (!(in(&fixture, LSR) & THRE))
        g_main_context_iteration(fixture.machine.context, TRUE);
    while (g_main_context_iteration(fixture.machine.context, FALSE))
        ;
    fixture_connect(&fixture);
    out(&fixture, DATA, 'z');
    g_assert_cmpint(read(fixture.peer, &byte, 1), ==, 1);
    g_assert_cmpuint(byte, ==, 'z');
    fixture_clear(&fixture);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/serial/registers", test_registers);
    g_test_add_func("/serial/sent", test_sent);
    g_test_add_func("/serial/loop", test_loop);
    g_test_add_func("/serial/input", test_input);
    g_test_add_func("/serial/output", test_output);
    g_test_add_func("/serial/clients", test_clients);
    return g_test_run();
}
