"""The notebooks' skeleton, the same in each. A rule takes a notebook and returns what is wrong with it."""

from __future__ import annotations

import ast
import copy
import pkgutil
import re
import statistics
from collections.abc import Callable, Iterator
from itertools import pairwise, takewhile
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from private import private_things
from pytest_notebooks import WIDGET_VIEW, cell_faults, tags
from waiting import waiting

from labkit.maintain.site.reading import FOLDED, folded
from labkit.recordings.stored import NOT_RUN

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]-*.ipynb"))
EXPLORE = FOLDER / "explore.ipynb"
Notebook = nbformat.NotebookNode

OPENING = ["Overview", "Before you start", "Time"]
CLOSING = ["Check", "Exercise", "Summary", "Next"]
SLIDE_TYPES = {"slide", "subslide", "fragment", "-", "skip", "notes"}  # as Jupyter's own inspector offers them
MODULES = {"labkit", "IPython", "ipywidgets", "json", "kubernetes", "pandas", "pathlib", "plotly", "tempfile", "yaml"}

GNU_ALONE = re.compile(
    r"head -[nc] ?-\d|grep -\w*P\w* |sed -i|date (?:-d|--date)|stat -c|(?m:^timeout \d)|xargs -d|readlink -f|\btac\b"
)
# a condition apart, whose answer is looked at and not its failure
STOPS_READING = re.compile(
    r"^(?!\s*(?:while|until|if)\b).*\b(?:kubectl|istioctl|curl)\b[^|\n]*\|\s*(?:head\b|grep (?:-\S+ )*-\w*[mq]).*",
    re.MULTILINE,
)


# -- reading a notebook -------------------------------------------------------------------------
def code(notebook: Notebook) -> list[Notebook]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: Notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def sections(notebook: Notebook) -> dict[str, str]:
    """The second-level headings in order, each with the prose up to the next."""
    parts = re.split(r"^## +(.+?) *$", prose(notebook), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def numbered(text: str) -> int:
    return len(re.findall(r"^ *\d+\. ", text, re.MULTILINE))


def tree(cell: Notebook) -> ast.Module:
    """The cell's Python; magics become the calls IPython makes of them."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.parse(TransformerManager().transform_cell(cell.source))
    except SyntaxError:
        return ast.Module([], [])


def imported(cell: Notebook) -> Iterator[str]:
    for node in ast.walk(tree(cell)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def verdicts(cell: Notebook) -> list[tuple[int, int]]:
    """How many claims passed, and of how many, where nbval compares it."""
    if "nbval-check-output" not in tags(cell):
        return []
    return [(int(passed), int(all_)) for passed, all_ in re.findall(r"\b(\d+)/(\d+) passed", str(cell.outputs))]


def lines(cell: Notebook) -> int:
    return len([line for line in cell.source.splitlines() if line.strip()])


# -- the rules ----------------------------------------------------------------------------------
def one_title(notebook: Notebook) -> list[str]:
    first = notebook.cells[0].source if notebook.cells else ""
    titles = re.findall(r"^# .+", prose(notebook), re.MULTILINE)
    return [] if first.startswith("# ") and len(titles) == 1 else ["one title, in the first cell"]


def sections_in_order(notebook: Notebook) -> list[str]:
    names = list(sections(notebook))
    if names[:3] == OPENING and names[-4:] == CLOSING:
        return []
    return [f"sections open with {OPENING} and close with {CLOSING}; here: {names}"]


def three_to_five_goals(notebook: Notebook) -> list[str]:
    goals = numbered(sections(notebook).get("Overview", ""))
    return [] if 3 <= goals <= 5 else [f"the Overview numbers 3 to 5 goals; here: {goals}"]


def time_measured(notebook: Notebook) -> list[str]:
    text = sections(notebook).get("Time", "").lower()
    untold = [
        what for what in ("reading", "running") if not re.search(rf"{what}[^.\d]*\d+(?:\.\d+)? (?:s|min)\b", text)
    ]
    return [f"Time tells minutes or seconds of {what}" for what in untold]


def three_line_summary(notebook: Notebook) -> list[str]:
    summary = [line for line in sections(notebook).get("Summary", "").splitlines() if line.strip()]
    *told, commands = summary or [""]
    faults = [] if len(told) == 3 else [f"the Summary has three lines; here: {len(told)}"]
    return faults if commands.startswith("To remember: ") else [*faults, "the Summary ends with what to remember"]


def one_import_cell(notebook: Notebook) -> list[str]:
    importing = [number for number, cell in enumerate(code(notebook)) if any(imported(cell))]
    return [] if len(importing) == 1 else [f"one cell imports; here: {len(importing)}"]


def known_imports(notebook: Notebook) -> list[str]:
    return [f"`import {name}`" for cell in code(notebook) for name in imported(cell) if name not in MODULES]


def short_cells(notebook: Notebook) -> list[str]:
    lengths = [lines(cell) for cell in code(notebook)]
    faults = [f"cell {number} has {length} lines, 5 at most" for number, length in enumerate(lengths) if length > 5]
    if lengths and statistics.median(lengths) > 2:
        faults.append(f"the median cell has {statistics.median(lengths):g} lines, 2 at most")
    return faults


def prose_before_code(notebook: Notebook) -> list[str]:
    kinds = [cell.cell_type for cell in notebook.cells]
    longest = max((len(run) for run in "".join(kind[0] for kind in kinds).split("m")), default=0)
    return [] if longest <= 3 else [f"{longest} code cells in a row without prose"]


def no_story_in_comments(notebook: Notebook) -> list[str]:
    commented = [cell for cell in code(notebook) if re.search(r"^\s*# ", cell.source, re.MULTILINE)]
    return [f"a comment where prose should tell it: {cell.source.splitlines()[0]}" for cell in commented]


def run_in_order(notebook: Notebook) -> list[str]:
    counts = [cell.execution_count for cell in code(notebook) if "nbval-skip" not in tags(cell)]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"stored from one run, top to bottom; here: {counts}"]


def outputs_stored(notebook: Notebook) -> list[str]:
    return [] if any(cell.outputs for cell in code(notebook)) else ["no output is stored"]


def no_failure_unless_intended(notebook: Notebook) -> list[str]:
    def failed(cell: Notebook) -> bool:
        return any(output.output_type == "error" for output in cell.outputs)

    return [
        f"cell {number} {'should have failed' if 'raises-exception' in tags(cell) else 'failed'}"
        for number, cell in enumerate(code(notebook))
        if failed(cell) != ("raises-exception" in tags(cell)) and "nbval-skip" not in tags(cell)
    ]


def verdict_stored(notebook: Notebook) -> list[str]:
    if any(passed == all_ > 0 for cell in code(notebook) for passed, all_ in verdicts(cell)):
        return []
    return ["a cell tagged `nbval-check-output` stores `n/n passed`"]


def predictions_settled(notebook: Notebook) -> list[str]:
    """Three questions or more, each before its experiment, and its outcome after it."""
    said = [re.match(r'.*(predict|outcome)\("(\d\d\.\d)"', cell.source, re.DOTALL) for cell in code(notebook)]
    told = [(found[1], found[2]) for found in said if found]
    asked = [number for what, number in told if what == "predict"]
    faults = [] if len(asked) >= 3 else [f"three predictions or more; here: {len(asked)}"]
    wanted = [(what, number) for number in asked for what in ("predict", "outcome")]
    return faults if told == wanted else [*faults, f"each is asked, then measured; here: {told}"]


def near_miss(notebook: Notebook) -> list[str]:
    """A wrong answer that looks right, then the check that refuses it, before the exercise is solved."""
    before = takewhile(lambda cell: "solve(" not in cell.source, code(notebook))
    refused = [
        verdict
        for wrong, verdict in pairwise(before)
        if "aside" in tags(wrong) and "aside" in tags(verdict) and any(n < all_ for n, all_ in verdicts(verdict))
    ]
    return [] if refused else ["two cells tagged `aside` before `solve`: a wrong answer, and a check that refuses it"]


def answers_folded(notebook: Notebook) -> list[str]:
    """Wrong answers and solutions lie under a heading that JupyterLab opens folded."""
    hidden = [cell.id for cell in folded(notebook)]
    answers = [
        cell for cell in code(notebook) if "aside" in tags(cell) or re.match(r".*\bsol(ution|ve)\(", cell.source)
    ]
    return [f"an answer lies open: {cell.source}" for cell in answers if cell.id not in hidden]


def slides_chosen(notebook: Notebook) -> list[str]:
    """Each cell says what it is in a talk; the title begins it."""
    types = [cell.metadata.get("slideshow", {}).get("slide_type", "") for cell in notebook.cells]
    without = [cell.id for cell, kind in zip(notebook.cells, types, strict=True) if kind not in SLIDE_TYPES]
    faults = [f"no slide type (JupyterLab: property inspector): {name}" for name in without]
    return faults if types[:1] == ["slide"] else [*faults, "the first cell is no slide"]


def no_widget_state(notebook: Notebook) -> list[str]:
    views = [output for cell in code(notebook) for output in cell.outputs if WIDGET_VIEW in output.get("data", {})]
    return ["widget state is stored"] if "widgets" in notebook.metadata or views else []


def nothing_private(notebook: Notebook) -> list[str]:
    return private_things(nbformat.writes(notebook))


def cells_could_fail(notebook: Notebook) -> list[str]:
    """The guards of pytest_notebooks, without a cluster: unknown tags, shell escapes, unrun checks."""

    def options(cell: Notebook) -> dict[str, bool]:
        return {"check": "nbval-check-output" in tags(cell), "skip": "nbval-skip" in tags(cell)}

    return [fault for cell in code(notebook) for fault in cell_faults(cell, options(cell))]


def starts_nothing(notebook: Notebook) -> list[str]:
    text = "\n".join(ast.unparse(tree(cell)) for cell in code(notebook))
    words = re.findall(r"\b(?:__import__|eval|exec|os\.(?:system|popen)|subprocess|socket)\b\(?", text)
    return [f"a notebook starts no process and opens no socket of its own: {word}" for word in words if word != "exec"]


def commands_are_everywhere(notebook: Notebook) -> list[str]:
    """A reader's own shell may be macOS': what only GNU's tools know fails there."""
    shells = [cell.source for cell in code(notebook) if cell.source.startswith("%%shell")]
    return [f"only GNU knows {found}" for shell in shells for found in GNU_ALONE.findall(shell)]


def pipes_are_read_to_their_end(notebook: Notebook) -> list[str]:
    """Who still writes as nobody reads any more is ended, and with it the cell: by chance, as its output is long."""
    shells = [cell.source for cell in code(notebook) if cell.source.startswith("%%shell")]
    found = [line for shell in shells for line in STOPS_READING.findall(shell.replace("\\\n", ""))]
    return [f"may stop reading too soon (`sed -n 1p` does not): {line}" for line in found]


def retries_leave_nothing_to_take_back(notebook: Notebook) -> list[str]:
    """Before it asks again, curl truncates the file that holds the refused answer, which /dev/null does not allow."""
    commands = [line for cell in code(notebook) for line in re.split(r"[\n;|&]+", cell.source.replace("\\\n", ""))]
    found = [line for line in commands if "--retry" in line and "/dev/null" in line and "--fail" not in line]
    return [f"ends with 23 once the first answer is a refusal (`--fail` keeps no body): {line}" for line in found]


def names_exist(notebook: Notebook) -> list[str]:
    """What a cell names of labkit, it has: a renamed function is found here, not on a live cluster."""
    nodes = [node for cell in code(notebook) for node in ast.walk(tree(cell))]
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labkit")
        for alias in node.names
    }
    chains = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    full = {names.get(root, root) + dot + rest for root, dot, rest in (chain.partition(".") for chain in chains)}
    named = {*names.values(), *(chain for chain in full if re.fullmatch(r"labkit(\.\w+)+", chain))}
    return [f"there is no {name}" for name in sorted(named) if not _resolves(name)]


def _resolves(name: str) -> bool:
    try:
        pkgutil.resolve_name(name)
    except (AttributeError, ImportError):
        return False
    return True


def small_file(notebook: Notebook) -> list[str]:
    size = len(nbformat.writes(notebook))
    return [] if size < 2_000_000 else [f"{size / 1e6:.1f} MB; a code host shows no more than 2"]


RULES: list[Callable[[Notebook], list[str]]] = [
    one_title, sections_in_order, three_to_five_goals, time_measured, three_line_summary, one_import_cell,
    known_imports, short_cells, prose_before_code, no_story_in_comments, run_in_order, outputs_stored,
    no_failure_unless_intended, commands_are_everywhere, pipes_are_read_to_their_end,
    retries_leave_nothing_to_take_back, verdict_stored, predictions_settled, near_miss, answers_folded, slides_chosen,
    no_widget_state, nothing_private, cells_could_fail, starts_nothing, names_exist, small_file,
]  # fmt: skip


# What holds for any notebook, be it no lab
ANY = [
    one_title, one_import_cell, known_imports, short_cells, prose_before_code, no_story_in_comments, run_in_order,
    outputs_stored, no_failure_unless_intended, no_widget_state, nothing_private, cells_could_fail, starts_nothing,
    names_exist, small_file,
]  # fmt: skip


def as_if_run(notebook: Notebook) -> Notebook:
    """A notebook that waits for its recording, with what a run of it would store: so that the other rules hold it."""
    run = copy.deepcopy(notebook)
    for count, cell in enumerate(code(run), start=1):
        asked = re.match(r'(check|solve)\("', cell.source)
        last = [each.id for each in code(run) if each.source == cell.source][-1] == cell.id
        text = f"{int(last)}/1 passed" if asked else "something"
        failed = new_output("error", ename="E", evalue="")
        cell.execution_count = count
        cell.outputs = [failed if "raises-exception" in tags(cell) else new_output("stream", text=text)]
    return run


def read(path: Path) -> Notebook:
    notebook = nbformat.read(path, as_version=4)
    return as_if_run(notebook) if waiting(path) else notebook


# -- held by every notebook ---------------------------------------------------------------------
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_notebook_keeps(path, rule):
    assert rule(read(path)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_at_its_top_that_it_was_not_run_and_then_stores_nothing_or_does_not_say_so(path):
    notebook = nbformat.read(path, as_version=4)
    told = [number for number, cell in enumerate(notebook.cells) if cell.id == NOT_RUN]
    lab = waiting(path)
    assert told == ([1] if lab else [])
    if lab:
        assert f"LABKIT_SOURCE={lab.source}" in notebook.cells[1].source
        assert [cell.id for cell in code(notebook) if cell.outputs or cell.execution_count] == []


@pytest.mark.parametrize("rule", ANY, ids=lambda rule: rule.__name__)
def test_the_notebook_off_the_path_keeps(rule):
    assert rule(nbformat.read(EXPLORE, as_version=4)) == []


def test_there_is_no_other_notebook():
    assert set(FOLDER.glob("*.ipynb")) == {*NOTEBOOKS, EXPLORE}


def test_each_notebook_has_a_number_of_its_own_and_the_last_cleans_up():
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert len(set(numbers)) == len(numbers)
    assert NOTEBOOKS[-1].stem == "99-clean-up"


# -- and each rule is broken by one -------------------------------------------------------------
def markdown(source: str) -> Notebook:
    return new_markdown_cell(source)


def run(source: str, count: int, text: str = "ok", *cell_tags: str) -> Notebook:
    outputs = [new_output("stream", text=text)]
    return new_code_cell(source, execution_count=count, outputs=outputs, metadata={"tags": list(cell_tags)})


def guesses(first: int) -> list[Notebook]:
    """Three predictions, each with its outcome."""
    cells = []
    for number in ("05.1", "05.2", "05.3"):
        for what in ("predict", "outcome"):
            cells += [markdown("And?"), run(f'labkit.{what}("{number}")', first + len(cells) // 2)]
    return cells


GOOD = new_notebook(
    cells=[
        markdown("# A lab"),
        markdown("## Overview\nWhy.\n\n1. one\n2. two\n3. three"),
        markdown("## Before you start\nLab 00."),
        markdown("## Time\nReading 5 min, running 30 s."),
        run("import labkit\n%load_ext labkit", 1),
        markdown("## Pods are named at random\nLook."),
        run("%kubectl get pods", 2),
        markdown("## Check\nDone?"),
        run("labkit.check('05')", 3, "3/3 passed", "nbval-check-output"),
        markdown("## Exercise\nTry."),
        new_markdown_cell("### A near miss, and a solution", metadata={FOLDED: True}),
        run("%kubectl scale replicaset --selector app=ratings --replicas=2", 4, "scaled", "aside"),
        run("labkit.check('05.1')", 5, "0/1 passed", "aside", "nbval-check-output"),
        markdown("One way."),
        run("labkit.solve('05.1')", 6),
        markdown("### More"),
        *guesses(7),
        markdown("## Summary\n- one\n- two\n- three\n\nTo remember: `kubectl get`."),
        markdown("## Next\nLab 06."),
    ]
)
for number, cell in enumerate(GOOD.cells):
    cell.metadata["slideshow"] = {"slide_type": "-" if number else "slide"}
IMPORT, SHOW, CHECK, WRONG, REFUSED, PREDICT, SUMMARY = 4, 6, 8, 11, 12, 17, 28


def without(section: str) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        notebook.cells = [cell for cell in notebook.cells if not cell.source.startswith(f"## {section}")]

    return change


def source(number: int, text: str) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        notebook.cells[number].source = text

    return change


def output(text: str) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        notebook.cells[SHOW].outputs = [new_output("stream", text=text)]

    return change


def fields(number: int, **values) -> Callable[[Notebook], None]:
    def change(notebook: Notebook) -> None:
        notebook.cells[number].update(values)

    return change


def solved_first(notebook: Notebook) -> None:
    notebook.cells.insert(WRONG, run("labkit.solve('05.1')", 4))


def more_code(notebook: Notebook) -> None:
    notebook.cells[SHOW:SHOW] = [run("1", 1)] * 4


def cleared(notebook: Notebook) -> None:
    for cell in code(notebook):
        cell.outputs = []


def widget_state(notebook: Notebook) -> None:
    notebook.metadata["widgets"] = {}


ERROR = new_output("error", ename="E", evalue="")
TOKEN = ".".join(["eyJhbGciOiJSUzI1NiJ9", "eyJpc3MiOiJ0ZXN0ZXIifQ", "c2lnbmF0dXJlc2ln"])
BREAKS = [
    (one_title, source(0, "A lab")),
    (one_title, source(2, "# Another title")),
    *[(sections_in_order, without(section)) for section in OPENING + CLOSING],
    (sections_in_order, source(3, "## Duration")),
    (three_to_five_goals, source(1, "## Overview\n1. one\n2. two")),
    (three_to_five_goals, source(1, "## Overview\n" + "1. goal\n" * 6)),
    (time_measured, source(3, "## Time\nNot long.")),
    (time_measured, source(3, "## Time\nReading 5 min. Running: who knows.")),
    (three_line_summary, source(SUMMARY, "## Summary\nAll in one.\nTo remember: `kubectl get`.")),
    (three_line_summary, source(SUMMARY, "## Summary\n- one\n- two\n- three")),
    (one_import_cell, source(SHOW, "import json")),
    (one_import_cell, source(IMPORT, "1")),
    (known_imports, source(IMPORT, "import labkit, requests")),
    (known_imports, source(IMPORT, "from subprocess import run")),
    (short_cells, source(SHOW, "a\n" * 6)),
    (short_cells, lambda notebook: [cell.update(source="a\n" * 4) for cell in code(notebook)]),
    (prose_before_code, more_code),
    (no_story_in_comments, source(SHOW, "# first we look\n%kubectl get pods")),
    (run_in_order, fields(SHOW, execution_count=None)),
    (run_in_order, fields(SHOW, execution_count=7)),
    (outputs_stored, cleared),
    (no_failure_unless_intended, fields(SHOW, outputs=[ERROR])),
    (no_failure_unless_intended, fields(SHOW, metadata={"tags": ["raises-exception"]})),
    (verdict_stored, fields(CHECK, metadata={})),
    (verdict_stored, fields(CHECK, outputs=[new_output("stream", text="2/3 passed")])),
    (predictions_settled, source(PREDICT, "1")),
    (predictions_settled, source(PREDICT + 2, "1")),
    (predictions_settled, source(PREDICT + 4, 'labkit.predict("05.1")')),
    (near_miss, fields(WRONG, metadata={})),
    (near_miss, fields(REFUSED, metadata={"tags": ["nbval-check-output"]})),
    (near_miss, fields(REFUSED, metadata={"tags": ["aside"]})),
    (near_miss, fields(REFUSED, outputs=[new_output("stream", text="1/1 passed")])),
    (near_miss, solved_first),
    (answers_folded, fields(WRONG - 1, metadata={})),
    (answers_folded, source(SHOW, "labkit.solution('05.1')")),
    (answers_folded, source(PREDICT, "labkit.solve('05.1')")),
    (slides_chosen, lambda notebook: notebook.cells[3].metadata.pop("slideshow")),
    (slides_chosen, lambda notebook: notebook.cells[3].metadata.update(slideshow={"slide_type": "page"})),
    (slides_chosen, lambda notebook: notebook.cells[0].metadata.update(slideshow={"slide_type": "-"})),
    (no_widget_state, widget_state),
    (no_widget_state, fields(SHOW, outputs=[new_output("display_data", data={WIDGET_VIEW: {}})])),
    (nothing_private, output("-----BEGIN RSA PRIVATE KEY-----")),
    (nothing_private, output(TOKEN)),
    (nothing_private, output("/" + "home/somebody/istio/bin")),
    (nothing_private, output("https://" + ".".join(["pypi", "org"]) + "/simple")),
    (cells_could_fail, source(SHOW, "!kubectl get pods")),
    (cells_could_fail, fields(SHOW, metadata={"tags": ["nbval-check"]})),
    (starts_nothing, source(SHOW, "labkit.os.system('ls')")),
    (commands_are_everywhere, source(SHOW, "%%shell\nkubectl get pods | head -n -1")),
    (commands_are_everywhere, source(SHOW, "%%shell\nkubectl get pods | grep -oP 'a'")),
    (commands_are_everywhere, source(SHOW, "%%shell\ntimeout 5 kubectl get pods")),
    (pipes_are_read_to_their_end, source(SHOW, "%%shell\nkubectl get pods -o json | grep -m 1 -A 9 name")),
    (pipes_are_read_to_their_end, source(SHOW, "%%shell\nkubectl get pods |\n    head -n 1")),
    (pipes_are_read_to_their_end, source(SHOW, "%%shell\ncurl \\\n    -s localhost | grep -q ok")),
    (retries_leave_nothing_to_take_back, source(SHOW, "%%shell\ncurl -s --retry 5 -o /dev/null http://archive:8080")),
    (names_exist, source(SHOW, "labkit.mesh.bookinfo.no_such_thing()")),
    (names_exist, source(IMPORT, "from labkit import mesh\nmesh.no_such_room.function()")),
    (names_exist, source(IMPORT, "from labkit import no_such_name")),
    (small_file, output("x" * 2_000_001)),
]  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_notebook_keeps(rule):
    assert rule(GOOD) == []


@pytest.mark.parametrize(("rule", "change"), BREAKS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_notebook_that_breaks(rule, change):
    notebook = copy.deepcopy(GOOD)
    change(notebook)
    assert rule(notebook)


def test_every_rule_is_broken_by_a_notebook():
    assert {rule for rule, _ in BREAKS} == set(RULES)
