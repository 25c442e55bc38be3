"""What a reader of results must know beside their numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.text import Text

from harness.measure.result import Result
from harness.report import numbers

_FEW = 4
"""What holds for more results than this is said of them together."""


def remarks(results: Sequence[Result]) -> Iterator[Text]:
    """Yield what a reader must know beside the numbers: warnings, notes, how the outputs compared, what came from the store.

    What holds for many results is said once.
    """
    devices = {result.device for result in results}
    names: dict[tuple[str, str], list[str]] = {}
    for result in results:
        for remark in _remarks(result, brief=len(results) > _FEW):
            names.setdefault(remark, []).append(result.model if len(devices) == 1 else f"{result.model} on {result.device}")
    for (text, style), models in names.items():
        if len(models) > _FEW:
            models = ["all" if len(models) == len(results) else f"{', '.join(models[:_FEW])} and {len(models) - _FEW} more"]  # noqa: PLW2901
        for model in models:
            yield Text.assemble((f"{model}: ", "dim"), (text, style))


def _remarks(result: Result, *, brief: bool) -> Iterator[tuple[str, str]]:
    """Yield what there is to say of one result, each with its style."""
    for warning in result.warnings:
        yield warning, "yellow"
    if result.note is not None:
        yield result.note, ""
    if result.settings:
        yield f"measured with {', '.join(result.settings)}", ""
    if result.core_chosen_by.startswith("any allowed core"):
        yield f"core {result.core} is {result.core_chosen_by}", ""
    if result.latency_corrected_ms is not None and result.reference_drift is not None:
        corrected, drift = numbers.time(result.latency_corrected_ms), numbers.signed_share(result.reference_drift)
        follows = "" if result.elasticity is None else f", of which this model follows {result.elasticity:.2f}"
        yield f"{corrected} corrected: the mobile reference model ran {drift} from its baseline{follows}", ""
    if result.interval_ms is None:
        yield "no interval: it takes 3 processes", ""
    elif result.interval_scope != "visits":
        how = "" if result.cold else ": `harness aa` finds how much visits differ"
        yield f"the interval speaks for {result.interval_scope} only{how}", ""
    if brief and result.numbers.startswith("within "):  # what is not within its tolerance is a failure
        yield f"outputs within the tolerance at {result.precision}", ""
    else:
        yield f"outputs {result.numbers}", ""
    if result.from_store:
        yield f"from the store, measured {result.measured_at.astimezone():%Y-%m-%d %H:%M}; --fresh measures again", ""
