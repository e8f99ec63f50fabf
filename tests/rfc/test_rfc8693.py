"""RFC 8693, token exchange: section, what it demands of the server, and what proves it.

2.1 | subject_token and its type are required, an actor token comes with its type
    | test_rfc8693_2_2_2_what_cannot_be_exchanged
2.1 | the client authenticates, and is registered for it
    | test_rfc8693_2_1_clients_authenticate_and_are_registered_for_it
2.1 | resource, audience and scope say what the new token is for
    | test_rfc8693_2_1_a_part_of_what_the_parent_is_for
2.1 | a subject token of another kind is refused
    | test_rfc8693_an_id_token_is_no_subject_token
2.1 | an actor token is verified like a subject token, and its subject acts
    | test_rfc8693_2_1_an_actor_token_names_who_acts
2.2.1 | access_token, issued_token_type, token_type, expires_in, scope
    | test_rfc8693_2_2_1_a_narrower_token_names_its_actor
2.2.2 | invalid_request, invalid_target and others
    | test_rfc8693_2_2_2_what_cannot_be_exchanged
3 | token types: access tokens, which are JWTs
    | test_rfc8693_2_2_2_what_cannot_be_exchanged
4.1 | act names the current actor, those before nested in it; the chain has an end
    | test_rfc8693_2_2_1_a_narrower_token_names_its_actor, test_a_chain_of_delegation_has_an_end
4.4 | may_act
    | not applicable: no token of ours says who may act; who is registered for exchange may
5 | an exchanged token ends with the login, the token and the client that it came from
    | test_revoking_the_login_ends_what_was_derived_from_it, test_revoking_one_token_ends_what_was_derived_from_it
5 | a token without a right gives none
    | test_a_token_without_its_group_opens_nothing_here
"""

from collections.abc import Iterator

import pytest

from tests.auth.kit import CLIENTS, code_login, error, get, login, post, redeem
from tests.auth.services import ACCESS, SERVICES, STORAGE, claims, own, trade
from tests.road.walkers import eventually
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS + SERVICES) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


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


def test_rfc8693_2_1_clients_authenticate_and_are_registered_for_it(service: Service) -> None:
    person = login(service)["access_token"]
    error(trade(service, person, client_secret="guess"), 401, "invalid_client")
    error(trade(service, person, client_id="DIRAC_CLI", client_secret=""), 400, "unauthorized_client")
    portal = trade(service, person, client_id="portal", client_secret="only for this test")
    error(portal, 400, "unauthorized_client")


def test_rfc8693_2_1_a_part_of_what_the_parent_is_for(service: Service) -> None:
    form = {"scope": "storage.read:/data compute.read", "resource": STORAGE}
    parent = own(service, **form).json()["access_token"]
    transfer = {"client": "transfer", "client_secret": "transfer secret"}
    given = trade(service, parent, **transfer, scope="storage.read:/data/set1", audience=STORAGE).json()
    said = claims(given["access_token"])
    assert (said["scope"], said["aud"], said["sub"]) == ("storage.read:/data/set1", STORAGE, "transfer")
    narrow = given["access_token"]
    for scope in ("storage.read:/data", "storage.read:/data/set10", "compute.read"):
        error(trade(service, narrow, **transfer, scope=scope), 400, "invalid_scope")


def test_rfc8693_2_1_an_actor_token_names_who_acts(service: Service) -> None:
    person, actor = login(service)["access_token"], own(service).json()["access_token"]
    given = trade(service, person, actor_token=actor, actor_token_type=ACCESS).json()
    assert claims(given["access_token"])["act"] == {"sub": "transfer"}
