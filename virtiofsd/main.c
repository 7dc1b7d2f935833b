/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtiofsd: parse, open the socket, go into the sandbox, open the share, give up rights, serve.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/capabilities.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"
#include "virtiofsd/control.h"
#include "virtiofsd/device.h"
#include "virtiofsd/manual.h"
#include "virtiofsd/syscalls.h"

/* Words of vhost-user's descriptions of back-ends: --name=value works, not only -o name=value; and
 * --posix-acl and --security-label take values. */
static const char *const program_features[] = {
    "posix-acl-negotiation-mode", "security-label-negotiation-mode", "separate-options", NULL};

static const struct vu_program program = {
    .name = "virtiofsd",
    .usage = "virtiofsd --socket-path=PATH --shared-dir=DIR [OPTION]...",
    .summary = "share a host directory with a virtual machine",
    .device_type = "fs",
    .capability_features = program_features,
    .commands = &fs_control_table,
    .man_description = fs_manual_description,
    .man_text = fs_manual_sections,
};

static int fail(GError *error)
{
    fprintf(stderr, "%s: %s\n", program.name, error->message);
    g_error_free(error);
    return 1;
}

/* Rights over files of all users, and to act as any of them. */
#define CAPABILITIES                                                                          \
    (VU_CAPABILITY(CAP_CHOWN) | VU_CAPABILITY(CAP_DAC_OVERRIDE) | VU_CAPABILITY(CAP_FOWNER) | \
     VU_CAPABILITY(CAP_FSETID) | VU_CAPABILITY(CAP_SETUID) | VU_CAPABILITY(CAP_SETGID) |      \
     VU_CAPABILITY(CAP_MKNOD) | VU_CAPABILITY(CAP_SETFCAP))

/* In the sandbox: opens the share, gives up what serving does not take, and serves. */
static int serve(const struct vu_daemon_options *daemon, const struct fs_options *options,
                 const struct fs_share_place *place, struct vu_daemon_sockets *sockets)
{
    uint64_t capabilities = CAPABILITIES;
    struct fs_share share;
    struct vu_device device;
    GError *error = NULL;
    int status;

    umask(0); /* what is created gets the mode that the guest asks for */
    if (!fs_share_open(&share, options, place, &error)) {
        vu_daemon_close_sockets(sockets);
        return fail(error);
    }
    /* What opens files by handles is kept only where that is done. */
    if (fs_inodes_are_by_handle(share.inodes))
        capabilities |= VU_CAPABILITY(CAP_DAC_READ_SEARCH);
    if (vu_capabilities_limit(capabilities, &options->modcaps, &error) &&
        vu_seccomp_install((enum vu_seccomp_mode)options->seccomp, &fs_syscall_rules, &error)) {
        fs_device_describe(options, &device);
        status = vu_daemon_run(daemon, &device, &share, sockets);
    } else {
        vu_daemon_close_sockets(sockets);
        status = fail(error);
    }
    fs_share_close(&share);
    return status;
}

static int start(const struct vu_daemon_options *daemon, const struct fs_options *options)
{
    struct vu_daemon_sockets sockets;
    int outside_fds[VU_DAEMON_N_SOCKETS];
    const struct vu_sandbox_options sandbox_options = {
        .program = program.name,
        .mode = (enum vu_sandbox_mode)options->sandbox,
        .root = options->source,
        .uid_map = &options->uid_map,
        .gid_map = &options->gid_map,
        .readonly = options->readonly,
        .fds = outside_fds,
        .n_fds = G_N_ELEMENTS(outside_fds),
    };
    struct fs_share_place place = {.state = NULL};
    struct vu_sandbox sandbox;
    GError *error = NULL;
    int status;

    if (!vu_ready_prepare(program.name, daemon->background, &status))
        return status;
    if (!fs_options_check(options, &error) || !fs_share_check_source(options, &error) ||
        !fs_fd_budget_take(options->rlimit_nofile, &place.budget, &error))
        return fail(error);
    if (!vu_daemon_open_sockets(daemon, &sockets, &error))
        return fail(error);
    if (options->state && !(place.state = fs_state_file_open(options->state, &error))) {
        vu_daemon_close_sockets(&sockets);
        vu_daemon_remove_socket();
        return fail(error);
    }
    outside_fds[VU_DAEMON_SESSION] = fs_state_file_fd(place.state);
    outside_fds[VU_DAEMON_CONTROL] = sockets.fds[VU_DAEMON_CONTROL];
    outside_fds[VU_DAEMON_METRICS] = sockets.fds[VU_DAEMON_METRICS];
    if (!vu_sandbox_enter(&sandbox_options, sockets.fds[VU_DAEMON_SESSION], &sandbox, &status))
        return status;
    place.root_fd = sandbox.root_fd;
    place.proc_fds = sandbox.proc_fds;
    status = serve(daemon, options, &place, &sockets);
    fs_state_file_close(place.state);
    vu_daemon_remove_socket();
    vu_sandbox_clear(&sandbox);
    return status;
}

int main(int argc, char **argv)
{
    struct vu_daemon_options daemon;
    struct fs_options options;
    struct vu_option_table tables[FS_N_OPTION_TABLES];
    int status = 1;

    vu_daemon_options_init(&daemon);
    fs_options_init(&options);
    fs_options_tables(&options, tables);
    if (vu_daemon_parse(&program, &daemon, tables, FS_N_OPTION_TABLES, argc, argv, &status))
        status = start(&daemon, &options);
    fs_options_clear(&options);
    vu_daemon_options_clear(&daemon);
    return status;
}
