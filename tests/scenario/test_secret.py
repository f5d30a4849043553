"""The password is nowhere that others can look."""

import base64
import os
import resource
import signal

import pytest
from harness import ended, proc
from harness.servers import PASSWORD, Rsyncd

CANARIES = (PASSWORD.encode(), base64.b64encode(PASSWORD.encode()), PASSWORD.encode().hex().encode())


def exposed(data):
    return any(c in data for c in CANARIES)


def watch(ls, found):
    for pid in [ls.pid, *proc.descendants(ls.pid)]:
        for what in ("cmdline", "environ"):
            try:
                with open(f"/proc/{pid}/{what}", "rb") as f:
                    if exposed(f.read()):
                        found.append((pid, what))
            except OSError:
                pass


def test_no_process_that_is_started_holds_a_file_of_the_state(box):
    """A build that hands the ledger's descriptor on lets what parses a peer's bytes write into it, in spite of its sandbox."""
    src, server, copy, remote = box.dir("src"), box.rsyncd(), box.local(), box.sshd()
    ls = box.lockstep(src, [server, copy, remote])
    box.fill(src, 20)
    ls.settle(20)
    held, names = [], set()
    # A process that has been forked and not become what it is to be yet has the daemon's own descriptors.
    proc.until(lambda: all(proc.cmdline(pid) != proc.cmdline(ls.pid) for pid in proc.descendants(ls.pid)), 10)
    for pid in proc.descendants(ls.pid):
        try:
            names.add(os.path.basename(proc.executable(pid)))
            fds = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for fd in fds:
            try:
                path = os.readlink(f"/proc/{pid}/fd/{fd}")
            except OSError:
                continue
            if path.startswith(ls.state + "/"):
                held.append((proc.cmdline(pid)[:2], path))
    assert {"lockstep", "rsync", "ssh"} <= names
    assert not held


def files_with_it(root, but):
    found = []
    for d, _, names in os.walk(root):
        for n in names:
            path = os.path.join(d, n)
            if path not in but and os.path.isfile(path):
                with open(path, "rb") as f:
                    if exposed(f.read()):
                        found.append(path)
    return found


def test_password_in_no_argv_environment_log_status_or_state(box):
    """A build that starts rsync with RSYNC_PASSWORD or logs its own configuration shows it to everybody."""
    src, server, copy = box.dir("src"), box.rsyncd(), box.local()
    ls = box.lockstep(src, [server, copy])
    found = []
    for n in range(10):
        box.fill(f"{src}/{n}", 50)
        watch(ls, found)
        ls.settle()
        watch(ls, found)
    server.restart()
    box.write(src + "/again", b"1")
    ls.settle(30)
    server.set_server_password("changed")
    server.restart()
    box.write(src + "/once-more", b"1")
    ls.until_text("auth failed", 20, name="main.1")
    watch(ls, found)
    assert not found
    for verb in (("status",), ("status", "--json"), ("held",), ("failed",), ("verify", "main.2")):
        done = ls.ask(*verb)
        assert not exposed((done.stdout + done.stderr).encode())
    ls.stop()
    assert not files_with_it(box.root, (server.secrets, server.password_file))


@pytest.mark.parametrize("victim", ("daemon", "worker"))
def test_password_in_no_core(box, victim):
    """A build that keeps the password in ordinary memory leaves it in the core of a crash."""
    with open("/proc/sys/kernel/core_pattern") as f:
        pattern = f.read().strip()
    if pattern.startswith(("|", "/")):
        pytest.skip(f"injector missing: cores go to {pattern!r}, not to the working directory")
    src, server, cwd = box.dir("src"), box.rsyncd(), box.dir("cwd")
    before = resource.getrlimit(resource.RLIMIT_CORE)
    here = os.getcwd()
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
        os.chdir(cwd)
        ls = box.lockstep(src, [server])
    finally:
        os.chdir(here)
        resource.setrlimit(resource.RLIMIT_CORE, before)
    box.fill(src, 100)
    ls.settle()
    pids = [ls.pid] if victim == "daemon" else ls.workers()
    assert pids
    proc.send(pids, signal.SIGABRT)
    assert not ended(pids, 10)
    assert not files_with_it(box.root, (server.secrets, server.password_file))


def in_memory(pid):
    """Where in the memory that it may write to."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(x, 16) for x in span.split("-"))
            memory.seek(start)
            if exposed(memory.read(end - start)):
                found.append(line.rstrip())
    return found


@pytest.mark.root
def test_password_stays_in_no_memory_of_the_daemon(box):
    """A build that wipes what it read but not what it sent to the worker leaves it in freed memory, for each session."""
    src, server = box.dir("src"), box.rsyncd()
    ls = box.lockstep(src, [server])
    for n in range(5):
        box.fill(f"{src}/{n}", 50)
        ls.settle(30)
        # Nor at the second look: a session may just be about to be opened at one of them.
        assert not in_memory(ls.pid) or not in_memory(ls.pid)
        server.restart()  # all sessions are opened anew


@pytest.mark.parametrize("spoil, words", [
    (lambda path: os.chmod(path, 0o644), "chmod 600"),
    (lambda path: os.unlink(path), "No such file"),
    (lambda path: Rsyncd._secret(path, ""), "holds no password"),
    (lambda path: os.rename(path, path + ".real") or os.symlink(path + ".real", path), ""),
])
def test_password_file_that_must_not_be_used_is_refused(box, spoil, words):
    """A build that follows a link or reads what others can read hands out secrets."""
    src, server = box.dir("src"), box.rsyncd()
    box.write(src + "/f", b"1")
    spoil(server.password_file)
    ls = box.lockstep(src, [server], start=False)
    ls.start(ready=False)

    def refused():
        if ls.proc.poll() is not None:
            return ls.proc.returncode != 0 and server.password_file in ls.read_log() and words in ls.read_log()
        if not ls.answers():
            return False
        text = ls.text()
        return server.password_file in text and words in text

    proc.until(refused, 15, f"the password file refused with {words!r}", on=[ls.log])
    assert os.listdir(server.path) == []


@pytest.mark.parametrize("target", ("rsync://backup:{}@127.0.0.1:1/m/", "backup:{}@127.0.0.1::m/", "backup:{}@127.0.0.1:/m/"))
def test_password_in_a_target_is_refused_and_not_repeated(box, target):
    """A build that takes user:password@host, or takes it for a path at the host "user", shows the password in every argument
    list and log."""
    from harness.daemon import command
    done = command("run", box.dir("src"), target.format(PASSWORD), "--state", box.path("state"))
    assert done.returncode not in (0, -6, -11)
    assert "password" in done.stderr and PASSWORD not in done.stderr + done.stdout
