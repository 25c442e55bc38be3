"""Numbers as people read them."""

from __future__ import annotations

import math


def time(ms: float) -> str:
    """Return a time with 4 significant digits and the unit that suits it: `8.123 us`, `3.412 ms`, `2.500 s`."""
    if ms < 0.1:
        return f"{_significant(ms * 1000)} us"
    if ms < 1000:
        return f"{_significant(ms)} ms"
    return f"{_significant(ms / 1000)} s"


def times(low_ms: float, high_ms: float) -> str:
    """Return a range in one unit: `3.380 - 3.444 ms`."""
    low, unit = time(low_ms).split()
    scale = {"us": 1000.0, "ms": 1.0, "s": 0.001}[unit]
    return f"{low} - {_significant(high_ms * scale)} {unit}"


def size(count: float) -> str:
    """Return bytes in powers of 1000: `512 B`, `14.0 MB`."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.2f} GB"


def count(value: float) -> str:
    """Return a number with 3 significant digits, as papers write parameters and mult-adds: `267k`, `3.50M`, `15.5G`."""
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * scale:
            digits = value / scale
            return f"{digits:.{2 if digits < 9.995 else 1 if digits < 99.95 else 0}f}{unit}"
    return f"{value:.0f}"


def share(value: float) -> str:
    """Return a share in percent: `0.94%`, `12%`."""
    percent = value * 100
    return f"{percent:.0f}%" if percent >= 10 else f"{percent:.1f}%" if percent >= 1 else f"{percent:.2g}%"


def signed_share(value: float) -> str:
    """Return a relative change in percent with its sign: `+3.2%`."""
    return f"{value:+.1%}"


def half_width(latency: float, interval: tuple[float, float]) -> float:
    """Return half the width of an interval relative to the latency."""
    return (interval[1] - interval[0]) / 2 / latency


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    decimals = 3 - math.floor(math.log10(abs(value)))
    return f"{value:.{min(max(decimals, 0), 6)}f}"
