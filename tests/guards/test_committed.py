"""Nothing that is committed holds a secret, whatever it is packed in."""

from __future__ import annotations

import base64
import json
import lzma
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec

from labkit.recordings import scrub
from labkit.settings import RECORDINGS, REPOSITORY

# what looks for secrets, or makes some up, says what they look like
LOOKS_ALIKE = {
    "labkit/api/relay.py": {"a password"},
    "labkit/classroom/store.py": {"a password"},
    "labkit/mesh/certificates.py": {"what a Secret holds"},
    "labkit/recordings/scrub.py": {"a session"},
    "tests/unit/test_environments.py": {"a password"},
    "tests/unit/test_mesh.py": {"what a Secret holds"},
    "tests/unit/test_notebooks.py": {"a private key"},
    "tests/unit/test_scrub.py": {
        "a hash of a password", "a password", "a private key", "a session", "what a Secret holds",
    },
    "tests/unit/test_relay.py": {"a password"},
    "tests/unit/test_settings.py": {"a password"},
}  # fmt: skip


def secrets(path: Path) -> set[str]:
    """Which secrets a file holds, unpacked where it is packed; of a picture, its letters."""
    content = path.read_bytes()
    unpacked = lzma.decompress(content) if path.suffix == ".xz" else content
    try:
        text = unpacked.decode()
    except UnicodeDecodeError:
        text = unpacked.decode("latin-1")
    pieces = states(text) if path.name.endswith(".state.xz") else [text]
    return {found for piece in pieces for found in held(piece)}


# what one moment holds, the next ones and other notebooks' often hold, too
held = cache(scrub.secrets)


def states(text: str) -> Iterator[str]:
    """A notebook's states, piece by piece."""
    head, *moments = text.split("\n")
    yield head
    for moment in map(json.loads, moments):
        changes = moment.pop("changes")
        yield from (f"{what} {name}: {piece}" for what, name, piece in changes)
        yield json.dumps(moment)


def committed() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (REPOSITORY / name).exists()]


@pytest.mark.parametrize("name", committed())
def test_no_secret_is_committed(name):
    assert secrets(REPOSITORY / name) == LOOKS_ALIKE.get(name, set())


@pytest.mark.parametrize("packed", [False, True])
def test_one_that_is_there_is_found(tmp_path, packed):
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    content = b"\x89PNG tls.key: " + base64.b64encode(der)
    path = tmp_path / ("a.xz" if packed else "a.png")
    path.write_bytes(lzma.compress(content) if packed else content)
    assert secrets(path) == {"a private key"}


@pytest.mark.parametrize("place", ["piece", "cell"])
def test_one_in_a_state_is_found(tmp_path, place):
    key = "-----BEGIN " + "PRIVATE KEY-----\nMC4C"
    moment = {"cell": key if place == "cell" else 1, "at": 1.0, "changes": [["log", "a/b/c", key], ["log", "d", None]]}
    path = tmp_path / "a.state.xz"
    path.write_bytes(lzma.compress("\n".join(map(json.dumps, [{"notebook": "a"}, moment])).encode()))
    assert secrets(path) == {"a private key"}


def of_the_engine(recorded: str) -> list[str]:
    """The recorded commands that ask the container engine: its answers name the machine, its kernel, its id."""
    return re.findall(r'"docker",[^]]*', recorded)


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_nothing_that_the_engine_says_of_a_machine_is_recorded(path):
    assert of_the_engine(path.read_text()) == []


def test_what_the_engine_was_asked_is_found():
    assert of_the_engine('{"kind": "command", "request": {"argv": ["docker", "info"]}}')
