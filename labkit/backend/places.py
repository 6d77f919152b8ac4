"""What outlives a kernel, in the course's own folder: the lab that was entered, and since when there is a cluster."""

from __future__ import annotations

from datetime import UTC, datetime

from labkit import state
from labkit.settings import ISTIO, settings


def remember(lab: str) -> None:
    """The lab whose start the mesh was brought to. Raises LabError where the folder cannot be written."""
    state.write(settings().lab_record, {"lab": lab})


def remembered() -> str | None:
    """The lab that was remembered last; None where none was, or the file is none of ours."""
    lab = state.read(settings().lab_record, {}).get("lab")
    return lab if isinstance(lab, str) else None


def made() -> dict[str, str]:
    """What `labkit up` wrote down about the cluster that it made; nothing where the file is none of ours."""
    return state.read(settings().cluster_record, {})


def live() -> str:
    """The live mesh in one line."""
    s = settings()
    try:
        made = datetime.fromtimestamp(s.cluster_record.stat().st_mtime, UTC)
    except OSError:
        return f"Live mesh: kind cluster {s.cluster}, Istio {ISTIO}; it is made by the first cell that needs it"
    return f"Live mesh: kind cluster {s.cluster}, Istio {ISTIO}, since {made:%d %B %Y %H:%M} UTC"
