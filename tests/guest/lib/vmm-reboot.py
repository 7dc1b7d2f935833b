# SPDX-License-Identifier: Apache-2.0
"""Lets the guest of vmm go, resets it once, when it asks for that, and counts the resets there are: SOCKET
OUTPUT-OF-THE-GUEST HOW-MANY-BY-ITSELF."""

import sys
import time

import qmp

path, output, n_expected = sys.argv[1], sys.argv[2], int(sys.argv[3])


def has_asked():
    try:
        with open(output, encoding="utf-8") as out:
            return "# reset me" in out.read()
    except FileNotFoundError:
        return False


def main():
    client = qmp.Client(path, 120)
    client.run("cont")
    for _ in range(1200):
        if has_asked():
            break
        time.sleep(0.1)
    client.run("system_reset")
    client.wait_end("SHUTDOWN")
    resets = [event["data"] for event in client.events if event["event"] == "RESET"]
    by_host = [reset["reason"] for reset in resets if not reset["guest"]]
    print(f"resets: {len(resets)}, of these by the host: {by_host}")
    if by_host != ["host-qmp-system-reset"] or len(resets) != n_expected + 1:
        sys.exit(f"FAILED: expected {n_expected} and one by the host")


main()
