# SPDX-License-Identifier: Apache-2.0
"""libvirt-domain.py DOMAIN KERNEL INITRD CONSOLE [OLD=NEW]...: prints the domain, as it boots this kernel without KVM on
one processor, says everything to the file CONSOLE, and finds what it names by OLD at NEW."""

import sys
import xml.etree.ElementTree as xml


def set_child(parent, tag, text):
    child = parent.find(tag)
    if child is None:
        child = xml.SubElement(parent, tag)
    child.text = text


def main(path, kernel, initrd, console, *renamed):
    xml.register_namespace("qemu", "http://libvirt.org/schemas/domain/qemu/1.0")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    for pair in renamed:
        old, new = pair.split("=", 1)
        if old not in text:
            sys.exit(f"{path}: no {old}")
        text = text.replace(old, new)
    domain = xml.fromstring(text)
    domain.set("type", "qemu")
    set_child(domain, "memory", "384")
    set_child(domain, "vcpu", "1")
    system = domain.find("os")
    set_child(system, "kernel", kernel)
    set_child(system, "initrd", initrd)
    set_child(system, "cmdline", "console=ttyS0 loglevel=3 panic=-1")
    devices = domain.find("devices")
    devices.remove(devices.find("console"))
    serial = devices.find("serial")
    serial.set("type", "file")
    xml.SubElement(serial, "source", {"path": console, "append": "on"})
    print(xml.tostring(domain, encoding="unicode"))


main(*sys.argv[1:])
