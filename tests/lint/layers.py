#!/usr/bin/python3
"""Who may include whom: the fenced table under "## Layers" in docs/ARCHITECTURE.md against every #include of
src/, and the promise of I4 (core makes no system call and asks no clock) against the symbols of its library.

A row is `folder: what it may include`: folders, single headers, or * for all; a row may also name one file.
"""

import glob
import os
import re
import subprocess

from sources import BUILD, ROOT, c_files, report, text_of

TABLE = "docs/ARCHITECTURE.md"
# What plain memory never needs. A fortified call (__read_chk) counts as the call.
OUTSIDE = re.compile(
    r"^(open|openat|creat|close|p?readv?|p?writev?|lseek|[lf]?stat|fstatat|statx|readlink(at)?|f?open|f?close|fread|"
    r"fwrite|v?f?printf|v?dprintf|f?puts|putchar|perror|syslog|ioctl|fcntl|mmap|socket|connect|accept4?|bind|listen|"
    r"send(to|msg|file)?|recv(from|msg)?|e?poll(_wait|_ctl)?|select|syscall|clock(_gettime|_nanosleep|_getres)?|time|"
    r"gettimeofday|(nano|u)?sleep|fork|v?fork|exec.*|posix_spawnp?|kill|getpid|getenv|getrandom|random|rand|srand|"
    r"pthread_.*|log_event|clock_(boot|wall)_ns|fd_.*|frame_.*|mailbox_.*)(64)?$")


def read_table(findings):
    section = re.search(r"^## Layers$(.*?)(^## |\Z)", text_of(TABLE), re.DOTALL | re.MULTILINE)
    fence = section and re.search(r"^```\w*\n(.*?)^```", section.group(1), re.DOTALL | re.MULTILINE)
    if not fence:
        findings.append(f"{TABLE}: no fenced table under '## Layers'")
        return {}
    rows = {}
    for line in fence.group(1).splitlines():
        name, colon, allowed = line.partition(":")
        if colon:
            rows[name.strip()] = allowed.split()
    return rows


def may_include(rows, path, header):
    """path: folder/file.c, header: folder/file.h"""
    folder, other = path.split("/")[0], header.split("/")[0]
    allowed = rows.get(path, rows.get(folder, []))
    return folder == other or "*" in allowed or other in allowed or header in allowed


def check_includes(rows, findings):
    for path in c_files("src"):
        below = path.removeprefix("src/")
        folder = below.split("/")[0]
        if folder not in rows:
            findings.append(f"{path}: folder {folder} has no row in {TABLE}")
        for number, line in enumerate(text_of(path).splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*"([^"]+)"', line)
            if not found:
                continue
            header = found.group(1)
            if "/" not in header or not os.path.exists(os.path.join(ROOT, "src", header)):
                findings.append(f'{path}:{number}: "{header}" is not a folder/file.h below src/')
            elif not may_include(rows, below, header):
                findings.append(f"{path}:{number}: {folder} may not include {header}")


def check_core_symbols(findings):
    library = glob.glob(os.path.join(BUILD, "src/core/libcore.a"))
    if not library:
        findings.append(f"no src/core/libcore.a in {BUILD}; build first (LINT_BUILD names the directory)")
        return
    listing = subprocess.run(["nm", "--undefined-only", "-A", *library], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        where, _, symbol = line.rpartition(" U ")
        plain = re.sub(r"^__(.*)_chk$", r"\1", symbol.split("@")[0]).removeprefix("__isoc99_")
        if OUTSIDE.match(plain):
            findings.append(f"{where.split(':')[-2]}: core calls {symbol} (I4)")


def main():
    findings = []
    rows = read_table(findings)
    check_includes(rows, findings)
    check_core_symbols(findings)
    report(findings, "every include follows the table; core is pure")


main()
