"""What a client may be: descriptions that do not fit together are refused before the service starts."""

import pytest
from pydantic import ValidationError

from gatehouse.auth.clients import AUTHORIZATION_CODE, CLIENT_CREDENTIALS, TOKEN_EXCHANGE, from_settings
from gatehouse.registry.errors import ConfigurationError
from gatehouse.registry.settings import ClientSettings, bad_redirect

HOST = "/DC=org/DC=grid/CN=ce.example.org"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"auth": "private_key_jwt"}, "no key"),
        ({"auth": "tls_client_auth"}, "no tls_subject"),
        ({"auth": "client_secret_basic"}, "no secret"),
        ({"grant_types": (CLIENT_CREDENTIALS,)}, "public"),
        ({"grant_types": (TOKEN_EXCHANGE,)}, "public"),
        ({"jwks": "{}"}, "JWK Set"),
        ({"jwks": '{"keys": [{"kty": "oct", "k": "AAAA", "kid": "1"}]}'}, "private key"),
        ({"jwks": '{"keys": []}', "jwks_uri": "https://a.example"}, "exclude each other"),
        ({"certificate_bound": True}, "certificate"),
        ({"scopes": ("host.auth",)}, "must be called host:"),
        ({"client_id": "host:ce", "auth": "tls_client_auth", "tls_subject": HOST}, "must be called host:"),
        ({"client_id": "host:ce.example.org", "client_secret": "s"}, "authenticates with a certificate"),
        (
            {"client_id": "host:x.example.org", "auth": "tls_client_auth", "tls_subject": HOST},
            "whose CN is x.example.org",
        ),
        (
            {"client_id": "host:e.example.org", "auth": "tls_client_auth", "tls_subject": HOST},
            "whose CN is e.example.org",
        ),
    ],
)
def test_a_description_that_does_not_fit_is_refused(given: dict[str, object], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        from_settings(ClientSettings(**{"client_id": "one", **given}))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ce.example.org", "host/ce.example.org"])
def test_a_host_is_called_as_its_certificate_says(name: str) -> None:
    host = ClientSettings(
        client_id="host:ce.example.org",
        auth="tls_client_auth",
        tls_subject=f"/DC=org/DC=grid/CN={name}",
        scopes=("host.auth",),
        grant_types=(CLIENT_CREDENTIALS,),
    )
    assert from_settings(host).auth == {"tls_client_auth"}


@pytest.mark.parametrize(
    "uri",
    [
        "http://portal.example.org/back",
        "http://localhost/back",
        "http://127.0.0.1.evil.example/back",
        "http://127.0.0.1:80@evil.example/back",
        "https://user@portal.example.org/back",
        "https://portal.example.org/back#here",
        "https://portal.example.org/*",
        "https://portal.example.org/a/../b",
        "https:///back",
        "javascript:alert(1)",
        "data:text/html,hello",
        "custom:/back",
        "//portal.example.org/back",
        "https://portal.example.org/ back",
        "https://portal.example.org:0/",
        "https://portal.example.org:port/",
        "https://pörtal.example.org/",
        "",
    ],
)
def test_rfc9700_4_1_3_redirect_addresses_that_nobody_may_register(uri: str) -> None:
    assert bad_redirect(uri)
    with pytest.raises(ValidationError):
        ClientSettings(client_id="one", redirect_uris=(uri,))


def test_rfc8252_redirect_addresses_of_native_apps() -> None:
    own = ("http://127.0.0.1/back", "http://[::1]/back", "https://app.example.org/back", "org.example.app:/b")
    client = from_settings(
        ClientSettings(client_id="one", grant_types=(AUTHORIZATION_CODE,), redirect_uris=own)
    )
    for good in (*own, "http://127.0.0.1:1/back", "http://[::1]:65535/back"):
        assert client.check_redirect_uri(good), good
    for bad in (
        "http://127.0.0.1:1/other",
        "http://127.0.0.1:1/back?x=1",
        "http://127.0.0.1:99999/back",
        "http://127.0.0.2:1/back",
        "https://127.0.0.1:1/back",
        "https://app.example.org:8443/back",
        "HTTPS://app.example.org/back",
        "org.example.app:/b/",
        "http://a@127.0.0.1:1/back",
        "http://127.0.0.1:/back",
    ):
        assert not client.check_redirect_uri(bad), bad
