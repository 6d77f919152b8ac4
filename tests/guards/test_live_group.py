"""The live group begins, runs in order, ends what it began, and says why where it does not run."""

from __future__ import annotations

import fcntl
import os
import re

import nbformat
import pytest
import pytest_live
from nbformat.v4 import new_code_cell, new_notebook, new_output

from labkit.errors import LabError

LIVE = "import pytest\n@pytest.mark.live\ndef test_live(): pass\n"
CASES = """import pytest

@pytest.mark.live
@pytest.mark.drawn
@pytest.mark.parametrize("lab", "abc")
def test_live(lab): pass
"""


LONG = "import pytest\npytestmark = [pytest.mark.live, pytest.mark.long]\ndef test_long(): pass\n"


class Log:
    """A pytest plugin: what ran, in order."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.events.append(report.nodeid)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two notebooks, one unit and one live test: run it, and see what happened in which order."""
    (tmp_path / "notebooks").mkdir()
    for name in ("00", "01"):
        cells = [new_code_cell("1", execution_count=1)]
        nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{name}.ipynb")
    (tmp_path / "test_a_live.py").write_text(LIVE)
    (tmp_path / "test_b_unit.py").write_text("def test_unit(): pass\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    drawn\n    live\n    long\n")
    monkeypatch.setattr(pytest_live, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(pytest_live, "HOMES", tmp_path / "homes")
    for name in ("LABKIT_HOME", "LABKIT_CACHE", "LABKIT_CLUSTER", "LABKIT_HEADLESS", "PYTEST_ADDOPTS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # pytest_configure sets them; put back after the test

    def run(
        *options: str, why_not: str = "", fails: str = "", notebooks: bool = True, cluster: bool = True
    ) -> tuple[int, list[str]]:
        log = Log()

        def labkit(config: pytest.Config, command: str) -> int:
            log.events.append(command)
            return command == fails

        monkeypatch.setattr(pytest_live, "_why_not", lambda: why_not)
        monkeypatch.setattr(pytest_live, "_labkit", labkit)
        monkeypatch.setattr(pytest_live, "_cluster_is_up", lambda: cluster)
        arguments = [str(tmp_path), "--rootdir", str(tmp_path), "-p", "pytest_live", "-p", "pytest_notebooks"]
        arguments += ["--import-mode=importlib", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'base'}"]
        if not notebooks:
            arguments += ["--ignore", str(tmp_path / "notebooks")]
        status = pytest.main([*arguments, "--nbval-lax", "--nbval-current-env", *options], plugins=[log])
        return status, log.events

    return run


UNIT, LIVE_TEST = "test_b_unit.py::test_unit", "test_a_live.py::test_live"
FIRST = ["notebooks/00.ipynb::Cell 0", "notebooks/01.ipynb::Cell 0"]
AGAIN = ["notebooks/00.ipynb (again)::Cell 0", "notebooks/01.ipynb (again)::Cell 0"]
SEEDS = (2, 0)  # one that keeps the order, and one that turns it


def test_unit_tests_then_the_notebooks_twice_then_the_live_tests(course):
    status, events = course("--again=2")
    assert [*events[:5], *sorted(events[5:7]), *events[7:]] == [
        UNIT, "down", "images", *FIRST, *AGAIN, LIVE_TEST, "down",
    ]  # fmt: skip
    assert status == pytest.ExitCode.OK


def test_a_lab_that_needs_another_source_is_skipped_and_says_why(course, monkeypatch, capfd):
    refused = LabError("Lab 01 cannot be done here.", "nobody has it", "ask elsewhere")
    monkeypatch.setattr(pytest_live.availability, "obstacle", lambda lab: refused if lab.number == "01" else None)
    status, events = course()
    assert events == [UNIT, "down", "images", FIRST[0], LIVE_TEST, "down"]
    assert status == pytest.ExitCode.OK
    assert "Lab 01 cannot be done here. nobody has it (fix: ask elsewhere)" in capfd.readouterr().out


def second_time(course, *options: str) -> list[str]:
    return [event for event in course("--again=2", *options)[1] if "(again)" in event]


def test_the_second_time_is_in_the_order_of_its_seed(course):
    orders = [second_time(course, f"--seed={seed}") for seed in SEEDS]
    assert orders == [AGAIN, AGAIN[::-1]]
    assert second_time(course, f"--seed={SEEDS[0]}") == orders[0]


@pytest.mark.parametrize(("first", "expected"), [("none", []), ("01*", FIRST[1:]), ("*", FIRST)])
def test_the_first_time_can_run_elsewhere_and_the_second_here(course, first, expected):
    events = course("--again=2", f"--first={first}", "--seed=2")[1]
    assert events == [UNIT, "down", "images", *expected, *AGAIN, LIVE_TEST, "down"]


def test_one_of_two_is_drawn_by_the_seed(course):
    draws = [[event for event in course("--again=1", f"--seed={seed}")[1] if "(again)" in event] for seed in SEEDS]
    assert draws == [[each] for each in AGAIN]


def test_of_long_files_one_is_drawn_and_all_run_where_all_is_asked_for(course, tmp_path):
    for name in "def":
        (tmp_path / f"test_{name}_long.py").write_text(LONG)

    def drawn(*options: str) -> set[str]:
        return {event for event in course(*options, notebooks=False)[1] if "_long.py" in event}

    draws = {frozenset(drawn("--again=3", f"--seed={seed}")) for seed in range(12)}
    assert {len(each) for each in draws} == {1}
    assert len(draws) == 3
    assert len(drawn()) == len(drawn("--again=99")) == 3


def test_of_drawn_cases_as_many_run_as_notebooks_again_and_all_without_it(course, tmp_path):
    (tmp_path / "test_c_drawn.py").write_text(CASES)

    def drawn(*options: str) -> list[str]:
        return [event for event in course(*options, notebooks=False)[1] if "test_c_drawn" in event]

    assert len(drawn()) == 3
    assert {len(drawn("--again=2", f"--seed={seed}")) for seed in SEEDS} == {2}
    assert len({tuple(drawn("--again=1", f"--seed={seed}")) for seed in range(9)}) == 3
    assert drawn("--again=1", "--seed=1") == drawn("--again=1", "--seed=1")


def test_each_run_says_its_seed_and_cells_stay_in_order(course, tmp_path, capfd):
    cells = [new_code_cell(str(number), execution_count=1) for number in range(3)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "00.ipynb")
    order = second_time(course)
    seed = re.search(r"--seed=(\d+)", capfd.readouterr().out)[1]
    assert second_time(course, f"--seed={seed}") == order
    assert [event for event in order if "/00" in event] == [f"notebooks/00.ipynb (again)::Cell {n}" for n in range(3)]


def test_the_cluster_stays_only_if_asked(course):
    assert course("--keep-cluster", notebooks=False)[1] == [UNIT, "down", "images", LIVE_TEST]


def test_without_an_engine_only_the_unit_tests_run_and_the_last_lines_say_why(course, capfd):
    status, events = course("--again=2", why_not="container engine: none answers (fix: start Docker)")
    said = capfd.readouterr().out
    assert events == [UNIT]
    assert status == pytest.ExitCode.OK
    for group in ("notebooks: 2", "notebooks, again: 2", "test_a_live.py: 1"):
        assert f"{group} not run: container engine: none answers (fix: start Docker)" in said


def test_a_live_group_that_is_required_and_skipped_fails(course):
    assert course("--require-live", why_not="none")[0] == pytest.ExitCode.TESTS_FAILED
    assert course("--require-live", notebooks=False)[0] == pytest.ExitCode.OK


def test_a_required_live_group_that_was_not_selected_fails(course):
    assert course("--require-live", "-m", "not live")[0] == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(("command", "ran"), [("images", ["down", "images", "down"]), ("down", ["down", "down"])])
def test_a_failing_begin_stops_the_run_and_still_ends_what_it_began(course, command, ran):
    status, events = course(fails=command)
    assert events == [UNIT, *ran]
    assert status != pytest.ExitCode.OK


@pytest.mark.parametrize("cluster", [True, False])
def test_without_a_cluster_the_rest_is_not_tried(course, tmp_path, cluster):
    broken = new_notebook(cells=[new_code_cell("1 / 0", execution_count=1)])
    nbformat.write(broken, tmp_path / "notebooks" / "00.ipynb")
    status, events = course(cluster=cluster)
    assert status == pytest.ExitCode.TESTS_FAILED
    assert events[3:-1] == ([FIRST[1], LIVE_TEST] if cluster else [])


ONCE = """
from pathlib import Path
mark = Path({mark!r})
mark.write_text(mark.read_text() + "x" if mark.exists() else "x")
assert len(mark.read_text()) > {fails}
"""


@pytest.mark.parametrize("number", ["00", "01"])  # one that others follow, and the last one
@pytest.mark.parametrize(("fails", "expected"), [(1, pytest.ExitCode.OK), (2, pytest.ExitCode.TESTS_FAILED)])
def test_a_notebook_that_fails_runs_once_more_and_no_more(course, tmp_path, capfd, number, fails, expected):
    tries = tmp_path / "tries"
    cells = [new_code_cell(ONCE.format(mark=str(tries), fails=fails), execution_count=1), new_code_cell("1")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / f"{number}.ipynb")
    status, events = course("--retry", "--ignore-glob=*test_a*")
    assert status == expected
    assert len(tries.read_text()) == 2
    retried = [f"notebooks/{number}.ipynb (retry)::Cell {n}" for n in (0, 1)]
    assert [event for event in events if number in event] == (retried if fails == 1 else [])
    assert f"failed the first time: notebooks/{number}.ipynb::Cell 0" in capfd.readouterr().out


SHOWN = """
from IPython.display import display
display({{"text/plain": "passed", "text/html": Path({mark!r}).read_text()}}, raw=True)
"""


def test_what_runs_once_more_is_compared_as_it_was_the_first_time(course, tmp_path):
    """Live, a picture of what was measured differs from run to run, and only its text counts."""
    tries = str(tmp_path / "tries")
    shown = new_output("display_data", {"text/plain": "passed", "text/html": "measured elsewhere"})
    cells = [
        new_code_cell(ONCE.format(mark=tries, fails=1), execution_count=1),
        new_code_cell(
            SHOWN.format(mark=tries), execution_count=2, outputs=[shown], metadata={"tags": ["nbval-check-output"]}
        ),
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "00.ipynb")
    status, events = course("--retry")
    assert "notebooks/00.ipynb (retry)::Cell 1" in events
    assert status == pytest.ExitCode.OK


FLAKY = """import pathlib
import pytest

pytestmark = pytest.mark.live

@pytest.fixture(scope="module")
def mesh():
    pass

def test_before(mesh): pass

def test_once(mesh):
    mark = pathlib.Path({mark!r})
    mark.write_text((mark.read_text() if mark.exists() else "") + "x")
    assert len(mark.read_text()) > {fails}

def test_after(mesh): pass
"""


@pytest.mark.parametrize(("fails", "expected"), [(1, pytest.ExitCode.OK), (2, pytest.ExitCode.TESTS_FAILED)])
def test_a_file_of_tests_that_failed_runs_once_more_on_a_cluster_made_anew(course, tmp_path, capfd, fails, expected):
    tries = tmp_path / "tries"
    flaky = f"test_a_flaky_{fails}"  # a name of its own: Python imports each once
    (tmp_path / f"{flaky}.py").write_text(FLAKY.format(mark=str(tries), fails=fails))
    status, events = course("--retry", notebooks=False)
    assert status == expected
    assert len(tries.read_text()) == 2
    before, once, after = (f"{flaky}.py::test_{name}" for name in ("before", "once", "after"))
    again = [before, once, after] if fails == 1 else [before, after]
    assert events == [UNIT, "down", "images", before, after, LIVE_TEST, "down", *again, "down"]
    assert f"failed the first time: {once}" in capfd.readouterr().out


def test_a_notebook_that_fails_runs_once_more_only_if_asked(course, tmp_path):
    broken = new_notebook(cells=[new_code_cell("1 / 0", execution_count=1)])
    nbformat.write(broken, tmp_path / "notebooks" / "00.ipynb")
    assert course()[0] == course("--retry")[0] == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    ("silent", "usable", "looks"), [(0, True, 1), (2, True, 3), (9, True, pytest_live.LOOKS), (9, False, 1)]
)
def test_an_engine_that_was_too_slow_once_is_looked_at_again(monkeypatch, silent, usable, looks):
    from labkit.cluster import doctor, engine

    asked = []

    def examine() -> list[doctor.Finding]:
        asked.append("")
        value, status = ("no answer", "bad") if len(asked) <= silent else ("Docker", "good")
        return [doctor.Finding("container engine", value, status, "wait")]

    monkeypatch.setattr(doctor, "examine", examine)
    monkeypatch.setattr(engine, "state", lambda patience: engine.Engine(usable))
    assert pytest_live._why_not() == ("container engine: no answer (fix: wait)" if looks <= silent else "")
    assert len(asked) == looks


def test_without_an_engine_there_is_no_cluster(monkeypatch):
    from labkit.cluster import kind
    from labkit.errors import LabError

    def is_up() -> bool:
        raise LabError("No container engine can be used.", "none answers", "start one")

    monkeypatch.setattr(kind, "is_up", is_up)
    assert not pytest_live._cluster_is_up()


def test_two_groups_have_each_a_cluster_and_a_home(course, tmp_path):
    course("--cluster=istio-lab-test-2", notebooks=False)
    assert os.environ["LABKIT_CLUSTER"] == "istio-lab-test-2"
    assert os.environ["LABKIT_HOME"] == str(tmp_path / "homes" / "istio-lab-test-2")


def test_only_one_group_begins_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(pytest_live, "HOMES", tmp_path)
    with pytest_live._alone(), (tmp_path / "begin.lock").open("w") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest_live._alone():
        pass


def test_the_readers_own_cluster_and_home_are_out_of_reach():
    from labkit.settings import CLUSTER, settings

    assert settings().cluster != CLUSTER
    assert "istio-lab" not in settings().home.parts
