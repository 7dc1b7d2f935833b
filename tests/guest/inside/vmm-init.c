/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /init of a Linux guest of vmm: loads the modules of /modules/order, tells what machine it is on,
 * does what its command line says (use=...), and switches off, or reboots (use=reboot); the next
 * one finds a mark in the share.
 *
 * Static and without a shell, since starting a program takes long where a guest's kernel is
 * emulated.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm-guest.h"

#define NODES "/sys/devices/system/node"
#define MARK  "/mnt/booted"

void guest_tell(const char *name, const char *value)
{
    printf("guest: %s: %s\n", name, value);
    fflush(stdout);
}

void guest_tell_result(const char *name, int is_ok)
{
    guest_tell(name, is_ok ? "ok" : strerror(errno));
}

const char *guest_first_line(const char *path)
{
    static char line[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return "-";
    line[n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static void tell_file(const char *name, const char *path)
{
    guest_tell(name, guest_first_line(path));
}

static void load_modules(void)
{
    FILE *order = fopen("/modules/order", "re");
    char name[64], path[96];

    while (order != NULL && fgets(name, sizeof(name), order) != NULL) {
        int fd;

        name[strcspn(name, "\n")] = '\0';
        snprintf(path, sizeof(path), "/modules/%s", name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (syscall(SYS_finit_module, fd, "", 0) < 0)
            printf("guest: module %s: %s\n", name, strerror(errno));
        close(fd);
    }
    if (order != NULL)
        fclose(order);
}

/* --- the machine --- */

static void tell_nodes(void)
{
    static const char *const files[] = {"cpulist", "distance", "meminfo"};

    tell_file("cpus", "/sys/devices/system/cpu/online");
    tell_file("nodes", NODES "/has_memory");
    tell_file("nodes with cpus", NODES "/has_cpu");
    for (unsigned node = 0; node < 2; node++)
        for (unsigned i = 0; i < 3; i++) {
            char name[32], path[64];

            snprintf(name, sizeof(name), "node %u %s", node, files[i]);
            snprintf(path, sizeof(path), NODES "/node%u/%s", node, files[i]);
            tell_file(name, path);
        }
    tell_file("clock", "/sys/devices/system/clocksource/clocksource0/current_clocksource");
}

/* One line for each function on the bus: "0000:00:01.0 vendor device class node". */
static void tell_pci(void)
{
    static const char *const files[] = {"vendor", "device", "class", "numa_node"};
    DIR *dir = opendir("/sys/bus/pci/devices");
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char line[320], path[320];
        int len = 0;

        if (entry->d_name[0] == '.')
            continue;
        for (unsigned i = 0; i < 4; i++) {
            snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", entry->d_name, files[i]);
            len +=
                snprintf(line + len, sizeof(line) - (size_t)len, " %.16s", guest_first_line(path));
        }
        printf("guest: pci: %s%s\n", entry->d_name, line);
    }
    if (dir != NULL)
        closedir(dir);
}

static int is_wanted(const char *what)
{
    static char cmdline[4096];
    int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);

    if (cmdline[0] == '\0' && read(fd, cmdline, sizeof(cmdline) - 1) <= 0)
        return 0;
    close(fd);
    return strstr(cmdline, what) != NULL;
}

static void end(int how)
{
    umount("/mnt");
    sync();
    reboot(how);
}

int main(void)
{
    static const char *const dirs[] = {"/proc", "/sys", "/dev", "/mnt", "/other"};

    for (unsigned i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
        mkdir(dirs[i], 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    guest_tell("init", "here");
    tell_nodes();
    load_modules();
    tell_pci();
    if (is_wanted("use=fs"))
        guest_use_share("myfs", "/mnt");
    if (is_wanted("use=other"))
        guest_use_share("other", "/other");
    if (is_wanted("use=blk"))
        guest_use_disk();
    if (is_wanted("use=rng"))
        guest_use_entropy();
    if (access(MARK, F_OK) == 0) {
        guest_tell("second boot", "here");
        end(RB_POWER_OFF);
    }
    if (is_wanted("use=lspci"))
        guest_run_lspci();
    if (is_wanted("use=live")) {
        guest_work();
        guest_follow_disk();
        guest_await_button();
    }
    tell_file("uptime", "/proc/uptime");
    if (is_wanted("use=fs"))
        mkdir(MARK, 0755);
    end(is_wanted("use=reboot") ? RB_AUTOBOOT : RB_POWER_OFF);
    return 1;
}
