"""What a registered client does with its own registration (RFC 7592), section by section."""

import concurrent.futures
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.auth.kit import Walker, asking, change, error, events, look, post, redeem
from tests.auth.registrar import BACK, Signer, ended_soon, invite, refused, registered, send
from tests.service import Service

SETTINGS = """
[limits]
login_burst = 10000
"""
OURS = (
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=SETTINGS) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="module")
def token(service: Service) -> str:
    """An initial access token for usual clients."""
    return invite(service)


def look_at(said: dict[str, Any], token: str = "") -> httpx.Response:
    """Read a registration."""
    return send("GET", said["registration_client_uri"], token or said["registration_access_token"])


def put(said: dict[str, Any], token: str = "", **given: Any) -> httpx.Response:
    """Replace a registration by what was answered before, with changes; None takes a member away."""
    kept = {name: value for name, value in said.items() if name not in OURS}
    return send(
        "PUT",
        said["registration_client_uri"],
        token or said["registration_access_token"],
        {**kept, **given},
    )


def delete(said: dict[str, Any], token: str = "") -> httpx.Response:
    """End a registration."""
    return send("DELETE", said["registration_client_uri"], token or said["registration_access_token"])


def logged_in(service: Service, token: str, **given: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A registered client with a login of alice: its registration, its tokens."""
    said = registered(
        service,
        token,
        **{
            "grant_types": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_method": "client_secret_post",
            **given,
        },
    )
    with Walker(service) as browser:
        answer = browser.allow(asking(service, client_id=said["client_id"], redirect_uri=BACK))
    done = redeem(
        service,
        answer["code"],
        client_id=said["client_id"],
        client_secret=said["client_secret"],
        redirect_uri=BACK,
    )
    assert done.status_code == 200, done.text
    return said, done.json()


# --- §2.1: read


def test_rfc7592_2_1_a_client_reads_what_it_registered(service: Service, token: str) -> None:
    said = registered(service, token, client_name="Reader", contacts=["ops@example.org"])
    answer = look_at(said)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {name: value for name, value in said.items() if name != "client_secret"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("whose", ["nobody", "initial", "other", "guess", "none"])
def test_rfc7592_2_1_nobody_else_reads_changes_or_deletes(
    service: Service, token: str, method: str, whose: str
) -> None:
    said, other = registered(service, token), registered(service, token)
    shown = {
        "initial": token,
        "other": other["registration_access_token"],
        "guess": "x" * 43,
        "nobody": said["registration_access_token"],
        "none": "",
    }[whose]
    url = said["registration_client_uri"]
    if whose == "nobody":
        url = url[:-1] + ("0" if url[-1] != "0" else "1")
    document = {"client_id": said["client_id"], "redirect_uris": [BACK]} if method == "PUT" else None
    answer = send(method, url, shown, document)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["error"] == ("unauthorized" if whose == "none" else "invalid_token")
    assert look_at(said).status_code == 200


def test_rfc7592_2_1_the_secret_of_a_client_is_no_registration_token(service: Service, token: str) -> None:
    said = registered(service, token)
    assert look_at(said, said["client_secret"]).status_code == 401


@pytest.mark.parametrize("name", ["DIRAC_CLI", "..%2fregister", "%00", "é", "x" * 4000, "0" * 32])
def test_configured_clients_and_noise_are_not_managed_here(service: Service, token: str, name: str) -> None:
    assert send("GET", f"{service.issuer}/register/{name}", token).status_code in (401, 404)


# --- §2.2: replace


def test_rfc7592_2_2_a_change_replaces_everything(service: Service, token: str) -> None:
    said = registered(service, token, client_name="Before", contacts=["a@example.org"])
    done = put(said, client_name="After", contacts=None)
    assert done.status_code == 200, done.text
    assert done.json()["client_name"] == "After"
    assert "contacts" not in done.json()
    assert look_at(said).json() == done.json()


def test_rfc7592_2_2_what_is_left_out_has_its_default_again(service: Service, token: str) -> None:
    said = registered(service, token, grant_types=["authorization_code", "refresh_token"])
    done = send(
        "PUT",
        said["registration_client_uri"],
        said["registration_access_token"],
        {"client_id": said["client_id"], "redirect_uris": [BACK]},
    )
    assert done.json()["grant_types"] == ["authorization_code"]


@pytest.mark.parametrize("given", [{"client_id": None}, {"client_id": "other"}, {"client_id": 7}])
def test_rfc7592_2_2_a_change_names_its_client(service: Service, token: str, given: dict[str, Any]) -> None:
    said = registered(service, token)
    assert "client_id" in refused(put(said, **given), "invalid_client_metadata")


@pytest.mark.parametrize("member", OURS)
def test_rfc7592_2_2_a_change_holds_nothing_that_is_ours(service: Service, token: str, member: str) -> None:
    said = registered(service, token)
    assert member in refused(put(said, **{member: said[member]}), "invalid_client_metadata")
    assert look_at(said).status_code == 200


def test_rfc7592_2_2_nobody_chooses_their_own_secret(service: Service, token: str) -> None:
    said = registered(service, token, token_endpoint_auth_method="client_secret_post")
    assert put(said).status_code == 200  # with the one that it has
    for chosen in ("my own choice", "", 7, ["x"]):
        assert "client_secret" in refused(put(said, client_secret=chosen), "invalid_client_metadata")
    assert works(service, said)
    assert put(said, client_secret=None).status_code == 200
    assert works(service, said)


def works(service: Service, said: dict[str, Any], secret: str = "") -> bool:
    """Whether a client authenticates with its secret: a code that does not exist is then the problem."""
    form = {"grant_type": "authorization_code", "code": "x", "redirect_uri": BACK}
    answer = post(
        service,
        "token",
        **form,
        client_id=said["client_id"],
        client_secret=secret or said["client_secret"],
        code_verifier="v" * 43,
    )
    assert answer.json()["error"] in ("invalid_grant", "invalid_client"), answer.text
    return bool(answer.json()["error"] == "invalid_grant")


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"redirect_uris": ["http://app.example.org/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"scope": "storage.modify:/"}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"], "response_types": []}, "invalid_client_metadata"),
        ({"audiences": ["https://storage.example.org"]}, "invalid_client_metadata"),
        ({"resources": ["https://storage.example.org"]}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "none"}, "invalid_client_metadata"),
        ({"client_name": "DIRAC command line"}, "invalid_client_metadata"),
        ({"software_statement": "eyJ"}, "invalid_software_statement"),
    ],
)
def test_rfc7592_2_2_a_change_gives_no_more_than_the_invitation_did(
    service: Service, token: str, given: dict[str, Any], code: str
) -> None:
    said = registered(service, token)
    refused(put(said, **given), code)
    before = {name: value for name, value in said.items() if name != "client_secret"}
    assert look_at(said).json() == before


def test_the_ceiling_outlives_its_invitation(service: Service) -> None:
    once = invite(service, uses=1, scopes=("compute.read",))
    said = registered(service, once, scope="compute.read")
    change(service, "UPDATE client_invitation SET revoked_at = 1, expires_at = 1 WHERE uses_left = 0")
    assert put(said, client_name="Later").status_code == 200
    refused(put(said, scope="compute.cancel"), "invalid_client_metadata")


def test_rfc7592_2_2_a_new_secret_only_when_one_is_newly_needed(service: Service, token: str) -> None:
    keys = Signer(service.issuer).jwks
    said = registered(service, token, token_endpoint_auth_method="private_key_jwt", jwks=keys)
    assert "client_secret" not in said
    done = put(said, token_endpoint_auth_method="client_secret_post", jwks=None).json()
    assert works(service, said, done["client_secret"])
    again = put(said, token_endpoint_auth_method="client_secret_post", jwks=None).json()
    assert "client_secret" not in again
    gone = put(said)
    assert gone.status_code == 200, gone.text
    assert not works(service, said, done["client_secret"])
    assert look(service, "SELECT secret_hash FROM registered_client WHERE id = ?", said["client_id"]) == [
        ("",)
    ]


def test_rfc7592_2_2_old_addresses_are_forgotten_at_once(service: Service, token: str) -> None:
    said = registered(service, token)
    put(said, redirect_uris=["https://app.example.org/new"])
    page = httpx.get(asking(service, client_id=said["client_id"], redirect_uri=BACK), trust_env=False)
    assert (page.status_code, "location" in page.headers) == (400, False)


def test_many_changes_at_once_leave_one_of_them(service: Service, token: str) -> None:
    said = registered(service, token)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda n: put(said, client_name=f"App {n}"), range(16)))
    assert {answer.status_code for answer in done} <= {200, 409}
    names = {answer.json()["client_name"] for answer in done if answer.status_code == 200}
    assert look_at(said).json()["client_name"] in names


# --- §2.3: delete


def test_rfc7592_2_3_a_deleted_client_loses_everything(service: Service, token: str) -> None:
    said, tokens = logged_in(service, token)
    with Walker(service) as browser:
        waiting = browser.allow(asking(service, client_id=said["client_id"], redirect_uri=BACK))
    done = delete(said)
    assert (done.status_code, done.content) == (204, b"")
    assert done.headers["cache-control"] == "no-store"
    ours = {"client_id": said["client_id"], "client_secret": said["client_secret"]}
    refreshed = post(
        service, "token", grant_type="refresh_token", refresh_token=tokens["refresh_token"], **ours
    )
    error(refreshed, 401, "invalid_client")
    error(redeem(service, waiting["code"], redirect_uri=BACK, **ours), 401, "invalid_client")
    page = httpx.get(asking(service, client_id=said["client_id"], redirect_uri=BACK), trust_env=False)
    assert page.status_code == 400
    assert look_at(said).status_code == 401
    assert put(said).status_code == 401
    assert delete(said).status_code == 401
    families = look(service, "SELECT ended_at FROM grant_family WHERE client_id = ?", said["client_id"])
    assert len(families) == 1
    assert families[0][0] is not None
    assert ended_soon(service, tokens["access_token"])


def test_rfc7592_2_3_the_end_of_a_client_and_of_its_logins_is_recorded(service: Service, token: str) -> None:
    said, _ = logged_in(service, token)
    other, kept = logged_in(service, token)
    delete(said)
    [ended] = [one for one in events(service, "client.ended") if one.subject == said["client_id"]]
    assert ended.facts["grants"] == 1
    grants = [one for one in events(service, "grant.ended") if one.actor == said["client_id"]]
    assert len(grants) == 1
    living = look(service, "SELECT ended_at FROM grant_family WHERE client_id = ?", other["client_id"])
    assert living == [(None,)]
    assert kept["refresh_token"]


def test_one_of_16_deletes(service: Service, token: str) -> None:
    said = registered(service, token)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        done = [answer.status_code for answer in pool.map(lambda _: delete(said), range(16))]
    assert sorted(done) == [204] + [401] * 15
    assert len([one for one in events(service, "client.ended") if one.subject == said["client_id"]]) == 1


# --- §3: the answer


def test_rfc7592_3_the_answer_names_where_and_with_what(service: Service, token: str) -> None:
    said = registered(service, token)
    for answer in (look_at(said), put(said)):
        assert answer.json()["registration_client_uri"] == said["registration_client_uri"]
        assert answer.json()["registration_access_token"] == said["registration_access_token"]


def test_rfc7592_5_the_registration_token_is_kept_and_stays_good(service: Service, token: str) -> None:
    said = registered(service, token)
    for number in range(3):
        assert put(said, client_name=f"Change {number}").status_code == 200
    assert look_at(said).json()["client_name"] == "Change 2"
