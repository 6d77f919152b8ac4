"""Objects that break a rule or a size of their kind, each with what a live API server said of it (Kubernetes 1.35)."""

from __future__ import annotations

import json
from typing import Any

import yaml

_GATEWAY, _NETWORKING, _SECURITY = "gateway.networking.k8s.io/v1", "networking.istio.io/v1", "security.istio.io/v1"
_VERSIONS = {
    "DestinationRule": _NETWORKING, "ServiceEntry": _NETWORKING, "VirtualService": _NETWORKING,
    "WorkloadEntry": _NETWORKING, "WorkloadGroup": _NETWORKING, "AuthorizationPolicy": _SECURITY,
    "PeerAuthentication": _SECURITY, "RequestAuthentication": _SECURITY, "Telemetry": "telemetry.istio.io/v1",
    "ProxyConfig": "networking.istio.io/v1beta1", "WasmPlugin": "extensions.istio.io/v1alpha1",
}  # fmt: skip
_ROUTE = "parentRefs: [{name: g}]\nrules: [{backendRefs: [{name: reviews, port: 9080}], %s}]"
_LISTENERS = "gatewayClassName: istio\nlisteners: [%s]"
_HTTP = "{name: http, port: 80, protocol: HTTP}"
_ADDED = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}]}}"
_RENAMED = "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}"

# A kind, a spec, and what is said of it, in any order
BROKEN: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("HTTPRoute", _ROUTE % f"filters: [{_ADDED}, {_ADDED}]",
     ("spec.rules[0].filters: Invalid value: RequestHeaderModifier filter cannot be repeated",)),
    ("HTTPRoute", _ROUTE % "matches: [{path: {value: reviews}}]",
     ("spec.rules[0].matches[0].path: Invalid value: value must be an absolute path and start with '/' when type one "
      "of ['Exact', 'PathPrefix']",)),
    ("HTTPRoute", _ROUTE % "filters: [{type: URLRewrite}]",
     ("spec.rules[0].filters[0]: Invalid value: filter.urlRewrite must be specified for URLRewrite filter.type",)),
    ("HTTPRoute", _ROUTE % "filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]",
     ("spec.rules[0]: Invalid value: RequestRedirect filter must not be used together with backendRefs",)),
    ("HTTPRoute", _ROUTE % "timeouts: {request: 1s, backendRequest: 2s}",
     ("spec.rules[0].timeouts: Invalid value: backendRequest timeout cannot be longer than request timeout",)),
    ("HTTPRoute", _ROUTE % f"matches: [{{path: {{type: RegularExpression, value: x}}}}], filters: [{_RENAMED}]",
     ("spec.rules[0]: Invalid value: When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix "
      "match must be specified",)),
    ("HTTPRoute", "parentRefs: [{name: g}, {name: g, sectionName: a}]\nrules: [{backendRefs: [{name: reviews}]}]",
     ("spec.parentRefs: Invalid value: sectionName must be specified when parentRefs includes 2 or more references to "
      "the same parent", "spec.rules[0].backendRefs[0]: Invalid value: Must have port for Service reference")),
    ("HTTPRoute", f"parentRefs: {[{'name': str(each)} for each in range(33)]}\nrules: [{{}}]",
     ("spec.parentRefs: Too many: 33: must have at most 32 items", "<nil>: Invalid value: null: some validation rules "
      "were not checked because the object was invalid; correct the existing errors to complete validation")),
    ("HTTPRoute", "hostnames: [a_b]\nrules: [{backendRefs: [{name: '', port: 70000}]}]",
     (r"spec.hostnames[0]: Invalid value: "
      r'''"a_b": spec.hostnames[0] in body should match '^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.'''
      r"[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'",
      'spec.rules[0].backendRefs[0].name: Invalid value: "": spec.rules[0].backendRefs[0].name in body should be at '
      "least 1 chars long",
      "spec.rules[0].backendRefs[0].port: Invalid value: 70000: spec.rules[0].backendRefs[0].port in body should be "
      "less than or equal to 65535")),
    ("Gateway", _LISTENERS % "{name: a, port: 80, protocol: TCP, hostname: a.example}",
     ("spec.listeners: Invalid value: hostname must not be specified for protocols ['TCP', 'UDP']",)),
    ("Gateway", _LISTENERS % f"{_HTTP}, {_HTTP}",
     ('spec.listeners[1]: Duplicate value: {"name":"http"}',
      "spec.listeners: Invalid value: Listener name must be unique within the Gateway",
      "spec.listeners: Invalid value: Combination of port, protocol and hostname must be unique for each listener")),
    ("Gateway", _LISTENERS % "{name: a, port: 80, protocol: HTTPS, tls: {mode: Terminate}}",
     ('spec.listeners[0].tls: Invalid value: "object": no such key: certificateRefs evaluating rule: certificateRefs '
      "or options must be specified when mode is Terminate",)),
    ("Gateway", _LISTENERS % "{name: a, port: 0, protocol: HTTP}",
     ("spec.listeners[0].port: Invalid value: 0: spec.listeners[0].port in body should be greater than or equal to "
      "1",)),
    ("GRPCRoute", "rules: [{matches: [{method: {type: Exact}}]}]",
     ("spec.rules[0].matches[0].method: Invalid value: One or both of 'service' or 'method' must be specified",)),
    ("TLSRoute", "hostnames: [1.2.3.4]\nrules: [{backendRefs: [{name: reviews, port: 9080}]}]",
     ("spec.hostnames: Invalid value: Hostnames cannot contain an IP",)),
    ("WorkloadGroup", "template: {ports: {http: 0}, address: 'unix://a'}",
     ("spec.template: Invalid value: UDS may not include ports",
      'spec.template.address: Invalid value: "unix://a": UDS must be an absolute path or abstract socket',
      "spec.template.ports[http]: Invalid value: 0: port must be between 1-65535")),
    ("WorkloadEntry", "labels: {a: b}", ("spec: Invalid value: Address is required",)),
    ("WorkloadEntry", "address: 'unix://'",
     ('spec.address: Invalid value: "string": index out of range: 8 evaluating rule: UDS must be an absolute path or '
      "abstract socket", 'spec.address: Invalid value: "unix://": UDS may not be a dir')),
    ("ServiceEntry", "hosts: [a.example]\nresolution: DNS\naddresses: [10.0.0.0/8]",
     ("spec: Invalid value: CIDR addresses are allowed only for NONE/STATIC resolution types",)),
    ("ServiceEntry", "hosts: ['*']\nports: [{number: 70000, name: a}]",
     ('spec.hosts[0]: Invalid value: "*": hostname cannot be wildcard',
      "spec.ports[0].number: Invalid value: 70000: port must be between 1-65535")),
    ("ServiceEntry", "hosts: [a.example]\nports: [{number: 80, name: a}, {number: 80, name: b}]",
     ("spec.ports: Invalid value: port number cannot be duplicated",)),
    ("ServiceEntry", "hosts: []", ("spec.hosts: Invalid value: 0: spec.hosts in body should have at least 1 items",)),
    ("VirtualService", "hosts: [a]\nhttp: [{timeout: 0s, route: [{destination: {host: a}}]}]",
     ('spec.http[0].timeout: Invalid value: "0s": must be a valid duration greater than 1ms',)),
    ("DestinationRule", "host: a\ntrafficPolicy: {outlierDetection: {interval: soon}}",
     ('spec.trafficPolicy.outlierDetection.interval: Invalid value: "string": type conversion error from \'string\' to '
      "'google.protobuf.Duration' evaluating rule: must be a valid duration greater than 1ms",)),
    ("AuthorizationPolicy", "selector: {matchLabels: {a: b}}\ntargetRefs: [{kind: Gateway, name: a}]",
     ("spec: Invalid value: only one of targetRefs or selector can be set",)),
    ("AuthorizationPolicy", "rules: [{from: [{source: {serviceAccounts: [a], namespaces: [b]}}]}]",
     ("spec.rules[0].from[0].source: Invalid value: Cannot set serviceAccounts with namespaces or principals",)),
    ("PeerAuthentication", "portLevelMtls: {'80': {mode: STRICT}}",
     ("spec: Invalid value: portLevelMtls requires selector",)),
    ("PeerAuthentication", "selector: {matchLabels: {a: b}}\nportLevelMtls: {http: {mode: STRICT}}",
     ('spec.portLevelMtls: Invalid value: "object": type conversion error from \'string\' to \'int\' evaluating rule: '
      "port must be between 1-65535",)),
    ("RequestAuthentication", "jwtRules: [{issuer: a, jwksUri: 'ftp://a/b'}]",
     ('spec.jwtRules[0].jwksUri: Invalid value: "ftp://a/b": url must have scheme http:// or https://',)),
    ("RequestAuthentication", "jwtRules: [{issuer: a, jwksUri: 'https://a:b/'}]",
     ('spec.jwtRules[0].jwksUri: Invalid value: "string": URL parse error during conversion from string: parse '
      '"https://a:b/": invalid port ":b" after host evaluating rule: url must have scheme http:// or https://',)),
    ("Telemetry", "metrics: [{overrides: [{tagOverrides: {a: {operation: UPSERT}}}]}]",
     ('spec.metrics[0].overrides[0].tagOverrides[a]: Invalid value: "object": no such key: value evaluating rule: '
      "value must be set when operation is UPSERT",)),
    ("ProxyConfig", "selector: {matchLabels: {a*: b}}",
     ("spec.selector.matchLabels: Invalid value: wildcard not allowed in label key match",)),
    ("WasmPlugin", "url: ftp://a/b",
     ('spec.url: Invalid value: "ftp://a/b": url must have schema one of [http, https, file, oci]',)),
)  # fmt: skip

# Of those that come near to breaking one
KEPT: tuple[tuple[str, str], ...] = (
    ("HTTPRoute", _ROUTE % f"filters: [{_ADDED}], matches: [{{path: {{value: /reviews}}}}]"),
    ("HTTPRoute", "rules: [{}]"),  # what is left out is a match of every path: https://gateway-api.sigs.k8s.io
    ("Gateway", _LISTENERS % f"{_HTTP}, {{name: a, port: 80, protocol: HTTP, hostname: a.example}}"),
    ("WorkloadEntry", "address: 'unix:///a'"),
    ("ServiceEntry", "hosts: [a.example]\nresolution: STATIC\naddresses: [10.0.0.0/8]"),
    ("DestinationRule", "host: a\ntrafficPolicy: {outlierDetection: {interval: 1m30s}}"),
    ("PeerAuthentication", "selector: {matchLabels: {a: b}}\nportLevelMtls: {'80': {mode: STRICT}}"),
    ("WasmPlugin", "url: oci://a.example/b:1"),
)


def body(kind: str, spec: str, name: str = "tried") -> dict[str, Any]:
    version = _VERSIONS.get(kind, _GATEWAY)
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": yaml.safe_load(spec)}


def manifest(kind: str, spec: str, name: str) -> str:
    return json.dumps(body(kind, spec, name))
