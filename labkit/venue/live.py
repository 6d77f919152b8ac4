"""The live venue: real processes, real sockets, the real clock."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from labkit.errors import LabError
from labkit.settings import MANIFESTS, settings
from labkit.venue.seam import Completed, KubernetesError, Response, Unreachable


class Live:
    """Commands see the course's own kubeconfig and binaries, never the reader's."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, float], object] = {}

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None,
        cwd: Path | None,
        env: Mapping[str, str],
        timeout: float | None,
        on_line: Callable[[str], None] | None,
    ) -> Completed:
        started = self.now()
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=_environment(env),
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise LabError(
                f"`{argv[0]}` could not be started.",
                f"no such program or folder: {error.filename}",
                "`labkit doctor` says which tools are missing and where they come from",
            ) from error
        except PermissionError as error:
            raise LabError(
                f"`{argv[0]}` could not be started.", str(error), "make the file executable, or remove it"
            ) from error
        with _ends_with_us(process):
            stdout, stderr = _collect(process, stdin, timeout, on_line, argv)
        return Completed(tuple(map(str, argv)), process.returncode, stdout, stderr, self.now() - started)

    def which(self, program: str) -> str | None:
        return shutil.which(program, path=_environment({})["PATH"])

    def kubernetes(self, method: str, path: str, body: object, query: Mapping[str, str], content_type: str) -> str:
        from urllib3.exceptions import HTTPError

        client = self._client()
        headers = {"Accept": "application/json, */*", "Content-Type": content_type}
        request = client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = client.call_api(*request, _request_timeout=(5, 60))
            text = answer.read().decode("utf-8", "replace")
        except HTTPError as error:
            raise KubernetesError(
                0, "Unreachable", str(error), "`labkit status` shows the cluster; `labkit up` brings it back"
            ) from None
        if answer.status >= 400:
            raise _kubernetes_error(answer.status, answer.reason, text)
        return text

    def http(self, method: str, url: str, headers: Mapping[str, str], body: str | None, timeout: float) -> Response:
        import httpx

        started = self.now()
        try:
            # a proxy of the reader's leads to the internet, and must not stand between them and 127.0.0.1
            proxied = httpx.URL(url).host not in ("127.0.0.1", "localhost")
            answer = httpx.request(method, url, headers=headers, content=body, timeout=timeout, trust_env=proxied)
        except httpx.HTTPError as error:
            raise Unreachable(
                f"{method} {url} got no answer.",
                f"{type(error).__name__}: {error}",
                "`labkit status` says what is up; `labkit up` brings up what is missing",
            ) from error
        return Response(answer.status_code, dict(answer.headers), answer.text, self.now() - started)

    def download(self, url: str, to: Path, on_bytes: Callable[[int, int | None], None]) -> None:
        from labkit.venue.downloading import download

        download(url, to, on_bytes, self.sleep)

    def gateway(self) -> str:
        import json

        record = settings().cluster_record
        if not record.exists():
            raise _no_cluster(record)
        return json.loads(record.read_text())["gateway"]

    def port_is_free(self, host: str, port: int) -> bool:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
            return True

    def now(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def _client(self):
        """One client for each kubeconfig as it stands on disk; a new cluster means a new client."""
        from kubernetes import config

        path = settings().kubeconfig
        if not path.exists():
            raise _no_cluster(path)
        key = (str(path), path.stat().st_mtime)
        if key not in self._clients:
            self._clients = {key: config.new_client_from_config(config_file=str(path))}
        return self._clients[key]


def _no_cluster(missing: Path) -> LabError:
    return LabError(
        "There is no cluster of the course's yet.",
        f"{missing} does not exist",
        "run `labkit up --until cluster`, or notebook 00",
    )


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    s = settings()
    path = os.pathsep.join([str(s.bin), os.environ.get("PATH", os.defpath)])
    ours = {"KUBECONFIG": str(s.kubeconfig), "LABKIT_BIN": str(s.bin), "LABKIT_MANIFESTS": str(MANIFESTS)}
    return {**os.environ, "PATH": path, **ours, **extra}


@contextlib.contextmanager
def _ends_with_us(process: subprocess.Popen):
    """An interrupt ends the command and its children too; nothing goes on behind the reader's back."""
    try:
        yield
    finally:
        if process.poll() is None:
            for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, sign)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                    break


def _collect(process, stdin, timeout, on_line, argv) -> tuple[str, str]:
    try:
        if on_line is None:
            return process.communicate(stdin, timeout)
        return _by_line(process, stdin, timeout, on_line)
    except subprocess.TimeoutExpired:
        raise LabError(
            f"`{' '.join(map(str, argv))}` did not end within {timeout:.0f} s.",
            "it was ended; nothing says whether it would have finished",
            "look at `labkit status`, then run it again",
        ) from None


def _by_line(process, stdin, timeout, on_line) -> tuple[str, str]:
    lines: dict[str, list[str]] = {"stdout": [], "stderr": []}

    def pump(name: str) -> None:
        for line in getattr(process, name):
            lines[name].append(line)
            on_line(line.rstrip("\n"))

    pumps = [threading.Thread(target=pump, args=(name,), daemon=True) for name in lines]
    for thread in pumps:
        thread.start()
    if stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    process.wait(timeout)
    for thread in pumps:
        thread.join()
    return "".join(lines["stdout"]), "".join(lines["stderr"])


def _kubernetes_error(status: int, reason: str, text: str) -> KubernetesError:
    """From the Status object that the API server answers with, or from whatever else stood in its place."""
    import json

    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    fixes = {
        403: "this user may not do that here; ask for the permission, or use the course's own cluster",
        404: "check the name and the namespace; an earlier cell of this notebook may create it",
        409: "somebody else changed the object at the same moment; run the cell again",
    }
    fix = fixes.get(status, "read the message above")
    return KubernetesError(status, answer.get("reason") or reason or "Error", answer.get("message") or text, fix)
