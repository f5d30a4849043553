#!/usr/bin/python3
"""What lockstep does, in a minute: one tree, two targets, a few hundred changes, and a proof.

A stock rsync daemon with a password-protected module on the loopback, a local directory beside it, and
`lockstep run` keeping both equal to a sample tree while that is changed. At the end the three are compared
by this script, without lockstep. Everything lives in one temporary directory and is removed; `--keep`
leaves it, with both daemons running, until Enter is pressed. LOCKSTEP=PATH names the program.
"""

import ctypes
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LOCKSTEP = os.path.abspath(os.environ.get("LOCKSTEP") or os.path.join(ROOT, "build", "lockstep"))
SEED = 20260102
CHANGES = 600
TTY = sys.stdout.isatty()
SHOW_S = 0.1 if TTY else 1.0
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


class Trouble(Exception):
    """Something that ends the demo, in words."""


def say(text=""):
    print(text, flush=True)


def step(text):
    say(f"\n\033[1m== {text}\033[0m" if TTY else f"\n== {text}")


# ---- the sample tree ---------------------------------------------------------------------------------------


class Tree:
    """A source tree and the changes made to it; the same ones each time."""

    def __init__(self, root):
        self.root = root
        self.random = random.Random(SEED)
        self.files, self.count = [], 0

    def path(self, name):
        return os.path.join(self.root, name)

    def fresh_name(self):
        self.count += 1
        folder = self.random.choice(["docs", "photos/2025", "photos/2026", "src/lib", "odd names"])
        extra = self.random.choice(["", " with blanks", "-ümlaut", "'quoted'", "$HOME", "*"])
        return f"{folder}/file{self.count:04}{extra}"

    def write(self, name, size):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(self.random.randbytes(size))
        os.chmod(self.path(name), self.random.choice([0o644, 0o600, 0o755]))

    def fill(self):
        for _ in range(300):
            name = self.fresh_name()
            self.write(name, self.random.choice([0, 100, 4000, 60000]))
            self.files.append(name)
        self.write("large.bin", 8 << 20)
        os.symlink("../docs", self.path("src/to-docs"))
        os.link(self.path(self.files[0]), self.path("docs/second name of a file"))

    def create(self):
        self.files.append(self.fresh_name())
        self.write(self.files[-1], self.random.choice([10, 3000, 100000]))

    def rewrite(self):
        """In place and with the same size: what a comparison of sizes and whole seconds would miss."""
        name = self.random.choice(self.files)
        with open(self.path(name), "r+b") as file:
            file.write(self.random.randbytes(os.fstat(file.fileno()).st_size))

    def rename(self):
        at = self.random.randrange(len(self.files))
        name = self.fresh_name()
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        os.rename(self.path(self.files[at]), self.path(name))
        self.files[at] = name

    def delete(self):
        at = self.random.randrange(len(self.files))
        os.unlink(self.path(self.files.pop(at)))

    def change(self):
        """One change; says of which kind."""
        kind = self.random.choice(["create", "create", "rewrite", "rewrite", "rename", "delete"])
        getattr(self, kind)()
        return kind


def describe(root):
    """Everything below root: {name: what it is}, read from the disk."""
    found = {}
    for where, dirs, names in os.walk(root):
        if where == root and ".lockstep" in dirs:
            dirs.remove(".lockstep")  # lockstep's own stamp at a target
        for name in dirs + names:
            path = os.path.join(where, name)
            st = os.lstat(path)
            what = [stat.filemode(st.st_mode)]
            if stat.S_ISLNK(st.st_mode):
                what.append(os.readlink(path))
            else:
                what.append(st.st_mtime_ns)
            if stat.S_ISREG(st.st_mode):
                with open(path, "rb") as file:
                    what += [st.st_size, hashlib.sha256(file.read()).hexdigest()]
            found[os.path.relpath(path, root)] = what
    return found


# ---- the processes -----------------------------------------------------------------------------------------


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Box:
    """The temporary directory and the processes started in it."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="lockstep-demo-")
        self.children = []

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def start(self, name, argv):
        with open(self.path(name + ".log"), "wb") as log:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                     start_new_session=True, preexec_fn=die_with_parent)
        child.label = name
        self.children.append(child)
        return child

    def log_of(self, name):
        with open(self.path(name + ".log"), errors="replace") as log:
            return "".join(log.readlines()[-20:])

    def check_alive(self):
        for child in self.children:
            if child.poll() is not None:
                raise Trouble(f"{child.label} ended with {child.returncode}:\n{self.log_of(child.label)}")

    def until(self, question, what, limit_s=20):
        end = time.monotonic() + limit_s
        while not question():
            self.check_alive()
            if time.monotonic() > end:
                raise Trouble(f"{what} took more than {limit_s} s:\n" + self.log_of(self.children[-1].label))
            time.sleep(0.05)

    def end(self):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for child in reversed(self.children):
                # The group, too: a killed daemon leaves nothing of its own behind.
                if child.poll() is None or sign == signal.SIGKILL:
                    try:
                        os.killpg(child.pid, sign)
                    except ProcessLookupError:
                        pass
            limit = time.monotonic() + 5
            while time.monotonic() < limit and any(child.poll() is None for child in self.children):
                time.sleep(0.02)
        shutil.rmtree(self.dir, ignore_errors=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def write_private(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def start_rsync_daemon(box):
    rsync = shutil.which("rsync")
    if not rsync:
        raise Trouble("no rsync in PATH; `make deps` installs it")
    port = free_port()
    os.mkdir(box.path("module"))
    write_private(box.path("secrets"), "demo:not-a-real-secret\n")
    write_private(box.path("password"), "not-a-real-secret\n")
    who = "uid = 0\ngid = 0\n" if os.geteuid() == 0 else ""
    with open(box.path("rsyncd.conf"), "w") as conf:
        conf.write(f"address = 127.0.0.1\nport = {port}\nuse chroot = no\nreverse lookup = no\n{who}\n"
                   f"[module]\npath = {box.path('module')}\nread only = no\nmunge symlinks = no\n"
                   f"auth users = demo\nsecrets file = {box.path('secrets')}\n")
    box.start("rsync", [rsync, "--daemon", "--no-detach", f"--config={box.path('rsyncd.conf')}"])
    box.until(lambda: answers(port), "the start of rsync --daemon")
    return port


class Lockstep:
    def __init__(self, box, port):
        self.box, self.state = box, box.path("state")
        os.mkdir(box.path("local"))
        self.argv = [LOCKSTEP, "run", "--state", self.state, "--name", "demo", box.path("source"),
                     f"rsync://demo@127.0.0.1:{port}/module/", box.path("local"),
                     "--set", f"password_file={box.path('password')}"]
        self.worst_ms = {}

    def ask(self, *args, limit_s=20):
        try:
            return subprocess.run([LOCKSTEP, "--state", self.state, *args], capture_output=True, text=True,
                                  errors="replace", stdin=subprocess.DEVNULL, timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise Trouble(f"`lockstep {' '.join(args)}` took more than {limit_s} s; the log ends with\n"
                          + self.box.log_of("lockstep")) from None

    def start(self):
        self.box.start("lockstep", self.argv)
        self.box.until(lambda: self.ask("status", "--json").returncode == 0, "the start of lockstep")

    def wait(self):
        """Returns how long it took until everything so far was confirmed, in seconds."""
        begun = time.monotonic()
        done = self.ask("wait", limit_s=180)
        if done.returncode != 0:
            raise Trouble(f"`lockstep wait` ended with {done.returncode}: {done.stderr}{done.stdout}"
                          + self.ask("status").stdout)
        return time.monotonic() - begun

    def jobs(self):
        done = self.ask("status", "--json")
        if done.returncode != 0:
            raise Trouble(f"`lockstep status --json` ended with {done.returncode}: {done.stderr}")
        jobs = json.loads(done.stdout)["jobs"]
        for job in jobs:
            self.worst_ms[job["name"]] = max(self.worst_ms.get(job["name"], 0), job["lag_ms"])
        return jobs


# ---- what is shown -----------------------------------------------------------------------------------------


class View:
    """The lag of each target: redrawn on a terminal, a plain line now and then elsewhere."""

    def __init__(self):
        self.lines = 0

    def show(self, made, jobs):
        if not TTY:
            say(f"   {made:4} changes made; lag: " +
                ", ".join(f"{job['name']} {job['lag_ms']} ms ({job['pending']} waiting)" for job in jobs))
            return
        lines = [f"   {made} of {CHANGES} changes made"]
        for job in jobs:
            bar = "#" * min(40, job["lag_ms"] // 25)
            lines.append(f"   {job['name']:10} lag {job['lag_ms']:6} ms  waiting {job['pending']:5}  "
                         f"in flight {job['in_flight']:4}  {bar}")
        sys.stdout.write(f"\033[{self.lines}A" * bool(self.lines) + "".join(f"\033[2K{line}\n" for line in lines))
        sys.stdout.flush()
        self.lines = len(lines)


def make_changes(tree, lockstep):
    view, kinds, shown = View(), {}, 0.0
    for made in range(1, CHANGES + 1):
        kind = tree.change()
        kinds[kind] = kinds.get(kind, 0) + 1
        time.sleep(0.01)
        if time.monotonic() - shown >= SHOW_S or made == CHANGES:
            view.show(made, lockstep.jobs())
            shown = time.monotonic()
    say("   made: " + ", ".join(f"{count} {kind}s" for kind, count in sorted(kinds.items())))


def prove(box):
    """Compares the three trees; returns whether they are equal."""
    want = describe(box.path("source"))
    files = sum(1 for what in want.values() if what[0][0] == "-")
    size = sum(what[2] for what in want.values() if what[0][0] == "-")
    say(f"   source: {len(want)} entries, {files} files, {size} bytes")
    equal = True
    for name in ("module", "local"):
        have = describe(box.path(name))
        wrong = [path for path in sorted(want.keys() | have.keys()) if want.get(path) != have.get(path)]
        good = "equal in names, types, contents (sha256), modes, times in ns, link targets"
        say(f"   {name:6}: {len(have)} entries: " + (f"{len(wrong)} DIFFER" if wrong else good))
        for path in wrong[:10]:
            say(f"      {path!r}: source {want.get(path)}, here {have.get(path)}")
        equal = equal and not wrong
    return equal


def go_on_by_hand():
    program = shlex.quote(os.path.relpath(LOCKSTEP))
    step("by hand")
    say(f"""   mkdir -p /tmp/try/source /tmp/try/copy
   {program} run --state /tmp/try/state /tmp/try/source /tmp/try/copy 2> /tmp/try/log & sleep 1
   echo hello > /tmp/try/source/hello
   {program} --state /tmp/try/state wait      # returns when every change so far is confirmed
   {program} --state /tmp/try/state status
   ls -l /tmp/try/copy
   {program} --state /tmp/try/state stop
   {shlex.quote(os.path.relpath(os.path.abspath(__file__)))} --keep      # this demo again, left running until Enter""")


def run(box, keep):
    step("a stock rsync daemon with a password-protected module, and a sample tree")
    port = start_rsync_daemon(box)
    tree = Tree(box.path("source"))
    tree.fill()
    say(f"   rsync://demo@127.0.0.1:{port}/module/ and the local directory {box.path('local')}")
    step("lockstep starts; the first sync")
    lockstep = Lockstep(box, port)
    say("   $ " + shlex.join(lockstep.argv))
    say("   main.1 is the module, main.2 the local directory")
    lockstep.start()
    say(f"   both targets confirmed after {lockstep.wait():.2f} s")
    step(f"{CHANGES} changes: creates, rewrites, renames, deletes")
    make_changes(tree, lockstep)
    say(f"   $ lockstep wait: confirmed {lockstep.wait() * 1000:.0f} ms after the last change")
    say("   highest lag seen: " + ", ".join(f"{job} {ms} ms" for job, ms in sorted(lockstep.worst_ms.items())))
    step("the proof: all three compared by this script, without lockstep")
    equal = prove(box)
    if keep:
        say(f"\n   still running; state {lockstep.state}, source {tree.root}")
        input("   Enter ends it ")
    lockstep.ask("stop")
    return equal


def main():
    if not os.access(LOCKSTEP, os.X_OK):
        sys.exit(f"demo: no program at {LOCKSTEP}; run `make build` first")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    os.umask(0o022)
    box = Box()
    try:
        equal = run(box, "--keep" in sys.argv[1:])
    except Trouble as trouble:
        say(f"\ndemo: FAILED: {trouble}")
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        box.end()
    if not equal:
        say("\ndemo: FAILED: the trees differ")
        return 1
    go_on_by_hand()
    say("\ndemo: ok, both targets equal the source")
    return 0


if __name__ == "__main__":
    sys.exit(main())
