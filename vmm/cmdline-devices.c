/* SPDX-License-Identifier: Apache-2.0 */
/* Options of devices and of what the machine talks to: -chardev, -device, -serial, -qmp. */
#include <string.h>

#include "vmm/cmdline.h"

#define GROUP "Devices"

/* --- -chardev --- */

struct chardev_words {
    struct vmm_chardev chardev;
    unsigned reconnect_s;
    bool server, wait;
};

static const struct vmm_key chardev_keys[] = {
    {"id", VMM_KEY_STRING, offsetof(struct chardev_words, chardev.id), .metavar = "ID",
     .help = "its name"},
    {"path", VMM_KEY_STRING, offsetof(struct chardev_words, chardev.path), .metavar = "PATH",
     .help = "the back-end's socket"},
    {"reconnect-ms", VMM_KEY_UINT, offsetof(struct chardev_words, chardev.reconnect_ms), 0, 3600000,
     .metavar = "N", .help = "pause between attempts to connect again (from 10 on, doubling)"},
    {"reconnect", VMM_KEY_UINT, offsetof(struct chardev_words, reconnect_s), 0, 3600,
     .metavar = "N", .help = "the same in seconds"},
    {"server", VMM_KEY_BOOL, offsetof(struct chardev_words, server)},
    {"wait", VMM_KEY_BOOL, offsetof(struct chardev_words, wait)},
};

static bool check_chardev(const struct vmm_config *config, const struct chardev_words *words,
                          GError **error)
{
    if (!words->chardev.id || !*words->chardev.id)
        return vmm_config_fail(error, "id: must be given");
    if (vmm_config_find_chardev(config, words->chardev.id))
        return vmm_config_fail(error, "id: %s is another's", words->chardev.id);
    if (!words->chardev.path || !*words->chardev.path)
        return vmm_config_fail(error, "path: must be given");
    if (words->server)
        return vmm_config_fail(error, "server: back-ends listen, and we connect");
    return true;
}

static bool parse_chardev(struct vmm_config *config, const char *value, GError **error)
{
    struct chardev_words words = {0};
    const char *rest;
    g_autofree char *kind = vmm_keys_kind(value, &rest);
    struct vmm_chardev *chardev;

    if (strcmp(kind, "socket") != 0)
        return vmm_config_fail(error, "expected socket, got \"%s\"", kind);
    if (!vmm_keys_parse(chardev_keys, G_N_ELEMENTS(chardev_keys), NULL, rest, &words, error) ||
        !check_chardev(config, &words, error)) {
        g_free(words.chardev.id);
        g_free(words.chardev.path);
        return false;
    }
    if (words.reconnect_s)
        words.chardev.reconnect_ms = words.reconnect_s * 1000;
    chardev = g_new(struct vmm_chardev, 1);
    *chardev = words.chardev;
    g_ptr_array_add(config->chardevs, chardev);
    return true;
}

/* --- -device --- */

static bool parse_address(void *target, const char *value, GError **error)
{
    struct vmm_device_config *device = target;

    return vmm_cmdline_parse_slot(value, &device->slot, error);
}

#define COMMON_KEYS                                                                               \
    {"id", VMM_KEY_STRING, offsetof(struct vmm_device_config, id), .metavar = "ID",               \
     .help = "its name, for QMP"},                                                                \
        {"chardev", VMM_KEY_STRING, offsetof(struct vmm_device_config, chardev), .metavar = "ID", \
         .help = "the back-end"},                                                                 \
        {"queue-size",                                                                            \
         VMM_KEY_UINT,                                                                            \
         offsetof(struct vmm_device_config, queue_size),                                          \
         2,                                                                                       \
         32768,                                                                                   \
         .metavar = "N",                                                                          \
         .help = "entries of a queue"},                                                           \
        {"packed", VMM_KEY_BOOL, offsetof(struct vmm_device_config, packed), .metavar = "on|off", \
         .help = "packed rings are offered"},                                                     \
        {"addr", VMM_KEY_CALL, .parse = parse_address, .metavar = "SLOT",                         \
         .help = "its slot, in hexadecimal"},                                                     \
        {"numa_node",                                                                             \
         VMM_KEY_INT,                                                                             \
         offsetof(struct vmm_device_config, numa_node),                                           \
         0,                                                                                       \
         VMM_MAX_NODES - 1,                                                                       \
         .metavar = "N",                                                                          \
         .help = "the node it is near to"},                                                       \
        {"bus", VMM_KEY_STRING, offsetof(struct vmm_device_config, bus), .metavar = "ID",         \
         .help = "the host bridge or port it is behind"},                                         \
        {"disable-legacy", VMM_KEY_IGNORED}, {"disable-modern", VMM_KEY_IGNORED},                 \
        {"iommu_platform", VMM_KEY_IGNORED}, {"ats", VMM_KEY_IGNORED},                            \
        {"vectors", VMM_KEY_IGNORED}, {"event_idx", VMM_KEY_IGNORED},                             \
        {"indirect_desc", VMM_KEY_IGNORED}, {"acpi-index", VMM_KEY_IGNORED},                      \
    {                                                                                             \
        "multifunction", VMM_KEY_IGNORED                                                          \
    }

static const struct vmm_key fs_keys[] = {
    COMMON_KEYS,
    {"tag", VMM_KEY_STRING, offsetof(struct vmm_device_config, tag), .metavar = "NAME",
     .help = "what the guest mounts"},
    {"num-request-queues", VMM_KEY_UINT, offsetof(struct vmm_device_config, num_queues), 1, 254,
     .metavar = "N", .help = "beside the one for what goes first (1)"},
    {"cache-size", VMM_KEY_IGNORED},
};

static const struct vmm_key blk_keys[] = {
    COMMON_KEYS,
    {"num-queues", VMM_KEY_UINT, offsetof(struct vmm_device_config, num_queues), 1, 255,
     .metavar = "N", .help = "queues (one for each vCPU, as far as the back-end has them)"},
    {"config-wce", VMM_KEY_IGNORED},
    {"bootindex", VMM_KEY_IGNORED},
    {"seg-max-adjust", VMM_KEY_IGNORED},
};

static const struct vmm_key rng_keys[] = {
    COMMON_KEYS,
};

static const struct vmm_key generic_keys[] = {
    COMMON_KEYS,
    {"virtio-id", VMM_KEY_UINT, offsetof(struct vmm_device_config, virtio_id), 1, 63,
     .metavar = "N", .help = "the kind of device, as the virtio specification counts"},
    {"num_vqs", VMM_KEY_UINT, offsetof(struct vmm_device_config, num_queues), 1, 255,
     .metavar = "N", .help = "queues"},
    {"config_size", VMM_KEY_UINT, offsetof(struct vmm_device_config, config_size), 0, 256,
     .metavar = "N", .help = "bytes of its configuration space"},
};

static const struct {
    const char *name;
    enum vmm_device_kind kind;
    const struct vmm_key *keys;
    size_t n_keys;
} device_kinds[] = {
    {"vhost-user-fs-pci", VMM_DEVICE_FS, fs_keys, G_N_ELEMENTS(fs_keys)},
    {"vhost-user-blk-pci", VMM_DEVICE_BLK, blk_keys, G_N_ELEMENTS(blk_keys)},
    {"vhost-user-rng-pci", VMM_DEVICE_RNG, rng_keys, G_N_ELEMENTS(rng_keys)},
    {"vhost-user-device-pci", VMM_DEVICE_GENERIC, generic_keys, G_N_ELEMENTS(generic_keys)},
    {"vhost-user-test-device-pci", VMM_DEVICE_GENERIC, generic_keys, G_N_ELEMENTS(generic_keys)},
};

static bool check_device(const struct vmm_device_config *device, GError **error)
{
    if (!device->chardev)
        return vmm_config_fail(error, "chardev: must be given");
    if (device->queue_size & (device->queue_size - 1))
        return vmm_config_fail(error, "queue-size: must be a power of two");
    if (device->tag && (!*device->tag || strlen(device->tag) > 36))
        return vmm_config_fail(error, "tag: expected 1 to 36 bytes");
    if (device->kind == VMM_DEVICE_GENERIC && (!device->virtio_id || !device->num_queues))
        return vmm_config_fail(error, "virtio-id and num_vqs must be given");
    return true;
}

bool vmm_cmdline_parse_device(struct vmm_config *config, const char *value, GError **error)
{
    const char *rest;
    g_autofree char *name = vmm_keys_kind(value, &rest);
    g_autofree char *with_pci = g_strconcat(name, "-pci", NULL);
    struct vmm_device_config *device;

    for (size_t i = 0; i < G_N_ELEMENTS(device_kinds); i++) {
        if (strcmp(device_kinds[i].name, name) != 0 && strcmp(device_kinds[i].name, with_pci) != 0)
            continue;
        device = g_new0(struct vmm_device_config, 1);
        device->kind = device_kinds[i].kind;
        device->slot = -1;
        device->numa_node = VMM_NO_NODE;
        if (vmm_keys_parse(device_kinds[i].keys, device_kinds[i].n_keys, NULL, rest, device,
                           error) &&
            check_device(device, error)) {
            g_ptr_array_add(config->devices, device);
            return true;
        }
        vmm_device_config_free(device);
        return false;
    }
    return vmm_config_fail(error,
                           "%s is not known there; devices are vhost-user-fs-pci, "
                           "vhost-user-blk-pci, vhost-user-rng-pci and vhost-user-device-pci",
                           name);
}

/* --- -serial, -nographic, -qmp --- */

struct socket_words {
    char *path;
    bool server, wait;
    unsigned reconnect;
};

static const struct vmm_key socket_keys[] = {
    {"path", VMM_KEY_STRING, offsetof(struct socket_words, path), .metavar = "PATH"},
    {"server", VMM_KEY_BOOL, offsetof(struct socket_words, server), .metavar = "on"},
    {"wait", VMM_KEY_BOOL, offsetof(struct socket_words, wait), .metavar = "on|off"},
    {"nowait", VMM_KEY_IGNORED},
};

/* "PATH[,server=on][,wait=off]" behind "unix:". */
static bool parse_socket(const char *text, struct socket_words *words, GError **error)
{
    if (!vmm_keys_parse(socket_keys, G_N_ELEMENTS(socket_keys), "path", text, words, error))
        return false;
    if (!words->server)
        return vmm_config_fail(error, "server: expected on: others connect to us");
    return (words->path && *words->path) || vmm_config_fail(error, "expected unix:PATH");
}

static bool parse_serial(struct vmm_config *config, const char *value, GError **error)
{
    struct vmm_serial_config serial = {.kind = VMM_SERIAL_NONE};
    struct socket_words words = {.server = true};

    if (config->serial.is_given)
        return vmm_config_fail(error, "there is one serial port, which was given before");
    if (strcmp(value, "stdio") == 0 || strcmp(value, "mon:stdio") == 0) {
        serial.kind = VMM_SERIAL_STDIO;
    } else if (g_str_has_prefix(value, "file:") && value[5]) {
        serial.kind = VMM_SERIAL_FILE;
        serial.path = g_strdup(value + 5);
    } else if (g_str_has_prefix(value, "unix:")) {
        if (!parse_socket(value + 5, &words, error)) {
            g_free(words.path);
            return false;
        }
        serial =
            (struct vmm_serial_config){VMM_SERIAL_UNIX, .path = words.path, .wait = words.wait};
    } else if (strcmp(value, "none") != 0 && strcmp(value, "null") != 0) {
        return vmm_config_fail(error, "expected stdio, unix:PATH, file:PATH or none");
    }
    serial.is_given = true;
    config->serial = serial;
    return true;
}

static bool parse_nographic(struct vmm_config *config, const char *value, GError **error)
{
    return true;
}

static bool parse_qmp(struct vmm_config *config, const char *value, GError **error)
{
    struct socket_words words = {.server = true};

    if (!g_str_has_prefix(value, "unix:"))
        return vmm_config_fail(error, "expected unix:PATH");
    if (!parse_socket(value + 5, &words, error)) {
        g_free(words.path);
        return false;
    }
    g_free(config->qmp_path);
    config->qmp_path = words.path;
    return true;
}

static const struct vmm_cmdline_option device_options[] = {
    {"chardev", "socket,id=ID,path=PATH[,KEY=VALUE]...", chardev_keys, G_N_ELEMENTS(chardev_keys),
     parse_chardev, GROUP, "The socket of a vhost-user back-end."},
    {"device", "vhost-user-fs-pci,chardev=ID[,KEY=VALUE]...", fs_keys, G_N_ELEMENTS(fs_keys),
     vmm_cmdline_parse_device_or_place, GROUP, "A shared folder: virtiofsd."},
    {"device", "vhost-user-blk-pci,chardev=ID[,KEY=VALUE]...", blk_keys, G_N_ELEMENTS(blk_keys),
     vmm_cmdline_parse_device_or_place, GROUP, "A disk: vblkd."},
    {"device", "vhost-user-rng-pci,chardev=ID[,KEY=VALUE]...", rng_keys, G_N_ELEMENTS(rng_keys),
     vmm_cmdline_parse_device_or_place, GROUP, "Random numbers."},
    {"device", "vhost-user-device-pci,chardev=ID,virtio-id=N,num_vqs=N", generic_keys,
     G_N_ELEMENTS(generic_keys), vmm_cmdline_parse_device, GROUP,
     "Any other virtio device whose back-end knows all about it."},
    {"serial", "stdio|unix:PATH|file:PATH|none", .parse = parse_serial, .group = GROUP,
     .help = "Where the serial port goes (stdio; with -daemonize none). Of a terminal, Ctrl-A x "
             "ends the guest. "
             "unix: listens; with wait=on the guest starts when somebody is there."},
    {"nographic", .parse = parse_nographic, .group = GROUP,
     .help = "Is always so: the serial port is the console."},
    {"qmp", "unix:PATH", socket_keys, G_N_ELEMENTS(socket_keys), parse_qmp, GROUP,
     "Listens there for commands in JSON, as QEMU does."},
};

const struct vmm_cmdline_group vmm_cmdline_devices = {
    device_options,
    G_N_ELEMENTS(device_options),
};
