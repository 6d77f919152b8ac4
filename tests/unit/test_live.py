"""Live views: they move, they end in good order however they are ended, and what they leave is still and complete."""

from __future__ import annotations

import textwrap
import time
from itertools import pairwise
from queue import Empty

import pandas as pd
import pytest
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st
from jupyter_client import KernelManager

from labkit import backend
from labkit.errors import LabError
from labkit.notebook.watching import stop, watch
from labkit.show import live
from labkit.show.figure import PLOTLY, nothing

STILL = {PLOTLY, "image/svg+xml", "text/plain"}


def draw(frame):
    return nothing("Seen", f"{len(frame)} rows")


class Clock(Fake):
    """Time that passes only while somebody sleeps."""

    def __init__(self):
        super().__init__()
        self.seconds = 0.0

    def now(self):
        return self.seconds

    def unix_time(self):
        return 1_800_000_000 - 3600 * self.seconds  # somebody sets it back all the time

    def sleep(self, seconds):
        self.seconds += seconds


@pytest.fixture
def clock():
    with backend.use(Clock()) as clock:
        yield clock


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, and what came in its place, in the order of it."""

    class Handle:
        def update(self, bundle, raw):
            outputs.append(bundle)

    def display(shown, raw=False, display_id=False):
        outputs.append(shown)
        return Handle() if display_id else None

    outputs = []
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.delenv("LABKIT_HEADLESS", raising=False)
    return outputs


@pytest.fixture
def frames_shown(monkeypatch):
    """The moments at which a frame was drawn."""
    from ipywidgets import HTML

    class Watched(HTML):
        def __init__(self, value):
            super().__init__(value)
            self.observe(lambda _: moments.append(backend.now()), "value")

    moments = []
    monkeypatch.setattr("ipywidgets.HTML", Watched)
    return moments


class Source:
    """Rows that come each `every` seconds; notes that it was closed."""

    def __init__(self, every=1.0, count=10**6, after=lambda number: None):
        self.every, self.count, self.after, self.closed = every, count, after, False

    def __iter__(self):
        try:
            for number in range(self.count):
                yield pd.DataFrame({"time": [backend.now()], "number": [number]})
                self.after(number)
                backend.sleep(self.every)
        finally:
            self.closed = True


# -- what is shown --------------------------------------------------------------------------------
def test_a_view_moves_and_then_is_one_still_figure(clock, shown, frames_shown):
    watch(draw, iter(Source()), seconds=5)
    box, still = shown
    assert [type(child).__name__ for child in box.children] == ["Button", "Watched"]
    assert len(frames_shown) == 6
    assert still.keys() == STILL
    assert "6 rows" in still["text/plain"]


def test_headless_draws_its_last_frame_alone(clock, shown, frames_shown, monkeypatch):
    monkeypatch.setenv("LABKIT_HEADLESS", "1")
    watch(draw, iter(Source()), seconds=5)
    [still] = shown
    assert still.keys() == STILL
    assert "6 rows" in still["text/plain"]
    assert frames_shown == []


@pytest.mark.parametrize("every", [0.01, 0.15, 0.2, 0.7])
def test_no_more_than_five_frames_a_second_and_none_is_lost_at_the_end(clock, shown, frames_shown, every):
    seen = watch(draw, iter(Source(every)), seconds=4)
    assert len(frames_shown) > 1
    assert min(after - before for before, after in pairwise(frames_shown)) >= 1 / 5
    assert f"{len(seen)} rows" in shown[-1]["text/plain"]


def test_nothing_is_left_of_the_widgets(clock, shown, frames_shown):
    watch(draw, iter(Source()), seconds=2)
    assert [widget.comm for widget in (shown[0], *shown[0].children)] == [None] * 3


def test_a_source_without_data_says_so(clock, shown):
    assert watch(draw, iter([])).empty
    assert shown[-1] == {"text/plain": live.NOTHING}


# -- what is kept ---------------------------------------------------------------------------------
@given(st.integers(1, 40), st.integers(1, 20), st.booleans())
def test_what_is_kept_is_the_window_and_nothing_else(count, window, dates):
    def frames():
        for second in range(count):
            yield pd.DataFrame({"time": [pd.Timestamp(second, unit="s", tz="UTC") if dates else float(second)]})

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LABKIT_HEADLESS", "1")
        patch.setattr("IPython.display.display", lambda *_, **__: None)
        kept = watch(draw, frames(), window=window)
    assert len(kept) == min(count, window + 1)


def test_a_frame_without_time_takes_the_place_of_the_one_before(clock, shown):
    measured = [pd.DataFrame({"cell": range(count)}) for count in (1, 2, 3)]
    assert list(watch(draw, iter(measured)).cell) == [0, 1, 2]


def test_a_function_is_asked_in_time_and_its_answers_are_dated(clock, shown):
    asked = []

    def read():
        asked.append(backend.now())
        backend.sleep(0.3)  # an answer takes its time
        return pd.DataFrame({"number": [len(asked)]})

    seen = watch(draw, read, seconds=5, every=1.0)
    assert asked == pytest.approx([0, 1, 2, 3, 4, 5])
    assert list((seen.time - seen.time[0]).dt.total_seconds()) == pytest.approx(asked)
    assert str(seen.time.dt.tz) == "UTC"


def test_a_function_that_is_slow_is_not_asked_twice_at_once(clock, shown):
    asked = []

    def read():
        asked.append(backend.now())
        backend.sleep(2.5)
        return pd.DataFrame({"number": [len(asked)]})

    watch(draw, read, seconds=7, every=1.0)
    assert asked == [0, 2.5, 5]


# -- how it ends ----------------------------------------------------------------------------------
def press_stop(shown):
    def press(number):
        if number == 3:
            shown[0].children[0].click()

    return press


def call_stop(shown):
    return lambda number: stop() if number == 3 else None


def interrupt(shown):
    def raise_it(number):
        if number == 4:
            raise KeyboardInterrupt

    return raise_it


@pytest.mark.parametrize("end", [press_stop, call_stop, interrupt])
def test_each_way_to_end_it_leaves_the_figure_and_closes_the_source(clock, shown, end):
    source, closed = Source(after=end(shown)), []

    def noting(frame):
        closed.append(source.closed)
        return draw(frame)

    seen = watch(noting, iter(source))
    assert list(seen.number) == [0, 1, 2, 3, 4]
    assert "5 rows" in shown[-1]["text/plain"]
    assert closed == [False] * 5 + [True]  # before the figure is still
    assert shown[0].comm is None


def test_an_end_in_time_closes_the_source(clock, shown):
    source = Source()
    watch(draw, iter(source), seconds=3)
    assert source.closed


def test_a_source_that_ends_ends_the_view(clock, shown):
    assert len(watch(draw, iter(Source(count=4)))) == 4


def test_a_stop_before_does_not_count(clock, shown):
    stop()
    assert len(watch(draw, iter(Source()), seconds=5)) == 6


def test_an_error_is_raised_after_the_figure_is_still(clock, shown):
    def fails(number):
        if number == 2:
            raise LabError("istiod is down.", "nobody answers", "bring it back")

    source = Source(after=fails)
    with pytest.raises(LabError):
        watch(draw, iter(source))
    assert "3 rows" in shown[-1]["text/plain"]
    assert source.closed
    assert shown[0].comm is None


def test_an_interrupt_before_the_first_data_is_an_end_too(clock, shown):
    def never():
        raise KeyboardInterrupt
        yield

    assert watch(draw, never()).empty
    assert shown[-1] == {"text/plain": live.NOTHING}


# -- in a real kernel -----------------------------------------------------------------------------
CELL = """
    import pandas as pd
    from labkit import show, backend, watch
    ended = []
    def source():
        try:
            while True:
                yield pd.DataFrame({"pod": ["reviews-v1"], "milliseconds": [12.0]})
                backend.sleep(0.25)
        finally:
            ended.append("closed")
    def draw(frame):
        return show.propagation_clock(frame, f"{backend.now()}")
    seen = watch(draw, source(), seconds=600)
"""


class Kernel:
    """A kernel as JupyterLab talks to it."""

    def __init__(self, manager):
        self.manager, self.client = manager, manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def run(self, code):
        return self.client.execute(textwrap.dedent(code))

    def until(self, cell, kind, times=1):
        """The messages of a cell, until so many of a kind have come."""
        messages, ends = [], time.monotonic() + 60
        while sum(message["msg_type"] == kind for message in messages) < times:
            assert time.monotonic() < ends, [message["msg_type"] for message in messages]
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            if message["parent_header"].get("msg_id") == cell:
                messages.append(message)
        return messages

    def ended(self, cell):
        """The messages of a cell until its end."""
        messages = self.until(cell, "status")
        while messages[-1]["content"].get("execution_state") != "idle":
            messages += self.until(cell, "status")
        return messages

    def click(self, comm_id):
        """As JupyterLab does: over a subshell, so that it arrives while the kernel is busy with a cell."""
        self.client.control_channel.send(self.client.session.msg("create_subshell_request", {}))
        shell = self.client.get_control_msg(timeout=30)["content"]["subshell_id"]
        data = {"method": "custom", "content": {"event": "click"}}
        message = self.client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
        message["header"]["subshell_id"] = shell
        self.client.shell_channel.send(message)


@pytest.fixture(scope="module")
def kernel():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("LABKIT_HEADLESS", raising=False)
        manager = KernelManager()
        manager.start_kernel()
    kernel = Kernel(manager)
    yield kernel
    kernel.client.stop_channels()
    manager.shutdown_kernel(now=True)


def of_kind(messages, kind):
    return [message["content"] for message in messages if message["msg_type"] == kind]


def assert_still_and_closed(kernel, messages):
    [displayed] = of_kind(messages, "display_data")
    [still] = of_kind(messages, "update_display_data")
    assert still["transient"] == displayed["transient"]
    assert still["data"].keys() == STILL
    assert of_kind(messages, "error") == []
    assert of_kind(kernel.ended(kernel.run("ended")), "execute_result")[0]["data"]["text/plain"] == "['closed']"


def test_the_stop_button_works_while_its_cell_runs(kernel):
    cell = kernel.run(CELL)
    messages = kernel.until(cell, "comm_msg", times=3)
    buttons = [opened["comm_id"] for opened in of_kind(messages, "comm_open")
               if opened["data"]["state"].get("_model_name") == "ButtonModel"]  # fmt: skip
    kernel.click(*buttons)
    assert_still_and_closed(kernel, messages + kernel.ended(cell))


def test_an_interrupt_of_the_kernel_ends_a_view_and_is_no_error(kernel):
    cell = kernel.run(CELL)
    messages = kernel.until(cell, "comm_msg", times=3)
    kernel.manager.interrupt_kernel()
    assert_still_and_closed(kernel, messages + kernel.ended(cell))
