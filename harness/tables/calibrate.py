"""Which form predicts best: chosen by cross-validation on networks that were measured with the blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.errors import ConfigError
from harness.tables.forms import FORMS, Fit, check_known, fit
from harness.tables.table import Calibrated, Calibration, LatencyTable, Score

LEAST_NETWORKS = 3
"""With fewer no form could be told from another."""

_ROUNDING = 1e-9
"""Relative errors so small are the arithmetic's."""


def calibrate(table: LatencyTable, networks: Sequence[Calibrated]) -> Calibration:
    """Return the calibration of a table by networks, on whose blocks it has rows; raises MissingBlock where it has not.

    The form is the one with the fewest coefficients whose error in leave-one-out cross-validation is, network by network, within a
    standard error of the best one's (the rule of Breiman et al. 1984); of those with as many, the one with the smallest. None is chosen
    by which some row would take less than no time. Raises ConfigError where no form can be fitted.
    """
    check_known([key for network in networks for key in network.keys], table.by_key, table.origin)
    fits: dict[str, Fit] = {}
    failed: dict[str, str] = {}
    for form in FORMS.values():
        try:
            fits[form.name] = fit(form, networks, table.by_key)
        except ConfigError as error:
            failed[form.name] = error.message
    if not fits:
        raise ConfigError(f"nothing to calibrate with: {next(iter(failed.values()))}", "measure more networks")
    negative = {name: why for name, one in fits.items() if (why := _negative(one, table))}
    positive = [one for name, one in fits.items() if name not in negative]
    best = min(positive, key=lambda one: one.mape)
    near = [one for one in positive if _indistinguishable(one, best)]
    chosen = min(near, key=lambda one: (len(one.coefficients), one.mape))
    return Calibration(chosen.form.name, chosen.coefficients, tuple(_scores(fits, failed, negative, best, chosen)), tuple(networks))


def negative_by(table: LatencyTable, calibration: Calibration) -> str:
    """Return by which row of a table its calibration adds less than nothing to a network, and how much; nothing where there is none."""
    return _negative(refitted(table, calibration), table)


def _negative(found: Fit, table: LatencyTable) -> str:
    """Return by which row a fit adds less than nothing to a network, and how much; nothing where there is none."""
    values = ((row, found.form.per_block(row, found.coefficients)) for row in table.rows)
    return next((f"not chosen: it makes {value:.2g} ms of {row.key}" for row, value in values if value is not None and value < 0), "")


def _indistinguishable(one: Fit, best: Fit) -> bool:
    """Return whether the errors of `best` are smaller by no more than a standard error."""
    excess = np.abs(one.left_out) - np.abs(best.left_out)
    return float(excess.mean()) <= max(_ROUNDING, float(excess.std(ddof=1)) / math.sqrt(len(excess)))


def _scores(fits: dict[str, Fit], failed: dict[str, str], negative: dict[str, str], best: Fit, chosen: Fit) -> list[Score]:
    scores = []
    for form in FORMS.values():
        if form.name in failed:
            scores.append(Score(form.name, len(form.free), None, failed[form.name]))
            continue
        why = negative.get(form.name, "")
        if form is chosen.form:
            why = "chosen" if chosen is best else f"chosen: as good as {best.form.name} within the noise, by fewer coefficients"
        scores.append(Score(form.name, len(form.free), fits[form.name].mape, why))
    return scores


def check_calibration(table: LatencyTable) -> None:
    """Raise ConfigError where a table's calibration is not what its own rows and networks give."""
    if table.calibration is not None:
        refitted(table, table.calibration)


def refitted(table: LatencyTable, calibration: Calibration) -> Fit:
    """Return the fit that a calibration stands for; raises ConfigError where its coefficients are not those of its networks."""
    if calibration.form not in FORMS:
        raise ConfigError(f"unknown form {calibration.form!r} of the calibration", f"forms: {', '.join(FORMS)}")
    if lost := [key for network in calibration.networks for key in network.keys if key not in table.by_key]:
        raise ConfigError(
            f"there is no row of {lost[0]}, a block of the calibration's networks", "rows were taken out: build the table again"
        )
    found = fit(FORMS[calibration.form], calibration.networks, table.by_key)
    known = len(found.coefficients) == len(calibration.coefficients)
    if not (known and np.allclose(found.coefficients, calibration.coefficients, rtol=1e-6, atol=1e-9)):
        raise ConfigError(
            f"the coefficients of the calibration, {calibration.coefficients}, are not those of its networks, {found.coefficients}",
            "rows or networks were changed since: build the table again",
        )
    return found
