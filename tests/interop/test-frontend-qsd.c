/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front-end and its rings with somebody else's block device: qemu-storage-daemon
 * ($QEMU_STORAGE_DAEMON) on a raw image. Guest memory is two neighbouring regions, and requests
 * straddle their border; not those in indirect tables, which its library then takes for a loop.
 */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <linux/virtio_blk.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vhost-user/frontend.h"
#include "vhost-user/log.h"

#define IMAGE_LEN  (8u << 20)
#define REGION_LEN UINT64_C(0x100000)
#define MEMORY_GPA UINT64_C(0x40000000)
#define BORDER_GPA (MEMORY_GPA + REGION_LEN)
#define SECTOR     512u
#define DATA_LEN   (64u * 1024)
#define DEPTH      8
#define WAIT_MS    10000

struct rig {
    char *dir, *image, *path;
    pid_t pid;
    struct vu_shmem shmem;
    struct vu_frontend *frontend;
    struct vu_driver *driver;
    struct virtio_blk_outhdr *headers;
    uint64_t headers_gpa;
    uint8_t *statuses;
    uint64_t statuses_gpa;
};

static void start_daemon(struct rig *rig)
{
    g_autofree char *file = g_strdup_printf("driver=file,node-name=file,filename=%s", rig->image);
    g_autofree char *export = g_strdup_printf(
        "type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=%s,writable=on,"
        "num-queues=2",
        rig->path);

    rig->pid = fork();
    g_assert_cmpint(rig->pid, >=, 0);
    if (rig->pid > 0)
        return;
    alarm(60);
    execlp(g_getenv("QEMU_STORAGE_DAEMON"), "qemu-storage-daemon", "--blockdev", file, "--blockdev",
           "driver=raw,file=file,node-name=disk", "--export", export, NULL);
    _exit(127);
}

static void rig_open(struct rig *rig)
{
    int fd;

    memset(rig, 0, sizeof(*rig));
    rig->dir = g_dir_make_tmp("test-qsd-XXXXXX", NULL);
    rig->image = g_build_filename(rig->dir, "image", NULL);
    rig->path = g_build_filename(rig->dir, "socket", NULL);
    fd = open(rig->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(ftruncate(fd, IMAGE_LEN), ==, 0);
    close(fd);
    vu_shmem_init(&rig->shmem);
    g_assert_cmpint(vu_shmem_add(&rig->shmem, MEMORY_GPA, REGION_LEN), ==, 0);
    g_assert_cmpint(vu_shmem_add(&rig->shmem, BORDER_GPA, REGION_LEN), ==, 0);
    start_daemon(rig);
}

static void rig_close(struct rig *rig)
{
    vu_frontend_destroy(rig->frontend);
    vu_driver_destroy(rig->driver);
    vu_shmem_clear(&rig->shmem);
    kill(rig->pid, SIGTERM);
    g_assert_cmpint(waitpid(rig->pid, NULL, 0), ==, rig->pid);
    g_unlink(rig->image);
    g_unlink(rig->path);
    g_rmdir(rig->dir);
    g_free(rig->image);
    g_free(rig->path);
    g_free(rig->dir);
}

static void connect_and_start(struct rig *rig, uint64_t features)
{
    struct vu_frontend_config config = {
        .name = "test",
        .features = VU_BIT(VU_F_VERSION_1) | features,
        .required_features = VU_BIT(VU_F_VERSION_1) | features,
        .protocol_features = VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_REPLY_ACK) | VU_BIT(VU_PF_CONFIG) |
                             VU_BIT(VU_PF_BACKEND_REQ) | VU_BIT(VU_PF_CONFIGURE_MEM_SLOTS),
        .reply_timeout_ms = WAIT_MS,
    };
    struct vu_driver_config driver = {.num = 64, .features = features, .indirect_max = 8};

    rig->frontend = vu_frontend_create(&config);
    g_assert_cmpint(vu_frontend_connect(rig->frontend, rig->path, WAIT_MS), ==, 0);
    g_assert_cmpuint(vu_frontend_max_queues(rig->frontend), ==, 2);
    g_assert_cmpint(vu_frontend_set_features(rig->frontend, vu_frontend_features(rig->frontend)),
                    ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(rig->frontend, &rig->shmem), ==, 0);
    g_assert_cmpint(vu_driver_create(&rig->shmem, &driver, &rig->driver), ==, 0);
    rig->headers =
        vu_shmem_alloc(&rig->shmem, DEPTH * sizeof(*rig->headers), 64, &rig->headers_gpa);
    rig->statuses = vu_shmem_alloc(&rig->shmem, DEPTH, 64, &rig->statuses_gpa);
    g_assert_cmpint(vu_frontend_start_driver(rig->frontend, rig->driver), ==, 0);
}

static void add(struct rig *rig, unsigned i, uint32_t type, uint64_t sector, uint64_t data_gpa,
                uint32_t len)
{
    bool reads = type == VIRTIO_BLK_T_IN;
    struct vu_sg sg[3] = {{rig->headers_gpa + i * sizeof(*rig->headers), sizeof(*rig->headers)},
                          {data_gpa, len},
                          {rig->statuses_gpa + i, 1}};

    rig->headers[i] = (struct virtio_blk_outhdr){.type = type, .sector = sector};
    rig->statuses[i] = 0xff;
    g_assert_cmpint(vu_driver_add(rig->driver, sg, reads ? 1 : 2, reads ? 2 : 1, &rig->statuses[i]),
                    ==, 0);
}

/* Kicks, and waits until all are completed without an error. */
static void finish(struct rig *rig)
{
    struct vu_driver_used used[DEPTH];

    vu_driver_kick(rig->driver);
    while (rig->driver->n_in_flight > 0) {
        struct pollfd pfd = {.fd = rig->driver->call_fd, .events = POLLIN};
        int n = vu_driver_harvest(rig->driver, used, DEPTH);

        g_assert_cmpint(n, >=, 0);
        for (int i = 0; i < n; i++)
            g_assert_cmpuint(*(uint8_t *)used[i].token, ==, VIRTIO_BLK_S_OK);
        if (n > 0 || vu_driver_arm_call(rig->driver))
            continue;
        g_assert_cmpint(poll(&pfd, 1, WAIT_MS), ==, 1);
        vu_driver_clear_call(rig->driver);
    }
}

/* A byte of guest memory that may lie on either side of the border. */
static uint8_t *at(struct rig *rig, uint64_t gpa)
{
    return vu_shmem_at(&rig->shmem, gpa, 1);
}

static void test_read_write(gconstpointer data)
{
    struct rig rig;
    struct virtio_blk_config config;
    uint64_t features = *(const uint64_t *)data;
    uint64_t middle =
        vu_has(features, VU_F_RING_INDIRECT_DESC) ? MEMORY_GPA + REGION_LEN / 2 : BORDER_GPA;
    uint64_t out_gpa = middle - DATA_LEN / 2 - 100, in_gpa = middle - DATA_LEN / 2 - 5000;
    uint32_t base;

    rig_open(&rig);
    connect_and_start(&rig, features);
    g_assert_cmpint(vu_frontend_get_config(rig.frontend, 0, &config, sizeof(config.capacity)), ==,
                    0);
    g_assert_cmpuint(config.capacity, ==, IMAGE_LEN / SECTOR);

    for (uint32_t i = 0; i < DATA_LEN; i++)
        *at(&rig, out_gpa + i) = (uint8_t)(i * 7 + i / 256);
    for (unsigned i = 0; i < DEPTH; i++)
        add(&rig, i, VIRTIO_BLK_T_OUT, i * DATA_LEN / SECTOR, out_gpa, DATA_LEN);
    finish(&rig);
    for (unsigned round = 0; round < 50; round++) {
        unsigned i = round % DEPTH;

        memset(at(&rig, in_gpa), 0, DATA_LEN / 4);
        add(&rig, i, VIRTIO_BLK_T_IN, i * DATA_LEN / SECTOR, in_gpa, DATA_LEN / 4 * 3);
        finish(&rig);
        for (uint32_t at_byte = 0; at_byte < DATA_LEN / 4 * 3; at_byte++)
            g_assert_cmpuint(*at(&rig, in_gpa + at_byte), ==,
                             (uint8_t)(at_byte * 7 + at_byte / 256));
    }
    g_assert_cmpint(vu_frontend_stop_ring(rig.frontend, 0, &base), ==, 0);
    g_assert_cmpuint(base, ==, DEPTH + 50);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    static const uint64_t plain,
        extras = VU_BIT(VU_F_RING_EVENT_IDX) | VU_BIT(VU_F_RING_INDIRECT_DESC);

    if (!g_getenv("QEMU_STORAGE_DAEMON")) {
        puts("1..0 # SKIP qemu-storage-daemon is missing (contrib/install-deps test)");
        return 0;
    }
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/frontend-qsd/plain", &plain, test_read_write);
    g_test_add_data_func("/frontend-qsd/event_idx-indirect", &extras, test_read_write);
    return g_test_run();
}
