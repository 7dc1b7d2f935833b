# SPDX-License-Identifier: Apache-2.0
"""A client of the QEMU Machine Protocol that knows nothing of whose it speaks to."""

import json
import socket
import time


class Error(Exception):
    """The other side answered that it failed."""


class Client:
    """One connection."""

    def __init__(self, path, patience=60):
        deadline = time.monotonic() + patience
        self.socket = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.socket.settimeout(patience)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.events = []
        self.greeting = json.loads(self.lines.readline())["QMP"]
        self.run("qmp_capabilities")

    def read(self):
        line = self.lines.readline()
        if not line:
            raise EOFError("the other side hung up")
        return json.loads(line)

    def run(self, command, **arguments):
        """What the command returns; events that come before are kept."""
        self.socket.sendall((json.dumps({"execute": command, "arguments": arguments}) + "\n").encode())
        while True:
            answer = self.read()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise Error(answer["error"]["desc"])
            else:
                return answer["return"]

    def wait(self, event):
        """The next event of that name; those before it are dropped."""
        while True:
            while self.events:
                found = self.events.pop(0)
                if found["event"] == event:
                    return found
            answer = self.read()
            if "event" in answer:
                self.events.append(answer)

    def wait_end(self, event):
        """Until that event, which is the last; it and all before it are kept."""
        while not any(found["event"] == event for found in self.events):
            self.events.append(self.read())
