# SPDX-License-Identifier: Apache-2.0
"""A back-end of vmm that is stuck: with the queues that it is to let go, or in the middle of the first words to its
successor. The guest is reset, the disk is unplugged, vmm ends; and as long as that waits, nobody else does: FOLDER.

$VMM, $VBLKD name the programs, $PAYLOAD the guest, which reads its disk and waits for events.
"""

import atexit
import os
import subprocess
import sys
import threading

import gate as gates
import qmp
from steps import BOUND, expect, listens, text_of, wait_until

ATTEMPTS = 5

folder = sys.argv[1]


def at(name):
    return os.path.join(folder, name)


def wait_for(event, what):
    if not event.wait(BOUND):
        sys.exit(f"FAILED: in vain for {what}")


class Disk:
    """vblkd, which can be killed."""

    def __init__(self):
        with open(at("image"), "wb") as image:
            image.write(b"d" * 8)
            image.truncate(1 << 20)
        self.process = None

    def start(self):
        if os.path.exists(at("disk")):
            os.unlink(at("disk"))
        self.process = subprocess.Popen([os.environ["VBLKD"], "--socket-path", at("disk"), "--blk-file", at("image"),
                                         "--sandbox=none"], stderr=subprocess.DEVNULL)
        atexit.register(self.process.kill)
        wait_until(lambda: listens(at("disk")), "the back-end")

    def kill(self):
        self.process.kill()
        self.process.wait()


class Guest:
    def __init__(self, gate):
        self.gate = gate
        self.n_read = 0
        command = [os.environ["VMM"], "-kernel", os.environ["PAYLOAD"], "-m", "64M", "-serial", f"file:{at('out')}",
                   "-qmp", f"unix:{at('qmp')}", "-chardev", f"socket,id=c,path={at('gate')},reconnect-ms=20",
                   "-device", "vhost-user-blk-pci,chardev=c,id=d,num-queues=1"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)
        wait_until(lambda: os.path.exists(at("qmp")), "the socket")
        self.client = qmp.Client(at("qmp"), BOUND)

    def said(self):
        return text_of(at("out"))

    def await_disk(self):
        """It has read the disk once more."""
        self.n_read += 1
        wait_until(lambda: self.said().count("# it begins with d") >= self.n_read, "the disk to be read")

    def has_told(self, event):
        return any(found["event"] == event for found in self.client.events)

    def await_event(self, event):
        """Without a word about those before it."""
        self.client.wait(event)

    def answers(self, event):
        """Whether all is answered while the back-end is held, and what waits for it has not come."""
        self.client.run("query-status")
        self.client.run("query-vhost-user")
        self.client.run("query-pci")
        return self.gate.is_holding() and not self.has_told(event)

    def end(self):
        """Its exit status, and what it said."""
        said = self.process.communicate(timeout=BOUND)[1]
        return self.process.returncode, said


def check_stop_and_cont(guest, is_running):
    guest.client.run("stop")
    expect(guest.client.run("query-status")["status"] == "paused", "stopped while it waits")
    guest.client.run("cont")
    expect(guest.client.run("query-status")["running"] == is_running, "and told to go on")


def check_reset(guest, gate):
    gate.hold(gates.GET_VRING_BASE)
    guest.client.run("system_reset")
    wait_for(gate.held, "the queues to be taken back")
    expect(guest.answers("RESET"), "QMP answers while a reset waits for a back-end")
    guest.client.run("system_reset")  # there is one already
    check_stop_and_cont(guest, False)
    expect(guest.answers("RESET"), "it waits")
    gate.open()
    guest.await_event("RESET")
    guest.await_disk()
    guest.client.run("query-status")
    expect(not guest.has_told("RESET"), "and there was one reset")


def check_unplug(guest, gate, is_let_go):
    """is_let_go: by a guest that has not reset it, so that vmm does."""
    what = "an unplug waits" if is_let_go else "the guest's own reset of a device waits"
    gate.hold(gates.GET_VRING_BASE)
    guest.client.run("device_del", id="d")
    wait_for(gate.held, "the queues to be taken back")
    expect(guest.answers("DEVICE_DELETED"), f"QMP answers while {what}")
    check_stop_and_cont(guest, True)
    if is_let_go:
        guest.client.run("device_del", id="d")  # once more: it is on its way
    expect(guest.client.run("query-vhost-user")[0]["leaving"], "the disk is leaving")
    try:
        guest.client.run("chardev-remove", id="c")
        sys.exit("FAILED: the chardev of a device that is there was removed")
    except qmp.Error:
        pass
    expect(guest.answers("DEVICE_DELETED"), "it waits")
    gate.open()
    guest.await_event("DEVICE_DELETED")
    expect(guest.client.run("query-vhost-user") == [], "the disk has gone")
    guest.client.run("device_add", driver="vhost-user-blk-pci", chardev="c", id="d", **{"num-queues": 1})
    guest.await_disk()


def lose_back_end(gate, disk):
    """The successor takes the connection, and says nothing."""
    gate.be_silent()
    disk.kill()
    wait_for(gate.held, "vmm to connect again")


def find_silent(gate):
    """One that was given up meanwhile has a successor that is no better."""
    if gate.torn.is_set():
        gate.be_silent()
        wait_for(gate.held, "vmm to connect again")


def check_reset_in_handshake(guest, gate, disk):
    lose_back_end(gate, disk)
    for _ in range(ATTEMPTS):
        find_silent(gate)
        guest.client.run("system_reset")
        if guest.answers("RESET"):
            break
        guest.await_event("RESET")
    else:
        sys.exit("FAILED: a reset waits for a successor, and QMP with it")
    expect(True, "QMP answers while a reset waits for a successor")
    disk.start()
    gate.open()
    guest.await_event("RESET")
    guest.await_disk()


def check_unplug_in_handshake(guest, gate, disk):
    """It need not come back."""
    lose_back_end(gate, disk)
    guest.client.run("device_del", id="d")
    wait_until(lambda: "# slots down" in guest.said().rsplit("# it begins", 1)[1], "the guest to hear of it")
    check_stop_and_cont(guest, True)
    expect(guest.client.run("query-status")["status"] == "running", "an unplug that waits for a successor")
    guest.await_event("DEVICE_DELETED")
    expect(guest.client.run("query-vhost-user") == [], "does without it")
    gate.open()
    disk.start()
    guest.client.run("device_add", driver="vhost-user-blk-pci", chardev="c", id="d", **{"num-queues": 1})
    guest.await_disk()


def check_end(guest, gate):
    gate.hold(gates.GET_VRING_BASE)
    guest.client.run("system_reset")
    wait_for(gate.held, "the queues to be taken back")
    guest.client.run("quit")
    status, said = guest.end()
    expect(status == 0 and not gate.opened.is_set(), "an end waits for no back-end")
    expect("(GET_VRING_BASE): Connection timed out" not in said, f"not until it is given up: {said}")
    gate.open()


def check_end_while_plugging(gate):
    """device_add waits for a back-end, and there comes the end."""
    guest = Guest(gate)
    answers = []
    guest.await_disk()
    gate.be_silent()
    backend = {"type": "socket", "data": {"server": False, "addr": {"type": "unix", "data": {"path": at("gate")}}}}
    guest.client.run("chardev-add", id="silent", backend=backend)

    def add():
        try:
            qmp.Client(at("qmp"), BOUND).run("device_add", driver="vhost-user-rng-pci", chardev="silent")
            answers.append("taken")
        except (qmp.Error, EOFError, OSError) as error:
            answers.append(f"refused: {error}")

    thread = threading.Thread(target=add)
    thread.start()
    wait_for(gate.held, "the new device to be connected")
    guest.client.run("quit")
    status, said = guest.end()
    thread.join()
    expect(status == 0 and answers[0].startswith("refused"), f"an end waits for no newcomer: {answers}")
    expect("timed out" not in said and "timed out" not in answers[0], f"nor until it is given up: {said}")
    gate.open()


def main():
    gate = gates.Gate(at("gate"), at("disk"))
    disk = Disk()
    disk.start()
    guest = Guest(gate)
    guest.await_disk()
    check_reset(guest, gate)
    check_unplug(guest, gate, False)
    check_unplug(guest, gate, True)
    check_reset_in_handshake(guest, gate, disk)
    check_unplug_in_handshake(guest, gate, disk)
    check_end(guest, gate)
    os.unlink(at("out"))
    check_end_while_plugging(gate)


main()
