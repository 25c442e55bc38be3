from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import phone_agent, phones
from latency_agent.protocol import Repetition
from tests.measure.test_stats_given import chunk, repetition

GOVERNOR = "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor"
FIXED, IDLE = "cmd power set-fixed-performance-mode-enabled", "dumpsys deviceidle"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files of a phone by which its settings are told."""
    files = {GOVERNOR: "sched_pixel\n", "stand-in/told": "", "stand-in/settings/global stay_on_while_plugged_in": "0\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("told", "changed"),
    [
        ("", []),
        ("dumpsys battery\nsettings get global low_power", []),
        (f"{FIXED} true\n{IDLE} force-idle", [f"{FIXED} true", f"{IDLE} force-idle"]),
        (f"{FIXED} true\n{IDLE} force-idle\n{FIXED} false\n{IDLE} unforce", []),
    ],
)
def test_what_a_phone_was_told_last_is_its_setting(root: Path, told: str, changed: list[str]) -> None:
    (root / "stand-in/told").write_text(told)
    assert phones.changed_settings(root) == changed


def test_what_settings_keep_is_a_setting(root: Path) -> None:
    (root / "stand-in/settings/global stay_on_while_plugged_in").write_text("7")
    assert phones.changed_settings(root) == ["global stay_on_while_plugged_in 7"]


def test_a_governor_that_was_left_is_a_setting(root: Path) -> None:
    (root / GOVERNOR).write_text("performance")
    assert phones.changed_settings(root) == ["cpu1 performance"]


def taken(*chunks: tuple[int, int]) -> Repetition:
    """A worker's chunks, each with its moment and its latency; 0 is one in which it was stopped."""
    latencies = [latency or 10**9 for _, latency in chunks]
    made = [chunk([latency] * 3, discarded_ns=(latency,)) for latency in latencies]
    return repetition(*(replace(one, start_ns=moment) for one, (moment, _) in zip(made, chunks, strict=True)))


def test_neighbouring_turns_are_compared() -> None:
    a = taken((0, 990), (5, 1010), (10, 0), (20, 1000), (25, 0), (40, 2300), (45, 2000), (46, 1990), (48, 0), (60, 2000))
    b = taken((8, 0), (10, 1300), (15, 1100), (17, 1090), (20, 0), (30, 1650), (35, 0), (50, 2200), (55, 0), (70, 5000))
    first, second = (phone_agent.turns(one, 0.1) for one in (a, b))
    assert first == [(0, 1000), (20, 1000), (40, 2000), (60, 2000)]
    assert phone_agent.ratio(first, second) == pytest.approx(1.1, rel=0.001)
