"""Each version of the protocol over each way to a target, compared exactly, and those too old refused by name."""

import os

import pytest
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
