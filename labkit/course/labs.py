"""The labs in their order. Data: what stands at a lab's start, its checks, its exercise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from labkit.course import observations as see
from labkit.course.checks import Check
from labkit.course.parts import BOOKINFO, CLUSTER, INJECTION, ISTIO, RELEASE, Part
from labkit.errors import LabError


@dataclass(frozen=True)
class Exercise:
    """A task with its hints, and a solution in kubectl's and istioctl's own words, run in the release's folder."""

    task: str
    hints: tuple[str, ...]
    solution: tuple[str, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Lab:
    """`start`: the parts that stand when it begins, and nothing else. `exercise` is known as `NUMBER.1`."""

    number: str
    title: str
    start: tuple[Part, ...]
    checks: tuple[Check, ...]
    exercise: Exercise


LABS = (
    Lab(
        "00",
        "Start here",
        (CLUSTER,),
        (
            Check("the API server is ready", see.api_server_is_ready, "run `up(until='cluster')`"),
            Check("the cluster has one node, and it is ready", see.node_is_ready, "run `up(until='cluster')`"),
            Check(
                "commands reach the course's own cluster and no other",
                see.kubeconfig_is_the_courses,
                "run `up(until='cluster')`: it writes the course's own kubeconfig anew",
            ),
        ),
        Exercise(
            "Make a namespace called `hello`.",
            ("A namespace is made with `kubectl create`.", "`%kubectl create --help` lists what can be created."),
            ("kubectl create namespace hello",),
            (
                Check(
                    "the namespace hello is there",
                    partial(see.namespace_exists, "hello"),
                    "run `%kubectl create namespace hello`",
                ),
            ),
        ),
    ),
    Lab(
        "01",
        "What is a service mesh?",
        (CLUSTER,),
        (
            Check("no pod has a proxy", see.no_sidecars, "run the cell that deploys Bookinfo without a mesh"),
            Check(
                "thirty requests over one connection reach one pod",
                see.one_connection_reaches_one_pod,
                "deploy Bookinfo and the client in namespace without-mesh, as the cells above do",
            ),
            Check(
                "a caller without an identity is served",
                see.stranger_is_served,
                "deploy Bookinfo and the client in namespace without-mesh, as the cells above do",
            ),
            Check(
                "the reviews service counts nothing for anybody",
                see.nobody_counts,
                "deploy Bookinfo and the client in namespace without-mesh, as the cells above do",
            ),
        ),
        Exercise(
            "Show that a pod in another namespace, `stranger`, may call `details` too.",
            (
                "`%kubectl create namespace` makes it; `mesh.traffic.deploy_client` puts the client in any namespace.",
                "A service in another namespace is called by `SERVICE.NAMESPACE`: `http://details.without-mesh:9080/…`.",
            ),
            (
                "kubectl create namespace stranger",
                "kubectl apply --namespace stranger -f samples/curl/curl.yaml",
                "kubectl wait --namespace stranger --for=condition=available deployment/curl --timeout=120s",
            ),
            (
                Check(
                    "details serves a pod from namespace stranger",
                    see.stranger_reaches_details,
                    "make the namespace, and deploy the client in it",
                ),
            ),
        ),
    ),
    Lab(
        "02",
        "Download Istio",
        (CLUSTER,),
        (
            Check("the release's folder is complete", see.release_is_unpacked, "run the cell with `release.unpack`"),
            Check(
                "istioctl is on the PATH",
                see.istioctl_is_on_the_path,
                "run the cell that installs bin/istioctl into $LABKIT_BIN",
            ),
            Check(
                "istioctl is the release's own version",
                see.istioctl_is_the_pinned_version,
                "install bin/istioctl from the folder that you unpacked",
            ),
        ),
        Exercise(
            "Deploy another of the samples, httpbin, in a namespace called `samples`.",
            ("`%%shell` with `ls samples/httpbin` shows its manifests.", "`kubectl apply` takes `--namespace`."),
            (
                "kubectl create namespace samples",
                "kubectl apply --namespace samples -f samples/httpbin/httpbin.yaml",
                "kubectl wait --namespace samples --for=condition=available deployment/httpbin --timeout=120s",
            ),
            (
                Check(
                    "httpbin is available in namespace samples",
                    see.httpbin_answers,
                    "make the namespace, and apply samples/httpbin/httpbin.yaml in it",
                ),
            ),
        ),
    ),
    Lab(
        "03",
        "Install profiles",
        (CLUSTER, RELEASE),
        (
            Check(
                "istiod and both gateways are available",
                see.istio_is_available,
                "run `%istioctl install --set profile=demo -y`",
            ),
            Check(
                "istiod is the release's own version",
                see.istiod_is_the_pinned_version,
                "run `%istioctl install --set profile=demo -y` with the istioctl of notebook 02",
            ),
            Check("istiod answers the injection webhook", see.webhook_answers, "run the install cell again"),
        ),
        Exercise(
            "Nothing here needs the egress gateway. Install the demo profile without it.",
            (
                "A component is switched with `--set components.…`; the profile's own file shows its name.",
                "`egressGateways` is a list: its first entry is `components.egressGateways[0]`.",
            ),
            ("istioctl install --set profile=demo --set components.egressGateways[0].enabled=false -y",),
            (
                Check(
                    "istiod and the ingress gateway are there, the egress gateway is not",
                    see.egress_gateway_is_gone,
                    "install with `--set components.egressGateways[0].enabled=false`",
                ),
            ),
        ),
    ),
    Lab(
        "04",
        "Inject sidecars",
        (CLUSTER, RELEASE, ISTIO),
        (
            Check(
                "the namespace default asks for sidecars",
                see.namespace_is_labelled,
                "run `%kubectl label namespace default istio-injection=enabled --overwrite`",
            ),
            Check(
                "the curl pod has a sidecar",
                see.client_has_a_sidecar,
                "restart it: `%kubectl rollout restart deployment/curl`",
            ),
            Check(
                "the curl pod's traffic is redirected through the sidecar",
                see.client_is_redirected,
                "restart it: `%kubectl rollout restart deployment/curl`",
            ),
        ),
        Exercise(
            "Deploy httpbin in `default`, labelled as it is, without a sidecar.",
            (
                "A pod's own label wins over its namespace's.",
                'The label is `sidecar.istio.io/inject: "false"`, in the Deployment\'s pod template.',
            ),
            (
                "kubectl apply -f samples/httpbin/httpbin.yaml",
                "kubectl patch deployment httpbin --patch "
                '\'{"spec": {"template": {"metadata": {"labels": {"sidecar.istio.io/inject": "false"}}}}}\'',
                "kubectl rollout status deployment/httpbin --timeout=120s",
            ),
            (
                Check(
                    "httpbin runs without a sidecar in a namespace that asks for them",
                    see.httpbin_opted_out,
                    "label the pod template with sidecar.istio.io/inject=false",
                ),
            ),
        ),
    ),
    Lab(
        "05",
        "Deploy Bookinfo",
        (CLUSTER, RELEASE, ISTIO, INJECTION),
        (
            Check(
                "all six deployments are available",
                see.bookinfo_is_available,
                "run `%kubectl apply -f samples/bookinfo/platform/kube/bookinfo.yaml`",
            ),
            Check(
                "each of its pods has a sidecar",
                see.every_pod_has_a_sidecar,
                "label the namespace, then `%kubectl rollout restart deployment`",
            ),
            Check(
                "the ratings pod gets the product page",
                see.title_from_ratings,
                "wait until `%kubectl get pods` shows every pod ready",
            ),
        ),
        Exercise(
            "Run two pods of ratings, both in the mesh.",
            ("A Deployment's `replicas` say how many pods it keeps.", "`kubectl scale` changes them in one command."),
            (
                "kubectl scale deployment/ratings-v1 --replicas=2",
                "kubectl rollout status deployment/ratings-v1 --timeout=120s",
            ),
            (
                Check(
                    "two ready pods of ratings, each with a sidecar",
                    see.two_ratings_behind_the_service,
                    "run `%kubectl scale deployment/ratings-v1 --replicas=2`",
                ),
            ),
        ),
    ),
    Lab(
        "06",
        "Expose a gateway",
        (CLUSTER, RELEASE, ISTIO, INJECTION, BOOKINFO),
        (
            Check(
                "the VirtualService is bound to a Gateway that exists",
                see.gateway_is_bound,
                "run `%kubectl apply -f samples/bookinfo/networking/bookinfo-gateway.yaml`",
            ),
            Check("the page opens from outside the cluster", see.page_from_outside, "run `%istioctl analyze`"),
            Check("istioctl analyze finds nothing", see.nothing_to_complain, "read what `%istioctl analyze` names"),
        ),
        Exercise(
            "Open `/ratings` to the outside as well, through the same Gateway.",
            (
                "A second VirtualService may be bound to the same Gateway.",
                "It matches `uri.prefix: /ratings` and routes to `ratings`, port 9080.",
            ),
            ("kubectl apply -f $LABKIT_MANIFESTS/06-ratings-outside.yaml",),
            (
                Check(
                    "ratings answer from outside the cluster",
                    see.ratings_from_outside,
                    "bind a VirtualService with a /ratings prefix to bookinfo-gateway",
                ),
            ),
        ),
    ),
)


def lab(number: str) -> Lab:
    """The lab of a two-digit number. Raises LabError."""
    found = [lab for lab in LABS if lab.number == number]
    if not found:
        known = ", ".join(lab.number for lab in LABS)
        raise LabError(f"There is no lab {number!r}.", f"the labs are {known}", "name one of them, as text: '05'")
    return found[0]


def exercise(number: str) -> Exercise:
    """The exercise known as `05.1`. Raises LabError."""
    of_lab, _, which = number.partition(".")
    if which != "1":
        raise LabError(
            f"There is no exercise {number!r}.", "each lab has one, known as NUMBER.1", f"name it so: '{of_lab}.1'"
        )
    return lab(of_lab).exercise
