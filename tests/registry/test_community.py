"""Communities: the groups in the database decide what each provider's claims are worth, and the reason is told."""

from typing import Any

import pytest

from gatehouse.registry.community import Communities
from gatehouse.registry.database import Database
from gatehouse.registry.documents import Documents
from gatehouse.registry.settings import ProviderSettings
from tests.registry.people import HILL, REGISTRY, RIVER, take_in

NOW = 1_790_000_000

hill = ProviderSettings(
    name="hill",
    title="Hill Login",
    issuer=HILL,
    kind="aarc",
    client_id="gate",
    namespaces=("urn:hill",),
    authorities=("hill.example.org",),
)
river = ProviderSettings(name="river", issuer=RIVER, kind="wlcg", client_id="gate", vos=("otter", "seal"))


def told(issuer: str, **claims: Any) -> Documents:
    """What a provider's ID token says."""
    return Documents(
        id_token={"iss": issuer, "sub": "s-1", "aud": "gate", "exp": NOW + 600, "iat": NOW, **claims}
    )


def entitled(*groups: str) -> Documents:
    """An ID token of the hill with entitlements."""
    return told(HILL, entitlements=[f"urn:hill:group:{name}#hill.example.org" for name in groups])


@pytest.fixture
def communities(database: Database) -> Communities:
    """The two providers over the Registry."""
    take_in(database)
    made = Communities((hill, river))
    database.read_now(made.load)()
    return made


def test_a_claim_becomes_a_group_and_says_why(communities: Communities) -> None:
    mapped = communities.map_login(hill, entitled("otter:role=member", "otter:role=pilot"), NOW)
    assert mapped.refusal == ""
    assert [group for group, _ in mapped.groups] == ["otter_pilot", "otter_user"] or [
        group for group, _ in mapped.groups
    ] == ["otter_user", "otter_pilot"]
    for _, why in mapped.groups:
        assert why.startswith("Hill Login: entitlements says urn:hill:group:otter")


def test_a_provider_without_a_title_is_named(communities: Communities) -> None:
    mapped = communities.map_login(river, told(RIVER, **{"wlcg.groups": ["/seal"]}), NOW)
    assert mapped.groups == (("seal_user", "river: wlcg.groups says /seal"),)


def test_a_provider_opens_only_the_groups_of_vos_that_accept_it(communities: Communities) -> None:
    assert communities.trusted("hill") == ("otter_pilot", "otter_user")
    assert communities.trusted("river") == ("seal_user",)
    assert communities.trusted("nobody") == ()
    assert communities.accepted("otter_user") == ("hill",)
    assert communities.accepted("ghosts") == ()
    mapped = communities.map_login(river, told(RIVER, **{"wlcg.groups": ["/otter", "/seal"]}), NOW)
    assert [group for group, _ in mapped.groups] == ["seal_user"]
    assert len(mapped.nothing) == 1
    assert mapped.nothing[0].startswith("/otter: ")
    assert communities.map_login(hill, entitled("seal:role=member"), NOW).groups == ()


def test_what_came_to_nothing_is_told(communities: Communities) -> None:
    mapped = communities.map_login(hill, entitled("walrus:role=member"), NOW)
    assert mapped.groups == ()
    assert len(mapped.nothing) == 1
    assert "urn:hill:group:walrus:role=member" in mapped.nothing[0]
    assert mapped.nothing[0].endswith(".")


def test_a_login_that_does_not_hold_is_refused_with_a_sentence(communities: Communities) -> None:
    for documents in (told(HILL, exp=NOW - 600), told(HILL, aud="other"), told("https://evil.example")):
        mapped = communities.map_login(hill, documents, NOW)
        assert mapped.groups == ()
        assert mapped.refusal.endswith(".")


def test_a_changed_registry_is_noticed(communities: Communities, database: Database) -> None:
    without = entitled("otter:role=member")
    assert communities.map_login(hill, without, NOW).groups
    take_in(database, REGISTRY.replace("IdProvider = hill", "IdProvider = river"))
    assert communities.map_login(hill, without, NOW).groups  # not before it is put in place
    database.read_now(communities.load)()
    assert communities.map_login(hill, without, NOW).groups == ()
    assert communities.trusted("hill") == ()
    assert communities.trusted("river") == ("otter_pilot", "otter_user", "seal_user")


def test_an_unchanged_registry_is_not_built_again(communities: Communities, database: Database) -> None:
    rules = communities._rules
    take_in(database)
    database.read_now(communities.load)()
    assert communities._rules is rules


def test_a_group_without_a_known_vo_opens_to_nobody(database: Database) -> None:
    take_in(database, REGISTRY.replace("      VO = seal\n", "      VO = walrus\n"))
    made = Communities((hill, river))
    database.read_now(made.load)()
    assert made.accepted("seal_user") == ()
    assert made.map_login(river, told(RIVER, **{"wlcg.groups": ["/seal"]}), NOW).groups == ()
