"""What a participant's machine tells the board: everything at once, each time, so that nothing can be out of order.

A message that is lost is made good by the next one, one that comes twice or late changes nothing: the highest number
counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from labkit.recordings import shapes

LARGEST = 1 << 14  # bytes of a message
NICKNAME = 24  # characters at most
_CLAIM, _OBSERVED, _CHOICE, _PREDICTIONS = 200, 300, 80, 200
_LAB, _NUMBER = re.compile(r"[0-9]{2}"), re.compile(r"[0-9]{2}(\.[0-9]{1,2})?")
LONGEST = 1e7  # seconds, some months: whoever waits longer is told to wait as long


class Refused(Exception):
    """Why a message is not taken, with the HTTP status that says so."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Failing:
    """A lab's or an exercise's check that did not pass when it was last run: its first claim that did not hold."""

    number: str
    claim: str
    observed: str


@dataclass(frozen=True)
class Told:
    """One participant's state.

    n: counts the messages. lab: where the participant is; "" before the first. passed: how many checks have passed.
    quiet: seconds since one did; none where none has. predictions: what was predicted, by number. raised, lowered: how
    often the hand was.
    """

    n: int
    lab: str = ""
    passed: int = 0
    quiet: float | None = None
    failing: Failing | None = None
    predictions: Mapping[str, str] = field(default_factory=dict)
    raised: int = 0
    lowered: int = 0

    def as_json(self) -> dict[str, Any]:
        """As it is sent, and as it is kept."""
        return asdict(self)


_FAILING = {"number": str, "claim": str, "observed": str}
_SHAPE = {
    "n": shapes.count, "lab": str, "passed": shapes.count, "quiet": shapes.either(float, int, type(None)),
    "failing": shapes.either(_FAILING, type(None)), "predictions": {...: str},
    "raised": shapes.count, "lowered": shapes.count,
}  # fmt: skip


def parsed(content: bytes) -> Told:
    """A message as it came. Raises Refused."""
    if len(content) > LARGEST:
        raise Refused(413, f"a message has {LARGEST} bytes at most")
    try:
        told = shapes.checked(shapes.parsed(content, "the message"), _SHAPE, "the message")
    except shapes.Malformed as error:
        raise Refused(422, str(error)) from None
    failing = told["failing"]
    _fits(told["lab"] == "" or _LAB.fullmatch(told["lab"]), "a lab has two digits")
    _fits(told["quiet"] is None or 0 <= told["quiet"] <= LONGEST, "seconds go from 0 to some months")
    _fits(max(told["n"], told["passed"], told["raised"], told["lowered"]) < 1 << 53, "a number is too large")
    _fits(len(told["predictions"]) <= _PREDICTIONS, f"there are {_PREDICTIONS} predictions at most")
    for number, choice in told["predictions"].items():
        _fits(_NUMBER.fullmatch(number), "a prediction has a number")
        _fits(len(choice) <= _CHOICE, f"a prediction has {_CHOICE} characters at most")
    if failing:
        _fits(_NUMBER.fullmatch(failing["number"]), "a check has a number")
        _fits(len(failing["claim"]) <= _CLAIM and len(failing["observed"]) <= _OBSERVED, "what fails is told too long")
    return Told(**{**told, "failing": Failing(**failing) if failing else None})


def nickname(text: Any) -> str:
    """A name to be shown. Raises Refused for one that is none."""
    name = " ".join(text.split()) if isinstance(text, str) else ""
    _fits(0 < len(name) <= NICKNAME, f"a nickname has from 1 to {NICKNAME} characters")
    _fits(name.isprintable(), "a nickname has letters that can be shown")
    return name


def clipped(claim: str, observed: str) -> tuple[str, str]:
    """A failing claim as it may be told."""
    return claim[:_CLAIM], observed[:_OBSERVED]


def chosen(choice: str) -> str:
    """A prediction as it may be told."""
    return choice[:_CHOICE]


def kept(text: str) -> Told:
    """A message as the store kept it."""
    told = json.loads(text)
    return Told(**{**told, "failing": Failing(**told["failing"]) if told["failing"] else None})


def _fits(holds: Any, why: str) -> None:
    if not holds:
        raise Refused(422, why)
