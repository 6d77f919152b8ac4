"""A recording made in a test: cells that ask something for real, written down and ready to be played back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from nbformat.v4 import new_code_cell

from labkit import backend, session
from labkit.backend.live import Live
from labkit.maintain import record
from labkit.recordings import files
from labkit.recordings.files import Head
from labkit.recordings.recorder import Recorder

WHEN = "2026-11-24T12:00:00Z"


class Cells:
    """Cells in their order; `cell` adds one and returns what it did as it was recorded."""

    def __init__(self, folder: Path, inner: backend.Backend | None = None) -> None:
        self._folder, self._asked = folder, folder / "cells"
        self._recorder = Recorder(inner or Live(), self._asked)
        self._cells = []

    def cell(self, source: str, act: Callable[[], object], *tags: str) -> object:
        try:
            with backend.use(self._recorder):
                session.begin_cell(source, None)
                try:
                    return act()
                finally:
                    session.end_cell()
        finally:
            name = f"cell-{len(self._cells)}"
            self._cells.append(new_code_cell(source, id=name, metadata={"tags": list(tags)}))

    def write(self, notebook: str = "42-a-lab") -> Path:
        asked = [json.loads(line) for line in self._asked.read_text().removesuffix("\n").split("\n")]
        marks = tuple(record._marks(self._cells, asked))
        path = self._folder / f"{notebook}.jsonl"
        files.write(path, Head(notebook, WHEN, "Live mesh: a test's", marks), map(record._played, asked))
        return path
