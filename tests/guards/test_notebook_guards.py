"""Each guard of pytest_notebooks trips on a notebook that nbval alone would pass."""

from __future__ import annotations

import nbformat
import pytest
import pytest_notebooks
from nbformat.v4 import new_output
from nbval_run import cell, nbval
from pytest_notebooks import sanitize_faults, shell_escapes

# -- cells, all in one notebook: `always-run` lets each run though others fail ---------------------
HELLO = new_output("stream", name="stdout", text="hello\n")
ERROR = new_output("error", ename="ZeroDivisionError", evalue="division by zero")
WIDGET = new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {"model_id": "1"}})
FRAME = new_output("display_data", data={"text/plain": "1"})
REPORT = new_output("execute_result", data={"text/plain": "1/1 passed", "text/html": "<b>97 ms</b>"}, execution_count=1)
REPORTED = """class Report:
    _repr_html_ = lambda self: "<b>85 ms</b>"
    __repr__ = lambda self: "{} passed"
Report()"""
CHECKED = """times = globals().get("times", 0) + 1
type("Report", (), {"__repr__": lambda self: "2/2 passed" if times == 3 else "1/2 passed"})()"""
LACKING = new_output("execute_result", data={"text/plain": "✗ it is whole\n  seen: no answer"}, execution_count=1)
LACKS = """class Report:
    __repr__ = lambda self: {!r}
Report()"""
DRAWN = new_output("display_data", data={"text/plain": "1 bars", "image/svg+xml": "<svg/>",
                                        "application/vnd.plotly.v1+json": {"data": [], "layout": {}}})  # fmt: skip
DRAWS = """from IPython.display import display
display({{"text/plain": "{} bars", "image/svg+xml": "<svg></svg>",
          "application/vnd.plotly.v1+json": {{"data": [{{"x": [1]}}], "layout": {{}}}}}}, raw=True)"""
LIVE = "from IPython.display import display\nh = display(1, display_id=True)\nh.update(2)"

HONEST = {
    "verdict": cell("print('hello')", "nbval-check-output", outputs=[HELLO]),
    "intended failure": cell("1 / 0", "raises-exception"),
    "checked failure": cell("1 / 0", "raises-exception", "nbval-check-output", outputs=[ERROR]),
    "own timeout": cell("import time; time.sleep(0.1)", "timeout=60"),
    "new output": cell("print('never seen before')"),
    "live display": cell(LIVE),
    "same verdict, seen otherwise": cell(
        LACKS.format("✗ it is whole\n  seen: 2 of 3"), "nbval-check-output", outputs=[LACKING]
    ),
    "same verdict, other picture": cell(DRAWS.format(1), "nbval-check-output", outputs=[DRAWN]),
    "same verdict, other measurement": cell(REPORTED.format("1/1"), "nbval-check-output", outputs=[REPORT]),
}
BROKEN = {
    "wrong verdict": (cell("print('bye')", "nbval-check-output", outputs=[HELLO]), "differ"),
    "other verdict": (cell(REPORTED.format("0/1"), "nbval-check-output", outputs=[REPORT]), "differ"),
    "other verdict on what was seen": (
        cell(LACKS.format("✓ it is whole\n  seen: no answer"), "nbval-check-output", outputs=[LACKING]),
        "differ",
    ),
    "other verdict in a picture": (cell(DRAWS.format(0), "nbval-check-output", outputs=[DRAWN]), "differ"),
    "raises nothing": (cell("1 / 1", "raises-exception"), "raised nothing"),
    "raises another": (cell("int('x')", "raises-exception", "nbval-check-output", outputs=[ERROR]), "differ"),
    "never run": (cell("print('bye')", "nbval-check-output", count=None), "never run"),
    "no verdict": (cell("pass", "nbval-check-output"), "no stored output"),
    "shell": (cell("!false"), "shell escape"),
    "unknown tag": (cell("pass", "nbval-chek-output"), "Unknown cell tag"),
    "odd timeout": (cell("pass", "timeout=soon"), "Unknown cell tag"),
    "comment": (cell("# NBVAL_SKIP\n1 / 0"), "cell tags"),
    "skip": (cell("1 / 0", "nbval-skip"), "skip-reason"),
    "blank reason": (cell("1 / 0", "nbval-skip", **{"skip-reason": " "}), "skip-reason"),
    "checked live display": (cell(LIVE, "nbval-check-output", outputs=[FRAME]), "updates its display"),
    "checked widget": (cell("1", "nbval-check-output", outputs=[WIDGET]), "shows a widget"),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> dict[str, tuple[str, str]]:
    """How each cell of HONEST and BROKEN ended, and what was said about it."""
    cells = HONEST | {name: broken for name, (broken, _) in BROKEN.items()}
    for each in cells.values():
        each.metadata["tags"].append("always-run")
    _, reports = nbval(tmp_path_factory.mktemp("guards"), *cells.values())
    return dict(zip(cells, zip(reports.outcomes, reports.said, strict=True), strict=True))


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_cell_passes(ended, name):
    outcome, said = ended[name]
    assert outcome == "passed", said


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_cell_fails_for_its_own_reason(ended, name):
    outcome, said = ended[name]
    assert outcome == "failed"
    assert BROKEN[name][1] in said


@pytest.mark.parametrize(
    "source",
    ["!ls", "files = !ls", "!!ls", "%sx ls", "%system ls", "%%bash\nls", "%%sh\nls", "%%script sh\nls", "%%!\nls",
     "import os\nos.system('ls')", "for i in 'ab':\n    !ls"],
)  # fmt: skip
def test_each_way_to_a_shell_is_seen(source):
    assert shell_escapes(source)


@pytest.mark.parametrize("source", ["%kubectl get pods", "%%shell\nls | wc -l", "a != b", "print('!ls')", "1 +"])
def test_what_is_no_shell_escape_passes(source):
    assert not shell_escapes(source)


@pytest.mark.parametrize("name", ["same verdict, other picture", "same verdict, other measurement"])
def test_played_back_the_picture_and_the_measurement_are_compared_too(tmp_path, name):
    _, reports = nbval(tmp_path, HONEST[name], group="--nbval")
    assert reports.outcomes == ["failed"]
    assert "mismatch" in reports.said[0]


# -- a notebook that waits for its recording ------------------------------------------------------
PASSES, FAILS = (REPORTED.format(verdict) for verdict in ("2/2", "1/2"))


def unrun(source: str, *its_tags: str) -> nbformat.NotebookNode:
    return cell(source, "nbval-check-output", *its_tags, count=None)


@pytest.mark.parametrize(
    ("cells", "outcomes"),
    [
        ([unrun("print('measured')"), unrun(PASSES)], ["passed", "passed"]),
        ([unrun(FAILS)], ["failed"]),
        ([unrun("n = 1\n" + PASSES), unrun("n = 1\n" + PASSES)], ["failed", "skipped"]),
        ([unrun(CHECKED), unrun(CHECKED, "aside"), unrun(CHECKED)], ["passed", "passed", "passed"]),
    ],
    ids=["holds", "fails at its end", "holds too soon", "holds at its end alone"],
)
def test_where_nothing_is_stored_a_check_holds_at_its_end_and_not_before(tmp_path, monkeypatch, cells, outcomes):
    monkeypatch.setattr(pytest_notebooks, "waiting", lambda path: "a lab")
    assert nbval(tmp_path, *cells)[1].outcomes == outcomes


# -- the run of a notebook --------------------------------------------------------------------
def test_after_a_failed_cell_only_always_run_cells_run(tmp_path):
    ran = "open('ran', 'a').write('{}')".format
    cells = [cell(ran(1)), cell("1 / 0"), cell(ran(2)), cell(ran(3), "always-run"), cell(ran(4))]
    _, reports = nbval(tmp_path, *cells)
    assert reports.outcomes == ["passed", "failed", "skipped", "passed", "skipped"]
    assert (tmp_path / "ran").read_text() == "13"


def test_after_a_timeout_a_failing_clean_up_is_still_a_failure(tmp_path):
    slow = cell("import time; time.sleep(60)", "timeout=1")
    skip = cell("1 / 0", "nbval-skip", "always-run", **{"skip-reason": "needs a browser"})
    _, reports = nbval(tmp_path, slow, cell("pass"), cell("1 / 0", "always-run"), skip)
    assert reports.outcomes == ["failed", "skipped", "failed", "skipped"]
    assert "Timeout of 1 seconds" in reports.said[0]
    assert "needs a browser" in reports.said[3]


@pytest.mark.parametrize(
    "rules",
    ["regex: \\d+\nreplace: \n", "regex: \\d+\nreplace:\n", "regex: \\d+\n", "regex: (\nreplace: X\n",
     "regex: a\nreplace: X\nregex: a\nreplace: Y\n"],
    ids=["empty", "nothing", "missing", "invalid", "twice"],
)  # fmt: skip
def test_a_sanitize_rule_that_would_vanish_stops_the_run(tmp_path, rules):
    assert sanitize_faults(rules)
    (tmp_path / "sanitize.cfg").write_text(rules)
    status, reports = nbval(tmp_path, cell("pass"), options=("--nbval-sanitize-with", str(tmp_path / "sanitize.cfg")))
    assert status == pytest.ExitCode.USAGE_ERROR
    assert not reports.outcomes


def test_notebooks_in_parallel_stop_the_run(tmp_path):
    status, _ = nbval(tmp_path, cell("pass"), options=("--numprocesses", "2"))
    assert status == pytest.ExitCode.USAGE_ERROR
