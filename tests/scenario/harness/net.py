"""Bad networks in one thread: a peer that accepts and says nothing, a forwarder that can stall or drop."""

import selectors
import socket
import threading

from .proc import free_port


class BlackHole:
    """Accepts connections and never sends a byte; counts them."""

    def __init__(self, say=b""):
        self.port = free_port()
        self.accepted = 0
        self._say = say
        self._open = []
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        self._server.settimeout(0.1)
        while not self._stop.is_set():
            try:
                conn, _ = self._server.accept()
            except TimeoutError:
                continue
            self.accepted += 1
            self._open.append(conn)
            if self._say:
                conn.sendall(self._say)

    def stop(self):
        self._stop.set()
        self._thread.join()
        for c in [*self._open, self._server]:
            c.close()


class Forwarder:
    """Forwards a loopback port to another. `stalled` holds all bytes back (connections stay open); drop() resets all;
    `rate` limits bytes a second, each way. `cut`, if set, says for each new connection after how many bytes, both ways
    together, it is reset. `first` changes the first bytes that either side says. Counts bytes in both directions."""

    def __init__(self, to_port, rate=0, first=None):
        self.port = free_port()
        self.to_port = to_port
        self.rate = rate
        self.stalled = False
        self.cut, self.cuts = None, 0
        self.first = first
        self.up = self.down = self.accepted = 0
        self._pairs = []
        self._stop = threading.Event()
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._server.settimeout(0.1)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while not self._stop.is_set():
            try:
                a, _ = self._server.accept()
            except TimeoutError:
                continue
            self.accepted += 1
            try:
                b = socket.create_connection(("127.0.0.1", self.to_port))
            except OSError:
                a.close()
                continue
            for s in (a, b):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((a, b))
            threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, a, b):
        sel = selectors.DefaultSelector()
        sel.register(a, selectors.EVENT_READ, b)
        sel.register(b, selectors.EVENT_READ, a)
        left = self.cut() if self.cut else None
        fresh = {a, b}
        try:
            while not self._stop.is_set():
                if self.stalled:
                    self._stop.wait(0.02)
                    continue
                for key, _ in sel.select(0.1):
                    data = key.fileobj.recv(1024 if self.rate else 65536)
                    if not data:
                        return
                    if key.fileobj is a:
                        self.up += len(data)
                    else:
                        self.down += len(data)
                    if self.first and key.fileobj in fresh:
                        fresh.remove(key.fileobj)
                        data = self.first(data)
                    if left is not None and len(data) >= left:
                        key.data.sendall(data[:left])
                        self.cuts += 1
                        return
                    left = None if left is None else left - len(data)
                    key.data.sendall(data)
                    if self.rate:
                        self._stop.wait(len(data) / self.rate)
        except OSError:
            pass
        finally:
            sel.close()
            a.close()
            b.close()

    def drop(self):
        for pair in self._pairs:
            for s in pair:
                try:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self._pairs.clear()

    def stop(self):
        self._stop.set()
        self._thread.join()
        self.drop()
        self._server.close()
