#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tree-list.py DIR [timeless]: one line for each file below DIR, sorted, with all that an archive keeps of it.

Path, mode, owner, group, links, size, time in nanoseconds (unless timeless), device number, which other name is the
same file, how much data it has, a digest of it, the target of a link, and the extended attributes.
"""

import hashlib
import os
import stat
import sys

TOP = sys.argv[1]
TIMELESS = "timeless" in sys.argv[2:]
PIECE = 65536
names = {}  # (device, inode): the first name


def data_pieces(fd, size):
    """Which pieces of a file hold data; not finer, since file systems differ in their blocks."""
    pieces = set()
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(fd, start, os.SEEK_HOLE)
        pieces.update(range(start // PIECE, -(-end // PIECE)))
    return len(pieces)


def describe_contents(path, status):
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(status.st_mode):
        return "-"
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:16]
        return f"{data_pieces(file.fileno(), status.st_size)}:{digest}"


def describe(path):
    status = os.lstat(path)
    is_directory = stat.S_ISDIR(status.st_mode)
    relative = os.path.relpath(path, TOP)
    first = names.setdefault((status.st_dev, status.st_ino), relative)
    xattrs = [
        f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}"
        for name in sorted(os.listxattr(path, follow_symlinks=False))
    ]
    return " ".join(
        [
            repr(relative),
            f"{status.st_mode:o}",
            f"{status.st_uid}:{status.st_gid}",
            "-" if is_directory else f"{status.st_nlink}",
            "-" if is_directory else f"{status.st_size}",
            "-" if TIMELESS else f"{status.st_mtime_ns}",
            f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}",
            repr(first),
            repr(describe_contents(path, status)),
            *xattrs,
        ]
    )


def walk(path):
    print(describe(path))
    if os.path.isdir(path) and not os.path.islink(path):
        for name in sorted(os.listdir(path)):
            walk(os.path.join(path, name))


walk(TOP)
