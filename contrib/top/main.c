/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outboard-top: round by round, finds the daemons, asks them all at once, waits for those that
 * answer, and shows them; keys are seen to in between. One thread, one poll.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "contrib/top/find.h"
#include "contrib/top/options.h"
#include "contrib/top/screen.h"
#include "contrib/top/table.h"
#include "vhost-user/cleanup.h"
#include "vhost-user/cpu.h"
#include "vhost-user/signal-fd.h"

#define MAIN_TITLE "outboard-top    q: quit   s, S: sort by   r: reverse   space: look now"
/* So long the answers of a round are waited for before they are shown. */
#define MAIN_SETTLE_MS 500

struct main_view {
    struct top_options options;
    GPtrArray *daemons;
    int signal_fd;
    bool is_live; /* on a screen */
    bool quits, looks_now;
    int status;     /* of the program at its end */
    unsigned first; /* the first daemon shown */
};

/* --- showing --- */

static void main_show_live(struct main_view *view)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *summary = top_summary_line(view->daemons);
    unsigned rows, columns;

    screen_get_size(&rows, &columns);
    view->first = MIN(view->first, MAX(view->daemons->len, 1) - 1);
    g_ptr_array_add(lines, g_strndup(MAIN_TITLE, columns));
    g_ptr_array_add(lines, g_strndup(summary, columns));
    g_ptr_array_add(lines, top_header_line(view->options.sort_column, columns));
    for (guint i = view->first; i < view->daemons->len && lines->len < rows; i++)
        g_ptr_array_add(lines, top_daemon_line(g_ptr_array_index(view->daemons, i), columns));
    screen_show(lines, 2);
}

static void main_show_text(const struct main_view *view)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *time = g_date_time_format(now, "%F %T");
    g_autofree char *summary = top_summary_line(view->daemons);
    g_autofree char *header = top_header_line(-1, 0);

    printf("%s  %s\n%s\n", time, summary, header);
    for (guint i = 0; i < view->daemons->len; i++) {
        g_autofree char *line = top_daemon_line(g_ptr_array_index(view->daemons, i), 0);

        puts(line);
    }
    putchar('\n');
}

static void main_show(struct main_view *view)
{
    top_sort(view->daemons, (unsigned)view->options.sort_column, view->options.is_reversed);
    if (view->options.is_json) {
        g_autofree char *text = top_to_json(view->daemons);

        puts(text);
    } else if (view->is_live) {
        main_show_live(view);
    } else {
        main_show_text(view);
    }
    if (fflush(stdout) == 0 && !ferror(stdout))
        return;
    view->quits = true;
    if (errno == EPIPE) /* whoever reads it has gone */
        return;
    fprintf(stderr, "outboard-top: standard output: %s\n", g_strerror(errno));
    view->status = 1;
}

/* --- what happens --- */

static void main_turn_sort(struct main_view *view, int by)
{
    int n = (int)top_n_columns();

    view->options.sort_column = (view->options.sort_column + by + n) % n;
}

static void main_on_key(struct main_view *view, int key)
{
    switch (key) {
    case 'q':
    case 'Q':
        view->quits = true;
        break;
    case 's':
    case SCREEN_RIGHT:
        main_turn_sort(view, 1);
        break;
    case 'S':
    case SCREEN_LEFT:
        main_turn_sort(view, -1);
        break;
    case 'r':
        view->options.is_reversed = !view->options.is_reversed;
        break;
    case SCREEN_UP:
        view->first -= view->first > 0;
        break;
    case SCREEN_DOWN:
        view->first++;
        break;
    case ' ':
        view->looks_now = true;
        break;
    default:
        break;
    }
}

static void main_on_keys(struct main_view *view)
{
    int key;

    do {
        if (!screen_read_key(&key))
            view->quits = true;
        main_on_key(view, key);
    } while (key != SCREEN_NONE && !view->quits);
    main_show(view);
}

static void main_on_signal(struct main_view *view)
{
    struct signalfd_siginfo info;

    if (read(view->signal_fd, &info, sizeof(info)) != sizeof(info) || !view->is_live)
        return;
    if (info.ssi_signo == SIGTSTP)
        screen_stop();
    else if (info.ssi_signo == SIGCONT)
        screen_resume();
    main_show(view);
}

/* Waits for whatever happens, and sees to it. False where that is nothing in time. */
static bool main_wait(struct main_view *view, int timeout_ms)
{
    enum { SIGNALS, KEYS, DAEMONS };
    struct pollfd fds[DAEMONS + TOP_MAX_DAEMONS] = {
        [SIGNALS] = {.fd = view->signal_fd, .events = POLLIN},
        [KEYS] = {.fd = view->is_live ? STDIN_FILENO : -1, .events = POLLIN},
    };
    guint n = view->daemons->len;

    for (guint i = 0; i < n; i++) {
        const struct top_daemon *daemon = g_ptr_array_index(view->daemons, i);

        fds[DAEMONS + i] = (struct pollfd){.fd = daemon->fd, .events = POLLIN};
    }
    if (poll(fds, DAEMONS + n, timeout_ms) <= 0)
        return false;
    /* Before keys, which may change the order. */
    for (guint i = 0; i < n; i++)
        if (fds[DAEMONS + i].revents)
            top_daemon_read(g_ptr_array_index(view->daemons, i));
    if (fds[SIGNALS].revents)
        main_on_signal(view);
    if (fds[KEYS].revents && !view->quits)
        main_on_keys(view);
    return true;
}

static bool main_is_settled(const struct main_view *view)
{
    for (guint i = 0; i < view->daemons->len; i++)
        if (top_daemon_is_pending(g_ptr_array_index(view->daemons, i)))
            return false;
    return true;
}

/* Until then; with `settles` no longer than answers are owed. */
static void main_wait_until(struct main_view *view, int64_t until_ms, bool settles)
{
    while (!view->quits && !view->looks_now && !(settles && main_is_settled(view))) {
        int64_t left_ms = until_ms - vu_now_ms();

        if (left_ms <= 0)
            return;
        main_wait(view, (int)MIN(left_ms, G_MAXINT));
    }
}

static void main_run(struct main_view *view)
{
    int n_left = view->options.is_once ? 1 : view->options.n_rounds;

    for (unsigned round = 0; !view->quits; round++) {
        int64_t begin_ms = vu_now_ms();

        view->looks_now = false;
        top_find(view->daemons, view->options.places);
        for (guint i = 0; i < view->daemons->len; i++)
            top_daemon_ask(g_ptr_array_index(view->daemons, i));
        main_wait_until(view, begin_ms + MIN(MAIN_SETTLE_MS, view->options.delay_ms), true);
        /* What is printed has rates, which take two looks. */
        if (!view->quits && (view->is_live || round > 0)) {
            main_show(view);
            view->quits = view->quits || (n_left > 0 && --n_left == 0);
        }
        main_wait_until(view, begin_ms + view->options.delay_ms, false);
    }
}

static void main_destroy_daemon(void *daemon)
{
    top_daemon_destroy(daemon);
}

static void main_on_end(int signal_number)
{
    screen_close();
    _exit(0);
}

/* At once, also where a write waits for a terminal that is stopped or a pipe that nobody reads.
 * What was to be ignored (nohup) stays so. */
static void main_end_on_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction action = {.sa_handler = main_on_end}, before;

    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Those of a screen. */
static int main_open_signals(void)
{
    static const int signals[] = {SIGWINCH, SIGTSTP, SIGCONT, 0};

    return vu_signal_fd_open(signals);
}

int main(int argc, char **argv)
{
    struct main_view view = {.signal_fd = -1};
    int status;

    if (!top_options_parse(&view.options, argc, argv, &status))
        return status;
    main_end_on_signals();
    view.daemons = g_ptr_array_new_with_free_func(main_destroy_daemon);
    view.is_live =
        !view.options.is_batch && !view.options.is_once && !view.options.is_json && screen_open();
    if (view.is_live)
        view.signal_fd = main_open_signals();
    main_run(&view);
    screen_close();
    g_ptr_array_unref(view.daemons);
    vu_clear_fd(&view.signal_fd);
    g_free(view.options.places);
    return view.status;
}
