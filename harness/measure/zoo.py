"""The zoo measured on a device: what papers published of networks beside their latency here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.devices.inventory import load_inventory
from harness.errors import ConfigError
from harness.files import StrPath
from harness.measure.benchmark import bench
from harness.measure.result import FailedResult, Progress, Result
from harness.networks.listing import Listed, listed


@dataclass(frozen=True)
class Measured:
    """A network and its result on a device; `outcome` is None where it was only published."""

    network: Listed
    outcome: Result | FailedResult | None


def measure_zoo(
    device: str,
    names: Sequence[str] = (),
    *,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[Measured, ...]:
    """Return the networks of `listed`, those that can be built with their float32 latency on the device, measured or from the store.

    Raises ConfigError for unknown names and where none can be built, and what `bench` raises.
    """
    networks = listed(names)
    built = [network.name for network in networks if network.parameters is not None]
    if not built:
        raise ConfigError(
            f"{', '.join(names)}: only published, with no blocks to build", "`harness models` lists those that can be measured"
        )
    load_inventory(inventory).device(device)  # one, and no tag
    found = bench(built, device=device, inventory=inventory, results=results, progress=progress)
    outcomes = dict(zip(built, found, strict=True))
    return tuple(Measured(network, outcomes.get(network.name)) for network in networks)
