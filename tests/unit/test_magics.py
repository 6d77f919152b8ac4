"""%kubectl and %istioctl: a line as a terminal would read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake import Fake

from labkit import backend
from labkit.notebook import magics
from labkit.settings import MANIFESTS, settings


class Told(Fake):
    """Keeps the command that it is told."""

    def run(self, argv, **options):
        self.argv = argv
        return backend.Completed(tuple(argv), 0, "", "", 0.0)


@pytest.mark.parametrize("folder", [MANIFESTS, Path("/srv/with spaces/it's/$HOME")])
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("apply -f $LABKIT_MANIFESTS/a.yaml", ["apply", "-f", "{manifests}/a.yaml"]),
        ('apply -f "$LABKIT_MANIFESTS/a.yaml"', ["apply", "-f", "{manifests}/a.yaml"]),
        ("apply -f=${{LABKIT_MANIFESTS}}/a.yaml", ["apply", "-f={manifests}/a.yaml"]),
        ("get -f $LABKIT_BIN", ["get", "-f", "{bin}"]),
        ("get -o jsonpath='{{$.items}} $$ $LABKIT_NONE'", ["get", "-o", "jsonpath={{$.items}} $$ $LABKIT_NONE"]),
    ],
)
def test_the_courses_folders_stand_in_a_command_by_their_names(monkeypatch, folder, line, words):
    monkeypatch.setattr(magics, "MANIFESTS", folder)
    with backend.use(Told()) as told:
        magics.kubectl(line.format())
    assert told.argv == ["kubectl", *(word.format(manifests=folder, bin=settings().bin) for word in words)]
