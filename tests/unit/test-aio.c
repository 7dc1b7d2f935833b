/* SPDX-License-Identifier: Apache-2.0 */
/* The engines: one list of cases, run over each of them. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vblkd/aio/aio.h"
#include "vhost-user/cleanup.h"

#define BLOCK   4096u
#define N_MANY  300u
#define WAIT_MS 60000

struct fixture {
    struct vblk_aio *aio;
    enum vblk_aio_kind kind;
    int fd;
    char *path;
    unsigned n_done;
};

/* An operation that knows the fixture it counts in. */
struct operation {
    struct vblk_io io;
    struct fixture *fixture;
    int result;
    bool is_done;
};

static void on_done(struct vblk_io *io, int result)
{
    struct operation *operation = (struct operation *)io;

    g_assert_false(operation->is_done);
    operation->is_done = true;
    operation->result = result;
    operation->fixture->n_done++;
}

static struct operation make(struct fixture *fixture, enum vblk_op op, const struct iovec *iov,
                             unsigned n, uint64_t offset)
{
    struct operation operation = {.fixture = fixture, .result = 1};

    operation.io = (struct vblk_io){
        .op = op, .fd = fixture->fd, .offset = offset, .iov = iov, .n_iov = n, .done = on_done};
    for (unsigned i = 0; i < n; i++)
        operation.io.len += iov[i].iov_len;
    return operation;
}

static void finish_all(struct fixture *fixture)
{
    while (vblk_aio_n_pending(fixture->aio) > 0)
        g_assert_cmpuint(vblk_aio_wait(fixture->aio), >, 0);
}

static int carry_out(struct fixture *fixture, enum vblk_op op, const struct iovec *iov, unsigned n,
                     uint64_t offset)
{
    struct operation operation = make(fixture, op, iov, n, offset);

    vblk_aio_queue(fixture->aio, &operation.io);
    g_assert_false(operation.is_done);
    finish_all(fixture);
    g_assert_true(operation.is_done);
    return operation.result;
}

static void test_write_read(struct fixture *fixture)
{
    g_autofree char *out = g_malloc(BLOCK * 3), *in = g_malloc0(BLOCK * 3);
    struct iovec from[] = {{out, BLOCK}, {out + BLOCK, BLOCK * 2}};
    struct iovec to[] = {{in, 512}, {in + 512, BLOCK * 3 - 512}};

    for (unsigned i = 0; i < BLOCK * 3; i++)
        out[i] = (char)(i * 7 / 5);
    g_assert_cmpint(carry_out(fixture, VBLK_OP_WRITE, from, 2, BLOCK), ==, 0);
    g_assert_cmpint(carry_out(fixture, VBLK_OP_FLUSH, NULL, 0, 0), ==, 0);
    g_assert_cmpint(carry_out(fixture, VBLK_OP_READ, to, 2, BLOCK), ==, 0);
    g_assert_true(memcmp(in, out, BLOCK * 3) == 0);
    g_assert_cmpint(pread(fixture->fd, in, BLOCK, BLOCK * 2), ==, BLOCK);
    g_assert_true(memcmp(in, out + BLOCK, BLOCK) == 0);
}

static void test_durable(struct fixture *fixture)
{
    char data[BLOCK] = "durable";
    struct iovec iov = {data, BLOCK};
    struct operation operation = make(fixture, VBLK_OP_WRITE, &iov, 1, 0);

    operation.io.flags = VBLK_IO_FUA;
    vblk_aio_queue(fixture->aio, &operation.io);
    finish_all(fixture);
    g_assert_cmpint(operation.result, ==, 0);
}

/* What lies behind the end of a file reads as zeros, also from the middle of a request on. */
static void test_end(struct fixture *fixture)
{
    char in[BLOCK], expected[BLOCK] = {0};
    struct iovec iov[] = {{in, 100}, {in + 100, BLOCK - 100}};

    g_assert_cmpint(ftruncate(fixture->fd, 0), ==, 0);
    g_assert_cmpint(pwrite(fixture->fd, "0123456789", 10, BLOCK), ==, 10);
    memcpy(expected, "0123456789", 10);
    memset(in, 1, sizeof(in));
    g_assert_cmpint(carry_out(fixture, VBLK_OP_READ, iov, 2, BLOCK), ==, 0);
    g_assert_true(memcmp(in, expected, sizeof(in)) == 0);
    memset(in, 1, sizeof(in));
    memset(expected, 0, sizeof(expected));
    g_assert_cmpint(carry_out(fixture, VBLK_OP_READ, iov, 2, BLOCK * 9), ==, 0);
    g_assert_true(memcmp(in, expected, sizeof(in)) == 0);
}

static void test_errors(struct fixture *fixture)
{
    char data[BLOCK] = "";
    struct iovec iov = {data, BLOCK};
    vu_autofd int read_only = open(fixture->path, O_RDONLY | O_CLOEXEC);
    struct operation operation = make(fixture, VBLK_OP_WRITE, &iov, 1, 0);
    struct operation good = make(fixture, VBLK_OP_WRITE, &iov, 1, 0);

    operation.io.fd = read_only;
    vblk_aio_queue(fixture->aio, &operation.io);
    vblk_aio_queue(fixture->aio, &good.io);
    finish_all(fixture);
    g_assert_cmpint(operation.result, ==, -EBADF);
    g_assert_cmpint(good.result, ==, 0);
}

/* More than fit at a time, in one submission. */
static void test_many(struct fixture *fixture)
{
    g_autofree struct operation *operations = g_new0(struct operation, N_MANY);
    g_autofree char *data = g_malloc0(N_MANY * BLOCK), *in = g_malloc0(N_MANY * BLOCK);
    g_autofree struct iovec *iov = g_new0(struct iovec, N_MANY);

    for (unsigned i = 0; i < N_MANY * BLOCK; i++)
        data[i] = (char)(i / 3 + i / BLOCK);
    for (unsigned i = 0; i < N_MANY; i++) {
        iov[i] = (struct iovec){data + (size_t)i * BLOCK, BLOCK};
        operations[i] = make(fixture, VBLK_OP_WRITE, &iov[i], 1, (uint64_t)i * BLOCK);
        vblk_aio_queue(fixture->aio, &operations[i].io);
    }
    g_assert_cmpuint(vblk_aio_n_pending(fixture->aio), ==, N_MANY);
    finish_all(fixture);
    g_assert_cmpuint(fixture->n_done, ==, N_MANY);
    for (unsigned i = 0; i < N_MANY; i++)
        g_assert_cmpint(operations[i].result, ==, 0);
    g_assert_cmpint(pread(fixture->fd, in, N_MANY * BLOCK, 0), ==, N_MANY * BLOCK);
    g_assert_true(memcmp(in, data, N_MANY * BLOCK) == 0);
}

/* A sleeper in epoll is woken, each time, though nobody reads the descriptor. */
static void test_descriptor(struct fixture *fixture)
{
    vu_autofd int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    char data[BLOCK] = "";
    struct iovec iov = {data, BLOCK};

    g_assert_cmpint(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, vblk_aio_fd(fixture->aio), &event), ==, 0);
    for (int i = 0; i < 100; i++) {
        struct operation operation =
            make(fixture, i % 2 ? VBLK_OP_FLUSH : VBLK_OP_WRITE, &iov, i % 2 ? 0 : 1, 0);

        vblk_aio_queue(fixture->aio, &operation.io);
        vblk_aio_submit(fixture->aio);
        while (vblk_aio_reap(fixture->aio) == 0) {
            int n = epoll_wait(epoll_fd, &event, 1, WAIT_MS);

            g_assert_true(n == 1 || (n < 0 && errno == EINTR));
        }
        g_assert_cmpint(operation.result, ==, 0);
    }
    g_assert_cmpuint(vblk_aio_reap(fixture->aio), ==, 0);
}

static void again(struct vblk_io *io, int result)
{
    struct operation *operation = (struct operation *)io;

    operation->result = result;
    if (++operation->fixture->n_done < 50)
        vblk_aio_queue(operation->fixture->aio, io);
}

static void test_queue_from_done(struct fixture *fixture)
{
    char data[BLOCK] = "";
    struct iovec iov = {data, BLOCK};
    struct operation operation = make(fixture, VBLK_OP_WRITE, &iov, 1, 0);

    operation.io.done = again;
    vblk_aio_register_file(fixture->aio, fixture->fd);
    vblk_aio_queue(fixture->aio, &operation.io);
    finish_all(fixture);
    g_assert_cmpuint(fixture->n_done, ==, 50);
    g_assert_cmpint(operation.result, ==, 0);
}

/* Memory that comes and goes as registered, also under operations that use it. */
static void test_registered_memory(struct fixture *fixture)
{
    char *memory =
        mmap(NULL, BLOCK * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct iovec ranges[] = {{memory, BLOCK * 2}, {memory + BLOCK * 4, BLOCK * 2}};
    struct operation operations[8];
    struct iovec iovs[8];

    g_assert_true(memory != MAP_FAILED);
    for (unsigned i = 0; i < BLOCK * 8; i++)
        memory[i] = (char)(i * 3 / 7);
    g_assert_cmpint(pwrite(fixture->fd, memory, BLOCK * 8, 0), ==, BLOCK * 8);
    for (unsigned round = 0; round < 4; round++) {
        /* All, the second, none, all. */
        vblk_aio_register_memory(fixture->aio, &ranges[round % 3 == 1],
                                 round == 2 ? 0 : 2 - round % 3);
        memset(memory, (int)round, BLOCK * 8);
        for (unsigned i = 0; i < 8; i++) {
            iovs[i] = (struct iovec){memory + i * BLOCK + 512, BLOCK - 512};
            operations[i] = make(fixture, VBLK_OP_READ, &iovs[i], 1, i * BLOCK + 512);
            vblk_aio_queue(fixture->aio, &operations[i].io);
        }
        vblk_aio_submit(fixture->aio);
        vblk_aio_register_memory(fixture->aio, NULL, 0);
        finish_all(fixture);
        for (unsigned i = 0; i < BLOCK * 8; i++)
            g_assert_cmpint(memory[i], ==, i % BLOCK < 512 ? (char)round : (char)(i * 3 / 7));
    }
    vblk_aio_register_memory(fixture->aio, ranges, 2);
    memset(memory, 'w', BLOCK * 8);
    g_assert_cmpint(carry_out(fixture, VBLK_OP_WRITE, &(struct iovec){memory + 100, BLOCK}, 1, 0),
                    ==, 0);
    /* Across the end of one. */
    g_assert_cmpint(
        carry_out(fixture, VBLK_OP_WRITE, &(struct iovec){memory + BLOCK, BLOCK * 2}, 1, BLOCK), ==,
        0);
    g_assert_cmpint(pread(fixture->fd, memory + BLOCK * 4, BLOCK * 3, 0), ==, BLOCK * 3);
    g_assert_true(memcmp(memory, memory + BLOCK * 4, BLOCK * 3) == 0);
    munmap(memory, BLOCK * 8);
}

static const struct {
    const char *name;
    void (*run)(struct fixture *fixture);
} cases[] = {
    {"write-read", test_write_read},
    {"durable", test_durable},
    {"end", test_end},
    {"errors", test_errors},
    {"many", test_many},
    {"descriptor", test_descriptor},
    {"queue-from-done", test_queue_from_done},
    {"registered-memory", test_registered_memory},
};

#define N_CASES G_N_ELEMENTS(cases)

static void run_case(gconstpointer data)
{
    unsigned number = GPOINTER_TO_UINT(data);
    struct fixture fixture = {.kind = number / N_CASES};
    int err = vblk_aio_create(fixture.kind, 32, &fixture.aio);

    if (err == -ENOSYS || err == -EPERM) {
        g_test_skip("the kernel has no such engine for us");
        return;
    }
    g_assert_cmpint(err, ==, 0);
    fixture.fd = g_file_open_tmp("outboard-aio-XXXXXX", &fixture.path, NULL);
    g_assert_cmpint(fixture.fd, >=, 0);
    cases[number % N_CASES].run(&fixture);
    vblk_aio_destroy(fixture.aio);
    close(fixture.fd);
    g_unlink(fixture.path);
    g_free(fixture.path);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned kind = 0; vblk_aio_kinds[kind]; kind++) {
        for (unsigned i = 0; i < N_CASES; i++) {
            g_autofree char *path =
                g_strdup_printf("/aio/%s/%s", vblk_aio_kinds[kind], cases[i].name);

            g_test_add_data_func(path, GUINT_TO_POINTER(kind * N_CASES + i), run_case);
        }
    }
    return g_test_run();
}
