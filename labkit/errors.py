"""The one error a learner sees."""

from __future__ import annotations


class LabError(Exception):
    """Something a reader can act on.

    what: one sentence, what happened. why: the cause, as far as it is known.
    fix: what to do, as a command wherever there is one.
    """

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what, why, fix)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        return f"{self.what}\n  why: {self.why}\n  fix: {self.fix}"

    def _render_traceback_(self) -> list[str]:
        """IPython shows this in place of a traceback (see IPython.core.interactiveshell)."""
        return [f"{type(self).__name__}: {self}"]
