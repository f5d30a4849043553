"""Extended attributes and POSIX ACLs, on request: those of all kinds of entries, changed, removed, missed and refused."""

import errno
import os
import random
import signal
import struct
import threading

import churn
import pytest
from harness import assert_equal, proc, sandbox
from harness.tree import oracle
from test_churn import remove_words, victims_of

KINDS = ("local", "rsyncd", "ssh")
BOTH = ("xattrs=yes", "acls=yes")
NOBODY = 0xFFFFFFFF
USER, GROUP = 2, 8


def acl(*names, user=6, group=4, mask=6, other=0):
    """The kernel's form of an ACL; names: (tag, permissions, id)."""
    names = sorted(names, key=lambda n: (n[0], n[2]))
    entries = [(1, user, NOBODY), *[n for n in names if n[0] == USER], (4, group, NOBODY),
               *[n for n in names if n[0] == GROUP], (16, mask, NOBODY), (32, other, NOBODY)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries)


def set_acl(path, value, default=False):
    os.setxattr(path, "system.posix_acl_default" if default else "system.posix_acl_access", value)


def need_attributes(path):
    try:
        os.setxattr(path, "user.probe", b"x")
        os.removexattr(path, "user.probe")
    except OSError as e:
        if e.errno != errno.ENOTSUP:
            raise
        pytest.skip(f"injector missing: no extended attributes in {path}")


def check(src, server, attributes="AX"):
    """Equal to our own eyes, of which attributes are no part, and to rsync's."""
    assert_equal(src, server.path)
    said = oracle(src, server.path, attributes)
    assert said == "", f"rsync would still change:\n{said}"


def small_tree(box):
    src = box.dir("src")
    need_attributes(src)
    for name in ("top", "a/one", "a/two", "a/b/deep", "c/x"):
        box.write(os.path.join(src, name), name.encode() * 3)
        os.setxattr(os.path.join(src, name), "user.name", name.encode())
    os.symlink("one", src + "/a/link")
    os.link(src + "/a/one", src + "/c/same")
    os.mkfifo(src + "/c/fifo")
    os.setxattr(src + "/a/one", "user.long", b"1" * 900)
    os.setxattr(src + "/a/two", "user.long", b"1" * 900)
    os.setxattr(src + "/a/b", "user.of a directory", os.urandom(500))
    os.setxattr(src + "/a/b", "user.empty", b"")
    os.setxattr(src, "user.root", b"of all")
    if os.geteuid() == 0:
        os.setxattr(src + "/a/link", "trusted.link", b"y" * 40, follow_symlinks=False)
        os.setxattr(src + "/c/fifo", "trusted.fifo", b"z")
    set_acl(src + "/top", acl((USER, 6, 33), (GROUP, 4, 50)))
    set_acl(src + "/a", acl((USER, 7, 33), user=7, group=5, mask=7, other=5), default=True)
    box.write(src + "/a/heir", "inherits")
    return src


@pytest.mark.parametrize("kind", KINDS)
def test_attributes_arrive_and_follow_each_change(box, kind):
    """Nothing but the ctime tells of these changes, and of the second within a tick not even that."""
    src, server = small_tree(box), box.server(kind)
    ls = box.lockstep(src, [server], sets=BOTH).settle()
    check(src, server)
    assert ls.status()["jobs"][0]["note"] is None
    for n in range(3):
        os.setxattr(src + "/top", "user.name", b"%d" % n)
        os.setxattr(src + "/top", "user.name", b"again %d" % n)
        os.setxattr(src + "/a/b", "user.empty", b"%d" % n)
        os.setxattr(src, "user.root", b"%d" % n)
        os.setxattr(src + "/a/one", "user.long", b"%d" % n * 800)
        set_acl(src + "/top", acl((USER, n, 33)))
        set_acl(src + "/c", acl((GROUP, n, 50), user=7), default=True)
        ls.settle()
        check(src, server)
    for path, name in (("top", "user.name"), ("a/b", "user.empty"), ("", "user.root"), ("c/same", "user.long"),
                       ("top", "system.posix_acl_access"), ("a", "system.posix_acl_default")):
        os.removexattr(os.path.join(src, path), name)
        ls.settle()
        check(src, server)
    answer = ls.ask("verify", "--json", "--timeout", "60s", timeout=90)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("protocol", (30, 31))
def test_attributes_arrive_with_older_protocols(box, protocol):
    src, server = small_tree(box), box.local()
    ls = box.lockstep(src, [server], sets=(*BOTH, f"rsync_path=rsync --protocol={protocol}")).settle()
    assert ls.status()["jobs"][0]["protocol"] == protocol
    assert oracle(src, server.path, "AX") == ""  # whole seconds are all that protocol 30 has
    os.setxattr(src + "/a/one", "user.long", b"2" * 901)
    os.setxattr(src + "/a/b", "user.of a directory", b"3" * 40)
    ls.settle()
    assert oracle(src, server.path, "AX") == ""


@pytest.mark.parametrize("keep, letters", (("xattrs", "X"), ("acls", "A")))
def test_each_alone(box, keep, letters):
    src, server = small_tree(box), box.rsyncd()
    ls = box.lockstep(src, [server], sets=(f"{keep}=yes",)).settle()
    check(src, server, letters)
    other = os.listxattr(server.path + "/top")
    assert other == (["user.name"] if letters == "X" else ["system.posix_acl_access"])
    os.setxattr(src + "/top", "user.name", b"new")
    set_acl(src + "/top", acl((USER, 1, 33)))
    ls.settle()
    check(src, server, letters)


def test_verify_names_attributes_that_differ(box):
    src, server = small_tree(box), box.local()
    ls = box.lockstep(src, [server], sets=BOTH).settle()
    os.setxattr(server.path + "/a/one", "user.long", b"other")
    os.removexattr(server.path + "/a", "system.posix_acl_default")
    done = ls.ask("verify", "--json", "--timeout", "60s", timeout=90)
    assert done.returncode == 1
    assert '"extended attributes"' in done.stdout and '"ACL"' in done.stdout
    done = ls.ask("verify", "--repair", "--timeout", "60s", timeout=90)
    ls.settle()
    check(src, server)


def test_changes_while_nobody_watched_are_found(box):
    src, server = small_tree(box), box.rsyncd()
    ls = box.lockstep(src, [server], sets=BOTH).settle()
    ls.stop()
    os.setxattr(src + "/a/b", "user.empty", b"not any more")
    os.setxattr(src + "/a/b/deep", "user.name", b"changed")
    set_acl(src + "/c", acl((USER, 5, 33), user=7), default=True)
    ls.start().settle()
    check(src, server)


def test_switched_on_later_everything_gets_its_attributes(box):
    src, server = small_tree(box), box.local()
    ls = box.lockstep(src, [server]).settle()
    assert os.listxattr(server.path + "/top") == []
    ls.stop()
    ls = box.lockstep(src, [server], sets=BOTH, state=ls.state).settle()
    check(src, server)


@pytest.mark.parametrize("refused", ("xattrs", "acls", "xattrs acls"))
def test_target_that_refuses_gets_the_rest_and_is_told(box, refused):
    src, server = small_tree(box), box.rsyncd(refuse_options=refused)
    box.fill(src + "/more", 40)
    busy = ("lanes=8", "warm_sessions=8", "batch_files=1")  # several batches meet the refusal
    ls = box.lockstep(src, [server], sets=(*BOTH, *busy)).settle()
    job = ls.status()["jobs"][0]
    assert "the target refuses them" in job["note"] and job["trouble"] is None
    assert ("extended attributes" in job["note"]) == ("xattrs" in refused)
    assert ("ACLs" in job["note"]) == ("acls" in refused)
    assert "the target refuses them" in ls.ask("status").stdout
    check(src, server, "AX".replace("X", "" if "xattrs" in refused else "X").replace("A", "" if "acls" in refused else "A"))
    box.write(src + "/new", "still goes")
    ls.settle()
    ls.stop()
    server.configure(refuse_options=None)
    ls.start().settle()
    check(src, server)
    assert ls.status()["jobs"][0]["note"] is None


def test_server_without_support_by_ssh_gets_the_rest(box):
    """As a server says it that was built without them: on standard error, and ends."""
    src, server = small_tree(box), box.sshd()
    wrapper = box.write(box.path("rsync-without"), """#!/bin/sh
case "$*" in
*--server*-*X*e.*) echo "rsync: on remote machine: extended attributes are not supported on this server" >&2; exit 1 ;;
esac
exec rsync "$@"
""", mode=0o755)
    ls = box.lockstep(src, [server], sets=(*BOTH, f"rsync_path={wrapper}")).settle()
    assert "extended attributes are not kept" in ls.status()["jobs"][0]["note"]
    check(src, server, "A")


def mount_tmpfs(box, name, *options):
    path = box.dir(name)
    sandbox.mount("-t", *(options or ("tmpfs",)), "none", path)
    return path


@pytest.mark.sandbox
def test_large_values_and_many_sets(box):
    src = mount_tmpfs(box, "src")
    need_attributes(src)
    copy = box.local()
    sandbox.mount("-t", "tmpfs", "none", copy.path)
    for n in range(200):
        path = box.write(f"{src}/d{n % 7}/f{n:03}", b"%d" % n)
        os.setxattr(path, "user.set", b"%d" % n * 20)
        if n % 10 == 0:
            os.setxattr(path, "user.large", bytes([n]) * 60000)
            os.setxattr(path, "user.huge", os.urandom(65536))
    os.setxattr(src + "/d1", "user.large", b"d" * 60000)
    ls = box.lockstep(src, [copy], sets=BOTH).settle()
    check(src, copy)
    for n in range(0, 200, 10):
        os.setxattr(f"{src}/d{n % 7}/f{n:03}", "user.large", bytes([255 - n]) * 60001)
    ls.settle()
    check(src, copy)


@pytest.mark.sandbox
def test_target_file_system_without_attributes_gets_the_rest_and_is_told(box):
    """What cannot be kept is no failure, neither of files nor of directories, and is said."""
    src, copy = small_tree(box), box.local()
    sandbox.mount("-t", "ramfs", "none", copy.path)
    try:
        os.setxattr(copy.path, "user.probe", b"x")
    except OSError as e:
        assert e.errno == errno.ENOTSUP
    else:
        pytest.skip("injector missing: ramfs keeps attributes here")
    ls = box.lockstep(src, [copy], sets=BOTH).settle()
    assert_equal(src, copy.path)
    assert "confirmed without an attribute" in ls.status()["jobs"][0]["note"]
    box.write(src + "/a/b/new", "x")
    os.setxattr(src + "/a/b/new", "user.x", b"x" * 50)
    ls.settle()
    assert_equal(src, copy.path)


def test_attributes_that_are_written_all_the_time(box):
    """What was confirmed while the next value was set comes again."""
    src, server = small_tree(box), box.local()
    ls = box.lockstep(src, [server], sets=BOTH).settle()
    for n in range(300):
        os.setxattr(src + "/a/one", "user.long", b"%03d" % n * 200)
        os.setxattr(src + "/a", "user.count", b"%d" % n)
        if n % 50 == 0:
            box.write(src + "/a/two", b"%d" % n * 100)
    ls.settle()
    check(src, server)


def test_configuration_that_would_merge_acls_is_refused(box):
    src, copy = box.dir("src"), box.local()
    ls = box.lockstep(src, [copy], sets=("acls=yes", "chown=www-data"), start=False)
    ls.start(ready=False)
    assert proc.wait(ls.proc, 10) == 2
    with open(ls.log, encoding="utf-8") as f:
        assert "acls = yes and chown by name" in f.read()


@pytest.mark.limit(300)
@pytest.mark.parametrize("kind", ("local", "rsyncd"))
def test_churn_with_attributes_equal(box, kind, soak):
    """A build that takes the receiver's word for a file before its attributes were sent leaves some behind."""
    src, server = box.dir("src"), box.server(kind)
    need_attributes(src)
    ls = box.lockstep(src, [server], sets=(*BOTH, "brake=no"))
    for seed in range(900, 930 if soak else 904):
        print(f"seed {seed}")
        churn.Churn(src, seed, profiles=("plain", "odd", "links", "attributes")).run(1500)
        ls.settle(20)
        check(src, server)
    assert ls.job()["failed"] == 0 and ls.job()["note"] is None


@pytest.mark.limit(300)
@pytest.mark.parametrize("victim", ("worker", "receiver"))
def test_churn_with_attributes_under_kill_9_equal(box, victim, soak):
    """A build that takes a SUCCESS as an answer although the session broke off behind it lacks long values."""
    src, server = box.dir("src"), box.local()
    need_attributes(src)
    ls = box.lockstep(src, [server], sets=(*BOTH, "timeout=5s", "brake=no"))
    for seed in range(950, 970 if soak else 952):
        print(f"seed {seed}")
        rng, done = random.Random(seed), threading.Event()

        def make(seed=seed, done=done):
            try:
                churn.Churn(src, seed, profiles=("plain", "attributes")).run(1500, rate=1000)
            finally:
                done.set()

        maker = threading.Thread(target=make)
        maker.start()
        while not done.wait(rng.uniform(0.05, 0.3)):
            proc.send(rng.sample(v, 1) if (v := victims_of(ls, server, victim)) else [], signal.SIGKILL)
        maker.join()
        ls.settle(40)
        remove_words(src, server.path)
        check(src, server)
    assert ls.job()["failed"] == 0


def test_receiver_that_plays_superuser_keeps_them_in_notes(box):
    """It asks for long values in another order than they were listed."""
    src, server = small_tree(box), box.rsyncd(fake_super="yes", uid="nobody", gid="nogroup")
    os.setxattr(src + "/a/two", "user.zz", b"4" * 50)
    if os.geteuid() == 0:
        os.chown(server.path, 65534, 65534)
        os.setxattr(src + "/a/two", "trusted.first", b"5" * 60)
    ls = box.lockstep(src, [server], sets=BOTH).settle()
    if os.geteuid() == 0:
        assert os.getxattr(server.path + "/a/two", "user.rsync.trusted.first") == b"5" * 60
    assert os.getxattr(server.path + "/a/two", "user.zz") == b"4" * 50
    assert "user.rsync.%aacl" in os.listxattr(server.path + "/top")
    answer = ls.ask("verify", "--json", "--timeout", "60s", timeout=90)
    assert answer.returncode == 0, answer.stdout
    os.setxattr(src + "/a/two", "trusted.first", b"6" * 60)
    ls.settle()
    assert os.getxattr(server.path + "/a/two", "user.rsync.trusted.first") == b"6" * 60


def test_hosts_that_mirror_each_other_fall_silent(box):
    """A build that sends attributes because a directory's ctime has moved there, too, never ends."""
    one, two = box.local("one"), box.local("two")
    need_attributes(one.path)
    there = box.lockstep(one.path, [two], sets=BOTH).settle()
    back = box.lockstep(two.path, [one], sets=BOTH).settle()
    for n in range(10):
        box.write(f"{one.path}/d/f{n}", b"%d" % n)
        os.setxattr(one.path + "/d", "user.x", b"%d" % n * 50)
        os.setxattr(f"{two.path}/d" if os.path.isdir(two.path + "/d") else two.path, "user.y", b"%d" % n)
    for _ in range(3):
        there.settle()
        back.settle()
    before = (there.job()["confirmed_files"], back.job()["confirmed_files"])
    for _ in range(3):
        there.settle()
        back.settle()
    assert (there.job()["confirmed_files"], back.job()["confirmed_files"]) == before
    check(one.path, two)
