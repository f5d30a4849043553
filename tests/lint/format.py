#!/usr/bin/python3
"""The format is .clang-format's; `clang-format -i FILE` makes it so."""

import subprocess

from sources import ROOT, c_files, report


def main():
    findings = []
    for path in c_files("src", "tests", "bench"):
        run = subprocess.run(["clang-format", "--dry-run", "-Werror", "--ferror-limit=1", path], cwd=ROOT,
                             capture_output=True, text=True)
        if run.returncode:
            findings.append(run.stderr.split("\n")[0] or f"{path}: clang-format ended with {run.returncode}")
    report(findings, "every file has the format")


main()
