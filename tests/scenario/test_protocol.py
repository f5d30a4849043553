"""Each version of the protocol over each way to a target, compared exactly, and those too old refused by name."""

import os
import time

import pytest
from harness.daemon import command
from harness.tree import ATTRIBUTES, assert_equal

OLDEST = 30  # that lockstep speaks; the installed rsync's own is what all other tests speak


def speaking(box, kind, protocol):
    """A server of the kind and the options with which it speaks an older protocol, and its target."""
    server = box.server(kind)
    if kind != "rsyncd":
        return server, [*server.options, f"rsync_path=rsync --protocol={protocol}"], server.target
    line = box.forwarder(server.port, first=lambda said: said.replace(b"@RSYNCD: 32.0", b"@RSYNCD: %d.0" % protocol, 1))
    return server, server.options, server.target.replace(str(server.port), str(line.port))


def make_tree(box, src):
    box.fill(src + "/many", 120)
    box.write(src + "/large", os.urandom(3_000_000))
    box.write(src + "/empty", b"")
    box.write(src + "/mode", b"#!/bin/sh\n", 0o4750)
    os.makedirs(src + "/deep/er/still")
    os.link(src + "/large", src + "/deep/er/again")
    os.symlink("../large", src + "/deep/link")
    os.symlink("/nowhere at all", src + "/dangling")
    os.mkfifo(src + "/deep/fifo", 0o620)
    os.utime(src + "/empty", ns=(0, -1_000_000_007))
    os.utime(src + "/deep/er", ns=(0, 1_234_567_890_123_456_789))
    box.write(src + b"/odd \xff\n*name".decode("utf-8", "surrogateescape"), b"odd")


def change_tree(box, src):
    with open(src + "/large", "r+b") as f:
        f.seek(1_000_000)
        f.write(b"another middle")
    os.rename(src + "/many/d000", src + "/moved")
    os.unlink(src + "/deep/link")
    os.chmod(src + "/mode", 0o600)
    box.write(src + "/deep/link/now a directory", b"1")


def assert_same(src, server, protocol):
    # Nanoseconds came with protocol 31.
    assert_equal(src, server.path, attributes=ATTRIBUTES - {"mtime"} if protocol < 31 else ATTRIBUTES)
    for rel in ("many/d001/f00050", "large", "empty", "mode", "deep/er"):
        assert os.stat(f"{src}/{rel}").st_mtime_ns // 10**9 == os.stat(f"{server.path}/{rel}").st_mtime_ns // 10**9


@pytest.mark.parametrize("protocol", (30, 31))
@pytest.mark.parametrize("kind", ("local", "rsyncd", "ssh"))
def test_older_protocol_leaves_the_same_tree(box, kind, protocol):
    """A build that was only tried against its own rsync writes what an older one reads otherwise."""
    src = box.dir("src")
    server, options, target = speaking(box, kind, protocol)
    make_tree(box, src)
    ls = box.lockstep(src, [target], sets=options).settle(30)
    assert_same(src, server, protocol)
    assert ls.job()["protocol"] == protocol
    change_tree(box, src)
    ls.settle(30)
    assert_same(src, server, protocol)
    assert ls.job()["failed"] == 0


@pytest.mark.parametrize("kind", ("local", "rsyncd", "ssh"))
def test_protocol_too_old_refused_by_name(box, kind):
    """A build that goes on regardless sends names which the server takes for numbers."""
    src = box.dir("src")
    server, options, target = speaking(box, kind, OLDEST - 1)
    box.fill(src, 20)
    ls = box.lockstep(src, [target], sets=options)
    said = ls.until_text(f"protocol {OLDEST - 1}", 15)
    assert f"needs {OLDEST}" in said
    assert os.listdir(server.path) == []


# What receivers of the time say of an option that came later, on standard error, before they end.
OLD = {
    "3.1.3": ("--no-msgs2stderr",),
    "3.0.9": ("--no-msgs2stderr", "--new-compress", "-@-1"),
}


def old_rsync(box, version):
    """The installed rsync, which no longer knows what that version did not know, nor the letter by which we say that we
    choose from lists of names."""
    cases = "".join(
        f'"{option}") echo "rsync: {option}: unknown option" >&2\n'
        f'echo "rsync error: syntax or usage error (code 1) at main.c(1578) [server={version}]" >&2; exit 1 ;;\n'
        for option in OLD[version])
    return box.write(box.path(f"rsync-{version}"), f"""#!/bin/sh
for option; do
case "$option" in
{cases}esac
case "$option" in
-*e.*v*) option=${{option%v*}}${{option##*v}}
esac
set -- "$@" "$option"
shift
done
exec rsync "$@"
""", mode=0o755)


def rewrite_within_a_second(box, ls, src, server):
    """To whoever compares size and whole seconds nothing has changed."""
    for n, word in enumerate((b"one", b"two", b"six")):
        box.write(src + "/second", word)
        os.utime(src + "/second", ns=(0, 1_600_000_000_100_000_000 + n))
        ls.settle()
        with open(server.path + "/second", "rb") as f:
            assert f.read() == word


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize("kind", ("local", "ssh"))
def test_old_receiver_gets_what_it_knows(box, kind, version):
    src, server = box.dir("src"), box.server(kind)
    make_tree(box, src)
    sets = (*server.options, f"rsync_path={old_rsync(box, version)}", "compress=yes")
    ls = box.lockstep(src, [server.target], sets=sets).settle()
    whole = version == "3.0.9"
    assert_same(src, server, 30 if whole else 32)
    change_tree(box, src)
    rewrite_within_a_second(box, ls, src, server)
    assert_same(src, server, 30 if whole else 32)
    job = ls.job()
    assert job["failed"] == 0 and job["trouble"] is None
    assert ("compared to the second" in (job["note"] or "")) == whole
    assert ("nothing is compressed" if whole else "compressed by zlibx") in job["note"]


@pytest.mark.parametrize("version", OLD)
def test_check_goes_on_without_what_an_old_receiver_does_not_know(box, version):
    server = box.local()
    conf = box.config(f"""state = {box.path('check-state')}
[tree t]
root = {box.dir('src')}
target = {server.target}
rsync_path = {old_rsync(box, version)}
""")
    done = command("check", "-c", conf)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in ("without --no-msgs2stderr", "trial write: ok", "trial removal: ok"):
        assert words in done.stdout, done.stdout


def test_module_that_refuses_what_can_be_left_out(box):
    src, server = box.dir("src"), box.rsyncd(refuse_options="remove-source-files modify-window compress")
    make_tree(box, src)
    ls = box.lockstep(src, [server], sets=("compress=yes",)).settle()
    assert_same(src, server, 30)
    change_tree(box, src)
    rewrite_within_a_second(box, ls, src, server)
    assert_same(src, server, 30)
    job = ls.job()
    assert job["failed"] == 0 and job["trouble"] is None
    for words in ("confirmed list by list", "compared to the second", "nothing is compressed"):
        assert words in job["note"]


def test_server_that_refuses_what_it_is_not_asked_for_is_left_alone(box):
    src = box.dir("src")
    wrapper = box.write(box.path("rsync-broken"), """#!/bin/sh
echo "rsync: --no-msgs2stderr: unknown option" >&2
exit 1
""", mode=0o755)
    ls = box.lockstep(src, [box.local()], sets=(f"rsync_path={wrapper}",))
    ls.until_job(lambda job: job["trouble"] == "refused")


def test_what_lay_there_is_compared_by_content_where_seconds_are_all_there_is(box):
    """Somebody copied it before, and it was written once more in the same second."""
    src, server = box.dir("src"), box.local()
    for path, word, ns in ((src, b"new", 700_000_000), (server.path, b"old", 100_000_000)):
        box.write(path + "/f", word)
        os.utime(path + "/f", ns=(0, 1_600_000_000 * 10**9 + ns))
    box.lockstep(src, [server], sets=(f"rsync_path={old_rsync(box, '3.0.9')}",)).settle()
    with open(server.path + "/f", "rb") as f:
        assert f.read() == b"new"


def test_stamps_have_no_time_that_an_old_receiver_would_leave_as_it_is(box):
    """Before 3.2.0 a time that is right to the second stays, and would then be taken for another stamp's."""
    src, server = box.dir("src"), box.local()
    box.write(src + "/f", b"x")
    box.lockstep(src, [server]).settle()
    stamps = os.listdir(server.path + "/.lockstep")
    assert stamps
    for name in stamps:
        assert time.time() - os.stat(f"{server.path}/.lockstep/{name}").st_mtime > 86400


def test_times_that_are_not_kept_tell_no_change_within_a_second(box):
    """Then the target's own times are what the receiver compares with."""
    src, server = box.dir("src"), box.local()
    box.write(src + "/f", b"old")
    ls = box.lockstep(src, [server], sets=("keep=mode",)).settle()
    os.utime(server.path + "/f", ns=(0, 1_600_000_000_100_000_000))
    box.write(src + "/f", b"new")
    os.utime(src + "/f", ns=(0, 1_600_000_000_700_000_000))
    ls.settle()
    with open(server.path + "/f", "rb") as f:
        assert f.read() == b"new"


def test_server_that_settles_on_something_else_than_before_is_asked_again(box):
    """A build that insists on what an earlier session has settled never gets in again after an update at the target."""
    src, copy, updated = box.dir("src"), box.local(), box.path("updated")
    wrapper = box.write(box.path("rsync-here"), f"""#!/bin/sh
[ -e {updated} ] && export RSYNC_CHECKSUM_LIST=md5
exec rsync "$@"
""", mode=0o755)
    ls = box.lockstep(src, [copy], sets=[f"rsync_path={wrapper}"]).settle()
    box.write(updated, "")
    for n in range(6):
        box.write(f"{src}/after-{n}", b"1")
        ls.settle(40)
    box.check_equal(src, copy)
