"""A test's own directory and all that was started for it. Everything ends with the box."""

import os
import shutil
import tempfile

from . import sandbox
from .daemon import Lockstep
from .net import BlackHole, Forwarder
from .servers import KINDS, Local, Rsyncd, Sshd
from .tls import Authority, TlsFront
from .tree import assert_equal, diff, oracle, short


class Box:
    def __init__(self):
        # Short, since the control socket's whole path has room for 107 bytes.
        self.root = tempfile.mkdtemp(prefix="ls-")
        os.chmod(self.root, 0o755)
        self.things = []
        self.pairs = []

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def dir(self, *parts):
        p = self.path(*parts)
        os.makedirs(p, exist_ok=True)
        return p

    def home(self, name):
        n, home = 1, self.path(name)
        while os.path.exists(home):
            n += 1
            home = self.path(f"{name}{n}")
        os.makedirs(home)
        return home

    def own(self, thing):
        self.things.append(thing)
        return thing

    def local(self, name="copy"):
        return self.own(Local(self.root, name))

    def rsyncd(self, **how):
        return self.own(Rsyncd(self.root, **how))

    def sshd(self, **how):
        return self.own(Sshd(self.root, **how))

    def server(self, kind, name=None):
        return self.own(KINDS[kind](self.root, **({"name": name} if name else {})))

    def blackhole(self, **how):
        return self.own(BlackHole(**how))

    def forwarder(self, *a, **how):
        return self.own(Forwarder(*a, **how))

    def authority(self, name="authority"):
        return Authority(self.root, name)

    def tls(self, *a, **how):
        return self.own(TlsFront(*a, **how))

    def lockstep(self, src=None, targets=(), *, start=True, **how):
        ls = self.own(Lockstep(self, src, targets, **how))
        self.pairs += [(src, t.path) for t in targets if src is not None and hasattr(t, "path")]
        return ls.start() if start else ls

    def config(self, text, name="lockstep.conf"):
        path = self.path(name)
        with open(path, "w") as f:
            f.write(text)
        return path

    # -- the end ---------------------------------------------------------------------------------------------------

    def keep(self, where):
        """Copy what helps to understand a failure: logs, statuses, configurations, differences of each pair of trees."""
        shutil.rmtree(where, ignore_errors=True)
        os.makedirs(where)
        for thing in self.things:
            if isinstance(thing, Lockstep):
                if thing.proc is not None:
                    thing.save_status()
                self._copy(where, thing.log)
                self._copy(where, thing.status_file)
            for name in ("log", "conf"):
                self._copy(where, getattr(thing, name, None))
        for n, (src, dst) in enumerate(self.pairs):
            try:
                text = f"{dst} beside {src}\n" + short(diff(src, dst), 500)
            except OSError as e:
                text = f"{dst} beside {src}: {e}"
            with open(os.path.join(where, f"diff{n}.txt"), "w") as f:
                f.write(text + "\n")

    def _copy(self, where, path):
        if isinstance(path, str) and os.path.isfile(path):
            shutil.copy(path, os.path.join(where, os.path.relpath(path, self.root).replace("/", "-")))

    def end(self):
        for thing in reversed(self.things):
            getattr(thing, "end", getattr(thing, "stop", None))()
        self.things.clear()
        if sandbox.inside():
            sandbox.umount_beneath(self.root)
        shutil.rmtree(self.root, ignore_errors=True)

    # -- short forms -----------------------------------------------------------------------------------------------

    @staticmethod
    def write(path, data=b"x", mode=None):
        data = data.encode() if isinstance(data, str) else data
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
        if mode is not None:
            os.chmod(path, mode)
        return path

    @staticmethod
    def read(path):
        with open(path, "rb") as f:
            return f.read()

    @staticmethod
    def fill(root, count, *, per_dir=50, size=100):
        """`count` files in directories of `per_dir`."""
        for n in range(count):
            d = os.path.join(root, f"d{n // per_dir:03}")
            if n % per_dir == 0:
                os.makedirs(d, exist_ok=True)
            with open(os.path.join(d, f"f{n:05}"), "wb") as f:
                f.write((b"%08d" % n) * (size // 8))

    @staticmethod
    def check_equal(src, server, **how):
        """Both oracles: ours, exact, and rsync's own."""
        path = server if isinstance(server, str) else server.path
        assert_equal(src, path, **how)
        if not how:
            said = oracle(src, path)
            assert said == "", f"rsync would still change:\n{said}"
