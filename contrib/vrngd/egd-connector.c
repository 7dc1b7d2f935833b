/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See egd-connector.h. A request is one byte; an answer is an int, 0 with a descriptor or an errno.
 * Names are looked up for each connection, so that one that moves, or is not known yet while the
 * host boots, is found later.
 */
#include "contrib/vrngd/egd-connector.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/capabilities.h"

#define CONNECTOR_PATIENCE_MS 10000 /* for each address */
#define CONNECTOR_DEAD_MS     10000 /* until a host that acknowledges nothing counts as gone */
#define CONNECTOR_FD          3     /* in the process */

/* Room for one descriptor beside an answer. */
union connector_control {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr align;
};

/* --- the process --- */

/* Waits until the socket is connected, it cannot be, or nobody wants it any more. */
static int connector_finish(int fd)
{
    struct pollfd fds[] = {{.fd = fd, .events = POLLOUT}, {.fd = CONNECTOR_FD}};
    int err = 0, n = poll(fds, G_N_ELEMENTS(fds), CONNECTOR_PATIENCE_MS);
    socklen_t len = sizeof(err);

    if (n == 0)
        return -ETIMEDOUT;
    if (n < 0 || fds[1].revents)
        return -ECANCELED;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? -errno : -err;
}

static void connector_set_options(int fd)
{
    const int on = 1;
    const unsigned dead_ms = CONNECTOR_DEAD_MS;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof(dead_ms));
}

/* A connected socket or -errno. */
static int connector_connect(const struct sockaddr *address, socklen_t len)
{
    vu_autofd int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int err;

    if (fd < 0)
        return -errno;
    err = connect(fd, address, len) < 0 ? -errno : 0;
    if (err == -EINPROGRESS)
        err = connector_finish(fd);
    /* At a unix socket so many wait that there is no place to wait in. */
    if (err == -EAGAIN)
        err = -EBUSY;
    if (err < 0)
        return err;
    if (address->sa_family != AF_UNIX)
        connector_set_options(fd);
    return vu_steal_fd(&fd);
}

static int connector_connect_path(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    memcpy(address.sun_path, path, len);
    if (path[0] != '@')
        return connector_connect((const struct sockaddr *)&address, sizeof(address));
    address.sun_path[0] = '\0';
    return connector_connect((const struct sockaddr *)&address,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

/* To the first of a host's addresses that takes it. */
static int connector_connect_host(const struct vu_address *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *infos;
    int fd = -EHOSTUNREACH;

    if (getaddrinfo(address->host, address->port, &hints, &infos) != 0)
        return -EHOSTUNREACH;
    for (const struct addrinfo *info = infos; info && fd < 0 && fd != -ECANCELED;
         info = info->ai_next)
        fd = connector_connect(info->ai_addr, info->ai_addrlen);
    freeaddrinfo(infos);
    return fd;
}

/* fd: a socket or -errno. */
static void connector_send_answer(int fd)
{
    int err = fd < 0 ? -fd : 0;
    union connector_control control = {0};
    struct iovec iov = {&err, sizeof(err)};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    struct cmsghdr *header;

    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof(control.bytes);
        header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(fd));
        memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    }
    (void)sendmsg(CONNECTOR_FD, &message, MSG_NOSIGNAL);
}

/* Leaves the process its own end and nothing else of the daemon's. False: it must not go on. */
static bool connector_drop_all(int own, const struct vu_address *address)
{
    const struct vu_capability_changes none = {0};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool ok = null >= 0;

    /* A low number of its own must not be lost on the way. */
    own = fcntl(own, F_DUPFD_CLOEXEC, CONNECTOR_FD + 1);
    for (int fd = STDIN_FILENO; ok && fd <= STDERR_FILENO; fd++)
        ok = dup2(null, fd) == fd;
    ok = ok && own >= 0 && dup2(own, CONNECTOR_FD) == CONNECTOR_FD;
    closefrom(CONNECTOR_FD + 1);
    prctl(PR_SET_NAME, "egd-connector");
    /* Where it was started stays in use no longer than need be. */
    if (!address->path || address->path[0] == '/' || address->path[0] == '@')
        ok = ok && chdir("/") == 0;
    /* A server's socket may belong to another user. */
    return ok && vu_capabilities_limit(VU_CAPABILITY(CAP_DAC_OVERRIDE), &none, NULL);
}

/* Until the daemon asks. False: it is gone. */
static bool connector_wait(void)
{
    char request;
    ssize_t n;

    do
        n = recv(CONNECTOR_FD, &request, sizeof(request), 0);
    while (n < 0 && errno == EINTR);
    return n == sizeof(request);
}

G_NORETURN static void connector_run(int own, const struct vu_address *address)
{
    /* Who sends it to all processes of a service means the daemon. */
    signal(SIGUSR1, SIG_IGN);
    if (!connector_drop_all(own, address))
        _exit(1);
    while (connector_wait()) {
        vu_autofd int fd =
            address->path ? connector_connect_path(address->path) : connector_connect_host(address);

        connector_send_answer(fd);
    }
    _exit(0);
}

/* --- the daemon's side --- */

int egd_connector_start(const struct vu_address *address)
{
    int ends[2], err;
    pid_t child;

    if (address->path && strlen(address->path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return -ENAMETOOLONG;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    child = fork();
    if (child == 0)
        connector_run(ends[1], address);
    err = child < 0 ? -errno : 0;
    close(ends[1]);
    if (err < 0) {
        close(ends[0]);
        return err;
    }
    return ends[0];
}

int egd_connector_ask(int fd)
{
    const char request = 0;

    return send(fd, &request, sizeof(request), MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int egd_connector_answer(int fd, int *ret_socket)
{
    int err = 0;
    union connector_control control;
    struct iovec iov = {&err, sizeof(err)};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof(control.bytes),
    };
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const struct cmsghdr *header;

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return -EAGAIN;
    if (n < (ssize_t)sizeof(err))
        return -EPIPE;
    header = CMSG_FIRSTHDR(&message);
    if (err != 0 || !header || header->cmsg_len != CMSG_LEN(sizeof(int)))
        return err > 0 ? -err : -EPROTO;
    memcpy(ret_socket, CMSG_DATA(header), sizeof(int));
    return 0;
}
