"""In a cluster that exists already: outside the reader's own namespace for looking only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from labkit.api import words
from labkit.api.policy import Asked, why_not
from labkit.api.relay import refusal
from labkit.backend.answers import NotYours
from labkit.backend.protocol import Backend, Wrapper
from labkit.backend.requests import Answer, Command, Kubernetes, Request
from labkit.commands import PROGRAMS, read


class Guard(Wrapper):
    """Says in a reader's words what the relay would refuse, before anything is sent. Raises NotYours.

    commands: the kubeconfig that commands get, in a home folder that has it too, for who does not ask the environment.
    """

    def __init__(self, inner: Backend, namespace: str, commands: Path) -> None:
        super().__init__(inner)
        self._namespace, self._commands = namespace, commands

    def perform(self, request: Request[Answer]) -> Answer:
        if isinstance(request, Kubernetes):
            asked = Asked(request.method, request.path, looks_into_pods=True)
            self._refuse(f"{request.method} {request.path} was not sent.", why_not(asked, self._namespace))
        if isinstance(request, Command) and not self._looks_into_pods(request):
            env = {"HOME": str(self._commands.parent.parent), "KUBECONFIG": str(self._commands), **request.env}
            its: Any = replace(request, env=env)
            return super().perform(its)
        return super().perform(request)

    def _looks_into_pods(self, command: Command) -> bool:
        program = Path(command.argv[0]).name
        if program not in PROGRAMS:
            return False
        said = read(command.argv)
        self._refuse(f"`{' '.join([program, *command.argv[1:]])}` was not run.", words.why_not(said, self._namespace))
        return words.looks_into_pods(said)

    def _refuse(self, what: str, why: str) -> None:
        if why:
            raise NotYours(
                what,
                refusal(why, self._namespace),
                "ask those who run the cluster; or work in one of the course's own: unset LABKIT_VENUE, and restart "
                "the kernel",
            )
