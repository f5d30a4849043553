#!/usr/bin/env python3
"""Benchmark: lockstep beside lsyncd, an inotifywait loop and one `rsync -a`, in one run, against one stock rsync daemon with
a password on loopback, tmpfs to tmpfs. Prints a Markdown table.

    W1  single 10 KB files on an idle system: from close until visible at the target
    W2  files of 10 to 100 KB by 8 writers into 20 directories
    W3  50,000 files of 1 to 4 KB in 2,000 new directories
    W4  a file of 1 GiB, 1 MiB changed in its middle, and then 1 MB a second appended for 8 s before it is closed
    W5  rename of a directory of 10,000 files, 1 GB
    W6  restart on 100,000 directories and 1,000,000 files in sync, after some idle minutes
    W7  after some idle minutes; then one change in that tree
    W8  rm -rf of 50,000 files
    W9  10,000 rewrites of one file; 24 rewrites of the same size within one second
    W10 W1's files through a line of 20 ms, there and back
    W11 W1's files beside a second target: one that never answers, one at 256 kbit/s with a big file before it
    W12 10 KB files at steady rates: the highest at which 99 of 100 are there within a second

A peer's time runs from the start of the work, the limit's is that of the rsync alone. `>` marks a time limit."""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from longline import LongLine
from peers import PEERS, GaveUp, anonymous_mb, cpu_s, daemon, poll, proc, rsync, wakeups

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "scenario"))

from harness import daemon as daemon_module  # noqa: E402
from harness.net import BlackHole, Forwarder  # noqa: E402
from harness.servers import Rsyncd  # noqa: E402


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def fill(root, files, dirs, low, high, seed=1, writers=1):
    """`files` files of `low` to `high` bytes in `dirs` directories; returns their paths relative to root."""
    rng = random.Random(seed)
    names = []
    for d in range(dirs):
        os.makedirs(f"{root}/d{d:05}", exist_ok=True)
    block = rng.randbytes(high or 1)
    for n in range(files):
        names.append((f"d{n % dirs:05}/f{n:07}", rng.randrange(low, high + 1)))

    def work(k):
        for name, size in names[k::writers]:
            write(f"{root}/{name}", block[:size])

    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(work, range(writers)))  # a full tmpfs ends the row
    return [name for name, _ in names]


def all_there(dst, names, cap):
    """Until all names exist; looks at one at a time, so that looking costs little. Says how many were missing."""
    left = list(names)

    def there():
        while left and os.path.lexists(f"{dst}/{left[-1]}"):
            left.pop()
        return not left

    try:
        poll(there, cap, 0.002)
    except GaveUp as e:
        there_now = sum(os.path.lexists(f"{dst}/{n}") for n in names)
        raise GaveUp(f"{e}: {there_now}/{len(names)}") from None


class Bench:
    def __init__(self, args):
        self.args = args
        self.results = {}
        self.order = []
        self.root = None

    def scale(self, n, least=1):
        return max(least, n // self.args.scale)

    def put(self, metric, peer, value):
        if metric not in self.results:
            self.results[metric] = {}
            self.order.append(metric)
        self.results[metric][peer] = value
        print(f"# {peer:10} {metric}: {shown(value)}", file=sys.stderr, flush=True)

    # -- one peer in one row ---------------------------------------------------------------------------------------

    def each(self, row, peers, metrics, body, *, base=10000, sets=()):
        """Run body(peer, src, server, put) for each peer in a fresh place; GaveUp fills the remaining metrics."""
        for key in peers:
            home = tempfile.mkdtemp(prefix="bench-", dir=self.args.dir)
            peer = PEERS[key]()
            if key == "lockstep":
                peer.sets = sets
            src = os.path.join(home, "src")
            os.makedirs(src)
            # With a `timeout` the daemon sends one message more, and Nagle's algorithm costs every stock client 42 ms.
            server = Rsyncd(home, timeout=self.args.module_timeout)
            done = set()

            def put(metric, value, key=key, done=done):
                done.add(metric)
                self.put(metric, key, value)

            try:
                if base:
                    fill(src + "/base", self.scale(base), max(1, self.scale(base) // 100), 100, 2000)
                    rsync(src + "/", server)
                body(peer, src, server, put, home)
            except GaveUp as e:
                for m in metrics:
                    if m not in done:
                        put(m, str(e))
            except (AssertionError, OSError, subprocess.SubprocessError) as e:
                for m in metrics:
                    if m not in done:
                        put(m, f"failed: {str(e).splitlines()[0][:60] if str(e) else type(e).__name__}")
            finally:
                peer.stop()
                server.stop()
                shutil.rmtree(home, ignore_errors=True)

    def begin(self, peer, src, server, home):
        peer.start(src, server, home)
        peer.calm(self.args.cap)

    def costs(self, peer, server):
        return cpu_s([*peer.pids(), server.proc.pid, *proc.descendants(server.proc.pid)])

    # -- rows ------------------------------------------------------------------------------------------------------

    def w1(self, peers):
        metrics = ["W1 idle latency p50 ms", "W1 idle latency p99 ms", "W1 CPU ms a file"]

        def body(peer, src, server, put, home):
            self.begin(peer, src, server, home)
            cpu = self.costs(peer, server)
            lags = self.lags_ms(peer, src, server)
            put(metrics[0], statistics.median(lags))
            put(metrics[1], quantile(lags, 0.99))
            if peer.follows:
                put(metrics[2], (self.costs(peer, server) - cpu) * 1000 / len(lags))

        self.each("W1", peers, metrics, body)

    def w10(self, peers):
        metrics = ["W10 latency through 20 ms p50 ms", "W10 latency through 20 ms p99 ms"]

        def body(peer, src, server, put, home):
            line, near = LongLine(server.port, 0.01), server.target
            server.target = near.replace(str(server.port), str(line.port))
            try:
                self.begin(peer, src, server, home)
                lags = self.lags_ms(peer, src, server)
                put(metrics[0], statistics.median(lags))
                put(metrics[1], quantile(lags, 0.99))
                peer.stop()
            finally:
                server.target = near
                line.stop()

        self.each("W10", peers, metrics, body, base=1000)

    def lags_ms(self, peer, src, server):
        """Single files on an idle system: milliseconds from close until visible."""
        rng, lags, data = random.Random(1), [], os.urandom(10000)
        end = time.monotonic() + self.args.cap
        for n in range(self.args.samples):
            if time.monotonic() > end and lags:
                break
            time.sleep(rng.uniform(0.02, 0.08))
            path, there = f"{src}/one-{n}", f"{server.path}/one-{n}"
            write(path, data)
            start = time.perf_counter()
            if not peer.follows:
                rsync(path, server, "--sockopts=TCP_NODELAY")
            while not os.path.exists(there):
                if time.perf_counter() - start > self.args.cap:
                    raise GaveUp(f"> {self.args.cap} s")
                time.sleep(0.00005)
            lags.append((time.perf_counter() - start) * 1000)
        return lags

    def w11(self, peers):
        """Only of peers that take several targets from one process."""
        kinds = ("alone", "beside one that is silent", "beside one that is slow")
        metrics = [f"W11 latency p95 ms, {k}" for k in kinds] + [f"W11 p95 to alone, {k}" for k in kinds[1:]]
        p95 = {}

        def body(peer, src, server, put, home):
            for kind, metric in zip(kinds, metrics):
                second = self.second_target(kind, src, home)
                peer.start(src, server, os.path.join(home, kind.split()[-1]), others=second.targets)
                p95[kind] = quantile(self.lags_ms(peer, src, server), 0.95)
                put(metric, p95[kind])
                peer.stop()
                second.stop()
                for name in os.listdir(src):
                    if name.startswith("one-"):
                        os.unlink(f"{src}/{name}")
                        os.unlink(f"{server.path}/{name}")
            for kind, metric in zip(kinds[1:], metrics[3:]):
                put(metric, p95[kind] / p95["alone"])

        self.each("W11", [p for p in peers if PEERS[p].several], metrics, body)

    def second_target(self, kind, src, home):
        if kind.endswith("silent"):
            return Second([BlackHole()], lambda hole: f"rsync://backup@127.0.0.1:{hole.port}/mirror/")
        if kind.endswith("slow"):
            with open(src + "/big", "wb") as f:
                f.write(os.urandom(64 << 20))
            bad = Rsyncd(home, name="bad")
            return Second([Forwarder(bad.port, rate=32 << 10), bad], lambda line: bad.target.replace(str(bad.port), str(line.port)))
        return Second([], None)

    def w2(self, peers):
        for count in (200, 1000, 5000):
            n = self.scale(count, 20)
            metrics = [f"W2 {n} files, all there s", f"W2 {n} files, CPU s"]

            def body(peer, src, server, put, home, n=n, metrics=metrics):
                self.begin(peer, src, server, home)
                cpu, start = self.costs(peer, server), time.perf_counter()
                names = fill(src + "/w2", n, 20, 10000, 100000, writers=8)
                if not peer.follows:
                    start = time.perf_counter()
                    rsync(src + "/w2", server)
                all_there(server.path + "/w2", names, self.args.cap)
                put(metrics[0], time.perf_counter() - start)
                if peer.follows:
                    peer.settle(self.args.cap)
                    put(metrics[1], self.costs(peer, server) - cpu)

            self.each("W2", peers, metrics, body)

    def w3(self, peers):
        metrics = ["W3 untar-like burst s", "W3 CPU s"]

        def body(peer, src, server, put, home):
            self.begin(peer, src, server, home)
            cpu, start = self.costs(peer, server), time.perf_counter()
            names = fill(src + "/w3", self.scale(50000), self.scale(2000), 1000, 4000)
            if not peer.follows:
                start = time.perf_counter()
                rsync(src + "/w3", server)
            all_there(server.path + "/w3", names, self.args.cap)
            put(metrics[0], time.perf_counter() - start)
            if peer.follows:
                put(metrics[1], self.costs(peer, server) - cpu)

        self.each("W3", peers, metrics, body, base=0)

    def w4(self, peers):
        metrics = ["W4 1 GiB, there after its close s", "W4 1 MiB changed in it, there after its close s",
                   "W4 the change, MB sent", "W4 appended, MB there before the close", "W4 appended, there after the close s"]

        def body(peer, src, server, put, home):
            self.begin(peer, src, server, home)
            there, size = server.path + "/big", self.scale(1 << 30, 1 << 22)
            block = os.urandom(1 << 20)
            put(metrics[0], self.close_to_there(peer, src, server, "wb", lambda f: (
                [f.write(os.urandom(16) + block[16:]) for _ in range(size >> 20)])))
            before = sent(peer, server)
            put(metrics[1], self.close_to_there(peer, src, server, "r+b", lambda f: (f.seek(size // 2), f.write(block[::-1]))))
            if peer.follows:
                peer.settle(self.args.cap)
            put(metrics[2], (sent(peer, server) - before) / 1e6)
            seen = []

            def append(f):
                for _ in range(self.scale(800, 20)):
                    f.write(block[:10000])
                    f.flush()
                    time.sleep(0.01)
                seen.append((os.path.getsize(there) - size) / 1e6)

            lag = self.close_to_there(peer, src, server, "ab", append)
            if peer.follows:
                put(metrics[3], seen[0])
            put(metrics[4], lag)

        self.each("W4", peers, metrics, body)

    def close_to_there(self, peer, src, server, mode, change):
        """Seconds from the close of a changed file until the target has its size and time."""
        with open(src + "/big", mode) as f:
            change(f)
        start = time.perf_counter()
        want = os.stat(src + "/big")
        if not peer.follows:
            rsync(src + "/big", server, "--sockopts=TCP_NODELAY")

        def there():
            try:
                have = os.stat(server.path + "/big")
            except FileNotFoundError:
                return False
            return (have.st_size, have.st_mtime_ns) == (want.st_size, want.st_mtime_ns)

        poll(there, self.args.cap, 0.002)
        return time.perf_counter() - start

    def w5(self, peers):
        metrics = ["W5 rename of a directory s", "W5 MB sent"]

        def body(peer, src, server, put, home):
            names = fill(src + "/old", self.scale(10000), 100, 100000, 100000)
            rsync(src + "/", server)
            self.begin(peer, src, server, home)
            before = sent(peer, server)
            start = time.perf_counter()
            os.rename(src + "/old", src + "/new")
            if not peer.follows:
                rsync(src + "/", server, "--delete")
            all_there(server.path + "/new", names, self.args.cap)
            poll(lambda: not os.path.exists(server.path + "/old"), self.args.cap, 0.002)
            put(metrics[0], time.perf_counter() - start)
            peer.settle(self.args.cap)
            peer_sent = sent(peer, server) - before
            put(metrics[1], peer_sent / 1e6)

        self.each("W5", peers, metrics, body, sets=("brake=no",))

    def w6(self, peers):
        metrics = ["W6 restart on a tree in sync s", "W6 CPU s", "W6 MB sent", "W6 `find -printf` of the same tree s",
                   "W6 anonymous memory after the first sync MB", "W6 anonymous memory MB", "W7 wake-ups a minute, idle", "W7 CPU ms a minute, idle",
                   "W7 one change in that tree ms"]
        cap = max(self.args.cap, 120)

        def body(peer, src, server, put, home):
            fill(src, self.scale(1000000), self.scale(100000), 0, 0)
            subprocess.run(["rsync", "-a", src + "/", server.path + "/"], check=True)
            if peer.exact:
                peer.start(src, server, home, cap=300)
                put(metrics[4], anonymous_mb(peer.pids()))
                time.sleep(self.args.rest)
                peer.stop()
            start = time.perf_counter()
            subprocess.run(["find", src, "-printf", "%T@%s\n"], check=True, stdout=subprocess.DEVNULL)
            put(metrics[3], time.perf_counter() - start)
            cpu, before = self.costs(peer, server), 0 if peer.exact else sent(peer, server)
            start = time.perf_counter()
            if peer.follows:
                peer.start(src, server, home, cap=cap)
            else:
                rsync(src + "/", server)
            put(metrics[0], time.perf_counter() - start)
            if not peer.follows:
                put(metrics[2], (sent(peer, server) - before) / 1e6)
                return
            put(metrics[1], self.costs(peer, server) - cpu)
            peer.settle(cap)
            put(metrics[2], (sent(peer, server) - before) / 1e6)
            put(metrics[5], anonymous_mb(peer.pids()))
            if peer.exact:
                time.sleep(self.args.rest)
            family, seconds = peer.pids(), self.args.idle
            woke, used = wakeups(family), cpu_s(family)
            time.sleep(seconds)
            put(metrics[6], (wakeups(family) - woke) * 60 / seconds)
            put(metrics[7], (cpu_s(family) - used) * 60000 / seconds)
            start = time.perf_counter()
            write(src + "/d00000/changed", b"1" * 10000)
            all_there(server.path, ["d00000/changed"], cap)
            put(metrics[8], (time.perf_counter() - start) * 1000)

        self.each("W6", peers, metrics, body, base=0)

    def w8(self, peers):
        metrics = ["W8 rm -rf s", "W8 CPU s"]

        def body(peer, src, server, put, home):
            fill(src + "/w8", self.scale(50000), self.scale(500), 100, 100)
            rsync(src + "/", server)
            self.begin(peer, src, server, home)
            cpu, start = self.costs(peer, server), time.perf_counter()
            subprocess.run(["rm", "-rf", src + "/w8"], check=True)
            if not peer.follows:
                start = time.perf_counter()
                rsync(src + "/", server, "--delete")
            poll(lambda: not os.path.exists(server.path + "/w8"), self.args.cap, 0.002)
            put(metrics[0], time.perf_counter() - start)
            if peer.follows:
                peer.settle(self.args.cap)
                put(metrics[1], self.costs(peer, server) - cpu)

        self.each("W8", peers, metrics, body, sets=("brake=no",))

    def w9(self, peers):
        metrics = ["W9 rewrites of one file, CPU s", "W9 same-second rewrites lost (of 24)"]

        def body(peer, src, server, put, home):
            self.begin(peer, src, server, home)
            cpu = self.costs(peer, server)
            if peer.follows:
                for n in range(self.scale(10000)):
                    write(src + "/hot", b"%08d" % n * 100)
                peer.settle(self.args.cap)
                put(metrics[0], self.costs(peer, server) - cpu)
            names = [f"same-{n}" for n in range(24)]
            now = time.time_ns() // 10**9 * 10**9
            for version in (b"1", b"2"):
                for n, name in enumerate(names):
                    write(f"{src}/{name}", version * 1000)
                    os.utime(f"{src}/{name}", ns=(now, now + n))
                if peer.follows:
                    all_there(server.path, names, self.args.cap)
                    try:
                        peer.settle(self.args.cap)
                    except GaveUp:
                        pass
                else:
                    rsync(src + "/", server)
            lost = sum(open(f"{server.path}/{n}", "rb").read() != b"2" * 1000 for n in names)
            put(metrics[1], lost)

        self.each("W9", peers, metrics, body)

    def w12(self, peers):
        metrics = ["W12 files a second, sustained"] + [f"W12 {what}, at 2000 a second" for what in ("lag p99 ms", "CPU ms a file")]

        def body(peer, src, server, put, home):
            self.begin(peer, src, server, home)
            best, rates = 0, [2000, 4000, 8000]
            while rates:
                rate = rates.pop(0)
                cpu = self.costs(peer, server)
                lags, written = self.lags_at_rate_ms(src, server, f"rate-{rate}", rate)
                p99 = quantile(lags, 0.99)
                if rate == 2000:
                    put(metrics[1], p99)
                    put(metrics[2], (self.costs(peer, server) - cpu) * 1000 / (rate * self.scale(5)))
                if p99 < 1000:
                    best = max(best, min(rate, written))  # beside the peer the writer may be slower
                elif rate > 2000 or best:
                    break
                else:
                    rates = [r for r in (1000, 500) if r < rate]
                try:
                    peer.settle(self.args.cap)
                except GaveUp:
                    break
            put(metrics[0], best)

        self.each("W12", [p for p in peers if PEERS[p].follows], metrics, body)

    def lags_at_rate_ms(self, src, server, name, rate):
        """Five seconds of files of 10 KB; milliseconds from the close of each tenth until it is visible, and how
        many a second were written."""
        count, data, lags, waiting = rate * self.scale(5), os.urandom(10000), [], deque()
        for d in range(20):
            os.makedirs(f"{src}/{name}/d{d}")

        def look():
            for _ in range(len(waiting)):
                path, closed = waiting.popleft()
                if os.path.exists(path):
                    lags.append((time.perf_counter() - closed) * 1000)
                else:
                    waiting.append((path, closed))

        start = looked = time.perf_counter()
        for n in range(count):
            there = f"{name}/d{n % 20}/f{n}"
            write(f"{src}/{there}", data)
            now = time.perf_counter()
            if n % 10 == 0:
                waiting.append((f"{server.path}/{there}", now))
            if now - looked > 0.005:
                look()
                looked = now
            if start + (n + 1) / rate > now:
                time.sleep(start + (n + 1) / rate - now)

        written = count / (time.perf_counter() - start)

        def over():
            look()
            return not waiting

        poll(over, self.args.cap, 0.005)
        return lags, written

    # -- the table -------------------------------------------------------------------------------------------------

    def table(self, peers):
        names = {k: PEERS[k].name for k in peers}
        head = ["", *(names[k] for k in peers), "lockstep / rsync -a", "tuned lsyncd / lockstep"]
        print("| " + " | ".join(head) + " |")
        print("|" + "---|" * len(head))
        for metric in self.order:
            r = self.results[metric]
            cells = [metric, *(shown(r.get(k)) for k in peers), ratio(r, "lockstep", "limit"), ratio(r, "lsyncd0", "lockstep")]
            print("| " + " | ".join(cells) + " |")


class Second:
    """A further target, and what it consists of."""

    def __init__(self, things, url):
        self.things = things
        self.targets = [url(things[0])] if url else []

    def stop(self):
        for thing in self.things:
            thing.stop()


def quantile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def sent(peer, server):
    """Bytes that a peer has sent to the daemon: by its own count if it has one, else by the daemon's log."""
    if peer.exact and peer.proc:
        return peer.bytes_out()
    poll(lambda: not server.connections(), 10, 0.01)
    total = 0
    for line in server.read_log().splitlines():
        if " received " in line and " bytes" in line and "sent " in line:
            total += int(line.partition("received ")[2].split()[0].replace(",", ""))
    return total


def shown(value):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def ratio(row, a, b):
    x, y = row.get(a), row.get(b)
    if isinstance(x, (int, float)) and isinstance(y, (int, float)) and y:
        return f"{x / y:.2f}"
    return ""


def version(*argv):
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.splitlines()[0].strip()
    except (OSError, IndexError):
        return f"{argv[0]}: none"


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.partition(":")[2].strip() for line in f if line.startswith("model name")), "unknown")
    with open("/proc/meminfo") as f:
        gb = int(f.readline().split()[1]) // 1048576
    return (f"{model}, {os.cpu_count()} cores, {gb} GB, kernel {os.uname().release}; {version('rsync', '--version')}; "
            f"lsyncd {version('lsyncd', '--version')}; {version(daemon.BINARY, '--version')}")


def bring_up_to_date():
    """Figures of an older build say nothing. Who names a binary in LOCKSTEP knows which."""
    build = os.path.dirname(daemon_module.BINARY)
    if not os.environ.get("LOCKSTEP") and subprocess.run(["ninja", "-C", build], stdout=subprocess.DEVNULL).returncode:
        sys.exit(f"bench: {build} cannot be brought up to date. Run: make build")


def main():
    rows = {"W1": Bench.w1, "W2": Bench.w2, "W3": Bench.w3, "W4": Bench.w4, "W5": Bench.w5, "W6": Bench.w6, "W8": Bench.w8,
            "W9": Bench.w9, "W10": Bench.w10, "W11": Bench.w11, "W12": Bench.w12}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rows", default=",".join(rows), help="comma list; W7 comes with W6")
    p.add_argument("--peers", default=",".join(PEERS), help="comma list of " + ", ".join(PEERS))
    p.add_argument("--quick", action="store_true", help="a hundredth of the work, short limits: does it run?")
    p.add_argument("--scale", type=int, default=1, help="divide all counts by this")
    p.add_argument("--cap", type=float, default=30, help="time limit of a row, seconds")
    p.add_argument("--samples", type=int, default=200, help="files in W1")
    p.add_argument("--idle", type=float, default=60, help="seconds of idleness in W7")
    p.add_argument("--rest", type=float, default=310,
                   help="seconds of idleness that lockstep gets before the restart of W6 (what was confirmed just "
                        "before is compared) and before W7 (sessions are kept for five minutes)")
    p.add_argument("--module-timeout", metavar="S", help="`timeout = S` in rsyncd.conf")
    p.add_argument("--dir", default="/dev/shm", help="a tmpfs")
    a = p.parse_args()
    if a.quick:
        a.scale, a.samples, a.idle, a.cap = max(a.scale, 100), min(a.samples, 20), min(a.idle, 3), min(a.cap, 20)
        a.rest = 0
    wanted = {"W6" if r == "W7" else r for r in a.rows.upper().split(",")}
    peers = [k for k in PEERS if k in a.peers.split(",")]
    unknown = wanted - set(rows) | set(a.peers.split(",")) - set(PEERS)
    if unknown:
        p.error(f"unknown: {', '.join(sorted(unknown))}")
    bring_up_to_date()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    bench = Bench(a)
    for row in rows:
        if row in wanted:
            rows[row](bench, peers)
    print(f"{machine()}\n")
    print(f"`python3 bench/run.py {' '.join(sys.argv[1:])}`\n")
    bench.table(peers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
