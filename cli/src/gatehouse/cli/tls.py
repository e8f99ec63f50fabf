"""The certificate of the service: looked at before the port is open, so that what is wrong with it has a name."""

import ssl
from pathlib import Path

from gatehouse.registry.errors import ConfigurationError


def check(certificate: Path | None, key: Path | None) -> None:
    """Load the chain and its key once; without both there is nothing to look at.

    Raises ConfigurationError with the file's name. A key with a passphrase is refused: nobody is there to type it.
    """
    if certificate is None or key is None:
        return
    for name, path in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise ConfigurationError(f"server.{name}: {path} cannot be read: {error.strerror}.") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(
                f"server.tls_key {key} is not the key of the first certificate in {certificate}."
            ) from error
        raise ConfigurationError(
            f"server.tls_certificate {certificate} and server.tls_key {key} cannot be used: "
            "give PEM files, the service's own certificate first, the key without a passphrase."
        ) from error
