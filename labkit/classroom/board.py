"""What the trainer sees of a class: made from what its participants told, and nothing else."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from labkit.classroom.messages import Failing
from labkit.classroom.store import Participant


@dataclass(frozen=True)
class Row:
    """One participant. quiet: seconds since a check passed; none where none has. heard: seconds since the last word."""

    id: int
    nickname: str
    lab: str
    passed: int
    quiet: float | None
    heard: float
    hand: bool
    failing: Failing | None


@dataclass(frozen=True)
class Stuck:
    """A claim that does not hold for so many participants, and what the last of them to tell observed."""

    number: str
    claim: str
    observed: str
    participants: int


@dataclass(frozen=True)
class Board:
    """A class at one moment. predictions: by number, how many predicted what, the most first."""

    rows: tuple[Row, ...]
    stuck: tuple[Stuck, ...]
    predictions: dict[str, dict[str, int]]


def board(participants: Sequence[Participant], now: float) -> Board:
    """Hands first, then who has waited longest for a check to pass; `now` in seconds since 1970."""
    rows = [_row(each, now) for each in participants]
    order = sorted(rows, key=lambda row: (not row.hand, -(row.quiet or 0), row.id))
    return Board(tuple(order), tuple(_stuck(participants)), _predictions(participants))


def _row(participant: Participant, now: float) -> Row:
    told, heard = participant.told, max(0.0, now - participant.at)
    quiet = None if told.quiet is None else told.quiet + heard
    hand = told.raised > max(told.lowered, participant.answered)
    return Row(participant.id, participant.nickname, told.lab, told.passed, quiet, heard, hand, told.failing)


def _stuck(participants: Sequence[Participant]) -> list[Stuck]:
    latest: dict[tuple[str, str], Failing] = {}
    count: Counter[tuple[str, str]] = Counter()
    for each in sorted(participants, key=lambda participant: participant.at):
        if failing := each.told.failing:
            latest[failing.number, failing.claim] = failing
            count[failing.number, failing.claim] += 1
    return [Stuck(*key, latest[key].observed, number) for key, number in count.most_common()]


def _predictions(participants: Sequence[Participant]) -> dict[str, dict[str, int]]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for each in participants:
        for number, choice in each.told.predictions.items():
            counts[number][choice] += 1
    return {number: dict(counts[number].most_common()) for number in sorted(counts)}
