"""The `labkit` command."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from labkit.errors import LabError

if TYPE_CHECKING:
    from labkit.cluster.doctor import Finding
    from labkit.progress import Event, Progress

app = typer.Typer(
    help="A live Istio mesh for the lab course: `labkit doctor` says what this machine can do, "
    "`labkit up` brings the mesh up, `labkit lab` opens the notebooks, `labkit down` removes everything again.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
engine_app = typer.Typer(help="The container engine that the cluster runs in.", no_args_is_help=True)
app.add_typer(engine_app, name="engine")
bundle_app = typer.Typer(invoke_without_command=True)
app.add_typer(bundle_app, name="bundle")
class_app = typer.Typer(
    help="A class: the trainer's board, and what a participant sends to it. Nothing is sent by whoever did not join.",
    no_args_is_help=True,
)
app.add_typer(class_app, name="class")
hub_app = typer.Typer(
    help="A JupyterHub on Kubernetes for a class (manifests/hub); the trainer's page says what to type around it.",
    no_args_is_help=True,
)
app.add_typer(hub_app, name="hub")


NARROWEST = 40  # columns in which a table can be read


class Stage(StrEnum):
    """Where `labkit up` stops."""

    cluster = "cluster"
    istio = "istio"
    bookinfo = "bookinfo"


def main() -> None:
    """Run the command; an error of the lab is three lines, never a traceback."""
    _speak_whatever_the_terminal()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _end(1)  # whoever read it has read enough
    except LabError as error:
        _end(1, str(error))
    except OSError as error:
        _end(1, str(_unusable(error)))
    except KeyboardInterrupt:
        _end(130, "interrupted; run the same command again, and it goes on from here")


@app.callback()
def _prepare() -> None:
    """A command begins with settings that it can rely on."""
    from labkit.settings import settings

    settings()


def _speak_whatever_the_terminal() -> None:
    """Where there is none, nobody listens; one that lacks a character is told its name."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="namereplace")


def _end(status: int, said: str = "") -> NoReturn:
    """At once: what is left to write for standard output may have nobody to read it, and Python would try again."""
    if said:
        print(f"labkit: {said}", file=sys.stderr)
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(status) from None


def _unusable(error: OSError) -> LabError:
    return LabError(
        f"{error.filename or 'What was to be written'} cannot be used.",
        error.strerror or str(error),
        "see who owns it (`ls -ld`) and whether there is room (`df -h`); LABKIT_HOME names another folder",
    )


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Say what this machine can do.

    Each line that is not good has its remedy. Exit status 0 only if a live mesh can be brought up here.
    """
    from labkit.cluster import doctor as examination

    findings = examination.examine()
    if as_json:
        print(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        _print_findings(findings)
    raise SystemExit(0 if examination.can_run_live(findings) else 1)


@engine_app.command("install")
def engine_install() -> None:
    """Install and start a Docker engine: on Debian, as root. Elsewhere it says what to do instead."""
    from labkit.cluster import engine

    engine.install(_progress())


@engine_app.command("stop")
def engine_stop() -> None:
    """Stop the engine, if it was `labkit engine install` that started it."""
    from labkit.cluster import engine

    engine.stop()


@app.command()
def images() -> None:
    """Fetch or build all that a cluster needs.

    After it, `labkit up` does without a network.
    """
    from labkit.cluster import sources
    from labkit.cluster.source import TOOLS, ensure_release

    progress, source = _progress(), sources.choose()
    for program in TOOLS:
        source.tool(program, progress)
    ensure_release(source, progress)
    print(source.node_image(progress))


@bundle_app.callback()
def bundle(
    context: typer.Context,
    to: Annotated[Path, typer.Option(help="The archive, or the folder to write it into.")] = Path(),
) -> None:
    """Write one archive with all that the course takes, for machines of this one's system, architecture and Python.

    Whoever gets it needs a container engine and a Python, and no network: `tar xf` it, `make install` in the
    folder that it makes, and then everything is as elsewhere: `make lab`.
    """
    from labkit.cluster import downloads
    from labkit.cluster.bundle import writing

    if context.invoked_subcommand:
        return
    archive = writing.write(to, _progress())
    print(f"{downloads.sha256_of(archive)}  {archive}")


@bundle_app.command("install")
def bundle_install(
    folder: Annotated[Path | None, typer.Argument(help="The bundle's own folder; without it, the course's.")] = None,
) -> None:
    """Verify an unpacked bundle, and give this machine what it holds.

    After it, `labkit up` does without a network. `make install` makes the environment first, from its wheels.
    """
    from labkit.cluster.bundle import installing, writing
    from labkit.settings import REPOSITORY

    installing.install(folder or REPOSITORY / writing.FOLDER, _progress())
    print("Nothing is to be fetched any more. `make lab` opens the course.")


@app.command()
def tools() -> None:
    """Fetch kubectl and istioctl, for whoever has no container engine: with them a recorded mesh answers more.

    They are verified, and go into the course's own folder. Where they are there, nothing is fetched.
    """
    from labkit.cluster import sources

    print("\n".join(map(str, sources.ensure_commands(_progress()))))


@app.command()
def up(
    until: Annotated[Stage, typer.Option(help="Stop after this stage.")] = Stage.bookinfo,
) -> None:
    """Bring up the cluster, Istio, Bookinfo.

    May be interrupted at any moment: run again, it finishes. The cluster is
    a kind cluster of the course's own; no other cluster, context or kubeconfig is touched.
    """
    from labkit import session
    from labkit.course import verbs

    _in_a_cluster_of_our_own("up")
    verbs.up(until.value, _print_event)
    print(f"The gateway is at {session.gateway()}")


@app.command()
def down() -> None:
    """Delete the course's cluster. Downloads and images stay, so that the next `labkit up` is quick."""
    from labkit.cluster import kind

    _in_a_cluster_of_our_own("down")
    if not kind.down(_progress()):
        print("There was no cluster.")


@app.command()
def status() -> None:
    """Show what stands, from the cluster to the page.

    Exit status 0 only if all of it does.
    """
    from labkit.course import verbs
    from labkit.notebook import choosing
    from labkit.settings import settings

    if settings().context:
        choosing.take_up()
    standing = verbs.status()
    for part in standing:
        print(f"{'✓' if part.stands else '✗'} {part.name:<18} {part.detail}")
    raise SystemExit(0 if all(part.stands for part in standing) else 1)


@app.command()
def progress(
    export: Annotated[
        Path | None, typer.Option(help="Write it to this file: as data (.json), or as a page to print (.html).")
    ] = None,
) -> None:
    """Show how far you have come: checks, exercises and predictions, lab by lab.

    It is kept on this machine, for you alone. The page names what was checked on a live mesh.
    """
    from labkit.course import progress as readers_progress

    course = readers_progress.so_far()
    if export is None:
        print(course)
        return
    readers_progress.export(export, course)
    print(f"Written: {export}")


@app.command()
def agenda(hours: Annotated[float, typer.Option(min=0.25, max=24, help="How long the class has.")]) -> None:
    """Pick labs for a class of so many hours, with the time that each takes and breaks between them.

    What matters most comes first; the times are those that the notebooks tell: reading, and running as measured.
    """
    from labkit.course import agenda as course_agenda

    print(course_agenda.plan(hours))


@class_app.command("serve")
def class_serve(
    host: Annotated[str, typer.Option(help="The address to listen on: this machine's own in the room's network.")] = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen on.")] = 0,
    store: Annotated[Path | None, typer.Option(help="The file that keeps the class; one for each class.")] = None,
    hours: Annotated[float, typer.Option(min=0.1, max=240, help="How long the join code holds.")] = 12,
    certificate: Annotated[Path | None, typer.Option(exists=True, help="TLS: the certificate, PEM.")] = None,
    key: Annotated[Path | None, typer.Option(exists=True, help="TLS: its key, PEM.")] = None,
) -> None:
    """The trainer's board: who is where, who is stuck on what, whose hand is up, what the room predicts.

    Without --host this machine alone can reach it. It needs no internet. Ctrl+C ends it, and the same command goes on
    with the same class.
    """
    from labkit.classroom import server
    from labkit.classroom.store import Store
    from labkit.settings import CLASS_PORT, GATEWAY_HOST, settings

    if bool(certificate) != bool(key):
        raise LabError("TLS needs two files.", "one of --certificate and --key is missing", "name both, or neither")
    place = server.Place(host or GATEWAY_HOST, port or CLASS_PORT, certificate, key)
    server.serve(Store(store or settings().class_store), place, hours, lambda line: print(line, flush=True))


@class_app.command("join")
def class_join(
    url: Annotated[str, typer.Argument(help="The board's address, as the trainer shows it.")],
    code: Annotated[str, typer.Option(help="The join code, as the trainer shows it.")],
    nickname: Annotated[str, typer.Option(help="How the board calls you.")] = "",
    certificate: Annotated[Path | None, typer.Option(exists=True, help="The board's certificate, PEM.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; in a notebook's cell nobody could answer.")] = False,
) -> None:
    """Join a class. What is sent is shown first; `labkit class leave` takes it back.

    In a notebook: !labkit class join URL --code CODE --nickname NAME --yes
    """
    from labkit.classroom import client

    name = nickname or typer.prompt("Your nickname")
    print(f"The board will know you as {name}, and get this after each cell that changes it, and nothing else:")
    print(json.dumps(client.told().as_json(), indent=2, ensure_ascii=False))
    if url.startswith("http://"):
        print("It is not encrypted: whoever is on the same network can read it.")
    if not yes:
        typer.confirm("Join?", abort=True)
    client.join(url, code, name, certificate)
    client.tell()
    print("You are in. `labkit class hand` raises your hand, `labkit class leave` ends it.")


@class_app.command("status")
def class_status() -> None:
    """Which class you are in, and what the board knows of you: it is sent once more."""
    from labkit.classroom import client

    client.tell()
    member = client.joined()
    print(
        f"You are {member.nickname if member else ''} at {member.url if member else ''}. The board knows this of you:"
    )
    print(json.dumps(client.told(member.n if member else 0, member).as_json(), indent=2, ensure_ascii=False))


@class_app.command("hand")
def class_hand(down: Annotated[bool, typer.Option("--down", help="Lower it.")] = False) -> None:
    """Raise your hand, or lower it."""
    from labkit.classroom import client

    client.raise_hand(not down)
    print("Your hand is down." if down else "Your hand is up; the trainer sees it.")


@class_app.command("leave")
def class_leave() -> None:
    """Leave the class; the board forgets all that was sent."""
    from labkit.classroom import client

    member = client.leave()
    print(f"You left {member.url}, which forgot you." if member else "You were in no class.")


@class_app.command("rehearse")
def class_rehearse(
    participants: Annotated[int, typer.Option(min=1, max=500, help="How many are simulated.")] = 40,
    seconds: Annotated[float, typer.Option(min=2, max=3600, help="How long.")] = 60,
    rate: Annotated[float, typer.Option(min=0.1, max=100, help="Events a second, of all together.")] = 10,
    kills: Annotated[int, typer.Option(min=0, max=20, help="How often the board is killed and started again.")] = 3,
) -> None:
    """Run simulated participants against a board on this machine, and say how it went. It leaves nothing behind."""
    from labkit.classroom.rehearsal import Plan, rehearse

    print(f"{participants} participants for {seconds:g} s …", flush=True)
    went = rehearse(Plan(participants, rate, seconds, kills), lambda line: print(line, flush=True))
    print(went)
    raise SystemExit(1 if went.lost else 0)


@hub_app.command("image")
def hub_image(name: Annotated[str, typer.Argument(help="Where the cluster pulls it: REGISTRY/istio-lab.")]) -> None:
    """Build the image of the participants' servers with repo2docker; its tag is the version of the course."""
    from labkit.maintain import hub

    print(hub.image(name, print))


@hub_app.command("values")
def hub_values(name: Annotated[str, typer.Argument(help="The image, as `labkit hub image` was given it.")]) -> None:
    """Print the values for Zero to JupyterHub's chart, for the course as it lies here."""
    from labkit.maintain import hub

    print(hub.values(name), end="")


@hub_app.command("version")
def hub_version() -> None:
    """Print the version of the course as it lies here: twelve digits made of all that a participant gets."""
    from labkit.maintain import hub

    print(hub.version())


@app.command()
def record(
    notebooks: Annotated[list[str] | None, typer.Argument(help="Numbers, as 05; without any, all of them.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Run nothing: say which recordings are out of date.")] = False,
) -> None:
    """Run the notebooks on the live mesh, and store their outputs and recordings.

    All of them run on a cluster made anew; those that are named, on the one that is there. With --check, exit status 0
    only if each recording is of the notebook's cells and outputs as they are.
    """
    from labkit.maintain import record as recording_run

    if not check:
        _in_a_cluster_of_our_own("record")
        recording_run.record(notebooks or [], _print_event)
        return
    found = recording_run.stale(notebooks or [])
    for each in found:
        print(f"✗ {each.notebook}: {each.why}")
    print("Record them anew: `labkit record NUMBER`" if found else "Each recording matches its notebook.")
    raise SystemExit(1 if found else 0)


@app.command()
def bench(
    parts: Annotated[
        list[str] | None,
        typer.Argument(help="up, images, telemetry, propagation, goto, course, recorded; without any, all."),
    ] = None,
) -> None:
    """Measure the course on this machine, each part on a cluster of its own; write bench.json.

    up: `labkit up` against the documented path, in turn, with the same images. images: building them from nothing.
    telemetry: how old a number is when it is shown, and what that costs. propagation: how soon a change is in every
    proxy. goto: from the start of each lab to that of another, for half an hour. course: all notebooks. recorded: the
    same without a cluster, and how soon a fresh clone runs its first cell.
    """
    from labkit.maintain import benchmark

    _in_a_cluster_of_our_own("bench")
    for name, value in benchmark.run(parts or [], _print_event).items():
        print(f"{name:<32} {value}")


@app.command()
def versions(
    newest: Annotated[
        list[str] | None, typer.Option(help="istio, kind or helm: write its newest release into labkit/versions.toml.")
    ] = None,
) -> None:
    """Say what the course is written for, or move it to what is newest.

    A move brings the checksums of all platforms. What it takes after it: `make test-live`, then `labkit record`.
    """
    from labkit.maintain import versions as moving
    from labkit.settings import VERSIONS

    for project in newest or []:
        if project not in moving.PROJECTS:
            raise typer.BadParameter(f"{project!r} is none of {', '.join(moving.PROJECTS)}", param_hint="--newest")
        moved = moving.move(project, _progress())
        print("\n".join(moved) or f"{project} is the newest already.")
    if not newest:
        print(VERSIONS.read_text("utf-8"))


@app.command()
def site() -> None:
    """Build the course as a static site from the notebooks' stored outputs.

    It is to be read in a browser, straight from the folder, without a network. `make site` brings what it takes.
    """
    from labkit.maintain.site import build
    from labkit.settings import SITE

    print(f"Open it in a browser: {build(SITE, _progress()).as_uri()}")


@app.command()
def slides() -> None:
    """Make a talk of each notebook, from its stored outputs, for whoever shows the course to a room.

    They are to be shown in a browser, straight from the folder, without a network. `make slides` brings what it takes.
    """
    from labkit.maintain.slides import build
    from labkit.settings import SLIDES

    print(f"Open it in a browser: {build(SLIDES, _progress()).as_uri()}")


@app.command()
def lab() -> None:
    """Open JupyterLab on the first notebook.

    The notebooks work on a live mesh where a container engine answers, else on a recorded one; LABKIT_VENUE says
    otherwise.
    It listens on 127.0.0.1 alone, with a token. Notebooks as they were recorded are marked as trusted: else JupyterLab
    hides their stored figures until each cell is run. Others are named, and are for you to trust.
    """
    from jupyterlab.labapp import LabApp

    from labkit.maintain.record import is_unrecorded
    from labkit.notebook import choosing
    from labkit.settings import GATEWAY_HOST, NOTEBOOKS

    notebooks = sorted(NOTEBOOKS.glob("[0-9][0-9]-*.ipynb"))
    print(choosing.chosen()[1].describe())
    _trust([path for path in notebooks if not is_unrecorded(path)])
    LabApp.launch_instance(
        argv=[
            f"--ServerApp.ip={GATEWAY_HOST}",
            f"--ServerApp.root_dir={NOTEBOOKS}",
            f"--LabApp.default_url=/lab/tree/{notebooks[0].name}",
            # in a container, and where root alone may use the engine, there is nobody else to be
            "--ServerApp.allow_root=True",
        ]
    )


def _in_a_cluster_of_our_own(command: str) -> None:
    from labkit.settings import settings

    if context := settings().context:
        raise LabError(
            f"`labkit {command}` does nothing in context {context}.",
            "it makes and deletes kind clusters of the course's own, and LABKIT_VENUE names somebody else's",
            "`labkit lab` opens the notebooks there; for a cluster of the course's own, unset LABKIT_VENUE",
        )


def _trust(notebooks: list[Path]) -> None:
    """Sign those whose cells and outputs equal their recording's; name the others, and why."""
    import nbformat
    from nbformat.sign import NotebookNotary

    from labkit.recordings.stored import difference

    notary = NotebookNotary()
    for path in notebooks:
        if why := difference(path):
            print(f"{path.name} is not marked as trusted: {why}")
        else:
            notary.sign(nbformat.read(path, as_version=4))


def _print_event(event: Event) -> None:
    """A line for each new state; on a terminal, a running stage's line is written over."""
    from labkit.show.progress import line

    over = sys.stdout.isatty()
    ends = "\n" if event.status != "running" or not over else ""
    print(("\r\x1b[K" if over else "") + line(event), end=ends, flush=True)


def _progress() -> Progress:
    from labkit import backend
    from labkit.progress import Progress

    return Progress(_print_event, backend.now)


def _print_findings(findings: Iterable[Finding]) -> None:
    from rich.console import Console
    from rich.table import Table

    signs = {"good": "[green]good[/]", "warning": "[yellow]warning[/]", "bad": "[red]bad[/]"}
    table = Table("", "what was found", "", "what to do", box=None, pad_edge=False)
    for finding in findings:
        table.add_row(finding.subject, finding.value, signs[finding.status], finding.remedy)
    # a terminal may say that it has no columns at all
    Console(width=max(Console().width, NARROWEST)).print(table)


if __name__ == "__main__":
    main()
