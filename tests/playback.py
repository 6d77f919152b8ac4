"""A recording made in a test: cells that ask something for real, written down and ready to be played back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from nbformat.v4 import new_code_cell

from labkit import backend
from labkit.maintain import record
from labkit.recordings import files
from labkit.recordings.files import Head
from labkit.recordings.recorder import Recording

WHEN = "2026-11-24T12:00:00Z"


class Cells:
    """Cells in their order; `cell` adds one and returns what it did as it was recorded."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._asked = folder, folder / "cells"
        self._venue = Recording(self._asked)
        self._cells = []

    def cell(self, source: str, act: Callable[[], object], *tags: str) -> object:
        self._venue.begin_cell(source, None)
        try:
            with backend.use(self._venue):
                return act()
        finally:
            self._venue.end_cell()
            name = f"cell-{len(self._cells)}"
            self._cells.append(new_code_cell(source, id=name, metadata={"tags": list(tags)}))

    def write(self, notebook: str = "42-a-lab") -> Path:
        asked = [json.loads(line) for line in self._asked.read_text().removesuffix("\n").split("\n")]
        marks = tuple(record._marks(self._cells, asked))
        path = self._folder / f"{notebook}.jsonl"
        files.write(path, Head(notebook, WHEN, "Live mesh: a test's", marks), map(record._played, asked))
        return path
