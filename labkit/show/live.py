"""A figure that moves while its cell runs, and stays behind as a still one.

JupyterLab's plotly renderer never draws an existing figure anew, and a FigureWidget leaves megabytes of state in the
notebook. So the frames are SVG inside a widget, beside its Stop button; at the end the same output becomes the still
figure, and nothing is left of the widget.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.show.figure import Figure

SHORTEST = 0.2  # seconds from one frame to the next
WAITING = "Waiting for the first numbers …"
NOTHING = "No data came."


class Screen:
    """One output of a cell, for as long as the block lasts: frames and a Stop button, then the last frame, still.

    draw makes a figure of the data shown; stop is what the button calls (in another thread than the cell's);
    now tells seconds. Where `headless`, only the still figure is drawn.
    """

    def __init__(
        self, draw: Callable[[Any], Figure], stop: Callable[[], None], now: Callable[[], float], headless: bool
    ) -> None:
        self._draw, self._stop, self._now, self._headless = draw, stop, now, headless
        self._data: Any = None
        self._drawn = float("-inf")

    def __enter__(self) -> Screen:
        if not self._headless:
            self._open()
        return self

    def __exit__(self, *_: object) -> None:
        from IPython.display import display

        try:
            if self._headless:
                display(self._still(), raw=True)
            else:
                self._handle.update(self._still(), raw=True)
        finally:
            if not self._headless:
                self._close()

    def show(self, data: Any) -> None:
        """Draw this from now on; a frame that comes too soon after the one before is left out."""
        self._data = data
        if not self._headless and self._now() - self._drawn >= SHORTEST:
            self._frame.value = self._draw(data).svg
            self._drawn = self._now()

    def _still(self) -> dict[str, Any]:
        return {"text/plain": NOTHING} if self._data is None else self._draw(self._data)._repr_mimebundle_()

    def _open(self) -> None:
        from IPython.display import display
        from ipywidgets import HTML, Button, VBox

        self._frame = HTML(WAITING)
        self._button = Button(description="Stop", icon="stop", tooltip="the same as stop()")
        self._button.on_click(self._clicked)
        _let_click_through(self._button)
        self._box = VBox([self._button, self._frame])
        self._handle = display(self._box, display_id=True)

    def _clicked(self, button: Any) -> None:
        button.description, button.disabled = "Stopping …", True
        self._stop()

    def _close(self) -> None:
        for widget in (self._box, self._button, self._frame):
            widget.close()


def _let_click_through(button: Any) -> None:
    """ipykernel 7.4 sends a widget's messages to where the widget spoke last: to the cell, which is busy.

    Without that note they go where JupyterLab sends them, to a thread of their own, as in ipykernel 7.0 to 7.3.
    """
    vars(button.comm).pop("_reply_subshell_id", None)
