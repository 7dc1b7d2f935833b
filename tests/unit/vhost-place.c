/* SPDX-License-Identifier: Apache-2.0 */
/* The socket, and a thread that serves it; see vhost-place.h. */
#include "vhost-place.h"

#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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
    if (place->n_sessions++ == place->wrong_session || place->bad_from_the_start) {
        backend->wrong = place->wrong;
        backend->wrong_at = place->wrong_at;
    }
    backend->config[0] = (uint8_t)place->n_sessions;
    backend->patience_ms = place->patience_ms;
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

void place_init(struct place *place)
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

void place_start(struct place *place)
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

void place_hang_up(struct place *place)
{
    pthread_mutex_lock(&place->lock);
    place_hang_up_locked(place);
    pthread_mutex_unlock(&place->lock);
}

void place_clear(struct place *place)
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

unsigned place_n_seen(struct place *place, unsigned request)
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

unsigned place_n_started(struct place *place)
{
    return place_n_seen(place, VU_SET_VRING_KICK);
}

unsigned place_n_sessions(struct place *place)
{
    unsigned n;

    pthread_mutex_lock(&place->lock);
    n = place->n_sessions;
    pthread_mutex_unlock(&place->lock);
    return n;
}

void place_wait_seen(struct place *place, unsigned n_sessions, unsigned request)
{
    gint64 end = g_get_monotonic_time() + PLACE_PATIENCE;

    while (place_n_sessions(place) < n_sessions || place_n_seen(place, request) == 0) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
}

void place_wait_started(struct place *place, unsigned n_sessions)
{
    gint64 end = g_get_monotonic_time() + PLACE_PATIENCE;

    while (place_n_sessions(place) < n_sessions ||
           place_n_seen(place, VU_SET_VRING_ENABLE) < PLACE_N_QUEUES) {
        g_assert_cmpint(g_get_monotonic_time(), <, end);
        g_usleep(2000);
    }
}
