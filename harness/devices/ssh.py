"""The transport to a board over SSH."""

from __future__ import annotations

import contextlib
import posixpath
import secrets
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.devices.inventory import Device
from harness.devices.shell_stream import Channel, ShellTransport
from harness.devices.ssh_connection import Connection, ssh_exception
from harness.devices.transport import poll_ms
from harness.errors import DeviceError, RemoteFailure, TimedOut, Vanished

if TYPE_CHECKING:
    import paramiko

_CHUNK_BYTES = 1 << 18
_WINDOW_STEP_S = 0.002
_LOOK_TIMEOUT_S = 5.0


class SshTransport(ShellTransport):
    """A board over one SSH connection, made with the first call. Once it is lost every call raises Vanished, until `close`."""

    def __init__(self, device: Device) -> None:
        super().__init__(device.name)
        self.connection = Connection(device)
        self._pushing = threading.Lock()  # paramiko's file client is one thread's

    def push(self, local: Path, remote: str, deadline: float) -> None:
        """Copy the file `local` to the absolute path `remote`: complete, with its permissions, or not at all."""
        if not posixpath.isabs(remote):
            raise RemoteFailure(self.device, f"cannot push to {remote}: not an absolute path")

        def check_time(_sent: int = 0, _size: int = 0) -> None:
            if time.monotonic() > deadline:
                raise TimedOut(self.device, f"pushing {local} to {remote} took too long")

        folder, name = posixpath.split(remote)
        part = f"{folder}/.{name}.{secrets.token_hex(8)}"
        try:
            with local.open("rb") as source, self._turn(deadline), self.connection.calling(deadline, f"cannot push {local} to {remote}"):
                check_time()
                sftp = self.connection.files(deadline)
                _make_folders(sftp, folder)
                try:
                    size_bytes = local.stat().st_size
                    sftp.putfo(source, part, file_size=size_bytes, callback=check_time)
                    sftp.chmod(part, local.stat().st_mode & 0o777)
                    sftp.posix_rename(part, remote)
                except BaseException:
                    self.connection.forget_files()
                    with contextlib.suppress(OSError, EOFError, ssh_exception()):
                        sftp.remove(part)
                    raise
        except OSError as error:
            raise RemoteFailure(self.device, f"cannot push {local} to {remote}: {error.strerror or error}") from error
        except RemoteFailure as error:
            with contextlib.suppress(DeviceError):
                error.hint = self._room(folder, local.stat().st_size)
            raise

    def send(self, local: Path, remote: str, deadline: float) -> None:
        """As `push`, which costs no more."""
        self.push(local, remote, deadline)

    @contextmanager
    def _turn(self, deadline: float) -> Iterator[None]:
        if not self._pushing.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise TimedOut(self.device, "another push took too long")
        try:
            yield
        finally:
            self._pushing.release()

    def open_channel(self, command: str, program: str, deadline: float) -> Channel:
        """Return the channel of a command."""
        with self.connection.calling(deadline, f"cannot start {program}"):
            channel = self.connection.transport(deadline).open_session(timeout=max(0.1, deadline - time.monotonic()))
            channel.exec_command(command)
            channel.setblocking(0)
        return _Channel(self.connection, channel)

    def probe(self, deadline: float) -> None:
        """Return once the server has answered; where it does not the connection is cut, which no TCP timer does behind a proxy."""
        with self.connection.calling(deadline, "the board does not answer"):
            self.connection.transport(deadline).global_request("keepalive@openssh.com", wait=True)

    def close(self) -> None:
        """Kill the streams that are still alive and end the connection; a later call would make a new one."""
        self.kill_streams()
        self.connection.close()

    def _room(self, folder: str, needed_bytes: int) -> str:
        """Return what to do where the board's disk has no room for a file, which SFTP does not tell; nothing where it has."""
        told = self.run(["df", "-Pk", folder], time.monotonic() + _LOOK_TIMEOUT_S).stdout.decode(errors="replace").splitlines()
        free_bytes = 1024 * int(told[-1].split()[3]) if len(told) > 1 else needed_bytes
        if free_bytes >= needed_bytes:
            return ""
        return f"its disk is full: {needed_bytes / 2**20:.1f} MiB are needed in {folder}, {free_bytes / 2**20:.1f} are free"


class _Channel:
    """A command's channel of the connection."""

    def __init__(self, connection: Connection, channel: paramiko.Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._closed = False

    def write(self, data: bytes, deadline: float) -> bool:
        rest = memoryview(data)
        while rest:
            if self._channel.closed or self._channel.exit_status_ready():
                return False
            if self._channel.send_ready():
                with self._connection.calling(deadline, "a request cannot be sent"):
                    rest = rest[self._channel.send(rest.tobytes()[:_CHUNK_BYTES]) :]
            elif time.monotonic() > deadline:
                raise TimeoutError
            else:
                time.sleep(_WINDOW_STEP_S)
        return True

    def end_input(self, deadline: float) -> None:
        with self._connection.calling(deadline, "a command's input cannot be closed"):
            self._channel.shutdown_write()

    def read(self, deadline: float) -> tuple[bytes, bytes] | None:
        channel, stderr = self._channel, b""
        while True:
            while channel.recv_stderr_ready():
                stderr += channel.recv_stderr(_CHUNK_BYTES)
            if channel.recv_ready():
                return channel.recv(_CHUNK_BYTES), stderr
            if stderr:
                return b"", stderr
            if self._closed or channel.closed or channel.eof_received:
                if channel.recv_ready() or channel.recv_stderr_ready():
                    continue
                return None
            poll = select.poll()
            poll.register(channel.fileno(), select.POLLIN)
            if not poll.poll(poll_ms(deadline)):
                raise TimeoutError

    def status(self, timeout_s: float) -> int | None:
        if not self._channel.status_event.wait(timeout_s):
            return None
        return None if self._channel.exit_status == -1 else self._channel.exit_status

    def lost(self) -> Vanished | None:
        return self._connection.vanished() if self._connection.is_lost() else None

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(OSError, EOFError, ssh_exception()):
            self._channel.close()


def _make_folders(sftp: paramiko.SFTPClient, folder: str) -> None:
    try:
        sftp.stat(folder)
    except FileNotFoundError:
        _make_folders(sftp, posixpath.dirname(folder))
        with contextlib.suppress(OSError):  # another host may have been faster; where it is still missing, the push says so
            sftp.mkdir(folder)
