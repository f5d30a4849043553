"""Jobs beside each other: storms, slow and dead targets, hosts that mirror each other."""

import os
import threading
import time

import pytest
from harness import diff, proc, total_bytes
from harness.daemon import EXIT_TIMEOUT


def lags_ms(src, dst, count, *, tag):
    """One change after the other: milliseconds until each is seen at the target."""
    lags = []
    for n in range(count):
        name, data = f"lag-{tag}-{n}", b"%d" % n * 2000
        started = time.perf_counter()
        with open(f"{src}/{name}", "wb") as f:
            f.write(data)
        proc.until(lambda there=f"{dst}/{name}": os.path.exists(there), 20, f"{name} at the target", on=[dst])
        lags.append((time.perf_counter() - started) * 1000)
    return lags


class Bad:
    """A target in trouble, at another port than its server's: `url` names it, heal() ends the trouble."""

    def __init__(self, box, trouble):
        self.server = box.rsyncd(name="bad")
        self.line = None
        if trouble == "silent":
            port = box.blackhole().port
        elif trouble == "refusing":
            port = self.server.port
            self.server.kill()
        else:
            self.line = box.forwarder(self.server.port, rate=1024 if trouble == "slow" else 0)
            port = self.line.port
        self.url = self.server.target.replace(str(self.server.port), str(port))
        self.heals = trouble != "silent"

    def heal(self):
        if self.line:
            self.line.rate, self.line.stalled = 0, False
        else:
            self.server.start()


@pytest.mark.limit(200)
@pytest.mark.parametrize("trouble", ("silent", "refusing", "slow", "frozen"))
def test_healthy_target_takes_each_change_as_if_alone_beside_a_bad_one(box, trouble):
    """A build with one queue, one worker or one barrier for all targets goes at the pace of the slowest: here that pace is
    never. What a bad target costs in time, `bench/run.py --rows W11` measures."""
    count, data = 100, os.urandom(200_000)  # minutes for each at the pace of the slow one
    src, good, bad = box.dir("src"), box.rsyncd(name="good"), Bad(box, trouble)
    ls = box.lockstep(src, [good, bad.url])
    ls.settle(30, "main.1")
    if trouble == "frozen":
        ls.settle(30)
        bad.line.stalled = True
    before, logins = ls.job("main.1"), good.logins()
    for n in range(count):
        box.write(f"{src}/one-{n}", b"%d" % n + data)
        ls.settle(30, "main.1")
        assert box.read(f"{good.path}/one-{n}") == b"%d" % n + data
    after, waiting = ls.job("main.1"), ls.job("main.2")
    assert not [n for n in os.listdir(bad.server.path) if n.startswith("one-")]
    assert waiting["pending"] + waiting["in_flight"] >= count, waiting
    assert after["state"] == "live" and after["failed"] == 0, after
    # Nothing is done again for the other's sake: each change goes once, or twice when its time was too young to be believed.
    assert count <= after["confirmed_files"] - before["confirmed_files"] <= 2 * count
    assert good.logins() - logins <= 2 * count + 10
    assert after["bytes_out"] - before["bytes_out"] < 2.1 * count * len(data)
    if bad.heals:
        bad.heal()
        assert ls.ask("retry").returncode == 0
        ls.settle(90)
        box.check_equal(src, bad.server)


def test_storm_in_the_root_beside_deep_writes_lanes_stay_busy(box):
    """A build in which a mark on a directory blocks all below it lets the deep writes starve."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src + "/a/b/c", 200)
    ls = box.lockstep(src, [server]).settle()
    stop = threading.Event()

    def storm():
        n = 0
        while not stop.is_set():
            n += 1
            box.write(f"{src}/hot{n % 3}", b"%d" % n * 100)
            os.utime(src)

    writer = threading.Thread(target=storm)
    writer.start()
    try:
        lags = lags_ms(src + "/a/b/c/d000", server.path + "/a/b/c/d000", 50, tag="deep")
    finally:
        stop.set()
        writer.join()
    assert max(lags) < 5000, lags
    ls.settle()
    box.check_equal(src, server)


def test_two_hosts_mirroring_each_other_fall_silent(box):
    """A build that sends whatever it sees changing, or always ignores times, plays ping-pong for ever."""
    a, b = box.dir("a"), box.dir("b")
    box.fill(a, 100)
    one = box.lockstep(a, [b], name="one").settle()
    two = box.lockstep(b, [a], name="two").settle()
    one.settle()
    for n in range(20):
        box.write(f"{a}/d000/from-a-{n}", b"a" * 1000)
        box.write(f"{b}/d001/from-b-{n}", b"b" * 1000)
    os.chmod(a + "/d000/f00001", 0o600)
    os.unlink(b + "/d000/f00002")

    def counters():
        return [ls.job()["confirmed_files"] for ls in (one, two)], [ls.job()["sessions"] for ls in (one, two)]

    one.settle(20)
    two.settle(20)
    one.settle(20)
    assert not diff(a, b)
    quiet = lambda c: proc.stays(lambda: counters() == c, 3)  # noqa: E731
    assert any(quiet(counters()) for _ in range(3)), "still sending to each other"
    assert max(ls.job()["bytes_out"] for ls in (one, two)) < 4 * total_bytes(a)


def test_two_hosts_fall_silent_after_content_behind_the_same_time(box):
    """What arrives has the size and time that are believed to be at the other side, like what was rewritten and had its
    time put back: a build that cannot tell them apart sends the same content to and fro for ever."""
    a, b = box.dir("a"), box.dir("b")
    for n in range(5):
        box.write(f"{a}/f{n}", b"1" * 1000)
    os.link(a + "/f4", a + "/f5")
    one = box.lockstep(a, [b], name="one").settle()
    two = box.lockstep(b, [a], name="two").settle()
    one.settle()
    for n in range(5):
        before = os.stat(f"{a}/f{n}")
        with open(f"{a}/f{n}", "r+b") as f:
            f.write(b"2" * 1000)
        os.utime(f"{a}/f{n}", ns=(before.st_atime_ns, before.st_mtime_ns))

    def counters():
        return [(ls.job()["confirmed_files"], ls.job()["sessions"]) for ls in (one, two)]

    quiet = lambda c: proc.stays(lambda: counters() == c, 2)  # noqa: E731
    for ls in (one, two, one):
        ls.settle(20)
    assert any(quiet(counters()) for _ in range(3)), "still sending to each other"
    assert not diff(a, b)
    with open(b + "/f5", "rb") as f:
        assert f.read() == b"2" * 1000


def test_big_file_does_not_hold_back_small_ones(box):
    """A build with one lane makes a 10 KB file wait for a gigabyte before it."""
    src, server = box.dir("src"), box.rsyncd()
    line = box.forwarder(server.port, rate=0)
    url = server.target.replace(str(server.port), str(line.port))
    ls = box.lockstep(src, [url], sets=server.options).settle()
    line.rate = 2 << 20
    box.write(src + "/big", os.urandom(40 << 20))
    proc.until(lambda: any(n.startswith(".big.") for n in os.listdir(server.path)), 20, "the big file under way", on=[server.path])
    lags = lags_ms(src, server.path, 10, tag="small")
    assert not os.path.exists(server.path + "/big")
    assert max(lags) < 5000, lags
    line.rate = 0
    ls.settle(60)
    box.check_equal(src, server)


def test_many_writers_at_once(box):
    """A build that serialises by file falls behind; one that shares state without a lock breaks."""
    src, servers = box.dir("src"), [box.rsyncd(), box.local()]
    ls = box.lockstep(src, servers).settle()

    def work(k):
        for n in range(300):
            box.write(f"{src}/w{k}/s{n % 10}/f{n}", b"%d" % n * 50)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    ls.settle(20)
    for s in servers:
        box.check_equal(src, s)
