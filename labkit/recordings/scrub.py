"""What a recording must not hold, and what stands in its place.

Scrubbing happens as a recording is written: secrets, whatever they are wrapped in, and what tells of the machine go.
Folders become words that playing back turns into the reader's own.

Why no library of detectors: detect-secrets, the one that is written in Python and sold as a library, had its last
release in May 2024 (https://github.com/Yelp/detect-secrets/issues/953). It reads line by line, tells of a secret by a
digest of it and not by its place, so that nothing can be put in its stead, and looks into no encoding.
"""

from __future__ import annotations

import base64
import binascii
import getpass
import json
import os
import re
import socket
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from labkit.settings import MANIFESTS, REPOSITORY, settings

DEEPEST = 4  # wrappings in each other
LARGEST = 1 << 24  # bytes that something packed may unpack to
_HELD = "⟨a Secret's value⟩"


@dataclass(frozen=True)
class Detector:
    """One kind of secret in plain text. hint: what stands in each text that has one, in small letters; it saves time.

    The groups before and after, where a pattern has them, stay. Patterns take linear time: no two parts of one that
    repeat can match the same text, and a repeated part begins where none like it went before.
    """

    what: str
    hint: tuple[str, ...]
    pattern: re.Pattern[str]
    place: str | Callable[[re.Match[str]], str] = ""


def _detector(what: str, hint: str, pattern: str, place: str | Callable[[re.Match[str]], str] = "") -> Detector:
    return Detector(what, tuple(hint.split()), re.compile(pattern), place or f"⟨{what}⟩")


_Q = r"\\{0,7}[\"']"  # a quotation mark, however deep the JSON lies in other JSON
_VALUE = r"[A-Za-z0-9+/=_.~!@#%^*-]"
_HEX = r"[0-9A-Fa-f]"
_LETTERS = r"A-Za-z0-9+/_\\-"  # what stands before a letter of base64 in the same run


def _begins(letter: str, inside: str = "A-Za-z0-9") -> str:
    """Such a letter where none of those inside a word stands before it, or an escape that ends a line does.

    It comes first, and what stands before it is looked at after it: Python's `re` then skips to the next such letter,
    where an assertion in the first place would have it try at every letter of the text.
    """
    return rf"{letter}(?:(?<![{inside}].)|(?<=\\[bfnrt].)|(?<=\\u{_HEX}{{4}}.))"


def _words(*words: str) -> str:
    """One of these where a word begins, each with a plain letter at its beginning."""
    firsts = "".join(sorted({word[0] for word in words}))
    return _begins(f"[{firsts}]") + "(?:" + "|".join(f"(?<={word[0]}){word[1:]}" for word in words) + ")"


def _words_in_any_case(*words: str) -> str:
    """The same in small letters and in large ones."""
    return _words(*(f"{first}(?i:{word[1:]})" for word in words for first in (word[0].lower(), word[0].upper())))


_HOST_KEYS = _words(
    r"A(?:KIA|SIA|BIA|CCA)[A-Z2-7]{16}(?![A-Z0-9])", r"AIza[\w-]{35}", r"ya29\.[\w-]{20,}", r"GOCSPX-[\w-]{20,}",
    r"gh[pousr]_[A-Za-z0-9]{30,}",
    r"github_pat_\w{22,}", r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|ffct)-[\w-]{20,}",
    r"xox[abeoprs]-[\w-]{10,}", r"xapp-\d-[\w-]{10,}", r"hooks\.slack\.com/services/[\w/]{20,}",
    *(rf"{first}k_(?:live|test)_\w{{16,}}" for first in "srp"),
    r"whsec_[\w+/=]{16,}", r"npm_[A-Za-z0-9]{30,}", r"pypi-[\w-]{40,}",
    r"dckr_[po]at_[\w-]{20,}", r"hv[sbr]\.[\w-]{20,}", r"sk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9][\w-]{30,}",
    r"SG\.[\w-]{20,24}\.[\w-]{40,}", r"do[opr]_v1_[0-9a-f]{64}", r"hf_[A-Za-z0-9]{30,}",
    r"shp(?:at|ca|pa|ss)_[0-9a-f]{32}",
    r"dapi[0-9a-f]{32}", r"glsa_\w{32,}", r"glc_[\w+/=]{32,}", r"ATATT3[\w=-]{40,}", r"rubygems_[0-9a-f]{48}",
    r"AGE-SECRET-KEY-1[0-9A-Z]{40,}", r"lin_api_\w{32,}", r"sq0[a-z]{3}-[\w-]{22,}", r"NRAK-[A-Z0-9]{27}",
    r"AccountKey=[\w+/]{40,}=*", r"SharedAccessKey=[\w+/]{40,}=*",
)  # fmt: skip
_NAMED = _words_in_any_case(
    r"passw(?:or)?d", "passphrase", r"secret[-_]?(?:access[-_]?)?key", r"api[-_]?key", r"client[-_]?secret",
    *(rf"{whose}[-_]?token" for whose in ("access", "refresh", "id", "identity", "auth", "bearer", "session")), "token",
)  # fmt: skip


def _basic(header: re.Match[str]) -> str:
    """https://www.rfc-editor.org/rfc/rfc7617: the name and the password, with a colon between them, in base64."""
    try:
        content = base64.b64decode(header[2].rstrip("=") + "===")
    except binascii.Error:  # a word after `basic` that is no base64
        return header[0]
    return f"{header[1]}⟨a password⟩" if b":" in content and content.isascii() else header[0]


def _literals(command: re.Match[str]) -> str:
    return re.sub(r"(--from-literal[= ][\"']?[\w.-]{1,99}=)[^\s\"'⟨]+", r"\1⟨a password⟩", command[0])


DETECTORS = (
    _detector(
        "a private key", "private",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[^-]*(?:-(?!-)[^-]*)*-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|[A-Za-z0-9+/=\s\\]*)",
    ),
    _detector(
        "a private key", '"',
        rf"({_Q}(?:d|p|q|dp|dq|qi|k){_Q}\s{{0,9}}:\s{{0,9}}{_Q})[\w-]{{20,}}={{0,2}}", r"\1⟨a private key⟩",
    ),
    _detector(
        "a token", "eyj",
        rf"{_begins('[A-Za-z0-9_-]', _LETTERS)}(?:(?<=e)(?=yJ)|(?=[A-Za-z0-9_-]*eyJ))[A-Za-z0-9_-]{{12,}}"
        r"\.[A-Za-z0-9_-]*\.[A-Za-z0-9_.-]*",
    ),
    _detector(
        "a token", "bearer", rf"({_words_in_any_case('bearer')}(?:\s|%20|\+){{1,3}}){_VALUE}{{16,}}", r"\1⟨a token⟩"
    ),
    _detector(
        "a password", "basic",
        rf"({_words_in_any_case('basic')}(?:\s|%20|\+){{1,3}})([A-Za-z0-9+/]{{8,}}={{0,2}})(?![\w-])", _basic,
    ),
    _detector(
        "a token", "authorization",
        rf"([aA](?i:uthorization){_Q}?\s{{0,9}}[:=]\s{{0,9}}(?:{_Q})?(?:[A-Za-z-]{{1,20}}\s)?)(?=[^\s]{{0,64}}\d){_VALUE}{{16,}}",
        r"\1⟨a token⟩",
    ),
    _detector(
        "a session", "cookie",
        rf"([cC](?i:ookie){_Q}?\s{{0,9}}[:=]\s{{0,9}}(?:{_Q})?[\w.!#$%&*+^|~-]{{1,64}}=)(?!(?i:scrubbed))[^;\s\"'\\⟨]{{4,}}",
        r"\1scrubbed",
    ),
    _detector(
        "a session", "sess sid= csrf xsrf",
        r"([\w.-](?<![\w.-].)(?=[\w.-]{0,59}=)"
        r"(?:(?<=[sS])(?=(?i:ess|id=))|(?<=[cCxX])(?=(?i:srf))|(?=[\w.-]{0,59}(?i:sess|sid=|csrf|xsrf)))[\w.-]{0,59}=)"
        r"(?!(?i:scrubbed))[^;\s\"'\\⟨&<>$(){},]{8,}",
        r"\1scrubbed",
    ),
    _detector(
        "a private key", "client-key-data",
        rf"([cC](?i:lient-key-data){_Q}?\s{{0,3}}:\s{{0,3}}(?:{_Q})?)[A-Za-z0-9+/=]{{8,}}", r"\1⟨a private key⟩",
    ),
    _detector(
        "a password", "key pass token secret",
        rf"({_NAMED}{_Q}?\s{{0,3}}[:=]\s{{0,3}}(?:{_Q})?)(?=[^\s\"'\\]{{0,63}}[0-9+/=!@#%^*])"
        rf"{_VALUE}{{8,}}(?![\w:.-])", r"\1⟨a password⟩",
    ),
    _detector(
        "a password", "auth", rf"(auth(?<=[\"']auth){_Q}\s{{0,9}}:\s{{0,9}}{_Q})[A-Za-z0-9+/]{{8,}}={{0,2}}",
        r"\1⟨a password⟩",
    ),
    _detector("a key", "", _HOST_KEYS),
    _detector("a key", "8q~", _begins(r"\w") + r"\w\w8Q~[\w.~-]{30,40}"),
    _detector(
        "a hash of a password", "$",
        r"\$(?:2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}|(?:[156]|apr1|y|argon2\w{1,2})\$[\w./$=,+-]{20,})",
    ),
    _detector("a password", "://", r"(://[^\s/:@\"'<>⟨]{0,99}:)[^\s/@\"'<>⟨]{1,199}(?=@)", r"\1⟨a password⟩"),
    _detector(
        "a token", "=",
        r"(?i)([?&;](?:[\w-]{1,30}[-_])?(?:token|sig|signature|api_?key|key|password|passwd|secret|credential)=)"
        r"[A-Za-z0-9+/=_.~%-]{6,}", r"\1⟨a token⟩",
    ),
    _detector(
        "a password", "from-literal",
        r"(?i)(--from-literal[= ][\"']?[\w.-]{0,60}(?:pass|pwd|token|key|secret|cred)[\w.-]{0,60}=)[^\s\"'⟨]+",
        r"\1⟨a password⟩",
    ),
    _detector("a password", "from-literal", r"(?<=create secret )[^\n|;&]*", _literals),
    _detector(
        "a password", "--password --token --docker-password --user -u",
        r"(-(?<![\w-]-)(?:-(?:docker-)?(?:password|token)[= ][\"']?|(?:u|-user)[= ]?[\"']?[\w.-]{1,64}:))"
        r"(?![-$⟨<])[^\s\"'⟨$]{3,}", r"\1⟨a password⟩",
    ),
    _detector(
        "a key of a TLS session", "random secret master-key psk",
        rf"(CLIENT_RANDOM {_HEX}{{64}} |_SECRET(?<=[A-Z]{{3}}_SECRET)(?:_\d{{1,9}})? {_HEX}{{64}} "
        rf"|Master-Key: |PSK: ){_HEX}{{32,}}",
        r"\1⟨a key of a TLS session⟩",
    ),
)  # fmt: skip
# Private keys in DER: RFC 8017 A.1.2 and DSA's, RFC 5915, RFC 5958 plain and encrypted, RFC 7292, and OpenSSH's own.
_LENGTH = rb"(?:[\x02-\x7f]|\x81.|\x82..)"
_DER = re.compile(
    rb"\x30" + _LENGTH + rb"\x02\x01\x00\x02(?:[\x1f-\x7f]|\x81.|\x82..)"
    rb"|\x30" + _LENGTH + rb"\x02\x01\x01\x04[\x14-\x42]"
    rb"|\x30"
    + _LENGTH
    + rb"\x02\x01[\x00\x01]\x30"
    + _LENGTH
    + rb"\x06(?:\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01[\x01\x0a]"
    rb"|\x07\x2a\x86\x48\xce\x3d\x02\x01|\x07\x2a\x86\x48\xce\x38\x04\x01|\x03\x2b\x65[\x6e-\x71]|\x09\x2a\x86\x48\x86\xf7\x0d\x01\x03\x01)"
    rb"|\x30"
    + _LENGTH
    + rb"\x30"
    + _LENGTH
    + rb"\x06[\x09\x0a]\x2a\x86\x48\x86\xf7\x0d\x01(?:\x05[\x01-\x0d]|\x0c\x01)"
    rb"|\x30" + _LENGTH + rb"\x02\x01\x03\x30" + _LENGTH + rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
    rb"|openssh-key-v1\x00",
    re.S,
)
_PLAIN = re.compile(rb"[\t\n\r -~]{16}")
# A run of base64 or base64url; one that was broken into lines is one run.
_RUN = re.compile(
    rf"{_begins('[A-Za-z0-9+/_-]', _LETTERS)}[A-Za-z0-9+/_-]{{25,}}"
    r"(?:(?:\r?\n|\\r\\n|\\n)[ \t]{0,20}[A-Za-z0-9+/_-]+)*={0,2}"
)
_STANDARD = str.maketrans("-_", "+/")


def secrets(text: str) -> list[str]:
    """Which secrets a text holds, in words, without repeating them."""
    return list(dict.fromkeys(_cleaned(text)[1]))


def scrubbed(text: str) -> str:
    """A text as it may be written down."""
    return _machine_left_out(_cleaned(placed(text))[0])


def clean(value: Any) -> Any:
    """JSON as it may be written down: scrubbed, and a text also by the name that it goes under, as a header does."""
    if isinstance(value, str):
        return scrubbed(value)
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {name: clean(item) for name, item in _without_held(value).items()}
    return {name: _by_name(name, item) if isinstance(item, str) else item for name, item in named.items()}


def placed(text: str) -> str:
    """A text with a word in place of each of the course's folders, where it stands as a path of its own."""
    for word, folder in _folders().items():
        text = re.sub(rf"(?<![\w./-]){re.escape(folder)}(?![\w-])", word, text)
    return text


def expanded(text: str) -> str:
    """A text that was written down, with the reader's own folders in it."""
    for word, folder in _folders().items():
        text = text.replace(word, folder)
    return text


def compared(text: str) -> str:
    """A request's text as it is compared: without secrets, and without the keys that were made for it.

    Nothing in it depends on the machine: folders are expanded in what was recorded, and stay in what is asked.
    """
    if "PRIVATE KEY" in text:
        return "⟨holds a private key⟩"
    return _MODULUS.sub("⟨modulus⟩", _MACHINE.sub(r"\1\2⟨machine⟩", _cleaned(text)[0]))


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The same JSON with every text in it changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: each_text(item, change) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [each_text(item, change) for item in value]
    return value


# -- secrets --------------------------------------------------------------------------------------
def _cleaned(text: str, deep: int = 0) -> tuple[str, list[str]]:
    """A text without its secrets, and which those were."""
    found: list[str] = []
    text = _objects_cleaned(text, found)
    small = text.lower()
    for detector in DETECTORS:
        if not detector.hint or any(hint in small for hint in detector.hint):
            cleaned = detector.pattern.sub(detector.place, text)
            if cleaned != text:
                found.append(detector.what)
                text = cleaned

    def unwrapped(run: re.Match[str]) -> str:
        held = _in_run(run[0], deep)
        found.extend(held)
        return f"⟨{held[0]}⟩" if held else run[0]

    return (_RUN.sub(unwrapped, text) if deep < DEEPEST else text), found


def _in_run(run: str, deep: int) -> list[str]:
    """What a run of base64 holds. It may begin anywhere in the run: what stands before it belongs to something else."""
    letters = re.sub(r"\\[rn]|\s", "", run).rstrip("=").translate(_STANDARD)
    for start in range(4):
        part = letters[start:]
        try:
            content = base64.b64decode(part[: len(part) - (len(part) % 4 == 1)] + "=" * (-len(part) % 4 % 3))
        except binascii.Error:
            continue
        if found := _in_bytes(content, deep + 1):
            return found
    return []


def _in_bytes(content: bytes, deep: int) -> list[str]:
    """What bytes hold: a key in DER, a text, or either of them packed by gzip."""
    if _DER.search(content):
        return ["a private key"]
    packed = content.find(b"\x1f\x8b\x08")
    if packed >= 0 and deep < DEEPEST:
        try:
            if found := _in_bytes(zlib.decompressobj(31).decompress(content[packed:], LARGEST), deep + 1):
                return found
        except zlib.error:
            pass
    return _cleaned(content.decode("latin-1"), deep)[1] if _PLAIN.search(content) else []


# -- what Secrets hold ----------------------------------------------------------------------------
_OBJECT = re.compile(r"(?m)^([ \t]*)([\[{].*)$")
_YAML_ITEM = re.compile(r"(?m)^(?=---|[ ]*- apiVersion:|apiVersion:)")
_YAML_SECRET = re.compile(r"(?m)^[ ]*(?:- )?kind:[ ]*[\"']?Secret[\"']?[ \t]*\r?$")
_YAML_DATA = re.compile(r"(?m)^([ ]*)((?:- )?)((?:data|stringData):[ ]*\r?\n)((?:\1[ ]+\S.*(?:\n|\Z))+)")
_FLAT = re.compile(rf"({_Q}(?:data|stringData){_Q}\s{{0,9}}:\s{{0,99}})\{{[^{{}}⟨]*\}}")
_KIND = re.compile(rf"{_Q}kind{_Q}\s{{0,9}}:\s{{0,9}}{_Q}Secret(?:List)?{_Q}")


def _objects_cleaned(text: str, found: list[str]) -> str:
    if "Secret" not in text or ("data" not in text and "stringData" not in text):
        return text
    before, text = text, _json_cleaned(text)
    if _YAML_SECRET.search(text):
        parts = _YAML_ITEM.split(text)
        text = "".join(_YAML_DATA.sub(_yaml_held, part) if _YAML_SECRET.search(part) else part for part in parts)
    if text != before:
        found.append("what a Secret holds")
    return text


def _yaml_held(block: re.Match[str]) -> str:
    names = re.findall(r"(?m)^([ ]+)([\w.\"'-]+):", block[4])
    deep = min((len(indent) for indent, _ in names), default=0)
    held = "\n".join(f"{indent}{name}: {_HELD}" for indent, name in names if len(indent) == deep)
    return f"{block[1]}{block[2]}{block[3]}{held}" + "\n" * block[4].endswith("\n")


def _json_cleaned(text: str) -> str:
    """The JSON that the text is, or that its lines are, with no Secret's values; else what looks like them."""
    if (whole := _json_or_none(text)) is not None:
        return text if (held := _without_any_held(whole)) == whole else _dumped(held, text)
    if not _KIND.search(text):
        return text
    if not any(_json_or_none(line) for _, line in _OBJECT.findall(text) if _KIND.search(line)):
        return _FLAT.sub(rf'\1"{_HELD}"', text)
    return _OBJECT.sub(lambda line: line[1] + _json_cleaned(line[2]), text)


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text) if text.lstrip()[:1] in ("{", "[") else None
    except (ValueError, RecursionError):
        return None


def _dumped(value: Any, like: str) -> str:
    separators = None if "\n" in like.strip() or '": ' in like[:200] else (",", ":")
    ending = "\n" if like.endswith("\n") else ""
    return (
        json.dumps(value, indent=4 if "\n" in like.strip() else None, separators=separators, ensure_ascii=False)
        + ending
    )


def _without_any_held(value: Any, kind: str = "") -> Any:
    if isinstance(value, str):
        return _objects_cleaned(value, [])
    if isinstance(value, list):
        return [_without_any_held(item, kind) for item in value]
    if not isinstance(value, dict):
        return value
    items = "Secret" if value.get("kind") == "SecretList" else ""
    value = _without_held(value, kind)
    return {name: _without_any_held(item, items if name == "items" else "") for name, item in value.items()}


def _without_held(value: dict[str, Any], kind: str = "") -> dict[str, Any]:
    """An object; a Secret without its values. In a list its kind may stand with the list alone."""
    if value.get("kind", kind) != "Secret":
        return value
    return {
        name: dict.fromkeys(item, _HELD) if name in ("data", "stringData") and isinstance(item, dict) else item
        for name, item in value.items()
    }


def _by_name(name: str, text: str) -> str:
    named = _cleaned(f"{name}: {text}")[0] if len(text) < _NAMED_TEXT else ""
    return named.removeprefix(f"{name}: ") if named.startswith(f"{name}: ") else text


# -- the machine ----------------------------------------------------------------------------------
_NAMED_TEXT = 10_000  # characters; nothing longer is a header or a password
# A node tells of the machine that it runs on: https://kubernetes.io/docs/reference/node/node-status/#info
_MACHINE = re.compile(
    r"((?:machineID|systemUUID|bootID|kernelVersion|osImage)(?:\\{0,7}\")?: ?)"
    r"(\\{0,7}\"?)[^\"\\\n⟨]+(?=\\{0,7}\"|\n|\Z)"
)
# The modulus of an RSA key of 2048 bits, in base64url (RFC 7518, 6.3.1).
_MODULUS = re.compile(r"(?<![\w-])[\w-]{342}(?![\w-])")
_HOME = re.compile(
    r"(?<![\w.$~-])(?:/mnt/[a-z])?/(?:home|Users)/(?!istio-proxy\b|curl_user\b)[\w.-]{1,64}|[A-Za-z]:\\{1,8}Users\\{1,8}[\w.-]{1,64}"
)
_SHORT = 3  # letters; a name that is no longer stands in other words' places, and tells of nobody


def _folders() -> dict[str, str]:
    """The longest first: the cache may lie in the home, and both in the repository."""
    s = settings()
    folders = {"⟨cache⟩": str(s.cache), "⟨home⟩": str(s.home), "⟨course⟩": str(REPOSITORY)}
    return dict(sorted(folders.items(), key=lambda item: -len(item[1])))


def _machine_left_out(text: str) -> str:
    text = _MACHINE.sub(r"\1\2⟨machine⟩", text)
    text = _own_words().sub("⟨host⟩", text)
    return _HOME.sub("⟨folder⟩", text)


@cache
def _own_words() -> re.Pattern[str]:
    """This machine's names and id and the reader's own, where they are words that tell of nothing else."""
    host = socket.gethostname()
    names = {name.lower() for name in (host, host.partition(".")[0], *_user())} - _course_words()
    telling = {name for name in names if len(name) > _SHORT}
    words = {os.path.expanduser("~"), *telling, *_machine_id()} - {"", "/", "/root"}
    longest = sorted(words, key=lambda word: (-len(word), word))
    return re.compile("|".join(rf"(?<![\w-])(?i:{re.escape(word)})(?![\w-])" for word in longest) or r"(?!)")


def _course_words() -> set[str]:
    """Words that name no machine and no person, for the course says them itself: ratings, default, root."""
    told = " ".join(path.read_text() for path in MANIFESTS.rglob("*.yaml"))
    return {"localhost", "root", "user", "runner", "host"} | set(re.findall(r"[a-z0-9-]+", told.lower()))


def _user() -> Iterator[str]:
    try:
        yield getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return


def _machine_id() -> Iterator[str]:
    """https://www.freedesktop.org/software/systemd/man/latest/machine-id.html"""
    try:
        yield Path("/etc/machine-id").read_text().strip()
    except OSError:
        return
