/* SPDX-License-Identifier: Apache-2.0 */
/* vmm(1): options and commands from their rows, and what no table has. */
#include "vmm/manual.h"

#include <stdio.h>

#include "vhost-user/daemon/control-man.h"
#include "vmm/cmdline.h"
#include "vmm/qmp.h"

static const char manual_description[] =
    ".TH VMM 1 \"" VU_PACKAGE_DATE "\" \"Outboard " VU_PACKAGE_VERSION "\" \"User Commands\"\n"
    ".SH NAME\n"
    "vmm \\- run a virtual machine whose devices are vhost\\-user back\\-ends\n"
    ".SH SYNOPSIS\n"
    "\\fBvmm\\fR \\fB\\-kernel\\fR \\fIFILE\\fR [\\fIOPTION\\fR]...\n"
    ".SH DESCRIPTION\n"
    "Boots a Linux kernel on KVM. Guest memory lies in a sealed memfd for each NUMA node and is\n"
    "shared with the back\\-ends, which serve the guest directly. Options are QEMU's, with one\n"
    "dash or two.\n";

static const char manual_sections[] =
    ".SH SIGNALS\n"
    "SIGTERM, SIGINT, SIGHUP and SIGQUIT end the guest as if its power failed, and vmm with it;\n"
    "system_powerdown lets it end by itself.\n"
    ".SH EXIT STATUS\n"
    "0 when the guest has switched itself off, or after quit or a signal; 1 where it could not\n"
    "start or go on.\n"
    ".SH EXAMPLES\n"
    "A guest with a shared folder and a disk, whose daemons run already, and a socket for QMP:\n"
    ".PP\n"
    ".EX\n"
    "vmm \\-smp 2 \\-m 2G \\-kernel vmlinuz \\-initrd initrd \\e\n"
    "    \\-append \"console=ttyS0 root=/dev/vda\" \\e\n"
    "    \\-object memory\\-backend\\-memfd,id=mem,size=2G \\-machine memory\\-backend=mem \\e\n"
    "    \\-chardev socket,id=share,path=/run/share.sock \\e\n"
    "    \\-device vhost\\-user\\-fs\\-pci,chardev=share,tag=myfs \\e\n"
    "    \\-chardev socket,id=disk,path=/run/disk.sock \\e\n"
    "    \\-device vhost\\-user\\-blk\\-pci,chardev=disk \\e\n"
    "    \\-qmp unix:/run/vm.qmp\n"
    ".EE\n"
    ".PP\n"
    "Two nodes of memory, each in huge pages of a host node:\n"
    ".PP\n"
    ".EX\n"
    "vmm \\-smp 4 \\-m 8G \\-kernel vmlinuz \\e\n"
    "    \\-object memory\\-backend\\-memfd,id=m0,size=4G,hugetlb=on,host\\-nodes=0,policy=bind "
    "\\e\n"
    "    \\-object memory\\-backend\\-memfd,id=m1,size=4G,hugetlb=on,host\\-nodes=1,policy=bind "
    "\\e\n"
    "    \\-numa node,cpus=0\\-1,memdev=m0 \\-numa node,cpus=2\\-3,memdev=m1 ...\n"
    ".EE\n"
    ".PP\n"
    "What a running machine can be asked and told, by vblkctl(1) or any client of QMP:\n"
    ".PP\n"
    ".EX\n"
    "vblkctl \\-\\-socket=/run/vm.qmp query\\-status\n"
    "vblkctl \\-\\-socket=/run/vm.qmp system_powerdown\n"
    ".EE\n"
    ".PP\n"
    "One more disk for the guest as it runs, whose vblkd listens on /run/second.sock, and its "
    "end:\n"
    ".PP\n"
    ".EX\n"
    "vblkctl \\-\\-socket=/run/vm.qmp chardev\\-add id=second \\e\n"
    "    backend='{\"type\":\"socket\",\"data\":{\"server\":false,\"addr\":\n"
    "{\"type\":\"unix\",\"data\":{\"path\":\"/run/second.sock\"}}}}'\n"
    "vblkctl \\-\\-socket=/run/vm.qmp device_add driver=vhost\\-user\\-blk\\-pci chardev=second "
    "id=more\n"
    "vblkctl \\-\\-socket=/run/vm.qmp device_del id=more\n"
    ".EE\n"
    ".SH SEE ALSO\n"
    ".BR virtiofsd (1),\n"
    ".BR vblkd (1),\n"
    ".BR vrngd (1),\n"
    ".BR vblkctl (1),\n"
    ".BR outboard (7)\n";

static void manual_print_commands(void)
{
    g_autofree struct vu_control_command *rows =
        g_new0(struct vu_control_command, vmm_qmp_n_commands);
    const struct vu_control_table table = {rows, vmm_qmp_n_commands};

    for (size_t i = 0; i < vmm_qmp_n_commands; i++)
        rows[i] = (struct vu_control_command){
            .name = vmm_qmp_commands[i].name,
            .help = vmm_qmp_commands[i].help,
            .arguments = vmm_qmp_commands[i].rows,
            .n_arguments = vmm_qmp_commands[i].n_rows,
        };
    vu_control_print_man(&table, "-qmp");
}

void vmm_manual_print(void)
{
    fputs(manual_description, stdout);
    vmm_cmdline_print_man();
    manual_print_commands();
    fputs(manual_sections, stdout);
}
