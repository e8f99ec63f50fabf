"""Taking in a Registry: again and again with the same result, and nothing left of what it no longer says."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gatehouse.registry import audit, directory, importing
from gatehouse.registry.database import Database
from gatehouse.registry.diracdata import RegistryError
from gatehouse.registry.errors import ConfigurationError
from tests.registry.people import HILL, REGISTRY, enrolled, groups_of, rows, take_in

EVERYTHING = {
    "vo": "SELECT name, options FROM vo",
    "groups": "SELECT name, vo, properties, options FROM community_group",
    "people": "SELECT id, username, status, options FROM person",
    "names": "SELECT issuer, subject, user_id FROM identity",
    "members": "SELECT user_id, group_name, source, reason FROM membership",
}
MEMBERS = "SELECT username, group_name, source FROM membership JOIN person ON person.id = user_id"
NAMES = "SELECT username, subject FROM identity JOIN person ON person.id = user_id WHERE issuer = 'dn'"


def test_a_registry_becomes_rows(database: Database) -> None:
    done = take_in(database)
    assert (done.vos, done.groups, done.users) == (2, 3, 2)
    assert rows(database, "SELECT name, vo, properties FROM community_group") == [
        ("otter_pilot", "otter", '["GenericPilot","LimitedDelegation"]'),
        ("otter_user", "otter", '["NormalUser"]'),
        ("seal_user", "seal", '["NormalUser"]'),
    ]
    assert rows(database, MEMBERS) == [
        ("jo", "otter_pilot", "registry"),
        ("jo", "otter_user", "registry"),
        ("jo", "seal_user", "registry"),
        ("mira", "otter_user", "registry"),
    ]
    assert rows(database, NAMES) == [
        ("jo", "/O=DIRAC/CN=j-1"),
        ("mira", "/DC=test/CN=Mira Holt"),
        ("mira", "/O=DIRAC/CN=m-1"),
    ]
    assert rows(database, "SELECT username, email FROM person")[1] == ("mira", "mira@otter.example")
    (event,) = database.read_now(audit.recent)
    assert event.kind == "registry.imported"


def test_a_second_time_gives_the_same(database: Database) -> None:
    take_in(database)
    before = {name: rows(database, query) for name, query in EVERYTHING.items()}
    take_in(database)
    assert {name: rows(database, query) for name, query in EVERYTHING.items()} == before


def test_replicas_that_import_at_once(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: take_in(database), range(4)))
    assert {one.users for one in done} == {2}
    assert len(rows(database, MEMBERS)) == 4
    assert len(rows(database, NAMES)) == 3


def test_a_group_that_is_gone_is_nobodys_choice(database: Database) -> None:
    take_in(database)
    before = enrolled(database, "j-1")
    assert groups_of(before) == ["otter_pilot", "otter_user"]
    start, end = REGISTRY.index("    otter_pilot\n"), REGISTRY.index("    seal_user\n")
    take_in(database, REGISTRY[:start] + REGISTRY[end:])
    assert groups_of(enrolled(database, "j-1")) == ["otter_user"]
    person = before.person.id
    assert database.read_now(lambda tx: directory.standing(tx, person, "otter_pilot")).refusal
    assert not database.read_now(lambda tx: directory.standing(tx, person, "otter_user")).refusal


def test_what_changes_in_a_group_changes_here(database: Database) -> None:
    take_in(database)
    take_in(
        database, REGISTRY.replace("Properties = GenericPilot, LimitedDelegation", "Properties = JobSharing")
    )
    assert rows(database, "SELECT properties FROM community_group WHERE name = 'otter_pilot'") == [
        ('["JobSharing"]',)
    ]


def test_who_is_taken_off_a_list_is_off_it(database: Database) -> None:
    take_in(database)
    take_in(database, REGISTRY.replace("Users = mira, jo", "Users = mira"))
    assert ("jo", "otter_user", "registry") not in rows(database, MEMBERS)


def test_who_is_taken_out_altogether_keeps_nothing_of_it(database: Database) -> None:
    """The user's section goes and the name stays in the group's list, as happens with hand-edited files."""
    take_in(database)
    jo = enrolled(database, "j-1").person
    start, end = REGISTRY.index("    jo\n    {"), REGISTRY.rindex("  }\n}")
    done = take_in(database, REGISTRY[:start] + REGISTRY[end:])
    assert done.users == 1
    assert any("jo" in one.sentence for one in done.ignored)
    assert [name for name, _, _ in rows(database, MEMBERS)] == ["mira"]
    assert database.read_now(lambda tx: directory.standing(tx, jo.id, "otter_user")).refusal
    assert [name for name, _ in rows(database, NAMES)] == ["mira", "mira"]
    assert groups_of(enrolled(database, "j-1")) == []


def test_a_name_that_moves_to_somebody_else_moves(database: Database) -> None:
    take_in(database)
    moved = REGISTRY.replace(", /O=DIRAC/CN=m-1", "").replace("ID = j-1", "ID = j-1, m-1")
    take_in(database, moved)
    assert rows(database, NAMES) == [
        ("jo", "/O=DIRAC/CN=j-1"),
        ("jo", "/O=DIRAC/CN=m-1"),
        ("mira", "/DC=test/CN=Mira Holt"),
    ]
    assert enrolled(database, "m-1").person.username == "jo"


def test_two_people_cannot_have_one_name() -> None:
    for twice in ("DN = /DC=test/CN=Mira Holt", "ID = m-1"):
        with pytest.raises(RegistryError, match="belongs to mira already"):
            importing.read_text(REGISTRY.replace("ID = j-1", twice))


def test_a_stranger_with_the_name_of_a_listed_person_gets_nothing(database: Database) -> None:
    """Somebody logs in as `mira` before the Registry lists its Mira: they stay who they are, under another name."""
    stranger = enrolled(database, "stranger", username="mira").person
    assert stranger.username == "mira"
    take_in(database)
    again = enrolled(database, "stranger", username="mira")
    assert again.person.id == stranger.id
    assert again.person.username == "mira_2"
    assert groups_of(again) == []
    assert database.read_now(lambda tx: directory.standing(tx, stranger.id, "otter_user")).refusal
    listed = enrolled(database, "m-1")
    assert (listed.person.username, groups_of(listed)) == ("mira", ["otter_user"])
    assert listed.person.id != stranger.id
    take_in(database)
    assert sorted(name for _, name, *_ in rows(database, EVERYTHING["people"])) == ["jo", "mira", "mira_2"]
    assert [one.kind for one in database.read_now(audit.recent)].count("person.renamed") == 1


def test_who_logged_in_before_being_listed_becomes_the_listed_person(database: Database) -> None:
    early = enrolled(database, "m-1", username="mholt", groups=[("otter_user", "claim")]).person
    take_in(database)
    now = enrolled(database, "m-1", username="mholt")
    assert (now.person.username, groups_of(now)) == ("mira", ["otter_user"])
    assert now.person.id != early.id
    assert rows(database, f"SELECT source FROM membership WHERE user_id = '{early.id}'") == []
    assert enrolled(database, "m-1").person == now.person
    assert rows(database, f"SELECT subject FROM identity WHERE issuer = '{HILL}'") == [("m-1",)]


def test_suspended_in_a_vo_is_suspended_there_only(database: Database) -> None:
    take_in(database)
    person = enrolled(database, "j-1").person
    take_in(database, REGISTRY.replace("ID = j-1", "ID = j-1\n      Suspended = otter"))
    everywhere = ("otter_user", "otter_pilot", "seal_user")
    claimed = enrolled(database, "j-1", groups=[("otter_user", "a claim")], trusted=everywhere)
    assert groups_of(claimed) == ["seal_user"]
    answer = database.read_now(lambda tx: directory.standing(tx, person.id, "otter_user"))
    assert "suspended in otter" in answer.refusal
    assert not database.read_now(lambda tx: directory.standing(tx, person.id, "seal_user")).refusal
    take_in(database)
    assert not database.read_now(lambda tx: directory.standing(tx, person.id, "otter_user")).refusal


def test_names_that_no_column_holds_are_refused(database: Database) -> None:
    long = "x" * 129
    for old, section in (("otter_pilot", "Groups"), ("mira", "Users"), ("otter\n", "VO")):
        with pytest.raises(ConfigurationError, match=f"Registry/{section}/"):
            take_in(database, REGISTRY.replace(old, long + ("\n" if old.endswith("\n") else "")))
    done = take_in(database, REGISTRY.replace("Mira Holt", "M" * 300))
    assert any("longer than 255" in one.sentence for one in done.ignored)
    take_in(database, REGISTRY.replace("Mira Holt", "M" * 300))


def test_all_or_nothing(database: Database) -> None:
    """A Registry that breaks half way changes nothing."""
    take_in(database)
    before = {name: rows(database, query) for name, query in EVERYTHING.items()}
    data = importing.read_text(REGISTRY.replace("otter_pilot", "otter_robot"))

    class Oops(Exception):
        pass

    def half(tx: object) -> None:
        importing.apply(tx, data, "test")  # type: ignore[arg-type]
        raise Oops

    with pytest.raises(Oops):
        database.write_now(half)
    assert {name: rows(database, query) for name, query in EVERYTHING.items()} == before


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"Registry\n{\n", "line"),
        (b"\xff\xfe", "not UTF-8"),
        (b"x" * (importing.MAX_FILE + 1), "larger than 16 MiB"),
        (REGISTRY.replace("/otter/Role=pilot", "otter").encode(), "VOMSRole"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "dirac.cfg"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=says) as caught:
        importing.read_file(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        importing.read_file(tmp_path / "none.cfg")


def test_a_file_may_be_the_section_alone(tmp_path: Path) -> None:
    path = tmp_path / "dirac.cfg"
    inner = REGISTRY.strip().removeprefix("Registry\n{").removesuffix("}")
    path.write_text(inner)
    assert importing.read_file(path).groups.keys() == importing.read_text(REGISTRY).groups.keys()
