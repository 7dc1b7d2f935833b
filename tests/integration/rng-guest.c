/* SPDX-License-Identifier: Apache-2.0 */
/* See rng-guest.h. */
#include "rng-guest.h"

#include "blk-control.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUEST_MAX_SG         RNG_GUEST_RING
#define GUEST_GPA            0x100000
#define GUEST_MEMORY         (64u << 20)
#define GUEST_PATTERN        0xa5
#define GUEST_MAX_RECONNECTS 100

/* --- the daemon --- */

static void guest_exec(const struct rng_guest *guest)
{
    g_auto(GStrv) words = g_strsplit(guest->setup.options ? guest->setup.options : "", " ", -1);
    GPtrArray *argv = g_ptr_array_new();
    int log = open(guest->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    g_ptr_array_add(argv, g_strdup(g_getenv("VRNGD")));
    for (unsigned i = 0; i < guest->setup.n_devices; i++)
        g_ptr_array_add(argv, g_strconcat("--socket-path=", guest->devices[i].socket, NULL));
    g_ptr_array_add(argv, g_strconcat("--control=", guest->control, NULL));
    for (char **word = words; *word; word++)
        if (**word)
            g_ptr_array_add(argv, *word);
    g_ptr_array_add(argv, NULL);
    dup2(log, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(argv->pdata[0], (char **)argv->pdata);
    _exit(99);
}

static void guest_start_daemon(struct rng_guest *guest)
{
    guest->pid = fork();
    g_assert_cmpint(guest->pid, >=, 0);
    if (guest->pid == 0)
        guest_exec(guest);
}

/* --- sessions --- */

static void guest_add_memory(const struct rng_guest *guest, struct rng_guest_device *device)
{
    int fd;

    if (!guest->setup.unsealed) {
        g_assert_cmpint(vu_shmem_add(&device->shmem, GUEST_GPA, GUEST_MEMORY), ==, 0);
        return;
    }
    fd = memfd_create("guest", MFD_CLOEXEC);
    g_assert_cmpint(ftruncate(fd, GUEST_MEMORY), ==, 0);
    g_assert_cmpint(vu_shmem_add_fd(&device->shmem, GUEST_GPA, GUEST_MEMORY, fd, 0), ==, 0);
}

static bool guest_connect(struct rng_guest *guest, struct rng_guest_device *device)
{
    const struct vu_frontend_config config = {
        .name = "guest",
        .features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES) | guest->setup.features,
        .required_features = guest->setup.features,
        .protocol_features =
            VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_INFLIGHT_SHMFD),
        .reply_timeout_ms = RNG_GUEST_PATIENCE_MS,
    };

    vu_shmem_init(&device->shmem);
    guest_add_memory(guest, device);
    device->frontend = vu_frontend_create(&config);
    while (vu_frontend_connect(device->frontend, device->socket, 100) < 0)
        if (waitpid(guest->pid, NULL, WNOHANG) > 0)
            return false;
    g_assert_cmpint(
        vu_frontend_set_features(device->frontend, vu_frontend_features(device->frontend)), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(device->frontend, &device->shmem), ==, 0);
    if (guest->setup.inflight)
        g_assert_cmpint(
            vu_frontend_setup_inflight(device->frontend, guest->setup.n_queues, guest->setup.ring),
            ==, 0);
    for (unsigned i = 0; i < guest->setup.n_queues; i++) {
        const struct vu_driver_config queue = {
            .index = i,
            .num = guest->setup.ring,
            .features = vu_frontend_features(device->frontend),
            .indirect_max = GUEST_MAX_SG,
        };

        g_assert_cmpint(vu_driver_create(&device->shmem, &queue, &device->queues[i]), ==, 0);
        g_assert_cmpint(vu_frontend_start_driver(device->frontend, device->queues[i]), ==, 0);
    }
    return true;
}

static void guest_disconnect(struct rng_guest_device *device)
{
    vu_frontend_destroy(device->frontend);
    for (unsigned i = 0; i < RNG_GUEST_MAX_QUEUES; i++)
        g_clear_pointer(&device->queues[i], vu_driver_destroy);
    vu_shmem_clear(&device->shmem);
}

static void guest_remove_files(struct rng_guest *guest)
{
    for (unsigned i = 0; i < guest->setup.n_devices; i++) {
        g_unlink(guest->devices[i].socket);
        g_free(guest->devices[i].socket);
    }
    g_unlink(guest->log);
    g_unlink(guest->control);
    g_rmdir(guest->dir);
    g_free(guest->log);
    g_free(guest->control);
    g_free(guest->dir);
}

bool rng_guest_start(struct rng_guest *guest, const struct rng_guest_setup *setup)
{
    *guest = (struct rng_guest){.setup = *setup, .dir = g_dir_make_tmp("rng-guest-XXXXXX", NULL)};
    if (setup->ring == 0)
        guest->setup.ring = RNG_GUEST_RING;
    guest->control = g_build_filename(guest->dir, "control", NULL);
    guest->log = g_build_filename(guest->dir, "log", NULL);
    for (unsigned i = 0; i < setup->n_devices; i++)
        guest->devices[i].socket = g_strdup_printf("%s/socket%u", guest->dir, i);
    guest_start_daemon(guest);
    for (unsigned i = 0; i < setup->n_devices; i++) {
        if (guest_connect(guest, &guest->devices[i]))
            continue;
        for (unsigned k = 0; k <= i; k++)
            guest_disconnect(&guest->devices[k]);
        guest_remove_files(guest);
        g_test_skip("the daemon does not start like this here");
        return false;
    }
    return true;
}

void rng_guest_clear(struct rng_guest *guest)
{
    for (unsigned i = 0; i < guest->setup.n_devices; i++)
        guest_disconnect(&guest->devices[i]);
    guest_remove_files(guest);
}

void rng_guest_stop(struct rng_guest *guest)
{
    int status;

    for (unsigned i = 0; i < guest->setup.n_devices; i++)
        vu_frontend_disconnect(guest->devices[i].frontend);
    g_assert_cmpint(kill(guest->pid, SIGTERM), ==, 0);
    g_assert_cmpint(waitpid(guest->pid, &status, 0), ==, guest->pid);
    g_assert_cmpint(status, ==, 0);
    rng_guest_clear(guest);
}

/* The connection may be to the one that was killed, whose inside has yet to die. */
static void guest_reconnect(struct rng_guest_device *device)
{
    int ret = -ECONNRESET;

    for (int i = 0; i < GUEST_MAX_RECONNECTS && (ret == -ECONNRESET || ret == -EPIPE); i++)
        ret = vu_frontend_reconnect(device->frontend, device->socket, RNG_GUEST_PATIENCE_MS);
    g_assert_cmpint(ret, ==, 0);
}

void rng_guest_restart(struct rng_guest *guest)
{
    g_assert_cmpint(kill(guest->pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(guest->pid, NULL, 0), ==, guest->pid);
    guest_start_daemon(guest);
    for (unsigned i = 0; i < guest->setup.n_devices; i++) {
        guest_reconnect(&guest->devices[i]);
        for (unsigned k = 0; k < guest->setup.n_queues; k++)
            vu_driver_force_kick(guest->devices[i].queues[k]);
    }
}

void rng_guest_expect_answer(struct rng_guest *guest, const char *command, const char *text)
{
    g_autofree char *answer = NULL;

    for (unsigned i = 0; i < RNG_GUEST_PATIENCE_MS / 10; i++) {
        g_free(answer);
        answer = blk_control_ask(guest->control, command);
        if (strstr(answer, text))
            return;
        g_usleep(10000);
    }
    g_error("%s is never answered with \"%s\", but with %s", command, text, answer);
}

void rng_guest_expect_log(struct rng_guest *guest, const char *text)
{
    for (unsigned i = 0; i < RNG_GUEST_PATIENCE_MS / 10; i++) {
        g_autofree char *log = NULL;

        if (g_file_get_contents(guest->log, &log, NULL, NULL) && strstr(log, text))
            return;
        g_usleep(10000);
    }
    g_error("the log never has \"%s\"", text);
}

/* --- requests --- */

void rng_guest_slot_init(struct rng_guest *guest, unsigned device, struct rng_guest_slot *slot)
{
    *slot = (struct rng_guest_slot){0};
    slot->bytes = vu_shmem_alloc(&guest->devices[device].shmem, RNG_GUEST_BUFFER, 4096, &slot->gpa);
    g_assert_nonnull(slot->bytes);
    memset(slot->bytes, GUEST_PATTERN, RNG_GUEST_BUFFER);
}

void rng_guest_ask(struct rng_guest *guest, unsigned device, unsigned queue,
                   struct rng_guest_slot *slot, const uint32_t *lens, unsigned n)
{
    struct vu_driver *driver = guest->devices[device].queues[queue];
    g_autofree struct vu_sg *sg = g_new(struct vu_sg, n);

    slot->len = 0;
    for (unsigned i = 0; i < n; i++) {
        sg[i] = (struct vu_sg){.gpa = slot->gpa + slot->len, .len = lens[i]};
        slot->len += lens[i];
    }
    g_assert_cmpuint(slot->len, <=, RNG_GUEST_BUFFER);
    memset(slot->bytes, GUEST_PATTERN, slot->len);
    g_assert_cmpint(vu_driver_add(driver, sg, 0, n, slot), ==, 0);
    vu_driver_kick(driver);
}

struct rng_guest_slot *rng_guest_try_take(struct rng_guest *guest, unsigned device, unsigned queue)
{
    struct vu_driver_used used;
    struct rng_guest_slot *slot;
    int n = vu_driver_harvest(guest->devices[device].queues[queue], &used, 1);

    g_assert_cmpint(n, >=, 0);
    if (n == 0)
        return NULL;
    slot = used.token;
    slot->got = used.len;
    g_assert_cmpuint(slot->got, <=, slot->len);
    for (uint32_t i = slot->got; i < slot->len; i++)
        g_assert_cmpuint(slot->bytes[i], ==, GUEST_PATTERN);
    return slot;
}

struct rng_guest_slot *rng_guest_take(struct rng_guest *guest, unsigned device, unsigned queue)
{
    struct vu_driver *driver = guest->devices[device].queues[queue];
    struct pollfd fd = {.fd = driver->call_fd, .events = POLLIN};
    struct rng_guest_slot *slot;

    while (!(slot = rng_guest_try_take(guest, device, queue))) {
        if (vu_driver_arm_call(driver))
            continue;
        g_assert_cmpint(poll(&fd, 1, RNG_GUEST_PATIENCE_MS), ==, 1);
        vu_driver_clear_call(driver);
    }
    return slot;
}

uint32_t rng_guest_read(struct rng_guest *guest, unsigned device, unsigned queue,
                        struct rng_guest_slot *slot, uint32_t len)
{
    rng_guest_ask(guest, device, queue, slot, &len, 1);
    g_assert_true(rng_guest_take(guest, device, queue) == slot);
    return slot->got;
}
