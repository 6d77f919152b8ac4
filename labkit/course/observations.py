"""What the checks and the predictions of more than one lab look at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labkit.course.checks import Seen
from labkit.mesh import bookinfo

if TYPE_CHECKING:
    import pandas as pd

CERTAIN = 0.9999  # a check may be wrong once in ten thousand runs


def page_has_its_reviews() -> Seen:
    """The page as anybody gets it from outside."""
    page = bookinfo.fetch()
    return Seen(
        page.status == 200 and not page.error,
        page.error or (f"{page.status}, with reviews" if page.status == 200 else f"status {page.status}"),
    )


def pages_are_complete(times: int) -> Seen:
    """So many pages, none of which says that something is unavailable."""
    return _complete([bookinfo.fetch() for _ in range(times)])


def pages_have_their_stars(times: int) -> Seen:
    """Of a dozen pages some have stars, all but surely: two of three versions of reviews ask ratings. Where no page
    complains and none has stars, nobody asks them any more."""
    pages = [bookinfo.fetch() for _ in range(times)]
    complete = _complete(pages)
    if complete.passed and not any(page.stars for page in pages):
        return Seen(False, f"no page of {times} has stars")
    return complete


def _complete(pages: list[bookinfo.Page]) -> Seen:
    lacking = {page.error or str(page.status) for page in pages if page.error or page.status != 200}
    return Seen(not lacking, f"of {len(pages)} pages: {', '.join(sorted(lacking)) or 'nothing is missing'}")


def pods_that_answered(answers: pd.DataFrame) -> str:
    """How many of the three pods of reviews; answers: the frame of `mesh.traffic.requests`."""
    return {1: "one", 2: "two"}.get(answers.pod[answers.pod != ""].nunique(), "all three")


def tally(said: str) -> Counter[str]:
    """The lines of `uniq -c`: what was counted → how often."""
    return Counter({what.strip(): int(count) for count, what in re.findall(r"^ *(\d+) (.+)$", said, re.MULTILINE)})


def failed_share(statuses: Mapping[int, int]) -> float:
    """Which share (0 to 1) of the answers was another than 200; statuses: HTTP status → how many."""
    return 1 - statuses.get(200, 0) / sum(statuses.values())
