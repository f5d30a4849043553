"""The ssh connection that the sessions of a job share: used, done without, healed, never left behind."""

import os
import signal

import churn
import pytest
from harness import ended, proc


def masters(ls):
    return [p for p in ls.receivers() if b"-oControlMaster=yes" in proc.cmdline(p)]


def shared(ls):
    """Sessions that were told to go over it."""
    return [p for p in ls.receivers() if any(b"-oControlPath=\"" in w for w in proc.cmdline(p)) and p not in masters(ls)]


def socket_of(ls, job="main.1"):
    return f"{ls.state}/jobs/{job}/ssh"


def standing(ls, but=()):
    """Its process id, once it is logged in and listens."""
    def look():
        found = [p for p in masters(ls) if p not in but]
        return found[0] if found and os.path.exists(socket_of(ls)) else None

    return look


def until_stands(box, ls, src, but=()):
    """A session that gets ready starts it, and change brings one."""
    n = [0]

    def look():
        if not masters(ls):
            n[0] += 1
            box.write(f"{src}/poke", b"%d" % n[0])
            ls.settle(20)
        return standing(ls, but)()

    return proc.until(look, 30, "a shared connection")


@pytest.fixture
def world(box):
    class World:
        pass

    w = World()
    w.src, w.server = box.dir("src"), box.sshd()
    return w


def test_sessions_run_over_one_connection(box, world):
    """A build that logs in for each session is busy with that when masses change."""
    ls = box.lockstep(world.src, [world.server])
    until_stands(box, ls, world.src)
    box.write(world.src + "/first", b"x")
    ls.settle(20)
    before = world.server.logins()
    for n in range(30):
        box.write(f"{world.src}/{n}", b"x")
        ls.settle(20)
    assert shared(ls)
    assert world.server.logins() - before <= 2  # what had begun before it stood
    assert len(masters(ls)) == 1
    box.check_equal(world.src, world.server)


def test_blanks_and_percent_signs_in_the_path_of_the_state(box, world):
    """A build that leaves `%` to ssh gets another path, and one without quotes a refused option."""
    ls = box.lockstep(world.src, [world.server], name="l s%d %%h #1")
    until_stands(box, ls, world.src)
    for n in range(8):
        box.write(f"{world.src}/{n}", b"x")
        ls.settle(20)
    proc.until(lambda: shared(ls), 10, "a session over it")
    assert "Control socket" not in ls.read_log()
    box.check_equal(world.src, world.server)


@pytest.mark.limit(300)
def test_connection_killed_under_churn_is_made_anew(box, world):
    """A build in which sessions wait for the connection, or that believes what was on its way, fails here."""
    ls = box.lockstep(world.src, [world.server], sets=["brake=no", "timeout=5s"])
    first = until_stands(box, ls, world.src)
    kills = 0
    with churn.Meanwhile(world.src, 7, 2000, rate=600) as work:
        while not work.done.wait(0.2):
            if standing(ls)():
                proc.send(masters(ls), signal.SIGKILL)
                kills += 1
    assert kills
    until_stands(box, ls, world.src, but=(first,))
    ls.settle(60)
    box.check_equal(world.src, world.server)
    assert ls.job()["failed"] == 0


def test_small_changes_do_not_stand_behind_a_large_one(box, world):
    """A build that puts all into one stream makes small files wait for megabytes on a slow line."""
    ls = box.lockstep(world.src, [world.server], sets=["bwlimit=2M"])
    until_stands(box, ls, world.src)
    box.write(world.src + "/large", os.urandom(30 << 20))
    proc.until(lambda: any(n.startswith(".large.") for n in os.listdir(world.server.path)), 20, "the large file on its way")
    before = world.server.logins()
    for n in range(6):
        box.write(f"{world.src}/{n}", b"x")
        proc.until(lambda n=n: os.path.exists(f"{world.server.path}/{n}"), 20, "the small one")
    assert not os.path.exists(world.server.path + "/large")
    assert world.server.logins() > before
    ls.settle(60)
    box.check_equal(world.src, world.server)


@pytest.mark.parametrize("most", (1, 2))
def test_server_that_allows_few_sessions_in_a_connection(box, most):
    """A build that takes the refusal for the target's trouble rests where stock ssh would just connect once more."""
    src, server = box.dir("src"), box.sshd(MaxSessions=most)
    ls = box.lockstep(src, [server], sets=["brake=no"])
    until_stands(box, ls, src)
    before = server.logins()
    churn.Churn(src, 8).run(1000)
    ls.settle(60)
    box.check_equal(src, server)
    assert server.logins() > before
    assert ls.job()["failed"] == 0 and "target.trouble" not in ls.read_log()


@pytest.mark.parametrize("how", ("ssh_share=no", "ssh_option=controlpath=none", "ssh_command=ssh -S none"))
def test_not_shared_where_it_is_not_wanted(box, world, how):
    """A build that overrides what somebody told ssh takes a setup away that worked."""
    ls = box.lockstep(world.src, [world.server], sets=[how])
    for n in range(5):
        box.write(f"{world.src}/{n}", b"x")
        ls.settle(20)
    assert ls.receivers()
    assert not masters(ls) and "ssh.master" not in ls.read_log()
    assert not any(b"-oControlMaster" in w for p in ls.receivers() for w in proc.cmdline(p))


def test_state_with_too_long_a_path_for_the_socket_said_once(box, world):
    """A build that lets ssh find out fails with each session, or starts a master in vain all the time."""
    state = box.path("s" * (80 - len(box.root) - 1))
    ls = box.lockstep(world.src, [world.server], state=state)
    for n in range(5):
        box.write(f"{world.src}/{n}", b"x")
        ls.settle(20)
    assert not masters(ls)
    lines = [line for line in ls.read_log().splitlines() if "ssh.unshared" in line]
    assert len(lines) == 1 and "too long" in lines[0]
    box.check_equal(world.src, world.server)


@pytest.mark.parametrize("end", ("stop", "terminate"))
def test_stopped_daemon_leaves_nothing(box, world, end):
    """A build that forgets the master, which has no descriptor of the daemon's, leaves one behind with each stop."""
    ls = box.lockstep(world.src, [world.server])
    master = until_stands(box, ls, world.src)
    assert getattr(ls, end)() == 0
    assert not ended([master], 5)
    assert not os.path.exists(socket_of(ls))


def test_stopped_daemon_leaves_nothing_behind_a_script_either(box, world):
    """A build that ends the process it started, and not what that has started, leaves ssh behind a script around it."""
    script = box.write(box.path("my-ssh"), '#!/bin/sh\nssh "$@"\n', mode=0o755)
    ls = box.lockstep(world.src, [world.server], sets=[f"ssh_command={script}"])
    until_stands(box, ls, world.src)
    found = ls.receivers()
    assert len(masters(ls)) == 1
    assert ls.stop() == 0
    assert not ended(found, 5)


def test_killed_daemon_leaves_no_connection_and_starts_over_a_stale_socket(box, world):
    """A build whose master outlives kill -9 keeps a login open for ever; one that trusts what lies there waits for it."""
    ls = box.lockstep(world.src, [world.server], sets=["timeout=5s"])  # as long are its last paths in doubt
    master = until_stands(box, ls, world.src)
    proc.send([master], signal.SIGSTOP)  # so that it cannot clear away
    ls.kill()
    proc.send([master], signal.SIGKILL)
    assert not ended([master], 5)
    assert os.path.exists(socket_of(ls))
    ls.end()
    ls.start()
    box.write(world.src + "/f", b"x")
    ls.settle(30)
    second = until_stands(box, ls, world.src)
    ls.kill()
    assert not ended([second], 10)
    ls.end()


def test_reload_of_an_ssh_option_makes_the_connection_anew(box, world):
    """A build that keeps it goes on with options that are gone from the configuration."""
    text = f"[tree main]\nroot = {world.src}\ntarget = {world.server.target}\n" + \
        "".join(o.replace("=", " = ", 1) + "\n" for o in world.server.options)
    path = box.config(text)
    ls = box.lockstep(config=path)
    first = until_stands(box, ls, world.src)
    box.config(text + "ssh_option = LogLevel=ERROR\n")
    assert ls.ask("reload").returncode == 0
    assert not ended([first], 5)
    second = until_stands(box, ls, world.src, but=(first,))
    assert b"-oLogLevel=ERROR" in proc.cmdline(second)
    box.config(text + "ssh_share = no\n")
    assert ls.ask("reload").returncode == 0
    assert not ended([second], 5)
    box.write(world.src + "/f", b"x")
    ls.settle(20)
    assert not masters(ls)
    box.check_equal(world.src, world.server)


def test_paused_job_keeps_no_connection(box, world):
    """A build that leaves it open is not gone from the target's host, where a pause is to make room for work."""
    ls = box.lockstep(world.src, [world.server])
    first = until_stands(box, ls, world.src)
    assert ls.ask("pause", "main.1").returncode == 0
    assert not ended([first], 10)
    box.write(world.src + "/f", b"x")
    assert ls.ask("resume", "main.1").returncode == 0
    ls.settle(20)
    until_stands(box, ls, world.src, but=(first,))
    box.check_equal(world.src, world.server)


def test_wrong_key_is_tried_by_sessions_alone(box, world):
    """A build that starts the master first fails to log in twice as often, and is banned."""
    os.truncate(world.server.home + "/authorized_keys", 0)
    box.write(world.src + "/f", b"x")
    ls = box.lockstep(world.src, [world.server])
    ls.until_text("Permission denied", 20)
    assert "ssh.master" not in ls.read_log() and not masters(ls)


@pytest.mark.limit(120)
def test_line_that_freezes_ends_the_connection_and_heals(box, world):
    """A build whose master has no keepalives hangs with every session that it is given, for hours."""
    line = box.forwarder(world.server.port)
    ls = box.lockstep(world.src, [], sets=["timeout=5s", f"ssh_port={line.port}", f"ssh_key={world.server.key}",
                                           "ssh_option=StrictHostKeyChecking=no", "ssh_option=UserKnownHostsFile=/dev/null"],
                      args=[world.server.target])
    master = until_stands(box, ls, world.src)
    line.stalled = True
    box.write(world.src + "/f", b"x")
    assert not ended([master], 30)
    line.stalled = False
    ls.settle(60)
    until_stands(box, ls, world.src, but=(master,))
    box.check_equal(world.src, world.server)


@pytest.mark.limit(120)
def test_connection_that_hangs_is_done_without(box, world):
    """A build that gives it one session after the other gets nothing through while the host is well."""
    ls = box.lockstep(world.src, [world.server], sets=["timeout=5s", "handshake_timeout=2s"])
    master = until_stands(box, ls, world.src)
    proc.send([master], signal.SIGSTOP)
    box.write(world.src + "/f", b"x")
    ls.settle(60)
    assert not ended([master], 30)
    until_stands(box, ls, world.src, but=(master,))
    box.check_equal(world.src, world.server)
