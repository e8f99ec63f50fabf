"""What a client may say of itself when it registers (RFC 7591 §2), and whether it may have it.

Only the members of `Metadata` are ever read: whatever else a document holds, our own settings included, is as if it
were not there. Logos and the like are not among them, so nothing of the kind is fetched or shown.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn

import msgspec
from msgspec import Meta, Struct
from pydantic import ValidationError

from gatehouse.auth.clients import (
    AUTH_METHODS,
    AUTHORIZATION_CODE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    SECRET_METHODS,
    TOKEN_EXCHANGE,
    Client,
    make,
)
from gatehouse.auth.providers.egress import Guard, NotAllowed
from gatehouse.auth.scopes import OPENID
from gatehouse.auth.server import sayable
from gatehouse.registry.capabilities import covered
from gatehouse.registry.errors import ConfigurationError, Problem
from gatehouse.registry.settings import ClientSettings, bad_redirect

GRANTS = (AUTHORIZATION_CODE, DEVICE_CODE, "refresh_token", CLIENT_CREDENTIALS, TOKEN_EXCHANGE)
"""The grants that a client can register for at all; those of pilots and of certificates are ours."""

_Text = Annotated[str, Meta(max_length=255)]
_Uri = Annotated[str, Meta(max_length=1024)]
_Uris = Annotated[tuple[_Uri, ...], Meta(max_length=32)]
_Names = Annotated[tuple[_Text, ...], Meta(max_length=64)]
# what only our answers hold (RFC 7592 §2.2)
_OURS = ("registration_access_token", "registration_client_uri", "client_secret_expires_at")


class Metadata(Struct, frozen=True, kw_only=True):
    """RFC 7591 §2, and of OpenID Connect, RFC 8705, RFC 9126 and RFC 9449 what we act upon.

    `audiences` and `resources` are ours: whom the client's tokens may be for, and what it is itself (RFC 8707).
    """

    client_name: Annotated[str, Meta(max_length=128)] = ""
    redirect_uris: _Uris = ()
    token_endpoint_auth_method: _Text = "client_secret_basic"  # noqa: S105 - the name of a method
    grant_types: Annotated[tuple[_Text, ...], Meta(max_length=16)] = (AUTHORIZATION_CODE,)
    response_types: Annotated[tuple[_Text, ...], Meta(max_length=16)] | None = None
    scope: _Uri = ""
    contacts: Annotated[tuple[_Text, ...], Meta(max_length=8)] = ()
    client_uri: _Uri = ""
    software_id: _Text = ""
    software_version: _Text = ""
    jwks: dict[str, Any] | None = None
    jwks_uri: _Uri = ""
    post_logout_redirect_uris: _Uris = ()
    backchannel_logout_uri: _Uri = ""
    tls_client_auth_subject_dn: _Uri = ""
    require_pushed_authorization_requests: bool = False
    dpop_bound_access_tokens: bool = False
    id_token_signed_response_alg: Literal["ES256", "RS256"] = "ES256"  # noqa: S105 - an algorithm
    audiences: _Names = ()
    resources: _Names = ()

    @property
    def with_secret(self) -> bool:
        """Whether such a client needs a secret."""
        return self.token_endpoint_auth_method in SECRET_METHODS

    def spoken(self) -> dict[str, Any]:
        """All that is registered, defaults included (RFC 7591 §3.2.1)."""
        said: dict[str, Any] = msgspec.to_builtins(self)
        return {name: value for name, value in said.items() if value or name == "response_types"}


class Ceiling(Struct, frozen=True, kw_only=True):
    """The most that a client may register for, as its invitation says; `public`: without authenticating."""

    grants: tuple[str, ...] = (AUTHORIZATION_CODE, DEVICE_CODE, "refresh_token")
    scopes: tuple[str, ...] = ()
    audiences: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    public: bool = False


def read(body: bytes) -> dict[str, Any]:
    """The members of a registration request; those without a value are left out. Raises Problem 400."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        _refuse("The body is not a JSON object.")
    if not isinstance(found, dict):
        _refuse("The body is not a JSON object.")
    if found.get("software_statement") is not None:
        raise Problem(
            400,
            "invalid_software_statement",
            "Software statements are not believed here.",
            hint="Leave software_statement out; the initial access token is enough.",
        )
    return {name: value for name, value in found.items() if value is not None}


def understood(given: Mapping[str, Any]) -> Metadata:
    """The metadata that are known here, each of its type. Raises Problem 400."""
    try:
        read = msgspec.convert(dict(given), Metadata, strict=True)
    except (msgspec.ValidationError, RecursionError) as error:
        _refuse(f"The metadata cannot be read: {error}.")
    if read.response_types is None:
        code = AUTHORIZATION_CODE in read.grant_types
        read = msgspec.structs.replace(read, response_types=("code",) if code else ())
    return read


def unchanged(given: Mapping[str, Any], client_id: str) -> None:
    """Hold a change to what it may not touch (RFC 7592 §2.2). Raises Problem 400."""
    if given.get("client_id") != client_id:
        _refuse("The client_id has to be there, and is that of this client (RFC 7592 section 2.2).")
    for name in (*_OURS, "client_id_issued_at"):
        if name in given:
            _refuse(f"{name} is ours to say, so a change does not hold it (RFC 7592 section 2.2).")


def admitted(given: Metadata, ceiling: Ceiling, guard: Guard, taken: frozenset[str]) -> None:
    """Let metadata pass that make a client, and none with more than the ceiling. Raises Problem 400.

    `taken` are names of clients, folded, that nobody else may be called by.
    """
    _redirects(given)
    for why in (
        _names(given, taken),
        _flows(given),
        _addresses(given, guard),
        beyond(given, ceiling),
    ):
        if why:
            _refuse(why)
    try:
        client(given, "(new)")
    except ConfigurationError as error:
        _refuse(str(error))
    except ValidationError as error:
        _refuse(f"The metadata cannot be used: {error.errors()[0]['msg']}.")


def _redirects(given: Metadata) -> None:
    for uri in given.redirect_uris:
        if why := bad_redirect(uri):
            raise Problem(400, "invalid_redirect_uri", sayable(f"{uri[:100]}: {why}."))
    if AUTHORIZATION_CODE in given.grant_types and not given.redirect_uris:
        raise Problem(400, "invalid_redirect_uri", "The authorization code grant needs redirect_uris.")
    for uri in given.post_logout_redirect_uris:
        if why := bad_redirect(uri):
            _refuse(f"post_logout_redirect_uris, {uri[:100]}: {why}.")


def _names(given: Metadata, taken: frozenset[str]) -> str:
    """People read these: one line, nothing invisible, and nobody else's name."""
    texts = (given.client_name, given.client_uri, given.software_id, given.software_version, *given.contacts)
    if not all(text.isprintable() for text in texts):
        return "A name or contact has characters that cannot be printed."
    if given.client_name != " ".join(given.client_name.split()):
        return "The client_name has blanks at an end, or several in a row."
    if folded(given.client_name) in taken:
        return "This client_name is that of another client of this service."
    return ""


def folded(name: str) -> str:
    """A name without what people overlook."""
    return "".join(name.casefold().split())


def _flows(given: Metadata) -> str:
    """RFC 7591 §2.1: grants, response types and authentication fit each other."""
    code = AUTHORIZATION_CODE in given.grant_types
    if set(given.response_types or ()) != ({"code"} if code else set()):
        return "response_types must be code with the authorization_code grant, and none without it."
    if not given.grant_types:
        return "grant_types names no grant."
    if given.token_endpoint_auth_method not in AUTH_METHODS:
        return f"token_endpoint_auth_method must be one of {', '.join(AUTH_METHODS)}."
    if given.jwks is not None and given.jwks_uri:
        return "jwks and jwks_uri exclude each other (RFC 7591 section 2)."
    if given.token_endpoint_auth_method == "none" and CLIENT_CREDENTIALS in given.grant_types:  # noqa: S105
        return "A client without authentication has no credentials to use (RFC 6749 section 4.4)."
    return ""


def _addresses(given: Metadata, guard: Guard) -> str:
    """What we would connect to: said now, and judged again, by number, at each connection."""
    for name, uri in (
        ("jwks_uri", given.jwks_uri),
        ("backchannel_logout_uri", given.backchannel_logout_uri),
    ):
        try:
            if uri:
                guard.target(uri)
        except NotAllowed as error:
            return f"{name}: {error}."
    return ""


def beyond(given: Metadata, ceiling: Ceiling) -> str:
    """The first thing that an invitation does not give; empty when there is none."""
    if given.token_endpoint_auth_method == "none" and not ceiling.public:  # noqa: S105
        return "This invitation is not for public clients: choose a token_endpoint_auth_method."
    # those of OpenID Connect are the person's to give, at each login, and no client's own
    wanted = [word for word in given.scope.split() if word not in OPENID]
    parts = (
        ("grant", [one for one in given.grant_types if one not in ceiling.grants]),
        ("scope", [one for one in wanted if not covered(frozenset(ceiling.scopes), one)]),
        ("audience", [one for one in given.audiences if one not in ceiling.audiences]),
        ("resource", [one for one in given.resources if one not in ceiling.resources]),
    )
    for what, missing in parts:
        if missing:
            return f"This invitation does not give the {what} {missing[0][:100]}."
    return ""


def client(given: Metadata, client_id: str, is_secret: Any = lambda _said: False) -> Client:
    """The client that metadata describe. Raises ConfigurationError, ValidationError."""
    return make(settings(given, client_id), is_secret, given.with_secret)


def settings(given: Metadata, client_id: str) -> ClientSettings:
    """The description of a client that configured ones have too. Raises ValidationError."""
    return ClientSettings.model_validate(
        {
            "client_id": client_id,
            "name": given.client_name,
            "auth": given.token_endpoint_auth_method,
            "jwks": msgspec.json.encode(given.jwks).decode() if given.jwks is not None else "",
            "jwks_uri": given.jwks_uri,
            "tls_subject": given.tls_client_auth_subject_dn,
            "grant_types": given.grant_types,
            "redirect_uris": given.redirect_uris,
            "post_logout_redirect_uris": given.post_logout_redirect_uris,
            "backchannel_logout_uri": given.backchannel_logout_uri,
            "scopes": tuple(one for one in given.scope.split() if one not in OPENID),
            "audiences": given.audiences,
            "resources": given.resources,
            "pushed_requests_only": given.require_pushed_authorization_requests,
            "dpop_only": given.dpop_bound_access_tokens,
            "access_token_alg": given.id_token_signed_response_alg,
        }
    )


def _refuse(why: str) -> NoReturn:
    raise Problem(400, "invalid_client_metadata", sayable(why))
