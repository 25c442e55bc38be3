"""Candidates measured by a host of a Ray cluster that has the device: it hands over what it measured, and opens no store of ours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from harness.convert.direct import DirectPrecision
from harness.devices.inventory import load_inventory
from harness.errors import ConfigError, HarnessError
from harness.files import StrPath
from harness.measure.handed import Handed, handed_over, take_in
from harness.measure.store import Store
from harness.networks.network import Network
from harness.networks.space import Space
from harness.search.finish import Verified, verify
from harness.search.live import LiveLatency
from harness.search.on_ray import DEVICE, LOOKED_AFTER_S, join, load_ray
from harness.search.resources import Amounts
from harness.search.study import Target
from harness.tables.table import Origin

T = TypeVar("T")


@dataclass(frozen=True)
class There:
    """What a host is asked to measure, and how: as `LiveLatency` takes it."""

    space: Space
    device: str
    precision: DirectPrecision
    threads: int
    like: Origin | None


class Host:
    """The host of a cluster that has a device; raises ConfigError where none has it."""

    def __init__(self, device: str, address: str) -> None:
        join(address)
        self._ray = load_ray()
        self._device = device
        self._hint = f"on the host that has it: harness worker --address {address} --device {device}"
        self._check()

    def call(self, function: Callable[..., Any], *arguments: object) -> Any:
        """Return what a function returns there; raises ConfigError where that host is lost."""
        task = self._ray.remote(num_cpus=0, resources={DEVICE + self._device: 1}, max_retries=0)(function).remote(*arguments)
        while not self._ray.wait([task], timeout=LOOKED_AFTER_S)[0]:
            self._check()
        lost = self._ray.exceptions
        try:
            return self._ray.get(task)
        except (lost.RaySystemError, lost.WorkerCrashedError, lost.NodeDiedError, lost.OutOfMemoryError) as error:
            raise ConfigError(f"the host that has {self._device} was lost: {error}", self._hint) from None

    def _check(self) -> None:
        alive = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        known = sorted({each.removeprefix(DEVICE) for resources in alive for each in resources if each.startswith(DEVICE)})
        if self._device not in known:
            raise ConfigError(f"no host of the Ray cluster has {self._device}; there are {', '.join(known) or 'no devices'}", self._hint)


class RayLatency:
    """Latency in ms of candidates on a device that some host of a cluster has. What is asked for at once is lost with a host together."""

    def __init__(self, there: There, store: Store, address: str = "auto", name: str = "latency_ms") -> None:
        """Take where what is measured goes; raises ConfigError where no host of the cluster has the device."""
        self.name = name
        self._there = there
        self._store = store
        self._host = Host(there.device, address)

    def of(self, tokens: npt.NDArray[np.integer]) -> Amounts:
        """Return measurements with their intervals; not a number for what the device cannot run. Raises what the host's session raised."""
        found, handed = self._host.call(_measured, self._there, tokens.tolist())
        take_in(self._store, handed)
        if isinstance(found, HarnessError):
            raise found
        assert isinstance(found, Amounts)
        return found


def verify_there(
    file: Path, network: Network, target: Target, address: str, inventory: StrPath | None, results: StrPath | None
) -> Verified:
    """Return a network's latency on the device of a target, as `verify` does, by the host that has it."""
    found, handed = Host(target.device, address).call(_verified, file.read_bytes(), network, target)
    with Store.open(results or load_inventory(inventory).results_dir) as store:
        take_in(store, handed)
    if isinstance(found, HarnessError):
        raise found
    assert isinstance(found, Verified)
    return found


def _measured(there: There, tokens: Sequence[Sequence[int]]) -> tuple[Amounts | HarnessError, tuple[Handed, ...]]:
    """Measure candidates on this host, by its own inventory; return what came out and what its store, which goes, has of it."""

    def measured(results: Path) -> Amounts:
        how = {"precision": there.precision, "threads": there.threads, "like": there.like}
        with LiveLatency(there.space, device=there.device, results=results, **how) as latency:  # type: ignore[arg-type]  # as it takes them
            return latency.of(np.array(tokens, dtype=np.int64))

    return _with_store(measured)


def _verified(model: bytes, network: Network, target: Target) -> tuple[Verified | HarnessError, tuple[Handed, ...]]:
    def verified(results: Path) -> Verified:
        file = results / "best.tflite"
        file.write_bytes(model)
        return verify(file, network, target, None, results, None)

    return _with_store(verified)


def _with_store(measure: Callable[[Path], T]) -> tuple[T | HarnessError, tuple[Handed, ...]]:
    """Return what comes out of measuring into a folder that goes, or why nothing does, and what its store has of it."""
    with tempfile.TemporaryDirectory(prefix="harness-") as made:
        folder = Path(made)
        found: T | HarnessError
        try:
            found = measure(folder)
        except HarnessError as error:
            found = error
        with Store.open(folder) as store:
            return found, handed_over(store)
