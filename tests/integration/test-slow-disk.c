/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtiofsd on a disk that hangs (slow-disk.h), with two request queues: who waits for the disk
 * holds nobody up, in its own queue or another; threads are as many as wait, never more than
 * --thread-pool-size, and gone when all is quiet.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "blk-control.h"
#include "slow-disk.h"
#include "vhost-user/driver.h"
#include "vhost-user/frontend.h"

#define N_QUEUES    2 /* of requests; behind the one for FORGETs */
#define N_CALLS     128
#define ROOM        8192 /* bytes of each buffer */
#define PATIENCE_MS 60000

struct call {
    uint8_t *out, *in;
    uint64_t out_gpa, in_gpa;
    bool done;
    int result; /* bytes of the reply, or -errno */
};

static struct guest {
    char *dir, *share, *socket, *control;
    int pid;
    struct vu_shmem shmem;
    struct vu_frontend *frontend;
    struct vu_driver *queues[1 + N_QUEUES];
    struct call calls[N_CALLS];
    unsigned n_calls;
} guest;

static void daemon_start(const char *pool)
{
    g_autofree char *socket = g_strconcat("--socket-path=", guest.socket, NULL);
    g_autofree char *share = g_strconcat("--shared-dir=", guest.share, NULL);
    g_autofree char *control = g_strconcat("--control=", guest.control, NULL);

    guest.pid = fork();
    g_assert_cmpint(guest.pid, >=, 0);
    if (guest.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(g_getenv("VIRTIOFSD"), "virtiofsd", socket, share, control, pool, "--tag=slow",
              "--sandbox=none", "--num-request-queues=2", "--log-level=warning", NULL);
        _exit(99);
    }
}

static void daemon_end(void)
{
    int status;

    kill(guest.pid, SIGTERM);
    g_assert_cmpint(waitpid(guest.pid, &status, 0), ==, guest.pid);
    g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Threads that serve requests: one for each queue, those that were replaced, and helpers. */
static unsigned daemon_n_threads(void)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task", guest.pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *tid;
    unsigned n = 0;

    while ((tid = g_dir_read_name(dir))) {
        g_autofree char *comm_path = g_build_filename(path, tid, "comm", NULL);
        g_autofree char *comm = NULL;

        if (g_file_get_contents(comm_path, &comm, NULL, NULL))
            n += g_str_has_prefix(comm, "vq") || g_str_has_prefix(comm, "helper");
    }
    return n;
}

static void guest_connect(void)
{
    const struct vu_frontend_config config = {
        .name = "test",
        .features = VU_BIT(VU_F_VERSION_1) | VU_BIT(VU_F_PROTOCOL_FEATURES),
        .protocol_features = VU_BIT(VU_PF_MQ) | VU_BIT(VU_PF_REPLY_ACK),
    };
    uint64_t features;

    vu_shmem_init(&guest.shmem);
    g_assert_cmpint(vu_shmem_add(&guest.shmem, 0, 16 << 20), ==, 0);
    guest.frontend = vu_frontend_create(&config);
    g_assert_cmpint(vu_frontend_connect(guest.frontend, guest.socket, PATIENCE_MS), ==, 0);
    features = vu_frontend_features(guest.frontend);
    g_assert_cmpint(vu_frontend_set_features(guest.frontend, features), ==, 0);
    g_assert_cmpint(vu_frontend_set_memory(guest.frontend, &guest.shmem), ==, 0);
    for (unsigned i = 0; i <= N_QUEUES; i++) {
        const struct vu_driver_config queue = {.index = i, .num = 256, .features = features};

        g_assert_cmpint(vu_driver_create(&guest.shmem, &queue, &guest.queues[i]), ==, 0);
        g_assert_cmpint(vu_frontend_start_driver(guest.frontend, guest.queues[i]), ==, 0);
    }
    for (unsigned i = 0; i < N_CALLS; i++) {
        struct call *call = &guest.calls[i];

        call->out = vu_shmem_alloc(&guest.shmem, ROOM, 4096, &call->out_gpa);
        call->in = vu_shmem_alloc(&guest.shmem, ROOM, 4096, &call->in_gpa);
        g_assert_true(call->out && call->in);
    }
    guest.n_calls = 0;
}

/* Puts a request on queue 1 or 2; a kick sends it. */
static struct call *guest_add(unsigned queue, uint32_t opcode, uint64_t nodeid, const void *args,
                              size_t args_len, const char *name)
{
    struct call *call = &guest.calls[guest.n_calls++];
    size_t name_len = name ? strlen(name) + 1 : 0;
    const struct fuse_in_header header = {
        .len = (uint32_t)(sizeof(header) + args_len + name_len),
        .opcode = opcode,
        .unique = guest.n_calls,
        .nodeid = nodeid,
    };
    const struct vu_sg sg[] = {{call->out_gpa, header.len}, {call->in_gpa, ROOM}};

    g_assert_cmpuint(guest.n_calls, <=, N_CALLS);
    memcpy(call->out, &header, sizeof(header));
    if (args_len > 0)
        memcpy(call->out + sizeof(header), args, args_len);
    if (name)
        memcpy(call->out + sizeof(header) + args_len, name, name_len);
    call->done = false;
    g_assert_cmpint(vu_driver_add(guest.queues[queue], sg, 1, 1, call), ==, 0);
    return call;
}

static struct call *guest_send(unsigned queue, uint32_t opcode, uint64_t nodeid, const void *args,
                               size_t args_len, const char *name)
{
    struct call *call = guest_add(queue, opcode, nodeid, args, args_len, name);

    vu_driver_kick(guest.queues[queue]);
    return call;
}

static void guest_harvest(void)
{
    struct vu_driver_used used;

    for (unsigned i = 1; i <= N_QUEUES; i++)
        while (vu_driver_harvest(guest.queues[i], &used, 1) > 0) {
            struct call *call = used.token;
            struct fuse_out_header header;

            memcpy(&header, call->in, sizeof(header));
            g_assert_cmpuint(header.len, ==, used.len);
            g_assert_false(call->done);
            call->done = true;
            call->result = header.error ? header.error : (int)(used.len - sizeof(header));
        }
}

static int guest_wait(const struct call *call)
{
    gint64 until = g_get_monotonic_time() + PATIENCE_MS * 1000;

    for (guest_harvest(); !call->done; guest_harvest()) {
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_usleep(200);
    }
    return call->result;
}

static int guest_lookup(unsigned queue, const char *name, uint64_t *ret_nodeid)
{
    struct fuse_entry_out entry;
    const struct call *call = guest_send(queue, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, name);
    int ret = guest_wait(call);

    memcpy(&entry, call->in + sizeof(struct fuse_out_header), sizeof(entry));
    if (ret_nodeid)
        *ret_nodeid = entry.nodeid;
    return ret;
}

static void guest_init(void)
{
    const struct fuse_init_in init = {.major = FUSE_KERNEL_VERSION, .minor = 36};

    g_assert_cmpint(guest_wait(guest_send(1, FUSE_INIT, 0, &init, sizeof(init), NULL)), >, 0);
}

static struct call *guest_getattr(unsigned queue, uint64_t nodeid)
{
    const struct fuse_getattr_in getattr = {0};

    return guest_send(queue, FUSE_GETATTR, nodeid, &getattr, sizeof(getattr), NULL);
}

static void wait_waiting(unsigned n)
{
    gint64 until = g_get_monotonic_time() + PATIENCE_MS * 1000;

    while (slow_disk_n_waiting() < n) {
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_usleep(200);
    }
}

static void begin(const char *pool)
{
    daemon_start(pool);
    guest_connect();
    guest_init();
}

/* What has been counted: requests of all kinds, and those that no queue's thread ended. */
static void get_stats(int64_t *ret_depth, int64_t *ret_n, int64_t *ret_n_helped)
{
    g_autofree char *line = blk_control_ask(guest.control, "{\"execute\":\"query-stats\"}");
    g_autoptr(JsonNode) node = json_from_string(line, NULL);
    JsonObject *total = json_object_get_object_member(
        json_object_get_object_member(json_node_get_object(node), "return"), "total");
    JsonObjectIter iter;
    JsonNode *kind;

    *ret_depth = json_object_get_int_member(total, "depth");
    *ret_n = *ret_n_helped = 0;
    json_object_iter_init(&iter, total);
    while (json_object_iter_next(&iter, NULL, &kind))
        if (JSON_NODE_HOLDS_OBJECT(kind)) {
            *ret_n += json_object_get_int_member(json_node_get_object(kind), "operations");
            *ret_n_helped += json_object_get_int_member(json_node_get_object(kind), "helped");
        }
}

/* Nothing is counted twice or left out, whoever ended it. */
static void assert_counted(bool any_helped)
{
    int64_t depth, n, n_helped;

    get_stats(&depth, &n, &n_helped);
    g_assert_cmpint(depth, ==, 0);
    g_assert_cmpint(n, ==, guest.n_calls);
    g_assert_true(any_helped == (n_helped > 0));
}

static void end(void)
{
    slow_disk_open();
    vu_frontend_destroy(guest.frontend);
    for (unsigned i = 0; i <= N_QUEUES; i++)
        vu_driver_destroy(guest.queues[i]);
    vu_shmem_clear(&guest.shmem);
    daemon_end();
}

/* All that is sent while `stuck` waits is answered, on both queues. */
static void assert_others_go_on(const struct call *stuck)
{
    int64_t depth, n, n_helped;

    for (unsigned i = 0; i < 10; i++)
        for (unsigned queue = 1; queue <= N_QUEUES; queue++)
            g_assert_cmpint(guest_lookup(queue, "file", NULL), >, 0);
    g_assert_false(stuck->done);
    get_stats(&depth, &n, &n_helped);
    g_assert_cmpint(depth, ==, 1);
    g_assert_cmpint(n, ==, guest.n_calls - 1);
}

/* The answer to a LOOKUP of what does not exist, which the guest may or may not keep. */
static void assert_no_name(const struct call *call)
{
    int ret = guest_wait(call);
    struct fuse_entry_out entry;

    memcpy(&entry, call->in + sizeof(struct fuse_out_header), sizeof(entry));
    g_assert_true(ret == -ENOENT || (ret == sizeof(entry) && entry.nodeid == 0));
}

/* The disk hangs in any kind of request, whether it was ever slow before or not. */
static void test_one_waits(void)
{
    struct fuse_open_in open = {.flags = O_RDONLY};
    struct fuse_read_in read = {.size = 4096};
    struct fuse_open_out opened;
    uint64_t lazy;
    struct call *call;

    begin("--thread-pool-size=8");
    g_assert_cmpint(guest_lookup(1, "lazy", &lazy), >, 0);
    call = guest_send(1, FUSE_OPEN, lazy, &open, sizeof(open), NULL);
    g_assert_cmpint(guest_wait(call), ==, sizeof(opened));
    memcpy(&opened, call->in + sizeof(struct fuse_out_header), sizeof(opened));
    read.fh = opened.fh;

    slow_disk_shut(SLOW_DISK_GETATTR);
    call = guest_getattr(1, lazy);
    assert_others_go_on(call);
    slow_disk_open();
    g_assert_cmpint(guest_wait(call), ==, sizeof(struct fuse_attr_out));

    slow_disk_shut(SLOW_DISK_READ);
    call = guest_send(2, FUSE_READ, lazy, &read, sizeof(read), NULL);
    assert_others_go_on(call);
    slow_disk_open();
    g_assert_cmpint(guest_wait(call), ==, 4096);

    slow_disk_shut(SLOW_DISK_LOOKUP);
    call = guest_send(1, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "slow");
    assert_others_go_on(call);
    slow_disk_open();
    assert_no_name(call);
    assert_counted(true);
    end();
}

/* In the middle of what has come at once: what was done before it is answered, too. */
static void test_batch(void)
{
    struct call *calls[9], *stuck = NULL;

    begin("--thread-pool-size=8");
    slow_disk_shut(SLOW_DISK_LOOKUP);
    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++) {
        bool is_slow = i == G_N_ELEMENTS(calls) / 2;

        calls[i] = guest_add(1, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, is_slow ? "slow" : "file");
        stuck = is_slow ? calls[i] : stuck;
    }
    vu_driver_kick(guest.queues[1]);
    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++)
        if (calls[i] != stuck)
            g_assert_cmpint(guest_wait(calls[i]), >, 0);
    g_assert_false(stuck->done);
    slow_disk_open();
    assert_no_name(stuck);
    assert_counted(true);
    end();
}

static void wait_threads(unsigned n)
{
    gint64 until = g_get_monotonic_time() + PATIENCE_MS * 1000;

    while (daemon_n_threads() != n) {
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_usleep(1000);
    }
}

/* More of them than threads: threads grow to the bound and not beyond, all requests are answered in
 * the end, and the threads leave. */
static void check_bound(unsigned n_pool, bool lookups)
{
    struct call *calls[60];
    uint64_t lazy;

    for (unsigned queue = 1; queue <= N_QUEUES; queue++)
        guest_lookup(queue, "lazy", &lazy);
    wait_threads(1 + N_QUEUES);
    slow_disk_shut(lookups ? SLOW_DISK_LOOKUP : SLOW_DISK_GETATTR);
    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++) {
        unsigned queue = 1 + i % N_QUEUES;
        g_autofree char *name = g_strdup_printf("slow%u", i);

        calls[i] = lookups ? guest_send(queue, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, name)
                           : guest_getattr(queue, lazy);
    }
    wait_threads(1 + N_QUEUES + n_pool);
    g_usleep(100000); /* for what must not happen */
    g_assert_cmpuint(daemon_n_threads(), ==, 1 + N_QUEUES + n_pool);
    g_assert_cmpuint(slow_disk_n_waiting(), <=, n_pool + N_QUEUES);
    slow_disk_open();
    for (unsigned i = 0; i < G_N_ELEMENTS(calls); i++) {
        if (lookups)
            assert_no_name(calls[i]);
        else
            g_assert_cmpint(guest_wait(calls[i]), ==, sizeof(struct fuse_attr_out));
    }
    wait_threads(1 + N_QUEUES);
}

static void test_bound(void)
{
    begin("--thread-pool-size=4");
    check_bound(4, true);
    g_assert_cmpint(guest_lookup(1, "file", NULL), >, 0);
    assert_counted(true);
    end();
    begin("--thread-pool-size=3");
    check_bound(3, false);
    g_assert_cmpint(guest_lookup(2, "file", NULL), >, 0);
    end();
}

/* Without threads beside it, a queue waits with its request; the other one does not. */
static void test_alone(void)
{
    struct call *stuck, *behind;

    begin("--thread-pool-size=0");
    slow_disk_shut(SLOW_DISK_LOOKUP);
    stuck = guest_send(1, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "slow");
    wait_waiting(1);
    behind = guest_send(1, FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "file");
    for (unsigned i = 0; i < 20; i++)
        g_assert_cmpint(guest_lookup(2, "file", NULL), >, 0);
    g_assert_false(stuck->done || behind->done);
    slow_disk_open();
    assert_no_name(stuck);
    g_assert_cmpint(guest_wait(behind), >, 0);
    assert_counted(false);
    end();
}

int main(int argc, char **argv)
{
    const char *why;
    int ret;

    g_test_init(&argc, &argv, NULL);
    guest.dir = g_dir_make_tmp("slow-disk-XXXXXX", NULL);
    guest.share = g_build_filename(guest.dir, "share", NULL);
    guest.socket = g_build_filename(guest.dir, "socket", NULL);
    guest.control = g_build_filename(guest.dir, "control", NULL);
    g_assert_cmpint(g_mkdir(guest.share, 0755), ==, 0);
    if (!slow_disk_start(guest.share, &why)) {
        g_print("1..0 # SKIP %s\n", why);
        ret = 0;
    } else {
        g_test_add_func("/slow-disk/one-waits", test_one_waits);
        g_test_add_func("/slow-disk/batch", test_batch);
        g_test_add_func("/slow-disk/bound", test_bound);
        g_test_add_func("/slow-disk/alone", test_alone);
        ret = g_test_run();
        slow_disk_stop();
    }
    g_rmdir(guest.share);
    g_unlink(guest.socket);
    g_unlink(guest.control);
    g_rmdir(guest.dir);
    return ret;
}
