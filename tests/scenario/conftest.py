"""Fixtures of the scenario tests. LOCKSTEP=/path names the binary (default build/lockstep), LOCKSTEP_ARTIFACTS where logs
of failed tests are kept, LOCKSTEP_SOAK=1 runs the long forms."""

import os
import re
import signal
import tempfile

import pytest
from harness import Box, sandbox

ARTIFACTS = os.environ.get("LOCKSTEP_ARTIFACTS") or os.path.join(tempfile.gettempdir(), "lockstep-artifacts")
LIMIT_S = 240


def pytest_configure(config):
    config.addinivalue_line("markers", "sandbox: runs in mount, network and process namespaces of its own")
    config.addinivalue_line("markers", "limit(seconds): a time limit other than the usual one")
    config.addinivalue_line("markers", "root: needs root")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sandbox.inside():
        sandbox.loopback_up()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    setattr(item, "report_" + report.when, report)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """A marked test runs as a whole in a second pytest; True says that it has been called."""
    if pyfuncitem.get_closest_marker("sandbox") is None or sandbox.inside():
        return None
    reason = sandbox.missing()
    if reason:
        pytest.skip(f"injector missing: {reason}")
    passed, skipped, output = sandbox.rerun(pyfuncitem.nodeid, pyfuncitem.config.rootpath)
    if skipped:
        pytest.skip(skipped)
    if not passed:
        pytest.fail(output, pytrace=False)
    return True


@pytest.fixture(autouse=True)
def time_limit(request):
    """No test hangs for ever."""
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else LIMIT_S

    def too_long(signum, frame):
        raise AssertionError(f"the test took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def needs_root(request):
    if request.node.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("injector missing: needs root")


@pytest.fixture
def box(request, time_limit):
    b = Box()
    yield b
    report = getattr(request.node, "report_call", None)
    if report is not None and report.failed and b.things:  # a sandboxed test has kept its own
        where = os.path.join(ARTIFACTS, re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.nodeid.rpartition("/")[2]))
        b.keep(where)
        print(f"kept in {where}")
    b.end()


@pytest.fixture
def soak():
    return bool(os.environ.get("LOCKSTEP_SOAK"))


@pytest.fixture
def silenced():
    """silenced(path, ...): file systems there that never answer; end() lets them fail, with the test at the latest."""
    servers = []

    def begin(*paths):
        if not os.path.exists("/dev/fuse"):
            pytest.skip("there is no /dev/fuse")
        for path in paths:
            servers.append(os.open("/dev/fuse", os.O_RDWR))
            if not sandbox.mount_silent(servers[-1], path):
                pytest.skip("fuse cannot be mounted")

    def end():
        while servers:
            os.close(servers.pop())

    begin.end = end
    yield begin
    end()
