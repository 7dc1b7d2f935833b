/* SPDX-License-Identifier: Apache-2.0 */
/* Options of memory: -m, -object memory-backend-*, -numa. */
#include <string.h>

#include "vmm/cmdline.h"

#define GROUP "Memory"

/* --- -m --- */

struct size_words {
    uint64_t maxmem;
    unsigned slots;
    struct vmm_config *config;
};

static bool parse_mebibytes(void *target, const char *value, GError **error)
{
    struct size_words *words = target;

    return vmm_parse_size(value, UINT64_C(1) << 20, &words->config->memory_size, error);
}

static const struct vmm_key size_keys[] = {
    {"size", VMM_KEY_CALL, .parse = parse_mebibytes, .metavar = "SIZE"},
    {"slots", VMM_KEY_UINT, offsetof(struct size_words, slots), 0, 256},
    {"maxmem", VMM_KEY_SIZE, offsetof(struct size_words, maxmem)},
};

static bool parse_memory(struct vmm_config *config, const char *value, GError **error)
{
    struct size_words words = {.config = config};

    if (!vmm_keys_parse(size_keys, G_N_ELEMENTS(size_keys), "size", value, &words, error))
        return false;
    if (config->memory_size == 0 || config->memory_size % 4096 != 0)
        return vmm_config_fail(error, "the size must be a multiple of 4096 bytes, and not 0");
    if (words.maxmem > config->memory_size)
        return vmm_config_fail(error, "maxmem: memory cannot be plugged in later here; it must be "
                                      "as large as size");
    return true;
}

/* --- -object --- */

static const char *const policies[] = {
    [VMM_POLICY_DEFAULT] = "default",
    [VMM_POLICY_PREFERRED] = "preferred",
    [VMM_POLICY_BIND] = "bind",
    [VMM_POLICY_INTERLEAVE] = "interleave",
    NULL,
};

static bool parse_host_nodes(void *target, const char *value, GError **error)
{
    struct vmm_memdev *memdev = target;

    return vmm_parse_range(value, &memdev->host_nodes, 64, error);
}

static const struct vmm_key memdev_keys[] = {
    {"id", VMM_KEY_STRING, offsetof(struct vmm_memdev, id), .metavar = "ID", .help = "its name"},
    {"size", VMM_KEY_SIZE, offsetof(struct vmm_memdev, size), .metavar = "SIZE", .help = "bytes"},
    {"share", VMM_KEY_BOOL, offsetof(struct vmm_memdev, share), .metavar = "on",
     .help = "back-ends see it"},
    {"mem-path", VMM_KEY_STRING, offsetof(struct vmm_memdev, mem_path), .metavar = "PATH",
     .help = "memory-backend-file: a folder (hugetlbfs), or a file"},
    {"hugetlb", VMM_KEY_BOOL, offsetof(struct vmm_memdev, hugetlb), .metavar = "on|off",
     .help = "huge pages"},
    {"hugetlbsize", VMM_KEY_SIZE, offsetof(struct vmm_memdev, hugetlbsize), .metavar = "SIZE",
     .help = "of one of them"},
    {"seal", VMM_KEY_BOOL, offsetof(struct vmm_memdev, seal), .metavar = "on|off",
     .help = "nobody can make the file smaller (on)"},
    {"prealloc", VMM_KEY_BOOL, offsetof(struct vmm_memdev, prealloc), .metavar = "on|off",
     .help = "all pages are there before the guest starts"},
    {"prealloc-threads", VMM_KEY_UINT, offsetof(struct vmm_memdev, prealloc_threads), 1, 256,
     .metavar = "N", .help = "so many fetch them"},
    {"host-nodes", VMM_KEY_CALL, .parse = parse_host_nodes, .metavar = "N[-M]",
     .help = "host NUMA nodes the pages come from; may be repeated"},
    {"policy", VMM_KEY_CHOICE, offsetof(struct vmm_memdev, policy), .choices = policies,
     .metavar = "default|preferred|bind|interleave", .help = "how host-nodes is meant"},
    {"merge", VMM_KEY_IGNORED},
    {"dump", VMM_KEY_IGNORED},
    {"reserve", VMM_KEY_IGNORED},
    {"discard-data", VMM_KEY_IGNORED},
    {"x-use-canonical-path-for-ramblock-id", VMM_KEY_IGNORED},
};

/* What an object must be by itself. */
static bool check_memdev(const struct vmm_config *config, const struct vmm_memdev *memdev,
                         bool is_file, GError **error)
{
    if (!memdev->id || !*memdev->id)
        return vmm_config_fail(error, "id: must be given");
    if (vmm_config_find_memdev(config, memdev->id))
        return vmm_config_fail(error, "id: %s is another object's", memdev->id);
    if (memdev->size == 0 || memdev->size % 4096 != 0)
        return vmm_config_fail(error, "size: must be given, as a multiple of 4096 bytes");
    if (is_file != (memdev->mem_path != NULL))
        return vmm_config_fail(error, is_file ? "mem-path: must be given"
                                              : "mem-path: is for memory-backend-file");
    if (memdev->hugetlbsize && !memdev->hugetlb)
        return vmm_config_fail(error, "hugetlbsize: needs hugetlb=on");
    if (memdev->hugetlbsize & (memdev->hugetlbsize - 1))
        return vmm_config_fail(error, "hugetlbsize: must be a power of two");
    if (memdev->hugetlb && is_file)
        return vmm_config_fail(error, "hugetlb: is for memory-backend-memfd; of a file, mem-path "
                                      "decides");
    if (memdev->policy == VMM_POLICY_DEFAULT && memdev->host_nodes)
        return vmm_config_fail(error, "host-nodes: needs a policy other than default");
    if (memdev->policy != VMM_POLICY_DEFAULT && !memdev->host_nodes)
        return vmm_config_fail(error, "policy: %s needs host-nodes", policies[memdev->policy]);
    return true;
}

static bool parse_object(struct vmm_config *config, const char *value, GError **error)
{
    static const char *const kinds[] = {"memory-backend-memfd", "memory-backend-file",
                                        "memory-backend-ram", "memory-backend-shm", NULL};
    const char *rest;
    g_autofree char *kind = vmm_keys_kind(value, &rest);
    bool is_file = strcmp(kind, "memory-backend-file") == 0;
    struct vmm_memdev *memdev;

    if (!g_strv_contains(kinds, kind))
        return vmm_config_fail(error,
                               "%s is not known; objects here are memory-backend-memfd and "
                               "memory-backend-file",
                               kind);
    memdev = g_new0(struct vmm_memdev, 1);
    memdev->seal = true;
    memdev->share =
        strcmp(kind, "memory-backend-memfd") == 0 || strcmp(kind, "memory-backend-shm") == 0;
    if (!vmm_keys_parse(memdev_keys, G_N_ELEMENTS(memdev_keys), NULL, rest, memdev, error) ||
        !check_memdev(config, memdev, is_file, error)) {
        vmm_memdev_free(memdev);
        return false;
    }
    g_ptr_array_add(config->memdevs, memdev);
    return true;
}

/* --- -numa --- */

struct node_words {
    struct vmm_numa_node node; /* first: cpus */
    int nodeid;
    int initiator;
};

static bool parse_node_cpus(void *target, const char *value, GError **error)
{
    struct node_words *words = target;

    return vmm_parse_range(value, words->node.cpus, VMM_MAX_CPUS, error);
}

static bool parse_node_mem(void *target, const char *value, GError **error)
{
    return vmm_config_fail(error, "give the node a memory backend instead: memdev=");
}

static const struct vmm_key node_keys[] = {
    {"nodeid", VMM_KEY_INT, offsetof(struct node_words, nodeid), 0, VMM_MAX_NODES - 1,
     .metavar = "N", .help = "its number (the next)"},
    {"cpus", VMM_KEY_CALL, .parse = parse_node_cpus, .metavar = "N[-M]",
     .help = "its vCPUs; may be repeated"},
    {"memdev", VMM_KEY_STRING, offsetof(struct node_words, node.memdev), .metavar = "ID",
     .help = "its memory"},
    {"initiator", VMM_KEY_INT, offsetof(struct node_words, initiator), 0, VMM_MAX_NODES - 1,
     .metavar = "N", .help = "the node whose vCPUs are nearest to it"},
    {"mem", VMM_KEY_CALL, .parse = parse_node_mem},
};

static bool parse_numa_node(struct vmm_config *config, const char *text, GError **error)
{
    struct node_words words = {.nodeid = (int)config->n_nodes, .initiator = VMM_NO_NODE};
    struct vmm_numa_node *node;

    if (!vmm_keys_parse(node_keys, G_N_ELEMENTS(node_keys), NULL, text, &words, error) ||
        (words.nodeid >= VMM_MAX_NODES &&
         !vmm_config_fail(error, "nodeid: %d is the last", VMM_MAX_NODES - 1)) ||
        (config->nodes[words.nodeid].exists &&
         !vmm_config_fail(error, "nodeid: %d is there already", words.nodeid))) {
        g_free(words.node.memdev);
        return false;
    }
    node = &config->nodes[words.nodeid];
    words.node.initiator = words.initiator;
    memcpy(words.node.distances, node->distances, sizeof(node->distances));
    *node = words.node;
    node->exists = true;
    config->n_nodes = MAX(config->n_nodes, (unsigned)words.nodeid + 1);
    return true;
}

struct distance_words {
    int src, dst, val;
};

static const struct vmm_key distance_keys[] = {
    {"src", VMM_KEY_INT, offsetof(struct distance_words, src), 0, VMM_MAX_NODES - 1},
    {"dst", VMM_KEY_INT, offsetof(struct distance_words, dst), 0, VMM_MAX_NODES - 1},
    {"val", VMM_KEY_INT, offsetof(struct distance_words, val), VMM_DISTANCE_OWN, 255},
};

static bool parse_numa_dist(struct vmm_config *config, const char *text, GError **error)
{
    struct distance_words words = {-1, -1, -1};

    if (!vmm_keys_parse(distance_keys, G_N_ELEMENTS(distance_keys), NULL, text, &words, error))
        return false;
    if (words.src < 0 || words.dst < 0 || words.val < 0)
        return vmm_config_fail(error, "src, dst and val must be given");
    if (words.src == words.dst && words.val != VMM_DISTANCE_OWN)
        return vmm_config_fail(error, "val: a node's distance to itself is %d", VMM_DISTANCE_OWN);
    config->nodes[words.src].distances[words.dst] = (uint8_t)words.val;
    return true;
}

struct place_words {
    int node_id, socket_id, core_id, thread_id;
};

static const struct vmm_key place_keys[] = {
    {"node-id", VMM_KEY_INT, offsetof(struct place_words, node_id), 0, VMM_MAX_NODES - 1},
    {"socket-id", VMM_KEY_INT, offsetof(struct place_words, socket_id), 0, VMM_MAX_CPUS},
    {"core-id", VMM_KEY_INT, offsetof(struct place_words, core_id), 0, VMM_MAX_CPUS},
    {"thread-id", VMM_KEY_INT, offsetof(struct place_words, thread_id), 0, VMM_MAX_CPUS},
    {"die-id", VMM_KEY_IGNORED},
};

/* Which vCPUs these are is known when -smp is. */
static bool parse_numa_cpu(struct vmm_config *config, const char *text, GError **error)
{
    struct place_words words = {-1, -1, -1, -1};
    struct vmm_cpu_place place;

    if (!vmm_keys_parse(place_keys, G_N_ELEMENTS(place_keys), NULL, text, &words, error))
        return false;
    if (words.node_id < 0 || !config->nodes[words.node_id].exists)
        return vmm_config_fail(error, "node-id: must be a node that was given before");
    place = (struct vmm_cpu_place){(unsigned)words.node_id, words.socket_id, words.core_id,
                                   words.thread_id};
    g_array_append_val(config->cpu_places, place);
    return true;
}

static const char *const hierarchies[] = {"memory", "first-level", "second-level", "third-level",
                                          NULL};
static const char *const data_types[] = {"access-latency",
                                         "read-latency",
                                         "write-latency",
                                         "access-bandwidth",
                                         "read-bandwidth",
                                         "write-bandwidth",
                                         NULL};

struct hmat_words {
    int initiator, target, hierarchy, data_type;
    int64_t latency_ns;
    uint64_t bandwidth;
};

static bool parse_latency(void *target, const char *value, GError **error)
{
    struct hmat_words *words = target;
    char *end;

    words->latency_ns = g_ascii_strtoll(value, &end, 10);
    if (end == value || (*end && strcmp(end, "ns") != 0) || words->latency_ns <= 0 ||
        words->latency_ns > 65534 * 1000)
        return vmm_config_fail(error, "expected nanoseconds, got \"%s\"", value);
    return true;
}

static const struct vmm_key hmat_keys[] = {
    {"initiator", VMM_KEY_INT, offsetof(struct hmat_words, initiator), 0, VMM_MAX_NODES - 1},
    {"target", VMM_KEY_INT, offsetof(struct hmat_words, target), 0, VMM_MAX_NODES - 1},
    {"hierarchy", VMM_KEY_CHOICE, offsetof(struct hmat_words, hierarchy), .choices = hierarchies},
    {"data-type", VMM_KEY_CHOICE, offsetof(struct hmat_words, data_type), .choices = data_types},
    {"latency", VMM_KEY_CALL, .parse = parse_latency},
    {"bandwidth", VMM_KEY_SIZE, offsetof(struct hmat_words, bandwidth)},
};

static bool parse_numa_hmat(struct vmm_config *config, const char *text, GError **error)
{
    struct hmat_words words = {-1, -1, -1, -1, 0, 0};
    struct vmm_hmat_lb lb;

    if (!vmm_keys_parse(hmat_keys, G_N_ELEMENTS(hmat_keys), NULL, text, &words, error))
        return false;
    if (words.initiator < 0 || words.target < 0 || words.hierarchy < 0 || words.data_type < 0)
        return vmm_config_fail(error, "initiator, target, hierarchy and data-type must be given");
    if (words.data_type < 3 ? !words.latency_ns || words.bandwidth
                            : !words.bandwidth || words.latency_ns)
        return vmm_config_fail(error, "%s takes %s=, and only that", data_types[words.data_type],
                               words.data_type < 3 ? "latency" : "bandwidth");
    lb = (struct vmm_hmat_lb){
        .initiator = (unsigned)words.initiator,
        .target = (unsigned)words.target,
        .hierarchy = (uint8_t)words.hierarchy,
        .data_type = (uint8_t)words.data_type,
        .latency_ns = (uint64_t)words.latency_ns,
        .bandwidth = words.bandwidth,
    };
    g_array_append_val(config->hmat_lb, lb);
    return true;
}

static const char *const associativities[] = {"none", "direct", "complex", NULL};
static const char *const write_policies[] = {"none", "write-back", "write-through", NULL};

struct cache_words {
    int node_id, level, associativity, policy, line;
    uint64_t size;
};

static const struct vmm_key cache_keys[] = {
    {"node-id", VMM_KEY_INT, offsetof(struct cache_words, node_id), 0, VMM_MAX_NODES - 1},
    {"size", VMM_KEY_SIZE, offsetof(struct cache_words, size)},
    {"level", VMM_KEY_INT, offsetof(struct cache_words, level), 1, 3},
    {"associativity", VMM_KEY_CHOICE, offsetof(struct cache_words, associativity),
     .choices = associativities},
    {"policy", VMM_KEY_CHOICE, offsetof(struct cache_words, policy), .choices = write_policies},
    {"line", VMM_KEY_INT, offsetof(struct cache_words, line), 1, UINT16_MAX},
};

static bool parse_numa_cache(struct vmm_config *config, const char *text, GError **error)
{
    struct cache_words words = {-1, -1, -1, -1, -1, 0};
    struct vmm_hmat_cache cache;

    if (!vmm_keys_parse(cache_keys, G_N_ELEMENTS(cache_keys), NULL, text, &words, error))
        return false;
    if (words.node_id < 0 || words.level < 0 || words.associativity < 0 || words.policy < 0 ||
        words.line < 0 || words.size == 0)
        return vmm_config_fail(
            error, "node-id, size, level, associativity, policy and line must be given");
    cache = (struct vmm_hmat_cache){
        .node = (unsigned)words.node_id,
        .size = words.size,
        .level = (uint8_t)words.level,
        .associativity = (uint8_t)words.associativity,
        .policy = (uint8_t)words.policy,
        .line = (uint16_t)words.line,
    };
    g_array_append_val(config->hmat_caches, cache);
    return true;
}

static const struct {
    const char *kind;
    bool (*parse)(struct vmm_config *config, const char *text, GError **error);
} numa_kinds[] = {
    {"node", parse_numa_node},    {"dist", parse_numa_dist},        {"cpu", parse_numa_cpu},
    {"hmat-lb", parse_numa_hmat}, {"hmat-cache", parse_numa_cache},
};

static bool parse_numa(struct vmm_config *config, const char *value, GError **error)
{
    const char *rest;
    g_autofree char *kind = vmm_keys_kind(value, &rest);

    for (size_t i = 0; i < G_N_ELEMENTS(numa_kinds); i++)
        if (strcmp(kind, numa_kinds[i].kind) == 0)
            return numa_kinds[i].parse(config, rest, error);
    return vmm_config_fail(error, "expected node, dist, cpu, hmat-lb or hmat-cache, got \"%s\"",
                           kind);
}

static bool parse_prealloc(struct vmm_config *config, const char *value, GError **error)
{
    config->mem_prealloc = true;
    return true;
}

static const struct vmm_cmdline_option memory_options[] = {
    {"m", "[size=]SIZE", size_keys, G_N_ELEMENTS(size_keys), parse_memory, GROUP,
     "RAM, in MiB without a suffix (128M, or what the nodes have)."},
    {"object", "memory-backend-memfd|memory-backend-file,KEY=VALUE...", memdev_keys,
     G_N_ELEMENTS(memdev_keys), parse_object, GROUP, "Memory for a node."},
    {"numa", "node|dist|cpu|hmat-lb|hmat-cache,KEY=VALUE...", node_keys, G_N_ELEMENTS(node_keys),
     parse_numa, GROUP,
     "A node of the guest. dist, with src=, dst= and val=: how far one is from another (10 itself, "
     "20). cpu, with node-id=, socket-id=, core-id=, thread-id=: a node's vCPUs by their place. "
     "hmat-lb, with initiator=, target=, hierarchy=, data-type= and latency= or bandwidth=: what a "
     "node's vCPUs see of another's memory. hmat-cache, with node-id=, size=, level=, "
     "associativity=, policy= and line=: a cache before a node's memory."},
    {"mem-prealloc", .parse = parse_prealloc, .group = GROUP,
     .help = "All of the memory is there before the guest starts."},
    {"overcommit", "WORD"},
};

const struct vmm_cmdline_group vmm_cmdline_memory = {
    memory_options,
    G_N_ELEMENTS(memory_options),
};
