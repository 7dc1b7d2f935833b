# SPDX-License-Identifier: Apache-2.0
"""What surrounds a bare-metal guest of vmm that waits for events: FOLDER DISK-SOCKET.

$VMM names the program, $PAYLOAD the guest.
"""

import atexit
import os
import shutil
import signal
import socket
import subprocess
import sys

import qmp
from steps import BOUND, expect, listens, text_of, wait_until

CAP_DAC_OVERRIDE = 1 << 1
THREADS = {"vmm", "vcpu0", "vcpu1", "vhost", "control", "control-slow"}

folder, disk_socket = sys.argv[1:]


def at(name):
    return os.path.join(folder, name)


def read(name):
    return text_of(at(name))


def start(*options, kernel=None):
    command = [os.environ["VMM"], "-kernel", kernel or os.environ["PAYLOAD"], "-m", "64M", *options]
    vmm = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    atexit.register(vmm.kill)
    return vmm


def end(process):
    """Its exit status, and what it said."""
    said = process.communicate(timeout=BOUND)[1]
    return process.returncode, said


def is_sanitized():
    with open(os.environ["VMM"], "rb") as program:
        image = program.read()
    return any(library in image for library in (b"libasan.so", b"libtsan.so", b"__asan_init", b"__tsan_init"))


def thread_states(pid):
    """Of each thread: the fields of its status."""
    states = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{tid}/status", encoding="utf-8") as status:
                fields = dict(line.split(":", 1) for line in status)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
        states.append({name: value.strip() for name, value in fields.items()})
    return states


def are_confined(client, pid, seccomp):
    """Whether each kind of thread is there and all have come so far that they have their filters."""
    client.run("query-status")  # by a thread that leaves when it is idle
    states = thread_states(pid)
    return (THREADS <= {state["Name"] for state in states} and
            all(state["Seccomp"] == seccomp for state in states))


def check_threads():
    disk = ("-chardev", f"socket,id=c,path={disk_socket}", "-device", "vhost-user-blk-pci,chardev=c,id=d")
    for sandbox in ("on", "off"):
        vmm = start("-smp", "2", "-serial", "none", "-qmp", f"unix:{at('qmp')}", "-sandbox", sandbox, *disk)
        wait_until(lambda: os.path.exists(at("qmp")), "the socket")
        client = qmp.Client(at("qmp"))
        client.run("query-status")
        # One that came later, too.
        client.run("device_del", id="d")
        client.run("system_reset")
        client.wait("DEVICE_DELETED")
        client.run("device_add", driver="vhost-user-blk-pci", chardev="c", id="d")
        seccomp = "2" if sandbox == "on" and not is_sanitized() else "0"
        wait_until(lambda: are_confined(client, vmm.pid, seccomp), f"threads of -sandbox {sandbox}")
        if sandbox == "on":
            expect(all(int(state["CapEff"], 16) & ~CAP_DAC_OVERRIDE == 0 for state in thread_states(vmm.pid)),
                   "no privileges")
        client.run("quit")
        expect(end(vmm)[0] == 0, "an orderly end")


def check_pidfile():
    first = start("-serial", "none", "-pidfile", at("pid"))
    wait_until(lambda: read("pid") != "", "the pid file")
    expect(read("pid") == f"{first.pid}\n", "the pid in its file")
    status, said = end(start("-serial", "none", "-pidfile", at("pid")))
    expect(status == 1 and "-pidfile" in said and "another's" in said, "a pid file is one program's")
    expect(read("pid") == f"{first.pid}\n", "and stays so")
    first.kill()
    end(first)
    second = start("-serial", "none", "-pidfile", at("pid"))
    wait_until(lambda: read("pid") == f"{second.pid}\n", "the pid of a successor")
    second.terminate()
    expect(end(second)[0] == 0 and not os.path.exists(at("pid")), "its file goes with it")
    status, said = end(start("-serial", "none", "-pidfile", at("nowhere/pid")))
    expect(status == 1 and "-pidfile" in said, "a pid file that cannot be")


def check_waiting():
    wait = ("-serial", f"unix:{at('com1')},server=on,wait=on")
    vmm = start(*wait)
    wait_until(lambda: listens(at("com1")), "the console's socket")
    vmm.terminate()
    expect(end(vmm)[0] == 0 and not os.path.exists(at("com1")), "ended while it waits for a client")
    vmm = start(*wait)
    wait_until(lambda: listens(at("com1")), "the console's socket")
    expect(os.stat(at("com1")).st_mode & 0o777 == 0o600, "which is its owner's")
    console = socket.socket(socket.AF_UNIX)
    console.connect(at("com1"))
    heard = b""
    while b"# waiting" not in heard:
        heard += console.recv(4096)
    status, said = end(start(*wait))
    expect(status == 1 and "another process is listening" in said, "a console is one guest's")
    vmm.kill()
    end(vmm)
    expect(os.path.exists(at("com1")), "a socket of one that was killed")
    vmm = start(*wait)
    wait_until(lambda: socket.socket(socket.AF_UNIX).connect_ex(at("com1")) == 0, "a successor")
    vmm.terminate()
    expect(end(vmm)[0] == 0 and not os.path.exists(at("com1")), "takes its place")


def check_background():
    shutil.copy(os.environ["PAYLOAD"], at("kernel"))
    command = [os.environ["VMM"], "-kernel", at("kernel"), "-m", "64M", "-daemonize", "-pidfile", at("pid"),
               "-serial", f"file:{at('out')}", "-qmp", f"unix:{at('qmp')}"]
    expect(subprocess.run(command, timeout=BOUND, check=False, stdin=subprocess.DEVNULL).returncode == 0,
           "in the background")
    pid = int(read("pid"))
    client = qmp.Client(at("qmp"))
    os.unlink(at("kernel"))  # it has been opened
    wait_until(lambda: "# waiting" in read("out"), "the guest")
    client.run("system_reset")
    client.wait("RESET")
    wait_until(lambda: read("out").count("# waiting") == 2, "the guest's reboot")
    os.kill(pid, signal.SIGTERM)
    event = client.wait("SHUTDOWN")
    expect(event["data"] == {"guest": False, "reason": "host-signal"}, "ended by a signal")
    wait_until(lambda: not os.path.exists(at("pid")), "its end")
    expect(not os.path.exists(at("qmp")), "nothing is left")
    wrong = subprocess.run([*command, "-device", "vhost-user-blk-pci,chardev=none"], timeout=BOUND, check=False,
                           stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    expect(wrong.returncode == 1 and "chardev" in wrong.stderr and not os.path.exists(at("pid")),
           "what is wrong is told before")


def check_no_reboot():
    vmm = start("-serial", "none", "-no-reboot", "-S", "-qmp", f"unix:{at('qmp')}")
    wait_until(lambda: os.path.exists(at("qmp")), "the socket")
    client = qmp.Client(at("qmp"))
    client.run("system_reset")
    event = client.wait("SHUTDOWN")
    expect(event["data"] == {"guest": False, "reason": "host-qmp-system-reset"}, "-no-reboot ends")
    expect(end(vmm)[0] == 0, "an orderly end")


def check_affinity():
    vmm = start("-serial", "none", "-smp", "2", "--vcpu-affinity=1:0", "-pidfile", at("pid"))
    wait_until(lambda: os.path.exists(at("pid")) and "vcpu1" in {s["Name"] for s in thread_states(vmm.pid)}, "vCPUs")
    wait_until(lambda: [s["Cpus_allowed_list"] for s in thread_states(vmm.pid) if s["Name"] == "vcpu1"] == ["0"],
               "a vCPU's place")
    vmm.terminate()
    end(vmm)
    for cpu in (1000, 60000):
        status, said = end(start("-serial", "none", f"--vcpu-affinity=0:{cpu}"))
        expect(status == 1 and f"-vcpu-affinity 0:{cpu}" in said and "no such host CPU" in said, "no such host CPU")


def check_too_much():
    vmm = subprocess.run([os.environ["VMM"], "-kernel", os.environ["PAYLOAD"], "-serial", "none", "-m", "100T"],
                         timeout=BOUND, check=False, stderr=subprocess.PIPE, text=True)
    expect(vmm.returncode == 1 and ("-m" in vmm.stderr or "memory backend" in vmm.stderr), f"refused: {vmm.stderr}")


def check_lost_back_end():
    """One that stays away is unplugged; all clients of QMP hear of it."""
    with open(at("other-image"), "wb") as image:
        image.truncate(1 << 20)
    back_end = subprocess.Popen([os.environ["VBLKD"], "--socket-path", at("disk"), "--blk-file", at("other-image")],
                                stderr=subprocess.DEVNULL)
    atexit.register(back_end.kill)
    wait_until(lambda: listens(at("disk")), "the back-end")
    vmm = start("-serial", f"file:{at('out')}", "-qmp", f"unix:{at('qmp')}",
                "-chardev", f"socket,id=c,path={at('disk')},reconnect-ms=50",
                "-device", "vhost-user-blk-pci,chardev=c,id=d")
    wait_until(lambda: "# it begins" in read("out"), "the guest")
    first, second = qmp.Client(at("qmp")), qmp.Client(at("qmp"))
    expect(first.run("query-vhost-user")[0]["connected"], "a back-end")
    back_end.kill()
    back_end.wait()
    wait_until(lambda: not second.run("query-vhost-user")[0]["connected"], "its end")
    first.run("device_del", id="d")
    for client in (first, second):
        expect(client.wait("DEVICE_DELETED")["data"]["device"] == "d", "its device is unplugged")
    expect(second.run("query-vhost-user") == [], "nothing is left of it")
    second.run("chardev-remove", id="c")
    first.run("quit")
    expect(end(vmm)[0] == 0, "an orderly end")


def main():
    check_threads()
    check_too_much()
    check_lost_back_end()
    check_affinity()
    check_pidfile()
    check_waiting()
    check_background()
    check_no_reboot()


main()
