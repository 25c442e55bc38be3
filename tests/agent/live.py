"""A live agent, spoken to by its wire alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.devices.local import LocalTransport
from harness.devices.provision import agent_archive, runtime_python
from harness.devices.transport import Stream

ANSWER_S = 30.0


class Agent:
    """An agent in a process of its own; `pid` is the process's."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._requests = 0

    def send(self, operation: str, arguments: dict[str, Any] | None = None) -> int:
        self._requests += 1
        line = json.dumps({"id": self._requests, "op": operation, "args": arguments or {}}).encode() + b"\n"
        self.stream.send(line, time.monotonic() + ANSWER_S)
        return self._requests

    def answer(self, within_s: float = ANSWER_S) -> dict[str, Any]:
        return dict(json.loads(self.stream.receive(time.monotonic() + within_s)))

    def ask(self, operation: str, arguments: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the whole answer to one request."""
        asked = self.send(operation, arguments)
        answer = self.answer()
        assert answer["id"] == asked
        return answer

    @property
    def pid(self) -> int:
        return int(self.ask("hello")["result"]["pid"])


@contextmanager
def agent(root: Path, *, python: str | None = None, archive: Path | None = None, runtime: str = "ai-edge-litert") -> Iterator[Agent]:
    transport = LocalTransport("local")
    program = [python or str(runtime_python("ai-edge-litert")), "-I", str(archive or agent_archive())]
    try:
        yield Agent(transport.stream([*program, "serve", "--runtime", runtime, "--root", str(root)], time.monotonic() + ANSWER_S))
    finally:
        transport.close()


def children(pid: int) -> set[int]:
    """Return the processes that `pid` has started and that have not been reaped."""
    return {int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()}


def running(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ends(pid: int, within_s: float = 5.0) -> bool:
    """Wait for a process to end."""
    deadline = time.monotonic() + within_s
    while running(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not running(pid)
