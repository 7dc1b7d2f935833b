/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's life. Requests are collected in a set of bits, from any thread; the main thread is
 * woken through an eventfd and carries them out, the most final one first.
 */
#include "vmm/machine.h"

#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/log.h"
#include "vhost-user/signal-fd.h"
#include "vmm/acpi-device.h"
#include "vmm/devices.h"
#include "vmm/footprint.h"
#include "vmm/serial.h"
#include "vmm/syscalls.h"
#include "vmm/terminal.h"
#include "vmm/x86/vcpu.h"

enum vmm_run_state vmm_machine_state(const struct vmm_machine *machine)
{
    return __atomic_load_n(&machine->state, __ATOMIC_ACQUIRE);
}

static void machine_set_state(struct vmm_machine *machine, enum vmm_run_state state)
{
    __atomic_store_n(&machine->state, state, __ATOMIC_RELEASE);
}

void vmm_machine_ask(struct vmm_machine *machine, enum vmm_request request)
{
    uint64_t one = 1;

    __atomic_fetch_or(&machine->requests, request, __ATOMIC_ACQ_REL);
    (void)!write(machine->request_fd, &one, sizeof(one));
}

void vmm_machine_tell(const struct vmm_machine *machine, const struct vmm_event *event)
{
    if (machine->on_event != NULL)
        machine->on_event(machine->event_opaque, event);
}

static void machine_tell(const struct vmm_machine *machine, const char *name)
{
    vmm_machine_tell(machine, &(struct vmm_event){.name = name});
}

static void machine_tell_cause(const struct vmm_machine *machine, const char *name, bool by_guest,
                               const char *reason)
{
    vmm_machine_tell(machine,
                     &(struct vmm_event){
                         .name = name, .has_cause = true, .by_guest = by_guest, .reason = reason});
}

/* --- create and destroy --- */

/* A descriptor that is readable once someone wants the program to end. The signals stay blocked. */
static int machine_open_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCONT, 0};

    signal(SIGPIPE, SIG_IGN);
    return vu_signal_fd_open(signals);
}

static bool machine_create_parts(struct vmm_machine *machine, GError **error)
{
    if (!vmm_boot_open(&machine->files, &machine->config, error) ||
        !vmm_ram_create(&machine->ram, &machine->config, error) ||
        !vmm_vm_create(&machine->vm, &machine->ram, error) ||
        !vmm_acpi_device_create(machine, error) || !vmm_serial_create(machine, error) ||
        !vmm_devices_create(machine, error))
        return false;
    if (vmm_cmos_init(&machine->cmos, &machine->ports) < 0) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_EXIST, "the ports of the clock are taken");
        return false;
    }
    return vmm_vcpus_create(machine, error);
}

bool vmm_machine_create(struct vmm_machine *machine, struct vmm_config *config, GError **error)
{
    *machine = (struct vmm_machine){
        .config = *config,
        .files = {{.fd = -1}, {.fd = -1}},
        .vm = {.fd = -1, .kvm_fd = -1},
    };
    vmm_config_init(config); /* what it held is ours now */
    vmm_bus_init(&machine->ports);
    vmm_bus_init(&machine->memory);
    machine->context = g_main_context_new();
    g_main_context_acquire(machine->context); /* nobody but this thread runs its sources */
    machine->request_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    machine->signal_fd = machine_open_signals(); /* before the terminal is raw */
    if (machine->request_fd < 0 || machine->signal_fd < 0)
        g_set_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(errno), "eventfd: %s",
                    g_strerror(errno));
    else if (machine_create_parts(machine, error))
        return true;
    vmm_machine_destroy(machine);
    return false;
}

void vmm_machine_destroy(struct vmm_machine *machine)
{
    g_clear_pointer(&machine->vcpus, vmm_vcpus_destroy);
    vmm_devices_destroy(machine);
    vmm_cmos_finish(&machine->cmos);
    g_clear_pointer(&machine->serial, vmm_serial_destroy);
    g_clear_pointer(&machine->acpi, vmm_acpi_device_destroy);
    vmm_vm_destroy(&machine->vm);
    vmm_ram_destroy(&machine->ram);
    vmm_boot_close(&machine->files);
    vmm_bus_finish(&machine->memory);
    vmm_bus_finish(&machine->ports);
    vu_clear_fd(&machine->request_fd);
    vu_clear_fd(&machine->signal_fd);
    g_main_context_release(machine->context);
    g_main_context_unref(machine->context);
    vmm_config_clear(&machine->config);
}

/* --- requests --- */

/* The kernel anew, in a machine as after power-on. All vCPUs are parked. */
static bool machine_load(struct vmm_machine *machine, GError **error)
{
    struct vmm_entry entry;
    int rc;

    if (!vmm_boot_load(machine, &entry, error))
        return false;
    machine->ram.is_zero = false;
    rc = vmm_vcpus_reset(machine->vcpus, &entry);
    if (rc < 0)
        g_set_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(-rc),
                    "KVM does not take the registers of the entry: %s", g_strerror(-rc));
    return rc == 0;
}

static void machine_pause(struct vmm_machine *machine)
{
    if (vmm_machine_state(machine) != VMM_STATE_RUNNING)
        return;
    vmm_vcpus_pause(machine->vcpus);
    machine_set_state(machine, VMM_STATE_PAUSED);
}

static void machine_resume(struct vmm_machine *machine)
{
    machine_set_state(machine, VMM_STATE_RUNNING);
    vmm_vcpus_resume(machine->vcpus);
}

static void machine_quit(struct vmm_machine *machine, const char *reason)
{
    machine_pause(machine);
    machine_tell_cause(machine, "SHUTDOWN", false, reason);
    machine_set_state(machine, VMM_STATE_ENDED);
}

static void machine_do_quit(struct vmm_machine *machine)
{
    machine_quit(machine, "host-qmp-quit");
}

static void machine_do_quit_by_signal(struct vmm_machine *machine)
{
    machine_quit(machine, "host-signal");
}

static void machine_do_error(struct vmm_machine *machine)
{
    machine->reset.is_pending = false;
    machine_pause(machine);
    machine_tell(machine, "STOP");
    machine->has_failed = true;
    machine_set_state(machine,
                      machine->config.no_shutdown ? VMM_STATE_INTERNAL_ERROR : VMM_STATE_ENDED);
}

static void machine_shut_down(struct vmm_machine *machine, bool by_guest, const char *reason)
{
    machine_pause(machine);
    machine_tell_cause(machine, "SHUTDOWN", by_guest, reason);
    machine_set_state(machine, machine->config.no_shutdown ? VMM_STATE_SHUTDOWN : VMM_STATE_ENDED);
}

static void machine_do_shutdown(struct vmm_machine *machine)
{
    machine_shut_down(machine, true, "guest-shutdown");
}

static const char *machine_reset_reason(bool by_guest)
{
    return by_guest ? "guest-reset" : "host-qmp-system-reset";
}

/* Nobody uses the guest's RAM any more. */
static void machine_finish_reset(struct vmm_machine *machine)
{
    g_autoptr(GError) error = NULL;

    machine->reset.is_pending = false;
    vmm_devices_reset(machine);
    vmm_serial_reset(machine->serial);
    vmm_acpi_device_reset(machine->acpi);
    if (vmm_vm_reset(&machine->vm) < 0 || !machine_load(machine, &error)) {
        vu_error("reset: %s", error != NULL ? error->message : "KVM refuses");
        machine_do_error(machine);
        return;
    }
    machine_tell_cause(machine, "RESET", machine->reset.by_guest,
                       machine_reset_reason(machine->reset.by_guest));
    if (machine->reset.resumes)
        machine_resume(machine);
    else
        machine_set_state(machine, VMM_STATE_CREATED); /* also what had ended may go on */
}

static void machine_reset(struct vmm_machine *machine, bool by_guest)
{
    /* What vCPUs have asked for on their way out is of the life that ends here. */
    const unsigned forgotten = VMM_REQUEST_RESET | VMM_REQUEST_SHUTDOWN | VMM_REQUEST_EJECT;

    if (machine->config.no_reboot) {
        machine_shut_down(machine, by_guest, machine_reset_reason(by_guest));
        return;
    }
    if (machine->reset.is_pending)
        return;
    machine->reset.is_pending = true;
    machine->reset.by_guest = by_guest;
    machine->reset.resumes = vmm_machine_state(machine) == VMM_STATE_RUNNING;
    machine_pause(machine);
    __atomic_fetch_and(&machine->requests, ~forgotten, __ATOMIC_ACQ_REL);
    vmm_devices_stop(machine);
    if (vmm_devices_are_stopped(machine))
        machine_finish_reset(machine);
}

static void machine_do_settle(struct vmm_machine *machine)
{
    vmm_devices_settle(machine);
    if (machine->reset.is_pending && vmm_devices_are_stopped(machine))
        machine_finish_reset(machine);
}

static void machine_do_reset(struct vmm_machine *machine)
{
    machine_reset(machine, true);
}

static void machine_do_reset_by_host(struct vmm_machine *machine)
{
    machine_reset(machine, false);
}

static void machine_do_stop(struct vmm_machine *machine)
{
    bool is_resetting = machine->reset.is_pending && machine->reset.resumes;

    if (vmm_machine_state(machine) != VMM_STATE_RUNNING && !is_resetting)
        return;
    machine->reset.resumes = false;
    machine_pause(machine);
    machine_tell(machine, "STOP");
}

static void machine_do_cont(struct vmm_machine *machine)
{
    enum vmm_run_state state = vmm_machine_state(machine);
    bool is_resetting = machine->reset.is_pending;

    if ((state != VMM_STATE_PAUSED && state != VMM_STATE_CREATED) ||
        (is_resetting && machine->reset.resumes))
        return;
    if (is_resetting)
        machine->reset.resumes = true; /* when the time has come */
    else
        machine_resume(machine);
    machine_tell(machine, "RESUME");
}

static void machine_do_powerdown(struct vmm_machine *machine)
{
    vmm_acpi_press_power_button(machine->acpi);
    machine_tell(machine, "POWERDOWN");
}

/* What ends the machine comes first; what follows in the same set is then of no interest. */
static const struct machine_action {
    enum vmm_request request;
    void (*run)(struct vmm_machine *machine);
} machine_actions[] = {
    {VMM_REQUEST_QUIT, machine_do_quit},
    {VMM_REQUEST_QUIT_BY_SIGNAL, machine_do_quit_by_signal},
    {VMM_REQUEST_ERROR, machine_do_error},
    {VMM_REQUEST_SHUTDOWN, machine_do_shutdown},
    {VMM_REQUEST_RESET, machine_do_reset},
    {VMM_REQUEST_STOP, machine_do_stop},
    {VMM_REQUEST_CONT, machine_do_cont},
    {VMM_REQUEST_POWERDOWN, machine_do_powerdown},
    {VMM_REQUEST_EJECT, vmm_devices_eject},
    {VMM_REQUEST_RESET_BY_HOST, machine_do_reset_by_host},
    {VMM_REQUEST_STOPPED, machine_do_settle},
};

void vmm_machine_carry_out(struct vmm_machine *machine)
{
    unsigned requests = __atomic_exchange_n(&machine->requests, 0, __ATOMIC_ACQ_REL);

    for (size_t i = 0; i < G_N_ELEMENTS(machine_actions); i++)
        if (requests & machine_actions[i].request && vmm_machine_state(machine) != VMM_STATE_ENDED)
            machine_actions[i].run(machine);
}

static gboolean machine_on_request(int fd, GIOCondition condition, gpointer opaque)
{
    uint64_t count;

    (void)!read(fd, &count, sizeof(count));
    vmm_machine_carry_out(opaque);
    return G_SOURCE_CONTINUE;
}

/* --- running --- */

static gboolean machine_on_signal(int fd, GIOCondition condition, gpointer opaque)
{
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof(info)) != sizeof(info))
        return G_SOURCE_CONTINUE;
    if (info.ssi_signo == SIGCONT)
        vmm_terminal_resume(); /* the shell had it meanwhile */
    else
        vmm_machine_ask(opaque, VMM_REQUEST_QUIT_BY_SIGNAL);
    return G_SOURCE_CONTINUE;
}

static GSource *machine_watch(struct vmm_machine *machine, int fd, GUnixFDSourceFunc callback)
{
    GSource *source = g_unix_fd_source_new(fd, G_IO_IN);

    g_source_set_callback(source, G_SOURCE_FUNC(callback), machine, NULL);
    g_source_attach(source, machine->context);
    return source;
}

static void machine_unwatch(GSource *source)
{
    g_source_destroy(source);
    g_source_unref(source);
}

/* As "vmm", or "vmm NAME"; syslog keeps the pointer. */
static void machine_log_to_syslog(const struct vmm_machine *machine)
{
    static char name[64];

    g_snprintf(name, sizeof(name), "vmm%s%s", machine->config.name ? " " : "",
               machine->config.name ? machine->config.name : "");
    vu_log_use_syslog(name);
}

/* Waits for who is to watch, says that we are ready, and lets go. From here on the main thread is
 * confined, too. */
static bool machine_start(struct vmm_machine *machine, GError **error)
{
    bool has_qmp = machine->config.qmp_path != NULL;

    while (vmm_serial_is_awaited(machine->serial) && vmm_machine_state(machine) != VMM_STATE_ENDED)
        g_main_context_iteration(machine->context, TRUE);
    if (machine->config.daemonize)
        machine_log_to_syslog(machine);
    vu_ready_announce();
    if (!machine->config.start_paused && vmm_machine_state(machine) == VMM_STATE_CREATED)
        machine_resume(machine);
    if (!vmm_confine(&machine->config, has_qmp ? VMM_THREAD_MAIN_QMP : VMM_THREAD_MAIN, error))
        return false;
    vmm_footprint_trim();
    return true;
}

int vmm_machine_run(struct vmm_machine *machine)
{
    g_autoptr(GError) error = NULL;
    GSource *requests, *signals;

    if (!machine_load(machine, &error)) {
        vu_error("%s", error->message);
        return EXIT_FAILURE;
    }
    requests = machine_watch(machine, machine->request_fd, machine_on_request);
    signals = machine_watch(machine, machine->signal_fd, machine_on_signal);
    if (!machine_start(machine, &error)) {
        vu_error("%s (-sandbox off does without)", error->message);
        machine_do_error(machine);
    }
    while (vmm_machine_state(machine) != VMM_STATE_ENDED)
        g_main_context_iteration(machine->context, TRUE);
    vmm_devices_abandon(machine);
    machine_unwatch(requests);
    machine_unwatch(signals);
    return machine->has_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
