"""What a command's own words already tell of somebody else's cluster, so that it need not be run to be refused.

The relay has the last word, by what a command asks of the API server: what is not seen here is refused there.
"""

from __future__ import annotations

from collections.abc import Iterator

from labkit.api.policy import NO_NAMESPACES
from labkit.commands import Words
from labkit.commands.kinds import called

_LEADS = {"kubeconfig", "server", "kube-apiserver", "kube-context"}
_ENTERS = {"attach", "exec", "port-forward"}  # a pod's own business, if the pod is the reader's
_METADATA = {"annotate", "label", "patch"}  # what may be done to the reader's namespace itself
_THE_CLUSTERS = {"certificate", "cordon", "drain", "taint", "uncordon"}
_PODS = _ENTERS | {"cp", "debug", "run"}  # a plain name is a pod's
_RUNS_TO_ITS_END = {"experimental", "proxy-config", "proxy-status", "remote-clusters", "version", "ztunnel-config"}


def why_not(words: Words, namespace: str) -> str:
    """Why a command is not run, where `namespace` is the reader's; "" where nothing in its words speaks against it."""
    if led := sorted(_LEADS & set(words.flags)):
        return f"--{led[0]} leads to a cluster that nobody named to the course"
    if words.on("help") or words.dry or not (words.changes or words.first in _ENTERS):
        return ""
    if words.program == "istioctl":
        return _istioctl(words, namespace)
    if words.program == "helm":
        return _helm(words, namespace)
    return next(_kubectl(words, namespace), "")


def looks_into_pods(words: Words) -> bool:
    """Whether it is a command of istioctl's that only reads what proxies and istiod hold, and then ends."""
    return words.program == "istioctl" and words.first in _RUNS_TO_ITS_END and not words.changes


def _istioctl(words: Words, namespace: str) -> str:
    if words.verb != ("proxy-config", "log"):
        return f"`istioctl {' '.join(words.verb)}` changes what the whole mesh shares"
    named = [where for word in words.arguments if (where := word.partition(".")[2])]
    others = [name for name in (*words.flags.get("namespace", ()), *named) if name != namespace]
    return f"namespace {others[0]} is somebody else's" if others else ""


def _helm(words: Words, namespace: str) -> str:
    """What a chart holds beside the reader's namespace, the relay refuses object by object."""
    others = [name for name in words.flags.get("namespace", ()) if name != namespace]
    return f"namespace {others[0]} is somebody else's" if others else ""


def _kubectl(words: Words, namespace: str) -> Iterator[str]:
    if words.first == "config":
        yield "the course's kubeconfig stays as it is"
    if words.first in _THE_CLUSTERS:
        yield f"`kubectl {words.first}` changes what belongs to the whole cluster"
    if words.on("all-namespaces") or words.on("prune"):
        yield "it reaches into every namespace"
    others = [name for name in words.flags.get("namespace", ()) if name != namespace]
    others += [word.partition("/")[0] for word in words.arguments if _is_others(words, word, namespace)]
    if others:
        yield f"namespace {others[0]} is somebody else's"
    if words.first not in _PODS and "raw" not in words.flags:
        yield from _objects(words, namespace)
    elif words.arguments[:1] and words.arguments[0].startswith(("node/", "no/", "nodes/")):
        yield f"{words.arguments[0]} belongs to no namespace"


def _is_others(words: Words, word: str, namespace: str) -> bool:
    """Of `kubectl cp`: NAMESPACE/POD:PATH."""
    pod, colon, _ = word.partition(":")
    return words.verb == ("cp",) and bool(colon) and "/" in pod and pod.partition("/")[0] != namespace


def _objects(words: Words, namespace: str) -> Iterator[str]:
    named = [word for word in words.arguments if "=" not in word and not word.endswith("-")]
    named = named[1:] if words.verb == ("set",) else named
    if not named:
        return
    if "/" in named[0]:
        pairs = [word.partition("/")[::2] for word in named]
    else:
        pairs = [(kind, name) for kind in named[0].split(",") for name in named[1:] or [""]]
    for kind, name in pairs:
        if not (known := called(kind)) or any(each.namespaced for each in known):
            continue
        if known[0].plural == "namespaces" and words.first in _METADATA:
            if name != namespace:
                yield f"namespace {name} is somebody else's" if name else "it is for every namespace"
        else:
            yield NO_NAMESPACES if known[0].plural == "namespaces" else f"{kind} belongs to no namespace"
