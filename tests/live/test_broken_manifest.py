"""One letter wrong in one manifest, and the notebook that applies it goes red."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbval_run import nbval_file

from labkit.course import verbs
from labkit.mesh import bookinfo, objects
from labkit.settings import NAMESPACE, NOTEBOOKS, settings

pytestmark = pytest.mark.live

SANITIZE = ("--nbval-sanitize-with", str(Path(__file__).parents[1] / "sanitize.cfg"))
MANIFEST = Path("samples/bookinfo/networking/bookinfo-gateway.yaml")


@pytest.fixture
def notebook(tmp_path) -> Iterator[Path]:
    """A copy of notebook 06, on the group's cluster, at the start of its lab; what the test breaks is mended."""
    verbs.goto("06", lambda event: None)
    manifest = settings().istio_folder / MANIFEST
    right = manifest.read_text()
    shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")
    [copy] = (tmp_path / "notebooks").glob("06-*.ipynb")
    yield copy
    manifest.write_text(right)
    objects.apply(bookinfo.gateway_manifest(), namespace=NAMESPACE)


def test_a_broken_manifest_turns_its_notebook_red(notebook):
    manifest = settings().istio_folder / MANIFEST
    right = manifest.read_text()
    assert "host: productpage\n" in right
    manifest.write_text(right.replace("host: productpage\n", "host: productpaeg\n"))

    status, reports = nbval_file(notebook, options=SANITIZE)

    assert status == pytest.ExitCode.TESTS_FAILED
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    # which names the fault before anything is applied
    assert cells[reports.outcomes.index("failed")] == f"%istioctl analyze {MANIFEST}"
