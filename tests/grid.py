"""A small authority of the grid: people, hosts, proxies (RFC 3820), revocation lists, trust files."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.certificates import key_pem

INFO = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.14")
INHERIT = bytes.fromhex("06082b06010505071501")
INDEPENDENT = bytes.fromhex("06082b06010505071502")
ANY = bytes.fromhex("06082b06010505071500")
LIMITED = bytes.fromhex("060b2b060104019b5001010109")
SIGN = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
CERTIFY = x509.KeyUsage(False, False, False, False, False, True, True, False, False)

Extensions = Sequence[tuple[x509.ExtensionType, bool]]


def info(language: bytes = INHERIT, path_length: int | None = None) -> bytes:
    """ProxyCertInfo, DER."""
    length = b"" if path_length is None else bytes([0x02, 0x01, path_length])
    body = length + bytes([0x30, len(language)]) + language
    return bytes([0x30, len(body)]) + body


def name(*parts: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    """A name in the order of its encoding."""
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in parts])


def person(common: str) -> x509.Name:
    """/DC=org/DC=grid/CN=..."""
    dc = NameOID.DOMAIN_COMPONENT
    return name((dc, "org"), (dc, "grid"), (NameOID.COMMON_NAME, common))


def now() -> datetime:
    """This second: what goes over a real connection has to be valid now."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True)
class Holder:
    """A certificate, its key, and the certificates above it that travel with it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> list[bytes]:
        """DER, its own first."""
        return [one.public_bytes(Encoding.DER) for one in (self.certificate, *self.above)]

    @property
    def pem(self) -> str:
        """The chain, PEM."""
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in (self.certificate, *self.above))

    def save(self, path: Path) -> Path:
        """As a proxy file has it: certificate, key, chain."""
        first, rest = self.certificate.public_bytes(Encoding.PEM), self.pem.encode()
        path.touch(mode=0o600)
        path.write_bytes(first + key_pem(self.key) + rest.removeprefix(first))
        return path

    def issue(
        self,
        subject: x509.Name,
        extensions: Extensions = (),
        *,
        begins: datetime | None = None,
        hours: float = 12,
        travels: bool = True,
    ) -> "Holder":
        """A certificate signed by this one; without `travels` this one does not come along with it."""
        key = ec.generate_private_key(ec.SECP256R1())
        start = begins or now() - timedelta(minutes=5)
        builder = (
            x509.CertificateBuilder(
                self.certificate.subject, subject, key.public_key(), x509.random_serial_number()
            )
            .not_valid_before(start)
            .not_valid_after(start + timedelta(hours=hours))
        )
        for one, critical in extensions:
            builder = builder.add_extension(one, critical)
        above = (self.certificate, *self.above) if travels else ()
        return Holder(builder.sign(self.key, hashes.SHA256()), key, above)

    def proxy(
        self,
        language: bytes = INHERIT,
        path_length: int | None = None,
        *,
        subject: x509.Name | None = None,
        extensions: Extensions = (),
        critical: bool = True,
        begins: datetime | None = None,
        hours: float = 6,
    ) -> "Holder":
        """A proxy of this certificate, the last one of its chain."""
        own = x509.NameAttribute(NameOID.COMMON_NAME, str(x509.random_serial_number())[:10])
        named = subject or x509.Name([*self.certificate.subject.rdns, x509.RelativeDistinguishedName([own])])
        extra = x509.UnrecognizedExtension(INFO, info(language, path_length))
        usage = [] if any(isinstance(one, x509.KeyUsage) for one, _ in extensions) else [(SIGN, True)]
        return self.issue(named, [(extra, critical), *usage, *extensions], begins=begins, hours=hours)


def self_signed(subject: x509.Name, extensions: Extensions = ()) -> Holder:
    """A certificate that signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = now() - timedelta(days=1)
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=30))
    )
    for one, critical in extensions:
        builder = builder.add_extension(one, critical)
    return Holder(builder.sign(key, hashes.SHA256()), key)


@dataclass(frozen=True)
class Authority:
    """An authority; its certificates lack what those of the grid lack (key identifiers, alternative names)."""

    title: str = "Grid CA"
    top: Holder = field(init=False)

    def __post_init__(self) -> None:
        constraints = x509.BasicConstraints(True, None)
        object.__setattr__(
            self, "top", self_signed(person(self.title), [(constraints, True), (CERTIFY, True)])
        )

    def person(
        self, common: str = "Ada Lovelace", *, begins: datetime | None = None, hours: float = 24
    ) -> Holder:
        """A person's certificate."""
        client = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        extensions: Extensions = [
            (x509.BasicConstraints(False, None), True),
            (SIGN, True),
            (client, False),
            (x509.SubjectAlternativeName([x509.RFC822Name("ada@example.org")]), False),
        ]
        return self.top.issue(person(common), extensions, begins=begins, hours=hours, travels=False)

    def host(self, common: str = "ce.example.org") -> Holder:
        """A host's certificate, good for servers and clients."""
        both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        names = x509.SubjectAlternativeName([x509.DNSName(common), x509.DNSName("localhost")])
        return self.top.issue(
            person(f"host/{common}"), [(SIGN, True), (both, False), (names, False)], travels=False
        )

    def revocations(self, *revoked: Holder, begins: datetime | None = None, hours: float = 24) -> bytes:
        """A revocation list, PEM."""
        start = begins or now() - timedelta(minutes=5)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.top.certificate.subject)
            .last_update(start)
            .next_update(start + timedelta(hours=hours))
        )
        for one in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(one.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(start).build())
        return builder.sign(self.top.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def hash(self, folder: Path) -> str:
        """The hash of its name, as OpenSSL computes it for the names of trust files."""
        scratch = folder / "one.pem"
        scratch.write_text(self.top.pem)
        command = ["openssl", "x509", "-hash", "-noout", "-in", str(scratch)]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        scratch.unlink()
        return found

    def install(self, folder: Path, revocations: bytes = b"", policy: str = "") -> Path:
        """Its files in a trust directory; the directory."""
        folder.mkdir(exist_ok=True)
        stem = self.hash(folder)
        (folder / f"{stem}.0").write_text(self.top.pem)
        for suffix, content in (("r0", revocations), ("signing_policy", policy.encode())):
            path = folder / f"{stem}.{suffix}"
            path.unlink(missing_ok=True)
            if content:
                path.write_bytes(content)
        return folder
