# SPDX-License-Identifier: Apache-2.0
"""plug-rng.py QMP CHARDEV BUS: gives a QEMU that was started with -S a vhost-user-rng device, and lets it run.

On the command line QEMU 7.2 makes that device before a socket that is to reconnect is connected, and aborts.
"""

import sys
import time

import qmp

client = qmp.Client(sys.argv[1])
while any(device["label"] == sys.argv[2] and device["filename"].startswith("disconnected")
          for device in client.run("query-chardev")):
    time.sleep(0.05)
client.run("device_add", driver="vhost-user-rng-pci", chardev=sys.argv[2], bus=sys.argv[3])
client.run("cont")
