"""What istiod knows of the proxies: what it sent each of them, and what they answered.

https://istio.io/latest/docs/ops/diagnostic-tools/proxy-cmd/#get-an-overview-of-your-mesh
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import objects
from labkit.mesh.istio import CONTROL_PLANE
from labkit.mesh.istio import NAMESPACE as ISTIO
from labkit.mesh.proxy.dump import Rejection, snapshot
from labkit.settings import DEBUG_PORT

if TYPE_CHECKING:
    import pandas as pd

_TYPES = {"clusters": "cds", "listeners": "lds", "endpoints": "eds", "routes": "rds"}
_SECTIONS = {
    "type.googleapis.com/envoy.config.cluster.v3.Cluster": "clusters",
    "type.googleapis.com/envoy.config.listener.v3.Listener": "listeners",
    "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment": "endpoints",
    "type.googleapis.com/envoy.config.route.v3.RouteConfiguration": "routes",
}


IGNORED = "IGNORED"


def sync_status() -> pd.DataFrame:
    """What each proxy answered to istiod's last push, one proxy a row, as `istioctl proxy-status --verbosity=1` has it.

    Columns: name (POD.NAMESPACE), cds, lds, eds, rds ("SYNCED", "STALE": no answer yet, "ERROR": refused, "NOT SENT",
    "IGNORED": never asked for), istiod (pod), version, error (Envoy's own words). It is istiod's view: an answer says
    that a push was taken up, not what the proxy holds; for that see `snapshot`. Raises LabError where istiod is down.
    """
    import pandas as pd

    rows = [
        {"name": each["proxy"], **states, "istiod": istiod, "version": each.get("istio_version", "")}
        | {"error": "; ".join(error.details for error in _errors(each))}
        for istiod, each in _syncz()
        if set((states := _states(each)).values()) != {IGNORED}  # a client that never asked for any, as istioctl is one
    ]
    columns = ["name", *_TYPES.values(), "istiod", "version", "error"]
    return pd.DataFrame(rows, columns=columns).sort_values("name", ignore_index=True)


def rejected(pod: str) -> pd.DataFrame:
    """The configuration that a proxy refused (a NACK): section, resource, details, last_update_attempt (UTC timestamp).

    Envoy itself remembers which listener it refused, and when. For the other sections, where it answers for a whole
    push, `resource` is "" and the time that of the push, as istiod noted them. Raises LabError where istiod is down.
    """
    import pandas as pd

    held = snapshot(pod)
    own = {rejection.section for rejection in held.rejected}
    told = [error for error in errors().get(f"{held.pod}.{held.namespace}", ()) if error.section not in own]
    rows = [vars(rejection) for rejection in [*held.rejected, *told]]
    frame = pd.DataFrame(rows, columns=["section", "resource", "details", "last_update_attempt"])
    return frame.assign(last_update_attempt=pd.to_datetime(frame.last_update_attempt, utc=True, format="ISO8601"))


def errors() -> dict[str, tuple[Rejection, ...]]:
    """What the proxies refused of istiod's last pushes, by POD.NAMESPACE. Raises LabError where istiod is down.

    Nothing where the reader may not ask istiod, which would tell them of everybody's proxies.
    """
    try:
        return {each["proxy"]: tuple(_errors(each)) for _, each in _syncz()}
    except backend.KubernetesError as error:
        if error.status != 403:
            raise
        return {}


def istiod_is_down() -> LabError:
    """What to tell a reader whose change no proxy can hear of."""
    return LabError(
        "istiod is not running.",
        "nobody turns objects into Envoy's configuration; the proxies go on with what they have",
        f"`%kubectl scale deployment/{CONTROL_PLANE} --namespace {ISTIO} --replicas=1`, then run the cell again",
    )


def _syncz() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each istiod with each of its proxies, as its own debugging interface has it; only its pod itself may ask."""
    running = [pod for pod in objects.list_("pods", ISTIO, selector=f"app={CONTROL_PLANE}") if objects.is_ready(pod)]
    if not running:
        raise istiod_is_down()
    for name in (pod["metadata"]["name"] for pod in running):
        with backend.port_forward(ISTIO, name, DEBUG_PORT) as get:
            yield from ((name, each) for each in json.loads(get("/debug/syncz")) if each.get("proxy"))


def _states(each: Mapping[str, Any]) -> dict[str, str]:
    known = {_SECTIONS.get(url): status for url, status in each.get("resources", {}).items()}
    return {column: _state(known.get(section)) for section, column in _TYPES.items()}


def _state(status: Mapping[str, Any] | None) -> str:
    if status is None:
        return IGNORED
    if status.get("lastError"):
        return "ERROR"
    if not status.get("sent"):
        return "NOT SENT"
    return "SYNCED" if status.get("acked") == status["sent"] else "STALE"


def _errors(each: Mapping[str, Any]) -> Iterator[Rejection]:
    for url, status in each.get("resources", {}).items():
        if status.get("lastError"):
            yield Rejection(_SECTIONS.get(url, url), "", status["lastError"].strip(), status.get("sentTime", ""))
