/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps into a sandbox, in the order in which the kernel allows them:
 *
 *   outside   user and pid namespace, fork
 *   child     the other namespaces; no mount of ours gets out, the host's still come in
 *             a mount of our own of the directory, and one of /proc/self/fd
 *             pivot_root, the old tree goes
 *             ids, groups, no_new_privs, and the bond with the process outside
 *
 * Mounts are handled by descriptors (open_tree(2), Linux 5.2), so that no path is walked twice.
 */
#include "vhost-user/daemon/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include <cap-ng.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/options.h"
#include "vhost-user/daemon/process.h"
#include "vhost-user/daemon/sanitized.h"
#include "vhost-user/daemon/supervise.h"

#if VU_SANITIZED
#include <sanitizer/lsan_interface.h>
#endif

#define SANDBOX_FDS "/proc/self/fd"

const char *const vu_sandbox_modes[] = {
    [VU_SANDBOX_NAMESPACE] = "namespace",
    [VU_SANDBOX_CHROOT] = "chroot",
    [VU_SANDBOX_NONE] = "none",
    NULL,
};

static const struct vu_id_map sandbox_own_id;

static bool sandbox_fail(GError **error, const char *step)
{
    g_set_error(error, VU_OPTION_ERROR, errno, "%s: %s", step, g_strerror(errno));
    return false;
}

static const struct vu_id_map *sandbox_map(const struct vu_id_map *map)
{
    return map ? map : &sandbox_own_id;
}

static bool sandbox_maps_ids(const struct vu_sandbox_options *options)
{
    return sandbox_map(options->uid_map)->n_ranges > 0 ||
           sandbox_map(options->gid_map)->n_ranges > 0;
}

/* A user namespace gives an ordinary user the right to make the others. Root without that right is
 * in a container, where one would only take ids away from it. */
static bool sandbox_wants_user_namespace(const struct vu_sandbox_options *options)
{
    if (sandbox_maps_ids(options))
        return true;
    return geteuid() != 0 && !capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN);
}

/* Outside: what the child is to be born into. */
static bool sandbox_prepare(const struct vu_sandbox_options *options, GError **error)
{
    if (options->mode != VU_SANDBOX_NAMESPACE)
        return true;
    if (sandbox_wants_user_namespace(options))
        return vu_id_map_unshare(CLONE_NEWPID, sandbox_map(options->uid_map),
                                 sandbox_map(options->gid_map), error);
    return unshare(CLONE_NEWPID) == 0 || sandbox_fail(error, "unshare");
}

/* Devices on the mounts cannot be opened, nor programs mapped: a second lock behind the first. */
static int sandbox_lock_mounts(int tree, bool readonly)
{
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC |
                    (readonly ? MOUNT_ATTR_RDONLY : 0),
    };
    struct mount_attr no_atime = {.attr_set = MOUNT_ATTR_NOATIME, .attr_clr = MOUNT_ATTR__ATIME};

    /* How times of access are kept may be locked by the owner of the mount we had it from. */
    if (readonly)
        (void)mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &no_atime, sizeof(no_atime));
    return mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr));
}

/* A mount of the directory with all that is mounted below it, in its place in our mount namespace.
 */
static int sandbox_mount_root(const struct vu_sandbox_options *options, GError **error)
{
    vu_autofd int place = open(options->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    vu_autofd int tree =
        place < 0 ? -1
                  : open_tree(place, "",
                              AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (tree < 0 || sandbox_lock_mounts(tree, options->readonly) < 0 ||
        move_mount(tree, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0) {
        sandbox_fail(error, "mount of the directory");
        return -1;
    }
    return vu_steal_fd(&tree);
}

/* A mount of nothing, on top of the old root, for who needs no files. */
static int sandbox_mount_empty(GError **error)
{
    vu_autofd int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
    vu_autofd int tree = -1;

    if (fs >= 0 && fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        tree =
            fsmount(fs, FSMOUNT_CLOEXEC,
                    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (tree < 0 || move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0) {
        sandbox_fail(error, "mount of an empty directory");
        return -1;
    }
    return vu_steal_fd(&tree);
}

/* A mount whose root is our own /proc/self/fd, attached nowhere: no way leads up from it. */
static int sandbox_mount_fds(GError **error)
{
    int fd = open_tree(AT_FDCWD, SANDBOX_FDS, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (fd < 0)
        sandbox_fail(error, SANDBOX_FDS " (is /proc mounted?)");
    return fd;
}

static bool sandbox_pivot(int root_fd, GError **error)
{
    /* The old root is stacked upon the new one, and taken off again. */
    return (fchdir(root_fd) == 0 && syscall(SYS_pivot_root, ".", ".") == 0 &&
            umount2(".", MNT_DETACH) == 0 && chdir("/") == 0) ||
           sandbox_fail(error, "pivot_root");
}

/* What this process is in its user namespace: its root, if that has one. */
static bool sandbox_set_ids(const struct vu_sandbox_options *options, GError **error)
{
    if (vu_id_map_has(sandbox_map(options->gid_map), 0) && setresgid(0, 0, 0) < 0)
        return sandbox_fail(error, "setresgid");
    if (vu_id_map_has(sandbox_map(options->uid_map), 0) && setresuid(0, 0, 0) < 0)
        return sandbox_fail(error, "setresuid");
    return true;
}

/* Groups of whoever started us would decide on access beside those of the guest's user. Only those
 * who may leave them need to: an ordinary user's are its own. */
static bool sandbox_drop_groups(GError **error)
{
    if (!capng_have_capability(CAPNG_EFFECTIVE, CAP_SETGID) || setgroups(0, NULL) == 0 ||
        errno == EPERM)
        return true;
    return sandbox_fail(error, "setgroups");
}

static bool sandbox_enter_namespace(const struct vu_sandbox_options *options,
                                    struct vu_sandbox *sandbox, GError **error)
{
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) < 0)
        return sandbox_fail(error, "unshare");
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return sandbox_fail(error, "propagation of mounts");
    sandbox->root_fd =
        options->root ? sandbox_mount_root(options, error) : sandbox_mount_empty(error);
    if (sandbox->root_fd < 0)
        return false;
    sandbox->proc_fds = sandbox_mount_fds(error);
    return sandbox->proc_fds >= 0 && sandbox_pivot(sandbox->root_fd, error) &&
           sandbox_set_ids(options, error);
}

static bool sandbox_open(const struct vu_sandbox_options *options, struct vu_sandbox *sandbox,
                         GError **error)
{
    const char *root = options->root ? options->root : "/";

    sandbox->root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (sandbox->root_fd < 0)
        return sandbox_fail(error, root);
    sandbox->proc_fds = open(SANDBOX_FDS, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return sandbox->proc_fds >= 0 || sandbox_fail(error, SANDBOX_FDS " (is /proc mounted?)");
}

static bool sandbox_enter_chroot(const struct vu_sandbox_options *options,
                                 struct vu_sandbox *sandbox, GError **error)
{
    if (!sandbox_open(options, sandbox, error))
        return false;
    return (fchdir(sandbox->root_fd) == 0 && chroot(".") == 0 && chdir("/") == 0) ||
           sandbox_fail(error, "chroot");
}

static const struct sandbox_mode_info {
    bool (*enter)(const struct vu_sandbox_options *options, struct vu_sandbox *sandbox,
                  GError **error);
    bool forks;
    const char *instead; /* what else may be tried */
} sandbox_mode_infos[] = {
    [VU_SANDBOX_NAMESPACE] = {sandbox_enter_namespace, true,
                              "use --sandbox=chroot (as root in a container) or --sandbox=none"},
    [VU_SANDBOX_CHROOT] = {sandbox_enter_chroot, true, "use --sandbox=none"},
    [VU_SANDBOX_NONE] = {sandbox_open, false, NULL},
};

/* In the process that is to serve. */
static bool sandbox_enter(const struct vu_sandbox_options *options, struct vu_sandbox *sandbox,
                          GError **error)
{
    vu_process_prepare();
    if (!sandbox_mode_infos[options->mode].enter(options, sandbox, error))
        return false;
    vu_process_count_fds(sandbox->proc_fds);
    capng_get_caps_process();
    if (!sandbox_drop_groups(error))
        return false;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 || sandbox_fail(error, "no_new_privs");
}

static void sandbox_complain(const struct vu_sandbox_options *options, const GError *error)
{
    const char *instead = sandbox_mode_infos[options->mode].instead;

    fprintf(stderr, "%s: --sandbox=%s is not possible here (%s)%s%s\n", options->program,
            vu_sandbox_modes[options->mode], error->message, instead ? "; " : "",
            instead ? instead : "");
}

/* Outside: makes the namespaces that a child is born into, and the child. */
static bool sandbox_fork(const struct vu_sandbox_options *options,
                         struct vu_supervision *ret_supervision, GError **error)
{
    int ret;

    if (!sandbox_prepare(options, error))
        return false;
    ret = vu_supervise_fork(ret_supervision);
    errno = -ret;
    return ret == 0 || sandbox_fail(error, "fork");
}

/* What looks files up when it is first used, and would look inside: there they are the guest's. */
static void sandbox_warm_up(void)
{
    /* The compiler takes the call for one that has no effect. */
    const char *volatile text = g_strerror(EPERM);

    (void)text;
    tzset();
}

#if VU_SANITIZED
static bool sandbox_entered;

/* Asked at the end of the process: without /proc, or a pid namespace that lives, leaks cannot be
 * looked for. */
int __lsan_is_turned_off(void)
{
    return sandbox_entered;
}
#endif

static void sandbox_note_entry(bool forks)
{
#if VU_SANITIZED
    sandbox_entered = forks;
#endif
}

static void sandbox_close_fds(const struct vu_sandbox_options *options, int socket_fd)
{
    close(socket_fd);
    for (unsigned i = 0; i < options->n_fds; i++)
        if (options->fds[i] >= 0)
            close(options->fds[i]);
}

bool vu_sandbox_enter(const struct vu_sandbox_options *options, int socket_fd,
                      struct vu_sandbox *ret_sandbox, int *ret_exit_status)
{
    struct vu_sandbox sandbox = {.root_fd = -1, .proc_fds = -1};
    struct vu_supervision supervision = {
        .child = 0, .life_fd = -1, .ready_fd = -1, .signal_fd = -1};
    bool forks = sandbox_mode_infos[options->mode].forks;
    g_autoptr(GError) error = NULL;
    bool ok;

    sandbox_warm_up();
    sandbox_note_entry(forks);
    capng_get_caps_process();
    *ret_exit_status = EXIT_FAILURE;
    ok = !forks || sandbox_fork(options, &supervision, &error);
    if (ok && supervision.child != 0) {
        sandbox_close_fds(options, socket_fd);
        *ret_exit_status = vu_supervise_wait(&supervision, options->program);
        return false;
    }
    if (ok && forks)
        vu_daemon_forget_socket();
    ok = ok && sandbox_enter(options, &sandbox, &error);
    if (!ok)
        sandbox_complain(options, error);
    if (ok && (!forks || vu_supervise_bind(&supervision))) {
        *ret_sandbox = sandbox;
        return true;
    }
    vu_sandbox_clear(&sandbox);
    vu_clear_fd(&supervision.life_fd);
    sandbox_close_fds(options, socket_fd);
    vu_daemon_remove_socket();
    return false;
}

void vu_sandbox_clear(struct vu_sandbox *sandbox)
{
    vu_clear_fd(&sandbox->root_fd);
    vu_clear_fd(&sandbox->proc_fds);
}
