/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes in texts. Whole numbers are exact; fractions are rounded down to a byte. */
#include "vblkd/img/size.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhost-user/daemon/options.h"

static const char size_suffixes[] = "BKMGTPE"; /* each 1024 times the one before */

static bool size_fail(const char *text, GError **error)
{
    g_set_error(error, VU_OPTION_ERROR, 0,
                "expected a size below 8E, as 4096, 64k, 10G or 1.5T, got \"%s\"", text);
    return false;
}

bool img_size_parse(const char *text, uint64_t *ret_size, GError **error)
{
    const char *suffix = size_suffixes, *number = text;
    double fraction = 0;
    uint64_t whole, unit;
    bool is_hex;
    char *end;

    while (g_ascii_isspace(*number))
        number++;
    number += *number == '+';
    errno = 0;
    is_hex = g_str_has_prefix(number, "0x");
    whole = g_ascii_strtoull(number, &end, is_hex ? 16 : 10);
    if (errno != 0 || !g_ascii_isdigit(number[0]) || (is_hex && *end == '.'))
        return size_fail(text, error);
    if (*end == '.' && g_ascii_isdigit(end[1]))
        fraction = g_ascii_strtod(end, &end);
    else if (*end == '.')
        end++;
    if (*end != '\0') {
        suffix = strchr(size_suffixes, g_ascii_toupper(*end));
        if (!suffix || end[1] != '\0')
            return size_fail(text, error);
    }
    unit = UINT64_C(1) << (10 * (suffix - size_suffixes));
    if ((fraction > 0 && unit == 1) || whole >= (UINT64_C(1) << 63) / unit)
        return size_fail(text, error);
    *ret_size = whole * unit + (uint64_t)(fraction * (double)unit);
    return true;
}

char *img_size_format(uint64_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)size;
    unsigned unit = 0;

    /* Never four digits, which %.3g would write with an exponent. */
    for (; value >= 1000 && unit + 1 < G_N_ELEMENTS(units); unit++)
        value /= 1024;
    return g_strdup_printf("%.3g %s", value, units[unit]);
}
