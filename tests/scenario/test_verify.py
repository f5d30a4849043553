"""`lockstep verify`: what differs at the targets is told, and only `--repair` changes anything there."""

import errno
import json
import os
import shutil
import tempfile

import pytest
from harness import snapshot
from harness.daemon import EXIT_REMAINS, EXIT_TIMEOUT

EXIT_FAILURE = 1
KINDS = ["local", "rsyncd", "ssh"]


def verify(ls, *args):
    """Exit code and {path: what} of the answer."""
    done = ls.ask("verify", "--json", "--timeout", "60s", *args, timeout=90)
    answer = json.loads(done.stdout)
    return done.returncode, {d["path"]: d["what"] for d in answer["differences"]}, answer


def equal(ls, *args):
    code, found, answer = verify(ls, *args)
    assert (code, found) == (0, {}), answer
    return answer


def behind_the_back(path, data):
    """Other content of the same size and times."""
    st = os.stat(path)
    assert st.st_size == len(data)
    with open(path, "r+b") as f:
        f.write(data)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def small_tree(box):
    src = box.dir("src")
    for name in ("top", "a/one", "a/two", "a/b/deep", "c/x"):
        box.write(os.path.join(src, name), name.encode() * 3)
    os.symlink("one", os.path.join(src, "a/link"))
    os.link(os.path.join(src, "a/one"), os.path.join(src, "c/same"))
    os.mkfifo(os.path.join(src, "c/fifo"))
    os.mkdir(os.path.join(src, "empty"))
    return src


@pytest.mark.parametrize("kind", KINDS)
def test_verify_of_an_equal_target_finds_nothing(box, kind):
    src, server = small_tree(box), box.server(kind)
    ls = box.lockstep(src, [server]).settle()
    entries = len(snapshot(src))
    # A directory is compared with its siblings, and again with what is in it.
    assert equal(ls)["compared"] >= entries
    assert equal(ls, "--checksum")["compared"] >= entries
    box.check_equal(src, server)


@pytest.mark.parametrize("kind", KINDS)
def test_verify_names_each_difference_and_changes_nothing(box, kind):
    src, server = small_tree(box), box.server(kind)
    ls = box.lockstep(src, [server]).settle()
    copy = lambda name: os.path.join(server.path, name)
    os.unlink(copy("top"))
    os.chmod(copy("a/b/deep"), 0o600)
    box.write(copy("c/x"), "longer than it was")
    os.unlink(copy("a/link"))
    os.symlink("two", copy("a/link"))
    before = snapshot(server.path)
    code, found, _ = verify(ls)
    assert code == EXIT_FAILURE
    assert found["top"] == "missing"
    assert found["a/b/deep"] == "mode"
    assert "size" in found["c/x"]
    assert "link target" in found["a/link"]
    # The directories' times moved with what was done in them.
    assert set(found) - {"a", "c", "."} == {"top", "a/b/deep", "c/x", "a/link"}
    assert snapshot(server.path) == before


@pytest.mark.parametrize("kind", KINDS)
def test_content_changed_behind_the_back_is_found_by_checksum_and_repaired(box, kind):
    src, server = small_tree(box), box.server(kind)
    ls = box.lockstep(src, [server]).settle()
    behind_the_back(os.path.join(server.path, "a/two"), b"A/TWO" * 3)
    equal(ls)
    code, found, answer = verify(ls, "--checksum")
    assert (code, found) == (EXIT_FAILURE, {"a/two": "content"}), json.dumps(answer)
    assert ls.ask("verify", "--checksum", "--repair", timeout=60).returncode == 0
    box.check_equal(src, server)
    equal(ls, "--checksum")


@pytest.mark.parametrize("kind", KINDS)
def test_extras_are_listed_and_kept(box, kind):
    src, server = small_tree(box), box.server(kind)
    ls = box.lockstep(src, [server]).settle()
    for name in ("theirs", "a/b/theirs too", "their/own/file"):
        box.write(os.path.join(server.path, name), "mine")
    code, found, _ = verify(ls)
    assert code == EXIT_FAILURE
    extras = [path for path, what in found.items() if what.startswith("extra")]
    assert extras == ["a/b/theirs too", "their", "their/own", "their/own/file", "theirs"]
    for name in ("theirs", "a/b/theirs too", "their/own/file"):
        assert box.read(os.path.join(server.path, name)) == b"mine"


def test_stamps_and_excluded_names_are_no_extras(box):
    src, server = small_tree(box), box.rsyncd()
    conf = box.config(f"[tree t]\nroot = {src}\nexclude = *.tmp\ntarget = {server.target}\n"
                      f"password_file = {server.password_file}\n")
    ls = box.lockstep(config=conf)
    ls.settle()
    box.write(os.path.join(server.path, ".lockstep", "note"), "x")
    for name in ("old.tmp", "a/old.tmp"):
        directory = os.path.dirname(os.path.join(server.path, name))
        st = os.stat(directory)
        box.write(os.path.join(server.path, name), "x")
        os.utime(directory, ns=(st.st_atime_ns, st.st_mtime_ns))
    equal(ls)


def test_a_target_that_refuses_delete_is_verified_without_extras(box):
    src, server = small_tree(box), box.rsyncd()
    ls = box.lockstep(src, [server]).settle()
    server.configure(refuse_options="delete")
    behind_the_back(os.path.join(server.path, "a/two"), b"A/TWO" * 3)
    code, found, answer = verify(ls, "--checksum")
    assert (code, found) == (EXIT_FAILURE, {"a/two": "content"}), json.dumps(answer)
    assert "refuses --delete" in ls.ask("verify", timeout=60).stderr


def test_what_differs_is_told_beside_what_cannot_be_read(box):
    """A build that stops at what remains hides every difference that it found."""
    src, server = small_tree(box), box.local()
    ls = box.lockstep(src, [server]).settle()
    fd = os.open(src, os.O_RDONLY)
    for c in "abcdefghijklmnopq":  # a path that is too long
        os.mkdir(c * 250, dir_fd=fd)
        fd, done = os.open(c * 250, os.O_RDONLY, dir_fd=fd), os.close(fd)
    os.close(fd)
    ls.remains(20)
    behind_the_back(os.path.join(server.path, "a/two"), b"A/TWO" * 3)
    done = ls.ask("verify", "--checksum", timeout=60)
    assert done.returncode == EXIT_FAILURE and "a/two: content" in done.stdout, done
    assert "path too long" in done.stderr, done.stderr


def test_odd_names_are_found(box):
    src, server = box.dir("src"), box.local()
    names = [b"new\nline", b"star*", b"[x]", b"back\\slash", b"-dash", b"\xff\xfe", b" blank ", b"50%"]
    for name in names:
        box.write(os.path.join(os.fsencode(src), name), b"x")
    ls = box.lockstep(src, [server]).settle()
    equal(ls)
    st = os.stat(server.path)
    for name in names:
        os.unlink(os.path.join(os.fsencode(server.path), name))
        box.write(os.path.join(os.fsencode(server.path), name + b"!"), b"x")
    os.utime(server.path, ns=(st.st_atime_ns, st.st_mtime_ns))
    _, found, answer = verify(ls)
    assert sum(what == "missing" for what in found.values()) == len(names), answer
    assert sum(what.startswith("extra") for what in found.values()) == len(names), answer


def test_many_batches_and_more_differences_than_are_listed(box):
    src, server = box.dir("src"), box.local()
    box.fill(src, 6000, per_dir=1500, size=8)
    ls = box.lockstep(src, [server]).settle(60)
    equal(ls)
    for d in ("d000", "d001"):
        shutil.rmtree(os.path.join(server.path, d))
    code, found, answer = verify(ls)
    assert code == EXIT_FAILURE
    assert len(found) == 1000
    assert answer["count"] >= 3000


def test_verify_beside_a_busy_tree_invents_nothing(box):
    src, server = box.dir("src"), box.local()
    box.fill(src, 500)
    ls = box.lockstep(src, [server]).settle()
    for n in range(8):
        for k in range(100):
            box.write(os.path.join(src, f"d{k % 10:03}", f"f{k:05}"), f"{n} {k}" * 50)
            if k % 7 == 0:
                box.write(os.path.join(src, f"d{k % 10:03}", f"new{n}"), "new")
        equal(ls)
    ls.settle()
    box.check_equal(src, server)


def test_only_the_named_job_is_verified(box):
    src, one, two = small_tree(box), box.local("one"), box.local("two")
    ls = box.lockstep(src, [one, two]).settle()
    os.unlink(os.path.join(two.path, "a/two"))
    equal(ls, "main.1")
    code, _, answer = verify(ls)
    assert code == EXIT_FAILURE
    assert {d["job"] for d in answer["differences"]} == {"main.2"}
    assert ls.ask("verify", "nobody").returncode != 0


def test_an_unreachable_target_is_no_equal_target(box):
    src, server = small_tree(box), box.rsyncd()
    ls = box.lockstep(src, [server]).settle()
    server.kill()
    done = ls.ask("verify", "--timeout", "3s", timeout=60)
    assert done.returncode in (EXIT_REMAINS, EXIT_TIMEOUT), done.stdout + done.stderr
    assert "main.1" in done.stderr


@pytest.mark.root
def test_owners_go_by_name_unless_numbers_are_asked_for(box):
    """In the module's chroot the user database knows `daemon` by another number."""
    src, jail = box.dir("src"), box.dir("jail")
    os.makedirs(os.path.join(jail, "etc"))
    os.makedirs(os.path.join(jail, "tree"))
    box.write(os.path.join(jail, "etc", "passwd"), "root:x:0:0::/:/bin/sh\ndaemon:x:4242:4343::/:/bin/sh\n")
    box.write(os.path.join(jail, "etc", "group"), "root:x:0:\ndaemon:x:4343:\n")
    box.write(os.path.join(jail, "etc", "nsswitch.conf"), "passwd: files\ngroup: files\n")
    for name, uid in (("named", 1), ("nameless", 54321), ("root", 0)):
        os.chown(box.write(os.path.join(src, name), name), uid, uid)
    server = box.rsyncd(numeric_ids="no")
    server.configure(path=jail + "/./tree")  # the later line counts
    ls = box.lockstep(src, [server]).settle()
    owner = lambda name: (os.stat(os.path.join(jail, "tree", name)).st_uid, os.stat(os.path.join(jail, "tree", name)).st_gid)
    assert owner("named") == (4242, 4343)
    assert owner("nameless") == (54321, 54321)
    assert owner("root") == (0, 0)
    equal(ls)
    ls.stop()
    ls = box.lockstep(src, [server], sets=("numeric_ids=yes", "keep=mode,owner,group,times,links,devices"))
    ls.settle()
    assert ls.ask("verify", "--repair", timeout=60).returncode == 0
    assert owner("named") == (1, 1)


@pytest.fixture
def in_memory(monkeypatch):
    """Where there is room for large attributes."""
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")


def test_verify_of_more_attributes_than_one_list_holds(in_memory, box):
    src, server = box.dir("src"), box.local()
    for n in range(16):
        name = f"{src}/f{n:02}"
        box.write(name, b"x")
        try:
            for k in range(100):
                os.setxattr(name, f"user.{k}", bytes([n]) * 65536)
        except OSError as e:
            if e.errno not in (errno.ENOTSUP, errno.ENOSPC):
                raise
            pytest.skip(f"injector missing: {e}")
    ls = box.lockstep(src, [server], sets=("xattrs=yes",)).settle(60)
    assert equal(ls)["compared"] >= 17
    os.setxattr(server.path + "/f15", "user.1", b"other")
    assert verify(ls)[1] == {"f15": "extended attributes"}
