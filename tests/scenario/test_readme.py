"""The commands that the README files show do what they say: the blocks marked five-minute-start, as they stand."""

import os
import re
import subprocess

import pytest
from harness import assert_equal, daemon, proc

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def text_of(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as f:
        return f.read()


def block(name, mark):
    found = re.findall(rf"^```{mark}$\n(.*?)^```$", text_of(name), re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"{name}: {len(found)} blocks marked {mark}"
    return found[0]


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_five_minute_start_works_as_written(box, name):
    here = box.dir("here")
    # The program under its usual name, whatever LOCKSTEP points to.
    os.symlink(daemon.BINARY, os.path.join(box.dir("bin"), "lockstep"))
    env = dict(os.environ, PATH=box.path("bin") + os.pathsep + os.environ["PATH"])
    shell = subprocess.Popen(["sh", "-eu", "-c", block(name, "sh five-minute-start")], cwd=here, env=env, text=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        output, _ = shell.communicate(timeout=60)
    finally:
        proc.kill_tree(shell)
    assert shell.returncode == 0, output
    assert "equal" in output or "一致" in output, output
    assert re.search(r"^main\.1 +live ", output, re.MULTILINE), output
    assert_equal(os.path.join(here, "source"), os.path.join(here, "copy"))
    assert sorted(os.listdir(os.path.join(here, "source/photos"))) == ["1.txt", "greeting"]


def test_both_languages_show_the_same_commands():
    english, chinese = (re.sub(r"#.*|echo \S+$", "", block(name, "sh five-minute-start"), flags=re.MULTILINE)
                        for name in ("README.md", "README.zh-CN.md"))
    assert english == chinese


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_configuration_example_is_accepted(box, name):
    text = next(b for b in re.findall(r"^```ini$\n(.*?)^```$", text_of(name), re.MULTILINE | re.DOTALL) if "[tree" in b)
    secret = box.path("secret")
    with open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
        f.write("x\n")
    for there, here in (("/srv/uploads\n", box.dir("uploads") + "\n"), ("/mnt/copy/uploads", box.dir("copy")),
                        ("/etc/lockstep/b1.secret", secret), ("/etc/lockstep/id_ed25519", secret)):
        text = text.replace(there, here)
    done = daemon.command("check", "--offline", "--state", box.path("state"), "-c", box.config(text))
    assert done.returncode == 0, done.stdout + done.stderr
    for job in ("uploads.1", "uploads.2", "web2"):
        assert job in done.stdout


@pytest.mark.root
@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_module_as_described_is_served(box, name):
    """rsyncd.conf as the README has it, but for paths, port and addresses."""
    text = next(b for b in re.findall(r"^```ini$\n(.*?)^```$", text_of(name), re.MULTILINE | re.DOTALL) if "[uploads]" in b)
    src, module, port = box.dir("src"), box.dir("module"), proc.free_port()
    box.fill(src, 20)
    secrets, password, log = box.path("secrets"), box.path("password"), box.path("rsyncd.log")
    for path, content in ((secrets, "backup:choose-a-long-one\n"), (password, "choose-a-long-one\n")):
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(content)
    for there, here in (("/srv/mirror/uploads", module), ("/etc/rsyncd.secrets", secrets), ("192.0.2.10", "127.0.0.1"),
                        ("/var/log/rsyncd.log", log)):
        assert there in text
        text = text.replace(there, here)
    conf = box.config(f"address = 127.0.0.1\nport = {port}\n{text}", "rsyncd.conf")
    server = proc.spawn(["rsync", "--daemon", "--no-detach", f"--config={conf}"])
    try:
        proc.until(lambda: proc.listening(port), what="the module's server")
        done = daemon.command("run", "--once", "--state", box.path("state"), src, f"rsync://backup@127.0.0.1:{port}/uploads",
                              "--set", f"password_file={password}", timeout=60)
        assert done.returncode == 0, done.stderr
        assert_equal(src, module)
    finally:
        proc.kill_tree(server)
