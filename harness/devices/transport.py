"""How bytes and commands reach a device: the contract that local, SSH and ADB fulfil.

A `deadline` is absolute, in seconds of `time.monotonic()`, and is enforced from outside the call that may hang. What ends badly
ends in the project's own errors: TimedOut when the deadline passed, RemoteFailure when the device refused or failed,
AgentDied when a live process ended unasked.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.devices.inventory import Device


@dataclass(frozen=True)
class Completed:
    """What a finished command printed, and its exit status: negative is the signal that ended it."""

    stdout: bytes
    stderr: bytes
    exit: int


def how_it_ended(exit: int) -> str:  # noqa: A002 - the word of Completed
    """Return how a process with this exit status ended, as a sentence about it goes on."""
    return f"was ended by {signal.Signals(-exit).name}" if exit < 0 else f"ended with exit status {exit}"


def poll_ms(deadline: float) -> int:
    """Return how long it is to a deadline as `poll` takes it: in ms, of which a C int holds 24 days."""
    return min(math.ceil(max(0.0, deadline - time.monotonic()) * 1000), 2**31 - 1)


class Stream(Protocol):
    """A live process: lines go in, lines come out. One thread may send while another receives."""

    def send(self, line: bytes, deadline: float) -> None:
        """Write `line`, which ends in its one newline. Raises AgentDied; after TimedOut the stream is dead, for half a line is out."""

    def receive(self, deadline: float) -> bytes:
        """Return the next line, its newline included. Raises AgentDied on EOF; after TimedOut nothing is lost."""

    def stderr_tail(self) -> str:
        """Return the last lines that the process printed to stderr."""

    def close(self, deadline: float) -> None:
        """End the stream: EOF on the process's stdin, and death at `deadline` if it has not ended by then."""

    def kill(self) -> None:
        """End the process and its children now."""


class Transport(Protocol):
    """The verbs of one device. Relative remote paths are not accepted: the sides share no working folder."""

    def push(self, local: Path, remote: str, deadline: float) -> None:
        """Copy the file `local` to `remote`, making its folders; `remote` is complete or untouched, never half there."""

    def send(self, local: Path, remote: str, deadline: float) -> None:
        """As `push`, where nobody knows of `remote` yet, and whoever is to use it compares its hash before."""

    def run(self, argv: Sequence[str], deadline: float) -> Completed:
        """Return what `argv` printed and how it exited; raises RemoteFailure only where it could not be started."""

    def stream(self, argv: Sequence[str], deadline: float) -> Stream:
        """Return the live process `argv`; `deadline` is for starting it."""

    def probe(self, deadline: float) -> None:
        """Return once the device has answered; one that does not by then is lost, and whoever waits on a stream is told."""

    def close(self) -> None:
        """Kill what is still alive and let go of the device."""


def open_transport(device: Device) -> Transport:
    """Return the transport that `device` is reached by."""
    if device.transport == "local":
        from harness.devices.local import LocalTransport

        return LocalTransport(device.name)
    if device.transport == "ssh":
        from harness.devices.ssh import SshTransport

        return SshTransport(device)
    from harness.devices.adb import AdbTransport

    return AdbTransport(device)
