/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INIT and DESTROY. What we want of the kernel is a table, one row a flag; what is agreed on is
 * what both want. Nothing is offered that is not implemented: a flag without a row stays off.
 *
 * FUSE protocol 7.31 (Linux 5.4, the first with virtiofs) is the oldest we speak. INIT may come
 * again at any time, since a guest that is reset does not say DESTROY.
 */
#include "virtiofsd/init.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "vhost-user/log.h"
#include "virtiofsd/cache-mode.h"

#define INIT_MAJOR          7
#define INIT_MINOR          38 /* what our handlers speak, whatever header they were built with */
#define INIT_MINOR_MIN      31
#define INIT_MAX_PAGES      256
#define INIT_MAX_WRITE      (INIT_MAX_PAGES * 4096u)
#define INIT_MAX_BACKGROUND 65535 /* the ring's size is the real limit */

enum init_want {
    INIT_ALWAYS,
    INIT_IF_CACHED,      /* data or names may be kept: any cache mode but never */
    INIT_IF_KILLPRIV,    /* --killpriv-v2, or what stands for it */
    INIT_IF_ACL,         /* --posix-acl */
    INIT_IF_LABEL,       /* --security-label */
    INIT_IF_READDIRPLUS, /* --readdirplus, and a cache mode that keeps attributes */
    INIT_IF_DIRECTORIES, /* a cache mode that keeps the names in directories */
    INIT_IF_WRITEBACK,   /* --writeback, and a cache mode that keeps data */
    INIT_IF_SUBMOUNTS,   /* --announce-submounts */
    INIT_IF_ALLOW_MMAP,  /* --allow-mmap */
    INIT_IF_POSIX_LOCK,  /* --posix-lock */
    INIT_IF_FLOCK,       /* --flock */
};

static const struct init_flag {
    uint64_t bit;
    const char *name;
    enum init_want want;
    bool is_required; /* where it is wanted, the guest must know it */
} init_flags[] = {
    {FUSE_ASYNC_READ, "ASYNC_READ", INIT_ALWAYS},
    {FUSE_POSIX_LOCKS, "POSIX_LOCKS", INIT_IF_POSIX_LOCK},
    {FUSE_ATOMIC_O_TRUNC, "ATOMIC_O_TRUNC", INIT_ALWAYS},
    {FUSE_EXPORT_SUPPORT, "EXPORT_SUPPORT", INIT_ALWAYS},
    {FUSE_BIG_WRITES, "BIG_WRITES", INIT_ALWAYS},
    {FUSE_AUTO_INVAL_DATA, "AUTO_INVAL_DATA", INIT_ALWAYS},
    {FUSE_FLOCK_LOCKS, "FLOCK_LOCKS", INIT_IF_FLOCK},
    /* Without READDIRPLUS_AUTO, by which the guest asks for the attributes of what fits into one
     * page and then for names alone: most of what reads a directory has read it all before it looks
     * at the first file, and a LOOKUP costs more than the attributes of twenty entries. */
    {FUSE_DO_READDIRPLUS, "DO_READDIRPLUS", INIT_IF_READDIRPLUS},
    {FUSE_ASYNC_DIO, "ASYNC_DIO", INIT_ALWAYS},
    {FUSE_WRITEBACK_CACHE, "WRITEBACK_CACHE", INIT_IF_WRITEBACK},
    {FUSE_PARALLEL_DIROPS, "PARALLEL_DIROPS", INIT_ALWAYS},
    {FUSE_MAX_PAGES, "MAX_PAGES", INIT_ALWAYS},
    {FUSE_NO_OPENDIR_SUPPORT, "NO_OPENDIR_SUPPORT", INIT_IF_DIRECTORIES},
    {FUSE_CACHE_SYMLINKS, "CACHE_SYMLINKS", INIT_IF_CACHED},
    /* Linux itself takes setuid bits away before a write to its page cache, but not past it. */
    {FUSE_HANDLE_KILLPRIV_V2, "HANDLE_KILLPRIV_V2", INIT_IF_KILLPRIV},
    {FUSE_POSIX_ACL, "POSIX_ACL", INIT_IF_ACL, true},
    {FUSE_DONT_MASK, "DONT_MASK", INIT_IF_ACL, true},
    {FUSE_SETXATTR_EXT, "SETXATTR_EXT", INIT_IF_ACL, true},
    {FUSE_SECURITY_CTX, "SECURITY_CTX", INIT_IF_LABEL, true},
    {FUSE_CREATE_SUPP_GROUP, "CREATE_SUPP_GROUP", INIT_ALWAYS},
    {FUSE_SUBMOUNTS, "SUBMOUNTS", INIT_IF_SUBMOUNTS},
    {FUSE_INIT_EXT, "INIT_EXT", INIT_ALWAYS},
    {FUSE_DIRECT_IO_ALLOW_MMAP, "DIRECT_IO_ALLOW_MMAP", INIT_IF_ALLOW_MMAP},
};

/* Of a flag that is required: whether a guest may do without. */
static bool init_is_optional(const struct fs_options *options, enum init_want want)
{
    return (want == INIT_IF_ACL ? options->posix_acl : options->security_label) == FS_AUTO;
}

static bool init_wants(const struct fs_options *options, enum init_want want)
{
    switch (want) {
    case INIT_ALWAYS:
        return true;
    case INIT_IF_CACHED:
        return options->cache != FS_CACHE_NEVER;
    case INIT_IF_KILLPRIV:
        return fs_options_killpriv(options);
    case INIT_IF_ACL:
        return options->posix_acl != FS_NEVER;
    case INIT_IF_LABEL:
        return options->security_label != FS_NEVER;
    case INIT_IF_READDIRPLUS:
        return fs_cache_wants_readdirplus(options);
    case INIT_IF_DIRECTORIES:
        return fs_cache_mode_of(options)->directory_flags & FOPEN_CACHE_DIR;
    case INIT_IF_WRITEBACK:
        return fs_cache_is_writeback(options);
    case INIT_IF_SUBMOUNTS:
        return options->announce_submounts;
    case INIT_IF_ALLOW_MMAP:
        return options->allow_mmap;
    case INIT_IF_POSIX_LOCK:
        return options->posix_lock;
    case INIT_IF_FLOCK:
        return options->flock;
    }
    return false;
}

uint64_t fs_init_negotiate(const struct fs_options *options, uint64_t offered)
{
    uint64_t agreed = 0;

    /* The second word is only there with INIT_EXT. */
    if (!(offered & FUSE_INIT_EXT))
        offered &= UINT32_MAX;
    for (size_t i = 0; i < G_N_ELEMENTS(init_flags); i++)
        if (offered & init_flags[i].bit && init_wants(options, init_flags[i].want))
            agreed |= init_flags[i].bit;
    return agreed;
}

/* A line about what the options ask for and the guest's kernel does not know. */
static bool init_has_required(const struct fs_options *options, uint64_t agreed)
{
    static uint64_t next_ns;

    for (size_t i = 0; i < G_N_ELEMENTS(init_flags); i++) {
        const struct init_flag *flag = &init_flags[i];

        if (!flag->is_required || !init_wants(options, flag->want) ||
            init_is_optional(options, flag->want) || agreed & flag->bit)
            continue;
        if (vu_log_is_due(&next_ns))
            vu_error("virtiofsd: the guest's kernel does not know FUSE_%s, which %s needs",
                     flag->name, flag->want == INIT_IF_ACL ? "--posix-acl" : "--security-label");
        return false;
    }
    return true;
}

/* Flags that are required are only of use together. */
static uint64_t init_drop_incomplete(uint64_t agreed)
{
    uint64_t dropped = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(init_flags); i++)
        for (size_t j = 0; j < G_N_ELEMENTS(init_flags); j++)
            if (init_flags[i].is_required && !(agreed & init_flags[i].bit) &&
                init_flags[j].want == init_flags[i].want)
                dropped |= init_flags[j].bit;
    return agreed & ~dropped;
}

static void init_log(const struct fuse_init_in *in, uint64_t agreed)
{
    g_autoptr(GString) names = g_string_new(NULL);

    if (vu_log_get_level() < VU_LOG_DEBUG)
        return;
    for (size_t i = 0; i < G_N_ELEMENTS(init_flags); i++)
        if (agreed & init_flags[i].bit)
            g_string_append_printf(names, " %s", init_flags[i].name);
    vu_debug("virtiofsd: INIT %u.%u:%s", in->major, in->minor, names->str);
}

int fs_do_init(struct fs_request *request)
{
    static uint64_t next_ns; /* of the line about its version */
    const struct fuse_init_in *in = &request->args.init;
    struct fuse_init_out *out = &request->reply.init;
    struct fs_share *share = request->share;
    uint64_t agreed;

    fs_share_reset(share);
    memset(out, 0, sizeof(*out));
    out->major = INIT_MAJOR;
    out->minor = INIT_MINOR;
    /* A kernel that speaks a later major version takes this and sends INIT again, as 7.x. */
    if (in->major > INIT_MAJOR)
        return sizeof(*out);
    if (in->major < INIT_MAJOR || in->minor < INIT_MINOR_MIN) {
        if (vu_log_is_due(&next_ns))
            vu_error("virtiofsd: the guest speaks FUSE %u.%u, at least %d.%d is needed", in->major,
                     in->minor, INIT_MAJOR, INIT_MINOR_MIN);
        return -EPROTO;
    }

    agreed = fs_init_negotiate(share->options, in->flags | (uint64_t)in->flags2 << 32);
    if (!init_has_required(share->options, agreed))
        return -EPROTO;
    agreed = init_drop_incomplete(agreed);
    out->max_readahead = in->max_readahead;
    out->flags = (uint32_t)agreed;
    out->flags2 = (uint32_t)(agreed >> 32);
    out->max_background = INIT_MAX_BACKGROUND;
    out->congestion_threshold = INIT_MAX_BACKGROUND / 4 * 3;
    out->max_write = INIT_MAX_WRITE;
    out->max_pages = INIT_MAX_PAGES;
    out->time_gran = 1;
    init_log(in, agreed);
    __atomic_store_n(&share->negotiated.flags, agreed, __ATOMIC_RELAXED);
    fs_state_file_note_guest(share->state, true, agreed);
    __atomic_store_n(&share->negotiated.done, true, __ATOMIC_RELEASE);
    return sizeof(*out);
}

int fs_do_destroy(struct fs_request *request)
{
    static uint64_t next_ns;

    fs_share_reset(request->share);
    if (vu_log_is_due(&next_ns))
        fs_counters_log(&request->share->counters, FUSE_DESTROY);
    return 0;
}
