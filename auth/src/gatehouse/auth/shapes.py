"""What the endpoints for programs take and give, for the description of the API; the grants read the forms."""

from typing import Any

from msgspec import Struct


class _Authenticated(Struct, kw_only=True, omit_defaults=True):
    """RFC 6749 §2.3.1, RFC 7521 §4.2; the client may also use Basic or a certificate."""

    client_id: str = ""
    client_secret: str = ""
    client_assertion_type: str = ""
    client_assertion: str = ""


class TokenForm(_Authenticated, kw_only=True, omit_defaults=True):
    """RFC 6749 §4.1.3, §6; RFC 7636 §4.5; RFC 8628 §3.4; RFC 8693 §2.1; RFC 8707 §2."""

    grant_type: str
    scope: str = ""
    resource: str = ""
    audience: str = ""
    code: str = ""
    redirect_uri: str = ""
    code_verifier: str = ""
    device_code: str = ""
    refresh_token: str = ""
    subject_token: str = ""
    subject_token_type: str = ""
    requested_token_type: str = ""
    actor_token: str = ""
    actor_token_type: str = ""


class DeviceForm(_Authenticated, kw_only=True, omit_defaults=True):
    """RFC 8628 §3.1."""

    scope: str = ""
    resource: str = ""
    audience: str = ""


class Asking(Struct, kw_only=True, omit_defaults=True):
    """RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2, RFC 9126 §4, OpenID Connect Core §3.1.2.1."""

    client_id: str
    response_type: str = ""
    redirect_uri: str = ""
    scope: str = ""
    state: str = ""
    nonce: str = ""
    code_challenge: str = ""
    code_challenge_method: str = ""
    prompt: str = ""
    max_age: str = ""
    resource: str = ""
    request_uri: str = ""


class PushForm(_Authenticated, kw_only=True, omit_defaults=True):
    """RFC 9126 §2.1: the parameters of an authorization request."""

    response_type: str
    redirect_uri: str
    code_challenge: str
    code_challenge_method: str
    scope: str = ""
    state: str = ""
    nonce: str = ""
    prompt: str = ""
    max_age: str = ""
    resource: str = ""


class TokenHint(_Authenticated, kw_only=True, omit_defaults=True):
    """RFC 7009 §2.1, RFC 7662 §2.1."""

    token: str
    token_type_hint: str = ""


class LogoutForm(Struct):
    """OpenID Connect Back-Channel Logout §2.5."""

    logout_token: str


class Tokens(Struct, kw_only=True, omit_defaults=True):
    """RFC 6749 §5.1, RFC 8693 §2.2.1, OpenID Connect Core §3.1.3.3."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str = ""
    refresh_token: str = ""
    id_token: str = ""
    issued_token_type: str = ""


class Started(Struct):
    """RFC 8628 §3.2."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class Pushed(Struct):
    """RFC 9126 §2.2."""

    request_uri: str
    expires_in: int


class Introspected(Struct):
    """RFC 7662 §2.2; of a token that is not active, or not the caller's to know, nothing else."""

    active: bool


class UserInfo(Struct, omit_defaults=True):
    """OpenID Connect Core §5.3.2; more with the scopes `profile` and `email`."""

    sub: str
    preferred_username: str
    username: str
    group: str
    vo: str
    properties: list[str]


class KeySet(Struct):
    """RFC 7517 §5."""

    keys: list[dict[str, Any]]


class Issuer(Struct):
    """RFC 8414 §2, OpenID Connect Discovery §3; this much is always there."""

    issuer: str
    jwks_uri: str


class Resource(Struct):
    """RFC 9728 §2."""

    resource: str
    authorization_servers: list[str]


class Registration(Struct, omit_defaults=True):
    """RFC 7591 §3.2.1, RFC 7592 §3: the client as it is registered; the rest is its metadata."""

    client_id: str
    registration_client_uri: str = ""
    registration_access_token: str = ""
    client_secret: str = ""


class Told(Struct, omit_defaults=True):
    """What a provider's answer brings: RFC 6749 §4.1.2, RFC 9207 §2."""

    state: str
    code: str = ""
    iss: str = ""
    error: str = ""
    error_description: str = ""


class Typed(Struct, omit_defaults=True):
    """RFC 8628 §3.3.1."""

    user_code: str = ""


PAGE: dict[int, str | None] = {200: "text/html", 302: None, 303: None}
"""What a step of a browser's journey answers: a page, or where to go on."""


class PageForm(Struct):
    """What a page of ours posts; `csrf` says that it was ours."""

    csrf: str = ""
