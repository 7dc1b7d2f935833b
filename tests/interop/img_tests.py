# SPDX-License-Identifier: Apache-2.0
"""What the tests of vblk-img beside qemu-img share: running both, comparing what they say, images to begin with."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

IMG = os.environ["VBLK_IMG"]
SKIPPED = 77

failures = 0


def check(condition, *what):
    """Counts and tells what is not as it should be."""
    global failures
    if not condition:
        failures += 1
        print("FAILED:", *what)


def run(program, *args):
    """(exit status, standard output, standard error)"""
    done = subprocess.run([program, *args], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def run_json(program, *args):
    status, out, err = run(program, *args)
    check(out.strip(), program, args, status, err)
    return status, plain(json.loads(out or "null"))


def plain(value):
    """Without what newer releases of qemu-img tell in addition."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in ("children", "compressed")}
    return value


def same(*args):
    """Both tools say the same, and end with the same status."""
    ours, theirs = run(IMG, *args)[:2], run("qemu-img", *args)[:2]
    check(ours == theirs, args, ours, theirs)


def same_json(*args):
    ours, theirs = run_json(IMG, *args), run_json("qemu-img", *args)
    check('" :' not in run(IMG, *args)[1], args, "names are spelled in another way")
    check(ours == theirs, args, ours, theirs)


def refused(text, *args, status=1):
    """We refuse, and say why."""
    code, _, err = run(IMG, *args)
    check(code == status and text in err, args, code, err)


def same_map(*args):
    """The map in JSON: what qemu-img tells of the places of what is not there is left out."""
    maps = []
    for program in (IMG, "qemu-img"):
        status, extents = run_json(program, "map", "--output=json", *args)
        merged = []
        for extent in extents or []:
            if not extent["present"]:
                extent.pop("offset", None)
            if merged and not extent["present"] and {**extent, "start": 0, "length": 0} == {**merged[-1], "start": 0, "length": 0}:
                merged[-1]["length"] += extent["length"]
            else:
                merged.append(extent)
        maps.append((status, merged))
    check(maps[0] == maps[1], args, *maps)


def must(program, *args):
    status, _, err = run(program, *args)
    check(status == 0, program, args, err)


def copies(name):
    """Two copies of an image in folders of their own, so that both tools can be given the same name."""
    for folder in ("ours", "theirs"):
        os.makedirs(folder, exist_ok=True)
        shutil.copyfile(name, os.path.join(folder, os.path.basename(name)))


def both(*args):
    """Each tool in its folder; the same is said, and the status is the same."""
    said = []
    for folder, program in (("ours", IMG), ("theirs", "qemu-img")):
        done = subprocess.run([program, *args], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        said.append((done.returncode, done.stdout))
    check(said[0] == said[1], args, *said, done.stderr)


def both_alike(name):
    """What both did to their copies came out the same, and whole."""
    must("qemu-img", "check", "-q", "ours/" + name)
    must("qemu-img", "compare", "ours/" + name, "theirs/" + name)
    sizes = [run_json("qemu-img", "info", "--output=json", f + "/" + name)[1]["virtual-size"] for f in ("ours", "theirs")]
    check(sizes[0] == sizes[1], name, sizes)


def fill(name):
    """An image with data, zeros, holes and a snapshot."""
    must("qemu-img", "create", "-q", "-f", "qcow2", name, "9M")
    must("qemu-io", "-c", "write -P 7 1M 1M", "-c", "write -z 3M 1M", "-c", "write -P 1 5M 300k", name)
    must("qemu-img", "snapshot", "-c", "first", name)
    must("qemu-io", "-c", "write -P 8 1M 100k", "-c", "write -z -u 5M 64k", name)


def damage(name, offset, data):
    with open(name, "r+b") as image:
        image.seek(offset)
        image.write(data)


def main(tests):
    """Runs those of tests (a script's globals) that the command line names, or all, in folders of their own."""
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("skipped: qemu-img or qemu-io is missing")
        return SKIPPED
    tests = {name[5:]: test for name, test in tests.items() if name.startswith("test_")}
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[1:] or tests:
            os.mkdir(os.path.join(folder, name))
            os.chdir(os.path.join(folder, name))
            tests[name]()
        os.chdir("/")
    print(f"{failures} failures")
    return 1 if failures else 0
