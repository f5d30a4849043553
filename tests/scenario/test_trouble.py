"""What a target answers when it cannot: the server's own words, nothing lost, healed by itself, one attempt per target."""

import os
import random
import shutil
import signal
import subprocess
import sys

import pytest
from harness import proc, sandbox
from harness.daemon import BINARY, EXIT_REMAINS
from harness.tree import assert_equal, remove_words

# Runs its arguments on a host without IPv6: socket() ends with EAFNOSUPPORT for it.
WITHOUT_IPV6 = """
import ctypes, os, struct, sys
number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]  # of socket()
steps = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16), (0x15, 0, 1, 10), (0x06, 0, 0, 0x50000 | 97), (0x06, 0, 0, 0x7fff0000)]
program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *s) for s in steps))
filter = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(program)))
prctl = ctypes.CDLL(None, use_errno=True).prctl
for call in ((38, 1, 0, 0, 0), (22, 2, ctypes.c_void_p(ctypes.addressof(filter)))):  # no new privileges, seccomp
    if prctl(*call) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[1], sys.argv[1:])
"""
LOGIN_RETRY_MS = (200_000, 376_000)  # 5 min, give or take a quarter


def retry_now(ls, job="main.1"):
    """What a person does who has just repaired the target and does not want to wait."""
    assert ls.ask("retry", job).returncode == 0


def change(box, src, count=300):
    box.fill(src + "/changes", count)


@pytest.mark.parametrize("fault, words", [
    ("password", "auth failed"), ("module", "Unknown module"), ("read only", "read only"), ("hosts", "Unknown module"),
])
def test_fault_of_the_configuration_said_in_the_servers_words_tried_slowly(box, fault, words):
    """A build that starts a client per file hammers the server and fills its log; one that goes by the exit code says 5 for
    all of them."""
    src, server = box.dir("src"), box.rsyncd()
    change(box, src)
    target = server.target
    if fault == "password":
        server.set_server_password("another")
    elif fault == "module":
        target = target.replace("/mirror/", "/nosuch/")
    elif fault == "hosts":
        server.configure(hosts_allow="192.0.2.1")
    else:
        server.configure(read_only="yes")
    ls = box.lockstep(src, [target], sets=server.options)
    said = ls.until_text(words, 15)
    box.fill(src + "/more", 200)
    j = ls.until_job(lambda j: j["retry_in_ms"], 10, "a retry planned")
    ls.until_logged("It has to be writable" if fault == "read only" else "`lockstep check` tries the login", 5)
    assert proc.stays(lambda: ls.job()["state"] != "live", 2)
    assert server.logins() <= 4, f"{server.logins()} attempts"
    if fault != "read only":
        assert LOGIN_RETRY_MS[0] <= j["retry_in_ms"] <= LOGIN_RETRY_MS[1], (said, j["retry_in_ms"])
    if fault == "module":
        return
    server.set_server_password(server.password)
    server.configure(read_only="no", hosts_allow="127.0.0.1")
    retry_now(ls)
    ls.settle(30)
    box.check_equal(src, server)


def test_server_down_and_back_retries_grow_heals_by_itself(box):
    """A build that gives up, retries without pause, or always after the same second fails here."""
    src, server = box.dir("src"), box.rsyncd()
    ls = box.lockstep(src, [server]).settle()
    server.kill()
    change(box, src)
    ls.until_text("efused", 10)
    seen = set()

    def grown():
        seen.add(ls.job()["retry_in_ms"] or 0)
        return max(seen) > 2500

    proc.until(grown, 30, "retries growing")
    assert max(seen) <= 66_000
    server.start()
    ls.settle(70)
    box.check_equal(src, server)


@pytest.mark.limit(120)
def test_max_connections_said_as_busy_not_as_a_login_fault(box):
    """A build that goes by the exit code takes a busy server for a wrong password: it is 5 for both."""
    src, server = box.dir("src"), box.rsyncd(max_connections="1")
    other = box.dir("other")
    box.write(other + "/big", os.urandom(8 << 20))
    hog = proc.spawn(["rsync", "-a", "--bwlimit=100", other + "/", server.target.replace("/mirror/", "/mirror/hog/")],
                     env={"PATH": os.environ["PATH"], "RSYNC_PASSWORD": server.password})
    try:
        proc.until(server.connections, 10, "the hog connected")
        ls = box.lockstep(src, [server])
        change(box, src)
        ls.until_text("max connections (1) reached", 15)
        j = ls.until_job(lambda j: j["retry_in_ms"], 10, "a retry planned")
        assert j["retry_in_ms"] <= 66_000
        assert "login" not in ls.text() and "password" not in ls.text()
    finally:
        proc.kill_tree(hog)
    # What the hog left at the target is not ours.
    proc.until(lambda: ls.job()["confirmed_files"] >= 300, 70, "all files there", on=[ls.log])
    assert os.path.exists(server.path + "/changes/d000/f00000")


def test_one_connection_only_is_enough(box):
    """A build that needs its warm sessions never works with a server that grants one."""
    src, server = box.dir("src"), box.rsyncd(max_connections="1")
    change(box, src)
    ls = box.lockstep(src, [server]).settle(60)
    box.write(src + "/more", b"1")
    ls.settle(60)
    box.check_equal(src, server)


@pytest.mark.limit(120)
def test_black_hole_is_given_up_in_time_and_heals(box):
    """A build that leaves it to the kernel or to rsync's timeout hangs for minutes, or for ever."""
    src, server = box.dir("src"), box.rsyncd()
    line = box.forwarder(server.port)
    line.stalled = True
    url = server.target.replace(str(server.port), str(line.port))
    change(box, src)
    ls = box.lockstep(src, [url], sets=[*server.options, "handshake_timeout=2s", "timeout=5s"])
    ls.until_job(lambda j: j["state"] == "retrying" and j["trouble"], 15, "the silent peer given up")
    line.stalled = False
    ls.settle(40)
    line.stalled = True
    box.write(src + "/during", b"1")
    ls.until_job(lambda j: j["state"] == "retrying" or j["trouble"], 40, "the stalled session given up")
    line.stalled = False
    ls.settle(70)
    box.check_equal(src, server)


def test_connections_reset_in_the_middle_nothing_lost(box):
    """A build that counts what it has written as delivered loses what was under way."""
    src, server = box.dir("src"), box.rsyncd()
    line = box.forwarder(server.port)
    url = server.target.replace(str(server.port), str(line.port))
    ls = box.lockstep(src, [url], sets=server.options).settle()
    for n in range(5):
        line.stalled = True  # else all of it may have gone before it is looked for
        box.fill(f"{src}/burst{n}", 300, size=5000)
        start = line.up
        line.stalled = False
        proc.until(lambda start=start: line.up > start + 50_000, 20, "bytes under way")
        line.drop()
    ls.settle(70)
    box.check_equal(src, server)


def test_connections_cut_at_random_places_one_after_the_other_nothing_lost(box):
    """A build that knows only one kind of break, or forgets what the broken session had half written, loses changes or
    leaves temporary files behind."""
    src, server, dice = box.dir("src"), box.rsyncd(), random.Random(20260101)
    line = box.forwarder(server.port)
    url = server.target.replace(str(server.port), str(line.port))
    ls = box.lockstep(src, [url], sets=server.options).settle()
    line.cut = lambda: int(10 ** dice.uniform(1.5, 5.5))

    def cut_since(seen):
        """What went through without a cut was short: more has to go."""
        box.write(f"{src}/more", os.urandom(100_000))
        return ls.ask("retry", "main.1").returncode == 0 and line.cuts > seen

    for n in range(30):
        box.fill(f"{src}/n{n}", 20, size=3000)
        box.write(f"{src}/rewritten", dice.randbytes(200_000))
        if n % 3 == 2:
            shutil.rmtree(f"{src}/n{n - 2}")
        seen = line.cuts
        proc.until(lambda seen=seen: cut_since(seen), 20, "a connection cut")
    line.cut = None
    retry_now(ls)
    ls.settle(70)
    remove_words(src, server.path)
    box.check_equal(src, server)


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"@RSYNCD: 99.0\n" * 3, b"\0" * 70000,
                                  b"@ERROR: \x1b]0;title\x07 gone\n", b"@RSYNCD: 31.0 sha512 md5\n@RSYNCD: EXIT\n", b"x" * (1 << 20)],
                         ids=["http", "greetings", "zeros", "escapes", "exit", "flood"])
def test_peer_that_talks_nonsense_is_said_and_survived(box, says):
    """A build that parses a peer's bytes without limits crashes, hangs or writes control characters to the terminal."""
    src, copy = box.dir("src"), box.local()
    hole = box.blackhole(say=says)
    change(box, src, 20)
    ls = box.lockstep(src, [copy, f"rsync://u@127.0.0.1:{hole.port}/m/"], sets=["handshake_timeout=2s"])
    ls.until_job(lambda j: j["trouble"], 15, "the trouble said", name="main.2")
    ls.settle(10, "main.1")
    assert "\x1b" not in ls.text("main.2") and "\x1b" not in ls.read_log()
    box.check_equal(src, copy)
    assert hole.accepted <= 10


@pytest.mark.sandbox
def test_target_full_said_nothing_lost_heals_when_there_is_room(box):
    """A build that drops what failed with ENOSPC never sends it again."""
    src, server = box.dir("src"), box.rsyncd()
    sandbox.mount("-t", "tmpfs", "-o", "size=4M", "tmpfs", server.path)
    box.fill(src, 20)
    ls = box.lockstep(src, [server]).settle()
    for n in range(12):
        box.write(f"{src}/big{n}", os.urandom(1 << 20))
    ls.until_text("No space left on device", 30)
    sent = ls.job()["bytes_out"]
    box.write(src + "/d000/f00003", b"rewritten")
    os.unlink(src + "/d000/f00004")
    assert proc.stays(lambda: ls.job()["bytes_out"] - sent < 30 << 20, 5), "it goes on sending to a full target"
    assert ls.read_log().count("target.trouble") <= 4
    assert ls.proc.poll() is None
    sandbox.mount("-o", "remount,size=64M", server.path)
    ls.settle(90)
    box.check_equal(src, server)


@pytest.mark.sandbox
def test_target_full_deletions_still_free_room(box):
    """A build that sends before it deletes can never free a full target."""
    src, server = box.dir("src"), box.rsyncd()
    sandbox.mount("-t", "tmpfs", "-o", "size=4M", "tmpfs", server.path)
    box.write(src + "/old", os.urandom(3 << 20))
    ls = box.lockstep(src, [server]).settle()
    box.write(src + "/new", os.urandom(2 << 20))
    ls.until_text("No space left on device", 30)
    os.unlink(src + "/old")
    proc.until(lambda: not os.path.exists(server.path + "/old"), 70, "the old file gone", on=[server.path])
    ls.settle(90)
    box.check_equal(src, server)


@pytest.mark.sandbox
def test_local_target_turned_read_only_said_and_healed(box):
    """A build that retries each file at once floods its log."""
    src, mnt = box.dir("src"), box.dir("mnt")
    sandbox.mount("-t", "tmpfs", "tmpfs", mnt)
    box.fill(src, 20)
    ls = box.lockstep(src, [mnt]).settle()
    sandbox.mount("-o", "remount,ro", mnt)
    change(box, src)
    ls.until_text("ead-only file system", 30)
    assert len(ls.read_log()) < 2_000_000
    sandbox.mount("-o", "remount,rw", mnt)
    ls.settle(90)
    box.check_equal(src, mnt)


@pytest.mark.root
@pytest.mark.limit(180)
@pytest.mark.parametrize("kind", ("local", "rsyncd"))
def test_immutable_file_at_the_target_named_others_go_heals(box, kind):
    """A build that counts exit code 23 as done forgets the file."""
    src, server = box.dir("src"), box.server(kind)
    box.fill(src, 50)
    ls = box.lockstep(src, [server]).settle()
    stuck = server.path + "/d000/f00007"
    done = subprocess.run(["chattr", "+i", stuck], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"injector missing: chattr: {done.stderr.strip()}")
    try:
        for n in range(20):
            box.write(f"{src}/d000/f{n:05}", b"changed" * 10)
        assert "f00007" in ls.remains(20)
        assert box.read(server.path + "/d000/f00006") == b"changed" * 10
        assert ls.job()["failed"] == 1
        log = ls.read_log()
        assert "ot permitted" in log + ls.text()
    finally:
        subprocess.run(["chattr", "-i", stuck], check=True)
    proc.until(lambda: box.read(stuck) == b"changed" * 10, 90, "the file healed", on=[os.path.dirname(stuck)])
    ls.settle(30)
    box.check_equal(src, server)


def test_ssh_with_a_wrong_key_said_in_the_servers_words(box):
    """A build that hides ssh's words leaves the operator with "exit 255"."""
    src, server = box.dir("src"), box.sshd()
    change(box, src, 20)
    os.truncate(server.home + "/authorized_keys", 0)
    ls = box.lockstep(src, [server])
    ls.until_text("Permission denied", 20)


def test_ssh_without_rsync_there_said(box):
    """A build that reads protocol bytes from a shell's error text says nonsense."""
    src, server = box.dir("src"), box.sshd()
    change(box, src, 20)
    ls = box.lockstep(src, [server], sets=["rsync_path=/nonexistent/rsync"])
    ls.until_text("/nonexistent/rsync", 20)


def test_ssh_unknown_host_key_said(box):
    """A build that accepts any host key can be impersonated; one that asks hangs without a terminal."""
    src, server = box.dir("src"), box.sshd()
    change(box, src, 20)
    os.truncate(server.known_hosts, 0)
    ls = box.lockstep(src, [server])
    ls.until_text("ost key", 20)
    assert os.listdir(server.path) == []


def test_file_excluded_by_the_server_named_without_a_hot_loop(box):
    """A build that retries a refusal at once never rests."""
    src, server = box.dir("src"), box.rsyncd(exclude="*.secret")
    box.fill(src, 20)
    box.write(src + "/a.secret", b"1")
    ls = box.lockstep(src, [server])
    done = ls.wait(20)
    assert done.returncode in (0, EXIT_REMAINS)
    if done.returncode == EXIT_REMAINS:
        assert "a.secret" in ls.remains()
    sessions = ls.job()["sessions"]
    assert proc.stays(lambda: ls.job()["sessions"] <= sessions + 3, 3)
    assert os.path.exists(server.path + "/d000/f00001")


@pytest.mark.root
def test_hundreds_of_failing_files_are_named_stop_no_others_and_heal(box):
    """Stock rsync asks for nothing more while 50 files are under way, counts the failed ones among them, and both ends
    wait for ever; a plain `rsync --remove-source-files` does."""
    src, server = box.dir("src"), box.rsyncd(uid="nobody", gid="nogroup", use_chroot="no")
    box.fill(src + "/sealed", 200)
    box.fill(src + "/zopen", 300)
    box.write(src + "/sealed/linked", b"1")
    os.link(src + "/sealed/linked", src + "/sealed/again")
    for at, dirs, files in os.walk(src):
        for name in [".", *dirs, *files]:
            os.chown(os.path.join(at, name), 65534, 65534)
    os.chown(server.path, 65534, 65534)
    for at, _, _ in os.walk(src + "/sealed"):
        os.mkdir(server.path + at[len(src):])
    ls = box.lockstep(src, [server], sets=server.options)
    ls.until_job(lambda j: j["failed"] >= 202 and j["confirmed_files"] >= 300, 20, "each confirmed or failed")
    said = ls.remains(20)
    assert "sealed/d000/f00000: " in said and "sealed/d003/f00199: " in said and "Permission denied" in said
    assert_equal(src + "/zopen", server.path + "/zopen")
    box.write(src + "/zopen/later", b"1")
    os.chown(src + "/zopen/later", 65534, 65534)
    proc.until(lambda: os.path.exists(server.path + "/zopen/later"), 20, "a later change there", on=[server.path + "/zopen"])
    for at, _, _ in os.walk(server.path + "/sealed"):
        os.chown(at, 65534, 65534)
    ls.until_job(lambda j: j["failed"] == 0, 70, "healed")
    ls.settle(20)
    box.check_equal(src, server)


@pytest.mark.limit(120)
@pytest.mark.parametrize("comes_back", (True, False))
def test_worker_that_does_not_answer_is_named_and_in_the_end_replaced(box, comes_back):
    """A build that leaves all timers to the worker waits for ever for one that hangs in a read, and says that all is well."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 20)
    ls = box.lockstep(src, [copy], sets=["timeout=5s"]).settle()
    [worker] = ls.workers()
    proc.send([worker], signal.SIGSTOP)
    box.write(src + "/new", b"1")
    said = ls.until_text("has not answered", 30)
    assert "worker process" in said and "does the source's file system answer" in said
    if comes_back:
        proc.send([worker], signal.SIGCONT)
        ls.until_logged("worker.answers", 20)
    else:
        assert "had not answered for" in ls.until_logged("and was ended", 60)
    ls.settle(40)
    box.check_equal(src, copy)
    assert not ls.job()["text"] and (ls.workers() == [worker]) == comes_back


@pytest.mark.sandbox
def test_local_targets_that_do_not_answer_are_named_and_cost_the_others_nothing(box, silenced):
    """A build that looks at targets in libuv's pool says that all is well, and with four of them resolves no name."""
    src, server, dead = box.dir("src"), box.rsyncd(), [box.local(f"dead{n}") for n in range(5)]
    box.fill(src, 20)
    ls = box.lockstep(src, [*dead, server], sets=["handshake_timeout=2s"]).settle(20)
    silenced(*(d.path for d in dead))
    server.kill()  # all have to connect anew
    proc.send(ls.receivers(), signal.SIGKILL)
    box.write(src + "/new", b"1")
    for n in range(5):
        ls.until_text(f"dead{n}: its file system does not answer", 30, name=f"main.{n + 1}")
    assert "its file system does not answer" in ls.ask("status", "--check").stdout
    server.start()
    retry_now(ls, "main.6")
    ls.settle(20, "main.6")
    box.check_equal(src, server)
    assert ls.stop(5) == 0
    assert "the end does not wait for it" in ls.read_log()


@pytest.mark.sandbox
def test_local_target_that_answers_again_heals(box, silenced):
    """A build that takes what an attempt saw that was given up, or waits for it for ever, stays as it is."""
    src, copy = box.dir("src"), box.local()
    box.fill(src, 20)
    ls = box.lockstep(src, [copy], sets=["handshake_timeout=1s"]).settle()
    silenced(copy.path)
    proc.send(ls.receivers(), signal.SIGKILL)
    box.write(src + "/new", b"1")
    ls.until_text("does not answer", 30)
    retry_now(ls)
    proc.until(lambda: ls.read_log().count("its file system does not answer") >= 2, 20, "the second attempt given up", on=[ls.log])
    silenced.end()
    proc.until(lambda: sandbox.umount(copy.path) == (0, ""), 5, "umount")
    retry_now(ls)
    ls.settle(20)
    box.check_equal(src, copy)
    assert not ls.job()["text"]


@pytest.mark.sandbox
def test_password_file_that_cannot_be_read_now_is_no_wrong_login(box, silenced):
    """A build that takes each failure on the way to a login for a wrong one waits five minutes for what passes in seconds."""
    src, server = box.dir("src"), box.rsyncd()
    secret = box.write(box.path("secret", "client"), server.password, mode=0o600)
    ls = box.lockstep(src, [server.target], sets=[f"password_file={secret}"]).settle()
    silenced(os.path.dirname(secret))
    silenced.end()  # what is there now fails with ENOTCONN
    server.kill()
    server.start()
    box.write(src + "/new", b"1")
    said = ls.until_text("not connected", 20)
    assert ": local: " in said and ls.job()["retry_in_ms"] < 100_000, said
    proc.until(lambda: sandbox.umount(os.path.dirname(secret)) == (0, ""), 5, "umount")
    retry_now(ls)
    ls.settle(20)
    box.check_equal(src, server)


@pytest.mark.sandbox
def test_address_of_a_family_that_is_not_there_says_nothing_about_the_others(box):
    """A build that gives up at the first of them does not try the next, or says its error in the place of the server's."""
    src, server = box.dir("src"), box.rsyncd(start=False)
    box.fill(src, 20)
    sandbox.mount("--bind", box.write(box.path("hosts"), "127.0.0.1 both.test\n::1 both.test six.test\n"), "/etc/hosts")
    without = [sys.executable, "-c", WITHOUT_IPV6]
    both, six = (server.target.replace("127.0.0.1", f"{name}.test") for name in ("both", "six"))
    ls = box.lockstep(src, [both, six], sets=server.options, prefix=without)
    said = ls.until_text("cannot reach both.test", 20, name="main.1")
    assert said.endswith("Connection refused. Does `rsync --daemon` run there?"), said
    said = ls.until_text("cannot reach six.test", 20, name="main.2")
    assert "unreachable" in said and "Address family not supported" in said, said
    checked = subprocess.run([*without, BINARY, "check", src, both, "--set", server.options[0]], capture_output=True, text=True, check=False)
    assert checked.returncode != 0 and "Connection refused" in checked.stdout + checked.stderr, checked
    server.start()
    retry_now(ls)
    ls.settle(20, "main.1")
    box.check_equal(src, server)
