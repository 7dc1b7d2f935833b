/* SPDX-License-Identifier: Apache-2.0 */
/* numa.h on machines of our own making. */
#include "vhost-user/numa.h"

#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>

static const char page[1];
static struct vu_numa_calls kernel_calls;

/* What the kernel would say, and what it was asked. */
static struct {
    unsigned node;
    int node_error;
    cpu_set_t allowed, cpus;
    unsigned preferred, n_set, n_preferred;
} host;

static int fake_node_of(const void *address, unsigned *ret_node)
{
    g_assert_true(address == page);
    *ret_node = host.node;
    return host.node_error;
}

static int fake_get_cpus(void *ret_cpus, unsigned len)
{
    g_assert_cmpuint(len, ==, sizeof(host.allowed));
    *(cpu_set_t *)ret_cpus = host.allowed;
    return 0;
}

static int fake_set_cpus(const void *cpus, unsigned len)
{
    host.cpus = *(const cpu_set_t *)cpus;
    host.n_set++;
    return 0;
}

static int fake_prefer(unsigned node)
{
    host.preferred = node;
    host.n_preferred++;
    return 0;
}

/* A machine whose nodes have these CPUs; NULL: there is no such node. All CPUs below 64 may be
 * used. */
static void learn(const char *const *cpulists, unsigned n)
{
    g_autofree char *root = g_dir_make_tmp("outboard-numa-XXXXXX", NULL);

    g_assert_nonnull(root);
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *dir = g_strdup_printf("%s/node%u", root, i);
        g_autofree char *file = g_build_filename(dir, "cpulist", NULL);

        if (!cpulists[i])
            continue;
        g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
        g_assert_true(g_file_set_contents(file, cpulists[i], -1, NULL));
    }
    vu_numa_learn(root);
    for (unsigned i = 0; i < n; i++) {
        g_autofree char *dir = g_strdup_printf("%s/node%u", root, i);
        g_autofree char *file = g_build_filename(dir, "cpulist", NULL);

        if (!cpulists[i])
            continue;
        g_unlink(file);
        g_rmdir(dir);
    }
    g_rmdir(root);
    memset(&host, 0, sizeof(host));
    for (unsigned i = 0; i < 64; i++)
        CPU_SET(i, &host.allowed);
}

static void test_nodes(void)
{
    /* One without CPUs, as memory that is far away, and one number that is missing. */
    static const char *const nodes[] = {"0-1,8\n", NULL, "\n", "2-3,9-10,20\n"};

    learn(nodes, G_N_ELEMENTS(nodes));
    host.node = 3;
    g_assert_true(vu_numa_follow(page));
    g_assert_cmpint(CPU_COUNT(&host.cpus), ==, 5);
    g_assert_true(CPU_ISSET(2, &host.cpus) && CPU_ISSET(10, &host.cpus) &&
                  CPU_ISSET(20, &host.cpus));
    g_assert_cmpuint(host.preferred, ==, 3);
    host.node = 0;
    g_assert_true(vu_numa_follow(page));
    g_assert_cmpint(CPU_COUNT(&host.cpus), ==, 3);
    g_assert_true(CPU_ISSET(8, &host.cpus));

    /* No CPUs there, no such node, or nothing is known of the page. */
    host.n_set = host.n_preferred = 0;
    host.node = 2;
    g_assert_false(vu_numa_follow(page));
    host.node = 64;
    g_assert_false(vu_numa_follow(page));
    host.node_error = -EFAULT;
    host.node = 0;
    g_assert_false(vu_numa_follow(page));
    g_assert_false(vu_numa_follow(NULL));
    g_assert_cmpuint(host.n_set + host.n_preferred, ==, 0);
}

/* Whoever has chosen the CPUs is obeyed. */
static void test_allowed(void)
{
    static const char *const nodes[] = {"0-1\n", "2-3\n"};

    learn(nodes, G_N_ELEMENTS(nodes));
    CPU_ZERO(&host.allowed);
    CPU_SET(3, &host.allowed);
    host.node = 0;
    g_assert_false(vu_numa_follow(page));
    g_assert_cmpuint(host.n_set + host.n_preferred, ==, 0);
    host.node = 1;
    g_assert_true(vu_numa_follow(page));
    g_assert_cmpint(CPU_COUNT(&host.cpus), ==, 1);
    g_assert_true(CPU_ISSET(3, &host.cpus));
}

/* Nobody is asked anything. */
static void test_one_node(void)
{
    static const char *const nodes[] = {"0-63\n", "\n"};

    learn(nodes, G_N_ELEMENTS(nodes));
    g_assert_false(vu_numa_follow(page));
    vu_numa_learn("/nowhere");
    g_assert_false(vu_numa_follow(page));
    g_assert_cmpuint(host.n_set + host.n_preferred, ==, 0);
}

/* This machine, of which we say that it has a node more. */
static void test_kernel(void)
{
    static const char *const nodes[] = {"0-1023\n", "1023\n"};
    g_autofree char *memory = g_strdup("here");
    const struct vu_numa_calls fakes = vu_numa_calls;
    cpu_set_t before, after;
    unsigned node;

    g_assert_cmpint(kernel_calls.get_cpus(&before, sizeof(before)), ==, 0);
    if (kernel_calls.node_of(memory, &node) < 0 || node != 0) {
        g_test_skip("not on node 0");
        return;
    }
    learn(nodes, G_N_ELEMENTS(nodes));
    vu_numa_calls = kernel_calls;
    g_assert_true(vu_numa_follow(memory));
    vu_numa_calls = fakes;
    g_assert_cmpint(kernel_calls.get_cpus(&after, sizeof(after)), ==, 0);
    g_assert_true(CPU_EQUAL(&before, &after));
    g_assert_cmpint(kernel_calls.prefer(0), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    kernel_calls = vu_numa_calls;
    vu_numa_calls = (struct vu_numa_calls){
        .node_of = fake_node_of,
        .get_cpus = fake_get_cpus,
        .set_cpus = fake_set_cpus,
        .prefer = fake_prefer,
    };
    g_test_add_func("/numa/nodes", test_nodes);
    g_test_add_func("/numa/allowed", test_allowed);
    g_test_add_func("/numa/one-node", test_one_node);
    g_test_add_func("/numa/kernel", test_kernel);
    return g_test_run();
}
