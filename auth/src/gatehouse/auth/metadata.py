"""What the service says of itself (RFC 8414, OpenID Connect Discovery): only what exists."""

import json

from gatehouse.auth.authentication import ALGORITHMS
from gatehouse.auth.clients import (
    AUTH_METHODS,
    AUTHORIZATION_CODE,
    CERTIFICATE,
    CLIENT_CREDENTIALS,
    DEVICE_CODE,
    PILOT_SECRET,
    TOKEN_EXCHANGE,
)
from gatehouse.auth.codes import PROMPTS
from gatehouse.auth.pages.texts import LANGUAGES
from gatehouse.auth.scopes import SUPPORTED
from gatehouse.tokenmanager.holderkey import ALGORITHMS as DPOP

_SIGNING = ["RS256", "ES256"]


def _certificates(base: str) -> dict[str, object]:
    """Where clients show a certificate (RFC 8705 §5); nothing without such an address."""
    if not base:
        return {}
    names = {"token": "token", "revocation": "revoke", "device_authorization": "device"}
    names |= {"pushed_authorization_request": "par", "userinfo": "userinfo"}
    return {
        "mtls_endpoint_aliases": {f"{name}_endpoint": f"{base}/auth/{path}" for name, path in names.items()}
    }


def document(issuer: str, configuration_server: str, certificate_base: str = "") -> bytes:
    """The metadata; `setups` and `configuration_server` are read by DIRAC's dirac-configure."""
    grants = [
        AUTHORIZATION_CODE,
        DEVICE_CODE,
        "refresh_token",
        CLIENT_CREDENTIALS,
        TOKEN_EXCHANGE,
        PILOT_SECRET,
    ]
    return json.dumps(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorization",
            "pushed_authorization_request_endpoint": f"{issuer}/par",
            "require_pushed_authorization_requests": False,
            "device_authorization_endpoint": f"{issuer}/device",
            "token_endpoint": f"{issuer}/token",
            "revocation_endpoint": f"{issuer}/revoke",
            "registration_endpoint": f"{issuer}/register",
            "introspection_endpoint": f"{issuer}/introspect",
            "introspection_endpoint_auth_methods_supported": [*AUTH_METHODS[1:]],
            "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
            "userinfo_endpoint": f"{issuer}/userinfo",
            "end_session_endpoint": f"{issuer}/logout",
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "jwks_uri": f"{issuer}/jwk",
            "scopes_supported": list(SUPPORTED),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
            "prompt_values_supported": list(PROMPTS),
            "grant_types_supported": grants + ([CERTIFICATE] if certificate_base else []),
            **_certificates(certificate_base),
            "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
            "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": _SIGNING,
            "claims_supported": [
                *("sub", "preferred_username", "name", "email", "group", "vo", "properties"),
                *("auth_time", "nonce", "sid"),
            ],
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
            "claims_parameter_supported": False,
            "ui_locales_supported": list(LANGUAGES),
            "dpop_signing_alg_values_supported": list(DPOP),
            "setups": ["Gatehouse"],
            "configuration_server": configuration_server,
        },
        separators=(",", ":"),
    ).encode()


def vo_document(issuer: str, jwks_uri: str) -> bytes:
    """The discovery document of a per-VO issuer: verifiers at compute and storage elements need the keys only."""
    return json.dumps(
        {
            "issuer": issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": _SIGNING,
        },
        separators=(",", ":"),
    ).encode()
