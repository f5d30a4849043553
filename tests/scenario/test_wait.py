"""The barrier: when `wait` returns 0, what was changed before it is at the targets; otherwise it says what is not."""

import json
import os
import re
import shutil
import threading

from harness import diff
from harness.daemon import EXIT_REMAINS, EXIT_TIMEOUT


def test_wait_during_the_first_crawl_returns_after_it(box):
    """A build that asks whether its queue is empty says yes before the crawl has filled it."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 5000)
    ls = box.lockstep(src, [server])
    ls.settle(60)
    box.check_equal(src, server)


def test_wait_right_after_each_of_many_changes_always_true(box):
    """A build whose barrier overtakes the kernel's queue is wrong now and then."""
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy]).settle()
    for n in range(40):
        box.write(f"{src}/d{n % 5}/f{n}", b"%d" % n)
        if n % 7 == 3:
            shutil.rmtree(f"{src}/d{(n + 2) % 5}", ignore_errors=True)
        ls.settle()
        assert not diff(src, copy.path), n


def test_wait_while_a_moved_directory_is_in_limbo(box):
    """A build that lets the second half of a move time out answers before it knows where the directory went."""
    src, copy = box.dir("src"), box.local()
    box.fill(src + "/a/deep", 200)
    ls = box.lockstep(src, [copy]).settle()
    for away, back in ((src + "/b/moved", src + "/a/again"), (box.dir("outside") + "/x", src + "/b/in")):
        os.makedirs(src + "/b", exist_ok=True)
        os.rename(src + ("/a/deep" if os.path.exists(src + "/a/deep") else "/a/again"), away)
        ls.settle()
        assert not diff(src, copy.path)
        os.rename(away, back)
        ls.settle()
        assert not diff(src, copy.path)


def test_wait_during_a_held_deletion_names_it_at_once(box):
    """A build that counts held items as pending waits for ever; one that forgets them says that all is equal."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 2000)
    ls = box.lockstep(src, [copy]).settle(30)
    for n in range(30):
        shutil.rmtree(f"{src}/d{n:03}")
    done = ls.wait(20)
    assert done.returncode == EXIT_REMAINS
    assert "held" in done.stderr and "main.1" in done.stderr
    assert re.search(r"^ +d0[0-2]\d", done.stderr, re.M) and "lockstep approve 1 main.1" in done.stderr, done.stderr
    answer = json.loads(ls.ask("wait", "--json").stdout)
    assert answer["settled"] == "stuck"
    assert sum(h["count"] for h in answer["jobs"][0]["holds"]) == ls.job()["held"] > 0


def test_wait_with_a_failed_item_names_it_and_why(box):
    """A build that says only how many are left sends everybody to the log."""
    src, copy = box.dir("src"), box.local()
    box.write(copy.path + "/f/in-the-way", b"foreign")
    ls = box.lockstep(src, [copy])
    box.write(src + "/f", b"1")
    box.write(src + "/g", b"1")
    done = ls.wait(20)
    assert done.returncode == EXIT_REMAINS
    # Of the receiver's halves the one or the other stumbles over it first.
    assert re.search("failed: f: (could not make way|.*is a directory)", done.stderr) and "(target)" in done.stderr, done.stderr
    assert box.read(copy.path + "/g") == b"1"


def test_wait_with_a_dead_target_times_out_and_of_the_others_is_true(box):
    """A build with one barrier for all targets hangs on the dead one."""
    src, copy, server = box.dir("src"), box.local(), box.rsyncd()
    ls = box.lockstep(src, [copy, server]).settle()
    server.kill()
    box.write(src + "/f", b"1")
    done = ls.wait(1)
    assert done.returncode == EXIT_TIMEOUT and "main.2: retrying" in done.stderr and "waiting: " in done.stderr, done.stderr
    ls.settle(10, "main.1")
    assert box.read(copy.path + "/f") == b"1"


def test_wait_of_a_paused_job_names_it_resume_goes_on(box):
    """A build that drops changes while paused fails here."""
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy]).settle()
    assert ls.ask("pause", "main.1").returncode == 0
    box.fill(src, 100)
    done = ls.wait(10)
    assert done.returncode == EXIT_REMAINS and "main.1" in done.stderr
    assert "lockstep resume main.1" in done.stderr and "waiting: " in done.stderr, done.stderr
    assert not os.path.exists(copy.path + "/d000")
    assert ls.job()["state"] == "paused"
    assert ls.ask("resume", "main.1").returncode == 0
    ls.settle()
    box.check_equal(src, copy)


def test_wait_while_a_storm_goes_on_still_returns(box):
    """A build that waits until nothing at all is pending never returns while somebody writes."""
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy]).settle()
    stop = threading.Event()

    def storm():
        n = 0
        while not stop.is_set():
            n += 1
            box.write(f"{src}/storm{n % 50}", b"%d" % n)

    writer = threading.Thread(target=storm)
    writer.start()
    try:
        for n in range(5):
            box.write(f"{src}/mine{n}", b"%d" % n)
            ls.settle(20)
            assert box.read(f"{copy.path}/mine{n}") == b"%d" % n
    finally:
        stop.set()
        writer.join()
    ls.settle()
    box.check_equal(src, copy)


def test_several_waits_at_once(box):
    """A build with one barrier at a time loses or mixes up waiters."""
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy]).settle()
    codes = []
    box.fill(src, 500)
    threads = [threading.Thread(target=lambda: codes.append(ls.wait(20).returncode)) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert codes == [0] * 6
    assert not diff(src, copy.path)
