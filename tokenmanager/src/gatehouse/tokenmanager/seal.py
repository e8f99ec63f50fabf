"""What the master key does: keyed hashes for what we must recognise, AES-256-GCM for what we must read again.

The master key is never in the database, so a stolen database yields no usable credential.
"""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gatehouse.registry.errors import ConfigurationError

_VERSION = b"\x01"
_NONCE = 12


class SealError(Exception):
    """Sealed bytes that this key did not seal, or that were moved to another row."""


class Seal:
    """All uses of one master key, each under a key of its own (HKDF-SHA256, RFC 5869)."""

    __slots__ = ("_aead", "_hash_keys", "_master")

    def __init__(self, master: bytes) -> None:
        if len(master) != 32:
            raise ConfigurationError(
                "The master key must be 32 bytes (in base64). Make one with `gatehouse new-key FILE`."
            )
        self._master = master
        self._aead = AESGCM(self.derive("seal"))
        self._hash_keys: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return "Seal(…)"

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose."""
        return HKDF(SHA256(), 32, salt=None, info=b"gatehouse/" + purpose.encode()).derive(self._master)

    def mac(self, purpose: str, message: bytes) -> bytes:
        """HMAC-SHA256 of a message under the key of a purpose (32 bytes)."""
        key = self._hash_keys.get(purpose)
        if key is None:
            key = self._hash_keys[purpose] = self.derive("mac/" + purpose)
        return hmac.digest(key, message, hashlib.sha256)

    def keyed_hash(self, purpose: str, secret: str) -> str:
        """What the database keeps of a secret: 64 hex characters."""
        return self.mac(purpose, secret.encode("utf-8", "surrogateescape")).hex()

    def seal(self, plain: bytes, bound_to: str) -> bytes:
        """Encrypt; the result opens only with the same `bound_to` (table, row, owner)."""
        nonce = secrets.token_bytes(_NONCE)
        return _VERSION + nonce + self._aead.encrypt(nonce, plain, bound_to.encode())

    def open(self, sealed: bytes, bound_to: str) -> bytes:
        """Decrypt. Raises SealError."""
        if sealed[:1] != _VERSION:
            raise SealError(f"unknown seal version for {bound_to}")
        nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._aead.decrypt(nonce, body, bound_to.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError(f"{bound_to} was not sealed with this master key") from error


def from_text(text: str) -> Seal:
    """The seal of a master key in base64."""
    try:
        return Seal(base64.b64decode(text, validate=True))
    except ValueError:
        raise ConfigurationError("The master key is not base64.") from None


def new_key(path: Path) -> None:
    """Write a fresh master key to a new file, mode 0600. Raises FileExistsError rather than lose an old one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
