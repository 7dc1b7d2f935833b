/* SPDX-License-Identifier: Apache-2.0 */
/* xattrmap.h: the grammar, each of its errors by name, and names in both directions. */
#include "virtiofsd/xattrmap.h"

#include <errno.h>
#include <string.h>

/* A name of the guest, and what becomes of it: the host's name, or an errno. */
static void test_to_host(const struct fs_xattrmap *map, const char *name, const char *expected,
                         int err)
{
    char host_name[XATTR_NAME_MAX + 1] = "";

    g_assert_cmpint(fs_xattrmap_to_host(map, name, host_name), ==, err);
    if (err == 0)
        g_assert_cmpstr(host_name, ==, expected);
}

static struct fs_xattrmap *test_parse(const char *text)
{
    GError *error = NULL;
    struct fs_xattrmap *map = fs_xattrmap_parse(text, &error);

    g_assert_no_error(error);
    return map;
}

/* The message must say each of the words, NULL ended. */
static void test_refuses(const char *text, const char *const *words)
{
    GError *error = NULL;
    struct fs_xattrmap *map = fs_xattrmap_parse(text, &error);

    if (map)
        g_error("accepted: %s", text);
    for (size_t i = 0; words[i]; i++)
        if (!strstr(error->message, words[i]))
            g_error("\"%s\" does not say %s", error->message, words[i]);
    g_error_free(error);
}

#define REFUSES(text, ...) test_refuses(text, (const char *const[]){__VA_ARGS__, NULL})

static void test_none(void)
{
    test_to_host(NULL, "user.a", "user.a", 0);
    g_assert_cmpstr(fs_xattrmap_to_guest(NULL, "user.a"), ==, "user.a");
}

static void test_prefix_all(void)
{
    struct fs_xattrmap *map = test_parse(":prefix:all::user.virtiofs.::bad:all:::");

    test_to_host(map, "security.capability", "user.virtiofs.security.capability", 0);
    test_to_host(map, "user.virtiofs.x", "user.virtiofs.user.virtiofs.x", 0);
    g_assert_cmpstr(fs_xattrmap_to_guest(map, "user.virtiofs.security.capability"), ==,
                    "security.capability");
    g_assert_null(fs_xattrmap_to_guest(map, "security.selinux"));
    g_assert_null(fs_xattrmap_to_guest(map, "user.virtiofs."));
    fs_xattrmap_free(map);
}

/* Delimiters of all kinds, white space between rules, the first match wins. */
static void test_rules(void)
{
    struct fs_xattrmap *map = test_parse("\n /prefix/all/trusted./user.virtiofs./\n"
                                         "\t#bad#server##trusted.#"
                                         "xbadxclientxuser.virtiofs.xx  "
                                         "→unsupported→all→security.selinux→security.selinux→ "
                                         ",ok,client,system.,, /ok/all///  ");

    test_to_host(map, "trusted.overlay.opaque", "user.virtiofs.trusted.overlay.opaque", 0);
    test_to_host(map, "user.virtiofs.trusted.a", NULL, -EPERM);
    test_to_host(map, "security.selinux", NULL, -EOPNOTSUPP);
    test_to_host(map, "security.ima", "security.ima", 0);
    test_to_host(map, "system.a", "system.a", 0);
    test_to_host(map, "user.a", "user.a", 0);
    g_assert_cmpstr(fs_xattrmap_to_guest(map, "user.virtiofs.trusted.a"), ==, "trusted.a");
    g_assert_null(fs_xattrmap_to_guest(map, "trusted.a"));
    g_assert_null(fs_xattrmap_to_guest(map, "security.selinux"));
    g_assert_cmpstr(fs_xattrmap_to_guest(map, "user.a"), ==, "user.a");
    fs_xattrmap_free(map);
}

/* White space and other characters inside a field belong to it. */
static void test_fields(void)
{
    struct fs_xattrmap *map = test_parse(":prefix:client:a b:user. /c::ok:all:::");

    test_to_host(map, "a bc", "user. /ca bc", 0);
    test_to_host(map, "a", "a", 0);
    fs_xattrmap_free(map);
}

/* One direction does not say anything of the other. */
static void test_scopes(void)
{
    struct fs_xattrmap *map = test_parse(":prefix:client:user.:user.guest.::ok:server::user.guest.:"
                                         ":bad:server::: :bad:client:::");

    test_to_host(map, "user.a", "user.guest.user.a", 0);
    test_to_host(map, "trusted.a", NULL, -EPERM);
    g_assert_cmpstr(fs_xattrmap_to_guest(map, "user.guest.user.a"), ==, "user.guest.user.a");
    g_assert_null(fs_xattrmap_to_guest(map, "user.a"));
    fs_xattrmap_free(map);
}

static void test_map(void)
{
    struct fs_xattrmap *map = test_parse(":ok:all:user.keep:user.keep::map::user.virtiofs.:\n");

    test_to_host(map, "user.keep", "user.keep", 0);
    test_to_host(map, "user.a", "user.virtiofs.user.a", 0);
    g_assert_cmpstr(fs_xattrmap_to_guest(map, "user.virtiofs.trusted.a"), ==, "trusted.a");
    g_assert_cmpstr(fs_xattrmap_to_guest(map, "user.keep"), ==, "user.keep");
    g_assert_null(fs_xattrmap_to_guest(map, "trusted.a"));
    fs_xattrmap_free(map);

    map = test_parse("|map|trusted.|user.virtiofs.|");
    test_to_host(map, "trusted.a", "user.virtiofs.trusted.a", 0);
    test_to_host(map, "user.virtiofs.trusted.a", NULL, -EPERM);
    test_to_host(map, "security.a", "security.a", 0);
    g_assert_cmpstr(fs_xattrmap_to_guest(map, "user.virtiofs.trusted.a"), ==, "trusted.a");
    g_assert_cmpstr(fs_xattrmap_to_guest(map, "security.a"), ==, "security.a");
    g_assert_null(fs_xattrmap_to_guest(map, "trusted.a"));
    fs_xattrmap_free(map);
}

static void test_long_names(void)
{
    struct fs_xattrmap *map = test_parse(":map::user.virtiofs.:");
    g_autofree char *name = g_strnfill(XATTR_NAME_MAX - strlen("user.virtiofs."), 'n');
    g_autofree char *longer = g_strconcat(name, "n", NULL);
    g_autofree char *mapped = g_strconcat("user.virtiofs.", name, NULL);

    test_to_host(map, name, mapped, 0);
    test_to_host(map, longer, NULL, -ERANGE);
    fs_xattrmap_free(map);
}

static void test_wrong(void)
{
    g_autofree char *key = g_strnfill(256, 'k');
    g_autofree char *long_key = g_strdup_printf(":ok:all:%s:: :ok:all:::", key);
    g_autofree char *long_rule = g_strdup_printf(":ok:all:%s", key);

    REFUSES("", "got none");
    REFUSES(" \n\t ", "got none");
    REFUSES(":", "rule 1", "type", "the end");
    REFUSES(":ok", "rule 1", "type", "the end");
    REFUSES(":ok:", "rule 1", "scope", "the end");
    REFUSES(":ok:all", "rule 1", "scope", "the end");
    REFUSES(":ok:all:", "rule 1", "key", "the end");
    REFUSES(":ok:all:user.", "rule 1", "key", "the end");
    REFUSES(":ok:all::", "rule 1", "prepend", "the end");
    REFUSES(":ok:all:::\n/ok/all//user.", "rule 2", "\"/ok/all//user.\"", "prepend", "\"/\"");
    REFUSES(":okay:all:::", "rule 1", "\"okay\"", "prefix, ok, bad, unsupported or map");
    REFUSES("::all:::", "rule 1", "type", "got \"\"");
    REFUSES(":ok:both:::", "rule 1", "\"both\"", "client, server or all");
    REFUSES(":ok/all:::", "rule 1", "\"ok/all\"");
    REFUSES(":ok:all:::extra", "rule 2", "\"extra\"", "type");
    REFUSES(":bad:client:::", "rule 1", "server", ":bad:all:::");
    REFUSES(":prefix:all:trusted.:user.:", "rule 1", "client", ":bad:all:::");
    REFUSES(":ok:server::: :prefix:client:user.:a.:", "rule 2", "client");
    REFUSES(":map", "rule 1", "type", "the end");
    REFUSES(":map:", "rule 1", "key", "the end");
    REFUSES(":map::user.", "rule 1", "prepend", "the end");
    REFUSES(":map::user.:x:ok:all:::", "rule 1", "last rule");
    REFUSES(":map::user.: :map::trusted.:", "rule 1", "last rule");
    REFUSES(long_key, "rule 1", "at most 255", "256");
    REFUSES(long_rule, "rule 1", "...");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xattrmap/none", test_none);
    g_test_add_func("/xattrmap/prefix-all", test_prefix_all);
    g_test_add_func("/xattrmap/rules", test_rules);
    g_test_add_func("/xattrmap/fields", test_fields);
    g_test_add_func("/xattrmap/scopes", test_scopes);
    g_test_add_func("/xattrmap/map", test_map);
    g_test_add_func("/xattrmap/long-names", test_long_names);
    g_test_add_func("/xattrmap/wrong", test_wrong);
    return g_test_run();
}
