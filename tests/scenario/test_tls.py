"""Modules behind TLS: a stock rsync daemon behind something that ends TLS for it."""

import os
import ssl

import pytest
from harness import proc
from harness.daemon import command
from harness.servers import Rsyncd
from harness.tls import STUNNEL, Stunnel

LOGIN_RETRY_MS = (200_000, 376_000)  # 5 min, give or take a quarter


class Behind:
    """A module that is reached through a front."""

    kind = "rsyncd"
    args = ()

    def __init__(self, server, port, ca, *sets, host="localhost"):
        self.server, self.path = server, server.path
        self.target = f"rsyncs://{server.user}@{host}:{port}/mirror/"
        self.options = (*server.options, *([f"tls_ca={ca}"] if ca else []), *sets)


@pytest.fixture
def world(box):
    """A source, a server and an authority."""
    class World:
        pass

    w = World()
    w.src, w.server, w.authority = box.dir("src"), box.rsyncd(), box.authority()
    w.good = w.authority.issue("good")
    return w


def retry_now(ls):
    assert ls.ask("retry", "main.1").returncode == 0


@pytest.mark.limit(120)
@pytest.mark.parametrize("kind", ["python", *(["stunnel"] if STUNNEL else [])])
def test_mirrors_and_heals_after_the_front_is_restarted(box, world, kind):
    """A build whose relay loses or reorders a byte, or outlives its connection, fails here."""
    front = box.tls(world.server.port, world.good) if kind == "python" else \
        box.own(Stunnel(box.root, world.server.port, world.good))
    box.fill(world.src, 300)
    box.write(world.src + "/large", os.urandom(9 << 20))
    server = Behind(world.server, front.port, world.authority.file, "timeout=10s")
    ls = box.lockstep(world.src, [server]).settle(30)
    box.check_equal(world.src, server)
    box.write(world.src + "/large", os.urandom(9 << 20))
    os.unlink(world.src + "/d000/f00001")
    ls.settle(30)
    box.check_equal(world.src, server)
    done = ls.ask("verify", "--checksum")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ls.relays()
    front.stop()
    box.fill(world.src + "/more", 100)
    ls.until_text("efused", 20)
    front.start()
    ls.settle(70)
    box.check_equal(world.src, server)
    if kind == "python":
        assert front.names == {"localhost"} and front.versions == {"TLSv1.3"}


def test_each_relay_ends_with_its_session_and_the_daemon(box, world):
    """A build that leaves relays behind fills the process table of a host that runs for years."""
    front = box.tls(world.server.port, world.good)
    ls = box.lockstep(world.src, [Behind(world.server, front.port, world.authority.file)])
    for n in range(20):
        box.write(f"{world.src}/{n}", b"x")
        ls.settle()
    proc.until(lambda: len(ls.relays()) <= 6, 10, "only relays of open sessions")
    relays = ls.relays()
    assert relays
    ls.kill()
    assert not proc.ended(relays, 10), "relays outlived the daemon"


@pytest.mark.limit(120)
def test_connection_that_is_cut_heals(box, world):
    """A build that takes any end of file for the server's own believes whoever can cut the line."""
    front = box.tls(world.server.port, world.good)
    server = Behind(world.server, front.port, world.authority.file, "timeout=5s")
    ls = box.lockstep(world.src, [server]).settle(20)
    front.cut_after = 2 << 20
    box.write(world.src + "/large", os.urandom(8 << 20))
    ls.until_logged("session.tls", 20)
    ls.settle(60)
    box.check_equal(world.src, server)


@pytest.mark.sandbox
def test_job_that_moves_to_tls_keeps_what_it_knows(box):
    """The usual ports. A build for which TLS makes another target of it holds the job."""
    src, server, authority = box.dir("src"), box.rsyncd(start=False), box.authority()
    server.port = 873
    server.configure()
    server.start()
    box.tls(server.port, authority.issue("good"), port=874)
    text = f"password_file = {server.password_file}\nlog_level = debug\n%s[tree t]\nroot = {src}\ntarget = backup@localhost::mirror\n"
    config = box.config(text % "")
    box.fill(src, 50)
    ls = box.lockstep(config=config, sets=("keep=mode,owner,group,times,links",)).settle()
    assert not ls.relays()
    box.config(text % f"tls = yes\ntls_ca = {authority.file}\n")
    assert ls.ask("reload").returncode == 0
    box.write(src + "/more", b"1")
    ls.settle()
    assert ls.relays() and ls.job()["state"] == "live", ls.text()
    box.check_equal(src, server)


FAULTS = {
    "wrong name": ("expected localhost, its certificate is for other.example.net, 192.0.2.7", "tls_name"),
    "expired": ("its certificate expired on 2020-02-01 00:00:00 UTC", "Renew it"),
    "not yet valid": ("is valid only from 2", "clocks"),
    "self-signed": ("its certificate is self-signed", "tls_ca"),
    "unknown authority": ('was issued by "stranger"', "tls_ca"),
    "old protocol": ("offers no TLS 1.2 or later",),
}


def front_with(box, world, fault):
    issue, newest = world.authority.issue, None
    if fault == "wrong name":
        bad = issue("bad", names="DNS:other.example.net,IP:192.0.2.7")
    elif fault == "expired":
        bad = issue("bad", begin="20200101000000Z", end="20200201000000Z")
    elif fault == "not yet valid":
        bad = issue("bad", begin="20480101000000Z", end="20490101000000Z")
    elif fault == "self-signed":
        bad = issue("bad", own=True)
    elif fault == "unknown authority":
        bad = box.authority("stranger").issue("bad")
    else:
        bad, newest = world.good, ssl.TLSVersion.TLSv1_1
    return box.tls(world.server.port, bad, newest=newest)


@pytest.mark.parametrize("fault", FAULTS)
def test_server_that_is_not_the_one_is_said_and_tried_slowly(box, world, fault):
    """A build that goes on with a warning, or says only `handshake failure`, or tries each second fails here."""
    front = front_with(box, world, fault)
    box.fill(world.src, 20)
    server = Behind(world.server, front.port, world.authority.file)
    ls = box.lockstep(world.src, [server])
    text = ls.until_text(FAULTS[fault][0], 15)
    for words in (f"localhost port {front.port}", "login", *FAULTS[fault]):
        assert words in text, text
    j = ls.until_job(lambda j: j["retry_in_ms"], 10, "a retry planned")
    assert LOGIN_RETRY_MS[0] <= j["retry_in_ms"] <= LOGIN_RETRY_MS[1], j["retry_in_ms"]
    assert front.accepted <= 4 and os.listdir(server.path) == []
    front.stop()
    front.certificate, front.newest = world.good, None
    front.start()
    retry_now(ls)
    ls.settle(30)
    box.check_equal(world.src, server)


def test_system_store_does_not_hold_a_private_authority(box, world):
    """A build without tls_ca that believes everybody."""
    front = box.tls(world.server.port, world.good)
    box.write(world.src + "/f", b"1")
    ls = box.lockstep(world.src, [Behind(world.server, front.port, None)])
    assert "whom this host does not know" in ls.until_text('was issued by "authority"', 15)
    assert os.listdir(world.server.path) == []


def test_self_signed_certificate_is_believed_by_its_copy(box, world):
    own = world.authority.issue("own", own=True)
    front = box.tls(world.server.port, own)
    server = Behind(world.server, front.port, own[0])
    box.fill(world.src, 20)
    box.lockstep(world.src, [server]).settle()
    box.check_equal(world.src, server)


@pytest.mark.parametrize("host, name", [("127.0.0.1", None), ("localhost", "other.example.net"), ("127.0.0.1", "192.0.2.7")])
def test_expected_name_may_be_an_address_or_another(box, world, host, name):
    """An address is verified as one and not sent as a name."""
    front = box.tls(world.server.port, world.authority.issue("x", names="DNS:other.example.net,IP:192.0.2.7") if name else world.good)
    server = Behind(world.server, front.port, world.authority.file, *([f"tls_name={name}"] if name else []), host=host)
    box.fill(world.src, 20)
    box.lockstep(world.src, [server]).settle()
    box.check_equal(world.src, server)
    assert front.names == {name if name and not name[0].isdigit() else None}


def test_plain_daemon_at_the_port_for_tls_is_said(box, world):
    """A build that falls back to plain sends everything in clear."""
    box.write(world.src + "/f", b"1")
    ls = box.lockstep(world.src, [Behind(world.server, world.server.port, world.authority.file)])
    assert "login" in ls.until_text("does not speak TLS", 15)
    assert os.listdir(world.server.path) == []


def test_silence_in_the_handshake_is_given_up_in_time(box, world):
    """A build without a limit of its own waits until the kernel gives up."""
    hole = box.blackhole()
    ls = box.lockstep(world.src, [Behind(world.server, hole.port, world.authority.file, "handshake_timeout=1s")])
    assert "timeout" in ls.until_text("did not answer by TLS within 1 s", 15)
    proc.until(lambda: not ls.relays(), 10, "the relay gone")


def test_front_without_a_daemon_behind_it_is_said_and_heals(box, world):
    front = box.tls(world.server.port, world.good)
    world.server.kill()
    box.fill(world.src, 20)
    server = Behind(world.server, front.port, world.authority.file)
    ls = box.lockstep(world.src, [server])
    assert "unreachable" in ls.until_text("Does the rsync daemon behind it run?", 15)
    world.server.start()
    ls.settle(70)
    box.check_equal(world.src, server)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, None])
def test_client_certificate_that_is_asked_for(box, world, newest):
    """With TLS 1.3 the handshake is over for us before the server looks at our certificate."""
    front = box.tls(world.server.port, world.good, client_ca=world.authority.file, newest=newest)
    box.fill(world.src, 20)
    server = Behind(world.server, front.port, world.authority.file)
    ls = box.lockstep(world.src, [server])
    text = ls.until_text("client certificate", 15)
    assert "tls_cert" in text and "login" in text, text
    ls.stop()
    cert, key = world.authority.issue("client")
    server.options += (f"tls_cert={cert}", f"tls_key={key}")
    box.lockstep(world.src, [server]).settle()
    box.check_equal(world.src, server)


def test_client_certificate_of_a_stranger_is_said(box, world):
    front = box.tls(world.server.port, world.good, client_ca=world.authority.file)
    cert, key = box.authority("stranger").issue("client")
    server = Behind(world.server, front.port, world.authority.file, f"tls_cert={cert}", f"tls_key={key}")
    ls = box.lockstep(world.src, [server])
    assert cert in ls.until_text("refuses our certificate", 15)


def test_session_login_through_tls_says_a_wrong_password(box, world):
    front = box.tls(world.server.port, world.good)
    world.server.set_server_password("another")
    ls = box.lockstep(world.src, [Behind(world.server, front.port, world.authority.file)])
    assert "login" in ls.until_text("auth failed", 15)


def test_password_file_that_cannot_be_read_leaves_no_relay(box, world):
    """A build that keeps the connection of a session that never came has one more each retry."""
    front = box.tls(world.server.port, world.good)
    os.unlink(world.server.password_file)
    ls = box.lockstep(world.src, [Behind(world.server, front.port, world.authority.file)])
    ls.until_text("No such file", 15)
    proc.until(lambda: not ls.relays(), 10, "the relay gone")


def configured(box, world, port, *lines):
    return box.config("\n".join([
        f"state = {box.path('state')}", "tls = yes", f"tls_ca = {world.authority.file}", f"password_file = {world.server.password_file}",
        *lines, "[tree t]", f"root = {world.src}", f"target = rsync://backup@localhost:{port}/mirror", ""]))


def test_check_logs_in_by_tls(box, world):
    front = box.tls(world.server.port, world.good)
    done = command("check", "-c", configured(box, world, front.port))
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("(rsyncd by TLS)", "connected", "by TLS)", "trial write: ok", "trial removal: ok"):
        assert step in done.stdout, done.stdout


@pytest.mark.parametrize("fault", FAULTS)
def test_check_tells_what_is_wrong_with_the_server(box, world, fault):
    front = front_with(box, world, fault)
    done = command("check", "-c", configured(box, world, front.port))
    assert done.returncode == 1
    for words in ("connected", f"FAILED: localhost port {front.port}: ", *FAULTS[fault]):
        assert words in done.stdout, done.stdout
    assert "logged in" not in done.stdout


def test_check_tells_a_wrong_password_behind_tls(box, world):
    front = box.tls(world.server.port, world.good)
    world.server.set_server_password("another")
    done = command("check", "-c", configured(box, world, front.port))
    assert done.returncode == 1 and "auth failed" in done.stdout and "password_file" in done.stdout, done.stdout


def test_check_of_a_silent_server_behind_tls_ends_in_time(box, world):
    hole = box.blackhole()
    done = command("check", "-c", configured(box, world, hole.port, "handshake_timeout = 1s"))
    assert done.returncode == 1 and "no answer in 1 s" in done.stdout, done.stdout


@pytest.mark.parametrize("spoil, words", [
    (lambda cert, key: os.chmod(key, 0o644), "chmod 600"),
    (lambda cert, key: os.unlink(key), "No such file"),
    (lambda cert, key: os.unlink(cert), "No such file"),
    (lambda cert, key: Rsyncd._secret(key, "nothing\n"), "no private key"),
    (lambda cert, key: Rsyncd._secret(cert, "nothing\n"), "no certificate"),
])
def test_own_certificate_that_cannot_be_used_is_said(box, world, spoil, words):
    """A build that leaves the certificate out when it cannot be read logs in as nobody."""
    cert, key = world.authority.issue("client")
    spoil(cert, key)
    front = box.tls(world.server.port, world.good)
    lines = (f"tls_cert = {cert}", f"tls_key = {key}")
    for how in ((), ("--offline",)):
        done = command("check", *how, "-c", configured(box, world, front.port, *lines))
        assert done.returncode == 1 and "FAILED" in done.stdout and words in done.stdout, done.stdout
    ls = box.lockstep(world.src, [Behind(world.server, front.port, world.authority.file, f"tls_cert={cert}", f"tls_key={key}")])
    assert "login" in ls.until_text(words, 15)


def test_key_with_a_passphrase_is_said_and_never_asked_for(box, world):
    cert, key = world.authority.issue("client")
    from harness.tls import openssl
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", key + ".locked")
    os.chmod(key + ".locked", 0o600)
    done = command("check", "--offline", "-c", configured(box, world, 1, f"tls_cert = {cert}", f"tls_key = {key}.locked"))
    assert done.returncode == 1 and "is encrypted" in done.stdout, done.stdout


def test_key_without_a_certificate_is_refused(box, world):
    done = command("check", "--offline", "-c", configured(box, world, 1, f"tls_key = {world.good[1]}"))
    assert done.returncode == 2 and "tls_key without tls_cert" in done.stderr, done.stdout + done.stderr
