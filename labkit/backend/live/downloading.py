"""One file over HTTP: resumed where it was cut, patient with a busy server, within bounds of time and size."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from labkit.backend.live import network
from labkit.backend.requests import Download
from labkit.errors import LabError

if TYPE_CHECKING:
    import httpx

ATTEMPTS = 5
LONGEST_PAUSE = 30.0
SILENCE = 20.0  # seconds without a byte
DEADLINE = 1800.0  # seconds for a file, all attempts together
MOST_REDIRECTS = 10


def download(file: Download, sleep: Callable[[float], None]) -> None:
    """Fetch a file, through a `.part` beside it that a later call goes on from.

    Raises LabError when the server says no or says what no file is, is larger than it may be, takes longer than half
    an hour, or still does not answer after five attempts.
    """
    import httpx

    part = file.to.with_name(file.to.name + ".part")
    file.to.parent.mkdir(parents=True, exist_ok=True)
    ends = time.monotonic() + DEADLINE
    why = ""
    for attempt in range(ATTEMPTS):
        try:
            pause = _attempt(file, part, ends)
        except httpx.InvalidURL as error:
            raise _failed(file.url, f"it leads to what is no address: {error}", "try another network") from error
        except httpx.HTTPError as error:
            pause, why = 0.5 * 2**attempt, f"{type(error).__name__}: {error}"
        else:
            if pause is None:
                part.replace(file.to)
                _of(part).unlink(missing_ok=True)
                return
            why = "the server asks for fewer requests (429 Too Many Requests, or 5xx)"
        if attempt + 1 < ATTEMPTS:
            sleep(min(pause, LONGEST_PAUSE))
    raise _failed(
        file.url,
        f"{ATTEMPTS} attempts failed; the last: {why}",
        "check the network, or name a mirror with LABKIT_DOWNLOADS; run it again, and it goes on where it stopped",
    )


def _attempt(file: Download, part: Path, ends: float) -> float | None:
    """None when the file is whole, else the seconds to wait before the next attempt."""
    have = _kept(part)
    with _answered(file.url, _headers(part, have)) as answer:
        if answer.status_code == 416 or (answer.status_code == 206 and not _goes_on(answer, have)):
            part.unlink(missing_ok=True)
            return 0.0
        if answer.status_code == 429 or answer.status_code >= 500:
            after = answer.headers.get("Retry-After", "")
            return float(after) if after.isascii() and after.isdigit() else 1.0
        if answer.status_code not in (200, 206):
            raise _failed(
                file.url,
                f"the server answered {answer.status_code} {answer.reason_phrase}",
                "check the version and the architecture; `labkit doctor` shows which are known",
            )
        resumed = answer.status_code == 206
        if not resumed:
            _of(part).write_text(_validator(answer))
        _write(file, part, answer, have if resumed else 0, ends)
    return None


def _write(file: Download, part: Path, answer: httpx.Response, have: int, ends: float) -> None:
    length = answer.headers.get("Content-Length", "")
    total = have + int(length) if length.isascii() and length.isdigit() else None
    _raise_if_too_large(file, part, total or have)
    with part.open("ab" if have else "wb") as to:
        for chunk in answer.iter_bytes():
            to.write(chunk)
            have += len(chunk)
            _raise_if_too_large(file, part, have)
            if time.monotonic() > ends:
                raise _failed(
                    file.url,
                    f"after {DEADLINE / 60:.0f} minutes {have >> 20} MiB of it are here",
                    "run it again, and it goes on where it stopped; LABKIT_DOWNLOADS names a mirror that is nearer",
                )
            file.on_bytes(have, total)


@contextmanager
def _answered(url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
    """The answer at the end of all redirects; none of them leads from HTTPS to HTTP."""
    from labkit.backend.live import clients

    with clients.http(SILENCE) as client:
        request = client.build_request("GET", url, headers=headers)
        for _ in range(MOST_REDIRECTS):
            answer = client.send(request, stream=True)
            if answer.next_request is None:
                break
            answer.close()
            if (request.url.scheme, answer.next_request.url.scheme) == ("https", "http"):
                raise _failed(
                    url,
                    f"the server sends on to {network.shown(str(answer.next_request.url))}, which anybody on the way "
                    "there could change",
                    "another network, or a mirror with LABKIT_DOWNLOADS, may lead to the file itself",
                )
            request = answer.next_request
        else:
            raise _failed(url, f"the server sent on more than {MOST_REDIRECTS} times", "try another network")
        try:
            yield answer
        finally:
            answer.close()


def _headers(part: Path, have: int) -> dict[str, str]:
    # as it lies on the server: a length or an offset into something compressed on its way means nothing
    headers = {"Accept-Encoding": "identity"}
    return headers | ({"Range": f"bytes={have}-", "If-Range": _of(part).read_text()} if have else {})


def _kept(part: Path) -> int:
    """How many bytes of an earlier attempt count: none where nothing tells of which file they are."""
    if part.exists() and _of(part).exists() and _of(part).read_text():
        return part.stat().st_size
    part.unlink(missing_ok=True)
    return 0


def _of(part: Path) -> Path:
    """What the server called the file that a part is of: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.5"""
    return part.with_name(part.name + ".of")


def _validator(answer: httpx.Response) -> str:
    tag = answer.headers.get("ETag", "")
    name = answer.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    return name if name.isascii() and name.isprintable() else ""


def _goes_on(answer: httpx.Response, have: int) -> bool:
    return bool(re.match(rf"bytes {have}-", answer.headers.get("Content-Range", "")))


def _raise_if_too_large(file: Download, part: Path, size: int) -> None:
    if size > file.largest:
        part.unlink(missing_ok=True)
        raise _failed(
            file.url,
            f"it is larger than {file.largest >> 20} MiB, and what was asked for is not",
            "open the address in a browser; behind a sign-in page of the network, sign in, then run it again",
        )


def _failed(url: str, why: str, fix: str) -> LabError:
    return LabError(f"{network.shown(url)} could not be downloaded.", why, fix)
