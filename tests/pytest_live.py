"""The live group: the notebooks in order, some once more in any order, then tests/live, on a cluster of their own.

`make test-live` runs three parts side by side, each on a cluster, as they wait more than they work: notebooks 20 to 29
and the last, the other notebooks and the second time, and the tests. What would take an hour for every lab is drawn: N
notebooks a second time, N cases of each test marked `drawn`, and of the files marked `long` a third as many.

On a live mesh a request may be lost by chance, such as one that meets a connection as it closes. With --retry a
notebook that failed runs once more, from its beginning and after all others; and so does a file of tests, on a cluster
made anew. The run fails where it fails again, and tells in its last lines what failed the first time.

It runs where `labkit doctor` finds nothing bad; elsewhere it is skipped, and the last lines of the run say why.
What it started it ends. Nothing a test does reaches the reader's own cluster or home.
"""

from __future__ import annotations

import fcntl
import os
import random
import secrets
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from nbval.plugin import IPyNbFile
from pytest_recorded import is_recorded

from labkit.course import availability, labs
from labkit.settings import settings

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
HOMES = ROOT / ".cache"
CLUSTER = "istio-lab-test"
AGAIN = " (again)"
RETRY = " (retry)"
LOOKS = 5

READY = pytest.StashKey[bool]()
SKIPPED = pytest.StashKey[str]()
RETRIED = pytest.StashKey[set[str]]()
TIMES = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("live", "the course on a live mesh")
    group.addoption(
        "--again",
        type=int,
        default=0,
        metavar="N",
        help="run N notebooks a second time, drawn at random, in any order; N cases of each test marked `drawn`; and "
        "a third as many of the files marked `long`",
    )
    group.addoption(
        "--first", default="*", metavar="GLOB", help="which notebooks run a first time here; the others do elsewhere"
    )
    group.addoption("--seed", type=int, help="the draws and the order of the second time, as an earlier run printed it")
    group.addoption("--retry", action="store_true", help="run what failed once more, after all others")
    group.addoption("--require-live", action="store_true", help="fail where the live group cannot run")
    group.addoption("--cluster", default=CLUSTER, metavar="NAME", help=f"the group's own cluster ({CLUSTER})")
    group.addoption("--keep-cluster", action="store_true", help=f"leave the group's cluster, and its home in {HOMES}")


def pytest_configure(config: pytest.Config) -> None:
    """Downloads and builds are shared with the reader's own course; kubeconfig, binaries and progress are not."""
    if config.option.again and config.option.seed is None:
        config.option.seed = secrets.randbelow(2**32)
    if is_recorded(config):
        return
    os.environ["LABKIT_VENUE"] = "kind"
    os.environ["LABKIT_CACHE"] = str(settings().cache)
    os.environ["LABKIT_HOME"] = str(HOMES / config.option.cluster)
    os.environ["LABKIT_CLUSTER"] = config.option.cluster
    os.environ["LABKIT_HEADLESS"] = "1"
    settings.cache_clear()
    os.environ.pop("PYTEST_ADDOPTS", None)  # meant for this run, not for those that the guards' tests start


def pytest_report_header(config: pytest.Config) -> str | None:
    if not config.option.again:
        return None
    return f"drawn at random: the same draws and order once more with --seed={config.option.seed}"


# -- what belongs to the group, and in which order ----------------------------------------------
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> IPyNbFile | None:
    option = parent.config.option
    if not (option.again and file_path.suffix == ".ipynb" and (option.nbval or option.nbval_lax)):
        return None
    nodeid = file_path.relative_to(parent.config.rootpath).as_posix() + AGAIN
    return IPyNbFile.from_parent(parent, path=file_path, nodeid=nodeid)


@pytest.hookimpl(tryfirst=True)  # before `-m` looks at the markers
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if NOTEBOOKS in item.path.parents and not is_recorded(config):
            item.add_marker("live")
    again = dict.fromkeys(item.parent for item in items if _turn(item) == 2)
    chance = random.Random(config.option.seed)  # noqa: S311
    drawn = chance.sample(list(again), min(config.option.again, len(again)))
    turn = {notebook: place for place, notebook in enumerate(drawn)}
    left_out = [item for item in items if _turn(item) == 2 and item.parent not in turn]
    left_out += _not_drawn(items, config.option.again, chance)
    left_out += _in_files_not_drawn(items, config.option.again, chance)
    left_out += [item for item in items if _turn(item) == 1 and not item.path.match(config.option.first)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]
    items.sort(key=lambda item: (_turn(item), turn.get(item.parent, 0)))  # a notebook's cells stay in order


def _not_drawn(items: list[pytest.Item], cases: int, chance: random.Random) -> list[pytest.Item]:
    """The cases that the draw leaves out; without --again there is none, and every case runs."""
    of_a_test = defaultdict(list)
    for item in items:
        if cases and item.get_closest_marker("drawn"):
            of_a_test[item.nodeid.partition("[")[0]].append(item)
    return [item for all_ in of_a_test.values() for item in chance.sample(all_, max(0, len(all_) - cases))]


def _in_files_not_drawn(items: list[pytest.Item], cases: int, chance: random.Random) -> list[pytest.Item]:
    """The tests of those long files that the draw leaves out; without --again there is none."""
    long = [item for item in items if cases and item.get_closest_marker("long")]
    files = list(dict.fromkeys(item.path for item in long))
    left_out = chance.sample(files, max(0, len(files) - max(1, cases // 3)))
    return [item for item in long if item.path in left_out]


def _turn(item: pytest.Item) -> int:
    if not item.get_closest_marker("live"):
        return 0
    if NOTEBOOKS not in item.path.parents:
        return 3
    return 2 if AGAIN in item.nodeid else 1


# -- its beginning and its end ------------------------------------------------------------------
@pytest.hookimpl(tryfirst=True)  # before nbval starts a kernel
def pytest_runtest_setup(item: pytest.Item) -> None:
    if not item.get_closest_marker("live"):
        return
    stash = item.config.stash
    if SKIPPED not in stash:
        stash[SKIPPED] = _why_not()
    if stash[SKIPPED]:
        pytest.skip(stash[SKIPPED])
    if READY not in stash:
        stash[READY] = True
        _begin(item.session)
    if NOTEBOOKS in item.path.parents:
        skip_where_it_cannot_be_done(item.path.name[:2])
    item.stash[TIMES] = item.stash.get(TIMES, 0) + 1
    if item.stash[TIMES] == 2 and _first_of_its_file(item):
        _labkit(item.config, "down")  # whatever it left may be why the rest of it failed, too


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the other one, which must see the failure
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    turn = _turn(item)
    if not report.failed or turn == 0:
        return report
    if turn in (1, 2) and not _cluster_is_up():
        item.config.stash[SKIPPED] = f"there is no cluster since {report.nodeid} failed (fix: what that says)"
    elif item.config.option.retry and not _is_second_try(item):
        _run_once_more(item)
        report.outcome = "retried"
    return report


def skip_where_it_cannot_be_done(number: str) -> None:
    """A lab that needs images of another source than this group's is skipped, and says why."""
    found = [lab for lab in labs.LABS if lab.number == number]
    if found and (error := availability.obstacle(found[0])):
        pytest.skip(f"{error.what} {error.why} (fix: {error.fix})")


def _is_second_try(item: pytest.Item) -> bool:
    return item.parent.nodeid.endswith(RETRY) or item.stash.get(TIMES, 0) > 1


def _run_once_more(item: pytest.Item) -> None:
    """The whole notebook of this cell, or the whole file of this test, after all that is still to run."""
    file = item.nodeid.partition("::")[0]
    retried = item.config.stash.setdefault(RETRIED, set())
    if file in retried:
        return
    retried.add(file)
    items = _cells_anew(item) if NOTEBOOKS in item.path.parents else _tests_of(file, item.session)
    item.session.items += items
    item.session.testscollected += len(items)


def _cells_anew(cell: pytest.Item) -> list[pytest.Item]:
    notebook = IPyNbFile.from_parent(cell.parent.parent, path=cell.path, nodeid=cell.parent.nodeid + RETRY)
    notebook.ihook.pytest_collectstart(collector=notebook)  # what is compared, and after which rules, is settled there
    cells = list(notebook.collect())
    for each in cells:
        each.add_marker("live")
    return cells


def _tests_of(file: str, session: pytest.Session) -> list[pytest.Item]:
    return [each for each in session.items if each.nodeid.partition("::")[0] == file and _turn(each) == 3]


def _first_of_its_file(item: pytest.Item) -> bool:
    return _turn(item) == 3 and _tests_of(item.nodeid.partition("::")[0], item.session)[0] is item


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, tuple[str, dict]] | None:
    return ("retried", "R", ("RETRIED", {"yellow": True})) if report.outcome == "retried" else None


def _cluster_is_up() -> bool:
    from labkit.cluster import kind
    from labkit.errors import LabError

    try:
        return kind.is_up()
    except LabError:  # not even an engine answers
        return False


def _why_not() -> str:
    """What keeps a live mesh from this machine, and the remedy; empty where nothing does.

    Doctor gives an engine a second. On a machine where three groups begin at once that may be too little, so whatever
    it finds bad beside an engine that answers, it looks at again.
    """
    from labkit.cluster import doctor, engine

    for _ in range(LOOKS):
        findings = doctor.examine()
        if doctor.can_run_live(findings):
            return ""
        if not engine.state(engine.PATIENT).usable:
            break
    return "; ".join(f"{each.subject}: {each.value} (fix: {each.remedy})" for each in findings if each.status == "bad")


def _begin(session: pytest.Session) -> None:
    """From nothing: no cluster left over from an earlier run, a full cache, an empty home."""
    for command in ("down", "images"):
        with _alone():
            failed = _labkit(session.config, command)
        if failed:
            session.shouldfail = f"the live group could not begin: `labkit {command}` failed, its own words are above"
            pytest.fail(session.shouldfail)
    shutil.rmtree(HOMES / session.config.option.cluster, ignore_errors=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Two groups that begin at once fill one cache, one after the other."""
    HOMES.mkdir(exist_ok=True)
    with (HOMES / "begin.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    stash = session.config.stash
    if READY in stash and not session.config.option.keep_cluster:
        _labkit(session.config, "down")
    if session.config.option.require_live and stash.get(SKIPPED, "never asked for") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _labkit(config: pytest.Config, command: str) -> int:
    """Run a command of the course's own with its progress in view."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    with capture.global_and_fixture_disabled():
        reporter.ensure_newline()
        return subprocess.call([sys.executable, "-m", "labkit.cli", command], cwd=ROOT)


# -- what the last lines say --------------------------------------------------------------------
@pytest.hookimpl(trylast=True)  # after the slowest tests, where it is not scrolled away
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """What failed before it was tried once more; one line for each group that did not run in full, with its reason."""
    for report in terminalreporter.getreports("retried"):
        terminalreporter.section(f"failed the first time: {report.nodeid}", sep="_", yellow=True)
        terminalreporter.write_line(report.longreprtext)
    missed = Counter((_group(report.nodeid), _reason(report)) for report in terminalreporter.getreports("skipped"))
    if missed:
        terminalreporter.section("not run")
    for (group, reason), count in missed.items():
        terminalreporter.write_line(f"{group}: {count} not run: {reason}", yellow=True)
    if config.option.require_live and config.stash.get(SKIPPED, "never asked for"):
        terminalreporter.write_line("--require-live: the live group did not run", red=True)


def _group(nodeid: str) -> str:
    file = nodeid.partition("::")[0].removesuffix(RETRY)
    if file.endswith(AGAIN):
        return "notebooks, again"
    return "notebooks" if file.endswith(".ipynb") else file


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[2]).removeprefix("Skipped: ")
