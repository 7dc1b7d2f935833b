# SPDX-License-Identifier: Apache-2.0
"""The steps of a test: what has to be, at once or in a while. The first that is not ends the test."""

import sys
import time

BOUND = 120  # seconds, for anything to happen


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
