"""Certificates that a proxy in front saw: taken from its header, and from nobody else's.

A certificate is public, so whoever could set this header could be anybody. It is believed only when the TCP peer is one
of `server.trusted_proxies`, and no application ever sees the header itself.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gatehouse.tokenmanager.certificates import MAX_BYTES, MAX_CERTIFICATES, SHOWN, Shown

STANDARD = b"client-cert"  # RFC 9440 §2.2
STANDARD_CHAIN = b"client-cert-chain"  # RFC 9440 §2.3
_MAX_HEADER = 256 * 1024
_ITEM = re.compile(rb"\s*:([A-Za-z0-9+/]*={0,2}):\s*(?:,|\Z)")
_PEM = re.compile(rb"\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*")


class Forwarded(ProxyHeadersMiddleware):
    """What a trusted proxy says of its client, address and certificate; outside of everything else."""

    def __init__(self, app: ASGIApp, trusted: Sequence[str], header: str) -> None:
        super().__init__(app, list(trusted))  # type: ignore[arg-type]  # two spellings of one type
        self._header = header.lower().encode()
        self._names = {self._header, STANDARD, STANDARD_CHAIN}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # type: ignore[override]
        """Take the headers before anybody else sees them: `scope["client"]` is still the TCP peer here."""
        if scope["type"] == "http":
            names = self._names
            taken = [one for one in scope["headers"] if one[0] in names]
            if taken:
                scope["headers"] = [one for one in scope["headers"] if one[0] not in names]
            peer = scope.get("client")
            if self._header and peer is not None and peer[0] in self.trusted_hosts:
                scope.pop(SHOWN, None)  # the certificate of the proxy itself is not its client's
                if (shown := self._shown(taken)) is not None:
                    scope[SHOWN] = shown
        await super().__call__(scope, receive, send)  # type: ignore[arg-type]

    def _shown(self, taken: Sequence[tuple[bytes, bytes]]) -> Shown | None:
        own = [value for name, value in taken if name == self._header]
        above = [value for name, value in taken if name == STANDARD_CHAIN]
        if not any(own):
            return None  # the proxy says that its client showed none
        if len(own) > 1 or (self._header != STANDARD and above):
            return Shown(())  # one of them may be the client's own
        return Shown(tuple(chain_of(own[0], b",".join(above))))


def chain_of(value: bytes, above: bytes = b"") -> list[bytes]:
    """The DER certificates of a header; empty when it is not one of the known forms. Never raises.

    RFC 9440 byte sequences (`:base64:`), where one may hold several certificates, as HAProxy makes it; otherwise PEM,
    percent-encoded as nginx makes it, or with blanks for line ends.
    """
    if len(value) + len(above) > _MAX_HEADER:
        return []
    found = _sequences(value) if value.lstrip().startswith(b":") else _pem(unquote_to_bytes(value))
    if above and found:
        more = _sequences(above)
        found = [*found, *(one for one in more if one not in found)] if more else []
    return found if len(found) <= MAX_CERTIFICATES and all(len(one) <= MAX_BYTES for one in found) else []


def _sequences(value: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(value):
        item = _ITEM.match(value, at)
        if item is None:
            return []
        ders = _split(_decoded(item[1]))
        if not ders:
            return []
        found += ders
        at = item.end()
    return found


def _pem(value: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(value):
        block = _PEM.match(value, at)
        der = _decoded(b"".join(block[1].split())) if block else b""
        if block is None or not der:
            return []
        found.append(der)
        at = block.end()
    return found


def _decoded(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _split(ders: bytes) -> list[bytes]:
    """One after the other; empty when it does not come out even."""
    found: list[bytes] = []
    at = 0
    while at < len(ders):
        head = ders[at : at + 4]
        if len(head) < 4 or head[:2] != b"\x30\x82":  # no certificate is shorter than 256 bytes
            return []
        end = at + 4 + int.from_bytes(head[2:], "big")
        if end > len(ders):
            return []
        found.append(ders[at:end])
        at = end
    return found
