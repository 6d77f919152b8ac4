"""What belongs in no committed file: secrets, paths of one machine, addresses of package registries."""

from __future__ import annotations

import re

from labkit.recordings import scrub

REGISTRIES = [
    r"pypi[.]org", r"pythonhosted[.]org", r"npmjs[.](org|com)", r"proxy[.]golang[.]org", r"sum[.]golang[.]org",
    r"maven[.]org|repo[.]maven", r"crates[.]io", r"deb[.]debian[.]org", r"archive[.]ubuntu[.]com",
]  # fmt: skip
PATHS = r"(?<![\w.$~-])/(?:root|home/(?!istio-proxy)\w+|Users/\w+|work)/"


def private_things(text: str) -> list[str]:
    """What was found, in words, without repeating it."""
    return [f"holds {what}" for what in scrub.secrets(text)] + of_the_machine(text)


def of_the_machine(text: str) -> list[str]:
    """What tells of the machine and the network that something was made on."""
    faults = ["holds a path of the machine it was made on"] if re.search(PATHS, text) else []
    return faults + [f"names a package registry ({each})" for each in REGISTRIES if re.search(each, text)]
