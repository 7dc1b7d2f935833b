/* SPDX-License-Identifier: Apache-2.0 */
/* rng-options.h, egd-sockets.h and the names of sources: numbers at their ends, and what must not
 * be taken silently. */
#include "contrib/vrngd/rng-options.h"

#include <string.h>

#include "contrib/vrngd/egd-sockets.h"
#include "contrib/vrngd/source.h"
#include "vhost-user/daemon/daemon.h"

/* What a command line makes of the options. */
struct parsed {
    struct rng_options options;
    struct egd_options egd_options;
    struct vu_daemon_options daemon;
    char *error; /* NULL: it was accepted */
};

static void parse(struct parsed *parsed, const char *line)
{
    g_autofree char *whole = g_strconcat("vrngd ", line, NULL);
    g_auto(GStrv) words = g_strsplit(whole, " ", -1);
    GError *error = NULL;

    *parsed = (struct parsed){0};
    vu_daemon_options_init(&parsed->daemon);
    rng_options_init(&parsed->options);
    egd_options_init(&parsed->egd_options);
    const struct vu_option_table tables[] = {
        rng_options_table(&parsed->options),
        egd_options_table(&parsed->egd_options),
        rng_options_daemon_table(&parsed->daemon),
        {vu_daemon_option_rows, vu_daemon_n_option_rows, &parsed->daemon},
    };

    if (!vu_options_parse(tables, G_N_ELEMENTS(tables), (int)g_strv_length(words), words, NULL,
                          &error) ||
        !rng_options_check(&parsed->options, &parsed->daemon, &error)) {
        parsed->error = g_strdup(error->message);
        g_error_free(error);
    }
}

static void clear(struct parsed *parsed)
{
    egd_options_clear(&parsed->egd_options);
    rng_options_clear(&parsed->options);
    vu_daemon_options_clear(&parsed->daemon);
    g_free(parsed->error);
}

static void accept(struct parsed *parsed, const char *line)
{
    parse(parsed, line);
    g_assert_cmpstr(parsed->error, ==, NULL);
}

static void refuse(const char *line, const char *names)
{
    struct parsed parsed;

    parse(&parsed, line);
    if (!parsed.error)
        g_error("accepted: %s", line);
    if (!strstr(parsed.error, names))
        g_error("%s: \"%s\" does not name %s", line, parsed.error, names);
    clear(&parsed);
}

static void test_bytes(void)
{
    static const struct {
        const char *line;
        uint64_t bytes;
    } good[] = {
        {"--max-bytes=1", 1},
        {"-m 4096", 4096},
        {"--max-bytes=64K", 65536},
        {"--max-bytes=3g", UINT64_C(3) << 30},
        {"--max-bytes=9223372036854775807", INT64_MAX},
        {"--max-bytes=8589934591G", UINT64_C(8589934591) << 30},
    };
    static const char *const bad[] = {"0",
                                      "-1",
                                      "+1",
                                      "1.5",
                                      "K",
                                      "1T",
                                      "1KK",
                                      "0x10",
                                      "",

                                      "9223372036854775808",
                                      "8589934592G",
                                      "18446744073709551616",
                                      "99999999999999999999999"};
    struct parsed parsed;

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        accept(&parsed, good[i].line);
        g_assert_cmpuint(parsed.options.max_bytes, ==, good[i].bytes);
        clear(&parsed);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *each = g_strdup_printf("--max-bytes=%s", bad[i]);
        g_autofree char *total = g_strdup_printf("--total-max-bytes=%s", bad[i]);

        refuse(each, "--max-bytes");
        refuse(total, "--total-max-bytes");
    }
}

static void test_numbers(void)
{
    refuse("--period=0", "--period");
    refuse("--period=65537", "--period");
    refuse("--min-entropy=0", "--min-entropy");
    refuse("--min-entropy=8.1", "--min-entropy");
    refuse("--min-entropy=nan", "--min-entropy");
    refuse("--num-queues=0", "--num-queues");
    refuse("--num-queues=17", "--num-queues");
    refuse("--sandbox=chroot", "--sandbox");
    refuse("--health=maybe", "--health");
}

static void test_socket_count(void)
{
    struct parsed parsed;

    accept(&parsed, "-s /run/rng -c 3 -m 3000");
    g_assert_cmpuint(parsed.options.max_bytes, ==, 1000);
    g_assert_cmpuint(parsed.daemon.socket_paths->len, ==, 3);
    g_assert_cmpstr(g_ptr_array_index(parsed.daemon.socket_paths, 2), ==, "/run/rng2");
    clear(&parsed);
    refuse("-c 3", "--socket-count");
    refuse("--socket-count=65 -s /run/rng", "--socket-count");
    refuse("-c 2 -s /run/a -s /run/b", "--socket-count");
}

/* Of a number that is none of a port something would be left over. */
static void test_addresses(void)
{
    static const char *const bad[] = {"localhost:65536", "localhost:99999999999999999999",
                                      "localhost:",      ":1",
                                      "1:2:3",           "unix:",
                                      "localhost",       "[::1]"};
    GError *error = NULL;
    struct parsed parsed;

    accept(&parsed, "--egd-listen=[::1]:65535 --egd-listen=unix:/run/egd");
    g_assert_cmpstr(parsed.egd_options.listen[1], ==, "unix:/run/egd");
    clear(&parsed);
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *listen = g_strconcat("--egd-listen=", bad[i], NULL);
        g_autofree char *source = g_strconcat("egd:", bad[i], NULL);

        refuse(listen, "--egd-listen");
        g_assert_null(rng_source_create(source, &error));
        g_assert_nonnull(strstr(error->message, bad[i]));
        g_clear_error(&error);
    }
    refuse("--egd-listen=a:1 --egd-listen=a:2 --egd-listen=a:3 --egd-listen=a:4 --egd-listen=a:5",
           "--egd-listen");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rng-options/bytes", test_bytes);
    g_test_add_func("/rng-options/numbers", test_numbers);
    g_test_add_func("/rng-options/socket-count", test_socket_count);
    g_test_add_func("/rng-options/addresses", test_addresses);
    return g_test_run();
}
