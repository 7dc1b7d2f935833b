/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Console ends. Input and connections are the main thread's; output goes out on the thread that has
 * it, and what cannot be written at once stays with the serial port, so that nothing is lost and no
 * vCPU waits for a reader.
 */
#include "vmm/console.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib-unix.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/log.h"
#include "vmm/terminal.h"

#define CONSOLE_READ_LEN 64
#define CONSOLE_ESCAPE   1 /* Ctrl-A */

struct vmm_console {
    /* constant */
    struct vmm_console_user user;
    GMainContext *context;
    enum vmm_serial_kind kind;
    int listen_fd;
    bool is_terminal;
    /* the main thread's */
    GSource *input, *output, *listener;
    bool is_escaped; /* the last byte was Ctrl-A */
    bool is_awaited; /* the first client */
    /* under lock */
    pthread_mutex_t lock;
    int in_fd, out_fd; /* the same for a socket; -1: nobody is there */
    bool wants_output;
};

static void console_clear_source(GSource **source)
{
    if (*source == NULL)
        return;
    g_source_destroy(*source);
    g_source_unref(*source);
    *source = NULL;
}

static GSource *console_watch(struct vmm_console *console, int fd, GIOCondition condition,
                              GUnixFDSourceFunc callback)
{
    GSource *source = g_unix_fd_source_new(fd, condition);

    g_source_set_callback(source, G_SOURCE_FUNC(callback), console, NULL);
    g_source_attach(source, console->context);
    return source;
}

/* --- output --- */

static gboolean console_on_writable(int fd, GIOCondition condition, gpointer opaque)
{
    struct vmm_console *console = opaque;

    console_clear_source(&console->output);
    pthread_mutex_lock(&console->lock);
    console->wants_output = false;
    pthread_mutex_unlock(&console->lock);
    console->user.writable(console->user.opaque);
    return G_SOURCE_REMOVE;
}

static gboolean console_await_output(gpointer opaque)
{
    struct vmm_console *console = opaque;

    if (console->out_fd < 0)
        console_on_writable(-1, 0, console); /* it has gone meanwhile */
    else if (console->output == NULL)
        console->output = console_watch(console, console->out_fd, G_IO_OUT | G_IO_ERR | G_IO_HUP,
                                        console_on_writable);
    return G_SOURCE_REMOVE;
}

/* How many went out; a reader that has gone takes all. */
static size_t console_write_locked(struct vmm_console *console, const uint8_t *bytes, size_t len)
{
    struct pollfd pollfd = {.fd = console->out_fd, .events = POLLOUT};
    ssize_t n;

    if (console->kind == VMM_SERIAL_UNIX) {
        n = send(console->out_fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else {
        /* Not O_NONBLOCK: a terminal is shared with others, who would not expect it. */
        if (poll(&pollfd, 1, 0) == 0)
            return 0;
        n = write(console->out_fd, bytes, len);
    }
    if (n >= 0)
        return (size_t)n;
    return errno == EAGAIN || errno == EINTR ? 0 : len;
}

size_t vmm_console_write(struct vmm_console *console, const uint8_t *bytes, size_t len)
{
    VU_LOCK_SCOPE(&console->lock);
    size_t n_done = len;

    if (console->out_fd >= 0)
        n_done = console_write_locked(console, bytes, len);
    if (n_done < len && !console->wants_output) {
        console->wants_output = true;
        g_main_context_invoke(console->context, console_await_output, console);
    }
    return n_done;
}

/* --- input --- */

static void console_hang_up(struct vmm_console *console);

static void console_command(struct vmm_console *console, uint8_t byte)
{
    static const char help[] = "\r\nCtrl-A x  leave\r\nCtrl-A b  send a break\r\n"
                               "Ctrl-A h  this help\r\nCtrl-A Ctrl-A  send Ctrl-A\r\n";
    uint8_t escape = CONSOLE_ESCAPE;

    switch (byte) {
    case 'x':
        console->user.quit(console->user.opaque);
        break;
    case 'b':
        console->user.receive_break(console->user.opaque);
        break;
    case CONSOLE_ESCAPE:
        console->user.receive(console->user.opaque, &escape, 1);
        break;
    case 'h':
    case '?':
        (void)!write(console->out_fd, help, sizeof(help) - 1);
        break;
    default:
        break;
    }
}

/* Passes on what was typed, less the commands. */
static void console_receive(struct vmm_console *console, const uint8_t *bytes, size_t len)
{
    if (!console->is_terminal) {
        console->user.receive(console->user.opaque, bytes, len);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (console->is_escaped)
            console_command(console, bytes[i]);
        else if (bytes[i] != CONSOLE_ESCAPE)
            console->user.receive(console->user.opaque, &bytes[i], 1);
        console->is_escaped = !console->is_escaped && bytes[i] == CONSOLE_ESCAPE;
    }
}

static gboolean console_on_input(int fd, GIOCondition condition, gpointer opaque)
{
    struct vmm_console *console = opaque;
    uint8_t bytes[CONSOLE_READ_LEN];
    size_t room = console->user.room(console->user.opaque);
    ssize_t n;

    if (room == 0) { /* until vmm_console_resume_input */
        console_clear_source(&console->input);
        return G_SOURCE_REMOVE;
    }
    n = read(fd, bytes, MIN(room, sizeof(bytes)));
    if (n > 0) {
        console_receive(console, bytes, (size_t)n);
        return G_SOURCE_CONTINUE;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return G_SOURCE_CONTINUE;
    console_hang_up(console);
    return G_SOURCE_REMOVE;
}

static gboolean console_await_input(gpointer opaque)
{
    struct vmm_console *console = opaque;

    if (console->in_fd >= 0 && console->input == NULL)
        console->input =
            console_watch(console, console->in_fd, G_IO_IN | G_IO_HUP | G_IO_ERR, console_on_input);
    return G_SOURCE_REMOVE;
}

void vmm_console_resume_input(struct vmm_console *console)
{
    g_main_context_invoke(console->context, console_await_input, console);
}

/* --- who is there --- */

static gboolean console_on_client(int fd, GIOCondition condition, gpointer opaque);

static void console_await_client(struct vmm_console *console)
{
    console->listener = console_watch(console, console->listen_fd, G_IO_IN, console_on_client);
}

/* The end of input: a client has gone, and another may come; of a terminal or a pipe there is none.
 */
static void console_hang_up(struct vmm_console *console)
{
    console_clear_source(&console->input);
    pthread_mutex_lock(&console->lock);
    if (console->kind == VMM_SERIAL_UNIX) {
        console_clear_source(&console->output);
        vu_clear_fd(&console->in_fd);
        console->out_fd = -1;
        console->wants_output = false;
    }
    console->in_fd = -1;
    pthread_mutex_unlock(&console->lock);
    if (console->kind != VMM_SERIAL_UNIX)
        return;
    console->user.writable(console->user.opaque); /* what was held back goes nowhere */
    console_await_client(console);
}

static void console_take_client(struct vmm_console *console, int fd)
{
    console->is_awaited = false;
    pthread_mutex_lock(&console->lock);
    console->in_fd = console->out_fd = fd;
    pthread_mutex_unlock(&console->lock);
    console_await_input(console);
}

static gboolean console_on_client(int fd, GIOCondition condition, gpointer opaque)
{
    struct vmm_console *console = opaque;
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC);

    if (client < 0)
        return G_SOURCE_CONTINUE;
    console_clear_source(&console->listener);
    console_take_client(console, client);
    return G_SOURCE_REMOVE;
}

static bool console_open_unix(struct vmm_console *console, const struct vmm_serial_config *config,
                              GError **error)
{
    console->listen_fd = vu_daemon_listen_at("-serial unix", config->path, error);
    if (console->listen_fd < 0)
        return false;
    console_await_client(console);
    console->is_awaited = config->wait;
    if (config->wait)
        vu_info("serial: waiting for a client at %s", config->path);
    return true;
}

static bool console_open_file(struct vmm_console *console, const struct vmm_serial_config *config,
                              GError **error)
{
    console->out_fd =
        open(config->path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY, 0666);
    if (console->out_fd < 0)
        g_set_error(error, G_IO_ERROR, (int)g_io_error_from_errno(errno), "-serial file:%s: %s",
                    config->path, g_strerror(errno));
    return console->out_fd >= 0;
}

static bool console_open_stdio(struct vmm_console *console, const struct vmm_serial_config *config,
                               GError **error)
{
    console->in_fd = STDIN_FILENO;
    console->out_fd = STDOUT_FILENO;
    console->is_terminal = vmm_terminal_make_raw(STDIN_FILENO);
    console_await_input(console);
    return true;
}

static bool console_open_none(struct vmm_console *console, const struct vmm_serial_config *config,
                              GError **error)
{
    return true;
}

static bool (*const console_openers[])(struct vmm_console *console,
                                       const struct vmm_serial_config *config, GError **error) = {
    [VMM_SERIAL_NONE] = console_open_none,
    [VMM_SERIAL_STDIO] = console_open_stdio,
    [VMM_SERIAL_FILE] = console_open_file,
    [VMM_SERIAL_UNIX] = console_open_unix,
};

struct vmm_console *vmm_console_create(const struct vmm_serial_config *config,
                                       const struct vmm_console_user *user, GMainContext *context,
                                       GError **error)
{
    struct vmm_console *console = g_new0(struct vmm_console, 1);

    console->user = *user;
    console->context = context;
    console->kind = config->kind;
    console->listen_fd = console->in_fd = console->out_fd = -1;
    pthread_mutex_init(&console->lock, NULL);
    if (console_openers[config->kind](console, config, error))
        return console;
    vmm_console_destroy(console);
    return NULL;
}

bool vmm_console_is_awaited(const struct vmm_console *console)
{
    return console->is_awaited;
}

void vmm_console_destroy(struct vmm_console *console)
{
    console_clear_source(&console->input);
    console_clear_source(&console->output);
    console_clear_source(&console->listener);
    if (console->is_terminal)
        vmm_terminal_restore();
    if (console->kind != VMM_SERIAL_STDIO && console->out_fd >= 0)
        close(console->out_fd);
    vu_clear_fd(&console->listen_fd);
    pthread_mutex_destroy(&console->lock);
    g_free(console);
}
