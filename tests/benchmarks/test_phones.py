from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import phone_agent, phones
from latency_agent.protocol import Repetition
from tests.measure.test_stats_given import chunk, repetition

CORE = "sys/devices/system/cpu/cpu1/cpufreq"
MODE = "cmd power set-fixed-performance-mode-enabled"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The files of a phone that tell its settings."""
    files = {f"{CORE}/scaling_governor": "sched_pixel", f"{CORE}/scaling_cur_freq": "1", "stand-in/told": ""}
    for name, text in {**files, "stand-in/settings/global low_power": "0\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_files_and_modes_are_settings(root: Path) -> None:
    before = {(f"{CORE}/scaling_governor", "sched_pixel"), ("stand-in/settings/global low_power", "0")}
    assert phones.settings(root) == before
    told = root / "stand-in/told"
    told.write_text(f"dumpsys battery\n{MODE} true\ndumpsys deviceidle force-idle\n")
    assert phones.settings(root) == before | {(MODE, "true"), ("dumpsys deviceidle", "force-idle")}
    told.write_text(told.read_text() + f"{MODE} false\ndumpsys deviceidle unforce\n")
    assert phones.settings(root) == before


def test_a_restart_ends_modes(root: Path) -> None:
    before = phones.settings(root)
    (root / "stand-in/told").write_text(f"{MODE} true\n")
    phones.forget_modes(root)
    assert phones.settings(root) == before


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
