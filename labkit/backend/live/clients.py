"""The clients of HTTP and of the Kubernetes API, each on the way that labkit.backend.live.network tells it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx

from labkit.backend.live import network
from labkit.errors import LabError


def http(timeout: float) -> httpx.Client:
    """An HTTP client; `timeout` in seconds, for each step of a request."""
    return httpx.Client(transport=_Ways(), timeout=timeout, trust_env=False)


class _Ways(httpx.BaseTransport):
    """Each request, a redirected one too, takes the way to its own host."""

    def __init__(self) -> None:
        self._ways: dict[tuple[str, str | None], httpx.HTTPTransport] = {}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        way = (request.url.scheme, network.proxy_for(str(request.url)))
        if way not in self._ways:
            scheme, proxy = way
            # plain HTTP asks nobody whom to trust, and neither waits for that nor fails by it
            tls = network.trusted() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._ways[way] = httpx.HTTPTransport(verify=tls, proxy=proxy)
        return self._ways[way].handle_request(request)

    def close(self) -> None:
        for transport in self._ways.values():
            transport.close()


def kubernetes(kubeconfig: Path) -> Any:
    """A Kubernetes client for a kubeconfig's current context, on the way that `kubectl` takes. Raises LabError."""
    from kubernetes import client, config
    from kubernetes.config import ConfigException
    from urllib3.util import make_headers
    from yaml import YAMLError

    configuration = client.Configuration(proxy="", no_proxy="")
    try:
        config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)
    # a file that is cut, empty, or something else
    except (
        ConfigException, YAMLError, ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError,
    ) as error:  # fmt: skip
        raise LabError(
            f"{kubeconfig} is no kubeconfig.",
            f"{type(error).__name__}: {error}",
            "`labkit down`, then `labkit up`, makes it anew; in a context, start the kernel anew",
        ) from error
    proxy = configuration.proxy or network.proxy_for(configuration.host)  # a kubeconfig's own `proxy-url` comes first
    if proxy and proxy.startswith("socks"):
        raise LabError(
            f"{configuration.host} is behind a SOCKS proxy.",
            "the Kubernetes client reaches an API server through HTTP proxies alone",
            f"name an HTTP proxy with HTTPS_PROXY, or list the host in {network.NOT_PROXIED}",
        )
    # websocket-client asks the environment by itself where it is told of no proxy: it is told of one that nobody needs
    configuration.proxy, configuration.no_proxy = (proxy, "") if proxy else ("http://localhost", "*")
    parts = urlsplit(configuration.proxy)
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        configuration.proxy_headers = make_headers(proxy_basic_auth=login)
    return client.ApiClient(configuration)
