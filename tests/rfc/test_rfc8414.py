"""RFC 8414, metadata: section, what it demands of the server, and what proves it.

2 | the issuer is an https address without query and fragment
    | test_rfc8414_2_the_issuer_has_no_query_and_no_fragment,
    | test_what_is_unsafe_in_production_is_refused_with_its_sentence
2 | what is required is there
    | test_rfc8414_2_what_is_required_is_there, test_rfc8414_2_a_strangers_library_finds_it_valid
2 | signing algorithms of client authentication are listed, and `none` is not among them
    | test_rfc8414_2_no_endpoint_takes_unsigned_assertions
2 | every address that is said answers
    | test_rfc8414_2_every_address_answers
2 | what is said of grants and methods is what is there
    | test_rfc8414_2_what_is_announced_exists
2.1 | signed metadata
    | not applicable: optional, TLS says who speaks
3 | the document stands at the well-known path, between host and path of the issuer
    | test_rfc8414_3_the_metadata_is_the_same_at_all_three_addresses, test_rfc8414_3_1_inserted_for_each_issuer
3.1 | a GET, without anything else
    | test_rfc8414_3_1_inserted_for_each_issuer
3.1 | an issuer for each VO, at its own inserted path
    | test_rfc8414_3_1_inserted_for_each_issuer, test_rfc8414_3_1_nobody_else_is_found
3.2 | 200, application/json, an object; no claim without elements
    | test_rfc8414_3_2_the_answer_is_json_without_empty_claims
3.2 | errors have their HTTP status
    | test_rfc8414_3_1_nobody_else_is_found
3.3 | the issuer is the very text that the path was made of
    | test_rfc8414_3_3_the_issuer_is_the_one_that_was_asked
4 | comparison of strings
    | not applicable: a demand on clients
6.1 | TLS
    | test_what_is_unsafe_in_production_is_refused_with_its_sentence
6.2 | issuer and metadata are bound by the client's comparison
    | test_rfc8414_3_3_the_issuer_is_the_one_that_was_asked
"""

from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

from tests.auth.kit import post
from tests.rfc.kit import RAW, SECRET
from tests.service import Service

VO = "training.egi.eu"


def inserted(issuer: str, suffix: str = "oauth-authorization-server") -> str:
    """RFC 8414 §3.1: between host and path."""
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}/.well-known/{suffix}{parts.path.rstrip('/')}"


@pytest.fixture(scope="module")
def said(service: Service) -> dict[str, Any]:
    """The metadata of the one issuer."""
    found: dict[str, Any] = httpx.get(inserted(service.issuer), **RAW).json()
    return found


def test_rfc8414_2_the_issuer_has_no_query_and_no_fragment(said: dict[str, Any]) -> None:
    parts = urlsplit(said["issuer"])
    assert (parts.query, parts.fragment) == ("", "")
    assert not said["issuer"].endswith(("?", "#"))


def test_rfc8414_2_what_is_required_is_there(said: dict[str, Any]) -> None:
    for name in (
        "issuer",
        "authorization_endpoint",
        "token_endpoint",
        "response_types_supported",
        "jwks_uri",
    ):
        assert said[name], name


def test_rfc8414_2_a_strangers_library_finds_it_valid(said: dict[str, Any]) -> None:
    """Authlib's checks of each member; it insists on https, which a trial does not have."""
    secure = {
        name: value.replace("http://", "https://") if isinstance(value, str) else value
        for name, value in said.items()
    }
    AuthorizationServerMetadata(secure).validate()
    with pytest.raises(ValueError, match="issuer"):
        AuthorizationServerMetadata({**secure, "issuer": f"{secure['issuer']}?a=b"}).validate()


def test_rfc8414_2_no_endpoint_takes_unsigned_assertions(said: dict[str, Any]) -> None:
    for endpoint in ("token", "revocation"):
        assert "private_key_jwt" in said[f"{endpoint}_endpoint_auth_methods_supported"]
        algorithms = said[f"{endpoint}_endpoint_auth_signing_alg_values_supported"]
        assert {"RS256", "ES256"} <= set(algorithms)
        assert not [name for name in algorithms if name == "none" or name.startswith("HS")]


def test_rfc8414_2_every_address_answers(service: Service, said: dict[str, Any]) -> None:
    addresses = [value for name, value in said.items() if name.endswith(("_endpoint", "_uri"))]
    assert len(addresses) >= 7
    for address in addresses:
        assert address.startswith(service.base + "/")
        assert not urlsplit(address).fragment
        assert httpx.get(address, **RAW).status_code != 404, address


def test_rfc8414_2_what_is_announced_exists(service: Service, said: dict[str, Any]) -> None:
    """A grant that is announced is known, however it is refused; others are not."""
    for grant in said["grant_types_supported"]:
        answer = post(service, "token", grant_type=grant, client_id="portal", client_secret=SECRET)
        assert answer.json()["error"] != "unsupported_grant_type", grant
    for grant in ("password", "implicit", "urn:ietf:params:oauth:grant-type:saml2-bearer"):
        assert grant not in said["grant_types_supported"]
        answer = post(service, "token", grant_type=grant, client_id="portal", client_secret=SECRET)
        assert answer.json()["error"] == "unsupported_grant_type"
    assert said["response_types_supported"] == ["code"]


@pytest.mark.parametrize("path", ["", f"/vo/{VO}"])
def test_rfc8414_3_1_inserted_for_each_issuer(service: Service, path: str) -> None:
    issuer = service.issuer + path
    addresses = (
        inserted(issuer),
        f"{issuer}/.well-known/oauth-authorization-server",
        f"{issuer}/.well-known/openid-configuration",
    )
    found = [httpx.get(address, **RAW) for address in addresses]
    assert [answer.status_code for answer in found] == [200, 200, 200]
    assert len({answer.content for answer in found}) == 1
    assert found[0].json()["issuer"] == issuer
    assert httpx.get(found[0].json()["jwks_uri"], **RAW).json()["keys"]


def test_rfc8414_3_1_nobody_else_is_found(service: Service) -> None:
    assert httpx.get(inserted(f"{service.issuer}/vo/{VO}"), **RAW).status_code == 200
    for path in ("/vo/nobody", f"/vo/{VO.upper()}", f"/vo/{VO}/more", "/vo", "x"):
        answer = httpx.get(inserted(service.issuer + path), **RAW)
        assert answer.status_code == 404, path


@pytest.mark.parametrize("path", ["", f"/vo/{VO}"])
def test_rfc8414_3_2_the_answer_is_json_without_empty_claims(service: Service, path: str) -> None:
    answer = httpx.get(inserted(service.issuer + path), **RAW)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert isinstance(found, dict)
    empty = {name for name, value in found.items() if value in ([], {}, "", None)}
    # an issuer that only signs answers no response type; section 2 wants the claim, 3.2 would leave it out
    assert empty == ({"response_types_supported"} if path else set())


@pytest.mark.parametrize("path", ["", f"/vo/{VO}"])
@pytest.mark.parametrize("host", ["localhost", "evil.example.org", "evil.example.org:443"])
def test_rfc8414_3_3_the_issuer_is_the_one_that_was_asked(service: Service, path: str, host: str) -> None:
    """What the caller says in its Host header changes nothing of the answer."""
    issuer = service.issuer + path
    answer = httpx.get(inserted(issuer), headers={"Host": host, "X-Forwarded-Host": host}, **RAW)
    if answer.status_code == 200:
        assert answer.json()["issuer"] == issuer
        assert "evil" not in answer.text
    assert httpx.get(inserted(issuer), **RAW).json()["issuer"] == issuer
