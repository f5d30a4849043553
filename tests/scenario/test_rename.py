"""What is renamed is linked at the target, and not sent again; whatever happens around it, both sides end equal."""

import ctypes
import os
import re
import shutil

import pytest
from harness import proc
from harness.servers import KINDS
from harness.tree import oracle

MB = 1 << 20


def fill(src, name, count=1000, size=2000):
    for n in range(count):
        d = f"{src}/{name}/d{n // 100}"
        os.makedirs(d, exist_ok=True)
        with open(f"{d}/f{n}", "wb") as f:
            f.write(b"%08d" % n * (size // 8))


def begin(box, server, count):
    src = box.dir("src")
    fill(src, "old", count)
    return src, box.lockstep(src, [server]).settle(60)


def write(path, content):
    with open(path, "wb") as f:
        f.write(content)


def fill_all_kinds(src, name, count=2000):
    """Directories, with and without files, links and files of two names."""
    for n in range(count):
        d = f"{src}/{name}/x{n}"
        os.makedirs(d)
        if n % 4 == 1:
            write(d + "/f", b"%d" % n)
        elif n % 4 == 2:
            os.symlink("f", d + "/s")
        elif n % 4 == 3:
            write(d + "/a", b"%d" % n)
            os.link(d + "/a", d + "/b")


def inodes(root):
    return {os.path.relpath(os.path.join(d, f), root): os.stat(os.path.join(d, f)).st_ino for d, _, fs in os.walk(root) for f in fs}


def sent(ls, what):
    before = ls.job()["bytes_out"]
    what()
    ls.settle(60)
    return ls.job()["bytes_out"] - before


def exchange(a, b):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, a.encode(), -100, b.encode(), 2) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_renamed_directory_keeps_its_files_at_the_target(box, kind):
    """A build that deletes and creates sends all of it again, and with it every file gets another inode."""
    src, server = box.dir("src"), box.server(kind)
    fill(src, "old")
    ls = box.lockstep(src, [server]).settle(60)
    before = inodes(server.path + "/old")
    assert sent(ls, lambda: os.rename(src + "/old", src + "/new")) < MB
    assert inodes(server.path + "/new") == before
    assert not os.path.exists(server.path + "/old")
    box.check_equal(src, server)
    os.makedirs(src + "/far/away")
    assert sent(ls, lambda: os.rename(src + "/new", src + "/far/away/again")) < MB
    assert inodes(server.path + "/far/away/again") == before
    box.check_equal(src, server)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_rsync_finds_nothing_to_do_after_renames(box, kind):
    """Content, times, owners, links: what the program itself compares, byte by byte."""
    src, server = box.dir("src"), box.server(kind)
    fill(src, "old")
    fill_all_kinds(src, "kinds", 300)
    box.write(src + "/big", os.urandom(MB) * 3)
    box.write(src + "/small", b"small")
    os.chown(src + "/old/d3/f300", 1000, 1000)
    os.chmod(src + "/old/d4", 0o2750)
    ls = box.lockstep(src, [server]).settle(60)
    for turn in range(3):
        os.rename(src + "/old", src + "/new")
        os.rename(src + "/kinds", src + f"/new/kinds{turn}")
        os.rename(src + "/big", src + "/new/d1/big")
        os.rename(src + "/small", src + f"/small{turn}")
        ls.settle(60)
        assert not oracle(src, server.path, "AX")
        os.rename(src + "/new", src + "/old")
        os.rename(src + f"/old/kinds{turn}", src + "/kinds")
        os.rename(src + "/old/d1/big", src + "/big")
        os.rename(src + f"/small{turn}", src + "/small")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_renamed_large_file_is_not_sent_again(box, kind):
    src, server = box.dir("src"), box.server(kind)
    box.write(f"{src}/a/old", os.urandom(MB) * 100)
    os.mkdir(src + "/b")
    ls = box.lockstep(src, [server]).settle(60)
    assert sent(ls, lambda: os.rename(src + "/a/old", src + "/a/new")) < MB
    box.check_equal(src, server)
    assert sent(ls, lambda: os.rename(src + "/a/new", src + "/b/new")) < MB
    box.check_equal(src, server)


def test_file_written_with_its_time_put_back_and_renamed_arrives_as_it_is(box):
    """A build that goes by size, time and inode links the old content."""
    src, server = box.dir("src"), box.rsyncd()
    for n in range(20):
        box.write(f"{src}/d/f{n}", b"a" * 5000)
        box.write(f"{src}/big{n}", b"a" * (2 * MB))
    ls = box.lockstep(src, [server]).settle(60)
    for n in range(20):
        for name, to in ((f"d/f{n}", f"d/g{n}"), (f"big{n}", f"moved{n}")):
            st = os.stat(f"{src}/{name}")
            with open(f"{src}/{name}", "r+b") as f:
                f.write(b"b" * 1000)
            os.utime(f"{src}/{name}", ns=(st.st_atime_ns, st.st_mtime_ns))
            os.rename(f"{src}/{name}", f"{src}/{to}")
    os.rename(src + "/d", src + "/e")
    ls.settle(60)
    box.check_equal(src, server)


def test_file_written_in_a_directory_that_is_renamed_at_once_arrives_as_it_is(box):
    server = box.local()
    src, ls = begin(box, server, 200)
    for turn in range(5):
        was, now = (f"{src}/old", f"{src}/new") if turn % 2 == 0 else (f"{src}/new", f"{src}/old")
        for n in range(0, 200, 7):
            path = f"{was}/d{n // 100}/f{n}"
            st = os.stat(path)
            box.write(path, b"%07d%d" % (n, turn) * (2000 // 8))
            os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
        os.rename(was, now)
        for n in range(0, 200, 11):
            box.write(f"{now}/d{n // 100}/f{n}", b"after %d" % turn)
        if turn % 2:
            ls.settle(60)
            box.check_equal(src, server)
    ls.settle(60)
    box.check_equal(src, server)


def test_chains_exchanges_and_returns_end_equal(box):
    src, server = box.dir("src"), box.rsyncd()
    for name in "abcdef":
        fill(src, name, 50)
        box.write(f"{src}/{name}.big", os.urandom(2 * MB))
    ls = box.lockstep(src, [server]).settle(60)
    for turn in range(6):
        os.rename(src + "/a", src + "/x")
        os.rename(src + "/x", src + "/y")
        os.rename(src + "/y", src + "/a" if turn % 3 == 0 else src + "/z")
        exchange(src + "/b", src + "/c")
        exchange(src + "/b.big", src + "/c.big")
        os.rename(src + "/d", src + "/e/d")
        os.rename(src + "/d.big", src + "/e.big")  # onto another
        if turn % 2:
            ls.settle(60)
            box.check_equal(src, server)
        os.rename(src + "/e/d", src + "/d")
        os.rename(src + "/e.big", src + "/d.big")
        box.write(src + "/e.big", os.urandom(2 * MB))
        if turn % 3:
            os.rename(src + "/z", src + "/a")
    ls.settle(60)
    box.check_equal(src, server)


def test_what_takes_the_former_place_at_once_does_not_change_what_has_left(box):
    """The two are links of one inode at the target until one of them goes: attributes of the one must not reach the other."""
    server = box.rsyncd()
    src, ls = begin(box, server, 300)
    for turn in range(4):
        os.rename(src + "/old", src + f"/away{turn}")
        fill(src, "old", 300)  # other files, the same names and sizes
        for n in range(0, 300, 3):
            st = os.stat(f"{src}/away{turn}/d{n // 100}/f{n}")
            os.utime(f"{src}/old/d{n // 100}/f{n}", ns=(st.st_atime_ns, st.st_mtime_ns))
            os.chmod(f"{src}/old/d{n // 100}/f{n}", 0o600)
    ls.settle(60)
    box.check_equal(src, server)


def test_target_that_lost_the_former_name_gets_the_content(box):
    server = box.local()
    src, ls = begin(box, server, 100)
    for n in range(0, 100, 2):
        os.unlink(f"{server.path}/old/d0/f{n}")
    os.rename(src + "/old", src + "/new")
    ls.settle(60)
    box.check_equal(src, server)


@pytest.mark.parametrize("watched", (True, False))
def test_renaming_most_of_the_tree_is_no_mass_deletion(box, watched):
    """Old names are told after what they have become: a build whose brake takes both for entries that stand holds them."""
    src, server = box.dir("src"), box.rsyncd()
    fill_all_kinds(src, "old")
    box.fill(src + "/old", 3000)
    ls = box.lockstep(src, [server]).settle(60)
    if not watched:
        ls.stop()
    os.rename(src + "/old", src + "/new")
    if not watched:
        ls.start()
    ls.settle(120)
    box.check_equal(src, server)
    assert ls.job()["held"] == 0


def test_mass_deletion_beside_a_rename_is_held(box):
    """A build whose brake takes the names that stand twice for new ones lets as many others go."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src + "/old", 3000)
    box.fill(src + "/gone", 2000)
    ls = box.lockstep(src, [server]).settle(60)
    os.rename(src + "/old", src + "/new")
    shutil.rmtree(src + "/gone")
    ls.remains(120)
    assert ls.job()["held"] > 0
    assert len(inodes(server.path)) >= 3000 + 1000
    for number in re.findall(r"lockstep approve (\d+)", ls.ask("held").stdout):
        assert ls.ask("approve", number).returncode == 0
    ls.settle(60)
    box.check_equal(src, server)


def test_job_without_links_or_deletions_sends_as_ever(box):
    src, plain, kept = box.dir("src"), box.local("plain"), box.local("kept")
    fill(src, "old", 100)
    text = (f"[tree t]\nroot = {src}\n[target plain]\ntree = t\ntarget = {plain.path}\nkeep = mode times\n"
            f"[target kept]\ntree = t\ntarget = {kept.path}\ndelete = no\n")
    ls = box.lockstep(config=box.config(text)).settle(60)
    os.rename(src + "/old", src + "/new")
    ls.settle(60)
    assert not os.path.exists(plain.path + "/old")
    assert len(inodes(plain.path + "/new")) == 100
    both = [*inodes(kept.path + "/old").values(), *inodes(kept.path + "/new").values()]
    assert len(both) == 200 == len(set(both)), "a name that is kept has an inode of its own"


def test_kill_amid_renames_ends_equal(box):
    src, server = box.dir("src"), box.rsyncd()
    fill(src, "old", 600)
    box.write(src + "/big", os.urandom(MB) * 20)
    # What was under way is sent again when its server is certain to be gone: twice this timeout.
    ls = box.lockstep(src, [server], sets=["timeout=5s"]).settle(60)
    for turn in range(3):
        os.rename(src + "/old", src + "/new")
        os.rename(src + "/big", src + "/large")
        proc.until(lambda: os.path.exists(server.path + "/new"), 20, "the new name at the target", on=[server.path])
        ls.kill()
        os.rename(src + "/new", src + "/old")
        os.rename(src + "/large", src + "/big")
        ls.start()
        if turn == 1:
            server.kill()
            server.start()
    ls.settle(120)
    box.check_equal(src, server)


def test_rename_while_nobody_watches_ends_equal(box):
    src, server = box.dir("src"), box.rsyncd()
    fill(src, "old", 300)
    box.write(src + "/big", os.urandom(2 * MB))
    ls = box.lockstep(src, [server]).settle(60)
    ls.stop()
    os.rename(src + "/old", src + "/new")
    os.rename(src + "/big", src + "/large")
    ls.start()
    ls.settle(120)
    box.check_equal(src, server)
