"""What the operator trusts, read from a file or a directory as IGTF distributes it.

Such a directory has `<hash>.0` (an authority, PEM), `<hash>.r0` (its revocation list, kept fresh by `fetch-crl`) and
`<hash>.signing_policy` (the names that it may certify).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from gatehouse.registry.distinguished import normalise_dn
from gatehouse.registry.entitlements import Refused
from gatehouse.tokenmanager import signing_policy
from gatehouse.tokenmanager.badcertificate import UNREADABLE, BadCertificate

MAX_FILE = 64 * 1024 * 1024
_NAMED = re.compile(r"([0-9a-f]{8})\.(?:r?[0-9]+|signing_policy)")
_PEM = re.compile(rb"-----BEGIN (CERTIFICATE|X509 CRL)-----.*?-----END \1-----", re.DOTALL)

List = x509.CertificateRevocationList


@dataclass(frozen=True, slots=True)
class Trust:
    """What one reading gave; `lists` and `policies` are by the encoded name of the authority.

    An authority with an empty entry has a list or a policy that cannot be read: it is believed about nobody.
    """

    anchors: tuple[x509.Certificate, ...]
    between: tuple[x509.Certificate, ...]
    lists: Mapping[bytes, tuple[List, ...]]
    policies: Mapping[bytes, signing_policy.Patterns]
    ignored: tuple[str, ...]


def encoded(name: x509.Name) -> bytes:
    """A name for comparing."""
    return name.public_bytes()


def slash(name: x509.Name) -> str:
    """The slash form of a certificate's name. Raises BadCertificate where it would read as another name."""
    found = normalise_dn(name.rfc4514_string())
    if isinstance(found, Refused):
        raise BadCertificate("name", f"The name in the certificate cannot be used ({found.reason}).")
    return found


def read(path: Path) -> Trust:
    """Read a file or a directory; what is in it and cannot be read is in `ignored`. Raises OSError."""
    reading = _Reading()
    if not path.is_dir():
        reading.blocks(path, "")
        return reading.trust()
    for entry in sorted(path.iterdir()):
        named = _NAMED.fullmatch(entry.name)
        if named is not None and entry.name.endswith(".signing_policy"):
            reading.policy(entry, named[1])
        elif named is not None:
            reading.blocks(entry, named[1])
    return reading.trust()


@dataclass(slots=True)
class _Reading:
    """One reading; authorities, lists and policies find each other by the hash in their files' names."""

    authorities: list[tuple[str, x509.Certificate]] = field(default_factory=list)
    lists: dict[bytes, tuple[List, ...]] = field(default_factory=dict)
    unread: set[str] = field(default_factory=set)  # hashes with a list that cannot be read
    policies: dict[str, Mapping[str, signing_policy.Patterns]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)

    def blocks(self, path: Path, stem: str) -> None:
        content = _content(path)
        found = [(one[1].decode(), one[0]) for one in _PEM.finditer(content)]
        is_list = path.suffix.startswith(".r")
        if not found and is_list:  # fetch-crl can keep lists as they came
            found = [("DER", content)]
        for kind, block in found:
            try:
                self._block(kind, block, stem)
            except UNREADABLE:
                self.ignored.append(f"{path.name}: not readable")
                self.unread |= {stem} if is_list else set()

    def _block(self, kind: str, block: bytes, stem: str) -> None:
        if kind == "CERTIFICATE":
            self.authorities.append((stem, x509.load_pem_x509_certificate(block)))
            return
        read = x509.load_der_x509_crl(block) if kind == "DER" else x509.load_pem_x509_crl(block)
        name = encoded(read.issuer)
        self.lists[name] = (*self.lists.get(name, ()), read)

    def policy(self, path: Path, stem: str) -> None:
        try:
            self.policies[stem] = signing_policy.read(_content(path).decode())
        except ValueError:
            self.policies[stem] = {}
            self.ignored.append(f"{path.name}: not readable")

    def trust(self) -> Trust:
        distinct = list(dict.fromkeys(one for _, one in self.authorities))
        names = {encoded(one.subject) for one in distinct}
        anchors = [one for one in distinct if one.issuer == one.subject or encoded(one.issuer) not in names]
        unread = {encoded(one.subject): () for stem, one in self.authorities if stem in self.unread}
        policies = {
            encoded(one.subject): self._patterns(stem, one)
            for stem, one in self.authorities
            if stem in self.policies
        }
        return Trust(
            tuple(anchors),
            tuple(one for one in distinct if one not in anchors),
            {**unread, **self.lists},
            policies,
            tuple(self.ignored),
        )

    def _patterns(self, stem: str, authority: x509.Certificate) -> signing_policy.Patterns:
        try:
            return self.policies[stem].get(slash(authority.subject), ())
        except BadCertificate:
            return ()


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise OSError(27, "the file is too large", str(path))
    return content
