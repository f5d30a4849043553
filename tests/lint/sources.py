"""What the lint scripts share: which files are ours, and C text without comments and strings."""

import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("LINT_BUILD", os.path.join(ROOT, "build-test", "clang"))


def c_files(*folders):
    """Paths relative to ROOT of all .c and .h files below the folders."""
    found = []
    for folder in folders:
        for where, dirs, names in os.walk(os.path.join(ROOT, folder)):
            dirs.sort()
            found += [os.path.relpath(os.path.join(where, n), ROOT) for n in sorted(names) if n.endswith((".c", ".h"))]
    return found


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.DOTALL)


def split_text(text):
    """The code with comments and literals blanked (line numbers stay), and the comments as (line, text)."""
    comments = []

    def blank(match):
        token = match.group(0)
        if token[0] == "/":
            comments.append((text.count("\n", 0, match.start()) + 1, token))
        return token[0] + re.sub(r"[^\n]", " ", token[1:-1]) + token[-1] if token[0] != "/" else \
            re.sub(r"[^\n]", " ", token)

    return TOKEN.sub(blank, text), comments


def report(findings, good):
    """Prints what was found; ends the script."""
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings" if findings else good)
    sys.exit(1 if findings else 0)
