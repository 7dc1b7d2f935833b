/* SPDX-License-Identifier: Apache-2.0 */
/* See screen.h. */
#include "contrib/top/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* The other screen, without a cursor; lines that are too long are cut. */
#define SCREEN_ENTER           "\033[?1049h\033[?25l\033[?7l"
#define SCREEN_LEAVE           "\033[?7h\033[?25h\033[?1049l"
#define SCREEN_HOME            "\033[H"
#define SCREEN_REVERSE         "\033[7m"
#define SCREEN_NORMAL          "\033[0m"
#define SCREEN_CLEAR           "\033[K" /* what is right of here on the line */
#define SCREEN_BELOW           "\033[J" /* ... and on the screen */

#define SCREEN_DEFAULT_ROWS    24
#define SCREEN_DEFAULT_COLUMNS 80
#define SCREEN_PATIENCE_MS     100

static struct termios screen_saved;
static volatile sig_atomic_t screen_is_open;
static char screen_in[16]; /* what was read and is no key yet */
static size_t screen_in_len;

static bool screen_can_write(int timeout_ms)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};

    return poll(&out, 1, timeout_ms) > 0;
}

static void screen_write(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, text, len);

        if (n < 0 && errno == EAGAIN)
            (void)screen_can_write(-1);
        else if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
}

/* Keys at once, and not shown. */
static void screen_enter(void)
{
    struct termios quiet = screen_saved;

    quiet.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
    screen_write(SCREEN_ENTER, strlen(SCREEN_ENTER));
}

bool screen_open(void)
{
    const char *kind = g_getenv("TERM");

    if (g_strcmp0(kind, "dumb") == 0 || !isatty(STDOUT_FILENO) ||
        tcgetattr(STDIN_FILENO, &screen_saved) < 0)
        return false;
    screen_is_open = true;
    screen_enter();
    return true;
}

void screen_close(void)
{
    if (!screen_is_open)
        return;
    screen_is_open = false;
    tcsetattr(STDIN_FILENO, TCSANOW, &screen_saved);
    /* A terminal that takes nothing now keeps what it shows. */
    if (screen_can_write(SCREEN_PATIENCE_MS))
        screen_write(SCREEN_LEAVE, strlen(SCREEN_LEAVE));
}

void screen_stop(void)
{
    sigset_t stop;

    screen_close();
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stop, NULL); /* it stops here */
    sigprocmask(SIG_BLOCK, &stop, NULL);
    (void)screen_open();
}

void screen_resume(void)
{
    if (screen_is_open)
        screen_enter();
}

void screen_get_size(unsigned *ret_rows, unsigned *ret_columns)
{
    struct winsize size = {0};

    (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    *ret_rows = size.ws_row > 0 ? size.ws_row : SCREEN_DEFAULT_ROWS;
    *ret_columns = size.ws_col > 0 ? size.ws_col : SCREEN_DEFAULT_COLUMNS;
}

void screen_show(const GPtrArray *lines, unsigned reversed)
{
    g_autoptr(GString) text = g_string_new(SCREEN_HOME);
    unsigned rows, columns;

    screen_get_size(&rows, &columns);
    for (guint i = 0; i < lines->len && i < rows; i++) {
        if (i > 0)
            g_string_append(text, "\r\n");
        /* Before the text: behind a full line, the cursor is still on its last character. */
        g_string_append(text, SCREEN_CLEAR);
        g_string_append(text, i == reversed ? SCREEN_REVERSE : "");
        g_string_append(text, g_ptr_array_index(lines, i));
        g_string_append(text, i == reversed ? SCREEN_NORMAL : "");
    }
    if (lines->len < rows)
        g_string_append(text, "\r\n" SCREEN_BELOW);
    screen_write(text->str, text->len);
}

static void screen_drop(size_t n)
{
    memmove(screen_in, screen_in + n, screen_in_len - n);
    screen_in_len -= n;
}

/* Arrow keys are three bytes; an escape before anything else stands by itself. */
static bool screen_take_key(int *ret_key)
{
    static const char arrows[] = "ABDC"; /* as in the enum */
    size_t len = 1;

    if (screen_in_len == 0)
        return false;
    *ret_key = (unsigned char)screen_in[0];
    if (screen_in[0] == '\033') {
        *ret_key = SCREEN_OTHER;
        if (screen_in_len >= 2 && (screen_in[1] == '[' || screen_in[1] == 'O'))
            len = MIN(screen_in_len, 3);
        for (int i = 0; len == 3 && arrows[i]; i++)
            if (screen_in[2] == arrows[i])
                *ret_key = SCREEN_UP + i;
    }
    screen_drop(len);
    return true;
}

bool screen_read_key(int *ret_key)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    ssize_t n;

    *ret_key = SCREEN_NONE;
    if (screen_take_key(ret_key) || poll(&in, 1, 0) <= 0)
        return true;
    n = read(STDIN_FILENO, screen_in, sizeof(screen_in));
    if (n <= 0)
        return n < 0 && (errno == EINTR || errno == EAGAIN);
    screen_in_len = (size_t)n;
    return screen_take_key(ret_key);
}
