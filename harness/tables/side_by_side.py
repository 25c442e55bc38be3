"""Tables built on several devices at once: a thread for each machine, each device for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from harness.devices.inventory import Device, by_machine
from harness.errors import HarnessError
from harness.measure.crew import Crew, one_at_a_time
from harness.measure.result import Progress
from harness.measure.rig import Rig
from harness.tables.table import LatencyTable

Building = Callable[[Device, Callable[[Progress], None], Callable[[Rig], None]], LatencyTable]
"""Builds the table of a device: tells its progress, and hands over the rig as soon as it is open."""


def build_on_each(
    devices: Sequence[Device], build: Building, progress: Callable[[Progress], None]
) -> dict[str, LatencyTable | HarnessError]:
    """Return, by their names in order, the table of each device, or why there is none; devices of one machine take turns."""
    parts = by_machine(devices)
    crew, rigs, tell = Crew(len(parts)), list[Rig](), one_at_a_time(progress)
    found: dict[str, LatencyTable | HarnessError] = {}

    def told(now: Progress) -> None:
        crew.check()  # whoever waits for a lost device learns here that the user wants an end
        tell(now)

    def serve(part: Sequence[Device]) -> None:
        for device in part:
            try:
                found[device.name] = build(device, told, rigs.append)
            except HarnessError as error:
                crew.check()
                found[device.name] = error
                tell(Progress.of_device(device.name, "failed", str(error)))

    def end_sessions() -> None:
        with ExitStack() as stack:
            for rig in tuple(rigs):
                stack.callback(rig.session.close)

    crew.run([partial(serve, part) for part in parts], end_sessions)
    return {device.name: found[device.name] for device in devices}
