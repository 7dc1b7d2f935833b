/* SPDX-License-Identifier: Apache-2.0 */
/* hand-on.c: requests handed on are run once each, by as few threads as they need. */
#include <dirent.h>
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "vhost-user/cleanup.h"
#include "virtiofsd/request.h"

#define N_REQUESTS 2000

/* What the handlers below share; elements are told apart by their address. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned n_running, n_most, n_pushed, n_signals_open;
static bool gate_open;
static pthread_t last_runner;
static struct vu_vring ring; /* of no memory */

void vu_vring_push(struct vu_vring *vring, struct vu_elem *const *elems, unsigned n)
{
    VU_LOCK_SCOPE(&lock);

    g_assert_cmpuint(n, ==, 1);
    g_assert_null(elems[0]->user);
    elems[0]->user = vring;
    n_pushed++;
    pthread_cond_broadcast(&changed);
}

const struct fs_operation *fs_operation_find(uint32_t opcode)
{
    return NULL;
}

static void wait_pushed(unsigned n)
{
    VU_LOCK_SCOPE(&lock);

    while (n_pushed < n)
        pthread_cond_wait(&changed, &lock);
}

static void reset(void)
{
    n_running = n_most = n_pushed = n_signals_open = 0;
    gate_open = false;
}

static int handler_quick(struct fs_request *request)
{
    sigset_t set;

    pthread_sigmask(SIG_SETMASK, NULL, &set);
    VU_LOCK_SCOPE(&lock);
    last_runner = pthread_self();
    n_signals_open += !sigismember(&set, SIGTERM) || sigismember(&set, SIGBUS);
    return 0;
}

/* Runs until the gate is opened. */
static int handler_gate(struct fs_request *request)
{
    VU_LOCK_SCOPE(&lock);

    n_running++;
    n_most = MAX(n_most, n_running);
    pthread_cond_broadcast(&changed);
    while (!gate_open)
        pthread_cond_wait(&changed, &lock);
    n_running--;
    return -EIO;
}

static int handler_twice(struct fs_request *request)
{
    return fs_request_hand_on(request, handler_quick);
}

static void wait_running(unsigned n)
{
    VU_LOCK_SCOPE(&lock);

    while (n_running < n)
        pthread_cond_wait(&changed, &lock);
}

static void open_gate(void)
{
    VU_LOCK_SCOPE(&lock);

    gate_open = true;
    pthread_cond_broadcast(&changed);
}

/* Hands on a request for elem; the request itself is gone at once. */
static int hand_on(struct fs_share *share, struct vu_elem *elem, struct fuse_out_header *reply,
                   struct iovec *iov, fs_handler handler)
{
    struct fs_request request;
    int ret;

    memset(&request, 0, sizeof(request));
    *iov = (struct iovec){reply, sizeof(*reply)};
    *elem = (struct vu_elem){.vring = &ring, .iov = iov, .n_in = 1, .in_len = sizeof(*reply)};
    request.share = share;
    request.elem = elem;
    request.header.unique = 4711;
    ret = fs_request_hand_on(&request, handler);
    memset(&request, 0xee, sizeof(request));
    return ret;
}

/* Threads of this process but the calling one and what sanitizers run. */
static unsigned count_helpers(void)
{
    DIR *dir = opendir("/proc/self/task");
    const struct dirent *entry;
    unsigned n = 0;

    while ((entry = readdir(dir))) {
        g_autofree char *path = g_strdup_printf("/proc/self/task/%s/comm", entry->d_name);
        g_autofree char *comm = NULL;

        if (g_file_get_contents(path, &comm, NULL, NULL) && g_str_has_prefix(comm, "helper"))
            n++;
    }
    closedir(dir);
    return n;
}

/* Threads leave by themselves, a moment after they were told or have been idle. */
static void wait_no_helpers(void)
{
    gint64 deadline = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;

    while (count_helpers() > 0 && g_get_monotonic_time() < deadline)
        g_usleep(10000);
    g_assert_cmpuint(count_helpers(), ==, 0);
}

static void finish(struct fs_share *share)
{
    vu_helpers_destroy(share->helpers);
    fs_counters_clear(&share->counters);
}

static void test_none(void)
{
    struct fs_share share = {.helpers = NULL};
    struct fuse_out_header reply;
    struct vu_elem elem;
    struct iovec iov;

    reset();
    g_assert_cmpint(hand_on(&share, &elem, &reply, &iov, handler_quick), ==, 0);
    g_assert_true(pthread_equal(last_runner, pthread_self()));
    share.helpers = fs_helpers_create(0);
    g_assert_cmpint(hand_on(&share, &elem, &reply, &iov, handler_quick), ==, 0);
    g_assert_true(pthread_equal(last_runner, pthread_self()));
    g_assert_cmpuint(n_pushed, ==, 0);
    finish(&share);
    vu_helpers_destroy(NULL);
}

static void test_run(void)
{
    struct fs_share share = {.helpers = NULL};
    struct fuse_out_header reply[2];
    struct vu_elem elem[2];
    struct iovec iov[2];

    reset();
    share.helpers = fs_helpers_create(4);
    g_assert_cmpint(hand_on(&share, &elem[0], &reply[0], &iov[0], handler_quick), ==, FS_LATER);
    wait_pushed(1);
    g_assert_false(pthread_equal(last_runner, pthread_self()));
    g_assert_cmpuint(n_signals_open, ==, 0);
    g_assert_cmpuint(reply[0].unique, ==, 4711);
    g_assert_cmpuint(reply[0].len, ==, sizeof(reply[0]));
    g_assert_cmpuint(elem[0].written, ==, sizeof(reply[0]));
    g_assert_cmpint(hand_on(&share, &elem[1], &reply[1], &iov[1], handler_twice), ==, FS_LATER);
    wait_pushed(2);
    g_assert_cmpuint(reply[1].unique, ==, 4711);
    finish(&share);
}

static void test_grow_and_shrink(void)
{
    struct fs_share share = {.helpers = NULL};
    struct fuse_out_header reply[12];
    struct vu_elem elem[12];
    struct iovec iov[12];

    reset();
    wait_no_helpers();
    share.helpers = fs_helpers_create(4);
    for (unsigned i = 0; i < 12; i++)
        g_assert_cmpint(hand_on(&share, &elem[i], &reply[i], &iov[i], handler_gate), ==, FS_LATER);
    wait_running(4);
    g_assert_cmpuint(count_helpers(), ==, 4);
    open_gate();
    wait_pushed(12);
    g_assert_cmpuint(n_most, ==, 4);
    for (unsigned i = 0; i < 12; i++)
        g_assert_cmpint(reply[i].error, ==, -EIO);
    wait_no_helpers();
    g_assert_cmpint(hand_on(&share, &elem[0], &reply[0], &iov[0], handler_quick), ==, FS_LATER);
    wait_pushed(13);
    finish(&share);
}

/* A burst is over, and now and then a request still comes: all threads but one or two leave. */
static void test_trickle(void)
{
    gint64 deadline = g_get_monotonic_time() + 60 * G_USEC_PER_SEC;
    struct fs_share share = {.helpers = NULL};
    struct fuse_out_header reply[8];
    struct vu_elem elem[8];
    struct iovec iov[8];
    unsigned n_sent = 8;

    reset();
    wait_no_helpers();
    share.helpers = fs_helpers_create(8);
    for (unsigned i = 0; i < 8; i++)
        g_assert_cmpint(hand_on(&share, &elem[i], &reply[i], &iov[i], handler_gate), ==, FS_LATER);
    wait_running(8);
    open_gate();
    wait_pushed(8);
    while (count_helpers() > 2 && g_get_monotonic_time() < deadline) {
        hand_on(&share, &elem[0], &reply[0], &iov[0], handler_quick);
        wait_pushed(++n_sent);
        g_usleep(50000);
    }
    g_assert_cmpuint(count_helpers(), >, 0);
    g_assert_cmpuint(count_helpers(), <=, 2);
    finish(&share);
}

/* A thread that lost its queue, as dispatch.c has it: it knows its share and nothing more. */
static void *take_back_run(void *opaque)
{
    g_usleep(20000); /* mostly longer than the share needs to begin to close */
    vu_helpers_take_back(((struct fs_share *)opaque)->helpers);
    return NULL;
}

/* Threads of queues that wait count as helpers. */
static void test_lend(void)
{
    struct fs_share share = {.proc_fds = -1, .label_tasks = -1};
    struct fuse_out_header reply[3];
    struct vu_elem elem[3];
    struct iovec iov[3];
    pthread_t thread;

    reset();
    wait_no_helpers();
    g_assert_false(vu_helpers_lend(NULL));
    share.helpers = fs_helpers_create(2);
    g_assert_true(vu_helpers_lend(share.helpers));
    for (unsigned i = 0; i < 3; i++)
        g_assert_cmpint(hand_on(&share, &elem[i], &reply[i], &iov[i], handler_gate), ==, FS_LATER);
    wait_running(1);
    g_assert_cmpuint(count_helpers(), ==, 1);
    g_assert_false(vu_helpers_lend(share.helpers));
    open_gate();
    wait_pushed(3);
    g_assert_cmpuint(n_most, ==, 1);
    g_assert_cmpint(pthread_create(&thread, NULL, take_back_run, &share), ==, 0);
    fs_share_close(&share);
    pthread_join(thread, NULL);
}

/* All that was handed on is answered before destroy returns. */
static void test_destroy_waits(void)
{
    static struct fuse_out_header reply[N_REQUESTS];
    static struct vu_elem elem[N_REQUESTS];
    static struct iovec iov[N_REQUESTS];
    struct fs_share share = {.helpers = NULL};

    reset();
    share.helpers = fs_helpers_create(3);
    for (unsigned i = 0; i < N_REQUESTS; i++)
        g_assert_cmpint(
            hand_on(&share, &elem[i], &reply[i], &iov[i], i % 2 ? handler_twice : handler_quick),
            ==, FS_LATER);
    finish(&share);
    g_assert_cmpuint(n_pushed, ==, N_REQUESTS);
    for (unsigned i = 0; i < N_REQUESTS; i++)
        g_assert_cmpuint(reply[i].unique, ==, 4711);
}

struct feeder {
    struct fs_share *share;
    struct fuse_out_header reply[N_REQUESTS];
    struct vu_elem elem[N_REQUESTS];
    struct iovec iov[N_REQUESTS];
};

static void *feeder_run(void *opaque)
{
    struct feeder *feeder = opaque;

    for (unsigned i = 0; i < N_REQUESTS; i++)
        hand_on(feeder->share, &feeder->elem[i], &feeder->reply[i], &feeder->iov[i], handler_quick);
    return NULL;
}

static void test_several_queues(void)
{
    struct fs_share share = {.helpers = NULL};
    struct feeder *feeders = g_new0(struct feeder, 4);
    pthread_t threads[4];

    reset();
    share.helpers = fs_helpers_create(3);
    for (unsigned i = 0; i < 4; i++) {
        feeders[i].share = &share;
        g_assert_cmpint(pthread_create(&threads[i], NULL, feeder_run, &feeders[i]), ==, 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    wait_pushed(4 * N_REQUESTS);
    finish(&share);
    g_assert_cmpuint(n_pushed, ==, 4 * N_REQUESTS);
    g_free(feeders);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hand-on/none", test_none);
    g_test_add_func("/hand-on/run", test_run);
    g_test_add_func("/hand-on/grow-and-shrink", test_grow_and_shrink);
    g_test_add_func("/hand-on/trickle", test_trickle);
    g_test_add_func("/hand-on/lend", test_lend);
    g_test_add_func("/hand-on/destroy-waits", test_destroy_waits);
    g_test_add_func("/hand-on/several-queues", test_several_queues);
    return g_test_run();
}
