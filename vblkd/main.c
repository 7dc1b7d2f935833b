/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vblkd: parse, open the socket and the image, go into the sandbox, give up rights, serve.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "vblkd/blk-options.h"
#include "vblkd/control.h"
#include "vblkd/device.h"
#include "vblkd/format/qcow2-journal.h"
#include "vblkd/journal-file.h"
#include "vblkd/syscalls.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/daemon/capabilities.h"
#include "vhost-user/daemon/daemon.h"
#include "vhost-user/daemon/listen.h"
#include "vhost-user/daemon/ready.h"
#include "vhost-user/daemon/sandbox.h"
#include "vhost-user/daemon/seccomp.h"
#include "vhost-user/log.h"

/* A predecessor that was killed lets go of the image when the kernel has ended its requests. */
#define LOCK_TRIES           40
#define LOCK_TRIES_SUCCESSOR 400
#define LOCK_PAUSE_US        50000
#define LOCK_TELL_TRIES      20 /* then a person is told what is waited for */

static const char man_description[] =
    ".SH DESCRIPTION\n"
    "The guest sees the image as a virtio block device, /dev/vda. vblkd listens on a unix socket\n"
    "for the virtual machine monitor, serves it, and listens again when it has gone. It stays in\n"
    "the foreground and ends on SIGTERM. A daemon that was killed can be started again on the "
    "same\n"
    "socket: the guest sees a pause, where the monitor connects anew.\n"
    ".PP\n"
    "A qcow2 file that grows past the page cache (cache=none, directsync) is made longer ahead\n"
    "of what is written, by an eighth, 64 MiB at most. What is left is given back at the end, or\n"
    "used by the next daemon where this one was killed.\n"
    ".PP\n"
    "A daemon that was killed has lost nothing of a qcow2 image that the guest was told is "
    "written:\n"
    "it is in the journal, for the next one to find. Where no place for a journal is known\n"
    ".RB ( \\-\\-fd\n"
    "without\n"
    ".BR \\-\\-journal )\n"
    "or none can be made there, the metadata of each new cluster is written and flushed before "
    "its\n"
    "write is acknowledged, which is much slower: then give it a place.\n"
    ".PP\n"
    "On SIGUSR1 a summary of the requests so far goes to the log.\n";

static const char man_text[] =
    ".SH EXIT STATUS\n"
    "0 after SIGTERM, SIGINT, SIGHUP or the end of an only session; 1 where it could not start, "
    "or\n"
    "where a request hung for five seconds when it was to end.\n"
    ".SH EXAMPLES\n"
    "A disk for QEMU, with options as its\n"
    ".B \\-drive\n"
    "has them:\n"
    ".PP\n"
    ".EX\n"
    "vblkd \\-\\-socket\\-path=/run/disk.sock \\e\n"
    "    \\-o file=disk.qcow2,format=qcow2,cache=none,aio=native,discard=unmap &\n"
    "qemu\\-system\\-x86_64 \\-m 4G \\e\n"
    "    \\-object memory\\-backend\\-memfd,id=mem,size=4G,share=on \\e\n"
    "    \\-machine memory\\-backend=mem \\e\n"
    "    \\-chardev socket,id=disk,path=/run/disk.sock,reconnect=1 \\e\n"
    "    \\-device vhost\\-user\\-blk\\-pci,chardev=disk,num\\-queues=4 ...\n"
    ".EE\n"
    ".PP\n"
    "The same socket in a domain of libvirt's that has shared memory:\n"
    ".PP\n"
    ".EX\n"
    "<disk type='vhostuser' device='disk'>\n"
    "  <driver name='qemu' type='raw' queues='4'/>\n"
    "  <source type='unix' path='/run/disk.sock'>\n"
    "    <reconnect enabled='yes' timeout='1'/>\n"
    "  </source>\n"
    "  <target dev='vda' bus='virtio'/>\n"
    "</disk>\n"
    ".EE\n"
    ".PP\n"
    "User Mode Linux, Cloud Hypervisor and crosvm:\n"
    ".PP\n"
    ".EX\n"
    "linux mem=512M virtio_uml.device=/run/disk.sock:2 ...\n"
    "cloud\\-hypervisor \\-\\-memory size=4G,shared=on \\e\n"
    "    \\-\\-disk vhost_user=true,socket=/run/disk.sock,num_queues=4,queue_size=128 ...\n"
    "crosvm run \\-\\-vhost\\-user block,socket=/run/disk.sock ...\n"
    ".EE\n"
    ".SH SEE ALSO\n"
    ".BR vblkctl (1),\n"
    ".BR vblk\\-img (1),\n"
    ".BR outboard (7)\n";

static const char *const capabilities[] = {"read-only", "blk-file", NULL};

static const struct vu_program program = {
    .name = "vblkd",
    .usage = "vblkd --socket-path=PATH --blk-file=IMAGE [OPTION]...",
    .summary = "serve a disk image to a virtual machine",
    .device_type = "block",
    .capability_features = capabilities,
    .commands = &blk_control_table,
    .man_description = man_description,
    .man_text = man_text,
};

struct opened {
    struct vu_daemon_sockets sockets;
    struct blk_journal_file journal, choice;
    bool has_choice; /* for the next daemon, which may meet the same guest */
    struct vblk_image *image;
};

static int fail(GError *error)
{
    fprintf(stderr, "%s: %s\n", program.name, error->message);
    g_error_free(error);
    return 1;
}

/* The journal is the image's if there is one, or else the image does what it would be for. */
static struct vblk_image_options image_options_of(const struct blk_options *options,
                                                  const struct blk_journal_file *journal)
{
    struct vblk_image_options image_options = blk_options_image(options);

    image_options.has_journal = journal->fd >= 0;
    image_options.journal_fd = journal->fd;
    image_options.is_eager = journal->is_missed;
    return image_options;
}

static struct vblk_image *open_image(const struct blk_options *options,
                                     struct blk_journal_file *journal, GError **error)
{
    struct vblk_image_options image_options;
    struct vblk_image *image = NULL;
    int n_tries = vu_daemon_is_successor() ? LOCK_TRIES_SUCCESSOR : LOCK_TRIES;

    qcow2_journals_init();
    for (int i = 0; i < n_tries && !image; i++) {
        if (i > 0)
            g_usleep(LOCK_PAUSE_US);
        if (i == LOCK_TELL_TRIES)
            vu_info("%s: waiting, for %d more seconds at most", (*error)->message,
                    (n_tries - i) * LOCK_PAUSE_US / 1000000);
        g_clear_error(error);
        if (blk_journal_file_lock(journal, error) &&
            (journal->fd < 0 || qcow2_journal_check(journal->fd, options->file, error))) {
            image_options = image_options_of(options, journal);
            image = vblk_image_open(options->file, &image_options, error);
        }
        if (!image && !g_error_matches(*error, G_FILE_ERROR, G_FILE_ERROR_AGAIN))
            break;
    }
    return image;
}

/* Where nobody said what the image is, and it is not what it looks like. */
static void warn_of_format(const struct blk_options *options, struct vblk_image *image)
{
    const char *looks_like = vblk_image_guess_format(image);

    if (options->format == BLK_FORMAT_UNSAID && strcmp(looks_like, image->format->name) != 0)
        vu_warning("%s: looks like %s, and the guest gets it as it is (%s): say --format=%s if its "
                   "contents are meant, or else --format=%s",
                   options->file, looks_like, image->format->name, looks_like, image->format->name);
}

/* In the sandbox: gives up what serving does not take, and serves. Uses up the sockets; the image
 * may be another one afterwards. */
static int serve(const struct vu_daemon_options *daemon, const struct blk_options *options,
                 struct opened *opened)
{
    struct blk_device_options device_options = blk_options_device(options);
    struct blk_device device;
    struct vu_device described;
    GError *error = NULL;
    int status;

    device_options.image = image_options_of(options, &opened->journal);
    device_options.has_choice_file = opened->choice.fd >= 0;
    device_options.choice_fd = opened->choice.fd;
    if (!blk_device_open(&device, opened->image, &device_options, &error)) {
        vu_daemon_close_sockets(&opened->sockets);
        return fail(error);
    }
    if (vu_capabilities_limit(0, &(struct vu_capability_changes){0}, &error) &&
        vu_seccomp_install((enum vu_seccomp_mode)options->seccomp, &blk_syscall_rules, &error)) {
        blk_device_describe(&device, &described);
        status = vu_daemon_run(daemon, &described, &device, &opened->sockets);
    } else {
        vu_daemon_close_sockets(&opened->sockets);
        status = fail(error);
    }
    opened->image = device.image;
    opened->has_choice = blk_choice_get(&device.choice);
    blk_device_close(&device);
    return status;
}

/* Before the sandbox: what daemon and device are made of. False with *error, and nothing left. */
static bool open_all(const struct vu_daemon_options *daemon, const struct blk_options *options,
                     struct opened *opened, GError **error)
{
    *opened = (struct opened){0};
    if (!vu_daemon_open_sockets(daemon, &opened->sockets, error))
        return false;
    if (blk_journal_file_open(blk_options_journal(options, daemon->control != NULL),
                              daemon->socket_path, &opened->journal, error))
        opened->image = open_image(options, &opened->journal, error);
    if (opened->image) {
        warn_of_format(options, opened->image);
        blk_journal_file_open_choice(blk_options_choice(options), daemon->socket_path,
                                     &opened->choice);
        opened->has_choice = true;
        return true;
    }
    blk_journal_file_remove_blank(&opened->journal);
    blk_journal_file_clear(&opened->journal);
    vu_daemon_close_sockets(&opened->sockets);
    vu_daemon_remove_socket();
    return false;
}

static int start(const struct vu_daemon_options *daemon, const struct blk_options *options)
{
    struct opened opened;
    const struct vu_sandbox_options sandbox_options = {
        .program = program.name,
        .mode = (enum vu_sandbox_mode)options->sandbox,
        .fds = &opened.sockets.fds[VU_DAEMON_CONTROL],
        .n_fds = VU_DAEMON_N_SOCKETS - VU_DAEMON_CONTROL,
    };
    struct vu_sandbox sandbox;
    GError *error = NULL;
    bool is_written;
    int status;

    if (!blk_options_check(options, &error))
        return fail(error);
    if (!vu_ready_prepare(program.name, daemon->background, &status))
        return status;
    if (!open_all(daemon, options, &opened, &error))
        return fail(error);
    if (!vu_sandbox_enter(&sandbox_options, opened.sockets.fds[VU_DAEMON_SESSION], &sandbox,
                          &status))
        return status;
    status = serve(daemon, options, &opened);
    /* While nobody else has the image, and may have a file of that name. */
    if (!opened.has_choice)
        blk_journal_file_remove(&opened.choice);
    /* What could not be written (a disk that is full) can be from the journal, another time. */
    is_written = vblk_image_flush(opened.image) == 0;
    vblk_image_close(opened.image);
    if (is_written)
        blk_journal_file_remove(&opened.journal);
    blk_journal_file_clear(&opened.journal);
    blk_journal_file_clear(&opened.choice);
    vu_daemon_remove_socket();
    vu_sandbox_clear(&sandbox);
    return status;
}

int main(int argc, char **argv)
{
    struct vu_daemon_options daemon;
    struct blk_options options;
    struct vu_option_table table;
    int status = 1;

    /* A file that may not be as long as that is an error of one write. */
    signal(SIGXFSZ, SIG_IGN);
    vu_daemon_options_init(&daemon);
    blk_options_init(&options);
    table = blk_options_table(&options);
    if (vu_daemon_parse(&program, &daemon, &table, 1, argc, argv, &status))
        status = start(&daemon, &options);
    blk_options_clear(&options);
    vu_daemon_options_clear(&daemon);
    return status;
}
