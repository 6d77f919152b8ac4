"""A class: what is told, what the board makes of it, and what it withstands of those who send it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from dataclasses import replace

import httpx
import pytest
from boards import serving
from farend import free_port
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from labkit import cli, state
from labkit.api.credentials import identity
from labkit.classroom import client
from labkit.classroom.board import board
from labkit.classroom.messages import LARGEST, Failing, Refused, Told, nickname, parsed
from labkit.classroom.rehearsal import Plan, rehearse
from labkit.classroom.server import GUESSES, TELLS, Room
from labkit.classroom.store import Participant, Store
from labkit.errors import LabError
from labkit.settings import settings

# -- messages -----------------------------------------------------------------------------------------
NUMBERS = st.from_regex(r"\d\d(\.\d{1,2})?", fullmatch=True).filter(str.isascii)
FAILING = st.builds(Failing, NUMBERS, st.text(max_size=20), st.text(max_size=20))
COUNTS = st.integers(0, 1000)
TOLD = st.builds(
    Told, n=COUNTS, lab=st.sampled_from(["", "00", "15"]), passed=COUNTS, quiet=st.none() | st.floats(0, 1e6),
    failing=st.none() | FAILING, predictions=st.dictionaries(NUMBERS, st.text(max_size=9), max_size=4), raised=COUNTS,
    lowered=COUNTS,
)  # fmt: skip


@given(TOLD)
def test_what_is_told_is_heard(told):
    assert parsed(json.dumps(told.as_json()).encode()) == told


@given(st.binary(max_size=100) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from([*Told(0).as_json(), "x"]), inner, max_size=9), max_leaves=9,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_else_comes_is_refused(content):
    with pytest.raises(Refused):
        parsed(content)


@pytest.mark.parametrize("change", [
    {"n": -1}, {"n": 1.5}, {"n": 1 << 60}, {"lab": "5"}, {"lab": "<b>"}, {"passed": True}, {"quiet": -1.0},
    {"quiet": "1"}, {"failing": {}}, {"failing": {"number": "05", "claim": "x" * 999, "observed": ""}},
    {"failing": {"number": "javascript:", "claim": "", "observed": ""}}, {"predictions": {"05.1": 3}},
    {"predictions": {"x": "y"}}, {"predictions": {"05.1": "x" * 999}}, {"more": 1},
    {"predictions": {f"{n:02}.{m}": "" for n in range(30) for m in range(9)}},
])  # fmt: skip
def test_a_message_of_another_form_is_refused(change):
    with pytest.raises(Refused) as caught:
        parsed(json.dumps({**Told(1).as_json(), **change}).encode())
    assert caught.value.status == 422


@pytest.mark.parametrize("text", ["", " ", "x" * 25, "x" * 10_000, "a\u0000b", "a\u202eb", None, 3, ["a"]])
def test_no_nickname_is_refused(text):
    with pytest.raises(Refused):
        nickname(text)


def test_a_nickname_with_markup_is_a_text_like_others():
    assert nickname("  <b>Ada</b>\n & co ") == "<b>Ada</b> & co"


# -- the store ----------------------------------------------------------------------------------------
@given(st.lists(TOLD, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_late_doubled_and_reordered_messages_do_no_harm(tmp_path_factory, messages, chance):
    store = Store(tmp_path_factory.mktemp("class") / "class.sqlite")
    me = store.find(store.join("Ada", 0.0))
    sent = [*messages, *messages]
    chance.shuffle(sent)
    for each in sent:
        store.tell(me, each, 1.0)
    [kept] = store.everyone()
    newest = max(each.n for each in messages)
    assert kept.told in [each for each in messages if each.n == newest]
    store.close()


def test_it_outlives_its_process(tmp_path):
    store = Store(tmp_path / "class.sqlite")
    token, code = store.join("Ada", 0.0), store.code(0.0, 1)
    store.tell(store.find(token), Told(3, passed=2), 1.0)
    again = Store(tmp_path / "class.sqlite")  # the first was never closed
    assert again.find(token) == store.find(token)
    assert again.code(0.0, 1) == code
    assert again.key() == store.key()
    assert [each.told.passed for each in again.everyone()] == [2]


def test_a_code_holds_for_its_time(tmp_path):
    store = Store(tmp_path / "class.sqlite")
    first, until = store.code(0.0, 1)
    assert store.code(until - 1, 1) == (first, until)
    assert store.code(until + 1, 1)[0] != first


def test_nobody_else_can_read_it_and_tokens_are_not_in_it(tmp_path):
    store = Store(tmp_path / "class.sqlite")
    token = store.join("Ada", 0.0)
    store.close()
    assert store.path.stat().st_mode & 0o77 == 0
    assert token.encode() not in store.path.read_bytes()


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"?" * 4096), lambda path: path.mkdir()])
def test_a_file_that_is_none_is_refused(tmp_path, spoil):
    spoil(tmp_path / "class.sqlite")
    with pytest.raises(LabError, match=r"class\.sqlite"):
        Store(tmp_path / "class.sqlite")


# -- the board ----------------------------------------------------------------------------------------
def participant(id_: int, told: Told, at: float = 0.0, answered: int = 0) -> Participant:
    return Participant(id_, f"p{id_}", told, at, answered)


def test_hands_come_first_then_who_waits_longest():
    people = [participant(1, Told(1, quiet=5)), participant(2, Told(1, quiet=500)), participant(3, Told(1, raised=1)),
              participant(4, Told(1, raised=2, lowered=2)), participant(5, Told(1, raised=1), answered=1)]  # fmt: skip
    shown = board(people, 100.0)
    assert [row.id for row in shown.rows] == [3, 2, 1, 4, 5]
    assert [row.hand for row in shown.rows] == [True, False, False, False, False]
    assert shown.rows[1].quiet == 600


def test_the_commonest_failing_claim_comes_first_with_what_was_seen_last():
    a, b = Failing("05.1", "stars", "none"), Failing("06", "a page", "404")
    people = [participant(1, Told(1, failing=a), 5), participant(2, Told(1, failing=b)),
              participant(3, Told(1, failing=replace(a, observed="one")), 9), participant(4, Told(1))]  # fmt: skip
    assert [(each.number, each.observed, each.participants) for each in board(people, 9).stuck] == [
        ("05.1", "one", 2), ("06", "404", 1),
    ]  # fmt: skip


def test_predictions_are_counted_by_number():
    people = [participant(n, Told(1, predictions={"05.1": choice})) for n, choice in enumerate("aab")]
    assert board(people, 0).predictions == {"05.1": {"a": 2, "b": 1}}


# -- the server ---------------------------------------------------------------------------------------
@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "class.sqlite")
    yield opened
    opened.close()


class Http:
    """Requests to a board that no server serves; cookies are kept."""

    def __init__(self, store: Store) -> None:
        self._app, self._cookies = Room(store, hours=1).app(), httpx.Cookies()

    def get(self, path: str, **options) -> httpx.Response:
        return asyncio.run(self._asked("GET", path, options))

    def post(self, path: str, **options) -> httpx.Response:
        return asyncio.run(self._asked("POST", path, options))

    async def _asked(self, method: str, path: str, options: dict) -> httpx.Response:
        transport = httpx.ASGITransport(self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://board", cookies=self._cookies) as client:
            answer = await client.request(method, path, **options)
            self._cookies = client.cookies
            return answer


@pytest.fixture
def http(store):
    return Http(store)


def enter(http: Http, store: Store, name: str = "Ada") -> dict[str, str]:
    answer = http.post("/join", json={"code": store.code(time.time(), 1)[0], "nickname": name})
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_who_has_the_code_tells_and_nobody_else(http, store):
    mine = enter(http, store)
    assert http.post("/tell", json=Told(1, passed=3).as_json(), headers=mine).status_code == 204
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer forged"}):
        assert http.post("/tell", json=Told(2, passed=9).as_json(), headers=headers).status_code == 401
    assert http.post("/tell", json=Told(1, passed=9).as_json(), headers=mine).status_code == 204  # replayed
    assert [each.told.passed for each in store.everyone()] == [3]


@pytest.mark.parametrize("code", ["", "AAAA-AAAA", None, ["x"], "x" * 9000])
def test_a_wrong_code_lets_nobody_in(http, store, code):
    assert http.post("/join", json={"code": code, "nickname": "Ada"}).status_code == 403
    assert store.everyone() == []


def test_an_expired_code_lets_nobody_in(http, store):
    old, _ = store.code(time.time() - 7200, 1)
    assert http.post("/join", json={"code": old, "nickname": "Ada"}).status_code == 403


def test_codes_are_not_found_by_guessing(http):
    statuses = [http.post("/join", json={"code": f"{n}", "nickname": "Ada"}).status_code for n in range(GUESSES[1] + 1)]
    assert statuses[-1] == 429


def test_a_participant_who_floods_is_slowed_and_others_are_not(http, store):
    flood, other = enter(http, store), enter(http, store, "Bob")
    statuses = [http.post("/tell", json=Told(n).as_json(), headers=flood).status_code for n in range(TELLS[1] + 5)]
    assert statuses[-1] == 429
    assert http.post("/tell", json=Told(1).as_json(), headers=other).status_code == 204


@pytest.mark.parametrize(("content", "status"), [(b"?", 422), (b"[]", 422), (b"x" * (LARGEST + 1), 413)])
def test_what_is_no_message_is_refused(http, store, content, status):
    assert http.post("/tell", content=content, headers=enter(http, store)).status_code == status
    assert http.post("/join", content=content).status_code == status


def test_the_board_is_the_trainers(http, store):
    for path in ("/board", "/board/now", "/board?key=guess"):
        assert http.get(path).status_code == 403
    assert http.post("/board/answer", json={"participant": 1}).status_code == 403
    opened = http.get("/board", params={"key": store.key()})
    assert (opened.status_code, opened.headers["Location"]) == (303, "/board")
    assert "HttpOnly" in opened.headers["Set-Cookie"]
    assert "SameSite=strict" in opened.headers["Set-Cookie"]
    page = http.get("/board")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_a_hand_is_lowered_by_either_side(http, store):
    mine = enter(http, store)
    http.post("/tell", json=Told(1, raised=1).as_json(), headers=mine)
    assert board(store.everyone(), 0).rows[0].hand
    http.get("/board", params={"key": store.key()})
    http.post("/board/answer", json={"participant": store.everyone()[0].id})
    assert not board(store.everyone(), 0).rows[0].hand
    http.post("/tell", json=Told(2, raised=2).as_json(), headers=mine)
    assert board(store.everyone(), 0).rows[0].hand
    http.post("/tell", json=Told(3, raised=2, lowered=2).as_json(), headers=mine)
    assert not board(store.everyone(), 0).rows[0].hand


def test_who_leaves_is_forgotten(http, store):
    mine = enter(http, store)
    assert http.post("/leave", headers=mine).status_code == 204
    assert store.everyone() == []
    assert http.post("/tell", json=Told(1).as_json(), headers=mine).status_code == 401


# -- a participant's side, and a board that runs --------------------------------------------------------
@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def progress_of(home, **parts) -> None:
    state.write(home / "progress.json", {"version": 1, **parts})


PASSED = {"passed": 2, "of": 2, "live": True, "at": 1.0}


def test_a_participant_joins_tells_raises_a_hand_and_leaves(home, tmp_path, port):
    path = tmp_path / "class.sqlite"
    with serving(path, port) as said:
        code = said[1].split("--code ")[1].strip()
        run = CliRunner().invoke(
            cli.app, ["class", "join", f"http://127.0.0.1:{port}", "--code", code, "--nickname", "Ada", "--yes"]
        )
        assert run.exit_code == 0, run.output
        assert '"passed": 0' in run.output
        progress_of(home, checks={"05": PASSED, "06": {**PASSED, "passed": 1}},
                    failing={"06": {"claim": "a page", "observed": "404", "at": 2.0}},
                    predictions={"05.1": {"predicted": "stars"}})  # fmt: skip
        client.raise_hand(True)
        told = Store(path).everyone()[0].told
        assert (told.passed, told.failing, told.predictions) == (1, Failing("06", "a page", "404"), {"05.1": "stars"})
        assert told.raised > told.lowered
        assert CliRunner().invoke(cli.app, ["class", "status"]).exit_code == 0
        assert client.leave().nickname == "Ada"
        assert Store(path).everyone() == []
    assert client.joined() is None
    with pytest.raises(LabError, match="in no class"):
        client.tell()


def test_with_a_certificate_it_is_encrypted_and_a_stranger_is_not_believed(home, tmp_path, port):
    certificate, own = identity(tmp_path)
    known = tmp_path / "board.pem"
    known.write_bytes(certificate)
    with serving(tmp_path / "class.sqlite", port, "--certificate", known, "--key", own) as said:
        url, code = said[1].split()[4], said[1].split("--code ")[1].strip()
        assert url == f"https://127.0.0.1:{port}"
        with pytest.raises(LabError, match="cannot be reached") as caught:
            client.join(url, code, "Ada", None)
        assert "certificate" in caught.value.why.lower()
        assert client.join(url, code, "Ada", known).nickname == "Ada"
        client.tell()
    run = CliRunner().invoke(cli.app, ["class", "serve", "--certificate", str(known)])
    assert isinstance(run.exception, LabError)


def test_who_does_not_agree_sends_nothing(home, port):
    run = CliRunner().invoke(cli.app, ["class", "join", f"http://127.0.0.1:{port}", "--code", "x", "--nickname", "Ada"],
                             input="n\n")  # fmt: skip
    assert run.exit_code == 1
    assert client.joined() is None


@pytest.mark.parametrize("url", ["ftp://a", "board", "http://", "http://[::1"])
def test_what_is_no_address_is_said_to_be_none(home, url):
    with pytest.raises(LabError, match="address"):
        client.join(url, "x", "Ada", None)


def test_a_board_that_is_down_is_told_again_until_it_is_up(home, tmp_path, port):
    path = tmp_path / "class.sqlite"
    store = Store(path)
    state.write(
        settings().class_record, vars(client.Membership(f"http://127.0.0.1:{port}", store.join("Ada", 0), "Ada"))
    )
    down, tries = threading.Event(), []

    def wait(news, pause):
        tries.append(pause)
        down.set()
        news.wait(0.2)

    teller = client.Teller(wait=wait)
    progress_of(home, checks={"05": PASSED})
    teller.notice()
    assert down.wait(10)
    with serving(path, port):
        for _ in range(100):
            if store.everyone()[0].told.passed:
                break
            time.sleep(0.1)
    assert store.everyone()[0].told.passed == 1
    assert tries[0] == client.AGAIN[0]
    assert tries == sorted(tries)


def test_nothing_new_is_not_told_again(home):
    sent = []
    teller = client.Teller(lambda: sent.append(1))
    for _ in range(3):
        teller.notice()
        time.sleep(0.05)
    assert sent == [1]


@pytest.mark.parametrize(
    "kept", ["", "null", "[]", '{"url": 1}', '{"url": "a", "token": "b", "nickname": "c", "n": "d"}']
)
def test_a_damaged_membership_is_none(home, kept):
    home.mkdir()
    (home / "class.json").write_text(kept)
    assert client.joined() is None


def test_a_place_that_is_taken_is_said_to_be(tmp_path, port):
    with serving(tmp_path / "a.sqlite", port):
        run = CliRunner().invoke(
            cli.app, ["class", "serve", "--port", str(port), "--store", str(tmp_path / "b.sqlite")]
        )
    assert isinstance(run.exception, LabError)
    assert str(port) in run.exception.what


def test_no_event_is_lost_over_a_kill_of_the_board():
    said: list[str] = []
    went = rehearse(Plan(participants=6, rate=12, seconds=4, kills=1), said.append)
    assert went.lost == 0
    assert went.events > 10
    assert went.p95 < 2
    assert len(said) == 1
