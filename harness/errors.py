"""Every error that the harness raises for its user.

HarnessError
├── ConfigError              a file, an option or a name that the user gave
├── ConversionError          a model that cannot be converted or read
├── StoreError               the results database
├── MissingBlock             a block that a latency table has no row for
├── TrainingFailed           a model whose training diverges or does not fit into memory
└── DeviceError              a device, named
    ├── Unauthorized         it does not let us in, or is not who it should be
    ├── Offline              it cannot be reached
    ├── Vanished             the connection to it is lost
    ├── TimedOut             a deadline passed
    ├── RemoteFailure        a command on the device failed
    ├── AgentError           the agent answered with an error
    ├── AgentDied            the agent or its worker ended unasked
    ├── ProtocolMismatch     agent and harness speak different versions
    ├── UnstableConditions   too hot, too busy, or no longer as it was
    ├── DeviceBusy           another session holds the lease
    └── WrongOutput          the model's output on the device is not what it should be
"""

from __future__ import annotations

from typing import Any


class HarnessError(Exception):
    """What happened, on what; `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception is made again from its message alone, which not all of these are made of.
        return _again, (type(self), self.args, vars(self))

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


def _again(kind: type[HarnessError], arguments: tuple[Any, ...], known: dict[str, Any]) -> HarnessError:
    """Return an error that came from another process."""
    error = kind.__new__(kind, *arguments)
    vars(error).update(known)
    return error


class ConfigError(HarnessError):
    """A file, an option or a name that the user gave is wrong."""


class ConversionError(HarnessError):
    """A model cannot be converted or read."""


class StoreError(HarnessError):
    """The results database cannot be used."""


class MissingBlock(HarnessError):
    """A latency table does not know these blocks, by their keys, and guesses none."""

    def __init__(self, keys: tuple[str, ...], table: str, hint: str) -> None:
        shown = ", ".join(keys[:_SHOWN]) + (f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else "")
        super().__init__(f"the latency table of {table} lacks {_counted(len(keys))}: {shown}", hint)
        self.keys = keys


class TrainingFailed(HarnessError):
    """A model cannot be trained: its loss is no number, or it does not fit into memory."""


_SHOWN = 3


def _counted(count: int) -> str:
    return "a block" if count == 1 else f"{count} blocks"


class DeviceError(HarnessError):
    """Something went wrong on `device`; `stderr_tail` holds the last lines it printed."""

    def __init__(self, device: str, message: str, hint: str = "", stderr_tail: str = "") -> None:
        super().__init__(f"{device}: {message}", hint)
        self.device = device
        self.stderr_tail = stderr_tail


class Unauthorized(DeviceError):
    """The device does not let us in, or does not prove to be the one we know."""


class Offline(DeviceError):
    """The device cannot be reached."""


class Vanished(DeviceError):
    """The connection to the device is lost."""


class TimedOut(DeviceError):
    """A deadline passed."""


class RemoteFailure(DeviceError):
    """A command on the device failed."""


class AgentError(DeviceError):
    """The agent answered with an error."""


class AgentDied(DeviceError):
    """The agent or its worker ended unasked."""


class ProtocolMismatch(DeviceError):
    """Agent and harness speak different versions of the protocol."""


class UnstableConditions(DeviceError):
    """The device is too hot or too busy, or is no longer as it was."""


class DeviceBusy(DeviceError):
    """Another session holds the device's lease."""


class WrongOutput(DeviceError):
    """The model's output on the device differs from its second side."""
