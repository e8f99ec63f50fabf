"""What programs and browsers send to the endpoints: no bytes make a parser raise anything but what it declares."""

import base64

import pytest
from authlib.oauth2.rfc6749 import OAuth2Error
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.auth import authentication, clients, codes, devices, scopes
from gatehouse.auth.clients import Client
from gatehouse.auth.server import Form, read_form, sayable
from gatehouse.registry.capabilities import covered
from gatehouse.registry.settings import bad_redirect

NAMES = st.sampled_from(
    [
        *("client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "resource"),
        *("response_type", "code_challenge", "code_challenge_method", "redirect_uri", "prompt", "max_age"),
        *("state", "nonce", "dpop_jkt", "request", "authorization_details", "audience"),
    ]
)
FORMS = st.dictionaries(NAMES | st.text(max_size=20), st.text(max_size=300), max_size=20)
PORTAL = Client("portal", "Portal", frozenset({clients.AUTHORIZATION_CODE}), "ES256")


@given(st.binary(max_size=3000))
def test_a_body_is_a_form_or_a_reason(body: bytes) -> None:
    found = read_form(body)
    if isinstance(found, Form):
        assert len(found) <= 32
        assert all(name.isprintable() and value and value.isprintable() for name, value in found.items())
        assert set(found.targets) >= {found[name] for name in ("resource", "audience") if name in found}
    else:
        assert sayable(found)


@given(st.text(max_size=500))
def test_any_text_can_be_said(text: str) -> None:
    said = sayable(text)
    assert said.isascii()
    assert all(" " <= c <= "~" and c not in '"\\' for c in said)


@given(st.text(max_size=1500))
def test_a_scope_is_understood_or_a_reason(text: str) -> None:
    found = scopes.parse(text)
    if isinstance(found, scopes.Asked):
        again = scopes.parse(found.granted(found.group)) if found.group else found
        assert isinstance(again, scopes.Asked)
        assert again.group == found.group
    else:
        assert found.reason
    rest, seconds = scopes.lifetime_of(text)
    assert seconds is None or 0 < seconds < 10**9
    assert "lifetime:" not in {word[:9] for word in rest.split()}


@given(
    FORMS,
    st.text(max_size=300) | st.binary(max_size=200).map(lambda b: "Basic " + base64.b64encode(b).decode()),
)
def test_who_calls_is_read_or_refused(form: dict[str, str], header: str) -> None:
    refused: str = ""
    try:
        shown = authentication.presented(form, {"Authorization": header} if header else {}, "")
    except OAuth2Error as error:
        refused = error.error
    if refused:
        assert refused in ("invalid_client", "invalid_request")
        return
    assert 0 < len(shown.client_id) <= 128
    assert shown.method in clients.AUTH_METHODS


@given(FORMS, st.lists(st.text(max_size=300), max_size=12))
def test_an_authorization_request_is_understood_or_a_reason(
    form: dict[str, str], resources: list[str]
) -> None:
    found = codes.checked(PORTAL, form, resources, {"training_user"}, "https://here.example/api")
    assert isinstance(found, codes.NotAsked)  # it has registered no address
    found = codes.understood(PORTAL, form, resources, {"training_user"}, "https://here.example/api")
    if isinstance(found, codes.NotAsked):
        assert found.error
        assert sayable(found.reason)
    else:
        assert len(found.challenge) == 43
        assert set(found.audience) <= {"https://here.example/api"}


@given(st.text(max_size=1200))
def test_an_address_is_registered_only_as_it_is_written(uri: str) -> None:
    own = () if bad_redirect(uri) else (uri,)
    client = Client("one", "One", frozenset(), "ES256", redirect_uris=("https://a.example/b", *own))
    assert client.check_redirect_uri(uri) is bool(own)
    if own:
        assert codes.origin(uri)
        assert codes.host(uri)


@given(st.text(max_size=100))
def test_a_typed_code_has_one_form(text: str) -> None:
    code = devices.normalised(text)
    assert code == "" or (len(code) == 9 and devices.normalised(code) == code)


WORDS = st.sampled_from(["storage.read:/a", "storage.read:/a/b", "storage.modify:/", "compute.read", "g:x"])


@pytest.mark.parametrize("held", [[], ["storage.read:/a"], ["storage.modify:/a/"], ["compute.read", "g:x"]])
def test_what_is_covered_stays_covered_below(held: list[str]) -> None:
    @given(WORDS | st.text(max_size=60), st.text(alphabet="abc", min_size=1, max_size=5))
    def inner(word: str, below: str) -> None:
        if covered(held, word) and word.startswith("storage.") and not word.endswith("/"):
            assert covered(held, f"{word}/{below}")
            assert ":/" in word

    inner()
