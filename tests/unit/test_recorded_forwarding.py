"""A port-forward into a recorded pod, frame by frame as Kubernetes' clients send them, and as nobody should."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zlib
from collections import defaultdict
from contextlib import suppress

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.api.forwarding import LARGEST, Forwarded
from labkit.api.recorded import COLUMNS, DOCUMENT, Answer, Asked, answer
from labkit.api.serving import Served
from labkit.api.spdy import DICTIONARY, Malformed
from labkit.backend.live import environment

PAGE = "x" * 100_000


def shown(place: str, path: str) -> str | None:
    return {("default/a:15000", "/certs"): "{}", ("default/a:15000", "/long"): PAGE}.get((place, path))


class Client:
    """What kubectl does: for each request a stream for errors, which it ends at once, and one for data."""

    def __init__(self) -> None:
        self._packed = zlib.compressobj(zdict=DICTIONARY)
        self._unpacked = zlib.decompressobj()
        self._streams = 1

    def opens(self, **headers: str) -> bytes:
        pairs = [struct.pack(">I", len(each)) + each for pair in headers.items() for each in map(str.encode, pair)]
        block = struct.pack(">I", len(headers)) + b"".join(pairs)
        packed = self._packed.compress(block) + self._packed.flush(zlib.Z_SYNC_FLUSH)
        stream, self._streams = self._streams, self._streams + 2
        return frame(0x80030001, 0, struct.pack(">II", stream, 0) + b"\0\0" + packed)

    def asks(self, request: bytes, port: int = 15000) -> bytes:
        number, error = str(self._streams), self._streams
        return (
            self.opens(Streamtype="error", Port=str(port), Requestid=number) + frame(error, 1, b"")
            + self.opens(Streamtype="data", Port=str(port), Requestid=number) + frame(error + 2, 0, request)
        )  # fmt: skip

    def hears(self, content: bytes) -> tuple[dict[int, bytes], set[int], set[int]]:
        """What was said on each stream; which streams were accepted, and which ended."""
        said, accepted, ended = defaultdict(bytes), set(), set()
        while content:
            first, rest = struct.unpack_from(">II", content)
            body, content = content[8 : 8 + (rest & 0xFFFFFF)], content[8 + (rest & 0xFFFFFF) :]
            if first == 0x80030002:
                accepted |= {struct.unpack_from(">I", body)[0]}
                assert self._unpacked.decompress(body[4:]) == b"\0\0\0\0"
            elif not first >> 31:
                said[first] += body
                ended |= {first} if rest >> 24 else set()
        return said, accepted, ended


def frame(first: int, flags: int, content: bytes) -> bytes:
    return struct.pack(">II", first, flags << 24 | len(content)) + content


def test_the_dictionary_is_the_specifications():
    """A zlib stream names its dictionary by this number (https://www.rfc-editor.org/rfc/rfc1950)."""
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


@pytest.mark.parametrize(
    ("request_", "port", "status", "body"),
    [
        (b"GET /certs HTTP/1.1\r\nHost: localhost\r\n\r\n", 15000, b"200 OK", b"{}"),
        (b"GET /long HTTP/1.1\r\n\r\n", 15000, b"200 OK", PAGE.encode()),
        (b"GET /stats HTTP/1.1\r\n\r\n", 15000, b"404 Not Found", b"written down\n"),
        (b"GET /certs HTTP/1.1\r\n\r\n", 9080, b"404 Not Found", b"written down\n"),
        (b"\x16\x03\x01 no HTTP\r\n\r\n", 15000, b"404 Not Found", b"written down\n"),
    ],
)
def test_a_page_that_was_written_down_comes_and_no_other(request_, port, status, body):
    client, forwarded = Client(), Forwarded("default/a", shown)
    said, accepted, ended = client.hears(forwarded.received(client.asks(request_, port)))
    assert said[3].startswith(b"HTTP/1.1 " + status)
    assert said[3].partition(b"\r\n\r\n")[2].endswith(body)
    assert accepted == ended == {1, 3}


def test_a_second_request_and_pings_go_over_the_same_connection():
    client, forwarded = Client(), Forwarded("default/a", shown)
    client.hears(forwarded.received(client.asks(b"GET /certs HTTP/1.1\r\n\r\n")))
    ping = frame(0x80030006, 0, b"\0\0\0\1")
    assert forwarded.received(ping) == ping
    said, _, _ = client.hears(forwarded.received(client.asks(b"GET /certs HTTP/1.1\r\n\r\n")))
    assert said[7].endswith(b"{}")


@given(st.lists(st.integers(1, 40)))
def test_it_may_come_in_pieces_of_any_length(lengths):
    client, forwarded, heard = Client(), Forwarded("default/a", shown), b""
    content = client.asks(b"GET /certs HTTP/1.1\r\n\r\n")
    for length in [*lengths, len(content)]:
        heard += forwarded.received(content[:length])
        content = content[length:]
    assert client.hears(heard)[0][3].endswith(b"{}")


@given(st.binary(max_size=200))
def test_whatever_else_comes_does_no_harm(content):
    with suppress(Malformed):
        Forwarded("default/a", shown).received(content)
    whole = bytearray(Client().asks(b"GET /certs HTTP/1.1\r\n\r\n"))
    for place, byte in enumerate(content):
        whole[place * 7919 % len(whole)] ^= byte
    with suppress(Malformed):
        Forwarded("default/a", shown).received(bytes(whole))


@pytest.mark.parametrize("content", [
    frame(0x80030001, 0, b"short"), struct.pack(">II", 3, 0xFFFFFF),
    Client().opens(Streamtype="data") + frame(1, 0, b"x" * (LARGEST + 1)),
])  # fmt: skip
def test_what_is_none_or_too_long_is_refused(content):
    with pytest.raises(Malformed):
        Forwarded("default/a", shown).received(content)


# -- by the real kubectl ----------------------------------------------------------------------------
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"},
       "spec": {"containers": [{"name": "a"}]}, "status": {"phase": "Running"}}  # fmt: skip
STATE = {
    (DOCUMENT, "/api"): '{"kind": "APIVersions", "versions": ["v1"]}',
    (DOCUMENT, "/apis"): '{"kind": "APIGroupList", "apiVersion": "v1", "groups": []}',
    (DOCUMENT, "/api/v1"): '{"kind": "APIResourceList", "groupVersion": "v1", "resources": [{"name": "pods", '
    '"singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"]}]}',
    (COLUMNS, "/api/v1/pods"): '[{"name": "Name"}]',
}


def answered(asked: Asked) -> Answer:

    held = {("/api/v1/pods", "default/a"): json.dumps({"object": POD, "cells": ["a"]})}
    return answer({**STATE, **held}, 0.0, asked)


def test_kubectls_own_port_forward_leads_there(tmp_path):
    kubectl = shutil.which("kubectl", path=environment({})["PATH"])
    if kubectl is None:
        pytest.skip("no kubectl: `labkit images` brings one; tests/live/test_looking.py forwards in each live run")
    serving = Served(answered, shown, "kind-istio-lab")
    config = {"KUBECONFIG": str(serving.folder / "config"), "KUBECACHEDIR": str(tmp_path)}
    with subprocess.Popen([kubectl, "port-forward", "pod/a", ":15000", "--address=127.0.0.1"], env=environment(config),
                          stdout=subprocess.PIPE, text=True) as forward:  # fmt: skip
        try:
            port = forward.stdout.readline().split(" -> ")[0].rpartition(":")[2]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
                assert http.get("/certs").text == "{}"
                assert http.get("/long").text == PAGE
                assert http.get("/stats").status_code == 404
        finally:
            forward.terminate()
            serving.close()
