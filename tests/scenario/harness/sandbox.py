"""Tests that mount, or need a network or process table of their own, run in fresh namespaces.

A test marked `@pytest.mark.sandbox` is run by a second pytest inside `unshare`; where that is impossible it is skipped with
the reason. Inside, loopback is up and all mounts vanish with the test."""

import ctypes
import fcntl
import functools
import os
import socket
import struct
import subprocess
import sys

INSIDE = "LOCKSTEP_TEST_SANDBOX"
UNSHARE = ["unshare", "-mnp", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]


@functools.cache
def missing():
    """Why there are no namespaces here; None: there are."""
    if os.geteuid() != 0:
        return "namespaces and mounts need root"
    try:
        done = subprocess.run([*UNSHARE, "true"], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"unshare: {e}"
    return None if done.returncode == 0 else f"unshare: {done.stderr.decode(errors='replace').strip()}"


def inside():
    return INSIDE in os.environ


def rerun(nodeid, rootdir, timeout=180):
    """The same test in namespaces of its own: (passed, skipped reason or None, output)."""
    env = os.environ | {INSIDE: "1"}
    done = subprocess.run([*UNSHARE, sys.executable, "-m", "pytest", "-q", "-x", "-rs", "-p", "no:cacheprovider", "-p", "no:xdist", nodeid],
                          cwd=rootdir, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=timeout, check=False, text=True, errors="backslashreplace")
    skipped = next((line for line in done.stdout.splitlines() if line.startswith("SKIPPED")), None)
    return done.returncode == 0, skipped, done.stdout


def loopback_up():
    """What `ip link set lo up` does."""
    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(s, siocgifflags, request))[1]
        fcntl.ioctl(s, siocsifflags, struct.pack("16sh14x", b"lo", flags | iff_up))


def mount(*args):
    subprocess.run(["mount", *args], check=True, stdin=subprocess.DEVNULL)


def mount_silent(fd, path):
    """A file system at `path` whose server, behind `fd` of /dev/fuse, never answers; False where there is none."""
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0"
    return ctypes.CDLL(None).mount(b"silent", os.fsencode(path), b"fuse", 0, options.encode()) == 0


def umount_beneath(root):
    """All mounts below `root`, the last one first; for the end of a test."""
    with open("/proc/self/mountinfo") as f:
        points = [line.split()[4] for line in f]
    for p in reversed(points):
        if p.startswith(root + "/"):
            umount("-l", p)


def umount(*args):
    """Returns the exit code and what umount said: that it works is itself under test."""
    done = subprocess.run(["umount", *args], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.returncode, done.stderr
