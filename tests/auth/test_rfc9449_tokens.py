"""DPoP at the token endpoint, over a socket: tokens for one key, logins that only it can prolong, codes bound to it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest

from gatehouse.cli.demo.approve import approve
from gatehouse.cli.server import open_database, open_seal
from gatehouse.registry import configuration
from gatehouse.tokenmanager import pilot_secrets
from tests.auth.kit import (
    CLIENTS,
    DEVICE_GRANT,
    VERIFIER,
    asking,
    begin,
    code_login,
    error,
    login,
    query,
)
from tests.conftest import scratch
from tests.proofs import Holder
from tests.service import Service, free_port

MORE = f"""
{CLIENTS}
[[clients]]
client_id = "bound"
grant_types = ["{DEVICE_GRANT}", "refresh_token"]
dpop_only = true
"""
PILOT = "urn:gatehouse:params:oauth:grant-type:pilot-secret"
DONE = "http://127.0.0.1:7777/done"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse"), more=MORE) as running:
        yield running
        assert "Traceback" not in running.log.read_text()


@pytest.fixture
def holder(service: Service) -> Holder:
    """A client's key, and a nonce of the service."""
    return with_nonce(service, Holder())


def with_nonce(service: Service, made: Holder) -> Holder:
    """The key, with a nonce of the service."""
    made.nonce = post(service, made, grant_type="x").headers["dpop-nonce"]
    return made


def send(service: Service, path: str, proofs: list[str], **form: str) -> httpx.Response:
    """POST a form with any number of proofs."""
    headers = [("DPoP", one) for one in proofs]
    return httpx.post(f"{service.issuer}/{path}", data=form, headers=headers, timeout=30, trust_env=False)


def post(service: Service, holder: Holder, path: str = "token", **form: str) -> httpx.Response:
    """POST a form with a good proof."""
    return send(service, path, [holder.proof("POST", f"{service.issuer}/{path}")], **form)


def bound_login(service: Service, holder: Holder, client: str = "DIRAC_CLI") -> dict[str, Any]:
    """A login by the device flow that brings a proof; the token answer."""
    started = begin(service, client=client)
    approve(started["verification_uri_complete"], "alice")
    answer = post(
        service, holder, grant_type=DEVICE_GRANT, device_code=started["device_code"], client_id=client
    )
    assert answer.status_code == 200, answer.text
    tokens: dict[str, Any] = answer.json()
    return tokens


def prolong(
    service: Service, token: str, *proofs: str, client: str = "DIRAC_CLI", **more: str
) -> httpx.Response:
    """Use a refresh token."""
    form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": client, **more}
    return send(service, "token", list(proofs), **form)


def userinfo(service: Service, token: str, *proofs: str, scheme: str = "DPoP") -> httpx.Response:
    """Ask who one is."""
    headers = [("Authorization", f"{scheme} {token}"), *(("DPoP", one) for one in proofs)]
    return httpx.get(f"{service.issuer}/userinfo", headers=headers, timeout=30, trust_env=False)


def cnf(token: str) -> object:
    """What a token is bound to."""
    return jwt.decode(token, options={"verify_signature": False}).get("cnf")


def test_rfc9449_5_a_proof_makes_a_token_for_its_key(service: Service, holder: Holder) -> None:
    tokens = bound_login(service, holder)
    assert tokens["token_type"] == "DPoP"
    token = tokens["access_token"]
    assert cnf(token) == holder.cnf
    address = f"{service.issuer}/userinfo"
    assert userinfo(service, token, holder.proof("GET", address, token)).json()["username"] == "alice"
    assert userinfo(service, token, scheme="Bearer").status_code == 401
    assert userinfo(service, token).status_code == 401
    thief = Holder()
    thief.nonce = holder.nonce
    assert userinfo(service, token, thief.proof("GET", address, token)).status_code == 401


def test_rfc9449_5_without_a_proof_tokens_are_bearer_tokens(service: Service) -> None:
    tokens = login(service)
    assert tokens["token_type"] == "Bearer"
    assert cnf(tokens["access_token"]) is None


def test_rfc9449_5_a_login_of_a_public_client_is_prolonged_by_its_key_only(
    service: Service, holder: Holder
) -> None:
    address, token = f"{service.issuer}/token", bound_login(service, holder)["refresh_token"]
    thief = Holder()
    thief.nonce = holder.nonce
    assert "bound to a key" in error(prolong(service, token), 400, "invalid_grant")
    assert "bound to a key" in error(
        prolong(service, token, thief.proof("POST", address)), 400, "invalid_grant"
    )
    answer = prolong(service, token, holder.proof("POST", address))  # the thief has not spoilt it
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "DPoP"
    assert cnf(answer.json()["access_token"]) == holder.cnf
    # also in the grace for lost answers
    assert "bound to a key" in error(prolong(service, token), 400, "invalid_grant")
    assert (
        prolong(service, token, holder.proof("POST", address)).json()["refresh_token"]
        == (answer.json()["refresh_token"])
    )


def test_rfc9449_5_a_client_that_authenticates_may_change_its_key(service: Service, holder: Holder) -> None:
    secret = {"client_id": "portal", "client_secret": "only for this test"}
    started = begin_confidential(service, secret)
    form = {"grant_type": DEVICE_GRANT, "device_code": started["device_code"], **secret}
    tokens = post(service, holder, **form).json()
    assert cnf(tokens["access_token"]) == holder.cnf
    other = Holder("EdDSA")
    other.nonce = holder.nonce
    proof = other.proof("POST", f"{service.issuer}/token")
    more = {"client_secret": "only for this test"}
    turned = prolong(service, tokens["refresh_token"], proof, client="portal", **more).json()
    assert cnf(turned["access_token"]) == other.cnf
    plain = prolong(service, turned["refresh_token"], client="portal", **more).json()
    assert (plain["token_type"], cnf(plain["access_token"])) == ("Bearer", None)


def begin_confidential(service: Service, secret: dict[str, str]) -> dict[str, Any]:
    """A device flow of the portal that alice has approved."""
    answer = send(service, "device", [], scope="g:training_user", **secret)
    assert answer.status_code == 200, answer.text
    approve(answer.json()["verification_uri_complete"], "alice")
    started: dict[str, Any] = answer.json()
    return started


def test_rfc9449_5_2_a_client_may_be_held_to_it(service: Service, holder: Holder) -> None:
    started = begin(service, client="bound")
    approve(started["verification_uri_complete"], "alice")
    form = {"grant_type": DEVICE_GRANT, "device_code": started["device_code"], "client_id": "bound"}
    assert "DPoP proof" in error(send(service, "token", [], **form), 400, "invalid_dpop_proof")
    tokens = post(service, holder, **form).json()
    assert tokens["token_type"] == "DPoP"
    error(prolong(service, tokens["refresh_token"], client="bound"), 400, "invalid_dpop_proof")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"claims": {"htm": "GET"}}, "invalid_dpop_proof"),
        ({"claims": {"htu": "https://evil.example/auth/token"}}, "invalid_dpop_proof"),
        ({"claims": {"nonce": "x" * 32}}, "use_dpop_nonce"),
        ({"claims": {"nonce": None}}, "use_dpop_nonce"),
        ({"header": {"alg": "none"}}, "invalid_dpop_proof"),
        ({"header": {"typ": "JWT"}}, "invalid_dpop_proof"),
    ],
)
def test_rfc9449_5_a_wrong_proof_gives_no_token(
    service: Service, holder: Holder, changes: dict[str, Any], code: str
) -> None:
    token = bound_login(service, holder)["refresh_token"]
    address = f"{service.issuer}/token"
    error(prolong(service, token, holder.proof("POST", address, **changes)), 400, code)
    good = holder.proof("POST", address)
    assert "More than one" in error(prolong(service, token, good, good), 400, "invalid_dpop_proof")
    assert prolong(service, token, good).status_code == 200


def test_rfc9449_8_the_nonce_comes_with_the_refusal(service: Service) -> None:
    holder = Holder()
    address = f"{service.issuer}/token"
    answer = prolong(service, "gh1.x", holder.proof("POST", address))
    error(answer, 400, "use_dpop_nonce")
    holder.nonce = answer.headers["dpop-nonce"]
    error(prolong(service, "gh1.x", holder.proof("POST", address)), 400, "invalid_grant")


def test_rfc9449_11_1_a_proof_gives_tokens_once(service: Service, holder: Holder) -> None:
    token = bound_login(service, holder)["refresh_token"]
    proof = holder.proof("POST", f"{service.issuer}/token")

    async def calls() -> list[httpx.Response]:
        form = {"grant_type": "refresh_token", "refresh_token": token, "client_id": "DIRAC_CLI"}
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            headers = {"DPoP": proof}
            address = f"{service.issuer}/token"
            return await asyncio.gather(*(http.post(address, data=form, headers=headers) for _ in range(32)))

    answers = asyncio.run(calls())
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 31
    assert {answer.json()["error"] for answer in answers if answer.status_code == 400} == {
        "invalid_dpop_proof"
    }


def test_rfc6749_2_3_two_authorization_headers_are_refused(service: Service) -> None:
    headers = [("Authorization", "Basic eDp5"), ("Authorization", "Basic cG9ydGFsOnk=")]
    form = {"grant_type": "refresh_token", "refresh_token": "x"}
    answer = httpx.post(f"{service.issuer}/token", data=form, headers=headers, timeout=30, trust_env=False)
    assert "several Authorization headers" in error(answer, 400, "invalid_request")


# -- §10: codes


def native(service: Service, **given: str) -> str:
    """The code of a login by a public client."""
    asked = {"client_id": "native", "redirect_uri": DONE, **given}
    return code_login(service, **asked)["code"]


def bring(service: Service, code: str, *proofs: str) -> httpx.Response:
    """Redeem a code of the public client."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": DONE, "client_id": "native"}
    return send(service, "token", list(proofs), code_verifier=VERIFIER, **form)


def test_rfc9449_10_dpop_jkt_binds_the_code(service: Service, holder: Holder) -> None:
    code, address = native(service, dpop_jkt=holder.thumbprint), f"{service.issuer}/token"
    thief = Holder()
    thief.nonce = holder.nonce
    assert "another key" in error(bring(service, code), 400, "invalid_grant")
    assert "another key" in error(bring(service, code, thief.proof("POST", address)), 400, "invalid_grant")
    answer = bring(service, code, holder.proof("POST", address))
    assert answer.status_code == 200, answer.text
    assert cnf(answer.json()["access_token"]) == holder.cnf


def test_rfc9449_10_a_dpop_jkt_that_is_none_is_refused(service: Service) -> None:
    answer = httpx.get(
        asking(service, client_id="native", redirect_uri=DONE, dpop_jkt="short"), trust_env=False, timeout=30
    )
    assert query(answer.headers["location"])["error"] == "invalid_request"


def pushed(service: Service, *proofs: str, **given: str) -> httpx.Response:
    """Push an authorization request of the public client."""
    form = query(asking(service, client_id="native", redirect_uri=DONE, **given))
    return send(service, "par", list(proofs), **form)


def test_rfc9449_10_1_a_proof_at_par_binds_the_code(service: Service, holder: Holder) -> None:
    par, address = f"{service.issuer}/par", f"{service.issuer}/token"
    other = Holder()
    for said in ({}, {"dpop_jkt": holder.thumbprint}):
        answer = pushed(service, holder.proof("POST", par), **said)
        assert answer.status_code == 201, answer.text
        code = code_login(service, **only(answer.json()["request_uri"]))["code"]
        other.nonce = holder.nonce
        error(bring(service, code, other.proof("POST", address)), 400, "invalid_grant")
        assert bring(service, code, holder.proof("POST", address)).status_code == 200
    wrong = pushed(service, holder.proof("POST", par), dpop_jkt=other.thumbprint)
    assert "dpop_jkt" in error(wrong, 400, "invalid_dpop_proof")


def only(request_uri: str) -> dict[str, str]:
    """An authorization request that refers to a pushed one and says nothing else."""
    left_out = ("response_type", "redirect_uri", "scope", "state", "nonce", "code_challenge")
    said = dict.fromkeys((*left_out, "code_challenge_method"), "")
    return {**said, "client_id": "native", "request_uri": request_uri}


# -- pilots


def a_secret(service: Service) -> str:
    """A pilot secret, as the factory makes one."""
    settings = configuration.load(service.config)
    settings = settings.model_copy(update={"database_url": type(settings.database_url)(url(service))})
    database = open_database(settings)
    try:
        sealed = open_seal(settings)
        return database.write_now(
            lambda tx: pilot_secrets.issue(
                tx, sealed, pilot_id="0" * 32, group="training_pilot", lifetime=600
            )
        )
    finally:
        database.close()


def url(service: Service) -> str:
    """The database of a service, from here."""
    return f"sqlite:///{service.folder / 'gatehouse.db'}"


def test_a_pilot_redeems_its_secret_for_a_token_of_its_key(
    service: Service, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(service.folder)
    form = {"grant_type": PILOT, "client_id": "gatehouse-pilot", "pilot_secret": a_secret(service)}
    error(send(service, "token", [], **form), 400, "invalid_dpop_proof")  # and the secret is not used up
    answer = post(service, holder, **form)
    assert answer.status_code == 200, answer.text
    assert answer.json()["token_type"] == "DPoP"
    assert cnf(answer.json()["access_token"]) == holder.cnf


# -- replicas


@pytest.mark.parametrize("kind", ["sqlite", "postgresql", "mariadb"])
def test_rfc9449_11_1_what_one_process_took_another_refuses(kind: str, tmp_path: Path) -> None:
    """Two processes behind one public address: proofs and nonces of the one are known to the other."""
    with scratch(kind, tmp_path) as database:
        first = Service(tmp_path, more=MORE, environ={"GATEHOUSE_DATABASE_URL": database})
        with first:
            folder = tmp_path / "other"
            folder.mkdir()
            (folder / "master.key").write_bytes((tmp_path / "master.key").read_bytes())
            (folder / "master.key").chmod(0o600)
            environ = {"GATEHOUSE_DATABASE_URL": database, "GATEHOUSE_SERVER__BASE_URL": first.base}
            with Service(folder, more=MORE, port=free_port(), environ=environ) as second:
                holder = with_nonce(first, Holder())
                token = bound_login(first, holder)["access_token"]
                proof = holder.proof("GET", f"{first.issuer}/userinfo", token)
                assert userinfo(second, token, proof).status_code == 200
                for one in (first, second):
                    answer = userinfo(one, token, proof)
                    assert answer.status_code == 401
                    assert "used before" in answer.json()["error_description"]
                at_once(first, second, token, holder)


def at_once(first: Service, second: Service, token: str, holder: Holder) -> None:
    """32 uses of one proof at two processes: one is taken."""
    proof = holder.proof("GET", f"{first.issuer}/userinfo", token)
    headers = {"Authorization": f"DPoP {token}", "DPoP": proof}

    async def calls() -> list[int]:
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            each = [(first, second)[number % 2].issuer for number in range(32)]
            answers = await asyncio.gather(*(http.get(f"{one}/userinfo", headers=headers) for one in each))
        return sorted(answer.status_code for answer in answers)

    assert asyncio.run(calls()) == [200] + [401] * 31
