/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process may map no more than its own id by itself. Ranges are written for it by a helper that
 * stays in the namespace outside: directly where it is root, else by the setuid programs newuidmap
 * and newgidmap, which know what /etc/subuid and /etc/subgid grant to a user.
 */
#include "vhost-user/daemon/id-map.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/options.h"

static bool id_map_fail(GError **error, int err, const char *what)
{
    g_set_error(error, VU_OPTION_ERROR, err, "%s: %s", what, g_strerror(err));
    return false;
}

/* A number and the separator behind it. False where there is none. */
static bool id_map_read_number(const char **at, char separator, uint32_t *ret_number)
{
    char *end = NULL;
    guint64 number = g_ascii_strtoull(*at, &end, 10);

    if (!g_ascii_isdigit(**at) || *end != separator || number > UINT32_MAX)
        return false;
    *at = end + 1;
    *ret_number = (uint32_t)number;
    return true;
}

bool vu_id_map_add(struct vu_id_map *map, const char *text, GError **error)
{
    const char *at = text + 1;
    struct vu_id_range range;

    if (*text == '\0' || g_ascii_isdigit(*text) || !id_map_read_number(&at, *text, &range.inside) ||
        !id_map_read_number(&at, *text, &range.outside) ||
        !id_map_read_number(&at, *text, &range.count) || *at != '\0' || range.count == 0 ||
        range.inside > UINT32_MAX - range.count || range.outside > UINT32_MAX - range.count) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected :INSIDE:OUTSIDE:COUNT:, got \"%s\"", text);
        return false;
    }
    if (map->n_ranges == VU_ID_MAP_MAX_RANGES) {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected at most %d ranges", VU_ID_MAP_MAX_RANGES);
        return false;
    }
    map->ranges = g_renew(struct vu_id_range, map->ranges, map->n_ranges + 1);
    map->ranges[map->n_ranges++] = range;
    return true;
}

void vu_id_map_clear(struct vu_id_map *map)
{
    g_clear_pointer(&map->ranges, g_free);
    map->n_ranges = 0;
}

bool vu_id_map_has(const struct vu_id_map *map, uint32_t inside)
{
    for (unsigned i = 0; i < map->n_ranges; i++)
        if (inside >= map->ranges[i].inside &&
            inside - map->ranges[i].inside < map->ranges[i].count)
            return true;
    return false;
}

/* Writes a file below /proc/PID in one call, as the kernel wants it. 0 or -errno. */
static int id_map_write(pid_t pid, const char *file, const char *text)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", pid, file);
    vu_autofd int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* Runs `program PID INSIDE OUTSIDE COUNT ...`. False with *error. */
static bool id_map_run(const char *program, pid_t pid, const struct vu_id_map *map, GError **error)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *message = NULL;
    int status;

    g_ptr_array_add(argv, g_strdup(program));
    g_ptr_array_add(argv, g_strdup_printf("%d", pid));
    for (unsigned i = 0; i < map->n_ranges; i++) {
        g_ptr_array_add(argv, g_strdup_printf("%u", map->ranges[i].inside));
        g_ptr_array_add(argv, g_strdup_printf("%u", map->ranges[i].outside));
        g_ptr_array_add(argv, g_strdup_printf("%u", map->ranges[i].count));
    }
    g_ptr_array_add(argv, NULL);
    if (!g_spawn_sync(NULL, (char **)argv->pdata, NULL,
                      G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &message,
                      &status, error)) {
        g_prefix_error(error, "%s (Debian's package uidmap has it): ", program);
        return false;
    }
    if (status != 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "%s refused: %s", program, g_strstrip(message));
    return status == 0;
}

/* From outside: gives process `pid` the ranges of one kind of id. */
static bool id_map_give(pid_t pid, const char *file, const char *program,
                        const struct vu_id_map *map, GError **error)
{
    g_autoptr(GString) text = g_string_new(NULL);
    int ret;

    for (unsigned i = 0; i < map->n_ranges; i++)
        g_string_append_printf(text, "%u %u %u\n", map->ranges[i].inside, map->ranges[i].outside,
                               map->ranges[i].count);
    ret = id_map_write(pid, file, text->str);
    if (ret == 0)
        return true;
    if (ret != -EPERM && ret != -EACCES)
        return id_map_fail(error, -ret, file);
    return id_map_run(program, pid, map, error);
}

/* From inside: this process's own id, which stays the same. */
static bool id_map_take_own(const char *file, uint32_t id, GError **error)
{
    g_autofree char *text = g_strdup_printf("%u %u 1\n", id, id);
    int ret = id_map_write(getpid(), file, text);

    return ret == 0 || id_map_fail(error, -ret, file);
}

/*
 * The helper, with its end of a socket: waits until the other process has unshared, gives it its
 * ranges, and says what went wrong, or nothing.
 */
static void id_map_help(pid_t pid, int fd, const struct vu_id_map *uids,
                        const struct vu_id_map *gids)
{
    g_autoptr(GError) error = NULL;
    char byte;

    if (read(fd, &byte, 1) != 1)
        _exit(EXIT_SUCCESS);
    if ((uids->n_ranges > 0 && !id_map_give(pid, "uid_map", "newuidmap", uids, &error)) ||
        (gids->n_ranges > 0 && !id_map_give(pid, "gid_map", "newgidmap", gids, &error)))
        (void)!write(fd, error->message, strlen(error->message));
    _exit(EXIT_SUCCESS);
}

/* Starts the helper. *ret_fd is our end of the socket. */
static bool id_map_start_helper(const struct vu_id_map *uids, const struct vu_id_map *gids,
                                pid_t *ret_pid, int *ret_fd, GError **error)
{
    pid_t own = getpid();
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return id_map_fail(error, errno, "socketpair");
    *ret_pid = fork();
    if (*ret_pid == 0) {
        close(fds[1]);
        id_map_help(own, fds[0], uids, gids);
    }
    close(fds[0]);
    *ret_fd = fds[1];
    if (*ret_pid < 0) {
        close(fds[1]);
        return id_map_fail(error, errno, "fork");
    }
    return true;
}

/* Lets the helper work, reads what it says, and waits for its end. */
static bool id_map_finish_helper(pid_t pid, int fd, GError **error)
{
    char text[512];
    ssize_t len = -1;

    if (write(fd, "", 1) == 1)
        len = read(fd, text, sizeof(text));
    close(fd);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    if (len != 0)
        g_set_error(error, VU_OPTION_ERROR, 0, "user namespace: %.*s", (int)MAX(len, 0), text);
    return len == 0;
}

bool vu_id_map_unshare(int flags, const struct vu_id_map *uids, const struct vu_id_map *gids,
                       GError **error)
{
    bool helped = uids->n_ranges > 0 || gids->n_ranges > 0;
    uid_t uid = geteuid();
    gid_t gid = getegid();
    pid_t helper = -1;
    int fd = -1;

    if (helped && !id_map_start_helper(uids, gids, &helper, &fd, error))
        return false;
    if (unshare(CLONE_NEWUSER | flags) < 0) {
        int err = errno;

        vu_clear_fd(&fd);
        if (helped)
            waitpid(helper, NULL, 0);
        return id_map_fail(error, err, "unshare");
    }
    if (helped && !id_map_finish_helper(helper, fd, error))
        return false;
    if (uids->n_ranges == 0 && !id_map_take_own("uid_map", uid, error))
        return false;
    if (gids->n_ranges > 0)
        return true;
    /* Whoever maps no more than its own group must not be able to leave one that denies it
     * something. */
    id_map_write(getpid(), "setgroups", "deny");
    return id_map_take_own("gid_map", gid, error);
}
