from __future__ import annotations

import tomllib

from harness.tomlfile import line_of, lines_of_elements

TEXT = '''name = "x"
# [ a comment
blocks = [
  {type = "conv, [", sizes = [1, 2]},  # {
  {type = "b"}, {type = 'c"]'},

  { inner = {b = 1}, text = "\\"]" }, # ]
  7, "x", [
    [1], [2]],
  """
  ], """,
  1.5,
]
other = [
  1,
]
'''

TABLES = '''note = """
blocks = [1]
[[blocks]] \\"""
""""
lists = [
  [["x"]],
  [[0]]
]

[[blocks]]  # the first
type = "conv"
other = [
  1,
]

[blocks.inner]
b = 1

[["blocks"]]
  [[blocks.other]]
  c = 1
[[ blocks ]]
type = "x"
[parts.a]
blocks = [1, 2]
'''


def test_elements_are_found_past_nesting_texts_and_comments() -> None:
    assert lines_of_elements(TEXT, ("blocks",)) == [4, 5, 5, 7, 8, 8, 8, 10, 12]
    assert lines_of_elements(TEXT, ("other",)) == [15]


def test_an_empty_array_has_no_elements() -> None:
    assert lines_of_elements("a = []\nb = [1]", ("a",)) == []
    assert lines_of_elements("b = [1]", ("a",)) == []


def test_the_elements_of_an_array_of_tables_begin_at_its_headers() -> None:
    assert len(tomllib.loads(TABLES)["blocks"]) == 3
    assert lines_of_elements(TABLES, ("blocks",)) == [10, 19, 22]
    assert lines_of_elements(TABLES, ("parts", "a", "blocks")) == [25, 25]
    assert lines_of_elements(TABLES, ("lists",)) == [6, 7]


def test_a_key_is_found_behind_an_array_of_tables() -> None:
    text = "[[blocks]]\ntype = 1\n[[blocks]]\ntype = 2\n[fixed]\ntype = 3"
    assert line_of(text, ("blocks", "type")) == 2
    assert line_of(text, ("blocks", "none")) == 1
    assert line_of(text, ("fixed", "type")) == 6
