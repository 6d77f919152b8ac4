"""A participant's side: what is told to the board, when, and that it is told until it has arrived."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from labkit import state
from labkit.backend import places
from labkit.backend.concurrency import beside
from labkit.classroom.messages import LONGEST, Failing, Told, chosen, clipped
from labkit.course import notes, progress
from labkit.errors import LabError
from labkit.settings import settings, why_no_address

PATIENCE = 5.0  # seconds for the board to answer
AGAIN = (1.0, 60.0)  # seconds until the first and between all later tries


@dataclass(frozen=True)
class Membership:
    """A class that was joined. n: messages so far. raised, lowered: how often the hand was."""

    url: str
    token: str
    nickname: str
    certificate: str = ""
    n: int = 0
    raised: int = 0
    lowered: int = 0


def joined() -> Membership | None:
    """The class that this reader is in; none where there is none, or the file is none of ours."""
    kept = state.read(settings().class_record, {})
    try:
        member = Membership(**kept)
    except TypeError:
        return None
    texts = (member.url, member.token, member.nickname, member.certificate)
    counts = (member.n, member.raised, member.lowered)
    return member if all(isinstance(text, str) for text in texts) and all(type(n) is int for n in counts) else None


def join(url: str, code: str, nickname: str, certificate: Path | None) -> Membership:
    """Join a class. Raises LabError where the board cannot be reached, or refuses."""
    if why := why_no_address(url, ("http", "https")):
        raise LabError(f"{url!r} is no board's address.", why, "take the address from the trainer's terminal")
    member = Membership(url.rstrip("/"), "", nickname, str(certificate.resolve()) if certificate else "")
    token = _asked(member, "/join", {"code": code, "nickname": nickname}).get("token")
    if not isinstance(token, str):
        raise LabError(f"{url} is no board.", "it answered, and gave no token", "take the address from the trainer")
    member = replace(member, token=token)
    state.write(settings().class_record, asdict(member))
    return member


def leave() -> Membership | None:
    """Leave the class, which forgets all that was told; the one that was left, if there was one. Raises LabError."""
    member = joined()
    if member:
        try:
            _asked(member, "/leave", {})
        finally:
            settings().class_record.unlink(missing_ok=True)
    return member


def raise_hand(up: bool) -> None:
    """Raise or lower the hand, and tell it. Raises LabError where the board cannot be reached, or nobody joined."""
    _member()

    def moved(kept: dict[str, Any]) -> dict[str, Any]:
        most = max(kept["raised"], kept["lowered"])
        return {**kept, "raised": most + 1} if up else {**kept, "lowered": most}

    state.update(settings().class_record, {}, moved)
    tell()


def told(n: int = 0, member: Membership | None = None) -> Told:
    """All that would be told now."""
    passed = progress.passed()
    last = max((each.at for each in passed), default=None)
    wrong = progress.failing()
    predictions = {
        number: chosen(each["predicted"]) for number, each in notes.part("predictions").items()
        if isinstance(each, dict) and isinstance(each.get("predicted"), str)
    }  # fmt: skip
    return Told(
        n=n, lab=places.remembered() or "", passed=len(passed),
        quiet=None if last is None else min(max(0.0, time.time() - last), LONGEST),
        failing=Failing(wrong["number"], *clipped(wrong["claim"], wrong["observed"])) if wrong else None,
        predictions=predictions, raised=member.raised if member else 0, lowered=member.lowered if member else 0,
    )  # fmt: skip


def tell() -> None:
    """Tell the board. Raises LabError where it cannot be reached, or nobody joined."""
    _member()
    # a number that was used once is never used again, whatever becomes of the message
    state.update(settings().class_record, {}, lambda kept: {**kept, "n": kept["n"] + 1})
    member = _member()
    _asked(member, "/tell", told(member.n, member).as_json())


class Teller:
    """Tells in a thread of its own after each cell that changed something, again and again until it has arrived."""

    def __init__(
        self, tell: Callable[[], None] = tell, wait: Callable[[threading.Event, float], object] = threading.Event.wait
    ) -> None:
        self._tell, self._wait = tell, wait
        self._news, self._thread = threading.Event(), threading.Lock()
        self._known: Told | None = None
        self._runs = False

    def notice(self) -> None:
        """A cell is over."""
        now = replace(told(), quiet=None)
        with self._thread:
            if now == self._known:
                return
            self._known = now
            self._news.set()
            if not self._runs:
                self._runs = True
                beside("class", self._run)

    def _run(self) -> None:
        pause = AGAIN[0]
        while True:
            self._news.wait()
            self._news.clear()
            try:
                self._tell()
                pause = AGAIN[0]
            except LabError:
                if joined() is None:
                    with self._thread:
                        self._runs, self._known = False, None
                    return
                self._wait(self._news, pause)
                pause = min(2 * pause, AGAIN[1])
                self._news.set()


def _member() -> Membership:
    member = joined()
    if member is None:
        raise LabError(
            "You are in no class.", "none was joined, or it was left", "`labkit class join URL --code CODE` joins one"
        )
    return member


def _asked(member: Membership, path: str, body: dict[str, Any]) -> dict[str, Any]:
    import httpx

    # a room's board is on the room's own network: no proxy leads there
    try:
        verify = ssl.create_default_context(cafile=member.certificate or None)
        with httpx.Client(verify=verify, trust_env=False, timeout=PATIENCE) as client:
            headers = {"Authorization": f"Bearer {member.token}"} if member.token else {}
            answer = client.post(f"{member.url}{path}", json=body, headers=headers)
            found = answer.json() if answer.content else {}
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise LabError(
            f"The board at {member.url} cannot be reached.",
            str(error) or type(error).__name__,
            "see that this machine is on the room's network, and ask the trainer whether the board is up",
        ) from None
    if answer.is_error:
        why = found.get("error", "") if isinstance(found, dict) else ""
        raise LabError(f"The board at {member.url} refused.", why or f"status {answer.status_code}", "ask the trainer")
    return found if isinstance(found, dict) else {}
