"""The way to one phone through this machine's adb server: which phone it is, services opened on it, its loss told."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING, NoReturn

from harness.devices.inventory import Device
from harness.errors import ConfigError, DeviceError, Offline, RemoteFailure, TimedOut, Unauthorized, Vanished

if TYPE_CHECKING:
    import adbutils

_SERVER_TIMEOUT_S = 5.0
"""The server answers from memory."""
_SETTLING_S = 3.0
"""A phone that was just plugged in or connected is `offline` or `authorizing` for a moment."""
_LOOK_AGAIN_S = 0.1
_UNSETTLED = ("offline", "authorizing", "connecting")
_NEEDS = "shell_v2"


class Link:
    """A phone as the adb server knows it. Once it is lost every call raises Vanished, until `close`; a later call looks for it anew."""

    def __init__(self, device: Device) -> None:
        self.device = device.name
        self._serial = device.serial
        self._finding = threading.Lock()
        self._transport_id: int | None = None
        self._lost = False
        self._opened: set[socket.socket] = set()

    def open(self, service: str, deadline: float) -> socket.socket:
        """Return the socket of a service of the phone, such as `sync:`; whoever opens it hands it to `shut`.

        Raises Offline, Unauthorized or ConfigError where there is no such phone, Vanished where it was there, TimedOut, and RemoteFailure
        where it refuses the service.
        """
        if self._lost:
            raise self.vanished()
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimedOut(self.device, f"no time left for {service.partition(':')[0]}")
        with self._finding:
            if self._transport_id is None:
                self._transport_id = self._find(deadline)
        try:
            opened: socket.socket = _asked(left_s, f"host:transport-id:{self._transport_id}", service).conn
        except _errors() as error:
            self._explain(error, deadline)
        self._opened.add(opened)
        if (lost := self.lost()) is not None:
            self.shut(opened)
            raise lost
        return opened

    @staticmethod
    def wake(opened: socket.socket) -> None:
        """End a service, so that whoever waits on it finds out."""
        with contextlib.suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)

    def shut(self, opened: socket.socket) -> None:
        """Let go of a service that nobody waits on."""
        self._opened.discard(opened)
        self.wake(opened)
        opened.close()

    def lose(self) -> None:
        """Take note that the phone is gone, and wake who waits on it."""
        self._lost = True
        for opened in tuple(self._opened):
            self.wake(opened)

    def lost(self) -> Vanished | None:
        """Return the error to raise where the phone was there and is no more."""
        return self.vanished() if self._lost else None

    def vanished(self) -> Vanished:
        """Return the error that tells of the lost phone."""
        return Vanished(
            self.device, "the connection is lost", "if the phone is there again, run the same command: what was measured is stored"
        )

    def close(self) -> None:
        """Let go of the phone."""
        for opened in tuple(self._opened):
            self.shut(opened)
        self._transport_id, self._lost = None, False

    def _find(self, deadline: float) -> int:
        """Return the server's number for the phone, reaching out to it where its serial is an address."""
        self._start_server(deadline)
        try:
            found = self._settled(deadline)
            if (found is None or found.state == "offline") and self._serial is not None and ":" in self._serial:
                client = _client()
                client.disconnect(self._serial)
                client.connect(self._serial, timeout=max(0.1, min(_SERVER_TIMEOUT_S, deadline - time.monotonic())))
                found = self._settled(deadline)
            if found is not None and found.state == "device" and found.transport_id is not None:
                with _asked(_SERVER_TIMEOUT_S, f"host-transport-id:{found.transport_id}:features") as answer:
                    features = answer.read_string_block().split(",")
                if _NEEDS not in features:
                    raise ConfigError(f"{self.device}: its adb is too old to tell how commands end", "Android 7 or a newer one is needed")
                return int(found.transport_id)
        except _errors() as error:
            self._explain(error, deadline)
        raise self._absent(None if found is None else found.state)

    def _start_server(self, deadline: float) -> None:
        """Start this machine's adb server where none answers. Raises Offline where that cannot be done."""
        import adbutils

        client = _client()
        with contextlib.suppress(OSError), socket.create_connection((client.host, client.port), _SERVER_TIMEOUT_S):
            return
        try:
            command = [adbutils.adb_path(), "-L", f"tcp:localhost:{client.port}", "start-server"]
            started = subprocess.run(command, check=False, timeout=max(0.1, deadline - time.monotonic()), capture_output=True, text=True)
            told = started.stderr.strip().splitlines()[-1:] if started.returncode else []
        except subprocess.TimeoutExpired:
            raise TimedOut(self.device, "the adb server did not start in time") from None
        except (OSError, adbutils.AdbError) as error:
            told = [str(error)]
        if told:
            raise Offline(
                self.device, f"there is no adb server at {client.host}:{client.port}, and none starts: {told[0]}", "adb start-server"
            )

    def _settled(self, deadline: float) -> adbutils.AdbDeviceInfo | None:
        """Return the phone as the server knows it once its state is clear, None where it does not know it."""
        until = min(deadline, time.monotonic() + _SETTLING_S)
        while True:
            known = _client().list(extended=True)
            if self._serial is None and len(known) > 1:
                raise ConfigError(
                    f"{self.device}: {len(known)} phones are attached", "add its serial to devices.toml; `adb devices` lists them"
                )
            found = next((one for one in known if self._serial in (None, one.serial)), None)
            if found is None or found.state not in _UNSETTLED or time.monotonic() > until:
                return found
            time.sleep(_LOOK_AGAIN_S)

    def _absent(self, state: str | None) -> DeviceError:
        if state is None:
            return Offline(
                self.device, "adb knows no such phone", "is it plugged in, with USB debugging on? `adb devices` lists those it knows"
            )
        if state in ("unauthorized", "authorizing"):
            return Unauthorized(self.device, "the phone has not let this machine in", "unlock it and accept the key that it asks about")
        if state == "no":  # "no permissions (...)"
            return Unauthorized(self.device, "this user may not use its USB port", "Debian: apt install android-sdk-platform-tools-common")
        if state == "offline":
            return Offline(self.device, "the phone does not answer adb", "plug it in anew, or `adb reconnect offline`")
        return Offline(self.device, f"the phone is in the state {state}", "start Android on it")

    def _explain(self, error: Exception, deadline: float) -> NoReturn:
        """Raise what an error of adbutils means here."""
        if time.monotonic() > deadline:
            raise TimedOut(self.device, "the phone did not answer in time") from error
        if self._transport_id is not None and not self._is_there():
            self.lose()
            raise self.vanished() from error
        if isinstance(error, TimeoutError) or "timeout" in str(error):
            raise TimedOut(self.device, "the adb server did not answer in time") from error
        raise RemoteFailure(self.device, f"adb: {error}") from error

    def _is_there(self) -> bool:
        """Return whether the server still knows the phone under its number."""
        try:
            return any(one.transport_id == self._transport_id and one.state == "device" for one in _client().list(extended=True))
        except _errors():
            return False


def _client() -> adbutils.AdbClient:
    import adbutils

    return adbutils.AdbClient(socket_timeout=_SERVER_TIMEOUT_S)


def _asked(timeout_s: float, *commands: str) -> adbutils.AdbConnection:
    """Return a connection to the server that took these commands, one after the other."""
    connection = _client().make_connection(timeout=timeout_s)
    try:
        for command in commands:
            connection.send_command(command)
            connection.check_okay()
    except BaseException:
        connection.conn.close()
        raise
    return connection


def _errors() -> tuple[type[Exception], ...]:
    """Return what adbutils raises: its own errors, those of sockets, and those of texts that end too early."""
    from adbutils.errors import AdbError

    return (AdbError, OSError, EOFError, ValueError)
