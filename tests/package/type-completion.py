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
    b"vblkd --blk-file=lon\t": b"vblkd --blk-file=long-name.qcow2 ",
    b"vblk-img conv\t-O q\tlong\t": b"vblk-img convert -O qcow2 long-name.qcow2 ",
    b"vhost-user-mount long\t": b"vhost-user-mount long-name.qcow2 ",
}


def read_until(terminal, expected, seconds=30):
    """What the terminal shows until it shows what is expected, or time is up."""
    shown, end = b"", time.monotonic() + seconds
    while expected not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            shown += os.read(terminal, 4096)
    return shown


def main():
    folder = tempfile.mkdtemp()
    rc = os.path.join(folder, "rc")
    with open(rc, "w", encoding="ascii") as file:
        file.write("PS1='<ready>'\nbind 'set bell-style none'\nbind 'set enable-bracketed-paste off'\n"
                   ". /usr/share/bash-completion/bash_completion\n")
    open(os.path.join(folder, "long-name.qcow2"), "w", encoding="ascii").close()
    outer, inner = pty.openpty()
    shell = subprocess.Popen(["bash", "--noprofile", "--rcfile", rc, "-i"], stdin=inner, stdout=inner, stderr=inner,
                             cwd=folder, env=dict(os.environ, TERM="dumb", COLUMNS="200"), start_new_session=True)
    os.close(inner)
    status = 0
    read_until(outer, PROMPT)
    for typed, expected in LINES.items():
        for part in typed.split(b"\t")[:-1]:
            os.write(outer, part + b"\t")
        os.write(outer, b"#")
        shown = read_until(outer, expected + b"#", 10)
        if expected + b"#" not in shown:
            print(f"FAILED: {typed!r} shows {shown!r}")
            status = 1
        os.write(outer, b"\x03")
        read_until(outer, PROMPT)
    os.write(outer, b"exit\r")
    try:
        shell.wait(timeout=10)
    except subprocess.TimeoutExpired:
        shell.kill()
    subprocess.run(["rm", "-r", folder], check=True)
    return status


sys.exit(main())
