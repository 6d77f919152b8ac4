"""The kinds of object that the course speaks of. A test compares the table with what the API server says of itself.

https://kubernetes.io/docs/reference/using-api/api-concepts/#standard-api-terminology
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from labkit.errors import LabError


@dataclass(frozen=True)
class Kind:
    """kind: as a manifest names it. plural: as a path of the API does. group: "" for the core's. short: kubectl's."""

    kind: str
    plural: str
    group: str
    version: str
    short: tuple[str, ...]
    namespaced: bool

    @property
    def singular(self) -> str:
        """As kubectl tells of one."""
        return self.kind.lower()

    @property
    def root(self) -> str:
        """Where the API server has its version of the group."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


_CLUSTER = """
Namespace namespaces v1 ns
Node nodes v1 no
PersistentVolume persistentvolumes v1 pv
MutatingWebhookConfiguration mutatingwebhookconfigurations admissionregistration.k8s.io/v1
ValidatingWebhookConfiguration validatingwebhookconfigurations admissionregistration.k8s.io/v1
CustomResourceDefinition customresourcedefinitions apiextensions.k8s.io/v1 crd crds
CertificateSigningRequest certificatesigningrequests certificates.k8s.io/v1 csr
IngressClass ingressclasses networking.k8s.io/v1
ClusterRole clusterroles rbac.authorization.k8s.io/v1
ClusterRoleBinding clusterrolebindings rbac.authorization.k8s.io/v1
PriorityClass priorityclasses scheduling.k8s.io/v1 pc
StorageClass storageclasses storage.k8s.io/v1 sc
GatewayClass gatewayclasses gateway.networking.k8s.io/v1 gc
"""
_NAMESPACED = """
ConfigMap configmaps v1 cm
Endpoints endpoints v1 ep
Event events v1 ev
LimitRange limitranges v1 limits
PersistentVolumeClaim persistentvolumeclaims v1 pvc
Pod pods v1 po
PodTemplate podtemplates v1
ReplicationController replicationcontrollers v1 rc
ResourceQuota resourcequotas v1 quota
Secret secrets v1
Service services v1 svc
ServiceAccount serviceaccounts v1 sa
DaemonSet daemonsets apps/v1 ds
Deployment deployments apps/v1 deploy
ReplicaSet replicasets apps/v1 rs
StatefulSet statefulsets apps/v1 sts
HorizontalPodAutoscaler horizontalpodautoscalers autoscaling/v2 hpa
CronJob cronjobs batch/v1 cj
Job jobs batch/v1
Lease leases coordination.k8s.io/v1
EndpointSlice endpointslices discovery.k8s.io/v1
Ingress ingresses networking.k8s.io/v1 ing
NetworkPolicy networkpolicies networking.k8s.io/v1 netpol
PodDisruptionBudget poddisruptionbudgets policy/v1 pdb
Role roles rbac.authorization.k8s.io/v1
RoleBinding rolebindings rbac.authorization.k8s.io/v1
TrafficExtension trafficextensions extensions.istio.io/v1alpha1
WasmPlugin wasmplugins extensions.istio.io/v1alpha1
DestinationRule destinationrules networking.istio.io/v1 dr
EnvoyFilter envoyfilters networking.istio.io/v1alpha3
Gateway gateways networking.istio.io/v1 gw
ProxyConfig proxyconfigs networking.istio.io/v1beta1
ServiceEntry serviceentries networking.istio.io/v1 se
Sidecar sidecars networking.istio.io/v1
VirtualService virtualservices networking.istio.io/v1 vs
WorkloadEntry workloadentries networking.istio.io/v1 we
WorkloadGroup workloadgroups networking.istio.io/v1 wg
AuthorizationPolicy authorizationpolicies security.istio.io/v1 ap
PeerAuthentication peerauthentications security.istio.io/v1 pa
RequestAuthentication requestauthentications security.istio.io/v1 ra
Telemetry telemetries telemetry.istio.io/v1 telemetry
Gateway gateways gateway.networking.k8s.io/v1 gtw
BackendTLSPolicy backendtlspolicies gateway.networking.k8s.io/v1 btlspolicy
GRPCRoute grpcroutes gateway.networking.k8s.io/v1
HTTPRoute httproutes gateway.networking.k8s.io/v1
ReferenceGrant referencegrants gateway.networking.k8s.io/v1 refgrant
TLSRoute tlsroutes gateway.networking.k8s.io/v1
"""


def _read(table: str, *, namespaced: bool) -> Iterator[Kind]:
    for line in table.strip().splitlines():
        kind, plural, api_version, *short = line.split()
        group, _, version = api_version.rpartition("/")
        yield Kind(kind, plural, group, version, tuple(short), namespaced)


KINDS: tuple[Kind, ...] = (*_read(_CLUSTER, namespaced=False), *_read(_NAMESPACED, namespaced=True))


def by_plural(plural: str, group: str) -> Kind:
    """The kind of this plural in this group. Raises LabError for one that the course does not speak of."""
    return _only([kind for kind in KINDS if (kind.plural, kind.group) == (plural, group)], plural, group)


def by_kind(name: str, group: str) -> Kind:
    """The kind that a manifest of this group names so. Raises LabError for one that the course does not speak of."""
    return _only([kind for kind in KINDS if (kind.kind, kind.group) == (name, group)], name, group)


def _only(found: list[Kind], name: str, group: str) -> Kind:
    if not found:
        raise LabError(
            f"The course knows no {name} in API group {group!r}.",
            "labkit/commands/kinds.py has the kinds that it speaks of",
            "check the word and the group; `%kubectl api-resources` lists what the cluster has",
        )
    return found[0]


def called(name: str) -> list[Kind]:
    """The kinds that kubectl knows by this name: plural, singular or short, and a group where one is named."""
    word, _, group = name.lower().partition(".")
    group = group.partition("/")[0]
    found = [kind for kind in KINDS if word in (kind.plural, kind.singular, *kind.short)]
    return [kind for kind in found if not group or f".{group}.".endswith(f".{kind.group}.")]
