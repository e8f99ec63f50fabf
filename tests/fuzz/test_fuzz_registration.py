"""Whatever a client sends to register: it becomes a client within the invitation, or is refused."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatehouse.auth import registration
from gatehouse.auth.clients import AUTH_METHODS, AUTHORIZATION_CODE
from gatehouse.auth.providers.egress import Guard
from gatehouse.auth.registration import GRANTS, Ceiling, Metadata
from gatehouse.registry.capabilities import covered
from gatehouse.registry.errors import Problem
from gatehouse.registry.settings import bad_redirect

GUARD = Guard(development=True, strict=True)
CEILING = Ceiling(
    grants=(AUTHORIZATION_CODE, "refresh_token", "client_credentials"),
    scopes=("storage.read:/a", "compute.read"),
    audiences=("https://storage.example.org",),
    resources=("https://me.example.org",),
)
TAKEN = frozenset({"diraccommandline"})
KEY = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "one",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
CODES = {"invalid_redirect_uri", "invalid_client_metadata", "invalid_software_statement"}

# the same examples on every machine; what a longer search finds becomes an `example`
repeatable = settings(derandomize=True, max_examples=400)

texts = st.text(st.characters(), max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
uris = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(
        ["https://", "http://", "https:", "//", "javascript:", "org.example.app:", "file:///", ""]
    ),
    st.sampled_from(
        ["app.example.org", "a@b", "[::1]", "[", "127.0.0.1", "localhost", "é", "", "*.org", "10.0.0.1"]
    ),
    st.sampled_from(["", ":443", ":0", ":-1", ":99999", ":x", ":\u0661"]),
    st.sampled_from(["", "/", "/back", "/../x", "/#x", "?a=b", "/%2e%2e/", "/\\", "/ ", "/\r\nx"]) | texts,
)
words = st.sampled_from(
    [
        *(
            "openid",
            "offline_access",
            "storage.read:/a",
            "storage.read:/a/b",
            "storage.read:/",
            "compute.read",
        ),
        *(
            "storage.read:/a/../b",
            "storage.read:/ab",
            "storage.modify:/a",
            "g:dirac_admin",
            "proxy",
            "compute.cancel",
        ),
    ]
)
grants = st.lists(st.sampled_from([*GRANTS, "implicit", "password", ""]), max_size=4)
members: dict[str, st.SearchStrategy[Any]] = {
    "client_name": texts | st.sampled_from(["DIRAC command line", "dirac COMMAND line", "An app"]),
    "redirect_uris": st.lists(uris, max_size=3) | st.just(["https://app.example.org/back"]),
    "token_endpoint_auth_method": st.sampled_from([*AUTH_METHODS, "client_secret_jwt", ""]),
    "grant_types": grants,
    "response_types": st.lists(st.sampled_from(["code", "token", "id_token"]), max_size=2),
    "scope": st.lists(words, max_size=4).map(" ".join) | texts,
    "contacts": st.lists(texts, max_size=3),
    "jwks": st.sampled_from([{"keys": [KEY]}, {"keys": [{**KEY, "d": "AQAB"}]}, {"keys": []}]) | values,
    "jwks_uri": uris,
    "post_logout_redirect_uris": st.lists(uris, max_size=2),
    "backchannel_logout_uri": uris,
    "tls_client_auth_subject_dn": st.sampled_from(["/DC=org/CN=robot", "CN=robot,DC=org", "x", "/CN=", "="])
    | texts,
    "dpop_bound_access_tokens": st.booleans(),
    "id_token_signed_response_alg": st.sampled_from(["ES256", "RS256", "none"]),
    "audiences": st.lists(
        st.sampled_from(["https://storage.example.org", "https://x.example.org"]), max_size=2
    ),
    "resources": st.lists(st.sampled_from(["https://me.example.org", "https://you.example.org"]), max_size=2),
    "software_statement": st.none() | texts,
    "client_secret": texts,
    "is_secret": st.booleans(),
    "scopes": st.just(["storage.modify:/"]),
}


def spoilt(strategies: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents of these members, some of them of another type altogether, some left out."""
    return st.fixed_dictionaries(
        {}, optional={name: st.one_of(one, one, one, values) for name, one in strategies.items()}
    )


documents = st.one_of(
    st.fixed_dictionaries({}, optional=members), spoilt(members), st.dictionaries(texts, values, max_size=5)
)


def through(document: dict[str, Any]) -> Metadata | None:
    """What registers; None for a refusal as it is declared."""
    try:
        read = registration.read(json.dumps(document).encode("utf-8", "surrogatepass"))
        metadata = registration.understood(read)
        registration.admitted(metadata, CEILING, GUARD, TAKEN)
    except Problem as problem:
        as_declared(problem)
        return None
    return metadata


def as_declared(problem: Problem) -> None:
    """RFC 7591 §3.2.2: one of its codes, and a sentence that harms no log and no terminal."""
    assert (problem.status, problem.code in CODES) == (400, True)
    assert problem.message.isascii()
    assert problem.message.isprintable()
    assert len(problem.message) < 2000


@repeatable
@given(documents)
@example({"redirect_uris": ["https://app.example.org/back"]})
@example({"redirect_uris": ["https://app.example.org/back"], "jwks": {"keys": [KEY]}, "scope": "openid"})
@example({"grant_types": ["client_credentials"], "scope": "storage.read:/a/b"})
@example({"grant_types": [[]]})
@example({"jwks": {"keys": [{"kid": "\ud800"}]}})
@example({"jwks_uri": "https://[/"})
@example({"redirect_uris": ["https://app.example.org\x1b[2J"]})
@example({"redirect_uris": ["https://app.example.org/back"], "id_token_signed_response_alg": 10**400})
def test_a_registration_is_within_its_invitation_or_refused(document: dict[str, Any]) -> None:
    metadata = through(document)
    if metadata is None:
        return
    client = registration.client(metadata, "0" * 32)
    assert client.client_id == "0" * 32
    assert client.grant_types <= set(CEILING.grants)
    assert client.audiences <= set(CEILING.audiences)
    assert client.resources <= set(CEILING.resources)
    assert all(covered(frozenset(CEILING.scopes), word) for word in client.scopes)
    assert not client.public
    assert not client.is_secret("")
    assert not any(map(bad_redirect, client.redirect_uris))
    assert client.name.isprintable()
    assert registration.folded(client.name) not in TAKEN
    for uri in filter(None, (client.jwks_uri, client.backchannel_logout_uri)):
        assert GUARD.target(uri).scheme == "https"


@repeatable
@given(documents)
@example({"redirect_uris": ["https://app.example.org/back"], "contacts": ["a@example.org"]})
def test_what_was_registered_is_read_again_as_it_was(document: dict[str, Any]) -> None:
    metadata = through(document)
    if metadata is None:
        return
    kept = msgspec.json.decode(msgspec.json.encode(metadata), type=Metadata)
    assert kept == metadata
    said = json.loads(msgspec.json.encode(metadata.spoken()))
    assert (
        registration.understood(said) == metadata
    )  # a client that sends back what it was told changes nothing
    assert set(said) <= set(Metadata.__struct_fields__)


@repeatable
@given(st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
@example(b'{"a":' * 5000)
@example(b"[" * 16000)
@example(b'{"redirect_uris": 1e999}')
@example(b'{"redirect_uris": ["\xff"]}')
def test_any_body_is_a_document_or_refused(body: bytes) -> None:
    try:
        assert isinstance(registration.read(body), dict)
    except Problem as problem:
        as_declared(problem)


def test_most_of_what_is_tried_is_refused_and_some_is_not() -> None:
    """The examples above are worth something: both ends are reached."""
    good = {"redirect_uris": ["https://app.example.org/back"], "scope": "openid storage.read:/a/b"}
    assert through(good) is not None
    assert through({**good, "scope": "storage.read:/"}) is None
    with pytest.raises(Problem):
        registration.understood({"redirect_uris": 1})
