"""One file over HTTP: resumed where it was cut, patient with a busy server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from labkit.backend.live import network
from labkit.errors import LabError

ATTEMPTS = 5
LONGEST_PAUSE = 30.0
SILENCE = 20.0  # seconds without a byte


def download(url: str, to: Path, on_bytes: Callable[[int, int | None], None], sleep: Callable[[float], None]) -> None:
    """Fetch `url` into the file `to`, through a `.part` beside it that a later call goes on from.

    Raises LabError when the server says no, or still does not answer after five attempts.
    """
    import httpx

    part = to.with_name(to.name + ".part")
    to.parent.mkdir(parents=True, exist_ok=True)
    why = ""
    for attempt in range(ATTEMPTS):
        try:
            pause = _attempt(url, part, on_bytes)
        except httpx.HTTPError as error:
            pause, why = 0.5 * 2**attempt, f"{type(error).__name__}: {error}"
        else:
            if pause is None:
                part.replace(to)
                return
            why = "the server asks for fewer requests (429 Too Many Requests, or 5xx)"
        if attempt + 1 < ATTEMPTS:
            sleep(min(pause, LONGEST_PAUSE))
    raise LabError(
        f"{network.shown(url)} could not be downloaded.",
        f"{ATTEMPTS} attempts failed; the last: {why}",
        "check the network, or name a mirror with LABKIT_DOWNLOADS; run it again, and it goes on where it stopped",
    )


def _attempt(url: str, part: Path, on_bytes: Callable[[int, int | None], None]) -> float | None:
    """None when the file is whole, else the seconds to wait before the next attempt."""
    have = part.stat().st_size if part.exists() else 0
    # as it lies on the server: a length or an offset into something compressed on its way means nothing
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    from labkit.backend.live import clients

    with clients.http(SILENCE) as client, client.stream("GET", url, headers=headers, follow_redirects=True) as answer:
        if answer.status_code == 416:
            part.unlink()
            return 0.0
        if answer.status_code == 429 or answer.status_code >= 500:
            after = answer.headers.get("Retry-After", "")
            return float(after) if after.isdigit() else 1.0
        if answer.status_code >= 400:
            raise LabError(
                f"{network.shown(url)} could not be downloaded.",
                f"the server answered {answer.status_code} {answer.reason_phrase}",
                "check the version and the architecture; `labkit doctor` shows which are known",
            )
        resumed = answer.status_code == 206
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            for chunk in answer.iter_bytes():
                file.write(chunk)
                have += len(chunk)
                on_bytes(have, total)
    return None
