"""Who shows a certificate: one judge for chains from our own listener and for those that a proxy forwarded.

The person is the end-entity certificate, never a proxy made from it, whatever name the proxy has. The listener
(or the proxy in front) has made sure that the client holds the key of the first certificate; all else is checked here.
"""

import asyncio
import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import NameOID
from starlette.requests import Request

from gatehouse.registry.clock import Clock
from gatehouse.tokenmanager import der, proxies
from gatehouse.tokenmanager.authorities import Authorities
from gatehouse.tokenmanager.badcertificate import UNREADABLE, BadCertificate
from gatehouse.tokenmanager.trust import slash

SHOWN = "gatehouse.certificate"  # in the ASGI scope: a Shown, where the client showed any certificate
MAX_CERTIFICATES = 16
MAX_BYTES = 32 * 1024  # of one; a proxy carries attributes
_DIRAC_GROUP = x509.ObjectIdentifier("1.2.42.42")
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_HOST = re.compile(r"[\w-]+/[A-Za-z0-9.-]+|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+){2,}")
_SANS: dict[type, str] = {
    x509.DNSName: "dns",
    x509.RFC822Name: "email",
    x509.UniformResourceIdentifier: "uri",
    x509.IPAddress: "ip",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a client showed, as DER, its own certificate first: it holds that one's key, no more is known.

    Empty when what came was unreadable, or perhaps not the client's.
    """

    chain: tuple[bytes, ...]

    @property
    def fingerprint(self) -> str:
        """`x5t#S256` of the client's own certificate (RFC 8705 §3.1); empty for an empty chain."""
        return fingerprint(self.chain[0]) if self.chain else ""


@dataclass(frozen=True, slots=True)
class Presented:
    """A chain that counts. Names are in slash form; times are seconds since the epoch."""

    identity: str  # of the end-entity certificate
    issuer: str  # the authority that certified it
    subject: str  # of the first certificate, which is a proxy's where `proxy_depth` is not 0
    subject_rfc4514: str
    fingerprint: str  # `x5t#S256` of the first certificate (RFC 8705 §3.1)
    not_after: int  # the earliest end in the chain
    host: bool
    limited: bool
    proxy_depth: int
    group: str  # the DIRAC group that a proxy asks for, which proves nothing; may be empty
    sans: tuple[tuple[str, str], ...]  # ("dns" | "email" | "uri" | "ip", value) of the end-entity certificate

    def no_login(self) -> str:
        """Why this may not log a person in; empty when it may."""
        if self.host:
            return "This is the certificate of a host, and only people log in."
        if self.limited:
            return "A limited proxy may move data and do nothing else: log in with a full one, or the certificate."
        return ""


class Certificates:
    """Judges chains."""

    def __init__(self, authorities: Authorities, clock: Clock) -> None:
        self.authorities = authorities
        self._clock = clock

    async def reread(self) -> None:
        """Read the authorities and their lists anew. Raises ConfigurationError; what was read before then stays."""
        await asyncio.to_thread(self.authorities.reload)

    def read(self, chain: Sequence[bytes]) -> Presented | BadCertificate:
        """Who a chain of DER certificates, the client's own first, stands for. Never raises."""
        try:
            return self._read(chain)
        except BadCertificate as bad:
            return bad
        except UNREADABLE:
            return BadCertificate("unreadable", "The certificate cannot be read.")

    def _read(self, chain: Sequence[bytes]) -> Presented:
        if not 0 < len(chain) <= MAX_CERTIFICATES or max(map(len, chain)) > MAX_BYTES:
            raise BadCertificate("size", "There are too many certificates, or one is too large.")
        given = [x509.load_der_x509_certificate(one) for one in chain]
        line = _line(given)
        person, leaf = line[0], line[-1]
        now = self._clock.now()
        for one in line:
            _in_time(one, now)
        limited = proxies.follow(line)
        if not (proxies.signs(person) and proxies.for_clients(person)):
            raise BadCertificate("usage", "The certificate is not meant for clients.")
        self.authorities.certify(person, [one for one in given if one not in line], now)
        return Presented(
            identity=slash(person.subject),
            issuer=slash(person.issuer),
            subject=slash(leaf.subject),
            subject_rfc4514=leaf.subject.rfc4514_string(),
            fingerprint=fingerprint(chain[0]),
            not_after=min(int(one.not_valid_after_utc.timestamp()) for one in line),
            host=_is_host(person),
            limited=limited,
            proxy_depth=len(line) - 1,
            group=_group(line),
            sans=_sans(person),
        )


def certificate_of(request: Request) -> Presented | BadCertificate | None:
    """Who shows a certificate with this request; None when nobody does, or the service asks for none."""
    judge: Certificates | None = getattr(request.app.state, "certificates", None)
    shown: Shown | None = request.scope.get(SHOWN)
    return judge.read(shown.chain) if judge is not None and shown is not None else None


def fingerprint(certificate: bytes) -> str:
    """`x5t#S256` of a DER certificate (RFC 8705 §3.1)."""
    return base64.urlsafe_b64encode(hashlib.sha256(certificate).digest()).rstrip(b"=").decode()


def _line(given: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """From the end-entity certificate down to the first of the chain. Raises BadCertificate."""
    line = [given[0]]
    while proxies.is_proxy(line[0]):
        if len(line) > proxies.MAX_DEPTH:
            raise BadCertificate("path_length", "There are too many proxies in the chain.")
        above = next((one for one in given if one not in line and _made(one, line[0])), None)
        if above is None:
            raise BadCertificate(
                "cut", "The proxy came without the certificate that made it: send the whole chain."
            )
        line.insert(0, above)
    return line


def _made(issuer: x509.Certificate, one: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except UNREADABLE:
        return False
    return True


def _in_time(one: x509.Certificate, now: int) -> None:
    what = "proxy" if proxies.is_proxy(one) else "certificate"
    if now < one.not_valid_before_utc.timestamp():
        raise BadCertificate("early", f"The {what} is valid from {_day(one.not_valid_before_utc)} only.")
    if now > one.not_valid_after_utc.timestamp():
        raise BadCertificate("expired", f"The {what} expired at {_day(one.not_valid_after_utc)}.")


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _is_host(person: x509.Certificate) -> bool:
    names = [str(one.value) for one in person.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return any(map(_HOST.fullmatch, names)) or any(kind == "dns" for kind, _ in _sans(person))


def _sans(certificate: x509.Certificate) -> tuple[tuple[str, str], ...]:
    found = proxies.extension(certificate, x509.SubjectAlternativeName) or ()
    return tuple((_SANS[type(one)], str(one.value)) for one in found if type(one) in _SANS)


def _group(line: Sequence[x509.Certificate]) -> str:
    """The group that the last proxy to name one asks for."""
    for one in reversed(line):
        if (found := proxies.raw(one, _DIRAC_GROUP)) is not None:
            name = der.text(found)
            return name if _GROUP.fullmatch(name) else ""
    return ""
