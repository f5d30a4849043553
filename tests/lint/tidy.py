#!/usr/bin/python3
"""clang-tidy with .clang-tidy over every file of src/ that the build compiles, two at a time.

The analyzer runs in its shallow mode: a fifth of the time, and without most of its guesses about what a
function that it half knows might return.
"""

import concurrent.futures
import json
import os
import re
import subprocess

from sources import BUILD, ROOT, report


ANALYZER = [f"--extra-arg={word}" for word in ("-Xclang", "-analyzer-config", "-Xclang", "mode=shallow")]


def tidy(path):
    run = subprocess.run(["clang-tidy", "-p", BUILD, "--quiet", *ANALYZER, path], cwd=ROOT, capture_output=True, text=True)
    # A header's finding comes once for each file that includes it.
    found = re.findall(r"^(\S+:\d+:\d+: (?:warning|error): .*)$", run.stdout + run.stderr, re.MULTILINE)
    if run.returncode and not found:
        found = [f"{path}: clang-tidy ended with {run.returncode}: {(run.stderr or run.stdout).strip()[-300:]}"]
    return [re.sub(r"^\S*?((src|tests)/)", r"\1", line.replace(ROOT + "/", "")) for line in found]


def main():
    database = os.path.join(BUILD, "compile_commands.json")
    if not os.path.exists(database):
        report([f"no {database}; build first (LINT_BUILD names the directory)"], "")
    with open(database) as file:
        paths = {os.path.normpath(os.path.join(entry["directory"], entry["file"])) for entry in json.load(file)}
    ours = sorted(path for path in paths if path.startswith(os.path.join(ROOT, "src") + os.sep))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = {line for lines in pool.map(tidy, ours) for line in lines}
    report(sorted(found), f"clang-tidy finds nothing in {len(ours)} files")


main()
