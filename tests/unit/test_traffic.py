"""Requests to the mesh: what is sent, what is read of the answers, and that nothing goes on unseen."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from statistics import NormalDist

import pandas  # noqa: F401  imported before hypothesis starts its clocks
import pytest
import yaml
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.backend.answers import Response
from labkit.errors import LabError
from labkit.mesh import traffic
from labkit.mesh.traffic import breaker, client, fortio
from labkit.settings import settings

# -- curl -------------------------------------------------------------------------------------------
bodies = st.text(st.characters(blacklist_characters=client._MARK), max_size=60)


@given(st.lists(st.tuples(bodies, st.integers(0, 599), st.floats(0, 10), st.integers(0, 1)), min_size=1, max_size=5))
def test_every_answer_of_curl_is_read_back(answers):
    def outcome(status, seconds, connections):
        return f'{client._MARK}{{"status": "{status:03d}", "seconds": {seconds}, "connections": {connections}}}\n'

    output = "".join(body + outcome(*rest) for body, *rest in answers)
    rows = client.parse(output)
    assert [(row["body"], row["status"], row["new_connection"]) for row in rows] == [
        (body, status, bool(connections)) for body, status, _, connections in answers
    ]


def test_the_pod_is_the_answers_own():
    mark = client._MARK + '{"status": "200", "seconds": 0.1, "connections": 1}\n'
    assert client.parse(json.dumps({"podname": "reviews-v1-x"}) + mark)[0]["pod"] == "reviews-v1-x"
    assert client.parse("[1]" + mark)[0]["pod"] == ""
    assert client.parse("<html>" + mark)[0]["pod"] == ""


# -- shares -----------------------------------------------------------------------------------------
parts = st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
confidences = st.floats(0.5, 0.999)


@given(parts, confidences)
def test_the_interval_holds_the_share_and_is_one_of_shares(part, confidence):
    found = traffic.share(*part, confidence)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.value in found


@given(parts, st.integers(2, 50), confidences)
def test_more_requests_make_the_interval_narrower(part, times, confidence):
    few, many = traffic.share(*part, confidence), traffic.share(part[0] * times, part[1] * times, confidence)
    assert many.high - many.low < few.high - few.low


@given(parts)
def test_more_confidence_makes_the_interval_wider(part):
    likely, sure = traffic.share(*part, 0.9), traffic.share(*part, 0.99)
    assert sure.low <= likely.low
    assert likely.high <= sure.high


@given(parts, confidences)
def test_the_interval_of_the_rest_is_the_mirror(part, confidence):
    successes, total = part
    one, rest = traffic.share(successes, total, confidence), traffic.share(total - successes, total, confidence)
    assert one.low == pytest.approx(1 - rest.high, abs=1e-9)


@given(parts, confidences)
def test_the_intervals_ends_are_the_shares_that_a_score_test_just_accepts(part, confidence):
    """Wilson's own definition: https://doi.org/10.1080/01621459.1927.10502953."""
    found, z = traffic.share(*part, confidence), NormalDist().inv_cdf((1 + confidence) / 2)
    for end in (found.low, found.high):
        assert abs(found.value - end) == pytest.approx(z * math.sqrt(end * (1 - end) / found.total), abs=1e-9)


@given(st.integers(0, 60), st.floats(0, 1))
def test_the_binomial_distribution_adds_up_to_one_around_its_mean(total, share):
    found = traffic.binomial(total, share)
    assert list(found.index) == list(range(total + 1))
    assert math.isclose(found.sum(), 1)
    assert math.isclose((found * found.index).sum(), total * share, abs_tol=1e-9)


def test_a_share_reads_as_a_percentage_and_its_error():
    assert repr(traffic.share(20, 100)) == "20 %, 95 % interval 13 to 29 %"
    assert repr(traffic.share(2000, 10_000)) == "20.0 %, 95 % interval 19.2 to 20.8 %"


@pytest.mark.parametrize(("successes", "total"), [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_share_is_refused(successes, total):
    with pytest.raises(LabError):
        traffic.share(successes, total)


# -- fortio -----------------------------------------------------------------------------------------
def report(codes=None, percentiles=(50, 75, 90, 95, 99), connections=2):
    codes = codes or {"200": 15, "503": 5}
    return {
        "RunType": "HTTP",
        "ActualQPS": 123.4,
        "ActualDuration": 162_000_000,
        "NumThreads": connections,
        "DurationHistogram": {
            "Count": sum(codes.values()),
            "Percentiles": [{"Percentile": p, "Value": p / 1000} for p in percentiles],
        },
        "RetCodes": codes,
        "URL": "http://httpbin:8000/get",
    }


class Pod(Fake):
    """A pod that runs fortio; remembers what it was asked."""

    def __init__(self, output="", returncode=0) -> None:
        super().__init__()
        self.output, self.returncode, self.argv, self.stdin = output, returncode, [], []

    def run(self, argv, *, stdin, **_):
        self.argv.append(argv)
        self.stdin.append(stdin)
        return backend.Completed(tuple(argv), self.returncode, self.output, "not found", 0.1)


def option(argv, name):
    return argv[argv.index(name) + 1]


def test_a_load_is_what_fortio_reports():
    with backend.use(Pod("Fortio 1.66.5 running\n" + json.dumps(report(), indent=2))) as pod:
        found = traffic.load("http://httpbin:8000/get", connections=2, calls=20, headers={"end-user": "jason"})
    [argv] = pod.argv
    assert (option(argv, "-c"), option(argv, "-n"), option(argv, "-qps")) == ("2", "20", "0")
    assert (option(argv, "-H"), argv[-1]) == ("end-user: jason", "http://httpbin:8000/get")
    assert (found.calls, found.connections, found.qps, found.seconds) == (20, 2, 123.4, 0.162)
    assert found.outcomes[["code", "calls", "share"]].to_numpy().tolist() == [[200, 15, 0.75], [503, 5, 0.25]]
    assert found.percentiles[95] == 95


@given(
    st.dictionaries(st.integers(-1, 599), st.integers(1, 1000), min_size=1, max_size=5), st.text("log\n ", max_size=20)
)
def test_every_outcome_of_fortio_is_read_back(codes, noise):
    found = fortio.parse(noise + json.dumps(report({str(code): count for code, count in codes.items()})))
    assert found.codes == codes
    assert found.outcomes.calls.sum() == found.calls
    assert found.outcomes.share.sum() == pytest.approx(1)


REPORT = json.dumps(report())


@given(st.integers(0, len(REPORT) - 1))
def test_a_report_that_was_cut_is_told(end):
    with pytest.raises(LabError):
        fortio.parse(REPORT[:end])


@pytest.mark.parametrize(("connections", "calls"), [(0, 10), (8, 10), (1, 1_000_000)])
def test_a_load_that_fortio_would_change_or_that_is_none_is_refused(connections, calls):
    with backend.use(Pod()) as pod, pytest.raises(LabError):
        traffic.load("http://httpbin:8000/get", connections, calls)
    assert pod.argv == []


def test_a_missing_fortio_is_told():
    with backend.use(Pod(returncode=1)), pytest.raises(backend.CommandFailed) as caught:
        traffic.load("http://httpbin:8000/get")
    assert "deploy_fortio" in caught.value.fix


def test_fortio_is_deployed_from_the_image_that_the_node_has(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(fortio.objects, "wait_available", lambda *_, **__: None)
    sample = settings().release_folder / "samples/httpbin/sample-client/fortio-deploy.yaml"
    sample.parent.mkdir(parents=True)
    container = {"name": "fortio", "image": "fortio", "imagePullPolicy": "Always"}
    deployment = {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [container]}}}}
    sample.write_text(yaml.safe_dump_all([{"kind": "Service"}, deployment]))
    with backend.use(Pod()) as pod:
        traffic.deploy_fortio("mine")
    service, applied = yaml.safe_load_all(pod.stdin[0])
    assert option(pod.argv[0], "--namespace") == "mine"
    assert service == {"kind": "Service"}
    [found] = applied["spec"]["template"]["spec"]["containers"]
    assert found == container | {"imagePullPolicy": "IfNotPresent"}


# -- the circuit breaker's sweep --------------------------------------------------------------------
class Breaker:
    """A breaker that lets one request through at a time, and the limit's number wait; it may be interrupted."""

    def __init__(self, monkeypatch, rules=(), interrupted_at=None) -> None:
        self.applied, self.deleted, self.counted, self.bursts, self.interrupted_at = [], [], 0, 0, interrupted_at
        monkeypatch.setattr(breaker, "propagate", lambda rule, pods: self.applied.append(rule))
        monkeypatch.setattr(breaker, "load", self.load)
        monkeypatch.setattr(breaker, "find", lambda pod: pod)
        monkeypatch.setattr(breaker, "admin", lambda pod: nullcontext(pod))
        monkeypatch.setattr(breaker, "read", lambda *_: {traffic.OVERFLOWS: self.counted})
        monkeypatch.setattr(breaker.objects, "list_", lambda *_, **__: list(rules))
        monkeypatch.setattr(breaker.backend, "run", self.deleted.append)

    @property
    def limit(self):
        return pool(self.applied[-1])["http"]["http1MaxPendingRequests"]

    def load(self, url, connections, calls, qps, namespace):
        self.bursts += 1
        if self.bursts == self.interrupted_at:
            raise KeyboardInterrupt
        refused = calls * max(0, connections - 1 - self.limit) // connections
        self.counted += refused
        return traffic.Load(url, connections, calls, qps, 1.0, {200: calls - refused, 503: refused}, {})


def pool(rule):
    return rule["spec"]["trafficPolicy"]["connectionPool"]


def sweep(**kwargs):
    return traffic.breaker_sweep("echo", "http://echo:8080/", **kwargs)


def test_a_breaker_sweep_fills_up_row_by_row(monkeypatch):
    Breaker(monkeypatch)
    frames = list(sweep(connections=(1, 4), pending_limits=(1, 2), rounds=10))
    assert [len(frame) for frame in frames] == [4] * 4
    assert [int(frame.overflow_share.notna().sum()) for frame in frames] == [1, 2, 3, 4]
    found = frames[-1]
    assert found[["connections", "pending_limit"]].to_numpy().tolist() == [[1, 1], [4, 1], [1, 2], [4, 2]]
    assert list(found.overflow_share) == [0, 0.5, 0, 0.25]
    assert list(found.overflows) == list(found.refused) == [0, 20, 0, 10]


def test_a_rule_that_was_made_for_the_sweep_is_deleted(monkeypatch):
    mesh = Breaker(monkeypatch)
    list(sweep(connections=(2,), pending_limits=(1, 8)))
    assert [pool(rule)["http"]["http1MaxPendingRequests"] for rule in mesh.applied] == [1, 8]
    assert [argv[:4] for argv in mesh.deleted] == [["kubectl", "delete", "destinationrule", "echo"]]


OWN = {"host": "echo.default.svc.cluster.local", "trafficPolicy": {"outlierDetection": {"consecutive5xxErrors": 3}}}


@pytest.mark.parametrize("ended", ["whole", "closed", "interrupted"])
def test_however_a_sweep_ends_the_readers_rule_is_as_it_was(monkeypatch, ended):
    rules = [{"metadata": {"name": "other"}, "spec": {"host": "reviews"}}, {"metadata": {"name": "own"}, "spec": OWN}]
    mesh = Breaker(monkeypatch, rules, interrupted_at=3 if ended == "interrupted" else None)
    running = sweep()
    if ended == "interrupted":
        with pytest.raises(KeyboardInterrupt):
            list(running)
    elif ended == "closed":
        next(running)
        running.close()
    else:
        list(running)
    assert mesh.applied[0]["spec"]["trafficPolicy"]["outlierDetection"] == OWN["trafficPolicy"]["outlierDetection"]
    assert (mesh.applied[-1]["metadata"]["name"], mesh.applied[-1]["spec"]) == ("own", OWN)
    assert mesh.deleted == []


# -- steady -----------------------------------------------------------------------------------------
class Gateway(Fake):
    """Answers with these statuses, then with 200; None is no answer. `busy` is set at each request after `several`."""

    def __init__(self, *statuses, several=3) -> None:
        super().__init__()
        self.statuses, self.urls, self.several, self.busy = list(statuses), [], several, threading.Event()

    def gateway(self):
        return "http://127.0.0.1:8080"

    def http(self, method, url, headers, body, timeout):
        self.urls.append(url)
        if len(self.urls) >= self.several:
            self.busy.set()
        status = self.statuses.pop(0) if self.statuses else 200
        if status is None:
            raise backend.Unreachable("no answer", "", "")
        return Response(status, {}, "", 0.0)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "steady traffic"]


@pytest.fixture(autouse=True)
def nothing_left_behind():
    yield
    traffic.stop()
    assert threads() == []


def test_steady_traffic_goes_on_until_it_is_stopped():
    with backend.use(Gateway(404, None, 200)) as gateway:
        running = traffic.start(rate=20)
        assert gateway.busy.wait(5)
        assert running.running
        sent = traffic.stop()
    assert not running.running
    assert set(gateway.urls) == {"http://127.0.0.1:8080/productpage"}
    assert sent.requests == len(gateway.urls) == sum(sent.statuses.values())
    assert (sent.statuses[0], sent.statuses[404]) == (1, 1)


def test_an_interrupt_ends_steady_traffic_with_its_block():
    def cell():
        with traffic.start(rate=20):
            assert gateway.busy.wait(5)
            raise KeyboardInterrupt

    with backend.use(Gateway()) as gateway, pytest.raises(KeyboardInterrupt):
        cell()
    assert threads() == []


def test_there_is_one_steady_traffic_at_a_time():
    with backend.use(Gateway()):
        first, second = traffic.start(rate=20), traffic.start(rate=20)
        assert (first.running, second.running) == (False, True)
        assert len(threads()) == 1
        traffic.stop()


def test_steady_traffic_ends_by_itself():
    with backend.use(Gateway()) as gateway:
        running = traffic.start(rate=20, seconds=0.15)
        running._thread.join()
    assert not running.running
    assert len(gateway.urls) <= 4


@pytest.mark.parametrize("step", [-1000.0, 1000.0])
def test_a_clock_that_jumps_neither_floods_nor_hangs(step):
    class Jumping(Gateway):
        time = 0.0

        def now(self):
            self.time += step
            return self.time

    with backend.use(Jumping()) as gateway:
        running = traffic.start(rate=20, seconds=0.2)
        running._thread.join()
    assert not running.running
    assert len(gateway.urls) <= 5


def test_a_missing_gateway_is_told_at_once_and_nothing_goes_on():
    with backend.use(Gateway(None)), pytest.raises(backend.Unreachable):
        traffic.start()
    assert threads() == []


@pytest.mark.parametrize(("rate", "seconds"), [(0, 10), (1000, 10), (5, 0), (5, 1e9)])
def test_traffic_that_is_not_gentle_is_refused(rate, seconds):
    with backend.use(Gateway()) as gateway, pytest.raises(LabError):
        traffic.start(rate, seconds)
    assert gateway.urls == []


def test_nothing_started_is_nothing_to_stop():
    code = "from labkit.mesh import traffic; print(traffic.stop())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "None\n"


def test_a_kernel_that_ends_ends_its_traffic():
    code = """
import atexit, threading
atexit.register(lambda: print([t.name for t in threading.enumerate()]))  # runs last
from fake import Fake
from labkit import backend
from labkit.mesh import traffic

class Gateway(Fake):
    def gateway(self): return "http://127.0.0.1:8080"
    def http(self, *_): return backend.Response(200, {}, "", 0.0)

with backend.use(Gateway()):
    traffic.start()
    print(len(threading.enumerate()))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment)
    assert ended.stdout == "2\n['MainThread']\n", ended.stderr


def test_headers_go_with_each_request():
    outcome = client._MARK + '{"status": "200", "seconds": 0.1, "connections": 1}\n'
    with backend.use(Pod("{}" + outcome)) as pod:
        traffic.requests("http://reviews:9080/reviews/0", headers={"x-user": "anna"}, keep_open=False)
    [argv] = pod.argv
    sent = [argv[at + 1] for at, word in enumerate(argv) if word == "--header"]
    assert sent == ["x-user: anna", "Connection: close"]
