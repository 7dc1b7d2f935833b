/* SPDX-License-Identifier: Apache-2.0 */
/* See blk-guest.h. */
#include "blk-guest.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/wire.h"

#define GUEST_PATIENCE_MS    30000
#define GUEST_MAX_SG         24
#define GUEST_HEADER         16u
#define GUEST_MAX_RECONNECTS 100

/* --- the daemon --- */

static void guest_exec(const struct blk_guest *guest)
{
    const char *program = g_getenv("VBLKD");
    g_autofree char *socket = g_strconcat("--socket-path=", guest->socket, NULL);
    g_autofree char *image = g_strconcat("--blk-file=", guest->image, NULL);
    g_autofree char *control = g_strconcat("--control=", guest->control, NULL);
    g_auto(GStrv) words = g_strsplit(guest->setup.options ? guest->setup.options : "", " ", -1);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    const char *const fixed[] = {program, socket, image, "--log-level=error"};

    for (size_t i = 0; i < G_N_ELEMENTS(fixed); i++)
        g_ptr_array_add(argv, (gpointer)(uintptr_t)fixed[i]);
    for (char **word = words; *word; word++)
        if (**word)
            g_ptr_array_add(argv, *word);
    if (guest->setup.control)
        g_ptr_array_add(argv, control);
    g_ptr_array_add(argv, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(program, (char **)argv->pdata);
    _exit(99);
}

static void guest_start_daemon(struct blk_guest *guest)
{
    guest->pid = fork();
    g_assert_cmpint(guest->pid, >=, 0);
    if (guest->pid == 0)
        guest_exec(guest);
}

int blk_guest_run(const char *format, ...)
{
    g_autofree char *line = NULL;
    g_auto(GStrv) argv = NULL;
    int status = -1;
    va_list args;

    va_start(args, format);
    line = g_strdup_vprintf(format, args);
    va_end(args);
    argv = g_strsplit(line, " ", -1);
    g_assert_true(
        g_spawn_sync(NULL, argv, NULL,
                     G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL,
                     NULL, NULL, NULL, NULL, &status, NULL));
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void guest_make_image(struct blk_guest *guest)
{
    int fd;

    guest->dir = g_dir_make_tmp("blk-guest-XXXXXX", NULL);
    guest->image = guest->setup.path ? g_strdup(guest->setup.path)
                                     : g_build_filename(guest->dir, "image", NULL);
    guest->socket = g_build_filename(guest->dir, "socket", NULL);
    guest->control = g_build_filename(guest->dir, "control", NULL);
    guest->journal = g_strconcat(guest->socket, ".journal", NULL);
    if (guest->setup.no_journal)
        g_assert_cmpint(g_mkdir(guest->journal, 0700), ==, 0);
    if (guest->setup.path)
        return;
    if (guest->setup.qcow2) {
        g_assert_cmpint(blk_guest_run("qemu-img create -q -f qcow2 -o %s %s %" G_GUINT64_FORMAT,
                                      guest->setup.qcow2, guest->image, guest->setup.image_len),
                        ==, 0);
        return;
    }
    fd = g_open(guest->image, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(ftruncate(fd, (off_t)guest->setup.image_len), ==, 0);
    close(fd);
}

/* --- the session --- */

static void guest_start_queues(struct blk_guest *guest)
{
    for (unsigned i = 0; i < guest->setup.n_queues; i++) {
        const struct vu_driver_config config = {
            .index = i,
            .num = guest->setup.n_entries ? guest->setup.n_entries : BLK_GUEST_RING,
            .features = guest->features,
            .indirect_max = guest->setup.n_entries ? guest->setup.n_entries : GUEST_MAX_SG * 2,
        };

        g_assert_cmpint(vu_driver_create(&guest->shmem, &config, &guest->queues[i]), ==, 0);
        g_assert_cmpint(vu_frontend_start_driver(guest->frontend, guest->queues[i]), ==, 0);
    }
}

/* False where the daemon has ended instead of serving. */
static bool guest_connect(struct blk_guest *guest)
{
    const struct vu_frontend_config config = {
        .name = "guest",
        .features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES) | guest->setup.features,
        .required_features = guest->setup.features,
        .protocol_features = VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_CONFIG) |
                             VU_BIT(VU_PF_INFLIGHT_SHMFD),
        .reply_timeout_ms = GUEST_PATIENCE_MS,
    };

    vu_shmem_init(&guest->shmem);
    g_assert_cmpint(vu_shmem_add(&guest->shmem, 0x100000, 96 << 20), ==, 0);
    guest->frontend = vu_frontend_create(&config);
    while (vu_frontend_connect(guest->frontend, guest->socket, 100) < 0) {
        int ended = waitpid(guest->pid, NULL, WNOHANG);

        g_assert_cmpint(ended, >=, 0);
        if (ended > 0)
            return false;
    }
    guest->features = vu_frontend_features(guest->frontend);
    g_assert_cmpint(vu_frontend_set_features(guest->frontend, guest->features), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(guest->frontend, &guest->shmem), ==, 0);
    if (guest->setup.inflight)
        g_assert_cmpint(
            vu_frontend_setup_inflight(guest->frontend, guest->setup.n_queues, BLK_GUEST_RING), ==,
            0);
    guest_start_queues(guest);
    return true;
}

static void guest_disconnect(struct blk_guest *guest)
{
    vu_frontend_destroy(guest->frontend);
    for (unsigned i = 0; i < BLK_GUEST_MAX_QUEUES; i++)
        g_clear_pointer(&guest->queues[i], vu_driver_destroy);
    vu_shmem_clear(&guest->shmem);
}

bool blk_guest_start(struct blk_guest *guest, const struct blk_guest_setup *setup)
{
    g_autofree char *qemu_img = g_find_program_in_path("qemu-img");

    if (setup->qcow2 && !qemu_img) {
        g_test_skip("qemu-img is missing");
        return false;
    }
    *guest = (struct blk_guest){.setup = *setup};
    guest->rand = g_rand_new_with_seed((guint32)g_test_rand_int());
    guest_make_image(guest);
    guest_start_daemon(guest);
    if (!guest_connect(guest)) {
        guest_disconnect(guest);
        blk_guest_clear(guest);
        g_test_skip("the daemon does not start like this here");
        return false;
    }
    blk_guest_slot_init(guest, &guest->call);
    return true;
}

void blk_guest_stop(struct blk_guest *guest)
{
    int status;

    guest_disconnect(guest);
    g_assert_cmpint(kill(guest->pid, SIGTERM), ==, 0);
    g_assert_cmpint(waitpid(guest->pid, &status, 0), ==, guest->pid);
    g_assert_cmpint(status, ==, 0);
}

int blk_guest_terminate(struct blk_guest *guest)
{
    int status;

    g_assert_cmpint(kill(guest->pid, SIGTERM), ==, 0);
    for (unsigned i = 0; waitpid(guest->pid, &status, WNOHANG) != guest->pid; i++) {
        g_assert_cmpuint(i, <, GUEST_PATIENCE_MS / 10);
        g_usleep(10000);
    }
    guest_disconnect(guest);
    g_assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

uint8_t *blk_guest_read_image(struct blk_guest *guest, bool may_leak)
{
    g_autofree char *raw = g_strconcat(guest->image, ".raw", NULL);
    char *contents;
    gsize len;
    int status;

    if (guest->setup.qcow2) {
        status = blk_guest_run("qemu-img check -q -f qcow2 %s", guest->image);
        g_assert_true(status == 0 || (status == 3 && may_leak));
        g_assert_cmpint(blk_guest_run("qemu-img convert -f qcow2 -O raw %s %s", guest->image, raw),
                        ==, 0);
    }
    g_assert_true(
        g_file_get_contents(guest->setup.qcow2 ? raw : guest->image, &contents, &len, NULL));
    g_assert_cmpuint(len, ==, guest->setup.image_len);
    g_unlink(raw);
    return (uint8_t *)contents;
}

void blk_guest_clear(struct blk_guest *guest)
{
    g_autofree char *choice = g_strconcat(guest->socket, ".guest", NULL);

    g_unlink(choice);
    g_unlink(guest->socket);
    if (!guest->setup.path)
        g_unlink(guest->image);
    g_unlink(guest->control);
    if (guest->setup.no_journal)
        g_rmdir(guest->journal);
    g_rmdir(guest->dir);
    g_free(guest->journal);
    g_free(guest->socket);
    g_free(guest->control);
    g_free(guest->image);
    g_free(guest->dir);
    g_rand_free(guest->rand);
}

/* Another connection may still be to the one that was killed, whose inside has yet to die. */
static void guest_reconnect(struct blk_guest *guest)
{
    int ret = vu_frontend_reconnect(guest->frontend, guest->socket, GUEST_PATIENCE_MS);

    for (int i = 0; i < GUEST_MAX_RECONNECTS && (ret == -ECONNRESET || ret == -EPIPE); i++)
        ret = vu_frontend_reconnect(guest->frontend, guest->socket, GUEST_PATIENCE_MS);
    g_assert_cmpint(ret, ==, 0);
}

static void guest_kill_daemon(struct blk_guest *guest)
{
    g_assert_cmpint(kill(guest->pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(guest->pid, NULL, 0), ==, guest->pid);
}

void blk_guest_start_again(struct blk_guest *guest)
{
    guest_start_daemon(guest);
    g_assert_true(guest_connect(guest));
    blk_guest_slot_init(guest, &guest->call);
}

void blk_guest_replace(struct blk_guest *guest)
{
    guest_kill_daemon(guest);
    guest_disconnect(guest);
    blk_guest_start_again(guest);
}

void blk_guest_restart(struct blk_guest *guest)
{
    guest_kill_daemon(guest);
    guest_start_daemon(guest);
    guest_reconnect(guest);
    for (unsigned i = 0; i < guest->setup.n_queues; i++)
        vu_driver_force_kick(guest->queues[i]);
}

/* --- requests --- */

void blk_guest_slot_init(struct blk_guest *guest, struct blk_guest_slot *slot)
{
    *slot = (struct blk_guest_slot){0};
    slot->out = vu_shmem_alloc(&guest->shmem, BLK_GUEST_MAX_DATA + 4096, 4096, &slot->out_gpa);
    slot->in = vu_shmem_alloc(&guest->shmem, BLK_GUEST_MAX_DATA + 4096, 4096, &slot->in_gpa);
    g_assert_true(slot->out && slot->in);
}

void blk_guest_fill(struct blk_guest_slot *slot, uint32_t type, uint64_t sector, uint32_t data_out,
                    uint32_t data_in)
{
    le32_t words[2] = {le32_from(type), le32_from(0)};
    le64_t place = le64_from(sector);

    memcpy(slot->out, words, sizeof(words));
    memcpy(slot->out + sizeof(words), &place, sizeof(place));
    slot->out_len = GUEST_HEADER + data_out;
    slot->in_len = data_in + 1;
    slot->in[data_in] = 0xff;
    slot->type = type;
}

/* Cuts [gpa, gpa + len) into up to `max` ranges. */
static unsigned guest_cut(struct blk_guest *guest, uint64_t gpa, uint32_t len, struct vu_sg *ret_sg,
                          unsigned max)
{
    unsigned n = 0;

    while (len > 0) {
        uint32_t piece = len;

        if (n + 1 < max && len > 1 && g_rand_int_range(guest->rand, 0, 4) > 0)
            piece = (uint32_t)g_rand_int_range(guest->rand, 1, (gint32)MIN(len, 5000));
        ret_sg[n++] = (struct vu_sg){.gpa = gpa, .len = piece};
        gpa += piece;
        len -= piece;
    }
    return n;
}

bool blk_guest_add(struct blk_guest *guest, unsigned queue, struct blk_guest_slot *slot)
{
    struct vu_sg sg[2 * GUEST_MAX_SG];
    unsigned n_out = guest_cut(guest, slot->out_gpa, slot->out_len, sg, GUEST_MAX_SG);
    unsigned n_in = guest_cut(guest, slot->in_gpa, slot->in_len, sg + n_out, GUEST_MAX_SG);
    int err = vu_driver_add(guest->queues[queue], sg, n_out, n_in, slot);

    if (err == -ENOSPC)
        return false;
    g_assert_cmpint(err, ==, 0);
    slot->in_flight = true;
    return true;
}

struct blk_guest_slot *blk_guest_try_take(struct blk_guest *guest, unsigned queue)
{
    struct vu_driver_used used;
    struct blk_guest_slot *slot;
    int n = vu_driver_harvest(guest->queues[queue], &used, 1);

    g_assert_cmpint(n, >=, 0);
    if (n == 0)
        return NULL;
    slot = used.token;
    g_assert_true(slot->in_flight);
    g_assert_cmpuint(used.len, ==, slot->in_len);
    slot->in_flight = false;
    return slot;
}

struct blk_guest_slot *blk_guest_take(struct blk_guest *guest, unsigned queue)
{
    struct vu_driver *driver = guest->queues[queue];
    struct pollfd fd = {.fd = driver->call_fd, .events = POLLIN};
    struct blk_guest_slot *slot;

    while (!(slot = blk_guest_try_take(guest, queue))) {
        if (vu_driver_arm_call(driver))
            continue;
        g_assert_cmpint(poll(&fd, 1, GUEST_PATIENCE_MS), ==, 1);
        vu_driver_clear_call(driver);
    }
    return slot;
}

uint8_t blk_guest_status(const struct blk_guest_slot *slot)
{
    return slot->in[slot->in_len - 1];
}

uint8_t blk_guest_call(struct blk_guest *guest, uint32_t type, uint64_t sector, const void *data,
                       uint32_t data_out, uint32_t data_in)
{
    struct blk_guest_slot *slot = &guest->call;

    blk_guest_fill(slot, type, sector, data_out, data_in);
    if (data_out > 0)
        memcpy(slot->out + GUEST_HEADER, data, data_out);
    g_assert_true(blk_guest_add(guest, 0, slot));
    vu_driver_kick(guest->queues[0]);
    g_assert_true(blk_guest_take(guest, 0) == slot);
    return blk_guest_status(slot);
}
