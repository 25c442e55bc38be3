"""The transport to a board over SSH."""

from __future__ import annotations

import contextlib
import posixpath
import re
import secrets
import select
import shlex
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.devices.inventory import Device
from harness.devices.ssh_connection import Connection, ssh_exception
from harness.devices.transport import Completed
from harness.errors import AgentDied, DeviceError, RemoteFailure, TimedOut

if TYPE_CHECKING:
    import paramiko

_CHUNK_BYTES = 1 << 18
_STDERR_TAIL_LINES = 40
_STDERR_TAIL_BYTES = 16_384
_STDERR_KEPT_BYTES = 1 << 20
_WINDOW_STEP_S = 0.002
_KILL_TIMEOUT_S = 5.0
_GONE_TIMEOUT_S = 1.0
_FIRST_SIGNAL, _LAST_SIGNAL = 129, 192

# The shell is to lead a process group of its own, whose number names all that the command starts: OpenSSH's login shells do, others
# are helped by setsid. The command waits for a line, so that nothing runs whose group the harness does not know, and what it leaves
# behind ends with it.
_MARK = "latency-harness-group"
_WRAPPER = f"""{{ read -r _ _ _ _ group _ </proc/$$/stat; }} 2>/dev/null
[ -z "$group" ] || [ "$group" = $$ ] || exec setsid sh -c "$0" "$0" "$@"
command -v "$1" >/dev/null 2>&1 || {{ echo {_MARK} 0; exit 127; }}
echo {_MARK} $$
read -r go || exit 1
"$@"
status=$?
trap '' TERM
kill -TERM 0 2>/dev/null
exit $status"""
_MOST_CHATTER_LINES = 1000


class SshTransport:
    """A board over one SSH connection, made with the first call. Once it is lost every call raises Vanished, until `close`."""

    def __init__(self, device: Device) -> None:
        self.device = device.name
        self.connection = Connection(device)
        self._streams: list[SshStream] = []

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
            with local.open("rb") as source, self.connection.calling(deadline, f"cannot push {local} to {remote}"):
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

    def run(self, argv: Sequence[str], deadline: float) -> Completed:
        """Return what `argv` printed and its exit status; a status of 128 + n is read as signal n, as shells write it.

        Raises TimedOut, the command and its children killed, or RemoteFailure if it cannot start.
        """
        stream = self.stream(argv, deadline)
        try:
            return stream.completed(deadline)
        finally:
            stream.kill()

    def stream(self, argv: Sequence[str], deadline: float) -> SshStream:
        """Return the live process `argv`. Raises RemoteFailure if it cannot start."""
        command = f"exec sh -c {shlex.quote(_WRAPPER)} {shlex.quote(_WRAPPER)} {shlex.join(argv)}"
        with self.connection.calling(deadline, f"cannot start {argv[0]}"):
            channel = self.connection.transport(deadline).open_session(timeout=max(0.1, deadline - time.monotonic()))
            channel.exec_command(command)
            channel.setblocking(0)
        stream = SshStream(self, channel, argv[0])
        self._streams.append(stream)
        try:
            stream.begin(deadline)
        except BaseException:
            stream.kill()
            raise
        return stream

    def probe(self, deadline: float) -> None:
        """Return once the server has answered; where it does not the connection is cut, which no TCP timer does behind a proxy."""
        with self.connection.calling(deadline, "the board does not answer"):
            self.connection.transport(deadline).global_request("keepalive@openssh.com", wait=True)

    def close(self) -> None:
        """Kill the streams that are still alive and end the connection; a later call would make a new one."""
        for stream in list(self._streams):
            stream.kill()
        self.connection.close()

    def forget(self, stream: SshStream) -> None:
        """Let go of a stream that has ended."""
        with contextlib.suppress(ValueError):
            self._streams.remove(stream)


class SshStream:
    """A live process on the board, spoken to by lines over its stdin and stdout."""

    def __init__(self, transport: SshTransport, channel: paramiko.Channel, program: str) -> None:
        self.device = transport.device
        self._transport, self._connection = transport, transport.connection
        self._channel = channel
        self._program = program
        self._group = 0
        self._pending = bytearray()  # received, and not yet returned
        self._searched = 0  # so many of these bytes hold no newline
        self._stderr = bytearray()
        self._sending, self._receiving, self._ending = threading.Lock(), threading.Lock(), threading.Lock()
        self._ended = False

    def begin(self, deadline: float) -> None:
        """Learn the process group and let the command start; what the login shell prints before is passed over.

        Raises RemoteFailure where the program was not found, or the login shell does not run commands.
        """
        said = b""
        for _ in range(_MOST_CHATTER_LINES):
            try:
                line = self.receive(deadline)
            except AgentDied as died:
                said += bytes(self._pending)
                words = (said or died.stderr_tail.encode()).decode(errors="replace").strip()[-500:]
                raise RemoteFailure(self.device, f"its login shell runs no commands; it says: {words}", "try `ssh HOST true`") from died
            if (found := re.search(rb"%b (\d+)\n\Z" % _MARK.encode(), line)) is not None:
                self._group = int(found[1])
                break
            said += line
        else:
            raise RemoteFailure(self.device, "its login shell does not stop printing", "look at its start-up files, such as ~/.bashrc")
        if self._group == 0:
            raise RemoteFailure(self.device, f"cannot start {self._program}: not found on the board")
        self._stderr.clear()
        self.send(b"go\n", deadline)

    def send(self, line: bytes, deadline: float) -> None:
        """Write `line`. Raises AgentDied; after TimedOut the process is killed, for half a line may be out."""
        with self._sending:
            rest = memoryview(line)
            while rest:
                if self._ended or self._channel.closed or self._channel.exit_status_ready():
                    raise self._died()
                if self._channel.send_ready():
                    with self._connection.calling(deadline, "a request cannot be sent"):
                        rest = rest[self._channel.send(rest.tobytes()[:_CHUNK_BYTES]) :]
                elif time.monotonic() > deadline:
                    break
                else:
                    time.sleep(_WINDOW_STEP_S)
        if rest:
            self.kill()
            raise TimedOut(self.device, "the agent did not take a request in time", stderr_tail=self.stderr_tail())

    def receive(self, deadline: float) -> bytes:
        """Return the next line with its newline. Raises AgentDied on EOF and TimedOut; what has come so far is kept."""
        with self._receiving:
            while (newline := self._pending.find(b"\n", self._searched)) < 0:
                self._searched = len(self._pending)
                if not self._read(deadline):
                    raise self._died()
            line = bytes(self._pending[: newline + 1])
            del self._pending[: newline + 1]
            self._searched = 0
            return line

    def completed(self, deadline: float) -> Completed:
        """Return what the process prints until it ends by itself, given no input, and its exit status."""
        with self._receiving:
            with self._connection.calling(deadline, f"cannot run {self._program}"):
                self._channel.shutdown_write()
            while self._read(deadline):
                pass
            if self._status(max(_GONE_TIMEOUT_S, deadline - time.monotonic())) is None:
                raise self._connection.vanished()
            return Completed(bytes(self._pending), bytes(self._stderr), self._status(0) or 0)

    def stderr_tail(self) -> str:
        """Return the last lines that the process printed to stderr."""
        return b"".join(bytes(self._stderr[-_STDERR_TAIL_BYTES:]).splitlines(keepends=True)[-_STDERR_TAIL_LINES:]).decode(errors="replace")

    def close(self, deadline: float) -> None:
        """Close the process's stdin, wait for its end until `deadline`, then kill what is left of its group."""
        if not self._ended and not self._connection.is_lost():
            with self._sending, contextlib.suppress(DeviceError), self._connection.calling(deadline, "closing"):
                self._channel.shutdown_write()
            self._status(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """Kill the process's group, and wake and refuse whoever still sends or receives."""
        with self._ending:
            if self._ended:
                return
            self._ended = True
        self._transport.forget(self)
        running = self._group and not self._channel.exit_status_ready()
        with contextlib.suppress(OSError, EOFError, ssh_exception()):
            self._channel.close()
        if running and not self._connection.is_lost():
            with contextlib.suppress(DeviceError):
                self._transport.run(["kill", "-9", f"-{self._group}"], time.monotonic() + _KILL_TIMEOUT_S)

    def _read(self, deadline: float) -> bool:
        """Take in what comes next and return True, False at the end of the output; raises TimedOut."""
        channel = self._channel
        while True:
            while channel.recv_stderr_ready():
                self._stderr += channel.recv_stderr(_CHUNK_BYTES)
                del self._stderr[:-_STDERR_KEPT_BYTES]
            if channel.recv_ready():
                self._pending += channel.recv(_CHUNK_BYTES)
                return True
            if self._ended or channel.closed or channel.eof_received:
                if channel.recv_ready() or channel.recv_stderr_ready():
                    continue
                return False
            if not self._readable(deadline):
                raise TimedOut(self.device, f"{self._program} did not answer in time", stderr_tail=self.stderr_tail())

    def _readable(self, deadline: float) -> bool:
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))

    def _status(self, timeout_s: float) -> int | None:
        """Return the exit status, None where it does not come in time or the connection ended first."""
        if not self._channel.status_event.wait(timeout_s):
            return None
        status = self._channel.exit_status
        if status == -1:
            return None
        return 128 - status if _FIRST_SIGNAL <= status <= _LAST_SIGNAL else status

    def _died(self) -> DeviceError:
        if self._connection.is_lost() and not self._ended:
            return self._connection.vanished()
        status = None if self._ended else self._status(_GONE_TIMEOUT_S)
        if self._connection.is_lost() and status is None and not self._ended:
            return self._connection.vanished()
        if status is None:
            how = "was ended"
        elif status < 0:
            how = f"was ended by {signal.Signals(-status).name}"
        else:
            how = f"ended with exit status {status}"
        return AgentDied(self.device, f"the agent {how}", stderr_tail=self.stderr_tail())


def _make_folders(sftp: paramiko.SFTPClient, folder: str) -> None:
    try:
        sftp.stat(folder)
    except FileNotFoundError:
        _make_folders(sftp, posixpath.dirname(folder))
        with contextlib.suppress(OSError):  # another host may have been faster; where it is still missing, the push says so
            sftp.mkdir(folder)
