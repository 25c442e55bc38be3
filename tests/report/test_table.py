from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.console import Console, RenderableType

from harness.measure.result import VERDICTS
from harness.report import device_tables, table
from harness.report import remarks as report_remarks
from tests.report import given

METRICS = (
    "latency",
    "95% interval",
    "p90",
    "minimum",
    "init",
    "first run",
    "peak memory",
    "model size",
    "runs x processes",
    "disturbed",
    "delegated nodes",
    "verdict",
)
VALUES = (
    "3.412 ms ±0.94%",
    "3.380 - 3.444 ms",
    "3.600 ms",
    "3.300 ms",
    "21.40 ms",
    "12.20 ms",
    "61.3 MB",
    "14.0 MB",
    "2400 x 5",
    "2.1%",
    "65 of 66",
    "steady",
)


def printed(what: RenderableType, width: int = 200) -> str:
    console = Console(width=width, highlight=False, markup=False)
    with console.capture() as capture:
        console.print(what)
    return capture.get()


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("count", [1, 3])
def test_all_that_was_measured_is_in_the_table_at_any_width(width: int, count: int) -> None:
    results = [given.result(model=f"model_{index}.tflite") for index in range(count)]
    text = printed(table.results_table(results, Console(width=width)), width)
    for word in (*METRICS, *VALUES, "ai-edge-litert 2.3.0", "local", "float32", "1 thread on core 1"):
        assert word in text
    assert all(f"model_{index}.tflite" in text for index in range(count))
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text


def test_what_is_unknown_is_said() -> None:
    result = given.result(interval_ms=None, delegated_nodes=None, verdict="interval_not_reached")
    text = printed(table.results_table([result], Console(width=80)))
    for word in ("no interval", "unknown", "interval not reached"):
        assert word in text


def test_brackets_in_a_name_are_no_markup() -> None:
    assert "[red]x.tflite" in printed(table.results_table([given.result(model="[red]x.tflite")], Console(width=80)))


def remarks(**changes: object) -> str:
    return "\n".join(remark.plain for remark in report_remarks.remarks([given.result(**changes)]))


def test_notes_warnings_and_the_comparison_of_outputs_are_printed() -> None:
    text = remarks()
    for words in (
        "reference kernels ran part of the model",
        "random weights",
        "outputs within 1e-03 of Keras",
        "3.301 ms corrected",
        "the mobile reference model ran +3.4% from its baseline, of which this model follows 0.92",
    ):
        assert words in text
    assert "from the store" not in text


def test_a_core_that_was_not_chosen_for_its_size_is_told() -> None:
    said = "any allowed core: the kernel tells of no difference"
    assert f"core 1 is {said}" in remarks(core=1, core_chosen_by=said)
    assert "core 1" not in remarks(core=1)


def test_what_was_set_on_the_device_is_said() -> None:
    assert "measured with stay awake, forced idle" in remarks(settings=("stay awake", "forced idle"))
    assert "measured with" not in remarks()


def test_where_there_is_no_interval_the_reason_is_printed() -> None:
    assert "no interval: it takes 3 processes" in remarks(interval_ms=None)


def test_an_interval_without_the_spread_between_visits_says_what_it_speaks_for() -> None:
    assert "the interval speaks for these minutes only: `harness aa`" in remarks(interval_scope="these minutes")
    assert "harness aa" not in remarks(interval_scope="these minutes", cold=True)  # which knows no --cold
    assert "speaks for" not in remarks()
    assert "speaks for" not in remarks(interval_scope="these minutes", interval_ms=None)


def test_an_answer_from_the_store_says_so_with_its_date() -> None:
    text = remarks(from_store=True, measured_at=datetime(2026, 11, 22, 12, tzinfo=UTC))
    assert "from the store, measured 2026-11-2" in text
    assert "--fresh" in text


def test_what_holds_for_many_is_said_once() -> None:
    many = [
        given.result(model=f"net{number}", device=device, note="slow" if number == 3 else None) for number in range(5) for device in "ab"
    ]
    said = [remark.plain for remark in report_remarks.remarks(many)]
    assert "all: outputs within the tolerance at float32" in said
    assert said[-2:] == ["net3 on a: slow", "net3 on b: slow"]
    assert len(said) == len(set(said)) < len(many)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_each_verdict_has_words(verdict: str) -> None:
    assert "_" not in table.verdict(given.result(verdict=verdict).verdict).plain


def test_a_comparison_has_both_sides_and_the_sentence() -> None:
    text = printed(table.comparison_table(given.comparison()))
    for words in ("a.tflite", "b.tflite", "3.400 ms", "3.740 ms", "1.1000", "1.0900 - 1.1100", "120 pairs in 5 processes", "10.0% slower"):
        assert words in text


def test_an_aa_report_has_rate_difference_and_spread() -> None:
    text = printed(table.aa_table(given.aa_report()))
    for words in ("2 of 40 (5.0%", "0.6%", "1.1% over 8 visits"):
        assert words in text


def test_checks_say_what_to_do_where_they_failed() -> None:
    text = printed(device_tables.checks_table(given.checks()))
    for words in ("End what else runs.", "Virtual machines have none.", "core 1, capacity 1024", "1 of 3 checks failed"):
        assert words in text
    assert "never printed" not in text
    assert "fit to measure on" in printed(device_tables.checks_table(given.checks()[:2]))


def test_stored_benchmarks_are_rows_and_failures_too() -> None:
    text = printed(table.stored_table(given.stored()))
    for words in ("mobilenet_v2", "3.412 ms", "3.380 - 3.444 ms", "2026-11-22 18:30", "broken.tflite", "it is empty"):
        assert words in text
    assert "nan" not in text.lower()
    assert "<NA>" not in text
