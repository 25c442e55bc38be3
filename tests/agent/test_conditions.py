"""What a device tells of itself. Sensors, batteries and governors are files in a folder: the machines that run these tests have none."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from latency_agent import conditions
from latency_agent.protocol import Conditions


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    return tmp_path / "sys"


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    return tmp_path / "proc"


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def zones(sysfs: Path, *found: tuple[str, object]) -> None:
    for index, (kind, temperature) in enumerate(found):
        write(sysfs / f"class/thermal/thermal_zone{index}/type", kind)
        write(sysfs / f"class/thermal/thermal_zone{index}/temp", temperature)


def test_what_a_device_lacks_is_absent(sysfs: Path, proc: Path, tmp_path: Path) -> None:
    found = conditions.conditions(0, tmp_path, sysfs, proc)
    assert found == Conditions(found.monotonic_ns, None, None, None, None, None, None, found.free_disk_bytes)
    assert found.free_disk_bytes > 0


def test_what_a_device_has_is_told(sysfs: Path, proc: Path, tmp_path: Path) -> None:
    write(proc / "loadavg", "0.52 0.40 0.30 1/200 4242")
    write(proc / "meminfo", "MemTotal:  8000 kB\nMemAvailable:   6000 kB")
    write(sysfs / "devices/system/cpu/cpu3/cpufreq/scaling_governor", "performance")
    write(sysfs / "devices/system/cpu/cpu3/cpufreq/scaling_cur_freq", 2_400_000)
    zones(sysfs, ("cpu-thermal", 48_300))
    write(sysfs / "class/power_supply/usb/type", "USB")
    write(sysfs / "class/power_supply/battery/type", "Battery")
    write(sysfs / "class/power_supply/battery/capacity", 87)
    found = conditions.conditions(3, tmp_path, sysfs, proc)
    told = (0.52, "performance", 2_400_000, 48.3, 87, 6000 * 1024)
    assert told == (
        found.load_1min,
        found.governor,
        found.frequency_khz,
        found.temperature_c,
        found.battery_percent,
        found.available_memory_bytes,
    )


def test_the_hottest_zone_of_the_cpu_counts(sysfs: Path) -> None:
    zones(sysfs, ("battery", 90_000), ("cpu-0-0-usr", 41_000), ("cpu-1-0-usr", 55_500), ("modem", 70_000))
    assert conditions.temperature_c(sysfs) == 55.5


def test_what_a_phone_tells_of_its_cpus_counts_beside_the_zones_that_name_one(sysfs: Path) -> None:
    zones(sysfs, ("battery", 90_000), ("modem", 70_000))
    assert conditions.temperature_c(sysfs, (40.0, 41.5)) == 41.5
    zones(sysfs, ("battery", 90_000), ("cpu-0-0-usr", 43_000))
    assert conditions.temperature_c(sysfs, (40.0, 41.5)) == 43.0


@pytest.mark.parametrize(
    ("text", "name"),
    [("4:memory:/\n3:cpuset:/background\n", "/background"), ("2:cpu,cpuset:/a:b\n", "/a:b"), ("0::/uid_2000/pid_7\n", None), ("", None)],
)
def test_the_cpuset_is_told_where_the_kernel_names_it(proc: Path, text: str, name: str | None) -> None:
    assert conditions.cpuset(proc) is None
    write(proc / "self/cgroup", text)
    assert conditions.cpuset(proc) == name


def test_where_no_zone_names_a_cpu_the_hottest_of_all_counts(sysfs: Path) -> None:
    zones(sysfs, ("acpitz", 30_000), ("other", 35_000))
    assert conditions.temperature_c(sysfs) == 35.0


@pytest.mark.parametrize("nonsense", [-273_000, 200_000, "N/A"])
def test_a_sensor_that_is_off_does_not_count(sysfs: Path, nonsense: object) -> None:
    zones(sysfs, ("cpu", nonsense), ("acpitz", 30_000))
    assert conditions.temperature_c(sysfs) == 30.0


def test_steal_is_that_of_the_core(proc: Path) -> None:
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    write(proc / "stat", "cpu  1 1 1 1 1 1 1 99 0 0\ncpu1 1 1 1 1 1 1 1 5 0 0\ncpu10 1 1 1 1 1 1 1 7 0 0")
    assert conditions.steal_ns(1, proc) == 5 * tick_ns
    assert conditions.steal_ns(10, proc) == 7 * tick_ns
    assert conditions.steal_ns(2, proc) is None


def test_caches_are_told_by_level_and_not_those_of_instructions(sysfs: Path, proc: Path) -> None:
    write(sysfs / "devices/system/cpu/online", "0")
    for index, (level, kind, size) in enumerate(
        [(1, "Data", "32K"), (1, "Instruction", "64K"), (2, "Unified", "512K"), (3, "Unified", "8192K")]
    ):
        folder = sysfs / f"devices/system/cpu/cpu0/cache/index{index}"
        write(folder / "level", level)
        write(folder / "type", kind)
        write(folder / "size", size)
    found = conditions.facts((0,), sysfs, proc)
    assert (found.l2_bytes, found.last_level_cache_bytes) == (512 * 1024, 8192 * 1024)


def test_a_device_without_told_caches_has_none(sysfs: Path, proc: Path) -> None:
    found = conditions.facts((0,), sysfs, proc)
    assert (found.l2_bytes, found.last_level_cache_bytes) == (None, None)


def test_a_board_is_known_by_its_model_and_serial(sysfs: Path, proc: Path) -> None:
    write(proc / "device-tree/model", "Raspberry Pi 4 Model B\0")
    write(proc / "device-tree/serial-number", "10000000abcdef\0")
    found = conditions.facts((0,), sysfs, proc)
    assert "Raspberry Pi 4 Model B" in found.cpu_model
    assert "abcdef" not in str(found)
    write(proc / "device-tree/serial-number", "10000000abcdee\0")
    assert conditions.facts((0,), sysfs, proc).machine_id_sha256 != found.machine_id_sha256


def test_a_big_little_processor_names_both_models(sysfs: Path, proc: Path) -> None:
    write(
        proc / "cpuinfo",
        "processor : 0\nmodel name : Cortex-A55\nprocessor : 1\nmodel name : Cortex-A76\nprocessor : 2\nmodel name : Cortex-A76",
    )
    assert conditions.facts((0,), sysfs, proc).cpu_model == "Cortex-A55 / Cortex-A76"


def test_this_machine_tells_what_every_linux_tells() -> None:
    found = conditions.facts(os.sched_getaffinity(0))
    assert re.fullmatch("[0-9a-f]{64}", found.machine_id_sha256)
    assert found.memory_bytes > 2**28
    assert os.sched_getaffinity(0) == {core.index for core in found.cores if core.allowed}
    assert found == conditions.facts(os.sched_getaffinity(0))


def test_this_process_has_resident_memory_below_its_peak() -> None:
    assert 0 < conditions.memory_bytes("VmRSS") <= conditions.memory_bytes("VmHWM")
    with pytest.raises(OSError, match="VmNothing"):
        conditions.memory_bytes("VmNothing")


def test_the_firmware_of_a_raspberry_pi_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for vcgencmd, which asks firmware that no other machine has."""
    assert conditions.throttle_flags() is None
    program = tmp_path / "vcgencmd"
    program.write_text('#!/bin/sh\ntest "$1" = get_throttled && echo throttled=0x50005\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert conditions.throttle_flags() == 0x50005
    program.write_text("#!/bin/sh\necho VCHI initialization failed\n")
    assert conditions.throttle_flags() is None


def test_the_kernel_says_how_far_heat_holds_it_back(sysfs: Path) -> None:
    assert conditions.cooling_state(sysfs) is None
    for index, (kind, state) in enumerate((("Fan", 3), ("cpufreq-cpu0", 0), ("cpufreq-cpu2", 2))):
        write(sysfs / f"class/thermal/cooling_device{index}/type", kind)
        write(sysfs / f"class/thermal/cooling_device{index}/cur_state", state)
    assert conditions.cooling_state(sysfs) == 2
