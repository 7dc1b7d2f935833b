# SPDX-License-Identifier: Apache-2.0
"""The steps of a test: what has to be, at once or in a while. The first that is not ends the test."""

import os
import sys
import time

BOUND = 120  # seconds, for anything to happen
LISTENING = "00010000"  # the flags of such a socket in /proc/net/unix


def expect(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")
    print(what)


def wait_until(condition, what):
    deadline = time.monotonic() + BOUND
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"FAILED: in vain for {what}")
        time.sleep(0.02)


def text_of(path):
    """Of a file that need not be there yet."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def listens(path):
    """Whether connections to a socket are taken, a moment after its file is there."""
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
            return os.path.exists(path) and any(line.split()[3::4] == [LISTENING, path] for line in sockets)
    except OSError:
        return os.path.exists(path)
