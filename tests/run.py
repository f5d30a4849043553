#!/usr/bin/python3
"""Runs all parts of `make test`, one after the other, and stops at none of them.

    tests/run.py              everything
    tests/run.py unit lint    some parts (and the builds they need)
    tests/run.py --list       what there is

Each part writes its full output to build-test/logs/PART.log. What is counted: every cmocka and pytest
case, every other Meson test, and each build and each lint check as one. A part that found no tests, or
broke in a way its tests do not explain, counts as one failure. The last line is the sum.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WORK = os.path.join(ROOT, "build-test")
LOGS = os.path.join(WORK, "logs")
SHOWN_LINES = 60
TOTAL_LIMIT_S = 1740  # a cut part is a failure with a log; a run that is killed from outside says nothing

BUILDS = {
    "build-gcc": ("gcc", ["-Dwerror=true"]),
    "build-clang": ("clang", ["-Dwerror=true", "-Dfuzz=true", "-Db_lundef=false"]),
    "build-asan": ("clang", ["-Dwerror=true", "-Db_sanitize=address,undefined", "-Db_lundef=false"]),
    "build-tsan": ("clang", ["-Dwerror=true", "-Db_sanitize=thread", "-Db_lundef=false"]),
}
SANITIZERS = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}
LINTS = ["layers", "banned", "sizes", "format", "cppcheck", "tidy"]


class Tally:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped
        self.names = []  # of what failed

    def fail(self, name):
        self.failed += 1
        self.names.append(name)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.names += other.names

    def __str__(self):
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return f"{self.passed} passed, {self.failed} failed{skipped}"


class Part:
    """One part: `needs` is a build that goes before, and has to have succeeded unless `anyway`."""

    def __init__(self, name, what, function, limit_s, needs=None, anyway=False):
        self.name, self.what, self.function, self.limit_s = name, what, function, limit_s
        self.needs, self.anyway = needs, anyway
        self.log = os.path.join(LOGS, name + ".log")
        self.deadline = None

    def command(self, args, env=None, live=False):
        """Runs args with all output in the log (and on our output); returns the exit status, None after the limit."""
        left = self.deadline - time.monotonic()
        with open(self.log, "ab") as log:
            log.write(f"$ {' '.join(args)}\n".encode())
            log.flush()
            out = subprocess.PIPE if live else log
            child = subprocess.Popen(args, cwd=ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                     stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
            previous = signal.signal(signal.SIGALRM, lambda *_: os.killpg(child.pid, signal.SIGKILL))
            signal.alarm(max(1, int(left)))
            try:
                if live:
                    for line in child.stdout:
                        log.write(line)
                        print("    " + line.decode("utf-8", "replace").rstrip("\n"), flush=True)
                status = child.wait()
            except BaseException:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                raise
            finally:
                signal.alarm(0)
                signal.signal(signal.SIGALRM, previous)
            if status == -signal.SIGKILL and time.monotonic() >= self.deadline - 1:
                log.write(f"stopped: the limit of {self.limit_s} s, or of {TOTAL_LIMIT_S} s for all, has passed\n".encode())
                return None
            return status

    def log_end(self):
        """What the log ends with; ninja's progress hides the errors between."""
        with open(self.log, errors="replace") as log:
            return [line for line in log.read().splitlines() if not re.match(r"\[\d+/\d+\] ", line)][-SHOWN_LINES:]


def build_dir(name):
    return os.path.join(WORK, name.removeprefix("build-"))


def build(part):
    compiler, options = BUILDS[part.name]
    where = build_dir(part.name)
    if not os.path.exists(os.path.join(where, "build.ninja")):
        shutil.rmtree(where, ignore_errors=True)
        if part.command(["meson", "setup", where, ROOT, *options], env={"CC": compiler}) != 0:
            return failed(part.name)
    if part.command(["ninja", "-k", "0", "-C", where]) != 0:
        return failed(part.name)
    return Tally(passed=1)


def failed(name):
    tally = Tally()
    tally.fail(name)
    return tally


def count_tap(test, output):
    """Counts the cases of one cmocka binary; None if the output is no TAP."""
    tally, plan = Tally(), None
    for line in output.splitlines():
        found = re.match(r"1\.\.(\d+)", line)
        if found:
            plan = int(found.group(1))
        found = re.match(r"(not )?ok\b(.*)", line)
        if not found:
            continue
        if re.search(r"#\s*skip", found.group(2), re.IGNORECASE):
            tally.skipped += 1
        elif found.group(1):
            tally.fail(f"{test}:{found.group(2)}")
        else:
            tally.passed += 1
    seen = tally.passed + tally.failed + tally.skipped
    if not plan and not seen:
        return None
    if plan is not None and seen < plan:
        tally.fail(f"{test}: ended after {seen} of {plan} cases")
    return tally


def count_meson(path):
    tally = Tally()
    if not os.path.exists(path):
        return tally
    with open(path, errors="replace") as log:
        for line in log:
            test = json.loads(line)
            counted = count_tap(test["name"], test.get("stdout") or "")
            good = test["result"] in ("OK", "EXPECTEDFAIL")
            if test["result"] == "SKIP" and counted is None:
                # Meson calls a TAP program without any output skipped, too.
                counted = Tally()
                if (test.get("stdout") or "").strip():
                    counted.skipped = 1
                else:
                    counted.fail(f"{test['name']}: said nothing")
            elif test["result"] == "SKIP":
                pass
            elif counted is None and good:
                counted = Tally(passed=1)
            elif counted is None or (not good and not counted.failed):
                counted = counted or Tally()
                counted.fail(f"{test['name']}: {test['result'].lower()}, exit status {test.get('returncode')}")
            tally.add(counted)
    return tally


def meson_test(part, suite, directory, multiplier=1, prefix=(), live=False):
    log = os.path.join(directory, "meson-logs", part.name + ".json")
    if os.path.exists(log):
        os.unlink(log)
    status = part.command([*prefix, "meson", "test", "-C", directory, "--no-rebuild", "--suite", suite, "--logbase",
                           part.name, "--timeout-multiplier", str(multiplier), "--print-errorlogs"],
                          env=SANITIZERS, live=live)
    tally = count_meson(log)
    if status != 0 and not tally.failed:
        tally.fail(f"{part.name}: meson test ended with {status}")
    if not tally.passed and not tally.failed:
        tally.fail(f"{part.name}: found no tests")
    return tally


def unit(part):
    return meson_test(part, "unit", build_dir("build-gcc"))


def unit_asan(part):
    return meson_test(part, "unit", build_dir("build-asan"), 4)


def unit_tsan(part):
    # ThreadSanitizer of clang 14 cannot map its shadow under the address randomisation of newer kernels.
    plain = ["setarch", os.uname().machine, "-R"]
    works = subprocess.run([*plain, "true"], stderr=subprocess.DEVNULL).returncode == 0
    return meson_test(part, "unit", build_dir("build-tsan"), 8, plain if works else ())


def sim(part):
    return meson_test(part, "sim", build_dir("build-gcc"), 4)


def fuzz(part):
    return meson_test(part, "fuzz", build_dir("build-asan"), 4)


def scenario(part):
    report = os.path.join(LOGS, "scenario.xml")
    if os.path.exists(report):
        os.unlink(report)
    # Most of them wait most of the time: three at once on two processors. Not with -v: asking them for their versions
    # can take the main thread, which the tests' time limit needs, away from them.
    status = part.command(["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", "-n3", "--tb=short", "-rs",
                           "--durations=10", f"--junitxml={report}", "tests/scenario"],
                          env={"LOCKSTEP": os.path.join(build_dir("build-gcc"), "lockstep"),
                               "LOCKSTEP_ARTIFACTS": os.path.join(WORK, "artifacts"),
                               "PYTHONDONTWRITEBYTECODE": "1"}, live=True)
    tally = Tally()
    if os.path.exists(report):
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                tally.fail(f"{case.get('classname')}::{case.get('name')}")
            elif case.find("skipped") is not None:
                tally.skipped += 1
            else:
                tally.passed += 1
    if status != 0 and not tally.failed:
        tally.fail("scenario: " + ("no tests" if status == 5 else f"pytest ended with {status}"))
    return tally


def lint(part):
    tally = Tally()
    for name in LINTS:
        begun = time.monotonic()
        status = part.command([sys.executable, f"tests/lint/{name}.py"],
                              env={"LINT_BUILD": build_dir("build-clang"), "PYTHONDONTWRITEBYTECODE": "1"})
        if status == 0:
            tally.passed += 1
        else:
            tally.fail(f"lint {name}")
        print(f"    {name}: {'ok' if status == 0 else 'FAILED'} ({time.monotonic() - begun:.0f} s)", flush=True)
    return tally


PARTS = [
    Part("build-gcc", "compile with gcc -Werror", build, 600),
    Part("unit", "unit tests", unit, 300, "build-gcc"),
    Part("build-clang", "compile with clang -Werror", build, 600),
    Part("lint", "layers, banned calls, sizes, format, cppcheck, clang-tidy", lint, 420, "build-clang", anyway=True),
    Part("build-asan", "compile with AddressSanitizer and UndefinedBehaviorSanitizer", build, 600),
    Part("unit-asan", "unit tests under both", unit_asan, 400, "build-asan"),
    Part("build-tsan", "compile with ThreadSanitizer", build, 600),
    Part("unit-tsan", "unit tests under it", unit_tsan, 400, "build-tsan"),
    Part("sim", "simulation: random faults against the invariants", sim, 400, "build-gcc"),
    Part("fuzz", "fuzz corpora under AddressSanitizer and UndefinedBehaviorSanitizer", fuzz, 200, "build-asan"),
    Part("scenario", "the program against real rsync, ssh and file systems", scenario, 1350, "build-gcc"),
]


def run_part(part, number, of, broken, latest):
    print(f"[{number}/{of}] {part.name}: {part.what}", flush=True)
    begun = time.monotonic()
    part.deadline = min(begun + part.limit_s, latest)
    open(part.log, "wb").close()
    blocked = part.needs in broken and not part.anyway
    if blocked:
        tally = failed(f"{part.name}: not run, {part.needs} failed")
    else:
        try:
            tally = part.function(part)
        except Exception as error:  # a broken part must not hide the others
            tally = failed(f"{part.name}: {type(error).__name__}: {error}")
    print(f"    {tally} ({time.monotonic() - begun:.0f} s)", flush=True)
    if tally.failed and not blocked:
        print(f"    the end of {os.path.relpath(part.log, ROOT)}:")
        for line in part.log_end():
            print("    | " + line)
        sys.stdout.flush()
    return tally


def chosen(names):
    known = {part.name: part for part in PARTS}
    for name in names:
        if name not in known:
            sys.exit(f"tests/run.py: no part {name!r}; there are: {' '.join(known)}")
    wanted = set(names or known)
    wanted |= {known[name].needs for name in wanted}
    return [part for part in PARTS if part.name in wanted]


def main():
    if sys.argv[1:] == ["--list"]:
        for part in PARTS:
            print(f"{part.name:12} {part.what}")
        return 0
    parts = chosen(sys.argv[1:])
    os.makedirs(LOGS, exist_ok=True)
    begun, total, broken = time.monotonic(), Tally(), set()
    try:
        for number, part in enumerate(parts, 1):
            tally = run_part(part, number, len(parts), broken, begun + TOTAL_LIMIT_S)
            if tally.failed:
                broken.add(part.name)
            total.add(tally)
    except KeyboardInterrupt:
        total.fail("interrupted")
    for name in total.names:
        print(f"FAILED {name}")
    print(f"{time.monotonic() - begun:.0f} s in all; full output in {os.path.relpath(LOGS, ROOT)}/")
    print(total, flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
