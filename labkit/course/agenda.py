"""How long a lab takes, and what fits into a day: from the *Time* line that each notebook carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from labkit.course import labs
from labkit.course.lab import PATHS, Lab
from labkit.errors import LabError
from labkit.settings import NOTEBOOKS

WORDS = 170  # read in a minute, as technical prose is
LOOK = 8.0  # seconds at a cell of code and its output
BREAK, BREAK_AFTER = 10, 90  # minutes
_TIME = re.compile(r"Reading (?P<reading>\d+) min\. Running (?P<running>[\d.]+) (?P<unit>s|min) on \w+ cores")
_WORD = re.compile(r"[\w'\u2019-]+")
_ADDRESS = re.compile(r"\(https?://[^)]*\)")


@dataclass(frozen=True)
class Item:
    """A part of the day: when it begins, in minutes, and how long it takes; a break has no number."""

    at: int
    number: str
    title: str
    minutes: int


@dataclass(frozen=True)
class Agenda:
    """What fits into so many minutes, in the labs' order."""

    minutes: int
    items: tuple[Item, ...]

    def __repr__(self) -> str:
        widest = max(len(item.title) for item in self.items)
        lines = [
            f"{_clock(item.at)}  {item.number:<2}  {item.title:<{widest}}  {item.minutes:>3} min" for item in self.items
        ]
        end = _length(self.items)
        return "\n".join([*lines, f"{_clock(end)}  end; {self.minutes - end} min to spare"])


def plan(hours: float) -> Agenda:
    """The labs that matter most, as many as fit, in the labs' order, with breaks. Raises LabError where none fits."""
    room = round(hours * 60)
    chosen: list[Lab] = []
    for lab in sorted(labs.LABS, key=lambda lab: PATHS.index(lab.path)):
        if _length(_laid_out([*chosen, lab])) <= room:
            chosen.append(lab)
    if not chosen:
        raise LabError(
            f"No lab fits into {hours:g} hours.",
            f"the shortest takes {min(map(minutes, labs.LABS))} minutes",
            "give it more time: `labkit agenda --hours 2`",
        )
    return Agenda(room, _laid_out(chosen))


def minutes(lab: Lab) -> int:
    """Reading and running, to the minute, by its notebook. Raises LabError where that does not say."""
    [path] = NOTEBOOKS.glob(f"{lab.number}-*.ipynb")
    return max(1, round(told(path)))


def told(notebook: Path) -> float:
    """The minutes that a notebook's Time line tells, reading and running. Raises LabError where it has none."""
    found = _TIME.search(notebook.read_text("utf-8"))
    if not found:
        raise LabError(
            f"{notebook.name} does not say how long it takes.",
            "its section Time has no line that begins `Reading … min. Running … on … cores`",
            f"record it anew: `labkit record {notebook.name[:2]}`",
        )
    return int(found["reading"]) + float(found["running"]) / (60 if found["unit"] == "s" else 1)


def tell(notebook: Any, seconds: float, cores: int) -> None:
    """Write into a notebook's section Time how long it takes to read, and how long its cells ran."""
    told = f"Reading {round(_reading(notebook.cells))} min. Running {_rounded(seconds)} on {cores} cores"
    for cell in notebook.cells:
        if cell.source.startswith("## Time"):
            cell.source = _TIME.sub(told, cell.source)


def _reading(cells: list[Any]) -> float:
    prose = " ".join(_ADDRESS.sub("", cell.source) for cell in cells if cell.cell_type == "markdown")
    code = sum(cell.cell_type == "code" for cell in cells)
    return len(_WORD.findall(prose)) / WORDS + code * LOOK / 60


def _rounded(seconds: float) -> str:
    """To five seconds, from a minute and a half on to half a minute."""
    return f"{ceil(seconds / 5) * 5} s" if seconds <= 90 else f"{ceil(seconds / 30) / 2:g} min"


def _laid_out(chosen: list[Lab]) -> tuple[Item, ...]:
    items: list[Item] = []
    at = since = 0
    for lab in sorted(chosen, key=lambda lab: lab.number):
        takes = minutes(lab)
        if since and since + takes > BREAK_AFTER:
            items.append(Item(at, "", "break", BREAK))
            at, since = at + BREAK, 0
        items.append(Item(at, lab.number, lab.title, takes))
        at, since = at + takes, since + takes
    return tuple(items)


def _length(items: tuple[Item, ...]) -> int:
    return items[-1].at + items[-1].minutes


def _clock(minutes: int) -> str:
    return f"{minutes // 60}:{minutes % 60:02}"
