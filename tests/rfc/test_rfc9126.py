"""RFC 9126, pushed authorization requests: section, what it demands of the server, and what proves it.

2 | TLS
    | test_what_is_unsafe_in_production_is_refused_with_its_sentence
2.1 | a form by POST; the client authenticates as at the token endpoint
    | test_rfc9126_2_1_the_client_authenticates, test_rfc9126_2_3_other_methods_are_405
2.1 | no request_uri in a pushed request
    | test_rfc9126_2_1_a_request_uri_cannot_be_pushed
2.1 | the request is checked as at the authorization endpoint
    | test_rfc9126_2_1_what_is_wrong_is_told_at_once
2.2 | 201, request_uri and expires_in, not stored
    | test_rfc9126_2_2_the_answer_is_complete_and_not_stored
2.2 | the reference cannot be guessed and is bound to the client
    | test_rfc6749_10_10_nothing_can_be_guessed, test_rfc9126_a_pushed_request_is_opened_once
2.3 | errors are those of the token endpoint
    | test_rfc9126_2_1_what_is_wrong_is_told_at_once, test_rfc9126_2_1_the_client_authenticates
2.3 | 405, 413 and 429
    | test_rfc9126_2_3_other_methods_are_405, test_rfc9126_2_3_a_large_request_is_413,
    | test_rfc9126_2_3_too_many_requests_are_429
2.4 | addresses that are not registered beforehand
    | test_rfc9126_2_4_the_address_is_registered_all_the_same
3 | request objects
    | test_rfc9126_3_request_objects_are_refused
4 | client_id and request_uri lead on, whatever else the address says
    | test_rfc9126_4_what_was_pushed_counts_alone
4 | it is used once
    | test_rfc9126_a_pushed_request_is_opened_once
4 | it expires
    | test_rfc9126_4_a_reference_expires
4 | it is checked again that the client is the one that pushed it
    | test_rfc9126_a_pushed_request_is_opened_once, test_rfc9126_4_without_its_client_it_opens_nothing
5 | the address, and whether it has to be used, are published
    | test_rfc9126_5_the_metadata_says_it
6 | a client may be held to it
    | test_rfc9126_6_a_client_may_be_held_to_it
7.1 | request_uri cannot be guessed
    | test_rfc6749_10_10_nothing_can_be_guessed
7.2 | nobody is redirected by a reference that is unknown
    | test_rfc9126_7_2_an_unknown_reference_redirects_nobody
7.3 | no replay
    | test_rfc9126_a_pushed_request_is_opened_once
7.4 | the policy of the client when the request is opened
    | not applicable: it lives 90 seconds; grant, address and audience are asked again with the code
"""

import httpx
import pytest
from pydantic import ValidationError

from gatehouse.registry.settings import Lifetimes
from tests.auth.kit import PORTAL, Walker, asking, change, error, get, look, post, query, redeem, words
from tests.rfc.kit import MORE, PUSHER, RAW, SECRET, basic, raw_post
from tests.service import Service


def push(service: Service, **given: str) -> httpx.Response:
    """Push the portal's request; an empty value leaves a parameter out."""
    said = {**query(asking(service)), "client_secret": SECRET, **given}
    return post(service, "par", **{name: value for name, value in said.items() if value})


def link(service: Service, pushed: httpx.Response, **more: str) -> str:
    """Where the portal sends the browser afterwards."""
    said = {"client_id": "portal", "request_uri": pushed.json()["request_uri"], **more}
    return str(httpx.URL(f"{service.issuer}/authorization", params=said))


def test_rfc9126_2_1_the_client_authenticates(service: Service) -> None:
    error(push(service, client_secret=""), 401, "invalid_client")
    error(push(service, client_secret="guess"), 401, "invalid_client")
    error(push(service, client_id=""), 401, "invalid_client")
    body = str(httpx.QueryParams({**query(asking(service)), "client_id": ""}))
    wrong = raw_post(service, "par", body, Authorization=basic("portal", "guess"))
    assert wrong.headers["www-authenticate"].startswith("Basic ")
    right = raw_post(service, "par", body, Authorization=basic("portal", SECRET.replace(" ", "+")))
    assert right.status_code == 201
    query_only = httpx.post(f"{service.issuer}/par?{body}&client_secret={SECRET}", **RAW)
    assert query_only.status_code == 400
    public = push(service, client_id="native", client_secret="", redirect_uri="http://127.0.0.1:5/done")
    assert public.status_code == 201


def test_rfc9126_2_1_a_request_uri_cannot_be_pushed(service: Service) -> None:
    uri = push(service).json()["request_uri"]
    error(push(service, request_uri=uri), 400, "invalid_request")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"response_type": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"redirect_uri": ""}, "invalid_request"),
        ({"redirect_uri": PORTAL + "/"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"resource": "https://elsewhere.example.org"}, "invalid_target"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
    ],
)
def test_rfc9126_2_1_what_is_wrong_is_told_at_once(
    service: Service, given: dict[str, str], code: str
) -> None:
    before = look(service, "SELECT count(*) FROM login_request")
    error(push(service, **given), 400, code)
    assert look(service, "SELECT count(*) FROM login_request") == before


def test_rfc9126_2_2_the_answer_is_complete_and_not_stored(service: Service) -> None:
    pushed = push(service)
    assert pushed.status_code == 201
    assert pushed.headers["cache-control"] == "no-store"
    assert pushed.headers["content-type"].startswith("application/json")
    said = pushed.json()
    assert said["request_uri"].startswith("urn:ietf:params:oauth:request_uri:")
    assert isinstance(said["expires_in"], int)
    assert 5 <= said["expires_in"] <= 600
    assert said["request_uri"].rpartition(":")[2] not in str(look(service, "SELECT * FROM login_request"))
    with pytest.raises(ValidationError):
        Lifetimes(pushed_request=601)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_rfc9126_2_3_other_methods_are_405(service: Service, method: str) -> None:
    answer = httpx.request(method, f"{service.issuer}/par", params=query(asking(service)), **RAW)
    assert answer.status_code == 405


def test_rfc9126_2_3_a_large_request_is_413(service: Service) -> None:
    error(push(service, state="x" * 70_000), 413, "too_large")


def test_rfc9126_2_3_too_many_requests_are_429(tmp_path_factory: pytest.TempPathFactory) -> None:
    few = MORE.replace("login_burst = 100000", "login_burst = 3").replace("login = 100000", "login = 1")
    with Service(tmp_path_factory.mktemp("gatehouse"), more=few) as service:
        statuses = [push(service).status_code for _ in range(4)]
        last = push(service)
    assert statuses == [201, 201, 201, 429]
    assert last.json()["error"] == "slow_down"
    assert int(last.headers["retry-after"]) > 0


def test_rfc9126_2_4_the_address_is_registered_all_the_same(service: Service) -> None:
    error(push(service, redirect_uri="https://new.example.org/back"), 400, "invalid_request")


def test_rfc9126_3_request_objects_are_refused(service: Service) -> None:
    error(push(service, request="eyJhbGciOiJub25lIn0.e30."), 400, "request_not_supported")


def test_rfc9126_4_what_was_pushed_counts_alone(service: Service) -> None:
    """Parameters beside the reference, put there by whoever holds the browser, change nothing."""
    pushed = push(service, state="pushed", scope="openid g:training_user", nonce="pushed")
    loose = {
        "state": "loose",
        "scope": "g:training_pilot",
        "redirect_uri": "https://evil.example.org/",
        "code_challenge": "x" * 43,
        "response_type": "token",
        "nonce": "loose",
        "resource": "https://storage.example.org",
    }
    with Walker(service) as browser:
        answer = browser.allow(link(service, pushed, **loose))
    assert answer["state"] == "pushed"
    tokens = redeem(service, answer["code"]).json()
    assert tokens["scope"] == "openid g:training_user"


def test_rfc9126_4_a_reference_expires(service: Service) -> None:
    pushed = push(service)
    assert change(service, "UPDATE login_request SET expires_at = 1 WHERE status = 'pushed'") >= 1
    page = httpx.get(link(service, pushed), **RAW)
    assert page.status_code == 400
    assert "too old" in words(page)


def test_rfc9126_4_without_its_client_it_opens_nothing(service: Service) -> None:
    pushed = push(service)
    for client in ("", "second", "nobody"):
        page = httpx.get(link(service, pushed, client_id=client), **RAW)
        assert page.status_code == 400
        assert "location" not in page.headers
    assert httpx.get(link(service, pushed), **RAW).status_code == 303  # none of that used it up


def test_rfc9126_5_the_metadata_says_it(service: Service) -> None:
    said = get(service, ".well-known/oauth-authorization-server").json()
    assert said["pushed_authorization_request_endpoint"] == f"{service.issuer}/par"
    assert said["require_pushed_authorization_requests"] is False


def test_rfc9126_6_a_client_may_be_held_to_it(service: Service) -> None:
    given = {"client_id": "pusher", "redirect_uri": PUSHER}
    back = query(httpx.get(asking(service, **given), **RAW).headers["location"])
    assert back["error"] == "invalid_request"
    assert "push" in back["error_description"]
    pushed = push(service, **given)
    assert httpx.get(link(service, pushed, client_id="pusher"), **RAW).headers["location"] == "login"


@pytest.mark.parametrize(
    "uri",
    [
        "urn:ietf:params:oauth:request_uri:guess",
        "https://evil.example.org/request.jwt",
        "http://127.0.0.1:1/request.jwt",
        "x" * 5000,
    ],
)
def test_rfc9126_7_2_an_unknown_reference_redirects_nobody(service: Service, uri: str) -> None:
    more = {"client_id": "portal", "request_uri": uri, "redirect_uri": PORTAL}
    page = httpx.get(f"{service.issuer}/authorization", params=more, **RAW)
    assert page.status_code == 400
    assert "location" not in page.headers
