"""The house stays as it was drawn: arrows one way, a light front door, each constant in its own room."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from private import of_the_machine
from timing import least

from labkit import settings

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "labkit").rglob("*.py"))
HEAVY = {"IPython", "cryptography", "httpx", "ipywidgets", "kubernetes", "networkx", "pandas", "plotly"}


def committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def text(path: Path) -> str:
    return path.read_text(errors="replace")


# -- arrows -------------------------------------------------------------------------------------
def linted(folder: Path) -> subprocess.CompletedProcess:
    linter = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    return subprocess.run(linter, cwd=folder, capture_output=True, text=True, check=False)


def test_arrows_point_one_way():
    result = linted(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("show", "import labkit.mesh"),
        ("show", "import subprocess"),
        ("show", "import time"),
        ("show", "import labkit.notebook.watching"),
        ("mesh", "import subprocess"),
        ("mesh", "import labkit.course"),
        ("cluster", "import labkit.mesh"),
        ("course", "import time"),
        ("backend", "import labkit.cluster"),
    ],
)
def test_an_arrow_that_points_back_is_seen(tmp_path, room, line):
    house = tmp_path / "labkit"
    house.mkdir()
    (tmp_path / "pyproject.toml").write_text(text(ROOT / "pyproject.toml"))
    for path in MODULES:
        copy = house / path.relative_to(ROOT / "labkit")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text(path))
    (house / room / "intruder.py").write_text(f"{line}\n")
    result = linted(tmp_path)
    assert "intruder" in result.stdout, result.stdout + result.stderr
    assert result.returncode


# -- one way out --------------------------------------------------------------------------------
WAY_OUT = {"perform", "connected", "now", "unix_time", "sleep"}
HANDS_ON = r"\b_current\.|\bperform\("
MOST = 45  # definitions, where there were 119


def definitions(source: str) -> list[str]:
    """Methods of backends, which reach out; and functions that do nothing but hand on to one, or to the session."""
    module = ast.parse(source)
    classes = [
        each
        for each in module.body
        if isinstance(each, ast.ClassDef) and "Protocol" not in map(ast.unparse, each.bases)
    ]
    of_classes = [{each.name for each in of.body if isinstance(each, ast.FunctionDef)} for of in classes]
    functions = [each for each in module.body if isinstance(each, ast.FunctionDef)]
    installs = any(each.name == "install" for each in functions)  # it keeps what is the current one
    handing_on = [
        each.name
        for each in functions
        if installs
        and len(each.body) == 1 + bool(ast.get_docstring(each))
        and re.search(HANDS_ON, ast.unparse(each.body[-1]))
    ]
    return [*handing_on, *(name for names in of_classes if "perform" in names for name in names & WAY_OUT)]


def test_the_way_out_stays_narrow():
    found = [name for path in MODULES for name in definitions(text(path))]
    assert len(WAY_OUT) < len(found) <= MOST, found


def test_one_definition_more_is_seen():
    backend = "class B:\n def perform(self): ...\n def now(self): ...\n def other(self): ..."
    assert sorted(definitions(f"{backend}\ndef install(): ...\ndef run(): return _current.now()")) == [
        "now",
        "perform",
        "run",
    ]
    assert definitions("class B:\n def now(self): ...\ndef run(): return _current.now()") == []
    assert (
        definitions(
            backend.replace("B:", "B(Protocol):") + "\ndef install(): ...\ndef run():\n a = _current.now()\n return a"
        )
        == []
    )


# -- a light front door -------------------------------------------------------------------------
def seconds(*arguments: str) -> float:
    """Processor time of a fresh interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_import_takes_next_to_nothing():
    """Beyond what an interpreter takes that imports nothing."""
    timed = "import time; began = time.process_time(); import labkit; print(time.process_time() - began)"

    def told() -> float:
        return float(subprocess.run([sys.executable, "-c", timed], cwd=ROOT, capture_output=True, check=True).stdout)

    assert least(told, 0.05) < 0.05


def test_help_answers_within_a_second():
    assert least(lambda: seconds("-m", "labkit.cli", "--help"), 1.0) < 1.0


@pytest.mark.parametrize(
    "module", ["labkit", "labkit.cli", "labkit.settings", "labkit.backend", "labkit.notebook.magics"]
)
def test_import_brings_nothing_heavy(module):
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert HEAVY & set(loaded.split()) == set()


# -- constants in their own room ----------------------------------------------------------------
PINNED = [settings.ISTIO, settings.KUBERNETES, settings.KIND]
VERSION = re.compile(rf"(?<![\d.])(?:{'|'.join(map(re.escape, PINNED))})(?![\d.])")
ADDRESS = re.compile(r"https?://[\w-]+(?:\.[\w-]+)+")


def constants(source: str) -> list[str]:
    """The strings of a module that its program uses: not what stands as a statement of its own, as docstrings do."""
    module = ast.parse(source)
    documented = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    strings = [node for node in ast.walk(module) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [node.value for node in strings if id(node) not in documented]


def strays(source: str) -> list[str]:
    """Version and address constants; an address inside a longer text is told to a reader, not used."""
    found = [VERSION.search(constant) or ADDRESS.match(constant) for constant in constants(source)]
    return [match[0] for match in found if match]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_versions_and_addresses_stand_in_settings_alone(path):
    if path != ROOT / "labkit" / "settings.py":
        assert strays(text(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        f"x = '{settings.ISTIO}'",
        f"x = f'v{settings.KIND}{{y}}'",
        "x = 'https://example.com/a'",
        "x = f'https://a.b/{c}'",
    ],
)
def test_a_stray_constant_is_seen(source):
    assert strays(source)


@pytest.mark.parametrize("source", ["'''See https://example.com.'''", "x = 'http://productpage:9080'", "x = '1.2.3'"])
def test_what_is_no_stray_constant_passes(source):
    assert strays(source) == []


# -- what is committed --------------------------------------------------------------------------
def test_nothing_committed_tells_of_a_machine():
    files = [path for path in committed() if path.name != "test_notebooks.py"]  # it breaks the rules on purpose
    assert {path.name: found for path in files if (found := of_the_machine(text(path)))} == {}


@pytest.mark.parametrize(
    "words",
    ["https://" + ".".join(["pypi", "org"]), "/".join(["", "root", "istio", "bin"]), "/".join(["", "home", "me", "x"])],
)
def test_a_private_thing_is_seen(words):
    assert of_the_machine(words)


# -- one set of versions ------------------------------------------------------------------------
LOCKS = ("requirements.lock", "requirements-site.lock", "requirements-uv.lock", "requirements-hub.lock")


def locked(lock: str = LOCKS[0]) -> list[str]:
    return re.findall(r"^([A-Za-z0-9].*==[^\\\n]*[^\\\s])", text(ROOT / lock), re.MULTILINE)


def test_conda_installs_the_locked_versions():
    environment = yaml.safe_load(text(ROOT / "environment.yml"))
    assert environment["dependencies"][-1]["pip"] == [*locked(), "-e ."], "run `make environment.yml`"


def names(lines: list[str]) -> set[str]:
    return {re.split(r"[=<>~; \[]", line)[0] for line in lines}


def test_every_dependency_is_locked():
    project = tomllib.loads(text(ROOT / "pyproject.toml"))
    groups = project["dependency-groups"]
    assert names([*project["project"]["dependencies"], *groups["dev"]]) <= names(locked())
    assert names(groups["site"]) <= names(locked(LOCKS[1]))
    assert names(groups["uv"]) == names(locked(LOCKS[2]))
    assert names(groups["hub"]) <= names(locked(LOCKS[3]))


def test_a_hubs_servers_have_the_versions_of_the_course():
    ours = dict(line.split("==", 1) for line in locked() if " ;" not in line)
    theirs = dict(line.split("==", 1) for line in locked(LOCKS[3]) if " ;" not in line)
    assert {name: theirs[name] for name in ours.keys() & theirs} == {name: ours[name] for name in ours.keys() & theirs}


def test_the_site_draws_figures_with_the_plotly_that_made_them():
    plotly = [[line for line in locked(lock) if line.startswith("plotly==")] for lock in LOCKS[:2]]
    assert plotly[0] == plotly[1] != []
