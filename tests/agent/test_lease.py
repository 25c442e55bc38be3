from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from latency_agent.lease import EXPIRY_S, Busy, Lease


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "device.lease"


def age(path: Path, seconds: float) -> None:
    """Make the lease's last heartbeat so many seconds old."""
    held = json.loads(path.read_text())
    for holder in held["holders"].values():
        holder["heartbeat_ns"] = time.monotonic_ns() - round(seconds * 1e9)
    path.write_text(json.dumps(held))


def owner(path: Path) -> str:
    return str(json.loads(path.read_text())["owner"])


def test_a_held_lease_is_refused_with_its_owner_and_end(path: Path) -> None:
    Lease(path, "ann@desk", "one").acquire()
    age(path, 5)
    with pytest.raises(Busy, match=rf"ann@desk is measuring; .* ends in {EXPIRY_S - 5:.0f} s"):
        Lease(path, "bob@desk", "two").acquire()
    assert owner(path) == "ann@desk"


def test_a_lease_that_was_given_back_is_free(path: Path) -> None:
    first = Lease(path, "ann", "one")
    first.acquire()
    first.release()
    assert not path.exists()
    Lease(path, "bob", "two").acquire()
    assert owner(path) == "bob"


def test_a_lease_without_a_sign_of_life_is_taken_over(path: Path) -> None:
    Lease(path, "ann", "one").acquire()
    age(path, EXPIRY_S + 0.1)
    Lease(path, "bob", "two").acquire()
    assert owner(path) == "bob"


def test_a_refreshed_lease_is_not_taken_over(path: Path) -> None:
    first = Lease(path, "ann", "one")
    first.acquire()
    age(path, EXPIRY_S + 0.1)
    assert first.refresh()
    with pytest.raises(Busy):
        Lease(path, "bob", "two").acquire()


def test_a_lease_from_before_the_last_boot_is_taken_over(path: Path) -> None:
    Lease(path, "ann", "one").acquire()
    path.write_text(json.dumps(json.loads(path.read_text()) | {"boot_id": "another"}))
    Lease(path, "bob", "two").acquire()
    age(path, -(10**6))  # a heartbeat that is still to come
    Lease(path, "ann", "one").acquire()
    assert owner(path) == "ann"
    Lease(path, "ann", "one").acquire()
    age(path, -(10**6))
    Lease(path, "bob", "two").acquire()
    assert owner(path) == "bob"


def test_sessions_with_one_token_share_the_lease(path: Path) -> None:
    first, second = Lease(path, "ann", "one"), Lease(path, "ann", "one")
    first.acquire()
    second.acquire()
    assert first.refresh()
    assert second.refresh()


def test_a_shared_lease_is_there_until_the_last_gives_it_back(path: Path) -> None:
    first, second = Lease(path, "ann", "one"), Lease(path, "ann", "one")
    first.acquire()
    second.acquire()
    first.release()
    assert second.refresh()
    with pytest.raises(Busy):
        Lease(path, "bob", "two").acquire()
    second.release()
    assert not path.exists()


def test_a_holder_that_is_replaced_has_lost_the_lease(path: Path) -> None:
    first, second = Lease(path, "ann", "one"), Lease(path, "ann", "one")
    first.acquire()
    second.acquire(replaces=first.holder)
    assert not first.refresh()
    first.release()
    assert second.refresh()
    third = Lease(path, "bob", "two")
    with pytest.raises(Busy):
        third.acquire(replaces=second.holder)  # not without its token


def test_the_agent_that_is_replaced_is_ended(path: Path, tmp_path: Path) -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60; true latency_agent"]) as agent, subprocess.Popen(["sleep", "60"]) as stranger:
        for process in (agent, stranger):
            first = Lease(path, "ann", "one")
            first.acquire()
            held = json.loads(path.read_text())
            held["holders"][first.holder]["pid"] = process.pid
            path.write_text(json.dumps(held))
            Lease(path, "ann", "one").acquire(replaces=first.holder)
        assert agent.wait(5) == -signal.SIGKILL
        assert stranger.poll() is None
        stranger.kill()
    assert tmp_path.exists()


def test_a_disk_that_is_full_for_a_moment_costs_no_lease(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = Lease(path, "ann", "one")
    lease.acquire()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("json.dump", full)
        assert lease.refresh()
        lease._refreshed -= EXPIRY_S
        assert not lease.refresh()
    assert lease.refresh()
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(f"{path.name}.") and not file.name.endswith(".lock")] == []


def as_user(number: int, do: Callable[[], object]) -> int:
    """Do something as another user, under a umask that leaves others nothing; return 0, 2 where the lease is held, 1 for an error."""
    child = os.fork()
    if child == 0:
        try:
            os.umask(0o077)
            os.setgid(number)
            os.setuid(number)
            do()
            os._exit(0)
        except Busy:
            os._exit(2)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="to act as two users takes root: this test runs where root runs it")
def test_what_one_user_let_expire_another_takes_over() -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o1777)
    path = folder / "device.lease"
    ann, bob = Lease(path, "ann", "one"), Lease(path, "bob", "two")
    try:
        assert as_user(2001, ann.acquire) == 0
        assert as_user(2002, bob.acquire) == 2
        age(path, EXPIRY_S + 0.1)
        assert as_user(2002, bob.acquire) == 0
        assert owner(path) == "bob"
        assert as_user(2001, ann.acquire) == 2
        assert as_user(2002, bob.release) == 0  # the file stays, for it is the first user's
        assert as_user(2001, ann.acquire) == 0
        assert as_user(2001, ann.release) == 0
        assert not path.exists()
    finally:
        shutil.rmtree(folder)


def test_a_lost_lease_is_neither_refreshed_nor_released(path: Path) -> None:
    first = Lease(path, "ann", "one")
    first.acquire()
    age(path, EXPIRY_S + 0.1)
    Lease(path, "bob", "two").acquire()
    assert not first.refresh()
    first.release()
    assert owner(path) == "bob"


def test_a_lease_that_somebody_removed_is_lost(path: Path) -> None:
    lease = Lease(path, "ann", "one")
    lease.acquire()
    path.unlink()
    assert not lease.refresh()
    lease.release()
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"owner": "x"}',
        '{"owner": 1, "token": "t", "holders": {}, "boot_id": ""}',
        '{"owner": "x", "token": "t", "holders": {"h": 1}, "boot_id": ""}',
        "\x00\x01",
    ],
)
def test_a_file_that_no_lease_wrote_holds_nothing(path: Path, content: str) -> None:
    path.write_text(content)
    Lease(path, "bob", "two").acquire()
    assert owner(path) == "bob"


def test_bytes_that_are_no_text_hold_nothing(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\xff")
    Lease(path, "bob", "two").acquire()
    assert owner(path) == "bob"


def test_of_many_at_once_one_gets_the_lease(path: Path) -> None:
    def attempt(index: int) -> bool:
        try:
            Lease(path, f"owner {index}", f"token {index}").acquire()
        except Busy:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(40))) == 1


def test_a_link_in_the_place_of_the_lock_is_not_followed(path: Path, tmp_path: Path) -> None:
    Path(f"{path}.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"[Ss]ymbolic links"):
        Lease(path, "bob", "two").acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_nothing_is_left_beside_the_lease(path: Path) -> None:
    lease = Lease(path, "ann", "one")
    lease.acquire()
    assert lease.refresh()
    lease.release()
    assert [file.name for file in path.parent.iterdir()] == [f"{path.name}.lock"]
