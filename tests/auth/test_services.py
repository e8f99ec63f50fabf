"""Services over a socket: client credentials, introspection (RFC 7662), token exchange (RFC 8693)."""

from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest

from tests.auth.kit import CLIENTS, code_login, error, get, login, post, redeem
from tests.road.walkers import eventually
from tests.service import Service

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS = "urn:ietf:params:oauth:token-type:access_token"
STORAGE = "https://storage.example.org"
SERVICES = """
[[clients]]
client_id = "transfer"
name = "File transfer service"
client_secret = "transfer secret"
grant_types = ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"]
scopes = ["storage.read:/data", "compute.read"]
audiences = ["https://storage.example.org"]

[[clients]]
client_id = "storage"
client_secret = "storage secret"
grant_types = []
resources = ["https://storage.example.org"]

[[clients]]
client_id = "guessed"
client_secret = "guessed secret"
grant_types = ["client_credentials"]

[[clients]]
client_id = "api"
client_secret = "api secret"
grant_types = ["urn:ietf:params:oauth:grant-type:token-exchange"]
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS + SERVICES) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def claims(token: str) -> dict[str, Any]:
    """What a token says."""
    said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return said


def own(service: Service, **form: str) -> httpx.Response:
    """The transfer service asks for a token of its own."""
    return post(
        service,
        "token",
        grant_type="client_credentials",
        client_id="transfer",
        client_secret="transfer secret",
        **form,
    )


def ask(service: Service, token: str, client: str = "storage", **form: str) -> httpx.Response:
    """A resource asks about a token."""
    said = {"client_id": client, "client_secret": f"{client} secret", "token": token, **form}
    return post(service, "introspect", **said)


def trade(service: Service, token: str, client: str = "api", **form: str) -> httpx.Response:
    """A service exchanges a token."""
    said = {
        "grant_type": EXCHANGE,
        "client_id": client,
        "client_secret": f"{client} secret",
        "subject_token": token,
        "subject_token_type": ACCESS,
        **form,
    }
    return post(service, "token", **{name: value for name, value in said.items() if value})


# --- client credentials


def test_rfc6749_4_4_a_service_gets_a_token_of_its_own_and_no_refresh_token(service: Service) -> None:
    answer = own(service, scope="storage.read:/data/set1", resource=STORAGE, lifetime="")
    assert answer.status_code == 200, answer.text
    assert "refresh_token" not in answer.json()
    said = claims(answer.json()["access_token"])
    assert (said["sub"], said["aud"], said["scope"]) == ("transfer", STORAGE, "storage.read:/data/set1")
    assert own(service).json()["scope"] == "compute.read storage.read:/data"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"scope": "storage.read:/database"}, "invalid_scope"),
        ({"scope": "storage.read:/"}, "invalid_scope"),
        ({"scope": "storage.read:/data/../x"}, "invalid_scope"),
        ({"scope": "storage.modify:/data"}, "invalid_scope"),
        ({"scope": "g:training_user"}, "invalid_scope"),
        ({"scope": "openid"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example.org"}, "invalid_target"),
    ],
)
def test_a_service_gets_no_more_than_it_is_registered_for(
    service: Service, form: dict[str, str], code: str
) -> None:
    error(own(service, **form), 400, code)


def test_a_service_is_nobody_at_the_jobs(service: Service) -> None:
    token = own(service).json()["access_token"]
    assert get(service, "userinfo", token).json()["sub"] == "transfer"
    refused = httpx.get(
        f"{service.base}/api/jobs", headers={"Authorization": f"Bearer {token}"}, trust_env=False
    )
    assert refused.status_code == 403


def test_rfc6749_2_3_1_wrong_secrets_lock_the_secret(service: Service) -> None:
    def guess(secret: str) -> httpx.Response:
        form = {"grant_type": "client_credentials", "client_id": "guessed", "client_secret": secret}
        return post(service, "token", **form)

    assert guess("guessed secret").status_code == 200
    for number in range(10):
        error(guess(f"guess {number}"), 401, "invalid_client")
    assert guess("guessed secret").status_code == 429
    # the short way of introspection is no way around it
    token = own(service).json()["access_token"]
    assert ask(service, token, "guessed").status_code == 429
    assert own(service).status_code == 200  # another client is not locked


# --- introspection


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


# --- token exchange


def test_rfc8693_2_2_1_a_narrower_token_names_its_actor(service: Service) -> None:
    person = login(service)["access_token"]
    answer = trade(service, person, scope="g:training_user lifetime:60")
    assert answer.status_code == 200, answer.text
    given = answer.json()
    assert given["issued_token_type"] == ACCESS
    assert given["expires_in"] == 60
    assert "refresh_token" not in given
    said, before = claims(given["access_token"]), claims(person)
    assert said["sub"] == before["sub"]
    assert said["act"] == {"sub": "client:api"}
    assert get(service, "userinfo", given["access_token"]).json()["act"] == {"sub": "client:api"}
    again = claims(trade(service, given["access_token"]).json()["access_token"])
    assert again["act"] == {"sub": "client:api", "act": {"sub": "client:api"}}
    assert again["exp"] <= said["exp"]


def test_a_chain_of_delegation_has_an_end(service: Service) -> None:
    token = login(service)["access_token"]
    for _ in range(4):
        token = trade(service, token).json()["access_token"]
    error(trade(service, token), 400, "invalid_request")


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"scope": "storage.read:/"}, "invalid_scope"),
        ({"scope": "offline_access"}, "invalid_scope"),
        ({"scope": "g:training_pilot"}, "invalid_scope"),
        ({"resource": STORAGE}, "invalid_target"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}, "invalid_request"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token": "nothing"}, "invalid_grant"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"actor_token_type": ACCESS}, "invalid_request"),
        ({"actor_token": "x", "actor_token_type": ACCESS}, "invalid_grant"),
        ({"client_id": "portal", "client_secret": "only for this test"}, None),
    ],
)
def test_rfc8693_2_2_2_what_cannot_be_exchanged(
    service: Service, form: dict[str, str], code: str | None
) -> None:
    person = login(service)["access_token"]
    refused = trade(service, person, **form)
    assert refused.status_code in (400, 401, 429), refused.text
    if code:
        error(refused, 400, code)


def test_rfc8693_an_id_token_is_no_subject_token(service: Service) -> None:
    answer = redeem(service, code_login(service)["code"]).json()
    assert trade(service, answer["id_token"]).json()["error"] == "invalid_grant"


def test_a_token_without_its_group_opens_nothing_here(service: Service) -> None:
    answer = redeem(service, code_login(service)["code"]).json()
    narrowed = trade(service, answer["access_token"], scope="openid").json()["access_token"]
    assert get(service, "userinfo", narrowed).json()["properties"] == []


def test_revoking_the_login_ends_what_was_derived_from_it(service: Service) -> None:
    tokens = login(service)
    derived = trade(service, tokens["access_token"]).json()["access_token"]
    assert get(service, "userinfo", derived).status_code == 200
    post(service, "revoke", token=tokens["refresh_token"], client_id="DIRAC_CLI")
    eventually(lambda: get(service, "userinfo", derived).status_code == 401)


def test_revoking_one_token_ends_what_was_derived_from_it(service: Service) -> None:
    tokens = login(service)
    derived = trade(service, trade(service, tokens["access_token"]).json()["access_token"])
    token = derived.json()["access_token"]
    assert get(service, "userinfo", token).status_code == 200
    post(service, "revoke", token=tokens["access_token"], client_id="DIRAC_CLI")
    eventually(lambda: get(service, "userinfo", token).status_code == 401)
