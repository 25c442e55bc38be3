from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.files import whole_file


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    with whole_file(path) as draft:
        draft.write_text("half")
        assert not path.exists()
        assert draft.suffix == ".csv"
    assert path.read_text() == "half"
    assert [file.name for file in tmp_path.iterdir()] == ["rows.csv"]


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"

    def half() -> None:
        with whole_file(path) as draft:
            draft.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half()
    assert [file.name for file in tmp_path.iterdir()] == []


@pytest.mark.parametrize("name", ["missing/rows.csv", "."])
def test_where_no_file_can_be_is_told_first(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError), whole_file(tmp_path / name):
        pytest.fail("the block ran")
