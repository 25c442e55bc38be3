"""Results as JSON's own types."""

from __future__ import annotations

import dataclasses
import math
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def to_json(value: Any) -> Any:
    """Return `value` as dictionaries, lists and scalars: dataclasses by field, times in ISO 8601.

    JSON has no NaN and no infinity: they become null, like everything absent.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def samples_to_json(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one object per repetition: its number, and each other column of the samples as a list."""
    columns = [str(column) for column in frame.columns if column != "repetition"]
    return [
        {"repetition": to_json(int(repetition)), **{column: to_json(rows[column].tolist()) for column in columns}}
        for repetition, rows in ((int(str(key)), group) for key, group in frame.groupby("repetition", sort=True))
    ]


def rows_to_json(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one object per row of a frame; what a row lacks is null."""
    import pandas as pd

    def plain(value: Any) -> Any:
        if isinstance(value, list | tuple | dict):
            return to_json(value)
        if pd.isna(value):
            return None
        if isinstance(value, pd.Timestamp):
            return value.isoformat()
        return to_json(value.item() if hasattr(value, "item") else value)

    return [{str(key): plain(value) for key, value in row.items()} for row in frame.to_dict("records")]
