"""RFC 9207, the issuer in authorization responses: section, what it demands, and what proves it.

2 | `iss` comes with every success and every error
    | test_rfc9207_2_every_answer_names_the_issuer
2.1 | in a success
    | test_the_whole_road
2.2 | in an error
    | test_rfc6749_4_1_2_1_what_is_wrong_goes_back_to_the_client
2.3 | it is the issuer of the metadata, https, without query and fragment
    | test_rfc9207_2_3_it_is_the_issuer_of_the_metadata, test_rfc8414_2_the_issuer_has_no_query_and_no_fragment
2.4 | as a client: another `iss`, or a missing one where it is promised, is refused
    | test_a_wrong_answer_through_the_browser_is_not_believed
2.4 | as a client: it is compared before anything else goes to the provider
    | test_rfc9700_4_4_a_code_of_one_provider_never_reaches_another
3 | authorization_response_iss_parameter_supported is true
    | test_rfc9207_3_the_metadata_promises_it
4 | no other issuer can be made to stand there
    | test_rfc9207_4_nobody_else_can_name_the_issuer
"""

from urllib.parse import parse_qsl, urlsplit

import httpx

from tests.auth.kit import Walker, asking, get, query
from tests.rfc.kit import RAW
from tests.service import Service


def test_rfc9207_2_every_answer_names_the_issuer(service: Service) -> None:
    with Walker(service) as browser:
        answers = [browser.allow(asking(service))]
        denied = browser.submit(browser.consent(asking(service)), action="deny")
        answers.append(query(denied.headers["location"]))
        for given in (
            {"scope": "no"},
            {"response_type": "token"},
            {"code_challenge": ""},
            {"prompt": "none"},
            {"request": "eyJ"},
            {"resource": "https://elsewhere.example.org"},
            {"state": "", "max_age": "x"},
        ):
            answers.append(query(browser.http.get(asking(service, **given)).headers["location"]))
    assert ["error" in answer for answer in answers] == [False] + [True] * 8
    assert {answer["iss"] for answer in answers} == {service.issuer}


def test_rfc9207_2_3_it_is_the_issuer_of_the_metadata(service: Service) -> None:
    said = get(service, ".well-known/oauth-authorization-server").json()
    back = query(httpx.get(asking(service, scope="no"), **RAW).headers["location"])
    assert back["iss"] == said["issuer"]


def test_rfc9207_3_the_metadata_promises_it(service: Service) -> None:
    for name in ("oauth-authorization-server", "openid-configuration"):
        said = get(service, f".well-known/{name}").json()
        assert said["authorization_response_iss_parameter_supported"] is True


def test_rfc9207_4_nobody_else_can_name_the_issuer(service: Service) -> None:
    """Neither by a parameter of the request nor by the Host that it claims; and it stands there once."""
    more = "&iss=https://evil.example.org"
    answer = httpx.get(asking(service, scope="no") + more, headers={"Host": "evil.example.org"}, **RAW)
    if answer.is_redirect:
        pairs = parse_qsl(urlsplit(answer.headers["location"]).query)
        assert [value for name, value in pairs if name == "iss"] == [service.issuer]
    answer = httpx.get(asking(service, scope="no") + more, **RAW)
    pairs = parse_qsl(urlsplit(answer.headers["location"]).query)
    assert [value for name, value in pairs if name == "iss"] == [service.issuer]
