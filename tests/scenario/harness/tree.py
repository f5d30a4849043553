"""Exact comparison of two directory trees, independent of the product: names, types, contents, link targets, mode, owner,
group, modification time in nanoseconds, device numbers and hard-link groups. Paths are bytes."""

import hashlib
import os
import re
import stat
import subprocess

ATTRIBUTES = frozenset(("mode", "uid", "gid", "mtime", "links"))

_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
          stat.S_IFSOCK: "socket", stat.S_IFCHR: "character device", stat.S_IFBLK: "block device"}


def shown(path):
    """A name that can be printed in one line and read back."""
    return repr(path)[1:] if isinstance(path, bytes) else repr(path)


def _digest(path):
    h = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as f:
        while chunk := f.read(1 << 18):
            h.update(chunk)
    return h.hexdigest()


def _entry(path, st, attributes, contents):
    e = {"type": _KINDS.get(stat.S_IFMT(st.st_mode), "unknown")}
    if e["type"] == "file":
        e["size"] = st.st_size
        e["content"] = _digest(path) if contents else None
    elif e["type"] == "symlink":
        e["target"] = os.readlink(path)
    elif e["type"].endswith("device"):
        e["device"] = st.st_rdev
    if "mode" in attributes and e["type"] != "symlink":
        e["mode"] = oct(stat.S_IMODE(st.st_mode))
    for name in ("uid", "gid"):
        if name in attributes:
            e[name] = getattr(st, "st_" + name)
    if "mtime" in attributes:
        e["mtime"] = st.st_mtime_ns
    return e


def snapshot(root, *, attributes=ATTRIBUTES, ignore=(b".lockstep",), contents=True):
    """{relative path: description}; `ignore` names entries of the root itself. The root is the entry b"."."""
    root = os.fsencode(root)
    found, groups = {}, {}
    found[b"."] = _entry(root, os.stat(root), attributes, contents)
    todo = [b""]
    while todo:
        d = todo.pop()
        with os.scandir(root + b"/" + d if d else root) as entries:
            for e in entries:
                if not d and e.name in ignore:
                    continue
                rel = d + b"/" + e.name if d else e.name
                st = e.stat(follow_symlinks=False)
                found[rel] = _entry(root + b"/" + rel, st, attributes, contents)
                if stat.S_ISDIR(st.st_mode):
                    todo.append(rel)
                elif st.st_nlink > 1:
                    groups.setdefault((st.st_dev, st.st_ino), []).append(rel)
    if "links" in attributes:
        for names in groups.values():
            if len(names) > 1:
                names.sort()
                for rel in names:
                    found[rel]["links"] = b" = ".join(names)
    return found


def compare(want, have):
    """The differences of two snapshots as lines of text; empty when equal."""
    lines = []
    for rel in sorted(want.keys() | have.keys()):
        if rel not in have:
            lines.append(f"missing  {shown(rel)} ({want[rel]['type']})")
        elif rel not in want:
            lines.append(f"extra    {shown(rel)} ({have[rel]['type']})")
        elif want[rel] != have[rel]:
            w, h = want[rel], have[rel]
            parts = [f"{k}: {w.get(k)!r} is {h.get(k)!r}" for k in sorted(w.keys() | h.keys()) if w.get(k) != h.get(k)]
            lines.append(f"differs  {shown(rel)} ({w['type']}) " + "; ".join(parts))
    return lines


def diff(src, dst, **how):
    """Differences of the tree `dst` from `src`."""
    return compare(snapshot(src, **how), snapshot(dst, **how))


def short(lines, limit=30):
    more = [f"... and {len(lines) - limit} more"] if len(lines) > limit else []
    return "\n".join(lines[:limit] + more)


def assert_equal(src, dst, **how):
    lines = diff(src, dst, **how)
    assert not lines, f"{len(lines)} differences of {dst} from {src}:\n{short(lines)}"


def oracle(src, dst, more=""):
    """What stock rsync itself would still change, by checksum; a second opinion. Empty when equal. `more`: A, X."""
    done = subprocess.run(["rsync", "-naicH" + more, "--delete", "--exclude=/.lockstep/", f"{src}/", f"{dst}/"],
                          stdin=subprocess.DEVNULL, capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    return done.stdout.decode("utf-8", "backslashreplace")


def remove_words(src, copy):
    """Of what killed receivers leave behind one name in two hundred reads as a word, and stays by design
    (src/rsync/tempname.h): not asked for here, nor a directory that stays for it alone."""
    src, copy = os.fsencode(src), os.fsencode(copy)
    for path, _, names in os.walk(copy, topdown=False):
        here = os.path.join(src, os.path.relpath(path, copy))
        words = [n for n in names if re.fullmatch(rb"\..+\.([a-z]{6}|[0-9]{6})", n, re.DOTALL)]
        for name in words:
            if not os.path.lexists(os.path.join(here, name)):
                print(f"left by design: {name!r} in {path!r}")
                remove_and_keep_time(os.path.join(path, name))
        if words and not os.path.lexists(here) and not os.listdir(path):
            remove_and_keep_time(path)


def remove_and_keep_time(path):
    above = os.path.dirname(path)
    before = os.stat(above)
    (os.rmdir if os.path.isdir(path) else os.unlink)(path)
    os.utime(above, ns=(before.st_atime_ns, before.st_mtime_ns))


def total_bytes(root):
    """Bytes of all files, hard links counted once."""
    seen, total = set(), 0
    for d, _, names in os.walk(os.fsencode(root)):
        for n in names:
            st = os.lstat(d + b"/" + n)
            if stat.S_ISREG(st.st_mode) and (st.st_dev, st.st_ino) not in seen:
                seen.add((st.st_dev, st.st_ino))
                total += st.st_size
    return total
