#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Processes that lock each other out: fcntl tells one of them (EDEADLK), and the others go on.

lock-deadlock.py FOLDER: prints a line and exits 1 where it is otherwise. A local file system passes.
"""

import errno
import fcntl
import os
import random
import sys
import traceback

FOLDER = sys.argv[1]


def open_file(name):
    return os.open(os.path.join(FOLDER, name), os.O_RDWR | os.O_CREAT, 0o666)


def run_children(n, work):
    """Forks n processes that run work(index, meet); meet returns when all have come to it. Their exit statuses."""
    arrive_read, arrive_write = os.pipe()
    go_read, go_write = os.pipe()
    pids = []

    def meet():
        os.write(arrive_write, b"x")
        os.read(go_read, 1)

    for index in range(n):
        pid = os.fork()
        if pid == 0:
            try:
                status = work(index, meet)
            except BaseException:
                traceback.print_exc()
                status = 255
            os._exit(status)
        pids.append(pid)
    os.close(arrive_write)
    for _ in range(n):
        assert os.read(arrive_read, 1), "a process ended before its time"
    os.write(go_write, b"x" * n)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def wait_for(fd, how, length, start):
    try:
        fcntl.lockf(fd, how, length, start)
    except OSError as error:
        return error.errno
    return 0


def circle(n, wanted, give_back=False):
    """Each has a file and wants the next one's. With give_back nobody wants what is still held."""

    def work(index, meet):
        mine, other = open_file(f"circle.{index}"), open_file(f"circle.{(index + 1) % n}")
        fcntl.lockf(mine, fcntl.LOCK_EX, 100, 0)
        if give_back:
            fcntl.lockf(mine, fcntl.LOCK_UN, 10, 40)
        meet()
        return wait_for(other, wanted, 10, 40)

    statuses = run_children(n, work)
    expected = [0] * n if give_back else [0] * (n - 1) + [errno.EDEADLK]
    assert sorted(statuses) == expected, f"circle of {n}: {statuses}"


def upgrade():
    """Two read, and both want to write."""

    def work(_, meet):
        fd = open_file("upgrade")
        fcntl.lockf(fd, fcntl.LOCK_SH)
        meet()
        return wait_for(fd, fcntl.LOCK_EX, 0, 0)

    statuses = run_children(2, work)
    assert sorted(statuses) == [0, errno.EDEADLK], f"upgrade: {statuses}"


def crowd(in_order):
    """Many lock bytes of one file. In order of their offsets nobody is ever told of a deadlock."""

    def work(index, meet):
        fd, draw, n_told = open_file("crowd"), random.Random(index), 0
        meet()
        for _ in range(30):
            offsets = draw.sample(range(8), 3)
            for offset in sorted(offsets) if in_order else offsets:
                ret = wait_for(fd, draw.choice((fcntl.LOCK_EX, fcntl.LOCK_SH)), 1, offset)
                if ret == errno.EDEADLK:
                    n_told += 1
                    break
                assert ret == 0, os.strerror(ret)
            fcntl.lockf(fd, fcntl.LOCK_UN)
        return min(n_told, 100)

    statuses = run_children(6, work)
    assert all(0 <= status <= (0 if in_order else 100) for status in statuses), f"crowd: {statuses}"
    return sum(statuses)


def main():
    os.makedirs(FOLDER, exist_ok=True)
    for n in 2, 3, 5:
        circle(n, fcntl.LOCK_EX)
        circle(n, fcntl.LOCK_SH)
        circle(n, fcntl.LOCK_EX, give_back=True)
    upgrade()
    crowd(True)
    print(f"deadlocks told of; {crowd(False)} of them in a crowd", flush=True)


main()
