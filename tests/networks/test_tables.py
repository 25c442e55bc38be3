from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.networks.blocks import Block, Conv, Depthwise, DropoutLayer, MBConv, Size
from harness.networks.tables import BLOCKS, block_of, fields_of, table_of
from harness.networks.wiring import Branches, SkipConv

EACH = pytest.mark.parametrize("kind", BLOCKS.values(), ids=list(BLOCKS))
CHAINS = tuple[tuple[Block, ...], ...]
SOME_CHAINS = (((Conv(8),), ()), ((Conv(8), Depthwise((3, 3))),), ((Conv(8),), (Depthwise((3, 3)),)), ((),), ((Branches(((Conv(8),),)),),))
NAMED: dict[str, tuple[Any, ...]] = {
    "sums": (("sep3 h + p",), ("sep3 h + p", "avg3 0 + max5 h"), ("h + p", "h + 0", "0 + 1")),
    "rows": ((0, 0), (0, 1), (2, 1)),
    "columns": ((0, 0), (0, 1), (2, 1)),
    "concat": (("p",), ("0", "p"), ("h", "p", "0")),
}
SOME: list[tuple[Any, tuple[Any, ...]]] = [
    (int, (1, 2, 11, 12)),
    (float, (0.0, 0.25, 1.0, 2.5, 6.0)),
    (bool, (False, True)),
    (Size, ((1, 1), (1, 2), (2, 1), (2, 2), (11, 11))),
    (tuple[int, ...], ((0,), (1, 1), (0, 1))),
    (CHAINS, SOME_CHAINS),
    (Block, (Conv(8), Depthwise((3, 3)), Branches(SOME_CHAINS[0]))),
]


def some(name: str, hint: Any) -> tuple[Any, ...]:
    """Return a few values that a field can have."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if hint is int:
        return (1, 2) if name == "inputs" else SOME[0][1]
    return NAMED.get(name) or next(values for kind, values in SOME if kind == hint)


def any_value(name: str, hint: Any) -> st.SearchStrategy[Any]:
    """Return what draws any value that a field can have, the few of `some` often."""
    few = st.sampled_from(some(name, hint))
    if hint is float:
        return few | st.floats(0, 1e300)
    if hint is int and name != "inputs":
        return few | st.integers(1, 10_000)
    if hint == Size:
        return few | st.tuples(st.integers(1, 300), st.integers(1, 300))
    if hint == tuple[int, ...] and name not in NAMED:
        return few | st.lists(st.integers(0, 50), min_size=1, max_size=4).map(tuple)
    if hint == CHAINS:
        chain = st.lists(st.one_of(any_of(Conv), any_of(Depthwise), any_of(MBConv)), max_size=2).map(tuple)
        return few | st.lists(chain, min_size=1, max_size=3).map(tuple)
    return few


def any_of(kind: type[Block]) -> st.SearchStrategy[Block]:
    defaults = defaults_of(kind)
    values = {name: any_value(name, hint) for name, hint in fields_of(kind).items()}
    return st.builds(kind, **{name: st.just(defaults[name]) | value if name in defaults else value for name, value in values.items()})


def defaults_of(kind: type[Block]) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(kind) if field.default is not dataclasses.MISSING}


def told(value: Any) -> Any:
    """Return what of a block its key is to tell."""
    if isinstance(value, Block):
        shown = [field.name for field in dataclasses.fields(value) if field.metadata.get("in_key", True)]
        return (value.type, *(told(getattr(value, name)) for name in shown))
    return tuple(map(told, value)) if isinstance(value, tuple) else value


def check_keys(blocks: Sequence[Block]) -> None:
    by_key: dict[str, Any] = {}
    by_block: dict[Any, str] = {}
    for block in blocks:
        assert by_key.setdefault(block.key, told(block)) == told(block), block.key
        assert by_block.setdefault(told(block), block.key) == block.key


def changed(block: Block, values: dict[str, Any]) -> Block:
    return dataclasses.replace(block, **values)


@EACH
def test_blocks_that_differ_in_two_fields_differ_in_their_keys(kind: type[Block]) -> None:
    values = {name: some(name, hint) for name, hint in fields_of(kind).items()}
    base = kind(**{name: few[0] for name, few in values.items() if name not in defaults_of(kind)})
    blocks = [base]
    for names in itertools.combinations(values, min(2, len(values))):
        blocks += [changed(base, dict(zip(names, chosen, strict=True))) for chosen in itertools.product(*(values[name] for name in names))]
    check_keys(blocks)


@EACH
@given(data=st.data())
def test_keys_are_equal_exactly_where_blocks_are(kind: type[Block], data: st.DataObject) -> None:
    block = data.draw(any_of(kind))
    blocks = [block, changed(block, {}), data.draw(any_of(kind))]
    hints, defaults = fields_of(kind), defaults_of(kind)
    if pairs := [(one, other) for one, other in itertools.permutations(defaults, 2) if hints[one] == hints[other]]:
        one, other = data.draw(st.sampled_from(pairs))
        blocks.append(changed(block, {one: defaults[one], other: getattr(block, one)}))
    check_keys(blocks)


@EACH
@given(data=st.data())
def test_a_block_is_the_same_after_its_table(kind: type[Block], data: st.DataObject) -> None:
    block = data.draw(any_of(kind))
    assert block_of(table_of(block)) == block


@given(st.floats(0, 1e300))
def test_floats_that_differ_by_the_least_differ_in_the_key(value: float) -> None:
    assert DropoutLayer(value).key != DropoutLayer(math.nextafter(value, math.inf)).key
    assert DropoutLayer(value).key.removeprefix("dropout-rate:") in (f"{value!r}", f"{value:.0f}")


def test_only_a_size_is_shortened_to_one_number() -> None:
    assert table_of(SkipConv(8, (3, 3), (1, 1))) == {"type": "skip_conv", "filters": 8, "kernel": 3, "inputs": [1, 1]}


def test_a_key_says_of_which_field_an_activation_is() -> None:
    assert MBConv(8, gate="relu6").key == "mbconv-f8-gate:relu6"
    assert MBConv(8, activation="relu6").key == "mbconv-f8-relu6"
    assert MBConv(8, expansion=6, se=0.25).key == MBConv(8, expansion=6.0, se=0.25).key == "mbconv-f8-e6-se0.25"
