"""The README's pictures are taken from the course as it is, in JupyterLab, on the recorded mesh."""

from __future__ import annotations

import struct

import pytest
from browsing import needs_browser

from labkit.errors import LabError
from labkit.maintain import jupyterlab, pictures


@needs_browser
def test_both_are_taken_anew(monkeypatch, tmp_path):
    for name in ("RUNNING", "LIVE"):
        monkeypatch.setattr(pictures, name, tmp_path / f"{name}.png")
    pictures.take()
    for path in tmp_path.glob("*.png"):
        content = path.read_bytes()
        assert struct.unpack(">II", content[16:24]) == (pictures.WIDTH, pictures.HEIGHT)
        assert len(content) > 50_000  # an empty page has a tenth of that
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_without_a_browser_it_is_said(monkeypatch):
    monkeypatch.setattr(jupyterlab, "program", lambda: None)
    with pytest.raises(LabError, match="pictures"):
        pictures.take()
