/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine that a command line describes: plain data, filled by cmdline.h, checked as a whole by
 * vmm_config_check, and constant from then on. The names are QEMU's.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VMM_MAX_CPUS     255
#define VMM_MAX_NODES    64
#define VMM_MAX_DEVICES  31
#define VMM_MAX_SLOTS    32
#define VMM_DISTANCE_OWN 10 /* SLIT: a node to itself */
#define VMM_DISTANCE_FAR 20 /* and, unless said, to another */
#define VMM_NO_NODE      (-1)

enum vmm_numa_policy {
    VMM_POLICY_DEFAULT,
    VMM_POLICY_PREFERRED,
    VMM_POLICY_BIND,
    VMM_POLICY_INTERLEAVE,
};

/* -object memory-backend-memfd or memory-backend-file; without one, -m makes one. */
struct vmm_memdev {
    char *id;
    uint64_t size;    /* bytes */
    char *mem_path;   /* memory-backend-file: a file, or a folder to make one in; NULL: memfd */
    bool share, seal; /* share=off is refused where a vhost-user device needs it */
    bool hugetlb;
    uint64_t hugetlbsize; /* bytes; 0: the kernel's default */
    bool prealloc;
    unsigned prealloc_threads; /* 0: one for each host CPU of the nodes, at most 16 */
    uint64_t host_nodes;       /* bit mask */
    enum vmm_numa_policy policy;
};

/* -numa node */
struct vmm_numa_node {
    bool exists;
    char *memdev;                     /* id; NULL: a node without memory */
    uint64_t cpus[4];                 /* bit mask of vCPUs */
    uint8_t distances[VMM_MAX_NODES]; /* 0: not said */
    int initiator; /* node whose CPUs are nearest, for HMAT; VMM_NO_NODE: not said */
};

/* -numa cpu: vCPUs of a node, by where they sit; -1: anywhere. */
struct vmm_cpu_place {
    unsigned node;
    int socket, core, thread;
};

/* -numa hmat-lb: latency or bandwidth from an initiator to a target. ACPI 6.4 section 5.2.27.4. */
struct vmm_hmat_lb {
    unsigned initiator, target; /* nodes */
    uint8_t hierarchy;          /* 0: memory, 1 to 3: cache levels */
    uint8_t data_type;          /* 0 access latency, 1 read, 2 write; 3 to 5 bandwidth likewise */
    uint64_t latency_ns, bandwidth; /* one of them; bytes a second */
};

/* -chardev socket */
struct vmm_chardev {
    char *id;
    char *path;
    unsigned reconnect_ms; /* 0: with back-off; back-ends are always awaited */
    unsigned reply_ms;     /* how long an answer may take; 0: as long as is usual */
    bool is_used;          /* by a device */
};

/* -numa hmat-cache: a cache on the way to a node's memory. ACPI 6.4 section 5.2.27.5. */
struct vmm_hmat_cache {
    unsigned node;
    uint64_t size;
    uint8_t level;         /* 1 to 3 */
    uint8_t associativity; /* 0 none, 1 direct, 2 complex */
    uint8_t policy;        /* 0 none, 1 write-back, 2 write-through */
    uint16_t line;         /* bytes */
};

enum vmm_device_kind {
    VMM_DEVICE_FS,
    VMM_DEVICE_BLK,
    VMM_DEVICE_RNG,
    VMM_DEVICE_GENERIC, /* vhost-user-device-pci: virtio-id=, num_vqs=, config_size= */
};

/*
 * A PCI host bridge and its bus: the one there always is ("pcie.0", the first), -device pxb-pcie,
 * or what numa_node= of a device needs.
 */
struct vmm_bridge_config {
    char *id;         /* NULL: nobody has named it */
    unsigned bus_nr;  /* 0, of another than the first: any; after the check never */
    int numa_node;    /* VMM_NO_NODE */
    int slot;         /* addr=, of pxb-pcie: where it shows on bus 0; -1: the next that is free */
    unsigned n_slots; /* of its bus; after the check */
};

/* -device pcie-root-port: a name for a place on the bus of a bridge, for one device. */
struct vmm_port_config {
    char *id, *bus;  /* bus: of a bridge; NULL: the first */
    unsigned bridge; /* its index; after the check */
    bool is_used;
};

/* -device vhost-user-...-pci */
struct vmm_device_config {
    enum vmm_device_kind kind;
    char *id; /* NULL: none was given */
    char *chardev;
    char *tag;           /* fs; NULL: as the back-end has it */
    unsigned num_queues; /* request queues; 0: as the back-end likes */
    unsigned queue_size; /* 0: the kind's own */
    bool packed;
    unsigned virtio_id, config_size; /* generic */
    char *bus;                       /* id of a bridge or a port; NULL: as numa_node says */
    unsigned bridge;                 /* index of the one it is behind; after the check */
    int slot;                        /* addr=; -1: the next that is free */
    int numa_node;                   /* VMM_NO_NODE */
};

enum vmm_serial_kind {
    VMM_SERIAL_NONE,
    VMM_SERIAL_STDIO,
    VMM_SERIAL_FILE,
    VMM_SERIAL_UNIX, /* server; wait=on waits for a client before the guest starts */
};

struct vmm_serial_config {
    enum vmm_serial_kind kind;
    char *path;
    bool wait;
    bool is_given; /* by -serial */
};

struct vmm_topology {
    unsigned n_cpus, max_cpus;
    unsigned sockets, cores, threads; /* their product is max_cpus */
};

struct vmm_config {
    char *name, *process_name; /* of -name; the process's own */
    uint64_t memory_size;      /* bytes; 0: not said; after the check what there is */
    char *memory_backend;      /* id of the memdev that is all RAM; NULL: not said */
    struct vmm_topology smp;
    GPtrArray *cpu_features; /* of -cpu: "-avx512f", "+invtsc"; owned strings */
    char *kernel, *initrd, *append;
    GPtrArray *memdevs; /* of struct vmm_memdev; after the check one for each node with memory */
    struct vmm_numa_node nodes[VMM_MAX_NODES];
    unsigned n_nodes;    /* the highest that exists and one; at least 1 after the check */
    GArray *cpu_places;  /* of struct vmm_cpu_place; the nodes have them after the check */
    GArray *hmat_lb;     /* of struct vmm_hmat_lb */
    GArray *hmat_caches; /* of struct vmm_hmat_cache */
    GPtrArray *chardevs; /* of struct vmm_chardev */
    GPtrArray *bridges;  /* of struct vmm_bridge_config; at least one */
    GPtrArray *ports;    /* of struct vmm_port_config */
    GPtrArray *devices;  /* of struct vmm_device_config */
    struct vmm_serial_config serial;
    char *qmp_path, *pidfile;
    bool mem_prealloc;                                    /* all memdevs */
    bool daemonize, no_reboot, no_shutdown, start_paused; /* -S */
    bool no_sandbox;                                      /* no seccomp filters, privileges kept */
    int affinity[VMM_MAX_CPUS];                           /* host CPU; -1: any */
    bool probe;
};

/* With the defaults: one vCPU, 128 MiB, a serial console on stdio. */
void vmm_config_init(struct vmm_config *config);
void vmm_config_clear(struct vmm_config *config);

/*
 * Checks what no option can know alone (sizes that do not sum, a memdev used twice, vCPUs on no
 * node) and fills in what was left out: a node 0, its memdev, distances, the topology. False with
 * *error, which names the option and the rule.
 */
bool vmm_config_check(struct vmm_config *config, GError **error);

/* --- config-devices.c --- */

/* The devices' part of it. */
bool vmm_config_check_devices(struct vmm_config *config, GError **error);
/* The same for one of the devices alone, by its index; takes its chardev and its port. */
bool vmm_config_check_device(struct vmm_config *config, unsigned index, GError **error);
/* It is one of them no more, and others may have what it took. */
void vmm_config_remove_device(struct vmm_config *config, const struct vmm_device_config *device);
const struct vmm_bridge_config *vmm_config_bridge(const struct vmm_config *config, unsigned index);

/* --- config.c --- */

void vmm_memdev_free(struct vmm_memdev *memdev);
void vmm_chardev_free(struct vmm_chardev *chardev);
void vmm_bridge_config_free(struct vmm_bridge_config *bridge);
void vmm_port_config_free(struct vmm_port_config *port);
void vmm_device_config_free(struct vmm_device_config *device);

/* NULL where there is none of that id. */
struct vmm_memdev *vmm_config_find_memdev(const struct vmm_config *config, const char *id);
struct vmm_chardev *vmm_config_find_chardev(const struct vmm_config *config, const char *id);
/* The node a vCPU belongs to. After the check. */
unsigned vmm_config_cpu_node(const struct vmm_config *config, unsigned cpu);
