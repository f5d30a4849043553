"""The source: emptied, replaced, unmounted, overflowing, unreadable, attacked."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from harness import proc, sandbox, snapshot
from harness.daemon import EXIT_REMAINS


def names(root):
    return {rel for rel in snapshot(root, contents=False)}


def frozen(ls):
    return ls.until_tree("frozen")


def unit_rights():
    """setpriv with the capabilities that the shipped unit leaves."""
    with open(os.path.join(os.path.dirname(__file__), "..", "..", "packaging", "lockstep.service.in"), encoding="utf-8") as f:
        line = next(line for line in f if line.startswith("CapabilityBoundingSet="))
    return ["setpriv", "--bounding-set", ",".join(["-all", *(f"+{c[4:].lower()}" for c in line.split("=", 1)[1].split())])]


@pytest.mark.root
def test_write_by_a_lost_name_arrives_with_the_rights_of_the_shipped_unit(box):
    """Without CAP_LEASE nobody tells whether a file of another user is still open; what is written to it then, under a
    name that is gone, raises no event for the one that is left."""
    if subprocess.run([*unit_rights(), "true"], check=False).returncode:
        pytest.skip("injector missing: setpriv")
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy], prefix=unit_rights()).settle()
    fd = os.open(src + "/alien.tmp", os.O_WRONLY | os.O_CREAT)
    os.fchown(fd, 65534, 65534)
    os.write(fd, b"one")
    os.link(src + "/alien.tmp", src + "/alien")
    os.unlink(src + "/alien.tmp")
    ls.settle()
    os.write(fd, b"two")
    os.close(fd)
    proc.until(lambda: box.read(copy.path + "/alien") == b"onetwo", 30, "the second write at the target")
    box.check_equal(src, copy)


def test_root_replaced_by_an_empty_directory_nothing_deleted_heals(box):
    """A build that takes an empty root at its word deletes the whole target."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 200)
    ls = box.lockstep(src, [server]).settle()
    before = names(server.path)
    os.rename(src, src + ".away")
    os.mkdir(src)
    t = frozen(ls)
    assert t["text"] and "approve" not in t["text"].replace("lockstep approve", "")
    assert proc.stays(lambda: names(server.path) == before, 2)
    os.rmdir(src)
    os.rename(src + ".away", src)
    box.write(src + "/after", b"1")
    ls.until_tree("live", 20)
    ls.settle(20)
    box.check_equal(src, server)


def test_root_replaced_while_the_daemon_is_down_nothing_deleted(box):
    """A build that compares names only takes yesterday's mount point for the source and deletes everything at start."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 200)
    ls = box.lockstep(src, [copy]).settle()
    before = names(copy.path)
    ls.stop()
    os.rename(src, src + ".away")
    os.mkdir(src)
    ls.start()
    frozen(ls)
    assert proc.stays(lambda: names(copy.path) == before, 2)
    os.rmdir(src)
    os.rename(src + ".away", src)
    ls.until_tree("live", 20)
    ls.settle(20)
    box.check_equal(src, copy)


@pytest.mark.parametrize("before", (False, True), ids=["never-seen", "known"])
def test_root_missing_at_start_freezes_its_tree_only_and_goes_on_when_it_is_there(box, before):
    """A build that ends, or waits, for one disk that is not mounted stops mirroring all the others."""
    src, other, one, two = box.path("src"), box.dir("other"), box.local("one"), box.local("two")
    conf = box.config(f"[tree t]\nroot = {src}\ntarget = {one.path}\n[tree u]\nroot = {other}\ntarget = {two.path}\n")
    ls = box.lockstep(config=conf, start=False)
    if before:
        box.fill(box.dir("src"), 30)
        ls.start().settle().stop()
        os.rename(src, src + ".away")
    box.fill(other, 30)
    ls.start().settle(10, "u.1")
    box.check_equal(other, two)
    ls.until_logged("when it is there")
    tree = ls.tree("t")
    assert tree["state"] == "frozen" and "No such file" in tree["text"], tree
    done = ls.wait(5, "t.1")
    assert done.returncode == EXIT_REMAINS and "frozen" in done.stderr, done
    assert ls.ask("status", "--check").returncode == 2
    if before:
        assert os.path.exists(one.path + "/d000/f00001")
        os.rename(src + ".away", src)
    else:
        box.fill(src + ".new", 30)
        os.rename(src + ".new", src)
    ls.until_job(lambda j: j["state"] == "live", name="t.1")
    box.write(src + "/later", b"1")
    ls.settle()
    box.check_equal(src, one)
    ls.stop()
    ls.start().settle()
    box.check_equal(src, one)


def other_root_comes_first(box, place, name="f{}", approved=False):
    src, one, foreign = f"{place}/src", box.local("one"), f"{place}/foreign"
    conf = box.config(f"[tree t]\nroot = {src}\ntarget = {one.path}\n")
    ls = box.lockstep(config=conf, start=False)
    for n in range(30):
        box.write(f"{src}/{name.format(n)}", b"1")
    ls.start().settle().stop()
    os.rename(src, src + ".away")
    ls.start()
    ls.until_logged("when it is there")
    if approved:
        refused = ls.ask("approve", "0")
        assert refused.returncode != 0 and "not there" in refused.stderr, refused
    for n in range(30):
        box.write(f"{foreign}/something-else-{n}", b"1")
    os.rename(foreign, src)
    proc.until(lambda: "hardly anything" in (ls.tree()["text"] or "") or ls.job()["state"] == "held", 10, "the other root held", on=[ls.log])
    if "hardly anything" in (ls.tree()["text"] or ""):
        ls.until_logged("lockstep approve 0", 5)
    assert ls.wait(3).returncode == EXIT_REMAINS
    assert os.path.exists(f"{one.path}/{name.format(1)}") and not os.path.exists(one.path + "/something-else-1")
    os.rename(src, foreign)
    os.rename(src + ".away", src)
    ls.until_job(lambda j: j["state"] == "live", name="t.1")
    ls.settle()
    box.check_equal(src, one)


def test_root_missing_at_start_then_another_one_is_not_taken_for_it(box):
    """A build that takes what appears first deletes what the known disk had brought."""
    other_root_comes_first(box, box.dir("place"))


def test_root_missing_at_start_approved_while_nothing_is_there_then_another_one_is_held(box):
    """A build that keeps an approval of nothing gives it to whatever disk is mounted next."""
    other_root_comes_first(box, box.dir("place"), approved=True)


@pytest.mark.sandbox
@pytest.mark.parametrize("name", ("f{}", "top/f{}"), ids=["flat", "one-directory"])
def test_root_missing_at_start_then_another_one_where_inodes_do_not_last(box, name):
    """A build that has learned the wrong root by then does not know the right one; one that counts the names on top alone
    takes any root for one with few of them."""
    sandbox.mount("-t", "tmpfs", "tmpfs", box.dir("place"))
    other_root_comes_first(box, box.path("place"), name)


def test_root_removed_while_running_nothing_deleted(box):
    """A build that sees each name vanish and believes it fails here, for the root itself is gone."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 100)
    ls = box.lockstep(src, [copy]).settle()
    before = names(copy.path)
    os.rename(src, src + ".away")
    shutil.rmtree(src + ".away")
    frozen(ls)
    assert proc.stays(lambda: names(copy.path) == before, 2)


@pytest.mark.sandbox
def test_source_emptied_between_look_and_send_nothing_deleted(box):
    """A build that checks the source when it looks, and not again when it sends, deletes what a hidden mount no longer
    shows."""
    real, src, server = box.dir("real"), box.dir("src"), box.rsyncd()
    box.fill(real, 300)
    sandbox.mount("--bind", real, src)
    ls = box.lockstep(src, [server], sets=["timeout=5s"]).settle()
    before = names(server.path)
    stuck = server.freeze()
    for d in sorted(os.listdir(src)):
        box.write(f"{src}/{d}/new", b"x" * 20000)
    shutil.rmtree(src + "/d000")
    ls.until_job(lambda j: j["pending"] or j["in_flight"], 5, "changes pending")
    assert sandbox.umount("-l", src)[0] == 0
    server.thaw(stuck)
    frozen(ls)
    assert proc.stays(lambda: before - {n for n in before if n.startswith(b"d000")} <= names(server.path), 3)
    sandbox.mount("--bind", real, src)
    ls.until_tree("live", 20)
    ls.settle(40)
    box.check_equal(src, server)


def umounted(path):
    """`wait` is answered while the last look's descriptor is still being closed."""
    proc.until(lambda: sandbox.umount(path) == (0, ""), 5, f"umount of {path}")


@pytest.mark.sandbox
def test_umount_while_running_works_and_heals(box):
    """A build that keeps descriptors beneath the root open at rest makes umount fail with "target is busy"."""
    real, src, copy = box.dir("real"), box.dir("src"), box.local()
    box.fill(real, 100)
    sandbox.mount("--bind", real, src)
    ls = box.lockstep(src, [copy]).settle()
    before = names(copy.path)
    umounted(src)
    frozen(ls)
    assert names(copy.path) == before
    box.write(real + "/while-away", b"1")
    sandbox.mount("--bind", real, src)
    ls.until_tree("live", 20)
    ls.settle(20)
    box.check_equal(src, copy)


@pytest.mark.sandbox
def test_directory_beneath_unmounted_and_mounted_over_nothing_deleted(box):
    """A build that crosses into a mount, or takes a mount point's emptiness for deletions, fails here."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 100)
    ls = box.lockstep(src, [copy]).settle()
    before = names(copy.path)
    sandbox.mount("-t", "tmpfs", "tmpfs", src + "/d001")
    box.write(src + "/d001/foreign", b"1")
    box.write(src + "/d000/own", b"1")
    ls.wait(10)
    assert b"d000/own" in names(copy.path)
    assert before <= names(copy.path) and b"d001/foreign" not in names(copy.path)
    umounted(src + "/d001")
    box.write(src + "/d001/back", b"1")
    ls.settle(20)
    box.check_equal(src, copy)


@pytest.mark.limit(300)
def test_queue_overflow_equal(box):
    """A build that trusts each event, or reads slowly, loses what was dropped: the kernel holds 16,384 events."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 500)
    ls = box.lockstep(src, [server]).settle()
    daemon = [ls.pid, *ls.workers()]
    proc.send(daemon, signal.SIGSTOP)
    box.fill(src + "/d000", 9000)
    for n in range(9000):
        box.write(f"{src}/d001/g{n % 10}", b"%d" % n)
    shutil.rmtree(src + "/d002")
    proc.send(daemon, signal.SIGCONT)
    ls.settle(60)
    assert ls.tree()["overflows"] >= 1
    box.check_equal(src, server)


@pytest.mark.sandbox
def test_watch_limit_degraded_says_the_sysctl_line_still_converges(box):
    """A build that exits, or falls silent, when the watches run out fails here."""
    src, copy = box.dir("src"), box.local()
    for n in range(300):
        os.makedirs(f"{src}/d{n}")
        box.write(f"{src}/d{n}/f", b"1")
    limit = "/proc/sys/fs/inotify/max_user_watches"
    with open(limit) as f:
        before = f.read()
    prefix = ["unshare", "-U", "--map-root-user", "sh", "-c", 'echo 100 > /proc/sys/user/max_inotify_watches; exec "$0" "$@"']
    probe = subprocess.run([*prefix, "true"], capture_output=True, stdin=subprocess.DEVNULL, text=True, check=False)
    if probe.returncode != 0 or probe.stderr:
        pytest.skip(f"injector missing: user namespaces: {probe.stderr.strip()}")
    ls = box.lockstep(src, [copy], prefix=prefix)
    ls.wait(20)
    t = ls.until_tree("degraded", 10)
    assert "fs.inotify.max_user_watches" in t["text"] or "max_inotify_watches" in t["text"], t["text"]
    box.write(src + "/d299/changed", b"2")
    ls.settle(60)
    assert box.read(copy.path + "/d299/changed") == b"2"
    with open(limit) as f:
        assert f.read() == before


@pytest.mark.root
def test_unreadable_file_named_others_go_heals_by_chmod(box):
    """A build that stops at the first error, or forgets the file, fails here."""
    src, copy = box.dir("src"), box.local()
    for d in (src, copy.path, box.dir("state-nobody")):
        os.chown(d, 65534, 65534)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if subprocess.run([*prefix, "true"], check=False).returncode:
        pytest.skip("injector missing: setpriv")
    for n in range(20):
        os.chown(box.write(f"{src}/f{n}", b"1"), 65534, 65534)
    secret = box.write(src + "/secret-file", b"mine", mode=0)
    ls = box.lockstep(src, [copy], prefix=prefix, state=box.path("state-nobody", "s"))
    assert "secret-file" in ls.remains(10)
    assert ls.job()["failed"] == 1
    assert len(os.listdir(copy.path)) >= 20
    os.chown(secret, 65534, 65534)
    os.chmod(secret, 0o644)
    ls.settle(20)
    box.check_equal(src, copy)
    assert ls.job()["failed"] == 0


@pytest.mark.root
def test_unreadable_directory_is_not_confirmed_until_it_can_be_read(box):
    """A build whose barrier knows only what it could look at says that all is equal."""
    src, copy = box.dir("src"), box.local()
    for d in (src, copy.path, box.dir("state-nobody")):
        os.chown(d, 65534, 65534)
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    box.write(src + "/open/f", b"1")
    closed = [src + "/closed", src + "/open/later"]
    os.mkdir(closed[0], 0o700)
    box.write(closed[0] + "/deep/f", b"1")
    ls = box.lockstep(src, [copy], prefix=prefix, state=box.path("state-nobody", "s"))
    said = ls.remains(10)
    assert "1 entries cannot be read (closed: Permission denied)" in said, said
    assert "tree main: 1 entries cannot be read (closed: Permission denied)" in ls.ask("status").stdout
    check = ls.ask("status", "--check")
    assert check.returncode == 1 and "cannot be read" in check.stdout, check.stdout
    verified = ls.ask("verify")
    assert verified.returncode == EXIT_REMAINS and "closed: Permission denied" in verified.stderr, verified
    assert box.read(copy.path + "/open/f") == b"1"
    os.mkdir(closed[1], 0o700)
    box.write(closed[1] + "/f", b"1")
    assert "2 entries cannot be read" in ls.remains(10)
    for d in closed:
        os.chmod(d, 0o755)
    ls.settle(20)
    for f in ("/closed/deep/f", "/open/later/f"):
        assert box.read(copy.path + f) == b"1"
    assert ls.ask("status", "--check").returncode == 0


def test_path_that_is_too_long_is_not_confirmed_until_it_is_gone(box):
    src, copy = box.dir("src"), box.local()
    box.write(src + "/f", b"1")
    top = fd = os.open(src, os.O_RDONLY)
    inner = []
    for c in "abcdefghijklmnopq":
        os.mkdir(c * 250, dir_fd=fd)
        fd = os.open(c * 250, os.O_RDONLY, dir_fd=fd)
        inner.append(fd)
    ls = box.lockstep(src, [copy])
    assert "1 entries cannot be replicated: path too long (aaa" in ls.remains(20)
    verified = ls.ask("verify")
    assert verified.returncode == EXIT_REMAINS and "path too long" in verified.stderr, verified
    assert ls.ask("status", "--check").returncode == 1
    os.rmdir("q" * 250, dir_fd=inner[-2])
    for fd in (top, *inner):
        os.close(fd)
    ls.settle(20)
    assert ls.ask("verify").returncode == 0
    assert ls.ask("status", "--check").returncode == 0


@pytest.mark.sandbox
def test_source_whose_file_system_does_not_answer_is_named(box):
    """A build whose threads wait in the kernel for ever says that all is well, and cannot be stopped."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 20)
    os.mkdir(src + "/hangs")
    ls = box.lockstep(src, [copy], sets=["timeout=5s"]).settle()
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no /dev/fuse")
    fuse = os.open("/dev/fuse", os.O_RDWR)
    try:
        if not sandbox.mount_silent(fuse, src + "/hangs"):
            pytest.skip("fuse cannot be mounted")
        said = ls.until_text("has not answered", 30)
        assert "the source's file system has not answered for" in said
        tree = ls.tree()
        assert tree["state"] == "degraded" and "has not answered for" in tree["text"]
        check = ls.ask("status", "--check")
        assert check.returncode == 2 and "has not answered for" in check.stdout, check.stdout
        assert ls.stop(5) == 0
        assert "does not answer; the end does not wait for it" in ls.read_log()
        ls.start()
        ls.until_text("has not answered", 30)
    finally:
        os.close(fuse)  # ends it: everything there fails at once
    umounted(src + "/hangs")
    box.write(src + "/new", b"1")
    ls.settle(20)
    box.check_equal(src, copy)
    assert ls.tree()["state"] == "live" and not ls.job()["text"]


@pytest.mark.sandbox
def test_reload_beside_a_source_that_does_not_answer_restarts_the_others(box):
    """A build that waits until everything has ended waits for a dead server with jobs that have nothing to do with it."""
    dead, src, lost, copy = box.dir("dead"), box.dir("src"), box.local("lost"), box.local("copy")
    one = f"[tree d]\nroot = {dead}\ntarget = {lost.path}\n[tree t]\nroot = {src}\ntarget = {copy.path}\n"
    box.fill(src, 20)
    os.mkdir(dead + "/hangs")
    ls = box.lockstep(config=box.config("timeout = 5s\n" + one)).settle()
    if not os.path.exists("/dev/fuse"):
        pytest.skip("there is no /dev/fuse")
    fuse = os.open("/dev/fuse", os.O_RDWR)
    try:
        if not sandbox.mount_silent(fuse, dead + "/hangs"):
            pytest.skip("fuse cannot be mounted")
        ls.until_text("has not answered", 30, name="d.1")
        box.config(f"timeout = 5s\n[tree t]\nroot = {src}\ntarget = {copy.path}\nlanes = 3\n")
        os.kill(ls.pid, signal.SIGHUP)
        box.write(src + "/after", b"1")
        proc.until(lambda: os.path.exists(copy.path + "/after"), 20, "the job runs with its new settings", on=[ls.log])
        assert ls.wait(20).returncode == 0
        assert ls.ask("verify", timeout=60).returncode == 0
        again = ls.ask("reload")
        assert again.returncode != 0 and "under way" in again.stderr, again
    finally:
        os.close(fuse)
    ls.until_logged("config.reloaded", 20)
    box.check_equal(src, copy)


SWAPPER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
a, b, c, d = (os.fsencode(x) for x in sys.argv[1:5])
while True:
    for _ in range(1000):
        libc.renameat2(-100, a, -100, b, 2)
        libc.renameat2(-100, c, -100, d, 2)
"""


@pytest.mark.limit(150)
def test_symlink_swapper_gets_nothing_from_outside(box, soak):
    """A build that opens by path after lstat sends the secret behind a directory or file that was swapped for a symlink."""
    src, server = box.dir("src"), box.rsyncd()
    secret = b"CANARY-OF-THE-OUTSIDE" * 100
    box.write(box.path("outside", "data"), secret)
    box.write(src + "/u/dir/data", b"mine" * 500)
    box.write(src + "/u/file", b"mine" * 500)
    os.symlink(box.path("outside"), src + "/u/dir.x")
    os.symlink(box.path("outside", "data"), src + "/u/file.x")
    ls = box.lockstep(src, [server])
    swapper = proc.spawn([sys.executable, "-c", SWAPPER, src + "/u/dir", src + "/u/dir.x", src + "/u/file", src + "/u/file.x"])
    try:
        end = time.monotonic() + (60 if soak else 10)
        n = 0
        while time.monotonic() < end:
            n += 1
            for name in ("dir/data", "dir.x/data", "file", "file.x"):
                try:
                    fd = os.open(f"{src}/u/{name.partition('/')[0]}", os.O_RDONLY | os.O_NOFOLLOW)
                    os.utime(fd)
                    os.close(fd)
                except OSError:
                    pass
            for d, _, files, at in os.fwalk(server.path):  # by path it would follow the links that are mirrored
                for f in files:
                    try:
                        with open(os.open(f, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at), "rb") as fh:
                            assert b"CANARY" not in fh.read(), f"{d}/{f} holds the outside's content"
                    except OSError:
                        pass
    finally:
        proc.kill_tree(swapper)
    assert n > 10
    ls.settle(30)
    box.check_equal(src, server)
    assert box.read(box.path("outside", "data")) == secret


def test_continuous_writer_is_seen_while_the_file_is_open(box):
    """A build that waits for the file to be closed never sends an open log."""
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy], sets=["longest_wait=1s"]).settle()
    with open(src + "/log", "wb", buffering=0) as f:
        f.write(b"first\n")
        proc.until(lambda: os.path.exists(copy.path + "/log") and box.read(copy.path + "/log").startswith(b"first"), 15,
                   "the open file at the target", on=[copy.path])
        stop = threading.Event()

        def go_on():
            while not stop.wait(0.001):
                f.write(b"line\n")

        writer = threading.Thread(target=go_on)
        writer.start()
        try:
            size = os.path.getsize(copy.path + "/log")
            proc.until(lambda: os.path.getsize(copy.path + "/log") > size + 1000, 20, "the log growing at the target",
                       on=[copy.path])
        finally:
            stop.set()
            writer.join()
    ls.settle()
    box.check_equal(src, copy)


def test_log_that_grows_is_shown_long_before_the_longest_wait(box):
    """A build that lets every open file wait alike shows the log a day later."""
    src, copy = box.dir("src"), box.local()
    box.write(src + "/log", b"first\n")
    ls = box.lockstep(src, [copy], sets=["longest_wait=1d"]).settle()
    with open(src + "/log", "ab", buffering=0) as f:
        for n in range(2):
            f.write(b"line %d\n" % n)
            proc.until(lambda: box.read(copy.path + "/log") == box.read(src + "/log"), 20, "the line at the target",
                       on=[copy.path])
    ls.settle()
    box.check_equal(src, copy)


def test_file_renamed_while_open_then_written_equal(box):
    """A build that looks only at CLOSE_WRITE of a name misses writes to a file that was renamed while it was open."""
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy], sets=["longest_wait=1s"]).settle()
    with open(src + "/a", "wb", buffering=0) as f:
        f.write(b"1" * 1000)
        ls.settle()
        os.rename(src + "/a", src + "/b")
        f.write(b"2" * 1000)
    ls.settle()
    box.check_equal(src, copy)


def test_rename_exchange_of_directories_and_files(box):
    """A build that knows only MOVED_FROM and MOVED_TO pairs mixes up the two trees that changed places."""
    src, copy = box.dir("src"), box.local()
    box.fill(src + "/one", 50)
    box.fill(src + "/two/deep", 30)
    box.write(src + "/file", b"f")
    ls = box.lockstep(src, [copy]).settle()
    libc = ctypes.CDLL(None)
    for a, b in (("one", "two/deep"), ("file", "one"), ("two", "one")):
        assert libc.renameat2(-100, os.fsencode(f"{src}/{a}"), -100, os.fsencode(f"{src}/{b}"), 2) == 0
    box.write(src + "/one/deep/after", b"1")
    ls.settle()
    box.check_equal(src, copy)
