"""SPDY/3.1 as far as a port-forward takes it: Kubernetes' clients speak it within a WebSocket, and no library does.

https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/ ·
https://kubernetes.io/blog/2024/08/20/websockets-transition/
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

LARGEST = 1 << 20  # bytes of a frame; a client's are headers and short requests
_SYN_STREAM, _SYN_REPLY, _PING = 1, 2, 6
_CONTROL, _FIN = 0x8003_0000, 1
_PIECE = 1 << 15  # bytes of an answer's frame

# What both sides' compressors begin with (2.6.10.1): names with their lengths before them, then what else is frequent.
_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status 200~OK version HTTP/1.1 url public set-cookie "
    "keep-alive origin"
)
_REST = (
    b"100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-Authoritative "
    b"Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 "
    b"Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec "
    b"00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    b"application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8"
    b"charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(
    struct.pack(">I", len(name)) + name.replace("~", " ").encode() for name in _NAMES.split()
) + _REST  # fmt: skip


class Malformed(Exception):
    """What came is no SPDY."""


@dataclass(frozen=True)
class Opened:
    """The other side opened a stream, with these headers (names in small letters)."""

    stream: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Data:
    """What came on a stream."""

    stream: int
    content: bytes


@dataclass
class Connection:
    """One side of a connection, without its I/O: bytes in, events and bytes to send out."""

    _left: bytearray = field(default_factory=bytearray)
    _send: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._unpacked, self._packed = zlib.decompressobj(zdict=DICTIONARY), zlib.compressobj()

    def received(self, content: bytes) -> Iterator[Opened | Data]:
        """What these bytes mean. Streams are accepted and pings answered by themselves. Raises Malformed."""
        self._left += content
        while len(self._left) >= 8:
            first, rest = struct.unpack_from(">II", self._left)
            flags, length = rest >> 24, rest & 0xFFFFFF
            if length > LARGEST:
                raise Malformed(f"a frame of {length} bytes")
            if len(self._left) < 8 + length:
                return
            frame = bytes(self._left[8 : 8 + length])
            del self._left[: 8 + length]
            if not first >> 31:
                yield Data(first, frame)
            elif first & 0xFFFF == _SYN_STREAM:
                yield self._opened(frame)
            elif first & 0xFFFF == _PING:
                self._frame(_CONTROL | _PING, flags, frame)

    def say(self, stream: int, content: bytes) -> None:
        """Send this on a stream, and end this side of it."""
        pieces = [content[start : start + _PIECE] for start in range(0, len(content), _PIECE)] or [b""]
        for piece in pieces[:-1]:
            self._frame(stream, 0, piece)
        self._frame(stream, _FIN, pieces[-1])

    def to_send(self) -> bytes:
        """What is to be sent now; it is told once."""
        content = bytes(self._send)
        self._send.clear()
        return content

    def _opened(self, frame: bytes) -> Opened:
        try:
            stream = struct.unpack_from(">I", frame)[0] & 0x7FFFFFFF
            headers = dict(_headers(self._unpacked.decompress(frame[10:], LARGEST)))
        except (struct.error, zlib.error, UnicodeDecodeError) as error:
            raise Malformed(str(error)) from None
        none = self._packed.compress(struct.pack(">I", 0)) + self._packed.flush(zlib.Z_SYNC_FLUSH)
        self._frame(_CONTROL | _SYN_REPLY, 0, struct.pack(">I", stream) + none)
        return Opened(stream, headers)

    def _frame(self, first: int, flags: int, content: bytes) -> None:
        self._send += struct.pack(">II", first, flags << 24 | len(content)) + content


def _headers(block: bytes) -> Iterator[tuple[str, str]]:
    at = 4
    for _ in range(struct.unpack_from(">I", block)[0]):
        pair = []
        for _ in range(2):
            [length] = struct.unpack_from(">I", block, at)
            if at + 4 + length > len(block):
                raise Malformed("a header that is cut")
            pair.append(block[at + 4 : at + 4 + length].decode())
            at += 4 + length
        yield pair[0].lower(), pair[1]
