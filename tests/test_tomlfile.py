from __future__ import annotations

from harness.tomlfile import lines_of_elements

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


def test_elements_are_found_past_nesting_texts_and_comments() -> None:
    assert lines_of_elements(TEXT, ("blocks",)) == [4, 5, 5, 7, 8, 8, 8, 10, 12]
    assert lines_of_elements(TEXT, ("other",)) == [15]


def test_an_empty_array_has_no_elements() -> None:
    assert lines_of_elements("a = []\nb = [1]", ("a",)) == []
