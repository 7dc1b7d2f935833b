/* SPDX-License-Identifier: Apache-2.0 */
/* See screen.h. */
#include "contrib/top/screen.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define SCREEN_ENTER           "\033[?1049h\033[?25l" /* the other screen, no cursor */
#define SCREEN_LEAVE           "\033[?25h\033[?1049l"
#define SCREEN_HOME            "\033[H"
#define SCREEN_REVERSE         "\033[7m"
#define SCREEN_NORMAL          "\033[0m"
#define SCREEN_END             "\033[K" /* clears what is left of the line */
#define SCREEN_BELOW           "\033[J" /* ... and of the screen */

#define SCREEN_DEFAULT_ROWS    24
#define SCREEN_DEFAULT_COLUMNS 80

static struct termios screen_saved;
static bool screen_is_open;
static char screen_in[16]; /* what was read and is no key yet */
static size_t screen_in_len;

static void screen_write(const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDOUT_FILENO, text, len);

        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
}

bool screen_open(void)
{
    struct termios quiet;

    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &screen_saved) < 0)
        return false;
    quiet = screen_saved;
    quiet.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    /* Stopped, it would leave its screen behind. */
    quiet.c_cc[VSUSP] = _POSIX_VDISABLE;
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
    screen_write(SCREEN_ENTER, strlen(SCREEN_ENTER));
    screen_is_open = true;
    return true;
}

void screen_close(void)
{
    if (!screen_is_open)
        return;
    screen_is_open = false;
    screen_write(SCREEN_LEAVE, strlen(SCREEN_LEAVE));
    tcsetattr(STDIN_FILENO, TCSANOW, &screen_saved);
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
        g_string_append(text, i == reversed ? SCREEN_REVERSE : "");
        g_string_append(text, g_ptr_array_index(lines, i));
        g_string_append(text, SCREEN_END);
        g_string_append(text, i == reversed ? SCREEN_NORMAL : "");
    }
    g_string_append(text, SCREEN_BELOW);
    screen_write(text->str, text->len);
}

static void screen_drop(size_t n)
{
    memmove(screen_in, screen_in + n, screen_in_len - n);
    screen_in_len -= n;
}

/* Arrow keys are three bytes; one escape alone is none. */
static bool screen_take_key(int *ret_key)
{
    static const char arrows[] = "ABDC"; /* as in the enum */

    if (screen_in_len == 0)
        return false;
    *ret_key = (unsigned char)screen_in[0];
    if (screen_in[0] != '\033') {
        screen_drop(1);
        return true;
    }
    *ret_key = SCREEN_OTHER;
    if (screen_in_len >= 3 && (screen_in[1] == '[' || screen_in[1] == 'O'))
        for (int i = 0; arrows[i]; i++)
            if (screen_in[2] == arrows[i])
                *ret_key = SCREEN_UP + i;
    screen_drop(screen_in_len >= 3 ? 3 : screen_in_len);
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
        return n < 0 && errno == EINTR;
    screen_in_len = (size_t)n;
    return screen_take_key(ret_key);
}
