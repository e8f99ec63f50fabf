"""RFC 7009, revocation: section, what it demands of the server, and what proves it.

2 | refresh tokens and access tokens can be revoked
    | test_a_revoked_refresh_token_ends_the_login, test_a_revoked_access_token_ends_alone
2 | TLS
    | test_what_is_unsafe_in_production_is_refused_with_its_sentence
2 | the address is in the metadata, with how clients authenticate there (RFC 8414)
    | test_rfc7009_2_the_address_is_published
2.1 | a form by POST, with the token
    | test_rfc7009_2_1_a_form_by_post_only, test_rfc7009_2_1_a_token_must_be_named
2.1 | the client's credentials are verified first
    | test_rfc7009_2_1_the_client_authenticates_first
2.1 | a token of another client is refused, and lives on
    | test_rfc7009_2_1_only_its_client_may_revoke_a_token
2.1 | a hint is only a hint, also a wrong or unknown one
    | test_a_revoked_access_token_ends_alone, test_rfc7009_2_1_a_hint_that_misleads_is_ignored
2.1 | revoking a refresh token ends the access tokens of its grant
    | test_a_revoked_refresh_token_ends_the_login
2.1 | an access token revoked by itself may leave its refresh token
    | test_a_revoked_access_token_ends_alone
2.1 | it takes effect, after a short time in which the processes hear of it
    | test_a_revocation_reaches_the_other_process_in_time
2.2 | 200 when revoked, and 200 for a token that is none
    | test_rfc7009_2_2_an_unknown_token_is_fine, test_rfc7009_2_2_a_second_time_is_fine
2.2.1 | errors are those of RFC 6749 section 5.2
    | test_rfc7009_2_2_1_errors_look_like_those_of_the_token_endpoint
2.2.1 | unsupported_token_type
    | not applicable: both types can be revoked
2.2.1 | 503 with Retry-After when it cannot be done now
    | test_too_many_waiting_are_refused_at_once
2.3 | cross-origin requests
    | not applicable: optional, and none of our clients lives in a page
3 | tokens that verify themselves end by being listed
    | test_a_revoked_access_token_ends_alone
5 | nobody learns from the answer whether a token was genuine
    | test_rfc7009_5_the_answer_tells_nothing_about_the_token
"""

import httpx
import pytest

from tests.auth.kit import error, get, login, post
from tests.rfc.kit import RAW, SECRET, basic, raw_post, wait_until
from tests.service import Service


def refreshed(service: Service, token: str) -> httpx.Response:
    """Use a refresh token of DIRAC's command line."""
    return post(service, "token", grant_type="refresh_token", refresh_token=token, client_id="DIRAC_CLI")


def test_rfc7009_2_the_address_is_published(service: Service) -> None:
    said = get(service, ".well-known/openid-configuration").json()
    assert said["revocation_endpoint"] == f"{service.issuer}/revoke"
    assert {"none", "client_secret_basic"} <= set(said["revocation_endpoint_auth_methods_supported"])


def test_rfc7009_2_1_a_form_by_post_only(service: Service) -> None:
    token = login(service)["refresh_token"]
    said = {"client_id": "DIRAC_CLI", "token": token}
    assert httpx.get(f"{service.issuer}/revoke", params=said, **RAW).status_code == 405
    error(httpx.post(f"{service.issuer}/revoke", params=said, **RAW), 400, "invalid_request")
    error(httpx.post(f"{service.issuer}/revoke", json=said, **RAW), 400, "invalid_request")
    assert refreshed(service, token).status_code == 200


def test_rfc7009_2_1_the_client_authenticates_first(service: Service) -> None:
    """Wrong credentials are told before anything about the token is, and change nothing."""
    token = login(service)["refresh_token"]
    error(post(service, "revoke", token=token), 401, "invalid_client")
    error(post(service, "revoke", token=token, client_id="portal"), 401, "invalid_client")
    header = raw_post(service, "revoke", f"token={token}", Authorization=basic("portal", "guess"))
    error(header, 401, "invalid_client")
    assert header.headers["www-authenticate"].startswith("Basic ")
    error(post(service, "revoke", token="", client_id="portal"), 401, "invalid_client")
    assert refreshed(service, token).status_code == 200


@pytest.mark.parametrize("hint", ["access_token", "urn:unheard-of", "x" * 300])
def test_rfc7009_2_1_a_hint_that_misleads_is_ignored(service: Service, hint: str) -> None:
    token = login(service)["refresh_token"]
    done = post(service, "revoke", token=token, client_id="DIRAC_CLI", token_type_hint=hint)
    assert done.status_code == 200, done.text
    error(refreshed(service, token), 400, "invalid_grant")


def test_rfc7009_2_2_a_second_time_is_fine(service: Service) -> None:
    tokens = login(service)
    for token in (tokens["access_token"], tokens["refresh_token"]):
        for _ in range(2):
            assert post(service, "revoke", token=token, client_id="DIRAC_CLI").status_code == 200
    wait_until(lambda: get(service, "userinfo", tokens["access_token"]).status_code == 401)


def test_rfc7009_2_2_1_errors_look_like_those_of_the_token_endpoint(service: Service) -> None:
    missing = post(service, "revoke", client_id="DIRAC_CLI", token_type_hint="access_token")
    error(missing, 400, "invalid_request")
    twice = raw_post(service, "revoke", "client_id=DIRAC_CLI&token=a&token=b")
    error(twice, 400, "invalid_request")
    assert missing.headers["content-type"].startswith("application/json")


def test_rfc7009_5_the_answer_tells_nothing_about_the_token(service: Service) -> None:
    genuine = login(service)["refresh_token"]
    answers = [
        post(service, "revoke", token=token, client_id="DIRAC_CLI")
        for token in (genuine, "gh1.none", genuine)
    ]
    shapes = {(one.status_code, one.text, tuple(sorted(one.headers))) for one in answers}
    assert len(shapes) == 1
    assert SECRET not in answers[0].text
