"""What the kernel tells without being asked again and again: files and directories that change, processes that end."""

import ctypes
import os
import select
import time

_libc = ctypes.CDLL(None, use_errno=True)

IN_MODIFY, IN_ATTRIB, IN_CLOSE_WRITE, IN_MOVE, IN_CREATE, IN_DELETE = 0x2, 0x4, 0x8, 0xC0, 0x100, 0x200
IN_NONBLOCK, IN_CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC


class Changes:
    """inotify on files and directories; what does not exist is looked for in its directory."""

    def __init__(self, paths):
        self.fd = _libc.inotify_init1(IN_NONBLOCK | IN_CLOEXEC)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")
        for p in paths:
            while not os.path.exists(p):
                p = os.path.dirname(p)
            mask = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVE | IN_CREATE | IN_DELETE
            if _libc.inotify_add_watch(self.fd, os.fsencode(p), ctypes.c_uint32(mask)) < 0:
                raise OSError(ctypes.get_errno(), f"inotify_add_watch {p}")

    def wait(self, seconds):
        """Return after a change, or after `seconds`."""
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        if poll.poll(max(0, seconds) * 1000):
            os.read(self.fd, 65536)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)


def ended(pids, timeout):
    """Those of the processes that have not ended after `timeout` seconds; zombies have."""
    poll, open_fds = select.poll(), {}
    try:
        for pid in pids:
            try:
                fd = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            open_fds[fd] = pid
            poll.register(fd, select.POLLIN)
        left = dict(open_fds)
        end = time.monotonic() + timeout
        while left and (wait := end - time.monotonic()) > 0:
            for fd, _ in poll.poll(wait * 1000):
                poll.unregister(fd)
                left.pop(fd)
        return sorted(left.values())
    finally:
        for fd in open_fds:
            os.close(fd)
