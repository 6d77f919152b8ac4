"""Progress in a notebook: one table, drawn again as stages come and go."""

from __future__ import annotations

from html import escape

from labkit.progress import Event

_SIGNS = {"running": "…", "done": "✓", "failed": "✗"}


class Notebook:
    """A listener for progress Events. Draws each change, or only the end where `headless`."""

    def __init__(self, headless: bool) -> None:
        self._events: dict[str, Event] = {}
        self._headless = headless
        self._handle = None

    def __call__(self, event: Event) -> None:
        self._events[event.stage] = event
        if not self._headless:
            self._draw()

    def close(self) -> None:
        """Draw the last state, if anything was done at all."""
        if self._events:
            self._draw()

    def _draw(self) -> None:
        from IPython.display import display

        bundle = {"text/plain": self.text(), "text/html": self.html()}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def text(self) -> str:
        """One line a stage, without its time: the same at each run."""
        return "\n".join(f"{_SIGNS[e.status]} {e.stage}" for e in self._events.values())

    def html(self) -> str:
        """One row a stage: sign, name, last state seen, seconds."""
        return "<table>" + "".join(map(_row, self._events.values())) + "</table>"


def line(event: Event) -> str:
    """One line for a terminal."""
    note = f"  {event.note}" if event.note else ""
    return f"{_SIGNS[event.status]} {event.stage:<28} {event.seconds:6.1f} s{note}"


def _row(event: Event) -> str:
    cells = (_SIGNS[event.status], escape(event.stage), escape(event.note), f"{event.seconds:.1f}\N{NO-BREAK SPACE}s")
    return "<tr>" + "".join(f'<td style="text-align:left">{cell}</td>' for cell in cells) + "</tr>"
