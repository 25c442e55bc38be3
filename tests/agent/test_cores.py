"""Which core is chosen. Phones and boards are a /sys tree in a folder: no machine that runs these tests has big and little cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latency_agent.cores import CoreError, parse_cpu_list, pin, place, read_cores, read_int, read_text
from latency_agent.protocol import Core, Placement

T = TypeVar("T")


def write(sysfs: Path, path: str, text: object) -> None:
    file = sysfs / "devices/system/cpu" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """Return the /sys of a phone: 4 little cores, 3 middle ones, the big one fifth."""
    write(tmp_path, "online", "0-7")
    clusters = [((0, 1, 2, 3), 300, 1_800_000), ((5, 6, 7), 700, 2_300_000), ((4,), 1024, 2_800_000)]
    for cluster, capacity, khz in clusters:
        for core in cluster:
            write(tmp_path, f"cpu{core}/cpu_capacity", capacity)
            write(tmp_path, f"cpu{core}/cpufreq/cpuinfo_max_freq", khz)
            write(tmp_path, f"cpu{core}/cpufreq/related_cpus", " ".join(map(str, cluster)))
            write(tmp_path, f"cpu{core}/cpufreq/scaling_governor", "schedutil")
    return tmp_path


def chosen(sysfs: Path, threads: int = 1, wanted: int | None = None, allowed: tuple[int, ...] = tuple(range(8))) -> Placement:
    return place(read_cores(allowed, sysfs), threads, wanted, sysfs)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0-1,4,6-7", (0, 1, 4, 6, 7)), ("4 5 6", (4, 5, 6)), ("", ()), ("10-11\n", (10, 11))],
)
def test_a_kernel_list_names_cpus(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@given(st.sets(st.integers(0, 300)))
def test_a_kernel_list_of_single_cpus_is_read_back(cpus: set[int]) -> None:
    assert parse_cpu_list(",".join(map(str, sorted(cpus)))) == tuple(sorted(cpus))


def test_what_the_kernel_tells_of_a_core_is_read(phone: Path) -> None:
    assert read_cores((4, 5), phone)[4] == Core(index=4, capacity=1024, max_khz=2_800_000, cluster=(4,), allowed=True)
    assert read_cores((4, 5), phone)[0] == Core(index=0, capacity=300, max_khz=1_800_000, cluster=(0, 1, 2, 3), allowed=False)


def test_what_the_kernel_does_not_tell_is_none(tmp_path: Path) -> None:
    assert read_cores((2, 0), tmp_path) == tuple(Core(index, None, None, (index,), allowed=True) for index in (0, 2))


def test_cores_that_are_off_line_are_no_cores(phone: Path) -> None:
    write(phone, "online", "0-3,5-7")
    assert 4 not in {core.index for core in read_cores(range(8), phone)}
    assert chosen(phone).cores == (7,)


def test_numbers_that_are_none_are_absent(tmp_path: Path) -> None:
    write(tmp_path, "cpu0/cpu_capacity", "<unknown>")
    assert read_int(tmp_path / "devices/system/cpu/cpu0/cpu_capacity") is None
    assert read_text(tmp_path / "nothing") is None


def test_the_core_with_the_largest_capacity_is_chosen(phone: Path) -> None:
    assert chosen(phone) == Placement(cores=(4,), chosen_by="largest cpu_capacity", governor="schedutil")


def test_without_capacities_the_highest_frequency_decides(phone: Path) -> None:
    for core in range(8):
        (phone / f"devices/system/cpu/cpu{core}/cpu_capacity").unlink()
    assert chosen(phone) == Placement(cores=(4,), chosen_by="highest maximum frequency", governor="schedutil")


def test_where_the_kernel_tells_of_no_difference_the_result_says_so(tmp_path: Path) -> None:
    write(tmp_path, "online", "0-3")
    placement = chosen(tmp_path)
    assert placement.cores == (3,)
    assert "any allowed core" in placement.chosen_by
    assert placement.governor is None


def test_only_allowed_cores_are_chosen(phone: Path) -> None:
    assert chosen(phone, allowed=(0, 1, 5)).cores == (5,)


def test_threads_share_the_cluster_of_the_biggest_core(phone: Path) -> None:
    assert chosen(phone, threads=3, allowed=(0, 1, 2, 5, 6, 7)).cores == (7, 6, 5)


def test_a_cluster_too_small_for_the_threads_is_passed_over(phone: Path) -> None:
    placement = chosen(phone, threads=2)
    assert placement.cores == (7, 6)
    assert placement.chosen_by == "largest cpu_capacity in a cluster of 2"
    assert chosen(phone, threads=4).cores == (3, 2, 1, 0)


def test_more_threads_than_any_cluster_has_cores_are_refused(phone: Path) -> None:
    with pytest.raises(CoreError, match=r"5 threads need 5 cores of one cluster; the largest has 4; allowed: 0, 1, 2"):
        chosen(phone, threads=5)


def test_more_threads_than_the_cluster_of_the_named_core_has_are_refused(phone: Path) -> None:
    with pytest.raises(CoreError, match=r"2 threads need 2 cores of one cluster; core 4's has 1; allowed: 0, 1, 2"):
        chosen(phone, threads=2, wanted=4)


def test_forbidden_neighbours_do_not_count(phone: Path) -> None:
    with pytest.raises(CoreError, match=r"3 threads.*the largest has 2; allowed: 0, 5, 6"):
        chosen(phone, threads=3, allowed=(0, 5, 6))


def test_the_core_that_the_user_names_is_taken(phone: Path) -> None:
    placement = chosen(phone, threads=2, wanted=1)
    assert placement.cores == (1, 3)
    assert placement.chosen_by == "named by the user"


def test_a_forbidden_core_is_refused_with_those_that_are_allowed(phone: Path) -> None:
    with pytest.raises(CoreError, match=r"core 4 may not be used; allowed: 0, 5$"):
        chosen(phone, wanted=4, allowed=(0, 5))


def in_a_thread(work: Callable[[], T]) -> T:
    """Run `work` where a changed affinity ends with it."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


def test_pin_tells_the_affinity_that_the_kernel_gave() -> None:
    core = max(os.sched_getaffinity(0))
    assert in_a_thread(lambda: (pin([core]), os.sched_getaffinity(0))) == ((core,), {core})


def test_a_core_that_the_kernel_refuses_is_named_with_those_that_are_allowed() -> None:
    allowed = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    with pytest.raises(CoreError, match=rf"cores \[1023\] may not be used \(Invalid argument\); allowed: {allowed}$"):
        in_a_thread(lambda: pin([1023]))


def test_this_machine_has_a_core_to_measure_on() -> None:
    allowed = os.sched_getaffinity(0)
    assert set(place(read_cores(allowed), 1).cores) <= allowed
