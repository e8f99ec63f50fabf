"""What the operator decides: one TOML file, overridden by `GATEHOUSE_*` in the environment.

Nested names are joined by two underscores: `GATEHOUSE_SERVER__PORT=8443`. Secrets are `SecretStr`, or files.
"""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

Seconds = Annotated[int, Field(gt=0, le=400 * 86400)]
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerSettings(_Part):
    """Where the service listens and what the world calls it."""

    base_url: str = "http://127.0.0.1:8000"
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    # the authority behind our own certificate, for pilots to whom it would be unknown
    ca_file: Path | None = None
    # addresses of reverse proxies whose X-Forwarded-For is believed
    trusted_proxies: tuple[str, ...] = ()
    # a second port, TLS always, where clients may show a certificate; 0: none
    certificate_port: Annotated[int, Field(ge=0, le=65535)] = 0
    # what the world calls it; empty: the host of base_url with that port
    certificate_url: Annotated[str, Field(pattern=r"^(https://[A-Za-z0-9.:\[\]-]+)?$")] = ""
    # what people read on the page where they choose how to log in
    certificate_title: Annotated[str, Field(min_length=1, max_length=64)] = "X.509 certificate"
    # who may certify people and hosts: a PEM file, or a directory such as /etc/grid-security/certificates
    client_ca: Path | None = None
    client_crls: Literal["present", "required"] = "present"
    # the header in which a trusted proxy forwards the certificate that it saw
    client_certificate_header: Annotated[str, Field(pattern=r"^(Client-Cert|X-[A-Za-z0-9-]{1,60})?$")] = ""
    # proofs of possession (DPoP): `required` lets nobody make any in advance
    dpop_nonces: Literal["required", "offered"] = "required"

    @field_validator("base_url")
    @classmethod
    def _base(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be a URL such as https://gatehouse.example.org")
        if "@" in parts.netloc or value != value.strip():
            raise ValueError("must not carry a user name or blanks")
        return value.rstrip("/")

    @property
    def certificate_base(self) -> str:
        """The address where clients can show a certificate; empty when there is none."""
        if self.certificate_url or not (self.certificate_port or self.client_certificate_header):
            return self.certificate_url
        parts = urlsplit(self.base_url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"https://{host}:{self.certificate_port}" if self.certificate_port else self.base_url


class SecretSettings(_Part):
    """The master key: 32 random bytes in base64, in a file that only the service may read."""

    master_key_file: Path | None = None
    master_key: SecretStr | None = None


class Lifetimes(_Part):
    """How long things live, in seconds (WLCG profile 1.3 §4.3.1 gives the ranges)."""

    access_token: Annotated[int, Field(ge=60, le=21600)] = 7200
    # the most that a client gets who asks for more (`lifetime:`)
    access_token_max: Annotated[int, Field(ge=60, le=21600)] = 21600
    id_token: Annotated[int, Field(ge=60, le=3600)] = 600
    authorization_code: Annotated[int, Field(ge=10, le=600)] = 60
    pushed_request: Annotated[int, Field(ge=5, le=600)] = 90
    session: Annotated[int, Field(ge=300, le=7 * 86400)] = 8 * 3600
    refresh_token: Annotated[int, Field(ge=3600, le=400 * 86400)] = 30 * 86400
    refresh_grace: Annotated[int, Field(ge=0, le=86400)] = 60
    device_code: Annotated[int, Field(ge=300, le=1800)] = 600
    browser_session: Annotated[int, Field(ge=60, le=3600)] = 900
    pilot_secret: Annotated[int, Field(ge=60, le=7 * 86400)] = 86400
    pilot_token: Annotated[int, Field(ge=300, le=7 * 86400)] = 86400
    job_token: Annotated[int, Field(ge=120, le=21600)] = 3600
    compute_token: Annotated[int, Field(ge=60, le=21600)] = 3600


class ProviderSettings(_Part):
    """An external OpenID provider; `kind` says how it writes group memberships."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    title: str = ""
    issuer: str
    kind: Literal["aarc", "wlcg", "slashless"]
    client_id: str
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    scope: str = "openid profile email"
    namespaces: tuple[str, ...] = ()
    authorities: tuple[str, ...] = ()
    authority_optional: bool = False
    vos: tuple[str, ...] = ()
    group_claims: tuple[tuple[str, ...], ...] = ()
    # the claim that names a person for good; Check-In: voperson_id
    user_claim: str = "sub"
    # a callback of its own, /auth/redirect/<name>: against mix-up where it does not name itself (RFC 9700 §4.4.2)
    own_redirect: bool = False
    # it honours `max_age` and tells `auth_time` (OpenID Connect Core §2); without, no login there is known to be fresh
    fresh_login: bool = True
    ca_file: Path | None = None

    @field_validator("issuer")
    @classmethod
    def _issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("must be a URL such as https://aai.example.org")
        if "?" in value or "#" in value or not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("must have no query, no fragment and no blanks (OpenID Connect Discovery §3)")
        return value

    @field_validator("scope")
    @classmethod
    def _scope(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("must hold openid: without it no provider says who somebody is")
        return value


ClientAuth = Literal[
    "none", "client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"
]


class ClientSettings(_Part):
    """An OAuth client of Gatehouse, beside the built-in DIRAC_CLI and DIRAC_Web (RFC 7591 §2 has the meanings)."""

    client_id: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[\x21-\x7e]+$")]
    name: Annotated[str, Field(max_length=128)] = ""
    # unsaid: client_secret_basic or client_secret_post with a secret, private_key_jwt with a key, otherwise none
    auth: ClientAuth | None = None
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    # a JWK Set as JSON, for private_key_jwt
    jwks: Annotated[str, Field(max_length=16384)] = ""
    jwks_uri: Annotated[str, Field(max_length=1024)] = ""
    # for tls_client_auth (RFC 8705 §2.1.2)
    tls_subject: Annotated[str, Field(max_length=1024)] = ""
    grant_types: tuple[str, ...] = ("urn:ietf:params:oauth:grant-type:device_code", "refresh_token")
    redirect_uris: Annotated[tuple[str, ...], Field(max_length=32)] = ()
    post_logout_redirect_uris: Annotated[tuple[str, ...], Field(max_length=32)] = ()
    backchannel_logout_uri: Annotated[str, Field(max_length=1024)] = ""
    # scopes that a token for the client itself may have (client credentials, exchange)
    scopes: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    # whom tokens for this client may be meant for, beside our own API (RFC 8707)
    audiences: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    # the resources that this client is, whose tokens it may introspect (RFC 7662)
    resources: Annotated[tuple[str, ...], Field(max_length=64)] = ()
    # authorization requests only by PAR (RFC 9126)
    pushed_requests_only: bool = False
    dpop_only: bool = False
    # its tokens are for the holder of the certificate that it authenticates with (RFC 8705 §3)
    certificate_bound: bool = False
    access_token_alg: Literal["ES256", "RS256"] = "ES256"  # noqa: S105 - an algorithm

    @field_validator("backchannel_logout_uri")
    @classmethod
    def _told(cls, value: str) -> str:
        why = bad_redirect(value) if value else ""
        if why or (value and urlsplit(value).scheme not in ("https", "http")):
            raise ValueError(f"{value[:100]}: {why or 'must be https'}")
        return value

    @field_validator("redirect_uris", "post_logout_redirect_uris")
    @classmethod
    def _redirects(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for uri in value:
            why = bad_redirect(uri)
            if why:
                raise ValueError(f"{uri[:100]}: {why}")
        return value


def bad_redirect(uri: str) -> str:
    """Why browsers may not be sent to an address with what a login gives; empty when they may (RFC 8252, RFC 9700)."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "is no URI"
    if len(uri) > 1024 or not uri.isascii() or not uri.isprintable() or any(c in uri for c in ' \\"<>^`{}|*'):
        return "has characters that a URI cannot have, or is too long"
    if parts.fragment or "#" in uri:
        return "must not have a fragment (RFC 6749 §3.1.2)"
    if "." in parts.scheme and not parts.netloc:
        return ""  # a private-use scheme of a native app (RFC 8252 §7.1)
    if not host or "@" in parts.netloc or port == 0:
        return "must name a host, and no user"
    if any(part in (".", "..") for part in parts.path.split("/")):
        return "must not have dot segments"
    if parts.scheme == "https" or (parts.scheme == "http" and host in ("127.0.0.1", "::1")):
        return ""
    return "must be https, or http to 127.0.0.1 or [::1] (RFC 8252 §7.3, §8.3)"


class ElementSettings(_Part):
    """A compute element that runs pilots; `local` starts them as processes of this machine."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    type: Literal["local"]
    site: str
    vos: tuple[str, ...]
    max_pilots: Annotated[int, Field(ge=1, le=10000)] = 4
    tags: tuple[str, ...] = ()
    cpu_time: Seconds = 86400
    work_dir: Path = Path("var/pilots")
    # payloads run as the service's own user, who can read its keys: say that those who submit are trusted so far
    trust_payloads: bool = False


class RegistrySettings(_Part):
    """A DIRAC-style configuration file whose `Registry` section is read at every start."""

    file: Path | None = None


class EgressSettings(_Part):
    """Where the service may connect to beside public addresses at port 443 and the providers' own issuers."""

    allow: Annotated[
        tuple[Annotated[str, Field(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$")], ...],
        Field(max_length=256),
    ] = ()


class DeviceFlowSettings(_Part):
    """How far the device flow goes, whose links can be sent to somebody else (RFC 8628 §5.4)."""

    # whether groups with administrative properties can be had by a device code
    administrative_groups: bool = False
    # how old, in seconds, the person's login at the provider may be; 0 asks for a new one each time
    max_age: Annotated[int, Field(ge=0, le=86400)] = 600


class FactorySettings(_Part):
    """The pilot factory's rhythm."""

    interval: Annotated[float, Field(ge=0.1, le=3600)] = 10.0
    heartbeat: Annotated[int, Field(ge=1, le=3600)] = 60
    stalled_after: Seconds = 7200
    matched_timeout: Seconds = 600


PerMinute = Annotated[int, Field(ge=1, le=10_000_000)]
Burst = Annotated[int, Field(ge=1, le=1_000_000)]


class LimitSettings(_Part):
    """How often one caller may call, by class of call: a minute, and at once after a pause. Each process counts alone.

    On public routes one caller is one address (of IPv6 one /64), otherwise one person, pilot, or run of a job.
    """

    document: PerMinute = 1200
    document_burst: Burst = 600
    page: PerMinute = 1200
    page_burst: Burst = 600
    login: PerMinute = 60
    login_burst: Burst = 150
    token: PerMinute = 6000
    token_burst: Burst = 1000
    call: PerMinute = 1200
    call_burst: Burst = 300
    work: PerMinute = 1200
    work_burst: Burst = 300
    guess: PerMinute = 240
    guess_burst: Burst = 240


class Settings(BaseSettings):
    """All settings. `production` refuses what is only good for a trial."""

    model_config = SettingsConfigDict(
        env_prefix="GATEHOUSE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    mode: Literal["production", "development"] = "production"
    database_url: SecretStr = SecretStr("sqlite:///var/gatehouse.db")
    server: ServerSettings = ServerSettings()
    secrets: SecretSettings = SecretSettings()
    lifetimes: Lifetimes = Lifetimes()
    registry: RegistrySettings = RegistrySettings()
    device_flow: DeviceFlowSettings = DeviceFlowSettings()
    egress: EgressSettings = EgressSettings()
    factory: FactorySettings = FactorySettings()
    limits: LimitSettings = LimitSettings()
    providers: tuple[ProviderSettings, ...] = ()
    clients: tuple[ClientSettings, ...] = ()
    elements: tuple[ElementSettings, ...] = ()
    demo: bool = False
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; the file's content arrives as init values."""
        return env_settings, init_settings

    @property
    def issuer(self) -> str:
        """Our own issuer."""
        return f"{self.server.base_url}/auth"
