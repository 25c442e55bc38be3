"""An adb server of a test's own: its port, its home and so its key are apart from the user's."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

from adbutils import AdbClient, adb_path
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_START_TIMEOUT_S = 10.0


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class AdbServer:
    """A running adb server with its home in `folder`; `environment` lets adb and adbutils find it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        # adb looks for emulators at every second port up to the last one named, and for phones that announce themselves.
        self.environment = {
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "ANDROID_ADB_SERVER_PORT": str(self.port),
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "1",
            "ADB_MDNS": "0",
            "ADB_USB": "0",
        }
        self.start()

    @property
    def client(self) -> AdbClient:
        return AdbClient("127.0.0.1", self.port)

    @property
    def key(self) -> RSAPublicKey:
        """The key by which phones know this server."""
        private = load_pem_private_key((self.folder / ".android" / "adbkey").read_bytes(), password=None)
        assert isinstance(private, RSAPrivateKey)
        return private.public_key()

    def start(self) -> None:
        """Start it, and come back when it answers."""
        command = [adb_path(), "-L", f"tcp:localhost:{self.port}", "nodaemon", "server"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=os.environ | self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._answers():
            running = self._process.poll() is None and time.monotonic() < deadline
            assert running, (self.folder / "log").read_text(errors="replace")[-4000:]
            time.sleep(0.01)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def connect(self, serial: str) -> str:
        """Tell it to connect to a phone, and return what it says."""
        return str(self.client.connect(serial, timeout=10.0))

    def disconnect(self, serial: str) -> None:
        """Have it forget a phone. adbutils would start another server where this one is gone."""
        if self._process.poll() is None:
            self.client.disconnect(serial)

    def state(self, serial: str) -> str | None:
        """Return the state it tells of a phone: device, offline, unauthorized, ...; None of one that it does not know."""
        return next((known.state for known in self.client.list() if known.serial == serial), None)

    def _answers(self) -> bool:
        with socket.socket() as trial:
            trial.settimeout(1.0)
            try:
                trial.connect(("127.0.0.1", self.port))
                trial.sendall(b"000chost:version")
                return trial.recv(4) == b"OKAY"
            except OSError:
                return False
