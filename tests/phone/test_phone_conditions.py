"""What a phone tells of itself, and what a hot, low or charging one does to a result."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli.main import cli
from harness.devices.inventory import Device
from harness.devices.session import Session
from harness.errors import AgentError
from harness.measure import rig as measure_rig
from harness.measure import stats
from harness.measure.benchmark import bench
from harness.measure.doctor import doctor
from harness.measure.result import Progress, Result
from harness.measure.store import Store
from tests.cli import tiny_models
from tests.devices.netns import allowed
from tests.devices.sshd import inventory
from tests.measure.quick import shorten
from tests.phone.asked import BACK, FIXED, HELD, SET, says, told
from tests.phone.phone import BIG, LITTLE, Phone

pytestmark = pytest.mark.skipif(not allowed(), reason="a phone's namespaces take root: these tests run where root runs them")


@pytest.fixture
def phone(quiet: Phone) -> Phone:
    return quiet


@pytest.fixture
def device(phone: Phone) -> Device:
    return Device("phone", transport="adb", serial=phone.serial)


def test_a_phone_tells_what_it_is(phone: Phone, device: Device) -> None:
    with Session.open(device) as session:
        facts, fingerprint = session.facts, session.fingerprint
        assert (facts.cpu_model, facts.os_build) == ("Google Pixel 8 (zuma)", "Android 14 (SDK 34, AP2A.240805.005)")
        assert (facts.cores[-1].capacity, facts.cores[-1].max_khz) == BIG
    says(phone, "getprop", "[37201", "[99999")
    with Session.open(device) as session:
        assert session.fingerprint != fingerprint
    assert told(phone) == []


def test_phones_are_told_apart_without_serial_numbers(phone: Phone, device: Device) -> None:
    (phone.root / "stand-in/getprop").write_text("[ro.serialno]: [unknown]\n")
    with pytest.raises(AgentError, match="its results could not be told from another phone's"):
        Session.open(device)
    android_id = phone.root / "stand-in/settings/secure android_id"
    android_id.write_text("a1b2c3d4e5f60718\n")
    with Session.open(device) as session:
        first = session.facts.machine_id_sha256
    android_id.write_text("a1b2c3d4e5f60719\n")
    with Session.open(device) as session:
        assert session.facts.machine_id_sha256 != first


def test_a_phone_tells_how_it_is(phone: Phone, device: Device) -> None:
    with Session.open(device) as session:
        now = session.conditions()
        assert (now.battery_percent, now.battery_c, now.charging, now.battery_saver) == (83, 32.6, True, False)
        assert (now.thermal_status, now.temperature_c, now.settings) == (0, 25.6, ())
        for name in ("battery", "thermalservice"):
            (phone.root / "stand-in/dumpsys" / name).unlink()
        (phone.root / "stand-in/settings/global low_power").write_text("1\n")
        now = session.conditions()
        assert (now.battery_percent, now.battery_c, now.charging, now.battery_saver) == (None, None, None, True)
        assert (now.thermal_status, now.temperature_c) == (None, None)
    assert told(phone) == []


class Bench:
    """Benchmarks of a small model on the phone, of three repetitions each."""

    def __init__(self, folder: Path, device: Device) -> None:
        self._folder, self.inventory, self.phases = folder, folder / "devices.toml", list[str]()
        self.inventory.write_text(inventory(device))
        (folder / "add.tflite").write_bytes(tiny_models.add())

    def __call__(self, **how: Any) -> Result:
        def look(now: Progress) -> None:
            self.phases.append(now.phase)

        model = self._folder / "add.tflite"
        (found,) = bench(model, interval=0.9, max_time_s=30, fresh=True, inventory=self.inventory, progress=look, **how)
        assert isinstance(found, Result), found
        return found


@pytest.fixture
def benchmark(tmp_path: Path, device: Device, monkeypatch: pytest.MonkeyPatch) -> Bench:
    shorten(monkeypatch, least=3)
    monkeypatch.setattr(measure_rig, "_HELD_DOWN_LIMIT_S", 0.5)
    monkeypatch.setattr(measure_rig, "_COOLING_STEP_S", 0.2)
    return Bench(tmp_path, device)


@pytest.mark.parametrize("saver", [False, True])
def test_a_phone_that_is_held_back_is_throttled(phone: Phone, benchmark: Bench, tmp_path: Path, saver: bool) -> None:
    if saver:
        (phone.root / "stand-in/settings/global low_power").write_text("1\n")
    else:
        says(phone, "dumpsys/thermalservice", "Thermal Status: 0", "Thermal Status: 2")
    found = benchmark()
    assert found.verdict in ("throttled", "unsteady")  # the worse of the two, where this machine makes it so
    with Store.open(tmp_path / "results") as store:
        assert all(stats.limited(one.data.before, one.data.after) for one in store.measurement(found.measurement_id).repetitions)
    assert ("battery saver was on, which holds it back" in found.warnings) is saver
    assert ("cooling" in benchmark.phases) is not saver  # heat passes by waiting


def test_a_hot_phone_is_waited_for(phone: Phone, tmp_path: Path, device: Device, benchmark: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    del benchmark
    monkeypatch.setattr(measure_rig, "_HELD_DOWN_LIMIT_S", 60.0)
    says(phone, "dumpsys/thermalservice", "Thermal Status: 0", "Thermal Status: 1")
    waits = 0

    def cool() -> None:
        nonlocal waits
        waits += 1
        says(phone, "dumpsys/thermalservice", "Thermal Status: 1", "Thermal Status: 0")

    with Store.open(tmp_path / "results") as store, measure_rig.Rig(device, 1, store) as rig:
        rig.cool(cool)
        assert waits == 1
        says(phone, "dumpsys/thermalservice", "mValue=25.6", "mValue=71.0")
        rig.device = replace(device, temperature_limit_c=70.0)

        def cool_down() -> None:
            nonlocal waits
            waits += 1
            says(phone, "dumpsys/thermalservice", "mValue=71.0", "mValue=69.0")

        rig.cool(cool_down)
    assert waits == 2


def test_a_result_says_that_the_phone_was_low_and_charging(phone: Phone, benchmark: Bench) -> None:
    says(phone, "dumpsys/battery", "level: 83", "level: 12")
    found = benchmark()
    assert found.settings == HELD
    assert [warning.partition(":")[0] for warning in found.warnings] == [
        "it was charging, which warms it",
        "its battery was at 12%",
    ]
    says(phone, "dumpsys/battery", "level: 12", "level: 100")
    says(phone, "dumpsys/battery", "status: 2", "status: 5")
    assert benchmark().warnings == ()


def test_the_doctor_looks_at_what_only_phones_have(phone: Phone, device: Device, tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text(inventory(device))
    count = os.cpu_count() or 1
    phone.write_cores({core: LITTLE if core < count else BIG for core in range(count + 2)})
    (phone.root / "stand-in/refusals" / f"{FIXED} true").write_text("Failed to set FIXED_PERFORMANCE mode\n")
    says(phone, "dumpsys/thermalservice", "Thermal Status: 0", "Thermal Status: 2")
    checks = doctor(inventory=tmp_path / "devices.toml")
    found = [(check.name, check.ok, check.found) for check in checks]
    assert ("settings", False, "fixed performance mode: Failed to set FIXED_PERFORMANCE mode") in found
    assert ("settings", True, "stay awake, forced idle") in found
    assert ("thermal status", False, "2 (moderate)") in found
    assert ("charging", False, "yes") in found
    assert ("battery saver", True, "off") in found
    (cpuset,) = (check for check in checks if check.name == "cpuset")
    assert cpuset.found.startswith(f"the big cores {count}-{count + 1} may not be used")
    assert all(check.advice for check in checks if check.ok is False)
    assert told(phone) == SET + [line for line in BACK if FIXED not in line]


def test_the_list_of_devices_shows_batteries_and_what_is_in_the_way(phone: Phone, device: Device, tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text(inventory(device))
    says(phone, "dumpsys/thermalservice", "Thermal Status: 0", "Thermal Status: 3")
    shown = CliRunner().invoke(cli, ["devices", "--inventory", str(tmp_path / "devices.toml")], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "83%, charging, 33 C" in shown.stdout
    assert "phone: its thermal status is 3 (severe); it is charging" in shown.stdout
    assert told(phone) == []
