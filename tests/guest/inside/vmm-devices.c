/* SPDX-License-Identifier: Apache-2.0 */
/* /init of a Linux guest of vmm: each of the devices is used once. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm-guest.h"

#define BLOCK 4096

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int is_ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fsync(fd) == 0;

    close(fd);
    return is_ok;
}

void guest_use_share(const char *tag, const char *dir)
{
    char path[64], name[64];

    snprintf(name, sizeof(name), "share %s", tag);
    if (mount(tag, dir, "virtiofs", 0, NULL) < 0) {
        guest_tell_result(name, 0);
        return;
    }
    snprintf(path, sizeof(path), "%s/hello", dir);
    guest_tell(name, guest_first_line(path));
    snprintf(path, sizeof(path), "%s/back", dir);
    snprintf(name, sizeof(name), "share %s write", tag);
    guest_tell_result(name, write_file(path, "from the guest\n"));
}

/* Past the page cache. */
void guest_use_disk(void)
{
    static char block[BLOCK] __attribute__((aligned(BLOCK)));
    int fd = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);

    if (fd < 0 || pread(fd, block, BLOCK, 0) != BLOCK) {
        guest_tell_result("disk", 0);
        return;
    }
    block[strcspn(block, "\n")] = '\0';
    guest_tell("disk", block);
    memset(block, 'g', BLOCK);
    guest_tell_result("disk write", pwrite(fd, block, BLOCK, BLOCK) == BLOCK && fsync(fd) == 0);
    close(fd);
}

void guest_use_entropy(void)
{
    unsigned char bytes[32];
    int fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);

    guest_tell("hwrng is", guest_first_line("/sys/class/misc/hw_random/rng_current"));
    guest_tell_result("hwrng", fd >= 0 && read(fd, bytes, sizeof(bytes)) > 0);
    close(fd);
}

void guest_run_lspci(void)
{
    char loader[] = "/mnt/lspci/ld.so", option[] = "--library-path", dir[] = "/mnt/lspci";
    char program[] = "/mnt/lspci/lspci", how[] = "-nvv";
    char *const args[] = {loader, option, dir, program, how, NULL};
    char *const environment[] = {NULL};
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        int fd = open("/mnt/lspci.out", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        dup2(fd, STDOUT_FILENO);
        execve(loader, args, environment);
        _exit(127);
    }
    guest_tell_result("lspci", pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}
