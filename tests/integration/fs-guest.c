/* SPDX-License-Identifier: Apache-2.0 */
/* See fs-guest.h: the daemon, the connection, and what must hold after every test. */
#include "fs-guest.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/log.h"

#define GUEST_PATIENCE_MS 20000
#define GUEST_QUEUE       1

static const struct fs_guest_mode guest_modes[] = {
    {"namespace", "--sandbox=namespace", 0},
    {"chroot", "--sandbox=chroot", 0},
    {"none", "--sandbox=none", 0},
    {"user", "--sandbox=namespace", FS_GUEST_NOBODY},
};

struct guest_case {
    const struct fs_guest_mode *mode;
    const char *options; /* with a space between them; may be NULL */
    fs_guest_test test;
    const char *line; /* else NULL: the whole command line */
};

/* --- the host's side --- */

static void guest_make_folders(struct fs_guest *guest)
{
    unsigned uid = guest->mode->uid;
    g_autofree char *secret = NULL;

    guest->top = g_dir_make_tmp("fs-guest-XXXXXX", NULL);
    guest->share = g_build_filename(guest->top, "share", NULL);
    guest->outside = g_build_filename(guest->top, "outside", NULL);
    guest->socket = g_build_filename(guest->top, "socket", NULL);
    secret = g_build_filename(guest->outside, "secret", NULL);
    g_assert_cmpint(chmod(guest->top, 0777), ==, 0);
    g_assert_cmpint(g_mkdir(guest->share, 0777), ==, 0);
    g_assert_cmpint(g_mkdir(guest->outside, 0777), ==, 0);
    g_assert_true(g_file_set_contents(secret, FS_GUEST_SECRET, -1, NULL));
    g_assert_cmpint(chmod(secret, 0666), ==, 0);
    if (uid != 0)
        g_assert_cmpint(chown(guest->share, uid, uid) | chown(guest->outside, uid, uid) |
                            chown(secret, uid, uid),
                        ==, 0);
}

static int guest_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void guest_check_outside(const struct fs_guest *guest)
{
    g_autofree char *secret = g_build_filename(guest->outside, "secret", NULL), *text = NULL;
    g_autoptr(GDir) dir = g_dir_open(guest->outside, 0, NULL);
    struct stat st;

    g_assert_true(g_file_get_contents(secret, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, FS_GUEST_SECRET);
    g_assert_cmpint(stat(secret, &st), ==, 0);
    g_assert_cmphex(st.st_mode, ==, S_IFREG | 0666);
    g_assert_cmpuint(st.st_nlink, ==, 1);
    g_assert_cmpuint(st.st_uid, ==, guest->mode->uid ? guest->mode->uid : geteuid());
    g_assert_cmpstr(g_dir_read_name(dir), ==, "secret");
    g_assert_null(g_dir_read_name(dir));
}

static void guest_exec(const struct fs_guest *guest, const char *options)
{
    const char *program = g_getenv("VIRTIOFSD");
    g_autofree char *socket = g_strconcat("--socket-path=", guest->socket, NULL);
    g_autofree char *share = g_strconcat("--shared-dir=", guest->share, NULL);
    g_auto(GStrv) words = g_strsplit(options ? options : "", " ", -1);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    const char *const fixed[] = {program, socket, share, guest->mode->sandbox, "--log-level=error"};
    unsigned uid = guest->mode->uid;

    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++)
        g_ptr_array_add(argv, (gpointer)(uintptr_t)fixed[i]);
    for (char **word = words; *word; word++)
        g_ptr_array_add(argv, *word);
    g_ptr_array_add(argv, NULL);
    if (uid != 0 && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
        _exit(98);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of ids takes it back */
    execv(program, (char **)argv->pdata);
    _exit(99);
}

static bool guest_line_has_fd(const char *line)
{
    return line && strstr(line, "--fd") != NULL;
}

/* As a front-end starts it, which has made the socket itself where it passes one on. */
static void guest_exec_line(const struct fs_guest *guest, const char *line, int listen_fd)
{
    g_autoptr(GString) text = g_string_new(line);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_autofree char *pid = g_strdup_printf("%d", getpid());
    const char *program = g_getenv("VIRTIOFSD");
    char **words;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    g_string_replace(text, "%s", guest->socket, 0);
    g_string_replace(text, "%d", guest->share, 0);
    words = g_strsplit(text->str, " ", -1);
    for (; (*words)[0] != '-'; words++) {
        g_auto(GStrv) parts = g_strsplit(*words, "=", 2);

        g_setenv(parts[0], parts[1], TRUE);
        g_setenv("LISTEN_PID", pid, TRUE);
    }
    g_ptr_array_add(argv, (gpointer)(uintptr_t)program);
    for (; *words; words++)
        g_ptr_array_add(argv, *words);
    g_ptr_array_add(argv, NULL);
    if (listen_fd == 3)
        fcntl(3, F_SETFD, 0);
    else if (listen_fd >= 0)
        dup2(listen_fd, 3);
    execv(program, (char **)argv->pdata);
    _exit(99);
}

static int guest_listen(const struct fs_guest *guest)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, guest->socket, sizeof(address.sun_path));
    g_assert_cmpint(bind(fd, (const struct sockaddr *)&address, sizeof(address)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

static void guest_start_daemon(struct fs_guest *guest, const struct guest_case *one)
{
    int listen_fd = guest_line_has_fd(one->line) ? guest_listen(guest) : -1;

    guest->pid = fork();
    g_assert_cmpint(guest->pid, >=, 0);
    if (guest->pid == 0 && one->line)
        guest_exec_line(guest, one->line, listen_fd);
    else if (guest->pid == 0)
        guest_exec(guest, one->options);
    if (listen_fd >= 0)
        close(listen_fd);
}

static void guest_stop_daemon(struct fs_guest *guest, const struct guest_case *one)
{
    int status;

    if (guest_line_has_fd(one->line))
        g_assert_cmpint(unlink(guest->socket), ==, 0); /* it is the front-end's */

    g_assert_cmpint(kill(guest->pid, SIGTERM), ==, 0);
    g_assert_cmpint(waitpid(guest->pid, &status, 0), ==, guest->pid);
    g_assert_cmpint(status, ==, 0);
    g_assert_cmpint(access(guest->socket, F_OK), <, 0);
}

/* --- the connection --- */

static bool guest_has_successors(const struct fs_guest *guest)
{
    return guest->how->line && strstr(guest->how->line, "--state") != NULL;
}

/* False where the daemon has ended instead of serving. */
static bool guest_connect(struct fs_guest *guest)
{
    const struct vu_frontend_config config = {
        .name = "guest",
        .features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES),
        .protocol_features = VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_MQ) |
                             (guest_has_successors(guest) ? VU_BIT(VU_PF_INFLIGHT_SHMFD) : 0),
    };
    struct vu_driver_config queue = {.index = GUEST_QUEUE, .num = 64};

    vu_shmem_init(&guest->shmem);
    g_assert_cmpint(vu_shmem_add(&guest->shmem, 0, 1 << 20), ==, 0);
    guest->out = vu_shmem_alloc(&guest->shmem, FS_GUEST_BUF, 4096, &guest->out_gpa);
    guest->in = vu_shmem_alloc(&guest->shmem, FS_GUEST_BUF, 4096, &guest->in_gpa);
    guest->frontend = vu_frontend_create(&config);
    while (vu_frontend_connect(guest->frontend, guest->socket, 100) < 0) {
        int ended = waitpid(guest->pid, NULL, WNOHANG);

        g_assert_cmpint(ended, >=, 0);
        if (ended > 0)
            return false;
    }
    queue.features = vu_frontend_features(guest->frontend);
    g_assert_cmpint(vu_frontend_set_features(guest->frontend, queue.features), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(guest->frontend, &guest->shmem), ==, 0);
    if (guest_has_successors(guest))
        g_assert_cmpint(vu_frontend_setup_inflight(guest->frontend, 1 + GUEST_QUEUE, queue.num), ==,
                        0);
    g_assert_cmpint(vu_driver_create(&guest->shmem, &queue, &guest->queue), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(guest->frontend, guest->queue), ==, 0);
    return true;
}

void fs_guest_succeed(struct fs_guest *guest, int signal)
{
    g_assert_cmpint(kill(guest->pid, signal), ==, 0);
    g_assert_cmpint(waitpid(guest->pid, NULL, 0), ==, guest->pid);
    guest_start_daemon(guest, guest->how);
    while (vu_frontend_reconnect(guest->frontend, guest->socket, 100) < 0)
        g_assert_cmpint(waitpid(guest->pid, NULL, WNOHANG), ==, 0);
    vu_driver_force_kick(guest->queue);
}

static void guest_disconnect(struct fs_guest *guest)
{
    vu_frontend_destroy(guest->frontend);
    vu_driver_destroy(guest->queue);
    vu_shmem_clear(&guest->shmem);
}

void fs_guest_reconnect(struct fs_guest *guest)
{
    guest_disconnect(guest);
    guest->queue = NULL;
    g_assert_true(guest_connect(guest));
}

uint32_t fs_guest_send(struct fs_guest *guest, uint32_t out_len, uint32_t in_len)
{
    const struct vu_sg sg[] = {{guest->out_gpa, out_len}, {guest->in_gpa, in_len}};
    struct pollfd fd = {.fd = guest->queue->call_fd, .events = POLLIN};
    struct vu_driver_used used = {NULL, 0};
    int n;

    g_assert_cmpint(vu_driver_add(guest->queue, sg, 1, in_len > 0, guest), ==, 0);
    vu_driver_kick(guest->queue);
    while ((n = vu_driver_harvest(guest->queue, &used, 1)) == 0) {
        if (vu_driver_arm_call(guest->queue))
            continue;
        g_assert_cmpint(poll(&fd, 1, GUEST_PATIENCE_MS), ==, 1);
        vu_driver_clear_call(guest->queue);
    }
    g_assert_cmpint(n, ==, 1);
    return used.len;
}

int fs_guest_call(struct fs_guest *guest, const struct fs_guest_call *call)
{
    struct fuse_in_header header = {
        .len = (uint32_t)(sizeof(header) + call->args_len + call->names_len),
        .opcode = call->opcode,
        .unique = guest->unique += 2,
        .nodeid = call->nodeid,
        .uid = guest->uid,
        .gid = guest->uid,
        .pid = 1,
    };
    struct fuse_out_header reply;
    uint32_t len;

    memcpy(guest->out, &header, sizeof(header));
    if (call->args_len > 0)
        memcpy(guest->out + sizeof(header), call->args, call->args_len);
    if (call->names_len > 0)
        memcpy(guest->out + sizeof(header) + call->args_len, call->names, call->names_len);
    len = fs_guest_send(guest, header.len, (uint32_t)(sizeof(reply) + call->room));
    g_assert_cmpuint(len, >=, sizeof(reply));
    memcpy(&reply, guest->in, sizeof(reply));
    g_assert_cmpuint(reply.len, ==, len);
    g_assert_cmpuint(reply.unique, ==, header.unique);
    g_assert_cmpint(reply.error, <=, 0);
    if (reply.error < 0)
        return reply.error;
    if (call->reply)
        memcpy(call->reply, guest->in + sizeof(reply), len - sizeof(reply));
    return (int)(len - sizeof(reply));
}

/* --- tests --- */

static void guest_run(gconstpointer data)
{
    const struct guest_case *one = data;
    struct fs_guest guest = {.mode = one->mode, .how = one};
    struct fuse_attr_out attr;
    struct fuse_getattr_in in = {.getattr_flags = 0};
    const struct fs_guest_call still_there = {.opcode = FUSE_GETATTR,
                                              .nodeid = FUSE_ROOT_ID,
                                              .args = &in,
                                              .args_len = sizeof(in),
                                              .reply = &attr,
                                              .room = sizeof(attr)};

    if (one->mode->uid != 0 && geteuid() != 0) {
        g_test_skip("takes root, to be somebody else");
        return;
    }
    guest_make_folders(&guest);
    guest_start_daemon(&guest, one);
    if (guest_connect(&guest)) {
        one->test(&guest);
        /* It lives, and serves the next guest. */
        fs_guest_reconnect(&guest);
        g_assert_cmpint(fs_guest_init(&guest), ==, 0);
        g_assert_cmpint(fs_guest_call(&guest, &still_there), ==, sizeof(attr));
        guest_disconnect(&guest);
        guest_stop_daemon(&guest, one);
        guest_check_outside(&guest);
    } else if (g_str_equal(one->mode->sandbox, "--sandbox=none")) {
        g_error("the daemon does not start");
    } else {
        guest_disconnect(&guest);
        g_test_skip("the daemon cannot be isolated like this here");
    }
    nftw(guest.top, guest_remove, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    g_free(guest.top);
    g_free(guest.share);
    g_free(guest.outside);
    g_free(guest.socket);
}

void fs_guest_add_with(const char *suite, const char *options, fs_guest_test test)
{
    for (size_t i = 0; i < G_N_ELEMENTS(guest_modes); i++) {
        struct guest_case *one = g_new(struct guest_case, 1);
        g_autofree char *path = g_strdup_printf("/%s/%s", suite, guest_modes[i].name);

        *one = (struct guest_case){&guest_modes[i], options, test, NULL};
        g_test_add_data_func_full(path, one, guest_run, g_free);
    }
}

void fs_guest_add(const char *suite, fs_guest_test test)
{
    fs_guest_add_with(suite, NULL, test);
}

void fs_guest_add_line(const char *name, const char *line, fs_guest_test test)
{
    const struct fs_guest_mode *mode = &guest_modes[strstr(line, "none") ? 2 : 0];
    struct guest_case *one = g_new(struct guest_case, 1);
    g_autofree char *path = g_strdup_printf("/front-ends/%s", name);

    *one = (struct guest_case){mode, NULL, test, line};
    g_test_add_data_func_full(path, one, guest_run, g_free);
}
