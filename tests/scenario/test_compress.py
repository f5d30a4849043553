"""Compression: each method over each way to a target, and targets that have less of it than is wished."""

import os
import random
import re
import subprocess

import pytest
from harness.daemon import command
from harness.tree import assert_equal

TEXT = 3_000_000
NOISE = 400_000
METHODS = ("zstd", "lz4", "zlibx")


def installed():
    """What the installed rsync was built with, best first."""
    said = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=True).stdout
    return re.search(r"Compress list:\s*(.*)", said).group(1).split()


def need(method):
    if method != "yes" and method not in installed():
        pytest.skip(f"the installed rsync was built without {method}")


def text_of(size, seed):
    chance = random.Random(seed)
    words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 9))) for _ in range(500)]
    return b" ".join(chance.choices(words, k=size // 4))[:size]


def make_tree(box, src):
    box.write(src + "/text", text_of(TEXT, 1))
    box.write(src + "/noise", os.urandom(NOISE))
    box.write(src + "/empty", b"")
    box.fill(src + "/many", 200, size=1000)
    with open(src + "/sparse", "wb") as f:
        f.seek(1 << 24)
        f.write(b"end")


def change_tree(box, src):
    with open(src + "/text", "r+b") as f:
        f.seek(TEXT // 2)
        f.write(b"another middle")
    with open(src + "/text", "ab") as f:
        f.write(text_of(100_000, 2))
    with open(src + "/noise", "r+b") as f:
        f.write(b"another front")
    with open(src + "/sparse", "r+b") as f:
        f.seek(1 << 20)
        f.write(b"amid")
    box.write(src + "/empty", b"no longer")
    box.write(src + "/many/d000/f00000", b"")


def assert_job(ls, method, *words):
    job = ls.job()
    assert job["failed"] == 0 and job["trouble"] is None, job
    assert job["compress"] == method, job
    for word in words or (None,):
        assert word in (job["note"] or "") if word else not job["note"], job
    return job


@pytest.mark.parametrize("wish", ("yes", *METHODS))
@pytest.mark.parametrize("kind", ("local", "rsyncd", "ssh"))
def test_each_method_leaves_the_same_tree_for_fewer_bytes(box, kind, wish):
    need(wish)
    src, server = box.dir("src"), box.server(kind)
    make_tree(box, src)
    ls = box.lockstep(src, [server.target], sets=(*server.options, f"compress={wish}")).settle(60)
    assert_equal(src, server.path)
    method = wish if wish != "yes" else next(m for m in installed() if m in METHODS)
    sent = assert_job(ls, method)["bytes_out"]
    # Twice, if a file was too young to be believed, then by its differences.
    assert NOISE < sent < 0.7 * TEXT + 1.3 * NOISE
    change_tree(box, src)
    ls.settle(60)
    assert_equal(src, server.path)
    assert assert_job(ls, method)["bytes_out"] - sent < 200_000


def test_nothing_is_compressed_unless_wished(box):
    src, server = box.dir("src"), box.local()
    box.write(src + "/text", text_of(TEXT, 1))
    ls = box.lockstep(src, [server]).settle(60)
    assert assert_job(ls, None)["bytes_out"] > TEXT


@pytest.mark.parametrize("wish", ("yes", *METHODS))
def test_module_that_refuses_compression_gets_all_as_it_is(box, wish):
    need(wish)
    src, server = box.dir("src"), box.rsyncd(refuse_options="compress")
    make_tree(box, src)
    ls = box.lockstep(src, [server.target], sets=(*server.options, f"compress={wish}")).settle(60)
    assert_equal(src, server.path)
    note = assert_job(ls, None, "nothing is compressed")["note"]
    assert "zlibx" not in note
    assert ls.read_log().count("target.without") == 1


def test_module_that_refuses_something_else_still_chooses(box):
    """It reads none of the letters behind the one that it refuses, and so looks older than it is."""
    src, server = box.dir("src"), box.rsyncd(refuse_options="xattrs")
    make_tree(box, src)
    ls = box.lockstep(src, [server.target], sets=(*server.options, "compress=yes", "xattrs=yes")).settle(60)
    assert_equal(src, server.path)
    note = assert_job(ls, installed()[0], "extended attributes are not kept")["note"]
    assert "compressed" not in note


def restricted(box, methods):
    """The installed rsync, as if it had been built with these alone."""
    return box.write(box.path("rsync-restricted"), f"#!/bin/sh\nRSYNC_COMPRESS_LIST='{methods}' exec rsync \"$@\"\n", mode=0o755)


@pytest.mark.parametrize("methods, wish, method, note", (
    ("zlib zlibx lz4", "yes", "lz4", None),
    ("zlibx zlib", "yes", "zlibx", None),
    ("lz4 zlibx", "zstd", "zlibx", "compressed by zlibx"),
    ("lz4", "zstd", None, "nothing is compressed"),
    ("zlib", "yes", None, "nothing is compressed"),
))
def test_target_that_lacks_the_method_gets_the_next(box, methods, wish, method, note):
    need("lz4")
    src, server = box.dir("src"), box.local()
    make_tree(box, src)
    ls = box.lockstep(src, [server], sets=(f"compress={wish}", f"rsync_path={restricted(box, methods)}")).settle(60)
    assert_equal(src, server.path)
    assert_job(ls, method, *[note] if note else [])


def test_check_tells_the_method_and_what_it_goes_on_without(box):
    need("lz4")
    server = box.local()
    for methods, words in (("lz4 zlibx", ("compressed by lz4",)),
                           ("zlibx", ("without --compress-choice", "compressed by zlibx")),
                           ("zlib", ("without --compress-choice", "without --new-compress"))):
        conf = box.config(f"""state = {box.path('check-state')}
[tree t]
root = {box.dir('src')}
target = {server.target}
rsync_path = {restricted(box, methods)}
compress = lz4
""")
        done = command("check", "-c", conf)
        assert done.returncode == 0, done.stdout + done.stderr
        for word in (*words, "trial write: ok", "trial removal: ok"):
            assert word in done.stdout, done.stdout


def test_change_of_the_method_is_taken_by_a_reload(box):
    need("lz4")
    src, server = box.dir("src"), box.local()
    conf = f"[tree t]\nroot = {src}\ntarget = {server.path}\ncompress = %s\n"
    ls = box.lockstep(config=box.config(conf % "lz4"))
    box.write(src + "/a", text_of(100_000, 1))
    ls.settle()
    assert_job(ls, "lz4")
    box.config(conf % "zlibx")
    assert ls.ask("reload").returncode == 0
    box.write(src + "/b", text_of(100_000, 2))
    ls.settle()
    assert_equal(src, server.path)
    assert_job(ls, "zlibx")
