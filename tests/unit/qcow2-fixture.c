/* SPDX-License-Identifier: Apache-2.0 */
/* Images, shadows, and qemu-img as the judge. */
#include "tests/unit/qcow2-fixture.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>

#define FIXTURE_SECTOR 512
#define FIXTURE_ROOM   (UINT64_C(1) << 30)

bool qcow2_fixture_can_run(void)
{
    g_autofree char *program = g_find_program_in_path("qemu-img");

    if (!program)
        g_test_skip("no qemu-img here");
    return program != NULL;
}

char *qcow2_fixture_path(const struct qcow2_fixture *fixture, const char *name)
{
    return g_build_filename(fixture->dir, name, NULL);
}

int qcow2_fixture_shell(const struct qcow2_fixture *fixture, const char *format, ...)
{
    g_autofree char *command = NULL, *output = NULL;
    char *argv[] = {"sh", "-c", NULL, NULL};
    g_autoptr(GError) error = NULL;
    va_list args;
    int status;

    va_start(args, format);
    command = g_strdup_vprintf(format, args);
    va_end(args);
    argv[2] = command;
    g_spawn_sync(fixture->dir, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL,
                 NULL, &output, NULL, &status, &error);
    g_assert_no_error(error);
    g_assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != 0)
        g_test_message("%s: exit %d\n%s", command, WEXITSTATUS(status), output);
    return WEXITSTATUS(status);
}

/* Memory, where it will do: thousands of flushes take their time on a disk. Else the user's choice.
 */
static char *fixture_make_dir(void)
{
    const char *asked = g_getenv("OUTBOARD_TMPDIR"), *memory = asked ? asked : "/dev/shm";
    g_autofree char *dir = g_build_filename(memory, "outboard-qcow2-XXXXXX", NULL);
    g_autoptr(GError) error = NULL;
    struct statvfs space;
    char *other;

    if (statvfs(memory, &space) == 0 && space.f_bavail * space.f_frsize >= FIXTURE_ROOM &&
        g_mkdtemp(dir))
        return g_steal_pointer(&dir);
    other = g_dir_make_tmp("outboard-qcow2-XXXXXX", &error);
    g_assert_no_error(error);
    return other;
}

void qcow2_fixture_init(struct qcow2_fixture *fixture, uint64_t size)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->dir = fixture_make_dir();
    fixture->path = qcow2_fixture_path(fixture, "image");
    fixture->size = size;
    fixture->shadow = g_malloc0(size);
    fixture->options = (struct vblk_image_options){
        .format = "qcow2",
        .allow_backing = true,
        .discard_in_format = true,
    };
}

void qcow2_fixture_create(struct qcow2_fixture *fixture, uint64_t size, const char *args)
{
    qcow2_fixture_init(fixture, size);
    g_assert_cmpint(qcow2_fixture_shell(fixture,
                                        "qemu-img create -q -f qcow2 %s image %" G_GUINT64_FORMAT,
                                        args, size),
                    ==, 0);
}

void qcow2_fixture_fill(struct qcow2_fixture *fixture, const char *name)
{
    g_autofree char *path = qcow2_fixture_path(fixture, name);
    g_autoptr(GError) error = NULL;

    for (uint64_t at = 0; at < fixture->size;) {
        uint64_t wanted = (uint64_t)g_test_rand_int_range(1, 400) * FIXTURE_SECTOR;
        uint64_t len = MIN(wanted, fixture->size - at);
        uint8_t pattern = (uint8_t)g_test_rand_int_range(1, 255);

        for (uint64_t i = 0; pattern % 3 != 0 && i < len; i++)
            fixture->shadow[at + i] = (uint8_t)(pattern + i / 3000);
        at += len;
    }
    g_file_set_contents_full(path, (const char *)fixture->shadow, (gssize)fixture->size,
                             G_FILE_SET_CONTENTS_NONE, 0600, &error);
    g_assert_no_error(error);
}

void qcow2_fixture_open(struct qcow2_fixture *fixture)
{
    g_autoptr(GError) error = NULL;

    fixture->image = vblk_image_open(fixture->path, &fixture->options, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(fixture->image->size, ==, fixture->size);
}

void qcow2_fixture_close(struct qcow2_fixture *fixture)
{
    vblk_image_close(g_steal_pointer(&fixture->image));
}

void qcow2_fixture_destroy(struct qcow2_fixture *fixture)
{
    qcow2_fixture_close(fixture);
    qcow2_fixture_shell(fixture, "rm -f ./*");
    g_rmdir(fixture->dir);
    g_free(fixture->dir);
    g_free(fixture->path);
    g_free(fixture->shadow);
}

/* --- operations --- */

void qcow2_fixture_write(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len,
                         uint8_t pattern)
{
    g_autofree uint8_t *buf = g_malloc(len);

    /* Each sector differs from its neighbours. */
    for (uint64_t i = 0; i < len; i++)
        buf[i] = (uint8_t)(pattern + (offset + i) / FIXTURE_SECTOR + i % 7);
    g_assert_cmpint(vblk_image_write(fixture->image, buf, len, offset), ==, 0);
    memcpy(fixture->shadow + offset, buf, len);
}

void qcow2_fixture_zero(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len,
                        bool may_unmap)
{
    g_assert_cmpint(vblk_image_zero(fixture->image, offset, len, may_unmap), ==, 0);
    memset(fixture->shadow + offset, 0, len);
}

void qcow2_fixture_discard(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len)
{
    static const uint8_t zeros[FIXTURE_SECTOR];
    g_autofree uint8_t *buf = g_malloc(len);

    g_assert_cmpint(vblk_image_discard(fixture->image, offset, len), ==, 0);
    g_assert_cmpint(vblk_image_read(fixture->image, buf, len, offset), ==, 0);
    for (uint64_t at = 0; at < len; at += FIXTURE_SECTOR) {
        if (memcmp(buf + at, zeros, FIXTURE_SECTOR) == 0)
            memset(fixture->shadow + offset + at, 0, FIXTURE_SECTOR);
    }
    g_assert_true(memcmp(buf, fixture->shadow + offset, len) == 0);
}

void qcow2_fixture_verify(struct qcow2_fixture *fixture, uint64_t offset, uint64_t len)
{
    g_autofree uint8_t *buf = g_malloc(len);

    g_assert_cmpint(vblk_image_read(fixture->image, buf, len, offset), ==, 0);
    for (uint64_t i = 0; i < len; i++) {
        if (buf[i] != fixture->shadow[offset + i])
            g_error("byte %#" PRIx64 " is %#x, should be %#x", offset + i, buf[i],
                    fixture->shadow[offset + i]);
    }
}

static void fixture_random_range(const struct qcow2_fixture *fixture, uint64_t max_len,
                                 uint64_t *ret_offset, uint64_t *ret_len)
{
    uint64_t n_sectors = fixture->size / FIXTURE_SECTOR;
    uint64_t first = (uint64_t)g_test_rand_int_range(0, (gint32)n_sectors), n;

    /* Often on the border of a cluster of some size. */
    if (g_test_rand_bit())
        first &= ~UINT64_C(127);
    n = (uint64_t)g_test_rand_int_range(1, (gint32)(max_len / FIXTURE_SECTOR) + 1);
    if (g_test_rand_bit())
        n = 1 + n / 16;
    if (n >= 128 && g_test_rand_bit())
        n &= ~UINT64_C(127);
    n = MIN(n, n_sectors - first);
    *ret_offset = first * FIXTURE_SECTOR;
    *ret_len = n * FIXTURE_SECTOR;
}

void qcow2_fixture_random(struct qcow2_fixture *fixture, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t offset, len;

        fixture_random_range(fixture, 512 * 1024, &offset, &len);
        switch (g_test_rand_int_range(0, 12)) {
        case 0:
            qcow2_fixture_zero(fixture, offset, len, g_test_rand_bit());
            break;
        case 1:
            qcow2_fixture_discard(fixture, offset, len);
            break;
        case 2:
            g_assert_cmpint(vblk_image_flush(fixture->image), ==, 0);
            break;
        case 3:
        case 4:
            qcow2_fixture_verify(fixture, offset, len);
            break;
        default:
            qcow2_fixture_write(fixture, offset, len, (uint8_t)g_test_rand_int());
            break;
        }
    }
}

/* --- the judge --- */

void qcow2_fixture_check(const struct qcow2_fixture *fixture, bool leaks_allowed)
{
    int status = qcow2_fixture_shell(fixture, "qemu-img check -U %s 2>&1", fixture->path);

    if (!leaks_allowed || status != 3)
        g_assert_cmpint(status, ==, 0);
}

void qcow2_fixture_compare(const struct qcow2_fixture *fixture)
{
    g_autofree char *path = qcow2_fixture_path(fixture, "shadow");
    g_autoptr(GError) error = NULL;

    g_file_set_contents_full(path, (const char *)fixture->shadow, (gssize)fixture->size,
                             G_FILE_SET_CONTENTS_NONE, 0600, &error);
    g_assert_no_error(error);
    g_assert_cmpint(
        qcow2_fixture_shell(fixture, "qemu-img compare -f qcow2 -F raw %s shadow", fixture->path),
        ==, 0);
    g_unlink(path);
}
