/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that is out for harm: any bytes as FUSE requests, over a real ring, to the daemon that
 * $VIRTIOFSD names, once for each way of isolating it. The share lies beside what must not be
 * reached:
 *
 *   T/share     what is served
 *   T/outside   secret ("secret\n"), and nothing else may ever be there
 *   T/socket
 */
#pragma once

#include <glib.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vhost-user/driver.h"
#include "vhost-user/frontend.h"

#define FS_GUEST_SECRET "secret\n"
#define FS_GUEST_BUF    65536 /* bytes either way */
#define FS_GUEST_NOBODY 65534

struct fs_guest_mode {
    const char *name;
    const char *sandbox;
    unsigned uid; /* the daemon's; 0: that of the test */
};

struct guest_case; /* see fs-guest.c */

struct fs_guest {
    const struct fs_guest_mode *mode;
    char *top, *share, *outside, *socket;
    int pid;                      /* of the daemon */
    const struct guest_case *how; /* it was started */
    struct vu_shmem shmem;
    struct vu_frontend *frontend;
    struct vu_driver *queue;
    uint8_t *out, *in;
    uint64_t out_gpa, in_gpa;
    uint64_t unique;
    uint32_t uid; /* of the guest's user */
};

/* One request as a test writes it: any of its parts may lie. */
struct fs_guest_call {
    uint32_t opcode;
    uint64_t nodeid;
    const void *args;
    size_t args_len;
    const char *names; /* bytes, NULs included */
    size_t names_len;
    void *reply;
    size_t room;
};

typedef void (*fs_guest_test)(struct fs_guest *guest);

/* Adds the test for every mode: "/SUITE/MODE". It is skipped where the mode cannot be had. */
void fs_guest_add(const char *suite, fs_guest_test test);
/* The same with further options for the daemon, with a space between them. */
void fs_guest_add_with(const char *suite, const char *options, fs_guest_test test);

/*
 * The same once, as "/front-ends/NAME", for a daemon started with the words of `line`: first
 * VARIABLE=VALUE, then options, in which %s is the socket and %d the share. Where the line has
 * --fd, descriptor 3 is a socket that listens there.
 */
void fs_guest_add_line(const char *name, const char *line, fs_guest_test test);

/* Ends the connection and makes a new one, without INIT. */
void fs_guest_reconnect(struct fs_guest *guest);
/* Ends the daemon by a signal and starts another one, which gets the connection as it stands, and
 * its rings with what waits there. For lines with --state. */
void fs_guest_succeed(struct fs_guest *guest, int signal);
int fs_guest_init(struct fs_guest *guest); /* INIT: 0 or -errno */
/* The same, with further flags of FUSE. */
int fs_guest_init_with(struct fs_guest *guest, uint64_t flags);

/* Sends out_len bytes of guest->out with room for in_len; the bytes that came back into guest->in.
 */
uint32_t fs_guest_send(struct fs_guest *guest, uint32_t out_len, uint32_t in_len);
/* Bytes of the reply or -errno; checks the reply's header. */
int fs_guest_call(struct fs_guest *guest, const struct fs_guest_call *call);

/* --- requests of every test; 0 or -errno unless it says otherwise --- */
int fs_guest_lookup(struct fs_guest *guest, uint64_t parent, const char *name,
                    struct fuse_entry_out *ret_entry);
/* The same with a request that begins with args. */
int fs_guest_make(struct fs_guest *guest, uint32_t opcode, uint64_t parent, const void *args,
                  size_t args_len, const char *name, const char *name2,
                  struct fuse_entry_out *ret_entry);
/* CREATE: handle in *ret_fh. */
int fs_guest_create(struct fs_guest *guest, uint64_t parent, const char *name, uint32_t flags,
                    struct fuse_entry_out *ret_entry, uint64_t *ret_fh);
/* FUSE_OPEN or FUSE_OPENDIR. */
int fs_guest_open(struct fs_guest *guest, uint32_t opcode, uint64_t nodeid, uint32_t flags,
                  uint64_t *ret_fh);
/* FUSE_RELEASE or FUSE_RELEASEDIR. */
int fs_guest_release(struct fs_guest *guest, uint32_t opcode, uint64_t fh);
/* FUSE_READ or FUSE_READDIR: bytes or -errno. */
int fs_guest_read(struct fs_guest *guest, uint32_t opcode, uint64_t fh, void *buf, uint32_t len);
void fs_guest_forget(struct fs_guest *guest, uint64_t nodeid, uint64_t n_lookups);

/* A path on the host, below the share or below T; g_free. */
char *fs_guest_path(const struct fs_guest *guest, const char *name);
char *fs_guest_outside_path(const struct fs_guest *guest, const char *name);
/* A file of the share with this text; a folder of the share. Both the daemon's user's own. */
void fs_guest_write_file(const struct fs_guest *guest, const char *name, const char *text);
void fs_guest_make_folder(const struct fs_guest *guest, const char *name);
