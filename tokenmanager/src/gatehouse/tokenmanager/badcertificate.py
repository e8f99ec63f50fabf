"""Why a certificate is not believed."""

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

# What the library raises for bytes that are no certificate, or one that it cannot make sense of.
UNREADABLE = (
    ValueError,
    TypeError,
    AttributeError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)


class BadCertificate(Exception):
    """A chain that proves nothing: `reason` is a code for programs, `sentence` is for people, without a secret."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
