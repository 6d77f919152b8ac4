"""Predictions: asked, answered, measured, counted; for the reader alone."""

from __future__ import annotations

import re
from contextlib import suppress

import nbformat
import pandas as pd
import pytest

from labkit import notebook, state
from labkit.course import availability, labs, predictions, progress
from labkit.course.predictions import Prediction
from labkit.errors import LabError
from labkit.notebook import magics
from labkit.settings import NOTEBOOKS, settings

COIN = Prediction(question="Which side?", choices=("heads", "tails", "the edge"), measured=str, why="Gravity.")


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path))
    return tmp_path


def came_true() -> tuple[int, int]:
    """In lab 05: of how many that were measured."""
    [lab] = [lab for lab in progress.so_far().labs if lab.number == "05"]
    return lab.right, lab.measured


@pytest.mark.parametrize("answer", ["tails", "TAILS", " ta"])
def test_an_answer_is_kept_until_it_is_measured(answer):
    assert predictions.ask("05.1", COIN, answer).answer == "tails"
    outcome = predictions.settle("05.1", COIN, "tails")
    assert outcome.right
    assert "You predicted so" in repr(outcome)
    assert came_true() == (1, 1)


def test_a_wrong_answer_is_told_with_the_reason():
    predictions.ask("05.1", COIN, "heads")
    outcome = predictions.settle("05.1", COIN, "the edge")
    assert not outcome.right
    for told in (repr(outcome), outcome._repr_html_()):
        assert "heads" in told
        assert "the edge" in told
        assert COIN.why in told
    assert came_true() == (0, 1)


def test_the_first_measurement_counts():
    predictions.ask("05.1", COIN, "heads")
    predictions.settle("05.1", COIN, "heads")
    predictions.settle("05.1", COIN, "tails")
    assert came_true() == (1, 1)


def test_who_skips_is_told_what_was_measured_and_nothing_is_counted(home):
    predictions.ask("05.1", COIN, None)
    assert repr(predictions.settle("05.1", COIN, "tails")) == "Measured: tails.\nGravity."
    assert "No prediction was measured" in repr(progress.so_far())
    assert not settings().progress_record.exists()


@pytest.mark.parametrize("answer", ["", "t h", "e", "<b>"])
def test_what_is_no_answer_is_said_to_be_none(answer):
    with pytest.raises(LabError, match="heads"):
        predictions.ask("05.1", COIN, answer)


@pytest.mark.parametrize("note", [[], {"05.1": 3}, {"05.1": {"predicted": 1}}, {"05.1": {"right": True}}])
def test_notes_of_another_kind_count_for_nothing(note):
    state.write(settings().progress_record, {"version": 1, "predictions": note})
    assert came_true() == (0, 0)
    assert predictions.settle("05.1", COIN, "tails").predicted == ""


def test_a_question_is_drawn_as_text():
    asked = Prediction(question="a < b?", choices=("<i>", "&"), measured=str, why="")
    drawn = predictions.ask("05.1", asked, None)._repr_html_()
    assert "<i>" not in drawn
    assert "a &lt; b?" in drawn


def test_what_stands_between_backticks_is_drawn_as_code_and_obeyed_nowhere():
    asked = Prediction(question="What does `get <b>` say, and `what else?", choices=(), measured=str, why="")
    drawn = predictions.ask("05.1", asked, None)._repr_html_()
    assert "<code>get &lt;b&gt;</code> say, and `what else?" in drawn


def test_a_notebook_takes_an_answer_and_the_last_command_is_evidence(monkeypatch):
    monkeypatch.setenv("LABKIT_HEADLESS", "1")
    monkeypatch.setattr(magics, "_said", "83\n")
    assert "99.1" in repr(notebook.predict("99.1"))
    notebook.predict("99.1", "about 80")
    assert notebook.outcome("99.1").right
    assert "1 of 1" in repr(notebook.check())


@pytest.mark.parametrize("lab", labs.LABS, ids=lambda lab: lab.number)
@pytest.mark.parametrize("evidence", ["", "pod/details deleted", None, [], {}, pd.DataFrame(), 3.5])
def test_evidence_of_another_kind_is_an_error_or_an_answer_and_never_a_traceback(lab, evidence):
    for place, asked in enumerate(lab.predictions, 1):
        with suppress(LabError):
            assert predictions.settle(f"{lab.number}.{place}", asked, evidence).measured


def test_an_outcome_before_its_experiment_says_so(monkeypatch):
    monkeypatch.setattr(magics, "_said", "")
    with pytest.raises(LabError, match="nothing to compare"):
        notebook.outcome("99.1")
    with pytest.raises(LabError, match="cannot be measured"):
        notebook.outcome("99.1", "pod/details deleted")


@pytest.mark.parametrize("number", ["05.9", "05", "x.1", "05.0"])
def test_unknown_predictions_are_said_to_be_unknown(number):
    with pytest.raises(LabError):
        labs.prediction(number)


def test_the_nearest_choice_is_the_one_that_was_measured():
    assert predictions.nearest(26, {"none": 0, "about 30": 30, "about 100": 100}) == "about 30"


def stored(number: str) -> list[tuple[str, str]]:
    [path] = NOTEBOOKS.glob(f"{number}-*.ipynb")
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    return [
        (number_of[1], "\n".join(str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs))
        for cell in cells
        if (number_of := re.search(r'outcome\("(\d\d\.\d)"', cell.source))
    ]


@pytest.mark.parametrize("lab", labs.LABS, ids=lambda lab: lab.number)
def test_what_was_measured_is_one_of_the_choices(lab):
    if availability.is_unrecorded(lab):
        pytest.skip(availability.why_unrecorded(lab))
    for number, told in stored(lab.number):
        measured = re.search(r"^Measured: (.*)\.$", told, re.MULTILINE)
        assert measured
        assert measured[1] in labs.prediction(number).choices


# What would have come out had it been otherwise: each measurement can tell more than one answer.
OTHERWISE = {
    "21.1": ("details-v1 canary", "the new one"),
    "21.2": (" 900 complete\n  90 incomplete\n  10 failed\n", "about one in ten"),
    "21.3": ("canary", "the new one"),
    "01.1": (pd.DataFrame({"pod": ["a", "b", "c"]}), "all three"),
    "01.2": ([pd.DataFrame({"status": [403]})] * 4, "none"),
    "02.1": (3 * 2**20, "about 3 MiB"),
    "02.2": (("a" * 64, "a" * 63 + "b"), "all but one"),
    "03.3": ("80:30080/TCP 127.0.0.1", "an address"),
    "04.1": (pd.DataFrame({"sidecar": [True]}), "it gets a sidecar"),
    "04.2": (pd.DataFrame({"field": ["spec.containers[curl].image"]}), "a few"),
    "05.1": (pd.DataFrame({"containers": ["details"]}), "1"),
    "06.1": ("404 page not found", "404"),
    "07.1": (pd.DataFrame({"section": ["routes", "routes"]}), "routes"),
    "07.3": ({200: 1, 503: 99}, "all"),
    "08.1": ("-----BEGIN " + "PRIVATE KEY-----", "the key"),
    "08.3": ("details 403", "HTTP 403"),
    "09.1": ({200: 70, 503: 30}, "about 30"),
    "09.3": (pd.DataFrame({"proxies": [3], "Prometheus": [3]}), "both the same"),
    "10.2": (0.01, "about 1 in 100"),
    "11.4": (160, "160"),
    "12.1": (100, "a quarter, about 100"),
    "13.3": ("a: 200\nb: 404", "each to its own server"),
    "14.4": ({"elsewhere": 0}, "no answer, as before"),
    "20.1": ("No resources found", "nothing"),
    "20.2": ("Accepted: True, ResolvedRefs: True", "nobody"),
    "20.3": (pd.DataFrame({"version": ["v1", "v2"]}), "the HTTPRoute"),
    "22.1": (pd.DataFrame({"span": range(5)}), "5"),
    "22.2": (pd.Series([90.0, 130.0]), "a tenth of a second"),
    "22.3": (pd.DataFrame({"trace": ["a"]}), "one"),
    "22.4": (pd.DataFrame({"spans": [1, 1, 0]}), "a tenth of them"),
    "23.1": ("     20 200 eu-west/a\n     20 200 us-east/a\n", "a half"),
    "23.2": ("    200 200 eu-west/a\n", "none"),
    "23.3": ("     10 200 eu-west/a\n     30 429\n", "10"),
    "23.4": ("200", "it goes directly"),
    "24.1": ("NAME   TYPE   DATA   AGE", "in istiod's memory alone"),
    "24.2": ("     90 200\n     10 503\n", "one in ten"),
    "24.3": ("200\n", "200"),
    "25.1": ("subject=CN = books.example.com", "books' certificate"),
    "25.2": ("403 \n", "403"),
    "25.3": ("200\n", "200"),
    "25.4": ("HTTP/2 403 \n", "403"),
    "25.5": ("HTTP/2 404 \n", "404"),
    "27.1": ('"GET /status/404?third HTTP/1.1" 404\n"GET /status/503?third HTTP/1.1" 503\n', "404 and 503"),
    "27.2": ("200 lines with a path, 120000 bytes in all", "200"),
    "27.3": (pd.DataFrame({"value": []}), "none"),
    "28.1": ("200\n", "200"),
    "28.2": ("[HTTP][allowed]: GET httpbin:8000/headers, headers: map[End-User:[jason]]", "yes"),
    "28.3": ("RBAC: access denied\n403\nit does not know of it\n", "it was not asked"),
    "28.4": ("200\n", "200"),
    "28.5": ("trafficextension.extensions.istio.io/mark configured\n503, x-shelf: \n", "requests fail"),
    "28.6": ("0 s:       25 of 100\n5 s:       25 of 100\n", "about 25"),
    "29.1": ("details-v1-1 enabled", "ztunnel"),
    "29.2": ('dst.addr=10.244.0.9:9080\ndirection="outbound"', "9080"),
    "29.3": ("default   ratings     Allow  WorkloadSelector\n403\n", "403"),
    "29.4": ("authorizationpolicy.security.istio.io/details created\n200\n", "200"),
    "29.5": ("  90 reviews-v1\n  10 reviews-v2\n", "about 10"),
    "30.1": ("HTTP/1.1 503 Service Unavailable", "503"),
    "30.2": ('GET /DC HTTP/1.1" 200 - via_upstream', "200"),
    "30.3": ("", "none"),
    "31.1": ("patient-1 1/2 Running", "no, never"),
    "31.2": ("RBAC: access denied 403", "403"),
    "31.3": ('GET / HTTP/1.1" 503 UH no_healthy_upstream', "503, and UH"),
    "99.1": ("9\n", "about 8"),
    "99.3": (pd.DataFrame({"written_by": []}), "nothing"),
}


@pytest.mark.parametrize("number", OTHERWISE)
def test_a_measurement_could_have_come_out_otherwise(number):
    evidence, answer = OTHERWISE[number]
    assert labs.prediction(number).measured(evidence) == answer
