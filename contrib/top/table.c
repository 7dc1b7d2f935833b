/* SPDX-License-Identifier: Apache-2.0 */
/* See table.h. */
#include "contrib/top/table.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "vhost-user/cpu.h"
#include "vhost-user/daemon/printable.h"

#define TABLE_TEXT 320

/* What a column shows: one of two. */
struct table_column {
    const char *title;
    int width; /* cells; 0: to the end of the line */
    const char *(*text)(const struct top_daemon *daemon);
    /* NAN: nothing to show. */
    double (*number)(const struct top_daemon *daemon);
    void (*format)(double number, char *ret_text);
};

/* --- numbers --- */

static double table_rate(const struct top_daemon *daemon, double rate)
{
    return daemon->has_rates ? rate : NAN;
}

static double table_level(const struct top_daemon *daemon, uint64_t level)
{
    return daemon->has_now ? (double)level : NAN;
}

static double table_requests(const struct top_daemon *daemon)
{
    return table_rate(daemon, daemon->rates.requests);
}

static double table_bytes(const struct top_daemon *daemon)
{
    return table_rate(daemon, daemon->rates.bytes);
}

static double table_p50(const struct top_daemon *daemon)
{
    return daemon->rates.p50_ns > 0 ? table_rate(daemon, (double)daemon->rates.p50_ns) : NAN;
}

static double table_p99(const struct top_daemon *daemon)
{
    return daemon->rates.p99_ns > 0 ? table_rate(daemon, (double)daemon->rates.p99_ns) : NAN;
}

static double table_depth(const struct top_daemon *daemon)
{
    return table_level(daemon, daemon->now.depth);
}

static double table_failed(const struct top_daemon *daemon)
{
    return table_level(daemon, daemon->now.n_failed);
}

static double table_resident(const struct top_daemon *daemon)
{
    return daemon->now.resident_bytes > 0 ? table_level(daemon, daemon->now.resident_bytes) : NAN;
}

static double table_cpu(const struct top_daemon *daemon)
{
    return table_rate(daemon, daemon->rates.cpu_percent);
}

static void table_format_plain(double number, char *ret_text)
{
    if (number >= 1e7)
        g_snprintf(ret_text, TABLE_TEXT, "%.0fM", number / 1e6);
    else
        g_snprintf(ret_text, TABLE_TEXT, "%.0f", number);
}

static void table_format_percent(double number, char *ret_text)
{
    g_snprintf(ret_text, TABLE_TEXT, "%.1f", number);
}

static void table_format_megabytes(double number, char *ret_text)
{
    g_snprintf(ret_text, TABLE_TEXT, number < 99.95e6 ? "%.1f" : "%.0f", number / 1e6);
}

static void table_format_duration(double number, char *ret_text)
{
    if (number < 999.5e3)
        g_snprintf(ret_text, TABLE_TEXT, "%.0fus", number / 1e3);
    else if (number < 999.5e6)
        g_snprintf(ret_text, TABLE_TEXT, "%.1fms", number / 1e6);
    else
        g_snprintf(ret_text, TABLE_TEXT, "%.1fs", number / 1e9);
}

static void table_format_mebibytes(double number, char *ret_text)
{
    double mebibytes = number / (1 << 20);

    if (mebibytes < 9999.95)
        g_snprintf(ret_text, TABLE_TEXT, "%.1fM", mebibytes);
    else
        g_snprintf(ret_text, TABLE_TEXT, "%.1fG", mebibytes / 1024);
}

/* --- text --- */

static const char *table_name(const struct top_daemon *daemon)
{
    return daemon->name;
}

static const char *table_kind(const struct top_daemon *daemon)
{
    return daemon->program[0] ? daemon->program : "-";
}

static const char *table_front_end(const struct top_daemon *daemon)
{
    return !daemon->has_now ? "-" : daemon->now.is_connected ? "yes" : "no";
}

static const char *table_serves(const struct top_daemon *daemon)
{
    return daemon->now.serves;
}

const char *const top_columns[] = {"name",  "kind",   "vm",  "requests", "bytes",  "p50", "p99",
                                   "depth", "errors", "rss", "cpu",      "serves", NULL};

/* In the order of their names. */
static const struct table_column table_columns[] = {
    {"NAME", -20, .text = table_name},
    {"KIND", -10, .text = table_kind},
    {"VM", -4, .text = table_front_end},
    {"REQ/S", 9, .number = table_requests, .format = table_format_plain},
    {"MB/S", 8, .number = table_bytes, .format = table_format_megabytes},
    {"P50", 8, .number = table_p50, .format = table_format_duration},
    {"P99", 8, .number = table_p99, .format = table_format_duration},
    {"DEPTH", 6, .number = table_depth, .format = table_format_plain},
    {"ERRORS", 8, .number = table_failed, .format = table_format_plain},
    {"RSS", 8, .number = table_resident, .format = table_format_mebibytes},
    {"CPU%", 7, .number = table_cpu, .format = table_format_percent},
    {" SERVES", 0, .text = table_serves},
};
G_STATIC_ASSERT(G_N_ELEMENTS(table_columns) + 1 == G_N_ELEMENTS(top_columns));

unsigned top_n_columns(void)
{
    return G_N_ELEMENTS(table_columns);
}

/* --- order --- */

struct table_order {
    const struct table_column *column;
    bool is_reversed;
};

/* Below 0: a comes first. */
static int table_compare_numbers(double a, double b, bool is_reversed)
{
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b);
    if (a == b) // NOLINT: the same number, not one that is near
        return 0;
    return (a > b) != is_reversed ? -1 : 1;
}

static int table_compare(const void *a, const void *b, void *opaque)
{
    const struct top_daemon *first = *(struct top_daemon *const *)a;
    const struct top_daemon *second = *(struct top_daemon *const *)b;
    const struct table_order *order = opaque;
    int result;

    if (order->column->number)
        result = table_compare_numbers(order->column->number(first), order->column->number(second),
                                       order->is_reversed);
    else
        result = strcmp(order->column->text(first), order->column->text(second)) *
                 (order->is_reversed ? -1 : 1);
    return result != 0 ? result : strcmp(first->path, second->path);
}

void top_sort(GPtrArray *daemons, unsigned column, bool is_reversed)
{
    struct table_order order = {&table_columns[column], is_reversed};

    g_ptr_array_sort_with_data(daemons, table_compare, &order);
}

/* --- lines --- */

/* Appends text in at most `width` cells. Returns how many it took. */
static int table_append_text(GString *line, const char *text, int width)
{
    g_autofree char *printable = vu_printable(text);
    int used = 0;

    for (char *p = printable; *p; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        int cells = g_unichar_iswide(c) ? 2 : g_unichar_iszerowidth(c) ? 0 : 1;

        if (used + cells > width)
            break;
        g_string_append_unichar(line, c);
        used += cells;
    }
    return used;
}

static void table_append_cell(GString *line, const char *text, int width, unsigned *left)
{
    int cells = width == 0 ? (int)*left : MIN(ABS(width), (int)*left);
    int used;

    if (width > 0) {
        g_string_append_printf(line, "%*.*s", cells, cells, text);
    } else {
        used = table_append_text(line, text, width == 0 ? cells : MAX(cells - 1, 0));
        if (width != 0)
            g_string_append_printf(line, "%*s", MAX(cells - used, 0), "");
    }
    *left -= (unsigned)cells;
}

static unsigned table_width(unsigned width)
{
    return width > 0 ? width : G_MAXINT;
}

char *top_header_line(int sorted_by, unsigned width)
{
    GString *line = g_string_new(NULL);
    unsigned left = table_width(width);

    for (unsigned i = 0; i < G_N_ELEMENTS(table_columns) && left > 0; i++) {
        g_autofree char *title =
            g_strconcat(table_columns[i].title, (int)i == sorted_by ? "*" : "", NULL);

        table_append_cell(line, title, table_columns[i].width, &left);
    }
    return g_string_free(line, FALSE);
}

/* What is to be said in place of figures; NULL: there are some. */
static char *table_describe(const struct top_daemon *daemon)
{
    if (daemon->state == TOP_DOWN)
        return g_strdup_printf("down: %s", daemon->why);
    if (daemon->is_late)
        return g_strdup_printf("no answer for %" PRIu64 " s",
                               (vu_now_ns() - daemon->asked_ns) / 1000000000);
    return NULL;
}

char *top_daemon_line(const struct top_daemon *daemon, unsigned width)
{
    GString *line = g_string_new(NULL);
    g_autofree char *instead = table_describe(daemon);
    unsigned left = table_width(width);

    for (unsigned i = 0; i < G_N_ELEMENTS(table_columns) && left > 0; i++) {
        const struct table_column *column = &table_columns[i];
        double number = column->number ? column->number(daemon) : NAN;
        char text[TABLE_TEXT] = "-";

        if (instead && i == 2) {
            table_append_cell(line, instead, 0, &left);
            break;
        }
        if (column->text)
            g_snprintf(text, sizeof(text), "%s%s", column->width == 0 ? " " : "",
                       column->text(daemon));
        else if (!isnan(number))
            column->format(number, text);
        table_append_cell(line, text, column->width, &left);
    }
    return g_string_free(line, FALSE);
}

char *top_summary_line(const GPtrArray *daemons)
{
    double requests = 0, bytes = 0, cpu = 0;
    unsigned n_connected = 0, n_down = 0;

    for (guint i = 0; i < daemons->len; i++) {
        const struct top_daemon *daemon = g_ptr_array_index(daemons, i);

        n_connected += daemon->has_now && daemon->now.is_connected;
        n_down += daemon->state == TOP_DOWN;
        if (!daemon->has_rates)
            continue;
        requests += daemon->rates.requests;
        bytes += daemon->rates.bytes;
        cpu += daemon->rates.cpu_percent;
    }
    return g_strdup_printf("%u daemon%s, %u with a front-end, %u down; %.0f requests/s, %.1f MB/s, "
                           "%.1f%% CPU",
                           daemons->len, daemons->len == 1 ? "" : "s", n_connected, n_down,
                           requests, bytes / 1e6, cpu);
}
