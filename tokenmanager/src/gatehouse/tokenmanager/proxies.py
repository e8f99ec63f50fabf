"""Proxy certificates (RFC 3820): a person's certificate signs for a short-lived key, which may sign for another.

A TLS library follows such a chain, but what it lets pass is more than a service may believe: OpenSSL takes a full
proxy that a limited one made. Each step is looked at here, from the person's certificate down to the last proxy.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar, cast

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from gatehouse.tokenmanager import der
from gatehouse.tokenmanager.badcertificate import UNREADABLE, BadCertificate

PROXY_CERT_INFO = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
_DRAFT_INFO = x509.ObjectIdentifier("1.3.6.1.4.1.3536.1.222")  # Globus Toolkit 3, before the RFC
MAX_DEPTH = 10

Language = Literal["inherit", "limited", "independent", "restricted"]
_LANGUAGES: dict[bytes, Language] = {
    bytes.fromhex("2b06010505071501"): "inherit",  # 1.3.6.1.5.5.7.21.1
    bytes.fromhex("2b06010505071502"): "independent",  # 1.3.6.1.5.5.7.21.2
    bytes.fromhex("2b060104019b5001010109"): "limited",  # 1.3.6.1.4.1.3536.1.1.1.9
}
_REFUSED = {
    "independent": "An independent proxy does not stand for its owner: make an ordinary one.",
    "restricted": "A proxy with a policy of its own is not understood here: make an ordinary one.",
}
_CRITICAL = frozenset(
    {PROXY_CERT_INFO, ExtensionOID.KEY_USAGE, ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.EXTENDED_KEY_USAGE}
)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class Info(NamedTuple):
    """ProxyCertInfo (RFC 3820 §3.8): what the proxy may do, and how many proxies may follow (None: any number)."""

    language: Language
    path_length: int | None


def extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    """The value of an extension, if it is there."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def raw(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> bytes | None:
    """The DER of an extension that the library does not know, if it is there."""
    try:
        found = certificate.extensions.get_extension_for_oid(oid)
    except x509.ExtensionNotFound:
        return None
    return cast(x509.UnrecognizedExtension, found.value).value


def is_proxy(certificate: x509.Certificate) -> bool:
    """Whether it says that it is a proxy. Raises BadCertificate for the kind of before the RFC."""
    if raw(certificate, _DRAFT_INFO) is not None:
        raise BadCertificate("old_proxy", "This proxy is of a kind from before RFC 3820: make a new one.")
    return raw(certificate, PROXY_CERT_INFO) is not None


def info(certificate: x509.Certificate) -> Info:
    """Read ProxyCertInfo. Raises BadCertificate."""
    try:
        return _info(raw(certificate, PROXY_CERT_INFO) or b"")
    except ValueError as error:
        raise BadCertificate(
            "proxy_info", "The proxy does not say in a readable way what it may do."
        ) from error


def _info(encoded: bytes) -> Info:
    parts = der.elements(der.only(encoded, der.SEQUENCE))
    length = None
    if parts and parts[0][0] == der.INTEGER:
        content = parts.pop(0)[1]
        if not 1 <= len(content) <= 4 or content[0] >= 0x80:
            raise ValueError("a path length below zero, or absurd")
        length = int.from_bytes(content, "big")
    (tag, policy), *more = parts or [(-1, b"")]
    (kind, language), *rest = der.elements(policy) or [(-1, b"")]
    if tag != der.SEQUENCE or more or kind != der.OID or len(rest) > 1:
        raise ValueError("not a ProxyCertInfo")
    if any(one != der.OCTETS for one, _ in rest):
        raise ValueError("a policy that is no octet string")
    known = _LANGUAGES.get(language, "restricted")
    return Info("restricted" if rest else known, length)  # a policy of its own restricts


def follow(chain: Sequence[x509.Certificate]) -> bool:
    """Check every proxy of a chain, the person's certificate first; whether the last one is limited.

    Says nothing about the person's certificate itself, or about times. Raises BadCertificate (RFC 3820 §4.1).
    """
    limited = False
    room = MAX_DEPTH
    for issuer, proxy in pairwise(chain):
        found = info(proxy)
        _step(issuer, proxy)
        if room == 0:
            raise BadCertificate("path_length", "This proxy was made by one that may not make further ones.")
        room = min(room - 1, MAX_DEPTH if found.path_length is None else found.path_length)
        if (why := _REFUSED.get(found.language)) is not None:
            raise BadCertificate("policy", why)
        if limited and found.language != "limited":
            raise BadCertificate("full_from_limited", "A limited proxy was used to make a full one.")
        limited = found.language == "limited"
    return limited


def _step(issuer: x509.Certificate, proxy: x509.Certificate) -> None:
    if why := _wrong(issuer, proxy):
        raise BadCertificate("proxy", why)
    try:
        proxy.verify_directly_issued_by(issuer)
    except UNREADABLE as error:
        raise BadCertificate("signature", "The proxy is not signed by the certificate above it.") from error


def _wrong(issuer: x509.Certificate, proxy: x509.Certificate) -> str:
    """The first rule of RFC 3820 §3 that a proxy breaks; empty when there is none."""
    rdns = proxy.subject.rdns
    own = [one.oid for one in rdns[-1]] if rdns else []
    if rdns[:-1] != issuer.subject.rdns or own != [NameOID.COMMON_NAME]:
        return "The name of the proxy is not that of its maker and one CN more."
    if _authority(proxy) or _authority(issuer):
        return "An authority can neither be a proxy nor make one."
    if extension(proxy, x509.SubjectAlternativeName) or extension(proxy, x509.IssuerAlternativeName):
        return "A proxy may not have another name."
    critical = {one.oid for one in proxy.extensions if one.critical}
    if PROXY_CERT_INFO not in critical or critical - _CRITICAL:
        return "The proxy's critical extensions are not what they have to be."
    if not (signs(issuer) and signs(proxy)):
        return "The key usage of the proxy, or of its maker, does not allow to sign."
    return "" if for_clients(proxy) else "The proxy is not meant for clients."


def _authority(certificate: x509.Certificate) -> bool:
    constraints = extension(certificate, x509.BasicConstraints)
    usage = extension(certificate, x509.KeyUsage)
    return bool((constraints and constraints.ca) or (usage and usage.key_cert_sign))


def signs(certificate: x509.Certificate) -> bool:
    """Whether its key may make signatures, as TLS clients and makers of proxies do (RFC 5280 §4.2.1.3)."""
    usage = extension(certificate, x509.KeyUsage)
    return usage is None or usage.digital_signature


def for_clients(certificate: x509.Certificate) -> bool:
    """Whether it may identify a TLS client (RFC 5280 §4.2.1.12)."""
    usage = extension(certificate, x509.ExtendedKeyUsage)
    allowed = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return usage is None or any(one in usage for one in allowed)
