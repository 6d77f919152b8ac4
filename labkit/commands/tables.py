"""What kubectl 1.35, istioctl 1.31 and helm 4.3 can be told. A test compares each table with the program's `--help`.

https://kubernetes.io/docs/reference/kubectl/generated/ · https://istio.io/latest/docs/reference/commands/istioctl/
https://helm.sh/docs/helm/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Effect(Enum):
    """What a command does to a cluster."""

    LOOKS = "looks"
    CHANGES = "changes"
    LEVELS = "changes where it sets a level of logging"


Verbs = Mapping[str, "Effect | Verbs"]
LOOKS, CHANGES, LEVELS = Effect


@dataclass(frozen=True)
class Program:
    """verbs: with the verbs that stand beneath them; "" is the verb without any of these. aliases: other names of a
    verb, by what it stands beneath. without_value: flags that take none, or one only after `=`. short: the flag that a
    letter stands for. otherwise: the same where a verb means something else by it. switched: flags that take a value
    with this verb alone, or with all but this one.
    """

    verbs: Verbs
    aliases: Mapping[str, Mapping[str, str]]
    without_value: frozenset[str]
    short: Mapping[str, str]
    otherwise: Mapping[str, Mapping[str, str]]
    switched: Mapping[str, frozenset[str]]


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _all(effect: Effect, names: str) -> dict[str, Effect | Verbs]:
    return dict.fromkeys(names.split(), effect)


KUBECTL = Program(
    verbs={
        **_all(LOOKS, "api-resources api-versions cluster-info completion describe diff events explain get help "
                      "kustomize logs options plugin top version wait"),
        # what they do inside a pod is for the pod to say; the cluster's objects stay as they are
        **_all(LOOKS, "attach exec port-forward proxy"),
        **_all(CHANGES, "annotate autoscale certificate cordon cp create debug delete drain edit expose label patch "
                        "replace run scale set taint uncordon"),
        "alpha": {"kuberc": _all(LOOKS, "view") | _all(CHANGES, "set")},
        "apply": {"": CHANGES} | _all(LOOKS, "view-last-applied") | _all(CHANGES, "edit-last-applied set-last-applied"),
        "auth": _all(LOOKS, "can-i whoami") | _all(CHANGES, "reconcile"),
        "config": _all(LOOKS, "current-context get-clusters get-contexts get-users view")
        | _all(CHANGES, "delete-cluster delete-context delete-user rename-context set set-cluster set-context "
                        "set-credentials unset use-context"),
        "rollout": _all(LOOKS, "history status") | _all(CHANGES, "pause restart resume undo"),
    },
    aliases={},
    without_value=_names(
        "all all-containers all-namespaces all-pods allow-missing-template-keys append-hash append-server-path "
        "arguments-only as-current-user attach cached cascade client command create-annotation current "
        "delete-emptydir-data disable-compression disable-eviction disable-filter dry-run edit embed-certs "
        "enable-alpha-plugins enable-helm exec-provide-cluster-info expose flatten follow force force-conflicts "
        "global-default helm-debug help ignore-daemonsets ignore-errors ignore-not-found "
        "insecure-skip-tls-verify insecure-skip-tls-verify-backend interactive keep-annotations "
        "keep-init-containers keep-labels keep-liveness keep-readiness keep-startup leave-stdin-open list local "
        "match-server-version merge minify name-only namespaced network no-headers no-preserve now "
        "openapi-patch output-patch output-watch-events overwrite previous privileged prune quiet recursive "
        "remove-extra-permissions remove-extra-subjects replace resolve rm same-node save-config server-print "
        "server-side set-raw-bytes share-processes show-capacity show-events show-kind show-labels "
        "show-managed-fields show-swap stdin sum timestamps tty use-protocol-buffers validate wait "
        "warnings-as-errors watch watch-only windows-line-endings"
    ),
    short={
        "A": "all-namespaces", "L": "label-columns", "P": "www-prefix", "R": "recursive", "c": "container",
        "e": "env", "f": "filename", "h": "help", "i": "stdin", "k": "kustomize", "l": "selector", "n": "namespace",
        "o": "output", "p": "patch", "q": "quiet", "r": "replicas", "s": "server", "t": "tty", "u": "unix-socket",
        "v": "v", "w": "watch",
    },
    otherwise={
        "delete": {"i": "interactive"},
        "expose": {"l": "labels"},
        "logs": {"f": "follow", "p": "previous"},
        "proxy": {"p": "port", "w": "www"},
        "run": {"l": "labels"},
        "set": {"c": "containers"},
    },
    switched={
        "alpha kuberc set": frozenset({"command"}),
        "config view": frozenset({"raw"}),
        "logs": frozenset({"prefix"}),
        "top pod": frozenset({"containers"}),
    },
)  # fmt: skip

_OF_A_PROXY = "all bootstrap cluster ecds endpoint listener rootca-compare route secret"
ISTIOCTL = Program(
    verbs={
        **_all(LOOKS, "analyze authz bug-report completion dashboard help kube-inject options proxy-status "
                      "remote-clusters validate version"),
        **_all(CHANGES, "create-remote-secret install uninstall upgrade"),
        "admin": {"log": LEVELS},
        "experimental": {
            **_all(LOOKS, "authz check-inject config describe envoy-stats injector internal-debug metrics precheck "
                          "proxy-status version"),
            "workload": {"entry": CHANGES, "group": LOOKS},
        },
        "manifest": _all(LOOKS, "generate translate") | _all(CHANGES, "install"),
        "proxy-config": _all(LOOKS, _OF_A_PROXY) | {"log": LEVELS},
        "tag": _all(LOOKS, "generate list") | _all(CHANGES, "remove set"),
        "waypoint": _all(LOOKS, "generate list status") | _all(CHANGES, "apply delete"),
        "ztunnel-config": _all(LOOKS, "all certificate connections policy service workload") | {"log": LEVELS},
    },
    aliases={
        "": {
            "apply": "install", "d": "dashboard", "dash": "dashboard", "exp": "experimental", "istiod": "admin",
            "pc": "proxy-config", "ps": "proxy-status", "v": "validate", "x": "experimental", "zc": "ztunnel-config",
        },
        "admin": {"l": "log"},
        "experimental": {"des": "describe", "es": "envoy-stats", "m": "metrics", "ps": "proxy-status"},
        "manifest": {"apply": "install"},
        "proxy-config": {
            "a": "all", "b": "bootstrap", "c": "cluster", "clusters": "cluster", "ec": "ecds", "endpoints": "endpoint",
            "ep": "endpoint", "l": "listener", "listeners": "listener", "o": "log", "r": "route",
            "rc": "rootca-compare", "routes": "route", "s": "secret", "secrets": "secret",
        },
        "tag": {"delete": "remove", "show": "list"},
        "ztunnel-config": {
            "cert": "certificate", "certificates": "certificate", "certs": "certificate", "cons": "connections",
            "o": "log", "p": "policy", "pol": "policy", "policies": "policy", "s": "service", "services": "service",
            "svc": "service", "w": "workload", "workloads": "workload",
        },
    },
    without_value=_names(
        "all all-namespaces auto-inject-namespaces autoregister browser capture-dns cluster-specific color "
        "create-service-account dry-run enroll-namespace force full-secrets help ignore-unknown ignoreUnmeshed "
        "insecure list list-analyzers log-reset no-descriptions overwrite plaintext purge raw recursive remote reset "
        "short skip-analyze skip-cluster-dump skip-confirmation skip-controlplane skip-coredumps "
        "skip-netstat skip-proxy-debug stack-trace-reset use-kube verbose verify wait with-headers"
    ),
    short={
        "A": "all-namespaces", "L": "list-analyzers", "R": "recursive", "S": "suppress", "c": "kubeconfig",
        "d": "manifests", "f": "filename", "h": "help", "i": "istioNamespace", "k": "use-kube", "l": "selector",
        "n": "namespace", "o": "output", "p": "port", "r": "revision", "s": "set", "t": "type", "v": "verbose",
        "w": "wait", "y": "skip-confirmation",
    },
    otherwise={
        "bug-report version": {"s": "short"},
        "experimental authz": {"f": "file"},
        "experimental check-inject": {"l": "labels"},
        "experimental internal-debug": {"L": "list"},
        "experimental metrics": {"d": "duration"},
        "experimental precheck": {"f": "from-version"},
        "experimental proxy-status": {"v": "verbosity"},
        "experimental version": {"s": "short"},
        "experimental workload entry": {"f": "file"},
        "experimental workload group": {
            "a": "annotations", "l": "labels", "p": "ports", "s": "serviceAccount", "w": "weight",
        },
        "proxy-config": {"f": "file"},
        "proxy-config log": {"r": "reset"},
        "proxy-status": {"v": "verbosity"},
        "version": {"s": "short"},
        "ztunnel-config": {"f": "file"},
        "ztunnel-config log": {"r": "reset"},
    },
    switched={},
)  # fmt: skip

# What a verb of helm's does to files on this machine counts as a change, as with `kubectl config`
HELM = Program(
    verbs={
        **_all(LOOKS, "completion env help history lint list pull search show status template verify version"),
        **_all(CHANGES, "create install package push rollback test uninstall upgrade"),
        "dependency": _all(LOOKS, "list") | _all(CHANGES, "build update"),
        "get": _all(LOOKS, "all hooks manifest metadata notes values"),
        "plugin": _all(LOOKS, "list verify") | _all(CHANGES, "install package uninstall update"),
        "registry": _all(CHANGES, "login logout"),
        "repo": _all(LOOKS, "list") | _all(CHANGES, "add index remove update"),
    },
    aliases={
        "": {
            "del": "uninstall", "delete": "uninstall", "dep": "dependency", "dependencies": "dependency",
            "fetch": "pull", "hist": "history", "inspect": "show", "ls": "list", "un": "uninstall",
        },
        "dependency": {"ls": "list", "up": "update"},
        "plugin": {"add": "install", "ls": "list", "remove": "uninstall", "rm": "uninstall", "up": "update"},
        "repo": {"ls": "list", "rm": "remove", "up": "update"},
    },
    without_value=_names(
        "all all-namespaces allow-deprecated-repos atomic cleanup-on-fail create-namespace date debug "
        "dependency-update deployed devel disable-openapi-validation dry-run enable-dns fail-on-no-result failed force "
        "force-conflicts force-replace force-update generate-name help hide-notes hide-secret ignore-not-found "
        "include-crds insecure insecure-skip-tls-verify install is-upgrade json keep-history "
        "kube-insecure-skip-tls-verify list-repo-url logs no-descriptions no-headers no-hooks pass-credentials "
        "password-stdin pending plain-http prov quiet regexp release-name render-subchart-notes replace "
        "reset-then-reuse-values reset-values reuse-values reverse rollback-on-failure server-side short "
        "show-rollback-revision sign skip-crds skip-refresh skip-schema-validation skip-tests strict superseded "
        "take-ownership uninstalled uninstalling untar verify versions wait wait-for-jobs with-subcharts"
    ),
    short={
        "A": "all-namespaces", "a": "all", "d": "destination", "f": "values", "g": "generate-name", "h": "help",
        "i": "install", "l": "labels", "m": "max", "n": "namespace", "o": "output", "p": "password", "q": "short",
        "r": "reverse", "s": "show-only", "u": "username",
    },
    otherwise={
        "create": {"p": "starter"},
        "list": {"d": "date", "f": "filter", "l": "selector"},
        "package": {"u": "dependency-update"},
        "search repo": {"l": "versions", "r": "regexp"},
        "template": {"a": "api-versions"},
    },
    switched={"rollback": frozenset({"server-side"}), "upgrade": frozenset({"server-side"})},
)  # fmt: skip
