/* SPDX-License-Identifier: Apache-2.0 */
/* Options of the machine itself: vCPUs, kernel, how it runs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cmdline.h"

#define GROUP "Machine"

static bool set_string(char **field, const char *value)
{
    g_free(*field);
    *field = g_strdup(value);
    return true;
}

/* --- -smp --- */

struct smp {
    unsigned cpus, maxcpus, sockets, dies, clusters, cores, threads;
};

static const struct vmm_key smp_keys[] = {
    {"cpus", VMM_KEY_UINT, offsetof(struct smp, cpus), 1, VMM_MAX_CPUS, .metavar = "N"},
    {"maxcpus", VMM_KEY_UINT, offsetof(struct smp, maxcpus), 1, VMM_MAX_CPUS, .metavar = "N"},
    {"sockets", VMM_KEY_UINT, offsetof(struct smp, sockets), 1, VMM_MAX_CPUS, .metavar = "N"},
    {"dies", VMM_KEY_UINT, offsetof(struct smp, dies), 1, 1, .metavar = "1"},
    {"clusters", VMM_KEY_UINT, offsetof(struct smp, clusters), 1, 1, .metavar = "1"},
    {"cores", VMM_KEY_UINT, offsetof(struct smp, cores), 1, VMM_MAX_CPUS, .metavar = "N"},
    {"threads", VMM_KEY_UINT, offsetof(struct smp, threads), 1, VMM_MAX_CPUS, .metavar = "N"},
};

/* What was left out follows from the rest: cores first, then sockets, then threads. */
static bool parse_smp(struct vmm_config *config, const char *value, GError **error)
{
    struct smp smp = {0};
    unsigned all;

    if (!vmm_keys_parse(smp_keys, G_N_ELEMENTS(smp_keys), "cpus", value, &smp, error))
        return false;
    all = smp.maxcpus ? smp.maxcpus : smp.cpus;
    if (all == 0) {
        all = MAX(smp.sockets, 1) * MAX(smp.cores, 1) * MAX(smp.threads, 1);
        if (all > VMM_MAX_CPUS)
            return vmm_config_fail(error, "these are %u vCPUs, and %d are the most", all,
                                   VMM_MAX_CPUS);
    }
    if (smp.cores == 0)
        smp.cores = MAX(all / (MAX(smp.sockets, 1) * MAX(smp.threads, 1)), 1);
    if (smp.sockets == 0)
        smp.sockets = MAX(all / (smp.cores * MAX(smp.threads, 1)), 1);
    if (smp.threads == 0)
        smp.threads = MAX(all / (smp.cores * smp.sockets), 1);
    if (smp.sockets * smp.cores * smp.threads != all)
        return vmm_config_fail(error,
                               "sockets (%u) * cores (%u) * threads (%u) must be maxcpus (%u)",
                               smp.sockets, smp.cores, smp.threads, all);
    if (smp.cpus > all)
        return vmm_config_fail(error, "maxcpus (%u) must not be below cpus (%u)", all, smp.cpus);
    config->smp = (struct vmm_topology){
        .n_cpus = smp.cpus ? smp.cpus : all,
        .max_cpus = all,
        .sockets = smp.sockets,
        .cores = smp.cores,
        .threads = smp.threads,
    };
    return true;
}

/* --- -cpu --- */

/* "host,-avx512f,+invtsc,pmu=off". What QEMU's users say of its own models means nothing here. */
static bool parse_cpu(struct vmm_config *config, const char *value, GError **error)
{
    static const char *const ignored[] = {"migratable",      "enforce",  "check", "host-phys-bits",
                                          "host-cache-info", "l3-cache", NULL};
    g_auto(GStrv) words = g_strsplit(value, ",", -1);

    if (!words[0] || (strcmp(words[0], "host") != 0 && strcmp(words[0], "max") != 0))
        return vmm_config_fail(error, "expected host: the guest has the CPU that is there");
    for (size_t i = 1; words[i]; i++) {
        char *equals = strchr(words[i], '=');
        g_autofree char *name = g_strndup(words[i], strcspn(words[i], "="));

        if (g_strv_contains(ignored, name))
            continue;
        if (words[i][0] == '-' || words[i][0] == '+') {
            g_ptr_array_add(config->cpu_features, g_strdup(words[i]));
        } else if (equals && (strcmp(equals, "=on") == 0 || strcmp(equals, "=off") == 0)) {
            *equals = '\0';
            g_ptr_array_add(config->cpu_features,
                            g_strdup_printf("%c%s", equals[2] == 'n' ? '+' : '-', words[i]));
        } else {
            return vmm_config_fail(
                error, "expected +FEATURE, -FEATURE or FEATURE=on|off, got \"%s\"", words[i]);
        }
    }
    return true;
}

/* --- -machine, -accel --- */

static bool parse_accelerator(void *target, const char *value, GError **error)
{
    g_auto(GStrv) words = g_strsplit(value, ":", -1);

    if (g_strv_contains((const char *const *)words, "kvm"))
        return true;
    return vmm_config_fail(error, "expected kvm, got \"%s\"", value);
}

struct machine_words {
    char *memory_backend;
};

static const struct vmm_key machine_keys[] = {
    {"type", VMM_KEY_IGNORED, .metavar = "q35|microvm|..."},
    {"accel", VMM_KEY_CALL, .parse = parse_accelerator, .metavar = "kvm"},
    {"memory-backend", VMM_KEY_STRING, offsetof(struct machine_words, memory_backend),
     .metavar = "ID"},
    {"kernel-irqchip", VMM_KEY_IGNORED},
    {"mem-merge", VMM_KEY_IGNORED},
    {"dump-guest-core", VMM_KEY_IGNORED},
    {"hmat", VMM_KEY_IGNORED},
    {"usb", VMM_KEY_IGNORED},
    {"graphics", VMM_KEY_IGNORED},
    {"vmport", VMM_KEY_IGNORED},
    {"smm", VMM_KEY_IGNORED},
    {"acpi", VMM_KEY_IGNORED},
    {"pic", VMM_KEY_IGNORED},
    {"pit", VMM_KEY_IGNORED},
    {"rtc", VMM_KEY_IGNORED},
    {"pcie", VMM_KEY_IGNORED},
    {"isa-serial", VMM_KEY_IGNORED},
    {"x-option-roms", VMM_KEY_IGNORED},
};

static bool parse_machine(struct vmm_config *config, const char *value, GError **error)
{
    struct machine_words words = {0};
    bool good =
        vmm_keys_parse(machine_keys, G_N_ELEMENTS(machine_keys), "type", value, &words, error);

    if (good && words.memory_backend) {
        g_free(config->memory_backend);
        config->memory_backend = g_steal_pointer(&words.memory_backend);
    }
    g_free(words.memory_backend);
    return good;
}

static bool parse_accel(struct vmm_config *config, const char *value, GError **error)
{
    const char *rest;
    g_autofree char *kind = vmm_keys_kind(value, &rest);

    return parse_accelerator(NULL, kind, error);
}

/* --- the rest --- */

struct name_words {
    char *guest, *process;
};

static const struct vmm_key name_keys[] = {
    {"guest", VMM_KEY_STRING, offsetof(struct name_words, guest), .metavar = "NAME"},
    {"process", VMM_KEY_STRING, offsetof(struct name_words, process), .metavar = "NAME",
     .help = "the program's in the list of processes"},
    {"debug-threads", VMM_KEY_IGNORED},
};

static bool parse_name(struct vmm_config *config, const char *value, GError **error)
{
    struct name_words words = {0};
    bool good = vmm_keys_parse(name_keys, G_N_ELEMENTS(name_keys), "guest", value, &words, error);

    if (good && words.guest)
        set_string(&config->name, words.guest);
    if (good && words.process)
        set_string(&config->process_name, words.process);
    g_free(words.guest);
    g_free(words.process);
    return good;
}

static bool parse_kernel(struct vmm_config *config, const char *value, GError **error)
{
    return set_string(&config->kernel, value);
}

static bool parse_initrd(struct vmm_config *config, const char *value, GError **error)
{
    return set_string(&config->initrd, value);
}

static bool parse_append(struct vmm_config *config, const char *value, GError **error)
{
    return set_string(&config->append, value);
}

static bool parse_pidfile(struct vmm_config *config, const char *value, GError **error)
{
    return set_string(&config->pidfile, value);
}

/* "0:2,1:3": vCPU 0 on host CPU 2, vCPU 1 on 3. */
static bool parse_affinity(struct vmm_config *config, const char *value, GError **error)
{
    g_auto(GStrv) words = g_strsplit(value, ",", -1);

    for (size_t i = 0; words[i]; i++) {
        char *end;
        guint64 cpu = g_ascii_strtoull(words[i], &end, 10), host;

        if (end == words[i] || *end != ':' || !g_ascii_isdigit(end[1]) || cpu >= VMM_MAX_CPUS)
            return vmm_config_fail(error, "expected VCPU:HOSTCPU, got \"%s\"", words[i]);
        host = g_ascii_strtoull(end + 1, &end, 10);
        if (*end || host > 65535)
            return vmm_config_fail(error, "expected VCPU:HOSTCPU, got \"%s\"", words[i]);
        config->affinity[cpu] = (int)host;
    }
    return true;
}

#define FLAG(function, field)                                                          \
    static bool function(struct vmm_config *config, const char *value, GError **error) \
    {                                                                                  \
        config->field = true;                                                          \
        return true;                                                                   \
    }
FLAG(parse_daemonize, daemonize)
FLAG(parse_no_reboot, no_reboot)
FLAG(parse_no_shutdown, no_shutdown)
FLAG(parse_paused, start_paused)
FLAG(parse_probe, probe)

/* "on", or "on" with what QEMU would have besides, or "off". */
static bool parse_sandbox(struct vmm_config *config, const char *value, GError **error)
{
    size_t word_len = strcspn(value, ",");

    if ((word_len == 2 && strncmp(value, "on", 2) == 0) || strcmp(value, "off") == 0) {
        config->no_sandbox = value[1] == 'f';
        return true;
    }
    return vmm_config_fail(error, "expected on or off, got \"%s\"", value);
}

static const struct vmm_cmdline_option machine_options[] = {
    {"kernel", "FILE", .parse = parse_kernel, .group = GROUP,
     .help = "Linux kernel: bzImage, or an ELF vmlinux."},
    {"initrd", "FILE", .parse = parse_initrd, .group = GROUP, .help = "Its initial RAM disk."},
    {"append", "TEXT", .parse = parse_append, .group = GROUP, .help = "Its command line."},
    {"smp", "[cpus=]N[,KEY=N]...", smp_keys, G_N_ELEMENTS(smp_keys), parse_smp, GROUP,
     "vCPUs (1), and how the guest sees them; what is left out follows from the rest."},
    {"cpu", "host[,-FEATURE]...", .parse = parse_cpu, .group = GROUP,
     .help = "The host's CPU, with features of /proc/cpuinfo taken away, or asked for (+)."},
    {"vcpu-affinity", "VCPU:CPU,...", .parse = parse_affinity, .group = GROUP,
     .help = "Pins vCPUs to host CPUs."},
    {"name", "NAME", name_keys, G_N_ELEMENTS(name_keys), parse_name, GROUP,
     "A name for QMP and the system's log."},
    {"machine", "[type=]WORD,...", machine_keys, G_N_ELEMENTS(machine_keys), parse_machine, GROUP,
     "memory-backend= says which -object is the RAM; there is one type of machine, whatever is "
     "named."},
    {"M", "WORD", machine_keys, G_N_ELEMENTS(machine_keys), parse_machine},
    {"accel", "kvm", .parse = parse_accel},
    {"enable-kvm"},
    {"S", .parse = parse_paused, .group = GROUP, .help = "Waits for cont before the guest starts."},
    {"no-reboot", .parse = parse_no_reboot, .group = GROUP,
     .help = "Ends instead of starting again when the guest reboots."},
    {"no-shutdown", .parse = parse_no_shutdown, .group = GROUP,
     .help = "Waits for quit when the guest has switched itself off."},
    {"pidfile", "FILE", .parse = parse_pidfile, .group = GROUP, .help = "Where to write the pid."},
    {"daemonize", .parse = parse_daemonize, .group = GROUP,
     .help = "Goes into the background once the guest can start."},
    {"sandbox", "on|off", .parse = parse_sandbox, .group = GROUP,
     .help = "Whether each thread may make no system calls but those it needs, and root's "
             "privileges are given up (on)."},
    {"probe", .parse = parse_probe, .group = GROUP,
     .help = "Says in a second what kind of host this is, how fast a guest's kernel runs here and "
             "what is missing."},
    {"nodefaults"},
    {"no-user-config"},
    {"no-hpet"},
    {"display", "none"},
    {"vga", "none"},
    {"monitor", "none"},
    {"boot", "WORD"},
    {"rtc", "WORD"},
    {"msg", "WORD"},
    {"uuid", "WORD"},
};

const struct vmm_cmdline_group vmm_cmdline_machine = {
    machine_options,
    G_N_ELEMENTS(machine_options),
};
