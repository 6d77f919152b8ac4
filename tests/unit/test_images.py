"""Which images the course needs, and the node image that holds them."""

from __future__ import annotations

import pytest
import yaml
from fake import Fake
from hypothesis import given
from hypothesis import strategies as st

from labkit import backend
from labkit.backend.answers import Completed
from labkit.cluster import images
from labkit.errors import LabError
from labkit.progress import Progress

NAMES = st.from_regex(r"[a-z]{1,8}\.io/[a-z]{1,8}:[0-9]{1,3}", fullmatch=True)
PODS = st.recursive(
    NAMES.map(lambda name: {"image": name}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["spec", "containers"]), inner),
)


def names_in(node):
    if isinstance(node, list):
        return [name for item in node for name in names_in(item)]
    return [node["image"]] if "image" in node else [name for item in node.values() for name in names_in(item)]


@given(st.lists(PODS, max_size=4))
def test_every_image_in_every_document_is_found(documents):
    text = yaml.safe_dump_all(documents)
    assert sorted(images.images_in(text)) == sorted(name for document in documents for name in names_in(document))


@pytest.mark.parametrize("image", ["auto", "{{ .ProxyImage }}", "{image: field}"])
def test_what_is_no_name_is_not_taken_for_one(image):
    value = image if image.startswith("{image") else f'"{image}"'
    assert "auto" not in list(images.images_in(f"image: {value}"))
    assert not [name for name in images.images_in(f"image: {value}") if "{" in name]


def test_a_release_without_a_sample_is_named(tmp_path):
    with backend.use(Docker()), pytest.raises(LabError) as caught:
        images.wanted(tmp_path, tmp_path / "istioctl")
    assert "bookinfo.yaml" in caught.value.what


def test_what_other_settings_ask_for_is_wanted_too(tmp_path, monkeypatch):
    class Generating(Fake):
        def run(self, argv, **options):
            image = "ztunnel" if "--filename" in argv else "pilot"
            return Completed(tuple(argv), 0, f"image: {image}:1", "", 0)

    monkeypatch.setattr(images, "SAMPLES", ())
    with backend.use(Generating()):
        assert images.wanted(tmp_path, tmp_path / "istioctl") == ["pilot:1"]
        assert images.wanted(tmp_path, tmp_path / "istioctl", *images.PUBLISHED_ALONE) == ["pilot:1", "ztunnel:1"]


class Docker(Fake):
    """Keeps what it is told; `present` are the images it has, `failing` a word that makes a command fail."""

    def __init__(self, present=(), failing="", stderr="") -> None:
        self.present, self.failing, self.stderr, self.ran = set(present), failing, stderr, []

    def run(self, argv, *, stdin, cwd, env, timeout, on_line):
        command = " ".join(argv)
        self.ran.append(command)
        if command.startswith("docker image inspect"):
            return Completed(tuple(argv), 0 if argv[-1] in self.present else 1, "\n".join(argv[5:]), "", 0)
        failed = bool(self.failing) and self.failing in command
        return Completed(tuple(argv), int(failed), "", self.stderr if failed else "", 0)

    def now(self):
        return 0.0

    def sleep(self, seconds):
        raise AssertionError("nothing to wait for")


def quiet() -> Progress:
    return Progress(lambda event: None, lambda: 0.0)


def make(docker, name="istio-lab/node:1"):
    filled = []
    with backend.use(docker):
        images.with_images("base", name, filled.append, quiet())
    return filled


def test_a_node_image_that_is_there_is_not_made_again():
    docker = Docker(present=["istio-lab/node:1"])
    assert make(docker) == []
    assert not any(command.startswith("docker run") for command in docker.ran)


def test_a_node_image_is_filled_committed_and_its_container_removed():
    docker = Docker()
    [container] = make(docker)
    assert any(f" {container} istio-lab/node:1" in command for command in docker.ran if "commit" in command)
    assert docker.ran[-1] == f"docker rm --force --volumes {container}"


@pytest.mark.parametrize("error", [KeyboardInterrupt, LabError("", "", "")])
def test_the_container_is_removed_whatever_happens(error):
    docker = Docker()

    def fill(_):
        raise error

    with backend.use(docker), pytest.raises((KeyboardInterrupt, LabError)):
        images.with_images("base", "istio-lab/node:1", fill, quiet())
    assert docker.ran[-1].startswith("docker rm --force")
    assert not any("commit" in command for command in docker.ran)


def test_an_engine_without_room_says_so():
    docker = Docker(failing="commit", stderr="Error: write /var/lib/docker/x: no space left on device")
    with pytest.raises(LabError) as caught:
        make(docker)
    assert "docker system df" in caught.value.fix


def test_the_node_image_is_named_after_all_that_it_holds():
    engine = Docker(present=["base", "a", "b"])
    with backend.use(engine):
        assert images.node_image("base", "a") != images.node_image("base", "b")
        names = [images.preload("base", ["a", "b"], quiet(), unpacked=way) for way in (True, True, False)]
    assert names[0] == names[1] != names[2]
