"""A live command on a device that a shell starts, over whatever channel its transport has: SSH's or ADB's."""

from __future__ import annotations

import contextlib
import re
import shlex
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from harness.devices.transport import Completed, how_it_ended
from harness.errors import AgentDied, DeviceError, RemoteFailure, TimedOut, Vanished

_STDERR_TAIL_LINES = 40
_STDERR_TAIL_BYTES = 16_384
_STDERR_KEPT_BYTES = 1 << 20
_KILL_TIMEOUT_S = 5.0
_GONE_TIMEOUT_S = 1.0
_FIRST_SIGNAL, _LAST_SIGNAL = 129, 192

# The shell is to lead a process group of its own, whose number names all that the command starts: OpenSSH's and adbd's shells do, others
# are helped by setsid. The command waits for a line, so that nothing runs whose group the harness does not know, and what it leaves
# behind ends with it: by USR1 too, since Android's shell catches TERM, and forgets one that comes between a fork and its exec.
# Stdout and stderr come by ways of their own, either first, so each has its mark.
_MARK, _STDERR_MARK = "latency-harness-group", "latency-harness-begins"
_WRAPPER = f"""{{ read -r _ _ _ _ group _ </proc/$$/stat; }} 2>/dev/null
[ -z "$group" ] || [ "$group" = $$ ] || exec setsid sh -c "$0" "$0" "$@"
command -v "$1" >/dev/null 2>&1 || {{ echo {_MARK} 0; exit 127; }}
echo {_STDERR_MARK} >&2
echo {_MARK} $$
read -r go || exit 1
"$@"
status=$?
trap '' TERM USR1
kill -TERM 0 2>/dev/null
kill -USR1 0 2>/dev/null
exit $status"""
_STDERR_LINE = f"{_STDERR_MARK}\n".encode()
_MOST_CHATTER_LINES = 1000


class Channel(Protocol):
    """The two ways of one command, and its end. What its transport raises ends as the harness's own errors."""

    def write(self, data: bytes, deadline: float) -> bool:
        """Send all of `data`; False where the command or the link has ended. Raises TimeoutError, with some of it sent."""

    def end_input(self, deadline: float) -> None:
        """Close the command's stdin."""

    def read(self, deadline: float) -> tuple[bytes, bytes] | None:
        """Return what comes next on stdout and stderr, None behind the last of it. Raises TimeoutError."""

    def status(self, timeout_s: float) -> int | None:
        """Return the exit status as shells write it, None where it does not come in time or the link ended first."""

    def lost(self) -> Vanished | None:
        """Return the error to raise where the link is lost."""

    def close(self) -> None:
        """Let go of the channel; whoever reads or writes is woken."""


class ShellTransport(ABC):
    """What every transport does whose device starts commands by a shell; how a channel is had is the transport's own."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._streams: list[ShellStream] = []

    @abstractmethod
    def open_channel(self, command: str, program: str, deadline: float) -> Channel:
        """Return the channel of a command line that the device's shell has been given; raises what the transport raises."""

    def run(self, argv: Sequence[str], deadline: float) -> Completed:
        """Return what `argv` printed and its exit status; a status of 128 + n is read as signal n, as shells write it.

        Raises TimedOut, the command and its children killed, or RemoteFailure if it cannot start.
        """
        stream = self.stream(argv, deadline)
        try:
            return stream.completed(deadline)
        finally:
            stream.kill()

    def stream(self, argv: Sequence[str], deadline: float) -> ShellStream:
        """Return the live process `argv`. Raises RemoteFailure if it cannot start."""
        command = f"exec sh -c {shlex.quote(_WRAPPER)} {shlex.quote(_WRAPPER)} {shlex.join(argv)}"
        stream = ShellStream(self, self.open_channel(command, argv[0], deadline), argv[0])
        self._streams.append(stream)
        try:
            stream.begin(deadline)
        except BaseException:
            stream.kill()
            raise
        return stream

    def kill_streams(self) -> None:
        """Kill the streams that are still alive."""
        for stream in list(self._streams):
            stream.kill()

    def forget(self, stream: ShellStream) -> None:
        """Let go of a stream that has ended."""
        with contextlib.suppress(ValueError):
            self._streams.remove(stream)


class ShellStream:
    """A live process on the device, spoken to by lines over its stdin and stdout."""

    def __init__(self, shell: ShellTransport, channel: Channel, program: str) -> None:
        self.device = shell.device
        self._shell = shell
        self._channel = channel
        self._program = program
        self._group = 0
        self._pending = bytearray()  # received, and not yet returned
        self._searched = 0  # so many of these bytes hold no newline
        self._stderr = bytearray()
        self._stderr_began = False
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
                message = f"its login shell runs no commands; it says: {words}"
                raise RemoteFailure(self.device, message, "try one by hand, through ssh or adb") from died
            if (found := re.search(rb"%b (\d+)\n\Z" % _MARK.encode(), line)) is not None:
                self._group = int(found[1])
                break
            said += line
        else:
            raise RemoteFailure(self.device, "its login shell does not stop printing", "look at its start-up files, such as ~/.bashrc")
        if self._group == 0:
            raise RemoteFailure(self.device, f"cannot start {self._program}: not found on the device")
        self.send(b"go\n", deadline)

    def send(self, line: bytes, deadline: float) -> None:
        """Write `line`. Raises AgentDied; after TimedOut the process is killed, for half a line may be out."""
        with self._sending:
            if self._ended:
                raise self._died()
            try:
                sent = self._channel.write(line, deadline)
            except (TimeoutError, TimedOut):  # from between two parts of it, or within one
                sent = None
        if sent is None:
            self.kill()
            raise TimedOut(self.device, "the agent did not take a request in time", stderr_tail=self.stderr_tail())
        if not sent:
            raise self._died()

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
            self._channel.end_input(deadline)
            while self._read(deadline):
                pass
            status = self._status(max(_GONE_TIMEOUT_S, deadline - time.monotonic()))
            if status is None:
                raise self._channel.lost() or self._died()
            return Completed(bytes(self._pending), bytes(self._stderr), status)

    def stderr_tail(self) -> str:
        """Return the last lines that the process printed to stderr."""
        return b"".join(bytes(self._stderr[-_STDERR_TAIL_BYTES:]).splitlines(keepends=True)[-_STDERR_TAIL_LINES:]).decode(errors="replace")

    def close(self, deadline: float) -> None:
        """Close the process's stdin, wait for its end until `deadline`, then kill what is left of its group."""
        if not self._ended and self._channel.lost() is None:
            with self._sending, contextlib.suppress(DeviceError):
                self._channel.end_input(deadline)
            self._channel.status(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """Kill the process's group, and wake and refuse whoever still sends or receives."""
        with self._ending:
            if self._ended:
                return
            self._ended = True
        self._shell.forget(self)
        running = self._group and self._channel.status(0.0) is None
        self._channel.close()
        if running and self._channel.lost() is None:
            with contextlib.suppress(DeviceError):
                self._shell.run(["kill", "-9", f"-{self._group}"], time.monotonic() + _KILL_TIMEOUT_S)

    def _read(self, deadline: float) -> bool:
        """Take in what comes next and return True, False at the end of the output; raises TimedOut."""
        if self._ended:
            return False
        try:
            part = self._channel.read(deadline)
        except TimeoutError:
            raise TimedOut(self.device, f"{self._program} did not answer in time", stderr_tail=self.stderr_tail()) from None
        if part is None:
            return False
        self._pending += part[0]
        self._stderr += part[1]
        if not self._stderr_began and (mark := self._stderr.find(_STDERR_LINE)) >= 0:
            self._stderr_began = True
            del self._stderr[: mark + len(_STDERR_LINE)]
        del self._stderr[:-_STDERR_KEPT_BYTES]
        return True

    def _status(self, timeout_s: float) -> int | None:
        """Return the exit status, negative where a signal ended it, None where it does not come in time or the link ended first."""
        status = self._channel.status(timeout_s)
        return status if status is None or not _FIRST_SIGNAL <= status <= _LAST_SIGNAL else 128 - status

    def _died(self) -> DeviceError:
        status = None
        if not self._ended:
            lost = self._channel.lost()
            if lost is None:
                status = self._status(_GONE_TIMEOUT_S)
                lost = self._channel.lost() if status is None else None
            if lost is not None:
                return lost
        how = "was ended" if status is None else how_it_ended(status)
        return AgentDied(self.device, f"the agent {how}", stderr_tail=self.stderr_tail())
