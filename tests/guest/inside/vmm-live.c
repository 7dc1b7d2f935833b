/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /init of a Linux guest of vmm: daemons die and come back, a disk comes, grows and leaves,
 * somebody presses the power button. Each step ends by what the test does next.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "vmm-guest.h"

#define BLOCK    4096
#define FIRST    2 /* blocks before it are told about elsewhere */
#define N_BLOCKS 32
#define N_FILES  8
#define POLL_US  5000
#define NEW_DISK "/sys/block/vdb/size"

static char block[BLOCK] __attribute__((aligned(BLOCK)));

/* A block of the disk is written, and the one before it is what it was. */
static int work_on_disk(int fd, unsigned round)
{
    char text[32];
    int len = snprintf(text, sizeof(text), "round %u\n", round);

    memset(block, 'a' + (int)(round % 26), BLOCK);
    memcpy(block, text, (size_t)len);
    if (pwrite(fd, block, BLOCK, (FIRST + round % N_BLOCKS) * BLOCK) != BLOCK)
        return 0;
    if (round == 0)
        return 1;
    len = snprintf(text, sizeof(text), "round %u\n", round - 1);
    return pread(fd, block, BLOCK, (FIRST + (round - 1) % N_BLOCKS) * BLOCK) == BLOCK &&
           memcmp(block, text, (size_t)len) == 0 &&
           block[BLOCK - 1] == 'a' + (char)((round - 1) % 26);
}

/* A file of the share is written, and reads back. */
static int work_on_share(unsigned round)
{
    char path[64], text[32], back[32];
    int len = snprintf(text, sizeof(text), "round %u\n", round), fd, is_ok;

    snprintf(path, sizeof(path), "/mnt/file-%u", round % N_FILES);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    is_ok = write(fd, text, (size_t)len) == len && fsync(fd) == 0 &&
            pread(fd, back, sizeof(back), 0) == len && memcmp(text, back, (size_t)len) == 0;
    close(fd);
    return is_ok;
}

/* A new virtiofsd knows nothing of what its predecessor was asked for: the share is mounted anew.
 */
static void work_mount_again(void)
{
    umount("/mnt");
    mount("myfs", "/mnt", "virtiofs", 0, NULL);
}

void guest_work(void)
{
    unsigned round = 0, n_disk_errors = 0, n_mounts = 0;
    int fd = open("/dev/vda", O_RDWR | O_DIRECT | O_CLOEXEC);
    char text[64];

    for (; access(NEW_DISK, F_OK) < 0; round++) {
        snprintf(text, sizeof(text), "%u", round);
        guest_tell("round", text);
        n_disk_errors += !work_on_disk(fd, round);
        if (work_on_share(round))
            continue;
        work_mount_again();
        n_mounts++;
    }
    n_disk_errors += fsync(fd) != 0;
    close(fd);
    snprintf(text, sizeof(text), "%u rounds, %u errors of the disk", round, n_disk_errors);
    guest_tell("work", text);
    snprintf(text, sizeof(text), "%u", n_mounts);
    guest_tell("share mounted again", text);
    guest_tell_result("share", work_on_share(round));
}

static unsigned long disk_size(void)
{
    return strtoul(guest_first_line(NEW_DISK), NULL, 10);
}

void guest_follow_disk(void)
{
    unsigned long size = disk_size();
    char text[64];
    int fd = -1;

    while (fd < 0 && (fd = open("/dev/vdb", O_RDONLY | O_DIRECT | O_CLOEXEC)) < 0)
        usleep(POLL_US);
    if (pread(fd, block, BLOCK, 0) != BLOCK)
        snprintf(block, sizeof(block), "%s", strerror(errno));
    close(fd);
    block[strcspn(block, "\n")] = '\0';
    guest_tell("new disk", block);
    snprintf(text, sizeof(text), "%lu sectors, near node %.8s", size,
             guest_first_line("/sys/block/vdb/device/../numa_node"));
    guest_tell("new disk is", text);
    while (disk_size() == size)
        usleep(POLL_US);
    snprintf(text, sizeof(text), "%lu sectors", disk_size());
    guest_tell("new disk grew to", text);
    while (access(NEW_DISK, F_OK) == 0)
        usleep(POLL_US);
    guest_tell("new disk", "gone");
}

void guest_await_button(void)
{
    struct input_event event;
    int fd = open("/dev/input/event0", O_RDONLY | O_CLOEXEC);

    guest_tell_result("power button", fd >= 0);
    while (fd >= 0 && read(fd, &event, sizeof(event)) == sizeof(event))
        if (event.type == EV_KEY && event.code == KEY_POWER && event.value == 1) {
            guest_tell("power button", "pressed");
            break;
        }
}
