"""Services: what a client derived dies with every client it went through; locked secrets have no short way."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.auth.kit import CLIENTS, error, get, login, look, post
from tests.auth.registrar import ended_soon, invite, registered, send
from tests.auth.services import EXCHANGE, SERVICES, ask, own, trade
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=CLIENTS + SERVICES) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


def client(service: Service, grant: str) -> dict[str, Any]:
    """A registered client with one grant."""
    some = invite(service, grants=(grant,))
    return registered(
        service, some, grant_types=[grant], token_endpoint_auth_method="client_secret_post", redirect_uris=[]
    )


def of(said: dict[str, Any]) -> dict[str, str]:
    """How it authenticates."""
    return {"client_id": said["client_id"], "client_secret": said["client_secret"]}


def delete(said: dict[str, Any]) -> httpx.Response:
    """End it."""
    return send("DELETE", said["registration_client_uri"], said["registration_access_token"])


def test_what_was_derived_from_the_token_of_a_service_ends_with_that_service(service: Service) -> None:
    gone = client(service, "client_credentials")
    first = post(service, "token", grant_type="client_credentials", **of(gone)).json()["access_token"]
    derived = trade(service, trade(service, first).json()["access_token"]).json()["access_token"]
    assert get(service, "userinfo", derived).json()["sub"] == gone["client_id"]
    assert delete(gone).status_code == 204
    assert ended_soon(service, derived)


def test_what_a_client_passed_on_ends_with_it(service: Service) -> None:
    """Whoever was in the middle of a chain, and has gone, is trusted about nothing any more."""
    middle, person = client(service, EXCHANGE), login(service)["access_token"]
    passed = trade(service, person, **of(middle)).json()["access_token"]
    derived = trade(service, passed).json()["access_token"]
    assert get(service, "userinfo", derived).status_code == 200
    assert delete(middle).status_code == 204
    assert ended_soon(service, derived)
    assert get(service, "userinfo", person).status_code == 200


def test_a_locked_secret_has_no_short_way_in_another_process(service: Service) -> None:
    """The short way of introspection asks no database; a process that was just started remembers no guesses."""
    token = own(service).json()["access_token"]
    for number in range(10):
        assert ask(service, token, "storage", client_secret=f"guess {number}").status_code == 401
    service.kill()
    service.start()
    answers = [ask(service, token, "storage", client_secret=f"guess {number}") for number in range(3)]
    assert {answer.status_code for answer in answers} == {429}
    assert ask(service, token, "storage").status_code == 429


@pytest.mark.parametrize("path", ["token", "introspect", "revoke", "par", "device"])
def test_letters_of_no_base64_are_an_error_of_the_caller(service: Service, path: str) -> None:
    headers = {b"Authorization": "Basic \u00e9".encode("latin-1")}
    answer = httpx.post(
        f"{service.issuer}/{path}",
        data={"token": "x", "grant_type": "refresh_token"},
        headers=headers,
        trust_env=False,
    )
    error(answer, 401, "invalid_client")


def test_nothing_is_remembered_of_clients_that_cannot_be(service: Service) -> None:
    """A name of 60 kB in each guess would fill the memory long before the guesses have an end."""
    before = look(service, "SELECT sum(wrong) FROM guess")
    for number in range(3):
        said = {"client_id": f"{number}" * 200, "client_secret": "guess"}
        error(post(service, "token", grant_type="client_credentials", **said), 401, "invalid_client")
    assert look(service, "SELECT sum(wrong) FROM guess") == before
