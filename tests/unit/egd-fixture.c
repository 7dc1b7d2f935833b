/* SPDX-License-Identifier: Apache-2.0 */
/* See egd-fixture.h. */
#include "tests/unit/egd-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"

static void open_sockets(struct egd_fixture *f)
{
    struct egd_options options = {
        .listen = {g_strconcat("unix:", f->path, NULL), g_strdup("127.0.0.1:0")}};
    struct sockaddr_in address;
    socklen_t len = sizeof(address);
    GError *error = NULL;

    egd_sockets_open(&f->sockets, &options, &error);
    g_assert_no_error(error);
    egd_options_clear(&options);
    g_assert_cmpint(getsockname(f->sockets.fds[1], (struct sockaddr *)&address, &len), ==, 0);
    f->port = address.sin_port;
}

void egd_set_up(struct egd_fixture *f, gconstpointer data)
{
    const struct egd_setting *setting = data;
    GError *error = NULL;

    f->dir = g_dir_make_tmp("test-egd-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "egd", NULL);
    f->fifo = g_build_filename(f->dir, "fifo", NULL);
    g_assert_cmpint(mkfifo(f->fifo, 0600), ==, 0);
    f->fifo_fd = open(f->fifo, O_RDWR | O_CLOEXEC);
    open_sockets(f);
    if (setting->max_client_fd > 0)
        f->sockets.max_client_fd = setting->max_client_fd;
    f->source = rng_source_create(setting->is_slow ? f->fifo : "getrandom", &error);
    g_assert_no_error(error);
    f->pool = rng_pool_create();
    f->feeder = rng_feeder_create(f->pool, f->source);
    f->server = egd_server_create(
        &(struct egd_server_options){
            .pool = f->pool,
            .instant = setting->is_slow ? NULL : f->source,
            .max_bytes = setting->max_bytes,
            .period_ms = setting->period_ms,
            .grace_ms = EGD_GRACE_MS,
            .stall_ms = EGD_STALL_MS,
        },
        &f->sockets);
    g_assert_cmpint(rng_feeder_start(f->feeder), ==, 0);
    g_assert_cmpint(egd_server_start(f->server), ==, 0);
}

void egd_tear_down(struct egd_fixture *f, gconstpointer data)
{
    egd_server_stop(f->server);
    rng_feeder_stop(f->feeder);
    egd_server_destroy(f->server);
    rng_feeder_destroy(f->feeder);
    rng_pool_destroy(f->pool);
    rng_source_destroy(f->source);
    vu_clear_fd(&f->fifo_fd);
    vu_daemon_remove_socket();
    g_assert_cmpint(g_remove(f->fifo), ==, 0);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    g_free(f->fifo);
    g_free(f->path);
    g_free(f->dir);
}

/* --- a client --- */

static int set_patience(int fd)
{
    struct timeval patience = {.tv_sec = EGD_PATIENCE_S};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

int egd_dial_by(const struct egd_fixture *f, int fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    g_strlcpy(address.sun_path, f->path, sizeof(address.sun_path));
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return set_patience(fd);
}

int egd_dial(const struct egd_fixture *f)
{
    return egd_dial_by(f, socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

int egd_dial_port(const struct egd_fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = f->port};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
    return set_patience(fd);
}

void egd_say(int fd, const char *bytes, size_t len)
{
    g_assert_cmpint(send(fd, bytes, len, MSG_NOSIGNAL), ==, (ssize_t)len);
}

void egd_hear(int fd, void *ret_bytes, size_t len)
{
    if (len > 0)
        g_assert_cmpint(recv(fd, ret_bytes, len, MSG_WAITALL), ==, (ssize_t)len);
}

void egd_expect(int fd, const char *bytes, size_t len)
{
    char heard[256];

    egd_hear(fd, heard, len);
    g_assert_true(memcmp(heard, bytes, len) == 0);
}

void egd_expect_nothing(int fd)
{
    char byte;

    g_assert_cmpint(recv(fd, &byte, 1, MSG_DONTWAIT), ==, -1);
    g_assert_cmpint(errno, ==, EAGAIN);
}

void egd_expect_end(int fd)
{
    char bytes[1024];
    ssize_t n;

    while ((n = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        ;
    g_assert_true(n == 0 || errno == ECONNRESET);
    close(fd);
}

uint32_t egd_ask_level(int fd)
{
    uint32_t level_be;

    egd_say(fd, "\0", 1);
    egd_hear(fd, &level_be, sizeof(level_be));
    return ntohl(level_be);
}

/* How many bytes an 01 n gets; they go to ret_bytes. */
unsigned egd_ask_read(int fd, uint8_t n, void *ret_bytes)
{
    uint8_t m;

    egd_say(fd, (const char[]){1, (char)n}, 2);
    egd_hear(fd, &m, 1);
    g_assert_cmpuint(m, <=, n);
    egd_hear(fd, ret_bytes, m);
    return m;
}

void egd_feed(const struct egd_fixture *f, const char *bytes, size_t len)
{
    g_assert_cmpint(write(f->fifo_fd, bytes, len), ==, (ssize_t)len);
}

struct egd_server_status egd_status_of(const struct egd_fixture *f)
{
    struct egd_server_status status;

    egd_server_get_status(f->server, &status);
    return status;
}

void egd_wait_for_clients(const struct egd_fixture *f, unsigned n)
{
    for (int tries = 0; egd_status_of(f).n_clients != n; tries++) {
        g_assert_cmpint(tries, <, EGD_PATIENCE_S * 100);
        g_usleep(10000);
    }
}

/* --- all commands --- */

const char egd_all_commands[] = "\x00"
                                "\x01\x20"
                                "\x02\xff"
                                "\x03\x00\x08\x03"
                                "abc"
                                "\x03\x00\x00\x00"
                                "\x02\x00"
                                "\x01\x00"
                                "\x04";

G_STATIC_ASSERT(sizeof(egd_all_commands) == EGD_ALL_COMMANDS_LEN + 1);

void egd_expect_all_answers(int fd)
{
    g_autofree char *pid = g_strdup_printf("%d", getpid());
    uint8_t random[255], len;

    egd_expect(fd, "\x00\x00\x08\x00\x20", 5);
    egd_hear(fd, random, 32);
    egd_hear(fd, random, 255);
    egd_expect(fd, "\x00", 1);
    egd_hear(fd, &len, 1);
    g_assert_cmpuint(len, ==, strlen(pid));
    egd_expect(fd, pid, len);
}

void egd_expect_served(const struct egd_fixture *f)
{
    int fd = egd_dial(f);

    egd_say(fd, egd_all_commands, EGD_ALL_COMMANDS_LEN);
    egd_expect_all_answers(fd);
    close(fd);
}
