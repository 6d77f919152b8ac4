"""What outlives a kernel, in the course's own folder: the lab that was entered, and since when there is a cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from labkit.settings import ISTIO, settings


def remember(lab: str) -> None:
    """The lab whose start the mesh was brought to. Raises OSError where the folder cannot be written."""
    settings().home.mkdir(parents=True, exist_ok=True)
    settings().lab_record.write_text(json.dumps({"lab": lab}))


def remembered() -> str | None:
    """The lab that was remembered last; None where none was, or the file is none of ours."""
    try:
        return str(json.loads(settings().lab_record.read_text())["lab"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def made() -> dict[str, str]:
    """What `labkit up` wrote down about the cluster that it made; nothing where the file is none of ours."""
    try:
        found = json.loads(settings().cluster_record.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def live() -> str:
    """The live mesh in one line."""
    s = settings()
    try:
        made = datetime.fromtimestamp(s.cluster_record.stat().st_mtime, UTC)
    except OSError:
        return f"Live mesh: kind cluster {s.cluster}, Istio {ISTIO}; it is made by the first cell that needs it"
    return f"Live mesh: kind cluster {s.cluster}, Istio {ISTIO}, since {made:%d %B %Y %H:%M} UTC"
