"""A device's power, taken and given back by the user's own command (`power_cycle` in devices.toml), such as one for a USB hub's port."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess

from harness.devices.inventory import Device
from harness.errors import ConfigError

_TIMEOUT_S = 60.0


def power_cycle(device: Device) -> None:
    """Run the command that takes the device's power and gives it back. Raises ConfigError where it fails or does not end in a minute."""
    assert device.power_cycle is not None
    hint = "see power_cycle in devices.toml"
    try:
        # In a session of its own: a Ctrl-C between off and on would leave the device without power.
        process = subprocess.Popen(
            shlex.split(device.power_cycle),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise ConfigError(f"{device.name}: its power_cycle cannot be run: {error.strerror}", hint) from error
    try:
        _, said = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise ConfigError(f"{device.name}: its power_cycle did not end within {_TIMEOUT_S:.0f} s", hint) from None
    if process.returncode != 0:
        why = f": {said.strip()[-500:]}" if said.strip() else ""
        raise ConfigError(f"{device.name}: its power_cycle ended with exit {process.returncode}{why}", hint)
