"""OpenID Connect Discovery 1.0, where we are the provider: section, what it demands, and what proves it.

2 | WebFinger
    | not applicable: nobody looks for us by an e-mail address
3 | what is required is there
    | test_oidc_discovery_3_what_is_required_is_there
3 | RS256 signs ID tokens; `none` is not for token endpoints
    | test_oidc_discovery_3_what_is_required_is_there, test_rfc8414_2_no_endpoint_takes_unsigned_assertions
3 | the keys are public keys, by use
    | test_oidc_discovery_3_the_keys_are_for_signing
3 | what is said of parameters is so
    | test_oidc_discovery_3_what_is_said_of_parameters_is_so
4 | the path is appended to the issuer
    | test_rfc8414_3_the_metadata_is_the_same_at_all_three_addresses
4.1 | a GET
    | test_rfc8414_3_1_inserted_for_each_issuer
4.2 | application/json, without empty claims
    | test_rfc8414_3_2_the_answer_is_json_without_empty_claims
4.3 | the issuer is that of the address, and of the ID tokens
    | test_oidc_discovery_4_3_the_issuer_is_that_of_the_tokens
7 | TLS
    | test_what_is_unsafe_in_production_is_refused_with_its_sentence
"""

from typing import Any

import httpx
import pytest

from tests.auth.kit import asking, get, login, query
from tests.rfc.kit import RAW, unverified
from tests.service import Service


@pytest.fixture(scope="module")
def said(service: Service) -> dict[str, Any]:
    """The discovery document."""
    found: dict[str, Any] = get(service, ".well-known/openid-configuration").json()
    return found


def test_oidc_discovery_3_what_is_required_is_there(said: dict[str, Any]) -> None:
    for name in ("issuer", "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"):
        assert isinstance(said[name], str)
    for name in (
        "response_types_supported",
        "subject_types_supported",
        "id_token_signing_alg_values_supported",
        "scopes_supported",
        "claims_supported",
    ):
        assert said[name]
        assert all(isinstance(one, str) for one in said[name])
    assert "RS256" in said["id_token_signing_alg_values_supported"]
    assert "none" not in said["id_token_signing_alg_values_supported"]
    assert "openid" in said["scopes_supported"]


def test_oidc_discovery_3_the_keys_are_for_signing(service: Service, said: dict[str, Any]) -> None:
    keys = httpx.get(said["jwks_uri"], **RAW).json()["keys"]
    assert {key["use"] for key in keys} == {"sig"}
    assert {key["alg"] for key in keys} >= set(said["id_token_signing_alg_values_supported"])
    assert all(key["kid"] for key in keys)


def test_oidc_discovery_3_what_is_said_of_parameters_is_so(service: Service, said: dict[str, Any]) -> None:
    assert said["claims_parameter_supported"] is False
    assert said["request_parameter_supported"] is False
    back = query(httpx.get(asking(service, request="eyJ"), **RAW).headers["location"])
    assert back["error"] == "request_not_supported"
    for prompt in said["prompt_values_supported"]:
        answer = httpx.get(asking(service, prompt=prompt), **RAW)
        assert "invalid_request" not in answer.headers["location"]
    for mode in said["response_modes_supported"]:
        assert httpx.get(asking(service, response_mode=mode), **RAW).headers["location"] == "login"
    wrong = query(httpx.get(asking(service, response_mode="form_post"), **RAW).headers["location"])
    assert wrong["error"] == "invalid_request"


def test_oidc_discovery_4_3_the_issuer_is_that_of_the_tokens(service: Service, said: dict[str, Any]) -> None:
    tokens = login(service, scope="openid g:training_user")
    assert said["issuer"] == service.issuer
    assert unverified(tokens["id_token"])["iss"] == said["issuer"]
    assert unverified(tokens["access_token"])["iss"] == said["issuer"]
