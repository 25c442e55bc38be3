"""What is set on a phone while it is measured, and put back however that ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.devices.inventory import Device
from harness.devices.session import Session
from harness.errors import AgentError, DeviceError
from tests.devices.netns import allowed
from tests.phone.asked import BACK, FIXED, HELD, LASTING_BACK, SET, told
from tests.phone.phone import Phone

pytestmark = pytest.mark.skipif(not allowed(), reason="a phone's namespaces take root: these tests run where root runs them")


@pytest.fixture
def phone(quiet: Phone) -> Phone:
    return quiet


@pytest.fixture
def device(phone: Phone) -> Device:
    return Device("phone", transport="adb", serial=phone.serial)


@contextmanager
def measuring(device: Device) -> Iterator[Session]:
    with Session.open(device) as session:
        session.acquire()
        yield session


def stay_on(phone: Phone) -> str:
    return (phone.root / "stand-in/settings/global stay_on_while_plugged_in").read_text().strip()


def journals(phone: Phone) -> list[Path]:
    return list((phone.root / "data/local/tmp/.latency-harness").glob("settings-*.json"))


def kill(phone: Phone, role: str) -> None:
    (pid,) = (pid for pid, line in phone.processes().items() if f".pyz {role} " in line and not line.startswith("sh "))
    os.kill(pid, signal.SIGKILL)


def end_lease(phone: Phone) -> None:
    """Take away the lease of an agent that was killed, as if it had expired."""
    (phone.root / "data/local/tmp/latency-harness.lease").unlink()


def until_put_back(phone: Phone) -> None:
    deadline = time.monotonic() + 10
    while journals(phone):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_phone_is_calmed_and_put_back(phone: Phone, device: Device) -> None:
    with measuring(device) as session:
        assert (session.settings.held, session.settings.refused) == (HELD, ())
        assert session.conditions().settings == HELD
        assert (stay_on(phone), told(phone)) == ("7", SET)
    assert (stay_on(phone), told(phone)) == ("0", SET + BACK)
    assert journals(phone) == []


@pytest.mark.parametrize(
    ("before", "back"),
    [("3", ["settings put global stay_on_while_plugged_in 3"]), (None, ["settings delete global stay_on_while_plugged_in"])],
)
def test_what_was_there_is_put_back(phone: Phone, device: Device, before: str | None, back: list[str]) -> None:
    kept = phone.root / "stand-in/settings/global stay_on_while_plugged_in"
    if before is None:
        kept.unlink()
    else:
        kept.write_text(f"{before}\n")
    with measuring(device):
        assert stay_on(phone) == "7"
    assert told(phone) == SET + back + BACK[1:]
    assert (kept.read_text().strip() if kept.exists() else None) == before


def test_a_phone_is_put_back_when_its_agent_is_killed(phone: Phone, device: Device) -> None:
    with measuring(device):
        kill(phone, "serve")
        until_put_back(phone)
    assert (stay_on(phone), told(phone)) == ("0", SET + BACK)
    end_lease(phone)


def test_a_phone_is_put_back_by_the_next_session_when_its_guard_was_killed_too(phone: Phone, device: Device) -> None:
    with measuring(device):
        kill(phone, "guard")
        kill(phone, "serve")
    assert (stay_on(phone), told(phone)) == ("7", SET)
    end_lease(phone)
    with measuring(device):
        assert told(phone) == SET + BACK + SET
    assert (stay_on(phone), told(phone)) == ("0", SET + BACK + SET + BACK)


def test_a_value_that_no_phone_has_keeps_nothing_else_from_being_put_back(phone: Phone, device: Device) -> None:
    with measuring(device):
        kill(phone, "guard")
        kill(phone, "serve")
    (journal,) = journals(phone)
    written = journal.read_text()
    journal.write_text(written.replace('"stay awake": "0"', '"stay awake": "0; reboot"'))
    end_lease(phone)
    with pytest.raises(AgentError, match="stay_on_while_plugged_in was never 0; reboot"), measuring(device):
        pass
    assert told(phone) == SET + BACK[1:]
    journal.write_text(written)
    with measuring(device):
        assert told(phone) == SET + BACK[1:] + BACK + SET


def test_a_phone_that_lost_its_power_is_put_back_as_far_as_that_lasts(phone: Phone, device: Device) -> None:
    session = Session.open(device)
    session.acquire()
    phone.kill()
    with pytest.raises(DeviceError):
        session.conditions()
    session.close()
    assert (stay_on(phone), told(phone), len(journals(phone))) == ("7", SET, 1)
    phone.start()
    with measuring(device):
        assert told(phone) == SET + LASTING_BACK + SET
    assert (stay_on(phone), journals(phone)) == ("0", [])


def test_what_a_phone_refuses_is_told_and_not_put_back(phone: Phone, device: Device) -> None:
    says_no = "Failed to set FIXED_PERFORMANCE mode"
    (phone.root / "stand-in/refusals" / f"{FIXED} true").write_text(
        f"{says_no}\nThis is likely because Power HAL AIDL is not implemented\n"
    )
    (phone.root / "stand-in/dumpsys/deviceidle force-idle").write_text("Unable to go deep idle; not enabled\n")
    (phone.root / "stand-in/answers/svc power stayon true").write_text("")  # does nothing: an administrator forbids it
    with measuring(device) as session:
        assert session.settings.held == session.conditions().settings == ()
        assert session.settings.refused == (
            "stay awake: stay_on_while_plugged_in stays 0",
            f"fixed performance mode: {says_no}",
            "forced idle: Unable to go deep idle; not enabled",
        )
    assert told(phone) == SET


def test_a_phone_that_does_not_tell_what_to_put_back_is_left_as_it_is(phone: Phone, device: Device) -> None:
    (phone.root / "stand-in/answers" / SET[0]).write_text("java.lang.SecurityException: Permission denial\n")
    with measuring(device) as session:
        assert session.settings.held == HELD[1:]
        assert session.settings.refused == ("stay awake: what it is now is not told",)
    assert told(phone) == [SET[0], *SET[3:], *BACK[1:]]


def test_a_rooted_phone_is_locked_to_a_frequency_and_let_go(phone: Phone, device: Device) -> None:
    core = max(os.sched_getaffinity(0))
    files = [phone.root / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_{name}" for name in ("governor", "min_freq", "max_freq")]
    for file in files:
        os.chown(file, 2000, 2000)  # and so `env` may do what `su 0` would

    def seen() -> list[str]:
        return [file.read_text().strip() for file in files]

    rooted = replace(device, become="env", frequency_khz=1_200_000)
    before = seen()
    with measuring(rooted) as session:
        assert seen() == ["performance", "1200000", "1200000"]
        assert session.placement.governor == "performance at 1200000 kHz"
        assert session.settings.held == ("performance governor at 1200000 kHz", *HELD)
        kill(phone, "serve")
        until_put_back(phone)
    assert seen() == before
    end_lease(phone)
    with (
        pytest.raises(AgentError, match=r"core \d+ does not run at 3000000 kHz; it does from 300000 to 2900000\n.*frequency_khz"),
        measuring(replace(rooted, frequency_khz=3_000_000)),
    ):
        pass
    assert seen() == before
