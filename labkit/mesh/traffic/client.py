"""Requests from a pod of the cluster, one by one, with curl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from labkit import backend
from labkit.mesh import objects
from labkit.settings import NAMESPACE, settings

if TYPE_CHECKING:
    import pandas as pd

CLIENT = "curl"
# curl writes one of these after each answer's body; see https://everything.curl.dev/usingcurl/verbose/writeout
_MARK = "\x1e"
# (the status in quotes: it is 000 where no answer came, which is no number in JSON).
_OUTCOME = _MARK + '{"status": "%{response_code}", "seconds": %{time_total}, "connections": %{num_connects}}\n'


def deploy_client(namespace: str = NAMESPACE) -> None:
    """The release's curl sample: a pod to send requests from. Returns when it is available."""
    objects.apply(settings().release_folder / "samples" / "curl" / "curl.yaml", namespace=namespace)
    objects.wait_available([CLIENT], namespace, report=lambda _: None)


def requests(
    url: str,
    times: int = 1,
    namespace: str = NAMESPACE,
    client: str = f"deploy/{CLIENT}",
    keep_open: bool = True,
    headers: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """GET `url` from the client, `times` times: over one connection that is kept open, or each over a new one.

    Columns: request (from 1), status (HTTP; 0 where no answer came), seconds, new_connection (bool), pod (of the
    answer's own `podname`, "" where the body has none), body.
    """
    import pandas as pd

    columns = ["request", "status", "seconds", "new_connection", "pod", "body"]
    sent = {**(headers or {}), **({} if keep_open else {"Connection": "close"})}
    options = [word for name, value in sent.items() for word in ("--header", f"{name}: {value}")]
    argv = ["kubectl", "exec", "--namespace", namespace, client, "--container", CLIENT, "--",
            "curl", "--silent", "--max-time", "10", "--write-out", _OUTCOME, *options, *[url] * times]  # fmt: skip
    completed = backend.run(argv, check=False)
    if _MARK not in completed.stdout:
        raise backend.CommandFailed(completed, "`%kubectl get pods` shows whether the client is there and ready")
    rows = [{"request": n, **row} for n, row in enumerate(parse(completed.stdout), start=1)]
    return pd.DataFrame(rows, columns=columns)


def parse(output: str) -> list[dict[str, object]]:
    """curl's bodies, each followed by its outcome: status, seconds, new_connection, pod, body."""
    rows = []
    body, *rest = output.split(_MARK)
    for piece in rest:
        outcome, _, following = piece.partition("\n")
        seen = json.loads(outcome)
        rows.append(
            {
                "status": int(seen["status"]),
                "seconds": seen["seconds"],
                "new_connection": seen["connections"] > 0,
                "pod": _pod(body),
                "body": body,
            }
        )
        body = following
    return rows


def _pod(body: str) -> str:
    try:
        answer = json.loads(body)
    except ValueError:
        return ""
    return str(answer.get("podname", "")) if isinstance(answer, dict) else ""
