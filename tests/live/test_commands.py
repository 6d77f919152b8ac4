"""The tables of kubectl's, istioctl's and helm's words against what the programs say of themselves.

`kubectl help` tells a flag that takes a value only after `=` from none, and its verbs' aliases, by nothing: three flags
are known from its sources to be such. Both have verbs that they do not list, which count as changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from labkit import backend
from labkit.commands import PROGRAMS, read
from labkit.commands.kinds import KINDS
from labkit.commands.tables import Effect
from labkit.course import components
from labkit.progress import Progress

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("bookinfo_in_the_mesh")]
AFTER_AN_EQUALS_SIGN = {"kubectl": {"cascade", "dry-run", "validate"}, "helm": {"dry-run", "wait"}}


@dataclass
class Help:
    """What a program says of a verb: flags by name, with their letters and whether they take a value."""

    verb: tuple[str, ...]
    flags: dict[str, tuple[str, bool]] = field(default_factory=dict)
    verbs: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)


def kubectl(*verb: str) -> Help:
    told = backend.run(["kubectl", *verb] + ([] if verb == ("options",) else ["--help"])).stdout
    found = re.findall(r"^ +(?:-(\w), )?--([\w-]+)=(.*):$", told, re.MULTILINE)
    flags = {name: (letter, value not in ("true", "false")) for letter, name, value in found}
    groups = re.findall(r"^[\w ()]*[Cc]ommands[^\n]*:\n((?:  \S.*\n)+)", told, re.MULTILINE)
    return Help(verb, flags, [line.split()[0] for group in groups for line in group.splitlines()])


def istioctl(*verb: str) -> Help:
    return of_cobra("istioctl", verb)


def helm(*verb: str) -> Help:
    return of_cobra("helm", verb)


def of_cobra(program: str, verb: tuple[str, ...]) -> Help:
    told = backend.run([program, *verb, "--help"]).stdout
    found = re.findall(r"^ +(?:-(\w), )?--([\w-]+)(?: (\S+))?(?:   |$)", told, re.MULTILINE)
    flags = {name: (letter, bool(value)) for letter, name, value in found}
    verbs = re.search(r"^Available Commands:\n((?:  \S.*\n)+)", told, re.MULTILINE)
    aliases = re.search(r"^Aliases:\n  (.*)$", told, re.MULTILINE)
    return Help(
        verb,
        flags,
        [line.split()[0] for line in verbs[1].splitlines()] if verbs else [],
        aliases[1].split(", ")[1:] if aliases else [],
    )


def walk(ask, *verb: str) -> Iterator[Help]:
    told = ask(*verb)
    yield told
    for name in told.verbs:
        yield from walk(ask, *verb, name)


@pytest.fixture(scope="module", autouse=True)
def with_helm():
    components.HELM.ensure(Progress(lambda event: None, backend.now))


@pytest.fixture(scope="module", params=[kubectl, istioctl, helm], ids=["kubectl", "istioctl", "helm"])
def program(request):
    told = list(walk(request.param))
    return request.param.__name__, {" ".join(each.verb): each for each in told}, told


def test_each_flag_takes_a_value_or_none_as_the_program_says(program):
    name, _, told = program
    globally = kubectl("options").flags if name == "kubectl" else {}
    for each in told:
        for flag, (letter, takes) in ({**globally, **each.flags}).items():
            takes = takes and flag not in AFTER_AN_EQUALS_SIGN.get(name, ())
            for spelling in [f"--{flag}"] + ([f"-{letter}"] if letter else []):
                words = read([name, *each.verb, spelling, "X"])
                assert words.flags == {flag: ["X" if takes else ""]}, (each.verb, spelling)


def test_each_verb_stands_in_the_table_and_no_other(program):
    name, by_verb, _ = program
    for verb, beneath in groups(PROGRAMS[name].verbs):
        listed = set(by_verb[verb].verbs)
        known = {each for each in beneath if each}
        assert listed - known == set(), verb
        assert known - listed <= {"help", "options", "completion"}, verb


@pytest.mark.parametrize("ask", [istioctl, helm], ids=lambda ask: ask.__name__)
def test_each_alias_stands_for_its_verb(ask):
    name = ask.__name__
    for each in walk(ask):
        for alias in each.aliases:
            assert read([name, *each.verb[:-1], alias]).effect is read([name, *each.verb]).effect
            shown = read([name, *each.verb]).verb
            assert read([name, *each.verb[:-1], alias]).verb == shown or len(shown) < len(each.verb)


def test_each_kind_is_what_the_api_server_says_of_it():
    told = backend.run(["kubectl", "api-resources", "--no-headers"]).stdout
    known = {}
    for line in told.splitlines():
        plural, *short, api_version, namespaced, kind = line.split()
        group, _, version = api_version.rpartition("/")
        known[plural, group] = (kind, version, tuple(",".join(short).split(",")) if short else (), namespaced == "true")
    ours = {(each.plural, each.group): (each.kind, each.version, each.short, each.namespaced) for each in KINDS}
    gateway_api = {of for of in ours if of[1] == "gateway.networking.k8s.io"}  # a fresh cluster has none of these
    assert {of: ours[of] for of in ours.keys() - gateway_api} == {of: known.get(of) for of in ours.keys() - gateway_api}


def groups(verbs, before: str = "") -> Iterator[tuple[str, dict]]:
    yield before, verbs
    for name, beneath in verbs.items():
        if not isinstance(beneath, Effect):
            yield from groups(beneath, f"{before} {name}".strip())
