"""Tries at the exercises of lab 03."""

from __future__ import annotations

from tries import Tries
from tries.steps import remedies

_WITHOUT_EGRESS = "--set profile=demo --set components.egressGateways[0].enabled=false"

TRIES = {
    "03.1": Tries(
        before=remedies("03", 0),
        wrong=("istioctl install --set profile=default -y",),
        why="The default profile has no egress gateway, but much else of demo goes with it.",
        fails={"the profile is still demo": "accessLogFile: not set"},
        right=(
            """istioctl install -y -f - <<'END'
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec:
  profile: demo
  components:
    egressGateways:
    - name: istio-egressgateway
      enabled: false
END""",
        ),
    ),
    "03.2": Tries(
        before=(f"istioctl install {_WITHOUT_EGRESS} -y",),
        wrong=(
            "kubectl rollout restart deployment/istiod --namespace istio-system",
            "kubectl rollout status deployment/istiod --namespace istio-system --timeout=120s",
        ),
        why="istiod answers the webhook, and keeps its certificate up to date, but it does not make it.",
        fails={"asks for a sidecar is given one": "init containers: none"},
        right=(f"istioctl manifest generate {_WITHOUT_EGRESS} | kubectl apply --server-side --force-conflicts -f -",),
    ),
    "03.3": Tries(
        before=(f"istioctl install {_WITHOUT_EGRESS} -y",),
        wrong=(f"istioctl install {_WITHOUT_EGRESS} --set values.global.proxy.resources.requests.memory=64Mi -y",),
        why="The value of that name under global.proxy is for the sidecars and gateways, not for istiod.",
        fails={"istiod asks for 64Mi": "istiod asks for 100Mi"},
        right=("kubectl set resources deployment/istiod --namespace istio-system --requests=memory=64Mi",),
    ),
}
