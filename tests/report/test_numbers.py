from __future__ import annotations

import pytest

from harness.report import numbers


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0.00041234, "0.4123 us"),
        (0.008123, "8.123 us"),
        (0.0999, "99.90 us"),
        (0.1, "0.1000 ms"),
        (3.4123, "3.412 ms"),
        (123.44, "123.4 ms"),
        (2500.0, "2.500 s"),
        (0.0, "0 us"),
    ],
)
def test_times_have_four_digits_and_a_unit_that_suits(ms: float, text: str) -> None:
    assert numbers.time(ms) == text


def test_a_range_has_one_unit() -> None:
    assert numbers.times(0.099, 0.101) == "99.00 - 101.0 us"
    assert numbers.times(3.38, 3.444) == "3.380 - 3.444 ms"


@pytest.mark.parametrize(
    ("count", "text"),
    [(512, "512 B"), (14_000, "14.0 kB"), (999_970, "1.0 MB"), (14_000_000, "14.0 MB"), (2_340_000_000, "2.34 GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert numbers.size(count) == text


@pytest.mark.parametrize(("value", "text"), [(0.00942, "0.94%"), (0.021, "2.1%"), (0.123, "12%"), (0.0, "0%")])
def test_shares(value: float, text: str) -> None:
    assert numbers.share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(10, "10"), (999.6, "1.00k"), (266_610, "267k"), (3_504_872, "3.50M"), (9_994_000, "9.99M"), (9_996_000, "10.0M"), (15.47e9, "15.5G")],
)
def test_counts_have_three_digits(value: float, text: str) -> None:
    assert numbers.count(value) == text
