"""What the theme's pages lack for people who hear them, or use no mouse: https://www.w3.org/TR/WCAG22/"""

from __future__ import annotations

import re

_BLANK = r"(?:\s|&#160;|&nbsp;|\u00a0)*"
_MENDED = (
    # the corner of a table is no heading of anything
    (re.compile(rf"<th\b([^>]*)>(?:<p>)?{_BLANK}(?:</p>)?</th>"), r"<td\1></td>"),
    # a label that stands in the way of the words that are in view: who says them aloud reaches nothing
    (re.compile(r'<summary aria-label="[^"]*">'), "<summary>"),
    (re.compile(r'(<button class="[^"]*\bsearch-button-field\b[^>]*) aria-label="[^"]*"'), r"\1"),
    # the course's name and the search lie in no landmark
    (re.compile(r'<div id="pst-primary-sidebar"'), '<div id="pst-primary-sidebar" role="navigation" aria-label="Site"'),
)


def accessible(page: str) -> str:
    """A page of the site with names, headings and landmarks as those need them who do not see it."""
    for fault, mended in _MENDED:
        page = fault.sub(mended, page)
    return page
