"""A board for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.board.board import Board

IMAGES = Path(__file__).parents[2] / ".board"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    started = Board(tmp_path_factory.mktemp("boards") / "board", IMAGES)
    yield started
    started.stop()
