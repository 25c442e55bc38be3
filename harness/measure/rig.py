"""The rig: one device under measurement, with its session, its reference models and the store that takes what is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple
from datetime import UTC, datetime
from secrets import token_hex
from types import TracebackType
from typing import Self

from harness.convert.agreement import compare_outputs
from harness.convert.model import Model
from harness.convert.reference import reference_models
from harness.devices.inventory import Device
from harness.devices.power import power_cycle
from harness.devices.session import Session
from harness.errors import (
    AgentDied,
    ConfigError,
    DeviceError,
    Offline,
    ProtocolMismatch,
    TimedOut,
    UnstableConditions,
    Vanished,
    WrongOutput,
)
from harness.measure import drift, plan, stats
from harness.measure.affinity import allowed_cores, moved_to
from harness.measure.context import REFERENCE_NAMES, context_of
from harness.measure.rows import Session as StoredSession
from harness.measure.samples import Provenance, Subject, TimedRepetition
from harness.measure.store import Store
from harness.measure.summary import Context
from latency_agent.protocol import SoloResult

LOSSES = (AgentDied, TimedOut, Vanished, Offline)
"""Errors after which the device may be lost: whether it is, `Session.alive` tells."""

MOST_LOSSES = 2
"""A model that loses the device more often is taken to be the reason."""

RETURN_LIMIT_S = 180.0
"""How long a device that is lost is waited for: a board that restarts is back by then."""

LEASE_WAIT_S = 20.0
"""A dead session's lease lives 15 s."""

POWER_CYCLE_AFTER_S = 120.0
"""A board that starts anew by itself is back by then."""

RETURN_STEP_S = 2.0
_COOLING_LIMIT_S = 300.0
_COOLING_STEP_S = 2.0
_HELD_DOWN_LIMIT_S = 60.0


class Rig:
    """A device ready to measure on; leaving the `with` ends the session and stores what its references showed."""

    def __init__(self, device: Device, threads: int, store: Store, announce: Callable[[str], None] | None = None) -> None:
        self.device = device
        self.threads = threads
        self.store = store
        self.references = reference_models()
        self._affinity = allowed_cores()
        self._announce = announce
        self.session = Session.open(device, threads=threads, announce=announce)
        self.token = token_hex(16)
        """By it sessions share a lease: that of an agent that died and of its successor, in a comparison those of two runtimes."""
        self._replaced: str | None = None  # the part in the lease of an agent that was lost, which may not have ended yet
        self._stored_session: str | None = None
        self._seen: dict[bool, tuple[Subject, list[drift.References]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the session, having stored the medians of its reference models."""
        try:
            for subject, seen in self._seen.values():
                for name, median_ns in zip(REFERENCE_NAMES, astuple(drift.medians(seen)), strict=True):
                    self.store.add_reference(self.stored_session, subject, name, median_ns)
            self._seen.clear()
        finally:
            self.session.close()

    def acquire(self, waiting: Callable[[str], None]) -> None:
        """Take the device's lease, as `Session.acquire` does; `waiting` is told who holds it."""
        self.session.acquire(token=self.token, replaces=self._replaced, wait_s=LEASE_WAIT_S, waiting=waiting)

    def cycle_power(self) -> None:
        """Take the device's power and give it back, where devices.toml says how; where that fails it is told, and the device waited for."""
        if self.device.power_cycle is None:
            return
        told = "its power was cycled"
        try:
            power_cycle(self.device)
        except ConfigError as error:
            told = str(error)
        if self._announce is not None:
            self._announce(told)

    def wait_for_return(self, waiting: Callable[[], None], longer: Callable[[], bool] = lambda: False) -> None:
        """Start a new session as soon as a lost device is there again; it holds no lease yet.

        One that is not back by POWER_CYCLE_AFTER_S has its power cycled, once, where devices.toml says how, and gets the time to start
        anew. Raises the last error of a device that was not back by RETURN_LIMIT_S, unless it may be waited for `longer`, and at once what
        no waiting helps: UnstableConditions where a new session would measure elsewhere, ProtocolMismatch, and errors that are not the
        device's.
        """
        began = time.monotonic()
        cycled = False
        while True:
            waiting()
            try:
                self._reopen()
            except (ProtocolMismatch, UnstableConditions):
                raise
            except DeviceError:  # a board that starts refuses and drops connections before it takes one
                gone_s = time.monotonic() - began
                if gone_s > RETURN_LIMIT_S and not longer():
                    raise
                if not cycled and gone_s > POWER_CYCLE_AFTER_S and self.device.power_cycle is not None:
                    self.cycle_power()
                    cycled, began = True, time.monotonic()
            else:
                return
            time.sleep(RETURN_STEP_S)

    def _reopen(self) -> None:
        before = self.session.placement
        self._replaced = self.session.holder or self._replaced
        self.close()
        self._stored_session = None
        # The agent may use the cores that its parent may use, and this thread keeps off the measured ones.
        with moved_to(self._affinity if self.session.occupied_cores else ()):
            self.session = Session.open(self.device, threads=self.threads, announce=self._announce)
        if self.session.placement != before:
            raise UnstableConditions(
                self.device.name,
                f"a new agent was placed on {self.session.placement}, the one before on {before}",
                "run the same command again: what was measured is stored",
            )

    @property
    def stored_session(self) -> str:
        """The id under which the store knows this session."""
        if self._stored_session is None:
            hello = self.session.hello
            self._stored_session = self.store.start_session(
                StoredSession(
                    device=self.device.name,
                    fingerprint=self.session.fingerprint,
                    runtime=hello.runtime,
                    runtime_version=hello.runtime_version,
                    agent_sha256=self.session.agent_sha256,
                    facts=self.session.facts,
                )
            )
        return self._stored_session

    def subject(self, model: Model, *, cold: bool = False) -> Subject:
        """Return what measuring `model` here would measure."""
        hello, placement = self.session.hello, self.session.placement
        return Subject(
            model_sha256=model.sha256,
            fingerprint=self.session.fingerprint,
            runtime=hello.runtime,
            runtime_version=hello.runtime_version,
            cores=placement.cores,
            governor=placement.governor,
            threads=self.threads,
            cold=cold,
            seed=plan.SEED,
            shapes=model.shapes,
        )

    def provenance(self, model: Model, config: plan.RunConfig) -> Provenance:
        """Return where a measurement of `model` in this session comes from."""
        return Provenance(
            model=model.name,
            model_size_bytes=model.size_bytes,
            precision=model.precision,
            note=model.note,
            device=self.device.name,
            facts=self.session.facts,
            core_chosen_by=self.session.placement.chosen_by,
            python=self.session.hello.python,
            agent_sha256=self.session.agent_sha256,
            asked_interval=config.interval,
            max_time_s=config.max_time_s,
            fresh=config.fresh,
        )

    def context(self, subject: Subject, began_at: datetime) -> Context:
        """Return what the store knows of this device under the subject's settings."""
        return context_of(self.store, subject, began_at)

    def solo(self, model: Model, timeout_s: float) -> tuple[SoloResult, str]:
        """Return the first repetition of a model and what its outputs agree with; raises WrongOutput where they do not."""
        result = self.session.solo(model, seed=plan.SEED, warmup_ns=plan.WARMUP_NS, timeout_s=timeout_s)
        if model.expected is None:
            return result, f"not compared ({model.not_compared})"
        agreement = compare_outputs(model.expected, result.outputs, model.precision, model.second_side or "")
        if not agreement.ok:
            raise WrongOutput(
                self.device.name,
                f"{model.name}: the outputs on the device are wrong: {agreement.text}",
                "the latency of a wrong result does not count; try another runtime or precision",
            )
        return result, agreement.text

    def repetition(
        self,
        candidates: Sequence[Model],
        schedule: plan.Schedule,
        *,
        subject: Subject,
        chunk_ns: int,
        chunk_runs: int,
        timeout_s: float,
        warmup_ns: int = plan.WARMUP_NS,
        settle_ns: int = plan.SETTLE_NS,
        most_flushed_bytes: int | None = None,
    ) -> TimedRepetition:
        """Return one repetition of the candidates between the reference models, from a fresh worker process.

        A cold one empties the caches whole, or as far as `most_flushed_bytes` do.
        """
        flush = plan.flush_bytes(self.session.facts) if subject.cold else None
        references = [self.session.push(model) for model in self.references]
        task = plan.timed_task(
            references,
            [self.session.push(model) for model in candidates],
            schedule,
            cores=self.session.placement.cores,
            chunk_ns=chunk_ns,
            chunk_runs=chunk_runs,
            flush=flush if flush is None or most_flushed_bytes is None else min(flush, most_flushed_bytes),
            timeout_s=timeout_s,
            warmup_ns=warmup_ns,
            settle_ns=settle_ns,
        )
        taken_at = datetime.now(UTC)
        data = self.session.timed(task)
        _, seen = self._seen.setdefault(subject.cold, (subject, []))
        seen.append(drift.reference_latencies_ns(data, self.threads))
        models = tuple(model.sha256 for model in self.references) + tuple(model.sha256 for model in candidates)
        return TimedRepetition(self.stored_session, taken_at, models, data)

    def cool(self, cooling: Callable[[], None]) -> None:
        """Wait until the device is below its temperature limit, where it has one, and nothing there holds it down for its heat.

        Raises UnstableConditions where it stays above the limit for 5 minutes. One that is held down is waited for for a minute: what is
        measured then has its verdict.
        """
        limit_c = math.inf if self.device.temperature_limit_c is None else self.device.temperature_limit_c
        began = time.monotonic()
        while True:
            now = self.session.conditions()
            hot, waited_s = now.temperature_c is not None and now.temperature_c > limit_c, time.monotonic() - began
            if hot and waited_s > _COOLING_LIMIT_S:
                raise UnstableConditions(
                    self.device.name,
                    f"still {now.temperature_c:.0f} C after {_COOLING_LIMIT_S:.0f} s, above its limit of {limit_c:.0f} C",
                    "cool it, or raise temperature_limit_c in devices.toml",
                )
            if not hot and (not stats.held_down(now) or waited_s > _HELD_DOWN_LIMIT_S):
                return
            cooling()
            time.sleep(_COOLING_STEP_S)
