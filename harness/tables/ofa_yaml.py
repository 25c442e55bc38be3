"""Latency tables as ProxylessNAS and Once-for-All publish them: YAML of block names with count, mean, and std or var, in ms."""

from __future__ import annotations

import math
import sys
from collections.abc import Hashable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.files import whole_file
from harness.networks.blocks import block_key
from harness.tables.ofa_names import FLAVOURS, Flavour, block_named, flavour_of, name_for
from harness.tables.table import LatencyTable, Origin, Row

_SPREADS: dict[Flavour, str] = {"ofa": "std", "proxylessnas": "var"}


def read_ofa(path: Path, device: str | None = None) -> LatencyTable:
    """Return the table of a YAML file; `device` is what to call where it was measured, by default the file's stem.

    A block that is none of ours has a row by its own name. Raises ConfigError that names the file and the entry.
    """
    data = _loaded(path)
    if not isinstance(data, dict) or not data:
        raise ConfigError(
            f"{path} is no latency table of OFA or ProxylessNAS", "expected: names of blocks, each with count, mean, and std or var"
        )
    flavour = flavour_of([str(name) for name in data])
    rows: dict[str, Row] = {}
    for name, entry in data.items():
        try:
            row = _row(name, entry, flavour)
        except ConfigError as error:
            raise ConfigError(f"{path}: {name}: {error.message}", error.hint) from None
        if row.key in rows:  # two names of one block: the second keeps its own
            row = Row(name, None, (), row.warm_ms, spread_ms=row.spread_ms, samples=row.samples)
        rows[row.key] = row
    return LatencyTable(foreign(device or path.stem), tuple(rows.values()))


def foreign(device: str) -> Origin:
    """Return the origin of a table that another tool made, which tells nothing else."""
    unknown = dict.fromkeys(("fingerprint", "cpu_model", "runtime", "runtime_version", "governor"))
    return Origin(
        device,
        **unknown,
        cores=(),
        threads=None,
        precision=None,
        space=None,
        method=None,
        began_at=None,
        ended_at=None,
        harness_version=version("latency-harness"),
    )


def _row(name: object, entry: object, flavour: Flavour) -> Row:
    if not isinstance(name, str):
        raise ConfigError("the name of a block is no text", "expected: such as Conv-input:224x224x3-output:112x112x32")
    known = {"count", "mean", "std", "var"}
    if not isinstance(entry, Mapping) or not set(entry) <= known or "mean" not in entry or {"std", "var"} <= set(entry):
        raise ConfigError(f"it holds {str(entry)[:60]}", "expected: count, mean, and std or var")
    numbers = {key: _number(key, value) for key, value in entry.items()}
    spread_ms = numbers.get("std", math.sqrt(numbers["var"]) if "var" in numbers else None)
    placed = block_named(name, flavour)
    key, block, inputs = (name, None, ()) if placed is None else (block_key(*placed), *placed)
    return Row(key, block, inputs, numbers["mean"], spread_ms=spread_ms, samples=int(numbers.get("count", 0)))


def _number(key: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= sys.float_info.max:
        raise ConfigError(f"{key} is {value!r}", "expected: a finite number from 0 on")
    return float(value)


def write_ofa(table: LatencyTable, path: Path, flavour: Flavour | None = None) -> tuple[str, ...]:
    """Write the rows of a table under the names of OFA or ProxylessNAS, and return the keys of those that have none there.

    Means are warm latencies, which readers of such files add up. The flavour is the one that has names for more rows where none is asked
    for. Raises ConfigError where neither has any.
    """
    import yaml

    named = {one: _named(table, one) for one in (FLAVOURS if flavour is None else (flavour,))}
    chosen = max(named, key=lambda one: len(named[one]))
    if not named[chosen]:
        what = f"no block of {table.origin.device}'s table has a name in tables of {' or '.join(named)}"
        raise ConfigError(what, "export it as .csv or .parquet")
    entries = {name: _entry(row, _SPREADS[chosen]) for name, row in sorted(named[chosen].items())}
    if flavour_of(list(entries)) != chosen:
        what = f"nothing in these names tells that they are {chosen}'s: read again, the blocks would be others"
        raise ConfigError(what, "export it as .csv or .parquet")
    with whole_file(path) as draft:
        draft.write_text(yaml.safe_dump(entries, width=1000), encoding="utf-8")
    kept = {row.key for row in named[chosen].values()}
    return tuple(key for key in table.by_key if key not in kept)


def _named(table: LatencyTable, flavour: Flavour) -> dict[str, Row]:
    named: dict[str, Row] = {}
    for row in table.rows:
        name = row.key if row.block is None else name_for(row.block, row.inputs, flavour)
        if name is not None:
            named.setdefault(name, row)
    return named


def _entry(row: Row, spread: str) -> dict[str, float]:
    told = {"count": row.samples, "mean": row.warm_ms}
    if row.spread_ms is not None:
        told[spread] = row.spread_ms**2 if spread == "var" else row.spread_ms
    return told


def _loaded(path: Path) -> Any:
    import yaml

    class Plain(yaml.SafeLoader):
        """Reads plain values alone, and no key twice."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
            made = super().construct_mapping(node, deep)
            if len(made) < len(node.value):
                keys = [self.construct_object(key) for key, _ in node.value]
                twice = next(key for key in keys if keys.count(key) > 1)
                raise yaml.constructor.ConstructorError(None, None, f"{twice!r} stands twice", node.start_mark)
            return made

    try:
        return yaml.load(path.read_text(encoding="utf-8"), Plain)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"cannot read {path}: {reason}", "give the path of a YAML file") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        hint = (
            "a latency table holds plain numbers: remove the tag"
            if "tag" in str(error.problem)
            else "the file is YAML: yaml.org describes it"
        )
        raise ConfigError(f"{path}:{mark.line + 1 if mark else 1}: {error.problem}", hint) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {str(error).splitlines()[0]}", "the file is YAML: yaml.org describes it") from None
    except (ValueError, KeyError, AttributeError, RecursionError) as error:  # of values that YAML's own types cannot take
        raise ConfigError(f"{path}: a value of it cannot be read: {error}", "a latency table holds plain numbers") from None
