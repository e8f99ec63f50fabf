"""Clients that nobody here wrote log in through the real pages: Authlib, requests-oauthlib, oauthlib, idpyoidc."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptojwt.key_jar import build_keyjar
from idpyoidc.client.defaults import DEFAULT_KEY_DEFS
from idpyoidc.client.rp_handler import RPHandler
from oauthlib.oauth2 import DeviceClient, InvalidGrantError
from requests_oauthlib import OAuth2Session

from gatehouse.registry.clock import SYSTEM
from tests.auth.kit import VERIFIER, query
from tests.interop.house import AWKWARD, BACK, House, parts

SCOPE = "openid profile offline_access g:training_user"


def metadata(house: House) -> dict[str, Any]:
    """What the service says of itself."""
    with httpx.Client(verify=house.trust, trust_env=False) as http:
        found: dict[str, Any] = http.get(f"{house.issuer}/.well-known/openid-configuration").json()
    return found


def dead(house: House, client: str, token: str, **form: str) -> bool:
    """Whether a refresh token is over."""
    said = {"grant_type": "refresh_token", "client_id": client, "refresh_token": token, **form}
    answer = httpx.post(f"{house.issuer}/token", data=said, verify=house.trust, trust_env=False)
    assert answer.json()["error"] == "invalid_grant", answer.text
    return True


# -- Authlib


def authlib(client_id: str, secret: object = "", **given: Any) -> Any:
    """Authlib's client on httpx; the import warns of another transport that it would rather have."""
    from authlib.integrations.httpx_client import OAuth2Client

    return OAuth2Client(
        client_id,
        secret,
        redirect_uri=BACK,
        scope=SCOPE,
        code_challenge_method="S256",
        trust_env=False,
        **given,
    )


def test_authlib_logs_in_by_code_refreshes_and_revokes(house: House) -> None:
    said = metadata(house)
    with authlib(
        "awkward",
        AWKWARD,
        token_endpoint=said["token_endpoint"],
        verify=house.trust,
    ) as client:
        address, state = client.create_authorization_url(
            said["authorization_endpoint"], code_verifier=VERIFIER, nonce="n-1"
        )
        back = house.walk(address)
        assert query(back)["iss"] == said["issuer"]
        token = client.fetch_token(authorization_response=back, state=state, code_verifier=VERIFIER)
        assert parts(token["id_token"])[1]["nonce"] == "n-1"
        assert client.get(said["userinfo_endpoint"]).json()["username"] == "alice"
        new = client.refresh_token()
        assert new["refresh_token"] != token["refresh_token"]
        assert client.get(said["userinfo_endpoint"]).json()["group"] == "training_user"
        gone = client.revoke_token(
            said["revocation_endpoint"], new["refresh_token"], token_type_hint="refresh_token"
        )
        assert gone.status_code == 200
    assert dead(house, "awkward", new["refresh_token"], client_secret=AWKWARD)


def test_authlib_refreshes_by_itself_when_its_token_is_over(house: House) -> None:
    said, kept = metadata(house), []
    with authlib(
        "native",
        token_endpoint_auth_method="none",
        token_endpoint=said["token_endpoint"],
        update_token=lambda token, **_old: kept.append(token),
        verify=house.trust,
    ) as client:
        address, state = client.create_authorization_url(
            said["authorization_endpoint"], code_verifier=VERIFIER
        )
        client.fetch_token(authorization_response=house.walk(address), state=state, code_verifier=VERIFIER)
        client.token["expires_at"] = 1
        assert client.get(said["userinfo_endpoint"]).status_code == 200
    assert len(kept) == 1


def signing(house: House, audience: str = "", seconds: int = 300) -> PrivateKeyJWT:
    """Authlib's signer, for one request: it keeps the `jti` of the first when it is told a claim."""
    claims = {"exp": SYSTEM.now() + seconds}
    return PrivateKeyJWT(audience or house.issuer, claims, {"kid": house.client_key.kid})


def test_authlib_pushes_its_request_and_signs_with_its_key(house: House) -> None:
    said = metadata(house)
    with authlib(
        "keyed", house.client_key.pem, token_endpoint_auth_method="private_key_jwt", verify=house.trust
    ) as client:
        client.register_client_auth_method(signing(house))
        address, state = client.create_authorization_url("https://unused", code_verifier=VERIFIER)
        # Authlib has no call for PAR: its own parameters go there, its own authentication with them
        pushed = client.request(
            "POST",
            said["pushed_authorization_request_endpoint"],
            data=query(address),
            auth=client.client_auth("private_key_jwt"),
            withhold_token=True,
        )
        assert pushed.status_code == 201, pushed.text
        short = f"{said['authorization_endpoint']}?client_id=keyed&request_uri={pushed.json()['request_uri']}"
        back = house.walk(short)
        client.register_client_auth_method(signing(house))
        token = client.fetch_token(
            said["token_endpoint"], authorization_response=back, state=state, code_verifier=VERIFIER
        )
        assert token["scope"] == SCOPE
        client.register_client_auth_method(signing(house))
        new = client.refresh_token(said["token_endpoint"])
        assert new["access_token"] != token["access_token"]


def test_authlibs_own_habits_in_signing_are_refused(house: House) -> None:
    """The token endpoint as audience (CVE-2025-27370), and an hour of life: neither is for one request."""
    said = metadata(house)
    endpoint = said["token_endpoint"]
    for habit in (signing(house, endpoint), signing(house, seconds=3600)):
        with authlib(
            "keyed", house.client_key.pem, token_endpoint_auth_method="private_key_jwt", verify=house.trust
        ) as client:
            client.register_client_auth_method(habit)
            with pytest.raises(OAuthError, match="invalid_client"):
                client.refresh_token(endpoint, "any")


# -- requests-oauthlib


def test_requests_oauthlib_logs_in_by_code_and_refreshes(house: House) -> None:
    said = metadata(house)
    with OAuth2Session("awkward", redirect_uri=BACK, scope=SCOPE, pkce="S256") as session:
        session.verify, session.trust_env = str(house.ca), False
        address, state = session.authorization_url(said["authorization_endpoint"])
        back = house.walk(address)
        assert query(back)["state"] == state
        token = session.fetch_token(
            said["token_endpoint"], authorization_response=back, client_secret=AWKWARD
        )
        assert session.get(said["userinfo_endpoint"]).json()["username"] == "alice"
        new = session.refresh_token(said["token_endpoint"], auth=("awkward", AWKWARD))
        assert new["refresh_token"] != token["refresh_token"]
        assert session.get(said["userinfo_endpoint"]).status_code == 200


# -- oauthlib


def test_oauthlib_logs_in_a_device(house: House) -> None:
    said = metadata(house)
    client = DeviceClient("DIRAC_CLI", scope=SCOPE.split())
    with requests.Session() as http:
        http.verify, http.trust_env = str(house.ca), False
        # it writes the parameters into the query, where RFC 8628 §3.1 wants a form
        uri = urlsplit(client.prepare_request_uri(said["device_authorization_endpoint"]))
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        started = http.post(uri._replace(query="").geturl(), headers=headers, data=uri.query).json()
        form = client.prepare_request_body(started["device_code"], include_client_id=True)
        waiting = http.post(said["token_endpoint"], data=form, headers=headers)
        with pytest.raises(Exception, match="authorization_pending"):
            client.parse_request_body_response(waiting.text)
        house.confirm(started)
        given = http.post(said["token_endpoint"], data=form, headers=headers)
        token = client.parse_request_body_response(given.text, scope=SCOPE.split())
        assert token["access_token"]
        again = http.post(said["token_endpoint"], data=form, headers=headers)
        with pytest.raises(InvalidGrantError):
            client.parse_request_body_response(again.text)
        form = client.prepare_refresh_body(token["refresh_token"], client_id="DIRAC_CLI")
        fresh = http.post(said["token_endpoint"], data=form, headers=headers)
        assert client.parse_request_body_response(fresh.text)["refresh_token"] != token["refresh_token"]
        uri, headers, body = client.prepare_token_revocation_request(
            said["revocation_endpoint"], client.refresh_token, "refresh_token", client_id="DIRAC_CLI"
        )
        assert http.post(uri, headers=headers, data=body).status_code == 200
    assert dead(house, "DIRAC_CLI", client.refresh_token)


# -- idpyoidc


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")  # it trusts any localhost
def test_idpyoidc_discovers_logs_in_and_verifies(house: House) -> None:
    trust = {"verify": str(house.ca)}
    handler = RPHandler(
        BACK,
        keyjar=build_keyjar(DEFAULT_KEY_DEFS),  # by default it writes keys to where it is started
        client_configs={
            "gate": {
                "client_type": "oidc",
                "issuer": house.issuer,
                "client_id": "awkward",
                "client_secret": AWKWARD,
                "redirect_uris": [BACK],
                "scope": SCOPE.split(),
                "response_types_supported": ["code"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "add_ons": {
                    "pkce": {
                        "function": "idpyoidc.client.oauth2.add_on.pkce.add_support",
                        "kwargs": {"code_challenge_length": 64, "code_challenge_method": "S256"},
                    }
                },
            }
        },
        httpc_params=trust,
    )
    begun = handler.begin("gate", req_args={"scope": SCOPE.split()})
    address = begun if isinstance(begun, str) else begun["url"]
    assert query(address)["code_challenge_method"] == "S256"
    done = handler.finalize(house.issuer, query(house.walk(address)))
    assert "error" not in done, done
    assert done["userinfo"]["preferred_username"] == "alice"
    assert done["id_token"]["nonce"] == query(address)["nonce"]
    assert done["token"]
