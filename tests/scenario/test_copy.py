"""What was copied is built at the target from what it has; whatever is wrong about that, both sides end equal."""

import os
import random
import shutil

import pytest
from harness.servers import KINDS
from harness.tree import oracle, remove_words

MB = 1 << 20
OTHERS = ("rsyncd", "unconfined", "ssh")  # to a local target there is nothing to save


def serve(box, kind):
    return box.rsyncd(use_chroot="no") if kind == "unconfined" else box.server(kind)


def begin(box, kind, size=20 * MB, name="sub/big", sets=()):
    """A source with one large file, confirmed, and looked at again since."""
    src, server = box.dir("src"), serve(box, kind)
    box.write(f"{src}/{name}", os.urandom(size))
    ls = box.lockstep(src, [server], sets=sets).settle(60)
    return src, server, ls


def sent(ls, what):
    before = ls.job()["bytes_out"]
    what()
    ls.settle(60)
    return ls.job()["bytes_out"] - before


def change(path, offset, data):
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


def tamper(server, name, data):
    """Behind our back, with all that a look there would show put back."""
    st = os.stat(f"{server.path}/{name}")
    change(f"{server.path}/{name}", 5 * MB, data)
    os.utime(f"{server.path}/{name}", ns=(st.st_atime_ns, st.st_mtime_ns))


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("options", ((), ("compress=yes",), ("xattrs=yes", "acls=yes"), ("sparse=yes", "chmod=F600")))
def test_copied_file_is_not_sent(box, kind, options):
    """A build that sends what is new sends 20 MB for each copy."""
    src, server, ls = begin(box, kind, 20 * MB + 12345, sets=options)
    assert sent(ls, lambda: shutil.copy(src + "/sub/big", src + "/sub/big2")) < MB
    assert sent(ls, lambda: shutil.copy2(src + "/sub/big2", src + "/sub/[1] odd \\ name*")) < MB
    shutil.copy(src + "/sub/big", src + "/top")
    ls.settle(60)
    assert sent(ls, lambda: shutil.copy(src + "/top", src + "/top2")) < MB
    if "chmod=F600" not in options:
        assert not oracle(src, server.path, "AX")
    for name in ("sub/big2", "sub/[1] odd \\ name*", "top2"):
        assert box.read(f"{server.path}/{name}") == box.read(f"{src}/{name}")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_copies_end_equal_at_all_targets(box, kind):
    src, server, ls = begin(box, kind)
    for n in range(3):
        shutil.copy(src + "/sub/big", f"{src}/sub/copy{n}")
    change(src + "/sub/copy1", 7 * MB, b"changed")
    change(src + "/sub/copy2", 0, b"changed")
    ls.settle(60)
    box.check_equal(src, server)
    assert not oracle(src, server.path, "AX")


@pytest.mark.parametrize("kind", OTHERS)
def test_copy_that_was_changed_goes_as_its_differences(box, kind):
    src, server, ls = begin(box, kind)

    new = box.dir("beside") + "/new"
    shutil.copy(src + "/sub/big", new)
    for offset in (3 * MB + 17, 9 * MB, 20 * MB - 5):
        change(new, offset, b"other")
    assert sent(ls, lambda: os.rename(new, src + "/sub/clone")) < MB
    box.check_equal(src, server)


@pytest.mark.parametrize("kind", OTHERS)
def test_copy_survives_a_restart(box, kind):
    """What may be copied is known from the ledger, not from what was sent since the start."""
    src, server, ls = begin(box, kind)
    for _ in range(2):
        ls.stop()
        ls.start().settle(60)
    assert sent(ls, lambda: shutil.copy(src + "/sub/big", src + "/sub/big2")) < MB
    box.check_equal(src, server)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_file_of_the_same_size_is_sent(box, kind):
    src, server, ls = begin(box, kind)
    assert sent(ls, lambda: box.write(src + "/sub/other", os.urandom(20 * MB))) > 20 * MB
    box.check_equal(src, server)


@pytest.mark.parametrize("kind", OTHERS)
def test_copy_of_what_was_changed_at_the_target_arrives_whole(box, kind):
    """The digest of the whole decides; and what is found to be wrong there is put right."""
    src, server, ls = begin(box, kind)
    tamper(server, "sub/big", b"somebody else's")
    shutil.copy(src + "/sub/big", src + "/sub/big2")
    ls.settle(60)
    assert box.read(server.path + "/sub/big2") == box.read(src + "/sub/big")
    box.check_equal(src, server)


@pytest.mark.parametrize("kind, how", [*((kind, "removed") for kind in OTHERS),
                                       *(("unconfined", how) for how in ("emptied", "directory", "link"))])
def test_copy_of_what_is_not_there_any_more_arrives_whole(box, kind, how):
    """Receivers since 3.5.0 give up over a block of what they cannot open."""
    src, server, ls = begin(box, kind, 3 * MB, sets=["timeout=5s"])
    there = server.path + "/sub/big"
    os.unlink(there)
    if how == "emptied":
        box.write(there, b"")
    elif how == "directory":
        os.mkdir(there)
    elif how == "link":
        os.symlink("/etc/passwd", there)
    shutil.copy(src + "/sub/big", src + "/sub/big2")
    ls.settle(60)
    assert box.read(server.path + "/sub/big2") == box.read(src + "/sub/big")
    # And the next one, whatever became of the first.
    shutil.copy(src + "/sub/big", src + "/sub/big3")
    ls.settle(60)
    assert box.read(server.path + "/sub/big3") == box.read(src + "/sub/big")
    assert not [n for n in os.listdir(server.path + "/sub") if n.startswith(".")]
    if how == "removed":
        box.check_equal(src, server)


@pytest.mark.parametrize("kind", OTHERS)
def test_original_that_is_deleted_at_once_costs_bytes_at_most(box, kind):
    src, server, ls = begin(box, kind)
    for n in range(5):
        shutil.copy(f"{src}/sub/big", f"{src}/sub/copy{n}")
        os.unlink(f"{src}/sub/big")
        os.rename(f"{src}/sub/copy{n}", f"{src}/sub/big")
        shutil.copy(f"{src}/sub/big", f"{src}/sub/kept{n}")
    shutil.copy(f"{src}/sub/big", f"{src}/last")
    shutil.rmtree(f"{src}/sub")
    ls.settle(60)
    box.check_equal(src, server)


def test_original_that_is_deleted_while_its_copy_is_under_way_goes_afterwards(box):
    """The line is slow in both directions, so the deletion is ready long before the copy is done."""
    src, server = box.dir("src"), box.rsyncd()
    box.write(src + "/sub/big", os.urandom(20 * MB))
    line = box.forwarder(server.port)
    ls = box.lockstep(src, [server.target.replace(str(server.port), str(line.port))],
                      sets=server.options).settle(60)
    line.stalled = True
    shutil.copy(src + "/sub/big", src + "/sub/big2")
    ls.until_job(lambda j: j["in_flight"] > 0 or j["pending"] > 0, 20)
    os.unlink(src + "/sub/big")
    line.stalled = False
    ls.settle(60)
    box.check_equal(src, server)


@pytest.mark.parametrize("refusal", ({"refuse_options": "copy-dest"}, {"exclude": ".*"}))
@pytest.mark.parametrize("chroot", ("yes", "no"))
def test_module_that_refuses_gets_copies_whole_and_it_is_told(box, refusal, chroot):
    """Without a chroot a module that excludes what begins with a dot rejects the option for the sake of its "."."""
    src, server = box.dir("src"), box.rsyncd(use_chroot=chroot, **refusal)
    box.write(src + "/sub/big", os.urandom(3 * MB))
    ls = box.lockstep(src, [server], sets=["stamp=no"]).settle(60)
    for n in range(3):
        shutil.copy(src + "/sub/big", f"{src}/sub/copy{n}")
        ls.settle(60)
    change(src + "/sub/big", 17, b"content class")
    ls.settle(60)
    box.check_equal(src, server)
    job = ls.job()
    assert job["trouble"] is None
    if "refuse_options" in refusal or chroot == "no":
        assert "copies are sent" in job["note"]


def test_copies_are_sent_where_it_is_configured_so(box):
    src, server, ls = begin(box, "rsyncd", sets=["copies=no"])
    assert sent(ls, lambda: shutil.copy(src + "/sub/big", src + "/sub/big2")) > 20 * MB
    box.check_equal(src, server)


def test_many_copies_in_one_burst(box):
    src, server, ls = begin(box, "rsyncd", 2 * MB)
    assert sent(ls, lambda: [shutil.copy(src + "/sub/big", f"{src}/sub/copy{n}") for n in range(100)]) < 20 * MB
    box.check_equal(src, server)


@pytest.mark.parametrize("kind, sets", (("rsyncd", ("renames=no",)), ("unconfined", ()), ("ssh", ("compress=yes",))))
def test_random_copies_changes_and_kills_end_equal(box, kind, sets):
    """Few contents and few sizes: what is new is nearly always as large as something that is pending, gone or changed."""
    seed = 17
    print("seed", seed)
    rng = random.Random(seed)
    src, server = box.dir("src"), serve(box, kind)
    contents = [rng.randbytes(MB + 3 * n) for n in range(3)]
    names = [f"{src}/{d}/{n}" for d in "ab" for n in range(6)]
    for d in "ab":
        os.mkdir(f"{src}/{d}")
    box.write(src + "/stays", b"stays")
    ls = box.lockstep(src, [server], sets=["timeout=5s", "brake=no", *sets]).settle(60)
    for step in range(240):
        one, other = rng.sample(names, 2)
        what = rng.randrange(8) if os.path.exists(one) else 8
        if what < 3:
            (shutil.copy, shutil.copy2)[what % 2](one, other)
        elif what == 3:
            change(one, rng.randrange(MB), b"%d" % step)
        elif what == 4:
            os.rename(one, other)
        elif what == 5:
            os.unlink(one)
        elif what == 6:
            shutil.copy(one, other)
            os.unlink(one)
        else:
            box.write(one, rng.choice(contents))
        if step % 80 == 50:
            ls.restart()
        elif step % 80 == 75 and kind != "ssh":
            server.restart()
        elif rng.randrange(4) == 0:
            ls.settle(60)
    ls.settle(60)
    remove_words(src, server.path)
    box.check_equal(src, server)
    assert not oracle(src, server.path, "AX")
