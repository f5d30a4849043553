"""`lockstep check`: logs in at each target, writes and removes a file there, and says what is wrong and what to do."""

import os

import pytest
from harness import sandbox
from harness.daemon import command

EXIT_FAILURE = 1


def check(box, target, *sets):
    """The command's answer for one job."""
    options = list(getattr(target, "options", ())) + list(sets)
    lines = [f"state = {box.path('check-state')}", f"[tree t]\nroot = {box.dir('src')}", f"target = {getattr(target, 'target', target)}"]
    lines += [o.replace("=", " = ", 1) for o in options]
    conf = box.config("\n".join(lines) + "\n")
    return command("check", "-c", conf)


def fails(box, target, *words, sets=()):
    done = check(box, target, *sets)
    assert done.returncode == EXIT_FAILURE, done.stdout + done.stderr
    for word in words:
        assert word in done.stdout, done.stdout
    return done.stdout


@pytest.mark.parametrize("kind", ["local", "rsyncd", "ssh"])
def test_check_of_a_good_target_tells_every_step(box, kind):
    server = box.server(kind)
    mine = box.write(os.path.join(server.path, "theirs"), "keep me")
    done = check(box, server)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("(protocol 3", "trial write: ok", "trial removal: ok"):
        assert step in done.stdout, done.stdout
    assert box.read(mine) == b"keep me"
    assert sorted(os.listdir(server.path)) == [".lockstep", "theirs"]
    assert os.listdir(os.path.join(server.path, ".lockstep")) == []


def test_check_twice_says_the_same(box):
    server = box.rsyncd()
    assert check(box, server).stdout == check(box, server).stdout


def test_check_tells_a_wrong_password(box):
    server = box.rsyncd()
    server.set_server_password("another")
    out = fails(box, server, "FAILED", "auth failed", "password_file")
    assert "trial write" not in out and "connected" in out


def test_check_tells_an_unknown_module(box):
    server = box.rsyncd()
    server.target = server.target.replace("/mirror/", "/mirrored/")
    fails(box, server, "Unknown module", "mirrored", "module's name")


def test_check_tells_a_read_only_module(box):
    server = box.rsyncd(read_only="yes")
    fails(box, server, "read only", "`read only = no`")
    assert os.listdir(server.path) == []


def test_check_tells_a_refused_option(box):
    server = box.rsyncd(refuse_options="delete")
    out = fails(box, server, "trial write: ok", "--delete", "refuse options")
    assert "trial removal: ok" not in out


def test_check_tells_that_nobody_answers(box):
    server = box.rsyncd(start=False)
    fails(box, server, "cannot reach 127.0.0.1", "refused. Does `rsync --daemon` run there?")


def test_check_of_a_silent_server_ends_in_time(box):
    hole = box.blackhole()
    fails(box, f"rsync://127.0.0.1:{hole.port}/mirror/", "connected", "no answer in 1 s", sets=("handshake_timeout=1s",))


def test_check_tells_a_missing_local_directory_and_does_not_make_it(box):
    gone = box.path("nowhere")
    fails(box, gone, "does not exist", "Create it or mount it")
    assert not os.path.exists(gone)


def test_check_tells_that_nothing_is_mounted(box):
    fails(box, box.local(), "nothing is mounted", sets=("require_mount=yes",))


@pytest.mark.sandbox
def test_check_takes_a_bind_mount_for_a_mount_as_the_daemon_does(box):
    real, copy = box.dir("real"), box.local()
    sandbox.mount("--bind", real, copy.path)
    done = check(box, copy, "require_mount=yes")
    assert done.returncode == 0, done.stdout + done.stderr



def test_check_tells_a_refused_ssh_key(box):
    server = box.sshd()
    os.truncate(os.path.join(server.home, "authorized_keys"), 0)
    fails(box, server, "Permission denied", "ssh must be able to log in")


def test_check_tells_an_unknown_host_key(box):
    server = box.sshd()
    os.truncate(server.known_hosts, 0)
    out = fails(box, server, "Host key verification failed.", "known_hosts")
    assert ".." not in out.partition("FAILED")[2] and "\\x0" not in out, out


def test_check_tells_a_missing_parent_of_the_path(box):
    """A build that leaves people alone with the receiver's `mkdir failed` lets them suspect rights."""
    server = box.rsyncd()
    server.target += "deep/er"
    fails(box, server, "deep/er", "Create it over there")


def test_check_tells_that_rsync_is_missing_over_there(box):
    fails(box, box.sshd(), "no-such-rsync", sets=("rsync_path=no-such-rsync",))


@pytest.mark.root
def test_check_tells_what_the_target_cannot_write(box):
    server = box.rsyncd(uid="nobody", gid="nogroup", use_chroot="no")
    os.chmod(server.path, 0o555)
    out = fails(box, server, "Permission denied")
    assert "trial write: ok" not in out


@pytest.mark.parametrize("target, sets, words", [
    ("rsync://u@192.0.2.1/m", "password_file = {0}/nosuch", "nosuch"),
    ("rsync://u@192.0.2.1/m", "password_file = {0}/open", "chmod 600"),
    ("u@192.0.2.1:/m", "ssh_key = {0}/nosuch", "nosuch"),
])
def test_check_offline_still_reads_what_lies_here(box, target, sets, words):
    """A build that looks at a password only when it logs in passes a configuration that cannot work."""
    box.write(box.path("open"), b"secret\n", mode=0o644)
    conf = box.config(f"state = {box.path('state')}\n[tree t]\nroot = {box.dir('src')}\ntarget = {target}\n{sets.format(box.root)}\n")
    done = command("check", "--offline", "-c", conf)
    assert done.returncode == EXIT_FAILURE and "FAILED" in done.stdout and words in done.stdout, done.stdout


def test_check_of_a_root_with_a_comment_behind_it_says_so(box):
    """A build that says only `No such file` lets people look for a typing error that is none."""
    conf = box.config(f"state = {box.path('state')}\n[tree t]\nroot = {box.dir('src')} # photos\ntarget = {box.dir('dst')}\n")
    done = command("check", "--offline", "-c", conf)
    assert done.returncode == EXIT_FAILURE and "lines of their own" in done.stdout, done.stdout
