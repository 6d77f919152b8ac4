"""JSON Web Tokens, signed with a key made here: what a company's identity provider does, in a few lines.

https://www.rfc-editor.org/rfc/rfc7519
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from labkit import backend, session

if TYPE_CHECKING:
    import pandas as pd

KEY_BITS = 2048


@dataclass(frozen=True)
class Token:
    """A signed claim about somebody. Whoever has its text can use it, so nothing but a request ever gets to see it."""

    claims: Mapping[str, Any]
    _text: str = field(repr=False)

    def claiming(self, **claims: Any) -> Token:
        """The same signature under other claims: what a forger without the key can make of it."""
        from jwt.utils import base64url_encode

        head, _, signature = self._text.split(".")
        changed = {**self.claims, **claims}
        body = base64url_encode(json.dumps(changed).encode()).decode()
        return Token(changed, f"{head}.{body}.{signature}")

    def _header(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._text}"}


class Issuer:
    """Signs tokens with an RSA key (2048 bits) of its own, which never leaves it: `jwks` is the public half."""

    def __init__(self, name: str) -> None:
        from cryptography.hazmat.primitives.asymmetric import rsa

        self.name = name
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)

    def __repr__(self) -> str:
        return f"Issuer({self.name!r})"

    @property
    def jwks(self) -> str:
        """The public key as a JSON Web Key Set, as a RequestAuthentication takes it (RFC 7517)."""
        from jwt.algorithms import RSAAlgorithm

        public = RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**public, "alg": "RS256", "use": "sig"}]})

    def token(self, subject: str, seconds: float = 600, issuer: str = "") -> Token:
        """A token about `subject`, good for so many seconds (that have passed, if negative).

        With `issuer` it claims to be another's, still signed with this key.
        """
        import jwt

        claims = {"iss": issuer or self.name, "sub": subject, "exp": int(backend.unix_time() + seconds)}
        return Token(claims, jwt.encode(claims, self._key, algorithm="RS256"))


def present(tokens: Mapping[str, Token | None], path: str) -> pd.DataFrame:
    """GET `path` through the gateway, with each token in turn (None: without one): token, status, answer.

    `answer` is the body's first line where the request was refused, "" where it was not. Raises backend.Unreachable.
    """
    import pandas as pd

    rows = [(name, *_get(path, token)) for name, token in tokens.items()]
    return pd.DataFrame(rows, columns=["token", "status", "answer"])


def _get(path: str, token: Token | None) -> tuple[int, str]:
    answer = backend.http("GET", session.gateway() + path, headers=token._header() if token else None)
    return answer.status, answer.text.partition("\n")[0] if answer.status >= 400 else ""
