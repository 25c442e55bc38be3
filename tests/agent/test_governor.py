"""The governor of a machine whose frequency files are files in a folder: those that run these tests have none."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.devices.provision import agent_archive
from latency_agent import governor
from latency_agent.governor import GovernorError, restore, set_governor

BECOME = ["env", "-"]  # as sudo, it runs the command that follows


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    for core, now in ((0, "powersave"), (1, "schedutil"), (2, "performance")):
        file(tmp_path, core).parent.mkdir(parents=True)
        file(tmp_path, core).write_text(f"{now}\n")
    return tmp_path


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return governor.journal_of(tmp_path, "own")


def file(sysfs: Path, core: int) -> Path:
    return sysfs / f"devices/system/cpu/cpu{core}/cpufreq/scaling_governor"


def found(sysfs: Path) -> list[str]:
    return [file(sysfs, core).read_text().strip() for core in range(3)]


@pytest.mark.parametrize("become", [[], BECOME])
def test_it_is_set_and_put_back(sysfs: Path, journal: Path, become: list[str]) -> None:
    set_governor((1, 2), "performance", become, journal, sysfs)
    assert found(sysfs) == ["powersave", "performance", "performance"]
    restore(journal, become)
    assert found(sysfs) == ["powersave", "schedutil", "performance"]
    assert not journal.exists()


def test_what_an_agent_that_is_gone_left_is_put_back(sysfs: Path, journal: Path, tmp_path: Path) -> None:
    left = governor.journal_of(tmp_path, "gone")
    set_governor((1,), "performance", [], left, sysfs)
    set_governor((0,), "performance", [], journal, sysfs)
    governor.restore_left(tmp_path, journal, [])
    assert found(sysfs) == ["performance", "schedutil", "performance"]
    assert not left.exists()
    assert journal.exists()


def test_what_an_agent_that_still_runs_set_stays(sysfs: Path, journal: Path, tmp_path: Path) -> None:
    other = governor.journal_of(tmp_path, "other")
    set_governor((1,), "performance", [], other, sysfs)
    with subprocess.Popen(["sh", "-c", "echo up; sleep 60; true latency_agent"], stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        agent.stdout.readline()  # for a moment after its exec a process has no command line
        other.write_text(json.dumps(json.loads(other.read_text()) | {"pid": agent.pid}))
        governor.restore_left(tmp_path, journal, [])
        agent.kill()
    assert found(sysfs)[1] == "performance"
    assert other.exists()


@pytest.mark.parametrize("text", ["", "{", "{}", '{"boot_id": "x"}'])
def test_a_journal_that_was_cut_short_is_dropped(sysfs: Path, journal: Path, text: str) -> None:
    journal.write_text(text)
    restore(journal, [])
    assert not journal.exists()
    assert found(sysfs) == ["powersave", "schedutil", "performance"]


def test_a_journal_from_before_a_restart_changes_nothing(sysfs: Path, journal: Path) -> None:
    set_governor((1,), "performance", [], journal, sysfs)
    noted = json.loads(journal.read_text())
    journal.write_text(json.dumps(noted | {"boot_id": "another"}))
    restore(journal, [])
    assert found(sysfs)[1] == "performance"
    assert not journal.exists()


def test_a_core_without_a_governor_has_nothing_to_set(sysfs: Path, journal: Path) -> None:
    set_governor((2, 7), "performance", [], journal, sysfs)
    assert not journal.exists()


def test_a_refusal_is_told(sysfs: Path, journal: Path) -> None:
    with pytest.raises(GovernorError, match=r"cpu1/cpufreq/scaling_governor cannot be set to performance: it stays schedutil"):
        set_governor((1,), "performance", ["true"], journal, sysfs)
    with pytest.raises(GovernorError, match="cannot be set by no-such-sudo"):
        set_governor((1,), "performance", ["no-such-sudo"], journal, sysfs)


def test_root_writes_no_other_file(tmp_path: Path, journal: Path) -> None:
    target = tmp_path / "passwd"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    journal.write_text(json.dumps({"boot_id": boot_id, "governors": {str(target): "root"}}))
    with pytest.raises(GovernorError, match="is no governor"):
        restore(journal, [])
    assert not target.exists()


def test_the_guard_puts_it_back_when_the_agent_was_killed(sysfs: Path, journal: Path) -> None:
    set_governor((1,), "performance", BECOME, journal, sysfs)
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
