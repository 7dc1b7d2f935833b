/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of virtiofsd: the -o keys of QEMU's C daemon and the long options of the Rust one, from
 * one table. An option of theirs that we do not implement is accepted only where ignoring it
 * changes neither safety nor what is stored; any other is an error.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vhost-user/daemon/capabilities.h"
#include "vhost-user/daemon/id-map.h"
#include "vhost-user/daemon/options.h"
#include "virtiofsd/idmap.h"
#include "virtiofsd/xattrmap.h"

#define FS_TAG_MAX            36 /* bytes, without a NUL: as the configuration space has it */
#define FS_MAX_REQUEST_QUEUES 64
#define FS_MAX_HELPERS        1024 /* more are taken for as many */
#define FS_NOFILE_MAX         (-1)

/* What a guest must be able to do, or may. */
enum fs_negotiation { FS_NEVER, FS_ALWAYS, FS_AUTO };

/* How inodes are remembered that the guest knows. */
enum fs_inode_handles {
    FS_INODE_HANDLES_AUTO,      /* by descriptors, and where those run out, by file handles */
    FS_INODE_HANDLES_NEVER,     /* by descriptors */
    FS_INODE_HANDLES_PREFER,    /* by file handles, with few descriptors; or else by those */
    FS_INODE_HANDLES_MANDATORY, /* by file handles, or not at all */
};

enum fs_cache { FS_CACHE_NEVER, FS_CACHE_METADATA, FS_CACHE_AUTO, FS_CACHE_ALWAYS };

struct fs_options {
    char *source;   /* --shared-dir, -o source= */
    char *tag;      /* at most FS_TAG_MAX bytes of UTF-8; NULL: the front-end gives one */
    int cache;      /* enum fs_cache; -o cache=none is never */
    double timeout; /* seconds; negative, here and below: see fs_cache_timeouts_of */
    double entry_timeout, attr_timeout, negative_timeout;
    bool writeback;       /* see fs_cache_is_writeback */
    bool allow_direct_io; /* O_DIRECT of the guest reaches the host */
    bool readdirplus;
    bool announce_submounts;
    bool readonly;
    bool preserve_noatime; /* O_NOATIME of the guest reaches the host */
    struct fs_idmap translate_uid, translate_gid;
    bool allow_mmap;              /* shared mappings although cache is never or metadata */
    bool posix_lock;              /* fcntl locks of the guest are the host's */
    bool flock;                   /* ... and those of flock */
    int xattr;                    /* 1: --xattr, 0: no_xattr, negative: see fs_options_xattr */
    struct fs_xattrmap *xattrmap; /* NULL: names are the same in guest and host */
    int posix_acl;                /* enum fs_negotiation */
    int security_label;           /* enum fs_negotiation */
    int killpriv_v2;              /* 1: --killpriv-v2, 0: --no-killpriv-v2, negative: as it comes */
    int n_request_queues;         /* as the configuration space says; a front-end may use more */
    int max_helpers;              /* --thread-pool-size */
    int inode_handles;            /* enum fs_inode_handles */
    char *state;                  /* --state: see state-file.h; NULL: none */
    bool nfs_export;              /* the guest's file handles outlive its FORGETs */
    int rlimit_nofile;            /* 0: leave as it is; FS_NOFILE_MAX: up to the hard limit */
    int sandbox;                  /* enum vu_sandbox_mode */
    int seccomp;                  /* enum vu_seccomp_mode */
    struct vu_capability_changes modcaps;
    struct vu_id_map uid_map, gid_map; /* of a user namespace */
};

#define FS_N_OPTION_TABLES 7
/* The rows, a table for each subject, with `options` as the target of all. */
void fs_options_tables(struct fs_options *options,
                       struct vu_option_table ret_tables[FS_N_OPTION_TABLES]);
void fs_options_init(struct fs_options *options);
void fs_options_clear(struct fs_options *options);
/* What single rows cannot check (no source, a tag too long). False with *error naming the option.
 */
bool fs_options_check(const struct fs_options *options, GError **error);
/* Whether the guest may use extended attributes: asked for, or implied by another option. */
bool fs_options_xattr(const struct fs_options *options);
/* Whether clearing setuid bits is taken over from the guest, unless refused: its Linux leaves that
 * to us anyway for writes past its page cache, and saves a GETXATTR before each write and a GETATTR
 * before each change of owner.
 */
bool fs_options_killpriv(const struct fs_options *options);
