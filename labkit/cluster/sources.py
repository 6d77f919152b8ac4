"""Which source this machine gets its binaries and images from."""

from __future__ import annotations

from pathlib import Path

from labkit import backend
from labkit.backend import places
from labkit.cluster.bundle import Bundle
from labkit.cluster.packages import Packages
from labkit.cluster.releases import Releases
from labkit.cluster.source import Source, ensure_release
from labkit.errors import LabError
from labkit.progress import Progress
from labkit.settings import settings

PATIENCE = 3.0  # seconds


def choose() -> Source:
    """The source that LABKIT_SOURCE names; else one that is here already; else releases where they can be reached,
    else packages.

    Raises LabError, with the reason against each, where neither can be had. Answers within six seconds.
    """
    known: dict[str, Source] = {source.name: source for source in (Bundle(), Releases(), Packages())}
    named = settings().source
    if named:
        return known[named]
    here = backend.together({name: source.is_here for name, source in known.items()}, PATIENCE)
    for name, is_here in here.items():
        if is_here:
            return known[name]
    reasons = backend.together({name: source.reachable for name, source in known.items()}, PATIENCE)
    for name, source in known.items():
        if name in reasons and reasons[name] is None:
            return source
    raise LabError(
        "There is nowhere to get the course's binaries and images from.",
        "; ".join(f"{name}: {reasons.get(name, 'no answer')}" for name in known),
        "connect to the internet, or name a mirror with LABKIT_DOWNLOADS and LABKIT_REGISTRY",
    )


def origin() -> str:
    """`releases` or `packages`: what the images of the course's cluster are; where there is none, what they would be.

    Raises LabError as `choose` does.
    """
    return places.made().get("source") or choose().origin


def ensure_commands(progress: Progress) -> tuple[Path, Path]:
    """kubectl and istioctl, where no cluster of the course's own brings them; fetched only if they are not there.

    Raises LabError.
    """
    s = settings()
    found = s.bin / "kubectl", s.release_folder / "bin" / "istioctl"
    if not (found[0].exists() and (s.release_folder / ".archive").exists()):
        source = choose()
        source.tool("kubectl", progress)
        ensure_release(source, progress)
    return found
