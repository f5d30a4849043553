"""TLS in front of a stock rsync daemon: certificates made by the openssl program, a terminator that can misbehave, stunnel."""

import os
import select
import shutil
import socket
import ssl
import subprocess
import threading
import warnings

from .proc import free_port, kill_tree, listening, spawn, until

STUNNEL = shutil.which("stunnel4") or shutil.which("stunnel")


def openssl(*args):
    done = subprocess.run(["openssl", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"openssl {' '.join(args)}: {done.stderr}"


class Authority:
    """Issues certificates; its own is `file`."""

    def __init__(self, home, name="authority"):
        self.home = os.path.join(home, name)
        self.name = name
        os.makedirs(self.home)
        self.file, self.key = self._path("pem"), self._path("key")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-days", "30", "-keyout", self.key, "-out", self.file)
        self.conf = self._path("conf")
        for what, text in (("index", ""), ("serial", "01\n"), ("conf", (
                f"[ca]\ndefault_ca = this\n[this]\ndatabase = {self._path('index')}\nserial = {self._path('serial')}\n"
                f"new_certs_dir = {self.home}\ndefault_md = sha256\npolicy = any\nunique_subject = no\nrand_serial = yes\n"
                "copy_extensions = copy\n[any]\ncommonName = supplied\n"))):
            with open(self._path(what), "w") as f:
                f.write(text)

    def _path(self, end):
        return os.path.join(self.home, f"{self.name}.{end}")

    def issue(self, name, *, names="DNS:localhost,IP:127.0.0.1", begin=None, end=None, own=False):
        """(certificate, key) files. `own`: self-signed. `begin`, `end`: as 20200101000000Z."""
        cert, key, request = (os.path.join(self.home, f"{name}.{end_}") for end_ in ("pem", "key", "csr"))
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", key,
               "-addext", f"subjectAltName={names}"]
        if own:
            openssl("req", "-x509", *new, "-days", "30", "-out", cert)
            return cert, key
        openssl("req", "-new", *new, "-out", request)
        span = (["-startdate", begin] if begin else []) + (["-enddate", end] if end else ["-days", "30"])
        openssl("ca", "-batch", "-notext", "-config", self.conf, "-cert", self.file, "-keyfile", self.key, "-in", request,
                "-out", cert, *span)
        return cert, key


class TlsFront:
    """Ends TLS for a port, a thread for each connection. `cut_after`: bytes from a client after which its connection is
    dropped without close_notify, once. `client_ca`: clients must show a certificate of it."""

    def __init__(self, to_port, certificate, *, port=None, client_ca=None, newest=None):
        self.port = port or free_port()
        self.to_port = to_port
        self.certificate, self.client_ca, self.newest = certificate, client_ca, newest
        self.accepted = 0  # refused ones, too
        self.names, self.versions = set(), set()
        self.cut_after = None
        self._server = None
        self.start()

    def _context(self):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(*self.certificate)
        if self.client_ca:
            ctx.verify_mode = ssl.CERT_REQUIRED
            ctx.load_verify_locations(self.client_ca)
        if self.newest:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                ctx.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
                ctx.maximum_version = self.newest
            ctx.set_ciphers("ALL:@SECLEVEL=0")
        ctx.sni_callback = lambda sock, name, context: self.names.add(name)
        return ctx

    def start(self):
        self._open = []
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._thread = threading.Thread(target=self._accept, args=(self._server, self._context()), daemon=True)
        self._thread.start()

    def _accept(self, server, ctx):
        while True:
            try:
                plain, _ = server.accept()
            except OSError:
                return
            self.accepted += 1
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(plain)
            threading.Thread(target=self._serve, args=(plain, ctx), daemon=True).start()

    def _serve(self, plain, ctx):
        try:
            with ctx.wrap_socket(plain, server_side=True) as tls:
                self._open.append(tls)
                self.versions.add(tls.version())
                try:
                    with socket.create_connection(("127.0.0.1", self.to_port)) as behind:
                        self._pump(tls, behind)
                except ConnectionRefusedError:
                    pass
                tls.settimeout(1)
                tls.unwrap()  # says close_notify
        except (OSError, ValueError):
            plain.close()

    def _pump(self, tls, behind):
        wanted = [tls, behind]
        while behind in wanted:
            ready = [tls] if tls.pending() else select.select(wanted, [], [])[0]
            if tls in ready:
                data = tls.recv(65536)
                if data:
                    self._count(len(data))
                    behind.sendall(data)
                else:
                    wanted.remove(tls)
                    behind.shutdown(socket.SHUT_WR)
            if behind in ready:
                data = behind.recv(65536)
                if not data:
                    return
                tls.sendall(data)

    def _count(self, n):
        if self.cut_after is not None:
            self.cut_after -= n
            if self.cut_after <= 0:
                self.cut_after = None
                raise ConnectionAbortedError

    def stop(self):
        """Nobody listens, and all connections end without close_notify."""
        if self._server is None:
            return
        for s in [self._server, *self._open]:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._server.close()
        self._server = None
        self._thread.join()

    end = stop


class Stunnel:
    """The terminator that most people have."""

    def __init__(self, home, to_port, certificate):
        self.port = free_port()
        self.conf = os.path.join(home, "stunnel.conf")
        self.log = os.path.join(home, "stunnel.log")
        with open(self.conf, "w") as f:
            f.write(f"foreground = yes\npid =\nsyslog = no\n[rsync]\naccept = 127.0.0.1:{self.port}\nconnect = 127.0.0.1:{to_port}\n"
                    f"cert = {certificate[0]}\nkey = {certificate[1]}\n")
        self.proc = None
        self.start()

    def start(self):
        self.proc = spawn([STUNNEL, self.conf], log=self.log)
        until(lambda: listening(self.port) or self.proc.poll() is not None, 10, "stunnel answering")
        assert self.proc.poll() is None, open(self.log).read()

    def stop(self):
        if self.proc:
            kill_tree(self.proc)
            self.proc = None

    end = stop
