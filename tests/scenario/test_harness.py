"""The tools of the scenario tests are tested themselves, with stock rsync as the replicator."""

import os
import subprocess

import churn
import pytest
from harness import diff, kill_tree, oracle, proc, sandbox, snapshot, total_bytes

MIRROR = ["rsync", "-aHX", "--numeric-ids", "--delete", "--force", "-I", "--modify-window=-1", "--exclude=/.lockstep/"]


def mirror(src, target, *args, **env):
    subprocess.run([*MIRROR, *args, f"{src}/", target], check=True, stdin=subprocess.DEVNULL,
                   env={"PATH": os.environ["PATH"]} | env)


@pytest.fixture
def twins(box):
    """Two equal trees with one of each kind of entry."""
    a, b = box.dir("a"), box.path("b")
    box.write(a + "/d/file", b"content")
    box.write(a + "/d/other", b"content")
    os.link(a + "/d/file", a + "/alias")
    os.symlink("d/file", a + "/link")
    os.mkfifo(a + "/fifo")
    os.mkdir(a + "/empty")
    mirror(a, b)
    assert diff(a, b) == []
    return a, b


def set_time(path, ns):
    os.utime(path, ns=(ns, ns), follow_symlinks=False)


def relink(b):
    st = os.lstat(b + "/alias")
    os.unlink(b + "/alias")
    with open(b + "/alias", "wb") as f:
        f.write(b"content")
    os.chmod(b + "/alias", st.st_mode & 0o7777)
    os.chown(b + "/alias", st.st_uid, st.st_gid)
    set_time(b + "/alias", st.st_mtime_ns)


def same_size_and_time(b):
    st = os.lstat(b + "/d/other")
    with open(b + "/d/other", "r+b") as f:
        f.write(b"CONTENT")
    set_time(b + "/d/other", st.st_mtime_ns)


def resymlink(b):
    st = os.lstat(b + "/link")
    os.unlink(b + "/link")
    os.symlink("d/fil_", b + "/link")
    set_time(b + "/link", st.st_mtime_ns)


@pytest.mark.parametrize("spoil, named", [
    (lambda b: os.unlink(b + "/fifo"), "missing  'fifo'"),
    (lambda b: os.mkdir(b + "/d/.lockstep"), "extra    'd/.lockstep'"),
    (lambda b: os.chmod(b + "/d/file", 0o600), "mode"),
    (lambda b: os.chmod(b, 0o700), "mode"),
    (lambda b: set_time(b + "/empty", 1), "mtime"),
    (lambda b: set_time(b + "/link", 1), "mtime"),
    (lambda b: set_time(b + "/d/other", os.lstat(b + "/d/other").st_mtime_ns + 1), "mtime"),
    (relink, "links"),
    (same_size_and_time, "content"),
    (resymlink, "target"),
    pytest.param(lambda b: os.chown(b + "/d/file", 5, -1), "uid", marks=pytest.mark.root),
    pytest.param(lambda b: os.chown(b + "/link", -1, 5, follow_symlinks=False), "gid", marks=pytest.mark.root),
])
def test_compare_any_difference_is_named(twins, spoil, named):
    a, b = twins
    spoil(b)
    assert any(named in line for line in diff(a, b)), diff(a, b)


def test_compare_stamps_of_the_root_are_ignored(twins):
    a, b = twins
    when = os.stat(b).st_mtime_ns
    os.mkdir(b + "/.lockstep")
    set_time(b, when)
    assert diff(a, b) == [] and oracle(a, b) == ""


def test_oracle_equal_silent_different_named(twins):
    a, b = twins
    assert oracle(a, b) == ""
    same_size_and_time(b)
    assert "d/other" in oracle(a, b)


def test_churn_same_seed_same_names_and_contents(box):
    seen = []
    for name in ("one", "two"):
        root = box.path(name, "t")
        churn.Churn(root, 7, profiles=("plain", "odd")).run(1500)
        seen.append(snapshot(root, attributes=("mode", "uid", "gid", "links")))
    assert seen[0] == seen[1]


def test_churn_does_every_operation(box):
    done = set()
    for seed in range(1, 4):
        c = churn.Churn(box.path(f"s{seed}", "t"), seed, profiles=("plain", "odd", "links", "git", "sqlite", "attributes")).run(2000)
        done |= set(c.done)
        assert sum(c.missed.values()) < 100
    assert done == set(churn.OPERATIONS)


@pytest.mark.parametrize("kind", ["local", "rsyncd", "ssh"])
def test_churn_stock_rsync_converges_on_each_server(box, kind):
    """Shows that churn makes nothing that a receiver cannot hold, and that the servers keep every attribute."""
    server = box.server(kind)
    src = box.path("src")
    for seed in (11, 12):
        churn.Churn(src, seed).run(2000)
        if kind == "rsyncd":
            mirror(src, server.target, RSYNC_PASSWORD=server.password)
        elif kind == "ssh":
            mirror(src, server.target + "/", "-e", server.ssh_command())
        else:
            mirror(src, server.target)
        box.check_equal(src, server)
    assert total_bytes(src) > 100_000


def test_rsyncd_wrong_password_is_refused_and_counted(box):
    server = box.rsyncd()
    done = subprocess.run(["rsync", "-a", box.dir("s") + "/", server.target], stdin=subprocess.DEVNULL, capture_output=True,
                          check=False, env={"PATH": os.environ["PATH"], "RSYNC_PASSWORD": "no"})
    assert done.returncode == 5 and b"auth failed" in done.stderr
    assert server.logins() >= 1


def test_rsyncd_restart_keeps_port_and_tree(box):
    server = box.rsyncd()
    box.write(box.path("s/f"), b"1")
    server.restart()
    mirror(box.path("s"), server.target, RSYNC_PASSWORD=server.password)
    box.check_equal(box.path("s"), server)


@pytest.mark.limit(30)
def test_kill_tree_leaves_no_orphans(box):
    """Two children, one in a session of its own, say that they are there and then read what never comes."""
    (never, hold), (told, tell) = os.pipe(), os.pipe()
    child = "sh -c 'echo here; exec cat'"
    p = proc.spawn(["sh", "-c", f"exec 3<&0; setsid {child} <&3 & {child} <&3 & wait"], stdin=never, stdout=tell)
    said = b""
    while said.count(b"here") < 2:
        said += os.read(told, 100)
    family = proc.descendants(p.pid)
    assert len(family) == 2
    kill_tree(p)
    for fd in (never, hold, told, tell):
        os.close(fd)
    assert not [x for x in family if proc.cmdline(x)]


def test_forwarder_stalls_and_counts(box):
    server = box.rsyncd()
    line = box.forwarder(server.port)
    box.write(box.path("s/f"), b"1" * 5000)
    url = server.target.replace(str(server.port), str(line.port))
    mirror(box.path("s"), url, RSYNC_PASSWORD=server.password)
    assert line.up > 5000 > 100 < line.down
    line.stalled = True
    done = subprocess.run([*MIRROR, "--contimeout=1", "--timeout=1", box.path("s") + "/", url], stdin=subprocess.DEVNULL,
                          capture_output=True, check=False, env={"PATH": os.environ["PATH"], "RSYNC_PASSWORD": server.password})
    assert done.returncode != 0


@pytest.mark.sandbox
def test_sandbox_mounts_are_private(box):
    d = box.dir("m")
    sandbox.mount("-t", "tmpfs", "tmpfs", d)
    box.write(d + "/f")
    server = box.rsyncd()
    mirror(d, server.target, RSYNC_PASSWORD=server.password)
    box.check_equal(d, server)
    assert sandbox.umount(d) == (0, "")
    assert os.listdir(d) == []
