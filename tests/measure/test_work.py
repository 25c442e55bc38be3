from __future__ import annotations

from concurrent.futures import Future

from harness.convert.model import Model
from harness.errors import Offline
from harness.measure.result import FailedResult
from harness.measure.work import WINDOW, Job, Work


def jobs(count: int, *, converted: bool = True) -> list[Job]:
    made = []
    for number in range(count):
        future: Future[Model] = Future()
        if converted:
            future.set_result(None)  # type: ignore[arg-type]
        made.append(Job(f"m{number}", future))
    return made


def taken(work: Work, active: int = 0) -> list[str]:
    names: list[str] = []
    while (job := work.take(active + len(names))) is not None:
        names.append(job.name)
    return names


def test_so_many_models_take_turns_and_no_more() -> None:
    work = Work(jobs(20))
    assert taken(work) == [f"m{number}" for number in range(WINDOW)]
    assert taken(work, WINDOW - 1) == [f"m{WINDOW}"]
    assert work.unclaimed == 20 - WINDOW - 1


def test_what_is_converted_first_is_taken_first() -> None:
    waiting = jobs(3, converted=False)
    work = Work(waiting)
    assert work.take(0) is None
    waiting[2].converting.set_result(None)  # type: ignore[arg-type]
    work.wait(10.0)
    assert taken(work) == ["m2"]


def test_sharers_leave_one_another_something() -> None:
    work = Work(jobs(4), sharers=2)
    assert taken(work) == ["m0", "m1"]
    assert taken(work) == ["m2"]
    assert taken(work) == ["m3"]


def test_what_a_sharer_had_is_begun_anew_by_another() -> None:
    work = Work(jobs(2), sharers=2)
    job = work.take(0)
    assert job is not None
    job.benchmark, job.spent_s = 7, 3.0
    assert work.leave("first", [job], Offline("first", "gone")) == ()
    assert [value for value in (job.benchmark, job.outcome) if value is not None] == []
    assert job.spent_s == 0.0
    assert taken(work) == ["m0", "m1"]
    assert not work.abandoned


def test_what_the_last_device_leaves_has_failed_by_its_error() -> None:
    work = Work(jobs(2))
    job = work.take(0)
    assert job is not None
    assert [one.name for one in work.leave("pi4", [job], Offline("pi4", "gone", "plug it in"))] == ["m0", "m1"]
    assert [one.outcome for one in work.jobs] == [FailedResult(f"m{number}", "pi4", "pi4: gone\nplug it in") for number in (0, 1)]
    assert (work.abandoned, work.done, work.take(0)) == (True, 2, None)
