"""Watch the mesh: take data as it comes, draw it as it changes, and end in good order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from labkit import backend, session
from labkit.settings import settings
from labkit.show.live import Screen

if TYPE_CHECKING:
    import pandas as pd

    from labkit.show.figure import Figure

_stopped = threading.Event()


def watch(
    draw: Callable[[pd.DataFrame], Figure],
    source: Iterable[pd.DataFrame] | Callable[[], pd.DataFrame],
    seconds: float = 30.0,
    every: float = 1.0,
    window: float = 60.0,
) -> pd.DataFrame:
    """Draw what `source` yields while it comes, then leave the last figure; return the data that it shows.

    draw: one of show's figures, such as `show.red_panel`. source: yields frames, and is closed at the end; or is a
    function that is asked for a frame each `every` seconds, which gets a column `time` (datetimes, UTC) if it has none.
    Frames with that column add up, and what is more than `window` seconds older than the newest is let go; any other
    frame takes the place of the one before.

    It ends when `source` ends, after `seconds`, by the Stop button, by `stop()` or by interrupting the kernel: each
    leaves the figure as it was then. Errors of `source` are raised after that.
    """
    import pandas as pd

    _stopped.clear()
    ends, seen = backend.now() + seconds, pd.DataFrame()
    screen, frames = Screen(draw, stop, backend.now, settings().headless), _frames(source, every)
    with session.watched(), screen, closing(frames), suppress(KeyboardInterrupt):
        for frame in frames:
            seen = _kept(seen, frame, window)
            screen.show(seen)
            if _stopped.is_set() or backend.now() >= ends:
                break
    return seen


def stop() -> None:
    """End the view that is being watched as soon as its next data have come, as its Stop button does."""
    _stopped.set()


def _frames(
    source: Iterable[pd.DataFrame] | Callable[[], pd.DataFrame], every: float
) -> Generator[pd.DataFrame, None, None]:
    """Closing it closes the source."""
    import pandas as pd

    if not callable(source):
        yield from source
        return
    # the date is asked for once: a clock that is set meanwhile turns no order round
    date, began = pd.Timestamp(backend.unix_time(), unit="s", tz="UTC"), backend.now()
    while True:
        asked = backend.now()
        frame = source()
        yield frame if "time" in frame else frame.assign(time=date + timedelta(seconds=asked - began))
        backend.sleep(max(0.0, asked + every - backend.now()))


def _kept(seen: pd.DataFrame, frame: pd.DataFrame, window: float) -> pd.DataFrame:
    import pandas as pd

    if seen.empty or "time" not in frame:
        return frame
    both = pd.concat([seen, frame], ignore_index=True)
    span = timedelta(seconds=window) if pd.api.types.is_datetime64_any_dtype(both["time"]) else window
    return both[both["time"] >= both["time"].max() - span].reset_index(drop=True)
