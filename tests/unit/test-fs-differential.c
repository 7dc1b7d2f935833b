/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Odd and impossible requests, each done twice: by a guest to the share, and by a system call to
 * the same files beside it. What comes out, a number or an errno, must be the same.
 */
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/unit/fs-differential.h"

/* A length of name that is one too much. */
#define LONG_63  "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define LONG_252 LONG_63 LONG_63 LONG_63 LONG_63
#define MAX_SIZE ((uint64_t)INT64_MAX)

static const struct diff_row diff_rows[] = {
    {"seek", .a = 5, .b = SEEK_SET},
    {"seek", .a = 0, .b = SEEK_END},
    {"seek", .a = (uint64_t)-20000, .b = SEEK_END},
    {"seek", .a = UINT64_MAX, .b = SEEK_SET},
    {"seek", .a = MAX_SIZE, .b = SEEK_DATA},
    {"seek", .a = MAX_SIZE, .b = SEEK_HOLE},
    {"seek", .a = UINT64_MAX, .b = SEEK_DATA},
    {"seek", .a = DIFF_FILE_LEN, .b = SEEK_DATA},
    {"seek", .a = DIFF_FILE_LEN, .b = SEEK_HOLE},
    {"seek", .a = 0, .b = 77},

    {"allocate", .b = 0, .c = 0},
    {"allocate", .b = UINT64_MAX, .c = 5},
    {"allocate", .b = 5, .c = UINT64_MAX},
    {"allocate", .b = MAX_SIZE, .c = MAX_SIZE},
    {"allocate", .b = MAX_SIZE - 5, .c = 4},
    {"allocate", .b = 1ull << 62, .c = 1ull << 60},
    {"allocate", .a = 0x80000000, .c = 10},
    {"allocate", .a = UINT32_MAX, .c = 10},
    {"allocate", .a = FALLOC_FL_PUNCH_HOLE, .c = 10},
    {"allocate", .a = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, .b = MAX_SIZE - 5, .c = 4},
    {"allocate", .a = FALLOC_FL_COLLAPSE_RANGE, .b = 1, .c = 7},
    {"allocate", .a = FALLOC_FL_INSERT_RANGE | FALLOC_FL_ZERO_RANGE, .c = 4096},

    {"copy", .a = 0, .b = 5000, .c = 100},
    {"copy", .a = 0, .b = 50, .c = 100}, /* over itself */
    {"copy", .a = 50, .b = 0, .c = 100},
    {"copy", .a = 7, .b = 7, .c = 1},
    {"copy", .a = 0, .b = DIFF_FILE_LEN - 1, .c = UINT32_MAX},
    {"copy", .a = 0, .b = DIFF_FILE_LEN, .c = 1ull << 40},
    {"copy", .a = 0, .b = 0, .c = 0},
    {"copy", .a = DIFF_FILE_LEN, .b = 0, .c = 10},
    {"copy", .a = UINT64_MAX, .b = 0, .c = 10},
    {"copy", .a = 0, .b = UINT64_MAX, .c = 10},
    {"copy", .a = 10, .b = 10000, .c = UINT64_MAX},
    {"copy", .a = MAX_SIZE, .b = 0, .c = MAX_SIZE},
    {"copy", .a = 0, .b = MAX_SIZE - 5, .c = 100},
    {"copy", "flags", .a = 0, .b = 5000, .c = 100},

    {"truncate", .a = 5},
    {"truncate", .a = MAX_SIZE},
    {"truncate", .a = 1ull << 62},

    {"write", .a = MAX_SIZE, .b = 1},
    {"write", .a = MAX_SIZE - 5, .b = 100},
    {"write", .a = UINT64_MAX, .b = 1},
    {"write", .a = 1ull << 63, .b = 1},
    {"write", .a = 1ull << 62, .b = 100},
    {"write", .a = 0, .b = 0},
    {"write", .a = 3, .b = 100},
    {"read", .a = MAX_SIZE, .b = 1},
    {"read", .a = MAX_SIZE - 5, .b = 100},
    {"read", .a = UINT64_MAX, .b = 1},
    {"read", .a = DIFF_FILE_LEN - 3, .b = 100},
    {"read", .a = DIFF_FILE_LEN, .b = 100},
    {"read", .a = 0, .b = 0},

    {"setxattr", "user.new", .a = 10},
    {"setxattr", "user.new", .a = 0},
    {"setxattr", "user.new", .a = 10, .b = XATTR_REPLACE},
    {"setxattr", "user.old", .a = 10, .b = XATTR_CREATE},
    {"setxattr", "user.old", .a = 10, .b = XATTR_CREATE | XATTR_REPLACE},
    {"setxattr", "user.old", .a = 10, .b = 4},
    {"setxattr", "user.old", .a = XATTR_SIZE_MAX},
    {"setxattr", "user.old", .a = XATTR_SIZE_MAX + 1},
    {"setxattr", "", .a = 10},
    {"setxattr", "user.", .a = 10},
    {"setxattr", "user", .a = 10},
    {"setxattr", "strange.name", .a = 10},
    {"setxattr", "system.strange", .a = 10},
    {"setxattr", "user.x" LONG_252, .a = 10},
    {"getxattr", "user.old", .a = 0},
    {"getxattr", "user.old", .a = 2},
    {"getxattr", "user.old", .a = 3},
    {"getxattr", "user.old", .a = XATTR_SIZE_MAX},
    {"getxattr", "user.missing", .a = 0},
    {"getxattr", "user.missing", .a = 100},
    {"getxattr", "", .a = 100},
    {"getxattr", "strange.name", .a = 100},
    {"removexattr", "user.old"},
    {"removexattr", "user.missing"},
    {"removexattr", ""},
    {"removexattr", "user.x" LONG_252},
    {"removexattr", "strange.name"},

    {"unlink", "file"},
    {"unlink", "dir"},
    {"unlink", "missing"},
    {"unlink", "link"},
    {"unlink", "xxxx" LONG_252},
    {"rmdir", "dir"},
    {"rmdir", "full"},
    {"rmdir", "file"},
    {"rmdir", "link"},
    {"rmdir", "missing"},
    {"mkdir", "dir"},
    {"mkdir", "file"},
    {"mkdir", "dangling"},
    {"mkdir", "xxx" LONG_252},
    {"mkdir", "xxxx" LONG_252},
    {"mknod", "file", .a = S_IFREG | 0644},
    {"mknod", "new", .a = 0644},
    {"mknod", "new", .a = S_IFREG | 0644, .b = 5},
    {"mknod", "new", .a = S_IFSOCK | 0644},
    {"mknod", "new", .a = 0110644},
    {"mknod", "dangling", .a = S_IFREG | 0644},
    {"symlink", "new", "../../../etc/passwd"},
    {"symlink", "file", "target"},
    {"symlink", "dangling", "target"},
    {"link", "file", "new"},
    {"link", "file", "dir"},
    {"link", "dir", "new"},
    {"link", "link", "new"},
    {"link", "dangling", "new"},
    {"link", "file", "link"},
    {"link", "fifo", "new"},

    {"rename", "file", "new"},
    {"rename", "file", "file"},
    {"rename", "missing", "new"},
    {"rename", "file", "dir"},
    {"rename", "dir", "file"},
    {"rename", "dir", "full"},
    {"rename", "full", "dir"},
    {"rename", "full", "inside", .a = 1}, /* into itself */
    {"rename", "full", "x", .a = 1},
    {"rename", "file", "x", .a = 1},
    {"rename", "file", "dangling"},
    {"rename", "file", "dir", .b = RENAME_NOREPLACE},
    {"rename", "file", "new", .b = RENAME_NOREPLACE},
    {"rename", "file", "dir", .b = RENAME_EXCHANGE},
    {"rename", "file", "missing", .b = RENAME_EXCHANGE},
    {"rename", "full", "x", .a = 1, .b = RENAME_EXCHANGE},
    {"rename", "file", "dir", .b = RENAME_EXCHANGE | RENAME_NOREPLACE},
    {"rename", "file", "dir", .b = RENAME_EXCHANGE | RENAME_WHITEOUT},
    {"rename", "file", "new", .b = 8},
    {"rename", "file", "new", .b = 1u << 31},

    {"times", .a = 5, .b = 999999999},
    {"times", .a = 5, .b = 1000000000},
    {"times", .a = 5, .c = 4000000000},

    {"ioctl", .a = FS_IOC_GETFLAGS},
    {"ioctl", .a = 0},
    {"ioctl", .a = UINT32_MAX},
    {"ioctl", .a = 0x5413}, /* TIOCGWINSZ */

    {"lock", .a = F_RDLCK, .b = 0, .c = 0},
    {"lock", .a = F_WRLCK, .b = 5, .c = INT64_MAX},
    {"lock", .a = F_WRLCK, .b = INT64_MAX, .c = INT64_MAX},
    {"lock", .a = F_UNLCK, .b = 7, .c = 9},
    {"lock", .a = 17, .b = 7, .c = 9},
};

static void test_rows(gconstpointer argument)
{
    const struct diff_operation *operation = argument;

    for (size_t i = 0; i < G_N_ELEMENTS(diff_rows); i++) {
        const struct diff_row *row = &diff_rows[i];
        int guest, host;

        if (!g_str_equal(row->operation, operation->name))
            continue;
        diff_set_up();
        host = operation->host(row);
        guest = operation->guest(row);
        diff_tear_down();
        if (guest == host)
            continue;
        g_test_fail();
        g_test_message("%s %.20s %.20s %llx %llx %llx: %d for the guest, %d on the host",
                       row->operation, row->name ? row->name : "-", row->name2 ? row->name2 : "-",
                       (unsigned long long)row->a, (unsigned long long)row->b,
                       (unsigned long long)row->c, guest, host);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < diff_n_operations; i++) {
        g_autofree char *path = g_strconcat("/fs-differential/", diff_operations[i].name, NULL);

        g_test_add_data_func(path, &diff_operations[i], test_rows);
    }
    return g_test_run();
}
