"""Protected resource metadata: a client that only knows our API finds out who issues tokens for it."""

from collections.abc import Iterator

import httpx
import pytest

from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests here."""
    with Service(tmp_path_factory.mktemp("gatehouse")) as running:
        yield running


def get(address: str, *headers: tuple[str, str]) -> httpx.Response:
    """GET."""
    return httpx.get(address, headers=list(headers), timeout=30, trust_env=False)


def test_rfc9728_3_1_it_stands_between_host_and_path_of_the_resource(service: Service) -> None:
    answer = get(f"{service.base}/.well-known/oauth-protected-resource/api")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    said = answer.json()
    assert said["resource"] == f"{service.base}/api"
    assert said["authorization_servers"] == [service.issuer]
    assert said["bearer_methods_supported"] == ["header"]
    assert said["dpop_signing_alg_values_supported"] == ["ES256", "EdDSA"]
    assert get(said["resource_documentation"]).status_code == 200


def test_rfc9728_3_3_the_resource_is_the_one_that_was_asked_about(service: Service) -> None:
    """Whatever a client or a proxy says the host is: the resource is what tokens are for."""
    address = f"{service.base}/.well-known/oauth-protected-resource/api"
    assert get(address, ("Host", "evil.example")).json()["resource"] == f"{service.base}/api"


@pytest.mark.parametrize("path", ["/api/jobs", "/auth/userinfo", "/api/sandboxes/SB:x"])
@pytest.mark.parametrize("scheme", ["", "Bearer noise", "DPoP noise"])
def test_rfc9728_5_1_a_challenge_leads_to_it(service: Service, path: str, scheme: str) -> None:
    answer = get(f"{service.base}{path}", *([("Authorization", scheme)] if scheme else []))
    assert answer.status_code == 401
    challenges = answer.headers.get_list("www-authenticate")
    assert [one.partition(" ")[0] for one in challenges] == ["Bearer", "DPoP"]
    for challenge in challenges:
        address = challenge.partition('resource_metadata="')[2].partition('"')[0]
        found = get(address).json()
        assert found["authorization_servers"] == [service.issuer]
        metadata = get(f"{found['authorization_servers'][0]}/.well-known/openid-configuration").json()
        assert metadata["issuer"] == service.issuer
        assert metadata["dpop_signing_alg_values_supported"] == found["dpop_signing_alg_values_supported"]
