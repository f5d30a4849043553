"""Bad input of every kind: a clear error, a documented exit code, nothing touched."""

import json
import os
import shutil

import pytest
from harness import snapshot
from harness.daemon import EXIT_USAGE, command

EXIT_CODES = range(1, 65)


def refused(done, *words):
    """It said one clear thing and ended by itself with a documented code."""
    said = done.stderr
    assert done.returncode in EXIT_CODES, (done.returncode, said)
    assert said.strip(), "nothing was said"
    assert len(said.splitlines()) <= 12, said
    for word in words:
        assert word in said, said
    assert "Assertion" not in said and "Sanitizer" not in said


@pytest.fixture
def place(box):
    """A source and a target that must stay as they are."""
    src, dst = box.dir("src"), box.dir("dst")
    box.fill(src, 10)
    box.fill(dst + "/foreign", 10)
    before = snapshot(src), snapshot(dst)
    yield box, src, dst
    assert (snapshot(src), snapshot(dst)) == before
    assert not os.path.exists(dst + "/.lockstep")


@pytest.mark.parametrize("line, number, words", [
    ("exlude = *.tmp", 4, ["exclude"]),
    ("longest_wait = soon", 4, ["longest_wait"]),
    ("longest_wait = 999999d", 4, ["longest_wait"]),
    ("lanes = 0", 4, ["lanes"]),
    ("lanes = -1", 4, ["lanes"]),
    ("lanes = 99999999999999999999", 4, ["lanes"]),
    ("keep = mode,colour", 4, ["colour"]),
    ("delete = perhaps", 4, ["delete"]),
    ("bwlimit = 5 elephants", 4, ["bwlimit"]),
    ("no equals sign", 4, []),
    ("= value", 4, []),
    ("[tree t", 4, []),
    ("[forest x]", 4, ["forest"]),
    ("root = relative/path", 4, []),
    ("root = /", 4, []),
    ("target = relative/path", 4, []),
    ("target = /", 4, []),
    ("target =", 4, []),
    ("target = rsync://", 4, []),
    ("target = rsync://host:99999/m", 4, []),
    ("target = ftp://host/path", 4, []),
    ("exclude = regex:(", 4, []),
    ("chmod = F9999", 4, ["chmod"]),
    ("password_file = relative", 4, ["password_file"]),
])
def test_configuration_line_that_is_wrong_named_by_file_and_line(place, line, number, words):
    """A build that ignores what it does not know mirrors with other settings than people think."""
    box, src, dst = place
    conf = box.config(f"[tree t]\nroot = {src}\ntarget = {dst}\n{line}\n")
    for verb in (["check", "-c", conf], ["run", "-c", conf, "--state", box.path("state")]):
        done = command(*verb)
        text = done.stderr + done.stdout
        assert f"{conf}:{number}" in text, text
        assert done.returncode in EXIT_CODES
        for word in words:
            assert word in text


def test_configuration_unknown_key_suggests_the_right_one(place):
    """A build without a suggestion lets people search for a letter."""
    box, src, dst = place
    conf = box.config(f"[tree t]\nroot = {src}\ntarget = {dst}\npasword_file = /x\n")
    done = command("check", "-c", conf)
    assert "did you mean" in (done.stderr + done.stdout) and "password_file" in done.stderr + done.stdout


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"\xff\xfe[\0t", b"[tree t]\n" * 3, b"[tree t]\nroot = /tmp\n", b"a" * (5 << 20),
                                     b"[tree " + b"x" * 5000 + b"]\n", b"[tree ../x]\nroot = /tmp/x\ntarget = /tmp/y\n",
                                     b"[tree t]\nroot = nonexistent/\x01\ntarget = /tmp/y\n"],
                         ids=["empty", "zeros", "binary", "twice", "no-target", "huge", "long-name", "path-name", "control"])
def test_configuration_that_is_no_configuration(box, content):
    """A build that crashes on odd bytes, or starts with nothing to do, fails here."""
    conf = box.path("lockstep.conf")
    box.write(conf, content)
    refused(command("run", "-c", conf, "--state", box.path("state")))


def test_configuration_missing_or_a_directory(box):
    """A build that goes on with defaults mirrors something else."""
    refused(command("run", "-c", box.path("nosuch.conf")), "nosuch.conf")
    refused(command("run", "-c", box.dir("d.conf")))


@pytest.mark.parametrize("args", [
    [], ["nosuchverb"], ["--nosuchoption"], ["run"], ["run", "--nosuchoption"], ["run", "{src}"], ["run", "", ""],
    ["run", "{src}", ""], ["run", "", "{dst}"], ["run", "/", "{dst}"], ["run", "{src}", "/"], ["run", "relative", "rel2:"],
    ["run", "{src}", "{dst}", "--set", "nosuchkey=1"], ["run", "{src}", "{dst}", "--set", "lanes"],
    ["run", "{src}", "{dst}", "--set", "lanes=many"], ["run", "{src}", "{dst}", "--set", "log_level=loud"],
    ["run", "{src}", "{dst}", "-c", "/etc/hostname"], ["wait", "--timeout", "soon"], ["approve"], ["approve", "x"],
    ["run", "{src}", "{dst}", "--state"], ["run", "{src}", "user@:path"], ["run", "{src}", "rsync://host"],
    ["run", "{src}", "{src}"], ["run", "{src}", "{src}/d000"], ["run", "{src}/d000", "{src}"],
    ["run", "{src}", "{dst}", "{dst}"], ["run", "{src}", "{dst}", "{dst}/foreign"], ["run", "{src}/nosuch", "{dst}"],
    ["run", "{src}/d000/f00000", "{dst}"], ["run", "{src}", "{dst}/nosuch"], ["run", "{src}", "{dst}", "--state", "{src}/state"],
    ["run", "{src}", "{dst}/foreign/d000/f00000"], ["run", "{src}", "{dst}", "--state", "{dst}/state"],
    ["run", "{src}", "{dst}", "--state", ""], ["run", "{src}", "{dst}", "--name", ""], ["--state", "", "status"],
    ["wait", "--timeout", "0"],
])
def test_command_line_that_is_wrong_touches_nothing(place, args):
    """A build that takes an empty or overlapping path at its word deletes a home directory."""
    box, src, dst = place
    args = [a.format(src=src, dst=dst) for a in args]
    if args[:1] == ["run"] and "--state" not in args:
        args += ["--state", box.path("state")]
    refused(command(*args, timeout=20, cwd=box.dir("cwd")))


def test_overlap_through_a_symlink_is_refused(place):
    """A build that compares paths as text mirrors a tree into itself."""
    box, src, dst = place
    os.symlink(src + "/d000", box.path("alias"))
    refused(command("run", src, box.path("alias"), "--state", box.path("state"), timeout=20))


@pytest.mark.sandbox
def test_overlap_through_a_bind_mount_is_refused(place):
    """A build that compares paths, even resolved ones, does not see it."""
    from harness import sandbox
    box, src, dst = place
    sandbox.mount("--bind", src, box.dir("bound"))
    refused(command("run", src, box.path("bound"), "--state", box.path("state"), timeout=20))


def test_verbs_without_a_daemon_say_so(box):
    """A build that waits for a socket that never comes hangs scripts."""
    for verb in (["status"], ["wait", "--timeout", "1s"], ["held"], ["stop"], ["pause"], ["verify"], ["reload"]):
        refused(command(verb[0], "--state", box.path("state"), *verb[1:], timeout=20))


def test_unknown_job_and_id_are_named(box):
    """A build that ignores a misspelt job name says that all is well."""
    ls = box.lockstep(box.dir("src"), [box.local()]).settle()
    for verb in (["wait", "nosuch.1"], ["pause", "nosuch.1"], ["resume", "nosuch.1"], ["verify", "nosuch.1"], ["retry", "nosuch.1"],
                 ["approve", "1", "nosuch.1"], ["status", "nosuch.1"], ["status", "--json", "nosuch.1"], ["status", "-w", "nosuch.1"]):
        done = ls.ask(*verb)
        refused(done, "nosuch.1")
        assert done.returncode == EXIT_USAGE and not done.stdout, (verb, done)
    done = ls.ask("status", "--check", "nosuch.1")
    assert done.returncode == 3 and done.stdout.startswith("LOCKSTEP UNKNOWN") and "nosuch.1" in done.stdout
    refused(ls.ask("approve", "999999"))


def test_status_of_one_job_leaves_the_others_out(box):
    """A build that ignores the name watches another job than the one that was asked for."""
    src, good, gone = box.dir("src"), box.local("good"), box.local("gone")
    conf = box.config(f"[tree t]\nroot = {src}\ntarget = {good.path}\n[target far]\ntarget = {gone.path}\nrequire_mount = yes\n")
    ls = box.lockstep(config=conf)
    ls.settle(10, "t.1")
    ls.until_text("nothing is mounted", name="far")
    assert [j["name"] for j in json.loads(ls.ask("status", "--json", "t.1").stdout)["jobs"]] == ["t.1"]
    assert "far" not in ls.ask("status", "t.1").stdout
    done = ls.ask("status", "--check", "t.1")
    assert done.returncode == 0 and "far" not in done.stdout, done.stdout
    assert ls.ask("status", "--check").returncode == 1


def test_help_and_version_work_without_anything(box):
    """A build that needs a configuration to print its help is no help."""
    for args in (["--help"], ["--version"], *([v, "--help"] for v in
                 ("run", "check", "status", "wait", "verify", "held", "approve", "pause", "resume", "reload", "stop"))):
        done = command(*args)
        assert done.returncode == 0 and done.stdout.strip(), args


def damage_flip(path):
    with open(path, "r+b") as f:
        data = bytearray(f.read())
        for n in range(0, len(data), 509):
            data[n] ^= 0x55
        f.seek(0)
        f.write(data)


def damage_random(path):
    size = os.path.getsize(path)
    with open(path, "wb") as f:
        f.write(os.urandom(size))


DAMAGES = {
    "flipped": damage_flip,
    "random": damage_random,
    "empty": lambda path: os.truncate(path, 0),
    "half": lambda path: os.truncate(path, os.path.getsize(path) // 2),
    "short": lambda path: os.truncate(path, 5000),
    "gone": os.unlink,
    "directory": lambda path: os.unlink(path) or os.mkdir(path),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_corrupt_ledger_is_compared_nothing_wrongly_deleted(box, damage):
    """A build that believes a damaged ledger deletes, or crashes at each start until somebody removes it."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 300)
    ls = box.lockstep(src, [server]).settle()
    box.write(server.path + "/theirs", b"foreign")
    ls.stop()
    files = [os.path.join(d, n) for d, _, names in os.walk(ls.state) for n in names if n not in ("lock", "lock.mdb")]
    assert files
    for path in files:
        DAMAGES[damage](path)
    box.write(src + "/while-down", b"1")
    ls.start(ready=False)
    from harness import until
    until(lambda: ls.proc.poll() is not None or ls.answers(), 15, on=[ls.log])
    if ls.proc.poll() is not None:
        assert damage == "directory" and ls.proc.returncode in EXIT_CODES, ls.tail()
        return
    ls.settle(30)
    assert box.read(server.path + "/theirs") == b"foreign"
    os.unlink(server.path + "/theirs")
    os.utime(server.path, ns=(0, os.stat(src).st_mtime_ns))
    box.check_equal(src, server)


def test_state_directory_removed_while_down_target_kept(box):
    """A build whose empty ledger means "nothing should be there" deletes the target."""
    src, server = box.dir("src"), box.rsyncd()
    box.fill(src, 200)
    ls = box.lockstep(src, [server]).settle()
    ls.stop()
    shutil.rmtree(ls.state)
    shutil.rmtree(src + "/d000")
    ls.start().settle(20)
    assert os.path.exists(server.path + "/d000/f00000"), "deleted what it could not know to be its own"
    assert os.path.exists(server.path + "/d001/f00050")
