"""What differs between two configurations by its meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labkit.mesh.diff import diff_each
from labkit.mesh.proxy.dump import Snapshot
from labkit.mesh.proxy.meaning import meaning

if TYPE_CHECKING:
    import pandas as pd


def diff(before: Snapshot, after: Snapshot) -> pd.DataFrame:
    """What differs between two configurations by its meaning: section, resource, field, change, before, after (text).

    `change` is "added", "removed" or "changed"; a resource that only one of them has is one row without a field.
    Versions, times and the order of whatever Envoy does not go through in order make no difference.
    """
    import pandas as pd

    frames = [
        diff_each(meaning(before.sections[section]), meaning(after.sections[section])).assign(section=section)
        for section in before.sections
    ]
    columns = ["section", "resource", "field", "change", "before", "after"]
    return pd.concat(frames, ignore_index=True).rename(columns={"object": "resource"})[columns]
