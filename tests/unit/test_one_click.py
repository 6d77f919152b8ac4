"""Binder and the dev container open the course: what can be known of both without building their images.

Neither image is built here: that takes an engine, the base images and what conda-forge publishes. Where all three can
be reached, `repo2docker .` and `devcontainer up --workspace-folder .` build and start them.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import json5
import pytest
from jupyter_server.serverapp import DEFAULT_JUPYTER_SERVER_PORT
from packaging.specifiers import SpecifierSet

from labkit.maintain import hub
from labkit.settings import GATEWAY_PORT

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements-repo2docker.lock"
FIRST = "notebooks/00-start-here.ipynb"


def fits(python: str) -> bool:
    """Whether the course runs on all releases of this Python, such as 3.13."""
    return python in SpecifierSet(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"])


# -- Binder -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def repo2docker() -> Path:
    """What Binder builds with, in an environment of its own; made once for the checkout."""
    folder = ROOT / ".cache" / f"repo2docker-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    program = folder / "bin" / "repo2docker"
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet"]
    make = [sys.executable, "-m", "venv", "--clear", folder], [*pip, "install", "--require-hashes", "-r", LOCK]
    try:
        for command in () if program.exists() else make:
            subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as failed:
        said = (failed.stderr or failed.stdout).strip().splitlines()[-1]
        pytest.skip(f"repo2docker could not be installed: {said} (fix: check the network)")
    return program


def dockerfile(repo2docker: Path, folder: Path) -> str:
    command = [repo2docker, "--no-build", "--debug", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def installs_the_course(dockerfile: str) -> bool:
    """Whether environment.yml is what makes the environment, once all that its `-e .` needs is there."""
    copied, installed = r"^COPY \S+ src/ \$\{REPO_DIR\}/$", r'env update .*--file "environment\.yml"'
    return re.search(f"{copied}.*{installed}", dockerfile, re.MULTILINE | re.DOTALL) is not None


def python_of(dockerfile: str) -> str:
    """From the name of the base environment's lock, where repo2docker writes `-` as -2d and `.` as -2e."""
    return ".".join(re.search(r"environment-2epy-2d(\d+)-2e(\d+)-2d", dockerfile).groups())


def test_binder_installs_the_course_in_a_fitting_python(repo2docker):
    built = dockerfile(repo2docker, ROOT)
    assert installs_the_course(built)
    assert fits(python_of(built))


@pytest.fixture
def bare(tmp_path) -> Path:
    """A repository with an environment.yml and nothing else."""
    shutil.copy(ROOT / "environment.yml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["binder", ".binder"])
def test_a_folder_that_hides_the_environment_is_seen(repo2docker, bare, name):
    (bare / name).mkdir()
    assert not installs_the_course(dockerfile(repo2docker, bare))


@pytest.mark.parametrize("line", ["      - -e .\n", "  - python=3.13\n"])
def test_a_line_that_is_missing_is_seen(repo2docker, bare, line):
    environment = bare / "environment.yml"
    assert line in environment.read_text()
    environment.write_text(environment.read_text().replace(line, ""))
    built = dockerfile(repo2docker, bare)
    assert not (installs_the_course(built) and fits(python_of(built)))


def test_a_python_that_repo2docker_does_not_have_is_seen(repo2docker, bare):
    environment = bare / "environment.yml"
    environment.write_text(environment.read_text().replace("python=3.13", "python=3.99"))
    with pytest.raises(subprocess.CalledProcessError):
        dockerfile(repo2docker, bare)


def opens(readme: str) -> str | None:
    """The file that the README's Binder link opens in JupyterLab."""
    link = re.search(r"https://mybinder\.org/v2/gh/[\w.-]+/[\w.-]+/HEAD\?[\w=/%.-]+", readme)
    [place] = parse_qs(urlsplit(link[0]).query).get("urlpath", [""])
    return place.removeprefix("lab/tree/") if place.startswith("lab/tree/") else None


def test_the_binder_link_opens_the_first_notebook():
    assert opens((ROOT / "README.md").read_text()) == FIRST


@pytest.mark.parametrize("query", ["urlpath=tree/" + FIRST, "labpath=", "urlpath=lab/tree/notebooks/01.ipynb"])
def test_a_link_that_opens_something_else_is_seen(query):
    assert opens(f"`https://mybinder.org/v2/gh/OWNER/REPOSITORY/HEAD?{query}`") != FIRST


# -- the hub's image, by the same tool ----------------------------------------------------------
def test_the_hubs_image_is_the_course_with_what_a_hub_needs(repo2docker, tmp_path):
    built = dockerfile(repo2docker, hub.stage(tmp_path / "hub"))
    assert installs_the_course(built)
    assert re.search(r"apt-get .*install.*socat", built, re.DOTALL)
    assert "./postBuild" in built
    assert re.search(r'R2D_ENTRYPOINT.*start"', built)


# -- the dev container --------------------------------------------------------------------------
WRITTEN = (ROOT / ".devcontainer" / "devcontainer.json").read_text()


def holds(written: str) -> None:
    """That a devcontainer.json, as https://containers.dev/implementors/json_reference/ has it, fits this repository."""
    container = json5.loads(written)
    assert fits(re.fullmatch(r"mcr\.microsoft\.com/devcontainers/python:\d+-(\d+\.\d+)-\w+", container["image"])[1])
    assert container["features"] == {"ghcr.io/devcontainers/features/docker-in-docker:2": {"moby": False}}
    assert container["hostRequirements"]["cpus"] >= 2
    assert int(container["hostRequirements"]["memory"].removesuffix("gb")) > 4  # the engine's own, as the doctor asks

    target = container["postCreateCommand"].rpartition("make ")[2]
    assert container["waitFor"] == "postCreateCommand"
    assert subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, check=False).returncode == 0

    assert container["forwardPorts"] == [GATEWAY_PORT, DEFAULT_JUPYTER_SERVER_PORT]
    assert list(container["portsAttributes"]) == [str(port) for port in container["forwardPorts"]]

    editor = container["customizations"]
    python = editor["vscode"]["settings"]["python.defaultInterpreterPath"]
    assert python == "${containerWorkspaceFolder}/" + target.replace("/.ready", "/bin/python")
    assert {"ms-python.python", "ms-toolsai.jupyter"} <= set(editor["vscode"]["extensions"])
    assert editor["codespaces"]["openFiles"] == [FIRST]
    assert (ROOT / FIRST).is_file()


needs_make = pytest.mark.skipif(not shutil.which("make"), reason="there is no `make` here (fix: install it)")


@needs_make
def test_the_dev_container_fits_the_repository():
    holds(WRITTEN)


@needs_make
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (":2-3.13-bookworm", ":latest"),
        (":2-3.13-bookworm", ":2-3.10-bookworm"),
        ("docker-in-docker:2", "docker-outside-of-docker:1"),
        ('"moby": false', '"moby": true'),
        ("hostRequirements", "hostRequirments"),
        ('"cpus": 2', '"cpus": 1'),
        ('"8gb"', '"4gb"'),
        ("make .venv/.ready", "make environment"),
        ('"waitFor": "postCreateCommand"', '"waitFor": "onCreateCommand"'),
        ("[8080, 8888]", "[80, 8888]"),
        ('"8888":', '"8889":'),
        ("/.venv/bin/python", "/venv/bin/python"),
        ('"ms-toolsai.jupyter"', ""),
        (FIRST, "notebooks/00.ipynb"),
    ],
)
def test_a_dev_container_that_does_not_fit_is_seen(right, wrong):
    assert right in WRITTEN
    with pytest.raises((AssertionError, KeyError, TypeError)):
        holds(WRITTEN.replace(right, wrong))
