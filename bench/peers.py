"""The replicators that the benchmark compares, all against the same stock rsync daemon with a password.

Each peer has: start(src, server, home) until it follows changes; settle(cap) until it says, or seems, to be done;
pids() for its costs; stop(), after which nothing of it runs."""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "scenario"))

from harness import daemon, proc  # noqa: E402


class GaveUp(Exception):
    """The peer did not get there within the row's time limit."""


def poll(cond, cap, step=0.001):
    """Seconds until cond() held; GaveUp after `cap`."""
    start = time.perf_counter()
    while not cond():
        if time.perf_counter() - start > cap:
            raise GaveUp(f"> {cap:.0f} s")
        time.sleep(step)
    return time.perf_counter() - start


def rsync(src, server, *args):
    subprocess.run(["rsync", "-a", *args, f"--password-file={server.password_file}", src, server.target], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


class Peer:
    name = ""
    follows = True
    exact = False
    several = False  # start() takes more targets, `others`, beside which it is measured

    def __init__(self):
        self.proc = None

    def pids(self):
        return [self.proc.pid, *proc.descendants(self.proc.pid)] if self.proc else []

    def stop(self):
        if self.proc:
            proc.kill_tree(self.proc)
            self.proc = None

    def ready(self, cap):
        """Until a change comes through: the initial pass is over and the watches stand."""
        tries = 0

        def seen():
            nonlocal tries
            if time.perf_counter() - self._asked > 1:
                self._asked = time.perf_counter()
                tries += 1
                with open(f"{self.src}/probe-{tries}", "w") as f:
                    f.write("1")
            return any(os.path.exists(f"{self.dst}/probe-{n}") for n in range(1, tries + 1))

        self._asked = 0
        return poll(seen, cap, 0.005)

    def settle(self, cap):
        """Without a barrier of its own: until no process beneath it has worked for a second."""
        last, since = None, time.perf_counter()

        def idle():
            nonlocal last, since
            now = cpu_s(self.pids()), tuple(sorted(self.pids()))
            if now != last:
                last, since = now, time.perf_counter()
            return time.perf_counter() - since > self.quiet_s

        poll(idle, cap, 0.05)

    def calm(self, cap):
        """Until what it does at its start is over, so that a row's costs are its own."""

    quiet_s = 1.0


class Limit(Peer):
    """One `rsync -a` of the finished state."""
    name = "rsync -a"
    follows = False

    def start(self, src, server, home, cap=60):
        self.src, self.dst, self.server = src, server.path, server

    def settle(self, cap):
        pass


class Lockstep(Peer):
    name = "lockstep"
    exact = several = True
    sets = ()

    def start(self, src, server, home, cap=60, others=()):
        os.makedirs(home, exist_ok=True)
        self.src, self.dst, self.state = src, server.path, os.path.join(home, "state")
        argv = [daemon.BINARY, "run", src, server.target, *others, "--state", self.state, "--set",
                f"password_file={server.password_file}"]
        for s in self.sets:
            argv += ["--set", s]
        self.proc = proc.spawn(argv, log=os.path.join(home, "lockstep.log"))
        poll(lambda: self.ask("status", "--json").returncode == 0 or self.proc.poll() is not None, cap, 0.01)
        if self.proc.poll() is not None:
            raise GaveUp(f"ended with {self.proc.returncode}")
        self.settle(cap, "main.1")

    def ask(self, *args):
        return daemon.command(args[0], "--state", self.state, *args[1:], timeout=700)

    def ready(self, cap):
        self.settle(cap)

    def settle(self, cap, *jobs):
        done = self.ask("wait", "--timeout", f"{int(cap)}s", *jobs)
        if done.returncode:
            raise GaveUp(f"wait: exit {done.returncode}")

    def bytes_out(self):
        import json
        return sum(j["bytes_out"] for j in json.loads(self.ask("status", "--json").stdout)["jobs"])

    def stop(self):
        if self.proc:
            self.ask("stop")
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                pass
        super().stop()


class Lsyncd(Peer):
    """As it comes: 15 s delay."""
    name = "lsyncd"
    settings = ""
    sync = ""
    extra = ""
    quiet_s = 17.0

    def start(self, src, server, home, cap=60):
        self.src, self.dst = src, server.path
        conf = os.path.join(home, "lsyncd.lua")
        with open(conf, "w") as f:
            f.write(f'settings {{ nodaemon = true, logfile = "{home}/lsyncd.log", {self.settings} }}\n'
                    f'sync {{ default.rsync, source = "{src}", target = "{server.target}", {self.sync}\n'
                    f'  rsync = {{ archive = true, password_file = "{server.password_file}", {self.extra} }} }}\n')
        self.proc = proc.spawn(["lsyncd", conf], log=os.path.join(home, "lsyncd.out"))
        self.ready(cap)


class LsyncdTuned(Lsyncd):
    """No delay, four processes, TCP_NODELAY at the client."""
    name = "lsyncd, delay 0, nodelay"
    settings = "maxProcesses = 4,"
    sync = "delay = 0,"
    extra = '_extra = { "--sockopts=TCP_NODELAY" }'
    quiet_s = 1.0


LOOP = r"""
inotifywait -mrq -e modify,attrib,close_write,move,create,delete "$1" | while read -r line; do
    rsync -a --delete --password-file="$3" "$1/" "$2"
done
"""


class InotifyLoop(Peer):
    """The loop of a thousand tutorials: the whole tree for each event."""
    name = "inotifywait loop"

    def start(self, src, server, home, cap=60):
        self.src, self.dst = src, server.path
        rsync(src + "/", server, "--delete")
        self.proc = proc.spawn(["sh", "-c", LOOP, "loop", src, server.target, server.password_file],
                               log=os.path.join(home, "loop.out"))
        self.ready(cap)

    def calm(self, cap):
        self.settle(cap)


PEERS = {"limit": Limit, "lockstep": Lockstep, "lsyncd": Lsyncd, "lsyncd0": LsyncdTuned, "loop": InotifyLoop}


def cpu_s(pids):
    """CPU seconds of these processes and of their children that have ended."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as f:
                total += sum(map(int, f.read().rpartition(b")")[2].split()[11:15]))
        except OSError:
            pass
    return total / os.sysconf("SC_CLK_TCK")


def wakeups(pids):
    """Voluntary context switches of all their threads so far."""
    total = 0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/status") as f:
                    total += sum(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt"))
        except OSError:
            pass
    return total


def anonymous_mb(pids):
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status") as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("RssAnon"))
        except OSError:
            pass
    return total / 1024
