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
#include "virtiofsd/init.h"
#include "virtiofsd/label.h"
#include "virtiofsd/locks.h"
#include "virtiofsd/open.h"
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
    if (place->state && ret < 0)
        return share_fail(error, "--state (takes file handles, and CAP_DAC_READ_SEARCH for them)",
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

/* --- tables, and what a predecessor has left in them --- */

static int share_create_tables(struct fs_share *share, int root_fd,
                               const struct fs_fd_budget *budget,
                               const struct fs_inodes_limits *limits)
{
    int fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
    int ret = fd < 0 ? -errno : fs_inodes_create(fd, limits, &share->inodes);
    struct fs_state_place place;

    if (ret < 0)
        return ret;
    if (!share->state)
        return fs_handles_create(budget->max_handles, share->inodes, &share->handles);
    place = fs_state_file_handles(share->state);
    return fs_handles_create_at(&place, budget->max_handles, share->inodes, &share->handles);
}

static int share_reopen_handle(void *opaque, struct fs_inode *inode, struct fs_handle *handle)
{
    return fs_open_again(opaque, inode, handle);
}

/* The guest of a predecessor may go on. 0 or -errno. */
static int share_adopt(struct fs_share *share)
{
    uint32_t n_gone;
    int ret;

    share->negotiated.flags = fs_state_file_flags(share->state);
    ret = fs_handles_adopt(share->handles, share_reopen_handle, share, &n_gone);
    if (ret < 0)
        return ret;
    share->negotiated.done = true;
    share->awaits_guest = true;
    vu_info(
        "virtiofsd: the guest of an earlier process can go on: %u inodes, %u open files, and %u "
        "that are gone",
        fs_inodes_count(share->inodes), fs_handles_count(share->handles), n_gone);
    return 0;
}

/* Of a start that fails: what is in the file stays there for another one. */
static void share_spare_state(struct fs_share *share)
{
    if (share->handles)
        (void)fs_handles_leave(share->handles);
    if (share->inodes)
        (void)fs_inodes_leave(share->inodes);
    fs_state_file_leave(share->state);
}

/* Whether what was agreed on with the guest is what these options would agree on. */
static bool share_wants_flags(const struct fs_share *share, uint64_t flags)
{
    return fs_init_negotiate(share->options, flags | FUSE_INIT_EXT) == (flags | FUSE_INIT_EXT);
}

/* Makes the tables in the file of --state. */
static int share_place_tables(struct fs_share *share, int root_fd,
                              const struct fs_fd_budget *budget, struct fs_inodes_limits *limits)
{
    struct fs_state_place place = fs_state_file_inodes(share->state);
    int ret;

    limits->place = &place;
    ret = share_create_tables(share, root_fd, budget, limits);
    limits->place = NULL;
    return ret;
}

/* The same, with what is there, if that is good for anything. */
static int share_keep_tables(struct fs_share *share, int root_fd, const struct fs_fd_budget *budget,
                             struct fs_inodes_limits *limits)
{
    struct fs_state_shape shape;
    bool adopts;
    int ret = fs_inodes_shape(root_fd, limits, &shape);

    if (ret < 0)
        return ret;
    shape.handle_len = sizeof(struct fs_handle);
    shape.max_handles = budget->max_handles;
    adopts = fs_state_file_begin(share->state, &shape, &ret);
    if (ret == 0 && adopts && !share_wants_flags(share, fs_state_file_flags(share->state))) {
        ret = fs_state_file_begin_anew(share->state, &shape);
        adopts = false;
    }
    if (ret < 0)
        return ret;
    ret = share_place_tables(share, root_fd, budget, limits);
    if (ret == -EBADMSG) {
        vu_warning("virtiofsd: --state: what an earlier process has left makes no sense");
        ret = fs_state_file_begin_anew(share->state, &shape);
        return ret < 0 ? ret : share_place_tables(share, root_fd, budget, limits);
    }
    if (ret == 0 && adopts)
        ret = share_adopt(share);
    if (ret < 0)
        share_spare_state(share);
    return ret;
}

static int share_make_tables(struct fs_share *share, int root_fd, const struct fs_fd_budget *budget,
                             struct fs_inodes_limits *limits)
{
    return share->state ? share_keep_tables(share, root_fd, budget, limits)
                        : share_create_tables(share, root_fd, budget, limits);
}

bool fs_share_open(struct fs_share *share, const struct fs_options *options,
                   const struct fs_share_place *place, GError **error)
{
    struct fs_cache_timeouts timeouts = fs_cache_timeouts_of(options);
    vu_autofd int root_fd = fcntl(place->root_fd, F_DUPFD_CLOEXEC, 0);
    struct fs_inodes_limits limits;
    int ret;

    *share = (struct fs_share){
        .options = options,
        .label_tasks = -1,
        .streams.lock = PTHREAD_MUTEX_INITIALIZER,
        .state = place->state,
    };
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
    ret = share_make_tables(share, root_fd, &place->budget, &limits);
    if (ret == 0)
        ret = fs_locks_create(options, place->budget.max_lock_owners, &share->locks);
    if (ret < 0) {
        fs_share_close(share);
        return share_fail(
            error, share->state ? "--state: the tables of the share" : "the tables of the share",
            -ret);
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
    fs_state_file_note_guest(share->state, false, 0);
    __atomic_store_n(&share->negotiated.done, false, __ATOMIC_RELEASE);
    __atomic_store_n(&share->negotiated.flags, 0, __ATOMIC_RELAXED);
    fs_locks_reset(share->locks);
    fs_handles_release_all(share->handles);
    fs_inodes_forget_all(share->inodes);
}

void fs_share_leave(struct fs_share *share)
{
    int ret = share->state ? fs_handles_leave(share->handles) : -ENOENT;

    __atomic_store_n(&share->awaits_guest, false, __ATOMIC_RELAXED);
    if (ret == 0)
        ret = fs_inodes_leave(share->inodes);
    if (ret == 0)
        fs_state_file_leave(share->state);
    else if (share->state)
        vu_warning("virtiofsd: nothing is left for a successor: %s", g_strerror(-ret));
    fs_share_reset(share);
}

void fs_share_close(struct fs_share *share)
{
    if (share->awaits_guest)
        fs_share_leave(share);
    fs_state_file_note_guest(share->state, false, 0);
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
