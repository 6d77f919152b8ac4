"""The Istio lab course's helper package: the names that notebooks use, and nothing else.

Everything is imported when it is first used, so that `import labkit` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from labkit import mesh, show
    from labkit.cluster import release
    from labkit.notebook import (
        break_it,
        check,
        doctor,
        explore,
        goto,
        hint,
        outcome,
        predict,
        solution,
        solve,
        stage,
        stop,
        up,
        watch,
        what_changed,
    )

__all__ = [
    "break_it", "check", "doctor", "explore", "goto", "hint", "mesh", "outcome", "predict", "release", "show",
    "solution", "solve", "stage", "stop", "up", "watch", "what_changed",
]  # fmt: skip

_MODULES = {"mesh": "labkit.mesh", "release": "labkit.cluster.release", "show": "labkit.show"}


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """`%load_ext labkit`: the mesh that this kernel works on, and the magics %kubectl, %istioctl, %helm, %%shell."""
    from labkit.notebook import choosing, magics

    magics.load_ipython_extension(ipython)
    choosing.begin(ipython)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in __all__:
        return getattr(import_module("labkit.notebook"), name)
    raise AttributeError(f"module 'labkit' has no attribute {name!r}")
