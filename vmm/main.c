/* SPDX-License-Identifier: Apache-2.0 */
/* vmm: parse, create, run. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/process.h"
#include "vhost-user/daemon/ready.h"
#include "vmm/cmdline.h"
#include "vmm/machine.h"
#include "vmm/manual.h"
#include "vmm/pidfile.h"
#include "vmm/probe.h"
#include "vmm/qmp.h"
#include "vmm/syscalls.h"
#include "vmm/terminal.h"

static int main_fail(const GError *error)
{
    fprintf(stderr, "vmm: %s\n", error->message);
    return EXIT_FAILURE;
}

/* Main's exit status. */
static int main_serve(struct vmm_machine *machine)
{
    g_autoptr(GError) error = NULL;
    struct vmm_qmp *qmp = NULL;
    int status = EXIT_FAILURE;

    if (machine->config.qmp_path)
        qmp = vmm_qmp_create(machine, machine->config.qmp_path, &error);
    if (error)
        main_fail(error);
    else if (qmp && vmm_qmp_start(qmp) < 0)
        fprintf(stderr, "vmm: -qmp: no thread can be started\n");
    else
        status = vmm_machine_run(machine);
    vmm_qmp_destroy(qmp);
    return status;
}

static int main_run(struct vmm_config *config)
{
    static struct vmm_machine machine;
    struct vmm_pidfile pidfile = {-1, -1, NULL};
    g_autoptr(GError) error = NULL;
    int status = EXIT_FAILURE;

    if (!vu_ready_prepare("vmm", config->daemonize, &status))
        return status;
    vu_process_prepare();
    if (config->process_name)
        (void)prctl(PR_SET_NAME, config->process_name);
    if (!vmm_drop_privileges(config, &error))
        return main_fail(error);
    if (config->serial.kind == VMM_SERIAL_STDIO)
        vmm_terminal_guard(STDIN_FILENO);
    if (config->pidfile && !vmm_pidfile_create(&pidfile, config->pidfile, &error))
        return main_fail(error);
    if (vmm_machine_create(&machine, config, &error)) {
        status = main_serve(&machine);
        vmm_machine_destroy(&machine);
    } else {
        main_fail(error);
    }
    vu_daemon_remove_socket();
    vmm_pidfile_remove(&pidfile);
    return status;
}

int main(int argc, char **argv)
{
    static struct vmm_config config;
    g_autoptr(GError) error = NULL;
    int status = EXIT_SUCCESS;

    vu_ready_secure_standard_fds();
    mallopt(M_ARENA_MAX, 1); /* vCPUs hardly allocate: no heap for each of them */
    vmm_config_init(&config);
    switch (vmm_cmdline_parse(&config, argc, argv, &error)) {
    case VMM_CMDLINE_RUN:
        status = config.probe ? vmm_probe() : main_run(&config);
        break;
    case VMM_CMDLINE_HELP:
        vmm_cmdline_print_help();
        break;
    case VMM_CMDLINE_VERSION:
        printf("vmm (Outboard) %s\n", VU_PACKAGE_VERSION);
        break;
    case VMM_CMDLINE_MAN:
        vmm_manual_print();
        break;
    case VMM_CMDLINE_COMPLETION:
        vmm_cmdline_print_completion();
        break;
    case VMM_CMDLINE_WRONG:
        status = main_fail(error);
        break;
    }
    vmm_config_clear(&config);
    return status;
}
