"""The rig's own duties. Its thermometer is made up: no machine that runs these tests tells its temperature."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from harness.devices.inventory import Device
from harness.devices.session import Session
from harness.errors import UnstableConditions
from harness.measure import rig as measure_rig
from harness.measure.affinity import kept_off, other_cores
from harness.measure.context import REFERENCE_NAMES
from harness.measure.device_records import BASELINE_SESSIONS
from harness.measure.drift import References
from harness.measure.rig import Rig
from harness.measure.store import Store
from harness.measure.summary import Context
from latency_agent.protocol import Conditions
from tests.measure.test_stats_given import CONDITIONS

ALLOWED = os.sched_getaffinity(0)
several_cores = pytest.mark.skipif(len(ALLOWED) < 2, reason="nothing can be kept off the only core")


def affinities() -> dict[int, set[int]]:
    return {int(task.name): os.sched_getaffinity(int(task.name)) for task in Path("/proc/self/task").iterdir()}


def test_other_cores_are_those_that_are_not_measured_on() -> None:
    core = max(ALLOWED)
    assert set(other_cores([core])) == (ALLOWED - {core} or ALLOWED)
    assert set(other_cores(list(ALLOWED))) == ALLOWED


def test_a_machine_that_only_drives_others_is_asked_for_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    for call in ("sched_getaffinity", "sched_setaffinity"):
        monkeypatch.delattr(os, call)
    with kept_off(()):
        assert other_cores(()) == tuple(range(os.cpu_count() or 0))


@several_cores
def test_every_thread_is_kept_off_and_let_go() -> None:
    core, done = max(ALLOWED), threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    before = affinities()
    assert len(before) > 1
    with kept_off([core]):
        assert all(found == ALLOWED - {core} for found in affinities().values())
    assert affinities() == before
    done.set()
    thread.join()


@several_cores
def test_a_thread_that_ends_meanwhile_is_no_matter() -> None:
    stop = time.monotonic() + 1.0

    def restless() -> None:
        while time.monotonic() < stop:
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()

    starters = [threading.Thread(target=restless) for _ in range(3)]
    for starter in starters:
        starter.start()
    while time.monotonic() < stop:
        with kept_off([max(ALLOWED)]):
            pass
    for starter in starters:
        starter.join()
    assert os.sched_getaffinity(0) == ALLOWED


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path) as opened:
        yield opened


class Thermometer:
    """A session that tells conditions, one after the other, and the last one for ever."""

    def __init__(self, *told: Conditions) -> None:
        self.told = list(told)

    def conditions(self) -> Conditions:
        return self.told.pop(0) if len(self.told) > 1 else self.told[0]


def waits(store: Store, limit_c: float | None, *told: Conditions) -> int:
    """Return how often a device that tells these conditions was waited for."""
    waited: list[int] = []
    with Rig(Device("local", temperature_limit_c=limit_c), 1, store) as rig:
        real, rig.session = rig.session, cast(Session, Thermometer(*told))
        try:
            rig.cool(lambda: waited.append(1))
        finally:
            rig.session = real
    return len(waited)


def at(temperature_c: float, **told: Any) -> Conditions:
    return replace(CONDITIONS, temperature_c=temperature_c, **told)


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_rig, "_COOLING_STEP_S", 0.01)
    monkeypatch.setattr(measure_rig, "_COOLING_LIMIT_S", 0.1)
    monkeypatch.setattr(measure_rig, "_HELD_DOWN_LIMIT_S", 0.1)


@pytest.mark.usefixtures("_quick")
def test_a_hot_device_is_let_cool(store: Store) -> None:
    assert waits(store, 80.0, at(81.0), at(79.0)) == 1
    with pytest.raises(UnstableConditions, match="still 81 C"):
        waits(store, 80.0, at(81.0))


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("held", [{"cooling_state": 2}, {"throttle_flags": 0x4}, {"thermal_status": 1}])
def test_a_core_that_is_held_down_is_waited_for_but_not_for_ever(store: Store, held: dict[str, int]) -> None:
    assert waits(store, None, at(60.0, **held), at(60.0, **held), at(60.0)) == 2
    assert waits(store, None, at(60.0, **held)) >= 1
    assert waits(store, None, at(60.0, throttle_flags=0x40001)) == 0  # low voltage does not pass by waiting
    assert waits(store, None, at(60.0, battery_saver=True)) == 0  # nor does it end what the user has switched on


@pytest.mark.parametrize("limit_c", [None, 1.0])
def test_a_device_that_has_no_limit_or_no_thermometer_is_not_waited_for(store: Store, limit_c: float | None) -> None:
    with Rig(Device("local", temperature_limit_c=limit_c), 1, store) as rig:
        if limit_c is not None and rig.session.conditions().temperature_c is not None:
            pytest.skip("this machine has a thermometer")
        rig.cool(lambda: pytest.fail("waited"))


def test_what_is_measured_is_named_by_all_that_it_depends_on(store: Store) -> None:
    with Rig(Device("local"), 1, store) as rig:
        found = rig.subject(rig.references[0])
        assert found.fingerprint == rig.session.fingerprint
        assert found.cores == rig.session.placement.cores
        assert found.runtime_version == rig.session.hello.runtime_version
        assert found.model_sha256 == rig.references[0].sha256
        cold = rig.subject(rig.references[0], cold=True)
    assert cold.key() != found.key()
    assert found.key() == replace(found).key()


def test_a_rig_whose_agent_died_has_another_one_and_another_session(store: Store) -> None:
    with Rig(Device("local"), 1, store) as rig:
        before = rig.session.hello.pid, rig.stored_session
        os.kill(before[0], 9)
        rig.wait_for_return(lambda: None)
        assert rig.session.alive()
        assert rig.session.hello.pid != before[0]
        assert rig.stored_session != before[1]


def test_the_context_is_what_the_store_knows_now_and_knew_then(store: Store) -> None:
    with Rig(Device("local"), 1, store) as rig:
        wanted = rig.subject(rig.references[0])
        before = datetime.now(UTC)
        for _ in range(BASELINE_SESSIONS):
            assert rig.context(wanted, before) == Context(baseline=None, baseline_then=None, spread=None)
            rig._stored_session = None
            for name, median_ns in zip(REFERENCE_NAMES, (100.0, 300.0, 700.0), strict=True):
                store.add_reference(rig.stored_session, wanted, name, median_ns)
        after = datetime.now(UTC)
        known = References(100.0, 300.0, 700.0)
        assert rig.context(wanted, before) == Context(baseline=known, baseline_then=None, spread=None)
        assert rig.context(wanted, after) == Context(baseline=known, baseline_then=known, spread=None)
        assert rig.context(replace(wanted, cores=(77,)), after).baseline is None


def test_the_spread_is_that_of_the_device_and_its_settings(store: Store) -> None:
    with Rig(Device("local"), 1, store) as rig:
        wanted = rig.subject(rig.references[0])
        now = datetime.now(UTC)
        store.end_aa_test(wanted, 0.03, 40)
        assert rig.context(wanted, now).spread == 0.03
        assert rig.context(replace(wanted, runtime="other"), now).spread is None
