# SPDX-License-Identifier: Apache-2.0
"""A gate between a vhost-user front-end and its back-end: it lets messages through, both ways and with their
descriptors, until it is told to be silent."""

import os
import select
import socket
import struct
import threading

GET_VRING_BASE = 11


class Gate:
    """Listens at path for the front-end; the back-end listens at behind."""

    def __init__(self, path, behind):
        self.behind = behind
        self.holds = None  # the request that is kept from the back-end
        self.is_silent = False  # nothing at all goes through, of connections that come
        self.held = threading.Event()  # somebody waits for an answer and gets none
        self.torn = threading.Event()  # and has gone
        self.opened = threading.Event()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        threading.Thread(target=self.run, daemon=True).start()

    def hold(self, request):
        """From now on it is kept, with all that follows."""
        self.clear()
        self.holds = request

    def be_silent(self):
        self.clear()
        self.is_silent = True

    def clear(self):
        self.held.clear()
        self.torn.clear()
        self.opened.clear()

    def open(self):
        """What was held goes on."""
        self.holds = None
        self.is_silent = False
        self.opened.set()

    def is_holding(self):
        return self.held.is_set() and not self.torn.is_set() and not self.opened.is_set()

    def run(self):
        while True:
            front, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(front,), daemon=True).start()

    def serve(self, front):
        with front:
            if self.is_silent:
                front.recv(1, socket.MSG_PEEK)
                self.wait(front)
                return  # it has to connect again
            with socket.socket(socket.AF_UNIX) as back:
                try:
                    back.connect(self.behind)
                    while self.pump(front, back):
                        pass
                except OSError:
                    pass

    def wait(self, front):
        """Until it is opened, or the front-end has gone."""
        self.held.set()
        while not self.opened.wait(0.02):
            events = select.poll()
            events.register(front, 0)
            if events.poll(0):
                self.torn.set()
                return

    def pump(self, front, back):
        """False: one of them has gone."""
        for source in select.select([front, back], [], [])[0]:
            data, fds, _, _ = socket.recv_fds(source, 65536, 16)
            if not data:
                return False
            if source is front and self.holds == struct.unpack_from("<I", data)[0]:
                self.wait(front)
            target = back if source is front else front
            if fds:
                socket.send_fds(target, [data], fds)
            else:
                target.sendall(data)
            for fd in fds:
                os.close(fd)
        return True
