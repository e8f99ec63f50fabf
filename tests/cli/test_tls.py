"""The service's certificate is looked at before it is used, and what is wrong has the file's name."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

from gatehouse.cli import tls
from gatehouse.registry.errors import ConfigurationError
from tests.certificates import key_pem, self_signed


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """`certificate.pem` with its `key.pem`, the same key `locked.pem`, and `other.pem`, a key of its own."""
    key = self_signed(tmp_path)
    (tmp_path / "locked.pem").write_bytes(key_pem(key, BestAvailableEncryption(b"a passphrase")))
    (tmp_path / "other.pem").write_bytes(key_pem(ec.generate_private_key(ec.SECP256R1())))
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
