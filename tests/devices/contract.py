"""What every transport does, tried on a real device end: a test class for each transport inherits these."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.devices.transport import Stream, Transport
from harness.errors import AgentDied, DeviceError, RemoteFailure, TimedOut, Vanished

LARGE = bytes(range(256)).replace(b"\n", b" ") * 32_768  # 8 MiB in one line, every other byte


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def alive(transport: Transport, pid: bytes) -> bool:
    """Whether the process runs on the device; a zombie that nobody has reaped yet does not."""
    return transport.run(["grep", "-q", "^State:.[^ZX]", f"/proc/{int(pid)}/status"], soon()).exit == 0


def ends(transport: Transport, pid: bytes) -> bool:
    deadline = soon(5)
    while alive(transport, pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(transport, pid)


class TransportContract:
    """A subclass provides the fixtures `transport`, and `remote`: the absolute path of an empty folder on the device."""

    @pytest.fixture
    def payload(self, tmp_path: Path) -> Path:
        file = tmp_path / "payload"
        file.write_bytes(LARGE)
        return file

    def read(self, transport: Transport, path: str) -> bytes:
        done = transport.run(["cat", path], soon())
        assert done.exit == 0
        return done.stdout

    def test_push_copies_every_byte_and_makes_folders(self, transport: Transport, remote: str, payload: Path) -> None:
        transport.push(payload, f"{remote}/a/b/file", soon())
        assert self.read(transport, f"{remote}/a/b/file") == LARGE
        assert transport.run(["ls", "-A", f"{remote}/a/b"], soon()).stdout == b"file\n"

    def test_push_replaces(self, transport: Transport, remote: str, payload: Path) -> None:
        transport.push(payload, f"{remote}/file", soon())
        payload.write_bytes(b"")
        transport.push(payload, f"{remote}/file", soon())
        assert self.read(transport, f"{remote}/file") == b""

    def test_push_keeps_permissions(self, transport: Transport, remote: str, payload: Path) -> None:
        payload.chmod(0o750)
        transport.push(payload, f"{remote}/file", soon())
        assert transport.run(["stat", "-c", "%a", f"{remote}/file"], soon()).stdout == b"750\n"

    def test_push_of_a_file_that_is_not_there_fails(self, transport: Transport, remote: str, tmp_path: Path) -> None:
        with pytest.raises(RemoteFailure, match="No such file"):
            transport.push(tmp_path / "missing", f"{remote}/file", soon())
        assert transport.run(["ls", "-A", remote], soon()).stdout == b""

    def test_push_that_runs_out_of_time_leaves_the_old_file(self, transport: Transport, remote: str, payload: Path, tmp_path: Path) -> None:
        old = tmp_path / "old"
        old.write_bytes(b"old")
        transport.push(old, f"{remote}/file", soon())
        with pytest.raises(TimedOut):
            transport.push(payload, f"{remote}/file", soon(-1))
        assert self.read(transport, f"{remote}/file") == b"old"
        assert transport.run(["ls", "-A", remote], soon()).stdout == b"file\n"

    def test_push_to_where_no_file_can_be_fails(self, transport: Transport, remote: str, payload: Path) -> None:
        transport.push(payload, f"{remote}/file", soon())
        with pytest.raises(RemoteFailure, match=f"{remote}/file/below"):
            transport.push(payload, f"{remote}/file/below", soon())

    def test_push_refuses_a_relative_path(self, transport: Transport, payload: Path) -> None:
        with pytest.raises(RemoteFailure, match="absolute"):
            transport.push(payload, "file", soon())

    def test_run_returns_what_was_printed_and_the_status(self, transport: Transport) -> None:
        done = transport.run(["sh", "-c", r"printf 'a\0\377\n'; echo b >&2; exit 7"], soon())
        assert (done.stdout, done.stderr, done.exit) == (b"a\0\xff\n", b"b\n", 7)

    def test_run_passes_arguments_as_they_are(self, transport: Transport) -> None:
        words = ["two words", "$HOME", "'", '"', "*", "", "ä\n"]
        assert transport.run(["printf", r"%s\0", *words], soon()).stdout.decode().split("\0") == [*words, ""]

    def test_run_has_no_input(self, transport: Transport) -> None:
        assert transport.run(["cat"], soon()).stdout == b""

    def test_a_program_that_is_not_there_fails(self, transport: Transport) -> None:
        for start in (transport.run, transport.stream):
            with pytest.raises(RemoteFailure, match=r"cannot start no-such-program: (No such file|not found)"):
                start(["no-such-program"], soon())

    def test_a_signal_is_named(self, transport: Transport) -> None:
        assert transport.run(["sh", "-c", "kill -SEGV $$"], soon()).exit == -11
        stream = transport.stream(["sh", "-c", "kill -SEGV $$"], soon())
        with pytest.raises(AgentDied, match="SIGSEGV"):
            stream.receive(soon())

    def test_what_a_command_leaves_behind_ends_with_it(self, transport: Transport) -> None:
        assert ends(transport, transport.run(["sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!"], soon()).stdout)

    def test_run_ends_at_its_deadline_with_all_its_children(self, transport: Transport, remote: str) -> None:
        begin = time.monotonic()
        with pytest.raises(TimedOut):
            transport.run(["sh", "-c", f"sleep 60 & echo $! > {remote}/pid; sleep 60"], soon(0.5))
        assert time.monotonic() - begin < 5
        assert ends(transport, self.read(transport, f"{remote}/pid"))

    def test_stream_carries_lines_both_ways(self, transport: Transport) -> None:
        stream = transport.stream(["cat"], soon())
        stream.send(b"one\ntwo\n", soon())
        stream.send(b"\xff\0\n", soon())
        assert [stream.receive(soon()) for _ in range(3)] == [b"one\n", b"two\n", b"\xff\0\n"]
        stream.close(soon())

    def test_stream_carries_large_lines_fast(self, transport: Transport) -> None:
        stream = transport.stream(["cat"], soon())
        sender = threading.Thread(target=stream.send, args=(LARGE + b"\n", soon(20)))
        begin = time.monotonic()
        sender.start()
        assert stream.receive(soon(20)) == LARGE + b"\n"
        sender.join()
        assert time.monotonic() - begin < 5
        stream.close(soon())

    def test_receive_that_times_out_loses_nothing(self, transport: Transport) -> None:
        stream = transport.stream(["sh", "-c", "printf first; read line; echo ' second'"], soon())
        with pytest.raises(TimedOut):
            stream.receive(soon(0.2))
        stream.send(b"go on\n", soon())
        assert stream.receive(soon()) == b"first second\n"
        stream.close(soon())

    def test_send_that_times_out_ends_the_stream(self, transport: Transport) -> None:
        stream = transport.stream(["sleep", "60"], soon())
        with pytest.raises(TimedOut):
            stream.send(LARGE + b"\n", time.monotonic() - 1)  # a later one adb may keep: at times it takes in more than is read
        with pytest.raises(AgentDied):
            stream.receive(soon())

    def test_the_end_of_the_process_is_told_with_its_last_words(self, transport: Transport) -> None:
        stream = transport.stream(["sh", "-c", "echo answer; echo first >&2; echo last words >&2; exit 3"], soon())
        assert stream.receive(soon()) == b"answer\n"
        with pytest.raises(AgentDied, match="3") as died:
            stream.receive(soon())
        assert died.value.stderr_tail == stream.stderr_tail() == "first\nlast words\n"

    def test_half_a_line_is_no_line(self, transport: Transport) -> None:
        stream = transport.stream(["printf", "half"], soon())
        with pytest.raises(AgentDied):
            stream.receive(soon())

    def test_sending_to_a_process_that_has_ended_fails(self, transport: Transport) -> None:
        stream = transport.stream(["true"], soon())
        with pytest.raises(AgentDied):
            stream.receive(soon())
        with pytest.raises(AgentDied):
            stream.send(LARGE + b"\n", soon())

    def test_close_lets_the_process_end_by_itself(self, transport: Transport, remote: str) -> None:
        stream = transport.stream(["sh", "-c", f"cat; echo ended > {remote}/file"], soon())
        stream.close(soon())
        assert self.read(transport, f"{remote}/file") == b"ended\n"
        with pytest.raises(AgentDied):
            stream.send(b"late\n", soon())
        stream.close(soon())  # a second time is no error

    def test_close_kills_what_does_not_end(self, transport: Transport) -> None:
        stream = transport.stream(["sh", "-c", "echo $$; sleep 60"], soon())
        pid = stream.receive(soon())
        begin = time.monotonic()
        stream.close(soon(0.3))
        assert time.monotonic() - begin < 5
        assert ends(transport, pid)

    def test_kill_ends_the_children_too(self, transport: Transport) -> None:
        stream = transport.stream(["sh", "-c", "sleep 60 & echo $!; sleep 60"], soon())
        pid = stream.receive(soon())
        assert alive(transport, pid)
        stream.kill()
        assert ends(transport, pid)

    def test_kill_wakes_who_waits(self, transport: Transport) -> None:
        stream = transport.stream(["sleep", "60"], soon())
        errors: list[AgentDied] = []
        waiter = threading.Thread(target=self.wait_for_death, args=(stream, errors))
        waiter.start()
        time.sleep(0.1)
        stream.kill()
        waiter.join(5)
        assert len(errors) == 1

    def wait_for_death(self, stream: Stream, errors: list[AgentDied]) -> None:
        try:
            stream.receive(soon(60))
        except AgentDied as error:
            errors.append(error)

    def test_send_copies_every_byte(self, transport: Transport, remote: str, tmp_path: Path) -> None:
        (tmp_path / "data").write_bytes(os.urandom(1 << 20))
        transport.send(tmp_path / "data", f"{remote}/new/sent", soon())
        told = transport.run(["sha256sum", f"{remote}/new/sent"], soon()).stdout
        assert told.startswith(hashlib.sha256((tmp_path / "data").read_bytes()).hexdigest().encode())
        with pytest.raises(RemoteFailure):
            transport.send(tmp_path / "missing", f"{remote}/new/other", soon())

    def test_closing_the_transport_ends_its_streams(self, transport: Transport) -> None:
        stream = transport.stream(["sh", "-c", "echo $$; sleep 60"], soon())
        pid = stream.receive(soon())
        transport.close()
        with pytest.raises(AgentDied):
            stream.receive(soon())
        assert ends(transport, pid)


class CutContract:
    """What every transport does whose link is cut. A subclass provides `transport`, and the fixture `cut`, which cuts it now."""

    def test_a_connection_that_is_cut_is_told_and_can_be_made_anew(self, transport: Transport, cut: Callable[[], None]) -> None:
        stream = transport.stream(["cat"], soon())
        errors: list[DeviceError] = []

        def wait() -> None:
            try:
                stream.receive(soon(60))
            except DeviceError as error:
                errors.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(0.1)
        cut()
        waiting.join(5)
        assert isinstance(errors[0], Vanished)
        with pytest.raises(Vanished, match="the connection is lost"):
            stream.send(b"more\n", soon())
        with pytest.raises(Vanished):
            transport.run(["true"], soon())
        transport.close()
        assert transport.run(["echo", "back"], soon()).stdout == b"back\n"
