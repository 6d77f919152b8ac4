"""In a cluster that exists already: outside the reader's own namespace for looking only."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from labkit.backend.context import guard, shell
from labkit.backend.protocol import Backend, Wrapper
from labkit.backend.requests import Answer, Command, Kubernetes, Request


class Guard(Wrapper):
    """Lets through to another backend what may be done to somebody else's cluster. Raises NotYours for the rest."""

    def __init__(self, inner: Backend, namespace: str) -> None:
        super().__init__(inner)
        self._namespace = namespace

    def perform(self, request: Request[Answer]) -> Answer:
        if isinstance(request, Kubernetes):
            guard.check_request(request.method, request.path, self._namespace)
        if isinstance(request, Command) and Path(request.argv[0]).name in guard.PROGRAMS:
            guard.check_command(request.argv, request.stdin, request.cwd, self._namespace)
        elif isinstance(request, Command):  # a shell, whose commands are known when it comes to them
            request = replace(request, env={"PATH": shell.path(os.environ), **request.env})
        return super().perform(request)
