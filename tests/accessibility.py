"""What axe-core finds wrong with a page for people who do not see it, or use no mouse: https://github.com/dequelabs/axe-core"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import Page

LOCKED = Path(__file__).parent / "browser" / "axe"
# https://www.w3.org/TR/WCAG22/
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
OF_COLOUR = ["color-contrast"]  # what may differ from one theme to the next

# what holds, too, would be megabytes of a long page
_BROKEN = "rules => axe.run(document, {runOnly: rules, resultTypes: ['violations']}).then(found => found.violations)"


def faults(page: Page, rules: Sequence[str] = RULES) -> list[str]:
    """Each of these rules that the page breaks, with where it does. Skips where there is no npm to bring axe-core."""
    page.evaluate(_axe())
    found = page.evaluate(_BROKEN, rules)
    return [f"{each['id']}: {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"]]


@functools.cache
def _axe() -> str:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core comes by npm, and there is none (fix: install Node.js)")
    with TemporaryDirectory() as folder:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCKED / name, folder)
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        subprocess.run([npm, "ci", *quiet], cwd=folder, check=True, capture_output=True, timeout=300)
        return (Path(folder) / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
