"""One SSH connection: made with the first call, every call on it bounded, its loss told."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from harness.devices.inventory import Device
from harness.devices.ssh_connect import connect
from harness.devices.ssh_route import route_to
from harness.devices.watchdog import Watchdog
from harness.errors import DeviceError, RemoteFailure, TimedOut, Vanished

if TYPE_CHECKING:
    import paramiko

_LATE_S = 0.5
"""A library call that can end by itself at its deadline gets so much longer before its connection is cut."""


class Connection:
    """A connection to a board. Once it is lost every call raises Vanished, until it is closed; a later call makes a new one."""

    def __init__(self, device: Device) -> None:
        self.device = device.name
        self._device = device
        self._connecting = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._transport: paramiko.Transport | None = None
        self._sftp: paramiko.SFTPClient | None = None
        self._opened: list[Any] = []
        self._watchdog = Watchdog(self._cut, self.device)

    def close(self) -> None:
        """End the connection."""
        self._cut()
        self._reset()

    def is_lost(self) -> bool:
        """Whether the connection was there and is no more."""
        return self._watchdog.bit or (self._transport is not None and not self._transport.is_active())

    @contextmanager
    def calling(self, deadline: float, doing: str) -> Iterator[None]:
        """Guard a call into paramiko: what it raises ends as TimedOut, Vanished or, where the connection still stands, RemoteFailure."""
        if self.is_lost():
            raise self.vanished()
        if time.monotonic() > deadline:
            raise TimedOut(self.device, f"{doing}: no time left")
        watchdog = self._watchdog
        try:
            with watchdog.guard(deadline + _LATE_S):
                yield
        except DeviceError:
            raise
        except (EOFError, OSError, ssh_exception()) as error:
            if time.monotonic() > deadline:
                raise TimedOut(self.device, f"{doing} in time") from error
            closed = watchdog is not self._watchdog
            if self.is_lost() or closed or isinstance(error, EOFError):
                raise self.vanished() from error
            raise RemoteFailure(self.device, f"{doing}: {getattr(error, 'strerror', None) or error}") from error

    def vanished(self) -> Vanished:
        """Return the error that tells of the lost connection."""
        return Vanished(
            self.device, "the connection is lost", "if the board is there again, run the same command: what was measured is stored"
        )

    def transport(self, deadline: float) -> paramiko.Transport:
        """Return the connection, made now where there is none; what paramiko raises goes through `calling`."""
        with self._connecting:
            if self._transport is None:
                self._transport = connect(self.device, route_to(self._device), deadline, self._open).get_transport()
        assert self._transport is not None
        return self._transport

    def forget_files(self) -> None:
        """Let go of the way to the board's files, which may have ended; the next push opens another."""
        self._sftp = None

    def files(self, deadline: float) -> paramiko.SFTPClient:
        """Return the connection's way to the board's files."""
        import paramiko

        if self._sftp is None:
            found = paramiko.SFTPClient.from_transport(self.transport(deadline))
            assert found is not None
            self._sftp = found
        return self._sftp

    def _open(self, opened: Any) -> None:
        self._opened.append(opened)
        if self._watchdog.bit:
            self._cut()  # too late: whoever connects meets a closed socket

    def _cut(self) -> None:
        for opened in reversed(self._opened):
            with contextlib.suppress(OSError, EOFError, ssh_exception()):
                opened.close()


def ssh_exception() -> type[Exception]:
    """Return paramiko's own error, which is imported with the first connection only."""
    import paramiko

    return paramiko.SSHException
