/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /init of a Linux guest of vmm, the one process there is: loads the modules of /modules/order,
 * tells what machine it is on, uses its devices, and switches off. Each line that the test looks at
 * is "guest: NAME: VALUE".
 *
 * Static and without a shell, since starting a program takes long where a guest's kernel is
 * emulated.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BLOCK 4096

static void tell(const char *name, const char *value)
{
    printf("guest: %s: %s\n", name, value);
    fflush(stdout);
}

static void tell_result(const char *name, int is_ok)
{
    tell(name, is_ok ? "ok" : strerror(errno));
}

/* The first line of a file, "-" where there is none. */
static const char *first_line(const char *path)
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
    tell(name, first_line(path));
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

/* One line for each function on the bus: "0000:00:01.0 vendor device class node". */
static void tell_pci(void)
{
    static const char *const files[] = {"vendor", "device", "class", "numa_node"};
    DIR *dir = opendir("/sys/bus/pci/devices");
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char line[320] = "", path[320];

        if (entry->d_name[0] == '.')
            continue;
        for (unsigned i = 0; i < 4; i++) {
            snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", entry->d_name, files[i]);
            strcat(line, " ");
            strncat(line, first_line(path), 16);
        }
        printf("guest: pci: %s%s\n", entry->d_name, line);
    }
    if (dir != NULL)
        closedir(dir);
}

/* A file of the host, and one for it. */
static void use_share(void)
{
    static const char text[] = "from the guest\n";
    int fd;

    if (mount("myfs", "/mnt", "virtiofs", 0, NULL) < 0) {
        tell_result("virtiofs", 0);
        return;
    }
    tell_file("virtiofs", "/mnt/hello");
    fd = open("/mnt/back", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    tell_result("virtiofs write",
                write(fd, text, sizeof(text) - 1) == sizeof(text) - 1 && fsync(fd) == 0);
    close(fd);
    umount("/mnt");
}

/* Past the page cache: the first block is the host's, the second becomes ours. */
static void use_disk(void)
{
    static char block[BLOCK] __attribute__((aligned(BLOCK)));
    int fd = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);

    if (fd < 0 || pread(fd, block, BLOCK, 0) != BLOCK) {
        tell_result("disk", 0);
        return;
    }
    block[strcspn(block, "\n")] = '\0';
    tell("disk", block);
    memset(block, 'g', BLOCK);
    tell_result("disk write", pwrite(fd, block, BLOCK, BLOCK) == BLOCK && fsync(fd) == 0);
    close(fd);
}

static void use_entropy(void)
{
    unsigned char bytes[16];
    int fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);

    tell_result("hwrng", fd >= 0 && read(fd, bytes, sizeof(bytes)) > 0);
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

int main(void)
{
    mkdir("/proc", 0755);
    mkdir("/sys", 0755);
    mkdir("/dev", 0755);
    mkdir("/mnt", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    tell("init", "here");
    tell_file("cpus", "/sys/devices/system/cpu/online");
    tell_file("nodes", "/sys/devices/system/node/has_memory");
    tell_file("nodes with cpus", "/sys/devices/system/node/has_cpu");
    tell_file("cpus of node 1", "/sys/devices/system/node/node1/cpulist");
    tell_file("distances of node 1", "/sys/devices/system/node/node1/distance");
    tell_file("clock", "/sys/devices/system/clocksource/clocksource0/current_clocksource");
    load_modules();
    tell_pci();
    if (is_wanted("use=fs"))
        use_share();
    if (is_wanted("use=blk"))
        use_disk();
    if (is_wanted("use=rng"))
        use_entropy();
    tell_file("uptime", "/proc/uptime");
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
