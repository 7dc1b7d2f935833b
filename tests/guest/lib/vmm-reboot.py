# SPDX-License-Identifier: Apache-2.0
"""Lets the guest of vmm go, resets it once, when it asks for that, and counts the resets there are: SOCKET
OUTPUT-OF-THE-GUEST HOW-MANY-BY-ITSELF."""

import sys

import qmp
from steps import BOUND, text_of, wait_until

path, output, n_expected = sys.argv[1], sys.argv[2], int(sys.argv[3])


def main():
    client = qmp.Client(path, BOUND)
    client.run("cont")
    wait_until(lambda: "# reset me" in text_of(output), "the guest to ask")
    client.run("system_reset")
    client.wait_end("SHUTDOWN")
    resets = [event["data"] for event in client.events if event["event"] == "RESET"]
    by_host = [reset["reason"] for reset in resets if not reset["guest"]]
    print(f"resets: {len(resets)}, of these by the host: {by_host}")
    if by_host != ["host-qmp-system-reset"] or len(resets) != n_expected + 1:
        sys.exit(f"FAILED: expected {n_expected} and one by the host")


main()
