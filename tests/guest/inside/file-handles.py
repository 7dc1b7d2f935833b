#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""File handles in a guest outlive what its kernel remembers.

file-handles.py good|stale FOLDER GONE: takes the handles of all files below FOLDER and has the kernel forget the files.
Then each handle opens its own file again, with the contents it had; or, with `stale`, at least one does not. The file
GONE is removed meanwhile, and another of its name made: its handle opens nothing.
"""

import ctypes
import errno
import os
import sys
import time

EXPECTED, FOLDER, GONE = sys.argv[1:4]
AT_FDCWD, MAX_HANDLE_LEN = -100, 128
libc = ctypes.CDLL(None, use_errno=True)


class Handle(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint), ("type", ctypes.c_int), ("bytes", ctypes.c_ubyte * MAX_HANDLE_LEN)]


def take(path):
    handle, mount = Handle(length=MAX_HANDLE_LEN), ctypes.c_int()
    if libc.name_to_handle_at(AT_FDCWD, path.encode(), ctypes.byref(handle), ctypes.byref(mount), 0) < 0:
        raise OSError(ctypes.get_errno(), "name_to_handle_at", path)
    return handle


def contents_of(fd):
    return sorted(os.listdir(fd)) if os.path.isdir(f"/proc/self/fd/{fd}") else os.read(fd, 1 << 20)


def contents(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return contents_of(fd)
    finally:
        os.close(fd)


def reopen(handle):
    """What the handle's file contains; an errno where there is none."""
    mount_fd = os.open(FOLDER, os.O_RDONLY)
    fd = libc.open_by_handle_at(mount_fd, ctypes.byref(handle), os.O_RDONLY)
    error = ctypes.get_errno()
    os.close(mount_fd)
    if fd < 0:
        return error
    try:
        return contents_of(fd)
    finally:
        os.close(fd)


def forget():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")
    time.sleep(0.2)


def main():
    paths = [os.path.join(top, name) for top, dirs, files in os.walk(FOLDER) for name in dirs + files]
    before = {path: (take(path), contents(path)) for path in paths}
    forget()
    n_stale = 0
    for path, (handle, text) in before.items():
        found = reopen(handle)
        assert found in (text, errno.ESTALE), f"{path}: {found!r}"
        n_stale += found == errno.ESTALE
    print(f"{len(before)} handles, {n_stale} stale", flush=True)
    assert (n_stale > 0) == (EXPECTED == "stale")
    gone = take(GONE)
    forget()
    os.unlink(GONE)
    with open(GONE, "w", encoding="ascii") as file:
        file.write("another\n")
    forget()
    assert reopen(gone) == errno.ESTALE, "the handle of a removed file opens something"


main()
