"""The service's certificate is looked at before it is used, and what is wrong has the file's name."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from gatehouse.cli import tls
from gatehouse.registry.errors import ConfigurationError


def pem(key: ec.EllipticCurvePrivateKey, lock: KeySerializationEncryption) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """`certificate.pem` with its `key.pem`, the same key `locked.pem`, and `other.pem`, a key of its own."""
    key, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gatehouse.example.org")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(pem(key, NoEncryption()))
    (tmp_path / "locked.pem").write_bytes(pem(key, BestAvailableEncryption(b"a passphrase")))
    (tmp_path / "other.pem").write_bytes(pem(other, NoEncryption()))
    (tmp_path / "junk.pem").write_text("junk\n")
    return tmp_path


def test_a_chain_with_its_key_is_taken_and_none_is_fine(files: Path) -> None:
    tls.check(files / "certificate.pem", files / "key.pem")
    tls.check(None, None)


@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("none.pem", "key.pem", "server.tls_certificate: .*none.pem cannot be read: No such file"),
        ("certificate.pem", "none.pem", "server.tls_key: .*none.pem cannot be read: No such file"),
        ("certificate.pem", "other.pem", "other.pem is not the key of the first certificate"),
        ("junk.pem", "key.pem", "junk.pem .* cannot be used"),
        ("certificate.pem", "junk.pem", "junk.pem cannot be used"),
        ("certificate.pem", "locked.pem", "without a passphrase"),
    ],
)
def test_what_is_wrong_is_named(files: Path, certificate: str, key: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        tls.check(files / certificate, files / key)
