"""RFC 7662, introspection: section, what it demands of the server, and what proves it.

2 | the address is in the metadata, with how callers authenticate there
    | test_rfc7662_2_the_address_is_published
2.1 | a form by POST, with the token
    | test_rfc7662_2_1_callers_authenticate, test_rfc7662_2_1_a_form_by_post_only
2.1 | the caller authenticates
    | test_rfc7662_2_1_callers_authenticate
2.1 | a hint is only a hint
    | test_rfc7662_2_1_a_hint_that_misleads_is_ignored
2.2 | what an active token says
    | test_rfc7662_2_2_a_resource_learns_about_tokens_that_are_for_it
2.2 | inactive says nothing: expired, revoked, unknown, or not for the caller
    | test_rfc7662_2_2_of_what_is_not_its_business_it_learns_nothing, test_rfc7662_2_2_a_revoked_token_is_not_active
2.2 | a client may ask about its own refresh token, not about one that was turned or ended
    | test_rfc7662_2_2_a_refresh_token_is_active_until_it_is_turned
2.2 | the answer may differ for different callers
    | test_rfc7662_2_2_of_what_is_not_its_business_it_learns_nothing
2.3 | errors are those of RFC 6749 section 5.2; a token that is none is no error
    | test_rfc7662_2_1_callers_authenticate, test_rfc7662_2_2_of_what_is_not_its_business_it_learns_nothing
4 | nobody can scan for tokens: callers authenticate, and their secrets are locked when guessed
    | test_rfc6749_2_3_1_wrong_secrets_lock_the_secret
4 | nothing is kept by caches on the way
    | test_rfc7662_2_2_of_what_is_not_its_business_it_learns_nothing
"""

from collections.abc import Iterator

import httpx
import pytest

from tests.auth.kit import CLIENTS, code_login, error, get, login, post, redeem
from tests.auth.services import SERVICES, STORAGE, ask, own
from tests.road.walkers import eventually
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS + SERVICES) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def test_rfc7662_2_2_a_resource_learns_about_tokens_that_are_for_it(service: Service) -> None:
    token = own(service, resource=STORAGE, scope="storage.read:/data").json()["access_token"]
    for _ in range(2):  # fresh, and kept in readiness
        said = ask(service, token).json()
        assert said["active"] is True
        assert (said["sub"], said["aud"], said["scope"]) == ("transfer", STORAGE, "storage.read:/data")
        assert {"iss", "exp", "iat", "jti", "client_id", "token_type"} <= set(said)


def test_rfc7662_2_2_of_what_is_not_its_business_it_learns_nothing(service: Service) -> None:
    person = login(service)
    other = own(service).json()["access_token"]
    for token in (person["access_token"], person["refresh_token"], other, "no token", other[:-4] + "AAAA"):
        answer = ask(service, token)
        assert (answer.status_code, answer.json()) == (200, {"active": False})
        assert answer.headers["cache-control"] == "no-store"


def test_rfc7662_2_1_callers_authenticate(service: Service) -> None:
    token = own(service, resource=STORAGE).json()["access_token"]
    error(ask(service, token, client_secret="guess"), 401, "invalid_client")
    error(post(service, "introspect", token=token), 401, "invalid_client")
    error(post(service, "introspect", token=token, client_id="DIRAC_CLI"), 401, "invalid_client")
    error(ask(service, ""), 400, "invalid_request")
    assert httpx.get(f"{service.issuer}/introspect", trust_env=False).status_code == 405


def test_rfc7662_2_2_a_revoked_token_is_not_active(service: Service) -> None:
    token = own(service, resource=STORAGE).json()["access_token"]
    assert ask(service, token).json()["active"] is True
    gone = post(service, "revoke", token=token, client_id="transfer", client_secret="transfer secret")
    assert gone.status_code == 200
    eventually(lambda: ask(service, token).json() == {"active": False})


def test_rfc7662_2_the_address_is_published(service: Service) -> None:
    said = get(service, ".well-known/oauth-authorization-server").json()
    assert said["introspection_endpoint"] == f"{service.issuer}/introspect"
    assert "none" not in said["introspection_endpoint_auth_methods_supported"]


def test_rfc7662_2_1_a_form_by_post_only(service: Service) -> None:
    said = {"client_id": "storage", "client_secret": "storage secret", "token": "x"}
    refused = httpx.post(f"{service.issuer}/introspect", json=said, trust_env=False)
    error(refused, 400, "invalid_request")


@pytest.mark.parametrize("hint", ["refresh_token", "access_token", "nonsense"])
def test_rfc7662_2_1_a_hint_that_misleads_is_ignored(service: Service, hint: str) -> None:
    token = own(service, resource=STORAGE, scope="storage.read:/data").json()["access_token"]
    assert ask(service, token, token_type_hint=hint).json()["active"] is True


def test_rfc7662_2_2_a_refresh_token_is_active_until_it_is_turned(service: Service) -> None:
    portal = {"client_id": "portal", "client_secret": "only for this test"}
    first = redeem(service, code_login(service)["code"]).json()["refresh_token"]
    said = post(service, "introspect", token=first, **portal).json()
    assert (said["active"], said["client_id"], said["username"]) == (True, "portal", "alice")
    form = {"grant_type": "refresh_token", "refresh_token": first, **portal}
    second = post(service, "token", **form).json()["refresh_token"]
    assert post(service, "introspect", token=first, **portal).json() == {"active": False}
    assert post(service, "introspect", token=second, **portal).json()["active"] is True
    post(service, "revoke", token=second, **portal)
    assert post(service, "introspect", token=second, **portal).json() == {"active": False}
