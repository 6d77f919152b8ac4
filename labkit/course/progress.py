"""How far a reader has come: what was checked, solved and predicted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from labkit import session, state
from labkit.course import labs, notes
from labkit.course.checks import Check, Report
from labkit.course.lab import Lab
from labkit.errors import LabError
from labkit.settings import settings

_BAR = 10  # characters


@dataclass(frozen=True)
class Checked:
    """A lab's (`05`) or an exercise's (`05.1`) check at its best: how many of its claims held, on which mesh, and when.

    at: seconds since 1970.
    """

    number: str
    passed: int
    of: int
    live: bool
    at: float

    @property
    def done(self) -> bool:
        """Whether all claims held."""
        return self.passed == self.of


@dataclass(frozen=True)
class LabProgress:
    """A lab's part: its check (none where it was never run), its exercises, its predictions that came true."""

    number: str
    title: str
    check: Checked | None
    claims: int
    solved: tuple[Checked, ...]
    exercises: int
    right: int
    measured: int


@dataclass(frozen=True)
class CourseProgress:
    """All labs, in their order. `aside`: files that held earlier progress and could not be read."""

    labs: tuple[LabProgress, ...]
    aside: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self._rows(), strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in self._rows()]
        return "\n".join([*lines, *self._notes()])

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        cells = ["".join(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row) for row in rows]
        table = "".join(f"<th>{escape(name)}</th>" for name in head), "".join(f"<tr>{row}</tr>" for row in cells)
        notes = "".join(f"<p>{escape(note)}</p>" for note in self._notes())
        return f"<table><thead><tr>{table[0]}</tr></thead><tbody>{table[1]}</tbody></table>{notes}"

    def _rows(self) -> list[tuple[str, ...]]:
        return [("lab", "", "check", "exercises", "predictions that came true"), *map(_row, self.labs)]

    def _notes(self) -> list[str]:
        right, measured = sum(lab.right for lab in self.labs), sum(lab.measured for lab in self.labs)
        truth = f"Predictions that came true: {right} of {measured}" if measured else "No prediction was measured yet."
        return [truth, *(f"Earlier progress could not be read; it was put aside: {path}" for path in self.aside)]


def so_far() -> CourseProgress:
    """What was kept on this machine. Raises LabError where a newer course wrote it."""
    checks, predicted = notes.part("checks"), notes.part("predictions")
    return CourseProgress(tuple(_of(lab, checks, predicted) for lab in labs.LABS), notes.put_aside())


def keep(report: Report) -> None:
    """Keep how a check came out, if it did better than before; on a live mesh is better. Raises LabError.

    A headless run is nobody's progress.
    """
    if settings().headless:
        return
    passed = sum(result.passed for result in report.results)
    now = Checked(report.number, passed, len(report.results), session.is_live(), datetime.now(UTC).timestamp())

    def better(kept: dict[str, Any]) -> dict[str, Any]:
        before = _checked(report.number, kept)
        best = now if before is None or _worth(now) > _worth(before) else before
        return {**kept, report.number: asdict(best)}

    notes.update("checks", better)
    notes.update("failing", lambda kept: _failing(report, kept, now.at))


def passed() -> list[Checked]:
    """The checks of labs and exercises all of whose claims held, on whichever mesh."""
    kept = notes.part("checks")
    return [each for number in kept if (each := _checked(number, kept)) and each.done]


def failing() -> dict[str, Any] | None:
    """What did not hold when it was last checked, the latest: number, claim, observed, at; none where all does."""
    kept = [{"number": number, **each} for number, each in notes.part("failing").items() if _is_failing(each)]
    return max(kept, key=lambda each: each["at"], default=None)


def _failing(report: Report, kept: dict[str, Any], at: float) -> dict[str, Any]:
    others = {number: each for number, each in kept.items() if number != report.number}
    first = next((result for result in report.results if not result.passed), None)
    if first is None:
        return others
    return {**others, report.number: {"claim": first.claim, "observed": first.measured, "at": at}}


def _is_failing(kept: Any) -> bool:
    match kept:
        case {"claim": str(), "observed": str(), "at": int() | float()}:
            return True
    return False


def export(path: Path, course: CourseProgress) -> None:
    """Write the progress as JSON, or as a page that can be printed, by the file's ending. Raises LabError."""
    forms = {".json": as_json, ".html": certificate}
    form = forms.get(path.suffix)
    if form is None:
        raise LabError(
            f"Progress cannot be written as {path.name}.",
            "the ending says the form",
            f"name a file with {' or '.join(forms)}",
        )
    state.write_text(path, form(course))


def as_json(course: CourseProgress) -> str:
    """Lab by lab: number, title, check, claims, solved, exercises, right, measured."""
    return json.dumps({"labs": [asdict(lab) for lab in course.labs]}, indent=2) + "\n"


def certificate(course: CourseProgress) -> str:
    """One page of HTML that names what was checked on a live mesh, and loads nothing."""
    live = [
        (lab, [each for each in (lab.check, *lab.solved) if each and each.done and each.live]) for lab in course.labs
    ]
    rows = "".join(_certified(lab, checked) for lab, checked in live if checked)
    nothing = "<p>Nothing was checked on a live mesh yet.</p>"
    table = f"<table><tr><th>Lab<th>What the mesh showed<th>When</tr>{rows}</table>" if rows else nothing
    return _PAGE.format(table=table, notes=escape(course._notes()[0]))


def _shown_live(lab: LabProgress) -> list[Checked]:
    return [each for each in (lab.check, *lab.solved) if each and each.done and each.live]


def _certified(lab: LabProgress, checked: list[Checked]) -> str:
    claims = [f"<li>{escape(check.claim)}</li>" for each in checked for check in _checks(each.number)]
    last = datetime.fromtimestamp(max(each.at for each in checked), UTC)
    return f"<tr><td>{lab.number} {escape(lab.title)}<td><ul>{''.join(claims)}</ul><td>{last.day} {last:%B %Y}</tr>"


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>The Istio lab course</title>
<style>
body {{ font: 11pt/1.4 sans-serif; max-width: 48em; margin: 3em auto; padding: 0 1em }}
td, th {{ text-align: left; vertical-align: top; padding: .2em 1em .2em 0; border-bottom: 1px solid #999 }}
ul {{ margin: 0; padding-left: 1.2em }}
</style>
<h1>The Istio lab course</h1>
<p>Name: ______________________________</p>
<p>Each line below was true of a live mesh when it was checked. The reader's own machine kept this list.</p>
{table}
<p>{notes}</p>
</html>
"""


def _row(lab: LabProgress) -> tuple[str, ...]:
    check = (lab.check.passed, lab.check.of) if lab.check else (0, lab.claims)
    predictions = _bar(lab.right, lab.measured) if lab.measured else ""
    return lab.number, lab.title, _bar(*check), _bar(len(lab.solved), lab.exercises), predictions


def _bar(part: int, whole: int) -> str:
    filled = _BAR * part // whole
    return f"{'█' * filled}{'░' * (_BAR - filled)} {part}/{whole}"


def _of(lab: Lab, checks: Mapping[str, Any], predicted: Mapping[str, Any]) -> LabProgress:
    numbers = [f"{lab.number}.{n}" for n, _ in enumerate(lab.exercises, start=1)]
    tried = [_checked(number, checks) for number in numbers]
    asked = [f"{lab.number}.{n}" for n, _ in enumerate(lab.predictions, start=1)]
    verdicts = [right for number in asked if (right := _right(predicted.get(number))) is not None]
    return LabProgress(
        lab.number,
        lab.title,
        _checked(lab.number, checks),
        len(lab.checks),
        tuple(each for each in tried if each and each.done),
        len(numbers),
        sum(verdicts),
        len(verdicts),
    )


def _right(kept: Any) -> bool | None:
    """Whether a prediction came true; none where it was not measured, or what was kept is not of its form."""
    match kept:
        case {"predicted": str(), "right": bool(right)}:
            return right
    return None


def _checks(number: str) -> tuple[Check, ...]:
    return labs.exercise(number).checks if "." in number else labs.lab(number).checks


def _checked(number: str, kept: Mapping[str, Any]) -> Checked | None:
    """What was kept of a check; none where it is not of a check's form."""
    match kept.get(number):
        case {"passed": int(passed), "of": int(of), "live": bool(live), "at": int() | float() as at} if (
            0 <= passed <= of
        ):
            return Checked(number, passed, of, live, at)
    return None


def _worth(checked: Checked) -> tuple[float, bool]:
    return checked.passed / checked.of, checked.live
