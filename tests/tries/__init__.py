"""Further tries at the exercises, a file for each lab: wrong ones that a check refuses, right ones that it accepts.

A notebook shows one near miss of each exercise, and its solution. Here is a second wrong try, and another right way
where there is one. tests/live/test_tries.py takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

Step = str | Callable[[], object]  # a command of bash in the release's folder, as in a `%%shell` cell; or a helper


@dataclass(frozen=True, kw_only=True)
class Tries:
    """What a reader may do for an exercise beside what its notebook shows.

    before: what the exercise needs of its lab's own steps. wrong: what leads nearly there, and why: what is wrong
    about it. fails: the claims that do not hold then, each by a part of its words, and a pattern of what is seen of
    it; all others hold. right: another way than the solution, gone from there; without any, the solution is taken.
    """

    before: tuple[Step, ...] = ()
    wrong: tuple[Step, ...]
    why: str
    fails: Mapping[str, str]
    right: tuple[Step, ...] = ()


TRIES: dict[str, Tries] = {
    number: tries
    for module in iter_modules(__path__)
    if module.name.startswith("lab_")
    for number, tries in import_module(f"{__name__}.{module.name}").TRIES.items()
}
