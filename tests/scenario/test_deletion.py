"""Deletions: explicit, guarded, braked; directories with foreign or excluded content; changes of type."""

import os
import re
import shutil

import pytest
from harness import diff, proc
from harness.daemon import EXIT_REMAINS

KINDS = ("local", "rsyncd")


def held_id(ls):
    done = ls.ask("held")
    assert done.returncode == 0, done.stderr
    found = re.search(r"lockstep approve (\d+)", done.stdout)
    assert found, done.stdout
    return found.group(1)


@pytest.mark.parametrize("kind", KINDS)
def test_excluded_file_inside_a_removed_directory_goes_with_it_or_stays_foreign(box, kind):
    """A build that deletes by `--delete` and excludes at once keeps an empty directory for ever, or deletes what it never
    put there."""
    src, server = box.dir("src"), box.server(kind)
    for d in ("plain", "foreign"):
        box.write(f"{src}/{d}/sub/file", b"1")
        box.write(f"{src}/{d}/sub/work.tmp", b"excluded")
    box.write(src + "/stays", b"1")
    ls = box.lockstep(src, [server], sets=["exclude=*.tmp"]).settle()
    assert not os.path.exists(server.path + "/plain/sub/work.tmp")
    box.write(server.path + "/foreign/sub/theirs.tmp", b"foreign")
    shutil.rmtree(src + "/plain")
    shutil.rmtree(src + "/foreign")
    ls.settle()
    assert not os.path.exists(server.path + "/plain")
    assert box.read(server.path + "/foreign/sub/theirs.tmp") == b"foreign"
    assert not os.path.exists(server.path + "/foreign/sub/file")
    assert ls.job()["kept"] >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_excluded_file_inside_a_renamed_directory(box, kind):
    """A build that renames at the target carries foreign files along; one that deletes the old name loses them."""
    src, server = box.dir("src"), box.server(kind)
    box.write(src + "/old/file", b"1" * 5000)
    box.write(src + "/old/work.tmp", b"excluded")
    ls = box.lockstep(src, [server], sets=["exclude=*.tmp"]).settle()
    box.write(server.path + "/old/theirs.tmp", b"foreign")
    os.rename(src + "/old", src + "/new")
    ls.settle()
    assert box.read(server.path + "/new/file") == b"1" * 5000
    assert os.listdir(server.path + "/new") == ["file"]
    assert os.listdir(server.path + "/old") == ["theirs.tmp"]


@pytest.mark.limit(180)
@pytest.mark.parametrize("kind", KINDS)
def test_excluded_file_inside_a_type_changed_directory_is_held_until_it_goes(box, kind):
    """A build that uses `--force` destroys the foreign file; one that fails retries hot, or for ever in silence."""
    src, server = box.dir("src"), box.server(kind)
    box.write(src + "/thing/file", b"1")
    ls = box.lockstep(src, [server], sets=["exclude=*.tmp"]).settle()
    box.write(server.path + "/thing/theirs.tmp", b"foreign")
    shutil.rmtree(src + "/thing")
    box.write(src + "/thing", b"now a file")
    box.write(src + "/other", b"goes on")
    assert "thing" in ls.remains(15)
    assert box.read(server.path + "/thing/theirs.tmp") == b"foreign"
    assert box.read(server.path + "/other") == b"goes on"
    os.unlink(server.path + "/thing/theirs.tmp")
    proc.until(lambda: os.path.isfile(server.path + "/thing"), 90, "the new type at the target", on=[server.path])
    ls.settle(20)
    box.check_equal(src, server)


@pytest.mark.parametrize("kind", KINDS)
def test_directory_to_symlink_and_back_with_children(box, kind):
    """A build that follows the link deletes or overwrites the children of the link's target."""
    src, server = box.dir("src"), box.server(kind)
    box.fill(src + "/a", 30)
    box.fill(src + "/b", 30)
    ls = box.lockstep(src, [server]).settle()
    shutil.rmtree(src + "/a")
    os.symlink("b", src + "/a")
    ls.settle()
    box.check_equal(src, server)
    os.unlink(src + "/a")
    box.fill(src + "/a", 20)
    shutil.rmtree(src + "/b")
    os.symlink("a", src + "/b")
    ls.settle()
    box.check_equal(src, server)


def test_mass_deletion_held_creations_flow_approve_lets_go(box):
    """A build without a brake empties the target; one that stops everything holds up the rest. Up to 1,000 may be gone
    before it is a mass."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 2000)
    ls = box.lockstep(src, [server]).settle(30)
    for n in range(30):
        shutil.rmtree(f"{src}/d{n:03}")
    box.write(src + "/created", b"1")
    done = ls.wait(20)
    assert done.returncode == EXIT_REMAINS and done.stderr
    assert os.path.exists(server.path + "/created")
    assert sum(len(f) for _, _, f in os.walk(server.path)) >= 1000
    assert ls.job()["held"] > 0
    ask = ls.ask("approve", held_id(ls))
    assert ask.returncode == 0, ask.stderr
    ls.settle(30)
    box.check_equal(src, server)
    assert ls.job()["held"] == 0


def test_approve_without_a_job_lets_no_set_go_that_has_its_number_in_another(box):
    """A build that numbers sets within a job, and takes a bare number for all of them, deletes what nobody has looked at."""
    src, one, two = box.dir("src"), box.local("one"), box.local("two")
    box.fill(src, 10)
    ls = box.lockstep(src, [one, two], sets=["brake_files=1", "brake_percent=1"]).settle()
    ls.ask("pause")
    for n in range(5):
        os.unlink(f"{src}/d000/f{n:05}")
    ls.remains(20)
    ls.ask("resume")
    ls.remains(20)
    done = ls.ask("approve", "1")
    assert done.returncode == 1 and "main.1" in done.stderr and "main.2" in done.stderr and "lockstep approve 1 JOB" in done.stderr, done
    assert ls.job("main.1")["held"] > 0 and ls.job("main.2")["held"] > 0
    assert ls.ask("approve", "1", "main.1").returncode == 0
    ls.settle(10, "main.1")
    assert ls.job("main.2")["held"] > 0
    assert ls.ask("approve", "1").returncode == 0, "only one is left under that number"
    ls.settle()
    for t in (one, two):
        box.check_equal(src, t)


def test_mass_deletion_undone_leaves_the_held_set_by_itself(box):
    """A build that keeps the list of deletions deletes, once approved, what has reappeared."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 2000)
    ls = box.lockstep(src, [server]).settle(30)
    for n in range(30):
        os.rename(f"{src}/d{n:03}", box.dir("away") + f"/d{n:03}")
    assert ls.wait(20).returncode == EXIT_REMAINS
    for n in range(30):
        os.rename(box.path("away", f"d{n:03}"), f"{src}/d{n:03}")
    ls.settle(30)
    assert ls.job()["held"] == 0
    box.check_equal(src, server)


def test_approve_covers_exactly_the_set_that_was_shown(box):
    """A build whose approval opens the door for good deletes the next mass, too."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 4000)
    ls = box.lockstep(src, [server]).settle(40)
    for n in range(30):
        shutil.rmtree(f"{src}/d{n:03}")
    assert ls.wait(20).returncode == EXIT_REMAINS
    first = held_id(ls)
    for n in range(40, 75):
        shutil.rmtree(f"{src}/d{n:03}")
    ls.wait(10)
    ls.ask("approve", first)
    assert ls.wait(20).returncode == EXIT_REMAINS
    assert not os.path.exists(server.path + "/d000")
    assert os.path.exists(server.path + "/d050")


def test_rm_rf_below_the_brake_passes_at_once(box):
    """A build whose brake counts too much stops ordinary work."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 900)
    ls = box.lockstep(src, [server]).settle(20)
    shutil.rmtree(src + "/d000")
    for n in range(1, 18):
        shutil.rmtree(f"{src}/d{n:03}")
    box.write(src + "/left", b"1")
    ls.settle(20)
    box.check_equal(src, server)


def test_moving_most_of_the_tree_is_no_mass_deletion(box):
    """A build that counts the old names of a rename as losses holds a harmless `mv`."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src + "/old", 3000)
    ls = box.lockstep(src, [server]).settle(40)
    os.rename(src + "/old", src + "/new")
    ls.settle(40)
    box.check_equal(src, server)


def test_delete_no_keeps_everything(box):
    """A build that deletes in spite of `delete = no` fails here."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 20)
    ls = box.lockstep(src, [copy], sets=["delete=no"]).settle()
    shutil.rmtree(src + "/d000")
    box.write(src + "/x", b"1")
    ls.settle()
    assert os.path.exists(copy.path + "/d000/f00000") and os.path.exists(copy.path + "/x")


def test_odd_names_are_deleted_and_only_they(box):
    """A build that writes names into rules without quoting deletes what `*` or `[` match, or nothing."""
    src, server = box.dir("src"), box.rsyncd()
    odd = [b"*", b"a*", b"[ab]", b"?", b"\\*", b"a\\", b"-rf", b"line\nbreak", b"\xff", b"P *", b"R a", b"#x", b" ", b"a**b"]
    plain = [b"a", b"b", b"ab", b"axb", b"rf", b"line", b"x"]
    root = os.fsencode(src)
    for d in (b"", b"/[dir]*"):
        os.makedirs(root + d, exist_ok=True)
        for n in odd + plain:
            with open(root + d + b"/" + n, "wb") as f:
                f.write(n)
    ls = box.lockstep(src, [server]).settle()
    assert not diff(src, server.path)
    for n in odd:
        os.unlink(root + b"/" + n)
        ls.settle()
        box.check_equal(src, server)
    for n in odd:
        os.unlink(root + b"/[dir]*/" + n)
    ls.settle()
    box.check_equal(src, server)


def test_name_too_long_for_a_rule_stops_no_other_deletion(box):
    """A build that refuses the whole list for one name takes it again for ever."""
    src, server = box.dir("src"), box.rsyncd()
    long = "/".join(["[" * 250] * 10)
    os.makedirs(os.path.join(src, os.path.dirname(long)))
    for n in (long, "victim", "kept", "stays"):
        box.write(os.path.join(src, n), n.encode())
    ls = box.lockstep(src, [server]).settle()
    shutil.rmtree(os.path.join(src, "[" * 250))
    os.unlink(src + "/victim")
    assert "too long" in ls.remains()
    left = set(os.listdir(server.path)) - {".lockstep"}
    assert left == {"[" * 250, "kept", "stays"}
    os.unlink(src + "/kept")
    ls.remains()
    left = set(os.listdir(server.path)) - {".lockstep"}
    assert left == {"[" * 250, "stays"}
