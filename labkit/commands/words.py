"""What a command is told, read as kubectl, istioctl and helm read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from labkit.commands.script import commands_of
from labkit.commands.tables import CHANGES, HELM, ISTIOCTL, KUBECTL, LEVELS, LOOKS, Effect, Program, Verbs

PROGRAMS: Mapping[str, Program] = {"kubectl": KUBECTL, "istioctl": ISTIOCTL, "helm": HELM}
_SHELLS = ("bash", "sh")
_TRUE = {"", "1", "t", "T", "true", "TRUE", "True"}  # https://pkg.go.dev/strconv#ParseBool
_LEVELS = ("level", "reset", "log-reset", "stack-trace-level")


@dataclass(frozen=True)
class Words:
    """program: one of PROGRAMS. verb: with the verbs beneath it, in full: ("rollout", "undo"). arguments: the plain
    words after it. flags: by long name, with the values in their order; "" where a flag was given none. inner: what
    stands after `--`. effect: what the verb does.
    """

    program: str
    verb: tuple[str, ...]
    arguments: tuple[str, ...]
    flags: Mapping[str, Sequence[str]]
    inner: tuple[str, ...]
    effect: Effect

    @property
    def first(self) -> str:
        """The verb without those beneath it; "" where there is none."""
        return self.verb[0] if self.verb else ""

    def on(self, flag: str) -> bool:
        """Whether a flag was given, and its last value does not take it back."""
        return flag in self.flags and self.flags[flag][-1] in _TRUE

    @property
    def dry(self) -> bool:
        """Whether nothing is to be kept of what it does."""
        return self.on("dry-run") or (self.program != "istioctl" and self._strategy() in ("client", "server"))

    @property
    def changes(self) -> bool:
        """Whether something in the cluster, or in the reader's kubeconfig, is another after it."""
        if self.effect is LOOKS or self.on("help") or self.dry or self.on("local"):
            return False
        if self.effect is LEVELS:
            return any(flag in self.flags for flag in _LEVELS)
        return not (self.on("list") and self.first in ("annotate", "label", "set"))

    def _strategy(self) -> str:
        return self.flags.get("dry-run", ("",))[-1]


def changes(argv: Sequence[str]) -> bool:
    """Whether something is another after this command; a shell's, after any of the commands in it.

    Of a program that is neither one of these nor a shell: no.
    """
    program = argv[0].rpartition("/")[2]
    if program in PROGRAMS:
        return read(argv).changes
    if program not in _SHELLS:
        return False
    found = commands_of(argv[-1])
    return any((each[0].rpartition("/")[2] in PROGRAMS and changes(each)) or each[0] == "install" for each in found)


def read(argv: Sequence[str]) -> Words:
    """Read the words of one of PROGRAMS: up to `--`, flags anywhere among them. Raises KeyError for another."""
    name = argv[0].rpartition("/")[2]
    program = PROGRAMS[name]
    verb: list[str] = []
    arguments: list[str] = []
    flags: dict[str, list[str]] = defaultdict(list)
    beneath: Effect | Verbs = program.verbs
    left = iter(argv[1:])
    for word in left:
        if word == "--":
            break
        if word.startswith("-") and word != "-":
            for flag, value, takes in _flags(program, " ".join([*verb, *arguments]), word):
                flags[flag].append(next(left, "") if takes else value or "")
        elif isinstance(beneath, Effect):
            arguments.append(word)
        else:
            verb.append(program.aliases.get(" ".join(verb), {}).get(word, word))
            beneath = beneath.get(verb[-1], CHANGES)
    effect = beneath if isinstance(beneath, Effect) else beneath.get("", LOOKS)
    assert isinstance(effect, Effect)  # noqa: S101  "" stands for no further verbs
    return Words(name, tuple(verb), tuple(arguments), flags, tuple(left), effect)


def _flags(program: Program, said: str, word: str) -> Iterator[tuple[str, str | None, bool]]:
    """Long name, value, and whether the value is the next word.

    `--name=value`, or letters of which the first that takes a value has the rest for it: `-itn=reader`.
    """
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        yield name, value if equals else None, not equals and _takes_value(program, said, name)
        return
    short = {**program.short, **_of_verb(program.otherwise, said)}
    for place, letter in enumerate(word[1:], start=2):
        name, rest = short.get(letter, letter), word[place:]
        if rest.startswith("=") or _takes_value(program, said, name):
            yield name, rest.removeprefix("=") or None, not rest
            return
        yield name, None, False


def _takes_value(program: Program, said: str, name: str) -> bool:
    switched = any(name in names for verb, names in program.switched.items() if _says(said, verb))
    return (name not in program.without_value) != switched


def _of_verb(otherwise: Mapping[str, Mapping[str, str]], said: str) -> dict[str, str]:
    found = [meant for verb, meant in otherwise.items() if _says(said, verb)]
    return {letter: name for meant in found for letter, name in meant.items()}


def _says(said: str, verb: str) -> bool:
    return f"{said} ".startswith(f"{verb} ")
