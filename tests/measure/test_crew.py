from __future__ import annotations

import threading
from itertools import count

import pytest

from harness.errors import DeviceBusy, Offline
from harness.measure import crew as crew_module
from harness.measure.crew import Crew, Stopped

WAIT_S = 10.0


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew_module, "_AGAIN_S", 0.01)


def busy() -> None:
    raise DeviceBusy("pi4", "someone is measuring")


def test_one_alone_is_not_patient_and_runs_in_the_callers_thread() -> None:
    crew = Crew(1)
    threads = []

    def part() -> None:
        threads.append(threading.current_thread())
        crew.patiently(busy, (DeviceBusy,), lambda _: None)

    with pytest.raises(DeviceBusy):
        crew.run([part], lambda: None)
    assert threads == [threading.current_thread()]


def test_a_device_is_tried_as_long_as_another_measures() -> None:
    crew = Crew(2)
    tried, ended = count(), threading.Event()

    def waiting() -> None:
        def attempt() -> None:
            if next(tried) == 5:
                ended.set()
            busy()

        crew.patiently(attempt, (DeviceBusy,), lambda _: None)

    with pytest.raises(DeviceBusy):
        crew.run([waiting, lambda: ended.wait(WAIT_S)], lambda: None)
    assert next(tried) >= 6


def test_other_errors_are_not_waited_out() -> None:
    crew = Crew(2)
    ended = threading.Event()

    def fails() -> None:
        raise Offline("pi4", "gone")

    with pytest.raises(Offline):
        crew.run([lambda: crew.patiently(fails, (DeviceBusy,), lambda _: None), lambda: ended.wait(WAIT_S)], ended.set)


def test_two_that_wait_for_each_other_both_give_up() -> None:
    crew = Crew(2)
    tries = [count(), count()]

    def part(number: int) -> None:
        def attempt() -> None:
            next(tries[number])
            busy()

        crew.patiently(attempt, (DeviceBusy,), lambda _: None)

    with pytest.raises(DeviceBusy):
        crew.run([lambda: part(0), lambda: part(1)], lambda: None)


def test_what_fails_one_part_ends_the_others() -> None:
    crew = Crew(2)
    interrupted = threading.Event()
    seen: list[bool] = []

    def measuring() -> None:
        seen.append(interrupted.wait(WAIT_S))
        crew.check()

    def failing() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        crew.run([measuring, failing], interrupted.set)
    assert seen == [True]
    with pytest.raises(Stopped):
        crew.check()


def test_a_benchmark_is_taken_up_once_in_a_call() -> None:
    crew = Crew(2)
    assert crew.take_up(lambda: 3, lambda: 4) == 3
    assert crew.take_up(lambda: 3, lambda: 4) == 4
    assert crew.take_up(lambda: None, lambda: 5) == 5
    assert [crew.has_taken_up(number) for number in (3, 4, 5, 6)] == [True, True, True, False]
