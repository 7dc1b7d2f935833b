/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmm's vhost-user devices with back-ends that are not there, die, or go wrong at each message in
 * turn: making a device ends in bounded time, and one that was made goes on with the successor.
 */
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "scripted-backend.h"
#include "vhost-user/log.h"
#include "vmm/cmdline.h"
#include "vmm/vhost/vhost-link.h"

#define N_QUEUES 2
#define PATIENCE (30 * G_USEC_PER_SEC)

/* Back-ends one after the other at a socket. The first goes wrong, the others behave. */
struct place {
    char *folder, *path;
    int listen_fd;
    enum wrong wrong;
    unsigned wrong_at;
    bool bad_from_the_start; /* all of them go wrong */
    uint64_t protocol_features;
    uint64_t later_lacks, later_lacks_protocol; /* features of all but the first */
    GThread *thread;
    pthread_mutex_t lock;
    unsigned n_sessions, n_messages; /* under lock; messages of the first */
    struct backend *current;         /* under lock */
    bool is_running;                 /* under lock: the queues of the current one are started */
    bool is_ending;                  /* under lock */
};

static void place_note_end(struct place *place, const struct backend *backend)
{
    pthread_mutex_lock(&place->lock);
    if (place->n_sessions == 1)
        place->n_messages = backend->n_messages;
    place->current = NULL;
    pthread_mutex_unlock(&place->lock);
}

static void place_serve(struct place *place, int fd)
{
    struct backend *backend = g_new0(struct backend, 1);

    vu_channel_init(&backend->channel, fd);
    pthread_mutex_init(&backend->lock, NULL);
    backend->features = RING_FEATURES | VU_BIT(VU_F_RING_PACKED) | VU_BIT(VU_F_PROTOCOL_FEATURES);
    backend->protocol_features = place->protocol_features;
    pthread_mutex_lock(&place->lock);
    if (place->n_sessions > 0) {
        backend->features &= ~place->later_lacks;
        backend->protocol_features &= ~place->later_lacks_protocol;
    }
    if (place->n_sessions++ == 0 || place->bad_from_the_start) {
        backend->wrong = place->wrong;
        backend->wrong_at = place->wrong_at;
    }
    backend->config[0] = (uint8_t)place->n_sessions;
    place->current = backend;
    pthread_mutex_unlock(&place->lock);
    scripted_backend_run(backend);
    place_note_end(place, backend);
    pthread_mutex_destroy(&backend->lock);
    g_free(backend);
}

static gpointer place_run(gpointer opaque)
{
    struct place *place = opaque;
    bool is_ending = false;

    while (!is_ending) {
        int fd = accept4(place->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        pthread_mutex_lock(&place->lock);
        is_ending = place->is_ending || fd < 0;
        pthread_mutex_unlock(&place->lock);
        if (!is_ending)
            place_serve(place, fd);
        else if (fd >= 0)
            close(fd);
    }
    return NULL;
}

static void place_init(struct place *place)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    memset(place, 0, sizeof(*place));
    pthread_mutex_init(&place->lock, NULL);
    place->protocol_features = ALL_PROTOCOL_FEATURES;
    place->folder = g_dir_make_tmp("vmm-vhost-XXXXXX", NULL);
    place->path = g_build_filename(place->folder, "socket", NULL);
    g_strlcpy(addr.sun_path, place->path, sizeof(addr.sun_path));
    place->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(place->listen_fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(place->listen_fd, 4), ==, 0);
}

static void place_start(struct place *place)
{
    place->thread = g_thread_new("place", place_run, place);
}

static void place_hang_up_locked(struct place *place)
{
    if (!place->current)
        return;
    pthread_mutex_lock(&place->current->lock);
    if (place->current->channel.fd >= 0)
        shutdown(place->current->channel.fd, SHUT_RDWR);
    pthread_mutex_unlock(&place->current->lock);
}

/* Ends the session that is there. */
static void place_hang_up(struct place *place)
{
    pthread_mutex_lock(&place->lock);
    place_hang_up_locked(place);
    pthread_mutex_unlock(&place->lock);
}

static void place_clear(struct place *place)
{
    if (place->thread) {
        pthread_mutex_lock(&place->lock);
        place->is_ending = true;
        place_hang_up_locked(place);
        pthread_mutex_unlock(&place->lock);
        shutdown(place->listen_fd, SHUT_RDWR);
        g_thread_join(place->thread);
    }
    close(place->listen_fd);
    g_unlink(place->path);
    g_rmdir(place->folder);
    g_free(place->path);
    g_free(place->folder);
    pthread_mutex_destroy(&place->lock);
}

/* How often the current back-end has seen a message. */
static unsigned place_n_seen(struct place *place, unsigned request)
{
    unsigned n = 0;

    pthread_mutex_lock(&place->lock);
    if (place->current) {
        pthread_mutex_lock(&place->current->lock);
        n = place->current->seen[request];
        pthread_mutex_unlock(&place->current->lock);
    }
    pthread_mutex_unlock(&place->lock);
    return n;
}

/* How many queues the current back-end was told to start. */
static unsigned place_n_started(struct place *place)
{
    return place_n_seen(place, VU_SET_VRING_KICK);
}

static unsigned place_n_sessions(struct place *place)
{
    unsigned n;

    pthread_mutex_lock(&place->lock);
    n = place->n_sessions;
    pthread_mutex_unlock(&place->lock);
    return n;
}

static void wait_started(struct place *place, unsigned n_sessions)
{
    gint64 end = g_get_monotonic_time() + PATIENCE;

    while (place_n_sessions(place) < n_sessions || place_n_started(place) < N_QUEUES) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
}

/* A machine with one device on that socket. */
struct rig {
    struct vmm_config config;
    struct vmm_ram ram;
    struct virtio_device *device;
    struct virtio_queue queues[N_QUEUES];
};

static void rig_init(struct rig *rig, const struct place *place)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *chardev = g_strdup_printf("socket,id=c,path=%s,reconnect-ms=20", place->path);
    char *argv[] = {
        "vmm",   "-kernel", "k",
        "-m",    "4M",      "-chardev",
        chardev, "-device", "vhost-user-device-pci,chardev=c,virtio-id=2,num_vqs=2,config_size=16"};

    memset(rig, 0, sizeof(*rig));
    vmm_config_init(&rig->config);
    vmm_cmdline_parse(&rig->config, G_N_ELEMENTS(argv), argv, &error);
    g_assert_no_error(error);
    vmm_config_find_chardev(&rig->config, "c")->reply_ms = 200;
    g_assert_true(vmm_ram_create(&rig->ram, &rig->config, &error));
    for (unsigned i = 0; i < N_QUEUES; i++)
        rig->queues[i] = (struct virtio_queue){
            .enabled = true,
            .size = 16,
            .max_size = 16,
            .desc = 0x10000 * (i + 1),
            .driver = 0x10000 * (i + 1) + 0x1000,
            .device = 0x10000 * (i + 1) + 0x2000,
            .kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
            .call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
        };
}

static bool rig_create(struct rig *rig, GError **error)
{
    rig->device = vhost_device_create(&rig->config, g_ptr_array_index(rig->config.devices, 0),
                                      &rig->ram, error);
    return rig->device != NULL;
}

static int rig_start(struct rig *rig)
{
    return rig->device->ops->start(rig->device, RING_FEATURES, rig->queues, N_QUEUES);
}

static void rig_clear(struct rig *rig)
{
    if (rig->device) {
        rig->device->ops->stop(rig->device);
        rig->device->ops->destroy(rig->device);
    }
    for (unsigned i = 0; i < N_QUEUES; i++) {
        close(rig->queues[i].kick_fd);
        close(rig->queues[i].call_fd);
    }
    vmm_ram_destroy(&rig->ram);
    vmm_config_clear(&rig->config);
}

/* --- the good case, and its ends --- */

static void test_good(void)
{
    g_autoptr(GError) error = NULL;
    struct place place;
    struct rig rig;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, &error));
    g_assert_cmpuint(rig.device->n_queues, ==, N_QUEUES);
    g_assert_cmphex(rig.device->ops->features(rig.device), ==, RING_FEATURES);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    wait_started(&place, 1);
    /* Off and on again, as by a reboot. */
    rig.device->ops->stop(rig.device);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    g_assert_cmpuint(place_n_started(&place), ==, 2 * N_QUEUES);
    rig_clear(&rig);
    place_clear(&place);
}

static void test_reconnect(void)
{
    struct place place;
    struct rig rig;
    eventfd_t count;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    g_assert_cmpint(rig_start(&rig), ==, 0);
    for (unsigned round = 2; round < 6; round++) {
        while (eventfd_read(rig.queues[0].kick_fd, &count) == 0)
            ;
        place_hang_up(&place);
        wait_started(&place, round);
        /* It is kicked, for nobody knows what its predecessor has seen. */
        while (eventfd_read(rig.queues[0].kick_fd, &count) != 0)
            g_usleep(1000);
    }
    /* What is stopped while nobody is there is not started again; one that was quick to come has
     * been told to stop. */
    place_hang_up(&place);
    rig.device->ops->stop(rig.device);
    while (place_n_sessions(&place) < 6 || !vhost_device_is_connected(rig.device))
        g_usleep(2000);
    g_assert_cmpuint(place_n_started(&place), ==, place_n_seen(&place, VU_GET_VRING_BASE));
    rig_clear(&rig);
    place_clear(&place);
}

/* What the transport was told, and what the configuration space began with just then. */
struct told {
    struct vhost_device *vhost;
    unsigned n, n_broken; /* atomic */
    uint8_t first;
};

static void on_changed(void *opaque, bool is_broken)
{
    struct told *told = opaque;

    told->first = told->vhost->space[0];
    __atomic_fetch_add(is_broken ? &told->n_broken : &told->n, 1, __ATOMIC_ACQ_REL);
}

static void rig_listen(struct rig *rig, struct told *told)
{
    *told = (struct told){.vhost = (struct vhost_device *)rig->device};
    rig->device->transport = told;
    __atomic_store_n(&rig->device->changed, on_changed, __ATOMIC_RELEASE);
}

static void wait_told(const unsigned *n)
{
    gint64 end = g_get_monotonic_time() + PATIENCE;

    while (__atomic_load_n(n, __ATOMIC_ACQUIRE) == 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
}

/* Who sees any of the new configuration sees a new generation too. */
static void test_config_change(void)
{
    struct place place;
    struct rig rig;
    struct told told;
    uint8_t first = 0;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    rig_listen(&rig, &told);
    place_hang_up(&place);
    wait_told(&told.n);
    g_assert_cmpuint(told.first, ==, 1);
    while (first != 2)
        rig.device->ops->read_config(rig.device, 0, &first, 1);
    rig_clear(&rig);
    place_clear(&place);
}

/* A device that is live without a queue asks for no log of any. */
static void test_no_queues(void)
{
    struct place place;
    struct rig rig;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    for (unsigned i = 0; i < N_QUEUES; i++)
        rig.queues[i].enabled = false;
    g_assert_cmpint(rig_start(&rig), ==, 0);
    g_assert_cmpuint(place_n_seen(&place, VU_GET_INFLIGHT_FD), ==, 0);
    g_assert_true(vhost_device_is_connected(rig.device));
    rig_clear(&rig);
    place_clear(&place);
}

/* Nobody knows where such rings stood. */
static void test_packed_without_log(void)
{
    struct place place;
    struct rig rig;
    struct told told;

    place_init(&place);
    place.protocol_features &= ~VU_BIT(VU_PF_INFLIGHT_SHMFD);
    place_start(&place);
    rig_init(&rig, &place);
    ((struct vmm_device_config *)g_ptr_array_index(rig.config.devices, 0))->packed = true;
    g_assert_true(rig_create(&rig, NULL));
    rig_listen(&rig, &told);
    g_assert_cmpint(rig.device->ops->start(rig.device, RING_FEATURES | VU_BIT(VU_F_RING_PACKED),
                                           rig.queues, N_QUEUES),
                    ==, 0);
    place_hang_up(&place);
    wait_told(&told.n_broken);
    wait_told(&told.n);
    g_assert_cmpuint(place_n_started(&place), ==, 0);
    rig.device->ops->stop(rig.device);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    wait_started(&place, 2);
    rig_clear(&rig);
    place_clear(&place);
}

/* A driver that begins anew has what the back-end has then. */
static void test_lesser_successor(void)
{
    struct place place;
    struct rig rig;

    place_init(&place);
    place.later_lacks = VU_BIT(VU_F_RING_PACKED) | VU_BIT(VU_F_RING_EVENT_IDX);
    place.later_lacks_protocol = VU_BIT(VU_PF_INFLIGHT_SHMFD);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    g_assert_cmphex(rig.device->ops->features(rig.device), ==, RING_FEATURES);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    rig.device->ops->stop(rig.device);
    place_hang_up(&place);
    while (rig.device->ops->features(rig.device) == RING_FEATURES)
        g_usleep(2000);
    g_assert_cmphex(rig.device->ops->features(rig.device), ==, VU_BIT(VU_F_VERSION_1));
    g_assert_cmpint(
        rig.device->ops->start(rig.device, VU_BIT(VU_F_VERSION_1), rig.queues, N_QUEUES), ==, 0);
    wait_started(&place, 2);
    rig_clear(&rig);
    place_clear(&place);
}

/* Started while nobody is there: it runs when somebody is. */
static void test_late(void)
{
    struct place place;
    struct rig rig;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    place_hang_up(&place);
    while (place_n_sessions(&place) < 2)
        g_usleep(2000);
    place_hang_up(&place);
    g_assert_cmpint(rig_start(&rig), ==, 0);
    wait_started(&place, 2);
    rig_clear(&rig);
    place_clear(&place);
}

static void test_nobody(void)
{
    g_autoptr(GError) error = NULL;
    struct place place;
    struct rig rig;

    place_init(&place);
    g_unlink(place.path);
    rig_init(&rig, &place);
    g_assert_false(rig_create(&rig, &error));
    g_assert_nonnull(strstr(error->message, place.path));
    rig_clear(&rig);
    place_clear(&place);
}

/* More nodes than it takes. */
static void test_many_nodes(void)
{
    g_autoptr(GError) error = NULL;
    struct place place;
    struct rig rig;

    place_init(&place);
    place.protocol_features &= ~VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS);
    place_start(&place);
    rig_init(&rig, &place);
    rig.ram.shmem.n_regions = 9;
    g_assert_false(rig_create(&rig, &error));
    g_assert_nonnull(strstr(error->message, "8 regions"));
    rig.ram.shmem.n_regions = 1;
    rig_clear(&rig);
    place_clear(&place);
}

/* --- at each message --- */

static unsigned count_messages(void)
{
    struct place place;
    struct rig rig;
    unsigned n;

    place_init(&place);
    place_start(&place);
    rig_init(&rig, &place);
    g_assert_true(rig_create(&rig, NULL));
    g_assert_cmpint(rig_start(&rig), ==, 0);
    rig_clear(&rig);
    while (place_n_sessions(&place) == 0 || place_n_started(&place) > 0)
        g_usleep(1000);
    pthread_mutex_lock(&place.lock);
    n = place.n_messages;
    pthread_mutex_unlock(&place.lock);
    place_clear(&place);
    return n;
}

static void try_wrong(enum wrong wrong, unsigned at)
{
    g_autoptr(GError) error = NULL;
    gint64 start = g_get_monotonic_time();
    struct place place;
    struct rig rig;

    place_init(&place);
    place.wrong = wrong;
    place.wrong_at = at;
    place_start(&place);
    rig_init(&rig, &place);
    if (!rig_create(&rig, &error))
        g_assert_nonnull(strstr(error->message, place.path));
    else if (rig_start(&rig) == 0)
        wait_started(&place, 1);
    g_assert_cmpint(g_get_monotonic_time() - start, <, PATIENCE);
    rig_clear(&rig);
    place_clear(&place);
}

static void test_wrong(gconstpointer data)
{
    enum wrong wrong = (enum wrong)GPOINTER_TO_UINT(data);
    unsigned n_messages = count_messages(), n_fds = count_fds();

    g_assert_cmpuint(n_messages, >, 15);
    for (unsigned at = 0; at < n_messages; at++)
        try_wrong(wrong, at);
    g_assert_cmpuint(count_fds(), ==, n_fds);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_OFF);
    g_test_add_func("/vmm/vhost/good", test_good);
    g_test_add_func("/vmm/vhost/reconnect", test_reconnect);
    g_test_add_func("/vmm/vhost/config-change", test_config_change);
    g_test_add_func("/vmm/vhost/no-queues", test_no_queues);
    g_test_add_func("/vmm/vhost/packed-without-log", test_packed_without_log);
    g_test_add_func("/vmm/vhost/lesser-successor", test_lesser_successor);
    g_test_add_func("/vmm/vhost/late", test_late);
    g_test_add_func("/vmm/vhost/nobody", test_nobody);
    g_test_add_func("/vmm/vhost/many-nodes", test_many_nodes);
    for (unsigned i = HANGS_UP; i < N_WRONG; i++) {
        g_autofree char *path = g_strdup_printf("/vmm/vhost/wrong/%s", wrong_names[i]);

        g_test_add_data_func(path, GUINT_TO_POINTER(i), test_wrong);
    }
    return g_test_run();
}
