/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's generator, by getrandom(2): the bytes of /dev/urandom, without a descriptor. Nothing
 * waits for it once the host has booted; before that, its first read does. */
#include <errno.h>
#include <sys/random.h>

#include "contrib/vrngd/source.h"
#include "vhost-user/daemon/options.h"

/* More than 256 bytes may be cut short by a signal. */
static ssize_t getrandom_read(struct rng_source *source, void *to, size_t size)
{
    uint8_t *at = to;
    size_t got = 0;

    while (got < size) {
        ssize_t n = getrandom(at + got, size - got, 0);

        if (n < 0 && errno != EINTR)
            return got > 0 ? (ssize_t)got : -errno;
        got += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)got;
}

static void getrandom_destroy(struct rng_source *source)
{
    g_free(source);
}

static const struct rng_source_ops getrandom_ops = {
    .is_instant = true,
    .read = getrandom_read,
    .destroy = getrandom_destroy,
};

struct rng_source *rng_source_create_getrandom(const char *what, GError **error)
{
    struct rng_source *source;

    if (*what != '\0') {
        g_set_error(error, VU_OPTION_ERROR, 0, "expected nothing behind getrandom, got \"%s\"",
                    what);
        return NULL;
    }
    source = g_new0(struct rng_source, 1);
    source->ops = &getrandom_ops;
    source->fd = -1;
    return source;
}
