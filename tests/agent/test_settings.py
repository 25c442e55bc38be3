"""What a session sets of a machine whose frequency files are files in a folder: those that run these tests have none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.devices.provision import agent_archive
from latency_agent import settings
from latency_agent.cpufreq import FrequencyError, GovernorError
from latency_agent.install import NotDone, remove
from latency_agent.lease import Lease
from latency_agent.protocol import Settings
from latency_agent.settings import hold, restore

BECOME = ["env", "-"]  # as sudo, it runs the command that follows
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@pytest.fixture(autouse=True)
def _no_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "_GUARD_TIMEOUT_S", 0.1)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    for core, now in ((0, "powersave"), (1, "schedutil"), (2, "performance")):
        write(tmp_path, core, "scaling_governor", now)
        write(tmp_path, core, "cpuinfo_min_freq", 300_000)
        write(tmp_path, core, "cpuinfo_max_freq", 2_000_000)
        write(tmp_path, core, "scaling_min_freq", 300_000)
        write(tmp_path, core, "scaling_max_freq", 2_000_000)
    return tmp_path


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return settings.journal_of(tmp_path, "own")


def file(sysfs: Path, core: int, name: str = "scaling_governor") -> Path:
    return sysfs / f"devices/system/cpu/cpu{core}/cpufreq/{name}"


def write(sysfs: Path, core: int, name: str, value: object) -> None:
    file(sysfs, core, name).parent.mkdir(parents=True, exist_ok=True)
    file(sysfs, core, name).write_text(f"{value}\n")


def found(sysfs: Path) -> list[str]:
    return [file(sysfs, core).read_text().strip() for core in range(3)]


def limits(sysfs: Path, core: int) -> tuple[int, ...]:
    return tuple(int(file(sysfs, core, f"scaling_{end}_freq").read_text()) for end in ("min", "max"))


@pytest.mark.parametrize("become", [[], BECOME])
def test_the_governor_is_set_and_put_back(sysfs: Path, journal: Path, become: list[str]) -> None:
    assert hold(journal, cores=(1, 2), become=become, sysfs=sysfs) == Settings(("performance governor",), ())
    assert found(sysfs) == ["powersave", "performance", "performance"]
    restore(journal, become)
    assert found(sysfs) == ["powersave", "schedutil", "performance"]
    assert not journal.exists()


@pytest.mark.parametrize("become", [[], BECOME])
@pytest.mark.parametrize("before", [(300_000, 2_000_000), (300_000, 600_000), (1_800_000, 2_000_000), (900_000, 900_000)])
def test_a_frequency_is_locked_and_let_go(sysfs: Path, journal: Path, become: list[str], before: tuple[int, int]) -> None:
    for end, khz in zip(("min", "max"), before, strict=True):
        write(sysfs, 1, f"scaling_{end}_freq", khz)
    made = hold(journal, cores=(1,), frequency_khz=900_000, become=become, sysfs=sysfs)
    assert made == Settings(("performance governor at 900000 kHz",), ())
    assert limits(sysfs, 1) == (900_000, 900_000)
    assert limits(sysfs, 0) == (300_000, 2_000_000)
    restore(journal, become)
    assert limits(sysfs, 1) == before
    assert found(sysfs)[1] == "schedutil"


@pytest.mark.parametrize("before", [(300_000, 2_000_000), (300_000, 600_000), (1_800_000, 2_000_000)])
def test_the_least_frequency_never_exceeds_the_most(sysfs: Path, journal: Path, tmp_path: Path, before: tuple[int, int]) -> None:
    """A stand-in for a kernel that refuses such a limit: older ones do."""
    kernel = tmp_path / "kernel"
    kernel.write_text(
        '#!/bin/sh\ncat > "$2.new"; mv "$2.new" "$2"; cd "$(dirname "$2")"\n'
        'test "$(cat scaling_min_freq)" -le "$(cat scaling_max_freq)" || { echo crossed >&2; exit 1; }\n'
    )
    kernel.chmod(0o755)
    for end, khz in zip(("min", "max"), before, strict=True):
        write(sysfs, 1, f"scaling_{end}_freq", khz)
    hold(journal, cores=(1,), frequency_khz=900_000, become=[str(kernel)], sysfs=sysfs)
    restore(journal, [str(kernel)])
    assert limits(sysfs, 1) == before


def test_a_frequency_that_a_core_does_not_run_at_is_refused_with_those_it_does(sysfs: Path, journal: Path) -> None:
    with pytest.raises(FrequencyError, match=r"core 1 does not run at 2100000 kHz; it does from 300000 to 2000000"):
        hold(journal, cores=(1,), frequency_khz=2_100_000, sysfs=sysfs)
    write(sysfs, 1, "scaling_available_frequencies", "2000000 900000 300000")
    with pytest.raises(FrequencyError, match=r"core 1 does not run at 950000 kHz; it does at 300000, 900000, 2000000"):
        hold(journal, cores=(1,), frequency_khz=950_000, sysfs=sysfs)
    with pytest.raises(FrequencyError, match="core 7 has no frequency that can be set"):
        hold(journal, cores=(7,), frequency_khz=900_000, sysfs=sysfs)
    assert (found(sysfs)[1], limits(sysfs, 1), journal.exists()) == ("schedutil", (300_000, 2_000_000), False)


def test_limits_that_heat_has_lowered_are_not_taken_for_the_users(sysfs: Path, journal: Path) -> None:
    cooling = sysfs / "class/thermal/cooling_device0"
    cooling.mkdir(parents=True)
    (cooling / "type").write_text("thermal-cpufreq-0\n")
    (cooling / "cur_state").write_text("2\n")
    with pytest.raises(FrequencyError, match="heat holds its frequency down"):
        hold(journal, cores=(1,), frequency_khz=900_000, sysfs=sysfs)
    hold(journal, cores=(1,), sysfs=sysfs)


def test_what_an_agent_that_is_gone_left_is_put_back(sysfs: Path, journal: Path, tmp_path: Path) -> None:
    left = settings.journal_of(tmp_path, "gone")
    hold(left, cores=(1,), sysfs=sysfs)
    left.write_text(json.dumps(json.loads(left.read_text()) | {"started": "1"}))  # its pid is another process's by now
    hold(journal, cores=(0,), sysfs=sysfs)
    settings.restore_left(tmp_path, journal, [])
    assert found(sysfs) == ["performance", "schedutil", "performance"]
    assert not left.exists()
    assert journal.exists()


def test_what_an_agent_left_is_put_back_before_its_folder_goes(sysfs: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    left = settings.journal_of(root, "gone")
    hold(left, cores=(1,), become=BECOME, sysfs=sysfs)
    left.write_text(json.dumps(json.loads(left.read_text()) | {"started": "1"}))
    lease = Lease(tmp_path / "lease", "tests", "token")
    with pytest.raises(NotDone, match="cannot be set by no-such-sudo"):
        remove(root, lease, ["no-such-sudo"])
    assert root.exists()
    remove(root, lease, BECOME)
    assert found(sysfs)[1] == "schedutil"
    assert not root.exists()


def test_what_an_agent_that_still_runs_set_stays(sysfs: Path, journal: Path, tmp_path: Path) -> None:
    other = settings.journal_of(tmp_path, "other")
    hold(other, cores=(1,), sysfs=sysfs)
    with subprocess.Popen(["sleep", "60"]) as agent:
        noted = json.loads(other.read_text()) | {"pid": agent.pid, "started": settings._started(agent.pid)}
        other.write_text(json.dumps(noted))
        settings.restore_left(tmp_path, journal, [])
        assert found(sysfs)[1] == "performance"
        assert other.exists()
        agent.kill()
    settings.restore_left(tmp_path, journal, [])
    assert found(sysfs)[1] == "schedutil"


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", '{"boot_id": "x"}', '{"files": [], "phone": {}}', '{"files": {"a": 1}, "phone": {}}']
)
def test_a_journal_that_was_cut_short_is_dropped(sysfs: Path, journal: Path, text: str) -> None:
    journal.write_text(text)
    restore(journal, [])
    assert not journal.exists()
    assert found(sysfs) == ["powersave", "schedutil", "performance"]


def test_a_journal_from_before_a_restart_changes_no_governor(sysfs: Path, journal: Path) -> None:
    hold(journal, cores=(1,), sysfs=sysfs)
    noted = json.loads(journal.read_text())
    journal.write_text(json.dumps(noted | {"boot_id": "another"}))
    restore(journal, [])
    assert found(sysfs)[1] == "performance"
    assert not journal.exists()


def test_a_core_without_a_governor_has_nothing_to_set(sysfs: Path, journal: Path) -> None:
    assert hold(journal, cores=(7,), sysfs=sysfs) == Settings((), ())
    hold(journal, cores=(2, 7), sysfs=sysfs)
    assert not journal.exists()


def test_a_refusal_is_told(sysfs: Path, journal: Path) -> None:
    with pytest.raises(GovernorError, match=r"cpu1/cpufreq/scaling_governor cannot be set to performance: it stays schedutil"):
        hold(journal, cores=(1,), become=["true"], sysfs=sysfs)
    with pytest.raises(GovernorError, match="cannot be set by no-such-sudo"):
        hold(journal, cores=(1,), become=["no-such-sudo"], sysfs=sysfs)


@pytest.mark.parametrize(("name", "value"), [("passwd", "root"), ("cpufreq/scaling_max_freq", "root"), ("cpufreq/scaling_governor", "a b")])
def test_root_writes_nothing_else(tmp_path: Path, journal: Path, name: str, value: str) -> None:
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    boot_id = BOOT_ID.read_text().strip()
    journal.write_text(json.dumps({"boot_id": boot_id, "pid": os.getpid(), "files": {str(target): value}, "phone": {}}))
    with pytest.raises(GovernorError, match="is no governor or frequency that may be set to"):
        restore(journal, [])
    assert not target.exists()


def test_the_guard_puts_it_back_when_the_agent_was_killed(sysfs: Path, journal: Path) -> None:
    hold(journal, cores=(1,), become=BECOME, sysfs=sysfs)
    script = (
        "import subprocess, sys, time; "
        "print(subprocess.Popen([sys.executable, '-I', sys.argv[1], 'guard', '--journal', sys.argv[2], '--', 'env', '-'],"
        " stdin=subprocess.PIPE, start_new_session=True).pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(agent_archive()), str(journal)], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()
        time.sleep(0.2)
        assert found(sysfs)[1] == "performance"
        agent.kill()
    deadline = time.monotonic() + 10
    while journal.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found(sysfs)[1] == "schedutil"
