"""Downloads: what is published arrives whole and verified, or nothing does."""

from __future__ import annotations

import gzip
import hashlib
import io
import string
import tarfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from farend import Answer, busy, cut, far_end, tampered
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.backend.live import downloading
from labkit.cluster import downloads
from labkit.cluster.downloads import archive_name, checksum_for, fetch, refusal, unpack, verify
from labkit.errors import LabError
from labkit.settings import ISTIO

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def end(tmp_path):
    root = tmp_path / "published"
    root.mkdir()
    (root / "tool").write_bytes(BODY)
    (root / "tool.sha256").write_text(f"{SHA256}\n")
    with far_end(root) as end:
        yield end


@pytest.fixture
def to(tmp_path):
    return tmp_path / "home" / "tool"


def get(end, to, notes=None):
    return fetch(f"{end.address}/tool", f"{end.address}/tool.sha256", to, (notes if notes is not None else []).append)


# -- fetch --------------------------------------------------------------------------------------


def test_a_file_arrives_verified_and_is_fetched_once(end, to):
    notes: list[str] = []
    assert get(end, to, notes).read_bytes() == BODY
    asked = len(end.requests)
    get(end, to)
    assert len(end.requests) == asked
    assert any("MiB" in note for note in notes)


def test_a_busy_server_is_asked_again(end, to):
    end.fail("/tool$", busy(429))
    end.fail("/tool$", busy(503))
    assert get(end, to).read_bytes() == BODY


def test_a_cut_connection_goes_on_where_it_stopped(end, to, monkeypatch):
    end.fail("/tool$", cut(300_000))
    assert get(end, to).read_bytes() == BODY
    resumed = [asked for path, asked in end.requests if path == "/tool" and asked]
    assert len(resumed) == 1
    assert int(resumed[0].removeprefix("bytes=").removesuffix("-")) > 0


@pytest.mark.parametrize("named", ["same", "another", "nothing"])
def test_what_another_file_of_that_name_left_is_no_part_of_it(end, to, named, monkeypatch):
    end.fail("/tool$", cut(300_000))
    with monkeypatch.context() as hurried:
        hurried.setattr(downloading, "ATTEMPTS", 1)
        with pytest.raises(LabError):
            get(end, to)
    end.heal()
    of = to.with_name("tool.unverified.part.of")
    if named == "another":
        (end.root / "tool").write_bytes(BODY[::-1])
        (end.root / "tool.sha256").write_text(hashlib.sha256(BODY[::-1]).hexdigest())
    elif named == "nothing":
        of.unlink()
    assert get(end, to).read_bytes() == (BODY[::-1] if named == "another" else BODY)
    assert bool(end.requests[0][1]) == (named != "nothing")
    assert [path.name for path in to.parent.iterdir() if ".part" in path.name] == []


def says(status: int, **headers: str):
    return lambda answer: Answer(status, headers, b"" if status in (204, 304) else b"x")


@pytest.mark.parametrize(
    "answer",
    [says(204), says(304), says(302), says(300), says(201), says(302, Location="http://[")],
    ids=["204", "304", "302 to nowhere", "300", "201", "302 to no address"],
)
def test_an_answer_that_is_no_file_is_an_error(end, to, answer):
    end.fail("/tool$", answer, times=9)
    with pytest.raises(LabError, match="could not be downloaded"):
        get(end, to)
    assert not to.exists()


def test_a_server_that_sends_on_for_ever_is_left(end, to):
    end.fail("/tool$", says(302, Location="/tool"), times=99)
    with pytest.raises(LabError, match="sent on more than"):
        get(end, to)


@pytest.mark.parametrize("told", [True, False], ids=["told", "untold"])
def test_a_file_that_is_larger_than_any_is_left(end, to, monkeypatch, told):
    if not told:
        end.fail("/tool$", lambda answer: replace(answer, headers={"Transfer-Encoding": "identity"}))
    with pytest.raises(LabError, match="larger than"):
        backend.download(f"{end.address}/tool", to, largest=len(BODY) - 1)
    assert list(to.parent.iterdir()) in ([], [to.with_name("tool.part.of")])


def test_a_file_that_never_ends_is_left_and_what_is_here_is_kept(end, to, monkeypatch):
    monkeypatch.setattr(downloading, "DEADLINE", -1.0)
    with pytest.raises(LabError, match="MiB of it are here"):
        backend.download(f"{end.address}/tool", to)
    assert to.with_name("tool.part").stat().st_size


def test_a_tampered_file_leaves_nothing_and_the_next_run_fetches_anew(end, to):
    end.fail("/tool$", tampered)
    with pytest.raises(LabError, match="SHA-256"):
        get(end, to)
    assert [file for file in to.parent.iterdir() if file.is_file()] == []
    assert get(end, to).read_bytes() == BODY


def test_what_was_changed_on_disk_is_fetched_anew(end, to):
    get(end, to)
    to.write_bytes(b"changed")
    assert get(end, to).read_bytes() == BODY


def test_a_known_hash_needs_no_checksum_file(end, to):
    fetch(f"{end.address}/tool", SHA256.upper(), to, lambda _: None)
    assert [path for path, _ in end.requests] == ["/tool"]


def test_an_unknown_address_says_404_and_is_not_asked_twice(end, to):
    with pytest.raises(LabError, match="404"):
        fetch(f"{end.address}/v9.9.9/tool", SHA256, to, lambda _: None)
    assert len(end.requests) == 1


def test_a_sign_in_page_in_place_of_the_checksum(end, to):
    (end.root / "tool.sha256").write_text("<html>\n<body>Welcome to the hotel</body>\n</html>\n")
    with pytest.raises(LabError, match="no checksum"):
        get(end, to)
    assert not to.exists()


def test_a_folder_that_cannot_be_written(end, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="could not be written"):
        fetch(f"{end.address}/tool", SHA256, tmp_path / "file" / "tool", lambda _: None)


# -- checksums ----------------------------------------------------------------------------------

hashes = st.text("0123456789abcdefABCDEF", min_size=64, max_size=64)
names = st.text(string.ascii_letters + string.digits + ".-_", min_size=1, max_size=30).filter(
    lambda name: PurePosixPath(name).name == name
)


@given(hashes, names, st.sampled_from(["", "\n", "\r\n", " \n\n"]))
def test_a_bare_hash(sha256, name, end):
    assert checksum_for(name, sha256 + end, "there") == sha256.lower()


@given(st.dictionaries(names, hashes, min_size=1), st.sampled_from(["  ", " *", "  out/"]), st.data())
def test_each_name_among_many_gets_its_own_hash(table, between, data):
    text = "".join(f"{sha256}{between}{name}\n" for name, sha256 in table.items())
    name = data.draw(st.sampled_from(sorted(table)))
    assert checksum_for(name, text, "there") == table[name].lower()


@given(st.text(), names)
def test_anything_else_is_one_clear_error(text, name):
    try:
        found = checksum_for(name, text, "there")
    except LabError:
        return
    assert len(found) == 64
    assert found in text.lower()


@pytest.mark.parametrize("text", [f"{'a' * 64}  other", "a" * 63, "", f"{'a' * 64}\n{'b' * 64}\n", f"{'g' * 64}"])
def test_no_checksum_for_this_name(text):
    with pytest.raises(LabError):
        checksum_for("tool", text, "there")


def test_verify(tmp_path):
    file = tmp_path / "tool"
    file.write_bytes(BODY)
    verify(file, SHA256)
    file.write_bytes(BODY[:-1])
    with pytest.raises(LabError, match="SHA-256"):
        verify(file, SHA256)
    with pytest.raises(LabError, match="does not exist"):
        verify(tmp_path / "absent", SHA256)


# -- unpack -------------------------------------------------------------------------------------


def member(name: str, body: bytes = b"", **fields) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(body)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, body


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=kind, linkname=target)


def pack(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, body in members:
            tar.addfile(info, io.BytesIO(body))
    return path


GOOD = (
    member("istio-1.2.3", type=tarfile.DIRTYPE, mode=0o755),
    member("istio-1.2.3/bin/istioctl", b"#!/bin/sh\n", mode=0o755),
    member("./istio-1.2.3/README.md", BODY[:70_000]),
)


@pytest.fixture
def archive(tmp_path):
    return tmp_path / "istio.tar.gz"


@pytest.fixture
def into(tmp_path):
    return tmp_path / "home"


def refuses(archive: Path, into: Path, match: str | None = None) -> None:
    with pytest.raises(LabError, match=match):
        unpack(archive, into)
    assert list(into.iterdir()) == []


def test_the_one_folder_arrives_whole(archive, into):
    folder = unpack(pack(archive, *GOOD), into)
    assert list(into.iterdir()) == [folder] == [into / "istio-1.2.3"]
    assert (folder / "bin" / "istioctl").stat().st_mode & 0o100
    assert (folder / "README.md").read_bytes() == BODY[:70_000]


def test_what_was_there_is_replaced_whole(archive, into):
    old = into / "istio-1.2.3" / "old"
    old.parent.mkdir(parents=True)
    old.write_text("")
    unpack(pack(archive, *GOOD), into)
    assert not old.exists()


def test_what_was_there_stays_when_the_archive_is_refused(archive, into):
    folder = unpack(pack(archive, *GOOD), into)
    with pytest.raises(LabError):
        unpack(pack(archive, *GOOD, member("../evil")), into)
    assert list(into.iterdir()) == [folder]
    assert (folder / "bin" / "istioctl").exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_truncated_anywhere(archive, into, share):
    whole = pack(archive, *GOOD).read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    refuses(archive, into)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_tampered_anywhere(archive, into, share):
    whole = bytearray(pack(archive, *GOOD).read_bytes())
    whole[int(len(whole) * share)] ^= 0xFF
    archive.write_bytes(whole)
    refuses(archive, into)


@pytest.mark.parametrize(
    "evil",
    [
        member("/etc/passwd", b"x"),
        member("../outside", b"x"),
        member("istio-1.2.3/../../outside", b"x"),
        link("istio-1.2.3/link", "/etc"),
        link("istio-1.2.3/link", "../../outside"),
        link("istio-1.2.3/link", "../other"),
        link("istio-1.2.3/link", "../../etc/passwd", tarfile.LNKTYPE),
        link("istio-1.2.3/link", "/etc/passwd", tarfile.LNKTYPE),
        member("istio-1.2.3/null", type=tarfile.CHRTYPE),
        member("istio-1.2.3/disk", type=tarfile.BLKTYPE),
        member("istio-1.2.3/pipe", type=tarfile.FIFOTYPE),
        member("second/folder", b"x"),
        member("loose", b"x"),
    ],
    ids=lambda evil: f"{evil[0].type.decode()}-{evil[0].name}",
)
def test_what_reaches_outside_is_refused(archive, into, evil):
    refuses(pack(archive, *GOOD, evil), into)


LONG = "/".join(["a" * 250] * 16)  # longer than any path may be: https://nvd.nist.gov/vuln/detail/CVE-2025-4517


@pytest.mark.parametrize(
    "chain",
    [
        [link("istio-1.2.3/a", "bin"), link("istio-1.2.3/b", "a/../.."), member("istio-1.2.3/b/evil", b"x")],
        [link("istio-1.2.3/a", "."), link("istio-1.2.3/a/b", "..")],
        [link(f"istio-1.2.3/{LONG}/l", "../" * 16), member(f"istio-1.2.3/{LONG}/l/evil", b"x")],
        [link("istio-1.2.3/nothing", "not-there", tarfile.LNKTYPE)],
        [link("istio-1.2.3/readme", "istio-1.2.3/README.md", tarfile.LNKTYPE)],
        [link("istio-1.2.3/self", "self")],
        [link("istio-1.2.3/readme", "README.md")],
    ],
    ids=["steps", "dots", "long", "to nothing", "hard", "to itself", "harmless"],
)
def test_no_link_is_made(archive, into, chain):
    refuses(pack(archive, *GOOD, *chain), into, "link")


@pytest.mark.parametrize(
    "odd",
    [
        [member("istio-1.2.3/" + "a/" * 3_000 + "b", b"x")],
        [member("istio-1.2.3/" + "a" * 300, b"x")],
        [member("istio-1.2.3/README.md/b", b"x")],
        [member("istio-1.2.3", b"a file")],
        [member("istio-1.2.3/a", b"x", type=tarfile.CONTTYPE)],
        [member("istio-1.2.3/a", b"x", type=b"Q")],
        [member("istio-1.2.3/a", b"x", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})],
        [member("istio-1.2.3/a", b"x", pax_headers={"GNU.sparse.map": "1,b"})],
        [member("istio-1.2.3/a", b"x", pax_headers={"size": "-1"})],
        [member("istio-1.2.3/a", b"x", pax_headers={"size": "9" * 30})],
        [member("istio-1.2.3/a", b"x", pax_headers={"mtime": "nan"})],
        [member("istio-1.2.3/a", b"x", pax_headers={"mtime": "1e300"})],
    ],
    ids=lambda odd: str(odd[0][0].pax_headers or odd[0][0].type) + odd[0][0].name[12:20],
)
def test_what_no_release_holds_is_one_clear_error(archive, into, odd):
    refuses(pack(archive, *GOOD, *odd), into)


@pytest.mark.parametrize("time", [-1.0, 0.0, 1e11])
def test_a_time_of_any_age_is_no_reason(archive, into, time):
    unpack(pack(archive, *GOOD, member("istio-1.2.3/a", b"x", mtime=time)), into)


@given(st.data())
def test_a_header_with_any_byte_in_any_place_is_unpacked_or_refused(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("odd")
    whole = bytearray(gzip.decompress(pack(folder / "a.tar.gz", *GOOD).read_bytes()))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, 1535))] = data.draw(st.integers(0, 255))
    (folder / "a.tar.gz").write_bytes(gzip.compress(bytes(whole), 1))
    try:
        unpack(folder / "a.tar.gz", folder / "home")
    except LabError:
        assert list((folder / "home").iterdir()) == []


@pytest.mark.parametrize("members", [[], [member("istio-1.2.3", b"a file")], [member("bin/kubectl", b"x")]])
def test_an_archive_without_a_release_folder(archive, into, members):
    refuses(pack(archive, *members), into)


def test_a_bomb_is_refused_before_it_fills_the_disk(archive, into, monkeypatch):
    monkeypatch.setattr(downloads, "LARGEST", 1 << 20)
    refuses(pack(archive, *GOOD, member("istio-1.2.3/zeros", bytes(2 << 20))), into, "expands")


def test_a_bomb_behind_the_last_member(archive, into, monkeypatch):
    monkeypatch.setattr(downloads, "LARGEST", 1 << 20)
    archive.write_bytes(gzip.compress(gzip.decompress(pack(archive, *GOOD).read_bytes()) + bytes(2 << 20)))
    refuses(archive, into, "expands")


def test_too_many_files(archive, into, monkeypatch):
    monkeypatch.setattr(downloads, "MOST_MEMBERS", 10)
    refuses(pack(archive, *GOOD, *[member(f"istio-1.2.3/{n}") for n in range(10)]), into, "expands")


segments = st.sampled_from(["a", "b", "..", ".", "", "c.yaml", "\0"])
paths = st.lists(segments, min_size=1, max_size=6).map("/".join)


@given(paths)
def test_no_accepted_name_leaves_the_folder(name):
    if refusal(member(name)[0]) is None:
        landed = Path("/folder", name)
        assert landed.is_relative_to("/folder")
        assert ".." not in landed.parts


# -- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "architecture", "name"),
    [
        ("linux", "amd64", f"istio-{ISTIO}-linux-amd64.tar.gz"),
        ("linux", "arm64", f"istio-{ISTIO}-linux-arm64.tar.gz"),
        ("darwin", "amd64", f"istio-{ISTIO}-osx-amd64.tar.gz"),
        ("darwin", "arm64", f"istio-{ISTIO}-osx-arm64.tar.gz"),
    ],
)
def test_istios_names(system, architecture, name):
    assert archive_name(ISTIO, system, architecture) == name


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        (("9.9.9", "linux", "amd64"), ISTIO),
        ((ISTIO, "windows", "amd64"), "darwin"),
        ((ISTIO, "linux", "s390x"), "arm64"),
    ],
)
def test_what_is_unknown_lists_what_is_known(asked, known):
    with pytest.raises(LabError, match=known):
        archive_name(*asked)
