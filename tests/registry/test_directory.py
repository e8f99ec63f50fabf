"""Who is who: whom a provider's word makes somebody, and what it cannot make them."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from gatehouse.registry import audit, directory
from gatehouse.registry.database import Database, insertion
from gatehouse.registry.diracdata import DIRAC_DN
from gatehouse.registry.models import Identity
from tests.clock import HandClock
from tests.registry.people import HILL, RIVER, enrolled, groups_of, rows, take_in

OTTER = ("otter_user", "otter_pilot")
SEAL = ("seal_user",)


@pytest.fixture
def known(database: Database) -> Database:
    """A database with the Registry in it."""
    take_in(database)
    return database


def test_a_new_person_is_made_once(known: Database, clock: HandClock) -> None:
    first = enrolled(known, "x-1", username="Nu Bee", groups=[("otter_user", "hill says so")])
    clock.pass_by(60)
    second = enrolled(known, "x-1", username="other", groups=[("otter_user", "hill says so")])
    assert first.person.username == "nu_bee"
    assert second.person == first.person
    assert [(one.group, one.vo, one.source, one.reason) for one in second.groups] == [
        ("otter_user", "otter", HILL, "hill says so")
    ]
    kinds = [event.kind for event in known.read_now(audit.recent)]
    assert kinds.count("person.enrolled") == 1
    assert rows(known, "SELECT seen_at FROM identity WHERE subject = 'x-1'") == [(clock.now(),)]


def test_a_listed_subject_at_a_trusted_provider_is_that_person(known: Database) -> None:
    found = enrolled(known, "m-1", trusted=OTTER)
    assert found.person.username == "mira"
    assert groups_of(found) == ["otter_user"]


def test_the_same_subject_at_another_provider_is_somebody_else(known: Database) -> None:
    """`river` is not trusted by any VO that lists Mira: her subject from its mouth means nothing."""
    found = enrolled(known, "m-1", issuer=RIVER, username="mira", trusted=SEAL)
    assert found.person.username == "mira_2"
    assert groups_of(found) == []
    hers = enrolled(known, "m-1", trusted=OTTER)
    assert hers.person.username == "mira"
    assert hers.person.id != found.person.id
    assert enrolled(known, "m-1", issuer=RIVER, trusted=SEAL).person.id == found.person.id


def test_a_provider_that_nobody_trusts_links_nobody(known: Database) -> None:
    for subject in ("m-1", "j-1"):
        found = enrolled(known, subject, issuer="https://evil.example", username=subject, trusted=())
        assert found.person.username not in ("mira", "jo")
        assert groups_of(found) == []


@pytest.mark.parametrize("subject", ["/O=DIRAC/CN=m-1", "m-1 ", "M-1", "m-1/CN=x", "", "%6d-1"])
def test_what_only_looks_like_a_listed_subject_is_not(known: Database, subject: str) -> None:
    assert enrolled(known, subject, username="eve", trusted=OTTER).person.username == "eve"


def test_the_dn_issuer_cannot_be_spoken_for(known: Database) -> None:
    """Certificates' identities are under an issuer that no provider can have: issuers are https URLs."""
    assert directory.DN_ISSUER == "dn"
    found = enrolled(known, "/DC=test/CN=Mira Holt", username="eve", trusted=OTTER)
    assert found.person.username == "eve"


def test_a_listing_counts_only_through_a_trusted_provider(known: Database) -> None:
    """Jo is known to both VOs; each provider opens only the groups of the VOs that accept it."""
    assert groups_of(enrolled(known, "j-1", trusted=OTTER)) == ["otter_pilot", "otter_user"]
    assert groups_of(enrolled(known, "j-1", issuer=RIVER, trusted=SEAL)) == ["seal_user"]
    assert groups_of(enrolled(known, "j-1", trusted=())) == []


def test_a_login_replaces_what_that_provider_said_and_nothing_else(known: Database) -> None:
    both = [("otter_user", "one"), ("otter_pilot", "two")]
    person = enrolled(known, "x-1", groups=both).person
    name = {"issuer": directory.DN_ISSUER, "subject": DIRAC_DN + "x-1", "user_id": person.id}
    known.write_now(lambda tx: tx.run(insertion(Identity), **name, seen_at=0, claims="[]"))
    known.write_now(lambda tx: directory.replace_memberships(tx, person.id, RIVER, [("seal_user", "river")]))
    known.write_now(
        lambda tx: directory.replace_memberships(
            tx, person.id, directory.REGISTRY, [("otter_user", "listed")]
        )
    )
    found = enrolled(known, "x-1", groups=[("otter_pilot", "three")])
    query = f"SELECT source, group_name, reason FROM membership WHERE user_id = '{person.id}'"
    assert rows(known, query) == [
        (HILL, "otter_pilot", "three"),
        (RIVER, "seal_user", "river"),
        ("registry", "otter_user", "listed"),
    ]
    assert groups_of(found) == ["otter_pilot", "otter_user"]
    assert groups_of(enrolled(known, "x-1")) == ["otter_user"]


def test_a_group_that_does_not_exist_is_no_choice(known: Database) -> None:
    assert groups_of(enrolled(known, "x-1", groups=[("ghosts", "says who?"), ("otter_user", "yes")])) == [
        "otter_user"
    ]


@pytest.mark.parametrize(
    ("said", "username"),
    [
        ("Ada", "ada"),
        ("ada lovelace", "ada_lovelace"),
        ("../../etc", "etc"),
        ("Ádá", "d"),
        ("", "user"),
        ("日本", "user"),
        ("a" * 500, "a" * 64),
        ("ada@example.org", "ada_example.org"),
    ],
)
def test_user_names_are_plain(known: Database, said: str, username: str) -> None:
    assert enrolled(known, "x-1", username=said).person.username == username


def test_a_taken_name_is_made_unique(known: Database) -> None:
    names = [enrolled(known, f"x-{n}", username="Mira").person.username for n in range(3)]
    assert names == ["mira_2", "mira_3", "mira_4"]


def test_standing(known: Database) -> None:
    person = enrolled(known, "m-1").person

    def refusal(group: str, user: str = person.id) -> str:
        return known.read_now(lambda tx: directory.standing(tx, user, group)).refusal

    assert refusal("otter_user") == ""
    assert "no longer a member of otter_pilot" in refusal("otter_pilot")
    assert "no longer known" in refusal("otter_user", "nobody")
    with known.engine.begin() as connection:
        connection.execute(text("UPDATE person SET status = 'suspended' WHERE username = 'mira'"))
    assert "mira is suspended" in refusal("otter_user")
    assert enrolled(known, "m-1").person.status == "suspended"
    take_in(known)
    assert "mira is suspended" in refusal("otter_user")  # an import does not forgive


def test_a_provider_that_takes_a_group_back_ends_the_standing(known: Database) -> None:
    person = enrolled(known, "x-1", groups=[("otter_user", "yes")]).person
    assert not known.read_now(lambda tx: directory.standing(tx, person.id, "otter_user")).refusal
    enrolled(known, "x-1", groups=[])
    assert known.read_now(lambda tx: directory.standing(tx, person.id, "otter_user")).refusal


def test_sixteen_first_logins_of_one_person_at_once(known: Database) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = list(
            pool.map(
                lambda _: enrolled(known, "x-1", username="nu", groups=[("otter_user", "yes")]), range(16)
            )
        )
    assert len({one.person.id for one in found}) == 1
    assert {tuple(groups_of(one)) for one in found} == {("otter_user",)}
    assert len(rows(known, "SELECT id FROM person WHERE username LIKE 'nu%'")) == 1
    assert [event.kind for event in known.read_now(audit.recent)].count("person.enrolled") == 1


def test_different_people_of_one_name_at_once(known: Database) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda n: enrolled(known, f"x-{n}", username="nu"), range(6)))
    assert sorted(one.person.username for one in found) == ["nu", "nu_2", "nu_3", "nu_4", "nu_5", "nu_6"]


def test_long_words_are_cut_to_fit(known: Database) -> None:
    why = "because " * 500
    found = enrolled(known, "s" * 255, groups=[("otter_user", why)])
    assert found.groups[0].reason == why[:1024]
