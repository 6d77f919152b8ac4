"""Playing back: the same answers, in the lab's own order, and a word on everything else."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from playback import Cells
from timing import least, processor, wall

from labkit import backend, session
from labkit.backend.requests import Command, Http, Kubernetes
from labkit.errors import LabError
from labkit.notebook.watching import watch
from labkit.progress import Event, Progress
from labkit.recordings import files, keys, replay
from labkit.recordings.replay import NotRecorded, NotYet, Replay
from labkit.settings import settings
from labkit.show.figure import nothing


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(files, "RECORDINGS", tmp_path)
    return tmp_path / "home"


@pytest.fixture
def cells(home, tmp_path):
    home.mkdir()
    return Cells(tmp_path)


def played(mesh: Replay, source: str, act, cell: str | None = None):
    with backend.use(mesh):
        session.begin_cell(source, cell)
        try:
            return act()
        finally:
            session.end_cell()


def say(*words: str):
    return lambda: backend.run(["sh", "-c", *words], check=False)


def change(name: str):
    """A command that changes something, as far as its words go; there is no such program here."""
    return lambda: backend.run(["kubectl", "create", "namespace", name], check=False)


@pytest.fixture
def kubectl(home, monkeypatch):
    """A program of that name that says what it was asked; real, but no client of any cluster."""
    (home / "bin").mkdir(parents=True, exist_ok=True)
    program = home / "bin" / "kubectl"
    program.write_text('#!/bin/sh\necho "did: $*"\n')
    program.chmod(0o755)


# -- the same answers -----------------------------------------------------------------------------
def test_a_command_answers_as_it_did_and_is_not_run(cells, tmp_path):
    left = tmp_path / "left"
    source = f"touch {left}; echo out; echo err >&2; exit 3"
    before = cells.cell("%one", say(source))
    left.unlink()
    cells.write()
    heard = []
    after = played(Replay(), "%one", lambda: backend.run(["sh", "-c", source], check=False, on_line=heard.append))
    assert (after.returncode, after.stdout, after.stderr) == (3, "out\n", "err\n")
    assert after.seconds == before.seconds
    assert heard == ["out", "err"]
    assert not left.exists()


def test_answers_come_in_their_order_and_the_last_one_again(cells, tmp_path):
    count = tmp_path / "count"
    counting = f"echo x >> {count}; wc -l < {count}"
    cells.cell("%count", lambda: [say(counting)().stdout.strip() for _ in range(3)])
    cells.write()
    seen = played(Replay(), "%count", lambda: [say(counting)().stdout.strip() for _ in range(5)])
    assert seen == ["1", "2", "3", "3", "3"]


def test_an_error_is_raised_as_it_was(cells):
    def fetch():
        with pytest.raises(backend.Unreachable) as caught:
            backend.http("GET", "http://127.0.0.1:9/")
        return caught.value

    before = cells.cell("%fetch", fetch)
    cells.write()
    after = played(Replay(), "%fetch", fetch)
    assert (type(after), after.what, after.why, after.fix) == (type(before), before.what, before.why, before.fix)


def test_work_tells_its_outcome_and_its_progress_without_being_done(cells, home):
    def work():
        told: list[Event] = []
        progress = Progress(told.append, backend.now)

        def do(report):
            home.joinpath("made").touch()
            with Progress(report, backend.now).stage("make") as note:
                note("half way")
            return {"path": str(home / "made")}

        return backend.work("make it", do, progress.tell), [(each.stage, each.status, each.note) for each in told]

    before = cells.cell("%make", work)
    home.joinpath("made").unlink()
    cells.write()
    assert played(Replay(), "%make", work) == before
    assert not home.joinpath("made").exists()


def test_clocks_say_what_they_said(cells):
    def times():
        first = backend.now()
        say("true")()
        return first, backend.now(), backend.unix_time(), backend.now()

    before = cells.cell("%times", times)
    cells.write()
    assert played(Replay(), "%times", times) == before


def test_sequences_keep_their_own_clocks_whichever_threads_follow_them(cells):
    def one(name: str):
        with backend.sequence(name):
            say(f"echo {name}")()
            first = backend.now()
            say(f"echo {name} again")()
            return first, backend.now()

    def many():
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(one, "abcdefgh"))

    before = cells.cell("%many", many)
    cells.write()
    assert played(Replay(), "%many", many) == before


def test_what_is_asked_while_somebody_else_is_at_local_work_is_recorded(cells):
    begun, asked = threading.Event(), threading.Event()

    def at_work(_) -> str:
        begun.set()
        assert asked.wait(10)
        return "done"

    def meanwhile() -> str:
        assert begun.wait(10)
        found = backend.run(["echo", "meanwhile"]).stdout
        asked.set()
        return found

    def both():
        with backend.threads() as pool:
            work, other = pool.submit(backend.work, "local", at_work), pool.submit(meanwhile)
            return work.result(), other.result()

    before = cells.cell("%both", both)
    cells.write()
    asked.clear()
    begun.set()
    assert played(Replay(), "%both", both) == before == ("done", "meanwhile\n")


def in_a_block() -> str:
    with backend.threads() as pool:
        return pool.submit(backend.run, ["echo", "within"]).result().stdout


def as_a_question() -> str:
    return backend.together({"it": lambda: backend.run(["echo", "within"]).stdout}, 10)["it"]


@pytest.mark.parametrize("ask", [in_a_block, as_a_question])
def test_what_is_asked_within_local_work_is_not_recorded_in_whichever_thread(cells, ask):
    def within(_) -> str:
        return ask()

    assert cells.cell("%within", lambda: backend.work("local", within)) == "within\n"
    path = cells.write()
    assert '"kind":"run"' not in path.read_text().replace(" ", "")
    assert '"kind":"work"' in path.read_text().replace(" ", "")


def test_what_goes_on_beside_the_cells_is_not_recorded_and_not_started_again(cells, tmp_path):
    left = tmp_path / "left"

    def beside():
        going = backend.background("beside", say(f"touch {left}"))
        going.join()
        return left.exists()

    assert cells.cell("%beside", beside)
    left.unlink()
    path = cells.write()
    assert not played(Replay(), "%beside", beside)
    assert "touch" not in path.read_text().partition("\n")[2]


# -- time -----------------------------------------------------------------------------------------
def test_waits_do_not_wait(cells):
    def wait():
        return backend.wait("x", say("echo no").__call__, lambda _: backend.now() - began > 2, timeout=5, every=0.1)

    began = 0.0
    cells.cell("%wait", wait)
    cells.write()
    assert least(lambda: wall(lambda: played(Replay(), "%wait", wait)), 1.5) < 1.5


def test_a_wait_for_what_never_came_ends_with_what_it_saw_and_without_waiting(cells):
    cells.cell("%wait", say("echo no"))
    cells.write()

    def wait():
        return backend.wait("it", say("echo no"), lambda _: False, timeout=30, every=0.2)

    def ends():
        with pytest.raises(LabError, match="did not come about"):
            played(Replay(), "%wait", wait)

    assert least(lambda: wall(ends), 2) < 2


@pytest.mark.parametrize(("headless", "shortest", "longest"), [("1", 0.0, 0.7), ("", 0.7, 3.0)])
def test_a_live_view_takes_its_time_only_where_somebody_looks(cells, monkeypatch, headless, shortest, longest):
    def view():
        return watch(lambda frame: nothing("x", "y"), lambda: pd.DataFrame({"n": [1]}), seconds=0.8, every=0.2)

    monkeypatch.setenv("LABKIT_HEADLESS", "1")
    cells.cell("%watch", view)
    cells.write()
    monkeypatch.setenv("LABKIT_HEADLESS", headless)
    monkeypatch.setattr("labkit.show.live.Screen._open", lambda self: setattr(self, "_headless", True))
    assert shortest <= least(lambda: wall(lambda: played(Replay(), "%watch", view)), longest) < longest


# -- the lab's own timeline -------------------------------------------------------------------------
@pytest.fixture
def lab(cells, kubectl):
    """goto, look, a wrong answer and a look, the answer and a look."""
    cells.cell("goto('42')", lambda: (session.enter("42"), say("echo start")()))
    cells.cell("look()", say("echo look"))
    cells.cell("%create wrong", change("wrong"), "aside")
    cells.cell("look()", say("echo look"), "aside")
    cells.cell("%create right", change("right"))
    cells.cell("look()", say("echo look"))
    cells.cell("%last", say("echo last"))
    return cells


@pytest.fixture
def looks(lab, tmp_path):
    """The three looks differ in what they saw."""
    path = lab.write()
    head, cells = files.head(path), [files.Recording(path).played(number) for number in range(7)]
    for number, seen in ((1, "nothing"), (3, "wrong"), (5, "right")):
        [call] = cells[number].calls
        answer = {**call.answer, "stdout": seen}
        cells[number] = files.Played((files.replace(call, answer=answer),))
    files.write(path, head, cells)
    return Replay()


def look(mesh: Replay, cell: str | None = None) -> str:
    return played(mesh, "look()", say("echo look"), cell).stdout


def goto(mesh: Replay) -> None:
    played(mesh, "goto('42')", lambda: (session.enter("42"), say("echo start")()))


def create(mesh: Replay, name: str, source: str | None = None):
    return played(mesh, source or f"%create {name}", change(name))


def test_from_top_to_bottom(looks):
    goto(looks)
    seen = [look(looks), create(looks, "wrong").stdout, look(looks), create(looks, "right").stdout, look(looks)]
    assert seen == ["nothing", "did: create namespace wrong\n", "wrong", "did: create namespace right\n", "right"]


def test_a_cell_that_makes_no_sense_yet_says_which_one_it_needs(looks):
    with pytest.raises(NotYet) as caught:
        create(looks, "right")
    assert "goto('42')" in caught.value.why
    goto(looks)
    with pytest.raises(NotYet) as caught:
        played(looks, "%last", say("echo last"))
    assert "%create right" in caught.value.why


def test_a_cell_of_the_end_run_too_early_sees_the_mesh_as_it_is(looks):
    goto(looks)
    assert look(looks, "cell-5") == "nothing"


def test_what_stands_aside_may_be_left_out(looks):
    goto(looks)
    create(looks, "right")
    assert look(looks, "cell-5") == "right"


def test_a_cell_run_again_is_answered_as_the_mesh_is_by_then(looks):
    goto(looks)
    assert look(looks, "cell-1") == look(looks, "cell-1") == "nothing"
    create(looks, "wrong")
    assert look(looks, "cell-1") == "wrong"
    create(looks, "right")
    assert look(looks, "cell-1") == "right"
    goto(looks)
    assert look(looks, "cell-1") == "nothing"


def test_the_solution_typed_by_hand_counts_as_solved(looks):
    goto(looks)
    create(looks, "right", source="# my own cell\n%kubectl create namespace right")
    assert look(looks, "cell-5") == "right"


def test_a_new_kernel_goes_on_where_the_last_one_was(looks):
    goto(looks)
    create(looks, "right")
    assert look(Replay(), "cell-5") == "right"


def test_another_recording_of_the_lab_starts_anew(looks, tmp_path):
    goto(looks)
    create(looks, "right")
    path = tmp_path / "42-a-lab.jsonl"
    again = files.replace(files.head(path), recorded="2027-01-01T00:00:00Z")
    files.write(path, again, [files.Recording(path).played(number) for number in range(7)])
    with pytest.raises(NotYet):
        played(Replay(), "%last", say("echo last"))


@pytest.mark.parametrize("kept", ["", "{}", '{"lab": "42"}', "[1]", '{"lab": 1, "recorded": 2, "done": 3}'])
def test_a_file_of_progress_that_makes_no_sense_is_as_good_as_none(looks, kept):
    settings().timeline_record.write_text(kept)
    settings().lab_record.write_text(kept)
    goto(looks)
    assert look(looks) == "nothing"


def test_a_home_that_cannot_be_written_is_done_without(looks, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", "/dev/null/home")
    mesh = Replay()
    goto(mesh)
    create(mesh, "right")
    assert look(mesh, "cell-5") == "right"
    assert session.entered() == "42"


# -- what was never recorded ------------------------------------------------------------------------
def test_another_command_names_the_nearest_one_and_the_way_to_a_live_mesh(looks):
    goto(looks)

    def told() -> NotRecorded:
        with pytest.raises(NotRecorded) as caught:
            create(looks, "rihgt", source="%kubectl create namespace rihgt")
        return caught.value

    assert least(lambda: processor(told), 1) < 1
    assert "kubectl create namespace rihgt" in told().what
    assert "kubectl create namespace right" in told().why
    assert "labkit up" in told().fix


def test_a_manifest_that_was_changed_is_another_command(cells, kubectl, monkeypatch, tmp_path):
    monkeypatch.setattr(keys, "MANIFESTS", tmp_path)
    manifest = tmp_path / "07-x.yaml"
    manifest.write_text("weight: 90")
    command = 'kubectl apply -f "$LABKIT_MANIFESTS/07-x.yaml"'
    cells.cell("%apply", lambda: backend.run(["bash", "-c", command]))
    cells.write()
    assert played(Replay(), "%apply", lambda: backend.run(["bash", "-c", command])).returncode == 0
    manifest.write_text("weight: 10")
    with pytest.raises(NotRecorded):
        played(Replay(), "%apply", lambda: backend.run(["bash", "-c", command]))


def test_what_reaches_out_is_refused(cells):
    cells.cell("%one", say("true"))
    cells.write()
    for reach in (
        lambda: backend.download("http://127.0.0.1:9/", Path("/nowhere")),
        lambda: backend.port_is_free("127.0.0.1", 9),
        lambda: backend.http("GET", "http://127.0.0.1:9/"),
        lambda: backend.kubernetes("GET", "/version"),
        lambda: backend.port_forward("default", "pod", 80).__enter__(),
    ):
        with pytest.raises(NotRecorded):
            played(Replay(), "# typed", reach)


def test_without_any_recording_it_says_so(home):
    with pytest.raises(LabError, match="no recording"):
        replay.described()


# -- what is kept of a request ------------------------------------------------------------------------
def test_neither_cookies_nor_tokens_nor_keys_are_kept_of_a_request():
    secret = "c0ffee" * 4
    http = keys.kept(Http("GET", "http://x/", {"Authorization": secret, "Cookie": secret}))
    command = keys.kept(Command(("kubectl", "apply", "-f", "-"), "-----BEGIN PRIVATE " + f"KEY----- {secret}"))
    assert secret not in json.dumps([http, command])
    assert http["headers"] == ["authorization", "cookie"]


def test_a_key_made_anew_does_not_make_another_request():
    def body(modulus: str):
        return keys.kept(Kubernetes("PUT", "/x", {"jwks": json.dumps({"n": modulus, "e": "AQAB"})}))

    assert body("a" * 342) == body("b" * 342) != body("a" * 340)


@pytest.mark.parametrize(
    ("argv", "changes"),
    [
        (["kubectl", "get", "pods"], False),
        (["kubectl", "apply", "-f", "x"], True),
        (["kubectl", "run", "x", "--dry-run=server"], False),
        (["kubectl", "rollout", "status", "deployment/x"], False),
        (["kubectl", "rollout", "restart", "deployment/x"], True),
        (["/a/b/istioctl", "install", "-y"], True),
        (["/a/b/istioctl", "analyze"], False),
        (["bash", "-c", "kubectl get pods | grep x"], False),
        (["bash", "-c", "kubectl create namespace x --dry-run=client -o yaml |\n    kubectl apply -f -"], True),
        (["bash", "-c", "kubectl create namespace x --dry-run=client -o yaml"], False),
        (["bash", "-c", "kubectl get x -o name \\\n    | xargs -r kubectl delete"], True),
        (["docker", "ps"], False),
    ],
)
def test_which_commands_change_something(argv, changes):
    assert Command(tuple(argv)).changes == changes
