/* SPDX-License-Identifier: Apache-2.0 */
/* vblk-img: creates, inspects, checks, changes and converts disk images. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <glib.h>

#include "vblkd/img/command.h"
#include "vhost-user/log.h"

static void print_version(void)
{
    printf("vblk-img (Outboard) %s\n", VU_PACKAGE_VERSION);
}

static const struct {
    const char *names[3];
    void (*print)(void);
} printers[] = {
    {{"--help", "-h", "help"}, img_command_print_help},
    {{"--version", "-V", "--version"}, print_version},
    {{"--print-man", "--print-man", "--print-man"}, img_command_print_man},
    {{"--print-completion", "--print-completion", "--print-completion"},
     img_command_print_completion},
};

static bool main_reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

    return poll(&out, 1, 0) > 0 && (out.revents & POLLERR);
}

/* Whoever reads it must not take a part for all; one who stopped reading knows. */
static int finish_output(int status)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || main_reader_is_gone())
        return status;
    return img_fail_text(status ? status : 1, "the output could not be written");
}

/* Where 0, 1 or 2 are closed, an image would get that number, and what is printed go into it. A
 * closed output stays one that cannot be written. */
static void main_secure_standard_fds(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", O_RDONLY);
}

/* How many arguments of argv say what qemu-img is to trace, which has no effect here. */
static int main_n_trace_args(char **argv)
{
    int n = 0;

    for (; argv[n] && (g_str_has_prefix(argv[n], "-T") || g_str_has_prefix(argv[n], "--trace"));
         n++)
        if ((strcmp(argv[n], "-T") == 0 || strcmp(argv[n], "--trace") == 0) && argv[n + 1])
            n++;
    return n;
}

int main(int argc, char **argv)
{
    int n_trace = main_n_trace_args(argv + 1);

    main_secure_standard_fds();
    vu_log_set_level(VU_LOG_WARNING);
    /* What was begun is done to its end, whether or not somebody looks on. */
    signal(SIGPIPE, SIG_IGN);
    /* Those that show no progress are not ended by being asked for it. */
    signal(SIGUSR1, SIG_IGN);
    /* A file that may not become larger is an error like a full disk. */
    signal(SIGXFSZ, SIG_IGN);
    argc -= n_trace;
    argv += n_trace;
    if (argc < 2)
        return img_fail_text(1, "expected a command; --help lists them");
    for (size_t i = 0; i < G_N_ELEMENTS(printers); i++)
        for (size_t n = 0; n < G_N_ELEMENTS(printers[i].names); n++)
            if (strcmp(argv[1], printers[i].names[n]) == 0) {
                printers[i].print();
                return finish_output(0);
            }
    return finish_output(img_command_main(argc - 1, argv + 1));
}
