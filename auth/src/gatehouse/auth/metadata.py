"""What the service says of itself (RFC 8414, OpenID Connect Discovery), in all the places clients look."""

import json

from gatehouse.auth.clients import DEVICE_CODE, PILOT_SECRET
from gatehouse.auth.scopes import SUPPORTED


def document(issuer: str, configuration_server: str) -> bytes:
    """The metadata; `setups` and `configuration_server` are read by DIRAC's dirac-configure."""
    return json.dumps(
        {
            "issuer": issuer,
            "device_authorization_endpoint": f"{issuer}/device",
            "authorization_endpoint": f"{issuer}/authorization",
            "token_endpoint": f"{issuer}/token",
            "revocation_endpoint": f"{issuer}/revoke",
            "userinfo_endpoint": f"{issuer}/userinfo",
            "jwks_uri": f"{issuer}/jwk",
            "scopes_supported": list(SUPPORTED),
            "response_types_supported": [],
            "grant_types_supported": [DEVICE_CODE, "refresh_token", PILOT_SECRET],
            "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            "revocation_endpoint_auth_methods_supported": [
                "none",
                "client_secret_basic",
                "client_secret_post",
            ],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "claims_supported": ["sub", "preferred_username", "group", "vo", "properties"],
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
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        },
        separators=(",", ":"),
    ).encode()
