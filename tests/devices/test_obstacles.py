from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.devices.obstacles import barred_cores, obstacles, thermal
from latency_agent.protocol import Conditions, Core, Facts, Placement

NOW = Conditions(0, None, None, None, None, None, None, 0)
CAPACITIES = (250, 250, 250, 250, 700, 700, 1024, 1024)


def phone(allowed: set[int], cpuset: str | None = None, capacities: tuple[int | None, ...] = CAPACITIES) -> Facts:
    cores = tuple(Core(index, capacity, None, (index,), index in allowed) for index, capacity in enumerate(capacities))
    return Facts("", "", cores, "", "", 0, None, None, cpuset)


def on(core: int) -> Placement:
    return Placement((core,), "largest cpu_capacity", None)


def test_bigger_cores_that_may_not_be_used_are_named() -> None:
    assert barred_cores(phone({0, 1, 2, 3}, "/background"), on(3)) == "the big cores 4-7 may not be used (cpuset /background)"
    assert barred_cores(phone({0, 5, 6}), on(5)) == "the big core 7 may not be used"
    assert barred_cores(phone({0, 4, 6}), on(4)) == "the big core 7 may not be used"
    assert barred_cores(phone({0, 1, 4, 6}), on(0)) == "the big cores 5,7 may not be used"


def test_smaller_and_equal_cores_are_not_missed() -> None:
    assert barred_cores(phone({7}), on(7)) is None
    assert barred_cores(phone({0}, capacities=(None, None)), on(0)) is None


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({}, []),
        ({"battery_percent": 21, "charging": False, "thermal_status": 0, "battery_saver": False}, []),
        ({"battery_percent": 20, "charging": True}, ["it is charging", "its battery is at 20%"]),
        ({"thermal_status": 2, "battery_saver": True}, ["its thermal status is 2 (moderate)", "battery saver is on"]),
    ],
)
def test_what_is_in_the_way_is_told(told: dict[str, Any], words: list[str]) -> None:
    assert list(obstacles(phone({7}), on(7), replace(NOW, **told))) == words


def test_a_thermal_status_has_its_name() -> None:
    assert [thermal(status) for status in (0, 6, 7)] == ["0 (none)", "6 (shutdown)", "7"]
