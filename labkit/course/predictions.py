"""Predictions: a question before an experiment, the reader's answer, and how the experiment came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.course import notes
from labkit.course.markup import html
from labkit.errors import LabError


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A question that has an answer before the experiment, and one after it.

    choices: the answers to choose from. measured: tells from the experiment's evidence which of them came true.
    why: one sentence on what makes it come out so.
    """

    question: str
    choices: tuple[str, ...]
    measured: Callable[[Any], str]
    why: str


@dataclass(frozen=True)
class Question:
    """A prediction as it is asked. `answer`: what was answered; empty for nothing yet."""

    number: str
    asked: Prediction
    answer: str = ""

    def __repr__(self) -> str:
        choices = "\n".join(f"  - {choice}" for choice in self.asked.choices)
        return f"{self.asked.question}\n{choices}\n{self._what_now()}"

    def _repr_html_(self) -> str:
        choices = "".join(f"<li>{html(choice)}</li>" for choice in self.asked.choices)
        return f"<p><strong>{html(self.asked.question)}</strong></p><ul>{choices}</ul><p>{html(self._what_now())}</p>"

    def _what_now(self) -> str:
        if self.answer:
            return f"Your prediction: {self.answer}. Now run the experiment."
        return f'Which one? predict("{self.number}", "…") keeps your answer; to skip the question, just go on.'


@dataclass(frozen=True)
class Outcome:
    """How an experiment came out, beside what was predicted; `predicted` is empty where nothing was."""

    measured: str
    predicted: str
    why: str

    @property
    def right(self) -> bool:
        """Whether it came out as predicted."""
        return self.predicted == self.measured

    def __repr__(self) -> str:
        return f"{self._verdict()}\n{self.why}"

    def _repr_html_(self) -> str:
        return f"<p><strong>{html(self._verdict())}</strong></p><p>{html(self.why)}</p>"

    def _verdict(self) -> str:
        if not self.predicted:
            return f"Measured: {self.measured}."
        return f"Measured: {self.measured}. You predicted {'so' if self.right else self.predicted}."


def nearest(value: float, choices: Mapping[str, float]) -> str:
    """The choice whose number is the closest to what was measured."""
    return min(choices, key=lambda choice: abs(choices[choice] - value))


def ask(number: str, asked: Prediction, answer: str | None) -> Question:
    """The question; with an answer, the answer is kept until the experiment is measured.

    Raises LabError for an answer that is none of the choices.
    """
    if answer is None:
        return Question(number, asked)
    chosen = _one_of(number, asked, answer)
    notes.update("predictions", lambda kept: {**kept, number: {"predicted": chosen}})
    return Question(number, asked, chosen)


def settle(number: str, asked: Prediction, evidence: Any) -> Outcome:
    """Compare what was predicted with what the evidence says; the first measurement counts.

    Raises LabError for evidence of another kind than the experiment's.
    """
    measured = _measured(number, asked, evidence)
    kept = notes.part("predictions").get(number)
    if not (isinstance(kept, dict) and isinstance(kept.get("predicted"), str)):
        return Outcome(measured, "", asked.why)
    outcome = Outcome(measured, kept["predicted"], asked.why)
    if "right" not in kept:
        settled = {"predicted": outcome.predicted, "right": outcome.right}
        notes.update("predictions", lambda all_: {**all_, number: settled})
    return outcome


def _measured(number: str, asked: Prediction, evidence: Any) -> str:
    try:
        return asked.measured(evidence)
    except (ArithmeticError, AttributeError, LookupError, NameError, TypeError, ValueError) as error:
        raise LabError(
            f"Prediction {number} cannot be measured by this.",
            f"its experiment gives something else: {error}",
            "run the cell of the experiment once more, then this one",
        ) from error


def _one_of(number: str, asked: Prediction, answer: str) -> str:
    """The choice that is meant, whatever its case; its beginning is enough where it is the only one with it."""
    given = str(answer).strip().casefold()
    exact = [choice for choice in asked.choices if choice.casefold() == given]
    meant = exact or [choice for choice in asked.choices if given and choice.casefold().startswith(given)]
    if len(meant) == 1:
        return meant[0]
    choices = ", ".join(f'"{choice}"' for choice in asked.choices)
    raise LabError(
        f"{answer!r} is no answer to prediction {number}.",
        f"its choices are {choices}",
        f'take one of them, or its beginning: predict("{number}", "{asked.choices[0]}")',
    )
