"""Build steps: built once, never half, and failing with the log's end."""

from __future__ import annotations

import pytest

from labkit.cluster.packages import steps
from labkit.cluster.packages.steps import Step, fingerprint, make, run
from labkit.errors import LabError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path


def quietly(_: str) -> None:
    """Nobody watches."""


class Counted:
    """Fills a folder with one file, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, into, note) -> None:
        self.times += 1
        (into / "result").write_text(str(self.times))


def test_the_same_inputs_are_built_once():
    fill = Counted()
    first, second = (make(Step("thing", ("v1",), fill), quietly) for _ in range(2))
    assert first == second
    assert fill.times == 1


def test_other_inputs_replace_what_was_built():
    fill = Counted()
    make(Step("thing", ("v1",), fill), quietly)
    folder = make(Step("thing", ("v2",), fill), quietly)
    assert (folder / "result").read_text() == "2"
    assert [path.name for path in folder.parent.iterdir()] == ["thing"]


def test_a_changed_file_is_another_input(tmp_path):
    script = tmp_path / "script"
    script.write_text("one")
    before = Step("thing", (script,), Counted()).key
    script.write_text("two")
    assert Step("thing", (script,), Counted()).key != before


def test_an_interrupt_keeps_what_was_built_and_leaves_nothing_half():
    make(Step("thing", ("v1",), Counted()), quietly)

    def interrupted(into, note):
        (into / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(Step("thing", ("v2",), interrupted), quietly)
    assert not (steps.builds() / "thing" / "half").exists()
    assert (steps.builds() / "thing" / "result").read_text() == "1"
    folder = make(Step("thing", ("v2",), Counted()), quietly)
    assert sorted(path.name for path in folder.iterdir()) == [steps.STAMP, "result"]


def test_words_do_not_run_into_each_other():
    assert fingerprint("ab", "c") != fingerprint("a", "bc")


def test_a_failed_command_shows_its_last_lines_and_where_the_rest_is():
    with pytest.raises(LabError) as caught:
        run(["sh", "-c", "seq 100; echo the cause >&2; exit 3"], "thing")
    log = steps.builds() / "logs" / "thing.log"
    assert "the cause" in caught.value.why
    assert str(log) in caught.value.why
    assert "\n3\n" not in caught.value.why
    assert len(log.read_text().splitlines()) == 101


def test_a_full_disk_is_called_by_its_name():
    with pytest.raises(LabError) as caught:
        run(["sh", "-c", "echo 'write /x: No space left on device' >&2; exit 1"], "thing")
    assert "docker system df" in caught.value.fix
