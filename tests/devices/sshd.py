"""A real OpenSSH server on loopback, with keys and a client configuration of its own, as a board would run it."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import fields
from pathlib import Path

from harness.devices.inventory import Device
from tests.devices.netns import Namespace

INSTALL = "the tests need OpenSSH's server (Debian: apt install openssh-server)"
_START_TIMEOUT_S = 10.0


def inventory(*devices: Device) -> str:
    """Return the text of a devices.toml with these devices, the first of them the default."""
    tables = [f'default = "{devices[0].name}"']
    for device in devices:
        keys = {field.name: getattr(device, field.name) for field in fields(device) if field.name != "name"}
        lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items() if value is not None]
        tables.append("\n".join([f"[devices.{device.name}]", *lines]))
    return "\n".join(tables) + "\n"


class Sshd:
    """A server in a folder; `device` reaches it by the client configuration written there, under the host alias `board`.

    With `own_tmp` it has a /tmp of its own, and so a lease of its own, and an identity; its folder must then lie elsewhere.
    """

    def __init__(self, folder: Path, name: str = "board", net: Namespace | None = None, *, own_tmp: bool = False) -> None:
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None, INSTALL
        self.folder, self.home, self.name, self._program = folder, folder / "home", name, program
        self._inside = [] if net is None else ["ip", "netns", "exec", net.name]
        self.home.mkdir(parents=True, exist_ok=True)
        if own_tmp:
            identity = folder / "machine-id"
            identity.write_text(secrets.token_hex(16))
            own = f'mount -t tmpfs tmpfs /tmp && mount --bind {identity} /etc/machine-id && exec "$@"'
            self._inside += ["unshare", "-m", "sh", "-c", own, "sh"]
        self.address = "127.0.0.1" if net is None else net.address
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.identity, self.known_hosts, self.config = folder / "id", folder / "known_hosts", folder / "config"
        for key in (self.identity, folder / "host_key"):
            self.make_key(key)
        self.make_key(folder / "host_key_ecdsa", kind="ecdsa")
        (folder / "authorized_keys").write_text(self.identity.with_suffix(".pub").read_text())
        (folder / "sshd_config").write_text(f"""\
ListenAddress {self.address}:{self.port}
HostKey {folder}/host_key
HostKey {folder}/host_key_ecdsa
PidFile {folder}/pid
AuthorizedKeysFile {folder}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
SetEnv HOME={folder}/home
UsePAM no
StrictModes no
UseDNS no
MaxStartups 100
Subsystem sftp internal-sftp
""")
        self.config.write_text(f"""\
Host {name}
  HostName {self.address}
  Port {self.port}
  User {getpass.getuser()}
  IdentityFile {self.identity}
  IdentitiesOnly yes
  UserKnownHostsFile {self.known_hosts}
  GlobalKnownHostsFile /dev/null
""")
        self.know()
        self.start()

    @property
    def device(self) -> Device:
        return Device(self.name, transport="ssh", host=self.name, ssh_config=str(self.config))

    @property
    def pid(self) -> int:
        return self._process.pid

    def know(self, name: str = "host_key") -> None:
        """Put one of the server's keys where the client looks for it."""
        kind, key, *_ = (self.folder / f"{name}.pub").read_text().split()
        self.known_hosts.write_text(f"[{self.address}]:{self.port} {kind} {key}\n")

    @staticmethod
    def make_key(path: Path, kind: str = "ed25519") -> None:
        path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)], check=True, stdin=subprocess.DEVNULL)

    def start(self) -> None:
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        with (self.folder / "log").open("w") as log:
            self._process = subprocess.Popen([*self._inside, self._program, "-D", "-e", "-f", str(self.folder / "sshd_config")], stderr=log)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            running = self._process.poll() is None and time.monotonic() < deadline
            assert running, (self.folder / "log").read_text()
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket() as trial:
            return trial.connect_ex((self.address, self.port)) == 0

    def sessions(self) -> list[int]:
        """Return the servers of the connections there are."""
        found = subprocess.run(["pgrep", "-P", str(self._process.pid)], check=False, capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    def kill_sessions(self) -> None:
        """Kill every connection's server, as a board would that runs out of memory."""
        for pid in self.sessions():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGSTOP)  # else it may begin one more, which would hold its port for a moment
        self.kill_sessions()
        self._process.kill()
        self._process.wait()
