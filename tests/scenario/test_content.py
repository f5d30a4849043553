"""What is sent, and how little: rewrites within a second, hard links, owners, renames, big files, attributes."""

import os
import shutil
import stat
import time

import pytest
from harness import proc, total_bytes


def inodes(root):
    return {os.path.join(d, n): os.lstat(os.path.join(d, n)).st_ino for d, _, f in os.walk(root) for n in f}


@pytest.mark.parametrize("kind", ("local", "rsyncd"))
def test_24_rewrites_of_the_same_size_within_one_second_none_lost(box, kind):
    """Every build that leaves it to rsync's quick check loses all 24: size and whole second are the same."""
    src, server = box.dir("src"), box.server(kind)
    for n in range(24):
        box.write(f"{src}/f{n:02}", b"0" * 100)
    ls = box.lockstep(src, [server]).settle()
    now = time.time_ns() // 10**9 * 10**9
    for version in (b"1", b"2"):
        for n in range(24):
            box.write(f"{src}/f{n:02}", version * 100)
            os.utime(f"{src}/f{n:02}", ns=(now, now))
        ls.settle()
    box.check_equal(src, server)


def test_in_place_write_through_one_alias_reaches_all(box):
    """A build that keeps fingerprints by name leaves the other alias old, or breaks the link at the target."""
    src, server = box.dir("src"), box.rsyncd()
    box.write(src + "/a/one", b"first" * 100)
    os.makedirs(src + "/b/c")
    os.link(src + "/a/one", src + "/b/c/two")
    os.link(src + "/a/one", src + "/three")
    ls = box.lockstep(src, [server]).settle()
    box.check_equal(src, server)
    for name, text in (("b/c/two", b"SECOND" * 90), ("three", b"third" * 300), ("a/one", b"x")):
        with open(f"{src}/{name}", "r+b") as f:
            f.truncate()
            f.write(text)
        ls.settle()
        box.check_equal(src, server)
        assert os.stat(server.path + "/a/one").st_ino == os.stat(server.path + "/b/c/two").st_ino
    os.chmod(src + "/three", 0o600)
    os.unlink(src + "/a/one")
    ls.settle()
    box.check_equal(src, server)


def test_hard_link_groups_broken_joined_and_grown(box):
    """A build that sends each name alone makes copies of what are links."""
    src, server = box.dir("src"), box.rsyncd()
    for n in range(30):
        box.write(f"{src}/d/f{n}", b"%d" % n * 500)
    ls = box.lockstep(src, [server]).settle()
    for n in range(30):
        os.makedirs(f"{src}/e{n % 3}", exist_ok=True)
        os.link(f"{src}/d/f{n}", f"{src}/e{n % 3}/g{n}")
    ls.settle()
    box.check_equal(src, server)
    for n in range(10):
        os.unlink(f"{src}/d/f{n}")
        box.write(f"{src}/d/f{n}", b"own")
    for n in range(10, 20):
        os.unlink(f"{src}/d/f{n}")
        os.link(f"{src}/d/f20", f"{src}/d/f{n}")
    ls.settle()
    box.check_equal(src, server)


@pytest.mark.root
@pytest.mark.limit(300)
def test_chown_r_of_10000_files_sends_attributes_only(box):
    """A build that sends whole files, or compares contents, for a chown rewrites the target: 100 MB and new inodes here."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 10000, size=10000, per_dir=500)
    ls = box.lockstep(src, [server]).settle(60)
    before, sent = inodes(server.path), ls.job()["bytes_out"]
    for d, subdirs, files in os.walk(src):
        for n in [*subdirs, *files]:
            os.chown(os.path.join(d, n), 1234, 4321)
    ls.settle(60)
    box.check_equal(src, server)
    assert ls.job()["bytes_out"] - sent < 5_000_000
    assert {k: v for k, v in inodes(server.path).items() if "/.lockstep/" not in k} == \
        {k: v for k, v in before.items() if "/.lockstep/" not in k}


def test_change_in_a_big_file_sends_the_change(box):
    """A build that sends whole files sends 64 MB for one byte."""
    src, server = box.dir("src"), box.rsyncd()
    box.write(src + "/big", os.urandom(64 << 20))
    ls = box.lockstep(src, [server]).settle(60)
    sent = ls.job()["bytes_out"]
    with open(src + "/big", "r+b") as f:
        f.seek(30 << 20)
        f.write(b"changed")
    ls.settle(60)
    box.check_equal(src, server)
    assert ls.job()["bytes_out"] - sent < 4 << 20


def test_attributes_of_every_kind(box):
    """A build that only reacts to contents misses them."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 100)
    os.symlink("x", src + "/link")
    os.mkfifo(src + "/fifo")
    ls = box.lockstep(src, [server]).settle()
    os.chmod(src + "/d000", 0o2711)
    os.chmod(src + "/d000/f00001", 0o4755)
    os.chmod(src, 0o751)
    os.utime(src + "/d000/f00002", ns=(1, 999_999_999))
    os.utime(src + "/d001", ns=(0, 1_234_567_890_123_456_789))
    os.utime(src + "/link", ns=(0, 1_000_000_000_000_000_007), follow_symlinks=False)
    os.utime(src + "/d000/f00003", ns=(0, 4_102_444_800_000_000_001))
    os.chmod(src + "/fifo", 0o600)
    if os.geteuid() == 0:
        os.chown(src + "/d001/f00051", 7, 8)
        os.chown(src + "/link", 7, 8, follow_symlinks=False)
        os.chown(src + "/d001", 9, 9)
    ls.settle()
    box.check_equal(src, server)


def test_sparse_file_stays_sparse(box):
    """A build that sends or writes the holes needs the whole size at the target."""
    src, copy = box.dir("src"), box.local()
    with open(src + "/sparse", "wb") as f:
        f.truncate(1 << 28)
        f.seek(1 << 27)
        f.write(b"island")
    ls = box.lockstep(src, [copy], sets=["sparse=yes"]).settle(60)
    assert os.stat(copy.path + "/sparse").st_blocks * 512 < 64 << 20
    assert os.stat(copy.path + "/sparse").st_size == 1 << 28
    assert ls.job()["failed"] == 0


def test_sockets_and_fifos_are_never_opened(box):
    """A build that opens what it finds blocks for ever on a fifo without a writer."""
    src, copy = box.dir("src"), box.local()
    for n in range(5):
        os.mkfifo(f"{src}/fifo{n}")
    box.write(src + "/f", b"1")
    ls = box.lockstep(src, [copy]).settle()
    os.unlink(src + "/f")
    os.mkfifo(src + "/f")
    box.write(src + "/g", b"1")
    ls.settle()
    assert stat.S_ISFIFO(os.lstat(copy.path + "/f").st_mode)
    box.check_equal(src, copy)


def test_excluded_is_neither_sent_nor_deleted(box):
    """A build that filters after the fact sends excluded names for a moment, or deletes them at the target."""
    src, server = box.dir("src"), box.rsyncd()
    box.write(src + "/a/x.tmp", b"1")
    box.write(src + "/a/x", b"1")
    box.write(src + "/cache/deep/y", b"1")
    box.write(server.path + "/a/theirs.tmp", b"1")
    ls = box.lockstep(src, [server], sets=["exclude=*.tmp", "exclude=/cache/"]).settle()
    os.rename(src + "/a/x", src + "/a/z.tmp")
    box.write(src + "/a/q.tmp", b"1")
    os.rename(src + "/a/q.tmp", src + "/a/q")
    ls.settle()
    assert sorted(os.listdir(server.path + "/a")) == ["q", "theirs.tmp"]
    assert not os.path.exists(server.path + "/cache")


def test_deep_tree_and_burst_of_directories(box):
    """A build that adds a watch after it lists, or lists before it watches, misses what is made at once below."""
    src, server = box.dir("src"), box.rsyncd()
    ls = box.lockstep(src, [server]).settle()
    for n in range(60):
        box.write(f"{src}/b{n % 4}/" + "/".join(f"{n}-{k}" for k in range(12)) + "/file", b"%d" % n)
    shutil.copytree(src + "/b0", src + "/b1/copy")
    ls.settle()
    box.check_equal(src, server)
