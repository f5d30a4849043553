"""A long line in one thread a direction: for what depends on round trips."""

import collections
import os
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "scenario"))

from harness.proc import free_port  # noqa: E402


class LongLine:
    """Forwards a loopback port to another; each byte arrives `delay` seconds after it was sent, each way."""

    def __init__(self, to_port, delay):
        self.port = free_port()
        self.to_port, self.delay = to_port, delay
        self._open = []
        self._stop = threading.Event()
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                a, _ = self._server.accept()
                b = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                return
            for s in (a, b):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [a, b]
            for one, other in ((a, b), (b, a)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one, other):
        under_way, data = collections.deque(), b"?"
        try:
            while data or under_way:
                wait = under_way[0][0] - time.monotonic() if under_way else None
                if wait is not None and wait <= 0:
                    other.sendall(under_way.popleft()[1])
                    continue
                if not data:  # it has said all
                    if self._stop.wait(wait):
                        return
                    continue
                one.settimeout(wait)
                try:
                    data = one.recv(65536)
                except TimeoutError:
                    continue
                if data:
                    under_way.append((time.monotonic() + self.delay, data))
            other.shutdown(socket.SHUT_WR)
        except OSError:
            one.close()
            other.close()

    def stop(self):
        self._stop.set()
        for s in [self._server, *self._open]:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
        self._thread.join()
