"""Models benchmarked on one device or many: converted once, measured side by side, answered from the store where it knows."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from harness.convert.converter import Converter, ModelLike, name_of
from harness.convert.model import Precision
from harness.devices.inventory import Device, by_machine, load_inventory
from harness.errors import ConfigError, HarnessError, Offline, TimedOut, Unauthorized, Vanished
from harness.files import StrPath
from harness.measure import plan
from harness.measure.affinity import kept_off, other_cores
from harness.measure.crew import Crew, one_at_a_time
from harness.measure.loop import Loop
from harness.measure.result import FailedResult, Phase, Progress, Result
from harness.measure.rig import Rig
from harness.measure.sharing import check_equal
from harness.measure.store import Store
from harness.measure.work import Job, Work

_MAY_COME = (Unauthorized, Offline, Vanished, TimedOut)
"""A device that starts with one of these may be had later: while others measure it is tried again."""


def bench(
    models: Sequence[ModelLike] | ModelLike,
    *,
    device: str | Sequence[str] | None = None,
    share: bool = False,
    precision: Precision | None = None,
    threads: int = 1,
    interval: float = 0.02,
    max_time_s: float = 60.0,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    calibration: StrPath | None = None,
    cold: bool = False,
    fresh: bool = False,
    inventory: StrPath | None = None,
    results: StrPath | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Result | FailedResult]:
    """Return one result per model and device, model by model in the order given; what cannot be measured is a FailedResult.

    A model is a path, a text that names a network or a candidate, a Network, or a Keras model. `device` names one or several, `tag:TAG`
    standing for all that have the tag: they measure side by side, and those of one machine in turn. With `share` each model is
    measured once, by whichever device is free; they must have been found equal (`equal`).

    `interval` is the relative half-width to reach, `max_time_s` the measuring time per model. Results of the same subject that are steady
    within `interval` are answered from the store unless `fresh`; a call that was cut short is gone on with where it was. Raises
    HarnessError where nothing can be measured at all: an unknown device, no store, a single device that cannot be reached.
    """
    config = plan.RunConfig(threads=threads, interval=interval, max_time_s=max_time_s, cold=cold, fresh=fresh)
    given = [models] if isinstance(models, str | os.PathLike) or not isinstance(models, Sequence) else list(models)
    found = load_inventory(inventory)
    devices = found.select([device] if isinstance(device, str) else device or ())
    if share and len(devices) == 1:
        raise ConfigError(f"{devices[0].name} has nobody to share with", "name several devices, or leave --share out")
    with ExitStack() as stack:
        store = stack.enter_context(Store.open(results or found.results_dir))
        farm = _Farm(devices, share, config, store, one_at_a_time(progress or (lambda _: None)))
        stack.callback(farm.close)
        occupied = farm.open_first()
        stack.enter_context(kept_off(occupied))
        converter = stack.enter_context(Converter(cores=other_cores(occupied)))
        names = [name_of(model) for model in given]
        converting = [converter.submit(model, precision=precision, shapes=shapes or {}, calibration=calibration) for model in given]
        works = farm.measure(lambda: [Job(name, future) for name, future in zip(names, converting, strict=True)])
        if fresh or not any(work.abandoned for work in works):  # else the same call, made again, goes on
            store.report(job.outcome.measurement_id for work in works for job in work.jobs if isinstance(job.outcome, Result))
    outcomes = [job.outcome for jobs in zip(*(work.jobs for work in works), strict=True) for job in jobs]
    assert None not in outcomes
    return [outcome for outcome in outcomes if outcome is not None]


class _Farm:
    """The devices of one call: those of one machine are one part of the crew, and take turns."""

    def __init__(
        self, devices: Sequence[Device], share: bool, config: plan.RunConfig, store: Store, progress: Callable[[Progress], None]
    ) -> None:
        self._parts = by_machine(devices)
        self._devices = devices
        self._share = share
        self._config = config
        self._store = store
        self._progress = progress
        self._crew = Crew(len(self._parts))
        self._rigs: dict[str, Rig] = {}
        self._failed: dict[str, HarnessError] = {}
        self._told: dict[str, str] = {}

    def open_first(self) -> frozenset[int]:
        """Return this machine's cores that are measured on, its own devices opened; so are all that share, which must be equal."""
        for device in self._devices:
            if device.transport == "local" or self._share:
                try:
                    self._rigs[device.name] = self._open(device)
                except HarnessError as error:
                    self._failed[device.name] = error
        if self._share:
            check_equal(self._store, list(self._rigs.values()))
        return frozenset().union(*(rig.session.occupied_cores for rig in self._rigs.values()))

    def measure(self, jobs: Callable[[], list[Job]]) -> list[Work]:
        """Return the models of each device with their outcomes, or of all together where they share them."""
        shared = Work(jobs(), sharers=len(self._devices)) if self._share else None
        works = {device.name: shared or Work(jobs()) for device in self._devices}

        def serve(devices: Sequence[Device]) -> None:
            for device in devices:
                self._serve(device, works[device.name])

        self._crew.run([partial(serve, devices) for devices in self._parts], self._end_sessions)
        return [shared] if shared else list(works.values())

    def close(self) -> None:
        """Let go of all devices, also where one of them fails."""
        with ExitStack() as stack:
            for rig in tuple(self._rigs.values()):
                stack.callback(rig.close)

    def _end_sessions(self) -> None:
        """End what the devices' threads wait for."""
        with ExitStack() as stack:
            for rig in tuple(self._rigs.values()):
                stack.callback(rig.session.close)

    def _serve(self, device: Device, work: Work) -> None:
        """Bring a device's models to their outcomes; of several devices, one that cannot be had fails alone."""
        try:
            rig = self._rig(device)
        except HarnessError as error:
            self._crew.check()
            if len(self._devices) == 1:
                raise
            work.leave(device.name, (), error)
            self._tell(device, "failed", str(error))
            return
        equals = [one.session.fingerprint for one in self._rigs.values()] if self._share else []
        Loop(rig, work, self._config, self._progress, self._crew, equals).run()
        rig.close()

    def _rig(self, device: Device) -> Rig:
        if device.name in self._failed:
            raise self._failed[device.name]
        if device.name not in self._rigs:
            self._rigs[device.name] = self._crew.patiently(
                lambda: self._open(device), _MAY_COME, lambda error: self._tell(device, "waiting", str(error))
            )
        return self._rigs[device.name]

    def _open(self, device: Device) -> Rig:
        self._crew.check()
        return Rig(device, self._config.threads, self._store, lambda text: self._tell(device, "waiting", text))

    def _tell(self, device: Device, phase: Phase, note: str) -> None:
        if self._told.get(device.name) != note:
            self._told[device.name] = note
            self._progress(Progress.of_device(device.name, phase, note))
