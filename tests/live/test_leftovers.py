"""The proof of lab 99 finds what somebody planted, of kinds that no lab ever makes."""

from __future__ import annotations

import pytest

from labkit import backend
from labkit.mesh import leftovers

pytestmark = pytest.mark.live

PLANTED = {
    "PriorityClass": ["priorityclass", "planted", "--value=1"],
    "ClusterRoleBinding": ["clusterrolebinding", "planted", "--clusterrole=view", "--user=nobody"],
}


@pytest.mark.parametrize("kind", PLANTED)
def test_an_unusual_kind_is_found_and_gone_once_deleted(kind):
    backend.run(["kubectl", "create", *PLANTED[kind]])
    try:
        found = planted()
    finally:
        backend.run(["kubectl", "delete", kind, "planted"])

    assert found == [kind]
    assert planted() == []


def planted() -> list[str]:
    """The kinds found under that name; others come and go, as earlier tests' objects end."""
    return list(leftovers.anywhere().query("name == 'planted'").kind)
