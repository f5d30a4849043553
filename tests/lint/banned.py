#!/usr/bin/python3
"""Calls, comments and words that have no place in the source.

Banned calls start a shell, know no bounds, follow a path twice, or ask a question whose answer is stale.
Tests never sleep: they wait for the thing itself. Python test code may poll, in tests/scenario/harness only.
"""

import os
import re

from sources import ROOT, c_files, report, split_text, text_of

CALLS = {
    "system": "no shell (I10)", "popen": "no shell (I10)", "wordexp": "no shell (I10)",
    "execlp": "searches PATH", "execvp": "searches PATH", "execvpe": "searches PATH",
    "strcpy": "no bound", "stpcpy": "no bound", "strcat": "no bound", "gets": "no bound",
    "sprintf": "no bound: snprintf or buf_printf", "vsprintf": "no bound: vsnprintf",
    "strncpy": "pads and forgets the end: memcpy", "strtok": "hidden state: memchr or strsep",
    "atoi": "no errors: strtol", "atol": "no errors: strtol", "atoll": "no errors: strtoll",
    "realpath": "follows links: fd_open_beneath", "access": "stale answer: do it and look at errno",
    "alloca": "unbounded stack", "tmpnam": "a race", "tempnam": "a race", "mktemp": "a race",
}
TESTS_MAY = ("access", "execlp", "execvp")
SLEEPS = ("sleep", "usleep", "nanosleep", "clock_nanosleep")
CALL = re.compile(r"(->|\.)?\s*\b(" + "|".join((*CALLS, *SLEEPS)) + r")\s*\(")
WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")


def check_c(path, findings):
    code, comments = split_text(text_of(path))
    for number, line in enumerate(code.splitlines(), 1):
        for member, call in CALL.findall(line):
            if member or (call in TESTS_MAY and path.startswith("tests/")):
                continue
            if call in CALLS:
                findings.append(f"{path}:{number}: {call}(): {CALLS[call]}")
            elif path.startswith("tests/"):
                findings.append(f"{path}:{number}: {call}(): a test waits for the thing itself")
    for number, comment in comments:
        if comment.startswith("//"):
            findings.append(f"{path}:{number}: comments are /* */")
        if WORDS.search(comment):
            findings.append(f"{path}:{number}: {WORDS.search(comment).group(0)}: do it or file it")


def check_python(findings):
    for where, dirs, names in os.walk(os.path.join(ROOT, "tests")):
        dirs[:] = [d for d in dirs if d not in ("harness", "__pycache__", "lint")]
        for name in sorted(n for n in names if n.endswith(".py")):
            path = os.path.relpath(os.path.join(where, name), ROOT)
            for number, line in enumerate(text_of(path).splitlines(), 1):
                if WORDS.search(line):
                    findings.append(f"{path}:{number}: {WORDS.search(line).group(0)}: do it or file it")


def main():
    findings = []
    for path in c_files("src", "tests", "bench"):
        check_c(path, findings)
    check_python(findings)
    report(findings, "no banned calls, comments or words")


main()
