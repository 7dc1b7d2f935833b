/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How those who started the daemon ($VIRTIOFSD) learn that it is ready, in each sandbox: systemd's
 * datagram, a line on standard error, the end of a command with --daemonize.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_PATIENCE_MS 20000

struct fixture {
    char *dir, *path, *notify_path;
    int notify_fd;
    int out_fd; /* reads what the daemon writes to standard output and error */
    pid_t pid;
};

static const char *const sandboxes[] = {"namespace", "chroot", "none"};

static void set_up(struct fixture *f)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int on = 1;

    f->dir = g_dir_make_tmp("test-ready-XXXXXX", NULL);
    f->path = g_build_filename(f->dir, "sock", NULL);
    f->notify_path = g_build_filename(f->dir, "notify", NULL);
    f->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    g_strlcpy(address.sun_path, f->notify_path, sizeof(address.sun_path));
    g_assert_cmpint(bind(f->notify_fd, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(setsockopt(f->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), ==, 0);
}

static void tear_down(struct fixture *f)
{
    close(f->notify_fd);
    close(f->out_fd);
    g_assert_cmpint(g_unlink(f->notify_path), ==, 0);
    g_assert_cmpint(g_rmdir(f->dir), ==, 0);
    g_free(f->dir);
    g_free(f->path);
    g_free(f->notify_path);
}

static void start(struct fixture *f, const char *sandbox, const char *option)
{
    g_autofree char *sandbox_option = g_strconcat("--sandbox=", sandbox, NULL);
    const char *program = g_getenv("VIRTIOFSD");
    int fds[2];

    g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
    f->pid = fork();
    g_assert_cmpint(f->pid, >=, 0);
    if (f->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        g_setenv("NOTIFY_SOCKET", f->notify_path, TRUE);
        execl(program, program, "--socket-path", f->path, "--shared-dir", f->dir, sandbox_option,
              option, NULL);
        _exit(99);
    }
    close(fds[1]);
    f->out_fd = fds[0];
}

static void stop(struct fixture *f)
{
    int status;

    g_assert_cmpint(kill(f->pid, SIGTERM), ==, 0);
    g_assert_cmpint(waitpid(f->pid, &status, 0), ==, f->pid);
    g_assert_cmpint(status, ==, 0);
}

/* The next datagram, with its sender as systemd sees it. False where the daemon wrote (or ended)
 * instead. */
static bool receive(struct fixture *f, char *text, size_t room, pid_t *ret_sender)
{
    struct pollfd fds[] = {{.fd = f->notify_fd, .events = POLLIN}};
    char control[CMSG_SPACE(sizeof(struct ucred))];
    struct iovec iov = {text, room - 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control,
                         .msg_controllen = sizeof(control)};
    struct ucred sender;
    ssize_t len;

    if (poll(fds, 1, READY_PATIENCE_MS) != 1)
        return false;
    len = recvmsg(f->notify_fd, &msg, MSG_CMSG_CLOEXEC);
    g_assert_cmpint((int)len, >=, 0);
    text[len] = '\0';
    g_assert_nonnull(CMSG_FIRSTHDR(&msg));
    memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(sender));
    *ret_sender = sender.pid;
    return true;
}

/* Everything that is written until `words` have been, or the end. */
static char *read_until(int fd, const char *words)
{
    GString *text = g_string_new(NULL);
    char buf[256];
    ssize_t len;

    while (!(words && strstr(text->str, words)) && (len = read(fd, buf, sizeof(buf))) > 0)
        g_string_append_len(text, buf, len);
    return g_string_free(text, FALSE);
}

static bool can_sandbox(const char *sandbox)
{
    if (geteuid() == 0 || g_str_equal(sandbox, "none"))
        return true;
    g_test_skip("takes root");
    return false;
}

static void test_notify(gconstpointer data)
{
    struct fixture f;
    char text[64];
    pid_t sender;

    if (!can_sandbox(data))
        return;
    set_up(&f);
    start(&f, data, "--log-level=warn");
    g_assert_true(receive(&f, text, sizeof(text), &sender));
    g_assert_cmpstr(text, ==, "READY=1");
    g_assert_cmpint(sender, ==, f.pid);
    g_assert_cmpint(access(f.path, F_OK), ==, 0);
    stop(&f);
    tear_down(&f);
}

/* In the words of the other daemons, once. */
static void test_line(gconstpointer data)
{
    g_autofree char *text = NULL, *rest = NULL;
    struct fixture f;

    if (!can_sandbox(data))
        return;
    set_up(&f);
    start(&f, data, NULL);
    text = read_until(f.out_fd, "Waiting for vhost-user socket connection");
    g_assert_nonnull(strstr(text, "Waiting for vhost-user socket connection"));
    stop(&f);
    rest = read_until(f.out_fd, NULL);
    g_assert_null(strstr(rest, "Waiting for"));
    tear_down(&f);
}

/* The command ends with 0 once the daemon is ready, and so do its output and error. */
static void test_daemonize(gconstpointer data)
{
    g_autofree char *text = NULL;
    struct fixture f;
    char message[64];
    pid_t daemon;
    int status;

    if (!can_sandbox(data))
        return;
    set_up(&f);
    start(&f, data, "--daemonize");
    g_assert_cmpint(waitpid(f.pid, &status, 0), ==, f.pid);
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpint(access(f.path, F_OK), ==, 0);
    text = read_until(f.out_fd, NULL);
    g_assert_cmpstr(text, ==, "");
    g_assert_true(receive(&f, message, sizeof(message), &daemon));
    g_assert_cmpint(kill(daemon, SIGTERM), ==, 0);
    for (int i = 0; i < READY_PATIENCE_MS / 10 && access(f.path, F_OK) == 0; i++)
        g_usleep(10000);
    g_assert_cmpint(access(f.path, F_OK), <, 0);
    tear_down(&f);
}

/* What goes wrong behind the command is still its own: message and status. */
static void test_daemonize_fails(void)
{
    g_autofree char *text = NULL;
    struct fixture f;
    int status;

    set_up(&f);
    start(&f, "none", "--daemonize");
    g_assert_cmpint(waitpid(f.pid, &status, 0), ==, f.pid);
    g_assert_cmpint(status, ==, 0);
    close(f.out_fd);
    start(&f, "none", "--daemonize"); /* the socket is taken */
    g_assert_cmpint(waitpid(f.pid, &status, 0), ==, f.pid);
    g_assert_true(WIFEXITED(status));
    g_assert_cmpint(WEXITSTATUS(status), ==, 1);
    text = read_until(f.out_fd, NULL);
    g_assert_nonnull(strstr(text, "another process is listening"));
    g_assert_true(receive(&f, (char[64]){0}, 64, &f.pid));
    g_assert_cmpint(kill(f.pid, SIGTERM), ==, 0);
    for (int i = 0; i < READY_PATIENCE_MS / 10 && access(f.path, F_OK) == 0; i++)
        g_usleep(10000);
    tear_down(&f);
}

/* The end of a terminal ends the daemon in order, unless it was started to outlive that. */
static void test_hangup(gconstpointer data)
{
    struct fixture f;
    char text[64];
    int status;

    if (!can_sandbox(data))
        return;
    for (int ignored = 0; ignored <= 1; ignored++) {
        set_up(&f);
        signal(SIGHUP, ignored ? SIG_IGN : SIG_DFL);
        start(&f, data, "--log-level=warn");
        signal(SIGHUP, SIG_DFL);
        g_assert_true(receive(&f, text, sizeof(text), &(pid_t){0}));
        g_assert_cmpint(kill(f.pid, SIGHUP), ==, 0);
        if (ignored) {
            g_usleep(100000);
            g_assert_cmpint(waitpid(f.pid, &status, WNOHANG), ==, 0);
            stop(&f);
        } else {
            g_assert_cmpint(waitpid(f.pid, &status, 0), ==, f.pid);
            g_assert_cmpint(status, ==, 0);
        }
        g_assert_cmpint(access(f.path, F_OK), <, 0);
        tear_down(&f);
    }
}

static void add(const char *name, GTestDataFunc test)
{
    for (size_t i = 0; i < G_N_ELEMENTS(sandboxes); i++) {
        g_autofree char *path = g_strdup_printf("/ready/%s/%s", name, sandboxes[i]);

        g_test_add_data_func(path, sandboxes[i], test);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    add("notify", test_notify);
    add("line", test_line);
    add("daemonize", test_daemonize);
    add("hangup", test_hangup);
    g_test_add_func("/ready/daemonize/fails", test_daemonize_fails);
    return g_test_run();
}
