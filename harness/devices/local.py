"""The transport to the machine that the harness itself runs on."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from harness.devices.transport import Completed, how_it_ended, poll_ms
from harness.errors import AgentDied, RemoteFailure, TimedOut

_CHUNK_BYTES = 1 << 20
_STDERR_TAIL_LINES = 40
_STDERR_TAIL_BYTES = 16_384
_REAP_TIMEOUT_S = 5.0


class LocalTransport:
    """The machine itself. Every command gets a session of its own, so that a kill reaches its children too."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._streams: list[LocalStream] = []

    def push(self, local: Path, remote: str, deadline: float) -> None:
        """Copy the file `local` to the absolute path `remote`: complete, with its permissions, or not at all."""
        target = Path(remote)
        if not target.is_absolute():
            raise RemoteFailure(self.device, f"cannot push to {remote}: not an absolute path")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
            try:
                with local.open("rb") as source, os.fdopen(descriptor, "wb") as copy:
                    while chunk := source.read(_CHUNK_BYTES):
                        if time.monotonic() > deadline:
                            raise TimedOut(self.device, f"pushing {local} to {remote} took too long")
                        copy.write(chunk)
                    os.fchmod(copy.fileno(), os.fstat(source.fileno()).st_mode & 0o777)
                Path(temporary).replace(target)
            finally:
                Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            raise RemoteFailure(self.device, f"cannot push {local} to {remote}: {error.strerror}") from error

    def send(self, local: Path, remote: str, deadline: float) -> None:
        """As `push`, which costs no more."""
        self.push(local, remote, deadline)

    def run(self, argv: Sequence[str], deadline: float) -> Completed:
        """Return what `argv` printed and its exit status. Raises TimedOut, its whole group killed, or RemoteFailure if it cannot start."""
        process = _start(self.device, argv, stdin=subprocess.DEVNULL)
        try:
            stdout, stderr = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired as expired:
            raise TimedOut(
                self.device,
                f"{argv[0]} was still running at its deadline",
                stderr_tail=(expired.stderr or b"").decode(errors="replace"),
            ) from None
        finally:
            _kill_group(process)
            _close(process.stdout, process.stderr)
        return Completed(stdout, stderr, process.returncode)

    def stream(self, argv: Sequence[str], deadline: float) -> LocalStream:
        """Return the live process `argv`. Raises RemoteFailure if it cannot start."""
        if time.monotonic() > deadline:
            raise TimedOut(self.device, f"no time left to start {argv[0]}")
        stream = LocalStream(self.device, _start(self.device, argv, stdin=subprocess.PIPE))
        self._streams.append(stream)
        return stream

    def probe(self, deadline: float) -> None:
        """Return: this machine is there."""

    def close(self) -> None:
        """Kill the streams that are still alive."""
        for stream in self._streams:
            stream.kill()
        self._streams.clear()


class LocalStream:
    """A live process on this machine, spoken to by lines over its stdin and stdout."""

    def __init__(self, device: str, process: subprocess.Popen[bytes]) -> None:
        self.device = device
        self._process = process
        self._stdin, self._stdout, stderr = _opened(process.stdin), _opened(process.stdout), _opened(process.stderr)
        os.set_blocking(self._stdin.fileno(), False)
        os.set_blocking(self._stdout.fileno(), False)
        self._pending = bytearray()  # received, and not yet returned
        self._searched = 0  # so many of these bytes hold no newline
        # A kill must wake a receive() in another thread even when a stray grandchild still holds stdout open.
        wake_read, wake_write = os.pipe()
        self._wake_read, self._wake_write = os.fdopen(wake_read, "rb"), os.fdopen(wake_write, "wb", buffering=0)
        self._sending, self._receiving, self._ending = threading.Lock(), threading.Lock(), threading.Lock()
        self._ended = False
        self._stderr = b""
        self._stderr_reader = threading.Thread(target=self._keep_stderr, args=(stderr,), daemon=True, name=f"{device} stderr")
        self._stderr_reader.start()

    def send(self, line: bytes, deadline: float) -> None:
        """Write `line`. Raises AgentDied; after TimedOut the process is killed, for half a line may be out."""
        with self._sending:
            rest = memoryview(line)
            while rest:
                if not self._ready(self._stdin, select.POLLOUT, deadline):
                    self._end()
                    raise TimedOut(self.device, "the agent did not take a request in time", stderr_tail=self.stderr_tail())
                with contextlib.suppress(BlockingIOError):
                    try:
                        rest = rest[os.write(self._stdin.fileno(), rest) :]
                    except BrokenPipeError:
                        raise self._died() from None

    def receive(self, deadline: float) -> bytes:
        """Return the next line with its newline. Raises AgentDied on EOF and TimedOut; what has come so far is kept."""
        with self._receiving:
            while (newline := self._pending.find(b"\n", self._searched)) < 0:
                self._searched = len(self._pending)
                if not self._ready(self._stdout, select.POLLIN, deadline):
                    raise TimedOut(self.device, "the agent did not answer in time", stderr_tail=self.stderr_tail())
                chunk = os.read(self._stdout.fileno(), _CHUNK_BYTES)
                if not chunk:
                    raise self._died()
                self._pending += chunk
            line = bytes(self._pending[: newline + 1])
            del self._pending[: newline + 1]
            self._searched = 0
            return line

    def stderr_tail(self) -> str:
        """Return the last lines that the process printed to stderr."""
        return b"".join(self._stderr.splitlines(keepends=True)[-_STDERR_TAIL_LINES:]).decode(errors="replace")

    def close(self, deadline: float) -> None:
        """Close the process's stdin, wait for its end until `deadline`, then kill what is left of its group."""
        with self._sending:
            self._stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """Kill the process's group, wake and refuse whoever still sends or receives, and free the pipes."""
        self._end()
        with self._sending, self._receiving:
            _close(self._stdin, self._stdout, self._wake_read, self._wake_write)

    def _ready(self, pipe: IO[bytes], event: int, deadline: float) -> bool:
        """Wait until `pipe` can be used and return True, False at `deadline`; raises AgentDied if the stream is closed or killed."""
        if self._ended or pipe.closed:
            raise self._died()
        poll = select.poll()
        poll.register(pipe, event)
        poll.register(self._wake_read, select.POLLIN)
        descriptors = [descriptor for descriptor, _ in poll.poll(poll_ms(deadline))]
        if self._wake_read.fileno() in descriptors:
            raise self._died()
        return bool(descriptors)

    def _end(self) -> None:
        with self._ending:
            if self._ended:
                return
            self._ended = True
            self._wake_write.write(b"\0")
            _kill_group(self._process)

    def _died(self) -> AgentDied:
        # EOF comes a moment before the exit status and the last words.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        self._stderr_reader.join(0.5)
        exit_status = self._process.returncode
        if self._ended:
            how = "was ended"
        elif exit_status is None:
            how = "closed its stdout"
        else:
            how = how_it_ended(exit_status)
        return AgentDied(self.device, f"the agent {how}", stderr_tail=self.stderr_tail())

    def _keep_stderr(self, stderr: IO[bytes]) -> None:
        with stderr:
            while chunk := os.read(stderr.fileno(), _CHUNK_BYTES):
                self._stderr = (self._stderr + chunk)[-_STDERR_TAIL_BYTES:]


def _start(device: str, argv: Sequence[str], stdin: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise RemoteFailure(device, f"cannot start {argv[0]}: {error.strerror}") from error


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the session that `process` began, and reap `process`."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a process stuck in the kernel dies when the kernel lets it
        process.wait(_REAP_TIMEOUT_S)


def _opened(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _close(*pipes: IO[bytes] | None) -> None:
    for pipe in pipes:
        if pipe is not None:
            pipe.close()
