/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The front-end session against a scripted back-end that behaves: every message of a session,
 * changes of memory, the back-end's own requests, and reconnection.
 */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "scripted-backend.h"
#include "tests/unit/open-fds.h"
#include "vhost-user/log.h"

/* --- a back-end that behaves --- */

static void test_session(gconstpointer data)
{
    uint64_t protocol = *(const uint64_t *)data;
    struct fixture f;
    struct vu_message *last = f.backend.last;

    fixture_init(&f, protocol);
    if (protocol == ALL_PROTOCOL_FEATURES) {
        g_assert_cmpint(fixture_run_session(&f), ==, 0);
        backend_sync(&f.backend);
        g_assert_cmpuint(f.backend.seen[VU_ADD_MEM_REG], ==, 2);
        g_assert_cmpuint(f.backend.config[2], ==, f.backend.config[0]);
        g_assert_cmpuint(f.backend.status, ==, 15);
        g_assert_cmpuint(vu_frontend_max_queues(f.frontend), ==, 4);
    } else {
        g_assert_cmpint(fixture_attach(&f), ==, 0);
        g_assert_cmpint(vu_frontend_set_features(f.frontend, RING_FEATURES), ==, 0);
        g_assert_cmpint(vu_frontend_set_memory(f.frontend, &f.shmem), ==, 0);
        g_assert_cmpint(vu_frontend_start_driver(f.frontend, f.driver), ==, 0);
        g_assert_cmpint(vu_frontend_setup_inflight(f.frontend, 1, 8), ==, -ENOTSUP);
        g_assert_cmpint(vu_frontend_get_config(f.frontend, 0, &(char){0}, 1), ==, -ENOTSUP);
        g_assert_cmpint(vu_frontend_stop_ring(f.frontend, 1, NULL), ==, 0);
        g_assert_cmpint(vu_frontend_stop_ring(f.frontend, 1, NULL), ==, -EINVAL);
        backend_sync(&f.backend);
        g_assert_cmpuint(last[VU_SET_MEM_TABLE].payload.table.n_regions, ==, 2);
        g_assert_cmpuint(last[VU_SET_MEM_TABLE].payload.table.regions[1].gpa, ==, 0x110000);
        g_assert_cmpuint(last[VU_SET_MEM_TABLE].n_fds, ==, 2);
    }
    g_assert_cmpuint(last[VU_SET_FEATURES].payload.u64, ==,
                     RING_FEATURES | VU_BIT(VU_F_PROTOCOL_FEATURES));
    g_assert_cmpuint(last[VU_SET_VRING_ADDR].payload.addr.index, ==, 1);
    g_assert_cmpuint(last[VU_SET_VRING_ADDR].payload.addr.desc_uva, ==, (uintptr_t)f.driver->desc);
    g_assert_cmpuint(last[VU_SET_VRING_KICK].payload.u64, ==, 1);
    g_assert_cmpuint(last[VU_SET_VRING_ENABLE].payload.state.num, ==, 1);
    fixture_clear(&f);
}

/* Slots follow what the caller's memory becomes. */
static void test_memory_changes(void)
{
    struct fixture f;

    fixture_init(&f, ALL_PROTOCOL_FEATURES);
    g_assert_cmpint(fixture_attach(&f), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(f.frontend, &f.shmem), ==, 0);
    g_assert_cmpint(vu_shmem_add(&f.shmem, 0x200000, 0x1000), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(f.frontend, &f.shmem), ==, 0);
    backend_sync(&f.backend);
    g_assert_cmpuint(f.backend.seen[VU_ADD_MEM_REG], ==, 3);
    g_assert_cmpuint(f.backend.seen[VU_REM_MEM_REG], ==, 0);
    g_assert_cmpint(vu_shmem_remove(&f.shmem, 0x200000), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(f.frontend, &f.shmem), ==, 0);
    backend_sync(&f.backend);
    g_assert_cmpuint(f.backend.seen[VU_REM_MEM_REG], ==, 1);
    g_assert_cmpuint(f.backend.last[VU_REM_MEM_REG].payload.mem_reg.region.gpa, ==, 0x200000);
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpint(vu_shmem_add(&f.shmem, 0x300000 + i * 0x1000, 0x1000), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(f.frontend, &f.shmem), ==, -E2BIG); /* 4 slots */
    fixture_clear(&f);
}

/* A back-end that wants an answer before it gives one: neither waits for the other. */
static void test_back_end_asks_first(void)
{
    struct fixture f;

    fixture_init(&f, ALL_PROTOCOL_FEATURES);
    f.backend.asks_first = true;
    g_assert_cmpint(fixture_run_session(&f), ==, 0);
    g_assert_cmpuint(f.n_config_changes, >, 10);
    fixture_clear(&f);
}

static void test_dispatch(void)
{
    struct fixture f;
    struct vu_message call = {.header = {VU_BACKEND_VRING_CALL, VU_VERSION, 8},
                              .payload.state = {.index = 1}};
    struct vu_message bad = {.header = {VU_BACKEND_VRING_CALL, VU_VERSION, 4}};
    int fds[2];

    fixture_init(&f, ALL_PROTOCOL_FEATURES);
    g_assert_cmpint(fixture_attach(&f), ==, 0);
    g_assert_cmpuint(vu_frontend_get_poll_fds(f.frontend, fds), ==, 2);
    g_assert_cmpint(vu_frontend_dispatch(f.frontend), ==, 0);
    backend_sync(&f.backend);
    g_assert_cmpint(vu_channel_send(&f.backend.requests, &call, 100), ==, 0);
    g_assert_cmpint(vu_frontend_dispatch(f.frontend), ==, 0);
    g_assert_cmpuint(f.n_calls, ==, 1);
    call.payload.state.index = 5000; /* no such queue */
    g_assert_cmpint(vu_channel_send(&f.backend.requests, &call, 100), ==, 0);
    g_assert_cmpint(vu_frontend_dispatch(f.frontend), ==, 0);
    g_assert_cmpuint(f.n_calls, ==, 1);
    g_assert_cmpint(vu_channel_send(&f.backend.requests, &bad, 100), ==, 0);
    backend_sync(&f.backend);
    g_assert_cmpint(vu_frontend_dispatch(f.frontend), ==, -EPROTO);
    g_assert_cmpint(vu_frontend_dispatch(f.frontend), ==, -ENOTCONN);
    g_assert_cmpuint(vu_frontend_get_poll_fds(f.frontend, fds), ==, 0);
    fixture_clear(&f);
}

static void test_missing_feature(void)
{
    struct fixture f;

    fixture_init(&f, ALL_PROTOCOL_FEATURES);
    f.backend.features = 0;
    g_assert_cmpint(fixture_attach(&f), ==, -ENOTSUP);
    g_assert_cmpint(vu_frontend_set_memory(f.frontend, &f.shmem), ==, -ENOTCONN);
    fixture_clear(&f);
}

/* --- reconnection --- */

static int listen_at(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    unlink(path);
    g_strlcpy(addr.sun_path, path, sizeof(addr.sun_path));
    g_assert_cmpint(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), ==, 0);
    g_assert_cmpint(listen(fd, 1), ==, 0);
    return fd;
}

struct late_backend {
    struct backend *backend;
    const char *path;
    pthread_t thread;
};

/* Comes up after a while, as a restarted daemon does. */
static void *late_backend_run(void *opaque)
{
    struct late_backend *late = opaque;
    int listen_fd, fd;

    g_usleep(100000);
    listen_fd = listen_at(late->path);
    fd = accept(listen_fd, NULL, NULL);
    close(listen_fd);
    vu_channel_init(&late->backend->channel, fd);
    return scripted_backend_run(late->backend);
}

static void test_reconnect(void)
{
    g_autofree char *dir = g_dir_make_tmp("vu-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "socket", NULL);
    struct vu_sg sg = {0x110000, 64};
    struct backend first, second = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct late_backend late = {&second, path, 0};
    struct fixture f;
    unsigned n_fds;

    fixture_init(&f, ALL_PROTOCOL_FEATURES);
    g_assert_cmpint(fixture_run_session(&f), ==, 0);
    g_assert_cmpint(vu_frontend_start_driver(f.frontend, f.driver), ==, 0);
    g_assert_cmpint(vu_driver_add(f.driver, &sg, 0, 1, &f), ==, 0);
    vu_driver_kick(f.driver);

    /* It dies: noticed by the one who waits for it, and by every call. */
    pthread_mutex_lock(&f.backend.lock); /* with which its thread closes it */
    shutdown(f.backend.channel.fd, SHUT_RDWR);
    pthread_mutex_unlock(&f.backend.lock);
    pthread_join(f.backend.thread, NULL);
    f.backend.thread = 0;
    first = f.backend;
    g_assert_cmpint(vu_frontend_dispatch(f.frontend), ==, -ECONNRESET);
    g_assert_cmpint(vu_frontend_enable_ring(f.frontend, 1, false), ==, -ENOTCONN);
    n_fds = count_open_fds();
    g_assert_cmpint(vu_frontend_reconnect(f.frontend, path, 0), ==, -ENOENT);
    g_assert_cmpuint(count_open_fds(), ==, n_fds);

    second.features = first.features;
    second.protocol_features = first.protocol_features;
    pthread_create(&late.thread, NULL, late_backend_run, &late);
    g_assert_cmpint(vu_frontend_reconnect(f.frontend, path, 5000), ==, 0);
    backend_sync(&second);
    g_assert_cmpuint(second.seen[VU_GET_INFLIGHT_FD], ==, 0);
    g_assert_cmpuint(second.seen[VU_SET_INFLIGHT_FD], ==, 1);
    g_assert_cmpuint(second.seen[VU_ADD_MEM_REG], ==, 2);
    g_assert_cmpuint(second.seen[VU_SET_VRING_KICK], ==, 1);
    g_assert_cmpuint(second.last[VU_SET_VRING_BASE].payload.state.num, ==, 0);
    g_assert_cmpuint(second.last[VU_SET_VRING_ENABLE].payload.state.num, ==, 1);
    g_assert_cmpuint(second.last[VU_SET_FEATURES].payload.u64, ==,
                     first.last[VU_SET_FEATURES].payload.u64);
    g_assert_cmpuint(second.last[VU_SET_INFLIGHT_FD].payload.inflight.mmap_size, ==, 4096);

    vu_frontend_disconnect(f.frontend);
    pthread_join(late.thread, NULL);

    /* A successor that lacks what is in use is refused. */
    memset(&second, 0, sizeof(second));
    second.features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES);
    second.protocol_features = first.protocol_features;
    pthread_create(&late.thread, NULL, late_backend_run, &late);
    g_assert_cmpint(vu_frontend_reconnect(f.frontend, path, 5000), ==, -ENOTSUP);
    pthread_join(late.thread, NULL);
    g_unlink(path);
    g_rmdir(dir);
    fixture_clear(&f);
}

/* A socket whose queue of connections is full, or that nobody serves, is given up in time. */
static void test_connect_timeout(void)
{
    g_autofree char *dir = g_dir_make_tmp("vu-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(dir, "socket", NULL);
    g_autofree char *long_path = g_strnfill(200, 'x');
    int listen_fd = listen_at(path);
    struct fixture f;
    gint64 start = g_get_monotonic_time();

    fixture_init_patient(&f, ALL_PROTOCOL_FEATURES, 100);
    for (unsigned i = 0; i < 4; i++)
        g_assert_cmpint(vu_frontend_connect(f.frontend, path, 100), <, 0);
    g_assert_cmpint(vu_frontend_connect(f.frontend, long_path, 100), ==, -ENAMETOOLONG);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 5 * G_USEC_PER_SEC);
    close(listen_fd);
    g_assert_cmpint(vu_frontend_connect(f.frontend, path, 50), ==, -ECONNREFUSED);
    g_unlink(path);
    g_rmdir(dir);
    fixture_clear(&f);
}

/* From another thread, while a call waits: it returns, and there is no connection any more. */
static void *interrupt(void *opaque)
{
    struct fixture *f = opaque;
    unsigned n_seen = 0;

    while (n_seen == 0) {
        g_usleep(1000);
        pthread_mutex_lock(&f->backend.lock);
        n_seen = f->backend.seen[VU_GET_CONFIG];
        pthread_mutex_unlock(&f->backend.lock);
    }
    vu_frontend_interrupt(f->frontend);
    return NULL;
}

static void test_interrupt(void)
{
    struct vu_frontend_config config;
    struct fixture f;
    pthread_t thread;
    uint8_t byte;

    fixture_init(&f, ALL_PROTOCOL_FEATURES);
    config = (struct vu_frontend_config){
        .protocol_features = ALL_PROTOCOL_FEATURES,
        .reply_timeout_ms = 3600000,
    };
    vu_frontend_destroy(f.frontend);
    f.frontend = vu_frontend_create(&config);
    f.backend.patience_ms = 3600000;
    g_assert_cmpint(fixture_attach(&f), ==, 0);
    pthread_mutex_lock(&f.backend.lock);
    f.backend.wrong = SILENT;
    f.backend.wrong_at = f.backend.n_messages;
    pthread_mutex_unlock(&f.backend.lock);
    pthread_create(&thread, NULL, interrupt, &f);
    g_assert_cmpint(vu_frontend_get_config(f.frontend, 0, &byte, 1), ==, -ECONNRESET);
    pthread_join(thread, NULL);
    pthread_join(f.backend.thread, NULL);
    f.backend.thread = 0;
    g_assert_cmpint(vu_frontend_get_config(f.frontend, 0, &byte, 1), ==, -ENOTCONN);
    g_assert_cmpint(fixture_attach(&f), ==, -ECANCELED);
    fixture_clear(&f);
}

int main(int argc, char **argv)
{
    static const uint64_t all = ALL_PROTOCOL_FEATURES, none;

    g_test_init(&argc, &argv, NULL);
    vu_log_set_level(VU_LOG_ERROR);
    g_test_add_data_func("/frontend/session/all", &all, test_session);
    g_test_add_data_func("/frontend/session/plain", &none, test_session);
    g_test_add_func("/frontend/memory-changes", test_memory_changes);
    g_test_add_func("/frontend/back-end-asks-first", test_back_end_asks_first);
    g_test_add_func("/frontend/dispatch", test_dispatch);
    g_test_add_func("/frontend/missing-feature", test_missing_feature);
    g_test_add_func("/frontend/reconnect", test_reconnect);
    g_test_add_func("/frontend/connect-timeout", test_connect_timeout);
    g_test_add_func("/frontend/interrupt", test_interrupt);
    return g_test_run();
}
