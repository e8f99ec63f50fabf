"""Which authorities are believed about people and hosts: paths, revocation, and the names that each may certify."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy

from gatehouse.registry.errors import ConfigurationError
from gatehouse.tokenmanager import signing_policy, trust
from gatehouse.tokenmanager.badcertificate import UNREADABLE, BadCertificate
from gatehouse.tokenmanager.trust import Trust, encoded

log = structlog.get_logger()

MAX_PATH = 8


class Authorities:
    """The authorities of the settings, as last read: no answer needs the disk."""

    def __init__(self, path: Path, *, lists_required: bool = False) -> None:
        """Read them. Raises ConfigurationError when there is none."""
        self.path = path
        self._required = lists_required
        self._trust = self._read()

    def reload(self) -> None:
        """Read anew, all or nothing: the directory changes while the service runs. Raises ConfigurationError."""
        self._trust = self._read()

    def _read(self) -> Trust:
        try:
            found = trust.read(self.path)
        except OSError as error:
            raise ConfigurationError(
                f"server.client_ca: {error.filename or self.path} cannot be read: {error.strerror}."
            ) from error
        if not found.anchors:
            raise ConfigurationError(
                f"server.client_ca: {self.path} has no certificate of an authority. Give a PEM file, or a directory "
                "with names such as 1a2b3c4d.0 (`openssl rehash` makes them)."
            )
        for one in found.ignored:
            log.warning("trust file not used", path=str(self.path), why=one)
        return found

    def certify(self, certificate: x509.Certificate, others: Sequence[x509.Certificate], now: int) -> None:
        """Check that an authority stands behind a certificate that is no proxy. Raises BadCertificate.

        `others` came with it and prove nothing by themselves. Signatures, times and path by RFC 5280 §6; then
        revocation, and the names that the authority may certify.
        """
        trusted = self._trust
        moment = datetime.fromtimestamp(now, UTC)
        try:
            path = _verifier(trusted, moment).verify(certificate, [*trusted.between, *others]).chain
        except (verification.VerificationError, *UNREADABLE) as error:
            raise BadCertificate(
                "untrusted", "No authority that this service knows stands behind the certificate."
            ) from error
        for one, issuer in pairwise(path):
            self._not_revoked(trusted, one, issuer, moment)
            _within_policy(trusted, one, issuer)

    def _not_revoked(
        self, trusted: Trust, one: x509.Certificate, issuer: x509.Certificate, now: datetime
    ) -> None:
        lists = trusted.lists.get(encoded(issuer.subject))
        if lists is None and not self._required:
            return
        key = issuer.public_key()
        signed = [found for found in lists or () if found.is_signature_valid(key)]  # type: ignore[arg-type]
        if any(found.get_revoked_certificate_by_serial_number(one.serial_number) for found in signed):
            raise BadCertificate("revoked", "The certificate was revoked by its authority.")
        if not any(_current(found, now) for found in signed):
            raise BadCertificate(
                "no_list",
                "There is no current revocation list of the certificate's authority here, so nobody can tell whether "
                "the certificate still counts. The operator of this service has to fetch one.",
            )


def _current(found: x509.CertificateRevocationList, now: datetime) -> bool:
    """Whether a list is whole and of now (RFC 5280 §6.3.3): no delta, no part, no condition unknown here."""
    if any(one.critical for one in found.extensions):
        return False
    ends = found.next_update_utc
    return found.last_update_utc <= now and (ends is None or now < ends)


def _within_policy(trusted: Trust, one: x509.Certificate, issuer: x509.Certificate) -> None:
    patterns = trusted.policies.get(encoded(issuer.subject))
    if patterns is not None and not signing_policy.allows(patterns, trust.slash(one.subject)):
        raise BadCertificate("namespace", "The certificate's authority may not certify this name.")


def _no_authority(_policy: Policy, _one: x509.Certificate, found: x509.BasicConstraints | None) -> None:
    if found is not None and found.ca:
        raise ValueError("an authority is nobody who logs in")


def _may_certify(_policy: Policy, _one: x509.Certificate, found: x509.BasicConstraints) -> None:
    if not found.ca:
        raise ValueError("not an authority")


def _may_sign(_policy: Policy, _one: x509.Certificate, found: x509.KeyUsage | None) -> None:
    if found is not None and not found.key_cert_sign:
        raise ValueError("not for certificates")


# Authorities of the grid often lack key identifiers, and people's certificates alternative names, both of which the
# rules of the web demand.
_AUTHORITIES = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _may_certify)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
)
_PEOPLE = ExtensionPolicy.permit_all().may_be_present(
    x509.BasicConstraints, Criticality.AGNOSTIC, _no_authority
)


def _verifier(trusted: Trust, moment: datetime) -> verification.ClientVerifier:
    return (
        verification.PolicyBuilder()
        .store(verification.Store(list(trusted.anchors)))
        .time(moment)
        .max_chain_depth(MAX_PATH)
        .extension_policies(ca_policy=_AUTHORITIES, ee_policy=_PEOPLE)
        .build_client_verifier()
    )
