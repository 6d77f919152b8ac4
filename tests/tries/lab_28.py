"""Tries at the exercises of lab 28."""

from __future__ import annotations

from tries import Tries
from tries.steps import ours, remedies

_ASKING = remedies("28", 0)
_SERVED = (
    "kubectl apply -f samples/curl/curl.yaml -f samples/httpbin/httpbin.yaml",
    "kubectl rollout status deployment/curl --timeout=120s",
    "kubectl rollout status deployment/httpbin --timeout=120s",
    ours("14-fresh-connections"),
)


def _script(name: str, app: str, code: str, more: str = "") -> str:
    """As a reader would write it: `more` is a field of its own beside the script."""
    lines = "".join(f"      {line}\n" for line in code.splitlines())
    text = (
        "apiVersion: extensions.istio.io/v1alpha1\nkind: TrafficExtension\n"
        f"metadata:\n  name: {name}\nspec:\n  selector:\n    matchLabels: {{app: {app}}}\n{more}"
        f"  lua:\n    inlineCode: |\n{lines}"
    )
    return f"kubectl apply -f - <<'END'\n{text}END"


_TRANSLATE = """function envoy_on_request(request)
  if request:headers():get("x-key") == "sesame" then
    request:headers():replace("x-ext-authz", "allow")
  end
end"""
_ALWAYS = """function envoy_on_request(request)
  request:headers():replace("x-ext-authz", "allow")
end"""
_GUARD = """function envoy_on_request(request)
  local key = request:headers():get("x-key")
  if request:headers():get(":path") == "/ip" and %s then
    request:respond({[":status"] = "403"}, "no key, no answer")
  end
end"""

TRIES = {
    "28.1": Tries(
        before=_ASKING,
        wrong=(
            "kubectl patch deployment ext-authz --type=json --patch "
            """'[{"op": "add", "path": "/spec/template/spec/containers/0/args", """
            """"value": ["-allow_service_account=spiffe://cluster.local/ns/default/sa/curl"]}]'""",
            "kubectl rollout status deployment/ext-authz --timeout=120s",
            ours("28-ask-grpc"),
        ),
        why="The server is told who asks, but compares the account's bare name.",
        fails={"curl is let in": "curl, no header: 403"},
        right=(_script("introduce", "curl", _ALWAYS),),  # who comes from curl's proxy has the header
    ),
    "28.2": Tries(
        before=_ASKING,
        wrong=(
            _script("translate", "ratings", _TRANSLATE, "  match:\n  - mode: CLIENT\n    ports:\n    - number: 8080\n"),
        ),
        why="The proxy is the right one, but the port of a request that a pod sends is the Service's, not the pod's.",
        fails={"gets in by its key": "sesame: 403"},
        right=(_script("translate", "ratings", _TRANSLATE),),
    ),
    "28.3": Tries(
        before=_SERVED,
        wrong=(_script("guard", "httpbin", _GUARD % 'key:lower() ~= "sesame"', "  phase: AUTHN\n"),),
        why="Sooner in the chain it fails as well, and a script that fails lets the request go on.",
        fails={"without the key nobody": "no key: 200"},
        right=(_script("guard", "httpbin", _GUARD % '(key == nil or key:lower() ~= "sesame")'),),
    ),
}
