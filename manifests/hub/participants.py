"""What the hub does for a participant: before their server starts, and after it has stopped.

The chart puts this file and participant.yaml into the hub's pod (values.yaml, hub.extraFiles) and runs it as a part of
its configuration: `c` is JupyterHub's, `get_config` reads the values.
"""

import asyncio
import json
from pathlib import Path

import yaml
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from z2jh import get_config

API = "https://kubernetes.default.svc"
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
OBJECTS = Path(__file__).with_name("participant.yaml")
COURSE = get_config("custom.course")
PLURALS = {
    "Deployment": "deployments", "LimitRange": "limitranges", "Namespace": "namespaces",
    "NetworkPolicy": "networkpolicies", "ResourceQuota": "resourcequotas", "RoleBinding": "rolebindings",
    "Service": "services", "ServiceAccount": "serviceaccounts",
}  # fmt: skip
LEAVING = 180  # seconds in which a namespace is gone


class Refused(Exception):
    """JupyterHub shows `jupyterhub_message` to whoever waits for their server."""

    def __init__(self, message):
        super().__init__(message)
        self.jupyterhub_message = message


def fits(spawner, pod):
    """Refuse an image of another version of the course. A profile may have named it: only the pod tells."""
    image = pod.spec.containers[0].image
    tag = image.rpartition(":")[2]
    if tag != COURSE:
        raise Refused(
            f"This hub is set up for version {COURSE} of the course, and the image {image} holds {tag}. "
            f"Set singleuser.image.tag to {COURSE}, or install the hub from the image's own version of the course."
        )
    return pod


async def before(spawner):
    """Make what the shared mesh needs of somebody's own."""
    name = own_name(spawner)
    spawner.extra_labels = {**spawner.extra_labels, "istio-lab/participant": name}
    if not is_shared(spawner):
        return
    await until_gone(f"lab-{name}")
    text, owner = OBJECTS.read_text().replace("PARTICIPANT", name), ""
    for document in yaml.safe_load_all(text):
        applied = await apply(json.loads(json.dumps(document).replace("OWNER", owner)))
        owner = owner or applied["metadata"]["uid"]


async def after(spawner):
    """Nothing of the shared mesh is kept: a participant who comes back begins at any lab with `goto`."""
    if is_shared(spawner):
        name = own_name(spawner)
        await ask("DELETE", f"/api/v1/namespaces/lab-{name}", missing_is_fine=True)


def own_name(spawner):
    """The participant's name as a name in Kubernetes, as `{username}` in the values is."""
    return spawner._expand_user_properties("{username}")


def is_shared(spawner):
    return (spawner.user_options or {}).get("profile") == "shared"


async def until_gone(namespace):
    for _ in range(LEAVING):
        found = await ask("GET", f"/api/v1/namespaces/{namespace}", missing_is_fine=True)
        if not found or "deletionTimestamp" not in found["metadata"]:
            return
        await asyncio.sleep(1)
    raise Refused(f"The namespace {namespace} of an earlier server is still being deleted. Try again in a minute.")


async def apply(document):
    """https://kubernetes.io/docs/reference/using-api/server-side-apply/"""
    group, meta = document["apiVersion"], document["metadata"]
    path = f"/apis/{group}" if "/" in group else f"/api/{group}"
    scope = f"/namespaces/{meta['namespace']}" if "namespace" in meta else ""
    path += f"{scope}/{PLURALS[document['kind']]}/{meta['name']}?fieldManager=istio-lab-hub&force=true"
    return await ask("PATCH", path, document)


async def ask(method, path, document=None, missing_is_fine=False):
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    if document:
        headers["Content-Type"] = "application/apply-patch+yaml"
    body = json.dumps(document) if document else None
    request = HTTPRequest(API + path, method, headers, body, ca_certs=str(ACCOUNT / "ca.crt"))
    try:
        answer = await AsyncHTTPClient().fetch(request)
    except HTTPClientError as error:
        if error.code == 404 and missing_is_fine:
            return None
        raise RuntimeError(f"{method} {path}: {error.code} {error.response and error.response.body}") from error
    return json.loads(answer.body)


c.KubeSpawner.modify_pod_hook = fits  # noqa: F821
c.KubeSpawner.pre_spawn_hook = before  # noqa: F821
c.KubeSpawner.post_stop_hook = after  # noqa: F821
