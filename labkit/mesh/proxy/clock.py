"""The propagation clock: how long after a change each proxy's own configuration holds it.

What is measured is neither istiod's word for it nor an answer on the wire, but the configuration in Envoy. Two of
Envoy's own figures make that cheap and exact: the bytes that came to it from istiod, which say when a look at its
configuration is worth while, and the millisecond at which it took each resource up, which stands in its config_dump.
So proxies are looked at twenty times a second, and the times are good to a millisecond all the same. Where Envoy notes
no time (for endpoints, and for what is gone), or its clock is not ours, they are as good as the looks: 0.1 s.

https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump_shared.proto
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit import backend
from labkit.errors import LabError
from labkit.mesh import objects
from labkit.mesh.istio import NAMESPACE as ISTIO
from labkit.mesh.proxy import status
from labkit.mesh.proxy.dump import Rejection
from labkit.mesh.proxy.pods import Pod, admin, concerned, find, with_proxy
from labkit.mesh.proxy.watched import Holds, Start, Watched
from labkit.settings import NAMESPACE

if TYPE_CHECKING:
    import pandas as pd

TIMEOUT = 15.0  # seconds
LOOK = 0.05  # seconds between two looks
FIRST = 3.0  # seconds until the first proxy has news, whatever istiod gathers before it sends
AFTER = 1.0  # seconds between two proxies' news of one change
Report = Callable[[str], None]


def propagate(
    manifest: Path | Mapping[str, Any],
    *,
    namespace: str = NAMESPACE,
    pods: Sequence[str] = (),
    holds: Holds | None = None,
    timeout: float = TIMEOUT,
    report: Report = lambda _: None,
) -> pd.DataFrame:
    """Apply a manifest's objects, or one object, and wait until each proxy holds them: pod, milliseconds, resource.

    One row a proxy, the quickest first. `milliseconds` run from the request to the API server until the proxy took up
    the last resource (`SECTION/NAME`, several with a comma) that changed for it; 0 where the objects were there before.
    A pod that went away while it was waited for has NaN.

    `pods` are those that the objects themselves say they are for, unless they are named. A proxy holds the objects once
    its configuration has changed and no more comes; with `holds`, once that is true of its configuration. Raises
    LabError where istiod is down, a proxy refuses (with its reason), none is concerned, or the time is up.
    """
    documents = _documents(manifest, namespace)
    named = [find(pod) for pod in pods]
    meant = [named or concerned(document) for document in documents]
    with _watching([pod for each in meant for pod in each], holds) as watch:
        start = Start()
        changed = [objects.put(document) for document in documents]
        new = {_name(pod) for each, is_new in zip(meant, changed, strict=True) if is_new for pod in each}
        return watch.wait(start, None if holds else new, timeout, report)


def wait_until_applied(
    holds: Holds,
    *,
    pods: Sequence[str] = (),
    timeout: float = TIMEOUT,
    report: Report = lambda _: None,
) -> pd.DataFrame:
    """Wait until what somebody changed is true of each proxy's configuration: pod, milliseconds (from now), resource.

    The wait for everything that `propagate` cannot apply itself: a deletion, a Deployment scaled. `pods` are all with a
    proxy in the course's namespace, unless they are named. Frame and errors are those of `propagate`.
    """
    with _watching([find(pod) for pod in pods] or with_proxy(NAMESPACE), holds) as watch:
        return watch.wait(Start(), None, timeout, report)


class Propagation:
    """What commands in a block changed in each proxy; told once the block is over.

    times: the frame of `propagate`, a row for each proxy that changed. milliseconds run from the block's first command.
    """

    times: pd.DataFrame

    def __repr__(self) -> str:
        last = self.times.milliseconds.max()
        many = "1 proxy holds" if len(self.times) == 1 else f"{len(self.times)} proxies hold"
        return f"{many} it, the last after {last:.0f} ms" if len(self.times) else "no proxy's configuration changed"


@contextmanager
def propagation(pods: Sequence[str] = (), *, timeout: float = TIMEOUT) -> Iterator[Propagation]:
    """Time how long what the block's commands apply takes to reach the proxies, and wait until it is there.

        with mesh.proxy.propagation() as clock:
            %kubectl apply -f virtual-service.yaml
        clock

    `pods` are all with a proxy in the course's namespace and in Istio's, unless they are named. What changes nothing is
    waited for in vain: FIRST seconds, and AFTER seconds where other proxies changed. Raises LabError where istiod is
    down or a proxy refuses, with its reason.
    """
    meant = [find(pod) for pod in pods] or [*with_proxy(NAMESPACE), *with_proxy(ISTIO)]
    with _watching(meant, None) as watch:
        clock, start = Propagation(), Start()
        yield clock
        clock.times = watch.settle(start, timeout)


@dataclass(frozen=True)
class _Watch:
    """Proxies under observation, and what they had refused before it began."""

    proxies: list[Watched]
    pool: backend.Threads
    refused: Mapping[str, tuple[Rejection, ...]]

    def wait(self, start: Start, awaited: set[str] | None, timeout: float, report: Report) -> pd.DataFrame:
        """Until each awaited proxy (all of them, without a set) holds the change."""
        for proxy in self.proxies:
            proxy.begin(start, awaited is None or proxy.name in awaited)
        backend.wait(
            "The change",
            observe=lambda: self._look(start),
            done=lambda _: all(p.is_done for p in self.proxies) or backend.now() - start.now > timeout,
            state=lambda count: f"{count} of {len(self.proxies)} proxies hold it",
            timeout=timeout + TIMEOUT,
            every=LOOK,
            report=report,
        )
        self._raise_if_refused(self.proxies)
        late = [p.name for p in self.proxies if not p.gone and p.seconds is None]
        if late:
            raise _not_true(late, timeout) if awaited is None else _no_change(late, timeout)
        return _frame(self.proxies)

    def settle(self, start: Start, timeout: float) -> pd.DataFrame:
        """Until no proxy has anything more on its way; the frame of those that changed."""
        for proxy in self.proxies:
            proxy.begin(start, is_awaited=True)
        ended = backend.now()
        backend.wait(
            "The change",
            observe=lambda: self._look(start),
            done=lambda _: self._is_settled(ended) or backend.now() - ended > timeout,
            state=lambda count: f"{count} of {len(self.proxies)} proxies hold it",
            timeout=timeout + TIMEOUT,
            every=LOOK,
        )
        self._raise_if_refused(self.proxies)
        return _frame([proxy for proxy in self.proxies if proxy.seconds is not None])

    def _is_settled(self, ended: float) -> bool:
        changed = [proxy for proxy in self.proxies if proxy.seconds is not None]
        if not all(proxy.is_done for proxy in changed) or any(proxy.is_unread for proxy in self.proxies):
            return False
        if not changed:
            return backend.now() - ended > FIRST
        last = max(proxy.news_at for proxy in changed)
        return len(changed) == len(self.proxies) or backend.now() - max(last, ended) > AFTER

    def _look(self, start: Start) -> int:
        list(self.pool.map(lambda proxy: _look(proxy, start), [p for p in self.proxies if not p.is_over]))
        self._raise_if_refused([p for p in self.proxies if p.doubtful])
        return sum(p.seconds is not None for p in self.proxies)

    def _raise_if_refused(self, proxies: list[Watched]) -> None:
        now = status.errors() if proxies else {}
        for proxy in proxies:
            proxy.doubtful = False
            new = [error for error in now.get(proxy.id, ()) if error not in self.refused.get(proxy.id, ())]
            if new:
                raise LabError(
                    f"{proxy.name} refused the configuration (NACK).",
                    "; ".join(f"{error.section}: {error.details}" for error in new),
                    f"mend the object, or delete it; `proxy.rejected('{proxy.id}')` shows what is refused still",
                )


@contextmanager
def _watching(pods: list[Pod], holds: Holds | None) -> Iterator[_Watch]:
    """A connection to each of them, open for as long as they are watched. Raises LabError where istiod is down."""
    once = list({pod["metadata"]["uid"]: pod for pod in pods}.values())
    if not once:
        raise LabError(
            "No proxy is concerned.",
            "these objects are for no running pod that has a sidecar, and for no gateway",
            "check their selectors and gateways, or name the pods: pods=['deploy/NAME']",
        )
    refused = status.errors()
    with ExitStack() as stack, backend.threads(len(once)) as pool:
        proxies = pool.map(lambda pod: _watched(pod, stack, holds), once)
        yield _Watch(list(proxies), pool, refused)


def _watched(pod: Pod, stack: ExitStack, holds: Holds | None) -> Watched:
    with backend.sequence(pod["metadata"]["uid"]):
        return Watched(pod, stack.enter_context(admin(pod)), holds)


def _look(proxy: Watched, start: Start) -> None:
    """A pod that goes away while it is looked at is no failure; one that does not answer is."""
    try:
        with backend.sequence(proxy.pod["metadata"]["uid"]):
            proxy.look(start)
    except (backend.Unreachable, backend.KubernetesError):
        meta = proxy.pod["metadata"]
        found = objects.find("pods", meta["name"], meta["namespace"])
        proxy.gone = found is None or "deletionTimestamp" in found["metadata"]
        if not proxy.gone:
            raise


def _no_change(names: list[str], timeout: float) -> LabError:
    return LabError(
        f"{', '.join(names)}: no change within {timeout:.0f} s.",
        "istiod runs, and the proxies refused nothing: the objects make no difference to them",
        "`%istioctl analyze` names what is wrong with an object; pods=['deploy/NAME'] waits for others",
    )


def _not_true(names: list[str], timeout: float) -> LabError:
    return LabError(
        f"{', '.join(names)}: not what was waited for within {timeout:.0f} s.",
        "istiod runs, and the proxies refused nothing: their configuration is another one",
        "`proxy.snapshot('deploy/NAME').sections` is what `holds` is asked about; compare the two",
    )


def _frame(proxies: Iterable[Watched]) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "pod": proxy.name,
            "milliseconds": round(proxy.seconds * 1000, 1) if proxy.seconds is not None else float("nan"),
            "resource": ", ".join(sorted(proxy.resources)),
        }
        for proxy in proxies
    ]
    frame = pd.DataFrame(rows, columns=["pod", "milliseconds", "resource"])
    return frame.sort_values("milliseconds", ignore_index=True)


def _documents(manifest: Path | Mapping[str, Any], namespace: str) -> list[dict[str, Any]]:
    documents = [dict(manifest)] if isinstance(manifest, Mapping) else objects.read(manifest)
    return [{**each, "metadata": {"namespace": namespace, **each["metadata"]}} for each in documents]


def _name(pod: Pod) -> str:
    return pod["metadata"]["name"]
