"""Somebody else's cluster: what would be changed there outside the reader's own namespace is refused, unsent.

Who may do what is up to the API server. This keeps a reader who may do more than they know from doing it by a slip,
so that it takes for somebody else's whatever it cannot tell to be the reader's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labkit.backend.answers import NotYours

PROGRAMS = ("kubectl", "istioctl")

# -- what belongs to a namespace; of anything else, be it unknown or the whole cluster's, nobody can tell here --------
_PLURALS = {
    "pods": "po", "services": "svc", "serviceaccounts": "sa", "configmaps": "cm", "secrets": "", "endpoints": "ep",
    "endpointslices": "", "events": "ev", "limitranges": "limits", "resourcequotas": "quota", "podtemplates": "",
    "persistentvolumeclaims": "pvc", "replicationcontrollers": "rc",
    "deployments": "deploy", "replicasets": "rs", "statefulsets": "sts", "daemonsets": "ds", "jobs": "",
    "cronjobs": "cj", "horizontalpodautoscalers": "hpa", "poddisruptionbudgets": "pdb", "ingresses": "ing",
    "networkpolicies": "netpol", "roles": "", "rolebindings": "", "leases": "",
    "gateways": "gw", "virtualservices": "vs", "destinationrules": "dr", "serviceentries": "se", "sidecars": "",
    "workloadentries": "we", "workloadgroups": "wg", "envoyfilters": "", "proxyconfigs": "",
    "authorizationpolicies": "ap", "peerauthentications": "pa", "requestauthentications": "ra",
    "telemetries": "telemetry", "wasmplugins": "", "httproutes": "", "grpcroutes": "", "tlsroutes": "",
    "tcproutes": "", "referencegrants": "refgrant", "backendtlspolicies": "btlspolicy",
}  # fmt: skip


def _singular(plural: str) -> str:
    if plural.endswith("ies"):
        return plural.removesuffix("ies") + "y"
    return plural.removesuffix("es") if plural in ("ingresses",) else plural.removesuffix("s")


_KINDS = {_singular(plural) for plural in _PLURALS} | {"endpoints"}
_RESOURCES = _KINDS | set(_PLURALS) | set(filter(None, _PLURALS.values())) | {"all", "token"}  # as kubectl takes them
_NO_NAMESPACES = "a namespace is made and removed by those who run the cluster"
_NAMESPACE = {"namespace", "namespaces", "ns"}

# -- what each command may do ---------------------------------------------------------------------
_EVERY: frozenset[str] = frozenset()
_KUBECTL_READS: Mapping[str, Set[str]] = {  # a verb, and which of its own verbs, where it has some that change things
    "api-resources": _EVERY, "api-versions": _EVERY, "cluster-info": _EVERY, "completion": _EVERY, "describe": _EVERY,
    "diff": _EVERY, "events": _EVERY, "explain": _EVERY, "get": _EVERY, "help": _EVERY, "kustomize": _EVERY,
    "logs": _EVERY, "options": _EVERY, "top": _EVERY, "version": _EVERY, "wait": _EVERY,
    "apply": {"view-last-applied"},
    "auth": {"can-i", "whoami"},
    "config": {"current-context", "get-clusters", "get-contexts", "get-users", "view"},
    "rollout": {"history", "status"},
}  # fmt: skip
_TO_A_POD = {"attach", "cp", "debug", "exec", "port-forward", "run"}  # a plain name is a pod's
_OF_A_TYPE = {
    "annotate", "apply", "autoscale", "create", "delete", "edit", "expose", "label", "patch", "replace", "scale",
}  # fmt: skip
_OF_A_TYPE_AFTER = {"rollout", "set"}  # which have verbs of their own before it
_METADATA = {"annotate", "label", "patch"}  # what a reader may do to their namespace itself, if the API server agrees
_ISTIOCTL_READS: Mapping[str, Set[str]] = {
    "analyze": _EVERY, "bug-report": _EVERY, "completion": _EVERY, "dashboard": _EVERY, "help": _EVERY,
    "kube-inject": _EVERY, "options": _EVERY, "pc": _EVERY, "profile": _EVERY, "proxy-config": _EVERY,
    "proxy-status": _EVERY, "ps": _EVERY, "remote-clusters": _EVERY, "validate": _EVERY, "version": _EVERY,
    "zc": _EVERY, "ztunnel-config": _EVERY,
    "experimental": {"authz", "check-inject", "config", "describe", "envoy-stats", "es", "internal-debug", "metrics",
                     "precheck", "proxy-status", "ps", "version"},
    "manifest": {"generate", "translate"},
    "tag": {"list"},
}  # fmt: skip

# -- flags: those without a value of their own; any other takes the next word, unless `=` gives it one -----------------
_LONG = {"A": "all-namespaces", "f": "filename", "h": "help", "k": "kustomize", "n": "namespace", "s": "server"}
_WITHOUT_VALUE = {
    "all", "all-namespaces", "allow-missing-template-keys", "attach", "cascade", "command", "dry-run", "expose",
    "follow", "force", "force-conflicts", "help", "ignore-not-found", "interactive", "leave-stdin-open", "list",
    "local", "no-headers", "now", "overwrite", "prune", "quiet", "record", "recursive", "reset", "rm", "save-config",
    "server-side", "show-labels", "show-managed-fields", "stdin", "tty", "validate", "wait", "watch",
    "windows-line-endings", "i", "q", "t", "w", "R", "y",
}  # fmt: skip


@dataclass(frozen=True)
class Words:
    """A command's words: those that stand for themselves, and what each flag, by its long name, was given."""

    plain: tuple[str, ...]
    flags: Mapping[str, Sequence[str]]

    def verb(self, number: int = 0) -> str:
        return self.plain[number] if number < len(self.plain) else ""


def words(of: Sequence[str]) -> Words:
    """Read a command's words as kubectl and istioctl do: up to `--`, flags anywhere among them."""
    plain: list[str] = []
    flags: dict[str, list[str]] = defaultdict(list)
    left = iter(of)
    for word in left:
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            plain.append(word)
            continue
        for name, value in _flags(word):
            takes = value is None and name not in _WITHOUT_VALUE
            flags[name].append(next(left, "") if takes else value or "")
    return Words(tuple(plain), flags)


def _flags(word: str) -> Iterator[tuple[str, str | None]]:
    """`--name=value`, or letters of which the first that takes a value has the rest for it: `-itn=reader`."""
    if word.startswith("--"):
        name, equals, value = word[2:].partition("=")
        yield name, value if equals else None
        return
    for place, letter in enumerate(word[1:], start=2):
        name = _LONG.get(letter, letter)
        if name not in _WITHOUT_VALUE:
            yield name, word[place:].removeprefix("=") or None
            return
        yield name, None


# -- commands -----------------------------------------------------------------------------------------
def check_command(argv: Sequence[str], stdin: str | None, cwd: Path | None, namespace: str) -> None:
    """Raises NotYours for a command that changes something outside of `namespace`, or leads to another cluster."""
    program = Path(str(argv[0])).name
    read = words([str(word) for word in argv[1:]])
    if "help" in read.flags or not read.plain:
        return
    why = _elsewhere(program, read)
    if not why and program == "kubectl":
        why = _kubectl(read, stdin, cwd or Path.cwd(), namespace)
    elif not why and program == "istioctl":
        why = _istioctl(read, namespace)
    if why:
        raise refused(f"`{' '.join([program, *map(str, argv[1:])])}` was not run.", why, namespace)


def reads_stdin(of: Sequence[str]) -> bool:
    """Whether a command of these words reads manifests from its input."""
    return "-" in words(of).flags.get("filename", ())


def refused(what: str, why: str, namespace: str) -> NotYours:
    return NotYours(
        what,
        f"{why}; in this cluster namespace {namespace} is yours, and nothing else",
        "ask those who run the cluster; or work in one of the course's own: unset LABKIT_VENUE, and restart the kernel",
    )


def _elsewhere(program: str, read: Words) -> str:
    leads = {"kubeconfig", "server"} | ({"c"} if program == "istioctl" else set())
    found = sorted(leads & set(read.flags))
    return f"--{found[0]} leads to a cluster that nobody named to the course" if found else ""


def _kubectl(read: Words, stdin: str | None, cwd: Path, namespace: str) -> str:
    verb = read.verb()
    if _only_reads(read, _KUBECTL_READS) or _is_dry(read):
        return ""
    known = verb in _TO_A_POD | _OF_A_TYPE | _OF_A_TYPE_AFTER
    if not known:
        return f"`kubectl {verb}` may change what belongs to no namespace"
    if "raw" in read.flags:
        return next((why for path in read.flags["raw"] if (why := _outside(verb, path, namespace))), "")
    return (
        _other_namespace(read, namespace) or _objects(read, namespace) or _manifests(verb, read, stdin, cwd, namespace)
    )


def _only_reads(read: Words, reads: Mapping[str, Set[str]]) -> bool:
    verb = read.verb()
    return verb in reads and (not reads[verb] or read.verb(1) in reads[verb])


def _is_dry(read: Words) -> bool:
    return "dry-run" in read.flags and read.flags["dry-run"][-1] not in ("none", "false")


def _other_namespace(read: Words, namespace: str) -> str:
    if "all-namespaces" in read.flags or "prune" in read.flags:
        return "it reaches into every namespace"
    others = [name for name in read.flags.get("namespace", ()) if name != namespace]
    others += [word.partition("/")[0] for word in read.plain if read.verb() == "cp" and _is_others(word, namespace)]
    return f"namespace {others[0]} is somebody else's" if others else ""


def _is_others(word: str, namespace: str) -> bool:
    """Of `kubectl cp`: NAMESPACE/POD:PATH."""
    pod, colon, _ = word.partition(":")
    return bool(colon) and "/" in pod and pod.partition("/")[0] != namespace


def _objects(read: Words, namespace: str) -> str:
    verb, begins = read.verb(), 2 if read.verb() in _OF_A_TYPE_AFTER else 1
    named = [word for word in read.plain[begins:] if "=" not in word and not word.endswith("-")]
    if not named or verb == "cp":
        return ""
    if verb in _TO_A_POD:
        pairs = [named[0].partition("/")[::2]] if "/" in named[0] else []
    elif "/" in named[0]:
        pairs = [word.partition("/")[::2] for word in named]
    else:
        pairs = [(kind, name) for kind in named[0].split(",") for name in named[1:] or [""]]
    return next((why for kind, name in pairs if (why := _not_in_it(verb, kind, name, namespace))), "")


def _not_in_it(verb: str, kind: str, name: str, namespace: str) -> str:
    resource = kind.partition(".")[0].lower()
    if resource in _NAMESPACE:
        if verb not in _METADATA:
            return _NO_NAMESPACES
        others = f"namespace {name} is somebody else's" if name else "it is for every namespace"
        return "" if name == namespace else others
    return "" if resource in _RESOURCES else f"{kind} is not known to belong to a namespace"


def _manifests(verb: str, read: Words, stdin: str | None, cwd: Path, namespace: str) -> str:
    if verb not in _OF_A_TYPE | _OF_A_TYPE_AFTER:
        return ""
    if "kustomize" in read.flags:
        return "what a kustomization holds is not seen beforehand (`kubectl kustomize FOLDER | kubectl apply -f -` is)"
    for given in read.flags.get("filename", ()):
        for name in given.split(","):
            if why := _manifest(name, stdin, cwd, namespace, "recursive" in read.flags or "R" in read.flags):
                return why
    return ""


def _manifest(name: str, stdin: str | None, cwd: Path, namespace: str, recursive: bool) -> str:
    import yaml

    if "://" in name:
        return f"what {name} holds is not seen beforehand (download it, then apply the file)"
    try:
        texts = [stdin or ""] if name == "-" else [path.read_text() for path in _files(cwd / name, recursive)]
        documents = [document for text in texts for document in yaml.safe_load_all(text)]
    except FileNotFoundError:
        return ""  # kubectl says so itself
    except (OSError, ValueError, yaml.YAMLError) as error:
        return f"{name} could not be read: {error}"
    return next((why for document in documents if (why := _document(document, namespace))), "")


def _files(path: Path, recursive: bool) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = path.rglob("*") if recursive else path.glob("*")
    return [each for each in found if each.suffix in (".json", ".yaml", ".yml") and each.is_file()]


def _document(document: Any, namespace: str) -> str:
    if not isinstance(document, Mapping):
        return "" if document is None else "a manifest is none of an object"
    kind = str(document.get("kind", ""))
    if isinstance(document.get("items"), list):
        return next((why for item in document["items"] if (why := _document(item, namespace))), "")
    metadata = document.get("metadata")
    where = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    if where not in (None, "", namespace):
        return f"{kind} {metadata.get('name', '')} is for namespace {where}, which is somebody else's"
    if kind == "Namespace":
        return _NO_NAMESPACES
    return "" if kind.lower() in _KINDS else f"a {kind or 'thing without a kind'} is not known to belong to a namespace"


def _istioctl(read: Words, namespace: str) -> str:
    verb = read.verb()
    verb = "experimental" if verb == "x" else verb
    read = Words((verb, *read.plain[1:]), read.flags)
    if verb in ("pc", "proxy-config") and read.verb(1) == "log" and {"level", "reset", "r"} & set(read.flags):
        elsewhere = [word.partition(".")[2] for word in read.plain[2:] if word.partition(".")[2]]
        others = [name for name in (*read.flags.get("namespace", ()), *elsewhere) if name != namespace]
        return f"namespace {others[0]} is somebody else's" if others else ""
    if _only_reads(read, _ISTIOCTL_READS) or _is_dry(read):
        return ""
    return f"`istioctl {verb}` changes what the whole mesh shares"


# -- requests to the API server -----------------------------------------------------------------------
def check_request(method: str, path: str, namespace: str) -> None:
    """Raises NotYours for a request that changes something outside of `namespace`."""
    if why := _outside(method, path, namespace):
        raise refused(f"{method} {path} was not sent.", why, namespace)


def _outside(method: str, path: str, namespace: str) -> str:
    if method.upper() in ("GET", "HEAD"):
        return ""
    parts = path.partition("?")[0].split("/")[1:]
    if parts and not {"", ".", ".."} & set(parts) and "%" not in path:  # no name needs any of these
        # /api/VERSION/… or /apis/GROUP/VERSION/…
        scope = parts[2:] if parts[0] == "api" else parts[3:] if parts[0] == "apis" else []
        if scope[:2] == ["namespaces", namespace] and (len(scope) > 2 or method.upper() == "PATCH"):
            return ""
    return f"{path} is not in namespace {namespace}"
