#!/usr/bin/env python3
"""Seeded churn: a stream of file system operations as users, editors and programs make them.

As a library:   Churn(root, seed).run(2000)
As a command:   churn.py DIR --seed N --ops N --rate R

The sequence of operations depends on the seed alone, not on what anybody else does with the tree. Work happens beneath
`root` and in a staging directory beside it (`root` + ".outside"), from and to which things are moved. Nothing outside is
ever written under an alias that lives in the tree: such writes make no event that anybody could see.
Two top directories are reserved: "repo" for a git repository, "db" for SQLite databases.
"""

import argparse
import collections
import ctypes
import errno
import mmap
import os
import random
import shutil
import sqlite3
import stat
import struct
import subprocess
import sys
import threading
import time

AT_FDCWD = -100
RENAME_EXCHANGE = 2
MAX_FILES = 500
MAX_DEPTH = 9
MAX_PATH = 1500
RESERVED = (b"repo", b"db")

ODD_NAMES = [
    b"line\nbreak", b"tab\there", b"quote'single", b'quote"double', b"back\\slash", b"-rf", b"--delete", b"*", b"[ab]",
    b"?", b"a*b[c]?", b"\xff\xfe", b"caf\xe9", "日本".encode(), b" lead", b"trail ", b"$(touch PWNED)", b"`id`", b";",
    b"|", b"&", b"%41", b"#hash#", b"~", b".hidden", b".a.X1Y2Z3", b"...", b"@RSYNCD: EXIT", b"R !",
    b"{a,b}", b"\x01\x7f", b"\xe2\x80\xae", b"\\#012", b".lockstep.not", b":", b"con", b"+ x", b"- x", b"P *", b"**",
]

_libc = ctypes.CDLL(None, use_errno=True)


def exchange(a, b):
    """Swap two names in one step."""
    if _libc.renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE) != 0:
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err))


OPERATIONS = {}


def op(weight, profile="plain"):
    def register(fn):
        OPERATIONS[fn.__name__] = (fn, weight, profile)
        return fn
    return register


class Churn:
    """One seeded run. After run() the object can go on with another run() on the same tree."""

    def __init__(self, root, seed, *, outside=None, profiles=("plain", "odd", "links", "git", "sqlite"), only=None):
        self.root = os.fsencode(root)
        self.outside = os.fsencode(outside) if outside else self.root + b".outside"
        self.rng = random.Random(seed)
        self.seed = seed
        self.is_root = os.geteuid() == 0
        self.odd = "odd" in profiles
        names = [n for n, (_, _, p) in OPERATIONS.items() if (n in only if only else p in profiles)]
        self.names = names
        self.weights = [OPERATIONS[n][1] for n in names]
        self.done = collections.Counter()
        self.missed = collections.Counter()
        self.held = {}
        self.databases = {}
        self.serial = 0
        self.files, self.dirs, self.links = [], [b""], []
        self.stale = True
        os.makedirs(self.root, exist_ok=True)
        os.makedirs(self.outside, exist_ok=True)

    # -- the run ---------------------------------------------------------------------------------------------------

    def run(self, ops, rate=0, stop=None):
        """Do `ops` operations, `rate` a second (0: as fast as it goes); `stop` is asked before each. Ends with finish()."""
        started = time.monotonic()
        for n in range(ops):
            if stop is not None and stop():
                break
            if rate:
                ahead = started + n / rate - time.monotonic()
                if ahead > 0:
                    time.sleep(ahead)
            self.step()
        self.finish()
        return self

    def step(self):
        if self.stale:
            self._survey()
        if len(self.files) > MAX_FILES and self.rng.random() < 0.3:
            name = "rm_rf"
        elif len(self.files) < 15:
            name = self.rng.choice(("create", "mkdir_burst", "create"))
        else:
            name = self.rng.choices(self.names, self.weights)[0]
        try:
            OPERATIONS[name][0](self)
            self.done[name] += 1
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
                raise
            self.missed[name] += 1
            self.stale = True

    def finish(self):
        """Close what is held open, so that nothing changes without an event afterwards."""
        for fd in self.held.values():
            os.close(fd)
        self.held.clear()
        for db in self.databases.values():
            db.close()
        self.databases.clear()

    def _survey(self):
        self.files, self.dirs, self.links = [], [b""], []
        todo = [b""]
        while todo:
            d = todo.pop()
            with os.scandir(self._at(d)) as entries:
                for e in sorted(entries, key=lambda e: e.name):
                    rel = d + b"/" + e.name if d else e.name
                    if not d and e.name in RESERVED:
                        continue
                    if e.is_symlink():
                        self.links.append(rel)
                    elif e.is_dir(follow_symlinks=False):
                        self.dirs.append(rel)
                        todo.append(rel)
                    elif e.is_file(follow_symlinks=False):
                        self.files.append(rel)
        self.dirs.sort()
        self.files.sort()
        self.stale = False

    # -- choosing --------------------------------------------------------------------------------------------------

    def _at(self, rel):
        return self.root + b"/" + rel if rel else self.root

    def _name(self):
        self.serial += 1
        r = self.rng.random()
        if self.odd and r < 0.08:
            return self.rng.choice(ODD_NAMES)
        if self.odd and r < 0.10:
            return (b"%d-" % self.serial + b"L" * 255)[:255]
        if r < 0.30:
            return b"f%d" % self.rng.randrange(40)
        return b"n%d" % self.serial

    def _dir(self):
        return self.rng.choice(self.dirs)

    def _subdir(self):
        if len(self.dirs) < 2:
            raise OSError(errno.ENOENT, "no directory")
        return self.rng.choice(self.dirs[1:])

    def _file(self):
        if not self.files:
            raise OSError(errno.ENOENT, "no file")
        return self.rng.choice(self.files)

    def _new(self, parent=None):
        d = self._dir() if parent is None else parent
        if d.count(b"/") > MAX_DEPTH or len(d) > MAX_PATH:
            d = b""
        name = self._name()
        return d + b"/" + name if d else name

    def _bytes(self, size=None):
        if size is None:
            r = self.rng.random()
            size = 0 if r < 0.05 else self.rng.randrange(1, 200) if r < 0.4 else \
                self.rng.randrange(200, 20000) if r < 0.95 else self.rng.randrange(20000, 300000)
        unit = self.rng.randbytes(min(size, 512)) or b"x"
        return (unit * (size // len(unit) + 1))[:size]

    def _write(self, path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o644):
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def _write_fresh(self, path):
        """For the outside: never through a name that may be an alias of a file in the tree."""
        if os.path.lexists(path):
            self._remove(path)
        self._write(path, self._bytes(), os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    def _mode(self, directory=False):
        mode = self.rng.choice((0o755, 0o700, 0o750, 0o711, 0o2775, 0o1777, 0o555)) if directory else \
            self.rng.choice((0o644, 0o600, 0o640, 0o755, 0o444, 0o000, 0o4755, 0o664))
        if not self.is_root:
            mode = mode & 0o777 | (0o700 if directory else 0o600)
        return mode

    def _remove(self, path):
        st = os.lstat(path)
        if stat.S_ISDIR(st.st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        self.stale = True

    # -- files -----------------------------------------------------------------------------------------------------

    @op(120)
    def create(self):
        rel = self._new()
        self._write(self._at(rel), self._bytes())
        if rel not in self.files:
            self.files.append(rel)

    @op(60)
    def rewrite(self):
        self._write(self._at(self._file()), self._bytes())

    @op(60)
    def rewrite_same_second_same_size(self):
        path = self._at(self._file())
        size = os.lstat(path).st_size
        for _ in range(self.rng.randrange(2, 5)):
            self._write(path, self._bytes(size))

    @op(25)
    def rewrite_mtime_put_back(self):
        path = self._at(self._file())
        st = os.lstat(path)
        self._write(path, self._bytes(st.st_size))
        os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))

    @op(50)
    def append(self):
        self._write(self._at(self._file()), self._bytes(self.rng.randrange(1, 3000)), os.O_WRONLY | os.O_APPEND)

    @op(15)
    def append_held_open(self):
        rel = self._file()
        if rel not in self.held:
            if len(self.held) >= 4:
                os.close(self.held.pop(next(iter(self.held))))
            self.held[rel] = os.open(self._at(rel), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        for name, fd in list(self.held.items()):
            where = os.readlink(b"/proc/self/fd/%d" % fd)
            if os.fstat(fd).st_nlink == 1 and where.startswith(self.root + b"/"):
                os.write(fd, self._bytes(300))
            else:
                os.close(self.held.pop(name))

    @op(20)
    def write_in_the_middle(self):
        path = self._at(self._file())
        size = os.lstat(path).st_size
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.pwrite(fd, self._bytes(50), self.rng.randrange(size + 1))
        finally:
            os.close(fd)

    @op(10)
    def write_by_mmap(self):
        fd = os.open(self._at(self._file()), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size:
                with mmap.mmap(fd, size) as m:
                    m[self.rng.randrange(size)] = self.rng.randrange(256)
        finally:
            os.close(fd)

    @op(15)
    def truncate_shorter(self):
        path = self._at(self._file())
        os.truncate(path, self.rng.randrange(os.lstat(path).st_size + 1))

    @op(8)
    def truncate_longer(self):
        path = self._at(self._file())
        os.truncate(path, os.lstat(path).st_size + self.rng.randrange(1, 100000))

    @op(40)
    def unlink(self):
        rel = self._file()
        os.unlink(self._at(rel))
        self.files.remove(rel)

    @op(15)
    def same_name_again(self):
        path = self._at(self._file())
        os.unlink(path)
        self._write(path, self._bytes())

    # -- renames ---------------------------------------------------------------------------------------------------

    @op(40)
    def rename_file(self):
        os.rename(self._at(self._file()), self._at(self._new()))
        self.stale = True

    @op(20)
    def rename_over(self):
        os.rename(self._at(self._file()), self._at(self._file()))
        self.stale = True

    @op(10)
    def rename_chain(self):
        rel = self._file()
        for _ in range(3):
            to = self._new()
            os.rename(self._at(rel), self._at(to))
            rel = to
        self.stale = True

    @op(15)
    def rename_directory(self):
        os.rename(self._at(self._subdir()), self._at(self._new()))
        self.stale = True

    @op(8)
    def rename_directory_and_write_below(self):
        to = self._new()
        os.rename(self._at(self._subdir()), self._at(to))
        self.stale = True
        self._write(self._at(to + b"/just-moved"), self._bytes(100))

    @op(10)
    def move_out(self):
        os.rename(self._at(self._file()), self.outside + b"/f%d" % self.rng.randrange(20))
        self.stale = True

    @op(6)
    def move_directory_out(self):
        src, dst = self._at(self._subdir()), self.outside + b"/d%d" % self.rng.randrange(10)
        if os.path.lexists(dst):
            self._remove(dst)
        os.rename(src, dst)
        self.stale = True

    @op(12)
    def move_in(self):
        names = sorted(os.listdir(self.outside))
        if not names or self.rng.random() < 0.3:
            base = self.outside + b"/d%d" % self.rng.randrange(10)
            os.makedirs(base + b"/x/y", exist_ok=True)
            self._write_fresh(base + b"/x/one")
            self._write_fresh(base + b"/x/y/two")
            names = [os.path.basename(base)]
        os.rename(self.outside + b"/" + self.rng.choice(names), self._at(self._new()))
        self.stale = True

    @op(6)
    def out_and_in_again(self):
        rel = self._subdir()
        away = self.outside + b"/roundtrip"
        os.rename(self._at(rel), away)
        os.rename(away, self._at(rel))
        self.stale = True

    @op(8)
    def exchange_files(self):
        a, b = self._file(), self._file()
        if a != b:
            exchange(self._at(a), self._at(b))

    @op(5)
    def exchange_directories(self):
        a, b = self._subdir(), self._subdir()
        if a != b:
            exchange(self._at(a), self._at(b))
            self.stale = True

    @op(5)
    def exchange_file_and_directory(self):
        exchange(self._at(self._file()), self._at(self._subdir()))
        self.stale = True

    @op(3)
    def exchange_with_the_outside(self):
        self._write_fresh(self.outside + b"/xchg")
        exchange(self._at(self._file()), self.outside + b"/xchg")
        self.stale = True

    # -- links and specials ----------------------------------------------------------------------------------------

    @op(20, "links")
    def hard_link(self):
        rel = self._new()
        os.link(self._at(self._file()), self._at(rel), follow_symlinks=False)
        self.files.append(rel)

    @op(20, "links")
    def write_through_an_alias(self):
        rel, alias = self._file(), self._new()
        os.link(self._at(rel), self._at(alias), follow_symlinks=False)
        self.files.append(alias)
        self._write(self._at(self.rng.choice((rel, alias))), self._bytes(), os.O_WRONLY)
        self._write(self._at(rel), b"alias", os.O_WRONLY | os.O_APPEND)

    @op(8, "links")
    def break_a_link(self):
        path = self._at(self._file())
        tmp = path[:-4] + b".brk"
        self._write(tmp, self._bytes())
        os.rename(tmp, path)
        self.stale = True

    @op(20)
    def symlink(self):
        to = self.rng.choice((b"../up", b"/etc/hostname", b"dangling", b"f1", b"/", b".", self._dir() or b"x", b"n\nl"))
        rel = self._new()
        os.symlink(to, self._at(rel))
        self.links.append(rel)

    @op(8)
    def symlink_turned(self):
        if self.links:
            rel = self.rng.choice(self.links)
            tmp = self._at(rel)[:-3] + b"~ln"
            os.symlink(b"turned-%d" % self.serial, tmp)
            os.rename(tmp, self._at(rel))
            self.stale = True

    @op(6)
    def fifo(self):
        os.mkfifo(self._at(self._new()), 0o600)

    # -- attributes ------------------------------------------------------------------------------------------------

    @op(30)
    def chmod(self):
        os.chmod(self._at(self._file()), self._mode())

    @op(10)
    def chmod_directory(self):
        os.chmod(self._at(self._dir()), self._mode(directory=True))

    @op(15)
    def chown(self):
        owner = (self.rng.choice((0, 1, 1000, 12345)), self.rng.choice((0, 2, 1000, 54321)))
        if not self.is_root:
            owner = (-1, os.getgid())
        os.chown(self._at(self._file() if self.rng.random() < 0.7 else self._dir()), *owner, follow_symlinks=False)

    @op(15)
    def utimes(self):
        rel = self._file() if self.rng.random() < 0.7 else self._dir()
        when = self.rng.choice((0, 1, 951782400, 1500000000, int(time.time()) + 86400)) * 10**9
        os.utime(self._at(rel), ns=(when, when + self.rng.randrange(10**9)), follow_symlinks=False)

    def _any(self):
        return self._at(self._file() if self.rng.random() < 0.6 else self._dir())

    @op(30, "attributes")
    def set_xattr(self):
        """Three names: with an ACL all that ext4 has room for in a block."""
        path, name = self._any(), b"user." + self.rng.choice((b"a", b"b", b"odd \xff\n"))
        os.setxattr(path, name, self.rng.randbytes(self.rng.choice((0, 1, 32, 33, 900))), follow_symlinks=False)

    @op(10, "attributes")
    def remove_xattrs(self):
        path = self._any()
        for name in os.listxattr(path, follow_symlinks=False):
            os.removexattr(path, name, follow_symlinks=False)

    @op(20, "attributes")
    def set_acl(self):
        path, nobody = self._any(), 0xFFFFFFFF
        default = self.rng.random() < 0.5 and stat.S_ISDIR(os.lstat(path).st_mode)
        entries = [(1, 7, nobody), *[(2, self.rng.randrange(8), 1000 + i) for i in range(self.rng.randrange(1, 4))],
                   (4, self.rng.randrange(8), nobody), (16, self.rng.choice((4, 5, 7)), nobody), (32, 0, nobody)]
        value = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)
        os.setxattr(path, "system.posix_acl_" + ("default" if default else "access"), value, follow_symlinks=False)

    # -- directories -----------------------------------------------------------------------------------------------

    @op(20)
    def mkdir(self):
        rel = self._new()
        os.mkdir(self._at(rel))
        self.dirs.append(rel)

    @op(12)
    def mkdir_burst(self):
        rel = self._new()
        for _ in range(self.rng.randrange(1, 5)):
            if rel.count(b"/") > MAX_DEPTH:
                break
            os.makedirs(self._at(rel), exist_ok=True)
            for _ in range(self.rng.randrange(3)):
                self._write(self._at(rel + b"/" + self._name()), self._bytes())
            rel += b"/" + self._name()
        self.stale = True

    @op(8)
    def rm_rf(self):
        shutil.rmtree(self._at(self._subdir()))
        self.stale = True

    @op(3)
    def rm_rf_and_again(self):
        rel = self._subdir()
        shutil.rmtree(self._at(rel))
        os.mkdir(self._at(rel))
        self._write(self._at(rel + b"/again"), self._bytes())
        self.stale = True

    @op(3, "links")
    def copy_tree_with_links(self):
        """cp -al: a copy of a directory in which each file is a hard link."""
        src, dst = self._subdir(), self._new(b"")
        if dst.startswith(src + b"/") or dst == src:
            return
        shutil.copytree(self._at(src), self._at(dst), symlinks=True,
                        copy_function=lambda a, b: os.link(a, b, follow_symlinks=False),
                        ignore=lambda d, names: [n for n in names if not stat.S_ISREG(os.lstat(os.path.join(d, n)).st_mode)
                                                 and not stat.S_ISDIR(os.lstat(os.path.join(d, n)).st_mode)])
        self.stale = True

    @op(12)
    def type_swap(self):
        if self.rng.random() < 0.6:
            rel = self._file()
        else:
            rel = self._subdir()
        path = self._at(rel)
        self._remove(path)
        kind = self.rng.randrange(4)
        if kind == 0:
            os.mkdir(path)
            self._write(path + b"/inside", self._bytes())
        elif kind == 1:
            os.symlink(b"swapped", path)
        elif kind == 2:
            self._write(path, self._bytes())
        else:
            os.mkfifo(path)

    # -- programs --------------------------------------------------------------------------------------------------

    @op(10)
    def log_rotation(self):
        base = self._at(b"app.log")
        for n in (2, 1):
            if os.path.lexists(base + b".%d" % n):
                os.rename(base + b".%d" % n, base + b".%d" % (n + 1))
        if os.path.lexists(base):
            os.rename(base, base + b".1")
        self._write(base, self._bytes(2000), mode=0o640)
        self._write(base, self._bytes(700), os.O_WRONLY | os.O_APPEND)
        self.stale = True

    @op(10)
    def save_as_vim(self):
        path = self._at(self._file())
        here = os.path.dirname(path)
        self._write(here + b"/4913", b"")
        os.unlink(here + b"/4913")
        self._write(here + b"/.edit.swp", self._bytes(4096))
        backup = path[:-1] + b"~"
        os.rename(path, backup)
        self._write(path, self._bytes())
        os.unlink(backup)
        os.unlink(here + b"/.edit.swp")
        self.stale = True

    @op(6)
    def save_as_emacs(self):
        path = self._at(self._file())
        here = os.path.dirname(path)
        os.symlink(b"user@host.1234:1700000000", here + b"/.#lock")
        self._write(here + b"/#auto#", self._bytes())
        with open(path, "rb") as f:
            self._write(here + b"/backup~", f.read())
        self._write(path, self._bytes())
        os.unlink(here + b"/#auto#")
        os.unlink(here + b"/.#lock")
        self.stale = True

    @op(12)
    def save_by_temporary_and_rename(self):
        path = self._at(self._file())
        tmp = os.path.dirname(path) + b"/.tmp%d" % self.rng.randrange(10**6)
        st = os.lstat(path)
        self._write(tmp, self._bytes(), mode=0o600)
        os.chmod(tmp, stat.S_IMODE(st.st_mode))
        os.rename(tmp, path)
        self.stale = True

    def _git(self, *args):
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "LC_ALL": "C",
               "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null",
               "GIT_AUTHOR_NAME": "c", "GIT_AUTHOR_EMAIL": "c@x", "GIT_COMMITTER_NAME": "c", "GIT_COMMITTER_EMAIL": "c@x"}
        done = subprocess.run(["git", "-c", "gc.auto=0", "-c", "core.fsync=none", "-c", "maintenance.auto=false", *args],
                              cwd=self._at(b"repo"), env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        return done.stdout

    @op(4, "git")
    def git(self):
        repo = self._at(b"repo")
        if not os.path.isdir(repo + b"/.git"):
            os.makedirs(repo, exist_ok=True)
            self._git("init", "-q", "-b", "main", "--template=")
        choice = self.rng.randrange(10)
        if choice < 6 or not self._git("rev-parse", "-q", "--verify", "HEAD"):
            for _ in range(self.rng.randrange(1, 8)):
                d = repo + b"/m%d" % self.rng.randrange(4)
                os.makedirs(d, exist_ok=True)
                self._write(d + b"/s%d.c" % self.rng.randrange(8), self._bytes(self.rng.randrange(50, 3000)))
            self._git("add", "-A")
            self._git("commit", "-q", "-m", "c%d" % self.serial, "--allow-empty")
        elif choice < 9:
            branch = "b%d" % self.rng.randrange(3)
            self._git("checkout", "-q", "-f", "-B", branch, self.rng.choice(("HEAD~1", "HEAD", "main", "HEAD~2")))
        else:
            self._git("gc", "-q", "--prune=now")

    def _sqlite(self, mode):
        os.makedirs(self._at(b"db"), exist_ok=True)
        db = self.databases.get(mode)
        if db is None:
            db = sqlite3.connect(os.fsdecode(self._at(b"db/" + mode.encode() + b".sqlite")), isolation_level=None)
            db.execute("PRAGMA synchronous=OFF")
            db.execute(f"PRAGMA journal_mode={mode}")
            db.execute("CREATE TABLE IF NOT EXISTS t(k INTEGER PRIMARY KEY, v BLOB)")
            self.databases[mode] = db
        db.execute("BEGIN IMMEDIATE")
        for _ in range(self.rng.randrange(1, 10)):
            k = self.rng.randrange(200)
            if self.rng.random() < 0.8:
                db.execute("INSERT OR REPLACE INTO t VALUES(?, ?)", (k, self._bytes(self.rng.randrange(1, 2000))))
            else:
                db.execute("DELETE FROM t WHERE k=?", (k,))
        db.execute("COMMIT" if self.rng.random() < 0.9 else "ROLLBACK")
        if self.rng.random() < 0.05:
            db.execute("VACUUM")
        if self.rng.random() < 0.1:
            self.databases.pop(mode).close()

    @op(10, "sqlite")
    def sqlite_wal(self):
        self._sqlite("WAL")

    @op(10, "sqlite")
    def sqlite_delete(self):
        self._sqlite("DELETE")


class Meanwhile:
    """Churn in a thread of its own, beside what is done within `with`, which asks `done` (an Event) when to end."""

    def __init__(self, root, seed, ops, rate):
        self.seed, self.done = seed, threading.Event()
        self._work = lambda: Churn(root, seed).run(ops, rate)
        self._broke = None
        self._thread = threading.Thread(target=self._make)

    def _make(self):
        try:
            self._work()
        except (OSError, AssertionError) as e:
            self._broke = e
        finally:
            self.done.set()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._thread.join()
        assert not self._broke, f"churn with seed {self.seed} itself failed: {self._broke}"


def main(argv=None):
    p = argparse.ArgumentParser(description="Make seeded changes in a directory tree.")
    p.add_argument("dir")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--ops", type=int, default=2000)
    p.add_argument("--rate", type=float, default=0, help="operations a second; 0: as fast as it goes")
    p.add_argument("--outside", help="staging directory on the same file system (default: DIR.outside)")
    p.add_argument("--profile", action="append", choices=("plain", "odd", "git", "sqlite"), help="default: all")
    p.add_argument("--only", action="append", choices=sorted(OPERATIONS), metavar="OP", help="only these operations")
    p.add_argument("--list", action="store_true", help="print how often each operation was done")
    a = p.parse_args(argv)
    t = time.monotonic()
    churn = Churn(a.dir, a.seed, outside=a.outside, profiles=a.profile or ("plain", "odd", "links", "git", "sqlite"), only=a.only)
    churn.run(a.ops, a.rate)
    took = time.monotonic() - t
    print(f"seed {a.seed}: {sum(churn.done.values())} operations, {sum(churn.missed.values())} without effect, {took:.2f} s")
    if a.list:
        print("\n".join(f"{churn.done[name]:6} {churn.missed[name]:6}  {name}" for name in sorted(OPERATIONS)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
