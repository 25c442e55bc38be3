from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from harness.measure.drift import References
from harness.measure.result import VERDICTS
from harness.measure.samples import Measurement, TimedRepetition
from harness.measure.summary import Context, Estimate, candidate_index, estimate, summarise
from latency_agent.protocol import Repetition
from tests.measure.test_stats_given import around, benchmarked, chunk, repetition
from tests.measure.test_store_given import MODELS, PROVENANCE, SOLO, SUBJECT

NOTHING_KNOWN = Context(baseline=None, baseline_then=None, spread=None)
USUAL = References(200_000.0, 200_000.0, 500_000.0)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def sound(seed: int, latency_ns: float = 100_000, **how: float) -> Repetition:
    return benchmarked(latency_ns, seed, **how)


def disturbed(seed: int, latency_ns: float = 130_000) -> Repetition:
    """Return a repetition of which a fifth was disturbed."""
    good = sound(seed, latency_ns)
    lost = [20_000 if index % 5 == 0 else 0 for index in range(120)]
    return repetition(*good.chunks[:2], chunk(around(latency_ns, seed), lost_ns=lost))


def unsteady(seed: int) -> Repetition:
    good = sound(seed)
    return repetition(*good.chunks[:2], chunk(np.concatenate([around(100_000, seed), around(120_000, seed)])))


def stored(data: Sequence[Repetition]) -> tuple[TimedRepetition, ...]:
    return tuple(TimedRepetition("session", NOW, MODELS, one) for one in data)


def judged(data: Sequence[Repetition], context: Context = NOTHING_KNOWN) -> Estimate:
    return estimate(stored(data), MODELS[2], 1, context)


def measurement(data: Sequence[Repetition]) -> Measurement:
    return Measurement(7, SUBJECT, PROVENANCE, NOW, SOLO, "within 1e-05 of Keras", stored(data))


def test_a_candidate_that_is_a_reference_model_is_found_among_the_candidates() -> None:
    taken = TimedRepetition("s", NOW, (MODELS[0], MODELS[1], MODELS[2], MODELS[0]), sound(1))
    assert candidate_index(taken, MODELS[0]) == 3
    assert candidate_index(taken, MODELS[2]) == 2


def test_sound_repetitions_are_all_used() -> None:
    found = judged([sound(seed) for seed in range(5)])
    assert found.used == found.judged
    assert found.flaw is None
    assert found.interval.centre == pytest.approx(100_000, rel=1e-3)


def test_a_flawed_repetition_is_left_out() -> None:
    found = judged([sound(1), disturbed(2), sound(3), unsteady(4), sound(5)])
    assert [one.flaws for one in found.judged] == [(), ("disturbed",), (), ("unsteady",), ()]
    assert [one.flaws for one in found.used] == [(), (), ()]
    assert found.flaw is None
    assert found.interval.centre == pytest.approx(100_000, rel=1e-3)


def test_where_most_repetitions_are_flawed_all_count_and_the_result_says_so() -> None:
    found = judged([sound(1), sound(2), sound(3), *(disturbed(seed) for seed in range(4, 8))])
    assert len(found.used) == 7
    assert found.flaw == "disturbed"
    assert found.interval.centre > 110_000


def test_where_fewer_than_3_repetitions_are_sound_all_count() -> None:
    found = judged([sound(1), sound(2), disturbed(3)])
    assert len(found.used) == 3
    assert found.flaw == "disturbed"


def test_of_several_flaws_the_common_one_is_told_and_of_equals_the_worst() -> None:
    assert judged([disturbed(1), disturbed(2), unsteady(3)]).flaw == "disturbed"
    assert judged([disturbed(1), unsteady(2)]).flaw == "unsteady"


def test_verdicts_go_from_best_to_worst() -> None:
    assert VERDICTS == ("steady", "interval_not_reached", "disturbed", "drifted", "throttled", "unsteady")


def test_an_interval_within_the_asked_one_is_steady() -> None:
    found = judged([sound(seed, 100_000 + 100 * seed) for seed in range(5)])
    reached = found.interval.half_width
    assert reached is not None
    assert found.verdict(reached * 1.001) == "steady"
    assert found.verdict(reached * 0.999) == "interval_not_reached"


def test_without_an_interval_none_is_reached() -> None:
    assert judged([sound(1), sound(2)]).verdict(asked=10.0) == "interval_not_reached"


def test_a_flaw_is_worse_than_a_wide_interval() -> None:
    found = judged([disturbed(seed, 100_000 + 10_000 * seed) for seed in range(5)])
    assert found.verdict(asked=1e-9) == "disturbed"
    assert found.verdict(asked=10.0) == "disturbed"


def test_without_a_baseline_references_are_held_against_their_own_median() -> None:
    found = judged([*(sound(seed) for seed in range(4)), sound(5, reference_ns=230_000)])
    assert [one.flaws for one in found.judged] == [(), (), (), (), ("drifted",)]


def test_with_a_baseline_references_are_held_against_what_it_was_then() -> None:
    slow = [sound(seed, reference_ns=230_000) for seed in range(5)]
    assert judged(slow).flaw is None
    assert judged(slow, replace(NOTHING_KNOWN, baseline_then=USUAL)).flaw == "drifted"
    assert judged(slow, replace(NOTHING_KNOWN, baseline=USUAL)).flaw is None


def test_the_correction_removes_the_slowdown_that_the_references_saw() -> None:
    slow = [sound(seed, 105_000, reference_ns=210_000) for seed in range(5)]
    found = summarise(measurement(slow), replace(NOTHING_KNOWN, baseline=USUAL), from_store=False)
    assert found.latency_ms == pytest.approx(0.105, rel=1e-3)
    assert found.latency_corrected_ms == pytest.approx(0.100, rel=1e-3)
    assert found.reference_drift == pytest.approx(0.05, abs=1e-3)


def test_without_a_baseline_nothing_is_corrected() -> None:
    found = summarise(measurement([sound(seed) for seed in range(5)]), NOTHING_KNOWN, from_store=False)
    assert found.latency_corrected_ms is None
    assert found.reference_drift is None


def test_an_interval_says_what_it_speaks_for() -> None:
    data = measurement([sound(seed) for seed in range(5)])
    minutes, visits = (summarise(data, replace(NOTHING_KNOWN, spread=spread), from_store=False) for spread in (None, 0.05))
    assert (minutes.interval_scope, visits.interval_scope) == ("these minutes", "visits")
    assert minutes.interval_ms is not None
    assert visits.interval_ms is not None
    low, high = visits.interval_ms
    assert low < minutes.interval_ms[0] <= minutes.latency_ms <= minutes.interval_ms[1] < high
    assert (high - low) / 2 / visits.latency_ms == pytest.approx(1.96 * 0.05, rel=0.02)


def test_fewer_than_3_repetitions_have_no_interval() -> None:
    found = summarise(measurement([sound(1), sound(2)]), NOTHING_KNOWN, from_store=False)
    assert found.interval_ms is None
    assert found.verdict == "interval_not_reached"


def test_a_result_is_judged_by_what_it_was_measured_for_unless_asked_otherwise() -> None:
    data = measurement([sound(seed, 100_000 + 500 * seed) for seed in range(5)])
    assert summarise(data, NOTHING_KNOWN, from_store=True).verdict == "steady"
    assert summarise(data, NOTHING_KNOWN, from_store=True, asked=0.001).verdict == "interval_not_reached"


def test_what_was_disturbed_is_counted_over_all_repetitions() -> None:
    found = summarise(measurement([sound(1), disturbed(2), sound(3), sound(4)]), NOTHING_KNOWN, from_store=False)
    assert found.disturbed_share == pytest.approx(24 / 480)
    assert (found.runs, found.processes) == (480, 4)


def test_percentiles_are_of_the_undisturbed_samples() -> None:
    wall = [*range(100_000, 100_100), *[900_000] * 20]
    data = repetition(*sound(1).chunks[:2], chunk(wall, lost_ns=[0] * 100 + [800_000] * 20))
    found = summarise(measurement([data] * 3), NOTHING_KNOWN, from_store=False)
    assert found.min_ms == 0.1
    assert found.min_ms < found.p5_ms < found.latency_ms < found.p90_ms < found.p95_ms < found.p99_ms < 0.1001


def test_a_result_tells_where_it_comes_from() -> None:
    found = summarise(measurement([sound(1)]), NOTHING_KNOWN, from_store=True)
    assert (found.from_store, found.measurement_id, found.measured_at) == (True, 7, NOW)
    assert (found.model, found.sha256, found.device, found.precision) == ("net", MODELS[2], "pi4", "float32")
    assert (found.init_ms, found.first_ms) == (9e-6, 8e-6)
    assert found.numbers == "within 1e-05 of Keras"


@pytest.mark.parametrize(("delegated", "warned"), [(None, False), (0, True), (5, True), (6, False), (12, False)])
def test_a_model_that_the_delegate_hardly_takes_is_warned_of(delegated: int | None, warned: bool) -> None:
    data = replace(measurement([sound(1)]), solo=replace(SOLO, delegated_nodes=delegated, total_nodes=12))
    found = summarise(data, NOTHING_KNOWN, from_store=False)
    assert bool([warning for warning in found.warnings if f"{delegated} of 12" in warning]) is warned


def test_a_precision_that_one_visit_cannot_give_is_warned_of() -> None:
    data = measurement([sound(seed) for seed in range(5)])
    (warning,) = summarise(data, replace(NOTHING_KNOWN, spread=0.05), from_store=False, asked=0.02).warnings
    assert "varies by 5.0%" in warning
    assert summarise(data, replace(NOTHING_KNOWN, spread=0.001), from_store=False, asked=0.02).warnings == ()


def under(data: Repetition, before: dict[str, Any], after: dict[str, Any] | None = None) -> Repetition:
    """Return a repetition before and after which the device was so."""
    return replace(data, before=replace(data.before, **before), after=replace(data.after, **(before if after is None else after)))


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ({}, {}, []),
        ({"charging": False, "battery_percent": 21, "battery_saver": False}, None, []),
        ({"charging": False}, {"charging": True}, ["it was charging"]),
        ({"battery_percent": 22}, {"battery_percent": 20}, ["its battery was at 20%"]),
        ({"battery_saver": True, "battery_percent": 5, "charging": True}, None, ["it was charging", "at 5%", "battery saver was on"]),
    ],
)
def test_what_the_battery_may_have_done_is_warned_of(before: dict[str, Any], after: dict[str, Any] | None, words: list[str]) -> None:
    data = [sound(1), under(sound(2), before, after), sound(3)]
    found = summarise(measurement(data), NOTHING_KNOWN, from_store=False).warnings
    assert len(found) == len(words)
    assert all(word in warning for word, warning in zip(words, found, strict=True))


def test_what_was_set_all_the_while_is_told() -> None:
    both, one = {"settings": ("stay awake", "fixed performance mode")}, {"settings": ("stay awake",)}
    assert (
        summarise(measurement([under(sound(1), both), under(sound(2), both)]), NOTHING_KNOWN, from_store=False).settings == both["settings"]
    )
    assert summarise(measurement([under(sound(1), both), under(sound(2), one)]), NOTHING_KNOWN, from_store=False).settings == (
        "stay awake",
    )
    assert summarise(measurement([sound(1)]), NOTHING_KNOWN, from_store=False).settings == ()
