"""Churn on every kind of target: equal within 10 s of the last operation, exactly; also under kill -9 of every process."""

import os
import random
import shutil
import signal

import churn
import pytest
from harness import diff, proc, total_bytes
from harness.tree import remove_words

OPS = 2000
KINDS = ("local", "rsyncd", "ssh")


def churned(src, seed, **how):
    try:
        return churn.Churn(src, seed).run(OPS, **how)
    except OSError as e:
        raise AssertionError(f"churn with seed {seed} itself failed: {e}") from e


@pytest.mark.limit(600)
@pytest.mark.parametrize("kind", KINDS)
def test_churn_20_seeds_equal_within_10_s(box, kind, soak):
    """A build that replays events, compares whole seconds, or sends files one by one without their links fails here."""
    src, server = box.dir("src"), box.server(kind)
    ls = box.lockstep(src, [server], sets=["brake=no"])
    for seed in range(100, 500 if soak else 120):
        print(f"seed {seed}")
        churned(src, seed)
        ls.settle(10)
        box.check_equal(src, server)
    assert ls.job()["failed"] == 0 and ls.job()["held"] == 0


@pytest.mark.limit(600)
def test_churn_three_targets_at_once_all_equal(box, soak):
    """A build that takes a mark away when the first target has confirmed it fails here; so does one that tells what a look
    found only to the target that asked for it."""
    src, servers = box.dir("src"), [box.server(kind) for kind in KINDS]
    ls = box.lockstep(src, servers, sets=["brake=no"])
    for seed in range(200, 300 if soak else 205):
        print(f"seed {seed}")
        churned(src, seed)
        ls.settle(30)
        for server in servers:
            box.check_equal(src, server)


@pytest.mark.parametrize("kind", KINDS)
def test_churn_begun_before_the_first_sync_ended_equal(box, kind):
    """A build that watches only after its first sync, or syncs without watching, loses what changes meanwhile."""
    src, server = box.dir("src"), box.server(kind)
    box.fill(src + "/old", 3000)
    churned(src, 1)
    ls = box.lockstep(src, [server], sets=["brake=no"])
    churned(src, 2)
    ls.settle(20)
    box.check_equal(src, server)


def victims_of(ls, server, victim):
    """What to kill: the process ids of all workers, or of what serves the sessions."""
    if victim == "worker":
        return ls.workers()
    if server.kind == "rsyncd":
        return server.connections()
    if server.kind == "ssh":
        return [p for p in proc.descendants(server.proc.pid) if b"--server" in proc.cmdline(p)] + ls.receivers()
    return ls.receivers()


@pytest.mark.limit(600)
@pytest.mark.parametrize("victim", ("daemon", "worker", "receiver"))
@pytest.mark.parametrize("kind", KINDS)
def test_churn_under_kill_9_equal(box, kind, victim, soak):
    """A build that forgets a mark when it is sent rather than when it is confirmed fails here; so does one that keeps the
    marks in memory only, and one that trusts what a killed session may have written."""
    src, server = box.dir("src"), box.server(kind)
    ls = box.lockstep(src, [server], sets=["timeout=5s", "brake=no"])
    for seed in range(300, 320 if soak else 301):
        print(f"seed {seed}")
        rng = random.Random(seed)
        kills = 0
        with churn.Meanwhile(src, seed, OPS, rate=1500) as work:
            while not work.done.wait(rng.uniform(0.1, 0.7)):
                if victim == "daemon":
                    ls.kill()
                    ls.end()
                    ls.start()
                else:
                    proc.send(rng.sample(v, 1) if (v := victims_of(ls, server, victim)) else [], signal.SIGKILL)
                kills += 1
        assert kills >= 1
        ls.settle(40)
        remove_words(src, server.path)
        box.check_equal(src, server)
    assert ls.job()["failed"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_restart_after_kill_9_sends_at_most_a_twentieth(box, kind):
    """A build without a ledger sends, or at least compares by checksum, the whole tree after each start."""
    src, server = box.dir("src"), box.server(kind)
    box.fill(src, 1000, size=10000)
    ls = box.lockstep(src, [server], sets=["timeout=5s"]).settle(30)
    ls.restart().settle(20)
    limit = total_bytes(src) // 20
    assert ls.job()["bytes_out"] <= limit
    ls.kill()
    ls.end()
    for n in range(20):
        box.write(f"{src}/d{n:03}/changed-while-down", os.urandom(1000))
    ls.start().settle(20)
    assert ls.job()["bytes_out"] <= limit
    box.check_equal(src, server)


def draw_again(path, partial):
    """Give a receiver's temporary file, which is still being written, a name that mkstemp could have drawn. One in two hundred
    that it does draw reads as a word, and is left alone by design (src/rsync/tempname.h)."""
    os.rename(f"{path}/{partial()[0]}", f"{path}/.big.rQ7vKx")


def test_kill_9_in_the_middle_of_a_batch_leaves_no_temporary_files(box):
    """A build that does not sweep what a killed receiver leaves behind fails here: `.name.XXXXXX` beside the file."""
    src, server = box.dir("src"), box.rsyncd()
    ls = box.lockstep(src, [server], sets=["timeout=5s", "brake=no", "bwlimit=10M"]).settle()
    box.write(src + "/big", os.urandom(40 << 20))

    def partial():
        return [n for n in os.listdir(server.path) if n.startswith(".big.")]

    proc.until(partial, 20, "the receiver's temporary file")
    frozen = server.freeze()
    ls.kill()
    draw_again(server.path, partial)
    proc.send(frozen, signal.SIGKILL)
    ls.end()
    assert partial() == [".big.rQ7vKx"]
    ls.start().settle(60)
    assert not partial()
    box.check_equal(src, server)


@pytest.mark.parametrize("kind", ("rsyncd", "local"))
def test_kill_9_of_a_receiver_in_a_directory_that_goes_leaves_nothing(box, kind):
    """A build that does not sweep keeps the directory for ever, for the sake of `.name.XXXXXX` in it; one that sweeps by
    the look of a name removes files of the source, or of others."""
    src, server = box.dir("src"), box.server(kind)
    box.write(src + "/dir/.small.aBcDeF", b"ours")
    box.write(src + "/stay/.big.aBcDeF", b"ours")
    ls = box.lockstep(src, [server], sets=["timeout=5s", "brake=no", "bwlimit=10M"]).settle()
    box.write(server.path + "/stay/.big.backup", b"theirs")
    for name in ("dir", "stay"):
        box.write(f"{src}/{name}/big", os.urandom(20 << 20))

        def partial(name=name):
            return [n for n in os.listdir(f"{server.path}/{name}") if n.startswith(".big.")
                    and n not in (".big.aBcDeF", ".big.backup")]

        proc.until(partial, 20, "the receiver's temporary file")
        draw_again(f"{server.path}/{name}", partial)
        proc.send(victims_of(ls, server, "receiver"), signal.SIGKILL)
    shutil.rmtree(src + "/dir")
    ls.settle(60)
    assert not os.path.exists(server.path + "/dir")
    assert sorted(os.listdir(server.path + "/stay")) == [".big.aBcDeF", ".big.backup", "big"]
    lines = diff(src, server.path)
    assert len(lines) == 1 and ".big.backup" in lines[0], lines
