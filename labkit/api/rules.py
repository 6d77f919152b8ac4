"""The rules that kinds of objects have of their own, in CEL: which of them a value breaks, and what is said of that.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules ·
https://kubernetes.io/docs/reference/using-api/cel/ · https://github.com/cel-expr/cel-spec

CEL is evaluated by cel-expr, the implementation that Envoy has. It has limits of its own, so that neither a rule nor a
value holds up whoever asks: 32 levels of an expression, 10,000 steps of its loops, and RE2 for `matches`, whose time
grows with the text alone (https://github.com/google/re2). What it cannot evaluate is taken for kept.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Rule = Mapping[str, Any]
PATIENCE = 1.0  # seconds that an object's rules may take, about as long as an API server gives them
SPENT = "validation failed due to running out of cost budget, no further validation rules will be run"
LONGEST = 10_000  # characters of a rule; the course's longest has 1,270

# https://kubernetes.io/docs/reference/using-api/cel/#escaping
_RESERVED = {
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
}  # fmt: skip
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_OLD = re.compile(r"\boldSelf\b")
# What the library says of a value, and what the API server's, https://github.com/google/cel-go, says in its place
_SAID = (
    (r'NOT_FOUND: Key not found in map : "?(.*?)"?', r"no such key: \1"),
    (r"UNKNOWN: Index error: index=(-?\d+) .*", r"index out of bounds: \1"),
    ("INVALID_ARGUMENT: divide by zero", "division by zero"),
    ("OUT_OF_RANGE: (.*)", r"\1"),  # integer overflow, and what the functions below raise
    (".*String to Duration conversion failed", "type conversion error from 'string' to 'google.protobuf.Duration'"),
    (".*cannot convert string to (u?int|double).*", r"type conversion error from 'string' to '\1'"),
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_NO_HOST = re.compile(r"[\s\\^`{|}%]")
_PORT = re.compile(r":[^:\]]+$")
_NO_URL = re.compile(r"[\0-\x1f\x7f]|%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class Broken:
    """A rule that a value breaks. beneath: the field that it names, from where the rule stands. message: of a Status.

    https://pkg.go.dev/k8s.io/apimachinery/pkg/util/validation/field
    """

    beneath: str
    reason: str
    message: str


class Budget:
    """How long the rules of one object may take, from now on."""

    def __init__(self) -> None:
        self._until = time.monotonic() + PATIENCE

    @property
    def is_spent(self) -> bool:
        return time.monotonic() > self._until


def broken(rules: Sequence[Rule], type_: str, value: Any, before: Any, budget: Budget) -> Iterator[Broken]:
    """Those that a value breaks. type_: what its schema calls it. before: what stood there, in CEL's form as value is.

    A rule that compares with what was there has nothing to say where nothing was, unless it says that it has.
    """
    for rule in rules:
        optional, text = rule.get("optionalOldSelf", False), rule.get("rule", "")
        if not text or (before is None and not optional and compares(rule)):
            continue
        if budget.is_spent:
            yield _of("", "", json.dumps(type_), SPENT)
            return
        kept, why = _evaluated(_bound(text, before) if optional else text, value, before)
        if why:
            said = str(rule.get("message") or text).strip()
            yield _of("", "", json.dumps(type_), f"{why} evaluating rule: {said}")
        elif kept is False:
            told = "" if type_ in ("object", "array") else json.dumps(value, ensure_ascii=False)
            yield _of(rule.get("fieldPath", ""), rule.get("reason", ""), told, _message(rule, value, before))


def matches(text: str, pattern: str) -> bool:
    """Whether a text is of a schema's pattern; a pattern that cannot be read is taken for kept."""
    return not pattern or _evaluated("self.matches(oldSelf)", text, pattern)[0] is not False


def compares(rule: Rule) -> bool:
    """Whether a rule is about a change."""
    return bool(_OLD.search(rule.get("rule", "")))


def escaped(name: str) -> str:
    """A field's name as a rule may write it; "" for one that no rule can name."""
    if name in _RESERVED:
        return f"__{name}__"
    known = re.fullmatch(r"[A-Za-z_./-][\w./-]*", name, re.ASCII)
    return re.sub(r"__|[./-]", lambda found: _ESCAPES[found[0]], name) if known else ""


def _of(beneath: str, reason: str, told: str, message: str) -> Broken:
    """As the API server words it, by the rule's reason."""
    match reason:
        case "FieldValueRequired":
            return Broken(beneath, reason, f"Required value: {message}")
        case "FieldValueForbidden":
            return Broken(beneath, reason, f"Forbidden: {message}")
        case "FieldValueDuplicate":
            return Broken(beneath, reason, ": ".join(filter(None, ("Duplicate value", told))))
    return Broken(beneath, "FieldValueInvalid", ": ".join(filter(None, ("Invalid value", told, message))))


def _message(rule: Rule, value: Any, before: Any) -> str:
    worded = _evaluated(rule["messageExpression"], value, before)[0] if "messageExpression" in rule else None
    if isinstance(worded, str) and worded.strip() and "\n" not in worded:
        return worded.strip()
    return str(rule.get("message") or f"failed rule: {str(rule['rule']).strip()}").strip()


def _bound(text: str, before: Any) -> str:
    """A rule to which what was there is optional."""
    held = "optional.none()" if before is None else "optional.of(oldSelf)"
    return f"cel.bind(oldSelf, {held}, {text})"


def _evaluated(text: str, value: Any, before: Any) -> tuple[Any, str]:
    """What an expression says, or why it says nothing, in cel-go's words; neither where the library cannot tell."""
    try:
        found = _compiled(text).eval(data={"self": value, "oldSelf": before})
        if found.type().name() != "ERROR":
            return found.plain_value(), ""
        said = str(found.plain_value())
    except Exception:  # a limit, a function that is not known, a value that has no form in C++, no such library
        return None, ""
    return None, next((told for each, to in _SAID if (told := _worded(each, to, said))), "")


def _worded(pattern: str, words: str, said: str) -> str:
    found = re.fullmatch(pattern, said, re.DOTALL)
    return found.expand(words) if found else ""


@lru_cache(maxsize=512)
def _compiled(text: str) -> Any:
    if len(text) > LONGEST:
        raise ValueError(f"a rule of {len(text)} characters")
    return _environment().compile(text, disable_check=True)


@lru_cache(maxsize=1)
def _environment() -> Any:
    from cel_expr_python import cel  # 14 MB that only a change asks for
    from cel_expr_python.ext import ext_bindings, ext_optional

    def declared(name: str, result: Any, does: Callable[..., Any], *others: Any, member: bool = False) -> Any:
        key, parameters = f"{name} {len(others)}", [cel.Type.STRING, *others]
        return cel.Overload(key, return_type=result, parameters=parameters, is_member=member, impl=does)

    # Of Kubernetes' own and of cel-go's strings, those that Istio's and the Gateway API's kinds ask for: the library's
    # substring leaves out the last character. A URL stays the text that it was.
    text, number, yes = cel.Type.STRING, cel.Type.INT, cel.Type.BOOL
    functions = [
        cel.FunctionDecl("isURL", [declared("isURL", yes, lambda given: not _parsed(given)[1])]),
        cel.FunctionDecl("url", [declared("url", text, _url)]),
        cel.FunctionDecl("getScheme", [declared("getScheme", text, lambda given: _parsed(given)[0], member=True)]),
        cel.FunctionDecl("isIP", [declared("isIP", yes, _is_ip)]),
        cel.FunctionDecl("split", [declared("split", cel.Type.List(text), _split, text, member=True)]),
        cel.FunctionDecl("substring", [
            declared("substring", text, _substring, number, member=True),
            declared("substring", text, _substring, number, number, member=True),
        ]),
    ]  # fmt: skip
    extensions = [ext_optional.ExtOptional(), ext_bindings.ExtBindings()]
    either = {"self": cel.Type.DYN, "oldSelf": cel.Type.DYN}
    return cel.NewEnv(variables=either, extensions=extensions, functions=functions)


def _split(text: str, between: str) -> list[str]:
    return text.split(between) if between else list(text)


def _substring(text: str, start: int, end: int | None = None) -> str:
    """https://pkg.go.dev/github.com/google/cel-go/ext#Strings"""
    last = len(text) if end is None else end
    if start > last and end is not None:
        raise ValueError(f"invalid substring range. start: {start}, end: {end}")
    if outside := [each for each in (start, last) if not 0 <= each <= len(text)]:
        raise ValueError(f"index out of range: {outside[0]}")
    return text[start:last]


def _url(text: str) -> str:
    if why := _parsed(text)[1]:
        quoted = json.dumps(text, ensure_ascii=False)
        raise ValueError(f"URL parse error during conversion from string: parse {quoted}: {why}")
    return text


def _parsed(text: str) -> tuple[str, str]:
    """A URL's scheme, "" for a path; and why it is none: https://pkg.go.dev/net/url#ParseRequestURI"""
    found = _SCHEME.match(text)
    scheme, rest = (found[1].lower(), text[found.end() :]) if found else ("", text)
    rest = rest.partition("?")[0]
    if not rest.startswith("/"):
        return scheme, "" if scheme else "invalid URI for request"
    if scheme and rest.startswith("//"):
        authority, _, rest = rest[2:].partition("/")
        host = authority.rpartition("@")[2]
        if (port := _PORT.search(host)) and not port[0][1:].isdigit():
            return scheme, f'invalid port "{port[0]}" after host'
        if wrong := _NO_HOST.search(host):
            return scheme, f'invalid character "{wrong[0]}" in host name'
    return scheme, "invalid URI for request" if _NO_URL.search(rest) else ""


def _is_ip(text: str) -> bool:
    """https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-ip-address-library"""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text and getattr(found, "ipv4_mapped", None) is None
