"""Targets: a stock rsync daemon, a real sshd, a local directory. Each keeps its tree in `path` and is named by `target`;
`options` are what a lockstep run needs besides, as `KEY=VALUE` for --set, `args` as further arguments."""

import getpass
import os
import shutil
import signal
import subprocess

from .proc import children, free_port, kill_tree, listening, send, spawn, until

PASSWORD = "Canary-7f3a9c-password"


class Local:
    kind = "local"
    options = ()
    args = ()

    def __init__(self, home, name="copy"):
        self.path = os.path.join(home, name)
        os.makedirs(self.path)
        self.target = self.path

    def stop(self):
        pass


class Rsyncd:
    """A password-protected `rsync --daemon` with one module on a free loopback port. `settings` replace or add lines of
    the module; a value of None drops the line. Written as the tutorials do, but for root in a chroot, so that everything
    can be kept: without one the daemon rewrites absolute link targets, by munging or by cutting the slash off."""

    kind = "rsyncd"
    args = ()

    def __init__(self, home, *, name="rsyncd", user="backup", password=PASSWORD, path=None, start=True, **settings):
        self.home = os.path.join(home, name)
        self.path = path or os.path.join(self.home, "module")
        os.makedirs(self.path, exist_ok=True)
        self.port = free_port()
        self.user, self.password = user, password
        self.conf = os.path.join(self.home, "rsyncd.conf")
        self.log = os.path.join(self.home, "rsyncd.log")
        self.secrets = os.path.join(self.home, "rsyncd.secrets")
        self.password_file = os.path.join(self.home, "client.secret")
        self._secret(self.secrets, f"{user}:{password}\n")
        self._secret(self.password_file, f"{password}\n")
        self.settings = {
            "use chroot": "no", "munge symlinks": "no", "max connections": "200", "timeout": "300", "list": "false",
            "read only": "no", "auth users": user, "secrets file": self.secrets, "hosts allow": "127.0.0.1",
        }
        if os.geteuid() == 0:
            self.settings |= {"uid": "root", "gid": "root", "use chroot": "yes"}
        self.target = f"rsync://{user}@127.0.0.1:{self.port}/mirror/"
        self.options = (f"password_file={self.password_file}",)
        self.proc = None
        self.configure(**settings)
        if start:
            self.start()

    @staticmethod
    def _secret(path, text):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w") as f:
            f.write(text)

    def configure(self, **settings):
        """Change settings of the module (underscores for blanks); new connections see them, no restart needed."""
        for key, value in settings.items():
            self.settings[key.replace("_", " ")] = value
        lines = [f"port = {self.port}", "address = 127.0.0.1", f"pid file = {self.home}/rsyncd.pid", f"log file = {self.log}",
                 f"lock file = {self.home}/rsyncd.lock", "[mirror]", f"path = {self.path}"]
        lines += [f"{k} = {v}" for k, v in self.settings.items() if v is not None]
        with open(self.conf + ".new", "w") as f:
            f.write("\n".join(lines) + "\n")
        os.replace(self.conf + ".new", self.conf)

    def set_server_password(self, password):
        self._secret(self.secrets, f"{self.user}:{password}\n")

    def start(self):
        pid_file = os.path.join(self.home, "rsyncd.pid")
        if os.path.exists(pid_file):
            os.unlink(pid_file)
        self.proc = spawn(["rsync", "--daemon", "--no-detach", f"--config={self.conf}"], log=self.log + ".err")
        until(lambda: listening(self.port) or self.proc.poll() is not None, 10, "rsyncd answering")
        assert self.proc.poll() is None, self.read_log()

    def connections(self):
        """Processes that serve clients: one or two for each session."""
        return [p for child in children(self.proc.pid) for p in [child, *children(child)]] if self.proc else []

    def freeze(self):
        """Stop all that serve sessions now; new connections are still served. Returns them for thaw()."""
        pids = self.connections()
        send(pids, signal.SIGSTOP)
        return pids

    @staticmethod
    def thaw(pids):
        send(pids, signal.SIGCONT)

    def kill(self):
        """SIGKILL to the daemon and everybody it serves."""
        if self.proc:
            kill_tree(self.proc)
            self.proc = None

    stop = kill

    def restart(self):
        self.kill()
        self.start()

    def read_log(self):
        text = ""
        for path in (self.log, self.log + ".err"):
            if os.path.exists(path):
                with open(path, errors="backslashreplace") as f:
                    text += f.read()
        return text

    def logins(self):
        """How often a client connected to the module or was turned away."""
        return sum("connect from" in line for line in self.read_log().splitlines())


class Sshd:
    """A real sshd on a free loopback port with keys of its own; the target is a directory in the tests' box. `settings`
    replace or add lines of its configuration."""

    kind = "ssh"
    args = ()

    def __init__(self, home, *, name="sshd", **settings):
        self.home = os.path.join(home, name)
        self.path = os.path.join(self.home, "tree")
        os.makedirs(self.path)
        os.chmod(self.home, 0o755)
        self.port = free_port()
        self.host_key, self.key = (os.path.join(self.home, n) for n in ("host_key", "user_key"))
        for key in (self.host_key, self.key):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, stdin=subprocess.DEVNULL)
        shutil.copy(self.key + ".pub", os.path.join(self.home, "authorized_keys"))
        self.known_hosts = os.path.join(self.home, "known_hosts")
        with open(self.host_key + ".pub") as key, open(self.known_hosts, "w") as known:
            known.write(f"[127.0.0.1]:{self.port} {key.read()}")
        self.conf = os.path.join(self.home, "sshd_config")
        self.log = os.path.join(self.home, "sshd.log")
        lines = {
            "Port": self.port, "ListenAddress": "127.0.0.1", "HostKey": self.host_key, "PidFile": "none",
            "AuthorizedKeysFile": f"{self.home}/authorized_keys", "StrictModes": "no", "UsePAM": "no", "PermitRootLogin": "yes",
            "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no", "MaxStartups": 100, "MaxSessions": 100,
            "UseDNS": "no",
            "SetEnv": "SHLVL=2",  # else bash reads the ~/.bashrc of whoever runs the tests, for each session
        } | settings
        with open(self.conf, "w") as f:
            f.writelines(f"{k} {v}\n" for k, v in lines.items())
        self.target = f"{getpass.getuser()}@127.0.0.1:{self.path}"
        self.options = (f"ssh_port={self.port}", f"ssh_key={self.key}", f"ssh_option=UserKnownHostsFile={self.known_hosts}",
                        "ssh_option=StrictHostKeyChecking=yes")
        self.proc = None
        self.start()

    def start(self):
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.proc = spawn(["/usr/sbin/sshd", "-D", "-e", "-f", self.conf], log=self.log)
        until(lambda: listening(self.port) or self.proc.poll() is not None, 10, "sshd answering")
        assert self.proc.poll() is None, self.read_log()

    def read_log(self):
        with open(self.log, errors="backslashreplace") as f:
            return f.read()

    def logins(self):
        """How often somebody logged in: connections, not the sessions in them."""
        return self.read_log().count("Accepted publickey")

    def ssh_command(self):
        """The command line by which stock rsync reaches it; for tests of this class."""
        return (f"ssh -p {self.port} -i {self.key} -oBatchMode=yes -oIdentitiesOnly=yes "
                f"-oUserKnownHostsFile={self.known_hosts} -oStrictHostKeyChecking=yes")

    def kill(self):
        if self.proc:
            kill_tree(self.proc)
            self.proc = None

    stop = kill


KINDS = {"local": Local, "rsyncd": Rsyncd, "ssh": Sshd}
