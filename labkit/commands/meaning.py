"""What a command comes to, in whichever way it is written: two that are told alike do the same."""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Sequence

from labkit.commands.kinds import called
from labkit.commands.words import PROGRAMS, Words, read
from labkit.settings import NAMESPACE

Meaning = tuple[object, ...]


def meaning(argv: Sequence[str]) -> Meaning | None:
    """The program, its verb, its flags without their order, and what it is about; None of another program's command.

    A namespace that is the reader's own anyway says nothing, and what is created from a file might as well be applied.
    """
    if argv[0].rpartition("/")[2] not in PROGRAMS:
        return None
    said = read(argv)
    flags = {name: tuple(sorted(_paths(name, values))) for name, values in said.flags.items()}
    if flags.get("namespace") == (NAMESPACE,):
        del flags["namespace"]
    verb = ("apply",) if said.verb == ("create",) and "filename" in flags else said.verb
    return said.program, verb, tuple(sorted(flags.items())), tuple(_about(said)), said.inner


def _paths(flag: str, values: Sequence[str]) -> Iterator[str]:
    for value in values:
        is_file = flag == "filename" and "://" not in value and value != "-"
        yield os.path.normpath(value) if is_file else value


def _about(said: Words) -> Iterator[str]:
    """Objects as PLURAL.GROUP/NAME, whether they were told as `pod a b`, `pod/a pod/b` or `po/a po/b`."""
    first, *others = said.arguments or ("",)
    if said.program != "kubectl" or not first or "/" in first or not called(first):
        yield from (_object(*each.partition("/")[::2]) if "/" in each else each for each in said.arguments)
    elif not others:
        yield _kind(first)
    else:
        yield from (each if "=" in each or each.endswith("-") else _object(first, each) for each in others)


def _object(kind: str, name: str) -> str:
    return f"{_kind(kind)}/{name}"


def _kind(word: str) -> str:
    found = called(word)
    return f"{found[0].plural}.{found[0].group}" if found else word
