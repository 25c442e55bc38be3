"""The device inventory: what `devices.toml` says.

The file is looked for under an explicit path, then `$HARNESS_DEVICES`, then as `devices.toml` in this folder or one above it.
`results/` lies beside it. Without a file the machine itself, `local`, is the only device.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.files import StrPath
from harness.tomlfile import line_of, nearest, parse

FILE_NAME = "devices.toml"
TAG = "tag:"
"""Before a tag in the place of a device's name."""
ENVIRONMENT_VARIABLE = "HARNESS_DEVICES"
RUNTIMES = ("ai-edge-litert", "tflite-runtime")
"""The first is this machine's where nothing else is said; a board has the one that `harness setup` finds to fit."""

_KEYS: dict[str, type] = {
    "transport": str,
    "runtime": str,
    "python": str,
    "core": int,
    "temperature_limit_c": float,
    "tags": list,
    "become": str,
    "frequency_khz": int,
    "power_cycle": str,
}
_KEYS_OF_TRANSPORT: dict[str, dict[str, type]] = {
    "local": {},
    "ssh": {"host": str, "user": str, "port": int, "identity": str, "ssh_config": str},
    "adb": {"serial": str},
}
_COMMANDS = {"become": "sudo -n", "power_cycle": "uhubctl --location 1-1 --action cycle"}


@dataclass(frozen=True)
class Device:
    """One device as the inventory describes it; what the inventory leaves out is None."""

    name: str
    transport: str = "local"
    runtime: str | None = None
    host: str | None = None
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    ssh_config: str | None = None
    serial: str | None = None
    python: str | None = None
    core: int | None = None
    temperature_limit_c: float | None = None
    tags: tuple[str, ...] = ()
    become: str | None = None
    frequency_khz: int | None = None
    power_cycle: str | None = None

    @property
    def machine(self) -> tuple[str | int | None, ...]:
        """What two devices of one machine have in common, such as one with each runtime: they take turns."""
        return self.transport, self.host, self.port, self.serial


def by_machine(devices: Iterable[Device]) -> list[list[Device]]:
    """Return devices in groups, each of one machine."""
    groups: dict[tuple[str | int | None, ...], list[Device]] = {}
    for device in devices:
        groups.setdefault(device.machine, []).append(device)
    return list(groups.values())


@dataclass(frozen=True)
class Inventory:
    """The devices there are. `path` is None where no file was found and `local` is all there is."""

    default: str
    devices: tuple[Device, ...]
    path: Path | None
    results_dir: Path

    def device(self, name: str | None = None) -> Device:
        """Return the device called `name`, or the default one. Raises ConfigError that names the nearest."""
        wanted = self.default if name is None else name
        names = [device.name for device in self.devices]
        if wanted not in names:
            where = self.path or f"the devices (there is no {FILE_NAME})"
            raise ConfigError(f"no device {wanted!r} in {where}{nearest(wanted, names)}", f"devices: {', '.join(names)}")
        return self.devices[names.index(wanted)]

    def select(self, names: Sequence[str]) -> tuple[Device, ...]:
        """Return the devices that are named, each once, `tag:TAG` standing for all that have the tag; without names the default one.

        Raises ConfigError that names the nearest.
        """
        found: dict[str, Device] = {}
        for name in names:
            tag = name.removeprefix(TAG)
            chosen = [device for device in self.devices if tag in device.tags] if name.startswith(TAG) else [self.device(name)]
            if not chosen:
                tags = sorted({tag for device in self.devices for tag in device.tags})
                listed = f"tags: {', '.join(tags)}" if tags else 'no device has any: tags = ["..."]'
                raise ConfigError(f"no device of {self.path or 'the devices'} has the tag {tag!r}{nearest(tag, tags)}", listed)
            found.update((device.name, device) for device in chosen)
        return tuple(found.values()) or (self.device(),)


def load_inventory(path: StrPath | None = None) -> Inventory:
    """Return the inventory at `path`, or the one that is found. Raises ConfigError that names file and line."""
    found = Path(path) if path else _find()
    if found is None:
        return Inventory("local", (Device("local"),), None, Path.cwd() / "results")
    try:
        text = found.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the device inventory {found}: {error}", "harness init writes one") from error
    return parse_inventory(text, found.absolute())


def parse_inventory(text: str, path: Path) -> Inventory:
    """Return the inventory that `text`, the content of `path`, describes. Raises ConfigError that names file and line."""
    data = parse(text, path)
    reader = _Reader(text, path)
    reader.check_keys(data, {"default": str, "devices": dict}, ())
    devices = tuple(reader.device(name, table) for name, table in data.get("devices", {}).items())
    names = [device.name for device in devices]
    if not names:
        raise ConfigError(f"{path}: no devices", 'a device is a table: [devices.local] with transport = "local"')
    if "default" not in data and len(names) > 1:
        raise ConfigError(f"{path}: no default device", f'add default = "{names[0]}" as the first line')
    default = data.get("default", names[0])
    if default not in names:
        raise reader.error(("default",), f"no device {default!r}{nearest(default, names)}", f"devices: {', '.join(names)}")
    return Inventory(default, devices, path, path.parent / "results")


def write_example(path: Path) -> None:
    """Write an inventory to start from to `path`. Raises ConfigError if there is a file already."""
    example = resources.files("harness.devices").joinpath("example.toml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(example)
    except FileExistsError:
        raise ConfigError(f"{path} is there already", "edit it, or name another file") from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def _find() -> Path | None:
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named)
    here = Path.cwd()
    return next((file for folder in (here, *here.parents) if (file := folder / FILE_NAME).is_file()), None)


class _Reader:
    """Turns the tables of one file into devices, and knows where in the file each key stands."""

    def __init__(self, text: str, path: Path) -> None:
        self._text = text
        self._path = path

    def error(self, key: tuple[str, ...], message: str, hint: str = "") -> ConfigError:
        return ConfigError(f"{self._path}:{line_of(self._text, key)}: {message}", hint)

    def device(self, name: str, table: Any) -> Device:
        where = ("devices", name)
        if not isinstance(table, dict):
            raise self.error(where, f"device {name!r} is not a table", f"write [devices.{name}]")
        if not re.fullmatch(r"[\w.-]+", name):
            raise self.error(where, f"a device cannot be called {name!r}", "letters, digits, '.', '_' and '-' make a name")
        transport = table.get("transport")
        if transport is None:
            raise self.error(where, f"device {name!r} has no transport", f"transport is one of {', '.join(_KEYS_OF_TRANSPORT)}")
        if not isinstance(transport, str) or transport not in _KEYS_OF_TRANSPORT:
            message = f"unknown transport {transport!r}{nearest(str(transport), _KEYS_OF_TRANSPORT)}"
            raise self.error((*where, "transport"), message, f"transport is one of {', '.join(_KEYS_OF_TRANSPORT)}")
        self.check_keys(table, _KEYS | _KEYS_OF_TRANSPORT[transport], where)
        if transport == "ssh" and "host" not in table:
            raise self.error(where, f"device {name!r} has no host", "an SSH device needs one; ~/.ssh/config applies to it")
        runtime = table.get("runtime")
        if runtime is not None and runtime not in RUNTIMES:
            message = f"unknown runtime {runtime!r}{nearest(runtime, RUNTIMES)}"
            raise self.error((*where, "runtime"), message, f"runtime is one of {', '.join(RUNTIMES)}")
        for key, example in _COMMANDS.items():
            try:
                words = shlex.split(table.get(key, example))
            except ValueError as error:
                raise self.error((*where, key), f"{key} is no command: {error}", f'such as {key} = "{example}"') from None
            if not words:
                raise self.error((*where, key), f"{key} is empty", f'such as {key} = "{example}"')
        if "frequency_khz" in table and "become" not in table:
            raise self.error((*where, "frequency_khz"), "frequency_khz needs become", "only root may lock a frequency")
        for key, least in (("core", 0), ("frequency_khz", 1)):
            if table.get(key, least) < least:
                raise self.error((*where, key), f"{key} is a number from {least} on, not {table[key]}")
        return Device(name, **{key: _frozen(value, _KEYS.get(key)) for key, value in table.items()})

    def check_keys(self, table: Mapping[str, Any], known: Mapping[str, type], where: tuple[str, ...]) -> None:
        for key, value in table.items():
            if key not in known:
                raise self.error((*where, key), f"unknown key {key!r}{nearest(key, known)}", f"keys: {', '.join(known)}")
            if not _fits(value, known[key]):
                message = f"{key} is {_WORDS[known[key]]}, not {value!r}"
                raise self.error((*where, key), message)


_WORDS = {str: "a text in quotes", int: "a whole number", float: "a finite number", list: "a list of texts", dict: "a table"}


def _fits(value: Any, kind: type) -> bool:
    if kind is list:
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is str:
        return isinstance(value, str) and "\0" not in value
    return isinstance(value, kind) and not isinstance(value, bool)


def _frozen(value: Any, kind: type | None) -> Any:
    if kind is list:
        return tuple(value)
    return float(value) if kind is float else value
