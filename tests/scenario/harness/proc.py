"""Processes: starting them in groups of their own, finding their descendants, ending all of them for certain."""

import ctypes
import os
import signal
import socket
import subprocess
import time

from .events import Changes, ended

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# Orphans of what we start come back to us, so that kill_tree() finds them.
_libc = ctypes.CDLL(None)
_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _die_with_us():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


NET_S = 0.25


def until(cond, timeout=10, what="the condition", on=()):
    """Look until cond() is true, return its value; AssertionError after `timeout` seconds. `on` names files or directories
    in which it shows: each change there is an occasion to look, and every NET_S seconds for what does not show. Without it
    there is nothing that would tell (a port that begins to listen, a process that forks): it looks a hundred times a second."""
    end = time.monotonic() + timeout
    with Changes(on) as changes:
        while True:
            value = cond()
            if value:
                return value
            left = end - time.monotonic()
            if left <= 0:
                raise AssertionError(f"{what} did not come true in {timeout} s")
            changes.wait(min(left, NET_S if on else 0.01))


def stays(cond, seconds):
    """True when cond() holds at every look for that long: for what must not happen, which nothing announces."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not cond():
            return False
        time.sleep(0.02)
    return True


def _parents():
    """{pid: (parent, process group)} of every live process."""
    table = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as f:
                    fields = f.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields[0] not in (b"Z", b"X"):
                table[int(name)] = (int(fields[1]), int(fields[2]))
    return table


def children(pid):
    return sorted(p for p, (parent, _) in _parents().items() if parent == pid)


def descendants(pid):
    table, found, todo = _parents(), [], [pid]
    while todo:
        parent = todo.pop()
        for p, (pp, _) in table.items():
            if pp == parent and p not in found:
                found.append(p)
                todo.append(p)
    return found


def cmdline(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f.read().split(b"\0")[:-1]
    except OSError:
        return []


def executable(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
    except OSError:
        return ""


def send(pids, sig):
    for pid in pids:
        try:
            os.kill(pid, sig)
        except ProcessLookupError:
            pass


def kill_tree(proc):
    """SIGKILL a process started by spawn(), its group and all its descendants; returns when all are gone."""
    group = proc.pid
    known = {proc.pid}
    while True:
        table = _parents()
        known |= {p for p, (parent, pg) in table.items() if parent in known or pg == group}
        alive = [p for p in known if p in table]
        if not alive:
            break
        send(alive, signal.SIGKILL)
        for p in alive:
            if p != proc.pid:
                try:
                    os.waitpid(p, os.WNOHANG)
                except ChildProcessError:
                    pass
        proc.poll()
        ended(alive, 1)
    proc.wait()


def wait(proc, timeout):
    """The exit code of a process started by spawn(), or None when it still runs after `timeout` seconds."""
    ended([proc.pid], timeout)
    return proc.poll()


def spawn(argv, *, log=None, **how):
    """Start a process in a session of its own with closed input; output goes to the file `log`, by default nowhere. It is
    killed should this process die before it could do so. Not for use in a thread that ends: the kernel means threads."""
    how.setdefault("stdin", subprocess.DEVNULL)
    how.setdefault("preexec_fn", _die_with_us)
    if log is not None:
        with open(log, "ab") as out:
            return subprocess.Popen(argv, stdout=out, stderr=out, start_new_session=True, **how)
    how.setdefault("stdout", subprocess.DEVNULL)
    how.setdefault("stderr", subprocess.DEVNULL)
    return subprocess.Popen(argv, start_new_session=True, **how)


_given = set()


def free_port():
    """A loopback port that nobody listens on, not given out before."""
    while True:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port


def listening(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0
