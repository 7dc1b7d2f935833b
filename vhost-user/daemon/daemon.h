/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every daemon of ours shares: common options, the listening socket (path, inherited
 * descriptor, systemd socket activation), signals, and a session thread that serves one front-end
 * after another.
 *
 *   main thread: GMainLoop, signals (SIGTERM, SIGINT, SIGHUP end it; SIGUSR1 has the
 *                device tell the log what it has done; SIGPIPE and SIGXFSZ are ignored)
 *   session thread: accept -> vu_backend_serve -> accept again (unless --exit-on-disconnect)
 *   control thread: with --control, see control.h
 *   metrics thread: with --metrics, see metrics.h
 *   workers and helpers: the device's
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "vhost-user/backend.h"
#include "vhost-user/daemon/control.h"
#include "vhost-user/daemon/options.h"

#define VU_DAEMON_MAX_DEVICES 64 /* of one process */

struct vu_daemon_options {
    char *socket_path;       /* the last that was given */
    GPtrArray *socket_paths; /* all of them, in their order; NULL: none */
    unsigned max_devices;    /* the program's; 1: all paths but the last are overridden */
    int fd;                  /* a listening socket, or an already connected one; -1: none */
    char *socket_group;
    char *control; /* a path, or fd:N; NULL: no control socket */
    char *metrics; /* unix:PATH or HOST:PORT; NULL: none */
    bool print_capabilities;
    bool help, version, print_man, print_completion;
    int log_level; /* enum vu_log_level */
    bool syslog;
    bool foreground; /* -f: accepted, the default */
    bool background; /* --daemonize: see vu_ready_prepare */
    bool exit_on_disconnect;
    bool inband_notifications;
    int poll_us;
    int numa; /* 0: queues run near their rings */
};

/* The rows of the common options; their target is a struct vu_daemon_options. */
extern const struct vu_option vu_daemon_option_rows[];
extern const size_t vu_daemon_n_option_rows;

void vu_daemon_options_init(struct vu_daemon_options *options);
void vu_daemon_options_clear(struct vu_daemon_options *options);
/* What --socket-path does. */
void vu_daemon_add_socket_path(struct vu_daemon_options *options, const char *path);

/* A program, as its main() describes it. */
struct vu_program {
    const char *name;            /* "virtiofsd" */
    const char *summary;         /* "serves a host directory to a guest", for the man page */
    const char *usage;           /* "virtiofsd --socket-path=PATH --shared-dir=DIR [OPTION]..." */
    const char *man_description; /* roff: the man page's sections before OPTIONS, may be NULL */
    const char *man_text;        /* ... and behind it */
    const char *device_type;     /* of --print-capabilities: "fs", "block", "rng" */
    const char *const *capability_features;  /* NULL ended, may be NULL */
    const struct vu_control_table *commands; /* of --control, for the man page; may be NULL */
    unsigned max_devices;                    /* sockets of one process; 0: 1 */
};

/*
 * Parses the command line (common rows plus the program's n_own tables) and does what --help,
 * --version, --print-capabilities and --print-man ask. Returns true to go on; false with
 * *ret_exit_status set to end the program (the error is printed: one line, exit status 1).
 */
bool vu_daemon_parse(const struct vu_program *program, struct vu_daemon_options *options,
                     const struct vu_option_table *own, size_t n_own, int argc, char **argv,
                     int *ret_exit_status);

/*
 * The listening (or connected) socket that the options ask for: --fd, else systemd's (LISTEN_FDS),
 * else --socket-path, created with mode 0600 (0660 and the group with --socket-group). A stale
 * socket file is replaced, a live one refused. Returns a descriptor, or -1 with *error.
 */
int vu_daemon_open_socket(const struct vu_daemon_options *options, GError **error);

/* What a daemon listens on; -1: nothing. */
enum vu_daemon_socket {
    VU_DAEMON_SESSION, /* for front-ends */
    VU_DAEMON_CONTROL, /* --control, mode 0600 */
    VU_DAEMON_METRICS, /* --metrics, likewise where it is a path */
    VU_DAEMON_N_SOCKETS,
};
struct vu_daemon_sockets {
    int fds[VU_DAEMON_N_SOCKETS];
    int more[VU_DAEMON_MAX_DEVICES - 1]; /* for front-ends of further devices */
    unsigned n_more;
};

/* All that the options ask for. False with *error, and nothing left behind. */
bool vu_daemon_open_sockets(const struct vu_daemon_options *options,
                            struct vu_daemon_sockets *ret_sockets, GError **error);
/* Closes those that are open; their files stay (vu_daemon_remove_socket). */
void vu_daemon_close_sockets(struct vu_daemon_sockets *sockets);

/*
 * Runs until SIGTERM, SIGINT, SIGHUP, the command quit, vu_daemon_fail, or the end of the only
 * session. Uses up the sockets, the first of which there must be; removes the socket files it
 * created. Returns the exit status of main().
 */
int vu_daemon_run(const struct vu_daemon_options *options, const struct vu_device *device,
                  void *opaque, struct vu_daemon_sockets *sockets);

/* Any thread: ends the daemon as SIGTERM does, with exit status 1, for whoever started it to start
 * it again: something is gone that it had from outside its sandbox. The caller says what. */
void vu_daemon_fail(void);

/*
 * Ends the process now, with exit status 1, for a thread of it hangs in the kernel. That thread
 * keeps the process's descriptors open for as long as it hangs: sockets are closed before, so that
 * whoever is connected knows, and a successor can listen. Any thread. The caller says what hangs.
 */
G_NORETURN void vu_daemon_abandon(void);

/* One of several devices. */
struct vu_daemon_device {
    const struct vu_device *device;
    void *opaque;
};

/*
 * The same for as many devices as there are sockets, VU_DAEMON_SESSION and then `more`, each with a
 * session thread of its own. name: the program's. Commands, and metrics beside those of the
 * sessions, are asked of the first device, which knows the others. --exit-on-disconnect: ends when
 * all front-ends have gone.
 */
int vu_daemon_run_devices(const struct vu_daemon_options *options, const char *name,
                          const struct vu_daemon_device *devices,
                          struct vu_daemon_sockets *sockets);
