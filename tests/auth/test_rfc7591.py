"""Dynamic client registration, section by section: who may register, as what, and what nobody gets by it."""

import concurrent.futures
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.auth.kit import VERIFIER, Walker, asking, change, error, events, look, post, redeem, words
from tests.auth.registrar import BACK, Signer, ended_soon, invite, refused, register, registered, send
from tests.service import Service

ASK = "client_credentials"
SETTINGS = """
[limits]
login_burst = 10000

[[clients]]
client_id = "portal"
name = "The Portal"
client_secret = "only for this test"
grant_types = ["authorization_code"]
redirect_uris = ["https://portal.example.org/back"]
"""


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


# --- §2: metadata


def test_rfc7591_2_what_is_left_out_has_its_default(service: Service, token: str) -> None:
    said = registered(service, token)
    assert said["token_endpoint_auth_method"] == "client_secret_basic"
    assert said["grant_types"] == ["authorization_code"]
    assert said["response_types"] == ["code"]


def test_rfc7591_2_unknown_members_are_ignored(service: Service, token: str) -> None:
    said = registered(
        service, token, flavour="sour", **{"client_name#fr": "Le portail"}, tos_uri="https://x.y/"
    )
    assert not {"flavour", "client_name#fr", "tos_uri"} & set(said)


def test_rfc7591_2_an_omitted_member_and_null_are_the_same(service: Service, token: str) -> None:
    assert registered(service, token, jwks_uri=None, client_name=None)["grant_types"] == [
        "authorization_code"
    ]


MASS = {
    "client_id": "DIRAC_CLI",
    "client_secret": "my own choice, thank you",
    "client_id_issued_at": 1,
    "registration_access_token": "mine",
    "name": "Administrator",
    "auth": "none",
    "scopes": ["storage.modify:/"],
    "is_secret": True,
    "public": True,
    "invitation": "0000000000000000",
    "revoked_at": None,
    "created_at": 1,
    "secret_hash": "00",
    "token_hash": "00",
    "access_token_alg": "RS256",
    "pushed_requests_only": True,
    "tls_subject": "/CN=host",
    "properties": ["JobAdministrator"],
    "trusted": True,
}


def test_mass_assignment_no_member_reaches_what_is_ours(service: Service, token: str) -> None:
    """MITREid CVE-2021-27582: what a document holds beside known metadata changes nothing, anywhere."""
    said = registered(service, token, **MASS)
    plain = registered(service, token)
    assert set(said) == set(plain)
    assert said["client_id"] != "DIRAC_CLI"
    assert said["client_secret"] != MASS["client_secret"]
    rows = look(
        service, "SELECT * FROM registered_client WHERE id IN (?, ?)", said["client_id"], plain["client_id"]
    )
    one, two = (dict(zip(_columns(service), row, strict=True)) for row in rows)
    for drop in ("id", "secret_hash", "token_hash", "created_at", "changed_at"):
        assert "00" not in (one[drop], two[drop])
        del one[drop], two[drop]
    assert one == two


def _columns(service: Service) -> list[str]:
    return [row[1] for row in look(service, "PRAGMA table_info(registered_client)")]


@pytest.mark.parametrize(
    "member",
    ["logo_uri", "sector_identifier_uri", "policy_uri", "request_uris", "initiate_login_uri", "tos_uri"],
)
def test_rfc7591_5_no_address_in_a_document_is_fetched_or_kept(
    service: Service, token: str, member: str
) -> None:
    """MITREid CVE-2021-26715: there is a listener, and nobody comes."""
    came = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append(self.path)
            self.send_response(200)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as listener:
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        url = f"http://127.0.0.1:{listener.server_port}/x"
        said = registered(service, token, **{member: [url] if member == "request_uris" else url})
        send("GET", said["registration_client_uri"], said["registration_access_token"])
        listener.shutdown()
        thread.join()
    assert member not in said
    assert came == []


@pytest.mark.parametrize(
    "given",
    [
        {"jwks_uri": "http://keys.example.org/jwks"},
        {"jwks_uri": "https://keys.example.org:8443/jwks"},
        {"jwks_uri": "https://user@keys.example.org/jwks"},
        {"jwks_uri": "https://keys.example.org/jwks#a"},
        {"jwks_uri": "http://127.0.0.1/jwks"},
        {"jwks_uri": "http://127.0.0.1:8000/jwks"},
        {"jwks_uri": "http://localhost:8000/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "gopher://keys.example.org/"},
        {"backchannel_logout_uri": "http://127.0.0.1:8000/bye"},
        {"backchannel_logout_uri": "ftp://app.example.org/bye"},
    ],
)
def test_rfc7591_5_addresses_that_we_would_connect_to_are_judged(
    service: Service, token: str, given: dict[str, str]
) -> None:
    method = {"token_endpoint_auth_method": "private_key_jwt"} if "jwks_uri" in given else {}
    answer = register(service, token, redirect_uris=[BACK], **method, **given)
    assert next(iter(given)) in refused(answer, "invalid_client_metadata")


def test_rfc7591_2_jwks_and_jwks_uri_exclude_each_other(service: Service, token: str) -> None:
    answer = register(
        service,
        token,
        redirect_uris=[BACK],
        token_endpoint_auth_method="private_key_jwt",
        jwks=Signer(service.issuer).jwks,
        jwks_uri="https://app.example.org/jwks",
    )
    assert "jwks_uri" in refused(answer, "invalid_client_metadata")


def _private() -> dict[str, Any]:
    return {"keys": [{**Signer("x").jwk, "d": "AQAB"}]}


@pytest.mark.parametrize(
    "jwks",
    [
        {},
        {"keys": []},
        {"keys": "none"},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]},
        {"keys": [{name: v for name, v in Signer("x").jwk.items() if name != "kid"}]},
        {"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "short"}]},
        _private(),
        {"keys": [Signer("x").jwk, *_private()["keys"]]},
    ],
)
def test_rfc7591_2_keys_are_public_and_can_be_used(service: Service, token: str, jwks: object) -> None:
    answer = register(
        service, token, redirect_uris=[BACK], token_endpoint_auth_method="private_key_jwt", jwks=jwks
    )
    refused(answer, "invalid_client_metadata")


@pytest.mark.parametrize(
    "given",
    [
        {"redirect_uris": BACK},
        {"redirect_uris": [BACK, 7]},
        {"redirect_uris": [BACK] * 33},
        {"grant_types": "authorization_code"},
        {"grant_types": []},
        {"client_name": "x" * 129},
        {"client_name": {"en": "Portal"}},
        {"client_name": "Port\u202eal"},
        {"client_name": "Por\u200btal"},
        {"client_name": "two\nlines"},
        {"contacts": ["root@example.org\x1b[2J"]},
        {"dpop_bound_access_tokens": "yes"},
        {"token_endpoint_auth_method": "client_secret_jwt"},
        {"token_endpoint_auth_method": "tls_client_auth"},
        {"token_endpoint_auth_method": "private_key_jwt"},
        {"id_token_signed_response_alg": "none"},
        {"id_token_signed_response_alg": "HS256"},
        {"jwks": []},
        {"scope": ["openid"]},
    ],
)
def test_rfc7591_3_2_2_metadata_that_make_no_client(
    service: Service, token: str, given: dict[str, Any]
) -> None:
    refused(register(service, token, **{"redirect_uris": [BACK], **given}), "invalid_client_metadata")


def test_nobody_registers_under_the_name_of_another(service: Service, token: str) -> None:
    for name in (
        "DIRAC command line",
        "dirac  COMMAND line".replace("  ", " "),
        "The Portal",
        "portal",
        "DIRAC_Web",
    ):
        answer = register(service, token, redirect_uris=[BACK], client_name=name)
        assert "name" in refused(answer, "invalid_client_metadata")


# --- §2.1: grant types and response types fit


@pytest.mark.parametrize(
    "given",
    [
        {"grant_types": ["authorization_code"], "response_types": []},
        {"grant_types": ["authorization_code"], "response_types": ["token"]},
        {"grant_types": ["authorization_code"], "response_types": ["code", "token"]},
        {"grant_types": ["urn:ietf:params:oauth:grant-type:device_code"], "response_types": ["code"]},
    ],
)
def test_rfc7591_2_1_grants_and_response_types_fit(
    service: Service, token: str, given: dict[str, Any]
) -> None:
    answer = register(service, token, redirect_uris=[BACK], **given)
    assert "response_types" in refused(answer, "invalid_client_metadata")


@pytest.mark.parametrize(
    "grant", ["implicit", "password", "urn:gatehouse:params:oauth:grant-type:pilot-secret"]
)
def test_rfc7591_2_1_grants_that_nobody_may_have(service: Service, token: str, grant: str) -> None:
    answer = register(service, token, redirect_uris=[BACK], grant_types=["authorization_code", grant])
    assert grant.rpartition(":")[2] in refused(answer, "invalid_client_metadata")


# --- §2.3: software statements


@pytest.mark.parametrize("statement", ["eyJhbGciOiJub25lIn0.e30.", "", 7])
def test_rfc7591_2_3_software_statements_are_refused_clearly(
    service: Service, token: str, statement: object
) -> None:
    answer = register(service, token, redirect_uris=[BACK], software_statement=statement)
    assert "not believed" in refused(answer, "invalid_software_statement")


# --- §3: the endpoint


def test_rfc8414_2_the_metadata_name_the_endpoint(service: Service) -> None:
    said = httpx.get(f"{service.issuer}/.well-known/openid-configuration", trust_env=False).json()
    assert said["registration_endpoint"] == f"{service.issuer}/register"


@pytest.mark.parametrize("shown", ["", "guess", "é", "Bearer", "x" * 5000])
def test_rfc7591_3_without_an_initial_access_token_there_is_no_registration(
    service: Service, shown: str
) -> None:
    before = look(service, "SELECT count(*) FROM registered_client")
    headers = [(b"Authorization", f"Bearer {shown}".encode())] if shown else []
    answer = httpx.post(
        f"{service.issuer}/register", json={"redirect_uris": [BACK]}, headers=headers, trust_env=False
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert look(service, "SELECT count(*) FROM registered_client") == before


def test_rfc7591_3_a_token_in_the_body_or_the_query_is_none(service: Service, token: str) -> None:
    url = f"{service.issuer}/register"
    assert send("POST", f"{url}?access_token={token}", "", {"redirect_uris": [BACK]}).status_code == 401
    assert send("POST", url, "", {"redirect_uris": [BACK], "access_token": token}).status_code == 401


def test_rfc7591_3_a_registration_access_token_registers_nobody(service: Service, token: str) -> None:
    said = registered(service, token)
    assert register(service, said["registration_access_token"], redirect_uris=[BACK]).status_code == 401


def test_an_invitation_is_good_for_so_many(service: Service) -> None:
    twice = invite(service, uses=2)
    registered(service, twice)
    refused(register(service, twice, redirect_uris=["ftp://x"]), "invalid_redirect_uri")  # costs nothing
    registered(service, twice)
    refused(register(service, twice, redirect_uris=[BACK]), "invalid_token", 401)


def test_one_of_32_wins_the_last_use(service: Service) -> None:
    last = invite(service, uses=1)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        done = list(pool.map(lambda _: register(service, last, redirect_uris=[BACK]).status_code, range(32)))
    assert sorted(done) == [201] + [401] * 31


def test_an_invitation_ends(service: Service) -> None:
    ending = invite(service)
    registered(service, ending)
    change(service, "UPDATE client_invitation SET expires_at = 1 WHERE uses_left = 99")
    refused(register(service, ending, redirect_uris=[BACK]), "invalid_token", 401)


def test_rfc7591_3_1_the_body_is_json(service: Service, token: str) -> None:
    url = f"{service.issuer}/register"
    sent: Any = {"headers": {"Authorization": f"Bearer {token}"}, "trust_env": False}
    for body in (b"", b"[]", b"null", b"{", b'"x"', b"\xff\xfe", b"[" * 8000, b'{"jwks":' + b"[" * 8000):
        answer = httpx.post(
            url, content=body, **{**sent, "headers": {**sent["headers"], "Content-Type": "application/json"}}
        )
        refused(answer, "invalid_client_metadata")
    refused(httpx.post(url, data={"redirect_uris": BACK}, **sent), "invalid_client_metadata")


def test_a_document_is_bounded(service: Service, token: str) -> None:
    answer = register(service, token, redirect_uris=[BACK], padding="x" * 16_400)
    refused(answer, "too_large", 413)


# --- the ceiling of an invitation


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"grant_types": ["client_credentials"]}, "client_credentials"),
        (
            {"grant_types": ["authorization_code", "urn:ietf:params:oauth:grant-type:token-exchange"]},
            "token-exchange",
        ),
        ({"scope": "storage.modify:/"}, "storage.modify:/"),
        ({"scope": "openid g:dirac_admin"}, "g:dirac_admin"),
        ({"scope": "storage.read:/other"}, "storage.read:/other"),
        ({"scope": "storage.read:/a/../b"}, "storage.read:/a/../b"),
        ({"audiences": ["https://elsewhere.example.org"]}, "https://elsewhere.example.org"),
        ({"resources": ["https://storage.example.org"]}, "https://storage.example.org"),
        ({"token_endpoint_auth_method": "none"}, "public"),
    ],
)
def test_nothing_beyond_the_invitation_can_be_registered(
    service: Service, given: dict[str, Any], named: str
) -> None:
    """INDIGO IAM 1.11.0: clients gave themselves administrative scopes."""
    some = invite(service, scopes=("storage.read:/a",), audiences=("https://storage.example.org",))
    assert named in refused(register(service, some, redirect_uris=[BACK], **given), "invalid_client_metadata")


def test_what_the_invitation_gives_can_be_registered(service: Service) -> None:
    some = invite(
        service,
        grants=(ASK,),
        scopes=("storage.read:/a", "compute.read"),
        audiences=("https://storage.example.org",),
    )
    said = registered(
        service,
        some,
        grant_types=[ASK],
        scope="storage.read:/a/b compute.read",
        audiences=["https://storage.example.org"],
    )
    given = post(
        service,
        "token",
        grant_type=ASK,
        client_id=said["client_id"],
        resource="https://storage.example.org",
        client_secret=said["client_secret"],
    )
    assert given.json()["error"] == "invalid_client"  # it registered client_secret_basic
    given = httpx.post(
        f"{service.issuer}/token",
        data={"grant_type": ASK, "resource": "https://storage.example.org"},
        auth=(said["client_id"], said["client_secret"]),
        trust_env=False,
    )
    assert given.status_code == 200, given.text
    assert given.json()["scope"] == "compute.read storage.read:/a/b"


def test_a_public_client_never_has_credentials(service: Service) -> None:
    open_ = invite(service, public=True, grants=(ASK, "authorization_code"))
    answer = register(service, open_, grant_types=[ASK], token_endpoint_auth_method="none")
    assert "credentials" in refused(answer, "invalid_client_metadata")
    said = registered(service, open_, token_endpoint_auth_method="none")
    assert "client_secret" not in said
    refused_ = post(service, "token", grant_type=ASK, client_id=said["client_id"])
    assert refused_.json()["error"] == "unauthorized_client"


# --- §3.2.1: the answer


def test_rfc7591_3_2_1_the_answer_holds_all_that_was_registered(service: Service, token: str) -> None:
    asked = {
        "client_name": "An app",
        "redirect_uris": [BACK, "http://127.0.0.1/done"],
        "post_logout_redirect_uris": ["https://app.example.org/bye"],
        "token_endpoint_auth_method": "client_secret_post",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "scope": "openid profile",
        "contacts": ["ops@example.org"],
        "client_uri": "https://app.example.org/",
        "software_id": "4NRB1-0XZABZI9E6-5SM3R",
        "software_version": "2.1",
        "jwks": Signer(service.issuer).jwks,
        "backchannel_logout_uri": "https://app.example.org/logout",
        "dpop_bound_access_tokens": True,
        "require_pushed_authorization_requests": True,
        "id_token_signed_response_alg": "RS256",
    }
    answer = register(service, token, **asked)
    assert answer.status_code == 201, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")
    said = answer.json()
    assert {name: said[name] for name in asked} == asked
    assert said["client_secret_expires_at"] == 0
    assert isinstance(said["client_id_issued_at"], int)
    assert said["registration_client_uri"] == f"{service.issuer}/register/{said['client_id']}"
    assert len(said["client_secret"]) >= 43
    assert len(said["registration_access_token"]) >= 43


def test_rfc7591_3_2_1_identifiers_are_never_given_twice(service: Service, token: str) -> None:
    one, two = registered(service, token), registered(service, token)
    for name in ("client_id", "client_secret", "registration_access_token"):
        assert one[name] != two[name]
    send("DELETE", one["registration_client_uri"], one["registration_access_token"])
    assert look(service, "SELECT count(*) FROM registered_client WHERE id = ?", one["client_id"]) == [(1,)]


def test_the_database_keeps_no_secret_of_a_client(service: Service) -> None:
    fresh = invite(service)
    said = registered(service, fresh)
    kept = (
        b"".join(path.read_bytes() for path in service.folder.glob("gatehouse.db*"))
        + service.log.read_bytes()
    )
    assert said["client_id"].encode() in kept
    for secret in (fresh, said["client_secret"], said["registration_access_token"]):
        assert secret.encode() not in kept


def test_a_registration_is_recorded(service: Service, token: str) -> None:
    said = registered(service, token, client_name="Recorded")
    event = next(e for e in events(service, "client.registered") if e.subject == said["client_id"])
    assert (event.facts["name"], event.facts["redirects"]) == ("Recorded", [BACK])
    assert events(service, "invitation.made")


# --- §3.2.2: errors


@pytest.mark.parametrize(
    "uri",
    [
        "http://app.example.org/back",
        "https://app.example.org/back#fragment",
        "https://user@app.example.org/back",
        "https://*.example.org/back",
        "http://localhost/back",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.example.org/a/../b",
        "https:app.example.org",
        "myapp:/back",
        "",
    ],
)
def test_rfc7591_3_2_2_redirect_uris_that_nobody_may_have(service: Service, token: str, uri: str) -> None:
    refused(register(service, token, redirect_uris=[BACK, uri]), "invalid_redirect_uri")


def test_rfc7591_2_a_client_that_redirects_registers_where_to(service: Service, token: str) -> None:
    refused(register(service, token), "invalid_redirect_uri")


# --- a registered client is a client


def test_a_registered_client_walks_the_code_flow_under_its_name(service: Service, token: str) -> None:
    said = registered(
        service,
        token,
        client_name="Registered App",
        grant_types=["authorization_code", "refresh_token"],
        token_endpoint_auth_method="client_secret_post",
    )
    ours = {"client_id": said["client_id"], "client_secret": said["client_secret"], "redirect_uri": BACK}
    with Walker(service) as browser:
        consent = browser.consent(asking(service, client_id=said["client_id"], redirect_uri=BACK))
        assert "Let Registered App act for you?" in words(consent)
        answer = browser.allow(asking(service, client_id=said["client_id"], redirect_uri=BACK))
    error(redeem(service, answer["code"], **{**ours, "client_secret": "guess"}), 401, "invalid_client")
    given = redeem(service, answer["code"], **ours, code_verifier=VERIFIER)
    assert given.status_code == 200, given.text
    assert given.json()["refresh_token"]


def test_a_registered_client_is_sent_back_to_its_own_addresses_only(service: Service, token: str) -> None:
    said = registered(service, token)
    for uri in ("https://app.example.org/other", "https://portal.example.org/back"):
        page = httpx.get(asking(service, client_id=said["client_id"], redirect_uri=uri), trust_env=False)
        assert (page.status_code, "location" in page.headers) == (400, False)


# --- the operator's commands


def _command(service: Service, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "gatehouse.cli", "clients", *words, "--config", str(service.config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_operators_invite_list_show_and_revoke(service: Service) -> None:
    made = _command(
        service, "invite", "--grant", ASK, "--scope", "compute.read", "--uses", "2", "--hours", "1"
    )
    assert made.returncode == 0, made.stderr
    said = registered(
        service, made.stdout.strip(), grant_types=[ASK], scope="compute.read", client_name="Robot"
    )
    ours = (said["client_id"], said["client_secret"])
    ask: Any = {"data": {"grant_type": ASK}, "auth": ours, "trust_env": False}
    access = httpx.post(f"{service.issuer}/token", **ask).json()["access_token"]

    listed = _command(service, "list").stdout
    assert said["client_id"] in listed
    assert "Robot" in listed
    assert "The Portal" in listed
    assert "1 left until" in listed
    shown = _command(service, "show", said["client_id"]).stdout
    assert "compute.read" in shown
    assert said["client_secret"] not in shown
    assert "hash" not in shown

    ended = _command(service, "revoke", said["client_id"])
    assert ended.returncode == 0, ended.stderr
    assert httpx.post(f"{service.issuer}/token", **ask).json()["error"] == "invalid_client"
    assert send("GET", said["registration_client_uri"], said["registration_access_token"]).status_code == 401
    assert look(service, "SELECT count(*) FROM revocation WHERE name = ?", f"client/{ours[0]}") == [(1,)]
    assert ended_soon(service, access)
    assert _command(service, "revoke", said["client_id"]).returncode == 1
    named = _command(service, "revoke", "portal")
    assert "settings" in named.stderr


def test_a_revoked_invitation_registers_nobody_and_its_clients_stay(service: Service) -> None:
    made = _command(service, "invite")
    said = registered(service, made.stdout.strip())
    again = _command(service, "invite", "--uses", "5")
    name = again.stderr.split("Invitation ")[1].split(":")[0]
    assert _command(service, "revoke", name).returncode == 0
    refused(register(service, again.stdout.strip(), redirect_uris=[BACK]), "invalid_token", 401)
    assert send("GET", said["registration_client_uri"], said["registration_access_token"]).status_code == 200


@pytest.mark.parametrize("words", [("--grant", "implicit"), ("--uses", "0"), ("--hours", "0")])
def test_an_invitation_that_makes_no_sense_is_refused(service: Service, words: tuple[str, ...]) -> None:
    done = _command(service, "invite", *words)
    assert (done.returncode, done.stdout) == (2, "")
