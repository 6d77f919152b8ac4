"""The site's front page: what the README says of the course, for one who reads it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from labkit.course import agenda, availability, labs
from labkit.course import map as course_map
from labkit.settings import EXAM_PAGE

_READING = """
Every page here is one of the course's notebooks as it ran on a real mesh. Nothing was tidied up afterwards: the
commands, their answers and the errors are those of that run. Point at a figure, and it says what you point at.
"""

_WAYS = """
Three ways lead through it, each with the time that its labs take, reading and running, without breaks
(`labkit agenda --hours 3` plans a class of any length):
"""
_EXAM = f"""
The topics are those of the [Istio Certified Associate]({EXAM_PAGE}), an exam of the Linux Foundation's:
{", ".join(f"{domain} {share} %" for domain, share in course_map.SHARES.items())}.
"""


def front_page(readme: str, notebooks: Sequence[Path]) -> str:
    """Markdown: the README's opening, its table of notebooks with links, how to run them; and the site's contents."""
    opening, *rest = re.split(r"^## ", readme, flags=re.MULTILINE)
    sections = {title: text for title, _, text in (part.partition("\n") for part in rest)}
    return "\n".join(
        [
            opening.partition("| You want to")[0],
            _READING + _not_run(),
            "## What is in it",
            _linked(sections["What is in it"], notebooks),
            "## Run it",
            sections["Run it"],
            _contents(notebooks),
        ]
    )


def _not_run() -> str:
    """Which notebooks have no outputs yet, and why."""
    found = [lab for lab in labs.LABS if availability.is_unrecorded(lab)]
    return "".join(f"Only {lab.number}, {lab.title}, has not run yet: {lab.because}.\n" for lab in found)


def map_page(notebooks: Sequence[Path]) -> str:
    """Markdown: three ways through the course, each lab beside the exam's topics and Istio's pages."""
    of = {path.name[:2]: path for path in notebooks}
    ways = [
        f"- **{name}**: {', '.join(numbers)} ({minutes} min)" for name, (numbers, minutes) in course_map.ways().items()
    ]
    rows = [
        f"| [{lab.number} {lab.title}](notebooks/{of[lab.number].name}) | {agenda.minutes(lab)} "
        f"| {'<br>'.join(course_map.topics(lab))} | {'<br>'.join(map(_page, course_map.pages(lab)))} |"
        for lab in labs.LABS
    ]
    return "\n".join(
        [
            "# A map of the course",
            _WAYS,
            *ways,
            "",
            _EXAM,
            "",
            "| Lab | Minutes | Topics of the exam | Istio's own pages |",
            "|---|---|---|---|",
            *rows,
            "",
            *(f"No lab practises yet: {each}." for each in ["; ".join(course_map.uncovered())] if each),
            "",
        ]
    )


def _page(address: str) -> str:
    """The page's last folder says what it is about."""
    return f"[{address.rstrip('/').rpartition('/')[2]}]({address})"


def _linked(table: str, notebooks: Sequence[Path]) -> str:
    """The table with a link in each notebook's row."""
    for path in notebooks:
        number = path.name[:2]
        row, linked = rf"^\| {number} \| ([^|]+) \|", rf"| {number} | [\1](notebooks/{path.name}) |"
        table = re.sub(row, linked, table, flags=re.MULTILINE)
    return table


def _contents(notebooks: Sequence[Path]) -> str:
    """https://www.sphinx-doc.org/en/master/usage/restructuredtext/directives.html#directive-toctree"""
    entries = [f"{path.name[:2]} {_title(path)} <notebooks/{path.stem}>" for path in notebooks]
    others = ["notebooks/explore", "map", "notebooks/glossary", "notebooks/trainers"]
    return "\n".join(["```{toctree}", ":hidden:", "", *entries, *others, "```", ""])


def _title(path: Path) -> str:
    first = json.loads(path.read_text(encoding="utf-8"))["cells"][0]
    return "".join(first["source"]).partition("\n")[0].removeprefix("# ")
