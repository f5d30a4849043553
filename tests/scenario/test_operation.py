"""Running it: once, twice, as PID 1, stopped in the middle, reloaded, with other settings, with closed descriptors."""

import os
import re
import shutil
import signal
import subprocess
import time

import pytest
from harness import diff, ended, proc, sandbox
from harness.daemon import BINARY, EXIT_REMAINS, EXIT_RUNNING, EXIT_USAGE, command


def conf_text(src, *targets, more=""):
    return f"[tree t]\nroot = {src}\n" + "".join(f"target = {t}\n" for t in targets) + more


def test_once_ends_with_0_when_equal(box):
    """A build that ends when its queue is empty ends before the last confirmation."""
    src, copy, server = box.dir("src"), box.local(), box.rsyncd()
    box.fill(src, 500)
    done = command("run", src, copy.path, server.target, "--set", server.options[0], "--once", "--state", box.path("state"), timeout=60)
    assert done.returncode == 0, done.stderr
    box.check_equal(src, copy)
    box.check_equal(src, server)


def test_once_ends_with_an_error_when_not_equal(box):
    """A build that says 0 although something failed breaks every script around it."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 10)
    box.write(copy.path + "/d000/f00001/in-the-way", b"foreign")
    done = command("run", src, copy.path, "--once", "--state", box.path("state"), timeout=60)
    assert done.returncode == EXIT_REMAINS
    assert "main.1: " in done.stderr and "failed: d000/f00001: could not make way" in done.stderr, done.stderr
    assert box.read(copy.path + "/d000/f00001/in-the-way") == b"foreign"


@pytest.mark.root
@pytest.mark.parametrize("closed", ("src", "src/d000"))
def test_once_of_a_directory_that_cannot_be_read_ends_with_an_error(box, closed):
    """A build that takes what it could not list for empty says that all is equal."""
    src, copy = box.dir("src"), box.dir("copy")
    box.fill(src, 100)
    for d in (copy, box.dir("state")):
        os.chown(d, 65534, 65534)
    os.chmod(box.path(closed), 0o700)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = subprocess.run([*as_nobody, BINARY, "run", src, copy, "--once", "--state", box.path("state")], capture_output=True,
                          text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == EXIT_REMAINS, done.stderr
    assert "cannot be read" in done.stderr and "Permission denied" in done.stderr, done.stderr
    assert os.path.exists(copy + "/d001") == (closed != "src")


def test_once_ends_and_says_why_when_deletions_are_held(box):
    """A build that waits for an approval hangs for ever: nobody can give one to a run that is not a daemon."""
    src, copy, state = box.dir("src"), box.local(), box.path("state")
    box.fill(src, 2000)
    args = ("run", src, copy.path, "--once", "--state", state)
    assert command(*args, timeout=60).returncode == 0
    for n in range(30):
        shutil.rmtree(f"{src}/d{n:03}")
    done = command(*args, timeout=60)
    assert done.returncode == EXIT_REMAINS
    assert "more than 1000 entries" in done.stderr and re.search(r"^ +d0[0-2]\d", done.stderr, re.M) and "without --once" in done.stderr, done.stderr
    assert os.path.exists(copy.path + "/d000/f00001")
    done = command(*args, "--set", "brake=no", timeout=60)
    assert done.returncode == 0, done.stderr
    box.check_equal(src, copy)


def test_once_with_a_source_that_is_not_there_says_so(box):
    """A build that ends before it has looked says that something is frozen, and not what."""
    copy = box.local()
    conf = box.config(conf_text(box.path("nosuch"), copy.path))
    done = command("run", "-c", conf, "--once", "--state", box.path("state"), timeout=60)
    assert done.returncode == EXIT_REMAINS and "No such file or directory" in done.stderr, done
    assert "approve" not in done.stderr, done.stderr
    assert os.listdir(copy.path) == []


def test_once_to_another_target_than_before_ends_and_says_so(box):
    """A build that silently fills the other target, or ends with 0, has mirrored to nobody knows where."""
    src, one, two, state = box.dir("src"), box.local("one"), box.local("two"), box.path("state")
    box.fill(src, 20)
    assert command("run", src, one.path, "--once", "--state", state, timeout=60).returncode == 0
    done = command("run", src, two.path, "--once", "--state", state, timeout=60)
    assert done.returncode == EXIT_REMAINS
    assert "another target" in done.stderr and "without --once" in done.stderr, done.stderr
    assert os.listdir(two.path) == []


def test_second_instance_on_the_same_state_says_who_holds_it(box):
    """A build without a lock lets two daemons write one ledger."""
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy]).settle()
    done = command("run", src, box.dir("other"), "--state", ls.state, timeout=20)
    assert done.returncode == EXIT_RUNNING and str(ls.pid) in done.stderr
    assert os.listdir(box.path("other")) == []
    box.write(src + "/f", b"1")
    ls.settle()
    box.check_equal(src, copy)


def test_state_of_a_killed_instance_is_taken_over(box):
    """A build that trusts a pid file refuses to start after a crash."""
    src, copy = box.dir("src"), box.local()
    # What was under way may still be written for twice the timeout.
    ls = box.lockstep(src, [copy], sets=["timeout=5s"]).settle()
    ls.kill()
    ls.end()
    ls.start().settle(30)


@pytest.mark.parametrize("how", ("stop", "term", "int"))
def test_stop_in_the_middle_of_a_transfer_within_5_s(box, how):
    """A build that waits for its transfer, or leaves its children behind, fails here."""
    src, server = box.dir("src"), box.rsyncd()
    line = box.forwarder(server.port, rate=1 << 20)
    url = server.target.replace(str(server.port), str(line.port))
    # What was under way is sent again when its server is certain to be gone: twice this timeout.
    ls = box.lockstep(src, [url, box.local()], sets=[*server.options, "timeout=5s"])
    box.write(src + "/big", os.urandom(50 << 20))
    proc.until(lambda: line.up > 1 << 20, 20, "the transfer under way")
    if how == "stop":
        code = ls.stop(5)
    else:
        os.kill(ls.pid, signal.SIGTERM if how == "term" else signal.SIGINT)
        code = ls.wait_end(5)
    assert code == 0
    line.rate = 0
    ls.start().settle(60)
    box.check_equal(src, server)
    assert not [n for n in os.listdir(server.path) if n.startswith(".big.")]


@pytest.mark.root
@pytest.mark.parametrize("busy", (False, True))
def test_sigterm_as_pid_1_ends_within_5_s(box, busy):
    """The kernel ignores a signal to PID 1 without a handler: a naive build in a container is killed after 10 s."""
    src = box.dir("src")
    targets, args = [box.local()], ()
    if busy:
        targets.append(f"rsync://u@127.0.0.1:{box.blackhole().port}/m/")
    prefix = ["unshare", "-pm", "--fork", "--kill-child", "--mount-proc"]
    probe = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"injector missing: {probe.stderr.strip()}")
    box.fill(src, 200)
    ls = box.lockstep(src, targets, prefix=prefix, args=args)
    ls.settle(20, "main.1")
    with open(f"/proc/{ls.pid}/status") as f:
        nspid = next(line for line in f if line.startswith("NSpid")).split()
    assert nspid[-1] == "1"
    started = time.monotonic()
    assert ls.terminate(5) == 0
    assert time.monotonic() - started < 5


def test_standard_descriptors_closed_at_start(box):
    """A build that gives descriptor 1 to a socket writes its messages to a peer."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 50)
    ls = box.lockstep(src, [copy], prefix=["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-'], sets=[f"log_file={box.path('own.log')}"])
    ls.settle()
    box.check_equal(src, copy)


def test_few_descriptors(box):
    """A build that runs out of descriptors and takes it for missing files deletes them."""
    src, servers = box.dir("src"), [box.local(), box.rsyncd()]
    box.fill(src, 500)
    ls = box.lockstep(src, servers, prefix=["sh", "-c", 'ulimit -n 64; exec "$0" "$@"'])
    ls.settle(40)
    for s in servers:
        box.check_equal(src, s)


def test_reload_adds_a_target_and_keeps_the_rest(box):
    """A build that restarts everything at a reload sends everything again, or loses its queues."""
    src, one, two = box.dir("src"), box.local("one"), box.local("two")
    box.fill(src, 100)
    conf = box.config(conf_text(src, one.path))
    ls = box.lockstep(config=conf).settle()
    sent = ls.job("t.1")["bytes_out"]
    box.config(conf_text(src, one.path, two.path))
    done = ls.ask("reload")
    assert done.returncode == 0, done.stderr
    box.write(src + "/new", b"1")
    ls.settle()
    box.check_equal(src, one)
    box.check_equal(src, two)
    assert sent <= ls.job("t.1")["bytes_out"] < sent + 10000


def test_reload_of_a_bad_configuration_leaves_the_old_one_running(box):
    """A build that has already thrown the old one away stops mirroring."""
    src, one = box.dir("src"), box.local("one")
    conf = box.config(conf_text(src, one.path))
    ls = box.lockstep(config=conf).settle()
    box.config(conf_text(src, one.path, more="exlude = x\n"))
    done = ls.ask("reload")
    assert done.returncode == EXIT_USAGE and f"{conf}:4" in done.stderr and "exclude" in done.stderr
    assert '"exclude"? The old configuration stays' in done.stderr, done.stderr
    box.write(src + "/still", b"1")
    ls.settle()
    box.check_equal(src, one)


def test_status_counts_the_tree_once_however_many_jobs_have_read_it(box):
    """A build that adds up all its crawls shows a first sync of three targets as a third of what it is."""
    src, copies = box.dir("src"), [box.local(n) for n in ("one", "two", "three")]
    box.fill(src, 100)
    ls = box.lockstep(src, copies).settle()
    assert (ls.tree()["dirs"], ls.tree()["entries"]) == (3, 102)


def test_reload_that_restarts_jobs_returns_when_they_run_again(box):
    """A build that answers at once makes the next `wait` say settled for jobs that are not there yet."""
    src, one = box.dir("src"), box.local("one")
    box.fill(src, 50)
    ls = box.lockstep(config=box.config(conf_text(src, one.path))).settle()
    for n in range(6):
        box.config(conf_text(src, one.path, more=("exclude = *.tmp\n", "lanes = 3\n", "")[n % 3]))
        done = ls.ask("reload")
        assert done.returncode == 0, done.stderr
        box.write(f"{src}/after{n}", b"1")
        ls.settle()
        assert os.path.exists(f"{one.path}/after{n}")
    box.check_equal(src, one)


def test_paused_job_stays_paused_over_a_reload_that_begins_it_again(box):
    """A build whose pause ends with the job writes to a target that somebody is about to unmount."""
    src, one = box.dir("src"), box.local("one")
    ls = box.lockstep(config=box.config(conf_text(src, one.path))).settle()
    assert ls.ask("pause").returncode == 0
    box.config(conf_text(src, one.path, more="lanes = 3\n"))
    assert ls.ask("reload").returncode == 0
    assert ls.job()["state"] == "paused"
    box.write(src + "/later", b"1")
    assert ls.wait(5).returncode == EXIT_REMAINS
    assert not os.path.exists(one.path + "/later")
    assert ls.ask("resume").returncode == 0
    ls.settle()
    box.check_equal(src, one)
    box.config(conf_text(src, one.path))
    assert ls.ask("reload").returncode == 0
    assert ls.job()["state"] != "paused"


@pytest.mark.sandbox
def test_reload_while_a_source_and_a_target_do_not_answer_stops_nobody(box, silenced):
    """A build that reads the configuration in its loop stands still, control socket and all jobs, until they answer."""
    dead, src, lost, copy = box.dir("dead"), box.dir("src"), box.local("lost"), box.local("copy")
    both = f"[tree d]\nroot = {dead}\ntarget = {lost.path}\n" + conf_text(src, copy.path)
    ls = box.lockstep(config=box.config(both)).settle()
    silenced(dead, lost.path)
    box.config(both + "lanes = 3\n")
    os.kill(ls.pid, signal.SIGHUP)
    box.write(src + "/after", b"1")
    ls.settle(20, "t.1")
    assert os.path.exists(copy.path + "/after")
    again = ls.ask("reload")
    assert again.returncode != 0 and "one that does not answer holds it up" in again.stderr, again
    box.config(both + "lanes = 3\nlogin = no\n")
    os.kill(ls.pid, signal.SIGHUP)
    assert ls.answers()
    silenced.end()
    assert f"{box.path('lockstep.conf')}:8" in ls.until_logged("the new configuration was not taken", 20)
    assert "config.reloaded" not in ls.read_log()
    for path in (dead, lost.path):
        proc.until(lambda path=path: sandbox.umount(path) == (0, ""), 5, f"umount of {path}")
    box.config(both + "lanes = 3\n")
    assert ls.ask("reload").returncode == 0
    silenced(dead, lost.path)
    os.kill(ls.pid, signal.SIGHUP)
    assert ls.ask("status").returncode == 0
    assert ls.stop(5) == 0


def test_reload_removes_a_target_and_touches_nothing_there(box):
    """A build that clears up after a removed job deletes a backup."""
    src, one, two = box.dir("src"), box.local("one"), box.local("two")
    box.fill(src, 50)
    ls = box.lockstep(config=box.config(conf_text(src, one.path, two.path))).settle()
    box.config(conf_text(src, one.path))
    assert ls.ask("reload").returncode == 0
    box.write(src + "/only-one", b"1")
    ls.settle()
    box.check_equal(src, one)
    assert os.path.exists(two.path + "/d000/f00001") and not os.path.exists(two.path + "/only-one")


def test_exclude_added_between_runs_forgets_and_never_deletes(box):
    """A build that compares its ledger with the filtered tree deletes what has become excluded."""
    src, one = box.dir("src"), box.local("one")
    box.write(src + "/keep.txt", b"1")
    box.write(src + "/cache/a.tmp", b"1")
    conf = box.config(conf_text(src, one.path))
    ls = box.lockstep(config=conf).settle()
    ls.stop()
    box.config(conf_text(src, one.path, more="exclude = *.tmp\n"))
    box.write(src + "/b.tmp", b"1")
    box.write(src + "/c.txt", b"1")
    ls.start().settle()
    assert os.path.exists(one.path + "/cache/a.tmp") and not os.path.exists(one.path + "/b.tmp")
    os.unlink(src + "/cache/a.tmp")
    box.write(src + "/d.txt", b"1")
    ls.settle()
    assert os.path.exists(one.path + "/cache/a.tmp")
    ls.stop()
    box.config(conf_text(src, one.path))
    ls.start().settle()
    assert os.path.exists(one.path + "/b.tmp")


def test_option_changed_between_runs_is_applied_to_what_is_there(box):
    """A build that only looks at what changes leaves the old attributes for ever."""
    src, one = box.dir("src"), box.local("one")
    box.fill(src, 30)
    for n in range(30):
        os.chmod(f"{src}/d000/f{n:05}", 0o640)
    conf = box.config(conf_text(src, one.path, more="chmod = F600\n"))
    ls = box.lockstep(config=conf).settle()
    assert os.stat(one.path + "/d000/f00003").st_mode & 0o777 == 0o600
    ls.stop()
    box.config(conf_text(src, one.path))
    ls.start().settle()
    assert os.stat(one.path + "/d000/f00003").st_mode & 0o777 == 0o640
    box.check_equal(src, one)


def test_target_or_root_exchanged_between_runs_is_held(box):
    """A build that keeps the ledger of another target, or of another source, sends nothing or deletes everything."""
    src, one, two = box.dir("src"), box.local("one"), box.local("two")
    box.fill(src, 50)
    conf = box.config(conf_text(src, one.path))
    ls = box.lockstep(config=conf).settle()
    ls.stop()
    other = box.dir("other")
    box.write(other + "/something", b"else")
    box.config(conf_text(other, one.path))
    ls.start()
    proc.until(lambda: ls.tree()["state"] == "frozen" or ls.job()["state"] in ("held", "frozen"), 15, "the other root held", on=[ls.log])
    assert proc.stays(lambda: os.path.exists(one.path + "/d000/f00001"), 2)
    ls.stop()
    box.config(conf_text(src, two.path))
    ls.start()
    proc.until(lambda: ls.job()["state"] == "held" or not diff(src, two.path), 15, "the other target held or filled", on=[ls.log])


def test_log_file_is_reopened(box):
    """A build that keeps writing to the rotated file fills the disk out of sight."""
    src, copy, log = box.dir("src"), box.local(), box.path("own.log")
    ls = box.lockstep(src, [copy], sets=[f"log_file={log}"]).settle()
    os.rename(log, log + ".1")
    os.kill(ls.pid, signal.SIGUSR1)
    box.write(src + "/f", b"1")
    ls.settle()
    proc.until(lambda: os.path.exists(log) and os.path.getsize(log), 5, "the new log", on=[box.root])


def test_log_that_cannot_be_written_does_not_stop_replication(box):
    """A build that blocks or dies on its log fails here."""
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy], sets=["log_file=/dev/full"])
    box.fill(src, 50)
    ls.settle()
    box.check_equal(src, copy)


def test_odd_names_in_status_and_log_are_printable(box):
    """A build that prints names as they are lets a file name write to the operator's terminal."""
    src = os.fsencode(box.dir("src"))
    copy = box.local()
    for n in (b"\x1b]0;owned\x07", b"a\nERROR all is lost", b"\xff\xfe", b"\xe2\x80\xaegpj.exe", b"%s%n", b'"},{"x":"'):
        with open(src + b"/" + n, "wb") as f:
            f.write(b"1")
    ls = box.lockstep(os.fsdecode(src), [copy]).settle()
    for text in (ls.read_log(), ls.ask("status").stdout, ls.ask("status", "--json").stdout):
        assert "\x1b" not in text and "\x07" not in text and "\u202e" not in text
    assert "\nERROR all is lost" not in ls.read_log()
    box.check_equal(os.fsdecode(src), copy)


def test_daemon_ends_no_orphans_when_killed(box):
    """A build whose workers do not notice their daemon's death goes on writing to the target."""
    src, copy, server = box.dir("src"), box.local(), box.rsyncd()
    ls = box.lockstep(src, [copy, server])
    box.fill(src, 300)
    ls.settle()
    family = proc.descendants(ls.pid)
    assert family
    ls.kill()
    assert not ended(family, 10), "workers and receivers that do not end by themselves"
    ls.end()
    shutil.rmtree(src)


@pytest.mark.parametrize("names", ("yes", "no"))
def test_worker_is_confined_and_works(box, names):
    """A build that sets its sandbox up and does not enter it, or cannot look up a name in it."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 20)
    ls = box.lockstep(src, [copy], sets=[f"numeric_ids={'no' if names == 'yes' else 'yes'}"]).settle()
    [worker] = ls.workers()
    with open(f"/proc/{worker}/status") as f:
        said = dict(line.split(":", 1) for line in f)
    assert said["NoNewPrivs"].strip() == "1"
    assert said["Seccomp"].strip() == "2"
    box.check_equal(src, copy)


def test_binary_needs_no_shell_to_run():
    """A build that calls a shell runs what a file name says."""
    done = subprocess.run(["nm", "-D", "--undefined-only", BINARY], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"injector missing: nm: {done.stderr.strip()}")
    names = {line.split()[-1].partition("@")[0] for line in done.stdout.splitlines() if line.split()}
    assert not names & {"system", "popen", "wordexp", "execlp", "execl", "execvp"}, names
