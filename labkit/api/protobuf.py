"""The pods in what Kubernetes' own clients send as protobuf, as far as `policy` asks for them.

https://kubernetes.io/docs/reference/using-api/api-concepts/#kubernetes-protobuf-encoding ·
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_MAGIC = b"k8s\x00"
_NAME = (1, 1)  # the metadata's, https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/
_RAW, _ENCODING = 2, 3  # of the envelope that stands around each object

# from an object to the specifications of its pods, as numbers of fields
_SPEC, _TEMPLATE = (2,), (2, 3, 2)
_PODS: Mapping[str, tuple[int, ...]] = {
    "pods": _SPEC,
    "podtemplates": (2, 2),
    "deployments": _TEMPLATE,
    "replicasets": _TEMPLATE,
    "replicationcontrollers": _TEMPLATE,
    "statefulsets": _TEMPLATE,
    "daemonsets": (2, 2, 2),
    "jobs": (2, 6, 2),
    "cronjobs": (2, 5, 2, 6, 2),
}
# the fields of a pod's specification that lead to its node, whatever they are written in:
# https://kubernetes.io/docs/concepts/security/pod-security-standards/
LEADS: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "hostNetwork": ((11,),),
    "hostPID": ((12,),),
    "hostIPC": ((13,),),
    "hostPath": ((1, 2, 1),),
    "privileged": ((2, 15, 2), (20, 15, 2), (34, 1, 15, 2)),
}


def leads_out(resource: str, body: bytes) -> list[str]:
    """The fields that lead out of the object's pods, to their node. Raises ValueError for what is no such object."""
    if not body.startswith(_MAGIC):
        raise ValueError("it does not begin as Kubernetes' protobuf does")
    envelope = body[len(_MAGIC) :]
    if any(_at(envelope, (_ENCODING,))):
        raise ValueError("it is encoded once more")
    if resource not in _PODS:
        return []
    specs = list(_at(envelope, (_RAW, *_PODS[resource])))
    return [name for name, paths in LEADS.items() if any(_is_set(spec, path) for spec in specs for path in paths)]


def name(body: bytes) -> str:
    """The object's name; "" where it has none. Raises ValueError for what is no such object."""
    if not body.startswith(_MAGIC):
        raise ValueError("it does not begin as Kubernetes' protobuf does")
    found = next((each for each in _at(body[len(_MAGIC) :], (_RAW, *_NAME)) if isinstance(each, bytes)), b"")
    return found.decode()


def _is_set(message: bytes | int, path: tuple[int, ...]) -> bool:
    return any(value != 0 for value in _at(message, path))


def _at(message: bytes | int, path: tuple[int, ...]) -> Iterator[bytes | int]:
    """Each value there: of a field that stands twice, both, for whoever reads it merges them."""
    if not path:
        yield message
        return
    if isinstance(message, int):
        raise ValueError("a number stands where a message is expected")
    for number, value in _fields(message):
        if number == path[0]:
            yield from _at(value, path[1:])


def _fields(message: bytes | int) -> Iterator[tuple[int, bytes | int]]:
    if isinstance(message, int):
        raise ValueError("a number stands where a message is expected")
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        wire = tag & 7
        if wire == 0:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        if wire == 2:
            size, place = _varint(message, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"there is no wire type {wire} in it")
        if place + size > len(message):
            raise ValueError("it is cut")
        yield tag >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
    raise ValueError("it is cut")
