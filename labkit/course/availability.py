"""Whether a lab can be done here: one that names a source needs images of it, or a recording made with them."""

from __future__ import annotations

from labkit import session
from labkit.cluster import sources
from labkit.course.lab import Lab
from labkit.errors import LabError
from labkit.recordings import files


def is_unrecorded(lab: Lab) -> bool:
    """Whether a lab waits for its recording, and its notebook for outputs: only one that names a source may."""
    return bool(lab.source) and not any(path.name.startswith(f"{lab.number}-") for path in files.recordings())


def obstacle(lab: Lab) -> LabError | None:
    """What keeps a lab from the mesh of this session; None where nothing does."""
    if not lab.source or not session.owns_cluster():
        return None
    if not session.is_live():
        return _refused(lab, "it was not recorded yet") if is_unrecorded(lab) else None
    try:
        source = sources.origin()
    except LabError as error:
        return error
    return None if source == lab.source else _refused(lab, f"this mesh has the images of the source `{source}`")


def why_unrecorded(lab: Lab) -> str:
    """What to say where the recording would be played back."""
    return (
        f"lab {lab.number} was not recorded yet, for {lab.because} (fix: {_where(lab)}, `labkit record {lab.number}`)"
    )


def _refused(lab: Lab, why: str) -> LabError:
    return LabError(
        f"Lab {lab.number} cannot be done here.",
        f"{why}, and {lab.because}",
        f"{_where(lab)}; then restart the kernel",
    )


def _where(lab: Lab) -> str:
    up = f"`labkit down`, `LABKIT_SOURCE={lab.source} labkit up`"
    return f"where a container engine runs and reaches the projects' own registries, {up}"
