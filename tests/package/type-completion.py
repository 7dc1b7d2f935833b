# SPDX-License-Identifier: Apache-2.0
"""Types beginnings of command lines and a tab into an interactive bash that has bash-completion, on a terminal of
its own, and looks at what the line has become."""

import os
import pty
import select
import subprocess
import sys
import tempfile
import time

PROMPT = b"<ready>"
LINES = {
    b"virtiofsd --cach\tal\t": b"virtiofsd --cache=always ",
    b"virtiofsd -o xattr,cac\tne\t": b"virtiofsd -o xattr,cache=never ",
    b"vblk-img conv\t-O q\tlong\t": b"vblk-img convert -O qcow2 long-name.qcow2 ",
}
PATIENCE = 60  # seconds, for a machine that has much to do


def read_until(terminal, expected):
    """What the terminal shows until it shows what is expected, or time is up."""
    shown, end = b"", time.monotonic() + PATIENCE
    while expected not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 4096)
    return shown


def type_line(folder, typed):
    """What a new shell shows of the line, with # at its end."""
    outer, inner = pty.openpty()
    with subprocess.Popen(["bash", "--noprofile", "--rcfile", os.path.join(folder, "rc"), "-i"], stdin=inner,
                          stdout=inner, stderr=inner, cwd=folder, env=dict(os.environ, TERM="dumb", COLUMNS="200"),
                          start_new_session=True) as shell:
        os.close(inner)
        read_until(outer, PROMPT)
        os.write(outer, typed + b"#")
        shown = read_until(outer, b"#")
        shell.kill()
    os.close(outer)
    return shown


def main():
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "rc"), "w", encoding="ascii") as file:
            file.write("PS1='<ready>'\nbind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\n"
                       ". /usr/share/bash-completion/bash_completion\n")
        open(os.path.join(folder, "long-name.qcow2"), "w", encoding="ascii").close()
        status = 0
        for typed, expected in LINES.items():
            shown = type_line(folder, typed)
            if expected + b"#" not in shown:
                print(f"FAILED: {typed!r} shows {shown!r}")
                status = 1
    return status


sys.exit(main())
