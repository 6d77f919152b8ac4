"""Bursts and sweeps of requests with fortio, from inside the cluster.

https://fortio.org and https://istio.io/latest/docs/tasks/traffic-management/circuit-breaking/#adding-a-client
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import objects
from labkit.settings import NAMESPACE, settings

if TYPE_CHECKING:
    import pandas as pd

FORTIO = "fortio-deploy"
MOST_CALLS = 10_000
PERCENTILES = (50, 75, 90, 95, 99)


@dataclass(frozen=True)
class Load:
    """A burst as fortio saw it.

    qps: requests a second that came about, over `seconds`. codes: HTTP status → how many answers had it; -1 where no
    answer came. percentiles: percentile → milliseconds within which that part of all calls had its outcome.
    """

    url: str
    connections: int
    calls: int
    qps: float
    seconds: float
    codes: Mapping[int, int]
    percentiles: Mapping[float, float]

    @property
    def outcomes(self) -> pd.DataFrame:
        """code (HTTP status; -1 where no answer came), calls, share (0 to 1); one code a row.

        Without an interval: a connection asks again once it was answered, so that the outcomes hang together.
        """
        import pandas as pd

        rows = [(code, calls, calls / self.calls) for code, calls in sorted(self.codes.items())]
        return pd.DataFrame(rows, columns=["code", "calls", "share"])


def deploy_fortio(namespace: str = NAMESPACE) -> None:
    """The release's fortio sample: a pod to send load from. Returns when it is available. Raises LabError.

    Its image lies on the node: the sample's `imagePullPolicy: Always` would ask a registry all the same.
    """
    manifest = settings().release_folder / "samples" / "httpbin" / "sample-client" / "fortio-deploy.yaml"
    documents = objects.read(manifest)
    for container in (c for d in documents if d["kind"] == "Deployment" for c in _containers(d)):
        container["imagePullPolicy"] = "IfNotPresent"
    argv = ["kubectl", "apply", "--namespace", namespace, "--filename", "-"]
    backend.run(argv, stdin=yaml.safe_dump_all(documents))
    objects.wait_available([FORTIO], namespace, report=lambda _: None)


def load(
    url: str,
    connections: int = 1,
    calls: int = 20,
    qps: float = 0,
    headers: Mapping[str, str] | None = None,
    namespace: str = NAMESPACE,
) -> Load:
    """Send `calls` GET requests over `connections`, each as soon as the one before is answered, or `qps` a second.

    Raises LabError where the numbers do not go together, and backend.CommandFailed where fortio cannot run.
    """
    if not (0 < 2 * connections <= calls <= MOST_CALLS):  # with fewer, fortio would lower the connections unasked
        raise LabError(
            f"{calls} calls over {connections} connections do not make a load.",
            f"each connection makes at least two calls, and all together at most {MOST_CALLS}",
            f"`calls={max(20, 20 * connections)}`, say",
        )
    options = [word for name, value in (headers or {}).items() for word in ("-H", f"{name}: {value}")]
    argv = ["kubectl", "exec", "--namespace", namespace, f"deploy/{FORTIO}", "--container", "fortio", "--",
            "/usr/bin/fortio", "load", "-quiet", "-json", "-", "-c", str(connections), "-n", str(calls),
            "-qps", f"{qps:g}", "-timeout", "10s", "-p", ",".join(map(str, PERCENTILES)), *options, url]  # fmt: skip
    completed = backend.run(argv, check=False)
    if completed.returncode:
        raise backend.CommandFailed(
            completed, "`mesh.traffic.deploy_fortio()` puts fortio there; else check the address"
        )
    return parse(completed.stdout)


def parse(output: str) -> Load:
    """fortio's JSON, wherever it begins in what fortio printed. Raises LabError where it was cut short."""
    try:
        seen = json.loads(output[output.index("{") :])
    except ValueError as error:
        raise LabError("fortio's report could not be read.", str(error), "run it again") from None
    histogram = seen["DurationHistogram"]
    return Load(
        url=seen["URL"],
        connections=seen["NumThreads"],
        calls=histogram["Count"],
        qps=seen["ActualQPS"],
        seconds=seen["ActualDuration"] / 1e9,
        codes={int(code): count for code, count in seen["RetCodes"].items()},
        percentiles={each["Percentile"]: each["Value"] * 1000 for each in histogram["Percentiles"]},
    )


def _containers(deployment: dict) -> list[dict]:
    return deployment["spec"]["template"]["spec"]["containers"]
