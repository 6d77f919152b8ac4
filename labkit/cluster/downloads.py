"""Published files: fetched, compared with their checksum, unpacked without trust."""

from __future__ import annotations

import filecmp
import gzip
import hashlib
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, cast

from labkit import backend
from labkit.errors import LabError
from labkit.settings import ISTIO

KNOWN_VERSIONS = (ISTIO,)
SYSTEMS = {"linux": "linux", "darwin": "osx"}  # Istio's word for macOS
ARCHITECTURES = ("amd64", "arm64")

LARGEST = 1 << 30  # bytes unpacked; Istio's release is an eighth of it
MOST_MEMBERS = 20_000
DEEPEST = 40  # folders in folders; Istio's release has 11
BLOCK = 1 << 20
LARGEST_CHECKSUM = 1 << 20  # bytes

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_RELEASE = re.compile(r"[a-z]+-\d[\w.-]*")  # never a name that the course's own folder uses


def archive_name(version: str, system: str, architecture: str) -> str:
    """The name under which Istio publishes a release for `system` (linux, darwin) and `architecture`.

    Raises LabError for what the course does not know, listing what it does.
    """
    _known("Istio version", version, KNOWN_VERSIONS)
    _known("system", system, tuple(SYSTEMS))
    _known("architecture", architecture, ARCHITECTURES)
    return f"istio-{version}-{SYSTEMS[system]}-{architecture}.tar.gz"


def _known(kind: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise LabError(
            f"{word!r} is no {kind} that this course supports.",
            f"the course is written for, and tested with: {', '.join(known)}",
            f"choose {' or '.join(known)}",
        )


def fetch(url: str, checksum: str, to: Path, note: Callable[[str], None]) -> Path:
    """The file at `url` in `to`, verified; what an earlier call left there verified is not fetched again.

    `checksum` is the SHA-256 itself, or the address where it is published. A download that does not
    agree with it is deleted, so that the next call fetches anew. Raises LabError.
    """
    pinned = checksum.lower() if _SHA256.fullmatch(checksum) else ""
    if _kept(to, pinned):
        note(f"{to.name} is here already")
        return to
    fresh = to.with_name(to.name + ".unverified")
    try:
        backend.download(url, fresh, _told(to.name, note))
        sha256 = pinned or _published(checksum, to)
        _verified(fresh, sha256)
        _seal(to).write_text(sha256)
        fresh.replace(to)
    except OSError as error:
        raise _unwritable(to, error) from error
    return to


def install_program(kept: Path, to: Path) -> Path:
    """A copy that can be executed; replaced in one step, so that no command ever starts half of it."""
    if not (to.exists() and filecmp.cmp(kept, to)):
        to.parent.mkdir(parents=True, exist_ok=True)
        fresh = to.with_name(f".{to.name}.fresh")
        shutil.copy2(kept, fresh)
        fresh.chmod(0o755)
        fresh.replace(to)
    return to


def program_in(archive: Path, program: str, to: Path) -> Path:
    """The one file called `program` in a verified .tar.gz, as the file `to`. Raises LabError where there is none."""
    try:
        with gzip.open(archive) as plain, tarfile.open(fileobj=_stream(plain, archive), mode="r|") as tar:
            for member in _accepted(tar, archive, set()):
                if member.isfile() and PurePosixPath(member.name).name == program:
                    content = tar.extractfile(member)
                    assert content is not None  # noqa: S101  a plain file has some
                    with to.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    return to
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise _refused(archive, f"it is truncated or damaged ({error})") from error
    except OSError as error:
        raise _unwritable(to, error) from error
    raise _refused(archive, f"it holds no {program}")


def _stream(plain: gzip.GzipFile, archive: Path) -> IO[bytes]:
    return cast("IO[bytes]", _Bounded(plain, archive))


def _verified(fresh: Path, sha256: str) -> None:
    try:
        verify(fresh, sha256)
    except LabError:
        fresh.unlink()
        raise


def _kept(file: Path, pinned: str) -> bool:
    """Whether the file is still what was verified when it came, and is what it is to be; if not, it goes."""
    seal = _seal(file)
    if not file.exists() or not seal.exists():
        return False
    if sha256_of(file) == seal.read_text() == (pinned or seal.read_text()):
        return True
    file.unlink()
    return False


def _seal(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def _told(name: str, note: Callable[[str], None]) -> Callable[[int, int | None], None]:
    """Turns counted bytes into a note, at most one for each MiB."""
    last = -1

    def on_bytes(have: int, total: int | None) -> None:
        nonlocal last
        if have >> 20 != last:
            last = have >> 20
            note(f"{name}: {last} of {total / 2**20:.0f} MiB" if total else f"{name}: {last} MiB")

    return on_bytes


def _published(url: str, file: Path) -> str:
    note = file.with_name(file.name + ".published")
    try:
        backend.download(url, note, largest=LARGEST_CHECKSUM)
        return checksum_for(file.name, note.read_text("utf-8", "replace"), url)
    finally:
        note.unlink(missing_ok=True)


def checksum_for(name: str, text: str, address: str) -> str:
    """The SHA-256 of `name` in a published checksum: one bare hash, or sha256sum's lines of `HASH  NAME`.

    `address` stands in the LabError raised when there is none, or more than one.
    """
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    named = [words[0] for words in lines if len(words) == 2 and _names(words[1], name)]
    bare = [words[0] for words in lines if len(words) == 1]
    found = {word.lower() for word in named or bare}
    if len(found) != 1 or not _SHA256.fullmatch(sha256 := found.pop()):
        raise LabError(
            f"{address} holds no checksum for {name}.",
            "it is neither a bare SHA-256 nor sha256sum's `HASH  NAME`; something else answers at that address",
            "open the address in a browser; behind a sign-in page of the network, sign in, then run it again",
        )
    return sha256


def _names(word: str, name: str) -> bool:
    """sha256sum marks binary mode with `*`; some projects publish the path they built in."""
    return PurePosixPath(word.strip().removeprefix("*")).name == name


def verify(path: Path, sha256: str) -> None:
    """Raises LabError unless the file has this SHA-256."""
    if not path.exists():
        raise LabError(f"{path.name} cannot be verified.", f"{path} does not exist", "fetch it first")
    seen = sha256_of(path)
    if seen != sha256.lower():
        raise LabError(
            f"{path.name.removesuffix('.unverified')} is not what it should be.",
            f"its SHA-256 is {seen}, expected is {sha256.lower()}: it was cut, or changed on its way",
            "run it again, and it is fetched anew; if it stays so, try another network, and trust neither file",
        )


def sha256_of(path: Path) -> str:
    """A file's SHA-256, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(archive: Path, into: Path) -> Path:
    """The one folder that a release's .tar.gz holds, in the folder `into`: whole, or not there at all.

    A folder of that name that was there is replaced. Raises LabError for an archive that is truncated or
    damaged, that reaches outside its folder (absolute paths, `..`), that holds what no release needs (links, devices,
    sparse files, folders in folders without end), or that grows past all reason.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix=".unpacking-") as scratch:
            fresh, before = Path(scratch) / "fresh", Path(scratch) / "before"
            folder = into / _extract(archive, fresh)
            if folder.exists():
                folder.rename(before)
            return (fresh / folder.name).rename(folder)
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.ReadError) as error:
        raise _refused(archive, f"it is truncated or damaged ({error})") from error
    except tarfile.TarError as error:
        raise _refused(archive, f"it holds what it must not: {error}") from error
    except OSError as error:
        raise _unwritable(into, error) from error
    except (ArithmeticError, LookupError, RecursionError, ValueError) as error:  # tarfile's, for what is no archive
        raise _refused(archive, f"it is damaged ({type(error).__name__}: {error})") from error


def _extract(archive: Path, into: Path) -> str:
    """Unpack everything into the folder `into`; the name of the one folder that is then there."""
    tops: set[str] = set()
    with gzip.open(archive) as plain:
        stream = _Bounded(plain, archive)
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
            for member in _accepted(tar, archive, tops):
                tar.extract(member, into, filter="data")
        stream.drain()  # gzip's own checksum stands at the very end
    if len(tops) != 1 or not _RELEASE.fullmatch(min(tops)) or not (into / min(tops)).is_dir():
        held = ", ".join(sorted(tops)[:5]) or "nothing"
        raise _refused(archive, f"it must hold one folder, named NAME-VERSION, and holds {held}")
    return tops.pop()


def _accepted(tar: tarfile.TarFile, archive: Path, tops: set[str]) -> Iterator[tarfile.TarInfo]:
    size = 0
    for count, member in enumerate(tar, 1):
        size += member.size
        if size > LARGEST or count > MOST_MEMBERS:
            raise _too_large(archive)
        if why := refusal(member):
            raise _refused(archive, why)
        if parts := PurePosixPath(member.name).parts:
            tops.add(parts[0])
            yield member


def refusal(member: tarfile.TarInfo) -> str | None:
    """Why a member of an archive is not unpacked; None where nothing speaks against it."""
    if member.issym() or member.islnk():
        return f"{member.name!r} is a link, and a release has none"
    if not (member.isdir() or member.type in (tarfile.REGTYPE, tarfile.AREGTYPE)) or member.issparse():
        return f"{member.name!r} is neither a plain file nor a folder"
    if _escapes(member.name):
        return f"{member.name!r} lies outside the archive's folder"
    if len(PurePosixPath(member.name).parts) > DEEPEST:
        return f"{member.name[:80]!r}… lies in more than {DEEPEST} folders"
    return None


def _escapes(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\0" in name


class _Bounded:
    """Reads up to LARGEST bytes: what a small archive expands to can fill neither memory nor disk."""

    def __init__(self, file: gzip.GzipFile, archive: Path) -> None:
        self._file, self._archive, self._left = file, archive, LARGEST

    def read(self, size: int) -> bytes:
        block = self._file.read(min(size, BLOCK))
        self._left -= len(block)
        if self._left < 0:
            raise _too_large(self._archive)
        return block

    def drain(self) -> None:
        while self.read(BLOCK):
            pass


def _refused(archive: Path, why: str) -> LabError:
    return LabError(
        f"{archive.name} is not unpacked.",
        why,
        f"delete {archive} and fetch it again from its project",
    )


def _too_large(archive: Path) -> LabError:
    return _refused(archive, f"it expands past {LARGEST >> 20} MiB or {MOST_MEMBERS} files, and no release does")


def _unwritable(path: Path, error: OSError) -> LabError:
    return LabError(
        f"{path} could not be written.",
        str(error),
        f"make room, or name a folder that can be written with LABKIT_HOME; `df -h {path.parent}` shows the room",
    )
