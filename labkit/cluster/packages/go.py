"""Commands built from Go modules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labkit import backend
from labkit.cluster.packages.steps import Note, Step, run
from labkit.settings import BUILD_GO

ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -trimpath"}
# The compiler collects its garbage less often: a fifth less processor time, and what comes out is the same.
COMPILER = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}
STRIPPED = "-s -w"
FLAGS = (STRIPPED, *ENVIRONMENT.values())


@dataclass(frozen=True)
class Program:
    """Commands built together, from modules (path → version) that share their dependencies' versions.

    main: a program of the course's own, of one file, to build in their place.
    instead: modules in whose place a folder of the course's own is compiled.
    staging: the version under which the modules were published that a go.mod replaces with folders of its own
    repository; such a go.mod works nowhere else.
    """

    name: str
    modules: Mapping[str, str]
    packages: tuple[str, ...] = ()
    main: Path | None = None
    stamps: tuple[str, ...] = ()
    tags: str = ""
    instead: Mapping[str, Path] = field(default_factory=dict)
    staging: str = ""

    def step(self) -> Step:
        """A folder with one static binary for each command."""
        modules = (f"{module}@{version}" for module, version in self.modules.items())
        inputs = (*modules, *self.packages, self.main or "", *FLAGS, *self.stamps, self.tags, self.staging)
        inputs += (*self.instead, *self.instead.values())
        return Step(f"bin/{self.name}", inputs, self._build)

    def _build(self, into: Path, note: Note) -> None:
        """`go install` refuses a module with replace directives; a module that requires it takes them over."""
        work = into / "module"
        work.mkdir()
        (work / "go.mod").write_text(_go_mod(self))
        if self.main:
            shutil.copyfile(self.main, work / "main.go")
        flags = ["-mod=mod", "-tags", self.tags]
        build(self.packages or ["."], into, self.name, note, cwd=work, stamps=self.stamps, flags=flags)
        shutil.rmtree(work)


def build(
    packages: Sequence[str],
    into: Path,
    name: str,
    note: Note,
    *,
    cwd: Path,
    stamps: tuple[str, ...] = (),
    flags: Sequence[str] = (),
) -> None:
    """`go build` static, stripped binaries of `packages` into a folder. `stamps` are `-X` settings."""
    ldflags = " ".join([STRIPPED, *(f"-X {stamp}" for stamp in stamps)])
    argv = ["go", "build", "-v", *flags, "-ldflags", ldflags, "-o", f"{into}/", *packages]
    run(argv, name, note, cwd=cwd, env={**ENVIRONMENT, **COMPILER})


def source(module: str, version: str) -> Path:
    """The folder of the module cache that holds the module; Go checks it against its checksum database."""
    answer = backend.run(["go", "mod", "download", "-json", f"{module}@{version}"], env=ENVIRONMENT)
    return Path(json.loads(answer.stdout)["Dir"])


def _go_mod(program: Program) -> str:
    lines = [f"module istio-lab.local/{program.name}", f"go {BUILD_GO}"]
    for module, version in program.modules.items():
        theirs = backend.run(["go", "mod", "edit", "-json", source(module, version) / "go.mod"]).stdout
        lines += [f"require {module} {version}", *replacements(json.loads(theirs), program.staging)]
    lines += [f"replace {module} => {folder}" for module, folder in program.instead.items()]
    return "\n".join([*lines, ""])


def replacements(go_mod: dict, staging: str) -> list[str]:
    """The replace directives of another module (as `go mod edit -json` gives them), for use outside of it.

    A replacement by a folder becomes the module's own version `staging`; without one it is left out.
    """
    lines = []
    for replace in go_mod.get("Replace") or []:
        old, new = replace["Old"]["Path"], replace["New"]
        if version := new.get("Version"):
            lines.append(f"replace {old} => {new['Path']} {version}")
        elif staging:
            lines += [f"require {old} {staging}", f"replace {old} => {old} {staging}"]
    return lines
