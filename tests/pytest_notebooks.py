"""What nbval 0.11 lets pass in silence, made to fail; and two cell tags of the course's own.

Loaded for every pytest run (`addopts` in pyproject.toml), wherever the notebooks lie.

Tags: `nbval-check-output` the stored output is the verdict; `raises-exception` the cell must fail;
`nbval-skip` with the reason in the cell's metadata as `skip-reason`; `timeout=N` seconds for this cell;
`always-run` even after a cell has failed; `aside` no later cell builds upon this one, such as a wrong answer.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError, find_comment_markers, get_sanitize_patterns
from waiting import waiting

TAGS = {"nbval-check-output", "raises-exception", "nbval-skip", "always-run", "aside"}
TIMEOUT = re.compile(r"timeout=(\d+)")
# Live, they hold what was measured, and the verdict is in text/plain. Played back, they are what was recorded.
RICH = ("text/html", "image/svg+xml", "application/vnd.plotly.v1+json")
# Of a check that does not hold the claim is the verdict: a broken mesh may be seen to fail in more than one way.
MEASURED = {r"\n  seen: .*": r"\n  seen: MEASURED"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
SHELL_MAGICS = {"!", "sx", "system", "bash", "sh", "script"}
# What a notebook that waits for its recording may lack
NOT_STORED = (
    "The cell is checked but was never run: nbval would compare nothing",
    "The cell is checked but has no stored output: there is no verdict to compare",
)
VERDICT = re.compile(r"\b(\d+)/(\d+) passed")
LIVE_MESSAGES = {"update_display_data", "clear_output"}


# -- before anything runs ---------------------------------------------------------------------
def pytest_configure(config: pytest.Config) -> None:
    option = config.option
    if not (option.nbval or option.nbval_lax):
        return
    if option.nbval_lax and (getattr(option, "numprocesses", None) or getattr(option, "dist", "no") != "no"):
        raise pytest.UsageError("Live notebooks run in order on one cluster: leave out xdist's options (-n, --dist).")
    if option.nbval_sanitize_with:
        faults = sanitize_faults(Path(option.nbval_sanitize_with).read_text())
        if faults:
            raise pytest.UsageError(f"{option.nbval_sanitize_with}: " + "; ".join(faults))


def sanitize_faults(text: str) -> list[str]:
    """Rules that nbval would drop without a word, or that cannot be seen to have been applied."""
    rules = get_sanitize_patterns(text)
    faults = [f"`regex: {regex}` needs a visible replacement" for regex, to in rules if not to.strip()]
    written = len(re.findall(r"^regex:", text, re.MULTILINE))
    if written != len({regex for regex, _ in rules}):
        faults.append(
            f"{written} rules are written, {len(rules)} are read: each `regex: ` line needs a `replace: ` line"
        )
    for regex, _ in rules:
        try:
            re.compile(regex)
        except re.error as error:
            faults.append(f"`regex: {regex}`: {error}")
    return faults


def pytest_collectstart(collector: pytest.Collector) -> None:
    if isinstance(collector, IPyNbFile) and collector.config.option.nbval_lax:
        collector.skip_compare = (*collector.skip_compare, *RICH)
        collector.sanitize_patterns.update(MEASURED)


# -- each cell --------------------------------------------------------------------------------
@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    if not isinstance(item, IPyNbCell):
        return (yield)
    _skip_after_a_failure(item)
    first = waiting(item.path) is not None
    faults = cell_faults(item.cell, item.options)
    _refuse(item, [fault for fault in faults if not (first and fault in NOT_STORED)])
    if item.options["skip"]:
        pytest.skip(skip_reason(item.cell))
    with _timeout_of(item), _messages(item) as messages:
        result = yield
    _refuse(item, [*outcome_faults(item, messages), *(verdict_faults(item) if first else [])])
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    if isinstance(item, IPyNbCell) and report.failed and _failed_before(item) is None:
        item.parent.stash[FAILED] = item.cell_num
        item.parent.timed_out = False  # nbval would expect every later cell to fail, `always-run` ones included
    return report


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return list(cell.metadata.get("tags", []))


def skip_reason(cell: nbformat.NotebookNode) -> str:
    return str(cell.metadata.get("skip-reason", "")).strip()


def cell_faults(cell: nbformat.NotebookNode, options: dict) -> list[str]:
    """What is wrong with a cell before it has run."""
    faults = [f"Unknown cell tag `{tag}`" for tag in tags(cell) if tag not in TAGS and not TIMEOUT.fullmatch(tag)]
    if _comment_markers(cell.source):
        faults.append("nbval's comments are for nobody who reads the notebook: use cell tags")
    if shell := shell_escapes(cell.source):
        faults.append(f"A shell escape never fails a cell: {shell[0]}; use %%shell, %kubectl, %istioctl or %helm")
    if options["skip"] and not skip_reason(cell):
        faults.append("`nbval-skip` needs a `skip-reason` in the cell's metadata")
    if options["check"] and cell.execution_count is None:
        faults.append(NOT_STORED[0])
    if "nbval-check-output" in tags(cell) and not cell.outputs:
        faults.append(NOT_STORED[1])
    if options["check"] and any(WIDGET_VIEW in output.get("data", {}) for output in cell.outputs):
        faults.append("The cell is checked but shows a widget: nbval keeps its first frame, Jupyter its last")
    return faults


def verdict_faults(item: IPyNbCell) -> list[str]:
    """What is wrong with a check of a notebook that waits for its recording: there is no verdict to compare with, but
    each check holds where it is asked for the last time, and not before."""
    found = VERDICT.search(str(item.test_outputs))
    if not found:
        return []
    last = [cell.id for cell in item.parent.nb.cells if cell.source == item.cell.source][-1] == item.cell.id
    if (found[1] == found[2]) == last:
        return []
    return [f"The check {'does not hold at its end' if last else 'holds before its end'}: {found[0]}"]


def outcome_faults(item: IPyNbCell, messages: list[dict]) -> list[str]:
    """What is wrong with a cell that nbval let pass."""
    faults = []
    if item.options["check_exception"] and not any(out.output_type == "error" for out in item.test_outputs):
        faults.append("The cell is tagged `raises-exception` and raised nothing")
    if item.options["check"] and LIVE_MESSAGES & {message["msg_type"] for message in messages}:
        faults.append("The cell is checked but updates its display: nbval keeps its first frame, Jupyter its last")
    return faults


def shell_escapes(source: str) -> list[str]:
    """The calls that IPython makes of `!command`, `%sx`, `%%bash` and their like."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return []  # the kernel will say so
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    return [ast.unparse(call) for call in calls if _is_shell(call)]


def _is_shell(call: ast.Call) -> bool:
    name = call.func.attr
    if name in {"run_line_magic", "run_cell_magic"} and call.args:
        return isinstance(call.args[0], ast.Constant) and call.args[0].value in SHELL_MAGICS
    return name in {"system", "getoutput", "popen"} and ast.unparse(call.func.value) in {"get_ipython()", "os"}


def _comment_markers(source: str) -> list:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(find_comment_markers(source))


# -- what stands between nbval and a cell -----------------------------------------------------
FAILED = pytest.StashKey[int]()


def _failed_before(item: IPyNbCell) -> int | None:
    return item.parent.stash.get(FAILED, None)


def _skip_after_a_failure(item: IPyNbCell) -> None:
    failed = _failed_before(item)
    if failed is not None and "always-run" not in tags(item.cell):
        pytest.skip(f"cell {failed} of this notebook failed")


def _refuse(item: IPyNbCell, faults: list[str]) -> None:
    if faults:
        raise NbCellError(item.cell_num, "; ".join(faults), item.cell.source)


@contextmanager
def _timeout_of(item: IPyNbCell) -> Iterator[None]:
    """nbval asks the configuration for the timeout as each cell starts."""
    option = item.config.option
    usual = option.nbval_cell_timeout
    own = [int(match[1]) for tag in tags(item.cell) if (match := TIMEOUT.fullmatch(tag))]
    option.nbval_cell_timeout = own[0] if own else usual
    try:
        yield
    finally:
        option.nbval_cell_timeout = usual


@contextmanager
def _messages(item: IPyNbCell) -> Iterator[list[dict]]:
    """The kernel's messages about this cell, filled as the block ends: nbval drops the kinds it does not know."""
    notebook: IPyNbFile = item.parent
    read = notebook.get_kernel_message
    messages: list[dict] = []

    def read_and_keep(**words) -> dict:
        messages.append(read(**words))
        return messages[-1]

    def cell_of(message: dict) -> str | None:
        return message["parent_header"].get("msg_id")

    notebook.get_kernel_message = read_and_keep
    try:
        yield messages
    finally:
        notebook.get_kernel_message = read
        last = cell_of(messages[-1]) if messages else None  # nbval reads until this cell's kernel is idle
        messages[:] = [message for message in messages if cell_of(message) == last]
