"""The grammars: every value has one reading, no text breaks them, and no look-alike passes for a member."""

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatehouse.registry.capabilities import is_normalised, parse_scope, parse_scopes
from gatehouse.registry.distinguished import normalise_dn, parse_fqan
from gatehouse.registry.entitlements import (
    Capability,
    Membership,
    Profile,
    Refused,
    membership,
    parse_entitlement,
    parse_slashless_group,
    parse_wlcg_group,
)
from gatehouse.registry.reasons import REASONS

PROFILE = Profile(("urn:geant:hill.example",), ("id.hill.example",))
PREFIX, AUTHORITY = "urn:geant:hill.example:group:", "#id.hill.example"

letters = st.characters(exclude_categories=["Cs", "Cc"])
names = st.text(letters, min_size=1, max_size=12)
nasty = st.text(st.sampled_from("ab:#%/=,+\\ 02eErole\n\x00é\ud800") | st.characters(), max_size=60)


def escaped(name: str) -> str:
    """A name as Check-in's registry writes it: letters, digits and `.-*_` stay, a space is %20."""
    return quote(name, safe="*").replace("~", "%7E")


@given(st.lists(names, min_size=1, max_size=5), st.none() | names)
@example(["role=x", "a:b", "#"], "role=")
@example(["otter"], "member")
def test_an_entitlement_reads_as_it_was_written(path: list[str], role: str | None) -> None:
    value = PREFIX + ":".join(map(escaped, path)) + (f":role={escaped(role)}" if role else "") + AUTHORITY
    if len(value) <= 1024:
        assert parse_entitlement(value, PROFILE) == membership(path, role)


@given(nasty)
def test_no_text_breaks_a_grammar(text: str) -> None:
    for value in (
        text,
        PREFIX + text,
        PREFIX + text + AUTHORITY,
        "/" + text,
        "CN=" + text,
        "storage.read:" + text,
    ):
        answers = [
            parse_entitlement(value, PROFILE),
            parse_wlcg_group(value, ["vo"]),
            parse_slashless_group(value, ["vo"]),
            parse_fqan(value),
            normalise_dn(value),
            parse_scope(value),
        ]
        assert {answer.reason for answer in answers if isinstance(answer, Refused)} <= set(REASONS)


@given(nasty.filter(lambda text: "%" not in text))
@example("")
@example(":role=member")
@example(":role=Member")
@example("x")
@example("\n")
@example(AUTHORITY)
def test_only_the_group_itself_is_the_group(text: str) -> None:
    wanted = Membership(("otter",))
    for name in ("otter" + text, text + "otter"):
        found = parse_entitlement(PREFIX + name + AUTHORITY, PROFILE)
        assert (found == wanted) == (name in ("otter", "otter:role=member"))
        assert (parse_wlcg_group("/" + name, ["otter"]) == wanted) == (name == "otter")
        assert (parse_slashless_group(name, ["otter"]) == wanted) == (name == "otter")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (PREFIX + "o" * 1024 + AUTHORITY, "too_long"),
        (PREFIX + "ötter" + AUTHORITY, "not_ascii"),
        (PREFIX + "otter#a#b", "multiple_authority"),
        ("urn:geant:hill.example.org:group:otter" + AUTHORITY, "namespace_not_allowed"),
        ("xurn:geant:hill.example:group:otter" + AUTHORITY, "namespace_not_allowed"),
        ("urn:geant:hill.example", "unsupported_type"),
        ("urn:geant:hill.example:group", "unsupported_type"),
        ("urn:geant:hill.example:groups:otter" + AUTHORITY, "unsupported_type"),
        (PREFIX + "otter", "authority_missing"),
        (PREFIX + "otter#ID.hill.example", "authority_not_allowed"),
        (PREFIX + "otter\n" + AUTHORITY, "control_character"),
        ("urn:geant:hill.example:res:a:act:b:c" + AUTHORITY, "resource_syntax"),
        ("urn:geant:hill.example:res:" + AUTHORITY, "empty_component"),
    ],
)
def test_refusals_name_their_reason(value: str, reason: str) -> None:
    found = parse_entitlement(value, PROFILE)
    assert isinstance(found, Refused)
    assert found.reason == reason


def test_an_empty_namespace_allows_nothing() -> None:
    found = parse_entitlement(":group:otter", Profile(("",), None, authority_optional=True))
    assert found == Refused(":group:otter", "namespace_not_allowed")


def test_two_resources_never_share_a_name() -> None:
    start = "urn:geant:hill.example:res:"
    values = ["a:b", "a%3Ab", "a%253Ab", "a:act:b", "act:act:act"]
    found = [parse_entitlement(start + value + AUTHORITY, PROFILE) for value in values]
    assert found == [
        Capability("res:a:b", actions=()),
        Capability("res:a%3Ab", actions=()),
        Capability("res:a%253Ab", actions=()),
        Capability("res:a", actions=("b",)),
        Capability("res:act", actions=("act",)),
    ]


@given(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,8}", fullmatch=True), min_size=1, max_size=5))
def test_group_strings_read_as_written(path: list[str]) -> None:
    expected = Membership(tuple(path))
    assert parse_wlcg_group("/" + "/".join(path), [path[0]]) == expected
    assert parse_slashless_group("/".join(path), [path[0]]) == expected
    assert parse_fqan("/" + "/".join(path) + "/Role=NULL/Capability=NULL") == expected
    assert parse_fqan("/" + "/".join(path) + "/Role=pilot") == Membership(tuple(path), "pilot")


@given(st.text(st.sampled_from("/.a%2eE~é "), max_size=12))
def test_a_normalised_path_never_climbs(path: str) -> None:
    if is_normalised(path):
        assert path.startswith("/")
        assert not {"..", ".", ""} & set(
            path.strip("/").replace("%2e", ".").replace("%2E", ".").split("/")
        ) or (path == "/")


def test_scopes_keep_their_order_and_drop_repeats() -> None:
    assert parse_scopes("compute.read openid storage.read:/a  compute.read") == (
        Capability("compute.read"),
        Capability("storage.read", path="/a"),
    )
    assert parse_scopes(["compute.read", 7, "storage.stage:/a/ x"]) == (
        Capability("compute.read"),
        Capability("storage.stage", path="/a/"),
    )
    assert parse_scopes(None) == ()
    assert parse_scopes("x " * 3000) == Refused("x", "too_many_values")


@pytest.mark.parametrize(
    "word", ["storage.reads:/a", "xstorage.read:/a", "compute.read:/a", "Storage.read", "wlcg"]
)
def test_other_scopes_are_no_capabilities(word: str) -> None:
    assert parse_scope(word) is None


@pytest.mark.parametrize(
    ("text", "slash"),
    [
        ("CN=Ada,O=Lab,DC=org", "/DC=org/O=Lab/CN=Ada"),
        ("cn = Ada , o=Lab", "/O=Lab/CN=Ada"),
        (r"CN=Ada\, Countess,O=Lab\2C Ltd", "/O=Lab, Ltd/CN=Ada, Countess"),
        (r"CN=Ada\ ,O=L\C3\A4b", "/O=Läb/CN=Ada "),
        (r"CN=back\\  ,O=Lab", "/O=Lab/CN=back\\"),
        ("CN=host/wn.example,O=Lab", "/O=Lab/CN=host/wn.example"),
        ("1.2.840.113549.1.9.1=#1603614062,CN=Ada", "/CN=Ada/emailAddress=a@b"),
        ("/DC=org/E=a@b/CN=Ada", "/DC=org/emailAddress=a@b/CN=Ada"),
        ("/O=Lab/CN=host/wn.example", "/O=Lab/CN=host/wn.example"),
        ("/O=DIRAC/CN=2bd8@egi.eu", "/O=DIRAC/CN=2bd8@egi.eu"),
    ],
)
def test_names_have_one_slash_spelling(text: str, slash: str) -> None:
    assert normalise_dn(text) == slash
    assert normalise_dn(slash) == slash


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("O=Lab/CN=Ada,DC=org", "ambiguous_dn"),
        (r"O=Lab\2FCN=Ada,DC=org", "ambiguous_dn"),
        ("O=#130a4c61622f434e3d416461,DC=org", "ambiguous_dn"),
        ("CN=Ada+UID=7,O=Lab", "multi_valued_rdn"),
        ("CN=Ada\\", "dn_syntax"),
        (r"CN=Ada\C3,O=Lab", "dn_syntax"),
        ('CN="Ada",O=Lab', "dn_syntax"),
        ("CN=,O=Lab", "dn_syntax"),
        ("CN=Ada,", "dn_syntax"),
        ("CN=\ud800", "dn_syntax"),
        ("/CN=\ud800", "dn_syntax"),
        ("Ada", "dn_syntax"),
        ("", "dn_syntax"),
        ("/", "dn_syntax"),
        ("/x/CN=Ada", "dn_syntax"),
        ("CN=Ada\x00,O=Lab", "control_character"),
        ("CN=" + "a" * 1024, "too_long"),
    ],
)
def test_names_that_cannot_be_compared_are_refused(text: str, reason: str) -> None:
    found = normalise_dn(text)
    assert isinstance(found, Refused)
    assert found.reason == reason


rdns = st.tuples(st.sampled_from(["CN", "O", "OU", "DC"]), names)


def rfc4514(pairs: list[tuple[str, str]]) -> str:
    """Every byte escaped as two hexadecimal digits: always allowed, never ambiguous."""
    return ",".join(
        f"{kind}=" + "".join(f"\\{byte:02x}" for byte in value.encode()) for kind, value in pairs[::-1]
    )


@given(st.lists(rdns, min_size=1, max_size=4), st.lists(rdns, min_size=1, max_size=4))
@example([("O", "Lab"), ("CN", "Ada")], [("O", "Lab/CN=Ada")])
def test_two_different_names_never_become_one(one: list[tuple[str, str]], two: list[tuple[str, str]]) -> None:
    first, second = normalise_dn(rfc4514(one)), normalise_dn(rfc4514(two))
    if isinstance(first, str) and isinstance(second, str):
        assert (first == second) == (one == two)


def test_the_usual_name_is_not_refused() -> None:
    assert normalise_dn(rfc4514([("O", "Lab"), ("CN", "Ada é/x")])) == "/O=Lab/CN=Ada é/x"
