# SPDX-License-Identifier: Apache-2.0
"""A QMP connection for shell scripts: SOCKET. Each line of the input is COMMAND and, perhaps, its arguments as JSON,
or "await EVENT"; each answer is a line: what was returned, the event, or "error: TEXT"."""

import json
import sys

import qmp


def answer(client, line):
    command, _, arguments = line.strip().partition(" ")
    try:
        if command == "await":
            return json.dumps(client.wait(arguments))
        return json.dumps(client.run(command, **json.loads(arguments or "{}")))
    except (qmp.Error, OSError, EOFError) as error:
        return f"error: {error}"


def main():
    client = qmp.Client(sys.argv[1], patience=600)
    for line in sys.stdin:
        print(answer(client, line), flush=True)


main()
