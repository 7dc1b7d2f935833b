/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that an announcement takes is opened beforehand: in a sandbox there is neither a path
 * to systemd's socket nor a /dev/null.
 */
#include "vhost-user/daemon/ready.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/log.h"

#define READY_NOTIFICATION "READY=1"

static struct ready {
    int notify_fd; /* connected to systemd; -1: it does not ask */
    int waiter_fd; /* a pipe: a byte says that we are ready, its end that we never will be */
    int null_fd;   /* /dev/null, in the background */
} ready = {-1, -1, -1};

/* A socket connected to what $NOTIFY_SOCKET names, a path or (with @) an abstract address; -1. */
static int ready_connect(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    vu_autofd int fd = -1;

    if ((name[0] != '/' && name[0] != '@') || len >= sizeof(address.sun_path))
        return -1;
    memcpy(address.sun_path, name, len);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        return -1;
    return vu_steal_fd(&fd);
}

static void ready_prepare_notification(void)
{
    const char *name = g_getenv("NOTIFY_SOCKET");

    if (name == NULL)
        return;
    ready.notify_fd = ready_connect(name);
    if (ready.notify_fd < 0)
        vu_warning("NOTIFY_SOCKET=%s: cannot be told when we are ready", name);
    g_unsetenv("NOTIFY_SOCKET"); /* programs that we start have nothing to say there */
}

/* In the process that was started: its end is the news. */
static int ready_wait(pid_t child, int fd)
{
    int status = 0;
    char byte;

    if (read(fd, &byte, 1) == 1)
        return EXIT_SUCCESS;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE;
}

/* True in the new process. */
static bool ready_go_background(const char *program, int *ret_exit_status)
{
    vu_autofd int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int fds[2] = {-1, -1};
    pid_t child = -1;

    if (null_fd >= 0 && pipe2(fds, O_CLOEXEC) == 0)
        child = fork();
    if (child < 0)
        fprintf(stderr, "%s: --daemonize: %s\n", program, g_strerror(errno));
    if (child == 0) {
        close(fds[0]);
        setsid();
        ready.waiter_fd = fds[1];
        ready.null_fd = vu_steal_fd(&null_fd);
        return true;
    }
    vu_clear_fd(&fds[1]);
    *ret_exit_status = child < 0 ? EXIT_FAILURE : ready_wait(child, fds[0]);
    vu_clear_fd(&fds[0]);
    return false;
}

void vu_ready_secure_standard_fds(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY);
}

bool vu_ready_prepare(const char *program, bool background, int *ret_exit_status)
{
    if (background && !ready_go_background(program, ret_exit_status))
        return false;
    ready_prepare_notification();
    return true;
}

/* Whoever reads what the shell's command writes need not wait for the daemon's end. */
static void ready_leave_terminal(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        (void)dup3(ready.null_fd, fd, 0);
    vu_clear_fd(&ready.null_fd);
}

void vu_ready_announce(void)
{
    if (ready.notify_fd >= 0)
        (void)!send(ready.notify_fd, READY_NOTIFICATION, strlen(READY_NOTIFICATION), MSG_NOSIGNAL);
    if (ready.null_fd >= 0)
        ready_leave_terminal();
    if (ready.waiter_fd >= 0)
        (void)!write(ready.waiter_fd, "", 1);
    vu_clear_fd(&ready.notify_fd);
    vu_clear_fd(&ready.waiter_fd);
}

void vu_ready_pass_to(int fd)
{
    vu_clear_fd(&ready.notify_fd);
    vu_clear_fd(&ready.waiter_fd);
    ready.waiter_fd = fd;
}
