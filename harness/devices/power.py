"""A device's power, taken and given back by the user's own command (`power_cycle` in devices.toml), such as one for a USB hub's port."""

from __future__ import annotations

import shlex
import subprocess

from harness.devices.inventory import Device
from harness.errors import ConfigError

_TIMEOUT_S = 60.0


def power_cycle(device: Device) -> None:
    """Run the command that takes the device's power and gives it back. Raises ConfigError where it fails or does not end in a minute."""
    if device.power_cycle is None:
        raise ConfigError(f"{device.name} has no power_cycle", "add the command to its table in devices.toml")
    hint = "see power_cycle in devices.toml"
    try:
        done = subprocess.run(
            shlex.split(device.power_cycle), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{device.name}: its power_cycle did not end within {_TIMEOUT_S:.0f} s", hint) from None
    except OSError as error:
        raise ConfigError(f"{device.name}: its power_cycle cannot be run: {error.strerror}", hint) from error
    if done.returncode != 0:
        said = done.stderr.strip()[-500:]
        raise ConfigError(f"{device.name}: its power_cycle ended with exit {done.returncode}{f': {said}' if said else ''}", hint)
