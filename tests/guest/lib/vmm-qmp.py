# SPDX-License-Identifier: Apache-2.0
"""Goes through vmm's QMP while a bare-metal guest waits for events: SOCKET DISK-SOCKET OUTPUT-OF-THE-GUEST."""

import json
import os
import socket
import subprocess
import sys
import threading

import qmp
from steps import BOUND, expect, text_of, wait_until


def refused(client, says, command, **arguments):
    try:
        client.run(command, **arguments)
    except qmp.Error as error:
        expect(says in str(error), f"{command} is refused: {error}")
        return
    sys.exit(f"FAILED: {command} {arguments} was not refused")


def await_words(path, text, count=1):
    """Until the guest has said it so often."""
    wait_until(lambda: text_of(path).count(text) >= count, f"the guest to say {text}")


def questions(client):
    expect("qemu" in client.greeting["version"], "the greeting has QEMU's shape")
    status = client.run("query-status")
    expect(status["status"] == "prelaunch" and not status["running"], "-S waits")
    cpus = client.run("query-cpus-fast")
    expect([cpu["props"]["node-id"] for cpu in cpus] == [0, 1], "two vCPUs, on two nodes")
    expect(all(cpu["thread-id"] > 0 for cpu in cpus), "they have threads")
    memdevs = client.run("query-memdev")
    expect([m["size"] for m in memdevs] == [32 << 20, 32 << 20], "two memory backends")
    expect(client.run("query-name")["name"] == "test", "the name")
    expect(len(client.run("query-pci")[0]["devices"]) == 1, "a bridge alone on the bus")
    for command in client.run("query-commands"):
        if command["name"].startswith("query-"):
            client.run(command["name"])
    process = client.run("query-process")
    expect(process["pid"] > 0 and process["resident-bytes"] > 100000, "every question has an answer")


def life(client, output):
    client.run("cont")
    client.wait("RESUME")
    await_words(output, "# waiting")
    expect(client.run("query-status")["status"] == "running", "running")
    client.run("stop")
    expect([event["event"] for event in client.events] == ["STOP"], "stopped when stop returns")
    client.wait("STOP")
    expect(client.run("query-status")["status"] == "paused", "paused")
    client.run("cont")
    client.wait("RESUME")
    client.run("system_reset")
    reset = client.wait("RESET")
    expect(reset["data"]["guest"] is False, "a reset by the host")
    await_words(output, "# waiting", 2)


def silent_backend(client, path):
    """A back-end that takes the connection and says nothing keeps nobody else waiting."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".silent")
    listener.listen(1)
    addr = {"type": "unix", "data": {"path": path + ".silent"}}
    client.run("chardev-add", id="silent", backend={"type": "socket", "data": {"server": False, "addr": addr}})
    answers = []

    def add():
        try:
            qmp.Client(path).run("device_add", driver="vhost-user-rng-pci", chardev="silent")
            answers.append("it was taken")
        except qmp.Error as error:
            answers.append(str(error))

    thread = threading.Thread(target=add)
    thread.start()
    taken, _ = listener.accept()
    taken.recv(1, socket.MSG_PEEK)
    expect(client.run("query-status")["status"] == "running" and not answers, "nobody waits for a silent back-end")
    refused(client, "is a device's", "chardev-remove", id="silent")
    client.run("system_reset")
    taken.close()
    listener.close()
    thread.join()
    expect(len(answers) == 1 and ".silent: " in answers[0], f"device_add is refused: {answers}")
    client.run("chardev-remove", id="silent")


def vblkctl(path, *words):
    subprocess.run([os.environ["VBLKCTL"], "-s", path, *words], check=True, timeout=BOUND)


def hot_plug(client, path, output, disk_socket):
    refused(client, "no -chardev", "device_add", driver="vhost-user-blk-pci", chardev="disk", id="d")
    backend = {"type": "socket", "data": {"server": False, "addr": {"type": "unix", "data": {"path": disk_socket}}}}
    refused(client, "unix socket", "chardev-add", id="disk", backend={"type": "file"})
    backend["data"]["reconnect"] = -1
    refused(client, "reconnect", "chardev-add", id="disk", backend=backend)
    backend["data"]["reconnect"] = 1
    vblkctl(path, "chardev-add", "id=disk", f"backend={json.dumps(backend)}")
    refused(client, "another's", "chardev-add", id="disk", backend=backend)
    refused(client, "not known", "device_add", driver="virtio-net-pci", chardev="disk")
    refused(client, "power of two", "device_add", driver="vhost-user-blk-pci", chardev="disk", **{"queue-size": 100})
    refused(client, "no host bridge is near node 1", "device_add", driver="vhost-user-blk-pci", chardev="disk",
            numa_node=1)
    refused(client, "not known", "device_add", driver="pxb-pcie", id="late")
    for turn in (1, 2):
        if turn == 1:
            client.run("device_add", driver="vhost-user-blk-pci", chardev="disk", id="d", addr="0x7", **{"num-queues": 1})
        else:
            vblkctl(path, "device_add", "driver=vhost-user-blk-pci", "chardev=disk", "id=d", "addr=0x7", "num-queues=1")
        refused(client, "another device's", "device_add", driver="vhost-user-blk-pci", chardev="disk", id="e")
        await_words(output, "# it begins with d", 2 * turn - 1)
        # A reboot keeps the back-end, and brings its device.
        client.run("system_reset")
        await_words(output, "# it begins with d", 2 * turn)
        expect(client.run("query-vhost-user")[0]["reconnects"] == 0, "the same connection")
        device = client.run("query-pci")[0]["devices"][1]
        expect((device["slot"], device["qdev_id"]) == (7, "d"), "the disk in its slot")
        expect(client.run("query-vhost-user")[0]["connected"], "its back-end is there")
        refused(client, "is a device's", "chardev-remove", id="disk")
        refused(client, "no device", "device_del", id="e")
        client.run("device_del", id="d")
        deleted = client.wait("DEVICE_DELETED")
        expect(deleted["data"]["device"] == "d", "the disk has gone")
        expect(client.run("query-vhost-user") == [], "and nothing is left of it")
    client.run("chardev-remove", id="disk")


def main():
    path, disk_socket, output = sys.argv[1:]
    client = qmp.Client(path)
    questions(client)
    life(client, output)
    hot_plug(client, path, output, disk_socket)
    silent_backend(client, path)
    client.run("system_powerdown")
    client.wait("POWERDOWN")
    expect(client.wait("SHUTDOWN")["data"]["guest"] is True, "the guest switches itself off")
    status = client.run("query-status")
    expect(status["status"] == "shutdown" and not status["running"], "-no-shutdown waits")
    refused(client, "system_reset", "cont")
    client.run("system_reset")
    client.wait("RESET")
    expect(client.run("query-status")["status"] == "prelaunch", "and may be started anew")
    client.run("cont")
    client.wait("RESUME")
    await_words(output, "# waiting", 6)
    client.run("quit")
    expect(client.wait("SHUTDOWN")["data"]["reason"] == "host-qmp-quit", "quit")


main()
