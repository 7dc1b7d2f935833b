/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The share from start-up to the end. Opened and closed on the main thread; reset on the session
 * thread with all rings stopped, or by a request (INIT, DESTROY) beside others.
 */
#include "virtiofsd/share.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/xattr.h>
#include <stdio.h>
#include <string.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"
#include "virtiofsd/beneath.h"
#include "virtiofsd/cache-mode.h"
#include "virtiofsd/label.h"
#include "virtiofsd/locks.h"
#include "virtiofsd/permit.h"
#include "virtiofsd/request.h"
#include "virtiofsd/unchanged.h"

#define SHARE_FEW_FDS 4096 /* of inodes in use of late, where handles are preferred */

static struct timespec share_seconds(double seconds)
{
    struct timespec ts = {.tv_sec = (time_t)seconds};

    ts.tv_nsec = (long)((seconds - (double)ts.tv_sec) * 1e9);
    return ts;
}

static bool share_fail(GError **error, const char *what, int err)
{
    g_set_error(error, G_FILE_ERROR, (int)g_file_error_from_errno(err), "%s: %s", what,
                g_strerror(err));
    return false;
}

bool fs_share_check_source(const struct fs_options *options, GError **error)
{
    vu_autofd int fd = open(options->source, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    g_autofree char *what = NULL;

    if (fd >= 0)
        return true;
    what = g_strdup_printf("shared directory \"%s\"", options->source);
    return share_fail(error, what, errno);
}

/* The host's name for security.capability, where a map makes it another. */
static char *share_find_capability(const struct fs_xattrmap *map)
{
    char name[XATTR_NAME_MAX + 1];

    if (fs_xattrmap_to_host(map, XATTR_NAME_CAPS, name) < 0 || strcmp(name, XATTR_NAME_CAPS) == 0)
        return NULL;
    return g_strdup(name);
}

/* The kernel must know how to open a name beneath a directory. */
static int share_check_kernel(int root_fd)
{
    vu_autofd int fd = fs_open_beneath(root_fd, ".", O_PATH, 0);

    return fd < 0 ? fd : 0;
}

/*
 * How inodes are remembered. Whether handles can be opened is tried out: by what this process may
 * do now, and goes on to be allowed. False with *error where they are asked for in vain.
 */
static bool share_choose_limits(const struct fs_options *options,
                                const struct fs_share_place *place,
                                struct fs_inodes_limits *ret_limits, GError **error)
{
    enum fs_inode_handles wish = (enum fs_inode_handles)options->inode_handles;
    struct fs_inodes_limits limits = {
        .n_inodes = place->budget.max_inode_fds,
        .always = wish == FS_INODE_HANDLES_MANDATORY,
        .fds = {.n_fds = place->budget.max_inode_fds, .n_fds_aim = place->budget.max_inode_fds},
        .n_mounts = 1 + place->budget.max_mounts,
    };
    int ret = -EPERM;

    if (wish != FS_INODE_HANDLES_NEVER &&
        !(options->modcaps.drop & VU_CAPABILITY(CAP_DAC_READ_SEARCH)))
        ret = fs_file_handle_probe(place->root_fd);
    limits.by_handle = ret == 0;
    if (limits.by_handle)
        limits.n_inodes = place->budget.max_inodes;
    if (options->nfs_export)
        limits.max_past = limits.n_inodes / 2;
    if (wish == FS_INODE_HANDLES_PREFER || wish == FS_INODE_HANDLES_MANDATORY)
        limits.fds.n_fds_aim = MIN(limits.fds.n_fds_aim, SHARE_FEW_FDS);
    if (wish == FS_INODE_HANDLES_MANDATORY && ret < 0)
        return share_fail(error,
                          ret == -EPERM ? "--inode-file-handles=mandatory (takes "
                                          "CAP_DAC_READ_SEARCH of the initial user namespace)"
                                        : "--inode-file-handles=mandatory",
                          -ret);
    if (options->nfs_export && ret < 0)
        vu_warning("virtiofsd: --nfs-export: no file handles: %s; the guest's are good as long as "
                   "its kernel remembers the file",
                   g_strerror(-ret));
    if (wish == FS_INODE_HANDLES_PREFER && ret < 0)
        vu_info("virtiofsd: no file handles: %s; inodes are held by descriptors", g_strerror(-ret));
    *ret_limits = limits;
    return true;
}

bool fs_share_open(struct fs_share *share, const struct fs_options *options,
                   const struct fs_share_place *place, GError **error)
{
    struct fs_cache_timeouts timeouts = fs_cache_timeouts_of(options);
    vu_autofd int root_fd = fcntl(place->root_fd, F_DUPFD_CLOEXEC, 0);
    struct fs_inodes_limits limits;
    int ret;

    *share = (struct fs_share){
        .options = options, .label_tasks = -1, .streams.lock = PTHREAD_MUTEX_INITIALIZER};
    share->entry_timeout = share_seconds(timeouts.entry);
    share->attr_timeout = share_seconds(timeouts.attr);
    share->negative_timeout = share_seconds(timeouts.negative);
    share->proc_fds = fcntl(place->proc_fds, F_DUPFD_CLOEXEC, 0);
    ret = root_fd < 0 || share->proc_fds < 0 ? -errno : share_check_kernel(root_fd);
    if (ret < 0) {
        fs_share_close(share);
        return share_fail(error, "the shared directory (openat2)", -ret);
    }
    share->helpers = fs_helpers_create((unsigned)MIN(options->max_helpers, FS_MAX_HELPERS));
    share->restricted = fs_permit_is_needed(options);
    if (options->cache == FS_CACHE_AUTO)
        share->versioned_dev = fs_unchanged_find_dev(root_fd);
    share->creds_policy = fs_creds_choose_policy(root_fd);
    if (!share_choose_limits(options, place, &limits, error)) {
        fs_share_close(share);
        return false;
    }
    ret = fs_inodes_create(vu_steal_fd(&root_fd), &limits, &share->inodes);
    if (ret == 0)
        ret = fs_handles_create(place->budget.max_handles, share->inodes, &share->handles);
    if (ret == 0)
        ret = fs_locks_create(options, place->budget.max_lock_owners, &share->locks);
    if (ret < 0) {
        fs_share_close(share);
        return share_fail(error, "the tables of the share", -ret);
    }
    if (options->security_label)
        share->label_tasks = fs_label_open_tasks(share->proc_fds);
    share->capability_name = share_find_capability(options->xattrmap);
    return true;
}

/* What the guest had us remember, for whoever wonders where the memory goes. */
static void share_report(struct fs_share *share)
{
    struct fs_inodes_usage usage;

    if (vu_log_get_level() < VU_LOG_DEBUG)
        return;
    fs_inodes_get_usage(share->inodes, &usage);
    vu_debug(
        "virtiofsd: %u inodes in %zu KiB (%.0f bytes each), %u with a descriptor, %u forgotten; "
        "%u mounts; %u open files",
        usage.n_inodes, usage.bytes / 1024, (double)usage.bytes / usage.n_inodes, usage.n_fds,
        usage.n_past, usage.n_mounts, fs_handles_count(share->handles));
}

void fs_share_reset(struct fs_share *share)
{
    share_report(share);
    __atomic_store_n(&share->negotiated.done, false, __ATOMIC_RELEASE);
    __atomic_store_n(&share->negotiated.flags, 0, __ATOMIC_RELAXED);
    fs_locks_reset(share->locks);
    fs_handles_release_all(share->handles);
    fs_inodes_forget_all(share->inodes);
}

void fs_share_close(struct fs_share *share)
{
    g_clear_pointer(&share->locks, fs_locks_destroy);
    /* A thread that lost its queue finds them here until it is taken back. */
    vu_helpers_destroy(share->helpers);
    share->helpers = NULL;
    g_clear_pointer(&share->handles, fs_handles_destroy);
    g_clear_pointer(&share->inodes, fs_inodes_destroy);
    vu_clear_fd(&share->proc_fds);
    vu_clear_fd(&share->label_tasks);
    g_clear_pointer(&share->capability_name, g_free);
    fs_counters_clear(&share->counters);
}

int fs_share_reopen(const struct fs_share *share, int fd, int flags)
{
    char name[16];
    int reopened;

    snprintf(name, sizeof(name), "%d", fd);
    reopened = openat(share->proc_fds, name, flags | O_CLOEXEC);
    return reopened < 0 ? -errno : reopened;
}
