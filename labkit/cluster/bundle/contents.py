"""What a bundle says of itself, and whether it is that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit.cluster import downloads
from labkit.errors import LabError
from labkit.settings import GATEWAY_API as GATEWAY_API_VERSION
from labkit.settings import HELM, ISTIO, KIND, KUBERNETES, settings

FORM = 1
FILE = "bundle.json"
GATEWAY_API = "gateway-api.yaml"
NODE_IMAGE = "node-image.tar.gz"
WHEELS = "wheels"
ANEW = "write a bundle anew with `labkit bundle`, or copy it once more from where you have it"
_NAME = re.compile(r"(wheels/)?\w[\w.+-]*")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._:/@-]*")
_LARGEST = 1 << 20  # bytes of what it says of itself


@dataclass(frozen=True)
class Contents:
    """`files`: path in the bundle's folder → SHA-256. `versions`: what the course that wrote it is written for."""

    form: int
    system: str
    architecture: str
    versions: Mapping[str, str]
    source: str
    differences: tuple[str, ...]
    node_image: str
    files: Mapping[str, str]

    def as_json(self) -> str:
        """As it stands in the bundle."""
        return json.dumps(asdict(self), indent=1)


def versions() -> dict[str, str]:
    """What this course is written for."""
    return {
        "istio": ISTIO, "kind": KIND, "kubernetes": KUBERNETES, "helm": HELM, "gateway_api": GATEWAY_API_VERSION,
    }  # fmt: skip


def read(folder: Path) -> Contents:
    """What the bundle in a folder says of itself. Raises LabError where this machine, or this course, has no use for
    it, or where it says nothing that can be understood."""
    told = _told(folder / FILE)
    if told.get("form") != FORM:
        raise _refused(folder, f"its form is {told.get('form')!r}, and this course reads form {FORM}")
    try:
        contents = Contents(**{**told, "differences": tuple(map(str, told["differences"]))})
        names = {str(name): str(sha256) for name, sha256 in contents.files.items()}
    except (TypeError, KeyError, AttributeError) as error:
        raise _refused(folder, f"{FILE} is not as a bundle's: {error}") from error
    if strange := [name for name in names if not _NAME.fullmatch(name)]:
        raise _refused(folder, f"{FILE} names a file {strange[0][:80]!r}")
    if not (isinstance(contents.node_image, str) and _IMAGE.fullmatch(contents.node_image)):
        raise _refused(folder, f"{FILE} names no node image")
    _fits(folder, contents)
    return contents


def verify(folder: Path, contents: Contents, note: Callable[[str], None]) -> None:
    """Compare each file with its checksum. Raises LabError with the first that is missing, or another."""
    for position, (name, sha256) in enumerate(contents.files.items(), 1):
        note(f"{position} of {len(contents.files)}: {name}")
        file = folder / name
        if file.is_symlink() or not file.is_file():
            raise _refused(folder, f"{name} is missing")
        if downloads.sha256_of(file) != sha256:
            raise _refused(folder, f"{name} is not what it was when the bundle was written")


def _told(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _LARGEST:
            raise _refused(file.parent, f"{FILE} is larger than {_LARGEST >> 20} MiB")
        told = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise LabError(
            f"There is no bundle in {file.parent}.",
            f"{FILE} is not there",
            "unpack the archive that `labkit bundle` wrote, and run this in the folder `istio-lab` that it makes",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _refused(file.parent, f"{FILE} cannot be read: {str(error)[:120]}") from error
    if not isinstance(told, dict):
        raise _refused(file.parent, f"{FILE} is not as a bundle's")
    return told


def _fits(folder: Path, contents: Contents) -> None:
    s = settings()
    here, there = f"{s.system}-{s.architecture}", f"{contents.system}-{contents.architecture}"
    if here != there:
        raise LabError(
            f"The bundle in {folder} is for {there}.",
            f"this machine is {here}, and runs none of its programs and images",
            f"have somebody write one on a machine like this: `labkit bundle`, on {here}",
        )
    if contents.versions != versions():
        raise LabError(
            f"The bundle in {folder} is of another course.",
            f"it has {_listed(contents.versions)}; this course is written for {_listed(versions())}",
            "use the course that came with the bundle, or write a bundle with this one: `labkit bundle`",
        )


def _listed(named: object) -> str:
    return ", ".join(f"{name} {version}" for name, version in named.items()) if isinstance(named, Mapping) else "none"


def _refused(folder: Path, why: str) -> LabError:
    return LabError(f"The bundle in {folder} is not installed.", why, ANEW)
