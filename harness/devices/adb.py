"""The transport to a phone over ADB."""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import secrets
import select
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.devices.adb_link import Link
from harness.devices.inventory import Device
from harness.devices.shell_stream import Channel, ShellTransport
from harness.devices.transport import poll_ms
from harness.errors import DeviceError, RemoteFailure, TimedOut, Vanished

_CHUNK_BYTES = 1 << 16
_TIDY_TIMEOUT_S = 2.0
_STATUS_STEP_S = 0.05
_STDIN, _STDOUT, _STDERR, _EXIT, _END_STDIN = range(5)
"""The kinds of packets of adb's shell protocol: a byte, the length in 32 bits, the data (packages/modules/adb, shell_protocol.h)."""
_HEADER = struct.Struct("<BI")
_PUT_IN_PLACE = 'test "$(sha256sum <"$1" | cut -c 1-64)" = "$2" && chmod "$3" "$1" && mv -f "$1" "$4"'


class AdbTransport(ShellTransport):
    """A phone that the adb server knows, looked for with the first call. Once it is lost every call raises Vanished, until `close`."""

    def __init__(self, device: Device) -> None:
        super().__init__(device.name)
        self.link = Link(device)

    def push(self, local: Path, remote: str, deadline: float) -> None:
        """Copy the file `local` to the absolute path `remote`: complete, its hash compared there, with its permissions, or not at all."""
        part = posixpath.join(posixpath.dirname(remote), f".{posixpath.basename(remote)}.{secrets.token_hex(8)}")
        with self._sending(local, part, f"cannot push {local} to {remote}", deadline) as sha256:
            mode = local.stat().st_mode & 0o777
            done = self.run(["sh", "-c", _PUT_IN_PLACE, "sh", part, sha256, f"{mode:o}", remote], deadline)
            if done.exit != 0:
                raise RemoteFailure(self.device, done.stderr.decode(errors="replace").strip() or "it did not arrive as it was sent")

    def send(self, local: Path, remote: str, deadline: float) -> None:
        """Copy the file `local` to the absolute path `remote`, its hash not compared: that takes a command on the phone."""
        with self._sending(local, remote, f"cannot push {local} to {remote}", deadline):
            pass

    @contextmanager
    def _sending(self, local: Path, part: str, doing: str, deadline: float) -> Iterator[str]:
        """Send a file and give its SHA-256; what fails in the `with` too takes the file away again, and is told as a failure of `doing`."""
        if not posixpath.isabs(part):
            raise RemoteFailure(self.device, f"{doing}: not an absolute path")
        try:
            yield self._send_file(local, part, doing, deadline)
        except OSError as error:
            raise RemoteFailure(self.device, f"{doing}: {error.strerror or error}") from error
        except DeviceError as error:
            with contextlib.suppress(DeviceError):
                self.run(["rm", "-f", part], time.monotonic() + _TIDY_TIMEOUT_S)
            if isinstance(error, RemoteFailure) and doing not in error.message:
                raise RemoteFailure(self.device, f"{doing}: {error.message.removeprefix(f'{self.device}: ')}", error.hint) from None
            raise

    def open_channel(self, command: str, program: str, deadline: float) -> Channel:  # noqa: ARG002 - SSH names it in its errors
        """Return the channel of a command."""
        # Without `raw` the phone would put a terminal in between, which is not 8-bit clean.
        return _Channel(self.link, self.link.open(f"shell,v2,raw:{command}", deadline))

    def probe(self, deadline: float) -> None:
        """Return once the phone's adbd has answered, which starts no process there; where it does not the phone is lost."""
        try:
            with self._service("sync:", deadline) as sync:
                sync.sendall(b"STAT" + struct.pack("<I", 1) + b"/")
                answered = len(sync.recv(16)) > 0
        except (OSError, TimedOut):
            answered = False
        if not answered:
            self.link.lose()
            raise self.link.vanished()

    def close(self) -> None:
        """Kill the streams that are still alive and let go of the phone; a later call would look for it anew."""
        self.kill_streams()
        self.link.close()

    @contextmanager
    def _service(self, name: str, deadline: float) -> Iterator[socket.socket]:
        opened = self.link.open(name, deadline)
        opened.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            yield opened
        finally:
            self.link.shut(opened)

    def _send_file(self, local: Path, remote: str, doing: str, deadline: float) -> str:
        """Send a file by adb's sync protocol, and return its SHA-256; raises RemoteFailure with adbd's own words."""
        digest = hashlib.sha256()
        late = TimedOut(self.device, f"{doing} in time")
        with local.open("rb") as source, self._service("sync:", deadline) as sync:
            try:
                where = f"{remote},{stat.S_IFREG | 0o600}".encode()
                sync.sendall(b"SEND" + struct.pack("<I", len(where)) + where)
                while chunk := source.read(_CHUNK_BYTES):
                    if (left_s := deadline - time.monotonic()) <= 0:
                        raise late
                    digest.update(chunk)
                    sync.settimeout(left_s)
                    sync.sendall(b"DATA" + struct.pack("<I", len(chunk)) + chunk)
                sync.sendall(b"DONE" + struct.pack("<I", int(time.time())))
                sync.settimeout(max(0.001, deadline - time.monotonic()))
                answer = _exactly(sync, 8)
                said = b"" if answer is None or answer[:4] == b"OKAY" else _exactly(sync, struct.unpack("<I", answer[4:])[0])
            except TimeoutError as error:
                raise late from error
            except ConnectionError:
                answer = None
        if answer is None:
            self.link.lose()
            raise self.link.vanished()
        if answer[:4] != b"OKAY":
            raise RemoteFailure(self.device, f"{doing}: {(said or b'').decode(errors='replace')}")
        return digest.hexdigest()


class _Channel:
    """A command's socket, which carries packets of adb's shell protocol."""

    def __init__(self, link: Link, opened: socket.socket) -> None:
        self._link = link
        self._socket = opened
        opened.setblocking(False)
        self._packets = bytearray()  # received, and not yet taken apart
        self._stdout, self._stderr = bytearray(), bytearray()
        self._reading, self._writing = threading.Lock(), threading.Lock()
        self._exit: int | None = None
        self._ended = threading.Event()
        self._closed = False

    def write(self, data: bytes, deadline: float) -> bool:
        for first in range(0, len(data), _CHUNK_BYTES):
            chunk = data[first : first + _CHUNK_BYTES]
            if time.monotonic() > deadline:  # adb may take all of it in at once, of which the phone has read nothing
                raise TimeoutError
            if not self._send(_HEADER.pack(_STDIN, len(chunk)) + chunk, deadline):
                return False
        return True

    def end_input(self, deadline: float) -> None:
        with contextlib.suppress(TimeoutError):  # whoever reads on finds out
            self._send(_HEADER.pack(_END_STDIN, 0), deadline)

    def read(self, deadline: float) -> tuple[bytes, bytes] | None:
        with self._reading:
            while not self._stdout and not self._stderr:
                if self._ended.is_set():
                    return None
                self._take_in(deadline)
            part = bytes(self._stdout), bytes(self._stderr)
            self._stdout.clear()
            self._stderr.clear()
            return part

    def status(self, timeout_s: float) -> int | None:
        deadline = time.monotonic() + timeout_s
        while not self._ended.is_set():
            if self._reading.acquire(blocking=False):
                try:
                    self._take_in(deadline)
                except TimeoutError:
                    break
                finally:
                    self._reading.release()
            elif time.monotonic() > deadline:
                break
            else:
                self._ended.wait(_STATUS_STEP_S)
        return self._exit

    def lost(self) -> Vanished | None:
        return self._link.lost()

    def close(self) -> None:
        self._closed = True
        self._link.wake(self._socket)
        # Only once nobody waits on it: its number goes to the next socket, and whoever still waits would wait on that.
        with self._reading, self._writing:
            self._link.shut(self._socket)

    def _take_in(self, deadline: float) -> None:
        """Take apart what comes next. Raises TimeoutError."""
        if self._ended.is_set():
            return
        try:
            received = self._socket.recv(4 * _CHUNK_BYTES)
        except BlockingIOError:
            self._wait(select.POLLIN, deadline)
            return
        except OSError:
            received = b""
        if not received:
            if not self._closed:  # a command that ends says how
                self._link.lose()
            self._ended.set()
            return
        self._packets += received
        while len(self._packets) >= _HEADER.size:
            kind, length = _HEADER.unpack_from(self._packets)
            if len(self._packets) < _HEADER.size + length:
                break
            data = self._packets[_HEADER.size : _HEADER.size + length]
            del self._packets[: _HEADER.size + length]
            if kind == _STDOUT:
                self._stdout += data
            elif kind == _STDERR:
                self._stderr += data
            elif kind == _EXIT:
                self._exit = data[0]
                self._ended.set()

    def _send(self, packet: bytes, deadline: float) -> bool:
        rest = memoryview(packet)
        with self._writing:
            while rest:
                if self._ended.is_set() or self._closed:
                    return False
                try:
                    rest = rest[self._socket.send(rest) :]
                except BlockingIOError:
                    self._wait(select.POLLOUT, deadline)
                except OSError:
                    return False
        return True

    def _wait(self, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(self._socket.fileno(), event)
        if not poll.poll(poll_ms(deadline)):
            raise TimeoutError


def _exactly(source: socket.socket, count: int) -> bytes | None:
    """Return so many bytes, None where the connection ends before."""
    received = b""
    while len(received) < count:
        chunk = source.recv(count - len(received))
        if not chunk:
            return None
        received += chunk
    return received
