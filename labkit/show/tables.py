"""Frames as tables that read well in a notebook and on a code host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from textwrap import indent
from typing import TYPE_CHECKING
from zlib import crc32

if TYPE_CHECKING:
    import pandas as pd
    from pandas.io.formats.style import Styler

# Okabe and Ito's palette, at a quarter of its strength: legible on light and dark, safe for colour-blind readers.
_TINTS = {
    "added": "rgba(0, 158, 115, 0.25)",
    "removed": "rgba(213, 94, 0, 0.25)",
    "missing": "rgba(213, 94, 0, 0.25)",
    "changed": "rgba(86, 180, 233, 0.25)",
}


@dataclass(frozen=True)
class Table:
    """A frame, drawn. Notebooks show `html`; where only text can be shown, `text` stands for it."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def table(frame: pd.DataFrame) -> Table:
    """A frame with its text left-aligned, wrapped and whole, without row numbers, its addresses as links."""
    return _drawn(frame, _styled(frame))


def changes(frame: pd.DataFrame) -> Table:
    """A diff (a frame with a column `change`), each row tinted by what happened: added, removed, missing, changed."""
    paths = frame.columns.intersection(["field"])
    return _drawn(frame, _styled(frame).format(_breakable, subset=paths).apply(_tints, axis=1))


def side_by_side(texts: Mapping[str, str]) -> Table:
    """Texts next to each other, each under its name, with their own line breaks."""
    left = 'style="text-align: left; vertical-align: top"'
    names = "".join(f"<th {left}>{escape(name)}</th>" for name in texts)
    columns = "".join(f"<td {left}><pre>{escape(text)}</pre></td>" for text in texts.values())
    return Table(
        f"<table><tr>{names}</tr><tr>{columns}</tr></table>",
        "\n\n".join(f"{name}\n{indent(text.strip(), '  ')}" for name, text in texts.items()),
    )


def _styled(frame: pd.DataFrame) -> Styler:
    left = [{"selector": "th, td", "props": "text-align: left; vertical-align: top; white-space: normal"}]
    addresses = [column for column in frame if frame[column].astype(str).str.startswith("https://").all()]
    styler = frame.style.set_table_styles(left).format(escape="html").format(_link, subset=addresses)
    for axis in ("index", "columns"):
        styler = styler.format_index(escape="html", axis=axis).format_index_names(escape="html", axis=axis)
    return styler if frame.index.name else styler.hide(axis="index")


def _link(address: str) -> str:
    return f'<a href="{escape(address)}">{escape(address)}</a>'


def _breakable(path: str) -> str:
    """A field's path may be broken after its dots, or it alone would fill the page."""
    return escape(path).replace(".", ".<wbr>")


def _tints(row: pd.Series) -> list[str]:
    return [f"background-color: {_TINTS.get(row['change'], '')}"] * len(row)


def _drawn(frame: pd.DataFrame, styler: Styler) -> Table:
    text = frame.to_string(index=bool(frame.index.name))
    # pandas names each drawing at random; named by what it shows, the same table is stored the same each time
    return Table(styler.set_uuid(f"{crc32(text.encode()):08x}").to_html(), text)
