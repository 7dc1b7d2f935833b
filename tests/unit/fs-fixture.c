/* SPDX-License-Identifier: Apache-2.0 */
/* See fs-fixture.h. */
#include "tests/unit/fs-fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "vhost-user/cleanup.h"

static pthread_mutex_t fixture_lock = PTHREAD_MUTEX_INITIALIZER; /* guards elem->user */
static pthread_cond_t fixture_pushed = PTHREAD_COND_INITIALIZER;

static unsigned fixture_n_handed_on; /* atomic */
static __thread bool fixture_processing;

/* In place of the ring's: marks the elements as done. */
void vu_vring_push(struct vu_vring *vring, struct vu_elem *const *elems, unsigned n)
{
    VU_LOCK_SCOPE(&fixture_lock);

    if (!fixture_processing)
        __atomic_fetch_add(&fixture_n_handed_on, n, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < n; i++)
        elems[i]->user = vring;
    pthread_cond_broadcast(&fixture_pushed);
}

void fs_fixture_init(struct fs_fixture *fixture)
{
    GError *error = NULL;

    umask(0); /* as main does */
    memset(fixture, 0, sizeof(*fixture));
    fixture->dir = g_dir_make_tmp("fs-fixture-XXXXXX", &error);
    g_assert_no_error(error);
    fs_options_init(&fixture->options);
    fixture->options.source = g_strdup(fixture->dir);
    fixture->vring.log_tag = g_strdup("fixture: queue 1");
}

void fs_fixture_open(struct fs_fixture *fixture)
{
    vu_autofd int root_fd = open(fixture->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    vu_autofd int proc_fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct fs_share_place place = {
        .root_fd = root_fd, .proc_fds = proc_fds, .state = fixture->state};
    GError *error = NULL;

    fs_fd_budget_take(fixture->options.rlimit_nofile, &place.budget, &error);
    g_assert_no_error(error);
    fs_share_open(&fixture->share, &fixture->options, &place, &error);
    g_assert_no_error(error);
}

static int fixture_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void fs_fixture_finish(struct fs_fixture *fixture)
{
    fs_share_close(&fixture->share);
    nftw(fixture->dir, fixture_remove, 16, FTW_DEPTH | FTW_PHYS);
    fs_options_clear(&fixture->options);
    g_free(fixture->vring.log_tag);
    g_free(fixture->dir);
}

unsigned fs_fixture_n_handed_on(void)
{
    return __atomic_load_n(&fixture_n_handed_on, __ATOMIC_RELAXED);
}

void fs_fixture_wait(const struct vu_elem *elem)
{
    VU_LOCK_SCOPE(&fixture_lock);

    while (!elem->user)
        pthread_cond_wait(&fixture_pushed, &fixture_lock);
}

void fs_fixture_run(struct fs_fixture *fixture, struct vu_elem *elem)
{
    fixture_processing = true;
    fs_request_process(&fixture->share, &fixture->vring, &elem, 1);
    fixture_processing = false;
    fs_fixture_wait(elem);
}

uint32_t fs_fixture_send(struct fs_fixture *fixture, const void *out, size_t out_len, size_t cut,
                         void *in, size_t in_len)
{
    size_t first_len = MIN(cut, out_len);
    /* Exact allocations, so that a sanitizer sees the first byte too many. */
    g_autofree char *first = g_memdup2(out, first_len);
    g_autofree char *second = g_memdup2((const char *)out + first_len, out_len - first_len);
    struct iovec iov[3];
    struct vu_elem elem = {
        .vring = &fixture->vring, .iov = iov, .out_len = out_len, .is_again = fixture->is_again};

    if (first_len > 0)
        iov[elem.n_out++] = (struct iovec){first, first_len};
    if (out_len > first_len)
        iov[elem.n_out++] = (struct iovec){second, out_len - first_len};
    if (in_len > 0)
        iov[elem.n_out + elem.n_in++] = (struct iovec){in, in_len};
    elem.in_len = in_len;
    fs_fixture_run(fixture, &elem);
    g_assert_cmpuint(elem.written, <=, in_len);
    return elem.written;
}

int fs_fixture_call(struct fs_fixture *fixture, uint32_t opcode, uint64_t nodeid, const void *args,
                    size_t args_len, const char *names, size_t names_len, void *reply, size_t room)
{
    size_t out_len = sizeof(struct fuse_in_header) + args_len + names_len;
    g_autofree char *out = g_malloc0(out_len),
                    *in = g_malloc0(sizeof(struct fuse_out_header) + room);
    struct fuse_in_header header = {
        .len = (uint32_t)out_len,
        .opcode = opcode,
        .unique = fixture->unique += 2,
        .nodeid = nodeid,
        .pid = 1,
    };
    struct fuse_out_header out_header;
    uint32_t written;

    memcpy(out, &header, sizeof(header));
    if (args_len > 0)
        memcpy(out + sizeof(header), args, args_len);
    if (names_len > 0)
        memcpy(out + sizeof(header) + args_len, names, names_len);
    written = fs_fixture_send(fixture, out, out_len, 0, in, sizeof(out_header) + room);
    g_assert_cmpuint(written, >=, sizeof(out_header));
    memcpy(&out_header, in, sizeof(out_header));
    g_assert_cmpuint(out_header.len, ==, written);
    g_assert_cmpuint(out_header.unique, ==, header.unique);
    g_assert_cmpint(out_header.error, <=, 0);
    if (out_header.error < 0) {
        g_assert_cmpuint(written, ==, sizeof(out_header));
        return out_header.error;
    }
    if (reply)
        memcpy(reply, in + sizeof(out_header), written - sizeof(out_header));
    return (int)(written - sizeof(out_header));
}

int fs_fixture_lookup(struct fs_fixture *fixture, uint64_t parent, const char *name,
                      struct fuse_entry_out *ret_entry)
{
    int ret = fs_fixture_call(fixture, FUSE_LOOKUP, parent, NULL, 0, name, strlen(name) + 1,
                              ret_entry, sizeof(*ret_entry));

    if (ret >= 0)
        g_assert_cmpint(ret, ==, sizeof(*ret_entry));
    return ret < 0 ? ret : 0;
}

void fs_fixture_send_init(struct fs_fixture *fixture, struct fuse_init_out *ret_out)
{
    struct fuse_init_in in = {
        .major = 7,
        .minor = 38,
        .max_readahead = 128 * 1024,
        .flags = UINT32_MAX,
        .flags2 = UINT32_MAX,
    };
    int ret =
        fs_fixture_call(fixture, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, ret_out, sizeof(*ret_out));

    g_assert_cmpint(ret, ==, sizeof(*ret_out));
}
