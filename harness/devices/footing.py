"""Where the harness stands on a device: the folder that is its own there, and the Python that runs its agent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.convert.cache import cache_dir
from harness.devices.inventory import RUNTIMES, Device
from harness.devices.provision import runtime_python
from harness.devices.transport import Transport
from harness.errors import ConfigError, RemoteFailure

FOLDER = ".latency-harness"
"""The folder in the home folder of a board's user that `harness setup` makes; nothing is left outside it but the lease."""

PHONE_HOME = "/data/local/tmp"
"""Stands for the home folder on a phone, whose shell has none: it may write and start programs there."""

CHOSEN = "runtime"
"""The file in it that names the runtime `harness setup` chose."""


@dataclass(frozen=True)
class Footing:
    """`root` holds the agent and the models, `python` runs the agent with `runtime`; both are absolute paths on the device."""

    root: str
    python: str
    runtime: str


def footing(device: Device, transport: Transport, deadline: float, announce: Callable[[str], None] | None = None) -> Footing:
    """Return where the harness stands on the device; `announce` is told, in one line, before something takes long.

    On a board that is the environment that setup made; without one, the Python that devices.toml names. Raises ConfigError for a board
    that was not set up for its runtime, and what the transport raises.
    """
    if device.transport == "local":
        here = device.runtime or RUNTIMES[0]
        return Footing(str(cache_dir() / "device"), device.python or str(runtime_python(here, announce)), here)
    root, chosen, environments = _on_board(device, transport, deadline)
    runtime = device.runtime or chosen
    if runtime is not None and runtime in environments:
        return Footing(root, environment(root, runtime), runtime)
    if runtime is None or device.python is None:
        raise _not_set_up(device)
    return Footing(root, device.python, runtime)


def board_root(device: Device, transport: Transport, deadline: float) -> str:
    """Return the folder of the harness on a board, whether it is there yet or not."""
    return _on_board(device, transport, deadline)[0]


def environment(root: str, runtime: str) -> str:
    """Return the Python of a runtime's environment on a board."""
    return f"{root}/runtimes/{runtime}/bin/python"


def _not_set_up(device: Device) -> ConfigError:
    wanted = "" if device.runtime is None else f" for {device.runtime}"
    return ConfigError(f"{device.name} is not set up{wanted}", f"harness setup {device.name}")


def _on_board(device: Device, transport: Transport, deadline: float) -> tuple[str, str | None, frozenset[str]]:
    """Return the folder of the harness on a board or phone, the runtime that setup chose, and those with an environment."""
    home = PHONE_HOME if device.transport == "adb" else ""
    script = f'cd {home} && pwd && cat "{FOLDER}/{CHOSEN}" 2>/dev/null; for made in {FOLDER}/runtimes/*/bin/python; do echo "$made"; done'
    lines = transport.run(["sh", "-c", script], deadline).stdout.decode(errors="replace").splitlines()
    if not lines or not PurePosixPath(lines[0]).is_absolute():
        raise RemoteFailure(device.name, "its user has no home folder", "the agent, the runtime and the models are kept there")
    chosen = next((line for line in lines[1:] if "/" not in line), None)
    environments = frozenset(PurePosixPath(line).parts[2] for line in lines[1:] if "/" in line and "*" not in line)
    return f"{lines[0].rstrip('/')}/{FOLDER}", chosen, environments
