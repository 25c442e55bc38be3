"""What is told of the model that a search ended with."""

from __future__ import annotations

from harness.report.searches import final_table
from harness.search.finish import Final, Verified
from tests.report.test_table import printed


def told(predicted_ms: float | None) -> str:
    verified = Verified("pi4", 20.0, predicted_ms, 19.0, 19.6, (19.4, 19.8), "steady")
    return printed(final_table(Final("space:mnasnet/0", 10, (0.5,), 0.61, (verified,), "", 0.6095)))


def test_a_model_is_told_as_it_was_predicted_and_measured() -> None:
    found = told(18.05)
    assert "trained for 10 epochs: 0.6100 of the test set, as a .tflite file 0.6095" in found
    assert "18.05 ms" in found
    assert "-5.0%" in found
    assert "±1.0%" in found


def test_without_a_table_nothing_is_predicted() -> None:
    (line,) = (line for line in told(None).splitlines() if "pi4" in line)
    assert line.split()[1:5] == ["20.00", "ms", "19.00", "ms"]
