"""The daemon under test: started, asked, stopped, killed; its log and last status are kept for a failed test."""

import json
import os
import signal
import subprocess

from . import proc

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = os.environ.get("LOCKSTEP") or os.path.join(HERE, "..", "..", "..", "build", "lockstep")
BINARY = os.path.realpath(BINARY)

EVERYTHING = "keep=mode,owner,group,times,links,devices"
EXIT_SETTLED, EXIT_USAGE, EXIT_REMAINS, EXIT_TIMEOUT, EXIT_NO_DAEMON, EXIT_RUNNING = 0, 2, 3, 4, 5, 6


def command(*args, timeout=30, env=None, **how):
    """Run one lockstep command to its end; text output, invalid bytes escaped."""
    assert os.access(BINARY, os.X_OK), f"no lockstep binary at {BINARY}: build it, or set LOCKSTEP=/path/to/lockstep"
    how.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([BINARY, *map(str, args)], capture_output=True, timeout=timeout, check=False, env=env,
                          encoding="utf-8", errors="backslashreplace", **how)


class Lockstep:
    """`lockstep run` on a source and targets, or on a configuration file. Does not start by itself. Keeps all that a tree
    comparison sees, fifos too, unless `sets` has a `keep` of its own."""

    def __init__(self, box, src=None, targets=(), *, config=None, name="ls", sets=(), args=(), state=None, prefix=(), env=None):
        """targets: server objects or strings; `prefix`: words before the command (unshare, setpriv, ...)."""
        self.box = box
        self.home = box.home(name)
        self.state = state or os.path.join(self.home, "state")
        self.log = os.path.join(self.home, "log")
        self.status_file = os.path.join(self.home, "status.json")
        self.proc = None
        self.env = env
        operands = [os.fspath(src)] if src is not None else []
        extra, options = list(args), list(sets)
        if not any(o.startswith("keep=") for o in options):
            options.append(EVERYTHING)
        options.append("log_level=debug")
        for t in targets:
            operands.append(t if isinstance(t, str) else t.target)
            if not isinstance(t, str):
                options += [o for o in t.options if o not in options]
                extra += [a for a in t.args if a not in extra]
        self.argv = [*prefix, BINARY, "run", *operands, "--state", self.state, *extra]
        if config is not None:
            self.argv += ["-c", os.fspath(config)]
        for option in options:
            self.argv += ["--set", option]

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self, *, ready=True):
        assert os.access(BINARY, os.X_OK), f"no lockstep binary at {BINARY}: build it, or set LOCKSTEP=/path/to/lockstep"
        assert self.proc is None, "already running"
        self.proc = proc.spawn(self.argv, log=self.log, env=self.env)
        if ready:
            proc.until(lambda: self.proc.poll() is not None or self.answers(), 15, "the daemon answering", on=[self.log])
            assert self.proc.poll() is None, f"lockstep ended with {self.proc.returncode}:\n{self.tail()}"
        return self

    def answers(self):
        return self.ask("status", "--json").returncode == 0

    def kill(self):
        """kill -9 of the daemon alone; workers and receivers must end by themselves."""
        self.save_status()
        os.kill(self.pid, signal.SIGKILL)
        self.proc.wait()
        self._last = self.proc
        self.proc = None

    def restart(self):
        self.kill()
        self.end()
        return self.start()

    def stop(self, timeout=5):
        """`lockstep stop`; the daemon must be gone, with exit code 0, within `timeout`."""
        self.save_status()
        self.ask("stop")
        return self.wait_end(timeout)

    def terminate(self, timeout=5):
        os.kill(self.pid, signal.SIGTERM)
        return self.wait_end(timeout)

    def wait_end(self, timeout):
        code = proc.wait(self.proc, timeout)
        assert code is not None, f"lockstep still runs {timeout} s after it was told to end"
        left = proc.descendants(self.proc.pid)
        self._last, self.proc = self.proc, None
        assert not left, f"children left behind: {left}"
        return code

    def end(self):
        """Nothing of it is left afterwards, whatever it was doing."""
        for p in (self.proc, getattr(self, "_last", None)):
            if p is not None:
                proc.kill_tree(p)
        self.proc = self._last = None

    @property
    def pid(self):
        """Of the daemon itself, also when a prefix command stands before it."""
        if proc.executable(self.proc.pid) == BINARY:
            return self.proc.pid
        for p in proc.descendants(self.proc.pid):
            if proc.executable(p) == BINARY and b"run" in proc.cmdline(p):
                return p
        return self.proc.pid

    def workers(self):
        return self._own(b"--worker")

    def relays(self):
        return self._own(b"--tls-relay")

    def _own(self, argument):
        return [p for p in proc.children(self.pid) if proc.executable(p) == BINARY and argument in proc.cmdline(p)[1:2]]

    def receivers(self):
        """What it started to reach targets: `rsync --server` of local ones, ssh of remote ones."""
        return [p for p in proc.descendants(self.pid) if os.path.basename(proc.executable(p)) in ("rsync", "ssh")]

    # -- questions -------------------------------------------------------------------------------------------------

    def ask(self, *args, timeout=30):
        return command(*args[:1], "--state", self.state, *args[1:], timeout=timeout)

    def status(self):
        done = self.ask("status", "--json")
        assert done.returncode == 0, f"status: {done.returncode}: {done.stderr}"
        with open(self.status_file, "w") as f:
            f.write(done.stdout)
        return json.loads(done.stdout)

    def save_status(self):
        try:
            self.status()
        except (AssertionError, subprocess.TimeoutExpired, ValueError):
            pass

    def job(self, name=None):
        jobs = self.status()["jobs"]
        return jobs[0] if name is None else next(j for j in jobs if j["name"] == name)

    def text(self, name=None):
        """All that the status says of a job's trouble."""
        j = self.job(name)
        return f"{j['state']}: {j.get('trouble') or ''}: {j.get('text') or ''}"

    def tree(self, name=None):
        trees = self.status()["trees"]
        return trees[0] if name is None else next(t for t in trees if t["name"] == name)

    def wait(self, timeout=10, *jobs):
        return self.ask("wait", "--timeout", f"{timeout}s", *jobs, timeout=timeout + 20)

    def remains(self, timeout=20, *jobs):
        """Wait until only failed, held or paused items remain; all that wait, failed and held say of them."""
        done = self.wait(timeout, *jobs)
        assert done.returncode == EXIT_REMAINS, f"wait ended with {done.returncode}: {done.stderr}"
        assert done.stderr.strip(), "wait named nothing"
        return done.stderr + self.ask("failed").stdout + self.ask("held").stdout

    def settle(self, timeout=10, *jobs):
        """The barrier: all that was changed before this call is confirmed at the targets when it returns."""
        done = self.wait(timeout, *jobs)
        assert done.returncode == EXIT_SETTLED, \
            f"wait ended with {done.returncode}: {done.stderr}{done.stdout}\n{json.dumps(self.status(), indent=1)}"
        return self

    def until_job(self, cond, timeout=10, what="the job's state", name=None):
        """The log shows each step, so it tells when to ask."""
        return proc.until(lambda: (lambda j: j if cond(j) else None)(self.job(name)), timeout, what, on=[self.log])

    def until_tree(self, state, timeout=15):
        return proc.until(lambda: (lambda t: t if t["state"] == state else None)(self.tree()), timeout, f"the tree {state}",
                          on=[self.log])

    def until_logged(self, needle, timeout=10):
        """Wait until the log says it; returns the line."""
        def said():
            return next((line for line in self.read_log().splitlines() if needle in line), None)

        return proc.until(said, timeout, f"{needle!r} in the log", on=[self.log])

    def until_text(self, needle, timeout=10, name=None):
        """Wait until the job's trouble names `needle`; returns the text."""
        try:
            return proc.until(lambda: (lambda t: t if needle in t else None)(self.text(name)), timeout, on=[self.log])
        except AssertionError:
            raise AssertionError(f"status never said {needle!r}; it says: {self.text(name)}") from None

    def read_log(self):
        with open(self.log, encoding="utf-8", errors="backslashreplace") as f:
            return f.read()

    def tail(self, lines=30):
        return "\n".join(self.read_log().splitlines()[-lines:]) if os.path.exists(self.log) else "(no log)"
