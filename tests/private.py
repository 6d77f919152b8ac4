"""What belongs in no committed file: secrets, paths of one machine, addresses of package registries."""

from __future__ import annotations

import re

SECRETS = {
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "a bearer token": r"(?i)authorization: bearer \S{16,}",
    "a client key": r"client-key-data: \S{16,}",
}
REGISTRIES = [
    r"pypi[.]org", r"pythonhosted[.]org", r"npmjs[.](org|com)", r"proxy[.]golang[.]org", r"sum[.]golang[.]org",
    r"maven[.]org|repo[.]maven", r"crates[.]io", r"deb[.]debian[.]org", r"archive[.]ubuntu[.]com",
]  # fmt: skip
PATHS = r"(?<![\w.$~-])/(?:root|home/(?!istio-proxy)\w+|Users/\w+|work)/"


def private_things(text: str) -> list[str]:
    """What was found, in words, without repeating it."""
    faults = [f"holds {what}" for what, pattern in SECRETS.items() if re.search(pattern, text)]
    if re.search(PATHS, text):
        faults.append("holds a path of the machine it was made on")
    return faults + [f"names a package registry ({each})" for each in REGISTRIES if re.search(each, text)]
