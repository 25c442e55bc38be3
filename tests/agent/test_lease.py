from __future__ import annotations

import json
import time
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
    path.write_text(json.dumps(held | {"heartbeat_ns": time.monotonic_ns() - round(seconds * 1e9)}))


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


@pytest.mark.parametrize("changed", [{"boot_id": "another"}, {"heartbeat_ns": time.monotonic_ns() + 10**15}])
def test_a_lease_from_before_the_last_boot_is_taken_over(path: Path, changed: dict[str, object]) -> None:
    Lease(path, "ann", "one").acquire()
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    Lease(path, "bob", "two").acquire()
    assert owner(path) == "bob"


def test_sessions_with_one_token_share_the_lease(path: Path) -> None:
    first, second = Lease(path, "ann", "one"), Lease(path, "ann", "one")
    first.acquire()
    second.acquire()
    assert first.refresh()
    assert second.refresh()


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
    ["", "{", "null", "[]", "{}", '{"owner": "x"}', '{"owner": 1, "token": "t", "heartbeat_ns": 1, "boot_id": ""}', "\x00\x01"],
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
