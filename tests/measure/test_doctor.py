"""The doctor on this machine, and its checks on devices that no machine here is: conditions and chunks made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.errors import ConfigError
from harness.measure import doctor as checks
from harness.measure.doctor import doctor
from harness.measure.result import Check
from latency_agent.protocol import Conditions, Repetition
from tests.measure.test_stats_given import CONDITIONS, around, chunk, repetition

NAMES = ("core", "governor", "temperature", "battery", "other load", "steadiness", "steal", "clock", "runtime", "memory", "free disk")


@pytest.fixture(scope="module")
def found() -> tuple[Check, ...]:
    return doctor()


def test_every_check_is_there(found: tuple[Check, ...]) -> None:
    assert tuple(check.name for check in found) == NAMES


def test_every_check_says_what_it_found_and_what_to_do(found: tuple[Check, ...]) -> None:
    assert all(check.found for check in found)
    assert all(check.advice for check in found if check.ok is False)
    assert not any(check.advice for check in found if check.ok)


def test_the_runtime_is_named_with_its_delegate(found: tuple[Check, ...]) -> None:
    (runtime,) = [check for check in found if check.name == "runtime"]
    assert runtime.ok
    assert "ai-edge-litert" in runtime.found
    assert "operators delegated" in runtime.found


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        doctor("nowhere")


def at(**told: object) -> Conditions:
    return replace(CONDITIONS, **told)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("check", "ok", "words"),
    [
        (checks._governor(at()), None, "no frequency governor"),
        (checks._governor(at(governor="performance")), True, "performance"),
        (checks._governor(at(governor="powersave")), False, "powersave"),
        (checks._governor(at(governor="sched_pixel"), phone=True), False, "sched_pixel"),
        (checks._governor(at(governor="sched_pixel", settings=("fixed performance mode",)), phone=True), True, "in fixed performance mode"),
        (checks._temperature(at(), 70), None, "no thermal zone"),
        (checks._temperature(at(temperature_c=70.0), 70), True, "70 C"),
        (checks._temperature(at(temperature_c=70.1), 70), False, "70 C"),
        (checks._battery(at()), True, "none"),
        (checks._battery(at(battery_percent=30)), True, "30%"),
        (checks._battery(at(battery_percent=29)), False, "29%"),
        (checks._memory(at()), None, "does not tell"),
        (checks._memory(at(available_memory_bytes=1 << 30)), True, "1.0 GiB"),
        (checks._memory(at(available_memory_bytes=1 << 28)), False, "0.2 GiB"),
        (checks._disk(at(free_disk_bytes=1 << 30)), True, "1.0 GiB"),
        (checks._disk(at(free_disk_bytes=(1 << 30) - 1)), False, "1.0 GiB"),
    ],
)
def test_a_check_judges_what_the_device_tells(check: Check, ok: bool | None, words: str) -> None:
    assert check.ok is ok
    assert words in check.found
    assert bool(check.advice) or ok is not False


def test_what_only_phones_tell_is_looked_at_where_it_is_told() -> None:
    assert [*checks._heat(at()), *checks._power(at())] == []
    cool, full, unsaved = *checks._heat(at(thermal_status=0)), *checks._power(at(charging=False, battery_saver=False))
    assert all(check.ok and not check.advice for check in (cool, full, unsaved))
    hot, charging, saved = *checks._heat(at(thermal_status=4)), *checks._power(at(charging=True, battery_saver=True))
    assert hot.found == "4 (critical)"
    assert all(check.ok is False and check.advice for check in (hot, charging, saved))


def quiet() -> Repetition:
    return repetition(*(chunk(around(100_000, seed)) for seed in range(20)))


def test_a_quiet_core_is_well() -> None:
    assert checks._load(quiet()).ok
    assert checks._steadiness(quiet()).ok


def test_other_load_is_seen() -> None:
    busy = repetition(*(chunk(around(100_000, seed), lost_ns=[5_000] * 4 + [0] * 116) for seed in range(20)))
    found = checks._load(busy)
    assert found.ok is False
    assert found.found.startswith("3.3% of samples disturbed")


def test_an_unsteady_machine_is_seen() -> None:
    found = checks._steadiness(repetition(*(chunk(around(100_000 + 10_000 * (seed % 2), seed)) for seed in range(20))))
    assert found.ok is False


@pytest.mark.parametrize(("stolen_ns", "ok"), [(None, None), (0, True), (2_000_000, True), (3_000_000, False)])
def test_a_core_that_is_shared_with_other_machines_is_seen(stolen_ns: int | None, ok: bool | None) -> None:
    chunks = [replace(one, steal_ns=stolen_ns) for one in quiet().chunks]
    assert checks._steal(replace(repetition(*chunks), wall_ns=2_000_000_000)).ok is ok
