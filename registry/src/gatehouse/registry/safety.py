"""Which settings are refused: each reason is a sentence that says what to change."""

from urllib.parse import urlsplit

from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import LOOPBACK, ServerSettings, Settings

_EVERYBODY = {"*", "0.0.0.0", "::"}  # noqa: S104 - refused, not bound


def unsafe(settings: Settings) -> list[str]:
    """Why these settings must not be used in production; empty when they may."""
    server = settings.server
    found: list[str] = []
    if not server.base_url.startswith("https://"):
        found.append(
            f"server.base_url is {server.base_url}: tokens would travel in clear. Give the https:// address."
        )
    direct = server.host not in LOOPBACK and not server.trusted_proxies
    if direct and not (server.tls_certificate and server.tls_key):
        found.append(
            f"The listener on {server.host} has no TLS. Set server.tls_certificate and server.tls_key, "
            "or listen on 127.0.0.1 behind a proxy and name it in server.trusted_proxies."
        )
    if settings.demo:
        found.append("demo = true starts an identity provider that asks for no password. Remove it.")
    if settings.secrets.master_key is None and settings.secrets.master_key_file is None:
        found.append(
            "No master key. Make one with `gatehouse new-key FILE` and set secrets.master_key_file = FILE."
        )
    found.extend(
        f"Provider {p.name}: issuer {p.issuer} is not https, so anybody on the way could be anybody."
        for p in settings.providers
        if not p.issuer.startswith("https://")
    )
    if any(one in _EVERYBODY or one.endswith("/0") for one in server.trusted_proxies):
        found.append("server.trusted_proxies trusts everybody, so any client could claim any address.")
    found.extend(
        f"Element {one.name}: local pilots run payloads as the service's own user, who can read the master key. "
        "Use it for trials, or say trust_payloads = true when everybody who may submit is trusted with it."
        for one in settings.elements
        if not one.trust_payloads
    )
    return found


def check(settings: Settings) -> None:
    """Refuse what cannot be run: raises ConfigurationError with one sentence per reason."""
    server = settings.server
    if bool(server.tls_certificate) != bool(server.tls_key):
        raise ConfigurationError(
            "server.tls_certificate and server.tls_key belong together: set both or neither."
        )
    if why := _certificates(server):
        raise ConfigurationError(why)
    if path := urlsplit(server.base_url).path.strip("/"):
        raise ConfigurationError(
            f"server.base_url has the path /{path}, but Gatehouse needs a host name of its own: "
            "leave the path away."
        )
    found = unsafe(settings)
    if settings.mode == "production" and found:
        raise ConfigurationError(
            'This is a production configuration (mode = "production") and it is not safe:\n'
            + "\n".join(f"  - {reason}" for reason in found)
            + '\nFor a trial on this machine alone, set mode = "development".'
        )
    if settings.mode == "development" and server.host not in LOOPBACK:
        raise ConfigurationError(
            f'mode = "development" listens on loopback only, but server.host is {server.host}.'
        )
    for seen, names in (
        ("provider", [p.name for p in settings.providers]),
        ("provider of the issuer", [p.issuer for p in settings.providers]),
        ("client", [c.client_id for c in settings.clients]),
        ("element", [e.name for e in settings.elements]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigurationError(f"There is more than one {seen} called {', '.join(twice)}.")


def _certificates(server: ServerSettings) -> str:
    """What is missing for certificates of clients; empty when nothing is."""
    if server.certificate_port and not (server.tls_certificate and server.client_ca):
        return "server.certificate_port needs server.tls_certificate, server.tls_key and server.client_ca."
    if server.certificate_port and server.certificate_port == server.port:
        return "server.certificate_port is server.port: give it a port of its own."
    if urlsplit(server.certificate_base or server.base_url).hostname != urlsplit(server.base_url).hostname:
        return (
            "server.certificate_url has another host than server.base_url, and the cookie of a login would not get "
            "there. Use the same host and another port."
        )
    if server.client_certificate_header and not (server.trusted_proxies and server.client_ca):
        return (
            "server.client_certificate_header needs server.trusted_proxies, which are the only ones that are "
            "believed, and server.client_ca."
        )
    return ""
